/* page.h: the next so many of a great many keys, in order, found by going over all of them once: between listings, which page,
 * and tables that know no order.
 *
 * A page goes on behind the key of the last entry of the page before, which need not be there any more: whatever came and went in
 * between, what is there all the time is shown once, also where going over them meets it twice.
 *
 * A source that can keep what is behind a page for the next one has its keys gathered for several at once, so that a page costs
 * what it shows, and a part of a passage over all. What came since then is not on these pages.
 */
#ifndef SLUICE_PAGE_H
#define SLUICE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "http.h"

#define PAGE_MAX 100000 /* keys on a page */

#define PAGE_AHEAD  64	/* pages that are gathered at once, as long as they have no more keys than the largest */
#define PAGE_CURSOR 128 /* bytes of a cursor's text */

struct page;

/* Keys of `size` bytes; `compare` as for qsort(); `limit` 0: as many as are offered. NULL: no memory. */
struct page *page_new(size_t size, size_t limit, int (*compare)(const void *a, const void *b));
void page_free(struct page *p); /* takes NULL */
/* Keeps the key if it is one of the least `limit` so far, or of those that there is memory for. */
void page_offer(struct page *p, const void *key);
/* When all were offered: puts them in order, so many at a time. True: done. */
bool page_sort(struct page *p, size_t max);
size_t page_count(const struct page *p);
const void *page_at(const struct page *p, size_t i); /* in order, after page_sort() */
bool page_more(const struct page *p);		     /* there were others, behind the last one */

/* A page as an answer, made in slices: {"NOUN": [...], "next": "CURSOR" or null}. */
struct page_source {
	const char *noun;
	size_t size; /* of a key */
	int (*compare)(const void *a, const void *b);
	/* A step of some microseconds: offers what belongs on a page behind its start. 1: there is more; 0: that was all. */
	int (*gather)(void *arg, struct page *p);
	json_t *(*show)(void *arg, const void *key); /* NULL: it is not there any more */
	void (*cursor)(const void *key, char buf[PAGE_CURSOR]);
	/* Takes over a page in order, of which the first `at` keys are shown and others are left. NULL: the source keeps none. */
	void (*keep)(void *arg, struct page *p, size_t at);
	int (*after)(void *arg, const char *cursor); /* begins behind it; -EINVAL: it is none. For page_answer() */
	void (*free)(void *arg);
};

/* `limit` keys; 0: all of them, and the answer is the bare list, which does not end if there is no memory for all. `source` stays
 * where it is. 0, or -ENOMEM: then `arg` is freed. */
int page_stream(const struct page_source *source, void *arg, size_t limit, struct http_stream *ret);
/* The next `limit` of a page that was kept, from the key `at` on; it is taken over, as `arg` is, in any case. */
int page_stream_kept(const struct page_source *source, void *arg, struct page *kept, size_t at, size_t limit,
		     struct http_stream *ret);

/* The same with `limit` and the start as `rq` says. 0, or <0 with words; then `arg` is freed. */
int page_answer(const struct page_source *source, void *arg, const struct http_request *rq, struct http_stream *ret,
		struct errs *errs);

/* ?limit=N and ?after=CURSOR, which goes with it; 0 and NULL when absent. -EINVAL with words. */
int page_query(const struct http_request *rq, uint32_t *ret_limit, const char **ret_after, struct errs *errs);
/* For a cursor that cannot be read: -EINVAL. */
int page_refuse(const char *after, struct errs *errs);

#endif
