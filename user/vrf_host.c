/* vrf_host.c: the host's own answers in VRFs: a ping of the gateway's address, a connection to it, what it routes itself. Between
 * the noun `vrf`, the kernel's routing rules and bpf/vrf.h.
 *
 * The kernel has the addresses of all VRFs in one table, and would answer by the first prefix that fits. So what goes to the host
 * out of a VRF bears a mark (tc sets it), the kernel is told to answer with the mark of what it answers (fwmark_reflect,
 * tcp_fwmark_accept), and routing rules lead what bears it to the VRF's tables, whose first one has the VRF's connected prefixes
 * and static routes from route_host.c. Behind the VRF's own tables stand those of the VRFs that it imports from; at the end a
 * rule that says unreachable, so that nothing leaves by another VRF's way.
 *
 * A datagram's answer bears no mark, for the kernel does not know that it is one. A service over UDP has a socket for each VRF,
 * bound to the interface's netdev, or says the interface of each answer (IP_PKTINFO): such packets are led to the VRF's tables by
 * rules for the netdev.
 *
 * Only VRFs with a table have this, and not those whose netdevs are in a VRF device of the kernel, where the kernel does it all.
 * The rules have the protocol RTPROT_SLUICE and are known by their mark (those for a netdev by its number in their priority),
 * which the map `control` has noted, and so outlives sluiced. A mark is chosen that no rule has yet: another instance's marks are
 * others.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sw.h"
#include "sysctl.h"

#define PRIORITY     1100 /* behind that of VRF devices (1000), before main */
#define PRIORITY_END 1199
#define PRIORITY_OIF 1200	/* and 100 for each number of a mark: those for sockets that are bound to a netdev */
#define MARK_STEP    (1u << 24) /* the lowest bit of VRF_MARK_MASK */
#define MARKS	     255
#define RULES_MAX    100 /* of one VRF and family for a mark, or for a netdev */
#define LINK_LOCAL   10	 /* fe80::/10 */

struct rules {
	struct nl_rule *v;
	size_t n;
};

struct pass {
	struct sw *sw;
	struct rules have, want;
	bool used[MARKS + 1]; /* marks of rules that are not ours, and of VRFs */
};

static uint32_t number_of(uint32_t mark)
{
	return mark / MARK_STEP;
}

static uint32_t priority_oif(uint32_t mark)
{
	return PRIORITY_OIF + number_of(mark) * RULES_MAX;
}

/* Of the VRF that the rule is for, if it is one of an instance's. */
static uint32_t mark_of(const struct nl_rule *rule)
{
	uint32_t number = rule->priority < PRIORITY_OIF ? 0 : (rule->priority - PRIORITY_OIF) / RULES_MAX;

	if (!*rule->oif)
		return rule->mask == VRF_MARK_MASK ? rule->mark : 0;
	return number <= MARKS ? number * MARK_STEP : 0;
}

