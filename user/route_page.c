/* route_page.c: `route show limit N after CURSOR`: so many routes in order, by VRF, family, address, length. All routes are gone
 * over for the first page, which keeps the least keys, and those of the pages behind it; then what these name is shown, as far as
 * it is there still. The keys that are left wait for who goes on behind the last one shown, a while and of some listings.
 *
 * A cursor is the key of a page's last route as text: VRF's id, prefix, source, the kernel's table, metric, with commas between.
 */
#include "route_filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

#define STEP   64 /* routes */
#define KEPT   4  /* listings that may be gone on with */
#define KEEP_S 30 /* so long */

struct key {
	uint16_t vrf;
	uint8_t family, len;
	struct addr addr;
	uint32_t source, table, metric;
};

struct route_page {
	struct routes *rs;
	struct rib_cursor *cursor;
	struct route_filter filter;
	bool has_after;
	struct key after;
	struct page *page;
	unsigned n;
};

struct kept {
	struct page *page; /* NULL: none */
	size_t at;	   /* the key that comes next */
	struct route_filter filter;
	uint64_t at_ns;
};

struct route_pages {
	struct kept kept[KEPT];
	struct event *timer;
};

static int compare(const void *x, const void *y)
{
	const struct key *a = x, *b = y;
	int r = memcmp(&a->addr, &b->addr, sizeof(a->addr));

#define DIFFER(member) (a->member != b->member ? (a->member < b->member ? -1 : 1) : 0)
	if (a->vrf != b->vrf || a->family != b->family)
		return a->vrf != b->vrf ? DIFFER(vrf) : DIFFER(family);
	if (r || a->len != b->len)
		return r ? r : DIFFER(len);
	if (a->source != b->source || a->table != b->table)
		return a->source != b->source ? DIFFER(source) : DIFFER(table);
	return DIFFER(metric);
#undef DIFFER
}

/* As the RIB finds it: an imported route's table is where it comes from, a static one's its distance. */
static struct key key_of(const struct rib_view *v)
{
	return (struct key){.vrf = v->vrf,
			    .family = v->to.family,
			    .len = v->to.len,
			    .addr = v->to.addr,
			    .source = v->source,
			    .table = v->source == RIB_STATIC ? v->distance
				     : v->from < 0	     ? v->table
							     : (uint32_t)v->origin << 16 | (uint32_t)v->from,
			    .metric = v->metric};
}

static void cursor_text(const void *key, char buf[PAGE_CURSOR])
{
	const struct key *k = key;
	const struct prefix p = {.addr = k->addr, .family = k->family, .len = k->len};
	char text[PREFIX_TEXT];

	snprintf(buf, PAGE_CURSOR, "%u,%s,%u,%u,%u", k->vrf, prefix_text(&p, text), k->source, k->table, k->metric);
}

static int cursor_parse(const char *text, struct key *ret)
{
	char copy[PAGE_CURSOR], *part, *save = NULL;
	uint32_t number[4] = {0};
	struct prefix p;
	int i, n = 0;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	for (i = 0, part = strtok_r(copy, ",", &save); part && i < 5; part = strtok_r(NULL, ",", &save), i++) {
		if (i == 1 ? prefix_parse(part, 0, true, &p) : u32_parse(part, 0, UINT32_MAX, &number[n++]))
			return -EINVAL;
	}
	if (i != 5 || part || number[0] >= VRF_MAX)
		return -EINVAL;
	*ret = (struct key){.vrf = (uint16_t)number[0],
			    .family = p.family,
			    .len = p.len,
			    .addr = p.addr,
			    .source = number[1],
			    .table = number[2],
			    .metric = number[3]};
	return 0;
}

/* ---- in slices */

static int gather_one(const struct rib_view *v, void *arg)
{
	struct route_page *rp = arg;
	struct key k = key_of(v);

	if ((!rp->has_after || compare(&k, &rp->after) > 0) && route_filter_holds(rp->rs, &rp->filter, v))
		page_offer(rp->page, &k);
	return ++rp->n % STEP == 0;
}

static int gather(void *arg, struct page *p)
{
	struct route_page *rp = arg;

	rp->page = p;
	return rib_cursor_go(rp->rs->rib, rp->cursor, gather_one, rp);
}

