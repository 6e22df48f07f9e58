// A4, A8 / T07, T09, T41: tries every way to another process: what /proc has of
// it, its memory, its descriptors, its mounts, and to trace it.
//
// usage: hijack NAME
//
// Says "WHAT had" or "WHAT ERRNO" of each, for every process of that name.

#define _GNU_SOURCE
#include "named.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void say(const char *what, long result)
{
	printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "had");
}

static int try_open(int pid, const char *what, int flags)
{
	char path[300];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
	return open(path, flags | O_NOCTTY | O_NONBLOCK);
}

static void take(int pid)
{
	const char *links[] = { "exe", "root", "cwd", "fd/0" };
	const char *read_only[] = { "exe", "environ", "maps", "fd/0", "root/etc/passwd" };
	char text[300];
	for (int index = 0; index < 4; index++) {
		char path[64], what[64];
		snprintf(path, sizeof path, "/proc/%d/%s", pid, links[index]);
		snprintf(what, sizeof what, "link:%s", links[index]);
		say(what, readlink(path, text, sizeof text));
	}
	for (int index = 0; index < 5; index++)
		say(read_only[index], try_open(pid, read_only[index], O_RDONLY));
	say("root", try_open(pid, "root", O_PATH));
	say("cwd", try_open(pid, "cwd", O_PATH));
	say("mem", try_open(pid, "mem", O_RDWR));
	say("tool", try_open(pid, "root/.kpexec/attacks/state", O_WRONLY));

	struct iovec here = { text, 1 }, there = { (void *)0x400000, 1 };
	// Where nothing is mapped it is EFAULT for those who may look.
	long read = process_vm_readv(pid, &here, 1, &there, 1, 0);
	say("memory", read < 0 && errno == EFAULT ? 0 : read);
	say("descriptor", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), 0, 0));
	int mounts = try_open(pid, "ns/mnt", O_RDONLY);
	say("namespace", mounts);
	if (mounts >= 0)
		say("mounts", setns(mounts, CLONE_NEWNS));
	say("trace", ptrace(PTRACE_SEIZE, pid, 0, 0));
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

int main(int count, char **arguments)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count > 1)
		each_process_named(arguments[1], take);
	return 0;
}
