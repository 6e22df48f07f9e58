// A40, A41 / T49, T50: takes memory without end; only to be started where a
// cgroup bounds it.
//
// usage: hog [COUNT]
//
// One process takes it all; with COUNT as many processes take 2 MiB each, and
// are replaced when they are killed.

#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void take(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	memset(memory, 1, size);
}

int main(int count, char **arguments)
{
	int most = count > 1 ? atoi(arguments[1]) : 0, running = 0;
	while (!most)
		take(1 << 20);
	for (;;) {
		while (running < most) {
			int pid = fork();
			if (pid == 0) {
				take(2 << 20);
				pause();
			}
			if (pid < 0)
				break;
			running++;
		}
		if (wait(NULL) > 0) {
			running--;
			printf("killed\n");
			fflush(stdout);
		}
	}
}
