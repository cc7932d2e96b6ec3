/* flowtab.c: the flow table in shared memory: found, read, ended, and for restored flows inserted. The steps and their order are
 * those of bpf/flowtab.h; tests/unit/flowtab_test.c holds the two against each other. */
#include <sys/random.h>
#include "bucket.h"
#include "flowtab.h"

/* A large table begins with buckets that are looked at first, 60 MiB of IPv4's entries: the tables by which the CPU translates
 * their addresses stay in its caches. With half of them more keys find no room there, with twice as many those tables are too
 * large again (docs/performance.md). Who is not near pays for having been looked for there, so a table that is not much larger
 * has none. */
#define NEAR	  32768
#define NEAR_FROM (2 * NEAR)

_Static_assert(FLOWTAB_PLACES == BUCKET_PLACES, "FLOWTAB_PLACES");

uint32_t flowtab_buckets(uint32_t entries)
{
	return buckets_for(entries);
}

uint32_t flowtab_near(uint32_t buckets)
{
	return buckets < NEAR_FROM ? 0 : NEAR;
}

void flowtab_size(struct flow_table *head, uint32_t buckets4, uint32_t buckets6)
{
	head->buckets4 = buckets4;
	head->buckets6 = buckets6;
	head->near4 = flowtab_near(buckets4);
	head->near6 = flowtab_near(buckets6);
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

static struct bucket_place place_of(const struct flowtab *t, const void *key)
{
	return bucket_place(t->head, key, key_size(t) / 4, t->n / BUCKET_SLOTS, t->family == 4 ? t->head->near4 : t->head->near6);
}

static uint32_t find(const struct flowtab *t, const struct bucket_place *at, const void *key)
{
	for (unsigned i = bucket_first_place(at) * BUCKET_SLOTS; i < BUCKET_PLACES * BUCKET_SLOTS; i++) {
		uint32_t slot = at->bucket[i / BUCKET_SLOTS] * BUCKET_SLOTS + i % BUCKET_SLOTS;

		if (flowtab_word(t, slot) == at->word && !memcmp(key_at(t, slot), key, key_size(t)))
			return slot;
	}
	return FLOWTAB_NONE;
}

uint32_t flowtab_find(const struct flowtab *t, const void *key, uint32_t *ret_word)
{
	struct bucket_place at = place_of(t, key);

	if (ret_word)
		*ret_word = at.word;
	return find(t, &at, key);
}

void flowtab_buckets_of(const struct flowtab *t, const void *key, uint32_t ret[FLOWTAB_PLACES])
{
	struct bucket_place at = place_of(t, key);

	memcpy(ret, at.bucket, sizeof(at.bucket));
}

bool flowtab_may_take(const struct flowtab *t, const void *key, uint32_t slot)
{
	struct bucket_place at = place_of(t, key);

	return bucket_may_take(&at, slot);
}

uint32_t flowtab_prefetch(const struct flowtab *t, const void *key)
{
	struct bucket_place at = place_of(t, key);
	uint32_t slot = at.bucket[0] * BUCKET_SLOTS + at.home;

	__builtin_prefetch(&t->bucket[at.bucket[0]]);
	__builtin_prefetch(flowtab_entry(t, slot));
	__builtin_prefetch((char *)flowtab_entry(t, slot) + sizeof(struct flow) / 2);
	__builtin_prefetch(key_at(t, slot));
	return slot;
}

/* ---- inserting */

static int insert_locked(struct flowtab *t, const struct bucket_place *at, const void *key, const struct flow *f, uint64_t now_ns)
{
	uint32_t i;

	if (find(t, at, key) != FLOWTAB_NONE)
		return -EEXIST;
	i = bucket_take(t->bucket, at, now_ns);
	if (i == BUCKET_NONE)
		return -E2BIG;
	bucket_note(t->bucket, at, i);
	memcpy(flowtab_entry(t, i), f, sizeof(*f));
	flowtab_entry(t, i)->live = 0;
	memcpy(key_at(t, i), key, key_size(t));
	__atomic_store_n(bucket_at(t->bucket, i), at->word, __ATOMIC_SEQ_CST);
	__atomic_store_n(&flowtab_entry(t, i)->live, 1, __ATOMIC_SEQ_CST);
	return 0;
}

int flowtab_insert(struct flowtab *t, const void *key, const struct flow *f, uint64_t now_ns)
{
	struct bucket_place at = place_of(t, key);
	struct bucket *near = &t->bucket[at.bucket[0]];
	int err;

	if (bucket_lock(near))
		return -EBUSY;
	err = insert_locked(t, &at, key, f, now_ns);
	bucket_unlock(near);
	return err;
}

unsigned flowtab_free_locks(struct flowtab *t)
{
	unsigned freed = bucket_free_locks(t->bucket, t->n / BUCKET_SLOTS);

	for (uint32_t i = 0; i < t->n; i++)
		if (flowtab_word(t, i) == WORD_BUSY && bucket_is_stuck(t->bucket, i))
			freed += bucket_swap(t->bucket, i, WORD_BUSY, WORD_EMPTY);
	return freed;
}

uint32_t flowtab_count(const struct flowtab *t)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < t->n / BUCKET_SLOTS; b++)
		for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
			n += flowtab_is_live(__atomic_load_n(&t->bucket[b].word[i], __ATOMIC_RELAXED));
	return n;
}

bool flowtab_end(struct flowtab *t, uint32_t i, uint32_t word, uint64_t now_ns)
{
	if (!bucket_end(t->bucket, i, word, now_ns))
		return false;
	__atomic_store_n(&flowtab_entry(t, i)->live, 0, __ATOMIC_SEQ_CST);
	return true;
}
