/* nexthop.c: see nexthop.h. The tables are the state; beside them stand counts of users, members of groups, and which ids are
 * free. A nexthop that nobody uses keeps its content until its id is needed for another, so a late packet is not misled.
 */
#include "nexthop.h"
#include "fib_grace.h"
#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK	    64u /* buckets are handed out in runs of these, and no group has fewer */
#define BUCKETS_MAX 16384u
#define KEEP_SIZE   16u

enum { CHUNK_FREE = 0, CHUNK_USED = 1, CHUNK_WAITING = 2 };

struct nexthop_info {
	struct hash_node node; /* in by_key, where the table has a content */
	uint32_t refs;
	bool hashed, dead, drained;
	bool held; /* the FIB or a packet may still name it: not for another content until the next sweep */
};

struct group {
	struct nhg_member *members; /* by nexthop id */
	uint32_t *live;		    /* indexes of the members that the buckets were made for */
	uint32_t n, n_live;
	uint32_t n_held; /* buckets with NHG_HELD */
	uint32_t owner;	 /* 0: whoever wants these members may have it */
	uint32_t refs;
	bool known;    /* stands in the table */
	bool orphan;   /* found at the start, nobody asked for it yet */
	bool retiring; /* unused at the last sweep: packets have had time to leave it */
};

struct nexthops {
	struct nexthop *nh;
	struct nhg *groups;
	struct nhg_bucket *buckets;
	struct nhg_ifaces *ifaces; /* NULL: nobody wants to know */
	uint32_t n_ifaces;
	uint32_t n_nh, n_groups, n_chunks;
	uint32_t end, next, next_group; /* where the search for a free id goes on */
	struct nexthop_info *info;
	struct group *group;
	uint8_t *chunk;
	bool changed; /* a member came to life or died */
	bool any_held;
	uint32_t *used_ms; /* of each bucket that is held: when it was seen in use */
	uint32_t idle_at;  /* the group that is looked at next */
	bool holding;	   /* some bucket may be held */
	bool held_seen;	   /* one was, since the groups were looked at from the first on */
	struct hash by_key;
};

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

