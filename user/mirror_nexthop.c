/* mirror_nexthop.c: the ways that routes lead to: sets written out in routes, and the kernel's nexthop objects and groups.
 *
 * A full table has a million routes and a handful of sets, so a set is stored once and routes refer to it. What changes a set
 * (a link goes down, an object is replaced, a group loses a member) marks it dirty, and one walk over the routes
 * (mirror_route.c) tells again those that use it.
 */
#include <linux/nexthop.h>
#include "mirror_impl.h"

static int nexthop_cmp(const void *x, const void *y)
{
	const struct kroute_nexthop *a = x, *b = y;
	int r;

	if (a->ifindex != b->ifindex)
		return a->ifindex < b->ifindex ? -1 : 1;
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	r = memcmp(&a->gateway, &b->gateway, sizeof(a->gateway));
	if (r)
		return r;
	if (a->weight != b->weight)
		return a->weight < b->weight ? -1 : 1;
	return a->onlink - b->onlink;
}

bool nexthop_same(const struct kroute_nexthop *a, const struct kroute_nexthop *b)
{
	return nexthop_cmp(a, b) == 0;
}

static uint32_t set_hash_of(const struct hash *h, const struct kroute_nexthop *nh, size_t n)
{
	uint64_t state = hash_mix(h->salt, n);

	for (size_t i = 0; i < n; i++) {
		state = hash_mix(state, (uint64_t)nh[i].ifindex << 32 | nh[i].weight << 9 | nh[i].family << 1 | nh[i].onlink);
		state = hash_mix_bytes(state, &nh[i].gateway, sizeof(nh[i].gateway));
	}
	return hash_end(state);
}

static uint32_t set_hash(const struct hash *h, const struct hash_node *node)
{
	const struct nexthop_set *s = hash_entry(node, struct nexthop_set, node);

	return set_hash_of(h, s->nh, s->n);
}

struct ways {
	const struct kroute_nexthop *nh;
	size_t n;
};

static bool ways_equal(const struct nexthop_set *s, const struct ways *w)
{
	if (s->n != w->n)
		return false;
	for (size_t i = 0; i < w->n; i++) {
		if (!nexthop_same(&s->nh[i], &w->nh[i]))
			return false;
	}
	return true;
}

static bool set_equal(const struct hash_node *node, const void *key)
{
	return ways_equal(hash_entry(node, struct nexthop_set, node), key);
}

static uint32_t object_hash(const struct hash *h, const struct hash_node *node)
{
	return hash_end(hash_mix(h->salt, hash_entry(node, struct nexthop_set, node)->id));
}

static bool object_equal(const struct hash_node *node, const void *key)
{
	return hash_entry(node, struct nexthop_set, node)->id == *(const uint32_t *)key;
}

void nexthops_init(struct mirror *m)
{
	hash_init(&m->sets, set_hash);
	hash_init(&m->objects, object_hash);
}

static void set_free(struct nexthop_set *s)
{
	free(s->nh);
	free(s->members);
	free(s);
}

void nexthops_free(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->sets, &it)))
		set_free(hash_entry(node, struct nexthop_set, node));
	it = (struct hash_iter){};
	while ((node = hash_next(&m->objects, &it)))
		set_free(hash_entry(node, struct nexthop_set, node));
	hash_free(&m->sets);
	hash_free(&m->objects);
}

/* A way through a link that is down, without carrier, or not there, is dead: the kernel's flags say the same, but are not told
 * again when they change. */
static bool way_dead(const struct mirror *m, const struct kroute_nexthop *nh)
{
	return nh->ifindex && !link_usable(mirror_link(m, nh->ifindex));
}

struct nexthop_set *nexthop_set_get(struct mirror *m, struct kroute_nexthop *nh, size_t n)
{
	struct ways key = {nh, n};
	struct hash_node *node;
	struct nexthop_set *s;

	if (n > UINT16_MAX)
		return NULL;
	if (n > 1)
		qsort(nh, n, sizeof(*nh), nexthop_cmp);
	node = hash_find(&m->sets, set_hash_of(&m->sets, nh, n), set_equal, &key);
	if (node) {
		s = hash_entry(node, struct nexthop_set, node);
		s->refs++;
		return s;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->nh = malloc((n ? n : 1) * sizeof(*nh));
	if (!s->nh) {
		free(s);
		return NULL;
	}
	if (n)
		memcpy(s->nh, nh, n * sizeof(*nh));
	s->n = n;
	s->refs = 1;
	for (size_t i = 0; i < n; i++)
		s->nh[i].dead = way_dead(m, &s->nh[i]);
	if (hash_insert(&m->sets, &s->node) < 0) {
		set_free(s);
		return NULL;
	}
	return s;
}

/* An object that the kernel has not told of yet is waited for: a route may name it before. */
static struct nexthop_set *object_find(struct mirror *m, uint32_t id, bool create)
{
	struct hash_node *node = hash_find(&m->objects, hash_end(hash_mix(m->objects.salt, id)), object_equal, &id);
	struct nexthop_set *s;

