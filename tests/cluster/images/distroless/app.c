// Stands for a service in a distroless image: the only program in it, and all
// it does is to wait until it is told to stop.
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void stop(int signal) {
	(void)signal;
	_exit(0);
}

int main(int argc, char **argv) {
	if (argc != 2 || strcmp(argv[1], "--serve") != 0) {
		static const char usage[] = "usage: app --serve\n";
		(void)!write(2, usage, sizeof usage - 1);
		return 2;
	}
	// PID 1 of a container: without a handler the kernel would drop SIGTERM.
	struct sigaction on_stop = {.sa_handler = stop};
	sigaction(SIGTERM, &on_stop, NULL);
	sigaction(SIGINT, &on_stop, NULL);
	for (;;) {
		pause();
	}
}
