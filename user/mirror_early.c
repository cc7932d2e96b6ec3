/* mirror_early.c: what must not wait behind routes: links that go down, and neighbours. Between rtnetlink and the mirror's other
 * files; sockets of their own, which are read also while a plan runs or thousands of routes' events wait in theirs (mirror.c).
 *
 * Neighbours are told here and nowhere else. Nothing in the mirror depends on their order among the others' events: the kernel
 * tells by itself of those that go with a link. While they are dumped, their events wait, as mirror.c's do.
 *
 * Links are told here and, in order with addresses and routes, there, where all that is known of them comes from. Here it is
 * noted only by which links no packet can leave, so that the two need not agree: a link is usable as long as the mirror and the
 * newest news of it say so. A dump, or an older event, that calls it usable does not make it so again. One that went down and is
 * up again by its newest news stays unusable until the mirror has taken as many news of it: what is up may be another link with
 * the same number. What the mirror's socket loses is never taken: a dump stands for it. Losses here make the count wrong, until
 * the mirror has taken all that there was: then the two agree, and nothing is noted. What the kernel was just telling one of the
 * two sockets, and not the other yet, is in the same way told by both soon.
 *
 * The mirror must not take news that were not read here. How many each of the two has read is counted, so that for a message of
 * its own it reads one here at the most; all else here is read for as long as a turn may last.
 */
#include <errno.h>
#include <linux/neighbour.h>
#include <poll.h>
#include "clock.h"
#include "loop.h"
#include "mirror_impl.h"

#define RECEIVE_BUFFER (16 << 20) /* bytes, for each of the two */

/* A link by which no packet can leave, whatever the mirror says. */
struct early_entry {
	struct hash_node node;
	int ifindex;
	unsigned ahead; /* news that the mirror has not taken */
	bool down;	/* by the newest news */
	bool owed;	/* by some of those that the mirror has not taken */
};

static uint32_t index_hash(const struct hash *h, int ifindex)
{
	return hash_end(hash_mix(h->salt, (uint32_t)ifindex));
}

static uint32_t entry_hash(const struct hash *h, const struct hash_node *node)
{
	return index_hash(h, hash_entry(node, struct early_entry, node)->ifindex);
}

static bool entry_equal(const struct hash_node *node, const void *key)
{
	return hash_entry(node, struct early_entry, node)->ifindex == *(const int *)key;
}

static struct early_entry *entry_find(const struct mirror *m, int ifindex)
{
	return hash_find_entry(&m->early, index_hash(&m->early, ifindex), entry_equal, &ifindex, struct early_entry, node);
}

void mirror_early_init(struct mirror *m)
{
	hash_init(&m->early, entry_hash);
}

void mirror_early_free(struct mirror *m)
{
	hash_free_entries(&m->early, struct early_entry, node);
}

bool mirror_link_usable(const struct mirror *m, int ifindex)
{
	const struct early_entry *e = entry_find(m, ifindex);

	return link_usable(mirror_link(m, ifindex)) && !(e && (e->down || e->owed));
}

static void told(struct mirror *m, int ifindex, bool was_usable)
{
	if (mirror_link_usable(m, ifindex) == was_usable)
		return;
	m->told = true;
	if (m->listener.usable)
		m->listener.usable(m->listener.arg, ifindex);
}

static void entry_drop(struct mirror *m, struct early_entry *e)
{
	hash_remove(&m->early, &e->node);
	free(e);
}

static struct early_entry *entry_make(struct mirror *m, int ifindex)
{
	struct early_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->ifindex = ifindex;
	if (hash_insert(&m->early, &e->node) < 0) {
		free(e);
		return NULL;
	}
	return e;
}

/* Without memory it is as it would be without this file: the mirror tells, later. */
void mirror_early_link(struct mirror *m, const struct nlmsghdr *nlh, bool waits)
{
	struct early_entry *e;
	struct link l;
	bool was_usable, down;

	if (!mirror_link_parse(nlh, &l))
		return;
	down = nlh->nlmsg_type == RTM_DELLINK || !link_usable(&l);
	was_usable = mirror_link_usable(m, l.ifindex);
	e = entry_find(m, l.ifindex);
	if (!e && (down || waits))
		e = entry_make(m, l.ifindex);
	if (!e)
		return;
	e->down = down;
	e->ahead = waits ? e->ahead + 1 : 0;
	e->owed = waits && (e->owed || down);
	if (!e->down && !e->ahead)
		entry_drop(m, e);
	told(m, l.ifindex, was_usable);
}

/* No news of it are left that the mirror has not taken; `caught_up`: for certain. */
static void entry_settle(struct mirror *m, struct early_entry *e, bool caught_up)
{
	int ifindex = e->ifindex;
	bool was_usable = mirror_link_usable(m, ifindex);

	e->ahead = 0;
	e->owed = false;
	if (!e->down || (caught_up && !link_usable(mirror_link(m, ifindex))))
		entry_drop(m, e);
	told(m, ifindex, was_usable);
}

void mirror_early_caught_up(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	m->early_read = m->early_taken = 0;
	while ((node = hash_next(&m->early, &it)))
		entry_settle(m, hash_entry(node, struct early_entry, node), true);
}

/* What they owe stays until then. */
void mirror_early_lost(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	m->early_read = m->early_taken = 0;
	while ((node = hash_next(&m->early, &it)))
		hash_entry(node, struct early_entry, node)->ahead = 0;
}

