/* nat_filter.c: which packets no rule of NAT can concern, for the data plane (the table is described in abi.h).
 *
 * Stands between the plan of nat_plan.c and bpf/nat_filter.h. nat_apply.c widens the table before it changes a rule and settles
 * it when all are changed; after a failure in between it stays wide, which costs time and no translation.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include "nat_priv.h"

#define V4_BITS 96 /* of an IPv4-mapped prefix before its own */

/* Prefixes of the other family have no halves; those of both, and those that are shorter than IPv4's, have all: their bit is
 * noted in *all. */
static void add_halves(uint32_t *halves, uint32_t *all, const struct addr *prefix, unsigned len, uint32_t bit)
{
	unsigned bits = len > V4_BITS ? len - V4_BITS : 0, first, n;

	if (len && addr_family(prefix) != 4)
		return;
	if (!bits) {
		*all |= bit;
		return;
	}
	n = bits < 16 ? 1u << (16 - bits) : 1;
	first = ntohl(prefix->a32[3]) >> 16 & ~(n - 1);
	for (unsigned i = first; i < first + n; i++)
		halves[htons((uint16_t)i)] |= bit;
}

/* The bits that all halves have. */
struct alls {
	uint32_t src, dst;
};

static void add_alls(struct nat_filter *f, const struct alls *all)
{
	for (size_t i = 0; all->src | all->dst && i < sizeof(f->src4) / sizeof(f->src4[0]); i++) {
		f->src4[i] |= all->src;
		f->dst4[i] |= all->dst;
	}
}

static void add_rule(struct nat_filter *f, struct alls *all, const struct snat_rule *r, unsigned at)
{
	uint32_t bit = 1u << at % NAT_FILTER_RULES;

	if (r->action == SNAT_EXEMPT)
		return;
	if (r->family != 6) {
		add_halves(f->src4, &all->src, &r->src, r->src_len, bit);
		add_halves(f->dst4, &all->dst, &r->dst, r->dst_len, bit);
	}
	if (r->family != 4) {
		f->src6 |= bit;
		f->dst6 |= bit;
	}
	for (unsigned i = 0; i < IFACE_MAX; i++)
		if (!r->out_iface || r->out_iface == i)
			f->out[i] |= bit;
}

static void add_static(struct nat_filter *f, struct alls *all, const struct nat_static_key *key)
{
	if (addr_family(&key->addr) == 4)
		add_halves(f->dst4, &all->dst, &key->addr, key->len - 32, NAT_FILTER_STATIC);
	else
		f->dst6 |= NAT_FILTER_STATIC;
}

static struct nat_filter *filter_of(const struct nat_plan *plan)
{
	struct nat_filter *f = calloc(1, sizeof(*f));
	struct alls all = {0, 0};

	if (!f)
		return NULL;
	f->ready = 1;
	for (size_t i = 0; i < plan->n_snat; i++)
		add_rule(f, &all, &plan->snat[i], (unsigned)i);
	for (size_t i = 0; i < plan->n_statics; i++)
		add_static(f, &all, &plan->statics[i].key);
	for (size_t i = 0; i < plan->n_runs; i++)
		add_static(f, &all, &plan->runs[i].key);
	for (size_t i = 0; i < plan->n_dnat; i++) {
		uint32_t mark = NAT_FILTER_MARK(&plan->dnat[i].key.daddr);

		f->marks[mark / 64] |= 1ull << mark % 64;
	}
	add_alls(f, &all);
	return f;
}

/* Word by word; a packet reads words of 32 and 64 bits, whose halves mean the same on their own. */
static void merge(struct nat_filter *to, const struct nat_filter *from, bool keep)
{
	const uint32_t *src = (const uint32_t *)from;
	uint32_t *dst = (uint32_t *)to;

	for (size_t i = offsetof(struct nat_filter, dst6) / sizeof(*dst); i < sizeof(*to) / sizeof(*dst); i++)
		if (dst[i] != (keep ? dst[i] | src[i] : src[i]))
			__atomic_store_n(&dst[i], keep ? dst[i] | src[i] : src[i], __ATOMIC_RELAXED);
}

int nat_filter_widen(struct nat *nat, const struct nat_plan *plan)
{
	struct nat_filter *f = filter_of(plan);

	if (!f)
		return -ENOMEM;
	merge(nat->filter, f, true);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	free(f);
	return 0;
}

/* Where there is no memory, it stays as wide as it is. */
void nat_filter_settle(struct nat *nat, const struct nat_plan *plan)
{
	struct nat_filter *f = filter_of(plan);

	if (!f)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	merge(nat->filter, f, false);
	__atomic_store_n(&nat->filter->ready, 1, __ATOMIC_RELEASE);
	free(f);
}
