/* flow_told.c: pairs that may give way are looked for until they are answered or gone; see flow_told.h. */
#include <errno.h>
#include <stdlib.h>
#include "clock.h"
#include "flow_state.h"
#include "flow_told.h"
#include "flow_watch.h"
#include "loop.h"

#define TICK_NS	 10000000ull  /* between slices */
#define SLICE_NS 2000000ull   /* of work */
#define ROUND_NS 200000000ull /* at least, from round to round; they take a twentieth of the time at most */
#define SHARE	 20
#define CHUNK	 64 /* between looks at the clock */
#define GONE_MAX 65536

struct flow_tolds {
	struct flows *flows;
	struct hash hash;
	TAILQ_HEAD(, flow_told) all; /* in the order in which they began */
	struct event *timer;
	bool is_set, in_round;
	struct flow_told *next; /* of the round */
	uint64_t begun_ns, work_ns;
	uint64_t gave_way; /* as many had when the round began */
};

/* ---- kept */

static uint32_t key_hash(const struct hash *h, const struct flow_tuple *t)
{
	uint64_t s = hash_mix(hash_mix(h->salt, t->saddr.a64[0]), t->saddr.a64[1]);

	s = hash_mix(hash_mix(s, t->daddr.a64[0]), t->daddr.a64[1]);
	return hash_end(hash_mix(s, (uint64_t)t->sport << 48 | (uint64_t)t->dport << 32 | (uint64_t)t->vrf << 16 | t->proto));
}

static uint32_t node_hash(const struct hash *h, const struct hash_node *node)
{
	return key_hash(h, &hash_entry(node, const struct flow_told, node)->key);
}

struct wanted {
	const struct flow_tuple *key;
	uint64_t created_ns;
	unsigned who;
};

static bool node_equal(const struct hash_node *node, const void *key)
{
	const struct flow_told *t = hash_entry(node, const struct flow_told, node);
	const struct wanted *w = key;
	const struct flow_tuple *a = &t->key, *b = w->key;

	return t->who & w->who && (!w->created_ns || t->f.created_ns == w->created_ns) &&
	       !memcmp(&a->saddr, &b->saddr, sizeof(a->saddr)) && !memcmp(&a->daddr, &b->daddr, sizeof(a->daddr)) &&
	       a->sport == b->sport && a->dport == b->dport && a->vrf == b->vrf && a->proto == b->proto;
}

struct flow_told *flow_told_find(struct flows *flows, const struct flow_tuple *key, uint64_t created_ns, unsigned who)
{
	const struct hash *h = &flows->told->hash;
	struct wanted w = {key, created_ns, who};
	struct hash_node *node = h->n ? hash_find(h, key_hash(h, key), node_equal, &w) : NULL;

	return node ? hash_entry(node, struct flow_told, node) : NULL;
}

/* As many pairs as may wait for an answer, and some that have given way since they were looked at. */
static size_t most(const struct flows *flows)
{
	return (size_t)flows->tab[0].head->half_lines * HALF_SLOTS + GONE_MAX;
}

struct flow_told *flow_told_add(struct flows *flows, const struct flow_tuple *key, const struct flow *f, unsigned who)
{
	struct flow_told *t = flow_told_find(flows, key, f->created_ns, TOLD_LOG | TOLD_WATCH);

	if (!t) {
		t = flows->told->hash.n < most(flows) ? calloc(1, sizeof(*t)) : NULL;
		if (!t)
			return NULL;
		t->key = *key;
		if (hash_insert(&flows->told->hash, &t->node)) {
			free(t);
			return NULL;
		}
		TAILQ_INSERT_TAIL(&flows->told->all, t, link);
	}
	/* The log knows less of it. */
	if (!t->who || who == TOLD_WATCH)
		t->f = *f;
	t->who |= who;
	flow_told_wake(flows);
	return t;
}

void flow_told_drop(struct flows *flows, struct flow_told *t, unsigned who)
{
	struct flow_tolds *all = flows->told;

	if (who & TOLD_LOG) {
		nat_session_forget(flows->sw, t->owed);
		t->owed = 0;
	}
	t->who &= ~who;
	if (t->who)
		return;
	if (all->next == t)
		all->next = TAILQ_NEXT(t, link);
	TAILQ_REMOVE(&all->all, t, link);
	hash_remove(&all->hash, &t->node);
	free(t);
}

/* ---- looked for */

enum found { FOUND_WAITING, FOUND_ANSWERED, FOUND_GONE };

/* One that was reset after its answer, and one that lacks its other half, end by sluiced. */
static enum found look(struct flows *flows, struct flow_told *t)
{
	struct flow_tuple peer;
	struct flow f, reply;
	enum flow_state state;

