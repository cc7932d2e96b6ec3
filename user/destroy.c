/* destroy.c: `sluiced --destroy`: takes away what an instance left in the kernel: by the nouns, with an empty model, and then
 * by a sweep that needs only the saved model and netlink. Works when no sluiced runs: it takes the lock itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <event2/event.h>
#include <linux/rtnetlink.h>
#include "daemon.h"
#include "datapath.h"
#include "host_notes.h"
#include "log.h"
#include "mirror.h"
#include "netlink.h"
#include "file.h"
#include "state.h"
#include "sysctl.h"
#include "vrf_sweep.h"

#define STOP_WAIT_S 15
#define LINKS_MAX   4096

struct sweep {
	const char *instance;
	const struct model *saved; /* NULL: nothing was saved */
	struct mirror *mirror;
	struct netlink *nl;
	struct errs *errs;
	int r; /* the first failure */
	int links[LINKS_MAX];
	size_t n_links;
};

static void keep_first(struct sweep *s, int r)
{
	if (r && !s->r)
		s->r = r;
}

static int stop_running(const struct daemon_options *o, bool stop, struct errs *errs)
{
	pid_t pid = state_running_pid(o->run, o->instance);

	if (!pid)
		return 0;
	if (!stop)
		return errs_fail(errs, EBUSY, "instance '%s' is run by process %d: stop it first, or add --stop", o->instance,
				 (int)pid);
	if (kill(pid, SIGTERM))
		return errs_fail(errs, errno, "process %d cannot be told to end: %s", (int)pid, strerror(errno));
	for (int i = 0; i < STOP_WAIT_S * 20; i++) {
		if (!state_running_pid(o->run, o->instance))
			return 0;
		usleep(50000);
	}
	return errs_fail(errs, ETIMEDOUT, "process %d did not end within %d s", (int)pid, STOP_WAIT_S);
}

/* sluiced marks the netdevs that it made with an alias `sluice:INSTANCE:…`. Both ends of a veth pair may bear it. */
static int find_link(const struct link *l, void *arg)
{
	struct sweep *s = arg;
	char alias[256], mark[64];

	snprintf(mark, sizeof(mark), "sluice:%s:", s->instance);
	if (netlink_link_alias_get(s->nl, l->ifindex, alias, sizeof(alias)) >= 0 && strncmp(alias, mark, strlen(mark)) == 0 &&
	    s->n_links < LINKS_MAX)
		s->links[s->n_links++] = l->ifindex;
	return 0;
}

static const struct route_cfg *saved_route(const struct model *m, const struct kroute *r)
{
	for (size_t i = 0; i < m->n_routes; i++) {
		const struct route_cfg *c = &m->routes[i];
		struct prefix to = prefix_masked(&c->to);

		if (to.family == r->to.family && to.len == r->to.len && memcmp(&to.addr, &r->to.addr, sizeof(to.addr)) == 0)
			return c;
	}
	return NULL;
}

/* Nothing is noted of them, as older versions did not. Other instances in this namespace have routes of the same protocol number:
 * only those of the saved model, and those in its VRFs' tables (connected prefixes), go. */
static int delete_route(const struct kroute *r, void *arg)
{
	struct sweep *s = arg;

	if (r->protocol == RTPROT_SLUICE && s->saved && (saved_route(s->saved, r) || vrf_saved_table(s->saved, r->table)))
		keep_first(s, netlink_route_delete(s->nl, &(struct nl_route){.to = r->to, .table = r->table, .metric = r->metric},
						   s->errs));
	return 0;
}

static int delete_noted(const struct host_note *n, void *arg)
{
	struct sweep *s = arg;

	keep_first(s,
		   netlink_route_delete(s->nl, &(struct nl_route){.to = n->to, .table = n->table, .metric = n->metric}, s->errs));
	return 0;
}

static int sweep_kernel(struct sweep *s, const char *sysctls, const char *routes)
{
	static const struct mirror_listener nobody;
	struct event_base *base = event_base_new();
	int r;

	if (!base)
		return errs_fail(s->errs, ENOMEM, "out of memory");
	r = netlink_open(&s->nl, s->errs);
	if (!r)
		r = mirror_open(base, &nobody, &s->mirror, s->errs);
	if (!r) {
		r = host_notes_read(routes, delete_noted, s);
		if (r)
			mirror_each_route(s->mirror, 0, delete_route, s);
		mirror_each_link(s->mirror, find_link, s);
		/* Detached first: a packet must not be redirected to a netdev that is going. */
		keep_first(s, datapath_destroy(s->instance, s->errs));
		/* Nothing bears the marks of VRFs any more. */
		if (s->saved)
			keep_first(s, vrf_sweep(s->nl, s->saved, s->errs));
		sysctl_notes_undo(sysctls);
		for (size_t i = 0; i < s->n_links; i++)
			keep_first(s, netlink_link_delete(s->nl, s->links[i], s->errs));
		r = s->r;
	}
	mirror_close(s->mirror);
	netlink_close(s->nl);
	event_base_free(base);
	return r;
}

int daemon_destroy(const struct daemon_options *o, bool stop, struct errs *errs)
{
	struct sweep s = {.instance = o->instance, .errs = errs};
	struct state_saved saved = {0};
	struct errs unreadable = {0};
	struct state *state = NULL;
	char sysctls[FILE_PATH], routes[FILE_PATH];
	int r;

	r = stop_running(o, stop, errs);
	if (!r)
		r = state_open(o->run, o->instance, o->config, &state, errs);
	if (r)
		return r;
	r = state_load(state, &saved, &unreadable);
	if (unreadable.n)
		log_errs("saved state that cannot be read", &unreadable);
	errs_free(&unreadable);
	s.saved = saved.running;
	/* First by the nouns themselves, which know best what they have made. Where that cannot be (programs that do not load, a
	 * layout of another version), the sweep takes what can be recognised without them. */
	if (!r && saved.running && daemon_empty(o, state, saved.running, &unreadable))
		log_errs("not everything can be put back as it was", &unreadable);
	state_path(state, STATE_SYSCTLS, sysctls);
	state_path(state, STATE_ROUTES, routes);
	if (!r)
		r = sweep_kernel(&s, sysctls, routes);
	/* The saved model says what to take away: it goes last, and stays when something could not be. */
	if (!r)
		r = state_remove(state, errs);
	errs_free(&unreadable);
	state_saved_free(&saved);
	state_close(state);
	return r;
}
