/* bpf_helpers.h: stands in for libbpf's, so that headers of the data plane can be compiled and run natively.
 *
 * A map is the same struct with its sizes in pointer types; stub_map(m) makes it known, and the helpers then work on memory of
 * the test. One thread, no per-CPU copies. A hash may be given an error for its next insertions (stub_fail).
 */
#ifndef SLUICE_TEST_BPF_HELPERS_H
#define SLUICE_TEST_BPF_HELPERS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/bpf.h>

#define SEC(name)
#define barrier_var(var)  __asm__ volatile("" : "+r"(var))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

#define STUB_MAPS    32
#define STUB_BUCKETS 65536

struct stub_entry {
	struct stub_entry *next;
	unsigned char data[]; /* value, then key: the value is aligned for atomics */
};

struct stub_map {
	const void *map;
	unsigned type;
	size_t key, value, max, n;
	int fail; /* what the next insertion returns */
	unsigned char *array;
	struct stub_entry **bucket;
};

typedef struct __sk_buff ctx_t; /* as of tc; of no packet */

/* The host has no sockets. */
static inline struct bpf_sock *stub_no_socket(const void *ctx, const void *tuple, uint32_t size)
{
	return NULL;
}
#define bpf_skc_lookup_tcp(ctx, tuple, size, ns, flags) stub_no_socket(ctx, tuple, size)
#define bpf_sk_lookup_udp(ctx, tuple, size, ns, flags)	stub_no_socket(ctx, tuple, size)
#define bpf_sk_release(sk)				((void)(sk))

static struct stub_map stub_maps[STUB_MAPS];
static uint64_t stub_now_ns = 1000000000000ull;
static uint32_t stub_random = 1;

static inline struct stub_map *stub_find(const void *map)
{
	for (int i = 0; i < STUB_MAPS; i++)
		if (stub_maps[i].map == map)
			return &stub_maps[i];
	abort();
}

static inline void stub_map_add(const void *map, unsigned type, size_t key, size_t value, size_t max)
{
	struct stub_map *m = stub_find(NULL);
	bool hash = type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_LRU_HASH;

	*m = (struct stub_map){.map = map, .type = type, .key = key, .value = value, .max = max};
	if (hash)
		m->bucket = calloc(STUB_BUCKETS, sizeof(*m->bucket));
	else
		m->array = calloc(max, (value + 7) / 8 * 8);
}

#define stub_map(m)                                                                                                              \
	stub_map_add(&(m), sizeof(*(m).type) / sizeof(int), sizeof(*(m).key), sizeof(*(m).value),                                \
		     sizeof(*(m).max_entries) / sizeof(int))

static inline void stub_reset(void)
{
	for (int i = 0; i < STUB_MAPS; i++) {
		struct stub_map *m = &stub_maps[i];

		for (size_t b = 0; m->bucket && b < STUB_BUCKETS; b++) {
			struct stub_entry *e = m->bucket[b], *next;

			for (; e; e = next) {
				next = e->next;
				free(e);
			}
		}
		free(m->bucket);
		free(m->array);
		memset(m, 0, sizeof(*m));
	}
}

static inline void stub_fail(const void *map, int err)
{
	stub_find(map)->fail = err;
}

static inline size_t stub_count(const void *map)
{
	return stub_find(map)->n;
}

/* Where the entry hangs, or would. */
static inline struct stub_entry **stub_place(struct stub_map *m, const void *key)
{
	const unsigned char *k = key;
	struct stub_entry **e;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < m->key; i++)
		h = (h ^ k[i]) * 16777619u;
	for (e = &m->bucket[h % STUB_BUCKETS]; *e; e = &(*e)->next)
		if (!memcmp((*e)->data + (m->value + 7) / 8 * 8, key, m->key))
			break;
	return e;
}

static inline void *bpf_map_lookup_elem(void *map, const void *key)
{
	struct stub_map *m = stub_find(map);
	uint32_t i = *(const uint32_t *)key;

	if (m->array)
		return i < m->max ? m->array + i * ((m->value + 7) / 8 * 8) : NULL;
	return *stub_place(m, key) ? (*stub_place(m, key))->data : NULL;
}

static inline long bpf_map_update_elem(void *map, const void *key, const void *value, uint64_t flags)
{
	struct stub_map *m = stub_find(map);
	struct stub_entry **e;

	if (m->array) {
		memcpy(bpf_map_lookup_elem(map, key), value, m->value);
		return 0;
	}
	if (m->fail) {
		int err = m->fail;

		m->fail = 0;
		return err;
	}
	e = stub_place(m, key);
	if (*e && flags == BPF_NOEXIST)
		return -EEXIST;
	if (!*e && m->n == m->max)
		return -E2BIG;
	if (!*e) {
		*e = calloc(1, sizeof(**e) + (m->value + 7) / 8 * 8 + m->key);
		memcpy((*e)->data + (m->value + 7) / 8 * 8, key, m->key);
		m->n++;
	}
	memcpy((*e)->data, value, m->value);
	return 0;
}

/* Ring buffers, of which there is one: what came in, and the last record. */
static struct stub_ring {
	unsigned n;
	uint64_t used, size; /* size 0: without an end */
	unsigned char last[128];
} stub_ring;

static inline long bpf_ringbuf_output(void *map, void *data, uint64_t size, uint64_t flags)
{
	if (stub_ring.size && stub_ring.used + size > stub_ring.size)
		return -EAGAIN;
	memcpy(stub_ring.last, data, size);
	stub_ring.used += size;
	stub_ring.n++;
	return 0;
}

static inline uint64_t bpf_ringbuf_query(void *map, uint64_t flags)
{
	return stub_ring.used;
}

static inline long bpf_map_delete_elem(void *map, const void *key)
{
	struct stub_map *m = stub_find(map);
	struct stub_entry **e = stub_place(m, key), *old = *e;

	if (!old)
		return -ENOENT;
	*e = old->next;
	free(old);
	m->n--;
	return 0;
}

static inline long bpf_loop(uint32_t n, void *fn, void *arg, uint64_t flags)
{
	long (*step)(uint64_t i, void *arg) = (long (*)(uint64_t, void *))fn;
	uint32_t i = 0;

	while (i < n)
		if (step(i++, arg))
			break;
	return i;
}

static inline uint32_t bpf_get_smp_processor_id(void)
{
	return 0;
}

/* Every nanosecond of the test's clock is a tick. */
static inline uint64_t bpf_jiffies64(void)
{
	return stub_now_ns;
}

static inline uint64_t bpf_ktime_get_coarse_ns(void)
{
	return stub_now_ns;
}

static inline uint32_t bpf_get_prandom_u32(void)
{
	stub_random = stub_random * 1664525u + 1013904223u;
	return stub_random;
}

#endif
