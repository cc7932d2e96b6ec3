/* held_test.c: flows at a drained nexthop: who was there stays, who begins goes elsewhere, whatever else comes; the data plane's
 * bpf/held.h and sluiced's nhg_held.c over one table.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ecmp_util.h"

#define SYN HELD_ASK_FLAGS(0x02)
#define ACK HELD_ASK_FLAGS(0x10)
#define FIN HELD_ASK_FLAGS(0x11)
#define RST HELD_ASK_FLAGS(0x04)

#define IDLE_MS 10000 /* of idle_pass() */

/* A group of three members, of which the second is drained; and the clock of sluiced. */
struct drain {
	struct state *s;
	struct nhg_member m[4];
	uint32_t group, old, now_ms;
};

static struct tuple flow(uint32_t n)
{
	struct tuple t = {.sport = (__be16)n, .dport = 80};

	addr_from4(&t.saddr, bpf_htonl(0x0a000000 + n / 50000));
	addr_from4(&t.daddr, bpf_htonl(0xc0000201));
	return t;
}

/* The way of a packet of flow n; what has no flags is UDP. */
static uint32_t send(struct drain *d, uint32_t n, uint32_t flags)
{
	uint32_t how = flags ? IPPROTO_TCP | HELD_ASK_TCP | flags : IPPROTO_UDP;
	struct tuple t = flow(n);
	uint32_t i = ecmp_hash(&t, how, false, ECMP_L4, 7) & d->s->groups[d->group].mask;

	return pick_for(d->s, d->group, i, &t, how, ECMP_ROUTED);
}

/* What sluiced says of it. */
static uint32_t said(struct drain *d, uint32_t n, uint32_t flags)
{
	struct tuple t = flow(n);
	struct nhg_flow f = {t.saddr, t.daddr, t.sport, t.dport, flags ? IPPROTO_TCP : IPPROTO_UDP};
	uint32_t former, bucket, size, id = nhg_choose(d->s->ns, d->group, nhg_hash(&f, ECMP_L4, 7), 0, &former, &bucket, &size);

	return former ? nhg_held_choose(d->s->ns, d->group, &f, 0, ECMP_L4, former, id, stub_now_ns) : id;
}

static void pass(struct drain *d, uint32_t ms)
{
	d->now_ms += ms;
	stub_now_ns += ms * 1000000ull;
	idle_pass(d->s, d->now_ms, 0);
}

/* Time goes by, and flow `busy` goes on. */
static void wait_with(struct drain *d, uint32_t ms, uint32_t busy, uint32_t flags, uint32_t way)
{
	for (uint32_t t = 0; t < ms; t += 1000) {
		pass(d, 1000);
		assert_int_equal(send(d, busy, flags), way);
	}
}

static void drain(struct drain *d, int member, bool drained)
{
	nexthop_set_drained(d->s->ns, d->m[member].nexthop, drained ? 1000 : 0);
	nexthop_settle(d->s->ns);
	pass(d, 0);
}

static struct drain begin(struct state *s)
{
	struct drain d = {.s = s, .now_ms = 5000};

	for (int i = 0; i < 3; i++)
		d.m[i] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, d.m, 3, 0, 0, &d.group), 0);
	nexthop_settle(s->ns);
	d.old = d.m[1].nexthop;
	return d;
}

/* The next flow from `n` on whose bucket is the drained nexthop's, or would be but for the drain. */
static uint32_t flow_at_old(struct drain *d, uint32_t n, uint8_t proto)
{
	const struct nhg *g = &d->s->groups[d->group];
	struct nhg_bucket *b;
	struct tuple t;

	for (;; n++) {
		t = flow(n);
		b = &d->s->buckets[g->base + (ecmp_hash(&t, proto, false, ECMP_L4, 7) & g->mask)];
		if (b->nexthop == d->old || (b->bits & NHG_HELD && b->former == d->old))
			return n;
	}
}

static uint32_t at_old(struct drain *d, uint32_t n)
{
	return flow_at_old(d, n, IPPROTO_TCP);
}

static uint32_t udp_at_old(struct drain *d, uint32_t n)
{
	return flow_at_old(d, n, IPPROTO_UDP);
}

static uint64_t full_count(void)
{
	uint32_t i = STAT_DRAIN_FULL;

	return *(uint64_t *)bpf_map_lookup_elem(&stats, &i);
}

/* A connection that begins goes elsewhere with all its packets; one that was there stays, and a SYN in its midst moves nothing.
 */
