/* flow_bench.c: `make bench-flow`: what a look-up and an insertion cost in the flow table and in the kernel's hash, by how many
 * flows there are, in random order. Both run inside the kernel on the same keys, by turns; the empty loop's time is subtracted;
 * an answer that is wrong ends the benchmark. Also how full the table gets before it refuses.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sluice/abi.h>

#include "../bpfkit.h"
#include "flowtab.h"

#define TARGETS (1u << 21)
#define ROUNDS	7
#define LOOPS	(1u << 20)

enum { EMPTY, FIND_HASH4, FIND_TABLE4, FIND_HASH6, FIND_TABLE6, INSERT_HASH4, INSERT_TABLE4, INSERT_HASH6, INSERT_TABLE6, WHATS };

struct job {
	uint32_t what, first, n, mask;
	uint64_t good, ns;
};

static struct bpf_object *obj;

static uint64_t rnd(void)
{
	return bpfkit_random() * 0x9e3779b97f4a7c15ull;
}

/* ns for each; all answers must be right, unless `any`. */
static double run(uint32_t what, uint32_t first, uint32_t n, uint32_t mask, uint64_t *ret_good)
{
	struct job j = {.what = what, .first = first, .n = n, .mask = mask};

	bpfkit_run(obj, &j);
	if (ret_good)
		*ret_good = j.good;
	else if (j.good != n) {
		fprintf(stderr, "flow_bench: job %u: %llu of %u answers are right\n", what, (unsigned long long)j.good, n);
		exit(1);
	}
	return (double)j.ns / n;
}

static void load(const char *path, uint32_t capacity)
{
	uint32_t buckets = (uint32_t)(((uint64_t)capacity * 5 / 4 + BUCKET_SLOTS - 1) / BUCKET_SLOTS);
	struct flow_table *t;
	struct flow_key6 *k;

	obj = bpf_object__open(path);
	if (!obj || bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flow_words4"), buckets) ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flow_words6"), buckets) ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flows4"), buckets * BUCKET_SLOTS) ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flows6"), buckets * BUCKET_SLOTS) ||
	    bpf_object__load(obj))
		bpfkit_die("load");
	t = bpfkit_map_memory(obj, SLUICE_ONE_SECTION "flow_table", sizeof(*t));
	for (int i = 0; i < FLOW_HASH_KEYS; i++)
		t->hash_key[i] = rnd();
	flowtab_size(t, buckets, buckets);
	k = bpfkit_map_memory(obj, "targets", sizeof(*k) * TARGETS);
	for (uint32_t i = 0; i < TARGETS; i++)
		for (int w = 0; w < 5; w++)
			((uint64_t *)&k[i])[w] = rnd() | 1ull << 32;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	return v[ROUNDS / 2];
}

static void look_up(uint32_t n)
{
	double v[WHATS][ROUNDS], empty;

	for (int r = 0; r < ROUNDS; r++)
		for (int what = EMPTY; what <= FIND_TABLE6; what++)
			v[what][r] = run(what, 0, LOOPS, n - 1, NULL);
	empty = median(v[EMPTY]);
	printf("look-up, %8u entries   IPv4: hash %6.1f  table %6.1f    IPv6: hash %6.1f  table %6.1f   ns\n", n,
	       median(v[FIND_HASH4]) - empty, median(v[FIND_TABLE4]) - empty, median(v[FIND_HASH6]) - empty,
	       median(v[FIND_TABLE6]) - empty);
}

static void insert(uint32_t from, uint32_t to)
{
	double empty = run(EMPTY, from, to - from, TARGETS - 1, NULL), v[4];

	for (int what = INSERT_HASH4; what <= INSERT_TABLE6; what++)
		v[what - INSERT_HASH4] = run(what, from, to - from, TARGETS - 1, NULL) - empty;
	if (to > 1)
		printf("insert, up to %8u       IPv4: hash %6.1f  table %6.1f    IPv6: hash %6.1f  table %6.1f   ns\n", to, v[0],
		       v[1], v[2], v[3]);
}

static void fill(const char *path, uint32_t capacity)
{
	uint64_t good;
	uint32_t n = 0;

	load(path, capacity);
	do {
		run(INSERT_TABLE4, n++, 1, TARGETS - 1, &good);
	} while (good && n < TARGETS);
	printf("capacity %8u: the first refusal came at %u entries, %.1f %%\n", capacity, n - 1, 100.0 * (n - 1) / capacity);
	bpf_object__close(obj);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = {1, 1u << 14, 1u << 16, 1u << 20, 1u << 21};

	if (argc < 2)
		return 1;
	load(argv[1], TARGETS);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		insert(i ? sizes[i - 1] : 0, sizes[i]);
		look_up(sizes[i]);
	}
	bpf_object__close(obj);
	fill(argv[1], 4096);
	fill(argv[1], 262144);
	return 0;
}
