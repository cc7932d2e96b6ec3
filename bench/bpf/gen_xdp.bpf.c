/* gen_xdp.bpf.c: XDP's programs of the benchmarks: generator and target by tail call, the targets to compare with, the bare
 * redirect and the counting receiver of the namespaces.
 */
#include "ctx_xdp.h"
#include "config.h"
#include "parse.h"
#include "scratch.h"
#include "gen.h"
#include "gen_target.h"
#include "bench_maps.h"

KERNEL_TABLE(out, BPF_MAP_TYPE_DEVMAP_HASH, 0, 8, __u32, struct bpf_devmap_val);

/* Of gen_lookup. */
KERNEL_HASH(connections, GEN_SEQ, struct connection, struct decision);

/* Frames that came in. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} received SEC(".maps");

/* The first bytes of the last frames that were received, for a look at them. */
struct sample {
	__u32 len;
	__u8 head[GEN_HEAD];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct sample);
} samples SEC(".maps");

/* The frame as it was before the target changed its length. */
static __always_inline int gen_xdp_fresh(struct xdp_md *ctx, struct gen *g)
{
	int by = (int)(ctx_data_end(ctx) - ctx_data(ctx)) - (int)g->frame_len;

	if (by && bpf_xdp_adjust_head(ctx, by))
		return -1;
	return gen_write(ctx_data(ctx), ctx_data_end(ctx), g);
}

SEC("xdp.frags")
int gen_run(struct xdp_md *ctx)
{
	struct gen *g = gen_get();

	if (!g || gen_xdp_fresh(ctx, g))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &targets, g->target);
	return XDP_ABORTED;
}

/* The same, the targets by turns. */
SEC("xdp.frags")
int gen_run_turns(struct xdp_md *ctx)
{
	struct gen_turns *t = gen_turns_get();
	struct gen *g = gen_get();

	if (!g || !t || gen_turn(g, t) || gen_xdp_fresh(ctx, g))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &targets, t->target);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int gen_known(struct xdp_md *ctx)
{
	return gen_known_work(ctx->ingress_ifindex) & 1 ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int gen_bare(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp.frags")
int gen_untag(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4) ? XDP_ABORTED : XDP_DROP;
}

/* The least that a switch could do: the switch's own parser, and out. */
SEC("xdp.frags")
int gen_floor(struct xdp_md *ctx)
{
	return gen_parse(ctx) ? XDP_ABORTED : bpf_redirect_map(&out, 0, 0);
}

/* A program of a few lines, as others publish a number for: headers looked at, MACs swapped, back. */
SEC("xdp.frags")
int gen_swap(struct xdp_md *ctx)
{
	struct ethhdr *eth = ctx_data(ctx);
	__u16 *w = (void *)eth;
	struct iphdr *ip;

	ip = (void *)(eth + 1) + 4;
	if ((void *)(ip + 1) > ctx_data_end(ctx))
		return XDP_ABORTED;
	if (eth->h_proto != bpf_htons(ETH_P_8021Q) || w[8] != bpf_htons(ETH_P_IP) || ip->version != 4 || ip->ihl != 5 ||
	    ip->ttl < 2)
		return XDP_ABORTED;
	for (int i = 0; i < 3; i++) {
		__u16 d = w[i];

		w[i] = w[i + 3];
		w[i + 3] = d;
	}
	return XDP_TX;
}

/* The least that whoever keeps connections in one hash of the kernel must do: find the entry, count, write the addresses that it
 * says (here the packet's own), and out. What the memory of the machine costs a packet, with as many flows. */
SEC("xdp.frags")
int gen_lookup(struct xdp_md *ctx)
{
	struct decision *d, fresh = {};
	struct connection key;
	__u32 *w;

	w = connection_of(ctx_data(ctx), ctx_data_end(ctx), &key);
	if (!w)
		return XDP_ABORTED;
	d = bpf_map_lookup_elem(&connections, &key);
	if (!d) {
		fresh.addrs = key.addrs;
		return bpf_map_update_elem(&connections, &key, &fresh, BPF_ANY) ? XDP_ABORTED : XDP_DROP;
	}
	d->packets++;
	w[3] = d->addrs;
	w[4] = d->addrs >> 32;
	return bpf_redirect_map(&out, 0, 0);
}

/* As live frames: out of the netdev that the run names as ingress. With turns every so many frames begin with known work. */
SEC("xdp")
int gen_send(struct xdp_md *ctx)
{
	struct gen_turns *t = gen_turns_get();
	struct gen *g = gen_get();

	if (!g || !t || (t->count && gen_pause(t)))
		return XDP_ABORTED;
	if (gen_write(ctx_data(ctx), ctx_data_end(ctx), g))
		return XDP_ABORTED;
	return XDP_TX;
}

SEC("xdp")
int gen_redirect(struct xdp_md *ctx)
{
	return bpf_redirect_map(&out, 0, 0);
}

static __always_inline void gen_arrived(void *data, void *end)
{
	struct sample *s;
	__u32 zero = 0, i;
	__u64 *n;

	n = bpf_map_lookup_elem(&received, &zero);
	if (!n || data + GEN_HEAD > end)
		return;
	/* The kernel's own talk (ND, MLD) is multicast, the benchmark's frames are not. */
	if (*(__u8 *)data & 1)
		return;
	*n += 1;
	if (*n & 0xfff)
		return;
	i = *n >> 12 & 63;
	s = bpf_map_lookup_elem(&samples, &i);
	if (s) {
		s->len = end - data;
		__builtin_memcpy(s->head, data, GEN_HEAD);
	}
}

SEC("xdp")
int gen_receive(struct xdp_md *ctx)
{
	gen_arrived(ctx_data(ctx), ctx_data_end(ctx));
	return XDP_DROP;
}

/* Beside it, for what comes by bpf_redirect_peer() and so passes XDP by. */
SEC("tc")
int gen_receive_peer(struct __sk_buff *ctx)
{
	gen_arrived((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return 2; /* TC_ACT_SHOT */
}

char LICENSE[] SEC("license") = "GPL";
