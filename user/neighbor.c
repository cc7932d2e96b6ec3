/* neighbor.c: who is behind which address: the kernel's neighbours, mirrored into the table `neighbors`.
 *
 * Stands between the mirror (ARP and ND are the kernel's) and bpf/neighbor.h. Usable entries give their MAC; one that the
 * kernel gave up is kept as failed for three seconds, so that packets to it are answered 'unreachable', and is then removed,
 * so that the next packet asks again. One that somebody deletes is not given up, though the kernel calls it failed on the way
 * out: the next packet asks. Entries that the kernel calls stale while the data plane uses them are probed, for the kernel sees
 * none of that traffic and would not notice that a station is gone. Static ones of the configuration are put into the kernel too.
 */
#include "loop.h"
#include "neigh_ask.h"
#include "neighbor_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

#define FAILED_S      3
#define USED_S	      30 /* used in that time: a stale entry is probed, */
#define PROBE_EVERY_S 10 /* this often */
#define ASKED_S	      10 /* the kernel has said by then what became of it */
#define TIMER_S	      1
#define STALE_EVERY_S 5 /* the walk over stale entries */
#define SLICE_NS      2000000
#define CLOCK_EVERY   16 /* buckets between two looks at the clock: each entry may be a question to the kernel */

static uint32_t hash_key(const struct hash *h, const struct neighbor_key *k)
{
	return hash_end(hash_mix_bytes(h->salt, k, sizeof(*k)));
}

static uint32_t hash_of(const struct hash *h, const struct hash_node *node)
{
	return hash_key(h, &hash_entry(node, struct neighbor_entry, node)->key);
}

static bool equal(const struct hash_node *node, const void *key)
{
	return !memcmp(&hash_entry(node, struct neighbor_entry, node)->key, key, sizeof(struct neighbor_key));
}

struct neighbor_entry *neighbor_find(const struct neighbors *ns, uint16_t iface, const struct addr *a)
{
	struct neighbor_key key = {.addr = *a, .iface = iface};
	return hash_find_entry(&ns->entries, hash_key(&ns->entries, &key), equal, &key, struct neighbor_entry, node);
}

struct neighbor_entry *neighbor_make(struct neighbors *ns, uint16_t iface, const struct addr *a)
{
	struct neighbor_entry *e = neighbor_find(ns, iface, a);

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->key.addr = *a;
	e->key.iface = iface;
	e->stored = true; /* maybe, by a former life: to be taken out if it does not belong there */
	if (hash_insert(&ns->entries, &e->node)) {
		free(e);
		return NULL;
	}
	return e;
}

/* ---- the table */

static void count_refused(struct neighbors *ns, struct neighbor_entry *e)
{
	ns->n_refused++;
	e->stored = false;
}

/* No flow has the MAC of one that failed, or has not answered yet. */
static bool flows_may_have(const struct neighbor *n)
{
	return !(n->flags & (NEIGHBOR_F_FAILED | NEIGHBOR_F_ASKED));
}

void neighbor_settled(struct sw *sw)
{
	struct neighbors *ns = sw->neighbors;

	if (!ns || !ns->changed)
		return;
	ns->changed = false;
	sw_epoch(sw);
}

/* Writes what the entry says; `used_ns` of the data plane is kept. */
static void store(struct neighbors *ns, struct neighbor_entry *e, const uint8_t *mac, uint16_t flags)
{
	struct neighbor now = {0}, want = {.flags = flags};
	int r = table_lookup(ns->table, &e->key, &now);

	if (mac)
		memcpy(want.mac, mac, sizeof(want.mac));
	if (!(now.flags & NEIGHBOR_F_ASKED))
		want.used_ns = now.used_ns;
	e->flags = flags;
	if (r == 0 && !memcmp(now.mac, want.mac, sizeof(want.mac)) && now.flags == flags) {
		e->stored = true;
		return;
	}
	if (table_set(ns->table, &e->key, &want)) {
		count_refused(ns, e);
		return;
	}
	e->stored = true;
	ns->changed = ns->changed || (r == 0 && flows_may_have(&now));
}

