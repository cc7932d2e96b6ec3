/* tc.bpf.c: the complete path: every packet that XDP did not finish, on every port (tcx or clsact, ingress). */
#include "ctx_tc.h"
#include "config.h"
#include "parse.h"
#include "pipeline.h"
#include "rewrite.h"
#include "flood.h"
#include "icmp.h"
#include "fragment.h"
#include "hold.h"
#include "asked.h"
#include "counter.h"
#include "scratch.h"

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_OK     0
#define TC_ACT_SHOT   2

/* Tests see by it what BPF_PROG_RUN does not return: the tag in the skb, the way out, the verdict. */
static __always_inline void tc_trace(ctx_t *ctx, enum verdict v, __u32 ifindex)
{
	if (!cfg_trace)
		return;
	ctx->cb[0] = ctx->vlan_present ? 1u << 31 | (ctx->vlan_proto == bpf_htons(ETH_P_8021AD)) << 30 | ctx->vlan_tci : 0;
	ctx->cb[1] = ifindex;
	ctx->cb[2] = v;
}

/* verifier: what is not the fast path is a global function, verified once on its own; hence the typed context and the test of
 * `p`, which is never NULL. */
__noinline_global int tc_drop(struct __sk_buff *ctx, struct pkt *p)
{
	struct port *port;

	if (!p)
		return TC_ACT_SHOT;
	port = port_get(p->in_port);
	count_dropped(p);
	if (p->reply_type && port && icmp_reply(ctx, p)) {
		tc_trace(ctx, V_DROP, port->ifindex);
		p->segs = 1;
		count_tx(p, p->in_port, ctx->len);
		ctx->tc_index = 0;
		return bpf_redirect(port->ifindex, 0);
	}
	tc_trace(ctx, V_DROP, 0);
	return TC_ACT_SHOT;
}

static __always_inline int tc_failed(ctx_t *ctx, struct pkt *p)
{
	p->drop = DROP_REWRITE_FAILED;
	p->reply_type = 0;
	return tc_drop(ctx, p);
}

/* Into the container at once, not by the CPU's backlog, in which a veth's transmission ends. The peer does not look anew whose
 * the frame is; to the port it was another's. */
static __always_inline int tc_peer(ctx_t *ctx, __u32 ifindex)
{
	bpf_skb_change_type(ctx, 0 /* PACKET_HOST */);
	return bpf_redirect_peer(ifindex, 0);
}

/* What was noted in the skb to come in anew is nobody's business outside: not that of a switch behind a veth either. */
static __always_inline int tc_leave(ctx_t *ctx, const struct port *port)
{
	ctx->tc_index = 0;
	if (port->flags & PORT_F_PEER)
		return tc_peer(ctx, port->ifindex);
	return bpf_redirect(port->ifindex, 0);
}

/* Rewritten; `len`: bytes that leave. */
static __always_inline int tc_out(ctx_t *ctx, struct pkt *p, const struct port *port, __u32 len, bool to_host)
{
	if (to_host || port->mode == PORT_HOST)
		count_to_host(p);
	else
		count_forwarded(p);
	if (p->nexthop)
		nexthop_count(p);
	count_tx(p, p->out_port, len);
	tc_trace(ctx, to_host ? V_HOST : V_FORWARD, port->ifindex);
	return tc_leave(ctx, port);
}

/* The port that it leaves by; NULL: that is gone, and the packet is to be dropped. */
static __always_inline struct port *tc_port(struct pkt *p)
{
	struct port *port = port_get(p->out_port);

	if (port && port->ifindex)
		return port;
	p->drop = DROP_EGRESS_PORT_GONE;
	p->reply_type = 0;
	return NULL;
}

static __always_inline int tc_send(ctx_t *ctx, struct pkt *p, bool to_host)
{
	struct port *port = tc_port(p);

	if (!port)
		return tc_drop(ctx, p);
	if (!p->out_known)
		known_tag(ctx, p, port);
	if (rewrite(ctx, p, p->out_tag))
		return tc_failed(ctx, p);
	return tc_out(ctx, p, port, count_tx_bytes(p, p->out_tag), to_host);
}

/* What the host makes of the packet, its answers among it, belongs into the VRF that it came in by. */
static __always_inline void tc_mark(ctx_t *ctx, const struct pkt *p)
{
	__u32 mark = p->vrf ? vrf_mark(p->vrf) : 0;

	if (mark)
		ctx->mark = (ctx->mark & ~VRF_MARK_MASK) | mark;
}

