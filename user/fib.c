/* fib.c: see fib.h. Prefixes are kept at the node where they end (fib_node.c); a commit (fib_plan.c, fib_commit.c) writes the
 * nodes that changed. Memory comes from fib_units.c.
 */
#include "fib_priv.h"
#include "fib_list.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t *address_bytes(const struct addr *a, uint8_t family)
{
	return family == 6 ? a->a8 : a->a8 + 12;
}

int fib_dirty_push(struct fib_dirty *d, struct fib_node *n)
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

int fib_mark(struct fib *f, struct fib_node *n)
{
	if (n->dirty)
		return 0;
	if (fib_dirty_push(&f->dirty[n->depth], n))
		return -ENOMEM;
	n->dirty = true;
	return 0;
}

void fib_mark_direct(struct direct *d, uint16_t slot)
{
	if (d->is_dirty[slot])
		return;
	d->is_dirty[slot] = true;
	d->dirty[d->n_dirty++] = slot;
}

static struct fib_node **top_place(struct fib *f, uint16_t vrf, int fi, const uint8_t *bytes)
{
	return vrf == 0 ? &f->direct[fi]->child[fib_first16(bytes)] : &f->root[vrf][fi].node;
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
			fib_mark_direct(d, place - DIRECT_SLOTS);
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
	uint32_t place = (1u << len) | (fib_first16(bytes) >> (DIRECT_BITS - len)), old = d->value[place];

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

int fib_reserve(struct fib *f, struct fib_node *n)
{
	unsigned need = n->form == FIB_FLAT ? FIB_FLAT_UNITS : fib_node_need(n);

	if (need > n->need && f->needed + need - n->need > f->max_needed)
		return -E2BIG;
	f->needed = f->needed + need - n->need;
	n->need = need;
	return 0;
}

int fib_add_node(struct fib *f, struct fib_node *parent, struct fib_node **top, uint16_t vrf, int fi, uint8_t depth,
		 uint16_t slot, struct fib_node **ret)
{
	struct fib_node *n;
	int r;

	if (f->needed >= f->max_needed)
		return -E2BIG;
	n = fib_node_new(parent, vrf, fi ? 6 : 4, depth, slot);
	if (!n)
		return -ENOMEM;
	r = fib_mark(f, n);
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
	return parent ? fib_reserve(f, parent) : 0;
}

static int node_make(struct fib *f, uint16_t vrf, int fi, const uint8_t *bytes, uint8_t len, struct fib_node **ret)
{
	struct fib_node **top = top_place(f, vrf, fi, bytes), *n = *top, *child;
	unsigned depth = (len - 1u) / 8;
	int r;

	if (!n) {
		r = fib_add_node(f, NULL, top, vrf, fi, vrf == 0 ? 2 : 0, vrf == 0 ? fib_first16(bytes) : 0, &n);
		if (r)
			return r;
	}
	while (n->depth < depth) {
		child = fib_node_child(n, bytes[n->depth]);
		if (!child) {
			r = fib_add_node(f, n, NULL, vrf, fi, n->depth + 1, bytes[n->depth], &child);
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
	int fi = fib_family_index(p->family);
	const struct fib_node *n;

	if (!valid(vrf, p))
		return 0;
	if (vrf == 0 && p->len <= DIRECT_BITS)
		return f->direct[fi]->value[(1u << p->len) | (fib_first16(bytes) >> (DIRECT_BITS - p->len))];
	if (p->len == 0)
		return f->root[vrf][fi].value;
	n = node_find(f, vrf, fi, bytes, p->len);
	return n ? fib_node_get(n, node_place(bytes, n->depth, p->len)) : 0;
}

static void weigh(struct fib_node *n, int more)
{
	for (; n; n = n->parent)
		n->weight += more;
}

static int node_set(struct fib *f, uint16_t vrf, int fi, const uint8_t *bytes, uint8_t len, uint32_t value)
{
	struct fib_node *n;
	uint32_t old;
	int r;

	r = node_make(f, vrf, fi, bytes, len, &n);
	if (!r)
		r = fib_mark(f, n);
	if (!r)
		r = fib_node_set(n, node_place(bytes, n->depth, len), value, &old);
	if (r)
		return r;
	r = fib_reserve(f, n);
	if (r)
		fib_node_delete(n, node_place(bytes, n->depth, len));
	else if (!old)
		weigh(n, 1);
	return r;
}

int fib_set(struct fib *f, uint16_t vrf, const struct prefix *p, uint32_t value)
{
	const uint8_t *bytes = address_bytes(&p->addr, p->family);
	int r = 0, fi = fib_family_index(p->family);
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
	if (r)
		return r;
	f->count[fi] += !old;
	f->changes++;
	return 0;
}

int fib_delete(struct fib *f, uint16_t vrf, const struct prefix *p)
{
	const uint8_t *bytes = address_bytes(&p->addr, p->family);
	int fi = fib_family_index(p->family);
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
		if (fib_mark(f, n))
			return -ENOMEM;
		fib_node_delete(n, node_place(bytes, n->depth, p->len));
		weigh(n, -1);
		fib_reserve(f, n);
	}
	f->count[fi]--;
	f->changes++;
	return 0;
}

/* The next 32 bits of an address from byte `at`, 0 behind its end. */
static uint32_t key_at(const struct addr *a, unsigned at)
{
	uint32_t key = 0;

	for (unsigned i = at; i < at + 4; i++)
		key = key << 8 | (i < sizeof(*a) ? a->a8[i] : 0);
	return key;
}

/* A word of the data plane's memory, by its distance from the unit where a block begins. Nothing stands beyond the map. */
static uint32_t word_of(const struct fib *f, uint32_t entry, uint32_t word)
{
	uint32_t unit = (entry & FIB_UNIT_MASK) + word / FIB_UNIT_WORDS;

	return unit < f->n_units ? __atomic_load_n(&f->units[unit].word[word % FIB_UNIT_WORDS], __ATOMIC_RELAXED) : 0;
}

uint32_t fib_word_of(const struct fib *f, uint32_t entry, uint32_t key)
{
	uint32_t unit = entry & FIB_UNIT_MASK;

	if ((entry & FIB_FORM) == FIB_FLAT || unit >= f->n_units)
		return key >> 24;
	if (!(entry & FIB_LIST))
		return FIB_NODE_HEAD + fib_run_of(&f->units[unit], key >> 24);
	return fib_list_word(&f->units[unit], f->n_units - unit, entry & FIB_FORM, key);
}

static uint32_t fallback_word(uint32_t entry)
{
	if (entry & FIB_LIST)
		return 0;
	return entry & FIB_FLAT ? (FIB_FLAT_UNITS - 1) * FIB_UNIT_WORDS : offsetof(struct fib_unit, fallback) / sizeof(uint32_t);
}

/* As bpf/fib.h does. */
uint32_t fib_lookup(const struct fib *f, uint16_t vrf, const struct addr *a)
{
	uint8_t family = addr_family(a);
	unsigned at = family == 6 ? 0 : 12, next;
	uint32_t e, fallback, best = 0;

	if (vrf == 0) {
		e = f->direct[fib_family_index(family)]->mem[fib_first16(a->a8 + at)];
		at += 2;
	} else {
		e = family == 6 ? f->roots[vrf].entry6 : f->roots[vrf].entry4;
	}
	while ((e & FIB_NODE) && at < sizeof(*a)) {
		fallback = word_of(f, e, fallback_word(e));
		if (fallback)
			best = fallback;
		next = at + (e & FIB_LIST ? 4 : 1);
		e = word_of(f, e, fib_word_of(f, e, key_at(a, at)));
		at = next;
	}
	return e ? e & ~FIB_NODE : best;
}

/* ---- life */

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
	f->dead.n = f->stale.n = 0;
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

uint32_t fib_units_for(uint32_t max4, uint32_t max6)
{
	/* A node of 256 places for each 28 IPv4 routes; one and a half lines for an IPv6 route alone in its surroundings; and a
	 * thousand hosts without any. */
	return FIB_FIRST + (1u << 14) + max4 / 8 * 5 + max6 / 2 * 3;
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
		r = fib_adopt(f);
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
	free(f->stale.v);
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
