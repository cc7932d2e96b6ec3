/* fib_bench.c: `make bench-fib`: tables of the size of the Internet's, and what a lookup, a build and a change of them cost.
 *
 * Routes and addresses are made up by a fixed seed: lengths are spread as in the public tables, and prefixes stand in
 * allocations, not evenly. Every address lies in populated space, so each search goes as deep as it has to. All candidates
 * search the same addresses inside the kernel, and must find the same; the time of the empty loop is subtracted.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../bpfkit.h"
#include "fib.h"

#define TARGETS (1u << 20)
#define ROUNDS	5

struct route {
	struct prefix p;
	uint32_t value;
};

struct job {
	uint32_t what, vrf, family, n, chained, last;
	uint64_t sum, ns;
};

struct pair {
	uint32_t e[2];
};

static struct bpf_object *obj;
static uint32_t rnd(void)
{
	return bpfkit_random() >> 20;
}

/* Of this process alone: others may be busy on the machine. */
static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* ---- tables */

struct share {
	uint8_t len;
	uint8_t percent;
};

static const struct share shares4[] = {{24, 60}, {23, 10}, {22, 11}, {21, 5}, {20, 4}, {19, 3},
				       {18, 2},	 {17, 1},  {16, 2},  {28, 1}, {32, 1}};
static const struct share shares6[] = {{48, 47}, {32, 12}, {44, 10}, {40, 9}, {36, 5}, {29, 4},
				       {47, 3},	 {46, 4},  {42, 2},  {56, 1}, {64, 2}, {128, 1}};

static uint8_t pick_len(const struct share *s, size_t n)
{
	int x = rnd() % 100;
	size_t i;

	for (i = 0; i + 1 < n && x >= s[i].percent; i++)
		x -= s[i].percent;
	return s[i].len;
}

/* 35,000 of the /16 of unicast space; for IPv6 25,000 allocations of /32 under some hundred /20. */
static struct addr populated(uint8_t family)
{
	struct addr a = {0};
	uint32_t block = rnd() % (family == 4 ? 35000 : 25000), h = block * 2654435761u;

	if (family == 4) {
		a.a32[2] = htonl(0xffff);
		a.a32[3] = htonl((1 + (h >> 16) % 223) << 24 | ((h >> 8) & 0xff) << 16 | (rnd() & 0xffff));
		return a;
	}
	a.a32[0] = htonl(0x20000000 | (0x01000000u * (1 + 3 * (h % 4)) * (h % 4 + 1) & 0x0f000000) | (h >> 12 & 0xfffff));
	/* networks of one allocation are mostly numbered one after another, from a few starts */
	a.a32[1] = htonl((h & 3) << 30 | (rnd() % 4) << 24 | (rnd() % 8 ? rnd() % 32 : rnd() & 0xff) << 16 | (rnd() & 0xffff));
	a.a32[3] = rnd();
	return a;
}

static struct route *make(uint8_t family, size_t n)
{
	struct route *r = calloc(n, sizeof(*r));
	size_t i;

	if (!r)
		bpfkit_die("memory");
	for (i = 0; i < n; i++) {
		r[i].p.family = family;
		r[i].p.len = family == 4 ? pick_len(shares4, sizeof(shares4) / sizeof(shares4[0]))
					 : pick_len(shares6, sizeof(shares6) / sizeof(shares6[0]));
		r[i].p.addr = populated(family);
		r[i].p = prefix_masked(&r[i].p);
		r[i].value = 1 + rnd() % 300;
	}
	return r;
}

/* ---- a candidate's turn */

static struct job run(struct job j)
{
	bpfkit_run(obj, &j);
	return j;
}

/* Best of some rounds, ns a lookup; *ret_sum tells candidates that disagree. `chained`: one search after another, as packets
 * come. */
static double measure_as(uint32_t what, uint32_t vrf, uint8_t family, bool chained, uint64_t *ret_sum)
{
	double best = 1e9, empty = 1e9;
	struct job j;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		j = run((struct job){.what = 0, .n = TARGETS, .chained = chained});
		if ((double)j.ns / TARGETS < empty)
			empty = (double)j.ns / TARGETS;
		j = run((struct job){.what = what, .vrf = vrf, .family = family, .n = TARGETS, .chained = chained});
		if ((double)j.ns / TARGETS < best)
			best = (double)j.ns / TARGETS;
	}
	*ret_sum = j.sum;
	return best - empty;
}

