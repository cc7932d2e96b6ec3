/* mirror_route_test.c: routes as messages tell them, without a kernel: how alternatives are merged, and what malformed messages
 * do (nothing). The messages are put together here from the structs of linux/rtnetlink.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/socket.h>
#include "mirror_impl.h"
#include "mirror_copy.h"

static struct mirror *m;
static char told[8192]; /* "+ROUTE\n" and "-ROUTE\n" */
static char buf[4096];
static struct nlmsghdr *nlh;

static void told_route(void *arg, enum mirror_op op, const struct kroute *r)
{
	char text[1024], prefix[PREFIX_TEXT];

	route_to_text(r, text, sizeof(text));
	snprintf(told + strlen(told), sizeof(told) - strlen(told), "%c%s %s\n", op == MIRROR_NEW ? '+' : '-',
		 prefix_text(&r->to, prefix), text);
}

static int setup(void **state)
{
	const struct mirror_listener listener = {.route = told_route};

	told[0] = '\0';
	return mirror_new(&listener, &m);
}

static int teardown(void **state)
{
	mirror_close(m);
	return 0;
}

/* ---- building messages */

static void put_addr(uint16_t type, const char *text)
{
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	if (family == 4)
		mnl_attr_put(nlh, type, 4, &a.a32[3]);
	else
		mnl_attr_put(nlh, type, 16, &a);
}

static struct rtmsg *begin(uint16_t type, uint16_t flags, const char *prefix)
{
	struct prefix p;
	struct rtmsg *rtm;

	memset(buf, 0, sizeof(buf));
	assert_int_equal(prefix_parse(prefix, 0, true, &p), 0);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = flags;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = p.family == 4 ? AF_INET : AF_INET6;
	rtm->rtm_dst_len = p.len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_type = RTN_UNICAST;
	rtm->rtm_protocol = RTPROT_STATIC;
	if (p.len) {
		char text[ADDR_TEXT];

		put_addr(RTA_DST, addr_text(&p.addr, text));
	}
	return rtm;
}

static void put_way(const char *gateway, int dev)
{
	if (gateway)
		put_addr(RTA_GATEWAY, gateway);
	mnl_attr_put_u32(nlh, RTA_OIF, dev);
}

/* A route through these gateways on device 5, ended by NULL; one of them is written plainly. */
static void route(uint16_t type, uint16_t flags, const char *prefix, ...)
{
	const char *gateway, *first, *second;
	struct nlattr *nest;
	va_list ap;

	begin(type, flags, prefix);
	va_start(ap, prefix);
	first = va_arg(ap, const char *);
	second = va_arg(ap, const char *);
	va_end(ap);
	if (!second) {
		put_way(first, 5);
	} else {
		nest = mnl_attr_nest_start(nlh, RTA_MULTIPATH);
		va_start(ap, prefix);
		while ((gateway = va_arg(ap, const char *))) {
			struct rtnexthop *hop = mnl_nlmsg_put_extra_header(nlh, sizeof(*hop));

			hop->rtnh_ifindex = 5;
			put_addr(RTA_GATEWAY, gateway);
			hop->rtnh_len = (char *)mnl_nlmsg_get_payload_tail(nlh) - (char *)hop;
		}
		va_end(ap);
		mnl_attr_nest_end(nlh, nest);
	}
	assert_int_equal(mirror_message(m, nlh, false), 0);
}

#define new4(flags, ...) route(RTM_NEWROUTE, flags, "10.0.0.0/8", __VA_ARGS__, NULL, NULL)
#define del4(...)	 route(RTM_DELROUTE, 0, "10.0.0.0/8", __VA_ARGS__, NULL, NULL)
#define new6(flags, ...) route(RTM_NEWROUTE, flags, "2001:db8::/32", __VA_ARGS__, NULL, NULL)
#define del6(...)	 route(RTM_DELROUTE, 0, "2001:db8::/32", __VA_ARGS__, NULL, NULL)