static int put(struct rules *list, const struct nl_rule *rule)
{
	if (list->n % 64 == 0) {
		struct nl_rule *v = realloc(list->v, (list->n + 64) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		list->v = v;
	}
	list->v[list->n++] = *rule;
	return 0;
}

static bool same(const struct nl_rule *a, const struct nl_rule *b)
{
	return a->family == b->family && a->priority == b->priority && a->mark == b->mark && a->mask == b->mask &&
	       a->table == b->table && a->to.family == b->to.family && a->to.len == b->to.len && !strcmp(a->oif, b->oif);
}

static bool has(const struct rules *list, const struct nl_rule *rule)
{
	for (size_t i = 0; i < list->n; i++)
		if (same(&list->v[i], rule))
			return true;
	return false;
}

/* ---- what there is */

/* A mark stands in the map `control` from before its first rule is made until after its last one is gone: so a sluiced that is
 * killed in between leaves no rule that the next one does not know. Of another instance with the same mark, begun while this
 * one was dead before its first rule, the rules would be taken for ours. */
static bool is_noted(const struct sw *sw, uint32_t mark)
{
	return sw->control->host_marks[number_of(mark) / 64] >> number_of(mark) % 64 & 1;
}

static void note(struct sw *sw, uint32_t mark)
{
	sw->control->host_marks[number_of(mark) / 64] |= 1ull << number_of(mark) % 64;
}

static bool any_noted(const struct sw *sw)
{
	uint64_t any = 0;

	for (size_t i = 0; i < sizeof(sw->control->host_marks) / sizeof(sw->control->host_marks[0]); i++)
		any |= sw->control->host_marks[i];
	return any != 0;
}

static int see(const struct nl_rule *rule, bool own, void *arg)
{
	struct pass *p = arg;

	for (uint32_t i = 1; i <= MARKS && !*rule->oif; i++)
		p->used[i] |= !((rule->mark ^ i * MARK_STEP) & rule->mask);
	return own && is_noted(p->sw, mark_of(rule)) ? put(&p->have, rule) : 0;
}

/* ---- what should be */

bool vrf_device_has(const struct sw *sw, int ifindex)
{
	const struct link *l = mirror_link(sw->mirror, ifindex);

	l = l && l->master ? mirror_link(sw->mirror, l->master) : NULL;
	return l && !strcmp(l->kind, "vrf");
}

/* Those with a table, but where a netdev of theirs is in a VRF device: the kernel keeps them apart by itself. */
void vrf_host_apart(const struct sw *sw, bool ret[VRF_MAX])
{
	const struct model *m = sw->model;

	memset(ret, 0, VRF_MAX * sizeof(ret[0]));
	for (size_t i = 1; i < m->n_vrfs; i++)
		if (m->vrfs[i].n_tables)
			ret[vrf_id(sw, m->vrfs[i].name)] = true;
	for (size_t i = 0; i < m->n_ifaces; i++)
		if (vrf_device_has(sw, iface_host_ifindex(sw, iface_id(sw, m->ifaces[i].name))))
			ret[vrf_id(sw, m->ifaces[i].vrf)] = false;
	ret[0] = false;
}

static uint32_t choose_mark(struct pass *p)
{
	for (uint32_t i = 1; i <= MARKS; i++) {
		if (!p->used[i]) {
			p->used[i] = true;
			return i * MARK_STEP;
		}
	}
	return 0;
}

static size_t add_tables(const struct vrf_cfg *c, uint32_t *ret, size_t n, size_t max)
{
	bool main = strcmp(c->name, "default") != 0;

	for (size_t i = 0; i < c->n_tables && n < max; i++) {
		main |= c->tables[i] == RT_TABLE_MAIN;
		ret[n++] = c->tables[i];
	}
	if (!main && n < max)
		ret[n++] = RT_TABLE_MAIN;
	return n;
}

/* The tables in the order that they are asked in. */
static size_t tables_of(const struct sw *sw, const struct vrf_cfg *c, uint32_t *ret, size_t max)
{
	size_t n = add_tables(c, ret, 0, max);

	for (size_t i = 0; i < c->n_imports; i++) {
		const struct vrf_cfg *from = model_vrf(sw->model, c->imports[i].vrf);

		if (from)
			n = add_tables(from, ret, n, max);
	}
	return n;
}

/* From this one's priority on. */
static int want_tables(struct pass *p, const struct vrf_cfg *c, struct nl_rule rule)
{
	uint32_t tables[RULES_MAX - 2];
	size_t n = tables_of(p->sw, c, tables, RULES_MAX - 2);
	int r = 0;

	if (rule.family == 6) { /* what stays on its link needs no VRF: it has an interface */
		rule.to = (struct prefix){.addr.a8 = {0xfe, 0x80}, .family = 6, .len = LINK_LOCAL};
		rule.table = RT_TABLE_MAIN;
		r = put(&p->want, &rule);
		rule.to = (struct prefix){0};
	}
	for (size_t i = 0; i < n && !r; i++) {
		rule.priority++;
		rule.table = tables[i];
		r = put(&p->want, &rule);
	}
	return r;
}

static const struct link *host_link(const struct sw *sw, const struct iface_cfg *c)
{
	return mirror_link(sw->mirror, iface_host_ifindex(sw, iface_id(sw, c->name)));
}

/* What bears the mark; and what a socket sends that is bound to a netdev of the VRF, or that names one (IP_PKTINFO). That finds
 * nothing else by another VRF's way, whatever the tables behind have: it leaves by its netdev. */
static int want_rules(struct pass *p, const struct vrf_cfg *c, uint32_t mark, uint8_t family)
{
	struct nl_rule rule = {.family = family, .mark = mark, .mask = VRF_MARK_MASK, .priority = PRIORITY};
	const struct model *m = p->sw->model;
	int r = want_tables(p, c, rule);

	rule.priority = PRIORITY_END;
	if (!r)
		r = put(&p->want, &rule);
	rule = (struct nl_rule){.family = family, .priority = priority_oif(mark)};
	for (size_t i = 0; i < m->n_ifaces && !r; i++) {
		const struct link *l = strcmp(m->ifaces[i].vrf, c->name) ? NULL : host_link(p->sw, &m->ifaces[i]);

		if (!l)
			continue;
		snprintf(rule.oif, sizeof(rule.oif), "%s", l->name);
		r = want_tables(p, c, rule);
	}
	return r;
}

/* ---- the kernel's switches */

static const char *const switches[] = {"ipv4/fwmark_reflect", "ipv4/tcp_fwmark_accept", "ipv6/fwmark_reflect"};

/* Those that were off are set, and set back later; whatever somebody else has set stays. Noted before: a sluiced that is killed
 * in between sets back what it had not set. */
static void set_switches(struct sw *sw, bool on)
{
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		uint32_t bit = 1u << i;
		bool noted = sw->control->host_switches & bit;

		if (on && sysctl_get("%s", switches[i]) == '0') {
			sw->control->host_switches |= bit;
			if (!sysctl_set("1", "%s", switches[i]))
				sw->control->host_switches &= ~bit;
		} else if (!on && noted && sysctl_set("0", "%s", switches[i])) {
			sw->control->host_switches &= ~bit;
		}
	}
}

