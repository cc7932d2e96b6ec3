/* netlink_test.c: netlink.h and the ethtool part of it against the real kernel, in network namespaces of its own. What was done
 * is looked at with ip(8) and ethtool's own words, not with the code under test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include "neigh_ask.h"
#include "netlink.h"
#include "netns.h"

static struct netlink *nl;
static struct errs errs;
static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x42};

static int setup(void **state)
{
	int r = netns_enter();

	if (r == 0)
		r = netlink_open(&nl, &errs);
	return r == 0 ? ip_try("link set lo up") : r;
}

static int teardown(void **state)
{
	netlink_close(nl);
	errs_free(&errs);
	errs = (struct errs){};
	return 0;
}

/* What a command prints, without its last newline. */
static const char *__attribute__((format(printf, 1, 2))) output(const char *fmt, ...)
{
	static char text[4096];
	char command[512];
	va_list ap;
	size_t n;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	pclose(f);
	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	return text;
}

#define expect_output(want, ...)   assert_string_equal(output(__VA_ARGS__), want)
#define expect_contains(want, ...) assert_non_null(strstr(output(__VA_ARGS__), want))

static struct prefix prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, 0, false, &p), 0);
	return p;
}

static struct addr addr(const char *text)
{
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	return a;
}

static int veth(void)
{
	assert_int_equal(netlink_veth_add(nl, "vlan10", "sw10", mac, 1400, &errs), 0);
	return if_nametoindex("vlan10");
}

static int veth_up(const char *address)
{
	struct prefix p = prefix(address);
	int i = veth();

	assert_int_equal(netlink_link_set(nl, i, true, NULL, 0, &errs), 0);
	assert_int_equal(netlink_link_set(nl, if_nametoindex("sw10"), true, NULL, 0, &errs), 0);
	assert_int_equal(netlink_addr_add(nl, i, &p, 0, &errs), 0);
	return i;
}

static void veth_test(void **state)
{
	int i = veth();

	assert_true(i > 0);
	expect_contains("mtu 1400", "ip -o link show vlan10");
	expect_contains("mtu 1400", "ip -o link show sw10");
	expect_contains("link/ether 02:00:00:00:00:42", "ip -o link show vlan10");
	assert_null(strstr(output("ip -o link show sw10"), "02:00:00:00:00:42"));
	/* once more, with another MTU: the pair is taken as it is, and set right */
	assert_int_equal(netlink_veth_add(nl, "vlan10", "sw10", mac, 1300, &errs), 0);
	expect_contains("mtu 1300", "ip -o link show sw10");
	assert_int_equal(if_nametoindex("vlan10"), i);
	assert_int_equal(errs.n, 0);
	/* a name that something else has */
	ip("link add br0 type bridge");
	assert_int_equal(netlink_veth_add(nl, "br0", "sw11", NULL, 0, &errs), -EEXIST);
	assert_int_equal(netlink_veth_add(nl, "vlan10", "sw11", NULL, 0, &errs), -EEXIST);
	assert_int_equal(errs.n, 2);
	assert_int_equal(if_nametoindex("sw11"), 0);
	assert_int_equal(netlink_link_delete(nl, i, &errs), 0);
	assert_int_equal(if_nametoindex("sw10"), 0);
	assert_int_equal(netlink_link_delete(nl, i, &errs), 0); /* gone already */
}

