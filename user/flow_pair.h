/* flow_pair.h: a tracked connection as people see it: both directions in one value, names resolved by nobody yet.
 *
 * Stands between the entries of the flow table and those who choose, show, count or end connections. The forward entry is at hand
 * when the table is walked; the other direction stands somewhere else in memory, so it is looked up when it is first needed:
 * a filter that decides by addresses alone never pays for it.
 */
#ifndef SLUICE_FLOW_PAIR_H
#define SLUICE_FLOW_PAIR_H

#include "flow_state.h"
#include <stdbool.h>
#include <sluice/abi.h>

/* Both families' keys in one shape; addresses IPv4-mapped. */
struct flow_tuple {
	struct addr saddr, daddr;
	__be16 sport, dport;
	uint16_t vrf;
	uint8_t proto;
	uint8_t family;
};

struct flow_pair {
	struct flow_tuple key, to; /* as the first packet came in; as it left */
	struct flow_tuple back;	   /* as answers come in */
	uint16_t out_vrf, rule, in_iface;
	bool snat, dnat;	     /* the source, the destination is rewritten */
	uint64_t now_ns, created_ns; /* CLOCK_MONOTONIC; now: when it was looked at */
	uint32_t age_s;
	uint32_t used; /* what the forward entry has noted */
	uint8_t seen;

	/* What the other direction has a part in: valid once `whole`, see flow_pair_whole(). */
	bool whole;
	uint16_t out_iface;
	uint64_t packets[2], bytes[2]; /* forward, reply */
	enum flow_state state;
	uint32_t idle_s, expires_s;
	struct flow_tuple back_to; /* as answers leave */

	void (*complete)(struct flow_pair *p, void *arg);
	void *arg;
};

static inline void flow_pair_whole(struct flow_pair *p)
{
	if (!p->whole)
		p->complete(p, p->arg);
	p->whole = true;
}

#endif
