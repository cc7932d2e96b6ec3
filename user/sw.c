/* sw.c: what belongs to the running switch as a whole: the element of the map `control`. Between the settings of the model
 * and the data plane.
 */
#include <errno.h>
#include <sys/random.h>
#include "control.h"
#include "sw.h"
#include "sysctl.h"

/* 0 in a flow entry means `not decided`, so the epoch skips it when it wraps. */
void sw_epoch(struct sw *sw)
{
	if (!sw->control)
		return;
	if (!__atomic_add_fetch(&sw->control->epoch, 1, __ATOMIC_RELEASE))
		__atomic_add_fetch(&sw->control->epoch, 1, __ATOMIC_RELEASE);
}

static uint32_t random_seed(void)
{
	uint32_t seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed) || !seed)
		seed = 0x9e3779b9; /* the seed only has to differ between machines in a row, not to be secret */
	return seed;
}

/* The kernel's table of neighbours is one for all interfaces, and begins to drop stations that are there above `gc_thresh2`. One
 * that does not answer stands in it for three seconds, and a moment until it is taken out. */
#define NEIGHBOR_STANDS_S 4
#define GC_THRESH2	  512 /* the kernel's default */

/* `rate`: of each interface, which no limit for all may go below. */
static uint32_t rate_of_all(uint32_t rate)
{
	uint32_t room4 = sysctl_number(GC_THRESH2, "ipv4/neigh/default/gc_thresh2"),
		 room6 = sysctl_number(GC_THRESH2, "ipv6/neigh/default/gc_thresh2");
	uint32_t all = (room4 < room6 ? room4 : room6) / NEIGHBOR_STANDS_S;

	return all > rate ? all : rate;
}

int control_reconcile(struct sw *sw, struct errs *errs)
{
	const struct settings_cfg *s = &sw->model->settings;
	struct control *c = sw->control;
	uint32_t seed;

	if (!c)
		return errs_fail(errs, ENODEV, "the map `control` is missing");
	c->abi_version = SLUICE_ABI_VERSION;
	if (!c->epoch)
		sw_epoch(sw);
	seed = s->hash_seed ? s->hash_seed : c->hash_seed;
	if (!seed)
		seed = random_seed();
	if (seed != c->hash_seed) {
		__atomic_store_n(&c->hash_seed, seed, __ATOMIC_RELAXED);
		sw_epoch(sw);
	}
	if (s->ecmp_hash != c->ecmp_hash) {
		__atomic_store_n(&c->ecmp_hash, s->ecmp_hash, __ATOMIC_RELAXED);
		sw_epoch(sw);
	}
	__atomic_store_n(&c->icmp_rate, s->icmp_rate, __ATOMIC_RELAXED);
	__atomic_store_n(&c->frag_hold_ms, s->frag_hold_s * 1000, __ATOMIC_RELAXED);
	__atomic_store_n(&c->frag_held, s->frag_held, __ATOMIC_RELAXED);
	__atomic_store_n(&c->neighbor_rate, s->neighbor_rate, __ATOMIC_RELAXED);
	__atomic_store_n(&c->neighbor_rate_all, rate_of_all(s->neighbor_rate), __ATOMIC_RELAXED);
	return 0;
}

void control_ping(struct sw *sw)
{
	__atomic_add_fetch(&sw->control->ping, 1, __ATOMIC_RELAXED);
}