void neighbor_table_delete(struct neighbors *ns, const struct neighbor_key *key)
{
	struct neighbor now;

	if (!table_lookup(ns->table, key, &now) && !table_delete(ns->table, key))
		ns->changed = ns->changed || flows_may_have(&now);
}

void neighbor_unstore(struct neighbors *ns, struct neighbor_entry *e)
{
	e->flags = 0;
	e->failed_s = 0;
	if (e->stored)
		neighbor_table_delete(ns, &e->key);
	e->stored = false;
}

/* Who tells that it was asked for may not have been heard yet. */
bool neighbor_waits(struct neighbors *ns, struct neighbor_entry *e)
{
	struct neighbor n;

	if (e->flags & NEIGHBOR_F_ASKED)
		return true;
	if (!e->stored || table_lookup(ns->table, &e->key, &n) || n.flags != NEIGHBOR_F_ASKED)
		return false;
	e->flags = NEIGHBOR_F_ASKED;
	e->asked_s = clock_stamp_s();
	return true;
}

void neighbor_apply(struct neighbors *ns, struct neighbor_entry *e)
{
	if (e->fixed.wanted) {
		e->failed_s = 0;
		store(ns, e, e->fixed.mac, NEIGHBOR_F_VALID | NEIGHBOR_F_STATIC);
	} else if (e->state & NUD_USABLE) {
		e->failed_s = 0;
		store(ns, e, e->mac, NEIGHBOR_F_VALID);
	} else if (e->state & NUD_FAILED) {
		e->failed_s = clock_stamp_s();
		store(ns, e, NULL, NEIGHBOR_F_FAILED);
	} else if (!e->failed_s && !neighbor_waits(ns, e)) {
		neighbor_unstore(ns, e); /* incomplete: packets are the kernel's to hold */
	}
}

void neighbor_is_asked(struct neighbors *ns, const struct neighbor_key *key)
{
	struct neighbor_entry *e;
	struct neighbor n;

	/* What is told now is up to a second old. */
	if (table_lookup(ns->table, key, &n) || n.flags != NEIGHBOR_F_ASKED)
		return;
	e = neighbor_make(ns, (uint16_t)key->iface, &key->addr);
	if (!e)
		return;
	if (e->fixed.wanted || e->state & NUD_USABLE) {
		neighbor_apply(ns, e); /* found the table full: there is room now */
		return;
	}
	e->flags = NEIGHBOR_F_ASKED;
	e->stored = true;
	e->asked_s = clock_stamp_s();
}

void neighbor_forget(struct neighbors *ns, struct neighbor_entry *e)
{
	neighbor_unstore(ns, e);
	hash_remove(&ns->entries, &e->node);
	free(e);
}

/* ---- the mirror */

/* Stations, not groups: the kernel keeps multicast and broadcast addresses among its neighbours too. */
bool neighbor_is_station(const struct neigh *n)
{
	if (n->flags & NTF_PROXY)
		return false;
	if (n->family == 4)
		return n->addr.a8[12] && n->addr.a8[12] < 0xe0;
	return n->addr.a8[0] != 0xff && (n->addr.a64[0] || n->addr.a64[1]);
}

/* An entry that is deleted is called failed first, and an administrator may call it so: from a state in which nobody was asking.
 * Who does not answer was asked before, in the state probe or incomplete. */
static bool failed_by_hand(const struct neighbor_entry *e, const struct neigh *n)
{
	return n->state & NUD_FAILED && e->state & NUD_USABLE && !(e->state & NUD_PROBE);
}

