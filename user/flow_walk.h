/* flow_walk.h: the connections of both tables one after the other, some in each turn of the event loop: between the flow table and
 * answers in pieces (http.h).
 *
 * What a walk sees: every connection that is there from its beginning to its end, once; of those that begin or end meanwhile,
 * some. Flows that are being looked at may end at any time.
 */
#ifndef SLUICE_FLOW_WALK_H
#define SLUICE_FLOW_WALK_H

#include "flow_filter.h"
#include "flow_priv.h"

struct evbuffer;

struct flow_walk {
	struct flows *flows;
	struct flow_filter *filter; /* NULL: all; the walk's own */
	uint64_t begin_ns, now_ns;  /* CLOCK_MONOTONIC, of the walk and of the turn */
	int tab;
	uint32_t next; /* slot */
};

/* The filter, read. -EINVAL with words (and the column), -ENOMEM. NULL or no text: all connections. */
int flow_walk_filter(struct sw *sw, const char *text, struct flow_filter **ret, struct errs *errs);
/* Begins a walk. -EINVAL with words, -ENOMEM. */
int flow_walk_open(struct flow_walk *w, struct sw *sw, const char *filter, struct errs *errs);
void flow_walk_close(struct flow_walk *w);
/* Gives the function connections that the filter matches, until some milliseconds have gone by or it returns false. False: that
 * was all. */
bool flow_walk_some(struct flow_walk *w, bool (*fn)(struct flow_pair *p, const struct flow *f, void *arg), void *arg);

#endif
