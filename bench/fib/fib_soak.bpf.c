/* fib_soak.bpf.c: the data plane's part of fib_soak.c: looks addresses up and counts answers that none of the tables before and
 * after a change gives.
 */
#include "pkt.h"
#include "config.h"
#include "fib.h"

#define TARGETS 4096

struct target {
	struct addr addr;
	__u32 vrf;
	__u32 family;
	__u32 allowed; /* a bit for each result that is right */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TARGETS);
	__type(key, __u32);
	__type(value, struct target);
} targets SEC(".maps");

/* 0: lookups; 1: wrong answers; 2: the last of them; 3: its target. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

__noinline_global __u32 soak_find(struct addr *a, __u32 vrf, __u32 family)
{
	return a ? fib_lookup(vrf, family, a) : 0;
}

static __always_inline void count(__u32 what, __u64 value, bool add)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &what);

	if (n)
		*n = add ? *n + value : value;
}

static long one(__u32 i, void *arg)
{
	struct target *t;
	__u32 found;

	i &= TARGETS - 1;
	t = bpf_map_lookup_elem(&targets, &i);
	if (!t)
		return 1;
	found = soak_find(&t->addr, t->vrf, t->family);
	count(0, 1, true);
	if (found > 31 || !(t->allowed >> found & 1)) {
		count(1, 1, true);
		count(2, found, false);
		count(3, i, false);
	}
	return 0;
}

SEC("tc")
int soak(struct __sk_buff *ctx)
{
	bpf_loop(TARGETS, one, NULL, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
