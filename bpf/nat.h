/* nat.h: which packets are translated, and to what: the rules, and the mappings of inside to outside addresses.
 *
 * Stands between flow.h, which has translated every packet of a known flow before these stages are reached, and the rules and
 * pools that sluiced writes. Only the first packet of a flow comes here; flow_install() then writes down what was decided.
 *
 * Mapping is endpoint-independent (RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1): an inside address and port look the same
 * outside whoever is talked to. What is let in is not: only answers to what a flow has sent (RFC 4787 5, the strictest
 * filtering), because a port forward is asked for with a dnat rule.
 */
#ifndef SLUICE_NAT_H
#define SLUICE_NAT_H

#include "pkt.h"
#include "counter.h"
#include "csum.h"
#include "iface.h"
#include "pool.h"

/* Written by sluiced, read here. Two banks, see control.snat_bank. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * SNAT_RULE_MAX);
	__type(key, __u32);
	__type(value, struct snat_rule);
} snat_rules SEC(".maps");

/* Written by sluiced, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct dnat_key);
	__type(value, struct dnat_rule);
} dnat_rules SEC(".maps");

/* Written here, deleted by sluiced when no flow uses them. Size: set by sluiced, that of a flow table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct nat_mapping_key);
	__type(value, struct nat_mapping);
} nat_mappings SEC(".maps");

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

/* The checksum deltas that lead from `t` to `to`. */
static __always_inline void nat_deltas(struct pkt *p)
{
	p->l3_delta = csum_add(csum_delta_addr(p->family, &p->t.saddr, &p->to.saddr),
			       csum_delta_addr(p->family, &p->t.daddr, &p->to.daddr));
	p->l4_delta = csum_add(csum_delta16(p->t.sport, p->to.sport), csum_delta16(p->t.dport, p->to.dport));
}

/* ---- destination */

/* The most particular rule first: a port, then a protocol, then the whole address. */
static __always_inline struct dnat_rule *nat_dnat_rule(const struct pkt *p)
{
	struct dnat_key key = {.daddr = p->t.daddr, .dport = p->t.dport, .vrf = p->vrf, .proto = p->l4_proto};
	struct dnat_rule *rule = bpf_map_lookup_elem(&dnat_rules, &key);

	if (rule)
		return rule;
	if (key.dport) {
		key.dport = 0;
		rule = bpf_map_lookup_elem(&dnat_rules, &key);
		if (rule)
			return rule;
	}
	key.proto = 0;
	return bpf_map_lookup_elem(&dnat_rules, &key);
}

static __always_inline bool nat_is_marked(const struct pkt *p)
{
	struct dnat_key key = {.daddr = p->t.daddr, .vrf = p->vrf, .proto = DNAT_PROTO_MARK};

	return bpf_map_lookup_elem(&dnat_rules, &key);
}

/* Port forwards and whole addresses. A later fragment comes here when no flow is known for it: flow_lookup() has given it the
 * ports of its first fragment, if that one passed. It is not the host's business when a rule would have taken it, or when its
 * first fragment was not seen and the address is one that only NAT uses. */
__noinline_global enum verdict nat_dnat(struct pkt *p)
{
	struct dnat_rule *rule;

	if (!p || (p->flags & PKT_F_ICMP_ERROR))
		return V_NEXT;
	rule = nat_dnat_rule(p);
	if (!rule) {
		if (unlikely(p->flags & PKT_F_LATER_FRAGMENT) && !p->t.sport && !p->t.dport && nat_is_marked(p))
			return pkt_drop(p, DROP_NAT_FRAGMENT);
		return V_NEXT;
	}
	if (unlikely(p->flags & PKT_F_LATER_FRAGMENT) && pool_class(p->l4_proto) != POOL_CLASSES)
		return pkt_drop(p, DROP_NAT_FRAGMENT);
	if (!nat_may_open(p))
		return pkt_drop(p, DROP_NAT_NOT_OPENING);
	p->to.daddr = rule->to;
	if (rule->to_port && (p->flags & PKT_F_L4) && !(p->flags & PKT_F_ECHO))
		p->to.dport = rule->to_port;
	p->todo |= DO_NAT;
	p->flow_flags |= FLOW_F_DNAT;
	p->nat_rule = rule->rule;
	nat_deltas(p);
	return V_NEXT;
}

/* ---- source: the rules */

