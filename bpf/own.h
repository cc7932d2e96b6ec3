/* own.h: what the gateway itself talks, on an address that it shares with those it masquerades and with forwards.
 *
 * Stands between nat.h, to whom an address's rules and mappings are known, and those who know what the host has open: the
 * kernel's tables of sockets for TCP and UDP; for protocols without ports, marks that sluiced writes (nat_host.c: raw sockets,
 * tunnels, IPsec). sluiced keeps the host's ports out of the pools, but learns of a socket only after a while (nat_own.c); here a
 * flow is never made whose answers the host waits for, and what the host waits for is not taken for a flow's. Costs a look-up or
 * two, for packets without a flow on an interface's own address.
 */
#ifndef SLUICE_OWN_H
#define SLUICE_OWN_H

#include <linux/in6.h>
#include "pkt.h"
#include "counter.h"
#include "nat_map.h"

/* What has the host open for packets like this one? */
enum own {
	OWN_NOTHING = 0,
	OWN_OPEN = 1, /* for whoever sends: a listener, a datagram socket that is bound */
	OWN_PEER = 2, /* for this sender */
};

static __always_inline void own_heard_key(const struct pkt *p, const struct addr *peer, struct dnat_key *ret)
{
	__u32 h = (peer->a32[0] ^ peer->a32[1] ^ peer->a32[2] ^ peer->a32[3]) + p->l4_proto;

	__builtin_memset(ret, 0, sizeof(*ret));
	ret->daddr.a32[0] = h * 0x9e3779b1u >> 24;
	ret->dport = bpf_htons(DNAT_MARK_HEARD);
	ret->proto = DNAT_PROTO_MARK;
}

static __always_inline bool own_heard_is(const struct dnat_rule *r, struct pkt *p, const struct addr *peer, __u32 max)
{
	return r && r->rule == p->l4_proto && addr_equal(&r->to, peer) && (__u16)(DNAT_HEARD_TIME(pkt_now(p)) - r->vrf) <= max;
}

/* A packet of a protocol without ports that is the host's, since no flow and no rule claims it: whoever sends it may be its peer
 * for less time than sluiced takes to see it. One of whom sluiced has said that he is not is believed to be no peer for a minute,
 * though he goes on sending: else he would keep those inside from ever speaking with him. */
__noinline_global int own_hear(struct pkt *p)
{
	struct dnat_rule heard = {}, *r;
	struct dnat_key key;

	if (!p || pool_class(p->l4_proto) != POOL_CLASSES)
		return 0;
	own_heard_key(p, &p->t.saddr, &key);
	r = bpf_map_lookup_elem(&dnat_rules, &key);
	if (own_heard_is(r, p, &p->t.saddr, r && r->flags & DNAT_HEARD_NOT ? DNAT_HEARD_MAX : 1))
		return 0;
	heard.to = p->t.saddr;
	heard.rule = p->l4_proto;
	heard.vrf = DNAT_HEARD_TIME(pkt_now(p));
	if (bpf_map_update_elem(&dnat_rules, &key, &heard, BPF_ANY))
		count_stat(STAT_NAT_HEARD_FULL, 1);
	return 0;
}

/* Do raw sockets, tunnels or IPsec of the host speak this protocol, with this peer or with all? */
static __always_inline bool own_speaks(struct pkt *p, const struct addr *peer, bool leaves)
{
	struct dnat_key key = {.dport = bpf_htons(DNAT_MARK_HOST + p->l4_proto), .proto = DNAT_PROTO_MARK};
	struct dnat_rule *r;

	if (p->family == 4)
		key.daddr.a32[2] = bpf_htonl(0xffff);
	if (bpf_map_lookup_elem(&dnat_rules, &key))
		return true;
	key.daddr = *peer;
	if (bpf_map_lookup_elem(&dnat_rules, &key))
		return true;
	own_heard_key(p, peer, &key);
	if (!leaves)
		return false;
	r = bpf_map_lookup_elem(&dnat_rules, &key);
	return own_heard_is(r, p, peer, DNAT_HEARD_MAX) && !(r->flags & DNAT_HEARD_NOT);
}

