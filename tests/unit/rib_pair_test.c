/* rib_pair_test.c: what happens between the moment when a link goes down and the new choice of each route: prefixes that have
 * another way are led by it at once, each by its own; no other is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "fib_grace.h"
#include "rib_util.h"

static struct {
	uint64_t asked, over;
	bool held; /* none is over by itself */
} grace;

void fib_grace_period(void)
{
	grace.over = grace.asked;
}

uint64_t fib_grace_ask(void)
{
	return ++grace.asked;
}

bool fib_grace_over(uint64_t ticket)
{
	return !grace.held || ticket <= grace.over;
}

/* The link alone: no route is chosen anew. True: packets are led elsewhere. */
static bool link_is(struct state *s, uint16_t iface, bool down)
{
	s->down[iface] = down;
	return rib_links_settle(s->rib);
}

/* The choice that follows it. True: decisions made before are stale. */
static bool choose(struct state *s)
{
	rib_links_changed(s->rib);
	return settle(s);
}

/* What stands in the FIB. */
static uint32_t raw(struct state *s, const char *text)
{
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	return fib_lookup(s->m.fib, 0, &a);
}

/* The metric of the route that the RIB says packets take. */
static uint32_t taken(struct state *s, const char *text)
{
	struct rib_view v;
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	assert_int_equal(rib_lookup(s->rib, 0, &a, &v), 0);
	assert_true(v.active && !v.reason);
	assert_int_equal(v.fib, raw(s, text));
	assert_int_equal(v.result, result(s, text));
	return v.metric;
}

static bool moving(struct state *s, const char *text)
{
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	return rib_moving(s->rib, 0, &a);
}

static void remove_route(struct state *s, const char *to, uint32_t metric)
{
	struct prefix p = pfx(to);

	rib_remove(s->rib, 0, &p, RIB_KERNEL, 0, metric);
}

static void by(struct state *s, const char *to, uint32_t metric, uint16_t iface)
{
	char gateway[16];

	snprintf(gateway, sizeof(gateway), "10.0.%d.1", iface);
	put(s, to, RIB_KERNEL, 20, metric, via(gateway, iface, 1));
}

/* Prefixes whose routes are behind one link, with another one behind them, with yet another, with none, and the other way round.
 */
