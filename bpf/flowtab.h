/* flowtab.h: the hash table of the flows: found by key, inserted, ended.
 *
 * Stands between flow.h and four mmap-ed arrays, which abi.h describes; user/flowtab.c is the same table seen from sluiced. The
 * kernel's own hash costs 200 to 300 ns for a flow that is not in the CPU's caches. Here a look-up reads one line of words, and
 * of the entry whose word fits; most entries stand in the slot that their hash names first, so that the CPU, guessing that,
 * fetches both at once. sluiced walks the flows in memory.
 *
 * Races. An entry is whole before its word says LIVE, and is not given away until FLOW_GRACE after its word says DEAD, so a
 * packet that found it reads and counts this flow and no other. A CPU that is held up for longer than that between finding the
 * entry and its end (a virtual one, by its hypervisor) may count one packet, or send it with the rewrite, of a later flow.
 */
#ifndef SLUICE_FLOWTAB_H
#define SLUICE_FLOWTAB_H

#include <linux/errno.h>
#include "pkt.h"

/* Written by sluiced, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_table);
} flow_table SEC(".maps");

/* Written here and by sluiced, which ends flows. Sizes: set by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flow_words4 SEC(".maps");

/* Written here and by sluiced, which ends flows. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flow_words6 SEC(".maps");

/* Written here, read by sluiced. FLOW_SLOTS for each bucket. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16 * FLOW_SLOTS);
	__type(key, __u32);
	__type(value, struct flow);
} flows4 SEC(".maps");

/* Written here, read by sluiced. FLOW_SLOTS for each bucket. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16 * FLOW_SLOTS);
	__type(key, __u32);
	__type(value, struct flow6);
} flows6 SEC(".maps");

/* The same with another size, while there are such. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_table);
} flow_table_next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flow_words4_next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flow_words6_next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} flows4_next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow6);
} flows6_next SEC(".maps");

/* Which table: the family, and whether it is the next one. A constant wherever it stands. */
#define FLOWTAB_NEXT	  16
#define FLOWTAB_FAMILY(t) ((t) & 15)

#define FLOWTAB_KEY4	   4 /* words of a key */
#define FLOWTAB_KEY6	   10
#define FLOWTAB_LOCK_TRIES 256
#define FLOWTAB_SLOT_TRIES 4
#define FLOWTAB_CANDIDATES 2 /* of one bucket: equal 30 bits of hash come about once in 10^8 full buckets */

#ifdef __clang__
#define FLOWTAB_UNROLL _Pragma("unroll")
#else
#define FLOWTAB_UNROLL
#endif

/* Where a key may stand, and what its word then is. */
struct flowtab_place {
	__u32 first, second; /* buckets */
	__u32 word;	     /* LIVE */
	__u32 home;	     /* the slot to try first */
};

/* ---- the hash */

static __always_inline __u64 flowtab_mix(__u64 h)
{
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

/* Multilinear over 64 bits with secret keys: of two keys chosen without knowing those, the upper half is equal by chance alone
 * (Lemire and Kaser, "Strongly universal string hashing is fast", 2.2). What follows it only spreads the bits. */
static __always_inline __u64 flowtab_hash(const struct flow_table *t, const __u32 *key, __u32 words)
{
	__u64 h = t->hash_key[0];

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < words; i++)
		h += t->hash_key[i + 1] * key[i];
	return flowtab_mix(h);
}

static __always_inline void flowtab_place(__u64 hash, __u32 buckets, struct flowtab_place *ret)
{
	__u32 low = hash;

	ret->first = (hash >> 32) * buckets >> 32;
	ret->second = (__u64)((low ^ low >> 15) * 0x2c1b3c6du) * buckets >> 32;
	ret->word = low << 2 | FLOW_WORD_LIVE;
	ret->home = (low & 0xffff) * FLOW_SLOTS >> 16;
}

/* ---- access, by table: a constant in all that follows */

