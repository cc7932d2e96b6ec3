/* flow_watch.c: what begins and ends (flow_watch.h), as lines for each of those who watch.
 *
 * Lines wait in memory until the client has taken those before. A client that is too slow for what happens misses some, and is
 * told how many, in the place where they would stand: the event loop waits for nobody, and the memory is bounded.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <event2/buffer.h>
#include "clock.h"
#include "flow_told.h"
#include "flow_text.h"
#include "flow_walk.h"
#include "flow_watch.h"
#include "table.h"

#define WATCHERS_MAX  16
#define WAITING_BYTES (1 << 20) /* of one watcher */
#define TICK_NS	      20000000	/* by which the data plane's clock may be behind */

struct flow_watcher {
	struct flow_watcher *next;
	struct flows *flows;
	struct flow_filter *filter;
	struct evbuffer *waiting;
	uint64_t since_ns; /* what is older is not new */
	uint64_t missed;   /* since the last line in `waiting` */
	uint64_t gave_way; /* up to so many it has been told of, one by one or by their number */
	bool cells, begun;
};

static const char *why_text(enum flow_why why)
{
	static const char *const texts[] = {
		[FLOW_WHY_TIMEOUT] = "timeout", [FLOW_WHY_RULE] = "rule",	  [FLOW_WHY_FLUSH] = "flush",
		[FLOW_WHY_HALF] = "half",	[FLOW_WHY_GAVE_WAY] = "gave-way",
	};

	return texts[why];
}

/* ---- lines */

/* "17:20:05.123", local time. */
static void put_clock(struct line *l, uint64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	char text[32], fraction[8];
	struct tm tm;

	if (!localtime_r(&s, &tm) || !strftime(text, sizeof(text), "%H:%M:%S", &tm))
		return;
	line_put(l, text);
	snprintf(fraction, sizeof(fraction), ".%03u", (unsigned)(ms % 1000));
	line_put(l, fraction);
}

static void put_event(const struct flow_watcher *w, struct line *l, uint64_t ms, const char *event, const char *why)
{
	if (w->cells) {
		put_clock(l, ms);
		line_put(l, "\t");
		line_put(l, event);
		line_put(l, "\t");
		line_put(l, why ? why : "-");
		line_put(l, "\t");
		return;
	}
	line_put(l, "{\"time_ms\":");
	line_number(l, ms);
	line_put(l, ",\"event\":");
	line_json(l, event);
	if (why) {
		line_put(l, ",\"reason\":");
		line_json(l, why);
	}
	line_put(l, ",");
}

/* A line that tells how many, and not which. `what`: "events", "flows". */
static void tell_number(const struct flow_watcher *w, struct evbuffer *out, const char *event, uint64_t n, const char *what)
{
	struct line l = {0};
	uint64_t now = clock_now_ns();

	put_event(w, &l, clock_wall_ms(now, now), event, NULL);
	if (!w->cells) {
		line_json(&l, what);
		line_put(&l, ":");
	}
	line_number(&l, n);
	line_put(&l, w->cells ? " " : "}\n");
	if (w->cells) {
		line_put(&l, what);
		line_put(&l, "\n");
	}
	evbuffer_add(out, l.text, l.len);
}

/* Before the next line: what could not be told. */
static void tell_missed(struct flow_watcher *w, struct evbuffer *out)
{
	if (w->missed)
		tell_number(w, out, "missed", w->missed, "events");
	w->missed = 0;
}

/* False: there was no room. */
static bool tell(struct flow_watcher *w, struct flow_pair *p, uint64_t at_ns, const char *event, const char *why)
{
	struct line l = {0};

	if (evbuffer_get_length(w->waiting) >= WAITING_BYTES) {
		w->missed++;
		return false;
	}
	tell_missed(w, w->waiting);
	put_event(w, &l, clock_wall_ms(p->now_ns, at_ns), event, why);
	if (w->cells)
		flow_text_cells(w->flows->sw, p, &l);
	else
		flow_text_json(w->flows->sw, p, &l);
	line_put(&l, w->cells ? "\n" : "}\n");
	evbuffer_add(w->waiting, l.text, l.len);
	return true;
}

/* ---- what happens */

