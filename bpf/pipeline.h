/* pipeline.h: the order of the stages, written here and nowhere else.
 *
 *   entry → parse → port → vlan ingress → fdb learn → for the gateway's MAC? ──no──→ fdb lookup, flood ─────────→ egress
 *                                            ┌───────yes────────────────────────┘
 *                                            └→ martians → reverse path → flow hit? ──yes─────────→ mss → rewrite → egress
 *                                                              └no→ dnat → route, ecmp, mtu → snat → neighbor
 *                                                                    → install the flow pair ──────↗
 *
 * The first line is walked once a second for each two stations: known.h remembers what it said, and what is ordinary takes the
 * short way of fast.h, in place of all of this.
 *
 * A stage decides on a struct pkt and its own tables; it returns V_NEXT or what shall become of the packet.
 */
#ifndef SLUICE_PIPELINE_H
#define SLUICE_PIPELINE_H

#include "pkt.h"
#include "parse.h"
#include "port.h"
#include "vlan.h"
#include "fdb.h"
#include "vrf.h"
#include "iface.h"
#include "route.h"
#include "urpf.h"
#include "neighbor.h"
#include "nat.h"
#include "nat_icmp.h"
#include "nat_share.h"
#include "flow.h"
#include "frag.h"
#include "own.h"
#include "fast.h"
#include "fast_first.h"
#include "half.h"
#include "known.h"
#include "egress.h"
#include "mss.h"
#include "tunnel.h"

/* Another address of the pool for a protocol without ports, by which the host itself speaks with the remote end: none of the
 * gateway's own, since the host may speak by each of them. */
static __always_inline __verdict enum verdict pipeline_snat_address(struct pkt *p)
{
	return nat_share(p, true) ? V_NEXT : pkt_drop(p, DROP_NAT_OWN_PORT);
}

/* Another source than one of the gateway's own that the host has in use; a port is tried once: two sockets in a row are no
 * accident. */
static __always_inline __verdict enum verdict pipeline_snat_else(ctx_t *ctx, struct pkt *p)
{
	enum verdict v;

	if (pool_class(p->l4_proto) == POOL_CLASSES)
		return pipeline_snat_address(p);
	v = nat_snat(p);
	return v == V_NEXT && own_taken(ctx, p) ? pkt_drop(p, DROP_NAT_OWN_PORT) : v;
}

/* Whoever waits for an answer gives his port, or his place among the mappings, to who has none. */
static __always_inline __verdict enum verdict pipeline_snat(ctx_t *ctx, struct pkt *p)
{
	enum verdict v = nat_snat(p);

	if (unlikely(v == V_DROP && (p->drop == DROP_NAT_NO_PORT || p->drop == DROP_NAT_FULL))) {
		if (p->nat_raced || half_reclaim(p, p->drop == DROP_NAT_NO_PORT ? p->nat_pool : 0))
			v = nat_snat(p);
		if (v == V_DROP && p->drop == DROP_NAT_NO_PORT)
			return nat_refuse(p, DROP_NAT_NO_PORT);
	}
	if (v == V_NEXT && p->nat_own && own_taken(ctx, p))
		v = pipeline_snat_else(ctx, p);
	return v;
}

#define PIPELINE_TRIES 8

/* Another address for a protocol without ports. Whoever waits for an answer keeps his: it would be one of all remote ends' that
 * was given up, and mostly another's. */
static __always_inline __verdict enum verdict pipeline_share_address(ctx_t *ctx, struct pkt *p)
{
	if (!nat_share(p, false))
		return nat_refuse(p, DROP_NAT_NO_ADDRESS);
	return p->nat_own && own_taken(ctx, p) ? pipeline_snat_address(p) : V_NEXT;
}

/* Another port for one that shares it; whoever waits for an answer gives way for that, too. */
static __always_inline __verdict enum verdict pipeline_share_port(ctx_t *ctx, struct pkt *p)
{
	if (!nat_share(p, false) && !(half_reclaim(p, p->nat_pool) && nat_share(p, false)))
		return nat_refuse(p, DROP_NAT_NO_PORT);
	return p->nat_own && own_taken(ctx, p) ? pkt_drop(p, DROP_NAT_CLASH) : V_NEXT;
}

