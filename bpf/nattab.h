/* nattab.h: the table of NAT's mappings: found by the inside address and port, or by the outside port; made, ended.
 *
 * Stands between nat_map.h, which says what a mapping means, and three mmap-ed arrays, which abi.h describes; user/nattab.c is
 * the same table seen from sluiced. A first packet reads one line of words to learn that it has no mapping, and writes its entry,
 * its word and its way, a cache line each; the kernel's hash took two allocations, two locks and two long keys for that.
 *
 * Races. An entry is whole before its word says LIVE, and is not given away until FLOW_GRACE (who gave way: FLOW_GRACE_EARLY)
 * after its word says DEAD, so whoever found it reads this mapping and no other; nat_map.h says what becomes of one that ends in
 * that instant. Two CPUs that insert one key do so one after the other, see nattab_insert_in(). A CPU that is held up for longer
 * than the grace (a virtual one, by its hypervisor) may join a later mapping: see nat_mapping_end().
 */
#ifndef SLUICE_NATTAB_H
#define SLUICE_NATTAB_H

#include <linux/errno.h>
#include "pkt.h"
#include "counter.h"
#include "flowtab.h"
#include "iface.h"
#include "pool.h"

/* Written here and by sluiced. Sizes: set by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct nat_bucket);
} nat_words SEC(".maps");

/* Written here and by sluiced. NAT_SLOTS for each bucket. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16 * NAT_SLOTS);
	__type(key, __u32);
	__type(value, struct nat_mapping);
} nat_mappings SEC(".maps");

/* Written here and by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct nat_line);
} nat_ways SEC(".maps");

/* The same with another size, while sluiced moves there: see flowtab.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_bucket);
} nat_words_next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_mapping);
} nat_mappings_next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_line);
} nat_ways_next SEC(".maps");

#define NATTAB_KEY_WORDS  7  /* of 32 bits; the eighth is never used */
#define NATTAB_FIRST_USED 10 /* as FLOW_FIRST_USED */
#define NATTAB_LINE_USED  6
#define NATTAB_TRIES	  2
#define NATTAB_LOCK_TRIES 128

/* Where a key may stand, and what its word then is. */
struct nattab_place {
	__u32 first, second; /* buckets */
	__u32 word;	     /* LIVE */
	__u32 home;	     /* the slot to try first */
	__u32 lock;	     /* of the first bucket, before it was searched */
};

/* ---- access. Here and below `next`, a constant, tells which of the tables. */

static __always_inline struct nat_bucket *nattab_bucket(bool next, __u32 i)
{
	return next ? bpf_map_lookup_elem(&nat_words_next, &i) : bpf_map_lookup_elem(&nat_words, &i);
}

static __always_inline struct nat_mapping *nattab_at(bool next, __u32 i)
{
	return next ? bpf_map_lookup_elem(&nat_mappings_next, &i) : bpf_map_lookup_elem(&nat_mappings, &i);
}

static __always_inline struct nat_line *nattab_line(bool next, __u32 i)
{
	return next ? bpf_map_lookup_elem(&nat_ways_next, &i) : bpf_map_lookup_elem(&nat_ways, &i);
}

static __always_inline struct flow_table *nattab_head(bool next)
{
	return flowtab_get(next ? 4 | FLOWTAB_NEXT : 4);
}

/* verifier: as flowtab_is_slot(). */
static __always_inline bool nattab_is_slot(__u32 *slot)
{
	asm volatile("" : "+r"(*slot));
	return *slot < NAT_SLOTS;
}

static __always_inline bool nattab_is_live(bool next, __u32 i)
{
	struct nat_bucket *b = nattab_bucket(next, i / NAT_SLOTS);
	__u32 slot = i % NAT_SLOTS;

	return b && nattab_is_slot(&slot) && (READ_ONCE(b->word[slot]) & FLOW_WORD_STATE) == FLOW_WORD_LIVE;
}

/* Two places among n of each kind, by the two halves of a hash. */
static __always_inline __u32 nattab_first(__u64 hash, __u32 n)
{
	return (hash >> 32) * n >> 32;
}

static __always_inline __u32 nattab_second(__u64 hash, __u32 n)
{
	__u32 low = hash;

	return (__u64)((low ^ low >> 15) * 0x2c1b3c6du) * n >> 32;
}

/* ---- from inside */

