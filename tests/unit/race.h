/* race.h: threads that all make the same things, of which each may be made once. */
#ifndef SLUICE_TEST_RACE_H
#define SLUICE_TEST_RACE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define RACE_THREADS 4

/* Makes the n-th: 0, -EEXIST, or -EBUSY, when the one who holds the lock was stopped by the scheduler. `first`: for one of the
 * threads, which may have its own way. */
typedef int race_make(uint32_t n, bool first);
/* Is the n-th there? */
typedef bool race_there(uint32_t n);

struct race {
	race_make *make;
	race_there *there;
	uint32_t n;
	bool first;
	unsigned made, wrong;
	pthread_barrier_t *start;
};

static void *race_run(void *arg)
{
	struct race *r = arg;

	pthread_barrier_wait(r->start);
	for (uint32_t i = 0; i < r->n; i++) {
		int err = r->make(i, r->first);

		r->made += !err;
		r->wrong += (err && err != -EEXIST && err != -EBUSY) || (err != -EBUSY && !r->there(i));
	}
	return NULL;
}

/* All threads make 0 .. n - 1 at once. How many were made by all together. */
static unsigned race(race_make *make, race_there *there, uint32_t n)
{
	struct race r[RACE_THREADS];
	pthread_t t[RACE_THREADS];
	pthread_barrier_t start;
	unsigned made = 0;

	pthread_barrier_init(&start, NULL, RACE_THREADS);
	for (int i = 0; i < RACE_THREADS; i++) {
		r[i] = (struct race){make, there, n, i == 0, 0, 0, &start};
		assert_int_equal(pthread_create(&t[i], NULL, race_run, &r[i]), 0);
	}
	for (int i = 0; i < RACE_THREADS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(r[i].wrong, 0);
		made += r[i].made;
	}
	pthread_barrier_destroy(&start);
	return made;
}

#endif