void mirror_early_dumped(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->early, &it))) {
		struct early_entry *e = hash_entry(node, struct early_entry, node);

		if (!e->ahead)
			entry_settle(m, e, false);
	}
}

/* Some news are lost: which are the newest is not known any more. */
static void forget(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->early, &it))) {
		struct early_entry *e = hash_entry(node, struct early_entry, node);

		e->down = false;
		entry_settle(m, e, true);
	}
}

/* ---- the sockets */

/* One message. 1: there may be more; 0: the socket is empty; -ENOBUFS: some are lost. */
static int take(struct mirror *m, struct mnl_socket *s, bool waits)
{
	ssize_t len = mnl_socket_recvfrom(s, m->early_buf, MIRROR_EARLY_MAX);
	const struct nlmsghdr *nlh = (const void *)m->early_buf;
	int left = len;

	if (len < 0)
		return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -ENOBUFS;
	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_type == NLMSG_OVERRUN)
			return -ENOBUFS;
		if (s == m->links_now) {
			m->early_read++;
			mirror_early_link(m, nlh, waits);
			continue;
		}
		if ((nlh->nlmsg_type == RTM_NEWNEIGH || nlh->nlmsg_type == RTM_DELNEIGH) && mirror_neigh_message(m, nlh) < 0)
			return -ENOBUFS; /* questions to a daemon that resolves (`app_solicit`) are no news */
	}
	return 1;
}

/* As take(), of links. */
static int take_link(struct mirror *m, bool waits)
{
	int r = take(m, m->links_now, waits);

	if (r < 0)
		forget(m);
	return r;
}

bool mirror_early_read(struct mirror *m, bool waits, uint64_t end_ns)
{
	int r = 1;

	while (r && clock_now_ns() < end_ns)
		r = take_link(m, waits);
	return !r;
}

static void read_to_turn(struct mirror *m)
{
	while (m->links_now && m->early_read <= m->early_taken && take_link(m, true))
		;
	m->early_taken++;
	if (m->early_read < m->early_taken)
		m->early_read = m->early_taken;
}

int mirror_early_message(struct mirror *m, const struct nlmsghdr *nlh)
{
	struct early_entry *e;
	struct link l;
	int r;

	read_to_turn(m);
	r = mirror_link_message(m, nlh);
	if (!m->early.n || !mirror_link_parse(nlh, &l))
		return r;
	e = entry_find(m, l.ifindex);
	if (e && e->ahead && !--e->ahead)
		entry_settle(m, e, false);
	return r;
}

static void on_links(evutil_socket_t fd, short what, void *arg)
{
	struct mirror *m = arg;

	loop_doing("links that the kernel tells of");
	mirror_early_read(m, mirror_events_wait(m), clock_now_ns() + MIRROR_BATCH_NS);
	mirror_settled(m);
}

/* Until it was empty once, the kernel drops what comes: only then all of them are dumped. */
static void on_neighs(evutil_socket_t fd, short what, void *arg)
{
	struct mirror *m = arg;
	uint64_t end = clock_now_ns() + MIRROR_BATCH_NS;
	int r = 1;

	loop_doing("neighbours that the kernel tells of");
	while (r && clock_now_ns() < end) {
		r = take(m, m->neighs_now, false);
		if (r < 0 && !m->neighs_lost) {
			m->neighs_lost = true;
			m->resyncs++;
		}
	}
	if (m->neighs_lost && !r) {
		m->neighs_lost = false;
		m->doubt.neighs = true;
		mirror_doubts(m);
	} else if (m->neighs_lost) {
		event_active(m->on_neighs, EV_READ, 0); /* it may be empty already, and then nothing would wake us */
	}
	mirror_settled(m);
}

int mirror_early_open(struct mirror *m)
{
	static const int links[] = {RTNLGRP_LINK}, neighs[] = {RTNLGRP_NEIGH};
	int r;

	m->early_buf = malloc(MIRROR_EARLY_MAX);
	if (!m->early_buf)
		return -ENOMEM;
	r = mirror_socket_open(&m->links_now, RECEIVE_BUFFER, links, 1);

	return r < 0 ? r : mirror_socket_open(&m->neighs_now, RECEIVE_BUFFER, neighs, 1);
}

int mirror_early_start(struct mirror *m)
{
	m->on_links = event_new(m->base, mnl_socket_get_fd(m->links_now), EV_READ | EV_PERSIST, on_links, m);
	m->on_neighs = event_new(m->base, mnl_socket_get_fd(m->neighs_now), EV_READ | EV_PERSIST, on_neighs, m);
	return m->on_links && m->on_neighs && !event_add(m->on_links, NULL) && !event_add(m->on_neighs, NULL) ? 0 : -ENOMEM;
}

void mirror_early_close(struct mirror *m)
{
	if (m->on_links)
		event_free(m->on_links);
	if (m->on_neighs)
		event_free(m->on_neighs);
	if (m->links_now)
		mnl_socket_close(m->links_now);
	if (m->neighs_now)
		mnl_socket_close(m->neighs_now);
	free(m->early_buf);
}

void mirror_neighs_hold(struct mirror *m, bool held)
{
	if (!m->on_neighs)
		return;
	if (held)
		event_del(m->on_neighs);
	else
		event_add(m->on_neighs, NULL);
}
