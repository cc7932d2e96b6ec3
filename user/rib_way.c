/* rib_way.c: ways: from the nexthops that a route names to the nexthop or group that the FIB holds. Declared in rib_priv.h.
 *
 * A way by which nothing can leave now has no result; its nexthops are kept nevertheless, so that they can be seen and drained.
 *
 * A gateway without an interface is looked up among the routes in force, longest prefix first (the default route does not
 * count: every gateway would be reachable by it, and neither does the route itself): a connected one names the interface, another
 * one lends its own steps.
 */
#include "rib_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct way_key {
	uint16_t vrf;
	uint8_t type;
	uint32_t mtu;
	const struct rib_nexthop *nexthops;
	size_t n;
	const char *group; /* "": no named one */
};

/* Field by field: the structs have holes. */
static uint64_t mix_nexthop(uint64_t s, const struct rib_nexthop *n)
{
	s = hash_mix_bytes(s, &n->gateway, sizeof(n->gateway));
	return hash_mix(s, (uint64_t)n->family << 48 | (uint64_t)n->recursive << 42 | (uint64_t)n->onlink << 41 |
				   (uint64_t)n->down << 40 | (uint64_t)n->iface << 16 | n->weight);
}

static bool same_nexthop(const struct rib_nexthop *a, const struct rib_nexthop *b)
{
	return a->family == b->family && a->onlink == b->onlink && a->down == b->down && a->recursive == b->recursive &&
	       a->iface == b->iface && a->weight == b->weight && !memcmp(&a->gateway, &b->gateway, sizeof(a->gateway));
}

static uint32_t hash_way(const struct hash *h, const struct way_key *k)
{
	uint64_t s = hash_mix(h->salt, (uint64_t)k->vrf << 48 | (uint64_t)k->type << 40 | (*k->group ? 0 : k->n));
	size_t i;

	s = hash_mix(s, k->mtu);
	if (*k->group)
		return hash_end(hash_mix_bytes(s, k->group, strlen(k->group)));
	for (i = 0; i < k->n; i++)
		s = mix_nexthop(s, &k->nexthops[i]);
	return hash_end(s);
}

static struct way_key key_of(const struct rib_way *w)
{
	return (struct way_key){w->vrf, w->type, w->mtu, w->nexthops, w->n, w->group};
}

uint32_t rib_way_hash_of(const struct hash *h, const struct hash_node *node)
{
	struct way_key k = key_of(hash_entry(node, struct rib_way, node));

	return hash_way(h, &k);
}

static bool same_nexthops(const struct rib_way *w, const struct rib_nexthop *nexthops, size_t n)
{
	size_t i;

	for (i = 0; i < w->n && w->n == n; i++)
		if (!same_nexthop(&w->nexthops[i], &nexthops[i]))
			return false;
	return w->n == n;
}

/* That of a named group stays the same one whatever is in the group. */
static bool way_equal(const struct hash_node *node, const void *arg)
{
	const struct rib_way *w = hash_entry(node, struct rib_way, node);
	const struct way_key *k = arg;

	return w->vrf == k->vrf && w->type == k->type && w->mtu == k->mtu && !strcmp(w->group, k->group) &&
	       (*k->group || same_nexthops(w, k->nexthops, k->n));
}

void rib_way_dirty(struct rib *rib, struct rib_way *w)
{
	if (w->telling)
		list_remove(&w->dirty_link);
	w->telling = false;
	rib->ways_wait = false;
	if (list_empty(&w->dirty_link))
		list_append(&rib->dirty_ways, &w->dirty_link);
}

/* What leads there, in room for it. */
static void way_fill(struct rib *rib, struct rib_way *w, const struct rib_route_spec *spec)
{
	size_t i;

	rib->n_recursive -= w->recursive;
	w->recursive = false;
	w->n = spec->n;
	for (i = 0; i < spec->n; i++) {
		w->nexthops[i] = spec->nexthops[i];
		if (spec->nexthops[i].family && !spec->nexthops[i].iface)
			w->recursive = true;
	}
	rib->n_recursive += w->recursive;
}

