/* fib_full_test.c: a FIB with little memory, most of which rests in a grace period: a commit waits for nothing, is put off and
 * comes later, and where that would not help either, piece by piece. Grace periods end when the test says so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fib_grace.h"
#include "fib_reference.h"

#define PROBES 60

static uint64_t grace_asked, grace_done;
static bool may_wait;
static uint32_t waited;

void fib_grace_period(void)
{
	if (!may_wait)
		fail_msg("a grace period is waited for");
	grace_done = grace_asked;
	waited++;
}

uint64_t fib_grace_ask(void)
{
	return ++grace_asked;
}

bool fib_grace_over(uint64_t ticket)
{
	return ticket <= grace_done;
}

/* Addresses, and what packets to them see. */
static struct {
	struct addr a;
	uint8_t family;
	uint16_t vrf;
	uint32_t sees;
} probes[PROBES];

static uint32_t see(struct state *s, int i)
{
	return fib_lookup(s->m.fib, probes[i].vrf, &probes[i].a);
}

static void see_all(struct state *s)
{
	for (int i = 0; i < PROBES; i++)
		probes[i].sees = see(s, i);
}

static void open_fib(struct state *s, uint32_t units)
{
	memset(s, 0, sizeof(*s));
	s->seed = 88172645463325252ull;
	grace_asked = grace_done = waited = 0;
	may_wait = false;
	fib_memory_open(&s->m, FIB_FIRST + units);
	for (int i = 0; i < PROBES; i++) {
		probes[i].family = i % 2 ? 4 : 6;
		probes[i].vrf = i / 2 % 3;
		probes[i].a = random_addr(s, probes[i].family);
		probes[i].sees = 0;
	}
}

/* Some probes look where prefixes are. */
static void aim(struct state *s)
{
	for (int i = 0; i < PROBES / 2; i++) {
		const struct ref *r = &s->ref[rnd(s) % N_REF];

		if (!r->value)
			continue;
		probes[i].a = r->p.addr;
		probes[i].family = r->p.family;
		probes[i].vrf = r->vrf;
		probes[i].sees = see(s, i);
	}
}

static int setup(void **arg)
{
	*arg = calloc(1, sizeof(struct state));
	return *arg ? 0 : -1;
}

static int teardown(void **arg)
{
	free(*arg);
	return 0;
}

/* A commit: 0, and packets see all of it; or -EAGAIN, and they see nothing. */
static int commit(struct state *s)
{
	int r = fib_commit(s->m.fib);

	for (int i = 0; i < PROBES; i++) {
		if (!r)
			probes[i].sees = reference(s->ref, probes[i].vrf, &probes[i].a, probes[i].family);
		assert_int_equal(see(s, i), probes[i].sees);
	}
	return r;
}

static void delete_all(struct state *s)
{
	for (int i = 0; i < N_REF; i++)
		if (s->ref[i].value) {
			assert_int_equal(fib_delete(s->m.fib, s->ref[i].vrf, &s->ref[i].p), 0);
			s->ref[i].value = 0;
		}
}

/* Changes until one is put off. */
static void put_off(struct state *s)
{
	int rounds = 0, r;

	do {
		for (int i = rnd(s) % 20; i >= 0; i--)
			mutate(s);
		aim(s);
		r = commit(s);
		assert_true(r == 0 || r == -EAGAIN);
		assert_true(++rounds < 2000);
	} while (!r);
}

/* Everything that changes does so many times, in three VRFs and both families: nodes of all forms, lists that become bytes and
 * come back. What is put off is not tried again before the grace period is over, which is asked for once; changes, withdrawals
 * and repairs that come meanwhile are written with it. Emptied, all memory is free again. */
static void put_off_test(void **arg)
{
	struct state *s = *arg;
	uint64_t asked;
	int r;

	open_fib(s, 2500);
	for (int round = 0; round < 60; round++) {
		put_off(s);
		asked = grace_asked;
		assert_int_equal(asked, grace_done + 1);
		for (int more = rnd(s) % 4; more >= 0; more--) {
			for (int i = rnd(s) % 20; i >= 0; i--)
				mutate(s);
			assert_int_equal(fib_repair(s->m.fib, probes[0].vrf, &probes[0].a), 0);
			assert_int_equal(commit(s), -EAGAIN);
		}
		assert_int_equal(grace_asked, asked);
		if (round % 10 == 9)
			delete_all(s);
		for (int tries = 0; (r = commit(s));
		     tries++) { /* what was given up since it was asked for waits for another one */
			assert_int_equal(r, -EAGAIN);
			assert_true(tries < 3);
			grace_done = grace_asked;
		}
		compare(s, s->ref, 50);
	}
	delete_all(s);
	while (commit(s))
		grace_done = grace_asked;
	assert_int_equal(fib_size(s->m.fib).units, FIB_FIRST);
	fib_memory_close(&s->m);
}

