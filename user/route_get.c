/* route_get.c: which way the first packet of a connection would go, and why: `sluice route get`. Between the API and all that has
 * a say in it: the RIB, the tables that packets see, NAT, flows, neighbours.
 *
 * The stages are those of bpf/pipeline.h, in its order, on the same tables; the first one that drops the packet decides. What the
 * question does not say (no source, no protocol) is not guessed: the stages that need it are left out.
 */
#include "route_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sluice/drop.h>
#include <stdio.h>
#include <string.h>

struct get {
	struct routes *rs;
	json_t *o;
	struct nat_packet p; /* as it comes in */
	uint16_t iif;	     /* interface; 0: not said */
	bool has_from, has_proto;
	/* found out */
	struct nat_packet to; /* as it leaves, but for the source; `vrf`: where the way out is looked up */
	struct flow flow;
	bool has_flow;
	bool host; /* it is for the host */
	enum drop_reason drop;
	struct rib_view route;
	bool has_route;
	uint32_t nexthop; /* 0: not known */
};

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

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

/* The first reason is the one that counts. */
static void drop(struct get *g, enum drop_reason why)
{
	if (!g->drop && !g->host)
		g->drop = why;
}

/* ---- the question */

static int parse_addr(const char *text, struct addr *ret, uint8_t *ret_family, struct errs *errs)
{
	return addr_parse(text, ret, ret_family)
		       ? errs_fail(errs, EINVAL, "\"%.64s\" is no address: 192.0.2.1 or 2001:db8::1 would be one", text)
		       : 0;
}

static int parse_proto(const char *text, uint8_t *ret, struct errs *errs)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} names[] = {{"tcp", IPPROTO_TCP},	    {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6},
		     {"ipv6-icmp", IPPROTO_ICMPV6}, {"gre", IPPROTO_GRE}, {"esp", IPPROTO_ESP},	  {"sctp", IPPROTO_SCTP}};
	uint32_t n;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, text)) {
			*ret = names[i].proto;
			return 0;
		}
	if (u32_parse(text, 1, 255, &n))
		return errs_fail(errs, EINVAL,
				 "ipproto: \"%.32s\" is not tcp, udp, icmp, icmpv6, gre, esp, sctp or a number in 1..255", text);
	*ret = (uint8_t)n;
	return 0;
}

static int parse_port(const char *key, const char *text, bool has_proto, __be16 *ret, struct errs *errs)
{
	uint32_t n;

	if (!text)
		return 0;
	if (!has_proto)
		return errs_fail(errs, EINVAL, "%s: which protocol's? `ipproto` is missing", key);
	if (u32_parse(text, 0, 65535, &n))
		return errs_fail(errs, EINVAL, "%s: \"%.32s\" is not a port in 0..65535", key, text);
	*ret = htons((uint16_t)n);
	return 0;
}

/* An interface by its name, or that of a port's untagged frames. */
static int parse_iif(struct get *g, const char *name, struct errs *errs)
{
	struct sw *sw = g->rs->sw;
	uint16_t id = port_id(sw, name);
	const struct port *port = id ? port_entry(sw, id) : NULL;
	uint32_t vlan = port ? port->native : 0;
	struct vlan v = {0};

	g->iif = iface_id(sw, name);
	if (g->iif)
		return 0;
	if (!port)
		return errs_fail(errs, ENOENT, "iif: there is no port or interface \"%.32s\"", name);
	g->iif = port->iface;
	if (!g->iif && vlan && !table_lookup(table_get(sw->dp, "vlans"), &vlan, &v))
		g->iif = v.iface;
	if (g->iif)
		return 0;
	return errs_fail(errs, EINVAL,
			 "iif: untagged frames of port \"%.32s\" are in no VLAN with an interface: name the interface", name);
}

static int parse_vrf(struct get *g, const char *vrf, struct errs *errs)
{
	struct sw *sw = g->rs->sw;
	struct iface i;

	if (vrf && !model_vrf(sw->model, vrf))
		return errs_fail(errs, ENOENT, "there is no VRF \"%.32s\"", vrf);
	g->p.vrf = vrf ? vrf_id(sw, vrf) : 0;
	if (!g->iif || iface_get(sw, g->iif, &i))
		return 0;
	if (vrf && i.vrf != g->p.vrf)
		return errs_fail(errs, EINVAL, "interface `%s` is in VRF `%s`, not `%.32s`", iface_name(sw, g->iif),
				 vrf_name(sw, i.vrf), vrf);
	g->p.vrf = i.vrf;
	return 0;
}

