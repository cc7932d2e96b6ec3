/* ecmp_test.c: groups of nexthops: who gets how many buckets, who moves when a member comes or goes, the hash of the data
 * plane itself, and the ids after a restart.
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
#include "fib_grace.h"

/* There are no packets here. */
void fib_grace_period(void)
{
}

uint64_t fib_grace_ask(void)
{
	return 1;
}

bool fib_grace_over(uint64_t ticket)
{
	return true;
}

static uint32_t count(const struct nhg_bucket *b, uint32_t n, uint32_t nexthop)
{
	uint32_t i, c = 0;

	for (i = 0; i < n; i++)
		c += b[i].nexthop == nexthop;
	return c;
}

/* For 2 to 40 members: shares differ by one at most; a leaver moves its own and no other; it gets exactly its share back. */
static void leave_and_join_test(void **arg)
{
	struct nhg_bucket b[1024] = {0}, before[1024];
	struct nhg_member m[41], less[41];
	uint32_t n = 1024, i, moved, own;
	size_t members, k, gone;

	for (members = 2; members <= 40; members++) {
		memset(b, 0, sizeof(b));
		for (k = 0; k < members; k++)
			m[k] = (struct nhg_member){10 + k, 1};
		assert_true(nhg_balance(b, n, m, members));
		for (k = 0; k < members; k++)
			assert_in_range(count(b, n, 10 + k), n / members, (n + members - 1) / members);
		assert_false(nhg_balance(b, n, m, members));

		gone = members / 2;
		memcpy(before, b, sizeof(b));
		own = count(b, n, 10 + gone);
		memcpy(less, m, gone * sizeof(*m));
		memcpy(less + gone, m + gone + 1, (members - gone - 1) * sizeof(*m));
		nhg_balance(b, n, less, members - 1);
		for (i = moved = 0; i < n; i++) {
			moved += b[i].nexthop != before[i].nexthop;
			if (before[i].nexthop != 10 + gone)
				assert_int_equal(b[i].nexthop, before[i].nexthop);
		}
		assert_int_equal(moved, own);

		memcpy(before, b, sizeof(b));
		nhg_balance(b, n, m, members);
		for (i = moved = 0; i < n; i++)
			if (b[i].nexthop != before[i].nexthop) {
				moved++;
				assert_int_equal(b[i].nexthop, 10 + gone);
			}
		assert_in_range(moved, n / members, (n + members - 1) / members);
	}
}

static void weights_test(void **arg)
{
	struct nhg_bucket b[256] = {0};
	struct nhg_member m[3] = {{1, 1}, {2, 2}, {3, 5}};

	nhg_balance(b, 256, m, 3);
	assert_int_equal(count(b, 256, 1), 32);
	assert_int_equal(count(b, 256, 2), 64);
	assert_int_equal(count(b, 256, 3), 160);
}

/* Connections spread evenly over four members by the data plane's own hash, whichever part of the tuple differs. */
static void check_balance(uint32_t policy)
{
	uint32_t hits[4][4] = {0}, i, h;
	struct tuple t;
	int what, k;

	for (i = 0; i < 40000; i++) {
		for (what = 0; what < 4; what++) {
			memset(&t, 0, sizeof(t));
			addr_from4(&t.saddr, bpf_htonl(what == 0 ? 0x0a000000 + i : 0x0a000001));
			addr_from4(&t.daddr, bpf_htonl(what == 1 ? 0xc0000000 + i * 256 : 0xc0000201));
			t.sport = bpf_htons(what == 2 ? i : 1024);
			t.dport = bpf_htons(80);
			if (what == 3)
				t.daddr.a64[0] = bpf_cpu_to_be64(0x20010db800000000 + i);
			h = ecmp_hash(&t, 6, false, policy, 12345);
			hits[what][h & 3]++;
		}
	}
	for (what = 0; what < 4; what++) {
		for (k = 0; k < 4; k++) {
			if (what == 2 && policy == ECMP_L3) /* ports alone differ: one way for all */
				assert_true(hits[what][k] == 0 || hits[what][k] == 40000);
			else
				assert_in_range(hits[what][k], 9600, 10400);
		}
	}
}

static void hash_balance_test(void **arg)
{
	check_balance(ECMP_L4);
	check_balance(ECMP_L3);
	check_balance(ECMP_SYMMETRIC);
}

