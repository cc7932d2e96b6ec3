/* gen_target.h: what the generators of XDP and tc measure: programs by tail call; and the least of them, the switch's own parser.
 * Behind the context's own header (ctx_xdp.h, ctx_tc.h), parse.h and scratch.h. */
#ifndef BENCH_GEN_TARGET_H
#define BENCH_GEN_TARGET_H

#include "work.h"

/* 0 bare, 1 the switch's own pinned program, 2 parse and redirect, 3 bare with a tag taken off or put on, 8 known
 * work; XDP alone: 4 one look-up, 5 MACs swapped, 6 and 7 two insertions (first_xdp.bpf.c), 9 and 10 one
 * line of many (lines_xdp.bpf.c). */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 11);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

#define GEN_TURNS  8
#define GEN_STAMPS (1 << 17)

/* Runs of several targets by turns within one BPF_PROG_RUN, so short that they meet the same machine. A system call for each of
 * them would cost the kernel two grace periods of RCU (its dispatcher of XDP programs is written anew), tens of milliseconds in
 * which a neighbour comes or goes. */
struct gen_turns {
	__u32 count; /* of turns, before the first comes again; GEN_TURNS at most */
	__u32 next;  /* turn */
	__u32 left;  /* packets left of this turn */
	__u32 done;  /* turns begun: as many of `stamps` are written */
	__u32 runs;  /* packets */
	__u32 target;
	struct {
		__u32 target;
		__u32 packets;
		__u32 back; /* positions of the sequence that the generator goes back first */
	} turn[GEN_TURNS];
};

MMAPPED(turns, 1, struct gen_turns);
MMAPPED(stamps, GEN_STAMPS, __u64); /* when a turn began: ns of the clock */

/* For each packet, before it is written; the target is in `turns` then. 0, or -1: for the verifier. */
static __always_inline int gen_turn(struct gen *g, struct gen_turns *t)
{
	__u64 *stamp;
	__u32 i;

	t->runs++;
	if (t->left--)
		return 0;
	i = t->done++ & (GEN_STAMPS - 1);
	stamp = bpf_map_lookup_elem(&stamps, &i);
	if (!stamp)
		return -1;
	*stamp = bpf_ktime_get_ns();
	i = t->next & (GEN_TURNS - 1);
	t->next = i + 1 < t->count ? i + 1 : 0;
	t->target = t->turn[i].target;
	t->left = t->turn[i].packets - 1;
	g->next -= t->turn[i].back;
	return 0;
}

/* How long it takes tells how much of the core there is at that moment, whatever is measured beside it. */
static __always_inline __u64 gen_known_work(__u64 a)
{
	return gen_work(a, 64);
}

#define GEN_PAUSE 50 /* times the known work */

/* For each live frame. Frames are sent, and received, 64 at a time: when one of the next 64 is made, nothing of those before is
 * left to do. Stamps stand before and after the known work. 0, or -1: for the verifier. */
static __always_inline int gen_pause(struct gen_turns *t)
{
	__u32 i = t->done & (GEN_STAMPS - 1), j = i + 1;
	__u64 *began, *ended, work;

	t->runs++;
	if (t->left) {
		t->left--;
		return 0;
	}
	began = bpf_map_lookup_elem(&stamps, &i);
	ended = bpf_map_lookup_elem(&stamps, &j);
	if (!began || !ended)
		return -1;
	*began = bpf_ktime_get_ns();
	work = *began;
#pragma clang loop unroll(disable)
	for (int k = 0; k < GEN_PAUSE; k++)
		work = gen_known_work(work);
	t->target = work;
	*ended = bpf_ktime_get_ns();
	t->done += 2;
	t->left = t->turn[0].packets - 1;
	return 0;
}

static __always_inline struct gen_turns *gen_turns_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&turns, &zero);
}

/* 0, or -1: it is no IP packet. */
static __always_inline int gen_parse(ctx_t *ctx)
{
	struct pkt *p = scratch_get(SCRATCH_PKT, struct pkt);

	if (!p)
		return -1;
	parse_reset(p, ctx);
	return parse(ctx, p) == V_NEXT && parse_l3(ctx, p) == V_NEXT ? 0 : -1;
}

#endif
