/* ring.h: a ring buffer that the data plane writes to. Records are read in order, and not twice. */
#ifndef SLUICE_RING_H
#define SLUICE_RING_H

#include <stddef.h>
#include "table.h"

struct ring;

/* NULL: no memory, or `t` is no ring buffer (NULL is none). */
struct ring *ring_open(struct table *t, void (*fn)(const void *record, size_t size, void *arg), void *arg);
void ring_close(struct ring *r); /* takes NULL */
/* Gives at most `max` records to the function; returns how many. */
size_t ring_read(struct ring *r, size_t max);

#endif
