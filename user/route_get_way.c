/* route_get_way.c: `route get`: the route, the member of a group, the neighbour and the port, each from the table that packets
 * see.
 */
#include "route_get_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "clock.h"

/* What of the packet chooses the member, and was not said; NULL: all is known. */
static const char *hash_needs(const struct route_get *g, uint32_t policy)
{
	if (!g->has_from)
		return policy == ECMP_L3 ? "from" : "from, ipproto, sport, dport";
	if (policy != ECMP_L3 && !g->has_proto)
		return "ipproto, and sport and dport if it has any";
	if (policy == ECMP_INNER && nhg_may_be_tunnel(g->p.proto, g->p.dport))
		return "what is inside of the tunnel, which cannot be said here";
	return NULL;
}

/* The bucket is held for a drained nexthop: what has no flow, and gets none, may take that still. */
static bool stays(const struct route_get *g, uint32_t former)
{
	const struct nexthop *nh = nexthop_at(g->rs->ns, former);

	return nh && !g->has_flow && !json_object_get(g->o, "nat") &&
	       !nat_explain_source(g->rs->sw, &g->p, &g->forward, nh->iface).action;
}

static void choose_member(struct route_get *g, uint32_t group)
{
	const struct control *c = g->rs->sw->control;
	struct nhg_flow f = {g->p.saddr, g->p.daddr, g->p.sport, g->p.dport, g->p.proto};
	uint32_t hash, id, next, former = 0, bucket = 0, n = 0;
	const char *needs = hash_needs(g, c->ecmp_hash);
	json_t *o = json_pack("{s:I, s:s}", "id", (json_int_t)group, "hash", model_ecmp_hash_name(c->ecmp_hash));

	json_object_set_new(g->o, "group", o);
	if (needs) {
		route_get_text(o, "needs", needs);
		return;
	}
	hash = nhg_hash(&f, c->ecmp_hash, c->hash_seed);
	id = nhg_choose(g->rs->ns, group, hash, g->has_flow ? g->flow.nexthop : 0, &former, &bucket, &n);
	next = id;
	if (stays(g, former))
		id = nhg_held_choose(g->rs->ns, group, &f, g->p.vrf, (uint8_t)c->ecmp_hash, former, id, clock_now_ns());
	if (!g->nexthop)
		g->nexthop = id;
	json_object_set_new(o, "value", json_integer(hash));
	json_object_set_new(o, "bucket", json_integer(bucket));
	json_object_set_new(o, "buckets", json_integer(n));
	json_object_set_new(o, "nexthop", json_integer(g->nexthop));
	if (former) {
		json_object_set_new(o, "held_for", json_integer(former));
		json_object_set_new(o, "begins_at", json_integer(next));
	}
}

enum drop_reason route_get_refusal(uint8_t type)
{
	switch (type) {
	case NEXTHOP_BLACKHOLE:
		return DROP_ROUTE_BLACKHOLE;
	case NEXTHOP_UNREACHABLE:
		return DROP_ROUTE_UNREACHABLE;
	case NEXTHOP_PROHIBIT:
		return DROP_ROUTE_PROHIBIT;
	case NEXTHOP_BROADCAST:
		return DROP_ROUTE_BROADCAST;
	case NEXTHOP_OUTSIDE:
		return DROP_ROUTE_OUTSIDE;
	default:
		return DROP_ROUTE_NONE;
	}
}

/* A directed broadcast that the interface wants (RFC 2644). */
static bool to_all(const struct route_get *g, uint32_t result)
{
	const struct nexthop *nh = nexthop_at(g->rs->ns, result);

	return nh && nh->type == NEXTHOP_BROADCAST && nh->iface;
}

/* The host's to route: by its own table, if it forwards at all, and past the translation. */
static void host_routes(struct route_get *g)
{
	const char *file = g->p.family == 4 ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding";
	FILE *f;
	int on = '1';

	if (memcmp(&g->to.daddr, &g->p.daddr, sizeof(g->p.daddr)) || g->to.dport != g->p.dport) {
		route_get_drop(g, DROP_ROUTE_OUTSIDE);
		return;
	}
	g->host = !g->drop;
	f = fopen(file, "re");
	if (f) {
		on = getc(f);
		fclose(f);
	}
	if (on == '0')
		route_get_text(g->o, "problem",
			       g->p.family == 4 ? "the host does not forward: net.ipv4.ip_forward is 0"
						: "the host does not forward: net.ipv6.conf.all.forwarding is 0");
}

