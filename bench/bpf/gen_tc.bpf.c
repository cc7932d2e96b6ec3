/* gen_tc.bpf.c: tc's programs of the benchmarks: generator and target by tail call, and what to compare with. */
#include "ctx_tc.h"
#include "config.h"
#include "parse.h"
#include "scratch.h"
#include "gen.h"

#define TC_ACT_SHOT 2

/* What is measured: 0 bare, 1 the switch's own pinned program, 2 parse and redirect, 3 bare with the tag taken off or one put on.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

/* The tag as it was before the target changed it. */
static __always_inline int gen_tc_fresh(struct __sk_buff *ctx, struct gen *g)
{
	__u32 tag = ctx->vlan_present ? GEN_TAG | ctx->vlan_tci : 0;

	if (tag == g->tag)
		return 0;
	if (tag && bpf_skb_vlan_pop(ctx))
		return -1;
	return g->tag ? bpf_skb_vlan_push(ctx, bpf_htons(ETH_P_8021Q), g->tag & 0xffff) : 0;
}

SEC("tc")
int gen_run(struct __sk_buff *ctx)
{
	struct gen *g = gen_get();

	if (!g || gen_tc_fresh(ctx, g))
		return TC_ACT_SHOT;
	if (gen_write(ctx_data(ctx), ctx_data_end(ctx), g))
		return TC_ACT_SHOT;
	bpf_tail_call(ctx, &targets, g->target);
	return TC_ACT_SHOT;
}

SEC("tc")
int gen_bare(struct __sk_buff *ctx)
{
	return TC_ACT_SHOT;
}

SEC("tc")
int gen_tag(struct __sk_buff *ctx)
{
	if (ctx->vlan_present)
		return bpf_skb_vlan_pop(ctx) ? -1 : TC_ACT_SHOT;
	return bpf_skb_vlan_push(ctx, bpf_htons(ETH_P_8021Q), 20) ? -1 : TC_ACT_SHOT;
}

SEC("tc")
int gen_floor(struct __sk_buff *ctx)
{
	struct pkt *p = scratch_get(SCRATCH_PKT, struct pkt);

	if (!p)
		return TC_ACT_SHOT;
	parse_reset(p, ctx);
	if (parse(ctx, p) != V_NEXT || parse_l3(ctx, p) != V_NEXT)
		return TC_ACT_SHOT;
	return bpf_redirect(ctx->ifindex, 0);
}

char LICENSE[] SEC("license") = "GPL";
