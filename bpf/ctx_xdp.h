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
	typedef __u32 __attribute__((may_alias)) word;
	typedef __u16 __attribute__((may_alias)) half;
	__u32 i = 0;

#pragma unroll
	for (; i + 4 <= n; i += 4)
		*(word *)(to + i) = *(const word *)(from + i);
	if (n & 2) {
		*(half *)(to + i) = *(const half *)(from + i);
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

static __always_inline void ctx_csum_complete(ctx_t *ctx, __u16 delta)
{
}

/* Puts `to` in place of bytes 8 to 23 at `head`, an IPv4 header without options at `off`, and applies the deltas of the addresses
 * and of the ports to the checksum that stands `check_at` bytes behind it. */
static __always_inline int ctx_rewrite4(ctx_t *ctx, void *head, __u32 off, const struct ctx_head4 *to, __u32 check_at,
					__u16 addrs, __u16 ports, bool zero_is_none)
{
	__u16 *l4 = head + check_at, check = *l4;

	*(__u16 *)(head + 8) = to->ttl_proto;
	*(__u16 *)(head + 10) = to->check;
	*(__u32 *)(head + 12) = to->saddr;
	*(__u32 *)(head + 16) = to->daddr;
	*(__u32 *)(head + 20) = to->ports;
	if (zero_is_none && !check)
		return 0;
	check = csum_apply(check, csum_add(addrs, ports));
	*l4 = zero_is_none && !check ? 0xffff : check;
	return 0;
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

/* Addresses (new ones where DO_L2 says so) and tag as the frame is to leave; `has`: there is a tag that goes. */
static __always_inline int ctx_leave(ctx_t *ctx, const struct pkt *p, bool has, __be16 tpid, __u16 tci)
{
	const __u32 *macs = p->todo & DO_L2 ? p->new_macs : (const __u32 *)p->dmac;
	__u32 *data;

	if (has != !!tpid && bpf_xdp_adjust_head(ctx, tpid ? -4 : 4))
		return -1;
	data = ctx_data(ctx);
	if ((void *)(data + 3) > ctx_data_end(ctx))
		return -1;
	data[0] = macs[0];
	data[1] = macs[1];
	data[2] = macs[2];
	if (!tpid)
		return 0;
	if ((void *)(data + 4) > ctx_data_end(ctx))
		return -1;
	data[3] = csum_pair(tpid, bpf_htons(tci));
	return 0;
}

#endif
