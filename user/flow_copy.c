/* flow_copy.c: entries and NAT's mappings, one by one; see flow_copy.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_copy.h"
#include "flow_priv.h"
#include "flow_room.h"
#include "nat_claim.h"
#include "nat_priv.h"

#define SLICE_NS 3000000ull
#define CHUNK	 512  /* slots, or mappings, between looks at the clock */
#define TRIES	 1000 /* slices in which a CPU may hold a bucket's lock, or a slot may rest */
#define LATE	 4096

enum part {
	PART_FIRST4,
	PART_FIRST6,
	PART_FIRST_MAPPINGS,
	PART_MAPPINGS,
	PART_PEERS,
	PART_FLOWS4,
	PART_FLOWS6,
	PART_AGAIN4,
	PART_AGAIN6,
	PART_END
};

/* How much of what an entry has counted its copy has. */
struct counted {
	uint64_t packets, bytes;
};

struct flow_copy {
	struct flows *flows;
	struct nat *nat;
	struct nattab mappings; /* the next ones */
	struct flowtab from[2], to[2];
	struct flow_note *note[2]; /* for the next tables; from the switch on, those of the former */
	struct counted *counted[2];
	struct table *next_peers;
	__u64 *half; /* places of the next half_open */
	uint32_t half_lines;
	const __u64 *former;	      /* places of this one */
	bool smaller;		      /* one of the tables becomes: who waits for an answer need not go in */
	uint64_t (*held)[POOL_WORDS]; /* ports of those that are answered, [pool_addr * POOL_CLASSES + class]; memory only for
					 some */
	struct nat_claim held_runs;   /* and those of runs */
	bool begun;
	enum part part;
	uint32_t at; /* slot */
	void *cursor;
	unsigned tries;
	uint32_t late[LATE]; /* slots that have found no place yet */
	uint32_t n_late;
	bool walked; /* all slots; those are left */
};

static int open_tabs(struct flow_copy *c, struct next *n)
{
	int err = flow_tab_open(&c->to[0], 4, next_table(n, "flow_table"), next_table(n, "flow_words4"), next_table(n, "flows4"));

	if (!err)
		err = flow_tab_open(&c->to[1], 6, next_table(n, "flow_table"), next_table(n, "flow_words6"),
				    next_table(n, "flows6"));
	if (!err)
		err = nattab_open(&c->mappings, next_table(n, "flow_table"), next_table(n, "nat_words"),
				  next_table(n, "nat_mappings"), next_table(n, "nat_ways"));
	return err;
}

static int prepare(struct flow_copy *c, struct sw *sw, struct next *n)
{
	int err;

	c->flows = sw->flows;
	c->nat = sw->nat;
	c->next_peers = next_table(n, "nat_peers");
	c->half = table_map(next_table(n, "half_open"));
	c->half_lines = table_capacity(next_table(n, "half_open"));
	c->former = table_map(table_get(sw->dp, "half_open"));
	err = c->half && c->former && c->next_peers ? open_tabs(c, n) : -ENOENT;
	for (int i = 0; !err && i < 2; i++) {
		c->from[i] = sw->flows->tab[i];
		c->counted[i] = calloc(c->from[i].n, sizeof(*c->counted[i]));
		err = c->counted[i] ? 0 : -ENOMEM;
		c->smaller = c->smaller || c->to[i].n < c->from[i].n;
	}
	c->part = c->smaller ? PART_FIRST4 : PART_MAPPINGS;
	if (!err && c->smaller) {
		c->held = calloc((size_t)POOL_ADDR_MAX * POOL_CLASSES, sizeof(*c->held));
		err = c->held ? nat_claim_begin(&c->held_runs, sw->nat->tab.n) : -ENOMEM;
	}
	return err ? err : flow_age_prepare(sw->flows, c->to, c->note);
}

int flow_copy_make(struct sw *sw, struct next *n, struct flow_copy **ret)
{
	struct flow_copy *c = calloc(1, sizeof(*c));
	int err = c ? prepare(c, sw, n) : -ENOMEM;

	*ret = err ? NULL : c;
	if (err)
		flow_copy_free(c);
	return err;
}

bool flow_copy_begun(const struct flow_copy *c)
{
	return c->begun;
}

void flow_copy_begin(struct flow_copy *c)
{
	flow_age_pause(c->flows);
	memcpy(c->flows->next, c->to, sizeof(c->to));
	c->begun = true;
}

void flow_copy_end(struct flow_copy *c)
{
	if (!c || !c->begun)
		return;
	memset(c->flows->next, 0, sizeof(c->flows->next));
	if (c->flows->paused)
		flow_age_resume(c->flows);
}

