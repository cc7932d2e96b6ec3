/* bench_maps.h: the kernel's own tables as whoever keeps connections in them has them: what our own table is held against. */
#ifndef SLUICE_BENCH_MAPS_H
#define SLUICE_BENCH_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define KERNEL_TABLE(NAME, TYPE, FLAGS, MAX, KEY, VALUE)                                                                         \
	struct {                                                                                                                 \
		__uint(type, TYPE);                                                                                              \
		__uint(map_flags, FLAGS);                                                                                        \
		__uint(max_entries, MAX);                                                                                        \
		__type(key, KEY);                                                                                                \
		__type(value, VALUE);                                                                                            \
	} NAME SEC(".maps")

#define MMAPPED(NAME, MAX, VALUE)	   KERNEL_TABLE(NAME, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, MAX, __u32, VALUE)
#define KERNEL_HASH(NAME, MAX, KEY, VALUE) KERNEL_TABLE(NAME, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, MAX, KEY, VALUE)

struct connection {
	__u64 addrs;
	__u32 ports;
	__u32 pad;
};

struct decision {
	__u64 addrs;
	__u64 packets;
	__u64 pad[6];
};

/* Of a frame with one tag, an IPv4 header of 20 bytes and ports; NULL: it is too short. */
static inline __attribute__((always_inline)) __u32 *connection_of(void *data, void *end, struct connection *ret)
{
	__u32 *w = data + 18;

	if ((void *)(w + 6) > end)
		return NULL;
	*ret = (struct connection){.addrs = w[3] | (__u64)w[4] << 32, .ports = w[5]};
	return w;
}

#endif
