/* route_nexthop.c: gateways as a noun of their own: `nexthop show`, `drain` and `undrain`.
 *
 * Between the API and the table of nexthops. What is drained is a gateway on an interface, whatever ids it has or gets; the
 * nexthops bear the mark in the pinned table, so that it outlives sluiced.
 */
#include "route_priv.h"
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct drain *find(const struct routes *rs, uint16_t iface, const struct addr *gateway)
{
	size_t i;

	for (i = 0; i < rs->n_drains; i++)
		if (rs->drains[i].iface == iface && !memcmp(&rs->drains[i].gateway, gateway, sizeof(*gateway)))
			return &rs->drains[i];
	return NULL;
}

uint64_t route_drained(const struct routes *rs, const struct nexthop *nh)
{
	const struct drain *d = nh->type == NEXTHOP_GATEWAY ? find(rs, nh->iface, &nh->gateway) : NULL;

	return d ? d->since_s : 0;
}

/* `since_s`: 0 for one that is not drained any more. */
static int set(struct routes *rs, uint16_t iface, const struct addr *gateway, uint64_t since_s)
{
	struct drain *d = find(rs, iface, gateway), *more;

	if (!d == !since_s)
		return 0;
	if (!since_s) {
		*d = rs->drains[--rs->n_drains];
		return 0;
	}
	more = realloc(rs->drains, (rs->n_drains + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	rs->drains = more;
	rs->drains[rs->n_drains++] = (struct drain){*gateway, iface, since_s};
	return 0;
}

int route_drains_adopt(struct routes *rs)
{
	const struct nexthop *table = table_map(table_get(rs->sw->dp, "nexthops"));
	uint32_t id, end = table_capacity(table_get(rs->sw->dp, "nexthops"));
	int r = 0;

	for (id = 1; id < end && !r; id++)
		if (table[id].type == NEXTHOP_GATEWAY && table[id].flags & NEXTHOP_F_DRAINED)
			r = set(rs, table[id].iface, &table[id].gateway,
				table[id].drained_s ? table[id].drained_s : state_now_s());
	return r;
}

int nexthop_drain(struct sw *sw, const char *which, bool drained, struct errs *errs)
{
	struct routes *rs = sw->routes;
	const struct nexthop *nh;
	struct addr a = {0};
	uint32_t id, wanted = 0;
	uint8_t family = 0;
	int r = 0, n = 0;

	if (u32_parse(which, 1, NEXTHOP_MAX - 1, &wanted) && addr_parse(which, &a, &family))
		return errs_fail(errs, EINVAL, "'%.64s' is neither the id of a nexthop nor the address of a gateway", which);
	for (id = 1; id < nexthop_end(rs->ns) && !r; id++) {
		nh = nexthop_at(rs->ns, id);
		if (!nh || nh->type != NEXTHOP_GATEWAY || (wanted ? id != wanted : memcmp(&nh->gateway, &a, sizeof(a)) != 0))
			continue;
		r = set(rs, nh->iface, &nh->gateway, drained ? state_now_s() : 0);
		n++;
	}
	if (!r && !n)
		return errs_fail(errs, ENOENT, "no route has the gateway %.64s", which);
	route_gateways_update(rs);
	return r ? errs_fail(errs, -r, "out of memory") : n;
}
