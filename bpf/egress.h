/* egress.h: the port a packet leaves by, and the tag it wears there. */
#ifndef SLUICE_EGRESS_H
#define SLUICE_EGRESS_H

#include "pkt.h"
#include "port.h"
#include "vlan.h"
#include "fdb.h"
#include "iface.h"

/* The port must be there and, unless it is a routed one, carry the VLAN. */
static __always_inline __verdict enum verdict egress_check(struct pkt *p)
{
	struct port *port = port_get(p->out_port);

	if (!port || !port->ifindex)
		return pkt_drop(p, DROP_EGRESS_PORT_GONE);
	if (p->out_vlan && !port_carries(port, p->out_vlan))
		return pkt_drop(p, DROP_EGRESS_VLAN);
	return V_FORWARD;
}

static __always_inline __verdict enum verdict egress_switched(struct pkt *p)
{
	return egress_check(p);
}

/* Layer 3: out_iface and new_dmac are decided; of a VLAN's interface the station's port is looked up, or all are asked. */
static __always_inline __verdict enum verdict egress_routed(struct pkt *p)
{
	struct iface *i = iface_get(p->out_iface);
	struct fdb_entry *e;

	if (!i)
		return pkt_drop(p, DROP_ROUTE_IFACE_GONE);
	p->out_vlan = i->vlan;
	if (!i->vlan) {
		p->out_port = i->port;
		return egress_check(p);
	}
	e = fdb_lookup(p->new_dmac, i->vlan);
	if (!e)
		return V_FLOOD;
	p->out_port = e->port;
	return egress_check(p);
}

/* The tag on this port: its ethertype, or 0 for none; *ret_tci in host order, with the priority the frame came in with. */
static __always_inline __be16 egress_tag(const struct pkt *p, const struct port *port, __u16 *ret_tci)
{
	if (!p->out_vlan || port->mode != PORT_TRUNK || port->native == p->out_vlan)
		return 0;
	*ret_tci = p->out_vlan | (p->tagged ? p->tci & VLAN_PRIO : 0);
	return port->tpid;
}

#endif