static void switch_test(void **arg)
{
	static const char *const there[] = {"10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", "10.5.0.1"};
	struct state *s = *arg;
	uint32_t was[5];

	by(s, "10.1.0.0/16", 1, 1);
	by(s, "10.1.0.0/16", 2, 2);
	by(s, "10.2.0.0/16", 1, 1);
	by(s, "10.2.0.0/16", 2, 2);
	by(s, "10.3.0.0/16", 1, 1);
	by(s, "10.3.0.0/16", 2, 3);
	by(s, "10.4.0.0/16", 1, 1);
	by(s, "10.5.0.0/16", 1, 2);
	by(s, "10.5.0.0/16", 2, 1);
	settle(s);
	for (int i = 0; i < 5; i++)
		was[i] = raw(s, there[i]);
	assert_int_equal(was[0], was[1]);
	assert_true(was[0] & was[2] & was[4] & NEXTHOP_IS_PAIR && !(was[3] & NEXTHOP_IS_PAIR));
	assert_true(was[0] != was[2] && was[0] != was[4]);
	assert_via(s, "10.1.0.1", "10.0.1.1", 1);
	assert_int_equal(taken(s, "10.1.0.1"), 1);

	for (int turn = 0; turn < 3; turn++) {
		assert_true(link_is(s, 1, true));
		assert_false(link_is(s, 1, true));
		for (int chosen = 0; chosen < 2; chosen++) {
			assert_via(s, "10.1.0.1", "10.0.2.1", 2);
			assert_via(s, "10.2.0.1", "10.0.2.1", 2);
			assert_via(s, "10.3.0.1", "10.0.3.1", 3);
			assert_via(s, "10.5.0.1", "10.0.2.1", 2);
			assert_int_equal(taken(s, "10.1.0.1"), 2);
			assert_int_equal(taken(s, "10.3.0.1"), 2);
			assert_int_equal(taken(s, "10.5.0.1"), 1);
			assert_true(moving(s, "10.1.0.1") == !chosen && moving(s, "10.3.0.1") == !chosen);
			assert_false(moving(s, "10.5.0.1"));
			assert_int_equal(choose(s), !chosen); /* the second time nothing is left to choose */
		}
		assert_int_equal(result(s, "10.4.0.1"), 0);
		assert_true(view(s, "10.1.0.0/16", RIB_KERNEL, 2).active && !view(s, "10.1.0.0/16", RIB_KERNEL, 1).active);
		for (int i = 0; i < 5; i++) /* none of them was written */
			assert_int_equal(raw(s, there[i]), i == 3 ? 0 : was[i]);
		assert_true(link_is(s, 1, false));
		assert_via(s, "10.1.0.1", "10.0.1.1", 1);
		assert_via(s, "10.3.0.1", "10.0.1.1", 1);
		assert_via(s, "10.5.0.1", "10.0.2.1", 2);
		assert_int_equal(taken(s, "10.1.0.1"), 1);
		assert_int_equal(taken(s, "10.3.0.1"), 1);
		assert_true(moving(s, "10.1.0.1") && moving(s, "10.3.0.1") && !moving(s, "10.5.0.1"));
		assert_true(choose(s));
		assert_int_equal(taken(s, "10.1.0.1"), 1);
		assert_false(moving(s, "10.1.0.1") || moving(s, "10.3.0.1") || moving(s, "10.5.0.1"));
		assert_via(s, "10.4.0.1", "10.0.1.1", 1);
	}
	link_is(s, 1, true);
	choose(s);
	by(s, "10.9.0.0/16", 1, 2); /* while something else is under way */
	assert_false(moving(s, "10.1.0.1"));
	settle(s);
	link_is(s, 1, false);
	choose(s);
	/* the link of the other way goes: nobody notices, until the first one goes as well */
	assert_true(link_is(s, 2, true)); /* the last prefix has its first way there */
	assert_via(s, "10.1.0.1", "10.0.1.1", 1);
	choose(s);
	assert_int_equal(raw(s, "10.1.0.1"), was[0]);
	link_is(s, 1, true);
	choose(s);
	assert_int_equal(result(s, "10.1.0.1"), 0);
	assert_via(s, "10.3.0.1", "10.0.3.1", 3);
}

/* Groups, blackholes and prefixes of a link may be either of two; what leaves by the same link is no other way. */
static void kinds_test(void **arg)
{
	struct rib_nexthop two[] = {via("10.0.1.1", 1, 1), via("10.0.2.1", 2, 1)}, three[] = {via("10.0.3.1", 3, 1), two[0]};
	struct rib_route_spec hole = {
		.to = pfx("10.2.0.0/16"), .source = RIB_KERNEL, .distance = 20, .metric = 9, .type = NEXTHOP_BLACKHOLE};
	struct state *s = *arg;
	uint32_t was;

	assert_int_equal(try_put(s, "10.1.0.0/16", RIB_KERNEL, 20, 1, two, 2), 0);
	by(s, "10.1.0.0/16", 2, 3);
	by(s, "10.2.0.0/16", 1, 1);
	assert_int_equal(rib_put(s->rib, &hole), 0);
	by(s, "10.3.0.0/16", 1, 1);
	assert_int_equal(try_put(s, "10.3.0.0/16", RIB_KERNEL, 20, 2, three, 2), 0);
	put(s, "10.4.0.0/16", RIB_CONNECTED, 0, 0, via(NULL, 1, 1));
	by(s, "10.4.0.0/16", 5, 4);
	by(s, "10.5.0.0/16", 1, 1);
	put(s, "10.5.0.0/16", RIB_KERNEL, 20, 2, via("10.0.1.9", 1, 1));
	put_type(s, "10.6.0.0/16", RIB_STATIC, NEXTHOP_BLACKHOLE);
	by(s, "10.6.0.0/16", 2, 1);
	settle(s);
	assert_true(result(s, "10.1.0.1") & NEXTHOP_IS_GROUP);
	assert_false((raw(s, "10.5.0.1") | raw(s, "10.6.0.1")) & NEXTHOP_IS_PAIR);
	link_is(s, 1, true);
	assert_true(result(s, "10.1.0.1") & NEXTHOP_IS_GROUP); /* it has another member */
	assert_int_equal(nexthop_at(s->ns, result(s, "10.2.0.1"))->type, NEXTHOP_BLACKHOLE);
	assert_true(result(s, "10.3.0.1") & NEXTHOP_IS_GROUP);
	assert_via(s, "10.4.0.1", "10.0.4.1", 4);
	link_is(s, 2, true);
	assert_via(s, "10.1.0.1", "10.0.3.1", 3);
	was = raw(s, "10.2.0.1");
	choose(s);
	assert_int_equal(raw(s, "10.2.0.1"), was);
	assert_via(s, "10.1.0.1", "10.0.3.1", 3);
	assert_int_equal(result(s, "10.5.0.1"), 0);
	link_is(s, 1, false);
	assert_true(result(s, "10.1.0.1") & NEXTHOP_IS_GROUP);
	assert_via(s, "10.2.0.1", "10.0.1.1", 1);
	assert_via(s, "10.3.0.1", "10.0.1.1", 1);
	assert_via(s, "10.4.0.1", NULL, 1);
}

