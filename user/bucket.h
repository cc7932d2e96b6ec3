/* bucket.h: buckets of words as sluiced sees them: what the flow table and that of NAT's mappings have in common.
 *
 * The same as bpf/bucket.h, of which sluiced is one more CPU; their layout stands in abi.h. The steps and their order are those
 * of the data plane; tests/unit/flowtab_test.c and nattab_test.c hold the two against each other. Only flowtab.c and nattab.c
 * include this.
 */
#ifndef SLUICE_USER_BUCKET_H
#define SLUICE_USER_BUCKET_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sluice/abi.h>

#define BUCKET_LOCK_TRIES 100000
#define BUCKET_NONE	  UINT32_MAX

/* How many buckets there are for so many entries: a quarter more slots than entries, because a key has the choice of two buckets
 * only and the first pair of full ones is a refusal. */
static inline uint32_t buckets_for(uint32_t entries)
{
	uint64_t buckets = ((uint64_t)entries * 5 / 4 + BUCKET_SLOTS - 1) / BUCKET_SLOTS;

	return buckets < 2 ? 2 : (uint32_t)buckets;
}

/* ---- where a key may stand */

#define BUCKET_PLACES 3

/* The bucket that is looked at first, under whose lock the key is inserted, and two others; where a table has none that are near,
 * the first of these. */
struct bucket_place {
	uint32_t bucket[BUCKET_PLACES], word, home;
};

static inline uint64_t bucket_mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

static inline uint32_t bucket_first(uint64_t hash, uint32_t n)
{
	return (uint32_t)((hash >> 32) * n >> 32);
}

static inline uint32_t bucket_second(uint64_t hash, uint32_t n)
{
	uint32_t low = (uint32_t)hash;

	return (uint32_t)((uint64_t)((low ^ low >> 15) * 0x2c1b3c6du) * n >> 32);
}

/* `words`: how many words of 32 bits a key has, FLOW_HASH_KEYS - 1 at most. `n`: buckets, the first `near` of which are. */
static inline struct bucket_place bucket_place(const struct flow_table *head, const void *key, size_t words, uint32_t n,
					       uint32_t near)
{
	uint64_t h = head->hash_key[0];
	uint32_t word[FLOW_HASH_KEYS - 1], first;

	memcpy(word, key, words * sizeof(*word));
	for (size_t i = 0; i < words; i++)
		h += head->hash_key[i + 1] * word[i];
	h = bucket_mix(h);
	first = near + bucket_first(h, n - near);
	return (struct bucket_place){
		.bucket = {near ? bucket_first(h, near) : first, first, near + bucket_second(h, n - near)},
		.word = (uint32_t)h << 2 | WORD_LIVE,
		.home = ((uint32_t)h & 0xffff) * BUCKET_SLOTS >> 16,
	};
}

/* The first place that is to be searched: where none is near, the first two are one bucket. */
static inline unsigned bucket_first_place(const struct bucket_place *at)
{
	return at->bucket[0] == at->bucket[1];
}

/* ---- words. Slots are counted through all buckets. */

static inline uint32_t *bucket_at(struct bucket *b, uint32_t slot)
{
	return &b[slot / BUCKET_SLOTS].word[slot % BUCKET_SLOTS];
}

static inline uint32_t bucket_word(const struct bucket *b, uint32_t slot)
{
	return __atomic_load_n(&b[slot / BUCKET_SLOTS].word[slot % BUCKET_SLOTS], __ATOMIC_ACQUIRE);
}

static inline uint32_t bucket_stamp(uint64_t now_ns)
{
	return (uint32_t)(now_ns >> WORD_DEAD_SHIFT);
}

static inline bool bucket_is_free(uint32_t word, uint32_t stamp)
{
	if ((word & WORD_STATE) != WORD_DEAD)
		return word == WORD_EMPTY;
	return !((stamp - WORD_GRACE - (word >> 2)) >> 29 & 1);
}

static inline unsigned bucket_used(const struct bucket *b, uint32_t bucket, uint32_t stamp)
{
	unsigned used = 0;

	for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
		used += !bucket_is_free(bucket_word(b, bucket * BUCKET_SLOTS + i), stamp);
	return used;
}

