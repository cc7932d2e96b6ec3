/* mirror_route.c: the routes of the mirror, between rtnetlink's messages and who listens for changes.
 *
 * Routes of one prefix, table and metric are the alternatives of one `struct route` (mirror_route_alt.c); the first that is
 * usable is what is told and shown, as it is what the kernel uses.
 */
#include "mirror_impl.h"

/* What was told of a route before a change. */
struct before {
	bool any;
	struct kroute k;
	struct nexthop_set *set; /* referenced */
};

static uint32_t route_hash_of(const struct hash *h, const struct addr *dst, uint8_t family, uint8_t len, uint32_t table,
			      uint32_t metric)
{
	uint64_t state = hash_mix(h->salt, dst->a64[0]);

	state = hash_mix(state, dst->a64[1]);
	return hash_end(hash_mix(state, ((uint64_t)table << 32 | metric) ^ (uint64_t)len << 24 ^ (uint64_t)family << 20));
}

static uint32_t route_hash(const struct hash *h, const struct hash_node *node)
{
	const struct route *r = hash_entry(node, struct route, node);

	return route_hash_of(h, &r->dst, r->family, r->len, r->table, r->metric);
}

static bool route_equal(const struct hash_node *node, const void *key)
{
	const struct route *r = hash_entry(node, struct route, node);
	const struct route_msg *msg = key;

	return r->family == msg->to.family && r->len == msg->to.len && r->table == msg->table && r->metric == msg->metric &&
	       memcmp(&r->dst, &msg->to.addr, sizeof(r->dst)) == 0;
}

void routes_init(struct mirror *m)
{
	hash_init(&m->routes, route_hash);
	sources_init(m);
}

void route_free_alts(struct route *r)
{
	for (struct route_alt *a = r->first, *next; a; a = next) {
		next = a->next;
		if (a != &r->alt)
			free(a);
	}
}

void routes_free(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->routes, &it))) {
		struct route *r = hash_entry(node, struct route, node);

		route_free_alts(r);
		free(r);
	}
	hash_free(&m->routes);
	sources_free(m);
}

/* ---- what is told and shown */

/* A blackhole object makes its routes blackholes, and no longer when it is replaced. Ways that sluice cannot go make the
 * route RTN_UNSPEC. */
static uint8_t alt_type(const struct route_alt *a)
{
	if ((a->flags & ALT_UNUSABLE) || (a->set->flags & SET_UNUSABLE))
		return RTN_UNSPEC;
	if (!a->set->id || !(a->set->flags & SET_KNOWN))
		return a->type;
	if (a->set->flags & SET_BLACKHOLE)
		return RTN_BLACKHOLE;
	return a->type == RTN_BLACKHOLE ? RTN_UNICAST : a->type;
}

static bool alt_usable(const struct route_alt *a)
{
	if (alt_type(a) != RTN_UNICAST)
		return true;
	for (size_t i = 0; i < a->set->n; i++) {
		if (!a->set->nh[i].dead)
			return true;
	}
	return false;
}

static const struct route_alt *route_best(const struct route *r)
{
	for (const struct route_alt *a = r->first; a; a = a->next) {
		if (!a->next && a == r->first)
			return a;
		if (alt_usable(a))
			return a;
	}
	return r->first;
}

void route_view(const struct route *r, const struct route_alt *a, struct kroute *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->to.addr = r->dst;
	ret->to.family = r->family;
	ret->to.len = r->len;
	ret->table = r->table;
	ret->metric = r->metric;
	ret->type = alt_type(a);
	ret->protocol = a->protocol;
	ret->mtu = a->mtu;
	ret->nexthops = a->set->nh;
	ret->n_nexthops = a->set->n;
}

static void before_take(const struct route *r, struct before *b)
{
	const struct route_alt *a = route_best(r);

	b->any = a;
	if (!a)
		return;
	route_view(r, a, &b->k);
	b->set = a->set;
	b->set->refs++;
}