/* A named group as it is now; its routes stay where they are. */
static int way_change(struct rib *rib, struct rib_way *w, const struct rib_route_spec *spec)
{
	struct rib_nexthop *more;

	if (same_nexthops(w, spec->nexthops, spec->n))
		return 0;
	if (spec->n > w->room) {
		more = calloc(spec->n, sizeof(*more));
		if (!more)
			return -ENOMEM;
		if (w->nexthops != w->own)
			free(w->nexthops);
		w->nexthops = more;
		w->room = spec->n;
	}
	way_fill(rib, w, spec);
	rib_way_dirty(rib, w);
	return 0;
}

void rib_way_free(struct rib_way *w)
{
	if (w->nexthops != w->own)
		free(w->nexthops);
	free(w);
}

struct rib_way *rib_way_get(struct rib *rib, const struct rib_route_spec *spec)
{
	struct way_key k = {spec->vrf, spec->type, spec->mtu, spec->nexthops, spec->n, spec->group ? spec->group : ""};
	struct hash_node *node = hash_find(&rib->ways, hash_way(&rib->ways, &k), way_equal, &k);
	struct rib_way *w;

	if (node) {
		w = hash_entry(node, struct rib_way, node);
		if (*k.group && way_change(rib, w, spec))
			return NULL;
		w->refs++;
		return w;
	}
	w = calloc(1, sizeof(*w) + spec->n * sizeof(w->own[0]));
	if (!w)
		return NULL;
	list_init(&w->routes);
	list_init(&w->dirty_link);
	list_init(&w->untold);
	w->vrf = spec->vrf;
	w->type = spec->type;
	w->mtu = spec->mtu;
	w->refs = 1;
	w->room = spec->n;
	w->nexthops = w->own;
	snprintf(w->group, sizeof(w->group), "%s", k.group);
	way_fill(rib, w, spec);
	if (hash_insert(&rib->ways, &w->node)) {
		rib->n_recursive -= w->recursive;
		free(w);
		return NULL;
	}
	rib->n_throw += w->type == RIB_THROW;
	rib_way_dirty(rib, w);
	return w;
}

void rib_way_put(struct rib *rib, struct rib_way *w)
{
	if (--w->refs)
		return;
	nexthop_unuse(rib->ns, w->members);
	hash_remove(&rib->ways, &w->node);
	list_remove(&w->dirty_link);
	list_remove(&w->untold);
	rib->n_recursive -= w->recursive;
	rib->n_throw -= w->type == RIB_THROW;
	rib->n_full -= w->full;
	rib_way_free(w);
}

/* ---- working out */

/* Gateways behind gateways behind gateways are looked at so far: what leads nowhere by then leads nowhere. */
#define LOOKS_MAX (4 * NHG_MEMBERS)

#define WEIGHT_MAX 256

/* What a result is made from. */
struct rib_step {
	struct nexthop_key key;
	uint64_t weight; /* the product of those on the way to it: WEIGHT_MAX to the power of RIB_DEPTH + 1 at most */
};

struct steps {
	struct rib_step v[NHG_MEMBERS];
	size_t n;
	unsigned usable, looks;	   /* looks: at gateways, as far as that went */
	const struct rib_way *way; /* whose they are */
	const char *reason;
};

static void add_step(struct rib *rib, struct steps *s, const struct rib_step *step)
{
	if (s->n == NHG_MEMBERS) {
		s->reason = "more nexthops than a group holds";
		return;
	}
	if (rib->usable(rib->arg, step->key.iface))
		s->usable++;
	else
		s->reason = "the interface is down";
	s->v[s->n++] = *step;
}

struct rib_entry *rib_gateway_entry(const struct rib *rib, uint16_t vrf, const struct addr *gateway, uint8_t family,
				    const struct rib_way *but)
{
	int len = family == 4 ? 32 : 128;
	struct rib_entry *e;

	while ((e = rib_entry_above(rib, vrf, gateway, family, &len)))
		if (e->active && e->active->way != but)
			return e->to.len ? e : NULL;
	return NULL;
}

