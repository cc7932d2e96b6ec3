/* daemon.c: between main() and everything that runs: opens the parts in order, turns the event loop, closes them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include "api.h"
#include "commit.h"
#include "control.h"
#include "cut.h"
#include "daemon.h"
#include "events.h"
#include "file.h"
#include "http.h"
#include "log.h"
#include "loop.h"
#include "neigh_ask.h"
#include "resize.h"
#include "rules_other.h"
#include "state.h"
#include "sysctl.h"
#include "version.h"

#define SETTLE_ROUNDS 50 /* at the start: for the events of what the first reconciliation itself made */

struct daemon {
	const struct daemon_options *o;
	struct sw sw;
	struct state *state;
	char route_notes[FILE_PATH];
	struct commit *commit;
	struct events *events;
	struct api api;
	struct http *http;
	struct event *term, *intr, *hup, *second, *watchdog;
};

/* ---- which model to start with ---- */

struct choice {
	struct model *model;  /* to start with */
	struct model *former; /* what was in force before, where that is another one; NULL: nothing, or the same */
	struct commit_options how;
};

static void log_diff(const char *prefix, json_t *diff)
{
	char *text = diff ? model_diff_text(diff) : NULL;

	log_lines(prefix, text);
	free(text);
	json_decref(diff);
}

static int from_file(struct daemon *d, struct state_saved *saved, const char *text, size_t len, struct choice *ret,
		     struct errs *errs)
{
	ret->model = model_parse(text, len, d->o->config, errs);
	if (!ret->model)
		return -EINVAL;
	ret->how.is_config = true;
	ret->how.hash = file_hash(text, len);
	if (!saved->running)
		return 0;
	if (saved->has_hash)
		log_info("%s was changed since it was last read: it wins over the saved configuration", d->o->config);
	if (d->state->base)
		log_diff("dropped, was changed at run time", model_diff(d->state->base, saved->running));
	log_diff("changed by the start", model_diff(saved->running, ret->model));
	ret->former = saved->running;
	saved->running = NULL;
	model_free(saved->pending);
	saved->pending = NULL;
	return 0;
}

/* The configuration file is as it was: what was in force is in force again, run-time changes included. */
static int from_saved(struct daemon *d, struct state_saved *saved, struct choice *ret, struct errs *errs)
{
	if (!saved->pending || saved->deadline_s > state_now_s()) {
		ret->model = saved->running;
		saved->running = NULL;
		return 0;
	}
	log_info("the last change was not confirmed in time: starting with the configuration before it");
	if (state_push_history(d->state, saved->running, 0, errs))
		log_errs("history", errs);
	ret->former = saved->running;
	ret->model = saved->pending;
	saved->running = NULL;
	saved->pending = NULL;
	return 0;
}

static int choose_model(struct daemon *d, struct state_saved *saved, struct choice *ret, struct errs *errs)
{
	struct errs unreadable = {0};
	char *text = NULL;
	size_t len = 0;
	int r;

	r = state_load(d->state, saved, &unreadable);
	if (unreadable.n)
		log_errs("saved state that cannot be used is ignored", &unreadable);
	errs_free(&unreadable);
	if (r)
		return r;
	ret->how.what = "start";
	r = file_read(d->o->config, &text, &len);
	if (!r) {
		if (saved->running && saved->has_hash && saved->hash == file_hash(text, len))
			r = from_saved(d, saved, ret, errs);
		else
			r = from_file(d, saved, text, len, ret, errs);
		free(text);
		return r;
	}
	if (r == -ENOENT && saved->running) {
		log_info("%s is not there: going on with the saved configuration", d->o->config);
		return from_saved(d, saved, ret, errs);
	}
	return errs_fail(errs, -r, "the configuration %s cannot be read: %s (another one: -c FILE)", d->o->config, strerror(-r));
}

/* ---- parts ---- */

static int open_nouns(struct sw *sw, struct errs *errs)
{
	static int (*const open[])(struct sw *, struct errs *) = {
		vrf_open, vrf_host_open, rules_other_open, cut_open, port_open, iface_open,
		fdb_open, neighbor_open, route_open,	   nat_open, flow_open, resize_open,
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]) && !r; i++)
		r = open[i](sw, errs);
	return r;
}

static void close_nouns(struct sw *sw)
{
	resize_close(sw);
	flow_close(sw);
	nat_close(sw);
	route_close(sw);
	neighbor_close(sw);
	fdb_close(sw);
	iface_close(sw);
	port_close(sw);
	cut_close(sw);
	rules_other_close(sw);
	vrf_host_close(sw);
	vrf_close(sw);
}

