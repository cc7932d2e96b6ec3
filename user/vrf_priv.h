/* vrf_priv.h: how the kernel's routing rules of VRFs are numbered: for vrf_host.c, which makes them, and vrf_sweep.c, which knows
 * them by that.
 */
#ifndef SLUICE_VRF_PRIV_H
#define SLUICE_VRF_PRIV_H

#include <sluice/abi.h>
#include "netlink.h"

#define PRIORITY     1100 /* behind that of VRF devices (1000), before main */
#define PRIORITY_END 1199
#define PRIORITY_OIF 1200	/* and 100 for each number of a mark: those for sockets that are bound to a netdev */
#define MARK_STEP    (1u << 24) /* the lowest bit of VRF_MARK_MASK */
#define MARKS	     255
#define RULES_MAX    100 /* of one VRF and family for a mark, or for a netdev */

static inline uint32_t vrf_mark_number(uint32_t mark)
{
	return mark / MARK_STEP;
}

static inline uint32_t vrf_priority_oif(uint32_t mark)
{
	return PRIORITY_OIF + vrf_mark_number(mark) * RULES_MAX;
}

/* Of the VRF that the rule is for, if it is one of an instance's; else 0. */
static inline uint32_t vrf_rule_mark(const struct nl_rule *rule)
{
	uint32_t number = rule->priority < PRIORITY_OIF ? 0 : (rule->priority - PRIORITY_OIF) / RULES_MAX;

	if (!*rule->oif)
		return rule->mask == VRF_MARK_MASK ? rule->mark : 0;
	return number <= MARKS ? number * MARK_STEP : 0;
}

#endif
