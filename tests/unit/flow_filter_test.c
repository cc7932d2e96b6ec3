/* flow_filter_test.c: what filters match, what they refuse and where; that a pair is completed only when a test needs it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "flow_filter.h"
#include "text.h"

static int one_of(const char *name, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

static int vrf(void *arg, const char *name)
{
	return one_of(name, (const char *const[]){"default", "red", "blue", NULL});
}

static int iface(void *arg, const char *name)
{
	return one_of(name, (const char *const[]){"", "vlan10", "up1", "up2", "or", NULL});
}

static int rule(void *arg, const char *name)
{
	return one_of(name, (const char *const[]){"", "lan", "web", "my rule", NULL});
}

static const struct flow_names names = {vrf, iface, rule, NULL};

static unsigned completed;

static void complete(struct flow_pair *p, void *arg)
{
	completed++;
	p->packets[1] = 5;
	p->bytes[1] = 9000;
	p->state = FLOW_ESTABLISHED;
	p->idle_s = 30;
	p->expires_s = 7410;
	p->out_iface = 2;
}

static struct addr addr(const char *text)
{
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	return a;
}

/* 10.0.10.7:40000 to 198.51.100.1:443, from 203.0.113.5:41000, in the VRF red and out in blue; age 100 s, 10 + 5 packets,
 * 1000 + 9000 bytes. */
static struct flow_pair tcp_pair(void)
{
	return (struct flow_pair){
		.key = {addr("10.0.10.7"), addr("198.51.100.1"), htons(40000), htons(443), 1, IPPROTO_TCP, 4},
		.to = {addr("203.0.113.5"), addr("198.51.100.1"), htons(41000), htons(443), 1, IPPROTO_TCP, 4},
		.out_vrf = 2,
		.rule = 1,
		.in_iface = 1,
		.snat = true,
		.age_s = 100,
		.packets = {10},
		.bytes = {1000},
		.complete = complete,
	};
}

/* 2001:db8:1::7 pings 2001:db8:2::1, which is 2001:db8:3::1, with the identifier 443. */
static struct flow_pair echo_pair(void)
{
	return (struct flow_pair){
		.key = {addr("2001:db8:1::7"), addr("2001:db8:2::1"), htons(443), 0, 0, IPPROTO_ICMPV6, 6},
		.to = {addr("2001:db8:1::7"), addr("2001:db8:3::1"), htons(443), 0, 0, IPPROTO_ICMPV6, 6},
		.rule = 2,
		.in_iface = 3,
		.dnat = true,
		.complete = complete,
	};
}

static bool matches(const char *text, struct flow_pair p)
{
	struct flow_filter_error why;
	struct flow_filter *f = NULL;
	bool ret;

	if (flow_filter_parse(text, &names, &f, &why))
		fail_msg("%s: column %u: %s", text, why.column, why.text);
	ret = flow_filter_match(f, &p);
	flow_filter_free(f);
	return ret;
}

struct row {
	const char *filter;
	bool tcp, echo;
};

