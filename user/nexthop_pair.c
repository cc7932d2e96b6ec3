/* nexthop_pair.c: see nexthop.h: two FIB results under one, the second for when nothing can leave by the first. The routes of a
 * link that goes down, a million maybe, are so led elsewhere by one store for each pair of ways that they have.
 *
 * The table is the state; beside it stand counts of users. A pair holds one use of either result. It retires at a sweep that
 * finds it without a user, and is given up at a later one when a grace period asked for then is over: no packet that read it in
 * the FIB is still under way.
 */
#include "fib_grace.h"
#include "nexthop_priv.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t hash_pair(const struct hash *h, uint32_t first, uint32_t second)
{
	return hash_end(hash_mix(h->salt, (uint64_t)first << 32 | second));
}

static uint32_t hash_of(const struct hash *h, const struct hash_node *node)
{
	const struct pair *p = hash_entry(node, struct pair, node);

	return hash_pair(h, p->first, p->second);
}

static bool equal(const struct hash_node *node, const void *arg)
{
	const struct pair *p = hash_entry(node, struct pair, node), *other = arg;

	return p->first == other->first && p->second == other->second;
}

static struct pair *pair_at(const struct nexthops *ns, uint32_t result)
{
	return &ns->pair[result & ~NEXTHOP_IS_PAIR];
}

/* What packets take. */
static uint32_t now_of(const struct nexthops *ns, uint32_t id)
{
	return __atomic_load_n(&ns->pairs[id].now, __ATOMIC_RELAXED);
}

static void lead(struct nexthops *ns, uint32_t id, uint32_t now)
{
	__atomic_store_n(&ns->pairs[id].now, now, __ATOMIC_RELEASE);
}

bool nexthop_is_pair(const struct nexthops *ns, uint32_t result, uint32_t *ret_first, uint32_t *ret_second)
{
	if (!(result & NEXTHOP_IS_PAIR) || (result & ~NEXTHOP_IS_PAIR) >= ns->n_pairs)
		return false;
	*ret_first = pair_at(ns, result)->first;
	*ret_second = pair_at(ns, result)->second;
	return true;
}

uint32_t nexthop_now(const struct nexthops *ns, uint32_t result)
{
	uint32_t id = result & ~NEXTHOP_IS_PAIR;

	if (!(result & NEXTHOP_IS_PAIR))
		return result;
	return id < ns->n_pairs ? now_of(ns, id) : 0;
}

uint32_t nexthop_pairs_count(const struct nexthops *ns)
{
	return ns->n_known_pairs;
}

uint32_t nexthop_pairs_room(const struct nexthops *ns)
{
	return ns->n_pairs ? ns->n_pairs - 1 - ns->n_known_pairs : 0;
}

bool nexthop_pairs_unused(const struct nexthops *ns)
{
	for (uint32_t id = 1; id < ns->end_pair; id++)
		if (ns->pair[id].known && !ns->pair[id].refs)
			return true;
	return false;
}

/* A free id, going round, like those of nexthops. */
static uint32_t free_pair(struct nexthops *ns)
{
	if (!nexthop_pairs_room(ns)) /* so that a refusal costs nothing, of which there may be one for each prefix */
		return 0;
	for (uint32_t i = 1; i < ns->n_pairs; i++) {
		uint32_t id = ns->next_pair;

		ns->next_pair = id + 1 < ns->n_pairs ? id + 1 : 1;
		if (!ns->pair[id].known)
			return id;
	}
	return 0;
}

static int pair_new(struct nexthops *ns, const struct pair *p, uint32_t now, uint32_t *ret_id)
{
	uint32_t id = free_pair(ns);

	if (!id)
		return -E2BIG;
	ns->pair[id] = *p;
	if (hash_insert(&ns->by_pair, &ns->pair[id].node))
		return -ENOMEM;
	ns->pair[id].known = ns->pair[id].hashed = true;
	ns->n_known_pairs++;
	ns->pairs[id].first = p->first;
	ns->pairs[id].second = p->second;
	lead(ns, id, now);
	if (id >= ns->end_pair)
		ns->end_pair = id + 1;
	*ret_id = id;
	return 0;
}

