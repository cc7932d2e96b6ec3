/* bucket.h: buckets of words, by which entries are found, claimed, and given away: what the flow table and that of NAT's mappings
 * have in common.
 *
 * Stands between flowtab.h and nattab.h, which know keys and entries, and the struct bucket of abi.h. A bucket is one cache line:
 * fifteen words, and a lock under which keys that look there first are inserted one after the other, so that none is in twice.
 * user/bucket.h is the same seen from sluiced.
 */
#ifndef SLUICE_BUCKET_H
#define SLUICE_BUCKET_H

#include <linux/errno.h>
#include "pkt.h"

#define BUCKET_LOCK_TRIES 256
#define BUCKET_SLOT_TRIES 4
#define BUCKET_CANDIDATES 2 /* of one bucket: equal 30 bits of hash come about once in 10^8 full buckets */

#ifdef __clang__
#define BUCKET_UNROLL _Pragma("unroll")
#else
#define BUCKET_UNROLL
#endif

/* ---- where a key may stand */

static __always_inline __u64 bucket_mix(__u64 h)
{
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

/* Two places among n, by the two halves of a hash. */
static __always_inline __u32 bucket_first(__u64 hash, __u32 n)
{
	return (hash >> 32) * n >> 32;
}

static __always_inline __u32 bucket_second(__u64 hash, __u32 n)
{
	__u32 low = hash;

	return (__u64)((low ^ low >> 15) * 0x2c1b3c6du) * n >> 32;
}

/* The slot of a bucket that a hash names. */
static __always_inline __u32 bucket_slot(__u64 hash)
{
	return ((__u32)hash & 0xffff) * BUCKET_SLOTS >> 16;
}

/* But for `lock`. The first `near` of the buckets, which are few beside the others, are the near ones: as long as there is room
 * in them, who looks there finds his entry on one of few pages, however large the table is. */
static __always_inline void bucket_place(__u64 hash, __u32 buckets, __u32 near, struct bucket_place *ret)
{
	__u32 low = hash;

	ret->first = near + bucket_first(hash, buckets - near);
	ret->second = near + bucket_second(hash, buckets - near);
	ret->near = near ? bucket_first(hash, near) : ret->first;
	ret->word = low << 2 | WORD_LIVE;
	ret->home = bucket_slot(hash);
}

/* ---- a bucket's words. verifier: without branches, so that fifteen words are one path, not 2^15. */

/* verifier: it does not follow the arithmetic that bounds a slot, and the compiler, which does, would leave the check out. */
static __always_inline bool bucket_is_slot(__u32 *slot)
{
	asm volatile("" : "+r"(*slot));
	return *slot < BUCKET_SLOTS;
}

/* The lowest of a mask's bits. */
static __always_inline __u32 bucket_lowest(__u32 mask)
{
	return __builtin_popcount((mask & -mask) - 1);
}

/* A bit for each slot whose word is `word`. */
static __always_inline __u32 bucket_match(const struct bucket *b, __u32 word)
{
	__u32 mask = 0;

	BUCKET_UNROLL
	for (__u32 i = 0; i < BUCKET_SLOTS; i++)
		mask |= (__u32)(((__u64)(READ_ONCE(b->word[i]) ^ word) - 1) >> 63) << i;
	return mask;
}

/* Two words at once: false: surely none of them is `word`. Most buckets that are searched, before an insertion, have none. The
 * lock in the last half would have to be the word's equal. */
static __always_inline bool bucket_may_have(const struct bucket *b, __u32 word)
{
	typedef __u64 __attribute__((may_alias)) two;
	const two *pair = (const two *)b->word;
	__u64 want = (__u64)word << 32 | word, zero = 0, x;

	BUCKET_UNROLL
	for (__u32 i = 0; i < (BUCKET_SLOTS + 1) / 2; i++) {
		x = READ_ONCE(pair[i]) ^ want;
		zero |= (x - 0x0000000100000001ull) & ~x;
	}
	return zero & 0x8000000080000000ull;
}

/* `x`, a pointer or an index, in a way that what it leads to is read after `value` was: the address depends on it, which every
 * CPU heeds. BPF has no load that would order those after it on all kernels, and a locked instruction costs more than the search.
 */
#define bucket_after(x, value)                                                                                                   \
	({                                                                                                                       \
		__u32 none_ = 0;                                                                                                 \
                                                                                                                                 \
		asm volatile("" : "+r"(none_));                                                                                  \
		(x) + ((value) & none_);                                                                                         \
	})

/* Is entry `i` of a table the key's? */
typedef bool bucket_key_is(__u8 table, __u32 i, const void *key);

/* Index of the entry + 1; 0: not in `b`, which is the table's bucket `at`. `is`, a constant, is compiled into this. */
static __always_inline __u32 bucket_search(const struct bucket *b, __u32 at, __u32 word, bucket_key_is *is, __u8 table,
					   const void *key)
{
	__u32 mask, i;

	if (!b || likely(!bucket_may_have(b, word)))
		return 0;
	mask = bucket_match(b, word);
	BUCKET_UNROLL
	for (int n = 0; n < BUCKET_CANDIDATES; n++) {
		if (!mask)
			return 0;
		i = at * BUCKET_SLOTS + bucket_lowest(mask);
		if (is(table, i, key))
			return i + 1;
		mask &= mask - 1;
	}
	return 0;
}

/* ---- slots given away */

/* CLOCK_MONOTONIC as DEAD words have it. */
static __always_inline __u32 bucket_stamp(void)
{
	return bpf_ktime_get_coarse_ns() >> WORD_DEAD_SHIFT;
}

/* 1: the slot is to be had. What sluiced's clock, which is finer, put into the near future is not over yet. */
static __always_inline __u32 bucket_is_free(__u32 word, __u32 stamp)
{
	__u32 used = word | word >> 1, dead = word & word >> 1;
	__u32 over = ~((stamp - WORD_GRACE - (word >> 2)) >> 29);

	/* verifier: the compiler would see a comparison in this, and branch. */
	asm volatile("" : "+r"(used));
	return (~used | (dead & over)) & 1;
}

static __always_inline __u32 bucket_free(const struct bucket *b, __u32 stamp)
{
	__u32 mask = 0;

	BUCKET_UNROLL
	for (__u32 i = 0; i < BUCKET_SLOTS; i++)
		mask |= bucket_is_free(READ_ONCE(b->word[i]), stamp) << i;
	return mask;
}

/* How many words are LIVE or BUSY. Two at once, and without a clock: a quarter of what counting those that are free costs. */
static __always_inline __u32 bucket_live(const struct bucket *b)
{
	typedef __u64 __attribute__((may_alias)) two;
	const two *pair = (const two *)b->word;
	__u64 sum = 0, x;

	BUCKET_UNROLL
	for (__u32 i = 0; i < BUCKET_SLOTS / 2; i++) {
		x = READ_ONCE(pair[i]);
		sum += (x ^ x >> 1) & 0x0000000100000001ull;
	}
	x = READ_ONCE(b->word[BUCKET_SLOTS - 1]);
	return (__u32)sum + (sum >> 32) + ((x ^ x >> 1) & 1);
}

/* True: the slot was free, and is BUSY now. */
static __always_inline bool bucket_claim(struct bucket *b, __u32 slot, __u32 stamp)
{
	__u32 word = READ_ONCE(b->word[slot]);

	return bucket_is_free(word, stamp) && __sync_val_compare_and_swap(&b->word[slot], word, WORD_BUSY) == word;
}

/* The entry that a key's hash names in a bucket. */
static __always_inline __u32 bucket_home(const struct bucket_place *at, __u32 bucket)
{
	return bucket * BUCKET_SLOTS + at->home;
}

/* The entry beside that, which is the same bucket's most of the time: where a key stands when the other one was taken. On the
 * same page, so it costs one access to memory more, but no search. */
static __always_inline __u32 bucket_beside(const struct bucket_place *at, __u32 bucket)
{
	return bucket_home(at, bucket) ^ 1;
}

/* `now_ns`: CLOCK_MONOTONIC. Takes a slot for a key: in its first bucket, but for one that is rather full and fuller than the
 * second; there the one that its hash names first, where it is found soonest, else the slot beside that. Who took the first slot
 * however full its bucket is would fill buckets so unevenly that a table refuses at nine tenths of its size. Index of its entry +
 * 1; 0: none is free. */
__noinline_global __u32 bucket_take_any(const struct bucket_place *at, struct bucket *first, struct bucket *second, __u64 now_ns)
{
	__u32 stamp = now_ns >> WORD_DEAD_SHIFT, bucket, free, other, slot;
	struct bucket *b;

	if (!at || !first || !second)
		return 0;
	for (int i = 0; i < BUCKET_SLOT_TRIES; i++) {
		b = first;
		bucket = at->first;
		free = bucket_free(first, stamp);
		if (BUCKET_SLOTS - __builtin_popcount(free) >= BUCKET_FIRST_USED) {
			other = bucket_free(second, stamp);
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
			slot = bucket_beside(at, at->first) - bucket * BUCKET_SLOTS;
			if (!bucket_is_slot(&slot) || !(free >> slot & 1))
				slot = bucket_lowest(free);
		}
		if (!bucket_is_slot(&slot))
			return 0;
		if (bucket_claim(b, slot, stamp))
			return bucket * BUCKET_SLOTS + slot + 1;
	}
	return 0;
}

/* The same, of the bucket `near` alone, and there of the two slots that are looked at without a search: mostly the first of them
 * is free. One that is near may become full: who finds no place has two others. 0: ask bucket_take_any(). */
static __always_inline __u32 bucket_take_near(const struct bucket_place *at, struct bucket *near, __u64 now_ns)
{
	__u32 slot = at->home, stamp = now_ns >> WORD_DEAD_SHIFT;

	if (!bucket_is_slot(&slot) || (at->near == at->first && unlikely(bucket_live(near) >= BUCKET_FIRST_USED)))
		return 0;
	if (likely(bucket_claim(near, slot, stamp)))
		return at->near * BUCKET_SLOTS + slot + 1;
	slot = bucket_beside(at, at->near) - at->near * BUCKET_SLOTS;
	if (!bucket_is_slot(&slot) || !bucket_claim(near, slot, stamp))
		return 0;
	return at->near * BUCKET_SLOTS + slot + 1;
}

static __always_inline bool bucket_has(__u32 bucket, __u32 i)
{
	return i - bucket * BUCKET_SLOTS < BUCKET_SLOTS;
}

/* The word of slot `slot`, which is BUSY, becomes `word`, LIVE. Whoever sees it sees what was written before: on x86 stores are
 * seen in their order, without a locked instruction; elsewhere by a full barrier. */
static __always_inline void bucket_publish(struct bucket *b, __u32 slot, __u32 word)
{
	if (!bucket_is_slot(&slot))
		return;
#ifdef __TARGET_ARCH_x86
	asm volatile("" : : : "memory");
	WRITE_ONCE(b->word[slot], word);
#else
	__sync_lock_test_and_set(&b->word[slot], word);
#endif
}

/* Entry `i`, whose word stands in `b`, is found no more. `early`: its slot is wanted soon. False: it had ended. */
static __always_inline bool bucket_kill(struct bucket *b, __u32 i, bool early)
{
	__u32 slot = i % BUCKET_SLOTS, word, stamp = bucket_stamp() - (early ? WORD_GRACE - WORD_GRACE_EARLY : 0);

	if (!bucket_is_slot(&slot))
		return false;
	word = READ_ONCE(b->word[slot]);
	return (word & WORD_STATE) == WORD_LIVE &&
	       __sync_val_compare_and_swap(&b->word[slot], word, stamp << 2 | WORD_DEAD) == word;
}

/* ---- the lock. Two CPUs that insert the same key do so one after the other: it has one bucket to look at first. Others wait for
 * nobody: a slot is taken by compare-and-swap. */

/* 0: it is held, for a fraction of a microsecond. -EBUSY: somebody else does not let go: a CPU that its hypervisor has stopped.
 */
__noinline_global int bucket_lock(struct bucket *b)
{
	if (!b)
		return -EBUSY;
	for (int i = 0; i < BUCKET_LOCK_TRIES; i++) {
		__u32 open = READ_ONCE(b->lock) & ~BUCKET_HELD;

		if (__sync_val_compare_and_swap(&b->lock, open, open | BUCKET_HELD) == open)
			return 0;
	}
	return -EBUSY;
}

/* Where a key was not found, or was not looked for yet (BUCKET_HELD in at->lock). As long as the lock, which counts the keys that
 * are inserted, says what it said when the key was not found, the key is still not there. 0: the lock is held, and it is not
 * there; 1: it is held, and somebody may have been first: search; -EBUSY. */
static __always_inline int bucket_begin(struct bucket *near, const struct bucket_place *at)
{
	__u32 was = at->lock;

	if (likely(!(was & BUCKET_HELD) && __sync_val_compare_and_swap(&near->lock, was, was | BUCKET_HELD) == was))
		return 0;
	return bucket_lock(near) ? -EBUSY : 1;
}

/* Of keys whose locks are near ones', one goes into the second bucket: who looks for it in `first` is told. Before
 * bucket_publish(), and once more after it: what sluiced (spill.h) saw of `first` in between, when it could not see the key, does
 * not hold any more, and what it took back is said again. */
static __always_inline void bucket_spill(struct bucket *first)
{
	__sync_fetch_and_add(&first->lock, BUCKET_STEP);
	__sync_fetch_and_or(&first->lock, BUCKET_SPILLED);
}

/* `spilled`: an entry was inserted into another bucket. bucket_publish() comes before. */
static __always_inline void bucket_unlock(struct bucket *near, bool spilled)
{
	__u32 lock = READ_ONCE(near->lock);

	if (spilled)
		lock |= BUCKET_SPILLED;
	WRITE_ONCE(near->lock, (lock & ~BUCKET_HELD) + BUCKET_STEP);
}

#endif