/* ---- reconciliation */

/* A kernel without routing rules, or without the family, has no rules to read: its answers are as they ever were. */
static bool no_rules(int r)
{
	return r == -EOPNOTSUPP || r == -EAFNOSUPPORT;
}

/* The rules that there are, of both families; *ret_families: a bit for each that has any. */
static int read_rules(struct pass *p, unsigned *ret_families)
{
	int r;

	for (uint8_t family = 4; family <= 6; family += 2) {
		r = netlink_rules_each(p->sw->nl, family, see, p);
		if (r && !no_rules(r))
			return r;
		if (!r)
			*ret_families |= 1u << family;
	}
	return 0;
}

static int gather(struct pass *p, const bool apart[VRF_MAX], unsigned families, uint32_t marks[VRF_MAX], struct errs *errs)
{
	const struct model *m = p->sw->model;
	int r = 0;

	for (size_t i = 1; i < m->n_vrfs && families; i++) {
		uint16_t id = vrf_id(p->sw, m->vrfs[i].name);

		if (!apart[id])
			continue;
		marks[id] = vrf_mark_get(p->sw, id);
		if (!marks[id])
			marks[id] = choose_mark(p);
		if (!marks[id])
			return errs_fail(
				errs, ENOSPC,
				"vrfs.%s: the kernel's routing rules use all marks of the mask 0x%x: `ip rule` shows them",
				m->vrfs[i].name, VRF_MARK_MASK);
		for (uint8_t family = 4; family <= 6 && !r; family += 2)
			if (families >> family & 1)
				r = want_rules(p, &m->vrfs[i], marks[id], family);
	}
	return r ? errs_fail(errs, -r, "vrfs: the kernel's routing rules: %s", strerror(-r)) : 0;
}

