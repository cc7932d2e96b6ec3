/* fast.h: ordinary packets, straight from their headers to their flow's entry, or to their route (TCP and UDP).
 *
 * Stands behind known.h, whose answer it reads where that stands, and before all that needs a struct pkt, which is far more than
 * such a packet needs. What is ordinary here is told by a few words of the headers: no options, no fragment, TTL to spare,
 * checksum and lengths right; of a flow, no SYN, FIN or RST, and an entry whose way out was decided under this epoch; without
 * one, nothing that fast_route.h leaves alone, and a way out that is known. Anything else, the malformed included, goes the long
 * way unchanged, and so do headers that are not linear. The long way comes to the same result for ordinary packets too:
 * tests/prog/test_fast.py and test_fast_route.py compare them. What that asks before it looks for a flow (martians, sources) was
 * asked of the flow's first packet, whose addresses were the same; interfaces that check reverse paths are left to it.
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
#include "known.h"
#include "parse.h"
#include "port.h"
#include "scratch.h"
#include "way.h"

#define FAST_HEAD  (sizeof(struct iphdr) + 20)	 /* also of UDP: Ethernet frames are no shorter */
#define FAST_HEAD6 (sizeof(struct ipv6hdr) + 14) /* to the flags of TCP */

/* What must be 0x45 of the first 8 bytes: version and IHL; and MF and the fragment's offset, which must be 0. */
#define FAST_WORD 0xff3f0000000000ff

/* The headers in words, as they stand in memory. */
struct fast4 {
	__u32 ip[3]; /* version to checksum */
	__u64 addrs; /* source, destination */
	__u32 ports;
	__u16 total; /* layer 3 bytes */
	__u8 proto;
	bool news; /* no entry has seen it all: a flow's packet goes the long way */
};

/* Does a segment of TCP show more than an ACK, or less? */
static __always_inline bool fast_is_news(const void *tcp)
{
	__u8 flags = *(const __u8 *)(tcp + 13);

	return (flags & (NAT_TCP_SYN | NAT_TCP_FIN | NAT_TCP_RST | NAT_TCP_ACK)) != NAT_TCP_ACK;
}

/* FLOW_SEEN_* of a packet that is no news. */
static __always_inline __u8 fast_seen(__u8 proto)
{
	return proto == IPPROTO_TCP ? FLOW_SEEN_ANY | FLOW_SEEN_ACK : FLOW_SEEN_ANY;
}

/* All of `h` but whether it is news. */
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
	if ((*(const bytes8 *)head & FAST_WORD) != 0x45 || (h->ip[2] & 0xff) <= 1 ||
	    !csum_is_right((__u64)h->ip[0] + h->ip[1] + h->ip[2] + (__u32)h->addrs + (h->addrs >> 32)))
		return false;
	if (h->proto == IPPROTO_TCP) {
		offset = *(const __u8 *)(head + 32) >> 4;
		h->news = fast_is_news(head + sizeof(struct iphdr));
		return offset >= 5 && sizeof(struct iphdr) + offset * 4u <= h->total;
	}
	len = bpf_ntohs(half[12]);
	h->news = false;
	return h->proto == IPPROTO_UDP && len >= 8 && sizeof(struct iphdr) + len <= h->total;
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

static __always_inline struct flow *fast_find4(__u16 vrf, const struct fast4 *h)
{
	__u64 rest = flow_key_rest(h->ports, vrf, h->proto);
	struct flow *f = flowtab_home4(h->addrs, rest);
	__u32 i;

	if (likely(f))
		return f;
	i = fast_search4(h->addrs, rest);
	return i ? flowtab_at(4, i - 1) : NULL;
}

/* How a packet leaves that is rewritten to the last byte. */
struct fast_out {
	__u32 len; /* of the frame as it came */
	__u32 port;
	const struct port *to; /* tc's: of `port` */
	__u32 nexthop;	       /* 0: none */
	__u32 tag;	       /* that it wears now; 0: none */
};

/* What becomes of a frame that was looked at by the short way. */
enum fast_answer {
	FAST_READY = 0,
	FAST_NOT = 1,	  /* it goes the long way, as it came; and */
	FAST_NO_FLOW = 2, /* none was found; or */
	FAST_NO_WAY = 3,  /* fast_ask_way() may help */
	FAST_SIX = 4,	  /* it is IPv6 for the gateway */
	FAST_SPOILT = 5,  /* it could not be rewritten wholly, and is to be dropped */
	FAST_NEW = 6,	  /* as FAST_NO_FLOW, of a segment of TCP that is no mere ACK: nobody has looked for a flow */
};

