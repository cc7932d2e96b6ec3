/* table.h: typed access to the BPF maps, by the name of the map. Only datapath.c and table.c call libbpf.
 *
 * Every function returns 0 or -errno: -ENOENT absent, -EEXIST present, -E2BIG full.
 */
#ifndef SLUICE_TABLE_H
#define SLUICE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct datapath;
struct table;

/* The table of a map; owned by the datapath. NULL when the map does not exist (then the programs know no such map either). */
struct table *table_get(struct datapath *dp, const char *map);
uint32_t table_capacity(const struct table *t);

int table_lookup(struct table *t, const void *key, void *ret_value);
int table_set(struct table *t, const void *key, const void *value);    /* insert or replace */
int table_insert(struct table *t, const void *key, const void *value); /* -EEXIST when present */
int table_delete(struct table *t, const void *key);

/* Every element; the callback may delete the element it is shown. Stops at a non-zero return, and returns it. Batched where
 * the kernel can. On arrays every index is visited. */
int table_each(struct table *t, int (*fn)(const void *key, void *value, void *arg), void *arg);
/* In slices, so that the event loop is not held up: visits about `max` elements from *cursor on (start: NULL; the function
 * allocates it, and frees it and sets it to NULL at the end of the table). 0, or -errno. */
int table_each_some(struct table *t, void **cursor, size_t max, int (*fn)(const void *key, void *value, void *arg), void *arg);
void table_cursor_free(void *cursor);

/* Per-CPU arrays of __u64-only structs: the sum over the CPUs of element `index`, n words. */
int table_sum(struct table *t, uint32_t index, uint64_t *ret_words, size_t n);
/* Sets all CPUs' element to zero. */
int table_zero_percpu(struct table *t, uint32_t index);

/* An mmap-ed array (BPF_F_MMAPABLE): the first element; lives as long as the datapath. NULL when the map is not mmap-able.
 * Elements have a stride of their size rounded up to 8. */
void *table_map(struct table *t);

#endif