static void expect_told(const char *want)
{
	assert_string_equal(told, want);
	told[0] = '\0';
}

#define V4(x)  "10.0.0.0/8 type 1 proto 4 mtu 0, dev 5 via 192.0.2." x " weight 1 dead\n"
#define V6     "2001:db8::/32 type 1 proto 4 mtu 0"
#define VIA(x) ", dev 5 via fe80::" x " weight 1 dead"

/* ---- tests */

static void ipv4_alternatives_test(void **state)
{
	new4(NLM_F_CREATE | NLM_F_EXCL, "192.0.2.1");
	expect_told("+" V4("1"));
	new4(NLM_F_CREATE | NLM_F_APPEND, "192.0.2.2");
	expect_told("");
	new4(NLM_F_CREATE, "192.0.2.3"); /* goes first */
	expect_told("+" V4("3"));
	new4(NLM_F_CREATE, "192.0.2.3"); /* told a second time */
	expect_told("");
	new4(NLM_F_REPLACE, "192.0.2.4"); /* in place of the first */
	expect_told("+" V4("4"));
	del4("192.0.2.2");
	expect_told("");
	del4("192.0.2.4");
	expect_told("+" V4("1"));
	del4("192.0.2.4"); /* is gone already: not another one instead */
	expect_told("");
	del4("192.0.2.1");
	expect_told("-" V4("1"));
	assert_int_equal(m->routes.n, 0);
	assert_int_equal(m->sets.n, 0);
}

static void ipv6_siblings_test(void **state)
{
	new6(NLM_F_CREATE | NLM_F_EXCL, "fe80::1");
	expect_told("+" V6 VIA("1") "\n");
	new6(NLM_F_CREATE | NLM_F_APPEND, "fe80::1", "fe80::2"); /* the message shows them all */
	expect_told("+" V6 VIA("1") VIA("2") "\n");
	new6(NLM_F_CREATE | NLM_F_APPEND, "fe80::3", "fe80::2", "fe80::1"); /* in any order */
	expect_told("+" V6 VIA("1") VIA("2") VIA("3") "\n");
	new6(NLM_F_CREATE | NLM_F_APPEND, "fe80::2", "fe80::3", "fe80::1");
	expect_told("");
	del6("fe80::2"); /* one of them */
	expect_told("+" V6 VIA("1") VIA("3") "\n");
	del6("fe80::2");
	expect_told("");
	new6(NLM_F_REPLACE, "fe80::9");
	expect_told("+" V6 VIA("9") "\n");
	new6(NLM_F_CREATE | NLM_F_APPEND, "fe80::8", "fe80::9");
	told[0] = '\0';
	del6("fe80::8", "fe80::9"); /* the whole */
	expect_told("-" V6 VIA("8") VIA("9") "\n");
	assert_int_equal(m->routes.n, 0);
}

/* A device without gateway does not join: it stands beside, and REPLACE replaces its like. */
static void ipv6_kinds_test(void **state)
{
	new6(NLM_F_CREATE | NLM_F_EXCL, (char *)NULL);
	expect_told("+" V6 ", dev 5 via none weight 1 dead\n");
	new6(NLM_F_CREATE | NLM_F_APPEND, "fe80::1");
	expect_told("");
	new6(NLM_F_REPLACE, "fe80::2");
	expect_told("");
	del6((char *)NULL);
	expect_told("+" V6 VIA("2") "\n");
	del6("fe80::2");
	expect_told("-" V6 VIA("2") "\n");
	assert_int_equal(m->routes.n, 0);
}

static void sets_are_shared_test(void **state)
{
	char prefix[PREFIX_TEXT];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(prefix, sizeof(prefix), "10.%u.%u.0/24", i / 256, i % 256);
		route(RTM_NEWROUTE, NLM_F_CREATE, prefix, "192.0.2.1", NULL, NULL);
	}
	assert_int_equal(m->routes.n, 1000);
	assert_int_equal(m->sets.n, 1);
}

