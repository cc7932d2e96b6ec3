/* frame.h: a frame copied out of an skb, as it stood on the wire: for who keeps it (hold.h, asked.h). tc only. */
#ifndef SLUICE_FRAME_H
#define SLUICE_FRAME_H

#include "pkt.h"

/* From behind the MACs to the end. verifier: the barriers keep the bounds on the register that is used, and two comparisons; 6.1
 * learns nothing from one with 0. */
static __always_inline long frame_load(ctx_t *ctx, void *to, __u32 max)
{
	__u32 n = ctx_len(ctx) - 2 * ETH_ALEN;

	asm volatile("" : "+r"(n));
	if (n > max)
		return -1;
	asm volatile("" : "+r"(n));
	if (n < 2)
		return -1;
	return bpf_skb_load_bytes(ctx, 2 * ETH_ALEN, to, n);
}

/* With a tag in the data that was in the skb. `max`: a constant; `to` has 6 bytes more. Its length, or negative: it is too long.
 */
static __always_inline long frame_copy(ctx_t *ctx, const struct pkt *p, __u8 *to, __u32 max)
{
	__be16 tag[2] = {p->tpid, bpf_htons(p->tci)};

	if (bpf_skb_load_bytes(ctx, 0, to, 2 * ETH_ALEN))
		return -1;
	if (!(p->flags & PKT_F_TAG_HW))
		return frame_load(ctx, to + 2 * ETH_ALEN, max - 2 * ETH_ALEN) ? -1 : (long)ctx_len(ctx);
	__builtin_memcpy(to + 2 * ETH_ALEN, tag, sizeof(tag));
	if (frame_load(ctx, to + 2 * ETH_ALEN + sizeof(tag), max - 2 * ETH_ALEN - sizeof(tag)))
		return -1;
	return (long)ctx_len(ctx) + sizeof(tag);
}

#endif
