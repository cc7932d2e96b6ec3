/* nat.h: which packets are translated, and to what: the rules, and the mappings of inside to outside addresses.
 *
 * Stands between flow.h, which has translated every packet of a known flow before these stages are reached, and the rules and
 * pools that sluiced writes. Only the first packet of a flow comes here; flow_install() then writes down what was decided.
 *
 * Mapping is endpoint-independent unless the rule says otherwise (RFC 4787 REQ-1, RFC 5382 REQ-1): an inside address and port
 * look the same outside whoever is talked to. What is let in is, unless the rule says otherwise, only answers to what a flow has
 * sent (RFC 4787 5, the strictest filtering), because a port forward is asked for with a dnat rule.
 */
#ifndef SLUICE_NAT_H
#define SLUICE_NAT_H

#include "pkt.h"
#include "iface.h"
#include "nat_filter.h"
#include "nat_map.h"
#include "own.h"
#include "pool.h"

/* Written by sluiced, read here. Two banks, see control.snat_bank. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * SNAT_RULE_MAX);
	__type(key, __u32);
	__type(value, struct snat_rule);
} snat_rules SEC(".maps");

/* Written by sluiced, read here when control.nat_statics says that there is one. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct nat_static_key);
	__type(value, struct nat_static);
} nat_statics SEC(".maps");

#define NAT_TCP_FIN 0x01
#define NAT_TCP_SYN 0x02
#define NAT_TCP_RST 0x04
#define NAT_TCP_ACK 0x10

/* May this packet open a flow? ICMP: an echo request. TCP: a SYN, or an ACK in the midst of a connection whose flow was lost
 * (flushed, or its table was full). Picking it up costs nothing that a SYN would not: port preservation mostly gives it the
 * same outside port again, so that the connection lives on; if not, the other side's RST ends it at once, where a silent drop
 * would leave it hanging. What ends a connection (FIN, RST) opens none: those are the stragglers of flows that are gone. */
static __always_inline bool nat_may_open(const struct pkt *p)
{
	switch (p->l4_proto) {
	case IPPROTO_TCP:
		switch (p->tcp_flags & (NAT_TCP_FIN | NAT_TCP_SYN | NAT_TCP_RST | NAT_TCP_ACK)) {
		case NAT_TCP_SYN:
		case NAT_TCP_ACK:
			return true;
		}
		return false;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return (p->flags & (PKT_F_ECHO | PKT_F_ECHO_REPLY)) == PKT_F_ECHO;
	}
	return true;
}

/* A later fragment without a flow, of a protocol with ports: nothing but its first one says whose it is. */
static __always_inline bool nat_lacks_ports(const struct pkt *p)
{
	return (p->flags & PKT_F_LATER_FRAGMENT) && pool_class(p->l4_proto) != POOL_CLASSES;
}

/* It waits for the first; where that has been here already, it opened no flow. */
static __always_inline enum verdict nat_wait(struct pkt *p)
{
	return p->first_unknown ? V_HOLD : pkt_drop(p, DROP_NAT_FRAGMENT);
}

/* ---- the source rules */

static __always_inline __u64 nat_mask(__u32 len)
{
	return len >= 64 ? ~0ULL : ~(~0ULL >> (len & 63));
}

/* `len`: 0..128. */
static __always_inline bool nat_prefix_holds(const struct addr *prefix, __u32 len, const struct addr *a)
{
	__u64 high = bpf_cpu_to_be64(nat_mask(len));
	__u64 low = len > 64 ? bpf_cpu_to_be64(nat_mask(len - 64)) : 0;

	return !((prefix->a64[0] ^ a->a64[0]) & high) && !((prefix->a64[1] ^ a->a64[1]) & low);
}

/* A packet as the rules see it. */
struct nat_asked {
	struct addr src, dst;
	__u32 base;
	__u32 found; /* the rule's place, and 1; 0: none */
	__u16 vrf;
	__u16 out_iface;
	__u8 family;
	__u8 proto;
	__u16 pad;
};

