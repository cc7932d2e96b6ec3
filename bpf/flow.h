/* flow.h: what was decided about a connection, one entry for each direction.
 *
 * Stands between the pipeline and the tables it spares later packets: an entry has the rewritten tuple with its checksum
 * deltas (which stay for the life of the flow), and the way out (the forwarding half, which is decided again under each epoch).
 * sluiced ages the entries and ends them, and half.h those that nobody has answered; always as a pair.
 *
 * Races. Entries are looked up without a lock, and what is found stays that flow's for longer than a packet takes, see
 * flowtab.h: a packet of a flow that sluiced ends in that instant still leaves as it would have. Of the forwarding half, which
 * changes under its readers, see flow_decide().
 */
#ifndef SLUICE_FLOW_H
#define SLUICE_FLOW_H

#include "pkt.h"
#include "counter.h"
#include "csum.h"
#include "flow_entry.h"
#include "frag.h"
#include "half.h"
#include "iface.h"
#include "nat.h"
#include "nat_event.h"
#include "port.h"
#include "scratch.h"

/* ---- a packet of a known flow */

/* Of a RST nothing else counts: whoever gets it looks for that before a SYN or a FIN (RFC 9293 3.10.7). */
static __always_inline __u8 flow_seen(const struct pkt *p)
{
	__u8 flags = p->tcp_flags, seen = FLOW_SEEN_ANY;

	if (p->l4_proto != IPPROTO_TCP || (p->flags & PKT_F_LATER_FRAGMENT))
		return seen;
	if (flags & NAT_TCP_RST)
		return seen | FLOW_SEEN_RST;
	if ((flags & (NAT_TCP_SYN | NAT_TCP_ACK)) == NAT_TCP_SYN)
		seen |= FLOW_SEEN_SYN;
	else if (flags & NAT_TCP_SYN)
		seen |= FLOW_SEEN_SYNACK;
	else if (flags & NAT_TCP_ACK)
		seen |= FLOW_SEEN_ACK;
	if (flags & NAT_TCP_FIN)
		seen |= FLOW_SEEN_FIN;
	return seen;
}

/* What a RST's sequence number may be away from what the other side has acknowledged: ahead of it, what is under way and not
 * acknowledged yet (a sender gives up in the midst of it); behind, acknowledgements that have passed since the one that the RST
 * answers. Only whoever has seen the connection knows where that is (RFC 5961 3); the others hit it once in 3855 times. */
#define FLOW_RST_AHEAD	(1u << 20)
#define FLOW_RST_BEHIND (1u << 16)
/* What was under way when a RST passed, and is no sign that the connection lives on. */
#define FLOW_STRAGGLER_NS 2000000000ull

/* The entry of the other direction; NULL: it has ended. */
static __always_inline struct flow *flow_peer(const struct pkt *p, const struct flow *f)
{
	struct tuple to, back;

	flow_tuple_get(f, p->family, &to);
	flow_swap(&to, &back);
	return flow_get(p->family, &back, p->l4_proto, f->peer_vrf);
}

/* A RST ends a connection when it comes from where the connection is. The bits of the ACKs go with it on both sides, so that the
 * next ones are news, see flow_lives(). False: it is somebody's who guesses; the endpoints will tell. */
static __always_inline bool flow_reset(const struct pkt *p, struct flow *f, struct flow *peer)
{
	__u32 ahead;

	if (peer && READ_ONCE(peer->ack) && READ_ONCE(peer->seen) & (FLOW_SEEN_ACK | FLOW_SEEN_SYNACK) &&
	    READ_ONCE(f->seen) & (FLOW_SEEN_ACK | FLOW_SEEN_SYNACK)) {
		ahead = bpf_ntohl(p->tcp_seq) - bpf_ntohl(READ_ONCE(peer->ack));
		if (ahead + FLOW_RST_BEHIND > FLOW_RST_AHEAD + FLOW_RST_BEHIND) {
			count_stat(STAT_FLOW_RST_IGNORED, p->segs);
			return false;
		}
	}
	WRITE_ONCE(f->seen, (READ_ONCE(f->seen) & ~FLOW_SEEN_ACK) | FLOW_SEEN_RST | FLOW_SEEN_ANY);
	if (peer)
		WRITE_ONCE(peer->seen, READ_ONCE(peer->seen) & ~FLOW_SEEN_ACK);
	return true;
}

