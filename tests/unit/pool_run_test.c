/* pool_run_test.c: pools that are made of runs of addresses: whose ports are held by the ways of mappings alone. The data plane's
 * own stages, run natively. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define FLOW_BUCKETS 8192
#define NAT_BUCKETS  16384
#define HALF_LINES   4
#include "nat_util.h"

enum { LAN = 1, WAN = 2, POOL = 3, SLOT = 20 };

#define PUB    0xc6120000u /* 198.18.0.0 */
#define REMOTE 0xc0000201u

static struct snat_rule rule;

/* A run of `n` addresses in two pieces, the second one from `cut` on; what lies between, one address, is another's. */
static void switch_with(unsigned n, unsigned cut, unsigned min, unsigned max)
{
	struct pool p = {
		.first4 = 40, .count4 = cut ? 2 : 1, .port_min = min, .port_max = max, .flags = POOL_F_USED | POOL_F_RUNS};
	__u32 member[] = {POOL_ID(SLOT, 1), cut ? cut - 1 : n, POOL_ID(SLOT, cut + 1), n - cut};
	struct pool_addr a = {.flags = POOL_ADDR_F_USED | POOL_ADDR_F_RUN, .run_from = 1, .run_n = n};
	struct iface iface = {.mtu = 1500};

	nat_maps();
	stub_map(clocks);
	add_pool(POOL, SLOT, PUB, min, max);
	array_set(&ifaces, LAN, &iface);
	array_set(&ifaces, WAN, &iface);
	rule = (struct snat_rule){
		.src_len = 104, .action = SNAT_POOL, .pool = POOL, .rule = 1, .filtering = NAT_FILTER_INDEPENDENT};
	addr_from4(&rule.src, bpf_htonl(0x0a000000));
	array_set(&snat_rules, 0, &rule);
	addr_from4(&a.addr, bpf_htonl(PUB));
	array_set(&pool_addrs, SLOT, &a);
	array_set(&pools, POOL, &p);
	for (__u32 i = 0; i < 4; i++)
		array_set(&pool_members, 40 + i, &member[i]);
}

static enum verdict out(struct pkt *p, __u32 src, unsigned sport, __u8 proto)
{
	*p = (struct pkt){
		.family = 4, .l4_proto = proto, .flags = PKT_F_L4, .segs = 1, .epoch = 1, .in_iface = LAN, .out_iface = WAN};
	p->tcp_flags = NAT_TCP_SYN;
	addr_from4(&p->t.saddr, bpf_htonl(src));
	addr_from4(&p->t.daddr, bpf_htonl(REMOTE));
	p->t.sport = bpf_htons(sport);
	p->t.dport = bpf_htons(53);
	p->to = p->t;
	return nat_snat(p);
}

static __u32 address(const struct pkt *p)
{
	return bpf_ntohl(p->to.saddr.a32[3]) - PUB;
}

static void ports_are_kept_and_addresses_spread(void **state)
{
	static unsigned hits[65536];
	unsigned distinct = 0;
	struct pkt p, again;

	switch_with(65536, 0, 1024, 65535);
	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(out(&p, 0x0a000000 + i, 5000, IPPROTO_UDP), V_NEXT);
		assert_in_range(address(&p), 0, 65535);
		distinct += !hits[address(&p)]++;
		if (hits[address(&p)] == 1)
			assert_int_equal(bpf_ntohs(p.to.sport), 5000);
		/* Paired: another protocol and another port have the same address; the same source has its mapping. */
		assert_int_equal(out(&again, 0x0a000000 + i, 5000, IPPROTO_UDP), V_NEXT);
		assert_memory_equal(&again.to, &p.to, sizeof(p.to));
		assert_int_equal(out(&again, 0x0a000000 + i, 7001, IPPROTO_TCP), V_NEXT);
		assert_int_equal(address(&again), address(&p));
	}
	/* Of 65536 by chance: 1 - e^(-20000/65536), 17241. */
	assert_in_range(distinct, 16900, 17600);
}

static void parity_and_side(void **state)
{
	struct pkt p;

	switch_with(2000, 0, 1024, 65535);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(out(&p, 0x0a000000 + i, 99 + i % 2, IPPROTO_UDP), V_NEXT);
		assert_int_equal(bpf_ntohs(p.to.sport) & 1, (99 + i % 2) & 1);
		assert_in_range(bpf_ntohs(p.to.sport), 1024, 65535);
	}
}

/* Nobody else's port, whatever the order; and never the address in the gap. */
static void no_port_is_two_sources(void **state)
{
	static uint8_t taken[1500][40];
	unsigned n = 0, refused = 0;
	struct pkt p;

	memset(taken, 0, sizeof(taken));
	switch_with(1500, 700, 2000, 2039);
	for (unsigned i = 0; i < 60000 && n < 59960; i++) {
		if (out(&p, 0x0a000000 + i % 997, 1024 + i / 997, IPPROTO_UDP) != V_NEXT) {
			assert_int_equal(p.drop, DROP_NAT_NO_PORT);
			refused++;
			continue;
		}
		assert_int_not_equal(address(&p), 699);
		assert_in_range(address(&p), 0, 1499);
		assert_false(taken[address(&p)][bpf_ntohs(p.to.sport) - 2000]++);
		n++;
	}
	print_message("%u of 59960 in use, %u refused\n", n, refused);
	assert_true(n > 59960 * 99 / 100);
}