static __always_inline struct flow_table *flowtab_get(__u8 table)
{
	__u32 zero = 0;

	if (table & FLOWTAB_NEXT)
		return bpf_map_lookup_elem(&flow_table_next, &zero);
	return bpf_map_lookup_elem(&flow_table, &zero);
}

static __always_inline struct flow_bucket *flowtab_bucket(__u8 table, __u32 i)
{
	switch (table) {
	case 4:
		return bpf_map_lookup_elem(&flow_words4, &i);
	case 6:
		return bpf_map_lookup_elem(&flow_words6, &i);
	case 4 | FLOWTAB_NEXT:
		return bpf_map_lookup_elem(&flow_words4_next, &i);
	default:
		return bpf_map_lookup_elem(&flow_words6_next, &i);
	}
}

static __always_inline struct flow *flowtab_at4(__u8 table, __u32 i)
{
	if (table & FLOWTAB_NEXT)
		return bpf_map_lookup_elem(&flows4_next, &i);
	return bpf_map_lookup_elem(&flows4, &i);
}

static __always_inline struct flow6 *flowtab_at6(__u8 table, __u32 i)
{
	if (table & FLOWTAB_NEXT)
		return bpf_map_lookup_elem(&flows6_next, &i);
	return bpf_map_lookup_elem(&flows6, &i);
}

static __always_inline struct flow *flowtab_at(__u8 table, __u32 i)
{
	struct flow6 *f;

	if (FLOWTAB_FAMILY(table) == 4)
		return flowtab_at4(table, i);
	f = flowtab_at6(table, i);
	return f ? &f->flow : NULL;
}

static __always_inline bool flowtab_key_is(__u8 table, __u32 i, const void *key)
{
	const __u64 *want = key, *have;

	if (FLOWTAB_FAMILY(table) == 4) {
		struct flow *f = flowtab_at4(table, i);

		if (!f)
			return false;
		have = (const __u64 *)&f->key4;
		return have[0] == want[0] && have[1] == want[1];
	} else {
		struct flow6 *f = flowtab_at6(table, i);

		if (!f)
			return false;
		have = (const __u64 *)&f->key;
		return have[0] == want[0] && have[1] == want[1] && have[2] == want[2] && have[3] == want[3] && have[4] == want[4];
	}
}

static __always_inline void flowtab_copy(__u64 *to, const __u64 *from, __u32 words)
{
	FLOWTAB_UNROLL
	for (__u32 i = 0; i < words; i++)
		to[i] = from[i];
}

/* Entry `i`, which nobody else looks at, becomes `f` under `key`. */
static __always_inline bool flowtab_fill(__u8 table, __u32 i, const void *key, const struct flow *f)
{
	if (FLOWTAB_FAMILY(table) == 4) {
		struct flow *e = flowtab_at4(table, i);

		if (!e)
			return false;
		flowtab_copy((__u64 *)&e->key4, key, sizeof(e->key4) / 8);
		flowtab_copy((__u64 *)e + 2, (const __u64 *)f + 2, sizeof(*f) / 8 - 2);
	} else {
		struct flow6 *e = flowtab_at6(table, i);

		if (!e)
			return false;
		flowtab_copy((__u64 *)&e->flow, (const __u64 *)f, sizeof(*f) / 8);
		flowtab_copy((__u64 *)&e->key, key, sizeof(e->key) / 8);
	}
	return true;
}

/* ---- a bucket's words. verifier: without branches, so that fifteen words are one path, not 2^15. */

/* A bit for each slot whose word is `word`. */
static __always_inline __u32 flowtab_match(const struct flow_bucket *b, __u32 word)
{
	__u32 mask = 0;

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < FLOW_SLOTS; i++)
		mask |= (__u32)(((__u64)(READ_ONCE(b->word[i]) ^ word) - 1) >> 63) << i;
	return mask;
}

/* verifier: it does not follow the arithmetic that bounds a slot, and the compiler, which does, would leave the check out. */
static __always_inline bool flowtab_is_slot(__u32 *slot)
{
	asm volatile("" : "+r"(*slot));
	return *slot < FLOW_SLOTS;
}

