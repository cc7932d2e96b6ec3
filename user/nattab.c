/* nattab.c: NAT's mappings in shared memory: found, read, ended, and for restored flows inserted. The steps and their order are
 * those of bpf/nattab.h; tests/unit/nattab_test.c holds the two against each other. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include "flowtab.h"
#include "nattab.h"
#include "table.h"

#define LOCK_TRIES 100000
#define KEY_WORDS  7
#define FIRST_USED 10
#define LINE_USED  6

/* A quarter more slots than mappings, as for flows; and twice as many places for ways, since a line has few. */
uint32_t nattab_buckets(uint32_t mappings)
{
	uint64_t buckets = ((uint64_t)mappings * 5 / 4 + NAT_SLOTS - 1) / NAT_SLOTS;

	return buckets < 2 ? 2 : (uint32_t)buckets;
}

uint32_t nattab_lines(uint32_t mappings)
{
	uint64_t lines = ((uint64_t)mappings * 2 + NAT_WAYS - 1) / NAT_WAYS;

	return lines < 2 ? 2 : (uint32_t)lines;
}

int nattab_open(struct nattab *t, struct table *head, struct table *words, struct table *entries, struct table *ways)
{
	*t = (struct nattab){0};
	if (!head || !words || !entries || !ways)
		return -ENOENT;
	t->head = table_map(head);
	t->bucket = table_map(words);
	t->entry = table_map(entries);
	t->line = table_map(ways);
	if (!t->head || !t->bucket || !t->entry || !t->line)
		return -ENOENT;
	t->n = table_capacity(words) * NAT_SLOTS;
	t->n_lines = table_capacity(ways);
	return table_capacity(entries) == t->n && t->n_lines ? 0 : -EINVAL;
}

/* ---- where a mapping stands */

struct place {
	uint32_t first, second, word, home;
};

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

static uint32_t first_of(uint64_t hash, uint32_t n)
{
	return (uint32_t)((hash >> 32) * n >> 32);
}

static uint32_t second_of(uint64_t hash, uint32_t n)
{
	uint32_t low = (uint32_t)hash;

	return (uint32_t)((uint64_t)((low ^ low >> 15) * 0x2c1b3c6du) * n >> 32);
}

static struct place place_of(const struct nattab *t, const struct nat_mapping_key *key)
{
	uint32_t words[sizeof(*key) / 4], buckets = t->n / NAT_SLOTS;
	uint64_t h = t->head->hash_key[0];

	memcpy(words, key, sizeof(words));
	for (size_t i = 0; i < KEY_WORDS; i++)
		h += t->head->hash_key[i + 1] * words[i];
	h = mix(h);
	return (struct place){
		.first = first_of(h, buckets),
		.second = second_of(h, buckets),
		.word = (uint32_t)h << 2 | FLOW_WORD_LIVE,
		.home = ((uint32_t)h & 0xffff) * NAT_SLOTS >> 16,
	};
}

static uint32_t *word_at(const struct nattab *t, uint32_t i)
{
	return &t->bucket[i / NAT_SLOTS].word[i % NAT_SLOTS];
}

bool nattab_read(const struct nattab *t, uint32_t i, struct nat_mapping *ret, uint32_t *ret_word)
{
	uint32_t word = __atomic_load_n(word_at(t, i), __ATOMIC_ACQUIRE);

	if ((word & FLOW_WORD_STATE) != FLOW_WORD_LIVE)
		return false;
	memcpy(ret, &t->entry[i], sizeof(*ret));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*ret_word = word;
	return __atomic_load_n(word_at(t, i), __ATOMIC_RELAXED) == word;
}

