/* nat_plan_pool.c: the part of the plan that says which addresses NAT has, and which of them make a pool.
 *
 * Stands between nat_plan.c and nat_plan_dnat.c, which name addresses, and nat_apply.c, which gives each its slot.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_plan_priv.h"

#define PORT_MIN_DEFAULT 1024
#define PORT_MAX_DEFAULT 65535

/* ---- addresses */

static int by_addr(const void *a, const void *b)
{
	const struct plan_gateway *x = a, *y = b;

	if (x->vrf != y->vrf)
		return x->vrf < y->vrf ? -1 : 1;
	return memcmp(&x->addr, &y->addr, sizeof(x->addr));
}

int plan_gateways(struct plan *p)
{
	const struct model *m = p->sw->model;

	for (size_t i = 0; i < m->n_ifaces; i++) {
		uint16_t vrf = vrf_id(p->sw, m->ifaces[i].vrf);

		for (size_t k = 0; k < m->ifaces[i].n_addrs; k++) {
			struct plan_gateway *v = plan_grow(p->gateways, p->n_gateways, sizeof(*v));

			if (!v)
				return -ENOMEM;
			p->gateways = v;
			v[p->n_gateways++] = (struct plan_gateway){m->ifaces[i].addrs[k].addr, vrf};
		}
	}
	if (p->n_gateways)
		qsort(p->gateways, p->n_gateways, sizeof(*p->gateways), by_addr);
	return 0;
}

/* An interface's of the rule's VRF. */
bool plan_is_gateway(const struct plan *p, const struct addr *a)
{
	struct plan_gateway asked = {*a, p->vrf};

	return p->n_gateways && bsearch(&asked, p->gateways, p->n_gateways, sizeof(asked), by_addr);
}

/* The netdev that must answer ARP or ND for an address: of the interface in whose prefix it lies. */
int plan_host_ifindex(const struct plan *p, const struct addr *a)
{
	const struct model *m = p->sw->model;

	for (size_t n = 0; n < m->n_ifaces; n++) {
		const struct iface_cfg *i = &m->ifaces[n];

		if (vrf_id(p->sw, i->vrf) != p->vrf)
			continue;
		for (size_t k = 0; k < i->n_addrs; k++)
			if (prefix_contains(&i->addrs[k], a))
				return iface_host_ifindex(p->sw, iface_id(p->sw, i->name));
	}
	return 0;
}

int plan_addr_add(struct plan *p, const struct nat_plan_addr *a)
{
	struct nat_plan *o = p->out;
	struct nat_plan_addr *v;

	if (o->n_addrs == POOL_ADDR_MAX)
		return errs_add(
			p->errs, p->cfg->where, "nat",
			"more than %d addresses of interfaces, forwards and lists, and ranges of pools, in all rules together",
			POOL_ADDR_MAX);
	v = plan_grow(o->addrs, o->n_addrs, sizeof(*v));
	if (!v)
		return -ENOMEM;
	o->addrs = v;
	v[o->n_addrs++] = *a;
	return 0;
}

/* Where it is noted which one the address is, or is to be. There is always room: PLAN_KNOWN is four times as many as there may
 * be. */
static uint16_t *plan_addr_find(struct plan *p, const struct addr *a)
{
	uint32_t i = hash_end(hash_mix_bytes(p->vrf, a, sizeof(*a)));

	for (;; i++) {
		uint16_t *at = &p->known[i % PLAN_KNOWN];
		const struct nat_plan_addr *v = *at ? &p->out->addrs[*at - 1] : NULL;

		if (!v || (addr_same(&v->addr, a) && v->vrf == p->vrf))
			return at;
	}
}

/* An address of NAT, once; *ret is its index. */
int plan_addr(struct plan *p, const struct addr *a, bool own, size_t *ret)
{
	uint16_t *at = plan_addr_find(p, a);
	struct nat_plan_addr *v;
	int err;

	own = own || plan_is_gateway(p, a);
	if (!*at) {
		err = plan_addr_add(
			p, &(struct nat_plan_addr){
				   .addr = *a, .vrf = p->vrf, .own = own, .host_ifindex = own ? 0 : plan_host_ifindex(p, a)});
		if (err)
			return err;
		*at = (uint16_t)p->out->n_addrs;
	}
	*ret = *at - 1u;
	v = &p->out->addrs[*ret];
	if (own)
		v->host_ifindex = 0;
	v->own = v->own || own;
	return 0;
}

/* ---- pools */

static int plan_member_add(struct plan *p, struct nat_plan_pool *pool, const struct nat_plan_member *m)
{
	struct nat_plan *o = p->out;
	struct nat_plan_member *v = plan_grow(o->members, o->n_members, sizeof(*v));
	unsigned elements = m->at ? 2 : 1;

	if (!v)
		return -ENOMEM;
	o->members = v;
	if (o->n_elements + elements > POOL_MEMBER_MAX)
		return errs_add(p->errs, p->cfg->where, "nat", "the pools have more than %d members together", POOL_MEMBER_MAX);
	o->n_elements += elements;
	v[o->n_members++] = *m;
	pool->n++;
	if (addr_family(&o->addrs[m->addr].addr) == 4)
		pool->n4++;
	return 0;
}

static int plan_member(struct plan *p, struct nat_plan_pool *pool, const struct addr *a, bool own)
{
	struct nat_plan *o = p->out;
	size_t at;
	int err = plan_addr(p, a, own, &at);

	if (err)
		return err;
	for (size_t i = pool->first; i < pool->first + pool->n; i++)
		if (o->members[i].addr == at)
			return 0;
	return plan_member_add(p, pool, &(struct nat_plan_member){.addr = at, .n = 1});
}

