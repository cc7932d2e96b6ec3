/* nat_plan_dnat.c: the part of the plan for what comes from outside: forwards, static rules, and the marks by which the data
 * plane knows an address that is NAT's.
 *
 * Stands between nat_plan.c and the tables of nat_apply.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "nat_plan_priv.h"

/* ---- dnat */

static int plan_dnat_add(struct plan *p, const struct dnat_key *key, const struct dnat_rule *rule)
{
	struct nat_plan *o = p->out;
	struct nat_plan_dnat *v = plan_grow(o->dnat, o->n_dnat, sizeof(*v));
	uint32_t room = table_capacity(p->sw->nat->dnat) - DNAT_SPARED;

	if (!v)
		return -ENOMEM;
	o->dnat = v;
	if (o->n_dnat == room)
		return errs_add(p->errs, p->cfg->where, "nat", MODEL_NAT_DNAT_FULL, (int)room);
	v[o->n_dnat++] = (struct nat_plan_dnat){.key = *key, .rule = *rule};
	return 0;
}

static bool plan_is_wide(const struct nat_cfg *c)
{
	return !c->dport_min || c->dport_max > c->dport_min;
}

static int plan_dnat_ports(struct plan *p, const struct addr *daddr, uint8_t proto)
{
	const struct nat_cfg *c = p->cfg;
	struct dnat_key key = {.daddr = *daddr, .vrf = p->vrf, .proto = proto};
	uint16_t flags = (c->keep ? DNAT_F_KEEP : 0) | (plan_is_wide(c) ? DNAT_F_WIDE : 0);
	struct dnat_rule rule = {
		.to = c->to, .rule = p->rule, .vrf = vrf_id(p->sw, *c->to_vrf ? c->to_vrf : c->vrf), .flags = flags};
	int err = 0;

	memccpy(rule.name, c->name, '\0', sizeof(rule.name) - 1);
	if (!c->dport_min)
		return plan_dnat_add(p, &key, &rule);
	for (unsigned port = c->dport_min; !err && port <= c->dport_max; port += 1u << key.block) {
		key.block = (uint8_t)model_nat_block(port, c->dport_max);
		key.dport = htons((uint16_t)port);
		rule.to_port = c->to_port ? htons((uint16_t)(c->to_port + (port - c->dport_min))) : 0;
		rule.flags = (uint16_t)(flags | key.block << DNAT_BLOCK);
		err = plan_dnat_add(p, &key, &rule);
	}
	return err;
}

/* The plan has the mark already, by which it stands: of most of thousands of forwards. False also where another one's hash has
 * pushed it out. Else it is noted as the next one. */
static bool is_marked(struct plan *p, const struct dnat_key *mark)
{
	uint32_t *at = &p->marked[hash_end(hash_mix_bytes(0, mark, sizeof(*mark))) % PLAN_MARKED];

	if (*at && !memcmp(&p->out->dnat[*at - 1].key, mark, sizeof(*mark)))
		return true;
	*at = (uint32_t)p->out->n_dnat + 1;
	return false;
}

/* Every address of a rule or pool is marked: the data plane asks for forwards and mappings only of those. Where a rule leads to
 * is marked too (`kind`): answers may come from there. */
static int plan_mark(struct plan *p, const struct addr *a, uint16_t vrf, uint16_t kind, bool own)
{
	const struct dnat_rule rule = {.flags = own ? DNAT_F_OWN : 0};
	struct dnat_key mark = {.daddr = *a, .dport = htons(kind), .vrf = vrf, .proto = DNAT_PROTO_MARK};

	return is_marked(p, &mark) ? 0 : plan_dnat_add(p, &mark, &rule);
}

static int plan_inside(struct plan *p, uint8_t proto)
{
	const struct nat_cfg *c = p->cfg;

	return plan_mark(p, &c->to, vrf_id(p->sw, *c->to_vrf ? c->to_vrf : c->vrf), DNAT_MARK_INSIDE + proto, false);
}

