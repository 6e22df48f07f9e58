// A25, A26 / T39: gives a file CAP_SYS_ADMIN, as a container's root with
// CAP_SETFCAP may.
//
// usage: file_capability FILE permitted|inheritable

#include <err.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/xattr.h>

int main(int count, char **arguments)
{
	if (count != 3)
		errx(1, "two arguments");
	struct vfs_cap_data data = { VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, {{0, 0}, {0, 0}} };
	if (!strcmp(arguments[2], "permitted"))
		data.data[0].permitted = 1 << CAP_SYS_ADMIN;
	else
		data.data[0].inheritable = 1 << CAP_SYS_ADMIN;
	if (setxattr(arguments[1], "security.capability", &data, sizeof data, 0))
		err(1, "%s", arguments[1]);
	return 0;
}
