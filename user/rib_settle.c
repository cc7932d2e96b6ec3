/* rib_settle.c: see rib.h: ways that are to be worked out, the choice among the routes of each prefix, and its writing into the
 * FIB, in slices. What found no room waits until there is some; and what was chosen, until the FIB has memory to write it:
 * nothing more is chosen then. */
#include "rib_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

#define CLOCK_EVERY   64	      /* entries between two looks at the clock */
#define ROUNDS	      (2 * RIB_DEPTH) /* of working out recursive ways: more than their depth never settles */
#define FULL_EVERY_NS 1000000000

void rib_links_changed(struct rib *rib)
{
	struct hash_iter it = {0};
	struct hash_node *node;

	while ((node = hash_next(&rib->ways, &it)))
		rib_way_links(rib, hash_entry(node, struct rib_way, node));
}

/* What depends on other routes, or found no room. */
static void retry_ways(struct rib *rib, bool recursive, bool full)
{
	struct hash_iter it = {0};
	struct hash_node *node;

	while ((node = hash_next(&rib->ways, &it))) {
		struct rib_way *w = hash_entry(node, struct rib_way, node);

		if ((recursive && w->recursive) || (full && w->full))
			rib_way_dirty(rib, w);
	}
}

/* As many of each family as there may be room for: what one leaves, the other can use where it is memory that is short. */
static void retry_refused(struct rib *rib)
{
	struct rib_list *l;
	size_t n;
	int fi;

	for (fi = 0; fi < 2; fi++)
		for (n = rib->room; n && !list_empty(&rib->refused[fi]); n--) {
			l = rib->refused[fi].next;
			rib_entry_dirty(rib, list_item(l, struct rib_entry, dirty_link));
		}
	rib->room = 0;
}

/* Is the time up (0: never)? Asked after a step of work, so that there is always one. */
static bool over(uint64_t end, unsigned *n, unsigned every)
{
	return end && ++*n % every == 0 && clock_now_ns() > end;
}

/* What waits for a grace period stays, behind the others. */
static int resolve_dirty(struct rib *rib, uint64_t end)
{
	struct rib_way *w, *waits = NULL;
	unsigned n = 0;
	int r;

	while (!list_empty(&rib->dirty_ways)) {
		w = list_item(rib->dirty_ways.next, struct rib_way, dirty_link);
		rib->ways_wait = w == waits;
		if (rib->ways_wait)
			break;
		r = rib_way_resolve(rib, w);
		if (r && r != -EAGAIN)
			return r;
		list_remove(&w->dirty_link);
		if (r) {
			waits = waits ? waits : w;
			list_append(&rib->dirty_ways, &w->dirty_link);
			continue;
		}
		if (!list_empty(&w->untold)) {
			list_append(&rib->telling_ways, &w->dirty_link);
			w->telling = true;
		}
		if (over(end, &n, 8))
			break;
	}
	return 0;
}

/* A way may be that of all routes there are: piece by piece. */
static void tell_routes(struct rib *rib, uint64_t end)
{
	struct rib_way *w;
	unsigned n = 0;

	while (!list_empty(&rib->telling_ways)) {
		w = list_item(rib->telling_ways.next, struct rib_way, dirty_link);
		if (rib_way_tell(rib, w, CLOCK_EVERY)) {
			list_remove(&w->dirty_link);
			w->telling = false;
		}
		if (over(end, &n, 1))
			break;
	}
}

void rib_entry_refused(struct rib *rib, struct rib_entry *e, bool refused)
{
	const struct rib_route *r;

	rib->n_refused -= e->refused;
	rib->n_refused_own -= e->refused_own;
	e->refused = refused;
	for (r = refused ? e->routes : NULL; r && r->source >= RIB_KERNEL; r = r->next)
		;
	e->refused_own = r;
	rib->n_refused += e->refused;
	rib->n_refused_own += e->refused_own;
}

static void unuse_pair(struct rib *rib, uint32_t result)
{
	if (result & NEXTHOP_IS_PAIR)
		nexthop_unuse(rib->ns, result);
}

/* The FIB gets `value`, of which it takes a use if it is a pair. */
static int fib_install(struct rib *rib, struct rib_entry *e, uint32_t value)
{
	int r;

	if (value == e->installed) {
		unuse_pair(rib, value);
		return 0;
	}
	r = value ? fib_set(rib->fib, e->vrf, &e->to, value) : fib_delete(rib->fib, e->vrf, &e->to);
	if (r) {
		unuse_pair(rib, value);
		return r;
	}
	rib->room += !value;
	rib->n_installed += (value != 0) - (e->installed != 0);
	rib->installed[e->vrf][e->to.family == 6] += (value != 0) - (e->installed != 0);
	unuse_pair(rib, e->installed);
	e->installed = value;
	return 0;
}

