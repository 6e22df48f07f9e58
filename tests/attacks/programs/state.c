// A13 / T22: what a program inherits besides descriptors and credentials, one
// NAME VALUE a line.

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

int main(void)
{
	struct sigaction action;
	struct rlimit limit;
	struct itimerval timer;
	sigset_t mask;
	cpu_set_t processors;
	int ignored = 0, blocked = 0;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int number = 1; number <= 64; number++) {
		ignored += !sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN;
		blocked += sigismember(&mask, number) == 1;
	}
	printf("ignored %d\nblocked %d\n", ignored, blocked);
	printf("umask %03o\n", umask(0));
	getrlimit(RLIMIT_CORE, &limit);
	printf("core %lu %lu\n", limit.rlim_cur, limit.rlim_max);
	getrlimit(RLIMIT_NOFILE, &limit);
	printf("files %s\n", limit.rlim_cur >= 1024 ? "enough" : "few");
	printf("personality %x\n", personality(0xffffffff));
	printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
	sched_getaffinity(0, sizeof processors, &processors);
	int all = CPU_COUNT(&processors) == sysconf(_SC_NPROCESSORS_ONLN);
	printf("processors %s\n", all ? "all" : "some");
	getitimer(ITIMER_REAL, &timer);
	printf("timer %ld\n", (long)timer.it_value.tv_sec);
	printf("slack %d\n", prctl(PR_GET_TIMERSLACK));
	return 0;
}
