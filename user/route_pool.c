/* route_pool.c: the addresses that NAT gives out or answers for, as routes: blackholes, in the RIB and so in the host's kernel.
 *
 * Between the model's NAT rules and the RIB. What is translated never gets here: NAT looks first. What is left is a packet for
 * such an address that no flow and no rule knows; without a route of its own it would follow the default route, back to where
 * it came from. And routing daemons find in the kernel what they are to announce. An address that an interface bears as well
 * has a better route: it is the host's.
 */
#include "route_priv.h"

#include <string.h>

#define DISTANCE_POOL 1 /* a static route of the same prefix is better: it was meant */

static int put_pool(struct routes *rs, uint16_t vrf, const struct prefix *to)
{
	struct rib_route_spec spec = {
		.vrf = vrf, .to = *to, .source = RIB_POOL, .type = NEXTHOP_BLACKHOLE, .distance = DISTANCE_POOL};

	return rib_put(rs->rib, &spec);
}

/* a + 2^bits; true: beyond the last address there is. */
static bool addr_step(struct addr *a, unsigned bits)
{
	unsigned add = 1u << bits % 8;
	int i;

	for (i = 15 - (int)(bits / 8); i >= 0 && add; i--) {
		add += a->a8[i];
		a->a8[i] = (uint8_t)add;
		add >>= 8;
	}
	return add;
}

/* The largest prefix that begins at `first` and ends no later than `last`. */
static struct prefix prefix_within(const struct addr *first, const struct addr *last, uint8_t family)
{
	struct prefix p = {.addr = *first, .family = family, .len = family == 4 ? 32 : 128}, wider;
	struct addr end;
	int bit;

	while (p.len) {
		wider = p;
		wider.len--;
		wider = prefix_masked(&wider);
		end = wider.addr;
		for (bit = 127; bit >= 128 - (family == 4 ? 32 : 128) + wider.len; bit--)
			end.a8[bit / 8] |= 0x80 >> bit % 8;
		if (memcmp(&wider.addr, first, sizeof(*first)) || memcmp(&end, last, sizeof(end)) > 0)
			break;
		p = wider;
	}
	return p;
}

static int put_range(struct routes *rs, uint16_t vrf, const struct addr_range *range)
{
	struct addr at = range->first;
	struct prefix p;
	int r;

	do {
		p = prefix_within(&at, &range->last, range->family);
		r = put_pool(rs, vrf, &p);
		if (r || addr_step(&at, (range->family == 4 ? 32 : 128) - p.len))
			return r;
	} while (memcmp(&at, &range->last, sizeof(at)) <= 0);
	return 0;
}

/* Its rule knows every packet but errors about flows that have ended, and messages of a link. */
static int put_static(struct routes *rs, uint16_t vrf, const struct prefix *outside)
{
	struct prefix to = prefix_masked(outside);

	return put_pool(rs, vrf, &to);
}

int route_read_pools(struct routes *rs)
{
	const struct model *m = rs->sw->model;
	size_t i, k;
	int r = 0;

	rib_begin(rs->rib, RIB_POOL);
	for (i = 0; i < m->n_nats; i++) {
		const struct nat_cfg *c = &m->nats[i];
		uint16_t vrf = vrf_id(rs->sw, model_nat_vrf_outside(m, c));

		for (k = 0; c->type == NAT_SNAT && c->to_kind == NAT_TO_POOL && k < c->n_pool && !r; k++)
			r = put_range(rs, vrf, &c->pool[k]);
		if (c->type == NAT_DNAT && c->destination.family && !r)
			r = put_pool(rs, vrf, &c->destination);
		if (c->type == NAT_STATIC && !r)
			r = put_static(rs, vrf, &c->outside);
		if (r)
			return r;
	}
	rib_sweep(rs->rib, RIB_POOL);
	return 0;
}
