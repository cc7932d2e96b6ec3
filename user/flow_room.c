/* flow_room.c: who waits for an answer gives way to smaller tables; see flow_room.h. */
#include <errno.h>
#include <stdlib.h>
#include <sluice/abi.h>
#include "clock.h"
#include "flow_priv.h"
#include "flow_room.h"
#include "flow_state.h"
#include "nat_priv.h"

#define SLICE_NS 3000000ull
#define CHUNK	 16   /* lines between looks at the clock */
#define SAMPLE	 1024 /* lines that flow_waiting() looks at */

enum part { PART_COUNT, PART_END, PART_DONE };

struct flow_room {
	struct flows *flows;
	struct flow_table *head;
	const struct half_line *line;
	uint32_t lines, keep; /* in which pairs may wait: before, and from the counting on */
	uint32_t size[2];     /* that the tables come to; UINT32_MAX: this one becomes no smaller */
	uint64_t waiting[2];
	enum part part;
	uint32_t at;
};

/* ---- a pair */

/* As half_is() and half_is_steady() of the data plane. */
static bool gives_way(uint8_t proto, const struct flow *f, const struct flow *reply, uint64_t now_ns)
{
	uint32_t began = (uint32_t)(f->created_ns >> FLOW_USED_SHIFT), now = (uint32_t)(now_ns >> FLOW_USED_SHIFT);
	enum flow_state state = flow_state(proto, f->seen, reply->seen);

	if (!reply->half || (state != FLOW_OPENING && state != FLOW_RESET && state != FLOW_UNREPLIED))
		return false;
	return state != FLOW_UNREPLIED || (int32_t)(f->used - began) <= (int32_t)HALF_STEADY_AFTER ||
	       (int32_t)(now - f->used) >= (int32_t)HALF_STEADY_FOR;
}

int flow_waits(struct flows *flows, const struct flow_tuple *key, const struct flow *f, struct flow_tuple *ret_forward,
	       struct flow *ret_f)
{
	struct flow_tuple peer_key;
	struct flow peer;
	bool is_reply = f->flags & FLOW_F_REPLY;

	flow_tuple_peer(key, f, &peer_key);
	if (flow_lookup(flows, &peer_key, &peer) || !(peer.flags & FLOW_F_REPLY) != is_reply ||
	    !flow_is_pair(key, &peer_key, &peer))
		return -ENOENT;
	*ret_forward = is_reply ? peer_key : *key;
	*ret_f = is_reply ? peer : *f;
	return gives_way(key->proto, ret_f, is_reply ? f : &peer, clock_now_ns());
}

void flow_give_way(struct flows *flows, const struct flow_tuple *forward, const struct flow *f)
{
	if (!flow_delete_pair(flows, forward, f))
		return;
	/* With two tables there may be two mappings: then the sweep ends them. */
	if (f->pool && !flows->next[0].family)
		nat_mapping_end(flows->sw->nat, forward, f);
	__atomic_fetch_add(&flows->sw->control->gave_way, 1, __ATOMIC_RELAXED);
}

/* The pair that a place names, if it is the one that was noted there and would give way. Its family as the index of its table,
 * or -1. */
static int pair_at(struct flows *flows, uint64_t place, uint32_t number, struct flow_tuple *ret_forward, struct flow *ret_f)
{
	unsigned tab = (place & HALF_IP6) != 0;
	uint32_t i = ((uint32_t)place & HALF_ENTRY) - 1, word;
	struct flow_tuple key;
	struct flow_key6 raw;
	struct flow f;

	if (!place || i >= flows->tab[tab].n)
		return -1;
	word = flowtab_word(&flows->tab[tab], i);
	if (!flowtab_read(&flows->tab[tab], i, word, &raw, &f) || !(f.flags & FLOW_F_REPLY) || f.half != number + 1 ||
	    (uint32_t)(f.created_ns >> HALF_STAMP_SHIFT) != (uint32_t)(place >> 32))
		return -1;
	flow_tuple_from_key(flows->tab[tab].family, &raw, &key);
	return flow_waits(flows, &key, &f, ret_forward, ret_f) > 0 ? (int)tab : -1;
}

/* ---- how many */