/* CLOCK_MONOTONIC as DEAD words have it. */
static __always_inline __u32 flowtab_stamp(void)
{
	return bpf_ktime_get_coarse_ns() >> FLOW_DEAD_SHIFT;
}

/* 1: the slot is to be had. What sluiced's clock, which is finer, put into the near future is not over yet. */
static __always_inline __u32 flowtab_is_free(__u32 word, __u32 stamp)
{
	__u32 used = word | word >> 1, dead = word & word >> 1;
	__u32 over = ~((stamp - FLOW_GRACE - (word >> 2)) >> 29);

	/* verifier: the compiler would see a comparison in this, and branch. */
	asm volatile("" : "+r"(used));
	return (~used | (dead & over)) & 1;
}

static __always_inline __u32 flowtab_free(const struct flow_bucket *b, __u32 stamp)
{
	__u32 mask = 0;

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < FLOW_SLOTS; i++)
		mask |= flowtab_is_free(READ_ONCE(b->word[i]), stamp) << i;
	return mask;
}

/* ---- finding */

/* Two words at once: false: surely none of them is `word`. Most buckets that are searched, before an insertion, have none. The
 * lock in the last half is never a LIVE word. */
static __always_inline bool flowtab_may_have(const struct flow_bucket *b, __u32 word)
{
	typedef __u64 __attribute__((may_alias)) two;
	const two *pair = (const two *)b->word;
	__u64 want = (__u64)word << 32 | word, zero = 0, x;

	FLOWTAB_UNROLL
	for (__u32 i = 0; i < (FLOW_SLOTS + 1) / 2; i++) {
		x = READ_ONCE(pair[i]) ^ want;
		zero |= (x - 0x0000000100000001ull) & ~x;
	}
	return zero & 0x8000000080000000ull;
}

/* Index of the entry + 1; 0: not in this bucket. */
static __always_inline __u32 flowtab_search_in(__u8 table, __u32 bucket, __u32 word, const void *key)
{
	struct flow_bucket *b = flowtab_bucket(table, bucket);
	__u32 mask, i;

	if (!b || !flowtab_may_have(b, word))
		return 0;
	mask = flowtab_match(b, word);
	FLOWTAB_UNROLL
	for (int n = 0; n < FLOWTAB_CANDIDATES; n++) {
		if (!mask)
			return 0;
		i = bucket * FLOW_SLOTS + __builtin_popcount((mask & -mask) - 1);
		if (flowtab_key_is(table, i, key))
			return i + 1;
		mask &= mask - 1;
	}
	return 0;
}

static __always_inline __u32 flowtab_search(__u8 table, const struct flowtab_place *at, const void *key)
{
	__u32 i = flowtab_search_in(table, at->first, at->word, key);

	return i ? i : flowtab_search_in(table, at->second, at->word, key);
}

/* The entry beside a key's first one, which is the same bucket's most of the time: where it stands when the first slot was taken.
 * On the same page, so it costs one access to memory more, but no search. */
static __always_inline __u32 flowtab_beside(const struct flowtab_place *at)
{
	return (at->first * FLOW_SLOTS + at->home) ^ 1;
}

/* The slot that the hash names first, before all are searched. */
static __always_inline __u32 flowtab_search_home(__u8 table, const struct flowtab_place *at, const void *key)
{
	struct flow_bucket *b = flowtab_bucket(table, at->first);
	__u32 i = at->first * FLOW_SLOTS + at->home;

	if (!b || READ_ONCE(b->word[at->home & 15]) != at->word || !flowtab_key_is(table, i, key))
		return 0;
	return i + 1;
}

static __always_inline bool flowtab_is4(const struct flow *f, __u64 addrs, __u64 rest)
{
	const __u64 *have = (const __u64 *)&f->key4;

	return have[0] == addrs && have[1] == rest && READ_ONCE(f->live);
}