/* Of three ways the second and the third are the pair when the first is down; and it is the first and the second again. */
static void third_test(void **arg)
{
	struct state *s = *arg;
	uint32_t was;

	for (uint16_t i = 1; i < 4; i++)
		by(s, "10.1.0.0/16", i, i);
	settle(s);
	was = raw(s, "10.1.0.1");
	link_is(s, 1, true);
	choose(s);
	assert_via(s, "10.1.0.1", "10.0.2.1", 2);
	assert_int_not_equal(raw(s, "10.1.0.1"), was);
	link_is(s, 2, true);
	assert_via(s, "10.1.0.1", "10.0.3.1", 3);
	choose(s);
	assert_via(s, "10.1.0.1", "10.0.3.1", 3);
	link_is(s, 1, false); /* the best of those that were down is the other one */
	assert_via(s, "10.1.0.1", "10.0.1.1", 1);
	link_is(s, 2, false);
	choose(s);
	assert_via(s, "10.1.0.1", "10.0.1.1", 1);
	link_is(s, 1, true);
	assert_via(s, "10.1.0.1", "10.0.2.1", 2);
}

static uint32_t pairs_in_table(const struct state *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_PAIRS; i++)
		n += s->pairs[i].now != 0;
	return n;
}

/* Another way comes and goes: that is written, and no decision is stale. What it has in the tables is given up with it. */
static void come_and_go_test(void **arg)
{
	struct state *s = *arg;
	uint32_t was;

	by(s, "10.1.0.0/16", 1, 1);
	settle(s);
	for (uint16_t i = 2; i < 9; i++) { /* more of them, one after the other, than there are pairs */
		by(s, "10.1.0.0/16", i, i);
		assert_false(settle(s));
		assert_true(raw(s, "10.1.0.1") & NEXTHOP_IS_PAIR);
		remove_route(s, "10.1.0.0/16", i);
		assert_false(settle(s));
		assert_false(raw(s, "10.1.0.1") & NEXTHOP_IS_PAIR);
		assert_via(s, "10.1.0.1", "10.0.1.1", 1);
	}
	by(s, "10.1.0.0/16", 2, 2);
	settle(s);
	was = raw(s, "10.1.0.1");
	remove_route(s, "10.1.0.0/16", 1);
	remove_route(s, "10.1.0.0/16", 2);
	settle(s);
	assert_int_not_equal(nexthop_now(s->ns, was), 0); /* some packet may have found it in the FIB before */
	for (int i = 0; i < 3; i++)
		settle(s);
	assert_int_equal(pairs_in_table(s), 0);
	assert_int_equal(nexthop_end(s->ns), 1);
}

/* Another way has been there for a moment. */
static void pass(struct state *s)
{
	by(s, "10.1.0.0/16", 2, 2);
	settle(s);
	remove_route(s, "10.1.0.0/16", 2);
	settle(s);
}

/* A packet that found a pair in the FIB before finds its two ways behind it until a grace period is over that began when nobody
 * named it any more. */
