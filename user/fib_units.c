/* fib_units.c: see fib_units.h. Free runs stand in lists by their length, threaded through an array beside the units (never
 * through the units themselves, which packets may still read); when no list can serve, neighbouring free runs are merged. */
#include "fib_units.h"
#include "fib_grace.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_FREE = 0, UNIT_USED = 1, UNIT_WAITING = 2 };

struct waiting {
	uint32_t unit;
	uint32_t n;
};

struct fib_units {
	uint32_t first, end;
	uint32_t untouched; /* from here to the end nothing was ever handed out */
	uint32_t used;
	uint8_t *state;			/* of each unit */
	uint32_t *next;			/* of each unit that begins a free run: the next run of its list */
	uint32_t list[FIB_RUN_MAX + 1]; /* 0: empty */
	struct waiting *waiting;
	size_t n_waiting, cap_waiting;
	size_t n_asked; /* the first of those wait for this grace period; 0: none is asked for */
	uint64_t ticket;
	uint32_t waiting_units; /* of all but those */
};

struct fib_units *fib_units_new(uint32_t first, uint32_t end)
{
	struct fib_units *us = calloc(1, sizeof(*us));

	if (!us)
		return NULL;
	us->first = us->untouched = first;
	us->end = end;
	us->state = calloc(end, sizeof(*us->state));
	us->next = calloc(end, sizeof(*us->next));
	if (us->state && us->next)
		return us;
	fib_units_free(us);
	return NULL;
}

void fib_units_free(struct fib_units *us)
{
	if (!us)
		return;
	free(us->state);
	free(us->next);
	free(us->waiting);
	free(us);
}

int fib_units_claim(struct fib_units *us, uint32_t unit, unsigned n)
{
	uint32_t i;

	if (unit < us->first || unit >= us->end || n > us->end - unit)
		return -EINVAL;
	for (i = unit; i < unit + n; i++)
		if (us->state[i] != UNIT_FREE)
			return -EBUSY;
	for (i = unit; i < unit + n; i++)
		us->state[i] = UNIT_USED;
	us->used += n;
	if (us->untouched < unit + n)
		us->untouched = unit + n;
	return 0;
}

static void list_run(struct fib_units *us, uint32_t unit, unsigned n)
{
	us->next[unit] = us->list[n];
	us->list[n] = unit;
}

/* Makes the lists anew, from runs as long as they can be. */
void fib_units_ready(struct fib_units *us)
{
	uint32_t i, n;

	for (n = 0; n <= FIB_RUN_MAX; n++)
		us->list[n] = 0;
	for (i = us->first; i < us->untouched; i += n) {
		n = 1;
		if (us->state[i] != UNIT_FREE)
			continue;
		while (n < FIB_RUN_MAX && i + n < us->untouched && us->state[i + n] == UNIT_FREE)
			n++;
		list_run(us, i, n);
	}
}

static uint32_t take_listed(struct fib_units *us, unsigned n)
{
	unsigned have = n;
	uint32_t unit;

	while (have <= FIB_RUN_MAX && !us->list[have])
		have++;
	if (have > FIB_RUN_MAX)
		return 0;
	unit = us->list[have];
	us->list[have] = us->next[unit];
	if (have > n)
		list_run(us, unit + n, have - n);
	return unit;
}

static uint32_t take(struct fib_units *us, unsigned n)
{
	uint32_t unit = 0;

	if (us->list[n])
		return take_listed(us, n);
	if (us->end - us->untouched >= n) {
		unit = us->untouched;
		us->untouched += n;
		return unit;
	}
	return take_listed(us, n);
}

/* The first n of those that wait are free. */
static void reclaim(struct fib_units *us, size_t n)
{
	size_t i;
	uint32_t k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < us->waiting[i].n; k++)
			us->state[us->waiting[i].unit + k] = UNIT_FREE;
		list_run(us, us->waiting[i].unit, us->waiting[i].n);
	}
	us->n_waiting -= n;
	memmove(us->waiting, us->waiting + n, us->n_waiting * sizeof(*us->waiting));
	us->n_asked = 0;
}

static void reclaim_ended(struct fib_units *us)
{
	if (us->n_asked && fib_grace_over(us->ticket))
		reclaim(us, us->n_asked);
}

/* Nothing is left but what waits: so this waits too. */
static void reclaim_all(struct fib_units *us)
{
	fib_grace_period();
	reclaim(us, us->n_waiting);
	us->waiting_units = 0;
}

uint32_t fib_units_get(struct fib_units *us, unsigned n)
{
	uint32_t i, unit = take(us, n);

	if (!unit && us->n_waiting) {
		reclaim_ended(us);
		unit = take(us, n);
	}
	if (!unit && us->n_waiting) {
		reclaim_all(us);
		unit = take(us, n);
	}
	if (!unit) {
		fib_units_ready(us);
		unit = take(us, n);
	}
	if (!unit)
		return 0;
	for (i = unit; i < unit + n; i++)
		us->state[i] = UNIT_USED;
	us->used += n;
	return unit;
}

void fib_units_put(struct fib_units *us, uint32_t unit, unsigned n)
{
	struct waiting *more;
	uint32_t i;

	us->used -= n;
	for (i = unit; i < unit + n; i++)
		us->state[i] = UNIT_WAITING;
	if (us->n_waiting == us->cap_waiting) {
		more = realloc(us->waiting, (us->cap_waiting * 2 + 64) * sizeof(*more));
		if (!more) /* the run stays out of use until a restart */
			return;
		us->waiting = more;
		us->cap_waiting = us->cap_waiting * 2 + 64;
	}
	us->waiting[us->n_waiting++] = (struct waiting){unit, n};
	us->waiting_units += n;
	reclaim_ended(us);
	/* In good time, so that a full table still finds room for both the old and the new. */
	if (us->n_asked || us->waiting_units <= (us->end - us->first) / 16)
		return;
	us->ticket = fib_grace_ask();
	us->n_asked = us->ticket ? us->n_waiting : 0;
	if (us->ticket)
		us->waiting_units = 0;
	else if (us->waiting_units > (us->end - us->first) / 4)
		reclaim_all(us);
}

uint32_t fib_units_used(const struct fib_units *us)
{
	return us->used;
}
