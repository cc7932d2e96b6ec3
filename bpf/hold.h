/* hold.h: fragments that came before their datagram's first one, kept until it comes.
 *
 * tc only: XDP passes them up. A fragment that waits is copied into an element of an array, counted as not received, and dropped;
 * when the first one comes it goes in anew by the port it came from, as if the cable had been longer, and so do the held ones
 * behind it. So flows, neighbours, flooding and counters need nothing of their own. Bounds: control.frag_held fragments
 * of up to HOLD_FRAME bytes, HOLD_DATAGRAM of one datagram, each for control.frag_hold_ms and a tick; then a timer drops it.
 *
 * Races. A slot is whose who moves its state away from HELD: the timer, or the one first fragment. A bit in frag.held may outlive
 * what it stands for: the slot's key tells. The entry of the datagram may be lost (LRU): then the timer ends what it led to.
 */
#ifndef SLUICE_HOLD_H
#define SLUICE_HOLD_H

#include <linux/bpf.h>
#include "pkt.h"
#include "counter.h"
#include "frag.h"
#include "frame.h"
#include "port.h"

#define HOLD_FRAME    9234 /* bytes of a frame with its tags, at most: MTU 9000 and room */
#define HOLD_DATAGRAM 64   /* fragments of one datagram */
#define HOLD_MIN      ETH_HLEN
#define HOLD_TICK_NS  100000000ull
#define HOLD_LOST_NS  2000000000ull

enum hold_state { HOLD_FREE = 0, HOLD_BUSY = 1, HOLD_HELD = 2 };

struct hold_slot {
	__u64 until_ns; /* CLOCK_MONOTONIC */
	__u32 state;	/* enum hold_state */
	__u32 ifindex;
	__u16 port; /* port id */
	__u16 len;  /* of data: the frame, with a tag that was in the skb */
	__u32 pad;
	struct frag_key key;
	__u8 data[HOLD_FRAME + 6];
};

/* Written and read here only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FRAG_HELD_MAX);
	__type(key, __u32);
	__type(value, struct hold_slot);
} hold_slots SEC(".maps");

struct hold_used {
	struct bpf_timer timer;
	__u32 ticking; /* the timer is set, or its function is at work */
	__u32 pad;
	__u64 ticked_ns; /* when the timer was set last */
	__u64 word[FRAG_HELD_MAX / 64];
};

/* Written and read here only: a bit for each slot that is not free, and the timer that empties them. One for all: the kernel may
 * refuse to make one when a packet asks. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hold_used);
} hold_used SEC(".maps");

static __always_inline void hold_free(struct hold_slot *s, __u32 slot)
{
	__u32 zero = 0;
	struct hold_used *u = bpf_map_lookup_elem(&hold_used, &zero);

	WRITE_ONCE(s->state, HOLD_FREE);
	if (u)
		__sync_fetch_and_and(&u->word[(slot >> 6) % (FRAG_HELD_MAX / 64)], ~(1ULL << (slot & 63)));
}

struct hold_take {
	__u32 max, slot, found;
};

static long hold_take_word(__u32 w, void *arg)
{
	struct hold_take *t = arg;
	__u32 zero = 0, base = w * 64;
	struct hold_used *u = bpf_map_lookup_elem(&hold_used, &zero);
	__u64 *word, free;

	if (!u || base >= t->max)
		return 1;
	word = &u->word[w % (FRAG_HELD_MAX / 64)];
	free = ~READ_ONCE(*word);
	if (t->max - base < 64)
		free &= ~(~0ULL << (t->max - base));
	if (!free)
		return 0;
	t->slot = base + __builtin_ctzll(free);
	t->found = !(__sync_fetch_and_or(word, 1ULL << (t->slot & 63)) >> (t->slot & 63) & 1);
	return t->found;
}

/* What was not counted when it was held is now: received, and dropped. */
static __always_inline void hold_dropped(const struct hold_slot *s, enum drop_reason why)
{
	struct port_counters *c = count_port(s->port);

	if (c) {
		c->rx_packets++;
		c->rx_bytes += s->len;
	}
	count_drops(s->port, why, 1);
}

