/* rib.h: all routes that are known, which of them are in force, and why the others are not.
 *
 * Stands between the sources of routes (route.c: configuration, addresses, the kernel) and the tables (fib.h, nexthop.h). For
 * each prefix of a VRF the routes stand in order of preference: administrative distance, then rank (of the kernel's table in the
 * VRF's list), then metric, then source; the first that leads somewhere is in force. What is imported from other VRFs stands
 * behind all of the VRF's own (rib_import.c). Routes with equal nexthops share one `way`, which is worked out once: a full table
 * that leaves by three gateways is a million routes and a handful of ways.
 *
 * Puts and removals are gathered; rib_settle() works out ways, chooses routes and writes the FIB.
 */
#ifndef SLUICE_RIB_H
#define SLUICE_RIB_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "fib.h"
#include "nexthop.h"
#include "text.h"

#define RIB_DEPTH 4 /* gateways reached by routes that are reached by gateways … */

enum rib_source {
	RIB_LOCAL,     /* addresses of the interfaces: the packet is the host's */
	RIB_HOST,      /* other addresses of the host: the kernel's table `local` */
	RIB_CONNECTED, /* prefixes of the interfaces' addresses */
	RIB_STATIC,    /* of the configuration */
	RIB_POOL,      /* addresses of NAT: blackholes for what NAT does not know */
	RIB_KERNEL,    /* of the VRF's kernel tables */
	RIB_IMPORT,    /* in force in another VRF, from where it is imported; put by rib_import.c alone */
	RIB_SOURCES,
};

/* The type of a kernel's route that ends the look-up in its table (`ip route add throw`): what the VRF's next tables say holds.
 * In no table of the data plane. */
#define RIB_THROW 32

struct rib;
struct rib_cursor;

/* One nexthop as its source names it. */
struct rib_nexthop {
	struct addr gateway;
	uint8_t family;	 /* of the gateway; 0: none, the destination is on the link */
	bool onlink;	 /* the gateway is on `iface`, whatever the addresses say */
	bool down;	 /* the source says that it does not work now */
	bool recursive;	 /* the source says that a route leads to it, and no interface */
	uint16_t iface;	 /* 0: where a route to the gateway leads */
	uint16_t weight; /* 1..256 */
};

struct rib_route_spec {
	uint16_t vrf;
	struct prefix to;
	uint8_t source;	  /* enum rib_source */
	uint8_t protocol; /* RTPROT_* of the kernel's */
	uint8_t distance;
	uint8_t type; /* enum nexthop_type; GATEWAY for every route with nexthops; or RIB_THROW */
	uint8_t rank;
	uint32_t table; /* the kernel's; 0: not of the kernel */
	uint32_t metric;
	uint32_t mtu;
	int outside; /* leaves by this netdev, which is no interface of the switch; 0: none. Behind all others of its prefix */
	const struct rib_nexthop *nexthops;
	size_t n;
	const char
		*group; /* the name of a group that these are; NULL: of none. What one route of it says, all of them do at once */
};

/* `usable`: can packets leave by this interface now? `retired` and the tables belong to the caller. */
int rib_open(struct fib *fib, struct nexthops *ns, bool (*usable)(void *arg, uint16_t iface), void *arg, struct rib **ret);
void rib_close(struct rib *rib); /* takes NULL; the tables stay */

/* A route; one of the same VRF, prefix, source, table and metric is replaced. */
int rib_put(struct rib *rib, const struct rib_route_spec *spec);
void rib_remove(struct rib *rib, uint16_t vrf, const struct prefix *to, uint8_t source, uint32_t table, uint32_t metric);
/* Between the two, every route of the source that is to stay is put; the others go. */
void rib_begin(struct rib *rib, uint8_t source);
void rib_sweep(struct rib *rib, uint8_t source);
/* The same in pieces, by a cursor over that source, at most so many routes. True: all done. */
bool rib_sweep_some(struct rib *rib, struct rib_cursor *c, size_t max);
/* What is told from now on (or no longer) goes before everything else; and whether something of it, or a way, is not settled yet.
 */
void rib_urgent(struct rib *rib, bool urgent);
bool rib_urgent_pending(const struct rib *rib);
/* Has, or had, any route an MTU? */
bool rib_any_mtu(const struct rib *rib);
/* One way for routes from VRF to VRF. Of the routes in force in `from` those come into `to` whose prefix the first of `prefixes`
 * to match permits; none at all: every one. What `from` itself has imported stays there. An interface's own and its broadcast
 * addresses go with its connected prefix; the addresses of NAT never do. Of several rules for one prefix and VRF the route of
 * less distance, then of less rank wins. */
struct rib_import {
	uint16_t from, to;
	uint8_t rank;
	const struct prefix_filter *prefixes;
	size_t n;
};

/* All rules there are, in place of those there were. Copied. -ENOMEM: nothing is changed. */
int rib_imports_set(struct rib *rib, const struct rib_import *rules, size_t n);

