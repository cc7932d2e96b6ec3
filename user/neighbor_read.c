/* neighbor_read.c: the noun's reconciliation: the configuration's neighbours at once, and where the interfaces are others than
 * before, all that the mirror has anew, in slices. Between the model, the mirror and neighbor.c.
 *
 * What the kernel tells of single neighbours is neighbor.c's, and needs no reading of all; but whose a neighbour is depends on
 * which netdev an interface has. Entries of an interface whose id is given to another netdev go at once, those of one that went
 * in the slices.
 */
#include "neighbor_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "events.h"

#define SLICE_NS 2000000
#define PIECE	 64 /* buckets or elements between two looks at the clock */

/* ---- the configuration */

static int gather_static(struct neighbors *ns)
{
	const struct model *m = ns->sw->model;
	struct neighbor_entry **v = calloc(m->n_neighbors + ns->n_fixed + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < ns->n_fixed; i++) {
		ns->fixed[i]->fixed.wanted = false;
		v[n++] = ns->fixed[i];
	}
	for (size_t i = 0; i < m->n_neighbors; i++) {
		uint16_t iface = iface_id(ns->sw, m->neighbors[i].iface);
		struct neighbor_entry *e = iface ? neighbor_make(ns, iface, &m->neighbors[i].addr) : NULL;

		if (!e)
			continue;
		if (!e->fixed.listed)
			v[n++] = e;
		e->fixed.listed = true;
		e->fixed.wanted = true;
		if (memcmp(e->fixed.mac, m->neighbors[i].mac, 6))
			e->fixed.set = false;
		memcpy(e->fixed.mac, m->neighbors[i].mac, 6);
	}
	free(ns->fixed);
	ns->fixed = v;
	ns->n_fixed = n;
	return 0;
}

/* Into the kernel, or out of it. */
static int settle_static(struct neighbors *ns, struct neighbor_entry *e, struct errs *errs)
{
	int ifindex = iface_host_ifindex(ns->sw, e->key.iface), r;

	if (e->fixed.wanted && ifindex && (!e->fixed.set || e->fixed.ifindex != ifindex)) {
		r = netlink_neigh_set(ns->sw->nl, ifindex, &e->key.addr, e->fixed.mac, errs);
		if (r)
			return r;
		e->fixed.set = true;
		e->fixed.ifindex = ifindex;
	} else if (!e->fixed.wanted && e->fixed.set) {
		e->fixed.set = false;
		e->state = 0;
		return netlink_neigh_delete(ns->sw->nl, e->fixed.ifindex, &e->key.addr, errs);
	}
	return 0;
}

void neighbor_static_lost(struct neighbors *ns, struct neighbor_entry *e)
{
	e->fixed.set = false;
	ns->lost = true;
	if (ns->sw->events)
		events_again_neighbors(ns->sw->events, true);
}

static int settle_lost(struct neighbors *ns, struct errs *errs)
{
	int r, ret = 0;

	for (size_t i = 0; ns->lost && i < ns->n_fixed; i++) {
		struct errs why = {0};

		r = settle_static(ns, ns->fixed[i], &why);
		for (size_t k = 0; k < why.n && r != -ENODEV; k++) /* a netdev that goes, of which the mirror will tell */
			errs_fail(errs, -r, "%s", why.v[k].text);
		errs_free(&why);
		if (r && r != -ENODEV)
			ret = r;
	}
	ns->lost = ret;
	return ret;
}

/* What the entry says now into the table, or the entry away. */
static void settle_entry(struct neighbors *ns, struct neighbor_entry *e)
{
	if (!e->state && !e->fixed.wanted && !e->failed_s && !neighbor_waits(ns, e))
		neighbor_forget(ns, e);
	else if (!(e->state & NUD_FAILED) || e->fixed.wanted)
		neighbor_apply(ns, e);
	else if (!e->failed_s && !neighbor_waits(ns, e)) /* it failed long ago: the next packet asks again */
		neighbor_unstore(ns, e);
}

static int read_static(struct neighbors *ns, struct errs *errs)
{
	int r = gather_static(ns), ret = 0;
	size_t kept = 0;

	if (r)
		return errs_fail(errs, -r, "neighbors: %s", strerror(-r));
	for (size_t i = 0; i < ns->n_fixed; i++) {
		struct neighbor_entry *e = ns->fixed[i];

		r = settle_static(ns, e, errs);
		if (r)
			ret = r;
		e->fixed.listed = e->fixed.wanted;
		if (e->fixed.wanted)
			ns->fixed[kept++] = e;
		settle_entry(ns, e);
	}
	ns->n_fixed = kept;
	ns->lost = false;
	return ret;
}

/* ---- the interfaces */

/* True: some are others than before. `again`, *ret_any: ids that are given to another netdev, while entries of the former one may
 * be there. Where there is none now, nobody looks for them, and the slices find them. */
static bool ifaces_changed(struct neighbors *ns, bool again[IFACE_MAX], bool *ret_any)
{
	bool changed = false;

	for (uint16_t id = 1; id < IFACE_MAX; id++) {
		int now = iface_name(ns->sw, id) ? iface_host_ifindex(ns->sw, id) : 0, was = ns->host[id];

		if (now == was)
			continue;
		again[id] = now && (was || ns->left[id]);
		*ret_any |= again[id];
		ns->left[id] = !now;
		ns->host[id] = now;
		changed = true;
	}
	return changed;
}