/* An ACK although a RST has passed: the connection goes on (RFC 7857 2.2, RFC 6146 3.5.2.2), unless it was under way then. */
static __always_inline void flow_lives(struct pkt *p, struct flow *f, struct flow *peer, __u8 seen)
{
	if (peer && READ_ONCE(peer->seen) & FLOW_SEEN_RST) {
		if ((__u32)(pkt_now(p) >> FLOW_USED_SHIFT) - READ_ONCE(peer->used) < FLOW_STRAGGLER_NS >> FLOW_USED_SHIFT)
			return;
		WRITE_ONCE(peer->seen, (READ_ONCE(peer->seen) & ~FLOW_SEEN_RST) | FLOW_SEEN_ACK);
	}
	WRITE_ONCE(f->seen, (READ_ONCE(f->seen) & ~FLOW_SEEN_RST) | seen);
}

/* A packet shows what this direction has not shown before, or what is rare: SYN, RST. A SYN that meets a closed connection opens
 * it anew (RFC 6191 2). False: it does not count as a sign of life. */
__noinline_global int flow_news(struct pkt *p, struct flow *f)
{
	__u8 seen, old;
	struct flow *peer, *reply, *forward;

	if (!p || !f)
		return true;
	seen = flow_seen(p);
	old = READ_ONCE(f->seen);
	if (p->l4_proto != IPPROTO_TCP || seen & (FLOW_SEEN_SYN | FLOW_SEEN_SYNACK)) {
		WRITE_ONCE(f->seen, old & (FLOW_SEEN_FIN | FLOW_SEEN_RST) ? seen : old | seen);
		/* The RST that answers it has the sequence number 0 (RFC 9293 3.10.7.1). */
		if (seen & FLOW_SEEN_SYN)
			WRITE_ONCE(f->ack, 0);
		if (p->l4_proto != IPPROTO_TCP && f->flags & FLOW_F_REPLY)
			half_done(f);
		return true;
	}
	peer = flow_peer(p, f);
	if (seen & FLOW_SEEN_RST)
		return flow_reset(p, f, peer);
	flow_lives(p, f, peer, seen);
	if (!peer)
		return true;
	reply = f->flags & FLOW_F_REPLY ? f : peer;
	forward = f->flags & FLOW_F_REPLY ? peer : f;
	if (reply->half && !half_is(IPPROTO_TCP, READ_ONCE(forward->seen), READ_ONCE(reply->seen)))
		half_done(reply);
	return true;
}

/* Remembers where the connection is, for flow_reset(). */
static __always_inline void flow_note_ack(const struct pkt *p, struct flow *f, __u8 seen)
{
	if (seen & (FLOW_SEEN_ACK | FLOW_SEEN_SYNACK))
		WRITE_ONCE(f->ack, p->tcp_ack);
}

/* Without asking whether it is news: that would be a branch nobody can predict, on a line that is written anyway. */
static __always_inline void flow_use(struct pkt *p, struct flow *f)
{
	WRITE_ONCE(f->used, pkt_now(p) >> FLOW_USED_SHIFT);
}

/* What `recent` has no room for, or another CPU has counted, goes to the counters themselves. */
static __always_inline void flow_count_on(struct flow *f, __u64 packets, __u64 bytes, __u32 recent, __u32 cpu)
{
	if (__sync_val_compare_and_swap(&f->recent, recent, cpu) == recent) {
		packets += recent >> FLOW_RECENT_PACKETS & FLOW_RECENT_SEGS;
		bytes += recent >> FLOW_RECENT_BYTES;
	}
	__sync_fetch_and_add(&f->packets, packets);
	__sync_fetch_and_add(&f->bytes, bytes);
}

/* In the entry's first line, and without a lock while one CPU has the flow to itself, which is the rule: a locked addition costs
 * as much as all else in the entry, and another line may have to come from memory. When the flow changes hands in the very
 * moment, what `recent` holds may be counted twice, or a packet not at all. Of CPUs 256 apart each takes the other for itself. */
