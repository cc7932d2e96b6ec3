/* nhg_drain.c: see nexthop.h: the buckets of drained nexthops: held for what has no flow until they are idle, remembered for what
 * has one. As the kernel's resilient groups, with one difference: what is new and will have a flow leaves at once.
 */
#include "nexthop_priv.h"

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

bool nhg_may_stay(const struct nexthops *ns, const struct group *g, uint32_t nexthop)
{
	return ns->info[nexthop].drained && !ns->info[nexthop].dead && nhg_is_member(g, nexthop);
}

/* What the bucket remembers of a drained nexthop; each store leaves something that packets may be sent by. */
static void note_former(const struct nexthops *ns, struct nhg_bucket *b, const struct group *g)
{
	bool held = b->bits & NHG_HELD;

	if (!held && nhg_may_stay(ns, g, b->nexthop)) {
		__atomic_store_n(&b->former, b->nexthop, __ATOMIC_RELEASE);
		/* as if just used: the time that it is idle begins now */
		__atomic_or_fetch(&b->bits, NHG_HELD | NHG_USED, __ATOMIC_RELEASE);
	} else if (b->former && !nhg_may_stay(ns, g, b->former)) {
		if (!ns->info[b->former].dead && nhg_is_member(g, b->former)) /* it gets its own buckets back */
			__atomic_store_n(&b->nexthop, b->former, __ATOMIC_RELEASE);
		bucket_forget(b);
	}
}

/* Before buckets move: what is drained is noted where it stands. */
void nhg_note_formers(struct nexthops *ns, struct nhg_bucket *b, uint32_t n, struct group *g)
{
	uint32_t i;

	g->n_held = 0;
	ns->held_counted = false;
	for (i = 0; i < n; i++) {
		note_former(ns, &b[i], g);
		g->n_held += (b[i].bits & NHG_HELD) != 0;
	}
	ns->holding |= g->n_held;
	ns->held_seen |= g->n_held;
}

/* How long the buckets that are held have been idle is not known: it begins anew. */
void nhg_adopt_held(struct nhg_bucket *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (b[i].bits & NHG_HELD && b[i].former)
			__atomic_or_fetch(&b[i].bits, NHG_USED, __ATOMIC_RELAXED);
		else
			bucket_release(&b[i]);
	}
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
	ns->held_counted &= ns->group[id].n_held == held;
	ns->group[id].n_held = held;
	ns->held_seen |= held;
}

bool nexthop_idle(struct nexthops *ns, const struct nexthop_idle *idle, uint32_t max)
{
	uint32_t n = 0;

	if (ns->idle_at == 1) {
		ns->held_seen = false;
		nhg_held_begin(ns);
	}
	for (; ns->idle_at < ns->n_groups && n < max; ns->idle_at++) {
		if (!ns->group[ns->idle_at].n_held)
			continue;
		n += ns->groups[ns->idle_at].mask + 1;
		nhg_held_learn(ns, ns->idle_at, idle);
		group_idle(ns, ns->idle_at, idle);
	}
	if (ns->idle_at < ns->n_groups)
		return false;
	nhg_held_end(ns, idle);
	ns->holding = ns->held_seen;
	ns->idle_at = 1;
	return true;
}

bool nexthop_holding(const struct nexthops *ns)
{
	return ns->holding;
}

/* Of all nexthops at once: a listing asks for one after another. */
static void count_held(struct nexthops *ns)
{
	const struct nhg_bucket *b;
	uint32_t id, i;

	for (id = 1; id < ns->n_nh; id++)
		ns->info[id].n_held = 0;
	for (id = 1; id < ns->n_groups; id++) {
		b = ns->buckets + ns->groups[id].base;
		for (i = 0; ns->group[id].n_held && ns->group[id].refs && i <= ns->groups[id].mask; i++)
			if (b[i].bits & NHG_HELD && b[i].former < ns->n_nh)
				ns->info[b[i].former].n_held++;
	}
	ns->held_counted = true;
}

uint32_t nexthop_held(struct nexthops *ns, uint32_t id)
{
	if (!ns->held_counted)
		count_held(ns);
	return ns->info[id].n_held;
}