/* Both directions of a connection, and of its fragments; by L4 they differ. */
static void hash_symmetric_test(void **arg)
{
	struct tuple t = {0}, back = {0};
	int i, same = 0;

	for (i = 1; i < 1000; i++) {
		addr_from4(&t.saddr, bpf_htonl(0x0a000000 + i));
		addr_from4(&t.daddr, bpf_htonl(0xc0000201));
		t.sport = i;
		t.dport = 80;
		back = (struct tuple){.saddr = t.daddr, .daddr = t.saddr, .sport = t.dport, .dport = t.sport};
		assert_int_equal(ecmp_hash(&t, 6, false, ECMP_SYMMETRIC, 7), ecmp_hash(&back, 6, false, ECMP_SYMMETRIC, 7));
		assert_int_equal(ecmp_hash(&t, 6, true, ECMP_SYMMETRIC, 7), ecmp_hash(&back, 6, true, ECMP_SYMMETRIC, 7));
		same += ecmp_hash(&t, 6, false, ECMP_L4, 7) == ecmp_hash(&back, 6, false, ECMP_L4, 7);
	}
	assert_in_range(same, 0, 2);
}

/* All fragments of a datagram take one way, ports or not; the seed makes two routers differ. */
static void hash_fragment_test(void **arg)
{
	struct tuple t = {.sport = 1, .dport = 2}, later = {0};
	int i, same = 0;

	addr_from4(&t.saddr, 1);
	addr_from4(&t.daddr, 2);
	later.saddr = t.saddr;
	later.daddr = t.daddr;
	assert_int_equal(ecmp_hash(&t, 17, true, ECMP_L4, 9), ecmp_hash(&later, 17, true, ECMP_L4, 9));
	assert_int_not_equal(ecmp_hash(&t, 17, false, ECMP_L4, 9), ecmp_hash(&later, 17, false, ECMP_L4, 9));
	for (i = 0; i < 1000; i++) {
		t.sport = i;
		same += (ecmp_hash(&t, 6, false, ECMP_L4, 1) & 1) == (ecmp_hash(&t, 6, false, ECMP_L4, 2) & 1);
	}
	assert_in_range(same, 400, 600);
}

/* A dead member loses its buckets, all dead keep theirs. */
static void alive_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[3];
	const struct nhg_member *got;
	uint32_t group, shares[3];
	int i;

	for (i = 0; i < 3; i++)
		m[i] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &group), 0);
	nexthop_settle(s->ns);
	assert_false(nexthop_settle(s->ns));
	nexthop_set_alive(s->ns, m[1].nexthop, false);
	assert_true(nexthop_settle(s->ns));
	assert_int_equal(nhg_members(s->ns, group, &got, shares, 3), 3);
	assert_int_equal(shares[1], 0);
	assert_int_equal(shares[0] + shares[2], s->groups[group].mask + 1);
	nexthop_set_alive(s->ns, m[0].nexthop, false);
	assert_true(nexthop_settle(s->ns));
	nexthop_set_alive(s->ns, m[2].nexthop, false);
	assert_false(nexthop_settle(s->ns));
	assert_int_equal(nhg_members(s->ns, group, &got, shares, 3), 3);
	assert_int_equal(shares[2], s->groups[group].mask + 1);
	nexthop_set_alive(s->ns, m[0].nexthop, true);
	assert_true(nexthop_settle(s->ns));
	nhg_members(s->ns, group, &got, shares, 3);
	assert_int_equal(shares[0], s->groups[group].mask + 1);
}

/* A group of three, the second of which is drained: its id. */
static uint32_t drained_group(struct state *s, struct nhg_member m[3])
{
	uint32_t group;

	for (int i = 0; i < 3; i++)
		m[i] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &group), 0);
	nexthop_settle(s->ns);
	nexthop_set_drained(s->ns, m[1].nexthop, 1000);
	assert_true(nexthop_settle(s->ns));
	return group;
}

/* A flow of UDP that has bucket i for itself. */
static uint32_t pick(struct state *s, uint32_t group, uint32_t i, uint32_t asks)
{
	struct tuple t = {.sport = i};

	return pick_for(s, group, i, &t, IPPROTO_UDP, asks);
}

/* The buckets of a drained member: what is new goes elsewhere, what has no flow stays until it pauses; the others stay as they
 * are. */
