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

static void rule_twice(struct checker *c, const struct named *later, const struct named *first)
{
	char key[64], line[LINE_TEXT];

	key_of(c, (const struct nat_cfg *)later, "name", key);
	check_bad(c, later->where, key, "another rule is called `%s` already%s", later->name, line_text(first->where, line));
}

/* One rule, one family: that of its prefixes, its pool, and of ICMP's two versions. */
static void families_check(struct checker *c, const struct nat_cfg *rule)
{
	uint8_t family = 0, f[4 + 4 + 1] = {rule->source.family, rule->destination.family, rule->to_family, rule->outside.family};
	char key[64];
	size_t n = 4;

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

/* The number of addresses from `first` to `last`, UINT64_MAX standing for all that is more. */
static uint64_t span(const struct addr *first, const struct addr *last)
{
	uint64_t size;

	if (first->a64[0] != last->a64[0])
		return UINT64_MAX;
	size = be64toh(last->a64[1]) - be64toh(first->a64[1]);
	return size == UINT64_MAX ? size : size + 1;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

/* Addresses that NAT gives out or answers for: a range of a pool, or the destination of a dnat rule. */
struct nat_range {
	struct addr first, last;
	size_t vrf;
};

static int cmp_ranges(const void *a, const void *b)
{
	const struct nat_range *x = a, *y = b;

	if (x->vrf != y->vrf)
		return x->vrf < y->vrf ? -1 : 1;
	return memcmp(&x->first, &y->first, sizeof(x->first));
}

/* How many addresses the ranges name together, each once. Sorts them. */
static uint64_t distinct(struct nat_range *v, size_t n)
{
	uint64_t ret = 0;

	qsort(v, n, sizeof(*v), cmp_ranges);
	for (size_t i = 0, next; i < n; i = next) {
		struct addr last = v[i].last;

		for (next = i + 1; next < n && v[next].vrf == v[i].vrf && memcmp(&v[next].first, &last, sizeof(last)) <= 0;
		     next++)
			if (memcmp(&v[next].last, &last, sizeof(last)) > 0)
				last = v[next].last;
		ret = sum(ret, span(&v[i].first, &last));
	}
	return ret;
}

static void ranges_of(struct nat_range **v, const struct model *m, const struct nat_cfg *rule)
{
	const struct vrf_cfg *vrf = model_vrf(m, model_nat_vrf_outside(m, rule));
	size_t id = vrf ? (size_t)(vrf - m->vrfs) : m->n_vrfs;

	for (size_t i = 0; i < rule->n_pool; i++)
		*(*v)++ = (struct nat_range){rule->pool[i].first, rule->pool[i].last, id};
	if (rule->type == NAT_DNAT && rule->destination.family)
		*(*v)++ = (struct nat_range){rule->destination.addr, rule->destination.addr, id};
}

/* How many addresses all rules name, each once; UINT64_MAX: no memory. */
static uint64_t named(const struct model *m)
{
	struct nat_range *v, *end;
	uint64_t size;
	size_t n = 1;

	for (size_t i = 0; i < m->n_nats; i++)
		n += m->nats[i].n_pool + 1;
	v = end = calloc(n, sizeof(*v));
	if (!v)
		return UINT64_MAX;
	for (size_t i = 0; i < m->n_nats; i++)
		ranges_of(&end, m, &m->nats[i]);
	size = distinct(v, (size_t)(end - v));
	free(v);
	return size;
}

/* Pools may have any size; what is bounded is how many entries their lists have together, each address or range being one, and
 * the destinations of dnat rules. Said of the rule with the longest list. nat_plan_run.c makes room within this. */
static void pools_check(struct checker *c)
{
	const struct model *m = c->m;
	const struct nat_cfg *longest = NULL;
	uint64_t entries = 0, members = 0;
	char key[64];

	for (size_t i = 0; i < m->n_nats; i++) {
		const struct nat_cfg *r = &m->nats[i];

		if (r->n_pool && (!longest || r->n_pool > longest->n_pool))
			longest = r;
		entries += r->n_pool + (r->type == NAT_DNAT && r->destination.family);
		for (size_t k = 0; k < r->n_pool; k++)
			members += memcmp(&r->pool[k].first, &r->pool[k].last, sizeof(r->pool[k].first)) ? 2 : 1;
	}
	if (!longest || (members <= POOL_MEMBER_MAX && (entries <= POOL_ADDR_MAX || named(m) <= POOL_ADDR_MAX)))
		return;
	key_of(c, longest, "to", key);
	if (members > POOL_MEMBER_MAX)
		check_bad(
			c, longest->where, key,
			"the rules list more than %d addresses, or half as many ranges, counted for each rule; this one the most",
			POOL_MEMBER_MAX);
	else
		check_bad(c, longest->where, key,
			  "the rules list more than %d addresses and ranges together, this one the most: write ranges",
			  POOL_ADDR_MAX);
}

/* Of a rule that masquerades on every interface of its VRF and one that names some. */
static const char *masquerade_among(const struct model *m, const struct nat_cfg *all, const struct nat_cfg *named)
{
	for (size_t i = 0; i < named->n_out; i++) {
		const struct iface_cfg *iface = model_iface(m, named->out[i]);

		if (iface && !strcmp(iface->vrf, all->vrf))
			return named->out[i];
	}
	return NULL;
}

/* Whether both rules masquerade on one interface; its name, or "every interface". NULL: they do not. */
static const char *masquerade_meets(const struct model *m, const struct nat_cfg *a, const struct nat_cfg *b)
{
	if (a->to_kind != NAT_TO_MASQUERADE || b->to_kind != NAT_TO_MASQUERADE)
		return NULL;
	if (!a->n_out && !b->n_out)
		return strcmp(a->vrf, b->vrf) ? NULL : "every interface";
	if (!a->n_out || !b->n_out)
		return a->n_out ? masquerade_among(m, b, a) : masquerade_among(m, a, b);
	for (size_t i = 0; i < a->n_out; i++)
		for (size_t j = 0; j < b->n_out; j++)
			if (!strcmp(a->out[i], b->out[j]))
				return a->out[i];
	return NULL;
}

/* An interface has one pool to masquerade with, and so one range of ports. */
static void masquerade_check(struct checker *c, size_t i)
{
	const struct nat_cfg *a = &c->m->nats[i], *b;
	char key[64], line[LINE_TEXT];
	const char *meet;

	for (size_t j = 0; j < i; j++) {
		b = &c->m->nats[j];
		meet = a->port_min != b->port_min || a->port_max != b->port_max ? masquerade_meets(c->m, a, b) : NULL;
		if (!meet)
			continue;
		key_of(c, a, "ports", key);
		check_bad(c, a->where, key, "rule `%s`%s masquerades on %s with the ports %u-%u: an interface has one range",
			  b->name, line_text(b->where, line), meet, b->port_min, b->port_max);
		return;
	}
}

/* A source rule may lead out of its VRF; the addresses of a pool are of one all the same. */
static void out_check(struct checker *c, const struct nat_cfg *rule)
{
	const char *vrf = rule->type == NAT_SNAT ? model_nat_vrf_outside(c->m, rule) : rule->vrf;
	char key[64];

	key_of(c, rule, "out", key);
	for (size_t i = 0; i < rule->n_out; i++) {
		const struct iface_cfg *iface = model_iface(c->m, rule->out[i]);

		if (!iface)
			check_bad(c, rule->where, key, "no interface is called `%s`", rule->out[i]);
		else if (strcmp(iface->vrf, vrf) && rule->type == NAT_SNAT && rule->to_kind == NAT_TO_POOL)
			check_bad(c, rule->where, key,
				  "interface `%s` is in VRF `%s`, `%s` in VRF `%s`: the addresses of a pool are of one",
				  rule->out[i], iface->vrf, rule->out[0], vrf);
		else if (strcmp(iface->vrf, vrf) && rule->type != NAT_SNAT)
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

		if (rule->type == NAT_DNAT)
			continue;
		out_check(c, rule);
		if (rule->type == NAT_SNAT)
			masquerade_check(c, i);
		n += (rule->n_out ?: 1) * (rule->n_protocols ?: 1);
		if (n > SNAT_RULE_MAX) {
			check_bad(
				c, rule->where, "nat",
				"more than %d snat and static rules, counted once for each interface of `out` and each protocol",
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

unsigned model_nat_block(unsigned first, unsigned last)
{
	unsigned n = 0;

	while (!(first >> n & 1) && first + (2u << n) - 1 <= last)
		n++;
	return n;
}

/* What the rules take of their table: of each address and protocol the ports, and marks of the address and of where it leads. */
static void dnat_room_check(struct checker *c, const struct dnat_use *v, size_t n)
{
	const unsigned room = DNAT_RULE_MAX - DNAT_SPARED;
	size_t taken = POOL_ADDR_MAX; /* marks of pools' addresses */

	for (size_t i = 0; i < n; i++) {
		taken += 3;
		for (unsigned port = v[i].rule->dport_min, last = v[i].rule->dport_max, at = port; port && at <= last;) {
			at += 1u << model_nat_block(at, last);
			taken += at <= last;
		}
		if (taken > room) {
			check_bad(c, v[i].rule->where, "nat", MODEL_NAT_DNAT_FULL, (int)room);
			return;
		}
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
	const struct subnet *own;
	char key[64], to[ADDR_TEXT];
	bool ok = true, any = false;
	size_t to_vrf = vrf;

	key_of(c, rule, "to-vrf", key);
	if (*rule->to_vrf)
		to_vrf = check_vrf(c, rule->where, key, rule->to_vrf);
	own = check_own(c, to_vrf, &rule->to);
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

/* ---- static */

static bool prefixes_meet(const struct prefix *a, const struct prefix *b)
{
	return a->family == b->family && (prefix_contains(a, &b->addr) || prefix_contains(b, &a->addr));
}

/* An address of the pool's that is the static rule's, too: whoever the pool gave it to would share its ports with the host
 * inside. Text, or NULL: there is none. */
static const char *static_in_pool(const struct nat_cfg *rule, const struct nat_cfg *pool, char text[ADDR_TEXT])
{
	struct addr begin = prefix_masked(&rule->outside).addr;

	for (size_t k = 0; k < pool->n_pool; k++) {
		const struct addr_range *r = &pool->pool[k];

		if (r->family != rule->outside.family)
			continue;
		if (prefix_contains(&rule->outside, &r->first))
			return addr_text(&r->first, text);
		if (memcmp(&r->first, &begin, sizeof(begin)) <= 0 && memcmp(&begin, &r->last, sizeof(begin)) <= 0)
			return addr_text(&begin, text);
	}
	return NULL;
}

/* What is outside is one rule's: neither another static rule's nor a pool's. A forward may take some of what comes in; all of it
 * would leave the static rule nothing. */
static void static_other_check(struct checker *c, const struct nat_cfg *rule, const struct nat_cfg *other)
{
	const char *vrf = other->n_pool ? model_nat_vrf_outside(c->m, other) : other->vrf, *shared;
	char key[64], line[LINE_TEXT], text[PREFIX_TEXT], addr[ADDR_TEXT];

	if (strcmp(vrf, rule->vrf))
		return;
	key_of(c, rule, "outside", key);
	line_text(other->where, line);
	shared = static_in_pool(rule, other, addr);
	if (shared)
		check_bad(c, rule->where, key,
			  "the pool of rule `%s`%s holds %s, and would give it to other hosts, too: name the addresses around it "
			  "there",
			  other->name, line, shared);
	else if (other < rule && other->type == NAT_STATIC && prefixes_meet(&other->outside, &rule->outside))
		check_bad(c, rule->where, key, "%s: rule `%s`%s has addresses of it", prefix_text(&rule->outside, text),
			  other->name, line);
	else if (other->type == NAT_DNAT && !other->n_protocols && prefixes_meet(&other->destination, &rule->outside))
		check_bad(c, rule->where, key,
			  "rule `%s`%s forwards all that comes to %s: beside a static rule it must name a protocol", other->name,
			  line, addr_text(&other->destination.addr, addr));
}

/* Nor is it the inside's, or an interface's. */
static void static_check(struct checker *c, const struct nat_cfg *rule)
{
	const struct model *m = c->m;
	char key[64], text[PREFIX_TEXT];

	key_of(c, rule, "outside", key);
	prefix_text(&rule->outside, text);
	if (rule->outside.family && prefixes_meet(&rule->outside, &rule->source))
		check_bad(c, rule->where, key, "%s and `inside` overlap", text);
	for (size_t i = 0; i < m->n_nats; i++)
		static_other_check(c, rule, &m->nats[i]);
	for (size_t i = 0; i < m->n_ifaces; i++)
		for (size_t k = 0; k < m->ifaces[i].n_addrs && !strcmp(m->ifaces[i].vrf, rule->vrf); k++)
			if (m->ifaces[i].addrs[k].family == rule->outside.family &&
			    prefix_contains(&rule->outside, &m->ifaces[i].addrs[k].addr))
				check_bad(c, rule->where, key, "%s holds the address of interface `%s`", text, m->ifaces[i].name);
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
	names_check(c, c->m->nats, c->m->n_nats, sizeof(*c->m->nats), rule_twice);
	for (size_t i = 0; i < m->n_nats; i++) {
		const struct nat_cfg *rule = &m->nats[i];

		key_of(c, rule, "vrf", key);
		vrf = check_vrf(c, rule->where, key, rule->vrf);
		families_check(c, rule);
		if (rule->type == NAT_DNAT)
			dnat_check(c, rule, vrf, &uses, &n_uses);
		else if (rule->type == NAT_STATIC)
			static_check(c, rule);
	}
	dnat_room_check(c, uses, n_uses);
	if (n_uses)
		dnat_collisions_check(c, uses, n_uses);
	free(uses);
	snat_check(c);
}
