/* rib_pair.c: the second way that a prefix has: between the choice (rib_settle.c) and the table of pairs (nexthop.h). Declared in
 * rib_priv.h.
 *
 * The FIB names the route in force together with another route of the prefix that leaves by another link. When a link goes down,
 * or comes back, all prefixes with the same two ways change with one store, before they are chosen anew one by one; and as the
 * choice finds the same pair, nothing is written then.
 *
 * The other one is the next best that leads somewhere, or, where there is none, the best of those whose link is down: it is taken
 * again in the moment when that comes up.
 */
#include "rib_priv.h"

#include <errno.h>
#include "clock.h"

#define RETRY_EVERY_NS 1000000000
#define RETRY_AT_ONCE  1024

/* By what it leads, also while nothing can leave by it. */
static uint32_t members_of(const struct rib_route *r)
{
	return rib_route_keeps(r) ? r->kept : r->way->members;
}

/* The interface of a single nexthop; 0: it is a group, or leaves by none. */
static uint16_t iface_of(const struct rib *rib, uint32_t result)
{
	const struct nexthop *nh = result & NEXTHOP_IS_GROUP ? NULL : nexthop_at(rib->ns, result);

	return nh && (nh->type == NEXTHOP_GATEWAY || nh->type == NEXTHOP_CONNECTED) ? nh->iface : 0;
}

/* A link can go down that it leaves by. */
static bool can_fail(const struct rib *rib, uint32_t result)
{
	return result & NEXTHOP_IS_GROUP || iface_of(rib, result);
}

/* It may lead somewhere when the other one does not. */
static bool is_beside(const struct rib *rib, uint32_t result, uint32_t other)
{
	uint16_t iface = iface_of(rib, result);

	return result && result != other && (!iface || iface != iface_of(rib, other));
}

/* *ret_before: it is better than the best that leads somewhere now. */
static const struct rib_route *other_of(const struct rib *rib, const struct rib_entry *e, const struct rib_route *best,
					bool *ret_before)
{
	const struct rib_route *r, *down = NULL;
	bool before = true;

	for (r = e->routes; r; r = r->next) {
		before &= r != best;
		if (r == best || rib_route_by_itself(r) || !is_beside(rib, members_of(r), rib_route_result(best)))
			continue;
		if (rib_route_result(r)) {
			*ret_before = false;
			return r;
		}
		if (!down && !rib_route_result(r)) {
			*ret_before = before;
			down = r;
		}
	}
	return down;
}

void rib_entry_unpaired(struct rib *rib, struct rib_entry *e, bool unpaired)
{
	rib->n_unpaired -= e->unpaired;
	rib->n_unpaired += unpaired;
	e->unpaired = unpaired;
}

/* Of how many there will be room for the one that comes next is not known: many share a pair. So all of them look, where there is
 * room, and rest for a while when they have. */
void rib_retry_unpaired(struct rib *rib, bool all)
{
	uint64_t now = clock_now_ns();
	size_t n = all ? SIZE_MAX : RETRY_AT_ONCE;

	if (!rib->unpaired_left && rib->n_unpaired && nexthop_pairs_room(rib->ns) &&
	    (all || now - rib->unpaired_ns >= RETRY_EVERY_NS))
		rib->unpaired_left = rib->n_unpaired;
	if (!rib->unpaired_left || (!all && !list_empty(&rib->dirty_entries)))
		return;
	for (; n && rib->unpaired_left && !list_empty(&rib->unpaired); n--, rib->unpaired_left--)
		rib_entry_dirty(rib, list_item(rib->unpaired.next, struct rib_entry, dirty_link));
	if (list_empty(&rib->unpaired))
		rib->unpaired_left = 0;
	if (!rib->unpaired_left)
		rib->unpaired_ns = now;
}

bool rib_pairs_due(const struct rib *rib)
{
	return rib->n_unpaired && (nexthop_pairs_room(rib->ns) || nexthop_pairs_unused(rib->ns));
}

uint32_t rib_pair(struct rib *rib, struct rib_entry *e, const struct rib_route *best)
{
	uint32_t result = rib_route_result(best), first, second, had[2], pair;
	bool before = false;
	const struct rib_route *other = other_of(rib, e, best, &before);
	int r;

	if (!other)
		return result;
	first = before ? members_of(other) : result;
	second = before ? result : members_of(other);
	if (!can_fail(rib, first))
		return result;
	if (nexthop_is_pair(rib->ns, e->installed, &had[0], &had[1]) && had[0] == first && had[1] == second) {
		nexthop_reuse(rib->ns, e->installed);
		return e->installed;
	}
	r = nexthop_pair_use(rib->ns, first, second, result, &pair);
	rib_entry_unpaired(rib, e, r == -E2BIG);
	/* without room for a pair it is led elsewhere when its turn comes, as it would be without another way */
	return r ? result : pair;
}

const struct rib_route *rib_route_taken(const struct rib *rib, const struct rib_entry *e)
{
	uint32_t now = nexthop_now(rib->ns, e->installed);
	const struct rib_route *r;

	if (!e->active || now == e->result)
		return e->active;
	for (r = e->routes; r && members_of(r) != now; r = r->next)
		;
	return r ? r : e->active;
}

static bool leads(const void *arg, uint32_t result)
{
	return rib_leads(arg, result);
}

bool rib_links_settle(struct rib *rib)
{
	return nexthop_pairs_settle(rib->ns, leads, rib);
}
