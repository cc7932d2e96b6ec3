/* nattab.h: the table of NAT's mappings: found by the inside address and port, or by the outside port; made, ended.
 *
 * Stands between nat_map.h, which says what a mapping means, and three mmap-ed arrays, which abi.h describes; user/nattab.c is
 * the same table seen from sluiced. A first packet reads one line of words to learn that it has no mapping, and writes its entry,
 * its word and its way, a cache line each; the kernel's hash took two allocations, two locks and two long keys for that.
 *
 * Races. An entry is whole before its word says LIVE, and is not given away until WORD_GRACE (who gave way: WORD_GRACE_EARLY)
 * after its word says DEAD, so whoever found it reads this mapping and no other; nat_map.h says what becomes of one that ends in
 * that instant. Two CPUs that insert one key do so one after the other, see nattab_insert_in(). A CPU that is held up for longer
 * than the grace (a virtual one, by its hypervisor) may join a later mapping: see nat_mapping_end().
 */
#ifndef SLUICE_NATTAB_H
#define SLUICE_NATTAB_H

#include "pkt.h"
#include "bucket.h"
#include "counter.h"
#include "flowtab.h"
#include "iface.h"
#include "pool.h"

/* Written here and by sluiced. Sizes: set by sluiced. */
SHARED_ARRAY(nat_words, struct bucket, 16);

/* Written here and by sluiced. BUCKET_SLOTS for each bucket. */
SHARED_ARRAY(nat_mappings, struct nat_mapping, 16 * BUCKET_SLOTS);

/* Written here and by sluiced. */
SHARED_ARRAY(nat_ways, struct nat_line, 64);

/* The same with another size, while sluiced moves there: see flowtab.h. */
SHARED_ARRAY(nat_words_next, struct bucket, 1);

SHARED_ARRAY(nat_mappings_next, struct nat_mapping, 1);

SHARED_ARRAY(nat_ways_next, struct nat_line, 1);

#define NATTAB_KEY_WORDS  7 /* of 32 bits; the eighth is never used */
#define NATTAB_LINE_USED  6
#define NATTAB_LINE_TRIES 2

/* ---- access. Here and below `next`, a constant, tells which of the tables. */

static __always_inline struct bucket *nattab_bucket(bool next, __u32 i)
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

static __always_inline bool nattab_is_live(bool next, __u32 i)
{
	struct bucket *b = nattab_bucket(next, i / BUCKET_SLOTS);
	__u32 slot = i % BUCKET_SLOTS;

	return b && bucket_is_slot(&slot) && (READ_ONCE(b->word[slot]) & WORD_STATE) == WORD_LIVE;
}

/* ---- from inside */

static __always_inline bool nattab_key_is(__u8 next, __u32 i, const void *key)
{
	const struct nat_mapping *m = nattab_at(next, i);
	const __u64 *want = key, *have;

	if (!m)
		return false;
	have = (const __u64 *)&m->inside;
	return have[0] == want[0] && have[1] == want[1] && have[2] == want[2] && have[3] == want[3];
}

/* `lock`: of the first bucket. */
static __always_inline __u32 nattab_search(bool next, const struct bucket_place *at, struct bucket *first, __u32 lock,
					   const struct nat_mapping_key *key)
{
	__u32 i = bucket_search(first, at->first, at->word, nattab_key_is, next, key), second;

	if (i || !(lock & BUCKET_SPILLED))
		return i;
	second = bucket_after(at->second, lock);
	return bucket_search(nattab_bucket(next, second), second, at->word, nattab_key_is, next, key);
}

/* Where a key may stand. */
static __always_inline void nattab_place_in(bool next, const struct nat_mapping_key *key, struct bucket_place *ret_at)
{
	struct flow_table *t = nattab_head(next);

	bucket_place(flowtab_hash(t, (const __u32 *)key, NATTAB_KEY_WORDS), t->nat_buckets, 0, ret_at);
}

/* What is read, or most likely written, in a moment. */
static __always_inline void nattab_touch(bool next, const struct bucket_place *at)
{
	struct bucket *b = nattab_bucket(next, at->first);
	struct nat_mapping *e = nattab_at(next, at->first * BUCKET_SLOTS + at->home);

	if (!b || !e)
		return;
	flowtab_touch(b->lock);
	flowtab_touch(e->pool_addr);
}

/* `at`: of nattab_place(). */
static __always_inline __u32 nattab_look_in(bool next, const struct nat_mapping_key *key, struct bucket_place *at)
{
	struct bucket *b = nattab_bucket(next, at->first);
	__u32 word, i;

	if (!b)
		return 0;
	at->lock = READ_ONCE(b->lock);
	/* What was inserted before the lock said so is seen: nattab_insert() relies on it. */
	b = bucket_after(b, at->lock);
	word = READ_ONCE(b->word[at->home & 15]);
	i = bucket_after(at->first * BUCKET_SLOTS + at->home, word);
	if (word == at->word && nattab_key_is(next, i, key))
		return i + 1;
	return nattab_search(next, at, b, at->lock, key);
}

