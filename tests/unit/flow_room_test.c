/* flow_room_test.c: who gives way to smaller tables, and who does not. The maps are memory of the test's own. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../user/flow.c"
#include "../../user/flow_room.c"

#define SIZE  1024 /* pairs that the table is for */
#define LINES (SIZE / 2 / HALF_SLOTS)
#define SEC   1000000000ull

static struct flow_table head;
static struct half_line half[LINES];
static struct control control;
static struct flows flows;
static struct sw sw = {.flows = &flows, .control = &control};
static struct table *const half_table = (struct table *)half, *const head_table = (struct table *)&head;
static uint64_t now_ns;
static unsigned mappings_ended, places;

/* ---- what stands around */

uint64_t clock_now_ns(void)
{
	return now_ns;
}

struct table *table_get(struct datapath *dp, const char *name)
{
	return !strcmp(name, "half_open") ? half_table : head_table;
}

void *table_map(struct table *t)
{
	return t;
}

uint32_t table_capacity(const struct table *t)
{
	return t == half_table ? LINES : 1;
}

int flow_age_open(struct flows *f)
{
	return 0;
}

void flow_age_close(struct flows *f)
{
}

void flow_age_soon(struct flows *f)
{
}

int flow_told_open(struct flows *f)
{
	return 0;
}

void flow_told_close(struct flows *f)
{
}

void nat_session_ending(struct sw *s, const struct flow_tuple *key, const struct flow *f)
{
}

void nat_session_end(struct sw *s, const struct flow_tuple *key, const struct flow *f, bool was)
{
}

void nat_mapping_end(struct nat *nat, const struct flow_tuple *forward, const struct flow *f)
{
	mappings_ended++;
}

bool flow_watch_before_end(struct flows *f, const struct flow_tuple *key, const struct flow *e, struct flow_pair *ret)
{
	return false;
}

void flow_watch_end(struct flows *f, struct flow_pair *p, enum flow_why why)
{
}

/* ---- pairs */

static struct flow_key4 key_of(unsigned i, uint8_t proto)
{
	return (struct flow_key4){htonl(0x0a000000 | i), htonl(0xc0000201), htons(4000), htons(443), 0, proto, 0};
}

/* Out as 203.0.113.1, its port the number. `forward`, `reply`: what both have shown. */
static void add(unsigned i, uint8_t proto, uint8_t forward, uint8_t reply, bool noted)
{
	struct flow_key4 k = key_of(i, proto);
	struct flow_key4 back = {k.daddr, htonl(0xcb007101), k.dport, htons((uint16_t)i), 0, proto, 0};
	struct flow f = {.flags = FLOW_F_SNAT, .pool = 1, .seen = forward, .created_ns = SEC, .used = SEC >> FLOW_USED_SHIFT};
	struct flow r = {.flags = FLOW_F_DNAT | FLOW_F_REPLY, .seen = reply, .created_ns = SEC, .used = SEC >> FLOW_USED_SHIFT};
	uint32_t at;

	f.saddr4 = back.daddr;
	f.daddr4 = k.daddr;
	f.sport = back.dport;
	f.dport = k.dport;
	r.saddr4 = k.daddr;
	r.daddr4 = k.saddr;
	r.sport = k.dport;
	r.dport = k.sport;
	if (noted)
		r.half = places + 1;
	assert_int_equal(flowtab_insert(&flows.tab[0], &k, &f, 0), 0);
	assert_int_equal(flowtab_insert(&flows.tab[0], &back, &r, 0), 0);
	at = flowtab_find(&flows.tab[0], &back, NULL);
	if (noted) {
		half[places / HALF_SLOTS].slot[places % HALF_SLOTS] = (SEC >> HALF_STAMP_SHIFT) << 32 | (at + 1);
		places++;
	}
	flows.counted++;
}

static bool is_there(unsigned i, uint8_t proto)
{
	struct flow_key4 k = key_of(i, proto);

	return flowtab_find(&flows.tab[0], &k, NULL) != FLOWTAB_NONE;
}

static unsigned there(unsigned from, unsigned n, uint8_t proto)
{
	unsigned found = 0;

	for (unsigned i = from; i < from + n; i++)
		found += is_there(i, proto);
	return found;
}

static void table_make(struct flowtab *t, int family, uint32_t pairs)
{
	uint32_t buckets = flowtab_buckets(2 * pairs);

	*t = (struct flowtab){.family = family, .head = &head, .n = buckets * BUCKET_SLOTS};
	t->bucket = calloc(buckets, sizeof(*t->bucket));
	t->entry = calloc(t->n, family == 4 ? sizeof(struct flow) : sizeof(struct flow6));
	assert_true(t->bucket && t->entry);
}

static int setup(void **state)
{
	memset(&flows, 0, sizeof(flows));
	memset(half, 0, sizeof(half));
	control.gave_way = mappings_ended = places = 0;
	now_ns = 10 * SEC;
	flows.sw = &sw;
	flowtab_seed(&head, 7);
	head.half_lines = LINES;
	table_make(&flows.tab[0], 4, SIZE);
	table_make(&flows.tab[1], 6, 64);
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < 2; i++) {
		free(flows.tab[i].bucket);
		free(flows.tab[i].entry);
	}
	return 0;
}

