/* fib.c: see fib.h. Prefixes are kept at the node where they end (fib_node.c); a commit writes the nodes that changed, the
 * deepest first, so that whatever becomes reachable is complete. Memory comes from fib_units.c.
 *
 * Each address has exactly one word that holds a level's result for it: the entry of its run, or the fallback of the child
 * node in its place. A change of one prefix is thus one store for each address, and no order of stores shows a packet
 * anything but the old result or the new one.
 */
#include "fib.h"
#include "fib_node.h"
#include "fib_units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIRECT_BITS  16
#define DIRECT_SLOTS (1u << DIRECT_BITS)

/* A node of so many runs becomes flat while a part of the memory is free, and stays so until it has few. */
#define FLAT_RUNS  16
#define ROUND_RUNS 6

/* The first 16 bits of VRF 0, one family. */
struct direct {
	uint32_t *mem;			  /* the data plane's table */
	uint32_t value[2 * DIRECT_SLOTS]; /* prefixes of 0..16 bits by their place in the binary tree: 1 is /0 */
	uint32_t wanted[DIRECT_SLOTS];	  /* their result for each slot */
	struct fib_node *child[DIRECT_SLOTS];
	uint16_t dirty[DIRECT_SLOTS]; /* slots to write, each at most once */
	bool is_dirty[DIRECT_SLOTS];
	uint32_t n_dirty;
};

/* One family of another VRF. */
struct root {
	uint32_t value; /* of /0 */
	struct fib_node *node;
	bool dirty;
};

struct fib {
	struct fib_unit *units;
	struct fib_root *roots;
	struct fib_units *us;
	uint32_t n_units, needed, max_needed; /* set aside, of */
	uint32_t count[2], limit[2];
	struct direct *direct[2];
	struct root root[VRF_MAX][2];
	struct fib_dirty {
		struct fib_node **v;
		size_t n, cap;
	} dirty[16], dead; /* by depth; dead: taken out, maybe still reachable */
	bool damaged;
};

static int family_index(uint8_t family)
{
	return family == 6;
}

static const uint8_t *address_bytes(const struct addr *a, uint8_t family)
{
	return family == 6 ? a->a8 : a->a8 + 12;
}

static uint16_t first16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

static void store(uint32_t *at, uint32_t v)
{
	if (__atomic_load_n(at, __ATOMIC_RELAXED) != v)
		__atomic_store_n(at, v, __ATOMIC_RELEASE);
}

