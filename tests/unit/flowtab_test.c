/* flowtab_test.c: the flow table, by the data plane's own code run natively, beside sluiced's view of the same memory: how full
 * it gets, that a key never stands in it twice, that what has ended is not given away before its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include "race.h"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "../../bpf/bucket.h"

static void (*before_publish)(void);

/* What others do meanwhile. */
#define bucket_publish(b, slot, word)                                                                                            \
	do {                                                                                                                     \
		if (before_publish)                                                                                              \
			before_publish();                                                                                        \
		(bucket_publish)(b, slot, word);                                                                                 \
	} while (0)

#include "../../bpf/flowtab.h"
#include "../../user/flowtab.h"
#include "../../user/spill.h"

const volatile __u8 cfg_ipv6 = 1, cfg_l3 = 1, cfg_nat = 1, cfg_trace, cfg_resize;

#define ENTRIES 4000
#define SECOND	1000000000ull

static struct flowtab tab[2]; /* sluiced's view: IPv4, IPv6 */
static uint32_t near_part;    /* of the buckets one in so many is near; 0: none */

static uint32_t near_of(uint32_t buckets)
{
	return near_part ? buckets / near_part : 0;
}

static void add_map(const void *map, size_t value, size_t max)
{
	stub_map_add(map, BPF_MAP_TYPE_ARRAY, 4, value, max);
}

static int setup(void **state)
{
	struct flow_table *head;
	uint32_t buckets = flowtab_buckets(ENTRIES);

	stub_reset();
	flow_table = (struct flow_table){0};
	add_map(&flow_words4, sizeof(struct bucket), buckets);
	add_map(&flow_words6, sizeof(struct bucket), buckets);
	add_map(&flows4, sizeof(struct flow), buckets * BUCKET_SLOTS);
	add_map(&flows6, sizeof(struct flow6), buckets * BUCKET_SLOTS);
	head = flowtab_get(4);
	head->buckets4 = head->buckets6 = buckets;
	head->near4 = head->near6 = near_of(buckets);
	tab[0] = (struct flowtab){4, head, (void *)stub_find(&flow_words4)->array, stub_find(&flows4)->array,
				  buckets * BUCKET_SLOTS};
	tab[1] = (struct flowtab){6, head, (void *)stub_find(&flow_words6)->array, stub_find(&flows6)->array,
				  buckets * BUCKET_SLOTS};
	return flowtab_seed(head, 77);
}

static void make_one_bucket(void)
{
	tab[0].head->buckets4 = 1;
	tab[0].head->near4 = 0;
	tab[0].n = BUCKET_SLOTS;
}

static struct flow_key4 make4(uint32_t i)
{
	return (struct flow_key4){
		.saddr = 0x0a000001, .daddr = htobe32(0xc0000200 + i / 60000), .sport = i % 60000, .dport = 443, .proto = 6};
}

static struct flow_key6 make6(uint32_t i)
{
	return (struct flow_key6){.saddr = {.a32 = {0x20010db8, 0, 0, i}}, .sport = i, .dport = 443, .proto = 6};
}

static unsigned live(const struct flowtab *t)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		n += flowtab_is_live(flowtab_word(t, i));
	return n;
}

static int put4(uint32_t i)
{
	struct flow_key4 key = make4(i);
	struct flow f = {.epoch = i, .packets = ~(uint64_t)i, .created_ns = stub_now_ns};
	int r = flowtab_insert4(&key, &f);

	if (r > 0)
		assert_int_equal(r, flowtab_find4(&key));
	return r > 0 ? 0 : r;
}

static void end4(uint32_t i)
{
	struct flow_key4 key = make4(i);
	uint32_t word, at = flowtab_find(&tab[0], &key, &word);

	assert_int_not_equal(at, FLOWTAB_NONE);
	assert_true(flowtab_end(&tab[0], at, word, stub_now_ns));
}