static void link_set_and_alias_test(void **state)
{
	const uint8_t other[6] = {2, 0, 0, 0, 0, 7};
	char buf[256], alias[300];
	int i = veth();

	assert_int_equal(netlink_link_set(nl, i, true, other, 1280, &errs), 0);
	expect_contains("link/ether 02:00:00:00:00:07", "ip -o link show vlan10");
	expect_contains("mtu 1280", "ip -o link show vlan10");
	expect_contains(",UP", "ip -o link show vlan10");
	assert_int_equal(netlink_link_set(nl, i, false, NULL, 0, &errs), 0);
	expect_contains("state DOWN", "ip -o link show vlan10");
	expect_contains("mtu 1280", "ip -o link show vlan10");
	assert_int_equal(netlink_link_alias_get(nl, i, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
	assert_int_equal(netlink_link_alias(nl, i, "sluice:default:vlan10", &errs), 0);
	expect_contains("alias sluice:default:vlan10", "ip -o link show vlan10");
	assert_int_equal(netlink_link_alias_get(nl, i, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "sluice:default:vlan10");
	assert_int_equal(netlink_link_alias_get(nl, i, buf, 5), -ENOSPC);
	assert_int_equal(netlink_link_alias_get(nl, 9999, buf, sizeof(buf)), -ENODEV);
	memset(alias, 'x', sizeof(alias) - 1);
	alias[sizeof(alias) - 1] = '\0';
	assert_int_equal(netlink_link_alias(nl, i, alias, &errs), -EINVAL);
}

static int set_route(const struct prefix *to, uint32_t table, uint8_t type, uint32_t metric, const struct nl_nexthop *nh,
		     size_t n)
{
	struct nl_route r = {.to = *to, .table = table, .type = type, .metric = metric, .nexthops = nh, .n = n, .adopt = true};

	return netlink_route_set(nl, &r, &errs);
}

static int delete_route(const struct prefix *to, uint32_t table, uint32_t metric)
{
	struct nl_route r = {.to = *to, .table = table, .metric = metric};

	return netlink_route_delete(nl, &r, &errs);
}

static void error_has_the_kernels_words_test(void **state)
{
	struct prefix p = prefix("10.9.0.0/16");
	struct nl_nexthop nh = {.ifindex = veth(), .gateway = addr("192.0.2.1"), .family = 4, .weight = 1};
	char *text;

	assert_int_equal(netlink_link_set(nl, nh.ifindex, true, NULL, 0, &errs), 0);
	assert_int_equal(set_route(&p, RT_TABLE_MAIN, RTN_UNICAST, 0, &nh, 1), -ENETUNREACH);
	assert_int_equal(errs.n, 1);
	text = err_text(&errs.v[0]);
	assert_non_null(strstr(text, "10.9.0.0/16"));
	assert_non_null(strstr(text, "(Nexthop has invalid gateway)"));
	free(text);
	assert_int_equal(netlink_link_set(nl, nh.ifindex, true, NULL, 1000000, &errs), -EINVAL);
	assert_int_equal(netlink_veth_add(nl, "a/b", "c", NULL, 0, &errs), -EINVAL);
	assert_int_equal(errs.n, 3);
}

static void addresses_test(void **state)
{
	struct prefix v4 = prefix("10.1.0.1/24"), v6 = prefix("2001:db8::1/64"), quiet = prefix("10.2.0.1/24"),
		      p2p = prefix("10.3.0.1/32"), quiet6 = prefix("2001:db8::2/128");
	int i = veth();

	assert_int_equal(netlink_link_set(nl, i, true, NULL, 0, &errs), 0);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(netlink_addr_add(nl, i, &v4, 0, &errs), 0);
		assert_int_equal(netlink_addr_add(nl, i, &v6, 0, &errs), 0);
		assert_int_equal(netlink_addr_add(nl, i, &quiet, NL_ANSWER_ONLY, &errs), 0);
		assert_int_equal(netlink_addr_add(nl, i, &quiet6, NL_ANSWER_ONLY, &errs), 0);
		assert_int_equal(netlink_addr_add(nl, i, &p2p, 0, &errs), 0);
	}
	expect_contains("inet 10.1.0.1/24 brd 10.1.0.255 scope global vlan10", "ip -o addr show vlan10");
	expect_contains("inet6 2001:db8::1/64 scope global", "ip -o addr show vlan10");
	expect_contains("scope host noprefixroute", "ip -o addr show vlan10 | grep 10.2.0.1");
	expect_contains("2001:db8::2/128", "ip -o addr show vlan10 deprecated");
	expect_contains("valid_lft forever preferred_lft 0sec", "ip -o addr show vlan10 | grep 2001:db8::2/128");
	expect_contains("inet 10.3.0.1/32 scope global vlan10", "ip -o addr show vlan10");
	expect_contains("10.1.0.0/24", "ip route");
	assert_null(strstr(output("ip route"), "10.2.0.0/24"));
	for (int again = 0; again < 2; again++) {
		assert_int_equal(netlink_addr_delete(nl, i, &v4, &errs), 0);
		assert_int_equal(netlink_addr_delete(nl, i, &v6, &errs), 0);
	}
	assert_null(strstr(output("ip -o addr show vlan10"), "10.1.0.1"));
	assert_null(strstr(output("ip -o addr show vlan10"), "2001:db8::1"));
	assert_int_equal(netlink_addr_add(nl, 9999, &v4, 0, &errs), -ENODEV);
}

static void ipv4_routes_test(void **state)
{
	int i = veth_up("10.1.0.1/24");
	struct nl_nexthop nh[] =
		{
			{.ifindex = i, .gateway = addr("10.1.0.2"), .family = 4, .weight = 3},
			{.ifindex = i, .gateway = addr("10.1.0.3"), .family = 4, .weight = 1},
		},
			  v6 = {.ifindex = i, .gateway = addr("fe80::9"), .family = 6, .weight = 1},
			  far = {.ifindex = i, .gateway = addr("192.0.2.1"), .family = 4, .weight = 1, .onlink = true},
			  dev = {.ifindex = i};
	struct prefix p = prefix("10.9.0.0/16"), all = prefix("0.0.0.0/0"), sink = prefix("10.10.0.0/16"),
		      q = prefix("10.8.0.0/16");

	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 7, nh, 2), 0);
	expect_output("10.9.0.0/16 proto 83 metric 7 \n\tnexthop via 10.1.0.2 dev vlan10 weight 3 \n"
		      "\tnexthop via 10.1.0.3 dev vlan10 weight 1",
		      "ip route show 10.9.0.0/16");
	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 7, nh, 2), 0); /* the same again */
	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 7, nh, 1), 0);
	expect_output("10.9.0.0/16 via 10.1.0.2 dev vlan10 proto 83 metric 7", "ip route show 10.9.0.0/16");
	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 7, &v6, 1), 0);
	expect_output("10.9.0.0/16 via inet6 fe80::9 dev vlan10 proto 83 metric 7", "ip route show 10.9.0.0/16");
	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 7, &dev, 1), 0);
	expect_output("10.9.0.0/16 dev vlan10 proto 83 scope link metric 7", "ip route show 10.9.0.0/16");
	assert_int_equal(set_route(&all, 1000, RTN_UNICAST, 0, &far, 1), 0);
	expect_output("default via 192.0.2.1 dev vlan10 proto 83 onlink", "ip route show table 1000");
	assert_int_equal(set_route(&sink, 254, RTN_BLACKHOLE, 0, NULL, 0), 0);
	expect_output("blackhole 10.10.0.0/16 proto 83", "ip route show 10.10.0.0/16");
	assert_int_equal(
		netlink_route_set(
			nl,
			&(struct nl_route){
				.to = q, .table = 254, .metric = 3, .type = RTN_UNICAST, .nexthops = nh, .n = 1, .mtu = 1400},
			&errs),
		0);
	expect_output("10.8.0.0/16 via 10.1.0.2 dev vlan10 proto 83 metric 3 mtu 1400", "ip route show 10.8.0.0/16");
	/* another instance's, for all that is known */
	assert_int_equal(
		netlink_route_set(nl, &(struct nl_route){.to = q, .table = 254, .metric = 3, .type = RTN_BLACKHOLE}, &errs),
		-EEXIST);
	assert_int_equal(errs.n, 1);
	errs_free(&errs);
	expect_output("10.8.0.0/16 via 10.1.0.2 dev vlan10 proto 83 metric 3 mtu 1400", "ip route show 10.8.0.0/16");
	assert_int_equal(netlink_route_set(nl,
					   &(struct nl_route){.to = q,
							      .table = 254,
							      .metric = 3,
							      .type = RTN_UNICAST,
							      .nexthops = nh,
							      .n = 1,
							      .mtu = 1300,
							      .known = true},
					   &errs),
			 0);
	expect_output("10.8.0.0/16 via 10.1.0.2 dev vlan10 proto 83 metric 3 mtu 1300", "ip route show 10.8.0.0/16");
	assert_int_equal(netlink_route_delete(nl, &(struct nl_route){.to = q, .table = 254, .metric = 3, .known = true}, &errs),
			 0);
	/* of metric 0 there is none: the other one stays */
	assert_int_equal(delete_route(&p, 254, 0), 0);
	expect_contains("10.9.0.0/16", "ip route show 10.9.0.0/16");
	for (int again = 0; again < 2; again++) {
		assert_int_equal(delete_route(&p, 254, 7), 0);
		assert_int_equal(delete_route(&sink, 254, 0), 0);
		assert_int_equal(delete_route(&all, 1000, 0), 0);
	}
	expect_output("", "ip route show proto 83 table all");
	assert_int_equal(errs.n, 0);
}

