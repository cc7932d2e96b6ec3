/* route_get_nat.c: `route get`: the flow that a packet belongs to, or what the rules of NAT make of its addresses: the answers of
 * flow.c and nat_explain.c.
 */
#include "route_get_priv.h"

#include <arpa/inet.h>
#include <string.h>

static json_t *show_found(const struct nat_found *f, const struct addr *was)
{
	static const struct addr none;
	char text[ADDR_TEXT];
	json_t *o;

	if (!f->action)
		return NULL;
	o = json_pack("{s:s}", "action", f->action);
	route_get_text(o, "rule", f->rule);
	if (memcmp(&f->addr, &none, sizeof(none)) && memcmp(&f->addr, was, sizeof(*was)))
		route_get_text(o, "address", addr_text(&f->addr, text));
	if (f->port)
		json_object_set_new(o, "port", json_integer(ntohs(f->port)));
	return o;
}

static void put_found(struct route_get *g, const char *key, const struct nat_found *f, const struct addr *was)
{
	json_t *o = show_found(f, was), *nat = json_object_get(g->o, "nat");

	if (!o)
		return;
	if (!nat)
		json_object_set_new(g->o, "nat", nat = json_object());
	json_object_set_new(nat, key, o);
}

/* A packet of a flow goes the flow's way, if that was decided under what is in force now. */
void route_get_flow(struct route_get *g)
{
	const char *rule;
	bool current;

	if (!g->has_from || !g->has_proto || flow_of(g->rs->sw, &g->p, &g->flow))
		return;
	g->has_flow = true;
	current = g->flow.epoch && g->flow.epoch == g->rs->sw->control->epoch;
	g->to.daddr = g->p.family == 4 ? addr_v4(g->flow.daddr4) : g->flow.daddr6;
	g->to.dport = g->flow.dport;
	if (g->flow.flags & FLOW_F_VRF)
		g->to.vrf = g->flow.peer_vrf;
	if (current)
		g->nexthop = g->flow.nexthop;
	rule = nat_rule_name(g->rs->sw, g->flow.rule);
	json_object_set_new(
		g->o, "flow",
		json_pack("{s:s?, s:b, s:I}", "rule", rule, "current", current, "nexthop", (json_int_t)g->flow.nexthop));
}

void route_get_destination(struct route_get *g)
{
	static const struct addr none;
	struct nat_found *f = &g->forward;

	if (g->has_flow || g->host || g->drop)
		return;
	*f = nat_explain_destination(g->rs->sw, &g->p);
	put_found(g, "destination", f, &none);
	if (f->action && !strcmp(f->action, "filtered"))
		route_get_drop(g, DROP_NAT_FILTERED);
	else if (f->action)
		g->to.daddr = f->addr;
	if (f->port)
		g->to.dport = f->port;
	g->to.vrf = f->vrf;
	if (f->hairpin)
		route_get_text(json_object_get(g->o, "nat"), "hairpin",
			       f->hairpin == NAT_OUTSIDE_ANY ? "any" : iface_name(g->rs->sw, f->hairpin));
}

void route_get_source(struct route_get *g)
{
	static const struct addr none;
	const struct nexthop *nh = nexthop_at(g->rs->ns, g->nexthop);
	struct nat_found f;

	if (!g->has_from || g->has_flow || !nh || g->drop)
		return;
	if (g->forward.may_hairpin) {
		json_object_set_new(json_object_get(g->o, "nat"), "source", json_pack("{s:s}", "needs", "iif"));
		return;
	}
	f = nat_explain_source(g->rs->sw, &g->p, &g->forward, nh->iface);
	put_found(g, "source", &f, &none);
}
