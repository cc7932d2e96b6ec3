/* route_list.c: `route show` of everything that a filter lets through, in pieces, as the RIB has it: in no order, but with no
 * work beyond each route's. Pages, in order, are route_page.c's. */
#include "route_filter.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

#define PIECE_NS    2000000 /* one piece's work */
#define PIECE_BYTES (256u << 10)
#define CLOCK_EVERY 64
#define CACHED	    64 /* ways of which the JSON is kept within a piece: a full table has few */

struct route_list {
	struct routes *rs;
	struct rib_cursor *cursor;
	struct route_filter filter;
	bool begun;
	/* within a piece */
	struct evbuffer *out;
	uint64_t end_ns;
	unsigned n;
	uint32_t cached[CACHED];
	json_t *nexthops[CACHED];
};

/* Counters are read by system calls: once for each way in a piece. */
static json_t *cached_nexthops(struct route_list *l, const struct rib_view *v)
{
	unsigned slot = (v->result ^ v->result >> 24) % CACHED;

	if (!v->result)
		return route_show_nexthops(l->rs, v);
	if (l->cached[slot] != v->result) {
		json_decref(l->nexthops[slot]);
		l->nexthops[slot] = route_show_nexthops(l->rs, v);
		l->cached[slot] = v->result;
	}
	return json_incref(l->nexthops[slot]);
}

static int list_one(const struct rib_view *v, void *arg)
{
	struct route_list *l = arg;
	json_t *route;
	char *text;

	if (route_filter_holds(l->rs, &l->filter, v)) {
		route = route_show_fields(l->rs, v);
		json_object_set_new(route, "nexthops", cached_nexthops(l, v));
		text = json_dumps(route, JSON_COMPACT);
		json_decref(route);
		evbuffer_add_printf(l->out, "%s%s", l->begun ? ",\n" : "", text ? text : "{}");
		free(text);
		l->begun = true;
	}
	if (evbuffer_get_length(l->out) > PIECE_BYTES)
		return 1;
	return ++l->n % CLOCK_EVERY == 0 && clock_now_ns() > l->end_ns;
}

static void forget_piece(struct route_list *l)
{
	size_t i;

	for (i = 0; i < CACHED; i++) {
		json_decref(l->nexthops[i]);
		l->nexthops[i] = NULL;
		l->cached[i] = 0;
	}
}

static int list_next(void *arg, struct evbuffer *out)
{
	struct route_list *l = arg;
	int r;

	if (!l->out)
		evbuffer_add_printf(out, "[");
	l->out = out;
	l->end_ns = clock_now_ns() + PIECE_NS;
	r = rib_cursor_go(l->rs->rib, l->cursor, list_one, l);
	forget_piece(l);
	if (r == 1)
		return 1;
	evbuffer_add_printf(out, "]\n");
	return 0;
}

static void list_free(void *arg)
{
	struct route_list *l = arg;

	rib_cursor_close(l->rs->rib, l->cursor);
	free(l);
}

static int list_all(struct sw *sw, const struct route_filter *f, struct http_stream *ret)
{
	struct route_list *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->rs = sw->routes;
	l->filter = *f;
	l->cursor = rib_cursor_open(l->rs->rib, RIB_SOURCES);
	if (!l->cursor) {
		free(l);
		return -ENOMEM;
	}
	*ret = (struct http_stream){.next = list_next, .free = list_free, .arg = l};
	return 0;
}

int route_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs)
{
	struct route_filter f;
	int r = route_filter_parse(sw, rq, &f, errs);

	if (r)
		return r;
	if (f.limit)
		return route_page(sw, &f, ret, errs);
	r = list_all(sw, &f, ret);
	return r ? errs_fail(errs, -r, "%s", strerror(-r)) : 0;
}
