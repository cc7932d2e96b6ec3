/* table.c: typed access to the BPF maps by name: it stands between the nouns of sluiced and libbpf.
 *
 * Walks use the kernel's batched look-ups: one system call for many elements, and a cursor (a bucket's number, or an array's
 * index) that stays good while elements come and go. Maps without them (DEVMAP_HASH) are walked key by key.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "datapath_priv.h"

#define BATCH 512

static int n_cpus(void)
{
	static int n;

	if (!n)
		n = libbpf_num_possible_cpus();
	return n > 0 ? n : 1;
}

static bool is_percpu(const struct table *t)
{
	return t->type == BPF_MAP_TYPE_PERCPU_ARRAY || t->type == BPF_MAP_TYPE_PERCPU_HASH ||
	       t->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_array(const struct table *t)
{
	return t->type == BPF_MAP_TYPE_ARRAY || t->type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

/* What a look-up writes: of a per-CPU map the values of all CPUs, each rounded up to 8 bytes. */
static size_t lookup_size(const struct table *t)
{
	return is_percpu(t) ? (t->value_size + 7) / 8 * 8 * (size_t)n_cpus() : t->value_size;
}

int table_init(struct table *t, const char *name, int fd)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	int err = bpf_obj_get_info_by_fd(fd, &info, &len);

	memset(t, 0, sizeof(*t));
	t->fd = fd;
	if (err)
		return err;
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->type = info.type;
	t->key_size = info.key_size;
	t->value_size = info.value_size;
	t->max_entries = info.max_entries;
	t->flags = info.map_flags;
	return 0;
}

void table_done(struct table *t)
{
	if (t->mapped)
		munmap(t->mapped, t->mapped_len);
	if (t->fd >= 0)
		close(t->fd);
	t->mapped = NULL;
	t->fd = -1;
}

struct table *table_get(struct datapath *dp, const char *map)
{
	for (size_t i = 0; i < dp->n_tables; i++)
		if (!strcmp(dp->tables[i].name, map))
			return &dp->tables[i];
	return NULL;
}

uint32_t table_capacity(const struct table *t)
{
	return t->max_entries;
}

int table_lookup(struct table *t, const void *key, void *ret_value)
{
	return bpf_map_lookup_elem(t->fd, key, ret_value);
}

int table_set(struct table *t, const void *key, const void *value)
{
	return bpf_map_update_elem(t->fd, key, value, BPF_ANY);
}

/* A slot of an array is always present: there, inserting is setting. */
int table_insert(struct table *t, const void *key, const void *value)
{
	return bpf_map_update_elem(t->fd, key, value, is_array(t) ? BPF_ANY : BPF_NOEXIST);
}

int table_delete(struct table *t, const void *key)
{
	return bpf_map_delete_elem(t->fd, key);
}

/* Where a walk stands. `token` is the kernel's: of a hash the next bucket's number, of an array the next index, of an LPM trie
 * (and in a walk key by key) the last key. */
struct cursor {
	bool started;
	bool by_key;
	uint32_t cap; /* elements the buffers hold */
	void *token, *keys, *values;
};

static void cursor_done(struct cursor *c)
{
	free(c->token);
	free(c->keys);
	free(c->values);
}

static int cursor_grow(const struct table *t, struct cursor *c, uint32_t cap)
{
	free(c->keys);
	free(c->values);
	c->keys = calloc(cap, t->key_size);
	c->values = calloc(cap, lookup_size(t));
	c->cap = cap;
	return c->keys && c->values ? 0 : -ENOMEM;
}

static int cursor_init(const struct table *t, struct cursor *c, uint32_t cap)
{
	memset(c, 0, sizeof(*c));
	c->by_key = t->type == BPF_MAP_TYPE_DEVMAP_HASH || t->type == BPF_MAP_TYPE_DEVMAP;
	c->token = calloc(1, t->key_size > 8 ? t->key_size : 8);
	if (!c->token)
		return -ENOMEM;
	return cursor_grow(t, c, c->by_key ? 1 : cap);
}

