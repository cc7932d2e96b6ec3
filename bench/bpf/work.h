/* work.h: work that touches no memory. */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Four chains of additions, shifts and multiplications side by side, which keep a core as busy as it gets. */
static __always_inline __u64 gen_work(__u64 a, const int rounds)
{
	__u64 b = a + 1, c = a + 2, d = a + 3;

#pragma unroll
	for (int i = 0; i < rounds; i++) {
		a = (a * 3) ^ (a >> 7);
		b = (b + 0x51ed) ^ (b << 3);
		c = (c * 5) + (c >> 9);
		d = (d - 0x2545) ^ (d >> 5);
	}
	return a ^ b ^ c ^ d;
}

#endif
