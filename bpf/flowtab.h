/* flowtab.h: the hash table of the flows: found by key, inserted, ended.
 *
 * Stands between flow.h and four mmap-ed arrays, which abi.h describes; user/flowtab.c is the same table seen from sluiced. The
 * kernel's own hash costs 200 to 300 ns for a flow that is not in the CPU's caches. Here a look-up reads one line of words, and
 * of the entry whose word fits; most entries stand in the slot that their hash names first, so that the CPU, guessing that,
 * fetches both at once. sluiced walks the flows in memory.
 *
 * Races. An entry is whole before its word says LIVE, and is not given away until WORD_GRACE after its word says DEAD, so a
 * packet that found it reads and counts this flow and no other. A CPU that is held up for longer than that between finding the
 * entry and its end (a virtual one, by its hypervisor) may count one packet, or send it with the rewrite, of a later flow.
 */
#ifndef SLUICE_FLOWTAB_H
#define SLUICE_FLOWTAB_H

#include "pkt.h"
#include "bucket.h"

/* Written by sluiced, read here. */
SHARED_ONE(flow_table, struct flow_table);

/* Written here and by sluiced, which ends flows. Sizes: set by sluiced. */
SHARED_ARRAY(flow_words4, struct bucket, 16);

/* Written here and by sluiced, which ends flows. */
SHARED_ARRAY(flow_words6, struct bucket, 16);

/* Written here, read by sluiced. BUCKET_SLOTS for each bucket. */
SHARED_ARRAY(flows4, struct flow, 16 * BUCKET_SLOTS);

/* Written here, read by sluiced. BUCKET_SLOTS for each bucket. */
SHARED_ARRAY(flows6, struct flow6, 16 * BUCKET_SLOTS);

/* The same with another size, while there are such. */
SHARED_ONE(flow_table_next, struct flow_table);

SHARED_ARRAY(flow_words4_next, struct bucket, 1);

SHARED_ARRAY(flow_words6_next, struct bucket, 1);

SHARED_ARRAY(flows4_next, struct flow, 1);

SHARED_ARRAY(flows6_next, struct flow6, 1);

/* Which table: the family, and whether it is the next one. A constant wherever it stands. */
#define FLOWTAB_NEXT	  16
#define FLOWTAB_FAMILY(t) ((t) & 15)

#define FLOWTAB_KEY4 4 /* words of a key */
#define FLOWTAB_KEY6 10

/* ---- the hash */

/* Multilinear over 64 bits with secret keys: of two keys chosen without knowing those, the upper half is equal by chance alone
 * (Lemire and Kaser, "Strongly universal string hashing is fast", 2.2). What follows it only spreads the bits. */
static __always_inline __u64 flowtab_hash(const struct flow_table *t, const __u32 *key, __u32 words)
{
	__u64 h = t->hash_key[0];

	BUCKET_UNROLL
	for (__u32 i = 0; i < words; i++)
		h += t->hash_key[i + 1] * key[i];
	return bucket_mix(h);
}

/* ---- access, by table: a constant in all that follows */

static __always_inline struct flow_table *flowtab_get(__u8 table)
{
	return table & FLOWTAB_NEXT ? &flow_table_next : &flow_table;
}

static __always_inline struct bucket *flowtab_bucket(__u8 table, __u32 i)
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
	BUCKET_UNROLL
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

/* ---- finding */

/* A load that nobody waits for: the line is under way while other work is done, and several are at once. A locked instruction
 * would wait for each of them by itself. */
#define flowtab_touch(x)                                                                                                         \
	do {                                                                                                                     \
		typeof(x) touched = READ_ONCE(x);                                                                                \
		asm volatile("" : : "r"(touched));                                                                               \
	} while (0)

/* Where a key stands that is in none of the slots that are tried first. */
static __always_inline __u32 flowtab_search(__u8 table, const struct bucket_place *at, struct bucket *near, const void *key)
{
	__u32 i = bucket_search(near, at->near, at->word, flowtab_key_is, table, key), lock, bucket;
	struct bucket *first;

	if (i)
		return i;
	lock = READ_ONCE(near->lock);
	if (!(lock & BUCKET_SPILLED))
		return 0;
	if (at->first != at->near) {
		first = flowtab_bucket(table, bucket_after(at->first, lock));
		i = bucket_search(first, at->first, at->word, flowtab_key_is, table, key);
		if (i || !first)
			return i;
		lock = READ_ONCE(first->lock);
		if (!(lock & BUCKET_SPILLED))
			return 0;
	}
	bucket = bucket_after(at->second, lock);
	return bucket_search(flowtab_bucket(table, bucket), bucket, at->word, flowtab_key_is, table, key);
}

