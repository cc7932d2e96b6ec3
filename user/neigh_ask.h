/* neigh_ask.h: what the kernel is asked about neighbours without anybody waiting for an answer: beside the event loop, for
 * another program may have the kernel's lock of all netdevs (RTNL) for a quarter of a second.
 */
#ifndef SLUICE_NEIGH_ASK_H
#define SLUICE_NEIGH_ASK_H

#include "err.h"
#include "text.h"

struct neigh_ask;

int neigh_ask_open(struct neigh_ask **ret, struct errs *errs);
void neigh_ask_close(struct neigh_ask *a); /* accepts NULL; what was not asked yet is not */
/* To be asked for, or verified (netlink_neigh_probe()). -ENOBUFS: too much waits already; the answer comes as an event in any
 * case, or not. */
int neigh_ask_probe(struct neigh_ask *a, int ifindex, const struct addr *addr);
/* To be forgotten by the kernel (netlink_neigh_delete()), likewise. */
int neigh_ask_drop(struct neigh_ask *a, int ifindex, const struct addr *addr);

#endif