int nexthop_pair_use(struct nexthops *ns, uint32_t first, uint32_t second, uint32_t now, uint32_t *ret)
{
	struct pair want = {.first = first, .second = second}, *p;
	uint32_t id;
	int r;

	if (!ns->n_pairs)
		return -E2BIG;
	p = hash_find_entry(&ns->by_pair, hash_pair(&ns->by_pair, first, second), equal, &want, struct pair, node);
	if (p) {
		id = (uint32_t)(p - ns->pair);
	} else {
		r = pair_new(ns, &want, now, &id);
		if (r)
			return r;
	}
	p = &ns->pair[id];
	if (!p->holds) {
		nexthop_reuse(ns, first);
		nexthop_reuse(ns, second);
		p->holds = true;
	}
	p->refs++;
	p->retiring = false;
	*ret = id | NEXTHOP_IS_PAIR;
	return 0;
}

void nexthop_pair_reuse(struct nexthops *ns, uint32_t result)
{
	pair_at(ns, result)->refs++;
	pair_at(ns, result)->retiring = false;
}

void nexthop_pair_unuse(struct nexthops *ns, uint32_t result)
{
	pair_at(ns, result)->refs--;
}

static void forget(struct nexthops *ns, uint32_t id)
{
	struct pair *p = &ns->pair[id];

	if (p->hashed)
		hash_remove(&ns->by_pair, &p->node);
	if (p->holds) {
		nexthop_unuse(ns, p->first);
		nexthop_unuse(ns, p->second);
	}
	lead(ns, id, 0);
	ns->pairs[id] = (struct nexthop_pair){0};
	*p = (struct pair){0};
	ns->n_known_pairs--;
}

void nexthop_pairs_sweep(struct nexthops *ns)
{
	for (uint32_t id = 1; id < ns->end_pair; id++) {
		struct pair *p = &ns->pair[id];

		if (!p->known || p->refs)
			continue;
		if (p->retiring) {
			if (fib_grace_over(p->ticket))
				forget(ns, id);
			continue;
		}
		p->retiring = true;
		p->ticket = nexthop_sweep_ticket(ns);
	}
	while (ns->end_pair > 1 && !ns->pair[ns->end_pair - 1].known)
		ns->end_pair--;
}

bool nexthop_pairs_settle(struct nexthops *ns, bool (*leads)(const void *arg, uint32_t result), const void *arg)
{
	bool changed = false;

	for (uint32_t id = 1; id < ns->end_pair; id++) {
		const struct pair *p = &ns->pair[id];
		uint32_t now;

		if (!p->holds)
			continue;
		now = leads(arg, p->first) || !leads(arg, p->second) ? p->first : p->second;
		if (now == now_of(ns, id))
			continue;
		lead(ns, id, now);
		changed = true;
	}
	return changed;
}

/* ---- life */

int nexthop_pairs(struct nexthops *ns, struct nexthop_pair *pairs, uint32_t n)
{
	uint32_t id;

	ns->pair = calloc(n, sizeof(*ns->pair));
	if (!ns->pair)
		return -ENOMEM;
	hash_init(&ns->by_pair, hash_of);
	ns->pairs = pairs;
	ns->n_pairs = n;
	ns->next_pair = ns->end_pair = 1;
	for (id = 1; id < n; id++) {
		struct pair *p = &ns->pair[id];

		if (!pairs[id].now)
			continue;
		*p = (struct pair){.first = pairs[id].first, .second = pairs[id].second, .known = true};
		p->hashed = !hash_find(&ns->by_pair, hash_pair(&ns->by_pair, p->first, p->second), equal, p) &&
			    !hash_insert(&ns->by_pair, &p->node);
		ns->n_known_pairs++;
		ns->end_pair = id + 1;
		ns->next_pair = id + 1 < n ? id + 1 : 1;
	}
	return 0;
}

void nexthop_pairs_free(struct nexthops *ns)
{
	hash_free(&ns->by_pair);
	free(ns->pair);
}
