/* gen_target.h: what the generators of XDP and tc measure: programs by tail call; and the least of them, the switch's own parser.
 * Behind the context's own header (ctx_xdp.h, ctx_tc.h), parse.h and scratch.h. */
#ifndef BENCH_GEN_TARGET_H
#define BENCH_GEN_TARGET_H

/* 0 bare, 1 the switch's own pinned program, 2 parse and redirect, 3 bare with a tag taken off or put on; XDP alone: 4 one
 * look-up, 5 MACs swapped, 6 and 7 two insertions (first_xdp.bpf.c). */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

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
