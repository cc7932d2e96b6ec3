/* commit.c: between whoever has a new model (file, API, timer) and the nouns that make it true.
 *
 * Ownership: sw->model is the running model and belongs to the commit; the models of the history do too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "commit.h"
#include "control.h"
#include "log.h"
#include "loop.h"
#include "resize.h"

#define RETRY_S 5 /* a roll-back whose record could not be written is tried again */

struct former {
	struct model *model;
	uint64_t replaced_s; /* since 1970 */
};

struct commit {
	struct sw *sw;
	struct state *state;
	struct datapath_features loaded;
	bool yielded;			      /* a change of the tables' size gave way to an exchange of programs */
	struct former history[STATE_HISTORY]; /* [0] is the newest */
	size_t n_history;

	struct model *back;  /* where an unconfirmed change goes back to; NULL: nothing waits */
	uint64_t deadline_s; /* CLOCK_BOOTTIME */
	struct event *timer;

	uint64_t commits;
	char what[COMMIT_WHAT + 1]; /* who made the last change */
	uint64_t changed_s;	    /* and when, since 1970; 0: none since the start */
};

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

/* Stops at the first refusal. */
static int reconcile(struct commit *c, struct errs *errs)
{
	for (size_t i = 0; i < N_STEPS; i++) {
		size_t before = errs ? errs->n : 0;
		int r;

		loop_doing(steps[i].name);
		r = steps[i].reconcile(c->sw, errs);
		if (r) {
			if (errs && errs->n == before)
				errs_fail(errs, -r, "%s: %s", steps[i].name, strerror(-r));
			return r;
		}
	}
	sw_epoch(c->sw);
	loop_doing("the end of a commit");
	return 0;
}

/* Back to what was: every noun has its turn, because one that refuses must not keep the others from the old state. */
static void reconcile_back(struct commit *c, struct model *old)
{
	struct errs errs = {0};

	c->sw->model = old;
	for (size_t i = 0; i < N_STEPS; i++) {
		size_t before = errs.n;
		int r = steps[i].reconcile(c->sw, &errs);

		if (r && errs.n == before)
			errs_fail(&errs, -r, "%s: %s", steps[i].name, strerror(-r));
	}
	sw_epoch(c->sw);
	features_shrink(c);
	if (errs.n)
		log_errs("while going back to the former configuration", &errs);
	errs_free(&errs);
}

/* sw->model = m and everything reconciled, or as it was before and -ECANCELED, whatever number the noun gave: for the caller
 * it is not his request that was wrong. Does not own either model. */
static int install(struct commit *c, struct model *m, struct errs *errs)
{
	struct model *old = c->sw->model;
	int r;

	loop_doing("loading programs");
	r = features_grow(c, m, errs);
	if (!r) {
		c->sw->model = m;
		r = reconcile(c, errs);
		if (r)
			reconcile_back(c, old);
		else
			features_shrink(c);
	}
	return r ? -ECANCELED : 0;
}

static void push_history(struct commit *c, struct model *former, uint64_t replaced_s)
{
	if (c->n_history == STATE_HISTORY)
		model_free(c->history[--c->n_history].model);
	memmove(&c->history[1], &c->history[0], c->n_history * sizeof(c->history[0]));
	c->history[0] = (struct former){former, replaced_s};
	c->n_history++;
}

/* `former` (consumed) was replaced by sw->model. That its record cannot be written costs a later roll-back, not this commit. */
static void record(struct commit *c, struct model *former, const char *what)
{
	struct errs errs = {0};

	c->commits++;
	c->changed_s = (uint64_t)time(NULL);
	snprintf(c->what, sizeof(c->what), "%s", what);
	push_history(c, former, c->changed_s);
	if (state_push_history(c->state, former, c->changed_s, &errs))
		log_errs("history", &errs);
	errs_free(&errs);
}

static void arm(struct commit *c, uint64_t seconds)
{
	struct timeval tv = {.tv_sec = (time_t)seconds};

	evtimer_add(c->timer, &tv);
}

static void forget_pending(struct commit *c)
{
	evtimer_del(c->timer);
	model_free(c->back);
	c->back = NULL;
}

/* The unconfirmed change ends. The model before it is in force afterwards even when a noun refuses something: staying with
 * a change that nobody confirmed would be worse. */
static int go_back(struct commit *c, const char *what, struct errs *errs)
{
	struct model *unconfirmed = c->sw->model, *back = c->back;
	int r;

	if (features_grow(c, back, errs))
		log_errs("programs", errs);
	c->back = NULL;
	evtimer_del(c->timer);
	reconcile_back(c, back);
	record(c, unconfirmed, what);
	r = state_write(c->state, back, NULL, 0, errs);
	if (!r)
		r = state_clear_pending(c->state, errs);
	if (r)
		arm(c, RETRY_S);
	return r;
}