static __always_inline __u32 nattab_find_in(bool next, const struct nat_mapping_key *key, struct bucket_place *ret_at)
{
	struct bucket_place at = {};
	__u32 i;

	if (!key || !ret_at)
		return 0;
	nattab_place_in(next, key, &at);
	nattab_touch(next, &at);
	i = nattab_look_in(next, key, &at);
	*ret_at = at;
	return i;
}

/* For nattab_look(). */
static __always_inline void nattab_place(const struct nat_mapping_key *key, struct bucket_place *ret_at)
{
	nattab_place_in(false, key, ret_at);
}

/* As nattab_find(), at what nattab_place() has said. */
__noinline_global __u32 nattab_look(const struct nat_mapping_key *key, struct bucket_place *at)
{
	return key && at ? nattab_look_in(false, key, at) : 0;
}

/* Index of the mapping + 1; 0: there is none. *ret_at is for nattab_insert(), should one be made. */
__noinline_global __u32 nattab_find(const struct nat_mapping_key *key, struct bucket_place *ret_at)
{
	return nattab_find_in(false, key, ret_at);
}

__noinline_global __u32 nattab_find_next(const struct nat_mapping_key *key, struct bucket_place *ret_at)
{
	return cfg_resize ? nattab_find_in(true, key, ret_at) : 0;
}

/* ---- from outside */

static __always_inline __u64 nattab_way_hash(const struct flow_table *t, __u32 way)
{
	return bucket_mix(t->hash_key[0] + t->hash_key[1] * way);
}

static __always_inline __u32 nattab_way(const struct nat_mapping *m)
{
	__u32 pool_addr = m->pool_addr;

	return NAT_WAY(pool_addr, pool_class(m->inside.proto), bpf_ntohs(m->port));
}

/* A bit for each place of the line with `way`, or for each free one. */
static __always_inline __u32 nattab_way_mask(const struct nat_line *l, __u64 want, __u64 bits)
{
	__u32 mask = 0;

	BUCKET_UNROLL
	for (__u32 i = 0; i < NAT_WAYS; i++) {
		__u64 x = (READ_ONCE(l->way[i]) ^ want) & bits;

		mask |= (__u32)(~(x | -x) >> 63) << i;
	}
	return mask;
}

