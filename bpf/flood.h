/* flood.h: a frame to every port of its VLAN but its own (tc only: XDP leaves it to tc).
 *
 * The members are sorted by the tag they wear, so that the tag is changed at most twice. The frame itself goes to the last
 * member and clones to the others: nothing is copied for nothing, and a flooded frame is no drop to the kernel's drop monitor.
 */
#ifndef SLUICE_FLOOD_H
#define SLUICE_FLOOD_H

#include "pkt.h"
#include "counter.h"
#include "egress.h"

struct flood {
	ctx_t *ctx;
	struct pkt *p;
	__u32 prev_ifindex; /* found, and not yet sent to; 0: none */
	__u16 prev_port;
	__u16 skip;  /* port the frame came from, or 0: a routed frame may go back */
	__be16 tpid; /* tag on the frame now; 0: none of ours */
	__u16 failed;
};

static __always_inline int flood_tag(struct flood *f, __be16 tpid)
{
	__u16 tci = f->p->out_vlan | (f->p->tagged ? f->p->tci & VLAN_PRIO : 0);

	if (f->tpid == tpid)
		return 0;
	if (f->tpid && bpf_skb_vlan_pop(f->ctx) < 0)
		return -1;
	f->tpid = 0;
	if (tpid && bpf_skb_vlan_push(f->ctx, tpid, tci) < 0)
		return -1;
	f->tpid = tpid;
	return 0;
}

/* One member; 1 ends the loop. */
static long flood_member(__u32 n, void *arg)
{
	struct flood *f = arg;
	struct vlan_members *m;
	struct port *port;
	__u32 vlan = f->p->out_vlan, id;
	__be16 tpid;

	m = bpf_map_lookup_elem(&vlan_members, &vlan);
	if (!m || n >= m->n || n >= PORT_MAX)
		return 1;
	id = m->port[n];
	port = port_get(id);
	/* Membership is asked of the port as well: while a port changes its VLAN, the list of members is behind. */
	if (id == f->skip || egress_refuses(f->p, port) || !port)
		return 0;
	if (f->prev_ifindex) {
		bpf_clone_redirect(f->ctx, f->prev_ifindex, 0);
		count_tx(f->p, f->prev_port, count_tx_bytes(f->p, f->tpid));
	}
	tpid = n < m->n_untagged ? 0 : n < m->n_8021q ? bpf_htons(ETH_P_8021Q) : bpf_htons(ETH_P_8021AD);
	if (flood_tag(f, tpid)) {
		f->failed = 1;
		return 1;
	}
	f->prev_ifindex = port->ifindex;
	f->prev_port = id;
	return 0;
}

/* The frame is rewritten already. Returns the ifindex that the frame itself goes to, or 0: nowhere, p->drop says why. */
static __always_inline __u32 flood(ctx_t *ctx, struct pkt *p)
{
	struct flood f = {
		.ctx = ctx,
		.p = p,
		.skip = p->todo & DO_L2 ? 0 : p->in_port,
		.tpid = p->tagged ? p->tpid : 0,
		.prev_ifindex = pkt_zero(p),
	};

	/* A priority tag names no VLAN, and a routed frame's tag names the one it came from: off with either. */
	if (p->tagged && (p->tci & VLAN_VID) != p->out_vlan) {
		if (bpf_skb_vlan_pop(ctx) < 0) {
			p->drop = DROP_REWRITE_FAILED;
			return 0;
		}
		f.tpid = 0;
	}
	count_stat(STAT_FLOODED, 1);
	bpf_loop(PORT_MAX, flood_member, &f, 0);
	p->drop = f.failed ? DROP_REWRITE_FAILED : DROP_EGRESS_NO_MEMBER;
	if (f.failed || !f.prev_ifindex)
		return 0;
	count_tx(p, f.prev_port, count_tx_bytes(p, f.tpid));
	return f.prev_ifindex;
}

#endif
