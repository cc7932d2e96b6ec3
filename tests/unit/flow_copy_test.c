/* flow_copy_test.c: what becomes of a flow for which the next table has no place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../user/flow_copy.c"
#include "../../user/bucket.h"

#define ENTRIES 2000
#define NEAR	16

static struct flow_table head;
static struct flows flows;
static struct sw sw = {.flows = &flows};
static struct flow_copy copy;

static int setup(void **state)
{
	uint32_t n = flowtab_buckets(ENTRIES);

	memset(&copy, 0, sizeof(copy));
	memset(&flows, 0, sizeof(flows));
	head = (struct flow_table){.buckets4 = n, .near4 = NEAR};
	flowtab_seed(&head, 7);
	flows.sw = &sw;
	copy.flows = &flows;
	for (int i = 0; i < 2; i++) {
		struct flowtab *t = i ? copy.to : copy.from;

		*t = (struct flowtab){.family = 4, .head = &head, .n = n * BUCKET_SLOTS};
		t->bucket = calloc(n, sizeof(*t->bucket));
		t->entry = calloc(t->n, sizeof(struct flow));
		if (!t->bucket || !t->entry)
			return 1;
	}
	flows.tab[0] = copy.from[0];
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct flowtab *t = i ? copy.to : copy.from;

		free(t->bucket);
		free(t->entry);
	}
	return 0;
}

/* Of the near bucket a key may have two slots, or one; when they are others', it gains nothing by those that are free there. */
static void free_slots_of_a_near_bucket_are_others(void **state)
{
	struct flowtab *to = &copy.to[0];
	struct flow_key6 raw = {0};
	uint32_t bucket[FLOWTAB_PLACES];
	struct flow f = {.flags = FLOW_F_TRACK};
	unsigned live = 0;

	for (uint32_t n = 0; n < 64; n++) {
		uint32_t i;
		int more = 0;

		memset(to->bucket, 0, to->n / BUCKET_SLOTS * sizeof(*to->bucket));
		*(struct flow_key4 *)&raw = (struct flow_key4){.saddr = n, .proto = IPPROTO_UDP};
		flowtab_buckets_of(to, &raw, bucket);
		/* others, until it is refused */
		for (i = NEAR * BUCKET_SLOTS; i < to->n; i++)
			*bucket_at(to->bucket, i) = WORD_LIVE;
		for (; !flowtab_insert(to, &raw, &f, CLOCK_SECOND_NS); more++)
			*bucket_at(to->bucket, i = flowtab_find(to, &raw, NULL)) = WORD_LIVE;
		assert_in_range(more, 1, 2);
		assert_int_equal(i / BUCKET_SLOTS, bucket[0]);
		live += more;
		assert_int_equal(make_place(&copy, 0, &raw, &f), -E2BIG);
		/* one of them ends: there will be room */
		*bucket_at(to->bucket, i) = WORD_DEAD;
		assert_int_equal(make_place(&copy, 0, &raw, &f), -EBUSY);
		*bucket_at(to->bucket, i) = WORD_LIVE;
		*bucket_at(to->bucket, bucket[2] * BUCKET_SLOTS + n % BUCKET_SLOTS) = WORD_DEAD;
		assert_int_equal(make_place(&copy, 0, &raw, &f), -EBUSY);
	}
	assert_in_range(live, 100, 127);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(free_slots_of_a_near_bucket_are_others, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
