/* hash_test.c: the hash table of hash.h: what goes in is found, what goes out is not, and growing loses nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "hash.h"

struct item {
	uint32_t key;
	struct hash_node node;
};

static uint32_t item_hash(const struct hash *h, const struct hash_node *node)
{
	return hash_end(hash_mix(h->salt, hash_entry(node, struct item, node)->key));
}

static uint32_t same_hash(const struct hash *h, const struct hash_node *node)
{
	return 7;
}

static bool item_equal(const struct hash_node *node, const void *key)
{
	return hash_entry(node, struct item, node)->key == *(const uint32_t *)key;
}

static struct item *item_find(const struct hash *h, uint32_t key)
{
	struct item like = {.key = key};
	struct hash_node *node = hash_find(h, h->hash_of(h, &like.node), item_equal, &key);

	return node ? hash_entry(node, struct item, node) : NULL;
}

#define ITEMS 100000

static void found_until_removed_test(void **state)
{
	struct item *items = calloc(ITEMS, sizeof(*items));
	struct hash h;

	hash_init(&h, item_hash);
	assert_null(item_find(&h, 1));
	for (uint32_t i = 0; i < ITEMS; i++) {
		items[i].key = i * 3;
		assert_int_equal(hash_insert(&h, &items[i].node), 0);
	}
	assert_int_equal(h.n, ITEMS);
	for (uint32_t i = 0; i < ITEMS; i++) {
		assert_ptr_equal(item_find(&h, i * 3), &items[i]);
		assert_null(item_find(&h, i * 3 + 1));
	}
	for (uint32_t i = 0; i < ITEMS; i += 2)
		hash_remove(&h, &items[i].node);
	for (uint32_t i = 0; i < ITEMS; i++)
		assert_ptr_equal(item_find(&h, i * 3), i % 2 ? &items[i] : NULL);
	assert_int_equal(h.n, ITEMS / 2);
	hash_free(&h);
	free(items);
}

/* The entry that is shown may be taken out: all are shown, once. */
static void removed_while_shown_test(void **state)
{
	static struct item items[1000];
	struct hash_iter it = {};
	struct hash_node *node;
	struct hash h;
	unsigned shown = 0;

	hash_init(&h, item_hash);
	for (uint32_t i = 0; i < 1000; i++) {
		items[i].key = i;
		assert_int_equal(hash_insert(&h, &items[i].node), 0);
	}
	while ((node = hash_next(&h, &it))) {
		struct item *item = hash_entry(node, struct item, node);

		shown++;
		hash_remove(&h, node);
		assert_null(item_find(&h, item->key));
	}
	assert_int_equal(shown, 1000);
	assert_int_equal(h.n, 0);
	hash_free(&h);
}

static void collisions_test(void **state)
{
	struct item items[100] = {};
	struct hash h;

	hash_init(&h, same_hash);
	for (uint32_t i = 0; i < 100; i++) {
		items[i].key = i;
		assert_int_equal(hash_insert(&h, &items[i].node), 0);
	}
	hash_remove(&h, &items[50].node);
	for (uint32_t i = 0; i < 100; i++)
		assert_ptr_equal(item_find(&h, i), i == 50 ? NULL : &items[i]);
	hash_free(&h);
}

/* Keys that differ in one byte, or in length alone, do not fall together. */
static void bytes_spread_test(void **state)
{
	unsigned char key[19] = {};
	uint32_t seen[20 + 19 * 255];
	size_t n = 0, same = 0;

	for (size_t size = 0; size < 20; size++)
		seen[n++] = hash_end(hash_mix_bytes(42, key, size));
	for (size_t i = 0; i < sizeof(key); i++) {
		for (unsigned v = 1; v < 256; v++) {
			key[i] = v;
			seen[n++] = hash_end(hash_mix_bytes(42, key, sizeof(key)));
		}
		key[i] = 0;
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++)
			same += seen[i] == seen[j] && !(i == 19 || j == 19);
	}
	assert_true(same <= 1); /* 4865 draws of 32 bits meet with a chance of 0.3 % */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_until_removed_test),
		cmocka_unit_test(removed_while_shown_test),
		cmocka_unit_test(collisions_test),
		cmocka_unit_test(bytes_spread_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