static json_t *show(void *arg, const void *key)
{
	struct route_page *rp = arg;
	const struct key *k = key;
	struct rib_route_spec spec = {.vrf = k->vrf,
				      .to = {.addr = k->addr, .family = k->family, .len = k->len},
				      .source = (uint8_t)k->source,
				      .table = k->table,
				      .metric = k->metric};
	struct rib_view v;
	json_t *route;

	/* It may have become another one since its key was kept. */
	if (rib_find(rp->rs->rib, &spec, &v) || !route_filter_holds(rp->rs, &rp->filter, &v))
		return NULL;
	route = route_show_fields(rp->rs, &v);
	json_object_set_new(route, "nexthops", route_show_nexthops(rp->rs, &v));
	return route;
}

/* ---- what is left of a page */

static void kept_drop(struct kept *k)
{
	page_free(k->page);
	*k = (struct kept){0};
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval again = {.tv_sec = KEEP_S};
	struct route_pages *ps = arg;
	uint64_t now = clock_now_ns();
	bool any = false;

	for (struct kept *k = ps->kept; k < ps->kept + KEPT; k++) {
		if (k->page && now - k->at_ns > KEEP_S * CLOCK_SECOND_NS)
			kept_drop(k);
		any |= k->page != NULL;
	}
	if (any)
		evtimer_add(ps->timer, &again);
}

static void keep(void *arg, struct page *p, size_t at)
{
	const struct timeval wait = {.tv_sec = KEEP_S};
	struct route_page *rp = arg;
	struct route_pages *ps = rp->rs->pages;
	struct kept *oldest = ps->kept;

	for (struct kept *k = ps->kept; k < ps->kept + KEPT; k++)
		if (k->at_ns < oldest->at_ns)
			oldest = k;
	kept_drop(oldest);
	*oldest = (struct kept){.page = p, .at = at, .filter = rp->filter, .at_ns = clock_now_ns()};
	oldest->filter.after = NULL; /* of a request that is over */
	if (!evtimer_pending(ps->timer, NULL))
		evtimer_add(ps->timer, &wait);
}

/* What goes on behind this key, and is the caller's then; NULL: none. */
static struct page *kept_take(struct route_pages *ps, const struct route_filter *f, const struct key *after, size_t *ret_at)
{
	for (struct kept *k = ps->kept; k < ps->kept + KEPT; k++) {
		struct page *p = k->page;

		if (!p || compare(page_at(p, k->at - 1), after) || !route_filter_same(&k->filter, f))
			continue;
		*ret_at = k->at;
		*k = (struct kept){0};
		return p;
	}
	return NULL;
}

int route_pages_open(struct routes *rs)
{
	rs->pages = calloc(1, sizeof(*rs->pages));
	if (!rs->pages)
		return -ENOMEM;
	rs->pages->timer = evtimer_new(rs->sw->base, on_timer, rs->pages);
	return rs->pages->timer ? 0 : -ENOMEM;
}

void route_pages_close(struct routes *rs)
{
	if (!rs->pages)
		return;
	for (struct kept *k = rs->pages->kept; k < rs->pages->kept + KEPT; k++)
		kept_drop(k);
	if (rs->pages->timer)
		event_free(rs->pages->timer);
	free(rs->pages);
	rs->pages = NULL;
}

static void page_end(void *arg)
{
	struct route_page *rp = arg;

	if (rp->cursor)
		rib_cursor_close(rp->rs->rib, rp->cursor);
	free(rp);
}

int route_page(struct sw *sw, const struct route_filter *f, struct http_stream *ret, struct errs *errs)
{
	static const struct page_source source = {.noun = "routes",
						  .size = sizeof(struct key),
						  .compare = compare,
						  .gather = gather,
						  .show = show,
						  .cursor = cursor_text,
						  .keep = keep,
						  .free = page_end};
	struct route_page *rp = calloc(1, sizeof(*rp));
	struct page *kept;
	size_t at = 0;

	if (!rp)
		return errs_fail(errs, ENOMEM, "out of memory");
	rp->rs = sw->routes;
	rp->filter = *f;
	rp->has_after = f->after;
	if (f->after && cursor_parse(f->after, &rp->after)) {
		free(rp);
		return page_refuse(f->after, errs);
	}
	kept = f->after ? kept_take(rp->rs->pages, f, &rp->after, &at) : NULL;
	if (kept)
		return page_stream_kept(&source, rp, kept, at, f->limit, ret) ? errs_fail(errs, ENOMEM, "out of memory") : 0;
	rp->cursor = rib_cursor_open(rp->rs->rib, RIB_SOURCES);
	if (!rp->cursor) {
		free(rp);
		return errs_fail(errs, ENOMEM, "out of memory");
	}
	return page_stream(&source, rp, f->limit, ret) ? errs_fail(errs, ENOMEM, "out of memory") : 0;
}