static __always_inline void flow_count(struct flow *f, __u32 packets, __u32 bytes)
{
	__u32 recent, cpu;
	__u64 sum;

	if (!cfg_account)
		return;
	recent = READ_ONCE(f->recent);
	cpu = bpf_get_smp_processor_id() & FLOW_RECENT_CPU;
	sum = recent + ((__u64)bytes << FLOW_RECENT_BYTES) + ((__u64)packets << FLOW_RECENT_PACKETS);
	/* One comparison says that nothing ran over and that the CPU is the same. XDP knows no packets of several segments. */
	if (likely(!((sum ^ cpu) & ~(__u64)FLOW_RECENT_COUNTS) && (HOOK_XDP || packets <= FLOW_RECENT_SEGS)))
		WRITE_ONCE(f->recent, sum);
	else
		flow_count_on(f, packets, bytes, recent, cpu);
}

/* Notes the packet. `seen` is not locked: two CPUs with packets of one direction may lose a bit, at worst that of a FIN, and
 * then the pair waits for the longer timeout. */
static __always_inline void flow_touch(struct pkt *p, struct flow *f)
{
	__u8 seen = flow_seen(p);

	if (unlikely(seen & ~(READ_ONCE(f->seen) & (FLOW_SEEN_ACK | FLOW_SEEN_FIN | FLOW_SEEN_ANY))) && !flow_news(p, f))
		return;
	if (!(seen & FLOW_SEEN_RST))
		flow_note_ack(p, f, seen);
	flow_use(p, f);
	flow_count(f, count_packets(p), p->len);
}

/* Nexthop and MACs. The source's is the interface's own: a packet in the very moment in which that is reconfigured may leave with
 * the new one, or, where it is taken away, with none. */
static __always_inline void flow_next(struct pkt *p, const struct flow *f)
{
	__u64 word = READ_ONCE(*(const __u64 *)f->dmac); /* with the nexthop */
	struct iface *i = iface_get(f->out_iface);

	p->nexthop = word >> 48;
	macs_set(p->new_macs, word, i ? mac_word(i->mac) : 0);
}

/* By the way out that the entry knows, if it was decided under this epoch. The epoch is read before and after, and
 * flow_decide() takes it away while it writes: a half-written way out is never used. */
static __always_inline __verdict enum verdict flow_forward(struct pkt *p, const struct flow *f)
{
	__u32 epoch = READ_ONCE(f->epoch), mtu;
	enum verdict v;

	if (!epoch || epoch != p->epoch)
		goto stale;
	p->out_port = f->out_port;
	p->out_vlan = f->out_vlan;
	p->out_iface = f->out_iface;
	flow_next(p, f);
	mtu = f->mtu;
	asm volatile("" ::: "memory");
	if (READ_ONCE(f->epoch) != epoch)
		goto stale;
	p->out_mtu = mtu;
	v = pkt_may_leave(p, mtu);
	if (v != V_NEXT)
		return v;
	p->todo |= DO_L2 | DO_TTL;
	if (port_finishes(p, V_FORWARD))
		count_stat(STAT_FLOW_HIT, p->segs);
	return V_FORWARD;
stale:
	p->nexthop = f->nexthop; /* for ecmp_choose() */
	if (f->flags & FLOW_F_VRF)
		p->route_vrf = f->peer_vrf;
	p->flow_stale = 1;
	return V_NEXT;
}

/* An ICMP error belongs to the flow whose direction it travels: the reverse of the packet it quotes (RFC 5508 4, RFC 4787
 * REQ-12, RFC 5382 REQ-9). The quote becomes what its sender had sent. The error's own source is hidden behind the translated
 * address where that flow's source is translated, be it the host's or a router's on the way (RFC 5508 REQ-5 c); a router outside
 * keeps its address. No flow: routing goes on, and nat_snat() sees to it that no inside address leaks. */
static __always_inline __verdict enum verdict flow_lookup_error(struct pkt *p)
{
	struct tuple reversed, to;
	struct flow *f;

	if (!(p->flags & PKT_F_INNER))
		return V_NEXT;
	flow_swap(&p->inner, &reversed);
	f = flow_get(p->family, &reversed, p->inner_proto, p->vrf);
	if (!f)
		return V_NEXT;
	p->flow_flags = f->flags;
	p->nat_rule = f->rule;
	flow_tuple_get(f, p->family, &to);
	if (f->flags & (FLOW_F_SNAT | FLOW_F_DNAT)) {
		flow_swap(&to, &p->inner_to);
		p->to.daddr = to.daddr;
		if (f->flags & FLOW_F_SNAT)
			p->to.saddr = to.saddr;
		p->todo |= DO_NAT_ICMP;
	}
	return flow_forward(p, f);
}

