/* loop_test.c: turns that take their time are told, with what they did; and what the C library does with memory takes no long
 * turn of the event loop: nothing large is copied to grow, and nothing is given back in one go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "clock.h"
#include "log.h"
#include "loop.h"

#define LARGE (256u << 10)
#define SMALL 300
#define MANY  300000 /* 90 MB of small ones: more than the library keeps by itself, whatever was freed before */

static struct event_base *base;

static int setup(void **state)
{
	base = loop_base_new();
	return base ? 0 : -1;
}

static int teardown(void **state)
{
	event_base_free(base);
	return 0;
}

static void *get(size_t size)
{
	void *p = malloc(size);

	assert_non_null(p);
	memset(p, 1, size);
	return p;
}

#ifndef __SANITIZE_ADDRESS__
/* A mapping of its own is moved, and not copied. */
static void large_array_is_mapped_whatever_was_freed_before(void **state)
{
	size_t before = mallinfo2().hblks;
	void *p = get(100 * LARGE);

	free(p);
	p = get(LARGE);
	assert_int_equal(mallinfo2().hblks, before + 1);
	free(p);
}
#endif

static void free_of_the_last_small_piece_is_a_small_step(void **state)
{
	static void *small[MANY];
	void *end, *last;

	for (size_t i = 0; i < MANY; i++)
		small[i] = get(SMALL);
	last = get(SMALL);
	end = sbrk(0);
	for (size_t i = 0; i < MANY; i++)
		free(small[i]);
	free(last);
	assert_ptr_equal(sbrk(0), end);
}

static unsigned n_told, turns; /* under --verbose */
static bool told_long;

void log_debug(const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	n_told++;
	told_long |= strstr(line, "work of two milliseconds") != NULL;
}

void log_info(const char *fmt, ...)
{
}

#define SHORT_TURNS 50

/* The first turn is a long one. */
static void work(evutil_socket_t fd, short what, void *arg)
{
	struct timeval at_once = {0};
	uint64_t end = clock_now_ns() + (turns ? 0 : 2 * LOOP_TOLD_NS);

	loop_doing(turns ? "hardly anything" : "work of two milliseconds");
	while (clock_now_ns() < end)
		;
	if (turns++ == SHORT_TURNS)
		event_base_loopbreak(base);
	else
		event_base_once(base, -1, EV_TIMEOUT, work, NULL, &at_once);
}

/* On a busy machine short ones may be held up, but not all of them. */
static void turn_of_two_milliseconds_is_told_and_short_ones_are_not(void **state)
{
	struct timeval at_once = {0};

	event_base_once(base, -1, EV_TIMEOUT, work, NULL, &at_once);
	assert_int_equal(loop_run(base), 0);
	assert_true(told_long);
	assert_in_range(n_told, 1, SHORT_TURNS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(turn_of_two_milliseconds_is_told_and_short_ones_are_not, setup, teardown),
#ifndef __SANITIZE_ADDRESS__ /* which has an allocator of its own */
		cmocka_unit_test_setup_teardown(large_array_is_mapped_whatever_was_freed_before, setup, teardown),
#endif
		cmocka_unit_test_setup_teardown(free_of_the_last_small_piece_is_a_small_step, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