static double measure(uint32_t what, uint32_t vrf, uint8_t family, uint64_t *ret_sum)
{
	return measure_as(what, vrf, family, false, ret_sum);
}

/* ---- the other candidates, from the FIB: what it answers for each /24 and below */

/* The results of the 256 addresses of a /24; true: they differ. */
static bool answers(const struct fib *f, uint32_t net, uint32_t ret[256])
{
	bool differ = false;
	int i;

	for (i = 0; i < 256; i++) {
		struct addr a = addr_v4(htonl(net << 8 | i));

		ret[i] = fib_lookup(f, 0, &a);
		differ |= ret[i] != ret[0];
	}
	return differ;
}

/* `longer`: /24 that hold longer prefixes. */
static size_t build_others(const struct fib *f, const uint8_t *longer, size_t *ret_ranges)
{
	struct pair *d24 = bpfkit_map_memory(obj, "dir24", sizeof(*d24) << 23),
		    *d8 = bpfkit_map_memory(obj, "dir8", sizeof(*d8) << 22);
	struct head {
		uint32_t first, n;
	} *head = bpfkit_map_memory(obj, "dxr_heads", sizeof(*head) * 65536);
	struct range {
		uint32_t start, result;
	} *range = bpfkit_map_memory(obj, "dxr_ranges", sizeof(*range) << 22);
	uint32_t net, blocks = 0, ranges = 0, all[256], k, n;

	for (net = 0; net < 1u << 24; net++) {
		struct addr a = addr_v4(htonl(net << 8));
		struct head *h = &head[net >> 8];

		if (!(net & 0xff))
			*h = (struct head){ranges, 0};
		n = longer[net] && answers(f, net, all) ? 256 : 1;
		all[0] = fib_lookup(f, 0, &a);
		d24[net / 2].e[net % 2] = n > 1 ? 1u << 31 | blocks : all[0];
		for (k = 0; k < n; k++) {
			if (n > 1)
				d8[(blocks << 8 | k) / 2].e[k % 2] = all[k];
			if (h->n && range[ranges - 1].result == all[k])
				continue;
			range[ranges++] = (struct range){(net & 0xff) << 8 | k, all[k]};
			h->n++;
		}
		blocks += n > 1;
	}
	*ret_ranges = ranges;
	return blocks;
}

static void fill_lpm(const struct route *r, size_t n)
{
	struct {
		uint32_t len;
		uint8_t addr[16];
	} key;
	int fd = bpfkit_map_fd(obj, "lpm");
	size_t i;

	for (i = 0; i < n; i++) {
		key.len = prefix_mapped_len(&r[i].p);
		memcpy(key.addr, &r[i].p.addr, sizeof(key.addr));
		if (bpf_map_update_elem(fd, &key, &r[i].value, 0))
			bpfkit_die("lpm");
	}
}

/* ---- the report */

static void targets(uint8_t family, const struct route *r, size_t n, bool local)
{
	struct addr *t = bpfkit_map_memory(obj, "targets", sizeof(*t) * TARGETS);
	uint32_t i, k;

	for (i = 0; i < TARGETS; i++) {
		const struct prefix *p = &r[local ? (i / 64) % 64 : rnd() % n].p;

		t[i] = p->addr;
		for (k = prefix_mapped_len(p); k < 128; k++)
			if (rnd() & 1)
				t[i].a8[k / 8] ^= 0x80 >> k % 8;
	}
	munmap(t, sizeof(*t) * TARGETS);
}

static void changes(struct fib *f, uint16_t vrf, const struct route *r, size_t n, const char *name)
{
	size_t i, rounds = 100000;
	double start = now();
	int done;

	for (i = 0; i < rounds; i++) {
		const struct route *x = &r[rnd() % n];

		if (i % 2)
			fib_set(f, vrf, &x->p, 1 + rnd() % 300);
		else
			fib_delete(f, vrf, &x->p);
		done = i % 8 == 7 ? fib_commit(f) : 0;
		if (done && done != -EAGAIN) /* what finds no memory now is written with the next ones */
			bpfkit_die("commit");
	}
	fib_commit_wait(f);
	printf("%-6s changes (8 a commit)           %10.0f /s\n", name, rounds / (now() - start));
	for (i = 0; i < n; i++)
		fib_set(f, vrf, &r[i].p, r[i].value);
	fib_commit_wait(f);
}