static __always_inline void nattab_place(const struct flow_table *t, const struct nat_mapping_key *key, struct nattab_place *ret)
{
	__u64 h = flowtab_hash(t, (const __u32 *)key, NATTAB_KEY_WORDS);
	__u32 low = h;

	ret->first = nattab_first(h, t->nat_buckets);
	ret->second = nattab_second(h, t->nat_buckets);
	ret->word = low << 2 | FLOW_WORD_LIVE;
	ret->home = (low & 0xffff) * NAT_SLOTS >> 16;
}

static __always_inline bool nattab_key_is(bool next, __u32 i, const struct nat_mapping_key *key)
{
	const struct nat_mapping *m = nattab_at(next, i);
	const __u64 *want = (const __u64 *)key, *have;

	if (!m)
		return false;
	have = (const __u64 *)&m->inside;
	return have[0] == want[0] && have[1] == want[1] && have[2] == want[2] && have[3] == want[3];
}

/* Two words at once: false: surely none of them is `word`, which is the rule for who looks for a mapping. The lock in the last
 * half would have to be the word's equal. */
static __always_inline bool nattab_may_have(const struct nat_bucket *b, __u32 word)
{
	typedef __u64 __attribute__((may_alias)) two;
	const two *pair = (const two *)b->word;
	__u64 want = (__u64)word << 32 | word, zero = 0, x;

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < (NAT_SLOTS + 1) / 2; i++) {
		x = READ_ONCE(pair[i]) ^ want;
		zero |= (x - 0x0000000100000001ull) & ~x;
	}
	return zero & 0x8000000080000000ull;
}

/* A bit for each slot whose word is `word`. verifier: without branches, as in flowtab.h. */
static __always_inline __u32 nattab_match(const struct nat_bucket *b, __u32 word)
{
	__u32 mask = 0;

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < NAT_SLOTS; i++)
		mask |= (__u32)(((__u64)(READ_ONCE(b->word[i]) ^ word) - 1) >> 63) << i;
	return mask;
}

/* Index of the mapping + 1; 0: not in this bucket. */
static __always_inline __u32 nattab_search_in(bool next, __u32 bucket, __u32 word, const struct nat_mapping_key *key)
{
	struct nat_bucket *b = nattab_bucket(next, bucket);
	__u32 mask, i;

	if (!b || likely(!nattab_may_have(b, word)))
		return 0;
	mask = nattab_match(b, word);
	FLOWTAB_UNROLL
	for (int n = 0; n < FLOWTAB_CANDIDATES; n++) {
		if (!mask)
			return 0;
		i = bucket * NAT_SLOTS + __builtin_popcount((mask & -mask) - 1);
		if (nattab_key_is(next, i, key))
			return i + 1;
		mask &= mask - 1;
	}
	return 0;
}

static __always_inline __u32 nattab_search(bool next, const struct nattab_place *at, const struct nat_mapping_key *key)
{
	__u32 i = nattab_search_in(next, at->first, at->word, key);

	return i || !(at->lock & NAT_LOCK_SPILLED) ? i : nattab_search_in(next, at->second, at->word, key);
}

static __always_inline __u32 nattab_find_in(bool next, const struct nat_mapping_key *key, struct nattab_place *ret_at)
{
	struct flow_table *t = nattab_head(next);
	struct nattab_place at;
	struct nat_bucket *b;
	__u32 i;

	if (!key || !ret_at || !t)
		return 0;
	nattab_place(t, key, &at);
	b = nattab_bucket(next, at.first);
	if (!b)
		return 0;
	at.lock = READ_ONCE(b->lock);
	*ret_at = at;
	i = at.first * NAT_SLOTS + at.home;
	if (READ_ONCE(b->word[at.home & 15]) == at.word && nattab_key_is(next, i, key))
		return i + 1;
	return nattab_search(next, &at, key);
}

/* Index of the mapping + 1; 0: there is none. *ret_at is for nattab_insert(), should one be made. */
__noinline_global __u32 nattab_find(const struct nat_mapping_key *key, struct nattab_place *ret_at)
{
	return nattab_find_in(false, key, ret_at);
}

__noinline_global __u32 nattab_find_next(const struct nat_mapping_key *key, struct nattab_place *ret_at)
{
	return cfg_resize ? nattab_find_in(true, key, ret_at) : 0;
}

/* ---- from outside */

