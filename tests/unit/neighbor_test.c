/* neighbor_test.c: which of the kernel's words about a neighbour mean that it does not answer, that the kernel gets the
 * configuration's again when it has lost them, what stays in the table when everything is read anew, and how often flows must
 * decide anew. The table is memory of the test's own, and the kernel does what it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "clock.h"
#include "events.h"
#include "neigh_ask.h"
#include "../../user/neighbor.c"

#define IFACE 3
#define LINK  17

static struct sw sw;
static struct neighbors ns;
static struct neighbor stored; /* of the one neighbour there is */
static bool is_stored;
static int deleted;	 /* how often the kernel was told to */
static int set, refused; /* how often it was given a static one, and what it says to that */
static int asked_again;
static int epochs;	      /* how often flows were told to decide anew */
static uint32_t host_ifindex; /* of the interface's netdev */

int table_lookup(struct table *t, const void *key, void *ret_value)
{
	if (is_stored)
		memcpy(ret_value, &stored, sizeof(stored));
	return is_stored ? 0 : -ENOENT;
}

int table_set(struct table *t, const void *key, const void *value)
{
	memcpy(&stored, value, sizeof(stored));
	is_stored = true;
	return 0;
}

int table_delete(struct table *t, const void *key)
{
	if (!is_stored)
		return -ENOENT;
	is_stored = false;
	return 0;
}

struct table *table_get(struct datapath *dp, const char *map)
{
	return NULL;
}

uint32_t table_capacity(const struct table *t)
{
	return 1;
}

void table_cursor_free(void *cursor)
{
}

int neigh_ask_probe(struct neigh_ask *a, int ifindex, const struct addr *addr)
{
	return 0;
}

void sw_epoch(struct sw *s)
{
	epochs++;
}

void route_neighbor_changed(struct sw *s, uint16_t iface, const struct addr *a)
{
}

uint16_t iface_id_by_host(const struct sw *s, int ifindex)
{
	return ifindex == LINK ? IFACE : 0;
}

int iface_host_ifindex(const struct sw *s, uint16_t id)
{
	return host_ifindex;
}

int neigh_ask_drop(struct neigh_ask *a, int ifindex, const struct addr *addr)
{
	deleted++;
	return 0;
}

int netlink_neigh_set(struct netlink *nl, int ifindex, const struct addr *addr, const uint8_t mac[6], struct errs *errs)
{
	assert_int_equal(ifindex, LINK);
	set++;
	return refused ? errs_fail(errs, -refused, "refused") : 0;
}

int netlink_neigh_delete(struct netlink *nl, int ifindex, const struct addr *addr, struct errs *errs)
{
	return 0;
}

void events_again_neighbors(struct events *e, bool more)
{
	asked_again += more;
}

uint16_t iface_id(const struct sw *s, const char *name)
{
	return IFACE;
}

const char *iface_name(const struct sw *s, uint16_t id)
{
	return id == IFACE ? "vlan10" : NULL;
}

bool mirror_neighs_step(const struct mirror *m, size_t *at, size_t max, int (*fn)(const struct neigh *n, void *arg), void *arg,
			int *ret)
{
	return true;
}

static struct neigh who = {
	.ifindex = LINK, .family = 4, .addr = {.a8 = {[10] = 0xff, 0xff, 10, 0, 20, 12}}, .mac = {2, 0, 0, 0, 0, 1}};

int table_each_some(struct table *t, void **cursor, size_t max, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	struct neighbor_key key = {.addr = who.addr, .iface = IFACE};

	return is_stored ? fn(&key, &stored, arg) : 0;
}

int neighbor_asked_open(struct neighbors *n, struct errs *errs)
{
	return 0;
}

void neighbor_asked_close(struct neighbors *n)
{
}

void neighbor_asked_soon(struct neighbors *n)
{
}

/* ---- */

static void hears(uint16_t state)
{
	who.state = state;
	who.has_mac = !(state & (NUD_INCOMPLETE | NUD_FAILED));
	neighbor_event(&sw, MIRROR_NEW, &who);
}

static void hears_of_mac(uint16_t state, uint8_t last)
{
	uint8_t was = who.mac[5];

	who.mac[5] = last;
	hears(state);
	who.mac[5] = was;
}

static void hears_it_is_gone(void)
{
	neighbor_event(&sw, MIRROR_DEL, &who);
}

/* A turn of the timer. */
static void ticks(void)
{
	struct neighbor_entry *e = neighbor_find(&ns, IFACE, &who.addr);

	if (e)
		tend(&ns, e, clock_now_ns(), clock_stamp_s());
}

static bool failed(void)
{
	return is_stored && stored.flags & NEIGHBOR_F_FAILED;
}

