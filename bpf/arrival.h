/* arrival.h: what layer 2 has said about frames like this one: from the same port, with the same MACs and the same tag.
 *
 * Stands before parse.h and what follows it up to the question whether a frame is the gateway's. Those stages come to the same
 * result for each packet between two stations, from six tables; here it is one line, of this CPU. It holds for as long as what
 * fdb.h remembers: under the same epoch, which every change of a port, a VLAN or an interface raises, and no longer than a
 * second, so that a station's time in `fdb` is renewed as ever. Only frames whose source was found there lately are noted.
 */
#ifndef SLUICE_ARRIVAL_H
#define SLUICE_ARRIVAL_H

#include "pkt.h"
#include "parse.h"
#include "fdb.h"

#define ARRIVAL_BITS 11

struct arrival {
	__u64 macs;   /* bytes 0 to 7 of a frame, */
	__u64 rest;   /* bytes 8 to 11, and the port's tag as it stands in a frame; 0: none */
	__u32 where;  /* see arrival_where() */
	__u32 epoch;  /* 0: nothing is noted */
	__u32 second; /* in units of 2^FDB_FOUND_SHIFT ns */
	__u32 pad;
	struct pkt_place place;
};

/* Written and read here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << ARRIVAL_BITS);
	__type(key, __u32);
	__type(value, struct arrival);
} arrivals SEC(".maps");

/* A frame's layer 2 in words. */
struct arrival_head {
	__u64 macs, rest; /* as above */
	__u32 off;	  /* of layer 3 in the data */
	__be16 proto;	  /* ethertype behind the tag */
};

static __always_inline __u32 arrival_tag(const struct arrival_head *h)
{
	return h->rest >> 32;
}

/* The netdev, and the hook: what looks untagged to XDP may have a tag that tc sees. */
static __always_inline __u32 arrival_where(ctx_t *ctx)
{
	return ctx_ifindex(ctx) | (HOOK_XDP ? 1u << 31 : 0);
}

static __always_inline struct arrival *arrival_line(const struct arrival_head *h)
{
	__u32 i = (h->macs * 0x9e3779b97f4a7c15ull + h->rest) * 0xc2b2ae3d27d4eb4full >> (64 - ARRIVAL_BITS);

	return bpf_map_lookup_elem(&arrivals, &i);
}

/* False: the frame ends before its ethertype. */
static __always_inline bool arrival_read(ctx_t *ctx, struct arrival_head *h, __u16 *ret_flags)
{
	typedef __u64 __attribute__((may_alias)) word;
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	__u32 tag = 0;
	__be16 tpid;
	__u16 tci;

	h->off = sizeof(struct ethhdr);
	if (data + sizeof(struct ethhdr) > end)
		return false;
	h->macs = *(const word *)data;
	h->proto = *(const __be16 *)(data + 12);
	*ret_flags = 0;
	if (ctx_hidden_tag(ctx, &tpid, &tci)) {
		tag = csum_pair(tpid, bpf_htons(tci));
		*ret_flags = PKT_F_TAG_HW;
	} else if (parse_is_vlan(h->proto)) {
		h->off += sizeof(struct vlan_tag);
		if (data + sizeof(struct ethhdr) + sizeof(struct vlan_tag) > end)
			return false;
		tag = *(const __u32 *)(data + 12);
		h->proto = *(const __be16 *)(data + 16);
	}
	h->rest = *(const __u32 *)(data + 8) | (__u64)tag << 32;
	return true;
}

/* Is it known? Then all is in `p` that the stages of layer 2 would leave there. */
static __always_inline bool arrival_find(ctx_t *ctx, struct pkt *p)
{
	struct arrival_head h;
	struct arrival *a;
	__u16 flags;
	__u32 tag;

	p->len = ctx_len(ctx);
	p->epoch = control_epoch();
	if (!arrival_read(ctx, &h, &flags))
		return false;
	a = arrival_line(&h);
	if (!a || a->macs != h.macs || a->rest != h.rest || a->where != arrival_where(ctx) || a->epoch != p->epoch ||
	    a->second != (__u32)(pkt_clock(p) >> FDB_FOUND_SHIFT))
		return false;
	parse_reset(p, ctx);
	tag = arrival_tag(&h);
	p->place = a->place;
	p->flags = flags | (h.macs & 1 ? PKT_F_L2_MULTICAST : 0);
	p->macs[0] = h.macs;
	p->macs[1] = h.macs >> 32;
	p->macs[2] = h.rest;
	p->proto = h.proto;
	p->l3_off = h.off;
	p->tagged = !!tag;
	p->tpid = tag;
	p->tci = bpf_ntohs(tag >> 16);
	return true;
}

/* After the stages of layer 2 have let the frame pass. */
static __always_inline void arrival_note(ctx_t *ctx, struct pkt *p)
{
	struct arrival_head h;
	struct arrival *a;
	__u16 flags;

	if (!p->settled || (p->tpid && !p->tagged) || !arrival_read(ctx, &h, &flags))
		return;
	a = arrival_line(&h);
	if (!a)
		return;
	a->macs = h.macs;
	a->rest = h.rest;
	a->where = arrival_where(ctx);
	a->epoch = p->epoch;
	a->second = pkt_now(p) >> FDB_FOUND_SHIFT;
	a->place = p->place;
}

#endif