/* The entry of this packet's direction. V_NEXT with flow_stale: translated, and the way out is to be decided again. */
__noinline_global enum verdict flow_lookup(struct pkt *p)
{
	enum verdict v;
	struct flow *f;

	if (!p)
		return V_NEXT;
	p->out_mtu = 0;
	if (unlikely(p->flags & PKT_F_ICMP_ERROR))
		return flow_lookup_error(p);
	if (unlikely(p->flags & PKT_F_FRAGMENT)) {
		v = frag_arrive(p);
		if (v != V_NEXT)
			return v;
	}
	f = flow_get(p->family, &p->t, p->l4_proto, p->vrf);
	if (!f)
		return V_NEXT;
	p->flow_flags = f->flags;
	p->nat_rule = f->rule;
	if (f->flags & (FLOW_F_SNAT | FLOW_F_DNAT)) {
		flow_tuple_get(f, p->family, &p->to);
		p->l3_delta = f->l3_delta;
		p->l4_delta = f->l4_delta;
		p->todo |= DO_NAT;
	}
	v = flow_forward(p, f);
	if (v == V_FORWARD && port_finishes(p, v))
		flow_touch(p, f);
	return v;
}

/* ---- a way out that has changed */

/* Is the flow masqueraded to another interface's address than that of its way out now? A hairpin's source is the address of where
 * the packet would have left. `f`: of the packet. */
static __always_inline bool flow_is_moved(const struct pkt *p, const struct flow *f)
{
	struct iface *i = iface_get(p->out_iface);
	__u32 id = f->pool;
	struct pool *pool;

	if ((f->flags & (FLOW_F_SNAT | FLOW_F_DNAT | FLOW_F_REPLY)) != FLOW_F_SNAT || !i || i->masq_pool == id)
		return false;
	pool = bpf_map_lookup_elem(&pools, &id);
	return pool && pool->flags & POOL_F_MASQ;
}

/* The way out of a known flow was decided anew. Where it is masqueraded by the former one's address, no answer would come, and
 * whoever is behind the new one may well drop what has it (BCP 38): the pair ends, and this packet begins one with the new
 * address, as with the kernel's masquerade. Who has an address of a pool keeps it, as does who would have none by the rules of
 * the new way: a connection that was translated never shows its inside address. True: the packet has no flow any more.
 *
 * Races: another CPU may have been first, and its pair be the one that ends here; then the next packet makes it anew, with the
 * same port. */
__noinline_global int flow_moved(struct pkt *p)
{
	struct half_work *w = scratch_get(SCRATCH_HALF, struct half_work);
	struct nat_asked a = {};
	struct flow *f;

	if (!p || !w || p->flags & PKT_F_ICMP_ERROR)
		return false;
	f = flow_get(p->family, &p->t, p->l4_proto, p->vrf);
	if (!f || !flow_is_moved(p, f) || !nat_translates(nat_rule_of_source(&a, p, &p->t.daddr, p->out_iface)))
		return false;
	w->t = p->t;
	w->mapping.proto = p->l4_proto;
	w->told = HALF_TOLD;
	half_end_entries(p->family == 4 ? 4 : 6, w, f, p->vrf);
	count_stat(STAT_FLOW_MOVED, 1);
	p->to = p->t;
	p->todo &= ~DO_NAT;
	p->flow_flags = p->flow_stale = 0;
	p->nat_rule = p->nat_pool = 0;
	p->l3_delta = p->l4_delta = 0;
	p->ahead = p->map_pool = 0;
	nat_begin(p);
	return true;
}

/* ---- writing down what was decided */

static __always_inline void flow_way_out(struct flow *f, const struct pkt *p)
{
	struct iface *i = iface_get(p->out_iface);
	__u32 mtu = i ? i->mtu : 0;

	f->out_port = p->out_port;
	f->out_vlan = p->out_vlan;
	f->out_iface = p->out_iface;
	f->nexthop = p->nexthop;
	mac_copy(f->dmac, p->new_dmac);
	if (p->out_mtu && p->out_mtu < mtu)
		mtu = p->out_mtu;
	f->mtu = mtu < 0xffff ? mtu : 0xffff;
}

/* The forwarding half of an entry that is in the table. One CPU writes at a time; another that comes meanwhile leaves its
 * packet's decision unwritten. The epoch is the one from before the tables were asked, so a change that came in between makes
 * the entry stale again. */
