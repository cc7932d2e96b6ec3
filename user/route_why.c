/* route_why.c: why a route was chosen and the others were not, and by which routes its gateways are reached. Between the RIB and
 * route_get.c.
 */
#include "route_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CANDIDATES 100

struct why {
	struct routes *rs;
	const struct rib_view *chosen;
	json_t *list;
};

static bool same_prefix(const struct rib_view *a, const struct rib_view *b)
{
	return a->to.len == b->to.len;
}

/* Of two routes for one prefix, in the order that rib.c compares in. */
static void lost_by(const struct rib_view *v, const struct rib_view *c, char *buf, size_t size)
{
	if (v->from >= 0 && c->from < 0)
		snprintf(buf, size, "a VRF's own route is better than an imported one");
	else if (v->distance != c->distance)
		snprintf(buf, size, "its distance %u is more than %u", v->distance, c->distance);
	else if (v->rank != c->rank)
		snprintf(buf, size,
			 v->from >= 0 ? "its import comes later in the list" : "its table comes later in the list of the VRF");
	else if (v->metric != c->metric)
		snprintf(buf, size, "its metric %u is more than %u", v->metric, c->metric);
	else
		snprintf(buf, size, "%s routes come first", route_protocol_name(c->origin, c->protocol));
}

static void why_not(const struct why *w, const struct rib_view *v, char *buf, size_t size)
{
	char text[PREFIX_TEXT], reason[ROUTE_REASON];

	if (v->outside && (!w->chosen || v->to.len >= w->chosen->to.len))
		snprintf(buf, size, "%s", route_reason(w->rs, v, reason));
	else if (!v->result && v->reason)
		snprintf(buf, size, "%s", route_reason(w->rs, v, reason));
	else if (!w->chosen || (v->to.len > w->chosen->to.len && v->reason))
		snprintf(buf, size, "%s", v->reason ? v->reason : "");
	else if (!same_prefix(v, w->chosen))
		snprintf(buf, size, "%s is longer", prefix_text(&w->chosen->to, text));
	else
		lost_by(v, w->chosen, buf, size);
}

static int look(const struct rib_view *v, void *arg)
{
	struct why *w = arg;
	char text[160] = "";
	json_t *o;

	if (json_array_size(w->list) == CANDIDATES)
		return 1;
	if (w->chosen && same_prefix(v, w->chosen) && v->active)
		return 0;
	o = route_show_fields(w->rs, v);
	json_object_set_new(o, "nexthops", route_show_named(w->rs, v));
	why_not(w, v, text, sizeof(text));
	json_object_set_new(o, "why", json_string(text));
	json_array_append_new(w->list, o);
	return 0;
}

json_t *route_why(struct routes *rs, uint16_t vrf, const struct addr *a, const struct rib_view *chosen)
{
	struct why w = {.rs = rs, .chosen = chosen, .list = json_array()};
	struct prefix p = {.addr = *a, .family = addr_family(a)};
	int len;

	for (len = p.family == 4 ? 32 : 128; len >= 0; len--) {
		p.len = (uint8_t)len;
		if (rib_each_of(rs->rib, vrf, &p, look, &w) > 0)
			break;
	}
	return w.list;
}

static void steps(struct routes *rs, uint16_t vrf, const struct rib_view *v, json_t *list, unsigned depth)
{
	char via[ADDR_TEXT], to[PREFIX_TEXT];
	struct rib_view by;
	size_t i;

	for (i = 0; i < v->n && depth <= RIB_DEPTH && json_array_size(list) < CANDIDATES; i++) {
		const struct rib_nexthop *n = &v->nexthops[i];

		if (!n->family || n->iface || rib_gateway(rs->rib, vrf, &n->gateway, &by))
			continue;
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "gateway", addr_text(&n->gateway, via), "to",
						      prefix_text(&by.to, to), "protocol",
						      route_protocol_name(by.origin, by.protocol)));
		steps(rs, by.from >= 0 ? (uint16_t)by.from : vrf, &by, list, depth + 1);
	}
}

json_t *route_recursion(struct routes *rs, const struct rib_view *v)
{
	json_t *list;

	if (!v->recursive)
		return NULL;
	list = json_array();
	steps(rs, v->from >= 0 ? (uint16_t)v->from : v->vrf, v, list, 1);
	return list;
}
