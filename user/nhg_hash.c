/* nhg_hash.c: which bucket of a group a connection takes (declared in nexthop.h): the sum that bpf/ecmp.h makes of every packet,
 * made once more for whoever asks which way a packet would go. tests/unit/ecmp_test.c holds the two together.
 */
#include "nexthop.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define VXLAN_PORT 4789

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9fb21c651e98df25ull;
	return h ^ h >> 32;
}

static uint64_t mix_addr(uint64_t h, const struct addr *a)
{
	return mix(mix(h, a->a64[0]), a->a64[1]);
}

uint32_t nhg_hash(const struct nhg_flow *f, uint8_t policy, uint32_t seed)
{
	uint64_t h = mix(0x2545f4914f6cdd1dull, seed), back = h;
	bool ports = policy != ECMP_L3;

	if (policy == ECMP_SYMMETRIC) {
		h = mix(mix_addr(h, &f->saddr), f->sport);
		back = mix(mix_addr(back, &f->daddr), f->dport);
		h = mix(h + back, f->proto);
	} else {
		h = mix_addr(mix_addr(h, &f->saddr), &f->daddr);
		if (ports)
			h = mix(h, (uint64_t)f->proto << 32 | (uint32_t)f->sport << 16 | f->dport);
	}
	return (uint32_t)mix(h, h >> 17);
}

bool nhg_may_be_tunnel(uint8_t proto, __be16 dport)
{
	return proto == IPPROTO_IPIP || proto == IPPROTO_IPV6 || proto == IPPROTO_GRE ||
	       (proto == IPPROTO_UDP && dport == htons(VXLAN_PORT));
}
