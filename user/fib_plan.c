/* fib_plan.c: what the next commit does, before packets see any of it: which node has which role, which of them go, what else
 * must be written for it, and what memory all that takes at most. Between the prefixes as they were set (fib.c) and the commit.
 *
 * A plan may be made again and again: nothing but sluiced's own picture changes, and what is planned stays dirty until it is
 * written.
 */
#include "fib_priv.h"
#include "fib_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int fib_stale_push(struct fib *f, const struct fib_node *n)
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
	s->v[s->n++] = (struct fib_run){n, n->block, n->units};
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
		r = fib_stale_push(f, n);
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

/* A branch turns from bytes into lists or back. What leads to it leads to what it was until the new one is complete. */
static int branch_turn(struct fib *f, struct fib_node *n, enum fib_role role, unsigned top)
{
	bool published = n->published;
	int r;

	if (published)
		n->was = fib_node_entry(n);
	r = branch_set_role(f, n, role, top);
	n->published = published;
	return r;
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
		if (a->n_children)
			return branch_turn(f, a, role, top);
		a->role = role; /* it alone looks the same in both */
	}
	return 0;
}

static int plan_roles(struct fib *f)
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

/* An empty node: out of sluiced's picture now; its block is given back when nothing leads to it any more. */
static int node_remove(struct fib *f, struct fib_node *n)
{
	int r, fi = fib_family_index(n->family);

	r = parent_mark(f, n);
	if (!r)
		r = fib_dirty_push(&f->dead, n);
	if (r)
		return r;
	n->dead = true;
	n->dirty = false;
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

/* ---- memory */

unsigned fib_plan_units(const struct fib_node *n)
{
	unsigned parts = n->n_items + n->n_children, ranges = 2 * n->weight + 1, runs = 2 * parts + 1;

	if (n->role == FIB_ROLE_LIST && n->n_children)
		return ranges <= FIB_RANGES ? 1 : 1 + (ranges + FIB_RANGES - 1) / FIB_RANGES;
	if (n->block && n->form == FIB_FLAT)
		return 1;
	return (FIB_NODE_HEAD + (runs < 256 ? runs : 256) + FIB_UNIT_WORDS - 1) / FIB_UNIT_WORDS;
}

/* Nodes of one depth: those that are empty go, and what leads to the others is written with them where it does not yet. */
static int plan_depth(struct fib *f, unsigned depth, uint32_t want[FIB_RUN_MAX + 1])
{
	struct fib_dirty *d = &f->dirty[depth];
	size_t i, left = 0;
	int r = 0;

	for (i = 0; i < d->n; i++) {
		struct fib_node *n = d->v[i];
		bool empty = !n->n_items && !n->n_children;

		if (!r && empty)
			r = node_remove(f, n);
		else if (!r && (n->role == FIB_ROLE_INSIDE || !n->published))
			r = parent_mark(f, n);
		if (!r && empty)
			continue;
		d->v[left++] = n;
		if (n->role != FIB_ROLE_INSIDE)
			want[fib_plan_units(n)]++;
	}
	d->n = left;
	return r;
}

int fib_plan(struct fib *f, uint32_t want[FIB_RUN_MAX + 1])
{
	int depth, r = plan_roles(f);

	memset(want, 0, (FIB_RUN_MAX + 1) * sizeof(*want));
	for (depth = 15; !r && depth >= 0; depth--)
		r = plan_depth(f, depth, want);
	return r;
}

/* ---- pieces */

/* A piece is a node that packets are led to, with all below it that they are not led to yet: it can be written without the rest,
 * but not in part. */
static bool begins_piece(const struct fib_node *n)
{
	return n->role != FIB_ROLE_INSIDE && (n->published || !n->parent);
}

static void piece_want(const struct fib_node *n, uint32_t want[FIB_RUN_MAX + 1])
{
	unsigned i;

	if (n->role != FIB_ROLE_INSIDE)
		want[fib_plan_units(n)]++;
	for (i = 0; i < n->n_children; i++)
		if (n->children[i]->dirty && !begins_piece(n->children[i]))
			piece_want(n->children[i], want);
}

static void piece_choose(struct fib_node *n)
{
	unsigned i;

	n->chosen = true;
	for (i = 0; i < n->n_children; i++)
		if (n->children[i]->dirty && !begins_piece(n->children[i]))
			piece_choose(n->children[i]);
}

bool fib_plan_part(struct fib *f)
{
	uint32_t want[FIB_RUN_MAX + 1];
	bool any = false;
	int depth;
	size_t i;

	for (depth = 15; depth >= 0; depth--)
		for (i = 0; i < f->dirty[depth].n; i++) {
			struct fib_node *n = f->dirty[depth].v[i];

			if (!begins_piece(n))
				continue;
			memset(want, 0, sizeof(want));
			piece_want(n, want);
			if (!fib_units_set_aside(f->us, want))
				continue;
			piece_choose(n);
			any = true;
		}
	return any;
}
