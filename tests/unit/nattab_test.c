/* nattab_test.c: the table of NAT's mappings, by the data plane's own code run natively, beside sluiced's view of the same
 * memory: both find what either made, by the inside address and by the outside port; how full it gets; that a source never gets
 * two mappings; that what has ended is not given away before its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "race.h"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "../../bpf/nattab.h"
#include "../../user/flowtab.h"
#include "../../user/nattab.h"
#include "../../user/spill.h"

const volatile __u8 cfg_ipv6 = 1, cfg_l3 = 1, cfg_nat = 1, cfg_trace, cfg_resize;

#define MAPPINGS 4000
#define SECOND	 1000000000ull

static struct nattab tab; /* sluiced's view */

static void add_map(const void *map, size_t value, size_t max)
{
	stub_map_add(map, BPF_MAP_TYPE_ARRAY, 4, value, max);
}

static int setup(void **state)
{
	uint32_t buckets = nattab_buckets(MAPPINGS), lines = nattab_lines(MAPPINGS);
	struct flow_table *head;

	stub_reset();
	stub_map(stats);
	stub_map(ifaces);
	flow_table = (struct flow_table){0};
	add_map(&nat_words, sizeof(struct bucket), buckets);
	add_map(&nat_mappings, sizeof(struct nat_mapping), buckets * BUCKET_SLOTS);
	add_map(&nat_ways, sizeof(struct nat_line), lines);
	head = nattab_head(false);
	head->nat_buckets = buckets;
	head->nat_lines = lines;
	tab = (struct nattab){.head = head,
			      .bucket = (void *)stub_find(&nat_words)->array,
			      .entry = (void *)stub_find(&nat_mappings)->array,
			      .line = (void *)stub_find(&nat_ways)->array,
			      .n = buckets * BUCKET_SLOTS,
			      .n_lines = lines};
	return flowtab_seed(head, 77);
}

static struct nat_mapping_key make(uint32_t i)
{
	return (struct nat_mapping_key){.addr = {.a32 = {0, 0, htobe32(0xffff), htobe32(0x0a000000 + i / 1000)}},
					.port = htobe16(i % 1000),
					.pool = 1,
					.proto = i % 2 ? 6 : 17,
					.remote = i % 3};
}

static uint32_t way_of(uint32_t i)
{
	return NAT_WAY(i / 60000, i % 2 ? 0 : 1, 1024 + i % 60000);
}

static struct nat_mapping whole(uint32_t i)
{
	return (struct nat_mapping){.inside = make(i),
				    .pool_addr = way_of(i) >> 18,
				    .port = htobe16(way_of(i) & 0xffff),
				    .opened = 1,
				    .used_ns = stub_now_ns};
}

/* As the data plane does it: looked for, then made. */
static int put(uint32_t i)
{
	struct nat_mapping_key key = make(i);
	struct nat_mapping m = whole(i);
	struct pkt p = {.now_ns = stub_now_ns, .l4_proto = key.proto, .pool_addr = m.pool_addr, .to = {.sport = m.port}};
	struct bucket_place at;

	return nattab_find(&key, &at) ? -EEXIST : nattab_insert(&p, &key, &at);
}

static int put_by_sluiced(uint32_t i)
{
	struct nat_mapping m = whole(i);

	return nattab_add(&tab, &m, stub_now_ns);
}

static uint32_t at_of(uint32_t i)
{
	struct nat_mapping_key key = make(i);
	struct bucket_place at;

	return nattab_find(&key, &at);
}

static unsigned live(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < tab.n; i++)
		n += nattab_is_live(false, i);
	return n;
}

static unsigned ways(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < tab.n_lines * NAT_WAYS; i++)
		n += tab.line[i / NAT_WAYS].way[i % NAT_WAYS] != 0;
	return n;
}

