/* tunnel.h: what is inside of a tunnel, for the choice among several ways (ecmp-hash: inner), and for the size of what the kernel
 * is yet to make of several of its packets.
 *
 * All packets of a tunnel have the same two ends, so that by their own addresses they would all take one way. Here the addresses,
 * protocol and ports of the packet inside are found: IP in IP (RFC 2003, 2473, 4213), GRE (RFC 2784, 2890) with IP or Ethernet
 * inside, VXLAN (RFC 7348). A tunnel in a tunnel is not followed, and what cannot be read counts as no tunnel. Between parse.h
 * and ecmp.h; where no configuration asks for it, the verifier removes it.
 *
 * A packet of several segments (GSO) that a tunnel has wrapped has the inner headers in each of them, of which the skb says
 * nothing: tunnel_segments() adds them to the size that parse.h has reckoned by the outer ones.
 */
#ifndef SLUICE_TUNNEL_H
#define SLUICE_TUNNEL_H

#include "pkt.h"
#include "parse.h"

#define TUNNEL_VXLAN_I	 0x08 /* the network identifier is valid */
#define TUNNEL_GRE_CSUM	 0x8000
#define TUNNEL_GRE_ROUTE 0x4000
#define TUNNEL_GRE_KEY	 0x2000
#define TUNNEL_GRE_SEQ	 0x1000
#define TUNNEL_GRE_VER	 0x0007

struct tunnel_eth {
	__u8 macs[2 * ETH_ALEN];
	__be16 proto;
};

struct tunnel_udp {
	__be16 sport, dport, len, check;
	__u8 flags; /* of VXLAN */
	__u8 rest[7];
};

static __always_inline void tunnel_ports(ctx_t *ctx, struct pkt *p, __u32 off, __u8 proto)
{
	__be16 ports[2] = {};

	p->inner_proto = proto;
	if ((proto == IPPROTO_TCP || proto == IPPROTO_UDP) && !ctx_load(ctx, off, ports, sizeof(ports))) {
		p->inner.sport = ports[0];
		p->inner.dport = ports[1];
	}
	p->flags |= PKT_F_INNER;
}

static __always_inline void tunnel_ip4(ctx_t *ctx, struct pkt *p, __u32 off)
{
	struct iphdr ip = {};

	if (ctx_load(ctx, off, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return;
	addr_from4(&p->inner.saddr, ip.saddr);
	addr_from4(&p->inner.daddr, ip.daddr);
	if (ip.frag_off & bpf_htons(IP4_MF | IP4_OFFSET))
		ip.protocol = 0;
	tunnel_ports(ctx, p, off + ip.ihl * 4, ip.protocol);
}

static __always_inline void tunnel_ip6(ctx_t *ctx, struct pkt *p, __u32 off)
{
	struct ipv6hdr ip = {};

	if (ctx_load(ctx, off, &ip, sizeof(ip)) || ip.version != 6)
		return;
	__builtin_memcpy(&p->inner.saddr, &ip.saddr, sizeof(struct addr));
	__builtin_memcpy(&p->inner.daddr, &ip.daddr, sizeof(struct addr));
	tunnel_ports(ctx, p, off + sizeof(ip), ip.nexthdr);
}

/* Where the frame or packet inside begins, and what it is; 0: it is no tunnel that is known. */
static __always_inline __be16 tunnel_open(ctx_t *ctx, struct pkt *p, __u32 *off)
{
	struct tunnel_udp udp = {};
	__be16 gre[2] = {};
	__u16 flags;

	switch (p->l4_proto) {
	case IPPROTO_IPIP:
		return bpf_htons(ETH_P_IP);
	case IPPROTO_IPV6:
		return bpf_htons(ETH_P_IPV6);
	case IPPROTO_GRE:
		if (ctx_load(ctx, *off, gre, sizeof(gre)))
			return 0;
		flags = bpf_ntohs(gre[0]);
		if (flags & (TUNNEL_GRE_ROUTE | TUNNEL_GRE_VER))
			return 0;
		*off += 4 + 4 * (!!(flags & TUNNEL_GRE_CSUM) + !!(flags & TUNNEL_GRE_KEY) + !!(flags & TUNNEL_GRE_SEQ));
		return gre[1];
	case IPPROTO_UDP:
		if (p->t.dport != bpf_htons(TUNNEL_VXLAN_PORT) || ctx_load(ctx, *off, &udp, sizeof(udp)) ||
		    !(udp.flags & TUNNEL_VXLAN_I))
			return 0;
		*off += sizeof(udp);
		return bpf_htons(ETH_P_TEB);
	}
	return 0;
}

/* Where the packet inside begins, *off, and its ethertype; 0: there is none that is known. */
static __always_inline __be16 tunnel_inside(ctx_t *ctx, struct pkt *p, __u32 *off)
{
	struct tunnel_eth eth = {};
	__be16 proto, tag = 0;

	*off = p->l4_off;
	proto = tunnel_open(ctx, p, off);
	if (proto != bpf_htons(ETH_P_TEB))
		return proto;
	if (ctx_load(ctx, *off, &eth, sizeof(eth)))
		return 0;
	*off += sizeof(eth);
	if (!parse_is_vlan(eth.proto))
		return eth.proto;
	if (ctx_load(ctx, *off + 2, &tag, sizeof(tag)))
		return 0;
	*off += sizeof(struct vlan_tag);
	return tag;
}

/* Of a packet that parse.h has read, and that is no ICMP error: `inner` and `inner_proto`, and PKT_F_INNER; the ports are 0 where
 * there are none. Behind IPv6 extension headers inside nobody looks: the addresses count alone. */
__noinline_global int tunnel_look(ctx_t *ctx, struct pkt *p)
{
	__be16 proto;
	__u32 off;

	if (!p || p->bad || (p->flags & (PKT_F_FRAGMENT | PKT_F_ICMP_ERROR)))
		return 0;
	proto = tunnel_inside(ctx, p, &off);
	if (proto == bpf_htons(ETH_P_IP))
		tunnel_ip4(ctx, p, off);
	else if (proto == bpf_htons(ETH_P_IPV6))
		tunnel_ip6(ctx, p, off);
	return 0;
}

/* Of a packet of several segments, as tc alone sees them: as much of each is headers as stand before the innermost payload. */
__noinline_global int tunnel_segments(ctx_t *ctx, struct pkt *p)
{
	__u8 head[14] = {}, proto = 0; /* to the length of TCP's, which begins with its high bits */
	__be16 inside;
	__u32 off;

	if (!p || p->bad)
		return 0;
	inside = tunnel_inside(ctx, p, &off);
	if (!inside || ctx_load(ctx, off, head, sizeof(head)))
		return 0;
	if (inside == bpf_htons(ETH_P_IP)) {
		proto = head[9];
		off += (head[0] & 15) * 4;
	} else if (inside == bpf_htons(ETH_P_IPV6)) {
		proto = head[6];
		off += sizeof(struct ipv6hdr);
	}
	if (proto == IPPROTO_UDP)
		off += sizeof(struct udphdr);
	else if (proto == IPPROTO_TCP && !ctx_load(ctx, off, head, sizeof(head)))
		off += (head[12] >> 4) * 4;
	p->seg_len = ctx_gso_size(ctx) + off - p->l3_off;
	return 0;
}

#endif
