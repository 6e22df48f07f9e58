// A11 / T20: reads the command line, the name and the environment of every new
// process; says each string once.

#define _GNU_SOURCE
#include "report.h"

#include <fcntl.h>
#include <unistd.h>

static void visit(int pid)
{
	const char *files[] = { "cmdline", "comm", "environ" };
	for (int index = 0; index < 3; index++) {
		char path[64], text[4096];
		snprintf(path, sizeof path, "/proc/%d/%s", pid, files[index]);
		int fd = open(path, O_RDONLY);
		ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		close(fd);
		for (ssize_t at = 0; at < length; at += strlen(text + at) + 1) {
			text[length] = 0;
			text[at + strcspn(text + at, "\n")] = 0;
			char line[4200];
			snprintf(line, sizeof line, "%s %s\n", files[index], text + at);
			say_once(line);
		}
	}
}

int main(void)
{
	watch(visit);
}