static void route_told(struct mirror *m, enum mirror_op op, const struct kroute *k)
{
	if (m->quiet)
		return;
	m->told = true;
	if (m->listener.route)
		m->listener.route(m->listener.arg, op, k);
}

/* Tells what the change since before_take() means, and frees the route when nothing is left of it. */
static void before_tell(struct mirror *m, struct route *r, struct before *b, bool force)
{
	const struct route_alt *a = route_best(r);
	struct kroute now;

	if (a) {
		route_view(r, a, &now);
		if (!b->any || force || a->set != b->set || now.type != b->k.type || now.protocol != b->k.protocol ||
		    now.mtu != b->k.mtu)
			route_told(m, MIRROR_NEW, &now);
	} else if (b->any) {
		route_told(m, MIRROR_DEL, &b->k);
	}
	if (b->any)
		nexthop_set_put(m, b->set);
	if (!r->first) {
		hash_remove(&m->routes, &r->node);
		free(r);
	}
}

/* ---- news */

static struct route *route_find(const struct mirror *m, const struct route_msg *msg)
{
	uint32_t hash = route_hash_of(&m->routes, &msg->to.addr, msg->to.family, msg->to.len, msg->table, msg->metric);
	return hash_find_entry(&m->routes, hash, route_equal, msg, struct route, node);
}

static struct route *route_create(struct mirror *m, const struct route_msg *msg)
{
	struct route *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->dst = msg->to.addr;
	r->family = msg->to.family;
	r->len = msg->to.len;
	r->table = msg->table;
	r->metric = msg->metric;
	if (hash_insert(&m->routes, &r->node) < 0) {
		free(r);
		return NULL;
	}
	return r;
}

int route_put_in(struct mirror *m, struct route *r, const struct route_msg *msg, unsigned nlmsg_flags, bool dump)
{
	struct route_alt a;
	int ret = alt_make(m, msg, &a);

	if (ret < 0)
		return ret;
	a.gen = dump ? m->route_gen : 0;
	if (dump && !m->plan.job[m->plan.pos].oif)
		return alt_place_dumped(m, r, &a);
	return alt_place(m, r, &a, dump ? NLM_F_APPEND : nlmsg_flags);
}

static int route_new(struct mirror *m, const struct route_msg *msg, unsigned nlmsg_flags, bool dump)
{
	struct route *r = route_find(m, msg);
	struct before before = {};
	int ret;

	if (!r)
		r = route_create(m, msg);
	if (!r)
		return -ENOMEM;
	before_take(r, &before);
	ret = route_put_in(m, r, msg, nlmsg_flags, dump);
	before_tell(m, r, &before, false);
	return ret;
}

/* ---- deletion */

/* The mirror and the kernel disagree: the table is compared with a dump, a moment later. */
static void doubt_table(struct mirror *m, uint8_t family, uint32_t table)
{
	struct doubt *d = &m->doubt;
	int i = family == 6;

	if (m->replay)
		return;
	if (d->table[i] && d->table[i] != table)
		d->all[i] = true;
	d->table[i] = table;
}

int route_take_out(struct mirror *m, struct route *r, const struct route_msg *msg)
{
	struct route_alt like;
	int ret = alt_make(m, msg, &like);

	if (ret < 0)
		return ret;
	ret = alt_take_out(m, r, msg, &like);
	alt_release(m, &like);
	if (ret == 0)
		doubt_table(m, msg->to.family, msg->table);
	return ret < 0 ? ret : 0;
}

static int route_del(struct mirror *m, const struct route_msg *msg)
{
	struct route *r = route_find(m, msg);
	struct before before = {};
	int ret;

	if (!r)
		return 0;
	before_take(r, &before);
	ret = route_take_out(m, r, msg);
	before_tell(m, r, &before, false);
	return ret;
}

int route_message(struct mirror *m, const struct nlmsghdr *nlh, bool dump)
{
	struct route_msg msg;
	int r = route_parse(m, nlh, &msg);

	if (r <= 0)
		return r;
	if (route_left_out(&msg))
		return mirror_left_out_message(m, &msg, nlh->nlmsg_type, nlh->nlmsg_flags, dump);
	return nlh->nlmsg_type == RTM_DELROUTE ? route_del(m, &msg) : route_new(m, &msg, nlh->nlmsg_flags, dump);
}

