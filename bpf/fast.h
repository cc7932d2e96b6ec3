/* fast.h: ordinary packets, straight from their headers to their flow's entry, or to their route (TCP and UDP).
 *
 * Stands before parse_l3(), which reads far more than such a packet needs. What is ordinary here is told by a few words of the
 * headers: no options, no fragment, TTL to spare, checksum and lengths right; of a flow, no SYN, FIN or RST, and an entry whose
 * way out was decided under this epoch; without one, nothing that fast_route.h leaves alone. Anything else, the malformed
 * included, goes the long way unchanged, and so do headers that are not linear. The long way comes to the same result for
 * ordinary packets too: tests/prog/test_fast.py and test_fast_route.py compare them. What that asks before it looks for a flow
 * (martians, sources) was asked of the flow's first packet, whose addresses were the same; interfaces that check reverse paths
 * are left to it.
 */
#ifndef SLUICE_FAST_H
#define SLUICE_FAST_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include "pkt.h"
#include "csum.h"
#include "egress.h"
#include "fast_route.h"
#include "flow.h"
#include "iface.h"
#include "parse.h"
#include "port.h"

#define FAST_HEAD  (sizeof(struct iphdr) + 20)	 /* also of UDP: Ethernet frames are no shorter */
#define FAST_HEAD6 (sizeof(struct ipv6hdr) + 14) /* to the flags of TCP */

/* The headers in words, as they stand in memory. */
struct fast4 {
	__u32 ip[3]; /* version to checksum */
	__u64 addrs; /* source, destination */
	__u32 ports;
	__u16 total; /* layer 3 bytes */
	__u8 proto;
	__u8 seen; /* FLOW_SEEN_* that the packet shows, or FAST_NEWS */
};

#define FAST_NEWS 0xff /* no entry has seen it all: a flow's packet goes the long way */

/* FLOW_SEEN_* of a TCP header. */
static __always_inline __u8 fast_seen(const void *tcp)
{
	__u8 flags = *(const __u8 *)(tcp + 13) & (NAT_TCP_SYN | NAT_TCP_FIN | NAT_TCP_RST | NAT_TCP_ACK);

	return flags == NAT_TCP_ACK ? FLOW_SEEN_ANY | FLOW_SEEN_ACK : FAST_NEWS;
}

/* All of `h` but what the packet shows. */
static __always_inline void fast_words4(const void *head, struct fast4 *h)
{
	const __u32 *w = head;

	h->ip[0] = w[0];
	h->ip[1] = w[1];
	h->ip[2] = w[2];
	h->addrs = *(const bytes8 *)(w + 3);
	h->ports = w[5];
	h->total = bpf_ntohs(h->ip[0] >> 16);
	h->proto = h->ip[2] >> 8;
}

/* Reads `h` from the 40 bytes at `head`. False: not an ordinary packet. */
static __always_inline bool fast_read4(const void *head, struct fast4 *h)
{
	const __u16 *half = head;
	__u8 offset;
	__u16 len;

	fast_words4(head, h);
	if ((h->ip[0] & 0xff) != 0x45 || h->ip[1] & bpf_htonl(0x3fff) || (h->ip[2] & 0xff) <= 1 ||
	    !csum_is_right((__u64)h->ip[0] + h->ip[1] + h->ip[2] + (__u32)h->addrs + (h->addrs >> 32)))
		return false;
	if (h->proto == IPPROTO_TCP) {
		offset = *(const __u8 *)(head + 32) >> 4;
		h->seen = fast_seen(head + sizeof(struct iphdr));
		return offset >= 5 && sizeof(struct iphdr) + offset * 4u <= h->total;
	}
	len = bpf_ntohs(half[12]);
	h->seen = FLOW_SEEN_ANY;
	return h->proto == IPPROTO_UDP && len >= 8 && sizeof(struct iphdr) + len <= h->total;
}

/* Does a packet that no entry has seen it all have a flow? If it may be the first one of a translated one, all that it is going
 * to write is under way from memory before that is waited for. */
__noinline_global __u32 fast_news4(struct pkt *p, __u64 addrs, __u64 rest)
{
	union {
		__u64 word[2];
		struct flow_key4 key;
	} k = {.word = {addrs, rest}};
	struct tuple t;
	__u32 rules;

	if (!p)
		return 0;
	addr_from4(&t.saddr, addrs);
	addr_from4(&t.daddr, addrs >> 32);
	rules = nat_filter_rules(p->in_iface, 4, &t);
	flowtab_place4(&k.key, &p->at);
	if (rules && rules != NAT_FILTER_ALL) {
		nat_guess(p, addrs, rest);
		half_fetch();
	}
	return flowtab_search4(&k.key, &p->at);
}