static __always_inline __u64 nattab_way_hash(const struct flow_table *t, __u32 way)
{
	return flowtab_mix(t->hash_key[0] + t->hash_key[1] * way);
}

/* A bit for each place of the line with `way`, or for each free one. */
static __always_inline __u32 nattab_way_mask(const struct nat_line *l, __u64 want, __u64 bits)
{
	__u32 mask = 0;

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < NAT_WAYS; i++) {
		__u64 x = (READ_ONCE(l->way[i]) ^ want) & bits;

		mask |= (__u32)(~(x | -x) >> 63) << i;
	}
	return mask;
}

/* The lowest of a mask's bits. verifier: as nattab_is_slot(). */
static __always_inline __u32 nattab_way_lowest(__u32 mask)
{
	__u32 i = __builtin_popcount((mask & -mask) - 1);

	asm volatile("" : "+r"(i));
	return i & (NAT_WAYS - 1);
}

static __always_inline __u32 nattab_way_in(bool next, __u32 line, __u32 way)
{
	struct nat_line *l = nattab_line(next, line);
	__u32 mask;

	if (!l)
		return 0;
	mask = nattab_way_mask(l, way, 0xffffffff);
	return mask ? READ_ONCE(l->way[nattab_way_lowest(mask)]) >> 32 : 0;
}

/* Whose an outside port is, by NAT_WAY(): index of the mapping + 1; 0: nobody's. */
static __always_inline __u32 nattab_find_way_in(bool next, __u32 way)
{
	struct flow_table *t = nattab_head(next);
	struct nat_mapping *m;
	__u32 i;
	__u64 h;

	if (!t)
		return 0;
	h = nattab_way_hash(t, way);
	i = nattab_way_in(next, nattab_first(h, t->nat_lines), way);
	if (!i)
		i = nattab_way_in(next, nattab_second(h, t->nat_lines), way);
	if (!i || !nattab_is_live(next, i - 1))
		return 0;
	m = nattab_at(next, i - 1);
	return m && bpf_ntohs(m->port) == (way & 0xffff) && m->pool_addr == way >> 18 ? i : 0;
}

__noinline_global __u32 nattab_find_way(__u32 way)
{
	return nattab_find_way_in(false, way);
}

__noinline_global __u32 nattab_find_way_next(__u32 way)
{
	return cfg_resize ? nattab_find_way_in(true, way) : 0;
}

/* Into the line that its hash names first, where there is room; else into the emptier one. False: both are full. */
static __always_inline bool nattab_way_set(bool next, const struct flow_table *t, __u64 way)
{
	__u64 h = nattab_way_hash(t, way);
	struct nat_line *first = nattab_line(next, nattab_first(h, t->nat_lines)),
			*second = nattab_line(next, nattab_second(h, t->nat_lines)), *l;
	__u32 free, other;

	if (!first || !second)
		return false;
	free = h & (NAT_WAYS - 1);
	if (!READ_ONCE(first->way[free]) && !__sync_val_compare_and_swap(&first->way[free], 0, way))
		return true;
	for (int i = 0; i < NATTAB_TRIES; i++) {
		l = first;
		free = nattab_way_mask(first, 0, ~0ull);
		if (NAT_WAYS - __builtin_popcount(free) >= NATTAB_LINE_USED) {
			other = nattab_way_mask(second, 0, ~0ull);
			if (__builtin_popcount(other) > __builtin_popcount(free)) {
				l = second;
				free = other;
			}
		}
		if (!free)
			return false;
		free = nattab_way_lowest(free);
		if (!__sync_val_compare_and_swap(&l->way[free], 0, way))
			return true;
	}
	return false;
}

static __always_inline bool nattab_way_clear_in(bool next, __u32 line, __u64 way)
{
	struct nat_line *l = nattab_line(next, line);
	__u32 mask = l ? nattab_way_mask(l, way, ~0ull) : 0;

	if (!mask || !l)
		return false;
	__sync_val_compare_and_swap(&l->way[nattab_way_lowest(mask)], way, 0);
	return true;
}

/* ---- inserting */

