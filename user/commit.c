/* commit.c: between whoever has a new model (file, API, timer) and the nouns that make it true.
 *
 * Ownership: sw->model is the running model and belongs to the commit; the models of the history do too.
 *
 * Threads: what takes long for a large model (checking, comparing, writing) is done beside the loop (beside.h); `struct commit`
 * and the switch are changed in the loop, by the functions called …_turn.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "commit_priv.h"
#include "log.h"
#include "resize.h"

#define RETRY_S 5 /* a roll-back whose record could not be written is tried again */

/* ---- what the loop does */

/* A change of `struct commit`; what is left over for the caller to free stands in `model` afterwards. */
struct note {
	struct commit *c;
	struct model *model;
	const char *what;
	uint64_t at_s;
};

static int changes_turn(void *arg)
{
	struct commit *c = arg;

	c->changes = c->state->changes;
	return 0;
}

static int write_running(struct commit *c, const struct model *m, const struct model *base, uint64_t hash, struct errs *errs)
{
	int r = state_write(c->state, m, base, hash, errs);

	if (!r)
		beside_loop(c->beside, changes_turn, c);
	return r;
}

static struct model *push_history(struct commit *c, struct model *former, uint64_t replaced_s)
{
	struct model *gone = c->n_history == STATE_HISTORY ? c->history[--c->n_history].model : NULL;

	memmove(&c->history[1], &c->history[0], c->n_history * sizeof(c->history[0]));
	c->history[0] = (struct former){former, replaced_s};
	c->n_history++;
	return gone;
}

static int record_turn(void *arg)
{
	struct note *n = arg;
	struct commit *c = n->c;

	c->commits++;
	c->changed_s = n->at_s;
	snprintf(c->what, sizeof(c->what), "%s", n->what);
	n->model = push_history(c, n->model, n->at_s);
	return 0;
}

static void arm(struct commit *c, uint64_t seconds)
{
	struct timeval tv = {.tv_sec = (time_t)seconds};

	evtimer_add(c->timer, &tv);
}

static int arm_turn(void *arg)
{
	struct note *n = arg;

	arm(n->c, n->at_s);
	return 0;
}

static int wait_turn(void *arg)
{
	struct note *n = arg;

	n->c->back = n->model;
	n->c->deadline_s = n->at_s;
	return 0;
}

static int forget_turn(void *arg)
{
	struct note *n = arg;

	evtimer_del(n->c->timer);
	n->model = n->c->back;
	n->c->back = NULL;
	return 0;
}

/* ---- the record of changes */

/* `former` (consumed) was replaced by sw->model. That its record cannot be written costs a later roll-back, not this commit. */
static void record(struct commit *c, struct model *former, const char *what)
{
	struct note n = {.c = c, .model = former, .what = what, .at_s = (uint64_t)time(NULL)};
	struct errs errs = {0};

	if (state_push_history(c->state, former, n.at_s, &errs))
		log_errs("history", &errs);
	errs_free(&errs);
	beside_loop(c->beside, record_turn, &n);
	model_free(n.model);
}

static void forget_pending(struct commit *c)
{
	struct note n = {.c = c};

	beside_loop(c->beside, forget_turn, &n);
	model_free(n.model);
}

static void try_again(struct commit *c, uint64_t in_s)
{
	struct note n = {.c = c, .at_s = in_s};

	beside_loop(c->beside, arm_turn, &n);
}

/* The unconfirmed change ends. The model before it is in force afterwards even when a noun refuses something: staying with
 * a change that nobody confirmed would be worse. */
static int go_back(struct commit *c, const char *what, struct errs *errs)
{
	struct model *unconfirmed = c->sw->model;
	struct note n = {.c = c};
	int r;

	if (commit_grow(c, c->back, errs))
		log_errs("programs", errs);
	beside_loop(c->beside, forget_turn, &n);
	commit_back(c, n.model);
	record(c, unconfirmed, what);
	r = write_running(c, n.model, NULL, 0, errs);
	if (!r)
		r = state_clear_pending(c->state, errs);
	if (r)
		try_again(c, RETRY_S);
	return r;
}

