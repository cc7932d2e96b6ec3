/* route.c: the noun `route`: its life, the reconciliation of RIB, nexthops and FIB, and the gateways, which are kept resolved.
 *
 * Stands between the daemon (sw.h) and the parts: route_source.c fills the RIB, rib.c chooses, nexthop.c and fib.c write the
 * tables, route_host.c tells the kernel. neighbor.c knows the MACs.
 */
#include "route_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "cut.h"
#include "events.h"
#include "loop.h"
#include "neigh_ask.h"
#include "state.h"

#define SLICE_NS       1500000 /* how long choosing routes may keep the event loop from other work; writing them takes twice that */
#define PROBE_S	       1       /* an unresolved gateway is asked for this often, */
#define PROBES	       64      /* in one go: each is a question to the kernel */
#define PROBE_PAUSE_US 20000   /* then the next ones, in a turn of their own */
#define PROBE_AGAIN_S  5       /* one that failed, or whose entry the kernel calls stale, this often */

static bool usable(void *arg, uint16_t iface)
{
	struct routes *rs = arg;

	return !iface || iface_usable(rs->sw, iface);
}

/* ---- gateways */

/* The nexthop takes over what is known of its gateway. A gateway that failed stays so until it answers, although the kernel
 * forgets about it in between: else a group would take it back every few seconds. True: a decision may be outdated. */
static bool gateway_update(struct routes *rs, uint32_t id)
{
	const struct nexthop *nh = nexthop_at(rs->ns, id);
	uint16_t flags = 0;
	uint64_t since_s;
	uint8_t mac[6];
	bool changed;
	int r;

	if (!nh || (nh->type != NEXTHOP_GATEWAY && nh->type != NEXTHOP_CONNECTED))
		return false;
	r = nh->type == NEXTHOP_GATEWAY ? neighbor_get(rs->sw, nh->iface, &nh->gateway, mac) : -ENOENT;
	if (r == 0)
		flags = NEXTHOP_F_RESOLVED;
	else if (r == -EHOSTUNREACH || (nh->flags & NEXTHOP_F_FAILED))
		flags = NEXTHOP_F_FAILED;
	since_s = route_drained(rs, nh);
	if (since_s)
		flags |= NEXTHOP_F_DRAINED;
	nexthop_set_drained(rs->ns, id, since_s);
	changed = nexthop_set_state(rs->ns, id, r == 0 ? mac : NULL, flags);
	nexthop_set_alive(rs->ns, id, !(flags & NEXTHOP_F_FAILED) && usable(rs, nh->iface));
	return changed;
}

/* The kernel is asked for a gateway that it does not know, or not for sure. True: it was. */
static bool gateway_probe(struct routes *rs, uint32_t id, uint32_t now)
{
	const struct nexthop *nh = nexthop_at(rs->ns, id);
	uint32_t every = PROBE_S;
	int ifindex;

	if (!nh || nh->type != NEXTHOP_GATEWAY)
		return false;
	if (nh->flags & NEXTHOP_F_FAILED)
		every = PROBE_AGAIN_S;
	if (nh->flags & NEXTHOP_F_RESOLVED) {
		if (!neighbor_stale(rs->sw, nh->iface, &nh->gateway))
			return false;
		every = PROBE_AGAIN_S;
	}
	if (rs->probed_s[id] && now - rs->probed_s[id] < every)
		return false;
	ifindex = iface_host_ifindex(rs->sw, nh->iface);
	if (!ifindex || !usable(rs, nh->iface))
		return false;
	if (neigh_ask_probe(rs->sw->asks, ifindex, &nh->gateway))
		return false;
	rs->probed_s[id] = now;
	return true;
}

/* Those whose turn it is. When more are due than are asked for in one go, the others follow soon, and not a second later: of
 * thousands each is asked for as often as of a few. */
