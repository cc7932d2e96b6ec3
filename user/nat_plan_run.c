/* nat_plan_run.c: the part of the plan for pools that have more addresses than there are slots for single ones: runs.
 *
 * Stands between nat_plan.c, which asks which rules are to have runs and lets their pools be made when all single addresses are
 * known, and nat_apply.c, which gives each run a slot. A run is what overlapping ranges of rules come to; a pool has pieces of
 * runs, without the addresses that are single ones for another rule, and those of the interfaces' own prefixes, where the host
 * would have to answer for each.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_plan_priv.h"

#define CHUNKS 16 /* pieces that the pieces of a pool are cut into, if they are several: each gets as many sources as another */

/* Addresses that differ in their last 32 bits alone. */
struct span {
	struct addr first;
	uint64_t n; /* IPv6: POOL_RUN_MAX at most */
	uint16_t vrf;
};

static uint64_t low(const struct addr *a)
{
	return ntohl(a->a32[3]);
}

static struct addr plus(struct addr a, uint64_t n)
{
	a.a32[3] = htonl((uint32_t)(low(&a) + n));
	return a;
}

static bool beside(const struct span *a, const struct addr *b, uint16_t vrf)
{
	return a->vrf == vrf && !memcmp(&a->first, b, 12);
}

/* Of IPv6 the first ones, whatever the prefix: a host that looks for another address gets one of four million. */
static struct span span_of(const struct addr_range *r, uint16_t vrf)
{
	struct span s = {.first = r->first, .vrf = vrf};
	struct addr last = r->last;

	/* The subnet's routers' own address (RFC 4291 2.6.1). */
	if (r->family == 6 && !s.first.a64[1] && memcmp(&s.first, &last, sizeof(last)))
		s.first = plus(s.first, 1);
	s.n = memcmp(&s.first, &last, 12) ? (1ull << 32) - low(&s.first) : low(&last) - low(&s.first) + 1;
	if (r->family == 6 && s.n > POOL_RUN_MAX)
		s.n = POOL_RUN_MAX;
	return s;
}

/* ---- spans in order */

struct spans {
	struct span *v;
	size_t n;
};

static int span_add(struct spans *s, struct span one)
{
	struct span *v = plan_grow(s->v, s->n, sizeof(*v));

	if (!v)
		return -ENOMEM;
	s->v = v;
	v[s->n++] = one;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->vrf != y->vrf ? (x->vrf < y->vrf ? -1 : 1) : memcmp(&x->first, &y->first, sizeof(x->first));
}

/* Those that overlap become one. */
static void spans_merge(struct spans *s)
{
	size_t n = 0;

	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_place);
	for (size_t i = 0; i < s->n; i++) {
		struct span *last = n ? &s->v[n - 1] : NULL;

		if (last && beside(last, &s->v[i].first, s->v[i].vrf) && low(&s->v[i].first) < low(&last->first) + last->n) {
			uint64_t end = low(&s->v[i].first) + s->v[i].n - low(&last->first);

			last->n = end > last->n ? end : last->n;
			continue;
		}
		s->v[n++] = s->v[i];
	}
	s->n = n;
}

/* ---- which rules */

static bool has_pool(const struct nat_cfg *c)
{
	return c->type == NAT_SNAT && c->to_kind == NAT_TO_POOL;
}

/* As far as single ones are asked for: more than any table has stays more. */
static struct span singles_of(const struct addr_range *r, uint16_t vrf)
{
	struct span s = span_of(r, vrf);

	if (memcmp(&r->first, &r->last, 12))
		s.n = POOL_RUN_MAX;
	return s;
}

static uint64_t size_of(const struct nat_cfg *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->n_pool; i++)
		n += singles_of(&c->pool[i], 0).n;
	return n;
}

/* What the rule's addresses are now: 1: single ones, 2: runs, 0: they are new. */
static int form_now(const struct plan *p, const struct nat_cfg *c)
{
	uint16_t vrf = vrf_id(p->sw, model_nat_vrf_outside(p->sw->model, c));
	const struct pool_addr *a = p->sw->nat->addrs;
	struct addr run = c->n_pool ? span_of(&c->pool[0], vrf).first : (struct addr){0};

	for (unsigned i = 0; c->n_pool && i < POOL_ADDR_MAX; i++) {
		bool is_run = a[i].flags & POOL_ADDR_F_RUN;

		if (a[i].flags & POOL_ADDR_F_USED && a[i].vrf == vrf &&
		    !memcmp(&a[i].addr, is_run ? &run : &c->pool[0].first, sizeof(run)))
			return is_run ? 2 : 1;
	}
	return 0;
}

