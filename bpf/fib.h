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

/* Where the search begins: the entry, and in *at the byte of the address that comes next. */
static __always_inline __u32 fib_begin(__u32 vrf, __u8 family, const struct addr *a, __u32 *at)
{
	__u32 i, first = family == 4 ? 12 : 0;
	struct fib_unit *u;
	struct fib_root *r;

	if (vrf == 0) {
		i = (__u32)a->a8[first] << 8 | a->a8[first + 1];
		*at = first + 2;
		first = (family == 4 ? FIB_DIRECT4 : FIB_DIRECT6) + i / FIB_UNIT_WORDS;
		u = bpf_map_lookup_elem(&fib, &first);
		return u ? READ_ONCE(u->word[i % FIB_UNIT_WORDS]) : 0;
	}
	*at = first;
	r = bpf_map_lookup_elem(&fib_roots, &vrf);
	if (!r)
		return 0;
	return family == 4 ? READ_ONCE(r->entry4) : READ_ONCE(r->entry6);
}

/* The entry for a byte in a flat node; *ret_fallback is looked up only where it may be needed. */
static __always_inline __u32 fib_flat(__u32 unit, __u8 byte, __u32 *ret_fallback)
{
	__u32 i = unit + byte / FIB_UNIT_WORDS, e;
	struct fib_unit *u = bpf_map_lookup_elem(&fib, &i);

	if (!u)
		return 0;
	e = READ_ONCE(u->word[byte % FIB_UNIT_WORDS]);
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

/* 0: no route; else NEXTHOP_IS_GROUP | group id, or a nexthop id. */
static __always_inline __u32 fib_lookup(__u32 vrf, __u8 family, const struct addr *a)
{
	__u32 e, at, n, fallback, best = 0;

	e = fib_begin(vrf, family, a, &at);
	for (n = 0; n < sizeof(*a) && (e & FIB_NODE); n++, at++) {
		fallback = 0;
		if (e & FIB_FLAT)
			e = fib_flat(e & FIB_UNIT_MASK, a->a8[at & 15], &fallback);
		else
			e = fib_compressed(e & FIB_UNIT_MASK, a->a8[at & 15], &fallback);
		if (fallback)
			best = fallback;
	}
	return e ? e & ~FIB_NODE : best;
}

#endif
