/* ecmp.h: which nexthop of a group a packet takes (RFC 2992, with resilient buckets in place of its regions).
 *
 * Stands between the FIB's result and route.h. user/nexthop.c fills the buckets and moves as few as it can when a group
 * changes; here they are only read.
 */
#ifndef SLUICE_ECMP_H
#define SLUICE_ECMP_H

#include "pkt.h"

/* Written by sluiced, read here. Group id -> struct nhg. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NHG_MAX);
	__type(key, __u32);
	__type(value, struct nhg);
} nhgs SEC(".maps");

/* Written by sluiced, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NHG_BUCKETS);
	__type(key, __u32);
	__type(value, struct nhg_bucket);
} nhg_buckets SEC(".maps");

static __always_inline __u64 ecmp_mix(__u64 h)
{
	h = (h ^ h >> 32) * 0x9fb21c651e98df25ull;
	return h ^ h >> 32;
}

/* One word of the tuple times a factor of its own (Lemire and Kaser, "Strongly universal string hashing is fast", 2.2), made of
 * the seed, so that two routers differ in more than a shift of their hashes. The products wait for nothing but the seed. */
#define ECMP_WORD(word, seed, factor) ((__u32)(word) * (((seed) ^ (factor)) | 1))

#define ECMP_SEED 0x5851f42d4c957f2dull

static __always_inline __u64 ecmp_source(const struct addr *a, __u64 seed)
{
	return ECMP_WORD(a->a32[0], seed, 0x8f5c31d2a96b4e07ull) + ECMP_WORD(a->a32[1], seed, 0xc2b2ae3d27d4eb4full) +
	       ECMP_WORD(a->a32[2], seed, 0x3c79ac492ba7b653ull) + ECMP_WORD(a->a32[3], seed, 0x1c69b3f74ac4ae35ull);
}

static __always_inline __u64 ecmp_dest(const struct addr *a, __u64 seed)
{
	return ECMP_WORD(a->a32[0], seed, 0x165667b19e3779f9ull) + ECMP_WORD(a->a32[1], seed, 0x61c8864680b583ebull) +
	       ECMP_WORD(a->a32[2], seed, 0xa0761d6478bd642full) + ECMP_WORD(a->a32[3], seed, 0xe7037ed1a0b428dbull);
}

static __always_inline __u64 ecmp_ports(__u32 ports, __u64 seed)
{
	return ECMP_WORD(ports, seed, 0xd6e8feb86659fd93ull);
}

/* The same for every packet of a connection. Fragments have no ports but in the first: of all of them the addresses alone
 * count, so that they take one way. The seed differs from router to router, lest each group be offered one share of the
 * hashes of the one before it. */
static __always_inline __u32 ecmp_hash(const struct tuple *t, __u8 proto, bool fragment, __u32 policy, __u32 seed)
{
	bool ports = !fragment && policy != ECMP_L3;
	__u64 s = ecmp_mix(seed ^ ECMP_SEED), h, back;

	if (policy == ECMP_SYMMETRIC) {
		h = ecmp_source(&t->saddr, s) + ecmp_ports(ports ? t->sport : 0, s);
		back = ecmp_source(&t->daddr, s) + ecmp_ports(ports ? t->dport : 0, s);
		return ecmp_mix(ecmp_mix(h) + ecmp_mix(back) + (ports ? proto : 0)) >> 32;
	}
	h = ecmp_source(&t->saddr, s) + ecmp_dest(&t->daddr, s);
	if (ports)
		h += ecmp_ports(t->ports, s) + ECMP_WORD(proto, s, 0x589965cc75374cc3ull);
	return ecmp_mix(h) >> 32;
}

/* tunnel.h has looked into it. Of an ICMP error `inner` is what it quotes. */
static __always_inline bool ecmp_is_tunnel(const struct pkt *p)
{
	return (p->flags & (PKT_F_INNER | PKT_F_ICMP_ERROR)) == PKT_F_INNER;
}

/* What asks. A nexthop id: the one that a flow's entry was decided for; it is kept where it had this bucket until it was drained.
 */
#define ECMP_FIRST  0	       /* it is not known whether there will be a flow: see ECMP_FORMER() */
#define ECMP_ROUTED (1u << 16) /* there is none, and there will be none: every packet asks, until the bucket is idle it stays */

/* Of an answer to ECMP_FIRST: whom those that have no flow take still, to be asked for as ECMP_ROUTED; 0: they take the same. */
#define ECMP_FORMER(answer) ((answer) >> 16)

/* `b` is one that a drained nexthop has not left: who takes it says so, once between two looks of sluiced's. */
static __always_inline __u32 ecmp_held(struct nhg_bucket *b, struct nhg_bucket now, __u32 asks)
{
	if (asks == ECMP_FIRST)
		return (__u32)now.former << 16 | now.nexthop;
	if (asks != ECMP_ROUTED)
		return asks == now.former ? asks : now.nexthop;
	if (!(now.bits & NHG_USED))
		__sync_fetch_and_or(&b->bits, NHG_USED);
	return now.former ? now.former : now.nexthop;
}

/* A nexthop id; 0: the group is empty. `asks`: see above. */
static __always_inline __u32 ecmp_pick(const struct tuple *t, __u8 proto, bool fragment, __u32 group, __u32 asks)
{
	struct nhg *g = bpf_map_lookup_elem(&nhgs, &group);
	struct control *c = control_get();
	struct nhg_bucket *b;
	union {
		struct nhg g;
		struct nhg_bucket b;
		__u64 word;
	} u;
	__u32 i;

	if (!g || !c)
		return 0;
	u.word = READ_ONCE(*(__u64 *)g); /* a group that grows changes base and mask at once */
	i = ecmp_hash(t, proto, fragment, READ_ONCE(c->ecmp_hash), c->hash_seed);
	i = u.g.base + (i & u.g.mask);
	b = bpf_map_lookup_elem(&nhg_buckets, &i);
	if (!b)
		return 0;
	u.word = READ_ONCE(*(__u64 *)b); /* what sluiced changes in several stores says the same after each */
	if (unlikely(u.b.bits & NHG_HELD))
		return ecmp_held(b, u.b, asks);
	return asks != ECMP_FIRST && u.b.former == asks ? asks : u.b.nexthop;
}

/* Of a group, for the packet. The tuple is the one that it came in with, so that a choice of NAT moves nothing. verifier: global,
 * for the stack of the programs, which is what others have left. */
__noinline_global __u32 ecmp_choose(struct pkt *p, __u32 group, __u32 asks)
{
	bool fragment;

	if (!p)
		return 0;
	fragment = p->flags & PKT_F_FRAGMENT;
	if (cfg_inner && ecmp_is_tunnel(p))
		return ecmp_pick(&p->inner, p->inner_proto, fragment, group, asks);
	return ecmp_pick(&p->t, p->l4_proto, fragment, group, asks);
}

#endif
