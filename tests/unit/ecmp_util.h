/* ecmp_util.h: a table of nexthops beside the data plane's own choice, for the tests of both. */
#ifndef SLUICE_TEST_ECMP_UTIL_H
#define SLUICE_TEST_ECMP_UTIL_H

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "../../bpf/ecmp.h"
#include "nexthop.h"

const volatile __u8 cfg_inner;

#define N_NH	  600
#define N_GROUPS  32
#define N_BUCKETS (1 << 17)

struct state {
	struct nexthop nh[N_NH];
	struct nhg groups[N_GROUPS];
	struct nhg_bucket buckets[N_BUCKETS];
	struct nexthops *ns;
};

static void reopen(struct state *s)
{
	nexthop_close(s->ns);
	assert_int_equal(nexthop_open(s->nh, N_NH, s->groups, N_GROUPS, s->buckets, N_BUCKETS, &s->ns), 0);
	assert_int_equal(nexthop_notes(s->ns, held_at(0), HELD_NOTES + HELD_LINES), 0);
}

static int setup(void **arg)
{
	*arg = calloc(1, sizeof(struct state));
	assert_non_null(*arg);
	control = (struct control){0};
	stub_map(held_flows);
	stub_map(stats);
	reopen(*arg);
	return 0;
}

static int teardown(void **arg)
{
	nexthop_close(((struct state *)*arg)->ns);
	stub_reset();
	free(*arg);
	return 0;
}

static uint32_t gateway(struct state *s, int n)
{
	struct nexthop_key k = {.type = NEXTHOP_GATEWAY, .family = 4, .iface = 1};
	uint32_t id = 0;
	bool fresh;

	addr_from4(&k.gateway, bpf_htonl(0x0a000000 + n));
	assert_int_equal(nexthop_use(s->ns, &k, &id, &fresh), 0);
	return id;
}

/* What the data plane answers, of bucket i. */
static uint32_t pick_for(struct state *s, uint32_t group, uint32_t i, const struct tuple *t, uint32_t how, uint32_t asks)
{
	struct nhg_bucket *b = &s->buckets[s->groups[group].base + i];
	struct pkt p = {0};
	uint64_t word;

	memcpy(&word, b, sizeof(word));
	if (b->bits & NHG_HELD)
		return ecmp_held(&p, t, how, group, b, word, asks);
	return asks && b->former == asks ? asks : b->nexthop;
}

static bool idle_pass(struct state *s, uint32_t now_ms, uint32_t unbalanced_s)
{
	struct nexthop_idle idle = {.now_ms = now_ms,
				    .idle_ms = 10000,
				    .now_s = 1000 + now_ms / 1000,
				    .unbalanced_s = unbalanced_s,
				    .now_ns = stub_now_ns};

	assert_true(nexthop_idle(s->ns, &idle, UINT32_MAX));
	return nexthop_holding(s->ns);
}

#endif
