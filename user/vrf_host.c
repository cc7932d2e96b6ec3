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
 *
 * A thousand interfaces have some thousand rules. What the kernel has is read once, and again after somebody else changed a rule;
 * both lists are sorted and compared in one walk, and the difference is asked for some requests a turn of the event loop.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sw.h"
#include "sysctl.h"
#include "vrf_priv.h"

#define LINK_LOCAL 10 /* fe80::/10 */
#define REQUESTS   64 /* to the kernel in one turn: 2 ms of its time beside some thousand rules */

struct own_rule {
	struct nl_rule rule;
	bool fresh; /* added by the pass under way */
};

struct rules {
	struct own_rule *v;
	size_t n, room;
};

struct vrf_tables {
	uint32_t v[RULES_MAX - 2];
	size_t n;
};

struct vrf_host {
	struct sw *sw;
	struct rules have, want; /* `have`: our own ones that the kernel has, sorted when a turn begins */
	bool known;		 /* `have` and the following two are what the kernel says */
	unsigned families;	 /* a bit for each that has rules at all */
	bool foreign[MARKS + 1]; /* marks of rules that are not ours */
	uint32_t marks[VRF_MAX]; /* of the VRFs that shall have one */
	/* A pass: from the first difference until there is none, or, after a refusal, until what it has added is gone again. */
	bool busy, back;
	bool noted; /* the notes may be as they were before it */
	__u64 notes[sizeof(((struct control *)0)->host_marks) / sizeof(__u64)];
	int error; /* the first refusal, with its words */
	struct errs errs;
};

static int put(struct rules *list, const struct nl_rule *rule, bool fresh)
{
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct own_rule *v = realloc(list->v, room * sizeof(*v));

		if (!v)
			return -ENOMEM;
		list->v = v;
		list->room = room;
	}
	list->v[list->n++] = (struct own_rule){*rule, fresh};
	return 0;
}