int plan_member_run(struct plan *p, struct nat_plan_pool *pool, size_t addr, uint32_t at, uint32_t n)
{
	return plan_member_add(p, pool, &(struct nat_plan_member){addr, at, n});
}

static int plan_pool_new(struct plan *p, const char *name, size_t *ret)
{
	struct nat_plan *o = p->out;
	struct nat_plan_pool *v;

	if (o->n_pools == POOL_MAX - 1)
		return errs_add(p->errs, p->cfg->where, "nat", "more than %d pools", POOL_MAX - 1);
	v = plan_grow(o->pools, o->n_pools, sizeof(*v));
	if (!v)
		return -ENOMEM;
	o->pools = v;
	*ret = o->n_pools++;
	v[*ret] = (struct nat_plan_pool){
		.first = o->n_members,
		.port_min = p->cfg->port_min ? p->cfg->port_min : PORT_MIN_DEFAULT,
		.port_max = p->cfg->port_max ? p->cfg->port_max : PORT_MAX_DEFAULT,
	};
	snprintf(v[*ret].name, sizeof(v[*ret].name), "%s", name);
	snprintf(v[*ret].rule, sizeof(v[*ret].rule), "%s", p->cfg->name);
	return 0;
}

struct addr plan_addr_next(struct addr a)
{
	for (int i = 15; i >= 0; i--)
		if (++a.a8[i])
			break;
	return a;
}

static int plan_range(struct plan *p, struct nat_plan_pool *pool, const struct addr_range *r)
{
	struct addr a = r->first;
	int err = 0;

	if (memcmp(&r->first, &r->last, sizeof(a)) > 0)
		return plan_bad(p, "to", "the range ends before it begins%s", "");
	for (;; a = plan_addr_next(a)) {
		err = plan_member(p, pool, &a, false);
		if (err || addr_same(&a, &r->last))
			return err;
	}
}

/* "pool:" and the rule's name; a name too long for that keeps its beginning and gets a number that stands for the whole. */
void plan_pool_name(const char *rule, char ret[SLUICE_LABEL])
{
	uint32_t h = 2166136261u;

	if (strlen(rule) <= SLUICE_LABEL - 6) {
		snprintf(ret, SLUICE_LABEL, "pool:%.26s", rule);
		return;
	}
	for (const char *c = rule; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	snprintf(ret, SLUICE_LABEL, "pool:%.17s~%08x", rule, h);
}

/* Of the addresses the rule names. IPv4 first: a family's members stand side by side. */
int plan_pool(struct plan *p, size_t *ret)
{
	uint16_t of_rule = p->vrf;
	char name[SLUICE_LABEL];
	int err;

	plan_pool_name(p->cfg->name, name);
	p->vrf = vrf_id(p->sw, model_nat_vrf_outside(p->sw->model, p->cfg));
	err = plan_pool_new(p, name, ret);
	if (!err && plan_has_runs(p))
		p->out->pools[*ret].runs = p->cfg;
	for (int family = 4; !err && !plan_has_runs(p) && family <= 6; family += 2)
		for (size_t i = 0; !err && i < p->cfg->n_pool; i++)
			if (p->cfg->pool[i].family == family)
				err = plan_range(p, &p->out->pools[*ret], &p->cfg->pool[i]);
	p->vrf = of_rule;
	return err;
}

bool plan_is_global6(const struct addr *a)
{
	static const struct addr none;

	return !addr_same(a, &none) && !(a->a8[0] == 0xfe && (a->a8[1] & 0xc0) == 0x80);
}

/* NAT itself has put the address on the netdev, so that the host answers for it. */
bool plan_is_nats(const struct nat *nat, int ifindex, const struct addr *a)
{
	for (int i = 0; i < POOL_ADDR_MAX; i++)
		if (nat->addrs[i].host_ifindex == (uint32_t)ifindex && addr_same(&nat->addrs[i].addr, a))
			return true;
	return false;
}

/* The pool that masquerades to an interface's own address: it follows the primary ones, and may be empty for a while. */
int plan_masquerade(struct plan *p, uint16_t id, bool has_ports)
{
	struct nat_plan *o = p->out;
	struct nat_plan_pool *pool;
	uint16_t of_rule = p->vrf;
	char name[SLUICE_LABEL];
	int err, ifindex = iface_host_ifindex(p->sw, id);
	struct iface i;
	struct addr a4;
	size_t at;

	if (!id || id >= IFACE_MAX || iface_get(p->sw, id, &i))
		return 0;
	if (o->masq[id]) {
		pool = &o->pools[o->masq[id] - 1];
		if (!has_ports || !p->cfg->port_min || (pool->port_min == p->cfg->port_min && pool->port_max == p->cfg->port_max))
			return 0;
		return plan_bad(p, "ports", "the interface is masqueraded with another range by nat.%s", pool->rule);
	}
	snprintf(name, sizeof(name), "masq:%.15s", iface_name(p->sw, id) ? iface_name(p->sw, id) : "");
	err = plan_pool_new(p, name, &at);
	if (err)
		return err;
	pool = &o->pools[at];
	pool->masq = true;
	o->masq[id] = (uint16_t)(at + 1);
	a4 = addr_v4(i.addr4);
	p->vrf = i.vrf; /* the rule's may be another: who is translated on the way into the interface's */
	/* While the own address is changed, one of NAT's may be the first for a moment. */
	if (i.addr4 && !(i.flags & IFACE_F_LENT4) && !plan_is_nats(p->sw->nat, ifindex, &a4))
		err = plan_member(p, pool, &a4, true);
	if (!err && plan_is_global6(&i.addr6) && !(i.flags & IFACE_F_LENT6) && !plan_is_nats(p->sw->nat, ifindex, &i.addr6))
		err = plan_member(p, pool, &i.addr6, true);
	p->vrf = of_rule;
	return err;
}
