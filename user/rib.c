/* rib.c: see rib.h: the routes of each prefix in the order of preference, as their sources put them, and looking at them. The
 * choice among them is rib_settle.c's. */
#include "rib_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry_key {
	uint16_t vrf;
	const struct prefix *to;
};

static uint32_t hash_prefix(const struct hash *h, uint16_t vrf, const struct prefix *to)
{
	uint64_t s = hash_mix(h->salt, (uint64_t)vrf << 16 | (uint64_t)to->family << 8 | to->len);

	return hash_end(hash_mix_bytes(s, &to->addr, sizeof(to->addr)));
}

static uint32_t entry_hash_of(const struct hash *h, const struct hash_node *node)
{
	const struct rib_entry *e = hash_entry(node, struct rib_entry, node);

	return hash_prefix(h, e->vrf, &e->to);
}

static bool entry_equal(const struct hash_node *node, const void *arg)
{
	const struct rib_entry *e = hash_entry(node, struct rib_entry, node);
	const struct entry_key *k = arg;

	return e->vrf == k->vrf && e->to.len == k->to->len && e->to.family == k->to->family &&
	       !memcmp(&e->to.addr, &k->to->addr, sizeof(e->to.addr));
}

struct rib_entry *rib_entry_find(const struct rib *rib, uint16_t vrf, const struct prefix *to)
{
	struct entry_key k = {vrf, to};
	struct hash_node *node = hash_find(&rib->entries, hash_prefix(&rib->entries, vrf, to), entry_equal, &k);

	return node ? hash_entry(node, struct rib_entry, node) : NULL;
}

void rib_entry_dirty(struct rib *rib, struct rib_entry *e)
{
	if (e->waits || rib->urgent)
		list_remove(&e->dirty_link);
	e->waits = false;
	if (list_empty(&e->dirty_link))
		list_append(rib->urgent ? &rib->urgent_entries : &rib->dirty_entries, &e->dirty_link);
}

struct rib_entry *rib_entry_make(struct rib *rib, uint16_t vrf, const struct prefix *to)
{
	struct rib_entry *e = rib_entry_find(rib, vrf, to);

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->vrf = vrf;
	e->to = *to;
	list_init(&e->dirty_link);
	if (hash_insert(&rib->entries, &e->node)) {
		free(e);
		return NULL;
	}
	rib->n_long[to->family == 6][to->len]++;
	return e;
}

void rib_entry_free(struct rib *rib, struct rib_entry *e)
{
	hash_remove(&rib->entries, &e->node);
	list_remove(&e->dirty_link);
	rib->n_long[e->to.family == 6][e->to.len]--;
	rib_entry_refused(rib, e, false);
	rib_entry_unpaired(rib, e, false);
	free(e);
}

void rib_entry_unmake(struct rib *rib, struct rib_entry *e)
{
	if (!e->routes && !e->installed)
		rib_entry_free(rib, e);
}

/* ---- cursors */

struct rib_cursor *rib_cursor_open(struct rib *rib, uint8_t source)
{
	struct rib_cursor *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->source = source == RIB_SOURCES ? 0 : source;
	c->end = source == RIB_SOURCES ? RIB_SOURCES : source + 1;
	c->at = rib->sources[c->source].next;
	c->next = rib->cursors;
	rib->cursors = c;
	return c;
}

struct rib_list *rib_cursor_next(struct rib *rib, struct rib_cursor *c)
{
	struct rib_list *l = c->at;

	while (l == &rib->sources[c->source]) {
		if (c->source + 1 == c->end)
			return NULL;
		l = rib->sources[++c->source].next;
	}
	c->at = l->next;
	return l;
}

/* ---- routes */

static bool better(const struct rib_route *a, const struct rib_route *b)
{
	if (!a->outside != !b->outside)
		return b->outside;
	if ((a->source == RIB_IMPORT) != (b->source == RIB_IMPORT))
		return b->source == RIB_IMPORT;
	if (a->distance != b->distance)
		return a->distance < b->distance;
	if (a->rank != b->rank)
		return a->rank < b->rank;
	if (a->metric != b->metric)
		return a->metric < b->metric;
	return a->source < b->source;
}

static struct rib_route **route_find(struct rib_entry *e, uint8_t source, uint32_t table, uint32_t metric)
{
	struct rib_route **at;

	for (at = &e->routes; *at; at = &(*at)->next)
		if ((*at)->source == source && (*at)->table == table && (*at)->metric == metric)
			return at;
	return NULL;
}

static void route_insert(struct rib_entry *e, struct rib_route *r)
{
	struct rib_route **at = &e->routes;

	while (*at && !better(r, *at))
		at = &(*at)->next;
	r->next = *at;
	*at = r;
}