static int order(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

/* By netdev, and then as the kernel asks them. */
static int rule_order(const struct nl_rule *a, const struct nl_rule *b)
{
	int d = strcmp(a->oif, b->oif);

	d = d ? d : order(a->family, b->family);
	d = d ? d : order(a->priority, b->priority);
	d = d ? d : order(a->mark, b->mark);
	d = d ? d : order(a->mask, b->mask);
	d = d ? d : order(a->table, b->table);
	d = d ? d : order(a->to.family, b->to.family);
	return d ? d : order(a->to.len, b->to.len);
}

static int by_rule(const void *a, const void *b)
{
	return rule_order(&((const struct own_rule *)a)->rule, &((const struct own_rule *)b)->rule);
}

static void sort(struct rules *list)
{
	if (list->n)
		qsort(list->v, list->n, sizeof(*list->v), by_rule);
}

/* ---- what there is */

/* A mark stands in the map `control` from before its first rule is made until after its last one is gone: so a sluiced that is
 * killed in between leaves no rule that the next one does not know. Of another instance with the same mark, begun while this
 * one was dead before its first rule, the rules would be taken for ours. */
static bool is_noted(const struct sw *sw, uint32_t mark)
{
	return sw->control->host_marks[vrf_mark_number(mark) / 64] >> vrf_mark_number(mark) % 64 & 1;
}

static void note(struct sw *sw, uint32_t mark)
{
	sw->control->host_marks[vrf_mark_number(mark) / 64] |= 1ull << vrf_mark_number(mark) % 64;
}

static bool any_noted(const struct sw *sw)
{
	uint64_t any = 0;

	for (size_t i = 0; i < sizeof(sw->control->host_marks) / sizeof(sw->control->host_marks[0]); i++)
		any |= sw->control->host_marks[i];
	return any != 0;
}

static int see(const struct nl_rule_seen *seen, void *arg)
{
	const struct nl_rule *rule = &seen->is;
	struct vrf_host *h = arg;

	if (!rule->mark && !*rule->oif)
		return 0;
	if (seen->own && is_noted(h->sw, vrf_rule_mark(rule)))
		return put(&h->have, rule, false);
	for (uint32_t i = 1; i <= MARKS && !*rule->oif; i++)
		h->foreign[i] |= !((rule->mark ^ i * MARK_STEP) & rule->mask);
	return 0;
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

/* Noted at once: nobody else of ours gets it. */
static uint32_t choose_mark(struct vrf_host *h)
{
	for (uint32_t i = 1; i <= MARKS; i++) {
		if (!h->foreign[i] && !is_noted(h->sw, i * MARK_STEP)) {
			note(h->sw, i * MARK_STEP);
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
static void tables_of(const struct sw *sw, const struct vrf_cfg *c, struct vrf_tables *ret)
{
	const size_t max = sizeof(ret->v) / sizeof(ret->v[0]);

	ret->n = add_tables(c, ret->v, 0, max);
	for (size_t i = 0; i < c->n_imports; i++) {
		const struct vrf_cfg *from = model_vrf(sw->model, c->imports[i].vrf);

		if (from)
			ret->n = add_tables(from, ret->v, ret->n, max);
	}
}

/* From this one's priority on. */
static int want_tables(struct vrf_host *h, const struct vrf_tables *tables, struct nl_rule rule)
{
	int r = 0;

	if (rule.family == 6) { /* what stays on its link needs no VRF: it has an interface */
		rule.to = (struct prefix){.addr.a8 = {0xfe, 0x80}, .family = 6, .len = LINK_LOCAL};
		rule.table = RT_TABLE_MAIN;
		r = put(&h->want, &rule, false);
		rule.to = (struct prefix){0};
	}
	for (size_t i = 0; i < tables->n && !r; i++) {
		rule.priority++;
		rule.table = tables->v[i];
		r = put(&h->want, &rule, false);
	}
	return r;
}

/* What bears the mark. */
static int want_mark(struct vrf_host *h, const struct vrf_tables *tables, uint32_t mark, uint8_t family)
{
	struct nl_rule rule = {.family = family, .mark = mark, .mask = VRF_MARK_MASK, .priority = PRIORITY};
	int r = want_tables(h, tables, rule);

	rule.priority = PRIORITY_END;
	return r ? r : put(&h->want, &rule, false);
}

/* What a socket sends that is bound to a netdev of a VRF, or that names one (IP_PKTINFO). That finds nothing else by another
 * VRF's way, whatever the tables behind have: it leaves by its netdev. */
static int want_netdev(struct vrf_host *h, const struct iface_cfg *c, const struct vrf_tables *tables)
{
	uint16_t id = vrf_id(h->sw, c->vrf);
	const struct link *l =
		h->marks[id] ? mirror_link(h->sw->mirror, iface_host_ifindex(h->sw, iface_id(h->sw, c->name))) : NULL;
	struct nl_rule rule = {.priority = vrf_priority_oif(h->marks[id])};
	int r = 0;

	if (!l)
		return 0;
	snprintf(rule.oif, sizeof(rule.oif), "%s", l->name);
	for (rule.family = 4; rule.family <= 6 && !r; rule.family += 2)
		if (h->families >> rule.family & 1)
			r = want_tables(h, &tables[id], rule);
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
			sysctl_note(true, "%s", switches[i]);
			sw->control->host_switches |= bit;
			if (!sysctl_set("1", "%s", switches[i]))
				sw->control->host_switches &= ~bit;
		} else if (!on && noted && sysctl_set("0", "%s", switches[i])) {
			sysctl_note(false, "%s", switches[i]);
			sw->control->host_switches &= ~bit;
		}
	}
}

/* ---- reconciliation */

static int read_rules(struct vrf_host *h)
{
	int r;

	h->have.n = 0;
	h->families = 0;
	memset(h->foreign, 0, sizeof(h->foreign));
	for (uint8_t family = 4; family <= 6; family += 2) {
		r = netlink_rules_each(h->sw->nl, family, see, h);
		if (r && !netlink_no_rules(r)) /* else its answers are as they ever were */
			return r;
		if (!r)
			h->families |= 1u << family;
	}
	sort(&h->have);
	h->known = true;
	return 0;
}

static int want_vrf(struct vrf_host *h, const struct vrf_cfg *c, uint16_t id, struct vrf_tables *tables, struct errs *errs)
{
	int r = 0;

	if (!h->marks[id])
		h->marks[id] = vrf_mark_get(h->sw, id);
	if (!h->marks[id])
		h->marks[id] = choose_mark(h);
	if (!h->marks[id])
		return errs_fail(errs, ENOSPC,
				 "vrfs.%s: the kernel's routing rules use all marks of the mask 0x%x: `ip rule` shows them",
				 c->name, VRF_MARK_MASK);
	tables_of(h->sw, c, tables);
	for (uint8_t family = 4; family <= 6 && !r; family += 2)
		if (h->families >> family & 1)
			r = want_mark(h, tables, h->marks[id], family);
	return r;
}

static int gather(struct vrf_host *h, const bool apart[VRF_MAX], struct errs *errs)
{
	const struct model *m = h->sw->model;
	struct vrf_tables *tables = calloc(VRF_MAX, sizeof(*tables));
	int r = tables ? 0 : -ENOMEM;

	h->want.n = 0;
	for (uint16_t id = 0; id < VRF_MAX; id++)
		if (!apart[id] || !h->families)
			h->marks[id] = 0;
	for (size_t i = 1; i < m->n_vrfs && h->families && !r; i++) {
		uint16_t id = vrf_id(h->sw, m->vrfs[i].name);

		if (apart[id])
			r = want_vrf(h, &m->vrfs[i], id, &tables[id], errs);
	}
	for (size_t i = 0; i < m->n_ifaces && h->families && !r; i++)
		r = want_netdev(h, &m->ifaces[i], tables);
	free(tables);
	sort(&h->want);
	return r == -ENOMEM ? errs_fail(errs, ENOMEM, "vrfs: the kernel's routing rules: %s", strerror(ENOMEM)) : r;
}

static void keep_error(struct vrf_host *h, int r, struct errs *words)
{
	if (!h->error) {
		h->error = r;
		h->errs = *words;
		*words = (struct errs){0};
	}
	errs_free(words);
}

/* Those that are wanted and not there, until none is `left`. -errno: one is refused. */
static int add_some(struct vrf_host *h, unsigned *left)
{
	size_t had = h->have.n, k = 0;
	struct errs words = {0};
	int r = 0;

	for (size_t i = 0; i < h->want.n && *left && !r; i++) {
		const struct nl_rule *rule = &h->want.v[i].rule;

		while (k < had && rule_order(&h->have.v[k].rule, rule) < 0)
			k++;
		if (k < had && !rule_order(&h->have.v[k].rule, rule))
			continue;
		--*left;
		r = netlink_rule_add(h->sw->nl, rule, &words);
		if (r)
			keep_error(h, r, &words);
		else
			r = put(&h->have, rule, true);
	}
	sort(&h->have);
	return r;
}

/* Those that are there and not wanted, or all that are `fresh`. One that is refused does not keep the others from it. */
static void delete_some(struct vrf_host *h, bool fresh, unsigned *left)
{
	size_t n = h->have.n, k = 0;
	struct errs words = {0};
	int r;

	h->have.n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct own_rule own = h->have.v[i];

		while (!fresh && k < h->want.n && rule_order(&h->want.v[k].rule, &own.rule) < 0)
			k++;
		if (!*left || (fresh ? !own.fresh : k < h->want.n && !rule_order(&h->want.v[k].rule, &own.rule))) {
			h->have.v[h->have.n++] = own;
			continue;
		}
		--*left;
		r = netlink_rule_delete(h->sw->nl, &own.rule, &words);
		if (r) {
			keep_error(h, r, &words);
			h->known = h->noted = false;
		}
	}
}

/* The marks whose rules are all gone: those that no VRF has. */
static void note_again(struct sw *sw)
{
	memset(sw->control->host_marks, 0, sizeof(sw->control->host_marks));
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (vrf_mark_get(sw, id))
			note(sw, vrf_mark_get(sw, id));
}

static void pass_begin(struct vrf_host *h)
{
	h->busy = h->noted = true;
	memcpy(h->notes, h->sw->control->host_marks, sizeof(h->notes));
	for (size_t i = 0; i < h->have.n; i++)
		h->have.v[i].fresh = false;
}

/* What was refused meanwhile is the answer, and the kernel is read once more before the next pass. */
static int pass_end(struct vrf_host *h, struct errs *errs)
{
	int r = h->error;

	for (size_t i = 0; i < h->errs.n; i++)
		errs_fail(errs, -r, "%s", h->errs.v[i].text);
	errs_free(&h->errs);
	h->errs = (struct errs){0};
	h->known &= !r;
	h->busy = h->back = false;
	h->error = 0;
	return r;
}

/* Where one is refused, the others that were added go again. */
static int go_back(struct vrf_host *h, struct errs *errs)
{
	unsigned left = REQUESTS;

	delete_some(h, true, &left);
	if (!left)
		return -EAGAIN;
	if (h->noted)
		memcpy(h->sw->control->host_marks, h->notes, sizeof(h->notes));
	memset(h->marks, 0, sizeof(h->marks));
	h->known = false;
	return pass_end(h, errs);
}

/* Rules before marks, and marks gone before rules: what bears a mark always finds its rules. */
static int apply(struct vrf_host *h, struct errs *errs)
{
	unsigned left = REQUESTS;
	bool any = false;
	int r;

	for (uint16_t id = 1; id < VRF_MAX; id++) {
		any |= h->marks[id] != 0;
		if (!h->marks[id] && vrf_mark_get(h->sw, id))
			vrf_mark_set(h->sw, id, 0);
	}
	r = add_some(h, &left);
	if (r) {
		if (!h->error)
			h->error = errs_fail(&h->errs, -r, "vrfs: the kernel's routing rules: %s", strerror(-r));
		h->back = true;
		return go_back(h, errs);
	}
	delete_some(h, false, &left);
	if (!left)
		return -EAGAIN;
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (h->marks[id] && vrf_mark_get(h->sw, id) != h->marks[id])
			vrf_mark_set(h->sw, id, h->marks[id]);
	note_again(h->sw);
	set_switches(h->sw, any);
	iface_valid_marks(h->sw, true);
	return pass_end(h, errs);
}

/* All that is noted, or was by a version that noted nothing but the marks of VRFs. */
static bool look_back(struct sw *sw)
{
	for (uint16_t id = 1; id < VRF_MAX; id++)
		if (vrf_mark_get(sw, id))
			note(sw, vrf_mark_get(sw, id));
	return sw->control->host_switches || any_noted(sw);
}

int vrf_host_reconcile(struct sw *sw, struct errs *errs)
{
	struct vrf_host *h = sw->vrf_host;
	bool apart[VRF_MAX], any = look_back(sw);
	int r;

	vrf_host_apart(sw, apart);
	for (uint16_t id = 1; id < VRF_MAX; id++)
		any |= apart[id];
	if (!any) {
		iface_valid_marks(sw, false);
		return 0;
	}
	if (h->back)
		return go_back(h, errs);
	if (!h->known && !h->busy) {
		r = read_rules(h);
		if (r)
			return errs_fail(errs, -r, "vrfs: the kernel's routing rules: %s", strerror(-r));
	}
	if (!h->busy)
		pass_begin(h);
	r = gather(h, apart, errs);
	return r ? r : apply(h, errs);
}

void vrf_host_rules_changed(struct sw *sw)
{
	if (sw->vrf_host)
		sw->vrf_host->known = false;
}

int vrf_host_open(struct sw *sw, struct errs *errs)
{
	sw->vrf_host = calloc(1, sizeof(*sw->vrf_host));
	if (!sw->vrf_host)
		return errs_fail(errs, ENOMEM, "out of memory");
	sw->vrf_host->sw = sw;
	return 0;
}

void vrf_host_close(struct sw *sw)
{
	if (!sw->vrf_host)
		return;
	free(sw->vrf_host->have.v);
	free(sw->vrf_host->want.v);
	errs_free(&sw->vrf_host->errs);
	free(sw->vrf_host);
	sw->vrf_host = NULL;
}
