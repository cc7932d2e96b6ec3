/* sluice: the clocks. Every moment in the tables and in the process is of CLOCK_MONOTONIC, as the data plane's are, but where it
 * says otherwise. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_SECOND_NS 1000000000ull

/* CLOCK_MONOTONIC in nanoseconds. Alone in its file, so that a test can put its own clock in its place. */
uint64_t clock_now_ns(void);

/* Any clock, in nanoseconds. */
static inline uint64_t clock_read_ns(clockid_t clock)
{
	struct timespec t = {0};

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * CLOCK_SECOND_NS + (uint64_t)t.tv_nsec;
}

/* CLOCK_MONOTONIC in seconds, and one: never 0, which in a field says that it never was. */
static inline uint32_t clock_stamp_s(void)
{
	return (uint32_t)(clock_now_ns() / CLOCK_SECOND_NS) + 1;
}

/* The wall clock, in milliseconds, at a moment of CLOCK_MONOTONIC, which is `now_ns` by now. */
static inline uint64_t clock_wall_ms(uint64_t now_ns, uint64_t then_ns)
{
	return (clock_read_ns(CLOCK_REALTIME) - (now_ns - then_ns)) / 1000000;
}

#endif
