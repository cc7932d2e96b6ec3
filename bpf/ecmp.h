/* ecmp.h: which nexthop of a group a packet takes (RFC 2992, with resilient buckets in place of its regions).
 *
 * Stands between the FIB's result and route.h. user/nexthop.c fills the buckets and moves as few as it can when a group
 * changes; here they are only read.
 */
#ifndef SLUICE_ECMP_H
#define SLUICE_ECMP_H

#include "pkt.h"
#include "ecmp_hash.h"
#include "held.h"

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

/* tunnel.h has looked into it. Of an ICMP error `inner` is what it quotes. */
static __always_inline bool ecmp_is_tunnel(const struct pkt *p)
{
	return (p->flags & (PKT_F_INNER | PKT_F_ICMP_ERROR)) == PKT_F_INNER;
}

/* What asks. A nexthop id: the one that a flow's entry was decided for; it is kept where it had this bucket until it was drained.
 */
#define ECMP_FIRST  0	       /* it is not known whether there will be a flow: see ECMP_FORMER() */
#define ECMP_ROUTED (1u << 16) /* there is none, and there will be none: every packet asks */

/* Of an answer to ECMP_FIRST: the bucket is held for this drained nexthop, and those that have no flow are to ask as ECMP_ROUTED
 * which one they take; 0: they take the same. */
#define ECMP_FORMER(answer) ((answer) >> 16)

/* `b` is one that a drained nexthop has not left: who would be moved if it were, says so, once between two looks of sluiced's. */
static __always_inline __u32 ecmp_held(struct pkt *p, const struct tuple *t, __u32 how, __u32 group, struct nhg_bucket *b,
				       __u64 bucket, __u32 asks)
{
	union {
		__u64 word;
		struct nhg_bucket b;
	} u = {.word = bucket};
	__u32 id;

	if (asks == ECMP_FIRST)
		return (__u32)u.b.former << 16 | u.b.nexthop;
	if (asks != ECMP_ROUTED)
		return asks == u.b.former ? asks : u.b.nexthop;
	id = held_choose(p, t, how, group, bucket);
	if (id != u.b.nexthop && !(u.b.bits & NHG_USED))
		__sync_fetch_and_or(&b->bits, NHG_USED);
	return id;
}

/* A nexthop id; 0: the group is empty. `how`: of the tuple, see held.h; `asks`: see above. */
static __always_inline __u32 ecmp_pick(struct pkt *p, const struct tuple *t, __u32 how, __u32 group, __u32 asks)
{
	struct nhg *g = bpf_map_lookup_elem(&nhgs, &group);
	struct nhg_bucket *b;
	union {
		struct nhg g;
		struct nhg_bucket b;
		__u64 word;
	} u;
	__u32 i;

	if (!g)
		return 0;
	u.word = READ_ONCE(*(__u64 *)g); /* a group that grows changes base and mask at once */
	i = ecmp_hash(t, how, how & HELD_ASK_FRAGMENT, READ_ONCE(control.ecmp_hash), control.hash_seed);
	i = u.g.base + (i & u.g.mask);
	b = bpf_map_lookup_elem(&nhg_buckets, &i);
	if (!b)
		return 0;
	u.word = READ_ONCE(*(__u64 *)b); /* what sluiced changes in several stores says the same after each */
	if (unlikely(u.b.bits & NHG_HELD))
		return ecmp_held(p, t, how, group, b, u.word, asks);
	return asks != ECMP_FIRST && u.b.former == asks ? asks : u.b.nexthop;
}

/* Of a group, for the packet. The tuple is the one that it came in with, so that a choice of NAT moves nothing. verifier: global,
 * for the stack of the programs, which is what others have left. */
__noinline_global __u32 ecmp_choose(struct pkt *p, __u32 group, __u32 asks)
{
	__u32 how;

	if (!p)
		return 0;
	how = p->flags & PKT_F_FRAGMENT ? HELD_ASK_FRAGMENT : 0;
	if (cfg_inner && ecmp_is_tunnel(p))
		return ecmp_pick(p, &p->inner, how | p->inner_proto, group, asks);
	if (p->l4_proto == IPPROTO_TCP && !how)
		how = HELD_ASK_TCP | HELD_ASK_FLAGS(p->tcp_flags);
	return ecmp_pick(p, &p->t, how | p->l4_proto, group, asks);
}

#endif
