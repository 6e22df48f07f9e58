// Reporting on new processes, for ever, each line once.

#include "watch.h"

#include <string.h>

// Says a line, unless it has been said.
static void say_once(const char *line)
{
	static char said[1 << 20];
	static size_t length;
	if (strstr(said, line) || length + strlen(line) + 1 >= sizeof said)
		return;
	strcpy(said + length, line);
	length += strlen(line);
	fputs(line, stdout);
}

// Visits new processes for ever, and says when it has begun to.
static void watch(void (*visit)(int pid))
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	each_new_process(visit);
	printf("ready\n");
	for (;;)
		each_new_process(visit);
}
