/* nat_plan_run.c: the part of the plan for pools that have more addresses than there are slots for single ones: runs.
 *
 * Stands between nat_plan.c, which asks which rules are to have runs and lets their pools be made when all single addresses are
 * known, and nat_apply.c, which gives each run a slot. A run is what overlapping ranges of rules come to; a pool has pieces of
 * runs, without the addresses that are single ones for another rule, and those of the interfaces' own prefixes, where the host
 * would have to answer for each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_plan_priv.h"
#include "nat_span.h"

/* Where a run is cut that may be no longer, at round addresses, for the sake of few prefixes: one that is new, and one that has
 * grown as far as it can. */
#define RUN_NEW	  (1ull << 21)
#define RUN_ROUND (1ull << 16)
#define CHUNKS	  16 /* pieces that the pieces of a pool are cut into, if they are several: each gets as many sources as another */

/* ---- which rules */

static bool has_pool(const struct nat_cfg *c)
{
	return c->type == NAT_SNAT && c->to_kind == NAT_TO_POOL;
}

static uint16_t outside_vrf(const struct plan *p, const struct nat_cfg *c)
{
	return vrf_id(p->sw, model_nat_vrf_outside(p->sw->model, c));
}

/* What the rule names. */
static int rule_spans(const struct plan *p, const struct nat_cfg *c, bool runs, struct spans *ret)
{
	int err = 0;

	for (size_t k = 0; !err && k < c->n_pool; k++)
		err = spans_add_range(ret, &c->pool[k], outside_vrf(p, c), runs);
	return err;
}

static int size_of(const struct plan *p, const struct nat_cfg *c, uint64_t *ret)
{
	struct spans s = {NULL, 0};
	int err = rule_spans(p, c, false, &s);

	*ret = 0;
	for (size_t i = 0; i < s.n; i++)
		*ret += s.v[i].n;
	spans_free(&s);
	return err;
}

/* A run as it is now. */
static struct span slot_span(const struct pool_addr *a)
{
	return (struct span){.first = span_at(a->addr, span_low(&a->addr) + a->run_from - 1), .n = a->run_n, .vrf = a->vrf};
}

/* Does the rule's pool, which it has by name, consist of single addresses? */
static bool has_singles(const struct nat *nat, const struct nat_cfg *c)
{
	char name[SLUICE_LABEL];

	plan_pool_name(c->name, name);
	for (int id = 1; id < POOL_MAX; id++)
		if (nat->pools[id].flags & POOL_F_USED && !strcmp(nat->pools[id].name, name))
			return !(nat->pools[id].flags & POOL_F_RUNS);
	return true;
}

/* What the rule's addresses are now: 1: single ones, 2: runs, 0: they are new. */
static int form_now(const struct plan *p, const struct nat_cfg *c, const struct spans *spans)
{
	const struct pool_addr *a = p->sw->nat->addrs;
	bool single = false, run = false;

	for (unsigned i = 0; c->n_pool && i < POOL_ADDR_MAX; i++) {
		struct span now = slot_span(&a[i]);

		if (!(a[i].flags & POOL_ADDR_F_USED))
			continue;
		if (!(a[i].flags & POOL_ADDR_F_RUN))
			single = single ||
				 (a[i].vrf == outside_vrf(p, c) && !memcmp(&a[i].addr, &c->pool[0].first, sizeof(a[i].addr)));
		else
			for (size_t k = 0; !run && k < spans->n; k++)
				run = span_overlap(&now, &spans->v[k]);
	}
	/* Another rule may have a single one among those of a run. */
	if (run && !(single && has_singles(p->sw->nat, c)))
		return 2;
	return single ? 1 : 0;
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
	struct plan_form *next = NULL;

	for (size_t i = 0; i < p->n_snats; i++) {
		struct plan_form *f = &p->forms[i];

		if (f->runs || f->size <= 2 * p->snats[i]->n_pool || (f->now == 1 && f->size <= POOL_ADDR_MAX))
			continue;
		if (!next || (f->now != next->now ? f->now < next->now : f->size > next->size))
			next = f;
	}
	return next;
}

