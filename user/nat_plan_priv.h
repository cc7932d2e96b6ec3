/* nat_plan_priv.h: what the parts of the plan share: nat_plan.c (source rules, and all of it in order), nat_plan_pool.c
 * (addresses and pools), nat_plan_run.c (large pools), nat_plan_prefix.c (where packets to those find them), nat_plan_dnat.c
 * (forwards, static rules, marks).
 *
 * Only these files include it. What returns an int is 0 or -errno, said in `errs` where somebody can do something about it.
 */
#ifndef SLUICE_NAT_PLAN_PRIV_H
#define SLUICE_NAT_PLAN_PRIV_H

#include "nat_priv.h"

#define PLAN_MARKED 4096
#define PLAN_KNOWN  (4 * POOL_ADDR_MAX)

/* An interface's addresses, in plan.own_addrs. */
struct plan_own {
	size_t first, n;
	bool known;
};

/* An address of the gateway's own. */
struct plan_gateway {
	struct addr addr;
	uint16_t vrf;
};

struct plan {
	struct sw *sw;
	struct nat_plan *out;
	struct errs *errs;
	const struct nat_cfg *cfg; /* the rule at hand */
	uint16_t rule, vrf;
	bool masqueraded[VRF_MAX]; /* of all interfaces of the VRF there are pools, by plan_masquerade_all() */
	/* Of thousands of rules few translate sources, and each may ask whose an address is. */
	const struct nat_cfg **snats;
	size_t n_snats;
	struct plan_gateway *gateways; /* sorted */
	size_t n_gateways;
	struct plan_form *forms; /* nat_plan_run.c's: by the order of `snats` */
	struct plan_own own[IFACE_MAX];
	struct addr *own_addrs;
	size_t n_own_addrs;
	uint32_t marked[PLAN_MARKED]; /* by hash: where in nat_plan.dnat one of the marks is, + 1 */
	uint16_t known[PLAN_KNOWN];   /* by hash: where in nat_plan.addrs an address is that is no run's, + 1 */
};

/* ---- nat_plan.c */

/* Room for one more of an array that grows by doubling. NULL: no memory, and the array is as it was. */
void *plan_grow(void *v, size_t n, size_t size);
/* -EINVAL, said of a key of the rule at hand, or of the rule (NULL). `fmt` takes `what`. */
int plan_bad(struct plan *p, const char *key, const char *fmt, const char *what);
void plan_snat_prefix(const struct prefix *prefix, struct addr *ret, uint8_t *ret_len, uint8_t *family);
/* A source rule for each interface that the rule at hand names. */
int plan_snat_out(struct plan *p, const struct snat_rule *r);

/* ---- nat_plan_pool.c */

int plan_gateways(struct plan *p);				  /* before the first rule */
bool plan_is_gateway(const struct plan *p, const struct addr *a); /* an interface's of the rule's VRF */
bool plan_is_global6(const struct addr *a);
/* NAT itself has put the address on the netdev, so that the host answers for it. */
bool plan_is_nats(const struct nat *nat, int ifindex, const struct addr *a);
/* The netdev that must answer ARP or ND for an address: of the interface in whose prefix it lies; 0: none. */
int plan_host_ifindex(const struct plan *p, const struct addr *a);
struct addr plan_addr_next(struct addr a);
/* An address of NAT, once; *ret is its index. `own`: an interface's. */
int plan_addr(struct plan *p, const struct addr *a, bool own, size_t *ret);
/* The pool of the addresses that the rule at hand names; *ret is its index. */
int plan_pool(struct plan *p, size_t *ret);
/* The pool that masquerades to an interface's own address. `has_ports`: the rule at hand says which ports. */
int plan_masquerade(struct plan *p, uint16_t iface, bool has_ports);

/* A run of `a->run` addresses. */
int plan_addr_add(struct plan *p, const struct nat_plan_addr *a);
/* The name of the rule's pool. */
void plan_pool_name(const char *rule, char ret[SLUICE_LABEL]);
int plan_member_run(struct plan *p, struct nat_plan_pool *pool, size_t addr, uint32_t at, uint32_t n);

/* ---- nat_plan_run.c */

/* Which rules have pools that are made of runs, because there are not slots enough for all addresses. */
int plan_run_choose(struct plan *p);
bool plan_has_runs(const struct plan *p); /* the rule at hand */
/* Those pools, when all other addresses are known. */
int plan_run_pools(struct plan *p);

/* ---- nat_plan_prefix.c: of all members that are runs', when they and the static rules are known. */
int plan_prefixes(struct plan *p);

/* ---- nat_plan_dnat.c */

int plan_dnat(struct plan *p);
int plan_static(struct plan *p);
/* Every address of a rule or pool is marked: the data plane asks for forwards and mappings only of those. */
int plan_marks(struct plan *p);
int plan_dnat_sort(struct nat_plan *o); /* by key, the earlier one of two equal ones */

#endif