/* The end of the daemon while a commit waits: packets go on seeing what they saw, and the next life writes what it is told. */
static void close_test(void **arg)
{
	struct state *s = *arg;
	bool damaged;

	open_fib(s, 2500);
	for (int life = 0; life < 8; life++) {
		put_off(s);
		fib_close(s->m.fib);
		assert_int_equal(fib_open(s->m.units, FIB_FIRST + 2500, s->m.roots, &s->m.fib, &damaged), 0);
		assert_false(damaged);
		for (int i = 0; i < PROBES; i++)
			assert_int_equal(see(s, i), probes[i].sees);
		for (int i = 0; i < N_REF; i++)
			if (s->ref[i].value)
				assert_int_equal(fib_set(s->m.fib, s->ref[i].vrf, &s->ref[i].p, s->ref[i].value), 0);
		may_wait = true;
		assert_int_equal(fib_commit_wait(s->m.fib), 0);
		may_wait = false;
		compare(s, s->ref, 300);
		see_all(s);
	}
	fib_memory_close(&s->m);
}

/* ---- less than one commit takes */

struct told {
	struct prefix p;
	uint16_t vrf;
	uint32_t value;
};

/* What was ever said of a prefix, by its value, which no other one has. */
static struct {
	struct told v[200000];
	size_t n;
} told;

static void tell(struct state *s)
{
	for (int i = 0; i < N_REF; i++)
		if (s->ref[i].value) {
			assert_true(told.n < sizeof(told.v) / sizeof(told.v[0]));
			told.v[told.n++] = (struct told){s->ref[i].p, s->ref[i].vrf, s->ref[i].value};
		}
}

/* A part of the changes may be written: what packets see was said of a prefix around their address, and they do not miss a longer
 * one that has been in the table all the time. */
static void sees_told(struct state *s, const struct ref *before)
{
	for (int i = 0; i < PROBES; i++) {
		uint32_t v = see(s, i);
		int len = -1, steady = -1;

		for (size_t k = told.n; v && k-- && len < 0;)
			if (told.v[k].value == v && told.v[k].vrf == probes[i].vrf &&
			    covers(&told.v[k].p, &probes[i].a, probes[i].family))
				len = told.v[k].p.len;
		assert_true(!v || len >= 0);
		for (int k = 0; k < N_REF; k++)
			if (before[k].value && before[k].value == s->ref[k].value && before[k].vrf == probes[i].vrf &&
			    covers(&before[k].p, &probes[i].a, probes[i].family) && before[k].p.len > steady)
				steady = before[k].p.len;
		assert_true(len >= steady);
	}
}

/* With so little memory that a commit alone may take more than there is: it goes piece by piece, and nothing stands still. */
static void pieces_test(void **arg)
{
	static struct ref before[N_REF];
	struct state *s = *arg;
	uint32_t later = 0;
	int r, tries;

	for (uint32_t units = 120; units < 600; units += 60) {
		open_fib(s, units);
		memset(before, 0, sizeof(before));
		told.n = 0;
		for (int round = 0; round < 60; round++) {
			for (int i = rnd(s) % 400; i >= 0; i--)
				mutate(s);
			tell(s);
			aim(s);
			for (tries = 0; (r = fib_commit(s->m.fib)) == -EAGAIN; tries++) {
				assert_true(tries < 20);
				sees_told(s, before);
				if (rnd(s) % 4 == 0)
					break;
				grace_done = grace_asked;
			}
			later += tries > 1;
			if (r == -EAGAIN)
				continue;
			assert_int_equal(r, 0);
			compare(s, s->ref, 30);
			memcpy(before, s->ref, sizeof(before));
			told.n = 0;
			tell(s);
		}
		delete_all(s);
		while ((r = fib_commit(s->m.fib)) == -EAGAIN)
			grace_done = grace_asked;
		assert_int_equal(r, 0);
		assert_int_equal(fib_size(s->m.fib).units, FIB_FIRST);
		fib_memory_close(&s->m);
	}
	assert_in_range(later, 10, 4000);
}

