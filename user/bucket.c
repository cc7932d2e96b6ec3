/* bucket.c: see bucket.h: what is left behind by a process that was killed. */
#include <time.h>
#include "bucket.h"

#define LOCK_LOOKS 50 /* a ms each */

/* Frees a lock if nobody works under it: it is held for longer than anything takes. The data plane lets go after microseconds,
 * or, where a hypervisor has stopped its CPU, after that; 50 ms are waited. */
static bool free_lock(uint32_t *lock)
{
	struct timespec ms = {.tv_nsec = 1000000};
	uint32_t was = __atomic_load_n(lock, __ATOMIC_RELAXED), now = was;

	for (int i = 0; i < LOCK_LOOKS; i++) {
		if (!(now & BUCKET_HELD) || now != was)
			return false;
		nanosleep(&ms, NULL);
		now = __atomic_load_n(lock, __ATOMIC_RELAXED);
	}
	return __atomic_compare_exchange_n(lock, &was, was & ~(uint32_t)BUCKET_HELD, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

unsigned bucket_free_locks(struct bucket *b, uint32_t n)
{
	unsigned freed = 0;

	for (uint32_t i = 0; i < n; i++)
		if (__atomic_load_n(&b[i].lock, __ATOMIC_RELAXED) & BUCKET_HELD)
			freed += free_lock(&b[i].lock);
	return freed;
}

bool bucket_is_stuck(const struct bucket *b, uint32_t slot)
{
	struct timespec ms = {.tv_nsec = 1000000};

	for (int i = 0; i < LOCK_LOOKS; i++) {
		if (bucket_word(b, slot) != WORD_BUSY)
			return false;
		nanosleep(&ms, NULL);
	}
	return true;
}