static int parse(struct get *g, const struct route_query *q, struct errs *errs)
{
	uint8_t family;
	int r = parse_addr(q->addr, &g->p.daddr, &g->p.family, errs);

	g->has_from = q->from;
	g->has_proto = q->ipproto;
	if (!r && q->from)
		r = parse_addr(q->from, &g->p.saddr, &family, errs);
	if (!r && q->from && family != g->p.family)
		r = errs_fail(errs, EINVAL, "from: %.64s and %.64s are not of one family", q->from, q->addr);
	if (!r && q->ipproto)
		r = parse_proto(q->ipproto, &g->p.proto, errs);
	if (!r)
		r = parse_port("sport", q->sport, q->ipproto, &g->p.sport, errs);
	if (!r)
		r = parse_port("dport", q->dport, q->ipproto, &g->p.dport, errs);
	if (!r && q->iif)
		r = parse_iif(g, q->iif, errs);
	return r ? r : parse_vrf(g, q->vrf, errs);
}

static void repeat_question(struct get *g)
{
	char text[ADDR_TEXT];

	set_text(g->o, "address", addr_text(&g->p.daddr, text));
	if (g->has_from)
		set_text(g->o, "from", addr_text(&g->p.saddr, text));
	if (g->iif)
		set_text(g->o, "iif", iface_name(g->rs->sw, g->iif));
	set_text(g->o, "vrf", vrf_name(g->rs->sw, g->p.vrf));
	if (g->has_proto)
		json_object_set_new(g->o, "ipproto", json_integer(g->p.proto));
	if (g->p.sport)
		json_object_set_new(g->o, "sport", json_integer(ntohs(g->p.sport)));
	if (g->p.dport)
		json_object_set_new(g->o, "dport", json_integer(ntohs(g->p.dport)));
}

/* ---- addresses that are never routed: route.h's checks */

static void martians4(struct get *g)
{
	uint32_t s = ntohl(g->p.saddr.a32[3]), d = ntohl(g->p.daddr.a32[3]);

	g->host = d >> 28 == 0xe || d == UINT32_MAX;
	if (g->has_from && (s >> 28 >= 0xe || s >> 24 == 127 || (s >> 24 == 0 && s) || s == d))
		drop(g, DROP_ROUTE_MARTIAN_SOURCE);
	if (d >> 28 == 0xf || d >> 24 == 127 || d >> 24 == 0)
		drop(g, DROP_ROUTE_MARTIAN_DESTINATION);
}

static bool reserved6(const struct addr *a)
{
	return !a->a64[0] && (a->a32[2] == htonl(0xffff) || (!a->a32[2] && ntohl(a->a32[3]) <= 1));
}

static bool link_local6(const struct addr *a)
{
	return a->a8[0] == 0xfe && (a->a8[1] & 0xc0) == 0x80;
}

static void martians6(struct get *g)
{
	const struct addr *s = &g->p.saddr, *d = &g->p.daddr;

	g->host = d->a8[0] == 0xff || link_local6(d);
	if (g->has_from && (s->a8[0] == 0xff || (reserved6(s) && (s->a64[0] || s->a64[1])) || !memcmp(s, d, sizeof(*s))))
		drop(g, DROP_ROUTE_MARTIAN_SOURCE);
	if (reserved6(d))
		drop(g, DROP_ROUTE_MARTIAN_DESTINATION);
	if (!g->drop && g->has_from && link_local6(s))
		g->host = true;
}

static bool link_local4(const struct addr *a)
{
	return ntohl(a->a32[3]) >> 16 == 0xa9fe;
}

static const struct nexthop *nexthop_of(const struct get *g, uint16_t vrf, const struct addr *a)
{
	uint32_t id = fib_lookup(g->rs->fib, vrf, a);

	return id && !(id & NEXTHOP_IS_GROUP) ? nexthop_at(g->rs->ns, id) : NULL;
}

/* Somebody who has no address yet may talk to the host alone. */
static void check_unspecified(struct get *g)
{
	static const struct addr any6;
	const struct nexthop *to = nexthop_of(g, g->p.vrf, &g->p.daddr);

	if (g->p.family == 4 ? g->p.saddr.a32[3] != 0 : memcmp(&g->p.saddr, &any6, sizeof(any6)) != 0)
		return;
	if (to && to->type == NEXTHOP_LOCAL)
		g->host = true;
	else
		drop(g, DROP_ROUTE_MARTIAN_SOURCE);
}

