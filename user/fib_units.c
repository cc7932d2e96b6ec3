/* fib_units.c: see fib_units.h. Free runs stand in lists by their length, threaded through an array beside the units (never
 * through the units themselves, which packets may still read). What is set aside stands in lists of its own; or it is a part of
 * what was never handed out, where no run has a place yet. */
#include "fib_units.h"
#include "fib_grace.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_FREE = 0, UNIT_USED = 1, UNIT_WAITING = 2 };

/* Runs that packets may still read, by their length; lists like those of free ones. */
struct waiting {
	uint32_t list[FIB_RUN_MAX + 1];
	uint32_t units;
};

struct fib_units {
	uint32_t first, end;
	uint32_t untouched; /* from here to the end nothing was ever handed out */
	uint32_t used;
	uint8_t *state;			/* of each unit */
	uint32_t *next;			/* of each unit that begins a run of a list: the next one */
	uint32_t list[FIB_RUN_MAX + 1]; /* 0: empty */
	struct waiting asked, fresh;	/* for the grace period that was asked for; for the next one */
	uint64_t ticket;
	uint32_t aside[FIB_RUN_MAX + 1]; /* lists as above */
	uint32_t promised;		 /* units that are set aside of those that were never handed out */
	bool scattered;			 /* runs came back since the lists were merged */
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
	const uint8_t *at;
	uint32_t i, n;

	for (n = 0; n <= FIB_RUN_MAX; n++)
		us->list[n] = 0;
	for (i = us->first; i < us->untouched; i += n) {
		at = memchr(us->state + i, UNIT_FREE, us->untouched - i);
		if (!at)
			break;
		i = (uint32_t)(at - us->state);
		n = 1;
		while (n < FIB_RUN_MAX && i + n < us->untouched && us->state[i + n] == UNIT_FREE)
			n++;
		list_run(us, i, n);
	}
}

static uint32_t list_take(struct fib_units *us, uint32_t *list)
{
	uint32_t unit = *list;

	*list = us->next[unit];
	return unit;
}

/* Of what was never handed out. */
static uint32_t untouched_left(const struct fib_units *us)
{
	return us->end - us->untouched - us->promised;
}

static uint32_t untouched_take(struct fib_units *us, unsigned n)
{
	us->untouched += n;
	return us->untouched - n;
}

/* A run for those set aside; 0: there is none. */
static uint32_t take(struct fib_units *us, unsigned n)
{
	unsigned have = n;
	uint32_t unit;

	if (!us->list[n] && untouched_left(us) >= n)
		return untouched_take(us, n);
	while (have <= FIB_RUN_MAX && !us->list[have])
		have++;
	if (have > FIB_RUN_MAX)
		return 0;
	unit = list_take(us, &us->list[have]);
	if (have > n)
		list_run(us, unit + n, have - n);
	return unit;
}

static void aside_return(struct fib_units *us, unsigned n)
{
	list_run(us, list_take(us, &us->aside[n]), n);
}

bool fib_units_set_aside(struct fib_units *us, const uint32_t want[FIB_RUN_MAX + 1])
{
	uint32_t units = 0, i, unit;
	unsigned n;

	for (n = 1; n <= FIB_RUN_MAX; n++)
		units += want[n] * n;
	if (units <= untouched_left(us)) {
		us->promised += units;
		return true;
	}
	if (units > fib_units_left(us))
		return false;
	/* the longest first: what is cut off serves shorter ones */
	for (n = FIB_RUN_MAX; n; n--)
		for (i = 0; i < want[n]; i++) {
			unit = take(us, n);
			if (!unit)
				goto back;
			us->next[unit] = us->aside[n];
			us->aside[n] = unit;
		}
	return true;
back:
	while (i--)
		aside_return(us, n);
	while (++n <= FIB_RUN_MAX)
		for (i = 0; i < want[n]; i++)
			aside_return(us, n);
	return false;
}

void fib_units_release(struct fib_units *us)
{
	unsigned n;

	for (n = 1; n <= FIB_RUN_MAX; n++)
		while (us->aside[n])
			aside_return(us, n);
	us->promised = 0;
}

bool fib_units_merge(struct fib_units *us)
{
	if (!us->scattered)
		return false;
	us->scattered = false;
	fib_units_ready(us);
	return true;
}

/* Their grace period is over: they are free. */
static void reclaim(struct fib_units *us, struct waiting *w)
{
	uint32_t unit;
	unsigned n;

	us->scattered |= w->units != 0;
	for (n = 1; n <= FIB_RUN_MAX; n++)
		while (w->list[n]) {
			unit = list_take(us, &w->list[n]);
			memset(us->state + unit, UNIT_FREE, n);
			list_run(us, unit, n);
		}
	w->units = 0;
}

bool fib_units_reclaim(struct fib_units *us)
{
	if (!us->asked.units || !fib_grace_over(us->ticket))
		return false;
	reclaim(us, &us->asked);
	return true;
}

void fib_units_wait(struct fib_units *us)
{
	fib_grace_period();
	reclaim(us, &us->asked);
	reclaim(us, &us->fresh);
}

bool fib_units_waiting(const struct fib_units *us)
{
	return us->asked.units || us->fresh.units;
}

bool fib_units_ask(struct fib_units *us)
{
	if (us->asked.units || !us->fresh.units)
		return true;
	us->ticket = fib_grace_ask();
	if (!us->ticket)
		return false;
	us->asked = us->fresh;
	us->fresh = (struct waiting){0};
	return true;
}

uint32_t fib_units_get(struct fib_units *us, unsigned n, unsigned aside)
{
	uint32_t i, unit;

	if (!us->list[n] && n <= aside && us->aside[aside]) {
		unit = list_take(us, &us->aside[aside]);
		if (n < aside)
			list_run(us, unit + n, aside - n);
	} else {
		if (us->aside[aside])
			aside_return(us, aside);
		else
			us->promised -= aside;
		unit = us->list[n] ? list_take(us, &us->list[n]) : untouched_take(us, n);
	}
	for (i = unit; i < unit + n; i++)
		us->state[i] = UNIT_USED;
	us->used += n;
	return unit;
}

bool fib_units_spare(const struct fib_units *us, unsigned n)
{
	return us->list[n] || untouched_left(us) >= n;
}

void fib_units_put(struct fib_units *us, uint32_t unit, unsigned n)
{
	us->used -= n;
	memset(us->state + unit, UNIT_WAITING, n);
	us->next[unit] = us->fresh.list[n];
	us->fresh.list[n] = unit;
	us->fresh.units += n;
	/* In good time, so that a full table still finds room for both the old and the new. */
	if (us->asked.units || us->fresh.units <= (us->end - us->first) / 16)
		return;
	if (!fib_units_ask(us) && us->fresh.units > (us->end - us->first) / 4)
		fib_units_wait(us);
}

uint32_t fib_units_used(const struct fib_units *us)
{
	return us->used;
}

uint32_t fib_units_left(const struct fib_units *us)
{
	return us->end - us->first - us->used - us->asked.units - us->fresh.units - us->promised;
}
