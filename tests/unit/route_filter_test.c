/* route_filter_test.c: do two listings show the same routes? Whatever chooses routes counts; where a page begins, and how long it
 * is, does not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "route_filter.h"

static void same_test(void **arg)
{
	static const struct {
		const char *name;
		size_t at;
		bool counts;
	} rows[] = {
		{"protocol", offsetof(struct route_filter, protocol), true},
		{"type", offsetof(struct route_filter, type), true},
		{"to", offsetof(struct route_filter, to.addr), true},
		{"to, family", offsetof(struct route_filter, to.family), true},
		{"to, length", offsetof(struct route_filter, to.len), true},
		{"to default", offsetof(struct route_filter, to_default), true},
		{"how", offsetof(struct route_filter, how), true},
		{"has vrf", offsetof(struct route_filter, has_vrf), true},
		{"vrf", offsetof(struct route_filter, vrf), true},
		{"active", offsetof(struct route_filter, active), true},
		{"inactive", offsetof(struct route_filter, inactive), true},
		{"family", offsetof(struct route_filter, family), true},
		{"via", offsetof(struct route_filter, via), true},
		{"via, family", offsetof(struct route_filter, via_family), true},
		{"iface", offsetof(struct route_filter, iface), true},
		{"table", offsetof(struct route_filter, table), true},
		{"limit", offsetof(struct route_filter, limit), false},
		{"after", offsetof(struct route_filter, after), false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_filter a = {.family = 4}, b = a;

		assert_true(route_filter_same(&a, &b));
		((uint8_t *)&b)[rows[i].at] ^= 1;
		if (route_filter_same(&a, &b) == rows[i].counts)
			fail_msg("%s", rows[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(same_test)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