/* A source that only the switch may have, or nobody. */
static void check_own(struct get *g)
{
	const struct nexthop *back = nexthop_of(g, g->p.vrf, &g->p.saddr);

	if (back && back->type == NEXTHOP_LOCAL)
		drop(g, DROP_ROUTE_OWN_SOURCE);
	else if (back && back->type == NEXTHOP_BROADCAST)
		drop(g, DROP_ROUTE_BROADCAST_SOURCE);
}

/* ---- the reverse path */

static bool leads_by(const struct get *g, uint32_t result, uint16_t iface)
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

static enum drop_reason reverse_verdict(const struct get *g, uint32_t result, bool strict)
{
	const struct nexthop *nh = result && !(result & NEXTHOP_IS_GROUP) ? nexthop_at(g->rs->ns, result) : NULL;

	if (nh && (nh->type == NEXTHOP_LOCAL || nh->type == NEXTHOP_BROADCAST))
		return DROP_NONE;
	if (!result || (nh && nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED && nh->type != NEXTHOP_HOST))
		return DROP_URPF_NO_ROUTE;
	return strict && !leads_by(g, result, g->iif) ? DROP_URPF_OTHER_WAY : DROP_NONE;
}

static void reverse_path(struct get *g)
{
	enum drop_reason why = DROP_NONE;
	struct rib_view back;
	char text[PREFIX_TEXT];
	struct iface i;
	json_t *o;

	if (!g->has_from || !g->iif || iface_get(g->rs->sw, g->iif, &i))
		return;
	if (i.flags & (IFACE_F_RPF_LOOSE | IFACE_F_RPF_STRICT))
		why = reverse_verdict(g, fib_lookup(g->rs->fib, g->p.vrf, &g->p.saddr), i.flags & IFACE_F_RPF_STRICT);
	o = json_pack("{s:s, s:s}", "mode",
		      i.flags & IFACE_F_RPF_STRICT  ? "strict"
		      : i.flags & IFACE_F_RPF_LOOSE ? "loose"
						    : "off",
		      "verdict", why ? "drop" : "pass");
	if (!rib_lookup(g->rs->rib, g->p.vrf, &g->p.saddr, &back)) {
		set_text(o, "to", prefix_text(&back.to, text));
		json_object_set_new(o, "nexthops", route_show_nexthops(g->rs, &back));
	}
	json_object_set_new(g->o, "reverse_path", o);
	drop(g, why);
}

/* ---- flow and NAT */

static json_t *show_found(const struct nat_found *f, const struct addr *was)
{
	static const struct addr none;
	char text[ADDR_TEXT];
	json_t *o;

	if (!f->action)
		return NULL;
	o = json_pack("{s:s}", "action", f->action);
	set_text(o, "rule", f->rule);
	if (memcmp(&f->addr, &none, sizeof(none)) && memcmp(&f->addr, was, sizeof(*was)))
		set_text(o, "address", addr_text(&f->addr, text));
	if (f->port)
		json_object_set_new(o, "port", json_integer(ntohs(f->port)));
	return o;
}

static void put_found(struct get *g, const char *key, const struct nat_found *f, const struct addr *was)
{
	json_t *o = show_found(f, was), *nat = json_object_get(g->o, "nat");

	if (!o)
		return;
	if (!nat)
		json_object_set_new(g->o, "nat", nat = json_object());
	json_object_set_new(nat, key, o);
}

/* A packet of a flow goes the flow's way, if that was decided under what is in force now. */
static void look_for_flow(struct get *g)
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

static void destination(struct get *g)
{
	static const struct addr none;
	struct nat_found f;

	if (g->has_flow || g->host || g->drop)
		return;
	f = nat_explain_destination(g->rs->sw, &g->p);
	put_found(g, "destination", &f, &none);
	if (f.action && !strcmp(f.action, "filtered"))
		drop(g, DROP_NAT_FILTERED);
	else if (f.action)
		g->to.daddr = f.addr;
	if (f.port)
		g->to.dport = f.port;
	g->to.vrf = f.vrf;
}

static void source(struct get *g)
{
	static const struct addr none;
	const struct nexthop *nh = nexthop_at(g->rs->ns, g->nexthop);
	struct nat_found f;

	if (!g->has_from || g->has_flow || !nh || g->drop)
		return;
	g->to.saddr = g->p.saddr;
	g->to.vrf = g->p.vrf; /* rules are of the VRF that it came in by */
	f = nat_explain_source(g->rs->sw, &g->to, nh->iface);
	put_found(g, "source", &f, &none);
}

/* ---- the way out */