/* The entry of an IPv4 key in the slot that its hash names first, or beside it: one cache line, or two, without their words. The
 * key is given as it stands in memory. NULL: it is not there; it may be elsewhere. */
static __always_inline struct flow *flowtab_home4(__u64 addrs, __u64 rest)
{
	struct flow_table *t = flowtab_get(4);
	struct flowtab_place at;
	struct flow *f;
	__u64 h;

	if (!t)
		return NULL;
	h = flowtab_mix(t->hash_key[0] + t->hash_key[1] * (__u32)addrs + t->hash_key[2] * (addrs >> 32) +
			t->hash_key[3] * (__u32)rest + t->hash_key[4] * (rest >> 32));
	flowtab_place(h, t->buckets4, &at);
	f = flowtab_at(4, at.first * FLOW_SLOTS + at.home);
	if (likely(f && flowtab_is4(f, addrs, rest)))
		return f;
	f = flowtab_at(4, flowtab_beside(&at));
	return f && flowtab_is4(f, addrs, rest) ? f : NULL;
}

/* Index of the entry + 1; 0: there is none. `table`: of IPv4. */
static __always_inline __u32 flowtab_find_in4(__u8 table, const struct flow_key4 *key)
{
	struct flow_table *t = flowtab_get(table);
	struct flowtab_place at;
	__u32 i;

	if (!key || !t)
		return 0;
	flowtab_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY4), t->buckets4, &at);
	i = flowtab_search_home(table, &at, key);
	return likely(i) ? i : flowtab_search(table, &at, key);
}

static __always_inline __u32 flowtab_find_in6(__u8 table, const struct flow_key6 *key)
{
	struct flow_table *t = flowtab_get(table);
	struct flowtab_place at;
	__u32 i;

	if (!key || !t)
		return 0;
	flowtab_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY6), t->buckets6, &at);
	i = flowtab_search_home(table, &at, key);
	return likely(i) ? i : flowtab_search(table, &at, key);
}

__noinline_global __u32 flowtab_find4(const struct flow_key4 *key)
{
	return flowtab_find_in4(4, key);
}

__noinline_global __u32 flowtab_find6(const struct flow_key6 *key)
{
	return flowtab_find_in6(6, key);
}

__noinline_global __u32 flowtab_find4_next(const struct flow_key4 *key)
{
	return cfg_resize ? flowtab_find_in4(4 | FLOWTAB_NEXT, key) : 0;
}

__noinline_global __u32 flowtab_find6_next(const struct flow_key6 *key)
{
	return cfg_resize ? flowtab_find_in6(6 | FLOWTAB_NEXT, key) : 0;
}

/* ---- fetching ahead */

/* A load that nobody waits for: the line is under way while other work is done, and several are at once. A locked instruction
 * would wait for each of them by itself. */
#define flowtab_touch(x)                                                                                                         \
	do {                                                                                                                     \
		typeof(x) touched = READ_ONCE(x);                                                                                \
		asm volatile("" : : "r"(touched));                                                                               \
	} while (0)

/* Where a key is most likely to stand once it is inserted. */
static __always_inline void flowtab_ahead(__u8 table, const struct flowtab_place *at)
{
	struct flow_bucket *b = flowtab_bucket(table, at->first), *second = flowtab_bucket(table, at->second);
	struct flow *f = flowtab_at(table, at->first * FLOW_SLOTS + at->home);

	if (!b || !second || !f)
		return;
	flowtab_touch(b->lock);
	flowtab_touch(second->lock);
	flowtab_touch(f->live);
	flowtab_touch(f->created_ns);
}

/* The key will be inserted in a moment. */
__noinline_global int flowtab_ahead4(const struct flow_key4 *key)
{
	struct flow_table *t = flowtab_get(4);
	struct flowtab_place at;

	if (!key || !t)
		return 0;
	flowtab_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY4), t->buckets4, &at);
	flowtab_ahead(4, &at);
	return 0;
}

