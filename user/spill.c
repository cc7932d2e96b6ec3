/* spill.c: see spill.h. */
#include <stdlib.h>
#include <string.h>
#include "spill.h"

bool spill_begin(struct spill *s, uint32_t n)
{
	if (s->n != n) {
		spill_free(s);
		s->lock = calloc(n, sizeof(*s->lock));
		s->n = s->lock ? n : 0;
	} else if (!s->whole) {
		memset(s->lock, 0, n * sizeof(*s->lock));
		s->noted = 0;
	}
	s->whole = false;
	return s->lock;
}

void spill_visit(struct spill *s, struct bucket *b, uint32_t bucket)
{
	uint32_t *lock = &b[bucket].lock, was = s->lock[bucket], now = was;

	spill_seen(s, bucket);
	if (was &&
	    __atomic_compare_exchange_n(lock, &now, was & ~(uint32_t)BUCKET_SPILLED, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	now = __atomic_load_n(lock, __ATOMIC_ACQUIRE);
	if ((now & (BUCKET_SPILLED | BUCKET_HELD)) != BUCKET_SPILLED)
		return;
	s->lock[bucket] = now;
	s->noted++;
}

void spill_seen(struct spill *s, uint32_t bucket)
{
	s->noted -= s->lock[bucket] != 0;
	s->lock[bucket] = 0;
}

void spill_free(struct spill *s)
{
	free(s->lock);
	*s = (struct spill){0};
}
