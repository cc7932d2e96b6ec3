/* pool.h: the ports of NAT's public addresses, given out one by one until the very last.
 *
 * Stands between nat.h, which wants an address and a port for a new mapping, and sluiced, which says what addresses there are
 * and takes ports back. A port is a bit of `used`; `full` has a bit for each word of 64 that has nothing left, so that looking
 * for a free one reads at most 16 + 1 words, however full the pool is. sluiced works on the same bits through mmap.
 */
#ifndef SLUICE_POOL_H
#define SLUICE_POOL_H

#include <linux/in6.h>
#include "pkt.h"

/* Written by sluiced, read here. Pool id -> struct pool. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, POOL_MAX);
	__type(key, __u32);
	__type(value, struct pool);
} pools SEC(".maps");

/* Written by sluiced, read here. Two banks of POOL_MEMBER_MAX; the pools say where theirs begin. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * POOL_MEMBER_MAX);
	__type(key, __u32);
	__type(value, __u32);
} pool_members SEC(".maps");

/* Written by sluiced, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, POOL_ADDR_MAX);
	__type(key, __u32);
	__type(value, struct pool_addr);
} pool_addrs SEC(".maps");

/* Bits are set here, and cleared by sluiced. */
SHARED_ARRAY(pool_ports, struct pool_ports, POOL_PORTS_MAX);

enum pool_class { POOL_TCP = 0, POOL_UDP = 1, POOL_ICMP = 2 };

/* POOL_CLASSES: a protocol whose ports, if it has any, are not translated. */
static __always_inline __u32 pool_class(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return POOL_TCP;
	case IPPROTO_UDP:
		return POOL_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return POOL_ICMP;
	}
	return POOL_CLASSES;
}

static __always_inline struct pool_ports *pool_ports_get(__u32 pool_addr, __u32 class)
{
	__u32 i = pool_addr * POOL_CLASSES + class;

	return bpf_map_lookup_elem(&pool_ports, &i);
}

/* The word has no free port. Races with a release on another CPU: the release clears the port and then the hint, here the hint
 * is set and then the ports are looked at again, so whichever comes last leaves a hint that hides no free port. The other way
 * round, a hint missing on a full word, costs the next search one more step. */
static __always_inline void pool_word_full(struct pool_ports *b, __u32 w)
{
	__u64 *full = &b->full[(w >> 6) % (POOL_WORDS / 64)], bit = 1ULL << (w & 63);

	__sync_fetch_and_or(full, bit);
	if (READ_ONCE(b->used[w % POOL_WORDS]) != ~0ULL)
		__sync_fetch_and_and(full, ~bit);
}

/* True: the port is the caller's. */
static __always_inline bool pool_port_take(struct pool_ports *b, __u32 port)
{
	__u32 w = (port >> 6) % POOL_WORDS;
	__u64 bit = 1ULL << (port & 63);
	__u64 old = __sync_fetch_and_or(&b->used[w], bit);

	if (old & bit)
		return false;
	if ((old | bit) == ~0ULL)
		pool_word_full(b, w);
	return true;
}

/* The trace first: who sees the port taken anew sees that it has been given back before. */
static __always_inline void pool_port_release(__u32 pool_addr, __u32 class, __u32 port)
{
	__u32 i = pool_addr * POOL_CLASSES + class, at = POOL_TRACE(i), w = (port >> 6) % POOL_WORDS;
	struct pool_ports *b = bpf_map_lookup_elem(&pool_ports, &i), *trace = bpf_map_lookup_elem(&pool_ports, &at);
	__u64 bit = 1ULL << (port & 63);

	/* Those of a run go with their way. */
	if (!b || !trace || pool_addr >= POOL_ADDR_MAX)
		return;
	__sync_fetch_and_or(&trace->used[w], bit);
	__sync_fetch_and_and(&b->used[w], ~bit);
	__sync_fetch_and_and(&b->full[w >> 6], ~(1ULL << (w & 63)));
}

