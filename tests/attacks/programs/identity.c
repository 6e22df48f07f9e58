// A25, A26 / T39: who a program is: "USER EFFECTIVE-USER GROUP EFFECTIVE-GROUP
// CAPABILITIES", the permitted ones in hexadecimal.

#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2];
	if (syscall(SYS_capget, &header, sets))
		return 1;
	unsigned long long permitted = sets[0].permitted | (uint64_t)sets[1].permitted << 32;
	printf("%u %u %u %u %llx\n", getuid(), geteuid(), getgid(), getegid(), permitted);
	return 0;
}
