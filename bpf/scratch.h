/* scratch.h: memory of a CPU for what is too large for the stack, and the clocks of what is limited to a rate.
 *
 * Stands between pkt.h and all stages. One map of each kind for all of them, with a place for each user: a program may use no
 * more than 64 maps (the kernel's MAX_USED_MAPS), and the tables need most of them.
 */
#ifndef SLUICE_SCRATCH_H
#define SLUICE_SCRATCH_H

#include "pkt.h"

enum scratch_user {
	SCRATCH_PKT,  /* struct pkt: one packet at a time on a CPU */
	SCRATCH_FLOW, /* struct flow, under construction */
	SCRATCH_FRAG, /* struct frag, of a datagram of which nothing is known */
	SCRATCH_HALF, /* struct half_work */
	SCRATCH_USERS
};

struct scratch {
	__u64 words[136];
};

/* Written and read by the data plane only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_USERS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* What stands there is what the last one on this CPU left. NULL: for the verifier. */
#define scratch_get(user, type)                                                                                                  \
	({                                                                                                                       \
		_Static_assert(sizeof(type) <= sizeof(struct scratch), #type);                                                   \
		__u32 at_ = (user);                                                                                              \
		(type *)bpf_map_lookup_elem(&scratch, &at_);                                                                     \
	})

enum clock_user {
	CLOCK_ICMP,	   /* of icmp.h: errors */
	CLOCK_NAT_REFUSED, /* of nat_event.h: ports exhausted, and */
	CLOCK_NAT_QUOTA,
	CLOCK_NEIGHBOR, /* of neighbor.h: + interface id; 0, which is none: of all together */
	CLOCK_USERS = CLOCK_NEIGHBOR + IFACE_MAX
};

/* Written and read by the data plane only: when the next one may come, in ns of CLOCK_MONOTONIC. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLOCK_USERS);
	__type(key, __u32);
	__type(value, __u64);
} clocks SEC(".maps");

static __always_inline __u64 *clock_get(__u32 user)
{
	return bpf_map_lookup_elem(&clocks, &user);
}

#endif