/* One rule. Returns 1 to end the loop: it matches, or there are no more. */
static __always_inline long nat_match_one(__u64 i, struct nat_asked *a)
{
	__u32 at = a->base + i;
	struct snat_rule *r = bpf_map_lookup_elem(&snat_rules, &at);

	if (!r || r->action == SNAT_END)
		return 1;
	if (r->vrf != a->vrf || (r->family && r->family != a->family) || (r->proto && r->proto != a->proto) ||
	    (r->out_iface && r->out_iface != a->out_iface))
		return 0;
	if (!nat_prefix_holds(&r->src, r->src_len, &a->src) || !nat_prefix_holds(&r->dst, r->dst_len, &a->dst))
		return 0;
	a->found = at + 1;
	return 1;
}

static long nat_match_step(__u64 i, void *arg)
{
	return nat_match_one(i, arg);
}

/* The place of the first rule that matches, and 1; 0: none does. verifier: a global function, since three places ask; the loop
 * wants its context on the stack, of which 6.1 gives 512 bytes to all callers together, each rounded up to 32. */
__noinline_global __u32 nat_match(struct nat_asked *asked)
{
	struct nat_asked a;

	if (!asked)
		return 0;
	asked->base = READ_ONCE(control.snat_bank) ? SNAT_RULE_MAX : 0;
	asked->found = 0;
	/* Mostly the first one matches, or there is no other. */
	if (likely(nat_match_one(0, asked)))
		return asked->found;
	a = *asked;
	a.base++;
	bpf_loop(SNAT_RULE_MAX - 1, nat_match_step, &a, 0);
	return a.found;
}

static __always_inline struct snat_rule *nat_rule_for(struct nat_asked *a)
{
	__u32 at = nat_match(a) - 1;

	return bpf_map_lookup_elem(&snat_rules, &at);
}

static __always_inline bool nat_translates(const struct snat_rule *r)
{
	return r && (r->action == SNAT_POOL || r->action == SNAT_MASQUERADE || r->action == SNAT_STATIC);
}

/* 0: none. */
static __always_inline __u16 nat_pool_of(const struct snat_rule *r, __u32 out_iface)
{
	struct iface *i;

	if (r->action != SNAT_MASQUERADE)
		return r->pool;
	i = iface_get(out_iface);
	return i ? i->masq_pool : 0;
}

/* The first `len` bits of `to`, the others of `a`. */
static __always_inline void nat_prefix_move(const struct addr *to, __u32 len, struct addr *a)
{
	__u64 high = bpf_cpu_to_be64(nat_mask(len));
	__u64 low = len > 64 ? bpf_cpu_to_be64(nat_mask(len - 64)) : 0;

	a->a64[0] = (to->a64[0] & high) | (a->a64[0] & ~high);
	a->a64[1] = (to->a64[1] & low) | (a->a64[1] & ~low);
}

/* ---- destination */

/* The most particular rule first: a port, a range of them (`blocks`: of the mark), then a protocol, then the whole address. */
static __always_inline struct dnat_rule *nat_dnat_rule(const struct pkt *p, __u32 blocks)
{
	struct dnat_key key = {.daddr = p->t.daddr, .dport = p->t.dport, .vrf = p->vrf, .proto = p->l4_proto};
	struct dnat_rule *rule = NULL;

	/* That protocol has no rule of its own: its key is the mark. */
	if (p->l4_proto != DNAT_PROTO_MARK)
		rule = bpf_map_lookup_elem(&dnat_rules, &key);
	if (rule)
		return rule;
	if (key.dport) {
		for (__u32 n = 1; blocks && n < 16; n++) {
			if (!(blocks >> n & 1))
				continue;
			key.block = n;
			key.dport = bpf_htons(bpf_ntohs(p->t.dport) >> n << n);
			rule = bpf_map_lookup_elem(&dnat_rules, &key);
			if (rule)
				return rule;
		}
		key.block = 0;
		key.dport = 0;
		rule = bpf_map_lookup_elem(&dnat_rules, &key);
		if (rule)
			return rule;
	}
	key.proto = 0;
	return bpf_map_lookup_elem(&dnat_rules, &key);
}