static void grace_test(void **arg)
{
	struct state *s = *arg;
	uint32_t was;

	grace.held = true;
	by(s, "10.1.0.0/16", 1, 1);
	by(s, "10.1.0.0/16", 2, 2);
	settle(s);
	was = raw(s, "10.1.0.1");
	assert_true(was & NEXTHOP_IS_PAIR);
	remove_route(s, "10.1.0.0/16", 2);
	for (int i = 0; i < 3; i++)
		settle(s);
	assert_int_not_equal(nexthop_now(s->ns, was), 0);
	fib_grace_period();
	by(s, "10.1.0.0/16", 2, 2);
	settle(s);
	assert_int_equal(raw(s, "10.1.0.1"), was);
	assert_int_not_equal(nexthop_now(s->ns, was), 0);
	remove_route(s, "10.1.0.0/16", 2);
	settle(s);
	fib_grace_period();
	pass(s); /* named again: that period says nothing of those who read it now */
	settle(s);
	assert_int_not_equal(nexthop_now(s->ns, was), 0);
	fib_grace_period();
	settle(s);
	assert_int_equal(nexthop_now(s->ns, was), 0);
	grace.held = false;
}

/* How many others there is room for; they stay. *ret_last: the id of the last one. */
static uint32_t fill_nexthops(struct state *s, uint32_t *ret_last)
{
	static uint32_t mtu = 1000; /* each is another one */
	struct nexthop_key k = {.type = NEXTHOP_CONNECTED, .iface = 7};
	uint32_t n;
	bool fresh;

	for (n = 0; k.mtu = mtu++, nexthop_use(s->ns, &k, ret_last, &fresh) == 0; n++)
		;
	return n;
}

/* A packet that found a nexthop or a group in the FIB before finds the same behind its id until a grace period is over that began
 * when nobody named it any more, be the table full. */
static void ids_grace_test(void **arg)
{
	struct rib_nexthop two[] = {via("10.0.1.1", 1, 1), via("10.0.2.1", 2, 1)};
	struct state *s = *arg;
	uint32_t id, group, last;

	grace.held = true;
	by(s, "10.1.0.0/16", 1, 3);
	assert_int_equal(try_put(s, "10.2.0.0/16", RIB_KERNEL, 20, 1, two, 2), 0);
	settle(s);
	id = raw(s, "10.1.0.1");
	group = raw(s, "10.2.0.1") & ~NEXTHOP_IS_GROUP;
	remove_route(s, "10.1.0.0/16", 1);
	remove_route(s, "10.2.0.0/16", 1);
	for (int i = 0; i < 3; i++)
		settle(s);
	assert_int_equal(fill_nexthops(s, &last), N_NH - 1 - 3);
	assert_int_equal(s->nh[id].iface, 3);
	assert_int_not_equal(s->groups[group].mask, 0);
	fib_grace_period();
	assert_int_equal(fill_nexthops(s, &last), 1); /* the members belong to the group still */
	assert_int_equal(last, id);
	settle(s);
	assert_int_equal(s->groups[group].mask, 0);
	settle(s);
	assert_int_equal(fill_nexthops(s, &last), 0);
	fib_grace_period();
	assert_int_equal(fill_nexthops(s, &last), 2);
	grace.held = false;
}

/* Named again between two sweeps, and given up again: a period that began before says nothing of who reads it now. */
static void ids_named_again_test(void **arg)
{
	struct state *s = *arg;
	uint32_t id, last;

	grace.held = true;
	by(s, "10.1.0.0/16", 1, 3);
	settle(s);
	id = raw(s, "10.1.0.1");
	remove_route(s, "10.1.0.0/16", 1);
	settle(s);
	fib_grace_period();
	by(s, "10.1.0.0/16", 1, 3);
	assert_int_equal(rib_settle(s->rib, 0, &(bool){false}), 0);
	assert_int_equal(raw(s, "10.1.0.1"), id);
	remove_route(s, "10.1.0.0/16", 1);
	settle(s);
	assert_int_equal(fill_nexthops(s, &last), N_NH - 1 - 1);
	assert_int_equal(s->nh[id].iface, 3);
	fib_grace_period();
	assert_int_equal(fill_nexthops(s, &last), 1);
	assert_int_equal(last, id);
	grace.held = false;
}