static void other_programs_routes_stay_test(void **state)
{
	int i = veth_up("10.1.0.1/24");
	struct nl_nexthop nh = {.ifindex = i, .gateway = addr("10.1.0.2"), .family = 4, .weight = 1};
	struct nl_nexthop nh2 = {.ifindex = i, .gateway = addr("10.1.0.3"), .family = 4, .weight = 1};
	struct prefix p = prefix("10.9.0.0/16"), q = prefix("10.8.0.0/16");

	ip("route add 10.9.0.0/16 via 10.1.0.7 proto bgp");
	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 0, &nh, 1), -EEXIST);
	assert_int_equal(delete_route(&p, 254, 0), 0);
	expect_output("10.9.0.0/16 via 10.1.0.7 dev vlan10 proto bgp", "ip route show 10.9.0.0/16");
	/* theirs came later, and stands first */
	assert_int_equal(set_route(&q, 254, RTN_UNICAST, 0, &nh, 1), 0);
	ip("route prepend 10.8.0.0/16 via 10.1.0.7 proto bgp");
	assert_int_equal(set_route(&q, 254, RTN_UNICAST, 0, &nh2, 1), 0);
	expect_output("10.8.0.0/16 via 10.1.0.7 dev vlan10 proto bgp \n10.8.0.0/16 via 10.1.0.3 dev vlan10 proto 83",
		      "ip route show 10.8.0.0/16");
	assert_int_equal(delete_route(&q, 254, 0), 0);
	expect_output("10.8.0.0/16 via 10.1.0.7 dev vlan10 proto bgp", "ip route show 10.8.0.0/16");
}