/* What depends on other routes is to be worked out once more. */
static void routes_changed(struct rib *rib)
{
	rib->rounds = 0;
	rib->again |= rib->n_throw != 0;
}

void rib_route_drop(struct rib *rib, struct rib_route **at)
{
	struct rib_route *r = *at;
	struct rib_cursor *c;

	*at = r->next;
	for (c = rib->cursors; c; c = c->next)
		if (c->at == &r->of_source)
			c->at = r->of_source.next;
	list_remove(&r->of_way);
	list_remove(&r->of_source);
	nexthop_unuse(rib->ns, r->kept);
	rib_way_put(rib, r->way);
	if (r->entry->active == r)
		r->entry->active = NULL;
	rib_entry_dirty(rib, r->entry);
	routes_changed(rib);
	rib->n_routes--;
	rib->imported[r->entry->vrf] -= r->source == RIB_IMPORT;
	free(r);
}

/* The route that is there gets another way; a group that replaces a group begins with its choices. */
void rib_route_set_way(struct rib *rib, struct rib_route *r, struct rib_way *w)
{
	struct rib_way *old = r->way;

	if (old == w) {
		rib_way_put(rib, w);
		return;
	}
	rib_route_keep(rib, r, w);
	if (old->members & NEXTHOP_IS_GROUP && !w->members && !w->like)
		w->like = old->members & ~NEXTHOP_IS_GROUP;
	list_remove(&r->of_way);
	list_append(&w->routes, &r->of_way);
	r->way = w;
	rib_way_put(rib, old);
	rib_entry_dirty(rib, r->entry);
	routes_changed(rib);
}

void rib_route_rank(struct rib *rib, struct rib_route **at, const struct rib_route_spec *spec)
{
	struct rib_route *r = *at;

	r->generation = rib->generation[spec->source];
	if (r->distance == spec->distance && r->protocol == spec->protocol && r->rank == spec->rank &&
	    r->metric == spec->metric && r->table == spec->table && r->outside == spec->outside)
		return;
	r->protocol = spec->protocol;
	r->distance = spec->distance;
	r->rank = spec->rank;
	r->metric = spec->metric;
	r->table = spec->table;
	r->outside = spec->outside;
	*at = r->next;
	route_insert(r->entry, r);
	rib_entry_dirty(rib, r->entry);
	routes_changed(rib);
}

int rib_route_new(struct rib *rib, struct rib_entry *e, const struct rib_route_spec *spec, struct rib_way *w)
{
	struct rib_route *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->entry = e;
	r->way = w;
	r->metric = spec->metric;
	r->source = spec->source;
	r->protocol = spec->protocol;
	r->distance = spec->distance;
	r->rank = spec->rank;
	r->table = spec->table;
	r->outside = spec->outside;
	r->generation = rib->generation[spec->source];
	list_append(&w->routes, &r->of_way);
	list_append(&rib->sources[spec->source], &r->of_source);
	route_insert(e, r);
	rib_entry_dirty(rib, e);
	routes_changed(rib);
	rib->n_routes++;
	rib->imported[e->vrf] += r->source == RIB_IMPORT;
	return 0;
}

int rib_put(struct rib *rib, const struct rib_route_spec *spec)
{
	struct prefix to = prefix_masked(&spec->to);
	struct rib_nexthop thrown = {.gateway = to.addr, .family = to.family, .weight = RIB_THROW_WEIGHT(to.len, spec->rank)};
	struct rib_entry *e = rib_entry_make(rib, spec->vrf, &to);
	struct rib_route_spec throwing = *spec;
	struct rib_route **at;
	struct rib_way *w;

	rib->any_mtu |= spec->mtu != 0;
	throwing.nexthops = &thrown;
	throwing.n = 1;
	w = e ? rib_way_get(rib, spec->type == RIB_THROW ? &throwing : spec) : NULL;

	if (!w)
		goto no_memory;
	at = route_find(e, spec->source, spec->table, spec->metric);
	if (at) {
		rib_route_set_way(rib, *at, w);
		rib_route_rank(rib, at, spec);
		return 0;
	}
	if (!rib_route_new(rib, e, spec, w))
		return 0;
	rib_way_put(rib, w);
no_memory:
	if (e)
		rib_entry_unmake(rib, e);
	return -ENOMEM;
}

bool rib_any_mtu(const struct rib *rib)
{
	return rib->any_mtu;
}

void rib_remove(struct rib *rib, uint16_t vrf, const struct prefix *to, uint8_t source, uint32_t table, uint32_t metric)
{
	struct prefix masked = prefix_masked(to);
	struct rib_entry *e = rib_entry_find(rib, vrf, &masked);
	struct rib_route **at = e ? route_find(e, source, table, metric) : NULL;

	if (at)
		rib_route_drop(rib, at);
}

void rib_begin(struct rib *rib, uint8_t source)
{
	rib->generation[source]++;
}