/* Addresses of rules, each once though rules share it: of those that have runs, or of the others. */
static int spans_of(struct plan *p, bool runs, struct spans *ret)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->n_snats; i++)
		if (has_pool(p->snats[i]) && p->forms[i].runs == runs)
			err = rule_spans(p, p->snats[i], runs, ret);
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
	spans_free(&runs);
	spans_free(&singles);
	return err;
}

/* 1, 0, or -ENOMEM. */
static int meets(const struct plan *p, const struct nat_cfg *c, const struct spans *runs)
{
	struct spans s = {NULL, 0};
	int r = rule_spans(p, c, true, &s);

	for (size_t k = 0; !r && k < s.n; k++)
		for (size_t i = 0; !r && i < runs->n; i++)
			r = span_overlap(&runs->v[i], &s.v[k]) > 0;
	spans_free(&s);
	return r;
}

/* A new rule that shares addresses with one that has runs has them as well: what is a single address for one is none of the
 * other's. */
static int share_runs(struct plan *p)
{
	struct spans runs = {NULL, 0};
	bool more = true;
	int err = 0;

	while (!err && more) {
		more = false;
		spans_free(&runs);
		err = spans_of(p, true, &runs);
		for (size_t i = 0; !err && i < p->n_snats; i++) {
			int r = !has_pool(p->snats[i]) || p->forms[i].runs || p->forms[i].now ? 0 : meets(p, p->snats[i], &runs);

			if (r > 0)
				p->forms[i].runs = more = true;
			err = r < 0 ? r : 0;
		}
	}
	spans_free(&runs);
	return err;
}

/* The size of a rule's pool, and what it is now. */
static int form_of(struct plan *p, const struct nat_cfg *c, struct plan_form *f)
{
	struct spans s = {NULL, 0};
	int err = size_of(p, c, &f->size);

	if (!err)
		err = rule_spans(p, c, true, &s);
	if (!err)
		f->now = form_now(p, c, &s);
	f->runs = f->now == 2;
	spans_free(&s);
	return err;
}

/* A rule that has runs keeps them: its flows and mappings name its addresses by them. */
int plan_run_choose(struct plan *p)
{
	uint64_t elsewhere, slots = 0, members = 0;
	struct plan_form *f;
	int err;

	if (!p->n_snats)
		return 0;
	elsewhere = taken_elsewhere(p->sw->model);
	p->forms = calloc(p->n_snats, sizeof(*p->forms));
	if (!p->forms)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_snats; i++) {
		f = &p->forms[i];
		if (!has_pool(p->snats[i]))
			continue;
		err = form_of(p, p->snats[i], f);
		if (err)
			return err;
		members += f->runs ? 2 * p->snats[i]->n_pool : f->size;
	}
	err = slots_count(p, &slots);
	/* If there is nobody left, who finds no room says so. */
	while (!err && (slots + elsewhere > POOL_ADDR_MAX || members > POOL_MEMBER_MAX) && (f = next_to_have_runs(p))) {
		f->runs = true;
		members -= f->size - 2 * p->snats[f - p->forms]->n_pool;
		/* Others may name the same ones: counted anew as soon as it may be enough. */
		slots -= f->size < slots ? f->size : slots;
		if (slots + elsewhere <= POOL_ADDR_MAX)
			err = slots_count(p, &slots);
	}
	return err ? err : share_runs(p);
}

bool plan_has_runs(const struct plan *p)
{
	for (size_t i = 0; i < p->n_snats; i++)
		if (p->snats[i] == p->cfg)
			return p->forms[i].runs;
	return false;
}

/* ---- runs */

