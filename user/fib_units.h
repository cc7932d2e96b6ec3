/* fib_units.h: the memory of the FIB: runs of units handed out, taken back, and used again only when no packet can read them.
 *
 * Stands between fib.c, which builds nodes, and the mmap-ed array that the data plane reads. A unit taken back stays
 * untouched until an RCU grace period has passed; one period serves all that wait, and is asked for when they are many, so a
 * busy routing daemon costs a few periods a second and a quiet one none. It passes beside the event loop (fib_grace.h), which
 * waits for it only when no memory is left besides.
 */
#ifndef SLUICE_FIB_UNITS_H
#define SLUICE_FIB_UNITS_H

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

/* A run of n units (1..FIB_RUN_MAX); 0 when there is none. May wait for a grace period. */
uint32_t fib_units_get(struct fib_units *us, unsigned n);
/* No longer reachable for packets that come from now on. */
void fib_units_put(struct fib_units *us, uint32_t unit, unsigned n);
uint32_t fib_units_used(const struct fib_units *us);
#endif
