// A7, A12, A13 / T14, T21, T22: what a careless parent leaves to a program, and
// then the program.
//
// usage: legacy WHAT... -- PROGRAM ARGUMENT...
//
// descriptors: 3 to 50 open on /, /etc, a socket and a memfd
// groups:      supplementary groups 4 and 24
// key:         a session keyring with the key "kpexec-test"
// state:       SIGPIPE ignored, SIGTERM blocked, umask 077, 77 files, another
//              personality, nice 5, one CPU, a timer, a timer slack

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static void descriptors(void)
{
	int from[4] = { open("/", O_RDONLY), open("/etc", O_RDONLY | O_DIRECTORY),
		socket(AF_UNIX, SOCK_STREAM, 0), memfd_create("legacy", 0) };
	// Those that were opened stay too: all without close-on-exec.
	for (int fd = 3; fd <= 50; fd++)
		if (fcntl(fd, F_GETFD) < 0 && dup2(from[fd % 4], fd) < 0)
			err(1, "descriptor %d", fd);
}

static void key(void)
{
	const char *kind = "user", *name = "kpexec-test";
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "kpexec-test-ring") < 0 ||
	    syscall(SYS_add_key, kind, name, "secret", 6L, KEY_SPEC_SESSION_KEYRING) < 0)
		err(1, "add a key");
}

static void state(void)
{
	// The soft one: nobody raises a hard one without CAP_SYS_RESOURCE.
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = 77;
	struct itimerval timer = { { 0, 0 }, { 3600, 0 } };
	cpu_set_t first;
	sigset_t blocked;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	umask(077);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &blocked, NULL) ||
	    setrlimit(RLIMIT_NOFILE, &files) || personality(ADDR_NO_RANDOMIZE) < 0 ||
	    setpriority(PRIO_PROCESS, 0, 5) || sched_setaffinity(0, sizeof first, &first) ||
	    setitimer(ITIMER_REAL, &timer, NULL) || prctl(PR_SET_TIMERSLACK, 123456789UL))
		err(1, "change the state");
}

int main(int count, char **arguments)
{
	gid_t groups[2] = { 4, 24 };
	int index = 1;
	for (; index < count && strcmp(arguments[index], "--"); index++) {
		if (!strcmp(arguments[index], "descriptors"))
			descriptors();
		else if (!strcmp(arguments[index], "groups") && setgroups(2, groups))
			err(1, "groups");
		else if (!strcmp(arguments[index], "key"))
			key();
		else if (!strcmp(arguments[index], "state"))
			state();
	}
	if (index + 1 < count)
		execvp(arguments[index + 1], arguments + index + 1);
	err(1, "execute the program");
}