/* A run that is in the tables, or was until just now. */
struct has_slot {
	struct span now, origin; /* `origin`: all that it may become without that an address counts otherwise */
	size_t addr;		 /* index in nat_plan.addrs + 1, if it is there already; else 0 */
};

static void slots_read(const struct nat *nat, struct has_slot *ret)
{
	for (unsigned i = 0; i < POOL_ADDR_MAX; i++) {
		const struct pool_addr *a = &nat->addrs[i];

		if (!(a->flags & POOL_ADDR_F_RUN))
			continue;
		ret[i].now = slot_span(a);
		ret[i].origin = (struct span){.first = a->addr, .n = POOL_RUN_MAX, .vrf = a->vrf};
	}
}

/* The next one that has some of the span, behind those that begin before `from`; POOL_ADDR_MAX: none. */
static unsigned slot_next(const struct has_slot *slots, const struct span *s, uint64_t from)
{
	unsigned found = POOL_ADDR_MAX;

	for (unsigned i = 0; i < POOL_ADDR_MAX; i++)
		if (span_overlap(&slots[i].now, s) && span_low(&slots[i].now.first) >= from &&
		    (found == POOL_ADDR_MAX || span_low(&slots[i].now.first) < span_low(&slots[found].now.first)))
			found = i;
	return found;
}

/* Addresses that have no slot: as runs that may grow at either end. */
static int plan_fresh(struct plan *p, const struct span *in, uint64_t from, uint64_t end)
{
	int err = 0;

	for (uint64_t n; !err && from < end; from += n) {
		uint64_t room;

		n = end - from <= RUN_NEW ? end - from : RUN_NEW - from % RUN_NEW;
		room = (POOL_RUN_MAX - n) / 2;
		err = plan_addr_add(p, &(struct nat_plan_addr){.addr = span_at(in->first, from),
							       .run = (uint32_t)n,
							       .origin = span_at(in->first, from - (from < room ? from : room)),
							       .vrf = in->vrf});
	}
	return err;
}

/* [from, to) as the slot's run. One that is cut in two has both parts, and what is between them, which is in no pool. */
static int plan_kept(struct plan *p, struct has_slot *slots, unsigned i, const struct span *in, uint64_t from, uint64_t to)
{
	struct nat_plan *o = p->out;
	int err;

	if (slots[i].addr) {
		o->addrs[slots[i].addr - 1].run = (uint32_t)(to - span_low(&o->addrs[slots[i].addr - 1].addr));
		return 0;
	}
	err = plan_addr_add(p, &(struct nat_plan_addr){.addr = span_at(in->first, from),
						       .run = (uint32_t)(to - from),
						       .origin = slots[i].origin.first,
						       .has_slot = i + 1,
						       .vrf = in->vrf});
	slots[i].addr = o->n_addrs;
	return err;
}

/* A span as addresses of the plan. What has a slot keeps it, wherever the span begins or ends now: connections know their
 * addresses by it. What lies between goes to the one before, and what is too far from all of them is new. */
static int plan_run_slots(struct plan *p, struct has_slot *slots, const struct span *s)
{
	uint64_t at = span_low(&s->first), end = span_end(s), from, to;
	unsigned i = slot_next(slots, s, 0), next;
	int err = 0;

	for (; !err && i < POOL_ADDR_MAX; i = next) {
		next = slot_next(slots, s, span_low(&slots[i].now.first) + 1);
		from = span_low(&slots[i].origin.first) + RUN_ROUND - 1;
		from -= from % RUN_ROUND;
		from = from > at ? from : at;
		to = span_end(&slots[i].origin) - span_end(&slots[i].origin) % RUN_ROUND;
		to = to < end ? to : end;
		if (next < POOL_ADDR_MAX && span_low(&slots[next].now.first) < to)
			to = span_low(&slots[next].now.first);
		if (to <= from)
			continue;
		err = plan_fresh(p, s, at, from);
		if (!err)
			err = plan_kept(p, slots, i, s, from, to);
		at = to;
	}
	return err ? err : plan_fresh(p, s, at, end);
}