static void sweep_one(struct rib *rib, struct rib_list *l)
{
	struct rib_route *r = list_item(l, struct rib_route, of_source);

	if (r->generation != rib->generation[r->source])
		rib_route_drop(rib, route_find(r->entry, r->source, r->table, r->metric));
}

void rib_sweep(struct rib *rib, uint8_t source)
{
	struct rib_list *head = &rib->sources[source], *l, *next;

	for (l = head->next; l != head; l = next) {
		next = l->next;
		sweep_one(rib, l);
	}
}

bool rib_sweep_some(struct rib *rib, struct rib_cursor *c, size_t max)
{
	struct rib_list *l;

	while (max--) {
		l = rib_cursor_next(rib, c);
		if (!l)
			return true;
		sweep_one(rib, l);
	}
	return false;
}

void rib_urgent(struct rib *rib, bool urgent)
{
	rib->urgent = urgent;
}

bool rib_urgent_pending(const struct rib *rib)
{
	return !list_empty(&rib->urgent_entries) || !list_empty(&rib->dirty_ways) || (rib->waits && rib->urgent_waits);
}

/* ---- looking */

static void view(const struct rib_route *r, struct rib_view *v)
{
	*v = (struct rib_view){.vrf = r->entry->vrf,
			       .to = r->entry->to,
			       .source = r->source,
			       .protocol = r->protocol,
			       .distance = r->distance,
			       .type = r->way->type,
			       .metric = r->metric,
			       .table = r->source == RIB_IMPORT || r->source == RIB_STATIC ? 0 : r->table,
			       .outside = r->outside,
			       .from = r->source == RIB_IMPORT ? (int)(r->table & 0xffff) : -1,
			       .origin = r->source == RIB_IMPORT ? (uint8_t)(r->table >> 16) : r->source,
			       .rank = r->rank,
			       .recursive = r->way->recursive && r->way->type != RIB_THROW,
			       .mtu = r->way->mtu,
			       .active = r->entry->active == r,
			       .result = rib_route_result(r),
			       .members = rib_route_keeps(r) ? r->kept : r->way->members,
			       .nexthops = r->way->nexthops,
			       .group = r->way->group,
			       .n = r->way->type == RIB_THROW ? 0 : r->way->n};
	v->reason = rib_route_keeps(r) && r->way->full ? RIB_KEEPS : r->way->reason;
	if (v->active)
		return;
	if (!v->reason && rib_route_by_itself(r))
		v->reason = "the gateway would lead by itself";
	if (!v->reason)
		v->reason = r->entry->refused ? "the table of routes is full" : "another route is better";
}

int rib_each(const struct rib *rib, uint8_t source, int (*fn)(const struct rib_view *v, void *arg), void *arg)
{
	int s, r, end = source == RIB_SOURCES ? RIB_SOURCES : source + 1;
	const struct rib_list *l, *head;
	struct rib_view v;

	for (s = source == RIB_SOURCES ? 0 : source; s < end; s++) {
		head = &rib->sources[s];
		for (l = head->next; l != head; l = l->next) {
			view(list_item(l, struct rib_route, of_source), &v);
			r = fn(&v, arg);
			if (r)
				return r;
		}
	}
	return 0;
}

int rib_cursor_go(struct rib *rib, struct rib_cursor *c, int (*fn)(const struct rib_view *v, void *arg), void *arg)
{
	struct rib_list *l;
	struct rib_view v;
	int r;

	while ((l = rib_cursor_next(rib, c))) {
		view(list_item(l, struct rib_route, of_source), &v);
		r = fn(&v, arg);
		if (r)
			return r;
	}
	return 0;
}

void rib_cursor_close(struct rib *rib, struct rib_cursor *c)
{
	struct rib_cursor **at = &rib->cursors;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	free(c);
}

struct rib_entry *rib_entry_above(const struct rib *rib, uint16_t vrf, const struct addr *a, uint8_t family, int *len)
{
	struct prefix p = {.addr = *a, .family = family}, masked;
	struct rib_entry *e;

	for (; *len >= 0; --*len) {
		if (!rib->n_long[family == 6][*len])
			continue;
		p.len = *len;
		masked = prefix_masked(&p);
		e = rib_entry_find(rib, vrf, &masked);
		if (e) {
			--*len;
			return e;
		}
	}
	return NULL;
}

int rib_lookup(const struct rib *rib, uint16_t vrf, const struct addr *a, struct rib_view *ret)
{
	uint8_t family = addr_family(a);
	int len = family == 4 ? 32 : 128;
	const struct rib_route *r;
	struct rib_entry *e;

	while ((e = rib_entry_above(rib, vrf, a, family, &len))) {
		r = rib_route_taken(rib, e);
		if (!r)
			continue;
		view(r, ret);
		if (r != e->active) { /* its way has not been looked at since */
			ret->result = nexthop_now(rib->ns, e->installed);
			ret->reason = NULL;
		}
		ret->active = true;
		ret->fib = e->installed;
		return 0;
	}
	return -ENOENT;
}

