/* route_get.c: which way the first packet of a connection would go, and why: `sluice route get`. Between the API and all that has
 * a say in it: the RIB, the tables that packets see, NAT, flows, neighbours.
 *
 * The stages are those of bpf/pipeline.h, in its order, on the same tables; the first one that drops the packet decides. What the
 * question does not say (no source, no protocol) is not guessed: the stages that need it are left out.
 */
#include "route_get_priv.h"

#include <stdio.h>
#include <string.h>

static const char *const drop_names[] = {
#define X(id, name, text) name,
	SLUICE_DROP_REASONS(X)
#undef X
};

static const char *const drop_texts[] = {
#define X(id, name, text) text,
	SLUICE_DROP_REASONS(X)
#undef X
};

void route_get_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

void route_get_drop(struct route_get *g, enum drop_reason why)
{
	if (!g->drop && !g->host)
		g->drop = why;
}

/* One line: what would become of the packet. */
static void words(struct route_get *g, char *buf, size_t size)
{
	const struct nexthop *nh = g->nexthop ? nexthop_at(g->rs->ns, g->nexthop) : NULL;
	char text[PREFIX_TEXT] = "", via[ADDR_TEXT], dest[2 * ADDR_TEXT + 8], reason[ROUTE_REASON];
	const struct link *l = g->has_route && g->route.outside ? mirror_link(g->rs->sw->mirror, g->route.outside) : NULL;

	addr_text(&g->p.daddr, dest);
	if (memcmp(&g->to.daddr, &g->p.daddr, sizeof(g->p.daddr)))
		snprintf(dest + strlen(dest), sizeof(dest) - strlen(dest), " (to %s)", addr_text(&g->to.daddr, via));
	if (g->has_route)
		prefix_text(&g->route.to, text);
	if (g->drop == DROP_ROUTE_NONE && g->has_route && g->route.type == RIB_THROW)
		snprintf(buf, size, "%s has no route behind throw %s", dest, text);
	else if (g->drop == DROP_ROUTE_NONE)
		snprintf(buf, size, "%s has no route", dest);
	else if (g->drop == DROP_ROUTE_OUTSIDE && g->route.type == NEXTHOP_OUTSIDE)
		snprintf(buf, size, "%s is dropped: the kernel's route %s is not in force: %s", dest, text,
			 route_reason(g->rs, &g->route, reason));
	else if (g->drop && g->has_route && route_get_refusal(g->route.type) == g->drop)
		snprintf(buf, size, "%s is dropped: %s %s", dest, route_type_name(g->route.type), text);
	else if (g->drop)
		snprintf(buf, size, "%s is dropped: %s", dest, drop_texts[g->drop]);
	else if (g->host && g->has_route && g->route.type == NEXTHOP_HOST)
		snprintf(buf, size, "%s is the host's to route, by %s (%s)", dest, l ? l->name : "?", text);
	else if (g->host && g->has_route)
		snprintf(buf, size, "%s is an address of this host (%s)", dest, text);
	else if (g->host)
		snprintf(buf, size, "%s is the host's to answer", dest);
	else if (!nh)
		snprintf(buf, size, "%s by group %u of route %s: the hash of the connection chooses", dest,
			 g->route.result & ~NEXTHOP_IS_GROUP, text);
	else if (nh->type == NEXTHOP_BROADCAST)
		snprintf(buf, size, "%s goes to all on %s, by its broadcast address", dest, iface_name(g->rs->sw, nh->iface));
	else if (nh->type == NEXTHOP_GATEWAY)
		snprintf(buf, size, "%s via %s on %s by route %s", dest, addr_text(&nh->gateway, via),
			 iface_name(g->rs->sw, nh->iface), text);
	else
		snprintf(buf, size, "%s is a neighbour on %s by route %s", dest, iface_name(g->rs->sw, nh->iface), text);
}

static void explain(struct route_get *g)
{
	g->to = g->p;
	route_get_martians(g);
	if (g->host || g->drop)
		return;
	route_get_reverse_path(g);
	route_get_flow(g);
	if (g->has_from && !g->has_flow)
		route_get_own_source(g);
	route_get_destination(g);
	route_get_route(g);
	route_get_out(g);
	route_get_source(g);
}

json_t *route_get(struct sw *sw, const struct route_query *q, struct errs *errs)
{
	struct route_get g = {.rs = sw->routes, .o = json_object()};
	char line[256];

	if (route_get_parse(&g, q, errs)) {
		json_decref(g.o);
		return NULL;
	}
	route_get_repeat(&g);
	explain(&g);
	words(&g, line, sizeof(line));
	route_get_text(g.o, "text", line);
	route_get_text(g.o, "verdict", g.drop ? "drop" : g.host ? "host" : "forward");
	if (g.drop) {
		route_get_text(g.o, "drop", drop_names[g.drop]);
		route_get_text(g.o, "why", drop_texts[g.drop]);
	}
	return g.o;
}