void flow_copy_free(struct flow_copy *c)
{
	if (!c)
		return;
	table_cursor_free(c->cursor);
	free(c->held);
	nat_claim_free(&c->held_runs);
	for (int i = 0; i < 2; i++) {
		free(c->counted[i]);
		free(c->note[i]);
	}
	free(c);
}

/* ---- copying */

/* The entry as it is now. One whose way out is being written gets none: its next packet decides. */
static bool read_entry(const struct flowtab *t, uint32_t i, uint32_t word, void *ret_key, struct flow *ret)
{
	const uint32_t *epoch = &flowtab_entry(t, i)->epoch;
	uint32_t before = __atomic_load_n(epoch, __ATOMIC_ACQUIRE);

	if (!flowtab_read(t, i, word, ret_key, ret))
		return false;
	if (before == FLOW_EPOCH_BUSY || __atomic_load_n(epoch, __ATOMIC_ACQUIRE) != before)
		ret->epoch = 0;
	return true;
}

/* A pair that waits for its first answer, which newcomers have brought into the next table, and stands where this key shall: it
 * gives way. Its slots are free after the time that they rest. */
static bool end_waiting(struct flow_copy *c, unsigned tab, uint32_t i)
{
	struct flowtab *to = &c->to[tab];
	uint32_t word = flowtab_word(to, i);
	struct flow_tuple key, forward;
	struct flow_key6 raw;
	struct flow f, at;

	if (!flowtab_read(to, i, word, &raw, &f))
		return false;
	flow_tuple_from_key(to->family, &raw, &key);
	/* Who waits is noted in the former table's entries. */
	if (flow_lookup(c->flows, &key, &f) || flow_waits(c->flows, &key, &f, &forward, &at) <= 0)
		return false;
	flow_give_way(c->flows, &forward, &at);
	return true;
}

/* There is no place for the entry (key, f). 0: there need not be one any more; -EBUSY: there will be one; -E2BIG. */
static int make_place(struct flow_copy *c, unsigned tab, const struct flow_key6 *raw, const struct flow *f)
{
	struct flow_tuple key, forward;
	uint32_t bucket[FLOWTAB_PLACES];
	struct flow at;
	bool later = false;

	flow_tuple_from_key(c->from[tab].family, raw, &key);
	if (flow_waits(c->flows, &key, f, &forward, &at) > 0) {
		flow_give_way(c->flows, &forward, &at);
		return 0;
	}
	flowtab_buckets_of(&c->to[tab], raw, bucket);
	for (uint32_t i = 0; i < FLOWTAB_PLACES * BUCKET_SLOTS; i++) {
		uint32_t slot = bucket[i / BUCKET_SLOTS] * BUCKET_SLOTS + i % BUCKET_SLOTS;

		if (!flowtab_may_take(&c->to[tab], raw, slot))
			continue;
		later = end_waiting(c, tab, slot) || !flowtab_is_live(flowtab_word(&c->to[tab], slot)) || later;
	}
	return later ? -EBUSY : -E2BIG;
}

static int copy_slot(struct flow_copy *c, unsigned tab, uint32_t i)
{
	uint32_t word = flowtab_word(&c->from[tab], i);
	struct flow_key6 key;
	struct flow f;
	int err;

	if (!flowtab_is_live(word) || !read_entry(&c->from[tab], i, word, &key, &f))
		return 0;
	err = flowtab_insert(&c->to[tab], &key, &f, clock_now_ns());
	if (err == -E2BIG)
		return make_place(c, tab, &key, &f);
	/* The data plane's own copy begins with nothing counted. */
	if (err == -EEXIST)
		return 0;
	if (!err)
		c->counted[tab][i] = (struct counted){.packets = f.packets, .bytes = f.bytes};
	return err;
}

/* Who has to wait for his place holds up nobody else. */
static int copy_or_later(struct flow_copy *c, unsigned tab, uint32_t i)
{
	int err = copy_slot(c, tab, i);

	if (err != -EBUSY || c->n_late == LATE)
		return err;
	c->late[c->n_late++] = i;
	return 0;
}

/* `fn` for some slots. 1: there are more. */
static int walk_slots(struct flow_copy *c, unsigned tab, int (*fn)(struct flow_copy *c, unsigned tab, uint32_t i))
{
	uint32_t n = c->from[tab].n, end = n - c->at > CHUNK ? c->at + CHUNK : n;

	for (; c->at < end; c->at++) {
		int err = fn(c, tab, c->at);

		if (err)
			return err;
	}
	if (c->at < n)
		return 1;
	c->at = 0;
	return 0;
}

