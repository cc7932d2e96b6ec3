/* hash.h: a chained hash table for structs that carry their own link, from a handful of entries to millions.
 *
 * A struct that is to be found embeds a `struct hash_node`; the table owns only its array of buckets. Growing rehashes all
 * entries by `hash_of`, so no hash is stored: an entry costs one pointer, and one bucket at most. Hashes are salted by table,
 * so that addresses chosen by strangers cannot be made to collide.
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
	size_t n_buckets; /* a power of two, or 0 */
	size_t n;	  /* entries */
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
	h->n_buckets = h->n = 0;
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

static inline int hash_resize(struct hash *h, size_t n_buckets)
{
	struct hash_node **buckets = calloc(n_buckets, sizeof(*buckets)), *node, *next;

	if (!buckets)
		return -ENOMEM;
	for (size_t i = 0; i < h->n_buckets; i++) {
		for (node = h->buckets[i]; node; node = next) {
			struct hash_node **to = &buckets[h->hash_of(h, node) & (n_buckets - 1)];

			next = node->next;
			node->next = *to;
			*to = node;
		}
	}
	free(h->buckets);
	h->buckets = buckets;
	h->n_buckets = n_buckets;
	return 0;
}

/* Inserts, without a look at what is there. -ENOMEM only for the very first entry: later a table that cannot grow gets slow. */
static inline int hash_insert(struct hash *h, struct hash_node *node)
{
	struct hash_node **to;

	if (h->n >= h->n_buckets && hash_resize(h, h->n_buckets ? 2 * h->n_buckets : 16) < 0 && !h->n_buckets)
		return -ENOMEM;
	to = &h->buckets[h->hash_of(h, node) & (h->n_buckets - 1)];
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
	for (struct hash_node *node = h->buckets[hash & (h->n_buckets - 1)]; node; node = node->next) {
		if (equal(node, key))
			return node;
	}
	return NULL;
}

/* Takes out a node that is in the table; its hash must still be that of its insertion. */
static inline void hash_remove(struct hash *h, struct hash_node *node)
{
	struct hash_node **at = &h->buckets[h->hash_of(h, node) & (h->n_buckets - 1)];

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

#endif
