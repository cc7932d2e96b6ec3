/* page.c: see page.h. A heap with the greatest key on top: where there is no room for more, a lesser one takes its place. */
#include "page.h"

#include <stdlib.h>
#include <string.h>

#define ROOM 1024 /* keys to begin with, where there is no limit */

struct page {
	size_t size, room, n, heap; /* of the n keys the first `heap` are a heap, the others stand in order */
	int (*compare)(const void *a, const void *b);
	bool grows, more;
	char *keys;   /* room for so many */
	char spare[]; /* one to change places by */
};

struct page *page_new(size_t size, size_t limit, int (*compare)(const void *a, const void *b))
{
	struct page *p = calloc(1, sizeof(*p) + size);

	if (!p)
		return NULL;
	p->size = size;
	p->room = limit ? limit : ROOM;
	p->grows = !limit;
	p->compare = compare;
	p->keys = malloc(p->room * size);
	if (p->keys)
		return p;
	free(p);
	return NULL;
}

void page_free(struct page *p)
{
	if (p)
		free(p->keys);
	free(p);
}

static char *at(const struct page *p, size_t i)
{
	return p->keys + i * p->size;
}

static void swap(struct page *p, size_t a, size_t b)
{
	memcpy(p->spare, at(p, a), p->size);
	memcpy(at(p, a), at(p, b), p->size);
	memcpy(at(p, b), p->spare, p->size);
}

static void sift_up(struct page *p, size_t i)
{
	for (; i && p->compare(at(p, (i - 1) / 2), at(p, i)) < 0; i = (i - 1) / 2)
		swap(p, i, (i - 1) / 2);
}

static void sift_down(struct page *p, size_t n)
{
	size_t i = 0, child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && p->compare(at(p, child), at(p, child + 1)) < 0)
			child++;
		if (p->compare(at(p, i), at(p, child)) >= 0)
			return;
		swap(p, i, child);
		i = child;
	}
}

static bool has_room(struct page *p)
{
	char *keys;

	if (p->n < p->room || !p->grows)
		return p->n < p->room;
	keys = realloc(p->keys, 2 * p->room * p->size);
	if (!keys)
		return false;
	p->keys = keys;
	p->room *= 2;
	return true;
}

void page_offer(struct page *p, const void *key)
{
	if (has_room(p)) {
		memcpy(at(p, p->n), key, p->size);
		sift_up(p, p->n++);
		p->heap = p->n;
		return;
	}
	p->more = true;
	if (!p->n || p->compare(key, at(p, 0)) >= 0)
		return;
	memcpy(at(p, 0), key, p->size);
	sift_down(p, p->n);
}

bool page_sort(struct page *p, size_t max)
{
	for (; max && p->heap > 1; max--) {
		swap(p, 0, --p->heap);
		sift_down(p, p->heap);
	}
	return p->heap <= 1;
}

size_t page_count(const struct page *p)
{
	return p->n;
}

const void *page_at(const struct page *p, size_t i)
{
	return at(p, i);
}

bool page_more(const struct page *p)
{
	return p->more;
}
