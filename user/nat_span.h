/* nat_span.h: addresses that follow each other, as large pools are made of.
 *
 * Stands between nat_plan_run.c, which makes runs and pieces of what rules name, and nat_plan_prefix.c, which says where packets
 * to them find them. A span lies in one /96, so that 32 bits tell its addresses apart.
 */
#ifndef SLUICE_NAT_SPAN_H
#define SLUICE_NAT_SPAN_H

#include <arpa/inet.h>
#include <string.h>
#include "sw.h"

struct span {
	struct addr first;
	uint64_t n; /* 2^32 at most */
	uint16_t vrf;
};

struct spans {
	struct span *v;
	size_t n;
};

/* The last 32 bits, in host order. */
static inline uint64_t span_low(const struct addr *a)
{
	return ntohl(a->a32[3]);
}

/* The address with other last 32 bits. */
static inline struct addr span_at(struct addr a, uint64_t low)
{
	a.a32[3] = htonl((uint32_t)low);
	return a;
}

static inline uint64_t span_end(const struct span *s)
{
	return span_low(&s->first) + s->n;
}

/* In one VRF and one /96. */
static inline bool span_beside(const struct span *a, const struct span *b)
{
	return a->vrf == b->vrf && !memcmp(&a->first, &b->first, 12);
}

/* How many addresses both have. */
uint64_t span_overlap(const struct span *a, const struct span *b);
int span_add(struct spans *s, struct span one); /* -ENOMEM */
/* In order, and those that overlap become one. */
void spans_merge(struct spans *s);
/* Adds those of a range: the first POOL_RUN_MAX of them, in two spans where they cross a /96. `routed`: without the address that
 * is the routers' of an IPv6 subnet (RFC 4291 2.6.1). -ENOMEM. */
int spans_add_range(struct spans *s, const struct addr_range *r, uint16_t vrf, bool routed);
void spans_free(struct spans *s);

#endif
