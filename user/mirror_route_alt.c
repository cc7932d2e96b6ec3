/* mirror_route_alt.c: the alternatives of one route: where a new one goes, which one a deletion means.
 *
 * The kernel may hold several routes for one prefix, table and metric, in an order. Changes follow its own rules:
 *   IPv4  NLM_F_REPLACE takes the place of the first; NLM_F_APPEND goes last; else the new one goes first. RTM_DELROUTE names
 *         the whole route.
 *   IPv6  routes with gateways are joined to one multipath route, and a message about one of them shows them all. NLM_F_REPLACE
 *         takes the place of the first of its kind (joined or not). RTM_DELROUTE names the whole, or single ways of it.
 */
#include "mirror_impl.h"

static uint32_t source_hash(const struct hash *h, const struct hash_node *node)
{
	return hash_end(hash_mix(h->salt, hash_entry(node, struct source, node)->addr));
}

static bool source_equal(const struct hash_node *node, const void *key)
{
	return hash_entry(node, struct source, node)->addr == *(const __be32 *)key;
}

static struct source *source_find(const struct mirror *m, __be32 addr)
{
	return hash_find_entry(&m->sources, hash_end(hash_mix(m->sources.salt, addr)), source_equal, &addr, struct source, node);
}

bool routes_prefer(const struct mirror *m, __be32 src)
{
	return source_find(m, src);
}

void sources_init(struct mirror *m)
{
	hash_init(&m->sources, source_hash);
}

void sources_free(struct mirror *m)
{
	hash_free_entries(&m->sources, struct source, node);
}

static int source_get(struct mirror *m, __be32 addr)
{
	struct source *s = addr ? source_find(m, addr) : NULL;

	if (addr && !s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return -ENOMEM;
		s->addr = addr;
		if (hash_insert(&m->sources, &s->node) < 0) {
			free(s);
			return -ENOMEM;
		}
	}
	if (s)
		s->refs++;
	return 0;
}

static void source_put(struct mirror *m, __be32 addr)
{
	struct source *s = addr ? source_find(m, addr) : NULL;

	if (s && !--s->refs) {
		hash_remove(&m->sources, &s->node);
		free(s);
	}
}

static struct route_alt **alt_at(struct route *r, unsigned at)
{
	struct route_alt **p = &r->first;

	while (*p && at--)
		p = &(*p)->next;
	return p;
}

static bool alt_same(const struct route_alt *a, const struct route_alt *b)
{
	return a->set == b->set && a->mtu == b->mtu && a->sig == b->sig && a->src == b->src && a->type == b->type &&
	       a->protocol == b->protocol && a->flags == b->flags;
}

static struct route_alt **alt_find(struct route *r, const struct route_alt *like)
{
	struct route_alt **p = &r->first;

	while (*p && !alt_same(*p, like))
		p = &(*p)->next;
	return p;
}

/* Where the first joined (or not joined) alternative stands, or the end. */
static struct route_alt **alt_of_kind(struct route *r, uint8_t ecmp)
{
	struct route_alt **p = &r->first;

	while (*p && ((*p)->flags & ALT_ECMP) != ecmp)
		p = &(*p)->next;
	return p;
}

void alt_release(struct mirror *m, struct route_alt *a)
{
	nexthop_set_put(m, a->set);
	source_put(m, a->src);
}

void alt_drop(struct mirror *m, struct route *r, struct route_alt **at)
{
	struct route_alt *a = *at;

	*at = a->next;
	alt_release(m, a);
	if (a == &r->alt)
		memset(a, 0, sizeof(*a));
	else
		free(a);
}

/* `like` has its references; they go to the route, unless there is no memory. */
static int alt_insert(struct route *r, struct route_alt **at, const struct route_alt *like)
{
	struct route_alt *a = r->alt.set ? malloc(sizeof(*a)) : &r->alt;

	if (!a)
		return -ENOMEM;
	*a = *like;
	a->next = *at;
	*at = a;
	return 0;
}

static void alt_replace(struct mirror *m, struct route_alt *a, const struct route_alt *like)
{
	struct route_alt *next = a->next;

	alt_release(m, a);
	*a = *like;
	a->next = next;
}