static void gateways_probe(struct routes *rs)
{
	const struct timeval pause = {.tv_usec = PROBE_PAUSE_US};
	uint32_t end = nexthop_end(rs->ns), now = clock_stamp_s(), n, left = PROBES;

	for (n = 1; n < end && left; n++) {
		rs->probe_at = rs->probe_at + 1 < end ? rs->probe_at + 1 : 1;
		left -= gateway_probe(rs, rs->probe_at, now);
	}
	if (!left && !evtimer_pending(rs->probe_more, NULL))
		evtimer_add(rs->probe_more, &pause);
}

static void on_probe_more(evutil_socket_t fd, short what, void *arg)
{
	loop_doing("probing gateways");
	gateways_probe(arg);
}

/* ---- buckets of drained nexthops */

#define IDLE_BUCKETS (1 << 17) /* that one turn looks at */

/* Often enough that a bucket goes at most an eighth of the time too late. */
static void idle_arm(struct routes *rs, bool at_once)
{
	uint32_t ms = rs->sw->model->settings.ecmp_idle_s * 1000 / 8;
	struct timeval tv = {0};

	if (!nexthop_holding(rs->ns) || evtimer_pending(rs->idle, NULL))
		return;
	if (!at_once) {
		tv.tv_sec = ms >= 1000;
		tv.tv_usec = ms >= 1000 ? 0 : (suseconds_t)ms * 1000;
	}
	evtimer_add(rs->idle, &tv);
}

static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct routes *rs = arg;
	const struct settings_cfg *s = &rs->sw->model->settings;
	struct nexthop_idle idle = {.now_ms = (uint32_t)(clock_now_ns() / 1000000),
				    .idle_ms = s->ecmp_idle_s * 1000,
				    .now_s = state_now_s(),
				    .unbalanced_s = s->ecmp_unbalanced_s,
				    .now_ns = clock_now_ns()};

	loop_doing("buckets of drained nexthops");
	idle_arm(rs, !nexthop_idle(rs->ns, &idle, IDLE_BUCKETS));
}

/* True: some buckets moved. */
static bool settle_groups(struct routes *rs)
{
	bool moved = nexthop_settle(rs->ns);

	idle_arm(rs, false);
	return moved;
}

static bool gateways_update(struct routes *rs)
{
	uint32_t id, end = nexthop_end(rs->ns);
	bool changed = rib_links_settle(rs->rib);

	for (id = 1; id < end; id++)
		changed |= gateway_update(rs, id);
	if (!evtimer_pending(rs->probe_more, NULL))
		gateways_probe(rs);
	return settle_groups(rs) || changed;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct routes *rs = arg;

	loop_doing("gateways");
	if (rs->ready && gateways_update(rs))
		sw_epoch(rs->sw);
	if (rs->ready && rs->sw->events && rib_pairs_due(rs->rib))
		events_again(rs->sw->events);
}

void route_gateways_update(struct routes *rs)
{
	if (gateways_update(rs))
		sw_epoch(rs->sw);
}

void route_neighbor_changed(struct sw *sw, uint16_t iface, const struct addr *a)
{
	struct routes *rs = sw->routes;
	const struct nexthop *nh;
	bool changed = false;
	uint32_t id;

	if (!rs || !rs->ready)
		return;
	for (id = 1; id < nexthop_end(rs->ns); id++) {
		nh = nexthop_at(rs->ns, id);
		if (!nh || nh->type != NEXTHOP_GATEWAY || nh->iface != iface || memcmp(&nh->gateway, a, sizeof(*a)))
			continue;
		changed |= gateway_update(rs, id);
	}
	if (settle_groups(rs) || changed)
		sw_epoch(sw);
}

