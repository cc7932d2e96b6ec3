/* rewrite.h: carries out what the stages decided: addresses, ports, TTL, checksums, MACs, and last the tag.
 *
 * Checksums are updated by difference (RFC 1624), so that what was wrong stays wrong and is not hidden. The tag comes last
 * because it moves every offset.
 */
#ifndef SLUICE_REWRITE_H
#define SLUICE_REWRITE_H

#include <linux/in6.h>
#include <linux/ip.h>
#include "pkt.h"
#include "csum.h"
#include "egress.h"
#include "counter.h"

/* Where the layer 4 checksum stands, or 0: the protocol has none that covers addresses or ports. */
static __always_inline __u32 rewrite_check_at(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE: /* RFC 3828 3.1 */
	case IPPROTO_DCCP:    /* RFC 4340 9.1 */
		return 6;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	}
	return 0;
}

/* Bytes 8 to 19 of the IPv4 header (TTL, protocol, checksum, addresses), made in words. */
static __always_inline int rewrite_ip4(ctx_t *ctx, struct pkt *p, __u16 delta)
{
	__be16 old = bpf_htons(p->ttl << 8 | p->l4_proto), new = old;
	const struct tuple *t = p->todo & (DO_NAT | DO_NAT_ICMP) ? &p->to : &p->t;
	__u32 w[3];

	if (p->todo & DO_TTL) {
		new = bpf_htons((p->ttl - 1) << 8 | p->l4_proto);
		delta = csum_add(delta, csum_delta16(old, new));
	}
	w[0] = csum_pair(new, csum_apply(p->ip_check, delta));
	w[1] = t->saddr.a32[3];
	w[2] = t->daddr.a32[3];
	return ctx_store(ctx, p->l3_off + 8, w, sizeof(w));
}

static __always_inline int rewrite_ip6(ctx_t *ctx, struct pkt *p, __u16 delta)
{
	__u8 old[2] = {p->l4_proto, p->ttl}, new[2] = {p->l4_proto, p->ttl - 1};

	if (p->todo & DO_TTL) {
		if (ctx_store(ctx, p->l3_off + 7, &new[1], 1))
			return -1;
		ctx_csum_complete(ctx, csum_delta16(*(__be16 *)old, *(__be16 *)new));
	}
	if (!(p->todo & (DO_NAT | DO_NAT_ICMP)))
		return 0;
	/* The layer 4 checksum makes up for the addresses, and the kernel, which has taken it for IPv4's, must be told. */
	ctx_csum_complete(ctx, delta);
	return ctx_store(ctx, p->l3_off + 8, &p->to.saddr, 2 * sizeof(struct addr));
}

/* Ports, or the echo identifier, and the checksum over them and the addresses. */
static __always_inline int rewrite_l4(ctx_t *ctx, struct pkt *p)
{
	bool icmp = p->flags & PKT_F_ECHO, udp = p->l4_proto == IPPROTO_UDP;
	__u32 check = rewrite_check_at(p->l4_proto);
	bool pseudo = !(icmp && p->family == 4);
	__be16 id;

	if (p->flags & PKT_F_LATER_FRAGMENT)
		return 0;
	if (check && !(p->flags & PKT_F_UDP_NO_CSUM)) {
		if (pseudo && csum_changes(p->l3_delta) && ctx_csum_l4(ctx, p->l4_off + check, p->l3_delta, true, udp))
			return -1;
		if (csum_changes(p->l4_delta) && ctx_csum_l4(ctx, p->l4_off + check, p->l4_delta, false, udp))
			return -1;
	}
	if (!(p->flags & PKT_F_L4) || p->to.ports == p->t.ports)
		return 0;
	if (icmp) {
		id = p->flags & PKT_F_ECHO_REPLY ? p->to.dport : p->to.sport;
		return ctx_store(ctx, p->l4_off + 4, &id, sizeof(id));
	}
	return ctx_store(ctx, p->l4_off, &p->to.ports, sizeof(p->to.ports));
}

/* ---- an ICMP error, RFC 5508 4: the quoted packet is what its sender knows, with its own checksums right again.
 *
 * The ICMP checksum covers the quote, so every change in it is added up in `sum`. Quoted IPv4 addresses and the quoted header
 * checksum cancel out; so do quoted ports and addresses and the quoted layer 4 checksum where the quote reaches that far. */

static __always_inline int rewrite_load16(ctx_t *ctx, __u32 off, __u16 *ret)
{
	void *data = ctx_data(ctx);

	asm volatile("" : "+r"(off));
	if (off > PKT_OFFSET_MAX)
		return -1;
	data += off;
	if (data + 2 > ctx_data_end(ctx))
		return -1;
	*ret = *(__u16 *)data;
	return 0;
}

