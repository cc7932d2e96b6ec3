/* vrf.h: which VRF has which id.
 *
 * The data plane knows ids alone; the names stand beside the tables whose keys hold the ids, so that a new life of sluiced gives
 * the same names the same ids.
 */
#ifndef SLUICE_VRF_H
#define SLUICE_VRF_H

#include "pkt.h"

/* Written and read by sluiced alone. VRF id -> struct vrf. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VRF_MAX);
	__type(key, __u32);
	__type(value, struct vrf);
} vrfs SEC(".maps");

#endif
