/* csum.h: one's complement sums (RFC 1071) and their incremental update (RFC 1624, equation 3).
 *
 * A `delta` is the folded 16-bit sum of what is new and of the complement of what was old; it holds for every checksum that
 * covers those bytes at an even offset: check' = ~(~check + delta). Deltas may be added to each other. All sums are over wire
 * order bytes read as they stand in memory, so no byte is ever swapped.
 */
#ifndef SLUICE_CSUM_H
#define SLUICE_CSUM_H

#include "pkt.h"

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of two words of 32 bits and some of 16. */
static __always_inline __u16 csum_fold33(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return csum_fold(sum);
}

static __always_inline __u16 csum_fold64(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return csum_fold(sum);
}

/* Is a sum of words of 16 or 32 bits, of which one is not 0, the one that a right checksum gives? It is then a multiple of
 * 0xffff, and only such a multiple becomes this small by the inverse of 0xffff modulo 2^64: one multiplication instead of the
 * folding. */
static __always_inline bool csum_is_right(__u64 sum)
{
	return sum * 0xfffefffefffeffffull <= 0x0001000100010001ull;
}

/* Two 16-bit words as they follow each other in memory. */
static __always_inline __u32 csum_pair(__u16 first, __u16 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u32)second << 16;
#else
	return (__u32)first << 16 | second;
#endif
}

/* Sum of two deltas. */
static __always_inline __u16 csum_add(__u16 x, __u16 y)
{
	return csum_fold((__u32)x + y);
}

static __always_inline __u16 csum_delta16(__be16 old, __be16 new)
{
	return csum_fold((__u32) new + (__u16)~old);
}

static __always_inline __u16 csum_delta32(__be32 old, __be32 new)
{
	return csum_fold64((__u64) new + (__u32)~old);
}

/* TTL, protocol and checksum as they follow each other in an IPv4 header, one hop further. `delta`: of the addresses. The TTL is
 * the low byte of its word of the checksum: -1 in one's complement. */
static __always_inline __u32 csum_hop4(__u32 word, __u16 delta)
{
	return csum_pair(word - 1, ~csum_fold((__u16) ~(word >> 16) + delta + 0xfffe));
}

/* Of two words at once. */
static __always_inline __u16 csum_delta_pair(__be32 old1, __be32 new1, __be32 old2, __be32 new2)
{
	return csum_fold64((__u64)new1 + (__u32)~old1 + new2 + (__u32)~old2);
}

static __always_inline __u16 csum_delta_addr(__u8 family, const struct addr *old, const struct addr *new)
{
	__u64 sum;

	if (family == 4)
		return csum_delta32(old->a32[3], new->a32[3]);
	sum = (__u64) new->a32[0] + (__u32)~old->a32[0];
	sum += (__u64) new->a32[1] + (__u32)~old->a32[1];
	sum += (__u64) new->a32[2] + (__u32)~old->a32[2];
	sum += (__u64) new->a32[3] + (__u32)~old->a32[3];
	return csum_fold64(sum);
}

/* Both of one's complement's zeros leave a checksum as it is. */
static __always_inline bool csum_changes(__u16 delta)
{
	return delta && delta != 0xffff;
}

/* What a checksum field becomes. */
static __always_inline __u16 csum_apply(__u16 check, __u16 delta)
{
	if (!csum_changes(delta))
		return check;
	return ~csum_fold((__u32)(__u16)~check + delta);
}

#endif