int rib_find(const struct rib *rib, const struct rib_route_spec *spec, struct rib_view *ret)
{
	struct prefix masked = prefix_masked(&spec->to);
	struct rib_entry *e = rib_entry_find(rib, spec->vrf, &masked);
	struct rib_route **at = e ? route_find(e, spec->source, spec->table, spec->metric) : NULL;

	if (!at)
		return -ENOENT;
	view(*at, ret);
	return 0;
}

bool rib_moving(const struct rib *rib, uint16_t vrf, const struct addr *a)
{
	uint8_t family = addr_family(a);
	int len = family == 4 ? 32 : 128;
	struct rib_entry *e;

	if (rib->changed) /* a commit of the FIB has failed, or was put off, and is to come again */
		return true;
	while ((e = rib_entry_above(rib, vrf, a, family, &len))) {
		if (e->active && nexthop_now(rib->ns, e->installed) != e->result) /* the choice follows */
			return true;
		if (!rib_pending(rib))
			continue;
		if ((!list_empty(&e->dirty_link) && !e->waits) || (e->active && rib_route_result(e->active) != e->result))
			return true;
	}
	return false;
}

int rib_each_of(const struct rib *rib, uint16_t vrf, const struct prefix *to, int (*fn)(const struct rib_view *v, void *arg),
		void *arg)
{
	struct prefix masked = prefix_masked(to);
	const struct rib_entry *e = rib_entry_find(rib, vrf, &masked);
	struct rib_view v;
	int r = e ? 0 : -ENOENT;

	for (const struct rib_route *route = e ? e->routes : NULL; route && !r; route = route->next) {
		view(route, &v);
		r = fn(&v, arg);
	}
	return r;
}

int rib_gateway(const struct rib *rib, uint16_t vrf, const struct addr *gateway, struct rib_view *ret)
{
	const struct rib_entry *e = rib_gateway_entry(rib, vrf, gateway, addr_family(gateway), NULL);

	if (!e)
		return -ENOENT;
	view(e->active, ret);
	return 0;
}

uint32_t rib_imported(const struct rib *rib, uint16_t vrf)
{
	return vrf < VRF_MAX ? rib->imported[vrf] : 0;
}

uint32_t rib_installed(const struct rib *rib, uint16_t vrf, uint8_t family)
{
	return vrf < VRF_MAX ? rib->installed[vrf][family == 6] : 0;
}

size_t rib_count(const struct rib *rib)
{
	return rib->n_routes;
}

void rib_stats(const struct rib *rib, struct rib_stats *ret)
{
	*ret = (struct rib_stats){.routes = rib->n_routes,
				  .in_force = rib->n_installed,
				  .refused = rib->n_refused,
				  .pairs = nexthop_pairs_count(rib->ns),
				  .unpaired = rib->n_unpaired};
}

/* ---- life */

int rib_open(struct fib *fib, struct nexthops *ns, bool (*usable)(void *arg, uint16_t iface), void *arg, struct rib **ret)
{
	struct rib *rib = calloc(1, sizeof(*rib));
	int i;

	if (!rib)
		return -ENOMEM;
	rib->fib = fib;
	rib->ns = ns;
	rib->usable = usable;
	rib->arg = arg;
	hash_init(&rib->entries, entry_hash_of);
	hash_init(&rib->ways, rib_way_hash_of);
	list_init(&rib->urgent_entries);
	list_init(&rib->dirty_entries);
	list_init(&rib->dirty_ways);
	list_init(&rib->telling_ways);
	list_init(&rib->refused[0]);
	list_init(&rib->refused[1]);
	list_init(&rib->unpaired);
	for (i = 0; i < RIB_SOURCES; i++)
		list_init(&rib->sources[i]);
	*ret = rib;
	return 0;
}

static void free_routes(struct rib_entry *e)
{
	struct rib_route *r, *next;

	for (r = e->routes; r; r = next) {
		next = r->next;
		free(r);
	}
	free(e);
}

void rib_close(struct rib *rib)
{
	struct hash_iter it = {0};
	struct hash_node *node;

	if (!rib)
		return;
	while ((node = hash_next(&rib->entries, &it)))
		free_routes(hash_entry(node, struct rib_entry, node));
	it = (struct hash_iter){0};
	while ((node = hash_next(&rib->ways, &it)))
		rib_way_free(hash_entry(node, struct rib_way, node));
	rib_imports_free(rib);
	hash_free(&rib->entries);
	hash_free(&rib->ways);
	free(rib);
}
