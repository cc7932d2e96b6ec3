/* nat_filter.h: can a rule of NAT concern a packet at all? For those that have no flow and need none.
 *
 * Stands between fast_route.h and a table that sluiced makes of the rules (abi.h describes it). A look costs five loads, where
 * asking the rules themselves is two loops over them and two hash look-ups. It says yes too often, never no wrongly: while rules
 * change, it holds for the old ones and for the new ones. Rules that spare packets from translation are not in it, they concern
 * nobody alone.
 */
#ifndef SLUICE_NAT_FILTER_H
#define SLUICE_NAT_FILTER_H

#include "pkt.h"

/* Written by sluiced, read here. */
SHARED_ONE(nat_filter, struct nat_filter);

#define NAT_FILTER_ALL 0xffffffff

/* Surely no rule and no mapping is asked by this destination. */
static __always_inline bool nat_filter_spares(__u8 family, const struct addr *daddr)
{
	const struct nat_filter *f = &nat_filter;
	__u32 mark = NAT_FILTER_MARK(daddr), dst;

	if (!READ_ONCE(f->ready) || READ_ONCE(f->marks[mark / 64 % (NAT_FILTER_MARKS / 64)]) >> (mark % 64) & 1)
		return false;
	dst = family == 4 ? READ_ONCE(f->dst4[NAT_FILTER_HALF(daddr)]) : READ_ONCE(f->dst6);
	return !(dst & NAT_FILTER_STATIC);
}

/* The source rules that may concern the packet, depending on its way out: for nat_filter_leaves(). NAT_FILTER_ALL: do not ask,
 * something may: it is for a translated address, or its answers may be a source rule's. */
static __always_inline __u32 nat_filter_rules(__u32 in_iface, __u8 family, const struct tuple *t)
{
	const struct nat_filter *f = &nat_filter;
	__u32 mark = NAT_FILTER_MARK(&t->daddr), out, back, dst;

	if (!READ_ONCE(f->ready) || READ_ONCE(f->marks[mark / 64 % (NAT_FILTER_MARKS / 64)]) >> (mark % 64) & 1)
		return NAT_FILTER_ALL;
	if (family == 4) {
		dst = READ_ONCE(f->dst4[NAT_FILTER_HALF(&t->daddr)]);
		out = READ_ONCE(f->src4[NAT_FILTER_HALF(&t->saddr)]) & dst;
		back = READ_ONCE(f->src4[NAT_FILTER_HALF(&t->daddr)]) & READ_ONCE(f->dst4[NAT_FILTER_HALF(&t->saddr)]);
	} else {
		dst = READ_ONCE(f->dst6);
		out = back = READ_ONCE(f->src6) & dst;
	}
	if ((dst & NAT_FILTER_STATIC) || (back & ~NAT_FILTER_STATIC & READ_ONCE(f->out[in_iface % IFACE_MAX])))
		return NAT_FILTER_ALL;
	return out;
}

/* `rules`: as nat_filter_rules() said. True: one of them may concern what leaves by the interface. */
static __always_inline bool nat_filter_leaves(__u32 rules, __u32 out_iface)
{
	return rules & READ_ONCE(nat_filter.out[out_iface % IFACE_MAX]);
}

#endif
