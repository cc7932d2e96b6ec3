/* route_get_priv.h: one question of `sluice route get` and what has been found out, for the files route_get*.c alone: route_get.c
 * (the order of the stages, the answer), route_get_query.c (the question), route_get_check.c (packets that are never routed, the
 * reverse path), route_get_nat.c (flow, NAT), route_get_way.c (the route, the way out).
 */
#ifndef SLUICE_ROUTE_GET_PRIV_H
#define SLUICE_ROUTE_GET_PRIV_H

#include <sluice/drop.h>
#include "route_priv.h"

struct route_get {
	struct routes *rs;
	json_t *o;
	struct nat_packet p; /* as it comes in */
	bool has_from, has_proto;
	/* found out */
	struct nat_packet to;	  /* as it leaves, but for the source; `vrf`: where the way out is looked up */
	struct nat_found forward; /* what a rule makes of its destination */
	struct flow flow;
	bool has_flow;
	bool host; /* it is for the host */
	enum drop_reason drop;
	struct rib_view route;
	bool has_route;
	uint32_t nexthop; /* 0: not known */
};

/* A member of the answer; NULL: it has none. */
void route_get_text(json_t *o, const char *key, const char *text);
/* The first reason is the one that counts. */
void route_get_drop(struct route_get *g, enum drop_reason why);

/* route_get_query.c: -errno with words. */
int route_get_parse(struct route_get *g, const struct route_query *q, struct errs *errs);
void route_get_repeat(struct route_get *g);

/* route_get_check.c */
void route_get_martians(struct route_get *g);
void route_get_reverse_path(struct route_get *g);
void route_get_own_source(struct route_get *g); /* one that only the switch may have, or nobody */
/* The nexthop or group that packets to it take, as the data plane finds it; 0: no route. */
uint32_t route_get_result(const struct route_get *g, uint16_t vrf, const struct addr *a);
bool route_get_link_local4(const struct addr *a);

/* route_get_nat.c */
void route_get_flow(struct route_get *g);
void route_get_destination(struct route_get *g);
void route_get_source(struct route_get *g);

/* route_get_way.c */
void route_get_route(struct route_get *g);
void route_get_out(struct route_get *g);
enum drop_reason route_get_refusal(uint8_t type); /* what becomes of packets to a nexthop of this type that is no way out */

#endif