/* Both sides see the same entries in the same slots, whoever made them. */
static void both_sides_find_the_same(void **state)
{
	struct flow f = {.epoch = 9, .saddr6 = {.a32 = {1, 2, 3, 4}}, .daddr6 = {.a32 = {5, 6, 7, 8}}};

	for (uint32_t i = 0; i < ENTRIES / 2; i++) {
		struct flow_key4 k4 = make4(i);
		struct flow_key6 k6 = make6(i);
		struct flow got;
		struct flow_key6 key;
		uint32_t word, at;

		assert_int_equal(i % 2 ? put4(i) : flowtab_insert(&tab[0], &k4, &(struct flow){.epoch = i}, stub_now_ns), 0);
		assert_int_equal(i % 2 ? flowtab_insert6(&k6, &f) < 0 : flowtab_insert(&tab[1], &k6, &f, stub_now_ns), 0);
		at = flowtab_find(&tab[0], &k4, &word);
		assert_int_equal(at, flowtab_find4(&k4) - 1);
		assert_int_equal(flowtab_at(4, at)->epoch, i);
		assert_memory_equal(&flowtab_at(4, at)->key4, &k4, sizeof(k4));
		at = flowtab_find(&tab[1], &k6, &word);
		assert_int_equal(at, flowtab_find6(&k6) - 1);
		assert_true(flowtab_read(&tab[1], at, word, &key, &got));
		assert_memory_equal(&key, &k6, sizeof(k6));
		assert_int_equal(got.live, 1);
		got.live = f.live;
		assert_memory_equal(&got, &f, sizeof(f));
		assert_int_equal(i % 2 ? flowtab_insert(&tab[0], &k4, &f, stub_now_ns) : put4(i), -EEXIST);
		assert_int_equal(flowtab_insert6(&k6, &f), -EEXIST);
	}
	assert_int_equal(live(&tab[0]), ENTRIES / 2);
	assert_int_equal(live(&tab[1]), ENTRIES / 2);
	assert_int_equal(flowtab_find4(&(struct flow_key4){.saddr = 1}), 0);
	assert_int_equal(flowtab_find6(&(struct flow_key6){.sport = 1}), 0);
}

/* Whatever the secret numbers, it refuses nobody below nine tenths of what it was made for. */
static void fills_before_it_refuses(void **state)
{
	for (uint32_t seed = 1; seed <= 30; seed++) {
		uint32_t n = 0;

		setup(NULL);
		flowtab_seed(tab[0].head, seed);
		while (put4(n) == 0)
			n++;
		assert_int_equal(put4(n), -E2BIG);
		assert_in_range(n, ENTRIES * 9 / 10, tab[0].n);
		assert_int_equal(live(&tab[0]), n);
		for (uint32_t i = 0; i < n; i++) {
			struct flow_key4 key = make4(i);

			assert_int_not_equal(flowtab_find4(&key), 0);
		}
	}
}

/* Where the data plane did not find a key, without its lock. */
static struct bucket_place missed4(const struct flow_key4 *key)
{
	const __u64 *raw = (const __u64 *)key;
	struct bucket_place at = {0};

	assert_null(flowtab_home4(raw[0], raw[1]));
	flowtab_place4(key, &at);
	assert_int_equal(flowtab_search4(key, &at), 0);
	return at;
}

/* The pair's entries are made where their keys were not found a moment before, whatever came in between. */
static void a_key_is_inserted_where_it_was_missed(void **state)
{
	for (uint32_t i = 0; i < ENTRIES / 2; i++) {
		struct flow_key4 key = make4(i);
		struct bucket_place at = missed4(&key), then = at;
		int r;

		if (i % 3 == 1)
			assert_int_equal(put4(i), 0);
		if (i % 3 == 2)
			flowtab_bucket(4, at.near)->lock += BUCKET_STEP; /* another key was inserted */
		r = flowtab_open4(&key, &at, stub_now_ns);
		if (i % 3 == 1) {
			assert_int_equal(r, -EEXIST);
			continue;
		}
		assert_in_range(r, 1, tab[0].n);
		assert_int_equal(flowtab_find4(&key), 0);
		flowtab_close(4, &at, r - 1, flowtab_at(4, r - 1));
		assert_int_equal(flowtab_find4(&key), r);
		assert_int_equal(flowtab_search4(&key, &then), r);
		assert_int_equal(flowtab_bucket(4, at.near)->lock & BUCKET_HELD, 0);
	}
}

#define LARGE 65536
#define SEEDS 200

/* The same of a large table, where the fullest of many buckets decides: none refuses below the size that was
 * promised. */
static void large_ones_fill_before_they_refuse(void **state)
{
	uint32_t buckets = flowtab_buckets(LARGE), whole = 0;

	stub_reset();
	flow_table = (struct flow_table){0};
	add_map(&flow_words4, sizeof(struct bucket), buckets);
	add_map(&flows4, sizeof(struct flow), buckets * BUCKET_SLOTS);
	for (uint32_t seed = 1; seed <= SEEDS; seed++) {
		uint32_t n = 0;

		memset(stub_find(&flow_words4)->array, 0, buckets * sizeof(struct bucket));
		memset(stub_find(&flows4)->array, 0, (size_t)buckets * BUCKET_SLOTS * sizeof(struct flow));
		flowtab_get(4)->buckets4 = buckets;
		flowtab_get(4)->near4 = near_of(buckets);
		flowtab_seed(flowtab_get(4), seed);
		while (n < LARGE) {
			struct flow_key4 key = make4(n);
			struct flow f = {.created_ns = stub_now_ns};

			if (flowtab_insert4(&key, &f) < 0)
				break;
			n++;
		}
		assert_in_range(n, LARGE * 9 / 10, LARGE);
		whole += n == LARGE;
	}
	print_message("%u of %u seeds fill a table of %u to its size\n", whole, SEEDS, LARGE);
	assert_int_equal(whole, SEEDS);
}

