/* nhg_held.c: see nexthop.h: flows whose bucket is held for a drained nexthop: sluiced's part of the table `held_flows`.
 *
 * bpf/held.h notes flows; here it is told which nexthops of a group are drained and how long flows are learned, and what is noted
 * is counted and taken away when it is over.
 */
#include "nexthop_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>

#define UNIT_MS ((1u << HELD_SHIFT) / 1000000)

union word {
	struct held_group group;
	uint64_t word;
};

static __u64 *group_at(const struct nexthops *ns, uint32_t id)
{
	return &ns->held[HELD_GROUPS + id / HELD_WORDS].note[id % HELD_WORDS];
}

static union word group_get(const struct nexthops *ns, uint32_t id)
{
	return (union word){.word = __atomic_load_n(group_at(ns, id), __ATOMIC_RELAXED)};
}

static void group_put(struct nexthops *ns, uint32_t id, union word w)
{
	__atomic_store_n(group_at(ns, id), w.word, __ATOMIC_RELEASE);
}

int nexthop_notes(struct nexthops *ns, struct held_unit *held, uint32_t n)
{
	if (n != HELD_NOTES + HELD_LINES)
		return -EINVAL;
	while (!held[HELD_HEAD].secret)
		if (getrandom(&held[HELD_HEAD].secret, sizeof(held[HELD_HEAD].secret), 0) < 0 && errno != EINTR)
			return -errno;
	if (!held[HELD_HEAD].idle) /* until nexthop_idle() knows better */
		held[HELD_HEAD].idle = HELD_AGE_MAX;
	ns->held = held;
	return 0;
}

/* ---- which nexthops of a group are drained */

/* HELD_DRAINED: it stands nowhere. */
static unsigned place_of(const struct held_group *h, uint32_t nexthop)
{
	unsigned i = 0;

	while (i < HELD_DRAINED && h->drained[i] != nexthop)
		i++;
	return i;
}

/* From now on flows are learned, for as long as they may pause. */
static void learn(struct held_group *h, struct group *g, unsigned i)
{
	h->state |= HELD_LEARNS(i);
	g->learns &= (uint8_t)~HELD_LEARNS(i);
}

static void add(struct held_group *h, struct group *g, uint32_t nexthop)
{
	unsigned i = place_of(h, 0), turn;

	if (i == HELD_DRAINED || place_of(h, nexthop) < HELD_DRAINED)
		return;
	turn = (HELD_TURN(h->state, i) + 1) & 15;
	h->drained[i] = (uint16_t)nexthop;
	h->state = (uint16_t)((h->state & ~(15u << (4 + 4 * i))) | turn << (4 + 4 * i));
	learn(h, g, i);
}

void nhg_held_settle(struct nexthops *ns, uint32_t id, struct group *g, const struct nhg_bucket *b, uint32_t n, uint32_t like)
{
	bool any = false;
	union word w;
	unsigned k;

	if (!ns->held)
		return;
	w = like ? group_get(ns, like) : (union word){0};
	for (k = 0; k < HELD_DRAINED; k++)
		if (w.group.drained[k] && !nhg_may_stay(ns, g, w.group.drained[k]))
			w.group.drained[k] = 0;
	for (uint32_t i = 0; i < g->n; i++)
		if (nhg_may_stay(ns, g, g->members[i].nexthop)) {
			add(&w.group, g, g->members[i].nexthop);
			any = true;
		}
	/* Buckets that it has got since: their flows are not known. */
	for (uint32_t i = 0; any && i < n; i++) {
		k = b[i].bits & NHG_HELD || !b[i].nexthop ? HELD_DRAINED : place_of(&w.group, b[i].nexthop);
		if (k < HELD_DRAINED)
			learn(&w.group, g, k);
	}
	group_put(ns, id, w);
}

void nhg_held_forget(struct nexthops *ns, uint32_t id)
{
	if (ns->held)
		group_put(ns, id, (union word){0});
}

/* ---- from time to time */

void nhg_held_begin(struct nexthops *ns)
{
	if (ns->held)
		ns->refused = __atomic_exchange_n(&ns->held[HELD_HEAD].refused, 0, __ATOMIC_RELAXED);
}

