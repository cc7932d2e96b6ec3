/* fast_route.h: ordinary packets that are routed by no flow, straight from their headers to their way out (TCP and UDP).
 *
 * Stands between fast.h, which has told by the headers that a packet is ordinary, and route.h and way.h, which say where it goes.
 * What it decides is what the long way decides: a packet that this one does not forward at once, for whatever reason, goes there
 * as it came, and of those that it does forward the tests ask both.
 */
#ifndef SLUICE_FAST_ROUTE_H
#define SLUICE_FAST_ROUTE_H

#include "pkt.h"
#include "egress.h"
#include "iface.h"
#include "nat_filter.h"
#include "route.h"
#include "way.h"

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

/* Not surely none of the switch's own addresses or its prefixes' broadcast addresses: route_source() finds out. */
static __always_inline bool fast_source_is_own(const struct addr *source)
{
	__u32 zero = 0, bit = OWN_FILTER_BIT(source);
	struct own_filter *own = bpf_map_lookup_elem(&own_filter, &zero);

	return !own || READ_ONCE(own->bits[bit / 64 % (OWN_FILTER_BITS / 64)]) >> (bit % 64) & 1;
}

/* What a tunnel has inside may choose its way. */
static __always_inline bool fast_is_tunnel(const struct tuple *t, __u8 proto)
{
	return cfg_inner && proto == IPPROTO_UDP && t->dport == bpf_htons(TUNNEL_VXLAN_PORT);
}

/* By a nexthop whose MAC is known, out of a port that the hook serves. `rules`: see nat_filter.h. False with PKT_F_WAY: that is
 * its way, but a rule may concern it. */
static __always_inline bool fast_leave(struct pkt *p, __u32 id, const struct addr *daddr, __u32 rules)
{
	struct way *w = way_get(p, id, daddr);

	if (!w || p->seg_len > w->mtu || !egress_fits(p, w->frame))
		return false;
	p->new_macs[0] = w->macs[0];
	p->new_macs[1] = w->macs[1];
	p->new_macs[2] = w->macs[2];
	p->out_port = w->port;
	p->out_tag = w->tpid ? csum_pair(w->tpid, bpf_htons(w->vlan | (p->tagged ? p->tci & VLAN_PRIO : 0))) : 0;
	p->out_known = 1;
	p->nexthop = id;
	if (!cfg_nat || likely(!nat_filter_leaves(rules, w->iface)))
		return true;
	p->out_vlan = w->vlan;
	p->out_iface = w->iface;
	p->out_mtu = w->mtu;
	p->flags |= PKT_F_WAY;
	return false;
}

/* `t`, `proto`: of the packet, which has no flow, a TTL larger than 1, is no fragment, and whose seg_len is known; `rules`: the
 * source rules that may concern it. True: the way out and both MACs are in `p`; layer 3 is left to the caller. */
static __always_inline bool fast_route(struct pkt *p, __u8 family, const struct tuple *t, __u8 proto, __u32 rules)
{
	__u32 id;

	if (unlikely(fast_source_is_own(&t->saddr)) || fast_is_tunnel(t, proto))
		return false;
	id = fib_lookup(p->vrf, family, &t->daddr);
	if (id & NEXTHOP_IS_GROUP)
		id = ecmp_pick(p, t, proto, id & ~NEXTHOP_IS_GROUP, ECMP_FIRST);
	/* Whether it takes a drained way depends on the rules, and on what was noted of its flow. */
	if (unlikely(ECMP_FORMER(id)))
		return false;
	return fast_leave(p, id, &t->daddr, rules);
}

#endif
