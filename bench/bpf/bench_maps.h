/* bench_maps.h: the kernel's hash as whoever keeps connections in it has it: what our own table is held against. */
#ifndef SLUICE_BENCH_MAPS_H
#define SLUICE_BENCH_MAPS_H

#define KERNEL_HASH(NAME, MAX, KEY, VALUE)                                                                                       \
	struct {                                                                                                                 \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                                 \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                            \
		__uint(max_entries, MAX);                                                                                        \
		__type(key, KEY);                                                                                                \
		__type(value, VALUE);                                                                                            \
	} NAME SEC(".maps")

#endif
