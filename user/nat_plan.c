/* nat_plan.c: from the model's nat rules, and the addresses that interfaces have now, to the content of NAT's tables.
 *
 * Stands between the model and nat_apply.c. Changes nothing: what cannot be is refused here, with words, before any table is
 * touched. Source rules are here; addresses and pools are in nat_plan_pool.c, the rules about destinations in nat_plan_dnat.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_plan_priv.h"

void *plan_grow(void *v, size_t n, size_t size)
{
	if (n && (n & (n - 1)))
		return v;
	return reallocarray(v, n ? 2 * n : 1, size);
}

int plan_bad(struct plan *p, const char *key, const char *fmt, const char *what)
{
	char path[SLUICE_LABEL + 32];

	snprintf(path, sizeof(path), "nat.%s%s%s", p->cfg->name, key ? "." : "", key ? key : "");
	return errs_add(p->errs, p->cfg->where, path, fmt, what);
}

/* ---- snat */

static int plan_snat_add(struct plan *p, const struct snat_rule *like, uint8_t proto, uint16_t out)
{
	struct nat_plan *o = p->out;

	if (o->n_snat == SNAT_RULE_MAX)
		return plan_bad(p, NULL,
				"the source rules are more than the table holds: 256, each protocol and interface counted%s", "");
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

void plan_snat_prefix(const struct prefix *prefix, struct addr *ret, uint8_t *ret_len, uint8_t *family)
{
	if (!prefix->family)
		return;
	*ret = prefix_masked(prefix).addr;
	*ret_len = (uint8_t)prefix_mapped_len(prefix);
	*family = prefix->family;
}

/* The rule for each interface it names. One that is not there yet has no id: its rule comes with it. */
int plan_snat_out(struct plan *p, const struct snat_rule *r)
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

/* 0: both. */
static uint8_t pool_family(const struct nat_cfg *c)
{
	bool has[2] = {false, false};

	for (size_t i = 0; i < c->n_pool; i++)
		has[c->pool[i].family == 6] = true;
	return has[0] && has[1] ? 0 : has[1] ? 6 : 4;
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
		if (!r.family)
			r.family = pool_family(c);
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

/* ---- all of it */

static int plan_snats(struct plan *p)
{
	const struct model *m = p->sw->model;

	for (size_t i = 0; i < m->n_nats; i++) {
		const struct nat_cfg **v;

		if (m->nats[i].type != NAT_SNAT)
			continue;
		v = plan_grow(p->snats, p->n_snats, sizeof(*v));
		if (!v)
			return -ENOMEM;
		p->snats = v;
		v[p->n_snats++] = &m->nats[i];
	}
	return 0;
}

static void plan_rule(struct plan *p, const struct nat_cfg *c)
{
	p->cfg = c;
	p->vrf = vrf_id(p->sw, c->vrf);
}

/* Masquerade pools of source rules come before those of forwards, which take any range of ports. */
static int plan_masquerades(struct plan *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->n_snats; i++) {
		plan_rule(p, p->snats[i]);
		if (p->cfg->to_kind == NAT_TO_MASQUERADE)
			err = plan_snat_masquerade(p);
	}
	return err;
}

static int plan_rules(struct plan *p)
{
	const struct model *m = p->sw->model;
	struct nat_plan *o = p->out;
	int err = 0;

	for (size_t i = 0; !err && i < m->n_nats; i++) {
		const struct nat_cfg *c = &m->nats[i];

		plan_rule(p, c);
		p->rule = nat_rule_take(p->sw->nat, c->name);
		if (!p->rule)
			return errs_add(p->errs, c->where, "nat", "more than 65535 rules");
		nat_rule_options(p->sw->nat, p->rule, c);
		o->own_is_open = o->own_is_open || (c->to_kind == NAT_TO_MASQUERADE && c->filtering != NAT_FILTER_ADDRESS_PORT);
		o->has_remotes = o->has_remotes || c->filtering == NAT_FILTER_ADDRESS;
		o->has_limits = o->has_limits || c->limit_sessions || c->limit_ports;
		err = c->type == NAT_SNAT ? plan_snat(p) : c->type == NAT_DNAT ? plan_dnat(p) : plan_static(p);
	}
	return err;
}

static int plan_all(struct plan *p)
{
	int err = plan_snats(p);

	err = err ?: plan_gateways(p);
	err = err ?: plan_run_choose(p);
	err = err ?: plan_masquerades(p);
	err = err ?: plan_rules(p);
	if (!err && p->sw->model->n_nats)
		err = plan_run_pools(p);
	if (!err && p->sw->model->n_nats)
		err = plan_prefixes(p);
	if (!err && p->sw->model->n_nats)
		err = plan_marks(p);
	return err;
}

int nat_plan_make(struct sw *sw, struct nat_plan *ret, struct errs *errs)
{
	struct plan p = {.sw = sw, .out = ret, .errs = errs};
	int err = plan_all(&p);

	free(p.snats);
	free(p.gateways);
	free(p.forms);
	free(p.own_addrs);
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
	free(plan->runs);
}