/* May a packet whose answers could not be told apart have another source? A mapping has one port, and who has no pool his own. */
static __always_inline bool pipeline_may_share(const struct pkt *p)
{
	bool portless = pool_class(p->l4_proto) == POOL_CLASSES;

	return p->nat_pool ? portless || p->nat_flags & SNAT_F_OVERLOAD : !portless && p->flow_flags & FLOW_F_DNAT;
}

/* That one; V_DROP: none was found. */
static __always_inline __verdict enum verdict pipeline_share(ctx_t *ctx, struct pkt *p)
{
	if (!p->nat_pool)
		return nat_share_remote(p) ? V_NEXT : pkt_drop(p, DROP_NAT_CLASH);
	return pool_class(p->l4_proto) == POOL_CLASSES ? pipeline_share_address(ctx, p) : pipeline_share_port(ctx, p);
}

/* The pair of entries. A port that flows share may be one whose answers could not be told apart: then it gets another, which may
 * be a socket's of the host, or another CPU's by now. */
static __always_inline __verdict enum verdict pipeline_install(ctx_t *ctx, struct pkt *p, enum verdict v)
{
	enum verdict r = flow_note(p, v);

	if (unlikely(r == V_DROP && p->drop == DROP_NAT_CLASH) && flow_yields(p))
		r = flow_install(p, v);
	for (int i = 1; i < PIPELINE_TRIES; i++) {
		if (likely(r != V_DROP) || p->drop != DROP_NAT_CLASH || !pipeline_may_share(p))
			break;
		r = pipeline_share(ctx, p);
		if (r == V_NEXT)
			r = flow_install(p, v);
	}
	return r;
}

/* A pair was made. Where its host's limit was another CPU's to reach, it ends, and the packet opens no flow. */
static __always_inline __verdict enum verdict pipeline_made(struct pkt *p, enum verdict v)
{
	__u32 why = unlikely(p->nat_limited) ? nat_used_add(p, p->nat_limited) : 0;

	if (likely(!why)) {
		half_add(p);
		return v;
	}
	half_take_back(p);
	p->nat_limited = 0;
	return nat_refuse(p, why);
}

/* To which nexthop. Where the group's bucket is held for a drained one, that depends on whether there will be a flow, which
 * depends on the rules of the interface that the drained one is on. verifier: global, or all that follows is followed for each of
 * the answers. */
__noinline_global __u32 pipeline_nexthop(struct pkt *p)
{
	struct nexthop *former;
	__u32 id;

	if (!p)
		return 0;
	id = route_choose(p, cfg_nat ? p->nexthop : ECMP_ROUTED);
	if (!cfg_nat || likely(!ECMP_FORMER(id)))
		return id;
	former = nexthop_get(ECMP_FORMER(id));
	if (p->flow_stale || !former || nat_tracks(p, former->iface))
		return id & 0xffff;
	return route_choose(p, ECMP_ROUTED);
}

/* A known flow's way, or the one that the tables name; V_NEXT: that one is chosen, and the packet may be translated yet. */
static __always_inline __verdict enum verdict pipeline_way(ctx_t *ctx, struct pkt *p)
{
	enum verdict v;

	v = route_ingress(p);
	if (v != V_NEXT)
		return v;
	if (cfg_rpf) {
		v = urpf_check(p);
		if (v != V_NEXT)
			return v;
	}
	if (cfg_nat && !(p->flags & PKT_F_NO_FLOW)) {
		v = flow_lookup(p);
		if (unlikely(p->todo & DO_NAT_ICMP) && nat_icmp_check(ctx, p) == V_DROP)
			return V_DROP;
		if (v != V_NEXT)
			return v;
	}
	v = route_source(p);
	if (v != V_NEXT)
		return v;
	if (cfg_nat && !p->flow_stale) {
		v = nat_dnat(ctx, p);
		if (v != V_NEXT)
			return v;
	}
	v = route_lookup(p, pipeline_nexthop(p));
	/* A known flow's packet for the host itself keeps the flow alive like any other. */
	if (cfg_nat && v == V_HOST && p->flow_stale)
		flow_refresh(p, v);
	return v;
}

