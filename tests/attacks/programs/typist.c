// A34 / T31: what entering without a terminal of one's own amounts to: makes
// one in the container's /dev/pts, and types a password into it for a second.

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (master < 0 || grantpt(master) || unlockpt(master) || !ptsname(master))
		err(1, "make a terminal");
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	for (int tries = 0; slave >= 0 && tries < 100; tries++) {
		if (write(master, "hunter2\n", 8) != 8)
			err(1, "type");
		usleep(10000);
	}
	return 0;
}
