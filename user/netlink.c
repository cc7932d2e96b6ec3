/* netlink.c: changes to the kernel's links, addresses and neighbours, for what sluiced owns (netlink.h).
 *
 * One socket, one request at a time, each waited for: they are answered by the kernel itself, within the system call.
 */
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "loop.h"
#include "mirror_impl.h"
#include "netlink_impl.h"
#include <linux/if.h> /* after net/if.h, which it completes */

#define ANSWER_MAX 32768 /* bytes of one read: the kernel's own limit for a piece of a dump */

int netlink_open(struct netlink **ret, struct errs *errs)
{
	struct netlink *nl = calloc(1, sizeof(*nl));
	int on = 1, r = -ENOMEM;

	if (!nl)
		goto out;
	nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl->socket || mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		r = -errno;
		goto out;
	}
	/* for the words and against the echo of the request: without them errors say less, that is all */
	mnl_socket_setsockopt(nl->socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->socket, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	*ret = nl;
	return 0;
out:
	netlink_close(nl);
	return errs_fail(errs, -r, "rtnetlink: opening a socket: %s", strerror(-r));
}

void netlink_close(struct netlink *nl)
{
	if (!nl)
		return;
	if (nl->socket)
		mnl_socket_close(nl->socket);
	free(nl);
}

uint32_t netlink_port(const struct netlink *nl)
{
	return mnl_socket_get_portid(nl->socket);
}

/* ---- requests */

void *nl_request_begin(struct nl_request *q, uint16_t type, uint16_t flags, size_t size)
{
	q->nlh = mnl_nlmsg_put_header(q->buf);
	q->nlh->nlmsg_type = type;
	q->nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(q->nlh, size);
}

/* The kernel's words follow the error number and the header of the request (whose body NETLINK_CAP_ACK leaves out). */
static void ack_words(struct netlink *nl, const struct nlmsghdr *nlh)
{
	const struct nlattr *tb[NLMSGERR_ATTR_MSG + 1];

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS) || !(nlh->nlmsg_flags & NLM_F_CAPPED))
		return;
	attrs_parse(nlh, sizeof(struct nlmsgerr), tb, NLMSGERR_ATTR_MSG);
	if (tb[NLMSGERR_ATTR_MSG])
		snprintf(nl->ack, sizeof(nl->ack), "%.*s", (int)mnl_attr_get_payload_len(tb[NLMSGERR_ATTR_MSG]),
			 (const char *)mnl_attr_get_payload(tb[NLMSGERR_ATTR_MSG]));
}

/* 1: the answer has come to its end, *ret_error says how; 0: not yet. */
static int answer_take(struct netlink *nl, const struct nlmsghdr *nlh, int *ret_error)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type != NLMSG_ERROR && nlh->nlmsg_type != NLMSG_DONE)
		return 0;
	*ret_error = mnl_nlmsg_get_payload_len(nlh) >= sizeof(e->error) ? e->error : 0;
	if (nlh->nlmsg_type == NLMSG_ERROR)
		ack_words(nl, nlh);
	return 1;
}

int nl_request_send(struct netlink *nl, struct nl_request *q, int (*fn)(const struct nlmsghdr *nlh, void *arg), void *arg)
{
	bool dump = (q->nlh->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP && fn;
	char *buf = malloc(ANSWER_MAX);
	int r = 0, error = 0, end = 0;

	if (!buf)
		return -ENOMEM;
	nl->ack[0] = '\0';
	q->nlh->nlmsg_seq = ++nl->seq;
	if (!dump)
		q->nlh->nlmsg_flags |= NLM_F_ACK;
	loop_asks_kernel(true);
	if (mnl_socket_sendto(nl->socket, q->nlh, q->nlh->nlmsg_len) < 0)
		error = -errno, end = 1;
	loop_asks_kernel(false);
	while (!end) {
		const struct nlmsghdr *nlh = (const void *)buf;
		ssize_t len;
		int left;

		loop_asks_kernel(true); /* a dump goes over its tables within this call */
		len = mnl_socket_recvfrom(nl->socket, buf, ANSWER_MAX);
		loop_asks_kernel(false);
		left = len;
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0) {
			error = -errno;
			break;
		}
		for (; !end && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			if (nlh->nlmsg_seq != nl->seq)
				continue;
			end = answer_take(nl, nlh, &error);
			if (!end && fn && !r)
				r = fn(nlh, arg);
		}
	}
	free(buf);
	return error ? error : r;
}

