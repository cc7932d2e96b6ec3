/* commit_priv.h: what commit.c (what is to be in force, and the record of it) and commit_install.c (how it comes into force)
 * share.
 */
#ifndef SLUICE_COMMIT_PRIV_H
#define SLUICE_COMMIT_PRIV_H

#include "beside.h"
#include "commit.h"

struct former {
	struct model *model;
	uint64_t replaced_s; /* since 1970 */
};

/* Written in the loop only, by pieces of beside.h one after another: which therefore may read it. */
struct commit {
	struct sw *sw;
	struct state *state;
	struct beside *beside;
	struct datapath_features loaded;
	bool yielded;			      /* a change of the tables' size gave way to an exchange of programs */
	struct former history[STATE_HISTORY]; /* [0] is the newest */
	size_t n_history;

	struct model *back;  /* where an unconfirmed change goes back to; NULL: nothing waits */
	uint64_t deadline_s; /* CLOCK_BOOTTIME */
	struct event *timer;

	uint64_t commits;
	char what[COMMIT_WHAT + 1]; /* who made the last change */
	uint64_t changed_s;	    /* and when, since 1970; 0: none since the start */
	int changes;		    /* of the running model against the configuration file; negative: there is none */
};

/* In what follows `errs` is not NULL. */

/* What is loaded and what `m` needs, both: before a reconciliation. */
int commit_grow(struct commit *c, const struct model *m, struct errs *errs);
/* sw->model = m, and every noun in its order until one refuses; then no more programs than are needed. */
int commit_reconcile(struct commit *c, struct model *m, struct errs *errs);
/* The same for what was in force before, whatever refuses: which is logged. */
void commit_back(struct commit *c, struct model *old);
/* sw->model = m and everything reconciled, or as it was before and -ECANCELED, whatever number the noun gave: for the caller
 * it is not his request that was wrong. Does not own either model. */
int commit_install(struct commit *c, struct model *m, struct errs *errs);

#endif