static void on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct commit *c = arg;
	struct errs errs = {0};

	if (c->back) {
		log_info("the change was not confirmed in time: going back to the configuration before it");
		if (go_back(c, "not confirmed", &errs))
			log_errs("the roll-back is in force, and not yet recorded", &errs);
	} else if (state_write(c->state, c->sw->model, NULL, 0, &errs) || state_clear_pending(c->state, &errs)) {
		arm(c, RETRY_S);
	}
	errs_free(&errs);
}

int commit_open(struct sw *sw, struct state *state, const struct datapath_features *loaded, struct commit **ret,
		struct errs *errs)
{
	struct commit *c = calloc(1, sizeof(*c));

	if (!c)
		return errs_fail(errs, ENOMEM, "out of memory");
	c->sw = sw;
	c->state = state;
	c->loaded = *loaded;
	c->timer = evtimer_new(sw->base, on_timer, c);
	if (!c->timer) {
		free(c);
		return errs_fail(errs, ENOMEM, "out of memory");
	}
	*ret = c;
	return 0;
}

void commit_close(struct commit *c)
{
	if (!c)
		return;
	event_free(c->timer);
	model_free(c->back);
	for (size_t i = 0; i < c->n_history; i++)
		model_free(c->history[i].model);
	free(c);
}

/* Those of the flows change while sluiced runs; the others are chosen when the maps are made. */
static int check_sizes(const struct sw *sw, const struct model *new, struct errs *errs)
{
	const struct model *old = sw->model;
	const struct settings_cfg *a = &old->settings, *b = &new->settings;
	const struct {
		const char *key;
		uint32_t was, is;
		struct where where;
	} sizes[] = {
		{"tables.fdb", a->max_fdb, b->max_fdb, b->sizes_where[1]},
		{"tables.neighbors", a->max_neighbors, b->max_neighbors, b->sizes_where[2]},
		{"tables.routes4", a->max_routes4, b->max_routes4, b->sizes_where[3]},
		{"tables.routes6", a->max_routes6, b->max_routes6, b->sizes_where[4]},
		{"tables.half-open", a->max_half, b->max_half, b->sizes_where[6]},
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i].was != sizes[i].is)
			r = errs_add(errs, sizes[i].where, sizes[i].key,
				     "is %u while sluiced runs; to make it %u, write it into the configuration file and restart "
				     "sluiced",
				     sizes[i].was, sizes[i].is);
	}
	return r ? r : resize_check(sw, a, b, errs);
}

/* Most likely a file that is empty by accident, or another program's. */
static int check_ports(const struct model *old, const struct model *new, const struct commit_options *o, struct errs *errs)
{
	if (new->n_ports || !old->n_ports || o->dry_run || o->force)
		return 0;
	return errs_add(errs, (struct where){new->settings.sizes_where[0].file, 0}, "ports",
			"there are none, so that all %zu of the running configuration would be taken away: `sluice apply --yes` "
			"(API: force=1) does it",
			old->n_ports);
}

static int refuse_pending(const struct commit *c, struct errs *errs)
{
	uint64_t now = state_now_s();

	return errs_fail(errs, EBUSY,
			 "a change waits to be confirmed (%" PRIu64 " s left): `sluice confirm` or `sluice rollback` first",
			 c->deadline_s > now ? c->deadline_s - now : 0);
}

static int wait_for_confirmation(struct commit *c, uint32_t seconds, struct errs *errs)
{
	uint64_t deadline = state_now_s() + seconds;
	int r;

	c->back = model_copy(c->sw->model);
	if (!c->back)
		return errs_fail(errs, ENOMEM, "out of memory");
	/* Written before the change is made, so that a crash in the middle of it finds its way back. */
	r = state_write_pending(c->state, c->back, deadline, errs);
	if (r)
		forget_pending(c);
	else
		c->deadline_s = deadline;
	return r;
}

/* Both models are checked, and differ. Consumes `m`. */
static int change(struct commit *c, struct model *m, const struct commit_options *o, struct errs *errs)
{
	struct model *old = c->sw->model;
	struct errs ignored = {0};
	int r = 0;

	if (o->confirm_s)
		r = wait_for_confirmation(c, o->confirm_s, errs);
	if (!r) {
		r = install(c, m, errs);
		if (!r) {
			r = state_write(c->state, m, o->is_config ? m : NULL, o->hash, errs);
			if (r)
				reconcile_back(c, old);
		}
		if (r && o->confirm_s) {
			forget_pending(c);
			state_clear_pending(c->state, &ignored);
			errs_free(&ignored);
		}
	}
	if (r) {
		model_free(m);
		return r;
	}
	record(c, old, o->what);
	if (c->back)
		arm(c, o->confirm_s);
	return 0;
}

