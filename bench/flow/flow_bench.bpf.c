/* flow_bench.bpf.c: the flow table beside the kernel's hash: insertions and look-ups inside the kernel, by whole keys in random
 * order. The table is bpf/flowtab.h itself; the hash stands here only to be measured. Driven by flow_bench.c.
 */
#include "pkt.h"
#include "config.h"
#include "flowtab.h"
#include "../bpf/bench_maps.h"

#define TARGETS (1u << 21)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TARGETS);
	__type(key, __u32);
	__type(value, struct flow_key6);
} targets SEC(".maps");

KERNEL_HASH(hash4, TARGETS, struct flow_key4, struct flow);
KERNEL_HASH(hash6, TARGETS, struct flow_key6, struct flow);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} bench_scratch SEC(".maps");

enum { EMPTY, FIND_HASH4, FIND_TABLE4, FIND_HASH6, FIND_TABLE6, INSERT_HASH4, INSERT_TABLE4, INSERT_HASH6, INSERT_TABLE6 };

/* In: what, from which target on, how many, over and over again which. Out: how many answers were right, and the time. */
struct job {
	__u32 what;
	__u32 first;
	__u32 n;
	__u32 mask;
	__u64 good;
	__u64 ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} job SEC(".maps");

/* What a packet does with its entry: reads the decision, writes time and counters. */
static __always_inline __u32 use(struct flow *f, __u32 i)
{
	if (!f)
		return 0;
	f->used = i;
	f->packets++;
	return f->epoch == 1 && f->mtu == 1500;
}

static __always_inline struct flow *at4(struct flow_key6 *k)
{
	struct flow_key4 key;
	__u32 i;

	__builtin_memcpy(&key, k, sizeof(key));
	i = flowtab_find4(&key);
	return i ? flowtab_at(4, i - 1) : NULL;
}

static __always_inline struct flow *at6(struct flow_key6 *k)
{
	struct flow_key6 key = *k;
	__u32 i = flowtab_find6(&key);

	return i ? flowtab_at(6, i - 1) : NULL;
}

static __always_inline long insert4(struct flow_key6 *k, struct flow *f)
{
	struct flow_key4 key;

	__builtin_memcpy(&key, k, sizeof(key));
	return flowtab_insert4(&key, f);
}

static long one(__u32 n, void *arg)
{
	struct job *j = *(struct job **)arg;
	__u32 zero = 0, i = (j->first + n) & j->mask;
	struct flow_key6 *k = bpf_map_lookup_elem(&targets, &i);
	struct flow *f = bpf_map_lookup_elem(&bench_scratch, &zero);

	if (!k || !f)
		return 1;
	f->epoch = 1;
	f->mtu = 1500;
	switch (j->what) {
	case EMPTY:
		j->good += k->saddr.a8[4] & 1;
		break;
	case FIND_HASH4:
		j->good += use(bpf_map_lookup_elem(&hash4, k), n);
		break;
	case FIND_TABLE4:
		j->good += use(at4(k), n);
		break;
	case FIND_HASH6:
		j->good += use(bpf_map_lookup_elem(&hash6, k), n);
		break;
	case FIND_TABLE6:
		j->good += use(at6(k), n);
		break;
	case INSERT_HASH4:
		j->good += !bpf_map_update_elem(&hash4, k, f, BPF_NOEXIST);
		break;
	case INSERT_TABLE4:
		j->good += !insert4(k, f);
		break;
	case INSERT_HASH6:
		j->good += !bpf_map_update_elem(&hash6, k, f, BPF_NOEXIST);
		break;
	case INSERT_TABLE6:
		j->good += !flowtab_insert6(k, f);
		break;
	}
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
	j->good = 0;
	start = bpf_ktime_get_ns();
	bpf_loop(j->n, one, &j, 0);
	j->ns = bpf_ktime_get_ns() - start;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
