/* sysctl.c: see sysctl.h. */
#include "sysctl.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_switch(int flags, const char *fmt, va_list ap)
{
	char path[160];
	size_t n = (size_t)snprintf(path, sizeof(path), "/proc/sys/net/");

	if ((size_t)vsnprintf(path + n, sizeof(path) - n, fmt, ap) >= sizeof(path) - n)
		return -1;
	return open(path, flags | O_CLOEXEC);
}

char sysctl_get(const char *fmt, ...)
{
	va_list ap;
	char c = 0;
	int fd;

	va_start(ap, fmt);
	fd = open_switch(O_RDONLY, fmt, ap);
	va_end(ap);
	if (fd < 0)
		return 0;
	if (read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c;
}

bool sysctl_set(const char *value, const char *fmt, ...)
{
	va_list ap;
	bool done;
	int fd;

	va_start(ap, fmt);
	fd = open_switch(O_WRONLY, fmt, ap);
	va_end(ap);
	if (fd < 0)
		return false;
	done = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return done;
}
