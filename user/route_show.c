/* route_show.c: routes as JSON. Between the RIB with its tables and whoever asks. */
#include "route_priv.h"
#include "rules_other.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARE_OFF 5 /* percent: what is more is told */

const char *route_type_name(uint8_t type)
{
	static const char *const names[] = {
		[NEXTHOP_NONE] = "none",	 [NEXTHOP_GATEWAY] = "unicast",	    [NEXTHOP_CONNECTED] = "unicast",
		[NEXTHOP_LOCAL] = "local",	 [NEXTHOP_BLACKHOLE] = "blackhole", [NEXTHOP_UNREACHABLE] = "unreachable",
		[NEXTHOP_PROHIBIT] = "prohibit", [NEXTHOP_BROADCAST] = "broadcast", [NEXTHOP_HOST] = "host",
		[NEXTHOP_OUTSIDE] = "outside",
	};

	if (type == RIB_THROW)
		return "throw";
	return type < sizeof(names) / sizeof(names[0]) ? names[type] : "none";
}

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

const char *route_nexthop_state(const struct routes *rs, const struct nexthop *nh)
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
	set_text(o, "name", nexthop_name_of(rs, nh));
	if (nh->type == NEXTHOP_GATEWAY)
		set_text(o, "via", addr_text(&nh->gateway, text));
	set_text(o, "interface", nh->iface ? iface_name(rs->sw, nh->iface) : NULL);
	json_object_set_new(o, "weight", json_integer(weight));
	set_text(o, "state", route_nexthop_state(rs, nh));
	if (nh->flags & NEXTHOP_F_RESOLVED)
		set_text(o, "mac", mac_text(nh->dmac, mac));
	if (nh->drained_s) {
		json_object_set_new(o, "drained_s", json_integer((json_int_t)(state_now_s() - nh->drained_s)));
		json_object_set_new(o, "buckets_in_use", json_integer(nexthop_held(rs->ns, id)));
		json_object_set_new(o, "old_flows", json_integer(nexthop_old_flows(rs->ns, id)));
	}
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
		set_text(o, "state", n->down || (n->iface && !iface_usable(rs->sw, n->iface)) ? "down" : "unresolved");
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
	const struct nexthop *nh = v->members & NEXTHOP_IS_GROUP ? NULL : nexthop_at(rs->ns, v->members);
	uint32_t buckets[NHG_MEMBERS], total = 0;
	const struct nhg_member *m;
	json_t *list;
	size_t i, n;

	if (!v->members)
		return route_show_named(rs, v);
	list = json_array();
	if (v->members & NEXTHOP_IS_GROUP) {
		n = nhg_members(rs->ns, v->members & ~NEXTHOP_IS_GROUP, &m, buckets, NHG_MEMBERS);
		for (i = 0; i < n; i++)
			total += buckets[i];
		for (i = 0; i < n; i++)
			json_array_append_new(list, route_show_nexthop(rs, m[i].nexthop, m[i].weight,
								       total && v->result ? 100.0 * buckets[i] / total : 0));
	} else if (nh && (nh->type == NEXTHOP_GATEWAY || nh->type == NEXTHOP_CONNECTED)) {
		json_array_append_new(list, route_show_nexthop(rs, v->members, 1, -1));
	}
	return list;
}

bool route_in_force(const struct rib_view *v)
{
	return v->active && v->type != NEXTHOP_OUTSIDE;
}

/* Of a route by which nothing can leave: where it would. 0: by none. */
static uint16_t first_iface(const struct routes *rs, const struct rib_view *v)
{
	const struct nhg_member *m = NULL;
	const struct nexthop *nh;

	if (v->members & NEXTHOP_IS_GROUP && !nhg_members(rs->ns, v->members & ~NEXTHOP_IS_GROUP, &m, NULL, 0))
		return 0;
	nh = nexthop_at(rs->ns, m ? m->nexthop : v->members);
	return nh ? nh->iface : 0;
}

const char *route_reason(const struct routes *rs, const struct rib_view *v, char buf[ROUTE_REASON])
{
	const struct link *l = v->outside ? mirror_link(rs->sw->mirror, v->outside) : NULL;
	uint16_t iface;

	if (!v->outside && !v->result && (iface = first_iface(rs, v)) && !iface_host_ifindex(rs->sw, iface)) {
		snprintf(buf, ROUTE_REASON, "the interface %s is absent", iface_name(rs->sw, iface));
		return buf;
	}
	if (!v->outside)
		return v->reason;
	if (iface_id_by_host(rs->sw, v->outside))
		snprintf(buf, ROUTE_REASON, "it encapsulates, which the kernel alone can do");
	else if (l)
		snprintf(buf, ROUTE_REASON, "its interface %s is not the switch's", l->name);
	else
		snprintf(buf, ROUTE_REASON, "its interface is not the switch's");
	return buf;
}

/* Weights that are too unlike for the buckets that a group can have. */
static bool shares_off(const struct routes *rs, const struct rib_view *v, char buf[ROUTE_REASON])
{
	uint32_t off = v->result & NEXTHOP_IS_GROUP ? nhg_off_percent(rs->ns, v->result & ~NEXTHOP_IS_GROUP) : 0;

	if (off <= SHARE_OFF)
		return false;
	snprintf(buf, ROUTE_REASON, "too few buckets for its weights: a nexthop's share is off by %u %%", off);
	return true;
}

/* All but the nexthops. */
json_t *route_show_fields(struct routes *rs, const struct rib_view *v)
{
	char text[PREFIX_TEXT], reason[ROUTE_REASON];
	const struct link *l;
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
	if (*v->group)
		set_text(o, "nexthop", v->group);
	if (v->mtu)
		json_object_set_new(o, "mtu", json_integer(v->mtu));
	json_object_set_new(o, "active", json_boolean(route_in_force(v)));
	if (!route_in_force(v) || v->reason)
		set_text(o, "reason", route_reason(rs, v, reason));
	else if (shares_off(rs, v, reason))
		set_text(o, "reason", reason);
	if (v->outside && (l = mirror_link(rs->sw->mirror, v->outside)))
		set_text(o, "netdev", l->name);
	return o;
}

json_t *route_status(struct sw *sw)
{
	struct rib_stats s;

	rib_stats(sw->routes->rib, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:I}", "known", (json_int_t)s.routes, "in_force",
			 (json_int_t)s.in_force, "refused", (json_int_t)s.refused, "pairs", (json_int_t)s.pairs, "unpaired",
			 (json_int_t)s.unpaired, "left_out", (json_int_t)mirror_left_out(sw->mirror, NULL, NULL), "left_out_more",
			 mirror_left_out_more(sw->mirror), "rules_left_out", (json_int_t)rules_other_count(sw),
			 "audit_differences", (json_int_t)route_audit_differences(sw->routes, false), "audit_repaired",
			 (json_int_t)route_audit_differences(sw->routes, true));
}
