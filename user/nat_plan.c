/* nat_plan.c: from the model's nat rules, and the addresses that interfaces have now, to the content of NAT's tables.
 *
 * Stands between the model and nat_apply.c. Changes nothing: what cannot be is refused here, with words, before any table is
 * touched.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "nat_priv.h"

#define PORT_MIN_DEFAULT 1024
#define PORT_MAX_DEFAULT 65535

struct plan {
	struct sw *sw;
	struct nat_plan *out;
	struct errs *errs;
	const struct nat_cfg *cfg; /* the rule at hand */
	uint16_t rule, vrf;
};

/* Room for one more of an array that grows by doubling. NULL: no memory, and the array is as it was. */
static void *grow(void *v, size_t n, size_t size)
{
	if (n && (n & (n - 1)))
		return v;
	return reallocarray(v, n ? 2 * n : 1, size);
}

static int bad(struct plan *p, const char *key, const char *fmt, const char *what)
{
	char path[SLUICE_LABEL + 32];

	snprintf(path, sizeof(path), "nat.%s%s%s", p->cfg->name, key ? "." : "", key ? key : "");
	return errs_add(p->errs, p->cfg->where, path, fmt, what);
}

/* ---- addresses */

static bool same(const struct addr *a, const struct addr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool is_own(const struct iface_cfg *i, const struct addr *a)
{
	for (size_t k = 0; k < i->n_addrs; k++)
		if (same(&i->addrs[k].addr, a))
			return true;
	return false;
}

/* An interface's of the rule's VRF. */
static bool is_gateway(const struct plan *p, const struct addr *a)
{
	const struct model *m = p->sw->model;

	for (size_t i = 0; i < m->n_ifaces; i++)
		if (vrf_id(p->sw, m->ifaces[i].vrf) == p->vrf && is_own(&m->ifaces[i], a))
			return true;
	return false;
}

/* The netdev that must answer ARP or ND for an address: of the interface in whose prefix it lies. */
static int host_ifindex_for(const struct plan *p, const struct addr *a)
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

/* An address of NAT, once; *ret is its index. */
static int plan_addr(struct plan *p, const struct addr *a, bool own, size_t *ret)
{
	struct nat_plan *o = p->out;
	struct nat_plan_addr *v;

	own = own || is_gateway(p, a);
	for (*ret = 0; *ret < o->n_addrs; (*ret)++) {
		v = &o->addrs[*ret];
		if (!same(&v->addr, a) || v->vrf != p->vrf)
			continue;
		if (own)
			v->host_ifindex = 0;
		v->own = v->own || own;
		return 0;
	}
	if (o->n_addrs == POOL_ADDR_MAX)
		return errs_add(p->errs, p->cfg->where, "nat", "more than %d addresses in all rules together", POOL_ADDR_MAX);
	v = grow(o->addrs, o->n_addrs, sizeof(*v));
	if (!v)
		return -ENOMEM;
	o->addrs = v;
	v[o->n_addrs++] =
		(struct nat_plan_addr){.addr = *a, .vrf = p->vrf, .own = own, .host_ifindex = own ? 0 : host_ifindex_for(p, a)};
	return 0;
}

/* ---- pools */

static int plan_member(struct plan *p, struct nat_plan_pool *pool, const struct addr *a, bool own)
{
	struct nat_plan *o = p->out;
	size_t at, *v;
	int err = plan_addr(p, a, own, &at);

	if (err)
		return err;
	for (size_t i = pool->first; i < pool->first + pool->n; i++)
		if (o->members[i] == at)
			return 0;
	if (o->n_members == POOL_MEMBER_MAX)
		return errs_add(p->errs, p->cfg->where, "nat", "the pools have more than %d members together", POOL_MEMBER_MAX);
	v = grow(o->members, o->n_members, sizeof(*v));
	if (!v)
		return -ENOMEM;
	o->members = v;
	v[o->n_members++] = at;
	pool->n++;
	if (addr_family(a) == 4)
		pool->n4++;
	return 0;
}

static int plan_pool_new(struct plan *p, const char *name, size_t *ret)
{
	struct nat_plan *o = p->out;
	struct nat_plan_pool *v;

	if (o->n_pools == POOL_MAX - 1)
		return errs_add(p->errs, p->cfg->where, "nat", "more than %d pools", POOL_MAX - 1);
	v = grow(o->pools, o->n_pools, sizeof(*v));
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

static struct addr addr_next(struct addr a)
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
		return bad(p, "to", "the range ends before it begins%s", "");
	for (;; a = addr_next(a)) {
		err = plan_member(p, pool, &a, false);
		if (err || same(&a, &r->last))
			return err;
	}
}

/* "pool:" and the rule's name; a name too long for that keeps its beginning and gets a number that stands for the whole. */
static void pool_name(const char *rule, char ret[SLUICE_LABEL])
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
static int plan_pool(struct plan *p, size_t *ret)
{
	uint16_t of_rule = p->vrf;
	char name[SLUICE_LABEL];
	int err;

	pool_name(p->cfg->name, name);
	p->vrf = vrf_id(p->sw, model_nat_vrf_outside(p->sw->model, p->cfg));
	err = plan_pool_new(p, name, ret);
	for (int family = 4; !err && family <= 6; family += 2)
		for (size_t i = 0; !err && i < p->cfg->n_pool; i++)
			if (p->cfg->pool[i].family == family)
				err = plan_range(p, &p->out->pools[*ret], &p->cfg->pool[i]);
	p->vrf = of_rule;
	return err;
}

static bool is_global6(const struct addr *a)
{
	static const struct addr none;

	return !same(a, &none) && !(a->a8[0] == 0xfe && (a->a8[1] & 0xc0) == 0x80);
}

/* NAT itself has put the address on the netdev, so that the host answers for it. */
static bool is_nats(const struct nat *nat, int ifindex, const struct addr *a)
{
	for (int i = 0; i < POOL_ADDR_MAX; i++)
		if (nat->addrs[i].host_ifindex == (uint32_t)ifindex && same(&nat->addrs[i].addr, a))
			return true;
	return false;
}

/* The pool that masquerades to an interface's own address: it follows the primary ones, and may be empty for a while. */
static int plan_masquerade(struct plan *p, uint16_t id, bool has_ports)
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
		return bad(p, "ports", "the interface is masqueraded with another range by nat.%s", pool->rule);
	}
	snprintf(name, sizeof(name), "masq:%.15s", iface_name(p->sw, id) ? iface_name(p->sw, id) : "");
	err = plan_pool_new(p, name, &at);
	if (err)
		return err;
	pool = &o->pools[at];
	o->masq[id] = (uint16_t)(at + 1);
	a4 = addr_v4(i.addr4);
	p->vrf = i.vrf; /* the rule's may be another: who is translated on the way into the interface's */
	/* While the own address is changed, one of NAT's may be the first for a moment. */
	if (i.addr4 && !(i.flags & IFACE_F_LENT4) && !is_nats(p->sw->nat, ifindex, &a4))
		err = plan_member(p, pool, &a4, true);
	if (!err && is_global6(&i.addr6) && !(i.flags & IFACE_F_LENT6) && !is_nats(p->sw->nat, ifindex, &i.addr6))
		err = plan_member(p, pool, &i.addr6, true);
	p->vrf = of_rule;
	return err;
}