/* Where the flow is to stand of a packet that has none, and is none of the above; if it will be translated, with all that is
 * written for it. */
__noinline_global int fast_place4(struct pkt *p, __u64 addrs, __u64 rest)
{
	union {
		__u64 word[2];
		struct flow_key4 key;
	} k = {.word = {addrs, rest}};

	if (!p)
		return 0;
	flowtab_place4(&k.key, &p->at);
	if (p->flags & PKT_F_WAY) {
		nat_guess(p, addrs, rest);
		half_fetch();
	}
	return 0;
}

/* Not in its first slot. verifier: global, so that the key is not on the program's own stack. */
__noinline_global __u32 fast_search4(__u64 addrs, __u64 rest)
{
	union {
		__u64 word[2];
		struct flow_key4 key;
	} k = {.word = {addrs, rest}};

	return flowtab_find4(&k.key);
}

/* The latter half of its struct flow_key4, as that has it in memory. */
static __always_inline __u64 fast_key4(const struct pkt *p, const struct fast4 *h)
{
	return h->ports | (__u64)p->vrf << 32 | (__u64)h->proto << 48;
}

static __always_inline struct flow *fast_find4(const struct pkt *p, const struct fast4 *h)
{
	__u64 rest = fast_key4(p, h);
	struct flow *f = flowtab_home4(h->addrs, rest);
	__u32 i;

	if (likely(f))
		return f;
	i = fast_search4(h->addrs, rest);
	return i ? flowtab_at(4, i - 1) : NULL;
}

/* The way out that the entry knows, as flow_forward() takes it; false: it must be decided again, or the port is tc's. `len`:
 * layer 3 bytes. */
static __always_inline bool fast_forward(struct pkt *p, const struct flow *f, __u32 len, struct ctx_leave4 *to)
{
	struct iface *i;
	struct port *port;
	__u64 next;
	__u32 vlan, mtu;

	if (unlikely(READ_ONCE(f->epoch) != p->epoch))
		return false;
	p->out_port = f->out_port;
	i = iface_get(f->out_iface);
	port = port_get(f->out_port);
	vlan = f->out_vlan;
	next = READ_ONCE(*(const __u64 *)f->dmac); /* with the nexthop */
	mtu = f->mtu;
	asm volatile("" ::: "memory");
	if (unlikely(READ_ONCE(f->epoch) != p->epoch || len > mtu || !i || !port || (HOOK_XDP && !(port->flags & PORT_F_XDP))))
		return false;
	p->nexthop = next >> 48;
	macs_set(to->macs, next, *(const bytes8 *)i->mac);
	to->tag = egress_tag(p, port, vlan);
	return true;
}

/* TTL to ports of the packet at `head`. */
static __always_inline void fast_rewrite4(const void *head, const struct flow *f, struct ctx_leave4 *to)
{
	to->delta = f->l3_delta;
	to->ttl = csum_hop4(*(const __u32 *)(head + 8), to->delta);
	to->addrs = *(const bytes8 *)&f->saddr4;
	to->ports = f->ports;
}

/* Layer 3 bytes of the largest packet on the wire, as parse_l3() reckons them. */
static __always_inline __u32 fast_len(ctx_t *ctx, const struct pkt *p, const void *head, const struct fast4 *h)
{
	if (HOOK_XDP || likely(p->segs == 1))
		return h->total;
	return ctx_gso_size(ctx) + sizeof(struct iphdr) +
	       (h->proto == IPPROTO_TCP ? (*(const __u8 *)(head + 32) >> 4) * 4u : sizeof(struct udphdr));
}

static __always_inline bool fast_checks_path(const struct pkt *p)
{
	struct iface *i = iface_get(p->in_iface);

	return !i || i->flags & (IFACE_F_RPF_LOOSE | IFACE_F_RPF_STRICT);
}

/* By the flow's entry. V_NEXT: not by that. */
static __always_inline __verdict enum verdict fast_flow4(ctx_t *ctx, struct pkt *p, void *head, __u32 off, const struct fast4 *h,
							 struct flow *f)
{
	struct ctx_leave4 to;

	if ((f->seen & h->seen) != h->seen || !fast_forward(p, f, fast_len(ctx, p, head, h), &to))
		return V_NEXT;
	/* Read again: what is kept across look-ups has to be written and read, too. */
	asm volatile("" : "+r"(head));
	WRITE_ONCE(f->ack, *(const __u32 *)(head + 28)); /* means nothing for UDP */
	fast_rewrite4(head, f, &to);
	p->out_len = count_tx_bytes(p, to.tag);
	if (ctx_leave4(ctx, p, head, off, &to))
		return pkt_drop(p, DROP_REWRITE_FAILED);
	flow_use(p, f);
	flow_count(p, f);
	count_stat(STAT_FLOW_HIT, count_packets(p));
	return V_READY;
}

