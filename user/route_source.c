/* route_source.c: the sources of routes: addresses of the interfaces, the configuration, the kernel's tables. Between model,
 * mirror and the RIB (rib.h).
 */
#include "globs.h"
#include "route_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

/* Administrative distances of kernel routes by who put them there, as routers are used to them. */
static const struct {
	uint8_t protocol, distance;
	const char *name;
} protocols[] = {
	{RTPROT_BGP, 20, "bgp"},   {RTPROT_EIGRP, 90, "eigrp"},	 {RTPROT_OSPF, 110, "ospf"},	{RTPROT_ISIS, 115, "isis"},
	{RTPROT_RIP, 120, "rip"},  {RTPROT_BABEL, 100, "babel"}, {RTPROT_BIRD, 20, "bird"},	{RTPROT_ZEBRA, 20, "zebra"},
	{RTPROT_DHCP, 10, "dhcp"}, {RTPROT_RA, 10, "ra"},	 {RTPROT_KERNEL, 10, "kernel"},
};

/* The others that iproute2 has names for; their distance is KERNEL_DISTANCE. `static` is what `ip route add … proto static` says,
 * like the configuration's own; those of the kernel have a table. */
static const struct {
	uint8_t protocol;
	const char *name;
} other_protocols[] = {
	{RTPROT_REDIRECT, "redirect"}, {RTPROT_BOOT, "boot"}, {RTPROT_STATIC, "static"},
	{RTPROT_GATED, "gated"},       {RTPROT_MRT, "mrt"},   {RTPROT_NTK, "ntk"},
	{RTPROT_DNROUTED, "dnrouted"}, {RTPROT_XORP, "xorp"}, {RTPROT_KEEPALIVED, "keepalived"},
	{RTPROT_OPENR, "openr"},
};

#define KERNEL_DISTANCE 10
#define REREAD_PIECE	256 /* routes between two looks at the clock */
#define STATIC_PIECE	64

