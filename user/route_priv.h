/* route_priv.h: what the files of the noun `route` share: route.c (life, gateways, the timer), route_source.c (from the model,
 * the addresses and the kernel into the RIB), route_pool.c (the
 * addresses of NAT), route_host.c (static routes and pools into the kernel), route_nexthop.c (gateways as their own noun: list,
 * drain), route_audit.c (the tables compared with each other, all the time), route_show.c (words and JSON), route_get*.c and
 * route_why.c (which way a packet would go, and why).
 */
#ifndef SLUICE_ROUTE_PRIV_H
#define SLUICE_ROUTE_PRIV_H

#include <sys/queue.h>
#include "fib.h"
#include "hash.h"
#include "nexthop.h"
#include "rib.h"
#include "sw.h"

/* A gateway that gets no new connections. */
struct drain {
	struct addr gateway;
	uint16_t iface;
	uint64_t since_s; /* CLOCK_BOOTTIME */
};

/* The kernel's routes being read anew from the mirror, or the static ones from the model. */
struct reread {
	int step; /* REREAD_*; from REREAD_SWEEP on one for each source */
	size_t at;
	struct rib_cursor *cursor;
};

enum { REREAD_NONE, REREAD_WALK, REREAD_SWEEP };

/* What the kernel has from us being brought to what it should have: route_host.c. */
struct host_pass {
	int step; /* HOST_* */
	uint32_t round;
	struct rib_cursor *cursor;
	struct host_route *at;
	uint16_t vrf[IFACE_MAX]; /* of the interfaces, plus 1; 0: not looked up yet */
	bool apart[VRF_MAX];	 /* VRFs of which the kernel is to know the connected prefixes */
	int error;		 /* the first one */
	struct errs errs;
};

enum { HOST_NONE, HOST_CONNECTED, HOST_STATIC, HOST_POOL, HOST_SWEEP };

struct routes {
	struct sw *sw;
	struct fib *fib;
	struct nexthops *ns;
	struct own_filter *own; /* the map, mmap-ed */
	struct rib *rib;
	struct table *counters; /* nexthop_counters */
	struct event *timer;
	bool ready;			 /* every source was read once: the FIB of a former life may be replaced */
	uint64_t signature;		 /* of what decides which kernel routes are ours */
	uint64_t usable[IFACE_MAX / 64]; /* interfaces, as the ways were worked out last */
	struct reread reread, statics;
	bool committing;	  /* a commit has begun with the routes, and is not through */
	bool host_due;		  /* what the kernel has from us may not be what it should have */
	uint32_t *probed_s;	  /* when a nexthop's gateway was last asked for; 0: never */
	uint32_t probe_at;	  /* the nexthop that was looked at last */
	struct event *probe_more; /* more gateways are due than were asked for */
	struct event *idle;	  /* drained nexthops have buckets still */
	struct drain *drains;
	size_t n_drains;
	struct hash host_routes;	    /* static routes that the kernel has from us */
	TAILQ_HEAD(, host_route) host_list; /* the same, one after another */
	struct host_pass host_pass;
	struct host_notes *host_notes; /* NULL: none are kept */
	bool host_unnoted;	       /* a life before has kept none */
	bool host_untold;	       /* one could not be written, and was told of */
	struct audit *audit;
	struct route_pages *pages; /* of route_page.c */
};

/* route_source.c. What the configuration has, and the addresses of the interfaces; `all`: not those alone, and the static routes
 * are begun with. -ENOMEM. */
int route_read_configured(struct routes *rs, bool all);
/* The static routes anew, likewise: rs->statics.step says whether something is left. */
void route_statics_begin(struct routes *rs);
int route_statics(struct routes *rs, uint64_t end_ns);
void route_statics_end(struct routes *rs);
/* Every kernel route anew: begun, and done until `end_ns` (0: to the end); rs->reread.step says whether something is left.
 * -ENOMEM. */
void route_reread_begin(struct routes *rs);
int route_reread(struct routes *rs, uint64_t end_ns);
void route_reread_end(struct routes *rs);
uint64_t route_signature(const struct routes *rs);
/* A kernel route came, changed, or went. -ENOMEM. */
int route_kernel_event(struct routes *rs, enum mirror_op op, const struct kroute *r);
/* What the RIB should have of a kernel route; `nh`: room for all its nexthops. -ENOENT: nothing. */
int route_kernel_spec(const struct routes *rs, const struct kroute *k, struct rib_route_spec *ret, struct rib_nexthop *nh);
/* No route decides about packets to it: multicast, broadcast, loopback, reserved, link-local of IPv6. */
bool route_never(const struct addr *a, uint8_t family);
const char *route_protocol_name(uint8_t source, uint8_t protocol);
uint32_t route_table_of_vrf(const struct routes *rs, uint16_t vrf); /* the kernel's; 0: none */

