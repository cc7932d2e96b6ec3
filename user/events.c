/* events.c: between the mirror of the kernel's state and the nouns' tables.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cut.h"
#include "events.h"
#include "log.h"
#include "loop.h"
#include "named.h"
#include "rules_other.h"

#define RETRY_S	   5
#define WAIT_US	   2000 /* for what ends beside the loop */
#define ERRORS_MAX 64

enum {
	DIRTY_LINK = 1 << 0,
	DIRTY_ADDR = 1 << 1,
	DIRTY_NEIGH = 1 << 2,
	DIRTY_ROUTE = 1 << 3,
	DIRTY_READING = 1 << 4, /* the neighbours' being read anew */
	DIRTY_RULES = 1 << 5,	/* the rest of the kernel's routing rules */
	DIRTY_OTHERS = 1 << 6,	/* routing rules of other programs */
	DIRTY_LEFT_OUT = 1 << 7,
};

struct events {
	struct sw *sw;
	bool started;
	struct mirror_listener listener;
	struct event *run; /* runs when the mirror has settled, and to try again */
	unsigned dirty;
	unsigned failed; /* what to try again */
	char *errors[ERRORS_MAX];
	size_t n_errors;
	struct named left_out; /* routes, as they were when the last one came */
};

static int name_left_out(const struct kroute_left_out *r, void *arg)
{
	char to[PREFIX_TEXT], from[PREFIX_TEXT + 8] = "", tos[16] = "", metric[24] = "";
	struct named *v = arg;

	if (r->from.len) {
		strcpy(from, " from ");
		prefix_text(&r->from, from + 6);
	}
	if (r->tos)
		snprintf(tos, sizeof(tos), " tos 0x%02x", r->tos);
	if (r->metric)
		snprintf(metric, sizeof(metric), " metric %u", r->metric);
	named_add(v, "the kernel's route to %s%s%s%s in table %u is not followed: packets are sent by their destination alone",
		  prefix_text(&r->to, to), from, tos, metric, r->table);
	return v->n > NAMED_MAX; /* that there are more is enough */
}

/* Those that went are forgotten when another comes: one that goes and comes is told once. */
static int left_out_tell(struct sw *sw, struct errs *errs)
{
	struct named now = {0};

	mirror_left_out(sw->mirror, name_left_out, &now);
	named_tell(&now, &sw->events->left_out, "routes");
	sw->events->left_out = now;
	return 0;
}

/* In the order of the commit. `on`: the events that a step depends on. A route or neighbour has nothing but routes behind it.
 * `rest`: what leads to its next turn, of a step that has more than one. */