/* Applies a delta to a checksum inside the quote, and adds what that changes to *sum. */
static __always_inline int rewrite_quoted_check(ctx_t *ctx, __u32 off, __u16 delta, bool zero_is_none, __u16 *sum)
{
	__u16 old, new;

	if (rewrite_load16(ctx, off, &old))
		return -1;
	if (zero_is_none && !old)
		return 0;
	new = csum_apply(old, delta);
	if (zero_is_none && !new)
		new = 0xffff;
	*sum = csum_add(*sum, csum_delta16(old, new));
	return ctx_store(ctx, off, &new, 2);
}

static __always_inline int rewrite_quoted_ports(ctx_t *ctx, struct pkt *p, __u16 *sum, __u16 *ret_delta)
{
	const struct tuple *old = &p->inner, *new = &p->inner_to;
	__be16 ports[2] = {new->sport, new->dport};

	*ret_delta = csum_add(csum_delta16(old->sport, new->sport), csum_delta16(old->dport, new->dport));
	if (old->sport == new->sport && old->dport == new->dport) {
		*ret_delta = 0;
		return 0;
	}
	*sum = csum_add(*sum, *ret_delta);
	if (p->inner_proto == IPPROTO_TCP || p->inner_proto == IPPROTO_UDP)
		return ctx_store(ctx, p->inner_l4_off, ports, sizeof(ports));
	/* Echo: one of the two is the identifier, the other 0 on both sides. */
	ports[0] |= ports[1];
	return ctx_store(ctx, p->inner_l4_off + 4, ports, 2);
}

static __always_inline int rewrite_icmp_error(ctx_t *ctx, struct pkt *p)
{
	__u16 sum = 0, outer, inner, ports, l4;
	__be32 addrs[2];
	int r;

	inner = csum_add(csum_delta_addr(p->family, &p->inner.saddr, &p->inner_to.saddr),
			 csum_delta_addr(p->family, &p->inner.daddr, &p->inner_to.daddr));
	outer = csum_add(csum_delta_addr(p->family, &p->t.saddr, &p->to.saddr),
			 csum_delta_addr(p->family, &p->t.daddr, &p->to.daddr));
	sum = inner;
	if (p->family == 4) {
		addrs[0] = p->inner_to.saddr.a32[3];
		addrs[1] = p->inner_to.daddr.a32[3];
		if (rewrite_quoted_check(ctx, p->inner_l3_off + 10, inner, false, &sum))
			return -1;
		r = ctx_store(ctx, p->inner_l3_off + 12, addrs, sizeof(addrs));
	} else {
		r = ctx_store(ctx, p->inner_l3_off + 8, &p->inner_to.saddr, 2 * sizeof(struct addr));
	}
	if (r || rewrite_quoted_ports(ctx, p, &sum, &ports))
		return -1;
	/* The checksum of a quoted ICMPv4 echo covers no addresses. */
	l4 = p->inner_proto == IPPROTO_ICMP ? ports : csum_add(inner, ports);
	if ((p->flags & PKT_F_INNER_L4_CSUM) && rewrite_check_at(p->inner_proto) &&
	    rewrite_quoted_check(ctx, p->inner_l4_off + rewrite_check_at(p->inner_proto), l4, p->inner_proto == IPPROTO_UDP,
				 &sum))
		return -1;
	if (p->family == 6 && ctx_csum_l4(ctx, p->l4_off + 2, outer, true, false))
		return -1;
	p->l3_delta = outer;
	return ctx_csum_l4(ctx, p->l4_off + 2, sum, false, false);
}

/* ---- the MSS option of a SYN (RFC 9293 3.7.1) */

#define TCP_OPTIONS_MAX 40
#define TCP_OPT_END	0
#define TCP_OPT_NOP	1
#define TCP_OPT_MSS	2

struct rewrite_mss {
	__u8 option[TCP_OPTIONS_MAX];
	__u32 n;
	__u32 at;
	__u32 found; /* offset of the value; 0: none */
};

/* One option a turn; 1 ends the search. verifier: a bpf_loop, because each turn's offset depends on the one before. */
static long rewrite_mss_option(__u32 turn, void *arg)
{
	struct rewrite_mss *s = arg;
	__u32 at = s->at;

	if (at >= TCP_OPTIONS_MAX - 1 || at >= s->n || s->option[at] == TCP_OPT_END)
		return 1;
	if (s->option[at] == TCP_OPT_NOP) {
		s->at = at + 1;
		return 0;
	}
	if (s->option[at] == TCP_OPT_MSS && s->option[at + 1] == 4 && at + 4 <= s->n) {
		s->found = at + 2;
		return 1;
	}
	s->at = at + s->option[at + 1];
	return s->option[at + 1] < 2;
}

/* Lowers the MSS option to p->mss. 0, or -1: the kernel would not have it. A value at an odd offset stands across two words
 * of the checksum, so its delta is swapped. */
