/* mirror_impl.h: the inside of the mirror, shared by mirror.c (sockets, dumps, dispatch) and its parts mirror_link.c,
 * mirror_neigh.c, mirror_early.c, mirror_nexthop.c, mirror_route.c and mirror_left_out.c. Nobody else includes it but the unit
 * tests.
 *
 * Order. Dumps run on a socket of their own while the events wait in theirs: what is told during a dump is applied after it.
 * Events that a dump has overtaken are applied a second time, so every handler must stand being told twice. Neighbours, and links
 * that go down, have their own sockets (mirror_early.c).
 */
#ifndef SLUICE_MIRROR_IMPL_H
#define SLUICE_MIRROR_IMPL_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include "hash.h"
#include "mirror.h"

struct link_entry {
	struct hash_node by_index;
	struct hash_node by_name;
	struct link l;
	uint32_t gen;
};

struct addr_entry {
	struct hash_node node;
	struct link_addr a;
	uint32_t gen;
};

struct neigh_entry {
	struct hash_node node;
	struct neigh n;
	uint32_t gen;
};

#define SET_KNOWN     (1 << 0) /* object: the kernel has told it */
#define SET_GONE      (1 << 1) /* object: the kernel has deleted it, and every route that uses it */
#define SET_DIRTY     (1 << 2) /* the routes that use it are to be told again */
#define SET_AUDIT     (1 << 3) /* uses a device whose routes are being compared with the kernel's */
#define SET_BLACKHOLE (1 << 4) /* object: drops */
#define SET_UNUSABLE  (1 << 5) /* object: encapsulates, or is no IP nexthop */
#define SET_GROUP     (1 << 6) /* object: `nh` is gathered from its members */

struct nexthop_member {
	uint32_t id;
	uint16_t weight;
};

/* The ways of a route: a set written out in routes (id 0, shared by all routes that have the same), or the kernel's nexthop
 * object `id`. */
struct nexthop_set {
	struct hash_node node; /* in `sets` or in `objects` */
	uint32_t id;
	uint32_t refs;	/* routes */
	uint16_t flags; /* SET_* */
	uint16_t n;
	uint16_t n_members;
	uint32_t gen;
	struct kroute_nexthop *nh; /* sorted; `dead` follows the links */
	struct nexthop_member *members;
};

#define ALT_ECMP     (1 << 0) /* IPv6: gateways that the kernel joins to one multipath route */
#define ALT_UNUSABLE (1 << 1) /* a way of it encapsulates */

/* What one prefix, table and metric leads to. The kernel may hold several (NLM_F_APPEND), in order. */
struct route_alt {
	struct route_alt *next;
	struct nexthop_set *set;
	uint32_t mtu;
	uint32_t sig; /* of the attributes that tell two routes apart and are not kept */
	__be32 src;   /* IPv4: preferred source, with which the route vanishes */
	uint8_t type, protocol, flags, gen;
};

struct route {
	struct hash_node node;
	struct addr dst;
	uint32_t table;
	uint32_t metric;
	uint8_t family; /* 4, 6 */
	uint8_t len;
	struct route_alt *first; /* never NULL while the route is in the table */
	struct route_alt alt;	 /* room for one of them, so that the usual route is one allocation */
};

struct source {
	struct hash_node node;
	__be32 addr;
	uint32_t refs; /* IPv4 routes that prefer it */
};

enum job_kind { JOB_LINKS, JOB_ADDRS, JOB_NEIGHS, JOB_NEXTHOPS, JOB_ROUTES, JOB_WALK };

struct job {
	uint8_t kind;	/* enum job_kind */
	uint8_t family; /* 4, 6; 0: none */
	int oif;	/* routes: through this device only; 0: all */
	uint32_t table; /* routes: of this table only; 0: all */
};

#define PLAN_MAX    24
#define AUDIT_LINKS 8