int nl_fail(const struct netlink *nl, int r, struct errs *errs, const char *what, ...)
{
	char doing[160];
	va_list ap;

	va_start(ap, what);
	vsnprintf(doing, sizeof(doing), what, ap);
	va_end(ap);
	if (nl->ack[0])
		return errs_fail(errs, -r, "%s: %s (%s)", doing, strerror(-r), nl->ack);
	return errs_fail(errs, -r, "%s: %s", doing, strerror(-r));
}

void nl_put_addr(struct nl_request *q, uint16_t type, uint8_t family, const struct addr *a)
{
	if (family == 4)
		mnl_attr_put(q->nlh, type, sizeof(a->a32[3]), &a->a32[3]);
	else
		mnl_attr_put(q->nlh, type, sizeof(*a), a);
}

/* ---- links */

struct link_seen {
	int ifindex, peer;
	char name[IFNAMSIZ], kind[16], alias[256];
};

static int link_see(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[IFLA_LINK_NETNSID + 1], *info[IFLA_INFO_KIND + 1];
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct link_seen *l = arg;

	if (nlh->nlmsg_type != RTM_NEWLINK)
		return 0;
	attrs_parse(nlh, sizeof(*ifi), tb, IFLA_LINK_NETNSID);
	l->ifindex = ifi->ifi_index;
	l->peer = tb[IFLA_LINK_NETNSID] ? 0 : attr_u32(tb[IFLA_LINK]);
	if (tb[IFLA_IFNAME])
		snprintf(l->name, sizeof(l->name), "%s", mnl_attr_get_str(tb[IFLA_IFNAME]));
	if (tb[IFLA_IFALIAS])
		snprintf(l->alias, sizeof(l->alias), "%.*s", (int)mnl_attr_get_payload_len(tb[IFLA_IFALIAS]),
			 mnl_attr_get_str(tb[IFLA_IFALIAS]));
	if (tb[IFLA_LINKINFO]) {
		attrs_parse_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_KIND);
		if (info[IFLA_INFO_KIND])
			snprintf(l->kind, sizeof(l->kind), "%s", mnl_attr_get_str(info[IFLA_INFO_KIND]));
	}
	return 0;
}

