/* globs_test.c: netdev names, globs, and whether two globs can match one name. */
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "globs.h"

static void name_test(void **state)
{
	static const char *const good[] = {"eth0", "a", "enp3s0f1np1.100", "fifteen-letters", "veth@x", "..."};
	static const char *const bad[] = {"",	 ".",	 "..",	 "sixteen-letters-", "a b",  "a/b",
					  "a:b", "a\\b", "a\tb", "\xc3\xa4",	     "eth*", "eth[0]"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_null(netdev_name_problem(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(netdev_name_problem(bad[i]));
}

static void glob_name_test(void **state)
{
	static const char *const good[] = {"*", "?", "vnet*", "eth[0-9]", "eth[!0-9]", "a[]]b", "a[!]]b", "a[b-]", "[-a]*"};
	static const char *const bad[] = {"",	      "eth[0",	 "eth[", "eth[]", "eth[[:digit:]]",
					  "eth[9-0]", "eth[^0]", "a\\*", "a* b",  "sixteen-letters*",
					  "[Z-[]",    "[[a]"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(is_glob(good[i]));
		assert_null(glob_problem(good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(glob_problem(bad[i]));
	assert_false(is_glob("eth0"));
	assert_true(glob_match("vnet*", "vnet12"));
	assert_false(glob_match("vnet?", "vnet12"));
}

static void meet_test(void **state)
{
	static const struct {
		const char *a, *b, *want; /* NULL: they do not meet */
	} rows[] = {
		{"veth*", "*0", "veth0"},
		{"veth*", "vnet*", NULL},
		{"*", "?", "0"},
		{"a*b", "*ab?", "abb"},
		{"eth[0-4]", "eth[5-9]", NULL},
		{"eth[!0]", "eth[01]", "eth1"},
		{"a?c", "ab?", "abc"},
		{"a?", "a", NULL},
		{"a*", "a", "a"},
		{"abcdefgh*", "*ijklmnop", NULL},
		{"abcdefgh*", "*hijklmno", "abcdefghijklmno"},
		{"*a*b*c*", "*c*b*a*", "cbabc"},
		{"[a-c]x", "[!a-c]x", NULL},
		{"**", "***", "0"},
		{"???????????????", "*a", "00000000000000a"},
		{"*x", "*y", NULL},
	};
	char name[IFNAMSIZ];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(globs_meet(rows[i].a, rows[i].b, name), rows[i].want != NULL);
		if (rows[i].want)
			assert_string_equal(name, rows[i].want);
		assert_int_equal(globs_meet(rows[i].b, rows[i].a, name), rows[i].want != NULL);
		if (!rows[i].want)
			continue;
		/* What is said to match both does, by fnmatch() that decides at run time. */
		assert_int_equal(fnmatch(rows[i].a, name, 0), 0);
		assert_int_equal(fnmatch(rows[i].b, name, 0), 0);
	}
}

/* All pairs of short globs over two letters, against all names of up to five letters tried one by one. */
static void meet_exhaustive_test(void **state)
{
	static const char *const parts[] = {"a", "b", "?", "*", "[!a]"};
	static char globs[5 + 25 + 125][IFNAMSIZ], names[2 + 4 + 8 + 16 + 32][6];
	size_t n = 0, m = 0;
	char name[IFNAMSIZ];

	for (unsigned len = 1, all = 5; len <= 3; len++, all *= 5)
		for (unsigned v = 0; v < all; v++, n++)
			for (unsigned i = 0, w = v; i < len; i++, w /= 5)
				strcat(globs[n], parts[w % 5]);
	for (unsigned len = 1; len <= 5; len++)
		for (unsigned v = 0; v < 1u << len; v++, m++)
			for (unsigned i = 0; i < len; i++)
				names[m][i] = v >> i & 1 ? 'a' : 'b';
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i; j < n; j++) {
			bool want = false;

			for (size_t k = 0; k < m && !want; k++)
				want = !fnmatch(globs[i], names[k], 0) && !fnmatch(globs[j], names[k], 0);
			if (globs_meet(globs[i], globs[j], name) != want)
				fail_msg("%s and %s: %s", globs[i], globs[j], want ? "meet" : name);
			if (want && (fnmatch(globs[i], name, 0) || fnmatch(globs[j], name, 0)))
				fail_msg("%s and %s do not both match %s", globs[i], globs[j], name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_test),
		cmocka_unit_test(glob_name_test),
		cmocka_unit_test(meet_test),
		cmocka_unit_test(meet_exhaustive_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
