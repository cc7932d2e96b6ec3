/* nat_event.h: what NAT does, told to sluiced as it happens: sessions that begin, ports that have run out, limits that were
 * reached; and sessions that give way to others (half.h).
 *
 * Stands between the stages and a ring buffer that nat_log.c of sluiced reads; how all other sessions end is sluiced's own doing.
 * With cfg_nat_log off the verifier takes all of it away. The ring never holds a packet up: what finds no room is counted, but
 * for the end of a session whose beginning was told, which sluiced finds out by itself, later (flow_told.c). So that this is
 * rare, beginnings leave half of the ring to ends and refusals.
 */
#ifndef SLUICE_NAT_EVENT_H
#define SLUICE_NAT_EVENT_H

#include "pkt.h"
#include "counter.h"
#include "scratch.h"

extern const volatile __u8 cfg_nat_log; /* somebody wants NAT's events */

#define NAT_EVENTS_BYTES (1 << 20)

/* Written here, read by sluiced. About ten thousand events. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, NAT_EVENTS_BYTES);
} nat_events SEC(".maps");

/* How long a refusal is not told again: a host that has run out tries a lot. */
#define NAT_EVENT_REST_NS 100000000ull

static __always_inline bool nat_event_rests(struct pkt *p, enum clock_user refused)
{
	__u64 *clock = clock_get(refused);

	if (!clock || pkt_now(p) < *clock)
		return true;
	*clock = pkt_now(p) + NAT_EVENT_REST_NS;
	return false;
}

/* No: it came too soon after the last one of its kind, or half of the ring is full of what happened before. */
static __always_inline bool nat_event_may(struct pkt *p, __u32 event)
{
	switch (event) {
	case NAT_EVENT_SESSION_CREATE:
		return bpf_ringbuf_query(&nat_events, BPF_RB_AVAIL_DATA) < NAT_EVENTS_BYTES / 2;
	case NAT_EVENT_QUOTA:
		return !nat_event_rests(p, CLOCK_NAT_QUOTA);
	default:
		return !nat_event_rests(p, CLOCK_NAT_REFUSED);
	}
}

/* `event`: enum nat_event_type. Was it told? */
__noinline_global int nat_event(struct pkt *p, __u32 event)
{
	struct nat_event e;

	if (!p)
		return 0;
	if (!nat_event_may(p, event)) {
		count_stat(STAT_NAT_EVENTS_LOST, 1);
		return 0;
	}
	__builtin_memset(&e, 0, sizeof(e));
	e.at_ns = pkt_now(p);
	e.event = event;
	e.family = p->family;
	e.proto = p->l4_proto;
	e.vrf = p->vrf;
	/* Who is refused is so by the rule of his source; who begins is told with the rule that his end will be told with. */
	e.rule = event != NAT_EVENT_SESSION_CREATE && p->nat_source ? p->nat_source : p->nat_rule;
	e.pool = p->nat_pool;
	e.t.saddr = p->t.saddr;
	e.t.daddr = p->t.daddr;
	e.t.sport = p->t.sport;
	e.t.dport = p->t.dport;
	e.to.saddr = p->to.saddr;
	e.to.daddr = p->to.daddr;
	e.to.sport = p->to.sport;
	e.to.dport = p->to.dport;
	if (!bpf_ringbuf_output(&nat_events, &e, sizeof(e), BPF_RB_NO_WAKEUP))
		return 1;
	count_stat(STAT_NAT_EVENTS_LOST, 1);
	return 0;
}

#endif
