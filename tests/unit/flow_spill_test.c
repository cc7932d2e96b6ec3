/* flow_spill_test.c: what the buckets of the flow table say of keys in second buckets is taken back by the passes of flow_age.c
 * when those are gone, and not before. NAT is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "age_util.h"

static void end(uint32_t i)
{
	struct flow_tuple t, peer;
	struct flow_key4 k = key_of(i);
	struct flow f;

	if (!there[i])
		return;
	there[i] = false;
	flow_tuple_from_key(4, &k, &t);
	assert_int_equal(flow_lookup(&flows, &t, &f), 0);
	flow_tuple_peer(&t, &f, &peer);
	assert_int_equal(flow_delete(&flows, &t), 0);
	assert_int_equal(flow_delete(&flows, &peer), 0);
}

/* A pass up to a bucket. */
static void pass(bool sweeping, uint32_t until)
{
	struct flowtab *t = &flows.tab[0];

	flows.sweeping = sweeping;
	flows.fresh = true;
	while (flows.next_bucket < until && age(&flows, t, flows.note[0]))
		;
	if (flows.next_bucket == t->n / BUCKET_SLOTS)
		flows.next_bucket = 0;
}

static unsigned spilled_from(uint32_t bucket)
{
	unsigned n = 0;

	for (uint32_t b = bucket; b < flows.tab[0].n / BUCKET_SLOTS; b++)
		n += (flows.tab[0].bucket[b].lock & BUCKET_SPILLED) != 0;
	return n;
}

static unsigned spilled(void)
{
	return spilled_from(0);
}

/* How many entries stand elsewhere than where they are looked for first; each of them is found, since those that are looked at
 * before say so. */
static unsigned away(void)
{
	struct flowtab *t = &flows.tab[0];
	uint32_t bucket[FLOWTAB_PLACES];
	struct flow_key6 key;
	struct flow f;
	unsigned n = 0;

	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t word = flowtab_word(t, i);

		if (!flowtab_is_live(word) || !flowtab_read(t, i, word, &key, &f))
			continue;
		flowtab_buckets_of(t, &key, bucket);
		n += bucket[0] != i / BUCKET_SLOTS;
		for (int b = 0; bucket[b] != i / BUCKET_SLOTS; b++)
			assert_true(t->bucket[bucket[b]].lock & BUCKET_SPILLED);
	}
	return n;
}

/* ---- */

/* A crowded table; half of it goes, some come back in the midst of a pass; then all goes. */
static void taken_back_when_nobody_is_away(void **state)
{
	uint32_t n = 0, all = flows.tab[0].n / BUCKET_SLOTS;
	unsigned were, now;

	while (n < ENTRIES && put(n))
		n++;
	were = spilled();
	assert_in_range(were, 10, all);
	for (int i = 0; i < 3; i++)
		pass(true, all);
	assert_in_range(away(), 10, 2 * n);
	for (uint32_t i = 0; i < n; i++)
		if (i % 4)
			end(i);
	pass(true, all);
	flows.now_ns += 3 * SEC;
	now = spilled();
	pass(false, all); /* those in between do not sweep, and take nothing away */
	assert_int_equal(spilled(), now);
	pass(true, CHUNK < all ? CHUNK : all);
	for (uint32_t i = 0; i < n; i++)
		if (i % 4 == 1)
			put(i);
	for (int i = 0; i < 3; i++) {
		pass(true, all);
		away();
	}
	assert_in_range(spilled(), away() ? 1 : 0, head.near4 ? were : were - 1);
	for (uint32_t i = 0; i < n; i++)
		if (i % 4 < 2)
			end(i);
	pass(true, all);
	pass(true, all);
	assert_int_equal(spilled(), 0);
}

static int setup_near(void **state)
{
	int err = setup(state);

	head.near4 = flows.tab[0].n / BUCKET_SLOTS / 8;
	return err;
}

/* Of a table with near buckets: those say so that are full, and of the others those of which a key is in its second one. */
static void both_say_so(void **state)
{
	uint32_t all = flows.tab[0].n / BUCKET_SLOTS;
	unsigned n;

	for (uint32_t i = 0; i < ENTRIES; i++)
		put(i);
	n = spilled_from(head.near4);
	assert_in_range(n, 10, all);
	assert_int_equal(spilled(), head.near4 + n);
	/* They count such keys, so that a pass takes nothing back which came after its visit. */
	for (uint32_t b = head.near4; b < all; b++)
		assert_true(!flows.tab[0].bucket[b].lock || flows.tab[0].bucket[b].lock >= (BUCKET_STEP | BUCKET_SPILLED));
	for (int i = 0; i < 3; i++) {
		pass(true, all);
		away();
	}
	assert_in_range(spilled_from(head.near4), 10, n);
}

static int teardown_near(void **state)
{
	head.near4 = 0;
	return teardown(state);
}

/* After a pass that was given up the next one knows nothing of what the one before has seen. */
static void given_up_in_the_midst(void **state)
{
	uint32_t n = 0, all = flows.tab[0].n / BUCKET_SLOTS;

	while (n < ENTRIES && put(n))
		n++;
	pass(true, all);
	sw.base = event_base_new();
	flows.timer = event_new(sw.base, -1, 0, tick, &flows);
	flow_age_pause(&flows);
	event_free(flows.timer);
	event_base_free(sw.base);
	assert_false(flows.spill[0].whole);
	pass(true, all);
	assert_in_range(away(), 10, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(taken_back_when_nobody_is_away, setup, teardown),
		cmocka_unit_test_setup_teardown(taken_back_when_nobody_is_away, setup_near, teardown_near),
		cmocka_unit_test_setup_teardown(both_say_so, setup_near, teardown_near),
		cmocka_unit_test_setup_teardown(given_up_in_the_midst, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
