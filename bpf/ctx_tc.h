/* ctx_tc.h: the contract with the hook, for tc (ctx_xdp.h is the same for XDP). Only the entry, parse.h, rewrite.h, flood.h
 * and icmp.h touch the context.
 *
 * An skb may be larger than a frame (GSO), hold only its headers in linear memory, share its data with others, and have a
 * checksum that is yet to be finished (CHECKSUM_PARTIAL) or a sum over all of it (CHECKSUM_COMPLETE). So data is written by
 * helpers that unshare it when it must be, and a frame that is only switched is never copied.
 */
#ifndef SLUICE_CTX_TC_H
#define SLUICE_CTX_TC_H

#define HOOK_XDP 0

#include "pkt.h"
#include "csum.h"
#include "port.h"

typedef struct __sk_buff ctx_t;

static __always_inline void *ctx_data(ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_data_end(ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline __u32 ctx_len(ctx_t *ctx)
{
	return ctx->len;
}

/* The same: it costs nothing. */
static __always_inline __u32 ctx_len_by(ctx_t *ctx, __u32 l3_end)
{
	return ctx_len(ctx);
}

static __always_inline __u32 ctx_ifindex(ctx_t *ctx)
{
	return ctx->ifindex;
}

#define CTX_GSO_HEAD 66 /* bytes before the payload: Ethernet, IPv4, TCP with timestamps */

/* Packets on the wire. Of what came out of a VM (tap) the stack has not counted the segments: then as many as they are with the
 * headers that are usual. */
static __always_inline __u16 ctx_segs(ctx_t *ctx)
{
	__u32 size = ctx->gso_size, n;

	if (likely(!size))
		return 1;
	n = ctx->gso_segs;
	if (likely(n))
		return n;
	n = ctx->len > CTX_GSO_HEAD + size ? (ctx->len - CTX_GSO_HEAD - 1) / size : 1;
	return n + 1;
}

/* Payload bytes of a segment; 0: not GSO. */
static __always_inline __u32 ctx_gso_size(ctx_t *ctx)
{
	return ctx->gso_size;
}

/* The tag that the stack or the driver took out of the data. */
static __always_inline bool ctx_hidden_tag(ctx_t *ctx, __be16 *ret_tpid, __u16 *ret_tci)
{
	if (!ctx->vlan_present)
		return false;
	*ret_tpid = ctx->vlan_proto;
	*ret_tci = ctx->vlan_tci;
	return true;
}

/* Makes up to n bytes linear. Packet pointers are void afterwards. */
static __always_inline int ctx_pull(ctx_t *ctx, __u32 n)
{
	return bpf_skb_pull_data(ctx, n < ctx->len ? n : ctx->len);
}

/* Up to n bytes that may lie outside of the linear data. */
static __always_inline int ctx_load(ctx_t *ctx, __u32 off, void *to, __u32 n)
{
	return bpf_skb_load_bytes(ctx, off, to, n);
}

static __always_inline int ctx_store(ctx_t *ctx, __u32 off, const void *from, __u32 n)
{
	return bpf_skb_store_bytes(ctx, off, from, n, 0);
}

/* Adds a delta (csum.h) to the layer 4 checksum at `off`. `pseudo`: of addresses, else of layer 4's own bytes. `zero_is_none`:
 * UDP, where 0 means no checksum. Right with CHECKSUM_PARTIAL (only the pseudo header's part is in the field yet). */
static __always_inline int ctx_csum_l4(ctx_t *ctx, __u32 off, __u16 delta, bool pseudo, bool zero_is_none)
{
	return bpf_l4_csum_replace(ctx, off, 0, delta,
				   (pseudo ? BPF_F_PSEUDO_HDR : 0) | (zero_is_none ? BPF_F_MARK_MANGLED_0 : 0));
}

/* Is the checksum at `off`, which does not fit, one that the stack has left to a device (CHECKSUM_PARTIAL)? Of such a one the
 * kernel keeps its hands when layer 4's own bytes change; any other is spoilt by the question. */
static __always_inline bool ctx_csum_unfinished(ctx_t *ctx, __u32 off)
{
	__u16 before, after;

	if (ctx_load(ctx, off, &before, 2) || ctx_csum_l4(ctx, off, 1, false, false) || ctx_load(ctx, off, &after, 2))
		return false;
	return before == after;
}

/* Bytes covered by CHECKSUM_COMPLETE changed by `delta` without a checksum in the packet that makes up for it. */
static __always_inline void ctx_csum_complete(ctx_t *ctx, __u16 delta)
{
	bpf_csum_update(ctx, delta);
}

/* One hop: `word` in place of TTL, protocol and checksum of the IPv4 header at `off`, 8 bytes from it. */
static __always_inline int ctx_hop4(ctx_t *ctx, void *head, __u32 off, __u32 word)
{
	return ctx_store(ctx, off + 8, &word, sizeof(word));
}

/* The same of the IPv6 header at `off`, whose hop limit becomes `hop`, and which has no checksum that makes up for it. */
static __always_inline int ctx_hop6(ctx_t *ctx, void *head, __u32 off, __u8 proto, __u8 hop)
{
	__u8 old[2] = {proto, hop + 1}, new[2] = {proto, hop};

	if (ctx_store(ctx, off + 7, &hop, 1))
		return -1;
	ctx_csum_complete(ctx, csum_delta16(*(__be16 *)old, *(__be16 *)new));
	return 0;
}

/* Makes the port's tag `tag`, as it stands in a frame; 0: none. `has`: there is one, that in `tpid` and `tci`. Offsets are void
 * afterwards. */
static __always_inline int ctx_set_tag(ctx_t *ctx, const __u32 *macs, bool has, __be16 tpid, __u16 tci, __u32 tag)
{
	__be16 new_tpid = tag;
	__u16 new_tci = bpf_ntohs(tag >> 16);

	if (has && new_tpid == tpid && new_tci == tci)
		return 0;
	if (has && bpf_skb_vlan_pop(ctx) < 0)
		return -1;
	if (tag && bpf_skb_vlan_push(ctx, new_tpid, new_tci) < 0)
		return -1;
	return 0;
}

/* Both MACs, as the frame begins, and the tag. */
static __always_inline int ctx_set_l2(ctx_t *ctx, const __u32 *macs, bool has, __be16 tpid, __u16 tci, __u32 tag)
{
	if (ctx_store(ctx, 0, macs, 2 * ETH_ALEN))
		return -1;
	return ctx_set_tag(ctx, macs, has, tpid, tci, tag);
}

/* Rewrites a packet, whose IPv4 header without options is at `head`, `off` bytes behind the frame's begin, to the last byte.
 * Where no tag stands between them, all that changes is stored in one go, with what is between. */
static __always_inline int ctx_leave4(ctx_t *ctx, void *head, __u32 off, const struct ctx_leave4 *to)
{
	bool udp = *(__u8 *)(head + 9) == IPPROTO_UDP;
	__u16 ports = csum_fold33((__u64)to->ports + (__u32) ~*(__u32 *)(head + 20));
	__u32 w[10], check_at = off + (udp ? 26 : 36);

	w[0] = to->macs[0] << 16;
	w[1] = to->macs[0] >> 16 | to->macs[1] << 16;
	w[2] = to->macs[1] >> 16 | to->macs[2] << 16;
	w[3] = to->macs[2] >> 16 | (__u32)bpf_htons(ETH_P_IP) << 16;
	w[4] = *(__u32 *)head;
	w[5] = *(__u32 *)(head + 4);
	w[6] = to->ttl;
	w[7] = to->addrs;
	w[8] = to->addrs >> 32;
	w[9] = to->ports;
	if (csum_changes(to->delta) && ctx_csum_l4(ctx, check_at, to->delta, true, udp))
		return -1;
	if (csum_changes(ports) && ctx_csum_l4(ctx, check_at, ports, false, udp))
		return -1;
	if (likely(off == sizeof(struct ethhdr))) {
		if (ctx_store(ctx, 0, (const __u8 *)w + 2, sizeof(w) - 2))
			return -1;
		return ctx_set_tag(ctx, to->macs, to->has, to->tpid, to->tci, to->tag);
	}
	if (ctx_store(ctx, off + 8, w + 6, 16))
		return -1;
	return ctx_set_l2(ctx, to->macs, to->has, to->tpid, to->tci, to->tag);
}

#endif
