/* urpf.h: reverse path checks (RFC 3704): is the source of a packet where it came from?
 *
 * Stands before the flow table, because a known flow's packets may be forged too. Loose: a route leads to the source, be it
 * the default route. Strict: it leads there by the interface that the packet came in on; of several ways any one will do. A
 * source that leads to a blackhole is refused by both (RFC 5635). Interfaces that do not check cost a load and a branch;
 * where none does, the verifier removes the stage.
 */
#ifndef SLUICE_URPF_H
#define SLUICE_URPF_H

#include "pkt.h"
#include "iface.h"
#include "route.h"

static __always_inline bool urpf_group_has(__u32 group, __u16 iface)
{
	struct nhg_ifaces *g = bpf_map_lookup_elem(&nhg_ifaces, &group);

	return g && READ_ONCE(g->bits[(iface / 64) % (IFACE_MAX / 64)]) >> (iface % 64) & 1;
}

/* verifier: global, as all that searches the FIB. */
__noinline_global enum verdict urpf_lookup(struct pkt *p, __u32 strict)
{
	struct nexthop *nh;
	bool here;
	__u32 id;

	if (!p)
		return V_NEXT;
	id = route_find(p, 1);
	if (id & NEXTHOP_IS_GROUP)
		return !strict || urpf_group_has(id & ~NEXTHOP_IS_GROUP, p->in_iface) ? V_NEXT : pkt_drop(p, DROP_URPF_OTHER_WAY);
	nh = nexthop_get(id);
	/* Addresses of the switch are route.h's to refuse, with a reason of their own. */
	if (id && nh && (nh->type == NEXTHOP_LOCAL || nh->type == NEXTHOP_BROADCAST))
		return V_NEXT;
	if (!id || !nh || (nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED && nh->type != NEXTHOP_HOST))
		return pkt_drop(p, DROP_URPF_NO_ROUTE);
	here = nh->iface == p->in_iface;
	return !strict || here ? V_NEXT : pkt_drop(p, DROP_URPF_OTHER_WAY);
}

static __always_inline __verdict enum verdict urpf_check(struct pkt *p)
{
	struct iface *i = iface_get(p->in_iface);

	if (!i || !(i->flags & (IFACE_F_RPF_LOOSE | IFACE_F_RPF_STRICT)))
		return V_NEXT;
	return urpf_lookup(p, i->flags & IFACE_F_RPF_STRICT);
}

#endif