	if (node || !create)
		return node ? hash_entry(node, struct nexthop_set, node) : NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->id = id;
	if (hash_insert(&m->objects, &s->node) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

struct nexthop_set *nexthop_object_get(struct mirror *m, uint32_t id)
{
	struct nexthop_set *s = object_find(m, id, true);

	if (s)
		s->refs++;
	return s;
}

void nexthop_set_put(struct mirror *m, struct nexthop_set *s)
{
	if (--s->refs)
		return;
	if (s->id && (s->flags & SET_KNOWN))
		return;
	hash_remove(s->id ? &m->objects : &m->sets, &s->node);
	set_free(s);
}

bool nexthop_set_uses(const struct nexthop_set *s, int ifindex)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->nh[i].ifindex == ifindex)
			return true;
	}
	return false;
}

bool nexthops_use(const struct mirror *m, int ifindex)
{
	const struct hash *tables[] = {&m->sets, &m->objects};

	for (size_t i = 0; i < 2; i++) {
		struct hash_iter it = {};
		struct hash_node *node;

		while ((node = hash_next(tables[i], &it))) {
			if (nexthop_set_uses(hash_entry(node, struct nexthop_set, node), ifindex))
				return true;
		}
	}
	return false;
}

static void set_dirty(struct mirror *m, struct nexthop_set *s)
{
	if (!s->refs)
		return;
	s->flags |= SET_DIRTY;
	m->dirty = true;
}

static void sets_each(struct mirror *m, void (*fn)(struct mirror *m, struct nexthop_set *s, int ifindex), int ifindex)
{
	struct hash *tables[] = {&m->sets, &m->objects};

	for (size_t i = 0; i < 2; i++) {
		struct hash_iter it = {};
		struct hash_node *node;

		while ((node = hash_next(tables[i], &it)))
			fn(m, hash_entry(node, struct nexthop_set, node), ifindex);
	}
}

static void set_link_changed(struct mirror *m, struct nexthop_set *s, int ifindex)
{
	for (size_t i = 0; i < s->n; i++) {
		bool dead = way_dead(m, &s->nh[i]);

		if (s->nh[i].ifindex != ifindex || s->nh[i].dead == dead)
			continue;
		s->nh[i].dead = dead;
		set_dirty(m, s);
	}
}

void nexthops_link_changed(struct mirror *m, int ifindex)
{
	sets_each(m, set_link_changed, ifindex);
}

/* Puts new ways into an object; takes over `nh`. */
static void object_set_ways(struct mirror *m, struct nexthop_set *s, struct kroute_nexthop *nh, size_t n, uint16_t flags)
{
	const uint16_t kinds = SET_BLACKHOLE | SET_UNUSABLE | SET_KNOWN;
	struct ways w = {nh, n};
	bool same;

	if (n > 1)
		qsort(nh, n, sizeof(*nh), nexthop_cmp);
	for (size_t i = 0; i < n; i++)
		nh[i].dead = way_dead(m, &nh[i]);
	same = ways_equal(s, &w) && (s->flags & kinds) == (flags & kinds);
	free(s->nh);
	s->nh = nh;
	s->n = n;
	s->flags = (s->flags & ~kinds) | (flags & kinds);
	if (!same)
		set_dirty(m, s);
}

static int group_gather(struct mirror *m, struct nexthop_set *g)
{
	struct kroute_nexthop *nh = calloc(g->n_members ? g->n_members : 1, sizeof(*nh));
	uint16_t flags = SET_KNOWN;
	size_t n = 0;

	if (!nh)
		return -ENOMEM;
	for (size_t i = 0; i < g->n_members; i++) {
		const struct nexthop_set *s = object_find(m, g->members[i].id, false);

		if (!s || !(s->flags & SET_KNOWN) || (s->flags & SET_GROUP))
			continue;
		flags |= s->flags & (SET_BLACKHOLE | SET_UNUSABLE);
		if (!s->n)
			continue;
		nh[n] = s->nh[0];
		nh[n++].weight = g->members[i].weight;
	}
	object_set_ways(m, g, nh, n, flags);
	return 0;
}

void mirror_nexthops_settle(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	if (!m->groups_stale)
		return;
	m->groups_stale = false;
	while ((node = hash_next(&m->objects, &it))) {
		struct nexthop_set *s = hash_entry(node, struct nexthop_set, node);

		if ((s->flags & SET_GROUP) && group_gather(m, s) < 0)
			m->doubt.memory = true;
	}
}

/* The kernel deletes an object's routes with it, mostly without a word of them. */
static void object_gone(struct mirror *m, struct nexthop_set *s)
{
	m->groups_stale = true;
	if (!s->refs) {
		hash_remove(&m->objects, &s->node);
		set_free(s);
		return;
	}
	s->flags = (s->flags & ~(SET_KNOWN | SET_GROUP)) | SET_GONE;
	m->gone = true;
}