static int setup(void **arg)
{
	memset(&ns, 0, sizeof(ns));
	sw = (struct sw){.neighbors = &ns};
	ns.sw = &sw;
	hash_init(&ns.entries, hash_of);
	is_stored = false;
	deleted = set = refused = epochs = 0;
	host_ifindex = LINK;
	return 0;
}

static int teardown(void **arg)
{
	struct hash_iter it = {0};
	struct hash_node *node;

	while ((node = hash_next(&ns.entries, &it)))
		free(hash_entry(node, struct neighbor_entry, node));
	hash_free(&ns.entries);
	return 0;
}

static void who_never_answered_has_failed(void **arg)
{
	hears(NUD_FAILED);
	assert_true(failed());
}

static void who_was_probed_in_vain_has_failed(void **arg)
{
	hears(NUD_REACHABLE);
	hears(NUD_STALE);
	hears(NUD_PROBE);
	hears(NUD_FAILED);
	assert_true(failed());
}

/* The kernel's entry is taken away here, and the neighbour stays failed for its time. */
static void one_deleted_by_us_stays_failed(void **arg)
{
	hears(NUD_FAILED);
	ticks();
	assert_int_equal(deleted, 1);
	hears_it_is_gone();
	assert_true(failed());
	neighbor_find(&ns, IFACE, &who.addr)->failed_s -= FAILED_S;
	ticks();
	assert_false(is_stored);
	assert_null(neighbor_find(&ns, IFACE, &who.addr));
}

static void one_deleted_by_others_is_asked(void **arg)
{
	static const uint16_t states[] = {NUD_REACHABLE, NUD_STALE,	 NUD_DELAY, NUD_PROBE,
					  NUD_PERMANENT, NUD_INCOMPLETE, NUD_FAILED};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		hears(states[i]);
		hears(NUD_FAILED);
		hears_it_is_gone();
		assert_false(is_stored);
		assert_null(neighbor_find(&ns, IFACE, &who.addr));
	}
}

/* Not even for the moment between the two words. */
static void one_called_failed_by_hand_is_asked(void **arg)
{
	uint8_t mac[6];

	hears(NUD_REACHABLE);
	assert_true(is_stored);
	hears(NUD_FAILED);
	assert_false(is_stored);
	/* routes leave such a gateway all the same */
	assert_int_equal(neighbor_get(&sw, IFACE, &who.addr, mac), -EHOSTUNREACH);
}

/* One that failed here, was deleted by us, came back, and is deleted by somebody. */
static void a_former_deletion_does_not_count(void **arg)
{
	hears(NUD_FAILED);
	ticks();
	hears_it_is_gone();
	hears(NUD_REACHABLE);
	assert_false(failed());
	hears(NUD_PROBE);
	hears(NUD_FAILED);
	hears_it_is_gone();
	assert_false(is_stored);
}

/* The kernel loses it: its netdev was set down, somebody deletes it, or what was to drop a neighbour that had failed at this
 * address comes late. The data plane goes by the configuration all the while, and the kernel gets it again, until it takes it. */
static void static_one_is_given_to_the_kernel_again(void **arg)
{
	struct neighbor_cfg cfg = {.iface = "vlan10", .addr = who.addr, .mac = {2, 0, 0, 0, 0, 9}};
	struct model model = {.neighbors = &cfg, .n_neighbors = 1};
	struct errs errs = {0};

	sw.model = &model;
	sw.events = (void *)&model;
	hears(NUD_FAILED);
	ticks();
	assert_int_equal(deleted, 1); /* is under way */
	assert_int_equal(neighbor_reconcile(&sw, &errs), 0);
	assert_int_equal(set, 1);
	hears_of_mac(NUD_PERMANENT, 9);
	asked_again = 0;
	hears_it_is_gone();
	assert_int_equal(asked_again, 1);
	refused = -ENOBUFS;
	assert_int_equal(neighbor_read_on(&sw, &errs), -ENOBUFS);
	assert_int_equal(errs.n, 1);
	errs_free(&errs);
	refused = 0;
	assert_int_equal(neighbor_read_on(&sw, &errs), 0);
	assert_int_equal(set, 3);
	assert_int_equal(neighbor_read_on(&sw, &errs), 0);
	assert_int_equal(set, 3);
	assert_int_equal(stored.flags, NEIGHBOR_F_VALID | NEIGHBOR_F_STATIC);
	assert_memory_equal(stored.mac, cfg.mac, 6);
	assert_true(is_stored);
	ticks();
	assert_int_equal(deleted, 1);
	free(ns.fixed);
}

