/* fib_commit.c: the nodes that changed, into the memory that packets read: the deepest first, so that whatever becomes
 * reachable is complete. Stands between fib.c and the mmap-ed maps.
 *
 * Before a word is written it is planned what a commit takes at most (fib_plan.c), and that is set aside: so every block that is
 * asked for here is there. What does not fit happens later, as a whole; or, when no later will be better, piece by piece.
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
#include <string.h>

/* A node of so many runs becomes flat while a part of the memory is free, and stays so until it has few. */
#define FLAT_RUNS  16
#define ROUND_RUNS 6
#define DUE_UNITS  64 /* what a change takes, and more than that */

static void store(uint32_t *at, uint32_t v)
{
	if (__atomic_load_n(at, __ATOMIC_RELAXED) != v)
		__atomic_store_n(at, v, __ATOMIC_RELEASE);
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

uint32_t *fib_entry_word(struct fib *f, uint32_t entry, uint32_t key)
{
	uint32_t word = fib_word_of(f, entry, key), unit = (entry & FIB_UNIT_MASK) + word / FIB_UNIT_WORDS;

	return unit < f->n_units ? &f->units[unit].word[word % FIB_UNIT_WORDS] : &f->nowhere;
}

static uint32_t *root_word(const struct fib *f, int vrf, int fi)
{
	return fi ? &f->roots[vrf].entry6 : &f->roots[vrf].entry4;
}

/* The word in the data plane's memory that leads to the node. */
static uint32_t *node_link(struct fib *f, const struct fib_node *n)
{
	const struct fib_node *above = n->parent;
	uint32_t key = (uint32_t)n->slot << 24;

	for (; above && above->role == FIB_ROLE_INSIDE; above = above->parent)
		key = key >> 8 | (uint32_t)above->slot << 24;
	if (above)
		return fib_entry_word(f, fib_node_entry(above), key);
	if (n->vrf == 0)
		return f->direct[fib_family_index(n->family)]->mem + n->slot;
	return root_word(f, n->vrf, fib_family_index(n->family));
}

static void node_set_fallback(struct fib *f, struct fib_node *n, uint32_t v)
{
	n->fallback = v;
	if (fib_node_entry(n))
		store(fib_fallback_word(f, fib_node_entry(n)), v);
}

/* ---- blocks */

/* A new block; the old one, if packets were led to it, is left in the same instant. */
static void node_replace(struct fib *f, struct fib_node *n, const struct fib_unit *image, unsigned units, uint32_t form)
{
	uint32_t old = n->block, block = fib_units_get(f->us, units, fib_plan_units(n));
	unsigned old_units = n->units;

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
}

/* Which form the node shall have. */
static bool want_flat(const struct fib *f, const struct fib_node *n, const struct fib_image *img)
{
	if (n->block && n->form == FIB_FLAT)
		return img->n > ROUND_RUNS;
	return img->n >= FLAT_RUNS && f->needed + FIB_FLAT_UNITS <= f->max_needed / 8 * 5 &&
	       fib_units_spare(f->us, FIB_FLAT_UNITS);
}

static bool same_runs(const struct fib_unit *u, const struct fib_image *img)
{
	return !memcmp(u->starts, img->starts, sizeof(img->starts)) && !memcmp(u->before, img->before, sizeof(img->before));
}

static void write_bytes(struct fib *f, struct fib_node *n)
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
		return;
	}
	if (flat) {
		memcpy(image, entries, sizeof(entries));
		node_replace(f, n, image, FIB_FLAT_UNITS, FIB_FLAT);
		return;
	}
	memcpy(image->starts, img.starts, sizeof(img.starts));
	memcpy(image->before, img.before, sizeof(img.before));
	memcpy((uint32_t *)image + FIB_NODE_HEAD, img.entry, sizeof(uint32_t) * img.n);
	node_replace(f, n, image, fib_image_units(&img), 0);
}

static void write_list(struct fib *f, struct fib_node *n)
{
	struct fib_list l;
	unsigned i, k;

	fib_list_make(n, &l);
	for (i = 0; i < l.n_children; i++)
		node_set_fallback(f, l.child[i].node, l.child[i].fallback);
	if (n->block && n->form == l.form && n->units == l.units && fib_list_same_ranges(&l, &f->units[n->block])) {
		for (i = fib_list_first(l.form); i < l.units; i++)
			for (k = FIB_RANGES; k < FIB_UNIT_WORDS; k++)
				store(&f->units[n->block + i].word[k], l.unit[i].word[k]);
	} else {
		node_replace(f, n, l.unit, l.units, l.form);
	}
	for (i = 0; i < l.n_children; i++)
		l.child[i].node->published = fib_node_entry(l.child[i].node) != 0;
}

static void node_write(struct fib *f, struct fib_node *n)
{
	unsigned i;

	if (n->role == FIB_ROLE_INSIDE)
		return;
	if (n->role == FIB_ROLE_LIST && n->n_children) {
		write_list(f, n);
		return;
	}
	write_bytes(f, n);
	for (i = 0; i < n->n_children; i++)
		n->children[i]->published = fib_node_entry(n->children[i]) != 0;
}