static inline bool bucket_swap(struct bucket *b, uint32_t slot, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(bucket_at(b, slot), &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline bool bucket_claim(struct bucket *b, uint32_t slot, uint32_t stamp)
{
	uint32_t word = bucket_word(b, slot);

	return bucket_is_free(word, stamp) && bucket_swap(b, slot, word, WORD_BUSY);
}

/* The slot that a key's hash names in its bucket `in`, or the one beside it. */
static inline uint32_t bucket_take_home(struct bucket *b, const struct bucket_place *at, uint32_t in, uint32_t stamp)
{
	uint32_t home = in * BUCKET_SLOTS + at->home;

	if (bucket_claim(b, home, stamp))
		return home;
	return (home ^ 1) / BUCKET_SLOTS == in && bucket_claim(b, home ^ 1, stamp) ? home ^ 1 : BUCKET_NONE;
}

/* Could a key be put into `slot` of one of its buckets, if that were free? Of a near bucket it may have two slots at most. */
static inline bool bucket_may_take(const struct bucket_place *at, uint32_t slot)
{
	uint32_t in = slot / BUCKET_SLOTS, home = at->bucket[0] * BUCKET_SLOTS + at->home;

	return in == at->bucket[1] || in == at->bucket[2] || (in == at->bucket[0] && (slot == home || slot == (home ^ 1)));
}

/* A free slot for a key, made BUSY; BUCKET_NONE: there is none. */
static inline uint32_t bucket_take(struct bucket *b, const struct bucket_place *at, uint64_t now_ns)
{
	uint32_t stamp = bucket_stamp(now_ns), i = BUCKET_NONE, in = at->bucket[1];
	unsigned used;

	if (at->bucket[0] != in || bucket_used(b, in, stamp) < BUCKET_FIRST_USED)
		i = bucket_take_home(b, at, at->bucket[0], stamp);
	if (i != BUCKET_NONE)
		return i;
	used = bucket_used(b, in, stamp);
	if (used >= BUCKET_FIRST_USED && bucket_used(b, at->bucket[2], stamp) < used)
		in = at->bucket[2];
	i = bucket_take_home(b, at, in, stamp);
	if (i != BUCKET_NONE)
		return i;
	for (i = in * BUCKET_SLOTS; i < (in + 1) * BUCKET_SLOTS; i++)
		if (bucket_claim(b, i, stamp))
			return i;
	return BUCKET_NONE;
}

/* The entry ends whose word was `word`; its slot is free again after the grace period. False: it had ended. */
static inline bool bucket_end(struct bucket *b, uint32_t slot, uint32_t word, uint64_t now_ns)
{
	return (word & WORD_STATE) == WORD_LIVE && bucket_swap(b, slot, word, bucket_stamp(now_ns) << 2 | WORD_DEAD);
}

/* ---- the lock under which keys are inserted */

/* 0, or -EBUSY. */
static inline int bucket_lock(struct bucket *b)
{
	uint32_t open;

	for (int n = 0; n < BUCKET_LOCK_TRIES; n++) {
		open = __atomic_load_n(&b->lock, __ATOMIC_RELAXED) & ~(uint32_t)BUCKET_HELD;
		if (__atomic_compare_exchange_n(&b->lock, &open, open | BUCKET_HELD, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return 0;
	}
	return -EBUSY;
}

/* `slot`: what was taken for a key, under the lock of its first place, before its word is LIVE; BUCKET_NONE: nothing. The buckets
 * that are looked at before say that a key of theirs is elsewhere; what they count keeps spill.h from taking that back. */
static inline void bucket_note(struct bucket *b, const struct bucket_place *at, uint32_t slot)
{
	for (int i = 0; slot != BUCKET_NONE && slot / BUCKET_SLOTS != at->bucket[i] && i < BUCKET_PLACES - 1; i++) {
		if (i && at->bucket[i] != at->bucket[0])
			__atomic_fetch_add(&b[at->bucket[i]].lock, BUCKET_STEP, __ATOMIC_SEQ_CST);
		__atomic_fetch_or(&b[at->bucket[i]].lock, BUCKET_SPILLED, __ATOMIC_SEQ_CST);
	}
}

static inline void bucket_unlock(struct bucket *b)
{
	__atomic_fetch_add(&b->lock, BUCKET_STEP - BUCKET_HELD, __ATOMIC_SEQ_CST);
}

/* Gives back the locks of `n` buckets that a sluiced held when it was killed; else what hashes to them would be refused from then
 * on. To be called by who takes the table over, before it inserts. How many there were. */
unsigned bucket_free_locks(struct bucket *b, uint32_t n);
/* Is a slot BUSY for longer than anything takes? Such a one is left by a sluiced that was killed. */
bool bucket_is_stuck(const struct bucket *b, uint32_t slot);

#endif