static const struct row rows[] = {
	{"all", true, true},
	{"proto tcp", true, false},
	{"tcp", true, false},
	{"icmp6", false, true},
	{"icmpv6", false, true},
	{"icmp", false, false},
	{"proto 58", false, true},
	{"proto udp,icmp6", false, true},
	{"ip", true, false},
	{"ip6", false, true},
	{"family ip", true, false},
	{"family 6", false, true},
	{"src 10.0.10.7", true, false},
	{"src 10.0.0.0/8", true, false},
	{"src 10.0.10.7/8", true, false},
	{"src 10.0.10.6/31", true, false},
	{"src 10.0.10.8/29", false, false},
	{"src 198.51.100.1", false, false},
	{"dst 198.51.100.1", true, false},
	{"dst 0.0.0.0/0", true, false},
	{"dst ::/0", false, true},
	{"src 2001:db8::/32", false, true},
	{"src 2001:db8:1::7", false, true},
	{"src 2001:db8:1::/127", false, false},
	{"host 198.51.100.1", true, false},
	{"host 10.0.10.7", true, false},
	{"host 203.0.113.5", false, false},
	{"net 2001:db8:2::/48", false, true},
	{"src net 10.0.0.0/8", true, false},
	{"dst host 198.51.100.1", true, false},
	{"src 1.1.1.1,10.0.10.7 , 2001:db8:1::7", true, true},
	{"nat src 203.0.113.5", true, false},
	{"nat src 10.0.10.7", false, false},
	{"nat src 2001:db8:1::7", false, false},
	{"nat dst 2001:db8:3::1", false, true},
	{"nat dst 198.51.100.1", false, false},
	{"nat host 203.0.113.0/24", true, false},
	{"nat sport 41000", true, false},
	{"nat sport 40000", false, false},
	{"nat dport 443", false, false},
	{"nat port 41000-41999", true, false},
	{"nat src port 41000", true, false},
	{"snat", true, false},
	{"dnat", false, true},
	{"port 443", true, false},
	{"sport 443", false, false},
	{"dport 443", true, false},
	{"src port 40000", true, false},
	{"dst port 443", true, false},
	{"dport 80,443", true, false},
	{"port 440-450", true, false},
	{"sport 40001-65535", false, false},
	{"sport >= 40000", true, false},
	{"sport > 40000", false, false},
	{"dport < 1024", true, false},
	{"dport != 443", false, true},
	{"dport ne 80", true, true},
	{"vrf red", true, false},
	{"vrf blue", true, false},
	{"vrf default", false, true},
	{"rule lan", true, false},
	{"rule web,lan", true, true},
	{"rule \"my rule\"", false, false},
	{"in vlan10", true, false},
	{"in up1", false, false},
	{"out up1", true, true},
	{"iface up1", true, true},
	{"iface up2", false, true},
	{"in 'or' or in vlan10", true, false},
	{"in or", false, false},
	{"state established", true, true},
	{"state closing,reset", false, false},
	{"age 100", true, false},
	{"age > 1m", true, false},
	{"age<=100s", true, true},
	{"age 1m-2m", true, false},
	{"idle 30s", true, true},
	{"idle gt 30", false, false},
	{"expires ge 2h", true, true},
	{"packets 15", true, false},
	{"packets > 14", true, false},
	{"packets > 15", false, false},
	{"bytes 10k", true, false},
	{"bytes >= 1M", false, false},
	{"bytes lt 10k", false, true},
	{"bytes 9000-9K", false, true},
	{"bytes != 10000", false, true},
	{"not tcp", false, true},
	{"! tcp", false, true},
	{"not not tcp", true, false},
	{"tcp and dst 198.51.100.0/24 and state established", true, false},
	{"tcp dst 198.51.100.1 port 443", true, false},
	{"tcp dst 198.51.100.1 port 80", false, false},
	{"tcp or icmp6", true, true},
	{"tcp && port 80 || icmp6", false, true},
	{"tcp and (port 80 or port 443)", true, false},
	{"(tcp)and(port 443)", true, false},
	{"icmp6 or tcp and port 80", false, true},
	{"(icmp6 or tcp) and port 80", false, false},
	{"not (icmp6 or port 80)", true, false},
	{"not icmp6 and not port 80", true, false},
	{"not (tcp and not port 443)", true, true},
	{"  tcp\n\tand port 443 ", true, false},
};

static void test_matches(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (matches(rows[i].filter, tcp_pair()) != rows[i].tcp)
			fail_msg("%s: TCP: not %d", rows[i].filter, rows[i].tcp);
		if (matches(rows[i].filter, echo_pair()) != rows[i].echo)
			fail_msg("%s: echo: not %d", rows[i].filter, rows[i].echo);
	}
	assert_true(flow_filter_match(NULL, &(struct flow_pair){0}));
}