static __always_inline void flow_decide(struct flow *f, const struct pkt *p)
{
	__u32 old = READ_ONCE(f->epoch);

	if (old == FLOW_EPOCH_BUSY || __sync_val_compare_and_swap(&f->epoch, old, FLOW_EPOCH_BUSY) != old)
		return;
	flow_way_out(f, p);
	f->flags |= FLOW_F_ROUTED;
	/* A full barrier: the way out is there before its epoch is. */
	__sync_lock_test_and_set(&f->epoch, p->epoch);
	count_stat(STAT_FLOW_STALE, 1);
}

/* The entry of the answers: keyed by the rewritten tuple swapped, it leads back to the original one. Its way out is decided by
 * its first packet. */
static __always_inline void flow_fill_reply(struct flow *f, const struct pkt *p)
{
	flow_clear(f);
	flow_tuple_put(f, p->family, &p->t.daddr, &p->t.saddr, p->t.dport, p->t.sport);
	f->flags = FLOW_F_REPLY | (p->flow_flags & (FLOW_F_TRACK | FLOW_F_KEEP));
	if (p->reply_vrf != p->vrf)
		f->flags |= FLOW_F_VRF;
	if (p->flow_flags & FLOW_F_DNAT)
		f->flags |= FLOW_F_SNAT;
	if (p->flow_flags & FLOW_F_SNAT)
		f->flags |= FLOW_F_DNAT;
	f->l3_delta = ~p->l3_delta;
	f->l4_delta = ~p->l4_delta;
	f->rule = p->nat_rule;
	f->in_iface = p->out_iface;
	f->peer_vrf = p->vrf;
	f->created_ns = p->now_ns;
	f->used = p->now_ns >> FLOW_USED_SHIFT;
}

static __always_inline void flow_fill_forward(struct flow *f, const struct pkt *p, enum verdict v)
{
	flow_clear(f);
	flow_tuple_put(f, p->family, &p->to.saddr, &p->to.daddr, p->to.sport, p->to.dport);
	f->flags = p->flow_flags & (FLOW_F_SNAT | FLOW_F_DNAT | FLOW_F_TRACK | FLOW_F_VRF | FLOW_F_KEEP);
	f->dest_addr = p->dest_addr;
	f->seen = flow_seen(p);
	f->ack = p->l4_proto == IPPROTO_TCP ? p->tcp_ack : 0;
	f->l3_delta = p->l3_delta;
	f->l4_delta = p->l4_delta;
	f->rule = p->nat_rule;
	f->source_rule = p->nat_source;
	f->pool = p->nat_pool;
	f->pool_addr = p->pool_addr;
	f->in_iface = p->in_iface;
	f->peer_vrf = p->reply_vrf;
	f->created_ns = p->now_ns;
	f->used = p->now_ns >> FLOW_USED_SHIFT;
	if (cfg_account && (p->flags & PKT_F_WAY || port_finishes(p, v))) {
		f->packets = p->segs;
		f->bytes = p->len;
	}
	if (v == V_FORWARD) {
		flow_way_out(f, p);
		f->flags |= FLOW_F_ROUTED;
		f->epoch = p->epoch;
	}
}

/* The pair is there. `reply`: index of its reply entry + 1, or PKT_FLOW_ELSE. */
static __always_inline enum verdict flow_made(struct pkt *p, __u32 reply, enum verdict v)
{
	count_stat(STAT_FLOW_NEW, 1);
	p->flow_new = reply;
	if (cfg_nat_log && !(p->flow_flags & FLOW_F_TRACK) && nat_event(p, NAT_EVENT_SESSION_CREATE))
		p->flow_new |= HALF_TOLD;
	return v;
}

/* Of two inside hosts that send to each other the one that comes first; both CPUs agree about that. */
static __always_inline bool flow_comes_first(const struct pkt *p)
{
	const __u64 *a = p->t.saddr.a64, *b = p->to.daddr.a64;

	if (a[0] != b[0])
		return a[0] < b[0];
	if (a[1] != b[1])
		return a[1] < b[1];
	return p->t.sport <= p->to.dport;
}