/* Somebody puts another neighbour in its place, one that ages or one that does not. */
static void static_one_that_is_overwritten_is_given_again(void **arg)
{
	struct neighbor_cfg cfg = {.iface = "vlan10", .addr = who.addr, .mac = {2, 0, 0, 0, 0, 9}};
	struct model model = {.neighbors = &cfg, .n_neighbors = 1};
	struct errs errs = {0};

	sw.model = &model;
	sw.events = (void *)&model;
	assert_int_equal(neighbor_reconcile(&sw, &errs), 0);
	hears_of_mac(NUD_PERMANENT, 9);
	assert_int_equal(neighbor_read_on(&sw, &errs), 0);
	assert_int_equal(set, 1);
	hears_of_mac(NUD_REACHABLE, 9);
	assert_int_equal(neighbor_read_on(&sw, &errs), 0);
	assert_int_equal(set, 2);
	hears_of_mac(NUD_PERMANENT, 9);
	hears_of_mac(NUD_PERMANENT, 7);
	assert_int_equal(neighbor_read_on(&sw, &errs), 0);
	assert_int_equal(set, 3);
	hears_of_mac(NUD_PERMANENT, 9);
	assert_int_equal(neighbor_read_on(&sw, &errs), 0);
	assert_int_equal(set, 3);
	assert_memory_equal(stored.mac, cfg.mac, 6);
	free(ns.fixed);
}

/* The data plane has just asked for it; nobody has told yet. */
static void is_asked(void)
{
	stored = (struct neighbor){.flags = NEIGHBOR_F_ASKED};
	is_stored = true;
}

static void everything_is_read_anew(void)
{
	struct model model = {0};
	struct errs errs = {0};

	sw.model = &model;
	ns.ready = false;
	assert_int_equal(neighbor_reconcile(&sw, &errs), 0);
	free(ns.fixed);
	ns.fixed = NULL;
}

static void one_asked_for_stays_when_everything_is_read(void **arg)
{
	struct neighbor_key key = {.addr = who.addr, .iface = IFACE};

	is_asked();
	everything_is_read_anew();
	assert_true(is_stored);
	neighbor_is_asked(&ns, &key);
	everything_is_read_anew();
	assert_true(is_stored);
	hears(NUD_INCOMPLETE);
	assert_true(is_stored);
	assert_int_equal(epochs, 0);
	neighbor_find(&ns, IFACE, &who.addr)->asked_s -= ASKED_S; /* not for ever */
	hears_it_is_gone();
	ticks();
	assert_false(is_stored);
	assert_int_equal(epochs, 0);
}

/* Nobody has told that it was asked for, and the kernel is asking. */
static void one_asked_for_stays_while_the_kernel_asks(void **arg)
{
	is_asked();
	hears(NUD_INCOMPLETE);
	assert_true(is_stored);
	hears(NUD_REACHABLE);
	assert_int_equal(stored.flags, NEIGHBOR_F_VALID);
	neighbor_settled(&sw);
	assert_int_equal(epochs, 0);
}

static void one_asked_for_goes_with_its_netdev(void **arg)
{
	struct neighbor_key key = {.addr = who.addr, .iface = IFACE};

	everything_is_read_anew();
	is_asked();
	neighbor_is_asked(&ns, &key);
	host_ifindex = LINK + 1;
	everything_is_read_anew();
	assert_false(is_stored);
	assert_int_equal(epochs, 0);
}

static void flows_decide_anew_once_in_a_batch(void **arg)
{
	hears(NUD_REACHABLE);
	neighbor_settled(&sw);
	assert_int_equal(epochs, 0); /* no flow had it */
	for (uint8_t i = 2; i < 10; i++)
		hears_of_mac(NUD_REACHABLE, i);
	assert_int_equal(epochs, 0);
	neighbor_settled(&sw);
	neighbor_settled(&sw);
	assert_int_equal(epochs, 1);
	hears_it_is_gone();
	neighbor_settled(&sw);
	assert_int_equal(epochs, 2);
	hears(NUD_FAILED);
	hears(NUD_REACHABLE); /* nor has a flow one that failed */
	neighbor_settled(&sw);
	assert_int_equal(epochs, 2);
}

/* Left by a former life: a station that is not there any more. */
static void unknown_one_goes(void **arg)
{
	stored = (struct neighbor){.flags = NEIGHBOR_F_VALID, .mac = {2, 0, 0, 0, 0, 3}};
	is_stored = true;
	everything_is_read_anew();
	assert_false(is_stored);
	assert_int_equal(epochs, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(who_never_answered_has_failed),
		TEST(who_was_probed_in_vain_has_failed),
		TEST(one_deleted_by_us_stays_failed),
		TEST(one_deleted_by_others_is_asked),
		TEST(one_called_failed_by_hand_is_asked),
		TEST(a_former_deletion_does_not_count),
		TEST(static_one_is_given_to_the_kernel_again),
		TEST(static_one_that_is_overwritten_is_given_again),
		TEST(one_asked_for_stays_when_everything_is_read),
		TEST(one_asked_for_stays_while_the_kernel_asks),
		TEST(one_asked_for_goes_with_its_netdev),
		TEST(flows_decide_anew_once_in_a_batch),
		TEST(unknown_one_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
