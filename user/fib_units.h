/* fib_units.h: the memory of the FIB: runs of units handed out, taken back, and used again only when no packet can read them.
 *
 * Stands between fib_commit.c, which writes nodes, and the mmap-ed array that the data plane reads. A unit taken back stays
 * untouched until an RCU grace period has passed; one period serves all that wait, and is asked for when they are many, so a
 * busy routing daemon costs a few periods a second and a quiet one none. It passes beside the event loop (fib_grace.h).
 *
 * Who is going to write sets aside first what that takes at most, run by run: then every run that it asks for is there.
 */
#ifndef SLUICE_FIB_UNITS_H
#define SLUICE_FIB_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#define FIB_RUN_MAX 17 /* units of the largest node: 10 + 256 words */

struct fib_units;

/* Units [first, end) are free. NULL: no memory. */
struct fib_units *fib_units_new(uint32_t first, uint32_t end);
void fib_units_free(struct fib_units *us); /* takes NULL */
/* For the adoption of what a former life built: takes out units that are in use; -EINVAL outside of the range, -EBUSY taken
 * already. Then, once, fib_units_ready(). */
int fib_units_claim(struct fib_units *us, uint32_t unit, unsigned n);
void fib_units_ready(struct fib_units *us);

/* Sets aside want[n] runs of n units, for each n from 1 to FIB_RUN_MAX, beside what is set aside already. False: there are not so
 * many, and nothing more is set aside. */
bool fib_units_set_aside(struct fib_units *us, const uint32_t want[FIB_RUN_MAX + 1]);
/* Whatever of it nobody has asked for is free again. */
void fib_units_release(struct fib_units *us);
/* Makes longer runs out of neighbouring free ones, while nothing is set aside. False: there are none since the last time. */
bool fib_units_merge(struct fib_units *us);

/* A run of n units, in place of one of `aside` units that was set aside: n <= aside, or there is one to spare. */
uint32_t fib_units_get(struct fib_units *us, unsigned n, unsigned aside);
/* Is there a run of n units beside what is set aside? */
bool fib_units_spare(const struct fib_units *us, unsigned n);
/* No longer reachable for packets that come from now on. */
void fib_units_put(struct fib_units *us, uint32_t unit, unsigned n);

/* Do units wait for a grace period? */
bool fib_units_waiting(const struct fib_units *us);
/* Sees to it that they do not wait for ever. False: such a period can only be waited for. */
bool fib_units_ask(struct fib_units *us);
/* Takes back those whose grace period is over. True: there were some. */
bool fib_units_reclaim(struct fib_units *us);
/* Waits for all that wait. */
void fib_units_wait(struct fib_units *us);

uint32_t fib_units_used(const struct fib_units *us);
uint32_t fib_units_left(const struct fib_units *us); /* free, in runs of any length */
#endif