/* The slot that the hash names in a bucket, by its word. */
static __always_inline bool flowtab_is_home(__u8 table, const struct bucket_place *at, __u32 bucket, const struct bucket *b,
					    const void *key)
{
	return b && READ_ONCE(b->word[at->home & 15]) == at->word && flowtab_key_is(table, bucket_home(at, bucket), key);
}

/* The slots that the hash names, before all are searched. */
static __always_inline __u32 flowtab_look(__u8 table, const struct bucket_place *at, const void *key)
{
	struct bucket *near = flowtab_bucket(table, at->near);

	if (!near)
		return 0;
	if (likely(flowtab_is_home(table, at, at->near, near, key)))
		return bucket_home(at, at->near) + 1;
	if (at->first != at->near && READ_ONCE(near->lock) & BUCKET_SPILLED &&
	    flowtab_is_home(table, at, at->first, flowtab_bucket(table, at->first), key))
		return bucket_home(at, at->first) + 1;
	return flowtab_search(table, at, near, key);
}

static __always_inline bool flowtab_is4(const struct flow *f, __u64 addrs, __u64 rest)
{
	const __u64 *have = (const __u64 *)&f->key4;

	return have[0] == addrs && have[1] == rest && READ_ONCE(f->live);
}

static __always_inline struct flow *flowtab_try4(__u32 i, __u64 addrs, __u64 rest)
{
	struct flow *f = flowtab_at(4, i);

	return likely(f && flowtab_is4(f, addrs, rest)) ? f : NULL;
}

static __always_inline __u64 flowtab_hash4(const struct flow_table *t, __u64 addrs, __u64 rest)
{
	return bucket_mix(t->hash_key[0] + t->hash_key[1] * (__u32)addrs + t->hash_key[2] * (addrs >> 32) +
			  t->hash_key[3] * (__u32)rest + t->hash_key[4] * (rest >> 32));
}

/* Not near: in the slot that the hash names in the next bucket, or beside it. By the words, since what has no flow comes here,
 * too: it need not wait for an entry's page. Index of the entry + 1, or 0. A function of its own, with nothing that is worked out
 * already: whoever is near would pay for what is kept for this. */
__noinline_global __u32 flowtab_far4(__u64 addrs, __u64 rest)
{
	struct flow_table *t = flowtab_get(4);
	struct bucket_place at;
	struct bucket *b;
	__u32 i;

	bucket_place(flowtab_hash4(t, addrs, rest), t->buckets4, t->near4, &at);
	b = flowtab_bucket(4, at.first);
	if (!b)
		return 0;
	i = bucket_home(&at, at.first);
	if (unlikely(READ_ONCE(b->word[at.home & 15]) != at.word)) {
		i = bucket_beside(&at, at.first);
		if (READ_ONCE(b->word[(i - at.first * BUCKET_SLOTS) & 15]) != at.word)
			return 0;
	}
	return flowtab_try4(i, addrs, rest) ? i + 1 : 0;
}

/* The entry of an IPv4 key in a slot that its hash names, or beside it: one cache line of each, without their words. The key is
 * given as it stands in memory. NULL: it is not there; it may be elsewhere. */
static __always_inline struct flow *flowtab_home4(__u64 addrs, __u64 rest)
{
	struct flow_table *t = flowtab_get(4);
	struct bucket *b;
	struct flow *f;
	__u64 h;
	__u32 i;

	h = flowtab_hash4(t, addrs, rest);
	i = bucket_first(h, t->near4 ?: t->buckets4) * BUCKET_SLOTS + bucket_slot(h);
	f = flowtab_try4(i, addrs, rest);
	if (likely(f))
		return f;
	f = flowtab_try4(i ^ 1, addrs, rest);
	if (f || !t->near4)
		return f;
	b = flowtab_bucket(4, i / BUCKET_SLOTS);
	if (!b || !(READ_ONCE(b->lock) & BUCKET_SPILLED))
		return NULL;
	i = flowtab_far4(addrs, rest);
	return i ? flowtab_at(4, i - 1) : NULL;
}

