/* flow_spill_test.c: what the buckets of the flow table say of keys in second buckets is taken back by the passes of flow_age.c
 * when those are gone, and not before. NAT is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../user/flow_age.c"
#include "flow_told.h"

#define ENTRIES 2000
#define SEC	1000000000ull

static struct flow_table head;
static struct model model;
static struct nat nat;
static struct flows flows;
static bool there[ENTRIES];
static struct sw sw = {.flows = &flows, .nat = &nat, .model = &model};

/* ---- what stands around */

const struct settings_cfg *nat_settings(const struct sw *s, uint16_t rule, struct settings_cfg *buf)
{
	return &model.settings;
}

bool nat_holds(const struct sw *s, const struct flow *f, const struct addr *to)
{
	return true;
}

bool nat_is_addr(const struct nat *n, uint16_t slot1, const struct addr *a)
{
	return true;
}

bool vrf_alive(const struct sw *s, uint16_t id)
{
	return true;
}

void nat_sweep_flow(struct nat *n, uint32_t pool_addr, uint8_t proto, uint16_t port)
{
}

void nat_sweep_stop(struct nat *n)
{
}

void nat_mapping_end(struct nat *n, const struct flow_tuple *forward, const struct flow *f)
{
}

void nat_log_end(struct sw *s, const struct flow_tuple *key, const struct flow *f)
{
}

void nat_sweep_begin(struct nat *n, uint64_t now_ns)
{
}

bool nat_sweep_mappings(struct nat *n, uint32_t *at, uint32_t max)
{
	return false;
}

int nat_sweep_peers(struct nat *n, void **cursor, size_t max)
{
	return 0;
}

void nat_sweep_peers_soon(struct nat *n)
{
}

bool nat_sweep_note(struct nat *n)
{
	return false;
}

bool nat_sweep_end(struct nat *n)
{
	return false;
}

bool nat_ports_scarce(const struct nat *n)
{
	return false;
}

void nat_limit_add(struct nat *n, uint16_t rule, const struct addr *inside, uint16_t vrf, bool port)
{
}

bool vrf_draining(const struct sw *s)
{
	return false;
}

void vrf_pass_begin(struct sw *s)
{
}

int vrf_pass_fragments(struct sw *s, void **cursor, size_t max)
{
	return 0;
}

void vrf_pass_end(struct sw *s)
{
}

bool flow_watch_before_end(struct flows *f, const struct flow_tuple *key, const struct flow *e, struct flow_pair *ret)
{
	return false;
}

void flow_watch_begin(struct flows *f, const struct flow_tuple *key, const struct flow *e)
{
}

void flow_watch_end(struct flows *f, struct flow_pair *p, enum flow_why why)
{
}

int flow_told_open(struct flows *f)
{
	return 0;
}

void flow_told_close(struct flows *f)
{
}

/* ---- a table of pairs whose ports are all the same, so that the numbers name them */

static struct flow_key4 key_of(uint32_t i)
{
	return (struct flow_key4){htonl(0x0a000000 | i), htonl(0xc0000201), htons(1024), htons(443), 0, IPPROTO_UDP, 0};
}

static bool put(uint32_t i)
{
	struct flow_key4 k = key_of(i), back = {k.daddr, k.saddr, k.dport, k.sport, 0, IPPROTO_UDP, 0};
	struct flow f = {.flags = FLOW_F_TRACK, .created_ns = flows.now_ns, .used = (uint32_t)(flows.now_ns >> FLOW_USED_SHIFT)},
		    r = f;
	f.saddr4 = r.daddr4 = k.saddr;
	f.daddr4 = r.saddr4 = k.daddr;
	f.sport = r.dport = k.sport;
	f.dport = r.sport = k.dport;
	r.flags |= FLOW_F_REPLY;
	there[i] = !flowtab_insert(&flows.tab[0], &k, &f, flows.now_ns);
	if (there[i] && !flowtab_insert(&flows.tab[0], &back, &r, flows.now_ns))
		return true;
	if (there[i])
		flow_delete(&flows,
			    &(struct flow_tuple){addr_v4(k.saddr), addr_v4(k.daddr), k.sport, k.dport, 0, IPPROTO_UDP, 4});
	return there[i] = false;
}

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

static int setup(void **state)
{
	struct flowtab *t = &flows.tab[0];
	uint32_t buckets = flowtab_buckets(ENTRIES);

	memset(&flows, 0, sizeof(flows));
	flows.sw = &sw;
	flows.now_ns = 100 * SEC;
	model.settings.udp_s = 100000;
	flowtab_seed(&head, 7);
	*t = (struct flowtab){.family = 4, .head = &head, .n = buckets * BUCKET_SLOTS};
	t->bucket = calloc(buckets, sizeof(*t->bucket));
	t->entry = calloc(t->n, sizeof(struct flow));
	flows.note[0] = notes_new(t->n);
	return !t->bucket || !t->entry || !flows.note[0];
}

static int teardown(void **state)
{
	free(flows.tab[0].bucket);
	free(flows.tab[0].entry);
	free(flows.note[0]);
	spill_free(&flows.spill[0]);
	return 0;
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

static unsigned spilled(void)
{
	unsigned n = 0;

	for (uint32_t b = 0; b < flows.tab[0].n / BUCKET_SLOTS; b++)
		n += (flows.tab[0].bucket[b].lock & BUCKET_SPILLED) != 0;
	return n;
}

/* How many entries stand in their second buckets; each of them is found, since its first one says so. */
static unsigned away(void)
{
	struct flowtab *t = &flows.tab[0];
	struct flow_key6 key;
	struct flow f;
	unsigned n = 0;

	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t word = flowtab_word(t, i);

		if (!flowtab_is_live(word) || !flowtab_read(t, i, word, &key, &f) || first_bucket(t, &key) == i / BUCKET_SLOTS)
			continue;
		assert_true(t->bucket[first_bucket(t, &key)].lock & BUCKET_SPILLED);
		n++;
	}
	return n;
}

/* ---- */

/* A crowded table; half of it goes, some come back in the midst of a pass; then all goes. */
static void taken_back_when_nobody_is_away(void **state)
{
	uint32_t n = 0, all = flows.tab[0].n / BUCKET_SLOTS;
	unsigned were;

	while (n < ENTRIES && put(n))
		n++;
	were = spilled();
	assert_in_range(were, 10, all);
	for (int i = 0; i < 3; i++)
		pass(true, all);
	assert_in_range(away(), 10, n);
	for (uint32_t i = 0; i < n; i++)
		if (i % 4)
			end(i);
	pass(true, all);
	flows.now_ns += 3 * SEC;
	pass(false, all); /* those in between do not sweep, and take nothing away */
	assert_true(spilled() >= away());
	pass(true, CHUNK < all ? CHUNK : all);
	for (uint32_t i = 0; i < n; i++)
		if (i % 4 == 1)
			put(i);
	for (int i = 0; i < 3; i++) {
		pass(true, all);
		away();
	}
	assert_in_range(spilled(), away() ? 1 : 0, were - 1);
	for (uint32_t i = 0; i < n; i++)
		if (i % 4 < 2)
			end(i);
	pass(true, all);
	pass(true, all);
	assert_int_equal(spilled(), 0);
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
		cmocka_unit_test_setup_teardown(given_up_in_the_midst, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