static void drain_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_bucket before[N_BUCKETS];
	struct nhg_member m[3];
	uint32_t i, group, again, n, drained, busy = UINT32_MAX, mine = 0;

	group = drained_group(s, m);
	n = s->groups[group].mask + 1;
	drained = m[1].nexthop;
	for (i = 0; i < n; i++) {
		if (pick(s, group, i, ECMP_ROUTED) != drained) {
			assert_int_equal(s->buckets[s->groups[group].base + i].former, 0);
			continue;
		}
		mine++;
		busy = i;
		assert_int_not_equal(pick(s, group, i, ECMP_FIRST) & 0xffff, drained);
		assert_int_equal(ECMP_FORMER(pick(s, group, i, ECMP_FIRST)), drained);
		assert_int_equal(pick(s, group, i, drained), drained);
		assert_int_not_equal(pick(s, group, i, m[0].nexthop), drained);
	}
	assert_in_range(mine, n / 3, n / 3 + 1);
	assert_int_equal(nexthop_held(s->ns, drained), mine);
	memcpy(before, s->buckets + s->groups[group].base, n * sizeof(before[0]));
	memset(s->buckets + s->groups[group].base, 0, n * sizeof(before[0]));
	assert_int_equal(nexthop_held(s->ns, drained), mine); /* without looking at each of them again */
	memcpy(s->buckets + s->groups[group].base, before, n * sizeof(before[0]));
	nexthop_unuse(s->ns, group | NEXTHOP_IS_GROUP);
	assert_int_equal(nexthop_held(s->ns, drained), 0);
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &again), 0);
	assert_int_equal(again, group);
	assert_int_equal(nexthop_held(s->ns, drained), mine);
	assert_true(idle_pass(s, 5000, 0));
	assert_true(idle_pass(s, 14999, 0));
	assert_int_equal(nexthop_held(s->ns, drained), mine);
	pick(s, group, busy, ECMP_ROUTED);
	assert_true(idle_pass(s, 15000, 0));
	assert_int_equal(nexthop_held(s->ns, drained), 1);
	for (i = 0; i < n; i++) {
		assert_int_equal(pick(s, group, i, ECMP_ROUTED) == drained, i == busy);
		assert_int_equal(s->buckets[s->groups[group].base + i].nexthop, before[i].nexthop);
		assert_int_equal(pick(s, group, i, drained) == drained, before[i].former == drained); /* of a flow entry */
	}
	assert_true(idle_pass(s, 25000, 0)); /* it was asked for just now */
	assert_int_equal(nexthop_held(s->ns, drained), 1);
	assert_false(idle_pass(s, 35000, 0));
	assert_int_equal(nexthop_held(s->ns, drained), 0);
}

/* After the time that it may take at most a bucket goes, in use or not. */
static void overdue_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[3];
	uint32_t group = drained_group(s, m), n = s->groups[group].mask + 1;

	for (uint32_t now = 0; now < 59000; now += 1000) {
		for (uint32_t i = 0; i < n; i++)
			pick(s, group, i, ECMP_ROUTED);
		assert_true(idle_pass(s, now, 60));
	}
	for (uint32_t i = 0; i < n; i++)
		pick(s, group, i, ECMP_ROUTED);
	assert_false(idle_pass(s, 60000, 60));
	assert_int_equal(nexthop_held(s->ns, m[1].nexthop), 0);
}

/* One that is not drained any more has its buckets again, those that have left it too; one that dies loses them at once. */
static void undrain_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_bucket before[N_BUCKETS];
	struct nhg_member m[3];
	uint32_t group, i, n;

	for (i = 0; i < 3; i++)
		m[i] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &group), 0);
	nexthop_settle(s->ns);
	n = s->groups[group].mask + 1;
	memcpy(before, s->buckets + s->groups[group].base, n * sizeof(before[0]));
	for (int released = 0; released < 2; released++) {
		nexthop_set_drained(s->ns, m[1].nexthop, 1000);
		assert_true(nexthop_settle(s->ns));
		if (released)
			assert_false(idle_pass(s, 2000, 1));
		nexthop_set_drained(s->ns, m[1].nexthop, 0);
		nexthop_settle(s->ns);
		assert_memory_equal(before, s->buckets + s->groups[group].base, n * sizeof(before[0]));
	}
	nexthop_set_drained(s->ns, m[1].nexthop, 1000);
	nexthop_settle(s->ns);
	nexthop_set_alive(s->ns, m[1].nexthop, false);
	nexthop_settle(s->ns);
	for (i = 0; i < n; i++)
		assert_int_not_equal(pick(s, group, i, ECMP_ROUTED), m[1].nexthop);
	assert_int_equal(nexthop_held(s->ns, m[1].nexthop), 0);
}

