/* netlink_rule.c: routing rules (`ip rule`) by which packets with a mark, or of sockets bound to a netdev, find a table. Declared
 * in netlink.h.
 */
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "mirror_impl.h"
#include "netlink_impl.h"

struct walk {
	uint8_t family;
	int (*fn)(const struct nl_rule *rule, bool own, void *arg);
	void *arg;
};

static int rule_see(const struct nlmsghdr *nlh, void *arg)
{
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[FRA_PROTOCOL + 1];
	const struct walk *w = arg;
	struct nl_rule rule = {.family = w->family};
	bool own;

	if (nlh->nlmsg_type != RTM_NEWRULE)
		return 0;
	attrs_parse(nlh, sizeof(*h), tb, FRA_PROTOCOL);
	rule.priority = attr_u32(tb[FRA_PRIORITY]);
	rule.mark = attr_u32(tb[FRA_FWMARK]);
	rule.mask = attr_u32(tb[FRA_FWMASK]);
	if (tb[FRA_OIFNAME])
		snprintf(rule.oif, sizeof(rule.oif), "%.*s", (int)mnl_attr_get_payload_len(tb[FRA_OIFNAME]),
			 (const char *)mnl_attr_get_payload(tb[FRA_OIFNAME]));
	if (!rule.mark && !*rule.oif)
		return 0;
	if (h->action == FR_ACT_TO_TBL)
		rule.table = tb[FRA_TABLE] ? attr_u32(tb[FRA_TABLE]) : h->table;
	if (tb[FRA_DST]) {
		rule.to.family = w->family;
		rule.to.len = h->dst_len;
		attr_addr(tb[FRA_DST], w->family, &rule.to.addr);
	}
	own = tb[FRA_PROTOCOL] && mnl_attr_get_u8(tb[FRA_PROTOCOL]) == RTPROT_SLUICE;
	return w->fn(&rule, own, w->arg);
}

int netlink_rules_each(struct netlink *nl, uint8_t family, int (*fn)(const struct nl_rule *rule, bool own, void *arg), void *arg)
{
	struct walk w = {family, fn, arg};
	struct fib_rule_hdr *h;
	struct nl_request q;

	h = nl_request_begin(&q, RTM_GETRULE, NLM_F_DUMP, sizeof(*h));
	h->family = af_of_family(family);
	return nl_request_send(nl, &q, rule_see, &w);
}

static int rule_send(struct netlink *nl, uint16_t type, uint16_t flags, const struct nl_rule *rule)
{
	struct fib_rule_hdr *h;
	struct nl_request q;

	h = nl_request_begin(&q, type, flags, sizeof(*h));
	h->family = af_of_family(rule->family);
	h->action = rule->table ? FR_ACT_TO_TBL : FR_ACT_UNREACHABLE;
	if (rule->to.family) {
		h->dst_len = rule->to.len;
		nl_put_addr(&q, FRA_DST, rule->family, &rule->to.addr);
	}
	if (rule->table)
		mnl_attr_put_u32(q.nlh, FRA_TABLE, rule->table);
	mnl_attr_put_u32(q.nlh, FRA_PRIORITY, rule->priority);
	if (*rule->oif) {
		mnl_attr_put_strz(q.nlh, FRA_OIFNAME, rule->oif);
	} else {
		mnl_attr_put_u32(q.nlh, FRA_FWMARK, rule->mark);
		mnl_attr_put_u32(q.nlh, FRA_FWMASK, rule->mask);
	}
	mnl_attr_put_u8(q.nlh, FRA_PROTOCOL, RTPROT_SLUICE);
	return nl_request_send(nl, &q, NULL, NULL);
}

int netlink_rule_add(struct netlink *nl, const struct nl_rule *rule, struct errs *errs)
{
	int r = rule_send(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);

	return r && r != -EEXIST ? nl_fail(nl, r, errs, "adding the routing rule %u of VRFs", rule->priority) : 0;
}

int netlink_rule_delete(struct netlink *nl, const struct nl_rule *rule, struct errs *errs)
{
	int r = rule_send(nl, RTM_DELRULE, 0, rule);

	return r && r != -ENOENT ? nl_fail(nl, r, errs, "deleting the routing rule %u of VRFs", rule->priority) : 0;
}
