// A2 / T03: a library that /etc/ld.so.preload of the target names: leaves the
// mark /tmp/preloaded when a program loads it.
// gcc: -shared -fPIC

#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void loaded(void)
{
	close(open("/tmp/preloaded", O_WRONLY | O_CREAT, 0644));
}