/* Drained one after the other: who was with the first stays there, though its bucket went to the second. */
static void drain_two_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[3];
	uint32_t group = drained_group(s, m), n = s->groups[group].mask + 1, was[N_BUCKETS];

	for (uint32_t i = 0; i < n; i++)
		was[i] = pick(s, group, i, ECMP_ROUTED);
	nexthop_set_drained(s->ns, m[0].nexthop, 1001);
	assert_true(nexthop_settle(s->ns));
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(pick(s, group, i, ECMP_ROUTED), was[i]);
		assert_int_equal(pick(s, group, i, ECMP_FIRST) & 0xffff, m[2].nexthop);
	}
}

/* What is held stays so over a restart, and in a group that takes the place of another. */
static void held_restart_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[4];
	uint32_t group = drained_group(s, m), n = s->groups[group].mask + 1, again, was[N_BUCKETS], held;

	held = nexthop_held(s->ns, m[1].nexthop);
	nexthop_set_state(s->ns, m[1].nexthop, NULL, NEXTHOP_F_DRAINED);
	for (uint32_t i = 0; i < n; i++)
		was[i] = pick(s, group, i, ECMP_ROUTED);
	assert_true(idle_pass(s, 1000000, 0));
	reopen(s);
	for (int i = 0; i < 3; i++)
		assert_int_equal(gateway(s, i), m[i].nexthop);
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &again), 0);
	assert_int_equal(again, group);
	nexthop_set_drained(s->ns, m[1].nexthop, s->nh[m[1].nexthop].drained_s);
	nexthop_settle(s->ns);
	assert_int_equal(s->nh[m[1].nexthop].drained_s, 1000);
	assert_true(idle_pass(s, 500, 0)); /* another clock: the time that it is idle began anew */
	assert_int_equal(nexthop_held(s->ns, m[1].nexthop), held);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(pick(s, group, i, ECMP_ROUTED), was[i]);
	m[3] = (struct nhg_member){gateway(s, 9), 1};
	assert_int_equal(nhg_use(s->ns, m, 4, group, 0, &again), 0);
	nexthop_settle(s->ns);
	for (uint32_t i = 0; i < n; i++)
		if (was[i] == m[1].nexthop)
			assert_int_equal(pick(s, again, i, ECMP_ROUTED), was[i]);
}

/* Order and doubles do not make another group; one that replaces another keeps the choices they share. */
static void replace_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[4], turned[5];
	uint32_t i, a, b, n, kept = 0;

	for (i = 0; i < 4; i++)
		m[i] = turned[3 - i] = (struct nhg_member){gateway(s, i), 2};
	turned[0].weight = 1;
	turned[4] = turned[0];
	assert_int_equal(nhg_use(s->ns, m, 4, 0, 0, &a), 0);
	assert_int_equal(nhg_use(s->ns, turned, 5, 0, 0, &b), 0);
	assert_int_equal(a, b);
	assert_int_equal(nhg_use(s->ns, m, 3, a, 0, &b), 0);
	assert_int_not_equal(a, b);
	n = s->groups[a].mask + 1;
	assert_int_equal(s->groups[b].mask + 1, n);
	for (i = 0; i < n; i++) {
		if (s->buckets[s->groups[a].base + i].nexthop == m[3].nexthop)
			continue;
		assert_int_equal(s->buckets[s->groups[a].base + i].nexthop, s->buckets[s->groups[b].base + i].nexthop);
		kept++;
	}
	assert_int_equal(kept, n - n / 4);
}

