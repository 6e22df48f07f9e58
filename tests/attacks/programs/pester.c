// A40 / T54: does to every process of this name what an equal user may do
// without a capability: sets its limits to nothing, has it killed first, and
// stops it, again and again.
//
// usage: pester NAME...
//
// Says "NAME: LIMITS SCORE STOPPED" once for each: how many limits were set,
// and whether the rest was possible.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void pester(int pid, const char *name, int *said)
{
	struct rlimit none = { 0, 0 };
	char path[64];
	int limits = 0;
	// Not RLIMIT_CPU, which kills: this is about what lives on.
	for (int limit = 1; limit < RLIM_NLIMITS; limit++)
		limits += prlimit(pid, limit, &none, NULL) == 0;
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
	int score = open(path, O_WRONLY);
	int scored = score >= 0 && write(score, "1000", 4) == 4;
	close(score);
	int stopped = kill(pid, SIGSTOP) == 0;
	if (!*said)
		printf("%s: %d %d %d\n", name, limits, scored, stopped);
	*said = 1;
}

int main(int count, char **arguments)
{
	int said[16] = { 0 };
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (;;) {
		DIR *processes = opendir("/proc");
		for (struct dirent *entry; (entry = readdir(processes));) {
			char path[300], name[32] = "";
			snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
			FILE *comm = atoi(entry->d_name) ? fopen(path, "r") : NULL;
			if (!comm)
				continue;
			int read = fscanf(comm, "%31s", name);
			fclose(comm);
			for (int wanted = 1; read == 1 && wanted < count && wanted < 16; wanted++)
				if (!strcmp(name, arguments[wanted]))
					pester(atoi(entry->d_name), name, &said[wanted]);
		}
		closedir(processes);
		usleep(5000);
	}
}