void route_link_changed(struct sw *sw, int ifindex)
{
	struct routes *rs = sw->routes;
	uint16_t iface = rs && rs->ready ? iface_id_by_host(sw, ifindex) : 0;
	const struct nexthop *nh;
	bool changed = false;
	uint32_t id;

	if (!iface)
		return;
	changed = rib_links_settle(rs->rib);
	for (id = 1; id < nexthop_end(rs->ns); id++) {
		nh = nexthop_at(rs->ns, id);
		if (nh && nh->iface == iface)
			changed |= gateway_update(rs, id);
	}
	if (settle_groups(rs) || changed)
		sw_epoch(sw);
}

/* ---- reconciliation */

/* Which interfaces can be left by; true: others than before. */
static bool links_changed(struct routes *rs)
{
	const struct model *m = rs->sw->model;
	uint64_t now[IFACE_MAX / 64] = {0};
	uint16_t id;
	size_t i;

	for (i = 0; i < m->n_ifaces; i++) {
		id = iface_id(rs->sw, m->ifaces[i].name);
		if (id && iface_usable(rs->sw, id))
			now[id / 64] |= 1ull << (id % 64);
	}
	if (!memcmp(now, rs->usable, sizeof(now)))
		return false;
	memcpy(rs->usable, now, sizeof(now));
	return true;
}

static int note_own(const struct rib_view *v, void *arg)
{
	uint32_t bit = OWN_FILTER_BIT(&v->to.addr);

	((struct own_filter *)arg)->bits[bit / 64] |= 1ull << (bit % 64);
	return 0;
}

/* The filter of addresses that no station may have. A bit that is set too early or too late is a search too many, or one packet
 * more with a forged source. */
static void own_filter_write(struct routes *rs)
{
	struct own_filter now = {0};

	rib_each(rs->rib, RIB_LOCAL, note_own, &now);
	rib_each(rs->rib, RIB_HOST, note_own, &now);
	for (size_t w = 0; w < sizeof(now.bits) / sizeof(now.bits[0]); w++)
		__atomic_store_n(&rs->own->bits[w], now.bits[w], __ATOMIC_RELAXED);
}

/* The sources, as far as they are not told by events; `anew`: the model may be another one. */
static int read_sources(struct routes *rs, bool anew)
{
	uint64_t signature = route_signature(rs), end;
	bool first = !rs->ready, others = first || signature != rs->signature;
	int r;

	r = route_read_configured(rs, anew || others);
	if (r)
		return r;
	if (others)
		route_reread_begin(rs);
	rs->signature = signature;
	/* before the first commit of the FIB it must know everything: what it is not told, it takes out */
	end = first ? 0 : clock_now_ns() + SLICE_NS;
	r = route_statics(rs, end);
	if (!r && rs->statics.step == REREAD_NONE)
		r = route_reread(rs, end);
	if (r)
		rs->signature = 0;
	return r;
}

static int settle(struct routes *rs, bool anew, struct errs *errs)
{
	bool changed = false, links = links_changed(rs), first = !rs->ready;
	int r;

	r = read_sources(rs, anew);
	if (r)
		return errs_fail(errs, -r, "routes: %s", strerror(-r));
	rs->ready = true;
	if (links)
		rib_links_changed(rs->rib);
	r = rib_settle(rs->rib, first ? 0 : SLICE_NS, &changed);
	rs->host_due |= changed || links || anew;
	if (changed)
		own_filter_write(rs);
	if (gateways_update(rs))
		changed = true;
	if (changed || links)
		sw_epoch(rs->sw);
	if (r == -E2BIG)
		return errs_fail(errs, E2BIG, "routes: the memory of the FIB is used up; some routes are as they were before");
	if (r)
		return errs_fail(errs, -r, "routes: %s", strerror(-r));
	return 0;
}

static bool pending(const struct routes *rs)
{
	return rib_pending(rs->rib) || rs->reread.step != REREAD_NONE || rs->statics.step != REREAD_NONE;
}

/* Of what the configuration says; what the kernel's routes, which may be a million, make of it is not waited for. */
static bool commit_pending(const struct routes *rs)
{
	return rib_urgent_pending(rs->rib) || rs->statics.step != REREAD_NONE;
}