static __always_inline struct dnat_rule *nat_mark(const struct pkt *p)
{
	struct dnat_key key = {.daddr = p->t.daddr, .vrf = p->vrf, .proto = DNAT_PROTO_MARK};

	return bpf_map_lookup_elem(&dnat_rules, &key);
}

static __always_inline enum verdict nat_dnat_use(struct pkt *p, __u16 rule, __u16 vrf, bool keep)
{
	p->todo |= DO_NAT;
	p->flow_flags |= FLOW_F_DNAT | (keep ? FLOW_F_KEEP : 0);
	p->nat_rule = rule;
	if (vrf != p->vrf) {
		p->route_vrf = vrf;
		p->flow_flags |= FLOW_F_VRF;
	}
	nat_deltas(p);
	return V_NEXT;
}

/* The first rule for the source as it came in. `dst`: as the packet leaves, or would. */
static __always_inline struct snat_rule *nat_rule_of_source(struct nat_asked *a, const struct pkt *p, const struct addr *dst,
							    __u32 out_iface)
{
	a->src = p->t.saddr;
	a->dst = *dst;
	a->vrf = p->vrf;
	a->out_iface = out_iface;
	a->family = p->family;
	a->proto = p->l4_proto;
	return nat_rule_for(a);
}

/* Would the sender's source be translated, had the packet to an outside address left by its interface? Then it is from inside,
 * and what it asks for is hairpinning: p->hairpin is that interface. Where nobody knows which (NAT_OUTSIDE_ANY), there is no
 * address to masquerade with, and a rule for every source says nothing about who is inside. verifier: a global function, since
 * three places ask. */
__noinline_global int nat_is_hairpin(struct pkt *p, __u32 out_iface)
{
	struct nat_asked a = {};
	struct snat_rule *r;
	struct iface *in;

	if (!p || !out_iface || p->in_iface == out_iface)
		return false;
	in = iface_get(p->in_iface);
	if (!in || in->nat_flags & IFACE_NAT_OUTSIDE)
		return false;
	r = nat_rule_of_source(&a, p, &p->t.daddr, out_iface);
	if (!nat_translates(r) || (out_iface == NAT_OUTSIDE_ANY && (r->action == SNAT_MASQUERADE || !r->src_len)))
		return false;
	p->hairpin = out_iface;
	return true;
}

/* The outside prefix of a static rule: every packet passes, fragments in whatever order too, since nothing but the address
 * changes. False: there is no such rule. *ret_run: the address is a run's: its POOL_ID + 1. */
static __always_inline bool nat_dnat_static(struct pkt *p, __u32 *ret_run)
{
	struct nat_static_key key = {.len = 32 + 128, .vrf = p->vrf, .addr = p->t.daddr};
	struct nat_static *s;

	if (!control.nat_statics)
		return false;
	s = bpf_map_lookup_elem(&nat_statics, &key);
	if (!s)
		return false;
	if (s->flags & NAT_STATIC_F_RUN) {
		*ret_run = POOL_ID(s->slot, bpf_ntohl(p->t.daddr.a32[3]) - bpf_ntohl(s->to.a32[3]) + 1) + 1;
		return false;
	}
	nat_is_hairpin(p, s->flags >> NAT_STATIC_OUTSIDE);
	nat_prefix_move(&s->to, s->len, &p->to.daddr);
	nat_dnat_use(p, s->rule, p->vrf, s->flags & DNAT_F_KEEP);
	return true;
}