/* ---- the walk */

/* Should the plan's dumps have shown this one, if the kernel still had it? */
static bool alt_in_scope(const struct mirror *m, const struct route *r, const struct route_alt *a)
{
	for (size_t i = 0; i < m->plan.n; i++) {
		const struct job *j = &m->plan.job[i];

		if (j->kind == JOB_ROUTES && j->family == r->family && (!j->table || j->table == r->table) &&
		    (!j->oif || (a->set->flags & SET_AUDIT)))
			return true;
	}
	return false;
}

/* A dump by device cannot ask for a device that is gone: an IPv6 multipath route may live on without it. */
static int alt_sweep(struct mirror *m, struct route *r, struct route_alt **at)
{
	struct route_alt *a = *at;
	struct kroute_nexthop *gone;
	size_t n = 0;
	int ret = 0;

	if (a->flags & ALT_ECMP) {
		gone = mirror_scratch(m, a->set->n);
		if (!gone)
			return -ENOMEM;
		for (size_t i = 0; i < a->set->n; i++) {
			if (!mirror_link(m, a->set->nh[i].ifindex))
				gone[n++] = a->set->nh[i];
		}
		if (n && n < a->set->n)
			ret = alt_without(m, r, at, gone, n);
		if (ret)
			return ret < 0 ? ret : 0;
	}
	alt_drop(m, r, at);
	return 0;
}

int route_sweep(struct mirror *m, struct route *r, bool *ret_dirty)
{
	int ret = 0;

	*ret_dirty = false;
	for (struct route_alt **at = &r->first, *a; (a = *at);) {
		struct route_alt *next = a->next;
		bool seen = a->gen && a->gen == m->route_gen;

		a->gen = 0;
		*ret_dirty = *ret_dirty || (a->set->flags & SET_DIRTY);
		if (a->set->flags & SET_GONE)
			alt_drop(m, r, at);
		else if (!seen && alt_in_scope(m, r, a))
			ret = alt_sweep(m, r, at);
		if (*at != next)
			at = &a->next;
	}
	return ret;
}

static int route_visit(struct mirror *m, struct route *r)
{
	struct before before = {};
	bool dirty;
	int ret;

	before_take(r, &before);
	ret = route_sweep(m, r, &dirty);
	before_tell(m, r, &before, dirty);
	return ret;
}

bool routes_walk(struct mirror *m, size_t max)
{
	struct hash_node *node;

	while (max--) {
		node = hash_next(&m->routes, &m->plan.walk);
		if (!node)
			return true;
		if (route_visit(m, hash_entry(node, struct route, node)) < 0)
			m->doubt.memory = true;
	}
	return false;
}

bool mirror_routes_step(const struct mirror *m, size_t *at, size_t max, int (*fn)(const struct kroute *r, void *arg), void *arg,
			int *ret)
{
	struct hash_node *node;
	struct kroute k;
	size_t end = *at + max;

	for (*ret = 0; *at < m->routes.n_buckets && *at < end && !*ret; ++*at)
		for (node = m->routes.buckets[*at]; node && !*ret; node = node->next) {
			const struct route *r = hash_entry(node, struct route, node);

			route_view(r, route_best(r), &k);
			*ret = fn(&k, arg);
		}
	return *at >= m->routes.n_buckets;
}

int mirror_each_route(const struct mirror *m, uint32_t table, int (*fn)(const struct kroute *r, void *arg), void *arg)
{
	struct hash_iter it = {};
	struct hash_node *node;
	struct kroute k;
	int ret = 0;

	while (!ret && (node = hash_next(&m->routes, &it))) {
		const struct route *r = hash_entry(node, struct route, node);

		if (table && r->table != table)
			continue;
		route_view(r, route_best(r), &k);
		ret = fn(&k, arg);
	}
	return ret;
}