/* All slots, and then those that had to wait. As walk_slots(). */
static int copy_slots(struct flow_copy *c, unsigned tab)
{
	uint32_t n = 0;
	int err;

	if (!c->walked) {
		err = walk_slots(c, tab, copy_or_later);
		if (err)
			return err;
		c->walked = true;
	}
	for (uint32_t i = 0; i < c->n_late; i++) {
		err = copy_slot(c, tab, c->late[i]);
		if (err == -EBUSY)
			c->late[n++] = c->late[i];
		else if (err)
			return err;
	}
	if (n < c->n_late)
		c->tries = 0;
	c->n_late = n;
	c->walked = n > 0;
	return n ? -EBUSY : 0;
}

/* Of a single address. */
static uint64_t *held_word(struct flow_copy *c, uint32_t pool_addr, uint8_t proto, uint16_t port)
{
	unsigned class = nat_class(proto);

	return pool_addr < POOL_ADDR_MAX && class < POOL_CLASSES ? &c->held[pool_addr * POOL_CLASSES + class][port / 64] : NULL;
}

static void hold(struct flow_copy *c, uint32_t pool_addr, uint8_t proto, uint16_t port)
{
	uint64_t *w = held_word(c, pool_addr, proto, port);

	if (w)
		*w |= 1ull << port % 64;
	else
		nat_claim_add(&c->held_runs, pool_addr, nat_class(proto), port);
}

/* The entries of pairs that are answered, with their mappings. The others' turn comes later. */
static int first_slot(struct flow_copy *c, unsigned tab, uint32_t i)
{
	uint32_t word = flowtab_word(&c->from[tab], i);
	struct flow_tuple key, forward;
	struct flow_key6 raw;
	struct flow f, at;

	if (!flowtab_is_live(word) || !flowtab_read(&c->from[tab], i, word, &raw, &f))
		return 0;
	flow_tuple_from_key(c->from[tab].family, &raw, &key);
	if (flow_waits(c->flows, &key, &f, &forward, &at))
		return 0;
	if (!(f.flags & FLOW_F_REPLY) && f.pool)
		hold(c, f.pool_addr, key.proto, ntohs(f.sport));
	if (!(f.flags & FLOW_F_REPLY) && f.dest_addr)
		hold(c, f.dest_addr - 1u, key.proto, ntohs(key.dport));
	return copy_slot(c, tab, i);
}

/* Whether more flows were opened through it meanwhile is not known here: sluiced ends it. */
static int copy_mapping(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg)
{
	struct nat_mapping copy = *m;
	struct flow_copy *c = arg;
	int err;

	copy.opened = 2;
	err = nattab_add(&c->mappings, &copy, clock_now_ns());
	/* All that are needed are there. Without it a connection that was answered a moment ago goes on by its entries; the next
	 * one of its source gets another port. */
	if (err == -E2BIG && c->smaller && c->part == PART_MAPPINGS)
		return 0;
	/* One of a run whose way has no place there: the same. */
	return err == -EEXIST || err == -EADDRINUSE ? 0 : err;
}

static int first_mapping(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg)
{
	const uint64_t *w = held_word(arg, m->pool_addr, m->inside.proto, ntohs(m->port));
	struct flow_copy *c = arg;
	bool held = w ? *w >> ntohs(m->port) % 64 & 1
		      : nat_claim_has(&c->held_runs, m->pool_addr, nat_class(m->inside.proto), ntohs(m->port));

	return held ? copy_mapping(i, word, m, arg) : 0;
}

static int copy_peer(const void *key, void *value, void *arg)
{
	struct flow_copy *c = arg;
	int err = table_insert(c->next_peers, key, value);

	return err == -EEXIST ? 0 : err;
}

static int copy_peers(struct flow_copy *c)
{
	int err = table_each_some(c->nat->peers, &c->cursor, CHUNK, copy_peer, c);

	return err ? err : c->cursor != NULL;
}

static int copy_part(struct flow_copy *c)
{
	switch (c->part) {
	case PART_FIRST4:
	case PART_FIRST6:
		return walk_slots(c, c->part - PART_FIRST4, first_slot);
	case PART_FIRST_MAPPINGS:
		return nattab_each_some(&c->nat->tab, &c->at, CHUNK, first_mapping, c);
	case PART_MAPPINGS:
		return nattab_each_some(&c->nat->tab, &c->at, CHUNK, copy_mapping, c);
	case PART_PEERS:
		return copy_peers(c);
	case PART_FLOWS4:
	case PART_FLOWS6:
		return copy_slots(c, c->part - PART_FLOWS4);
	case PART_AGAIN4:
	case PART_AGAIN6:
	case PART_END:
		break;
	}
	return 0;
}

/* Steps of one part after the other, for a slice's time. */
static int work(struct flow_copy *c, enum part end, int (*step)(struct flow_copy *c))
{
	uint64_t start = clock_now_ns();

	while (c->part < end && clock_now_ns() - start < SLICE_NS) {
		int r = step(c);

		if (r == -EBUSY && ++c->tries < TRIES)
			return 1;
		if (r < 0)
			return r;
		if (!r)
			c->part++;
	}
	return c->part < end;
}

