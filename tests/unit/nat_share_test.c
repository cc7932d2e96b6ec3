/* nat_share_test.c: ports that flows share, to the last combination of port and remote end: the data plane's own stages, run
 * natively on a switch that translates everything to a pool whose ports are all held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define FLOW_BUCKETS 16384
#define NAT_BUCKETS  32
#define HALF_LINES   4
#define NAT_LOG	     1
#include "nat_util.h"
#include "../../bpf/nat_share.h"

enum { LAN = 1, WAN = 2, POOL = 3, SLOT = 20 };

#define PUB    0xc6336401u
#define REMOTE 0xc0000201u

static uint8_t taken[4][65536]; /* by address and port: of the remote end at hand */

static void all_held(__u32 slot)
{
	struct pool_ports *b = pool_ports_get(slot, POOL_UDP);

	memset(b->used, 0xff, sizeof(b->used));
	memset(b->full, 0xff, sizeof(b->full));
}

/* `n` addresses from PUB on. */
static void switch_with(unsigned n, unsigned min, unsigned max)
{
	struct snat_rule r = {.src_len = 104, .action = SNAT_POOL, .pool = POOL, .rule = 1, .flags = SNAT_F_OVERLOAD};
	struct iface iface = {.mtu = 1500};
	struct pool p;
	__u32 id = POOL;

	nat_maps();
	stub_map(clocks);
	array_set(&ifaces, LAN, &iface);
	array_set(&ifaces, WAN, &iface);
	addr_from4(&r.src, bpf_htonl(0x0a000000));
	array_set(&snat_rules, 0, &r);
	for (unsigned i = 0; i < n; i++) {
		add_pool(POOL, SLOT + i, PUB + i, min, max);
		all_held(SLOT + i);
	}
	p = *(struct pool *)bpf_map_lookup_elem(&pools, &id);
	p.first4 = SLOT;
	p.count4 = (__u16)n;
	array_set(&pools, POOL, &p);
}

/* The same addresses as a run, in one piece or in two. */
static void switch_with_run(unsigned n, unsigned min, unsigned max, unsigned pieces)
{
	struct pool p = {
		.first4 = 40, .count4 = (__u16)pieces, .port_min = min, .port_max = max, .flags = POOL_F_USED | POOL_F_RUNS};
	__u32 member[] = {POOL_ID(SLOT, 7), n / pieces, POOL_ID(SLOT, 7 + n / pieces), n - n / pieces};
	struct pool_addr a = {.flags = POOL_ADDR_F_USED | POOL_ADDR_F_RUN, .run_from = 7, .run_n = n};

	switch_with(1, min, max);
	addr_from4(&a.addr, bpf_htonl(PUB - 6));
	array_set(&pool_addrs, SLOT, &a);
	array_set(&pools, POOL, &p);
	for (__u32 i = 0; i < 4; i++)
		array_set(&pool_members, 40 + i, &member[i]);
}

/* As the pipeline does it; -1: refused. */
static int opens(unsigned sport, __u32 remote, enum drop_reason *why)
{
	struct pkt p = {.family = 4, .l4_proto = IPPROTO_UDP, .flags = PKT_F_L4, .segs = 1, .epoch = 1, .in_iface = LAN};
	enum verdict v;

	addr_from4(&p.t.saddr, bpf_htonl(0x0a000005));
	addr_from4(&p.t.daddr, bpf_htonl(remote));
	p.t.sport = bpf_htons(sport);
	p.t.dport = bpf_htons(53);
	p.to = p.t;
	p.out_iface = WAN;
	assert_int_equal(flow_lookup(&p), V_NEXT);
	v = nat_snat(&p);
	assert_int_equal(v, V_NEXT);
	v = flow_install(&p, V_FORWARD);
	if (v == V_DROP && p.drop == DROP_NAT_CLASH)
		v = nat_share(&p, false) ? flow_install(&p, V_FORWARD) : nat_refuse(&p, DROP_NAT_NO_PORT);
	if (why)
		*why = p.drop;
	if (v == V_DROP)
		return -1;
	assert_in_range(bpf_ntohl(p.to.saddr.a32[3]) - PUB, 0, 3);
	assert_false(taken[bpf_ntohl(p.to.saddr.a32[3]) - PUB][bpf_ntohs(p.to.sport)]++);
	return bpf_ntohs(p.to.sport);
}

/* Each combination once; the one that comes then is told why. */
static void fills(unsigned addrs, unsigned min, unsigned max)
{
	enum drop_reason why;
	int port;

	switch_with(addrs, min, max);
	for (__u32 remote = REMOTE; remote < REMOTE + 2; remote++) {
		memset(taken, 0, sizeof(taken));
		for (unsigned i = 0; i < addrs * (max - min + 1); i++) {
			port = opens(10000 + i, remote, NULL);
			assert_in_range(port, min, max);
		}
		stub_ring = (struct stub_ring){0};
		stub_now_ns += 1000000000;
		assert_int_equal(opens(9999, remote, &why), -1);
		assert_int_equal(why, DROP_NAT_NO_PORT);
		assert_int_equal(stub_ring.n, 1);
	}
}