static long hold_expire(__u32 slot, void *arg)
{
	struct hold_slot *s = bpf_map_lookup_elem(&hold_slots, &slot);
	__u64 *now = arg;

	if (!s || READ_ONCE(s->state) != HOLD_HELD || s->until_ns > *now)
		return 0;
	if (__sync_val_compare_and_swap(&s->state, HOLD_HELD, HOLD_BUSY) != HOLD_HELD)
		return 0;
	hold_dropped(s, DROP_NAT_FRAG_TIMEOUT);
	hold_free(s, slot);
	return 0;
}

static __always_inline bool hold_any(const struct hold_used *u)
{
	__u64 any = 0;

	for (int i = 0; i < FRAG_HELD_MAX / 64; i++)
		any |= READ_ONCE(u->word[i]);
	return any;
}

/* Drops what has waited too long, and looks again as long as there is any. Who takes a slot sets its bit and then looks at
 * `ticking`; here it is the other way round, so one of the two sets the timer. */
static int hold_tick(void *map, __u32 *key, struct hold_used *u)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	bpf_loop(FRAG_HELD_MAX, hold_expire, &now, 0);
	if (!hold_any(u)) {
		__sync_lock_test_and_set(&u->ticking, 0);
		if (!hold_any(u) || __sync_val_compare_and_swap(&u->ticking, 0, 1))
			return 0;
	}
	WRITE_ONCE(u->ticked_ns, now);
	bpf_timer_start(&u->timer, HOLD_TICK_NS, 0);
	return 0;
}

/* After a slot was taken. False: there is no timer, and what is held would be held for ever. */
static __always_inline bool hold_watch(__u64 now)
{
	__u32 zero = 0;
	struct hold_used *u = bpf_map_lookup_elem(&hold_used, &zero);

	if (!u)
		return false;
	/* One that has not ticked for long is lost. */
	if (__sync_val_compare_and_swap(&u->ticking, 0, 1) && now - READ_ONCE(u->ticked_ns) < HOLD_LOST_NS)
		return true;
	WRITE_ONCE(u->ticked_ns, now);
	bpf_timer_init(&u->timer, &hold_used, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&u->timer, hold_tick);
	if (!bpf_timer_start(&u->timer, HOLD_TICK_NS, 0))
		return true;
	__sync_lock_test_and_set(&u->ticking, 0);
	return false;
}

/* A free slot for the frame; FRAG_HELD_MAX: there is none. */
static __always_inline __u32 hold_take(struct pkt *p, __u32 max)
{
	struct hold_take t;

	t.max = max;
	t.slot = t.found = pkt_zero(p);
	bpf_loop(FRAG_HELD_MAX / 64, hold_take_word, &t, 0);
	return t.found ? t.slot : FRAG_HELD_MAX;
}

/* Holds the fragment. DROP_NONE: it is held, and the skb is to be forgotten; *ret_known: its first one has come meanwhile. */
static __always_inline enum drop_reason hold_enter(ctx_t *ctx, struct pkt *p, __u32 ifindex, bool *ret_known)
{
	struct hold_slot *s;
	struct frag_key key;
	struct frag *f;
	__u32 slot;
	long len;

	if (!control.frag_held)
		return DROP_NAT_FRAGMENT;
	frag_key(p, &key);
	f = frag_make(p, &key, 0);
	if (!f || READ_ONCE(f->n_held) >= HOLD_DATAGRAM)
		return DROP_NAT_FRAG_FULL;
	slot = hold_take(p, control.frag_held);
	s = bpf_map_lookup_elem(&hold_slots, &slot);
	if (!s)
		return DROP_NAT_FRAG_FULL;
	s->ifindex = ifindex;
	s->port = p->in_port;
	s->key = key;
	s->until_ns = pkt_now(p) + control.frag_hold_ms * 1000000ull;
	len = frame_copy(ctx, p, s->data, HOLD_FRAME);
	if (len < 0 || !hold_watch(pkt_now(p))) {
		hold_free(s, slot);
		return DROP_NAT_FRAG_FULL;
	}
	s->len = len;
	WRITE_ONCE(s->state, HOLD_HELD);
	__sync_fetch_and_add(&f->n_held, 1);
	__sync_fetch_and_or(&f->held[(slot >> 6) % (FRAG_HELD_MAX / 64)], 1ULL << (slot & 63));
	*ret_known = READ_ONCE(f->flags) & FRAG_F_PORTS;
	return DROP_NONE;
}

