/* parse.h: from the frame to a struct pkt: the one parser, for both hooks.
 *
 * Ethernet, the outer tag, ARP, IPv4 with options, IPv6 with extension headers, TCP, UDP, ICMP, ICMPv6, fragments, and the
 * packet quoted by an ICMP error. What is malformed on layer 2 is dropped here. What is malformed above is noted in p->bad: a
 * switch passes it on as any other frame, the router drops it with that reason.
 */
#ifndef SLUICE_PARSE_H
#define SLUICE_PARSE_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "pkt.h"
#include "csum.h"

#define PARSE_IP6_EXT_MAX 8   /* extension headers that are followed */
#define PARSE_PULL	  512 /* linear bytes that hold every header looked at here, but for absurd chains of extension headers */

#define IP4_MF	   0x2000
#define IP4_DF	   0x4000
#define IP4_OFFSET 0x1fff

/* linux/icmp.h pulls in libc's headers. */
#define ICMP_ECHOREPLY	   0
#define ICMP_DEST_UNREACH  3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT	   5
#define ICMP_ECHO	   8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY   129

/* Messages of ICMPv6 that never leave a link (RFC 4890 4.4.1): MLD, ND, inverse ND, MLDv2, SEND, multicast router discovery. Of
 * the types from 128 on. To NAT they are as errors that quote nothing: no flow has them, none is made, and no rule translates
 * them; whoever hears them on the link is meant. */
#define ICMP6_BIT(type) (1u << ((type) - 128))
#define ICMP6_LINK                                                                                                               \
	(ICMP6_BIT(130) | ICMP6_BIT(131) | ICMP6_BIT(132) | ICMP6_BIT(133) | ICMP6_BIT(134) | ICMP6_BIT(135) | ICMP6_BIT(136) |  \
	 ICMP6_BIT(137) | ICMP6_BIT(141) | ICMP6_BIT(142) | ICMP6_BIT(143) | ICMP6_BIT(148) | ICMP6_BIT(149) | ICMP6_BIT(151) |  \
	 ICMP6_BIT(152) | ICMP6_BIT(153))

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

struct ip6_ext {
	__u8 next;
	__u8 len;	 /* in 8 bytes after the first 8; AH: in 4 bytes, less 2 */
	__be16 frag_off; /* fragment header: offset << 3 | more */
	__be32 id;
};

struct icmp_head {
	__u8 type;
	__u8 code;
	__be16 check;
	__be16 id;
	__be16 seq;
};

/* Bytes [off, off + n) of the packet, or NULL when linear data ends before. verifier: the barriers keep the compiler from
 * computing the offset anew behind the check of its bound, and from doing arithmetic on `end`. */
static __always_inline void *parse_at(void *data, void *end, __u32 off, __u32 n)
{
	asm volatile("" : "+r"(off));
	if (off > PKT_OFFSET_MAX)
		return NULL;
	data += off;
	asm volatile("" : "+r"(data));
	return data + n > end ? NULL : data;
}

static __always_inline void parse_bad(struct pkt *p, enum drop_reason why)
{
	p->bad = why;
}

/* Data ends before the header does. In tc it may go on outside the linear part: then it is pulled and parsed again. */
static __always_inline void parse_short(struct pkt *p, enum drop_reason why)
{
	p->truncated = 1;
	p->bad = why;
}

static __always_inline bool parse_is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/* Ports of a TCP or UDP header, the identifier of an echo; for the packet itself and for a quoted one. */
static __always_inline void parse_echo(struct tuple *t, bool reply, __be16 id)
{
	t->sport = reply ? 0 : id;
	t->dport = reply ? id : 0;
}

static __always_inline void parse_tcp(struct pkt *p, void *data, void *end, __u32 l4_len)
{
	__u8 *flags;
	struct tcphdr *tcp = parse_at(data, end, p->l4_off, sizeof(*tcp));

	if (!tcp)
		return parse_short(p, DROP_PARSE_L4_SHORT);
	if (l4_len < sizeof(*tcp))
		return parse_bad(p, DROP_PARSE_L4_SHORT);
	if (tcp->doff < 5 || tcp->doff * 4u > l4_len)
		return parse_bad(p, DROP_PARSE_TCP_OFFSET);
	flags = (__u8 *)tcp + 13;
	p->tcp_flags = *flags;
	p->tcp_options = tcp->doff * 4 - sizeof(*tcp);
	p->tcp_seq = tcp->seq;
	p->tcp_ack = tcp->ack_seq;
	p->t.ports = *(const __u32 *)tcp;
	p->flags |= PKT_F_L4;
	if (p->segs > 1)
		p->seg_len += tcp->doff * 4;
}