/* ---- snat */

static int plan_snat_add(struct plan *p, const struct snat_rule *like, uint8_t proto, uint16_t out)
{
	struct nat_plan *o = p->out;

	if (o->n_snat == SNAT_RULE_MAX)
		return bad(p, NULL, "the source rules are more than the table holds: 256, each protocol and interface counted%s",
			   "");
	o->snat[o->n_snat] = *like;
	o->snat[o->n_snat].proto = proto;
	o->snat[o->n_snat++].out_iface = out;
	return 0;
}

/* ICMP in a rule means that of the packet's family. */
static int plan_snat_protocols(struct plan *p, const struct snat_rule *like, uint16_t out)
{
	int err = 0;

	if (!p->cfg->n_protocols)
		return plan_snat_add(p, like, 0, out);
	for (size_t i = 0; !err && i < p->cfg->n_protocols; i++)
		err = plan_snat_add(p, like, p->cfg->protocols[i], out);
	return err;
}

static void plan_snat_prefix(const struct prefix *prefix, struct addr *ret, uint8_t *ret_len, uint8_t *family)
{
	if (!prefix->family)
		return;
	*ret = prefix_masked(prefix).addr;
	*ret_len = (uint8_t)prefix_mapped_len(prefix);
	*family = prefix->family;
}