/* One prefix in 16 bits of its own: a node, and one unit. */
static void lonely(struct state *s, uint32_t i, uint8_t len, uint32_t value)
{
	struct prefix p = {.family = i % 2 ? 4 : 6, .len = len};

	if (p.family == 4)
		memcpy(p.addr.a8, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
	p.addr.a8[p.family == 4 ? 12 : 0] = 0x20;
	p.addr.a8[p.family == 4 ? 13 : 1] = i;
	assert_int_equal(value ? fib_set(s->m.fib, 0, &p, value) : fib_delete(s->m.fib, 0, &p), 0);
	s->ref[i] = (struct ref){p, 0, value};
}

/* Every node gets another block in one commit, and there is memory for a part of them only: those come at once, the others when
 * the blocks of the first are free. No address is without a result in between. */
static void too_much_test(void **arg)
{
	enum { N = 60 };
	struct state *s = *arg;
	uint32_t i, commits = 0;
	int r;

	open_fib(s, 100);
	for (i = 0; i < N; i++)
		lonely(s, i, 24, i + 1);
	assert_int_equal(commit(s), 0);
	aim(s);
	for (i = 0; i < N; i++) {
		lonely(s, i, 24, 0);
		lonely(s, i, 23, i + 1);
	}
	while ((r = fib_commit(s->m.fib))) {
		assert_int_equal(r, -EAGAIN);
		assert_true(++commits < 10);
		for (int k = 0; k < PROBES; k++)
			assert_true(see(s, k) == probes[k].sees ||
				    see(s, k) == reference(s->ref, probes[k].vrf, &probes[k].a, probes[k].family));
		grace_done = grace_asked;
	}
	assert_in_range(commits, 1, 2);
	for (i = 0; i < N; i++) {
		struct addr a = s->ref[i].p.addr;

		a.a8[s->ref[i].p.family == 4 ? 14 : 2] |= 1;
		assert_int_equal(fib_lookup(s->m.fib, 0, &a), i + 1);
	}
	fib_memory_close(&s->m);
}

/* A host's prefix of `lonely` number i, or one beside it. */
static struct addr in_lonely(const struct state *s, uint32_t i, uint8_t last)
{
	struct addr a = s->ref[i].p.addr;

	a.a8[s->ref[i].p.family == 4 ? 14 : 2] = last;
	return a;
}

/* So many prefixes in the 16 bits of `lonely` number i: a node that takes a long run of units. */
static void crowd(struct state *s, uint32_t i, uint32_t n)
{
	struct prefix p = s->ref[i].p;

	p.len = 24;
	for (uint32_t k = 0; k < n; k++) {
		p.addr = in_lonely(s, i, 2 * k);
		assert_int_equal(fib_set(s->m.fib, 0, &p, 1000 + k), 0);
	}
}

/* What was withdrawn while a commit is put off, and comes back with more than there is room for: packets are led by it until the
 * new node is there. */
static void comes_back_test(void **arg)
{
	enum { N = 60, GONE = 20, NEW = 10 };
	struct state *s = *arg;
	struct addr a;
	uint32_t i;

	open_fib(s, 100);
	for (i = 0; i < N; i++)
		lonely(s, i, 24, i + 1);
	assert_int_equal(fib_commit(s->m.fib), 0);
	for (i = N - GONE; i < N; i++)
		lonely(s, i, 24, 0);
	assert_int_equal(fib_commit(s->m.fib), 0);
	lonely(s, 1, 24, 0);
	for (i = 2; i < N - GONE; i++) {
		lonely(s, i, 24, 0);
		lonely(s, i, 23, i + 1);
	}
	for (i = N; i < N + 2 * NEW; i++)
		lonely(s, i, 24, i + 1);
	assert_int_equal(fib_commit(s->m.fib), -EAGAIN);
	crowd(s, 1, 128);
	a = in_lonely(s, 1, 0);
	assert_int_equal(fib_lookup(s->m.fib, 0, &a), 2);
	grace_done = grace_asked;
	for (i = 0; fib_commit(s->m.fib); i++) {
		assert_int_equal(fib_lookup(s->m.fib, 0, &a), 2);
		assert_true(i < 5);
		grace_done = grace_asked;
	}
	assert_in_range(i, 1, 4);
	assert_int_equal(fib_lookup(s->m.fib, 0, &a), 1000);
	fib_memory_close(&s->m);
}

/* Free memory is in pieces too short for the one node that is new: what is withdrawn goes all the same, and so makes room. */
static void withdrawn_test(void **arg)
{
	enum { N = 84, APART = 34 };
	struct state *s = *arg;
	struct addr a;
	uint32_t i;
	int r, tries;

	open_fib(s, 100);
	for (i = 0; i < N; i++)
		lonely(s, i, 24, i + 1);
	assert_int_equal(fib_commit(s->m.fib), 0);
	for (i = 0; i < APART; i += 2)
		lonely(s, i, 24, 0);
	assert_int_equal(fib_commit(s->m.fib), 0);
	for (i = 1; i < APART; i += 2)
		lonely(s, i, 24, 0);
	s->ref[N].p = s->ref[N - 1].p;
	s->ref[N].p.addr.a8[s->ref[N].p.family == 4 ? 13 : 1] = N;
	crowd(s, N, 128);
	for (tries = 0; (r = fib_commit(s->m.fib)) == -EAGAIN; tries++) {
		assert_true(tries < 5);
		grace_done = grace_asked;
	}
	for (i = 0; i < APART; i++) {
		a = in_lonely(s, i, 0);
		assert_int_equal(fib_lookup(s->m.fib, 0, &a), 0);
	}
	assert_int_equal(r, 0);
	a = in_lonely(s, N, 0);
	assert_int_equal(fib_lookup(s->m.fib, 0, &a), 1000);
	fib_memory_close(&s->m);
}

/* Outside of the event loop a commit waits. */
static void wait_test(void **arg)
{
	struct state *s = *arg;
	int round, i;

	open_fib(s, 900);
	may_wait = true;
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 60; i++)
			mutate(s);
		assert_int_equal(fib_commit_wait(s->m.fib), 0);
		compare(s, s->ref, 50);
	}
	assert_true(waited > 0);
	fib_memory_close(&s->m);
}