/* A use between two sweeps, which see nothing of it: it is as if it were given up at the second for the first time. */
static void used_between_test(void **arg)
{
	uint32_t first, second, pair, again;
	struct state *s = *arg;

	by(s, "10.1.0.0/16", 1, 1);
	by(s, "10.2.0.0/16", 1, 2);
	settle(s);
	first = raw(s, "10.1.0.1");
	second = raw(s, "10.2.0.1");
	assert_int_equal(nexthop_pair_use(s->ns, first, second, first, &pair), 0);
	nexthop_unuse(s->ns, pair);
	nexthop_sweep(s->ns);
	assert_int_equal(nexthop_pair_use(s->ns, first, second, first, &again), 0);
	assert_int_equal(again, pair);
	nexthop_unuse(s->ns, pair);
	nexthop_sweep(s->ns);
	assert_int_equal(nexthop_now(s->ns, pair), first);
	nexthop_reuse(s->ns, pair);
	nexthop_unuse(s->ns, pair);
	nexthop_sweep(s->ns);
	assert_int_equal(nexthop_now(s->ns, pair), first);
	nexthop_sweep(s->ns);
	assert_int_equal(nexthop_now(s->ns, pair), 0);
}

/* More pairs than there is room for: the others are led elsewhere when they are chosen. */
static void no_room_test(void **arg)
{
	struct state *s = *arg;
	unsigned at_once = 0;
	char text[32], gateway[16];

	for (uint16_t i = 2; i < 2 + N_PAIRS; i++) {
		snprintf(text, sizeof(text), "10.%d.0.0/16", i);
		snprintf(gateway, sizeof(gateway), "10.0.5.%d", i);
		by(s, text, 1, 1);
		put(s, text, RIB_KERNEL, 20, 2, via(gateway, 5, 1));
	}
	settle(s);
	link_is(s, 1, true);
	for (uint16_t i = 2; i < 2 + N_PAIRS; i++) {
		snprintf(text, sizeof(text), "10.%d.0.1", i);
		at_once += nexthop_at(s->ns, result(s, text))->iface == 5;
	}
	assert_int_equal(at_once, N_PAIRS - 1); /* the first place is nobody's */
	choose(s);
	for (uint16_t i = 2; i < 2 + N_PAIRS; i++) {
		snprintf(text, sizeof(text), "10.%d.0.1", i);
		snprintf(gateway, sizeof(gateway), "10.0.5.%d", i);
		assert_via(s, text, gateway, 5);
	}
}

/* The second way of prefix number i, by link 5. */
static void by_number(struct state *s, int i, int gateway)
{
	char text[32], second[16];

	snprintf(text, sizeof(text), "10.%d.0.0/16", i);
	snprintf(second, sizeof(second), "10.0.5.%d", gateway);
	by(s, text, 1, 1);
	put(s, text, RIB_KERNEL, 20, 2, via(second, 5, 1));
}

static bool has_pair(struct state *s, int i)
{
	char text[32];

	snprintf(text, sizeof(text), "10.%d.0.1", i);
	return raw(s, text) & NEXTHOP_IS_PAIR;
}

static size_t unpaired(const struct state *s)
{
	struct rib_stats stats;

	rib_stats(s->rib, &stats);
	assert_in_range(stats.pairs, 0, N_PAIRS - 1);
	return stats.unpaired;
}

/* The table is full: how many prefixes found no room is told, and as pairs are given up they get theirs, all that share one. */
static void room_again_test(void **arg)
{
	enum { SHARE = 30, FIRST = 50 };
	struct state *s = *arg;

	for (int i = 1; i < N_PAIRS; i++)
		by_number(s, i, i);
	settle(s);
	assert_int_equal(unpaired(s), 0);
	for (int i = 0; i < SHARE; i++)
		by_number(s, FIRST + i, 100 + i % 2);
	settle(s);
	assert_int_equal(unpaired(s), SHARE);
	assert_false(rib_pairs_due(s->rib) || rib_pending(s->rib));
	remove_route(s, "10.1.0.0/16", 2); /* one pair of those, and no room but for one of the two that are wanted */
	settle(s);
	assert_true(rib_pairs_due(s->rib));
	for (int i = 0; i < 3; i++)
		settle(s);
	assert_int_equal(unpaired(s), SHARE / 2);
	assert_false(rib_pairs_due(s->rib) || rib_pending(s->rib));
	for (int i = 0; i < SHARE; i++)
		assert_int_equal(has_pair(s, FIRST + i), has_pair(s, FIRST + i % 2));
	for (int i = 0; i < SHARE; i++) { /* those go that found room, or those that did not */
		char text[32];

		snprintf(text, sizeof(text), "10.%d.0.0/16", FIRST + i);
		if (i % 2 == has_pair(s, FIRST))
			remove_route(s, text, 2);
	}
	settle(s);
	assert_int_equal(unpaired(s), 0);
	for (int i = 2; i < N_PAIRS; i++)
		assert_true(has_pair(s, i));
}