/* The rule for each interface it names. One that is not there yet has no id: its rule comes with it. */
static int plan_snat_out(struct plan *p, const struct snat_rule *r)
{
	const struct nat_cfg *c = p->cfg;
	int err = 0;

	if (!c->n_out)
		return plan_snat_protocols(p, r, 0);
	for (size_t i = 0; !err && i < c->n_out; i++) {
		uint16_t id = iface_id(p->sw, c->out[i]);

		if (!id)
			continue;
		p->out->outside[id] = p->out->outside[id] || r->action != SNAT_EXEMPT;
		err = plan_snat_protocols(p, r, id);
	}
	return err;
}

static int plan_snat(struct plan *p)
{
	const struct nat_cfg *c = p->cfg;
	struct snat_rule r = {.vrf = p->vrf, .rule = p->rule, .mapping = c->mapping, .filtering = c->filtering};
	size_t at = 0;
	int err = 0;

	plan_snat_prefix(&c->source, &r.src, &r.src_len, &r.family);
	plan_snat_prefix(&c->destination, &r.dst, &r.dst_len, &r.family);
	snprintf(r.name, sizeof(r.name), "%s", c->name);
	r.flags = (c->overload ? SNAT_F_OVERLOAD : 0) | (c->keep ? SNAT_F_KEEP : 0);
	r.limit_sessions = c->limit_sessions;
	r.limit_ports = c->limit_ports;
	r.action = c->to_kind == NAT_TO_POOL ? SNAT_POOL : c->to_kind == NAT_TO_MASQUERADE ? SNAT_MASQUERADE : SNAT_EXEMPT;
	if (c->to_kind == NAT_TO_POOL) {
		err = plan_pool(p, &at);
		if (err)
			return err;
		/* For now the place in the plan; nat_apply() knows the id. */
		r.pool = (uint16_t)(at + 1);
		/* A pool of one family takes only packets of that family: the others are not this rule's. */
		if (!r.family && p->out->pools[at].n4 == p->out->pools[at].n)
			r.family = 4;
		else if (!r.family && !p->out->pools[at].n4)
			r.family = 6;
	}
	return plan_snat_out(p, &r);
}

/* The interfaces that the rule masquerades on: those it names, or all of its VRF. */
static int plan_snat_masquerade(struct plan *p)
{
	const struct model *m = p->sw->model;
	int err = 0;

	for (size_t i = 0; !err && i < p->cfg->n_out; i++)
		err = plan_masquerade(p, iface_id(p->sw, p->cfg->out[i]), true);
	for (size_t i = 0; !err && !p->cfg->n_out && i < m->n_ifaces; i++)
		if (vrf_id(p->sw, m->ifaces[i].vrf) == p->vrf)
			err = plan_masquerade(p, iface_id(p->sw, m->ifaces[i].name), true);
	return err;
}

/* ---- dnat */

