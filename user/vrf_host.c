/* vrf_host.c: the host's own answers in VRFs: a ping of the gateway's address, a connection to it, what it routes itself. Between
 * the noun `vrf`, the kernel's routing rules and bpf/vrf.h.
 *
 * The kernel has the addresses of all VRFs in one table, and would answer by the first prefix that fits. So what goes to the host
 * out of a VRF bears a mark (tc sets it), the kernel is told to answer with the mark of what it answers (fwmark_reflect,
 * tcp_fwmark_accept), and routing rules lead what bears it to the VRF's tables, whose first one has the VRF's connected prefixes
 * and static routes from route_host.c. Behind the VRF's own tables stand those of the VRFs that it imports from; at the end a
 * rule that says unreachable, so that nothing leaves by another VRF's way.
 *
 * Only VRFs with a table have this, and not those whose netdevs are in a VRF device of the kernel, where the kernel does it all.
 * The rules have the protocol RTPROT_SLUICE and are known by their mark, which stands with the VRF in the map `vrfs`, and so
 * outlives sluiced. A mark is chosen that no rule has yet: another instance's marks are others.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "sw.h"

#define PRIORITY     1100 /* behind that of VRF devices (1000), before main */
#define PRIORITY_END 1199
#define MARK_STEP    (1u << 24) /* the lowest bit of VRF_MARK_MASK */
#define MARKS	     255
#define RULES_MAX    100 /* of one VRF and family, the first and the last one included */
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
	       a->table == b->table && a->to.family == b->to.family && a->to.len == b->to.len;
}

static bool has(const struct rules *list, const struct nl_rule *rule)
{
	for (size_t i = 0; i < list->n; i++)
		if (same(&list->v[i], rule))
			return true;
	return false;
}

/* ---- what there is */

static bool is_ours(const struct sw *sw, uint32_t mark)
{
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (vrf_mark_get(sw, id) == mark)
			return true;
	return false;
}

static int see(const struct nl_rule *rule, bool own, void *arg)
{
	struct pass *p = arg;

	for (uint32_t i = 1; i <= MARKS; i++)
		p->used[i] |= !((rule->mark ^ i * MARK_STEP) & rule->mask);
	return own && rule->mask == VRF_MARK_MASK && is_ours(p->sw, rule->mark) ? put(&p->have, rule) : 0;
}

/* ---- what should be */

/* Those with a table, but where a netdev of theirs is in a VRF device: the kernel keeps them apart by itself. */
void vrf_host_apart(const struct sw *sw, bool ret[VRF_MAX])
{
	const struct model *m = sw->model;

	memset(ret, 0, VRF_MAX * sizeof(ret[0]));
	for (size_t i = 1; i < m->n_vrfs; i++)
		if (m->vrfs[i].n_tables)
			ret[vrf_id(sw, m->vrfs[i].name)] = true;
	for (size_t i = 0; i < m->n_ifaces; i++) {
		const struct link *l = mirror_link(sw->mirror, iface_host_ifindex(sw, iface_id(sw, m->ifaces[i].name)));

		l = l && l->master ? mirror_link(sw->mirror, l->master) : NULL;
		if (l && !strcmp(l->kind, "vrf"))
			ret[vrf_id(sw, m->ifaces[i].vrf)] = false;
	}
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

static int want_rules(struct pass *p, const struct vrf_cfg *c, uint32_t mark, uint8_t family)
{
	struct nl_rule rule = {.family = family, .mark = mark, .mask = VRF_MARK_MASK, .priority = PRIORITY};
	uint32_t tables[RULES_MAX - 2];
	size_t n = tables_of(p->sw, c, tables, RULES_MAX - 2);
	int r = 0;

	if (family == 6) { /* what stays on its link needs no VRF: it has an interface */
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
	rule.priority = PRIORITY_END;
	rule.table = 0;
	return r ? r : put(&p->want, &rule);
}

/* ---- the kernel's switches */

static const char *const switches[] = {"ipv4/fwmark_reflect", "ipv4/tcp_fwmark_accept", "ipv6/fwmark_reflect"};

/* '0', '1', or 0: there is none. */
static char switch_get(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c = 0;

	if (fd < 0)
		return 0;
	if (read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c;
}

static bool switch_set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, value, 1) == 1;
	close(fd);
	return done;
}

/* Those that were off are set, and set back later; whatever somebody else has set stays. */
static void set_switches(struct sw *sw, bool on)
{
	char path[128];

	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		bool set = sw->control->host_switches >> i & 1;

		snprintf(path, sizeof(path), "/proc/sys/net/%s", switches[i]);
		if (on && switch_get(path) == '0' && switch_set(path, "1"))
			sw->control->host_switches |= 1u << i;
		else if (!on && set && switch_set(path, "0"))
			sw->control->host_switches &= ~(1u << i);
	}
}

