/* nexthop.c: see nexthop.h: nexthops by what they are, their ids and users, and the life of the tables. A nexthop that nobody
 * uses keeps its content until its id is needed for another, so a late packet is not misled.
 */
#include "fib_grace.h"
#include "nexthop_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct nexthop_key key_at(const struct nexthops *ns, uint32_t id)
{
	const struct nexthop *n = &ns->nh[id];

	return (struct nexthop_key){n->type, n->family, n->iface, n->mtu, n->gateway};
}

static uint32_t hash_key(const struct hash *h, const struct nexthop_key *k)
{
	uint64_t s = hash_mix(h->salt, (uint64_t)k->type << 56 | (uint64_t)k->family << 48 | (uint64_t)k->iface << 32 | k->mtu);

	return hash_end(hash_mix_bytes(s, &k->gateway, sizeof(k->gateway)));
}

/* The table of the info that a node of by_key stands in: hash functions know only the hash. */
static struct nexthops *of_hash(const struct hash *h)
{
	return (struct nexthops *)((char *)(uintptr_t)h - offsetof(struct nexthops, by_key));
}

static uint32_t id_of(const struct nexthops *ns, const struct hash_node *node)
{
	return (uint32_t)(hash_entry(node, struct nexthop_info, node) - ns->info);
}

static uint32_t hash_of(const struct hash *h, const struct hash_node *node)
{
	struct nexthops *ns = of_hash(h);
	struct nexthop_key k = key_at(ns, id_of(ns, node));

	return hash_key(h, &k);
}

struct find {
	const struct nexthops *ns;
	const struct nexthop_key *key;
};

static bool equal(const struct hash_node *node, const void *arg)
{
	const struct find *f = arg;
	const struct nexthop *n = &f->ns->nh[id_of(f->ns, node)];

	return n->type == f->key->type && n->family == f->key->family && n->iface == f->key->iface && n->mtu == f->key->mtu &&
	       !memcmp(&n->gateway, &f->key->gateway, sizeof(n->gateway));
}

static uint32_t find_id(const struct nexthops *ns, const struct nexthop_key *key)
{
	struct find f = {ns, key};
	struct hash_node *node = hash_find(&ns->by_key, hash_key(&ns->by_key, key), equal, &f);

	return node ? id_of(ns, node) : 0;
}

/* ---- nexthops */

/* Which tickets are over: they are in the order that they were asked for in, so that few are looked at. */
struct known {
	uint64_t over, waits;
};

static bool is_over(struct known *k, uint64_t ticket)
{
	if (ticket > k->over && ticket < k->waits)
		*(fib_grace_over(ticket) ? &k->over : &k->waits) = ticket;
	return ticket <= k->over;
}

static bool is_held(const struct nexthop_info *info, struct known *k)
{
	return info->held && !(info->retiring && is_over(k, info->ticket));
}

/* A free id, going round, so that one just given up is not used for something else for long. */
static uint32_t free_id(struct nexthops *ns)
{
	struct known known = {.waits = UINT64_MAX};
	uint32_t i, id;

	for (i = 1; i < ns->n_nh; i++) {
		id = ns->next;
		ns->next = ns->next + 1 < ns->n_nh ? ns->next + 1 : 1;
		if (!ns->info[id].refs && !is_held(&ns->info[id], &known))
			return id;
	}
	return 0;
}

static int put_key(struct nexthops *ns, uint32_t id, const struct nexthop_key *key)
{
	struct nexthop_info *info = &ns->info[id];
	struct nexthop *n = &ns->nh[id];

	if (info->hashed)
		hash_remove(&ns->by_key, &info->node);
	info->hashed = false;
	__atomic_store_n(&n->type, NEXTHOP_NONE, __ATOMIC_RELEASE);
	__atomic_store_n((uint64_t *)n, 0, __ATOMIC_RELEASE);
	n->family = key->family;
	n->iface = key->iface;
	n->mtu = key->mtu;
	n->gateway = key->gateway;
	__atomic_store_n(&n->type, key->type, __ATOMIC_RELEASE);
	n->drained_s = 0;
	info->drained = false;
	if (hash_insert(&ns->by_key, &info->node))
		return -ENOMEM;
	info->hashed = true;
	return 0;
}

int nexthop_use(struct nexthops *ns, const struct nexthop_key *key, uint32_t *ret_id, bool *ret_new)
{
	uint32_t id = find_id(ns, key);
	int r;

	if (!id) {
		id = free_id(ns);
		if (!id)
			return -E2BIG;
		r = put_key(ns, id, key);
		if (r)
			return r;
	}
	*ret_new = !ns->info[id].refs;
	if (*ret_new)
		ns->info[id].dead = false;
	ns->info[id].refs++;
	if (id >= ns->end)
		ns->end = id + 1;
	*ret_id = id;
	return 0;
}

bool nexthop_set_state(struct nexthops *ns, uint32_t id, const uint8_t *mac, uint16_t flags)
{
	union {
		struct {
			uint8_t mac[6];
			uint16_t flags;
		};
		uint64_t word;
	} u = {.flags = flags};
	uint64_t *at = (uint64_t *)&ns->nh[id];

	if (mac)
		memcpy(u.mac, mac, sizeof(u.mac));
	if (__atomic_load_n(at, __ATOMIC_RELAXED) == u.word)
		return false;
	__atomic_store_n(at, u.word, __ATOMIC_RELEASE);
	return true;
}

void nexthop_info_unuse(struct nexthops *ns, uint32_t id)
{
	if (--ns->info[id].refs)
		return;
	ns->info[id].held = true;
	ns->info[id].retiring = false;
	ns->any_held = true;
}

