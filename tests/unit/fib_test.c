/* fib_test.c: the FIB against a list of prefixes searched from end to end, over memory of the test's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fib_reference.h"

#define UNITS (FIB_FIRST + 32768)

static int setup(void **arg)
{
	struct state *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	fib_memory_open(&s->m, UNITS);
	s->seed = 88172645463325252ull;
	s->refused = UINT32_MAX;
	*arg = s;
	return 0;
}

static int teardown(void **arg)
{
	struct state *s = *arg;

	fib_memory_close(&s->m);
	free(s);
	return 0;
}

static struct prefix pfx(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, 0, true, &p), 0);
	return p;
}

static uint32_t look(struct state *s, uint16_t vrf, const char *text)
{
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	return fib_lookup(s->m.fib, vrf, &a);
}

static void random_changes_test(void **arg)
{
	struct state *s = *arg;
	int round, i;

	for (round = 0; round < 300; round++) {
		for (i = rnd(s) % 40; i >= 0; i--)
			mutate(s);
		assert_int_equal(fib_commit(s->m.fib), 0);
		compare(s, s->ref, 200);
	}
	/* all gone: nothing but the fixed tables is left */
	for (i = 0; i < N_REF; i++)
		if (s->ref[i].value) {
			assert_int_equal(fib_delete(s->m.fib, s->ref[i].vrf, &s->ref[i].p), 0);
			s->ref[i].value = 0;
		}
	assert_int_equal(fib_commit(s->m.fib), 0);
	compare(s, s->ref, 200);
	assert_int_equal(fib_size(s->m.fib).units, FIB_FIRST);
	assert_int_equal(fib_size(s->m.fib).routes4, 0);
	assert_int_equal(fib_size(s->m.fib).routes6, 0);
}

