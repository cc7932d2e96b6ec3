/* netlink_route.c: the routes that sluiced puts into the kernel (protocol RTPROT_SLUICE), for the host's own traffic. Routes of
 * other programs are never touched.
 */
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include "mirror_impl.h"
#include "netlink_impl.h"

/* A nexthop takes up to 8 bytes of struct rtnexthop and 24 of RTA_VIA. */
#define NEXTHOPS_MAX 256

/* IPv6 takes metric 0 for this one. */
#define IPV6_METRIC 1024

static uint32_t metric_of(const struct prefix *to, uint32_t metric)
{
	return to->family == 6 && !metric ? IPV6_METRIC : metric;
}

static struct rtmsg *route_request(struct nl_request *q, uint16_t type, uint16_t flags, const struct nl_route *r)
{
	struct rtmsg *rtm = nl_request_begin(q, type, flags, sizeof(*rtm));

	rtm->rtm_family = af_of_family(r->to.family);
	rtm->rtm_dst_len = r->to.len;
	rtm->rtm_protocol = RTPROT_SLUICE;
	rtm->rtm_table = r->table < 256 ? r->table : RT_TABLE_UNSPEC;
	if (r->to.len)
		nl_put_addr(q, RTA_DST, r->to.family, &r->to.addr);
	mnl_attr_put_u32(q->nlh, RTA_TABLE, r->table);
	if (metric_of(&r->to, r->metric))
		mnl_attr_put_u32(q->nlh, RTA_PRIORITY, metric_of(&r->to, r->metric));
	return rtm;
}

static void gateway_put(struct nl_request *q, uint8_t family, const struct nl_nexthop *nh)
{
	struct {
		__kernel_sa_family_t af;
		uint8_t addr[16];
	} via = {.af = af_of_family(nh->family)};

	if (!nh->family)
		return;
	if (nh->family == family) {
		nl_put_addr(q, RTA_GATEWAY, family, &nh->gateway);
		return;
	}
	memcpy(via.addr, nh->family == 4 ? (const void *)&nh->gateway.a32[3] : &nh->gateway, nh->family == 4 ? 4 : 16);
	mnl_attr_put(q->nlh, RTA_VIA, sizeof(via.af) + (nh->family == 4 ? 4 : 16), &via);
}

static void multipath_put(struct nl_request *q, uint8_t family, const struct nl_nexthop *nh, size_t n)
{
	struct nlattr *nest = mnl_attr_nest_start(q->nlh, RTA_MULTIPATH);

	nest->nla_type = RTA_MULTIPATH; /* its content is no row of attributes: no NLA_F_NESTED */
	for (size_t i = 0; i < n; i++) {
		struct rtnexthop *hop = mnl_nlmsg_put_extra_header(q->nlh, sizeof(*hop));

		hop->rtnh_ifindex = nh[i].ifindex;
		hop->rtnh_hops = nh[i].weight ? nh[i].weight - 1 : 0;
		hop->rtnh_flags = nh[i].onlink ? RTNH_F_ONLINK : 0;
		gateway_put(q, family, &nh[i]);
		hop->rtnh_len = (char *)mnl_nlmsg_get_payload_tail(q->nlh) - (char *)hop;
	}
	mnl_attr_nest_end(q->nlh, nest);
}

static void mtu_put(struct nl_request *q, uint32_t mtu)
{
	struct nlattr *nest = mnl_attr_nest_start(q->nlh, RTA_METRICS);

	mnl_attr_put_u32(q->nlh, RTAX_MTU, mtu);
	mnl_attr_nest_end(q->nlh, nest);
}

static int route_send(struct netlink *nl, uint16_t flags, const struct nl_route *r)
{
	struct nl_request q;
	struct rtmsg *rtm = route_request(&q, RTM_NEWROUTE, NLM_F_CREATE | flags, r);
	const struct nl_nexthop *nh = r->nexthops;

	rtm->rtm_type = r->type;
	rtm->rtm_scope = r->type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	if (r->mtu)
		mtu_put(&q, r->mtu);
	if (r->n == 1) {
		if (r->type == RTN_UNICAST && !nh->family)
			rtm->rtm_scope = RT_SCOPE_LINK;
		if (nh->ifindex)
			mnl_attr_put_u32(q.nlh, RTA_OIF, nh->ifindex);
		if (nh->onlink)
			rtm->rtm_flags |= RTNH_F_ONLINK;
		gateway_put(&q, r->to.family, nh);
	} else if (r->n) {
		multipath_put(&q, r->to.family, nh, r->n);
	}
	return nl_request_send(nl, &q, NULL, NULL);
}

