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

/* Bytes covered by CHECKSUM_COMPLETE changed by `delta` without a checksum in the packet that makes up for it. */
static __always_inline void ctx_csum_complete(ctx_t *ctx, __u16 delta)
{
	bpf_csum_update(ctx, delta);
}

/* Puts `to` in place of bytes 8 to 23 of an IPv4 header without options at `off`, and applies the deltas of the addresses and of
 * the ports to the checksum that stands `check_at` bytes behind it. */
static __always_inline int ctx_rewrite4(ctx_t *ctx, void *head, __u32 off, const struct ctx_head4 *to, __u32 check_at,
					__u16 addrs, __u16 ports, bool zero_is_none)
{
	if (csum_changes(addrs) && ctx_csum_l4(ctx, off + check_at, addrs, true, zero_is_none))
		return -1;
	if (csum_changes(ports) && ctx_csum_l4(ctx, off + check_at, ports, false, zero_is_none))
		return -1;
	return ctx_store(ctx, off + 8, to, sizeof(*to));
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

/* Makes the outer tag `tpid`/`tci`; tpid 0: none. `has`: there is one that is the port's. Offsets are void afterwards. */
static __always_inline int ctx_set_tag(ctx_t *ctx, const struct pkt *p, bool has, __be16 tpid, __u16 tci)
{
	if (has && tpid == p->tpid && tci == p->tci)
		return 0;
	if (has && bpf_skb_vlan_pop(ctx) < 0)
		return -1;
	if (tpid && bpf_skb_vlan_push(ctx, tpid, tci) < 0)
		return -1;
	return 0;
}

#endif
