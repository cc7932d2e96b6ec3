/* flow_watch.h: connections as they begin and end, told to whoever watches.
 *
 * Costs the data plane nothing, watched or not: that a connection has begun is seen by the pass of flow_age.c, which looks at
 * each new entry anyway, and that one ends is sluiced's own doing, but for those that give way: flow_told.c finds out which of
 * those that were told of have, and of all others the number is told. While somebody watches, passes follow one another more
 * closely. What is told of a connection that has ended are its last counters.
 */
#ifndef SLUICE_FLOW_WATCH_H
#define SLUICE_FLOW_WATCH_H

#include "flow_priv.h"

/* Called for every entry that is seen for the first time. */
void flow_watch_begin(struct flows *flows, const struct flow_tuple *key, const struct flow *f);
/* Called before an entry is taken away: what is to be told then. False: nobody wants to know. */
bool flow_watch_before_end(struct flows *flows, const struct flow_tuple *key, const struct flow *f, struct flow_pair *ret);
void flow_watch_end(struct flows *flows, struct flow_pair *p, enum flow_why why);
/* How many gave way up to now (bpf/half.h); 0: nobody watches. */
uint64_t flow_watch_gave_way(const struct flows *flows);
/* Of the first `n` of them, those of whom somebody had been told are told of: the others have their number told. */
void flow_watch_round(struct flows *flows, uint64_t n);

#endif