/* A reply entry becomes `f`, a forward one that leaves as the same. */
static __always_inline void flow_turn(struct flow *reply, const struct flow *f)
{
	reply->dest_addr = f->dest_addr;
	reply->rule = f->rule;
	reply->source_rule = f->source_rule;
	reply->pool = f->pool;
	reply->pool_addr = f->pool_addr;
	reply->in_iface = f->in_iface;
	reply->created_ns = f->created_ns;
	reply->ack = f->ack;
	WRITE_ONCE(reply->seen, READ_ONCE(reply->seen) | f->seen);
	__sync_fetch_and_add(&reply->packets, f->packets);
	__sync_fetch_and_add(&reply->bytes, f->bytes);
	WRITE_ONCE(reply->flags, (f->flags & ~FLOW_F_ROUTED) | (reply->flags & FLOW_F_ROUTED));
}

/* The forward entry could not be put in: another CPU was first with the same connection, whose translation then is the
 * valid one; or the table is full. `own`: the reply entry's index + 1, if it was made for this packet. `f`: memory for an entry.
 *
 * Or two inside hosts reach each other by their outside addresses in the same instant (hairpinning): the reply entry of either
 * stands where the other's forward entry was to go, and both CPUs come here. One connection, whose forward entry is that of the
 * host that comes first: who has it turns what the other CPU made, and leaves its own as the reply. */
static __always_inline enum verdict flow_lost(struct pkt *p, struct flow *f, const struct tuple *reply, __u32 own, enum verdict v)
{
	struct flow *won = flow_get(p->family, &p->t, p->l4_proto, p->vrf);

	if (won && flow_leaves_as(won, p->family, &p->to.saddr, &p->to.daddr, p->to.sport, p->to.dport)) {
		if (!own || !(won->flags & FLOW_F_REPLY) || !flow_comes_first(p))
			return v;
		flow_fill_forward(f, p, v);
		flow_turn(won, f);
		return flow_made(p, own, v);
	}
	if (own)
		flow_delete(p->family, reply, p->l4_proto, p->reply_vrf, false);
	if (!won) {
		count_stat(STAT_FLOW_FULL, 1);
		return pkt_drop(p, DROP_FLOW_FULL);
	}
	flow_tuple_get(won, p->family, &p->to);
	nat_deltas(p);
	return v;
}

/* Where both entries are to stand, as far as nobody has found out yet. */
static __always_inline void flow_places(struct pkt *p)
{
	struct iface *i;

	pkt_now(p);
	if (!(p->flow_flags & FLOW_F_SNAT) || !p->nat_pool) {
		i = iface_get(p->out_iface);
		flow_ahead(p, &p->to.saddr, p->to.sport, i ? i->vrf : p->vrf);
	}
	if (!(p->flags & PKT_F_NO_FLOW))
		flow_place(p);
}

/* Entry `i` has been given to the packet's connection. */
static __always_inline void flow_note_far(struct pkt *p, const struct bucket_place *at, __u32 i)
{
	p->far_last = p->far_last << 1 | !bucket_has(at->near, i);
}

/* Index of the entry + 1, or an error of flowtab_open(). `copy`: memory for an entry. */
static __always_inline long flow_make_reply(struct pkt *p, const struct tuple *reply, struct flow *copy)
{
	long i = flow_open(p->family, reply, p->l4_proto, p->reply_vrf, &p->reply_at, p->now_ns), err;
	struct flow *f = i > 0 ? flow_at(p->family, i - 1) : NULL;

	if (!f)
		return i < 0 ? i : -E2BIG;
	flow_fill_reply(f, p);
	flow_close(p->family, &p->reply_at, i - 1, f);
	flow_note_far(p, &p->reply_at, i - 1);
	err = cfg_resize ? flow_copy_next(p->family, reply, p->l4_proto, p->reply_vrf, i - 1, copy) : 0;
	return err ? err : i;
}

static __always_inline long flow_make_forward(struct pkt *p, enum verdict v, struct flow *copy)
{
	long i = flow_open(p->family, &p->t, p->l4_proto, p->vrf, &p->at, p->now_ns);
	struct flow *f = i > 0 ? flow_at(p->family, i - 1) : NULL;

	if (!f)
		return i < 0 ? i : -E2BIG;
	flow_fill_forward(f, p, v);
	flow_close(p->family, &p->at, i - 1, f);
	flow_note_far(p, &p->at, i - 1);
	return cfg_resize ? flow_copy_next(p->family, &p->t, p->l4_proto, p->vrf, i - 1, copy) : 0;
}

/* Reply first, then forward: no packet leaves before its answer would be understood. When only one of the two could be made (the
 * table filled in between, a program's end cannot come there), sluiced finds the half pair and ends it. */
