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

/* Rewritten; `len`: bytes that leave. */
static __always_inline int xdp_out(struct pkt *p, __u32 len)
{
	count_rx_forwarded(p);
	if (p->nexthop)
		nexthop_count(p);
	count_tx(p, p->out_port, len);
	return bpf_redirect_map(&xdp_ports, p->out_port, 0);
}

/* out_tag is known, and the port is one of XDP's. */
static __always_inline int xdp_leave(ctx_t *ctx, struct pkt *p)
{
	if (rewrite(ctx, p, p->out_tag)) {
		p->drop = DROP_REWRITE_FAILED;
		return xdp_dropped(p);
	}
	return xdp_out(p, count_tx_bytes(p, p->out_tag));
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

SEC("xdp.frags")
int sluice_xdp(struct xdp_md *ctx)
{
	struct pkt *p = scratch_get(SCRATCH_PKT, struct pkt);
	struct port *port;
	enum verdict v;

	if (!p)
		return XDP_ABORTED;
	parse_reset(p, ctx);
	if (!known_look(ctx, p, &v)) {
		v = parse(ctx, p);
		port = port_in(p, ctx_ifindex(ctx));
		/* The driver may have taken a tag out of the data: only tc sees the truth. */
		if (port && (port->flags & PORT_F_TAG_HIDDEN) && !p->tpid)
			return xdp_up();
		v = pipeline_ingress(ctx, p, port, v);
	}
	if (v == V_NEXT)
		v = pipeline(ctx, p);
	if (v == V_READY)
		return xdp_out(p, p->out_len);
	if (v == V_FORWARD)
		return xdp_send(ctx, p);
	if (v == V_DROP && !p->reply_type)
		return xdp_dropped(p);
	return xdp_up();
}

char LICENSE[] SEC("license") = "GPL";
