/* csum_data.h: the one's complement sum (RFC 1071) over a packet's own bytes, wherever they lie.
 *
 * Stands between csum.h, which knows no packet, and those who make or verify a checksum over a whole message: ICMP errors. All
 * else is updated by difference.
 */
#ifndef SLUICE_CSUM_DATA_H
#define SLUICE_CSUM_DATA_H

#include "pkt.h"
#include "csum.h"

#define CSUM_DATA_CHUNK 32

struct csum_data {
	ctx_t *ctx;
	__u32 off;
	__u32 len;
	__u64 sum;
};

/* Some bytes a turn. verifier: a bpf_loop, because an unrolled sum over 1232 bytes is too much on 6.1. */
static long csum_data_chunk(__u32 n, void *arg)
{
	struct csum_data *s = arg;
	__u64 words[CSUM_DATA_CHUNK / 8] = {};
	__u32 at = n * sizeof(words), left;

	if (at >= s->len)
		return 1;
	left = s->len - at;
	if (left >= sizeof(words)) {
		if (ctx_load(s->ctx, s->off + at, words, sizeof(words)))
			return 1;
	} else {
		left = ((left - 1) & (sizeof(words) - 1)) + 1; /* verifier: 1 to 32, which it is */
		if (ctx_load(s->ctx, s->off + at, words, left))
			return 1;
	}
	for (int i = 0; i < CSUM_DATA_CHUNK / 8; i++)
		s->sum += (words[i] & 0xffffffff) + (words[i] >> 32);
	return 0;
}

/* Of `len` bytes, 65535 at the most, of which the first is even; with a zero behind an odd one. Folded. What lies beyond the
 * packet's end counts as 0. */
static __always_inline __u16 csum_data(ctx_t *ctx, __u32 off, __u32 len)
{
	struct csum_data s = {.ctx = ctx, .off = off, .len = len};

	bpf_loop(65536 / CSUM_DATA_CHUNK, csum_data_chunk, &s, 0);
	return csum_fold64(s.sum);
}

#endif
