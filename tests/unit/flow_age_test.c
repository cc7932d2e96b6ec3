/* flow_age_test.c: what a pass looks at where the flow table is nearly full: what closes, and nothing of what is established or
 * of other protocols.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "age_util.h"

#define PAIRS 950

/* Passes for some seconds, as the timer makes them; how often pairs were looked at. */
static unsigned passes(unsigned seconds)
{
	unsigned before = looks;

	for (uint64_t end = flows.now_ns + seconds * SEC; flows.now_ns < end; flows.now_ns += PERIOD_NS) {
		pass_begin(&flows);
		while (flows.phase != PHASE_WAIT)
			step(&flows);
		flows.phase = PHASE_PORTS;
		step(&flows);
		pass_end(&flows);
	}
	return looks - before;
}

static void fill(uint8_t of)
{
	pair_proto = of;
	for (uint32_t i = 0; i < PAIRS; i++)
		assert_true(put(i));
	for (uint32_t i = 0; of == IPPROTO_TCP && i < flows.tab[0].n; i++)
		flowtab_entry(&flows.tab[0], i)->seen = FLOW_SEEN_ANY | FLOW_SEEN_SYN | FLOW_SEEN_SYNACK | FLOW_SEEN_ACK;
	passes(3);
	assert_int_equal(flows.counted, PAIRS);
	assert_true(flows.pressed);
}

/* The entry of one direction of a pair; NULL: it has ended. */
static struct flow *entry(uint32_t i, bool reply)
{
	struct flow_key4 k = key_of(i), back = {k.daddr, k.saddr, k.dport, k.sport, 0, pair_proto, 0};
	uint32_t at = flowtab_find(&flows.tab[0], reply ? &back : &k, NULL);

	return at == FLOWTAB_NONE ? NULL : flowtab_entry(&flows.tab[0], at);
}

static void full_of_udp(void **state)
{
	fill(IPPROTO_UDP);
	assert_int_equal(passes(60), 0);
	assert_int_equal(flows.counted, PAIRS);
}

static void full_of_established(void **state)
{
	fill(IPPROTO_TCP);
	assert_int_equal(passes(60), 0);
	assert_int_equal(flows.counted, PAIRS);
}

/* From either side, and of both; who has closed one side alone stays. */
static void what_closes_ends_soon(void **state)
{
	fill(IPPROTO_TCP);
	entry(1, false)->seen |= FLOW_SEEN_RST;
	entry(2, true)->seen |= FLOW_SEEN_RST;
	entry(3, false)->seen |= FLOW_SEEN_FIN;
	entry(3, true)->seen |= FLOW_SEEN_FIN;
	entry(4, false)->seen |= FLOW_SEEN_FIN;
	entry(5, true)->seen |= FLOW_SEEN_FIN;
	passes(11);
	for (uint32_t i = 0; i < 8; i++)
		for (int reply = 0; reply < 2; reply++)
			assert_int_equal(entry(i, reply) != NULL, i < 1 || i > 3);
	assert_int_equal(flows.counted, PAIRS - 3);
}

/* With room to spare they have their whole time, and are noticed before it is over. */
static void with_room_it_has_its_time(void **state)
{
	pair_proto = IPPROTO_TCP;
	for (uint32_t i = 0; i < PAIRS / 2; i++)
		put(i);
	for (uint32_t i = 0; i < flows.tab[0].n; i++)
		flowtab_entry(&flows.tab[0], i)->seen = FLOW_SEEN_ANY | FLOW_SEEN_SYN | FLOW_SEEN_SYNACK | FLOW_SEEN_ACK;
	passes(3);
	entry(1, false)->seen |= FLOW_SEEN_RST;
	entry(2, true)->seen |= FLOW_SEEN_RST;
	passes(236);
	assert_int_equal(flows.counted, PAIRS / 2);
	passes(3);
	assert_int_equal(flows.counted, PAIRS / 2 - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(full_of_udp, setup, teardown),
		cmocka_unit_test_setup_teardown(full_of_established, setup, teardown),
		cmocka_unit_test_setup_teardown(what_closes_ends_soon, setup, teardown),
		cmocka_unit_test_setup_teardown(with_room_it_has_its_time, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