/* Where one is refused, the others go again. */
static int take_back(struct pass *p, size_t n)
{
	struct errs unsaid = {0};
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		if (!has(&p->have, &p->want.v[i]))
			r = netlink_rule_delete(p->sw->nl, &p->want.v[i], &unsaid);
	errs_free(&unsaid);
	return r;
}

static int exchange(struct pass *p, struct errs *errs)
{
	__u64 *notes = p->sw->control->host_marks, before[sizeof(p->sw->control->host_marks) / sizeof(*notes)];
	int r = 0, one;

	memcpy(before, notes, sizeof(before));
	for (size_t i = 0; i < p->want.n; i++)
		note(p->sw, mark_of(&p->want.v[i]));
	for (size_t i = 0; i < p->want.n; i++) {
		if (!has(&p->have, &p->want.v[i]))
			r = netlink_rule_add(p->sw->nl, &p->want.v[i], errs);
		if (r) {
			if (!take_back(p, i))
				memcpy(notes, before, sizeof(before));
			return r;
		}
	}
	for (size_t i = 0; i < p->have.n; i++) {
		one = has(&p->want, &p->have.v[i]) ? 0 : netlink_rule_delete(p->sw->nl, &p->have.v[i], errs);
		r = r ? r : one;
	}
	return r;
}

/* The marks whose rules are all gone: those that no VRF has. */
static void note_again(struct sw *sw)
{
	memset(sw->control->host_marks, 0, sizeof(sw->control->host_marks));
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (vrf_mark_get(sw, id))
			note(sw, vrf_mark_get(sw, id));
}

/* Rules before marks, and marks gone before rules: what bears a mark always finds its rules. */
static int apply(struct pass *p, const uint32_t marks[VRF_MAX], struct errs *errs)
{
	bool any = false;
	int r;

	for (uint16_t id = 1; id < VRF_MAX; id++) {
		any |= marks[id] != 0;
		if (!marks[id] && vrf_mark_get(p->sw, id))
			vrf_mark_set(p->sw, id, 0);
	}
	r = exchange(p, errs);
	if (r)
		return r;
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (marks[id])
			vrf_mark_set(p->sw, id, marks[id]);
	note_again(p->sw);
	set_switches(p->sw, any);
	return 0;
}

/* All that is noted, or was by a version that noted nothing but the marks of VRFs. */
static bool look_back(struct pass *p)
{
	for (uint16_t id = 1; id < VRF_MAX; id++) {
		uint32_t mark = vrf_mark_get(p->sw, id);

		p->used[number_of(mark)] = true;
		if (mark)
			note(p->sw, mark);
	}
	return p->sw->control->host_switches || any_noted(p->sw);
}

int vrf_host_reconcile(struct sw *sw, struct errs *errs)
{
	uint32_t marks[VRF_MAX] = {0};
	struct pass p = {.sw = sw};
	bool apart[VRF_MAX];
	unsigned families = 0;
	bool any = look_back(&p);
	int r;

	vrf_host_apart(sw, apart);
	for (uint16_t id = 1; id < VRF_MAX; id++)
		any |= apart[id];
	if (!any) {
		iface_valid_marks(sw, false);
		return 0;
	}
	r = read_rules(&p, &families);
	if (r)
		r = errs_fail(errs, -r, "vrfs: the kernel's routing rules: %s", strerror(-r));
	else
		r = gather(&p, apart, families, marks, errs);
	if (!r)
		r = apply(&p, marks, errs);
	if (!r)
		iface_valid_marks(sw, true);
	free(p.have.v);
	free(p.want.v);
	return r;
}