/* Whoever is used was seen by now, and is noted, unless one was refused: then it takes as long again. */
void nhg_held_learn(struct nexthops *ns, uint32_t id, const struct nexthop_idle *idle)
{
	struct group *g = &ns->group[id];
	union word w;

	if (!ns->held)
		return;
	w = group_get(ns, id);
	for (unsigned i = 0; i < HELD_DRAINED; i++) {
		if (!(w.group.state & HELD_LEARNS(i)))
			continue;
		if (ns->refused || !(g->learns & HELD_LEARNS(i))) {
			g->learn_ms[i] = idle->now_ms;
			g->learns |= HELD_LEARNS(i);
		} else if (idle->now_ms - g->learn_ms[i] >= idle->idle_ms) {
			w.group.state &= (uint16_t)~HELD_LEARNS(i);
		}
	}
	group_put(ns, id, w);
}

static uint32_t idle_units(uint32_t idle_ms)
{
	uint32_t units = idle_ms / UNIT_MS + 1;

	return units < HELD_AGE_MAX ? units : HELD_AGE_MAX;
}

static uint32_t age_of(uint64_t note, uint64_t now_ns)
{
	return ((uint32_t)(now_ns >> HELD_SHIFT) - HELD_SEEN(note)) & HELD_AGE_MASK;
}

/* Without it its flow would be treated the same, whenever it comes again. */
static bool is_over(uint64_t note, uint64_t now_ns, uint32_t idle)
{
	uint32_t kind = HELD_KIND(note);

	return kind != HELD_NEW && kind != HELD_NEW_END && age_of(note, now_ns) > idle;
}

static void note_look(struct nexthops *ns, __u64 *at, uint64_t now_ns, uint32_t idle)
{
	__u64 note = __atomic_load_n(at, __ATOMIC_RELAXED);
	uint32_t id = (uint16_t)note;

	if (!note)
		return;
	if (!ns->held_seen || is_over(note, now_ns, idle))
		__atomic_compare_exchange_n(at, &note, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	else if ((HELD_KIND(note) == HELD_OLD || HELD_KIND(note) == HELD_STAYS) && id < ns->n_nh && age_of(note, now_ns) <= idle)
		ns->info[id].old_flows++;
}

void nhg_held_end(struct nexthops *ns, const struct nexthop_idle *idle)
{
	uint32_t units = idle_units(idle->idle_ms);

	if (!ns->held)
		return;
	__atomic_store_n(&ns->held[HELD_HEAD].idle, units, __ATOMIC_RELAXED);
	for (uint32_t id = 1; id < ns->end; id++)
		ns->info[id].old_flows = 0;
	for (uint32_t i = 0; i < HELD_LINES; i++)
		for (uint32_t k = 0; k < HELD_WORDS; k++)
			note_look(ns, &ns->held[HELD_NOTES + i].note[k], idle->now_ns, units);
}

uint32_t nexthop_old_flows(const struct nexthops *ns, uint32_t id)
{
	return ns->info[id].old_flows;
}

/* ---- for whoever asks */

static uint64_t note_find(const struct nexthops *ns, const struct nhg_flow *f, uint8_t policy, uint64_t drain)
{
	uint64_t hash = nhg_sum(f, policy, ns->held[HELD_HEAD].secret ^ drain), note;
	uint32_t line[2] = {(uint32_t)(hash >> 49), (uint32_t)(hash >> 34) % HELD_LINES};

	for (unsigned i = 0; i < 2 * HELD_WORDS; i++) {
		note = ns->held[HELD_NOTES + line[i / HELD_WORDS]].note[i % HELD_WORDS];
		if (note && note >> 32 == (uint32_t)hash)
			return note;
	}
	return 0;
}

uint32_t nhg_held_choose(const struct nexthops *ns, uint32_t group, const struct nhg_flow *f, uint16_t vrf, uint8_t policy,
			 uint32_t former, uint32_t next, uint64_t now_ns)
{
	bool tcp = f->proto == IPPROTO_TCP && policy != ECMP_L3;
	union word w;
	uint64_t note;
	uint32_t id;
	unsigned i;

	if (!ns->held)
		return former;
	w = group_get(ns, group);
	i = place_of(&w.group, former);
	note = note_find(ns, f, policy, (uint64_t)vrf << 32 | former << 8 | (i < HELD_DRAINED ? HELD_TURN(w.group.state, i) : 0));
	id = (uint16_t)note;
	if (note && (tcp || age_of(note, now_ns) <= ns->held[HELD_HEAD].idle))
		return id == former || (id && place_of(&w.group, id) < HELD_DRAINED) ? id : next;
	return tcp || i == HELD_DRAINED || w.group.state & HELD_LEARNS(i) ? former : next;
}
