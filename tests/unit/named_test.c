/* named_test.c: what is not followed, by name: the first of many, as text that JSON can carry, and each told once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "named.h"

static char said[4096];

void log_error(const char *fmt, ...)
{
	size_t len = strlen(said);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said + len, sizeof(said) - len, fmt, ap);
	va_end(ap);
	strncat(said, ";", sizeof(said) - strlen(said) - 1);
}

static void add(struct named *v, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++)
		named_add(v, "thing %u", i);
}

static void any_bytes_test(void **state)
{
	struct named v = {0};
	json_t *list = json_array();

	named_add(&v, "iif %s", "a\xff\n\x1b\xe2\x94");
	add(&v, 1, 20);
	named_list(&v, list);
	assert_int_equal(v.n, 21);
	assert_int_equal(json_array_size(list), NAMED_MAX);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "iif a?????");
	assert_string_equal(json_string_value(json_array_get(list, 15)), "thing 15");
	json_decref(list);
}

static void told_once_test(void **state)
{
	struct named none = {0}, two = {0}, three = {0}, many = {0}, more = {0};

	add(&two, 1, 2);
	add(&three, 1, 3);
	add(&many, 3, NAMED_MAX + 1);
	add(&more, 100, NAMED_MAX + 2);
	said[0] = '\0';
	named_tell(&two, &none, "things");
	assert_string_equal(said, "thing 1;thing 2;");
	said[0] = '\0';
	named_tell(&three, &two, "things");
	named_tell(&two, &three, "things");
	assert_string_equal(said, "thing 3;");
	said[0] = '\0';
	named_tell(&many, &three, "things");
	assert_null(strstr(said, "thing 3;"));
	assert_non_null(strstr(said, "thing 18;more of the kernel's things are not followed"));
	said[0] = '\0';
	named_tell(&more, &many, "things");
	assert_string_equal(said, "");
	named_tell(&three, &more, "things"); /* that are no longer too many to be told apart */
	assert_string_equal(said, "thing 1;thing 2;thing 3;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_bytes_test), cmocka_unit_test(told_once_test)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
