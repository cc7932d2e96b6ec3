/* frag.h: datagrams that come in fragments: their ports, which the first one alone bears, and what of them has been seen.
 *
 * Stands between the pipeline and an LRU map, so that a flood of fragments costs only other fragments. A later fragment finds its
 * ports here once the first has come. One that comes before its first is held where NAT must know the ports (hold.h), and the
 * first one lets it go. What is translated is entered byte for byte, so that no two fragments of a datagram overlap behind the
 * gateway (RFC 1858, RFC 3128, RFC 5722): each byte leaves once.
 */
#ifndef SLUICE_FRAG_H
#define SLUICE_FRAG_H

#include "pkt.h"
#include "port.h"
#include "scratch.h"

/* For so long a datagram's fragments belong together: what Linux waits for the rest of one. */
#define FRAG_AGE_NS 30000000000ull
#define FRAG_OFFSET 0x1fff /* of pkt.ip_frag, host order */
#define FRAG_MORE   0x2000

/* Written and read by the data plane only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct frag_key);
	__type(value, struct frag);
} frag_datagrams SEC(".maps");

static __always_inline void frag_key(const struct pkt *p, struct frag_key *ret)
{
	__builtin_memset(ret, 0, sizeof(*ret));
	ret->saddr = p->t.saddr;
	ret->daddr = p->t.daddr;
	ret->ip_id = p->ip_id;
	ret->ip_id_high = p->family == 6 ? p->ip_id_high : 0;
	ret->vrf = p->vrf;
	ret->proto = p->l4_proto;
}

static __always_inline struct frag *frag_get(struct pkt *p, const struct frag_key *key)
{
	struct frag *f = bpf_map_lookup_elem(&frag_datagrams, key);

	if (!f || pkt_now(p) - f->at_ns <= FRAG_AGE_NS)
		return f;
	bpf_map_delete_elem(&frag_datagrams, key);
	return NULL;
}

/* The datagram's entry, made anew if there is none. NULL: it cannot be made. */
static __always_inline struct frag *frag_make(struct pkt *p, const struct frag_key *key, __u32 flags)
{
	struct frag *f = frag_get(p, key), *new;

	if (f)
		return f;
	new = scratch_get(SCRATCH_FRAG, struct frag);
	if (!new)
		return NULL;
	new->sport = p->t.sport;
	new->dport = p->t.dport;
	new->flags = flags;
	new->at_ns = pkt_now(p);
	bpf_map_update_elem(&frag_datagrams, key, new, BPF_NOEXIST);
	return bpf_map_lookup_elem(&frag_datagrams, key);
}

static __always_inline bool frag_holds(const struct frag *f)
{
	__u64 any = 0;

	for (int i = 0; i < FRAG_HELD_MAX / 64; i++)
		any |= READ_ONCE(f->held[i]);
	return any;
}

/* A first fragment leaves its ports; V_RELEASE: others of its datagram are held. An entry with other ports is of a former
 * datagram with the same identification (RFC 4963). An IPv6 packet that is all of its datagram is no fragment (RFC 6946). */
static __always_inline enum verdict frag_first(struct pkt *p, const struct frag_key *key)
{
	struct frag *f = frag_get(p, key);

	if (!(bpf_ntohs(p->ip_frag) & FRAG_MORE))
		return V_NEXT;
	if (f && (f->flags & FRAG_F_PORTS) && (f->sport != p->t.sport || f->dport != p->t.dport)) {
		bpf_map_delete_elem(&frag_datagrams, key);
		f = NULL;
	}
	if (!f)
		f = frag_make(p, key, FRAG_F_PORTS);
	if (!f)
		return V_NEXT;
	if (!(f->flags & FRAG_F_PORTS)) {
		f->sport = p->t.sport;
		f->dport = p->t.dport;
		/* A full barrier: who holds a fragment sets its bit and then looks here, so one of the two sees the other. */
		__sync_fetch_and_or(&f->flags, FRAG_F_PORTS);
	}
	return frag_holds(f) ? V_RELEASE : V_NEXT;
}

