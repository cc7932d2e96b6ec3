/* neighbor_priv.h: what the files of the noun `neighbor` share: neighbor.c (the mirror's neighbours into the table),
 * neighbor_read.c (all of them anew, in slices), neighbor_asked.c (packets that wait for one) and neighbor_list.c (shown).
 */
#ifndef SLUICE_NEIGHBOR_PRIV_H
#define SLUICE_NEIGHBOR_PRIV_H

#include <linux/neighbour.h>
#include "hash.h"
#include "sw.h"

#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

struct neighbor_entry {
	struct hash_node node;
	struct neighbor_key key;
	struct neighbor_static {
		bool wanted, set; /* of the configuration; in the kernel by us */
		bool listed;	  /* stands in `fixed` of struct neighbors */
		uint8_t mac[6];
		int ifindex; /* where it was set */
	} fixed;
	uint16_t state; /* NUD_*; 0: the kernel does not know it */
	uint8_t mac[6];
	bool stored;  /* is in the table, as valid, failed or asked for */
	bool dropped; /* the kernel's was taken away here, because it had failed */
	uint16_t flags;
	uint32_t failed_s, probed_s, asked_s; /* when; 0: not */
	uint32_t generation;		      /* of the reading that has found it last, or of its event */
};

/* Everything being read anew, or the walk of the timer: a place in a table, with which the next piece begins. */
struct neighbor_read {
	int step; /* NEIGHBOR_READ_* */
	size_t at;
	void *cursor;
	uint32_t generation;
};

enum { NEIGHBOR_READ_NONE, NEIGHBOR_READ_MIRROR, NEIGHBOR_READ_ENTRIES, NEIGHBOR_READ_TABLE };

struct neighbors {
	struct sw *sw;
	struct table *table;
	struct event *timer;
	struct hash entries;
	uint32_t n_refused; /* found the table full */
	struct neighbor_read read;
	bool changed;		       /* flows may have a MAC that the table has not: neighbor_settled() tells them */
	bool ready;		       /* everything was read once */
	int host[IFACE_MAX];	       /* the interfaces' netdevs, as of the last reading */
	bool left[IFACE_MAX];	       /* went since then: entries may be there */
	struct neighbor_entry **fixed; /* those of the configuration */
	size_t n_fixed;
	bool lost;		/* the kernel has deleted some of them */
	struct event *more;	/* the rest of the timer's work */
	bool walking;		/* it has some */
	bool walk_stale, retry; /* what this walk does */
	size_t walk_at;
	uint32_t walked_s;
	struct neighbor_asked *asked;
};

/* neighbor.c */
struct neighbor_entry *neighbor_make(struct neighbors *ns, uint16_t iface, const struct addr *a); /* NULL: no memory */
bool neighbor_is_station(const struct neigh *n);
void neighbor_apply(struct neighbors *ns, struct neighbor_entry *e);
void neighbor_unstore(struct neighbors *ns, struct neighbor_entry *e);
/* What nobody accounts for, too. */
void neighbor_table_delete(struct neighbors *ns, const struct neighbor_key *key);
bool neighbor_waits(struct neighbors *ns, struct neighbor_entry *e); /* was asked for, and the kernel's answer is to come */
/* The data plane has asked for it, and has written so into the table; what became of it since stands there. */
void neighbor_is_asked(struct neighbors *ns, const struct neighbor_key *key);
void neighbor_forget(struct neighbors *ns, struct neighbor_entry *e);

/* neighbor_read.c: the kernel does not have this one any more, and gets it again soon. */
void neighbor_static_lost(struct neighbors *ns, struct neighbor_entry *e);

/* neighbor_asked.c */
int neighbor_asked_open(struct neighbors *ns, struct errs *errs);
void neighbor_asked_close(struct neighbors *ns);
void neighbor_asked_soon(struct neighbors *ns); /* some have failed, or it is time to look: in a turn of its own */

struct neighbor_entry *neighbor_find(const struct neighbors *ns, uint16_t iface, const struct addr *a); /* NULL: none */

#endif
