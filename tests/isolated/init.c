// The first process of a fake container: gives up what a container runtime
// would not have given it, then runs the shell lines that the test sends, as
// children of its own. What they do is thus done by the container itself.
//
// usage: init CAPABILITIES UID NO_NEW_PRIVS NEVER_WAITS [FILTER] < socket
//
// CAPABILITIES is hexadecimal, or - to keep all; FILTER is a file, see filter.h;
// the socket is the test's. A request is one packet: the shell line, with a descriptor for its output; or "!PID" to kill what it
// started. An answer is two native int32: a PID, and its wait status, or -1
// when it has just started.

#define _GNU_SOURCE
#include "filter.h"

#include <err.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKET = 0, MOST = 256 };

static int started[MOST], starts;

static void take_identity(const char *capabilities, unsigned id, int no_new_privs)
{
	if (*capabilities != '-') {
		uint64_t keep = strtoull(capabilities, NULL, 16);
		struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct sets[2] = {
			{ (uint32_t)keep, (uint32_t)keep, 0 },
			{ keep >> 32, keep >> 32, 0 },
		};
		for (int number = 0; number < 64; number++)
			if (!(keep >> number & 1) && prctl(PR_CAPBSET_DROP, number) && errno != EINVAL)
				err(1, "drop capability %d", number);
		if (id && (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id)))
			err(1, "become %u", id);
		if (!id && syscall(SYS_capset, &header, sets))
			err(1, "capset");
	}
	if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err(1, "no_new_privs");
}

static void answer(int pid, int status)
{
	int32_t message[2] = { pid, status };
	if (send(SOCKET, message, sizeof message, MSG_NOSIGNAL) < 0)
		_exit(0); // The test has gone, and the container goes with it.
}

static void become(const char *line, int output)
{
	sigset_t none;
	int empty[2];
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	// Not /dev/null: an attack may have put something else there.
	if (pipe(empty) || dup2(empty[0], 0) || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		_exit(126);
	close(empty[0]);
	close(empty[1]);
	execl("/bin/busybox", "sh", "-c", line, NULL);
	_exit(127);
}

static void serve(void)
{
	static char line[65536];
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	struct iovec into = { line, sizeof line - 1 };
	struct msghdr message = { .msg_iov = &into, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof control };
	ssize_t length = recvmsg(SOCKET, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int output;
	if (length <= 0 || !header || starts == MOST)
		_exit(0);
	line[length] = 0;
	memcpy(&output, CMSG_DATA(header), sizeof output);
	if (*line == '!') {
		close(output);
		kill(-atoi(line + 1), SIGKILL);
		return;
	}
	int pid = fork();
	if (pid == 0)
		become(line, output);
	close(output);
	started[starts++] = pid;
	answer(pid, -1);
}

static int was_started(int pid)
{
	for (int index = 0; index < starts; index++)
		if (started[index] == pid) {
			started[index] = 0;
			return 1;
		}
	return 0;
}

static void reap(int never_waits)
{
	int status, pid;
	if (!never_waits) {
		// Of orphans nobody asks, and there may be thousands.
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (was_started(pid))
				answer(pid, status);
		return;
	}
	// As a program that was never meant to be a first process: orphans that
	// come to it stay zombies.
	for (int index = 0; index < starts; index++)
		if (started[index] && (pid = waitpid(started[index], &status, WNOHANG)) > 0) {
			started[index] = 0;
			answer(pid, status);
		}
}

int main(int count, char **arguments)
{
	if (count == 5 || count == 6) {
		// While nothing else is needed for it.
		if (count == 6)
			install_filters(arguments[5]);
		take_identity(arguments[1], atoi(arguments[2]), atoi(arguments[3]));
		// Executed anew, as a runtime does: what holds now is what execve(2)
		// makes of it, and it is dumpable like any program.
		execl(arguments[0], arguments[0], arguments[4], NULL);
		err(1, "execute %s", arguments[0]);
	}
	int never_waits = count == 2 && atoi(arguments[1]);
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	struct pollfd wait[2] = {
		{ .fd = SOCKET, .events = POLLIN },
		{ .fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN },
	};
	answer(getpid(), 0);
	for (;;) {
		struct signalfd_siginfo told;
		poll(wait, 2, -1);
		if (wait[0].revents)
			serve();
		while (read(wait[1].fd, &told, sizeof told) > 0)
			;
		reap(never_waits);
	}
}
