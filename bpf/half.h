/* half.h: the pairs that nobody has answered yet: how many there may be, and who gives way when there are more.
 *
 * Stands beside flow.h, which makes and promotes them, and nat_map.h, which asks for a port when there is none. Whoever floods
 * the switch from addresses that are not there, or scans, makes pairs that are never answered. They are noted in `half_open`;
 * when it is full the oldest of a line ends, with its mapping and its port, so a flood takes a bounded share of the tables,
 * however long it lasts. A pair that is answered (TCP: whose handshake is complete) loses its note and is never ended from here.
 * A connection's packets pay nothing for this but the first ones.
 *
 * A place of `half_open` is a guess about an entry that may have ended or got another pair since: half_end() makes sure. The
 * worst outcome of a race is a pair without a note, which lives until its timeout.
 */
#ifndef SLUICE_HALF_H
#define SLUICE_HALF_H

#include "pkt.h"
#include "counter.h"
#include "flow_entry.h"
#include "flowtab.h"
#include "iface.h"
#include "nat.h"
#include "nat_event.h"
#include "scratch.h"

/* Written here. Size: set by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct half_line);
} half_open SEC(".maps");

/* Lines that a CPU takes at a time, at most: in a large table they seldom write the same cache line, in a small one nobody gives
 * way because another CPU holds lines that it does not use. */
#define HALF_TURNS	16
#define HALF_TURNS_PART 1024 /* of the lines */

struct half_turn {
	__u32 next;  /* the first line that no CPU has taken in this round */
	__u32 stamp; /* bucket_stamp() when `left` was begun */
	__s32 left;  /* lines that may make room in this unit of time */
	__u32 pad[13];
};

/* One element. All CPUs together go through the lines in turn: each is visited once in a round, so they fill evenly. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct half_turn);
} half_turn SEC(".maps");

/* Of each CPU. */
struct half_work {
	__u32 next;		  /* the line whose turn it is, in all rounds, */
	__u32 turns;		  /* and how many are left of those taken */
	__u32 at;		  /* its place, most likely */
	struct tuple t, to, back; /* of a forward entry that is being ended: as it comes in, as it leaves, and that swapped */
	struct nat_mapping_key mapping;
	struct nat_event event;
	__u32 family;
	__u32 told; /* HALF_TOLD, or 0 */
};

/* So many of a line's places they keep from newcomers, so that those of a flood are bounded still. */
#define HALF_SPARED (HALF_SLOTS / 2)

/* Lines in which somebody is looked for who can give way: 4 KiB, a microsecond. */
#define HALF_RECLAIM_LINES 64

static __always_inline __u32 half_stamp(__u64 created_ns)
{
	return created_ns >> HALF_STAMP_SHIFT;
}

/* The pairs that give way: not answered, or answered by a RST only. TCP: until both sides have acknowledged something, since
 * whoever is flooded answers, too. `forward`, `reply`: FLOW_SEEN_*. */
static __always_inline bool half_is(__u8 proto, __u8 forward, __u8 reply)
{
	if (proto != IPPROTO_TCP)
		return !reply;
	if ((forward | reply) & FLOW_SEEN_RST)
		return true;
	return !(forward & FLOW_SEEN_ACK) || !(reply & (FLOW_SEEN_SYNACK | FLOW_SEEN_ACK));
}

/* *ret_turn: how often the lines have been gone through. */
static __always_inline struct half_line *half_line_next(__u32 *ret, __u32 *ret_turn)
{
	struct flow_table *t = flowtab_get(4);
	__u32 zero = 0, i;
	struct half_work *hand = scratch_get(SCRATCH_HALF, struct half_work);
	struct half_turn *turn = bpf_map_lookup_elem(&half_turn, &zero);

	if (!hand || !turn || !t->half_lines)
		return NULL;
	if (!hand->turns) {
		__u32 n = t->half_lines / HALF_TURNS_PART;

		n = n < 1 ? 1 : n > HALF_TURNS ? HALF_TURNS : n;
		hand->next = __sync_fetch_and_add(&turn->next, n);
		hand->turns = n;
	}
	hand->turns--;
	*ret_turn = hand->next / t->half_lines;
	i = hand->next++ % t->half_lines;
	*ret = i;
	hand->at = i + 1;
	return bpf_map_lookup_elem(&half_open, &i);
}

/* The line whose turn it is next. */
static __always_inline void half_fetch(void)
{
	struct half_work *hand = scratch_get(SCRATCH_HALF, struct half_work);
	struct half_line *line;
	__u32 i;

	if (!hand)
		return;
	i = hand->at;
	line = bpf_map_lookup_elem(&half_open, &i);
	if (line)
		flowtab_touch(line->slot[0]);
}