/* The FIB gets what the entry's choice says. */
static int entry_install(struct rib *rib, struct rib_entry *e, const struct rib_route *best)
{
	uint32_t result = best ? rib_route_result(best) : 0;
	int r;

	rib_entry_refused(rib, e, false);
	rib_entry_unpaired(rib, e, false);
	r = fib_install(rib, e, best ? rib_pair(rib, e, best) : 0);
	if (r == -E2BIG) {
		rib_entry_refused(rib, e, true);
		rib_entry_unpaired(rib, e, false);
		return 0;
	}
	if (r)
		return r;
	rib->changed |= result != e->result;
	e->result = result;
	return 0;
}

static void import_some(struct rib *rib, uint64_t end)
{
	unsigned n = 0;

	while (rib->importing && !rib_imports_apply(rib, CLOCK_EVERY))
		if (over(end, &n, 1))
			break;
}

bool rib_route_by_itself(const struct rib_route *r)
{
	const struct prefix *to = &r->entry->to;
	const struct rib_way *w = r->way;
	size_t i;

	if (w->type != NEXTHOP_GATEWAY || to->len != (to->family == 4 ? 32 : 128))
		return false;
	for (i = 0; i < w->n; i++)
		if (!w->nexthops[i].iface && w->nexthops[i].family == to->family &&
		    !memcmp(&w->nexthops[i].gateway, &to->addr, sizeof(to->addr)))
			return true;
	return false;
}

static int select_one(struct rib *rib, struct rib_entry *e)
{
	struct rib_route *best;
	int r;

	for (best = e->routes; best; best = best->next)
		rib_route_give_up(rib, best);
	for (best = e->routes; best && (!rib_route_result(best) || rib_route_by_itself(best)); best = best->next)
		;
	r = entry_install(rib, e, best);
	if (r)
		return r;
	e->active = e->refused ? NULL : best;
	list_remove(&e->dirty_link);
	r = rib_export(rib, e);
	if (r) {
		rib_entry_dirty(rib, e);
		return r;
	}
	if (!list_empty(&e->dirty_link)) /* it looks at itself once more */
		return 0;
	if (!e->routes) {
		rib_entry_free(rib, e);
	} else if (e->refused || e->unpaired) {
		e->waits = true;
		list_append(e->refused ? &rib->refused[e->to.family == 6] : &rib->unpaired, &e->dirty_link);
	}
	return 0;
}

/* What was chosen into the FIB: 0; -EAGAIN: later; or as fib_commit() says. */
static int write_chosen(struct rib *rib, bool to_end)
{
	int r = to_end ? fib_commit_wait(rib->fib) : fib_commit(rib->fib);

	rib->waits = r == -EAGAIN;
	rib->too_big = r == -E2BIG;
	rib->urgent_waits &= rib->waits;
	return r;
}

static int select_dirty(struct rib *rib, struct rib_list *dirty, uint64_t end)
{
	unsigned n = 0;
	bool due;
	int r;

	while (!list_empty(dirty)) {
		rib->urgent_waits |= dirty == &rib->urgent_entries;
		r = select_one(rib, list_item(dirty->next, struct rib_entry, dirty_link));
		due = !r && end && !rib->too_big && fib_commit_due(rib->fib);
		if (due)
			r = write_chosen(rib, false);
		if (r && r != -E2BIG)
			return r;
		if (over(end, &n, due ? 1 : CLOCK_EVERY))
			break;
	}
	return 0;
}

/* Works out ways and chooses routes, as often as what depends on other routes needs it. */
static int settle_rounds(struct rib *rib, uint64_t end, bool *ret_changed)
{
	int r;

	import_some(rib, end);
	for (;;) {
		rib->changed = false;
		r = resolve_dirty(rib, end);
		tell_routes(rib, end);
		/* where its way leads must be known first: it would come back among all the others */
		if (!r && list_empty(&rib->dirty_ways))
			r = select_dirty(rib, &rib->urgent_entries, end);
		if (!r)
			r = select_dirty(rib, &rib->dirty_entries, end);
		*ret_changed |= rib->changed;
		rib->again |= rib->changed;
		if (r) {
			rib->changed = *ret_changed;
			return r;
		}
		if (rib_pending(rib))
			return 0;
		if (!rib->again || !rib->n_recursive) {
			rib->rounds = 0;
			break;
		}
		if (++rib->rounds > ROUNDS)
			break;
		rib->again = false;
		retry_ways(rib, true, false);
	}
	rib->again = false;
	return 0;
}