/* The table that packets see is searched as they do it: it must say what the RIB says. */
void route_get_route(struct route_get *g)
{
	uint32_t result = route_get_result(g, g->to.vrf, &g->to.daddr);
	uint8_t type;
	json_t *o;

	json_object_set_new(g->o, "fib", json_integer(result));
	g->has_route = !rib_lookup(g->rs->rib, g->to.vrf, &g->to.daddr, &g->route);
	if (result != (g->has_route ? g->route.result : 0))
		route_get_text(g->o, "problem", "the FIB does not say what the RIB says: see `sluice route audit`");
	json_object_set_new(g->o, "candidates", route_why(g->rs, g->to.vrf, &g->to.daddr, g->has_route ? &g->route : NULL));
	if (!g->has_route) {
		route_get_drop(g, DROP_ROUTE_NONE);
		return;
	}
	type = g->route.type;
	if (type == RIB_THROW && nexthop_at(g->rs->ns, result)) /* another table's route leads on */
		type = nexthop_at(g->rs->ns, result)->type;
	o = route_show_fields(g->rs, &g->route);
	json_object_set_new(o, "nexthops", route_show_nexthops(g->rs, &g->route));
	json_object_set_new(g->o, "route", o);
	o = route_recursion(g->rs, &g->route);
	if (o)
		json_object_set_new(g->o, "recursion", o);
	if (!g->nexthop && g->p.family == 4 && type != NEXTHOP_LOCAL &&
	    (route_get_link_local4(&g->to.daddr) || (g->has_from && route_get_link_local4(&g->p.saddr))))
		route_get_drop(g, DROP_ROUTE_LINK_LOCAL);
	if (result & NEXTHOP_IS_GROUP)
		choose_member(g, result & ~NEXTHOP_IS_GROUP);
	else if (type == NEXTHOP_LOCAL)
		g->host = !g->drop;
	else if (type == NEXTHOP_HOST)
		host_routes(g);
	else if (type != NEXTHOP_GATEWAY && type != NEXTHOP_CONNECTED && !to_all(g, result))
		route_get_drop(g, route_get_refusal(type));
	else if (!g->nexthop)
		g->nexthop = result;
}

static const char *neighbor_state(struct route_get *g, const struct nexthop *nh, const struct addr *a, uint8_t mac[6])
{
	int r = neighbor_get(g->rs->sw, nh->iface, a, mac);

	if (r == -EHOSTUNREACH || (r && nh->type == NEXTHOP_GATEWAY && nh->flags & NEXTHOP_F_FAILED))
		return "failed";
	if (r)
		return "unresolved";
	return neighbor_stale(g->rs->sw, nh->iface, a) ? "stale" : "resolved";
}

static json_t *show_neighbor(struct route_get *g, const struct nexthop *nh, uint8_t mac[6], bool *ret_known)
{
	const struct addr *a = nh->type == NEXTHOP_GATEWAY ? &nh->gateway : &g->to.daddr;
	const char *state = neighbor_state(g, nh, a, mac);
	char text[ADDR_TEXT], mac_buf[MAC_TEXT];
	json_t *o = json_pack("{s:s, s:s}", "address", addr_text(a, text), "state", state);

	*ret_known = strcmp(state, "failed") && strcmp(state, "unresolved");
	if (*ret_known)
		route_get_text(o, "mac", mac_text(mac, mac_buf));
	else if (!strcmp(state, "failed"))
		route_get_drop(g, DROP_NEIGHBOR_FAILED);
	return o;
}

void route_get_out(struct route_get *g)
{
	const struct nexthop *nh = g->nexthop ? nexthop_at(g->rs->ns, g->nexthop) : NULL;
	const struct port *port;
	struct iface i;
	uint16_t id;
	uint8_t mac[6];
	bool known = false;
	json_t *o;

	if (!nh || g->drop || g->host)
		return;
	if (iface_get(g->rs->sw, nh->iface, &i) || !i.port) {
		route_get_drop(g, DROP_ROUTE_IFACE_GONE);
		return;
	}
	o = json_pack("{s:I, s:s?, s:I}", "nexthop", (json_int_t)g->nexthop, "interface", iface_name(g->rs->sw, nh->iface), "mtu",
		      (json_int_t)(nh->mtu && nh->mtu < i.mtu ? nh->mtu : i.mtu));
	if (nh->type != NEXTHOP_BROADCAST)
		json_object_set_new(o, "neighbor", show_neighbor(g, nh, mac, &known));
	id = i.vlan ? (known ? fdb_port_of(g->rs->sw, mac, i.vlan) : 0) : i.port;
	if (i.vlan)
		json_object_set_new(o, "vlan", json_integer(i.vlan));
	json_object_set_new(o, "port", id ? json_string(port_name(g->rs->sw, id)) : json_null());
	json_object_set_new(g->o, "out", o);
	port = id ? port_entry(g->rs->sw, id) : NULL;
	if (port && port->flags & PORT_F_DOWN)
		route_get_drop(g, DROP_EGRESS_PORT_DOWN);
}
