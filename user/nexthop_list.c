/* nexthop_list.c: `nexthop show`: gateways and interfaces that routes lead by, as a query asks for them, by id, whole or by
 * pages. */
#include "page.h"
#include "route_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP 64 /* ids */

struct listing {
	struct routes *rs;
	struct addr via;
	uint8_t via_family; /* 0: any */
	uint16_t iface;	    /* 0: any */
	char state[16];	    /* "": any */
	uint32_t id;	    /* 0: any */
	uint32_t at, end;
};

static bool wanted(const struct listing *l, const struct nexthop *nh)
{
	if (nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED)
		return false;
	if (l->id && nexthop_at(l->rs->ns, l->id) != nh)
		return false;
	if (l->via_family && (nh->type != NEXTHOP_GATEWAY || memcmp(&nh->gateway, &l->via, sizeof(l->via))))
		return false;
	if (l->iface && nh->iface != l->iface)
		return false;
	return !*l->state || !strcmp(l->state, route_nexthop_state(l->rs, nh));
}

static int compare(const void *x, const void *y)
{
	const uint32_t *a = x, *b = y;

	return *a < *b ? -1 : *a > *b;
}

static int gather(void *arg, struct page *p)
{
	struct listing *l = arg;
	const struct nexthop *nh;
	int i;

	for (i = 0; i < STEP && l->at < l->end; i++, l->at++) {
		nh = nexthop_at(l->rs->ns, l->at);
		if (nh && wanted(l, nh))
			page_offer(p, &l->at);
	}
	return l->at < l->end;
}

static json_t *show(void *arg, const void *key)
{
	const uint32_t *id = key;
	struct listing *l = arg;
	const struct nexthop *nh = *id < nexthop_end(l->rs->ns) ? nexthop_at(l->rs->ns, *id) : NULL;

	return nh && wanted(l, nh) ? route_show_nexthop(l->rs, *id, 1, -1) : NULL;
}

static void cursor_text(const void *key, char buf[PAGE_CURSOR])
{
	snprintf(buf, PAGE_CURSOR, "%u", *(const uint32_t *)key);
}

/* ?nexthop=: an id, or a gateway's address; there must be such a one. */
static int parse_one(const char *which, struct listing *l, struct errs *errs)
{
	const struct nexthop *nh;
	uint32_t id;

	if (u32_parse(which, 1, NEXTHOP_MAX - 1, &l->id) && addr_parse(which, &l->via, &l->via_family))
		return errs_fail(errs, EINVAL, "'%.64s' is neither the id of a nexthop nor the address of a gateway", which);
	for (id = 1; id < l->end; id++) {
		nh = nexthop_at(l->rs->ns, id);
		if (nh && wanted(l, nh))
			return 0;
	}
	return errs_fail(errs, ENOENT, "there is no nexthop '%.64s'", which);
}

static int parse(struct sw *sw, const struct http_request *rq, struct listing *l, struct errs *errs)
{
	const char *which = http_query(rq, "nexthop");
	const char *via = http_query(rq, "via"), *iface = http_query(rq, "interface"), *state = http_query(rq, "state");

	if (via && addr_parse(via, &l->via, &l->via_family))
		return errs_fail(errs, EINVAL, "'%.64s' is no address: 192.0.2.1 or 2001:db8::1 would be one", via);
	if (iface && !(l->iface = iface_id(sw, iface)))
		return errs_fail(errs, ENOENT, "there is no interface '%.32s'", iface);
	if (state && strcmp(state, "resolved") && strcmp(state, "unresolved") && strcmp(state, "failed") &&
	    strcmp(state, "down") && strcmp(state, "drained"))
		return errs_fail(errs, EINVAL, "'%.32s' is no state of a nexthop: resolved, unresolved, failed, down or drained",
				 state);
	snprintf(l->state, sizeof(l->state), "%s", state ? state : "");
	return which ? parse_one(which, l, errs) : 0;
}

int nexthop_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs)
{
	static const struct page_source source = {.noun = "nexthops",
						  .size = sizeof(uint32_t),
						  .compare = compare,
						  .gather = gather,
						  .show = show,
						  .cursor = cursor_text,
						  .free = free};
	struct listing *l = calloc(1, sizeof(*l));
	const char *after;
	uint32_t limit;
	int r;

	if (!l)
		return errs_fail(errs, ENOMEM, "out of memory");
	l->rs = sw->routes;
	l->end = nexthop_end(l->rs->ns);
	r = parse(sw, rq, l, errs);
	if (!r)
		r = page_query(rq, &limit, &after, errs);
	if (!r && after && u32_parse(after, 0, NEXTHOP_MAX - 1, &l->at))
		r = page_refuse(after, errs);
	if (r) {
		free(l);
		return r;
	}
	l->at++;
	return page_stream(&source, l, limit, l->end, ret) ? errs_fail(errs, ENOMEM, "out of memory") : 0;
}