struct plan {
	struct job job[PLAN_MAX];
	size_t n, pos;
	bool sent;	  /* the request of job[pos] */
	bool interrupted; /* NLM_F_DUMP_INTR was seen in its answer */
	struct hash_iter walk;
	const struct route *last; /* dump: the route of the message before, */
	unsigned last_at;	  /* and which of its alternatives that was */
};

/* What events have made doubtful, until a comparison with the kernel settles it. */
struct doubt {
	int links[AUDIT_LINKS]; /* went down, lost an IPv4 address, or are gone: IPv4 routes may have vanished silently */
	size_t n_links;
	bool all[2];	   /* every route of IPv4, of IPv6 */
	uint32_t table[2]; /* every route of this table; 0: none */
	bool nexthops;
	bool neighs;	  /* every neighbour */
	bool links_qdisc; /* a link's own qdisc is gone: what stands in its place is not told */
	bool memory;	  /* something could not be stored */
};

struct mirror {
	struct event_base *base;
	struct mirror_listener listener;
	bool quiet; /* being opened: nothing is told */
	bool told;  /* since the last settled() */
	bool dirty; /* some nexthop_set is SET_DIRTY */
	bool gone;  /* some nexthop_set is SET_GONE */
	bool groups_stale;
	uint64_t resyncs;

	struct mnl_socket *events, *dumps, *asks; /* asks: NULL until the first one */
	struct event *on_events, *on_work, *on_audit;
	struct mnl_socket *links_now, *neighs_now; /* events, read at all times: mirror_early.c */
	struct event *on_links, *on_neighs;
	char *early_buf;
	bool neighs_lost;		  /* the neighbours' socket overran, and was not empty since */
	struct hash early;		  /* links by which no packet can leave, whatever `links` says */
	uint64_t early_read, early_taken; /* news of links, by mirror_early.c and in order, since the two agreed */
	bool replay;			  /* the events to come may be older than the last dump */
	bool draining;			  /* the socket overran: what is still in it is thrown away */
	char *buf;
	size_t buf_size;
	uint32_t seq, ask_seq;

	struct hash links, names, addrs, neighs, objects, sets, routes, sources, left_out;
	bool left_out_more; /* than there is room for, since all routes were read */
	uint32_t gen;	    /* of the dump of links, addresses, neighbours or nexthops that runs */
	uint8_t route_gen;  /* of the dumps of routes that the walk ends; 0 is no generation */
	struct plan plan;
	struct doubt doubt;
	struct kroute_nexthop *scratch;
	size_t scratch_size;
	struct nexthop_set *asked; /* the ways of the route that mirror_ask() showed last; referenced */
};

/* mirror.c */
#define MIRROR_BATCH_NS 3000000			 /* how long one wake-up may last */
bool mirror_working(const struct mirror *m);	 /* a plan runs, or is to be made */
bool mirror_events_wait(const struct mirror *m); /* the mirror has not taken all that the kernel told */
void mirror_plan_everything(struct mirror *m);
void mirror_doubts(struct mirror *m); /* what is in doubt is looked at a moment later */
void mirror_settled(struct mirror *m);
/* A socket of rtnetlink, of these groups. -errno: *ret may be there. */
int mirror_socket_open(struct mnl_socket **ret, int receive_buffer, const int *groups, size_t n);
int mirror_new(const struct mirror_listener *listener, struct mirror **ret);
/* One message of the kernel; `dump`: an answer to mirror's own request. -ENOMEM: it could not be kept. */
int mirror_message(struct mirror *m, const struct nlmsghdr *nlh, bool dump);
/* Does what the messages since the last call ask for, as far as it needs no socket. */
void mirror_finish_batch(struct mirror *m);