/* Where, and a part of the words. */
static void test_refusals(void **state)
{
	static const struct {
		const char *filter;
		unsigned column;
		const char *says;
	} refused[] = {
		{"", 1, "a test is wanted, not the end: not, (, tcp"},
		{"foo", 1, "'foo': not, (, tcp, udp, icmp, proto, src, dst"},
		{"tcp foo", 5, "'foo'"},
		{"tcp and", 8, "the end"},
		{"tcp and or udp", 9, "'or'"},
		{"tcp or", 7, "the end"},
		{"and tcp", 1, "'and'"},
		{"not", 4, "the end"},
		{"()", 2, "')'"},
		{"(tcp", 5, "')' is wanted, 'and', 'or' or another test, not the end"},
		{"(tcp and udp) )", 15, "closes nothing"},
		{"proto foo", 7, "a protocol is wanted, not 'foo': tcp, udp"},
		{"proto 256", 7, "0..255"},
		{"proto", 6, "not the end"},
		{"proto tcp,", 11, "not the end"},
		{"src 10.0.0", 5, "10.0.0.0/8"},
		{"src 10.0.0.0/33", 5, "a prefix"},
		{"src (", 5, "'('"},
		{"host fd00::/129", 6, "a prefix"},
		{"port 65536", 6, "0..65535"},
		{"port 80-70", 6, "ends before it begins"},
		{"port 80 443", 9, "'443'"},
		{"port > 80-90", 8, "a range"},
		{"port < 0", 8, "less than 0"},
		{"src port foo", 10, "a port"},
		{"age 5x", 5, "5m, 2h"},
		{"bytes -1", 7, "a number"},
		{"bytes 1kk", 7, "a number"},
		{"bytes 18446744073709551616", 7, "a number"},
		{"bytes 99999999999999999T", 7, "a number"},
		{"bytes > 18446744073709551615", 9, "greater"},
		{"state open", 7, "opening, established, closing, reset, unreplied, replied"},
		{"vrf green", 5, "there is no VRF 'green'"},
		{"in eth7", 4, "there is no interface 'eth7'"},
		{"rule nat", 6, "there is no NAT rule 'nat'"},
		{"rule )", 6, "the name of a NAT rule is wanted"},
		{"nat 10.0.0.1", 5, "behind 'nat'"},
		{"nat", 4, "src, dst, host, sport, dport, port"},
		{"family 5", 8, "ip or ip6"},
		{"rule \"lan", 6, "has no end"},
		{"rule \"\"", 7, "nothing between quotes"},
		{"tcp = 3", 5, "'='"},
		{"proto = tcp", 7, "'='"},
		{"tcp and \x01", 9, "control character"},
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct flow_filter_error why;
		struct flow_filter *f = NULL;

		if (flow_filter_parse(refused[i].filter, &names, &f, &why) != -EINVAL)
			fail_msg("%s: not refused", refused[i].filter);
		if (why.column != refused[i].column || !strstr(why.text, refused[i].says))
			fail_msg("%s: column %u: %s", refused[i].filter, why.column, why.text);
	}
}

static void assert_refused(const char *text, const char *says)
{
	struct flow_filter_error why;
	struct flow_filter *f = NULL;

	assert_int_equal(flow_filter_parse(text, &names, &f, &why), -EINVAL);
	assert_non_null(strstr(why.text, says));
}

static void repeat(char *to, const char *what, unsigned n)
{
	for (*to = '\0'; n; n--)
		to = stpcpy(to, what);
}

static void test_limits(void **state)
{
	static char text[3 * FLOW_FILTER_TEXT];

	repeat(text, "(", FLOW_FILTER_DEPTH);
	strcat(text, "tcp");
	repeat(text + strlen(text), ")", FLOW_FILTER_DEPTH);
	assert_true(matches(text, tcp_pair()));
	repeat(text, "(", FLOW_FILTER_DEPTH + 1);
	assert_refused(text, "too deep");
	repeat(text, "not ", FLOW_FILTER_DEPTH + 1);
	assert_refused(text, "too deep");

	repeat(text, "icmp or ", FLOW_FILTER_TESTS - 1);
	strcat(text, "tcp");
	assert_true(matches(text, tcp_pair()));
	assert_false(matches(text, echo_pair()));
	repeat(text, "udp or ", FLOW_FILTER_TESTS);
	strcat(text, "tcp");
	assert_refused(text, "at most 256 tests");
	strcpy(text, "port 1");
	repeat(text + strlen(text), ",1", FLOW_FILTER_TESTS / 2);
	assert_refused(text, "at most 256 tests");
	repeat(text, "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!tcp ", 100);
	assert_refused(text, "at most 256 tests");

	memset(text, ' ', FLOW_FILTER_TEXT);
	strcpy(text + FLOW_FILTER_TEXT - 3, "tcp");
	assert_true(matches(text, tcp_pair()));
	strcpy(text + FLOW_FILTER_TEXT - 3, " tcp");
	assert_refused(text, "too long");
	memset(text, 'x', 200);
	text[200] = '\0';
	assert_refused(text, "a word of more than");
}

/* Looking up the other direction is what costs. */
static void test_the_other_direction_is_looked_up_when_it_is_needed(void **state)
{
	static const struct {
		const char *filter;
		unsigned times;
	} asked[] = {
		{"tcp and src 10.0.0.0/8 and dport 443 and rule lan and in vlan10 and vrf red and age > 10", 0},
		{"udp and state established", 0},
		{"tcp or state established", 0},
		{"state established and bytes > 1 and idle < 1h", 1},
	};

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		completed = 0;
		matches(asked[i].filter, tcp_pair());
		assert_int_equal(completed, asked[i].times);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_the_other_direction_is_looked_up_when_it_is_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