/* A slice of the event loop makes so many look again, and the rest is pending. */
static void room_in_slices_test(void **arg)
{
	enum { MANY = 3000 };
	struct state *s = *arg;
	int slices = 0;
	char text[32];
	bool changed;

	for (int i = 1; i < N_PAIRS; i++)
		by_number(s, i, i);
	settle(s);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "10.%d.%d.0/24", 100 + i / 256, i % 256);
		by(s, text, 1, 1);
		put(s, text, RIB_KERNEL, 20, 2, via("10.0.5.200", 5, 1));
	}
	settle(s);
	assert_int_equal(unpaired(s), MANY);
	remove_route(s, "10.1.0.0/16", 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(rib_settle(s->rib, 1000000000, &changed), 0);
	do
		assert_int_equal(rib_settle(s->rib, 1000000000, &changed), 0);
	while (++slices < 10 && rib_pending(s->rib));
	assert_in_range(slices, 2, 9);
	assert_int_equal(unpaired(s), 0);
	assert_true(raw(s, "10.100.0.1") & NEXTHOP_IS_PAIR);
}

/* A gateway that is reached by such a prefix: what goes by it follows. */
static void recursion_test(void **arg)
{
	struct state *s = *arg;

	by(s, "172.16.0.0/16", 1, 1);
	by(s, "172.16.0.0/16", 2, 2);
	put(s, "10.1.0.0/16", RIB_KERNEL, 20, 0, via("172.16.0.9", 0, 1));
	settle(s);
	assert_via(s, "10.1.0.1", "10.0.1.1", 1);
	link_is(s, 1, true);
	choose(s);
	assert_via(s, "10.1.0.1", "10.0.2.1", 2);
	link_is(s, 1, false);
	choose(s);
	assert_via(s, "10.1.0.1", "10.0.1.1", 1);
}

static void next_life(struct state *s)
{
	rib_close(s->rib);
	nexthop_close(s->ns);
	fib_close(s->m.fib);
	assert_int_equal(fib_open(s->m.units, UNITS, s->m.roots, &s->m.fib, NULL), 0);
	assert_int_equal(nexthop_open(s->nh, N_NH, s->groups, N_GROUPS, s->buckets, N_BUCKETS, &s->ns), 0);
	assert_int_equal(nexthop_pairs(s->ns, s->pairs, N_PAIRS), 0);
	assert_int_equal(rib_open(s->m.fib, s->ns, usable, s, &s->rib), 0);
}

/* The next life finds the pairs that the FIB names, and those that nobody asks for are gone after a while. */
static void next_life_test(void **arg)
{
	struct state *s = *arg;
	struct fib_unit *before = malloc(UNITS * sizeof(*before));

	by(s, "10.3.0.0/16", 1, 1);
	by(s, "10.3.0.0/16", 2, 3);
	settle(s);
	by(s, "10.1.0.0/16", 1, 1);
	by(s, "10.1.0.0/16", 2, 2);
	settle(s);
	assert_non_null(before);
	memcpy(before, s->m.units, UNITS * sizeof(*before));
	next_life(s);
	by(s, "10.1.0.0/16", 1, 1);
	by(s, "10.1.0.0/16", 2, 2);
	by(s, "10.3.0.0/16", 1, 1);
	by(s, "10.3.0.0/16", 2, 3);
	settle(s);
	assert_memory_equal(before, s->m.units, UNITS * sizeof(*before));
	assert_true(link_is(s, 1, true));
	assert_via(s, "10.1.0.1", "10.0.2.1", 2);
	assert_via(s, "10.3.0.1", "10.0.3.1", 3);
	free(before);

	assert_int_equal(pairs_in_table(s), 2);
	next_life(s);
	by(s, "10.1.0.0/16", 1, 1);
	by(s, "10.1.0.0/16", 2, 2);
	settle(s);
	assert_int_equal(pairs_in_table(s), 2); /* a packet may have read the other one */
	settle(s);
	assert_int_equal(pairs_in_table(s), 1);
	assert_via(s, "10.1.0.1", "10.0.2.1", 2);
}