static int plan_dnat_add(struct plan *p, const struct dnat_key *key, const struct dnat_rule *rule)
{
	struct nat_plan *o = p->out;
	struct nat_plan_dnat *v = grow(o->dnat, o->n_dnat, sizeof(*v));
	uint32_t capacity = table_capacity(p->sw->nat->dnat);
	char text[16];

	if (!v)
		return -ENOMEM;
	o->dnat = v;
	if (o->n_dnat == capacity) {
		snprintf(text, sizeof(text), "%u", capacity);
		return bad(p, NULL, "the destination rules' table is full: %s entries, one for each address, protocol and port",
			   text);
	}
	v[o->n_dnat++] = (struct nat_plan_dnat){.key = *key, .rule = *rule};
	return 0;
}

static int plan_dnat_ports(struct plan *p, const struct addr *daddr, uint8_t proto)
{
	const struct nat_cfg *c = p->cfg;
	struct dnat_key key = {.daddr = *daddr, .vrf = p->vrf, .proto = proto};
	struct dnat_rule rule = {.to = c->to,
				 .rule = p->rule,
				 .vrf = vrf_id(p->sw, *c->to_vrf ? c->to_vrf : c->vrf),
				 .flags = c->keep ? DNAT_F_KEEP : 0};
	int err = 0;

	snprintf(rule.name, sizeof(rule.name), "%s", c->name);
	if (!c->dport_min)
		return plan_dnat_add(p, &key, &rule);
	for (unsigned port = c->dport_min; !err && port <= (c->dport_max ? c->dport_max : c->dport_min); port++) {
		unsigned to = c->to_port ? c->to_port + (port - c->dport_min) : 0;

		if (to > 65535)
			return bad(p, "to", "the range of ports goes beyond 65535%s", "");
		key.dport = htons((uint16_t)port);
		rule.to_port = htons((uint16_t)to);
		err = plan_dnat_add(p, &key, &rule);
	}
	return err;
}

/* Every address of a rule or pool is marked: the data plane asks for forwards and mappings only of those. Where a rule leads to
 * is marked too (`kind`): answers may come from there. */
static int plan_mark(struct plan *p, const struct addr *a, uint16_t vrf, uint16_t kind, bool own)
{
	const struct dnat_rule rule = {.flags = own ? DNAT_F_OWN : 0};
	struct dnat_key mark = {.daddr = *a, .dport = htons(kind), .vrf = vrf, .proto = DNAT_PROTO_MARK};

	return plan_dnat_add(p, &mark, &rule);
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

static int plan_marks(struct plan *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->out->n_addrs; i++)
		err = plan_mark(p, &p->out->addrs[i].addr, p->out->addrs[i].vrf, 0, p->out->addrs[i].own);
	return err;
}

struct own_addrs {
	struct plan *p;
	int ifindex;
};

/* An address of the interface that is neither link-local nor one that NAT itself has put there. */
static int plan_dnat_own(const struct link_addr *a, void *arg)
{
	struct own_addrs *o = arg;
	const struct nat *nat = o->p->sw->nat;

	if (addr_family(&a->addr.addr) == 6 && !is_global6(&a->addr.addr))
		return 0;
	if (is_nats(nat, o->ifindex, &a->addr.addr))
		return 0;
	return plan_dnat_addr(o->p, &a->addr.addr, true);
}

/* For hairpinning, see nat_snat(). */
static int plan_masquerade_all(struct plan *p, uint16_t vrf)
{
	const struct model *m = p->sw->model;
	int err = 0;

	for (size_t i = 0; !err && i < m->n_ifaces; i++)
		if (vrf_id(p->sw, m->ifaces[i].vrf) == vrf)
			err = plan_masquerade(p, iface_id(p->sw, m->ifaces[i].name), false);
	return err;
}