/* What of the packet chooses the member, and was not said; NULL: all is known. */
static const char *hash_needs(const struct get *g, uint32_t policy)
{
	if (!g->has_from)
		return policy == ECMP_L3 ? "from" : "from, ipproto, sport, dport";
	if (policy != ECMP_L3 && !g->has_proto)
		return "ipproto, and sport and dport if it has any";
	if (policy == ECMP_INNER && nhg_may_be_tunnel(g->p.proto, g->p.dport))
		return "what is inside of the tunnel, which cannot be said here";
	return NULL;
}

/* The bucket is held for a drained nexthop: what has no flow, and gets none, takes that still. */
static bool stays(const struct get *g, uint32_t former)
{
	const struct nexthop *nh = nexthop_at(g->rs->ns, former);
	struct nat_packet p = g->to;

	p.vrf = g->p.vrf;
	return nh && !g->has_flow && !json_object_get(g->o, "nat") && !nat_explain_source(g->rs->sw, &p, nh->iface).action;
}

static void choose_member(struct get *g, uint32_t group)
{
	const struct control *c = g->rs->sw->control;
	struct nhg_flow f = {g->p.saddr, g->p.daddr, g->p.sport, g->p.dport, g->p.proto};
	uint32_t hash, id, former = 0, bucket = 0, n = 0;
	const char *needs = hash_needs(g, c->ecmp_hash);
	json_t *o = json_pack("{s:I, s:s}", "id", (json_int_t)group, "hash", model_ecmp_hash_name(c->ecmp_hash));

	json_object_set_new(g->o, "group", o);
	if (needs) {
		set_text(o, "needs", needs);
		return;
	}
	hash = nhg_hash(&f, c->ecmp_hash, c->hash_seed);
	id = nhg_choose(g->rs->ns, group, hash, g->has_flow ? g->flow.nexthop : 0, &former, &bucket, &n);
	if (!g->nexthop)
		g->nexthop = stays(g, former) ? former : id;
	json_object_set_new(o, "value", json_integer(hash));
	json_object_set_new(o, "bucket", json_integer(bucket));
	json_object_set_new(o, "buckets", json_integer(n));
	json_object_set_new(o, "nexthop", json_integer(g->nexthop));
	if (former)
		json_object_set_new(o, "held_for", json_integer(former));
}

static enum drop_reason refusal(uint8_t type)
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
static bool to_all(const struct get *g, uint32_t result)
{
	const struct nexthop *nh = nexthop_at(g->rs->ns, result);

	return nh && nh->type == NEXTHOP_BROADCAST && nh->iface;
}

/* The host's to route: by its own table, if it forwards at all, and past the translation. */
static void host_routes(struct get *g)
{
	const char *file = g->p.family == 4 ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding";
	FILE *f;
	int on = '1';

	if (memcmp(&g->to.daddr, &g->p.daddr, sizeof(g->p.daddr)) || g->to.dport != g->p.dport) {
		drop(g, DROP_ROUTE_OUTSIDE);
		return;
	}
	g->host = !g->drop;
	f = fopen(file, "re");
	if (f) {
		on = getc(f);
		fclose(f);
	}
	if (on == '0')
		set_text(g->o, "problem",
			 g->p.family == 4 ? "the host does not forward: net.ipv4.ip_forward is 0"
					  : "the host does not forward: net.ipv6.conf.all.forwarding is 0");
}

/* The table that packets see is searched as they do it: it must say what the RIB says. */
static void route(struct get *g)
{
	uint32_t result = fib_lookup(g->rs->fib, g->to.vrf, &g->to.daddr);
	json_t *o;

	json_object_set_new(g->o, "fib", json_integer(result));
	g->has_route = !rib_lookup(g->rs->rib, g->to.vrf, &g->to.daddr, &g->route);
	if (result != (g->has_route ? g->route.result : 0))
		set_text(g->o, "problem", "the FIB does not say what the RIB says: see `sluice route audit`");
	json_object_set_new(g->o, "candidates", route_why(g->rs, g->to.vrf, &g->to.daddr, g->has_route ? &g->route : NULL));
	if (!g->has_route) {
		drop(g, DROP_ROUTE_NONE);
		return;
	}
	o = route_show_fields(g->rs, &g->route);
	json_object_set_new(o, "nexthops", route_show_nexthops(g->rs, &g->route));
	json_object_set_new(g->o, "route", o);
	o = route_recursion(g->rs, &g->route);
	if (o)
		json_object_set_new(g->o, "recursion", o);
	if (!g->nexthop && g->p.family == 4 && g->route.type != NEXTHOP_LOCAL &&
	    (link_local4(&g->to.daddr) || (g->has_from && link_local4(&g->p.saddr))))
		drop(g, DROP_ROUTE_LINK_LOCAL);
	if (result & NEXTHOP_IS_GROUP)
		choose_member(g, result & ~NEXTHOP_IS_GROUP);
	else if (g->route.type == NEXTHOP_LOCAL)
		g->host = !g->drop;
	else if (g->route.type == NEXTHOP_HOST)
		host_routes(g);
	else if (g->route.type != NEXTHOP_GATEWAY && g->route.type != NEXTHOP_CONNECTED && !to_all(g, result))
		drop(g, refusal(g->route.type));
	else if (!g->nexthop)
		g->nexthop = result;
}