/* The time to confirm is over, unless somebody was quicker; or what was done then is still to be recorded. */
static void expire(void *arg)
{
	struct commit *c = arg;
	struct errs errs = {0};
	uint64_t now_s = state_now_s();

	if (c->back && now_s < c->deadline_s) { /* the loop's clock is ahead of this one by some ms, or a later change waits */
		try_again(c, c->deadline_s - now_s);
	} else if (c->back) {
		log_info("the change was not confirmed in time: going back to the configuration before it");
		if (go_back(c, "not confirmed", &errs))
			log_errs("the roll-back is in force, and not yet recorded", &errs);
	} else if (write_running(c, c->sw->model, NULL, 0, &errs) || state_clear_pending(c->state, &errs)) {
		try_again(c, RETRY_S);
	}
	errs_free(&errs);
}

static void expired(void *arg)
{
}

static void on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct commit *c = arg;

	if (beside_do(c->beside, expire, expired, c))
		arm(c, RETRY_S);
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
	c->changes = -1;
	c->timer = evtimer_new(sw->base, on_timer, c);
	if (!c->timer || beside_open(sw->base, &c->beside)) {
		commit_close(c);
		return errs_fail(errs, ENOMEM, "out of memory");
	}
	*ret = c;
	return 0;
}

void commit_close(struct commit *c)
{
	if (!c)
		return;
	beside_close(c->beside);
	if (c->timer)
		event_free(c->timer);
	model_free(c->back);
	for (size_t i = 0; i < c->n_history; i++)
		model_free(c->history[i].model);
	free(c);
}

int commit_do(struct commit *c, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
	return beside_do(c->beside, fn, done, arg);
}

static const char *size_text(const uint32_t *size, const struct settings_cfg *s, char buf[16])
{
	snprintf(buf, 16, "%u", *size);
	return size == &s->max_half && !*size ? "half of `flows`" : buf;
}

/* Those of the flows change while sluiced runs; the others are chosen when the maps are made. A restart takes over the maps that
 * there are, but for `half-open`, which has nothing in it that would be missed. */
static int check_sizes(const struct sw *sw, const struct model *new, struct errs *errs)
{
	const struct model *old = sw->model;
	const struct settings_cfg *a = &old->settings, *b = &new->settings;
	const struct {
		const char *key;
		const uint32_t *was, *is;
		struct where where;
	} sizes[] = {
		{"tables.fdb", &a->max_fdb, &b->max_fdb, b->sizes_where[1]},
		{"tables.neighbors", &a->max_neighbors, &b->max_neighbors, b->sizes_where[2]},
		{"tables.routes4", &a->max_routes4, &b->max_routes4, b->sizes_where[3]},
		{"tables.routes6", &a->max_routes6, &b->max_routes6, b->sizes_where[4]},
		{"tables.half-open", &a->max_half, &b->max_half, b->sizes_where[6]},
	};
	char was[16], is[16];
	int r = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const char *from = size_text(sizes[i].was, a, was), *to = size_text(sizes[i].is, b, is);

		if (*sizes[i].was == *sizes[i].is)
			continue;
		if (sizes[i].is == &b->max_half)
			r = errs_add(errs, sizes[i].where, sizes[i].key,
				     "is %s while sluiced runs; to make it %s, write it into the configuration file and restart "
				     "sluiced",
				     from, to);
		else
			r = errs_add(
				errs, sizes[i].where, sizes[i].key,
				"is %s as long as the tables are there; to make it %s, write it into the configuration file, "
				"stop "
				"sluiced, run `sluiced --destroy -i %s`, which ends all connections, and start sluiced again",
				from, to, sw->instance);
	}
	return r ? r : resize_check(sw, a, b, errs);
}

struct asked {
	const struct commit *c;
	const struct model *m;
	struct errs *errs;
};

