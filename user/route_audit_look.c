/* route_audit_look.c: one address in two tables: the FIB beside the RIB, the kernel beside the RIB. See route_audit.h. */
#include "route_audit.h"
#include "rules_other.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#define ASK_NEXTHOPS 256

void audit_result_text(struct routes *rs, uint32_t result, char *buf, size_t size)
{
	static const char *const types[] = {
		[NEXTHOP_LOCAL] = "to the host",
		[NEXTHOP_BLACKHOLE] = "to a blackhole",
		[NEXTHOP_UNREACHABLE] = "to unreachable",
		[NEXTHOP_PROHIBIT] = "to prohibit",
		[NEXTHOP_BROADCAST] = "to nobody: a broadcast address",
		[NEXTHOP_HOST] = "to the host, which routes it",
		[NEXTHOP_OUTSIDE] = "to nobody: by a netdev that is not the switch's",
	};
	uint32_t id = result & ~NEXTHOP_IS_GROUP;
	const struct nexthop *nh = id == result ? nexthop_at(rs->ns, id) : NULL;
	uint32_t first, second;
	char via[ADDR_TEXT], *end;

	if (nexthop_is_pair(rs->ns, result, &first, &second)) {
		audit_result_text(rs, first, buf, size);
		end = strchr(buf, 0);
		snprintf(end, size - (size_t)(end - buf), " or else ");
		end = strchr(buf, 0);
		audit_result_text(rs, second, end, size - (size_t)(end - buf));
	} else if (!result)
		snprintf(buf, size, "nowhere");
	else if (id != result)
		snprintf(buf, size, "by group %u", id);
	else if (!nh)
		snprintf(buf, size, "by nexthop %u, which there is not", id);
	else if (nh->type == NEXTHOP_GATEWAY)
		snprintf(buf, size, "via %s on %s", addr_text(&nh->gateway, via), iface_name(rs->sw, nh->iface));
	else if (nh->type == NEXTHOP_CONNECTED)
		snprintf(buf, size, "to %s", iface_name(rs->sw, nh->iface));
	else
		snprintf(buf, size, "%s",
			 nh->type < sizeof(types) / sizeof(types[0]) && types[nh->type] ? types[nh->type] : "nowhere");
}

void audit_look_fib(struct routes *rs, uint16_t vrf, const struct addr *a, struct audit_look *ret)
{
	struct rib_view v;

	memset(ret, 0, sizeof(*ret));
	ret->fib = fib_lookup(rs->fib, vrf, a);
	if (!rib_lookup(rs->rib, vrf, a, &v)) {
		ret->rib = nexthop_now(rs->ns, v.fib) == v.result ? v.fib : v.result;
		ret->to = v.to;
	} else {
		ret->to.family = addr_family(a);
		if (ret->to.family == 4)
			ret->to.addr = addr_v4(0);
	}
	ret->differs = ret->fib != ret->rib;
	ret->said = (uint64_t)ret->fib << 32 | ret->rib;
}

/* ---- the kernel */

/* The same ways out, whatever their order; whether one is down is known to the mirror alone. */
static bool same_ways(const struct rib_view *v, const struct rib_route_spec *spec)
{
	size_t i, k;

	if (v->n != spec->n)
		return false;
	for (i = 0; i < v->n; i++) {
		for (k = 0; k < spec->n; k++)
			if (v->nexthops[i].family == spec->nexthops[k].family &&
			    v->nexthops[i].iface == spec->nexthops[k].iface &&
			    v->nexthops[i].weight == spec->nexthops[k].weight &&
			    (!v->nexthops[i].family ||
			     !memcmp(&v->nexthops[i].gateway, &spec->nexthops[k].gateway, sizeof(struct addr))))
				break;
		if (k == spec->n)
			return false;
	}
	return true;
}

static uint64_t mix_ways(uint64_t s, const struct rib_nexthop *nh, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s += hash_mix_bytes((uint64_t)nh[i].iface << 16 | nh[i].weight, &nh[i].gateway, sizeof(nh[i].gateway));
	return s;
}

static void ways_text(struct routes *rs, int outside, const struct rib_nexthop *nh, size_t n, char *buf, size_t size)
{
	char via[ADDR_TEXT];

	if (outside)
		snprintf(buf, size, "a route by netdev %d, which is not the switch's", outside);
	else if (!n)
		snprintf(buf, size, "a route that drops");
	else if (n > 1)
		snprintf(buf, size, "%zu nexthops, one of them via %s", n, addr_text(&nh->gateway, via));
	else
		snprintf(buf, size, "%s%s%s%s", nh->family ? "via " : "to ", nh->family ? addr_text(&nh->gateway, via) : "",
			 nh->family && nh->iface ? " on " : "", nh->iface ? iface_name(rs->sw, nh->iface) : "");
}

