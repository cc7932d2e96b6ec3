/* rib_import.c: routes from VRF to VRF: what is in force in one stands in others as well, where a rule says so. Declared in
 * rib.h and rib_priv.h.
 *
 * rib.c tells of every choice it made in an entry; here each VRF that imports the entry's prefix gets a route with the very way
 * of the route in force, so that both lead to the same nexthop, and change with it. Only what is a VRF's own is handed on, never
 * what it has imported: there are no circles.
 *
 * An interface's own address, and the broadcast addresses of its prefix, follow the connected prefix: they are imported where it
 * is in force. Where the VRF has the same prefix itself they must not be, being longer than any of its own routes.
 */
#include "rib_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint16_t from_of(const struct rib_route *r)
{
	return (uint16_t)r->table;
}

static struct rib_route **import_find(struct rib_entry *e, uint16_t from)
{
	struct rib_route **at;

	for (at = &e->routes; *at; at = &(*at)->next)
		if ((*at)->source == RIB_IMPORT && from_of(*at) == from)
			return at;
	return NULL;
}

static bool permits(const struct rib_import *rule, const struct prefix *p)
{
	size_t i;

	for (i = 0; i < rule->n; i++)
		if (prefix_filter_holds(&rule->prefixes[i], p))
			return !rule->prefixes[i].deny;
	return !rule->n;
}

/* The connected prefix around an interface's address. */
static const struct rib_entry *connected_around(const struct rib *rib, const struct rib_entry *e)
{
	struct prefix p = e->to, masked;
	const struct rib_entry *c;

	while (p.len--) {
		masked = prefix_masked(&p);
		c = rib_entry_find(rib, e->vrf, &masked);
		if (c && c->active && c->active->source == RIB_CONNECTED)
			return c;
	}
	return NULL;
}

static bool wanted(const struct rib *rib, const struct rib_import *rule, const struct rib_entry *e)
{
	const struct rib_entry *c, *there;

	if (!e->active || e->active->source == RIB_IMPORT || e->active->source == RIB_POOL)
		return false;
	c = e->active->source == RIB_LOCAL ? connected_around(rib, e) : NULL;
	if (!c)
		return permits(rule, &e->to);
	there = permits(rule, &c->to) ? rib_entry_find(rib, rule->to, &c->to) : NULL;
	return there && there->active && there->active->source == RIB_IMPORT && from_of(there->active) == rule->from;
}

static int follow_rule(struct rib *rib, const struct rib_import *rule, const struct rib_entry *e)
{
	bool want = wanted(rib, rule, e);
	struct rib_entry *to = want ? rib_entry_make(rib, rule->to, &e->to) : rib_entry_find(rib, rule->to, &e->to);
	struct rib_route **at = to ? import_find(to, rule->from) : NULL;
	struct rib_route_spec spec = {.source = RIB_IMPORT, .rank = rule->rank};

	if (want && !to)
		return -ENOMEM;
	if (!want) {
		if (at)
			rib_route_drop(rib, at);
		return 0;
	}
	spec.protocol = e->active->protocol;
	spec.distance = e->active->distance;
	spec.metric = e->active->metric;
	spec.outside = e->active->outside;
	spec.table = (uint32_t)e->active->source << 16 | rule->from;
	e->active->way->refs++;
	if (at) {
		rib_route_set_way(rib, *at, e->active->way);
		rib_route_rank(rib, at, &spec);
		return 0;
	}
	if (!rib_route_new(rib, to, &spec, e->active->way))
		return 0;
	e->active->way->refs--; /* never the last one: the route in force has its own */
	rib_entry_unmake(rib, to);
	return -ENOMEM;
}

/* Interfaces are few. */
static void look_at_addresses(struct rib *rib)
{
	struct rib_list *l;

	for (l = rib->sources[RIB_LOCAL].next; l != &rib->sources[RIB_LOCAL]; l = l->next)
		rib_entry_dirty(rib, list_item(l, struct rib_route, of_source)->entry);
}

int rib_export(struct rib *rib, struct rib_entry *e)
{
	bool is_import = e->active && e->active->source == RIB_IMPORT && e->active->way->type == NEXTHOP_CONNECTED;
	size_t i;
	int r = 0;

	if (e->is_import != is_import) {
		e->is_import = is_import;
		look_at_addresses(rib);
	}
	for (i = 0; rib->exports[e->vrf] && i < rib->n_imports && !r; i++)
		if (rib->imports[i].from == e->vrf)
			r = follow_rule(rib, &rib->imports[i], e);
	return r;
}

