/* mss.h: the MSS that two TCP ends offer each other, lowered to what an interface lets through (RFC 6691, RFC 9293 3.7.1).
 *
 * For ways where 'packet too big' gets lost. mss_decide() is a stage: it looks at the interfaces that a SYN comes in by and
 * leaves by, and notes the smaller limit; rewrite.h carries it out. An offer is only ever lowered, and where there is none
 * none is made.
 */
#ifndef SLUICE_MSS_H
#define SLUICE_MSS_H

#include "pkt.h"
#include "iface.h"
#include "route.h"

#define MSS_TCP_SYN 0x02

/* Headers without options (RFC 6691 2): 20 or 40 bytes of IP, and 20 of TCP. `mtu`: layer 3 bytes. */
static __always_inline __u16 mss_of_mtu(__u8 family, __u32 mtu)
{
	__u32 head = family == 4 ? 40 : 60;

	return mtu > head && mtu - head < 0xffff ? mtu - head : 0xffff;
}

/* `back`: the interface is where the SYN came in, and what counts is the way its answers take. */
static __always_inline __u16 mss_limit(struct pkt *p, __u32 iface, bool back)
{
	struct iface *i = iface_get(iface);
	__u32 mtu;

	if (!i || !i->mss)
		return 0xffff;
	if (i->mss != IFACE_MSS_CLAMP)
		return i->mss;
	mtu = back ? route_mtu_back(p) : p->out_mtu;
	return mss_of_mtu(p->family, mtu && mtu < i->mtu ? mtu : i->mtu);
}

/* `v`: what was decided about the packet. */
static __always_inline void mss_decide(struct pkt *p, enum verdict v)
{
	__u16 in, out;

	if (p->l4_proto != IPPROTO_TCP || !(p->tcp_flags & MSS_TCP_SYN) || (p->flags & PKT_F_LATER_FRAGMENT) || !p->tcp_options)
		return;
	if (v != V_FORWARD && v != V_FLOOD && v != V_NEIGH)
		return;
	in = mss_limit(p, p->in_iface, true);
	out = mss_limit(p, p->out_iface, false);
	p->mss = in < out ? in : out;
	if (p->mss != 0xffff)
		p->todo |= DO_MSS;
}

#endif
