/* route_get_query.c: the question of `route get`: from text into a packet, with words where that cannot be, and back into the
 * answer.
 */
#include "route_get_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static int parse_addr(const char *text, struct addr *ret, uint8_t *ret_family, struct errs *errs)
{
	return addr_parse(text, ret, ret_family)
		       ? errs_fail(errs, EINVAL, "'%.64s' is no address: 192.0.2.1 or 2001:db8::1 would be one", text)
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
				 "ipproto: '%.32s' is not tcp, udp, icmp, icmpv6, gre, esp, sctp or a number in 1..255", text);
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
		return errs_fail(errs, EINVAL, "%s: '%.32s' is not a port in 0..65535", key, text);
	*ret = htons((uint16_t)n);
	return 0;
}

/* An interface by its name, or that of a port's untagged frames. */
static int parse_iif(struct route_get *g, const char *name, struct errs *errs)
{
	struct sw *sw = g->rs->sw;
	uint16_t id = port_id(sw, name);
	const struct port *port = id ? port_entry(sw, id) : NULL;
	uint32_t vlan = port ? port->native : 0;
	struct vlan v = {0};

	g->p.iface = iface_id(sw, name);
	if (g->p.iface)
		return 0;
	if (!port)
		return errs_fail(errs, ENOENT, "iif: there is no port or interface '%.32s'", name);
	g->p.iface = port->iface;
	if (!g->p.iface && vlan && !table_lookup(table_get(sw->dp, "vlans"), &vlan, &v))
		g->p.iface = v.iface;
	if (g->p.iface)
		return 0;
	return errs_fail(errs, EINVAL,
			 "iif: untagged frames of port '%.32s' are in no VLAN with an interface: name the interface", name);
}

static int parse_vrf(struct route_get *g, const char *vrf, struct errs *errs)
{
	struct sw *sw = g->rs->sw;
	struct iface i;

	if (vrf && !model_vrf(sw->model, vrf))
		return errs_fail(errs, ENOENT, "there is no VRF '%.32s'", vrf);
	g->p.vrf = vrf ? vrf_id(sw, vrf) : 0;
	if (!g->p.iface || iface_get(sw, g->p.iface, &i))
		return 0;
	if (vrf && i.vrf != g->p.vrf)
		return errs_fail(errs, EINVAL, "interface `%s` is in VRF `%s`, not `%.32s`", iface_name(sw, g->p.iface),
				 vrf_name(sw, i.vrf), vrf);
	g->p.vrf = i.vrf;
	return 0;
}

int route_get_parse(struct route_get *g, const struct route_query *q, struct errs *errs)
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

void route_get_repeat(struct route_get *g)
{
	char text[ADDR_TEXT];

	route_get_text(g->o, "address", addr_text(&g->p.daddr, text));
	if (g->has_from)
		route_get_text(g->o, "from", addr_text(&g->p.saddr, text));
	if (g->p.iface)
		route_get_text(g->o, "iif", iface_name(g->rs->sw, g->p.iface));
	route_get_text(g->o, "vrf", vrf_name(g->rs->sw, g->p.vrf));
	if (g->has_proto)
		json_object_set_new(g->o, "ipproto", json_integer(g->p.proto));
	if (g->p.sport)
		json_object_set_new(g->o, "sport", json_integer(ntohs(g->p.sport)));
	if (g->p.dport)
		json_object_set_new(g->o, "dport", json_integer(ntohs(g->p.dport)));
}