/* To the host: by the host port of the VLAN, or up the stack of the netdev itself. */
__noinline_global int tc_host(struct __sk_buff *ctx, struct pkt *p)
{
	struct iface *i;

	if (!p)
		return TC_ACT_SHOT;
	i = iface_get(p->in_iface);
	p->todo &= ~(DO_L2 | DO_TTL);
	p->nexthop = 0;
	tc_mark(ctx, p);
	if (p->vlan && i) {
		p->out_vlan = p->vlan;
		p->out_port = i->port;
		return tc_send(ctx, p, true);
	}
	if (rewrite_headers(ctx, p))
		return tc_failed(ctx, p);
	count_to_host(p);
	ctx->tc_index = 0;
	tc_trace(ctx, V_HOST, 0);
	return TC_ACT_OK;
}

/* The kernel holds the packet, asks for the neighbour, and sends it on through the interface's netdev; of a VLAN it comes
 * back in by the host port, with its MACs set, and is switched. */
__noinline_global int tc_neigh(struct __sk_buff *ctx, struct pkt *p)
{
	struct bpf_redir_neigh to;
	struct iface *i;

	if (!p)
		return TC_ACT_SHOT;
	i = iface_get(p->out_iface);
	asked_note(ctx, p);
	ctx->tc_index = 0;
	__builtin_memset(&to, 0, sizeof(to));
	p->todo &= ~DO_L2;
	if (!i || rewrite_headers(ctx, p) || ctx_set_tag(ctx, p->macs, p->tagged, p->tpid, p->tci, 0))
		return tc_failed(ctx, p);
	to.nh_family = p->next_family == 4 ? 2 : 10; /* AF_INET, AF_INET6 */
	if (p->next_family == 4)
		to.ipv4_nh = p->next_addr.a32[3];
	else
		__builtin_memcpy(to.ipv6_nh, &p->next_addr, sizeof(to.ipv6_nh));
	count_forwarded(p);
	if (p->nexthop)
		nexthop_count(p);
	count_stat(STAT_NEIGHBOR_ASKED, 1);
	if (!i->vlan)
		count_tx(p, i->port, count_tx_bytes(p, false));
	tc_trace(ctx, V_NEIGH, i->host_ifindex);
	return bpf_redirect_neigh(i->host_ifindex, &to, sizeof(to), 0);
}

__noinline_global int tc_flood(struct __sk_buff *ctx, struct pkt *p)
{
	__u32 ifindex;

	if (!p)
		return TC_ACT_SHOT;
	if (rewrite_headers(ctx, p))
		return tc_failed(ctx, p);
	ctx->tc_index = 0;
	ifindex = flood(ctx, p);
	if (!ifindex)
		return tc_drop(ctx, p);
	count_forwarded(p);
	if (p->nexthop)
		nexthop_count(p);
	tc_trace(ctx, V_FLOOD, ifindex);
	return bpf_redirect(ifindex, 0);
}

_Static_assert(PORT_MAX <= FRAGMENT_CUT_DONE, "FRAGMENT_CUT_DONE");

/* To where the kernel finishes it: makes single datagrams of it, which are as the sender sent them. They bear the port that they
 * are to come in by, for the mark is somebody else's. What comes from there and could not be finished would go round for ever. */
static __always_inline int tc_take_apart(ctx_t *ctx, struct pkt *p)
{
	__u32 ifindex = READ_ONCE(control.cut_ifindex);

	if (!ifindex || ctx->tc_index == FRAGMENT_CUT_DONE) {
		p->drop = DROP_FRAGMENT_FAILED;
		return tc_drop(ctx, p);
	}
	ctx->tc_index = p->in_port;
	count_rx_back(p);
	tc_trace(ctx, V_FRAGMENT, ifindex);
	return bpf_redirect(ifindex, 0);
}

/* One of those datagrams. */
__noinline_global int tc_again(struct __sk_buff *ctx, struct pkt *p)
{
	struct port *port;

	if (!p)
		return TC_ACT_SHOT;
	port = port_get(ctx->tc_index);
	if (!ctx->tc_index || !port || !port->ifindex || port->mode == PORT_CUT || ctx_gso_size(ctx)) {
		p->drop = DROP_FRAGMENT_STRAY;
		return tc_drop(ctx, p);
	}
	ctx->tc_index = FRAGMENT_CUT_DONE;
	count_rx_back(p);
	return bpf_redirect(port->ifindex, BPF_F_INGRESS);
}

