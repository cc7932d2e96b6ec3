/* flow_age.c: ends the flows whose time is over, or whose rule or address is gone, and has NAT's ports swept after them.
 *
 * Stands between a timer and the flow tables. A pass goes over all flows, then over the mappings, in slices of a few
 * milliseconds, so that the event loop is never held up; flows that changed behind the cursor are the next pass's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include "flow_priv.h"
#include "nat_priv.h"

#define TICK_NS	 50000000ull   /* between slices */
#define SLICE_NS 4000000ull    /* of work */
#define REST_NS	 1000000000ull /* between passes */
#define CHUNK	 256	       /* elements between looks at the clock */
/* An entry whose other half is missing may be in the making. */
#define HALF_NS 2000000000ull

uint64_t flow_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static bool is_over(struct flows *flows, const struct flow_tuple *key, const struct flow *f, const struct flow *reply)
{
	uint64_t used = f->used_ns > reply->used_ns ? f->used_ns : reply->used_ns;
	enum flow_state state = flow_state(key->proto, f->seen, reply->seen);
	struct settings_cfg buf;
	uint64_t timeout = flow_timeout_s(nat_settings(flows->sw, f->rule, &buf), key->proto, state) * 1000000000ull;

	return used + timeout <= flows->now_ns;
}

/* A reply entry is kept alive by its forward entry; here only those are ended that have none. */
static void age_reply(struct flows *flows, const struct flow_tuple *key, const struct flow *f)
{
	struct flow_tuple peer;
	struct flow forward;

	if (f->created_ns + HALF_NS > flows->now_ns)
		return;
	flow_tuple_peer(key, f, &peer);
	if (!flow_lookup(flows, &peer, &forward) && flow_is_pair(key, &peer, &forward))
		return;
	flow_delete(flows, key);
}

static void age_forward(struct flows *flows, const struct flow_tuple *key, const struct flow *f)
{
	struct flow_tuple peer, to;
	struct flow reply;
	bool whole;

	flow_tuple_peer(key, f, &peer);
	flow_tuple_to(key, f, &to);
	whole = !flow_lookup(flows, &peer, &reply) && flow_is_pair(key, &peer, &reply);
	if (!whole && f->created_ns + HALF_NS <= flows->now_ns) {
		flow_delete(flows, key);
		return;
	}
	if (!nat_holds(flows->sw, f->rule, f->pool, f->pool_addr, &to.saddr) ||
	    (f->dest_addr && !nat_is_addr(flows->sw->nat, f->dest_addr, &key->daddr)) ||
	    (whole && is_over(flows, key, f, &reply))) {
		flow_end(flows, key, f);
		return;
	}
	flows->seen++;
	if (f->pool) {
		nat_sweep_flow(flows->sw->nat, f->pool_addr, key->proto, ntohs(to.sport));
		nat_limit_add(flows->sw->nat, f->rule, &key->saddr, key->vrf, false);
	}
	if (f->dest_addr)
		nat_sweep_flow(flows->sw->nat, f->dest_addr - 1u, key->proto, ntohs(key->dport));
}

static int age(struct flows *flows, int family, const void *key, const struct flow *f)
{
	struct flow_tuple t;

	flow_tuple_from_key(family, key, &t);
	if (f->flags & FLOW_F_REPLY)
		age_reply(flows, &t, f);
	else
		age_forward(flows, &t, f);
	return 0;
}

static int age4(const void *key, void *value, void *arg)
{
	return age(arg, 4, key, value);
}

static int age6(const void *key, void *value, void *arg)
{
	return age(arg, 6, key, value);
}

/* Some of the pass's work; a table's end leads to the next phase. An error of the kernel ends the pass without the sweep: what
 * was not walked must not be taken for unused. */
static void step(struct flows *flows)
{
	struct nat *nat = flows->sw->nat;
	int err = 0;

	switch (flows->phase) {
	case PHASE_FLOWS4:
		err = table_each_some(flows->table[0], &flows->cursor, CHUNK, age4, flows);
		break;
	case PHASE_FLOWS6:
		err = table_each_some(flows->table[1], &flows->cursor, CHUNK, age6, flows);
		break;
	case PHASE_MAPPINGS:
		err = nat_sweep_mappings(nat, &flows->cursor, CHUNK);
		break;
	case PHASE_OUTSIDE:
		err = nat_sweep_outside(nat, &flows->cursor, CHUNK);
		break;
	case PHASE_END:
	case PHASE_REST:
		return;
	}
	if (err)
		flows->phase = PHASE_REST;
	else if (!flows->cursor)
		flows->phase++;
}

static void pass_begin(struct flows *flows)
{
	flows->phase = PHASE_FLOWS4;
	flows->seen = 0;
	flows->soon = false;
	nat_sweep_begin(flows->sw->nat, flows->now_ns);
}

static void pass_end(struct flows *flows)
{
	nat_sweep_end(flows->sw->nat);
	flows->counted = flows->seen;
	flows->is_counted = true;
	flows->phase = PHASE_REST;
}

static int timer_set(struct flows *flows, uint64_t ns)
{
	struct timeval after = {.tv_sec = (time_t)(ns / 1000000000ull), .tv_usec = (suseconds_t)(ns % 1000000000ull / 1000)};

	return event_add(flows->timer, &after) ? -ENOMEM : 0;
}

/* The end comes at the earliest one tick after the beginning, as nat_sweep.c needs it. */
static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct flows *flows = arg;

	flows->now_ns = flow_now_ns();
	if (flows->phase == PHASE_END)
		pass_end(flows);
	else if (flows->phase == PHASE_REST)
		pass_begin(flows);
	while (flows->phase < PHASE_END && flow_now_ns() - flows->now_ns < SLICE_NS)
		step(flows);
	timer_set(flows, flows->phase == PHASE_REST && !flows->soon ? REST_NS : TICK_NS);
}

int flow_age_open(struct flows *flows)
{
	flows->phase = PHASE_REST;
	flows->timer = event_new(flows->sw->base, -1, 0, tick, flows);
	return flows->timer ? timer_set(flows, TICK_NS) : -ENOMEM;
}

void flow_age_close(struct flows *flows)
{
	if (flows->timer)
		event_free(flows->timer);
	table_cursor_free(flows->cursor);
}

void flow_age_soon(struct flows *flows)
{
	flows->soon = true;
	if (flows->phase == PHASE_REST)
		timer_set(flows, 0);
}
