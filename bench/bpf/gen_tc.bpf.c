/* gen_tc.bpf.c: tc's programs of the benchmarks: generator and target by tail call, and what to compare with. */
#include "ctx_tc.h"
#include "config.h"
#include "parse.h"
#include "scratch.h"
#include "gen.h"
#include "gen_target.h"

#define TC_ACT_SHOT 2

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

/* The same, the targets by turns. */
SEC("tc")
int gen_run_turns(struct __sk_buff *ctx)
{
	struct gen_turns *t = gen_turns_get();
	struct gen *g = gen_get();

	if (!g || !t || gen_turn(g, t) || gen_tc_fresh(ctx, g))
		return TC_ACT_SHOT;
	if (gen_write(ctx_data(ctx), ctx_data_end(ctx), g))
		return TC_ACT_SHOT;
	bpf_tail_call(ctx, &targets, t->target);
	return TC_ACT_SHOT;
}

SEC("tc")
int gen_known(struct __sk_buff *ctx)
{
	return gen_known_work(ctx->ifindex) & 1 ? TC_ACT_SHOT : -1;
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
	return gen_parse(ctx) ? TC_ACT_SHOT : bpf_redirect(ctx->ifindex, 0);
}

char LICENSE[] SEC("license") = "GPL";