/* mirror_early.c */
#define MIRROR_EARLY_MAX (64 << 10) /* bytes of a message; a larger one is lost, and told by the rest of the mirror alone */
void mirror_early_init(struct mirror *m);
void mirror_early_free(struct mirror *m);
int mirror_early_open(struct mirror *m);  /* before the first dump; */
int mirror_early_start(struct mirror *m); /* after it */
void mirror_early_close(struct mirror *m);
/* The newest news of a link; `waits`: others wait, which the mirror takes in order. */
void mirror_early_link(struct mirror *m, const struct nlmsghdr *nlh, bool waits);
bool mirror_early_read(struct mirror *m, bool waits, uint64_t end_ns);	/* until then; true: all that there were */
int mirror_early_message(struct mirror *m, const struct nlmsghdr *nlh); /* of a link, in order; as mirror_message() */
void mirror_early_caught_up(struct mirror *m);				/* the mirror has taken all that there was */
void mirror_early_lost(struct mirror *m);	      /* it takes nothing of what was read here, but a dump that begins now; */
void mirror_early_dumped(struct mirror *m);	      /* has taken it */
void mirror_neighs_hold(struct mirror *m, bool held); /* they wait for their dump */

/* mirror_ask.c */
void mirror_ask_end(struct mirror *m);

/* Attributes by type, `tb` of max + 1 elements; those beyond max are passed over. */
void attrs_parse(const struct nlmsghdr *nlh, size_t header, const struct nlattr **tb, unsigned max);
void attrs_parse_nested(const struct nlattr *nest, const struct nlattr **tb, unsigned max);
/* Values; 0 (false) when the attribute is absent or has another size. */
uint32_t attr_u32(const struct nlattr *a);
bool attr_addr(const struct nlattr *a, uint8_t family, struct addr *ret);
bool attr_via(const struct nlattr *a, struct addr *ret, uint8_t *ret_family);
uint8_t family_of_af(int af); /* 4, 6, or 0 */
int af_of_family(uint8_t family);

/* mirror_link.c: links and addresses. The sweeps drop what the dump of this generation has not shown. */
void mirror_links_init(struct mirror *m);
void mirror_links_free(struct mirror *m);
int mirror_link_message(struct mirror *m, const struct nlmsghdr *nlh);
/* False: no news of a link, though it may look like that. Of one that is gone, the number is filled alone. */
bool mirror_link_parse(const struct nlmsghdr *nlh, struct link *ret);
int mirror_qdisc_message(struct mirror *m, const struct nlmsghdr *nlh);
int mirror_addr_message(struct mirror *m, const struct nlmsghdr *nlh);
void mirror_links_sweep(struct mirror *m);
void mirror_addrs_sweep(struct mirror *m, uint8_t family);
/* Routes through this link may have vanished without a word. */
void mirror_doubt_link(struct mirror *m, int ifindex);

/* mirror_neigh.c */
void mirror_neighs_init(struct mirror *m);
void mirror_neighs_free(struct mirror *m);
int mirror_neigh_message(struct mirror *m, const struct nlmsghdr *nlh);
void mirror_neighs_sweep(struct mirror *m, uint8_t family);

/* mirror_nexthop.c: sets and objects. */
void nexthops_init(struct mirror *m);
void nexthops_free(struct mirror *m);
int nexthop_message(struct mirror *m, const struct nlmsghdr *nlh);
void mirror_nexthops_sweep(struct mirror *m);
/* Groups anew from their members. */
void mirror_nexthops_settle(struct mirror *m);
/* The set of these ways, sorted in place, or the object; with a reference for the caller. NULL: no memory. */
struct nexthop_set *nexthop_set_get(struct mirror *m, struct kroute_nexthop *nh, size_t n);
struct nexthop_set *nexthop_object_get(struct mirror *m, uint32_t id);
void nexthop_set_put(struct mirror *m, struct nexthop_set *s);
bool nexthop_same(const struct kroute_nexthop *a, const struct kroute_nexthop *b);
bool nexthop_set_uses(const struct nexthop_set *s, int ifindex);
bool nexthops_use(const struct mirror *m, int ifindex); /* does any set that a route uses? */
void nexthops_link_changed(struct mirror *m, int ifindex);
/* Before the walk: marks the sets that use one of the plan's devices. After it: takes the marks off, frees what is gone. */
void nexthops_walk_begin(struct mirror *m);
void nexthops_walk_end(struct mirror *m);

