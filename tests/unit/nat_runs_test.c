/* nat_runs_test.c: pools that are made of runs, in the tables: what a run is known by when its range begins or ends elsewhere, is
 * cut or joined; what is held for flows that outlive their rule; how many prefixes there may be. */
#include "nat_tables.h"
#include <sys/resource.h>
#include <unistd.h>
#include "../../user/nat_owed.h"
#include "../../user/state.h"

/* The pool of `out`, and what else there is. */
static int try(const char *to, const char *more, struct errs *errs)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "  - {name: out, type: snat, source: 10.0.0.0/24, to: [%s], out: [wan], on-delete: keep}\n%s", to, more);
	use(text);
	return nat_reconcile(&sw, errs);
}

static void pool_is(const char *to)
{
	assert_int_equal(try(to, "", NULL), 0);
}

/* Where outside the pair's mapping leads now; "": it has ended. */
static const char *where(void)
{
	static char text[ADDR_TEXT];
	struct nat_mapping m;
	struct nat_mapping_key key = {
		.addr = addr_v4(htonl(0x0a000007)), .port = htons(5000), .pool = out_pool, .proto = IPPROTO_UDP};
	struct addr a;

	pass();
	pass();
	if (!n_of("flows4") || nattab_lookup(&sw.nat->tab, &key, &m) == NATTAB_NONE)
		return "";
	assert_true(nat_addr_of(sw.nat, m.pool_addr, &a));
	assert_int_equal(nat_addr_find(sw.nat, &a, 0), m.pool_addr);
	assert_int_equal(nat_pool_find(sw.nat, out_pool, &a), m.pool_addr);
	return addr_text(&a, text);
}

static void a_range_that_begins_elsewhere_is_the_same(void **state)
{
	pool_is("10.64.0.0/16");
	add_pair_at(IPPROTO_UDP, 3, FLOW_SEEN_ANY, 5);
	assert_string_equal(where(), "10.64.0.5");
	pool_is("10.64.0.4-10.64.255.255");
	assert_string_equal(where(), "10.64.0.5");
	pool_is("10.63.255.0-10.64.200.0");
	assert_string_equal(where(), "10.64.0.5");
	pool_is("10.64.0.5-10.65.0.0");
	assert_string_equal(where(), "10.64.0.5");
	pool_is("10.0.0.0/8");
	assert_string_equal(where(), "10.64.0.5");
	pool_is("10.64.0.0/16");
	assert_string_equal(where(), "10.64.0.5");
	/* Without it, at either end. */
	pool_is("10.64.0.6-10.64.255.255");
	assert_string_equal(where(), "");
	pool_is("10.64.0.0/16");
	add_pair_at(IPPROTO_UDP, 3, FLOW_SEEN_ANY, 5);
	pool_is("10.64.0.0-10.64.0.4");
	assert_string_equal(where(), "");
}

/* The data plane and the host's side read it as one. */
static void who_is_no_more_of_it_is_nobody(void **state)
{
	struct addr a;
	uint32_t id;

	pool_is("10.64.0.0/16");
	id = nat_addr_find(sw.nat, &(struct addr){.a32 = {0, 0, htonl(0xffff), htonl(0x0a400003)}}, 0);
	assert_true(nat_addr_of(sw.nat, id, &a));
	pool_is("10.64.0.4-10.64.255.255");
	assert_false(nat_addr_of(sw.nat, id, &a));
	assert_true(nat_addr_of(sw.nat, id + POOL_ID(0, 1), &a));
	assert_int_equal(a.a32[3], htonl(0x0a400004));
	assert_false(nat_addr_of(sw.nat, id - POOL_ID(0, 3), &a));
}

/* Two that become one, and one that becomes two: each has what it had. */
static void joined_and_cut(void **state)
{
	pool_is("10.64.0.0-10.64.15.255, 10.64.32.0-10.64.63.255");
	add_pair_at(IPPROTO_UDP, 3, FLOW_SEEN_ANY, 9);
	assert_string_equal(where(), "10.64.0.9");
	pool_is("10.64.0.0-10.64.63.255");
	assert_string_equal(where(), "10.64.0.9");
	pool_is("10.64.0.0-10.64.9.255, 10.64.11.0-10.64.63.255");
	assert_string_equal(where(), "10.64.0.9");
	pool_is("10.64.0.0-10.64.0.100, 10.64.0.200-10.64.9.255, 10.64.11.7-10.64.63.255");
	assert_string_equal(where(), "10.64.0.9");
	pool_is("10.64.0.0-10.64.0.8, 10.64.0.10-10.64.9.255, 10.64.11.7-10.64.63.255");
	assert_string_equal(where(), "");
}