/* One address that the rule translates. `own`: an interface's; else the host must be told to answer for it. */
static int plan_dnat_addr(struct plan *p, const struct addr *daddr, bool own)
{
	static const uint8_t with_ports[] = {IPPROTO_TCP, IPPROTO_UDP};
	const uint8_t *protos = p->cfg->protocols;
	size_t n = p->cfg->n_protocols, at;
	int err = 0;

	if (addr_family(daddr) != p->cfg->to_family)
		return 0;
	if (!n && p->cfg->dport_min) {
		protos = with_ports;
		n = 2;
	}
	if (!n)
		err = plan_dnat_ports(p, daddr, 0);
	for (size_t i = 0; !err && i < n; i++)
		err = plan_dnat_ports(p, daddr, protos[i]);
	if (!n && !err)
		err = plan_inside(p, 0);
	for (size_t i = 0; !err && i < n; i++)
		err = plan_inside(p, protos[i]);
	if (err)
		return err;
	return own ? plan_mark(p, daddr, p->vrf, 0, true) : plan_addr(p, daddr, false, &at);
}

int plan_marks(struct plan *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->out->n_addrs; i++)
		if (!p->out->addrs[i].run)
			err = plan_mark(p, &p->out->addrs[i].addr, p->out->addrs[i].vrf, 0, p->out->addrs[i].own);
	return err;
}

struct reading {
	struct plan *p;
	struct plan_own *own;
	int ifindex;
};

