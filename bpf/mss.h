/* mss.h: the MSS that two TCP ends offer each other, lowered to what an interface lets through (RFC 6691, RFC 9293 3.7.1).
 *
 * For ways where 'packet too big' gets lost. mss_decide() is a stage: it looks at the interfaces that a SYN comes in by and
 * leaves by, and notes the smaller limit; mss_rewrite() carries it out. An offer is only ever lowered, and where there is none
 * none is made.
 */
#ifndef SLUICE_MSS_H
#define SLUICE_MSS_H

#include "pkt.h"
#include "csum.h"
#include "counter.h"
#include "iface.h"

#define MSS_TCP_SYN	0x02
#define MSS_OPTIONS_MAX 40
#define MSS_OPT_END	0
#define MSS_OPT_NOP	1
#define MSS_OPT_MSS	2

/* Headers without options (RFC 6691 2): 20 or 40 bytes of IP, and 20 of TCP. `mtu`: layer 3 bytes. */
static __always_inline __u16 mss_of_mtu(__u8 family, __u32 mtu)
{
	__u32 head = family == 4 ? 40 : 60;

	return mtu > head && mtu - head < 0xffff ? mtu - head : 0xffff;
}

static __always_inline __u16 mss_limit(const struct pkt *p, __u32 iface, __u32 mtu)
{
	struct iface *i = iface_get(iface);

	if (!i || !i->mss)
		return 0xffff;
	if (i->mss != IFACE_MSS_CLAMP)
		return i->mss;
	return mss_of_mtu(p->family, mtu && mtu < i->mtu ? mtu : i->mtu);
}

/* `v`: what was decided about the packet. */
static __always_inline void mss_decide(struct pkt *p, enum verdict v)
{
	__u16 in, out;

	if (p->l4_proto != IPPROTO_TCP || !(p->tcp_flags & MSS_TCP_SYN) || (p->flags & PKT_F_LATER_FRAGMENT) || !p->tcp_options)
		return;
	if (v != V_FORWARD && v != V_FLOOD && v != V_NEIGH)
		return;
	in = mss_limit(p, p->in_iface, 0);
	out = mss_limit(p, p->out_iface, p->out_mtu);
	p->mss = in < out ? in : out;
	if (p->mss != 0xffff)
		p->todo |= DO_MSS;
}

struct mss_search {
	__u8 option[MSS_OPTIONS_MAX];
	__u32 n;
	__u32 at;
	__u32 found; /* offset of the value; 0: none */
};

/* One option a turn; 1 ends the search. verifier: a bpf_loop, because each turn's offset depends on the one before. */
static long mss_option(__u32 turn, void *arg)
{
	struct mss_search *s = arg;
	__u32 at = s->at;

	if (at >= MSS_OPTIONS_MAX - 1 || at >= s->n || s->option[at] == MSS_OPT_END)
		return 1;
	if (s->option[at] == MSS_OPT_NOP) {
		s->at = at + 1;
		return 0;
	}
	if (s->option[at] == MSS_OPT_MSS && s->option[at + 1] == 4 && at + 4 <= s->n) {
		s->found = at + 2;
		return 1;
	}
	s->at = at + s->option[at + 1];
	return s->option[at + 1] < 2;
}

/* Lowers the MSS option to p->mss. 0, or -1: the kernel would not have it. A value at an odd offset stands across two words
 * of the checksum, so its delta is swapped. */
__noinline_global int mss_rewrite(ctx_t *ctx, struct pkt *p)
{
	struct mss_search s = {};
	__u16 old, delta;
	__be16 new;
	__u32 n, at;

	if (!p)
		return -1;
	n = p->tcp_options;
	if (!n || n > MSS_OPTIONS_MAX)
		return 0;
	if (ctx_load(ctx, p->l4_off + 20, s.option, n))
		return -1;
	s.n = n;
	bpf_loop(MSS_OPTIONS_MAX, mss_option, &s, 0);
	at = s.found;
	if (!at || at > MSS_OPTIONS_MAX - 2)
		return 0;
	old = s.option[at] << 8 | s.option[at + 1];
	if (old <= p->mss)
		return 0;
	new = bpf_htons(p->mss);
	delta = csum_delta16(bpf_htons(old), new);
	if (at & 1)
		delta = delta << 8 | delta >> 8;
	if (ctx_store(ctx, p->l4_off + 20 + at, &new, sizeof(new)))
		return -1;
	count_stat(STAT_MSS_LOWERED, 1);
	return csum_changes(delta) ? ctx_csum_l4(ctx, p->l4_off + 16, delta, false, false) : 0;
}

#endif
