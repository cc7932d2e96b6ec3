/* model_nat_check.c: what NAT rules must be to each other and to the interfaces.
 *
 * Stands between model_check.c and struct nat_cfg; model_nat.c reads and writes single rules.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

static void key_of(const struct checker *c, const struct nat_cfg *rule, const char *sub, char buf[64])
{
	snprintf(buf, 64, "nat[%zu].%s", (size_t)(rule - c->m->nats), sub);
}

static int cmp_names(const void *a, const void *b)
{
	const struct nat_cfg *x = *(const struct nat_cfg *const *)a, *y = *(const struct nat_cfg *const *)b;
	int d = strcmp(x->name, y->name);

	return d ? d : (x > y) - (x < y);
}

static void names_check(struct checker *c)
{
	const struct nat_cfg **v = sorted_pointers(c->m->nats, c->m->n_nats, sizeof(*c->m->nats), cmp_names);
	char key[64], line[LINE_TEXT];

	if (!v && c->m->n_nats)
		check_oom(c);
	for (size_t i = 1; v && i < c->m->n_nats; i++) {
		if (strcmp(v[i]->name, v[i - 1]->name))
			continue;
		key_of(c, v[i], "name", key);
		check_bad(c, v[i]->where, key, "another rule is called `%s` already%s", v[i]->name,
			  line_text(v[i - 1]->where, line));
	}
	free(v);
}

/* One rule, one family: that of its prefixes, its pool, and of ICMP's two versions. */
static void families_check(struct checker *c, const struct nat_cfg *rule)
{
	uint8_t family = 0, f[4 + 4] = {rule->source.family, rule->destination.family, rule->to_family};
	char key[64];
	size_t n = 3;

	for (size_t i = 0; i < rule->n_protocols; i++)
		f[n++] = rule->protocols[i] == IPPROTO_ICMP ? 4 : rule->protocols[i] == IPPROTO_ICMPV6 ? 6 : 0;
	snprintf(key, sizeof(key), "nat[%zu]", (size_t)(rule - c->m->nats));
	for (size_t i = 0; i < n + rule->n_pool; i++) {
		uint8_t one = i < n ? f[i] : rule->pool[i - n].family;

		if (one && family && one != family) {
			check_bad(c, rule->where, key,
				  "mixes IPv4 and IPv6: source, destination, protocol and `to` of a rule are of one family");
			return;
		}
		family = one ?: family;
	}
}

/* ---- snat ---- */

static uint64_t range_size(const struct addr_range *r)
{
	uint64_t size;

	if (r->first.a64[0] != r->last.a64[0])
		return UINT64_MAX;
	size = be64toh(r->last.a64[1]) - be64toh(r->first.a64[1]);
	return size == UINT64_MAX ? size : size + 1;
}

static uint64_t pool_size(const struct nat_cfg *rule)
{
	uint64_t sum = 0, one;

	for (size_t i = 0; i < rule->n_pool; i++) {
		one = range_size(&rule->pool[i]);
		if (__builtin_add_overflow(sum, one, &sum))
			return UINT64_MAX;
	}
	return sum;
}

static bool same_pool(const struct nat_cfg *a, const struct nat_cfg *b)
{
	if (a->n_pool != b->n_pool || a->port_min != b->port_min || a->port_max != b->port_max || strcmp(a->vrf, b->vrf))
		return false;
	for (size_t i = 0; i < a->n_pool; i++)
		if (memcmp(&a->pool[i].first, &b->pool[i].first, sizeof(struct addr)) ||
		    memcmp(&a->pool[i].last, &b->pool[i].last, sizeof(struct addr)))
			return false;
	return true;
}

/* Whether an earlier rule has the same pool: both draw from one. */
static bool pool_is_shared(const struct model *m, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (m->nats[j].n_pool && same_pool(&m->nats[i], &m->nats[j]))
			return true;
	return false;
}

struct pool_range {
	const struct addr_range *range;
	const struct nat_cfg *rule;
	size_t vrf;
};

static int cmp_pool_ranges(const void *a, const void *b)
{
	const struct pool_range *x = a, *y = b;
	int d = memcmp(&x->range->first, &y->range->first, sizeof(struct addr));

	if (x->vrf != y->vrf)
		return x->vrf < y->vrf ? -1 : 1;
	return d ? d : (x->rule > y->rule) - (x->rule < y->rule);
}