static int read_own(const struct link_addr *a, void *arg)
{
	struct reading *r = arg;
	struct plan *p = r->p;
	struct addr *v;

	if (addr_family(&a->addr.addr) == 6 && !plan_is_global6(&a->addr.addr))
		return 0;
	if (plan_is_nats(p->sw->nat, r->ifindex, &a->addr.addr))
		return 0;
	v = plan_grow(p->own_addrs, r->own->first + r->own->n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	p->own_addrs = v;
	v[r->own->first + r->own->n++] = a->addr.addr;
	return 0;
}

/* The interface's addresses that are neither link-local nor what NAT itself has put there. Read once in a plan: thousands of
 * forwards may be of one interface's, and who asks for them goes over all of the host's. */
static int plan_own_addrs(struct plan *p, uint16_t iface, const struct plan_own **ret)
{
	struct plan_own *own = &p->own[iface];
	struct reading r = {.p = p, .own = own, .ifindex = iface_host_ifindex(p->sw, iface)};
	int err;

	*ret = own;
	if (own->known || !r.ifindex)
		return 0;
	*own = (struct plan_own){.first = p->n_own_addrs};
	err = mirror_each_addr(p->sw->mirror, r.ifindex, read_own, &r);
	p->n_own_addrs += own->n;
	own->known = true;
	return err;
}

static int plan_dnat_own(struct plan *p, uint16_t iface)
{
	const struct plan_own *own;
	int err = plan_own_addrs(p, iface, &own);

	for (size_t i = 0; !err && i < own->n; i++)
		err = plan_dnat_addr(p, &p->own_addrs[own->first + i], true);
	return err;
}

/* For hairpinning, see nat_snat(). Once in a plan: there may be thousands of forwards. */
static int plan_masquerade_all(struct plan *p, uint16_t vrf)
{
	const struct model *m = p->sw->model;
	int err = 0;

	if (p->masqueraded[vrf])
		return 0;
	p->masqueraded[vrf] = true;
	for (size_t i = 0; !err && i < m->n_ifaces; i++)
		if (vrf_id(p->sw, m->ifaces[i].vrf) == vrf)
			err = plan_masquerade(p, iface_id(p->sw, m->ifaces[i].name), false);
	return err;
}

int plan_dnat(struct plan *p)
{
	const struct nat_cfg *c = p->cfg;
	char text[ADDR_TEXT];
	int err = 0;

	if (plan_is_gateway(p, &c->to))
		return plan_bad(p, "to", "%s is the gateway's own address: a forward leads to another host",
				addr_text(&c->to, text));
	err = plan_masquerade_all(p, p->vrf);
	if (err)
		return err;
	if (!c->dest_iface[0] && c->destination.len != (c->destination.family == 4 ? 32 : 128))
		return plan_bad(p, "destination", "must be one address, or the name of an interface%s", "");
	if (!c->dest_iface[0])
		return plan_dnat_addr(p, &c->destination.addr, plan_is_gateway(p, &c->destination.addr));
	return plan_dnat_own(p, iface_id(p->sw, c->dest_iface));
}

/* ---- static */

#define STATIC_ANSWERED_MAX 256

/* Addresses of the outside prefix that lie in an interface's are answered for by the host. */
static int plan_static_addrs(struct plan *p)
{
	const struct prefix *o = &p->cfg->outside;
	unsigned host_bits = (o->family == 4 ? 32 : 128) - o->len;
	struct addr a = o->addr;
	size_t at;
	int err = 0;

	if (!plan_host_ifindex(p, &a))
		return 0;
	if (host_bits > 30 || 1u << host_bits > STATIC_ANSWERED_MAX)
		return plan_bad(p, "outside",
				"is in an interface's own prefix, where the gateway must answer for each address: at most 256%s",
				"");
	for (unsigned i = 0; !err && i < 1u << host_bits; i++, a = plan_addr_next(a))
		err = plan_addr(p, &a, false, &at);
	return err;
}

int plan_static(struct plan *p)
{
	const struct nat_cfg *c = p->cfg;
	struct nat_plan *o = p->out;
	struct snat_rule r = {.vrf = p->vrf, .rule = p->rule, .action = SNAT_STATIC, .to = prefix_masked(&c->outside).addr};
	struct nat_plan_static *v = &o->statics[o->n_statics];
	int err = plan_masquerade_all(p, p->vrf);

	if (err)
		return err;
	if (o->n_statics == SNAT_RULE_MAX)
		return plan_bad(p, NULL, "more than 256 static rules%s", "");
	o->n_statics++;
	*v = (struct nat_plan_static){
		.key = {.len = 32 + prefix_mapped_len(&c->outside), .vrf = p->vrf, .addr = r.to},
		.value = {.to = prefix_masked(&c->source).addr,
			  .len = prefix_mapped_len(&c->source),
			  .rule = p->rule,
			  .flags = c->keep ? DNAT_F_KEEP : 0},
		.cfg = c,
	};
	r.flags = c->keep ? SNAT_F_KEEP : 0;
	plan_snat_prefix(&c->source, &r.src, &r.src_len, &r.family);
	snprintf(r.name, sizeof(r.name), "%s", c->name);
	err = plan_snat_out(p, &r);
	return err ?: plan_static_addrs(p);
}

/* Of two rules with the same key the earlier one holds; so equal keys keep their order. */
struct ordered {
	struct nat_plan_dnat d;
	size_t at;
};

static int by_key(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	int r = memcmp(&x->d.key, &y->d.key, sizeof(x->d.key));

	return r ? r : (x->at > y->at) - (x->at < y->at);
}

static int by_key_alone(const void *key, const void *entry)
{
	return memcmp(key, &((const struct nat_plan_dnat *)entry)->key, sizeof(struct dnat_key));
}

struct nat_plan_dnat *nat_plan_dnat_find(const struct nat_plan *plan, const struct dnat_key *key)
{
	return plan->n_dnat ? bsearch(key, plan->dnat, plan->n_dnat, sizeof(*plan->dnat), by_key_alone) : NULL;
}

/* Into the addresses' marks, which sizes of blocks there are; of the sorted plan. */
static void plan_blocks(struct nat_plan *o)
{
	for (size_t i = 0; i < o->n_dnat; i++) {
		const struct dnat_key *k = &o->dnat[i].key;
		struct dnat_key mark = {.daddr = k->daddr, .vrf = k->vrf, .proto = DNAT_PROTO_MARK};
		struct nat_plan_dnat *d = k->block ? nat_plan_dnat_find(o, &mark) : NULL;

		if (d)
			d->rule.blocks |= 1u << k->block;
	}
}

int plan_dnat_sort(struct nat_plan *o)
{
	struct ordered *v = calloc(o->n_dnat ? o->n_dnat : 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < o->n_dnat; i++)
		v[i] = (struct ordered){.d = o->dnat[i], .at = i};
	qsort(v, o->n_dnat, sizeof(*v), by_key);
	for (size_t i = 0; i < o->n_dnat; i++)
		if (!n || memcmp(&o->dnat[n - 1].key, &v[i].d.key, sizeof(v[i].d.key)))
			o->dnat[n++] = v[i].d;
	o->n_dnat = n;
	free(v);
	plan_blocks(o);
	return 0;
}
