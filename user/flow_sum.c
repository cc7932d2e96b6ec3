/* flow_sum.c: checksum differences and the hash of a remote end; see flow_sum.h. */
#include "flow_sum.h"

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint64_t delta(const struct addr *old, const struct addr *new)
{
	uint64_t sum = 0;

	for (int i = 0; i < 4; i++)
		sum += (uint64_t)new->a32[i] + (uint32_t)~old->a32[i];
	return sum;
}

uint16_t flow_sum_addrs(const struct addr *s, const struct addr *d, const struct addr *to_s, const struct addr *to_d)
{
	return fold(delta(s, to_s) + delta(d, to_d));
}

uint16_t flow_sum_ports(__be16 s, __be16 d, __be16 to_s, __be16 to_d)
{
	return fold((uint64_t)to_s + (uint16_t)~s + to_d + (uint16_t)~d);
}

uint32_t flow_sum_remote(const struct addr *remote, __be16 port)
{
	uint64_t h = remote->a64[0] * 0x9e3779b97f4a7c15ull + (remote->a64[1] ^ (uint64_t)port << 16);

	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
	return (uint32_t)(h >> 32) | 1;
}
