/* nattab.h: the table of NAT's mappings as sluiced sees it: memory that it shares with the data plane.
 *
 * The same table as bpf/nattab.h, which fills it; its layout stands in abi.h. Mappings are walked, found, ended, and for restored
 * flows made, without a system call for any of them. One may be ended or made by others at any time: what is found is a copy.
 */
#ifndef SLUICE_USER_NATTAB_H
#define SLUICE_USER_NATTAB_H

#include <stdbool.h>
#include <stdint.h>
#include <sluice/abi.h>

struct spill;
struct table;

struct nattab {
	const struct flow_table *head;
	struct bucket *bucket;
	struct nat_mapping *entry;
	struct nat_line *line;
	uint32_t n, n_lines; /* slots */
};

#define NATTAB_NONE UINT32_MAX

/* How many buckets a table for so many mappings has, and how many lines their ways take. */
uint32_t nattab_buckets(uint32_t mappings);
uint32_t nattab_lines(uint32_t mappings);

/* By the maps `flow_table`, `nat_words`, `nat_mappings`, `nat_ways`. -ENOENT, -EINVAL. */
int nattab_open(struct nattab *t, struct table *head, struct table *words, struct table *entries, struct table *ways);

/* A copy of the mapping in slot `i`; *ret_word is its word, for nattab_end(). False: there is none. */
bool nattab_read(const struct nattab *t, uint32_t i, struct nat_mapping *ret, uint32_t *ret_word);
/* The slot of a mapping, by its key or its NAT_WAY(), with a copy of it; NATTAB_NONE. */
uint32_t nattab_lookup(const struct nattab *t, const struct nat_mapping_key *key, struct nat_mapping *ret);
uint32_t nattab_lookup_way(const struct nattab *t, uint32_t way, struct nat_mapping *ret);
uint32_t nattab_way(const struct nat_mapping *m);
/* Of a way: as pool_class() of the data plane. POOL_CLASSES: ports of this protocol are not given out. */
unsigned nat_class(uint8_t proto);

/* As the data plane inserts: -EEXIST, -E2BIG, -EBUSY; -EADDRINUSE: the port, a run's, is another's, or cannot be noted as held.
 */
int nattab_add(struct nattab *t, const struct nat_mapping *m, uint64_t now_ns);
/* Gives back locks and slots that a sluiced held when it was killed, see bucket_free_locks(). */
unsigned nattab_free_locks(struct nattab *t);
/* Ends the mapping `m`, as it was read, whose word was `word`; its slot is free again after the grace period. False: it had
 * ended. */
bool nattab_end(struct nattab *t, uint32_t i, uint32_t word, const struct nat_mapping *m, uint64_t now_ns);

/* Walks `max` slots from *at on: 1: there are more; 0: that was all, and *at is 0 again; else what `fn` has returned. */
int nattab_each_some(const struct nattab *t, uint32_t *at, uint32_t max,
		     int (*fn)(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg), void *arg);
/* The same for who walks over all of them again and again: what the buckets say of keys elsewhere is taken back when it is out of
 * date. */
int nattab_sweep_some(struct nattab *t, struct spill *spill, uint32_t *at, uint32_t max,
		      int (*fn)(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg), void *arg);

#endif
