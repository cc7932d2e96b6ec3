/* pin.c: the directories of an instance under the bpffs: maps/, progs/, links/, and who may work in them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "datapath_priv.h"

static void translate(char *s, char from, char to)
{
	for (; *s; s++)
		if (*s == from)
			*s = to;
}

void pin_path(char *buf, size_t size, const char *root, const char *dir, const char *name)
{
	int n = snprintf(buf, size, "%s/%s/", root, dir);

	if (n < 0 || (size_t)n >= size)
		return;
	snprintf(buf + n, size - (size_t)n, "%s", name);
	translate(buf + n, '.', ':');
}

static int make_dir(const char *path, struct errs *errs)
{
	if (mkdir(path, 0700) && errno != EEXIST) {
		int err = errno;

		return errs_fail(errs, err, "%s cannot be made: %s", path, strerror(err));
	}
	return 0;
}

int pin_mkdirs(struct datapath *dp, struct errs *errs)
{
	static const char *const dirs[] = {"maps", "progs", "links"};
	char path[PATH_MAX];
	int err;

	err = make_dir(BPFFS "/sluice", errs);
	if (!err)
		err = make_dir(dp->root, errs);
	for (size_t i = 0; !err && i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dp->root, dirs[i]);
		err = make_dir(path, errs);
	}
	return err;
}

int pin_lock(struct datapath *dp, struct errs *errs)
{
	int err;

	dp->lock_fd = open(dp->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dp->lock_fd >= 0 && !flock(dp->lock_fd, LOCK_EX | LOCK_NB))
		return 0;
	err = errno;
	if (err == EWOULDBLOCK)
		return errs_fail(errs, EBUSY, "instance '%s' is in use by another sluiced", dp->instance);
	return errs_fail(errs, err, "%s cannot be locked: %s", dp->root, strerror(err));
}

int pin_replace(const char *path, int fd)
{
	char tmp[PATH_MAX];
	int err;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s-new", path) >= sizeof(tmp))
		return -ENAMETOOLONG;
	if (unlink(tmp) && errno != ENOENT)
		return -errno;
	err = bpf_obj_pin(fd, tmp);
	if (err)
		return err;
	if (rename(tmp, path)) {
		err = -errno;
		unlink(tmp);
	}
	return err;
}

/* Names are gathered first: the callbacks unlink. */
int pin_each(const char *root, const char *dir, int (*fn)(const char *name, void *arg), void *arg)
{
	struct dirent **list;
	char path[PATH_MAX];
	int n, err = 0;

	snprintf(path, sizeof(path), "%s/%s", root, dir);
	n = scandir(path, &list, NULL, alphasort);
	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		if (!err && list[i]->d_name[0] != '.') {
			translate(list[i]->d_name, ':', '.');
			err = fn(list[i]->d_name, arg);
		}
		free(list[i]);
	}
	free(list);
	return err;
}

struct dir_of {
	const char *root, *dir;
};

static int unlink_one(const char *name, void *arg)
{
	const struct dir_of *d = arg;
	char path[PATH_MAX];

	pin_path(path, sizeof(path), d->root, d->dir, name);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

int pin_clear(const char *root, const char *dir)
{
	struct dir_of d = {root, dir};

	return pin_each(root, dir, unlink_one, &d);
}