static __always_inline __u64 *half_place(__u32 half)
{
	__u32 i = (half - 1) / HALF_SLOTS, slot = (half - 1) % HALF_SLOTS;
	struct half_line *line = half ? bpf_map_lookup_elem(&half_open, &i) : NULL;

	return line ? &line->slot[slot] : NULL;
}

/* ---- verifier: with the keys on stacks of their own, since this is reached from deep within */

__noinline_global __u32 half_find(const struct tuple *t, __u32 family, __u32 proto, __u32 vrf)
{
	return t ? flow_find(family, false, t, proto, vrf) : 0;
}

__noinline_global int half_delete(const struct tuple *t, __u32 family, __u32 proto, __u32 vrf)
{
	if (t)
		flow_delete_in(family, false, t, proto, vrf, true);
	return 0;
}

__noinline_global int half_delete_next(const struct tuple *t, __u32 family, __u32 proto, __u32 vrf)
{
	if (t && cfg_resize)
		flow_delete_in(family, true, t, proto, vrf, true);
	return 0;
}

/* ---- ending */

/* Of a session whose beginning was told. If there is no room, sluiced finds out. */
static __always_inline void half_tell(struct half_work *w, const struct flow *f)
{
	struct nat_event *e = &w->event;

	__builtin_memset(e, 0, sizeof(*e));
	e->at_ns = bpf_ktime_get_coarse_ns();
	e->event = NAT_EVENT_SESSION_DELETE;
	e->family = w->family;
	e->proto = w->mapping.proto;
	e->vrf = w->mapping.vrf;
	e->rule = f->rule;
	e->pool = f->pool;
	e->t.saddr = w->t.saddr;
	e->t.daddr = w->t.daddr;
	e->t.sport = w->t.sport;
	e->t.dport = w->t.dport;
	e->to.saddr = w->to.saddr;
	e->to.daddr = w->to.daddr;
	e->to.sport = w->to.sport;
	e->to.dport = w->to.dport;
	bpf_ringbuf_output(&nat_events, e, sizeof(*e), BPF_RB_NO_WAKEUP);
}

/* The mapping that a forward entry was made by. */
static __always_inline void half_end_mapping(struct half_work *w, const struct flow *f)
{
	w->mapping.addr = w->t.saddr;
	w->mapping.port = w->t.sport;
	w->mapping.pool = f->pool;
	w->mapping.remote = nat_remote(&w->to);
	nat_mapping_end(&w->mapping, f->pool_addr, bpf_ntohs(w->to.sport));
}

/* `f`: the forward entry. */
static __always_inline bool half_is_steady(__u8 proto, const struct flow *f)
{
	__u32 now = bpf_ktime_get_coarse_ns() >> FLOW_USED_SHIFT, used = READ_ONCE(f->used);

	return proto != IPPROTO_TCP && (__s32)(used - (__u32)(f->created_ns >> FLOW_USED_SHIFT)) > (__s32)HALF_STEADY_AFTER &&
	       (__s32)(now - used) < (__s32)HALF_STEADY_FOR;
}

/* `f`: the forward entry, of which w->t, w->mapping.proto and w->told are there. It is first: see flow_end() of sluiced. */
static __always_inline void half_end_entries(__u8 family, struct half_work *w, const struct flow *f, __u16 vrf)
{
	__u8 proto = w->mapping.proto;

	flow_tuple_get(f, family, &w->to);
	flow_swap(&w->to, &w->back);
	half_delete(&w->t, family, proto, vrf);
	half_delete(&w->back, family, proto, f->peer_vrf);
	if (cfg_resize) {
		half_delete_next(&w->t, family, proto, vrf);
		half_delete_next(&w->back, family, proto, f->peer_vrf);
	}
	w->mapping.vrf = vrf;
	w->family = family;
	if (f->pool)
		half_end_mapping(w, f);
	if (cfg_nat_log && w->told)
		half_tell(w, f);
}

/* The pair that was just made for the packet is one too many of its host's. */
__noinline_global int half_take_back(struct pkt *p)
{
	struct half_work *w = scratch_get(SCRATCH_HALF, struct half_work);
	struct flow *f = p && w ? flow_get(p->family, &p->t, p->l4_proto, p->vrf) : NULL;

	if (!p || !w || !f || f->flags & FLOW_F_REPLY)
		return 0;
	w->t = p->t;
	w->mapping.proto = p->l4_proto;
	w->told = p->flow_new & HALF_TOLD;
	half_end_entries(p->family == 4 ? 4 : 6, w, f, p->vrf);
	return 1;
}

#define HALF_ENDED 1
#define HALF_STAYS 2 /* it is in steady use, and was to be spared */

