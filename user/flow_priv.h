/* flow_priv.h: what the files of the flows share: flow.c has the entries, flow_age.c ends them by time, flow_walk.c by order, and
 * lists and counts them, flow_watch.c tells who watches, flow_told.c finds out who gave way, flow_copy.c takes them
 * into tables of another size. */
#ifndef SLUICE_FLOW_PRIV_H
#define SLUICE_FLOW_PRIV_H

#include "flow_pair.h"
#include "flowtab.h"
#include "spill.h"
#include "sw.h"

enum flow_phase {
	PHASE_NOTE, /* which ports are held */
	PHASE_FLOWS4,
	PHASE_FLOWS6,
	PHASE_MAPPINGS,
	PHASE_PEERS,
	PHASE_FRAGMENTS,
	PHASE_WAIT,  /* for the next slice */
	PHASE_PORTS, /* given back */
	PHASE_END,
	PHASE_REST
};

/* What flow_age.c knows of a slot, so that it need not look at the entry in every pass. */
struct flow_note {
	uint32_t word; /* the slot's when it was looked at; 0: never, or it has ended */
	uint32_t due;  /* when to look again, in units of 2^WORD_DEAD_SHIFT ns */
	uint32_t pool_addr;
	uint16_t port;
	uint8_t proto;
	uint8_t flags; /* FLOW_NOTE_* */
};
/* The same of a bucket, for the passes that look after nothing but time: as long as its words are those they were, nothing of it
 * is due before `due`. */
struct flow_quiet {
	uint32_t sum; /* of its words; what is not the same is looked at slot by slot */
	uint32_t due;
	uint16_t forwards; /* pairs */
	bool tcp;	   /* entries of TCP are among them */
};

#define FLOW_NOTE_FORWARD (1 << 0)
#define FLOW_NOTE_PORT	  (1 << 1) /* holds `port` of `pool_addr` */
#define FLOW_NOTE_DEST	  (1 << 2) /* holds a mapping's port, which stands in the entry */
#define FLOW_NOTE_SECOND  (1 << 3) /* stands elsewhere than in the bucket where its key is looked for first */
#define FLOW_NOTE_TCP	  (1 << 4)
#define FLOW_NOTE_WAITS	  (1 << 5) /* nobody had answered: the data plane may have ended it, and made it anew here */

/* Why a connection ended. */
enum flow_why {
	FLOW_WHY_TIMEOUT,  /* it was silent for long enough */
	FLOW_WHY_RULE,	   /* its rule, its address or its VRF is gone */
	FLOW_WHY_FLUSH,	   /* by order */
	FLOW_WHY_HALF,	   /* one direction was missing */
	FLOW_WHY_GAVE_WAY, /* nobody had answered it, and others needed its place */
};

struct flow_watcher;

struct flows {
	struct sw *sw;
	struct flowtab tab[2];	   /* flows4, flows6 */
	struct flowtab next[2];	   /* tables that are being filled; what ends, ends there too. family 0: there are none */
	struct flow_note *note[2]; /* of each slot; behind them a struct flow_quiet of each bucket */
	struct spill spill[2];	   /* of the passes that sweep, which come by every slot */
	struct event *timer;
	bool paused;
	int users; /* of flow_users() */
	/* The pass that is under way. */
	enum flow_phase phase;
	uint32_t next_bucket; /* of the flows, or slot of the mappings */
	void *cursor;	      /* peers, fragments */
	uint64_t now_ns;
	uint64_t begun_ns; /* when this pass began */
	uint64_t work_ns;
	uint64_t seen, seen6; /* pairs in this pass, and the IPv6 ones among them */
	bool sweeping;	      /* ports and mappings are looked after in this pass */
	bool crowded;	      /* a table is nearly full */
	bool pressed;	      /* one was, or the ports of an address were, in the last pass */
	uint64_t seen_before;
	bool closers;		/* this pass looks at what closes before its time is over */
	uint64_t closers_at_ns; /* when one does so next */
	bool fresh;		/* this pass looks at all words */
	unsigned blind;		/* passes to come that need not */
	bool all;		/* no note is trusted in this pass */
	bool draining;		/* of VRFs that are gone nothing is left after this pass */
	bool soon;		/* the next pass shall not wait */
	uint64_t whole_ns;	/* when the last pass began that looked at all words and came to its end */
	uint64_t sweep_at_ns;
	uint32_t nat_changes; /* nat->changes at the last pass that trusted no note */
	/* Pairs at the end of the last whole pass, less those that were ended by order since. */
	uint64_t counted, counted6;
	struct flow_watcher *watchers;
	struct flow_tolds *told; /* of flow_told.c */
};