static int plan_dnat(struct plan *p)
{
	const struct nat_cfg *c = p->cfg;
	struct own_addrs own = {.p = p};
	char text[ADDR_TEXT];
	int err = 0;

	if (is_gateway(p, &c->to))
		return bad(p, "to", "%s is the gateway's own address: a forward leads to another host", addr_text(&c->to, text));
	err = plan_masquerade_all(p, p->vrf);
	if (err)
		return err;
	if (!c->dest_iface[0] && c->destination.len != (c->destination.family == 4 ? 32 : 128))
		return bad(p, "destination", "must be one address, or the name of an interface%s", "");
	if (!c->dest_iface[0])
		return plan_dnat_addr(p, &c->destination.addr, is_gateway(p, &c->destination.addr));
	own.ifindex = iface_host_ifindex(p->sw, iface_id(p->sw, c->dest_iface));
	return own.ifindex ? mirror_each_addr(p->sw->mirror, own.ifindex, plan_dnat_own, &own) : 0;
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

	if (!host_ifindex_for(p, &a))
		return 0;
	if (host_bits > 30 || 1u << host_bits > STATIC_ANSWERED_MAX)
		return bad(p, "outside",
			   "is in an interface's own prefix, where the gateway must answer for each address: at most 256%s", "");
	for (unsigned i = 0; !err && i < 1u << host_bits; i++, a = addr_next(a))
		err = plan_addr(p, &a, false, &at);
	return err;
}

static int plan_static(struct plan *p)
{
	const struct nat_cfg *c = p->cfg;
	struct nat_plan *o = p->out;
	struct snat_rule r = {.vrf = p->vrf, .rule = p->rule, .action = SNAT_STATIC, .to = prefix_masked(&c->outside).addr};
	struct nat_plan_static *v = &o->statics[o->n_statics];
	int err = plan_masquerade_all(p, p->vrf);

	if (err)
		return err;
	if (o->n_statics == SNAT_RULE_MAX)
		return bad(p, NULL, "more than 256 static rules%s", "");
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

static int plan_dnat_sort(struct nat_plan *o)
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
	return 0;
}

/* ---- all of it. Masquerade pools of source rules come before those of forwards, which take any range of ports. */
int nat_plan_make(struct sw *sw, struct nat_plan *ret, struct errs *errs)
{
	struct plan p = {.sw = sw, .out = ret, .errs = errs};
	const struct model *m = sw->model;
	int err = 0;

	for (size_t i = 0; !err && i < 2 * m->n_nats; i++) {
		bool first = i < m->n_nats;

		p.cfg = &m->nats[i % m->n_nats];
		p.vrf = vrf_id(sw, p.cfg->vrf);
		if (first && p.cfg->type == NAT_SNAT && p.cfg->to_kind == NAT_TO_MASQUERADE)
			err = plan_snat_masquerade(&p);
		if (first)
			continue;
		p.rule = nat_rule_take(sw->nat, p.cfg->name);
		if (!p.rule)
			return errs_add(errs, p.cfg->where, "nat", "more than 65535 rules");
		nat_rule_options(sw->nat, p.rule, p.cfg);
		ret->own_is_open =
			ret->own_is_open || (p.cfg->to_kind == NAT_TO_MASQUERADE && p.cfg->filtering != NAT_FILTER_ADDRESS_PORT);
		ret->has_remotes = ret->has_remotes || p.cfg->filtering == NAT_FILTER_ADDRESS;
		ret->has_limits = ret->has_limits || p.cfg->limit_sessions || p.cfg->limit_ports;
		err = p.cfg->type == NAT_SNAT ? plan_snat(&p) : p.cfg->type == NAT_DNAT ? plan_dnat(&p) : plan_static(&p);
	}
	if (!err && m->n_nats)
		err = plan_marks(&p);
	if (!err)
		err = plan_dnat_sort(ret);
	if (!err)
		nat_plan_hairpin(sw, ret);
	return err;
}

void nat_plan_free(struct nat_plan *plan)
{
	free(plan->pools);
	free(plan->members);
	free(plan->addrs);
	free(plan->dnat);
}