static const struct {
	const char *name;
	unsigned on, rest;
	int (*reconcile)(struct sw *sw, struct errs *errs);
} steps[] = {
	{"interface netdevs", DIRTY_LINK, 0, iface_netdevs},
	{"the pair for cutting", DIRTY_LINK, 0, cut_reconcile},
	{"ports", DIRTY_LINK, 0, port_reconcile},
	{"vlans", DIRTY_LINK, 0, vlan_reconcile},
	{"interfaces", DIRTY_LINK | DIRTY_ADDR, 0, iface_reconcile},
	{"fdb", DIRTY_LINK, 0, fdb_settle},
	{"neighbors", DIRTY_LINK | DIRTY_ADDR, 0, neighbor_reconcile},
	{"the rest of the neighbors", DIRTY_READING, 0, neighbor_read_on},
	{"routes", DIRTY_LINK | DIRTY_ADDR | DIRTY_NEIGH | DIRTY_ROUTE, DIRTY_ROUTE, route_settle},
	{"the host's part of vrfs", DIRTY_LINK | DIRTY_RULES, DIRTY_RULES, vrf_host_reconcile},
	{"routes that are left out", DIRTY_LEFT_OUT, 0, left_out_tell},
	{"routing rules of others", DIRTY_OTHERS, 0, rules_other_reconcile},
	{"nat", DIRTY_LINK | DIRTY_ADDR, 0, nat_settle},
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void on_link(void *arg, enum mirror_op op, const struct link *l, const struct link *old)
{
	((struct events *)arg)->dirty |= DIRTY_LINK;
}

/* What follows from it comes in order, with the rest of what is told of the link. */
static void on_usable(void *arg, int ifindex)
{
	struct events *e = arg;

	e->dirty |= DIRTY_ROUTE;
	route_link_changed(e->sw, ifindex);
}

static void on_addr(void *arg, enum mirror_op op, const struct link_addr *a)
{
	((struct events *)arg)->dirty |= DIRTY_ADDR;
}

/* Before the nouns are open, the first reconciliation reads the mirror as a whole. */
static void on_neigh(void *arg, enum mirror_op op, const struct neigh *n)
{
	struct events *e = arg;

	e->dirty |= DIRTY_NEIGH;
	if (e->sw->neighbors)
		neighbor_event(e->sw, op, n);
}

static void on_route(void *arg, enum mirror_op op, const struct kroute *r)
{
	struct events *e = arg;

	e->dirty |= DIRTY_ROUTE;
	if (e->sw->rib)
		route_event(e->sw, op, r);
}

static void on_left_out(void *arg, const struct kroute_left_out *r)
{
	((struct events *)arg)->dirty |= DIRTY_LEFT_OUT;
}

/* Our own are known. */
static void on_rule(void *arg, uint32_t by)
{
	struct events *e = arg;

	if (by == netlink_port(e->sw->nl))
		return;
	e->dirty |= DIRTY_OTHERS;
	vrf_host_rules_changed(e->sw);
	rules_other_changed(e->sw);
}

static void on_settled(void *arg)
{
	struct timeval at_once = {0};
	struct events *e = arg;

	neighbor_settled(e->sw);
	/* in a turn of its own, so that no turn does both */
	if (e->started && e->dirty)
		evtimer_add(e->run, &at_once);
}

static bool known(const struct events *e, const char *text)
{
	for (size_t i = 0; i < e->n_errors; i++) {
		if (strcmp(e->errors[i], text) == 0)
			return true;
	}
	return false;
}

static void forget_errors(char **errors, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(errors[i]);
}

/* The errors of this run take the place of those of the last one; only new texts are logged. */
static void keep_errors(struct events *e, const struct errs *errs)
{
	char *now[ERRORS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < errs->n && n < ERRORS_MAX; i++) {
		char *text = err_text(&errs->v[i]);

		if (!text)
			continue;
		if (!known(e, text))
			log_error("%s", text);
		now[n++] = text;
	}
	if (!n && e->n_errors)
		log_info("the tables are again what the configuration and the kernel say");
	forget_errors(e->errors, e->n_errors);
	memcpy(e->errors, now, n * sizeof(now[0]));
	e->n_errors = n;
}

static void on_run(evutil_socket_t fd, short what, void *arg)
{
	struct events *e = arg;
	struct timeval retry = {.tv_sec = RETRY_S}, soon = {0};
	unsigned dirty = e->dirty | e->failed, waits = 0;
	struct errs errs = {0};

	e->dirty = 0;
	e->failed = 0;
	for (size_t i = 0; i < N_STEPS; i++) {
		size_t before = errs.n;
		int r;

		if (!(steps[i].on & dirty))
			continue;
		loop_doing(steps[i].name);
		r = steps[i].reconcile(e->sw, &errs);
		if (!r)
			continue;
		if ((r == -EAGAIN || r == -EINPROGRESS) && steps[i].rest) {
			e->dirty |= steps[i].rest;
			waits |= r == -EINPROGRESS ? steps[i].rest : 0;
			continue;
		}
		if (errs.n == before)
			errs_fail(&errs, -r, "%s: %s", steps[i].name, strerror(-r));
		e->failed |= dirty;
	}
	if (!e->dirty) /* else what is wrong is not known yet */
		keep_errors(e, &errs);
	errs_free(&errs);
	if (e->dirty == waits)
		soon.tv_usec = WAIT_US;
	if (e->dirty)
		evtimer_add(e->run, &soon);
	else if (e->failed)
		evtimer_add(e->run, &retry);
}

int events_new(struct sw *sw, struct events **ret, struct errs *errs)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return errs_fail(errs, ENOMEM, "out of memory");
	e->sw = sw;
	e->listener = (struct mirror_listener){.link = on_link,
					       .usable = on_usable,
					       .addr = on_addr,
					       .neigh = on_neigh,
					       .route = on_route,
					       .left_out = on_left_out,
					       .rule = on_rule,
					       .settled = on_settled,
					       .arg = e};
	e->run = evtimer_new(sw->base, on_run, e);
	if (!e->run) {
		free(e);
		return errs_fail(errs, ENOMEM, "out of memory");
	}
	*ret = e;
	return 0;
}

void events_free(struct events *e)
{
	if (!e)
		return;
	event_free(e->run);
	forget_errors(e->errors, e->n_errors);
	free(e);
}

const struct mirror_listener *events_listener(struct events *e)
{
	return &e->listener;
}

void events_start(struct events *e)
{
	e->started = true;
	if (e->dirty)
		event_active(e->run, EV_TIMEOUT, 0);
}

static void again(struct events *e, unsigned dirty)
{
	struct timeval at_once = {0};

	e->dirty |= dirty;
	if (e->started)
		evtimer_add(e->run, &at_once);
}

void events_again(struct events *e)
{
	again(e, DIRTY_ROUTE);
}

void events_again_links(struct events *e)
{
	again(e, DIRTY_LINK);
}

void events_again_neighbors(struct events *e, bool more)
{
	again(e, more ? DIRTY_READING : DIRTY_NEIGH);
}

void events_again_rules(struct events *e)
{
	again(e, DIRTY_OTHERS);
}

bool events_pending(const struct events *e)
{
	return e->dirty != 0;
}

json_t *events_errors(const struct events *e)
{
	json_t *list = json_array();
	struct named left_out = {0};

	for (size_t i = 0; i < e->n_errors; i++)
		json_array_append_new(list, json_string(e->errors[i]));
	route_conditions(e->sw, list);
	mirror_left_out(e->sw->mirror, name_left_out, &left_out);
	named_list(&left_out, list);
	rules_other_conditions(e->sw, list);
	return list;
}