/* There is more to do: at once, or some ms later and not before. */
static int rest_of(const struct routes *rs)
{
	bool waits = rib_waits(rs->rib) && rs->reread.step == REREAD_NONE && rs->statics.step == REREAD_NONE;

	return waits ? -EINPROGRESS : -EAGAIN;
}

/* A turn of it; `begins`: the first one. */
static int settle_all(struct sw *sw, bool commit, bool begins, struct errs *errs)
{
	struct routes *rs = sw->routes;
	int r, r2 = 0;

	r = settle(rs, begins, errs);
	if (rib_any_mtu(rs->rib))
		cut_route_mtu(sw);
	if (r)
		return r;
	if (commit ? commit_pending(rs) : pending(rs))
		return rest_of(rs);
	if (rs->host_due || rs->host_pass.step != HOST_NONE)
		r2 = route_host_reconcile(rs, clock_now_ns() + SLICE_NS, commit ? NULL : errs);
	/* What changed while the pass was under way wants another one; a commit leaves that to the events that follow it. */
	if (r2 == -EAGAIN || (!r2 && !commit && rs->host_due))
		return -EAGAIN;
	r = rib_refused(rs->rib, commit, errs);
	return r ? r : r2;
}

/* What the configuration says is in force at the end; what the kernel's routes make of it follows in slices. A copy that the
 * kernel does not take for the host undoes no change: the events that follow try again and tell. */
int route_reconcile(struct sw *sw, struct errs *errs)
{
	struct routes *rs = sw->routes;
	bool begins = !rs->committing;
	int r;

	if (begins) {
		fib_limit(rs->fib, sw->model->settings.max_routes4, sw->model->settings.max_routes6);
		route_host_begin(rs);
	}
	rs->committing = true;
	r = settle_all(sw, true, begins, errs);
	if (r == -EAGAIN || r == -EINPROGRESS)
		return r;
	rs->committing = false;
	if (!r && (pending(rs) || rs->host_due) && sw->events)
		events_again(sw->events);
	return r;
}

/* While a commit is at the routes, its turns do this as well; and what the kernel refuses is the commit's to know. */
int route_settle(struct sw *sw, struct errs *errs)
{
	int r;

	if (!sw->routes->ready || sw->routes->committing)
		return 0;
	r = settle_all(sw, false, false, errs);
	return r ? r : neighbor_full(sw, errs);
}

void route_conditions(const struct sw *sw, json_t *list)
{
	if (sw->routes)
		route_host_conditions(sw->routes, list);
}

json_t *route_vrf_show(const struct sw *sw, uint16_t vrf)
{
	const struct rib *rib = sw->routes->rib;

	return json_pack("{s:I, s:I, s:I}", "ipv4", (json_int_t)rib_installed(rib, vrf, 4), "ipv6",
			 (json_int_t)rib_installed(rib, vrf, 6), "imported", (json_int_t)rib_imported(rib, vrf));
}

bool route_vrf_empty(const struct sw *sw, uint16_t vrf)
{
	const struct rib *rib = sw->routes->rib;

	return !rib_pending(rib) && !rib_installed(rib, vrf, 4) && !rib_installed(rib, vrf, 6);
}

void route_event(struct sw *sw, enum mirror_op op, const struct kroute *k)
{
	struct routes *rs = sw->routes;

	if (!rs)
		return;
	if ((k->protocol == RTPROT_SLUICE && route_host_event(rs, op, k)) || route_host_other(rs, op, k))
		rs->host_due = true;
	/* before the first reconciliation the mirror is read as a whole anyway; without memory it is read as a whole again */
	if (rs->ready && route_kernel_event(rs, op, k))
		rs->signature = 0;
}

/* ---- life */