/* The first word in [from, to] that may have a free port; POOL_WORDS: none. */
static __always_inline __u32 pool_word_next(const struct pool_ports *b, __u32 from, __u32 to)
{
	__u64 mask = ~0ULL << (from & 63);
	__u32 s = from >> 6;

	for (int i = 0; i < POOL_WORDS / 64 && s <= to >> 6; i++, s++, mask = ~0ULL) {
		__u64 free = ~READ_ONCE(b->full[s % (POOL_WORDS / 64)]) & mask;

		if (free) {
			__u32 w = s * 64 + __builtin_ctzll(free);

			return w <= to ? w : POOL_WORDS;
		}
	}
	return POOL_WORDS;
}

/* The bits of word w that stand for ports in [min, max]. */
static __always_inline __u64 pool_word_mask(__u32 w, __u32 min, __u32 max)
{
	__u64 mask = ~0ULL;

	if (w == min >> 6)
		mask &= ~0ULL << (min & 63);
	if (w == max >> 6)
		mask &= ~0ULL >> (63 - (max & 63));
	return mask;
}

/* A search through the addresses of a pool, beginning with the one that belongs to the inside address (paired pooling, RFC 4787
 * REQ-2), and through the ports of each: the wanted one first (port preservation), then from a random place around, for a while
 * only those of the wanted one's parity (RFC 4787 REQ-4), then whatever there is. */
struct pool_search {
	__u32 first, count; /* in pool_members */
	__u32 start;	    /* the member to begin with */
	__u32 tried;	    /* members given up */
	__u32 class;
	__u32 min, max; /* ports */
	__u32 want;
	__u32 random;
	__u32 from, to; /* words that are being searched */
	__u8 lap;	/* 0: the member is new; 1: from the random place up; 2: below it */
	__u8 found;
	__u8 parity;  /* words left in which to insist on the wanted parity */
	__u8 skipped; /* some were passed over for it */
	__u32 spread; /* of POOL_F_RUNS: which address of a run belongs to the inside one */
	__u32 runs;   /* POOL_F_RUNS, or 0 */
	/* the result */
	__u32 pool_addr;
	__u32 port;
};

static __always_inline __u32 pool_search_origin(const struct pool_search *s)
{
	return s->min + s->random % (s->max - s->min + 1);
}

/* Where to search next in this member's words; false: nowhere. */
static __always_inline bool pool_search_word(struct pool_search *s, const struct pool_ports *b, __u32 *ret)
{
	__u32 origin = pool_search_origin(s), w = POOL_WORDS;

	if (s->from <= s->to)
		w = pool_word_next(b, s->from, s->to);
	if (w == POOL_WORDS && s->lap == 1 && origin >> 6 > s->min >> 6) {
		s->lap = 2;
		s->from = s->min >> 6;
		s->to = (origin >> 6) - 1;
		w = pool_word_next(b, s->from, s->to);
	}
	*ret = w;
	return w != POOL_WORDS;
}

/* The free ports of a word that are in the range. */
static __always_inline __u64 pool_word_free(const struct pool_search *s, struct pool_ports *b, __u32 w)
{
	__u64 free = ~READ_ONCE(b->used[w % POOL_WORDS]);

	if (!free)
		pool_word_full(b, w);
	return free & pool_word_mask(w, s->min, s->max);
}

/* Those of the wanted one's parity. */
static __always_inline __u64 pool_word_same(const struct pool_search *s, __u64 free)
{
	return free & (s->want & 1 ? 0xaaaaaaaaaaaaaaaaULL : 0x5555555555555555ULL);
}

/* One of the free ports of a word. False: it is another CPU's now. */
static __always_inline bool pool_word_take(struct pool_search *s, struct pool_ports *b, __u32 w, __u64 free)
{
	__u64 above = free & (~0ULL << (s->random & 63));

	s->port = w * 64 + __builtin_ctzll(above ? above : free);
	return pool_port_take(b, s->port);
}

/* Is it an interface's? */
static __always_inline bool pool_addr_is_own(__u32 id)
{
	__u32 slot = POOL_SLOT(id);
	struct pool_addr *a = bpf_map_lookup_elem(&pool_addrs, &slot);

	return a && a->flags & POOL_ADDR_F_OWN;
}

/* May a source have the port there that it has inside? Which identifiers the host's own pings have is nowhere written down, and
 * who is inside may know one: none is kept. */
static __always_inline bool pool_keeps(__u32 class, __u32 id)
{
	return class != POOL_ICMP || !pool_addr_is_own(id);
}