/* By its route. */
static __always_inline __verdict enum verdict fast_route4(ctx_t *ctx, struct pkt *p, void *head, __u32 off, const struct fast4 *h)
{
	__be32 s = h->addrs, d = h->addrs >> 32;
	struct tuple t = {.ports = h->ports};
	__u16 check = h->ip[2] >> 16;
	__u32 rules = 0;

	if (!fast_plain4(s) || !fast_plain4(d) || s == d)
		return V_NEXT;
	addr_from4(&t.saddr, s);
	addr_from4(&t.daddr, d);
	if (cfg_nat)
		rules = nat_filter_rules(p->in_iface, 4, &t);
	if (rules == NAT_FILTER_ALL)
		return V_NEXT;
	p->seg_len = fast_len(ctx, p, head, h);
	if (!fast_route(p, 4, &t, h->proto, rules))
		return V_NEXT;
	check = csum_fold((__u32)(__u16)~check + 0xfffe);
	if (ctx_hop4(ctx, head, off, (__u16)(h->ip[2] - 1) | (__u32)(__u16)~check << 16))
		return pkt_drop(p, DROP_REWRITE_FAILED);
	p->todo = DO_L2;
	return V_FORWARD;
}

/* Where the IPv4 header begins, behind the frame's own. */
static __always_inline __u32 fast_offset(const struct pkt *p)
{
	return p->tagged && (HOOK_XDP || !(p->flags & PKT_F_TAG_HW)) ? sizeof(struct ethhdr) + 4 : sizeof(struct ethhdr);
}

/* What parse_headers() would have found, for the stages that come now: the packet, which fast_read4() has read, has no flow yet.
 * Global: what it needs of the headers is read again, and not kept for it by those that have one. */
__noinline_global int fast_parsed4(ctx_t *ctx, struct pkt *p)
{
	void *head = ctx_data(ctx);
	struct fast4 h;

	if (!p)
		return 0;
	head += fast_offset(p);
	if (head + FAST_HEAD > ctx_data_end(ctx))
		return 0;
	fast_words4(head, &h);
	parse_reset_l3(p, ctx);
	p->flags |= PKT_F_NO_FLOW | PKT_F_L4 | (h.ip[1] & bpf_htonl(IP4_DF) ? PKT_F_DF : 0);
	p->family = 4;
	p->l4_proto = h.proto;
	p->ttl = h.ip[2];
	p->tos = h.ip[0] >> 8;
	p->l4_off = p->l3_off + sizeof(struct iphdr);
	p->l3_len = h.total;
	p->seg_len = fast_len(ctx, p, head, &h);
	p->ip_id = h.ip[1];
	p->ip_frag = h.ip[1] >> 16;
	p->ip_check = h.ip[2] >> 16;
	addr_from4(&p->t.saddr, h.addrs);
	addr_from4(&p->t.daddr, h.addrs >> 32);
	p->t.ports = h.ports;
	if (h.proto == IPPROTO_TCP) {
		p->tcp_flags = *(const __u8 *)(head + 33);
		p->tcp_options = (*(const __u8 *)(head + 32) >> 4) * 4 - 20;
		p->tcp_seq = *(const __u32 *)(head + 24);
		p->tcp_ack = *(const __u32 *)(head + 28);
	} else if (!*(const __u16 *)(head + 26)) {
		p->flags |= PKT_F_UDP_NO_CSUM;
	}
	return 0;
}

/* IPv4, addressed to in_iface. V_READY: by its flow's entry; V_FORWARD: by its route, layer 3 is rewritten already; V_NEXT with
 * PKT_F_NO_FLOW: the headers are read. */
__noinline_global __verdict enum verdict fast4(ctx_t *ctx, struct pkt *p)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx), *head;
	struct flow *f = NULL;
	struct fast4 h;
	enum verdict v;
	__u32 off;

	if (!p || (cfg_rpf && fast_checks_path(p)))
		return V_NEXT;
	off = fast_offset(p);
	head = data + off;
	if (head + FAST_HEAD > end || !fast_read4(head, &h) || h.total > p->len - off)
		return V_NEXT;
	if (unlikely(h.seen == FAST_NEWS && (cfg_nat || cfg_mss))) {
		if (!cfg_nat || fast_news4(p, h.addrs, fast_key4(p, &h)))
			return V_NEXT;
		if (cfg_mss) {
			if (!cfg_resize)
				fast_parsed4(ctx, p);
			return V_NEXT;
		}
	} else if (cfg_nat) {
		f = fast_find4(p, &h);
	}
	if (f)
		return fast_flow4(ctx, p, head, off, &h, f);
	if (cfg_resize)
		return V_NEXT;
	v = fast_route4(ctx, p, head, off, &h);
	if (v == V_NEXT && cfg_nat) {
		if (h.seen != FAST_NEWS)
			fast_place4(p, h.addrs, fast_key4(p, &h));
		fast_parsed4(ctx, p);
	}
	return v;
}

