// A2, A3 / T03, T06: a library that /etc/ld.so.preload of the target names, or
// LD_PRELOAD: leaves a mark when a program loads it. It is $PRELOAD_MARK, or
// /tmp/preloaded.
// gcc: -shared -fPIC

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void loaded(void)
{
	const char *mark = getenv("PRELOAD_MARK");
	close(open(mark ? mark : "/tmp/preloaded", O_WRONLY | O_CREAT, 0644));
}
