// A11 / T20: reads the command line, the name and the environment of every new
// process; says each string once.

#define _GNU_SOURCE
#include "watch.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void say_once(const char *what, const char *text)
{
	static char said[1 << 20];
	static size_t length;
	char line[4200];
	int size = snprintf(line, sizeof line, "%s %s\n", what, text);
	if (strstr(said, line) || length + size + 1 >= sizeof said)
		return;
	strcpy(said + length, line);
	length += size;
	fputs(line, stdout);
}

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
			say_once(files[index], text + at);
		}
	}
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	each_new_process(visit);
	printf("ready\n");
	for (;;)
		each_new_process(visit);
}
