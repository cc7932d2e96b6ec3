/* nat_priv.h: what the parts of NAT's control plane share: nat.c (life), nat_list.c (listing), nat_plan.c (what the model asks
 * for), nat_apply.c (into the tables), nat_sweep.c (ports and mappings that nobody holds any more).
 *
 * Only these files include it, flow_age.c for the sweep, and those that move flows to another gateway.
 */
#ifndef SLUICE_NAT_PRIV_H
#define SLUICE_NAT_PRIV_H

#include "hash.h"
#include "nattab.h"
#include "sw.h"

/* The elements of `pool_members`: an mmap-ed array has a stride of 8 bytes. */
struct pool_member {
	uint32_t pool_addr;
	uint32_t pad;
};

/* With whom the gateway itself speaks a protocol without ports; 0.0.0.0, ::: with all. */
struct nat_host_peer {
	struct addr peer;
	uint32_t proto;
	bool marked; /* in `dnat` */
};

struct nat_host_list {
	struct nat_host_peer *v;
	size_t n, room;
	uint64_t begun_ns; /* when it began to be read */
};

/* A rule's number, which its flows bear; stable by name as long as the instance lives. */
struct nat_rule_id {
	struct hash_node node; /* in nat.by_name, if it has a name */
	char name[SLUICE_LABEL];
	bool alive;	   /* in the running model */
	bool wanted;	   /* in the model that is being reconciled */
	bool keep;	   /* flows outlive it */
	bool planned;	   /* what follows is known; not of a rule of the tables that this process has found */
	bool filters;	   /* an snat rule: it says who is let in */
	bool limits;	   /* it limits what a host has of it */
	uint8_t filtering; /* enum nat_filtering */
	char to_vrf[SLUICE_LABEL];
	uint64_t to_vrf_ns; /* when that was changed; 0: never */
	struct nat_timeouts timeouts;
};

struct nat {
	const struct sw *sw;
	struct pool *pools;	     /* mmap-ed, POOL_MAX */
	struct pool_member *members; /* mmap-ed, two banks of POOL_MEMBER_MAX */
	struct pool_addr *addrs;     /* mmap-ed, POOL_ADDR_MAX */
	struct pool_ports *ports;    /* mmap-ed, POOL_PORTS_MAX */
	struct snat_rule *snat;	     /* mmap-ed, two banks of SNAT_RULE_MAX */
	struct nat_filter *filter;   /* mmap-ed */
	struct nattab tab;	     /* the mappings */
	struct table *dnat, *peers, *ifaces, *statics, *used, *counted;
	struct nat_plan_dnat *dnat_put; /* what `dnat` has of a plan, sorted; */
	size_t n_dnat_put;
	bool dnat_whole;  /* all of it was written, and nothing since */
	bool has_limits;  /* some rule has: hosts are counted */
	bool has_remotes; /* some rule filters by remote address: `nat_peers` has entries for those */
	bool has_runs;	  /* some pool has */
	bool counting;
	struct hash hosts;
	void *hosts_noted;	     /* a cursor: which of `used` are in `hosts` */
	struct hash_iter hosts_told; /* which of `hosts` have been told to the data plane */
	bool own[POOL_ADDR_MAX];     /* slots that are an interface's address */
	bool own_is_open;	     /* a rule lets others in there than those a flow has sent to */
	struct nat_rule_id *rules;   /* index: id - 1; room for all there can be */
	size_t n_rules;
	struct hash by_name; /* of `rules` */
	uint64_t names;	     /* the hash of what the file says of them */
	bool names_new;	     /* that may not be what they are */
	unsigned bank;	     /* of `members` in force */
	struct nat_sweep *sweep;
	uint32_t run_used[POOL_MAX][POOL_CLASSES]; /* ports of runs that each pool's mappings held in the last pass */
	struct nat_log *log;
	struct nat_top *top;
	struct nat_own *sockets;   /* the host's own */
	struct nat_host_list host; /* its own peers, as the marks in `dnat` say */
	bool host_known;	   /* `host` says what is in the table */
	int host_err;		   /* it is not, since: */
	int sockets_err;	   /* of the last try to read its sockets */
	size_t host_unmarked;	   /* and so many have no mark */
	uint32_t changes;	   /* how often it was reconciled: flows may have lost their rule or address */
	/* For a listing that was begun before: */
	uint32_t reconciled; /* how often, so that pools may be others */
	uint32_t commits;    /* how often for a configuration, so that rules may be as well */
};