/* A packet as the rules see it, and what they said. */
struct nat_match {
	struct addr src, dst;
	__u32 base; /* of the bank */
	__u16 vrf;
	__u16 out_iface;
	__u8 family;
	__u8 proto;
	__u8 action; /* enum snat_action; SNAT_END: none matched */
	__u8 pad;
	__u16 pool;
	__u16 rule;
};

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

/* One rule. Returns 1 to end the loop: it matches, or there are no more. */
static long nat_match_step(__u64 i, void *arg)
{
	struct nat_match *m = arg;
	__u32 at = m->base + i;
	struct snat_rule *r = bpf_map_lookup_elem(&snat_rules, &at);

	if (!r || r->action == SNAT_END)
		return 1;
	if (r->vrf != m->vrf || (r->family && r->family != m->family) || (r->proto && r->proto != m->proto) ||
	    (r->out_iface && r->out_iface != m->out_iface))
		return 0;
	if (!nat_prefix_holds(&r->src, r->src_len, &m->src) || !nat_prefix_holds(&r->dst, r->dst_len, &m->dst))
		return 0;
	m->action = r->action;
	m->pool = r->pool;
	m->rule = r->rule;
	return 1;
}

static __always_inline void nat_match(struct nat_match *m)
{
	struct control *c = control_get();

	m->base = c && READ_ONCE(c->snat_bank) ? SNAT_RULE_MAX : 0;
	bpf_loop(SNAT_RULE_MAX, nat_match_step, m, 0);
	if (m->action == SNAT_MASQUERADE) {
		struct iface *i = iface_get(m->out_iface);

		m->pool = i ? i->masq_pool : 0;
	}
}

/* A packet from outside that no rule touches, whose answers a rule would: it gets a pair of entries that rewrite nothing, so
 * that the answers leave with the address they were asked under. */
static __always_inline enum verdict nat_snat_answers(struct pkt *p)
{
	struct nat_match m = {
		.src = p->t.daddr,
		.dst = p->t.saddr,
		.vrf = p->vrf,
		.out_iface = p->in_iface,
		.family = p->family,
		.proto = p->l4_proto,
	};

	if ((p->flags & (PKT_F_ICMP_ERROR | PKT_F_LATER_FRAGMENT)) || !nat_may_open(p))
		return V_NEXT;
	nat_match(&m);
	if (m.action == SNAT_POOL || m.action == SNAT_MASQUERADE) {
		p->flow_flags |= FLOW_F_TRACK;
		p->nat_rule = m.rule;
	}
	return V_NEXT;
}

/* ---- source: the mapping */

static __always_inline enum verdict nat_use(struct pkt *p, __u32 pool_addr, __be16 port)
{
	struct pool_addr *a = bpf_map_lookup_elem(&pool_addrs, &pool_addr);

	if (!a || !(a->flags & POOL_ADDR_F_USED))
		return pkt_drop(p, DROP_NAT_NO_POOL);
	p->to.saddr = a->addr;
	p->to.sport = port;
	p->pool_addr = pool_addr;
	p->todo |= DO_NAT;
	p->flow_flags |= FLOW_F_SNAT;
	nat_deltas(p);
	return V_NEXT;
}

/* A protocol without ports that could be translated (GRE, ESP, SCTP, …): by address alone, which serves one inside host for each
 * remote address; flow_install() refuses the second. AH signs the addresses and can never pass. */
static __always_inline enum verdict nat_map_address(struct pkt *p, __u32 first, __u32 count, __u32 seed)
{
	__u32 at = first + pool_paired(&p->t.saddr, seed, count);
	__u32 *member = bpf_map_lookup_elem(&pool_members, &at);

	if (p->l4_proto == IPPROTO_AH)
		return pkt_drop(p, DROP_NAT_PROTOCOL);
	if (!member)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	return nat_use(p, *member, p->t.sport);
}

/* A new mapping, with a port of its own. Two CPUs that map the same source at once: the second one's insertion fails, and it
 * takes the first one's mapping and gives its port back. */
