/* rib_priv.h: the structures shared by rib.c (routes), rib_settle.c (which is in force), rib_way.c (where they lead) and
 * rib_import.c (from VRF to VRF).
 */
#ifndef SLUICE_RIB_PRIV_H
#define SLUICE_RIB_PRIV_H

#include "hash.h"
#include "rib.h"

struct rib_list { /* doubly linked, both ends in one head */
	struct rib_list *next, *prev;
};

struct rib_way {
	struct hash_node node;
	struct rib_list routes, dirty_link;
	/* A link among `routes` while its routes are told of a new result, piece by piece: those behind it do not know yet. */
	struct rib_list untold;
	uint16_t vrf;
	uint8_t type;
	bool recursive; /* depends on other routes */
	bool full;	/* the nexthop tables had no room */
	bool known;	/* it was worked out, and there was room or nothing to be had */
	bool telling;	/* dirty_link stands in the list of those that tell their routes */
	uint32_t mtu;
	uint32_t refs;
	uint32_t result;  /* `members`, or 0: nothing can leave by them now */
	uint32_t members; /* holds one use of it */
	uint32_t like;	  /* the group that a new one succeeds */
	const char *reason;
	char group[SLUICE_LABEL]; /* the named group that it is; "": none */
	size_t n, room;
	struct rib_nexthop *nexthops; /* `own`, unless a named group has grown */
	struct rib_nexthop own[];
};

struct rib_entry;

struct rib_route {
	struct rib_route *next; /* of the entry, the next best */
	struct rib_entry *entry;
	struct rib_way *way;
	struct rib_list of_way, of_source;
	uint32_t metric;
	uint32_t generation;
	uint32_t table; /* the kernel's; of an imported one: its source there << 16 | the VRF it comes from */
	int outside;
	uint32_t kept; /* by what it led before `way`, as long as that has no room: holds one use of it; 0: nothing */
	uint8_t source, protocol, distance, rank;
};

/* A way of type RIB_THROW has one nexthop, of which no packet knows: the prefix, and where its table stands in the VRF's list. */
#define RIB_THROW_WEIGHT(len, rank) ((uint16_t)((len) | (rank) << 8))
#define RIB_THROW_LEN(weight)	    ((weight) & 0xff)
#define RIB_THROW_RANK(weight)	    ((weight) >> 8)

struct rib_entry {
	struct hash_node node;
	struct rib_list dirty_link;
	struct rib_route *routes, *active;
	uint32_t result;    /* what was chosen; */
	uint32_t installed; /* what the FIB has: that, or a pair of it and another, of which the entry has a use */
	struct prefix to;
	uint16_t vrf;
	bool refused;	  /* the FIB had no room */
	bool refused_own; /* and a route of the configuration or of an address is among its routes */
	bool unpaired;	  /* there was no room for the pair that it should have */
	bool waits;	  /* dirty_link stands in the list of those that were refused, or have no pair */
	bool is_import;	  /* what is in force was imported, as of the last choice */
};

struct rib_cursor {
	struct rib_cursor *next;
	struct rib_list *at; /* the route that comes next, or the head of its source's list */
	int source, end;     /* the sources from here, up to */
};

struct rib {
	struct fib *fib;
	struct nexthops *ns;
	bool (*usable)(void *arg, uint16_t iface);
	void *arg;
	struct hash entries, ways;
	struct rib_list urgent_entries, dirty_entries, dirty_ways, telling_ways;
	struct rib_list refused[2]; /* entries of each family that found no room in the FIB */
	struct rib_list unpaired;   /* entries in the FIB for whose pair there was no room */
	size_t n_unpaired;	    /* all such, also those that are to be chosen anew */
	size_t unpaired_left;	    /* of a round of these: so many are to look once more */
	uint64_t unpaired_ns;	    /* when the last one ended */
	struct rib_list sources[RIB_SOURCES];
	uint32_t generation[RIB_SOURCES];
	size_t n_routes, n_installed, n_refused, n_refused_own, n_full, n_recursive, n_throw;
	uint32_t installed[VRF_MAX][2]; /* prefixes in the FIB, by family */
	uint32_t imported[VRF_MAX];
	struct rib_import *imports;
	size_t n_imports;
	bool exports[VRF_MAX]; /* some rule takes routes out of this VRF */
	/* The rules changed: imported routes from here on, and entries from this bucket on, have not been looked at yet. */
	struct rib_cursor *import_cursor;
	size_t import_at;
	bool importing;
	struct rib_cursor *cursors; /* open ones */
	uint32_t n_long[2][129];    /* entries of each family by length: a search asks for those alone that there are */
	unsigned rounds;	    /* of working out recursive ways, since a source told something */
	uint64_t full_ns;	    /* when the ways that found no room were tried last */
	size_t room;		    /* prefixes that left the FIB since routes were refused */
	bool again;		    /* recursive ways are to be looked at once more when the entries are done */
	bool urgent;		    /* what is told now goes before everything else */
	bool changed;		    /* something was written since the last settle */
	bool waits;		    /* what was chosen is not in force: the FIB waits for memory; */
	bool urgent_waits;	    /* some of it is what goes before everything else, or was chosen with it */
	bool too_big;		    /* some of it found no memory: it is not tried again before the slice ends */
	bool ways_wait;		    /* all of dirty_ways wait for a grace period */
	bool any_mtu;		    /* some route has, or had, an MTU */
};