static bool stands_first(const struct flow_key4 *key, uint32_t at)
{
	const __u64 *raw = (const __u64 *)key;
	struct flow *f = flowtab_home4(raw[0], raw[1]);

	return f && f == flowtab_at(4, at);
}

/* With two fifths of the slots in use nearly all are found without a search, whoever inserted them: in their first slot,
 * or beside it when that was taken. In the first slots alone it would be four fifths. */
static void most_stand_in_two_slots(void **state)
{
	uint32_t n = tab[0].n * 2 / 5, first = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct flow_key4 key = make4(i);

		assert_int_equal(i % 2 ? put4(i) : flowtab_insert(&tab[0], &key, &(struct flow){.epoch = i}, stub_now_ns), 0);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct flow_key4 key = make4(i);

		first += stands_first(&key, flowtab_find(&tab[0], &key, NULL));
	}
	assert_in_range(first, n * 88 / 100, n);
}

/* As long as there is room, and then as many as fit; a key that is near is found there when others have gone elsewhere. */
static void near_ones_come_first(void **state)
{
	uint32_t near = tab[0].head->near4 * BUCKET_SLOTS, few = near * 4 / 10, n = 0, i;

	for (; n < few; n++)
		assert_int_equal(put4(n), 0);
	for (i = 0; i < few; i++) {
		struct flow_key4 key = make4(i);

		n -= flowtab_find(&tab[0], &key, NULL) < near;
	}
	assert_in_range(n, 0, few * 15 / 100); /* elsewhere */
	for (i = few; i < ENTRIES * 8 / 10; i++)
		assert_int_equal(put4(i), 0);
	n = 0;
	for (i = 0; i < tab[0].n; i++)
		n += i < near && flowtab_is_live(flowtab_word(&tab[0], i));
	assert_in_range(n, near * 9 / 10, near);
	for (i = 0; i < ENTRIES * 8 / 10; i++) {
		struct flow_key4 key = make4(i);

		assert_int_equal(flowtab_find(&tab[0], &key, NULL) + 1, flowtab_find4(&key));
	}
}

/* ---- what buckets say of keys elsewhere, taken back while one is inserted */

static struct spill spill;

/* As flow_age.c does. */
static void walk(void)
{
	struct flowtab *t = &tab[0];
	uint32_t bucket[FLOWTAB_PLACES], word;

	spill_begin(&spill, t->n / BUCKET_SLOTS);
	for (uint32_t i = 0; i < t->n; i++) {
		struct flow_key6 key;
		struct flow f;

		if (i % BUCKET_SLOTS == 0)
			spill_visit(&spill, t->bucket, i / BUCKET_SLOTS);
		word = flowtab_word(t, i);
		if (!flowtab_is_live(word) || !flowtab_read(t, i, word, &key, &f))
			continue;
		flowtab_buckets_of(t, &key, bucket);
		for (int n = 0; bucket[n] != i / BUCKET_SLOTS; n++)
			spill_seen(&spill, bucket[n]);
	}
	spill.whole = true;
}

static void walk_twice(void)
{
	walk();
	walk();
}

/* The key with this number would go to the second of its buckets, which is not the first of the others'. */
static bool goes_second(uint32_t i, uint32_t first)
{
	struct flow_key4 key = make4(i);
	uint32_t bucket[FLOWTAB_PLACES];

	flowtab_buckets_of(&tab[0], &key, bucket);
	return bucket[1] == first && bucket[2] != first;
}

