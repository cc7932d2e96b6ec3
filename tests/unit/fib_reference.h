/* fib_reference.h: what a FIB should answer: a list of prefixes searched from end to end, and random changes of both. */
#ifndef SLUICE_TEST_FIB_REFERENCE_H
#define SLUICE_TEST_FIB_REFERENCE_H
#include <arpa/inet.h>
#include <errno.h>
#include "fib_memory.h"

#define N_REF 3000

struct ref {
	struct prefix p;
	uint16_t vrf;
	uint32_t value; /* 0: not in the table */
};

struct state {
	struct fib_memory m;
	struct ref ref[N_REF];
	uint32_t refused; /* by a FIB that may be full; UINT32_MAX: it may not */
	uint64_t seed;
};

static inline uint32_t rnd(struct state *s)
{
	s->seed ^= s->seed << 13;
	s->seed ^= s->seed >> 7;
	s->seed ^= s->seed << 17;
	return s->seed >> 16;
}

/* Addresses from a small space, so that prefixes nest and repeat: every byte is one of a few values. */
static inline struct addr random_addr(struct state *s, uint8_t family)
{
	static const uint8_t bytes[] = {0, 1, 2, 127, 128, 255};
	struct addr a = {0};
	int i;

	if (family == 4) {
		a.a32[2] = htonl(0xffff);
		for (i = 12; i < 16; i++)
			a.a8[i] = rnd(s) % 8 ? bytes[rnd(s) % 6] : rnd(s);
	} else {
		for (i = 0; i < 16; i++)
			a.a8[i] = i == 0 ? 0x20 : bytes[rnd(s) % 2];
	}
	return a;
}

static inline bool covers(const struct prefix *p, const struct addr *a, uint8_t family)
{
	unsigned bits = p->len + (p->family == 4 ? 96 : 0);

	if (p->family != family || memcmp(p->addr.a8, a->a8, bits / 8))
		return false;
	return bits % 8 == 0 || (p->addr.a8[bits / 8] ^ a->a8[bits / 8]) >> (8 - bits % 8) == 0;
}

static inline uint32_t reference(const struct ref *ref, uint16_t vrf, const struct addr *a, uint8_t family)
{
	uint32_t best = 0;
	int i, len = -1;

	for (i = 0; i < N_REF; i++)
		if (ref[i].value && ref[i].vrf == vrf && ref[i].p.len > len && covers(&ref[i].p, a, family)) {
			len = ref[i].p.len;
			best = ref[i].value;
		}
	return best;
}

/* A change of one random prefix, here and in the reference. */
static inline void mutate(struct state *s)
{
	uint8_t family = rnd(s) % 2 ? 4 : 6;
	struct prefix p = {.family = family, .addr = random_addr(s, family)};
	uint16_t vrf = rnd(s) % 3;
	uint32_t value = 1 + rnd(s) % 0x7ffffffe;
	int i, r, free_slot = -1, have = -1;

	p.len = rnd(s) % (family == 4 ? 33 : 129);
	p = prefix_masked(&p);
	for (i = 0; i < N_REF; i++) {
		if (!s->ref[i].value)
			free_slot = i;
		else if (s->ref[i].vrf == vrf && s->ref[i].p.family == family && s->ref[i].p.len == p.len &&
			 !memcmp(&s->ref[i].p.addr, &p.addr, 16))
			have = i;
	}
	if (rnd(s) % 5 < 2 || free_slot < 0) { /* delete: this one, or any */
		if (have < 0) {
			assert_int_equal(fib_delete(s->m.fib, vrf, &p), -ENOENT);
			have = rnd(s) % N_REF;
			if (!s->ref[have].value)
				return;
		}
		assert_int_equal(fib_get(s->m.fib, s->ref[have].vrf, &s->ref[have].p), s->ref[have].value);
		assert_int_equal(fib_delete(s->m.fib, s->ref[have].vrf, &s->ref[have].p), 0);
		s->ref[have].value = 0;
		return;
	}
	r = fib_set(s->m.fib, vrf, &p, value);
	if (r == -E2BIG && s->refused != UINT32_MAX) {
		s->refused++;
		return;
	}
	assert_int_equal(r, 0);
	s->ref[have >= 0 ? have : free_slot] = (struct ref){p, vrf, value};
}

/* Random addresses. */
static inline void compare(struct state *s, const struct ref *ref, int n)
{
	struct addr a;
	uint8_t family;
	uint16_t vrf;

	while (n--) {
		family = rnd(s) % 2 ? 4 : 6;
		vrf = rnd(s) % 3;
		a = random_addr(s, family);
		assert_int_equal(fib_lookup(s->m.fib, vrf, &a), reference(ref, vrf, &a, family));
	}
}
#endif
