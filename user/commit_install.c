/* commit_install.c: one model into force, or the former one again: programs and nouns in their order. Between commit.c, which
 * decides and keeps the record, and the nouns.
 *
 * Everything here is done by the event loop (beside.h), the reconciliation in as many turns as a noun wants; but programs go into
 * the kernel beside it.
 */
#include <errno.h>
#include <string.h>
#include "commit_priv.h"
#include "control.h"
#include "cut.h"
#include "log.h"
#include "loop.h"
#include "resize.h"

/* The order of reconciliation. Netdevs come before ports, because the switch's end of a VLAN interface is a port. */
static const struct step {
	const char *name;
	int (*reconcile)(struct sw *sw, struct errs *errs);
} steps[] = {
	{"settings", control_reconcile},
	{"vrfs", vrf_reconcile},
	{"interface netdevs", iface_netdevs},
	{"the pair for cutting", cut_reconcile},
	{"ports", port_reconcile},
	{"vlans", vlan_reconcile},
	{"interfaces", iface_reconcile},
	{"fdb", fdb_reconcile},
	{"neighbors", neighbor_reconcile},
	{"routes", route_reconcile},
	{"the host's part of vrfs", vrf_host_reconcile},
	{"nat", nat_reconcile},
	{"flows", flow_reconcile},
	{"table sizes", resize_reconcile},
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

struct datapath_features commit_features(const struct model *m, bool flows, bool trace)
{
	bool rpf = false, mss = false;

	for (size_t i = 0; i < m->n_ifaces; i++) {
		rpf |= m->ifaces[i].rpf != RPF_OFF;
		mss |= m->ifaces[i].mss != 0;
	}
	return (struct datapath_features){
		.ipv6 = m->n_ifaces > 0,
		.l3 = m->n_ifaces > 0,
		.nat = m->n_nats > 0 || flows,
		.nat_log = m->n_nats > 0 && (*m->settings.nat_log_file || m->settings.nat_log_syslog),
		.uncounted = m->settings.flows_uncounted,
		.rpf = rpf,
		.mss = mss,
		.inner = m->settings.ecmp_hash == ECMP_INNER,
		.trace = trace,
	};
}

static bool same_features(const struct datapath_features *a, const struct datapath_features *b)
{
	return a->ipv6 == b->ipv6 && a->l3 == b->l3 && a->nat == b->nat && a->nat_log == b->nat_log &&
	       a->uncounted == b->uncounted && a->rpf == b->rpf && a->mss == b->mss && a->inner == b->inner &&
	       a->trace == b->trace;
}

/* Programs on their way. */
struct load {
	struct commit *c;
	struct datapath_features f;
	struct datapath_programs *programs; /* NULL: what is loaded is what is needed */
	struct errs *errs;
};

/* 0, or BESIDE_AGAIN while a change of the tables' size still loads programs of its own. */
static int yield_turn(struct commit *c)
{
	int r = resize_yield(c->sw);

	c->yielded |= r != 0;
	return r == -EAGAIN ? BESIDE_AGAIN : 0;
}

static int open_turn(void *arg)
{
	struct load *l = arg;

	loop_doing("opening programs");
	l->programs = NULL;
	if (same_features(&l->f, &l->c->loaded))
		return 0;
	if (yield_turn(l->c))
		return BESIDE_AGAIN;
	return datapath_programs_open(l->c->sw->dp, &l->f, &l->programs, l->errs);
}

static int use_turn(void *arg)
{
	struct load *l = arg;
	int r;

	loop_doing("exchanging programs");
	if (yield_turn(l->c)) /* it may have begun since */
		return BESIDE_AGAIN;
	r = datapath_programs_use(l->c->sw->dp, l->programs, l->errs);
	if (!r)
		l->c->loaded = l->f;
	return r;
}

/* The verifier's time is nobody's but the change's. */
static int load_features(struct load *l)
{
	bool again;
	int r;

	do {
		r = beside_loop(l->c->beside, open_turn, l);
		if (r || !l->programs)
			return r;
		r = datapath_programs_load(l->programs, l->errs);
		again = !r;
		if (!r)
			r = beside_loop(l->c->beside, use_turn, l);
		again &= r == -EAGAIN;
		datapath_programs_free(l->programs);
	} while (again);
	return r;
}

/* Before a reconciliation: what is loaded and what `m` needs, both. */
int commit_grow(struct commit *c, const struct model *m, struct errs *errs)
{
	struct load l = {.c = c, .f = commit_features(m, false, c->loaded.trace), .errs = errs};

	l.f.ipv6 |= c->loaded.ipv6;
	l.f.l3 |= c->loaded.l3;
	l.f.nat |= c->loaded.nat;
	l.f.nat_log |= c->loaded.nat_log;
	l.f.uncounted &= c->loaded.uncounted;
	l.f.rpf |= c->loaded.rpf;
	l.f.mss |= c->loaded.mss;
	l.f.inner |= c->loaded.inner;
	return load_features(&l);
}

static int needed_turn(void *arg)
{
	struct load *l = arg;

	l->f = commit_features(l->c->sw->model, flow_count(l->c->sw) > 0, l->c->loaded.trace);
	return 0;
}

static int resume_turn(void *arg)
{
	struct load *l = arg;

	if (l->c->yielded && resize_reconcile(l->c->sw, l->errs))
		log_errs("table sizes", l->errs);
	l->c->yielded = false;
	return 0;
}

/* After it: no more than is needed. Programs that can more than they must are no failure, only slower. */
static void features_shrink(struct commit *c)
{
	struct errs errs = {0};
	struct load l = {.c = c, .errs = &errs};

	beside_loop(c->beside, needed_turn, &l);
	if (load_features(&l))
		log_errs("the former programs stay loaded", &errs);
	beside_loop(c->beside, resume_turn, &l);
	errs_free(&errs);
}

/* A reconciliation of all nouns, and where it is. */
struct pass {
	struct commit *c;
	struct model *m;
	struct errs *errs;
	bool back; /* to what was: every noun has its turn, because one that refuses must not keep the others from the old state
		    */
	size_t at, before; /* the noun; how many errors there were when it began */
	bool begun;
};

/* The rest of a noun's turn, or 0 when it is through with it. */
static int pass_step(struct pass *p)
{
	const struct step *s = &steps[p->at];
	int r;

	loop_doing(s->name);
	if (!p->begun)
		p->before = p->errs->n;
	p->begun = true;
	r = s->reconcile(p->c->sw, p->errs);
	if ((r == -EAGAIN || r == -EINPROGRESS) && p->errs->n == p->before)
		return r == -EAGAIN ? BESIDE_AGAIN : BESIDE_LATER;
	if (r && p->errs->n == p->before)
		errs_fail(p->errs, -r, "%s: %s", s->name, strerror(-r));
	p->begun = false;
	return p->back ? 0 : r;
}

/* Stops at the first refusal, unless it goes back. */
static int pass_turn(void *arg)
{
	struct pass *p = arg;
	int r;

	p->c->sw->model = p->m;
	for (; p->at < N_STEPS; p->at++) {
		r = pass_step(p);
		if (r)
			return r;
	}
	loop_doing("the end of a commit");
	sw_epoch(p->c->sw);
	return 0;
}

int commit_reconcile(struct commit *c, struct model *m, struct errs *errs)
{
	struct pass p = {.c = c, .m = m, .errs = errs};
	int r = beside_loop(c->beside, pass_turn, &p);

	if (!r)
		features_shrink(c);
	return r;
}

void commit_back(struct commit *c, struct model *old)
{
	struct errs errs = {0};
	struct pass p = {.c = c, .m = old, .errs = &errs, .back = true};

	beside_loop(c->beside, pass_turn, &p);
	features_shrink(c);
	if (errs.n)
		log_errs("while going back to the former configuration", &errs);
	errs_free(&errs);
}

int commit_install(struct commit *c, struct model *m, struct errs *errs)
{
	struct model *old = c->sw->model;
	int r = commit_grow(c, m, errs);

	if (!r) {
		r = commit_reconcile(c, m, errs);
		if (r)
			commit_back(c, old);
	}
	return r ? -ECANCELED : 0;
}
