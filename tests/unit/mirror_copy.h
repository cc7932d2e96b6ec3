/* mirror_copy.h: the content of a mirror as text, so that three views can be compared: what the listener was told, what the
 * mirror shows, and what a mirror opened afresh shows.
 */
#ifndef SLUICE_TEST_MIRROR_COPY_H
#define SLUICE_TEST_MIRROR_COPY_H

#include <stdio.h>
#include "hash.h"
#include "mirror.h"

struct copy {
	struct hash items;
};

struct copy_item {
	struct hash_node node;
	char *key, *text;
};

static inline uint32_t copy_hash(const struct hash *h, const struct hash_node *node)
{
	const char *key = hash_entry(node, struct copy_item, node)->key;

	return hash_end(hash_mix_bytes(h->salt, key, strlen(key)));
}

static inline bool copy_equal_key(const struct hash_node *node, const void *key)
{
	return strcmp(hash_entry(node, struct copy_item, node)->key, key) == 0;
}

static inline struct copy_item *copy_find(const struct copy *c, const char *key)
{
	uint32_t hash = hash_end(hash_mix_bytes(c->items.salt, key, strlen(key)));
	struct hash_node *node = hash_find(&c->items, hash, copy_equal_key, key);

	return node ? hash_entry(node, struct copy_item, node) : NULL;
}

static inline void copy_drop(struct copy *c, struct copy_item *item)
{
	hash_remove(&c->items, &item->node);
	free(item->key);
	free(item->text);
	free(item);
}

/* false: a deletion of what was not there. */
static inline bool copy_put(struct copy *c, enum mirror_op op, const char *key, const char *text)
{
	struct copy_item *item = copy_find(c, key);

	if (op == MIRROR_DEL && !item)
		return false;
	if (item)
		copy_drop(c, item);
	if (op == MIRROR_DEL)
		return true;
	item = calloc(1, sizeof(*item));
	item->key = strdup(key);
	item->text = strdup(text);
	return hash_insert(&c->items, &item->node) == 0;
}

static inline void copy_init(struct copy *c)
{
	hash_init(&c->items, copy_hash);
}

static inline void copy_free(struct copy *c)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&c->items, &it)))
		copy_drop(c, hash_entry(node, struct copy_item, node));
	hash_free(&c->items);
}

static inline bool copy_link(struct copy *c, enum mirror_op op, const struct link *l)
{
	char key[64], text[256], mac[MAC_TEXT];

	snprintf(key, sizeof(key), "link %d", l->ifindex);
	snprintf(text, sizeof(text), "%s kind %s mac %s mtu %u flags %x carrier %d peer %d master %d", l->name, l->kind,
		 mac_text(l->mac, mac), l->mtu, l->flags, l->carrier, l->peer_ifindex, l->master);
	return copy_put(c, op, key, text);
}

static inline bool copy_addr(struct copy *c, enum mirror_op op, const struct link_addr *a)
{
	char key[128], text[64], prefix[PREFIX_TEXT];

	snprintf(key, sizeof(key), "addr %d %s", a->ifindex, prefix_text(&a->addr, prefix));
	snprintf(text, sizeof(text), "scope %d flags %x metric %u", a->scope, a->flags, a->metric);
	return copy_put(c, op, key, text);
}

static inline bool copy_neigh(struct copy *c, enum mirror_op op, const struct neigh *n)
{
	char key[128], text[64], addr[ADDR_TEXT], mac[MAC_TEXT];

	snprintf(key, sizeof(key), "neigh %d %s", n->ifindex, addr_text(&n->addr, addr));
	snprintf(text, sizeof(text), "family %d state %x flags %x mac %s", n->family, n->state, n->flags,
		 n->has_mac ? mac_text(n->mac, mac) : "none");
	return copy_put(c, op, key, text);
}

static inline void route_to_text(const struct kroute *r, char *text, size_t size)
{
	char addr[ADDR_TEXT];
	int at = snprintf(text, size, "type %d proto %d mtu %u", r->type, r->protocol, r->mtu);

	for (size_t i = 0; i < r->n_nexthops && (size_t)at < size; i++) {
		const struct kroute_nexthop *nh = &r->nexthops[i];

		at += snprintf(text + at, size - at, ", dev %d via %s weight %d%s%s", nh->ifindex,
			       nh->family ? addr_text(&nh->gateway, addr) : "none", nh->weight, nh->onlink ? " onlink" : "",
			       nh->dead ? " dead" : "");
	}
}

static inline bool copy_route(struct copy *c, enum mirror_op op, const struct kroute *r)
{
	char key[128], text[4096], prefix[PREFIX_TEXT];

	snprintf(key, sizeof(key), "route %s table %u metric %u", prefix_text(&r->to, prefix), r->table, r->metric);
	route_to_text(r, text, sizeof(text));
	return copy_put(c, op, key, text);
}

static inline int copy_each_link(const struct link *l, void *arg)
{
	return !copy_link(arg, MIRROR_NEW, l);
}

static inline int copy_each_addr(const struct link_addr *a, void *arg)
{
	return !copy_addr(arg, MIRROR_NEW, a);
}

static inline int copy_each_neigh(const struct neigh *n, void *arg)
{
	return !copy_neigh(arg, MIRROR_NEW, n);
}

static inline int copy_each_route(const struct kroute *r, void *arg)
{
	return !copy_route(arg, MIRROR_NEW, r);
}

static inline void copy_mirror(struct copy *c, const struct mirror *m)
{
	copy_init(c);
	mirror_each_link(m, copy_each_link, c);
	mirror_each_addr(m, 0, copy_each_addr, c);
	mirror_each_neigh(m, 0, copy_each_neigh, c);
	mirror_each_route(m, 0, copy_each_route, c);
}

/* How many items differ; with `print`, the first few of them. */
static inline unsigned copy_differences(const struct copy *a, const struct copy *b, const char *name_a, const char *name_b,
					bool print)
{
	struct hash_iter it = {};
	struct hash_node *node;
	unsigned n = 0;

	while ((node = hash_next(&a->items, &it))) {
		struct copy_item *x = hash_entry(node, struct copy_item, node), *y = copy_find(b, x->key);

		if (y && strcmp(x->text, y->text) == 0)
			continue;
		if (n++ < 10 && print)
			fprintf(stderr, "%s\n  %s: %s\n  %s: %s\n", x->key, name_a, x->text, name_b, y ? y->text : "absent");
	}
	it = (struct hash_iter){};
	while ((node = hash_next(&b->items, &it))) {
		struct copy_item *y = hash_entry(node, struct copy_item, node);

		if (copy_find(a, y->key))
			continue;
		if (n++ < 10 && print)
			fprintf(stderr, "%s\n  %s: absent\n  %s: %s\n", y->key, name_a, name_b, y->text);
	}
	return n;
}

#endif