/* The prefix of an interface that holds the gateway, where packets cannot leave now: the link is down. 0: there is none. */
static uint16_t down_iface(const struct rib *rib, uint16_t vrf, const struct rib_nexthop *n)
{
	int len = n->family == 4 ? 32 : 128;
	const struct rib_route *r;
	const struct rib_entry *e;

	while ((e = rib_entry_above(rib, vrf, &n->gateway, n->family, &len)))
		for (r = e->routes; r; r = r->next)
			if (r->source == RIB_CONNECTED && !rib->usable(rib->arg, r->way->nexthops[0].iface))
				return r->way->nexthops[0].iface;
	return 0;
}

static void resolve_nexthops(struct rib *rib, const struct rib_way *by, struct steps *s, uint64_t weight, unsigned depth);

/* The route to the gateway has a gateway itself: its steps are this nexthop's, each as often as both weights say. Followed
 * anew each time: what the routes between were worked out to before may rest upon this very way. */
static void follow(struct rib *rib, const struct rib_way *by, struct steps *s, uint64_t weight, unsigned depth)
{
	if (depth == RIB_DEPTH)
		s->reason = "the gateway is reached by too many routes one over another, or in a circle";
	else
		resolve_nexthops(rib, by, s, weight, depth + 1);
}

/* `vrf`: of the way that names the gateway, which may be imported. */
static void resolve_gateway(struct rib *rib, uint16_t vrf, const struct rib_nexthop *n, struct steps *s, uint64_t weight,
			    unsigned depth)
{
	struct rib_step step = {.key = {.type = NEXTHOP_GATEWAY, .family = n->family, .iface = n->iface, .mtu = s->way->mtu},
				.weight = weight};
	struct rib_entry *e;

	s->looks++;
	step.key.gateway = n->gateway;
	if (n->iface) {
		add_step(rib, s, &step);
		return;
	}
	e = rib_gateway_entry(rib, vrf, &n->gateway, n->family, s->way);
	if (!e && (step.key.iface = down_iface(rib, vrf, n))) {
		add_step(rib, s, &step);
	} else if (!e && rib_gateway_entry(rib, vrf, &n->gateway, n->family, NULL)) {
		s->reason = "the gateway is reached by nothing but the route itself";
	} else if (!e) {
		s->reason = n->recursive ? "no route leads to the gateway" : "no interface reaches the gateway";
	} else if (e->active->way->type == NEXTHOP_CONNECTED) {
		step.key.iface = e->active->way->nexthops[0].iface;
		add_step(rib, s, &step);
	} else if (e->active->way->type == NEXTHOP_GATEWAY) {
		follow(rib, e->active->way, s, weight, depth);
	} else if (e->active->way->type == NEXTHOP_LOCAL) {
		s->reason = "the gateway is an address of this host";
	} else {
		s->reason = "the route to the gateway leads nowhere";
	}
}

static void resolve_nexthops(struct rib *rib, const struct rib_way *by, struct steps *s, uint64_t weight, unsigned depth)
{
	struct rib_step step;
	size_t i;

	for (i = 0; i < by->n && s->n < NHG_MEMBERS && s->looks < LOOKS_MAX; i++) {
		const struct rib_nexthop *n = &by->nexthops[i];
		uint64_t w = weight * n->weight;

		if (n->down) {
			s->reason = "its link is down";
		} else if (n->family) {
			resolve_gateway(rib, by->vrf, n, s, w, depth);
		} else {
			step.key = (struct nexthop_key){.type = NEXTHOP_CONNECTED, .iface = n->iface, .mtu = s->way->mtu};
			step.weight = w;
			add_step(rib, s, &step);
		}
	}
}

/* Where the look-up goes on when a table's `throw` has ended it there: by the longest prefix of the VRF's next tables. NULL:
 * those were all. */
static const struct rib_way *beyond(const struct rib *rib, const struct rib_way *w)
{
	const struct rib_nexthop *from = &w->nexthops[0];
	int len = RIB_THROW_LEN(from->weight);
	const struct rib_route *r;
	const struct rib_entry *e;

	while ((e = rib_entry_above(rib, w->vrf, &from->gateway, from->family, &len)))
		for (r = e->routes; r; r = r->next)
			if (r->source == RIB_KERNEL && r->rank > RIB_THROW_RANK(from->weight) && r->way->result)
				return r->way;
	return NULL;
}

