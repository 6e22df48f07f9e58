// A2 / T03: a tool that is linked as distributions link theirs.
// gcc: -O1

#include <stdio.h>

int main(void)
{
	return puts("a tool") < 0;
}
