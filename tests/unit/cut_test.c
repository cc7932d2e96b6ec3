/* cut_test.c: when packets are sent to the pair for cutting: once it takes them apart and its other end is a port, and not
 * before. In a network namespace of its own, with real netdevs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <net/if.h>
#include <string.h>
#include "cut.h"
#include "events.h"
#include "netlink.h"
#include "netns.h"

static struct control control;
static struct iface_cfg ifaces[2] = {{.mtu = 1500}, {.mtu = 1400}};
static struct model model = {.ifaces = ifaces, .n_ifaces = 2};
static struct sw sw;
static struct errs errs;

const struct link *mirror_link_by_name(const struct mirror *m, const char *name)
{
	return NULL;
}

void events_again_links(struct events *e)
{
}

static void begin(void)
{
	sw = (struct sw){.instance = "t", .model = &model, .control = &control, .nl = sw.nl};
	assert_int_equal(cut_open(&sw, &errs), 0);
}

static int setup(void **state)
{
	int r = netns_enter();

	if (r == 0)
		r = netlink_open(&sw.nl, &errs);
	ifaces[1].mtu = 1400;
	control = (struct control){0};
	return r;
}

static int teardown(void **state)
{
	cut_close(&sw);
	netlink_close(sw.nl);
	sw.nl = NULL;
	errs_free(&errs);
	errs = (struct errs){};
	return 0;
}

static int end(void)
{
	const char *name;
	uint32_t mtu;

	return cut_port(&sw, &name, &mtu);
}

static const char *in(void)
{
	static char name[IFNAMSIZ];
	const char *out;
	uint32_t mtu;

	cut_port(&sw, &out, &mtu);
	snprintf(name, sizeof(name), "%s", out);
	name[strlen(name) - 1] = 'i';
	return name;
}

static void nothing_is_sent_there_before_the_other_end_is_attached(void **state)
{
	begin();
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	assert_int_equal(control.cut_ifindex, 0);
	assert_true(end() > 0);
	cut_attached(&sw, false);
	assert_int_equal(control.cut_ifindex, 0);
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	assert_int_equal(control.cut_ifindex, 0);
	cut_attached(&sw, true);
	assert_int_equal(control.cut_ifindex, if_nametoindex(in()));
}

/* It works while sluiced is not there, and goes on while the next one takes it over. */
static void pair_of_a_former_life_is_used_all_the_while(void **state)
{
	uint32_t was;

	begin();
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	cut_attached(&sw, true);
	was = control.cut_ifindex;
	cut_close(&sw);
	begin();
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	assert_int_equal(control.cut_ifindex, was);
	assert_true(end() > 0);
}

/* One that somebody took away is made again, and one that is not wanted goes, whether it was in use or not. */
static void pair_comes_and_goes(void **state)
{
	uint32_t was;

	begin();
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	cut_attached(&sw, true);
	was = control.cut_ifindex;
	ip("link del %s", in());
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	assert_int_equal(control.cut_ifindex, 0);
	assert_true(end() > 0 && if_nametoindex(in()) != was);
	ifaces[1].mtu = 1500; /* never attached */
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	assert_int_equal(end(), 0);
	assert_int_equal(if_nametoindex(in()), 0);
	ifaces[1].mtu = 1400;
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	cut_attached(&sw, true);
	ifaces[1].mtu = 1500;
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	assert_int_equal(control.cut_ifindex, 0);
	assert_int_equal(if_nametoindex(in()), 0);
}

static void netdev_of_another_is_left_alone(void **state)
{
	begin();
	ip("link add %s type veth peer name other", in());
	ip("link set %s alias somebody", in());
	assert_int_equal(cut_reconcile(&sw, &errs), -EEXIST);
	assert_non_null(strstr(errs.v[0].text, "is not this switch's: remove it"));
	assert_int_equal(control.cut_ifindex, 0);
	ifaces[1].mtu = 1500;
	assert_int_equal(cut_reconcile(&sw, &errs), 0);
	assert_true(if_nametoindex("other") != 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_sent_there_before_the_other_end_is_attached),
		TEST(pair_of_a_former_life_is_used_all_the_while),
		TEST(pair_comes_and_goes),
		TEST(netdev_of_another_is_left_alone),
	};

	int r = netns_become_root();

	if (r == 0)
		r = netns_enter();
	if (r < 0) {
		fprintf(stderr, "SKIP cut_test: no network namespace may be made here: %s\n", strerror(-r));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
