/* hash.h: a chained hash table for structs that carry their own link, from a handful of entries to millions.
 *
 * A struct that is to be found embeds a `struct hash_node`; the table owns only its array of buckets. It grows by one bucket at
 * a time (linear hashing), so that no insertion holds up the event loop, however large the table is: the entries of one bucket
 * are divided between it and the new one by `hash_of`. No hash is stored: an entry costs one pointer, and one bucket at most.
 * Hashes are salted by table, so that addresses chosen by strangers cannot be made to collide.
 */
#ifndef SLUICE_HASH_H
#define SLUICE_HASH_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct hash_node {
	struct hash_node *next;
};

struct hash {
	struct hash_node **buckets;
	size_t n_buckets, room; /* buckets in use, and allocated */
	size_t mask;		/* the least power of two that is not below n_buckets, less one */
	size_t n;		/* entries */
	uint64_t salt;
	uint32_t (*hash_of)(const struct hash *h, const struct hash_node *node);
};

/* The struct around a node. */
#define hash_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

static inline void hash_init(struct hash *h, uint32_t (*hash_of)(const struct hash *, const struct hash_node *))
{
	memset(h, 0, sizeof(*h));
	h->hash_of = hash_of;
	h->salt = (uint64_t)arc4random() << 32 | arc4random();
}

/* Forgets the entries; who owns them has freed them before, or frees them after. */
static inline void hash_free(struct hash *h)
{
	free(h->buckets);
	h->buckets = NULL;
	h->n_buckets = h->room = h->mask = h->n = 0;
}

/* One more word of a key: start with h->salt, end with hash_end(). */
static inline uint64_t hash_mix(uint64_t state, uint64_t word)
{
	state = (state ^ word) * 0x9e3779b97f4a7c15ULL;
	return state ^ state >> 32;
}

static inline uint64_t hash_mix_bytes(uint64_t state, const void *data, size_t size)
{
	const unsigned char *p = data;
	uint64_t word;

	for (; size >= sizeof(word); p += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		state = hash_mix(state, word);
	}
	word = 0;
	memcpy(&word, p, size);
	return hash_mix(state, word ^ (uint64_t)size << 56);
}

static inline uint32_t hash_end(uint64_t state)
{
	state *= 0xd6e8feb86659fd93ULL;
	return state >> 32;
}

static inline struct hash_node **hash_bucket(const struct hash *h, uint32_t hash)
{
	size_t i = hash & h->mask;

	return &h->buckets[i < h->n_buckets ? i : i & h->mask >> 1];
}

/* One bucket more: takes its entries out of the one they were in. */
static inline int hash_grow(struct hash *h)
{
	size_t new = h->n_buckets, room = h->room ? 2 * h->room : 16;
	struct hash_node **at, **to, *node, **buckets;

	if (new == h->room) {
		buckets = (struct hash_node **)realloc(h->buckets, room * sizeof(*buckets));
		if (!buckets)
			return -ENOMEM;
		h->buckets = buckets;
		h->room = room;
	}
	h->n_buckets++;
	h->buckets[new] = NULL;
	if (new > h->mask)
		h->mask = 2 * h->mask + 1;
	if (!new)
		return 0;
	to = &h->buckets[new];
	for (at = &h->buckets[new & h->mask >> 1]; (node = *at);) {
		if ((h->hash_of(h, node) & h->mask) != new) {
			at = &node->next;
			continue;
		}
		*at = node->next;
		node->next = NULL;
		*to = node;
		to = &node->next;
	}
	return 0;
}

/* Inserts, without a look at what is there. -ENOMEM only for the very first entry: later a table that cannot grow gets slow. */
static inline int hash_insert(struct hash *h, struct hash_node *node)
{
	struct hash_node **to;

	if (h->n >= h->n_buckets && hash_grow(h) < 0 && !h->n_buckets)
		return -ENOMEM;
	to = hash_bucket(h, h->hash_of(h, node));
	node->next = *to;
	*to = node;
	h->n++;
	return 0;
}

static inline struct hash_node *hash_find(const struct hash *h, uint32_t hash,
					  bool (*equal)(const struct hash_node *node, const void *key), const void *key)
{
	if (!h->n_buckets)
		return NULL;
	for (struct hash_node *node = *hash_bucket(h, hash); node; node = node->next) {
		if (equal(node, key))
			return node;
	}
	return NULL;
}

static inline void *hash_around(struct hash_node *node, size_t offset)
{
	return node ? (char *)node - offset : NULL;
}

/* The same, of the struct around the node. */
#define hash_find_entry(h, hash, equal, key, type, member)                                                                       \
	((type *)hash_around(hash_find(h, hash, equal, key), offsetof(type, member)))

/* Takes out a node that is in the table; its hash must still be that of its insertion. */
static inline void hash_remove(struct hash *h, struct hash_node *node)
{
	struct hash_node **at = hash_bucket(h, h->hash_of(h, node));

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	node->next = NULL;
	h->n--;
}

/* Every entry, in no order: `struct hash_iter it = {}; while ((node = hash_next(h, &it)))`. The entry shown may be removed and
 * freed; no other change is allowed until the end. */
struct hash_iter {
	size_t bucket;
	struct hash_node *next;
};

static inline struct hash_node *hash_next(const struct hash *h, struct hash_iter *it)
{
	struct hash_node *node = it->next;

	while (!node && it->bucket < h->n_buckets)
		node = h->buckets[it->bucket++];
	it->next = node ? node->next : NULL;
	return node;
}

static inline void hash_free_around(struct hash *h, size_t offset)
{
	struct hash_iter it = {0};
	struct hash_node *node;

	while ((node = hash_next(h, &it)))
		free((char *)node - offset);
	hash_free(h);
}

/* Frees the entries, which own no other memory, and forgets them. */
#define hash_free_entries(h, type, member) hash_free_around(h, offsetof(type, member))

#endif