static __always_inline enum verdict flow_new(struct pkt *p, struct flow *copy, enum verdict v)
{
	struct tuple reply;
	struct flow *other;
	long at;

	flow_places(p);
	flow_swap(&p->to, &reply);
	at = flow_make_reply(p, &reply, copy);
	if (at < 0) {
		at = 0;
		other = flow_get(p->family, &reply, p->l4_proto, p->reply_vrf);
		if (!other) {
			count_stat(STAT_FLOW_FULL, 1);
			return pkt_drop(p, DROP_FLOW_FULL);
		}
		/* The same pair, by another CPU or left half; or else two connections that look the same from there. Who is not
		 * translated does without a flow. */
		if (!flow_leaves_as(other, p->family, &p->t.daddr, &p->t.saddr, p->t.dport, p->t.sport))
			return p->flow_flags & FLOW_F_TRACK ? v : pkt_drop(p, DROP_NAT_CLASH);
	}
	if (flow_make_forward(p, v, copy) < 0)
		return flow_lost(p, copy, &reply, at, v);
	return flow_made(p, at ? at : PKT_FLOW_ELSE, v);
}

/* The packet comes by a forward, and its answers would be taken for what the host there sends to the same remote end by a pair of
 * its own (it was first after the forward's flow had ended: both sides go on sending). As long as nobody has answered that one,
 * it gives way: the remote end knows the host by the forward. */
__noinline_global int flow_yields(struct pkt *p)
{
	struct half_work *w = scratch_get(SCRATCH_HALF, struct half_work);
	struct flow *f, *reply;
	struct iface *i;
	__u16 vrf;

	if (!p || !w || !(p->flow_flags & FLOW_F_DNAT))
		return false;
	i = iface_get(p->out_iface);
	vrf = i ? i->vrf : p->vrf;
	flow_swap(&p->to, &w->t);
	f = flow_get(p->family, &w->t, p->l4_proto, vrf);
	reply = f && !(f->flags & FLOW_F_REPLY) ? flow_peer(p, f) : NULL;
	if (!reply || !half_is(p->l4_proto, READ_ONCE(f->seen), READ_ONCE(reply->seen)))
		return false;
	w->mapping.proto = p->l4_proto;
	w->told = f->flags & FLOW_F_TRACK ? 0 : HALF_TOLD;
	half_end_entries(p->family == 4 ? 4 : 6, w, f, vrf);
	count_stat(STAT_FLOW_GAVE_WAY, 1);
	return true;
}

/* The way out of a known flow's packet was decided anew: by `v`, as for flow_install(). Only V_FORWARD is written down; for the
 * others the next packet decides again. */
__noinline_global int flow_refresh(struct pkt *p, __u32 v)
{
	struct flow *f;

	if (!p || (p->flags & PKT_F_ICMP_ERROR))
		return 0;
	f = flow_get(p->family, &p->t, p->l4_proto, p->vrf);
	if (!f)
		return 0;
	if (v == V_FORWARD)
		flow_decide(f, p);
	if (port_finishes(p, v))
		flow_touch(p, f);
	return 0;
}

/* The pair of entries of a packet that has no flow (no flow_stale), if it needs one. `v`: what shall become of the packet,
 * V_FORWARD, V_FLOOD, V_NEIGH or V_HOST; returned unchanged unless the flow it needs cannot be had. The way out is written down
 * as flow_refresh() does. */
__noinline_global enum verdict flow_install(struct pkt *p, __u32 v)
{
	struct flow *f;

	if (!p || (p->flags & PKT_F_ICMP_ERROR) || !(p->flow_flags & (FLOW_F_SNAT | FLOW_F_DNAT | FLOW_F_TRACK)))
		return v;
	/* A static rule translates a fragment whose ports nobody knows: its flow is the first fragment's. */
	if ((p->flags & PKT_F_LATER_FRAGMENT) && pool_class(p->l4_proto) != POOL_CLASSES)
		return v;
	f = scratch_get(SCRATCH_FLOW, struct flow);
	if (!f)
		return v;
	return flow_new(p, f, v);
}

/* One or the other. */
static __always_inline __verdict enum verdict flow_note(struct pkt *p, enum verdict v)
{
	if (!p->flow_stale)
		return flow_install(p, v);
	flow_refresh(p, v);
	return v;
}

#endif
