/* rib_test.c: which of several routes is in force, where it leads, what happens when links go, and what when tables are full.
 * Over memory of the test's own; interfaces 1..9, up or down as the test says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "fib_grace.h"
#include "rib_util.h"

/* Grace periods end when the test says so; nothing here may wait for one. */
static uint64_t grace_asked, grace_done;

void fib_grace_period(void)
{
	fail_msg("a grace period is waited for");
}

uint64_t fib_grace_ask(void)
{
	return ++grace_asked;
}

bool fib_grace_over(uint64_t ticket)
{
	return ticket <= grace_done;
}

/* The clock; or each look at it is so much later than the one before. */
static uint64_t step_ns, stepped_ns;

uint64_t clock_now_ns(void)
{
	return step_ns ? (stepped_ns += step_ns) : clock_read_ns(CLOCK_MONOTONIC);
}

/* Distance before metric before source; the next best takes over. */
static void preference_test(void **arg)
{
	struct state *s = *arg;
	struct prefix p = pfx("10.9.0.0/16");

	put(s, "10.9.0.0/16", RIB_KERNEL, 110, 10, via("10.0.0.3", 3, 1));
	put(s, "10.9.0.0/16", RIB_STATIC, 1, 100, via("10.0.0.1", 1, 1));
	put(s, "10.9.0.0/16", RIB_STATIC, 1, 50, via("10.0.0.2", 2, 1));
	assert_true(settle(s));
	assert_via(s, "10.9.1.1", "10.0.0.2", 2);
	assert_false(view(s, "10.9.0.0/16", RIB_STATIC, 100).active);
	assert_string_equal(view(s, "10.9.0.0/16", RIB_STATIC, 100).reason, "another route is better");
	assert_false(settle(s));
	rib_remove(s->rib, 0, &p, RIB_STATIC, 0, 50);
	assert_true(settle(s));
	assert_via(s, "10.9.1.1", "10.0.0.1", 1);
	put(s, "10.9.0.0/16", RIB_KERNEL, 0, 10, via("10.0.0.3", 3, 1)); /* its distance changes its rank */
	settle(s);
	assert_via(s, "10.9.1.1", "10.0.0.3", 3);
	rib_remove(s->rib, 0, &p, RIB_KERNEL, 0, 10);
	rib_remove(s->rib, 0, &p, RIB_STATIC, 0, 100);
	settle(s);
	assert_int_equal(result(s, "10.9.1.1"), 0);
	assert_int_equal(rib_count(s->rib), 0);
	assert_int_equal(fib_size(s->m.fib).routes4, 0);
}

static void types_test(void **arg)
{
	struct state *s = *arg;

	put_type(s, "10.0.0.1/32", RIB_LOCAL, NEXTHOP_LOCAL);
	put_type(s, "10.1.0.0/16", RIB_STATIC, NEXTHOP_BLACKHOLE);
	put_type(s, "2001:db8::/32", RIB_STATIC, NEXTHOP_PROHIBIT);
	put(s, "10.0.0.0/24", RIB_CONNECTED, 0, 0, via(NULL, 4, 1));
	settle(s);
	assert_int_equal(nexthop_at(s->ns, result(s, "10.0.0.1"))->type, NEXTHOP_LOCAL);
	assert_int_equal(nexthop_at(s->ns, result(s, "10.1.2.3"))->type, NEXTHOP_BLACKHOLE);
	assert_int_equal(nexthop_at(s->ns, result(s, "2001:db8::1"))->type, NEXTHOP_PROHIBIT);
	assert_via(s, "10.0.0.2", NULL, 4);
}

/* A link goes: the route is kept, inactive, with the reason, and the next best serves; the link comes: all as before. */
/* One that leaves by a netdev which is not the switch's is behind every other of its prefix, and before all shorter ones. */
static void outside_test(void **arg)
{
	struct rib_route_spec spec = {
		.to = pfx("10.0.0.0/8"), .source = RIB_KERNEL, .distance = 10, .type = NEXTHOP_OUTSIDE, .outside = 7};
	struct state *s = *arg;

	put(s, "0.0.0.0/0", RIB_STATIC, 1, 0, via("192.0.2.1", 1, 1));
	put(s, "10.0.0.0/8", RIB_KERNEL, 200, 9000, via("192.0.2.2", 2, 1));
	assert_int_equal(rib_put(s->rib, &spec), 0);
	settle(s);
	assert_via(s, "10.1.2.3", "192.0.2.2", 2);
	links(s, 2, true);
	assert_int_equal(s->nh[result(s, "10.1.2.3")].type, NEXTHOP_OUTSIDE);
	assert_int_equal(view(s, "10.0.0.0/8", RIB_KERNEL, 0).outside, 7);
	spec.type = NEXTHOP_HOST;
	assert_int_equal(rib_put(s->rib, &spec), 0);
	settle(s);
	assert_int_equal(s->nh[result(s, "10.1.2.3")].type, NEXTHOP_HOST);
	links(s, 2, false);
	assert_via(s, "10.1.2.3", "192.0.2.2", 2);
	/* its netdev becomes an interface of the switch: it takes its place by distance */
	spec.type = NEXTHOP_GATEWAY;
	spec.outside = 0;
	spec.nexthops = &(struct rib_nexthop){.iface = 3, .weight = 1};
	spec.n = 1;
	assert_int_equal(rib_put(s->rib, &spec), 0);
	settle(s);
	assert_int_equal(s->nh[result(s, "10.1.2.3")].iface, 3);
}

static void link_test(void **arg)
{
	struct state *s = *arg;

	put(s, "0.0.0.0/0", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1));
	put(s, "0.0.0.0/0", RIB_STATIC, 1, 10, via("10.0.0.2", 2, 1));
	settle(s);
	assert_via(s, "192.0.2.1", "10.0.0.1", 1);
	s->down[1] = true;
	rib_links_changed(s->rib);
	assert_true(settle(s));
	assert_via(s, "192.0.2.1", "10.0.0.2", 2);
	assert_false(view(s, "0.0.0.0/0", RIB_STATIC, 0).active);
	assert_string_equal(view(s, "0.0.0.0/0", RIB_STATIC, 0).reason, "the interface is down");
	links(s, 2, true);
	assert_int_equal(result(s, "192.0.2.1"), 0);
	s->down[1] = s->down[2] = false;
	rib_links_changed(s->rib);
	settle(s);
	assert_via(s, "192.0.2.1", "10.0.0.1", 1);
}

/* A gateway without an interface follows the routes: connected, over another gateway, and never the default route or itself. */
static void recursion_test(void **arg)
{
	struct state *s = *arg;
	struct prefix p = pfx("10.0.0.0/24");

	put(s, "0.0.0.0/0", RIB_STATIC, 1, 0, via("10.0.0.1", 0, 1));
	settle(s);
	assert_int_equal(result(s, "192.0.2.1"), 0);
	assert_string_equal(view(s, "0.0.0.0/0", RIB_STATIC, 0).reason, "no interface reaches the gateway");
	put(s, "10.0.0.0/24", RIB_CONNECTED, 0, 0, via(NULL, 4, 1));
	put(s, "172.16.0.0/12", RIB_STATIC, 1, 0, via("10.0.0.9", 0, 1));
	put(s, "198.51.100.0/24", RIB_STATIC, 1, 0, via("172.16.5.5", 0, 1));
	put(s, "203.0.113.0/24", RIB_STATIC, 1, 0, via("203.0.113.7", 0, 1));
	settle(s);
	assert_via(s, "192.0.2.1", "10.0.0.1", 4);
	assert_via(s, "172.16.5.5", "10.0.0.9", 4);
	assert_via(s, "198.51.100.1", "10.0.0.9", 4);
	assert_false(view(s, "203.0.113.0/24", RIB_STATIC, 0).active);
	/* the link below all of them moves to another interface, and goes */
	put(s, "10.0.0.0/24", RIB_CONNECTED, 0, 0, via(NULL, 5, 1));
	settle(s);
	assert_via(s, "198.51.100.1", "10.0.0.9", 5);
	rib_remove(s->rib, 0, &p, RIB_CONNECTED, 0, 0);
	settle(s);
	assert_int_equal(result(s, "198.51.100.1"), 0);
	assert_int_equal(result(s, "192.0.2.1"), 0);
}