static void both_sides_find_the_same(void **state)
{
	for (uint32_t i = 0; i < MAPPINGS; i++) {
		struct nat_mapping_key key = make(i);
		struct nat_mapping m, want = whole(i);
		uint32_t at;

		assert_int_equal(i % 5 < 2 ? put(i) : put_by_sluiced(i), 0);
		assert_int_equal(i % 5 < 2 ? put_by_sluiced(i) : put(i), -EEXIST);
		at = nattab_lookup(&tab, &key, &m);
		assert_int_equal(at + 1, at_of(i));
		assert_memory_equal(&m, &want, sizeof(m));
		assert_int_equal(nattab_lookup_way(&tab, way_of(i), &m), at);
		assert_int_equal(nattab_find_way(way_of(i)), at + 1);
		assert_memory_equal(&m, &want, sizeof(m));
	}
	assert_int_equal(live(), MAPPINGS);
	assert_int_equal(ways(), MAPPINGS);
	assert_int_equal(at_of(MAPPINGS), 0);
	assert_int_equal(nattab_find_way(way_of(MAPPINGS)), 0);
}

/* Whatever the secret numbers, it refuses nobody below nine tenths of what it was made for, and each can be reached from outside.
 */
static void fills_before_it_refuses(void **state)
{
	for (uint32_t seed = 1; seed <= 30; seed++) {
		uint32_t n = 0;

		setup(NULL);
		flowtab_seed(nattab_head(false), seed);
		while (n < MAPPINGS * 9 / 10 && put(n) == 0)
			n++;
		assert_int_equal(n, MAPPINGS * 9 / 10);
		assert_int_equal(ways(), n);
		while (put(n) == 0)
			n++;
		assert_int_equal(put(n), -E2BIG);
		assert_int_equal(put_by_sluiced(n), -E2BIG);
		assert_int_equal(live(), n);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_not_equal(at_of(i), 0);
			if (i < MAPPINGS * 9 / 10)
				assert_int_equal(nattab_find_way(way_of(i)), at_of(i));
		}
	}
}

static void end_by_sluiced(uint32_t i)
{
	struct nat_mapping m;
	uint32_t word, at = at_of(i) - 1;

	assert_true(nattab_read(&tab, at, &m, &word));
	assert_true(nattab_end(&tab, at, word, &m, stub_now_ns));
	assert_false(nattab_end(&tab, at, word, &m, stub_now_ns));
}

/* What else the lock's word says stays: how many were inserted, and whether some stand in the second bucket. */
static void a_lock_of_the_dead_is_free(void **state)
{
	uint32_t *lock = &tab.bucket[1].lock, was = 5 * BUCKET_STEP | BUCKET_SPILLED;

	*lock = was | BUCKET_HELD;
	assert_int_equal(nattab_free_locks(&tab), 1);
	assert_int_equal(*lock, was);
	assert_int_equal(nattab_free_locks(&tab), 0);
	assert_int_equal(*lock, was);
}

/* A sluiced that was killed while it inserted leaves a slot that nobody has, and a way to it. */
static void a_slot_of_the_dead_is_free(void **state)
{
	uint32_t at;

	assert_int_equal(put_by_sluiced(1), 0);
	assert_int_equal(put(2), 0);
	at = at_of(1) - 1;
	tab.bucket[at / BUCKET_SLOTS].word[at % BUCKET_SLOTS] = WORD_BUSY;
	assert_int_equal(nattab_free_locks(&tab), 1);
	assert_int_equal(tab.bucket[at / BUCKET_SLOTS].word[at % BUCKET_SLOTS], WORD_EMPTY);
	assert_int_equal(ways(), 1);
	assert_int_equal(nattab_find_way(way_of(2)), at_of(2));
}

static int nothing(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg)
{
	return 0;
}

/* The sweep's walk, of which `until` slots are gone over. */
static void walk(struct spill *s, uint32_t *at, uint32_t until)
{
	while (*at < until && nattab_sweep_some(&tab, s, at, until - *at < 7 ? until - *at : 7, nothing, NULL))
		;
}

static unsigned spilled(void)
{
	unsigned n = 0;

	for (uint32_t b = 0; b < tab.n / BUCKET_SLOTS; b++)
		n += (tab.bucket[b].lock & BUCKET_SPILLED) != 0;
	return n;
}

