/* mirror_test.c: the mirror against the real rtnetlink, in network namespaces of its own.
 *
 * Every test ends with three views being equal: what the listener was told, what the mirror shows, and what a mirror opened
 * afresh shows. What a test does to the kernel is done with ip(8), not with the code under test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "clock.h"
#include "mirror_impl.h"
#include "netns.h"
#include "mirror_copy.h"

struct world {
	struct event_base *base;
	struct mirror *mirror;
	struct copy told;
	unsigned bad;	  /* deletions of what was never there */
	unsigned settled; /* calls */
	bool open_batch;  /* told something, settled() is due */
	unsigned route_dels, route_news;
	unsigned unusable; /* links that became so, before their turn */
	int v0, v1;	   /* ifindexes of a veth pair */
	unsigned left_out; /* routes that were, all told */
	unsigned slow_ms;  /* how long who listens is busy with each neighbour or route */
};

static struct world w;

static void be_busy(void)
{
	uint64_t end = clock_now_ns() + w.slow_ms * 1000000ull;

	while (clock_now_ns() < end)
		;
}

static void told_link(void *arg, enum mirror_op op, const struct link *l, const struct link *old)
{
	w.open_batch = true;
	w.bad += !copy_link(&w.told, op, l);
	w.bad += (op == MIRROR_DEL && !old) || (old && old->ifindex != l->ifindex);
}

static void told_usable(void *arg, int ifindex)
{
	w.open_batch = true;
	w.unusable += !mirror_link_usable(w.mirror, ifindex);
}

static void told_addr(void *arg, enum mirror_op op, const struct link_addr *a)
{
	w.open_batch = true;
	w.bad += !copy_addr(&w.told, op, a);
}

static void told_neigh(void *arg, enum mirror_op op, const struct neigh *n)
{
	w.open_batch = true;
	w.bad += !copy_neigh(&w.told, op, n);
	be_busy();
}

static void told_route(void *arg, enum mirror_op op, const struct kroute *r)
{
	w.open_batch = true;
	*(op == MIRROR_NEW ? &w.route_news : &w.route_dels) += 1;
	w.bad += !copy_route(&w.told, op, r);
	be_busy();
}

static void told_left_out(void *arg, const struct kroute_left_out *r)
{
	assert_true(r->to.len >= 16 && (r->tos || r->from.len));
	w.left_out++;
}

static void told_settled(void *arg)
{
	w.open_batch = false;
	w.settled++;
}

static const struct mirror_listener listener = {
	.link = told_link,
	.usable = told_usable,
	.addr = told_addr,
	.neigh = told_neigh,
	.route = told_route,
	.left_out = told_left_out,
	.settled = told_settled,
};

/* Lets the event loop turn. */
static void turn(unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_base_loopexit(w.base, &tv);
	event_base_dispatch(w.base);
}

/* Between the three views. */
static unsigned differences(bool print)
{
	struct event_base *base = event_base_new();
	struct copy shown, fresh;
	struct mirror *m;
	unsigned n;

	assert_int_equal(mirror_open(base, NULL, &m, NULL), 0);
	copy_mirror(&shown, w.mirror);
	copy_mirror(&fresh, m);
	n = copy_differences(&w.told, &shown, "told", "shown", print) + copy_differences(&shown, &fresh, "shown", "fresh", print);
	n += mirror_left_out(w.mirror, NULL, NULL) != mirror_left_out(m, NULL, NULL);
	copy_free(&shown);
	copy_free(&fresh);
	mirror_close(m);
	event_base_free(base);
	return n;
}

/* Waits until the three views are equal; at most some 10 s: addresses are still being checked for duplicates, and the like. */
static void expect_equal(void)
{
	bool equal = false;

	for (unsigned i = 0; i < 100 && !equal; i++) {
		turn(60);
		equal = !differences(i == 99);
	}
	assert_true(equal);
	assert_int_equal(w.bad, 0);
	assert_false(w.open_batch);
	/* and no deletion was told of a route that the mirror did not have as the kernel had it */
	assert_int_equal(w.mirror->doubt.table[0], 0);
	assert_int_equal(w.mirror->doubt.table[1], 0);
}

