/* netlink.h: what sluiced changes in the kernel's network configuration, one request a function, answered before it returns.
 *
 * Only for what sluiced owns: the veth pairs of VLAN interfaces, the addresses and static routes of the configuration. All
 * return 0 or -errno with the kernel's extended ack in `errs`. Adding what is there already, and deleting what is not, is
 * success.
 */
#ifndef SLUICE_NETLINK_H
#define SLUICE_NETLINK_H

#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "text.h"

/* The routing protocol number of sluiced's own routes, as `ip route` shows it; the mirror tells them apart by it. */
#define RTPROT_SLUICE 83

struct netlink;
struct nl_nexthop {
	int ifindex;
	struct addr gateway;
	uint8_t family; /* 0: none */
	uint16_t weight;
	bool onlink;
};

struct nl_route {
	struct prefix to;
	uint32_t table, metric;
	uint8_t type; /* RTN_* */
	const struct nl_nexthop *nexthops;
	size_t n;
	uint32_t mtu; /* 0: not said */
	bool known;   /* this instance has one there */
	bool adopt;   /* one of the protocol that is there is taken for its own: the kernel is asked, by a walk over the table */
};

int netlink_open(struct netlink **ret, struct errs *errs);
void netlink_close(struct netlink *nl);
uint32_t netlink_port(const struct netlink *nl); /* by which the kernel's events say who has asked for a change */

int netlink_veth_add(struct netlink *nl, const char *name, const char *peer, const uint8_t *mac, uint32_t mtu, struct errs *errs);
int netlink_link_delete(struct netlink *nl, int ifindex, struct errs *errs);
/* mac NULL, mtu 0: unchanged. */
int netlink_link_set(struct netlink *nl, int ifindex, bool up, const uint8_t *mac, uint32_t mtu, struct errs *errs);
/* An alias marks the link as sluiced's own ("sluice:<instance>:<interface>"), so that a later life recognises it. */
int netlink_link_alias(struct netlink *nl, int ifindex, const char *alias, struct errs *errs);
int netlink_link_alias_get(struct netlink *nl, int ifindex, char *buf, size_t size);
/* The kernel adds a route for the prefix: with this metric (0: its own). Of an address that is there it becomes this.
 * NL_ANSWER_ONLY: no route, and the host answers ARP and ND for the address, but speaks from it only when a program asks for it:
 * it has the scope of the host (IPv4), or is deprecated (IPv6, RFC 6724 5 rule 3). One that is there stays as it is. */
#define NL_ANSWER_ONLY UINT32_MAX
int netlink_addr_add(struct netlink *nl, int ifindex, const struct prefix *addr, uint32_t metric, struct errs *errs);
int netlink_addr_delete(struct netlink *nl, int ifindex, const struct prefix *addr, struct errs *errs);
/* Replaces a route of the same prefix, table and metric that is the instance's own; -EEXIST: one is there that is not. */
int netlink_route_set(struct netlink *nl, const struct nl_route *r, struct errs *errs);
/* Prefix, table and metric count. */
int netlink_route_delete(struct netlink *nl, const struct nl_route *r, struct errs *errs);
/* The kernel is asked to resolve (or to verify: a stale entry) a neighbour. */
int netlink_neigh_probe(struct netlink *nl, int ifindex, const struct addr *addr);
/* A permanent entry. */
int netlink_neigh_set(struct netlink *nl, int ifindex, const struct addr *addr, const uint8_t mac[6], struct errs *errs);
int netlink_neigh_delete(struct netlink *nl, int ifindex, const struct addr *addr, struct errs *errs);

/* netlink_rule.c: a routing rule (`ip rule`) of protocol RTPROT_SLUICE for packets with a mark, or of sockets bound to a netdev.
 */
struct nl_rule {
	uint8_t family; /* 4 or 6 */
	uint32_t priority, mark, mask;
	char oif[IFNAMSIZ]; /* "": any; of the others the mark and its mask are 0 */
	uint32_t table;	    /* 0: unreachable */
	struct prefix to;   /* its family 0: any */
};

int netlink_rule_add(struct netlink *nl, const struct nl_rule *rule, struct errs *errs);
int netlink_rule_delete(struct netlink *nl, const struct nl_rule *rule, struct errs *errs);

/* Any routing rule; of what `is` has no room for, `text` speaks. */
struct nl_rule_seen {
	struct nl_rule is;
	uint8_t action; /* FR_ACT_* */
	bool own;	/* of protocol RTPROT_SLUICE */
	bool l3mdev;	/* for the VRF devices of the kernel */
	/* of others than our own */
	bool plain;	/* it chooses nothing: for every packet, and every route of its table */
	char text[256]; /* what it says: "to 10.0.0.0/8 iif eth0 lookup 77" */
};

/* Every rule of the family. Stops at a non-zero return, and returns it. */
int netlink_rules_each(struct netlink *nl, uint8_t family, int (*fn)(const struct nl_rule_seen *rule, void *arg), void *arg);
/* A kernel without routing rules, or without the family, has no rules to read: is this what it says then? */
static inline bool netlink_no_rules(int r)
{
	return r == -EOPNOTSUPP || r == -EAFNOSUPPORT;
}

/* ethtool: switches hardware VLAN stripping off (XDP must see the tags). 0: it is off now; -EOPNOTSUPP: the driver cannot. */
int netlink_rxvlan_off(const char *netdev);
/* What is sent there the kernel finishes itself: one packet of several datagrams, of a tunnel's packets or of SCTP's is taken
 * apart, and checksums are whole, those inside of a tunnel too. 0, or -errno. */
int netlink_offloads_off(const char *netdev);
/* The driver's name, "veth", "tun", "virtio_net" …; -errno. */
int netlink_driver(const char *netdev, char *buf, size_t size);

#endif