void flow_watch_begin(struct flows *flows, const struct flow_tuple *key, const struct flow *f)
{
	struct flow_pair p;
	bool told = false;

	/* What was there before the last whole pass was seen by it, though its note may be gone with a table of another size. */
	if (!flows->watchers || f->created_ns + TICK_NS < flows->whole_ns)
		return;
	flow_pair_of(flows, key, f, clock_now_ns(), &p);
	for (struct flow_watcher *w = flows->watchers; w; w = w->next)
		if (f->created_ns >= w->since_ns && flow_filter_match(w->filter, &p))
			told |= tell(w, &p, f->created_ns, "new", NULL);
	if (told && (p.state == FLOW_OPENING || p.state == FLOW_UNREPLIED || p.state == FLOW_RESET))
		flow_told_add(flows, key, f, TOLD_WATCH);
}

bool flow_watch_before_end(struct flows *flows, const struct flow_tuple *key, const struct flow *f, struct flow_pair *ret)
{
	if (!flows->watchers)
		return false;
	flow_pair_of(flows, key, f, clock_now_ns(), ret);
	flow_pair_whole(ret);
	return true;
}

void flow_watch_end(struct flows *flows, struct flow_pair *p, enum flow_why why)
{
	struct flow_told *t = why == FLOW_WHY_GAVE_WAY ? NULL : flow_told_find(flows, &p->key, p->created_ns, TOLD_WATCH);

	if (t)
		flow_told_drop(flows, t, TOLD_WATCH);
	for (struct flow_watcher *w = flows->watchers; w; w = w->next) {
		if (!flow_filter_match(w->filter, p))
			continue;
		tell(w, p, p->now_ns, "end", why_text(why));
		w->gave_way += why == FLOW_WHY_GAVE_WAY;
	}
}

static uint64_t gave_way(const struct flows *flows)
{
	uint64_t n = 0;

	if (flows->sw->dp && !table_sum(table_get(flows->sw->dp, "stats"), STAT_FLOW_GAVE_WAY, &n, 1))
		n += flows->sw->control->gave_way;
	return n;
}

uint64_t flow_watch_gave_way(const struct flows *flows)
{
	return flows->watchers ? gave_way(flows) : 0;
}

void flow_watch_round(struct flows *flows, uint64_t n)
{
	for (struct flow_watcher *w = flows->watchers; w; w = w->next) {
		if (n > w->gave_way && evbuffer_get_length(w->waiting) < WAITING_BYTES) {
			tell_missed(w, w->waiting);
			tell_number(w, w->waiting, "gave-way", n - w->gave_way, "flows");
			w->gave_way = n;
		}
	}
}

/* ---- who watches */

static int watch_next(void *arg, struct evbuffer *out)
{
	struct flow_watcher *w = arg;
	struct line l = {0};

	if (!w->begun && w->cells) {
		line_put(&l, "TIME\tEVENT\tREASON\t");
		flow_text_titles(w->flows->sw, &l);
		line_put(&l, "\n");
		evbuffer_add(out, l.text, l.len);
	}
	w->begun = true;
	evbuffer_add_buffer(out, w->waiting);
	tell_missed(w, out);
	return evbuffer_get_length(out) ? HTTP_MORE : HTTP_REST;
}

static void watch_free(void *arg)
{
	struct flow_watcher *w = arg;

	for (struct flow_watcher **at = &w->flows->watchers; *at; at = &(*at)->next) {
		if (*at != w)
			continue;
		*at = w->next;
		break;
	}
	flow_filter_free(w->filter);
	if (w->waiting)
		evbuffer_free(w->waiting);
	free(w);
}

int flow_watch(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs)
{
	struct flow_watcher *w;
	unsigned n = 0;
	int err;

	for (w = sw->flows->watchers; w; w = w->next)
		n++;
	if (n >= WATCHERS_MAX)
		return errs_fail(errs, EBUSY, "%d watch already", WATCHERS_MAX);
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->flows = sw->flows;
	w->waiting = evbuffer_new();
	err = w->waiting ? flow_walk_filter(sw, q->filter, &w->filter, errs) : -ENOMEM;
	if (err) {
		watch_free(w);
		return err;
	}
	w->since_ns = clock_now_ns() - TICK_NS;
	w->gave_way = gave_way(sw->flows);
	w->cells = q->cells;
	w->next = sw->flows->watchers;
	sw->flows->watchers = w;
	flow_age_watched(sw->flows);
	flow_told_wake(sw->flows);
	*ret = (struct http_stream){watch_next, watch_free, w,
				    w->cells ? "text/tab-separated-values; charset=utf-8" : "application/jsonl"};
	return 0;
}