static __always_inline bool nat_lets_in(const struct pkt *p, const struct nat_mapping *m, __u32 way)
{
	struct nat_peer_key key = {.remote = p->t.saddr, .way = way};
	struct nat_peer *sent;

	if (m->filtering == NAT_FILTER_INDEPENDENT)
		return true;
	if (m->filtering != NAT_FILTER_ADDRESS)
		return false;
	sent = nat_peer_get(&key);
	/* The port may have been another's when the entry was made. */
	return sent && nat_mapping_is_of(m, &sent->addr, sent->port, sent->vrf);
}

/* A packet without a flow to an address of a pool. Its rule may let it in (RFC 4787 REQ-8, RFC 5382 REQ-3), and a host inside
 * reaches another by its mapping (hairpinning, RFC 4787 REQ-9, RFC 5382 REQ-8; the source then is translated as if it left).
 * TCP: a SYN alone opens; anything else may be an answer to the host's own connection.
 *
 * What is not let in is dropped in silence: a SYN that crosses one from inside must not be answered (RFC 5382 REQ-4). On an
 * address that the gateway has itself, only a SYN to a port that is mapped is. The rest is the host's, and whatever it has a
 * socket for, which may have come after the mapping.
 *
 * A mapping whose only flow gives way in this instant is joined or gone: see nat_mapping_end(). `pool_addr`: of the mark. */
__noinline_global enum verdict nat_inbound(ctx_t *ctx, struct pkt *p, __u32 own, __u32 pool_addr)
{
	struct nat_mapping *m = NULL;
	__u32 way;
	bool syn;

	if (!p)
		return V_NEXT;
	if (p->l4_proto != IPPROTO_TCP && p->l4_proto != IPPROTO_UDP)
		return V_NEXT;
	syn = (p->tcp_flags & (NAT_TCP_SYN | NAT_TCP_ACK | NAT_TCP_RST | NAT_TCP_FIN)) == NAT_TCP_SYN;
	way = NAT_WAY(pool_addr - 1, pool_class(p->l4_proto), bpf_ntohs(p->t.dport));
	if (pool_addr && (p->l4_proto == IPPROTO_UDP || syn))
		m = nat_mapping_of_way(way);
	if (m && m->pool_addr == pool_addr - 1 && m->port == p->t.dport) {
		if (own && own_socket(ctx, p, false))
			return V_NEXT;
		if ((nat_is_hairpin(p, m->out_iface) || nat_lets_in(p, m, way)) && nat_mapping_join(m)) {
			/* sluiced may have looked at the flows just now, and this one is not there yet: it would take the mapping
			 * away. */
			if (pkt_now(p) - m->used_ns > 1000000000ULL)
				m->used_ns = pkt_now(p);
			p->to.daddr = m->inside.addr;
			p->to.dport = m->inside.port;
			p->dest_addr = m->pool_addr + 1;
			return nat_dnat_use(p, m->rule, m->inside.vrf, false);
		}
		p->hairpin = 0;
		if (p->l4_proto == IPPROTO_TCP)
			return pkt_drop(p, DROP_NAT_FILTERED);
	}
	return own ? V_NEXT : pkt_drop(p, DROP_NAT_FILTERED);
}

/* What the stages of NAT note about a packet. */
static __always_inline void nat_begin(struct pkt *p)
{
	p->dest_addr = p->hairpin = 0;
	p->nat_filtering = p->nat_flags = p->nat_own = p->nat_raced = p->nat_limited = 0;
	p->nat_remote = 0;
	p->nat_source = 0;
}

/* Port forwards, whole addresses, mappings. A later fragment comes here when no flow is known for it: flow_lookup() has given it
 * the ports of its first fragment, if that one passed. It is not the host's business when a rule would have taken it, or when its
 * first fragment was not seen and the address is one that only NAT uses. */