static void count_line(struct flows *flows, const struct half_line *lines, uint32_t line, uint64_t ret[2])
{
	struct flow_tuple key;
	struct flow f;

	for (uint32_t i = 0; i < HALF_SLOTS; i++) {
		uint64_t place = __atomic_load_n(&lines[line].slot[i], __ATOMIC_RELAXED);
		int tab = pair_at(flows, place, line * HALF_SLOTS + i, &key, &f);

		if (tab >= 0)
			ret[tab]++;
	}
}

uint64_t flow_waiting(const struct sw *sw, int family)
{
	struct table *half = table_get(sw->dp, "half_open");
	const struct half_line *lines = half ? table_map(half) : NULL;
	uint64_t n = lines ? table_capacity(half) : 0, looks = n < SAMPLE ? n : SAMPLE, found[2] = {0};

	for (uint64_t i = 0; i < looks; i++)
		count_line(sw->flows, lines, (uint32_t)(i * n / looks), found);
	return looks ? found[family == 6] * n / looks : 0;
}

/* ---- making room */

int flow_room_begin(struct sw *sw, const struct settings_cfg *to, uint32_t next_lines, struct flow_room **ret)
{
	const uint32_t size[2] = {to->max_flows, to->max_flows6};
	struct table *half = table_get(sw->dp, "half_open");
	struct flow_room *r;
	bool smaller = false;

	*ret = NULL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	for (int i = 0; i < 2; i++) {
		bool is = flowtab_buckets(2 * size[i]) < sw->flows->tab[i].n / BUCKET_SLOTS;

		r->size[i] = is ? size[i] : UINT32_MAX;
		smaller = smaller || is;
	}
	r->flows = sw->flows;
	r->head = table_map(table_get(sw->dp, "flow_table"));
	r->line = half ? table_map(half) : NULL;
	if (!smaller || !r->line || !r->head) {
		free(r);
		return smaller ? -ENOENT : 0;
	}
	r->lines = r->keep = table_capacity(half);
	if (r->keep > next_lines)
		r->keep = next_lines;
	*ret = r;
	return 0;
}

/* How many lines they may wait in. Three quarters of what is free beside those that are answered: newcomers, and slots that rest,
 * need some as well. */
static int reckon(struct flow_room *r)
{
	uint64_t all = r->waiting[0] + r->waiting[1];

	for (int i = 0; i < 2; i++) {
		uint64_t pairs = flow_count_of(r->flows->sw, i ? 6 : 4), answered, room, keep;

		if (r->size[i] == UINT32_MAX)
			continue;
		answered = pairs > r->waiting[i] ? pairs - r->waiting[i] : 0;
		if (answered > r->size[i])
			return -E2BIG;
		room = r->size[i] - answered;
		if (2 * r->waiting[i] <= room)
			continue;
		keep = room * 3 / 4 * all / r->waiting[i] / HALF_SLOTS;
		if (keep < r->keep)
			r->keep = keep ? (uint32_t)keep : 1;
	}
	__atomic_store_n(&r->head->half_lines, r->keep, __ATOMIC_RELAXED);
	r->at = r->keep;
	return 0;
}

static void end_line(struct flow_room *r, uint32_t line)
{
	struct flow_tuple key;
	struct flow f;

	for (uint32_t i = 0; i < HALF_SLOTS; i++) {
		uint64_t place = __atomic_load_n(&r->line[line].slot[i], __ATOMIC_RELAXED);

		if (pair_at(r->flows, place, line * HALF_SLOTS + i, &key, &f) >= 0)
			flow_give_way(r->flows, &key, &f);
	}
}

int flow_room_some(struct flow_room *r)
{
	uint64_t start = clock_now_ns();
	int err;

	while (r->part < PART_DONE && clock_now_ns() - start < SLICE_NS) {
		for (uint32_t i = 0; i < CHUNK && r->at < r->lines; i++, r->at++) {
			if (r->part == PART_COUNT)
				count_line(r->flows, r->line, r->at, r->waiting);
			else
				end_line(r, r->at);
		}
		if (r->at < r->lines)
			continue;
		err = r->part == PART_COUNT ? reckon(r) : 0;
		if (err)
			return err;
		r->part++;
	}
	return r->part < PART_DONE;
}

void flow_room_end(struct flow_room *r)
{
	if (!r)
		return;
	__atomic_store_n(&r->head->half_lines, r->lines, __ATOMIC_RELAXED);
	free(r);
}