static void build(struct fib *f, uint16_t vrf, const struct route *r, size_t n, const char *name)
{
	uint32_t before = fib_size(f).units;
	double start = now();
	size_t i;

	for (i = 0; i < n; i++)
		if (fib_set(f, vrf, &r[i].p, r[i].value))
			bpfkit_die("fib_set");
	if (fib_commit_wait(f))
		bpfkit_die("fib_commit");
	printf("%-6s build of %7zu (VRF %u)         %10.2f s, %.1f MiB\n", name, n, vrf, now() - start,
	       (fib_size(f).units - before) * 64 / 1048576.0);
}

static void line(const char *what, double ns, uint64_t sum, uint64_t want)
{
	printf("%-36s   %10.1f ns%s\n", what, ns, sum == want ? "" : "   DISAGREES");
	if (sum != want)
		exit(1);
}

/* What is looked for now, in each of the structures for IPv4. */
static void beside_others(const char *how, bool chained)
{
	static const char *const names[] = {"trie (in use)", "DIR-24-8", "DXR"};
	uint64_t want = 0;

	for (uint32_t i = 0; i < 3; i++) {
		char what[64];
		uint64_t sum;
		double ns = measure_as(i + 1, 0, 4, chained, &sum);

		want = i ? want : sum;
		snprintf(what, sizeof(what), "IPv4   %s, %s", names[i], how);
		line(what, ns, sum, want);
	}
}

int main(int argc, char **argv)
{
	size_t n4 = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000, n6 = argc > 3 ? strtoul(argv[3], NULL, 10) : 250000, i,
	       ranges, blocks;
	struct route *r4 = make(4, n4), *r6 = make(6, n6);
	uint8_t *longer = calloc(1 << 24, 1);
	uint64_t sum, want;
	struct fib *f;
	double ns;

	obj = argc > 1 ? bpf_object__open(argv[1]) : NULL;
	if (!obj || !longer || bpf_object__load(obj))
		bpfkit_die("load");
	if (fib_open(bpfkit_map_memory(obj, "fib", (size_t)FIB_UNITS * 64), FIB_UNITS,
		     bpfkit_map_memory(obj, "fib_roots", VRF_MAX * 8), &f, NULL))
		bpfkit_die("fib_open");
	build(f, 0, r4, n4, "IPv4");
	build(f, 0, r6, n6, "IPv6");
	changes(f, 0, r4, n4, "IPv4");
	changes(f, 0, r6, n6, "IPv6");
	for (i = 0; i < n4; i++)
		if (r4[i].p.len > 24)
			longer[ntohl(r4[i].p.addr.a32[3]) >> 8] = 1;
	blocks = build_others(f, longer, &ranges);
	printf("IPv4   DIR-24-8 64 MiB + %.1f MiB; DXR 0.5 MiB + %.1f MiB\n", blocks * 1024 / 1048576.0, ranges * 8 / 1048576.0);

	targets(4, r4, n4, false);
	beside_others("random", false);
	beside_others("one by one", true);
	targets(4, r4, n4, true);
	beside_others("64 destinations", false);
	targets(6, r6, n6, false);
	ns = measure(1, 0, 6, &want);
	line("IPv6   trie (in use), random", ns, want, want);
	ns = measure_as(1, 0, 6, true, &want);
	line("IPv6   trie (in use), one by one", ns, want, want);
	targets(6, r6, n6, true);
	ns = measure(1, 0, 6, &want);
	line("IPv6   trie (in use), 64 destinations", ns, want, want);
	targets(6, r6, n6, false);
	ns = measure(1, 0, 6, &want);
	fill_lpm(r6, n6);
	ns = measure(4, 0, 6, &sum);
	line("IPv6   LPM_TRIE, random", ns, sum, want);
	n6 /= 4;
	build(f, 7, r6, n6, "IPv6");
	targets(6, r6, n6, false);
	ns = measure(1, 0, 6, &want);
	line("IPv6   trie, a quarter of the table", ns, want, want);
	ns = measure(1, 7, 6, &sum);
	line("IPv6   trie in another VRF, the quarter", ns, 0, 0);
	return 0;
}
