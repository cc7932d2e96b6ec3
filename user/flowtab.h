/* flowtab.h: the flow table of one family as sluiced sees it: memory that it shares with the data plane.
 *
 * The same table as bpf/flowtab.h, which fills it; its layout stands in abi.h. Here entries are walked, found and ended, without
 * a system call for any of them. An entry may be ended or made by others at any time: flowtab_read() says whether a copy is
 * whole.
 */
#ifndef SLUICE_USER_FLOWTAB_H
#define SLUICE_USER_FLOWTAB_H

#include <stdbool.h>
#include <stdint.h>
#include <sluice/abi.h>

struct flowtab {
	int family;
	struct flow_table *head;
	struct bucket *bucket;
	void *entry; /* struct flow or struct flow6 */
	uint32_t n;  /* slots */
};

#define FLOWTAB_NONE UINT32_MAX

/* How many buckets a table of `entries` has. */
uint32_t flowtab_buckets(uint32_t entries);
/* So many of the buckets of a table are near: looked at first. */
uint32_t flowtab_near(uint32_t buckets);
/* `head` is of new tables with so many buckets. */
void flowtab_size(struct flow_table *head, uint32_t buckets4, uint32_t buckets6);
/* The numbers that hashes are made with, from a seed for tests (not 0), or from the kernel's random numbers. -errno. */
int flowtab_seed(struct flow_table *head, uint32_t seed);

/* The word of slot `i`: EMPTY, BUSY, LIVE or DEAD, see abi.h. */
static inline uint32_t flowtab_word(const struct flowtab *t, uint32_t i)
{
	return __atomic_load_n(&t->bucket[i / BUCKET_SLOTS].word[i % BUCKET_SLOTS], __ATOMIC_ACQUIRE);
}

static inline bool flowtab_is_live(uint32_t word)
{
	return (word & WORD_STATE) == WORD_LIVE;
}

/* The entry itself, which changes under the reader's hands. */
struct flow *flowtab_entry(const struct flowtab *t, uint32_t i);
/* A copy of the entry whose word was `word`. False: it has ended meanwhile. `ret_key`: room for a struct flow_key6. */
bool flowtab_read(const struct flowtab *t, uint32_t i, uint32_t word, void *ret_key, struct flow *ret);

/* The slot of a key, or FLOWTAB_NONE; *ret_word (may be NULL) is its word. */
uint32_t flowtab_find(const struct flowtab *t, const void *key, uint32_t *ret_word);
/* The buckets that a key may stand in, of which two may be the same; the first is the one whose lock it is inserted under. */
#define FLOWTAB_PLACES 3
void flowtab_buckets_of(const struct flowtab *t, const void *key, uint32_t ret[FLOWTAB_PLACES]);
/* Might a key be inserted into this slot? */
bool flowtab_may_take(const struct flowtab *t, const void *key, uint32_t slot);
/* Has the memory fetched where a key that will be looked for soon most likely stands; in which slot. */
uint32_t flowtab_prefetch(const struct flowtab *t, const void *key);
/* As the data plane inserts: -EEXIST, -E2BIG, -EBUSY. */
int flowtab_insert(struct flowtab *t, const void *key, const struct flow *f, uint64_t now_ns);
/* Gives back locks and slots that a sluiced held when it was killed, see bucket_free_locks(). */
unsigned flowtab_free_locks(struct flowtab *t);
/* How many entries there are: a look at all words, some milliseconds for a million. */
uint32_t flowtab_count(const struct flowtab *t);
/* Ends the entry whose word was `word`; its slot is free again after the grace period. False: it had ended. */
bool flowtab_end(struct flowtab *t, uint32_t i, uint32_t word, uint64_t now_ns);

#endif
