/* vlan.h: the VLAN of a frame that comes in (IEEE 802.1Q-2018 6.9, 802.1ad).
 *
 * A port has one tag ethertype. A frame whose outer tag has it belongs to the VLAN it names; VID 0 is a priority tag, which
 * names none. Everything else is untagged, whatever it carries: a customer's 802.1Q tag on an 802.1ad access port is payload,
 * and that is Q-in-Q.
 */
#ifndef SLUICE_VLAN_H
#define SLUICE_VLAN_H

#include "pkt.h"
#include "port.h"

/* Written by sluiced, read here. VLAN id -> struct vlan. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VLAN_IDS);
	__type(key, __u32);
	__type(value, struct vlan);
} vlans SEC(".maps");

/* Written by sluiced, read here. VLAN id -> struct vlan_members. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VLAN_IDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct vlan_members);
} vlan_members SEC(".maps");

#define VLAN_VID  0x0fff
#define VLAN_PRIO 0xf000 /* PCP and DEI */

static __always_inline __verdict enum verdict vlan_ingress(struct pkt *p, const struct port *port)
{
	__u16 vid = 0;
	struct vlan *v;
	__u32 key;

	p->tagged = p->tpid && p->tpid == port->tpid;
	if (p->tagged)
		vid = p->tci & VLAN_VID;
	if (p->tpid && !p->tagged)
		p->proto = p->tpid;

	if (port->mode == PORT_ROUTED) {
		p->in_iface = port->iface;
		return vid || (p->tpid && !p->tagged) ? pkt_drop(p, DROP_VLAN_TAGGED_ON_ROUTED) : V_NEXT;
	}
	if (!vid) {
		vid = port->native;
		if (!vid)
			return pkt_drop(p, DROP_VLAN_NO_NATIVE);
	} else if (port->mode != PORT_TRUNK) {
		return pkt_drop(p, DROP_VLAN_TAGGED_ON_ACCESS);
	} else if (!port_carries(port, vid)) {
		return pkt_drop(p, DROP_VLAN_NOT_ALLOWED);
	}
	p->vlan = vid;
	key = vid;
	v = bpf_map_lookup_elem(&vlans, &key);
	if (v && v->host_port != p->in_port)
		p->in_iface = v->iface;
	return V_NEXT;
}

#endif