/* Routes that lead to each other are nobody's way, and settling comes to an end. */
static void loop_test(void **arg)
{
	struct state *s = *arg;
	struct prefix p = pfx("10.0.0.0/24");

	put(s, "10.0.0.0/24", RIB_CONNECTED, 0, 0, via(NULL, 4, 1));
	put(s, "10.1.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 0, 1));
	put(s, "10.2.0.0/16", RIB_STATIC, 1, 0, via("10.1.0.1", 0, 1));
	settle(s);
	assert_via(s, "10.2.0.1", "10.0.0.1", 4);
	put(s, "10.1.0.0/16", RIB_STATIC, 1, 0, via("10.2.0.1", 0, 1));
	settle(s);
	settle(s);
	assert_int_equal(result(s, "10.1.0.1"), 0);
	assert_int_equal(result(s, "10.2.0.1"), 0);
	rib_remove(s->rib, 0, &p, RIB_CONNECTED, 0, 0);
	settle(s);
}

/* A gateway within the very prefix of its route is looked for in the shorter ones, as the kernel does it; and what was found
 * stays found when everything is worked out again. */
static void own_prefix_test(void **arg)
{
	struct state *s = *arg;
	int i;

	put(s, "10.0.0.0/8", RIB_CONNECTED, 0, 0, via(NULL, 1, 1));
	put(s, "10.1.0.0/16", RIB_STATIC, 1, 0, via("10.1.0.1", 0, 1));
	for (i = 0; i < 4; i++) {
		settle(s);
		assert_via(s, "10.1.2.3", "10.1.0.1", 1);
		assert_true(i == 0 || !settle(s));
		rib_links_changed(s->rib);
	}
	/* two that each hold the gateway of the other */
	put(s, "10.2.0.0/16", RIB_STATIC, 1, 0, via("10.3.0.1", 0, 1));
	put(s, "10.3.0.0/16", RIB_STATIC, 1, 0, via("10.2.0.1", 0, 1));
	for (i = 0; i < 4; i++) {
		settle(s);
		assert_int_not_equal(result(s, "10.2.0.9"), 0);
		assert_int_not_equal(result(s, "10.3.0.9"), 0);
		assert_true(i == 0 || !settle(s));
		rib_links_changed(s->rib);
	}
}

/* 256 gateways, each behind a route of 256, and so on: followed as far as a group holds nexthops, and no further. */
static void many_over_many_test(void **arg)
{
	struct state *s = *arg;
	struct rib_nexthop nh[NHG_MEMBERS];
	clock_t begin = clock();
	char text[64];
	int level, i;

	put(s, "10.0.0.0/24", RIB_CONNECTED, 0, 0, via(NULL, 1, 1));
	for (level = 1; level <= RIB_DEPTH; level++) {
		for (i = 0; i < NHG_MEMBERS; i++) {
			snprintf(text, sizeof(text), "10.%d.0.%d", level - 1, 1 + i % 8);
			nh[i] = via(text, 0, 1);
		}
		snprintf(text, sizeof(text), "10.%d.0.0/24", level);
		assert_int_equal(try_put(s, text, RIB_STATIC, 1, 0, nh, NHG_MEMBERS), 0);
	}
	settle(s);
	assert_int_not_equal(result(s, "10.1.0.9"), 0);
	assert_int_not_equal(result(s, "10.3.0.9"), 0);
	assert_true((clock() - begin) / CLOCKS_PER_SEC < 2);
}

/* ECMP: one of three links down moves its share alone, without touching the FIB; a route replaced by one with fewer nexthops
 * keeps the choices. */
static void group_test(void **arg)
{
	struct rib_nexthop nh[3] = {via("10.0.0.1", 1, 1), via("10.0.0.2", 2, 1), via("10.0.0.3", 3, 1)};
	uint32_t shares[3], before, after, i, n, same = 0;
	const struct nhg_member *m;
	struct state *s = *arg;

	assert_int_equal(try_put(s, "10.9.0.0/16", RIB_KERNEL, 20, 0, nh, 3), 0);
	settle(s);
	before = result(s, "10.9.0.1");
	assert_true(before & NEXTHOP_IS_GROUP);
	before &= ~NEXTHOP_IS_GROUP;
	assert_int_equal(nhg_members(s->ns, before, &m, shares, 3), 3);
	for (i = 0; i < 3; i++)
		assert_in_range(shares[i], 21, 22);
	s->down[2] = true;
	rib_links_changed(s->rib);
	assert_false(settle(s));
	nhg_members(s->ns, before, &m, shares, 3);
	assert_int_equal(shares[1], 0);
	links(s, 2, false);
	nhg_members(s->ns, before, &m, shares, 3);
	assert_in_range(shares[1], 21, 22);

	assert_int_equal(try_put(s, "10.9.0.0/16", RIB_KERNEL, 20, 0, nh, 2), 0);
	settle(s);
	after = result(s, "10.9.0.1") & ~NEXTHOP_IS_GROUP;
	assert_int_not_equal(before, after);
	n = s->groups[after].mask + 1;
	for (i = 0; i < n; i++)
		same += s->buckets[s->groups[after].base + i].nexthop == s->buckets[s->groups[before].base + i].nexthop;
	assert_in_range(same, 42, 43);
}

/* Mark and sweep: what a source does not name again goes, the others' stay. */
static void sweep_test(void **arg)
{
	struct state *s = *arg;

	put(s, "10.1.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1));
	put(s, "10.2.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1));
	put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, via("10.0.0.2", 1, 1));
	settle(s);
	rib_begin(s->rib, RIB_STATIC);
	put(s, "10.2.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1));
	rib_sweep(s->rib, RIB_STATIC);
	settle(s);
	assert_via(s, "10.1.0.1", "10.0.0.2", 1);
	assert_via(s, "10.2.0.1", "10.0.0.1", 1);
	assert_int_equal(rib_count(s->rib), 2);
}

/* A full FIB refuses by name; when there is room again the route comes into force by itself. */
static void fib_full_test(void **arg)
{
	struct prefix p = pfx("10.1.0.0/16"), other = pfx("10.3.0.0/16");
	struct errs errs = {0};
	struct state *s = *arg;

	fib_limit(s->m.fib, 1, 10);
	put(s, "10.1.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1));
	settle(s);
	assert_int_equal(rib_refused(s->rib, true, &errs), 0);
	put(s, "10.2.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1));
	settle(s);
	assert_int_equal(rib_refused(s->rib, true, &errs), -E2BIG);
	assert_non_null(strstr(errs.v[0].text, "10.2.0.0/16"));
	assert_string_equal(view(s, "10.2.0.0/16", RIB_STATIC, 0).reason, "the table of routes is full");
	rib_remove(s->rib, 0, &p, RIB_STATIC, 0, 0);
	settle(s);
	settle(s);
	assert_int_equal(rib_refused(s->rib, true, &errs), 0);
	assert_via(s, "10.2.0.1", "10.0.0.1", 1);
	/* one of the kernel's counts as the configuration's while that has one of the same prefix */
	put(s, "10.3.0.0/16", RIB_KERNEL, 20, 0, via("10.0.0.1", 1, 1));
	settle(s);
	assert_int_equal(rib_refused(s->rib, true, &errs), 0);
	assert_int_equal(rib_refused(s->rib, false, &errs), -E2BIG);
	put(s, "10.3.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1));
	settle(s);
	assert_int_equal(rib_refused(s->rib, true, &errs), -E2BIG);
	rib_remove(s->rib, 0, &other, RIB_STATIC, 0, 0);
	settle(s);
	assert_int_equal(rib_refused(s->rib, true, &errs), 0);
	assert_int_equal(rib_refused(s->rib, false, &errs), -E2BIG);
	errs_free(&errs);
}

/* The same for nexthops; a kernel route that found no room does not stop a commit. */
static void nexthops_full_test(void **arg)
{
	struct state *s = *arg;
	struct errs errs = {0};
	char text[32];
	int i;

	for (i = 0; i < N_NH + 3; i++) {
		snprintf(text, sizeof(text), "10.%d.0.0/16", i);
		put(s, text, RIB_KERNEL, 20, 0, via(i % 2 ? "192.0.2.1" : "192.0.2.2", 1, 1 + i));
		snprintf(text, sizeof(text), "192.0.3.%d", i);
		put(s, "10.0.0.0/8", RIB_KERNEL, 20, i, via(text, 1, 1));
	}
	settle(s);
	assert_int_equal(rib_refused(s->rib, true, &errs), 0);
	assert_int_equal(rib_refused(s->rib, false, &errs), -E2BIG);
	rib_begin(s->rib, RIB_KERNEL);
	put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, via("192.0.9.9", 1, 1));
	rib_sweep(s->rib, RIB_KERNEL);
	settle(s);
	grace_done = grace_asked;
	settle(s);
	assert_int_equal(rib_refused(s->rib, false, NULL), 0);
	assert_via(s, "10.1.0.1", "192.0.9.9", 1);
	errs_free(&errs);
}

/* ---- tables, and from VRF to VRF */

static void put_in(struct state *s, uint16_t vrf, const char *to, uint8_t source, uint8_t distance, uint32_t table, uint8_t rank,
		   uint32_t metric, struct rib_nexthop nh)
{
	struct rib_route_spec spec = {.vrf = vrf,
				      .to = pfx(to),
				      .source = source,
				      .distance = distance,
				      .metric = metric,
				      .table = table,
				      .rank = rank,
				      .type = source == RIB_CONNECTED ? NEXTHOP_CONNECTED
					      : source == RIB_LOCAL   ? NEXTHOP_LOCAL
								      : NEXTHOP_GATEWAY,
				      .nexthops = &nh,
				      .n = source != RIB_LOCAL};

	assert_int_equal(rib_put(s->rib, &spec), 0);
}

static void remove_from(struct state *s, uint16_t vrf, const char *to, uint8_t source, uint32_t table, uint32_t metric)
{
	struct prefix p = pfx(to);

	rib_remove(s->rib, vrf, &p, source, table, metric);
}

/* Interface of the nexthop that an address of a VRF leaves by; 0: no route; -1: the host's. */
static int way(struct state *s, uint16_t vrf, const char *text)
{
	struct addr a;
	uint8_t family;
	uint32_t id;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	id = nexthop_now(s->ns, fib_lookup(s->m.fib, vrf, &a));
	if (!id)
		return 0;
	return nexthop_at(s->ns, id)->type == NEXTHOP_LOCAL ? -1 : nexthop_at(s->ns, id)->iface;
}

/* The same prefix and metric in two tables of a VRF: distance, then the order of the tables, then metric. */
static void tables_test(void **arg)
{
	struct state *s = *arg;

	put_in(s, 1, "10.9.0.0/16", RIB_KERNEL, 20, 101, 0, 500, via("10.0.0.1", 1, 1));
	put_in(s, 1, "10.9.0.0/16", RIB_KERNEL, 20, 102, 1, 5, via("10.0.0.2", 2, 1));
	put_in(s, 1, "10.9.0.0/16", RIB_KERNEL, 20, 102, 1, 500, via("10.0.0.4", 4, 1));
	settle(s);
	assert_int_equal(way(s, 1, "10.9.0.1"), 1);
	put_in(s, 1, "10.9.0.0/16", RIB_KERNEL, 10, 103, 2, 900, via("10.0.0.3", 3, 1));
	settle(s);
	assert_int_equal(way(s, 1, "10.9.0.1"), 3);
	remove_from(s, 1, "10.9.0.0/16", RIB_KERNEL, 103, 900);
	remove_from(s, 1, "10.9.0.0/16", RIB_KERNEL, 101, 500);
	settle(s);
	assert_int_equal(way(s, 1, "10.9.0.1"), 2);
	put_in(s, 1, "10.9.3.0/24", RIB_KERNEL, 200, 103, 2, 0, via("10.0.0.3", 3, 1)); /* longer is better, in whatever table */
	settle(s);
	assert_int_equal(way(s, 1, "10.9.3.1"), 3);
	assert_int_equal(way(s, 1, "10.9.4.1"), 2);
	assert_int_equal(rib_installed(s->rib, 1, 4), 2);
	assert_int_equal(rib_installed(s->rib, 1, 6), 0);
}

static struct prefix_filter filter(const char *to, uint8_t ge, uint8_t le, bool deny)
{
	return (struct prefix_filter){.to = pfx(to), .ge = ge, .le = le, .deny = deny};
}

static struct rib_view imported(struct state *s, const char *to)
{
	struct find f = {.to = pfx(to), .source = RIB_IMPORT};

	assert_int_equal(rib_each(s->rib, RIB_IMPORT, see, &f), 1);
	return f.v;
}

/* Filtered by prefix, follows every change, and ends with the rule. */
static void import_test(void **arg)
{
	struct state *s = *arg;
	struct prefix_filter f[] = {filter("10.5.0.0/16", 16, 32, true), filter("10.0.0.0/8", 8, 24, false)};
	struct rib_import rule = {.from = 1, .to = 2, .prefixes = f, .n = 2};

	put_in(s, 1, "10.1.0.0/16", RIB_STATIC, 1, 0, 0, 0, via("10.0.0.1", 1, 1));
	put_in(s, 1, "10.5.1.0/24", RIB_STATIC, 1, 0, 0, 0, via("10.0.0.1", 1, 1));
	put_in(s, 1, "10.1.1.0/25", RIB_STATIC, 1, 0, 0, 0, via("10.0.0.1", 1, 1));
	put_in(s, 1, "11.0.0.0/8", RIB_STATIC, 1, 0, 0, 0, via("10.0.0.1", 1, 1));
	assert_int_equal(rib_imports_set(s->rib, &rule, 1), 0);
	settle(s);
	assert_int_equal(way(s, 2, "10.1.1.1"), 1);
	assert_int_equal(way(s, 2, "10.5.1.1"), 0);
	assert_int_equal(way(s, 2, "11.1.1.1"), 0);
	assert_int_equal(rib_installed(s->rib, 2, 4), 1);
	assert_int_equal(imported(s, "10.1.0.0/16").from, 1);
	assert_int_equal(imported(s, "10.1.0.0/16").origin, RIB_STATIC);
	assert_true(imported(s, "10.1.0.0/16").active);

	put_in(s, 1, "10.1.0.0/16", RIB_STATIC, 1, 0, 0, 0, via("10.0.0.2", 2, 1));
	put_in(s, 1, "10.2.0.0/16", RIB_KERNEL, 20, 101, 0, 7, via("10.0.0.3", 3, 1));
	settle(s);
	assert_int_equal(way(s, 2, "10.1.1.1"), 2);
	assert_int_equal(way(s, 2, "10.2.1.1"), 3);
	put_in(s, 1, "10.2.0.0/16", RIB_STATIC, 1, 0, 0, 9, via("10.0.0.4", 4, 1)); /* a better one there is the one here */
	settle(s);
	assert_int_equal(way(s, 2, "10.2.1.1"), 4);
	links(s, 4, true);
	assert_int_equal(way(s, 2, "10.2.1.1"), 3);
	remove_from(s, 1, "10.2.0.0/16", RIB_KERNEL, 101, 7);
	remove_from(s, 1, "10.2.0.0/16", RIB_STATIC, 0, 9);
	settle(s);
	assert_int_equal(way(s, 2, "10.2.1.1"), 0);

	rule.n = 0; /* all */
	assert_int_equal(rib_imports_set(s->rib, &rule, 1), 0);
	settle(s);
	assert_int_equal(way(s, 2, "11.1.1.1"), 1);
	assert_int_equal(way(s, 2, "10.5.1.1"), 1);
	assert_int_equal(rib_imports_set(s->rib, NULL, 0), 0);
	settle(s);
	assert_int_equal(rib_installed(s->rib, 2, 4), 0);
	assert_int_equal(rib_count(s->rib), 4);
}

/* In a circle of three nothing goes further than one step, and a VRF's own route is better than any import. */
static void import_circle_test(void **arg)
{
	struct state *s = *arg;
	struct rib_import rules[] = {{.from = 1, .to = 2}, {.from = 2, .to = 3}, {.from = 3, .to = 1}, {.from = 2, .to = 1}};

	assert_int_equal(rib_imports_set(s->rib, rules, 4), 0);
	put_in(s, 1, "10.1.0.0/16", RIB_KERNEL, 200, 101, 0, 0, via("10.0.0.1", 1, 1));
	settle(s);
	assert_int_equal(way(s, 2, "10.1.1.1"), 1);
	assert_int_equal(way(s, 3, "10.1.1.1"), 0);
	put_in(s, 2, "10.1.0.0/16", RIB_STATIC, 1, 0, 0, 0, via("10.0.0.2", 2, 1));
	settle(s);
	assert_int_equal(way(s, 1, "10.1.1.1"), 1);
	assert_int_equal(way(s, 2, "10.1.1.1"), 2);
	assert_int_equal(way(s, 3, "10.1.1.1"), 2);
	remove_from(s, 1, "10.1.0.0/16", RIB_KERNEL, 101, 0);
	settle(s);
	assert_int_equal(way(s, 1, "10.1.1.1"), 2);
	remove_from(s, 2, "10.1.0.0/16", RIB_STATIC, 0, 0);
	assert_true(settle(s));
	assert_int_equal(rib_count(s->rib), 0);
	assert_false(settle(s));
}

/* A connected prefix brings the interface's address along, unless the VRF has the prefix itself: then a station may have it. */
static void import_connected_test(void **arg)
{
	struct state *s = *arg;
	struct prefix_filter f = filter("10.0.0.0/8", 24, 24, false);
	struct rib_import rule = {.from = 1, .to = 0, .prefixes = &f, .n = 1};

	put_in(s, 1, "10.1.1.0/24", RIB_CONNECTED, 0, 0, 0, 0, via(NULL, 1, 1));
	put_in(s, 1, "10.1.1.1/32", RIB_LOCAL, 0, 0, 0, 0, via(NULL, 0, 1));
	put_in(s, 1, "10.2.2.2/32", RIB_LOCAL, 0, 0, 0, 0, via(NULL, 0, 1));
	assert_int_equal(rib_imports_set(s->rib, &rule, 1), 0);
	settle(s);
	assert_int_equal(way(s, 0, "10.1.1.9"), 1);
	assert_int_equal(way(s, 0, "10.1.1.1"), -1);
	assert_int_equal(way(s, 0, "10.2.2.2"), 0);
	put_in(s, 0, "10.1.1.0/24", RIB_CONNECTED, 0, 0, 0, 0, via(NULL, 5, 1));
	settle(s);
	assert_int_equal(way(s, 0, "10.1.1.9"), 5);
	assert_int_equal(way(s, 0, "10.1.1.1"), 5);
	remove_from(s, 0, "10.1.1.0/24", RIB_CONNECTED, 0, 0);
	settle(s);
	assert_int_equal(way(s, 0, "10.1.1.1"), -1);
	remove_from(s, 1, "10.1.1.0/24", RIB_CONNECTED, 0, 0);
	settle(s);
	assert_int_equal(way(s, 0, "10.1.1.9"), 0);
}

/* A gateway is looked up in the VRF of the route that names it, also when that route stands in another. */
static void import_recursion_test(void **arg)
{
	struct state *s = *arg;
	struct rib_import rule = {.from = 1, .to = 2};

	put_in(s, 1, "10.0.0.0/24", RIB_CONNECTED, 0, 0, 0, 0, via(NULL, 1, 1));
	put_in(s, 2, "10.0.0.0/24", RIB_CONNECTED, 0, 0, 0, 0, via(NULL, 2, 1));
	put_in(s, 1, "10.8.0.0/16", RIB_STATIC, 1, 0, 0, 0, via("10.0.0.9", 0, 1));
	put_in(s, 2, "10.9.0.0/16", RIB_STATIC, 1, 0, 0, 0, via("10.8.0.1", 0, 1));
	assert_int_equal(rib_imports_set(s->rib, &rule, 1), 0);
	settle(s);
	assert_int_equal(way(s, 2, "10.8.1.1"), 1);
	assert_int_equal(way(s, 2, "10.9.1.1"), 1);
	assert_int_equal(way(s, 2, "10.0.0.9"), 2);
}

/* What one route of a named group says, all do, at once and without the FIB being written; a group of the same content is
 * another. */
static void named_group_test(void **arg)
{
	struct rib_nexthop nh[3] = {via("10.0.0.1", 1, 1), via("10.0.0.2", 2, 1), via("10.0.0.3", 3, 1)};
	struct rib_route_spec spec = {
		.source = RIB_STATIC, .distance = 1, .type = NEXTHOP_GATEWAY, .nexthops = nh, .n = 2, .group = "uplinks"};
	static const char *const to[] = {"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"};
	struct state *s = *arg;
	const struct nhg_member *m;
	uint32_t was, base;

	for (int i = 0; i < 3; i++) {
		spec.to = pfx(to[i]);
		assert_int_equal(rib_put(s->rib, &spec), 0);
	}
	spec.to = pfx("10.4.0.0/16");
	spec.group = "others";
	assert_int_equal(rib_put(s->rib, &spec), 0);
	settle(s);
	was = result(s, "10.1.0.1");
	assert_true(was & NEXTHOP_IS_GROUP);
	assert_int_equal(result(s, "10.3.0.1"), was);
	assert_int_not_equal(result(s, "10.4.0.1"), was);
	base = s->groups[was & ~NEXTHOP_IS_GROUP].base;

	spec.to = pfx("10.2.0.0/16");
	spec.group = "uplinks";
	spec.n = 3;
	assert_int_equal(rib_put(s->rib, &spec), 0);
	assert_true(settle(s)); /* flows decide again */
	assert_false(settle(s));
	assert_int_equal(result(s, "10.1.0.1"), was);
	assert_int_equal(result(s, "10.2.0.1"), was);
	assert_int_not_equal(s->groups[was & ~NEXTHOP_IS_GROUP].base, base);
	assert_int_equal(nhg_members(s->ns, was & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 3);
	assert_int_equal(nhg_members(s->ns, result(s, "10.4.0.1") & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 2);
	assert_int_equal(view(s, "10.3.0.0/16", RIB_STATIC, 0).n, 3);

	/* one member is a group still; none that can be used is none, and comes back as one */
	spec.n = 1;
	assert_int_equal(rib_put(s->rib, &spec), 0);
	settle(s);
	assert_int_equal(result(s, "10.3.0.1"), was);
	links(s, 1, true);
	assert_int_equal(result(s, "10.3.0.1"), 0);
	links(s, 1, false);
	assert_true(result(s, "10.3.0.1") & NEXTHOP_IS_GROUP);
	assert_int_equal(result(s, "10.3.0.1"), result(s, "10.1.0.1"));
}

#define MANY 40 /* members: 1024 buckets */

/* Routes by as many large groups as leave room for none more of them; `nh`: the nexthops of the last one. */
static void put_large_groups(struct state *s, struct rib_nexthop nh[MANY])
{
	char text[32];

	for (int i = 0; i < N_BUCKETS / 1024 - 1; i++) {
		for (int k = 0; k < MANY; k++) {
			snprintf(text, sizeof(text), "10.0.1.%d", 1 + (i + k) % 50);
			nh[k] = via(text, 1, 1);
		}
		snprintf(text, sizeof(text), "10.%d.0.0/16", 100 + i);
		assert_int_equal(try_put(s, text, RIB_KERNEL, 20, 0, nh, MANY), 0);
	}
}

/* A group that finds no room for what it becomes stays what it is, says why, and becomes it when there is room: after the grace
 * period of another one's buckets, which nobody waits for. */
static void no_room_test(void **arg)
{
	struct rib_nexthop nh[MANY], two[2] = {via("10.0.0.1", 1, 1), via("10.0.0.2", 2, 1)};
	struct rib_route_spec spec = {.to = pfx("10.1.0.0/16"),
				      .source = RIB_STATIC,
				      .distance = 1,
				      .type = NEXTHOP_GATEWAY,
				      .nexthops = two,
				      .n = 2,
				      .group = "uplinks"};
	struct prefix gone = pfx("10.103.0.0/16");
	struct state *s = *arg;
	struct errs errs = {0};
	const struct nhg_member *m;
	uint32_t was;
	bool changed;

	grace_asked = grace_done = 0;
	assert_int_equal(rib_put(s->rib, &spec), 0);
	put_large_groups(s, nh);
	settle(s);
	assert_int_equal(rib_refused(s->rib, false, NULL), 0);
	was = result(s, "10.1.0.1");
	assert_int_equal(nhg_members(s->ns, was & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 2);

	spec.nexthops = nh;
	spec.n = MANY;
	assert_int_equal(rib_put(s->rib, &spec), 0);
	settle(s);
	assert_int_equal(result(s, "10.1.0.1"), was);
	assert_int_equal(nhg_members(s->ns, was & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 2);
	assert_true(view(s, "10.1.0.0/16", RIB_STATIC, 0).active);
	assert_string_equal(view(s, "10.1.0.0/16", RIB_STATIC, 0).reason,
			    "the table of nexthops is full: it leads as it did before");
	assert_int_equal(rib_refused(s->rib, true, &errs), -E2BIG);
	assert_string_equal(errs.v[0].text, "route 10.1.0.0/16: the table of nexthops is full: it leads as it did before");
	errs_free(&errs);
	assert_false(rib_pending(s->rib)); /* nothing would come of it */

	rib_remove(s->rib, 0, &gone, RIB_KERNEL, 0, 0);
	settle(s); /* it is out of the FIB */
	grace_done = grace_asked;
	settle(s); /* packets have had time to leave it */
	assert_int_equal(rib_settle(s->rib, 0, &changed), 0);
	assert_true(rib_pending(s->rib) && grace_asked > grace_done);
	assert_true(rib_waits(s->rib));
	assert_int_equal(result(s, "10.1.0.1"), was);
	assert_int_equal(nhg_members(s->ns, was & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 2);
	put(s, "10.90.0.0/16", RIB_STATIC, 1, 0, via("10.0.0.1", 1, 1)); /* nothing that it would wait with */
	assert_false(rib_waits(s->rib));
	assert_int_equal(rib_settle(s->rib, 0, &changed), 0);
	assert_via(s, "10.90.0.1", "10.0.0.1", 1);
	assert_true(rib_waits(s->rib));
	grace_done = grace_asked;
	settle(s);
	assert_false(rib_pending(s->rib) || rib_waits(s->rib));
	assert_int_equal(result(s, "10.1.0.1"), was);
	assert_int_equal(nhg_members(s->ns, was & ~NEXTHOP_IS_GROUP, &m, NULL, 0), MANY);
	assert_null(view(s, "10.1.0.0/16", RIB_STATIC, 0).reason);
	assert_int_equal(rib_refused(s->rib, true, NULL), 0);
}

/* A route of its own, without a named group: the same. It keeps its old ways until there is room, and gives up what it kept. */
static void plain_no_room_test(void **arg)
{
	struct rib_nexthop nh[MANY], two[2] = {via("10.0.0.1", 1, 1), via("10.0.0.2", 2, 1)}, one = via("10.0.0.3", 3, 1);
	struct prefix gone = pfx("10.100.0.0/16"), other = pfx("10.101.0.0/16");
	struct state *s = *arg;
	const struct nhg_member *m;
	uint32_t was, single;
	bool changed;
	int i;

	grace_asked = grace_done = 0;
	assert_int_equal(try_put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, two, 2), 0);
	assert_int_equal(try_put(s, "10.2.0.0/16", RIB_KERNEL, 20, 0, &one, 1), 0);
	put_large_groups(s, nh);
	settle(s);
	was = result(s, "10.1.0.1");
	single = result(s, "10.2.0.1");
	assert_true(was && single);

	nh[0] = via("10.0.1.50", 1, 7); /* a group that nobody has */
	assert_int_equal(try_put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, nh, MANY), 0);
	assert_int_equal(try_put(s, "10.2.0.0/16", RIB_KERNEL, 20, 0, nh, MANY), 0);
	for (i = 0; i < 4; i++) {
		settle(s);
		assert_int_equal(result(s, "10.1.0.1"), was);
		assert_int_equal(result(s, "10.2.0.1"), single);
		assert_int_equal(nhg_members(s->ns, was & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 2);
		assert_true(view(s, "10.1.0.0/16", RIB_KERNEL, 0).active);
		assert_int_equal(view(s, "10.1.0.0/16", RIB_KERNEL, 0).members, was);
		assert_string_equal(view(s, "10.2.0.0/16", RIB_KERNEL, 0).reason,
				    "the table of nexthops is full: it leads as it did before");
	}
	assert_int_equal(rib_refused(s->rib, false, NULL), -E2BIG);
	/* one that has nothing to keep is not in force, for all that others keep */
	assert_int_equal(try_put(s, "10.3.0.0/16", RIB_KERNEL, 20, 0, nh, MANY), 0);
	settle(s);
	assert_int_equal(result(s, "10.3.0.1"), 0);
	assert_string_equal(view(s, "10.3.0.0/16", RIB_KERNEL, 0).reason, "the table of nexthops is full");

	/* what it should lead by cannot be used at all: neither is what it led by then */
	links(s, 1, true);
	assert_int_equal(result(s, "10.2.0.1"), 0);
	links(s, 1, false);
	assert_int_equal(try_put(s, "10.2.0.0/16", RIB_KERNEL, 20, 0, &one, 1), 0);
	assert_int_equal(try_put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, two, 2), 0);
	settle(s);
	assert_int_equal(try_put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, nh, MANY), 0);
	assert_int_equal(try_put(s, "10.2.0.0/16", RIB_KERNEL, 20, 0, nh, MANY), 0);
	settle(s);
	assert_true(result(s, "10.1.0.1") != 0 && result(s, "10.2.0.1") != 0);

	rib_remove(s->rib, 0, &gone, RIB_KERNEL, 0, 0);
	rib_remove(s->rib, 0, &other, RIB_KERNEL, 0, 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(rib_settle(s->rib, 0, &changed), 0);
		assert_true(result(s, "10.1.0.1") != 0 && result(s, "10.2.0.1") != 0);
		nexthop_settle(s->ns);
		grace_done = grace_asked;
	}
	settle(s);
	assert_int_equal(result(s, "10.1.0.1"), result(s, "10.2.0.1"));
	assert_int_equal(result(s, "10.1.0.1"), result(s, "10.3.0.1"));
	assert_int_equal(nhg_members(s->ns, result(s, "10.1.0.1") & ~NEXTHOP_IS_GROUP, &m, NULL, 0), MANY);
	assert_null(view(s, "10.1.0.0/16", RIB_KERNEL, 0).reason);
	assert_int_equal(rib_refused(s->rib, false, NULL), 0);
	settle(s);
	settle(s);
	assert_int_equal(nhg_members(s->ns, was & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 0); /* nobody uses it any more */
	assert_null(nexthop_at(s->ns, single));
}

/* What a route is kept at for want of room goes when nothing can leave by it, for a route of its own and for a named group: the
 * next one takes over, and nothing is sent to where the link is down. One of two that is left is enough to stay. */
static void no_room_link_down_test(void **arg)
{
	struct rib_nexthop nh[MANY], two[2] = {via("10.0.0.1", 2, 1), via("10.0.0.2", 3, 1)}, one = via("10.0.0.3", 4, 1);
	struct rib_route_spec named = {.to = pfx("10.4.0.0/16"),
				       .source = RIB_STATIC,
				       .distance = 1,
				       .type = NEXTHOP_GATEWAY,
				       .nexthops = two,
				       .n = 2,
				       .group = "uplinks"};
	struct state *s = *arg;

	grace_asked = grace_done = 0;
	assert_int_equal(try_put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, two, 2), 0);
	assert_int_equal(try_put(s, "10.2.0.0/16", RIB_KERNEL, 20, 0, &one, 1), 0);
	put(s, "10.2.0.0/16", RIB_KERNEL, 20, 1, via("10.0.0.9", 1, 1));
	assert_int_equal(rib_put(s->rib, &named), 0);
	put_large_groups(s, nh);
	settle(s);
	nh[0] = via("10.0.1.50", 1, 7); /* a group that nobody has */
	assert_int_equal(try_put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, nh, MANY), 0);
	assert_int_equal(try_put(s, "10.2.0.0/16", RIB_KERNEL, 20, 0, nh, MANY), 0);
	named.nexthops = nh;
	named.n = MANY;
	assert_int_equal(rib_put(s->rib, &named), 0);
	links(s, 2, true);
	assert_string_equal(view(s, "10.1.0.0/16", RIB_KERNEL, 0).reason, view(s, "10.4.0.0/16", RIB_STATIC, 0).reason);
	assert_true(view(s, "10.1.0.0/16", RIB_KERNEL, 0).active && view(s, "10.4.0.0/16", RIB_STATIC, 0).active);
	assert_true(result(s, "10.1.0.1") && result(s, "10.4.0.1"));
	assert_via(s, "10.2.0.1", "10.0.0.3", 4);

	links(s, 3, true);
	assert_int_equal(result(s, "10.1.0.1"), 0);
	assert_int_equal(result(s, "10.4.0.1"), 0);
	assert_false(view(s, "10.1.0.0/16", RIB_KERNEL, 0).active || view(s, "10.4.0.0/16", RIB_STATIC, 0).active);
	assert_string_equal(view(s, "10.1.0.0/16", RIB_KERNEL, 0).reason, "the table of nexthops is full");
	assert_string_equal(view(s, "10.4.0.0/16", RIB_STATIC, 0).reason, "the table of nexthops is full");
	assert_via(s, "10.2.0.1", "10.0.0.3", 4);
	links(s, 4, true);
	assert_via(s, "10.2.0.1", "10.0.0.9", 1); /* the worse route takes over */
	assert_int_equal(rib_refused(s->rib, false, NULL), -E2BIG);

	/* what they kept is given up: there is room, of which nobody was told */
	for (int i = 0; i < 4; i++) {
		settle(s);
		grace_done = grace_asked;
	}
	assert_false(rib_pending(s->rib));
}

/* A host route far from all others. */
static struct prefix far_prefix(uint32_t i)
{
	uint64_t far = (i + 1) * 0x9e3779b97f4a7c15ull;
	struct prefix p = {.family = 6, .len = 128};

	memcpy(p.addr.a8, &far, 8);
	memcpy(p.addr.a8 + 8, &far, 8);
	p.addr.a8[0] = 0x20;
	return p;
}

static void far_route(struct state *s, uint32_t i, bool there)
{
	struct rib_nexthop nh = via("10.0.0.1", 1, 1);
	struct rib_route_spec spec = {.source = RIB_KERNEL, .distance = 20, .type = NEXTHOP_GATEWAY, .nexthops = &nh, .n = 1};

	spec.to = far_prefix(i);
	if (there)
		assert_int_equal(rib_put(s->rib, &spec), 0);
	else
		rib_remove(s->rib, 0, &spec.to, RIB_KERNEL, 0, 0);
}

static uint32_t far_result(struct state *s, uint32_t i)
{
	struct prefix p = far_prefix(i);

	return fib_lookup(s->m.fib, 0, &p.addr);
}

/* A turn of the event loop, which waits for nothing. True: packets may see something else than before. */
static bool turn(struct state *s)
{
	bool changed;

	assert_int_equal(rib_settle(s->rib, 1000000000, &changed), 0);
	return changed;
}

/* Turns until what waits is in force; meanwhile nothing else is chosen. */
static void wait_for_memory(struct state *s)
{
	uint64_t asked = grace_asked;

	for (int i = 0; i < 3; i++) {
		assert_false(turn(s));
		assert_true(rib_waits(s->rib) && rib_pending(s->rib));
	}
	assert_int_equal(grace_asked, asked);
	while (rib_waits(s->rib)) {
		grace_done = grace_asked;
		turn(s);
	}
}

/* A FIB with little memory, in which one route after the other goes for another: where there is none but what packets may still
 * read, they are led as before, and the change comes when the grace period is over; what is changed meanwhile comes with it. */
static void full_churn_test(void **arg)
{
	enum { ROUTES = 200, TURNS = 4000 };
	struct state *s = *arg;
	uint32_t waited = 0;

	grace_asked = grace_done = 0;
	put(s, "10.0.0.0/24", RIB_CONNECTED, 0, 0, via(NULL, 1, 1));
	for (uint32_t i = 0; i < ROUTES; i++)
		far_route(s, i, true);
	settle(s);
	for (uint32_t i = 0; i < TURNS; i++) {
		far_route(s, i, false);
		far_route(s, i + ROUTES, true);
		turn(s);
		assert_int_equal(rib_pending(s->rib), rib_waits(s->rib));
		assert_true(rib_waits(s->rib) || !far_result(s, i));
		assert_int_equal(far_result(s, i + ROUTES) == 0, rib_waits(s->rib));
		if (!rib_waits(s->rib))
			continue;
		waited++;
		assert_true(rib_moving(s->rib, 0, &(struct addr){0}));
		assert_false(rib_urgent_pending(s->rib)); /* nobody waits for this one */
		far_route(s, i + 1, false);		  /* meanwhile one goes, */
		far_route(s, i + 1 + ROUTES, true);	  /* and another one comes */
		wait_for_memory(s);
		assert_int_equal(far_result(s, i), 0);
		assert_int_not_equal(far_result(s, i + ROUTES), 0);
	}
	assert_in_range(waited, 3, TURNS / 100);
	assert_int_equal(rib_refused(s->rib, false, NULL), 0);
	for (uint32_t i = 0; i < TURNS + ROUTES; i++)
		assert_int_equal(far_result(s, i) != 0, i >= TURNS);
}

/* What somebody waits for is not said to be in force while the FIB waits for memory; nor is it kept waiting by what comes behind.
 */
static void urgent_waits_test(void **arg)
{
	enum { ROUTES = 200 };
	struct state *s = *arg;
	uint32_t i = 0;

	grace_asked = grace_done = 0;
	for (uint32_t k = 0; k < ROUTES; k++)
		far_route(s, k, true);
	settle(s);
	do {
		far_route(s, i, false);
		rib_urgent(s->rib, true);
		far_route(s, i + ROUTES, true);
		rib_urgent(s->rib, false);
		turn(s);
		i++;
		assert_true(i < 4000);
	} while (!rib_waits(s->rib));
	assert_true(rib_urgent_pending(s->rib));
	assert_int_equal(far_result(s, i - 1 + ROUTES), 0);
	for (uint32_t k = 0; k < 60; k++) { /* of a routing daemon, more than there is memory for */
		far_route(s, i + k, false);
		far_route(s, i + k + ROUTES, true);
	}
	wait_for_memory(s);
	assert_false(rib_urgent_pending(s->rib));
	assert_int_not_equal(far_result(s, i - 1 + ROUTES), 0);
}

/* A prefix in 16 bits of its own, which has one unit of the FIB's memory. */
static void lonely_route_via(struct state *s, uint32_t i, uint8_t len, bool there, struct rib_nexthop nh)
{
	struct rib_route_spec spec = {.source = RIB_KERNEL, .distance = 20, .type = NEXTHOP_GATEWAY, .nexthops = &nh, .n = 1};
	char text[32];

	snprintf(text, sizeof(text), "%u.%u.0.0/%u", 32 + i / 256, i % 256, len);
	spec.to = pfx(text);
	if (there)
		assert_int_equal(rib_put(s->rib, &spec), 0);
	else
		rib_remove(s->rib, 0, &spec.to, RIB_KERNEL, 0, 0);
}

static void lonely_route(struct state *s, uint32_t i, uint8_t len, bool there)
{
	lonely_route_via(s, i, len, there, via("10.0.0.1", 1, 1));
}

static uint32_t lonely_result(struct state *s, uint32_t i, uint8_t third)
{
	struct addr a;
	uint8_t family;
	char text[32];

	snprintf(text, sizeof(text), "%u.%u.%u.1", 32 + i / 256, i % 256, third);
	assert_int_equal(addr_parse(text, &a, &family), 0);
	return fib_lookup(s->m.fib, 0, &a);
}

/* All routes go for others at once, for which there is no memory beside the old ones, now or later: they go in smaller parts. */
static void too_much_at_once_test(void **arg)
{
	enum { ROUTES = 3000 };
	struct state *s = *arg;
	uint32_t i, turns = 0;

	grace_asked = grace_done = 0;
	for (i = 0; i < ROUTES; i++)
		lonely_route(s, i, 24, true);
	settle(s);
	assert_int_equal(rib_refused(s->rib, false, NULL), 0);
	for (i = 0; i < ROUTES; i++) {
		lonely_route(s, i, 24, false);
		lonely_route(s, i, 23, true);
	}
	do {
		turn(s);
		grace_done = grace_asked;
		for (i = 0; i < ROUTES; i += 7)
			assert_int_not_equal(lonely_result(s, i, 0), 0);
		assert_true(++turns < 1000);
	} while (rib_pending(s->rib));
	assert_in_range(turns, 4, 1000);
	assert_int_equal(rib_refused(s->rib, false, NULL), 0);
	for (i = 0; i < ROUTES; i++)
		assert_int_not_equal(lonely_result(s, i, 1), 0);
	assert_int_equal(rib_installed(s->rib, 0, 4), ROUTES);
}

/* Memory is short, so that a few routes are written at a time: each time takes long, and a slice ends no later for that. */
static void written_slices_test(void **arg)
{
	enum { ROUTES = 3500 };
	struct state *s = *arg;
	uint32_t i, was, n = 0;
	bool changed;

	grace_asked = grace_done = 0;
	for (i = 0; i < ROUTES; i++)
		lonely_route(s, i, 24, true);
	settle(s);
	was = lonely_result(s, 0, 0);
	for (i = 0; i < ROUTES; i++)
		lonely_route_via(s, i, 24, true, via("10.0.0.2", 2, 1));
	step_ns = 1000000;
	assert_int_equal(rib_settle(s->rib, step_ns, &changed), 0);
	step_ns = 0;
	for (i = 0; i < ROUTES; i++)
		n += lonely_result(s, i, 0) != was;
	assert_in_range(n, 1, 16);
	settle(s);
	for (i = 0; i < ROUTES; i++)
		assert_int_not_equal(lonely_result(s, i, 0), was);
}

/* The weight of a nexthop that is reached by several ways is shared among them as theirs say, however large it is. */
static void weight_test(void **arg)
{
	struct rib_nexthop two[] = {via("10.0.0.1", 1, 3), via("10.0.0.2", 2, 1)}, far = via("10.8.1.1", 0, 256);
	struct state *s = *arg;
	const struct nhg_member *m;
	uint32_t id;

	assert_int_equal(try_put(s, "10.8.0.0/16", RIB_STATIC, 1, 0, two, 2), 0);
	assert_int_equal(try_put(s, "10.64.0.0/16", RIB_STATIC, 1, 0, &far, 1), 0);
	settle(s);
	id = result(s, "10.64.0.1");
	assert_true(id & NEXTHOP_IS_GROUP);
	assert_int_equal(nhg_members(s->ns, id & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 2);
	assert_int_equal(m[0].weight + m[1].weight, 4);
	assert_int_equal(m[0].weight * m[1].weight, 3);
	/* beside another one, whose weight has no factor in common: within a 256th */
	two[0] = via("10.0.0.3", 3, 255);
	two[1] = far;
	assert_int_equal(try_put(s, "10.65.0.0/16", RIB_STATIC, 1, 0, two, 2), 0);
	settle(s);
	id = result(s, "10.65.0.1");
	assert_int_equal(nhg_members(s->ns, id & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 3);
	for (int i = 0; i < 3; i++) {
		uint16_t iface = nexthop_at(s->ns, m[i].nexthop)->iface;

		assert_int_equal(m[i].weight, iface == 1 ? 256 : 85);
	}
}

/* A host's own address as its gateway says nothing that the routes behind it do not say: they decide. */
static void by_itself_test(void **arg)
{
	struct state *s = *arg;

	put(s, "10.0.0.0/24", RIB_CONNECTED, 0, 0, via(NULL, 4, 1));
	put(s, "10.0.0.7/32", RIB_STATIC, 1, 0, via("10.0.0.7", 0, 1));
	put(s, "172.16.0.0/12", RIB_STATIC, 1, 0, via("10.0.0.7", 0, 5));
	put(s, "10.0.0.8/32", RIB_STATIC, 1, 0, via("10.0.0.8", 4, 1)); /* that says where he is */
	settle(s);
	assert_false(view(s, "10.0.0.7/32", RIB_STATIC, 0).active);
	assert_string_equal(view(s, "10.0.0.7/32", RIB_STATIC, 0).reason, "the gateway would lead by itself");
	assert_via(s, "10.0.0.7", NULL, 4);
	assert_via(s, "172.16.0.1", "10.0.0.7", 4);
	assert_true(view(s, "10.0.0.8/32", RIB_STATIC, 0).active);
}

/* A gateway on a link that is down is known as such, and has its place among the nexthops, alone or in a group. */
static void down_gateway_test(void **arg)
{
	struct rib_nexthop two[] = {via("10.0.1.2", 0, 1), via("10.0.2.2", 0, 1)};
	struct state *s = *arg;
	const struct nhg_member *m;
	struct rib_view v;

	put(s, "10.0.1.0/24", RIB_CONNECTED, 0, 0, via(NULL, 1, 1));
	put(s, "10.0.2.0/24", RIB_CONNECTED, 0, 0, via(NULL, 2, 1));
	put(s, "10.1.0.0/16", RIB_STATIC, 1, 0, via("10.0.1.2", 0, 1));
	assert_int_equal(try_put(s, "0.0.0.0/0", RIB_STATIC, 1, 0, two, 2), 0);
	s->down[1] = true;
	settle(s);
	v = view(s, "10.1.0.0/16", RIB_STATIC, 0);
	assert_false(v.active);
	assert_int_equal(v.result, 0);
	assert_string_equal(v.reason, "the interface is down");
	assert_int_equal(nexthop_at(s->ns, v.members)->iface, 1);
	v = view(s, "0.0.0.0/0", RIB_STATIC, 0);
	assert_true(v.active);
	assert_int_equal(nhg_members(s->ns, v.result & ~NEXTHOP_IS_GROUP, &m, NULL, 0), 2);
	assert_true(nexthop_at(s->ns, m[0].nexthop)->iface != nexthop_at(s->ns, m[1].nexthop)->iface);
	links(s, 2, true);
	assert_int_equal(result(s, "192.0.2.1"), 0);
	assert_true(view(s, "0.0.0.0/0", RIB_STATIC, 0).members & NEXTHOP_IS_GROUP);
	s->down[1] = s->down[2] = false;
	rib_links_changed(s->rib);
	settle(s);
	assert_via(s, "10.1.0.1", "10.0.1.2", 1);
	assert_true(result(s, "192.0.2.1") & NEXTHOP_IS_GROUP);
}

static void put_table(struct state *s, const char *to, uint8_t rank, uint8_t type, const struct rib_nexthop *nh)
{
	struct rib_route_spec spec = {.to = pfx(to),
				      .source = RIB_KERNEL,
				      .distance = 10,
				      .rank = rank,
				      .table = 101 + rank,
				      .type = type,
				      .nexthops = nh,
				      .n = nh != NULL};

	assert_int_equal(rib_put(s->rib, &spec), 0);
}

static int type_at(struct state *s, const char *text)
{
	const struct nexthop *nh = nexthop_at(s->ns, result(s, text));

	return nh ? nh->type : NEXTHOP_NONE;
}

/* `throw` ends the look-up in its table: what is shorter there does not count, what the next tables say does; behind the last one
 * is nothing. */
static void throw_test(void **arg)
{
	struct rib_nexthop first = via("10.0.0.1", 1, 1), second = via("10.0.0.2", 2, 1), third = via("10.0.0.3", 3, 1);
	struct prefix p = pfx("0.0.0.0/0"), q = pfx("10.24.0.0/16");
	struct state *s = *arg;

	put_table(s, "0.0.0.0/0", 0, NEXTHOP_GATEWAY, &first);
	put_table(s, "10.24.0.0/16", 0, RIB_THROW, NULL);
	put_table(s, "10.24.7.0/24", 0, NEXTHOP_GATEWAY, &third);
	settle(s);
	assert_int_equal(type_at(s, "10.24.1.1"), NEXTHOP_NOWHERE);
	assert_int_equal(view(s, "10.24.0.0/16", RIB_KERNEL, 0).type, RIB_THROW);
	assert_int_equal(view(s, "10.24.0.0/16", RIB_KERNEL, 0).n, 0);
	assert_via(s, "10.24.7.1", "10.0.0.3", 3);
	assert_via(s, "10.25.0.1", "10.0.0.1", 1);
	/* the next table knows a way, which nobody else uses */
	put_table(s, "0.0.0.0/0", 1, NEXTHOP_GATEWAY, &second);
	settle(s);
	assert_via(s, "10.24.1.1", "10.0.0.2", 2);
	assert_via(s, "10.25.0.1", "10.0.0.1", 1);
	links(s, 2, true);
	assert_int_equal(type_at(s, "10.24.1.1"), NEXTHOP_NOWHERE);
	links(s, 2, false);
	assert_via(s, "10.24.1.1", "10.0.0.2", 2);
	put_table(s, "10.16.0.0/12", 1, NEXTHOP_BLACKHOLE, NULL); /* a longer one there */
	settle(s);
	assert_int_equal(type_at(s, "10.24.1.1"), NEXTHOP_BLACKHOLE);
	put_table(s, "10.16.0.0/12", 1, RIB_THROW, NULL);
	settle(s);
	assert_int_equal(type_at(s, "10.24.1.1"), NEXTHOP_NOWHERE);
	put_table(s, "10.0.0.0/8", 2, NEXTHOP_GATEWAY, &third);
	settle(s);
	assert_via(s, "10.24.1.1", "10.0.0.3", 3);
	assert_via(s, "10.17.1.1", "10.0.0.3", 3);
	rib_remove(s->rib, 0, &q, RIB_KERNEL, 101, 0);
	rib_remove(s->rib, 0, &p, RIB_KERNEL, 102, 0);
	settle(s);
	assert_via(s, "10.24.1.1", "10.0.0.3", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(preference_test, setup, teardown),
		cmocka_unit_test_setup_teardown(types_test, setup, teardown),
		cmocka_unit_test_setup_teardown(outside_test, setup, teardown),
		cmocka_unit_test_setup_teardown(link_test, setup, teardown),
		cmocka_unit_test_setup_teardown(recursion_test, setup, teardown),
		cmocka_unit_test_setup_teardown(weight_test, setup, teardown),
		cmocka_unit_test_setup_teardown(by_itself_test, setup, teardown),
		cmocka_unit_test_setup_teardown(down_gateway_test, setup, teardown),
		cmocka_unit_test_setup_teardown(throw_test, setup, teardown),
		cmocka_unit_test_setup_teardown(loop_test, setup, teardown),
		cmocka_unit_test_setup_teardown(own_prefix_test, setup, teardown),
		cmocka_unit_test_setup_teardown(many_over_many_test, setup, teardown),
		cmocka_unit_test_setup_teardown(group_test, setup, teardown),
		cmocka_unit_test_setup_teardown(named_group_test, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room_test, setup, teardown),
		cmocka_unit_test_setup_teardown(full_churn_test, setup, teardown),
		cmocka_unit_test_setup_teardown(urgent_waits_test, setup, teardown),
		cmocka_unit_test_setup_teardown(too_much_at_once_test, setup, teardown),
		cmocka_unit_test_setup_teardown(written_slices_test, setup, teardown),
		cmocka_unit_test_setup_teardown(plain_no_room_test, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room_link_down_test, setup, teardown),
		cmocka_unit_test_setup_teardown(sweep_test, setup, teardown),
		cmocka_unit_test_setup_teardown(fib_full_test, setup, teardown),
		cmocka_unit_test_setup_teardown(nexthops_full_test, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_test, setup, teardown),
		cmocka_unit_test_setup_teardown(import_test, setup, teardown),
		cmocka_unit_test_setup_teardown(import_circle_test, setup, teardown),
		cmocka_unit_test_setup_teardown(import_connected_test, setup, teardown),
		cmocka_unit_test_setup_teardown(import_recursion_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
