// A19 / T30: changes the files 0 to 49 of a folder under their readers' hands,
// for ever: truncates them, writes them, renames them to each other, removes
// them, and moves the folder itself.
//
// usage: churn FOLDER

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	if (count != 2 || chdir(arguments[1]))
		err(1, "enter the folder");
	for (unsigned round = 0;; round++) {
		char name[16], other[16];
		snprintf(name, sizeof name, "%u", round % 50);
		snprintf(other, sizeof other, "%u", round * 7 % 50);
		int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (dprintf(fd, "line of %u\n", round) < 0 || ftruncate(fd, round % 5000))
			warn("%s", name);
		close(fd);
		rename(name, other);
		if (round % 3 == 0)
			unlink(other);
		if (round % 100 == 0 && !rename(arguments[1], "/tmp/moved"))
			rename("/tmp/moved", arguments[1]);
	}
}
