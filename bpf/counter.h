/* counter.h: what is counted, and where. Per-CPU, so that no packet waits for another CPU's cache line.
 *
 * For every port rx_packets == forwarded + to_host + dropped: `sluice counters show --check` adds them up.
 */
#ifndef SLUICE_COUNTER_H
#define SLUICE_COUNTER_H

#include "pkt.h"

/* Written here, read by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORT_MAX);
	__type(key, __u32);
	__type(value, struct port_counters);
} port_counters SEC(".maps");

/* Written here, read by sluiced. Index: port id * DROP_MAX + reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORT_MAX *DROP_MAX);
	__type(key, __u32);
	__type(value, __u64);
} drop_counters SEC(".maps");

/* Written here, read by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} stats SEC(".maps");

static __always_inline void count_stat(enum stat which, __u64 n)
{
	__u32 i = which;
	__u64 *c = bpf_map_lookup_elem(&stats, &i);

	if (c)
		*c += n;
}

#endif
