/* mirror_route_msg.c: what a RTM_NEWROUTE or RTM_DELROUTE says, for mirror_route.c: prefix, table, metric, and the ways. */
#include <linux/lwtunnel.h>
#include <sys/socket.h>
#include "mirror_impl.h"

struct kroute_nexthop *mirror_scratch(struct mirror *m, size_t n)
{
	if (n > m->scratch_size) {
		struct kroute_nexthop *p = realloc(m->scratch, 2 * n * sizeof(*p));

		if (!p)
			return NULL;
		m->scratch = p;
		m->scratch_size = 2 * n;
	}
	if (n)
		memset(m->scratch, 0, n * sizeof(*m->scratch));
	return m->scratch;
}

/* RTA_GATEWAY is of the route's family, RTA_VIA of any (RFC 8950: IPv4 over an IPv6 nexthop). */
static void gateway_parse(const struct nlattr **tb, uint8_t family, struct kroute_nexthop *nh)
{
	if (attr_addr(tb[RTA_GATEWAY], family, &nh->gateway))
		nh->family = family;
	else if (!attr_via(tb[RTA_VIA], &nh->gateway, &nh->family))
		nh->family = 0;
}

/* RTA_MULTIPATH: a row of struct rtnexthop, each with attributes of its own. */
static int multipath_parse(struct mirror *m, const struct nlattr *a, struct route_msg *msg)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(a);
	size_t room = mnl_attr_get_payload_len(a), n = 0, step;

	msg->nh = mirror_scratch(m, room / sizeof(*hop));
	if (!msg->nh)
		return -ENOMEM;
	while (room >= sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) && hop->rtnh_len <= room) {
		const struct nlattr *tb[RTA_ENCAP + 1] = {}, *at = (const void *)(hop + 1);
		struct kroute_nexthop *nh = &msg->nh[n++];
		int left = hop->rtnh_len - sizeof(*hop);

		for (; mnl_attr_ok(at, left); left -= MNL_ALIGN(at->nla_len), at = mnl_attr_next(at)) {
			if (mnl_attr_get_type(at) <= RTA_ENCAP)
				tb[mnl_attr_get_type(at)] = at;
		}
		nh->ifindex = hop->rtnh_ifindex;
		nh->weight = hop->rtnh_hops + 1;
		nh->onlink = hop->rtnh_flags & RTNH_F_ONLINK;
		gateway_parse(tb, msg->to.family, nh);
		if (tb[RTA_ENCAP] || tb[RTA_ENCAP_TYPE] || tb[RTA_NEWDST])
			msg->flags |= ALT_UNUSABLE;
		step = RTNH_ALIGN(hop->rtnh_len);
		if (step >= room)
			break;
		room -= step;
		hop = (const void *)((const char *)hop + step);
	}
	msg->n = n;
	return 0;
}

static int ways_parse(struct mirror *m, const struct rtmsg *rtm, const struct nlattr **tb, struct route_msg *msg)
{
	msg->object = attr_u32(tb[RTA_NH_ID]);
	if (tb[RTA_ENCAP] || tb[RTA_ENCAP_TYPE] || tb[RTA_NEWDST])
		msg->flags |= ALT_UNUSABLE;
	switch (msg->type) {
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW:
		return 0; /* IPv6 names the loopback device there */
	}
	if (msg->object)
		return 0;
	if (tb[RTA_MULTIPATH])
		return multipath_parse(m, tb[RTA_MULTIPATH], msg);
	if (!tb[RTA_OIF] && !tb[RTA_GATEWAY] && !tb[RTA_VIA])
		return 0;
	msg->nh = mirror_scratch(m, 1);
	if (!msg->nh)
		return -ENOMEM;
	msg->n = 1;
	msg->nh->ifindex = attr_u32(tb[RTA_OIF]);
	msg->nh->weight = 1;
	msg->nh->onlink = rtm->rtm_flags & RTNH_F_ONLINK;
	gateway_parse(tb, msg->to.family, msg->nh);
	return 0;
}

/* IPv6 joins routes of one prefix and metric to a multipath route when all have a gateway, and none came by router
 * advertisement or uses a nexthop object. */
static bool ways_join(const struct route_msg *msg)
{
	if (msg->to.family != 6 || !msg->n || msg->object || msg->protocol == RTPROT_RA)
		return false;
	for (size_t i = 0; i < msg->n; i++) {
		if (!msg->nh[i].family)
			return false;
	}
	return true;
}

static uint32_t sig_of(const struct nlattr *a, uint32_t sig)
{
	const uint8_t *p = a ? mnl_attr_get_payload(a) : NULL;

	for (size_t i = 0, n = a ? mnl_attr_get_payload_len(a) : 0; i < n; i++)
		sig = (sig ^ p[i]) * 16777619;
	return sig * 31 + 1;
}

/* Without the attribute: of length 0. */
static bool attr_prefix(const struct nlattr *a, uint8_t family, uint8_t len, struct prefix *ret)
{
	ret->family = family;
	ret->len = len;
	if (len > (family == 4 ? 32 : 128))
		return false;
	if (attr_addr(a, family, &ret->addr))
		return true;
	if (family == 4)
		ret->addr = addr_v4(0);
	return !len;
}

int route_parse(struct mirror *m, const struct nlmsghdr *nlh, struct route_msg *ret)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_NH_ID + 1], *metrics[RTAX_MTU + 1];
	uint8_t family;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm))
		return 0;
	family = family_of_af(rtm->rtm_family);
	if (!family || (rtm->rtm_flags & RTM_F_CLONED))
		return 0;
	attrs_parse(nlh, sizeof(*rtm), tb, RTA_NH_ID);
	if (!attr_prefix(tb[RTA_DST], family, rtm->rtm_dst_len, &ret->to) ||
	    !attr_prefix(tb[RTA_SRC], family, rtm->rtm_src_len, &ret->from))
		return 0;
	ret->tos = rtm->rtm_tos;
	ret->table = tb[RTA_TABLE] ? attr_u32(tb[RTA_TABLE]) : rtm->rtm_table;
	ret->metric = attr_u32(tb[RTA_PRIORITY]);
	ret->type = rtm->rtm_type;
	ret->protocol = rtm->rtm_protocol;
	if (tb[RTA_METRICS]) {
		attrs_parse_nested(tb[RTA_METRICS], metrics, RTAX_MTU);
		ret->mtu = attr_u32(metrics[RTAX_MTU]);
	}
	ret->sig = sig_of(tb[RTA_METRICS], sig_of(tb[RTA_FLOW], rtm->rtm_scope));
	if (family == 4)
		ret->src = attr_u32(tb[RTA_PREFSRC]); /* an address of 4 bytes as it stands */
	r = ways_parse(m, rtm, tb, ret);
	if (r < 0)
		return r;
	if (ways_join(ret))
		ret->flags |= ALT_ECMP;
	return 1;
}