static void resolve_steps(struct rib *rib, const struct rib_way *w, struct steps *s)
{
	struct rib_step step = {.weight = 1};

	while (w && w->type == RIB_THROW) /* to a table behind this one, each time */
		w = beyond(rib, w);
	s->way = w;
	if (!w || (w->type != NEXTHOP_GATEWAY && w->type != NEXTHOP_CONNECTED)) {
		step.key.type = w ? w->type : NEXTHOP_NOWHERE;
		if (w && w->n) /* a broadcast address: where it may go */
			step.key.iface = w->nexthops[0].iface;
		s->v[s->n++] = step;
		s->usable = 1;
		return;
	}
	s->reason = "it has no nexthop";
	resolve_nexthops(rib, w, s, 1, 1);
}

static uint64_t divisor(uint64_t a, uint64_t b)
{
	return b ? divisor(b, a % b) : a;
}

/* To what a group takes, in proportion: exactly where the weights allow it, else to a 256th of the largest. */
static void scale_weights(struct steps *s)
{
	uint64_t most = 0, common = 0;
	size_t i;

	for (i = 0; i < s->n; i++) {
		most = s->v[i].weight > most ? s->v[i].weight : most;
		common = divisor(s->v[i].weight, common);
	}
	if (most <= WEIGHT_MAX)
		return;
	most /= common;
	for (i = 0; i < s->n; i++) {
		s->v[i].weight /= common;
		if (most > WEIGHT_MAX)
			s->v[i].weight = (s->v[i].weight * WEIGHT_MAX + most / 2) / most;
		if (!s->v[i].weight)
			s->v[i].weight = 1;
	}
}

/* Of a named group: the one that it has, with these members now, so that all its routes change with one store; or one of its own.
 */
static int use_named(struct rib *rib, const struct rib_way *w, const struct nhg_member *m, size_t n, uint32_t *ret)
{
	uint32_t key = w->vrf;
	bool changed = false;
	int r;

	for (const char *c = w->group; *c; c++)
		key = key * 31 + (unsigned char)*c;
	if (w->members & NEXTHOP_IS_GROUP) {
		*ret = w->members & ~NEXTHOP_IS_GROUP;
		r = nhg_change(rib->ns, *ret, m, n, &changed);
		rib->changed |= changed;
		return r;
	}
	return nhg_use(rib->ns, m, n, w->like, key | 1, ret);
}

/* One use of the nexthop or group of these steps. */
static int use_steps(struct rib *rib, const struct rib_way *w, const struct steps *s, uint32_t *ret)
{
	uint32_t like = w->members & NEXTHOP_IS_GROUP ? w->members & ~NEXTHOP_IS_GROUP : w->like;
	struct nhg_member m[NHG_MEMBERS];
	size_t i, n = 0;
	bool fresh, alive, many = false;
	int r = 0;

	for (i = 0; i < s->n && !r; i++) {
		r = nexthop_use(rib->ns, &s->v[i].key, &m[n].nexthop, &fresh);
		if (r)
			break;
		if (fresh)
			nexthop_set_state(rib->ns, m[n].nexthop, NULL, 0);
		alive = !s->v[i].key.iface || rib->usable(rib->arg, s->v[i].key.iface);
		if (nexthop_at(rib->ns, m[n].nexthop)->flags & NEXTHOP_F_FAILED)
			alive = false;
		nexthop_set_alive(rib->ns, m[n].nexthop, alive);
		m[n].weight = (uint32_t)s->v[i].weight;
		many |= m[n].nexthop != m[0].nexthop;
		n++;
	}
	if (!r && !many && !*w->group) {
		*ret = m[0].nexthop;
		for (i = 1; i < n; i++)
			nexthop_unuse(rib->ns, m[i].nexthop);
		return 0;
	}
	if (!r)
		r = *w->group ? use_named(rib, w, m, n, ret) : nhg_use(rib->ns, m, n, like, 0, ret);
	if (!r)
		*ret |= NEXTHOP_IS_GROUP;
	while (n--)
		nexthop_unuse(rib->ns, m[n].nexthop);
	return r;
}

