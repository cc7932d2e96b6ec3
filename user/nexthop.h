/* nexthop.h: ways out: nexthops and groups of them (ECMP), in the tables `nexthops`, `nhgs` and `nhg_buckets`.
 *
 * Stands between rib.c, which knows which nexthops a route has, and bpf/route.h and bpf/ecmp.h. Everything is counted by its
 * users; equal contents share one id. Ids survive a restart: nexthop_open() reads the tables back, and who asks for a content
 * that is there gets the id it had.
 *
 * Buckets are resilient. A group has at least 16 of them for each member, and so many that shares are within 1/32 of the weights;
 * a member that leaves gives away its own and no other moves, one that joins takes its share and no more. A member leaves when it
 * is not `alive` (its link is down, its gateway does not answer), unless none is left, for then the last ones are as good as any.
 * Buckets change one at a time, by single stores: a packet sees the old nexthop or the new one.
 *
 * Those of a drained nexthop are given to the others at once for what is new and will have a flow entry, which remembers its
 * nexthop. Packets of which nothing remembers the way have but the bucket: it is held (NHG_HELD) until no packet came for a
 * while of a flow that would be moved, as in the kernel's resilient groups (net/ipv4/nexthop.c). Meanwhile the data plane notes
 * which flows were there and which begin, so that these go elsewhere at once (bpf/held.h).
 */
#ifndef SLUICE_NEXTHOP_H
#define SLUICE_NEXTHOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sluice/abi.h>

#define NHG_MEMBERS 512 /* of one group */

struct nexthops;

/* What makes two nexthops the same one. `gateway` and `family` are 0 but for NEXTHOP_GATEWAY. */
struct nexthop_key {
	uint8_t type; /* enum nexthop_type */
	uint8_t family;
	uint16_t iface;
	uint32_t mtu;
	struct addr gateway;
};

struct nhg_member {
	uint32_t nexthop; /* id */
	uint32_t weight;  /* 1.. */
};

/* Memory of the three maps (or the tests' own) and their numbers of elements. -ENOMEM. */
int nexthop_open(struct nexthop *nexthops, uint32_t n_nexthops, struct nhg *groups, uint32_t n_groups, struct nhg_bucket *buckets,
		 uint32_t n_buckets, struct nexthops **ret);
/* The table of notes about flows whose buckets are held; before groups are used. -EINVAL: it has another size. */
int nexthop_notes(struct nexthops *ns, struct held_unit *held, uint32_t n);
/* The table of the groups' interfaces, kept along from now on. */
void nexthop_ifaces(struct nexthops *ns, struct nhg_ifaces *ifaces, uint32_t n);
/* The table of pairs; without one there are none. -ENOMEM. */
int nexthop_pairs(struct nexthops *ns, struct nexthop_pair *pairs, uint32_t n);
void nexthop_close(struct nexthops *ns); /* takes NULL; the tables stay */

/* A nexthop with this content, for one more user. *ret_new: nobody used it before. -E2BIG: the table is full. */
int nexthop_use(struct nexthops *ns, const struct nexthop_key *key, uint32_t *ret_id, bool *ret_new);
/* A group of these (order and doubles do not matter), for one more user. A new one starts with the buckets of group `like` (0:
 * none), so that flows stay on the members both have. Takes a use of each member. `owner`: 0, or a number by which a later life
 * knows the owner of a group that nobody else is given, and that may change. -E2BIG; -EAGAIN: there may be room in a moment, when
 * no packet is under way any more by groups that are gone. */
int nhg_use(struct nexthops *ns, const struct nhg_member *m, size_t n, uint32_t like, uint32_t owner, uint32_t *ret_id);
/* The group that an owner has gets these members, for whoever uses it and for one more user: in one store, after which no packet
 * is sent by what it was before. *ret_changed: they are others. -E2BIG, -EAGAIN (as above), -ENOMEM: nothing is
 * changed. */
int nhg_change(struct nexthops *ns, uint32_t id, const struct nhg_member *m, size_t n, bool *ret_changed);
/* One more user of a FIB result that has one. */
void nexthop_reuse(struct nexthops *ns, uint32_t result);
/* One user less, of a FIB result: group or nexthop. The id is free when nexthop_sweep() finds it unused. */
void nexthop_unuse(struct nexthops *ns, uint32_t result);
/* After the FIB was committed: what nobody uses retires, and may be used for something else at a later call when a grace period
 * asked for then is over: no packet that read its id is still under way. */
void nexthop_sweep(struct nexthops *ns);

/* A FIB result for one more user that stands for two others, of which it holds a use: `first`, and `second` while nothing can
 * leave by that. `now`: the one that a new pair leads to until nexthop_pairs_settle(). -E2BIG: there is no room; -ENOMEM. */