/* What outlives its rule needs somebody who has its address: not a run that has a gap there. */
static void who_is_kept_is_in_no_gap(void **state)
{
	const char *around =
		"  - {name: other, type: snat, source: 10.0.1.0/24, to: [10.64.0.0-10.64.0.4, 10.64.0.6-10.64.255.255], "
		"out: [wan]}\n";

	pool_is("10.64.0.0/16");
	add_pair_at(IPPROTO_UDP, 3, FLOW_SEEN_ANY, 4);
	use(around);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	pass();
	assert_int_equal(n_of("flows4"), 2);
	pool_is("10.64.0.0/16");
	add_pair_at(IPPROTO_UDP, 3, FLOW_SEEN_ANY, 5);
	use(around);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	pass();
	assert_int_equal(n_of("flows4"), 0);
}

/* Nothing of the tables changes when the model does not, nor when sluiced is another one. */
static void again_changes_nothing(void **state)
{
	unsigned writes;

	pool_is("10.64.0.0/16");
	pool_is("10.64.0.4-10.64.255.255");
	add_pair_at(IPPROTO_UDP, 3, FLOW_SEEN_ANY, 1);
	assert_string_equal(where(), "10.64.0.5");
	writes = table_get(NULL, "nat_statics")->writes;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(nat_reconcile(&sw, NULL), 0);
		assert_string_equal(where(), "10.64.0.5");
		flow_close(&sw);
		nat_close(&sw);
		open_nat();
	}
	assert_true(table_get(NULL, "nat_statics")->writes >= writes);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_string_equal(where(), "10.64.0.5");
}

/* ---- a rule that goes, and its flows do not */

static void a_kept_flow_holds_its_port(void **state)
{
	const char *other = "  - {name: other, type: snat, source: 10.0.1.0/24, to: 10.64.0.0/16, out: [wan]}\n";
	struct nat_mapping m;
	uint32_t way, i;

	assert_int_equal(try("10.64.0.0/16", other, NULL), 0);
	add_pair_at(IPPROTO_UDP, 3, FLOW_SEEN_ANY, 5);
	way = NAT_WAY(slot, nat_class(IPPROTO_UDP), 5000);
	pass();
	i = nattab_lookup_way(&sw.nat->tab, way, &m);
	assert_int_not_equal(i, NATTAB_NONE);
	sw.nat->tab.entry[i].filtering = NAT_FILTER_INDEPENDENT;
	sw.nat->tab.entry[i].out_iface = 1;
	use(other);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	for (int round = 0; round < 3; round++) {
		pass();
		assert_int_equal(n_of("flows4"), 2);
		assert_int_not_equal(nattab_lookup_way(&sw.nat->tab, way, &m), NATTAB_NONE);
		/* Nobody is let in by it, from outside or by hairpinning, and none of `other`'s hosts finds it. */
		assert_int_equal(m.filtering, NAT_FILTER_ADDRESS_PORT);
		assert_int_equal(m.out_iface, 0);
		assert_int_equal(m.inside.pool, 0);
	}
	drop_entry(&forward_key);
	drop_entry(&reply_key);
	for (int round = 0; round < 3; round++)
		pass();
	assert_int_equal(nattab_lookup_way(&sw.nat->tab, way, &m), NATTAB_NONE);
}

/* ---- prefixes, of which the test's table has a hundred */

static unsigned prefixes(void)
{
	return (unsigned)table_get(NULL, "nat_statics")->n;
}

static void too_many_prefixes_are_refused_by_name(void **state)
{
	char text[1500], *at = text;
	struct errs errs = {0};

	pool_is("10.64.0.0/16");
	assert_int_equal(prefixes(), 1);
	/* Ten ranges of 2 * 15 prefixes. */
	for (int i = 0; i < 10; i++)
		at += sprintf(at, "%s10.%d.0.1-10.%d.255.254", i ? ", " : "", 100 + 2 * i, 100 + 2 * i);
	assert_true(try(text, "", &errs) < 0);
	assert_int_equal(errs.n, 1);
	assert_string_equal(errs.v[0].key, "nat.out.to");
	assert_non_null(strstr(errs.v[0].text, "300, of which at most 100 are allowed"));
	assert_int_equal(prefixes(), 1);
	errs_free(&errs);
}