/* Programs that can do what the former life's tables may still hold, until the first commit has put them right. */
static int open_datapath(struct daemon *d, const struct choice *choice, struct datapath_features *ret, struct errs *errs)
{
	struct sw *sw = &d->sw;
	struct datapath_features f = commit_features(choice->model, false, d->o->trace);
	struct table *control;
	int r;

	if (choice->former) {
		struct datapath_features former = commit_features(choice->former, false, d->o->trace);

		f.ipv6 |= former.ipv6;
		f.l3 |= former.l3;
		f.nat |= former.nat;
	}
	*ret = f;
	r = datapath_open(sw->instance, &choice->model->settings, &f, &sw->dp, errs);
	if (r)
		return r;
	control = table_get(sw->dp, "control");
	sw->control = control ? table_map(control) : NULL;
	return sw->control ? 0 : errs_fail(errs, ENODEV, "the map `control` is missing or cannot be mapped into memory");
}

/* Everything that works on the switch, and the first reconciliation. */
static int open_parts(struct daemon *d, const struct choice *choice, struct state_saved *saved, struct errs *errs)
{
	struct datapath_features features;
	struct model *nothing = NULL;
	struct sw *sw = &d->sw;
	char sysctls[FILE_PATH];
	int r;

	d->sw.dir = d->state->dir;
	state_path(d->state, STATE_SYSCTLS, sysctls);
	state_path(d->state, STATE_ROUTES, d->route_notes);
	sw->route_notes = d->route_notes;
	r = sysctl_notes_open(sysctls, errs);
	if (!r)
		r = open_datapath(d, choice, &features, errs);
	/* no sluiced has run here before: a start that fails leaves nothing behind */
	if (!r && !choice->former && !saved->running && !sw->control->ping)
		nothing = model_new();
	if (!r)
		r = netlink_open(&sw->nl, errs);
	if (!r)
		r = neigh_ask_open(&sw->asks, errs);
	if (!r)
		r = events_new(sw, &d->events, errs);
	if (!r)
		r = mirror_open(sw->base, events_listener(d->events), &sw->mirror, errs);
	sw->events = d->events;
	if (!r)
		r = open_nouns(sw, errs);
	if (!r && choice->former)
		iface_adopt(sw, choice->former);
	if (!r && choice->former)
		vrf_adopt(sw, choice->former);
	if (!r)
		r = commit_open(sw, d->state, &features, &d->commit, errs);
	if (!r)
		r = commit_start(d->commit, saved, nothing ? nothing : choice->former, &choice->how, errs);
	model_free(nothing);
	return r;
}

static int open_switch(struct daemon *d, struct errs *errs)
{
	struct state_saved saved = {0};
	struct choice choice = {0};
	int r;

	r = choose_model(d, &saved, &choice, errs);
	d->sw.model = choice.model;
	if (!r)
		r = open_parts(d, &choice, &saved, errs);
	model_free(choice.former);
	state_saved_free(&saved);
	return r;
}

static int open_api(struct daemon *d, struct errs *errs)
{
	char path[FILE_PATH];

	d->api = (struct api){
		.sw = &d->sw, .commit = d->commit, .state = d->state, .events = d->events, .started_s = state_now_s()};
	if (d->o->socket)
		snprintf(path, sizeof(path), "%s", d->o->socket);
	else
		snprintf(path, sizeof(path), "%s/api.sock", d->state->dir);
	return http_open(d->sw.base, path, api_handle, &d->api, &d->http, errs);
}

/* ---- signals and timers ---- */

static void on_stop(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	log_info("%s: ending; packets keep flowing", sig == SIGTERM ? "SIGTERM" : "SIGINT");
	event_base_loopbreak(d->sw.base);
}

/* SIGHUP: the file is read again, as `apply` would; beside the loop. Whatever is wrong with it, the running configuration stays.
 */
static void reload(void *arg)
{
	struct daemon *d = arg;
	struct commit_options how = {.what = "SIGHUP", .is_config = true};
	struct errs errs = {0};
	struct model *m = NULL;
	json_t *diff = NULL;
	char *text = NULL;
	size_t len = 0;
	int r;

	r = file_read(d->o->config, &text, &len);
	if (r) {
		errs_fail(&errs, -r, "%s cannot be read: %s", d->o->config, strerror(-r));
	} else {
		how.hash = file_hash(text, len);
		m = model_parse(text, len, d->o->config, &errs);
	}
	free(text);
	if (m && !commit_apply(d->commit, m, &how, &diff, &errs)) {
		log_info("%s was read again: %zu changes", d->o->config, json_array_size(diff));
		log_diff("changed", diff);
	} else {
		log_errs("SIGHUP: the running configuration stays", &errs);
	}
	errs_free(&errs);
}

static void reloaded(void *arg)
{
}