/* mirror_route_msg.c: one route as a message tells it; `nh` is the mirror's scratch array. */
struct route_msg {
	struct prefix to, from; /* from: of length 0: from anywhere */
	uint32_t table, metric, mtu, sig;
	uint32_t object; /* id of a nexthop object; 0: none, `nh` counts */
	__be32 src;
	uint8_t type, protocol, tos, flags; /* flags: ALT_* */
	struct kroute_nexthop *nh;
	size_t n;
};
/* 1: *ret is filled; 0: no route for the mirror (a cached one, or malformed); -ENOMEM. */
int route_parse(struct mirror *m, const struct nlmsghdr *nlh, struct route_msg *ret);
/* It is for one TOS or one source prefix alone. */
static inline bool route_left_out(const struct route_msg *msg)
{
	return msg->tos || msg->from.len;
}
/* Room for n nexthops in the scratch array, zeroed; NULL: no memory. */
struct kroute_nexthop *mirror_scratch(struct mirror *m, size_t n);

/* mirror_route.c */
void routes_init(struct mirror *m);
void routes_free(struct mirror *m);
int route_message(struct mirror *m, const struct nlmsghdr *nlh, bool dump);
/* The alternatives of one route, of which nobody is told here: as a message says, with one that came, or without those that it
 * takes away; without those that a walk drops (*ret_dirty: one that stays uses a set that is another now). 0 or -ENOMEM. */
int route_put_in(struct mirror *m, struct route *r, const struct route_msg *msg, unsigned nlmsg_flags, bool dump);
int route_take_out(struct mirror *m, struct route *r, const struct route_msg *msg);
int route_sweep(struct mirror *m, struct route *r, bool *ret_dirty);
void route_free_alts(struct route *r); /* their references stay */
/* As the mirror shows a route with this alternative. */
void route_view(const struct route *r, const struct route_alt *a, struct kroute *ret);
/* The walk over all routes: drops what the plan's dumps should have shown and have not, and what uses a nexthop object that is
 * gone; tells again what uses a changed set. At most `max` routes a call; true: all done. */
bool routes_walk(struct mirror *m, size_t max);

/* mirror_left_out.c: routes that are known and not followed. */
void mirror_left_out_init(struct mirror *m);
void mirror_left_out_free(struct mirror *m);
/* RTM_NEWROUTE or RTM_DELROUTE of one of these. 0 or -ENOMEM. */
int mirror_left_out_message(struct mirror *m, const struct route_msg *msg, uint16_t type, unsigned nlmsg_flags, bool dump);
void mirror_left_out_sweep(struct mirror *m); /* a walk over these, at the end of the other's */

/* mirror_route_alt.c: the alternatives of one route. References of a `struct route_alt` that is handed over are used up. */
void sources_init(struct mirror *m);
void sources_free(struct mirror *m);
bool routes_prefer(const struct mirror *m, __be32 src); /* does an IPv4 route prefer this source? */
/* As a message tells it; with references. */
int alt_make(struct mirror *m, const struct route_msg *msg, struct route_alt *ret);
void alt_release(struct mirror *m, struct route_alt *a);
void alt_drop(struct mirror *m, struct route *r, struct route_alt **at);
/* Puts `a` where the event with these flags says. */
int alt_place(struct mirror *m, struct route *r, struct route_alt *a, unsigned nlmsg_flags);
/* A dump of everything shows the alternatives of a route one after the other: the mirror takes over their order. */
int alt_place_dumped(struct mirror *m, struct route *r, struct route_alt *a);
/* 1: what the deletion means is taken out; 0: no such route is known. */
int alt_take_out(struct mirror *m, struct route *r, const struct route_msg *msg, const struct route_alt *like);
/* Takes single ways out of a multipath route; weights do not count. 0: none of them was there. */
int alt_without(struct mirror *m, struct route *r, struct route_alt **at, const struct kroute_nexthop *gone, size_t n_gone);

#endif