int alt_make(struct mirror *m, const struct route_msg *msg, struct route_alt *ret)
{
	*ret = (struct route_alt){
		.mtu = msg->mtu,
		.sig = msg->sig,
		.src = msg->src,
		.type = msg->type,
		.protocol = msg->protocol,
		.flags = msg->flags,
	};
	ret->set = msg->object ? nexthop_object_get(m, msg->object) : nexthop_set_get(m, msg->nh, msg->n);
	if (!ret->set)
		return -ENOMEM;
	if (source_get(m, ret->src) < 0) {
		nexthop_set_put(m, ret->set);
		return -ENOMEM;
	}
	return 0;
}

/* Which alternative the event's route takes the place of; NULL: of none. */
static struct route_alt *place_taken(struct route *r, const struct route_alt *a, unsigned nlmsg_flags)
{
	struct route_alt *of_kind;

	if (r->family == 6) {
		of_kind = *alt_of_kind(r, a->flags & ALT_ECMP);
		if (of_kind && ((a->flags & ALT_ECMP) || (nlmsg_flags & NLM_F_REPLACE)))
			return of_kind;
	}
	return nlmsg_flags & NLM_F_REPLACE ? r->first : NULL;
}

int alt_place(struct mirror *m, struct route *r, struct route_alt *a, unsigned nlmsg_flags)
{
	struct route_alt *taken = place_taken(r, a, nlmsg_flags), **same = alt_find(r, a), **at;
	int ret;

	if (*same && (!taken || taken == *same)) {
		(*same)->gen = a->gen ? a->gen : (*same)->gen;
		alt_release(m, a);
		return 0;
	}
	if (*same)
		alt_drop(m, r, same); /* the event is told a second time */
	if (taken) {
		alt_replace(m, taken, a);
		return 0;
	}
	at = r->family == 6 || (nlmsg_flags & NLM_F_APPEND) ? alt_at(r, UINT32_MAX) : &r->first;
	ret = alt_insert(r, at, a);
	if (ret < 0)
		alt_release(m, a);
	return ret;
}

int alt_place_dumped(struct mirror *m, struct route *r, struct route_alt *a)
{
	unsigned at = m->plan.last == r ? m->plan.last_at + 1 : 0;
	struct route_alt **to = alt_at(r, at), **p = to, *found;
	int ret;

	m->plan.last = r;
	m->plan.last_at = at;
	while (*p && !alt_same(*p, a))
		p = &(*p)->next;
	found = *p;
	if (found) {
		alt_release(m, a);
		found->gen = m->route_gen;
		if (p != to) {
			*p = found->next;
			found->next = *to;
			*to = found;
		}
		return 0;
	}
	ret = alt_insert(r, to, a);
	if (ret < 0)
		alt_release(m, a);
	return ret;
}

int alt_without(struct mirror *m, struct route *r, struct route_alt **at, const struct kroute_nexthop *gone, size_t n_gone)
{
	struct route_alt *a = *at;
	struct kroute_nexthop *nh = calloc(a->set->n ? a->set->n : 1, sizeof(*nh));
	struct nexthop_set *set;
	size_t n = 0;

	if (!nh)
		return -ENOMEM;
	for (size_t i = 0; i < a->set->n; i++) {
		const struct kroute_nexthop *have = &a->set->nh[i];
		size_t j = 0;

		while (j < n_gone &&
		       (gone[j].ifindex != have->ifindex || memcmp(&gone[j].gateway, &have->gateway, sizeof(struct addr))))
			j++;
		if (j == n_gone)
			nh[n++] = *have;
	}
	if (n == a->set->n) {
		free(nh);
		return 0;
	}
	if (!n) {
		alt_drop(m, r, at);
		free(nh);
		return 1;
	}
	set = nexthop_set_get(m, nh, n);
	free(nh);
	if (!set)
		return -ENOMEM;
	nexthop_set_put(m, a->set);
	a->set = set;
	return 1;
}

/* IPv6 changes the metrics of a route in silence, when a link's MTU changes. */
static struct route_alt **alt_find_roughly(struct route *r, const struct route_alt *like)
{
	struct route_alt **p = &r->first;

	while (*p && ((*p)->set != like->set || (*p)->type != like->type || (*p)->protocol != like->protocol))
		p = &(*p)->next;
	return p;
}

int alt_take_out(struct mirror *m, struct route *r, const struct route_msg *msg, const struct route_alt *like)
{
	struct route_alt **at = alt_find(r, like);

	if (!*at && r->family == 6)
		at = alt_find_roughly(r, like);
	if (*at) {
		alt_drop(m, r, at);
		return 1;
	}
	at = alt_of_kind(r, ALT_ECMP);
	if (!*at || !msg->n)
		return 0;
	return alt_without(m, r, at, msg->nh, msg->n);
}
