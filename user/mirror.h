/* mirror.h: what the kernel knows (links, addresses, neighbours, routes, nexthop objects), kept current by rtnetlink.
 *
 * The mirror belongs to one network namespace: sluiced's own. mirror_open() dumps everything before it returns; then the
 * netlink socket's events keep it current and tell the listener. When the socket overruns (ENOBUFS) everything is dumped
 * again, and what differs is told as events: nothing is lost. Changes that sluiced itself makes (netlink.h) come back as
 * events like any other.
 *
 * Left out: neighbours in NUD_NOARP (multicast, devices without ARP: the kernel makes them without telling), cached routes, and,
 * though it says so, routes for one TOS or one source prefix alone. Where the kernel has several routes of one prefix, table and
 * metric, the first usable one is shown.
 */
#ifndef SLUICE_MIRROR_H
#define SLUICE_MIRROR_H

#include <event2/event.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "text.h"

struct mirror;

struct link {
	int ifindex;
	char name[IFNAMSIZ];
	char kind[16]; /* "veth", "tun", "bridge", … "" for hardware */
	uint8_t mac[6];
	uint32_t mtu;
	unsigned flags;	  /* IFF_UP, IFF_RUNNING, IFF_LOOPBACK … */
	bool carrier;	  /* operstate up or unknown, and IFF_LOWER_UP */
	int peer_ifindex; /* veth: IFLA_LINK when the peer is in this namespace, else 0 */
	bool peer_away;	  /* veth, netkit: the peer is in another namespace */
	bool queueless;	  /* no qdisc: what is sent to it is not shaped */
	int master;
	uint8_t tunnel[2];	 /* protocols that a tunnel's packets have outside, 0: none (or that of a UDP socket) */
	struct addr tunnel_peer; /* with whom it speaks them; 0.0.0.0 or ::: with all */
};

/* Up, with carrier. NULL: not. */
static inline bool link_usable(const struct link *l)
{
	return l && (l->flags & IFF_UP) && l->carrier;
}

struct link_addr {
	int ifindex;
	struct prefix addr; /* host bits kept */
	uint8_t scope;	    /* RT_SCOPE_* */
	uint32_t flags;	    /* IFA_F_*: tentative, permanent … */
	uint32_t metric;    /* of the kernel's own route for the prefix; 0: the family's own */
};

struct neigh {
	int ifindex;
	struct addr addr;
	uint8_t family;
	uint16_t state; /* NUD_* */
	uint8_t flags;	/* NTF_* */
	bool has_mac;
	uint8_t mac[6];
};

struct kroute_nexthop {
	int ifindex; /* 0: by recursion on `gateway` */
	struct addr gateway;
	uint8_t family;	   /* of the gateway; 0: none */
	uint16_t weight;   /* 1..256 */
	bool onlink, dead; /* RTNH_F_ONLINK; its link is down, without carrier, or gone (of a local route: no matter) */
};

/* One route of the kernel, nexthop objects and groups resolved into `nexthops`. */
struct kroute {
	struct prefix to;
	uint32_t table;
	uint8_t type;	  /* RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE …; RTN_UNSPEC: encapsulates, only the kernel can follow it */
	uint8_t protocol; /* RTPROT_* */
	uint32_t metric;
	uint32_t mtu; /* RTAX_MTU or 0 */
	struct kroute_nexthop *nexthops;
	size_t n_nexthops;
};

/* A route for packets of one TOS, or of one source prefix alone. */
struct kroute_left_out {
	struct prefix to, from; /* from: of length 0: from anywhere */
	uint32_t table, metric;
	uint8_t tos; /* 0: any */
};

enum mirror_op { MIRROR_NEW, MIRROR_DEL };

/* Every callback may be NULL. A change of an item is a NEW of the whole item. `old` is what was known before, or NULL. */
struct mirror_listener {
	void (*link)(void *arg, enum mirror_op op, const struct link *l, const struct link *old);
	void (*addr)(void *arg, enum mirror_op op, const struct link_addr *a);
	void (*neigh)(void *arg, enum mirror_op op, const struct neigh *n);
	void (*route)(void *arg, enum mirror_op op, const struct kroute *r);
	/* A route came that is not followed; also when it is there already as the mirror opens. */
	void (*left_out)(void *arg, const struct kroute_left_out *r);
	/* A routing rule was added or deleted by who has this netlink port; 0: that may have been. They are not mirrored. */
	void (*rule)(void *arg, uint32_t by);
	/* mirror_link_usable() of this link says something else than before, ahead of all that follows from it: nothing else of
	 * the link was told yet. */
	void (*usable)(void *arg, int ifindex);
	/* After each batch of events read from the socket: the time to reconcile once for all of them. */
	void (*settled)(void *arg);
	void *arg;
};

int mirror_open(struct event_base *base, const struct mirror_listener *listener, struct mirror **ret, struct errs *errs);
void mirror_close(struct mirror *m);

const struct link *mirror_link(const struct mirror *m, int ifindex);
const struct link *mirror_link_by_name(const struct mirror *m, const char *name);
/* Up, with carrier: as far as the mirror has come, and by the newest news of the link, which do not wait for their turn. */
bool mirror_link_usable(const struct mirror *m, int ifindex);
/* Iterators: stop at a non-zero return, and return it. ifindex 0 / table 0: all. */
int mirror_each_link(const struct mirror *m, int (*fn)(const struct link *l, void *arg), void *arg);
int mirror_each_addr(const struct mirror *m, int ifindex, int (*fn)(const struct link_addr *a, void *arg), void *arg);
int mirror_each_neigh(const struct mirror *m, int ifindex, int (*fn)(const struct neigh *n, void *arg), void *arg);
int mirror_each_route(const struct mirror *m, uint32_t table, int (*fn)(const struct kroute *r, void *arg), void *arg);
/* All neighbours in pieces, in the way of the following. */
bool mirror_neighs_step(const struct mirror *m, size_t *at, size_t max, int (*fn)(const struct neigh *n, void *arg), void *arg,
			int *ret);
/* All routes in pieces, while the mirror changes in between: each that is there all the time is shown, some of them twice. *at
 * begins with 0; about `max` routes a call; true: that was all. *ret: a non-zero return of `fn`, which ends the piece. */
bool mirror_routes_step(const struct mirror *m, size_t *at, size_t max, int (*fn)(const struct kroute *r, void *arg), void *arg,
			int *ret);
/* How many routes are left out (`more`: so many or more), shown until `fn` (may be NULL) returns something else than 0. */
size_t mirror_left_out(const struct mirror *m, int (*fn)(const struct kroute_left_out *r, void *arg), void *arg);
bool mirror_left_out_more(const struct mirror *m);
uint64_t mirror_resyncs(const struct mirror *m); /* how often the socket overran */

/* mirror_ask.c: the kernel itself is asked (what `ip route get fibmatch` asks): the route by which it sends to an address, as
 * routing rules say of what bears this mark (0: none). 0: *ret is valid until the mirror is asked or told again; -ENETUNREACH: it
 * has none; another -errno: it says nothing of a route (EINVAL, EACCES and EHOSTUNREACH: there is one that drops). */
int mirror_ask(struct mirror *m, const struct addr *a, uint32_t mark, struct kroute *ret);
/* Events or dumps wait: the mirror may not be what the kernel says. */
bool mirror_busy(const struct mirror *m);
/* Everything is dumped again, and what differs is told. */
void mirror_resync(struct mirror *m);

#endif
