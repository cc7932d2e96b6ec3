/* route_test.c: addresses that no route decides about: whoever compares routes leaves them out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "route_priv.h"

static void never_test(void **arg)
{
	static const struct {
		const char *text;
		bool never;
	} rows[] = {
		{"255.255.255.255", true},
		{"240.0.0.0", true},
		{"239.255.255.255", true},
		{"224.0.0.1", true},
		{"127.0.0.1", true},
		{"0.0.0.0", true},
		{"0.255.255.255", true},
		{"1.0.0.0", false},
		{"126.0.0.1", false},
		{"128.0.0.1", false},
		{"223.255.255.255", false},
		{"10.0.10.255", false},
		{"ff02::1", true},
		{"fe80::1", true},
		{"febf::1", true},
		{"fec0::1", false},
		{"::1", true},
		{"2001:db8::1", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a;
		uint8_t family;

		assert_int_equal(addr_parse(rows[i].text, &a, &family), 0);
		if (route_never(&a, family) != rows[i].never)
			fail_msg("%s", rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(never_test)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