/* The use of what it leads to now in place of that of before. */
static void way_lead(struct rib *rib, struct rib_way *w, uint32_t members, bool usable)
{
	bool known = w->known;
	uint32_t result = usable ? members : 0;

	nexthop_unuse(rib->ns, w->members);
	w->members = members;
	w->known = !w->full;
	/* routes that keep what they led by are told of nothing, too */
	if (result != w->result ||
	    w->known != known) { /* from the first one on, also when some have been told of another change just now */
		list_remove(&w->untold);
		list_prepend(&w->routes, &w->untold);
		rib->again |= rib->n_throw != 0;
	}
	w->result = result;
	w->like = 0;
}

static bool nexthop_leads(const struct rib *rib, uint32_t id)
{
	const struct nexthop *nh = nexthop_at(rib->ns, id);

	if (!nh || (nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED))
		return true;
	return rib->usable(rib->arg, nh->iface);
}

bool rib_leads(const struct rib *rib, uint32_t result)
{
	const struct nhg_member *m;
	size_t n, i;

	if (!(result & NEXTHOP_IS_GROUP))
		return nexthop_leads(rib, result);
	n = nhg_members(rib->ns, result & ~NEXTHOP_IS_GROUP, &m, NULL, 0);
	for (i = 0; i < n && !nexthop_leads(rib, m[i].nexthop); i++)
		;
	return i < n;
}

int rib_way_resolve(struct rib *rib, struct rib_way *w)
{
	struct steps s = {.n = 0};
	uint32_t members = 0;
	int r = 0;

	resolve_steps(rib, w, &s);
	scale_weights(&s);
	rib->n_full -= w->full;
	w->full = false;
	if (s.n)
		r = use_steps(rib, w, &s, &members);
	if (r == -E2BIG && s.usable) {
		s.reason = "the table of nexthops is full";
		s.usable = 0;
		w->full = true;
		rib->n_full++;
	} else if (r && r != -E2BIG) {
		return r;
	}
	if (w->full && w->result && rib_leads(rib, w->result)) {
		w->reason = RIB_KEEPS;
		return 0;
	}
	if (r)
		members = 0;
	w->reason = s.usable ? NULL : s.reason;
	way_lead(rib, w, members, s.usable);
	return 0;
}

bool rib_route_keeps(const struct rib_route *r)
{
	return r->kept && !r->way->result && !r->way->known;
}

uint32_t rib_route_result(const struct rib_route *r)
{
	return rib_route_keeps(r) ? r->kept : r->way->result;
}

void rib_route_keep(struct rib *rib, struct rib_route *r, const struct rib_way *next)
{
	uint32_t had = rib_route_result(r);

	if (next && (next->known || next->result))
		had = 0;
	nexthop_reuse(rib->ns, had);
	nexthop_unuse(rib->ns, r->kept);
	r->kept = had;
}

void rib_route_give_up(struct rib *rib, struct rib_route *r)
{
	if (!r->kept || (rib_route_keeps(r) && rib_leads(rib, r->kept)))
		return;
	nexthop_unuse(rib->ns, r->kept);
	r->kept = 0;
}

void rib_way_links(struct rib *rib, struct rib_way *w)
{
	rib_way_dirty(rib, w);
	if (!w->full || w->result)
		return;
	list_remove(&w->untold);
	list_prepend(&w->routes, &w->untold);
}

bool rib_way_tell(struct rib *rib, struct rib_way *w, size_t max)
{
	struct rib_list *l;

	if (list_empty(&w->untold))
		return true;
	while (max-- && w->untold.next != &w->routes) {
		l = w->untold.next;
		rib_entry_dirty(rib, list_item(l, struct rib_route, of_way)->entry);
		list_remove(&w->untold);
		list_prepend(l, &w->untold);
	}
	if (w->untold.next != &w->routes)
		return false;
	list_remove(&w->untold);
	return true;
}
