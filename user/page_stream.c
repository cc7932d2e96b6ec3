/* page_stream.c: a page (page.h) as an answer over HTTP, made in slices: gathered, put in order, told. */
#include "page.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdint.h>
#include <stdlib.h>
#include "clock.h"
#include "text.h"

#define SLICE_NS    2000000
#define SLICE_BYTES (256u << 10)
#define SORT_STEP   256

struct work {
	const struct page_source *source;
	void *arg;
	struct page *page;
	bool whole, gathered, sorted, opened, begun, finished;
	size_t at, limit; /* the next key to show; how many at the most */
	size_t shown;
};

/* False: it is not there any more. */
static bool show(struct work *w, const void *key, struct evbuffer *out)
{
	json_t *item = w->source->show(w->arg, key);
	char *text = item ? json_dumps(item, JSON_COMPACT) : NULL;

	if (text)
		evbuffer_add_printf(out, "%s%s", w->begun ? ",\n" : "", text);
	w->begun |= text != NULL;
	free(text);
	json_decref(item);
	return item;
}

static bool is_last(const struct work *w)
{
	return w->at == page_count(w->page) || (!w->whole && w->shown == w->limit);
}

/* Met twice, they stand side by side. */
static bool is_repeated(const struct work *w)
{
	return w->at && !w->source->compare(page_at(w->page, w->at - 1), page_at(w->page, w->at));
}

static void finish(struct work *w, struct evbuffer *out)
{
	char cursor[PAGE_CURSOR], *text;
	json_t *json;

	w->finished = true;
	if (w->whole) {
		if (!page_more(w->page)) /* else nobody is to take it for all there are */
			evbuffer_add_printf(out, "]\n");
		return;
	}
	if (w->at == page_count(w->page) && !page_more(w->page)) {
		evbuffer_add_printf(out, "],\"next\":null}\n");
		return;
	}
	w->source->cursor(page_at(w->page, w->at - 1), cursor);
	json = json_string(cursor);
	text = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
	if (text) /* else nobody is to take it for the last page */
		evbuffer_add_printf(out, "],\"next\":%s}\n", text);
	free(text);
	json_decref(json);
}

/* One step; false: that was the last. */
static bool step(struct work *w, struct evbuffer *out)
{
	if (!w->gathered) {
		w->gathered = !w->source->gather(w->arg, w->page);
	} else if (!w->sorted) {
		w->sorted = page_sort(w->page, SORT_STEP);
	} else {
		if (!w->opened && w->whole)
			evbuffer_add_printf(out, "[");
		else if (!w->opened)
			evbuffer_add_printf(out, "{\"%s\":[", w->source->noun);
		w->opened = true;
		if (is_last(w)) {
			finish(w, out);
			return false;
		}
		if (!is_repeated(w))
			w->shown += show(w, page_at(w->page, w->at), out);
		w->at++;
	}
	return true;
}

static int next(void *arg, struct evbuffer *out)
{
	uint64_t end = clock_now_ns() + SLICE_NS;
	struct work *w = arg;

	do {
		if (!step(w, out))
			return 0;
	} while (clock_now_ns() < end && evbuffer_get_length(out) < SLICE_BYTES);
	return 1;
}

static void work_free(void *arg)
{
	struct work *w = arg;

	if (w->source->keep && w->finished && w->at < page_count(w->page))
		w->source->keep(w->arg, w->page, w->at);
	else
		page_free(w->page);
	w->source->free(w->arg);
	free(w);
}

static size_t room_of(const struct page_source *source, size_t limit)
{
	if (!source->keep || limit >= PAGE_MAX)
		return limit;
	return limit < PAGE_MAX / PAGE_AHEAD ? limit * PAGE_AHEAD : PAGE_MAX;
}

static int stream(const struct page_source *source, void *arg, struct page *page, const struct work *as, struct http_stream *ret)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w || !page) {
		source->free(arg);
		page_free(page);
		free(w);
		return -ENOMEM;
	}
	*w = *as;
	w->page = page;
	w->source = source;
	w->arg = arg;
	*ret = (struct http_stream){.next = next, .free = work_free, .arg = w};
	return 0;
}

int page_stream(const struct page_source *source, void *arg, size_t limit, struct http_stream *ret)
{
	const struct work w = {.whole = !limit, .limit = limit};

	return stream(source, arg, page_new(source->size, room_of(source, limit), source->compare), &w, ret);
}

int page_stream_kept(const struct page_source *source, void *arg, struct page *kept, size_t at, size_t limit,
		     struct http_stream *ret)
{
	const struct work w = {.gathered = true, .sorted = true, .at = at, .limit = limit};

	return stream(source, arg, kept, &w, ret);
}

int page_query(const struct http_request *rq, uint32_t *ret_limit, const char **ret_after, struct errs *errs)
{
	const char *limit = http_query(rq, "limit");

	*ret_limit = 0;
	*ret_after = http_query(rq, "after");
	if (limit && u32_parse(limit, 0, PAGE_MAX, ret_limit))
		return errs_fail(errs, EINVAL, "limit: '%.32s' is not a number in 0..%u", limit, PAGE_MAX);
	if (*ret_after && !*ret_limit)
		return errs_fail(errs, EINVAL, "`after` goes with `limit`: pages are of so many");
	return 0;
}

int page_refuse(const char *after, struct errs *errs)
{
	return errs_fail(errs, EINVAL, "after: '%.64s' is no cursor: it is what `next` of the page before says", after);
}

int page_answer(const struct page_source *source, void *arg, const struct http_request *rq, struct http_stream *ret,
		struct errs *errs)
{
	const char *after;
	uint32_t limit;
	int r = page_query(rq, &limit, &after, errs);

	if (!r && after && source->after(arg, after))
		r = page_refuse(after, errs);
	if (r) {
		source->free(arg);
		return r;
	}
	return page_stream(source, arg, limit, ret) ? errs_fail(errs, ENOMEM, "out of memory") : 0;
}