int nexthop_pair_use(struct nexthops *ns, uint32_t first, uint32_t second, uint32_t now, uint32_t *ret);
bool nexthop_is_pair(const struct nexthops *ns, uint32_t result, uint32_t *ret_first, uint32_t *ret_second);
uint32_t nexthop_pairs_count(const struct nexthops *ns); /* that stand in the table; */
uint32_t nexthop_pairs_room(const struct nexthops *ns);	 /* for so many more there is room */
bool nexthop_pairs_unused(const struct nexthops *ns);	 /* some are to be given up by further calls of nexthop_sweep() */
/* What packets take whose FIB result this is: of a pair one of the two, else itself. */
uint32_t nexthop_now(const struct nexthops *ns, uint32_t result);
/* Each pair leads to its second result if nothing can leave by the first, and by the second it can. True: some lead elsewhere
 * now. */
bool nexthop_pairs_settle(struct nexthops *ns, bool (*leads)(const void *arg, uint32_t result), const void *arg);

/* Writes MAC (NULL: none) and NEXTHOP_F_* in one store. True: something changed. */
bool nexthop_set_state(struct nexthops *ns, uint32_t id, const uint8_t *mac, uint16_t flags);
/* Whether groups shall use it; takes effect in nexthop_settle(). */
void nexthop_set_alive(struct nexthops *ns, uint32_t id, bool alive);
/* No new connections for it, in groups that have others, since then (CLOCK_BOOTTIME, seconds; 0: it is not drained). Flows that
 * know it stay; its buckets are held for what has no flow. Takes effect in nexthop_settle(). */
void nexthop_set_drained(struct nexthops *ns, uint32_t id, uint64_t since_s);
/* Moves the buckets of groups whose members came to life or died. True: some moved. */
bool nexthop_settle(struct nexthops *ns);

/* When a bucket that is held for a drained nexthop goes to the one that takes what is new: nobody used it for so long (words and
 * meaning as of the kernel's resilient groups, idle_timer and unbalanced_timer in ip-nexthop(8)). */
struct nexthop_idle {
	uint32_t now_ms; /* any clock; it may turn over */
	uint32_t idle_ms;
	uint64_t now_s;	       /* CLOCK_BOOTTIME */
	uint32_t unbalanced_s; /* after the drain began it goes in any case; 0: never */
	uint64_t now_ns;       /* CLOCK_MONOTONIC */
};

/* Looks at the buckets that are held, at `max` of them and the rest of a group; those that are idle go. True: at all of them; the
 * next call begins anew. */
bool nexthop_idle(struct nexthops *ns, const struct nexthop_idle *idle, uint32_t max);
bool nexthop_holding(const struct nexthops *ns); /* there may be some */
/* Buckets that it has still, in groups in use. Counted for all at once when something has changed since. */
uint32_t nexthop_held(struct nexthops *ns, uint32_t id);
/* Of a drained one: flows that were there as it was drained and did not pause since, as nexthop_idle() has counted them; what NAT
 * tracks does not count. Some may be missing, where the notes have no room. */
uint32_t nexthop_old_flows(const struct nexthops *ns, uint32_t id);

const struct nexthop *nexthop_at(const struct nexthops *ns, uint32_t id); /* NULL: not in use */
uint32_t nexthop_end(const struct nexthops *ns);			  /* ids in use are below */
/* The members of a group, and in ret_buckets (may be NULL) how many buckets each has. 0: no such group. */
size_t nhg_members(const struct nexthops *ns, uint32_t group, const struct nhg_member **ret, uint32_t *ret_buckets, size_t max);
/* By how many percent of what its weight says the share of a member is off, of the one that is off most; those alone that take
 * new connections. */
uint32_t nhg_off_percent(const struct nexthops *ns, uint32_t group);

/* A connection's first packet as it comes in; ports in wire order, see struct flow_key4 for ICMP. */
struct nhg_flow {
	struct addr saddr, daddr;
	__be16 sport, dport;
	uint8_t proto;
};

/* The data plane's hash of it. `policy`: enum ecmp_hash. */
uint32_t nhg_hash(const struct nhg_flow *f, uint8_t policy, uint32_t seed);
/* ECMP_INNER may look into such a packet: the hash is then of what is inside (bpf/tunnel.h). */
bool nhg_may_be_tunnel(uint8_t proto, __be16 dport);
/* The nexthop that the hash chooses now; `before`: the one its flow was decided for, or 0. 0: no such group. *ret_former: the
 * drained one that packets without a flow take still; 0: none. */
uint32_t nhg_choose(const struct nexthops *ns, uint32_t group, uint32_t hash, uint32_t before, uint32_t *ret_former,
		    uint32_t *ret_bucket, uint32_t *ret_n);

/* Of a flow whose bucket is held for `former`, and goes to `next`: which of the two (or of others that were drained in their
 * turn) takes it, unless it begins now; `now_ns`: CLOCK_MONOTONIC. */
uint32_t nhg_held_choose(const struct nexthops *ns, uint32_t group, const struct nhg_flow *f, uint16_t vrf, uint8_t policy,
			 uint32_t former, uint32_t next, uint64_t now_ns);

/* The pure part: hands n buckets to the members (sorted by id) by weight, moving as few as can be. True: some moved. */
bool nhg_balance(struct nhg_bucket *b, uint32_t n, const struct nhg_member *m, size_t n_members);

#endif
