/* commit_install.c: one model into force, or the former one again: programs and nouns in their order. Between commit.c, which
 * decides and keeps the record, and the nouns.
 *
 * Everything here is done by the event loop (beside.h), the reconciliation in as many turns as a noun wants.
 */
#include <errno.h>
#include <string.h>
#include "commit_priv.h"
#include "control.h"
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
		.rpf = rpf,
		.mss = mss,
		.inner = m->settings.ecmp_hash == ECMP_INNER,
		.trace = trace,
	};
}

static bool same_features(const struct datapath_features *a, const struct datapath_features *b)
{
	return a->ipv6 == b->ipv6 && a->l3 == b->l3 && a->nat == b->nat && a->nat_log == b->nat_log && a->rpf == b->rpf &&
	       a->mss == b->mss && a->inner == b->inner && a->trace == b->trace;
}

static int load_features(struct commit *c, const struct datapath_features *f, struct errs *errs)
{
	int r;

	if (same_features(f, &c->loaded))
		return 0;
	c->yielded |= resize_yield(c->sw);
	r = datapath_reload(c->sw->dp, f, errs);
	if (!r)
		c->loaded = *f;
	return r;
}

/* Before a reconciliation: what is loaded and what `m` needs, both. */
static int features_grow(struct commit *c, const struct model *m, struct errs *errs)
{
	struct datapath_features f = commit_features(m, false, c->loaded.trace);

	f.ipv6 |= c->loaded.ipv6;
	f.l3 |= c->loaded.l3;
	f.nat |= c->loaded.nat;
	f.nat_log |= c->loaded.nat_log;
	f.rpf |= c->loaded.rpf;
	f.mss |= c->loaded.mss;
	f.inner |= c->loaded.inner;
	return load_features(c, &f, errs);
}

/* After it: no more than is needed. Programs that can more than they must are no failure, only slower. */
static void features_shrink(struct commit *c)
{
	struct datapath_features f = commit_features(c->sw->model, flow_count(c->sw) > 0, c->loaded.trace);
	struct errs errs = {0};

	if (load_features(c, &f, &errs))
		log_errs("the former programs stay loaded", &errs);
	if (c->yielded && resize_reconcile(c->sw, &errs))
		log_errs("table sizes", &errs);
	c->yielded = false;
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
	if (r == -EAGAIN && p->errs->n == p->before)
		return BESIDE_AGAIN;
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

static int grow_turn(void *arg)
{
	struct pass *p = arg;

	loop_doing("loading programs");
	return features_grow(p->c, p->m, p->errs);
}

static int shrink_turn(void *arg)
{
	loop_doing("loading programs");
	features_shrink(arg);
	return 0;
}

int commit_grow(struct commit *c, const struct model *m, struct errs *errs)
{
	struct pass p = {.c = c, .m = (struct model *)m, .errs = errs};

	return beside_loop(c->beside, grow_turn, &p);
}

int commit_reconcile(struct commit *c, struct model *m, struct errs *errs)
{
	struct pass p = {.c = c, .m = m, .errs = errs};
	int r = beside_loop(c->beside, pass_turn, &p);

	if (!r)
		beside_loop(c->beside, shrink_turn, c);
	return r;
}

void commit_back(struct commit *c, struct model *old)
{
	struct errs errs = {0};
	struct pass p = {.c = c, .m = old, .errs = &errs, .back = true};

	beside_loop(c->beside, pass_turn, &p);
	beside_loop(c->beside, shrink_turn, c);
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
