/* daemon.h: the life of sluiced: start, run, stop; and the end of an instance.
 *
 * Stopping is not ending: pins, attachments and netdevs stay, and packets keep flowing until the next sluiced adopts them,
 * or daemon_destroy() takes them away.
 */
#ifndef SLUICE_DAEMON_H
#define SLUICE_DAEMON_H

#include <stdbool.h>
#include "err.h"

#define DAEMON_CONFIG	"/etc/sluice/sluice.yaml"
#define DAEMON_INSTANCE "default"

struct daemon_options {
	const char *run;    /* "/run/sluice" */
	const char *config; /* path of the configuration file */
	const char *instance;
	const char *socket; /* NULL: RUN/INSTANCE/api.sock */
	bool trace;	    /* programs with traces, for tests */
};

/* Runs until SIGTERM or SIGINT. 0, or -errno with words when the start failed (then traffic is as it was before). */
int daemon_run(const struct daemon_options *o, struct errs *errs);
struct model;
struct state;

/* For daemon_destroy(): reconciles every noun with an empty model. `former` is what was in force. */
int daemon_empty(const struct daemon_options *o, struct state *state, struct model *former, struct errs *errs);
/* Takes the instance away: pins, attachments, netdevs, its routes in the kernel, its saved state. -EBUSY while a sluiced runs
 * it, unless `stop`: then that one is told to end first. */
int daemon_destroy(const struct daemon_options *o, bool stop, struct errs *errs);

#endif