/* The lowest of a mask's bits. verifier: as bucket_is_slot(). */
static __always_inline __u32 nattab_way_lowest(__u32 mask)
{
	__u32 i = bucket_lowest(mask);

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

/* How many have this way; one is seen once, in whichever of its two lines it stands. */
static __always_inline __u32 nattab_way_count(bool next, const struct flow_table *t, __u32 way)
{
	__u64 h = nattab_way_hash(t, way);
	__u32 one = bucket_first(h, t->nat_lines), other = bucket_second(h, t->nat_lines);
	struct nat_line *first = nattab_line(next, one), *second = nattab_line(next, other);
	__u32 mask;

	if (!first || !second)
		return 0;
	mask = nattab_way_mask(first, way, 0xffffffff);
	if (one != other)
		mask |= nattab_way_mask(second, way, 0xffffffff) << NAT_WAYS;
	return __builtin_popcount(mask);
}

/* Is a port of a run's to be had? */
static __always_inline bool nattab_way_is_free(__u32 way)
{
	struct flow_table *t = nattab_head(false);

	return !nattab_way_count(false, t, way);
}

/* Whose an outside port is, by NAT_WAY(): index of the mapping + 1; 0: nobody's. */
static __always_inline __u32 nattab_find_way_in(bool next, __u32 way)
{
	struct flow_table *t = nattab_head(next);
	struct nat_mapping *m;
	__u32 i;
	__u64 h;

	h = nattab_way_hash(t, way);
	i = nattab_way_in(next, bucket_first(h, t->nat_lines), way);
	if (!i)
		i = nattab_way_in(next, bucket_second(h, t->nat_lines), way);
	if (!i || !nattab_is_live(next, i - 1))
		return 0;
	m = nattab_at(next, i - 1);
	return m && nattab_way(m) == way ? i : 0;
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
	struct nat_line *first = nattab_line(next, bucket_first(h, t->nat_lines)), *second, *l;
	__u32 free, other;

	if (!first)
		return false;
	free = h & (NAT_WAYS - 1);
	if (likely(!READ_ONCE(first->way[free]) && !__sync_val_compare_and_swap(&first->way[free], 0, way)))
		return true;
	second = nattab_line(next, bucket_second(h, t->nat_lines));
	if (!second)
		return false;
	for (int i = 0; i < NATTAB_LINE_TRIES; i++) {
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

static __always_inline void nattab_way_clear(bool next, const struct flow_table *t, __u64 way)
{
	__u64 h = nattab_way_hash(t, (__u32)way);

	if (!nattab_way_clear_in(next, bucket_first(h, t->nat_lines), way))
		nattab_way_clear_in(next, bucket_second(h, t->nat_lines), way);
}

/* ---- inserting */

/* The line that nattab_insert() will write. */
static __always_inline __u32 nattab_way_place(__u32 way)
{
	struct flow_table *t = nattab_head(false);

	return bucket_first(nattab_way_hash(t, way), t->nat_lines);
}

static __always_inline void nattab_way_touch(__u32 line)
{
	struct nat_line *l = nattab_line(false, line);

	if (l)
		flowtab_touch(l->way[0]);
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
	e->out_vrf = p->reply_vrf;
	if (unlikely(p->hairpin)) {
		i = iface_get(p->hairpin);
		e->out_vrf = i ? i->vrf : p->vrf;
	}
	e->rule = p->nat_source;
	e->filtering = p->nat_filtering;
}

/* Entry `i`, whose word in `b` is BUSY: the entry, its way, then its word.
 *
 * A port of a run is held by its way alone. Each of two CPUs that take one puts its own in and then looks for the other's: one of
 * them at least finds it, and gives up, which may be both. 0; -EADDRINUSE: so it was, or there is no place for the way; -E2BIG.
 */
static __always_inline int nattab_fill(bool next, struct bucket *b, __u32 slot, __u32 i, const struct pkt *p,
				       const struct nat_mapping_key *key, __u32 word)
{
	struct flow_table *t = nattab_head(next);
	struct nat_mapping *e = nattab_at(next, i);
	__u32 pool_addr = p->pool_addr;
	__u64 way;
	bool known;
	int err = 0;

	if (!b || !e)
		return -E2BIG;
	nattab_write(e, p, key);
	way = (__u64)(i + 1) << 32 | NAT_WAY(pool_addr, pool_class(p->l4_proto), bpf_ntohs(p->to.sport));
	known = nattab_way_set(next, t, way);
	if (unlikely(pool_addr >= POOL_ADDR_MAX) && (!known || nattab_way_count(next, t, (__u32)way) > 1)) {
		nattab_way_clear(next, t, way);
		word = WORD_EMPTY;
		err = -EADDRINUSE;
	}
	bucket_publish(b, slot, word);
	if (!known && !err)
		count_stat(STAT_NAT_OUTSIDE_FULL, 1);
	return err;
}

/* Takes a slot and makes the mapping, in the second bucket where the first one has none: *ret_spilled. As nattab_fill(). */
static __always_inline int nattab_make(bool next, const struct pkt *p, const struct nat_mapping_key *key,
				       const struct bucket_place *at, struct bucket *first, bool *ret_spilled)
{
	__u32 i = bucket_take_near(at, first, p->now_ns);
	struct bucket *b = first;

	if (unlikely(!i)) {
		b = nattab_bucket(next, at->second);
		i = b ? bucket_take_any(at, first, b, p->now_ns) : 0;
		if (!i)
			return -E2BIG;
		*ret_spilled = !bucket_has(at->first, i - 1);
		if (!*ret_spilled)
			b = first;
	}
	return nattab_fill(next, b, (i - 1) % BUCKET_SLOTS, i - 1, p, key, at->word);
}

/* Under the first bucket's lock. Whoever loses finds the winner's mapping: -EEXIST. */
static __always_inline int nattab_insert_in(bool next, const struct pkt *p, const struct nat_mapping_key *key,
					    const struct bucket_place *at)
{
	struct bucket *first = nattab_bucket(next, at->first);
	bool spilled = false;
	int err, may;

	if (!first)
		return -E2BIG;
	may = bucket_begin(first, at);
	if (may < 0)
		return may;
	if (may && nattab_search(next, at, first, READ_ONCE(first->lock), key))
		err = -EEXIST;
	else
		err = nattab_make(next, p, key, at, first, &spilled);
	bucket_unlock(first, spilled);
	return err;
}

/* The packet's source, `key`, gets the address and port that the packet is to leave with. `at`: what nattab_find() has said of
 * the key. 0; -EEXIST; -E2BIG: no room; -EADDRINUSE: the port is another's; -EBUSY: another CPU inserts, and does not come to an
 * end. */
__noinline_global int nattab_insert(const struct pkt *p, const struct nat_mapping_key *key, const struct bucket_place *at)
{
	return p && key && at ? nattab_insert_in(false, p, key, at) : -E2BIG;
}

__noinline_global int nattab_insert_next(const struct pkt *p, const struct nat_mapping_key *key, const struct bucket_place *at)
{
	return cfg_resize && p && key && at ? nattab_insert_in(true, p, key, at) : -E2BIG;
}

/* ---- ending */

/* Mapping `i` is found no more, neither way. */
static __always_inline void nattab_kill_in(bool next, __u32 i, bool early)
{
	struct bucket *b = nattab_bucket(next, i / BUCKET_SLOTS);
	struct nat_mapping *m = nattab_at(next, i);
	struct flow_table *t = nattab_head(next);
	__u64 way;

	if (!b || !m)
		return;
	way = (__u64)(i + 1) << 32 | nattab_way(m);
	if (bucket_kill(b, i, early))
		nattab_way_clear(next, t, way);
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
