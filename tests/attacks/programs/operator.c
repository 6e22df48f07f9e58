// A33 / T44: an operator's terminal: runs a program with it as the controlling
// terminal, stdin, stdout and stderr staying what they are; then writes to FILE
// what waits to be read from the terminal: what the operator's shell would run.
//
// usage: operator FILE PROGRAM ARGUMENT...

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	char text[4096];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (count < 3 || master < 0 || grantpt(master) || unlockpt(master) || setsid() < 0)
		err(1, "make a terminal");
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ioctl(slave, TIOCSCTTY, 0))
		err(1, "take the terminal");
	int child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(arguments[2], arguments + 2);
		err(1, "%s", arguments[2]);
	}
	// Only the program keeps the pipes to the test open.
	close(0);
	close(1);
	waitpid(child, NULL, 0);
	int report = open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
	fcntl(slave, F_SETFL, O_NONBLOCK);
	for (ssize_t length; (length = read(slave, text, sizeof text)) > 0;)
		if (write(report, text, length) != length)
			err(1, "%s", arguments[1]);
	// Says that it was written.
	return write(report, "end\n", 4) != 4;
}
