/* slices.h: work on a table of any size, done in slices of some milliseconds so that the event loop is not held up: between a
 * noun, which does a small step at a time, and http.h, which sends the answer as it is made.
 */
#ifndef SLUICE_SLICES_H
#define SLUICE_SLICES_H

#include <jansson.h>
#include "http.h"

struct slices {
	/* One step, some hundred elements: what belongs into the listing is added to `list`. 1: there is more; 0: that was
	 * all; -errno: it cannot be finished, and the answer stays without an end, which no reader takes for whole. */
	int (*step)(void *arg, json_t *list);
	json_t *(*end)(void *arg); /* the answer, where it is no listing; else NULL */
	void (*free)(void *arg);
	void *arg;
};

/* 0, or -ENOMEM: then `arg` is freed. */
int slices_stream(const struct slices *s, struct http_stream *ret);

#endif