static __always_inline enum verdict nat_map_new(struct pkt *p, const struct nat_mapping_key *key, struct pool_search *s)
{
	struct pool_ports *b;
	struct nat_mapping new = {.used_ns = pkt_now(p)}, *won;
	long err;

	bpf_loop(s->count * POOL_STEPS_MEMBER + POOL_STEPS_RACES, pool_search_step, s, 0);
	if (!s->found)
		return pkt_drop(p, DROP_NAT_NO_PORT);
	new.pool_addr = s->pool_addr;
	new.port = bpf_htons(s->port);
	err = bpf_map_update_elem(&nat_mappings, key, &new, BPF_NOEXIST);
	if (!err)
		return nat_use(p, new.pool_addr, new.port);
	b = pool_ports_get(s->pool_addr, s->class);
	if (b)
		pool_port_release(b, s->port);
	won = bpf_map_lookup_elem(&nat_mappings, key);
	if (won)
		return nat_use(p, won->pool_addr, won->port);
	count_stat(STAT_FLOW_FULL, 1);
	return pkt_drop(p, DROP_FLOW_FULL);
}

/* The source's outside address and port. sluiced takes a mapping away when no flow holds its port and used_ns is some seconds
 * past; should it do so between the look-up here and the flow's installation, the port may be given to another source as well,
 * and what tells the two apart is the remote address (flow_install() refuses exact doubles). */
static __always_inline enum verdict nat_map(struct pkt *p, __u32 pool_id)
{
	struct nat_mapping_key key = {
		.addr = p->t.saddr, .port = p->t.sport, .vrf = p->vrf, .pool = pool_id, .proto = p->l4_proto};
	struct pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	struct control *c = control_get();
	struct pool_search s = {.class = pool_class(p->l4_proto)};
	struct nat_mapping *m;

	if (!pool_id || !pool || !c)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	s.count = pool_family(pool, p->family, &s.first);
	if (!s.count)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	p->nat_pool = pool_id;
	if (s.class == POOL_CLASSES)
		return nat_map_address(p, s.first, s.count, c->hash_seed);
	m = bpf_map_lookup_elem(&nat_mappings, &key);
	if (m) {
		if (pkt_now(p) - m->used_ns > 1000000000ULL)
			m->used_ns = pkt_now(p);
		if (nat_use(p, m->pool_addr, m->port) == V_NEXT)
			return V_NEXT;
		/* The address went away. */
		bpf_map_delete_elem(&nat_mappings, &key);
	}
	s.start = pool_paired(&p->t.saddr, c->hash_seed, s.count);
	s.min = pool->port_min;
	s.max = pool->port_max;
	if (s.max < s.min)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	s.want = bpf_ntohs(p->t.sport);
	s.random = bpf_get_prandom_u32();
	s.lap = s.tried = pkt_zero(p);
	return nat_map_new(p, &key, &s);
}

/* The first rule that matches, on the source as it came in and the destination as it leaves. A port forward to a host behind the
 * interface that the packet came in by is masqueraded there although no rule asks for it: else the host would answer the
 * sender directly, who does not know it (hairpinning, RFC 4787 REQ-9, RFC 5382 REQ-8).
 *
 * What a rule takes and cannot be translated is dropped: an inside address must not leak. */
__noinline_global enum verdict nat_snat(struct pkt *p)
{
	struct nat_match m = {};

	if (!p)
		return V_NEXT;
	m.src = p->t.saddr;
	m.dst = p->to.daddr;
	m.vrf = p->vrf;
	m.out_iface = p->out_iface;
	m.family = p->family;
	m.proto = p->l4_proto;
	nat_match(&m);
	if (m.action == SNAT_EXEMPT)
		return V_NEXT;
	if (m.action == SNAT_END) {
		struct iface *i = iface_get(p->out_iface);

		if (!(p->flow_flags & FLOW_F_DNAT))
			return nat_snat_answers(p);
		if (p->out_iface != p->in_iface || !i || !i->masq_pool)
			return V_NEXT;
		m.pool = i->masq_pool;
		m.rule = p->nat_rule;
	}
	if (p->flags & PKT_F_ICMP_ERROR)
		return pkt_drop(p, DROP_NAT_ICMP_NO_FLOW);
	if ((p->flags & PKT_F_LATER_FRAGMENT) && pool_class(p->l4_proto) != POOL_CLASSES)
		return pkt_drop(p, DROP_NAT_FRAGMENT);
	if (!nat_may_open(p))
		return pkt_drop(p, DROP_NAT_NOT_OPENING);
	/* Of both rules that may have had a part, the entry remembers the one that gave the destination. */
	if (!(p->flow_flags & FLOW_F_DNAT))
		p->nat_rule = m.rule;
	return nat_map(p, m.pool);
}

#endif
