/* icmp.h: ICMP errors about packets that are dropped (RFC 792, RFC 1812 4.3; RFC 4443 2.4, 3), made from the packet itself.
 *
 * tc only: XDP leaves a packet that wants an answer to tc. The packet is cut to what is quoted, room is made for a new header
 * before it, and it goes back to the station it came from, out of the port it came in on. No error is sent about an error,
 * about a fragment other than the first, about a multicast or broadcast, or to an address that is no single host (RFC 1812
 * 4.3.2.7, RFC 4443 2.4 e). All ports together send control.icmp_rate a second.
 *
 * A quoted packet with an unfinished checksum (CHECKSUM_PARTIAL) keeps it so: it came from a veth or tap, goes back there, and
 * the receiver takes such packets as they are.
 */
#ifndef SLUICE_ICMP_H
#define SLUICE_ICMP_H

#include "pkt.h"
#include "csum_data.h"
#include "parse.h"
#include "counter.h"
#include "iface.h"
#include "egress.h"
#include "scratch.h"

#define ICMP4_QUOTE_MAX 548	   /* 576 bytes in all (RFC 1812 4.3.2.3) */
#define ICMP6_QUOTE_MAX 1232	   /* 1280 bytes in all (RFC 4443 2.4 c) */
#define ICMP4_DUMMY	0xc0000008 /* 192.0.0.8: a router without an IPv4 address of its own (RFC 7600 4.8) */
#define ICMP_BURST_NS	50000000ull

/* A race between CPUs lets one error more through: the limit is a guard, not an account. */
static __always_inline bool icmp_allowed(struct pkt *p)
{
	__u64 now = bpf_ktime_get_ns(), *clock, next;

	clock = clock_get(CLOCK_ICMP);
	if (!clock || !control.icmp_rate)
		return false;
	next = *clock;
	if (next > now + ICMP_BURST_NS)
		return false;
	*clock = (next > now ? next : now) + 1000000000ull / control.icmp_rate;
	return true;
}

static __always_inline bool icmp_may_answer(const struct pkt *p)
{
	__u8 first;

	if (p->flags & (PKT_F_ICMP_ERROR | PKT_F_LATER_FRAGMENT | PKT_F_L2_MULTICAST))
		return false;
	if (p->family == 6)
		return p->t.saddr.a8[0] != 0xff && p->t.daddr.a8[0] != 0xff && (p->t.saddr.a64[0] | p->t.saddr.a64[1]);
	first = p->t.saddr.a8[12];
	return first && first != 127 && first < 224 && p->t.daddr.a8[12] < 224;
}

struct icmp_error {
	__u8 type;
	__u8 code;
	__be16 check;
	__be32 info;
};

static __always_inline __u16 icmp_sum_words(const void *data, __u32 words)
{
	const __u32 *w = data;
	__u64 sum = 0;

	for (__u32 i = 0; i < words; i++)
		sum += w[i];
	return csum_fold64(sum);
}

struct icmp4_packet {
	struct iphdr ip;
	struct icmp_error icmp;
};

static __always_inline int icmp4_write(ctx_t *ctx, struct pkt *p, const struct iface *i, __u32 quote)
{
	struct icmp4_packet h = {};

	h.ip.version = 4;
	h.ip.ihl = 5;
	h.ip.tos = 0xc0; /* internetwork control, RFC 1812 4.3.2.5 */
	h.ip.tot_len = bpf_htons(sizeof(h) + quote);
	h.ip.ttl = 64;
	h.ip.protocol = IPPROTO_ICMP;
	h.ip.saddr = i->addr4 ? i->addr4 : bpf_htonl(ICMP4_DUMMY);
	h.ip.daddr = p->t.saddr.a32[3];
	h.ip.check = ~icmp_sum_words(&h.ip, 5);
	h.icmp.type = p->reply_type;
	h.icmp.code = p->reply_code;
	h.icmp.info = bpf_htonl(p->reply_info);
	h.icmp.check = ~csum_add(icmp_sum_words(&h.icmp, 2), csum_data(ctx, p->l3_off + sizeof(h), quote));
	return bpf_skb_store_bytes(ctx, p->l3_off, &h, sizeof(h), 0);
}

struct icmp6_packet {
	struct ipv6hdr ip;
	struct icmp_error icmp;
};

static __always_inline int icmp6_write(ctx_t *ctx, struct pkt *p, const struct iface *i, __u32 quote)
{
	struct icmp6_packet h = {};
	__u32 pseudo[2] = {bpf_htonl(sizeof(h.icmp) + quote), bpf_htonl(IPPROTO_ICMPV6)};
	__u16 sum;

	h.ip.version = 6;
	h.ip.payload_len = bpf_htons(sizeof(h.icmp) + quote);
	h.ip.nexthdr = IPPROTO_ICMPV6;
	h.ip.hop_limit = 64;
	__builtin_memcpy(&h.ip.saddr, &i->addr6, sizeof(struct addr));
	__builtin_memcpy(&h.ip.daddr, &p->t.saddr, sizeof(struct addr));
	h.icmp.type = p->reply_type;
	h.icmp.code = p->reply_code;
	h.icmp.info = bpf_htonl(p->reply_info);
	sum = csum_add(icmp_sum_words(&h.ip.saddr, 8), icmp_sum_words(pseudo, 2));
	sum = csum_add(sum, icmp_sum_words(&h.icmp, 2));
	h.icmp.check = ~csum_add(sum, csum_data(ctx, p->l3_off + sizeof(h), quote));
	return bpf_skb_store_bytes(ctx, p->l3_off, &h, sizeof(h), 0);
}

/* Sends the error that p->reply_* asks for out of the port the packet came in on. True: the skb is the error now and is to be
 * redirected to the ingress port. False: nothing was sent, the packet is to be dropped. */
static __always_inline bool icmp_reply(ctx_t *ctx, struct pkt *p)
{
	struct iface *i = iface_get(p->in_iface);
	__u32 quote, max, head;
	__u8 macs[2 * ETH_ALEN];
	bool tag;

	if (!i || !icmp_may_answer(p))
		return false;
	/* Nobody in the VRF has one. */
	if (p->family == 6 && !(i->addr6.a64[0] | i->addr6.a64[1]))
		return false;
	if (!icmp_allowed(p)) {
		count_stat(STAT_ICMP_LIMITED, 1);
		return false;
	}
	max = p->family == 4 ? ICMP4_QUOTE_MAX : ICMP6_QUOTE_MAX;
	head = p->family == 4 ? sizeof(struct icmp4_packet) : sizeof(struct icmp6_packet);
	quote = p->l3_len < max ? p->l3_len : max;
	/* A tag that stands in the data is put beside it: the helper that makes room knows IP alone. */
	tag = p->tagged && !(p->flags & PKT_F_TAG_HW);
	if (tag && bpf_skb_vlan_pop(ctx) < 0)
		return false;
	if (tag)
		p->l3_off -= sizeof(struct vlan_tag);
	if (bpf_skb_change_tail(ctx, p->l3_off + quote, 0) ||
	    bpf_skb_adjust_room(ctx, head, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return false;
	if (p->family == 4 ? icmp4_write(ctx, p, i, quote) : icmp6_write(ctx, p, i, quote))
		return false;
	mac_copy(macs, p->smac);
	mac_copy(macs + ETH_ALEN, i->mac);
	if (bpf_skb_store_bytes(ctx, 0, macs, sizeof(macs), 0))
		return false;
	if (tag && bpf_skb_vlan_push(ctx, p->tpid, p->tci) < 0)
		return false;
	count_stat(STAT_ICMP_SENT, 1);
	return true;
}

#endif