/* The short way knows where the packet goes, and that it is its source alone that a rule may want translated. */
static __always_inline void pipeline_known(struct pkt *p)
{
	p->to = p->t;
	p->route_vrf = p->vrf;
	p->todo = DO_L2 | DO_TTL;
	nat_begin(p);
}

/* Layer 3: the packet is addressed to the gateway. */
static __always_inline __verdict enum verdict pipeline_route(ctx_t *ctx, struct pkt *p)
{
	enum verdict v = V_NEXT;

	if (cfg_nat && p->flags & PKT_F_WAY)
		pipeline_known(p);
	else
		v = pipeline_way(ctx, p);
	if (v != V_NEXT)
		return v;
	if (cfg_nat && (!p->flow_stale || flow_moved(p))) {
		v = pipeline_snat(ctx, p);
		if (v != V_NEXT)
			return v;
	}
	v = V_FORWARD;
	if (!cfg_nat || !(p->flags & PKT_F_WAY)) {
		v = neighbor_lookup(p);
		if (v == V_FORWARD)
			v = egress_routed(p);
	}
	if (cfg_nat && v != V_DROP) {
		v = pipeline_install(ctx, p, v);
		if (p->flow_new)
			v = pipeline_made(p, v);
		/* For those that come after it; a slot of the table is not free at once. */
		if (unlikely(v == V_DROP && p->drop == DROP_FLOW_FULL))
			half_reclaim(p, 0);
	}
	if (cfg_nat && unlikely(v == V_DROP))
		nat_give_back(p);
	return v;
}

/* To where it is known whether the frame is for the gateway; in_iface says so. `in`: port_in(). `parsed`: what parse() said. An
 * observed port's frames are the kernel's, the malformed ones too: the port is asked first. `ret_noted`: as known_note() says, if
 * it was asked. */
static __always_inline __verdict enum verdict pipeline_ingress(ctx_t *ctx, struct pkt *p, const struct port *in,
							       enum verdict parsed, bool *ret_noted)
{
	enum verdict v;

	v = port_ingress(p, in);
	if (v != V_NEXT)
		return v;
	if (parsed != V_NEXT)
		return parsed;
	if (!in) /* verifier: it does not see that port_ingress() has asked */
		return V_DROP;
	v = vlan_ingress(p, in);
	if (v != V_NEXT)
		return v;
	v = fdb_learn(p);
	if (v != V_NEXT)
		return v;
	if (!cfg_l3)
		return V_NEXT;
	v = iface_ingress(p);
	if (v == V_NEXT && p->in_iface)
		*ret_noted = known_note(ctx, p, 0);
	return v;
}

/* From there on. `answer`: what the short way has said of the packet. */
static __always_inline __verdict enum verdict pipeline(ctx_t *ctx, struct pkt *p, enum fast_answer answer)
{
	enum verdict v;

	if (cfg_l3 && p->in_iface) {
		v = fast_first(ctx, p, answer) ? V_NEXT : parse_l3(ctx, p);
		if (cfg_inner)
			tunnel_look(ctx, p);
		if (!HOOK_XDP && unlikely(p->segs > 1))
			tunnel_segments(ctx, p);
		if (v == V_NEXT)
			v = pipeline_route(ctx, p);
		if (cfg_nat && unlikely(p->flags & PKT_F_FRAGMENT))
			v = frag_leave(p, v);
		if (cfg_mss)
			mss_decide(p, v);
		return v;
	}
	/* How large are the segments? */
	if (unlikely(p->segs > 1)) {
		v = parse_l3(ctx, p);
		if (v != V_NEXT)
			return v;
		if (!HOOK_XDP)
			tunnel_segments(ctx, p);
	}
	v = fdb_forward(p);
	if (v == V_FORWARD)
		v = egress_check(p);
	return v;
}

#endif
