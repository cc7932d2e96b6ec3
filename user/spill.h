/* spill.h: what a bucket says of keys that have gone into another one of theirs, taken back when they are gone.
 *
 * Stands between the buckets of abi.h and who walks over all slots of a table again and again: at each bucket it calls
 * spill_visit(), and for each key spill_seen() of the buckets in which it is looked for before the one that it stands in. From
 * one visit to the next the walk has come by every slot once; a bucket of which it has seen no key elsewhere, and whose lock says
 * that nothing has been inserted since, has none. Without this, a table that was crowded once would be searched in all places for
 * ever.
 */
#ifndef SLUICE_SPILL_H
#define SLUICE_SPILL_H

#include <stdbool.h>
#include <stdint.h>
#include <sluice/abi.h>

struct spill {
	uint32_t *lock; /* of each bucket when it was visited; 0: not SPILLED, or a key of it was seen elsewhere */
	uint32_t n;	/* buckets */
	uint32_t noted; /* locks that are not 0 */
	bool whole;	/* the last walk, over this very table, came to its end: set by who walks */
};

/* A walk begins, at the first of `n` buckets. False: there is no memory, and SPILLED stays. */
bool spill_begin(struct spill *s, uint32_t n);
/* `b`: the first bucket of the table. */
void spill_visit(struct spill *s, struct bucket *b, uint32_t bucket);
/* A key stands elsewhere than in `bucket`, where it is looked for before. */
void spill_seen(struct spill *s, uint32_t bucket);
void spill_free(struct spill *s);

#endif