/* ---- nat_plan.c: what the model, and the addresses that interfaces have now, ask for. */

struct nat_plan_pool {
	char name[SLUICE_LABEL];
	uint16_t id;
	uint16_t port_min, port_max;
	char rule[SLUICE_LABEL];    /* that asked for it first, for messages */
	size_t first, n;	    /* in nat_plan.members */
	size_t at;		    /* in a bank of `pool_members` */
	size_t n4;		    /* the IPv4 ones come first */
	const struct nat_cfg *runs; /* the rule whose pool it is, if its members are pieces of runs; else NULL */
	bool masq;		    /* the addresses are an interface's own */
};

/* A single address (`at` 0, `n` 1), or `n` addresses of a run from the `at`-th on. */
struct nat_plan_member {
	size_t addr; /* index in nat_plan.addrs */
	uint32_t at, n;
};

struct nat_plan_addr {
	struct addr addr;
	uint32_t run; /* so many addresses from this one on; 0: a single one */
	/* Of a run: the address that counts as its 1st, and the slot it has, plus 1; 0: it gets one. */
	struct addr origin;
	uint32_t has_slot;
	uint16_t vrf;
	uint32_t slot;	  /* in `pool_addrs` */
	bool own;	  /* an interface's */
	int host_ifindex; /* where the host must answer for it; 0: it is an interface's own, or in no connected prefix */
};

struct nat_plan_dnat {
	struct dnat_key key;
	struct dnat_rule rule;
};

struct nat_plan_static {
	struct nat_static_key key;
	struct nat_static value;
	const struct nat_cfg *cfg;
};

/* Of a run: a prefix of its addresses. */
struct nat_plan_run {
	struct nat_static_key key;
	size_t addr; /* index in nat_plan.addrs */
};

struct nat_plan {
	struct nat_plan_pool *pools;
	size_t n_pools;
	struct nat_plan_member *members;
	size_t n_members, n_elements; /* and how many of `pool_members` they take */
	struct nat_plan_addr *addrs;
	size_t n_addrs;
	struct snat_rule snat[SNAT_RULE_MAX];
	size_t n_snat;
	struct nat_plan_dnat *dnat; /* sorted by key, no doubles */
	size_t n_dnat;
	uint16_t masq[IFACE_MAX]; /* interface id -> index + 1 in pools; 0: none */
	bool outside[IFACE_MAX];  /* a rule names the interface as its way out */
	struct nat_plan_static statics[SNAT_RULE_MAX];
	size_t n_statics;
	struct nat_plan_run *runs; /* sorted by key, no doubles */
	size_t n_runs;
	bool has_remotes;
	bool has_limits;
	bool own_is_open; /* a rule masquerades, and lets others in than those a flow has sent to */
	bool event;	  /* not a change of the configuration: forwards that were written before are not asked for again */
};

int nat_plan_make(struct sw *sw, struct nat_plan *ret, struct errs *errs);
/* In the plan, which is sorted; NULL. */
struct nat_plan_dnat *nat_plan_dnat_find(const struct nat_plan *plan, const struct dnat_key *key);
void nat_plan_free(struct nat_plan *plan);

/* ---- nat_hairpin.c: into the marks and static rules, which way a packet to their address would leave. */
void nat_plan_hairpin(struct sw *sw, struct nat_plan *plan);

/* ---- nat_apply.c: into the tables, in an order that no packet meets a rule before its pool, or a pool before its address. */
int nat_apply(struct sw *sw, struct nat_plan *plan, struct errs *errs);

/* ---- nat_forward.c: a part of that. Every address of the plan has its slot. */
int nat_forwards_put(struct nat *nat, struct nat_plan *plan, struct errs *errs);

/* ---- nat_filter.c: before the first rule is changed, and after the last one. */
int nat_filter_widen(struct nat *nat, const struct nat_plan *plan);
void nat_filter_settle(struct nat *nat, const struct nat_plan *plan);

/* ---- nat.c */
/* The id for a rule's name, given or made; 0: all are taken. Marks it as wanted. */
uint16_t nat_rule_take(struct nat *nat, const char *name);
/* The number has this name from now on, and nothing else of a rule. -ENOMEM. */
int nat_rule_id_set(struct nat *nat, uint16_t id, const char *name);
/* nat_names.c: names of rules that are in no table any more; before those of the tables are read, and whenever some may have
 * changed.
 */