static int sizes_turn(void *arg)
{
	const struct asked *a = arg;

	int r = model_check_here(a->m, a->c->sw->model, a->errs);

	return check_sizes(a->c->sw, a->m, a->errs) ?: r;
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
	struct note n = {.c = c, .model = model_copy(c->sw->model), .at_s = state_now_s() + seconds};
	int r;

	if (!n.model)
		return errs_fail(errs, ENOMEM, "out of memory");
	/* Written before the change is made, so that a crash in the middle of it finds its way back. */
	r = state_write_pending(c->state, n.model, n.at_s, errs);
	if (r)
		model_free(n.model);
	else
		beside_loop(c->beside, wait_turn, &n);
	return r;
}

/* Both models are checked, and differ. Consumes `m`. */
static int change(struct commit *c, struct model *m, const struct commit_options *o, struct errs *errs)
{
	struct note wait = {.c = c, .at_s = o->confirm_s};
	struct model *old = c->sw->model;
	struct errs ignored = {0};
	int r = 0;

	if (o->confirm_s)
		r = wait_for_confirmation(c, o->confirm_s, errs);
	if (!r) {
		r = commit_install(c, m, errs);
		if (!r) {
			r = write_running(c, m, o->is_config ? m : NULL, o->hash, errs);
			if (r)
				commit_back(c, old);
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
		beside_loop(c->beside, arm_turn, &wait);
	return 0;
}

int commit_apply(struct commit *c, struct model *new_model, const struct commit_options *o, json_t **ret_diff, struct errs *errs)
{
	struct model *m = new_model;
	struct asked sizes = {c, m, errs};
	json_t *diff = NULL;
	int r;

	if (o->confirm_s > COMMIT_CONFIRM_MAX)
		r = errs_fail(errs, EINVAL, "the time to confirm is at most %d s", COMMIT_CONFIRM_MAX);
	else
		r = model_check(m, errs);
	if (!r)
		r = beside_loop(c->beside, sizes_turn, &sizes);
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
		r = commit_install(c, c->sw->model, errs);
		if (!r && o->is_config)
			r = write_running(c, c->sw->model, m, o->hash, errs);
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
	int r;

	if (c->back)
		return refuse_pending(c, errs);
	r = state_save_config(c->state, c->sw->model, errs);
	if (!r)
		beside_loop(c->beside, changes_turn, c);
	return r;
}

/* The change of a former life goes on waiting; its time has not come. */
static void adopt_saved(struct commit *c, struct state_saved *saved)
{
	uint64_t now = state_now_s();

	for (int i = STATE_HISTORY - 1; i >= 0; i--) {
		if (!saved->history[i])
			continue;
		model_free(push_history(c, saved->history[i], saved->replaced_s[i]));
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

	r = commit_grow(c, m, errs);
	if (!r)
		r = commit_reconcile(c, m, errs);
	if (!r)
		r = write_running(c, m, o->is_config ? m : NULL, o->hash, errs);
	if (!r && !saved->pending)
		r = state_clear_pending(c->state, errs);
	if (r && former) {
		back = model_copy(former);
		if (back) {
			commit_back(c, back);
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
	json_t *confirm = json_null();
	uint64_t now = state_now_s();
	json_t *o;

	if (c->back)
		confirm = json_pack("{s:I}", "seconds_left", (json_int_t)(c->deadline_s > now ? c->deadline_s - now : 0));
	o = json_pack("{s:I, s:o, s:o, s:{s:s, s:b, s:i}, s:{s:b, s:b, s:b, s:b}}", "commits", (json_int_t)c->commits, "history",
		      show_history(c), "confirm", confirm, "config", "file", c->state->config, "changed_at_run_time",
		      c->changes != 0, "changes", c->changes > 0 ? c->changes : 0, "features", "ipv6", c->loaded.ipv6, "l3",
		      c->loaded.l3, "nat", c->loaded.nat, "trace", c->loaded.trace);
	if (o && c->changed_s)
		json_object_set_new(o, "last_change", json_pack("{s:s, s:I}", "by", c->what, "time", (json_int_t)c->changed_s));
	return o;
}