static uint32_t find(const struct nattab *t, const struct place *at, const struct nat_mapping_key *key, struct nat_mapping *ret)
{
	uint32_t word;

	for (unsigned i = 0; i < 2 * NAT_SLOTS; i++) {
		uint32_t slot = (i < NAT_SLOTS ? at->first : at->second) * NAT_SLOTS + i % NAT_SLOTS;

		if (__atomic_load_n(word_at(t, slot), __ATOMIC_ACQUIRE) == at->word && nattab_read(t, slot, ret, &word) &&
		    !memcmp(&ret->inside, key, sizeof(*key)))
			return slot;
	}
	return NATTAB_NONE;
}

uint32_t nattab_lookup(const struct nattab *t, const struct nat_mapping_key *key, struct nat_mapping *ret)
{
	struct place at = place_of(t, key);

	return find(t, &at, key, ret);
}

/* ---- ways */

/* As pool_class() of the data plane. */
static uint32_t class_of(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 0;
	case IPPROTO_UDP:
		return 1;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	}
	return POOL_CLASSES;
}

uint32_t nattab_way(const struct nat_mapping *m)
{
	return NAT_WAY(m->pool_addr, class_of(m->inside.proto), ntohs(m->port));
}

static uint64_t way_hash(const struct nattab *t, uint32_t way)
{
	return mix(t->head->hash_key[0] + t->head->hash_key[1] * way);
}

uint32_t nattab_lookup_way(const struct nattab *t, uint32_t way, struct nat_mapping *ret)
{
	uint64_t h = way_hash(t, way);
	const struct nat_line *line[] = {&t->line[first_of(h, t->n_lines)], &t->line[second_of(h, t->n_lines)]};
	uint32_t word;

	for (unsigned i = 0; i < 2 * NAT_WAYS; i++) {
		uint64_t w = __atomic_load_n(&line[i / NAT_WAYS]->way[i % NAT_WAYS], __ATOMIC_ACQUIRE);
		uint32_t slot = (uint32_t)(w >> 32) - 1;

		if (w && (uint32_t)w == way && slot < t->n && nattab_read(t, slot, ret, &word) && nattab_way(ret) == way)
			return slot;
	}
	return NATTAB_NONE;
}

static unsigned count_ways(const struct nat_line *l)
{
	unsigned used = 0;

	for (int i = 0; i < NAT_WAYS; i++)
		used += __atomic_load_n(&l->way[i], __ATOMIC_RELAXED) != 0;
	return used;
}