/* Ways that found no room: again and again, because nobody tells when a nexthop or group is given up; but not all the time. */
static void retry_full(struct rib *rib, uint64_t budget_ns)
{
	uint64_t now = clock_now_ns();

	if (!rib->n_full || (budget_ns && now - rib->full_ns < FULL_EVERY_NS))
		return;
	rib->full_ns = now;
	retry_ways(rib, false, true);
}

int rib_settle(struct rib *rib, uint64_t budget_ns, bool *ret_changed)
{
	bool to_end = !budget_ns;
	int r;

	*ret_changed = rib->changed;
	rib->too_big = false;
	r = rib->waits ? write_chosen(rib, to_end) : 0;
	if (r && r != -E2BIG) {
		*ret_changed = false;
		return r == -EAGAIN ? 0 : r;
	}
	retry_full(rib, budget_ns);
	retry_refused(rib);
	rib_retry_unpaired(rib, to_end);
	r = settle_rounds(rib, to_end ? 0 : clock_now_ns() + budget_ns, ret_changed);
	if (!r)
		r = write_chosen(rib, to_end);
	else if (r != -EAGAIN)
		return r;
	rib->changed = r != 0;
	/* what is chosen yet may make room for what found none */
	if (r == -EAGAIN || (r == -E2BIG && rib_pending(rib)))
		return 0;
	/* while entries wait, the FIB names nexthops that no way uses any more */
	if (!r && !rib_pending(rib))
		nexthop_sweep(rib->ns);
	return r;
}

int rib_write(struct rib *rib)
{
	int r = write_chosen(rib, false);

	rib->changed |= r != 0;
	return r;
}

bool rib_waits(const struct rib *rib)
{
	return rib->waits || (rib->ways_wait && !list_empty(&rib->dirty_ways) && list_empty(&rib->telling_ways) &&
			      list_empty(&rib->dirty_entries) && !rib->importing && !rib->unpaired_left);
}

bool rib_pending(const struct rib *rib)
{
	return !list_empty(&rib->urgent_entries) || !list_empty(&rib->dirty_entries) || !list_empty(&rib->dirty_ways) ||
	       !list_empty(&rib->telling_ways) || rib->importing || rib->waits || rib->unpaired_left;
}

static const struct rib_entry *first_refused(const struct rib *rib, uint8_t source)
{
	const struct rib_list *l;
	const struct rib_route *r;

	for (l = rib->sources[source].next; l != &rib->sources[source]; l = l->next) {
		r = list_item(l, struct rib_route, of_source);
		if (r->entry->refused || r->way->full)
			return r->entry;
	}
	return NULL;
}

/* Of the kernel's, which may be a million: the one that waits longest. */
static const struct rib_entry *any_refused(const struct rib *rib)
{
	struct hash_iter it = {0};
	struct hash_node *node;
	struct rib_way *w;
	int fi;

	for (fi = 0; fi < 2; fi++)
		if (!list_empty(&rib->refused[fi]))
			return list_item(rib->refused[fi].next, struct rib_entry, dirty_link);
	while (rib->n_full && (node = hash_next(&rib->ways, &it))) {
		w = hash_entry(node, struct rib_way, node);
		if (w->full && !list_empty(&w->routes))
			return list_item(w->routes.next, struct rib_route, of_way)->entry;
	}
	return NULL;
}

int rib_refused(const struct rib *rib, bool configured, struct errs *errs)
{
	const struct rib_entry *e = NULL;
	char text[PREFIX_TEXT];
	int source;

	if (!rib->n_refused && !rib->n_full)
		return 0;
	for (source = 0; !e && source < RIB_KERNEL && (rib->n_refused_own || rib->n_full); source++)
		e = first_refused(rib, source);
	if (!e && !configured)
		e = any_refused(rib);
	if (!e)
		return 0;
	if (!e->refused && e->active && e->active->way->full)
		return errs_fail(errs, E2BIG, "route %s: %s", prefix_text(&e->to, text), RIB_KEEPS);
	return errs_fail(errs, E2BIG, "route %s: the table of %s is full (%zu routes are not in force for that)",
			 prefix_text(&e->to, text),
			 !e->refused	     ? "nexthops"
			 : e->to.family == 4 ? "IPv4 routes"
					     : "IPv6 routes",
			 rib->n_refused ? rib->n_refused : 1);
}