/* One step: a word looked at, or a member given up. Returns 1 to end the loop. */
static long pool_search_step(__u64 step, void *arg)
{
	struct pool_search *s = arg;
	__u32 i = s->first + (s->start + s->tried) % s->count, w;
	__u32 *member = bpf_map_lookup_elem(&pool_members, &i);
	struct pool_ports *b = member ? pool_ports_get(*member, s->class) : NULL;
	__u64 free;

	if (!b)
		return 1;
	s->pool_addr = *member;
	if (!s->lap) {
		s->lap = 1;
		s->from = pool_search_origin(s) >> 6;
		s->to = s->max >> 6;
		s->port = s->want;
		if (s->want >= s->min && s->want <= s->max && pool_keeps(s->class, *member) && pool_port_take(b, s->want))
			return s->found = 1;
	}
	if (!pool_search_word(s, b, &w)) {
		s->lap = 0;
		if (s->skipped) {
			s->skipped = s->parity = 0;
			return 0;
		}
		return ++s->tried >= s->count;
	}
	free = pool_word_free(s, b, w);
	if (!free) {
		s->from = w + 1;
		return 0;
	}
	if (s->parity) {
		__u64 same = pool_word_same(s, free);

		s->parity--;
		if (!same) {
			s->skipped = 1;
			s->from = w + 1;
			return 0;
		}
		free = same;
	}
	if (pool_word_take(s, b, w, free))
		return s->found = 1;
	/* Lost to another CPU: the same word again. */
	return 0;
}

/* Words in which a port of the wanted parity is looked for: in a pool that is not nearly full the first has one. */
#define POOL_PARITY_WORDS 16

/* Steps for a member: the first, two words at the ends of the range with nothing in it, one lap more, and giving up; the rest is
 * for words whose hint was late, and for ports that other CPUs snatched. */
#define POOL_STEPS_MEMBER 8
#define POOL_STEPS_RACES  1024

static __always_inline bool pool_port_is_free(const struct pool_ports *b, __u32 port)
{
	/* verifier: as in pool_search_take(). */
	barrier_var(port);
	return !(READ_ONCE(b->used[(port >> 6) % POOL_WORDS]) >> (port & 63) & 1);
}

#define POOL_WELL_KNOWN 1024 /* ports below are (RFC 6335 6) */

/* Has the pool ports on both sides of 1024, which are told apart (RFC 4787 REQ-3 a)? Identifiers of echoes know no sides. */
static __always_inline bool pool_has_sides(const struct pool_search *s)
{
	return s->min < POOL_WELL_KNOWN && s->max >= POOL_WELL_KNOWN && s->class != POOL_ICMP;
}

/* The port that the loop would come to first, of the address that belongs to the source: the one that it has inside, or, where
 * others have that, one of the first word. Nothing is taken. 0: the loop is to look for it. `b`: of that address. */
static __always_inline __u32 pool_search_peek(struct pool_search *s, const struct pool_ports *b)
{
	__u64 free, above;
	__u32 w;

	if (s->want >= s->min && s->want <= s->max && pool_port_is_free(b, s->want))
		return s->want;
	if (s->max < s->min || pool_has_sides(s))
		return 0;
	s->random = bpf_get_prandom_u32();
	w = pool_search_origin(s) >> 6;
	free = ~READ_ONCE(b->used[w % POOL_WORDS]) & pool_word_mask(w, s->min, s->max);
	if (s->parity)
		free = pool_word_same(s, free);
	above = free & (~0ULL << (s->random & 63));
	return free ? w * 64 + __builtin_ctzll(above ? above : free) : 0;
}

/* That one. True: it is the caller's. */
static __always_inline bool pool_search_take(struct pool_search *s, struct pool_ports *b, __u32 port)
{
	/* verifier: on 6.1 it does not see that it is a port, and the compiler, which does, would leave the bound out. */
	barrier_var(port);
	s->port = port;
	s->found = port && b && pool_port_take(b, port);
	return s->found;
}

/* Leaves of a search those ports of the inside address's own member that are on the wanted one's side of 1024 (RFC 4787 REQ-3 a).
 * False: the pool has no others; identifiers of echoes know no sides. verifier: a global function, or what it decides would be
 * followed through all that comes after it. */
