/* netns.h: a fresh network namespace for a unit test, without root where the system lets users have one. */
#ifndef SLUICE_TEST_NETNS_H
#define SLUICE_TEST_NETNS_H

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int netns_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	int r;

	if (!f)
		return -errno;
	r = fputs(text, f) < 0 ? -errno : 0;
	return fclose(f) < 0 && r == 0 ? -errno : r;
}

/* Moves this process into a user namespace where it is root, unless it is root already. */
static inline int netns_become_root(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[64];
	int r;

	if (!uid)
		return 0;
	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	netns_write("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	r = netns_write("/proc/self/uid_map", map);
	if (r < 0)
		return r;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return netns_write("/proc/self/gid_map", map);
}

/* Into a fresh network namespace. 0 or -errno. */
static inline int netns_enter(void)
{
	return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}

/* Runs one ip(8) command; its exit code. */
static inline int __attribute__((format(printf, 1, 2))) ip_try(const char *fmt, ...)
{
	char args[1024], command[1100];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "ip %s", args);
	return system(command);
}

#define ip(...) assert_int_equal(ip_try(__VA_ARGS__), 0)

#endif
