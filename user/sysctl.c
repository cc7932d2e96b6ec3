/* sysctl.c: see sysctl.h. */
#include "sysctl.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "file.h"

static int open_switch(int flags, const char *fmt, va_list ap)
{
	char path[160];
	size_t n = (size_t)snprintf(path, sizeof(path), "/proc/sys/net/");

	if ((size_t)vsnprintf(path + n, sizeof(path) - n, fmt, ap) >= sizeof(path) - n)
		return -1;
	return open(path, flags | O_CLOEXEC);
}

static void read_value(char *buf, size_t size, const char *fmt, va_list ap)
{
	int fd = open_switch(O_RDONLY, fmt, ap);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		close(fd);
}

char sysctl_get(const char *fmt, ...)
{
	char buf[2];
	va_list ap;

	va_start(ap, fmt);
	read_value(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	return buf[0];
}

uint32_t sysctl_number(uint32_t otherwise, const char *fmt, ...)
{
	char buf[16];
	uint32_t ret;
	va_list ap;

	va_start(ap, fmt);
	read_value(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	buf[strcspn(buf, "\n")] = 0;
	return u32_parse(buf, 0, UINT32_MAX, &ret) ? otherwise : ret;
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

/* ---- notes */

static int notes = -1;

int sysctl_notes_open(const char *file, struct errs *errs)
{
	notes = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	return notes < 0 ? errs_fail(errs, errno, "%s cannot be written: %s", file, strerror(errno)) : 0;
}

/* In one write: a line is there as a whole, or not at all. What cannot be noted is set all the same: the maps know it too. */
void sysctl_note(bool set, const char *fmt, ...)
{
	char line[160] = {set ? '+' : '-'};
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = 1 + (size_t)vsnprintf(line + 1, sizeof(line) - 2, fmt, ap);
	va_end(ap);
	if (notes < 0 || n > sizeof(line) - 2)
		return;
	line[n] = '\n';
	if (write(notes, line, n + 1) < 0)
		return;
}

static bool is_set_back(const char *name, const char *rest)
{
	char line[160];

	snprintf(line, sizeof(line), "\n-%s\n", name);
	return strstr(rest, line) != NULL;
}

void sysctl_notes_undo(const char *file)
{
	char *text, *line, *end;
	size_t len;

	if (file_read(file, &text, &len))
		return;
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		char name[128];

		if (*line != '+' || (size_t)(end - line) > sizeof(name) || strncmp(line + 1, "ipv", 3))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(end - line - 1), line + 1);
		if (!strstr(name, "/../") && !is_set_back(name, end) && sysctl_get("%s", name) == '1')
			sysctl_set("0", "%s", name);
	}
	free(text);
}
