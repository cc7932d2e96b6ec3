/* beside_test.c: work beside the event loop: in its order, in as many turns as it wants, and an end in its midst. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "beside.h"

struct world {
	struct event_base *base;
	struct beside *beside;
	pthread_t loop;
	char log[256];
	int steps;
};

struct work {
	struct world *w;
	const char *name;
	int answer;
};

static void note(struct world *w, const char *what, const char *name)
{
	strcat(w->log, what);
	strcat(w->log, name);
	strcat(w->log, " ");
}

/* Three turns, one of them some ms later, then the answer. */
static int step(void *arg)
{
	static const int answers[] = {BESIDE_AGAIN, BESIDE_LATER, -ENOSPC};
	struct work *k = arg;

	assert_true(pthread_equal(pthread_self(), k->w->loop));
	return answers[k->w->steps++ % 3];
}

static void work(void *arg)
{
	struct work *k = arg;

	note(k->w, "", k->name);
	if (pthread_equal(pthread_self(), k->w->loop))
		k->answer = 1;
	else
		k->answer = beside_loop(k->w->beside, step, k);
}

static void done(void *arg)
{
	struct work *k = arg;

	assert_true(pthread_equal(pthread_self(), k->w->loop));
	note(k->w, "-", k->name);
}

static int setup(void **state)
{
	static struct world w;

	w = (struct world){.base = event_base_new(), .loop = pthread_self()};
	assert_int_equal(beside_open(w.base, &w.beside), 0);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	beside_close(w->beside);
	event_base_free(w->base);
	return 0;
}

static void one_after_another(void **state)
{
	struct world *w = *state;
	struct work a = {w, "a", 0}, b = {w, "b", 0}, c = {w, "c", 0};

	assert_int_equal(beside_do(w->beside, work, done, &a), 0);
	assert_int_equal(beside_do(w->beside, work, done, &b), 0);
	assert_int_equal(beside_do(w->beside, work, done, &c), 0);
	event_base_dispatch(w->base); /* ends when nothing is left to wait for */
	assert_string_equal(w->log, "a -a b -b c -c ");
	assert_int_equal(a.answer, -ENOSPC);
	assert_int_equal(c.answer, -ENOSPC);
	assert_int_equal(w->steps, 9);
}

/* Whoever else wants the loop has his turn between two steps. */
static void a_step_is_a_turn(void **state)
{
	struct world *w = *state;
	struct work a = {w, "a", 0};
	int before;

	assert_int_equal(beside_do(w->beside, work, done, &a), 0);
	while (!strstr(w->log, "-a")) {
		before = w->steps;
		event_base_loop(w->base, EVLOOP_ONCE);
		assert_true(w->steps <= before + 1);
	}
	assert_int_equal(w->steps, 3);
}

/* In the loop's own thread there are no turns. */
static void at_once_in_the_loop(void **state)
{
	struct world *w = *state;
	struct work a = {w, "a", 0};

	assert_int_equal(beside_loop(w->beside, step, &a), -ENOSPC);
	assert_int_equal(w->steps, 3);
}

static void end_in_the_midst(void **state)
{
	struct world *w = *state;
	struct work a = {w, "a", 0}, b = {w, "b", 0};

	assert_int_equal(beside_do(w->beside, work, done, &a), 0);
	assert_int_equal(beside_do(w->beside, work, done, &b), 0);
	beside_close(w->beside);
	w->beside = NULL;
	assert_int_equal(a.answer, -ENOSPC); /* brought to its end */
	assert_int_equal(b.answer, 0);	     /* never begun */
	assert_non_null(strstr(w->log, "-b"));
	assert_non_null(strstr(w->log, "-a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_after_another, setup, teardown),
		cmocka_unit_test_setup_teardown(a_step_is_a_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(at_once_in_the_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(end_in_the_midst, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