/* Has the packet, of IPv6, a flow? */
__noinline_global __u32 fast_has_flow6(const struct tuple *t, __u32 proto, __u32 vrf)
{
	return t ? flow_find(6, false, t, proto, vrf) : 0;
}

/* Is it a packet whose layer 4 is sound, and may NAT and the MSS leave it alone? `head`: of FAST_HEAD6 bytes; `len`: behind the
 * IPv6 header. */
static __always_inline bool fast_plain_l4(const void *head, __u8 proto, __u32 len)
{
	const void *l4 = head + sizeof(struct ipv6hdr);
	__u32 need;

	if (proto == IPPROTO_TCP) {
		need = *(const __u8 *)(l4 + 12) >> 4;
		return need >= 5 && need * 4 <= len && !(cfg_mss && fast_seen(l4) == FAST_NEWS);
	}
	need = bpf_ntohs(*(const __be16 *)(l4 + 4));
	return proto == IPPROTO_UDP && need >= 8 && need <= len;
}

/* Layer 3 bytes of the largest packet on the wire. `len`: behind the IPv6 header. */
static __always_inline __u32 fast_len6(ctx_t *ctx, const struct pkt *p, const struct ipv6hdr *ip, __u32 len)
{
	const __u8 *l4 = (const __u8 *)(ip + 1);

	if (HOOK_XDP || likely(p->segs == 1))
		return sizeof(*ip) + len;
	return ctx_gso_size(ctx) + sizeof(*ip) + (ip->nexthdr == IPPROTO_TCP ? (l4[12] >> 4) * 4u : sizeof(struct udphdr));
}

/* IPv6, addressed to in_iface: without extension headers and without a flow. V_FORWARD: layer 3 is rewritten already. */
__noinline_global __verdict enum verdict fast6(ctx_t *ctx, struct pkt *p)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct ipv6hdr *ip;
	__u8 hop, proto;
	struct tuple t;
	__u32 off, len;

	if (!p || cfg_resize || (cfg_rpf && fast_checks_path(p)))
		return V_NEXT;
	off = p->tagged && (HOOK_XDP || !(p->flags & PKT_F_TAG_HW)) ? sizeof(struct ethhdr) + 4 : sizeof(struct ethhdr);
	ip = data + off;
	if ((void *)ip + FAST_HEAD6 > end || ip->version != 6 || ip->hop_limit <= 1)
		return V_NEXT;
	len = bpf_ntohs(ip->payload_len);
	if (len + sizeof(*ip) > p->len - off || !fast_plain_l4(ip, ip->nexthdr, len))
		return V_NEXT;
	__builtin_memcpy(&t.saddr, &ip->saddr, sizeof(t.saddr));
	__builtin_memcpy(&t.daddr, &ip->daddr, sizeof(t.daddr));
	t.ports = *(const __u32 *)(ip + 1);
	if (!fast_plain6(&t.saddr) || !fast_plain6(&t.daddr) || addr_equal(&t.saddr, &t.daddr))
		return V_NEXT;
	/* Rules are not told apart by their way out: it costs too much to look for a flow that there most likely is. */
	if (cfg_nat && (nat_filter_rules(p->in_iface, 6, &t) || fast_has_flow6(&t, ip->nexthdr, p->vrf)))
		return V_NEXT;
	hop = ip->hop_limit;
	proto = ip->nexthdr;
	p->seg_len = fast_len6(ctx, p, ip, len);
	if (!fast_route(p, 6, &t, proto, 0))
		return V_NEXT;
	if (ctx_hop6(ctx, ip, off, proto, hop - 1))
		return pkt_drop(p, DROP_REWRITE_FAILED);
	p->todo = DO_L2;
	return V_FORWARD;
}

static __always_inline __verdict enum verdict fast(ctx_t *ctx, struct pkt *p)
{
	if (p->proto == bpf_htons(ETH_P_IP))
		return fast4(ctx, p);
	return cfg_ipv6 && p->proto == bpf_htons(ETH_P_IPV6) ? fast6(ctx, p) : V_NEXT;
}

#endif