/* ---- the rules */

static bool same_filter(const struct prefix_filter *a, const struct prefix_filter *b)
{
	return a->ge == b->ge && a->le == b->le && a->deny == b->deny && a->to.family == b->to.family && a->to.len == b->to.len &&
	       !memcmp(&a->to.addr, &b->to.addr, sizeof(a->to.addr));
}

static bool same_rules(const struct rib *rib, const struct rib_import *rules, size_t n)
{
	size_t i, k;

	if (n != rib->n_imports)
		return false;
	for (i = 0; i < n; i++) {
		const struct rib_import *a = &rib->imports[i], *b = &rules[i];

		if (a->from != b->from || a->to != b->to || a->rank != b->rank || a->n != b->n)
			return false;
		for (k = 0; k < a->n; k++)
			if (!same_filter(&a->prefixes[k], &b->prefixes[k]))
				return false;
	}
	return true;
}

/* Rules and prefixes in one piece of memory. */
static struct rib_import *copy_rules(const struct rib_import *rules, size_t n)
{
	struct prefix_filter *prefixes;
	struct rib_import *copy;
	size_t i, sum = 0;

	for (i = 0; i < n; i++)
		sum += rules[i].n;
	copy = malloc(n * sizeof(*copy) + sum * sizeof(*prefixes) + 1);
	if (!copy)
		return NULL;
	prefixes = (void *)(copy + n);
	for (i = 0; i < n; i++) {
		copy[i] = rules[i];
		copy[i].prefixes = prefixes;
		if (rules[i].n)
			memcpy(prefixes, rules[i].prefixes, rules[i].n * sizeof(*prefixes));
		prefixes += rules[i].n;
	}
	return copy;
}

static bool has_rule(const struct rib *rib, uint16_t from, uint16_t to)
{
	size_t i;

	for (i = 0; i < rib->n_imports; i++)
		if (rib->imports[i].from == from && rib->imports[i].to == to)
			return true;
	return false;
}

/* What no rule speaks of goes; the rest is decided again with the entries it comes from: all of them may be a million, so it is
 * done in pieces. Buckets of the hash only ever divide, the later ones behind the others, so that none is missed. */
bool rib_imports_apply(struct rib *rib, size_t max)
{
	struct rib_cursor *c = rib->import_cursor;
	struct hash_node *node;
	struct rib_list *l;

	while (c && max && (l = rib_cursor_next(rib, c))) {
		struct rib_route *r = list_item(l, struct rib_route, of_source);

		max--;
		if (!has_rule(rib, from_of(r), r->entry->vrf))
			rib_route_drop(rib, import_find(r->entry, from_of(r)));
	}
	if (c && max) {
		rib_cursor_close(rib, c);
		rib->import_cursor = NULL;
	}
	for (; !rib->import_cursor && rib->import_at < rib->entries.n_buckets && max; rib->import_at++, max--)
		for (node = rib->entries.buckets[rib->import_at]; node; node = node->next) {
			struct rib_entry *e = hash_entry(node, struct rib_entry, node);

			if (rib->exports[e->vrf])
				rib_entry_dirty(rib, e);
		}
	rib->importing = rib->import_cursor || rib->import_at < rib->entries.n_buckets;
	return !rib->importing;
}

static int apply_begin(struct rib *rib)
{
	if (rib->import_cursor)
		rib_cursor_close(rib, rib->import_cursor);
	rib->import_cursor = rib_cursor_open(rib, RIB_IMPORT);
	return rib->import_cursor ? 0 : -ENOMEM;
}

int rib_imports_set(struct rib *rib, const struct rib_import *rules, size_t n)
{
	struct rib_import *copy;
	size_t i;

	if (same_rules(rib, rules, n))
		return 0;
	copy = copy_rules(rules, n);
	if (!copy || apply_begin(rib)) {
		free(copy);
		return -ENOMEM;
	}
	rib->import_at = 0;
	rib->importing = true;
	free(rib->imports);
	rib->imports = copy;
	rib->n_imports = n;
	memset(rib->exports, 0, sizeof(rib->exports));
	for (i = 0; i < n; i++)
		rib->exports[rules[i].from] = true;
	return 0;
}

void rib_imports_free(struct rib *rib)
{
	if (rib->import_cursor)
		rib_cursor_close(rib, rib->import_cursor);
	free(rib->imports);
}