/* Nothing is seen before the commit; the edges of lengths. */
static void edges_test(void **arg)
{
	struct state *s = *arg;
	struct prefix p;

	p = pfx("0.0.0.0/0");
	assert_int_equal(fib_set(s->m.fib, 0, &p, 1), 0);
	assert_int_equal(look(s, 0, "192.0.2.1"), 0);
	assert_int_equal(fib_commit(s->m.fib), 0);
	assert_int_equal(look(s, 0, "192.0.2.1"), 1);
	assert_int_equal(look(s, 0, "0.0.0.0"), 1);
	assert_int_equal(look(s, 0, "255.255.255.255"), 1);
	assert_int_equal(look(s, 0, "2001:db8::1"), 0);
	assert_int_equal(look(s, 1, "192.0.2.1"), 0);
	p = pfx("255.255.255.255/32");
	assert_int_equal(fib_set(s->m.fib, 0, &p, 2), 0);
	p = pfx("255.255.128.0/17");
	assert_int_equal(fib_set(s->m.fib, 0, &p, 3), 0);
	p = pfx("255.255.0.0/16");
	assert_int_equal(fib_set(s->m.fib, 0, &p, 4), 0);
	p = pfx("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
	assert_int_equal(fib_set(s->m.fib, 255, &p, 5), 0);
	p = pfx("::/0");
	assert_int_equal(fib_set(s->m.fib, 255, &p, 6), 0);
	assert_int_equal(fib_commit(s->m.fib), 0);
	assert_int_equal(look(s, 0, "255.255.255.255"), 2);
	assert_int_equal(look(s, 0, "255.255.255.254"), 3);
	assert_int_equal(look(s, 0, "255.255.127.255"), 4);
	assert_int_equal(look(s, 0, "255.254.255.255"), 1);
	assert_int_equal(look(s, 255, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 5);
	assert_int_equal(look(s, 255, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"), 6);
	assert_int_equal(look(s, 254, "::1"), 0);
}

static void refusals_test(void **arg)
{
	struct state *s = *arg;
	struct prefix p = pfx("10.0.0.0/8");

	assert_int_equal(fib_set(s->m.fib, 0, &p, 0), -EINVAL);
	assert_int_equal(fib_set(s->m.fib, 0, &p, 1u << 31), -EINVAL);
	assert_int_equal(fib_set(s->m.fib, VRF_MAX, &p, 1), -EINVAL);
	p.len = 33;
	assert_int_equal(fib_set(s->m.fib, 0, &p, 1), -EINVAL);
	p.family = 0;
	assert_int_equal(fib_set(s->m.fib, 0, &p, 1), -EINVAL);
	fib_limit(s->m.fib, 1, 0);
	p = pfx("10.0.0.0/24");
	assert_int_equal(fib_set(s->m.fib, 0, &p, 7), 0);
	assert_int_equal(fib_set(s->m.fib, 0, &p, 8), 0);
	p = pfx("10.0.1.0/24");
	assert_int_equal(fib_set(s->m.fib, 0, &p, 9), -E2BIG);
	p = pfx("2001:db8::/32");
	assert_int_equal(fib_set(s->m.fib, 0, &p, 9), -E2BIG);
	assert_int_equal(fib_commit(s->m.fib), 0);
	assert_int_equal(look(s, 0, "10.0.0.1"), 8);
	assert_int_equal(look(s, 0, "10.0.1.1"), 0);
}

/* Host routes far apart use the most memory: at the end of it a newcomer is refused, and what was there stays right. */
static void full_test(void **arg)
{
	struct state *s = *arg;
	struct prefix p = {.family = 6, .len = 128};
	struct addr *set = calloc(UNITS, sizeof(*set));
	uint32_t n = 0, i;
	int r;

	assert_non_null(set);
	do {
		for (i = 0; i < 16; i++)
			p.addr.a8[i] = rnd(s);
		p.addr.a8[0] = 0x20;
		set[n] = p.addr;
		r = fib_set(s->m.fib, 1, &p, n + 1);
	} while (r == 0 && ++n < UNITS);
	assert_int_equal(r, -E2BIG);
	assert_int_equal(fib_size(s->m.fib).routes6, n);
	assert_int_equal(fib_commit(s->m.fib), 0);
	for (i = 0; i < n; i++)
		assert_int_equal(fib_lookup(s->m.fib, 1, &set[i]), i + 1);
	assert_int_equal(fib_lookup(s->m.fib, 1, &set[n]), 0);
	for (i = 0; i < n; i++) {
		p.addr = set[i];
		assert_int_equal(fib_delete(s->m.fib, 1, &p), 0);
	}
	assert_int_equal(fib_commit(s->m.fib), 0);
	assert_int_equal(fib_size(s->m.fib).units, FIB_FIRST);
	p.addr = set[n];
	assert_int_equal(fib_set(s->m.fib, 1, &p, 5), 0);
	assert_int_equal(fib_commit(s->m.fib), 0);
	assert_int_equal(fib_lookup(s->m.fib, 1, &set[n]), 5);
	free(set);
}

/* Adoption: a new life finds the memory, packets see no change until its commit, and only what differs is written. */
static void adopt_test(void **arg)
{
	struct state *s = *arg;
	struct fib_unit *before;
	bool damaged;
	int i;

	for (i = 0; i < 4000; i++)
		mutate(s);
	assert_int_equal(fib_commit(s->m.fib), 0);
	fib_close(s->m.fib);
	before = malloc(UNITS * sizeof(*before));
	assert_non_null(before);
	memcpy(before, s->m.units, UNITS * sizeof(*before));

	assert_int_equal(fib_open(s->m.units, UNITS, s->m.roots, &s->m.fib, &damaged), 0);
	assert_false(damaged);
	compare(s, s->ref, 1000);
	for (i = 0; i < N_REF; i++)
		if (s->ref[i].value)
			assert_int_equal(fib_set(s->m.fib, s->ref[i].vrf, &s->ref[i].p, s->ref[i].value), 0);
	assert_int_equal(fib_commit(s->m.fib), 0);
	assert_memory_equal(before, s->m.units, UNITS * sizeof(*before));

	fib_close(s->m.fib);
	assert_int_equal(fib_open(s->m.units, UNITS, s->m.roots, &s->m.fib, &damaged), 0);
	for (i = 0; i < N_REF; i++) {
		if (i % 3 == 0)
			s->ref[i].value = 0;
		if (s->ref[i].value)
			assert_int_equal(fib_set(s->m.fib, s->ref[i].vrf, &s->ref[i].p, s->ref[i].value), 0);
	}
	for (i = 0; i < 100; i++)
		mutate(s);
	assert_int_equal(fib_commit(s->m.fib), 0);
	compare(s, s->ref, 5000);
	free(before);
}

/* Memory that is no FIB (a foreign layout, bits fallen over) is recognised and replaced, never followed. */
static void damaged_test(void **arg)
{
	struct state *s = *arg;
	struct prefix p = pfx("10.1.2.0/24");
	bool damaged;
	int i, round, seen = 0;

	for (round = 0; round < 40; round++) {
		for (i = 0; i < 300; i++)
			mutate(s);
		assert_int_equal(fib_commit(s->m.fib), 0);
		fib_close(s->m.fib);
		for (i = 0; i < 20; i++)
			s->m.units[FIB_FIRST + rnd(s) % 512].word[rnd(s) % FIB_UNIT_WORDS] ^= 1u << (rnd(s) % 32);
		assert_int_equal(fib_open(s->m.units, UNITS, s->m.roots, &s->m.fib, &damaged), 0);
		seen += damaged;
		memset(s->ref, 0, sizeof(s->ref));
		assert_int_equal(fib_set(s->m.fib, 0, &p, 77), 0);
		assert_int_equal(fib_commit(s->m.fib), 0);
		assert_int_equal(look(s, 0, "10.1.2.3"), 77);
		assert_int_equal(look(s, 0, "10.1.3.3"), 0);
		assert_int_equal(fib_delete(s->m.fib, 0, &p), 0);
		assert_int_equal(fib_commit(s->m.fib), 0);
		compare(s, s->ref, 100);
	}
	assert_true(seen > 0);
}

/* Words that are not what was written, anywhere: found by looking up addresses, and written anew, without a word of other
 * addresses' routes being lost. The search stands whatever it reads. */
static void repair_test(void **arg)
{
	struct state *s = *arg;
	uint32_t i, k, found = 0;
	struct addr a;
	uint8_t family;
	uint16_t vrf;
	int round;

	for (round = 0; round < 60; round++) {
		for (i = 0; i < 100; i++)
			mutate(s);
		assert_int_equal(fib_commit(s->m.fib), 0);
		for (i = 0; i < 40; i++)
			s->m.units[FIB_FIRST + rnd(s) % 4096].word[rnd(s) % FIB_UNIT_WORDS] =
				rnd(s) % 2 ? rnd(s) << 16 ^ rnd(s) : 0;
		for (i = 0; i < 2; i++)
			s->m.units[(i ? FIB_DIRECT4 : FIB_DIRECT6) + 2].word[rnd(s) % FIB_UNIT_WORDS] =
				FIB_NODE | (rnd(s) << 16 ^ rnd(s));
		for (i = 0; i < 2000; i++) {
			family = rnd(s) % 2 ? 4 : 6;
			vrf = rnd(s) % 3;
			a = random_addr(s, family);
			k = reference(s->ref, vrf, &a, family);
			if (fib_lookup(s->m.fib, vrf, &a) == k)
				continue;
			found++;
			assert_int_equal(fib_repair(s->m.fib, vrf, &a), 0);
			assert_int_equal(fib_commit(s->m.fib), 0);
			assert_int_equal(fib_lookup(s->m.fib, vrf, &a), k);
		}
	}
	assert_true(found > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(edges_test, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals_test, setup, teardown),
		cmocka_unit_test_setup_teardown(random_changes_test, setup, teardown),
		cmocka_unit_test_setup_teardown(full_test, setup, teardown),
		cmocka_unit_test_setup_teardown(adopt_test, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_test, setup, teardown),
		cmocka_unit_test_setup_teardown(repair_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
