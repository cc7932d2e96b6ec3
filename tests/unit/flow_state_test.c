/* flow_state_test.c: from what both directions have shown to a state, and to the time it may be silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include "flow_state.h"

#define SYN    FLOW_SEEN_SYN
#define SYNACK FLOW_SEEN_SYNACK
#define ACK    FLOW_SEEN_ACK
#define FIN    FLOW_SEEN_FIN
#define RST    FLOW_SEEN_RST

static void tcp_states(void **state)
{
	static const struct {
		uint8_t forward, reply;
		enum flow_state want;
	} rows[] = {
		{SYN, 0, FLOW_OPENING},
		{SYN, SYNACK, FLOW_OPENING},
		{SYN | ACK, SYNACK, FLOW_ESTABLISHED},
		{SYN | ACK, SYNACK | ACK, FLOW_ESTABLISHED},
		{SYN | ACK, 0, FLOW_OPENING},
		{ACK, 0, FLOW_OPENING}, /* picked up, not answered yet */
		{ACK, ACK, FLOW_ESTABLISHED},
		{SYN | ACK | FIN, SYNACK | ACK, FLOW_ESTABLISHED}, /* one half closed: the other may go on for long */
		{SYN | ACK, SYNACK | ACK | FIN, FLOW_ESTABLISHED},
		{SYN | ACK | FIN, SYNACK | ACK | FIN, FLOW_CLOSING},
		{SYN, RST, FLOW_RESET},
		{SYN | ACK | RST, SYNACK | ACK, FLOW_RESET},
		{SYN | SYNACK | ACK, SYN | SYNACK | ACK, FLOW_ESTABLISHED}, /* simultaneous open */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(flow_state(IPPROTO_TCP, FLOW_SEEN_ANY | rows[i].forward, rows[i].reply), rows[i].want);
}

static void other_states(void **state)
{
	assert_int_equal(flow_state(IPPROTO_UDP, FLOW_SEEN_ANY, 0), FLOW_UNREPLIED);
	assert_int_equal(flow_state(IPPROTO_UDP, FLOW_SEEN_ANY, FLOW_SEEN_ANY), FLOW_REPLIED);
	assert_int_equal(flow_state(IPPROTO_ICMP, FLOW_SEEN_ANY, FLOW_SEEN_ANY), FLOW_REPLIED);
}

/* RFC 5382 REQ-5, RFC 7857 2.2, RFC 4787 REQ-5, RFC 5508 REQ-1. */
static void timeouts(void **state)
{
	const struct settings_cfg s = {
		.tcp_established_s = 7440, .tcp_transitory_s = 240, .udp_s = 300, .icmp_s = 60, .other_s = 600};

	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_ESTABLISHED), 7440);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_OPENING), 240);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_CLOSING), 240);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_RESET), 240);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_UDP, FLOW_UNREPLIED), 300);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_ICMP, FLOW_REPLIED), 60);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_ICMPV6, FLOW_REPLIED), 60);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_GRE, FLOW_REPLIED), 600);
}

/* RFC 7857 2.1: those that open and those that close have a setting each. */
static void rfc7857_opening_apart_from_closing(void **state)
{
	const struct settings_cfg s = {.tcp_established_s = 7440, .tcp_opening_s = 30, .tcp_transitory_s = 240};

	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_OPENING), 30);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_CLOSING), 240);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_RESET), 240);
	assert_int_equal(flow_timeout_s(&s, IPPROTO_TCP, FLOW_ESTABLISHED), 7440);
}

static void every_state_has_a_name(void **state)
{
	for (int s = FLOW_OPENING; s <= FLOW_REPLIED; s++)
		assert_non_null(flow_state_name(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_states),
		cmocka_unit_test(other_states),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(rfc7857_opening_apart_from_closing),
		cmocka_unit_test(every_state_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