/* Slots that rules may take beside those of pools: addresses of interfaces, destinations, static rules'. */
static uint64_t taken_elsewhere(const struct model *m)
{
	uint64_t n = 0;
	bool own = false;

	for (size_t i = 0; i < m->n_nats; i++) {
		const struct nat_cfg *c = &m->nats[i];
		unsigned host_bits = c->outside.family ? (c->outside.family == 4 ? 32 : 128) - c->outside.len : 0;

		own = own || !has_pool(c);
		n += c->type == NAT_DNAT && c->destination.family;
		n += c->type == NAT_STATIC && host_bits <= 8 ? 1u << host_bits : 0;
	}
	return own ? n + 2 * m->n_ifaces : n;
}

/* Of a rule. */
struct plan_form {
	uint64_t size;
	int now; /* form_now() */
	bool runs;
};

/* New rules before those that have single addresses, large ones before small ones. What has single ones that fit keeps them:
 * connections use them. */
static struct plan_form *next_to_have_runs(struct plan *p)
{
	const struct model *m = p->sw->model;
	struct plan_form *next = NULL;

	for (size_t i = 0; i < m->n_nats; i++) {
		struct plan_form *f = &p->forms[i];

		if (f->runs || f->size <= 2 * m->nats[i].n_pool || (f->now == 1 && f->size <= POOL_ADDR_MAX))
			continue;
		if (!next || (f->now != next->now ? f->now < next->now : f->size > next->size))
			next = f;
	}
	return next;
}

/* Addresses of rules, each once though rules share it: of those that have runs, or of the others. */
static int spans_of(struct plan *p, bool runs, struct spans *ret)
{
	const struct model *m = p->sw->model;
	int err = 0;

	for (size_t i = 0; !err && i < m->n_nats; i++) {
		const struct nat_cfg *c = &m->nats[i];
		uint16_t vrf = vrf_id(p->sw, model_nat_vrf_outside(m, c));

		for (size_t k = 0; !err && has_pool(c) && p->forms[i].runs == runs && k < c->n_pool; k++)
			err = span_add(ret, runs ? span_of(&c->pool[k], vrf) : singles_of(&c->pool[k], vrf));
	}
	spans_merge(ret);
	return err;
}

/* Slots that the pools take. */
static int slots_count(struct plan *p, uint64_t *ret)
{
	struct spans runs = {NULL, 0}, singles = {NULL, 0};
	int err = spans_of(p, true, &runs);

	if (!err)
		err = spans_of(p, false, &singles);
	*ret = runs.n;
	for (size_t i = 0; i < singles.n; i++)
		*ret += singles.v[i].n;
	free(runs.v);
	free(singles.v);
	return err;
}

static bool meets(const struct plan *p, const struct nat_cfg *c, const struct spans *runs)
{
	uint16_t vrf = vrf_id(p->sw, model_nat_vrf_outside(p->sw->model, c));

	for (size_t k = 0; k < c->n_pool; k++) {
		struct span s = span_of(&c->pool[k], vrf);

		for (size_t i = 0; i < runs->n; i++)
			if (beside(&runs->v[i], &s.first, vrf) && low(&s.first) < low(&runs->v[i].first) + runs->v[i].n &&
			    low(&runs->v[i].first) < low(&s.first) + s.n)
				return true;
	}
	return false;
}

/* A new rule that shares addresses with one that has runs has them as well: what is a single address for one is none of the
 * other's. */
static int share_runs(struct plan *p)
{
	const struct model *m = p->sw->model;
	struct spans runs = {NULL, 0};
	bool more = true;
	int err = 0;

	while (!err && more) {
		more = false;
		free(runs.v);
		runs = (struct spans){NULL, 0};
		err = spans_of(p, true, &runs);
		for (size_t i = 0; !err && i < m->n_nats; i++) {
			if (!has_pool(&m->nats[i]) || p->forms[i].runs || p->forms[i].now || !meets(p, &m->nats[i], &runs))
				continue;
			p->forms[i].runs = more = true;
		}
	}
	free(runs.v);
	return err;
}