static __always_inline void parse_udp(struct pkt *p, void *data, void *end, __u32 l4_len)
{
	struct udphdr *udp = parse_at(data, end, p->l4_off, sizeof(*udp));
	__u32 len;

	if (!udp)
		return parse_short(p, DROP_PARSE_L4_SHORT);
	if (l4_len < sizeof(*udp))
		return parse_bad(p, DROP_PARSE_L4_SHORT);
	len = bpf_ntohs(udp->len);
	if (p->segs == 1 && (len < sizeof(*udp) || (len > l4_len && !(p->flags & PKT_F_FRAGMENT))))
		return parse_bad(p, DROP_PARSE_UDP_LENGTH);
	p->t.ports = *(const __u32 *)udp;
	p->flags |= PKT_F_L4;
	if (p->family == 4 && !udp->check)
		p->flags |= PKT_F_UDP_NO_CSUM;
	if (p->segs > 1)
		p->seg_len += sizeof(*udp);
}

/* The quote goes on to `need`, outside the linear data: to be pulled and parsed again. A quote that ends before is no fault. */
static __always_inline void parse_quote_short(struct pkt *p, __u32 need)
{
	if (need <= p->l3_off + p->l3_len && need <= PKT_OFFSET_MAX)
		p->truncated = 1;
}

/* The packet an ICMP error quotes (RFC 792, RFC 4443 2.4): its tuple, as far as the quote reaches. Where a TCP header has no
 * length, it is no header any more but the zeros before the error's extensions (RFC 4884 4.4, RFC 5508 REQ-3 d). */
static __always_inline void parse_quote_l4(struct pkt *p, void *data, void *end, bool first)
{
	struct icmp_head *head = parse_at(data, end, p->inner_l4_off, sizeof(*head));
	__u32 check_at;
	__u8 *tail; /* the checksum, and 4 bytes before it: of TCP the header's length */
	bool reply;

	if (!head)
		return parse_quote_short(p, p->inner_l4_off + sizeof(*head));
	if (!first)
		return;
	switch (p->inner_proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		p->inner.sport = *(__be16 *)head;
		p->inner.dport = head->check;
		check_at = p->inner_proto == IPPROTO_TCP ? 16 : 6;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		reply = head->type == (p->family == 4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY);
		if (!reply && head->type != (p->family == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST))
			return;
		parse_echo(&p->inner, reply, head->id);
		check_at = 2;
		break;
	default:
		p->flags |= PKT_F_INNER;
		return;
	}
	if (p->inner_l4_off + check_at + 2 <= p->l3_off + p->l3_len) {
		tail = parse_at(data, end, p->inner_l4_off + check_at - 4, 6);
		if (!tail)
			return parse_quote_short(p, p->inner_l4_off + check_at + 2);
		if (p->inner_proto != IPPROTO_TCP || tail[0] >> 4)
			p->flags |= PKT_F_INNER_L4_CSUM;
	}
	p->flags |= PKT_F_INNER;
}

static __always_inline void parse_quote4(struct pkt *p, void *data, void *end)
{
	struct iphdr *ip = parse_at(data, end, p->inner_l3_off, sizeof(*ip));

	if (!ip)
		return parse_quote_short(p, p->inner_l3_off + sizeof(*ip));
	if (ip->version != 4 || ip->ihl < 5)
		return;
	p->inner_proto = ip->protocol;
	p->inner_l4_off = p->inner_l3_off + ip->ihl * 4;
	if (p->inner_l4_off + 8 > p->l3_off + p->l3_len)
		return;
	addr_from4(&p->inner.saddr, ip->saddr);
	addr_from4(&p->inner.daddr, ip->daddr);
	parse_quote_l4(p, data, end, !(ip->frag_off & bpf_htons(IP4_OFFSET)));
}

