/* route_show.c: routes as JSON, for `route show` in pieces: there may be a million. Between the RIB with its tables and whoever
 * asks. */
#include "route_priv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *route_type_name(uint8_t type)
{
	static const char *const names[] = {
		[NEXTHOP_NONE] = "none",	 [NEXTHOP_GATEWAY] = "unicast",	    [NEXTHOP_CONNECTED] = "unicast",
		[NEXTHOP_LOCAL] = "local",	 [NEXTHOP_BLACKHOLE] = "blackhole", [NEXTHOP_UNREACHABLE] = "unreachable",
		[NEXTHOP_PROHIBIT] = "prohibit", [NEXTHOP_BROADCAST] = "broadcast",
	};

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : "none";
}

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

static const char *state_of(struct routes *rs, const struct nexthop *nh)
{
	if (nh->iface && !iface_usable(rs->sw, nh->iface))
		return "down";
	if (nh->flags & NEXTHOP_F_FAILED)
		return "failed";
	if (nh->type == NEXTHOP_GATEWAY && !(nh->flags & NEXTHOP_F_RESOLVED))
		return "unresolved";
	if (nh->flags & NEXTHOP_F_DRAINED)
		return "drained";
	return "resolved";
}

json_t *route_show_nexthop(struct routes *rs, uint32_t id, uint32_t weight, double share)
{
	const struct nexthop *nh = nexthop_at(rs->ns, id);
	uint64_t sums[2] = {0};
	char text[ADDR_TEXT], mac[MAC_TEXT];
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(id));
	if (nh->type == NEXTHOP_GATEWAY)
		set_text(o, "via", addr_text(&nh->gateway, text));
	set_text(o, "interface", nh->iface ? iface_name(rs->sw, nh->iface) : NULL);
	json_object_set_new(o, "weight", json_integer(weight));
	set_text(o, "state", state_of(rs, nh));
	if (nh->flags & NEXTHOP_F_RESOLVED)
		set_text(o, "mac", mac_text(nh->dmac, mac));
	if (share >= 0)
		json_object_set_new(o, "share", json_real(share));
	if (rs->counters)
		table_sum(rs->counters, id, sums, 2);
	json_object_set_new(o, "packets", json_integer((json_int_t)sums[0]));
	json_object_set_new(o, "bytes", json_integer((json_int_t)sums[1]));
	return o;
}

/* As the route names it. */
static json_t *show_named(struct routes *rs, const struct rib_nexthop *n, bool leads_nowhere)
{
	char text[ADDR_TEXT];
	json_t *o = json_object();

	if (n->family)
		set_text(o, "via", addr_text(&n->gateway, text));
	set_text(o, "interface", n->iface ? iface_name(rs->sw, n->iface) : NULL);
	json_object_set_new(o, "weight", json_integer(n->weight));
	if (leads_nowhere)
		set_text(o, "state", n->iface && iface_usable(rs->sw, n->iface) ? "unresolved" : "down");
	return o;
}

json_t *route_show_named(struct routes *rs, const struct rib_view *v)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < v->n; i++)
		json_array_append_new(list, show_named(rs, &v->nexthops[i], !v->result));
	return list;
}

json_t *route_show_nexthops(struct routes *rs, const struct rib_view *v)
{
	uint32_t buckets[NHG_MEMBERS], total = 0;
	const struct nhg_member *m;
	json_t *list;
	size_t i, n;

	if (!v->result)
		return route_show_named(rs, v);
	list = json_array();
	if (v->result & NEXTHOP_IS_GROUP) {
		n = nhg_members(rs->ns, v->result & ~NEXTHOP_IS_GROUP, &m, buckets, NHG_MEMBERS);
		for (i = 0; i < n; i++)
			total += buckets[i];
		for (i = 0; i < n; i++)
			json_array_append_new(
				list, route_show_nexthop(rs, m[i].nexthop, m[i].weight, total ? 100.0 * buckets[i] / total : 0));
	} else if (v->type == NEXTHOP_GATEWAY || v->type == NEXTHOP_CONNECTED) {
		json_array_append_new(list, route_show_nexthop(rs, v->result, 1, -1));
	}
	return list;
}

/* All but the nexthops. */
json_t *route_show_fields(struct routes *rs, const struct rib_view *v)
{
	char text[PREFIX_TEXT];
	json_t *o = json_object();

	set_text(o, "to", prefix_text(&v->to, text));
	set_text(o, "vrf", vrf_name(rs->sw, v->vrf));
	if (v->from >= 0)
		set_text(o, "from_vrf", vrf_name(rs->sw, (uint16_t)v->from));
	if (v->table)
		json_object_set_new(o, "table", json_integer(v->table));
	set_text(o, "protocol", route_protocol_name(v->origin, v->protocol));
	json_object_set_new(o, "metric", json_integer(v->metric));
	json_object_set_new(o, "distance", json_integer(v->distance));
	set_text(o, "type", route_type_name(v->type));
	if (v->mtu)
		json_object_set_new(o, "mtu", json_integer(v->mtu));
	json_object_set_new(o, "active", json_boolean(v->active));
	if (!v->active)
		set_text(o, "reason", v->reason);
	return o;
}