static void left_out_test(void **state)
{
	begin(RTM_NEWROUTE, NLM_F_CREATE, "10.0.0.0/8")->rtm_tos = 16;
	put_way("192.0.2.1", 5);
	assert_int_equal(mirror_message(m, nlh, false), 0);
	begin(RTM_NEWROUTE, NLM_F_CREATE, "10.0.0.0/8")->rtm_flags = RTM_F_CLONED;
	put_way("192.0.2.1", 5);
	assert_int_equal(mirror_message(m, nlh, false), 0);
	begin(RTM_NEWROUTE, NLM_F_CREATE, "2001:db8::/32")->rtm_src_len = 64;
	put_way("fe80::1", 5);
	assert_int_equal(mirror_message(m, nlh, false), 0);
	begin(RTM_NEWROUTE, NLM_F_CREATE, "10.0.0.0/8")->rtm_family = AF_BRIDGE;
	assert_int_equal(mirror_message(m, nlh, false), 0);
	assert_int_equal(m->routes.n, 0);
}

/* Every route of every length that a message can be cut off at, and a byte of it turned over: no crash, and no way out of the
 * message. The sanitizers watch. */
static void mangled_test(void **state)
{
	char whole[4096], *cut;
	size_t len;

	new6(NLM_F_CREATE, "fe80::1", "fe80::2", "fe80::3");
	len = nlh->nlmsg_len;
	memcpy(whole, buf, len);
	for (size_t n = sizeof(struct nlmsghdr); n <= len; n++) {
		cut = malloc(n);
		memcpy(cut, whole, n);
		((struct nlmsghdr *)cut)->nlmsg_len = n;
		assert_int_equal(mirror_message(m, (struct nlmsghdr *)cut, false), 0);
		free(cut);
	}
	for (size_t at = sizeof(struct nlmsghdr); at < len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			cut = malloc(len);
			memcpy(cut, whole, len);
			cut[at] ^= 1 << bit;
			assert_int_equal(mirror_message(m, (struct nlmsghdr *)cut, false), 0);
			((struct nlmsghdr *)cut)->nlmsg_type = RTM_DELROUTE;
			assert_int_equal(mirror_message(m, (struct nlmsghdr *)cut, false), 0);
			free(cut);
		}
	}
	assert_true(m->routes.n < 2000);
}

/* The same for the other kinds, made of a header and attributes of every type with every short length. */
static void mangled_others_test(void **state)
{
	static const uint16_t types[] = {RTM_NEWLINK,  RTM_DELLINK,  RTM_NEWADDR,    RTM_DELADDR,
					 RTM_NEWNEIGH, RTM_DELNEIGH, RTM_NEWNEXTHOP, RTM_DELNEXTHOP};
	static const uint8_t families[] = {AF_UNSPEC, AF_INET, AF_INET6};
	const char bytes[20] = {1, 0, 0, 0, 7};

	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		for (size_t f = 0; f < 3; f++) {
			for (unsigned size = 0; size <= sizeof(bytes); size++) {
				char *copy;

				memset(buf, 0, sizeof(buf));
				nlh = mnl_nlmsg_put_header(buf);
				nlh->nlmsg_type = types[t];
				*(uint8_t *)mnl_nlmsg_put_extra_header(nlh, 4 + size % 4 * 4) = families[f];
				if (nlh->nlmsg_len >= 24)
					buf[20] = 3;
				for (unsigned a = 0; a < 64; a++)
					mnl_attr_put(nlh, a, size, bytes);
				copy = malloc(nlh->nlmsg_len);
				memcpy(copy, buf, nlh->nlmsg_len);
				assert_int_equal(mirror_message(m, (struct nlmsghdr *)copy, false), 0);
				free(copy);
			}
		}
	}
	assert_int_equal(m->routes.n, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(ipv4_alternatives_test), T(ipv6_siblings_test), T(ipv6_kinds_test),	  T(sets_are_shared_test),
		T(left_out_test),	   T(mangled_test),	  T(mangled_others_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
