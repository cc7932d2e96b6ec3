/* nat_hairpin.c: where outside is, for each address that a rule or a pool has: an inside host that reaches another one by it is
 * translated as if its packet left there (RFC 4787 REQ-9: external source address and port).
 *
 * Stands between nat_plan.c, which has listed the marks of all addresses and the static rules, and the data plane, which reads
 * the interface in them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_priv.h"

struct search {
	const struct addr *a;
	bool found;
};

static int is_in(const struct link_addr *l, void *arg)
{
	struct search *s = arg;

	s->found = prefix_contains(&l->addr, s->a);
	return s->found;
}

static bool is_connected(struct sw *sw, uint16_t id, const struct addr *a)
{
	int ifindex = id ? iface_host_ifindex(sw, id) : 0;
	struct search s = {.a = a};

	if (ifindex)
		mirror_each_addr(sw->mirror, ifindex, is_in, &s);
	return s.found;
}

/* The interface of the VRF in whose prefix the address lies. Behind none: an address that is routed to the gateway, and outside
 * is where the first rule translates what leaves, or anywhere, if none says where. */
static uint16_t outside_of(struct sw *sw, const struct nat_plan *plan, const struct addr *a, uint16_t vrf)
{
	const struct model *m = sw->model;
	uint16_t first = NAT_OUTSIDE_ANY;

	for (size_t i = 0; i < m->n_ifaces; i++) {
		uint16_t id = iface_id(sw, m->ifaces[i].name);

		if (!id || id >= IFACE_MAX || vrf_id(sw, m->ifaces[i].vrf) != vrf || !iface_host_ifindex(sw, id))
			continue;
		if (is_connected(sw, id, a))
			return id;
		if (first == NAT_OUTSIDE_ANY && plan->outside[id])
			first = id;
	}
	return first;
}

/* Of a static rule that names its ways out: that in whose prefix its addresses lie, else the first. 0: it names none that is
 * there.
 */
static uint16_t outside_among(struct sw *sw, const struct nat_cfg *rule)
{
	uint16_t first = 0;

	for (size_t i = 0; i < rule->n_out; i++) {
		uint16_t id = iface_id(sw, rule->out[i]);

		if (!id || id >= IFACE_MAX)
			continue;
		if (is_connected(sw, id, &rule->outside.addr))
			return id;
		first = first ?: id;
	}
	return first;
}

void nat_plan_hairpin(struct sw *sw, struct nat_plan *plan)
{
	for (size_t i = 0; i < plan->n_dnat; i++) {
		struct nat_plan_dnat *d = &plan->dnat[i];

		if (d->key.proto == DNAT_PROTO_MARK && !d->key.dport)
			d->rule.rule = outside_of(sw, plan, &d->key.daddr, d->key.vrf);
	}
	for (size_t i = 0; i < plan->n_statics; i++) {
		struct nat_plan_static *s = &plan->statics[i];
		uint16_t id =
			s->cfg->n_out ? outside_among(sw, s->cfg) : outside_of(sw, plan, &s->key.addr, (uint16_t)s->key.vrf);

		s->value.flags |= (uint16_t)(id << NAT_STATIC_OUTSIDE);
	}
}
