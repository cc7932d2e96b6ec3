/* file.h: whole files in and out, and what sluiced needs of directories and sockets in the file system.
 *
 * Knows nothing of the model. All return 0 or -errno, without words.
 */
#ifndef SLUICE_FILE_H
#define SLUICE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FILE_PATH 512
#define FILE_TMP  ".tmp" /* behind the name of a file that is being written */

/* The whole file into a NUL-terminated buffer (caller frees); -EFBIG above 64 MiB. */
int file_read(const char *path, char **ret, size_t *ret_len);
/* `header` and `text` into `path`, whole or not at all: a temporary file, fsync, rename, fsync of the directory. */
int file_write(const char *path, const char *header, const char *text, mode_t mode);
/* The permissions of a file, or `otherwise` when it cannot be asked. */
mode_t file_mode(const char *path, mode_t otherwise);
/* mkdir(2); 0 too when it is there. */
int file_make_dir(const char *path, mode_t mode);
/* flock(2) with this process's id in the file; held until *ret_fd is closed. -EWOULDBLOCK and the owner when it is taken. */
int file_lock(const char *path, int *ret_fd, pid_t *ret_owner);
pid_t file_lock_owner(const char *path); /* 0: nobody holds it */
/* FNV-1a: detects that a file was edited; it protects against nothing else. */
uint64_t file_hash(const void *data, size_t len);

#endif