static int plan_runs(struct plan *p, const struct spans *runs)
{
	struct has_slot *slots = calloc(POOL_ADDR_MAX, sizeof(*slots));
	int err = slots ? 0 : -ENOMEM;

	if (slots)
		slots_read(p->sw->nat, slots);
	for (size_t k = 0; !err && k < runs->n; k++)
		err = plan_run_slots(p, slots, &runs->v[k]);
	free(slots);
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
		uint64_t from = span_low(&s.first), end = span_end(&s);

		if (!span_overlap(o, &s))
			continue;
		if (span_low(&o->first) > from)
			err = span_add(ret, (struct span){.first = s.first, .n = span_low(&o->first) - from, .vrf = s.vrf});
		s.n = span_end(o) < end ? end - span_end(o) : 0;
		s.first = span_at(s.first, span_end(o));
	}
	return !err && s.n ? span_add(ret, s) : err;
}

/* ---- members */

static struct span run_span(const struct nat_plan_addr *a)
{
	return (struct span){.first = a->addr, .n = a->run, .vrf = a->vrf};
}

/* The addresses of a span are those of one run, or of some that follow each other. `unit`: no more of them in one member. */
static int plan_pieces(struct plan *p, struct nat_plan_pool *pool, struct span s, uint64_t unit)
{
	const struct nat_plan *o = p->out;
	int err = 0;

	for (size_t i = 0; !err && s.n && i < o->n_addrs; i++) {
		struct span run = run_span(&o->addrs[i]);
		uint64_t left = span_overlap(&run, &s), n;

		if (!left || span_low(&s.first) < span_low(&run.first))
			continue;
		for (; !err && left; left -= n, s.n -= n) {
			n = left < unit ? left : unit;
			err = plan_member_run(p, pool, i, (uint32_t)(span_low(&s.first) - span_low(&o->addrs[i].origin) + 1),
					      (uint32_t)n);
			s.first = span_at(s.first, span_low(&s.first) + n);
		}
	}
	return err;
}

/* In how many runs a span's addresses are. */
static size_t runs_of(const struct plan *p, const struct span *s)
{
	size_t n = 0;

	for (size_t i = 0; i < p->out->n_addrs; i++) {
		struct span run = run_span(&p->out->addrs[i]);

		n += span_overlap(&run, s) > 0;
	}
	return n;
}

static int plan_run_pool(struct plan *p, struct nat_plan_pool *pool, const struct spans *out)
{
	struct spans left[2] = {{NULL, 0}, {NULL, 0}}, all = {NULL, 0};
	uint64_t total = 0, unit;
	size_t runs = 0;
	int err = rule_spans(p, p->cfg, true, &all);

	for (size_t i = 0; !err && i < all.n; i++)
		err = cut_out(p, all.v[i], out, &left[addr_family(&all.v[i].first) == 6]);
	spans_free(&all);
	for (int six = 0; six < 2; six++) {
		spans_merge(&left[six]);
		for (size_t i = 0; i < left[six].n; i++) {
			total += left[six].v[i].n;
			runs += runs_of(p, &left[six].v[i]);
		}
	}
	if (!err && !total)
		err = plan_bad(
			p, "to",
			"none of its addresses is left: they are in the prefix of an interface, where the host answers for each, "
			"or another rule's. Of such a pool can have at most %s",
			"1024, all rules together");
	unit = runs > 1 ? (total + CHUNKS - 1) / CHUNKS : total;
	pool->first = p->out->n_members;
	for (int six = 0; six < 2; six++) {
		for (size_t i = 0; !err && i < left[six].n; i++)
			err = plan_pieces(p, pool, left[six].v[i], unit);
		spans_free(&left[six]);
	}
	return err;
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
	spans_free(&runs);
	spans_free(&out);
	return err;
}