__noinline_global int pool_search_side(struct pool_search *s)
{
	if (!s || !pool_has_sides(s))
		return false;
	if (s->want < POOL_WELL_KNOWN)
		s->max = POOL_WELL_KNOWN - 1;
	else
		s->min = POOL_WELL_KNOWN;
	s->start++;
	s->tried = s->count - 1;
	return true;
}

/* Undoes that. */
static __always_inline void pool_search_sides(struct pool_search *s, const struct pool *pool)
{
	s->min = pool->port_min;
	s->max = pool->port_max;
	s->start--;
	s->tried = 0;
}

/* The next free port into s->found, pool_addr and port. verifier: a global function, so that the loop is followed once; it wants
 * its context on the stack. */
__noinline_global int pool_search(struct pool_search *s)
{
	struct pool_search on_stack;

	if (!s)
		return 0;
	on_stack = *s;
	bpf_loop(on_stack.count * POOL_STEPS_MEMBER + POOL_STEPS_RACES, pool_search_step, &on_stack, 0);
	s->found = on_stack.found;
	s->pool_addr = on_stack.pool_addr;
	s->port = on_stack.port;
	return 0;
}

/* The members of the family; 0: none. *ret_first is the first one's place in pool_members. */
static __always_inline __u32 pool_family(const struct pool *pool, __u8 family, __u32 *ret_first)
{
	__u64 members = READ_ONCE(pool->members);
	struct pool now;

	now.members = members;
	*ret_first = family == 4 ? now.first4 : now.first6;
	return family == 4 ? now.count4 : now.count6;
}

/* What belongs to an inside address: the lower half says which member (modulo their number), the upper one which of a run. */
static __always_inline __u64 pool_paired(const struct addr *inside, __u32 seed)
{
	__u64 h = inside->a64[0] * 0x9e3779b97f4a7c15ULL + (inside->a64[1] ^ seed);

	/* Every bit must reach the low ones: an address's last byte is the highest of its word here. */
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
	return h ^ (h >> 33);
}

static __always_inline void pool_search_pair(struct pool_search *s, const struct addr *inside, __u32 seed)
{
	__u64 h = pool_paired(inside, seed);

	s->start = (__u32)h % s->count;
	s->spread = h >> 32;
}

/* An address of the pool: the one that belongs to the source, for k 0, or another. verifier: false: there is none. */
static __always_inline bool pool_member(const struct pool_search *s, __u32 k, __u32 *ret_id)
{
	__u32 nth = (s->start + k) % s->count, i, *id, *n;

	i = s->first + (s->runs ? 2 * nth : nth);
	id = bpf_map_lookup_elem(&pool_members, &i);
	if (!id)
		return false;
	*ret_id = *id;
	if (!s->runs)
		return true;
	i++;
	n = bpf_map_lookup_elem(&pool_members, &i);
	if (!n || !*n)
		return false;
	*ret_id += POOL_ID(0, (s->spread + k / s->count) % *n);
	return true;
}

/* Which address that is. False: it is none of NAT's any more. */
static __always_inline bool pool_addr_read(__u32 id, struct addr *ret, __u32 *ret_flags)
{
	__u32 slot = POOL_SLOT(id);
	struct pool_addr *a = bpf_map_lookup_elem(&pool_addrs, &slot);

	if (!a)
		return false;
	*ret_flags = a->flags;
	*ret = a->addr;
	if (id >= POOL_ADDR_MAX) {
		struct pool_addr now = {.run = READ_ONCE(a->run)};

		if (POOL_AT(id) - now.run_from >= now.run_n) /* it is no more what it was */
			return false;
		ret->a32[3] = bpf_htonl(bpf_ntohl(ret->a32[3]) + POOL_AT(id) - 1);
	}
	return *ret_flags & POOL_ADDR_F_USED;
}

/* Another one than pool_search_peek() has seen. */
static __always_inline void pool_search_other(struct pool_search *s, const struct pool *pool)
{
	s->random = bpf_get_prandom_u32();
	if (pool_search_side(s)) {
		pool_search(s);
		pool_search_sides(s, pool);
	}
	if (!s->found)
		pool_search(s);
}

#endif