/* In again as fragments. */
__noinline_global int tc_fragment(struct __sk_buff *ctx, struct pkt *p)
{
	struct port *port;
	int r;

	if (!p)
		return TC_ACT_SHOT;
	port = port_get(p->in_port);
	r = port ? fragment(ctx, p, port->ifindex) : -1;
	if (r == FRAGMENT_ELSEWHERE)
		return tc_take_apart(ctx, p);
	if (r) {
		p->drop = DROP_FRAGMENT_FAILED;
		return tc_drop(ctx, p);
	}
	count_rx_back(p);
	count_stat(STAT_FRAGMENTED, 1);
	tc_trace(ctx, V_FRAGMENT, port->ifindex);
	return bpf_redirect(port->ifindex, BPF_F_INGRESS);
}

/* A fragment that comes before its datagram's first one, or the first one that others wait for. */
__noinline_global int tc_hold(struct __sk_buff *ctx, struct pkt *p, __u32 v)
{
	struct port *port;

	if (!p)
		return TC_ACT_SHOT;
	port = port_get(p->in_port);
	p->drop = DROP_NAT_FRAG_FAILED;
	if (port)
		p->drop = v == V_HOLD ? hold(ctx, p, port->ifindex) : hold_first(ctx, p, port->ifindex);
	if (p->drop)
		return tc_drop(ctx, p);
	count_rx_back(p);
	if (v == V_HOLD)
		count_stat(STAT_NAT_FRAG_HELD, 1);
	tc_trace(ctx, v, 0);
	return TC_ACT_SHOT;
}

static __always_inline int tc_fast_send(ctx_t *ctx, const struct fast_out *out)
{
	tc_trace(ctx, V_FORWARD, out->to->ifindex);
	return tc_leave(ctx, out->to);
}

/* See fast.h. verifier: two global functions, for the stack. */
__noinline_global int tc_fast4(struct __sk_buff *ctx)
{
	return fast_try4(ctx, tc_fast_send);
}

__noinline_global int tc_fast6(struct __sk_buff *ctx, __u32 at_plus_1)
{
	return fast_try6(ctx, at_plus_1, tc_fast_send);
}

static __always_inline int tc_fast(struct __sk_buff *ctx)
{
	int done = tc_fast4(ctx);

	if (cfg_ipv6 && done < 0 && FAST_ANSWER(done) == FAST_SIX)
		done = tc_fast6(ctx, FAST_AT_PLUS_1(done));
	return done;
}

static __always_inline int tc_end(ctx_t *ctx, struct pkt *p, enum verdict v)
{
	switch (v) {
	case V_FORWARD:
		return tc_send(ctx, p, false);
	case V_FLOOD:
		return tc_flood(ctx, p);
	case V_HOST:
		return tc_host(ctx, p);
	case V_NEIGH:
		return tc_neigh(ctx, p);
	case V_FRAGMENT:
		return tc_fragment(ctx, p);
	case V_HOLD:
	case V_RELEASE:
		return tc_hold(ctx, p, v);
	case V_AGAIN:
		return tc_again(ctx, p);
	case V_PASS:
		count_to_host(p);
		tc_trace(ctx, V_PASS, 0);
		return TC_ACT_UNSPEC;
	default:
		return tc_drop(ctx, p);
	}
}

SEC("tc")
int sluice_tc(struct __sk_buff *ctx)
{
	enum verdict v = V_NEXT;
	bool noted = false;
	struct pkt *p;
	__u32 way;
	int done;

	done = tc_fast(ctx);
	if (likely(done >= 0))
		return done;
	p = scratch_get(SCRATCH_PKT, struct pkt);
	if (!p)
		return TC_ACT_SHOT;
	way = p->nexthop;
	parse_reset(p, ctx);
	if (FAST_ANSWER(done) == FAST_NO_WAY && fast_ask_way(p, way, done)) {
		done = tc_fast(ctx);
		if (done >= 0)
			return done;
	}
	if (!fast_fill(p, done) || (p->out_known && FAST_ANSWER(done) != FAST_SPOILT)) {
		v = parse(ctx, p);
		v = pipeline_ingress(ctx, p, port_in(p, ctx_ifindex(ctx)), v, &noted);
		if (noted) {
			done = tc_fast(ctx);
			if (done >= 0)
				return done;
			fast_fill(p, done);
		}
	}
	count_rx(p);
	if (FAST_ANSWER(done) == FAST_SPOILT)
		return tc_failed(ctx, p);
	return tc_end(ctx, p, v == V_NEXT ? pipeline(ctx, p, FAST_ANSWER(done)) : v);
}

char LICENSE[] SEC("license") = "GPL";
