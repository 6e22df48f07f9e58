// A21 / T33: a process of a container that gets a number of the test's choice, which
// clone3(2) gives it unless another process has got it in that moment. It stays as
// long as the container does.
//
// usage: reuse PID-OF-FIRST-PROCESS NUMBER

#define _GNU_SOURCE
#include <err.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	if (count != 3)
		errx(1, "two arguments");
	// In the container's PID namespace, and in ours.
	pid_t numbers[2] = { atoi(arguments[2]), atoi(arguments[2]) };
	struct clone_args how = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)numbers, .set_tid_size = 2,
	};
	int first = syscall(SYS_pidfd_open, atoi(arguments[1]), 0), status = 1;
	if (setns(first, CLONE_NEWNS | CLONE_NEWPID))
		err(1, "enter");
	// By a process inside, so that it is left to the container's first process.
	if (fork()) {
		wait(&status);
		return status != 0;
	}
	long pid = syscall(SYS_clone3, &how, sizeof how);
	if (pid < 0)
		err(1, "take the number %d", numbers[0]);
	if (pid == 0) {
		// Whoever waits for the end of our output does not wait for this.
		syscall(SYS_close_range, 0, ~0U, 0);
		for (;;)
			pause();
	}
	return 0;
}