static const char *neighbor_state(struct get *g, const struct nexthop *nh, const struct addr *a, uint8_t mac[6])
{
	int r = neighbor_get(g->rs->sw, nh->iface, a, mac);

	if (r == -EHOSTUNREACH || (r && nh->type == NEXTHOP_GATEWAY && nh->flags & NEXTHOP_F_FAILED))
		return "failed";
	if (r)
		return "unresolved";
	return neighbor_stale(g->rs->sw, nh->iface, a) ? "stale" : "resolved";
}

static json_t *show_neighbor(struct get *g, const struct nexthop *nh, uint8_t mac[6], bool *ret_known)
{
	const struct addr *a = nh->type == NEXTHOP_GATEWAY ? &nh->gateway : &g->to.daddr;
	const char *state = neighbor_state(g, nh, a, mac);
	char text[ADDR_TEXT], mac_buf[MAC_TEXT];
	json_t *o = json_pack("{s:s, s:s}", "address", addr_text(a, text), "state", state);

	*ret_known = strcmp(state, "failed") && strcmp(state, "unresolved");
	if (*ret_known)
		set_text(o, "mac", mac_text(mac, mac_buf));
	else if (!strcmp(state, "failed"))
		drop(g, DROP_NEIGHBOR_FAILED);
	return o;
}

static void way_out(struct get *g)
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
		drop(g, DROP_ROUTE_IFACE_GONE);
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
		drop(g, DROP_EGRESS_PORT_DOWN);
}

/* ---- the answer */

/* One line: what would become of the packet. */
static void words(struct get *g, char *buf, size_t size)
{
	const struct nexthop *nh = g->nexthop ? nexthop_at(g->rs->ns, g->nexthop) : NULL;
	char text[PREFIX_TEXT] = "", via[ADDR_TEXT], dest[ADDR_TEXT], reason[ROUTE_REASON];
	const struct link *l = g->has_route && g->route.outside ? mirror_link(g->rs->sw->mirror, g->route.outside) : NULL;

	addr_text(&g->p.daddr, dest);
	if (g->has_route)
		prefix_text(&g->route.to, text);
	if (g->drop == DROP_ROUTE_NONE)
		snprintf(buf, size, "%s has no route", dest);
	else if (g->drop == DROP_ROUTE_OUTSIDE && g->route.type == NEXTHOP_OUTSIDE)
		snprintf(buf, size, "%s is dropped: the kernel's route %s is not in force: %s", dest, text,
			 route_reason(g->rs, &g->route, reason));
	else if (g->drop && g->has_route && refusal(g->route.type) == g->drop)
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

static void explain(struct get *g)
{
	g->to = g->p;
	if (g->p.family == 4)
		martians4(g);
	else
		martians6(g);
	if (g->has_from && !g->host && !g->drop)
		check_unspecified(g);
	if (g->host || g->drop)
		return;
	reverse_path(g);
	look_for_flow(g);
	if (g->has_from && !g->has_flow)
		check_own(g);
	destination(g);
	route(g);
	way_out(g);
	source(g);
}

json_t *route_get(struct sw *sw, const struct route_query *q, struct errs *errs)
{
	struct get g = {.rs = sw->routes, .o = json_object()};
	char line[256];

	if (parse(&g, q, errs)) {
		json_decref(g.o);
		return NULL;
	}
	repeat_question(&g);
	explain(&g);
	words(&g, line, sizeof(line));
	set_text(g.o, "text", line);
	set_text(g.o, "verdict", g.drop ? "drop" : g.host ? "host" : "forward");
	if (g.drop) {
		set_text(g.o, "drop", drop_names[g.drop]);
		set_text(g.o, "why", drop_texts[g.drop]);
	}
	return g.o;
}