/* An item as the mirror shows it, or "absent". */
static const char *__attribute__((format(printf, 1, 2))) copy_shown(const char *fmt, ...)
{
	static char text[4096];
	struct copy_item *item;
	struct copy shown;
	char key[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(key, sizeof(key), fmt, ap);
	va_end(ap);
	copy_mirror(&shown, w.mirror);
	item = copy_find(&shown, key);
	snprintf(text, sizeof(text), "%s", item ? item->text : "absent");
	copy_free(&shown);
	return text;
}

static const char *route_shown(const char *prefix, uint32_t table, uint32_t metric)
{
	return copy_shown("route %s table %u metric %u", prefix, table, metric);
}

static void __attribute__((format(printf, 4, 5))) expect_route(const char *prefix, uint32_t table, uint32_t metric,
							       const char *fmt, ...)
{
	char want[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	assert_string_equal(route_shown(prefix, table, metric), want);
}

/* Many commands in one process of ip(8): "route add 10.%u.%u.0/24 …" for i = 0 .. n - 1. */
static void ip_batch(unsigned n, const char *before, const char *after, unsigned net)
{
	FILE *f = popen("ip -batch -", "w");

	assert_non_null(f);
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "%s %u.%u.%u.0/24 %s\n", before, net, i / 256, i % 256, after);
	assert_int_equal(pclose(f), 0);
}

static int index_of(const char *name)
{
	return if_nametoindex(name);
}

static int setup(void **state)
{
	int r = netns_enter();

	memset(&w, 0, sizeof(w));
	if (r < 0 || ip_try("link set lo up") || ip_try("link add v0 type veth peer name v1") || ip_try("link set v0 up") ||
	    ip_try("link set v1 up"))
		return -1;
	w.v0 = index_of("v0");
	w.v1 = index_of("v1");
	w.base = event_base_new();
	r = mirror_open(w.base, &listener, &w.mirror, NULL);
	if (r < 0)
		return r;
	copy_mirror(&w.told, w.mirror);
	return 0;
}

static int teardown(void **state)
{
	mirror_close(w.mirror);
	copy_free(&w.told);
	event_base_free(w.base);
	return 0;
}

/* ---- links, addresses, neighbours */

/* Not every kernel has tunnels: as one that has tells of them. */
static void tunnel_told(const char *kind, uint16_t attr, const char *remote)
{
	char buf[512];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	struct nlattr *info, *data;
	struct in6_addr a;

	nlh->nlmsg_type = RTM_NEWLINK;
	ifi->ifi_index = 9999;
	ifi->ifi_flags = IFF_UP;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "tun9999");
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, kind);
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	if (inet_pton(AF_INET, remote, &a) == 1)
		mnl_attr_put(nlh, attr, 4, &a);
	else if (inet_pton(AF_INET6, remote, &a) == 1)
		mnl_attr_put(nlh, attr, 16, &a);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	assert_int_equal(mirror_link_message(w.mirror, nlh), 0);
}

static void tunnels_test(void **state)
{
	static const struct {
		const char *kind;
		uint16_t attr;
		const char *remote, *peer;
		uint8_t proto[2];
	} rows[] = {
		{"gre", 7, "192.0.2.1", "192.0.2.1", {47}},	      {"gretap", 7, "", "0.0.0.0", {47}},
		{"ip6gre", 7, "2001:db8::1", "2001:db8::1", {47}},    {"ip6gretap", 7, "", "::", {47}},
		{"ipip", 3, "192.0.2.2", "192.0.2.2", {4}},	      {"sit", 3, "192.0.2.3", "192.0.2.3", {41, 4}},
		{"ip6tnl", 3, "2001:db8::2", "2001:db8::2", {41, 4}}, {"vxlan", 3, "192.0.2.4", "::", {0}},
	};
	char text[ADDR_TEXT];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct link *l;

		tunnel_told(rows[i].kind, rows[i].attr, rows[i].remote);
		l = mirror_link(w.mirror, 9999);
		assert_non_null(l);
		assert_memory_equal(l->tunnel, rows[i].proto, 2);
		assert_string_equal(addr_text(&l->tunnel_peer, text), rows[i].peer);
	}
}

static void links_come_and_go_test(void **state)
{
	const struct link *l = mirror_link_by_name(w.mirror, "v0");

	assert_non_null(l);
	assert_int_equal(l->ifindex, w.v0);
	assert_string_equal(l->kind, "veth");
	assert_int_equal(l->peer_ifindex, w.v1);
	expect_equal();
	assert_true(l->carrier);
	ip("link set v1 down");
	expect_equal();
	assert_false(mirror_link(w.mirror, w.v0)->carrier);
	ip("link set v0 down");
	ip("link set v0 name other");
	ip("link set other mtu 1400 address 02:00:00:00:00:07");
	expect_equal();
	assert_null(mirror_link_by_name(w.mirror, "v0"));
	l = mirror_link_by_name(w.mirror, "other");
	assert_int_equal(l->ifindex, w.v0);
	assert_int_equal(l->mtu, 1400);
	assert_int_equal(l->mac[5], 7);
	assert_false(l->flags & IFF_UP);
	ip("link del other");
	expect_equal();
	assert_null(mirror_link(w.mirror, w.v0));
	assert_null(mirror_link(w.mirror, w.v1));
	assert_true(w.settled > 0);
}

/* A bridge tells of its ports in messages that look like a link's: a port that leaves is no link that goes. */
static void bridge_port_stays_a_link_test(void **state)
{
	ip("link add br0 type bridge");
	ip("link set v0 master br0");
	expect_equal();
	assert_int_equal(mirror_link(w.mirror, w.v0)->master, index_of("br0"));
	ip("link set v0 nomaster");
	expect_equal();
	assert_int_equal(mirror_link(w.mirror, w.v0)->master, 0);
	ip("link del br0");
	expect_equal();
}

