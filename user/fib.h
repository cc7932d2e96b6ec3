/* fib.h: prefixes into the structure that bpf/fib.h searches (described in abi.h), and found again.
 *
 * Stands between route.c, which knows which route of a prefix is the best, and the mmap-ed maps `fib` and `fib_roots`.
 * Changes are gathered by fib_set() and fib_delete() and written by fib_commit(): only nodes that differ, each published by
 * one aligned store, so that a packet sees for its destination either the old result or the new one and nothing else.
 *
 * Memory that packets may still read is not used again before an RCU grace period has passed. A commit for which there is no
 * memory besides is put off until then, and does not wait for it: what was changed stays gathered, and more may come to it.
 *
 * A FIB that a former life left in the maps is adopted: fib_open() reads its skeleton and writes nothing; the first
 * fib_commit() makes it what was set since, and touches only what differs. So set every route before that first commit.
 */
#ifndef SLUICE_USER_FIB_H
#define SLUICE_USER_FIB_H

#include <stdbool.h>
#include <stdint.h>
#include "text.h"

struct fib;

/* How many units hold so many prefixes of each family, spread as prefixes are: some MiB for thousands, 66 MiB for the Internet's
 * tables. In a stranger space a prefix may be refused before the limits are reached. */
uint32_t fib_units_for(uint32_t max4, uint32_t max6);
/* `units` and `roots` (VRF_MAX elements) are the maps' memory, or any memory that is zero. *ret_damaged (may be NULL): what
 * was found there cannot be adopted and is replaced at the first commit. -ENOMEM, -EINVAL (too few units). */
int fib_open(struct fib_unit *units, uint32_t n_units, struct fib_root *roots, struct fib **ret, bool *ret_damaged);
void fib_close(struct fib *f); /* takes NULL; the maps keep their content */
/* At most so many prefixes of each family. */
void fib_limit(struct fib *f, uint32_t max4, uint32_t max6);

/* `value`: 1..2^31-1. Host bits of `p` are ignored. -E2BIG: the table is full, nothing is changed; -ENOMEM; -EINVAL. */
int fib_set(struct fib *f, uint16_t vrf, const struct prefix *p, uint32_t value);
int fib_delete(struct fib *f, uint16_t vrf, const struct prefix *p); /* -ENOENT */
/* -EAGAIN: there will be memory some ms later: packets see nothing, or only a part, of what was changed until a commit returns 0.
 * -E2BIG: some nodes found no memory, and will not find any as long as nothing else is changed: they stay as they were, and the
 * next commit tries again. -ENOMEM. */
int fib_commit(struct fib *f);
/* The same outside of the event loop: waits, some 10 to 300 ms each time, and never returns -EAGAIN. */
int fib_commit_wait(struct fib *f);
/* Were so many prefixes changed since the last commit that more should wait for the next one? */
bool fib_commit_due(const struct fib *f);

/* The next commit writes everything that a search for this address reads, into blocks that are all new: for memory that is not
 * what was written. -ENOMEM. */
int fib_repair(struct fib *f, uint16_t vrf, const struct addr *a);

/* The data plane's search, on the data plane's memory, whatever it holds. 0: no route. */
uint32_t fib_lookup(const struct fib *f, uint16_t vrf, const struct addr *a);
uint32_t fib_get(const struct fib *f, uint16_t vrf, const struct prefix *p); /* what was set for exactly this prefix, or 0 */

struct fib_size {
	uint32_t routes4, routes6; /* prefixes */
	uint32_t units, max_units; /* of 64 bytes */
};
struct fib_size fib_size(const struct fib *f);

#endif
