/* flow_told.h: connections whose beginning was told, to the log of NAT or to who watches, and which may end without sluiced.
 *
 * The data plane ends pairs that nobody has answered when others need their place (bpf/half.h), and its word of it may find the
 * ring full: in a flood it ends a million a second. Who was told of a beginning must hear of the end all the same. So such pairs
 * are kept in mind here until they are answered, from when on they end by sluiced alone, and looked for in the table, again and
 * again, in slices: one that is not there has given way.
 *
 * As many as `half_open` has places and 65536 are kept at most, 230 bytes each; nothing is kept, and nothing looked for, when
 * nobody watches and nothing is logged. Those of the log are noted beside the process as well (nat_owed.h), for the next one.
 */
#ifndef SLUICE_FLOW_TOLD_H
#define SLUICE_FLOW_TOLD_H

#include <sys/queue.h>
#include "flow_priv.h"
#include "hash.h"

#define TOLD_LOG   1 /* its beginning stands in the log, or will in a moment */
#define TOLD_WATCH 2

struct flow_told {
	struct hash_node node;
	TAILQ_ENTRY(flow_told) link;
	struct flow_tuple key;
	struct flow f;	  /* the forward entry, as it was seen last; created_ns tells it from others with this key */
	uint64_t gone_ns; /* CLOCK_MONOTONIC: it was not there any more; 0: it was */
	unsigned who;	  /* TOLD_* */
	uint32_t owed;	  /* TOLD_LOG: its note in nat_owed.h; 0: none */
};

int flow_told_open(struct flows *flows);
void flow_told_close(struct flows *flows);
/* Rounds take place while there is somebody to be told. */
void flow_told_wake(struct flows *flows);

/* One with this key that is kept for one of `who`. `created_ns`: 0: whenever it began. NULL: there is none. */
struct flow_told *flow_told_find(struct flows *flows, const struct flow_tuple *key, uint64_t created_ns, unsigned who);
/* Keeps a pair in mind, for `who` too. NULL: there are too many, or there is no memory. */
struct flow_told *flow_told_add(struct flows *flows, const struct flow_tuple *key, const struct flow *f, unsigned who);
/* `who` need not be told any more; may free it. */
void flow_told_drop(struct flows *flows, struct flow_told *t, unsigned who);

#endif