void flow_tuple_from_key(int family, const void *key, struct flow_tuple *ret);
/* What packets of the entry leave as. */
void flow_tuple_to(const struct flow_tuple *key, const struct flow *f, struct flow_tuple *ret);
/* The key of the other direction: what this one leaves as, swapped. */
void flow_tuple_peer(const struct flow_tuple *key, const struct flow *f, struct flow_tuple *ret);
int flow_lookup(struct flows *flows, const struct flow_tuple *t, struct flow *ret);
/* An entry, and where it stands: in the table of its family. */
struct flow_found {
	uint32_t slot, word;
	struct flow_key6 key; /* or a struct flow_key4 in its place */
	struct flow f;
};
int flow_find(struct flows *flows, const struct flow_tuple *t, struct flow_found *ret);
/* It will be looked up in a moment; in which slot it is likely to stand. */
uint32_t flow_prefetch(struct flows *flows, const struct flow_tuple *t);
int flow_delete(struct flows *flows, const struct flow_tuple *t);
/* As the data plane inserts: -EEXIST, -E2BIG, -EBUSY. Not while the tables' size changes. */
int flow_insert(struct flows *flows, const struct flow_tuple *t, const struct flow *f);
/* Is `peer` the other direction of the entry (key, f)? */
bool flow_is_pair(const struct flow_tuple *key, const struct flow_tuple *peer_key, const struct flow *peer);

/* Ends a pair: first the forward entry, then the reply. The rule still stands when a packet of the inside host finds no entry, so
 * it is translated anew, to the same outside address and port, since its mapping outlives the flow; an answer finds the reply
 * entry until the last. The other way round, answers in between would reach the gateway itself, which would reset the
 * connection. The port stays with the mapping, and becomes free two passes later (nat_sweep.c): no packet that is under way can
 * then still use it. Returns whether there was a forward entry. */
bool flow_delete_pair(struct flows *flows, const struct flow_tuple *forward, const struct flow *f);
/* The same, and who watches is told. */
bool flow_end(struct flows *flows, const struct flow_tuple *forward, const struct flow *f, enum flow_why why);

/* The tables of a family as flow.c wants them. -ENOENT, -EINVAL. */
int flow_tab_open(struct flowtab *t, int family, struct table *head, struct table *words, struct table *entries);

int flow_age_open(struct flows *flows);
void flow_age_close(struct flows *flows);
/* Begins a pass now, or after the one under way. */
void flow_age_soon(struct flows *flows);
/* Somebody watches now: the next pass comes sooner. */
void flow_age_watched(struct flows *flows);

/* Both directions of an entry in one value; `now_ns` is CLOCK_MONOTONIC. */
void flow_pair_of(struct flows *flows, const struct flow_tuple *key, const struct flow *f, uint64_t now_ns,
		  struct flow_pair *ret);

/* Until flow_age_resume() nothing ends by time and no port is given back; the pass under way is given up. */
void flow_age_pause(struct flows *flows);
/* With notes for tables of another size; -ENOMEM: there is no memory for them, and all is as it was. */
int flow_age_prepare(struct flows *flows, const struct flowtab tab[2], struct flow_note *ret[2]);
void flow_age_resume(struct flows *flows);

#endif
