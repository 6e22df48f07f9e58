// Stands for a service with threads: three workers with names, each with
// functions of known names on its stack, a system call every 100 ms, and a
// counter that grows. Not stripped: debuggers have something to show.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

enum { WORKERS = 3 };

volatile unsigned long requests_served;

static void stop(int signal) {
	(void)signal;
	_exit(0);
}

static void wait_for_request(void) {
	struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
	nanosleep(&pause, NULL);
}

static void serve_requests(unsigned long count) {
	for (unsigned long served = 0; served < count; served++) {
		wait_for_request();
		requests_served++;
	}
}

static void *worker(void *name) {
	pthread_setname_np(pthread_self(), name);
	serve_requests(-1ul);
	return NULL;
}

static void *answer(void *text) {
#ifdef __GLIBC__
	printf("%s glibc %s\n", (const char *)text, gnu_get_libc_version());
#else
	printf("%s another libc\n", (const char *)text);
#endif
	return NULL;
}

int main(int argc, char **argv) {
	pthread_t thread;
	if (argc == 2 && strcmp(argv[1], "--libc") == 0) {
		return pthread_create(&thread, NULL, answer, "this app runs on") != 0
			|| pthread_join(thread, NULL) != 0;
	}
	// PID 1 of a container: without a handler the kernel would drop SIGTERM.
	struct sigaction on_stop = {.sa_handler = stop};
	sigaction(SIGTERM, &on_stop, NULL);
	static char names[WORKERS][sizeof "worker-0"];
	for (int i = 0; i < WORKERS; i++) {
		snprintf(names[i], sizeof names[i], "worker-%d", i + 1);
		if (pthread_create(&thread, NULL, worker, names[i]) != 0) {
			return 1;
		}
	}
	for (;;) {
		pause();
	}
}
