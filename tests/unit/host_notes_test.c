/* host_notes_test.c: what is noted of the routes in the kernel, over lives, ends in between, and files that were damaged. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "file.h"
#include "host_notes.h"

static char dir[32], file[64];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/host_notes_XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/routes", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(file);
	return rmdir(dir); /* nothing else may be left there */
}

static struct host_note note(const char *prefix, uint32_t table, uint32_t metric)
{
	struct host_note n = {.table = table, .metric = metric};

	assert_int_equal(prefix_parse(prefix, 0, true, &n.to), 0);
	return n;
}

struct seen {
	size_t n;
	uint64_t sum; /* of tables and metrics */
};

static int see(const struct host_note *n, void *arg)
{
	struct seen *s = arg;

	s->n++;
	s->sum += (uint64_t)n->table << 32 | (n->metric + n->to.len);
	return 0;
}

static struct seen look(void)
{
	struct seen s = {0};

	assert_int_equal(host_notes_read(file, see, &s), 0);
	return s;
}

static struct host_notes *begin(void)
{
	struct errs errs = {0};
	struct host_notes *n = host_notes_new(file, &errs);

	assert_non_null(n);
	assert_int_equal(errs.n, 0);
	return n;
}

static void test_none(void **state)
{
	struct seen s = {0};

	assert_int_equal(host_notes_read(file, see, &s), -ENOENT);
	assert_int_equal(s.n, 0);
}

/* In use a note is in the file at once, whatever happens to the process. */
static void test_put_and_drop(void **state)
{
	struct host_note a = note("10.0.0.0/8", 254, 20), b = note("2001:db8::/32", 254, 1024), c = note("10.0.0.0/8", 254, 0);
	struct host_notes *n = begin();

	assert_int_equal(host_notes_put(n, &a), 0);
	assert_int_equal(host_notes_use(n, NULL), 0);
	assert_int_equal(look().n, 1);
	assert_int_equal(host_notes_put(n, &b), 0);
	assert_int_equal(host_notes_put(n, &c), 0);
	assert_int_equal(look().n, 3);
	assert_int_equal(host_notes_drop(n, &a), 0);
	assert_int_equal(look().n, 2);
	assert_int_equal(look().sum, (254ull << 32) * 2 + 1024 + 32 + 8);
	assert_int_equal(host_notes_put(n, &a), 0);
	assert_int_equal(look().n, 3);
	assert_int_equal(host_notes_written(n), 5);
	host_notes_close(n);
}

/* A file that is not put to use changes nothing. */
static void test_given_up(void **state)
{
	struct host_note a = note("10.0.0.0/8", 254, 20);
	struct host_notes *n = begin();

	assert_int_equal(host_notes_put(n, &a), 0);
	assert_int_equal(host_notes_use(n, NULL), 0);
	host_notes_close(n);
	n = begin();
	host_notes_close(n);
	assert_int_equal(look().n, 1);
	n = begin();
	assert_int_equal(host_notes_use(n, NULL), 0);
	host_notes_close(n);
	assert_int_equal(look().n, 0);
}

/* Records that no version wrote, and one that is cut short, are nobody's routes. */
static void test_damaged(void **state)
{
	struct host_note a = note("10.0.0.0/8", 254, 20);
	struct host_notes *n = begin();
	FILE *f;

	assert_int_equal(host_notes_put(n, &a), 0);
	assert_int_equal(host_notes_use(n, NULL), 0);
	host_notes_close(n);
	f = fopen(file, "a");
	assert_non_null(f);
	for (int i = 0; i < 32 * 3 + 13; i++)
		fputc(0xff, f);
	fclose(f);
	assert_int_equal(look().n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_and_drop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
