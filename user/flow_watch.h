/* flow_watch.h: connections as they begin and end, told to whoever watches.
 *
 * Costs the data plane nothing, watched or not: that a connection has begun is seen by the pass of flow_age.c, which looks at
 * each new entry anyway, and that one ends is sluiced's own doing, but for those that give way, of which the number is told.
 * While somebody watches, passes follow one another more closely. What is told of a connection that has ended are its last
 * counters.
 */
#ifndef SLUICE_FLOW_WATCH_H
#define SLUICE_FLOW_WATCH_H

#include "flow_priv.h"

/* Called for every entry that is seen for the first time. */
void flow_watch_begin(struct flows *flows, const struct flow_tuple *key, const struct flow *f);
/* Called before an entry is taken away: what is to be told then. False: nobody wants to know. */
bool flow_watch_before_end(struct flows *flows, const struct flow_tuple *key, const struct flow *f, struct flow_pair *ret);
void flow_watch_end(struct flows *flows, struct flow_pair *p, enum flow_why why);
/* Called at the end of a pass: how many gave way meanwhile (bpf/half.h), which nobody here has seen. */
void flow_watch_pass(struct flows *flows);

#endif