/* A group that changes keeps its id, and its choices as far as they are left; who used the old buckets has time. */
static void change_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[4];
	uint32_t i, n, id, other, base, was[1024];
	bool changed;

	for (i = 0; i < 4; i++)
		m[i] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 7, &id), 0);
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &other), 0);
	assert_int_not_equal(id, other);
	nexthop_settle(s->ns);
	n = s->groups[id].mask + 1;
	base = s->groups[id].base;
	for (i = 0; i < n; i++)
		was[i] = s->buckets[base + i].nexthop;
	assert_int_equal(nhg_change(s->ns, id, m, 3, &changed), 0);
	assert_false(changed);
	assert_int_equal(nhg_change(s->ns, id, m, 4, &changed), 0);
	assert_true(changed);
	assert_int_not_equal(s->groups[id].base, base);
	assert_int_equal(s->groups[id].mask + 1, n);
	for (i = 0; i < n; i++) {
		uint32_t now = s->buckets[s->groups[id].base + i].nexthop;

		assert_true(now == was[i] || now == m[3].nexthop);
		assert_int_equal(s->buckets[base + i].nexthop, was[i]);
		assert_int_equal(s->buckets[s->groups[other].base + i].nexthop, was[i]);
	}
	/* a new life finds it by its owner */
	reopen(s);
	for (i = 0; i < 4; i++)
		assert_int_equal(gateway(s, i), m[i].nexthop);
	assert_int_equal(nhg_use(s->ns, m, 4, 0, 8, &i), 0);
	assert_int_not_equal(i, id);
	assert_int_equal(nhg_use(s->ns, m, 4, 0, 7, &i), 0);
	assert_int_equal(i, id);
}

/* Four would do with fewer buckets than five have: then flows of those that stay would move. A new life knows the group again. */
static void shrink_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[5];
	uint32_t i, a, b, again, n;

	for (i = 0; i < 5; i++)
		m[i] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, m, 5, 0, 0, &a), 0);
	assert_int_equal(nhg_use(s->ns, m, 4, a, 0, &b), 0);
	n = s->groups[a].mask + 1;
	assert_int_equal(n, 128);
	assert_int_equal(s->groups[b].mask + 1, n);
	for (i = 0; i < n; i++)
		if (s->buckets[s->groups[a].base + i].nexthop != m[4].nexthop)
			assert_int_equal(s->buckets[s->groups[a].base + i].nexthop, s->buckets[s->groups[b].base + i].nexthop);
	reopen(s);
	for (i = 0; i < 5; i++)
		assert_int_equal(gateway(s, i), m[i].nexthop);
	assert_int_equal(nhg_use(s->ns, m, 4, 0, 0, &again), 0);
	assert_int_equal(again, b);
}

/* Every weight comes out within 1/32, be it one of many. */
static void small_weight_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[2] = {{gateway(s, 0), 1}, {gateway(s, 1), 28}};
	const struct nhg_member *got;
	uint32_t group, shares[2], n;

	assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &group), 0);
	nhg_members(s->ns, group, &got, shares, 2);
	n = s->groups[group].mask + 1;
	assert_in_range(shares[0] * 29 * 32, n * 31, n * 33);
}

#define MANY 256u /* members of a group that the configuration takes */

/* Weights as unlike as can be, over as many members as a group has: each gets what its weight says, within 5 %, wherever there
 * are enough buckets for it, which there are for 255:1. */
static void unlike_weights_test(void **arg)
{
	static const uint32_t ones[] = {1, 128, 255};
	struct state *s = *arg;
	struct nhg_member m[MANY];
	const struct nhg_member *got;
	uint32_t group, shares[MANY], n;

	for (size_t k = 0; k < sizeof(ones) / sizeof(ones[0]); k++) {
		uint64_t total = 0;

		for (uint32_t i = 0; i < MANY; i++) {
			m[i] = (struct nhg_member){gateway(s, 1000 + i), i < ones[k] ? 1 : 255};
			total += m[i].weight;
		}
		assert_int_equal(nhg_use(s->ns, m, MANY, 0, 0, &group), 0);
		assert_int_equal(nhg_members(s->ns, group, &got, shares, MANY), MANY);
		n = s->groups[group].mask + 1;
		for (uint32_t i = 0; i < MANY; i++)
			assert_in_range(shares[i] * total * 100, (uint64_t)n * got[i].weight * 95,
					(uint64_t)n * got[i].weight * 105);
		assert_in_range(nhg_off_percent(s->ns, group), 0, 5);
		nexthop_unuse(s->ns, NEXTHOP_IS_GROUP | group);
		nexthop_sweep(s->ns);
		nexthop_sweep(s->ns);
	}
}