/* A kernel route is in force for the address, and the kernel does not answer with it or with a longer one. */
static void missing(const struct rib_view *v, const struct prefix *kernel, struct audit_look *ret)
{
	char text[PREFIX_TEXT];

	ret->differs = true;
	ret->to = v->to;
	ret->said = hash_mix(v->to.len, kernel ? kernel->len : 255);
	snprintf(ret->own, sizeof(ret->own), "route %s of the kernel", prefix_text(&v->to, text));
	snprintf(ret->other, sizeof(ret->other), "%s%s", kernel ? "no longer route than " : "no route",
		 kernel ? prefix_text(kernel, text) : "");
}

/* The kernel's answer is a route that the RIB is to have: it must be there, and lead the same ways. */
static void compare(struct routes *rs, const struct rib_route_spec *spec, struct audit_look *ret)
{
	struct rib_view v;
	bool known = !rib_find(rs->rib, spec, &v);

	if (known && (v.type == spec->type || (v.type == NEXTHOP_CONNECTED && spec->type == NEXTHOP_GATEWAY)) &&
	    v.outside == spec->outside && same_ways(&v, spec))
		return;
	ret->differs = true;
	ret->to = spec->to;
	ret->said = mix_ways(hash_mix(hash_mix(spec->to.len, spec->metric), (uint32_t)spec->outside), spec->nexthops, spec->n);
	ways_text(rs, spec->outside, spec->nexthops, spec->n, ret->other, sizeof(ret->other));
	if (known) {
		ret->said = mix_ways(hash_mix(ret->said, v.type), v.nexthops, v.n);
		ways_text(rs, v.outside, v.nexthops, v.n, ret->own, sizeof(ret->own));
	} else {
		snprintf(ret->own, sizeof(ret->own), "no such route");
	}
}

bool audit_can_ask(const struct routes *rs, uint16_t vrf)
{
	return !vrf || vrf_mark_get(rs->sw, vrf);
}

/* The table's route for the address, if it has any, is the kernel's answer. */
static bool asked_first(const struct routes *rs, uint16_t vrf, uint32_t table)
{
	return table == (vrf ? route_table_of_vrf(rs, vrf) : RT_TABLE_MAIN);
}

/* No rule of ours leads there. */
static bool by_rule(const struct routes *rs, uint16_t vrf, uint32_t table)
{
	uint16_t of;
	uint8_t rank;

	if (table == RT_TABLE_LOCAL || table == RT_TABLE_MAIN)
		return false;
	return !vrf_of_table(rs->sw, table, &of, &rank) || (!vrf && of);
}

void audit_look_kernel(struct routes *rs, uint16_t vrf, const struct addr *a, struct audit_look *ret)
{
	struct rib_nexthop nh[ASK_NEXTHOPS];
	struct rib_route_spec spec;
	struct rib_view v;
	struct kroute k;
	bool own = !rib_lookup(rs->rib, vrf, a, &v) && v.source == RIB_KERNEL && asked_first(rs, vrf, v.table) &&
		   (v.type == NEXTHOP_GATEWAY || v.outside || v.type == RIB_THROW);
	bool throws = own && v.type == RIB_THROW; /* the answer, if any, is another table's */
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!audit_can_ask(rs, vrf) || route_never(a, addr_family(a)))
		return;
	r = mirror_ask(rs->sw->mirror, a, vrf_mark_get(rs->sw, vrf), &k);
	ret->by_rule = r == -ENETUNREACH ? own && !throws && rules_other_refuse(rs->sw) : !r && by_rule(rs, vrf, k.table);
	if (ret->by_rule)
		return;
	if (r == -ENETUNREACH && own && !throws)
		missing(&v, NULL, ret);
	if (r || k.n_nexthops > ASK_NEXTHOPS)
		return;
	/* while there are no routing rules, the two tables are one for IPv4, which the kernel calls main */
	if ((k.type == RTN_LOCAL || k.type == RTN_BROADCAST || k.type == RTN_ANYCAST) && k.table == RT_TABLE_MAIN)
		k.table = RT_TABLE_LOCAL;
	if (k.table == RT_TABLE_LOCAL ? vrf : !vrf && k.table != RT_TABLE_MAIN)
		return; /* an address of another VRF; a table behind main */
	if (own && (throws ? k.table == v.table && v.to.len >= k.to.len
			   : v.to.len > k.to.len || (k.table != RT_TABLE_LOCAL && k.table != v.table)))
		missing(&v, &k.to, ret);
	else if (!route_kernel_spec(rs, &k, &spec, nh) && (spec.vrf == vrf || spec.source == RIB_HOST))
		compare(rs, &spec, ret);
}
