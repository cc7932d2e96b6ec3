/* gen.h: writes the headers of a frame anew for every run of a benchmark, and chooses its flow.
 *
 * BPF_PROG_RUN gives a program the same buffer again and again, as the run before left it, and live frames are recycled likewise;
 * so whoever measures a program that rewrites packets must make the packet first. Driven by bench/gen.py, which has the same
 * layout of struct gen. Every field is stored in the width in which a datapath loads it, or a larger one: a load that spans two
 * stores in flight would wait for them, and the wait would be taken for a cost of the datapath.
 */
#ifndef BENCH_GEN_H
#define BENCH_GEN_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "bench_maps.h"

#define GEN_HEAD 96	   /* bytes at the front of a frame that are written; frames are no shorter */
#define GEN_SEQ	 (1 << 20) /* which flow comes next: read in order, so that it is in the cache before it is needed */

#define GEN_F_TAG	(1 << 0) /* template: 4 bytes of tag */
#define GEN_F_IP6	(1 << 1)
#define GEN_F_TCP	(1 << 2)
#define GEN_F_DST_HIGH6 (1 << 3) /* the value is the upper half of the IPv6 destination */

#define GEN_TAG (1u << 31)

/* A field is its base plus some bits of the value. */
struct gen_field {
	__u32 base; /* host order */
	__u32 shift;
	__u32 mask;
};

struct gen {
	__u32 flags; /* GEN_F_* */
	__u32 target;
	__u32 next;	      /* position in `seq` */
	__u32 mask;	      /* of positions: number of values - 1 */
	__u64 l3_sum, l4_sum; /* one's complement sums of what does not change, the pseudo header included */
	struct gen_field dmac, smac, saddr, daddr, sport, dport; /* the lowest 32 bits of MACs and addresses */
	__u32 frame_len;
	__u32 tag; /* tc: the tag beside the data, GEN_TAG | TCI; 0: none */
	__u16 head[GEN_HEAD / 2];
};

MMAPPED(gen, 1, struct gen);
MMAPPED(seq, GEN_SEQ, __u64);

#define GEN_INLINE static inline __attribute__((always_inline))

GEN_INLINE struct gen *gen_get(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&gen, &zero);
}

GEN_INLINE __u64 gen_next(struct gen *g)
{
	__u32 i = g->next++ & g->mask & (GEN_SEQ - 1);
	__u64 *v = bpf_map_lookup_elem(&seq, &i);

	return v ? *v : 0;
}

GEN_INLINE __u32 gen_value(const struct gen_field *f, __u64 v)
{
	return f->base + ((v >> (f->shift & 63)) & f->mask);
}

GEN_INLINE __u16 gen_check(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* `from` and `to`: bytes of the frame. */
GEN_INLINE void gen_copy32(void *data, const struct gen *g, __u32 from, __u32 to)
{
#pragma unroll
	for (__u32 i = from; i < to; i += 4)
		*(__u32 *)(data + i) = *(const __u32 *)((const void *)g->head + i);
}

GEN_INLINE void gen_copy64(void *data, const struct gen *g, __u32 at)
{
	const __u32 *from = (const void *)g->head + at;

	*(__u64 *)(data + at) = from[0] | (__u64)from[1] << 32;
}

/* The same, its upper half being `high`. */
GEN_INLINE void gen_join64(void *data, const struct gen *g, __u32 at, __u32 high)
{
	*(__u64 *)(data + at) = *(const __u32 *)((const void *)g->head + at) | (__u64)high << 32;
}

GEN_INLINE void gen_macs(__u16 *data, struct gen *g, __u64 v)
{
	__u32 d = gen_value(&g->dmac, v), s = gen_value(&g->smac, v);
	__u64 dmac, smac;

	dmac = g->head[0] | (__u64)bpf_htonl(d) << 16;
	smac = g->head[3] | (__u64)bpf_htonl(s) << 16;
	*(__u64 *)data = dmac | smac << 48;
	*(__u32 *)(data + 4) = smac >> 16;
}

/* Ports and checksum; the sum holds the addresses already. */
GEN_INLINE void gen_l4(void *data, const struct gen *g, __u64 v, __u32 off, __u64 sum)
{
	__u16 sport = bpf_htons(gen_value(&g->sport, v)), dport = bpf_htons(gen_value(&g->dport, v));

	sum += g->l4_sum + sport + dport;
	*(__u32 *)(data + off) = sport | (__u32)dport << 16;
	if (g->flags & GEN_F_TCP) {
		gen_copy32(data, g, off + 4, off + 16);
		*(__u16 *)(data + off + 16) = gen_check(sum);
		*(__u16 *)(data + off + 18) = 0;
		return;
	}
	*(__u16 *)(data + off + 4) = g->head[(off + 4) / 2];
	*(__u16 *)(data + off + 6) = gen_check(sum);
}

GEN_INLINE void gen_ip4(void *data, const struct gen *g, __u64 v, __u32 off)
{
	__u32 saddr = bpf_htonl(gen_value(&g->saddr, v)), daddr = bpf_htonl(gen_value(&g->daddr, v));
	__u64 addrs = (__u64)saddr + daddr;

	gen_copy64(data, g, off);
	*(__u32 *)(data + off + 8) = g->head[(off + 8) / 2] | (__u32)gen_check(g->l3_sum + addrs) << 16;
	*(__u64 *)(data + off + 12) = saddr | (__u64)daddr << 32;
	gen_l4(data, g, v, off + 20, addrs);
}

GEN_INLINE void gen_ip6(void *data, const struct gen *g, __u64 v, __u32 off)
{
	__u32 saddr = bpf_htonl(gen_value(&g->saddr, v)), daddr = bpf_htonl(gen_value(&g->daddr, v));
	__u64 high = bpf_cpu_to_be64(v), sum = (__u64)saddr + daddr;

	gen_copy64(data, g, off);
	gen_copy64(data, g, off + 8);
	gen_join64(data, g, off + 16, saddr);
	if (g->flags & GEN_F_DST_HIGH6) {
		*(__u64 *)(data + off + 24) = high;
		sum += (high & 0xffffffff) + (high >> 32);
	} else {
		gen_copy64(data, g, off + 24);
	}
	gen_join64(data, g, off + 32, daddr);
	gen_l4(data, g, v, off + 40, sum);
}

/* 0, or -1: the frame is too short. */
GEN_INLINE int gen_write(void *data, void *end, struct gen *g)
{
	__u64 v;

	if (data + GEN_HEAD > end)
		return -1;
	v = gen_next(g);
	gen_macs(data, g, v);
	*(__u32 *)(data + 12) = *(const __u32 *)&g->head[6];
	if (g->flags & GEN_F_TAG) {
		*(__u16 *)(data + 16) = g->head[8];
		if (g->flags & GEN_F_IP6)
			gen_ip6(data, g, v, 18);
		else
			gen_ip4(data, g, v, 18);
	} else if (g->flags & GEN_F_IP6) {
		gen_ip6(data, g, v, 14);
	} else {
		gen_ip4(data, g, v, 14);
	}
	return 0;
}

#endif