/* A free id, going round, so that one just given up is not used for something else for long. */
static uint32_t free_id(struct nexthops *ns)
{
	uint32_t i, id;

	for (i = 1; i < ns->n_nh; i++) {
		id = ns->next;
		ns->next = ns->next + 1 < ns->n_nh ? ns->next + 1 : 1;
		if (!ns->info[id].refs && !ns->info[id].held)
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

/* ---- buckets */

/* With n buckets, is each member's share within 1/32 of its weight's? One that does not come out even may be rounded either way.
 */
static bool shares_fit(const struct nhg_member *m, size_t n_members, uint64_t total, uint32_t n)
{
	uint64_t rest, off;

	for (size_t i = 0; i < n_members; i++) {
		rest = (uint64_t)n * m[i].weight % total;
		off = !rest ? 0 : rest > total - rest ? rest : total - rest;
		if (off * 32 > (uint64_t)n * m[i].weight)
			return false;
	}
	return true;
}

/* How many buckets: 16 a member, and as many as the weights need to come out, within reason. */
static uint32_t buckets_for(const struct nhg_member *m, size_t n)
{
	uint32_t want = CHUNK;
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += m[i].weight;
	while (want < BUCKETS_MAX && (want < 16 * n || !shares_fit(m, n, total, want)))
		want *= 2;
	return want;
}

static uint32_t find_chunks(const struct nexthops *ns, uint32_t n)
{
	uint32_t at, i;

	for (at = 0; at + n <= ns->n_chunks; at += n) {
		for (i = 0; i < n && ns->chunk[at + i] == CHUNK_FREE; i++)
			;
		if (i == n)
			return at;
	}
	return UINT32_MAX;
}

static void mark_chunks(struct nexthops *ns, const struct nhg *g, uint8_t state)
{
	memset(ns->chunk + g->base / CHUNK, state, (g->mask + 1) / CHUNK);
}

/* A run of buckets, by its first. Buckets of a group that is gone are used again after a grace period. */
static int get_buckets(struct nexthops *ns, uint32_t n, uint32_t *ret)
{
	uint32_t i, at = find_chunks(ns, n / CHUNK);

	if (at == UINT32_MAX) {
		fib_grace_period();
		for (i = 0; i < ns->n_chunks; i++)
			if (ns->chunk[i] == CHUNK_WAITING)
				ns->chunk[i] = CHUNK_FREE;
		at = find_chunks(ns, n / CHUNK);
	}
	if (at == UINT32_MAX)
		return -E2BIG;
	*ret = at * CHUNK;
	return 0;
}

/* ---- groups */

static void info_unuse(struct nexthops *ns, uint32_t id)
{
	if (--ns->info[id].refs)
		return;
	ns->info[id].held = true;
	ns->any_held = true;
}

static int by_nexthop(const void *a, const void *b)
{
	const struct nhg_member *x = a, *y = b;

	return x->nexthop < y->nexthop ? -1 : x->nexthop > y->nexthop;
}

/* Sorted, each nexthop once. */
static size_t normalise(struct nhg_member *m, size_t n)
{
	size_t i, k = 0;

	qsort(m, n, sizeof(*m), by_nexthop);
	for (i = 1; i < n; i++) {
		if (m[i].nexthop == m[k].nexthop)
			m[k].weight += m[i].weight;
		else
			m[++k] = m[i];
	}
	return k + 1;
}

static uint32_t find_group(const struct nexthops *ns, const struct nhg_member *m, size_t n)
{
	uint32_t id;

	for (id = 1; id < ns->n_groups; id++)
		if (ns->group[id].known && !ns->group[id].orphan && !ns->group[id].owner && ns->group[id].n == n &&
		    !memcmp(ns->group[id].members, m, n * sizeof(*m)))
			return id;
	return 0;
}

/* What a later life recognises the group by: its owner, its members and their weights, alive or not. */
static uint32_t members_hash(const struct group *g)
{
	uint64_t s = g->n | (uint64_t)g->owner << 32;
	size_t i;

	for (i = 0; i < g->n; i++)
		s = hash_mix(s, (uint64_t)g->members[i].nexthop << 32 | g->members[i].weight);
	return (hash_end(s) & NHG_MEMBERS_HASH) | 1;
}

/* The group of a former life that had these members, with its choices. */
static uint32_t find_orphan(const struct nexthops *ns, const struct group *g)
{
	uint32_t id, hash = members_hash(g);

	for (id = 1; id < ns->n_groups; id++)
		if (ns->group[id].orphan && (ns->buckets[ns->groups[id].base].bits & NHG_MEMBERS_HASH) == hash)
			return id;
	return 0;
}

/* Those that take new connections. When all that are alive are drained, they do. */
static size_t live_members(const struct nexthops *ns, const struct group *g, struct nhg_member *ret, uint32_t *ret_index)
{
	bool drained;
	size_t i, n = 0;

	for (drained = false;; drained = true) {
		for (i = 0; i < g->n; i++) {
			const struct nexthop_info *info = &ns->info[g->members[i].nexthop];

			if (info->dead || (info->drained && !drained))
				continue;
			ret_index[n] = i;
			ret[n++] = g->members[i];
		}
		if (n || drained)
			return n;
	}
}

static bool is_member(const struct group *g, uint32_t nexthop)
{
	const struct nhg_member key = {.nexthop = nexthop};

	return bsearch(&key, g->members, g->n, sizeof(key), by_nexthop);
}

/* Nothing is left at the former nexthop. What NAT tracks may be there: `former` stays. */
static void bucket_release(struct nhg_bucket *b)
{
	__atomic_and_fetch(&b->bits, ~(NHG_HELD | NHG_USED), __ATOMIC_RELEASE);
}

static void bucket_forget(struct nhg_bucket *b)
{
	bucket_release(b);
	__atomic_store_n(&b->former, 0, __ATOMIC_RELEASE);
}

/* Drained, and packets may go there still. */
static bool may_stay(const struct nexthops *ns, const struct group *g, uint32_t nexthop)
{
	return ns->info[nexthop].drained && !ns->info[nexthop].dead && is_member(g, nexthop);
}

/* What the bucket remembers of a drained nexthop; each store leaves something that packets may be sent by. */
static void note_former(const struct nexthops *ns, struct nhg_bucket *b, const struct group *g)
{
	bool held = b->bits & NHG_HELD;

	if (!held && may_stay(ns, g, b->nexthop)) {
		__atomic_store_n(&b->former, b->nexthop, __ATOMIC_RELEASE);
		/* as if just used: the time that it is idle begins now */
		__atomic_or_fetch(&b->bits, NHG_HELD | NHG_USED, __ATOMIC_RELEASE);
	} else if (b->former && !may_stay(ns, g, b->former)) {
		if (!ns->info[b->former].dead && is_member(g, b->former)) /* it gets its own buckets back */
			__atomic_store_n(&b->nexthop, b->former, __ATOMIC_RELEASE);
		bucket_forget(b);
	}
}

/* Before buckets move: what is drained is noted where it stands. */
static void note_formers(struct nexthops *ns, struct nhg_bucket *b, uint32_t n, struct group *g)
{
	uint32_t i;

	g->n_held = 0;
	for (i = 0; i < n; i++) {
		note_former(ns, &b[i], g);
		g->n_held += (b[i].bits & NHG_HELD) != 0;
	}
	ns->holding |= g->n_held;
}

static bool group_settle(struct nexthops *ns, uint32_t id)
{
	struct nhg_member live[NHG_MEMBERS];
	uint32_t index[NHG_MEMBERS];
	struct group *g = &ns->group[id];
	size_t n = live_members(ns, g, live, index);

	note_formers(ns, ns->buckets + ns->groups[id].base, ns->groups[id].mask + 1, g);
	if (!n || (n == g->n_live && !memcmp(index, g->live, n * sizeof(*index))))
		return false;
	memcpy(g->live, index, n * sizeof(*index));
	g->n_live = n;
	return nhg_balance(ns->buckets + ns->groups[id].base, ns->groups[id].mask + 1, live, n);
}

/* A bucket of a group that nobody can see yet, as another has it. */
static void copy_bucket(struct nhg_bucket *b, const struct nhg_bucket *from)
{
	*b = (struct nhg_bucket){from->nexthop, from->former, from->bits & NHG_HELD ? NHG_HELD | NHG_USED : 0};
}

/* Fills a group that nobody can see yet, beginning with the choices of another. */
static void fill_buckets(struct nexthops *ns, uint32_t base, uint32_t n, struct group *g, uint32_t like)
{
	const struct nhg *from = like && like < ns->n_groups && ns->group[like].known ? &ns->groups[like] : NULL;
	struct nhg_member live[NHG_MEMBERS];
	uint32_t i, index[NHG_MEMBERS];
	size_t n_live = live_members(ns, g, live, index);

	for (i = 0; i < n; i++)
		if (from)
			copy_bucket(&ns->buckets[base + i], &ns->buckets[from->base + (i & from->mask)]);
		else
			ns->buckets[base + i] = (struct nhg_bucket){0};
	note_formers(ns, ns->buckets + base, n, g);
	if (n_live)
		nhg_balance(ns->buckets + base, n, live, n_live);
	else
		nhg_balance(ns->buckets + base, n, g->members, g->n);
	ns->buckets[base].bits |= members_hash(g);
}

static uint32_t free_group(struct nexthops *ns)
{
	uint32_t i, id;

	for (i = 1; i < ns->n_groups; i++) {
		id = ns->next_group;
		ns->next_group = ns->next_group + 1 < ns->n_groups ? ns->next_group + 1 : 1;
		if (!ns->group[id].known)
			return id;
	}
	return 0;
}

/* With fewer buckets than group `like` has, flows of members that stay would move: a bucket could keep but one of the choices
 * that fall together in it. A group that was very much larger gives up its size all the same. */
static int place_buckets(struct nexthops *ns, const struct group *g, uint32_t like, uint32_t *ret_base, uint32_t *ret_n)
{
	uint32_t want = buckets_for(g->members, g->n), had = 0;

	if (like && like < ns->n_groups && ns->group[like].known)
		had = ns->groups[like].mask + 1;
	*ret_n = had > want && had <= want * KEEP_SIZE ? had : want;
	if (!get_buckets(ns, *ret_n, ret_base))
		return 0;
	*ret_n = want;
	return get_buckets(ns, want, ret_base);
}

static int group_place(struct nexthops *ns, struct group *g, uint32_t like, uint32_t *ret_id)
{
	uint32_t base, n, id = find_orphan(ns, g);
	union {
		struct nhg g;
		uint64_t word;
	} u;
	int r;

	*ret_id = id;
	if (id)
		return 0;
	id = free_group(ns);
	if (!id)
		return -E2BIG;
	r = place_buckets(ns, g, like, &base, &n);
	if (r)
		return r;
	fill_buckets(ns, base, n, g, like);
	u.g = (struct nhg){base, n - 1};
	mark_chunks(ns, &u.g, CHUNK_USED);
	__atomic_store_n((uint64_t *)&ns->groups[id], u.word, __ATOMIC_RELEASE);
	*ret_id = id;
	return 0;
}

/* By which interfaces it may leave, and so answers come in. Before the FIB names the group. `more`: besides those it has. */
static void group_note_ifaces(struct nexthops *ns, uint32_t id, const struct group *g, bool more)
{
	struct nhg_ifaces now = {0};

	if (!ns->ifaces || id >= ns->n_ifaces)
		return;
	if (more)
		now = ns->ifaces[id];
	for (size_t i = 0; i < g->n; i++) {
		uint16_t iface = ns->nh[g->members[i].nexthop].iface;

		if (iface < IFACE_MAX)
			now.bits[iface / 64] |= 1ull << (iface % 64);
	}
	for (size_t w = 0; w < sizeof(now.bits) / sizeof(now.bits[0]); w++)
		__atomic_store_n(&ns->ifaces[id].bits[w], now.bits[w], __ATOMIC_RELAXED);
}

static void members_free(struct group *g)
{
	free(g->members);
	free(g->live);
	g->members = NULL;
	g->live = NULL;
	g->n = g->n_live = 0;
}

/* Copies of the members, sorted. */
static int members_set(struct group *g, const struct nhg_member *m, size_t n)
{
	g->members = malloc(n * sizeof(*m));
	g->live = malloc(n * sizeof(*g->live));
	if (!g->members || !g->live) {
		members_free(g);
		return -ENOMEM;
	}
	memcpy(g->members, m, n * sizeof(*m));
	g->n = n;
	return 0;
}

static int group_new(struct nexthops *ns, const struct nhg_member *m, size_t n, uint32_t like, uint32_t owner, uint32_t *ret_id)
{
	struct group g = {.known = true, .owner = owner};
	size_t i;
	int r;

	r = members_set(&g, m, n);
	if (!r)
		r = group_place(ns, &g, like, ret_id);
	if (r) {
		members_free(&g);
		return r;
	}
	for (i = 0; i < n; i++)
		ns->info[m[i].nexthop].refs++;
	group_note_ifaces(ns, *ret_id, &g, false);
	ns->group[*ret_id] = g;
	ns->changed = true;
	return 0;
}

int nhg_use(struct nexthops *ns, const struct nhg_member *m, size_t n, uint32_t like, uint32_t owner, uint32_t *ret_id)
{
	struct nhg_member sorted[NHG_MEMBERS];
	uint32_t id;
	int r;

	if (!n || n > NHG_MEMBERS)
		return -E2BIG;
	memcpy(sorted, m, n * sizeof(*m));
	n = normalise(sorted, n);
	id = owner ? 0 : find_group(ns, sorted, n);
	if (!id) {
		r = group_new(ns, sorted, n, like, owner, &id);
		if (r)
			return r;
	}
	ns->group[id].refs++;
	*ret_id = id;
	return 0;
}

/* `next` in the place of the group's members, over buckets of its own; those of before are used again after a grace period. */
static int group_swap(struct nexthops *ns, uint32_t id, struct group *next)
{
	struct group *g = &ns->group[id];
	struct nhg was = ns->groups[id];
	union {
		struct nhg g;
		uint64_t word;
	} u;
	uint32_t base, n, i;
	int r = place_buckets(ns, next, id, &base, &n);

	if (r)
		return r;
	fill_buckets(ns, base, n, next, id);
	u.g = (struct nhg){base, n - 1};
	mark_chunks(ns, &u.g, CHUNK_USED);
	group_note_ifaces(ns, id, next, true);
	__atomic_store_n((uint64_t *)&ns->groups[id], u.word, __ATOMIC_RELEASE);
	group_note_ifaces(ns, id, next, false);
	mark_chunks(ns, &was, CHUNK_WAITING);
	for (i = 0; i < next->n; i++)
		ns->info[next->members[i].nexthop].refs++;
	for (i = 0; i < g->n; i++)
		info_unuse(ns, g->members[i].nexthop);
	members_free(g);
	*g = *next;
	ns->changed = true;
	return 0;
}

int nhg_change(struct nexthops *ns, uint32_t id, const struct nhg_member *m, size_t n, bool *ret_changed)
{
	struct group *g = &ns->group[id], next = {.known = true, .owner = g->owner, .refs = g->refs};
	struct nhg_member sorted[NHG_MEMBERS];
	int r;

	if (!n || n > NHG_MEMBERS)
		return -E2BIG;
	memcpy(sorted, m, n * sizeof(*m));
	n = normalise(sorted, n);
	*ret_changed = n != g->n || memcmp(sorted, g->members, n * sizeof(*sorted));
	if (*ret_changed) {
		r = members_set(&next, sorted, n);
		if (!r)
			r = group_swap(ns, id, &next);
		if (r) {
			members_free(&next);
			*ret_changed = false;
			return r;
		}
	}
	g->refs++;
	return 0;
}

static void group_forget(struct nexthops *ns, uint32_t id)
{
	struct group *g = &ns->group[id];
	uint32_t i;

	for (i = 0; i < g->n; i++)
		info_unuse(ns, g->members[i].nexthop);
	members_free(g);
	mark_chunks(ns, &ns->groups[id], CHUNK_WAITING);
	__atomic_store_n((uint64_t *)&ns->groups[id], 0, __ATOMIC_RELEASE);
	*g = (struct group){0};
}

void nexthop_unuse(struct nexthops *ns, uint32_t result)
{
	if (result & NEXTHOP_IS_GROUP)
		ns->group[result & ~NEXTHOP_IS_GROUP].refs--;
	else if (result)
		info_unuse(ns, result);
}

void nexthop_sweep(struct nexthops *ns)
{
	struct group *g;
	uint32_t id;

	for (id = 1; ns->any_held && id < ns->n_nh; id++)
		ns->info[id].held = false;
	ns->any_held = false;
	for (id = 1; id < ns->n_groups; id++) {
		g = &ns->group[id];
		if (!g->known)
			continue;
		if (!g->refs && g->retiring)
			group_forget(ns, id);
		else
			g->retiring = !g->refs;
	}
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

bool nexthop_settle(struct nexthops *ns)
{
	bool moved = false;
	uint32_t id;

	if (!ns->changed)
		return false;
	ns->changed = false;
	for (id = 1; id < ns->n_groups; id++)
		if (ns->group[id].known && !ns->group[id].orphan && group_settle(ns, id))
			moved = true;
	return moved;
}

/* ---- buckets that drained nexthops have not left */

/* Its time is over, though it may be in use. */
static bool is_overdue(const struct nexthops *ns, const struct nhg_bucket *b, const struct nexthop_idle *idle)
{
	return idle->unbalanced_s && idle->now_s >= ns->nh[b->former].drained_s + idle->unbalanced_s;
}

static void group_idle(struct nexthops *ns, uint32_t id, const struct nexthop_idle *idle)
{
	struct nhg_bucket *b = ns->buckets + ns->groups[id].base;
	uint32_t *used = ns->used_ms + ns->groups[id].base, i, held = 0;

	for (i = 0; i <= ns->groups[id].mask; i++) {
		if (!(b[i].bits & NHG_HELD))
			continue;
		if (b[i].bits & NHG_USED) {
			__atomic_and_fetch(&b[i].bits, ~NHG_USED, __ATOMIC_RELAXED);
			used[i] = idle->now_ms;
		}
		if (idle->now_ms - used[i] >= idle->idle_ms || is_overdue(ns, &b[i], idle))
			bucket_release(&b[i]);
		else
			held++;
	}
	ns->group[id].n_held = held;
	ns->held_seen |= held;
}

bool nexthop_idle(struct nexthops *ns, const struct nexthop_idle *idle, uint32_t max)
{
	uint32_t n = 0;

	for (; ns->idle_at < ns->n_groups && n < max; ns->idle_at++) {
		if (!ns->group[ns->idle_at].n_held)
			continue;
		n += ns->groups[ns->idle_at].mask + 1;
		group_idle(ns, ns->idle_at, idle);
	}
	if (ns->idle_at < ns->n_groups)
		return false;
	ns->holding = ns->held_seen;
	ns->held_seen = false;
	ns->idle_at = 1;
	return true;
}

bool nexthop_holding(const struct nexthops *ns)
{
	return ns->holding;
}

uint32_t nexthop_held(const struct nexthops *ns, uint32_t nexthop)
{
	const struct nhg_bucket *b;
	uint32_t id, i, n = 0;

	for (id = 1; id < ns->n_groups; id++) {
		b = ns->buckets + ns->groups[id].base;
		for (i = 0; ns->group[id].n_held && ns->group[id].refs && i <= ns->groups[id].mask; i++)
			n += b[i].bits & NHG_HELD && b[i].former == nexthop;
	}
	return n;
}

const struct nexthop *nexthop_at(const struct nexthops *ns, uint32_t id)
{
	return id && id < ns->n_nh && ns->info[id].refs ? &ns->nh[id] : NULL;
}

bool nexthop_alive(const struct nexthops *ns, uint32_t id)
{
	return !ns->info[id].dead;
}

uint32_t nexthop_end(const struct nexthops *ns)
{
	return ns->end;
}

size_t nhg_members(const struct nexthops *ns, uint32_t group, const struct nhg_member **ret, uint32_t *ret_buckets, size_t max)
{
	const struct group *g = group < ns->n_groups ? &ns->group[group] : NULL;
	const struct nhg *table = &ns->groups[group];
	uint32_t i, k;

	if (!g || !g->known || g->orphan)
		return 0;
	*ret = g->members;
	for (k = 0; ret_buckets && k < g->n && k < max; k++) {
		ret_buckets[k] = 0;
		for (i = 0; i <= table->mask; i++)
			ret_buckets[k] += ns->buckets[table->base + i].nexthop == g->members[k].nexthop;
	}
	return g->n;
}

uint32_t nhg_choose(const struct nexthops *ns, uint32_t group, uint32_t hash, uint32_t before, uint32_t *ret_former,
		    uint32_t *ret_bucket, uint32_t *ret_n)
{
	const struct group *g = group < ns->n_groups ? &ns->group[group] : NULL;
	const struct nhg_bucket *b;

	if (!g || !g->known)
		return 0;
	*ret_n = ns->groups[group].mask + 1;
	*ret_bucket = hash & ns->groups[group].mask;
	b = &ns->buckets[ns->groups[group].base + *ret_bucket];
	*ret_former = b->bits & NHG_HELD ? b->former : 0;
	return before && b->former == before ? before : b->nexthop;
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

/* How long the buckets that are held have been idle is not known: it begins anew. */
static void adopt_held(struct nhg_bucket *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (b[i].bits & NHG_HELD && b[i].former)
			__atomic_or_fetch(&b[i].bits, NHG_USED, __ATOMIC_RELAXED);
		else
			bucket_release(&b[i]);
	}
}

/* Groups whose place makes sense; what overlaps another or lies outside is no group. */
static void adopt_groups(struct nexthops *ns)
{
	const struct nhg *g;
	uint32_t id, i, n;

	for (id = 1; id < ns->n_groups; id++) {
		g = &ns->groups[id];
		n = g->mask + 1;
		if (n < CHUNK || n > BUCKETS_MAX || (n & (n - 1)) || g->base % CHUNK ||
		    g->base / CHUNK + n / CHUNK > ns->n_chunks)
			continue;
		for (i = 0; i < n / CHUNK && ns->chunk[g->base / CHUNK + i] == CHUNK_FREE; i++)
			;
		if (i < n / CHUNK)
			continue;
		mark_chunks(ns, g, CHUNK_USED);
		adopt_held(ns->buckets + g->base, n);
		ns->group[id].known = ns->group[id].orphan = true;
		ns->next_group = id + 1 < ns->n_groups ? id + 1 : 1;
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
	adopt_groups(ns);
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
	for (id = 1; ns->group && id < ns->n_groups; id++) {
		free(ns->group[id].members);
		free(ns->group[id].live);
	}
	hash_free(&ns->by_key);
	free(ns->info);
	free(ns->group);
	free(ns->chunk);
	free(ns->used_ms);
	free(ns);
}
