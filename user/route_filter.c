/* route_filter.c: which routes a listing shows: the words of a request, and whether a route answers to them. */
#include "route_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	if (v->members & NEXTHOP_IS_GROUP)
		n = nhg_members(rs->ns, v->members & ~NEXTHOP_IS_GROUP, &m, NULL, 0);
	for (i = 0; v->members && i < n; i++) {
		nh = nexthop_at(rs->ns, m ? m[i].nexthop : v->members);
		if (nh && (!f->via_family || !memcmp(&nh->gateway, &f->via, sizeof(f->via))) &&
		    (!f->iface || nh->iface == f->iface))
			return true;
	}
	return false;
}

static bool by_place(const struct route_filter *f, const struct prefix *to)
{
	if (f->to_default)
		return f->how == ROUTE_WITHIN || !to->len;
	switch (f->how) {
	case ROUTE_EXACT:
		return to->len == f->to.len && in_prefix(to, &f->to);
	case ROUTE_WITHIN:
		return in_prefix(to, &f->to);
	default:
		return in_prefix(&f->to, to);
	}
}

bool route_filter_holds(struct routes *rs, const struct route_filter *f, const struct rib_view *v)
{
	if (f->has_vrf && v->vrf != f->vrf)
		return false;
	if (f->protocol && strcmp(f->protocol, route_protocol_name(v->origin, v->protocol)))
		return false;
	if (f->type && strcmp(f->type, route_type_name(v->type)))
		return false;
	if ((f->family && v->to.family != f->family) || (f->table && v->table != f->table))
		return false;
	if ((f->inactive && route_in_force(v)) || (f->active && !route_in_force(v)))
		return false;
	if ((f->to.family || f->to_default) && !by_place(f, &v->to))
		return false;
	return (!f->via_family && !f->iface) || leads_by(rs, v, f);
}

bool route_filter_same(const struct route_filter *a, const struct route_filter *b)
{
	return a->protocol == b->protocol && a->type == b->type && a->to_default == b->to_default &&
	       a->to.family == b->to.family && a->to.len == b->to.len && !memcmp(&a->to.addr, &b->to.addr, sizeof(a->to.addr)) &&
	       a->how == b->how && a->has_vrf == b->has_vrf && a->vrf == b->vrf && a->active == b->active &&
	       a->inactive == b->inactive && a->family == b->family && a->via_family == b->via_family &&
	       !memcmp(&a->via, &b->via, sizeof(a->via)) && a->iface == b->iface && a->table == b->table;
}

/* ---- the words of a request */

static bool flag(const struct http_request *rq, const char *name)
{
	const char *value = http_query(rq, name);

	return value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

static int parse_numbers(const struct http_request *rq, struct route_filter *f, struct errs *errs)
{
	const char *table = http_query(rq, "table"), *family = http_query(rq, "family");

	if (table && u32_parse(table, 1, UINT32_MAX, &f->table))
		return errs_fail(errs, EINVAL, "table: '%.32s' is not a number in 1..%u", table, UINT32_MAX);
	if (family && family_parse(family, &f->family))
		return errs_fail(errs, EINVAL, "family: '%.32s' is not 4 or 6", family);
	return 0;
}

/* ?to=PREFIX, ?longer=PREFIX or ?match=PREFIX, the way `ip route show` has `exact`, `root` and `match`.
 * PREFIX may be `default`: of both families. */
static int parse_place(const struct http_request *rq, struct route_filter *f, struct errs *errs)
{
	static const char *const names[] = {[ROUTE_EXACT] = "to", [ROUTE_WITHIN] = "longer", [ROUTE_AROUND] = "match"};
	const char *value;
	int how;

	for (how = ROUTE_EXACT; how <= ROUTE_AROUND; how++) {
		value = http_query(rq, names[how]);
		if (!value)
			continue;
		if (f->to.family || f->to_default)
			return errs_fail(errs, EINVAL, "one of `to`, `longer` and `match`, not two");
		f->to_default = !strcmp(value, "default");
		if (!f->to_default && prefix_parse(value, 0, false, &f->to))
			return errs_fail(errs, EINVAL,
					 "'%.64s' is no prefix: 192.0.2.0/24, 2001:db8::/32 or default would be one", value);
		if (!f->to_default)
			f->to = prefix_masked(&f->to);
		f->how = (uint8_t)how;
	}
	return 0;
}

static int parse_way(struct sw *sw, const struct http_request *rq, struct route_filter *f, struct errs *errs)
{
	const char *via = http_query(rq, "via"), *iface = http_query(rq, "interface");

	if (via && addr_parse(via, &f->via, &f->via_family))
		return errs_fail(errs, EINVAL, "'%.64s' is no address: 192.0.2.1 or 2001:db8::1 would be one", via);
	if (iface && !(f->iface = iface_id(sw, iface)))
		return errs_fail(errs, ENOENT, "there is no interface '%.32s'", iface);
	return 0;
}

static int parse_names(struct sw *sw, const struct http_request *rq, struct route_filter *f, struct errs *errs)
{
	const char *vrf = http_query(rq, "vrf"), *protocol = http_query(rq, "protocol"), *type = http_query(rq, "type");
	char names[ROUTE_PROTOCOLS];
	int t;

	if (vrf && !model_vrf(sw->model, vrf))
		return errs_fail(errs, ENOENT, "there is no VRF '%.32s'", vrf);
	f->has_vrf = vrf;
	f->vrf = vrf ? vrf_id(sw, vrf) : 0;
	f->protocol = protocol ? route_protocol_known(protocol) : NULL;
	if (protocol && !f->protocol)
		return errs_fail(errs, EINVAL, "no route has the protocol '%.32s': %s, or a number up to 255", protocol,
				 route_protocol_names(names));
	f->type = type && !strcmp(type, route_type_name(RIB_THROW)) ? route_type_name(RIB_THROW) : NULL;
	for (t = NEXTHOP_GATEWAY; type && !f->type && t <= NEXTHOP_OUTSIDE; t++)
		if (!strcmp(type, route_type_name((uint8_t)t)))
			f->type = route_type_name((uint8_t)t);
	if (type && !f->type)
		return errs_fail(errs, EINVAL,
				 "'%.32s' is no type of route: unicast, local, blackhole, unreachable, prohibit, broadcast, "
				 "host, outside or throw",
				 type);
	return 0;
}

int route_filter_parse(struct sw *sw, const struct http_request *rq, struct route_filter *ret, struct errs *errs)
{
	int r;

	*ret = (struct route_filter){.active = flag(rq, "active"), .inactive = flag(rq, "inactive")};
	if (ret->active && ret->inactive)
		return errs_fail(errs, EINVAL, "`active` or `inactive`, not both");
	r = parse_place(rq, ret, errs);
	if (!r)
		r = parse_way(sw, rq, ret, errs);
	if (!r)
		r = parse_names(sw, rq, ret, errs);
	if (!r)
		r = page_query(rq, &ret->limit, &ret->after, errs);
	if (!r)
		r = parse_numbers(rq, ret, errs);
	return r;
}
