/* egress.h: the port a packet leaves by, and the tag it wears there. */
#ifndef SLUICE_EGRESS_H
#define SLUICE_EGRESS_H

#include "pkt.h"
#include "csum.h"
#include "port.h"
#include "vlan.h"
#include "fdb.h"
#include "iface.h"

#define EGRESS_SLACK (ETH_HLEN + 4) /* what netdevs take beyond their MTU: the Ethernet header and one tag */

/* Would the kernel take a frame of `len` bytes, without a tag? Of a GSO packet every segment must fit; the kernel cuts it up. */
static __always_inline bool egress_takes(__u32 mtu, __u32 len)
{
	return len <= mtu + EGRESS_SLACK;
}

static __always_inline bool egress_fits(const struct pkt *p, __u32 mtu)
{
	__u32 len = p->len;

	if (p->segs > 1)
		len = p->seg_len + ETH_HLEN;
	else if (p->tagged && !(p->flags & PKT_F_TAG_HW))
		len -= 4;
	return egress_takes(mtu, len);
}

/* A frame of a trunk's native VLAN leaves without a tag. If its payload began with a tag of this trunk, the other side would take
 * the frame for one of the VLAN named there: a station could reach a VLAN it is not in. */
static __always_inline bool egress_hops(const struct pkt *p, const struct port *port)
{
	return port->mode == PORT_TRUNK && port->native == p->out_vlan && p->proto == port->tpid;
}

/* Why no frame of its ethertype may leave by this port on out_vlan; DROP_NONE: it may, if it is not too long. */
static __always_inline enum drop_reason egress_closed(const struct pkt *p, const struct port *port)
{
	if (!port || !port->ifindex)
		return DROP_EGRESS_PORT_GONE;
	if (port->flags & PORT_F_DOWN)
		return DROP_EGRESS_PORT_DOWN;
	if (p->out_vlan && !port_carries(port, p->out_vlan))
		return DROP_EGRESS_VLAN;
	if (p->out_vlan && egress_hops(p, port))
		return DROP_EGRESS_DOUBLE_TAG;
	return DROP_NONE;
}

/* Why a frame may not leave by this port on out_vlan; DROP_NONE: it may. */
static __always_inline enum drop_reason egress_refuses(const struct pkt *p, const struct port *port)
{
	enum drop_reason why = egress_closed(p, port);

	return !why && !egress_fits(p, port->mtu) ? DROP_EGRESS_MTU : why;
}

static __always_inline __verdict enum verdict egress_check(struct pkt *p)
{
	enum drop_reason why = egress_refuses(p, port_get(p->out_port));

	return why ? pkt_drop(p, why) : V_FORWARD;
}

/* Layer 3: out_iface and new_dmac are decided; of a VLAN's interface the station's port is looked up, or all are asked. */
static __always_inline __verdict enum verdict egress_routed(struct pkt *p)
{
	struct iface *i = iface_get(p->out_iface);

	if (!i)
		return pkt_drop(p, DROP_ROUTE_IFACE_GONE);
	p->out_vlan = i->vlan;
	if (!i->vlan) {
		p->out_port = i->port;
		return egress_check(p);
	}
	p->out_port = fdb_lookup(p, p->new_dmac, i->vlan);
	return p->out_port ? egress_check(p) : V_FLOOD;
}

/* Do frames of the VLAN (0: of none) wear a tag on this port? */
static __always_inline bool egress_is_tagged(const struct port *port, __u32 vlan)
{
	return vlan && port->mode == PORT_TRUNK && port->native != vlan;
}

/* The tag on this port, as it stands in a frame, with the priority that the frame came in with; 0: none. */
static __always_inline __u32 egress_tag(const struct pkt *p, const struct port *port, __u32 vlan)
{
	if (!egress_is_tagged(port, vlan))
		return 0;
	return csum_pair(port->tpid, bpf_htons(vlan | (p->tagged ? p->tci & VLAN_PRIO : 0)));
}

#endif
