/* nat_claim.h: which ports of runs somebody holds: a set that may say yes of a port that nobody has added, and never no of one
 * that was.
 *
 * Stands between the walks over all flows (nat_sweep.c, flow_copy.c) and the mappings that are asked about then. A run's ports
 * have no bitmap to be noted in; here all of them share one of a few megabytes. A wrong yes keeps a mapping for one pass more,
 * since the next one asks by another hash.
 */
#ifndef SLUICE_NAT_CLAIM_H
#define SLUICE_NAT_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct nat_claim {
	uint64_t *bit;
	uint64_t seed;
	unsigned shift; /* of a hash of 64 bits */
};

/* Empties the set, for as many ports as there may be mappings. -ENOMEM: there is none. */
int nat_claim_begin(struct nat_claim *c, uint32_t mappings);
void nat_claim_free(struct nat_claim *c);
/* Nothing happens, and everything is claimed, where there is no set. `port`: host order. */
void nat_claim_add(struct nat_claim *c, uint32_t pool_addr, unsigned class, uint16_t port);
bool nat_claim_has(const struct nat_claim *c, uint32_t pool_addr, unsigned class, uint16_t port);

#endif
