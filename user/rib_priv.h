/* rib_priv.h: the structures shared by rib.c (routes, and which is in force), rib_way.c (where they lead) and
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
	uint16_t vrf;
	uint8_t type;
	bool recursive; /* depends on other routes */
	bool full;	/* the nexthop tables had no room */
	uint32_t mtu;
	uint32_t refs;
	uint32_t result; /* holds one use of it */
	uint32_t like;	 /* the group that a new one succeeds */
	const char *reason;
	size_t n;
	struct rib_nexthop nexthops[];
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
	uint8_t source, protocol, distance, rank;
};

struct rib_entry {
	struct hash_node node;
	struct rib_list dirty_link;
	struct rib_route *routes, *active;
	uint32_t installed; /* what the FIB has */
	struct prefix to;
	uint16_t vrf;
	bool refused;	/* the FIB had no room */
	bool is_import; /* what is in force was imported, as of the last choice */
};

struct rib_cursor {
	struct rib_cursor *next;
	struct rib_list *at; /* the route that comes next, or the head of its source's list */
	int source;
};

struct rib {
	struct fib *fib;
	struct nexthops *ns;
	bool (*usable)(void *arg, uint16_t iface);
	void *arg;
	struct hash entries, ways;
	struct rib_list dirty_entries, dirty_ways;
	struct rib_list sources[RIB_SOURCES];
	uint32_t generation[RIB_SOURCES];
	size_t n_routes, n_installed, n_refused, n_full, n_recursive;
	uint32_t installed[VRF_MAX][2]; /* prefixes in the FIB, by family */
	uint32_t imported[VRF_MAX];
	struct rib_import *imports;
	size_t n_imports;
	bool exports[VRF_MAX];	    /* some rule takes routes out of this VRF */
	struct rib_cursor *cursors; /* open ones */
	bool again;		    /* recursive ways are to be looked at once more when the entries are done */
	bool room;		    /* something left the FIB since routes were refused */
	bool changed;		    /* something was written since the last settle */
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

#define list_item(l, type, member) ((type *)(void *)((char *)(l) - offsetof(type, member)))

void rib_entry_dirty(struct rib *rib, struct rib_entry *e);
/* The entry whose route in force reaches a gateway: the default route does not count. */
struct rib_entry *rib_gateway_entry(const struct rib *rib, uint16_t vrf, const struct addr *gateway, uint8_t family);
struct rib_entry *rib_entry_find(const struct rib *rib, uint16_t vrf, const struct prefix *to);

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

uint32_t rib_way_hash_of(const struct hash *h, const struct hash_node *node);
/* The way with this content, for one more user. NULL: no memory. */
struct rib_way *rib_way_get(struct rib *rib, const struct rib_route_spec *spec);
void rib_way_put(struct rib *rib, struct rib_way *w);
void rib_way_dirty(struct rib *rib, struct rib_way *w);
/* Works out where it leads; where that is another result than before its routes' entries become dirty. -ENOMEM. */
int rib_way_resolve(struct rib *rib, struct rib_way *w);

#endif