static void take(struct neighbors *ns, uint16_t iface, const struct neigh *n)
{
	struct neighbor_entry *e = neighbor_make(ns, iface, &n->addr);
	bool by_hand;

	if (!e) /* no memory: the kernel goes on resolving for it packet by packet */
		return;
	by_hand = failed_by_hand(e, n);
	e->dropped = false;
	e->state = n->state;
	e->generation = ns->read.generation;
	if (n->has_mac)
		memcpy(e->mac, n->mac, sizeof(e->mac));
	else
		e->state &= ~NUD_USABLE;
	if (e->fixed.set && e->fixed.ifindex == n->ifindex && !(n->state & NUD_PERMANENT && !memcmp(n->mac, e->fixed.mac, 6)))
		neighbor_static_lost(ns, e); /* somebody has put another in its place */
	if (by_hand && !e->fixed.wanted)
		neighbor_unstore(ns, e);
	else
		neighbor_apply(ns, e);
	if (e->failed_s)
		neighbor_asked_soon(ns);
	route_neighbor_changed(ns->sw, iface, &n->addr);
}

void neighbor_event(struct sw *sw, enum mirror_op op, const struct neigh *n)
{
	uint16_t iface = iface_id_by_host(sw, n->ifindex);
	struct neighbor_entry *e;

	if (!sw->neighbors || !iface || !neighbor_is_station(n))
		return;
	if (op == MIRROR_NEW) {
		take(sw->neighbors, iface, n);
		return;
	}
	e = neighbor_find(sw->neighbors, iface, &n->addr);
	if (!e)
		return;
	e->state = 0;
	if (e->fixed.set && e->fixed.ifindex == n->ifindex)
		neighbor_static_lost(sw->neighbors, e);
	if (e->fixed.wanted)
		neighbor_apply(sw->neighbors, e);
	else if (!e->failed_s || !e->dropped) /* else the timer forgets it */
		neighbor_forget(sw->neighbors, e);
	route_neighbor_changed(sw, iface, &n->addr);
}

/* ---- looking */

int neighbor_get(const struct sw *sw, uint16_t iface, const struct addr *a, uint8_t ret_mac[6])
{
	const struct neighbor_entry *e = sw->neighbors ? neighbor_find(sw->neighbors, iface, a) : NULL;

	if (!e)
		return -ENOENT;
	if (e->fixed.wanted) {
		memcpy(ret_mac, e->fixed.mac, 6);
		return 0;
	}
	if (e->state & NUD_USABLE) {
		memcpy(ret_mac, e->mac, 6);
		return 0;
	}
	return e->failed_s || e->state & NUD_FAILED ? -EHOSTUNREACH : -ENOENT;
}

bool neighbor_stale(const struct sw *sw, uint16_t iface, const struct addr *a)
{
	const struct neighbor_entry *e = sw->neighbors ? neighbor_find(sw->neighbors, iface, a) : NULL;

	return e && !e->fixed.wanted && e->state & NUD_STALE;
}

int neighbor_full(const struct sw *sw, struct errs *errs)
{
	const struct neighbors *ns = sw->neighbors;

	if (!ns || !ns->n_refused)
		return 0;
	return errs_fail(errs, E2BIG,
			 "the table of neighbors is full (tables.neighbors is %u): packets to the others take the slow way "
			 "through the kernel",
			 table_capacity(ns->table));
}

/* ---- the timer */

/* True: the kernel was asked. */
static bool probe_if_used(struct neighbors *ns, struct neighbor_entry *e, uint64_t now_ns, uint32_t now)
{
	struct neighbor n;
	int ifindex;

	if (e->fixed.wanted || !(e->state & NUD_STALE) || !e->stored)
		return false;
	if (e->probed_s && now - e->probed_s < PROBE_EVERY_S)
		return false;
	if (table_lookup(ns->table, &e->key, &n) || !n.used_ns || now_ns - n.used_ns > USED_S * CLOCK_SECOND_NS)
		return false;
	ifindex = iface_host_ifindex(ns->sw, e->key.iface);
	if (!ifindex)
		return false;
	if (neigh_ask_probe(ns->sw->asks, ifindex, &e->key.addr))
		return false;
	e->probed_s = now;
	return true;
}