static inline void list_init(struct rib_list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct rib_list *l)
{
	return l->next == l;
}

static inline void list_remove(struct rib_list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

static inline void list_append(struct rib_list *head, struct rib_list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

/* Behind `at`, which may be the head. */
static inline void list_prepend(struct rib_list *at, struct rib_list *l)
{
	l->next = at->next;
	l->prev = at;
	at->next->prev = l;
	at->next = l;
}

#define list_item(l, type, member) ((type *)(void *)((char *)(l) - offsetof(type, member)))

void rib_entry_dirty(struct rib *rib, struct rib_entry *e);
/* The entry whose route in force reaches a gateway: the default route does not count, nor routes with the way `but` (or NULL). */
struct rib_entry *rib_gateway_entry(const struct rib *rib, uint16_t vrf, const struct addr *gateway, uint8_t family,
				    const struct rib_way *but);
struct rib_entry *rib_entry_find(const struct rib *rib, uint16_t vrf, const struct prefix *to);
/* The entry of the longest prefix that holds the address, of at most *len bits; *len is then where to go on. NULL: none. */
struct rib_entry *rib_entry_above(const struct rib *rib, uint16_t vrf, const struct addr *a, uint8_t family, int *len);

void rib_entry_free(struct rib *rib, struct rib_entry *e);
/* Whether the FIB had no room for it, and the counts of such. */
void rib_entry_refused(struct rib *rib, struct rib_entry *e, bool refused);
/* A route into the entry, for which the caller holds a use of `w`. -ENOMEM: the use is the caller's still. */
int rib_route_new(struct rib *rib, struct rib_entry *e, const struct rib_route_spec *spec, struct rib_way *w);
struct rib_entry *rib_entry_make(struct rib *rib, uint16_t vrf, const struct prefix *to); /* NULL: no memory */
void rib_entry_unmake(struct rib *rib, struct rib_entry *e);				  /* frees one that has no routes */
void rib_route_drop(struct rib *rib, struct rib_route **at);
/* The route takes another way, for which the caller holds a use; and another place. */
void rib_route_set_way(struct rib *rib, struct rib_route *r, struct rib_way *w);
void rib_route_rank(struct rib *rib, struct rib_route **at, const struct rib_route_spec *spec);

/* After the choice in an entry: the VRFs that import it follow. -ENOMEM. */
int rib_export(struct rib *rib, struct rib_entry *e);
void rib_imports_free(struct rib *rib);
/* After a change of the rules: at most so many routes and buckets. True: all done. */
bool rib_imports_apply(struct rib *rib, size_t max);
/* The next route of the cursor's, by its link among those of its source; it may be dropped. NULL: there are no more. */
struct rib_list *rib_cursor_next(struct rib *rib, struct rib_cursor *c);

uint32_t rib_way_hash_of(const struct hash *h, const struct hash_node *node);
/* The way with this content, for one more user. NULL: no memory. */
struct rib_way *rib_way_get(struct rib *rib, const struct rib_route_spec *spec);
void rib_way_put(struct rib *rib, struct rib_way *w);
void rib_way_free(struct rib_way *w);
void rib_way_dirty(struct rib *rib, struct rib_way *w);
/* Works out where it leads; where that is another result than before, its routes are to be told. -ENOMEM. */
int rib_way_resolve(struct rib *rib, struct rib_way *w);
/* Its gateway is the host that it leads to: it says nothing, and others that name this gateway would never get behind it. */
bool rib_route_by_itself(const struct rib_route *r);
#define RIB_KEEPS "the table of nexthops is full: it leads as it did before"
/* By what the route leads: by its way, or, as long as that has found no room, by what it led before. */
bool rib_route_keeps(const struct rib_route *r);
uint32_t rib_route_result(const struct rib_route *r);
/* It gets another way, or has one that is worked out by now: what it needs of what it led by is kept, and no more. */
void rib_route_keep(struct rib *rib, struct rib_route *r, const struct rib_way *next);
/* What it keeps goes where it needs it no more, or nothing can leave by it: the link that it led to is down. */
void rib_route_give_up(struct rib *rib, struct rib_route *r);
/* Can packets leave by it now, as far as links are concerned? */
bool rib_leads(const struct rib *rib, uint32_t result);

/* rib_pair.c: what the FIB gets for the route that was chosen in the entry: its result, or one use of a pair with that of another
 * route of the entry. */
uint32_t rib_pair(struct rib *rib, struct rib_entry *e, const struct rib_route *best);
/* Whether there was no room for the entry's pair, and the count of such. */
void rib_entry_unpaired(struct rib *rib, struct rib_entry *e, bool unpaired);
/* Where pairs were given up, those that found no room are chosen anew: some of them behind everything else, or all at once. */
void rib_retry_unpaired(struct rib *rib, bool all);
/* The route that packets take: that in force, or, until the next choice, the one behind it whose pair's turn it is. NULL: none.
 */
const struct rib_route *rib_route_taken(const struct rib *rib, const struct rib_entry *e);

/* Links came or went: it is worked out again; and routes that keep what they led by look whether that leads anywhere still. */
void rib_way_links(struct rib *rib, struct rib_way *w);
/* Tells so many routes of the way at most: their entries become dirty. True: all know. */
bool rib_way_tell(struct rib *rib, struct rib_way *w, size_t max);

#endif
