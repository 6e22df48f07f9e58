// A6 / T12: the victim that shows that the attack works: enters a container as
// nsenter(1) does, takes the container's own capabilities, and stands still for
// seconds where it would execute the command, with a descriptor on the node's
// root. Only dumpable is missing: 0 as kpexec has it, 1 as it is by default.
//
// usage: entrant PID CAPABILITIES DUMPABLE

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	if (count != 4)
		errx(1, "three arguments");
	uint64_t keep = strtoull(arguments[2], NULL, 16);
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = {
		{ (uint32_t)keep, (uint32_t)keep, 0 },
		{ keep >> 32, keep >> 32, 0 },
	};
	int target = syscall(SYS_pidfd_open, atoi(arguments[1]), 0);
	if (open("/", O_RDONLY | O_DIRECTORY) < 0 || setns(target, CLONE_NEWNS | CLONE_NEWPID))
		err(1, "enter");
	if (syscall(SYS_capset, &header, sets) || prctl(PR_SET_DUMPABLE, atoi(arguments[3])))
		err(1, "take the identity");
	if (fork() == 0) {
		sleep(3);
		_exit(0);
	}
	wait(NULL);
	return 0;
}