static void tcp_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t old = at_old(&d, 0), fresh = at_old(&d, 1000), back = at_old(&d, 2000), late = at_old(&d, 3000), way;

	assert_int_equal(send(&d, old, ACK), d.old);
	drain(&d, 1, true);
	way = send(&d, fresh, SYN);
	assert_int_not_equal(way, d.old);
	assert_int_equal(send(&d, back, SYN | ACK) != d.old, 1); /* of the side that answers */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send(&d, fresh, ACK), way);
		assert_int_equal(said(&d, fresh, ACK), way);
		assert_int_not_equal(send(&d, back, ACK), d.old);
		assert_int_equal(send(&d, old, ACK), d.old);
		assert_int_equal(said(&d, old, ACK), d.old);
	}
	assert_int_equal(send(&d, late, ACK), d.old); /* it was quiet until now */
	assert_int_equal(send(&d, fresh, SYN), way);
	assert_int_equal(send(&d, old, SYN), d.old);
	assert_int_equal(send(&d, old, ACK), d.old);
	/* It pauses for longer than flows may, and goes on where it was, as long as others hold the bucket or it does. */
	wait_with(&d, 3 * IDLE_MS, late, ACK, d.old);
	assert_int_equal(send(&d, fresh, ACK), way);
}

/* Behind a FIN or RST the same ports are another connection's. */
static void tcp_end_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t n = at_old(&d, 0), other = at_old(&d, 1000), way;

	drain(&d, 1, true);
	assert_int_equal(send(&d, n, ACK), d.old);
	assert_int_equal(send(&d, n, FIN), d.old);
	assert_int_equal(send(&d, n, ACK), d.old);
	way = send(&d, n, SYN);
	assert_int_not_equal(way, d.old);
	assert_int_equal(send(&d, n, ACK), way);
	assert_int_equal(send(&d, n, RST), way);
	assert_int_equal(send(&d, n, ACK), way);
	assert_int_equal(send(&d, other, RST), d.old);
	assert_int_not_equal(send(&d, other, SYN), d.old);
}

/* What is not TCP: who is seen while flows are learned was there; later ones, and those that paused, begin elsewhere. */
static void udp_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t old = udp_at_old(&d, 0), pauses = udp_at_old(&d, old + 1), fresh;

	drain(&d, 1, true);
	assert_int_equal(send(&d, pauses, 0), d.old);
	wait_with(&d, IDLE_MS - 1000, old, 0, d.old);
	fresh = udp_at_old(&d, 5000);
	assert_int_equal(send(&d, fresh, 0), d.old); /* for all that is known it was there */
	assert_int_equal(nexthop_old_flows(d.s->ns, d.old), 2);
	wait_with(&d, 3000, old, 0, d.old);
	assert_int_equal(nexthop_old_flows(d.s->ns, d.old), 2); /* `fresh` has come, `pauses` has paused */
	for (uint32_t i = 0, n = 10000; i < 300; i++, n++) {
		n = udp_at_old(&d, n);
		assert_int_not_equal(said(&d, n, 0), d.old);
		assert_int_not_equal(send(&d, n, 0), d.old);
		assert_int_not_equal(send(&d, n, 0), d.old);
		assert_int_not_equal(said(&d, n, 0), d.old);
	}
	assert_int_not_equal(send(&d, pauses, 0), d.old);
	assert_int_equal(send(&d, old, 0), d.old);
	assert_int_equal(said(&d, old, 0), d.old);
}

/* Those that begin do not hold the bucket, however many come; the last old flow does. */
static void release_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t old = at_old(&d, 0), fresh[500];

	for (uint32_t i = 0, n = 1000; i < 500; i++, n++)
		fresh[i] = n = at_old(&d, n);
	drain(&d, 1, true);
	assert_int_equal(send(&d, old, ACK), d.old);
	for (uint32_t t = 0; t < 3; t++) {
		for (uint32_t i = 0; i < 500; i++)
			assert_int_not_equal(send(&d, fresh[i], t ? ACK : SYN), d.old);
		wait_with(&d, IDLE_MS, old, ACK, d.old);
	}
	assert_int_equal(nexthop_held(d.s->ns, d.old), 1);
	assert_int_equal(nexthop_old_flows(d.s->ns, d.old), 1);
	pass(&d, IDLE_MS);
	pass(&d, IDLE_MS);
	assert_int_equal(nexthop_held(d.s->ns, d.old), 0);
	assert_false(nexthop_holding(d.s->ns));
	assert_int_not_equal(send(&d, old, ACK), d.old);
	for (uint32_t i = 0; i < HELD_LINES; i++)
		for (uint32_t k = 0; k < HELD_WORDS; k++)
			assert_int_equal(held_at(HELD_NOTES + i)->note[k], 0);
}

