/* xdp.bpf.c: the fast path of ports with native XDP: what goes from such a port to such a port, and what is dropped without
 * an answer. All else is passed up as it came, uncounted, and tc.bpf.c does it. */
#include "ctx_xdp.h"
#include "config.h"
#include "parse.h"
#include "pipeline.h"
#include "rewrite.h"
#include "counter.h"
#include "scratch.h"

/* Written by sluiced, read here. Port id -> ifindex, of ports that take frames from XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, PORT_MAX);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} xdp_ports SEC(".maps");

static __always_inline int xdp_up(void)
{
	count_stat(STAT_XDP_PASSED, 1);
	return XDP_PASS;
}

static __always_inline int xdp_dropped(struct pkt *p)
{
	count_rx(p);
	count_dropped(p);
	return XDP_DROP;
}

/* out_tag is known, and the port is one of XDP's. */
static __always_inline int xdp_leave(ctx_t *ctx, struct pkt *p)
{
	if (rewrite(ctx, p, p->out_tag)) {
		p->drop = DROP_REWRITE_FAILED;
		return xdp_dropped(p);
	}
	count_finished(p->in_port, 1, p->len, false);
	if (p->nexthop)
		nexthop_count(p);
	count_tx(p, p->out_port, count_tx_bytes(p, p->out_tag));
	return bpf_redirect_map(&xdp_ports, p->out_port, 0);
}

static __always_inline int xdp_send(ctx_t *ctx, struct pkt *p)
{
	struct port *port;

	if (p->out_known)
		return xdp_leave(ctx, p);
	port = port_get(p->out_port);
	if (unlikely(!port || !(port->flags & PORT_F_XDP)))
		return xdp_up();
	known_tag(ctx, p, port);
	return xdp_leave(ctx, p);
}

static __always_inline int xdp_fast_send(ctx_t *ctx, const struct fast_out *out)
{
	return bpf_redirect_map(&xdp_ports, out->port, 0);
}

/* verifier: global, for the stack. */
__noinline_global int xdp_fast4_again(struct xdp_md *ctx)
{
	return fast_try4(ctx, xdp_fast_send);
}

__noinline_global int xdp_fast6(struct xdp_md *ctx, __u32 at_plus_1)
{
	return fast_try6(ctx, at_plus_1, xdp_fast_send);
}

/* See fast.h. Within the program itself: a call and its return take 8 ns where the CPU guards returns, a third of what switching
 * takes. `again`: a constant: what was not known when the frame was tried first is known now, which is rare. */
static __always_inline int xdp_fast(struct xdp_md *ctx, bool again)
{
	int done = again ? xdp_fast4_again(ctx) : fast_try4(ctx, xdp_fast_send);

	if (cfg_ipv6 && done < 0 && FAST_ANSWER(done) == FAST_SIX)
		done = xdp_fast6(ctx, FAST_AT_PLUS_1(done));
	return done;
}

SEC("xdp.frags")
int sluice_xdp(struct xdp_md *ctx)
{
	enum verdict v = V_NEXT;
	bool noted = false;
	struct port *port;
	struct pkt *p;
	__u32 way;
	int done;

	done = xdp_fast(ctx, false);
	if (likely(done >= 0))
		return done;
	p = scratch_get(SCRATCH_PKT, struct pkt);
	if (!p)
		return XDP_ABORTED;
	way = p->nexthop;
	parse_reset(p, ctx);
	if (FAST_ANSWER(done) == FAST_NO_WAY && fast_ask_way(p, way, done)) {
		done = xdp_fast(ctx, true);
		if (done >= 0)
			return done;
	}
	if (!fast_fill(p, done) || (p->out_known && FAST_ANSWER(done) != FAST_SPOILT)) {
		v = parse(ctx, p);
		port = port_in(p, ctx_ifindex(ctx));
		/* The driver may have taken a tag out of the data: only tc sees the truth. */
		if (port && (port->flags & PORT_F_TAG_HIDDEN) && !p->tpid)
			return xdp_up();
		v = pipeline_ingress(ctx, p, port, v, &noted);
		if (noted) {
			done = xdp_fast(ctx, true);
			if (done >= 0)
				return done;
			fast_fill(p, done);
		}
	}
	if (FAST_ANSWER(done) == FAST_SPOILT)
		v = pkt_drop(p, DROP_REWRITE_FAILED);
	else if (v == V_NEXT)
		v = pipeline(ctx, p, FAST_ANSWER(done));
	if (v == V_FORWARD)
		return xdp_send(ctx, p);
	if (v == V_DROP && !p->reply_type)
		return xdp_dropped(p);
	return xdp_up();
}

char LICENSE[] SEC("license") = "GPL";
