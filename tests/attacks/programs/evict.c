// A5 / T10: removes folders that may be mount points in another mount
// namespace, which detaches what is mounted there; puts a hostile tool in their
// place; renames what else lies at the top.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	mkdir("/.hostile", 0755);
	mkdir("/.hostile/bin", 0755);
	int fd = open("/.hostile/bin/busybox", O_WRONLY | O_CREAT | O_TRUNC, 0755);
	dprintf(fd, "#!/bin/sh\necho HOSTILE\n");
	close(fd);
	for (;;) {
		rmdir("/dev/pts");
		rmdir("/.kpexec");
		rename("/.hostile", "/.kpexec");
		rename("/srv", "/srv-moved");
		usleep(2000);
		rename("/srv-moved", "/srv");
		rename("/.kpexec", "/.hostile");
		mkdir("/.kpexec", 0755);
	}
}