/* What is there and what is to come are more than the table holds, and each alone is not. */
static void all_of_them_may_change_at_once(void **state)
{
	pool_is("10.64.0.1-10.64.255.254, 10.66.0.1-10.66.255.254, 10.68.0.1-10.68.255.254");
	assert_int_equal(prefixes(), 90);
	pool_is("10.164.0.1-10.164.255.254, 10.166.0.1-10.166.255.254, 10.168.0.1-10.168.255.254");
	assert_int_equal(prefixes(), 90);
	pool_is("10.64.0.0/16");
	assert_int_equal(prefixes(), 1);
}

/* Members are as long as another, for the sources' sake; prefixes are of what they are together, and of what pools share. */
static void neighbors_are_one_prefix(void **state)
{
	assert_int_equal(try("10.64.0.0/16, 10.80.0.0/13",
			     "  - {name: two, type: snat, source: 10.0.1.0/24, to: 10.64.128.0/17, out: [wan]}\n", NULL),
			 0);
	assert_int_equal(prefixes(), 2);
}

/* ---- IPv6 */

/* A range that crosses a /96: all of its addresses, on either side. */
static void across_a_96(void **state)
{
	struct addr a;
	uint16_t id;

	use("  - {name: out, type: snat, source: \"fd00::/64\", to: \"2001:db8::1:ffff:fff0-2001:db8::2:0:ffff\", out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_non_null(pool_named("pool:out", &id));
	a = (struct addr){.a8 = {0x20, 1, 0xd, 0xb8, [11] = 1, [12] = 0xff, 0xff, 0xff, 0xf1}};
	assert_int_not_equal(nat_pool_find(sw.nat, id, &a), POOL_ADDR_NONE);
	a = (struct addr){.a8 = {0x20, 1, 0xd, 0xb8, [11] = 2, [14] = 0xff, 0xff}};
	assert_int_not_equal(nat_pool_find(sw.nat, id, &a), POOL_ADDR_NONE);
	a = (struct addr){.a8 = {0x20, 1, 0xd, 0xb8, [11] = 2, [13] = 1}};
	assert_int_equal(nat_pool_find(sw.nat, id, &a), POOL_ADDR_NONE);
}

/* ---- the log */

/* Without a file descriptor there is no place for what the log owes: it is said, and nothing is left half open. */
static void no_place_for_what_is_owed(void **state)
{
	struct rlimit was, none;

	flow_close(&sw);
	nat_close(&sw);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){0, was.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(nat_open(&sw, NULL), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_null(sw.nat);
	open_nat();
}

/* Half a million ends: not in one turn of the loop, and no pass over the flows begins meanwhile. */
static void what_is_owed_is_taken_up_in_slices(void **state)
{
	const struct nat_event begin = {.family = 4, .at_ns = 1};
	char dir[] = "/tmp/nat_runs_test.XXXXXX", path[64];
	unsigned turns = 0;
	struct nat_owed *o;

	flow_close(&sw);
	nat_close(&sw);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/" STATE_NAT_OWED, dir);
	assert_int_equal(nat_owed_open(path, &o), 0);
	for (int i = 0; i < 500000; i++)
		assert_int_not_equal(nat_owed_add(o, &begin, 1), 0);
	nat_owed_close(o);
	sw.dir = dir;
	open_nat();
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	for (; nat_log_takes_up(&sw); turns++) {
		tick(-1, 0, sw.flows);
		assert_int_equal(sw.flows->phase, PHASE_REST);
		assert_true(event_base_loop(sw.base, EVLOOP_ONCE) >= 0);
	}
	assert_true(turns > 2);
	print_message("%u turns\n", turns);
	flow_close(&sw);
	nat_close(&sw);
	sw.dir = NULL;
	unlink(path);
	snprintf(path, sizeof(path), "%s/" STATE_NAT_RULES, dir);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
	open_nat();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_range_that_begins_elsewhere_is_the_same),
		TEST(who_is_no_more_of_it_is_nobody),
		TEST(joined_and_cut),
		TEST(who_is_kept_is_in_no_gap),
		TEST(again_changes_nothing),
		TEST(a_kept_flow_holds_its_port),
		TEST(too_many_prefixes_are_refused_by_name),
		TEST(all_of_them_may_change_at_once),
		TEST(neighbors_are_one_prefix),
		TEST(across_a_96),
		TEST(no_place_for_what_is_owed),
		TEST(what_is_owed_is_taken_up_in_slices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