/* Where there is no room for that many buckets, there are fewer: every member has one at least, and nobody is refused. */
static void coarse_weights_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[MANY];
	const struct nhg_member *got;
	uint32_t group, shares[MANY];

	for (uint32_t i = 0; i < MANY; i++)
		m[i] = (struct nhg_member){gateway(s, 1000 + i), i ? 255 : 1};
	assert_int_equal(nhg_use(s->ns, m, MANY, 0, 0, &group), 0);
	assert_int_equal(s->groups[group].mask + 1, N_BUCKETS / 2);
	m[1].weight = 254;
	assert_int_equal(nhg_use(s->ns, m, MANY, 0, 0, &group), 0);
	assert_int_equal(s->groups[group].mask + 1, N_BUCKETS / 4);
	assert_int_equal(nhg_members(s->ns, group, &got, shares, MANY), MANY);
	for (uint32_t i = 0; i < MANY; i++)
		assert_in_range(shares[i], got[i].weight == 1 ? 1 : 127, got[i].weight == 1 ? 1 : 130);
	assert_in_range(nhg_off_percent(s->ns, group), 95, 99); /* half a bucket is what the weight says */
}

/* A new life that asks for the same contents gets the same ids and the same buckets; what it does not ask for is freed. */
static void restart_test(void **arg)
{
	struct state *s = *arg;
	struct state *before = malloc(sizeof(*before));
	struct nhg_member m[3], two[2];
	uint32_t i, a, b, again, id;

	assert_non_null(before);
	for (i = 0; i < 3; i++)
		m[i] = (struct nhg_member){gateway(s, 40 + i), 1};
	assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &b), 0);
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &a), 0);
	nexthop_set_alive(s->ns, m[2].nexthop, false);
	nexthop_settle(s->ns);
	memcpy(before, s, sizeof(*before));

	reopen(s);
	assert_null(nexthop_at(s->ns, m[0].nexthop));
	gateway(s, 7); /* somebody new comes first */
	for (i = 0; i < 3; i++) {
		id = gateway(s, 42 - i);
		assert_int_equal(id, m[2 - i].nexthop);
	}
	nexthop_set_alive(s->ns, m[2].nexthop, false);
	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &again), 0);
	nexthop_settle(s->ns);
	assert_int_equal(again, a);
	assert_memory_equal(&before->groups[again], &s->groups[again], sizeof(struct nhg));
	assert_memory_equal(&before->buckets[s->groups[again].base], &s->buckets[s->groups[again].base],
			    (s->groups[again].mask + 1) * sizeof(struct nhg_bucket));
	nexthop_sweep(s->ns);
	nexthop_sweep(s->ns);
	assert_int_equal(s->groups[b].mask, 0);
	two[0] = m[1];
	two[1] = m[2];
	assert_int_equal(nhg_use(s->ns, two, 2, 0, 0, &id), 0);
	assert_int_not_equal(id, again);
	free(before);
}

/* Used between two sweeps, which see nothing of it: the second finds it unused for the first time. */
static void used_between_sweeps_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[2];
	uint32_t i, id, again;

	for (i = 0; i < 2; i++)
		m[i] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &id), 0);
	nexthop_unuse(s->ns, NEXTHOP_IS_GROUP | id);
	nexthop_sweep(s->ns);
	assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &again), 0);
	assert_int_equal(again, id);
	nexthop_unuse(s->ns, NEXTHOP_IS_GROUP | id);
	nexthop_sweep(s->ns);
	assert_int_not_equal(s->groups[id].mask, 0);
	nexthop_reuse(s->ns, NEXTHOP_IS_GROUP | id);
	nexthop_unuse(s->ns, NEXTHOP_IS_GROUP | id);
	nexthop_sweep(s->ns);
	assert_int_not_equal(s->groups[id].mask, 0);
	nexthop_sweep(s->ns);
	assert_int_equal(s->groups[id].mask, 0);
}

/* Tables run full by name, and have room again. */
static void full_test(void **arg)
{
	struct state *s = *arg;
	struct nexthop_key k = {.type = NEXTHOP_CONNECTED};
	struct nhg_member m[2];
	uint32_t i, id, ids[N_GROUPS];
	bool fresh;

	m[0] = (struct nhg_member){gateway(s, 0), 1};
	for (i = 1; i < N_GROUPS; i++) {
		m[1] = (struct nhg_member){gateway(s, i), 1};
		assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &ids[i]), 0);
	}
	m[1] = (struct nhg_member){gateway(s, i), 1};
	assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &id), -E2BIG);
	nexthop_unuse(s->ns, NEXTHOP_IS_GROUP | ids[3]);
	assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &id), -E2BIG);
	nexthop_sweep(s->ns);
	nexthop_sweep(s->ns);
	assert_int_equal(nhg_use(s->ns, m, 2, 0, 0, &id), 0);
	assert_int_equal(id, ids[3]);
	for (i = 0; i < N_NH; i++) {
		k.iface = i;
		if (nexthop_use(s->ns, &k, &id, &fresh))
			break;
	}
	assert_int_equal(nexthop_use(s->ns, &k, &id, &fresh), -E2BIG);
	assert_int_equal(i, N_NH - 1 - (N_GROUPS + 1));
}

