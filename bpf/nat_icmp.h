/* nat_icmp.h: is an ICMP error sound, before NAT makes another one of it? (RFC 5508 REQ-3)
 *
 * Stands between flow.h, which has found whose packet the error quotes, and rewrite.h, which updates checksums by difference: an
 * error that was spoilt on its way must not be passed on in a form that nobody has sent. Errors that are only routed are their
 * receiver's to judge, as is what the quote holds behind its IP header (REQ-3 c).
 */
#ifndef SLUICE_NAT_ICMP_H
#define SLUICE_NAT_ICMP_H

#include <linux/in6.h>
#include <linux/ipv6.h>
#include "pkt.h"
#include "csum.h"
#include "csum_data.h"

/* Of a fragment nobody can tell, nor of an IPv6 packet whose extension headers may have the addresses that count (RFC 8200 8.1).
 */
static __always_inline bool nat_icmp_is_whole(const struct pkt *p)
{
	return !(p->flags & PKT_F_FRAGMENT) && (p->family == 4 || p->l4_off == p->l3_off + sizeof(struct ipv6hdr));
}

/* The ICMP checksum: RFC 792, RFC 4443 2.3. */
static __always_inline bool nat_icmp_fits(ctx_t *ctx, const struct pkt *p)
{
	__u32 len = p->l3_len - (p->l4_off - p->l3_off);
	__u64 sum = csum_data(ctx, p->l4_off, len);

	if (p->family == 6) {
		for (int i = 0; i < 4; i++)
			sum += (__u64)p->t.saddr.a32[i] + p->t.daddr.a32[i];
		sum += bpf_htonl(len) + (__u64)bpf_htonl(IPPROTO_ICMPV6);
	}
	return csum_fold64(sum) == 0xffff;
}

/* Of an error that is to be translated. V_DROP: it is not, because a checksum is wrong: its own, or that of the IPv4 header that
 * it quotes. verifier: global, for what it needs of the stack. */
__noinline_global enum verdict nat_icmp_check(ctx_t *ctx, struct pkt *p)
{
	if (!p)
		return V_NEXT;
	if (nat_icmp_is_whole(p) && !nat_icmp_fits(ctx, p) && !ctx_csum_unfinished(ctx, p->l4_off + 2))
		return pkt_drop(p, DROP_NAT_ICMP_CHECKSUM);
	if (p->family == 4 && csum_data(ctx, p->inner_l3_off, p->inner_l4_off - p->inner_l3_off) != 0xffff)
		return pkt_drop(p, DROP_NAT_ICMP_QUOTE);
	return V_NEXT;
}

#endif
