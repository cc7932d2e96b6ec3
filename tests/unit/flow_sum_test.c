/* flow_sum_test.c: what sluiced reckons for a flow that it puts in itself, beside the data plane's own code run natively. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "../../bpf/nat.h"
#include "../../user/flow_sum.h"

const volatile __u8 cfg_ipv6 = 1, cfg_l3 = 1, cfg_nat = 1, cfg_nat_log, cfg_account = 1, cfg_trace, cfg_resize;

static struct addr random_addr(int family)
{
	struct addr a = {.a32 = {(__u32)random(), (__u32)random() << 1, (__u32)random() * 3, (__u32)random() * 2}};

	if (family == 4) {
		a.a64[0] = 0;
		a.a32[2] = bpf_htonl(0xffff);
	}
	return a;
}

/* 0 and 0xffff are the same sum. */
static __u16 sum(__u16 x)
{
	return x == 0xffff ? 0 : x;
}

static void checksum_differences_are_the_data_planes(void **state)
{
	srandom(5);
	for (int i = 0; i < 100000; i++) {
		__u8 family = i & 1 ? 4 : 6;
		struct pkt p = {.family = family};

		p.t.saddr = random_addr(family);
		p.t.daddr = random_addr(family);
		p.t.sport = (__u16)random();
		p.t.dport = (__u16)random();
		p.to = p.t;
		if (i & 2)
			p.to.saddr = random_addr(family);
		if (i & 4)
			p.to.daddr = random_addr(family);
		if (i & 8)
			p.to.sport = (__u16)random();
		if (i & 16)
			p.to.dport = (__u16)random();
		nat_deltas(&p);
		assert_int_equal(sum(p.l3_delta), sum(flow_sum_addrs(&p.t.saddr, &p.t.daddr, &p.to.saddr, &p.to.daddr)));
		assert_int_equal(sum(p.l4_delta), sum(flow_sum_ports(p.t.sport, p.t.dport, p.to.sport, p.to.dport)));
	}
}

static void remote_ends_have_the_data_planes_hash(void **state)
{
	for (int i = 0; i < 100000; i++) {
		struct tuple to = {.daddr = random_addr(i & 1 ? 4 : 6), .dport = (__u16)random()};

		assert_int_equal(nat_remote(&to), flow_sum_remote(&to.daddr, to.dport));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum_differences_are_the_data_planes),
		cmocka_unit_test(remote_ends_have_the_data_planes_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
