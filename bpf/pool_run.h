/* pool_run.h: an address and port of a pool that has too many addresses for each to have its ports counted.
 *
 * Stands between pool.h, where single addresses have a bit for each port, nattab.h, whose ways say which ports of a run are held,
 * and nat_map.h, which wants a port for a new mapping. A run takes no memory for what nobody uses; for that its ports are tried,
 * first those of the address that belongs to the source (paired pooling, RFC 4787 REQ-2), then others' nearby.
 *
 * Races. Two CPUs may find the same port free; nattab_insert() lets one of them at most have it.
 */
#ifndef SLUICE_POOL_RUN_H
#define SLUICE_POOL_RUN_H

#include "pkt.h"
#include "nattab.h"
#include "pool.h"

/* Ports that are tried of the source's own address: of the wanted one's parity, then any; and all in all. */
#define POOL_RUN_PARITY 32
#define POOL_RUN_OWN	96
#define POOL_RUN_TRIES	1024
/* Of another address, before the next one is tried. */
#define POOL_RUN_EACH 4

/* Port number `n` of an address; of the source's own one, 0 is the wanted one, if it is in the range. */
static __always_inline __u32 pool_run_port(const struct pool_search *s, __u32 n, bool own)
{
	__u32 range = s->max - s->min + 1, port;

	if (own && !n && s->want >= s->min && s->want <= s->max)
		return s->want;
	port = s->min + (s->random + n * (range > POOL_RUN_OWN ? s->random >> 16 | 1 : 1)) % range;
	if (own && n < POOL_RUN_PARITY && s->parity && (port ^ s->want) & 1)
		port = port < s->max ? port + 1 : s->min;
	return port;
}

/* One port. Returns 1 to end the loop. */
static long pool_run_step(__u64 step, void *arg)
{
	struct pool_search *s = arg;
	__u32 n = step, k = 0, i;
	struct pool_ports *b;

	if (n >= POOL_RUN_OWN) {
		i = n - POOL_RUN_OWN;
		k = 1 + i / POOL_RUN_EACH;
		n = i % POOL_RUN_EACH;
	}
	if (!pool_member(s, k, &s->pool_addr))
		return 1;
	s->port = pool_run_port(s, n, !k);
	if (s->pool_addr >= POOL_ADDR_MAX)
		return s->found = nattab_way_is_free(NAT_WAY(s->pool_addr, s->class, s->port));
	b = pool_ports_get(s->pool_addr, s->class);
	return s->found = b && pool_port_take(b, s->port);
}

/* A free port into s->found, pool_addr and port. verifier: as pool_search(). */
__noinline_global int pool_run_search(struct pool_search *s)
{
	struct pool_search on_stack;

	if (!s)
		return 0;
	on_stack = *s;
	bpf_loop(POOL_RUN_TRIES, pool_run_step, &on_stack, 0);
	s->found = on_stack.found;
	s->pool_addr = on_stack.pool_addr;
	s->port = on_stack.port;
	return 0;
}

#endif