static uint8_t distance_of(uint8_t protocol)
{
	size_t i;

	for (i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (protocols[i].protocol == protocol)
			return protocols[i].distance;
	return KERNEL_DISTANCE;
}

static const char *const source_names[RIB_IMPORT] = {"local", "local", "connected", "static", "nat", "kernel"};

/* i = 0…: every name there is, some of them twice; NULL: that was the last. */
static const char *name_at(size_t i)
{
	const size_t n = sizeof(protocols) / sizeof(protocols[0]), others = sizeof(other_protocols) / sizeof(other_protocols[0]);

	if (i < RIB_IMPORT)
		return source_names[i];
	i -= RIB_IMPORT;
	if (i < n)
		return protocols[i].name;
	return i - n < others ? other_protocols[i - n].name : NULL;
}

/* A constant: of a protocol that has no name its number. */
static const char *number_of(uint8_t protocol)
{
	static char texts[UINT8_MAX + 1][4];

	snprintf(texts[protocol], sizeof(texts[protocol]), "%u", protocol);
	return texts[protocol];
}

const char *route_protocol_name(uint8_t source, uint8_t protocol)
{
	size_t i;

	for (i = 0; source == RIB_KERNEL && i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (protocols[i].protocol == protocol)
			return protocols[i].name;
	for (i = 0; source == RIB_KERNEL && i < sizeof(other_protocols) / sizeof(other_protocols[0]); i++)
		if (other_protocols[i].protocol == protocol)
			return other_protocols[i].name;
	return source == RIB_KERNEL ? number_of(protocol) : source_names[source];
}

const char *route_protocol_known(const char *name)
{
	const char *known;
	uint32_t n;
	size_t i;

	for (i = 0; (known = name_at(i)); i++)
		if (!strcmp(name, known))
			return known;
	return u32_parse(name, 0, UINT8_MAX, &n) ? NULL : route_protocol_name(RIB_KERNEL, (uint8_t)n);
}

const char *route_protocol_names(char buf[ROUTE_PROTOCOLS])
{
	const char *known;
	size_t len = 0, i, k;

	for (i = 0; (known = name_at(i)) && len < ROUTE_PROTOCOLS; i++) {
		for (k = 0; strcmp(name_at(k), known); k++)
			;
		if (k == i)
			len += (size_t)snprintf(buf + len, ROUTE_PROTOCOLS - len, "%s%s", i ? ", " : "", known);
	}
	return buf;
}

/* Never routed: multicast, and link-local IPv6. */
static bool unroutable(const struct prefix *p)
{
	if (p->family == 4)
		return p->len >= 4 && p->addr.a8[12] >> 4 == 0xe;
	return (p->len >= 8 && p->addr.a8[0] == 0xff) || (p->len >= 10 && addr_is_link_local(&p->addr));
}

static bool loopback(const struct prefix *p)
{
	static const struct addr one = {.a8 = {[15] = 1}};

	return p->family == 4 ? p->addr.a8[12] == 127 : !memcmp(&p->addr, &one, sizeof(one));
}

bool route_never(const struct addr *a, uint8_t family)
{
	struct prefix p = {.addr = *a, .family = family, .len = family == 4 ? 32 : 128};

	return unroutable(&p) || loopback(&p) || (family == 4 && (!p.addr.a8[12] || p.addr.a8[12] >= 0xf0));
}

/* ---- addresses of the interfaces */

struct iface_addrs {
	struct routes *rs;
	uint16_t iface, vrf;
	bool broadcast; /* directed broadcasts may go there */
};

/* `by`: NULL, or the interface that a broadcast address leads to. */
static int put_own(struct routes *rs, uint16_t vrf, uint8_t type, const struct addr *a, uint8_t family,
		   const struct rib_nexthop *by)
{
	struct rib_route_spec spec = {.vrf = vrf, .source = RIB_LOCAL, .type = type, .nexthops = by, .n = by ? 1 : 0};

	spec.to = (struct prefix){.addr = *a, .family = family, .len = family == 4 ? 32 : 128};
	return rib_put(rs->rib, &spec);
}

/* The ends of an IPv4 prefix are broadcast addresses, which are nobody's (RFC 1812 4.2.2.11). Nothing is forwarded to the first
 * one, which is out of use, and to the last one but where the interface wants it (RFC 2644). The start of an IPv6 one is the
 * routers' anycast address (RFC 4291 2.6.1): the host's. */
static int put_ends(const struct iface_addrs *ia, const struct prefix *net)
{
	struct rib_nexthop nh = {.iface = ia->iface, .weight = 1};
	uint8_t type = net->family == 4 ? NEXTHOP_BROADCAST : NEXTHOP_LOCAL;
	struct addr end = net->addr;
	int r;

	if (net->len > (net->family == 4 ? 30 : 126))
		return 0;
	r = put_own(ia->rs, ia->vrf, type, &net->addr, net->family, NULL);
	if (r || net->family == 6)
		return r;
	end.a32[3] |= htonl(UINT32_MAX >> net->len);
	if (!net->len)
		return 0;
	return put_own(ia->rs, ia->vrf, type, &end, 4, ia->broadcast ? &nh : NULL);
}

static int put_address(const struct link_addr *a, void *arg)
{
	struct iface_addrs *ia = arg;
	struct prefix net = prefix_masked(&a->addr);
	struct rib_nexthop nh = {.iface = ia->iface, .weight = 1};
	struct rib_route_spec spec = {
		.vrf = ia->vrf, .to = net, .source = RIB_CONNECTED, .type = NEXTHOP_CONNECTED, .nexthops = &nh, .n = 1};
	int r;

	if (unroutable(&a->addr))
		return 0;
	r = put_own(ia->rs, ia->vrf, NEXTHOP_LOCAL, &a->addr.addr, a->addr.family, NULL);
	if (r || net.len == (net.family == 4 ? 32 : 128))
		return r;
	r = rib_put(ia->rs->rib, &spec);
	return r ? r : put_ends(ia, &net);
}

/* The prefixes of interfaces that are down or absent, whose addresses the kernel may not have: nothing leaves by them, and so it
 * is known why. Those of the others come after and take their place. */
static int put_configured(struct routes *rs)
{
	const struct model *m = rs->sw->model;
	int r = 0;

	for (size_t i = 0; i < m->n_ifaces; i++) {
		const struct iface_cfg *c = &m->ifaces[i];
		struct rib_nexthop nh = {.iface = iface_id(rs->sw, c->name), .weight = 1};
		struct rib_route_spec spec = {.vrf = vrf_id(rs->sw, c->vrf),
					      .source = RIB_CONNECTED,
					      .type = NEXTHOP_CONNECTED,
					      .nexthops = &nh,
					      .n = 1};

		for (size_t k = 0; k < c->n_addrs && nh.iface && !iface_usable(rs->sw, nh.iface) && !r; k++) {
			spec.to = prefix_masked(&c->addrs[k]);
			if (spec.to.len < (spec.to.family == 4 ? 32 : 128) && !unroutable(&spec.to))
				r = rib_put(rs->rib, &spec);
		}
	}
	return r;
}

static int read_addresses(struct routes *rs)
{
	const struct model *m = rs->sw->model;
	struct iface_addrs ia = {.rs = rs};
	int r, host;
	size_t i;

	rib_begin(rs->rib, RIB_LOCAL);
	rib_begin(rs->rib, RIB_CONNECTED);
	r = put_configured(rs);
	for (i = 0; i < m->n_ifaces && !r; i++) {
		ia.iface = iface_id(rs->sw, m->ifaces[i].name);
		host = ia.iface ? iface_host_ifindex(rs->sw, ia.iface) : 0;
		if (!host)
			continue;
		ia.vrf = vrf_id(rs->sw, m->ifaces[i].vrf);
		ia.broadcast = m->ifaces[i].directed_broadcast;
		r = mirror_each_addr(rs->sw->mirror, host, put_address, &ia);
	}
	if (r)
		return r;
	rib_sweep(rs->rib, RIB_LOCAL);
	rib_sweep(rs->rib, RIB_CONNECTED);
	return 0;
}

/* ---- the configuration */

static int put_static(struct routes *rs, const struct route_cfg *cfg)
{
	struct rib_route_spec spec = {.vrf = vrf_id(rs->sw, cfg->vrf), .to = cfg->to, .source = RIB_STATIC, .type = cfg->type};
	struct rib_nexthop *nh = calloc(cfg->n_nexthops + 1, sizeof(*nh));
	size_t i;
	int r;

	if (!nh)
		return -ENOMEM;
	for (i = 0; i < cfg->n_nexthops; i++) {
		const struct nexthop_cfg *c = &cfg->nexthops[i];

		nh[i].family = c->family;
		if (c->family)
			nh[i].gateway = c->gateway;
		nh[i].weight = c->weight ? c->weight : 1;
		nh[i].onlink = c->onlink;
		nh[i].recursive = c->recursive;
		nh[i].iface = c->iface[0] ? iface_id(rs->sw, c->iface) : 0;
		nh[i].down = (c->iface[0] || !c->family) && !nh[i].iface;
	}
	spec.distance = cfg->distance ? cfg->distance : 1;
	spec.table = spec.distance; /* which tells routes of one prefix and metric apart */
	spec.metric = cfg->metric;
	spec.mtu = cfg->mtu;
	spec.nexthops = nh;
	spec.n = cfg->n_nexthops;
	spec.group = cfg->named && cfg->named->n_members ? cfg->nexthop : NULL;
	r = rib_put(rs->rib, &spec);
	free(nh);
	return r;
}

/* There may be a hundred thousand: in pieces, as the kernel's are. */
void route_statics_end(struct routes *rs)
{
	if (rs->statics.cursor)
		rib_cursor_close(rs->rib, rs->statics.cursor);
	rs->statics = (struct reread){0};
}

void route_statics_begin(struct routes *rs)
{
	route_statics_end(rs);
	rib_begin(rs->rib, RIB_STATIC);
	rs->statics.step = REREAD_WALK;
}

/* A piece of those that the configuration has; then of those that it has no more. */
static int statics_piece(struct routes *rs)
{
	const struct model *m = rs->sw->model;
	struct reread *rr = &rs->statics;
	size_t end = rr->at + STATIC_PIECE < m->n_routes ? rr->at + STATIC_PIECE : m->n_routes;
	int r = 0;

	if (rr->step == REREAD_WALK) {
		for (; rr->at < end && !r; rr->at++)
			r = put_static(rs, &m->routes[rr->at]);
		if (!r && rr->at == m->n_routes)
			rr->step = REREAD_SWEEP;
		return r;
	}
	if (!rr->cursor)
		rr->cursor = rib_cursor_open(rs->rib, RIB_STATIC);
	if (!rr->cursor)
		return -ENOMEM;
	if (rib_sweep_some(rs->rib, rr->cursor, REREAD_PIECE))
		route_statics_end(rs);
	return 0;
}

int route_statics(struct routes *rs, uint64_t end_ns)
{
	int r = 0;

	rib_urgent(rs->rib, true);
	while (rs->statics.step != REREAD_NONE && !r) {
		r = statics_piece(rs);
		if (end_ns && clock_now_ns() > end_ns)
			break;
	}
	rib_urgent(rs->rib, false);
	return r;
}

/* ---- the kernel */

uint32_t route_table_of_vrf(const struct routes *rs, uint16_t vrf)
{
	const char *name = vrf_name(rs->sw, vrf);
	const struct vrf_cfg *cfg = name ? model_vrf(rs->sw->model, name) : NULL;

	if (vrf == 0)
		return RT_TABLE_MAIN;
	return cfg && cfg->n_tables ? cfg->tables[0] : 0;
}

static bool is_host_netdev(const struct routes *rs, int ifindex)
{
	const struct settings_cfg *s = &rs->sw->model->settings;
	const struct link *l = mirror_link(rs->sw->mirror, ifindex);
	size_t i;

	for (i = 0; l && i < s->n_host_netdevs; i++)
		if (glob_match(s->host_netdevs[i], l->name))
			return true;
	return false;
}

/* None of the route's ways out is the switch's. The packets are not the next shorter route's then: where the configuration
 * gives the netdev to the host they are the host's, else nobody's. -ENOENT: it has no way out at all. */
static int leaves_outside(const struct routes *rs, const struct kroute *k, struct rib_route_spec *spec)
{
	size_t i;

	spec->outside = 0;
	for (i = 0; i < k->n_nexthops; i++) {
		int ifindex = k->nexthops[i].ifindex;

		if (ifindex && is_host_netdev(rs, ifindex)) {
			spec->type = NEXTHOP_HOST;
			spec->outside = ifindex;
			return 0;
		}
		if (!spec->outside)
			spec->outside = ifindex;
	}
	spec->type = NEXTHOP_OUTSIDE;
	return spec->outside ? 0 : -ENOENT;
}

/* The nexthops that leave by our interfaces. */
static size_t kernel_nexthops(const struct routes *rs, const struct kroute *k, struct rib_nexthop *ret)
{
	size_t i, n = 0;

	for (i = 0; i < k->n_nexthops; i++) {
		const struct kroute_nexthop *nh = &k->nexthops[i];
		uint16_t iface = nh->ifindex ? iface_id_by_host(rs->sw, nh->ifindex) : 0;

		if (nh->ifindex ? !iface : !nh->family)
			continue;
		ret[n] = (struct rib_nexthop){.family = nh->family, .iface = iface, .weight = nh->weight ? nh->weight : 1};
		if (nh->family)
			ret[n].gateway = nh->gateway;
		ret[n++].onlink = nh->onlink;
	}
	return n;
}

/* 0 and the type; -ENOENT: a route that does not concern the switch. */
static int kernel_type(const struct routes *rs, const struct kroute *k, uint8_t *ret_source, uint8_t *ret_type)
{
	if (unroutable(&k->to) || k->protocol == RTPROT_SLUICE)
		return -ENOENT;
	*ret_source = RIB_KERNEL;
	switch (k->type) {
	case RTN_LOCAL:
	case RTN_ANYCAST:
	case RTN_BROADCAST:
		/* those of our interfaces come with their addresses */
		if (loopback(&k->to) || (k->n_nexthops && iface_id_by_host(rs->sw, k->nexthops[0].ifindex)))
			return -ENOENT;
		*ret_source = RIB_HOST;
		*ret_type = k->type == RTN_BROADCAST ? NEXTHOP_BROADCAST : NEXTHOP_LOCAL;
		return 0;
	case RTN_UNICAST:
		*ret_type = NEXTHOP_GATEWAY;
		break;
	case RTN_UNSPEC:
		*ret_type = NEXTHOP_OUTSIDE;
		break;
	case RTN_BLACKHOLE:
		*ret_type = NEXTHOP_BLACKHOLE;
		break;
	case RTN_UNREACHABLE:
		*ret_type = NEXTHOP_UNREACHABLE;
		break;
	case RTN_PROHIBIT:
		*ret_type = NEXTHOP_PROHIBIT;
		break;
	case RTN_THROW:
		*ret_type = RIB_THROW;
		break;
	default:
		return -ENOENT;
	}
	/* the kernel's own: prefixes of addresses, which are known as connected where they are those of our interfaces */
	if (k->protocol == RTPROT_KERNEL && (k->type != RTN_UNICAST || !k->n_nexthops ||
					     (!k->nexthops[0].family && iface_id_by_host(rs->sw, k->nexthops[0].ifindex))))
		return -ENOENT;
	return k->table == RT_TABLE_LOCAL ? -ENOENT : 0;
}

int route_kernel_spec(const struct routes *rs, const struct kroute *k, struct rib_route_spec *ret, struct rib_nexthop *nh)
{
	*ret = (struct rib_route_spec){
		.to = k->to, .protocol = k->protocol, .metric = k->metric, .mtu = k->mtu, .table = k->table, .nexthops = nh};
	if (k->table != RT_TABLE_LOCAL && !vrf_of_table(rs->sw, k->table, &ret->vrf, &ret->rank))
		return -ENOENT;
	if (kernel_type(rs, k, &ret->source, &ret->type))
		return -ENOENT;
	ret->distance = ret->source == RIB_HOST ? 0 : distance_of(k->protocol);
	if (ret->type == NEXTHOP_GATEWAY)
		ret->n = kernel_nexthops(rs, k, nh);
	else if (ret->type != NEXTHOP_OUTSIDE)
		return 0;
	return ret->n ? 0 : leaves_outside(rs, k, ret);
}

int route_kernel_event(struct routes *rs, enum mirror_op op, const struct kroute *k)
{
	struct rib_route_spec spec;
	struct rib_nexthop *nh;
	uint16_t vrf = 0;
	uint8_t rank;
	int r = 0;

	if (k->table != RT_TABLE_LOCAL && !vrf_of_table(rs->sw, k->table, &vrf, &rank))
		return 0;
	nh = calloc(k->n_nexthops + 1, sizeof(*nh));
	if (!nh)
		return -ENOMEM;
	if (op == MIRROR_NEW && !route_kernel_spec(rs, k, &spec, nh)) {
		r = rib_put(rs->rib, &spec);
	} else {
		/* what it was before is not known: of both sources at most one has it */
		if (k->table != RT_TABLE_LOCAL)
			rib_remove(rs->rib, vrf, &k->to, RIB_KERNEL, k->table, k->metric);
		rib_remove(rs->rib, vrf, &k->to, RIB_HOST, k->table, k->metric);
	}
	free(nh);
	return r;
}

static int put_kernel(const struct kroute *k, void *arg)
{
	return route_kernel_event(arg, MIRROR_NEW, k);
}

uint64_t route_signature(const struct routes *rs)
{
	const struct model *m = rs->sw->model;
	uint64_t s = 1;
	uint16_t id;
	size_t i;

	for (i = 0; i < m->n_ifaces; i++) {
		id = iface_id(rs->sw, m->ifaces[i].name);
		s = hash_mix(s, (uint64_t)id << 48 | (uint64_t)vrf_id(rs->sw, m->ifaces[i].vrf) << 32 |
					(uint32_t)(id ? iface_host_ifindex(rs->sw, id) : 0));
	}
	for (i = 0; i < m->settings.n_host_netdevs; i++)
		s = hash_mix_bytes(s, m->settings.host_netdevs[i], sizeof(m->settings.host_netdevs[i]));
	for (i = 0; i < m->n_vrfs; i++) {
		s = hash_mix(s, vrf_id(rs->sw, m->vrfs[i].name));
		for (size_t k = 0; k < m->vrfs[i].n_tables; k++)
			s = hash_mix(s, m->vrfs[i].tables[k]);
	}
	return s;
}

/* ---- from VRF to VRF */

static int read_imports(struct routes *rs)
{
	const struct model *m = rs->sw->model;
	struct rib_import *rules;
	size_t i, k, n = 0;
	int r;

	for (i = 0; i < m->n_vrfs; i++)
		n += m->vrfs[i].n_imports;
	rules = calloc(n + 1, sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	n = 0;
	for (i = 0; i < m->n_vrfs; i++) {
		const struct vrf_cfg *c = &m->vrfs[i];

		for (k = 0; k < c->n_imports; k++)
			rules[n++] = (struct rib_import){.from = vrf_id(rs->sw, c->imports[k].vrf),
							 .to = vrf_id(rs->sw, c->name),
							 .rank = (uint8_t)k,
							 .prefixes = c->imports[k].n ? &c->prefixes[c->imports[k].first] : NULL,
							 .n = c->imports[k].n};
	}
	r = rib_imports_set(rs->rib, rules, n);
	free(rules);
	return r;
}

int route_read_configured(struct routes *rs, bool all)
{
	int r = all ? read_imports(rs) : 0;

	rib_urgent(rs->rib, true);
	if (!r)
		r = read_addresses(rs);
	if (!r && all)
		r = route_read_pools(rs);
	rib_urgent(rs->rib, false);
	if (!r && all)
		route_statics_begin(rs);
	return r;
}

/* ---- the kernel's routes, all of them anew: there may be a million, and it is done in pieces, beside their events */

static const uint8_t kernel_sources[] = {RIB_KERNEL, RIB_HOST};

void route_reread_end(struct routes *rs)
{
	if (rs->reread.cursor)
		rib_cursor_close(rs->rib, rs->reread.cursor);
	rs->reread = (struct reread){0};
}

void route_reread_begin(struct routes *rs)
{
	size_t i;

	route_reread_end(rs);
	for (i = 0; i < sizeof(kernel_sources); i++)
		rib_begin(rs->rib, kernel_sources[i]);
	rs->reread.step = REREAD_WALK;
}

/* A piece of the sweep: of one source, then of the other. */
static int reread_sweep(struct routes *rs)
{
	struct reread *rr = &rs->reread;

	if (!rr->cursor)
		rr->cursor = rib_cursor_open(rs->rib, kernel_sources[rr->step - REREAD_SWEEP]);
	if (!rr->cursor)
		return -ENOMEM;
	if (!rib_sweep_some(rs->rib, rr->cursor, REREAD_PIECE))
		return 0;
	rib_cursor_close(rs->rib, rr->cursor);
	rr->cursor = NULL;
	if (++rr->step == REREAD_SWEEP + (int)sizeof(kernel_sources))
		rr->step = REREAD_NONE;
	return 0;
}

int route_reread(struct routes *rs, uint64_t end_ns)
{
	struct reread *rr = &rs->reread;
	int r = 0;

	while (rr->step != REREAD_NONE && !r) {
		if (rr->step != REREAD_WALK)
			r = reread_sweep(rs);
		else if (mirror_routes_step(rs->sw->mirror, &rr->at, REREAD_PIECE, put_kernel, rs, &r) && !r)
			rr->step = REREAD_SWEEP;
		if (end_ns && clock_now_ns() > end_ns)
			break;
	}
	return r;
}