/* The ports, where they are known, into t and to. */
__noinline_global enum verdict frag_arrive(struct pkt *p)
{
	struct frag_key key;
	struct frag *f;

	if (!p)
		return V_NEXT;
	p->first_unknown = 0;
	frag_key(p, &key);
	if (!(p->flags & PKT_F_LATER_FRAGMENT))
		return frag_first(p, &key);
	f = frag_get(p, &key);
	if (!f || !(READ_ONCE(f->flags) & FRAG_F_PORTS)) {
		p->first_unknown = 1;
		return V_NEXT;
	}
	p->t.sport = p->to.sport = f->sport;
	p->t.dport = p->to.dport = f->dport;
	return V_NEXT;
}

/* ---- overlaps */

struct frag_range {
	struct frag *f;
	__u32 from, to; /* in units of 8 bytes; `to` is the first behind */
	__u32 old, new; /* bits that were there, and that were not */
};

/* One word of the map of what was seen, by one atomic operation: of two CPUs with fragments that overlap, one sees it. */
static long frag_enter_word(__u32 turn, void *arg)
{
	struct frag_range *r = arg;
	__u32 w = (r->from >> 6) + turn, base = w << 6;
	__u64 mask = ~0ULL, was;

	if (base >= r->to || w >= FRAG_WORDS)
		return 1;
	if (base < r->from)
		mask <<= r->from & 63;
	if (r->to - base < 64)
		mask &= ~(~0ULL << (r->to - base));
	was = __sync_fetch_and_or(&r->f->seen[w & (FRAG_WORDS - 1)], mask);
	r->old |= (was & mask) != 0;
	r->new |= (~was & mask) != 0;
	return 0;
}

/* A fragment that was translated and is about to leave. Bytes that have all left before are a double (RFC 8200 4.5): it alone is
 * dropped. Else an overlap ends the datagram: nothing more of it leaves (RFC 5722 4). When all of it has been seen, the next
 * one may have its identification. */
__noinline_global enum verdict frag_leave(struct pkt *p, __u32 v)
{
	struct frag_key key;
	struct frag_range r = {};
	bool last;

	if (!p || !(p->flow_flags & (FLOW_F_SNAT | FLOW_F_DNAT)) || !port_finishes(p, v))
		return v;
	if (v != V_FORWARD && v != V_FLOOD && v != V_NEIGH && v != V_HOST)
		return v;
	last = !(bpf_ntohs(p->ip_frag) & FRAG_MORE);
	if (last && !(p->flags & PKT_F_LATER_FRAGMENT))
		return v;
	frag_key(p, &key);
	r.f = frag_make(p, &key, 0);
	if (!r.f)
		return v;
	if (r.f->flags & FRAG_F_BAD)
		return pkt_drop(p, DROP_NAT_FRAG_OVERLAP);
	r.from = bpf_ntohs(p->ip_frag) & FRAG_OFFSET;
	r.to = r.from + (p->frag_len + 7) / 8;
	r.old = r.new = pkt_zero(p);
	bpf_loop(FRAG_WORDS + 1, frag_enter_word, &r, 0);
	if (r.old && !r.new)
		return pkt_drop(p, DROP_NAT_FRAG_DOUBLE);
	if (r.old) {
		__sync_fetch_and_or(&r.f->flags, FRAG_F_BAD);
		return pkt_drop(p, DROP_NAT_FRAG_OVERLAP);
	}
	__sync_fetch_and_add(&r.f->units, r.to - r.from);
	if (last)
		WRITE_ONCE(r.f->end, r.to);
	if (r.f->end && r.f->units >= r.f->end)
		bpf_map_delete_elem(&frag_datagrams, &key);
	return v;
}

#endif