/* A bucket says that a key stands elsewhere as long as one does; it is always found. */
static void spilled_is_taken_back(void **state)
{
	struct spill s = {0};
	uint32_t n = 0, at = 0, home[MAPPINGS];
	bool away[MAPPINGS] = {false};
	struct bucket_place place;
	unsigned were, still = 0;

	while (n < MAPPINGS && put(n) == 0)
		n++;
	were = spilled();
	assert_in_range(were, 10, tab.n / BUCKET_SLOTS);
	for (int i = 0; i < 3; i++)
		walk(&s, &at, tab.n);
	for (uint32_t i = 0; i < n; i++) {
		struct nat_mapping_key key = make(i);

		assert_int_not_equal(nattab_find(&key, &place), 0);
		home[i] = place.first;
		away[i] = (at_of(i) - 1) / BUCKET_SLOTS != place.first;
	}
	/* Of those that have gone, one comes back behind the cursor. */
	for (uint32_t i = 0; i < n; i++)
		if (away[i] && i % 2)
			end_by_sluiced(i);
	walk(&s, &at, tab.n);
	walk(&s, &at, tab.n / 2);
	stub_now_ns += 3 * SECOND;
	for (uint32_t i = 1; i < n; i += 2)
		if (away[i] && home[i] >= tab.n / BUCKET_SLOTS / 2)
			assert_int_equal(put(i), 0);
	walk(&s, &at, tab.n);
	walk(&s, &at, tab.n);
	walk(&s, &at, tab.n);
	for (uint32_t i = 0; i < n; i++)
		assert_true(at_of(i) || (i % 2 && away[i] && home[i] < tab.n / BUCKET_SLOTS / 2));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t in = at_of(i) ? (at_of(i) - 1) / BUCKET_SLOTS : home[i];

		still += at_of(i) && in != home[i];
		assert_true(in == home[i] || tab.bucket[home[i]].lock & BUCKET_SPILLED);
	}
	assert_in_range(still, 1, n);
	assert_in_range(spilled(), 1, were - 1);
	/* And with nothing anywhere nobody says so. */
	for (uint32_t i = 0; i < n; i++)
		if (at_of(i))
			end_by_sluiced(i);
	walk(&s, &at, tab.n);
	walk(&s, &at, tab.n);
	assert_int_equal(spilled(), 0);
	spill_free(&s);
}

/* Neither its source nor its port leads there any more; its slot is nobody's for the grace period. */
static void ended_slots_wait(void **state)
{
	uint32_t n = 0, at;

	nattab_head(false)->nat_buckets = 1;
	tab.n = BUCKET_SLOTS;
	while (put(n) == 0)
		n++;
	assert_int_equal(n, BUCKET_SLOTS);
	at = at_of(5);
	end_by_sluiced(5);
	nattab_kill(at_of(6) - 1, false);
	for (uint32_t i = 5; i <= 6; i++) {
		assert_int_equal(at_of(i), 0);
		assert_int_equal(nattab_find_way(way_of(i)), 0);
	}
	assert_int_equal(ways(), BUCKET_SLOTS - 2);
	assert_int_equal(nattab_at(false, at - 1)->inside.port, make(5).port); /* for who had found it */
	assert_int_equal(put(n), -E2BIG);
	stub_now_ns += SECOND * 9 / 10;
	assert_int_equal(put(n), -E2BIG);
	assert_int_equal(put_by_sluiced(n), -E2BIG);
	stub_now_ns += SECOND / 2;
	assert_int_equal(put(n), 0);
	assert_int_equal(put_by_sluiced(5), 0);
	assert_int_equal(put(6), -E2BIG);

	/* Who gave way rests shorter. */
	nattab_kill(at_of(3) - 1, true);
	assert_int_equal(put(6), -E2BIG);
	stub_now_ns += SECOND * 2 / 10;
	assert_int_equal(put(6), 0);
}