static void fill(uint32_t kind)
{
	for (uint32_t i = 0; i < HELD_LINES; i++)
		for (uint32_t k = 0; k < HELD_WORDS; k++)
			held_at(HELD_NOTES + i)->note[k] =
				held_note(0xffffffff, kind, stub_now_ns >> HELD_SHIFT & HELD_AGE_MASK, 9);
}

/* Without room it is as before there were notes: all stay with their bucket, and learning takes until there is room. */
static void full_table_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t n = at_old(&d, 0), u;

	drain(&d, 1, true);
	fill(HELD_NEW);
	assert_int_equal(send(&d, n, SYN), d.old);
	assert_int_equal(full_count(), 1);
	assert_int_equal(send(&d, n, ACK), d.old);
	assert_int_equal(full_count(), 1);
	u = udp_at_old(&d, 500);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(send(&d, u, 0), d.old);
		fill(HELD_NEW);
		pass(&d, 1000);
	}
	assert_int_equal(full_count(), 31);
	assert_int_equal(send(&d, u, 0), d.old);
	memset(held_at(HELD_NOTES), 0, HELD_LINES * sizeof(struct held_unit));
	wait_with(&d, IDLE_MS + 2000, u, 0, d.old);
	assert_int_not_equal(send(&d, udp_at_old(&d, 2000), 0), d.old);
	/* What says no more than no note would gives way. */
	fill(HELD_LEFT);
	assert_int_not_equal(send(&d, at_old(&d, 3000), SYN), d.old);
	fill(HELD_OLD);
	assert_int_not_equal(send(&d, at_old(&d, 4000), SYN), d.old);
	assert_int_equal(full_count(), 32);
	/* So does a SYN that nothing has followed. */
	fill(HELD_SYN);
	assert_int_equal(send(&d, at_old(&d, 5000), SYN), d.old);
	stub_now_ns += 5000000000ull;
	assert_int_not_equal(send(&d, at_old(&d, 5000), SYN), d.old);
}

/* Floods of all kinds move nobody: of those that were there, and of those that have begun. */
static void flood_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t old[32], udp[32], fresh[32], way[32];

	for (uint32_t i = 0; i < 32; i++) {
		old[i] = at_old(&d, 10 * i);
		udp[i] = udp_at_old(&d, 10 * i);
		fresh[i] = at_old(&d, 10000 + 10 * i);
	}
	drain(&d, 1, true);
	for (uint32_t i = 0; i < 32; i++) {
		assert_int_equal(send(&d, old[i], ACK), d.old);
		assert_int_equal(send(&d, udp[i], 0), d.old);
		way[i] = send(&d, fresh[i], SYN);
		assert_int_equal(send(&d, fresh[i], ACK), way[i]);
	}
	for (uint32_t n = 100000, turn = 0; turn < 3 * IDLE_MS / 1000; turn++) {
		for (uint32_t i = 0; i < 400000; i++)
			send(&d, n++, i % 8 == 0 ? ACK : i % 8 == 1 ? RST : i % 8 == 2 ? 0 : SYN);
		pass(&d, 1000);
		for (uint32_t i = 0; i < 32; i++) {
			assert_int_equal(send(&d, old[i], ACK), d.old);
			assert_int_equal(send(&d, udp[i], 0), d.old);
			assert_int_equal(send(&d, fresh[i], ACK), way[i]);
		}
	}
	assert_true(full_count());
}

/* The bucket is the nexthop's again, and what was noted counts for nothing at the next drain. */
static void undrain_again_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t n = at_old(&d, 0), fresh = at_old(&d, 1000);

	drain(&d, 1, true);
	assert_int_equal(send(&d, n, ACK), d.old);
	assert_int_not_equal(send(&d, fresh, SYN), d.old);
	assert_int_not_equal(send(&d, fresh, ACK), d.old);
	drain(&d, 1, false);
	assert_int_equal(send(&d, n, ACK), d.old);
	assert_int_equal(send(&d, fresh, ACK), d.old);
	drain(&d, 1, true);
	assert_int_equal(send(&d, n, ACK), d.old);
	assert_int_equal(send(&d, fresh, ACK), d.old);
}