int nat_names_load(struct nat *nat);
void nat_names_save(struct nat *nat);
void nat_rule_options(struct nat *nat, uint16_t id, const struct nat_cfg *cfg);
/* Whom the rule lets in to its mappings, enum nat_filtering: nobody, where it is gone. False: nobody knows yet. */
bool nat_rule_filtering(const struct nat *nat, uint16_t id, uint8_t *ret);
bool nat_pool_has(const struct nat *nat, uint32_t pool, uint32_t pool_addr);
bool nat_gives_out(const struct nat *nat, uint32_t pool_addr); /* some pool has it */
/* Which address a POOL_ID stands for. False: none. */
bool nat_addr_of(const struct nat *nat, uint32_t pool_addr, struct addr *ret);
/* The POOL_ID that an address has in a VRF, or in a pool; POOL_ADDR_NONE. */
uint32_t nat_addr_find(const struct nat *nat, const struct addr *a, uint16_t vrf);
uint32_t nat_pool_find(const struct nat *nat, uint32_t pool, const struct addr *a);
/* A pool's members, i from 0 on: the POOL_ID of the first address of each, and how many there are of it. */
uint32_t nat_pool_members(const struct pool *p);
uint32_t nat_pool_member(const struct nat *nat, const struct pool *p, uint32_t i, uint32_t *ret_n);
static inline struct pool_ports *nat_ports(const struct nat *nat, uint32_t pool_addr, unsigned class)
{
	return &nat->ports[pool_addr * POOL_CLASSES + class];
}

/* ---- nat_hold.c */
/* Is a flow from this address to the mapping let in, by the mapping's filtering? */
bool nat_lets_in(const struct nat *nat, const struct nat_mapping *m, const struct addr *remote);
/* Is it an address of a netdev here? */
bool nat_host_has(const struct sw *sw, const struct addr *a);

/* ---- nat_explain.c */
/* The source rule whose a mapping is, where the packet leaves (or would) by this interface, 0: by any: the one that is asked
 * first of its source, if that gives addresses of its pool wherever packets go. 0: another decides, or it is not sure. */
uint16_t nat_rule_giving(const struct nat *nat, const struct nat_mapping_key *k, uint16_t out_iface);
/* The forwards that would take a packet to the key's address, protocol and port (`block` 0), the most particular first, as the
 * data plane looks for them. *at: 0 at first. False: there are no more. */
bool nat_dnat_next(const struct nat *nat, const struct dnat_key *asked, unsigned *at, struct dnat_rule *ret);
/* The port that a forward gives in place of one, in wire order both. */
__be16 nat_dnat_port(const struct dnat_rule *rule, __be16 dport);
/* The first `len` bits of `to`, the others of `a`. */
struct addr nat_addr_moved(const struct addr *to, unsigned len, const struct addr *a);

/* ---- nat_sweep.c: who holds a port is a flow, by its mapping. Once in a pass of flow.c over the flows:
 *
 *   begin, note: notes which ports are held, some addresses at a time
 *   flow    (every flow) its port, and that of the mapping it goes to, is held rightly; one that was not marked as held is marked
 * again mapping (every mapping) one that a flow uses, or that was used just now, stays; else it goes. Either way its port stays
 *   end     some addresses at a time: what is left of the note is free again: neither a flow nor a mapping has it. But for what
 * the data plane has given back meanwhile: it may be somebody's anew, whose mapping was made behind the cursor
 *
 * So a port returns a pass after its mapping went, when no packet can still be using the mapping, and whatever was left over
 * by a crash returns as well. Between the last note and the first end, and between end and begin, there must be some
 * milliseconds: a port that the data plane took, or began to give back, just before either has its mapping, or is free, by the
 * other. */
int nat_sweep_open(struct nat *nat);
void nat_sweep_close(struct nat *nat);
void nat_sweep_begin(struct nat *nat, uint64_t now_ns);
bool nat_sweep_note(struct nat *nat); /* half a millisecond's work. True: there is more */
void nat_sweep_flow(struct nat *nat, uint32_t pool_addr, uint8_t proto, uint16_t port /* host order */);
bool nat_port_is_held(const struct nat *nat, uint32_t pool_addr, uint8_t proto, uint16_t port); /* those of runs are */
void nat_sweep_hold(struct nat *nat, uint32_t pool_addr); /* what is held of the address now stays so in this pass */
/* Some slots of the mappings' table from *at on. True: there are more. */
bool nat_sweep_mappings(struct nat *nat, uint32_t *at, uint32_t max);
void nat_sweep_stop(struct nat *nat); /* the pass is given up; the next one may be over another table */
/* table_each_some() over `nat_peers`, when mappings have gone: entries that lead to none go too. *cursor NULL: the end. */
int nat_sweep_peers(struct nat *nat, void **cursor, size_t max);
/* Is the address still the one that the POOL_ID (+ 1) stands for? */
bool nat_is_addr(const struct nat *nat, uint32_t id1, const struct addr *a);
void nat_sweep_peers_soon(struct nat *nat); /* in this pass, whenever it was done last */
/* Where the flow, which has just ended, was the only one that was ever opened through its mapping, that ends too, and its port is
 * free at once: as for who gives way in the data plane. Not while there are two tables. */
