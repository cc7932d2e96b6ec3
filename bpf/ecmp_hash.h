/* ecmp_hash.h: the hash of a flow, by what the policy counts of its tuple.
 *
 * Stands under ecmp.h, which chooses a bucket by it, and held.h, which notes flows by another one of the same words.
 */
#ifndef SLUICE_ECMP_HASH_H
#define SLUICE_ECMP_HASH_H

#include "pkt.h"

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

/* What of the tuple the policy counts, in 64 bits. `s`: of the seed. Of fragments, which have no ports but in the first, the
 * addresses alone count, so that they take one way. */
static __always_inline __u64 ecmp_sum(const struct tuple *t, __u8 proto, bool fragment, __u32 policy, __u64 s)
{
	bool ports = !fragment && policy != ECMP_L3;
	__u64 h, back;

	if (policy == ECMP_SYMMETRIC) {
		h = ecmp_source(&t->saddr, s) + ecmp_ports(ports ? t->sport : 0, s);
		back = ecmp_source(&t->daddr, s) + ecmp_ports(ports ? t->dport : 0, s);
		return ecmp_mix(ecmp_mix(h) + ecmp_mix(back) + (ports ? proto : 0));
	}
	h = ecmp_source(&t->saddr, s) + ecmp_dest(&t->daddr, s);
	if (ports)
		h += ecmp_ports(t->ports, s) + ECMP_WORD(proto, s, 0x589965cc75374cc3ull);
	return ecmp_mix(h);
}

/* The same for every packet of a connection. The seed differs from router to router, lest each group be offered one share of the
 * hashes of the one before it. */
static __always_inline __u32 ecmp_hash(const struct tuple *t, __u8 proto, bool fragment, __u32 policy, __u32 seed)
{
	return ecmp_sum(t, proto, fragment, policy, ecmp_mix(seed ^ ECMP_SEED)) >> 32;
}

#endif