/* As many combinations as are tried: to the last one. */
static void small_ones_to_the_last_port(void **state)
{
	struct pkt p;

	switch_with(200, 0, 3000, 3003);
	for (unsigned i = 0; i < 800; i++)
		assert_int_equal(out(&p, 0x0a000000 + i % 7, 1024 + i, IPPROTO_UDP), V_NEXT);
	assert_int_equal(out(&p, 0x0a000001, 100, IPPROTO_UDP), V_DROP);
	assert_int_equal(p.drop, DROP_NAT_NO_PORT);
	/* Other protocols have ports of their own. */
	assert_int_equal(out(&p, 0x0a000001, 100, IPPROTO_TCP), V_NEXT);
}

/* What ends gives its port back at once. */
static void given_back(void **state)
{
	struct pkt p;

	switch_with(1, 0, 3000, 3000);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(out(&p, 0x0a000001, 1024 + i, IPPROTO_UDP), V_NEXT);
		assert_int_equal(out(&p, 0x0a000001, 999, IPPROTO_UDP), V_DROP);
		assert_int_equal(out(&p, 0x0a000001, 1024 + i, IPPROTO_UDP), V_NEXT);
		assert_int_equal(mappings(), 1);
		nat_unmap(&p);
		assert_int_equal(mappings(), 0);
		stub_now_ns += 2000000000;
	}
}

/* Another CPU has put its way in between the search and the insertion: this one gives up, and leaves nothing behind. */
static void one_of_two_that_race(void **state)
{
	struct nat_mapping_key key = {.port = bpf_htons(77), .proto = IPPROTO_UDP, .pool = POOL};
	__u64 theirs = 4711ull << 32 | NAT_WAY(POOL_ID(SLOT, 1), POOL_UDP, 3000);
	struct flow_table *t = nattab_head(false);
	struct bucket_place at;
	struct pkt p;

	switch_with(1, 0, 3000, 3000);
	assert_int_equal(out(&p, 0x0a000001, 1024, IPPROTO_UDP), V_NEXT);
	nat_unmap(&p);
	stub_now_ns += 2000000000;
	t = nattab_head(false);
	assert_true(nattab_way_set(false, t, theirs));
	assert_int_equal(nattab_find(&key, &at), 0);
	assert_int_equal(nattab_insert(&p, &key, &at), -EADDRINUSE);
	assert_int_equal(nattab_find(&key, &at), 0);
	assert_int_equal(mappings(), 0);
	assert_int_equal(nattab_way_count(false, t, (__u32)theirs), 1);
	nattab_way_clear(false, t, theirs);
	assert_int_equal(nattab_insert(&p, &key, &at), 0);
	assert_int_equal(mappings(), 1);
}

/* Who comes to a mapping's address and port is let in; to another port of it, or another address of the run, is not. */
static void from_outside(void **state)
{
	struct nat_static_key key = {.len = 32 + 96 + 16};
	struct nat_static v = {.slot = SLOT, .flags = NAT_STATIC_F_RUN};
	struct pkt p, in;

	switch_with(65536, 0, 1024, 65535);
	control.nat_statics = 1;
	addr_from4(&key.addr, bpf_htonl(PUB));
	v.to = key.addr;
	for (int k = 0; k < 3; k++) {
		assert_int_equal(out(&p, 0x0a000007, 5000, IPPROTO_UDP), V_NEXT);
		in = (struct pkt){.family = 4, .l4_proto = IPPROTO_UDP, .flags = PKT_F_L4, .in_iface = WAN};
		addr_from4(&in.t.saddr, bpf_htonl(REMOTE + 5));
		in.t.daddr = p.to.saddr;
		if (k == 2)
			in.t.daddr.a32[3] ^= bpf_htonl(1);
		in.t.sport = bpf_htons(9);
		in.t.dport = bpf_htons(k == 1 ? 5001 : 5000);
		in.to = in.t;
		/* The stub's tries are exact: the key is the packet's. */
		key.len = 32 + 128;
		key.addr = in.t.daddr;
		bpf_map_update_elem(&nat_statics, &key, &v, BPF_ANY);
		assert_int_equal(nat_dnat(NULL, &in), k ? V_DROP : V_NEXT);
		if (k) {
			assert_int_equal(in.drop, DROP_NAT_FILTERED);
			continue;
		}
		assert_int_equal(bpf_ntohl(in.to.daddr.a32[3]), 0x0a000007);
		assert_int_equal(in.dest_addr, p.pool_addr + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_kept_and_addresses_spread),
		cmocka_unit_test(parity_and_side),
		cmocka_unit_test(no_port_is_two_sources),
		cmocka_unit_test(small_ones_to_the_last_port),
		cmocka_unit_test(given_back),
		cmocka_unit_test(one_of_two_that_race),
		cmocka_unit_test(from_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
