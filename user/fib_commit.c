/* fib_commit.c: the nodes that changed, into the memory that packets read: the deepest first, so that whatever becomes
 * reachable is complete. Stands between fib.c and the mmap-ed maps.
 *
 * Each address has exactly one word that holds a node's result for it: the entry of its run or range, or the fallback of the
 * node in its place. A change of one prefix is thus one store for each address, and no order of stores shows a packet anything
 * but the old result or the new one. Where a branch turns from bytes into lists or back, words change their meaning: it gets
 * blocks that are all new, and the store that leads to the first of them changes from the one picture to the other.
 */
#include "fib_priv.h"
#include "fib_grace.h"
#include "fib_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A node of so many runs becomes flat while a part of the memory is free, and stays so until it has few. */
#define FLAT_RUNS  16
#define ROUND_RUNS 6

static void store(uint32_t *at, uint32_t v)
{
	if (__atomic_load_n(at, __ATOMIC_RELAXED) != v)
		__atomic_store_n(at, v, __ATOMIC_RELEASE);
}

/* What leads to the node must be written again. */
static int parent_mark(struct fib *f, struct fib_node *n)
{
	int fi = fib_family_index(n->family);

	if (n->parent)
		return fib_mark(f, n->parent);
	if (n->vrf == 0)
		fib_mark_direct(f->direct[fi], n->slot);
	else
		f->root[n->vrf][fi].dirty = true;
	return 0;
}

uint32_t *fib_fallback_word(const struct fib *f, uint32_t entry)
{
	struct fib_unit *u = &f->units[entry & FIB_UNIT_MASK];

	switch (entry & FIB_FORM) {
	case 0:
		return &u->fallback;
	case FIB_FLAT:
		return u[FIB_FLAT_UNITS - 1].word;
	default:
		return u->word;
	}
}

uint32_t *fib_entry_word(const struct fib *f, uint32_t entry, uint32_t key)
{
	struct fib_unit *u = &f->units[entry & FIB_UNIT_MASK];

	if (entry & FIB_LIST)
		return (uint32_t *)u + fib_list_word(u, entry & FIB_FORM, key);
	if (entry & FIB_FLAT)
		return (uint32_t *)u + (key >> 24);
	return (uint32_t *)u + FIB_NODE_HEAD + fib_run_of(u, key >> 24);
}

/* The word in the data plane's memory that leads to the node. */
static uint32_t *node_link(const struct fib *f, const struct fib_node *n)
{
	const struct fib_node *above = n->parent;
	uint32_t key = (uint32_t)n->slot << 24;

	for (; above && above->role == FIB_ROLE_INSIDE; above = above->parent)
		key = key >> 8 | (uint32_t)above->slot << 24;
	if (above)
		return fib_entry_word(f, fib_node_entry(above), key);
	if (n->vrf == 0)
		return f->direct[fib_family_index(n->family)]->mem + n->slot;
	return n->family == 6 ? &f->roots[n->vrf].entry6 : &f->roots[n->vrf].entry4;
}

static void node_set_fallback(struct fib *f, struct fib_node *n, uint32_t v)
{
	n->fallback = v;
	if (fib_node_entry(n))
		store(fib_fallback_word(f, fib_node_entry(n)), v);
}

/* ---- roles */

/* Up to how many prefixes a branch becomes lists. IPv4 of VRF 0: as long as one list does, for flat nodes are faster. */
static uint32_t list_limit(const struct fib_node *n)
{
	if (n->family == 4 && n->vrf == 0)
		return n->role == FIB_ROLE_LIST ? 7 : 6;
	return n->role == FIB_ROLE_LIST ? FIB_LIST_PREFIXES : FIB_LIST_PREFIXES / 4 * 3;
}

/* The role of a node whose parent's is known; `top` is the first byte of the lists' branch. */
static enum fib_role role_for(const struct fib_node *n, unsigned top)
{
	if (!n->parent || n->parent->role == FIB_ROLE_BYTE)
		return n->weight <= list_limit(n) ? FIB_ROLE_LIST : FIB_ROLE_BYTE;
	return (n->depth - top) % 4 ? FIB_ROLE_INSIDE : FIB_ROLE_LIST;
}

