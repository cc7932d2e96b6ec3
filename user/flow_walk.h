/* flow_walk.h: the connections of both tables one after the other, some in each turn of the event loop: between the flow table
 * and answers in pieces (http.h).
 *
 * What a walk sees: every connection that is there from its beginning to its end, once; of those that begin or end meanwhile,
 * some. When the tables get another size under it, it begins anew, or goes on about where it was: then it may see connections
 * twice, and miss some.
 */
#ifndef SLUICE_FLOW_WALK_H
#define SLUICE_FLOW_WALK_H

#include "flow_filter.h"
#include "flow_priv.h"

struct evbuffer;

#define FLOW_WALK_BATCH 32

struct flow_walk {
	struct flows *flows;
	struct flow_filter *filter; /* NULL: all; the walk's own */
	bool whole;		    /* both directions will be needed */
	uint64_t begin_ns, now_ns;  /* CLOCK_MONOTONIC, of the walk and of the turn */
	int tab;
	uint32_t next; /* slot */
	struct flowtab was[2];
	/* Connections that were found and not yet given: what is needed of the other direction comes to the CPU meanwhile. */
	struct flow_pair pair[FLOW_WALK_BATCH];
	struct flow flow[FLOW_WALK_BATCH];
	unsigned n, given;
};

/* The filter, read. -EINVAL with words (and the column), -ENOMEM. NULL or no text: all connections. */
int flow_walk_filter(struct sw *sw, const char *text, struct flow_filter **ret, struct errs *errs);
/* Begins a walk. -EINVAL with words, -ENOMEM. */
int flow_walk_open(struct flow_walk *w, struct sw *sw, const char *filter, struct errs *errs);
void flow_walk_close(struct flow_walk *w);
/* Have the tables got another size since the last question? Then, with `restart`, the walk begins anew. */
bool flow_walk_moved(struct flow_walk *w, bool restart);
/* Gives the function connections that the filter matches, until some milliseconds have gone by or it returns false. False: that
 * was all. */
bool flow_walk_some(struct flow_walk *w, bool (*fn)(struct flow_pair *p, const struct flow *f, void *arg), void *arg);

#endif
