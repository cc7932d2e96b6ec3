/* fast_first.h: ordinary packets of TCP and UDP over IPv4 that may be a connection's first.
 *
 * Stands between fast.h, which has read such a packet's headers and found no flow for it, or a SYN, which no entry has seen, and
 * the pipeline, whose stages would read them again, and wait for each table one after the other. Here the struct pkt gets what
 * parse.h would have put there; where the short way knows the way out, and a source rule may concern what leaves by it, all that
 * the stages are then going to read and write is fetched from memory at once (nat_guess()), before anybody waits for a part of
 * it.
 */
#ifndef SLUICE_FAST_FIRST_H
#define SLUICE_FAST_FIRST_H

#include <linux/ip.h>
#include "pkt.h"
#include "fast.h"
#include "fast_route.h"
#include "flow.h"
#include "half.h"
#include "nat.h"
#include "nat_filter.h"
#include "parse.h"
#include "way.h"

/* What parse_headers() would find in what fast_read4() has read. */
static __always_inline bool fast_parse4(ctx_t *ctx, struct pkt *p)
{
	void *head = ctx_data(ctx);
	struct fast4 h;

	head += p->l3_off & 31; /* verifier: it is 14 or 18 */
	if (head + FAST_HEAD > ctx_data_end(ctx))
		return false;
	fast_words4(head, &h);
	parse_reset_l3(p, ctx);
	p->flags |= PKT_F_L4 | (h.ip[1] & bpf_htonl(IP4_DF) ? PKT_F_DF : 0);
	p->family = 4;
	p->l4_proto = h.proto;
	p->ttl = h.ip[2];
	p->tos = h.ip[0] >> 8;
	p->l4_off = p->l3_off + sizeof(struct iphdr);
	p->l3_len = h.total;
	p->seg_len = fast_len(ctx, head, &h);
	p->ip_id = h.ip[1];
	p->ip_frag = h.ip[1] >> 16;
	p->ip_check = h.ip[2] >> 16;
	addr_from4(&p->t.saddr, h.addrs);
	addr_from4(&p->t.daddr, h.addrs >> 32);
	p->t.ports = h.ports;
	if (h.proto == IPPROTO_TCP) {
		p->tcp_flags = *(const __u8 *)(head + 33);
		p->tcp_options = (*(const __u8 *)(head + 32) >> 4) * 4 - 20;
		p->tcp_seq = *(const __u32 *)(head + 24);
		p->tcp_ack = *(const __u32 *)(head + 28);
	} else if (!*(const __u16 *)(head + 26)) {
		p->flags |= PKT_F_UDP_NO_CSUM;
	}
	return true;
}

/* The way by this nexthop, asked for if it is not known. */
static __always_inline struct way *fast_way(struct pkt *p, __u32 id)
{
	struct way *w = way_known(p->stamp, id, &p->t.daddr);

	return w || !way_find(p, id, &p->t.daddr) ? w : way_known(p->stamp, id, &p->t.daddr);
}

/* The way out, where none but a source rule has a word about the packet: PKT_F_WAY. As fast_route4() and fast_leave(). */
static __always_inline bool fast_leaves4(struct pkt *p)
{
	__be32 s = p->t.saddr.a32[3], d = p->t.daddr.a32[3];
	struct way *w = NULL;
	__u32 rules, id;

	if (!fast_plain4(s) || !fast_plain4(d) || s == d)
		return false;
	rules = nat_filter_rules(p->in_iface, 4, &p->t);
	if (!rules || rules == NAT_FILTER_ALL)
		return false;
	id = fast_nexthop(p->vrf, 4, &p->t, p->l4_proto);
	if (id)
		w = fast_way(p, id);
	if (!w || p->seg_len > w->mtu || !egress_fits(p, w->frame) || !nat_filter_leaves(rules, w->iface))
		return false;
	p->new_macs[0] = w->macs[0];
	p->new_macs[1] = w->macs[1];
	p->new_macs[2] = w->macs[2];
	p->out_port = w->port;
	p->out_vlan = w->vlan;
	p->out_tag = w->tpid ? csum_pair(w->tpid, bpf_htons(w->vlan | (p->tagged ? p->tci & VLAN_PRIO : 0))) : 0;
	p->out_known = 1;
	p->out_iface = w->iface;
	p->out_mtu = w->mtu;
	p->nexthop = id;
	p->flags |= PKT_F_WAY;
	return true;
}

/* The long way decides anew. */
static __always_inline void fast_forget_way(struct pkt *p)
{
	p->flags &= ~PKT_F_WAY;
	p->out_port = p->out_vlan = 0;
	p->out_tag = 0;
	p->out_known = 0;
	p->out_iface = 0;
	p->nexthop = 0;
}

/* Where its flow is to stand, into p->at, while what else it needs is under way. `search`: nobody has looked yet. True: it has
 * one. */
static __always_inline bool fast_place4(struct pkt *p, bool search)
{
	struct flow_key4 key = flow_key4(&p->t, p->l4_proto, p->vrf);

	flowtab_place4(&key, &p->at);
	if (p->flags & PKT_F_WAY) {
		nat_guess(p);
		half_fetch();
	}
	return search && flowtab_search4(&key, &p->at);
}

/* `answer`: of the short way. True: the headers are read; PKT_F_NO_FLOW and PKT_F_WAY say what else is known. verifier: global:
 * what it needs of the headers is read again, and not kept for it by packets that have a flow. */
__noinline_global int fast_first4(ctx_t *ctx, struct pkt *p, __u32 answer)
{
	if (!p || !fast_parse4(ctx, p))
		return false;
	/* Of a FIN and a RST, and of an answer's SYN, there is a flow most likely; and they open none. */
	if (answer == FAST_NEW && !nat_may_open(p))
		return true;
	fast_leaves4(p);
	if (!fast_place4(p, answer == FAST_NEW))
		p->flags |= PKT_F_NO_FLOW;
	else if (p->flags & PKT_F_WAY)
		fast_forget_way(p);
	return true;
}

static __always_inline bool fast_first(ctx_t *ctx, struct pkt *p, enum fast_answer answer)
{
	if (!cfg_nat || cfg_resize || (answer != FAST_NO_FLOW && answer != FAST_NEW))
		return false;
	return fast_first4(ctx, p, answer);
}

#endif
