/* held.h: who of those whose bucket is held was at the drained nexthop, and who began after the drain.
 *
 * Stands beside ecmp.h, which asks here for packets that no flow's entry speaks for, and only where their bucket is held; all
 * others never come here. What is noted of a flow is in abi.h; user/nhg_held.c says which nexthops of a group are drained, and
 * for how long flows are learned. Of TCP a SYN, or the SYN and ACK of the other side, tells that a connection begins: it is
 * noted, and takes the nexthop that the bucket will get. Whoever is not noted was there. What is not TCP has no beginning: all
 * that is seen while flows are learned was there, and is noted; whoever comes after that begins, as does who paused for longer
 * than the idle timer.
 *
 * A note never gives way to one that is needed less. Without room for it a flow stays with the bucket, as if nothing were noted
 * here. Two CPUs that note one flow at once may note it twice, and say the same; the worst that a race, or two flows with one
 * hash (once in 10^8 flows in a full table), can do is that a flow takes the other one of the two nexthops.
 */
#ifndef SLUICE_HELD_H
#define SLUICE_HELD_H

#include "pkt.h"
#include "bucket.h"
#include "counter.h"
#include "ecmp_hash.h"

/* Notes are written here, and taken away by sluiced; all else is written by sluiced, but for `refused`. */
SHARED_ARRAY(held_flows, struct held_unit, HELD_NOTES + HELD_LINES);

/* How a flow is asked for: its protocol, and HELD_ASK_*. */
#define HELD_ASK_FRAGMENT (1u << 8)
#define HELD_ASK_TCP	  (1u << 9) /* TCP's flags are known: */
#define HELD_ASK_FLAGS(f) ((__u32)(f) << 16)
#define HELD_ASK_SYN	  HELD_ASK_FLAGS(0x02)
#define HELD_ASK_ENDS	  HELD_ASK_FLAGS(0x05) /* FIN, RST */

#ifdef __clang__
#define HELD_LOOP _Pragma("clang loop unroll(disable)")
#else
#define HELD_LOOP
#endif

/* Units: for so long a SYN keeps its place without anything behind it. It would come anew sooner. */
#define HELD_YOUNG 8

static __always_inline struct held_unit *held_at(__u32 i)
{
	return bpf_map_lookup_elem(&held_flows, &i);
}

static __always_inline __u64 held_note(__u32 hash, __u32 kind, __u32 now, __u32 nexthop)
{
	return (__u64)hash << 32 | kind << 29 | now << 16 | (nexthop & 0xffff);
}

static __always_inline __u32 held_age(__u64 note, __u32 now)
{
	return (now - HELD_SEEN(note)) & HELD_AGE_MASK;
}

/* ---- the notes. verifier: without branches, so that eight of them are one path. */

/* A bit for each that is the flow's. */
static __always_inline __u32 held_match(const struct held_unit *u, __u32 hash)
{
	__u32 mask = 0;

	BUCKET_UNROLL
	for (__u32 i = 0; i < HELD_WORDS; i++)
		mask |= (__u32)(((__u64)((__u32)(READ_ONCE(u->note[i]) >> 32) ^ hash) - 1) >> 63) << i;
	return mask;
}

/* The first of a mask's places. verifier: it does not follow what bounds it. */
static __always_inline __u32 held_slot(__u32 mask)
{
	mask = bucket_lowest(mask);
	asm volatile("" : "+r"(mask));
	return mask % HELD_WORDS;
}

/* NULL: the flow is not noted in this line. */
static __always_inline __u64 *held_find(struct held_unit *u, __u32 hash)
{
	__u32 mask = held_match(u, hash);

	return mask ? &u->note[held_slot(mask)] : NULL;
}

/* Of a note's place, a bit each: it is free; its flow counts as idle; it is for one that needs it more. */
#define HELD_FREE  (1u << 16)
#define HELD_LATE  (1u << 8)
#define HELD_YIELD (1u << 0)

