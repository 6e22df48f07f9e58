// A44 / T57: connects to every abstract unix socket and every TCP port of the
// loopback interface; says which of them answer.
//
// usage: knock [listen]
//
// With listen it opens one of each instead, as a helper with a control socket
// would, and says "ready".

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_in port(int number)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(number) };
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static socklen_t abstract(struct sockaddr_un *address, const char *name)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strncpy(address->sun_path + 1, name, sizeof address->sun_path - 2);
	return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
}

static void open_both(void)
{
	struct sockaddr_in address = port(4242);
	struct sockaddr_un name;
	socklen_t length = abstract(&name, "control");
	int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(tcp, (void *)&address, sizeof address) || listen(tcp, 8))
		err(1, "port");
	if (bind(local, (void *)&name, length) || listen(local, 8))
		err(1, "name");
	printf("ready\n");
	fflush(stdout);
	pause();
}

int main(int count, char **arguments)
{
	char line[512];
	if (count > 1 && !strcmp(arguments[1], "listen"))
		open_both();
	FILE *names = fopen("/proc/net/unix", "r");
	while (names && fgets(line, sizeof line, names)) {
		char *name = strstr(line, " @");
		if (!name)
			continue;
		name[strcspn(name, "\n")] = 0;
		struct sockaddr_un address;
		socklen_t length = abstract(&address, name + 2);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		int answered = connect(fd, (void *)&address, length) == 0;
		printf("%s: %s\n", name + 1, answered ? "answers" : "is there");
		close(fd);
	}
	int tried = 0;
	for (int number = 1; number < 65536; number++) {
		struct sockaddr_in address = port(number);
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct sockaddr_in own = { 0 };
		socklen_t length = sizeof own;
		// A port that was picked for this very socket answers itself.
		if (connect(fd, (void *)&address, sizeof address) == 0 &&
		    getsockname(fd, (void *)&own, &length) == 0 && own.sin_port != address.sin_port)
			printf("port %d answers\n", number);
		tried += fd >= 0;
		close(fd);
	}
	printf("tried %d\n", tried);
	return 0;
}