/* No room but in the second bucket; another key that was there has gone, and sluiced is about to take back that there was one. */
static void inserted_while_sluiced_walks(void (*meanwhile)(void), uint32_t first)
{
	uint32_t all = tab[0].n, near = tab[0].head->near4 * BUCKET_SLOTS, n = 0, i[2];
	struct flow_key4 key;

	for (uint32_t at = 0; n < 2; at++)
		if (goes_second(at, first))
			i[n++] = at;
	for (uint32_t at = 0; at < all; at++)
		if (at < near || at / BUCKET_SLOTS == first)
			*(volatile uint32_t *)&tab[0].bucket[at / BUCKET_SLOTS].word[at % BUCKET_SLOTS] = WORD_BUSY;
	assert_int_equal(put4(i[0]), 0);
	end4(i[0]);
	walk();
	before_publish = meanwhile;
	assert_int_equal(put4(i[1]), 0);
	before_publish = NULL;
	for (n = 0; n < 3; n++) {
		walk();
		key = make4(i[1]);
		assert_int_not_equal(flowtab_find4(&key), 0);
	}
	end4(i[1]);
	walk_twice();
	assert_int_equal(tab[0].bucket[first].lock & BUCKET_SPILLED, 0);
	spill_free(&spill);
}

static void told_until_it_is_seen(void **state)
{
	uint32_t buckets = tab[0].n / BUCKET_SLOTS;

	for (uint32_t first = tab[0].head->near4; first < buckets; first += 7) {
		setup(NULL);
		inserted_while_sluiced_walks(walk, first);
		setup(NULL);
		inserted_while_sluiced_walks(walk_twice, first);
	}
}

/* Small tables have none; in larger ones they are as many as the CPU knows the pages of. */
static void so_many_are_near(void **state)
{
	struct flow_table head = {0};

	assert_int_equal(flowtab_near(flowtab_buckets(2 * 262144)), 0);
	assert_int_equal(flowtab_near(flowtab_buckets(2 * 1048576)), 32768);
	assert_int_equal(flowtab_near(flowtab_buckets(2 * 16777216)), 32768);
	flowtab_size(&head, 100000, 100);
	assert_int_equal(head.buckets4, 100000);
	assert_int_equal(head.near4, 32768);
	assert_int_equal(head.buckets6, 100);
	assert_int_equal(head.near6, 0);
}

/* What an entry has counted is whole for who reads it, wherever its bits stand. */
static void recent_counts_are_read(void **state)
{
	struct flow_key4 key = make4(1);
	struct flow f = {.packets = 1000, .bytes = 1ull << 40}, got;
	struct flow_key6 raw;
	uint32_t word, at;

	assert_int_equal(flowtab_insert(&tab[0], &key, &f, stub_now_ns), 0);
	at = flowtab_find(&tab[0], &key, &word);
	flowtab_entry(&tab[0], at)->recent = 65535u << FLOW_RECENT_BYTES | 127 << FLOW_RECENT_PACKETS | 255;
	assert_true(flowtab_read(&tab[0], at, word, &raw, &got));
	assert_int_equal(got.packets, 1127);
	assert_int_equal(got.bytes, (1ull << 40) + 65535);
	assert_int_equal(got.recent, 0);
}

/* Whoever was killed with a lock in his hands refuses nobody any more. */
static void locks_of_the_dead_are_free(void **state)
{
	uint32_t was = 7 * BUCKET_STEP | BUCKET_SPILLED;

	for (uint32_t b = 0; b < tab[0].n / BUCKET_SLOTS; b++)
		tab[0].bucket[b].lock = was | (b % 32 == 3 ? BUCKET_HELD : 0);
	assert_int_equal(flowtab_free_locks(&tab[0]), (tab[0].n / BUCKET_SLOTS + 28) / 32);
	for (uint32_t b = 0; b < tab[0].n / BUCKET_SLOTS; b++)
		assert_int_equal(tab[0].bucket[b].lock, was);
	assert_int_equal(flowtab_free_locks(&tab[0]), 0);
	*(uint32_t *)&tab[0].bucket[1].word[4] = WORD_BUSY; /* and with a slot */
	assert_int_equal(flowtab_free_locks(&tab[0]), 1);
	assert_int_equal(tab[0].bucket[1].word[4], WORD_EMPTY);
}