/* A rule that has runs keeps them: its flows and mappings name its addresses by them. */
int plan_run_choose(struct plan *p)
{
	const struct model *m = p->sw->model;
	uint64_t elsewhere = taken_elsewhere(m), slots = 0, members = 0;
	struct plan_form *f;
	int err;

	p->forms = calloc(m->n_nats ? m->n_nats : 1, sizeof(*p->forms));
	if (!p->forms)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_nats; i++) {
		f = &p->forms[i];
		if (!has_pool(&m->nats[i]))
			continue;
		f->size = size_of(&m->nats[i]);
		f->now = form_now(p, &m->nats[i]);
		f->runs = f->now == 2;
		members += f->runs ? 2 * m->nats[i].n_pool : f->size;
	}
	err = slots_count(p, &slots);
	/* If there is nobody left, who finds no room says so. */
	while (!err && (slots + elsewhere > POOL_ADDR_MAX || members > POOL_MEMBER_MAX) && (f = next_to_have_runs(p))) {
		f->runs = true;
		members -= f->size - 2 * m->nats[f - p->forms].n_pool;
		/* Others may name the same ones: counted anew as soon as it may be enough. */
		slots -= f->size < slots ? f->size : slots;
		if (slots + elsewhere <= POOL_ADDR_MAX)
			err = slots_count(p, &slots);
	}
	return err ? err : share_runs(p);
}

bool plan_has_runs(const struct plan *p)
{
	return p->forms[p->cfg - p->sw->model->nats].runs;
}

/* ---- runs */

/* Each run as an address of the plan; a long one as several. */
static int plan_runs(struct plan *p, const struct spans *runs)
{
	int err = 0;

	for (size_t i = 0; !err && i < runs->n; i++)
		for (uint64_t at = 0; !err && at < runs->v[i].n; at += POOL_RUN_MAX) {
			uint64_t left = runs->v[i].n - at;
			struct addr first = plus(runs->v[i].first, at);

			err = plan_addr_run(p, &first, runs->v[i].vrf, left < POOL_RUN_MAX ? (uint32_t)left : POOL_RUN_MAX);
		}
	return err;
}

/* ---- what no run gives out */

static int leave_out(struct plan *p, struct spans *ret)
{
	const struct model *m = p->sw->model;
	const struct nat_plan *o = p->out;
	int err = 0;

	for (size_t i = 0; !err && i < o->n_addrs; i++)
		if (!o->addrs[i].run)
			err = span_add(ret, (struct span){.first = o->addrs[i].addr, .n = 1, .vrf = o->addrs[i].vrf});
	for (size_t i = 0; !err && i < m->n_ifaces; i++)
		for (size_t k = 0; !err && k < m->ifaces[i].n_addrs; k++) {
			const struct prefix *own = &m->ifaces[i].addrs[k];
			unsigned host_bits = (own->family == 4 ? 32 : 128) - own->len;

			/* Of a longer one the span at hand is all that matters: cut_out() asks the prefix itself. */
			if (host_bits <= 32)
				err = span_add(ret, (struct span){.first = prefix_masked(own).addr,
								  .n = 1ull << host_bits,
								  .vrf = vrf_id(p->sw, m->ifaces[i].vrf)});
		}
	spans_merge(ret);
	return err;
}

/* In an IPv6 prefix of an interface that has more than 32 bits of its own. */
static bool in_wide_prefix(const struct plan *p, const struct span *s)
{
	const struct model *m = p->sw->model;

	for (size_t i = 0; i < m->n_ifaces; i++)
		for (size_t k = 0; k < m->ifaces[i].n_addrs; k++)
			if (m->ifaces[i].addrs[k].family == 6 && m->ifaces[i].addrs[k].len < 96 &&
			    vrf_id(p->sw, m->ifaces[i].vrf) == s->vrf && prefix_contains(&m->ifaces[i].addrs[k], &s->first))
				return true;
	return false;
}

/* What is left of `s`, as pieces. */
static int cut_out(const struct plan *p, struct span s, const struct spans *out, struct spans *ret)
{
	int err = 0;

	if (addr_family(&s.first) == 6 && in_wide_prefix(p, &s))
		return 0;
	for (size_t i = 0; !err && s.n && i < out->n; i++) {
		const struct span *o = &out->v[i];
		uint64_t end = low(&o->first) + o->n, from = low(&s.first);

		if (!beside(o, &s.first, s.vrf) || end <= from || low(&o->first) >= from + s.n)
			continue;
		if (low(&o->first) > from)
			err = span_add(ret, (struct span){.first = s.first, .n = low(&o->first) - from, .vrf = s.vrf});
		s.n = end < from + s.n ? from + s.n - end : 0;
		s.first = plus(s.first, end - from);
	}
	return !err && s.n ? span_add(ret, s) : err;
}

/* ---- members */

