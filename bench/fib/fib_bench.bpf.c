/* fib_bench.bpf.c: the candidates for the FIB, searched inside the kernel for a million addresses each. The one that is in use
 * is bpf/fib.h itself; the others stand here only to be measured. Driven by fib_bench.c.
 */
#include "pkt.h"
#include "config.h"
#include "fib.h"
#include "../bpf/bench_maps.h"

#define TARGETS (1u << 20)

/* What is looked for, in random order. */
MMAPPED(targets, TARGETS, struct addr);

/* DIR-24-8: the first 24 bits, two entries to an element; bit 31: a block of 256 for the last 8. */
struct pair {
	__u32 e[2];
};

MMAPPED(dir24, 1 << 23, struct pair);

MMAPPED(dir8, 1 << 22, struct pair);

/* DXR: for each value of the first 16 bits a sorted run of ranges, searched in halves. */
struct dxr_head {
	__u32 first, n;
};

struct dxr_range {
	__u32 start; /* of the lower 16 bits */
	__u32 result;
};

MMAPPED(dxr_heads, 65536, struct dxr_head);

MMAPPED(dxr_ranges, 1 << 22, struct dxr_range);

struct lpm_key {
	__u32 len;
	__u8 addr[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 21);
	__type(key, struct lpm_key);
	__type(value, __u32);
} lpm SEC(".maps");

/* In: what to search, and the family; whether what is searched next depends on what was found. Out: sums that depend on every
 * result, and the time. */
struct job {
	__u32 what;
	__u32 vrf;
	__u32 family;
	__u32 n;
	__u32 chained;
	__u32 last;
	__u64 sum;
	__u64 ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} job SEC(".maps");

static __always_inline __u32 dir_find(__u32 ip)
{
	__u32 i = ip >> 9, e;
	struct pair *p = bpf_map_lookup_elem(&dir24, &i);

	if (!p)
		return 0;
	e = p->e[ip >> 8 & 1];
	if (!(e >> 31))
		return e;
	i = ((e & 0x7fffffff) << 8 | (ip & 0xff)) >> 1;
	p = bpf_map_lookup_elem(&dir8, &i);
	return p ? p->e[ip & 1] : 0;
}

static __always_inline __u32 dxr_find(__u32 ip)
{
	__u32 i = ip >> 16, lo, n, half, step;
	struct dxr_head *h = bpf_map_lookup_elem(&dxr_heads, &i);
	struct dxr_range *r;

	if (!h)
		return 0;
	lo = h->first;
	n = h->n;
	for (step = 0; step < 17 && n > 1; step++) {
		half = n / 2;
		i = lo + half;
		r = bpf_map_lookup_elem(&dxr_ranges, &i);
		if (!r)
			return 0;
		if (r->start <= (ip & 0xffff)) {
			lo = i;
			n -= half;
		} else {
			n = half;
		}
	}
	r = bpf_map_lookup_elem(&dxr_ranges, &lo);
	return r ? r->result : 0;
}

static __always_inline __u32 lpm_find(struct addr *a)
{
	struct lpm_key k = {.len = 128};
	__u32 *v;

	__builtin_memcpy(k.addr, a, sizeof(k.addr));
	v = bpf_map_lookup_elem(&lpm, &k);
	return v ? *v : 0;
}

__noinline_global __u32 bench_fib(struct addr *a, __u32 vrf, __u32 family)
{
	return a ? fib_lookup(vrf, family, a) : 0;
}

__noinline_global __u32 bench_dir(struct addr *a)
{
	return a ? dir_find(bpf_ntohl(a->a32[3])) : 0;
}

__noinline_global __u32 bench_dxr(struct addr *a)
{
	return a ? dxr_find(bpf_ntohl(a->a32[3])) : 0;
}

static long one(__u32 i, void *arg)
{
	struct job *j = *(struct job **)arg;
	struct addr *a;
	__u32 found;

	/* A packet's search begins when the one before it has ended; without this several would wait for memory at once. */
	if (j->chained)
		i = (i + j->last % 256) % TARGETS;
	a = bpf_map_lookup_elem(&targets, &i);
	if (!a)
		return 1;
	switch (j->what) {
	case 1:
		found = bench_fib(a, j->vrf, j->family);
		break;
	case 2:
		found = bench_dir(a);
		break;
	case 3:
		found = bench_dxr(a);
		break;
	case 4:
		found = lpm_find(a);
		break;
	default: /* the loop alone */
		found = a->a32[3];
	}
	j->sum = j->sum * 31 + found;
	j->last = found;
	return 0;
}

SEC("tc")
int bench(struct __sk_buff *ctx)
{
	__u32 zero = 0;
	struct job *j = bpf_map_lookup_elem(&job, &zero);
	__u64 start;

	if (!j)
		return 0;
	j->sum = 0;
	j->last = 0;
	start = bpf_ktime_get_ns();
	bpf_loop(j->n, one, &j, 0);
	j->ns = bpf_ktime_get_ns() - start;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
