/* known.h: frames like one that came in lately: where they belong, and where they go when they are only switched.
 *
 * Stands before parse.h and the stages of layer 2. Of a frame whose addresses, tag and ethertype were seen on the same netdev a
 * moment ago these stages say the same again: port, VLAN, a source that is behind this port, an interface that it is addressed to
 * or the port that its destination is behind. So it is written down (known_note) where they have said so, and looked up first.
 * Nothing is noted of what is dropped, flooded or passed, or whose source was not at its place in the FDB. What found.h says of
 * how long that holds holds here; a station that moves is met on another port, whose frames are others.
 */
#ifndef SLUICE_KNOWN_H
#define SLUICE_KNOWN_H

#include "pkt.h"
#include "counter.h"
#include "egress.h"
#include "found.h"
#include "parse.h"
#include "vlan.h"

#define KNOWN_TC     (1ull << 63) /* each hook has its own: they may not send to the same ports */
#define KNOWN_TAG_HW (1ull << 62)

/* The frame as it came. */
struct known_head {
	__u64 macs;  /* destination, and 2 bytes of the source */
	__u64 rest;  /* the source's others, and the tag or the ethertype */
	__u64 where; /* ifindex, the ethertype behind the tag, KNOWN_* */
};

struct known {
	struct known_head head;
	__u64 stamp;
	PKT_PLACE; /* out_port 0: it is in_iface's */
	__u16 len; /* the longest that out_port takes */
	__u8 l3_off;
	__u8 tick;  /* the low bits of the kernel's ticks when */
	__u32 used; /* was the time, as flows note it */
};
_Static_assert(PKT_MOMENT_SHIFT < 8, "a stamp lasts until `tick` comes round");

static __always_inline __u32 known_at(const struct known_head *h)
{
	return found_at(FOUND_FRAMES, FOUND_FRAME_BITS, h->macs ^ h->rest * 0xd6e8feb86659fd93ull ^ h->where);
}

/* False: it is too short to be looked for. */
static __always_inline bool known_read(ctx_t *ctx, struct known_head *h)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	__be16 proto, tpid;
	__u32 rest;
	__u16 tci;

	if (data + sizeof(struct ethhdr) + sizeof(struct vlan_tag) > end)
		return false;
	/* Where a tag begins a word does: what wrote the frame a moment ago wrote it so, see flow_entry.h on words. */
	h->macs = *(const __u64 *)data;
	proto = *(const __be16 *)(data + 12);
	h->where = (HOOK_XDP ? 0 : KNOWN_TC) | ctx_ifindex(ctx);
	if (ctx_hidden_tag(ctx, &tpid, &tci)) {
		rest = tpid | (__u32)tci << 16;
		h->where |= KNOWN_TAG_HW;
	} else if (parse_is_vlan(proto)) {
		rest = *(const __u32 *)(data + 12);
		proto = *(const __be16 *)(data + 16);
	} else {
		rest = proto;
	}
	h->rest = *(const __u32 *)(data + 8) | (__u64)rest << 32;
	h->where |= (__u64)proto << 32;
	return true;
}

/* A frame like it; NULL: none is known. `stamp`: pkt_stamp(). `ret_at`: where it stands in `found`, or would. */
static __always_inline struct known *known_find(ctx_t *ctx, __u64 stamp, __u32 *ret_at)
{
	struct known_head h;
	struct known *k;

	if (!known_read(ctx, &h))
		return NULL;
	*ret_at = known_at(&h);
	k = found_get(*ret_at, struct known);
	if (!k || k->stamp != stamp || k->head.macs != h.macs || k->head.rest != h.rest || k->head.where != h.where)
		return NULL;
	return k;
}

static __always_inline __be16 known_proto(const struct known *k)
{
	return k->head.where >> 32;
}

/* The priority that it came in with, in place. */
static __always_inline __u16 known_priority(const struct known *k)
{
	return k->tagged ? k->tci & VLAN_PRIO : 0;
}

/* What parse() and the stages of layer 2 would leave in `p`, which parse_begin() has seen. */
static __always_inline void known_fill(struct pkt *p, const struct known *k)
{
	p->place[0] = k->place[0];
	p->place[1] = k->place[1];
	p->place[2] = k->place[2];
	mac_copy_both(p->dmac, k->head.macs, k->head.rest);
	p->proto = known_proto(k);
	p->l3_off = k->l3_off;
}

/* Bytes on the wire as it came in, `len` of them in the data; and as it leaves, with a tag or without, in place of the port's
 * that stands before layer 3 or beside the data. See counter.h. */
static __always_inline __u32 known_rx_bytes(const struct known *k, __u32 len)
{
	return !HOOK_XDP && k->flags & PKT_F_TAG_HW ? len + COUNT_TAG_BYTES : len;
}

static __always_inline __u32 known_tx_bytes(const struct known *k, __u32 len, bool tag)
{
	len -= k->l3_off - ETH_HLEN;
	return tag ? len + COUNT_TAG_BYTES : len;
}

/* The time, as flows note it, to a tick. */
static __always_inline __u32 known_used(struct known *k)
{
	__u8 tick = bpf_jiffies64();

	if (unlikely(k->tick != tick)) {
		k->tick = tick;
		k->used = bpf_ktime_get_coarse_ns() >> FLOW_USED_SHIFT;
	}
	return k->used;
}

/* The frame is for in_iface; or goes, as it came, out of out_port, which takes `mtu` bytes of layer 3, with this tag. True: that
 * is known from now on. */
__noinline_global int known_note(ctx_t *ctx, struct pkt *p, __u32 mtu)
{
	struct known_head h;
	struct known *k;

	/* A tag that is not the port's, or another one in it, says more than is asked here. */
	if (!p || !p->source_known || (p->tpid && !p->tagged) || parse_is_vlan(p->proto) || (p->flags & PKT_F_L2_MULTICAST))
		return 0;
	if (!known_read(ctx, &h))
		return 0;
	k = found_get(known_at(&h), struct known);
	if (!k)
		return 0;
	p->out_known = mtu != 0;
	k->head = h;
	k->stamp = p->stamp;
	k->place[0] = p->place[0];
	k->place[1] = p->place[1];
	k->place[2] = p->place[2];
	mtu += EGRESS_SLACK + p->l3_off - sizeof(struct ethhdr);
	k->len = mtu < 0xffff ? mtu : 0xffff;
	k->l3_off = p->l3_off;
	k->tick = bpf_jiffies64();
	k->used = bpf_ktime_get_coarse_ns() >> FLOW_USED_SHIFT;
	return true;
}

/* The tag that it leaves `port` with; what is only switched, and is one packet, is known from now on. */
static __always_inline void known_tag(ctx_t *ctx, struct pkt *p, const struct port *port)
{
	p->out_tag = egress_tag(p, port, p->out_vlan);
	if (!p->in_iface && !p->todo && count_packets(p) == 1)
		known_note(ctx, p, port->mtu);
}

#endif