__noinline_global enum verdict nat_dnat(ctx_t *ctx, struct pkt *p)
{
	struct dnat_rule *rule, *mark;

	if (!p)
		return V_NEXT;
	nat_begin(p);
	p->ahead = p->map_pool = 0;
	if ((p->flags & PKT_F_ICMP_ERROR) || nat_filter_spares(p->family, &p->t.daddr))
		return V_NEXT;
	mark = nat_mark(p);
	rule = mark ? nat_dnat_rule(p, mark->blocks) : NULL;
	if (!rule) {
		__u32 run = 0, own = mark ? mark->flags & DNAT_F_OWN : 0;

		if (nat_dnat_static(p, &run) || (!mark && !run))
			return V_NEXT;
		if (unlikely(nat_lacks_ports(p)))
			return p->first_unknown ? V_HOLD : own ? V_NEXT : pkt_drop(p, DROP_NAT_FRAGMENT);
		if (own)
			own_hear(p);
		return nat_inbound(ctx, p, own, mark ? mark->pool_addr : run);
	}
	if ((mark->flags & DNAT_F_OWN) && own_keeps(ctx, p, rule->flags & DNAT_F_WIDE))
		return V_NEXT;
	if (unlikely(nat_lacks_ports(p)))
		return nat_wait(p);
	if (!nat_may_open(p))
		return pkt_drop(p, DROP_NAT_NOT_OPENING);
	nat_is_hairpin(p, mark->rule);
	p->to.daddr = rule->to;
	if (rule->to_port && (p->flags & PKT_F_L4) && !(p->flags & PKT_F_ECHO))
		p->to.dport =
			bpf_htons(bpf_ntohs(rule->to_port) + (bpf_ntohs(p->t.dport) & ((1 << (rule->flags >> DNAT_BLOCK)) - 1)));
	return nat_dnat_use(p, rule->rule, rule->vrf, rule->flags & DNAT_F_KEEP);
}

/* ---- source */

/* A forward or a static rule leads to the sender: what it says may be an answer, which leaves with the address that was asked.
 * verifier: global, for its keys. */
__noinline_global int nat_is_inside(const struct pkt *p)
{
	struct nat_static_key one = {.len = 32 + 128};
	struct dnat_key key = {.proto = DNAT_PROTO_MARK};

	if (!p)
		return false;
	one.vrf = p->vrf | NAT_STATIC_INSIDE;
	one.addr = p->t.saddr;
	key.daddr = p->t.saddr;
	key.vrf = p->vrf;
	if (control.nat_statics && bpf_map_lookup_elem(&nat_statics, &one))
		return true;
	key.dport = bpf_htons(DNAT_MARK_INSIDE + p->l4_proto);
	if (bpf_map_lookup_elem(&dnat_rules, &key))
		return true;
	key.dport = bpf_htons(DNAT_MARK_INSIDE);
	return bpf_map_lookup_elem(&dnat_rules, &key) != NULL;
}

/* Would a rule translate the answers to a packet that none touches (`a`: was asked in vain), which come in by `vrf`? That rule.
 */
static __always_inline struct snat_rule *nat_rule_of_answers(struct pkt *p, struct nat_asked *a, __u16 vrf)
{
	struct snat_rule *r;

	if ((p->flags & (PKT_F_ICMP_ERROR | PKT_F_LATER_FRAGMENT)) || !nat_may_open(p))
		return NULL;
	a->src = p->t.daddr;
	a->dst = p->t.saddr;
	a->vrf = vrf;
	a->out_iface = p->in_iface;
	r = nat_rule_for(a);
	return nat_translates(r) ? r : NULL;
}

/* Is it to be asked whether a rule would translate the answers to a packet that none translates? `r`: its rule. Of one that a
 * rule spares only where a static rule names no way out: most of these have no flow, and each of their packets would be asked
 * about twice. */
static __always_inline bool nat_answers_matter(const struct snat_rule *r)
{
	return !r || (r->action == SNAT_EXEMPT && control.nat_statics_inside);
}