int commit_apply(struct commit *c, struct model *new_model, const struct commit_options *o, json_t **ret_diff, struct errs *errs)
{
	struct model *m = new_model;
	json_t *diff = NULL;
	int r;

	if (o->confirm_s > COMMIT_CONFIRM_MAX)
		r = errs_fail(errs, EINVAL, "the time to confirm is at most %d s", COMMIT_CONFIRM_MAX);
	else
		r = model_check(m, errs);
	if (!r)
		r = check_sizes(c->sw, m, errs);
	if (!r)
		r = check_ports(c->sw->model, m, o, errs);
	if (r)
		goto out;
	diff = model_diff(c->sw->model, m);
	if (!diff) {
		r = errs_fail(errs, ENOMEM, "out of memory");
		goto out;
	}
	if (o->dry_run)
		goto out;
	if (c->back) {
		r = refuse_pending(c, errs);
		goto out;
	}
	if (json_array_size(diff)) {
		r = change(c, m, o, errs);
		m = NULL;
	} else {
		r = install(c, c->sw->model, errs);
		if (!r && o->is_config)
			r = state_write(c->state, c->sw->model, m, o->hash, errs);
	}
out:
	model_free(m);
	if (ret_diff && !r) {
		*ret_diff = diff;
		diff = NULL;
	}
	json_decref(diff);
	return r;
}

int commit_confirm(struct commit *c, struct errs *errs)
{
	int r;

	if (!c->back)
		return errs_fail(errs, ENOENT, "no change waits to be confirmed");
	r = state_clear_pending(c->state, errs);
	if (!r)
		forget_pending(c);
	return r;
}

int commit_rollback(struct commit *c, unsigned steps_back, json_t **ret_diff, struct errs *errs)
{
	struct commit_options o = {.what = "rollback", .force = true};
	struct model *m;

	if (c->back) {
		if (steps_back != 1)
			return refuse_pending(c, errs);
		if (ret_diff)
			*ret_diff = model_diff(c->sw->model, c->back);
		return go_back(c, "rollback", errs);
	}
	if (!steps_back || steps_back > c->n_history)
		return errs_fail(errs, ENOENT, "there is no configuration %u changes ago: %zu are kept", steps_back,
				 c->n_history);
	m = model_copy(c->history[steps_back - 1].model);
	if (!m)
		return errs_fail(errs, ENOMEM, "out of memory");
	return commit_apply(c, m, &o, ret_diff, errs);
}

int commit_save(struct commit *c, struct errs *errs)
{
	if (c->back)
		return refuse_pending(c, errs);
	return state_save_config(c->state, c->sw->model, errs);
}

/* The change of a former life goes on waiting; its time has not come. */
static void adopt_saved(struct commit *c, struct state_saved *saved)
{
	uint64_t now = state_now_s();

	for (int i = STATE_HISTORY - 1; i >= 0; i--) {
		if (!saved->history[i])
			continue;
		push_history(c, saved->history[i], saved->replaced_s[i]);
		saved->history[i] = NULL;
	}
	if (!saved->pending)
		return;
	c->back = saved->pending;
	saved->pending = NULL;
	c->deadline_s = saved->deadline_s;
	arm(c, c->deadline_s > now ? c->deadline_s - now : 0);
}

int commit_start(struct commit *c, struct state_saved *saved, const struct model *former, const struct commit_options *o,
		 struct errs *errs)
{
	struct model *m = c->sw->model, *back;
	int r;

	r = features_grow(c, m, errs);
	if (!r)
		r = reconcile(c, errs);
	if (!r) {
		features_shrink(c);
		r = state_write(c->state, m, o->is_config ? m : NULL, o->hash, errs);
	}
	if (!r && !saved->pending)
		r = state_clear_pending(c->state, errs);
	if (r && former) {
		back = model_copy(former);
		if (back) {
			reconcile_back(c, back);
			c->sw->model = m;
			model_free(back);
		}
	}
	if (!r)
		adopt_saved(c, saved);
	return r;
}

static json_t *show_history(const struct commit *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n_history; i++)
		json_array_append_new(list, json_pack("{s:I, s:I}", "steps", (json_int_t)(i + 1), "replaced",
						      (json_int_t)c->history[i].replaced_s));
	return list;
}

json_t *commit_show(struct commit *c)
{
	json_t *changes = state_runtime_changes(c->state, c->sw->model), *confirm = json_null();
	uint64_t now = state_now_s();
	json_t *o;

	if (c->back)
		confirm = json_pack("{s:I}", "seconds_left", (json_int_t)(c->deadline_s > now ? c->deadline_s - now : 0));
	o = json_pack("{s:I, s:o, s:o, s:{s:s, s:b, s:i}, s:{s:b, s:b, s:b, s:b}}", "commits", (json_int_t)c->commits, "history",
		      show_history(c), "confirm", confirm, "config", "file", c->state->config, "changed_at_run_time",
		      !changes || json_array_size(changes) > 0, "changes", (int)json_array_size(changes), "features", "ipv6",
		      c->loaded.ipv6, "l3", c->loaded.l3, "nat", c->loaded.nat, "trace", c->loaded.trace);
	if (o && c->changed_s)
		json_object_set_new(o, "last_change", json_pack("{s:s, s:I}", "by", c->what, "time", (json_int_t)c->changed_s));
	json_decref(changes);
	return o;
}