static void forget_former(struct neighbors *ns, const bool again[IFACE_MAX])
{
	struct hash_iter it = {0};
	struct hash_node *node;

	while ((node = hash_next(&ns->entries, &it))) {
		struct neighbor_entry *e = hash_entry(node, struct neighbor_entry, node);

		if (e->key.iface >= IFACE_MAX || !again[e->key.iface])
			continue;
		e->state = 0;
		if (e->fixed.wanted)
			neighbor_apply(ns, e);
		else
			neighbor_forget(ns, e);
	}
}

/* ---- everything anew */

static int take_mirrored(const struct neigh *n, void *arg)
{
	struct neighbors *ns = arg;
	uint16_t iface = iface_id_by_host(ns->sw, n->ifindex);
	struct neighbor_entry *e;

	if (!iface || !neighbor_is_station(n))
		return 0;
	e = neighbor_make(ns, iface, &n->addr);
	if (!e)
		return -ENOMEM;
	e->generation = ns->read.generation;
	e->state = n->has_mac ? n->state : n->state & ~NUD_USABLE;
	if (n->has_mac)
		memcpy(e->mac, n->mac, sizeof(e->mac));
	return 0;
}

/* Table entries that nobody accounts for: left by a former life. What the data plane has asked for is accounted for from now on.
 */
static int remove_unknown(const void *key, void *value, void *arg)
{
	const struct neighbor_key *k = key;
	struct neighbors *ns = arg;

	if (neighbor_find(ns, k->iface, &k->addr))
		return 0;
	if (iface_name(ns->sw, (uint16_t)k->iface))
		neighbor_is_asked(ns, k);
	if (!neighbor_find(ns, k->iface, &k->addr))
		neighbor_table_delete(ns, k);
	return 0;
}

static void settle_bucket(struct neighbors *ns, size_t bucket)
{
	struct hash_node *node, *next;

	for (node = ns->entries.buckets[bucket]; node; node = next) {
		struct neighbor_entry *e = hash_entry(node, struct neighbor_entry, node);

		next = node->next;
		if (e->generation != ns->read.generation)
			e->state = 0;
		settle_entry(ns, e);
	}
}

/* One piece. */
static int read_piece(struct neighbors *ns)
{
	struct neighbor_read *rd = &ns->read;
	int r = 0;

	switch (rd->step) {
	case NEIGHBOR_READ_MIRROR:
		if (!mirror_neighs_step(ns->sw->mirror, &rd->at, PIECE, take_mirrored, ns, &r) || r)
			return r;
		rd->at = 0;
		break;
	case NEIGHBOR_READ_ENTRIES:
		for (int i = 0; i < PIECE && rd->at < ns->entries.n_buckets; i++)
			settle_bucket(ns, rd->at++);
		if (rd->at < ns->entries.n_buckets)
			return 0;
		break;
	default:
		r = table_each_some(ns->table, &rd->cursor, PIECE, remove_unknown, ns);
		if (r || rd->cursor)
			return r;
	}
	rd->step = rd->step == NEIGHBOR_READ_TABLE ? NEIGHBOR_READ_NONE : rd->step + 1;
	return 0;
}

static void read_begin(struct neighbors *ns)
{
	table_cursor_free(ns->read.cursor);
	ns->read = (struct neighbor_read){.step = NEIGHBOR_READ_MIRROR, .generation = ns->read.generation + 1};
	ns->n_refused = 0;
}

int neighbor_read_on(struct sw *sw, struct errs *errs)
{
	struct neighbors *ns = sw->neighbors;
	uint64_t begun = clock_now_ns();
	bool reading = ns->read.step != NEIGHBOR_READ_NONE;
	int r = 0, lost = settle_lost(ns, errs);

	while (ns->read.step != NEIGHBOR_READ_NONE && !r) {
		r = read_piece(ns);
		if (ns->ready && clock_now_ns() - begun > SLICE_NS)
			break;
	}
	neighbor_settled(sw);
	if (r) {
		read_begin(ns); /* from the beginning, when it is tried again */
		return errs_fail(errs, -r, "neighbors: %s", strerror(-r));
	}
	if (sw->events && ns->ready && reading)
		events_again_neighbors(sw->events, ns->read.step != NEIGHBOR_READ_NONE);
	if (ns->read.step == NEIGHBOR_READ_NONE) {
		ns->ready = true;
		memset(ns->left, 0, sizeof(ns->left));
	}
	return lost;
}

int neighbor_reconcile(struct sw *sw, struct errs *errs)
{
	struct neighbors *ns = sw->neighbors;
	bool again[IFACE_MAX] = {false}, any = false;
	int r, r2;

	if (ifaces_changed(ns, again, &any) || !ns->ready)
		read_begin(ns);
	if (any)
		forget_former(ns, again);
	r = read_static(ns, errs);
	r2 = neighbor_read_on(sw, errs); /* and tells the flows */
	r = r ? r : r2;
	return r ? r : neighbor_full(sw, errs);
}
