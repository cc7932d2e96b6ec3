/* state.h: what must outlive sluiced: the running model, where it came from, and what waits to be confirmed.
 *
 * A directory per instance, /run/sluice/INSTANCE, holds
 *   lock            flock()ed while sluiced runs, with its process id
 *   running.yaml    the model in force, with a header: the hash of the configuration file it grew from, and whether it was
 *                   changed since (by the API or the CLI)
 *   base.yaml       the model as that configuration file had it, to tell the changes made at run time
 *   pending.yaml    only while a change waits to be confirmed: the model to go back to, and when
 *   sysctls         which of the kernel's switches sluiced has set (sysctl.h)
 *   routes          which of the kernel's routes sluiced has put there (host_notes.h)
 *   history-N.yaml  the models that were in force before, 1 is the newest
 * Every file is written whole: a temporary file, fsync, rename. A crash leaves the old or the new one.
 */
#ifndef SLUICE_STATE_H
#define SLUICE_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "err.h"
#include "file.h"
#include "model.h"

#define STATE_RUN	"/run/sluice"
#define STATE_HISTORY	10
#define STATE_DIR_MAX	200
#define STATE_SYSCTLS	"sysctls"
#define STATE_NAT_OWED	"nat-owed"
#define STATE_NAT_RULES "nat-rules"
#define STATE_ROUTES	"routes"

/* A running model as it was written: it becomes history, mostly with the next change. */
struct state_written {
	char *yaml;
	const struct model *of; /* not to be followed: it may be gone */
};

struct state {
	char dir[STATE_DIR_MAX];
	char *config; /* path of the configuration file */
	int lock_fd;
	bool has_hash;			      /* a configuration file was read, ever */
	uint64_t hash;			      /* of the configuration file as it was last read or written */
	struct model *base;		      /* the model as that file had it; NULL: none */
	struct state_written written, former; /* the last running model, and the one before it */
	int changes; /* of the running model against it, when that was last written; negative: there is no base */
};

/* What a former life left behind. Models are the caller's. */
struct state_saved {
	struct model *running; /* NULL: nothing saved, or not readable */
	bool has_hash;
	uint64_t hash;
	struct model *pending;		      /* NULL: nothing waits to be confirmed */
	uint64_t deadline_s;		      /* CLOCK_BOOTTIME */
	struct model *history[STATE_HISTORY]; /* [0] is the newest; NULL from the first absent one on */
	uint64_t replaced_s[STATE_HISTORY];   /* when each was replaced: seconds since 1970 */
};

/* Names an instance: letters, digits, `-`, `_`, `.`, at most 32, not beginning with a dot or a dash. */
bool state_instance_ok(const char *instance);
/* Makes RUN/INSTANCE (mode 0755) and takes the lock. -EBUSY, with the process id in words, when another sluiced has it. */
int state_open(const char *run, const char *instance, const char *config, struct state **ret, struct errs *errs);
/* Releases the lock and keeps the files; where no running model was ever written, the directory goes. Accepts NULL. */
void state_close(struct state *s);
/* Of a file of it. */
void state_path(const struct state *s, const char *name, char buf[FILE_PATH]);
/* The process id in the lock of a running instance; 0: none runs. */
pid_t state_running_pid(const char *run, const char *instance);

/* Unreadable files are reported in `errs` and count as absent: 0 always, but -ENOMEM. Fills s->base and s->hash too. */
int state_load(struct state *s, struct state_saved *ret, struct errs *errs);
void state_saved_free(struct state_saved *saved);

/* The running model. With `base`, the model of the configuration file whose hash is `hash`, that file is from now on where the
 * running model comes from. On failure s->base and s->hash are what they were. */
int state_write(struct state *s, const struct model *running, const struct model *base, uint64_t hash, struct errs *errs);
int state_write_pending(struct state *s, const struct model *back, uint64_t deadline_s, struct errs *errs);
int state_clear_pending(struct state *s, struct errs *errs);
/* `former` becomes history-1, the others move on by one, the oldest goes. */
int state_push_history(struct state *s, const struct model *former, uint64_t replaced_s, struct errs *errs);
/* The running model into the configuration file; what was there is kept as FILE.bak. */
int state_save_config(struct state *s, const struct model *running, struct errs *errs);
/* Every file, the lock too, and the directory: the instance has ended for good. Only state_close() may follow. */
int state_remove(struct state *s, struct errs *errs);

uint64_t state_now_s(void); /* CLOCK_BOOTTIME, seconds */

#endif
