/* file.c: between sluiced's state (and the CLI, which reads configurations) and the file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "file.h"

#define SIZE_LIMIT (64u << 20)

uint64_t file_hash(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}

int file_read(const char *path, char **ret, size_t *ret_len)
{
	size_t len = 0, room = 65536;
	char *buf = NULL, *more;
	FILE *f = fopen(path, "re");
	int r = 0;

	if (!f)
		return -errno;
	for (;;) {
		more = realloc(buf, room + 1);
		if (!more) {
			r = -ENOMEM;
			break;
		}
		buf = more;
		errno = 0;
		len += fread(buf + len, 1, room - len, f);
		if (ferror(f))
			r = errno ? -errno : -EIO;
		if (len < room)
			break;
		room *= 2;
		if (room > SIZE_LIMIT) {
			r = -EFBIG;
			break;
		}
	}
	fclose(f);
	if (r) {
		free(buf);
		return r;
	}
	buf[len] = '\0';
	*ret = buf;
	*ret_len = len;
	return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int sync_dir(const char *path)
{
	char dir[FILE_PATH];
	char *slash;
	int fd, r;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == dir)
		slash++;
	if (slash)
		*slash = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd) && errno != EINVAL ? -errno : 0;
	close(fd);
	return r;
}

int file_write(const char *path, const char *header, const char *text, mode_t mode)
{
	char tmp[FILE_PATH];
	int fd, r;

	if (snprintf(tmp, sizeof(tmp), "%s" FILE_TMP, path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = write_all(fd, header, strlen(header));
	if (!r)
		r = write_all(fd, text, strlen(text));
	if (!r && fsync(fd))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	if (!r && rename(tmp, path))
		r = -errno;
	if (r) {
		unlink(tmp);
		return r;
	}
	return sync_dir(path);
}

mode_t file_mode(const char *path, mode_t otherwise)
{
	struct stat st;

	return stat(path, &st) ? otherwise : st.st_mode & 0777;
}

int file_make_dir(const char *path, mode_t mode)
{
	return mkdir(path, mode) && errno != EEXIST ? -errno : 0;
}

static pid_t read_pid(int fd)
{
	char buf[32] = "";
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	return n > 0 ? (pid_t)strtol(buf, NULL, 10) : 0;
}

/* The file was locked and removed by an instance that ended for good, between our open() and our flock(). */
static bool is_stale(int fd, const char *path)
{
	struct stat here, there;

	return fstat(fd, &here) || stat(path, &there) || here.st_ino != there.st_ino || here.st_dev != there.st_dev;
}

static int lock_once(const char *path, int *ret_fd, pid_t *ret_owner)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	char pid[32];
	int r = 0;

	if (fd < 0)
		return -errno;
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		r = -errno;
		*ret_owner = read_pid(fd);
	} else if (is_stale(fd, path)) {
		r = -ESTALE;
	} else if (ftruncate(fd, 0)) {
		r = -errno;
	} else {
		r = write_all(fd, pid, strlen(pid));
	}
	if (r)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int file_lock(const char *path, int *ret_fd, pid_t *ret_owner)
{
	int r = -ESTALE;

	for (int i = 0; i < 10 && r == -ESTALE; i++)
		r = lock_once(path, ret_fd, ret_owner);
	return r;
}

pid_t file_lock_owner(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	pid_t pid = 0;

	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK)
		pid = read_pid(fd);
	close(fd);
	return pid;
}
