/* nat_share.h: another source, for a flow whose answers could not be told from those of another one at the source it was given.
 *
 * Stands between nat_map.h and nat.h, which have given it that, flow.h, which refuses the pair if such a flow is there, and
 * half.h, which knows how to ask for an entry from deep within. Here sources are tried until one is found with which the pair
 * would be the only one:
 *
 * - ports of a pool that has none left, where the rule lets flows share them;
 * - of a protocol without ports, the pool's addresses;
 * - of who has come to one port of an inside host by two addresses or ports outside, and from one port himself, his other ports,
 *   as the kernel's NAT does. The port belongs to nobody here, and needs no place in a bitmap.
 */
#ifndef SLUICE_NAT_SHARE_H
#define SLUICE_NAT_SHARE_H

#include "pkt.h"
#include "flow_entry.h"
#include "half.h"
#include "iface.h"
#include "nat_map.h"
#include "pool.h"

/* Sources of a pool that are looked at for one packet: all of them, where the pool's addresses have no more together. Of more it
 * is a sample: where one of a thousand ports is free for the remote end, it is found seven times of eight. */
#define NAT_SHARE_TRIES 2048

struct nat_share {
	struct tuple reply;    /* as the answers would come in */
	struct pool_search in; /* the members, and the port that belongs to the source */
	__u32 each;	       /* ports that are looked at of a member */
	__u32 range;
	__u32 stride;
	__u16 vrf;
	__u8 family;
	__u8 proto;
	__u32 but; /* POOL_ADDR_F_*: addresses that have it are left out */
};

/* One port. Returns 1 to end the loop. */
static long nat_share_step(__u64 n, void *arg)
{
	struct nat_share *s = arg;
	__u32 flags;

	if (!pool_member(&s->in, (__u32)n / s->each, &s->in.pool_addr) ||
	    !pool_addr_read(s->in.pool_addr, &s->reply.daddr, &flags))
		return 1;
	s->reply.dport = bpf_htons(s->in.min + (s->in.random + (__u32)n % s->each * s->stride) % s->range);
	if (flags & s->but)
		return 0;
	return s->in.found = !half_find(&s->reply, s->family, s->proto, s->vrf);
}

/* A member that is a piece of a run stands for many addresses: so many at least are looked at. */
#define NAT_SHARE_ADDRS 16

/* The ports of an address one after the other, where all of them are looked at; else at random distances, since those in use
 * stand side by side. */
static __always_inline void nat_share_walk(struct nat_share *s)
{
	s->each = NAT_SHARE_TRIES / (s->in.runs && s->in.count < NAT_SHARE_ADDRS ? NAT_SHARE_ADDRS : s->in.count);
	s->stride = 1;
	if (s->each >= s->range)
		s->each = s->range;
	else
		s->stride = (bpf_get_prandom_u32() & 0xffff) | 1;
	if (!s->each)
		s->each = 1;
}

/* Where the answers would come in. */
static __always_inline void nat_share_begin(struct nat_share *s, const struct pkt *p)
{
	struct iface *i = iface_get(p->out_iface);

	flow_swap(&p->to, &s->reply);
	s->vrf = i ? i->vrf : p->vrf;
	s->family = p->family;
	s->proto = p->l4_proto;
	s->in.random = bpf_get_prandom_u32() & 0xffffff;
	s->in.found = s->in.pool_addr = pkt_zero(p);
}

/* Another address and port of its pool for a packet that shares one, and may not have the one it has; of a protocol without
 * ports, another address. `but_own`: none of the gateway's. 0: all that were looked at are in use towards this remote end.
 * Another CPU may take it before the pair is installed, which then refuses. verifier: global; the loop wants its context on the
 * stack. */
__noinline_global int nat_share(struct pkt *p, __u32 but_own)
{
	struct nat_share s;
	struct pool *pool;
	__u32 id, max;

	if (!p)
		return 0;
	id = p->nat_pool;
	pool = bpf_map_lookup_elem(&pools, &id);
	if (!pool)
		return 0;
	s.but = but_own ? POOL_ADDR_F_OWN : 0;
	s.in.min = pool->port_min;
	max = pool->port_max;
	if (pool_class(p->l4_proto) == POOL_CLASSES)
		s.in.min = max = bpf_ntohs(p->t.sport);
	s.range = max - s.in.min + 1;
	s.in.runs = pool->flags & POOL_F_RUNS;
	s.in.count = pool_family(pool, p->family, &s.in.first);
	if (!s.in.count || max < s.in.min)
		return 0;
	pool_search_pair(&s.in, &p->t.saddr, control.hash_seed);
	nat_share_begin(&s, p);
	nat_share_walk(&s);
	bpf_loop(s.in.runs ? NAT_SHARE_TRIES : s.each * s.in.count, nat_share_step, &s, 0);
	return s.in.found && nat_use(p, s.in.pool_addr, s.reply.dport) == V_NEXT;
}

/* ---- who is outside */

#define NAT_SHARE_REMOTE_TRIES 64

/* One port of the sender's own. Returns 1 to end the loop. */
static long nat_share_remote_step(__u64 n, void *arg)
{
	struct nat_share *s = arg;

	s->reply.dport = bpf_htons(s->in.min + (s->in.random + (__u32)n) % s->range);
	return s->in.found = !half_find(&s->reply, s->family, s->proto, s->vrf);
}

/* Another port for a sender that no pool translates; one below 1024 stays there. 0: none was found. As nat_share(). */
__noinline_global int nat_share_remote(struct pkt *p)
{
	struct nat_share s;

	if (!p)
		return 0;
	s.in.min = bpf_ntohs(p->t.sport) < POOL_WELL_KNOWN && pool_class(p->l4_proto) != POOL_ICMP ? 1 : POOL_WELL_KNOWN;
	s.range = (s.in.min == 1 ? POOL_WELL_KNOWN : 65536) - s.in.min;
	nat_share_begin(&s, p);
	bpf_loop(NAT_SHARE_REMOTE_TRIES, nat_share_remote_step, &s, 0);
	if (!s.in.found)
		return 0;
	p->to.sport = s.reply.dport;
	nat_deltas(p);
	return 1;
}

#endif