int flow_copy_first(struct flow_copy *c)
{
	return work(c, PART_MAPPINGS, copy_part);
}

int flow_copy_some(struct flow_copy *c)
{
	return work(c, PART_AGAIN4, copy_part);
}

/* ---- the switch */

void flow_copy_switch(struct flow_copy *c)
{
	struct flows *flows = c->flows;

	c->nat->tab = c->mappings;
	for (int i = 0; i < 2; i++) {
		struct flow_note *note = flows->note[i];

		flows->tab[i] = c->to[i];
		flows->note[i] = c->note[i];
		flows->next[i] = (struct flowtab){0};
		c->note[i] = note;
	}
	c->part = PART_FLOWS4;
	c->at = 0;
}

#define NOTE_LINES 4

/* The pair that waits for its answer is noted anew, by the place that its reply entry has now. False: none is free, newcomers
 * have them. */
static bool move_note(struct flow_copy *c, unsigned tab, const struct flow *f, struct flow *now, uint32_t at)
{
	uint64_t was = __atomic_load_n(&c->former[f->half - 1], __ATOMIC_RELAXED), stamp = f->created_ns >> HALF_STAMP_SHIFT;
	uint64_t place = stamp << 32 | (tab ? HALF_IP6 : 0) | (was >> 32 == (uint32_t)stamp ? was & HALF_TOLD : 0) | (at + 1);
	uint32_t line = (f->half - 1) / HALF_SLOTS;

	for (uint32_t i = 0; i < NOTE_LINES * HALF_SLOTS; i++) {
		uint32_t n = (line + i / HALF_SLOTS) % c->half_lines * HALF_SLOTS + i % HALF_SLOTS;
		__u64 none = 0;

		if (!__atomic_compare_exchange_n(&c->half[n], &none, place, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		__atomic_store_n(&now->half, n + 1, __ATOMIC_RELAXED);
		return true;
	}
	return false;
}

/* `now`: the pair's reply entry; `half`: where it was noted, which one that the data plane has brought over does not know. */
static void unnoted(struct flow_copy *c, const struct flowtab *t, const struct flow_key6 *raw, const struct flow *now,
		    uint32_t half)
{
	struct flow_tuple key, forward;
	struct flow copy = *now, f;

	copy.half = half;
	flow_tuple_from_key(t->family, raw, &key);
	if (flow_waits(c->flows, &key, &copy, &forward, &f) > 0)
		flow_give_way(c->flows, &forward, &f);
}

/* What the former entry counted since it was copied. A connection that was closed and opened anew within this second is taken for
 * a closed one: at worst it ends by the shorter timeout. */
static int settle_slot(struct flow_copy *c, unsigned tab, uint32_t i)
{
	uint32_t word = flowtab_word(&c->from[tab], i), at;
	struct counted *had = &c->counted[tab][i];
	struct flow_key6 key;
	struct flow f, *now;

	if (!flowtab_is_live(word) || !flowtab_read(&c->from[tab], i, word, &key, &f))
		return 0;
	at = flowtab_find(&c->to[tab], &key, NULL);
	if (at == FLOWTAB_NONE)
		return 0;
	now = flowtab_entry(&c->to[tab], at);
	if (f.packets > had->packets) {
		/* The data plane adds to these with a lock: see flow_count() in bpf/flow.h. */
		__atomic_fetch_add(&now->packets, f.packets - had->packets, __ATOMIC_RELAXED);
		__atomic_fetch_add(&now->bytes, f.bytes - had->bytes, __ATOMIC_RELAXED);
		*had = (struct counted){.packets = f.packets, .bytes = f.bytes};
	}
	__atomic_fetch_or(&now->seen, f.seen, __ATOMIC_RELAXED);
	if (c->part < PART_AGAIN4 && f.flags & FLOW_F_REPLY && f.half && !move_note(c, tab, &f, now, at))
		unnoted(c, &c->to[tab], &key, now, f.half);
	if ((int32_t)(f.used - now->used) > 0)
		__atomic_store_n(&now->used, f.used, __ATOMIC_RELAXED);
	return 0;
}

static int settle_part(struct flow_copy *c)
{
	return walk_slots(c, (c->part - PART_FLOWS4) % 2, settle_slot);
}

int flow_copy_settle(struct flow_copy *c)
{
	return work(c, PART_END, settle_part);
}

unsigned flow_copy_percent(const struct flow_copy *c)
{
	uint64_t all = (uint64_t)c->from[0].n + c->from[1].n;
	uint64_t done = c->part < PART_FLOWS4 ? 0 : c->part == PART_FLOWS4 ? c->at : (uint64_t)c->from[0].n + c->at;

	return c->part >= PART_AGAIN4 ? 100 : (unsigned)(done * 100 / all);
}
