// A12 / T21: looks for the key "kpexec-test" in the session keyring and in the
// user's; says "session found" or "session none", the same for "user", and the
// session keyring's name.

#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void search(const char *name, int ring)
{
	long key = syscall(SYS_keyctl, KEYCTL_SEARCH, ring, "user", "kpexec-test", 0);
	printf("%s %s\n", name, key < 0 ? "none" : "found");
}

int main(void)
{
	char description[256] = "", *name;
	search("session", KEY_SPEC_SESSION_KEYRING);
	search("user", KEY_SPEC_USER_KEYRING);
	syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, description,
		sizeof description - 1);
	name = strrchr(description, ';');
	printf("ring %s\n", name ? name + 1 : "?");
	return 0;
}