static void ipv6_routes_test(void **state)
{
	int i = veth_up("2001:db8::1/64");
	struct nl_nexthop nh[] =
		{
			{.ifindex = i, .gateway = addr("fe80::2"), .family = 6, .weight = 1},
			{.ifindex = i, .gateway = addr("fe80::3"), .family = 6, .weight = 2},
		},
			  dev = {.ifindex = i};
	struct prefix p = prefix("2001:db8:9::/48");

	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 0, nh, 2), 0);
	expect_output("2001:db8:9::/48 proto 83 metric 1024 pref medium\n\tnexthop via fe80::2 dev vlan10 weight 1 \n"
		      "\tnexthop via fe80::3 dev vlan10 weight 2",
		      "ip -6 route show 2001:db8:9::/48");
	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 0, nh + 1, 1), 0);
	expect_output("2001:db8:9::/48 via fe80::3 dev vlan10 proto 83 metric 1024 pref medium",
		      "ip -6 route show 2001:db8:9::/48");
	assert_int_equal(set_route(&p, 254, RTN_UNICAST, 0, &dev, 1), 0);
	expect_output("2001:db8:9::/48 dev vlan10 proto 83 metric 1024 pref medium", "ip -6 route show 2001:db8:9::/48");
	assert_int_equal(set_route(&p, 254, RTN_UNREACHABLE, 0, NULL, 0), 0);
	expect_contains("unreachable 2001:db8:9::/48", "ip -6 route show 2001:db8:9::/48");
	for (int again = 0; again < 2; again++)
		assert_int_equal(delete_route(&p, 254, 0), 0);
	expect_output("", "ip -6 route show 2001:db8:9::/48");
	assert_int_equal(errs.n, 0);
}

