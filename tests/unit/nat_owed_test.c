/* nat_owed_test.c: what one process has noted, the next one finds; and the file grows and shrinks with it. */
#include "../../user/nat_owed.c"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

static char path[64];
static struct nat_owed *o;
static uint64_t sum, gone;
static unsigned n;

static void reopen(void)
{
	nat_owed_close(o);
	assert_int_equal(nat_owed_open(path, &o), 0);
}

static void add_up(uint32_t number, const struct nat_event *begin, uint64_t gone_ns, void *arg)
{
	sum += begin->at_ns;
	gone += gone_ns;
	n++;
}

static void forget_it(uint32_t number, const struct nat_event *begin, uint64_t gone_ns, void *arg)
{
	nat_owed_forget(o, number);
}

/* Notes of this process are not shown; the next one sees them. In small steps, and the steps count. */
static unsigned steps;

static void each(void (*fn)(uint32_t number, const struct nat_event *begin, uint64_t gone_ns, void *arg))
{
	uint32_t from = 0;

	for (steps = 1; nat_owed_left(o, &from, 100, fn, NULL); steps++)
		;
}

static unsigned left(void)
{
	reopen();
	sum = gone = n = 0;
	each(add_up);
	return n;
}

static uint32_t put(uint64_t at_ns)
{
	return nat_owed_add(o, &(struct nat_event){.at_ns = at_ns}, 0);
}

static off_t size(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/nat_owed_test.%d", (int)getpid());
	unlink(path);
	o = NULL;
	return nat_owed_open(path, &o);
}

static int teardown(void **state)
{
	nat_owed_close(o);
	return unlink(path);
}

static void the_next_one_finds_it(void **state)
{
	uint32_t waits = put(1), ended = put(10), written = put(100), told = put(1000);

	assert_int_equal(nat_owed_word(o), UINT64_MAX);
	nat_owed_set_word(o, 5);
	nat_owed_gone(o, ended, 7);
	nat_owed_written(o, told);
	nat_owed_flushed(o);
	nat_owed_written(o, written); /* and not flushed */
	assert_int_equal(left(), 3);
	assert_int_equal(sum, 111);
	assert_int_equal(gone, 7);
	assert_int_equal(nat_owed_word(o), 5);
	nat_owed_flushed(o); /* nothing of this process's */
	assert_int_equal(left(), 3);
	nat_owed_forget(o, waits);
	nat_owed_forget(o, 0);
	assert_int_equal(left(), 2);
	assert_int_equal(put(3), waits);
}

static void it_grows_and_shrinks(void **state)
{
	for (uint32_t i = 1; i <= 2 * STEP + 1; i++)
		assert_int_equal(put(i), i);
	assert_int_equal(size(), bytes(3 * STEP));
	n = 0;
	each(add_up);
	assert_int_equal(n, 0);
	assert_int_equal(left(), 2 * STEP + 1);
	assert_int_equal(steps, (3 * STEP + 99) / 100);
	assert_int_equal(sum, (2ull * STEP + 1) * (STEP + 1));
	each(forget_it);
	assert_int_equal(left(), 0);
	assert_int_equal(size(), bytes(STEP));
	assert_int_equal(put(4), 1);
	assert_int_equal(left(), 1);
}

static void another_file_is_begun_anew(void **state)
{
	put(1);
	o->head->magic++; /* of another version */
	assert_int_equal(left(), 0);
	put(1);
	nat_owed_close(o);
	assert_int_equal(truncate(path, 60), 0);
	assert_int_equal(nat_owed_open(path, &o), 0);
	assert_int_equal(left(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_next_one_finds_it, setup, teardown),
		cmocka_unit_test_setup_teardown(it_grows_and_shrinks, setup, teardown),
		cmocka_unit_test_setup_teardown(another_file_is_begun_anew, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