static __always_inline int half_end_pair(__u8 family, struct half_work *w, const struct flow *reply, __u32 want, bool spare)
{
	__u16 vrf = reply->peer_vrf;
	__u8 proto = w->mapping.proto;
	struct flow *f;
	__u32 i;

	flow_tuple_get(reply, family, &w->to);
	flow_swap(&w->to, &w->t);
	i = half_find(&w->t, family, proto, vrf);
	f = i ? flowtab_at(family, i - 1) : NULL;
	if (!f || f->flags & FLOW_F_REPLY || half_stamp(f->created_ns) != half_stamp(reply->created_ns) ||
	    !half_is(proto, READ_ONCE(f->seen), READ_ONCE(reply->seen)) || (want && f->pool != want))
		return 0;
	if (spare && half_is_steady(proto, f))
		return HALF_STAYS;
	half_end_entries(family, w, f, vrf);
	count_stat(STAT_FLOW_GAVE_WAY, 1);
	return HALF_ENDED;
}

static __always_inline bool half_is_it(const struct flow *reply, __u64 place)
{
	return reply->flags & FLOW_F_REPLY && half_stamp(reply->created_ns) == place >> 32;
}

/* Ends the pair that a place names, if it still waits for its answer. `pool`: not 0: only if it holds one of its ports, of this
 * protocol's. `spare`: and only if it is not in steady use. HALF_*; 0: it does not wait any more. */
__noinline_global int half_end(__u64 place, __u32 pool, __u32 proto, __u32 spare)
{
	__u32 i = ((__u32)place & HALF_ENTRY) - 1;
	struct half_work *w = scratch_get(SCRATCH_HALF, struct half_work);
	struct flow6 *f6;
	struct flow *f;

	if (!w)
		return 0;
	w->told = place & HALF_TOLD;
	if (!(place & HALF_IP6)) {
		f = bpf_map_lookup_elem(&flows4, &i);
		if (!f || !half_is_it(f, place) || (pool && f->key4.proto != proto))
			return 0;
		w->mapping.proto = f->key4.proto;
		return half_end_pair(4, w, f, pool, spare);
	}
	f6 = bpf_map_lookup_elem(&flows6, &i);
	if (!cfg_ipv6 || !f6 || !half_is_it(&f6->flow, place) || (pool && f6->key.proto != proto))
		return 0;
	w->mapping.proto = f6->key.proto;
	return half_end_pair(6, w, &f6->flow, pool, spare);
}

struct half_search {
	__u32 pool, proto;
	__u32 ended;
};

/* One line. Returns 1 to end the loop: there is room now. */
static long half_reclaim_step(__u64 n, void *arg)
{
	struct half_search *s = arg;
	__u32 at, turn;
	struct half_line *line = half_line_next(&at, &turn);

	if (!line)
		return 1;
	for (int i = 0; i < HALF_SLOTS; i++) {
		__u64 place = READ_ONCE(line->slot[i]);

		if (place && half_end(place, s->pool, s->proto, true) == HALF_ENDED) {
			__sync_val_compare_and_swap(&line->slot[i], place, 0);
			s->ended++;
		}
	}
	return s->ended > 0;
}

/* Of the lines, in a unit of bucket_stamp(). */
#define HALF_RECLAIM_PART 32

/* A slot of a table that is full is not free at once when its pair ends, so the newcomer gains nothing by it, and those that come
 * after it in the next 100 ms do not either: no more than all pairs in some 3 s give way for that. */
static __always_inline bool half_may_end(void)
{
	struct flow_table *t = flowtab_get(4);
	__u32 zero = 0, now = bucket_stamp(), then;
	struct half_turn *turn = bpf_map_lookup_elem(&half_turn, &zero);

	if (!turn)
		return false;
	then = READ_ONCE(turn->stamp);
	if (then != now && __sync_val_compare_and_swap(&turn->stamp, then, now) == then)
		WRITE_ONCE(turn->left, t->half_lines / HALF_RECLAIM_PART + 1);
	return READ_ONCE(turn->left) > 0 && __sync_fetch_and_add(&turn->left, -1) > 0;
}

/* There is no room: whoever has waited longest for an answer gives way. `pool`: no port of it is free for this protocol; 0: a
 * table is full. Goes on where the last one ended, over a part of the places only: a flood is found at once, single pairs after
 * some newcomers were refused. How many pairs have ended. */
__noinline_global int half_reclaim(struct pkt *p, __u32 pool)
{
	struct half_search s = {.pool = pool};

	if (!p || (!pool && !half_may_end()))
		return 0;
	s.proto = p->l4_proto;
	s.ended = pkt_zero(p);
	bpf_loop(HALF_RECLAIM_LINES, half_reclaim_step, &s, 0);
	return s.ended;
}

