/* ring.c: libbpf's ring buffer behind ring.h, read in measured portions. */
#include <errno.h>
#include <stdlib.h>
#include "datapath_priv.h"
#include "ring.h"

struct ring {
	struct ring_buffer *rb;
	void (*fn)(const void *record, size_t size, void *arg);
	void *arg;
	size_t left, done;
};

/* A negative return ends the round; the record counts as read all the same. */
static int one(void *arg, void *data, size_t size)
{
	struct ring *r = arg;

	r->fn(data, size, r->arg);
	r->done++;
	return --r->left ? 0 : -EAGAIN;
}

struct ring *ring_open(struct table *t, void (*fn)(const void *record, size_t size, void *arg), void *arg)
{
	struct ring *r = t ? calloc(1, sizeof(*r)) : NULL;

	if (!r)
		return NULL;
	*r = (struct ring){.fn = fn, .arg = arg};
	r->rb = ring_buffer__new(t->fd, one, r, NULL);
	if (r->rb)
		return r;
	free(r);
	return NULL;
}

void ring_close(struct ring *r)
{
	if (!r)
		return;
	ring_buffer__free(r->rb);
	free(r);
}

size_t ring_read(struct ring *r, size_t max)
{
	r->left = max;
	r->done = 0;
	ring_buffer__consume(r->rb);
	return r->done;
}