static uint32_t rnd(uint32_t n)
{
	static uint64_t seed = 88172645463325252ull;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 24) % n;
}

/* Which links the routes of a prefix leave by, in the order of their metrics; 0: there is no such route. */
enum { PREFIXES = 40, METRICS = 3, LINKS = 4 };
struct prefix_ways {
	uint16_t iface[METRICS];
};

/* The link that a packet leaves by; 0: there is no route. */
static uint16_t leaves_by(struct state *s, int i)
{
	const struct nexthop *nh;
	char text[32];

	snprintf(text, sizeof(text), "10.%d.0.1", i + 1);
	nh = nexthop_at(s->ns, result(s, text));
	return nh ? nh->iface : 0;
}

static uint16_t best_link(const struct state *s, const struct prefix_ways *w)
{
	for (int m = 0; m < METRICS; m++)
		if (w->iface[m] && !s->down[w->iface[m]])
			return w->iface[m];
	return 0;
}

/* Routes and links come and go at random: a prefix is never led by a route that it has not, or by a link that is down while its
 * pair has one that is not; and after the choice by the best. */
static void random_test(void **arg)
{
	struct prefix_ways ways[PREFIXES] = {0};
	struct state *s = *arg;
	char text[32];

	for (int round = 0; round < 20000; round++) {
		int i = (int)rnd(PREFIXES), m = (int)rnd(METRICS);
		uint16_t link = (uint16_t)(1 + rnd(LINKS));

		if (rnd(3) == 0) {
			link_is(s, link, !s->down[link]);
			for (i = 0; i < PREFIXES; i++) {
				uint32_t first, second;
				uint16_t now = leaves_by(s, i);
				bool own = !now;

				for (m = 0; m < METRICS; m++)
					own |= ways[i].iface[m] == now;
				assert_true(own);
				snprintf(text, sizeof(text), "10.%d.0.1", i + 1);
				if (nexthop_is_pair(s->ns, raw(s, text), &first, &second))
					assert_false(s->down[now] && (!s->down[nexthop_at(s->ns, first)->iface] ||
								      !s->down[nexthop_at(s->ns, second)->iface]));
			}
			rib_links_changed(s->rib);
		} else {
			snprintf(text, sizeof(text), "10.%d.0.0/16", i + 1);
			if (ways[i].iface[m] && rnd(2)) {
				remove_route(s, text, (uint32_t)m);
				ways[i].iface[m] = 0;
			} else {
				by(s, text, (uint32_t)m, link);
				ways[i].iface[m] = link;
			}
		}
		settle(s);
		for (i = 0; i < PREFIXES; i++) {
			assert_int_equal(leaves_by(s, i), best_link(s, &ways[i]));
			snprintf(text, sizeof(text), "10.%d.0.1", i + 1);
			assert_false(moving(s, text));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(switch_test, setup, teardown),
		cmocka_unit_test_setup_teardown(kinds_test, setup, teardown),
		cmocka_unit_test_setup_teardown(third_test, setup, teardown),
		cmocka_unit_test_setup_teardown(come_and_go_test, setup, teardown),
		cmocka_unit_test_setup_teardown(grace_test, setup, teardown),
		cmocka_unit_test_setup_teardown(used_between_test, setup, teardown),
		cmocka_unit_test_setup_teardown(ids_grace_test, setup, teardown),
		cmocka_unit_test_setup_teardown(ids_named_again_test, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room_test, setup, teardown),
		cmocka_unit_test_setup_teardown(room_again_test, setup, teardown),
		cmocka_unit_test_setup_teardown(room_in_slices_test, setup, teardown),
		cmocka_unit_test_setup_teardown(recursion_test, setup, teardown),
		cmocka_unit_test_setup_teardown(next_life_test, setup, teardown),
		cmocka_unit_test_setup_teardown(random_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