/* The same where it is not ready, below 0, with the place of its likes in `found`; 0 in place of `at` + 1: there are none. */
#define FAST_FAILED(at_plus_1, answer) (-(int)((at_plus_1) << 3 | (answer)))
#define FAST_ANSWER(failed)	       (-(failed) & 7)
#define FAST_AT_PLUS_1(failed)	       ((__u32)(-(failed)) >> 3)

/* Can the hook send by it? */
static __always_inline bool fast_sends_by(const struct port *port)
{
	return port && (HOOK_XDP ? port->flags & PORT_F_XDP : port->ifindex);
}

/* out->to of out->port. False: the hook cannot send there. XDP knows no way by such a port. */
static __always_inline bool fast_find_port(struct fast_out *out)
{
	if (HOOK_XDP)
		return true;
	out->to = port_get(out->port);
	return fast_sends_by(out->to);
}

/* The way out that the entry knows, as flow_forward() takes it; false: it must be decided again, or the port is tc's. `len`:
 * layer 3 bytes. */
static __always_inline bool fast_forward(const struct known *k, const struct flow *f, __u32 len, struct ctx_leave4 *to,
					 struct fast_out *out)
{
	__u32 epoch = k->stamp, vlan, mtu;
	struct iface *i;
	__u64 next;

	if (unlikely(READ_ONCE(f->epoch) != epoch))
		return false;
	i = iface_get(f->out_iface);
	out->port = f->out_port;
	out->to = port_get(out->port);
	vlan = f->out_vlan;
	next = READ_ONCE(*(const __u64 *)f->dmac); /* with the nexthop */
	mtu = f->mtu;
	asm volatile("" ::: "memory");
	if (unlikely(READ_ONCE(f->epoch) != epoch || len > mtu || !i || !fast_sends_by(out->to)))
		return false;
	out->nexthop = next >> 48;
	macs_set(to->macs, next, *(const bytes8 *)i->mac);
	out->tag = egress_is_tagged(out->to, vlan) ? csum_pair(out->to->tpid, bpf_htons(vlan | known_priority(k))) : 0;
	to->tag = out->tag;
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

#define FAST_LEN_ASK 0x10000 /* longer than all: tunnel_segments() is to be asked */

/* Bytes of UDP's header in each of several packets. */
static __always_inline __u32 fast_udp_head(__u32 ports)
{
	return ports >> 16 == bpf_htons(TUNNEL_VXLAN_PORT) ? FAST_LEN_ASK : sizeof(struct udphdr);
}

/* Layer 3 bytes of the largest packet on the wire, as parse_l3() reckons them. */
static __always_inline __u32 fast_len(ctx_t *ctx, const void *head, const struct fast4 *h)
{
	if (HOOK_XDP || likely(ctx_segs(ctx) == 1))
		return h->total;
	return ctx_gso_size(ctx) + sizeof(struct iphdr) +
	       (h->proto == IPPROTO_TCP ? (*(const __u8 *)(head + 32) >> 4) * 4u : fast_udp_head(h->ports));
}

static __always_inline bool fast_checks_path(__u32 iface)
{
	struct iface *i = iface_get(iface);

	return !i || i->flags & (IFACE_F_RPF_LOOSE | IFACE_F_RPF_STRICT);
}

/* By the flow's entry. */
static __always_inline enum fast_answer fast_flow4(ctx_t *ctx, struct known *k, void *head, __u32 off, const struct fast4 *h,
						   struct flow *f, struct fast_out *out)
{
	__u8 seen = fast_seen(h->proto);
	struct ctx_leave4 to;

