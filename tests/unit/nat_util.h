/* nat_util.h: the maps of NAT and of flows for tests that run the data plane's stages natively, and what stands in them.
 *
 * A test says FLOW_BUCKETS, NAT_BUCKETS and HALF_LINES before it includes this; and NAT_LOG 1, if somebody wants NAT's events.
 */
#ifndef SLUICE_TEST_NAT_UTIL_H
#define SLUICE_TEST_NAT_UTIL_H

#include "../../bpf/flow.h"

#ifndef NAT_LOG
#define NAT_LOG 0
#endif

const volatile __u8 cfg_ipv6 = 1, cfg_l3 = 1, cfg_nat = 1, cfg_nat_log = NAT_LOG, cfg_account = 1, cfg_trace, cfg_resize;

static void array_set(void *map, __u32 i, const void *v)
{
	bpf_map_update_elem(map, &i, v, BPF_ANY);
}

static void nat_array(const void *map, size_t value, __u32 n)
{
	stub_map_add(map, BPF_MAP_TYPE_ARRAY, 4, value, n);
}

/* All maps anew, and empty but for the flow table's head and the epoch. */
static void nat_maps(void)
{
	flow_table = (struct flow_table){.buckets4 = FLOW_BUCKETS,
					 .buckets6 = FLOW_BUCKETS,
					 .hash_key = {1, 3, 5, 7, 9, 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9},
					 .half_lines = HALF_LINES,
					 .nat_buckets = NAT_BUCKETS,
					 .nat_lines = NAT_BUCKETS};
	control = (struct control){.epoch = 1, .hash_seed = 5};
	nat_filter = (struct nat_filter){0};

	stub_reset();
	stub_ring = (struct stub_ring){0};
	stub_map(ifaces);
	stub_map(stats);
	stub_map(pools);
	stub_map(pool_members);
	stub_map(pool_addrs);
	stub_map(pool_ports);
	stub_map(snat_rules);
	stub_map(dnat_rules);
	nat_array(&nat_words, sizeof(struct bucket), NAT_BUCKETS);
	nat_array(&nat_mappings, sizeof(struct nat_mapping), NAT_BUCKETS * BUCKET_SLOTS);
	nat_array(&nat_ways, sizeof(struct nat_line), NAT_BUCKETS);
	stub_map(nat_peers);
	stub_map(nat_used);
	stub_map(nat_counted);
	stub_map(nat_statics);
	nat_array(&flow_words4, sizeof(struct bucket), FLOW_BUCKETS);
	nat_array(&flow_words6, sizeof(struct bucket), FLOW_BUCKETS);
	nat_array(&flows4, sizeof(struct flow), FLOW_BUCKETS * BUCKET_SLOTS);
	nat_array(&flows6, sizeof(struct flow6), FLOW_BUCKETS * BUCKET_SLOTS);
	stub_map(scratch);
	stub_map(half_open);
	stub_map(half_turn);
	stub_map(frag_datagrams);
}

static void add_pool(__u32 id, __u32 slot, __u32 addr, unsigned min, unsigned max)
{
	struct pool p = {.first4 = slot, .count4 = 1, .first6 = slot + 1, .port_min = min, .port_max = max, .flags = POOL_F_USED};
	struct pool_addr a = {.flags = POOL_ADDR_F_USED};

	addr_from4(&a.addr, bpf_htonl(addr));
	array_set(&pools, id, &p);
	array_set(&pool_members, slot, &slot);
	array_set(&pool_addrs, slot, &a);
}

static unsigned mappings(void)
{
	unsigned n = 0;

	for (__u32 i = 0; i < NAT_BUCKETS * BUCKET_SLOTS; i++)
		n += nattab_is_live(false, i);
	return n;
}

#endif
