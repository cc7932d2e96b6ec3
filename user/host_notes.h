/* host_notes.h: which routes of the kernel's are this instance's, in a file that outlives the process: they bear the protocol
 * number of all instances, and nothing else in them says whose they are.
 */
#ifndef SLUICE_HOST_NOTES_H
#define SLUICE_HOST_NOTES_H

#include <stdbool.h>
#include "err.h"
#include "text.h"

struct host_note {
	struct prefix to;
	uint32_t table, metric; /* as the kernel has them */
};

struct host_notes;

/* What was noted and not taken back. 0; -ENOENT: there is no such file; a non-zero return of `fn`; -errno. */
int host_notes_read(const char *file, int (*fn)(const struct host_note *note, void *arg), void *arg);

/* A new file, which takes the place of `file` when host_notes_use() says so: until then that is as it was. NULL with words. */
struct host_notes *host_notes_new(const char *file, struct errs *errs);
int host_notes_use(struct host_notes *n, struct errs *errs);
void host_notes_close(struct host_notes *n); /* accepts NULL; what was not put to use is gone */

/* A route is about to be put into the kernel, or is gone from there. In use, the note is in the file at once. -EIO: it cannot be
 * written. */
int host_notes_put(struct host_notes *n, const struct host_note *note);
int host_notes_drop(struct host_notes *n, const struct host_note *note);
size_t host_notes_written(const struct host_notes *n); /* since it is new */

#endif