static void neighbors_test(void **state)
{
	int i = veth_up("10.1.0.1/24");
	struct addr a = addr("10.1.0.2"), b = addr("2001:db8::2"), c = addr("10.1.0.3");

	assert_int_equal(netlink_neigh_set(nl, i, &a, mac, &errs), 0);
	assert_int_equal(netlink_neigh_set(nl, i, &b, mac, &errs), 0);
	expect_output("10.1.0.2 lladdr 02:00:00:00:00:42 PERMANENT", "ip neigh show 10.1.0.2 dev vlan10");
	expect_output("2001:db8::2 lladdr 02:00:00:00:00:42 PERMANENT", "ip -6 neigh show 2001:db8::2 dev vlan10");
	assert_int_equal(netlink_neigh_probe(nl, i, &c), 0);
	expect_contains("INCOMPLETE", "ip neigh show 10.1.0.3 dev vlan10");
	/* one that is stale is to be verified */
	ip("neigh replace 10.1.0.4 lladdr 02:00:00:00:00:04 nud stale dev vlan10");
	c = addr("10.1.0.4");
	assert_int_equal(netlink_neigh_probe(nl, i, &c), 0);
	expect_contains("DELAY", "ip neigh show 10.1.0.4 dev vlan10");
	for (int again = 0; again < 2; again++) {
		assert_int_equal(netlink_neigh_delete(nl, i, &a, &errs), 0);
		assert_int_equal(netlink_neigh_delete(nl, i, &b, &errs), 0);
	}
	assert_null(strstr(output("ip neigh show dev vlan10"), "PERMANENT"));
	assert_int_equal(netlink_neigh_probe(nl, 9999, &c), -ENODEV);
	assert_int_equal(errs.n, 0);
}

/* Asked beside: what comes of it is seen a moment later; what waits is bounded, and the end does not wait for it. */
static void beside_test(void **state)
{
	int i = veth_up("10.1.0.1/24");
	struct addr a = addr("10.1.0.2"), b = addr("10.1.0.3");
	struct neigh_ask *asks;
	int refused = 0;

	assert_int_equal(neigh_ask_open(&asks, &errs), 0);
	assert_int_equal(netlink_neigh_set(nl, i, &a, mac, &errs), 0);
	assert_int_equal(neigh_ask_probe(asks, 9999, &b), 0); /* nobody hears of the refusal */
	assert_int_equal(neigh_ask_probe(asks, i, &b), 0);
	assert_int_equal(neigh_ask_drop(asks, i, &a), 0);
	for (int k = 0; k < 500 && (strstr(output("ip neigh show dev vlan10"), "10.1.0.2") ||
				    !strstr(output("ip neigh show dev vlan10"), "10.1.0.3"));
	     k++)
		usleep(10000);
	expect_contains("INCOMPLETE", "ip neigh show 10.1.0.3 dev vlan10");
	expect_output("", "ip neigh show 10.1.0.2 dev vlan10");
	for (int k = 0; k < 100000 && !refused; k++)
		refused = neigh_ask_probe(asks, i, &b);
	assert_int_equal(refused, -ENOBUFS);
	neigh_ask_close(asks);
	neigh_ask_close(NULL);
	assert_int_equal(errs.n, 0);
}

static void ethtool_test(void **state)
{
	char buf[32];

	veth();
	assert_int_equal(netlink_driver("vlan10", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "veth");
	assert_int_equal(netlink_driver("vlan10", buf, 3), -ENOSPC);
	assert_int_equal(netlink_driver("nosuch", buf, sizeof(buf)), -ENODEV);
	expect_contains("rx-vlan-offload: on", "ethtool -k vlan10");
	for (int again = 0; again < 2; again++)
		assert_int_equal(netlink_rxvlan_off("vlan10"), 0);
	expect_contains("rx-vlan-offload: off", "ethtool -k vlan10");
	expect_contains("rx-vlan-stag-hw-parse: off", "ethtool -k vlan10");
	expect_contains("tx-vlan-offload: on", "ethtool -k vlan10");
	assert_int_equal(netlink_rxvlan_off("nosuch"), -ENODEV);
	assert_int_equal(netlink_rxvlan_off("lo"), 0); /* has none to switch */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(veth_test),	     T(link_set_and_alias_test), T(error_has_the_kernels_words_test),
		T(addresses_test),   T(ipv4_routes_test),	 T(other_programs_routes_stay_test),
		T(ipv6_routes_test), T(neighbors_test),		 T(beside_test),
		T(ethtool_test),
	};
	int r = netns_become_root();

	if (r == 0)
		r = netns_enter();
	if (r < 0) {
		fprintf(stderr, "SKIP netlink_test: no network namespace may be made here: %s\n", strerror(-r));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
