/* own.h: the gateway's own sockets on an address that it shares with those it masquerades: no flow takes their answers.
 *
 * Stands between nat.h, which has found a port for a new flow, and the kernel's tables of sockets. sluiced keeps such ports out
 * of the pools, but learns of a socket only after a while (nat_own.c); here a flow is never made whose answers a socket waits
 * for: one that listens or is bound to the port, or is connected to the same remote end. Costs one look-up, for the first
 * packet of a flow that leaves with an interface's own address.
 */
#ifndef SLUICE_OWN_H
#define SLUICE_OWN_H

#include "pkt.h"
#include "nat.h"

/* Would an answer to the packet, as it is to leave, find a socket here? */
static __always_inline bool own_socket(ctx_t *ctx, const struct pkt *p)
{
	struct bpf_sock_tuple t;
	struct bpf_sock *sk;
	__u32 size;

	__builtin_memset(&t, 0, sizeof(t));
	if (p->family == 4) {
		size = sizeof(t.ipv4);
		t.ipv4.saddr = p->to.daddr.a32[3];
		t.ipv4.daddr = p->to.saddr.a32[3];
		t.ipv4.sport = p->to.dport;
		t.ipv4.dport = p->to.sport;
	} else {
		size = sizeof(t.ipv6);
		__builtin_memcpy(t.ipv6.saddr, &p->to.daddr, sizeof(t.ipv6.saddr));
		__builtin_memcpy(t.ipv6.daddr, &p->to.saddr, sizeof(t.ipv6.daddr));
		t.ipv6.sport = p->to.dport;
		t.ipv6.dport = p->to.sport;
	}
	if (p->l4_proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(ctx, &t, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* After nat_snat() has found an own address and port: are they a socket's? Then they are given up again; the port stays taken,
 * and sluiced sees to whom it belongs. */
__noinline_global int own_taken(ctx_t *ctx, struct pkt *p)
{
	if (!p || (p->l4_proto != IPPROTO_TCP && p->l4_proto != IPPROTO_UDP) || !own_socket(ctx, p))
		return 0;
	nat_unmap(p);
	return 1;
}

#endif