/* ---- noting */

/* The place of line `at` that the next one gets: a free one, or the oldest's. `tried`: a bit for each that is out of the
 * question. verifier: without branches where that goes, and a function of its own, since it is asked several times. */
__noinline_global __u32 half_choose(__u32 at, __u32 stamp, __u32 tried)
{
	struct half_line *line = bpf_map_lookup_elem(&half_open, &at);
	__u32 best = 0;

	if (!line)
		return 0;
	BUCKET_UNROLL
	for (__u32 i = 0; i < HALF_SLOTS; i++) {
		__u64 place = READ_ONCE(line->slot[i]);
		__u32 age = (stamp - (__u32)(place >> 32)) & 0x0fffffff, mask = (tried >> i & 1) - 1, rank;

		barrier_var(mask);
		rank = ((place ? age : 0x1fffffff) << 3 | i) & mask;
		best = rank > best ? rank : best;
	}
	return best & (HALF_SLOTS - 1);
}

static __always_inline struct flow *half_reply(__u64 place)
{
	return flowtab_at(place & HALF_IP6 ? 6 : 4, ((__u32)place & HALF_ENTRY) - 1);
}

/* Gives a pair a place of a line: a free one, or the oldest's. `reply`: its reply entry. What stood there before. */
static __always_inline __u64 half_put(struct half_line *line, __u32 at, __u64 place, struct flow *reply, __u32 stamp,
				      __u32 *tried)
{
	__u32 slot = half_choose(at, stamp, *tried);

	barrier_var(slot); /* verifier: it does not know what a function returns, and clang does */
	slot &= HALF_SLOTS - 1;
	*tried |= 1 << slot;
	reply->half = at * HALF_SLOTS + slot + 1;
	return __sync_lock_test_and_set(&line->slot[slot], place);
}

/* The place that was given away longest ago, if it is free: most are, without asking all of the line. Without a locked
 * instruction: while a CPU has the line, others take it in the next round alone, and who is overwritten then is one without a
 * note. */
static __always_inline bool half_put_free(struct half_line *line, __u32 at, __u32 turn, __u64 place, struct flow *reply)
{
	__u32 slot = turn & (HALF_SLOTS - 1);

	if (READ_ONCE(line->slot[slot]))
		return false;
	reply->half = at * HALF_SLOTS + slot + 1;
	WRITE_ONCE(line->slot[slot], place);
	return true;
}

/* The pair that was just made for this packet waits for its answer. Who is in steady use and the oldest of the line gets the next
 * oldest's place, and that one is asked. While it has none, it may be answered: then it keeps a place until its turn comes again.
 * verifier: the pipeline calls it, and not flow_install(), whose stack is deep as it is. */
__noinline_global int half_add(struct pkt *p)
{
	struct half_line *line;
	struct iface *out;
	struct tuple reply;
	__u64 place;
	struct flow *f;
	__u32 i, at = 0, turn = 0, stamp, tried = 0;

	if (!p)
		return 0;
	i = p->flow_new & HALF_ENTRY;
	if (unlikely(i == PKT_FLOW_ELSE)) {
		out = iface_get(p->out_iface);
		flow_swap(&p->to, &reply);
		i = half_find(&reply, p->family, p->l4_proto, out ? out->vrf : p->vrf);
	}
	line = half_line_next(&at, &turn);
	if (!i || !line)
		return 0;
	f = p->family == 4 ? flowtab_at(4, i - 1) : flowtab_at(6, i - 1);
	if (!f)
		return 0;
	/* One that was there (PKT_FLOW_ELSE) may be older than the pair, which its note is known by. */
	f->created_ns = p->now_ns;
	stamp = half_stamp(p->now_ns);
	place = (__u64)stamp << 32 | (p->family == 6 ? HALF_IP6 : 0) | (p->flow_new & HALF_TOLD) | i;
	if (likely(half_put_free(line, at, turn, place, f)))
		return 0;
	place = half_put(line, at, place, f, stamp, &tried);
	for (i = 0; i < HALF_SPARED; i++) {
		if (!place || half_end(place, 0, 0, true) != HALF_STAYS)
			return 0;
		f = half_reply(place);
		if (!f)
			return 0;
		place = half_put(line, at, place, f, stamp, &tried);
	}
	return place ? half_end(place, 0, 0, false) : 0;
}

/* The pair has its answer. `reply`: its reply entry. */
static __always_inline void half_done(struct flow *reply)
{
	__u64 *at = half_place(reply->half), place;

	reply->half = 0;
	if (!at)
		return;
	place = READ_ONCE(*at);
	/* Another pair may have taken its place. */
	if (half_reply(place) == reply)
		__sync_val_compare_and_swap(at, place, 0);
}

#endif