static __always_inline void parse_quote6(struct pkt *p, void *data, void *end)
{
	struct ipv6hdr *ip = parse_at(data, end, p->inner_l3_off, sizeof(*ip));

	if (!ip)
		return parse_quote_short(p, p->inner_l3_off + sizeof(*ip));
	if (ip->version != 6)
		return;
	p->inner_proto = ip->nexthdr;
	p->inner_l4_off = p->inner_l3_off + sizeof(*ip);
	if (p->inner_l4_off + 8 > p->l3_off + p->l3_len)
		return;
	__builtin_memcpy(&p->inner.saddr, &ip->saddr, sizeof(struct addr));
	__builtin_memcpy(&p->inner.daddr, &ip->daddr, sizeof(struct addr));
	parse_quote_l4(p, data, end, true);
}

/* Types that report an error about another packet: of ICMP 3, 4, 5, 11, 12; of ICMPv6 all below 128. */
static __always_inline bool parse_icmp_is_error(__u8 family, __u8 type)
{
	if (family == 6)
		return type < 128;
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

static __always_inline bool parse_icmp_is_link(__u8 family, __u8 type)
{
	return family == 6 && type >= 128 && type < 160 && ICMP6_LINK >> (type & 31) & 1;
}

static __always_inline void parse_icmp(struct pkt *p, void *data, void *end, __u32 l4_len)
{
	struct icmp_head *icmp = parse_at(data, end, p->l4_off, sizeof(*icmp));
	__u8 request = p->family == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	__u8 reply = p->family == 4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;

	if (!icmp)
		return parse_short(p, DROP_PARSE_L4_SHORT);
	if (l4_len < sizeof(*icmp))
		return parse_bad(p, DROP_PARSE_L4_SHORT);
	if (icmp->type == request || icmp->type == reply) {
		p->flags |= PKT_F_ECHO | PKT_F_L4 | (icmp->type == reply ? PKT_F_ECHO_REPLY : 0);
		parse_echo(&p->t, icmp->type == reply, icmp->id);
	} else if (parse_icmp_is_error(p->family, icmp->type)) {
		p->flags |= PKT_F_ICMP_ERROR;
		p->inner_l3_off = p->l4_off + sizeof(*icmp);
		if (p->family == 4)
			parse_quote4(p, data, end);
		else
			parse_quote6(p, data, end);
	} else if (parse_icmp_is_link(p->family, icmp->type)) {
		p->flags |= PKT_F_ICMP_ERROR;
	}
}

/* verifier: global functions, each verified once, so that the paths through layer 3 are not multiplied by those through layer 4
 * and the stages behind them (6.1 follows 290 000 instructions otherwise). */
__noinline_global int parse_l4(ctx_t *ctx, struct pkt *p)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	__u32 l4_len;

	if (!p)
		return 0;
	l4_len = p->l3_len - (p->l4_off - p->l3_off);
	if (p->segs > 1)
		p->seg_len += p->l4_off - p->l3_off;
	if (p->flags & PKT_F_LATER_FRAGMENT)
		return 0;
	if (p->l4_proto == IPPROTO_TCP)
		parse_tcp(p, data, end, l4_len);
	else if (p->l4_proto == IPPROTO_UDP)
		parse_udp(p, data, end, l4_len);
	else if (p->l4_proto == (p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		parse_icmp(p, data, end, l4_len);
	return 0;
}

/* RFC 1858, RFC 3128: a TCP fragment at offset 8 rewrites the flags of the first; RFC 791: only the last may be odd. */
static __always_inline bool parse_fragment_bad(const struct pkt *p, __u32 offset, bool more, __u32 payload)
{
	return offset + payload > 65535 || (more && (payload & 7)) || (offset && !payload) ||
	       (offset == 8 && p->l4_proto == IPPROTO_TCP);
}

static __always_inline __u16 parse_sum4(const struct iphdr *ip)
{
	const __u32 *w = (const __u32 *)ip;

	return csum_fold64((__u64)w[0] + w[1] + w[2] + w[3] + w[4]);
}

/* Of the options, up to 40 bytes behind the header; whole 4-byte words. */
static __always_inline int parse_sum4_options(struct pkt *p, void *data, void *end, __u32 ihl, __u16 *sum)
{
	__u64 s = *sum;

	for (int i = 5; i < 15 && i < (int)ihl; i++) {
		__u32 *w = parse_at(data, end, p->l3_off + i * 4u, 4);

		if (!w)
			return -1;
		s += *w;
	}
	*sum = csum_fold64(s);
	return 0;
}

#define IP4_OPT_END  0
#define IP4_OPT_NOP  1
#define IP4_OPT_LSRR 131
#define IP4_OPT_SSRR 137

#define IP4_OPTIONS_MAX 40

struct parse_options {
	__u8 byte[IP4_OPTIONS_MAX];
	__u32 n;
	__u32 at;
	__u16 flags; /* PKT_F_* that were found */
	__u8 bad;
};

/* One option a turn; 1 ends the walk. verifier: a bpf_loop, because each turn's offset depends on the one before. */
static long parse_option4(__u32 turn, void *arg)
{
	struct parse_options *o = arg;
	__u32 at = o->at, len;

	if (at >= IP4_OPTIONS_MAX || at >= o->n || o->byte[at] == IP4_OPT_END)
		return 1;
	if (o->byte[at] == IP4_OPT_NOP) {
		o->at = at + 1;
		return 0;
	}
	len = at + 1 < IP4_OPTIONS_MAX ? o->byte[at + 1] : 0;
	if (len < 2 || at + len > o->n) {
		o->bad = 1;
		o->at = at + (at + 1 < o->n); /* the length, or the option that has none */
		return 1;
	}
	if (o->byte[at] == IP4_OPT_LSRR || o->byte[at] == IP4_OPT_SSRR)
		o->flags |= PKT_F_SOURCE_ROUTE;
	o->at = at + len;
	return 0;
}

/* What is between the IPv4 header and layer 4 (RFC 791 3.1): options end within it, and source routes are noted. */
__noinline_global int parse_options4(ctx_t *ctx, struct pkt *p)
{
	struct parse_options o = {};
	__u32 n;

	if (!p)
		return 0;
	n = p->l4_off - p->l3_off - sizeof(struct iphdr);
	/* verifier: 6.1 learns nothing from a comparison with 0, and there are 4 at least. */
	if (n < 4 || n > IP4_OPTIONS_MAX || ctx_load(ctx, p->l3_off + sizeof(struct iphdr), o.byte, n))
		return 0;
	o.n = n;
	o.at = o.flags = o.bad = pkt_zero(p);
	bpf_loop(IP4_OPTIONS_MAX, parse_option4, &o, 0);
	p->flags |= o.flags;
	if (o.bad) {
		p->bad_at = sizeof(struct iphdr) + o.at;
		parse_bad(p, DROP_PARSE_IP4_OPTIONS);
	}
	return 0;
}

static __always_inline void parse_ip4(struct pkt *p, void *data, void *end)
{
	struct iphdr *ip = parse_at(data, end, p->l3_off, sizeof(*ip));
	__u32 total, head, frag, ihl;
	__u16 sum;

	if (!ip)
		return parse_short(p, DROP_PARSE_IP4_SHORT);
	p->family = 4;
	if (ip->version != 4)
		return parse_bad(p, DROP_PARSE_IP4_VERSION);
	ihl = ip->ihl;
	if (ihl < 5)
		return parse_bad(p, DROP_PARSE_IP4_IHL);
	head = ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (p->segs > 1 && !total) /* larger than the field: BIG TCP */
		total = p->len - p->l3_off;
	if (total < head || total > p->len - p->l3_off)
		return parse_bad(p, DROP_PARSE_IP4_LENGTH);
	sum = parse_sum4(ip);
	if (head > sizeof(*ip)) {
		p->flags |= PKT_F_OPTIONS;
		if (parse_sum4_options(p, data, end, ihl, &sum))
			return parse_short(p, DROP_PARSE_IP4_SHORT);
	}
	if (sum != 0xffff)
		return parse_bad(p, DROP_PARSE_IP4_CHECKSUM);
	p->l3_len = total;
	p->l4_off = p->l3_off + head;
	p->l4_proto = ip->protocol;
	p->ttl = ip->ttl;
	p->tos = ip->tos;
	p->ip_id = ip->id;
	p->ip_check = ip->check;
	p->ip_frag = ip->frag_off;
	addr_from4(&p->t.saddr, ip->saddr);
	addr_from4(&p->t.daddr, ip->daddr);
	if (p->segs == 1)
		p->seg_len = total;
	frag = bpf_ntohs(ip->frag_off);
	if (frag & IP4_DF)
		p->flags |= PKT_F_DF;
	if (frag & (IP4_MF | IP4_OFFSET)) {
		p->flags |= PKT_F_FRAGMENT | (frag & IP4_OFFSET ? PKT_F_LATER_FRAGMENT : 0);
		p->frag_len = total - head;
		if (parse_fragment_bad(p, (frag & IP4_OFFSET) * 8, frag & IP4_MF, total - head))
			return parse_bad(p, DROP_PARSE_IP4_FRAGMENT);
	}
}

/* One extension header; returns the next header's number, or -1 when it is no extension header or the chain ends. */
static __always_inline int parse_ip6_ext(struct pkt *p, void *data, void *end, __u8 proto)
{
	struct ip6_ext *ext;
	__u32 frag, left;

	switch (proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
		break;
	default:
		return -1;
	}
	ext = parse_at(data, end, p->l4_off, sizeof(*ext));
	if (!ext) {
		parse_short(p, DROP_PARSE_IP6_EXT_SHORT);
		return -1;
	}
	if (proto == IPPROTO_FRAGMENT) {
		frag = bpf_ntohs(ext->frag_off);
		p->flags |= PKT_F_FRAGMENT | (frag & ~7 ? PKT_F_LATER_FRAGMENT : 0);
		p->ip_id_high = *(__be16 *)&ext->id;
		p->ip_id = *((__be16 *)&ext->id + 1);
		p->ip_frag = bpf_htons(frag >> 3 | (frag & 1 ? IP4_MF : 0));
		p->l4_off += 8;
		left = p->l3_off + p->l3_len - p->l4_off;
		p->frag_len = left;
		p->l4_proto = ext->next;
		if (parse_fragment_bad(p, frag & ~7, frag & 1, left))
			parse_bad(p, DROP_PARSE_IP6_FRAGMENT);
	} else {
		p->l4_off += proto == IPPROTO_AH ? (ext->len + 2) * 4 : (ext->len + 1) * 8;
	}
	p->l4_proto = ext->next;
	if (p->l4_off > p->l3_off + p->l3_len)
		parse_bad(p, DROP_PARSE_IP6_EXT_SHORT);
	else if (p->l4_off > PKT_OFFSET_MAX)
		parse_bad(p, DROP_PARSE_IP6_EXT_CHAIN);
	/* Behind the header of a later fragment there is data, not a header. */
	if (p->bad || (p->flags & PKT_F_LATER_FRAGMENT))
		return -1;
	return p->l4_proto;
}

static __always_inline void parse_ip6(struct pkt *p, void *data, void *end)
{
	struct ipv6hdr *ip = parse_at(data, end, p->l3_off, sizeof(*ip));
	int proto, i;
	__u32 total;

	if (!ip)
		return parse_short(p, DROP_PARSE_IP6_SHORT);
	p->family = 6;
	if (ip->version != 6)
		return parse_bad(p, DROP_PARSE_IP6_VERSION);
	total = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if (p->segs > 1 && !ip->payload_len) /* larger than the field: BIG TCP */
		total = p->len - p->l3_off;
	if (total > p->len - p->l3_off)
		return parse_bad(p, DROP_PARSE_IP6_LENGTH);
	p->l3_len = total;
	p->l4_off = p->l3_off + sizeof(*ip);
	p->l4_proto = ip->nexthdr;
	p->ttl = ip->hop_limit;
	p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	__builtin_memcpy(&p->t.saddr, &ip->saddr, sizeof(struct addr));
	__builtin_memcpy(&p->t.daddr, &ip->daddr, sizeof(struct addr));
	if (p->segs == 1)
		p->seg_len = total;
	proto = p->l4_proto;
	for (i = 0; i < PARSE_IP6_EXT_MAX; i++) {
		proto = parse_ip6_ext(p, data, end, proto);
		if (proto < 0)
			break;
	}
	if (p->bad)
		return;
	if (proto >= 0 && (proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
			   proto == IPPROTO_FRAGMENT || proto == IPPROTO_AH))
		return parse_bad(p, DROP_PARSE_IP6_EXT_CHAIN);
}

/* What the stages of layer 2 read before anybody has written it. Comes before parse(). `stamp`: pkt_stamp(), from before any
 * table was asked. */
static __always_inline void parse_begin(struct pkt *p, ctx_t *ctx, __u64 stamp)
{
	p->len = ctx_len(ctx);
	p->segs = ctx_segs(ctx);
	p->stamp = stamp;
	p->now_ns = 0;
	p->nexthop = 0;
	p->drop = p->reply_type = 0;
	p->todo = 0;
	p->out_iface = 0;
	p->family = p->source_known = 0;
}

static __always_inline void parse_reset(struct pkt *p, ctx_t *ctx)
{
	parse_begin(p, ctx, pkt_stamp());
}

/* What the stages of layer 3 read. */
static __always_inline void parse_reset_l3(struct pkt *p, ctx_t *ctx)
{
	p->seg_len = ctx_gso_size(ctx);
	p->l4_proto = 0;
	p->bad = 0;
	p->truncated = 0;
	p->tcp_flags = p->tcp_options = 0;
	p->t.ports = p->inner.ports = 0;
	p->nat_pool = p->nat_rule = p->flow_flags = 0;
	p->flow_stale = p->flow_new = 0;
	p->l3_delta = p->l4_delta = 0;
}

/* Layer 2: addresses, the outer tag, and the ethertype behind it. */
static __always_inline __verdict enum verdict parse(ctx_t *ctx, struct pkt *p)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct ethhdr *eth = data;
	struct vlan_tag *tag = data + sizeof(*eth);

	p->place[0] = p->place[1] = p->place[2] = 0;
	p->l3_off = sizeof(*eth);
	if ((void *)(eth + 1) > end)
		return pkt_drop(p, DROP_PARSE_ETH_SHORT);
	mac_copy_both(p->dmac, *(const __u64 *)data, *(const __u32 *)(data + 8));
	if (p->dmac[0] & 1)
		p->flags |= PKT_F_L2_MULTICAST;
	p->proto = *(const __u16 *)(data + 12);
	if (ctx_hidden_tag(ctx, &p->tpid, &p->tci)) {
		p->flags |= PKT_F_TAG_HW;
	} else if (parse_is_vlan(p->proto)) {
		if ((void *)(tag + 1) > end)
			return pkt_drop(p, DROP_PARSE_VLAN_SHORT);
		p->tpid = p->proto;
		p->tci = bpf_ntohs(tag->tci);
		p->proto = tag->proto;
		p->l3_off += sizeof(*tag);
	}
	return V_NEXT;
}

/* Layers 3 and 4, for the router: of a frame that is only switched nobody asks. What lies under a tag that is not the port's is
 * not looked into. `truncated`: the headers go on outside of the linear data. */
__noinline_global int parse_headers(ctx_t *ctx, struct pkt *p)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);

	if (!p)
		return 0;
	p->flags &= PKT_F_L2;
	parse_reset_l3(p, ctx);
	if (p->proto == bpf_htons(ETH_P_IP))
		parse_ip4(p, data, end);
	else if (p->proto == bpf_htons(ETH_P_IPV6))
		parse_ip6(p, data, end);
	else if (p->proto == bpf_htons(ETH_P_ARP) && !parse_at(data, end, p->l3_off, 28))
		parse_short(p, DROP_PARSE_ARP_SHORT);
	if (unlikely(p->flags & PKT_F_OPTIONS) && !p->bad)
		parse_options4(ctx, p);
	/* Behind options that do not fit layer 4 begins where it should: is it an ICMP error, about which there is none? */
	if (p->family && (!p->bad || p->bad == DROP_PARSE_IP4_OPTIONS))
		parse_l4(ctx, p);
	return 0;
}

/* V_UP: XDP cannot read all of the headers, tc can. */
static __always_inline __verdict enum verdict parse_l3(ctx_t *ctx, struct pkt *p)
{
	parse_headers(ctx, p);
	if (likely(!p->truncated) || ctx_data_end(ctx) - ctx_data(ctx) >= ctx_len(ctx))
		return V_NEXT;
	if (ctx_pull(ctx, PARSE_PULL))
		return HOOK_XDP ? V_UP : V_NEXT;
	parse_headers(ctx, p);
	return V_NEXT;
}

#endif
