/* route.h: what may be routed, where it goes, and how much of it: nexthops, their counters, the checks of RFC 1812.
 *
 * Stands between iface.h, which found that a packet is addressed to the gateway, and neighbor.h, which finds the MAC of the
 * nexthop chosen here. fib.h and ecmp.h search; this header knows what their results mean.
 */
#ifndef SLUICE_ROUTE_H
#define SLUICE_ROUTE_H

#include "pkt.h"
#include "counter.h"
#include "iface.h"
#include "fib.h"
#include "ecmp.h"

#define ICMP4_UNREACH	   3
#define ICMP4_NET_UNREACH  0
#define ICMP4_HOST_UNREACH 1
#define ICMP4_PROHIBITED   13
#define ICMP4_PARAMETER	   12
#define ICMP6_UNREACH	   1
#define ICMP6_NO_ROUTE	   0
#define ICMP6_PROHIBITED   1
#define ICMP6_ADDR_UNREACH 3

/* Written by sluiced, read here. Nexthop id -> struct nexthop. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NEXTHOP_MAX);
	__type(key, __u32);
	__type(value, struct nexthop);
} nexthops SEC(".maps");

/* Written here, read by sluiced. Nexthop id -> packets and bytes that left by it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NEXTHOP_MAX);
	__type(key, __u32);
	__type(value, struct nexthop_counters);
} nexthop_counters SEC(".maps");

/* Written by sluiced, read here. Group id -> the interfaces its members leave by. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NHG_MAX);
	__type(key, __u32);
	__type(value, struct nhg_ifaces);
} nhg_ifaces SEC(".maps");

/* Written by sluiced, read here. */
SHARED_ONE(own_filter, struct own_filter);

/* Surely none of the switch's own addresses, or of its prefixes' broadcast addresses? */
static __always_inline bool route_is_foreign(const struct addr *a)
{
	__u32 bit = OWN_FILTER_BIT(a);

	return !(READ_ONCE(own_filter.bits[bit / 64 % (OWN_FILTER_BITS / 64)]) >> (bit % 64) & 1);
}

/* Written by sluiced, read here. Pair id -> struct nexthop_pair. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NEXTHOP_PAIRS);
	__type(key, __u32);
	__type(value, struct nexthop_pair);
} nexthop_pairs SEC(".maps");

/* A function of its own, so that who meets no pair pays for a branch alone. */
__noinline_global __u32 route_of_pair(__u32 id)
{
	struct nexthop_pair *pair = bpf_map_lookup_elem(&nexthop_pairs, &id);

	return pair ? READ_ONCE(pair->now) : 0;
}

/* Of a FIB's result, which may be a pair, the one that is taken now: a nexthop or group; 0: no route. */
static __always_inline __u32 route_now(__u32 result)
{
	return unlikely(result & NEXTHOP_IS_PAIR) ? route_of_pair(result & ~NEXTHOP_IS_PAIR) : result;
}

static __always_inline struct nexthop *nexthop_get(__u32 id)
{
	return bpf_map_lookup_elem(&nexthops, &id);
}

/* When routed packets leave. verifier: before 6.2 a key must stand on the stack or in a map, not in `struct pkt`. */
static __always_inline void nexthop_add(__u32 id, __u32 packets, __u32 bytes)
{
	struct nexthop_counters *c = bpf_map_lookup_elem(&nexthop_counters, &id);

	if (!c)
		return;
	c->packets += packets;
	c->bytes += bytes;
}

static __always_inline void nexthop_count(struct pkt *p)
{
	nexthop_add(p->nexthop, count_packets(p), p->len);
}

/* Source and destination of IPv4 (RFC 1812 5.3.7, 4.2.2.11); nobody sends to himself over a wire. V_HOST: multicast and broadcast
 * are the kernel's. */
static __always_inline __verdict enum verdict route_martians4(struct pkt *p)
{
	__u32 s = bpf_ntohl(p->t.saddr.a32[3]), d = bpf_ntohl(p->t.daddr.a32[3]);

	if (d >> 28 == 0xe || d == 0xffffffff)
		return V_HOST;
	if (s >> 28 >= 0xe || s >> 24 == 127 || (s >> 24 == 0 && s) || s == d)
		return pkt_drop(p, DROP_ROUTE_MARTIAN_SOURCE);
	if (d >> 28 == 0xf || d >> 24 == 127 || d >> 24 == 0)
		return pkt_drop(p, DROP_ROUTE_MARTIAN_DESTINATION);
	return V_NEXT;
}

/* Loopback, unspecified, or IPv4-mapped, which is never seen on a wire (RFC 4291 2.5, RFC 4942 2.2). */
static __always_inline bool route_reserved6(const struct addr *a)
{
	if (a->a64[0])
		return false;
	return a->a32[2] == bpf_htonl(0xffff) || (!a->a32[2] && bpf_ntohl(a->a32[3]) <= 1);
}