void nat_mapping_end(struct nat *nat, const struct flow_tuple *forward, const struct flow *f);
bool nat_sweep_end(struct nat *nat); /* as nat_sweep_note(); two milliseconds where tens of thousands of ports are given back */
/* The number of the rule whose the mapping is: the one that it bears, unless that is a forward's or a static rule's, or gone. */
uint16_t nat_mapping_rule(const struct nat *nat, const struct nat_mapping *m);
bool nat_ports_scarce(const struct nat *nat); /* an address had hardly a port left when the last pass began */

/* ---- nat_limit.c: what inside hosts have; called by the sweep, but for the sessions, which flow_age.c shows. */
void nat_limit_open(struct nat *nat);
void nat_limit_close(struct nat *nat);
void nat_limit_begin(struct nat *nat);
bool nat_limit_note(struct nat *nat, size_t max); /* so many hosts. True: there are more */
void nat_limit_stop(struct nat *nat);
/* From here on is counted what this host has of the rule, if the rule has limits. -E2BIG, …: it cannot be. */
int nat_limit_host(struct nat *nat, uint16_t rule, const struct addr *inside, uint16_t vrf);
void nat_limit_add(struct nat *nat, uint16_t rule, const struct addr *inside, uint16_t vrf, bool port);
bool nat_limit_end(struct nat *nat, size_t max); /* as nat_limit_note() */

/* ---- nat_top.c: mappings by inside host, called by the sweep. */
int nat_top_open(struct nat *nat);
void nat_top_close(struct nat *nat);
void nat_top_begin(struct nat *nat);
void nat_top_add(struct nat *nat, const struct addr *inside, uint16_t vrf);
void nat_top_end(struct nat *nat);
json_t *nat_top_show(const struct sw *sw); /* {"total", "hosts", "top": [{"address", "vrf", "mappings"}]} */

/* ---- nat_syslog.c: one line to the logger. *fd: its socket, -1 at first. 0, or -errno: the line is lost. */
int nat_syslog(int *fd, const char *text);
int nat_syslog_ready(int *fd); /* would one take a line now? 0, or -errno */

/* ---- nat_log.c: sessions and refusals, written down. */
int nat_log_open(struct sw *sw);
void nat_log_close(struct nat *nat);
int nat_log_reconcile(struct sw *sw, struct errs *errs);
json_t *nat_log_show(const struct sw *sw);

/* ---- nat_own.c */
int nat_own_open(struct nat *nat); /* -ENOMEM */
void nat_own_close(struct nat *nat);
/* At the beginning of a sweep, and when an address has been noted: the host's own ports on it are held. */
void nat_own_begin(struct nat *nat);
void nat_own_hold(struct nat *nat, uint32_t slot);
/* An address as /proc/net has it: words of wire order, printed as numbers of this machine. -EINVAL. */
int nat_own_addr(const char *hex, struct addr *ret);

/* ---- nat_host.c */
/* The host's raw sockets and IPsec states; for a thread. -ENOMEM, -EMFILE, …: those that could be read. */
int nat_host_read(struct nat_host_list *l);
/* What became of reading the host's sockets: 0, or an error, said once. */
void nat_host_sockets(struct nat *nat, int err);
/* They and the tunnels become the marks. `next`: what was read; it is another list afterwards. `unread`: the error where it is
 * not all: then no mark goes. */
void nat_host_settle(struct nat *nat, struct nat_host_list *next, int unread);
void nat_host_close(struct nat *nat);
bool nat_host_is_mark(const struct dnat_key *key); /* one of those: no rule's */
/* May no flow have the address `own` towards the peer, since the host speaks the protocol there? */
bool nat_host_wants(const struct nat *nat, uint8_t proto, const struct addr *own, uint16_t vrf, const struct addr *peer);

/* Frees a port in the bitmaps; as pool.h's. */
void nat_port_free(struct pool_ports *p, unsigned port);

#endif
