/* nat_claim.c: a set of ports by one hash; see nat_claim.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_claim.h"

#define EACH	 16 /* bits for each mapping: one in sixteen answers is wrong where all have a port */
#define BITS_MIN 20
#define BITS_MAX 27 /* 16 MiB are emptied within some milliseconds */

int nat_claim_begin(struct nat_claim *c, uint32_t mappings)
{
	unsigned bits = BITS_MIN;

	while (bits < BITS_MAX && 1ull << bits < (uint64_t)mappings * EACH)
		bits++;
	c->seed += 0x9e3779b97f4a7c15ull;
	if (c->bit && c->shift == 64 - bits) {
		memset(c->bit, 0, (size_t)1 << (bits - 3));
		return 0;
	}
	free(c->bit);
	c->shift = 64 - bits;
	c->bit = calloc((size_t)1 << (bits - 6), sizeof(*c->bit));
	return c->bit ? 0 : -ENOMEM;
}

void nat_claim_free(struct nat_claim *c)
{
	free(c->bit);
	c->bit = NULL;
}

static uint64_t place(const struct nat_claim *c, uint32_t pool_addr, unsigned class, uint16_t port)
{
	uint64_t h = ((uint64_t)pool_addr << 18 | (uint64_t)class << 16 | port) ^ c->seed;

	h = (h ^ h >> 32) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h >> c->shift;
}

void nat_claim_add(struct nat_claim *c, uint32_t pool_addr, unsigned class, uint16_t port)
{
	uint64_t at = place(c, pool_addr, class, port);

	if (c->bit)
		c->bit[at / 64] |= 1ull << at % 64;
}

bool nat_claim_has(const struct nat_claim *c, uint32_t pool_addr, unsigned class, uint16_t port)
{
	uint64_t at = place(c, pool_addr, class, port);

	return !c->bit || c->bit[at / 64] >> at % 64 & 1;
}
