/* mirror_early_test.c: the two ways by which the mirror hears of links, against each other, without a kernel: what is usable
 * while one of them is behind, after losses, and when both have heard all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <sys/socket.h>
#include "mirror_impl.h"
#include <linux/if.h> /* after net/if.h, which it completes */

#define LINKS 3
#define NEWS  64 /* that one of the two may be behind */

/* News of a link, or the link itself. */
struct news {
	int ifindex;
	unsigned device; /* which of those that had this number; 0: there is none */
	bool up;
};

static struct mirror *m;
static unsigned told; /* how often */
static unsigned seed;

static void told_usable(void *arg, int ifindex)
{
	told++;
}

static int setup(void **state)
{
	const struct mirror_listener listener = {.usable = told_usable};

	told = 0;
	return mirror_new(&listener, &m);
}

static int teardown(void **state)
{
	mirror_close(m);
	return 0;
}

static const struct nlmsghdr *message(const struct news *n)
{
	static char buf[512];
	struct nlmsghdr *nlh;
	struct ifinfomsg *ifi;
	char name[IFNAMSIZ];

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = n->device ? RTM_NEWLINK : RTM_DELLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = n->ifindex;
	ifi->ifi_flags = IFF_UP | (n->up ? IFF_RUNNING | IFF_LOWER_UP : 0);
	snprintf(name, sizeof(name), "l%u", n->device);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u8(nlh, IFLA_OPERSTATE, n->up ? IF_OPER_UP : IF_OPER_DOWN);
	return nlh;
}

static void early(bool waits, int ifindex, unsigned device, bool up)
{
	struct news n = {ifindex, device, up};

	mirror_early_link(m, message(&n), waits);
}

static void in_order(int ifindex, unsigned device, bool up)
{
	struct news n = {ifindex, device, up};

	assert_int_equal(mirror_message(m, message(&n), false), 0);
}

/* ---- single courses of events */

static void down_is_heard_before_its_turn_test(void **state)
{
	in_order(5, 1, true);
	assert_true(mirror_link_usable(m, 5));
	early(true, 5, 1, false);
	assert_false(mirror_link_usable(m, 5));
	assert_int_equal(told, 1);
	assert_true(mirror_link(m, 5)->carrier); /* all else in order */
	in_order(5, 1, false);
	mirror_early_caught_up(m);
	assert_false(mirror_link_usable(m, 5));
	early(false, 5, 1, true);
	in_order(5, 1, true);
	assert_true(mirror_link_usable(m, 5));
	assert_int_equal(told, 1);
	assert_int_equal(m->early.n, 0);
}

/* A dump that was begun before, and what waited since before. */
static void older_up_changes_nothing_test(void **state)
{
	struct news up = {5, 1, true};

	in_order(5, 1, true);
	early(true, 5, 1, false);
	assert_int_equal(mirror_message(m, message(&up), true), 0);
	in_order(5, 1, false);
	in_order(5, 1, true);
	assert_false(mirror_link_usable(m, 5));
	in_order(5, 1, false);
	mirror_early_caught_up(m);
	assert_false(mirror_link_usable(m, 5));
	assert_int_equal(told, 1);
}

static void down_and_up_is_one_failure_test(void **state)
{
	in_order(5, 1, true);
	early(true, 5, 1, false);
	early(true, 5, 1, true);
	assert_false(mirror_link_usable(m, 5));
	in_order(5, 1, false);
	assert_false(mirror_link_usable(m, 5));
	in_order(5, 1, true);
	assert_true(mirror_link_usable(m, 5));
	assert_int_equal(m->early.n, 0);
}

/* The number of a link that is gone is given to another, which is up: nothing leaves by it under the name of the former. */
static void number_given_to_another_link_test(void **state)
{
	in_order(5, 1, true);
	early(true, 5, 0, false);
	early(true, 5, 2, true);
	assert_false(mirror_link_usable(m, 5));
	assert_string_equal(mirror_link(m, 5)->name, "l1");
	in_order(5, 0, false);
	assert_false(mirror_link_usable(m, 5));
	in_order(5, 2, true);
	assert_true(mirror_link_usable(m, 5));
	assert_string_equal(mirror_link(m, 5)->name, "l2");
}

/* The mirror heard of it first, and nothing waits: what was noted would stay for ever. */
static void mirror_that_is_ahead_is_not_waited_for_test(void **state)
{
	in_order(5, 1, true);
	in_order(5, 1, false);
	in_order(5, 1, true);
	early(false, 5, 1, false);
	assert_false(mirror_link_usable(m, 5));
	early(false, 5, 1, true);
	assert_true(mirror_link_usable(m, 5));
	assert_int_equal(m->early.n, 0);
	/* or others waited: until they do not any more */
	early(true, 5, 1, false);
	early(true, 5, 1, true);
	assert_false(mirror_link_usable(m, 5));
	told = 0;
	mirror_early_caught_up(m);
	assert_true(mirror_link_usable(m, 5));
	assert_int_equal(told, 1);
}

/* Links that came and went before the mirror heard of them leave nothing behind. */
static void unknown_links_are_forgotten_test(void **state)
{
	for (int i = 1; i <= 1000; i++) {
		early(true, i, 1, false);
		early(true, i, 0, false);
		in_order(i, 1, false);
		in_order(i, 0, false);
	}
	early(true, 2000, 0, false);
	mirror_early_caught_up(m);
	assert_int_equal(m->early.n, 0);
	assert_int_equal(told, 0);
}