/* ---- the list, in pieces */

#define PIECE_NS    2000000 /* one piece's work */
#define PIECE_BYTES (256u << 10)
#define CLOCK_EVERY 64
#define CACHED	    64 /* ways of which the JSON is kept within a piece: a full table has few */

struct route_list {
	struct routes *rs;
	struct rib_cursor *cursor;
	struct route_filter filter;
	uint16_t vrf;
	bool begun;
	uint32_t left;
	/* within a piece */
	struct evbuffer *out;
	uint64_t end_ns;
	unsigned n;
	uint32_t cached[CACHED];
	json_t *nexthops[CACHED];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool in_prefix(const struct prefix *p, const struct prefix *of)
{
	struct prefix cut = {.addr = p->addr, .family = p->family, .len = of->len};

	if (p->family != of->family || p->len < of->len)
		return false;
	cut = prefix_masked(&cut);
	return !memcmp(&cut.addr, &of->addr, sizeof(cut.addr));
}

static bool leads_by(struct routes *rs, const struct rib_view *v, const struct route_filter *f)
{
	const struct nhg_member *m = NULL;
	const struct nexthop *nh;
	size_t i, n = 1;

	for (i = 0; i < v->n; i++)
		if ((!f->via_family || (v->nexthops[i].family && !memcmp(&v->nexthops[i].gateway, &f->via, sizeof(f->via)))) &&
		    (!f->iface || v->nexthops[i].iface == f->iface))
			return true;
	/* recursive: what the nexthops were worked out to */
	if (v->result & NEXTHOP_IS_GROUP)
		n = nhg_members(rs->ns, v->result & ~NEXTHOP_IS_GROUP, &m, NULL, 0);
	for (i = 0; v->result && i < n; i++) {
		nh = nexthop_at(rs->ns, m ? m[i].nexthop : v->result);
		if (nh && (!f->via_family || !memcmp(&nh->gateway, &f->via, sizeof(f->via))) &&
		    (!f->iface || nh->iface == f->iface))
			return true;
	}
	return false;
}

static bool wanted(const struct route_list *l, const struct rib_view *v)
{
	const struct route_filter *f = &l->filter;

	if (f->vrf && v->vrf != l->vrf)
		return false;
	if (f->protocol && strcmp(f->protocol, route_protocol_name(v->origin, v->protocol)))
		return false;
	if (f->family && v->to.family != f->family)
		return false;
	if (f->inactive && v->active)
		return false;
	if (f->to.family && (f->longer ? !in_prefix(&v->to, &f->to) : v->to.len != f->to.len || !in_prefix(&v->to, &f->to)))
		return false;
	return (!f->via_family && !f->iface) || leads_by(l->rs, v, f);
}

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

	if (wanted(l, v)) {
		route = route_show_fields(l->rs, v);
		json_object_set_new(route, "nexthops", cached_nexthops(l, v));
		text = json_dumps(route, JSON_COMPACT);
		json_decref(route);
		evbuffer_add_printf(l->out, "%s%s", l->begun ? ",\n" : "", text ? text : "{}");
		free(text);
		l->begun = true;
		if (!--l->left)
			return 2;
	}
	if (evbuffer_get_length(l->out) > PIECE_BYTES)
		return 1;
	return ++l->n % CLOCK_EVERY == 0 && now_ns() > l->end_ns;
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
	l->end_ns = now_ns() + PIECE_NS;
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

int route_list(struct sw *sw, const struct route_filter *filter, struct http_stream *ret)
{
	struct route_list *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->rs = sw->routes;
	l->filter = *filter;
	l->left = filter->limit ? filter->limit : UINT32_MAX;
	l->vrf = filter->vrf ? vrf_id(sw, filter->vrf) : 0;
	l->filter.vrf = filter->vrf ? "" : NULL; /* the texts belong to the request; the protocol is one of ours */
	l->filter.protocol = filter->protocol ? route_protocol_known(filter->protocol) : NULL;
	l->cursor = rib_cursor_open(l->rs->rib);
	if (!l->cursor) {
		free(l);
		return -ENOMEM;
	}
	*ret = (struct http_stream){.next = list_next, .free = list_free, .arg = l};
	return 0;
}

json_t *route_status(struct sw *sw)
{
	struct rib_stats s;

	rib_stats(sw->routes->rib, &s);
	return json_pack("{s:I, s:I, s:I}", "known", (json_int_t)s.routes, "in_force", (json_int_t)s.in_force, "refused",
			 (json_int_t)s.refused);
}
