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

static __always_inline __u64 ecmp_mix(__u64 h, __u64 x)
{
	h = (h ^ x) * 0x9fb21c651e98df25ull;
	return h ^ h >> 32;
}

/* The same for every packet of a connection. Fragments have no ports but in the first: of all of them the addresses alone
 * count, so that they take one way. The seed differs from router to router, lest each group be offered one share of the
 * hashes of the one before it. */
static __always_inline __u32 ecmp_hash(const struct tuple *t, __u8 proto, bool fragment, __u32 policy, __u32 seed)
{
	bool ports = !fragment && policy != ECMP_L3;
	__u64 h = ecmp_mix(0x2545f4914f6cdd1dull, seed), back = h;

	if (policy == ECMP_SYMMETRIC) {
		h = ecmp_mix(h, t->saddr.a64[0]);
		h = ecmp_mix(h, t->saddr.a64[1]);
		back = ecmp_mix(back, t->daddr.a64[0]);
		back = ecmp_mix(back, t->daddr.a64[1]);
		if (ports) {
			h = ecmp_mix(h, t->sport);
			back = ecmp_mix(back, t->dport);
		}
		h = ecmp_mix(h + back, ports ? proto : 0);
		return ecmp_mix(h, h >> 17);
	}
	h = ecmp_mix(h, t->saddr.a64[0]);
	h = ecmp_mix(h, t->saddr.a64[1]);
	h = ecmp_mix(h, t->daddr.a64[0]);
	h = ecmp_mix(h, t->daddr.a64[1]);
	if (ports)
		h = ecmp_mix(h, (__u64)proto << 32 | (__u32)t->sport << 16 | t->dport);
	return ecmp_mix(h, h >> 17);
}

/* tunnel.h has looked into it. Of an ICMP error `inner` is what it quotes. */
static __always_inline bool ecmp_is_tunnel(const struct pkt *p)
{
	return (p->flags & (PKT_F_INNER | PKT_F_ICMP_ERROR)) == PKT_F_INNER;
}

/* A nexthop id; 0: the group is empty. `before`: the one that a flow's entry was decided for, or 0; it is kept where it had this
 * bucket until it was drained. */
static __always_inline __u32 ecmp_pick(const struct tuple *t, __u8 proto, bool fragment, __u32 group, __u32 before)
{
	struct nhg *g = bpf_map_lookup_elem(&nhgs, &group);
	struct control *c = control_get();
	struct nhg_bucket *b;
	union {
		struct nhg g;
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
	return before && READ_ONCE(b->former) == before ? before : READ_ONCE(b->nexthop);
}

/* Of a group, for the packet. The tuple is the one that it came in with, so that a choice of NAT moves nothing. */
static __always_inline __u32 ecmp_choose(struct pkt *p, __u32 group, __u32 before)
{
	bool fragment = p->flags & PKT_F_FRAGMENT;

	if (cfg_inner && ecmp_is_tunnel(p))
		return ecmp_pick(&p->inner, p->inner_proto, fragment, group, before);
	return ecmp_pick(&p->t, p->l4_proto, fragment, group, before);
}

#endif