/* The addresses of a span are those of one run, or of some that follow each other. `unit`: no more of them in one member. */
static int plan_pieces(struct plan *p, struct nat_plan_pool *pool, struct span s, uint64_t unit)
{
	const struct nat_plan *o = p->out;
	int err = 0;

	for (size_t i = 0; !err && s.n && i < o->n_addrs; i++) {
		const struct nat_plan_addr *a = &o->addrs[i];
		struct span run = {.first = a->addr, .n = a->run, .vrf = a->vrf};
		uint64_t at = low(&s.first) - low(&a->addr), n;

		if (!a->run || !beside(&run, &s.first, s.vrf) || low(&s.first) < low(&a->addr) || at >= a->run)
			continue;
		for (; !err && s.n && at < a->run; at += n, s.n -= n) {
			n = a->run - at < s.n ? a->run - at : s.n;
			n = n < unit ? n : unit;
			err = plan_member_run(p, pool, i, (uint32_t)at + 1, (uint32_t)n);
			s.first = plus(s.first, n);
		}
	}
	return err;
}

static int plan_run_pool(struct plan *p, struct nat_plan_pool *pool, const struct spans *out)
{
	struct spans left[2] = {{NULL, 0}, {NULL, 0}};
	uint64_t total = 0, unit;
	int err = 0;

	for (size_t i = 0; !err && i < p->cfg->n_pool; i++)
		err = cut_out(p, span_of(&p->cfg->pool[i], p->vrf), out, &left[p->cfg->pool[i].family == 6]);
	for (int six = 0; six < 2; six++) {
		spans_merge(&left[six]);
		for (size_t i = 0; i < left[six].n; i++)
			total += left[six].v[i].n;
	}
	if (!err && !total)
		err = plan_bad(
			p, "to",
			"none of its addresses is left: they are in the prefix of an interface, where the host answers for each, "
			"or another rule's. Of such a pool can have at most %s",
			"1024, all rules together");
	unit = left[0].n + left[1].n > 1 ? (total + CHUNKS - 1) / CHUNKS : total;
	pool->first = p->out->n_members;
	for (int six = 0; six < 2; six++) {
		for (size_t i = 0; !err && i < left[six].n; i++)
			err = plan_pieces(p, pool, left[six].v[i], unit);
		free(left[six].v);
	}
	return err;
}

/* ---- where packets to a run's addresses find it */

static int plan_prefixes(struct plan *p, size_t addr, uint32_t at, uint32_t n)
{
	struct nat_plan *o = p->out;
	const struct nat_plan_addr *a = &o->addrs[addr];
	struct addr first = plus(a->addr, at - 1);

	while (n) {
		unsigned bits = first.a32[3] ? (unsigned)__builtin_ctzll(low(&first)) : 31;
		struct nat_plan_run *v;

		while (1ull << bits > n)
			bits--;
		v = plan_grow(o->runs, o->n_runs, sizeof(*v));
		if (!v)
			return -ENOMEM;
		o->runs = v;
		v[o->n_runs++] =
			(struct nat_plan_run){.key = {.len = 32 + 128 - bits, .vrf = a->vrf, .addr = first}, .addr = addr};
		n -= 1u << bits;
		first = plus(first, 1u << bits);
	}
	return 0;
}

/* Pools share pieces: each prefix once. */
static int by_prefix(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct nat_static_key));
}

static void prefixes_sort(struct nat_plan *o)
{
	size_t n = 0;

	if (o->n_runs)
		qsort(o->runs, o->n_runs, sizeof(*o->runs), by_prefix);
	for (size_t i = 0; i < o->n_runs; i++)
		if (!n || memcmp(&o->runs[n - 1].key, &o->runs[i].key, sizeof(o->runs->key)))
			o->runs[n++] = o->runs[i];
	o->n_runs = n;
}

int plan_run_pools(struct plan *p)
{
	struct spans runs = {NULL, 0}, out = {NULL, 0};
	struct nat_plan *o = p->out;
	int err = spans_of(p, true, &runs);

	if (!err)
		err = leave_out(p, &out);
	if (!err)
		err = plan_runs(p, &runs);
	for (size_t i = 0; !err && i < o->n_pools; i++) {
		if (!o->pools[i].runs)
			continue;
		p->cfg = o->pools[i].runs;
		p->vrf = vrf_id(p->sw, model_nat_vrf_outside(p->sw->model, p->cfg));
		err = plan_run_pool(p, &o->pools[i], &out);
	}
	for (size_t i = 0; !err && i < o->n_members; i++)
		if (o->members[i].at)
			err = plan_prefixes(p, o->members[i].addr, o->members[i].at, o->members[i].n);
	prefixes_sort(o);
	free(runs.v);
	free(out.v);
	return err;
}
