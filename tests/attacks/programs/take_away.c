// A5 / T10: tries to remove, move and replace entries of a root that something
// is mounted on in another mount namespace.
//
// usage: take_away ROOT NAME...
//
// Says "NAME WHAT had" or "NAME WHAT ERRNO" of each try.

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int root;

static int move(const char *from, const char *to, unsigned flags)
{
	return renameat2(root, from, root, to, flags);
}

static int removed(const char *name)
{
	int result = unlinkat(root, name, AT_REMOVEDIR);
	return result && errno == ENOTDIR ? unlinkat(root, name, 0) : result;
}

static int say(const char *name, const char *what, int result)
{
	printf("%s %s %s\n", name, what, result ? strerrorname_np(errno) : "had");
	return result;
}

int main(int count, char **arguments)
{
	root = count > 2 ? open(arguments[1], O_PATH | O_DIRECTORY) : -1;
	// That this works shows that the attacker may write there.
	if (root < 0 || mkdirat(root, "planted", 0755))
		err(1, "plant a folder");
	for (int index = 2; index < count; index++) {
		const char *name = arguments[index];
		if (!say(name, "exchange", move(name, "planted", RENAME_EXCHANGE)))
			move(name, "planted", RENAME_EXCHANGE);
		if (!say(name, "move", move(name, "moved", 0)))
			move("moved", name, 0);
		say(name, "replace", move("planted", name, 0));
		say(name, "remove", removed(name));
		mkdirat(root, "planted", 0755);
	}
	return 0;
}
