/* fib_list.c: see fib_list.h. The layout is described in abi.h. */
#include "fib_list.h"

#include <stdlib.h>
#include <string.h>

#define RANGES_MAX (FIB_RANGES * FIB_LISTS)
#define KEY_BITS   32
#define SIDE_NODE  (KEY_BITS + 1) /* the length by which a node below sorts behind all prefixes */

/* A prefix, or a node below, as numbers of the key. */
struct span {
	uint32_t start;
	uint8_t len;
	uint32_t value;
	struct fib_node *node;
};

struct spans {
	struct span v[FIB_LIST_PREFIXES];
	unsigned n;
};

struct ranges {
	uint32_t start[RANGES_MAX], entry[RANGES_MAX];
	unsigned n;
};

static void span_add(struct spans *s, struct span x)
{
	if (s->n < FIB_LIST_PREFIXES)
		s->v[s->n++] = x;
}

/* `base`: the bits before the node's byte; `shift`: those behind it. */
static void gather(const struct fib_node *n, uint32_t base, unsigned shift, struct spans *s)
{
	unsigned i, bits;
	uint32_t at;

	for (i = 0; i < n->n_items; i++) {
		bits = 31 - __builtin_clz(n->items[i].place);
		at = (n->items[i].place << (8 - bits)) & 0xff;
		span_add(s, (struct span){base | at << shift, KEY_BITS - shift - 8 + bits, n->items[i].value, NULL});
	}
	for (i = 0; i < n->n_children; i++) {
		at = base | (uint32_t)n->children[i]->slot << shift;
		if (shift)
			gather(n->children[i], at, shift - 8, s);
		else
			span_add(s, (struct span){at, SIDE_NODE, 0, n->children[i]});
	}
}

static int span_order(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->len - y->len;
}

/* From `start` on, until the next one says otherwise. */
static void range_add(struct ranges *rs, uint32_t start, uint32_t entry)
{
	if (rs->n && rs->start[rs->n - 1] == start)
		rs->n--;
	if (rs->n && rs->entry[rs->n - 1] == entry)
		return;
	rs->start[rs->n] = start;
	rs->entry[rs->n++] = entry;
}

/* A walk over the spans, those that are open at the moment on a stack. */
static void sweep(const struct spans *s, struct ranges *rs, struct fib_list *ret)
{
	struct {
		uint64_t end;
		uint32_t value;
	} open[SIDE_NODE + 2] = {{1ull << KEY_BITS, 0}};
	unsigned i, depth = 0;
	uint32_t value;

	rs->n = 0;
	range_add(rs, 0, 0);
	for (i = 0; i <= s->n; i++) {
		const struct span *x = &s->v[i];
		uint64_t start = i < s->n ? x->start : 1ull << KEY_BITS;

		for (; depth && open[depth].end <= start; depth--)
			if (open[depth].end < 1ull << KEY_BITS)
				range_add(rs, open[depth].end, open[depth - 1].value);
		if (i == s->n)
			break;
		value = x->value;
		if (x->node) {
			ret->child[ret->n_children++] = (struct fib_list_child){x->node, open[depth].value};
			value = fib_node_entry(x->node) ? fib_node_entry(x->node) : open[depth].value;
		}
		range_add(rs, start, value);
		depth++;
		open[depth].end = start + (x->node ? 1 : 1ull << (KEY_BITS - x->len));
		open[depth].value = value;
	}
}

static void write_list(struct fib_unit *u, const struct ranges *rs, unsigned from, unsigned to)
{
	unsigned i;

	for (i = 0; i < FIB_RANGES; i++) {
		u->word[i] = from + i < to && i ? rs->start[from + i] - 1 : UINT32_MAX;
		u->word[FIB_RANGES + i] = from + i < to ? rs->entry[from + i] : 0;
	}
	u->word[0] = 0;
}

void fib_list_make(const struct fib_node *n, struct fib_list *ret)
{
	struct spans s = {.n = 0};
	struct ranges rs;
	unsigned lists, i, from;

	ret->n_children = 0;
	gather(n, 0, KEY_BITS - 8, &s);
	qsort(s.v, s.n, sizeof(s.v[0]), span_order);
	sweep(&s, &rs, ret);
	if (rs.n <= FIB_RANGES) {
		ret->form = FIB_LIST;
		ret->units = 1;
		write_list(ret->unit, &rs, 0, rs.n);
		return;
	}
	lists = (rs.n + FIB_RANGES - 1) / FIB_RANGES;
	ret->form = FIB_LIST | FIB_FLAT;
	ret->units = 1 + lists;
	memset(&ret->unit[0], 0xff, sizeof(ret->unit[0]));
	ret->unit[0].word[0] = 0;
	for (i = 0; i < lists; i++) {
		from = i * rs.n / lists;
		write_list(&ret->unit[1 + i], &rs, from, (i + 1) * rs.n / lists);
		if (i)
			ret->unit[0].word[i] = rs.start[from] - 1;
	}
}

bool fib_list_same_ranges(const struct fib_list *l, const struct fib_unit *block)
{
	unsigned i, words;

	for (i = 0; i < l->units; i++) {
		words = i < fib_list_first(l->form) ? FIB_UNIT_WORDS : FIB_RANGES;
		if (memcmp(l->unit[i].word + 1, block[i].word + 1, (words - 1) * sizeof(uint32_t)))
			return false;
	}
	return true;
}

static unsigned rank(const struct fib_unit *u, unsigned words, uint32_t key)
{
	unsigned n = 0;

	while (n + 1 < words && u->word[n + 1] < key)
		n++;
	return n;
}

unsigned fib_list_word(const struct fib_unit *block, uint32_t limit, uint32_t form, uint32_t key)
{
	unsigned unit = form & FIB_FLAT ? 1 + rank(block, FIB_UNIT_WORDS, key) : 0;

	if (unit >= limit)
		return unit * FIB_UNIT_WORDS;
	return unit * FIB_UNIT_WORDS + FIB_RANGES + rank(block + unit, FIB_RANGES, key);
}