struct own_search {
	const struct prefix *to;
	uint32_t table, metric;
	bool found;
};

static int own_see(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_TABLE + 1];
	struct own_search *s = arg;
	struct addr dst = s->to->family == 4 ? addr_v4(0) : (struct addr){};

	if (nlh->nlmsg_type != RTM_NEWROUTE || rtm->rtm_protocol != RTPROT_SLUICE || rtm->rtm_dst_len != s->to->len)
		return 0;
	attrs_parse(nlh, sizeof(*rtm), tb, RTA_TABLE);
	attr_addr(tb[RTA_DST], s->to->family, &dst);
	if (memcmp(&dst, &s->to->addr, sizeof(dst)) == 0 && attr_u32(tb[RTA_TABLE]) == s->table &&
	    attr_u32(tb[RTA_PRIORITY]) == s->metric)
		s->found = true;
	return 0;
}

/* 1: sluiced has a route of this prefix, table and metric; 0: it has none; -errno. */
static int own_route(struct netlink *nl, const struct nl_route *route)
{
	struct own_search s = {.to = &route->to, .table = route->table, .metric = metric_of(&route->to, route->metric)};
	struct nl_request q;
	struct rtmsg *rtm;
	int r;

	rtm = nl_request_begin(&q, RTM_GETROUTE, NLM_F_DUMP, sizeof(*rtm));
	rtm->rtm_family = af_of_family(route->to.family);
	rtm->rtm_protocol = RTPROT_SLUICE;
	mnl_attr_put_u32(q.nlh, RTA_TABLE, route->table);
	r = nl_request_send(nl, &q, own_see, &s);
	if (r == -ENOENT)
		return 0; /* no such table */
	return r < 0 ? r : s.found;
}

static int route_remove(struct netlink *nl, const struct nl_route *r)
{
	struct nl_request q;

	route_request(&q, RTM_DELROUTE, 0, r)->rtm_scope = RT_SCOPE_NOWHERE;
	return nl_request_send(nl, &q, NULL, NULL);
}

/* An own route is there. IPv4's NLM_F_REPLACE replaces the first of the prefix, whosesoever it is: so the new one is put behind
 * the old one, which then is deleted, as the first of ours. IPv6 replaces in one step. */
static int route_exchange(struct netlink *nl, const struct nl_route *route)
{
	int r = route_send(nl, route->to.family == 4 ? NLM_F_APPEND : NLM_F_REPLACE, route);

	if (r == -EEXIST)
		return 0; /* the very same */
	if (r == 0 && route->to.family == 4)
		r = route_remove(nl, route);
	return r;
}

int netlink_route_set(struct netlink *nl, const struct nl_route *route, struct errs *errs)
{
	char text[PREFIX_TEXT];
	int r;

	if (route->n > NEXTHOPS_MAX)
		return errs_fail(errs, E2BIG, "route %s: %zu nexthops; at most %d are allowed", prefix_text(&route->to, text),
				 route->n, NEXTHOPS_MAX);
	r = route_send(nl, NLM_F_EXCL, route);
	if (r == -EEXIST) {
		r = route->known ? 1 : route->adopt ? own_route(nl, route) : 0;
		if (r == 0)
			return errs_fail(errs, EEXIST, "route %s in table %u: another program has one with metric %u",
					 prefix_text(&route->to, text), route->table, metric_of(&route->to, route->metric));
		if (r > 0)
			r = route_exchange(nl, route);
	}
	return r < 0 ? nl_fail(nl, r, errs, "setting route %s in table %u", prefix_text(&route->to, text), route->table) : 0;
}

/* IPv4 takes metric 0 in a deletion for any metric: so it is looked up first. */
int netlink_route_delete(struct netlink *nl, const struct nl_route *route, struct errs *errs)
{
	char text[PREFIX_TEXT];
	int r = 1;

	if (!route->known && !metric_of(&route->to, route->metric))
		r = own_route(nl, route);
	if (r > 0)
		r = route_remove(nl, route);
	if (r == 0 || r == -ESRCH || r == -ENOENT)
		return 0;
	return nl_fail(nl, r, errs, "deleting route %s from table %u", prefix_text(&route->to, text), route->table);
}
