/* first_xdp.bpf.c: the least that a connection's first packet costs whoever keeps connections in the kernel's tables: both
 * entries of the pair put in, and out. Targets of gen_xdp.bpf.c in an object of their own, for their tables are large.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bench_maps.h"

#define ENTRIES (1 << 21) /* twice as many as are put in: LRU gives out again what is in use when few are left */

KERNEL_TABLE(plain, BPF_MAP_TYPE_HASH, 0, ENTRIES, struct connection, struct decision);
KERNEL_TABLE(lru, BPF_MAP_TYPE_LRU_HASH, 0, ENTRIES, struct connection, struct decision);
KERNEL_TABLE(out, BPF_MAP_TYPE_DEVMAP_HASH, 0, 8, __u32, struct bpf_devmap_val);

/* Redirected, or dropped: one of the two was there. */
static __always_inline int first_packet(struct xdp_md *ctx, void *table)
{
	struct connection key, back;
	struct decision there = {};

	if (!connection_of((void *)(long)ctx->data, (void *)(long)ctx->data_end, &key))
		return XDP_ABORTED;
	back = (struct connection){.addrs = key.addrs >> 32 | key.addrs << 32, .ports = key.ports >> 16 | key.ports << 16};
	there.addrs = key.addrs;
	if (bpf_map_update_elem(table, &key, &there, BPF_NOEXIST) || bpf_map_update_elem(table, &back, &there, BPF_NOEXIST))
		return XDP_DROP;
	return bpf_redirect_map(&out, 0, 0);
}

SEC("xdp.frags")
int first_plain(struct xdp_md *ctx)
{
	return first_packet(ctx, &plain);
}

SEC("xdp.frags")
int first_lru(struct xdp_md *ctx)
{
	return first_packet(ctx, &lru);
}

char LICENSE[] SEC("license") = "GPL";
