/* iface.h: interfaces of the switch, and whether a frame is addressed to one.
 *
 * A frame is the gateway's when it bears the MAC of its VLAN's interface, or when it came in on a routed port.
 */
#ifndef SLUICE_IFACE_H
#define SLUICE_IFACE_H

#include "pkt.h"

/* Written by sluiced, read here. Interface id -> struct iface. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, IFACE_MAX);
	__type(key, __u32);
	__type(value, struct iface);
} ifaces SEC(".maps");

/* NULL only for an id out of range; an interface that is not configured is all zero. */
static __always_inline struct iface *iface_get(__u32 id)
{
	return bpf_map_lookup_elem(&ifaces, &id);
}

/* Sets in_iface and vrf of a frame that is addressed to an interface. vlan_ingress() left the interface of the VLAN, or of
 * the routed port, in in_iface; here it is taken back when the MAC is another's. */
static __always_inline __verdict enum verdict iface_ingress(struct pkt *p)
{
	struct iface *i;

	if (!p->in_iface)
		return p->vlan ? V_NEXT : pkt_drop(p, DROP_PORT_NO_INTERFACE);
	i = iface_get(p->in_iface);
	if (!i)
		return pkt_drop(p, DROP_PORT_NO_INTERFACE);
	p->vrf = i->vrf;
	if (mac_equal(p->dmac, i->mac))
		return V_NEXT;
	if (p->vlan) {
		p->in_iface = 0;
		return V_NEXT;
	}
	if (p->flags & PKT_F_L2_MULTICAST)
		return V_HOST;
	return pkt_drop(p, DROP_PORT_NOT_FOR_US);
}

#endif
