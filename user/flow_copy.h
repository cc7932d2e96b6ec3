/* flow_copy.h: the flows into tables of another size, in slices, while packets go on: between resize.c and the tables of flow.c.
 *
 * The data plane puts what is new into both tables from before flow_copy_begin() on, and looks into the former ones first. So one
 * walk brings the rest over. What the entries count meanwhile is added to the copies at the end: flow_copy_settle().
 */
#ifndef SLUICE_FLOW_COPY_H
#define SLUICE_FLOW_COPY_H

#include "next.h"
#include "sw.h"

struct flow_copy;

/* The memory for it: some hundred megabytes, so in a thread. Meanwhile the tables in force stay those they are. */
int flow_copy_make(struct sw *sw, struct next *n, struct flow_copy **ret);
/* Ageing stands still from here on, until flow_copy_end(). */
void flow_copy_begin(struct flow_copy *c);
bool flow_copy_begun(const struct flow_copy *c);
/* Before next_both(), and only where a table becomes smaller: what is answered has its place before newcomers can take it. As
 * flow_copy_some(). */
int flow_copy_first(struct flow_copy *c);
/* Some milliseconds' work. 1: there is more; 0: all is there; -E2BIG: they do not fit; -errno. */
int flow_copy_some(struct flow_copy *c);
/* next_commit() has been: the tables in force are the next ones. */
void flow_copy_switch(struct flow_copy *c);
/* No CPU uses the former tables any more: what was counted in them is added. As flow_copy_some(). */
int flow_copy_settle(struct flow_copy *c);
/* At whatever point: ageing goes on. Then flow_copy_free(), which is slow: for a thread. Both accept NULL. */
void flow_copy_end(struct flow_copy *c);
void flow_copy_free(struct flow_copy *c);
/* How much is done, 0..100, of the walk under way. */
unsigned flow_copy_percent(const struct flow_copy *c);

#endif
