/* fast_test.c: the short way's answers, taken over by the long way (bpf/fast.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-value"
#include <bpf/bpf_helpers.h>

/* No packet is touched here. */
#define bpf_skb_pull_data(...)	 (-EPERM)
#define bpf_skb_load_bytes(...)	 (-EPERM)
#define bpf_skb_store_bytes(...) (-EPERM)
#define bpf_l4_csum_replace(...) (-EPERM)
#define bpf_csum_update(...)	 (-EPERM)
#define bpf_skb_vlan_pop(...)	 (-EPERM)
#define bpf_skb_vlan_push(...)	 (-EPERM)

#include "../../bpf/ctx_tc.h"
#include "../../bpf/fast.h"

const volatile __u8 cfg_ipv6, cfg_l3, cfg_nat, cfg_nat_log, cfg_account, cfg_trace, cfg_resize, cfg_inner, cfg_rpf;

static struct pkt packet;
static struct known *likes;

static int setup(void **arg)
{
	__u32 at = 5;

	stub_map(found);
	likes = bpf_map_lookup_elem(&found, &at);
	likes->stamp = packet.stamp = 7;
	likes->in_port = 3;
	packet.in_port = 0;
	return 0;
}

static int teardown(void **arg)
{
	stub_reset();
	return 0;
}

static void what_is_known_holds_under_its_epoch(void **arg)
{
	assert_true(fast_fill(&packet, FAST_FAILED(6, FAST_NOT)));
	assert_int_equal(packet.in_port, 3);
	packet.stamp = 8;
	assert_false(fast_fill(&packet, FAST_FAILED(6, FAST_NOT)));
}

/* One that is rewritten by half is never looked at anew: it would be learned from and sent. It is counted where it came in. */
static void a_spoilt_packet_stays_spoilt_under_another_epoch(void **arg)
{
	packet.stamp = 8;
	assert_true(fast_fill(&packet, FAST_FAILED(6, FAST_SPOILT)));
	assert_int_equal(packet.in_port, 3);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_known_holds_under_its_epoch),
		TEST(a_spoilt_packet_stays_spoilt_under_another_epoch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
