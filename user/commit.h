/* commit.h: makes a model the running one, whole or not at all.
 *
 * A commit checks the new model, puts it into sw->model and has every noun reconcile in the order that sw.h gives. When one
 * of them refuses, the old model is put back and everything is reconciled again, so that the tables say what they said
 * before. Programs are reloaded before the reconciliation when the new model needs more features than are loaded, and after
 * it when it needs fewer: at no time does a table hold what the programs cannot use.
 *
 * A commit can ask to be confirmed: unless commit_confirm() comes in time, the model before it is put back; also when
 * sluiced was killed in between (state.h keeps the deadline). The last models are kept for commit_rollback().
 */
#ifndef SLUICE_COMMIT_H
#define SLUICE_COMMIT_H

#include "confirm.h"
#include "sw.h"
#include "state.h"

struct commit;

/* Threads. What follows is called by one at a time: in a piece of commit_do(), or before the loop runs. */

struct commit_options {
	bool dry_run;	    /* check and compare only */
	uint32_t confirm_s; /* 0: in force at once and for good */
	bool force;	    /* take every port away, if that is what the model says */
	const char *what;   /* who asks, for status and log: "api", "SIGHUP", … */
	/* The model is the content of the configuration file, which has this hash. */
	bool is_config;
	uint64_t hash;
};

#define COMMIT_WHAT 128 /* longest `what` that is kept whole */

/* What programs must be able to do for a model. `flows`: entries are left that NAT made. */
struct datapath_features commit_features(const struct model *m, bool flows, bool trace);

/* `loaded`: what the datapath was opened with. */
int commit_open(struct sw *sw, struct state *state, const struct datapath_features *loaded, struct commit **ret,
		struct errs *errs);
void commit_close(struct commit *c);

/* The first reconciliation, with sw->model as it is. When it fails and `former` is not NULL, the tables are made to fit
 * `former` again (it is not kept). History and a pending confirmation are taken out of `saved`. A pending change whose time
 * has come is not for this function: the caller starts with saved->pending then, and sets it to NULL. */
int commit_start(struct commit *c, struct state_saved *saved, const struct model *former, const struct commit_options *o,
		 struct errs *errs);

/* `new_model` is consumed, whatever happens. *ret_diff (may be NULL) is model_diff() of running and new.
 * -EINVAL: refused by the check, or a model without ports for a switch that has some, and no `force`; -EBUSY: another change
 * waits to be confirmed; -ECANCELED: a noun refused (the first refusal in words), and the old model is in force. */
int commit_apply(struct commit *c, struct model *new_model, const struct commit_options *o, json_t **ret_diff, struct errs *errs);
/* -ENOENT: nothing waits. */
int commit_confirm(struct commit *c, struct errs *errs);
/* To the model `steps` (1..) changes ago. With 1, while a change waits to be confirmed, to the one before it, at once. */
int commit_rollback(struct commit *c, unsigned steps, json_t **ret_diff, struct errs *errs);
/* The running model into the configuration file. Refused while a change waits to be confirmed. */
int commit_save(struct commit *c, struct errs *errs);

/* fn(arg) beside the loop, in a thread, after all that were asked for before; then done(arg) in the loop. While it runs, nobody
 * else changes the running model or its record, so that fn() may read them and call the functions above. When sluiced ends first,
 * only done() is called. -ENOMEM: neither is. In the loop only. */
int commit_do(struct commit *c, void (*fn)(void *arg), void (*done)(void *arg), void *arg);

/* In the loop only. What is told of commits in `status`: {"commits", "history": [{"steps", "replaced"}], "confirm": null |
 * {"seconds_left"}, "config": {"file", "changed_at_run_time", "changes"}, "features": {...}, "last_change": {"by", "time"}}. */
json_t *commit_show(struct commit *c);

#endif
