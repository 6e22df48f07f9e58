// Finding processes of the own PID namespace by the name that comm has.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Visits each process of that name once.
static void each_process_named(const char *wanted, void (*visit)(int pid))
{
	DIR *processes = opendir("/proc");
	for (struct dirent *entry; processes && (entry = readdir(processes));) {
		char path[300], name[32] = "";
		snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
		FILE *comm = atoi(entry->d_name) ? fopen(path, "r") : NULL;
		if (!comm)
			continue;
		if (fscanf(comm, "%31s", name) == 1 && !strcmp(name, wanted))
			visit(atoi(entry->d_name));
		fclose(comm);
	}
	if (processes)
		closedir(processes);
}