static void one_port(void **state)
{
	fills(1, 5000, 5000);
}

static void two_hundred(void **state)
{
	fills(1, 5000, 5199);
}

static void every_address(void **state)
{
	fills(4, 5000, 5199);
}

static void two_thousand(void **state)
{
	fills(1, 20000, 20000 + NAT_SHARE_TRIES - 1);
}

/* A whole address: as many flows as it has ports, one after the other, each tried once. */
static void a_whole_address(void **state)
{
	unsigned refused = 0;

	switch_with(1, 1024, 65535);
	memset(taken, 0, sizeof(taken));
	for (unsigned i = 0; i < 64512; i++)
		refused += opens(1024 + i, REMOTE, NULL) < 0;
	assert_int_equal(mappings(), 0);
	print_message("%u of 64512 refused at the first try\n", refused);
	assert_in_range(refused, 0, 64);
	/* They come again, and find what is left. */
	for (unsigned i = 0; i < 20 * refused; i++)
		opens(100 + i % 900, REMOTE, NULL);
}

/* Of a run all addresses are looked at, be it one member or two. */
static void of_a_run(unsigned pieces)
{
	enum drop_reason why;

	switch_with_run(4, 5000, 5001, pieces);
	memset(taken, 0, sizeof(taken));
	/* These have ports of their own: no other is left. */
	for (unsigned i = 0; i < 8; i++)
		assert_in_range(opens(10000 + i, REMOTE, NULL), 5000, 5001);
	assert_int_equal(mappings(), 8);
	assert_int_equal(opens(9999, REMOTE, &why), -1);
	assert_int_equal(why, DROP_NAT_NO_PORT);
	memset(taken, 0, sizeof(taken));
	for (unsigned i = 0; i < 8; i++)
		assert_in_range(opens(20000 + i, REMOTE + 1, NULL), 5000, 5001);
	assert_int_equal(opens(9999, REMOTE + 1, NULL), -1);
}

static void a_run(void **state)
{
	of_a_run(1);
	of_a_run(2);
}

/* GRE of inside host `n`, as the pipeline does it: its address outside, from PUB on; -1: refused. */
static int tunnels(unsigned n, __u32 remote, enum drop_reason *why)
{
	struct pkt p = {.family = 4, .l4_proto = IPPROTO_GRE, .segs = 1, .epoch = 1, .in_iface = LAN};
	enum verdict v;

	addr_from4(&p.t.saddr, bpf_htonl(0x0a000005 + n));
	addr_from4(&p.t.daddr, bpf_htonl(remote));
	p.to = p.t;
	p.out_iface = WAN;
	assert_int_equal(flow_lookup(&p), V_NEXT);
	assert_int_equal(nat_snat(&p), V_NEXT);
	v = flow_install(&p, V_FORWARD);
	if (v == V_DROP) {
		assert_int_equal(p.drop, DROP_NAT_CLASH);
		v = nat_share(&p, false) ? flow_install(&p, V_FORWARD) : nat_refuse(&p, DROP_NAT_NO_ADDRESS);
	}
	*why = p.drop;
	assert_int_equal(p.to.sport, 0);
	return v == V_DROP ? -1 : (int)(bpf_ntohl(p.to.saddr.a32[3]) - PUB);
}

/* Each address serves one host towards a remote end, and no port is taken for it. */
static void each_address_once(unsigned addrs)
{
	enum drop_reason why;

	for (__u32 remote = REMOTE; remote < REMOTE + 2; remote++) {
		unsigned seen = 0;

		for (unsigned n = 0; n < addrs; n++) {
			int at = tunnels(n, remote, &why);

			assert_in_range(at, 0, addrs - 1);
			assert_false(seen >> at & 1);
			seen |= 1u << at;
		}
		stub_ring = (struct stub_ring){0};
		stub_now_ns += 1000000000;
		assert_int_equal(tunnels(addrs, remote, &why), -1);
		assert_int_equal(why, DROP_NAT_NO_ADDRESS);
		assert_int_equal(stub_ring.n, 1);
		assert_int_equal(((const struct nat_event *)stub_ring.last)->event, NAT_EVENT_ADDRESSES_EXHAUSTED);
	}
	assert_int_equal(mappings(), 0);
}

static void without_ports(void **state)
{
	switch_with(1, 5000, 5000);
	each_address_once(1);
	switch_with(4, 5000, 5000);
	each_address_once(4);
	for (unsigned pieces = 1; pieces <= 2; pieces++) {
		switch_with_run(4, 5000, 5000, pieces);
		each_address_once(4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_port),	 cmocka_unit_test(two_hundred),	    cmocka_unit_test(every_address),
		cmocka_unit_test(two_thousand),	 cmocka_unit_test(a_whole_address), cmocka_unit_test(a_run),
		cmocka_unit_test(without_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
