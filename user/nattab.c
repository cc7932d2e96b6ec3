/* nattab.c: NAT's mappings in shared memory: found, read, ended, and for restored flows inserted. The steps and their order are
 * those of bpf/nattab.h; tests/unit/nattab_test.c holds the two against each other. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include "bucket.h"
#include "nattab.h"
#include "spill.h"
#include "table.h"

#define KEY_WORDS 7
#define LINE_USED 6

uint32_t nattab_buckets(uint32_t mappings)
{
	return buckets_for(mappings);
}

/* Twice as many places for ways as mappings, since a line has few. */
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
	t->n = table_capacity(words) * BUCKET_SLOTS;
	t->n_lines = table_capacity(ways);
	return table_capacity(entries) == t->n && t->n_lines ? 0 : -EINVAL;
}

/* ---- where a mapping stands */

static struct bucket_place place_of(const struct nattab *t, const struct nat_mapping_key *key)
{
	return bucket_place(t->head, key, KEY_WORDS, t->n / BUCKET_SLOTS, 0);
}

bool nattab_read(const struct nattab *t, uint32_t i, struct nat_mapping *ret, uint32_t *ret_word)
{
	uint32_t word = bucket_word(t->bucket, i);

	if ((word & WORD_STATE) != WORD_LIVE)
		return false;
	memcpy(ret, &t->entry[i], sizeof(*ret));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	*ret_word = word;
	return bucket_word(t->bucket, i) == word;
}

static uint32_t find(const struct nattab *t, const struct bucket_place *at, const struct nat_mapping_key *key,
		     struct nat_mapping *ret)
{
	uint32_t word;

	for (unsigned i = bucket_first_place(at) * BUCKET_SLOTS; i < BUCKET_PLACES * BUCKET_SLOTS; i++) {
		uint32_t slot = at->bucket[i / BUCKET_SLOTS] * BUCKET_SLOTS + i % BUCKET_SLOTS;

		if (bucket_word(t->bucket, slot) == at->word && nattab_read(t, slot, ret, &word) &&
		    !memcmp(&ret->inside, key, sizeof(*key)))
			return slot;
	}
	return NATTAB_NONE;
}

uint32_t nattab_lookup(const struct nattab *t, const struct nat_mapping_key *key, struct nat_mapping *ret)
{
	struct bucket_place at = place_of(t, key);

	return find(t, &at, key, ret);
}

/* ---- ways */

unsigned nat_class(uint8_t proto)
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
	return NAT_WAY(m->pool_addr, nat_class(m->inside.proto), ntohs(m->port));
}

static uint64_t way_hash(const struct nattab *t, uint32_t way)
{
	return bucket_mix(t->head->hash_key[0] + t->head->hash_key[1] * way);
}