static void others_messages_are_no_links_test(void **state)
{
	struct news n = {5, 1, false};
	struct nlmsghdr *nlh;

	in_order(5, 1, true);
	nlh = (struct nlmsghdr *)(uintptr_t)message(&n);
	((struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))->ifi_family = AF_BRIDGE; /* a port leaves its bridge */
	mirror_early_link(m, nlh, true);
	nlh->nlmsg_type = RTM_DELLINK;
	mirror_early_link(m, nlh, true);
	nlh->nlmsg_len = NLMSG_LENGTH(4); /* cut off */
	mirror_early_link(m, nlh, true);
	assert_true(mirror_link_usable(m, 5));
}

/* ---- any course of events */

/* What the kernel told, and how far each of the two has read it. */
struct kernel {
	struct news link[LINKS];
	struct news told[NEWS];
	unsigned n, early, in_order; /* counted from the beginning */
	unsigned devices;
};

static unsigned any(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

static void something_happens(struct kernel *k)
{
	struct news *l = &k->link[any(LINKS)];

	if (!l->device)
		l->device = ++k->devices;
	else if (!any(4))
		l->device = 0;
	else
		l->up = !l->up;
	if (!l->device)
		l->up = false;
	k->told[k->n++ % NEWS] = *l;
}

static void read_early(struct kernel *k)
{
	if (k->early < k->n)
		mirror_early_link(m, message(&k->told[k->early++ % NEWS]), k->in_order < k->n);
}

static void read_in_order(struct kernel *k)
{
	while (k->early <= k->in_order && k->early < k->n)
		read_early(k);
	if (k->in_order < k->n)
		assert_int_equal(mirror_message(m, message(&k->told[k->in_order++ % NEWS]), false), 0);
	if (k->in_order == k->n)
		mirror_early_caught_up(m);
}

/* What waited is lost; all links are dumped, while more of them tell, and while others' news still wait. */
static void overrun(struct kernel *k)
{
	struct news dumped[LINKS];

	while (k->early < k->n)
		read_early(k);
	k->in_order = k->n;
	mirror_early_lost(m);
	memcpy(dumped, k->link, sizeof(dumped));
	for (unsigned n = any(5); n; n--) {
		something_happens(k);
		mirror_early_link(m, message(&k->told[k->early++ % NEWS]), true);
	}
	m->gen++;
	for (unsigned i = 0; i < LINKS; i++) {
		if (dumped[i].device)
			assert_int_equal(mirror_message(m, message(&dumped[i]), true), 0);
	}
	mirror_links_sweep(m);
	mirror_early_dumped(m);
	for (unsigned i = 0; i < LINKS && k->in_order == k->n; i++)
		assert_int_equal(mirror_link_usable(m, k->link[i].ifindex), k->link[i].up);
}

/* The newest that was heard of link i, by who has read so far. */
static struct news heard(const struct kernel *k, unsigned read, unsigned i)
{
	for (unsigned at = read; at > 0 && at + NEWS > k->n; at--) {
		if (k->told[(at - 1) % NEWS].ifindex == k->link[i].ifindex)
			return k->told[(at - 1) % NEWS];
	}
	return (struct news){.ifindex = 0};
}

/* Never usable when the newest that was heard says otherwise, nor when that is of another device than the mirror has. */
static void expect_honest(const struct kernel *k)
{
	for (unsigned i = 0; i < LINKS; i++) {
		const struct link *l = mirror_link(m, k->link[i].ifindex);
		struct news newest = heard(k, k->early, i);
		char name[IFNAMSIZ];

		if (!mirror_link_usable(m, k->link[i].ifindex))
			continue;
		assert_non_null(l);
		assert_true(l->carrier);
		if (k->early < k->in_order || !newest.ifindex)
			continue;
		assert_true(newest.up);
		snprintf(name, sizeof(name), "l%u", newest.device);
		assert_string_equal(l->name, name);
	}
}

static void expect_agreement(struct kernel *k)
{
	while (k->early < k->n)
		read_early(k);
	while (k->in_order < k->n)
		read_in_order(k);
	for (unsigned i = 0; i < LINKS; i++)
		assert_int_equal(mirror_link_usable(m, k->link[i].ifindex), k->link[i].up);
	mirror_early_caught_up(m);
	assert_int_equal(m->early.n, 0);
}

static void any_order_test(void **state)
{
	struct kernel k = {.n = 0};

	for (unsigned i = 0; i < LINKS; i++)
		k.link[i].ifindex = 5 + (int)i;
	for (seed = 1; seed < 200; seed++) {
		unsigned was = seed;

		for (unsigned step = 0; step < 1000; step++) {
			unsigned what = any(100), lag = k.n - (k.early < k.in_order ? k.early : k.in_order);

			if (what < 30 && lag < NEWS - 1)
				something_happens(&k);
			else if (what < 65)
				read_early(&k);
			else if (what < 98)
				read_in_order(&k);
			else
				overrun(&k);
			expect_honest(&k);
		}
		expect_agreement(&k);
		seed = was;
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(down_is_heard_before_its_turn_test),
		T(older_up_changes_nothing_test),
		T(down_and_up_is_one_failure_test),
		T(number_given_to_another_link_test),
		T(mirror_that_is_ahead_is_not_waited_for_test),
		T(unknown_links_are_forgotten_test),
		T(others_messages_are_no_links_test),
		T(any_order_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