static void pool_collision(struct checker *c, const struct pool_range *x, const struct pool_range *y)
{
	const struct pool_range *later = x->rule > y->rule ? x : y, *first = later == x ? y : x;
	const struct addr_range *high = memcmp(&x->range->first, &y->range->first, sizeof(struct addr)) > 0 ? x->range : y->range;
	char key[64], line[LINE_TEXT], addr[ADDR_TEXT];

	key_of(c, later->rule, "to", key);
	addr_text(&high->first, addr);
	if (x->rule == y->rule)
		check_bad(c, later->rule->where, key, "%s is in the pool twice", addr);
	else
		check_bad(c, later->rule->where, key,
			  "%s is in the pool of rule `%s`%s too: rules share addresses when their `to` and `ports` are the same, "
			  "or their `ports` apart",
			  addr, first->rule->name, line_text(first->rule->where, line));
}

/* An address that two pools give ports of would carry two connections on one port. Ranges sorted by their beginning: each is
 * compared with those before it that reach it. */
static void pool_ranges_check(struct checker *c, struct pool_range *v, size_t n)
{
	size_t open = 0;

	qsort(v, n, sizeof(*v), cmp_pool_ranges);
	for (size_t i = 1; i < n; i++) {
		if (v[i].vrf != v[open].vrf)
			open = i;
		for (size_t j = open; j < i; j++) {
			const struct nat_cfg *a = v[i].rule, *b = v[j].rule;

			if (memcmp(&v[j].range->last, &v[i].range->first, sizeof(struct addr)) < 0)
				continue;
			if (a != b && (a->port_max < b->port_min || b->port_max < a->port_min))
				continue;
			pool_collision(c, &v[i], &v[j]);
			return;
		}
	}
}

static void pools_check(struct checker *c)
{
	const struct model *m = c->m;
	struct pool_range *v;
	uint64_t sum = 0;
	size_t n = 0;
	char key[64];

	for (size_t i = 0; i < m->n_nats; i++) {
		uint64_t size = pool_size(&m->nats[i]);

		if (pool_is_shared(m, i))
			continue;
		n += m->nats[i].n_pool;
		if (__builtin_add_overflow(sum, size, &sum))
			sum = UINT64_MAX;
		if (sum > POOL_ADDR_MAX) {
			key_of(c, &m->nats[i], "to", key);
			check_bad(c, m->nats[i].where, key, "the pools have more than %d addresses together", POOL_ADDR_MAX);
			return;
		}
	}
	v = calloc(n ? n : 1, sizeof(*v));
	if (!v) {
		check_oom(c);
		return;
	}
	n = 0;
	for (size_t i = 0; i < m->n_nats; i++) {
		const struct vrf_cfg *vrf = model_vrf(m, m->nats[i].vrf);

		for (size_t j = 0; !pool_is_shared(m, i) && j < m->nats[i].n_pool; j++)
			v[n++] = (struct pool_range){&m->nats[i].pool[j], &m->nats[i], vrf ? (size_t)(vrf - m->vrfs) : m->n_vrfs};
	}
	pool_ranges_check(c, v, n);
	free(v);
}

static void out_check(struct checker *c, const struct nat_cfg *rule)
{
	char key[64];

	key_of(c, rule, "out", key);
	for (size_t i = 0; i < rule->n_out; i++) {
		const struct iface_cfg *iface = model_iface(c->m, rule->out[i]);

		if (!iface)
			check_bad(c, rule->where, key, "no interface is called `%s`", rule->out[i]);
		else if (strcmp(iface->vrf, rule->vrf))
			check_bad(c, rule->where, key, "interface `%s` is in VRF `%s`, the rule in VRF `%s`", rule->out[i],
				  iface->vrf, rule->vrf);
	}
}

static void snat_check(struct checker *c)
{
	const struct model *m = c->m;
	size_t n = 0;

	for (size_t i = 0; i < m->n_nats; i++) {
		const struct nat_cfg *rule = &m->nats[i];

		if (rule->type != NAT_SNAT)
			continue;
		out_check(c, rule);
		n += (rule->n_out ?: 1) * (rule->n_protocols ?: 1);
		if (n > SNAT_RULE_MAX) {
			check_bad(c, rule->where, "nat",
				  "more than %d snat rules, counted once for each interface of `out` and each protocol",
				  SNAT_RULE_MAX);
			return;
		}
	}
	pools_check(c);
}

/* ---- dnat ---- */

/* One address and protocol of a dnat rule, and its range of ports (0: the whole address). */
struct dnat_use {
	const struct nat_cfg *rule;
	struct addr addr;
	size_t vrf;
	uint8_t proto;
};

static int cmp_uses(const void *a, const void *b)
{
	const struct dnat_use *x = a, *y = b;
	int d = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	if (x->vrf != y->vrf)
		return x->vrf < y->vrf ? -1 : 1;
	if (!d)
		d = (int)x->proto - (int)y->proto;
	if (!d)
		d = (int)x->rule->dport_min - (int)y->rule->dport_min;
	return d ? d : (x->rule > y->rule) - (x->rule < y->rule);
}