#define ESTABLISHED (FLOW_SEEN_ANY | FLOW_SEEN_SYN | FLOW_SEEN_ACK), (FLOW_SEEN_ANY | FLOW_SEEN_SYNACK)
#define OPENING	    (FLOW_SEEN_ANY | FLOW_SEEN_SYN), 0

static int make_room(uint32_t size, uint32_t next_lines)
{
	struct settings_cfg to = {.max_flows = size, .max_flows6 = 64};
	struct flow_room *r;
	int more;

	assert_int_equal(flow_room_begin(&sw, &to, next_lines, &r), 0);
	assert_non_null(r);
	do
		more = flow_room_some(r);
	while (more > 0);
	assert_true(more || head.half_lines < LINES);
	flow_room_end(r);
	assert_int_equal(head.half_lines, LINES);
	return more;
}

/* ---- tests */

static void the_answered_stay(void **state)
{
	for (unsigned i = 0; i < 100; i++)
		add(i, IPPROTO_TCP, ESTABLISHED, false);
	for (unsigned i = 100; i < 600; i++)
		add(i, IPPROTO_TCP, OPENING, true);
	assert_int_equal(flow_waiting(&sw, 4), 500);
	assert_int_equal(make_room(200, 200 / 2 / HALF_SLOTS), 0);
	assert_int_equal(there(0, 100, IPPROTO_TCP), 100);
	/* Three quarters of the 100 that are free, in whole lines: 9. */
	assert_int_equal(there(100, 500, IPPROTO_TCP), 72);
	assert_int_equal(control.gave_way, 428);
	assert_int_equal(mappings_ended, 428);
	assert_int_equal(flow_waiting(&sw, 4), 72);
}

/* However much room there is: no more wait than there will be places. */
static void as_many_as_places(void **state)
{
	for (unsigned i = 0; i < 400; i++)
		add(i, IPPROTO_TCP, OPENING, true);
	assert_int_equal(make_room(1000, 25), 0);
	assert_int_equal(there(0, 400, IPPROTO_TCP), 200);
}

static void too_many_answered(void **state)
{
	for (unsigned i = 0; i < 300; i++)
		add(i, IPPROTO_TCP, ESTABLISHED, false);
	for (unsigned i = 300; i < 310; i++)
		add(i, IPPROTO_TCP, OPENING, true);
	assert_int_equal(make_room(299, 18), -E2BIG);
	assert_int_equal(there(0, 310, IPPROTO_TCP), 310);
	assert_int_equal(control.gave_way, 0);
}

/* One-way UDP that was used until now keeps its place; who sent one packet, and who was answered, though his note is there, is
 * told apart. */
static void who_gives_way(void **state)
{
	const uint8_t any = FLOW_SEEN_ANY;
	struct flow_key4 k;

	for (unsigned i = 0; i < 8; i++)
		add(i, IPPROTO_UDP, any, 0, true);
	for (unsigned i = 8; i < 16; i++)
		add(i, IPPROTO_UDP, any, 0, true);
	for (unsigned i = 16; i < 24; i++)
		add(i, IPPROTO_UDP, any, any, true);
	for (unsigned i = 24; i < 32; i++)
		add(i, IPPROTO_TCP, any | FLOW_SEEN_SYN, any | FLOW_SEEN_RST, true);
	for (unsigned i = 8; i < 16; i++) {
		k = key_of(i, IPPROTO_UDP);
		flowtab_entry(&flows.tab[0], flowtab_find(&flows.tab[0], &k, NULL))->used =
			(uint32_t)(9 * SEC >> FLOW_USED_SHIFT);
	}
	assert_int_equal(flow_waiting(&sw, 4), 16);
	assert_int_equal(make_room(1000, 0), 0);
	assert_int_equal(there(0, 8, IPPROTO_UDP), 0);
	assert_int_equal(there(8, 16, IPPROTO_UDP), 16);
	assert_int_equal(there(24, 8, IPPROTO_TCP), 0);
	assert_int_equal(control.gave_way, 16);
}

/* A place that names what has ended, or another pair since, counts for nothing. */
static void stale_places(void **state)
{
	struct flow_tuple t;
	struct flow_key4 k;

	for (unsigned i = 0; i < 16; i++)
		add(i, IPPROTO_TCP, OPENING, true);
	half[0].slot[0] += 5ull << 32;
	half[0].slot[1] = half[1].slot[1];
	half[0].slot[2] = 0;
	half[0].slot[3] |= 0x7fffffff;
	k = key_of(4, IPPROTO_TCP);
	flow_tuple_from_key(4, &k, &t);
	assert_int_equal(flow_delete(&flows, &t), 0);
	assert_int_equal(flow_waiting(&sw, 4), 11);
	assert_int_equal(flow_waiting(&sw, 6), 0);
}

static void larger_needs_none(void **state)
{
	struct settings_cfg to = {.max_flows = 2 * SIZE, .max_flows6 = 64};
	struct flow_room *r = (struct flow_room *)&to;

	assert_int_equal(flow_room_begin(&sw, &to, 2 * LINES, &r), 0);
	assert_null(r);
	flow_room_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_answered_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(as_many_as_places, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(who_gives_way, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_places, setup, teardown),
		cmocka_unit_test_setup_teardown(larger_needs_none, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