struct hold_send {
	ctx_t *ctx;
	struct frag *f;
	struct frag_key key;
};

/* The frame of a slot in place of the skb's, and in by its port. 0, or -1. */
static __always_inline int hold_emit(ctx_t *ctx, struct hold_slot *s)
{
	__u32 len = s->len;

	asm volatile("" : "+r"(len));
	if (len > HOLD_FRAME)
		return -1;
	asm volatile("" : "+r"(len));
	if (len < HOLD_MIN)
		return -1;
	if (bpf_skb_change_tail(ctx, len, 0) || bpf_skb_store_bytes(ctx, 0, s->data, len, BPF_F_RECOMPUTE_CSUM))
		return -1;
	return bpf_clone_redirect(ctx, s->ifindex, BPF_F_INGRESS) ? -1 : 0;
}

/* One that the datagram's entry has a bit for. */
static long hold_send(__u32 turn, void *arg)
{
	struct hold_send *j = arg;
	struct hold_slot *s;
	__u64 bits = 0;
	__u32 w, slot;

	for (w = 0; w < FRAG_HELD_MAX / 64; w++) {
		bits = READ_ONCE(j->f->held[w]);
		if (bits)
			break;
	}
	if (!bits)
		return 1;
	slot = __builtin_ctzll(bits);
	__sync_fetch_and_and(&j->f->held[w % (FRAG_HELD_MAX / 64)], ~(1ULL << slot));
	slot += w * 64;
	s = bpf_map_lookup_elem(&hold_slots, &slot);
	if (!s || __sync_val_compare_and_swap(&s->state, HOLD_HELD, HOLD_BUSY) != HOLD_HELD)
		return 0;
	if (!addr_equal(&s->key.saddr, &j->key.saddr) || !addr_equal(&s->key.daddr, &j->key.daddr) ||
	    s->key.ip_id != j->key.ip_id || s->key.vrf != j->key.vrf) {
		WRITE_ONCE(s->state, HOLD_HELD);
		return 0;
	}
	if (hold_emit(j->ctx, s))
		hold_dropped(s, DROP_NAT_FRAG_FAILED);
	hold_free(s, slot);
	return 0;
}

/* All that the packet's datagram has, with the skb as their vehicle: its own content is lost. */
static __always_inline void hold_release(ctx_t *ctx, struct pkt *p)
{
	struct hold_send j;

	__builtin_memset(&j, 0, sizeof(j));
	frag_key(p, &j.key);
	j.ctx = ctx;
	j.f = frag_get(p, &j.key);
	if (!j.f || ctx_pull(ctx, ctx_len(ctx)))
		return;
	/* A tag beside the data is in the data of those to come; behind it there may be a second one. */
	if (ctx->vlan_present && bpf_skb_vlan_pop(ctx))
		return;
	if (ctx->vlan_present && bpf_skb_vlan_pop(ctx))
		return;
	WRITE_ONCE(j.f->n_held, 0);
	bpf_loop(FRAG_HELD_MAX, hold_send, &j, 0);
}

/* DROP_NONE: the skb is to be forgotten. */
__noinline_global enum drop_reason hold(ctx_t *ctx, struct pkt *p, __u32 ifindex)
{
	bool known = false;
	enum drop_reason why;

	if (!p)
		return DROP_NAT_FRAGMENT;
	why = hold_enter(ctx, p, ifindex, &known);
	if (why == DROP_NONE && known)
		hold_release(ctx, p);
	return why;
}

/* The first fragment, in again by `ifindex`, and behind it those that waited. DROP_NONE: the skb is to be forgotten. */
__noinline_global enum drop_reason hold_first(ctx_t *ctx, struct pkt *p, __u32 ifindex)
{
	if (!p)
		return DROP_NAT_FRAGMENT;
	if (bpf_clone_redirect(ctx, ifindex, BPF_F_INGRESS))
		return DROP_NAT_FRAG_FAILED;
	hold_release(ctx, p);
	return DROP_NONE;
}

#endif
