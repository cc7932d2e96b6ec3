/* frag.h: the ports of fragmented packets. Only the first fragment bears them; the others learn them here.
 *
 * Stands between flow.h and an LRU map, so that a flood of first fragments costs only other fragments. A fragment that overtakes
 * its first one finds nothing: what then becomes of it is nat.h's to say.
 */
#ifndef SLUICE_FRAG_H
#define SLUICE_FRAG_H

#include "pkt.h"

/* Written and read by the data plane only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct frag_key);
	__type(value, struct frag);
} frags SEC(".maps");

/* A first fragment leaves its ports, a later one takes them into t and to. */
static __always_inline void frag_ports(struct pkt *p)
{
	struct frag_key key = {.saddr = p->t.saddr, .daddr = p->t.daddr, .ip_id = p->ip_id, .vrf = p->vrf, .proto = p->l4_proto};
	struct frag first = {.sport = p->t.sport, .dport = p->t.dport}, *known;

	if (!(p->flags & PKT_F_LATER_FRAGMENT)) {
		if (p->flags & PKT_F_L4)
			bpf_map_update_elem(&frags, &key, &first, BPF_ANY);
		return;
	}
	known = bpf_map_lookup_elem(&frags, &key);
	if (!known)
		return;
	p->t.sport = p->to.sport = known->sport;
	p->t.dport = p->to.dport = known->dport;
}

#endif
