/* cut.h: the pair of netdevs that takes packets of several datagrams apart (cut.c). */
#ifndef SLUICE_CUT_H
#define SLUICE_CUT_H

#include "sw.h"

#define CUT_ALIAS "/cut" /* what follows sluice:INSTANCE: in its alias */

int cut_open(struct sw *sw, struct errs *errs);
void cut_close(struct sw *sw); /* takes NULL */
/* Makes it, or takes it away. Before the ports: its one end is one. */
int cut_reconcile(struct sw *sw, struct errs *errs);
/* A route has an MTU: from now on there is a pair. */
void cut_route_mtu(struct sw *sw);
/* Is the netdev an end of it? */
bool cut_is_end(const struct sw *sw, const char *netdev);
/* Whether the port is attached where datagrams come out: from then on they are sent there. */
void cut_attached(struct sw *sw, bool attached);
/* The end where datagrams come out: its ifindex, name and MTU; 0: there is no pair. */
int cut_port(const struct sw *sw, const char **ret_name, uint32_t *ret_mtu);

#endif
