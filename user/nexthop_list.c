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
	bool one;	    /* only those that are `which` */
	struct nexthop_which which;
	uint32_t at, end;
};

static bool wanted(const struct listing *l, const struct nexthop *nh, uint32_t id)
{
	if (nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED)
		return false;
	if (l->one && !nexthop_is_which(l->rs, id, &l->which))
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
		if (nh && wanted(l, nh, l->at))
			page_offer(p, &l->at);
	}
	return l->at < l->end;
}

/* With what tells two of one gateway apart. */
static json_t *show(void *arg, const void *key)
{
	const uint32_t *id = key;
	struct listing *l = arg;
	const struct nexthop *nh = *id < nexthop_end(l->rs->ns) ? nexthop_at(l->rs->ns, *id) : NULL;
	const struct iface_cfg *cfg;
	const char *name;
	json_t *o;

	if (!nh || !wanted(l, nh, *id))
		return NULL;
	o = route_show_nexthop(l->rs, *id, 1, -1);
	name = nh->iface ? iface_name(l->rs->sw, nh->iface) : NULL;
	cfg = name ? model_iface(l->rs->sw->model, name) : NULL;
	if (cfg)
		json_object_set_new(o, "vrf", json_string(cfg->vrf));
	if (nh->mtu)
		json_object_set_new(o, "mtu", json_integer(nh->mtu));
	return o;
}

static void cursor_text(const void *key, char buf[PAGE_CURSOR])
{
	snprintf(buf, PAGE_CURSOR, "%u", *(const uint32_t *)key);
}

static int begin_after(void *arg, const char *cursor)
{
	struct listing *l = arg;

	if (u32_parse(cursor, 0, NEXTHOP_MAX - 1, &l->at))
		return -EINVAL;
	l->at++;
	return 0;
}

/* ?nexthop=: there must be such a one. */
static int parse_one(const char *text, struct listing *l, struct errs *errs)
{
	const struct nexthop *nh;
	uint32_t id;
	int r = nexthop_which_parse(l->rs, text, &l->which, errs);

	l->one = true;
	for (id = 1; id < l->end && !r; id++) {
		nh = nexthop_at(l->rs->ns, id);
		if (nh && wanted(l, nh, id))
			return 0;
	}
	if (!r && model_nexthop(l->rs->sw->model, text))
		return errs_fail(errs, ENOENT, "no route leads by the nexthop '%.64s'", text);
	return r ? r : errs_fail(errs, ENOENT, "there is no nexthop '%.64s'", text);
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
						  .after = begin_after,
						  .free = free};
	struct listing *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return errs_fail(errs, ENOMEM, "out of memory");
	l->rs = sw->routes;
	l->at = 1;
	l->end = nexthop_end(l->rs->ns);
	r = parse(sw, rq, l, errs);
	if (r) {
		free(l);
		return r;
	}
	return page_answer(&source, l, rq, ret, errs);
}

/* ---- those that have a name in the configuration */

struct named {
	struct sw *sw;
	size_t n, at;
	struct named_row {
		char name[SLUICE_LABEL];
		uint32_t routes, groups; /* that need it */
	} row[];
};

static int compare_named(const void *x, const void *y)
{
	return strcmp(x, y);
}

static int gather_named(void *arg, struct page *p)
{
	struct named *l = arg;

	for (int i = 0; i < STEP && l->at < l->n; i++, l->at++)
		page_offer(p, l->row[l->at].name);
	return l->at < l->n;
}

static json_t *show_members(const struct named_cfg *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n_members; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:i}", "nexthop", c->members[i].name, "weight", c->members[i].weight));
	return list;
}

static json_t *show_named(void *arg, const void *key)
{
	struct named *l = arg;
	const struct named_cfg *c = model_nexthop(l->sw->model, key);
	const struct named_row *row = c ? bsearch(key, l->row, l->n, sizeof(*row), compare_named) : NULL;
	char text[ADDR_TEXT];
	json_t *o;

	if (!row)
		return NULL;
	o = json_pack("{s:s, s:s}", "name", c->name, "type", c->n_members ? "group" : route_type_name(c->type));
	if (c->own.family)
		json_object_set_new(o, "via", json_string(addr_text(&c->own.gateway, text)));
	if (*c->own.iface)
		json_object_set_new(o, "interface", json_string(c->own.iface));
	if (c->n_members)
		json_object_set_new(o, "group", show_members(c));
	json_object_set_new(o, "routes", json_integer(row->routes));
	json_object_set_new(o, "groups", json_integer(row->groups));
	return o;
}

static void named_cursor(const void *key, char buf[PAGE_CURSOR])
{
	snprintf(buf, PAGE_CURSOR, "%s", (const char *)key);
}

/* How many need each of them, by its place in the model. */
static void count_users(const struct model *m, struct named_row *count)
{
	const struct named_cfg *c;

	for (size_t i = 0; i < m->n_routes; i++)
		if (m->routes[i].named)
			count[m->routes[i].named - m->nexthops].routes++;
	for (size_t i = 0; i < m->n_nexthops; i++)
		for (size_t k = 0; k < m->nexthops[i].n_members; k++) {
			c = m->nexthops[i].members[k].named;
			if (c)
				count[c - m->nexthops].groups++;
		}
}

/* Those behind `after`, or `name` alone. */
static struct named *named_open(struct sw *sw, const char *name, const char *after)
{
	const struct model *m = sw->model;
	struct named *l = calloc(1, sizeof(*l) + m->n_nexthops * sizeof(l->row[0]));
	struct named_row row;

	if (!l)
		return NULL;
	l->sw = sw;
	count_users(m, l->row);
	for (size_t i = 0; i < m->n_nexthops; i++) {
		const char *its = m->nexthops[i].name;

		if ((name && strcmp(its, name)) || (after && strcmp(its, after) <= 0))
			continue;
		row = l->row[i];
		snprintf(row.name, sizeof(row.name), "%s", its);
		l->row[l->n++] = row;
	}
	qsort(l->row, l->n, sizeof(l->row[0]), compare_named);
	return l;
}

int nexthop_named(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs)
{
	static const struct page_source source = {.noun = "nexthops",
						  .size = SLUICE_LABEL,
						  .compare = compare_named,
						  .gather = gather_named,
						  .show = show_named,
						  .cursor = named_cursor,
						  .free = free};
	const char *name = http_query(rq, "name"), *after;
	struct named *l;
	uint32_t limit;
	int r = page_query(rq, &limit, &after, errs);

	if (r)
		return r;
	if (name && !model_nexthop(sw->model, name))
		return errs_fail(errs, ENOENT, "there is no nexthop named '%.32s'", name);
	l = named_open(sw, name, after);
	if (!l)
		return errs_fail(errs, ENOMEM, "out of memory");
	return page_stream(&source, l, limit, ret) ? errs_fail(errs, ENOMEM, "out of memory") : 0;
}