/* A packet that no rule touches (`r`: one spares it), whose answers a rule would: it gets a pair of entries that rewrite nothing,
 * so that the answers leave with the address they were asked under. `a`, `vrf`: as for nat_rule_of_answers(). */
static __always_inline enum verdict nat_snat_answers(struct pkt *p, struct snat_rule *r, struct nat_asked *a, __u16 vrf)
{
	if (unlikely(nat_lacks_ports(p)))
		return p->first_unknown && nat_is_inside(p) ? V_HOLD : V_NEXT;
	r = nat_answers_matter(r) ? nat_rule_of_answers(p, a, vrf) : NULL;
	if (r) {
		p->flow_flags |= FLOW_F_TRACK;
		p->nat_rule = r->rule;
	}
	return V_NEXT;
}

/* The first rule that takes this packet's source, and the interface it asked about. A packet that reaches another inside host by
 * an outside address is translated as if it had left (RFC 4787 REQ-9 a: external address and port). */
static __always_inline struct snat_rule *nat_snat_rule(struct pkt *p, struct nat_asked *a)
{
	if (p->hairpin)
		return nat_rule_of_source(a, p, &p->t.daddr, p->hairpin);
	return nat_rule_of_source(a, p, &p->to.daddr, p->out_iface);
}

/* Will there be a flow, if a packet without one leaves by this interface: is its source translated, or those of its answers? What
 * nat_snat() would find, without doing it. */
__noinline_global int nat_tracks(struct pkt *p, __u32 out_iface)
{
	struct nat_asked a = {};
	struct snat_rule *r;
	struct iface *i;

	if (!p)
		return false;
	if (p->flow_flags & FLOW_F_DNAT)
		return true;
	r = nat_rule_of_source(&a, p, &p->to.daddr, out_iface);
	if (!nat_answers_matter(r))
		return r && r->action != SNAT_EXEMPT;
	i = iface_get(out_iface);
	return nat_rule_of_answers(p, &a, i ? i->vrf : p->vrf) != NULL;
}

/* A hash of the remote end, never 0. Two that share one share a mapping, which does no harm. */
static __always_inline __u32 nat_remote(const struct tuple *to)
{
	__u64 h = to->daddr.a64[0] * 0x9e3779b97f4a7c15ULL + (to->daddr.a64[1] ^ (__u64)to->dport << 16);

	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
	return (__u32)(h >> 32) | 1;
}

/* By a pool, within the limits of the rule; `r`: NULL: without one. */
static __always_inline enum verdict nat_snat_pool(struct pkt *p, const struct snat_rule *r, __u16 pool)
{
	__u32 limit_sessions = r ? r->limit_sessions : 0, limit_ports = r ? r->limit_ports : 0;
	struct nat_used more = {}, *used = NULL;
	bool ports_left = true, taken = false;
	enum verdict v;

	p->nat_filtering = r ? r->filtering : NAT_FILTER_ADDRESS_PORT;
	p->nat_flags = r ? r->flags : 0;
	if (r && r->mapping == NAT_MAPPING_ADDRESS_PORT)
		p->nat_remote = nat_remote(&p->to);
	if (limit_sessions || limit_ports) {
		used = nat_used_get(p, &more);
		if (!used)
			return pkt_drop(p, DROP_NAT_HOSTS_FULL);
		p->limit_sessions = limit_sessions;
		p->limit_ports = limit_ports;
		if (nat_used_up(READ_ONCE(used->sessions) + more.sessions, limit_sessions))
			return nat_refuse(p, DROP_NAT_LIMIT_SESSIONS);
		ports_left = !nat_used_up(READ_ONCE(used->ports) + more.ports, limit_ports);
	}
	v = nat_map(p, pool, ports_left, &taken);
	if (v != V_NEXT)
		return v;
	if (used)
		p->nat_limited = NAT_LIMITED_SESSION | (taken ? NAT_LIMITED_PORT : 0);
	if (p->nat_filtering == NAT_FILTER_ADDRESS)
		nat_peer_note(p);
	return V_NEXT;
}

