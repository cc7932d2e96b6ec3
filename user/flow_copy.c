/* flow_copy.c: entries and NAT's mappings, one by one; see flow_copy.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "flow_copy.h"
#include "flow_priv.h"
#include "nat_priv.h"

#define SLICE_NS 3000000ull
#define CHUNK	 512  /* slots, or mappings, between looks at the clock */
#define TRIES	 1000 /* slices in which a CPU may hold a bucket's lock */

enum part { PART_MAPPINGS, PART_PEERS, PART_FLOWS4, PART_FLOWS6, PART_AGAIN4, PART_AGAIN6, PART_END };

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
	enum part part;
	uint32_t at; /* slot */
	void *cursor;
	unsigned tries;
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

int flow_copy_begin(struct sw *sw, struct next *n, struct flow_copy **ret)
{
	struct flow_copy *c = calloc(1, sizeof(*c));
	int err;

	*ret = NULL;
	if (!c)
		return -ENOMEM;
	c->flows = sw->flows;
	c->nat = sw->nat;
	c->next_peers = next_table(n, "nat_peers");
	c->half = table_map(next_table(n, "half_open"));
	c->half_lines = table_capacity(next_table(n, "half_open"));
	err = c->half && c->next_peers ? open_tabs(c, n) : -ENOENT;
	for (int i = 0; !err && i < 2; i++) {
		c->from[i] = sw->flows->tab[i];
		c->counted[i] = calloc(c->from[i].n, sizeof(*c->counted[i]));
		err = c->counted[i] ? 0 : -ENOMEM;
	}
	if (!err)
		err = flow_age_prepare(sw->flows, c->to, c->note);
	if (!err) {
		flow_age_pause(sw->flows);
		memcpy(sw->flows->next, c->to, sizeof(c->to));
		*ret = c;
		return 0;
	}
	flow_copy_free(c);
	return err;
}

void flow_copy_end(struct flow_copy *c)
{
	if (!c)
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

static int copy_slot(struct flow_copy *c, unsigned tab, uint32_t i)
{
	uint32_t word = flowtab_word(&c->from[tab], i);
	struct flow_key6 key;
	struct flow f;
	int err;

	if (!flowtab_is_live(word) || !read_entry(&c->from[tab], i, word, &key, &f))
		return 0;
	err = flowtab_insert(&c->to[tab], &key, &f, flow_now_ns());
	/* The data plane's own copy begins with nothing counted. */
	if (err == -EEXIST)
		return 0;
	if (!err)
		c->counted[tab][i] = (struct counted){.packets = f.packets, .bytes = f.bytes};
	return err;
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

/* Whether more flows were opened through it meanwhile is not known here: sluiced ends it. */
static int copy_mapping(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg)
{
	struct nat_mapping copy = *m;
	struct flow_copy *c = arg;
	int err;

	copy.opened = 2;
	err = nattab_add(&c->mappings, &copy, flow_now_ns());
	return err == -EEXIST ? 0 : err;
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
	case PART_MAPPINGS:
		return nattab_each_some(&c->nat->tab, &c->at, CHUNK, copy_mapping, c);
	case PART_PEERS:
		return copy_peers(c);
	case PART_FLOWS4:
	case PART_FLOWS6:
		return walk_slots(c, c->part - PART_FLOWS4, copy_slot);
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
	uint64_t start = flow_now_ns();

	while (c->part < end && flow_now_ns() - start < SLICE_NS) {
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

/* The pair that waits for its answer is noted anew, by the place that its reply entry has now. Who finds none free lives until
 * its timeout. */
static void move_note(struct flow_copy *c, unsigned tab, const struct flow *f, struct flow *now, uint32_t at)
{
	uint64_t place = (f->created_ns >> HALF_STAMP_SHIFT) << 32 | (tab ? HALF_IP6 : 0) | (at + 1);
	uint32_t line = (f->half - 1) / HALF_SLOTS;

	for (uint32_t i = 0; i < NOTE_LINES * HALF_SLOTS; i++) {
		uint32_t n = (line + i / HALF_SLOTS) % c->half_lines * HALF_SLOTS + i % HALF_SLOTS;
		__u64 none = 0;

		if (!__atomic_compare_exchange_n(&c->half[n], &none, place, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		__atomic_store_n(&now->half, n + 1, __ATOMIC_RELAXED);
		return;
	}
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
	if (c->part < PART_AGAIN4 && f.flags & FLOW_F_REPLY && f.half)
		move_note(c, tab, &f, now, at);
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
