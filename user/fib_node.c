/* fib_node.c: see fib_node.h: sorted arrays of prefixes and children, and a node's content made from them. */
#include "fib_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fib_node *fib_node_new(struct fib_node *parent, uint16_t vrf, uint8_t family, uint8_t depth, uint16_t slot)
{
	struct fib_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->parent = parent;
	n->vrf = vrf;
	n->family = family;
	n->depth = depth;
	n->slot = slot;
	return n;
}

void fib_node_free(struct fib_node *n)
{
	unsigned i;

	if (!n)
		return;
	for (i = 0; i < n->n_children; i++)
		fib_node_free(n->children[i]);
	free(n->children);
	free(n->items);
	free(n);
}

/* Index of the first item that is not below `place`. */
static unsigned item_at(const struct fib_node *n, uint16_t place)
{
	unsigned lo = 0, hi = n->n_items, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (n->items[mid].place < place)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static unsigned child_at(const struct fib_node *n, uint16_t slot)
{
	unsigned lo = 0, hi = n->n_children, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (n->children[mid]->slot < slot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t fib_node_get(const struct fib_node *n, uint16_t place)
{
	unsigned i = item_at(n, place);

	return i < n->n_items && n->items[i].place == place ? n->items[i].value : 0;
}

/* Room for one more; `v` points to the array. */
static int grow(void *v, uint16_t n, uint16_t *cap, size_t size)
{
	void **array = v, *more;

	if (n < *cap)
		return 0;
	more = realloc(*array, (*cap * 2u + 2) * size);
	if (!more)
		return -ENOMEM;
	*array = more;
	*cap = *cap * 2 + 2;
	return 0;
}

int fib_node_set(struct fib_node *n, uint16_t place, uint32_t value, uint32_t *ret_old)
{
	unsigned i = item_at(n, place);

	if (i < n->n_items && n->items[i].place == place) {
		*ret_old = n->items[i].value;
		n->items[i].value = value;
		return 0;
	}
	if (grow(&n->items, n->n_items, &n->cap_items, sizeof(*n->items)))
		return -ENOMEM;
	memmove(n->items + i + 1, n->items + i, (n->n_items - i) * sizeof(*n->items));
	n->items[i] = (struct fib_item){place, value};
	n->n_items++;
	*ret_old = 0;
	return 0;
}

uint32_t fib_node_delete(struct fib_node *n, uint16_t place)
{
	unsigned i = item_at(n, place);
	uint32_t old;

	if (i == n->n_items || n->items[i].place != place)
		return 0;
	old = n->items[i].value;
	n->n_items--;
	memmove(n->items + i, n->items + i + 1, (n->n_items - i) * sizeof(*n->items));
	return old;
}

struct fib_node *fib_node_child(const struct fib_node *n, uint8_t slot)
{
	unsigned i = child_at(n, slot);

	return i < n->n_children && n->children[i]->slot == slot ? n->children[i] : NULL;
}

int fib_node_add_child(struct fib_node *n, struct fib_node *child)
{
	unsigned i = child_at(n, child->slot);

	if (grow(&n->children, n->n_children, &n->cap_children, sizeof(struct fib_node *)))
		return -ENOMEM;
	memmove(n->children + i + 1, n->children + i, (n->n_children - i) * sizeof(struct fib_node *));
	n->children[i] = child;
	n->n_children++;
	return 0;
}

void fib_node_remove_child(struct fib_node *n, const struct fib_node *child)
{
	unsigned i = child_at(n, child->slot);

	n->n_children--;
	memmove(n->children + i, n->children + i + 1, (n->n_children - i) * sizeof(struct fib_node *));
}

uint32_t fib_node_entry(const struct fib_node *n)
{
	return n->block ? FIB_NODE | n->form | n->block : n->was;
}

unsigned fib_node_need(const struct fib_node *n)
{
	unsigned k = n->n_items + n->n_children;

	if (k < 2)
		return 1;
	return k < 60 ? 2 + k / 4 : FIB_FLAT_UNITS;
}

void fib_node_paint(const struct fib_node *n, uint32_t ret[256])
{
	unsigned i, k, bits, lo;

	memset(ret, 0, 256 * sizeof(*ret));
	for (i = 0; i < n->n_items; i++) {
		bits = 31 - __builtin_clz(n->items[i].place);
		lo = (n->items[i].place << (8 - bits)) & 0xff;
		for (k = 0; k < 1u << (8 - bits); k++)
			ret[lo + k] = n->items[i].value;
	}
}

void fib_image_make(const uint32_t entries[256], struct fib_image *ret)
{
	unsigned i;

	memset(ret->starts, 0, sizeof(ret->starts));
	ret->n = 0;
	for (i = 0; i < 256; i++) {
		if (i % 64 == 0)
			ret->before[i / 64] = ret->n;
		if (i && entries[i] == entries[i - 1])
			continue;
		ret->starts[i / 64] |= 1ull << (i % 64);
		ret->entry[ret->n++] = entries[i];
	}
}

unsigned fib_image_units(const struct fib_image *img)
{
	return (FIB_NODE_HEAD + img->n + FIB_UNIT_WORDS - 1) / FIB_UNIT_WORDS;
}

unsigned fib_run_of(const struct fib_unit *u, uint8_t byte)
{
	unsigned w = byte >> 6;

	return u->before[w] + __builtin_popcountll(u->starts[w] << (~byte & 63)) - 1;
}
