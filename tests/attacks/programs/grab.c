// A6 / T11, T12, T13: opens whatever can be had of every new process: its
// program, root, working directory, descriptors and memory.
//
// Says, each line once: "saw NAME" of every process, and of what it could open
// "opened WHAT of NAME with CAPABILITIES: LINK", the capabilities being those
// that are permitted, in hexadecimal.

#define _GNU_SOURCE
#include "report.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

struct victim { int pid; char name[32]; unsigned long long permitted; };

static int identify(struct victim *victim)
{
	char path[64], text[4096] = "", *permitted;
	snprintf(path, sizeof path, "/proc/%d/status", victim->pid);
	int fd = open(path, O_RDONLY);
	ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	permitted = length > 0 ? strstr(text, "CapPrm:\t") : NULL;
	if (!permitted || sscanf(text, "Name:\t%31s", victim->name) != 1)
		return 0;
	victim->permitted = strtoull(permitted + 8, NULL, 16);
	return 1;
}

static void take(struct victim *victim, const char *what, int flags)
{
	char path[128], link[256] = "", line[600];
	struct victim now = *victim;
	snprintf(path, sizeof path, "/proc/%d/%s", victim->pid, what);
	ssize_t shown = readlink(path, link, sizeof link - 1);
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	// A link that can be read is a descriptor that can be had, by pidfd_getfd(2)
	// if not by open(2).
	if (fd < 0 && shown < 0)
		return;
	// Only if it was the same program before and after.
	if (identify(&now) && now.permitted == victim->permitted && !strcmp(now.name, victim->name)) {
		// Numbers of inodes would make every line another.
		char *number = strchr(link, '[');
		if (number)
			*number = 0;
		snprintf(line, sizeof line, "opened %s of %s with %llx: %s\n", what, victim->name,
			victim->permitted, link);
		say_once(line);
	}
	if (fd >= 0)
		close(fd);
}

static void visit(int pid)
{
	char path[64], line[64];
	struct victim victim = { .pid = pid };
	if (!identify(&victim))
		return;
	snprintf(line, sizeof line, "saw %s\n", victim.name);
	say_once(line);
	take(&victim, "exe", O_RDONLY);
	take(&victim, "root", O_PATH);
	take(&victim, "cwd", O_PATH);
	take(&victim, "mem", O_RDWR);
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	DIR *folder = opendir(path);
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		char what[300];
		snprintf(what, sizeof what, "fd/%s", entry->d_name);
		if (entry->d_name[0] != '.')
			take(&victim, what, O_RDONLY);
	}
	if (folder)
		closedir(folder);
}

int main(void)
{
	watch(visit);
}
