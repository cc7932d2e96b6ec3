/* fib_adopt.c: what a former life of sluiced left in the maps, made into nodes again: the skeleton of blocks, without the
 * prefixes, which the routes' sources will tell anew. Everything is checked: the memory outlived a process.
 */
#include "fib_priv.h"

#include <errno.h>

static int adopt_node(struct fib *f, struct fib_node *parent, struct fib_node **top, const struct fib_node *like, uint32_t entry);

/* A node whose byte `n` looks at; one that stands in two places is found out when its block is claimed again. */
static int adopt_bytes(struct fib *f, struct fib_node *n)
{
	struct fib_node like = {.vrf = n->vrf, .family = n->family, .depth = n->depth + 1};
	uint32_t e;
	int i, r;

	for (i = 0; i < 256; i++) {
		e = *fib_entry_word(f, fib_node_entry(n), (uint32_t)i << 24);
		if (!(e & FIB_NODE))
			continue;
		if (n->role != FIB_ROLE_BYTE) /* below a list nothing follows a byte */
			return -EINVAL;
		like.slot = i;
		r = adopt_node(f, n, NULL, &like, e);
		if (r)
			return r;
	}
	return 0;
}

/* A node behind the list, with those inside that lie between. */
static int adopt_below(struct fib *f, struct fib_node *n, uint32_t key, uint32_t entry)
{
	struct fib_node like = {.vrf = n->vrf, .family = n->family, .depth = n->depth + 4, .slot = key & 0xff}, *next;
	unsigned shift;
	int r;

	if (like.depth >= (n->family == 6 ? 16 : 4))
		return -EINVAL;
	for (shift = 24; shift; shift -= 8, n = next) {
		next = fib_node_child(n, key >> shift);
		if (next)
			continue;
		r = fib_add_node(f, n, NULL, n->vrf, fib_family_index(n->family), n->depth + 1, key >> shift & 0xff, &next);
		if (r)
			return r;
		next->role = FIB_ROLE_INSIDE;
	}
	return adopt_node(f, n, NULL, &like, entry);
}

/* How many ranges the first words of a unit make of the numbers from `first` to `last`, or -EINVAL. */
static int list_ranges(const struct fib_unit *u, unsigned words, uint64_t first, uint32_t last)
{
	unsigned i, n = 1;

	for (i = 1; i < words; i++) {
		if (u->word[i] == UINT32_MAX)
			continue;
		if (n != i || u->word[i] < first || u->word[i] >= last)
			return -EINVAL;
		first = (uint64_t)u->word[i] + 1;
		n++;
	}
	return n;
}

/* The units of a list, or -EINVAL. */
static int list_units(const struct fib *f, uint32_t entry)
{
	const struct fib_unit *u = &f->units[entry & FIB_UNIT_MASK];
	uint32_t first = 0, last;
	int i, n;

	if (!(entry & FIB_FLAT))
		return list_ranges(u, FIB_RANGES, 0, UINT32_MAX) < 0 ? -EINVAL : 1;
	n = list_ranges(u, FIB_UNIT_WORDS, 0, UINT32_MAX);
	if (n < 0 || (entry & FIB_UNIT_MASK) + 1 + n > f->n_units)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		last = i + 1 < n ? u->word[i + 1] : UINT32_MAX;
		if (list_ranges(u + 1 + i, FIB_RANGES, first, last) < 0)
			return -EINVAL;
		first = last + 1;
	}
	return 1 + n;
}

/* The nodes behind one unit of entries, for the numbers from `start` to `end`; each range that leads to one is of one number. */
static int adopt_ranges(struct fib *f, struct fib_node *n, const struct fib_unit *u, uint32_t start, uint32_t end)
{
	uint32_t last, e;
	int i, r;

	for (i = 0; i < FIB_RANGES; i++, start = last + 1) {
		last = i + 1 < FIB_RANGES && u->word[i + 1] < end ? u->word[i + 1] : end;
		e = u->word[FIB_RANGES + i];
		if (e & FIB_NODE) {
			r = start == last ? adopt_below(f, n, start, e) : -EINVAL;
			if (r)
				return r;
		}
		if (last == end)
			break;
	}
	return 0;
}