__noinline_global int flowtab_ahead6(const struct flow_key6 *key)
{
	struct flow_table *t = flowtab_get(6);
	struct flowtab_place at;

	if (!key || !t)
		return 0;
	flowtab_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY6), t->buckets6, &at);
	flowtab_ahead(6, &at);
	return 0;
}

/* ---- inserting */

/* Two CPUs that insert the same key do so one after the other: it has one first bucket. Others wait for nobody: a slot is taken
 * by compare-and-swap. Held for a fraction of a microsecond; the wait is bounded all the same, for a CPU that its hypervisor has
 * stopped may be the holder. */
__noinline_global int flowtab_lock(struct flow_bucket *b)
{
	if (!b)
		return -EBUSY;
	for (int i = 0; i < FLOWTAB_LOCK_TRIES; i++)
		if (!__sync_val_compare_and_swap(&b->lock, 0, 1))
			return 0;
	return -EBUSY;
}

static __always_inline void flowtab_unlock(struct flow_bucket *b)
{
	__sync_lock_test_and_set(&b->lock, 0);
}

/* True: the slot was free, and is BUSY now. */
static __always_inline bool flowtab_claim(struct flow_bucket *b, __u32 slot, __u32 stamp)
{
	__u32 word = READ_ONCE(b->word[slot]);

	return flowtab_is_free(word, stamp) && __sync_val_compare_and_swap(&b->word[slot], word, FLOW_WORD_BUSY) == word;
}

/* `now_ns`: CLOCK_MONOTONIC; 0: it is asked. Takes a slot for a key: in its first bucket, but for one that is rather
 * full and fuller than the second; there the one that its hash names first, where it is found soonest, else the slot beside that.
 * Who took the first slot however full its bucket is would fill buckets so unevenly that a table refuses at nine tenths of its
 * size. Index of its entry + 1; 0: none is free. */
__noinline_global __u32 flowtab_take(const struct flowtab_place *at, struct flow_bucket *first, struct flow_bucket *second,
				     __u64 now_ns)
{
	__u32 stamp = now_ns ? now_ns >> FLOW_DEAD_SHIFT : flowtab_stamp(), bucket, free, other, slot;
	struct flow_bucket *b;

	if (!at || !first || !second)
		return 0;
	slot = at->home & 15;
	/* Two words tell most of the time that the first bucket is not full yet, without counting. */
	if (!flowtab_is_slot(&slot))
		return 0;
	if (!(READ_ONCE(first->word[FLOW_SLOTS / 2]) && READ_ONCE(first->word[FLOW_SLOTS - 1])) &&
	    flowtab_claim(first, slot, stamp))
		return at->first * FLOW_SLOTS + slot + 1;
	for (int i = 0; i < FLOWTAB_SLOT_TRIES; i++) {
		b = first;
		bucket = at->first;
		free = flowtab_free(first, stamp);
		if (FLOW_SLOTS - __builtin_popcount(free) >= FLOW_FIRST_USED) {
			other = flowtab_free(second, stamp);
			if (__builtin_popcount(other) > __builtin_popcount(free)) {
				b = second;
				bucket = at->second;
				free = other;
			}
		}
		if (!free)
			return 0;
		slot = at->home & 15;
		if (bucket != at->first || !(free >> slot & 1)) {
			slot = flowtab_beside(at) - bucket * FLOW_SLOTS;
			if (!flowtab_is_slot(&slot) || !(free >> slot & 1))
				slot = __builtin_popcount((free & -free) - 1);
		}
		if (!flowtab_is_slot(&slot))
			return 0;
		if (flowtab_claim(b, slot, stamp))
			return bucket * FLOW_SLOTS + slot + 1;
	}
	return 0;
}