/* The next elements into the buffers. Their number; 0 with *ret_end at the end; -errno. */
static int cursor_next_batch(struct table *t, struct cursor *c, bool *ret_end)
{
	uint32_t count;
	int err;

	for (;;) {
		count = c->cap;
		err = bpf_map_lookup_batch(t->fd, c->started ? c->token : NULL, c->token, c->keys, c->values, &count, NULL);
		/* A hash bucket that does not fit in the buffers. */
		if (err != -ENOSPC || c->cap >= t->max_entries)
			break;
		err = cursor_grow(t, c, c->cap * 2);
		if (err)
			return err;
	}
	c->started = true;
	*ret_end = err == -ENOENT;
	return err && err != -ENOENT ? err : (int)count;
}

/* One element, which may be deleted afterwards: so the key after it is fetched first. */
static int cursor_next_key(struct table *t, struct cursor *c, bool *ret_end)
{
	int err;

	if (!c->started && bpf_map_get_next_key(t->fd, NULL, c->token)) {
		*ret_end = true;
		return 0;
	}
	c->started = true;
	memcpy(c->keys, c->token, t->key_size);
	*ret_end = bpf_map_get_next_key(t->fd, c->keys, c->token) != 0;
	err = bpf_map_lookup_elem(t->fd, c->keys, c->values);
	return err == -ENOENT ? 0 : err ? err : 1;
}

/* Visits at least `max` elements, or all that are left; *ret_end tells. */
static int cursor_walk(struct table *t, struct cursor *c, size_t max, bool *ret_end,
		       int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	size_t seen = 0;
	int n, err;

	*ret_end = false;
	while (!*ret_end && seen < max) {
		n = c->by_key ? cursor_next_key(t, c, ret_end) : cursor_next_batch(t, c, ret_end);
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++) {
			err = fn((char *)c->keys + (size_t)i * t->key_size, (char *)c->values + (size_t)i * lookup_size(t), arg);
			if (err)
				return err;
		}
		seen += (size_t)n;
	}
	return 0;
}

int table_each(struct table *t, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	struct cursor c;
	bool end;
	int err;

	err = cursor_init(t, &c, t->max_entries < BATCH ? t->max_entries : BATCH);
	if (!err)
		err = cursor_walk(t, &c, SIZE_MAX, &end, fn, arg);
	cursor_done(&c);
	return err;
}

int table_each_some(struct table *t, void **cursor, size_t max, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	struct cursor *c = *cursor;
	bool end = false;
	int err = 0;

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		err = cursor_init(t, c, max < BATCH ? (max ? (uint32_t)max : 1) : BATCH);
	}
	if (!err)
		err = cursor_walk(t, c, max, &end, fn, arg);
	if (err || end) {
		table_cursor_free(c);
		c = NULL;
	}
	*cursor = c;
	return err;
}

void table_cursor_free(void *cursor)
{
	if (!cursor)
		return;
	cursor_done(cursor);
	free(cursor);
}

int table_sum(struct table *t, uint32_t index, uint64_t *ret_words, size_t n)
{
	size_t stride = (t->value_size + 7) / 8;
	uint64_t *v;
	int err;

	if (!is_percpu(t) || n * 8 > t->value_size)
		return -EINVAL;
	v = calloc((size_t)n_cpus(), stride * 8);
	if (!v)
		return -ENOMEM;
	err = bpf_map_lookup_elem(t->fd, &index, v);
	if (!err) {
		memset(ret_words, 0, n * sizeof(*ret_words));
		for (int cpu = 0; cpu < n_cpus(); cpu++)
			for (size_t i = 0; i < n; i++)
				ret_words[i] += v[(size_t)cpu * stride + i];
	}
	free(v);
	return err;
}

int table_zero_percpu(struct table *t, uint32_t index)
{
	void *v;
	int err;

	if (!is_percpu(t))
		return -EINVAL;
	v = calloc(1, lookup_size(t));
	if (!v)
		return -ENOMEM;
	err = bpf_map_update_elem(t->fd, &index, v, BPF_ANY);
	free(v);
	return err;
}

void *table_map(struct table *t)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len;
	void *p;

	if (t->mapped)
		return t->mapped;
	if (t->type != BPF_MAP_TYPE_ARRAY || !(t->flags & BPF_F_MMAPABLE))
		return NULL;
	len = ((size_t)t->value_size + 7) / 8 * 8 * t->max_entries;
	len = (len + page - 1) / page * page;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	if (p == MAP_FAILED)
		return NULL;
	t->mapped = p;
	t->mapped_len = len;
	return p;
}