static int adopt_list(struct fib *f, struct fib_node *n)
{
	const struct fib_unit *u = &f->units[n->block];
	uint32_t start = 0, end;
	int i, r, lists = n->units - 1;

	if (!(n->form & FIB_FLAT))
		return adopt_ranges(f, n, u, 0, UINT32_MAX);
	for (i = 0; i < lists; i++, start = end + 1) {
		end = i + 1 < lists ? u->word[i + 1] : UINT32_MAX;
		r = adopt_ranges(f, n, u + 1 + i, start, end);
		if (r)
			return r;
	}
	return 0;
}

/* The units of a compressed node; -EINVAL when its counts do not fit its bits. */
static int compressed_units(const struct fib_unit *u)
{
	unsigned i, runs = 0;

	for (i = 0; i < 4; i++) {
		if (u->before[i] != runs)
			return -EINVAL;
		runs += __builtin_popcountll(u->starts[i]);
	}
	if (!(u->starts[0] & 1))
		return -EINVAL;
	return (FIB_NODE_HEAD + runs + FIB_UNIT_WORDS - 1) / FIB_UNIT_WORDS;
}

/* `like` gives the place of the node; its block is where `entry` leads. */
static int adopt_node(struct fib *f, struct fib_node *parent, struct fib_node **top, const struct fib_node *like, uint32_t entry)
{
	uint32_t block = entry & FIB_UNIT_MASK;
	struct fib_node *n;
	int r, units;

	if (block < FIB_FIRST || block >= f->n_units || like->depth >= (like->family == 6 ? 16 : 4))
		return -EINVAL;
	if (entry & FIB_LIST)
		units = list_units(f, entry);
	else
		units = entry & FIB_FLAT ? FIB_FLAT_UNITS : compressed_units(&f->units[block]);
	if (units < 0)
		return units;
	r = fib_units_claim(f->us, block, units);
	if (!r)
		r = fib_add_node(f, parent, top, like->vrf, fib_family_index(like->family), like->depth, like->slot, &n);
	if (r)
		return r;
	n->block = block;
	n->units = units;
	n->form = entry & FIB_FORM;
	n->role = entry & FIB_LIST || (parent && parent->role != FIB_ROLE_BYTE) ? FIB_ROLE_LIST : FIB_ROLE_BYTE;
	n->fallback = *fib_fallback_word(f, entry);
	n->published = true;
	r = fib_reserve(f, n);
	if (r)
		return r;
	return entry & FIB_LIST ? adopt_list(f, n) : adopt_bytes(f, n);
}

int fib_adopt(struct fib *f)
{
	struct fib_node like = {0};
	uint32_t i, e;
	int fi, r;

	for (fi = 0; fi < 2; fi++) {
		like.family = fi ? 6 : 4;
		for (i = 0; i < DIRECT_SLOTS; i++) {
			like.vrf = 0;
			like.depth = 2;
			like.slot = i;
			e = f->direct[fi]->mem[i];
			r = e & FIB_NODE ? adopt_node(f, NULL, &f->direct[fi]->child[i], &like, e) : 0;
			if (r)
				return r;
			fib_mark_direct(f->direct[fi], i);
		}
		for (i = 1; i < VRF_MAX; i++) {
			like.vrf = i;
			like.depth = like.slot = 0;
			e = fi ? f->roots[i].entry6 : f->roots[i].entry4;
			r = e & FIB_NODE ? adopt_node(f, NULL, &f->root[i][fi].node, &like, e) : 0;
			if (r)
				return r;
			f->root[i][fi].dirty = true;
		}
	}
	return 0;
}
