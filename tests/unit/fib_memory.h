/* fib_memory.h: memory for a FIB of a test's own, in place of the maps. */
#ifndef SLUICE_TEST_FIB_MEMORY_H
#define SLUICE_TEST_FIB_MEMORY_H
#include <stdlib.h>
#include <string.h>
#include "fib.h"

struct fib_memory {
	struct fib_unit *units;
	struct fib_root *roots;
	struct fib *fib;
};

static inline void fib_memory_open(struct fib_memory *m, uint32_t units)
{
	m->units = aligned_alloc(64, units * sizeof(*m->units));
	m->roots = calloc(VRF_MAX, sizeof(*m->roots));
	assert_non_null(m->units);
	assert_non_null(m->roots);
	memset(m->units, 0, units * sizeof(*m->units));
	assert_int_equal(fib_open(m->units, units, m->roots, &m->fib, NULL), 0);
}

static inline void fib_memory_close(struct fib_memory *m)
{
	fib_close(m->fib);
	free(m->units);
	free(m->roots);
}
#endif
