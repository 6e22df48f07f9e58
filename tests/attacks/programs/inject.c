// A8 / T16, T17: has another process make a system call, by ptrace(2): one that
// the attacker's own confinement would refuse.
//
// usage: inject PID unshare | inject PID open PATH
//
// Says "trace ERRNO" where it cannot, else "call had" or "call ERRNO".

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

// The process waits in a system call, so that the instruction before is one.
enum { INSTRUCTION = 2, BELOW_STACK = 4096 };

static long call(int pid, struct user_regs_struct registers)
{
	registers.rip -= INSTRUCTION;
	registers.orig_rax = -1; // Not to be restarted.
	if (ptrace(PTRACE_SETREGS, pid, 0, &registers) || ptrace(PTRACE_SINGLESTEP, pid, 0, 0) ||
	    waitpid(pid, NULL, __WALL) < 0 || ptrace(PTRACE_GETREGS, pid, 0, &registers))
		exit(2);
	return registers.rax;
}

int main(int count, char **arguments)
{
	struct user_regs_struct before, changed;
	int pid = count > 2 ? atoi(arguments[1]) : 0;
	if (ptrace(PTRACE_ATTACH, pid, 0, 0)) {
		printf("trace %s\n", strerrorname_np(errno));
		return 0;
	}
	waitpid(pid, NULL, __WALL);
	if (ptrace(PTRACE_GETREGS, pid, 0, &before))
		return 2;
	changed = before;
	if (count == 4) {
		long words[32] = { 0 };
		changed.rax = SYS_open;
		changed.rdi = before.rsp - BELOW_STACK;
		changed.rsi = O_RDONLY | O_NONBLOCK;
		strncpy((char *)words, arguments[3], sizeof words - 1);
		for (int index = 0; index < 32; index++)
			ptrace(PTRACE_POKEDATA, pid, changed.rdi + 8 * index, words[index]);
	} else {
		changed.rax = SYS_unshare;
		changed.rdi = CLONE_NEWUSER;
	}
	long result = call(pid, changed);
	printf("call %s\n", result < 0 ? strerrorname_np(-result) : "had");
	ptrace(PTRACE_SETREGS, pid, 0, &before);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	return 0;
}
