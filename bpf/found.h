/* found.h: what this CPU found lately and need not look for again: stations (fdb.h), frames as they came in (known.h), ways out
 * (way.h).
 *
 * Stands between these and the tables that they ask. What is kept here holds while pkt.stamp is the same: under one epoch, so
 * that a change of the configuration, of a route, a neighbour or a station's port ends it as it ends what flows know; and for a
 * moment, a second or less, so that who is talked to is still noted in the tables once a second. One map for all, since a program
 * may use no more than 64.
 */
#ifndef SLUICE_FOUND_H
#define SLUICE_FOUND_H

#include "pkt.h"

#define FOUND_FRAME_BITS   11
#define FOUND_STATION_BITS 11
#define FOUND_WAY_BITS	   10

/* Where the parts begin. */
#define FOUND_FRAMES   0
#define FOUND_STATIONS (FOUND_FRAMES + (1 << FOUND_FRAME_BITS))
#define FOUND_WAYS     (FOUND_STATIONS + (1 << FOUND_STATION_BITS))
#define FOUND_ALL      (FOUND_WAYS + (1 << FOUND_WAY_BITS))

/* Each user has a struct of its own in it. All zero: nothing, as no stamp is 0. */
struct found {
	__u64 words[8];
};

/* Written and read here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FOUND_ALL);
	__type(key, __u32);
	__type(value, struct found);
} found SEC(".maps");

/* Where what has this hash stands in a part of 2^bits places. */
static __always_inline __u32 found_at(__u32 part, __u32 bits, __u64 hash)
{
	return part + (__u32)(hash * 0x9e3779b97f4a7c15ull >> (64 - bits));
}

/* NULL: for the verifier. */
#define found_get(at, type)                                                                                                      \
	({                                                                                                                       \
		_Static_assert(sizeof(type) <= sizeof(struct found), #type);                                                     \
		__u32 at_ = (at);                                                                                                \
		(type *)bpf_map_lookup_elem(&found, &at_);                                                                       \
	})

#endif
