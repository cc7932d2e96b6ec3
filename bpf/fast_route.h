/* fast_route.h: ordinary packets that are routed by no flow, straight from their headers to their nexthop (TCP and UDP).
 *
 * Stands between fast.h, which has told by the headers that a packet is ordinary, and route.h, which says where it goes; way.h
 * knows how it gets there. What it decides is what the long way decides: a packet that this one does not forward at once, for
 * whatever reason, goes there as it came, and of those that it does forward the tests ask both.
 */
#ifndef SLUICE_FAST_ROUTE_H
#define SLUICE_FAST_ROUTE_H

#include "pkt.h"
#include "egress.h"
#include "iface.h"
#include "nat_filter.h"
#include "route.h"

/* Nothing that route_martians4() or route_lookup() has a word about, by its first byte: not 0, not 127, below 224, and not
 * link-local. */
static __always_inline bool fast_plain4(__be32 a)
{
	__u32 h = bpf_ntohl(a), first = h >> 24;

	return first - 1 < 223 && first != 127 && h >> 16 != 0xa9fe;
}

/* The same of IPv6: global unicast, unique local, or of what is not given out yet. */
static __always_inline bool fast_plain6(const struct addr *a)
{
	return a->a64[0] && a->a8[0] != 0xff && !route_link_local6(a);
}

/* What a tunnel has inside may choose its way. */
static __always_inline bool fast_is_tunnel(const struct tuple *t, __u8 proto)
{
	return cfg_inner && proto == IPPROTO_UDP && t->dport == bpf_htons(TUNNEL_VXLAN_PORT);
}

/* By which nexthop; 0: that is not decided here. `t`, `proto`: of a packet that has no flow, a TTL larger than 1, and is no
 * fragment. */
static __always_inline __u32 fast_nexthop(__u32 vrf, __u8 family, const struct tuple *t, __u8 proto)
{
	__u32 id;

	if (unlikely(!route_is_foreign(&t->saddr)) || fast_is_tunnel(t, proto))
		return 0;
	id = fib_lookup(vrf, family, &t->daddr);
	if (id & (NEXTHOP_IS_GROUP | NEXTHOP_IS_PAIR)) { /* one test for what most are neither of */
		id = route_now(id);
		if (id & NEXTHOP_IS_GROUP)
			id = ecmp_pick(NULL, t, proto, id & ~NEXTHOP_IS_GROUP, ECMP_FIRST);
	}
	/* Whether it takes a drained way depends on the rules, and on what was noted of its flow. */
	return unlikely(ECMP_FORMER(id)) ? 0 : id;
}

#endif
