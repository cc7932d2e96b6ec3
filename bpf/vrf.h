/* vrf.h: which VRF has which id.
 *
 * The data plane knows ids alone; the names stand beside the tables whose keys hold the ids, so that a new life of sluiced gives
 * the same names the same ids. What goes to the host bears the mark of its VRF, by which the host's answers find back into it
 * (user/vrf_host.c).
 */
#ifndef SLUICE_VRF_H
#define SLUICE_VRF_H

#include "pkt.h"

/* Written by sluiced, which reads it again; the marks are read here. VRF id -> struct vrf. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VRF_MAX);
	__type(key, __u32);
	__type(value, struct vrf);
} vrfs SEC(".maps");

/* The mark of packets of this VRF for the host; 0: they have none. */
static __always_inline __u32 vrf_mark(__u32 id)
{
	struct vrf *v = bpf_map_lookup_elem(&vrfs, &id);

	return v ? v->mark : 0;
}

#endif
