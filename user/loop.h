/* loop.h: the event loop, and how long it keeps what happens waiting.
 *
 * A turn begins when the loop has heard what is ready and ends when it listens again: one callback (libevent is told to listen
 * after each). Two times are taken of it: the processor time, which says what the daemon did, however busy the machine is, and
 * leaves out what the kernel worked on a change or a listing that it was asked for (an address put beside 200000 routes of the
 * kernel's own: 113 ms); and the time it was blocked, which counts that, and what it waited for inside system calls (a grace
 * period of RCU, the disk, a lock of the kernel's), but not the time that it was ready to run while others had the processor.
 */
#ifndef SLUICE_LOOP_H
#define SLUICE_LOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#define LOOP_LONG_NS 10000000 /* a turn that takes longer is counted and logged */
#define LOOP_TOLD_NS 1000000  /* one that takes so long is logged under --verbose */

struct loop_time {
	uint64_t max_ns; /* of the longest turn */
	uint64_t n_long; /* turns over LOOP_LONG_NS */
	char what[48];	 /* what the longest turn did */
};

struct loop_stats {
	uint64_t turns;
	struct loop_time cpu, blocked;
};

struct event_base *loop_base_new(void); /* NULL: no memory */
/* Turns until the loop is told to end; measures from here on. -1: the loop failed. */
int loop_run(struct event_base *base);
/* What the rest of this turn is about: a word or two that stay where they are. */
void loop_doing(const char *what);
/* Around the system call by which the kernel is asked for a change or a listing. `errno` stays. */
void loop_asks_kernel(bool begins);
const struct loop_stats *loop_stats(void);

#endif