/* A port that went to another source leads to that one; a way that is found too late is not followed. */
static void a_way_leads_to_its_own(void **state)
{
	struct nat_mapping m;

	assert_int_equal(put(8), 0);
	nattab_at(false, at_of(8) - 1)->port ^= 1;
	assert_int_equal(nattab_find_way(way_of(8)), 0);
	assert_int_equal(nattab_lookup_way(&tab, way_of(8), &m), NATTAB_NONE);
}

/* A port of a run is held by its way: there is none without, and none that another has. */
static void a_run_by_sluiced(void **state)
{
	struct nat_mapping m = whole(1), other = whole(2);
	struct flow_table *t = nattab_head(false);
	uint64_t h;

	m.pool_addr = other.pool_addr = POOL_ID(5, 77);
	m.port = other.port;
	other.inside.proto = m.inside.proto;
	assert_int_equal(nattab_add(&tab, &m, stub_now_ns), 0);
	assert_int_equal(nattab_add(&tab, &other, stub_now_ns), -EADDRINUSE);
	assert_int_equal(live(), 1);
	assert_int_equal(ways(), 1);
	/* Both lines are full of others. */
	other.pool_addr = POOL_ID(5, 78);
	h = nattab_way_hash(t, nattab_way(&other));
	for (int i = 0; i < NAT_WAYS; i++) {
		nattab_line(false, bucket_first(h, t->nat_lines))->way[i] = 1 + i;
		nattab_line(false, bucket_second(h, t->nat_lines))->way[i] = 1 + i;
	}
	assert_int_equal(nattab_add(&tab, &other, stub_now_ns), -EADDRINUSE);
	assert_int_equal(live(), 1);
	nattab_line(false, bucket_second(h, t->nat_lines))->way[3] = 0;
	assert_int_equal(nattab_add(&tab, &other, stub_now_ns), 0);
	assert_int_equal(live(), 2);
}

/* Between the look and the insertion another CPU was there, with the same source or another of the same bucket. */
static void a_look_that_is_out_of_date(void **state)
{
	struct nat_mapping_key key = make(1);
	struct nat_mapping m = whole(1);
	struct pkt p = {.now_ns = stub_now_ns, .l4_proto = key.proto, .pool_addr = m.pool_addr, .to = {.sport = m.port}};
	struct bucket_place at;

	nattab_head(false)->nat_buckets = 1;
	tab.n = BUCKET_SLOTS;
	assert_int_equal(nattab_find(&key, &at), 0);
	assert_int_equal(put(2), 0);
	assert_int_equal(nattab_insert(&p, &key, &at), 0);
	assert_int_equal(nattab_insert(&p, &key, &at), -EEXIST);
	assert_int_equal(live(), 2);
	assert_int_equal(tab.bucket[0].lock & BUCKET_HELD, 0);
	tab.bucket[0].lock |= BUCKET_HELD; /* by a CPU that stands still */
	assert_int_equal(put(3), -EBUSY);
}

/* ---- many at once */

static int race_put(uint32_t i, bool first)
{
	return first ? put_by_sluiced(i) : put(i);
}

static bool leads_there(uint32_t i)
{
	return at_of(i) && nattab_find_way(way_of(i)) == at_of(i);
}

static void the_same_source_never_twice(void **state)
{
	for (int round = 0; round < 20; round++) {
		setup(NULL);
		assert_int_equal(race(race_put, leads_there, MAPPINGS * 8 / 10), MAPPINGS * 8 / 10);
		assert_int_equal(live(), MAPPINGS * 8 / 10);
		assert_int_equal(ways(), MAPPINGS * 8 / 10);
		for (uint32_t b = 0; b < tab.n / BUCKET_SLOTS; b++)
			assert_int_equal(tab.bucket[b].lock & BUCKET_HELD, 0);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(both_sides_find_the_same),	  TEST(fills_before_it_refuses),
		TEST(a_lock_of_the_dead_is_free), TEST(a_slot_of_the_dead_is_free),
		TEST(spilled_is_taken_back),	  TEST(ended_slots_wait),
		TEST(a_run_by_sluiced),		  TEST(a_way_leads_to_its_own),
		TEST(a_look_that_is_out_of_date), TEST(the_same_source_never_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