/* Index of the entry + 1; 0: there is none. `table`: of IPv4. */
static __always_inline __u32 flowtab_find_in4(__u8 table, const struct flow_key4 *key)
{
	struct flow_table *t = flowtab_get(table);
	struct bucket_place at;

	if (!key)
		return 0;
	bucket_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY4), t->buckets4, t->near4, &at);
	return flowtab_look(table, &at, key);
}

static __always_inline __u32 flowtab_find_in6(__u8 table, const struct flow_key6 *key)
{
	struct flow_table *t = flowtab_get(table);
	struct bucket_place at;

	if (!key)
		return 0;
	bucket_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY6), t->buckets6, t->near6, &at);
	return flowtab_look(table, &at, key);
}

__noinline_global __u32 flowtab_find4(const struct flow_key4 *key)
{
	return flowtab_find_in4(4, key);
}

/* The same at what flowtab_place4() has said, by the words alone. 0: *at is for flowtab_open4(). */
static __always_inline __u32 flowtab_search4(const struct flow_key4 *key, struct bucket_place *at)
{
	struct bucket *b;

	b = flowtab_bucket(4, at->near);
	if (!b)
		return 0;
	at->lock = READ_ONCE(b->lock);
	/* What was inserted before the lock said so is seen: flowtab_open() relies on it. */
	return flowtab_search(4, at, bucket_after(b, at->lock), key);
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

static __always_inline void flowtab_fetch_words(__u8 table, __u32 bucket)
{
	struct bucket *b = flowtab_bucket(table, bucket);

	if (b)
		flowtab_touch(b->lock);
}

static __always_inline void flowtab_fetch_entry(__u8 table, __u32 i)
{
	struct flow *f = flowtab_at(table, i);

	if (!f)
		return;
	flowtab_touch(f->live);
	flowtab_touch(f->created_ns);
}

/* Where a key is most likely to stand once it is inserted. `far`: see pkt.far_last. The near bucket's words would say whether it
 * has room; but who waits for these waits for the entry after that, and so for memory twice. */
static __always_inline void flowtab_fetch(__u8 table, const struct bucket_place *at, __u8 far)
{
	flowtab_fetch_words(table, at->near);
	if (far != 0xff || at->first == at->near)
		flowtab_fetch_entry(table, bucket_home(at, at->near));
	if (far && at->first != at->near) {
		flowtab_fetch_words(table, at->first);
		flowtab_fetch_entry(table, bucket_home(at, at->first));
	}
}

/* The key will be inserted, or looked for, at *ret_at. */
static __always_inline void flowtab_place4(const struct flow_key4 *key, struct bucket_place *ret_at)
{
	struct flow_table *t = flowtab_get(4);

	bucket_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY4), t->buckets4, t->near4, ret_at);
	ret_at->lock = BUCKET_HELD;
}

/* In a moment. `far`: see flowtab_fetch(). */
__noinline_global int flowtab_ahead4(const struct flow_key4 *key, struct bucket_place *ret_at, __u32 far)
{
	if (!key || !ret_at)
		return 0;
	flowtab_place4(key, ret_at);
	flowtab_fetch(4, ret_at, far);
	return 0;
}

__noinline_global int flowtab_ahead6(const struct flow_key6 *key, struct bucket_place *ret_at, __u32 far)
{
	struct flow_table *t = flowtab_get(6);

	if (!key || !ret_at)
		return 0;
	bucket_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY6), t->buckets6, t->near6, ret_at);
	ret_at->lock = BUCKET_HELD;
	flowtab_fetch(6, ret_at, far);
	return 0;
}

/* ---- inserting */

/* Takes a slot for a key, whose entry then is the caller's to fill, under the lock of the bucket that it is looked for in first,
 * until flowtab_close(). Index of the entry + 1; -EEXIST; -E2BIG: no room; -EBUSY: another CPU inserts, and does not come to an
 * end. */
