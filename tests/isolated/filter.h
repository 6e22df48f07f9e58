// Installing seccomp programs for good, from a file of them: each behind its
// length in bytes, a native uint32.

#include <err.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void install_filters(const char *path)
{
	static struct sock_filter program[BPF_MAXINSNS];
	uint32_t size;
	FILE *file = fopen(path, "r");
	if (!file)
		err(1, "%s", path);
	while (fread(&size, sizeof size, 1, file) == 1) {
		struct sock_fprog filter = { size / sizeof *program, program };
		if (size > sizeof program || fread(program, size, 1, file) != 1 ||
		    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter))
			err(1, "install a filter of %s", path);
	}
	fclose(file);
}