__noinline_global int rewrite_mss(ctx_t *ctx, struct pkt *p)
{
	struct rewrite_mss s = {};
	__u16 old, delta;
	__be16 new;
	__u32 n, at;

	if (!p)
		return -1;
	n = p->tcp_options;
	if (n < 4 || n > TCP_OPTIONS_MAX) /* verifier: 6.1 learns nothing from a comparison with 0 */
		return 0;
	if (ctx_load(ctx, p->l4_off + 20, s.option, n))
		return -1;
	s.n = n;
	s.at = s.found = pkt_zero(p);
	bpf_loop(TCP_OPTIONS_MAX, rewrite_mss_option, &s, 0);
	at = s.found;
	if (!at || at > TCP_OPTIONS_MAX - 2)
		return 0;
	old = s.option[at] << 8 | s.option[at + 1];
	if (old <= p->mss)
		return 0;
	new = bpf_htons(p->mss);
	delta = csum_delta16(bpf_htons(old), new);
	if (at & 1)
		delta = delta << 8 | delta >> 8;
	if (ctx_store(ctx, p->l4_off + 20 + at, &new, sizeof(new)))
		return -1;
	count_stat(STAT_MSS_LOWERED, 1);
	return csum_changes(delta) ? ctx_csum_l4(ctx, p->l4_off + 16, delta, false, false) : 0;
}

/* Layers 3 and 4. verifier: global, so that what it needs of the stack is not added to what the stages need. */
__noinline_global int rewrite_l3(ctx_t *ctx, struct pkt *p)
{
	__u16 delta = 0;

	if (!p)
		return -1;
	if (p->todo & DO_NAT_ICMP) {
		if (rewrite_icmp_error(ctx, p))
			return -1;
	} else if (p->todo & DO_NAT) {
		if (rewrite_l4(ctx, p))
			return -1;
	}
	if (p->todo & (DO_NAT | DO_NAT_ICMP))
		delta = p->l3_delta;
	if (p->todo & (DO_TTL | DO_NAT | DO_NAT_ICMP)) {
		if (p->family == 4 ? rewrite_ip4(ctx, p, delta) : rewrite_ip6(ctx, p, delta))
			return -1;
	}
	if (cfg_mss && unlikely(p->todo & DO_MSS) && rewrite_mss(ctx, p))
		return -1;
	return 0;
}

/* All but the tag. 0, or -1: the kernel would not have it, and the packet is half written: drop it. */
static __always_inline int rewrite_headers(ctx_t *ctx, struct pkt *p)
{
	if (p->todo & ~DO_L2 && rewrite_l3(ctx, p))
		return -1;
	return p->todo & DO_L2 ? ctx_store(ctx, 0, p->new_macs, sizeof(p->new_macs)) : 0;
}

/* All of a packet of TCP or UDP over an IPv4 header without options, that is translated and routed: in one go. */
__noinline_global int rewrite_leave4(ctx_t *ctx, struct pkt *p, __u32 tag)
{
	void *head = ctx_data(ctx);
	struct ctx_leave4 to;
	__u32 off;

	if (!p)
		return -1;
	off = p->l3_off;
	asm volatile("" : "+r"(off));
	if (off > PKT_OFFSET_MAX)
		return -1;
	head += off;
	if (head + sizeof(struct iphdr) + 20 > ctx_data_end(ctx))
		return -1;
	to.delta = p->l3_delta;
	to.ttl = csum_hop4(*(const __u32 *)(head + 8), to.delta);
	to.addrs = p->to.saddr.a32[3] | (__u64)p->to.daddr.a32[3] << 32;
	to.ports = p->to.ports;
	to.macs[0] = p->new_macs[0];
	to.macs[1] = p->new_macs[1];
	to.macs[2] = p->new_macs[2];
	to.tag = tag;
	to.has = p->tagged;
	to.tpid = p->tpid;
	to.tci = p->tci;
	return ctx_leave4(ctx, head, off, &to);
}

#define REWRITE_LEAVES (DO_L2 | DO_TTL | DO_NAT)

/* All. `tag`: to wear, as it stands in a frame; 0: none. */
static __always_inline int rewrite(ctx_t *ctx, struct pkt *p, __u32 tag)
{
	if (p->todo == REWRITE_LEAVES && cfg_nat && p->flags & PKT_F_NO_FLOW)
		return rewrite_leave4(ctx, p, tag);
	if (p->todo & ~DO_L2 && rewrite_l3(ctx, p))
		return -1;
	return p->todo & DO_L2 ? ctx_set_l2(ctx, p->new_macs, p->tagged, p->tpid, p->tci, tag)
			       : ctx_set_tag(ctx, p->macs, p->tagged, p->tpid, p->tci, tag);
}

#endif