static __always_inline long flowtab_open(__u8 table, const struct bucket_place *at, const void *key, __u64 now_ns)
{
	struct bucket *near = flowtab_bucket(table, at->near), *first, *second;
	long err = -EEXIST, i = 0;
	int may;

	if (!near)
		return -E2BIG;
	may = bucket_begin(near, at);
	if (may < 0)
		return may;
	if (!may || !flowtab_search(table, at, near, key)) {
		i = bucket_take_near(at, near, now_ns);
		if (likely(i))
			return i;
		first = flowtab_bucket(table, at->first);
		second = flowtab_bucket(table, at->second);
		i = first && second ? bucket_take_any(at, first, second, now_ns) : 0;
		if (i)
			return i;
		err = -E2BIG;
	}
	bucket_unlock(near, false);
	return err;
}

/* Entry `i`, which is `f`, is whole, and is found from now on. */
static __always_inline void flowtab_close(__u8 table, const struct bucket_place *at, __u32 i, struct flow *f)
{
	struct bucket *near = flowtab_bucket(table, at->near), *b = near, *told = NULL;
	bool spilled = !bucket_has(at->near, i);
	__u32 bucket = at->near;

	if (unlikely(spilled)) {
		bucket = at->first;
		b = flowtab_bucket(table, bucket);
		if (b && !bucket_has(bucket, i)) {
			told = b;
			bucket_spill(told);
			bucket = at->second;
			b = flowtab_bucket(table, bucket);
		}
	}
	if (!near || !b)
		return;
	bucket_publish(b, i - bucket * BUCKET_SLOTS, at->word);
	WRITE_ONCE(f->live, 1);
	if (unlikely(spilled) && told)
		bucket_spill(told);
	bucket_unlock(near, spilled);
}

static __always_inline long flowtab_put(__u8 table, struct bucket_place *at, const void *key, const struct flow *f)
{
	struct flow *e;
	long i;

	at->lock = BUCKET_HELD;
	i = flowtab_open(table, at, key, f->created_ns);
	e = i > 0 ? flowtab_at(table, i - 1) : NULL;
	if (e) {
		flowtab_fill(table, i - 1, key, f);
		flowtab_close(table, at, i - 1, e);
	}
	return i;
}

/* See flowtab_open(). The key is in the entry. */
__noinline_global int flowtab_open4(const struct flow_key4 *key, const struct bucket_place *at, __u64 now_ns)
{
	struct flow *e;
	long i;

	if (!key || !at)
		return -E2BIG;
	i = flowtab_open(4, at, key, now_ns);
	e = i > 0 ? flowtab_at4(4, i - 1) : NULL;
	if (e)
		flowtab_copy((__u64 *)&e->key4, (const __u64 *)key, sizeof(*key) / 8);
	return i;
}

__noinline_global int flowtab_open6(const struct flow_key6 *key, const struct bucket_place *at, __u64 now_ns)
{
	struct flow6 *e;
	long i;

	if (!key || !at)
		return -E2BIG;
	i = flowtab_open(6, at, key, now_ns);
	e = i > 0 ? flowtab_at6(6, i - 1) : NULL;
	if (e)
		flowtab_copy((__u64 *)&e->key, (const __u64 *)key, sizeof(*key) / 8);
	return i;
}

/* `f`: made now, as its created_ns says. Index of the entry + 1; -EEXIST; -E2BIG: no room; -EBUSY: another CPU inserts, and does
 * not come to an end. */
static __always_inline int flowtab_insert_in4(__u8 table, const struct flow_key4 *key, const struct flow *f)
{
	struct flow_table *t = flowtab_get(table);
	struct bucket_place at;

	if (!key || !f)
		return -E2BIG;
	bucket_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY4), t->buckets4, t->near4, &at);
	return flowtab_put(table, &at, key, f);
}

static __always_inline int flowtab_insert_in6(__u8 table, const struct flow_key6 *key, const struct flow *f)
{
	struct flow_table *t = flowtab_get(table);
	struct bucket_place at;

	if (!key || !f)
		return -E2BIG;
	bucket_place(flowtab_hash(t, (const __u32 *)key, FLOWTAB_KEY6), t->buckets6, t->near6, &at);
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
	struct bucket *b = flowtab_bucket(table, i / BUCKET_SLOTS);
	struct flow *f = flowtab_at(table, i);

	if (b && f && bucket_kill(b, i, early))
		WRITE_ONCE(f->live, 0);
}

#endif
