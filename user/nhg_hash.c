/* nhg_hash.c: which bucket of a group a connection takes (declared in nexthop.h): the sum that bpf/ecmp.h makes of every packet,
 * made once more for whoever asks which way a packet would go. tests/unit/ecmp_test.c holds the two together.
 */
#include "nexthop_priv.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define VXLAN_PORT 4789

static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 32) * 0x9fb21c651e98df25ull;
	return h ^ h >> 32;
}

/* Each word by the factor that stands for it. */
static uint64_t sum(const uint32_t *words, const uint64_t *factors, unsigned n, uint64_t seed)
{
	uint64_t h = 0;

	for (unsigned i = 0; i < n; i++)
		h += words[i] * ((seed ^ factors[i]) | 1);
	return h;
}

static const uint64_t source[4] = {0x8f5c31d2a96b4e07ull, 0xc2b2ae3d27d4eb4full, 0x3c79ac492ba7b653ull, 0x1c69b3f74ac4ae35ull};
static const uint64_t dest[4] = {0x165667b19e3779f9ull, 0x61c8864680b583ebull, 0xa0761d6478bd642full, 0xe7037ed1a0b428dbull};
static const uint64_t layer4[2] = {0xd6e8feb86659fd93ull, 0x589965cc75374cc3ull};

uint64_t nhg_sum(const struct nhg_flow *f, uint8_t policy, uint64_t seed)
{
	uint32_t ports[2] = {(uint32_t)f->dport << 16 | f->sport, f->proto}, sport = f->sport, dport = f->dport;
	uint64_t s = mix(seed), h;

	if (policy == ECMP_SYMMETRIC) {
		h = mix(sum(f->saddr.a32, source, 4, s) + sum(&sport, layer4, 1, s));
		h += mix(sum(f->daddr.a32, source, 4, s) + sum(&dport, layer4, 1, s));
		return mix(h + f->proto);
	}
	h = sum(f->saddr.a32, source, 4, s) + sum(f->daddr.a32, dest, 4, s);
	if (policy != ECMP_L3)
		h += sum(ports, layer4, 2, s);
	return mix(h);
}

uint32_t nhg_hash(const struct nhg_flow *f, uint8_t policy, uint32_t seed)
{
	return (uint32_t)(nhg_sum(f, policy, seed ^ 0x5851f42d4c957f2dull) >> 32);
}

bool nhg_may_be_tunnel(uint8_t proto, __be16 dport)
{
	return proto == IPPROTO_IPIP || proto == IPPROTO_IPV6 || proto == IPPROTO_GRE ||
	       (proto == IPPROTO_UDP && dport == htons(VXLAN_PORT));
}