	if ((f->seen & seen) != seen || !fast_forward(k, f, fast_len(ctx, head, h), &to, out))
		return FAST_NOT;
	/* Read again: what is kept across look-ups has to be written and read, too. */
	asm volatile("" : "+r"(head));
	WRITE_ONCE(f->ack, *(const __u32 *)(head + 28)); /* means nothing for UDP */
	fast_rewrite4(head, f, &to);
	to.has = k->tagged;
	to.tpid = k->tpid;
	to.tci = k->tci;
	if (ctx_leave4(ctx, head, off, &to))
		return FAST_SPOILT;
	WRITE_ONCE(f->used, known_used(k));
	flow_count(f, ctx_segs(ctx), out->len);
	count_stat(STAT_FLOW_HIT, ctx_segs(ctx));
	return FAST_READY;
}

/* No way out by nexthop `id` is known: what fast_ask_way() will ask for. */
static __always_inline enum fast_answer fast_lacks_way(__u32 id, const struct addr *daddr)
{
	struct pkt *p = scratch_get(SCRATCH_PKT, struct pkt);

	if (!p)
		return FAST_NO_FLOW;
	p->nexthop = id;
	p->next_addr = *daddr;
	return FAST_NO_WAY;
}

/* Would the port take it? As egress_fits(). `l3`: layer 3 bytes of the largest packet. */
static __always_inline bool fast_fits(ctx_t *ctx, const struct known *k, const struct way *w, __u32 len, __u32 l3)
{
	if (HOOK_XDP || likely(ctx_segs(ctx) == 1))
		return egress_takes(w->frame, len - (k->l3_off - ETH_HLEN));
	return egress_takes(w->frame, l3 + ETH_HLEN);
}

/* The way out of a packet without a flow, which is found, and fits, and what is to be said of it in `out`. `l3`: layer 3 bytes of
 * the largest packet; `rules`: see nat_filter.h. */
static __always_inline bool fast_leave(ctx_t *ctx, const struct known *k, const struct way *w, __u32 l3, __u32 rules,
				       struct fast_out *out)
{
	if (l3 > w->mtu || (cfg_nat && nat_filter_leaves(rules, w->iface)) || !fast_fits(ctx, k, w, out->len, l3))
		return false;
	out->port = w->port;
	out->tag = w->tpid ? csum_pair(w->tpid, bpf_htons(w->vlan | known_priority(k))) : 0;
	return fast_find_port(out);
}

/* By its route. */
static __always_inline enum fast_answer fast_route4(ctx_t *ctx, const struct known *k, void *head, __u32 off,
						    const struct fast4 *h, struct fast_out *out)
{
	__be32 s = h->addrs, d = h->addrs >> 32;
	struct tuple t = {.ports = h->ports};
	__u32 rules = 0, word = h->ip[2];
	struct way *w;

	if (!fast_plain4(s) || !fast_plain4(d) || s == d)
		return FAST_NO_FLOW;
	addr_from4(&t.saddr, s);
	addr_from4(&t.daddr, d);
	if (cfg_nat)
		rules = nat_filter_rules(k->in_iface, 4, &t);
	if (rules == NAT_FILTER_ALL)
		return FAST_NO_FLOW;
	out->nexthop = fast_nexthop(k->vrf, 4, &t, h->proto);
	if (!out->nexthop)
		return FAST_NO_FLOW;
	w = way_known(k->stamp, out->nexthop, &t.daddr);
	if (unlikely(!w))
		return fast_lacks_way(out->nexthop, &t.daddr);
	if (!fast_leave(ctx, k, w, fast_len(ctx, head, h), rules, out))
		return FAST_NO_FLOW;
	word = (__u16)(word - 1) | (__u32)(__u16)~csum_fold((__u16) ~(word >> 16) + 0xfffe) << 16;
	if (ctx_hop4(ctx, head, off, word) || ctx_set_l2(ctx, w->macs, k->tagged, k->tpid, k->tci, out->tag))
		return FAST_SPOILT;
	return FAST_READY;
}

/* IPv4, addressed to in_iface. */
static __always_inline enum fast_answer fast4(ctx_t *ctx, struct known *k, struct fast_out *out)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx), *head;
	struct flow *f = NULL;
	__u32 off, total;
	struct fast4 h;

	if (cfg_rpf && fast_checks_path(k->in_iface))
		return FAST_NOT;
	off = k->l3_off & 31; /* verifier: it is 14 or 18 */
	head = data + off;
	if (head + FAST_HEAD > end)
		return FAST_NOT;
	/* First, for it may be a call, over which what was read would be kept on the stack. */
	total = bpf_ntohs(*(const __u16 *)(head + 2));
	out->len = ctx_len_by(ctx, off + total);
	if (total > out->len - off)
		return FAST_NOT;
	asm volatile("" ::: "memory");
	if (!fast_read4(head, &h))
		return FAST_NOT;
	if (h.news && (cfg_nat || cfg_mss))
		return FAST_NEW;
	if (cfg_nat)
		f = fast_find4(k->vrf, &h);
	if (f)
		return fast_flow4(ctx, k, head, off, &h, f, out);
	return cfg_resize ? FAST_NOT : fast_route4(ctx, k, head, off, &h, out);
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
		return need >= 5 && need * 4 <= len && !(cfg_mss && fast_is_news(l4));
	}
	need = bpf_ntohs(*(const __be16 *)(l4 + 4));
	return proto == IPPROTO_UDP && need >= 8 && need <= len;
}

