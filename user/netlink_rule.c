/* netlink_rule.c: routing rules (`ip rule`): those by which packets with a mark, or of sockets bound to a netdev, find a table,
 * and what others say. Declared in netlink.h.
 */
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "mirror_impl.h"
#include "netlink_impl.h"

#define ATTRS 63 /* more than there are: what a newer kernel knows is a choice as well */

static void __attribute__((format(printf, 2, 3))) say(struct nl_rule_seen *rule, const char *fmt, ...)
{
	size_t len = strlen(rule->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rule->text + len, sizeof(rule->text) - len, fmt, ap);
	va_end(ap);
}

static void say_prefix(struct nl_rule_seen *rule, const char *title, const struct nlattr *a, uint8_t len)
{
	struct prefix p = {.family = rule->is.family, .len = len};
	char text[PREFIX_TEXT];

	if (rule->is.family == 4)
		p.addr = addr_v4(0);
	if (!a && !len)
		return;
	rule->plain = false;
	attr_addr(a, rule->is.family, &p.addr);
	say(rule, "%s %s ", title, prefix_text(&p, text));
}

static void say_netdev(struct nl_rule_seen *rule, const char *title, const struct nlattr *a)
{
	if (!a)
		return;
	rule->plain = false;
	say(rule, "%s %.*s ", title, (int)strnlen(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a)),
	    (const char *)mnl_attr_get_payload(a));
}

/* What else it chooses by, without names: the kernel writes the two `suppress` without a value into every rule. */
static bool chooses_more(const struct nlattr *const *tb)
{
	bool more = false;

	for (unsigned i = 0; i <= ATTRS; i++) {
		switch (i) {
		case FRA_DST:
		case FRA_SRC:
		case FRA_IIFNAME:
		case FRA_OIFNAME:
		case FRA_FWMARK:
		case FRA_FWMASK:
		case FRA_PRIORITY:
		case FRA_TABLE:
		case FRA_PROTOCOL:
		case FRA_L3MDEV:
		case FRA_GOTO:
		case FRA_PAD:
			break;
		case FRA_SUPPRESS_PREFIXLEN:
		case FRA_SUPPRESS_IFGROUP:
			more |= tb[i] && attr_u32(tb[i]) != UINT32_MAX;
			break;
		default:
			more |= tb[i] != NULL;
		}
	}
	return more;
}

static void say_action(struct nl_rule_seen *rule, const struct nlattr *to)
{
	static const char *const names[] = {
		[FR_ACT_GOTO] = "goto",		  [FR_ACT_NOP] = "nop",
		[FR_ACT_BLACKHOLE] = "blackhole", [FR_ACT_UNREACHABLE] = "unreachable",
		[FR_ACT_PROHIBIT] = "prohibit",
	};

	if (rule->l3mdev)
		say(rule, "lookup [l3mdev-table]");
	else if (rule->action == FR_ACT_TO_TBL)
		say(rule, "lookup %u", rule->is.table);
	else if (rule->action < sizeof(names) / sizeof(names[0]) && names[rule->action])
		say(rule, "%s", names[rule->action]);
	else
		say(rule, "action %u", rule->action);
	if (to)
		say(rule, " %u", attr_u32(to));
}

/* What it says, as words, and whether it chooses. */
static void say_all(struct nl_rule_seen *rule, const struct fib_rule_hdr *h, const struct nlattr *const *tb)
{
	rule->plain = true;
	if (h->flags & FIB_RULE_INVERT) {
		rule->plain = false;
		say(rule, "not ");
	}
	say_prefix(rule, "from", tb[FRA_SRC], h->src_len);
	say_prefix(rule, "to", tb[FRA_DST], h->dst_len);
	say_netdev(rule, "iif", tb[FRA_IIFNAME]);
	say_netdev(rule, "oif", tb[FRA_OIFNAME]);
	if (rule->is.mark || rule->is.mask) {
		rule->plain = false;
		say(rule, "fwmark 0x%x/0x%x ", rule->is.mark, rule->is.mask);
	}
	if (h->tos) {
		rule->plain = false;
		say(rule, "tos 0x%02x ", h->tos);
	}
	if (chooses_more(tb)) {
		rule->plain = false;
		say(rule, "and more, ");
	}
	say_action(rule, tb[FRA_GOTO]);
}

struct walk {
	uint8_t family;
	int (*fn)(const struct nl_rule_seen *rule, void *arg);
	void *arg;
};

static int see(const struct nlmsghdr *nlh, void *arg)
{
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[ATTRS + 1];
	const struct walk *w = arg;
	struct nl_rule_seen rule = {.is.family = w->family};

	if (nlh->nlmsg_type != RTM_NEWRULE || mnl_nlmsg_get_payload_len(nlh) < sizeof(*h))
		return 0;
	attrs_parse(nlh, sizeof(*h), tb, ATTRS);
	rule.is.priority = attr_u32(tb[FRA_PRIORITY]);
	rule.is.mark = attr_u32(tb[FRA_FWMARK]);
	rule.is.mask = attr_u32(tb[FRA_FWMASK]);
	if (tb[FRA_OIFNAME])
		snprintf(rule.is.oif, sizeof(rule.is.oif), "%.*s", (int)mnl_attr_get_payload_len(tb[FRA_OIFNAME]),
			 (const char *)mnl_attr_get_payload(tb[FRA_OIFNAME]));
	if (h->action == FR_ACT_TO_TBL)
		rule.is.table = tb[FRA_TABLE] ? attr_u32(tb[FRA_TABLE]) : h->table;
	if (tb[FRA_DST]) {
		rule.is.to.family = w->family;
		rule.is.to.len = h->dst_len;
		attr_addr(tb[FRA_DST], w->family, &rule.is.to.addr);
	}
	rule.action = h->action;
	rule.own = tb[FRA_PROTOCOL] && mnl_attr_get_u8(tb[FRA_PROTOCOL]) == RTPROT_SLUICE;
	rule.l3mdev = tb[FRA_L3MDEV] && mnl_attr_get_u8(tb[FRA_L3MDEV]);
	if (!rule.own)
		say_all(&rule, h, tb);
	return w->fn(&rule, w->arg);
}

int netlink_rules_each(struct netlink *nl, uint8_t family, int (*fn)(const struct nl_rule_seen *rule, void *arg), void *arg)
{
	struct walk w = {family, fn, arg};
	struct fib_rule_hdr *h;
	struct nl_request q;

	h = nl_request_begin(&q, RTM_GETRULE, NLM_F_DUMP, sizeof(*h));
	h->family = af_of_family(family);
	return nl_request_send(nl, &q, see, &w);
}

/* ---- those of VRFs */

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