static int open_tables(struct routes *rs, struct errs *errs)
{
	static const char *const names[] = {"fib",	  "fib_roots",	"nexthops",   "nhgs",	      "nhg_buckets",
					    "nhg_ifaces", "own_filter", "held_flows", "nexthop_pairs"};
	enum { N = sizeof(names) / sizeof(names[0]) };
	struct table *t[N];
	void *mem[N];
	bool damaged;
	int r, i;

	for (i = 0; i < N; i++) {
		t[i] = table_get(rs->sw->dp, names[i]);
		mem[i] = t[i] ? table_map(t[i]) : NULL;
		if (!mem[i])
			return errs_fail(errs, ENODEV, "the map `%s` is missing or cannot be mapped", names[i]);
	}
	rs->counters = table_get(rs->sw->dp, "nexthop_counters");
	r = fib_open(mem[0], table_capacity(t[0]), mem[1], &rs->fib, &damaged);
	if (!r)
		r = nexthop_open(mem[2], table_capacity(t[2]), mem[3], table_capacity(t[3]), mem[4], table_capacity(t[4]),
				 &rs->ns);
	if (!r)
		nexthop_ifaces(rs->ns, mem[5], table_capacity(t[5]));
	rs->own = mem[6];
	if (!r)
		r = nexthop_notes(rs->ns, mem[7], table_capacity(t[7]));
	if (!r)
		r = nexthop_pairs(rs->ns, mem[8], table_capacity(t[8]));
	if (!r)
		r = rib_open(rs->fib, rs->ns, usable, rs, &rs->rib);
	if (!r && !(rs->probed_s = calloc(table_capacity(t[2]), sizeof(*rs->probed_s))))
		r = -ENOMEM;
	if (!r)
		r = route_drains_adopt(rs);
	return r ? errs_fail(errs, -r, "routes: %s", strerror(-r)) : 0;
}

int route_open(struct sw *sw, struct errs *errs)
{
	struct timeval second = {.tv_sec = 1};
	struct routes *rs = calloc(1, sizeof(*rs));
	int r;

	if (!rs)
		return errs_fail(errs, ENOMEM, "routes: out of memory");
	rs->sw = sw;
	sw->routes = rs;
	r = route_host_open(rs);
	if (r)
		errs_fail(errs, -r, "routes: %s", strerror(-r));
	if (!r)
		r = open_tables(rs, errs);
	if (r)
		goto out;
	sw->rib = rs->rib;
	rs->timer = event_new(sw->base, -1, EV_PERSIST, on_timer, rs);
	rs->probe_more = evtimer_new(sw->base, on_probe_more, rs);
	rs->idle = evtimer_new(sw->base, on_idle, rs);
	if (!rs->idle || !rs->probe_more || !rs->timer || event_add(rs->timer, &second)) {
		r = errs_fail(errs, ENOMEM, "routes: no timer");
		goto out;
	}
	r = route_audit_open(rs);
	if (r) {
		errs_fail(errs, -r, "routes: no audit: %s", strerror(-r));
		goto out;
	}
	r = route_pages_open(rs);
	if (r) {
		errs_fail(errs, -r, "routes: no pages: %s", strerror(-r));
		goto out;
	}
	return 0;
out:
	route_close(sw);
	return r;
}

void route_close(struct sw *sw)
{
	struct routes *rs = sw->routes;

	if (!rs)
		return;
	if (rs->timer)
		event_free(rs->timer);
	if (rs->probe_more)
		event_free(rs->probe_more);
	if (rs->idle)
		event_free(rs->idle);
	route_audit_close(rs);
	route_pages_close(rs);
	route_reread_end(rs);
	route_statics_end(rs);
	route_host_close(rs);
	rib_close(rs->rib);
	nexthop_close(rs->ns);
	fib_close(rs->fib);
	free(rs->probed_s);
	free(rs->drains);
	free(rs);
	sw->routes = NULL;
	sw->rib = NULL;
}
