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

int nexthop_which_parse(const struct routes *rs, const char *text, struct nexthop_which *ret, struct errs *errs)
{
	const struct named_cfg *c;

	*ret = (struct nexthop_which){0};
	if (!u32_parse(text, 1, NEXTHOP_MAX - 1, &ret->id) || !addr_parse(text, &ret->gateway, &ret->family))
		return 0;
	c = model_nexthop(rs->sw->model, text);
	if (!c)
		return errs_fail(errs, ENOENT,
				 "'%.64s' is neither the id of a nexthop nor the address of a gateway nor the name of a nexthop",
				 text);
	if (c->n_members)
		return errs_fail(errs, EINVAL, "'%.64s' is a group: one of its members is wanted", text);
	if (c->type != NEXTHOP_GATEWAY)
		return errs_fail(errs, EINVAL, "'%.64s' leads nowhere: it has no gateway", text);
	ret->family = c->own.family;
	ret->gateway = c->own.gateway;
	ret->iface = *c->own.iface ? iface_id(rs->sw, c->own.iface) : 0;
	return 0;
}

bool nexthop_is_which(const struct routes *rs, uint32_t id, const struct nexthop_which *which)
{
	const struct nexthop *nh = nexthop_at(rs->ns, id);

	if (!nh || (which->id && which->id != id) || (which->iface && which->iface != nh->iface))
		return false;
	if (which->id)
		return true;
	if (!which->family)
		return nh->type == NEXTHOP_CONNECTED;
	return nh->type == NEXTHOP_GATEWAY && !memcmp(&nh->gateway, &which->gateway, sizeof(nh->gateway));
}

const char *nexthop_name_of(const struct routes *rs, const struct nexthop *nh)
{
	const struct model *m = rs->sw->model;

	for (size_t i = 0; i < m->n_nexthops; i++) {
		const struct named_cfg *c = &m->nexthops[i];

		if (c->n_members || c->type != NEXTHOP_GATEWAY || !c->own.family != (nh->type != NEXTHOP_GATEWAY))
			continue;
		if (c->own.family && memcmp(&c->own.gateway, &nh->gateway, sizeof(nh->gateway)))
			continue;
		if (!*c->own.iface || iface_id(rs->sw, c->own.iface) == nh->iface)
			return c->name;
	}
	return NULL;
}

int nexthop_drain(struct sw *sw, const char *text, bool drained, struct errs *errs)
{
	struct routes *rs = sw->routes;
	struct nexthop_which which;
	const struct nexthop *nh;
	uint32_t id;
	int r, n = 0;

	r = nexthop_which_parse(rs, text, &which, errs);
	if (r)
		return r;
	for (id = 1; id < nexthop_end(rs->ns) && !r; id++) {
		nh = nexthop_at(rs->ns, id);
		if (!nexthop_is_which(rs, id, &which) || nh->type != NEXTHOP_GATEWAY)
			continue;
		r = set(rs, nh->iface, &nh->gateway, drained ? state_now_s() : 0);
		n++;
	}
	if (!r && !n && which.id && nexthop_at(rs->ns, which.id))
		return errs_fail(errs, EINVAL, "nexthop %u leads to no gateway: there is nothing to drain", which.id);
	if (!r && !n)
		return errs_fail(errs, ENOENT, "no route has the %s %.64s", which.id ? "nexthop" : "gateway", text);
	route_gateways_update(rs);
	return r ? errs_fail(errs, -r, "out of memory") : n;
}