static void on_reload(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	if (commit_do(d->commit, reload, reloaded, d))
		log_error("SIGHUP: out of memory; the running configuration stays");
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	loop_doing("the heartbeat");
	control_ping(&d->sw);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	sd_notify(0, "WATCHDOG=1");
}

static int add_event(struct daemon *d, struct event **ret, int sig, const struct timeval *every, event_callback_fn fn,
		     struct errs *errs)
{
	*ret = event_new(d->sw.base, sig, EV_PERSIST | (every ? 0 : EV_SIGNAL), fn, d);
	if (!*ret || event_add(*ret, every))
		return errs_fail(errs, ENOMEM, "out of memory");
	return 0;
}

static int open_events(struct daemon *d, struct errs *errs)
{
	struct timeval second = {.tv_sec = 1}, half;
	uint64_t watchdog_us = 0;
	int r;

	r = add_event(d, &d->term, SIGTERM, NULL, on_stop, errs);
	if (!r)
		r = add_event(d, &d->intr, SIGINT, NULL, on_stop, errs);
	if (!r)
		r = add_event(d, &d->hup, SIGHUP, NULL, on_reload, errs);
	if (!r)
		r = add_event(d, &d->second, -1, &second, on_second, errs);
	if (r || sd_watchdog_enabled(0, &watchdog_us) <= 0)
		return r;
	half = (struct timeval){.tv_sec = (time_t)(watchdog_us / 2000000), .tv_usec = (suseconds_t)(watchdog_us / 2 % 1000000)};
	return add_event(d, &d->watchdog, -1, &half, on_watchdog, errs);
}

static void free_event(struct event *e)
{
	if (e)
		event_free(e);
}

/* ---- life ---- */

static int start(struct daemon *d, struct errs *errs)
{
	int r;

	r = datapath_check_host(errs);
	if (!r)
		r = state_open(d->o->run, d->o->instance, d->o->config, &d->state, errs);
	if (r)
		return r;
	d->sw.base = loop_base_new();
	if (!d->sw.base)
		return errs_fail(errs, ENOMEM, "out of memory");
	r = open_switch(d, errs);
	if (!r)
		r = open_events(d, errs);
	if (!r)
		r = open_api(d, errs);
	if (r)
		return r;
	events_start(d->events);
	for (int i = 0; i < SETTLE_ROUNDS; i++) {
		event_base_loop(d->sw.base, EVLOOP_NONBLOCK);
		if (!events_pending(d->events))
			break;
	}
	return 0;
}

static void stop(struct daemon *d)
{
	sigset_t signals;

	/* One more of them would end a change in the middle, now that nobody listens. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	http_close(d->http);
	free_event(d->watchdog);
	free_event(d->second);
	free_event(d->hup);
	free_event(d->intr);
	free_event(d->term);
	commit_close(d->commit);
	close_nouns(&d->sw);
	mirror_close(d->sw.mirror);
	events_free(d->events);
	neigh_ask_close(d->sw.asks);
	netlink_close(d->sw.nl);
	datapath_close(d->sw.dp);
	model_free(d->sw.model);
	if (d->sw.base)
		event_base_free(d->sw.base);
	state_close(d->state);
}

int daemon_run(const struct daemon_options *o, struct errs *errs)
{
	struct daemon d = {.o = o, .sw.instance = o->instance};
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = start(&d, errs);
	if (!r) {
		const struct model *m = d.sw.model;

		log_info("sluiced %s runs instance '%s'", SLUICE_VERSION, o->instance);
		sd_notifyf(0, "READY=1\nSTATUS=%zu port entries, %zu interfaces, %zu static routes, %zu NAT rules", m->n_ports,
			   m->n_ifaces, m->n_routes, m->n_nats);
		if (loop_run(d.sw.base) < 0)
			r = errs_fail(errs, EIO, "the event loop failed: %s", strerror(errno));
		sd_notify(0, "STOPPING=1");
	}
	stop(&d);
	return r;
}

/* The same parts as for a start, with a model in which nothing is left: so every noun takes away what it has made. */
int daemon_empty(const struct daemon_options *o, struct state *state, struct model *former, struct errs *errs)
{
	struct daemon d = {.o = o, .sw.instance = o->instance, .state = state};
	struct choice choice = {.model = model_new(), .former = former, .how = {.what = "destroy"}};
	struct state_saved saved = {0};
	int r = 0;

	d.sw.model = choice.model;
	d.sw.base = loop_base_new();
	if (!d.sw.model || !d.sw.base)
		r = errs_fail(errs, ENOMEM, "out of memory");
	if (!r) {
		d.sw.model->settings = former->settings; /* the sizes of the tables that are there */
		r = open_parts(&d, &choice, &saved, errs);
	}
	d.state = NULL;
	stop(&d);
	return r;
}