/* A slot that ended is nobody's for the grace period, and then the next one's; a key comes back at once, elsewhere. */
static void ended_slots_wait(void **state)
{
	struct flow_key4 key = make4(5);
	uint32_t n = 0, at, word;

	make_one_bucket();
	while (put4(n) == 0)
		n++;
	assert_int_equal(n, BUCKET_SLOTS);
	at = flowtab_find(&tab[0], &key, &word);
	end4(5);
	assert_false(flowtab_end(&tab[0], at, word, stub_now_ns));
	assert_int_equal(flowtab_find4(&key), 0);
	assert_int_equal(flowtab_at(4, at)->epoch, 5); /* for who had found it */
	assert_int_equal(put4(n), -E2BIG);
	stub_now_ns += SECOND * 9 / 10;
	assert_int_equal(put4(n), -E2BIG);
	assert_int_equal(flowtab_insert(&tab[0], &key, &(struct flow){0}, stub_now_ns), -E2BIG);
	stub_now_ns += SECOND / 2;
	assert_int_equal(put4(n), 0);
	assert_int_equal(flowtab_at(4, at)->epoch, n);
	assert_int_equal(put4(5), -E2BIG);

	/* Ended by the data plane itself. */
	key = make4(3);
	flowtab_kill(4, flowtab_find4(&key) - 1, false);
	assert_int_equal(flowtab_find4(&key), 0);
	assert_int_equal(put4(5), -E2BIG);
	stub_now_ns += SECOND * 3 / 2;
	assert_int_equal(put4(5), 0);
}

/* The clock of sluiced may be a tick ahead of the data plane's. */
static void a_clock_ahead_ends_nothing_early(void **state)
{
	struct flow_key4 key = make4(1);
	uint32_t word, at;

	make_one_bucket();
	for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
		assert_int_equal(put4(i), 0);
	at = flowtab_find(&tab[0], &key, &word);
	assert_true(flowtab_end(&tab[0], at, word, stub_now_ns + (1ull << WORD_DEAD_SHIFT)));
	assert_int_equal(put4(100), -E2BIG);
}

/* ---- many at once */

static int race_put(uint32_t i, bool first)
{
	return put4(i);
}

static bool is_there(uint32_t i)
{
	struct flow_key4 key = make4(i);
	uint32_t at = flowtab_find4(&key);

	return at && flowtab_at(4, at - 1)->epoch == i;
}

static void the_same_key_never_twice(void **state)
{
	for (int round = 0; round < 20; round++) {
		setup(NULL);
		assert_int_equal(race(race_put, is_there, ENTRIES * 8 / 10), ENTRIES * 8 / 10);
		assert_int_equal(live(&tab[0]), ENTRIES * 8 / 10);
		for (uint32_t b = 0; b < tab[0].n / BUCKET_SLOTS; b++)
			assert_int_equal(tab[0].bucket[b].lock & BUCKET_HELD, 0);
	}
}

static bool stop;
static unsigned reads, wrong;

/* Reads one key over and over: whatever it finds is that key's. */
static void *read_one(void *arg)
{
	struct flow_key4 key = make4(7);

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint32_t at = flowtab_find4(&key);

		if (at && (flowtab_at(4, at - 1)->epoch != 7 || flowtab_at(4, at - 1)->packets != ~7ull))
			__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&reads, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Time goes on when the reader does: no packet takes as long as the grace period. */
static void a_while_passes(void)
{
	unsigned then = __atomic_load_n(&reads, __ATOMIC_ACQUIRE);

	while (__atomic_load_n(&reads, __ATOMIC_ACQUIRE) - then < 2)
		sched_yield();
	stub_now_ns += SECOND / 4;
}

/* Flows come and go at one bucket: the reader never sees another's. */
static void readers_see_their_own(void **state)
{
	pthread_t t;
	unsigned made = 0;

	make_one_bucket();
	wrong = 0;
	stop = false;
	assert_int_equal(pthread_create(&t, NULL, read_one, NULL), 0);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t key = i % 3 ? 7 : 100 + i;

		if (put4(key))
			continue;
		made++;
		end4(key);
		a_while_passes();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	assert_int_equal(wrong, 0);
	assert_in_range(made, 1000, 3000);
}

static int none_near(void **state)
{
	near_part = 0;
	return 0;
}

static int some_near(void **state)
{
	near_part = 4;
	return 0;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(both_sides_find_the_same),
		TEST(fills_before_it_refuses),
		TEST(large_ones_fill_before_they_refuse),
		TEST(a_key_is_inserted_where_it_was_missed),
		TEST(most_stand_in_two_slots),
		TEST(recent_counts_are_read),
		TEST(locks_of_the_dead_are_free),
		TEST(ended_slots_wait),
		TEST(a_clock_ahead_ends_nothing_early),
		TEST(the_same_key_never_twice),
		TEST(readers_see_their_own),
	};
	const struct CMUnitTest near[] = {
		TEST(near_ones_come_first),
		TEST(told_until_it_is_seen),
		TEST(so_many_are_near),
	};
	int failed = cmocka_run_group_tests_name("none near", tests, none_near, NULL);

	failed += cmocka_run_group_tests_name("some near", tests, some_near, NULL);
	return failed + cmocka_run_group_tests_name("near", near, some_near, NULL);
}