	if (flow_lookup(flows, &t->key, &f) || f.flags & FLOW_F_REPLY || f.created_ns != t->f.created_ns)
		return FOUND_GONE;
	t->f = f;
	flow_tuple_peer(&t->key, &f, &peer);
	if (flow_lookup(flows, &peer, &reply) || !flow_is_pair(&t->key, &peer, &reply))
		return FOUND_WAITING;
	state = flow_state(t->key.proto, f.seen, reply.seen);
	if (state == FLOW_OPENING || state == FLOW_UNREPLIED || (state == FLOW_RESET && reply.half))
		return FOUND_WAITING;
	return FOUND_ANSWERED;
}

static void settle(struct flows *flows, struct flow_told *t)
{
	unsigned who = (flows->watchers ? TOLD_WATCH : 0) | (nat_log_is_on(flows->sw) ? TOLD_LOG : 0);
	enum found found = t->gone_ns ? FOUND_GONE : look(flows, t);
	struct flow_pair pair;

	if (found == FOUND_ANSWERED || !(t->who & who)) {
		flow_told_drop(flows, t, TOLD_LOG | TOLD_WATCH);
		return;
	}
	if (found == FOUND_WAITING)
		return;
	if (!t->gone_ns)
		t->gone_ns = clock_now_ns();
	if (t->who & TOLD_WATCH) {
		flow_pair_of(flows, &t->key, &t->f, t->gone_ns, &pair);
		flow_pair_whole(&pair);
		flow_watch_end(flows, &pair, FLOW_WHY_GAVE_WAY);
	}
	if (t->who & TOLD_LOG && !nat_session_gone(flows->sw, &t->key, &t->f, t->gone_ns))
		flow_told_drop(flows, t, TOLD_WATCH);
	else
		flow_told_drop(flows, t, TOLD_LOG | TOLD_WATCH);
}

static void round_begin(struct flow_tolds *all)
{
	all->in_round = true;
	all->begun_ns = clock_now_ns();
	all->work_ns = 0;
	all->gave_way = flow_watch_gave_way(all->flows);
	all->next = TAILQ_FIRST(&all->all);
}

static void timer_set(struct flow_tolds *all, uint64_t ns)
{
	struct timeval after = {.tv_sec = (time_t)(ns / CLOCK_SECOND_NS), .tv_usec = (suseconds_t)(ns % CLOCK_SECOND_NS / 1000)};

	all->is_set = !event_add(all->timer, &after);
}

/* Everything that gave way before the round began, and was kept, has been told one by one. */
static void round_end(struct flow_tolds *all)
{
	uint64_t rest = all->work_ns * SHARE;

	all->in_round = false;
	flow_watch_round(all->flows, all->gave_way);
	if (all->hash.n || all->flows->watchers)
		timer_set(all, rest > ROUND_NS ? rest : ROUND_NS);
}

/* While the tables' size changes nobody knows which one a pair is in. */
static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct flow_tolds *all = arg;
	uint64_t start = clock_now_ns();
	struct flow_told *t;

	loop_doing("looking for who gave way");
	all->is_set = false;
	if (all->flows->paused) {
		timer_set(all, ROUND_NS);
		return;
	}
	if (!all->in_round)
		round_begin(all);
	while (all->next && clock_now_ns() - start < SLICE_NS)
		for (int i = 0; all->next && i < CHUNK; i++) {
			t = all->next;
			all->next = TAILQ_NEXT(t, link);
			settle(all->flows, t);
		}
	all->work_ns += clock_now_ns() - start;
	if (all->next)
		timer_set(all, TICK_NS);
	else
		round_end(all);
}

void flow_told_wake(struct flows *flows)
{
	if (!flows->told->is_set)
		timer_set(flows->told, ROUND_NS);
}

/* ---- life */

int flow_told_open(struct flows *flows)
{
	struct flow_tolds *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	flows->told = all;
	all->flows = flows;
	hash_init(&all->hash, node_hash);
	TAILQ_INIT(&all->all);
	all->timer = event_new(flows->sw->base, -1, 0, tick, all);
	return all->timer ? 0 : -ENOMEM;
}

void flow_told_close(struct flows *flows)
{
	struct flow_tolds *all = flows->told;
	struct flow_told *t;

	if (!all)
		return;
	while ((t = TAILQ_FIRST(&all->all))) {
		t->owed = 0; /* noted for the next process */
		flow_told_drop(flows, t, t->who);
	}
	hash_free(&all->hash);
	if (all->timer)
		event_free(all->timer);
	free(all);
	flows->told = NULL;
}