/* The lines that nattab_insert() will write. */
static __always_inline void nattab_ahead(const struct nattab_place *at, __u32 way)
{
	struct nat_mapping *e = nattab_at(false, at->first * NAT_SLOTS + at->home);
	struct flow_table *t = nattab_head(false);
	struct nat_line *l = t ? nattab_line(false, nattab_first(nattab_way_hash(t, way), t->nat_lines)) : NULL;

	if (!e || !l)
		return;
	flowtab_touch(e->pool_addr);
	flowtab_touch(l->way[0]);
}

/* The lock, held; with a bound, for the holder may be a CPU that its hypervisor has stopped. */
__noinline_global int nattab_lock(struct nat_bucket *b)
{
	if (!b)
		return -EBUSY;
	for (int i = 0; i < NATTAB_LOCK_TRIES; i++) {
		__u32 open = READ_ONCE(b->lock) & ~NAT_LOCK_HELD;

		if (__sync_val_compare_and_swap(&b->lock, open, open | NAT_LOCK_HELD) == open)
			return 0;
	}
	return -EBUSY;
}

static __always_inline __u32 nattab_free(const struct nat_bucket *b, __u32 stamp)
{
	__u32 mask = 0;

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < NAT_SLOTS; i++)
		mask |= flowtab_is_free(READ_ONCE(b->word[i]), stamp) << i;
	return mask;
}

static __always_inline bool nattab_claim(struct nat_bucket *b, __u32 slot, __u32 stamp)
{
	__u32 word = READ_ONCE(b->word[slot]);

	return flowtab_is_free(word, stamp) && __sync_val_compare_and_swap(&b->word[slot], word, FLOW_WORD_BUSY) == word;
}

/* A slot for a key in one of its buckets, as flowtab_take(). Index + 1; 0: none is free. */
__noinline_global __u32 nattab_take(const struct nattab_place *at, struct nat_bucket *first, struct nat_bucket *second,
				    __u64 now_ns)
{
	__u32 stamp = now_ns >> FLOW_DEAD_SHIFT, free, other, slot;
	struct nat_bucket *b;

	if (!at || !first || !second)
		return 0;
	slot = at->home & 15;
	if (!nattab_is_slot(&slot))
		return 0;
	if (!(READ_ONCE(first->word[NAT_SLOTS / 2]) && READ_ONCE(first->word[NAT_SLOTS - 1])) && nattab_claim(first, slot, stamp))
		return at->first * NAT_SLOTS + slot + 1;
	for (int i = 0; i < NATTAB_TRIES; i++) {
		b = first;
		free = nattab_free(first, stamp);
		if (NAT_SLOTS - __builtin_popcount(free) >= NATTAB_FIRST_USED) {
			other = nattab_free(second, stamp);
			if (__builtin_popcount(other) > __builtin_popcount(free)) {
				b = second;
				free = other;
			}
		}
		if (!free)
			return 0;
		slot = at->home & 15;
		if (b != first || !(free >> slot & 1))
			slot = __builtin_popcount((free & -free) - 1);
		if (!nattab_is_slot(&slot))
			return 0;
		if (nattab_claim(b, slot, stamp))
			return (b == first ? at->first : at->second) * NAT_SLOTS + slot + 1;
	}
	return 0;
}

static __always_inline void nattab_write(struct nat_mapping *e, const struct pkt *p, const struct nat_mapping_key *key)
{
	struct iface *i;

	flowtab_copy((__u64 *)&e->inside, (const __u64 *)key, sizeof(*key) / 8);
	e->used_ns = p->now_ns;
	e->opened = cfg_resize ? 2 : 1;
	e->pool_addr = p->pool_addr;
	e->port = p->to.sport;
	e->out_iface = p->hairpin ? p->hairpin : p->out_iface;
	i = iface_get(e->out_iface);
	e->out_vrf = i ? i->vrf : p->vrf;
	e->rule = p->nat_rule;
	e->filtering = p->nat_filtering;
}

/* Slot `i`, which is BUSY: the entry, its way, then its word. A full barrier: both are there before the word is. */
static __always_inline bool nattab_fill(bool next, __u32 i, const struct pkt *p, const struct nat_mapping_key *key,
					const struct nattab_place *at)
{
	struct nat_bucket *b = nattab_bucket(next, i / NAT_SLOTS);
	struct flow_table *t = nattab_head(next);
	struct nat_mapping *e = nattab_at(next, i);
	__u32 slot = i % NAT_SLOTS;
	bool known;

	if (!b || !t || !e)
		return false;
	nattab_write(e, p, key);
	known = nattab_way_set(next, t,
			       (__u64)(i + 1) << 32 | NAT_WAY(p->pool_addr, pool_class(p->l4_proto), bpf_ntohs(p->to.sport)));
	/* verifier: here, since 6.1 forgets the bound when the slot has been on the stack in between. */
	if (!nattab_is_slot(&slot))
		return false;
	__sync_lock_test_and_set(&b->word[slot], at->word);
	if (!known)
		count_stat(STAT_NAT_OUTSIDE_FULL, 1);
	return true;
}

