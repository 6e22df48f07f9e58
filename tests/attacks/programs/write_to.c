// A1 / T01: opens descriptor N anew for writing, again and again for 4 s: as
// long as the program is executed that fails with ETXTBSY. Appends to
// /tmp/written: "tried" at once, and "overwritten" if it was. Closes the descriptor
// TRIED after the first try.
//
// usage: write_to N TRIED

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	char path[32];
	int report = open("/tmp/written", O_WRONLY | O_CREAT | O_APPEND, 0666);
	snprintf(path, sizeof path, "/proc/self/fd/%s", count > 1 ? arguments[1] : "0");
	for (int tries = 0; tries < 800; tries++) {
		int fd = open(path, O_WRONLY);
		if (tries == 0) {
			dprintf(report, "tried\n");
			close(count > 2 ? atoi(arguments[2]) : -1);
		}
		// A sealed copy may be opened, and still not be written.
		if (fd >= 0 && write(fd, "#!/bin/sh\necho overwritten\n", 27) == 27)
			return dprintf(report, "overwritten\n") < 0;
		usleep(5000);
	}
	return 1;
}