uint32_t nattab_lookup_way(const struct nattab *t, uint32_t way, struct nat_mapping *ret)
{
	uint64_t h = way_hash(t, way);
	const struct nat_line *line[] = {&t->line[bucket_first(h, t->n_lines)], &t->line[bucket_second(h, t->n_lines)]};
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

/* False: both of its lines are full. */
static bool way_set(struct nattab *t, uint64_t way)
{
	uint64_t h = way_hash(t, (uint32_t)way);
	struct nat_line *l = &t->line[bucket_first(h, t->n_lines)], *second = &t->line[bucket_second(h, t->n_lines)];
	unsigned used = count_ways(l);

	if (used >= LINE_USED && count_ways(second) < used)
		l = second;
	for (int i = 0; i < NAT_WAYS; i++) {
		__u64 none = 0;

		if (__atomic_compare_exchange_n(&l->way[i], &none, way, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	}
	return false;
}

/* How many have this way; one is seen once, in whichever of its two lines it stands. */
static unsigned way_count(const struct nattab *t, uint32_t way)
{
	uint64_t h = way_hash(t, way);
	uint32_t first = bucket_first(h, t->n_lines), second = bucket_second(h, t->n_lines);
	unsigned n = 0;

	for (unsigned i = 0; i < (first == second ? 1 : 2) * NAT_WAYS; i++) {
		uint64_t w = __atomic_load_n(&t->line[i < NAT_WAYS ? first : second].way[i % NAT_WAYS], __ATOMIC_SEQ_CST);

		n += w && (uint32_t)w == way;
	}
	return n;
}

static void way_clear(struct nattab *t, uint64_t way)
{
	uint64_t h = way_hash(t, (uint32_t)way);
	struct nat_line *line[] = {&t->line[bucket_first(h, t->n_lines)], &t->line[bucket_second(h, t->n_lines)]};

	for (unsigned i = 0; i < 2 * NAT_WAYS; i++) {
		__u64 now = way;

		if (__atomic_compare_exchange_n(&line[i / NAT_WAYS]->way[i % NAT_WAYS], &now, 0, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return;
	}
}

/* ---- inserting */

/* The entry, its way, then its word: nobody finds one that is not whole. A port of a run is held by its way alone: who finds no
 * place for it, or finds another's there, gives up, as the data plane does. */
static int insert_locked(struct nattab *t, const struct bucket_place *at, const struct nat_mapping *m, uint64_t now_ns)
{
	struct nat_mapping there;
	uint64_t way;
	uint32_t i;
	bool known;

	if (find(t, at, &m->inside, &there) != NATTAB_NONE)
		return -EEXIST;
	i = bucket_take(t->bucket, at, now_ns);
	if (i == BUCKET_NONE)
		return -E2BIG;
	bucket_note(t->bucket, at, i);
	memcpy(&t->entry[i], m, sizeof(*m));
	way = (uint64_t)(i + 1) << 32 | nattab_way(m);
	known = way_set(t, way);
	if (m->pool_addr >= POOL_ADDR_MAX && (!known || way_count(t, (uint32_t)way) > 1)) {
		way_clear(t, way);
		__atomic_store_n(bucket_at(t->bucket, i), WORD_EMPTY, __ATOMIC_SEQ_CST);
		return -EADDRINUSE;
	}
	__atomic_store_n(bucket_at(t->bucket, i), at->word, __ATOMIC_SEQ_CST);
	return 0;
}

int nattab_add(struct nattab *t, const struct nat_mapping *m, uint64_t now_ns)
{
	struct bucket_place at = place_of(t, &m->inside);
	struct bucket *first = &t->bucket[at.bucket[0]];
	int err;

	if (bucket_lock(first))
		return -EBUSY;
	err = insert_locked(t, &at, m, now_ns);
	bucket_unlock(first);
	return err;
}

/* A slot that was never LIVE may have its way already. */
unsigned nattab_free_locks(struct nattab *t)
{
	unsigned freed = bucket_free_locks(t->bucket, t->n / BUCKET_SLOTS);

	for (uint32_t i = 0; i < t->n; i++) {
		if (bucket_word(t->bucket, i) != WORD_BUSY || !bucket_is_stuck(t->bucket, i))
			continue;
		way_clear(t, (uint64_t)(i + 1) << 32 | nattab_way(&t->entry[i]));
		freed += bucket_swap(t->bucket, i, WORD_BUSY, WORD_EMPTY);
	}
	return freed;
}

/* ---- ending */

/* The way first: should this process end in between, the next pass finds the mapping and ends it. That of the mapping that was
 * read: another one may have the slot by now. */
bool nattab_end(struct nattab *t, uint32_t i, uint32_t word, const struct nat_mapping *m, uint64_t now_ns)
{
	if ((word & WORD_STATE) != WORD_LIVE)
		return false;
	way_clear(t, (uint64_t)(i + 1) << 32 | nattab_way(m));
	return bucket_end(t->bucket, i, word, now_ns);
}

/* `spill`: NULL: SPILLED is not looked after. */
static int each_some(const struct nattab *t, struct spill *spill, uint32_t *at, uint32_t max,
		     int (*fn)(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg), void *arg)
{
	uint32_t end = t->n - *at > max ? *at + max : t->n, word, first;
	struct nat_mapping m;

	for (; *at < end; ++*at) {
		int r;

		if (spill && *at % BUCKET_SLOTS == 0)
			spill_visit(spill, t->bucket, *at / BUCKET_SLOTS);
		if (!nattab_read(t, *at, &m, &word))
			continue;
		if (spill && spill->noted) {
			first = place_of(t, &m.inside).bucket[0];
			if (first != *at / BUCKET_SLOTS)
				spill_seen(spill, first);
		}
		r = fn(*at, word, &m, arg);
		if (r)
			return r;
	}
	if (*at < t->n)
		return 1;
	*at = 0;
	return 0;
}

int nattab_each_some(const struct nattab *t, uint32_t *at, uint32_t max,
		     int (*fn)(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg), void *arg)
{
	return each_some(t, NULL, at, max, fn, arg);
}

int nattab_sweep_some(struct nattab *t, struct spill *spill, uint32_t *at, uint32_t max,
		      int (*fn)(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg), void *arg)
{
	int r;

	if (!*at)
		spill_begin(spill, t->n / BUCKET_SLOTS);
	r = each_some(t, spill->lock ? spill : NULL, at, max, fn, arg);
	spill->whole = !r;
	return r;
}
