/* slices.c: between the nouns' steps and the pieces of an HTTP answer.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <event2/buffer.h>
#include "clock.h"
#include "slices.h"

#define SLICE_NS 2000000 /* the last step begins before this has gone by */

struct work {
	struct slices s;
	bool begun; /* an item was written */
	bool opened;
};

static void put_json(struct evbuffer *out, const char *before, const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	if (text)
		evbuffer_add_printf(out, "%s%s", before, text);
	free(text);
}

static void put_items(struct work *w, const json_t *list, struct evbuffer *out)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		put_json(out, w->begun ? ",\n" : "", item);
		w->begun = true;
	}
}

static void put_end(struct work *w, struct evbuffer *out)
{
	json_t *answer;

	if (!w->s.end) {
		evbuffer_add_printf(out, "]\n");
		return;
	}
	answer = w->s.end(w->s.arg);
	put_json(out, "", answer);
	evbuffer_add_printf(out, "\n");
	json_decref(answer);
}

static int next(void *arg, struct evbuffer *out)
{
	uint64_t start = clock_now_ns();
	struct work *w = arg;
	json_t *list;
	int r;

	if (!w->opened && !w->s.end)
		evbuffer_add_printf(out, "[");
	w->opened = true;
	do {
		list = json_array();
		r = list ? w->s.step(w->s.arg, list) : -ENOMEM;
		put_items(w, list, out);
		json_decref(list);
	} while (r > 0 && clock_now_ns() - start < SLICE_NS);
	if (!r)
		put_end(w, out);
	return r > 0;
}

static void work_free(void *arg)
{
	struct work *w = arg;

	w->s.free(w->s.arg);
	free(w);
}

int slices_stream(const struct slices *s, struct http_stream *ret)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w) {
		s->free(s->arg);
		return -ENOMEM;
	}
	w->s = *s;
	*ret = (struct http_stream){.next = next, .free = work_free, .arg = w};
	return 0;
}
