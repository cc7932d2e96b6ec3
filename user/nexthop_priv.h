/* nexthop_priv.h: what the files of the table of nexthops share: nexthop.c (nexthops, life), nhg.c (groups and their buckets),
 * nhg_drain.c (buckets that drained nexthops have not left), nhg_held.c (what is noted of flows there). The tables are the state;
 * beside them stand counts of users, members of groups, and which ids are free.
 */
#ifndef SLUICE_NEXTHOP_PRIV_H
#define SLUICE_NEXTHOP_PRIV_H

#include "hash.h"
#include "nexthop.h"

#define CHUNK 64u /* buckets are handed out in runs of these, and no group has fewer */

/* Of a group that is gone: free after a grace period, and one has begun since (`asked`). */
enum { CHUNK_FREE = 0, CHUNK_USED = 1, CHUNK_WAITING = 2, CHUNK_ASKED = 3 };

struct nexthop_info {
	struct hash_node node; /* in by_key, where the table has a content */
	uint32_t refs;
	uint32_t n_held; /* buckets that it has still (nexthop_held()), where they are counted */
	bool hashed, dead, drained;
	uint32_t old_flows; /* that were noted at it as it was drained, and have not been idle since */
	bool held;	    /* the FIB or a packet may still name it: not for another content; */
	bool retiring;	    /* the FIB did not at the last sweep: */
	uint64_t ticket;    /* of the grace period asked for then */
};

struct group {
	struct nhg_member *members; /* by nexthop id */
	uint32_t *live;		    /* indexes of the members that the buckets were made for */
	uint32_t *shares;	    /* buckets of each member, when they are `counted` */
	bool counted;
	uint32_t n, n_live;
	uint32_t n_held;		 /* buckets with NHG_HELD */
	uint32_t learn_ms[HELD_DRAINED]; /* since when flows are learned, of those in learns */
	uint8_t learns;			 /* bits like HELD_LEARNS() */
	uint32_t owner;			 /* 0: whoever wants these members may have it */
	uint32_t refs;
	bool known;	 /* stands in the table */
	bool orphan;	 /* found at the start, nobody asked for it yet */
	bool retiring;	 /* unused at the last sweep */
	uint64_t ticket; /* of the grace period asked for then */
};

struct pair {
	struct hash_node node; /* in by_pair */
	uint32_t first, second;
	uint32_t refs;
	bool known;	 /* stands in the table */
	bool hashed;	 /* found by its content */
	bool holds;	 /* a use of either; not if it was found at the start, and nobody asked for it yet */
	bool retiring;	 /* unused at the last sweep */
	uint64_t ticket; /* of the grace period asked for then */
};

struct nexthops {
	struct nexthop *nh;
	struct nhg *groups;
	struct nhg_bucket *buckets;
	struct nhg_ifaces *ifaces; /* NULL: nobody wants to know */
	uint32_t n_ifaces;
	struct nexthop_pair *pairs; /* NULL: there are none */
	struct pair *pair;
	uint32_t n_nh, n_groups, n_chunks, n_pairs;
	uint32_t end, next, next_group; /* where the search for a free id goes on */
	struct nexthop_info *info;
	struct group *group;
	uint8_t *chunk;
	uint64_t ticket; /* of the grace period that chunks in CHUNK_ASKED wait for; 0: none do */
	bool asked;	 /* for one in this sweep, with */
	uint64_t sweep;	 /* this ticket */
	bool changed;	 /* a member came to life or died */
	bool any_held;
	uint32_t *used_ms;	/* of each bucket that is held: when it was seen in use */
	uint32_t idle_at;	/* the group that is looked at next */
	bool holding;		/* some bucket may be held */
	bool held_seen;		/* one was, since the groups were looked at from the first on */
	bool held_counted;	/* since buckets were last held, released or out of use, with their groups */
	struct held_unit *held; /* notes of flows; NULL: nobody wants to know */
	bool refused;		/* some flow could not be noted, before they were looked at */
	struct hash by_key, by_pair;
	uint32_t end_pair, next_pair; /* as of nexthops */
	uint32_t n_known_pairs;
};

/* nexthop.c: one user less. */
void nexthop_info_unuse(struct nexthops *ns, uint32_t id);
/* Of the grace period that serves all that begin to retire in a sweep; 0 is over. */
uint64_t nexthop_sweep_ticket(struct nexthops *ns);

/* nexthop_pair.c: of FIB results that are pairs. */
void nexthop_pair_reuse(struct nexthops *ns, uint32_t result);
void nexthop_pair_unuse(struct nexthops *ns, uint32_t result);
void nexthop_pairs_sweep(struct nexthops *ns);
void nexthop_pairs_free(struct nexthops *ns);

/* nhg.c */
bool nhg_is_member(const struct group *g, uint32_t nexthop);
void nhg_members_free(struct group *g);
/* One user more. */
void nhg_reuse(struct nexthops *ns, uint32_t id);
/* No user and no late packet is left. */
void nhg_forget(struct nexthops *ns, uint32_t id);
/* The groups of a former life whose place makes sense. */
void nhg_adopt(struct nexthops *ns);

/* nhg_drain.c. Before buckets move: what is drained is noted where it stands. */
void nhg_note_formers(struct nexthops *ns, struct nhg_bucket *b, uint32_t n, struct group *g);
/* Of a former life: how long the buckets that are held have been idle is not known, it begins anew. */
void nhg_adopt_held(struct nhg_bucket *b, uint32_t n);
/* Drained, and packets may go there still. */
bool nhg_may_stay(const struct nexthops *ns, const struct group *g, uint32_t nexthop);

/* nhg_held.c. Before nhg_note_formers(): which nexthops of group `id`, whose buckets will be `b`, are drained. `like`: the group
 * whose choices it has; its own id, or another's. */
void nhg_held_settle(struct nexthops *ns, uint32_t id, struct group *g, const struct nhg_bucket *b, uint32_t n, uint32_t like);
void nhg_held_forget(struct nexthops *ns, uint32_t id);
/* Before and after all groups were looked at, and in between: a group with buckets that are held. */
void nhg_held_begin(struct nexthops *ns);
void nhg_held_learn(struct nexthops *ns, uint32_t id, const struct nexthop_idle *idle);
void nhg_held_end(struct nexthops *ns, const struct nexthop_idle *idle);

/* nhg_hash.c: bpf/ecmp_hash.h's sum, with a seed of 64 bits that is not mixed yet. */
uint64_t nhg_sum(const struct nhg_flow *f, uint8_t policy, uint64_t seed);

#endif
