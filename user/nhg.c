/* nhg.c: see nexthop.h: groups of nexthops: which there are, who uses them, and over which buckets they stand. How the buckets
 * are shared is nhg_balance.c's.
 */
#include "nexthop_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fib_grace.h"

#define BUCKETS_MAX 65536u /* of the heaviest group, 256 members of weight 256, each weight gets its bucket */
#define PER_MEMBER  16u
#define KEEP_SIZE   16u

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
	while (want < BUCKETS_MAX && (want < PER_MEMBER * n || !shares_fit(m, n, total, want)))
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

static bool chunks_become(struct nexthops *ns, uint8_t from, uint8_t to)
{
	bool any = false;

	for (uint32_t i = 0; i < ns->n_chunks; i++) {
		if (ns->chunk[i] != from)
			continue;
		ns->chunk[i] = to;
		any = true;
	}
	return any;
}

/* Buckets of groups that are gone are used again after a grace period, which passes beside the event loop; only where there is no
 * thread for it, it is waited for. True: there are such buckets, later. */
static bool reclaim(struct nexthops *ns)
{
	if (ns->ticket && fib_grace_over(ns->ticket)) {
		chunks_become(ns, CHUNK_ASKED, CHUNK_FREE);
		ns->ticket = 0;
	}
	if (ns->ticket || !chunks_become(ns, CHUNK_WAITING, CHUNK_ASKED))
		return ns->ticket;
	ns->ticket = fib_grace_ask();
	if (!ns->ticket) {
		fib_grace_period();
		chunks_become(ns, CHUNK_ASKED, CHUNK_FREE);
	}
	return ns->ticket;
}

/* A run of buckets, by its first. -EAGAIN: there may be one after a grace period that has begun; -E2BIG: not even then. */
static int get_buckets(struct nexthops *ns, uint32_t n, uint32_t *ret)
{
	uint32_t at = find_chunks(ns, n / CHUNK);
	bool later = false;

	if (at == UINT32_MAX) {
		later = reclaim(ns);
		at = find_chunks(ns, n / CHUNK);
	}
	if (at == UINT32_MAX)
		return later ? -EAGAIN : -E2BIG;
	*ret = at * CHUNK;
	return 0;
}

/* ---- groups */

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

bool nhg_is_member(const struct group *g, uint32_t nexthop)
{
	const struct nhg_member key = {.nexthop = nexthop};

	return bsearch(&key, g->members, g->n, sizeof(key), by_nexthop);
}

static bool group_settle(struct nexthops *ns, uint32_t id)
{
	struct nhg_member live[NHG_MEMBERS];
	uint32_t index[NHG_MEMBERS];
	struct group *g = &ns->group[id];
	size_t n = live_members(ns, g, live, index);

	g->counted = false;
	nhg_held_settle(ns, id, g, ns->buckets + ns->groups[id].base, ns->groups[id].mask + 1, id);
	nhg_note_formers(ns, ns->buckets + ns->groups[id].base, ns->groups[id].mask + 1, g);
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
static void fill_buckets(struct nexthops *ns, uint32_t id, uint32_t base, uint32_t n, struct group *g, uint32_t like)
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
	nhg_held_settle(ns, id, g, ns->buckets + base, n, from ? like : 0);
	nhg_note_formers(ns, ns->buckets + base, n, g);
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
 * that fall together in it. A group that was very much larger gives up its size all the same. Where there is no room for as many
 * as the weights need, fewer will do: they are met as well as these can. */
static int place_buckets(struct nexthops *ns, const struct group *g, uint32_t like, uint32_t *ret_base, uint32_t *ret_n)
{
	uint32_t want = buckets_for(g->members, g->n), had = 0;
	int r;

	if (like && like < ns->n_groups && ns->group[like].known)
		had = ns->groups[like].mask + 1;
	*ret_n = had > want && had <= want * KEEP_SIZE ? had : want;
	r = get_buckets(ns, *ret_n, ret_base);
	if (r != -E2BIG)
		return r;
	for (*ret_n = want; (r = get_buckets(ns, *ret_n, ret_base)) == -E2BIG; *ret_n /= 2)
		if (*ret_n <= CHUNK || *ret_n < 2 * PER_MEMBER * g->n)
			break;
	return r;
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
	fill_buckets(ns, id, base, n, g, like);
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

void nhg_members_free(struct group *g)
{
	free(g->members);
	free(g->live);
	free(g->shares);
	g->members = NULL;
	g->live = g->shares = NULL;
	g->counted = false;
	g->n = g->n_live = 0;
}

/* Copies of the members, sorted. */
static int members_set(struct group *g, const struct nhg_member *m, size_t n)
{
	g->members = malloc(n * sizeof(*m));
	g->live = malloc(n * sizeof(*g->live));
	g->shares = malloc(n * sizeof(*g->shares));
	if (!g->members || !g->live || !g->shares) {
		nhg_members_free(g);
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
		nhg_members_free(&g);
		return r;
	}
	for (i = 0; i < n; i++)
		ns->info[m[i].nexthop].refs++;
	group_note_ifaces(ns, *ret_id, &g, false);
	ns->group[*ret_id] = g;
	ns->changed = true;
	return 0;
}

void nhg_reuse(struct nexthops *ns, uint32_t id)
{
	ns->group[id].refs++;
	ns->group[id].retiring = false;
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
	ns->held_counted &= ns->group[id].refs != 0;
	nhg_reuse(ns, id);
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
	fill_buckets(ns, id, base, n, next, id);
	u.g = (struct nhg){base, n - 1};
	mark_chunks(ns, &u.g, CHUNK_USED);
	group_note_ifaces(ns, id, next, true);
	__atomic_store_n((uint64_t *)&ns->groups[id], u.word, __ATOMIC_RELEASE);
	group_note_ifaces(ns, id, next, false);
	mark_chunks(ns, &was, CHUNK_WAITING);
	for (i = 0; i < next->n; i++)
		ns->info[next->members[i].nexthop].refs++;
	for (i = 0; i < g->n; i++)
		nexthop_info_unuse(ns, g->members[i].nexthop);
	nhg_members_free(g);
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
			nhg_members_free(&next);
			*ret_changed = false;
			return r;
		}
	}
	g->refs++;
	return 0;
}