/* As own_open(), of TCP and UDP. verifier: a global function of its own, for the stack of who asks of nothing else. */
__noinline_global int own_socket(ctx_t *ctx, struct pkt *p, __u32 leaves)
{
	struct bpf_sock_tuple t;
	struct bpf_sock *sk;
	enum own r;
	__u32 size;

	if (!p)
		return OWN_NOTHING;
	__builtin_memset(&t, 0, sizeof(t));
	if (p->family == 4) {
		size = sizeof(t.ipv4);
		t.ipv4.saddr = leaves ? p->to.daddr.a32[3] : p->t.saddr.a32[3];
		t.ipv4.daddr = leaves ? p->to.saddr.a32[3] : p->t.daddr.a32[3];
		t.ipv4.sport = leaves ? p->to.dport : p->t.sport;
		t.ipv4.dport = leaves ? p->to.sport : p->t.dport;
	} else {
		size = sizeof(t.ipv6);
		__builtin_memcpy(t.ipv6.saddr, leaves ? &p->to.daddr : &p->t.saddr, sizeof(t.ipv6.saddr));
		__builtin_memcpy(t.ipv6.daddr, leaves ? &p->to.saddr : &p->t.daddr, sizeof(t.ipv6.daddr));
		t.ipv6.sport = leaves ? p->to.dport : p->t.sport;
		t.ipv6.dport = leaves ? p->to.sport : p->t.dport;
	}
	/* verifier: pointers of two kinds, which one instruction must not read. */
	if (p->l4_proto == IPPROTO_TCP) {
		sk = bpf_skc_lookup_tcp(ctx, &t, size, BPF_F_CURRENT_NETNS, 0);
		if (!sk)
			return OWN_NOTHING;
		r = sk->state == BPF_TCP_LISTEN ? OWN_OPEN : OWN_PEER;
		bpf_sk_release(sk);
		return r;
	}
	sk = bpf_sk_lookup_udp(ctx, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return OWN_NOTHING;
	r = sk->state == BPF_TCP_ESTABLISHED ? OWN_PEER : OWN_OPEN;
	bpf_sk_release(sk);
	return r;
}

/* What has the host open for the packet, or, if it `leaves` (as p->to says), for answers to it? enum own. */
__noinline_global int own_open(ctx_t *ctx, struct pkt *p, __u32 leaves)
{
	if (!p)
		return OWN_NOTHING;
	switch (p->l4_proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return own_socket(ctx, p, leaves);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		/* An answer that is no flow's is to the host's question; its identifiers are kept apart by nat_want(). */
		return leaves || (p->flags & (PKT_F_ECHO | PKT_F_ECHO_REPLY)) == PKT_F_ECHO ? OWN_NOTHING : OWN_PEER;
	}
	return own_speaks(p, leaves ? &p->to.daddr : &p->t.saddr, leaves) ? OWN_PEER : OWN_NOTHING;
}

/* Is a packet the host's that a forward would take? Answers to the host are. One port's forward has it but for these; one that is
 * `wide`, of many ports or of a whole address, leaves out what the host has bound for datagrams, since nobody but the host knows
 * whom it has asked. Whoever listens for TCP asks nobody. */
static __always_inline bool own_keeps(ctx_t *ctx, struct pkt *p, bool wide)
{
	int open;

	if (unlikely(p->flags & PKT_F_LATER_FRAGMENT) && p->first_unknown)
		return false;
	open = own_open(ctx, p, false);
	return open == OWN_PEER || (open == OWN_OPEN && wide && p->l4_proto == IPPROTO_UDP);
}

/* After nat_snat() has found an own address and port: does the host wait for what would be answers to them? Then they are given
 * up again; the port stays taken, and sluiced sees to whom it belongs. */
__noinline_global int own_taken(ctx_t *ctx, struct pkt *p)
{
	if (!p || !own_open(ctx, p, true))
		return 0;
	nat_unmap(p);
	return 1;
}

#endif