/* The byte after the weight holds its high bits since Linux 6.12, zero before. */
static uint32_t member_weight(const struct nexthop_grp *grp)
{
	uint8_t high = ((const uint8_t *)grp)[offsetof(struct nexthop_grp, weight) + 1];

	return (high << 8 | grp->weight) + 1;
}

static int group_parse(struct nexthop_set *s, const struct nlattr *a)
{
	size_t n = mnl_attr_get_payload_len(a) / sizeof(struct nexthop_grp);
	const struct nexthop_grp *grp = mnl_attr_get_payload(a);
	struct nexthop_member *members;
	uint32_t max = 256; /* larger weights are scaled down to it, together */

	if (n > UINT16_MAX)
		return 0;
	members = calloc(n ? n : 1, sizeof(*members));
	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		max = member_weight(&grp[i]) > max ? member_weight(&grp[i]) : max;
	for (size_t i = 0; i < n; i++) {
		uint32_t w = member_weight(&grp[i]) * 256 / max;

		members[i].id = grp[i].id;
		members[i].weight = w ? w : 1;
	}
	free(s->members);
	s->members = members;
	s->n_members = n;
	s->flags |= SET_GROUP | SET_KNOWN;
	return 0;
}

static int single_parse(struct mirror *m, struct nexthop_set *s, const struct nhmsg *nhm, const struct nlattr **tb)
{
	struct kroute_nexthop *nh = calloc(1, sizeof(*nh));
	uint16_t flags = SET_KNOWN;

	if (!nh)
		return -ENOMEM;
	free(s->members);
	s->members = NULL;
	s->n_members = 0;
	s->flags &= ~SET_GROUP;
	nh->ifindex = attr_u32(tb[NHA_OIF]);
	nh->weight = 1;
	nh->onlink = nhm->nh_flags & RTNH_F_ONLINK;
	if (attr_addr(tb[NHA_GATEWAY], family_of_af(nhm->nh_family), &nh->gateway))
		nh->family = family_of_af(nhm->nh_family);
	if (tb[NHA_BLACKHOLE])
		flags |= SET_BLACKHOLE;
	if (tb[NHA_ENCAP] || tb[NHA_ENCAP_TYPE] || tb[NHA_FDB])
		flags |= SET_UNUSABLE;
	object_set_ways(m, s, nh, flags & SET_BLACKHOLE ? 0 : 1, flags);
	return 0;
}

int nexthop_message(struct mirror *m, const struct nlmsghdr *nlh)
{
	const struct nhmsg *nhm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[NHA_FDB + 1];
	struct nexthop_set *s;
	uint32_t id;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*nhm))
		return 0;
	attrs_parse(nlh, sizeof(*nhm), tb, NHA_FDB);
	id = attr_u32(tb[NHA_ID]);
	if (!id)
		return 0;
	s = object_find(m, id, nlh->nlmsg_type == RTM_NEWNEXTHOP);
	if (nlh->nlmsg_type == RTM_DELNEXTHOP) {
		if (s && (s->flags & SET_KNOWN))
			object_gone(m, s);
		return 0;
	}
	if (!s)
		return -ENOMEM;
	if (s->flags & SET_GONE) {
		/* deleted and made anew in one breath: which routes are the new one's, only a dump can tell */
		s->flags &= ~SET_GONE;
		m->doubt.all[0] = m->doubt.all[1] = true;
	}
	s->gen = m->gen;
	m->groups_stale = true;
	return tb[NHA_GROUP] ? group_parse(s, tb[NHA_GROUP]) : single_parse(m, s, nhm, tb);
}

void mirror_nexthops_sweep(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->objects, &it))) {
		struct nexthop_set *s = hash_entry(node, struct nexthop_set, node);

		if ((s->flags & SET_KNOWN) && s->gen != m->gen)
			object_gone(m, s);
	}
}

static void set_audit(struct mirror *m, struct nexthop_set *s, int ifindex)
{
	if (nexthop_set_uses(s, ifindex))
		s->flags |= SET_AUDIT;
}

void nexthops_walk_begin(struct mirror *m)
{
	for (size_t i = 0; i < m->plan.n; i++) {
		if (m->plan.job[i].oif)
			sets_each(m, set_audit, m->plan.job[i].oif);
	}
}

void nexthops_walk_end(struct mirror *m)
{
	struct hash *tables[] = {&m->sets, &m->objects};

	for (size_t i = 0; i < 2; i++) {
		struct hash_iter it = {};
		struct hash_node *node;

		while ((node = hash_next(tables[i], &it)))
			hash_entry(node, struct nexthop_set, node)->flags &= ~(SET_AUDIT | SET_DIRTY);
	}
	m->dirty = m->gone = false;
}