int fib_stale_push(struct fib *f, uint32_t unit, uint32_t n)
{
	struct fib_stale *s = &f->stale;
	struct fib_run *more;

	if (s->n == s->cap) {
		more = realloc(s->v, (s->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->v = more;
		s->cap = s->cap * 2 + 64;
	}
	s->v[s->n++] = (struct fib_run){unit, n};
	return 0;
}

/* The role, and those of all below; the blocks that they have are left. */
static int branch_set_role(struct fib *f, struct fib_node *n, enum fib_role role, unsigned top)
{
	unsigned i;
	int r;

	if (!n->parent || n->parent->role == FIB_ROLE_BYTE)
		top = n->depth;
	r = fib_mark(f, n);
	if (!r && n->block)
		r = fib_stale_push(f, n->block, n->units);
	if (r)
		return r;
	n->role = role;
	n->block = n->units = n->form = 0;
	n->published = false;
	for (i = 0; i < n->n_children; i++) {
		r = branch_set_role(f, n->children[i], role_for(n->children[i], top), top);
		if (r)
			return r;
	}
	return 0;
}

/* Brings the roles up to date from the top down to n. */
static int node_roles(struct fib *f, struct fib_node *n)
{
	struct fib_node *path[16], *a;
	unsigned k = 0, top = 0;
	enum fib_role role;

	for (a = n; a; a = a->parent)
		path[k++] = a;
	while (k--) {
		a = path[k];
		if (!a->parent || a->parent->role == FIB_ROLE_BYTE)
			top = a->depth;
		role = role_for(a, top);
		if (role == a->role)
			continue;
		if (a->n_children) {
			if (a->published)
				a->was = fib_node_entry(a);
			return branch_set_role(f, a, role, top);
		}
		a->role = role; /* it alone looks the same in both */
	}
	return 0;
}

static int commit_roles(struct fib *f)
{
	int depth, r;
	size_t i;

	for (depth = 0; depth < 16; depth++)
		for (i = 0; i < f->dirty[depth].n; i++) {
			r = node_roles(f, f->dirty[depth].v[i]);
			if (r)
				return r;
		}
	return 0;
}

/* ---- blocks */

/* A new block; the old one, if packets were led to it, is left in the same instant. */
static int node_replace(struct fib *f, struct fib_node *n, const struct fib_unit *image, unsigned units, uint32_t form)
{
	uint32_t old = n->block, block = fib_units_get(f->us, units);
	unsigned old_units = n->units;

	if (!block)
		return -E2BIG;
	memcpy(&f->units[block], image, units * sizeof(*image));
	n->block = block;
	n->units = units;
	n->form = form;
	n->was = 0;
	*fib_fallback_word(f, fib_node_entry(n)) = n->fallback;
	if (n->published)
		store(node_link(f, n), fib_node_entry(n));
	if (old)
		fib_units_put(f->us, old, old_units);
	fib_reserve(f, n);
	return 0;
}

/* Which form the node shall have. */
static bool want_flat(const struct fib *f, const struct fib_node *n, const struct fib_image *img)
{
	if (n->block && n->form == FIB_FLAT)
		return img->n > ROUND_RUNS;
	return img->n >= FLAT_RUNS && f->needed + FIB_FLAT_UNITS <= f->max_needed / 8 * 5;
}

static bool same_runs(const struct fib_unit *u, const struct fib_image *img)
{
	return !memcmp(u->starts, img->starts, sizeof(img->starts)) && !memcmp(u->before, img->before, sizeof(img->before));
}

static int write_bytes(struct fib *f, struct fib_node *n)
{
	struct fib_unit image[FIB_RUN_MAX];
	uint32_t entries[256];
	struct fib_image img;
	unsigned i;
	bool flat;

	fib_node_paint(n, entries);
	for (i = 0; i < n->n_children; i++) {
		struct fib_node *c = n->children[i];

		node_set_fallback(f, c, entries[c->slot]);
		if (fib_node_entry(c))
			entries[c->slot] = fib_node_entry(c);
	}
	fib_image_make(entries, &img);
	flat = want_flat(f, n, &img);
	if (n->block && n->form == (flat ? FIB_FLAT : 0) && (flat || same_runs(&f->units[n->block], &img))) {
		for (i = 0; i < 256; i++)
			store(fib_entry_word(f, fib_node_entry(n), i << 24), entries[i]);
		return 0;
	}
	if (flat) {
		memcpy(image, entries, sizeof(entries));
		return node_replace(f, n, image, FIB_FLAT_UNITS, FIB_FLAT);
	}
	memcpy(image->starts, img.starts, sizeof(img.starts));
	memcpy(image->before, img.before, sizeof(img.before));
	memcpy((uint32_t *)image + FIB_NODE_HEAD, img.entry, sizeof(uint32_t) * img.n);
	return node_replace(f, n, image, fib_image_units(&img), 0);
}

static int write_list(struct fib *f, struct fib_node *n)
{
	struct fib_list l;
	unsigned i, k;
	int r;

	r = fib_list_make(n, &l);
	if (r)
		return r;
	for (i = 0; i < l.n_children; i++)
		node_set_fallback(f, l.child[i].node, l.child[i].fallback);
	if (n->block && n->form == l.form && n->units == l.units && fib_list_same_ranges(&l, &f->units[n->block])) {
		for (i = fib_list_first(l.form); i < l.units; i++)
			for (k = FIB_RANGES; k < FIB_UNIT_WORDS; k++)
				store(&f->units[n->block + i].word[k], l.unit[i].word[k]);
	} else {
		r = node_replace(f, n, l.unit, l.units, l.form);
	}
	for (i = 0; !r && i < l.n_children; i++)
		l.child[i].node->published = l.child[i].node->block != 0;
	return r;
}

static int node_write(struct fib *f, struct fib_node *n)
{
	unsigned i;
	int r;

	if (n->role == FIB_ROLE_INSIDE)
		return parent_mark(f, n);
	if (n->role == FIB_ROLE_LIST && n->n_children) {
		r = write_list(f, n);
	} else {
		r = write_bytes(f, n);
		for (i = 0; !r && i < n->n_children; i++)
			n->children[i]->published = n->children[i]->block != 0;
	}
	if (r)
		return r;
	return n->published ? 0 : parent_mark(f, n);
}

/* An empty node: out of sluiced's picture now; its block is given back when nothing leads to it any more. */
static int node_remove(struct fib *f, struct fib_node *n)
{
	int r, fi = fib_family_index(n->family);

	r = parent_mark(f, n);
	if (!r)
		r = fib_dirty_push(&f->dead, n);
	if (r)
		return r;
	f->needed -= n->need;
	if (n->parent) {
		fib_node_remove_child(n->parent, n);
		fib_reserve(f, n->parent);
	} else if (n->vrf == 0) {
		f->direct[fi]->child[n->slot] = NULL;
	} else {
		f->root[n->vrf][fi].node = NULL;
	}
	return 0;
}

/* ---- the order */

/* The entry for what a direct slot or a root leads to. */
static uint32_t top_entry(struct fib *f, struct fib_node *n, uint32_t value)
{
	if (!n)
		return value;
	node_set_fallback(f, n, value);
	n->published = n->block != 0;
	return fib_node_entry(n) ? fib_node_entry(n) : value;
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
	int depth, r, ret;
	size_t i;

	if (f->damaged)
		forget_damaged(f);
	ret = commit_roles(f);
	if (ret)
		return ret;
	for (depth = 15; depth >= 0; depth--) {
		r = commit_depth(f, depth);
		if (r)
			ret = r;
	}
	commit_tops(f);
	if (ret) /* a node that was not written may still lead to one that is dead or stale */
		return ret;
	for (i = 0; i < f->dead.n; i++) {
		if (f->dead.v[i]->block)
			fib_units_put(f->us, f->dead.v[i]->block, f->dead.v[i]->units);
		fib_node_free(f->dead.v[i]);
	}
	for (i = 0; i < f->stale.n; i++)
		fib_units_put(f->us, f->stale.v[i].unit, f->stale.v[i].n);
	f->dead.n = f->stale.n = 0;
	return 0;
}