/* Under the first bucket's lock, which counts those that were inserted: as long as it says what it said when the key was not
 * found, the key is still not there, and it is not searched for a second time. Whoever loses finds the winner's mapping: -EEXIST.
 */
static __always_inline int nattab_insert_in(bool next, const struct pkt *p, const struct nat_mapping_key *key,
					    const struct nattab_place *at)
{
	struct nat_bucket *first = nattab_bucket(next, at->first), *second = nattab_bucket(next, at->second);
	__u32 i, lock;
	int err = -E2BIG;

	if (!first || !second)
		return -E2BIG;
	if (at->lock & NAT_LOCK_HELD ||
	    __sync_val_compare_and_swap(&first->lock, at->lock, at->lock | NAT_LOCK_HELD) != at->lock) {
		if (nattab_lock(first))
			return -EBUSY;
		if (nattab_search_in(next, at->first, at->word, key) || nattab_search_in(next, at->second, at->word, key))
			err = -EEXIST;
	}
	lock = READ_ONCE(first->lock);
	if (err != -EEXIST) {
		i = nattab_take(at, first, second, p->now_ns);
		if (i && nattab_fill(next, i - 1, p, key, at))
			err = 0;
		if (i && (i - 1) / NAT_SLOTS != at->first)
			lock |= NAT_LOCK_SPILLED;
	}
	WRITE_ONCE(first->lock, (lock & ~NAT_LOCK_HELD) + NAT_LOCK_STEP);
	return err;
}

/* The packet's source, `key`, gets the address and port that the packet is to leave with. `at`: what nattab_find() has said of
 * the key. 0; -EEXIST; -E2BIG: no room; -EBUSY: another CPU inserts, and does not come to an end. */
__noinline_global int nattab_insert(const struct pkt *p, const struct nat_mapping_key *key, const struct nattab_place *at)
{
	return p && key && at ? nattab_insert_in(false, p, key, at) : -E2BIG;
}

__noinline_global int nattab_insert_next(const struct pkt *p, const struct nat_mapping_key *key, const struct nattab_place *at)
{
	return cfg_resize && p && key && at ? nattab_insert_in(true, p, key, at) : -E2BIG;
}

/* ---- ending */

/* Mapping `i` is found no more, neither way. */
static __always_inline void nattab_kill_in(bool next, __u32 i, bool early)
{
	struct nat_bucket *b = nattab_bucket(next, i / NAT_SLOTS);
	struct nat_mapping *m = nattab_at(next, i);
	struct flow_table *t = nattab_head(next);
	__u32 slot = i % NAT_SLOTS, word, stamp = flowtab_stamp() - (early ? FLOW_GRACE - FLOW_GRACE_EARLY : 0);
	__u64 way, h;

	if (!b || !m || !t || !nattab_is_slot(&slot))
		return;
	word = READ_ONCE(b->word[slot]);
	way = (__u64)(i + 1) << 32 | NAT_WAY(m->pool_addr, pool_class(m->inside.proto), bpf_ntohs(m->port));
	if ((word & FLOW_WORD_STATE) != FLOW_WORD_LIVE ||
	    __sync_val_compare_and_swap(&b->word[slot], word, stamp << 2 | FLOW_WORD_DEAD) != word)
		return;
	h = nattab_way_hash(t, (__u32)way);
	if (!nattab_way_clear_in(next, nattab_first(h, t->nat_lines), way))
		nattab_way_clear_in(next, nattab_second(h, t->nat_lines), way);
}

/* `early`: its slot is wanted soon. */
__noinline_global int nattab_kill(__u32 i, __u32 early)
{
	nattab_kill_in(false, i, early);
	return 0;
}

__noinline_global int nattab_kill_next(__u32 i)
{
	if (cfg_resize)
		nattab_kill_in(true, i, false);
	return 0;
}

#endif