static __always_inline __u32 held_rank(__u64 note, __u32 now, __u32 idle, __u32 needed)
{
	__u32 kind = HELD_KIND(note), none = kind - 1, syn = (kind ^ HELD_SYN) - 1, late;

	/* verifier: the compiler would see comparisons in these, and branch. */
	asm volatile("" : "+r"(none), "+r"(syn));
	late = idle + (syn >> 31) * (HELD_YOUNG - idle) - held_age(note, now);
	asm volatile("" : "+r"(late));
	return (none >> 31) * HELD_FREE | (late >> 31) * HELD_LATE | (HELD_GIVES_WAY >> kind & needed) * HELD_YIELD;
}

/* The same of a line's places, each shifted by its number. verifier: a loop, which needs less stack than eight at once. */
static __always_inline __u32 held_ranks(const struct held_unit *u, __u32 now, __u32 idle, __u32 needed)
{
	__u32 ranks = 0;

	HELD_LOOP
	for (__u32 i = 0; i < HELD_WORDS; i++)
		ranks |= held_rank(READ_ONCE(u->note[i]), now, idle, needed) << i;
	return ranks;
}

/* A place for `note` in one of its two lines. `idle`: what counts as idle, and in its highest bit, whether the note is needed:
 * one that is not displaces none. 0: there is none. */
__noinline_global __u32 held_insert(struct held_unit *a, struct held_unit *b, __u64 note, __u32 idle)
{
	__u32 now = HELD_SEEN(note), needed = idle >> 31, ranks, other;
	struct held_unit *u = a;
	__u64 old;

	if (!a || !b)
		return 0;
	idle &= 0x7fffffff;
	ranks = held_ranks(a, now, idle, needed);
	other = held_ranks(b, now, idle, needed);
	if (other > ranks) {
		ranks = other;
		u = b;
	}
	if (!ranks)
		return 0;
	if (ranks >= HELD_FREE)
		ranks /= HELD_FREE;
	else if (ranks >= HELD_LATE)
		ranks /= HELD_LATE;
	ranks = held_slot(ranks);
	old = READ_ONCE(u->note[ranks]);
	/* When another CPU was quicker, it is as if there were no room. */
	return held_rank(old, now, idle, needed) && __sync_val_compare_and_swap(&u->note[ranks], old, note) == old;
}

/* ---- what they mean */

struct held_case {
	struct nhg_bucket now; /* `former`: where it was; `nexthop`: where it will be */
	struct held_group group;
	__u32 drained; /* place of `former` in the group's; HELD_DRAINED: it has none */
	__u32 kind;    /* what the note says, and will say; 0: there is none */
	__u32 id;      /* and its nexthop */
	bool idle;     /* the flow has paused for so long that it does not count as in use */
};

static __always_inline bool held_learns(const struct held_case *c)
{
	return c->drained == HELD_DRAINED || c->group.state & HELD_LEARNS(c->drained);
}

/* A flow may have begun at a nexthop that was drained in its turn; one that died, or left the group, or gave the bucket away, is
 * no way any more: then it goes where the bucket goes. */
static __always_inline void held_check(struct held_case *c)
{
	bool old = 1 << c->kind & (1 << HELD_OLD | 1 << HELD_OLD_END | 1 << HELD_STAYS);

	if (!c->kind || c->id == c->now.former || c->id == c->now.nexthop)
		return;
	if (c->id == c->group.drained[0] || c->id == c->group.drained[1] || c->id == c->group.drained[2])
		return;
	if (old)
		c->kind = 0;
	c->id = c->now.nexthop;
}

/* A SYN in the midst of a connection that is in use is none of its own: it moves nothing (RFC 5961 4). */
static __always_inline void held_tcp(struct held_case *c, __u32 how)
{
	bool old = !c->kind || c->kind == HELD_OLD || c->kind == HELD_OLD_END, ends = how & HELD_ASK_ENDS;

	if (how & HELD_ASK_SYN) {
		if (!c->idle && (c->kind == HELD_OLD || c->kind == HELD_NEW))
			return;
		c->kind = HELD_SYN;
		c->id = c->now.nexthop;
		return;
	}
	if (!c->kind)
		c->id = c->now.former;
	if (ends)
		c->kind = old ? HELD_OLD_END : HELD_NEW_END;
	else if (!c->kind)
		c->kind = HELD_OLD;
	else if (c->kind == HELD_SYN)
		c->kind = HELD_NEW;
}