/* route_pool.c: the NAT rules' addresses. -ENOMEM. */
int route_read_pools(struct routes *rs);

/* route_nexthop.c: a nexthop as whoever asks calls it: by its id, its gateway's address, or a name of the configuration. */
struct nexthop_which {
	uint32_t id; /* 0: any of the gateway's */
	struct addr gateway;
	uint8_t family; /* 0: by its id, or of no gateway */
	uint16_t iface; /* 0: any */
};
int nexthop_which_parse(const struct routes *rs, const char *text, struct nexthop_which *ret, struct errs *errs);
bool nexthop_is_which(const struct routes *rs, uint32_t id, const struct nexthop_which *which);
const char *nexthop_name_of(const struct routes *rs, const struct nexthop *nh); /* the first one; NULL: it has none */
int route_drains_adopt(struct routes *rs); /* those of the former life, which the nexthops are marked with */
uint64_t route_drained(const struct routes *rs, const struct nexthop *nh); /* since when, CLOCK_BOOTTIME, seconds; 0: it is not */
/* route_show.c: a nexthop in use; `share`: its part of a group's buckets, in percent, or negative. */
const char *route_nexthop_state(const struct routes *rs, const struct nexthop *nh); /* "resolved", "unresolved", "failed" … */
json_t *route_show_nexthop(struct routes *rs, uint32_t id, uint32_t weight, double share);
/* A route's members but for the nexthops, and those. */
json_t *route_show_fields(struct routes *rs, const struct rib_view *v);
json_t *route_show_nexthops(struct routes *rs, const struct rib_view *v);
json_t *route_show_named(struct routes *rs, const struct rib_view *v); /* as the route names them: without ids and counters */
const char *route_type_name(uint8_t type);
bool route_in_force(const struct rib_view *v); /* packets go by it: the FIB has it, and it leads somewhere */
#define ROUTE_REASON 96
/* Why it is not; into the buffer, if it is no constant. */
const char *route_reason(const struct routes *rs, const struct rib_view *v, char buf[ROUTE_REASON]);
/* route_why.c: every route whose prefix holds the address, the longest first, and why it is not the one in force (`chosen`; NULL:
 * none is): [{as of route_show_fields(), "nexthops", "why"}]. */
json_t *route_why(struct routes *rs, uint16_t vrf, const struct addr *a, const struct rib_view *chosen);
/* The gateways that are reached by other routes, step by step: [{"gateway", "to", "protocol"}]; NULL: none is. */
json_t *route_recursion(struct routes *rs, const struct rib_view *v);
/* route.c: states and buckets as they should be now. */
void route_gateways_update(struct routes *rs);

/* route_page.c: what is left for the next page. -ENOMEM */
int route_pages_open(struct routes *rs);
void route_pages_close(struct routes *rs);

/* route_audit.c */
int route_audit_open(struct routes *rs); /* -ENOMEM */
void route_audit_close(struct routes *rs);
uint64_t route_audit_differences(const struct routes *rs, bool repaired); /* all there were, or those that were repaired */

/* route_host.c */
int route_host_open(struct routes *rs); /* -ENOMEM */
void route_host_close(struct routes *rs);
/* The kernel said that a route of the protocol came or went. False: it is not ours. */
bool route_host_event(struct routes *rs, enum mirror_op op, const struct kroute *r);
/* Another program's route came, changed or went. True: what the kernel has from us is to be looked at again. */
bool route_host_other(struct routes *rs, enum mirror_op op, const struct kroute *r);
/* The copies that other programs' routes keep out: texts, onto the list. */
void route_host_conditions(const struct routes *rs, json_t *list);
/* A pass that is under way is given up: what it goes by may have changed. */
void route_host_begin(struct routes *rs);
/* A pass. Until `end_ns` (0: to the end). -EAGAIN without words: something is left. A refusal by the kernel, with words, is told
 * at the end; `errs` NULL: it is left to the next pass, for which rs->host_due stands then.
 */
int route_host_reconcile(struct routes *rs, uint64_t end_ns, struct errs *errs);

#endif
