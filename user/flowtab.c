/* flowtab.c: the flow table in shared memory: found, read, ended, and for restored flows inserted. The steps and their order are
 * those of bpf/flowtab.h; tests/unit/flowtab_test.c holds the two against each other. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "flowtab.h"

#define LOCK_TRIES 100000

uint32_t flowtab_buckets(uint32_t entries)
{
	uint64_t buckets = ((uint64_t)entries * 5 / 4 + FLOW_SLOTS - 1) / FLOW_SLOTS;

	return buckets < 2 ? 2 : (uint32_t)buckets;
}

/* Splitmix64: numbers without a pattern from a seed. */
static uint64_t mix(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

int flowtab_seed(struct flow_table *head, uint32_t seed)
{
	uint64_t state = seed;

	if (!seed && getrandom(head->hash_key, sizeof(head->hash_key), 0) != sizeof(head->hash_key))
		return -EIO;
	for (int i = 0; seed && i < FLOW_HASH_KEYS; i++)
		head->hash_key[i] = mix(&state);
	return 0;
}

/* ---- entries */

struct flow *flowtab_entry(const struct flowtab *t, uint32_t i)
{
	return t->family == 4 ? &((struct flow *)t->entry)[i] : &((struct flow6 *)t->entry)[i].flow;
}

static size_t key_size(const struct flowtab *t)
{
	return t->family == 4 ? sizeof(struct flow_key4) : sizeof(struct flow_key6);
}

static void *key_at(const struct flowtab *t, uint32_t i)
{
	return t->family == 4 ? (void *)&((struct flow *)t->entry)[i].key4 : (void *)&((struct flow6 *)t->entry)[i].key;
}

const void *flowtab_key(const struct flowtab *t, uint32_t i)
{
	return key_at(t, i);
}

bool flowtab_read(const struct flowtab *t, uint32_t i, uint32_t word, void *ret_key, struct flow *ret)
{
	if (!flowtab_is_live(word))
		return false;
	memcpy(ret, flowtab_entry(t, i), sizeof(*ret));
	memcpy(ret_key, key_at(t, i), key_size(t));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	ret->packets += ret->recent >> FLOW_RECENT_PACKETS & FLOW_RECENT_SEGS;
	ret->bytes += ret->recent >> FLOW_RECENT_BYTES;
	ret->recent = 0;
	return flowtab_word(t, i) == word;
}

/* ---- where a key stands */

struct place {
	uint32_t bucket[2], word, home;
};

static struct place place_of(const struct flowtab *t, const void *key)
{
	uint32_t words[sizeof(struct flow_key6) / 4], low, buckets = t->n / FLOW_SLOTS;
	uint64_t h = t->head->hash_key[0];

	memcpy(words, key, key_size(t));
	for (size_t i = 0; i < key_size(t) / 4; i++)
		h += t->head->hash_key[i + 1] * words[i];
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	h ^= h >> 32;
	low = (uint32_t)h;
	return (struct place){
		.bucket = {(uint32_t)((h >> 32) * buckets >> 32),
			   (uint32_t)((uint64_t)((low ^ low >> 15) * 0x2c1b3c6du) * buckets >> 32)},
		.word = low << 2 | FLOW_WORD_LIVE,
		.home = (low & 0xffff) * FLOW_SLOTS >> 16,
	};
}

static uint32_t find(const struct flowtab *t, const struct place *at, const void *key)
{
	for (unsigned i = 0; i < 2 * FLOW_SLOTS; i++) {
		uint32_t slot = at->bucket[i / FLOW_SLOTS] * FLOW_SLOTS + i % FLOW_SLOTS;

		if (flowtab_word(t, slot) == at->word && !memcmp(key_at(t, slot), key, key_size(t)))
			return slot;
	}
	return FLOWTAB_NONE;
}

uint32_t flowtab_find(const struct flowtab *t, const void *key, uint32_t *ret_word)
{
	struct place at = place_of(t, key);

	if (ret_word)
		*ret_word = at.word;
	return find(t, &at, key);
}

void flowtab_buckets_of(const struct flowtab *t, const void *key, uint32_t ret[2])
{
	struct place at = place_of(t, key);

	ret[0] = at.bucket[0] * FLOW_SLOTS;
	ret[1] = at.bucket[1] * FLOW_SLOTS;
}

void flowtab_prefetch(const struct flowtab *t, const void *key)
{
	struct place at = place_of(t, key);
	uint32_t slot = at.bucket[0] * FLOW_SLOTS + at.home;

	__builtin_prefetch(&t->bucket[at.bucket[0]]);
	__builtin_prefetch(flowtab_entry(t, slot));
	__builtin_prefetch((char *)flowtab_entry(t, slot) + sizeof(struct flow) / 2);
	__builtin_prefetch(key_at(t, slot));
}

/* ---- inserting */

static uint32_t stamp(uint64_t now_ns)
{
	return (uint32_t)(now_ns >> FLOW_DEAD_SHIFT);
}

static bool is_free(uint32_t word, uint32_t now)
{
	if ((word & FLOW_WORD_STATE) != FLOW_WORD_DEAD)
		return word == FLOW_WORD_EMPTY;
	return !((now - FLOW_GRACE - (word >> 2)) >> 29 & 1);
}

static unsigned count_used(const struct flowtab *t, uint32_t bucket, uint32_t now)
{
	unsigned used = 0;

	for (uint32_t i = 0; i < FLOW_SLOTS; i++)
		used += !is_free(flowtab_word(t, bucket * FLOW_SLOTS + i), now);
	return used;
}

static bool claim(struct flowtab *t, uint32_t bucket, uint32_t i, uint32_t now)
{
	uint32_t word = flowtab_word(t, bucket * FLOW_SLOTS + i);

	return is_free(word, now) && __atomic_compare_exchange_n(&t->bucket[bucket].word[i], &word, FLOW_WORD_BUSY, false,
								 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* A free slot, made BUSY; FLOWTAB_NONE: there is none. */
static uint32_t take(struct flowtab *t, const struct place *at, uint32_t now)
{
	uint32_t b, beside;
	unsigned used;

	used = count_used(t, at->bucket[0], now);
	b = used >= FLOW_FIRST_USED && count_used(t, at->bucket[1], now) < used ? at->bucket[1] : at->bucket[0];
	if (b == at->bucket[0] && claim(t, b, at->home, now))
		return b * FLOW_SLOTS + at->home;
	beside = (at->bucket[0] * FLOW_SLOTS + at->home) ^ 1;
	if (beside / FLOW_SLOTS == b && claim(t, b, beside % FLOW_SLOTS, now))
		return beside;
	for (uint32_t i = 0; i < FLOW_SLOTS; i++)
		if (claim(t, b, i, now))
			return b * FLOW_SLOTS + i;
	return FLOWTAB_NONE;
}

static int insert_locked(struct flowtab *t, const struct place *at, const void *key, const struct flow *f, uint32_t now)
{
	uint32_t i;

	if (find(t, at, key) != FLOWTAB_NONE)
		return -EEXIST;
	i = take(t, at, now);
	if (i == FLOWTAB_NONE)
		return -E2BIG;
	memcpy(flowtab_entry(t, i), f, sizeof(*f));
	flowtab_entry(t, i)->live = 0;
	memcpy(key_at(t, i), key, key_size(t));
	__atomic_store_n(&t->bucket[i / FLOW_SLOTS].word[i % FLOW_SLOTS], at->word, __ATOMIC_SEQ_CST);
	__atomic_store_n(&flowtab_entry(t, i)->live, 1, __ATOMIC_SEQ_CST);
	return 0;
}

int flowtab_insert(struct flowtab *t, const void *key, const struct flow *f, uint64_t now_ns)
{
	struct place at = place_of(t, key);
	uint32_t *lock = &t->bucket[at.bucket[0]].lock, open;
	int err;

	for (int n = 0;; n++) {
		open = 0;
		if (__atomic_compare_exchange_n(lock, &open, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			break;
		if (n == LOCK_TRIES)
			return -EBUSY;
	}
	err = insert_locked(t, &at, key, f, stamp(now_ns));
	__atomic_store_n(lock, 0, __ATOMIC_SEQ_CST);
	return err;
}

#define LOCK_LOOKS 50 /* a ms each */

bool flowtab_free_lock(uint32_t *lock, uint32_t held)
{
	struct timespec ms = {.tv_nsec = 1000000};
	uint32_t was = __atomic_load_n(lock, __ATOMIC_RELAXED), now = was;

	for (int i = 0; i < LOCK_LOOKS; i++) {
		if (!(now & held) || now != was)
			return false;
		nanosleep(&ms, NULL);
		now = __atomic_load_n(lock, __ATOMIC_RELAXED);
	}
	return __atomic_compare_exchange_n(lock, &was, was & ~held, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

unsigned flowtab_free_locks(struct flowtab *t)
{
	unsigned n = 0;

	for (uint32_t b = 0; b < t->n / FLOW_SLOTS; b++)
		if (__atomic_load_n(&t->bucket[b].lock, __ATOMIC_RELAXED))
			n += flowtab_free_lock(&t->bucket[b].lock, 1);
	return n;
}

bool flowtab_end(struct flowtab *t, uint32_t i, uint32_t word, uint64_t now_ns)
{
	if (!flowtab_is_live(word) ||
	    !__atomic_compare_exchange_n(&t->bucket[i / FLOW_SLOTS].word[i % FLOW_SLOTS], &word,
					 stamp(now_ns) << 2 | FLOW_WORD_DEAD, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	__atomic_store_n(&flowtab_entry(t, i)->live, 0, __ATOMIC_SEQ_CST);
	return true;
}