static __always_inline void nat_snat_static(struct pkt *p, const struct snat_rule *r)
{
	nat_prefix_move(&r->to, r->src_len, &p->to.saddr);
	p->todo |= DO_NAT;
	p->flow_flags |= FLOW_F_SNAT;
	nat_deltas(p);
}

/* A later fragment to another host inside, of a static rule's host: of an answer that keeps its address, as the first one tells?
 */
static __always_inline bool nat_static_waits(const struct pkt *p)
{
	struct iface *out;

	if (!nat_lacks_ports(p) || !p->first_unknown || p->flow_flags & FLOW_F_DNAT || !control.nat_statics_inside)
		return false;
	out = iface_get(p->out_iface);
	return out && !(out->nat_flags & IFACE_NAT_OUTSIDE);
}

/* What a source is translated by. */
struct nat_by {
	struct snat_rule *r; /* NULL: no rule asks for it */
	__u16 rule;	     /* the one that it is noted under */
	__u16 pool;
};

/* False: it stays as it is, and *ret_v becomes of the packet. */
static __always_inline bool nat_snat_by(struct pkt *p, struct nat_by *ret, enum verdict *ret_v)
{
	struct nat_asked a = {};
	struct iface *i;

	ret->r = nat_snat_rule(p, &a);
	if (ret->r && ret->r->action != SNAT_EXEMPT) {
		ret->pool = nat_pool_of(ret->r, a.out_iface);
		ret->rule = ret->r->rule;
		return true;
	}
	i = iface_get(p->out_iface);
	if (!(p->flow_flags & FLOW_F_DNAT)) {
		*ret_v = nat_snat_answers(p, ret->r, &a, i ? i->vrf : p->vrf);
		return false;
	}
	*ret_v = V_NEXT;
	if (p->out_iface != p->in_iface || !i || !i->masq_pool)
		return false;
	ret->r = NULL;
	ret->pool = i->masq_pool;
	ret->rule = p->nat_rule;
	return true;
}

/* The first rule that matches, on the source as it came in and the destination as it leaves. What a forward, a mapping or a
 * static rule leads to a host behind the interface that the packet came in by, from one whom no rule would translate outside, is
 * masqueraded there although no rule asks for it, or one spares it: else the host would answer the sender directly, who does not
 * know it (RFC 4787 REQ-9, RFC 5382 REQ-8).
 *
 * What a rule takes and cannot be translated is dropped: an inside address must not leak. */
__noinline_global enum verdict nat_snat(struct pkt *p)
{
	enum verdict v = V_NEXT;
	struct nat_by by;

	if (!p || !nat_snat_by(p, &by, &v))
		return v;
	if (p->flags & PKT_F_ICMP_ERROR)
		return pkt_drop(p, DROP_NAT_ICMP_NO_FLOW);
	p->nat_source = by.rule;
	/* Of both rules that may have had a part, the one that gave the destination decides when and how the flow ends. */
	if (!(p->flow_flags & FLOW_F_DNAT) || (p->hairpin && p->dest_addr)) {
		p->nat_rule = by.rule;
		if (by.r && by.r->flags & SNAT_F_KEEP)
			p->flow_flags |= FLOW_F_KEEP;
	}
	if (by.r && by.r->action == SNAT_STATIC) {
		if (unlikely(nat_static_waits(p)))
			return V_HOLD;
		nat_snat_static(p, by.r);
		return V_NEXT;
	}
	if (unlikely(nat_lacks_ports(p)))
		return nat_wait(p);
	if (!nat_may_open(p))
		return pkt_drop(p, DROP_NAT_NOT_OPENING);
	return nat_snat_pool(p, by.r, by.pool);
}

#endif