void nhg_forget(struct nexthops *ns, uint32_t id)
{
	struct group *g = &ns->group[id];
	uint32_t i;

	for (i = 0; i < g->n; i++)
		nexthop_info_unuse(ns, g->members[i].nexthop);
	nhg_members_free(g);
	nhg_held_forget(ns, id);
	mark_chunks(ns, &ns->groups[id], CHUNK_WAITING);
	__atomic_store_n((uint64_t *)&ns->groups[id], 0, __ATOMIC_RELEASE);
	*g = (struct group){0};
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

/* How many buckets each member has: whoever shows a thousand routes by one group does not count them for each. */
static void count_shares(const struct nexthops *ns, uint32_t id, struct group *g)
{
	const struct nhg *table = &ns->groups[id];
	const struct nhg_member *m;

	memset(g->shares, 0, g->n * sizeof(*g->shares));
	for (uint32_t i = 0; i <= table->mask; i++) {
		struct nhg_member key = {.nexthop = ns->buckets[table->base + i].nexthop};

		m = bsearch(&key, g->members, g->n, sizeof(key), by_nexthop);
		if (m)
			g->shares[m - g->members]++;
	}
	g->counted = true;
}

size_t nhg_members(const struct nexthops *ns, uint32_t group, const struct nhg_member **ret, uint32_t *ret_buckets, size_t max)
{
	struct group *g = group < ns->n_groups ? &ns->group[group] : NULL;

	if (!g || !g->known || g->orphan)
		return 0;
	*ret = g->members;
	if (ret_buckets && !g->counted)
		count_shares(ns, group, g);
	for (uint32_t k = 0; ret_buckets && k < g->n && k < max; k++)
		ret_buckets[k] = g->shares[k];
	return g->n;
}

uint32_t nhg_off_percent(const struct nexthops *ns, uint32_t group)
{
	struct group *g = group < ns->n_groups ? &ns->group[group] : NULL;
	uint64_t n, total = 0, worst = 0, want, have;

	if (!g || !g->known || g->orphan || g->n_held)
		return 0;
	n = (uint64_t)ns->groups[group].mask + 1;
	if (!g->counted)
		count_shares(ns, group, g);
	for (uint32_t i = 0; i < g->n; i++)
		total += g->shares[i] ? g->members[i].weight : 0;
	for (uint32_t i = 0; i < g->n; i++) {
		want = n * g->members[i].weight;
		have = g->shares[i] * total;
		if (have && (have > want ? have - want : want - have) * 100 / want > worst)
			worst = (have > want ? have - want : want - have) * 100 / want;
	}
	return worst;
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

/* Groups whose place makes sense; what overlaps another or lies outside is no group. */
void nhg_adopt(struct nexthops *ns)
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
		nhg_adopt_held(ns->buckets + g->base, n);
		ns->group[id].known = ns->group[id].orphan = true;
		ns->next_group = id + 1 < ns->n_groups ? id + 1 : 1;
	}
}