/* A check of the reverse path, where the administrator has one, looks into the VRF's tables too. */
static void set_valid_marks(struct sw *sw)
{
	const struct model *m = sw->model;
	char path[128];

	for (size_t i = 0; i < m->n_ifaces; i++) {
		const struct link *l = mirror_link(sw->mirror, iface_host_ifindex(sw, iface_id(sw, m->ifaces[i].name)));

		if (!l || !vrf_mark_get(sw, vrf_id(sw, m->ifaces[i].vrf)))
			continue;
		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/src_valid_mark", l->name);
		switch_set(path, "1");
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

/* Those of a new mark are not known as ours before it is set: where one is refused, the others go again. */
static void take_back(struct pass *p, size_t n)
{
	struct errs unsaid = {0};

	for (size_t i = 0; i < n; i++)
		if (!has(&p->have, &p->want.v[i]))
			netlink_rule_delete(p->sw->nl, &p->want.v[i], &unsaid);
	errs_free(&unsaid);
}

static int exchange(struct pass *p, struct errs *errs)
{
	int r = 0, one;

	for (size_t i = 0; i < p->want.n; i++) {
		if (!has(&p->have, &p->want.v[i]))
			r = netlink_rule_add(p->sw->nl, &p->want.v[i], errs);
		if (r) {
			take_back(p, i);
			return r;
		}
	}
	for (size_t i = 0; i < p->have.n; i++) {
		one = has(&p->want, &p->have.v[i]) ? 0 : netlink_rule_delete(p->sw->nl, &p->have.v[i], errs);
		r = r ? r : one;
	}
	return r;
}

/* Rules before marks, and marks gone before rules: what bears a mark always finds its rules. */
static int apply(struct pass *p, const uint32_t marks[VRF_MAX], struct errs *errs)
{
	bool any = false;
	int r;

	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (!marks[id] && vrf_mark_get(p->sw, id))
			vrf_mark_set(p->sw, id, 0);
	r = exchange(p, errs);
	for (uint16_t id = 1; id < VRF_MAX && !r; id++) {
		any |= marks[id] != 0;
		if (marks[id])
			vrf_mark_set(p->sw, id, marks[id]);
	}
	if (r)
		return r;
	set_switches(p->sw, any);
	set_valid_marks(p->sw);
	return 0;
}

int vrf_host_reconcile(struct sw *sw, struct errs *errs)
{
	uint32_t marks[VRF_MAX] = {0};
	struct pass p = {.sw = sw};
	bool apart[VRF_MAX];
	bool any = sw->control->host_switches;
	unsigned families = 0;
	int r;

	vrf_host_apart(sw, apart);
	for (uint16_t id = 1; id < VRF_MAX; id++) {
		any |= apart[id] || vrf_mark_get(sw, id);
		p.used[number_of(vrf_mark_get(sw, id))] = true;
	}
	if (!any)
		return 0;
	r = read_rules(&p, &families);
	if (r)
		r = errs_fail(errs, -r, "vrfs: the kernel's routing rules: %s", strerror(-r));
	else
		r = gather(&p, apart, families, marks, errs);
	if (!r)
		r = apply(&p, marks, errs);
	free(p.have.v);
	free(p.want.v);
	return r;
}