static void dnat_collisions_check(struct checker *c, struct dnat_use *v, size_t n)
{
	const struct dnat_use *far = v; /* of those before with the same address and protocol, the one that reaches furthest */
	char key[64], line[LINE_TEXT], addr[ADDR_TEXT], port[16];

	qsort(v, n, sizeof(*v), cmp_uses);
	for (size_t i = 1; i < n; i++) {
		const struct nat_cfg *a, *b;

		if (v[i].vrf != far->vrf || memcmp(&v[i].addr, &far->addr, sizeof(far->addr)) || v[i].proto != far->proto) {
			far = &v[i];
			continue;
		}
		a = v[i].rule > far->rule ? v[i].rule : far->rule;
		b = a == far->rule ? v[i].rule : far->rule;
		if (a != b && v[i].rule->dport_min <= far->rule->dport_max) {
			key_of(c, a, "destination", key);
			snprintf(port, sizeof(port), v[i].rule->dport_min ? "port %u" : "every port", v[i].rule->dport_min);
			check_bad(c, a->where, key, "rule `%s`%s takes the same address, protocol and port (%s, %s) already",
				  b->name, line_text(b->where, line), addr_text(&v[i].addr, addr), port);
		}
		if (v[i].rule->dport_max > far->rule->dport_max)
			far = &v[i];
	}
}

/* Adds what the rule takes of one address; false: out of memory. */
static bool add_uses(struct dnat_use **list, size_t *n, const struct nat_cfg *rule, size_t vrf, const struct addr *addr)
{
	for (size_t i = 0; i < (rule->n_protocols ?: 1); i++) {
		struct dnat_use *u = list_add(list, n, sizeof(*u));

		if (!u)
			return false;
		*u = (struct dnat_use){rule, *addr, vrf, rule->n_protocols ? rule->protocols[i] : 0};
	}
	return true;
}

static void dnat_check(struct checker *c, const struct nat_cfg *rule, size_t vrf, struct dnat_use **uses, size_t *n_uses)
{
	const struct iface_cfg *iface = *rule->dest_iface ? model_iface(c->m, rule->dest_iface) : NULL;
	const struct subnet *own = check_own(c, vrf, &rule->to);
	char key[64], to[ADDR_TEXT];
	bool ok = true, any = false;

	key_of(c, rule, "destination", key);
	if (*rule->dest_iface && !iface)
		check_bad(c, rule->where, key, "no interface is called `%s`", rule->dest_iface);
	else if (iface && strcmp(iface->vrf, rule->vrf))
		check_bad(c, rule->where, key, "interface `%s` is in VRF `%s`, the rule in VRF `%s`", iface->name, iface->vrf,
			  rule->vrf);
	for (size_t i = 0; iface && i < iface->n_addrs; i++) {
		const struct prefix *p = &iface->addrs[i];

		if (p->family != rule->to_family || (p->family == 6 && addr_is_link_local(&p->addr)))
			continue;
		any = true;
		ok = ok && add_uses(uses, n_uses, rule, vrf, &p->addr);
	}
	if (iface && iface->n_addrs && !any)
		check_bad(c, rule->where, key, "interface `%s` has no IPv%u address, as that of `to` is", iface->name,
			  rule->to_family);
	if (rule->destination.family)
		ok = ok && add_uses(uses, n_uses, rule, vrf, &rule->destination.addr);
	if (!ok)
		check_oom(c);
	key_of(c, rule, "to", key);
	if (own)
		check_bad(c, rule->where, key, "%s is the address of interface `%s`: the host's answers would bypass the switch",
			  addr_text(&rule->to, to), own->iface->name);
}

void nat_check(struct checker *c)
{
	const struct model *m = c->m;
	struct dnat_use *uses = NULL;
	size_t n_uses = 0, vrf;
	char key[64];

	if (m->n_nats > UINT16_MAX - 1) {
		check_bad(c, m->nats[0].where, "nat", "%zu rules, and room for %d", m->n_nats, UINT16_MAX - 1);
		return;
	}
	names_check(c);
	for (size_t i = 0; i < m->n_nats; i++) {
		const struct nat_cfg *rule = &m->nats[i];

		key_of(c, rule, "vrf", key);
		vrf = check_vrf(c, rule->where, key, rule->vrf);
		families_check(c, rule);
		if (rule->type == NAT_DNAT)
			dnat_check(c, rule, vrf, &uses, &n_uses);
	}
	if (n_uses)
		dnat_collisions_check(c, uses, n_uses);
	free(uses);
	snat_check(c);
}