/* The kernel's entry of one that does not answer goes at once: it would stay for a minute, and the kernel's table, with little
 * room, would fill with what somebody who scans asks for. Here it stays failed for its time. */
static void drop_from_kernel(struct neighbors *ns, struct neighbor_entry *e)
{
	int ifindex = iface_host_ifindex(ns->sw, e->key.iface);

	if (ifindex && !neigh_ask_drop(ns->sw->asks, ifindex, &e->key.addr))
		e->dropped = true;
}

static void tend(struct neighbors *ns, struct neighbor_entry *e, uint64_t now_ns, uint32_t now)
{
	if (ns->retry && !e->stored && e->state & NUD_USABLE)
		neighbor_apply(ns, e);
	if (ns->walk_stale)
		probe_if_used(ns, e, now_ns, now);
	if (e->failed_s && e->state & NUD_FAILED)
		drop_from_kernel(ns, e);
	if (e->flags & NEIGHBOR_F_ASKED ? now - e->asked_s < ASKED_S : !e->failed_s || now - e->failed_s < FAILED_S)
		return;
	neighbor_unstore(ns, e);
	if (!e->state && !e->fixed.wanted)
		neighbor_forget(ns, e);
}

/* Goes on with the walk; what takes longer than a slice is done in the next turns. */
static void on_more(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval at_once = {0};
	struct hash_node *node, *next;
	struct neighbors *ns = arg;
	uint64_t begun = clock_now_ns();
	uint32_t now = clock_stamp_s();

	loop_doing("the neighbours' timer");
	ns->walking = false;
	while (!ns->walking && ns->walk_at < ns->entries.n_buckets) {
		for (node = ns->entries.buckets[ns->walk_at++]; node; node = next) {
			next = node->next;
			tend(ns, hash_entry(node, struct neighbor_entry, node), begun, now);
		}
		ns->walking = ns->walk_at % CLOCK_EVERY == 0 && clock_now_ns() - begun > SLICE_NS;
	}
	if (ns->walking)
		evtimer_add(ns->more, &at_once);
	neighbor_settled(ns->sw);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct neighbors *ns = arg;
	uint32_t now = clock_stamp_s();

	neighbor_asked_soon(ns);
	if (ns->walking)
		return;
	ns->walk_at = 0;
	ns->walk_stale = now - ns->walked_s >= STALE_EVERY_S;
	ns->retry = ns->walk_stale && ns->n_refused;
	if (ns->walk_stale) {
		ns->walked_s = now;
		ns->n_refused = 0;
	}
	on_more(-1, 0, ns);
}

/* ---- life */

int neighbor_open(struct sw *sw, struct errs *errs)
{
	struct timeval every = {.tv_sec = TIMER_S};
	struct neighbors *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return errs_fail(errs, ENOMEM, "neighbors: out of memory");
	sw->neighbors = ns;
	ns->sw = sw;
	hash_init(&ns->entries, hash_of);
	ns->table = table_get(sw->dp, "neighbors");
	ns->timer = event_new(sw->base, -1, EV_PERSIST, on_timer, ns);
	ns->more = evtimer_new(sw->base, on_more, ns);
	if (ns->table && ns->timer && ns->more && !event_add(ns->timer, &every))
		return neighbor_asked_open(ns, errs);
	errs_fail(errs, ENODEV, ns->table ? "neighbors: no timer" : "the map `neighbors` is missing");
	neighbor_close(sw);
	return -ENODEV;
}

void neighbor_close(struct sw *sw)
{
	struct neighbors *ns = sw->neighbors;

	if (!ns)
		return;
	hash_free_entries(&ns->entries, struct neighbor_entry, node);
	if (ns->timer)
		event_free(ns->timer);
	if (ns->more)
		event_free(ns->more);
	neighbor_asked_close(ns);
	table_cursor_free(ns->read.cursor);
	free(ns->fixed);
	free(ns);
	sw->neighbors = NULL;
}