void nexthop_reuse(struct nexthops *ns, uint32_t result)
{
	if (result & NEXTHOP_IS_PAIR)
		nexthop_pair_reuse(ns, result);
	else if (result & NEXTHOP_IS_GROUP)
		nhg_reuse(ns, result & ~NEXTHOP_IS_GROUP);
	else if (result)
		ns->info[result].refs++;
}

void nexthop_unuse(struct nexthops *ns, uint32_t result)
{
	if (result & NEXTHOP_IS_PAIR)
		nexthop_pair_unuse(ns, result);
	else if (result & NEXTHOP_IS_GROUP)
		ns->held_counted &= --ns->group[result & ~NEXTHOP_IS_GROUP].refs != 0;
	else if (result)
		nexthop_info_unuse(ns, result);
}

/* ---- what nobody uses any more */

uint64_t nexthop_sweep_ticket(struct nexthops *ns)
{
	if (ns->asked)
		return ns->sweep;
	ns->asked = true;
	ns->sweep = fib_grace_ask();
	if (!ns->sweep)
		fib_grace_period();
	return ns->sweep;
}

static void nexthops_sweep(struct nexthops *ns, struct known *known)
{
	bool any = false;

	for (uint32_t id = 1; ns->any_held && id < ns->n_nh; id++) {
		struct nexthop_info *info = &ns->info[id];

		info->held = !info->refs && is_held(info, known);
		any |= info->held;
		if (!info->held || info->retiring)
			continue;
		info->retiring = true;
		info->ticket = nexthop_sweep_ticket(ns);
	}
	ns->any_held = any;
}

static void groups_sweep(struct nexthops *ns, struct known *known)
{
	for (uint32_t id = 1; id < ns->n_groups; id++) {
		struct group *g = &ns->group[id];

		if (!g->known || g->refs)
			continue;
		if (!g->retiring)
			g->ticket = nexthop_sweep_ticket(ns);
		else if (is_over(known, g->ticket))
			nhg_forget(ns, id);
		g->retiring = g->known;
	}
}

void nexthop_sweep(struct nexthops *ns)
{
	struct known known = {.waits = UINT64_MAX};

	ns->asked = false;
	nexthops_sweep(ns, &known);
	groups_sweep(ns, &known);
	nexthop_pairs_sweep(ns);
	while (ns->end > 1 && !ns->info[ns->end - 1].refs)
		ns->end--;
}

void nexthop_set_alive(struct nexthops *ns, uint32_t id, bool alive)
{
	if (ns->info[id].dead == !alive)
		return;
	ns->info[id].dead = !alive;
	ns->changed = true;
}

void nexthop_set_drained(struct nexthops *ns, uint32_t id, uint64_t since_s)
{
	ns->nh[id].drained_s = since_s;
	if (ns->info[id].drained == (since_s != 0))
		return;
	ns->info[id].drained = since_s;
	ns->changed = true;
}

const struct nexthop *nexthop_at(const struct nexthops *ns, uint32_t id)
{
	return id && id < ns->n_nh && ns->info[id].refs ? &ns->nh[id] : NULL;
}

uint32_t nexthop_end(const struct nexthops *ns)
{
	return ns->end;
}

/* ---- life */

static void adopt_nexthops(struct nexthops *ns)
{
	struct nexthop_key k;
	uint32_t id;

	for (id = 1; id < ns->n_nh; id++) {
		if (!ns->nh[id].type)
			continue;
		k = key_at(ns, id);
		if (!find_id(ns, &k) && !hash_insert(&ns->by_key, &ns->info[id].node))
			ns->info[id].hashed = true;
		ns->info[id].drained = ns->nh[id].flags & NEXTHOP_F_DRAINED;
		ns->info[id].held = ns->any_held = true;
		ns->next = id + 1 < ns->n_nh ? id + 1 : 1;
	}
}

int nexthop_open(struct nexthop *nexthops, uint32_t n_nexthops, struct nhg *groups, uint32_t n_groups, struct nhg_bucket *buckets,
		 uint32_t n_buckets, struct nexthops **ret)
{
	struct nexthops *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return -ENOMEM;
	ns->nh = nexthops;
	ns->n_nh = n_nexthops;
	ns->groups = groups;
	ns->n_groups = n_groups;
	ns->buckets = buckets;
	ns->n_chunks = n_buckets / CHUNK;
	ns->end = ns->next = ns->next_group = ns->idle_at = 1;
	hash_init(&ns->by_key, hash_of);
	ns->info = calloc(n_nexthops, sizeof(*ns->info));
	ns->group = calloc(n_groups, sizeof(*ns->group));
	ns->chunk = calloc(ns->n_chunks, sizeof(*ns->chunk));
	ns->used_ms = calloc(n_buckets, sizeof(*ns->used_ms));
	if (!ns->info || !ns->group || !ns->chunk || !ns->used_ms) {
		nexthop_close(ns);
		return -ENOMEM;
	}
	ns->chunk[0] = CHUNK_USED; /* of no group: an empty element of the table leads here, and finds no nexthop */
	adopt_nexthops(ns);
	nhg_adopt(ns);
	*ret = ns;
	return 0;
}

void nexthop_ifaces(struct nexthops *ns, struct nhg_ifaces *ifaces, uint32_t n)
{
	ns->ifaces = ifaces;
	ns->n_ifaces = n;
}

void nexthop_close(struct nexthops *ns)
{
	uint32_t id;

	if (!ns)
		return;
	for (id = 1; ns->group && id < ns->n_groups; id++)
		nhg_members_free(&ns->group[id]);
	hash_free(&ns->by_key);
	nexthop_pairs_free(ns);
	free(ns->info);
	free(ns->group);
	free(ns->chunk);
	free(ns->used_ms);
	free(ns);
}