static int dirty_push(struct fib_dirty *d, struct fib_node *n)
{
	struct fib_node **more;

	if (d->n == d->cap) {
		more = realloc(d->v, (d->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		d->v = more;
		d->cap = d->cap * 2 + 64;
	}
	d->v[d->n++] = n;
	return 0;
}

static int node_dirty(struct fib *f, struct fib_node *n)
{
	if (n->dirty)
		return 0;
	if (dirty_push(&f->dirty[n->depth], n))
		return -ENOMEM;
	n->dirty = true;
	return 0;
}

static void direct_dirty(struct direct *d, uint16_t slot)
{
	if (d->is_dirty[slot])
		return;
	d->is_dirty[slot] = true;
	d->dirty[d->n_dirty++] = slot;
}

/* What leads to the node must be written again. */
static int parent_dirty(struct fib *f, struct fib_node *n)
{
	int fi = family_index(n->family);

	if (n->parent)
		return node_dirty(f, n->parent);
	if (n->vrf == 0)
		direct_dirty(f->direct[fi], n->slot);
	else
		f->root[n->vrf][fi].dirty = true;
	return 0;
}

static struct fib_node **top_place(struct fib *f, uint16_t vrf, int fi, const uint8_t *bytes)
{
	return vrf == 0 ? &f->direct[fi]->child[first16(bytes)] : &f->root[vrf][fi].node;
}

/* The result of prefixes above `place`, itself included. */
static uint32_t direct_inherited(const struct direct *d, uint32_t place)
{
	while (place && !d->value[place])
		place /= 2;
	return place ? d->value[place] : 0;
}

/* Below a place whose value changed: down to the next longer prefixes. */
static void direct_paint(struct direct *d, uint32_t place, uint32_t v)
{
	uint32_t child;

	if (place >= DIRECT_SLOTS) {
		if (d->wanted[place - DIRECT_SLOTS] != v) {
			d->wanted[place - DIRECT_SLOTS] = v;
			direct_dirty(d, place - DIRECT_SLOTS);
		}
		return;
	}
	for (child = 2 * place; child <= 2 * place + 1; child++)
		if (!d->value[child])
			direct_paint(d, child, v);
}

/* Sets or (0) clears; the value before. */
static uint32_t direct_set(struct direct *d, const uint8_t *bytes, uint8_t len, uint32_t value)
{
	uint32_t place = (1u << len) | (first16(bytes) >> (DIRECT_BITS - len)), old = d->value[place];

	if (old == value)
		return old;
	d->value[place] = value;
	direct_paint(d, place, direct_inherited(d, place));
	return old;
}

static uint16_t node_place(const uint8_t *bytes, uint8_t depth, uint8_t len)
{
	unsigned bits = len - 8u * depth;

	return (uint16_t)(1u << bits | bytes[depth] >> (8 - bits));
}

/* The node where the prefix ends, or NULL. */
static struct fib_node *node_find(const struct fib *f, uint16_t vrf, int fi, const uint8_t *bytes, uint8_t len)
{
	struct fib_node *n = *top_place((struct fib *)f, vrf, fi, bytes);
	unsigned depth = (len - 1u) / 8;

	while (n && n->depth < depth)
		n = fib_node_child(n, bytes[n->depth]);
	return n;
}

static int node_need(struct fib *f, struct fib_node *n)
{
	unsigned need = n->flat ? FIB_FLAT_UNITS : fib_node_need(n);

	if (need > n->need && f->needed + need - n->need > f->max_needed)
		return -E2BIG;
	f->needed = f->needed + need - n->need;
	n->need = need;
	return 0;
}

/* A new empty node: if nothing comes into it, the next commit takes it out again. */
static int node_add(struct fib *f, struct fib_node *parent, struct fib_node **top, uint16_t vrf, int fi, uint8_t depth,
		    uint16_t slot, struct fib_node **ret)
{
	struct fib_node *n;
	int r;

	if (f->needed >= f->max_needed)
		return -E2BIG;
	n = fib_node_new(parent, vrf, fi ? 6 : 4, depth, slot);
	if (!n)
		return -ENOMEM;
	r = node_dirty(f, n);
	if (!r && parent)
		r = fib_node_add_child(parent, n);
	if (r) {
		if (n->dirty)
			f->dirty[depth].n--;
		fib_node_free(n);
		return r;
	}
	if (!parent)
		*top = n;
	*ret = n;
	return parent ? node_need(f, parent) : 0;
}

static int node_make(struct fib *f, uint16_t vrf, int fi, const uint8_t *bytes, uint8_t len, struct fib_node **ret)
{
	struct fib_node **top = top_place(f, vrf, fi, bytes), *n = *top, *child;
	unsigned depth = (len - 1u) / 8;
	int r;

	if (!n) {
		r = node_add(f, NULL, top, vrf, fi, vrf == 0 ? 2 : 0, vrf == 0 ? first16(bytes) : 0, &n);
		if (r)
			return r;
	}
	while (n->depth < depth) {
		child = fib_node_child(n, bytes[n->depth]);
		if (!child) {
			r = node_add(f, n, NULL, vrf, fi, n->depth + 1, bytes[n->depth], &child);
			if (r)
				return r;
		}
		n = child;
	}
	*ret = n;
	return 0;
}

static bool valid(uint16_t vrf, const struct prefix *p)
{
	return vrf < VRF_MAX && ((p->family == 4 && p->len <= 32) || (p->family == 6 && p->len <= 128));
}

uint32_t fib_get(const struct fib *f, uint16_t vrf, const struct prefix *p)
{
	const uint8_t *bytes = address_bytes(&p->addr, p->family);
	int fi = family_index(p->family);
	const struct fib_node *n;

	if (!valid(vrf, p))
		return 0;
	if (vrf == 0 && p->len <= DIRECT_BITS)
		return f->direct[fi]->value[(1u << p->len) | (first16(bytes) >> (DIRECT_BITS - p->len))];
	if (p->len == 0)
		return f->root[vrf][fi].value;
	n = node_find(f, vrf, fi, bytes, p->len);
	return n ? fib_node_get(n, node_place(bytes, n->depth, p->len)) : 0;
}

static int node_set(struct fib *f, uint16_t vrf, int fi, const uint8_t *bytes, uint8_t len, uint32_t value)
{
	struct fib_node *n;
	uint32_t old;
	int r;

	r = node_make(f, vrf, fi, bytes, len, &n);
	if (!r)
		r = node_dirty(f, n);
	if (!r)
		r = fib_node_set(n, node_place(bytes, n->depth, len), value, &old);
	if (r)
		return r;
	r = node_need(f, n);
	if (r)
		fib_node_delete(n, node_place(bytes, n->depth, len));
	return r;
}

int fib_set(struct fib *f, uint16_t vrf, const struct prefix *p, uint32_t value)
{
	const uint8_t *bytes = address_bytes(&p->addr, p->family);
	int r = 0, fi = family_index(p->family);
	uint32_t old;

	if (!valid(vrf, p) || !value || (value & FIB_NODE))
		return -EINVAL;
	old = fib_get(f, vrf, p);
	if (old == value)
		return 0;
	if (!old && f->count[fi] >= f->limit[fi])
		return -E2BIG;
	if (vrf == 0 && p->len <= DIRECT_BITS) {
		direct_set(f->direct[fi], bytes, p->len, value);
	} else if (p->len == 0) {
		f->root[vrf][fi].value = value;
		f->root[vrf][fi].dirty = true;
	} else {
		r = node_set(f, vrf, fi, bytes, p->len, value);
	}
	if (!r && !old)
		f->count[fi]++;
	return r;
}

int fib_delete(struct fib *f, uint16_t vrf, const struct prefix *p)
{
	const uint8_t *bytes = address_bytes(&p->addr, p->family);
	int fi = family_index(p->family);
	struct fib_node *n;

	if (!fib_get(f, vrf, p))
		return -ENOENT;
	if (vrf == 0 && p->len <= DIRECT_BITS) {
		direct_set(f->direct[fi], bytes, p->len, 0);
	} else if (p->len == 0) {
		f->root[vrf][fi].value = 0;
		f->root[vrf][fi].dirty = true;
	} else {
		n = node_find(f, vrf, fi, bytes, p->len);
		if (node_dirty(f, n))
			return -ENOMEM;
		fib_node_delete(n, node_place(bytes, n->depth, p->len));
		node_need(f, n);
	}
	f->count[fi]--;
	return 0;
}

/* ---- publishing */

static uint32_t node_entry(const struct fib_node *n)
{
	return FIB_NODE | (n->flat ? FIB_FLAT : 0) | n->block;
}

/* The word in a node's block that holds the entry for a byte. */
static uint32_t *node_word(const struct fib *f, const struct fib_node *n, uint8_t byte)
{
	struct fib_unit *u = &f->units[n->block];

	if (n->flat)
		return (uint32_t *)u + byte;
	return (uint32_t *)u + FIB_NODE_HEAD + fib_run_of(u, byte);
}

static uint32_t *fallback_word(const struct fib *f, const struct fib_node *n)
{
	return n->flat ? f->units[n->block + FIB_FLAT_UNITS - 1].word : &f->units[n->block].fallback;
}

/* The word in the data plane's memory that leads to the node. */
static uint32_t *node_link(const struct fib *f, const struct fib_node *n)
{
	if (n->parent)
		return node_word(f, n->parent, n->slot);
	if (n->vrf == 0)
		return f->direct[family_index(n->family)]->mem + n->slot;
	return n->family == 6 ? &f->roots[n->vrf].entry6 : &f->roots[n->vrf].entry4;
}

static void node_set_fallback(struct fib *f, struct fib_node *n, uint32_t v)
{
	n->fallback = v;
	if (n->block)
		store(fallback_word(f, n), v);
}

/* Which form the node shall have. */
static bool want_flat(const struct fib *f, const struct fib_node *n, const struct fib_image *img)
{
	if (n->flat)
		return img->n > ROUND_RUNS;
	return img->n >= FLAT_RUNS && f->needed + FIB_FLAT_UNITS <= f->max_needed / 8 * 5;
}

/* A new block; the old one, if packets were led to it, is left in the same instant. */
static int node_replace(struct fib *f, struct fib_node *n, const uint32_t entries[256], const struct fib_image *img, bool flat)
{
	unsigned units = flat ? FIB_FLAT_UNITS : fib_image_units(img), old_units = n->units;
	uint32_t old = n->block, block = fib_units_get(f->us, units);
	struct fib_unit *u = &f->units[block];

	if (!block)
		return -E2BIG;
	if (flat) {
		memcpy(u, entries, 256 * sizeof(uint32_t));
	} else {
		memcpy(u->starts, img->starts, sizeof(u->starts));
		memcpy(u->before, img->before, sizeof(u->before));
		memcpy((uint32_t *)u + FIB_NODE_HEAD, img->entry, sizeof(uint32_t) * img->n);
	}
	n->block = block;
	n->units = units;
	n->flat = flat;
	*fallback_word(f, n) = n->fallback;
	if (n->published)
		store(node_link(f, n), node_entry(n));
	if (old)
		fib_units_put(f->us, old, old_units);
	node_need(f, n);
	return 0;
}

static int node_write(struct fib *f, struct fib_node *n)
{
	uint32_t entries[256];
	struct fib_image img;
	unsigned i;
	bool flat;
	int r;

	fib_node_paint(n, entries);
	for (i = 0; i < n->n_children; i++) {
		struct fib_node *c = n->children[i];

		node_set_fallback(f, c, entries[c->slot]);
		if (c->block)
			entries[c->slot] = node_entry(c);
	}
	fib_image_make(entries, &img);
	flat = want_flat(f, n, &img);
	if (n->block && n->flat == flat && (flat || !memcmp(f->units[n->block].starts, img.starts, sizeof(img.starts)))) {
		for (i = 0; i < 256; i++)
			store(node_word(f, n, i), entries[i]);
	} else {
		r = node_replace(f, n, entries, &img, flat);
		if (r)
			return r;
	}
	for (i = 0; i < n->n_children; i++)
		n->children[i]->published = n->children[i]->block != 0;
	return n->published ? 0 : parent_dirty(f, n);
}

/* An empty node: out of sluiced's picture now; its block is given back when nothing leads to it any more. */
static int node_remove(struct fib *f, struct fib_node *n)
{
	int r, fi = family_index(n->family);

	r = parent_dirty(f, n);
	if (!r)
		r = dirty_push(&f->dead, n);
	if (r)
		return r;
	f->needed -= n->need;
	if (n->parent) {
		fib_node_remove_child(n->parent, n);
		node_need(f, n->parent);
	} else if (n->vrf == 0) {
		f->direct[fi]->child[n->slot] = NULL;
	} else {
		f->root[n->vrf][fi].node = NULL;
	}
	return 0;
}

/* The entry for what a direct slot or a root leads to. */
static uint32_t top_entry(struct fib *f, struct fib_node *n, uint32_t value)
{
	if (!n)
		return value;
	node_set_fallback(f, n, value);
	n->published = n->block != 0;
	return n->block ? node_entry(n) : value;
}

static void commit_tops(struct fib *f)
{
	struct direct *d;
	struct root *r;
	uint32_t i;
	int fi, vrf;

	for (fi = 0; fi < 2; fi++) {
		d = f->direct[fi];
		for (i = 0; i < d->n_dirty; i++) {
			d->is_dirty[d->dirty[i]] = false;
			store(d->mem + d->dirty[i], top_entry(f, d->child[d->dirty[i]], d->wanted[d->dirty[i]]));
		}
		d->n_dirty = 0;
		for (vrf = 1; vrf < VRF_MAX; vrf++) {
			r = &f->root[vrf][fi];
			if (!r->dirty)
				continue;
			r->dirty = false;
			store(fi ? &f->roots[vrf].entry6 : &f->roots[vrf].entry4, top_entry(f, r->node, r->value));
		}
	}
}

/* Nodes of one depth; those that could not be written stay in the list. */
static int commit_depth(struct fib *f, unsigned depth)
{
	struct fib_dirty *d = &f->dirty[depth];
	size_t i, left = 0;
	int r, ret = 0;

	for (i = 0; i < d->n; i++) {
		struct fib_node *n = d->v[i];

		r = n->n_items || n->n_children ? node_write(f, n) : node_remove(f, n);
		if (r) {
			d->v[left++] = n;
			ret = r;
		} else {
			n->dirty = false;
		}
	}
	d->n = left;
	return ret;
}

/* What was found in the maps makes no sense: without roots it is out of reach. */
static void forget_damaged(struct fib *f)
{
	int fi;

	for (fi = 0; fi < 2; fi++)
		memset(f->direct[fi]->mem, 0, DIRECT_SLOTS * sizeof(uint32_t));
	memset(f->roots, 0, VRF_MAX * sizeof(*f->roots));
	fib_grace_period();
	f->damaged = false;
}

int fib_commit(struct fib *f)
{
	int depth, r, ret = 0;
	size_t i;

	if (f->damaged)
		forget_damaged(f);
	for (depth = 15; depth >= 0; depth--) {
		r = commit_depth(f, depth);
		if (r)
			ret = r;
	}
	commit_tops(f);
	if (ret) /* a node that was not written may still lead to a dead one */
		return ret;
	for (i = 0; i < f->dead.n; i++) {
		if (f->dead.v[i]->block)
			fib_units_put(f->us, f->dead.v[i]->block, f->dead.v[i]->units);
		fib_node_free(f->dead.v[i]);
	}
	f->dead.n = 0;
	return 0;
}

/* ---- looking up, as bpf/fib.h does */

uint32_t fib_lookup(const struct fib *f, uint16_t vrf, const struct addr *a)
{
	uint8_t family = addr_family(a);
	const uint8_t *b = address_bytes(a, family), *end = a->a8 + 16;
	uint32_t e, fallback, best = 0;
	const struct fib_unit *u;

	if (vrf == 0) {
		e = f->direct[family_index(family)]->mem[first16(b)];
		b += 2;
	} else {
		e = family == 6 ? f->roots[vrf].entry6 : f->roots[vrf].entry4;
	}
	while ((e & FIB_NODE) && b < end) {
		u = &f->units[e & FIB_UNIT_MASK];
		if (e & FIB_FLAT) {
			fallback = u[FIB_FLAT_UNITS - 1].word[0];
			e = ((const uint32_t *)u)[*b++];
		} else {
			fallback = u->fallback;
			e = ((const uint32_t *)u)[FIB_NODE_HEAD + fib_run_of(u, *b++)];
		}
		if (fallback)
			best = fallback;
	}
	return e ? e : best;
}

/* ---- life */

static int adopt_node(struct fib *f, struct fib_node *parent, struct fib_node **top, const struct fib_node *like, uint32_t entry);

/* A block's children; `n` is its node. One that stands in two places is found out when it is claimed again. */
static int adopt_children(struct fib *f, struct fib_node *n)
{
	struct fib_node like = {.vrf = n->vrf, .family = n->family, .depth = n->depth + 1};
	uint32_t e;
	int i, r;

	for (i = 0; i < 256; i++) {
		e = *node_word(f, n, i);
		if (!(e & FIB_NODE))
			continue;
		like.slot = i;
		r = adopt_node(f, n, NULL, &like, e);
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

/* `like` gives the place of the node; its block is where `entry` leads. Everything is checked: the memory outlived a process. */
static int adopt_node(struct fib *f, struct fib_node *parent, struct fib_node **top, const struct fib_node *like, uint32_t entry)
{
	uint32_t block = entry & FIB_UNIT_MASK;
	struct fib_node *n;
	int r, units;

	if (block < FIB_FIRST || block >= f->n_units || like->depth >= (like->family == 6 ? 16 : 4))
		return -EINVAL;
	units = entry & FIB_FLAT ? FIB_FLAT_UNITS : compressed_units(&f->units[block]);
	if (units < 0)
		return units;
	r = fib_units_claim(f->us, block, units);
	if (!r)
		r = node_add(f, parent, top, like->vrf, family_index(like->family), like->depth, like->slot, &n);
	if (r)
		return r;
	n->block = block;
	n->units = units;
	n->flat = entry & FIB_FLAT;
	n->fallback = *fallback_word(f, n);
	n->published = true;
	r = node_need(f, n);
	return r ? r : adopt_children(f, n);
}

static int adopt(struct fib *f)
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
			direct_dirty(f->direct[fi], i);
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

/* Everything but the memory of the maps. */
static void forget(struct fib *f)
{
	uint32_t i;
	int fi;

	for (fi = 0; fi < 2; fi++) {
		for (i = 0; f->direct[fi] && i < DIRECT_SLOTS; i++)
			fib_node_free(f->direct[fi]->child[i]);
		free(f->direct[fi]);
		f->direct[fi] = NULL;
		for (i = 0; i < VRF_MAX; i++) {
			fib_node_free(f->root[i][fi].node);
			f->root[i][fi] = (struct root){0};
		}
	}
	for (i = 0; i < 16; i++)
		f->dirty[i].n = 0;
	for (i = 0; i < f->dead.n; i++)
		fib_node_free(f->dead.v[i]);
	f->dead.n = 0;
	fib_units_free(f->us);
	f->us = NULL;
	f->needed = 0;
}

static int prepare(struct fib *f)
{
	int fi;

	for (fi = 0; fi < 2; fi++) {
		f->direct[fi] = calloc(1, sizeof(*f->direct[fi]));
		if (!f->direct[fi])
			return -ENOMEM;
		f->direct[fi]->mem = f->units[fi ? FIB_DIRECT6 : FIB_DIRECT4].word;
	}
	f->us = fib_units_new(FIB_FIRST, f->n_units);
	return f->us ? 0 : -ENOMEM;
}

int fib_open(struct fib_unit *units, uint32_t n_units, struct fib_root *roots, struct fib **ret, bool *ret_damaged)
{
	struct fib *f;
	int r;

	if (n_units < FIB_FIRST + 64)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->units = units;
	f->n_units = n_units;
	f->roots = roots;
	f->limit[0] = f->limit[1] = UINT32_MAX;
	/* The rest is for nodes being replaced, and lost to runs of odd lengths. */
	f->max_needed = (n_units - FIB_FIRST) / 8 * 7;
	r = prepare(f);
	if (!r)
		r = adopt(f);
	if (r == -EINVAL || r == -EBUSY || r == -E2BIG) {
		forget(f);
		f->damaged = true;
		r = prepare(f);
	}
	if (r) {
		fib_close(f);
		return r;
	}
	fib_units_ready(f->us);
	if (ret_damaged)
		*ret_damaged = f->damaged;
	*ret = f;
	return 0;
}

void fib_close(struct fib *f)
{
	int i;

	if (!f)
		return;
	forget(f);
	for (i = 0; i < 16; i++)
		free(f->dirty[i].v);
	free(f->dead.v);
	free(f);
}

void fib_limit(struct fib *f, uint32_t max4, uint32_t max6)
{
	f->limit[0] = max4;
	f->limit[1] = max6;
}

struct fib_size fib_size(const struct fib *f)
{
	return (struct fib_size){.routes4 = f->count[0],
				 .routes6 = f->count[1],
				 .units = fib_units_used(f->us) + FIB_FIRST,
				 .max_units = f->n_units};
}
