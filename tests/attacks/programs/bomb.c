// A41 / T49: multiplies without end; only to be started where a cgroup bounds
// it. Each of it tries every 10 ms: there is never room for a process more, and
// still time for others.

#include <unistd.h>

int main(void)
{
	for (;;) {
		fork();
		usleep(10000);
	}
}