static __always_inline bool route_link_local6(const struct addr *a)
{
	return a->a8[0] == 0xfe && (a->a8[1] & 0xc0) == 0x80;
}

/* Source and destination of IPv6 (RFC 4291 2.5.2, 2.5.3, 2.5.6, 2.7). Link-local ones never leave their link: the host's. */
static __always_inline __verdict enum verdict route_martians6(struct pkt *p)
{
	const struct addr *s = &p->t.saddr, *d = &p->t.daddr;

	if (d->a8[0] == 0xff || route_link_local6(d))
		return V_HOST;
	if (s->a8[0] == 0xff || (route_reserved6(s) && (s->a64[0] || s->a64[1])) || addr_equal(s, d))
		return pkt_drop(p, DROP_ROUTE_MARTIAN_SOURCE);
	if (route_reserved6(d))
		return pkt_drop(p, DROP_ROUTE_MARTIAN_DESTINATION);
	return route_link_local6(s) ? V_HOST : V_NEXT;
}

/* The nexthop or group for where the packet is going now, or with `source` for where it came from; 0: no route.
 * verifier: a global function, because a loop over the levels inside of everything else costs a hundred thousand steps. */
__noinline_global __u32 route_find(struct pkt *p, __u32 source)
{
	struct addr a;

	if (!p)
		return 0;
	a = p->to.daddr;
	if (source)
		a = p->t.saddr;
	return route_now(fib_lookup(source ? p->vrf : p->route_vrf, p->family, &a));
}

/* Path MTU of the route that leads back to the sender; 0: none of its own. For what is done once a connection. */
__noinline_global __u32 route_mtu_back(struct pkt *p)
{
	struct nexthop *nh;
	__u32 id;

	if (!p)
		return 0;
	id = route_find(p, 1);
	if (id & NEXTHOP_IS_GROUP)
		id = ecmp_choose(p, id & ~NEXTHOP_IS_GROUP, ECMP_FIRST) & 0xffff; /* all members have the route's */
	nh = nexthop_get(id);
	return id && nh ? nh->mtu : 0;
}

static __always_inline bool route_link_local4(const struct addr *a)
{
	return (a->a32[3] & bpf_htonl(0xffff0000)) == bpf_htonl(0xa9fe0000);
}

/* What was decided for IPv4 0.0.0.0 and IPv6 :: as source: a station that has no address yet may talk to the host alone. */
static __always_inline __verdict enum verdict route_unspecified(struct pkt *p)
{
	__u32 id = route_find(p, 0);
	struct nexthop *nh = nexthop_get(id);

	if (id && nh && nh->type == NEXTHOP_LOCAL)
		return V_HOST;
	return pkt_drop(p, DROP_ROUTE_MARTIAN_SOURCE);
}

/* Sources that no station may have: addresses of the switch, broadcast addresses of its prefixes (RFC 1812 5.3.7, 4.2.2.11). A
 * filter spares nearly all packets the search. */
static __always_inline __verdict enum verdict route_source(struct pkt *p)
{
	struct nexthop *nh;
	__u32 id;

	if (likely(route_is_foreign(&p->t.saddr)))
		return V_NEXT;
	id = route_find(p, 1);
	nh = nexthop_get(id);
	if (!id || !nh)
		return V_NEXT;
	if (nh->type == NEXTHOP_LOCAL)
		return pkt_drop(p, DROP_ROUTE_OWN_SOURCE);
	return nh->type == NEXTHOP_BROADCAST ? pkt_drop(p, DROP_ROUTE_BROADCAST_SOURCE) : V_NEXT;
}

/* A header that cannot be read is discarded silently where it cannot be relied on (RFC 1812 5.2.2). Of options that do not fit
 * the rest can be, and their sender is told where the fault is (RFC 1812 4.3.3.5): if he is somebody, and not a group was meant.
 */
__noinline_global enum verdict route_bad(struct pkt *p)
{
	struct nexthop *nh;

	if (!p)
		return V_DROP;
	if (p->bad != DROP_PARSE_IP4_OPTIONS || route_martians4(p) != V_NEXT || route_source(p) != V_NEXT)
		return pkt_drop(p, p->bad);
	p->to = p->t;
	p->route_vrf = p->vrf;
	nh = nexthop_get(route_find(p, 0));
	if (nh && nh->type == NEXTHOP_BROADCAST)
		return pkt_drop(p, p->bad);
	return pkt_drop_reply(p, p->bad, ICMP4_PARAMETER, 0, (__u32)p->bad_at << 24);
}