/* The entry's word from BUSY to LIVE. A full barrier: the entry is there before its word is. */
static __always_inline void flowtab_publish(__u8 table, __u32 i, __u32 word)
{
	struct flow_bucket *b = flowtab_bucket(table, i / FLOW_SLOTS);
	struct flow *f = flowtab_at(table, i);
	__u32 slot = i % FLOW_SLOTS;

	if (!b || !f || !flowtab_is_slot(&slot))
		return;
	__sync_lock_test_and_set(&b->word[slot], word);
	WRITE_ONCE(f->live, 1);
}

/* With the first bucket's lock held. */
static __always_inline long flowtab_put_locked(__u8 table, const struct flowtab_place *at, struct flow_bucket *first,
					       const void *key, const struct flow *f)
{
	struct flow_bucket *second = flowtab_bucket(table, at->second);
	__u32 i;

	if (!second)
		return -E2BIG;
	if (flowtab_search(table, at, key))
		return -EEXIST;
	i = flowtab_take(at, first, second, f->created_ns);
	if (!i || !flowtab_fill(table, i - 1, key, f))
		return -E2BIG;
	flowtab_publish(table, i - 1, at->word);
	return i;
}

static __always_inline long flowtab_put(__u8 table, const struct flowtab_place *at, const void *key, const struct flow *f)
{
	struct flow_bucket *first = flowtab_bucket(table, at->first);
	long err;

	if (!first)
		return -E2BIG;
	if (flowtab_lock(first))
		return -EBUSY;
	err = flowtab_put_locked(table, at, first, key, f);
	flowtab_unlock(first);
	return err;
}

/* Index of the entry + 1; -EEXIST; -E2BIG: no room; -EBUSY: another CPU inserts, and does not come to an end. */
static __always_inline int flowtab_insert_in4(__u8 table, const struct flow_key4 *key, const struct flow *f)
{
	struct flow_table *t = flowtab_get(table);
	struct flowtab_place at;

	if (!key || !f || !t)
		return -E2BIG;
	flowtab_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY4), t->buckets4, &at);
	return flowtab_put(table, &at, key, f);
}

static __always_inline int flowtab_insert_in6(__u8 table, const struct flow_key6 *key, const struct flow *f)
{
	struct flow_table *t = flowtab_get(table);
	struct flowtab_place at;

	if (!key || !f || !t)
		return -E2BIG;
	flowtab_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY6), t->buckets6, &at);
	return flowtab_put(table, &at, key, f);
}

__noinline_global int flowtab_insert4(const struct flow_key4 *key, const struct flow *f)
{
	return flowtab_insert_in4(4, key, f);
}

__noinline_global int flowtab_insert6(const struct flow_key6 *key, const struct flow *f)
{
	return flowtab_insert_in6(6, key, f);
}

__noinline_global int flowtab_insert4_next(const struct flow_key4 *key, const struct flow *f)
{
	return cfg_resize ? flowtab_insert_in4(4 | FLOWTAB_NEXT, key, f) : -E2BIG;
}

__noinline_global int flowtab_insert6_next(const struct flow_key6 *key, const struct flow *f)
{
	return cfg_resize ? flowtab_insert_in6(6 | FLOWTAB_NEXT, key, f) : -E2BIG;
}

/* ---- ending */

/* `i`: the entry's index. `early`: its slot is wanted soon. */
static __always_inline void flowtab_kill(__u8 table, __u32 i, bool early)
{
	struct flow_bucket *b = flowtab_bucket(table, i / FLOW_SLOTS);
	struct flow *f = flowtab_at(table, i);
	__u32 slot = i % FLOW_SLOTS, word, stamp = flowtab_stamp() - (early ? FLOW_GRACE - FLOW_GRACE_EARLY : 0);

	if (!b || !f || !flowtab_is_slot(&slot))
		return;
	word = READ_ONCE(b->word[slot]);
	if ((word & FLOW_WORD_STATE) == FLOW_WORD_LIVE &&
	    __sync_val_compare_and_swap(&b->word[slot], word, stamp << 2 | FLOW_WORD_DEAD) == word)
		WRITE_ONCE(f->live, 0);
}

#endif
