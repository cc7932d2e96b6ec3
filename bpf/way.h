/* way.h: the way out by a nexthop, all that a routed packet needs of it at once.
 *
 * Stands between fast.h, which has the nexthop chosen, and the tables of neighbor.h, iface.h, fdb.h and egress.h, which say
 * which MACs, which port and which tag that means; what they said is kept for a CPU, as long as found.h says. Ways to gateways
 * are found by the nexthop alone, those to the stations of a connected prefix by the station too.
 */
#ifndef SLUICE_WAY_H
#define SLUICE_WAY_H

#include "pkt.h"
#include "egress.h"
#include "found.h"
#include "iface.h"
#include "neighbor.h"
#include "port.h"
#include "route.h"

struct way {
	struct addr station;
	__u64 stamp;
	__u32 nexthop; /* its id, with WAY_HOOK and WAY_STATION */
	__u32 macs[3]; /* as the frame begins */
	__u16 iface;
	__u16 port; /* 0: there is one for each station, look for that */
	__u16 vlan;
	__be16 tpid; /* 0: no tag */
	__u32 mtu;   /* layer 3 bytes that may leave */
	__u32 frame; /* layer 3 bytes that the port takes, what follows the packet among them */
};

/* Each hook has its own: they may not send to the same ports. */
#define WAY_HOOK    (HOOK_XDP ? 0 : 1u << 31)
#define WAY_STATION (1u << 30)

static __always_inline __u32 way_at(__u32 id)
{
	return found_at(FOUND_WAYS, FOUND_WAY_BITS, id);
}

static __always_inline __u32 way_at_station(__u32 id, const struct addr *a)
{
	return found_at(FOUND_WAYS, FOUND_WAY_BITS, (a->a64[0] ^ id) * 0x9fb21c651e98df25ull + a->a64[1]);
}

/* Where frames for the MAC leave the interface; 0: nowhere at once. */
static __always_inline __u16 way_port(struct pkt *p, const struct iface *i, __u64 dmac)
{
	__u16 mac[4] = {dmac, dmac >> 16, dmac >> 32};

	return i->vlan ? fdb_lookup(p, (const __u8 *)mac, i->vlan) : i->port;
}

/* The MAC of the nexthop itself, or of the station; 0: nobody knows, or it is none that forwards. */
static __always_inline __u64 way_mac(struct pkt *p, const struct nexthop *nh, const struct addr *daddr)
{
	if (nh->type == NEXTHOP_GATEWAY)
		return neighbor_of_gateway(nh);
	return nh->type == NEXTHOP_CONNECTED ? neighbor_mac(p, nh->iface, daddr) : 0;
}

static __always_inline void way_fill(struct way *w, const struct pkt *p, const struct nexthop *nh, const struct iface *i,
				     __u64 dmac, const struct port *port)
{
	w->stamp = p->stamp;
	macs_set(w->macs, dmac, mac_word(i->mac));
	w->iface = nh->iface;
	w->port = p->out_port;
	w->vlan = i->vlan;
	w->tpid = egress_tag(p, port, i->vlan);
	w->mtu = nh->mtu && nh->mtu < i->mtu ? nh->mtu : i->mtu;
	w->frame = port->mtu;
}

/* Asks the tables, and notes what they say. Where it stands in `found`; 0: there is no way that this hook sends by at once. */
__noinline_global __u32 way_find(struct pkt *p, __u32 id, const struct addr *daddr)
{
	struct nexthop *nh = nexthop_get(id);
	struct port *port;
	struct iface *i;
	struct way *w;
	__u64 dmac;
	__u32 at;

	if (!p || !daddr || !nh || !id)
		return 0;
	i = iface_get(nh->iface);
	dmac = way_mac(p, nh, daddr);
	if (!dmac || !i || !i->port)
		return 0;
	p->out_vlan = i->vlan;
	p->out_port = way_port(p, i, dmac);
	port = port_get(p->out_port);
	if (!p->out_port || !port || egress_closed(p, port) || !port_finishes(p, V_FORWARD))
		return 0;
	at = way_at(id);
	w = found_get(at, struct way);
	if (!w)
		return 0;
	way_fill(w, p, nh, i, dmac, port);
	w->nexthop = id | WAY_HOOK;
	if (nh->type == NEXTHOP_GATEWAY)
		return at;
	w->port = 0;
	at = way_at_station(id, daddr);
	w = found_get(at, struct way);
	if (!w)
		return 0;
	way_fill(w, p, nh, i, dmac, port);
	w->nexthop = id | WAY_HOOK | WAY_STATION;
	w->station = *daddr;
	return at;
}

/* By a nexthop, for a packet to `daddr`; NULL: way_find() is to be asked. `stamp`: see pkt.h. */
static __always_inline struct way *way_known(__u64 stamp, __u32 id, const struct addr *daddr)
{
	struct way *w = found_get(way_at(id), struct way);

	if (!w || w->stamp != stamp || w->nexthop != (id | WAY_HOOK))
		return NULL;
	if (likely(w->port))
		return w;
	w = found_get(way_at_station(id, daddr), struct way);
	if (!w || w->stamp != stamp || w->nexthop != (id | WAY_HOOK | WAY_STATION) || !addr_equal(&w->station, daddr))
		return NULL;
	return w;
}

#endif
