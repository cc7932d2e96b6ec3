/* route_show.c: routes as JSON: `route show`, `route get`. Between the RIB with its tables and whoever asks. */
#include "route_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[NEXTHOP_NONE] = "none",	 [NEXTHOP_GATEWAY] = "unicast",	    [NEXTHOP_CONNECTED] = "unicast",
		[NEXTHOP_LOCAL] = "local",	 [NEXTHOP_BLACKHOLE] = "blackhole", [NEXTHOP_UNREACHABLE] = "unreachable",
		[NEXTHOP_PROHIBIT] = "prohibit", [NEXTHOP_BROADCAST] = "broadcast",
	};

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : "none";
}

static const char *vrf_name(const struct routes *rs, uint16_t vrf)
{
	return vrf < rs->sw->model->n_vrfs ? rs->sw->model->vrfs[vrf].name : "default";
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
	return "resolved";
}

/* A nexthop in use; `share`: its part of a group's buckets, in percent, or negative. */
static json_t *show_used(struct routes *rs, uint32_t id, uint32_t weight, double share)
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

/* One that leads nowhere now, as the route names it. */
static json_t *show_named(struct routes *rs, const struct rib_nexthop *n)
{
	char text[ADDR_TEXT];
	json_t *o = json_object();

	if (n->family)
		set_text(o, "via", addr_text(&n->gateway, text));
	set_text(o, "interface", n->iface ? iface_name(rs->sw, n->iface) : NULL);
	json_object_set_new(o, "weight", json_integer(n->weight));
	set_text(o, "state", n->iface && iface_usable(rs->sw, n->iface) ? "unresolved" : "down");
	return o;
}

static json_t *show_nexthops(struct routes *rs, const struct rib_view *v)
{
	uint32_t buckets[NHG_MEMBERS], total = 0;
	const struct nhg_member *m;
	json_t *list = json_array();
	size_t i, n;

	if (!v->result) {
		for (i = 0; i < v->n; i++)
			json_array_append_new(list, show_named(rs, &v->nexthops[i]));
	} else if (v->result & NEXTHOP_IS_GROUP) {
		n = nhg_members(rs->ns, v->result & ~NEXTHOP_IS_GROUP, &m, buckets, NHG_MEMBERS);
		for (i = 0; i < n; i++)
			total += buckets[i];
		for (i = 0; i < n; i++)
			json_array_append_new(list,
					      show_used(rs, m[i].nexthop, m[i].weight, total ? 100.0 * buckets[i] / total : 0));
	} else if (v->type == NEXTHOP_GATEWAY || v->type == NEXTHOP_CONNECTED) {
		json_array_append_new(list, show_used(rs, v->result, 1, -1));
	}
	return list;
}

static json_t *show_route(struct routes *rs, const struct rib_view *v)
{
	char text[PREFIX_TEXT];
	json_t *o = json_object();

	set_text(o, "to", prefix_text(&v->to, text));
	set_text(o, "vrf", vrf_name(rs, v->vrf));
	set_text(o, "protocol", route_protocol_name(v->source, v->protocol));
	json_object_set_new(o, "metric", json_integer(v->metric));
	json_object_set_new(o, "distance", json_integer(v->distance));
	set_text(o, "type", type_name(v->type));
	if (v->mtu)
		json_object_set_new(o, "mtu", json_integer(v->mtu));
	json_object_set_new(o, "active", json_boolean(v->active));
	if (!v->active)
		set_text(o, "reason", v->reason);
	json_object_set_new(o, "nexthops", show_nexthops(rs, v));
	return o;
}

struct show {
	struct routes *rs;
	json_t *list;
};

static int show_one(const struct rib_view *v, void *arg)
{
	struct show *s = arg;

	return json_array_append_new(s->list, show_route(s->rs, v));
}

json_t *route_show(struct sw *sw)
{
	struct show s = {sw->routes, json_array()};

	rib_each(sw->routes->rib, RIB_SOURCES, show_one, &s);
	return s.list;
}

/* One line: what would become of the packet. */
static void words(struct routes *rs, const struct rib_view *v, const char *dest, char *buf, size_t size)
{
	char text[PREFIX_TEXT], via[ADDR_TEXT];
	const struct nexthop *nh;

	prefix_text(&v->to, text);
	if (v->type == NEXTHOP_LOCAL) {
		snprintf(buf, size, "%s is an address of this host (%s)", dest, text);
	} else if (v->type != NEXTHOP_GATEWAY && v->type != NEXTHOP_CONNECTED) {
		snprintf(buf, size, "%s is dropped: %s %s", dest, type_name(v->type), text);
	} else if (v->result & NEXTHOP_IS_GROUP) {
		snprintf(buf, size, "%s by group %u of route %s: the hash of the connection chooses", dest,
			 v->result & ~NEXTHOP_IS_GROUP, text);
	} else {
		nh = nexthop_at(rs->ns, v->result);
		if (nh->type == NEXTHOP_GATEWAY)
			snprintf(buf, size, "%s via %s on %s by route %s", dest, addr_text(&nh->gateway, via),
				 iface_name(rs->sw, nh->iface), text);
		else
			snprintf(buf, size, "%s is a neighbour on %s by route %s", dest, iface_name(rs->sw, nh->iface), text);
	}
}

json_t *route_get(struct sw *sw, const char *addr, const char *vrf, struct errs *errs)
{
	struct routes *rs = sw->routes;
	char text[ADDR_TEXT], line[256];
	struct rib_view v;
	struct addr a;
	uint8_t family;
	uint32_t result;
	json_t *o;
	uint16_t id;

	if (addr_parse(addr, &a, &family)) {
		errs_fail(errs, EINVAL, "\"%s\" is no address: 192.0.2.1 or 2001:db8::1 would be one", addr);
		return NULL;
	}
	if (!model_vrf(sw->model, vrf)) {
		errs_fail(errs, ENOENT, "there is no VRF \"%s\"", vrf);
		return NULL;
	}
	id = vrf_id(sw, vrf);
	result = fib_lookup(rs->fib, id, &a);
	addr_text(&a, text);
	o = json_object();
	set_text(o, "address", text);
	set_text(o, "vrf", vrf);
	if (rib_lookup(rs->rib, id, &a, &v)) {
		snprintf(line, sizeof(line), "%s has no route", text);
	} else {
		words(rs, &v, text, line, sizeof(line));
		json_object_set_new(o, "route", show_route(rs, &v));
		/* the table that packets see is searched as they do it: it must say what the RIB says */
		if (result != v.result)
			errs_fail(errs, EIO, "the FIB says %#x, the RIB %#x", result, v.result);
	}
	set_text(o, "text", line);
	json_object_set_new(o, "fib", json_integer(result));
	return o;
}