/* ---- the order */

/* The word of a direct slot or a root, for the node there (or NULL) and the result above it. False: not yet, for it leads to a
 * node that went, and the one in its place has no block. */
static bool write_top(struct fib *f, uint32_t *word, struct fib_node *n, uint32_t value)
{
	uint32_t entry = n ? fib_node_entry(n) : 0;

	if (n && !entry && __atomic_load_n(word, __ATOMIC_RELAXED) & FIB_NODE)
		return false;
	if (n) {
		node_set_fallback(f, n, value);
		n->published = entry != 0;
	}
	store(word, entry ? entry : value);
	return true;
}

static void commit_tops(struct fib *f)
{
	uint32_t i, left, slot;
	struct direct *d;
	struct root *r;
	int fi, vrf;

	for (fi = 0; fi < 2; fi++) {
		d = f->direct[fi];
		for (i = left = 0; i < d->n_dirty; i++) {
			slot = d->dirty[i];
			d->is_dirty[slot] = !write_top(f, d->mem + slot, d->child[slot], d->wanted[slot]);
			if (d->is_dirty[slot])
				d->dirty[left++] = slot;
		}
		d->n_dirty = left;
		for (vrf = 1; vrf < VRF_MAX; vrf++) {
			r = &f->root[vrf][fi];
			if (r->dirty)
				r->dirty = !write_top(f, root_word(f, vrf, fi), r->node, r->value);
		}
	}
}

/* All that changed; `part`: the chosen ones. The others stay in the lists. */
static void write_dirty(struct fib *f, bool part)
{
	int depth;

	for (depth = 15; depth >= 0; depth--) {
		struct fib_dirty *d = &f->dirty[depth];
		size_t i, left = 0;

		for (i = 0; i < d->n; i++) {
			struct fib_node *n = d->v[i];

			if (part && !n->chosen) {
				d->v[left++] = n;
				continue;
			}
			node_write(f, n);
			n->dirty = n->chosen = false;
		}
		d->n = left;
	}
	commit_tops(f);
	fib_units_release(f->us);
}

static bool top_is_dirty(const struct fib *f, const struct fib_node *n)
{
	int fi = fib_family_index(n->family);

	return n->vrf ? f->root[n->vrf][fi].dirty : f->direct[fi]->is_dirty[n->slot];
}

/* Nothing leads any more to what the node led to or was: it was written since; of a dead one, what is above it was. */
static bool is_left(const struct fib *f, const struct fib_node *n)
{
	while (n->dead && n->parent)
		n = n->parent;
	return n->dead ? !top_is_dirty(f, n) : !n->dirty;
}

/* Gives back the blocks that nothing leads to any more. The dead stand behind those below them, which look at them here. */
static void give_back(struct fib *f)
{
	struct fib_node *n;
	size_t i, left = 0;

	for (i = 0; i < f->stale.n; i++) {
		if (is_left(f, f->stale.v[i].of))
			fib_units_put(f->us, f->stale.v[i].unit, f->stale.v[i].n);
		else
			f->stale.v[left++] = f->stale.v[i];
	}
	f->stale.n = left;
	for (i = left = 0; i < f->dead.n; i++) {
		n = f->dead.v[i];
		if (!is_left(f, n)) {
			f->dead.v[left++] = n;
			continue;
		}
		if (n->block)
			fib_units_put(f->us, n->block, n->units);
		fib_node_free(n);
	}
	f->dead.n = left;
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
	uint32_t want[FIB_RUN_MAX + 1];
	bool any;
	int r;

	if (f->damaged)
		forget_damaged(f);
	if (!fib_units_reclaim(f->us) && f->put_off)
		return -EAGAIN;
	f->put_off = false;
	f->changes = 0;
	for (;;) {
		r = fib_plan(f, want);
		if (r)
			return r;
		if (fib_units_set_aside(f->us, want) || (fib_units_merge(f->us) && fib_units_set_aside(f->us, want))) {
			write_dirty(f, false);
			give_back(f);
			return 0;
		}
		if (fib_units_waiting(f->us)) {
			f->put_off = fib_units_ask(f->us);
			if (f->put_off)
				return -EAGAIN;
			fib_units_wait(f->us);
		} else {
			any = fib_plan_part(f);
			write_dirty(f, true); /* at the least what goes, and takes no memory but gives some back */
			give_back(f);
			if (!any && !fib_units_waiting(f->us))
				return -E2BIG;
		}
	}
}

int fib_commit_wait(struct fib *f)
{
	int r;

	while ((r = fib_commit(f)) == -EAGAIN) {
		fib_units_wait(f->us);
		f->put_off = false;
	}
	return r;
}

bool fib_commit_due(const struct fib *f)
{
	return f->changes * DUE_UNITS > fib_units_left(f->us);
}
