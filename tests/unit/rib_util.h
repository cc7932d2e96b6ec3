/* rib_util.h: a RIB over memory of the test's own; interfaces 1..9, up or down as the test says. */
#ifndef SLUICE_TEST_RIB_UTIL_H
#define SLUICE_TEST_RIB_UTIL_H
#include <stdlib.h>
#include <string.h>
#include "fib_memory.h"
#include "rib.h"

#define UNITS	  (FIB_FIRST + 4096)
#define N_NH	  64
#define N_GROUPS  16
#define N_BUCKETS 8192
#define N_PAIRS	  8

struct state {
	struct fib_memory m;
	struct nexthop nh[N_NH];
	struct nhg groups[N_GROUPS];
	struct nhg_bucket buckets[N_BUCKETS];
	struct nexthop_pair pairs[N_PAIRS];
	struct nexthops *ns;
	struct rib *rib;
	bool down[10];
};

static inline bool usable(void *arg, uint16_t iface)
{
	return !((struct state *)arg)->down[iface];
}

static inline int setup(void **arg)
{
	struct state *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	fib_memory_open(&s->m, UNITS);
	assert_int_equal(nexthop_open(s->nh, N_NH, s->groups, N_GROUPS, s->buckets, N_BUCKETS, &s->ns), 0);
	assert_int_equal(nexthop_pairs(s->ns, s->pairs, N_PAIRS), 0);
	assert_int_equal(rib_open(s->m.fib, s->ns, usable, s, &s->rib), 0);
	*arg = s;
	return 0;
}

static inline int teardown(void **arg)
{
	struct state *s = *arg;

	rib_close(s->rib);
	nexthop_close(s->ns);
	fib_memory_close(&s->m);
	free(s);
	return 0;
}

static inline struct prefix pfx(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, 0, false, &p), 0);
	return p;
}

static inline struct rib_nexthop via(const char *gateway, uint16_t iface, uint16_t weight)
{
	struct rib_nexthop n = {.iface = iface, .weight = weight};

	if (gateway)
		assert_int_equal(addr_parse(gateway, &n.gateway, &n.family), 0);
	return n;
}

static inline int try_put(struct state *s, const char *to, uint8_t source, uint8_t distance, uint32_t metric,
			  const struct rib_nexthop *nh, size_t n)
{
	struct rib_route_spec spec = {.to = pfx(to),
				      .source = source,
				      .distance = distance,
				      .metric = metric,
				      .type = source == RIB_CONNECTED ? NEXTHOP_CONNECTED : NEXTHOP_GATEWAY,
				      .nexthops = nh,
				      .n = n};

	return rib_put(s->rib, &spec);
}

static inline void put(struct state *s, const char *to, uint8_t source, uint8_t distance, uint32_t metric, struct rib_nexthop nh)
{
	assert_int_equal(try_put(s, to, source, distance, metric, &nh, 1), 0);
}

static inline void put_type(struct state *s, const char *to, uint8_t source, uint8_t type)
{
	struct rib_route_spec spec = {.to = pfx(to), .source = source, .type = type};

	assert_int_equal(rib_put(s->rib, &spec), 0);
}

static inline bool settle(struct state *s)
{
	bool changed;

	rib_links_settle(s->rib);
	assert_int_equal(rib_settle(s->rib, 0, &changed), 0);
	nexthop_settle(s->ns);
	return changed;
}

static inline void links(struct state *s, uint16_t iface, bool down)
{
	s->down[iface] = down;
	rib_links_changed(s->rib);
	settle(s);
}

static inline uint32_t result(struct state *s, const char *text)
{
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse(text, &a, &family), 0);
	return nexthop_now(s->ns, fib_lookup(s->m.fib, 0, &a));
}

/* The gateway and interface that an address leaves by. */
static inline void assert_via(struct state *s, const char *text, const char *gateway, uint16_t iface)
{
	const struct nexthop *nh = nexthop_at(s->ns, result(s, text));
	struct rib_nexthop want = via(gateway, iface, 1);

	assert_non_null(nh);
	assert_int_equal(nh->iface, iface);
	assert_int_equal(nh->type, gateway ? NEXTHOP_GATEWAY : NEXTHOP_CONNECTED);
	assert_memory_equal(&nh->gateway, &want.gateway, sizeof(want.gateway));
}

struct find {
	struct prefix to;
	uint8_t source;
	uint32_t metric;
	struct rib_view v;
};

static inline int see(const struct rib_view *v, void *arg)
{
	struct find *f = arg;

	if (v->source != f->source || v->metric != f->metric || v->to.len != f->to.len ||
	    memcmp(&v->to.addr, &f->to.addr, sizeof(v->to.addr)))
		return 0;
	f->v = *v;
	return 1;
}

static inline struct rib_view view(struct state *s, const char *to, uint8_t source, uint32_t metric)
{
	struct find f = {.to = pfx(to), .source = source, .metric = metric};

	assert_int_equal(rib_each(s->rib, RIB_SOURCES, see, &f), 1);
	return f.v;
}

#endif
