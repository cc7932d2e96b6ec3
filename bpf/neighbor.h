/* neighbor.h: the MAC of the station a routed packet goes to.
 *
 * Stands between route.h, which chose the nexthop, and egress.h. The kernel resolves (ARP, RFC 826; ND, RFC 4861), sluiced
 * mirrors what it knows: of gateways into their nexthop, of everybody into `neighbors`. Who is in neither is asked for by
 * handing the packet to the kernel, which holds it meanwhile.
 */
#ifndef SLUICE_NEIGHBOR_H
#define SLUICE_NEIGHBOR_H

#include "pkt.h"
#include "iface.h"
#include "route.h"
#include "scratch.h"

#define NEIGHBOR_BURST_NS 1000000000ull
#define NEIGHBOR_QUIET_NS 250000000ull
#define NEIGHBOR_ALL	  0xffffffffffffull /* the broadcast MAC */
#define NEIGHBOR_USED_NS  1000000000ull	    /* `used_ns` is this exact */

/* Written by sluiced; used_ns is written here, and entries of those that are asked for are made by asked.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct neighbor_key);
	__type(value, struct neighbor);
} neighbors SEC(".maps");

/* The MAC of a station that answers; 0: it does not, or nobody knows. */
__noinline_global __u64 neighbor_mac(struct pkt *p, __u32 iface, const struct addr *a)
{
	struct neighbor_key key = {.iface = iface};
	struct neighbor *n;

	if (!p || !a)
		return 0;
	key.addr = *a;
	n = bpf_map_lookup_elem(&neighbors, &key);
	if (!n || (n->flags & (NEIGHBOR_F_VALID | NEIGHBOR_F_FAILED)) != NEIGHBOR_F_VALID)
		return 0;
	if (pkt_now(p) - READ_ONCE(n->used_ns) > NEIGHBOR_USED_NS)
		WRITE_ONCE(n->used_ns, pkt_now(p));
	return mac_word(n->mac);
}

/* A second's worth at once. A race between CPUs lets one packet more through. */
static __always_inline bool neighbor_is_in_time(__u64 *clock, __u64 now)
{
	return READ_ONCE(*clock) <= now + NEIGHBOR_BURST_NS;
}

static __always_inline void neighbor_spend(__u64 *clock, __u64 now, __u32 rate)
{
	__u64 next = READ_ONCE(*clock);

	if (!HOOK_XDP) /* tc comes to the same decision again */
		WRITE_ONCE(*clock, (next > now ? next : now) + 1000000000ull / rate);
}

/* Somebody who scans a connected prefix would fill the kernel's neighbour table, and drive out of it the stations that are there:
 * each interface may ask for so many addresses a second, and all together for so many; one that has asked for nobody lately may
 * in any case, lest two that are scanned shut out the rest. `asked`: the entry of one that is asked for already; NULL: it is not.
 * More packets to it fill nothing but what the kernel holds for it: they have a measure of their own, and take nothing of
 * others'. */
static __always_inline __verdict enum verdict neighbor_ask(struct pkt *p, struct neighbor *asked)
{
	__u64 now = pkt_now(p), *clock, *all = clock_get(CLOCK_NEIGHBOR);
	bool room;

	if (asked)
		clock = &asked->used_ns;
	else
		clock = p->out_iface < IFACE_MAX ? clock_get(CLOCK_NEIGHBOR + p->out_iface) : NULL;
	if (!clock || !all || !control.neighbor_rate || !neighbor_is_in_time(clock, now))
		return pkt_drop(p, DROP_NEIGHBOR_LIMITED);
	if (!asked && control.neighbor_rate_all) {
		room = neighbor_is_in_time(all, now);
		if (!room && READ_ONCE(*clock) + NEIGHBOR_QUIET_NS > now)
			return pkt_drop(p, DROP_NEIGHBOR_LIMITED);
		if (room)
			neighbor_spend(all, now, control.neighbor_rate_all);
	}
	neighbor_spend(clock, now, control.neighbor_rate);
	return V_NEIGH;
}

/* Of a gateway, where it is known; 0: it is not. MAC and flags change in one store. */
static __always_inline __u64 neighbor_of_gateway(const struct nexthop *nh)
{
	__u64 word = READ_ONCE(*(const __u64 *)nh);

	return word >> 48 & NEXTHOP_F_RESOLVED ? mac_word(&word) : 0;
}

/* The MAC that the nexthop has itself; 0: none. */
static __always_inline __u64 neighbor_of_nexthop(struct pkt *p)
{
	struct nexthop *nh = nexthop_get(p->nexthop);

	if (!nh)
		return 0;
	if (unlikely(nh->type == NEXTHOP_BROADCAST))
		return NEIGHBOR_ALL;
	return nh->type == NEXTHOP_GATEWAY ? neighbor_of_gateway(nh) : 0;
}

/* Sets the MACs. V_FORWARD; V_NEIGH: the kernel is to resolve next_addr on out_iface. */
static __always_inline __verdict enum verdict neighbor_lookup(struct pkt *p)
{
	struct iface *i = iface_get(p->out_iface);
	struct neighbor_key key = {};
	struct neighbor *n;
	__u64 dmac;

	dmac = neighbor_of_nexthop(p);
	if (!dmac)
		dmac = neighbor_mac(p, p->out_iface, &p->next_addr);
	macs_set(p->new_macs, dmac, i ? mac_word(i->mac) : 0);
	if (likely(dmac))
		return V_FORWARD;
	key.addr = p->next_addr;
	key.iface = p->out_iface;
	n = bpf_map_lookup_elem(&neighbors, &key);
	if (!n || !(n->flags & NEIGHBOR_F_FAILED))
		return neighbor_ask(p, n && n->flags & NEIGHBOR_F_ASKED ? n : NULL);
	return p->family == 4 ? pkt_drop_reply(p, DROP_NEIGHBOR_FAILED, ICMP4_UNREACH, ICMP4_HOST_UNREACH, 0)
			      : pkt_drop_reply(p, DROP_NEIGHBOR_FAILED, ICMP6_UNREACH, ICMP6_ADDR_UNREACH, 0);
}

#endif