/* By name, or with NULL by ifindex. */
static int link_get(struct netlink *nl, const char *name, int ifindex, struct link_seen *ret)
{
	struct nl_request q;
	struct ifinfomsg *ifi = nl_request_begin(&q, RTM_GETLINK, 0, sizeof(*ifi));

	memset(ret, 0, sizeof(*ret));
	ifi->ifi_index = name ? 0 : ifindex;
	if (name)
		mnl_attr_put_strz(q.nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(q.nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return nl_request_send(nl, &q, link_see, ret);
}

static struct ifinfomsg *link_request(struct nl_request *q, uint16_t type, uint16_t flags, int ifindex)
{
	struct ifinfomsg *ifi = nl_request_begin(q, type, flags, sizeof(*ifi));

	ifi->ifi_index = ifindex;
	return ifi;
}

/* Is the pair there already, as it was asked for? */
static int veth_present(struct netlink *nl, const char *name, const char *peer, struct link_seen *ret)
{
	struct link_seen other;
	int r = link_get(nl, name, 0, ret);

	if (r < 0)
		return r;
	if (strcmp(ret->kind, "veth") != 0 || !ret->peer)
		return -EEXIST;
	r = link_get(nl, NULL, ret->peer, &other);
	if (r < 0)
		return r;
	return strcmp(other.name, peer) == 0 ? 0 : -EEXIST;
}

static int mtu_set(struct netlink *nl, int ifindex, uint32_t mtu)
{
	struct nl_request q;

	link_request(&q, RTM_NEWLINK, 0, ifindex);
	mnl_attr_put_u32(q.nlh, IFLA_MTU, mtu);
	return nl_request_send(nl, &q, NULL, NULL);
}

/* The pair exists: its MAC and MTUs as asked, and nothing else of it. */
static int veth_adjust(struct netlink *nl, const struct link_seen *l, const uint8_t *mac, uint32_t mtu)
{
	struct nl_request q;
	int r = 0;

	if (mac) {
		link_request(&q, RTM_NEWLINK, 0, l->ifindex);
		mnl_attr_put(q.nlh, IFLA_ADDRESS, 6, mac);
		r = nl_request_send(nl, &q, NULL, NULL);
	}
	if (r == 0 && mtu)
		r = mtu_set(nl, l->ifindex, mtu);
	if (r == 0 && mtu)
		r = mtu_set(nl, l->peer, mtu);
	return r;
}

int netlink_veth_add(struct netlink *nl, const char *name, const char *peer, const uint8_t *mac, uint32_t mtu, struct errs *errs)
{
	struct nlattr *info, *data, *nest;
	struct link_seen seen;
	struct nl_request q;
	int r;

	link_request(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	mnl_attr_put_strz(q.nlh, IFLA_IFNAME, name);
	if (mac)
		mnl_attr_put(q.nlh, IFLA_ADDRESS, 6, mac);
	if (mtu)
		mnl_attr_put_u32(q.nlh, IFLA_MTU, mtu);
	info = mnl_attr_nest_start(q.nlh, IFLA_LINKINFO);
	mnl_attr_put_str(q.nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(q.nlh, IFLA_INFO_DATA);
	nest = mnl_attr_nest_start(q.nlh, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(q.nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(q.nlh, IFLA_IFNAME, peer);
	if (mtu)
		mnl_attr_put_u32(q.nlh, IFLA_MTU, mtu);
	mnl_attr_nest_end(q.nlh, nest);
	mnl_attr_nest_end(q.nlh, data);
	mnl_attr_nest_end(q.nlh, info);
	r = nl_request_send(nl, &q, NULL, NULL);
	if (r == -EEXIST) {
		r = veth_present(nl, name, peer, &seen);
		if (r == 0)
			r = veth_adjust(nl, &seen, mac, mtu);
		else
			return errs_fail(errs, EEXIST,
					 "creating the veth pair %s and %s: a link of one of these names is there already", name,
					 peer);
	}
	return r < 0 ? nl_fail(nl, r, errs, "creating the veth pair %s and %s", name, peer) : 0;
}

int netlink_link_delete(struct netlink *nl, int ifindex, struct errs *errs)
{
	struct nl_request q;
	int r;

	link_request(&q, RTM_DELLINK, 0, ifindex);
	r = nl_request_send(nl, &q, NULL, NULL);
	return r < 0 && r != -ENODEV ? nl_fail(nl, r, errs, "deleting link %d", ifindex) : 0;
}

int netlink_link_set(struct netlink *nl, int ifindex, bool up, const uint8_t *mac, uint32_t mtu, struct errs *errs)
{
	struct nl_request q;
	struct ifinfomsg *ifi = link_request(&q, RTM_NEWLINK, 0, ifindex);
	int r;

	ifi->ifi_change = IFF_UP;
	ifi->ifi_flags = up ? IFF_UP : 0;
	if (mac)
		mnl_attr_put(q.nlh, IFLA_ADDRESS, 6, mac);
	if (mtu)
		mnl_attr_put_u32(q.nlh, IFLA_MTU, mtu);
	r = nl_request_send(nl, &q, NULL, NULL);
	return r < 0 ? nl_fail(nl, r, errs, "setting link %d %s", ifindex, up ? "up" : "down") : 0;
}

int netlink_link_alias(struct netlink *nl, int ifindex, const char *alias, struct errs *errs)
{
	struct nl_request q;
	int r;

	if (strlen(alias) > 255)
		return errs_fail(errs, EINVAL, "the alias of link %d has %zu bytes; at most 255 are allowed", ifindex,
				 strlen(alias));
	link_request(&q, RTM_NEWLINK, 0, ifindex);
	mnl_attr_put_str(q.nlh, IFLA_IFALIAS, alias);
	r = nl_request_send(nl, &q, NULL, NULL);
	return r < 0 ? nl_fail(nl, r, errs, "setting the alias of link %d", ifindex) : 0;
}

int netlink_link_alias_get(struct netlink *nl, int ifindex, char *buf, size_t size)
{
	struct link_seen l;
	int r = link_get(nl, NULL, ifindex, &l);

	if (r < 0)
		return r;
	if (strlen(l.alias) >= size)
		return -ENOSPC;
	memcpy(buf, l.alias, strlen(l.alias) + 1);
	return 0;
}

/* ---- addresses */

static struct ifaddrmsg *addr_request(struct nl_request *q, uint16_t type, uint16_t flags, int ifindex, const struct prefix *addr)
{
	struct ifaddrmsg *ifa = nl_request_begin(q, type, flags, sizeof(*ifa));

	ifa->ifa_family = af_of_family(addr->family);
	ifa->ifa_prefixlen = addr->len;
	ifa->ifa_index = ifindex;
	nl_put_addr(q, IFA_LOCAL, addr->family, &addr->addr);
	nl_put_addr(q, IFA_ADDRESS, addr->family, &addr->addr);
	return ifa;
}

static void put_answer_only(struct nl_request *q, struct ifaddrmsg *ifa)
{
	struct ifa_cacheinfo deprecated = {.ifa_valid = UINT32_MAX};

	if (ifa->ifa_family == AF_INET)
		ifa->ifa_scope = RT_SCOPE_HOST;
	else
		mnl_attr_put(q->nlh, IFA_CACHEINFO, sizeof(deprecated), &deprecated);
	mnl_attr_put_u32(q->nlh, IFA_FLAGS, IFA_F_NOPREFIXROUTE);
}

int netlink_addr_add(struct netlink *nl, int ifindex, const struct prefix *addr, uint32_t metric, struct errs *errs)
{
	bool answer_only = metric == NL_ANSWER_ONLY;
	struct ifaddrmsg *ifa;
	struct nl_request q;
	char text[PREFIX_TEXT];
	uint32_t mask;
	int r;

	ifa = addr_request(&q, RTM_NEWADDR, NLM_F_CREATE | (answer_only ? NLM_F_EXCL : NLM_F_REPLACE), ifindex, addr);
	if (addr->family == 4 && addr->len < 31) {
		mask = addr->len ? htonl(~0U << (32 - addr->len)) : 0;
		mnl_attr_put_u32(q.nlh, IFA_BROADCAST, addr->addr.a32[3] | ~mask);
	}
	if (answer_only)
		put_answer_only(&q, ifa);
	else if (metric)
		mnl_attr_put_u32(q.nlh, IFA_RT_PRIORITY, metric);
	r = nl_request_send(nl, &q, NULL, NULL);
	return r < 0 && r != -EEXIST ? nl_fail(nl, r, errs, "adding address %s to link %d", prefix_text(addr, text), ifindex) : 0;
}

int netlink_addr_delete(struct netlink *nl, int ifindex, const struct prefix *addr, struct errs *errs)
{
	struct nl_request q;
	char text[PREFIX_TEXT];
	int r;

	addr_request(&q, RTM_DELADDR, 0, ifindex, addr);
	r = nl_request_send(nl, &q, NULL, NULL);
	if (r == 0 || r == -EADDRNOTAVAIL || r == -ENODEV)
		return 0;
	return nl_fail(nl, r, errs, "deleting address %s from link %d", prefix_text(addr, text), ifindex);
}

/* ---- neighbours */

static struct ndmsg *neigh_request(struct nl_request *q, uint16_t type, uint16_t flags, int ifindex, const struct addr *addr)
{
	struct ndmsg *ndm = nl_request_begin(q, type, flags, sizeof(*ndm));
	uint8_t family = addr_family(addr);

	ndm->ndm_family = af_of_family(family);
	ndm->ndm_ifindex = ifindex;
	nl_put_addr(q, NDA_DST, family, addr);
	return ndm;
}

int netlink_neigh_probe(struct netlink *nl, int ifindex, const struct addr *addr)
{
	struct nl_request q;

	neigh_request(&q, RTM_NEWNEIGH, NLM_F_CREATE, ifindex, addr)->ndm_flags = NTF_USE;
	return nl_request_send(nl, &q, NULL, NULL);
}

int netlink_neigh_set(struct netlink *nl, int ifindex, const struct addr *addr, const uint8_t mac[6], struct errs *errs)
{
	struct nl_request q;
	char text[ADDR_TEXT];
	int r;

	neigh_request(&q, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, ifindex, addr)->ndm_state = NUD_PERMANENT;
	mnl_attr_put(q.nlh, NDA_LLADDR, 6, mac);
	r = nl_request_send(nl, &q, NULL, NULL);
	return r < 0 ? nl_fail(nl, r, errs, "adding neighbor %s to link %d", addr_text(addr, text), ifindex) : 0;
}

int netlink_neigh_delete(struct netlink *nl, int ifindex, const struct addr *addr, struct errs *errs)
{
	struct nl_request q;
	char text[ADDR_TEXT];
	int r;

	neigh_request(&q, RTM_DELNEIGH, 0, ifindex, addr);
	r = nl_request_send(nl, &q, NULL, NULL);
	if (r == 0 || r == -ENOENT || r == -ENODEV)
		return 0;
	return nl_fail(nl, r, errs, "deleting neighbor %s from link %d", addr_text(addr, text), ifindex);
}
