// A10 / T19: what a core_pattern that begins with | runs, in the node's
// namespaces and as root: writes into a file which PID namespace the process
// that crashed is in, and reads the dump to its end.
//
// usage: record_core FILE PID < dump

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	char dump[65536], path[64], namespace[64] = "";
	if (count != 3)
		return 1;
	snprintf(path, sizeof path, "/proc/%s/ns/pid", arguments[2]);
	if (readlink(path, namespace, sizeof namespace - 1) < 0)
		return 1;
	int file = open(arguments[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
	dprintf(file, "%s\n", namespace);
	close(file);
	while (read(0, dump, sizeof dump) > 0)
		;
	return 0;
}