/* Who began at a nexthop that is drained in its turn stays there, as long as the group has it, and holds the bucket. */
static void drained_in_turn_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t n = at_old(&d, 0), second, third;
	bool changed;

	drain(&d, 1, true);
	while (send(&d, n, SYN) != d.m[2].nexthop)
		n = at_old(&d, n + 1);
	second = d.m[2].nexthop;
	third = d.m[0].nexthop;
	assert_int_equal(send(&d, n, ACK), second);
	drain(&d, 2, true);
	assert_int_equal(send(&d, n, ACK), second);
	assert_int_equal(said(&d, n, ACK), second);
	assert_int_equal(send(&d, at_old(&d, n + 1), SYN), third);
	wait_with(&d, 3 * IDLE_MS, n, ACK, second);
	assert_int_equal(nexthop_held(d.s->ns, d.old), 1);
	/* A nexthop that the group has no more is no way, for nobody. */
	d.m[2] = (struct nhg_member){third, 1};
	assert_int_equal(nhg_change(d.s->ns, d.group, d.m, 2, &changed), 0);
	nexthop_settle(d.s->ns);
	assert_int_equal(send(&d, n, ACK), third);
}

/* Where new ones went dies: they go where the bucket goes, not back. */
static void next_dies_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t n = at_old(&d, 0), way;

	drain(&d, 1, true);
	way = send(&d, n, SYN);
	assert_int_equal(send(&d, n, ACK), way);
	nexthop_set_alive(d.s->ns, way, false);
	nexthop_settle(d.s->ns);
	assert_int_equal(send(&d, n, ACK), d.m[0].nexthop + d.m[2].nexthop - way);
	assert_int_equal(said(&d, n, ACK), d.m[0].nexthop + d.m[2].nexthop - way);
}

/* Over a restart of sluiced all stay where they are; what was learned is not learned anew. */
static void restart_keeps_notes_test(void **arg)
{
	struct drain d = begin(*arg);
	uint32_t old = udp_at_old(&d, 0), fresh = at_old(&d, 1000), left, way, again;

	nexthop_set_state(d.s->ns, d.old, NULL, NEXTHOP_F_DRAINED);
	drain(&d, 1, true);
	way = send(&d, fresh, SYN);
	assert_int_equal(send(&d, fresh, ACK), way);
	wait_with(&d, IDLE_MS + 2000, old, 0, d.old);
	left = udp_at_old(&d, 3000);
	reopen(d.s);
	for (int i = 0; i < 3; i++)
		assert_int_equal(gateway(d.s, i), d.m[i].nexthop);
	assert_int_equal(send(&d, old, 0), d.old);
	assert_int_equal(nhg_use(d.s->ns, d.m, 3, 0, 0, &again), 0);
	assert_int_equal(again, d.group);
	drain(&d, 1, true);
	assert_int_equal(send(&d, old, 0), d.old);
	assert_int_equal(send(&d, fresh, ACK), way);
	assert_int_not_equal(send(&d, left, 0), d.old);
	wait_with(&d, 2 * IDLE_MS, old, 0, d.old);
}

/* More drained nexthops than a group has places for: what is not TCP stays with its bucket. */
static void many_drained_test(void **arg)
{
	struct drain d = {.s = *arg};
	struct nhg_member m[HELD_DRAINED + 2];
	uint32_t n;

	for (int i = 0; i < HELD_DRAINED + 2; i++)
		m[i] = (struct nhg_member){gateway(d.s, i), 1};
	assert_int_equal(nhg_use(d.s->ns, m, HELD_DRAINED + 2, 0, 0, &d.group), 0);
	nexthop_settle(d.s->ns);
	for (int i = 0; i < HELD_DRAINED + 1; i++)
		nexthop_set_drained(d.s->ns, m[i].nexthop, 1000);
	nexthop_settle(d.s->ns);
	pass(&d, 0);
	d.old = m[HELD_DRAINED].nexthop;
	n = udp_at_old(&d, 0);
	wait_with(&d, 2 * IDLE_MS, n, 0, d.old);
	/* another one of the same bucket */
	for (uint32_t i = 1000; i < 1200; i++)
		assert_true(send(&d, udp_at_old(&d, i), 0) == d.old || nexthop_held(d.s->ns, d.old) <= 1);
	assert_int_equal(send(&d, at_old(&d, 5000), SYN), m[HELD_DRAINED + 1].nexthop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tcp_test, setup, teardown),
		cmocka_unit_test_setup_teardown(tcp_end_test, setup, teardown),
		cmocka_unit_test_setup_teardown(udp_test, setup, teardown),
		cmocka_unit_test_setup_teardown(release_test, setup, teardown),
		cmocka_unit_test_setup_teardown(full_table_test, setup, teardown),
		cmocka_unit_test_setup_teardown(flood_test, setup, teardown),
		cmocka_unit_test_setup_teardown(undrain_again_test, setup, teardown),
		cmocka_unit_test_setup_teardown(drained_in_turn_test, setup, teardown),
		cmocka_unit_test_setup_teardown(next_dies_test, setup, teardown),
		cmocka_unit_test_setup_teardown(restart_keeps_notes_test, setup, teardown),
		cmocka_unit_test_setup_teardown(many_drained_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
