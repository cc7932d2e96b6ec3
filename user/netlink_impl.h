/* netlink_impl.h: one request to rtnetlink, for netlink.c (links, addresses, neighbours) and netlink_route.c. */
#ifndef SLUICE_NETLINK_IMPL_H
#define SLUICE_NETLINK_IMPL_H

#include <libmnl/libmnl.h>
#include "netlink.h"

struct netlink {
	struct mnl_socket *socket;
	uint32_t seq;
	char ack[256]; /* the kernel's words on the last request, or "" */
};

/* A request being built in `buf`. */
struct nl_request {
	char buf[16384];
	struct nlmsghdr *nlh;
};

/* Begins a request; returns its zeroed header of `size` bytes. */
void *nl_request_begin(struct nl_request *q, uint16_t type, uint16_t flags, size_t size);
/* Sends it, and shows each answer to `fn` (which may be NULL) until the acknowledgement. 0, the kernel's -errno, or fn's non-zero
 * return. */
int nl_request_send(struct netlink *nl, struct nl_request *q, int (*fn)(const struct nlmsghdr *nlh, void *arg), void *arg);
/* Words for a failed request: "WHAT: reason (the kernel's own words)"; returns r. */
int nl_fail(const struct netlink *nl, int r, struct errs *errs, const char *what, ...) __attribute__((format(printf, 4, 5)));
void nl_put_addr(struct nl_request *q, uint16_t type, uint8_t family, const struct addr *a);

#endif
