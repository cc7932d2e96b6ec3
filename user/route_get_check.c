/* route_get_check.c: `route get`: addresses that are never routed, and whether the packet came from where its source is: the
 * checks of bpf/route.h and bpf/urpf.h.
 */
#include "route_get_priv.h"

#include <arpa/inet.h>
#include <string.h>

/* ---- addresses that are never routed: route.h's checks */

static void martians4(struct route_get *g)
{
	uint32_t s = ntohl(g->p.saddr.a32[3]), d = ntohl(g->p.daddr.a32[3]);

	g->host = d >> 28 == 0xe || d == UINT32_MAX;
	if (g->has_from && (s >> 28 >= 0xe || s >> 24 == 127 || (s >> 24 == 0 && s) || s == d))
		route_get_drop(g, DROP_ROUTE_MARTIAN_SOURCE);
	if (d >> 28 == 0xf || d >> 24 == 127 || d >> 24 == 0)
		route_get_drop(g, DROP_ROUTE_MARTIAN_DESTINATION);
}

static bool reserved6(const struct addr *a)
{
	return !a->a64[0] && (a->a32[2] == htonl(0xffff) || (!a->a32[2] && ntohl(a->a32[3]) <= 1));
}

static void martians6(struct route_get *g)
{
	const struct addr *s = &g->p.saddr, *d = &g->p.daddr;

	g->host = d->a8[0] == 0xff || addr_is_link_local(d);
	if (g->has_from && (s->a8[0] == 0xff || (reserved6(s) && (s->a64[0] || s->a64[1])) || !memcmp(s, d, sizeof(*s))))
		route_get_drop(g, DROP_ROUTE_MARTIAN_SOURCE);
	if (reserved6(d))
		route_get_drop(g, DROP_ROUTE_MARTIAN_DESTINATION);
	if (!g->drop && g->has_from && addr_is_link_local(s))
		g->host = true;
}

bool route_get_link_local4(const struct addr *a)
{
	return ntohl(a->a32[3]) >> 16 == 0xa9fe;
}

uint32_t route_get_result(const struct route_get *g, uint16_t vrf, const struct addr *a)
{
	return nexthop_now(g->rs->ns, fib_lookup(g->rs->fib, vrf, a));
}

static const struct nexthop *nexthop_of(const struct route_get *g, uint16_t vrf, const struct addr *a)
{
	uint32_t id = route_get_result(g, vrf, a);

	return id && !(id & NEXTHOP_IS_GROUP) ? nexthop_at(g->rs->ns, id) : NULL;
}

/* Somebody who has no address yet may talk to the host alone. */
static void check_unspecified(struct route_get *g)
{
	static const struct addr any6;
	const struct nexthop *to = nexthop_of(g, g->p.vrf, &g->p.daddr);

	if (g->p.family == 4 ? g->p.saddr.a32[3] != 0 : memcmp(&g->p.saddr, &any6, sizeof(any6)) != 0)
		return;
	if (to && to->type == NEXTHOP_LOCAL)
		g->host = true;
	else
		route_get_drop(g, DROP_ROUTE_MARTIAN_SOURCE);
}

void route_get_own_source(struct route_get *g)
{
	const struct nexthop *back = nexthop_of(g, g->p.vrf, &g->p.saddr);

	if (back && back->type == NEXTHOP_LOCAL)
		route_get_drop(g, DROP_ROUTE_OWN_SOURCE);
	else if (back && back->type == NEXTHOP_BROADCAST)
		route_get_drop(g, DROP_ROUTE_BROADCAST_SOURCE);
}

void route_get_martians(struct route_get *g)
{
	if (g->p.family == 4)
		martians4(g);
	else
		martians6(g);
	if (g->has_from && !g->host && !g->drop)
		check_unspecified(g);
}

/* ---- the reverse path */

static bool leads_by(const struct route_get *g, uint32_t result, uint16_t iface)
{
	const struct nexthop *nh = result & NEXTHOP_IS_GROUP ? NULL : nexthop_at(g->rs->ns, result);
	const struct nhg_member *m;
	size_t n;

	if (nh)
		return nh->iface == iface;
	n = nhg_members(g->rs->ns, result & ~NEXTHOP_IS_GROUP, &m, NULL, 0);
	while (n--) {
		nh = nexthop_at(g->rs->ns, m[n].nexthop);
		if (nh && nh->iface == iface)
			return true;
	}
	return false;
}

static enum drop_reason reverse_verdict(const struct route_get *g, uint32_t result, bool strict)
{
	const struct nexthop *nh = result && !(result & NEXTHOP_IS_GROUP) ? nexthop_at(g->rs->ns, result) : NULL;

	if (nh && (nh->type == NEXTHOP_LOCAL || nh->type == NEXTHOP_BROADCAST))
		return DROP_NONE;
	if (!result || (nh && nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED && nh->type != NEXTHOP_HOST))
		return DROP_URPF_NO_ROUTE;
	return strict && !leads_by(g, result, g->p.iface) ? DROP_URPF_OTHER_WAY : DROP_NONE;
}

void route_get_reverse_path(struct route_get *g)
{
	enum drop_reason why = DROP_NONE;
	struct rib_view back;
	char text[PREFIX_TEXT];
	struct iface i;
	json_t *o;

	if (!g->has_from || !g->p.iface || iface_get(g->rs->sw, g->p.iface, &i))
		return;
	if (i.flags & (IFACE_F_RPF_LOOSE | IFACE_F_RPF_STRICT))
		why = reverse_verdict(g, route_get_result(g, g->p.vrf, &g->p.saddr), i.flags & IFACE_F_RPF_STRICT);
	o = json_pack("{s:s, s:s}", "mode",
		      i.flags & IFACE_F_RPF_STRICT  ? "strict"
		      : i.flags & IFACE_F_RPF_LOOSE ? "loose"
						    : "off",
		      "verdict", why ? "drop" : "pass");
	if (!rib_lookup(g->rs->rib, g->p.vrf, &g->p.saddr, &back)) {
		route_get_text(o, "to", prefix_text(&back.to, text));
		json_object_set_new(o, "nexthops", route_show_nexthops(g->rs, &back));
	}
	json_object_set_new(g->o, "reverse_path", o);
	route_get_drop(g, why);
}