/* What sluiced says of a connection's way is what the data plane does with its packets. */
static void hash_is_the_data_planes_test(void **arg)
{
	struct state *s = *arg;
	struct nhg_member m[3] = {{gateway(s, 1), 1}, {gateway(s, 2), 2}, {gateway(s, 3), 3}};
	uint32_t id, former, bucket, n, hash;

	assert_int_equal(nhg_use(s->ns, m, 3, 0, 0, &id), 0);
	for (int i = 0; i < 1000; i++) {
		struct nhg_flow f;
		struct tuple t;

		for (size_t k = 0; k < sizeof(t); k++)
			((uint8_t *)&t)[k] = rand();
		f = (struct nhg_flow){t.saddr, t.daddr, t.sport, t.dport, (uint8_t)rand()};
		for (uint32_t policy = ECMP_L4; policy <= ECMP_SYMMETRIC; policy++) {
			hash = nhg_hash(&f, policy, i);
			assert_int_equal(hash, ecmp_hash(&t, f.proto, false, policy, i));
			assert_int_equal(nhg_choose(s->ns, id, hash, 0, &former, &bucket, &n),
					 s->buckets[s->groups[id].base + (hash & s->groups[id].mask)].nexthop);
			assert_int_equal(bucket, hash & s->groups[id].mask);
			assert_int_equal(n, s->groups[id].mask + 1);
		}
	}
	assert_int_equal(nhg_choose(s->ns, N_GROUPS - 1, 1, 0, &former, &bucket, &n), 0);
}

static void set_state_test(void **arg)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
	struct state *s = *arg;
	uint32_t id = gateway(s, 1);

	assert_true(nexthop_set_state(s->ns, id, mac, NEXTHOP_F_RESOLVED));
	assert_false(nexthop_set_state(s->ns, id, mac, NEXTHOP_F_RESOLVED));
	assert_memory_equal(s->nh[id].dmac, mac, 6);
	assert_int_equal(s->nh[id].flags, NEXTHOP_F_RESOLVED);
	assert_int_equal(s->nh[id].type, NEXTHOP_GATEWAY);
	assert_true(nexthop_set_state(s->ns, id, NULL, NEXTHOP_F_FAILED));
	assert_int_equal(s->nh[id].flags, NEXTHOP_F_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leave_and_join_test),
		cmocka_unit_test(weights_test),
		cmocka_unit_test(hash_balance_test),
		cmocka_unit_test(hash_symmetric_test),
		cmocka_unit_test(hash_fragment_test),
		cmocka_unit_test_setup_teardown(alive_test, setup, teardown),
		cmocka_unit_test_setup_teardown(drain_test, setup, teardown),
		cmocka_unit_test_setup_teardown(overdue_test, setup, teardown),
		cmocka_unit_test_setup_teardown(undrain_test, setup, teardown),
		cmocka_unit_test_setup_teardown(drain_two_test, setup, teardown),
		cmocka_unit_test_setup_teardown(held_restart_test, setup, teardown),
		cmocka_unit_test_setup_teardown(replace_test, setup, teardown),
		cmocka_unit_test_setup_teardown(change_test, setup, teardown),
		cmocka_unit_test_setup_teardown(shrink_test, setup, teardown),
		cmocka_unit_test_setup_teardown(small_weight_test, setup, teardown),
		cmocka_unit_test_setup_teardown(unlike_weights_test, setup, teardown),
		cmocka_unit_test_setup_teardown(coarse_weights_test, setup, teardown),
		cmocka_unit_test_setup_teardown(restart_test, setup, teardown),
		cmocka_unit_test_setup_teardown(used_between_sweeps_test, setup, teardown),
		cmocka_unit_test_setup_teardown(full_test, setup, teardown),
		cmocka_unit_test_setup_teardown(hash_is_the_data_planes_test, setup, teardown),
		cmocka_unit_test_setup_teardown(set_state_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