/* Layer 3 bytes of the largest packet on the wire. `len`: behind the IPv6 header. */
static __always_inline __u32 fast_len6(ctx_t *ctx, const struct ipv6hdr *ip, __u32 len)
{
	const __u8 *l4 = (const __u8 *)(ip + 1);

	if (HOOK_XDP || likely(ctx_segs(ctx) == 1))
		return sizeof(*ip) + len;
	return ctx_gso_size(ctx) + sizeof(*ip) +
	       (ip->nexthdr == IPPROTO_TCP ? (l4[12] >> 4) * 4u : fast_udp_head(*(const __u32 *)l4));
}

/* IPv6, addressed to in_iface: without extension headers and without a flow. */
static __always_inline enum fast_answer fast6(ctx_t *ctx, const struct known *k, struct fast_out *out)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct ipv6hdr *ip;
	__u32 off, payload, l3;
	__u8 hop, proto;
	struct tuple t;
	struct way *w;

	if (cfg_resize || (cfg_rpf && fast_checks_path(k->in_iface)))
		return FAST_NOT;
	off = k->l3_off & 31; /* verifier: it is 14 or 18 */
	ip = data + off;
	if ((void *)ip + FAST_HEAD6 > end || ip->version != 6 || ip->hop_limit <= 1)
		return FAST_NOT;
	payload = bpf_ntohs(ip->payload_len);
	out->len = ctx_len_by(ctx, off + sizeof(*ip) + payload);
	if (payload + sizeof(*ip) > out->len - off || !fast_plain_l4(ip, ip->nexthdr, payload))
		return FAST_NOT;
	t.saddr.a64[0] = *(const bytes8 *)&ip->saddr;
	t.saddr.a64[1] = *((const bytes8 *)&ip->saddr + 1);
	t.daddr.a64[0] = *(const bytes8 *)&ip->daddr;
	t.daddr.a64[1] = *((const bytes8 *)&ip->daddr + 1);
	t.ports = *(const __u32 *)(ip + 1);
	if (!fast_plain6(&t.saddr) || !fast_plain6(&t.daddr) || addr_equal(&t.saddr, &t.daddr))
		return FAST_NOT;
	/* Rules are not told apart by their way out: it costs too much to look for a flow that there most likely is. */
	if (cfg_nat && (nat_filter_rules(k->in_iface, 6, &t) || fast_has_flow6(&t, ip->nexthdr, k->vrf)))
		return FAST_NOT;
	hop = ip->hop_limit;
	proto = ip->nexthdr;
	l3 = fast_len6(ctx, ip, payload);
	out->nexthop = fast_nexthop(k->vrf, 6, &t, proto);
	if (!out->nexthop)
		return FAST_NOT;
	w = way_known(k->stamp, out->nexthop, &t.daddr);
	if (unlikely(!w))
		return fast_lacks_way(out->nexthop, &t.daddr);
	if (!fast_leave(ctx, k, w, l3, 0, out))
		return FAST_NOT;
	if (ctx_hop6(ctx, ip, off, proto, hop - 1) || ctx_set_l2(ctx, w->macs, k->tagged, k->tpid, k->tci, out->tag))
		return FAST_SPOILT;
	return FAST_READY;
}

/* What is known of the likes of a frame that goes the long way: as known_fill(). `failed`: see FAST_FAILED(). False: nothing, or
 * it is to be asked again. Of a spoilt one nothing is asked, even when the epoch has changed since: it is another frame by now
 * than the one that came, and would be learned from, or sent. It is dropped, and counted where it came in. */