/* Links came or went: every way is worked out again. */
void rib_links_changed(struct rib *rib);
/* At once, before that: what shares a pair of ways is led by the one that packets can leave by. True: some is led elsewhere now.
 */
bool rib_links_settle(struct rib *rib);

/* Prefixes wait for a pair, and there is room or will be: rib_settle() is to be called, which nothing else may ask for. */
bool rib_pairs_due(const struct rib *rib);

/* For at most about `budget_ns` (0: to the end, and waiting for memory: before the event loop runs); rib_pending() says whether
 * something is left for the next call.
 * *ret_changed: the tables are not what they were, decisions made by them are stale. -ENOMEM. Routes that found no room are
 * no error here: rib_refused() names them. */
int rib_settle(struct rib *rib, uint64_t budget_ns, bool *ret_changed);
bool rib_pending(const struct rib *rib);
/* Nothing can be done but to come again some ms later: what was chosen is in force when the FIB has memory for it, or groups are
 * made when there are buckets for them. */
bool rib_waits(const struct rib *rib);
/* Writes what was marked by fib_repair(): 0, or as fib_commit() says; then rib_settle() tries again, and tells what it lacks. */
int rib_write(struct rib *rib);
/* -E2BIG with words when routes are not in the FIB for want of room; `configured`: only the configuration's own count. */
int rib_refused(const struct rib *rib, bool configured, struct errs *errs);

/* What is known of a route. Valid until the RIB is changed. */
struct rib_view {
	uint16_t vrf;
	struct prefix to;
	uint8_t source, protocol, distance, type;
	uint32_t metric, mtu;
	uint32_t table; /* the kernel's; 0: not of the kernel */
	int outside;	/* as in the spec */
	int from;	/* the VRF that it is imported from; -1: it is the VRF's own */
	uint8_t origin; /* an imported one's source there; else as `source` */
	uint8_t rank;
	bool recursive; /* some gateway is reached by another route */
	bool active;
	const char *reason; /* inactive: why; active: what is wrong with its nexthops; NULL: nothing */
	uint32_t result;    /* of the way: nexthop or group; 0: none */
	uint32_t members;   /* the same, also while nothing can leave by them */
	uint32_t fib;	    /* of rib_lookup(): what the FIB has: `result`, or a pair that leads there now */
	const struct rib_nexthop *nexthops;
	size_t n;
	const char *group; /* the named group that these are; "": none */
};

/* Every route (source RIB_SOURCES) or those of one source; stops at a non-zero return, and returns it. */
int rib_each(const struct rib *rib, uint8_t source, int (*fn)(const struct rib_view *v, void *arg), void *arg);
/* The same in pieces, while the RIB changes in between: each route that is there all the time is shown once. A piece ends when
 * `fn` returns non-zero, which is returned: the route it was shown then does not come again; 0: there are no more. */
struct rib_cursor *rib_cursor_open(struct rib *rib, uint8_t source); /* NULL: no memory. To be closed before the RIB is */
int rib_cursor_go(struct rib *rib, struct rib_cursor *c, int (*fn)(const struct rib_view *v, void *arg), void *arg);
void rib_cursor_close(struct rib *rib, struct rib_cursor *c);
/* The route in force for an address, or, where a pair has been quicker than the choice, the one that packets take. -ENOENT. */
int rib_lookup(const struct rib *rib, uint16_t vrf, const struct addr *a, struct rib_view *ret);
/* The route of this VRF, prefix, source, table and metric, in force or not. -ENOENT. */
int rib_find(const struct rib *rib, const struct rib_route_spec *spec, struct rib_view *ret);
/* A change is under way by which the FIB may say something else of this address than rib_lookup(), or a pair has been quicker. */
bool rib_moving(const struct rib *rib, uint16_t vrf, const struct addr *a);
/* Every route of one prefix, the best first; stops at a non-zero return, and returns it. -ENOENT: there is none. */
int rib_each_of(const struct rib *rib, uint16_t vrf, const struct prefix *to, int (*fn)(const struct rib_view *v, void *arg),
		void *arg);
/* The route in force that a gateway without an interface is reached by. -ENOENT. */
int rib_gateway(const struct rib *rib, uint16_t vrf, const struct addr *gateway, struct rib_view *ret);
size_t rib_count(const struct rib *rib);				     /* routes, of all sources */
uint32_t rib_imported(const struct rib *rib, uint16_t vrf);		     /* routes of other VRFs, in force or not */
uint32_t rib_installed(const struct rib *rib, uint16_t vrf, uint8_t family); /* prefixes that the FIB has */

struct rib_stats {
	size_t routes;	 /* known, of all sources */
	size_t in_force; /* prefixes that the FIB has */
	size_t refused;	 /* prefixes that it had no room for */
	size_t pairs;	 /* pairs of ways (nexthop.h) that there are */
	size_t unpaired; /* prefixes with a second way for which there was no room among them */
};
void rib_stats(const struct rib *rib, struct rib_stats *ret);

#endif