static void way_set(struct nattab *t, uint64_t way)
{
	uint64_t h = way_hash(t, (uint32_t)way);
	struct nat_line *l = &t->line[first_of(h, t->n_lines)], *second = &t->line[second_of(h, t->n_lines)];
	unsigned used = count_ways(l);

	if (used >= LINE_USED && count_ways(second) < used)
		l = second;
	for (int i = 0; i < NAT_WAYS; i++) {
		__u64 none = 0;

		if (__atomic_compare_exchange_n(&l->way[i], &none, way, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return;
	}
}

static void way_clear(struct nattab *t, uint64_t way)
{
	uint64_t h = way_hash(t, (uint32_t)way);
	struct nat_line *line[] = {&t->line[first_of(h, t->n_lines)], &t->line[second_of(h, t->n_lines)]};

	for (unsigned i = 0; i < 2 * NAT_WAYS; i++) {
		__u64 now = way;

		if (__atomic_compare_exchange_n(&line[i / NAT_WAYS]->way[i % NAT_WAYS], &now, 0, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return;
	}
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

static unsigned count_used(const struct nattab *t, uint32_t bucket, uint32_t now)
{
	unsigned used = 0;

	for (uint32_t i = 0; i < NAT_SLOTS; i++)
		used += !is_free(__atomic_load_n(&t->bucket[bucket].word[i], __ATOMIC_RELAXED), now);
	return used;
}

static bool claim(struct nattab *t, uint32_t slot, uint32_t now)
{
	uint32_t word = __atomic_load_n(word_at(t, slot), __ATOMIC_ACQUIRE);

	return is_free(word, now) &&
	       __atomic_compare_exchange_n(word_at(t, slot), &word, FLOW_WORD_BUSY, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* A free slot, made BUSY; NATTAB_NONE: there is none. */
static uint32_t take(struct nattab *t, const struct place *at, uint32_t now)
{
	unsigned used;
	uint32_t b;

	used = count_used(t, at->first, now);
	b = used >= FIRST_USED && count_used(t, at->second, now) < used ? at->second : at->first;
	if (b == at->first && claim(t, b * NAT_SLOTS + at->home, now))
		return b * NAT_SLOTS + at->home;
	for (uint32_t i = 0; i < NAT_SLOTS; i++)
		if (claim(t, b * NAT_SLOTS + i, now))
			return b * NAT_SLOTS + i;
	return NATTAB_NONE;
}

/* The entry, its way, then its word: nobody finds one that is not whole. */
static int insert_locked(struct nattab *t, const struct place *at, const struct nat_mapping *m, uint32_t now)
{
	struct nat_mapping there;
	uint32_t i;

	if (find(t, at, &m->inside, &there) != NATTAB_NONE)
		return -EEXIST;
	i = take(t, at, now);
	if (i == NATTAB_NONE)
		return -E2BIG;
	if (i / NAT_SLOTS != at->first)
		__atomic_fetch_or(&t->bucket[at->first].lock, NAT_LOCK_SPILLED, __ATOMIC_SEQ_CST);
	memcpy(&t->entry[i], m, sizeof(*m));
	way_set(t, (uint64_t)(i + 1) << 32 | nattab_way(m));
	__atomic_store_n(word_at(t, i), at->word, __ATOMIC_SEQ_CST);
	return 0;
}

int nattab_add(struct nattab *t, const struct nat_mapping *m, uint64_t now_ns)
{
	struct place at = place_of(t, &m->inside);
	uint32_t *lock = &t->bucket[at.first].lock, open = __atomic_load_n(lock, __ATOMIC_RELAXED);
	int err;

	for (int n = 0; open & NAT_LOCK_HELD || !__atomic_compare_exchange_n(lock, &open, open | NAT_LOCK_HELD, false,
									     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	     n++) {
		if (n == LOCK_TRIES)
			return -EBUSY;
		open = __atomic_load_n(lock, __ATOMIC_RELAXED);
	}
	err = insert_locked(t, &at, m, stamp(now_ns));
	__atomic_fetch_add(lock, NAT_LOCK_STEP - NAT_LOCK_HELD, __ATOMIC_SEQ_CST);
	return err;
}

unsigned nattab_free_locks(struct nattab *t)
{
	unsigned n = 0;

	for (uint32_t b = 0; b < t->n / NAT_SLOTS; b++)
		if (__atomic_load_n(&t->bucket[b].lock, __ATOMIC_RELAXED) & NAT_LOCK_HELD)
			n += flowtab_free_lock(&t->bucket[b].lock, NAT_LOCK_HELD);
	return n;
}

/* ---- ending */

/* The way first: should this process end in between, the next pass finds the mapping and ends it. That of the mapping that was
 * read: another one may have the slot by now. */
bool nattab_end(struct nattab *t, uint32_t i, uint32_t word, const struct nat_mapping *m, uint64_t now_ns)
{
	if ((word & FLOW_WORD_STATE) != FLOW_WORD_LIVE)
		return false;
	way_clear(t, (uint64_t)(i + 1) << 32 | nattab_way(m));
	return __atomic_compare_exchange_n(word_at(t, i), &word, stamp(now_ns) << 2 | FLOW_WORD_DEAD, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

int nattab_each_some(const struct nattab *t, uint32_t *at, uint32_t max,
		     int (*fn)(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg), void *arg)
{
	uint32_t end = t->n - *at > max ? *at + max : t->n, word;
	struct nat_mapping m;

	for (; *at < end; ++*at) {
		int r = nattab_read(t, *at, &m, &word) ? fn(*at, word, &m, arg) : 0;

		if (r)
			return r;
	}
	if (*at < t->n)
		return 1;
	*at = 0;
	return 0;
}