/* Blocks at the end of the memory are damaged, and what stands there is changed before anybody notices: nothing is written behind
 * the memory. */
static void damaged_end_test(void **arg)
{
	enum { BEGIN = FIB_FIRST + 900, BEHIND = 32, DAMAGED = 24 };
	static const struct fib_unit zero[BEHIND];
	struct state *s = *arg;
	int round, i;

	open_fib(s, 900 + BEHIND);
	fib_close(s->m.fib);
	assert_int_equal(fib_open(s->m.units, BEGIN, s->m.roots, &s->m.fib, NULL), 0);
	may_wait = true;
	for (round = 0; round < 300; round++) {
		for (i = 0; i < 60; i++)
			mutate(s);
		assert_int_equal(fib_commit_wait(s->m.fib), 0);
		for (i = 0; i < 3 * DAMAGED; i++)
			s->m.units[BEGIN - 1 - rnd(s) % DAMAGED].word[rnd(s) % FIB_NODE_HEAD] = 0xffffff00 | rnd(s);
		for (i = 0; i < 60; i++)
			mutate(s);
		assert_int_equal(fib_commit_wait(s->m.fib), 0);
		assert_memory_equal(s->m.units + BEGIN, zero, sizeof(zero));
		for (i = 0; i < N_REF; i++)
			if (s->ref[i].value)
				assert_int_equal(fib_repair(s->m.fib, s->ref[i].vrf, &s->ref[i].p.addr), 0);
		assert_int_equal(fib_commit_wait(s->m.fib), 0);
	}
	fib_memory_close(&s->m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(put_off_test, setup, teardown),
		cmocka_unit_test_setup_teardown(close_test, setup, teardown),
		cmocka_unit_test_setup_teardown(pieces_test, setup, teardown),
		cmocka_unit_test_setup_teardown(too_much_test, setup, teardown),
		cmocka_unit_test_setup_teardown(comes_back_test, setup, teardown),
		cmocka_unit_test_setup_teardown(withdrawn_test, setup, teardown),
		cmocka_unit_test_setup_teardown(wait_test, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_end_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
