// A1 / T02: opens /proc/PID/exe of every new process, keeps it, and tries for
// ever to write to it: that is refused with ETXTBSY only while it is executed.
// What it writes is the byte that is there already.
//
// Says "saw LINK" and "wrote LINK", each once. With "keep" it does not write,
// but keeps open what it could open for writing, and says "keeps LINK".
//
// usage: write_exe [keep]

#define _GNU_SOURCE
#include "watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 64 };

static struct { int fd, written; ino_t inode; dev_t device; char link[256]; } seen[MOST];
static int count;

static void visit(int pid)
{
	char path[64];
	struct stat about, own;
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &about) || stat("/bin/busybox", &own))
		return;
	int known = about.st_ino == own.st_ino && about.st_dev == own.st_dev;
	for (int index = 0; index < count; index++)
		known |= seen[index].inode == about.st_ino && seen[index].device == about.st_dev;
	if (known || count == MOST) {
		close(fd);
		return;
	}
	seen[count].fd = fd;
	seen[count].inode = about.st_ino;
	seen[count].device = about.st_dev;
	readlink(path, seen[count].link, sizeof seen[count].link - 1);
	printf("saw %s\n", seen[count++].link);
}

int main(int words, char **arguments)
{
	int keep = words > 1 && !strcmp(arguments[1], "keep");
	setvbuf(stdout, NULL, _IOLBF, 0);
	each_new_process(visit);
	printf("ready\n");
	for (;;) {
		each_new_process(visit);
		for (int index = 0; index < count; index++) {
			char path[64], byte;
			if (seen[index].written)
				continue;
			snprintf(path, sizeof path, "/proc/self/fd/%d", seen[index].fd);
			int fd = open(path, O_WRONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			if (keep) {
				seen[index].written = 1;
				printf("keeps %s\n", seen[index].link);
				continue;
			}
			if (pread(seen[index].fd, &byte, 1, 0) == 1 && pwrite(fd, &byte, 1, 0) == 1) {
				seen[index].written = 1;
				printf("wrote %s\n", seen[index].link);
			}
			close(fd);
		}
	}
}