static __always_inline bool fast_fill(struct pkt *p, int failed)
{
	__u32 at = FAST_AT_PLUS_1(failed) - 1;
	struct known *k = found_get(at, struct known);

	if (!k || (k->stamp != p->stamp && FAST_ANSWER(failed) != FAST_SPOILT))
		return false;
	known_fill(p, k);
	return true;
}

/* Asks the tables for the way by nexthop `id` that FAST_NO_WAY was said for. True: it is known now. */
static __always_inline bool fast_ask_way(struct pkt *p, __u32 id, int failed)
{
	return fast_fill(p, failed) && way_find(p, id, &p->next_addr);
}

/* ---- where a frame comes in */

/* Sends what is rewritten and counted: the hook's own. */
typedef int fast_send(ctx_t *ctx, const struct fast_out *out);

/* Rewritten. */
static __always_inline int fast_go(ctx_t *ctx, const struct known *k, const struct fast_out *out, fast_send *send)
{
	__u32 packets = ctx_segs(ctx), len = out->len;

	count_finished(k->in_port, packets, known_rx_bytes(k, len), !HOOK_XDP && out->to->mode == PORT_HOST);
	if (out->nexthop)
		nexthop_add(out->nexthop, packets, len);
	count_sent(out->port, packets, known_tx_bytes(k, len, out->tag));
	return send(ctx, out);
}

/* Of a frame that is switched. */
static __always_inline __u32 fast_frame_len(ctx_t *ctx, const struct known *k)
{
	void *data = ctx_data(ctx), *head = data + (k->l3_off & 31);

	if (head + 6 > ctx_data_end(ctx))
		return ctx_len(ctx);
	if (likely(known_proto(k) == bpf_htons(ETH_P_IP)))
		return ctx_len_by(ctx, (k->l3_off & 31) + bpf_ntohs(*(const __u16 *)(head + 2)));
	if (known_proto(k) == bpf_htons(ETH_P_IPV6))
		return ctx_len_by(ctx, (k->l3_off & 31) + sizeof(struct ipv6hdr) + bpf_ntohs(*(const __u16 *)(head + 4)));
	return ctx_len(ctx);
}

/* IPv4 for the gateway, or switched: a frame like one that is known. */
static __always_inline enum fast_answer fast_known(ctx_t *ctx, struct known *k, struct fast_out *out)
{
	if (!k->out_known)
		return fast4(ctx, k, out);
	out->port = k->out_port;
	out->len = fast_frame_len(ctx, k);
	if (unlikely(out->len > k->len || ctx_segs(ctx) > 1 || !fast_find_port(out)))
		return FAST_NOT;
	out->nexthop = 0;
	out->tag = k->out_tag;
	return ctx_set_tag(ctx, (const __u32 *)&k->head, k->tagged, k->tpid, k->tci, out->tag) ? FAST_SPOILT : FAST_READY;
}

/* What is done with a frame that needs no `struct pkt`: what `send` says; below 0: FAST_FAILED(). */
static __always_inline int fast_try4(ctx_t *ctx, fast_send *send)
{
	struct fast_out out = {};
	enum fast_answer r;
	struct known *k;
	__u32 at = 0;

	k = known_find(ctx, pkt_stamp(), &at);
	if (!k)
		return FAST_FAILED(0, FAST_NOT);
	if (!k->out_known && known_proto(k) != bpf_htons(ETH_P_IP))
		return FAST_FAILED(at + 1, cfg_ipv6 && known_proto(k) == bpf_htons(ETH_P_IPV6) ? FAST_SIX : FAST_NOT);
	r = fast_known(ctx, k, &out);
	return likely(!r) ? fast_go(ctx, k, &out, send) : FAST_FAILED(at + 1, r);
}

/* The same for what is FAST_SIX, whose likes stand there in `found`. */
static __always_inline int fast_try6(ctx_t *ctx, __u32 at_plus_1, fast_send *send)
{
	struct known *k = found_get(at_plus_1 - 1, struct known);
	struct fast_out out = {};
	enum fast_answer r;

	if (!k)
		return FAST_FAILED(0, FAST_NOT);
	r = fast6(ctx, k, &out);
	return likely(!r) ? fast_go(ctx, k, &out, send) : FAST_FAILED(at_plus_1, r);
}

#endif