static void peer_in_another_namespace_test(void **state)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		int r = netns_enter();

		byte = r == 0;
		if (write(ready[1], &byte, 1) == 1)
			sleep(20);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	ip("link set v1 netns %d", pid);
	expect_equal();
	assert_null(mirror_link(w.mirror, w.v1));
	assert_int_equal(mirror_link(w.mirror, w.v0)->peer_ifindex, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void addresses_and_neighbours_test(void **state)
{
	const char *shown;

	ip("addr add 10.1.0.1/24 dev v0");
	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	ip("addr add 10.2.0.1 peer 10.2.0.2/32 dev v1");
	ip("neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev v0");
	ip("neigh add 2001:db8:1::9 lladdr 02:00:00:00:00:09 dev v0");
	ip("neigh add proxy 10.1.0.77 dev v0");
	expect_equal();
	shown = copy_shown("neigh %d 10.1.0.77", w.v0);
	assert_string_equal(shown, "absent"); /* the host answers for it: no neighbour */
	shown = copy_shown("neigh %d 2001:db8:1::9", w.v0);
	assert_string_equal(shown, "family 6 state 80 flags 0 mac 02:00:00:00:00:09");
	assert_string_equal(copy_shown("addr %d 10.1.0.1/24", w.v0), "scope 0 flags 80 metric 0");
	assert_string_equal(copy_shown("addr %d 10.2.0.1/32", w.v1), "scope 0 flags 80 metric 0");
	ip("addr change 10.1.0.1/24 metric 4000000000 dev v0");
	ip("addr change 2001:db8:1::1/64 metric 77 dev v0");
	expect_equal();
	assert_string_equal(copy_shown("addr %d 10.1.0.1/24", w.v0), "scope 0 flags 80 metric 4000000000");
	assert_string_equal(copy_shown("addr %d 2001:db8:1::1/64", w.v0), "scope 0 flags 80 metric 77");
	ip("neigh change 10.1.0.9 lladdr 02:00:00:00:00:0a dev v0");
	ip("neigh del 2001:db8:1::9 dev v0");
	ip("addr del 10.2.0.1 peer 10.2.0.2/32 dev v1");
	expect_equal();
	/* all of it goes with the link */
	ip("link del v0");
	expect_equal();
}

/* ---- IPv4 routes */

static void ipv4_order_test(void **state)
{
	ip("addr add 10.1.0.1/24 dev v0");
	ip("route add 10.9.0.0/16 via 10.1.0.2");
	ip("route append 10.9.0.0/16 via 10.1.0.3");
	expect_equal();
	expect_route("10.9.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.2 weight 1", w.v0);
	ip("route prepend 10.9.0.0/16 via 10.1.0.4");
	expect_equal();
	expect_route("10.9.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.4 weight 1", w.v0);
	ip("route replace 10.9.0.0/16 via 10.1.0.5 mtu 1300");
	expect_equal();
	expect_route("10.9.0.0/16", 254, 0, "type 1 proto 3 mtu 1300, dev %d via 10.1.0.5 weight 1", w.v0);
	ip("route del 10.9.0.0/16 via 10.1.0.5");
	expect_equal();
	expect_route("10.9.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.2 weight 1", w.v0);
	ip("route del 10.9.0.0/16 via 10.1.0.2");
	ip("route del 10.9.0.0/16 via 10.1.0.3");
	expect_equal();
	expect_route("10.9.0.0/16", 254, 0, "absent");
}

static void ipv4_kinds_test(void **state)
{
	ip("addr add 10.1.0.1/24 dev v0");
	ip("route add blackhole 10.20.0.0/16 metric 7");
	ip("route add unreachable 10.21.0.0/16");
	ip("route add prohibit default table 1000 metric 4278198272");
	ip("route add 10.22.0.0/16 metric 5 nexthop via 10.1.0.2 weight 3 nexthop via 10.1.0.3 weight 1");
	ip("route add 10.23.0.0/16 via inet6 fe80::1 dev v0");
	ip("route add 10.24.0.0/16 via 172.16.0.1 dev v0 onlink");
	ip("route add 10.25.0.0/16 tos 0x10 via 10.1.0.2");
	expect_equal();
	expect_route("10.20.0.0/16", 254, 7, "type 6 proto 3 mtu 0");
	expect_route("0.0.0.0/0", 1000, 4278198272, "type 8 proto 3 mtu 0");
	expect_route("10.22.0.0/16", 254, 5, "type 1 proto 3 mtu 0, dev %d via 10.1.0.2 weight 3, dev %d via 10.1.0.3 weight 1",
		     w.v0, w.v0);
	expect_route("10.23.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via fe80::1 weight 1", w.v0);
	expect_route("10.24.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 172.16.0.1 weight 1 onlink", w.v0);
	expect_route("10.25.0.0/16", 254, 0, "absent"); /* only for one TOS */
	expect_route("10.1.0.1/32", 255, 0, "type 2 proto 2 mtu 0, dev %d via none weight 1", w.v0);
	ip("route flush table 1000");
	ip("route del 10.22.0.0/16");
	expect_equal();
	expect_route("10.22.0.0/16", 254, 5, "absent");
}

/* What cannot be done here is kept, and unusable: a shorter prefix must not take its packets. */
static void encapsulation_is_unusable_test(void **state)
{
	ip("addr add 10.1.0.1/24 dev v0");
	if (ip_try("route add 10.30.0.0/16 encap ip id 5 dst 10.1.0.2 dev v0 2>/dev/null"))
		ip("route add 10.30.0.0/16 encap mpls 100 via 10.1.0.2");
	expect_equal();
	assert_non_null(strstr(route_shown("10.30.0.0/16", 254, 0), "type 0 proto 3"));
}

/* The kernel says nothing of the IPv4 routes that go with a link's going down, with its last address, or with the preferred
 * source. */
static void ipv4_silent_losses_test(void **state)
{
	ip("addr add 10.1.0.1/24 dev v0");
	ip("addr add 10.2.0.1/24 dev v1");
	ip("addr add 10.3.0.1/32 dev lo");
	ip("route add 10.40.0.0/16 via 10.1.0.2");
	ip("route add 10.41.0.0/16 via 10.2.0.2");
	ip("route add 10.42.0.0/16 nexthop via 10.1.0.2 nexthop via 10.2.0.2");
	ip("route add 10.43.0.0/16 via 10.2.0.2 src 10.3.0.1");
	expect_equal();
	expect_route("10.43.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.2.0.2 weight 1", w.v1);
	ip("addr del 10.3.0.1/32 dev lo");
	expect_equal();
	expect_route("10.43.0.0/16", 254, 0, "absent");
	ip("link set v0 down");
	expect_equal();
	expect_route("10.40.0.0/16", 254, 0, "absent");
	expect_route("10.42.0.0/16", 254, 0,
		     "type 1 proto 3 mtu 0, dev %d via 10.2.0.2 weight 1 dead, dev %d via 10.1.0.2 weight 1 dead",
		     w.v1 < w.v0 ? w.v1 : w.v0, w.v1 < w.v0 ? w.v0 : w.v1);
	ip("link set v0 up");
	expect_equal();
	assert_false(w.mirror->doubt.n_links);
	expect_route("10.42.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.2.0.2 weight 1, dev %d via 10.1.0.2 weight 1",
		     w.v1 < w.v0 ? w.v1 : w.v0, w.v1 < w.v0 ? w.v0 : w.v1);
	ip("addr del 10.2.0.1/24 dev v1");
	expect_equal();
	expect_route("10.41.0.0/16", 254, 0, "absent");
	ip("link del v0");
	expect_equal();
	expect_route("10.42.0.0/16", 254, 0, "absent");
}

static void many_links_down_at_once_test(void **state)
{
	FILE *f = popen("ip -batch -", "w");

	for (unsigned i = 0; i < 20; i++) {
		fprintf(f, "link add a%u type veth peer name b%u\nlink set a%u up\nlink set b%u up\n", i, i, i, i);
		fprintf(f, "addr add 10.50.%u.1/24 dev a%u\nroute add 10.51.%u.0/24 via 10.50.%u.2\n", i, i, i, i);
	}
	assert_int_equal(pclose(f), 0);
	expect_equal();
	expect_route("10.51.19.0/24", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.50.19.2 weight 1", index_of("a19"));
	f = popen("ip -batch -", "w");
	for (unsigned i = 0; i < 20; i++)
		fprintf(f, i % 2 ? "link del a%u\n" : "link set a%u down\n", i);
	assert_int_equal(pclose(f), 0);
	expect_equal();
	expect_route("10.51.18.0/24", 254, 0, "absent");
	expect_route("10.51.19.0/24", 254, 0, "absent");
}

/* ---- IPv6 routes */

static void ipv6_multipath_test(void **state)
{
	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	ip("-6 route add 2001:db8:9::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:1::3");
	ip("-6 route append 2001:db8:9::/48 via 2001:db8:1::4");
	expect_equal();
	expect_route("2001:db8:9::/48", 254, 1024,
		     "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::2 weight 1, dev %d via 2001:db8:1::3 weight 1, "
		     "dev %d via 2001:db8:1::4 weight 1",
		     w.v0, w.v0, w.v0);
	ip("-6 route del 2001:db8:9::/48 via 2001:db8:1::3");
	expect_equal();
	expect_route("2001:db8:9::/48", 254, 1024,
		     "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::2 weight 1, dev %d via 2001:db8:1::4 weight 1", w.v0, w.v0);
	ip("-6 route replace 2001:db8:9::/48 nexthop via 2001:db8:1::5 weight 2 nexthop via 2001:db8:1::6");
	expect_equal();
	expect_route("2001:db8:9::/48", 254, 1024,
		     "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::5 weight 2, dev %d via 2001:db8:1::6 weight 1", w.v0, w.v0);
	ip("-6 route del 2001:db8:9::/48 nexthop via 2001:db8:1::5 nexthop via 2001:db8:1::6");
	expect_equal();
	expect_route("2001:db8:9::/48", 254, 1024, "absent");
}

/* Two devices with one prefix and metric are two routes, side by side; so is a gateway beside them. */
static void ipv6_same_metric_test(void **state)
{
	ip("-6 route add 2001:db8:a::/48 dev v0 metric 5");
	ip("-6 route append 2001:db8:a::/48 dev v1 metric 5");
	expect_equal();
	expect_route("2001:db8:a::/48", 254, 5, "type 1 proto 3 mtu 0, dev %d via none weight 1", w.v0);
	ip("-6 route del 2001:db8:a::/48 dev v0 metric 5");
	expect_equal();
	expect_route("2001:db8:a::/48", 254, 5, "type 1 proto 3 mtu 0, dev %d via none weight 1", w.v1);
	ip("-6 route append 2001:db8:a::/48 via fe80::1 dev v0 metric 5");
	ip("-6 route append 2001:db8:a::/48 via fe80::2 dev v0 metric 5");
	expect_equal();
	ip("-6 route replace 2001:db8:a::/48 dev v0 metric 5 mtu 1290");
	expect_equal();
	ip("-6 route add blackhole 2001:db8:b::/48");
	expect_equal();
	expect_route("2001:db8:b::/48", 254, 1024, "type 6 proto 3 mtu 0");
}

static void ipv6_links_go_test(void **state)
{
	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	ip("addr add 2001:db8:2::1/64 dev v1 nodad");
	ip("link add x0 type veth peer name x1");
	ip("link set x0 up");
	ip("link set x1 up");
	ip("-6 route add 2001:db8:c::/48 nexthop via 2001:db8:1::2 nexthop via fe80::9 dev x0");
	ip("-6 route add 2001:db8:d::/48 via 2001:db8:1::2");
	expect_equal();
	ip("link set x0 down");
	expect_equal();
	ip("link set x0 up");
	expect_equal();
	ip("link del x0");
	expect_equal();
	expect_route("2001:db8:c::/48", 254, 1024, "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::2 weight 1", w.v0);
	ip("link set v0 down");
	expect_equal();
	expect_route("2001:db8:d::/48", 254, 1024, "absent");
}

/* With this sysctl the kernel says nothing of IPv6 routes either. */
static void ipv6_silent_losses_test(void **state)
{
	int r;

	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	ip("link add x0 type veth peer name x1");
	ip("link set x0 up");
	ip("link set x1 up");
	ip("-6 route add 2001:db8:d::/48 via fe80::9 dev x0");
	ip("-6 route add 2001:db8:c::/48 nexthop via 2001:db8:1::2 nexthop via fe80::9 dev x0");
	r = netns_write("/proc/sys/net/ipv6/route/skip_notify_on_dev_down", "1");
	if (r == -ENOENT || r == -EACCES) {
		print_message("SKIP ipv6_silent_losses_test: without root there is no sysctl skip_notify_on_dev_down\n");
		skip();
	}
	assert_int_equal(r, 0);
	expect_equal();
	ip("link del x0");
	expect_equal();
	expect_route("2001:db8:c::/48", 254, 1024, "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::2 weight 1", w.v0);
	expect_route("2001:db8:d::/48", 254, 1024, "absent");
}

/* ---- nexthop objects */

static void nexthop_objects_test(void **state)
{
	ip("addr add 10.1.0.1/24 dev v0");
	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	ip("nexthop add id 1 via 10.1.0.2 dev v0");
	ip("nexthop add id 2 via 10.1.0.3 dev v0");
	ip("nexthop add id 6 via 2001:db8:1::2 dev v0");
	ip("nexthop add id 10 group 1,5/2");
	ip("route add 10.60.0.0/16 nhid 10");
	ip("route add 10.61.0.0/16 nhid 1");
	ip("route add 10.62.0.0/16 nhid 6");
	ip("-6 route add 2001:db8:60::/48 nhid 6");
	expect_equal();
	expect_route("10.60.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.2 weight 5, dev %d via 10.1.0.3 weight 1",
		     w.v0, w.v0);
	expect_route("10.62.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::2 weight 1", w.v0);
	expect_route("2001:db8:60::/48", 254, 1024, "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::2 weight 1", w.v0);
	ip("nexthop replace id 1 via 10.1.0.7 dev v0");
	ip("nexthop replace id 6 via 2001:db8:1::7 dev v0");
	w.route_news = 0;
	expect_equal();
	assert_int_equal(w.route_news, 4);
	expect_route("10.61.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.7 weight 1", w.v0);
	expect_route("2001:db8:60::/48", 254, 1024, "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::7 weight 1", w.v0);
	ip("nexthop replace id 10 group 2");
	expect_equal();
	expect_route("10.60.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.3 weight 1", w.v0);
	ip("nexthop replace id 1 blackhole");
	expect_equal();
	expect_route("10.61.0.0/16", 254, 0, "type 6 proto 3 mtu 0");
	ip("nexthop replace id 1 via 10.1.0.8 dev v0");
	expect_equal();
	expect_route("10.61.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.8 weight 1", w.v0);
}

/* Deleting an object deletes its routes; those of IPv4 in silence. */
static void nexthop_objects_go_test(void **state)
{
	ip("addr add 10.1.0.1/24 dev v0");
	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	ip("nexthop add id 1 via 10.1.0.2 dev v0");
	ip("nexthop add id 2 via 10.1.0.3 dev v0");
	ip("nexthop add id 6 via 2001:db8:1::2 dev v0");
	ip("nexthop add id 10 group 1/2");
	ip("route add 10.60.0.0/16 nhid 10");
	ip("route add 10.61.0.0/16 nhid 1");
	ip("-6 route add 2001:db8:60::/48 nhid 6");
	expect_equal();
	ip("nexthop del id 1");
	ip("nexthop add id 1 via 10.1.0.4 dev v0"); /* the number again, at once: no route came back with it */
	expect_equal();
	expect_route("10.61.0.0/16", 254, 0, "absent");
	expect_route("10.60.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.3 weight 1", w.v0);
	ip("nexthop del id 6");
	ip("nexthop del id 2");
	expect_equal();
	expect_route("10.60.0.0/16", 254, 0, "absent");
	expect_route("2001:db8:60::/48", 254, 1024, "absent");
}

static void nexthop_objects_and_links_test(void **state)
{
	ip("addr add 10.1.0.1/24 dev v0");
	ip("addr add 10.2.0.1/24 dev v1");
	ip("link add x0 type veth peer name x1");
	ip("link set x0 up");
	ip("link set x1 up");
	ip("nexthop add id 1 via 10.1.0.2 dev v0");
	ip("nexthop add id 2 via fe80::3 dev x0");
	ip("nexthop add id 10 group 1/2");
	ip("route add 10.60.0.0/16 nhid 10");
	ip("route add 10.61.0.0/16 nhid 2");
	ip("-6 route add 2001:db8:61::/48 nhid 2");
	expect_equal();
	ip("link set x1 down"); /* x0 loses its carrier, and with it its objects, and with them their routes: all in silence */
	expect_equal();
	expect_route("10.60.0.0/16", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.2 weight 1", w.v0);
	expect_route("10.61.0.0/16", 254, 0, "absent");
	expect_route("2001:db8:61::/48", 254, 1024, "absent");
}

/* Routes for one TOS alone are not followed, which is told, counted, and over when they go, with a word or without one. */
static void left_out_test(void **state)
{
	int tiny = 4096;

	ip("addr add 10.1.0.1/24 dev v0");
	ip("route add 10.9.0.0/16 tos 0x10 via 10.1.0.2 metric 7");
	ip("route add 10.9.0.0/16 tos 0x08 via 10.1.0.2 metric 7");
	ip("route add 10.9.0.0/16 via 10.1.0.3 metric 8");
	expect_equal();
	assert_int_equal(w.left_out, 2);
	assert_int_equal(mirror_left_out(w.mirror, NULL, NULL), 2);
	expect_route("10.9.0.0/16", 254, 8, "type 1 proto 3 mtu 0, dev %d via 10.1.0.3 weight 1", w.v0);
	ip("route replace 10.9.0.0/16 tos 0x08 via 10.1.0.4 metric 7");
	ip("route del 10.9.0.0/16 tos 0x10 metric 7");
	expect_equal();
	assert_int_equal(w.left_out, 2);
	assert_int_equal(mirror_left_out(w.mirror, NULL, NULL), 1);
	ip("link set v0 down");
	expect_equal();
	assert_int_equal(mirror_left_out(w.mirror, NULL, NULL), 0);
	ip("link set v0 up");
	assert_int_equal(setsockopt(mnl_socket_get_fd(w.mirror->events), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	ip_batch(1000, "route add", "tos 4 via 10.1.0.3", 21);
	ip_batch(1000, "route add", "tos 8 via 10.1.0.3", 22);
	expect_equal();
	assert_true(mirror_resyncs(w.mirror) >= 1);
	assert_int_equal(mirror_left_out(w.mirror, NULL, NULL), 1024);
	assert_true(mirror_left_out_more(w.mirror));
	ip_batch(1000, "route del", "tos 4", 21);
	expect_equal(); /* whichever of them were kept, those that there was no room for are known now */
	expect_equal();
	assert_int_equal(mirror_left_out(w.mirror, NULL, NULL), 1000);
	assert_false(mirror_left_out_more(w.mirror));
	ip_batch(1000, "route del", "tos 8", 22);
	expect_equal();
	assert_int_equal(mirror_left_out(w.mirror, NULL, NULL), 0);
}

static void expect_left_out(size_t n)
{
	expect_equal();
	assert_int_equal(mirror_left_out(w.mirror, NULL, NULL), n);
}

/* They go in silence as others do, also where no other route uses what takes them along; and of several with one prefix, TOS and
 * metric it is known which one goes. */
static void left_out_goes_test(void **state)
{
	ip("link set v1 mtu 1000"); /* no IPv6 there, and none of its routes */
	ip("addr add 10.1.0.1/24 dev v0");
	ip("route add 10.8.0.0/16 tos 0x10 via 10.1.0.2");
	ip("route append 10.8.0.0/16 tos 0x10 via 10.1.0.3");
	ip("route add 10.9.0.0/16 tos 0x10 dev v1");
	expect_left_out(2);
	ip("route del 10.8.0.0/16 tos 0x10 via 10.1.0.2");
	expect_left_out(2);
	ip("route del 10.8.0.0/16 tos 0x10 via 10.1.0.3");
	expect_left_out(1);
	ip("link set v1 down");
	expect_left_out(0);
	ip("link set v1 up");
	ip("nexthop add id 7 via 10.1.0.2 dev v0");
	ip("route add 10.8.0.0/16 tos 0x10 nhid 7");
	ip("route add 10.9.0.0/16 tos 0x10 dev v1 src 10.1.0.1");
	ip("route add 10.10.0.0/16 tos 0x10 nexthop via 10.1.0.2 nexthop via 10.1.0.3");
	expect_left_out(3);
	ip("nexthop del id 7");
	expect_left_out(2);
	ip("addr del 10.1.0.1/24 dev v0");
	expect_left_out(0);
	ip("addr add 10.1.0.1/24 dev v0");
	ip("route add 10.10.0.0/16 tos 0x10 nexthop via 10.1.0.2 nexthop dev v1");
	expect_left_out(1);
	ip("link del v0");
	expect_left_out(0);
}

/* Routes for one source prefix alone, joined or single. */
static void left_out_by_source_test(void **state)
{
	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	if (ip_try("-6 route add 2001:db8:9::/48 from 2001:db8:1::/48 via 2001:db8:1::2 2>/dev/null")) {
		print_message("SKIP left_out_by_source_test: a kernel without CONFIG_IPV6_SUBTREES\n");
		return;
	}
	ip("-6 route add 2001:db8:9::/48 from 2001:db8:2::/48 nexthop via 2001:db8:1::3 nexthop via 2001:db8:1::4");
	ip("-6 route add 2001:db8:9::/48 via 2001:db8:1::5");
	expect_left_out(2);
	expect_route("2001:db8:9::/48", 254, 1024, "type 1 proto 3 mtu 0, dev %d via 2001:db8:1::5 weight 1", w.v0);
	ip("-6 route del 2001:db8:9::/48 from 2001:db8:2::/48 via 2001:db8:1::3");
	expect_left_out(2);
	ip("-6 route del 2001:db8:9::/48 from 2001:db8:2::/48 via 2001:db8:1::4");
	expect_left_out(1);
	ip("link set v0 down");
	expect_left_out(0);
}

/* ---- losing events */

static void overrun_test(void **state)
{
	int tiny = 4096;

	ip("addr add 10.1.0.1/24 dev v0");
	ip_batch(2000, "route add", "via 10.1.0.2", 20);
	expect_equal();
	assert_int_equal(mirror_resyncs(w.mirror), 0);
	assert_int_equal(setsockopt(mnl_socket_get_fd(w.mirror->events), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	ip_batch(20000, "route add", "via 10.1.0.3", 21);
	ip_batch(1000, "route del", "", 20);
	ip("link set v1 mtu 1333");
	ip("neigh add 10.1.0.99 lladdr 02:00:00:00:00:63 dev v0");
	expect_equal();
	assert_true(mirror_resyncs(w.mirror) >= 1);
	expect_route("21.78.31.0/24", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.3 weight 1", w.v0);
	expect_route("20.3.231.0/24", 254, 0, "absent");
	expect_route("20.3.232.0/24", 254, 0, "type 1 proto 3 mtu 0, dev %d via 10.1.0.2 weight 1", w.v0);
	/* everything silently lost, and the message of it too */
	ip_batch(5000, "route replace", "via 10.1.0.4", 21);
	ip("link del v0");
	expect_equal();
	assert_true(mirror_resyncs(w.mirror) >= 2);
	expect_route("21.78.31.0/24", 254, 0, "absent");
}

/* The loop is not held up: while 20000 routes are dumped again, no turn of it lasts long. */
static void resync_in_slices_test(void **state)
{
	struct timespec a, b;
	double longest = 0, ms;
	unsigned turns = 0;
	int tiny = 4096;

	ip("addr add 10.1.0.1/24 dev v0");
	assert_int_equal(setsockopt(mnl_socket_get_fd(w.mirror->events), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	ip_batch(50000, "route add", "via 10.1.0.3", 21);
	for (unsigned settled = w.settled; w.mirror->routes.n < 50000 && turns < 10000; turns++) {
		clock_gettime(CLOCK_MONOTONIC, &a);
		event_base_loop(w.base, EVLOOP_ONCE);
		clock_gettime(CLOCK_MONOTONIC, &b);
		ms = (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6;
		if (w.settled != settled && ms > longest)
			longest = ms;
		settled = w.settled;
	}
	assert_true(w.mirror->routes.n >= 50000);
	assert_true(turns > 4);
	print_message("resync of 50000 routes: %u turns, the longest %.1f ms\n", turns, longest);
	expect_equal();
}

/* ---- what does not wait for its turn */

/* As while a plan runs, or routes wait: neighbours are known, and links known to be down, nevertheless; nothing else of them. */
static void links_and_neighbours_do_not_wait_test(void **state)
{
	unsigned settled = w.settled;

	ip("addr add 10.1.0.1/24 dev v0");
	ip("route add 10.9.0.0/16 via 10.1.0.2");
	expect_equal();
	event_del(w.mirror->on_events);
	ip("neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev v0 nud stale");
	turn(50);
	assert_string_equal(copy_shown("neigh %d 10.1.0.9", w.v0), "family 4 state 4 flags 0 mac 02:00:00:00:00:09");
	assert_true(w.settled > settled);
	assert_true(mirror_link_usable(w.mirror, w.v0));
	ip("link set v1 down");
	turn(50);
	assert_false(mirror_link_usable(w.mirror, w.v0));
	assert_int_equal(w.unusable, 2); /* v1 too */
	assert_true(mirror_link(w.mirror, w.v0)->carrier);
	ip("link set v1 up");
	turn(50);
	assert_false(mirror_link_usable(w.mirror, w.v0));
	event_add(w.mirror->on_events, NULL);
	expect_equal();
	assert_true(mirror_link_usable(w.mirror, w.v0));
	assert_int_equal(w.unusable, 2);
	assert_int_equal(w.mirror->early.n, 0);
}

/* News of a link that is gone, with its neighbours, are taken in order; the next link of the number has neighbours meanwhile. */
static void number_of_a_link_again_test(void **state)
{
	ip("link add x0 index 777 type veth peer name x1");
	ip("link set x0 up");
	ip("link set x1 up");
	ip("neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev x0");
	expect_equal();
	event_del(w.mirror->on_events);
	ip("link del x0");
	ip("link add y0 index 777 type veth peer name y1");
	ip("link set y0 up");
	ip("link set y1 up");
	ip("neigh add 10.1.0.10 lladdr 02:00:00:00:00:0a dev y0");
	turn(50);
	assert_false(mirror_link_usable(w.mirror, 777));
	assert_string_equal(mirror_link(w.mirror, 777)->name, "x0");
	assert_string_equal(copy_shown("neigh %d 10.1.0.9", 777), "absent");
	event_add(w.mirror->on_events, NULL);
	expect_equal();
	assert_string_equal(copy_shown("neigh %d 10.1.0.10", 777), "family 4 state 80 flags 0 mac 02:00:00:00:00:0a");
	assert_true(mirror_link_usable(w.mirror, 777));
}

/* As with routes: what takes who listens long is told in several turns. */
static void neighbours_in_slices_test(void **state)
{
	FILE *f = popen("ip -batch -", "w");
	uint64_t begun, longest = 0;
	unsigned turns = 0;

	for (unsigned i = 1; i <= 100; i++)
		fprintf(f, "neigh add 10.1.0.%u lladdr 02:00:00:00:00:09 dev v0\n", i);
	assert_int_equal(pclose(f), 0);
	for (w.slow_ms = 1; w.mirror->neighs.n < 100 && turns < 1000; turns++) {
		begun = clock_now_ns();
		event_base_loop(w.base, EVLOOP_ONCE);
		if (clock_now_ns() - begun > longest)
			longest = clock_now_ns() - begun;
	}
	w.slow_ms = 0;
	print_message("100 neighbours: %u turns, the longest %.1f ms\n", turns, longest / 1e6);
	assert_int_equal(w.mirror->neighs.n, 100);
	assert_true(turns >= 20);
	expect_equal();
}

/* A link that went and came in what an overrun took away is usable after the dump, not only when no routes' events wait. */
static void blink_in_an_overrun_test(void **state)
{
	int tiny = 4096, large = 1 << 20;

	ip("addr add 10.1.0.1/24 dev v0");
	ip("route add 10.9.0.0/16 via 10.1.0.2");
	expect_equal();
	event_del(w.mirror->on_events);
	ip("link set v1 down");
	ip("link set v1 up");
	turn(50);
	assert_false(mirror_link_usable(w.mirror, w.v0));
	assert_int_equal(setsockopt(mnl_socket_get_fd(w.mirror->events), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	ip_batch(1000, "route add", "via 10.1.0.3", 21);
	assert_int_equal(setsockopt(mnl_socket_get_fd(w.mirror->events), SOL_SOCKET, SO_RCVBUF, &large, sizeof(large)), 0);
	event_add(w.mirror->on_events, NULL);
	while (w.mirror->plan.pos == w.mirror->plan.n)
		event_base_loop(w.base, EVLOOP_ONCE);
	assert_int_equal(mirror_resyncs(w.mirror), 1);
	ip_batch(200, "route add", "via 10.1.0.4", 22);
	while (w.mirror->plan.pos < w.mirror->plan.n)
		event_base_loop(w.base, EVLOOP_ONCE);
	w.slow_ms = 4;
	event_base_loop(w.base, EVLOOP_ONCE);
	w.slow_ms = 0;
	assert_true(mirror_events_wait(w.mirror));
	assert_true(mirror_link_usable(w.mirror, w.v0));
	expect_equal();
	assert_int_equal(w.mirror->early.n, 0);
}

/* Of both sockets: neighbours are compared with the kernel's; of links the rest of the mirror tells. */
static void early_overrun_test(void **state)
{
	FILE *f = popen("ip -batch -", "w");
	int tiny = 4096;

	assert_int_equal(setsockopt(mnl_socket_get_fd(w.mirror->neighs_now), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	assert_int_equal(setsockopt(mnl_socket_get_fd(w.mirror->links_now), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	for (unsigned i = 1; i < 200; i++) {
		fprintf(f, "neigh add 10.1.0.%u lladdr 02:00:00:00:00:09 dev v0\n", i);
		if (i % 2)
			fprintf(f, "neigh del 10.1.0.%u dev v0\n", i);
		fprintf(f, "link set v1 %s\n", i % 2 ? "down" : "up");
	}
	assert_int_equal(pclose(f), 0);
	expect_equal();
	assert_true(mirror_resyncs(w.mirror) >= 1);
	assert_string_equal(copy_shown("neigh %d 10.1.0.198", w.v0), "family 4 state 80 flags 0 mac 02:00:00:00:00:09");
	assert_false(mirror_link_usable(w.mirror, w.v0));
	ip("link set v1 up");
	expect_equal();
	assert_true(mirror_link_usable(w.mirror, w.v0));
	assert_int_equal(w.mirror->early.n, 0);
}

/* Routes and neighbours that change while dumps run: nothing is lost between the two sockets. */
static void changes_during_dumps_test(void **state)
{
	pid_t pid;
	int status;

	ip("addr add 10.1.0.1/24 dev v0");
	ip("addr add 2001:db8:1::1/64 dev v0 nodad");
	ip_batch(5000, "route add", "via 10.1.0.2", 20);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		FILE *f = popen("ip -force -batch - >/dev/null 2>&1", "w");

		for (unsigned i = 0; f && i < 30000; i++) {
			unsigned k = i * 7919u % 5000;

			fprintf(f, "route %s 20.%u.%u.0/24 via 10.1.0.%u\n", i % 3 ? "replace" : "del", k / 256, k % 256,
				2 + i % 5);
			if (i % 3 == 0)
				fprintf(f, "neigh %s 10.1.0.%u lladdr 02:00:00:00:00:%02x dev v0\n", i % 2 ? "replace" : "del",
					2 + k % 250, k % 251);
			if (i % 10 == 0)
				fprintf(f, "-6 route %s 2001:db8:%x::/48 via 2001:db8:1::%u\n", i % 20 ? "append" : "replace",
					k % 100 + 256, 2 + i % 7);
		}
		if (f)
			pclose(f);
		_exit(0);
	}
	do {
		w.mirror->doubt.memory = true; /* asks for everything anew */
		mirror_finish_batch(w.mirror);
		event_active(w.mirror->on_audit, EV_TIMEOUT, 0);
		turn(20);
	} while (waitpid(pid, &status, WNOHANG) == 0);
	expect_equal();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(links_come_and_go_test),
		T(tunnels_test),
		T(bridge_port_stays_a_link_test),
		T(peer_in_another_namespace_test),
		T(addresses_and_neighbours_test),
		T(ipv4_order_test),
		T(ipv4_kinds_test),
		T(encapsulation_is_unusable_test),
		T(ipv4_silent_losses_test),
		T(many_links_down_at_once_test),
		T(ipv6_multipath_test),
		T(ipv6_same_metric_test),
		T(ipv6_links_go_test),
		T(ipv6_silent_losses_test),
		T(nexthop_objects_test),
		T(nexthop_objects_go_test),
		T(nexthop_objects_and_links_test),
		T(left_out_test),
		T(left_out_goes_test),
		T(left_out_by_source_test),
		T(overrun_test),
		T(resync_in_slices_test),
		T(links_and_neighbours_do_not_wait_test),
		T(number_of_a_link_again_test),
		T(neighbours_in_slices_test),
		T(blink_in_an_overrun_test),
		T(early_overrun_test),
		T(changes_during_dumps_test),
	};
	int r = netns_become_root();

	if (r == 0)
		r = netns_enter();
	if (r < 0) {
		fprintf(stderr, "SKIP mirror_test: no network namespace may be made here: %s\n", strerror(-r));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
