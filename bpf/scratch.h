/* scratch.h: what a stage builds and is too large for the stack, of each CPU. Stands below the stages, each of which has a part
 * of its own; all in one map, since a program may use 64, and some are there twice while the tables change their size.
 */
#ifndef SLUICE_SCRATCH_H
#define SLUICE_SCRATCH_H

#include "pkt.h"

/* half.h: a pair that is being ended. */
struct half_work {
	struct tuple t, to, back; /* of the forward entry: as it comes in, as it leaves, and that swapped */
	struct nat_mapping_key mapping;
	struct nat_event event;
	__u32 family;
};

/* half.h: what a CPU has taken to do. */
struct half_hand {
	__u32 next;  /* the line whose turn it is, */
	__u32 turns; /* and how many are left of those taken */
};

struct scratch {
	struct frag frag; /* frag.h: a datagram of which nothing is known */
	struct flow flow; /* flow.h: a flow under construction */
	struct half_work half;
	struct half_hand hand; /* kept */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

#endif
