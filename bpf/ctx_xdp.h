/* ctx_xdp.h: the contract with the hook, for XDP (ctx_tc.h is the same for tc).
 *
 * A frame as it came off the wire: headers are in the first buffer, nothing is shared, checksums are whole.
 */
#ifndef SLUICE_CTX_XDP_H
#define SLUICE_CTX_XDP_H

#define HOOK_XDP 1

#include "pkt.h"
#include "csum.h"

typedef struct xdp_md ctx_t;

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
	return bpf_xdp_get_buff_len(ctx);
}

#define CTX_ONE_BUFFER (ETH_FRAME_LEN + 4) /* with a tag */

/* The same for less, of a frame whose layer 3 packet ends `l3_end` bytes behind its begin. Where that is the end of the first
 * buffer, no other follows: nearly all drivers have room for an ordinary frame in one, and where headers are split from payload,
 * a packet's end is in the second, or, of one without payload, what is padded up to ETH_ZLEN. What could follow even so, where a
 * first buffer is smaller than that or split, is no packet's: a trailer of some sender's making, or a few bytes of padding. It is
 * forwarded, but neither counted nor held against the MTU, which then the kernel does. */
static __always_inline __u32 ctx_len_by(ctx_t *ctx, __u32 l3_end)
{
	__u32 here = ctx_data_end(ctx) - ctx_data(ctx);

	return likely(here == l3_end && here - ETH_ZLEN <= CTX_ONE_BUFFER - ETH_ZLEN) ? here : ctx_len(ctx);
}

static __always_inline __u32 ctx_ifindex(ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

static __always_inline __u16 ctx_segs(ctx_t *ctx)
{
	return 1;
}

static __always_inline __u32 ctx_gso_size(ctx_t *ctx)
{
	return 0;
}

static __always_inline bool ctx_hidden_tag(ctx_t *ctx, __be16 *ret_tpid, __u16 *ret_tci)
{
	return false;
}

static __always_inline int ctx_pull(ctx_t *ctx, __u32 n)
{
	return -1;
}

static __always_inline int ctx_load(ctx_t *ctx, __u32 off, void *to, __u32 n)
{
	return bpf_xdp_load_bytes(ctx, off, to, n);
}

/* memcpy() of what the compiler knows no alignment of goes byte by byte, and a load that spans such stores waits for them.
 * Packets may be accessed unaligned wherever XDP runs. `n`: a constant. */
static __always_inline void xdp_copy(void *to, const void *from, __u32 n)
{
	__u32 i = 0;

#pragma unroll
	for (; i + 4 <= n; i += 4)
		*(bytes4 *)(to + i) = *(const bytes4 *)(from + i);
	if (n & 2) {
		*(bytes2 *)(to + i) = *(const bytes2 *)(from + i);
		i += 2;
	}
	if (n & 1)
		*(__u8 *)(to + i) = *(const __u8 *)(from + i);
}

/* `n` is a constant; verifier: the offset is bounded here, where the access is. */
static __always_inline int ctx_store(ctx_t *ctx, __u32 off, const void *from, __u32 n)
{
	void *data = ctx_data(ctx);

	asm volatile("" : "+r"(off));
	if (off > PKT_OFFSET_MAX)
		return -1;
	data += off;
	if (data + n > ctx_data_end(ctx))
		return -1;
	xdp_copy(data, from, n);
	return 0;
}

static __always_inline int ctx_csum_l4(ctx_t *ctx, __u32 off, __u16 delta, bool pseudo, bool zero_is_none)
{
	void *data = ctx_data(ctx);
	__u16 *check;

	asm volatile("" : "+r"(off));
	if (off > PKT_OFFSET_MAX)
		return -1;
	check = data + off;
	if ((void *)(check + 1) > ctx_data_end(ctx))
		return -1;
	if (zero_is_none && !*check)
		return 0;
	*check = csum_apply(*check, delta);
	if (zero_is_none && !*check)
		*check = 0xffff;
	return 0;
}

static __always_inline bool ctx_csum_unfinished(ctx_t *ctx, __u32 off)
{
	return false;
}

static __always_inline void ctx_csum_complete(ctx_t *ctx, __u16 delta)
{
}

/* One hop: `word` in place of TTL, protocol and checksum of the IPv4 header at `head`, 8 bytes from it. */
static __always_inline int ctx_hop4(ctx_t *ctx, void *head, __u32 off, __u32 word)
{
	*(__u32 *)(head + 8) = word;
	return 0;
}

/* The same of the IPv6 header `head`, whose hop limit becomes `hop`. */
static __always_inline int ctx_hop6(ctx_t *ctx, void *head, __u32 off, __u8 proto, __u8 hop)
{
	*(__u8 *)(head + 7) = hop;
	return 0;
}

/* Both MACs, as the frame begins, and the tag: written once, where they are to stand. `has`: it came with one, that in `tpid` and
 * `tci`. */
static __always_inline int ctx_set_l2(ctx_t *ctx, const __u32 *macs, bool has, __be16 tpid, __u16 tci, __u32 tag)
{
	__u32 *to;

	if (!has && tag && bpf_xdp_adjust_head(ctx, -4))
		return -1;
	to = ctx_data(ctx);
	if ((void *)(to + 4) > ctx_data_end(ctx))
		return -1;
	if (tag)
		to[3] = tag;
	else if (has)
		to++;
	to[0] = macs[0];
	to[1] = macs[1];
	to[2] = macs[2];
	return has && !tag && bpf_xdp_adjust_head(ctx, 4) ? -1 : 0;
}

/* The tag alone, of a frame whose MACs are those that it came with. */
static __always_inline int ctx_set_tag(ctx_t *ctx, const __u32 *macs, bool has, __be16 tpid, __u16 tci, __u32 tag)
{
	return has || tag ? ctx_set_l2(ctx, macs, has, tpid, tci, tag) : 0;
}

/* Rewrites a packet, whose IPv4 header without options is at `head`, `off` bytes behind the frame's begin, to the last byte. */
static __always_inline int ctx_leave4(ctx_t *ctx, void *head, __u32 off, const struct ctx_leave4 *to)
{
	bool udp = *(__u8 *)(head + 9) == IPPROTO_UDP;
	__u16 *l4 = head + (udp ? 26 : 36);
	__u32 old = ~*(__u32 *)(head + 20);
	__u16 check = *l4, new;

	*(__u32 *)(head + 8) = to->ttl;
	*(bytes8 *)(head + 12) = to->addrs;
	*(__u32 *)(head + 20) = to->ports;
	if (likely(to->delta | (to->ports ^ ~old))) {
		new = ~csum_fold33((__u64)to->ports + old + to->delta + (__u16)~check);
		if (likely(check && new) || !udp)
			*l4 = new;
		else if (check)
			*l4 = 0xffff;
	}
	return ctx_set_l2(ctx, to->macs, to->has, to->tpid, to->tci, to->tag);
}

#endif