static __always_inline void held_other(struct held_case *c)
{
	if (c->kind && !c->idle)
		return;
	c->kind = held_learns(c) ? HELD_STAYS : HELD_LEFT;
	c->id = c->kind == HELD_STAYS ? c->now.former : c->now.nexthop;
}

/* There was no room for the note: the flow stays with the bucket. */
static __always_inline __u32 held_full(const struct held_case *c, struct held_unit *head)
{
	if (1 << c->kind & HELD_GIVES_WAY)
		return c->id;
	if (c->kind == HELD_STAYS && !READ_ONCE(head->refused))
		WRITE_ONCE(head->refused, 1);
	count_stat(STAT_DRAIN_FULL, 1);
	return c->now.former;
}

static __always_inline void held_group_get(struct held_case *c, __u32 group)
{
	struct held_unit *u = held_at(HELD_GROUPS + group / HELD_WORDS);
	union {
		__u64 word;
		struct held_group group;
	} g = {};

	if (u)
		g.word = READ_ONCE(u->note[group % HELD_WORDS]);
	c->group = g.group;
	c->drained = HELD_DRAINED;
	for (int i = HELD_DRAINED - 1; i >= 0; i--)
		if (g.group.drained[i] == c->now.former)
			c->drained = i;
}

static __always_inline __u64 held_hash(const struct tuple *t, __u32 how, __u32 vrf, __u32 policy, const struct held_case *c,
				       __u64 secret)
{
	__u32 turn = c->drained < HELD_DRAINED ? HELD_TURN(c->group.state, c->drained) : 0;
	__u64 drain = (__u64)vrf << 32 | c->now.former << 8 | turn;

	return ecmp_sum(t, how, how & HELD_ASK_FRAGMENT, policy, ecmp_mix(secret ^ drain));
}

/* Which nexthop a packet takes whose bucket, `bucket` as it stands in the table, is held. `t` is the tuple that chose the bucket.
 * verifier: global, because it is needed in several places, and for their stacks. */
__noinline_global __u32 held_choose(struct pkt *p, const struct tuple *t, __u32 how, __u32 group, __u64 bucket)
{
	struct held_unit *head = held_at(HELD_HEAD), *a, *b;
	union {
		__u64 word;
		struct nhg_bucket b;
	} u = {.word = bucket};
	struct held_case c = {};
	__u64 hash, *at, old = 0, note;
	__u32 now, policy;

	if (!p || !t || !head)
		return u.b.former;
	c.now = u.b;
	held_group_get(&c, group);
	policy = READ_ONCE(control.ecmp_hash);
	hash = held_hash(t, how, p->vrf, policy, &c, head->secret);
	a = held_at(HELD_NOTES + (hash >> 49));
	b = held_at(HELD_NOTES + (hash >> 34) % HELD_LINES);
	if (!a || !b)
		return u.b.former;
	at = held_find(a, hash);
	if (!at)
		at = held_find(b, hash);
	now = pkt_now(p) >> HELD_SHIFT & HELD_AGE_MASK;
	if (at) {
		old = READ_ONCE(*at);
		c.kind = HELD_KIND(old);
		c.id = (__u16)old;
		c.idle = held_age(old, now) > head->idle;
		held_check(&c);
	}
	if (how & HELD_ASK_TCP && policy != ECMP_L3) /* by addresses alone connections are not told apart */
		held_tcp(&c, how);
	else
		held_other(&c);
	note = held_note(hash, c.kind, now, c.id);
	if (at) {
		if (old != note)
			__sync_val_compare_and_swap(at, old, note);
	} else if (!held_insert(a, b, note, head->idle | (__u32) !(1 << c.kind & HELD_GIVES_WAY) << 31)) {
		return held_full(&c, head);
	}
	return c.id;
}

#endif
