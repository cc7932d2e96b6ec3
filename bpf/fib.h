/* fib.h: destination address -> nexthop or group: the longest prefix of the packet's VRF that holds it.
 *
 * Stands between route.h, which knows what the result means, and user/fib.c, which builds the structure (described in
 * abi.h). sluiced replaces nodes while packets read them: a node is complete before the one aligned store that makes it
 * reachable, and its memory is used again only after an RCU grace period. The worst that a race can do is that a packet is
 * forwarded by the table as it was before the change.
 */
#ifndef SLUICE_FIB_H
#define SLUICE_FIB_H

#include "pkt.h"

/* Written by sluiced, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FIB_UNITS);
	__type(key, __u32);
	__type(value, struct fib_unit);
} fib SEC(".maps");

/* Written by sluiced, read here. Index: VRF id; VRF 0 does not use its element. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VRF_MAX);
	__type(key, __u32);
	__type(value, struct fib_root);
} fib_roots SEC(".maps");

/* A search on its way: what is left of the address, its first bit the highest, and the best result so far. */
struct fib_search {
	__u64 hi, lo;
	__u32 best;
	__u32 pad;
};

static __always_inline void fib_skip(struct fib_search *s, __u32 bits)
{
	s->hi = s->hi << bits | s->lo >> (64 - bits);
	s->lo <<= bits;
}

/* Where the search begins. */
static __always_inline __u32 fib_begin(__u32 vrf, __u8 family, struct fib_search *s)
{
	__u32 i = s->hi >> 48, unit;
	struct fib_unit *u;
	struct fib_root *r;

	if (vrf == 0) {
		fib_skip(s, 16);
		unit = (family == 4 ? FIB_DIRECT4 : FIB_DIRECT6) + i / FIB_UNIT_WORDS;
		u = bpf_map_lookup_elem(&fib, &unit);
		return u ? READ_ONCE(u->word[i % FIB_UNIT_WORDS]) : 0;
	}
	r = bpf_map_lookup_elem(&fib_roots, &vrf);
	if (!r)
		return 0;
	return family == 4 ? READ_ONCE(r->entry4) : READ_ONCE(r->entry6);
}

static __always_inline __u32 fib_flat_entry(__u32 unit, __u8 byte)
{
	struct fib_unit *u;

	unit += byte / FIB_UNIT_WORDS;
	u = bpf_map_lookup_elem(&fib, &unit);
	return u ? READ_ONCE(u->word[byte % FIB_UNIT_WORDS]) : 0;
}

/* The entry for a byte in a flat node; *ret_fallback is looked up only where it may be needed. */
static __always_inline __u32 fib_flat(__u32 unit, __u8 byte, __u32 *ret_fallback)
{
	__u32 e = fib_flat_entry(unit, byte), i;
	struct fib_unit *u;

	if (e && !(e & FIB_NODE))
		return e;
	i = unit + FIB_FLAT_UNITS - 1;
	u = bpf_map_lookup_elem(&fib, &i);
	if (u)
		*ret_fallback = READ_ONCE(u->word[0]);
	return e;
}

static __always_inline __u32 fib_compressed(__u32 unit, __u8 byte, __u32 *ret_fallback)
{
	struct fib_unit *u = bpf_map_lookup_elem(&fib, &unit);
	__u32 slot, w = byte >> 6;

	if (!u)
		return 0;
	*ret_fallback = READ_ONCE(u->fallback);
	slot = FIB_NODE_HEAD - 1 + u->before[w] + __builtin_popcountll(u->starts[w] << (~byte & 63));
	if (slot >= FIB_UNIT_WORDS) {
		unit += slot / FIB_UNIT_WORDS;
		u = bpf_map_lookup_elem(&fib, &unit);
		if (!u)
			return 0;
	}
	return READ_ONCE(u->word[slot % FIB_UNIT_WORDS]);
}

/* 1: the key lies behind the word.
 * verifier: clang would make a branch of each comparison, which costs mispredictions, and here paths without end. The sums
 * are masked because 6.1 does not know the bounds of a shift's lower half. */
static __always_inline __u64 fib_behind(__u32 word, __u64 key)
{
	__u64 difference = word - key;

	barrier_var(difference);
	return difference >> 63;
}

/* How many of three ascending words the key lies behind. */
static __always_inline __u64 fib_rank(const __u32 *a, const __u32 *b, const __u32 *c, __u64 key)
{
	return fib_behind(*a, key) + fib_behind(*b, key) + fib_behind(*c, key);
}

static __always_inline __u32 fib_list(__u32 unit, bool many, __u64 key, __u32 *ret_fallback)
{
	struct fib_unit *u = bpf_map_lookup_elem(&fib, &unit);
	const __u32 *w;
	__u64 n;

	if (!u)
		return 0;
	w = u->word;
	*ret_fallback = READ_ONCE(u->word[0]);
	if (many) {
		n = fib_rank(w + 4, w + 8, w + 12, key);
		barrier_var(n);
		n = (n & 3) * 4;
		w += n;
		unit += 1 + n + fib_rank(w + 1, w + 2, w + 3, key);
		u = bpf_map_lookup_elem(&fib, &unit);
		if (!u)
			return 0;
		w = u->word;
	}
	n = fib_behind(w[4], key);
	barrier_var(n);
	n = (n & 1) * 4;
	w += n;
	n += FIB_RANGES + fib_rank(w + 1, w + 2, w + 3, key);
	barrier_var(n);
	return READ_ONCE(u->word[n % FIB_UNIT_WORDS]);
}

/* From an entry that leads to a node to the next entry.
 * verifier: a global function, walked once; a loop around all of this in one costs forty times as much. */
__noinline_global __u32 fib_step(__u32 e, struct fib_search *s)
{
	__u32 fallback = 0;

	if (!s)
		return 0;
	if (e & FIB_LIST) {
		e = fib_list(e & FIB_UNIT_MASK, e & FIB_FLAT, s->hi >> 32, &fallback);
		fib_skip(s, 32);
	} else {
		if (e & FIB_FLAT)
			e = fib_flat(e & FIB_UNIT_MASK, s->hi >> 56, &fallback);
		else
			e = fib_compressed(e & FIB_UNIT_MASK, s->hi >> 56, &fallback);
		fib_skip(s, 8);
	}
	if (fallback)
		s->best = fallback;
	return e;
}

/* 0: no route; else NEXTHOP_IS_GROUP | group id, NEXTHOP_IS_PAIR | pair id, or a nexthop id. */
static __always_inline __u32 fib_lookup(__u32 vrf, __u8 family, const struct addr *a)
{
	struct fib_search s = {.hi = (__u64)bpf_ntohl(a->a32[3]) << 32};
	__u32 e, found, n;

	if (family != 4) {
		s.hi = bpf_be64_to_cpu(a->a64[0]);
		s.lo = bpf_be64_to_cpu(a->a64[1]);
	}
	e = fib_begin(vrf, family, &s);
	if (!(e & FIB_NODE))
		return e;
	/* Most of the IPv4 Internet ends in the first node. */
	if ((e & FIB_FORM) == FIB_FLAT) {
		found = fib_flat_entry(e & FIB_UNIT_MASK, s.hi >> 56);
		if (found && !(found & FIB_NODE))
			return found;
	}
	for (n = 0; n < sizeof(*a) && (e & FIB_NODE); n++)
		e = fib_step(e, &s);
	return e ? e & ~FIB_NODE : s.best;
}

#endif
