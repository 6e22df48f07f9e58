// Executes a program with no more than these capabilities, and filtered.
//
// usage: confined CAPABILITIES FILTER PROGRAM ARGUMENT...
//
// CAPABILITIES is hexadecimal, or - to keep all; FILTER is a file, see
// filter.h, or - for none.

#define _GNU_SOURCE
#include "../../isolated/filter.h"

#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>

int main(int count, char **arguments)
{
	if (count < 4)
		errx(1, "too few arguments");
	if (*arguments[2] != '-')
		install_filters(arguments[2]);
	if (*arguments[1] != '-') {
		uint64_t keep = strtoull(arguments[1], NULL, 16);
		struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct sets[2] = {
			{ (uint32_t)keep, (uint32_t)keep, 0 },
			{ keep >> 32, keep >> 32, 0 },
		};
		// EINVAL from the first one that this kernel does not know.
		for (int number = 0; number < 64; number++)
			if (!(keep >> number & 1) && prctl(PR_CAPBSET_DROP, number))
				break;
		if (syscall(SYS_capset, &header, sets))
			err(1, "capset");
	}
	execvp(arguments[3], arguments + 3);
	err(1, "execute %s", arguments[3]);
}
