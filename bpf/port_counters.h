/* port_counters.h: the map of what is counted at each port, for counter.h, and for inject.bpf.c, which has nothing else of the
 * data plane.
 */
#ifndef SLUICE_PORT_COUNTERS_H
#define SLUICE_PORT_COUNTERS_H

#include <linux/bpf.h>
#include <sluice/abi.h>
#include <bpf/bpf_helpers.h>

/* Written by counter.h and inject.bpf.c, read by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORT_MAX);
	__type(key, __u32);
	__type(value, struct port_counters);
} port_counters SEC(".maps");

#endif