/* May the packet be routed? It is addressed to in_iface, or came in on a routed port. Leaves `to` as a copy of `t`. */
static __always_inline __verdict enum verdict route_ingress(struct pkt *p)
{
	enum verdict v;

	if (unlikely(p->bad))
		return route_bad(p);
	if (!p->family || (p->family == 6 && !cfg_ipv6))
		return V_HOST;
	v = p->family == 4 ? route_martians4(p) : route_martians6(p);
	if (v != V_NEXT)
		return v;
	if (unlikely(p->flags & PKT_F_SOURCE_ROUTE))
		return pkt_drop(p, DROP_ROUTE_SOURCE_ROUTE);
	p->to = p->t;
	p->route_vrf = p->vrf;
	p->todo = 0;
	if (p->family == 4 ? !p->t.saddr.a32[3] : !(p->t.saddr.a64[0] | p->t.saddr.a64[1]))
		return route_unspecified(p);
	return V_NEXT;
}

/* Routes that lead nowhere, and say so or not (RFC 1812 5.2.7.1, RFC 4443 3.1). */
static __always_inline __verdict enum verdict route_refuse(struct pkt *p, __u8 type)
{
	bool v4 = p->family == 4;

	switch (type) {
	case NEXTHOP_BLACKHOLE:
		return pkt_drop(p, DROP_ROUTE_BLACKHOLE);
	case NEXTHOP_BROADCAST:
		return pkt_drop(p, DROP_ROUTE_BROADCAST);
	case NEXTHOP_UNREACHABLE:
		return pkt_drop_reply(p, DROP_ROUTE_UNREACHABLE, v4 ? ICMP4_UNREACH : ICMP6_UNREACH,
				      v4 ? ICMP4_HOST_UNREACH : ICMP6_ADDR_UNREACH, 0);
	case NEXTHOP_PROHIBIT:
		return pkt_drop_reply(p, DROP_ROUTE_PROHIBIT, v4 ? ICMP4_UNREACH : ICMP6_UNREACH,
				      v4 ? ICMP4_PROHIBITED : ICMP6_PROHIBITED, 0);
	case NEXTHOP_OUTSIDE:
		return pkt_drop_reply(p, DROP_ROUTE_OUTSIDE, v4 ? ICMP4_UNREACH : ICMP6_UNREACH,
				      v4 ? ICMP4_NET_UNREACH : ICMP6_NO_ROUTE, 0);
	default:
		return pkt_drop_reply(p, DROP_ROUTE_NONE, v4 ? ICMP4_UNREACH : ICMP6_UNREACH,
				      v4 ? ICMP4_NET_UNREACH : ICMP6_NO_ROUTE, 0);
	}
}

/* A directed broadcast that is let through (RFC 2644): it has the interface where all shall hear it. */
static __always_inline bool route_is_broadcast(const struct nexthop *nh)
{
	return nh->type == NEXTHOP_BROADCAST && nh->iface;
}

/* The nexthop for to.daddr; 0: there is no route. `asks` and the answer: see ecmp.h. */
static __always_inline __u32 route_choose(struct pkt *p, __u32 asks)
{
	__u32 id = route_find(p, 0);

	return id & NEXTHOP_IS_GROUP ? ecmp_choose(p, id & ~NEXTHOP_IS_GROUP, asks) : id;
}

/* Nexthop and egress interface for to.daddr, by what was chosen; TTL and MTU are checked. V_HOST: it is an address of the host,
 * or the host's to route. */
static __always_inline __verdict enum verdict route_lookup(struct pkt *p, __u32 id)
{
	struct nexthop *nh = nexthop_get(id);
	enum verdict v;
	struct iface *i;
	__u32 mtu;

	p->nexthop = 0;
	if (!id || !nh)
		return route_refuse(p, NEXTHOP_NONE);
	if (nh->type == NEXTHOP_LOCAL)
		return V_HOST;
	if (p->family == 4 && unlikely(route_link_local4(&p->to.daddr) || route_link_local4(&p->t.saddr)))
		return pkt_drop(p, DROP_ROUTE_LINK_LOCAL);
	if (nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED && !route_is_broadcast(nh)) {
		/* Its answers come past the translation: what is translated cannot be the host's to route. */
		if (nh->type == NEXTHOP_HOST)
			return p->todo ? route_refuse(p, NEXTHOP_OUTSIDE) : V_HOST;
		return route_refuse(p, nh->type);
	}
	i = iface_get(nh->iface);
	if (!i || !i->port)
		return pkt_drop(p, DROP_ROUTE_IFACE_GONE);
	p->nexthop = id;
	p->out_iface = nh->iface;
	if (nh->type == NEXTHOP_GATEWAY) {
		p->next_family = nh->family;
		p->next_addr = nh->gateway;
	} else {
		p->next_family = p->family;
		p->next_addr = p->to.daddr;
	}
	mtu = nh->mtu && nh->mtu < i->mtu ? nh->mtu : i->mtu;
	p->out_mtu = mtu;
	p->todo |= DO_L2 | DO_TTL;
	v = pkt_may_leave(p, mtu);
	if (unlikely(nh->type == NEXTHOP_BROADCAST))
		p->reply_type = 0; /* RFC 1812 4.3.2.7 */
	return v;
}

#endif
