/* iface_addr.c: the addresses of interfaces: the configuration's go to the kernel, the kernel's (DHCP's and keepalived's
 * too) come back as primary addresses. Between the model, netlink.h and the mirror.
 *
 * Only addresses that sluiced itself put on a netdev are ever taken away.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include "iface_priv.h"

static bool same(const struct prefix *a, const struct prefix *b)
{
	return a->family == b->family && a->len == b->len && !memcmp(&a->addr, &b->addr, sizeof(a->addr));
}

static bool has(const struct prefix *v, size_t n, const struct prefix *p)
{
	for (size_t i = 0; i < n; i++)
		if (same(&v[i], p))
			return true;
	return false;
}

int iface_addrs_remove(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs)
{
	int err = 0, r;

	for (size_t i = 0; i < s->n_addrs; i++) {
		if (!s->host_ifindex || (cfg && has(cfg->addrs, cfg->n_addrs, &s->addrs[i])))
			continue;
		r = netlink_addr_delete(sw->nl, s->host_ifindex, &s->addrs[i], errs);
		/* The netdev is gone, and the address with it. */
		if (r && r != -ENODEV && !err)
			err = r;
	}
	return err;
}

int iface_addrs_own(struct iface_slot *s, const struct iface_cfg *cfg)
{
	struct prefix *v = NULL;

	if (cfg && cfg->n_addrs) {
		v = malloc(cfg->n_addrs * sizeof(*v));
		if (!v)
			return -ENOMEM;
		memcpy(v, cfg->addrs, cfg->n_addrs * sizeof(*v));
	}
	free(s->addrs);
	s->addrs = v;
	s->n_addrs = v ? cfg->n_addrs : 0;
	return 0;
}

/* The kernel's own routes for the prefixes of VRFs stand in the table main: behind those of the same prefix that belong there.
 * (In a VRF device they stand in its table, where they belong.) */
#define VRF_METRIC  4000000000u
#define IPV6_METRIC 256 /* its own; it takes 0 for that of a new address alone */

struct seek {
	const struct prefix *p;
	const struct link_addr *found;
};

static int is_there(const struct link_addr *a, void *arg)
{
	struct seek *s = arg;

	s->found = same(&a->addr, s->p) ? a : NULL;
	return s->found != NULL;
}

/* Whatever other metric somebody gives an address outside of VRFs is his. */
static int addr_add(struct sw *sw, int ifindex, const struct prefix *p, bool in_vrf, struct errs *errs)
{
	struct seek s = {.p = p};
	uint32_t metric = in_vrf ? VRF_METRIC : 0;

	mirror_each_addr(sw->mirror, ifindex, is_there, &s);
	if (s.found && (s.found->metric == VRF_METRIC) == in_vrf)
		return 0;
	if (s.found && !in_vrf && p->family == 6)
		metric = IPV6_METRIC;
	return netlink_addr_add(sw->nl, ifindex, p, metric, errs);
}

int iface_addrs_add(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs)
{
	bool in_vrf = strcmp(cfg->vrf, "default") != 0 && !vrf_device_has(sw, s->host_ifindex);
	int err;

	err = iface_addrs_own(s, cfg);
	if (err)
		return errs_fail(errs, -err, "out of memory");
	for (size_t i = 0; !err && i < cfg->n_addrs; i++)
		err = addr_add(sw, s->host_ifindex, &cfg->addrs[i], in_vrf, errs);
	return err;
}

struct best {
	const struct iface_cfg *cfg;
	struct prefix v4, v6;
	int rank4, rank6; /* 0: none yet */
};

/* A router passes no packet on that has such a source. */
static bool link_local6(const struct prefix *p)
{
	return p->family == 6 && addr_is_link_local(&p->addr);
}

/* Configured ones first, then any of global scope. What is tentative, temporary, deprecated or secondary is no address to speak
 * from, and an IPv6 link-local one speaks to nobody beyond the link. */
static int rank(const struct link_addr *a, const struct iface_cfg *cfg)
{
	if (a->flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE) || link_local6(&a->addr))
		return 0;
	if (cfg && has(cfg->addrs, cfg->n_addrs, &a->addr))
		return 3;
	if (a->scope >= RT_SCOPE_LINK)
		return 0;
	return a->flags & (IFA_F_SECONDARY | IFA_F_DEPRECATED) ? 1 : 2;
}

static size_t index_of(const struct iface_cfg *cfg, const struct prefix *p)
{
	size_t i = 0;

	while (cfg && i < cfg->n_addrs && !same(&cfg->addrs[i], p))
		i++;
	return i;
}

static int consider(const struct link_addr *a, void *arg)
{
	struct best *b = arg;
	struct prefix *best = a->addr.family == 4 ? &b->v4 : &b->v6;
	int r = rank(a, b->cfg), *have = a->addr.family == 4 ? &b->rank4 : &b->rank6;

	/* Of several that are configured, the one that is written first. */
	if (r > *have || (r == *have && r == 3 && index_of(b->cfg, &a->addr) < index_of(b->cfg, best))) {
		*best = a->addr;
		*have = r;
	}
	return 0;
}

/* ---- what the others of a VRF lend
 *
 * An interface may have no address of a family, or only a link-local one (unnumbered links). The errors of such a one come from
 * another address of its VRF, as the kernel chooses it: of `lo`, which routers have their own address on, or of the first
 * interface that has some (RFC 1812 4.3.2.4 and 5.2.5: the router's id; RFC 6724 4, 5 rule 2). Which one does not depend on who
 * is answered. */

#define LOOPBACK_IFINDEX 1

struct lend {
	struct sw *sw;
	uint16_t vrf[IFACE_MAX]; /* of each interface */
};

/* The smaller one is taken: of interfaces in their order, addresses of `lo` before them, secondary ones last of each. */
static int lend_order(const struct lend *l, const struct link_addr *a, uint16_t *ret_vrf)
{
	uint16_t id = a->ifindex == LOOPBACK_IFINDEX ? 0 : iface_id_by_host(l->sw, a->ifindex);
	int r = rank(a, NULL);

	if (!r || (!id && a->ifindex != LOOPBACK_IFINDEX))
		return 0;
	*ret_vrf = id ? l->vrf[id] : 0;
	return id * 2 + 3 - r;
}

static int lend_one(const struct link_addr *a, void *arg)
{
	struct lend *l = arg;
	struct iface_lent *of;
	struct prefix *best;
	uint16_t vrf = 0;
	int order = lend_order(l, a, &vrf), *have;

	if (!order)
		return 0;
	of = &l->sw->ifaces->lent[vrf];
	best = a->addr.family == 4 ? &of->v4 : &of->v6;
	have = a->addr.family == 4 ? &of->order4 : &of->order6;
	if (*have && (*have < order || (*have == order && memcmp(&best->addr, &a->addr.addr, sizeof(best->addr)) < 0)))
		return 0;
	*best = a->addr;
	*have = order;
	return 0;
}

void iface_addrs_lend(struct sw *sw)
{
	struct lend l = {.sw = sw};

	memset(sw->ifaces->lent, 0, sizeof(sw->ifaces->lent));
	for (uint16_t id = 1; id < IFACE_MAX; id++) {
		const char *name = iface_name(sw, id);
		const struct iface_cfg *cfg = name ? model_iface(sw->model, name) : NULL;

		l.vrf[id] = cfg ? vrf_id(sw, cfg->vrf) : 0;
	}
	mirror_each_addr(sw->mirror, 0, lend_one, &l);
}

void iface_addrs_primary(const struct sw *sw, int ifindex, const struct iface_cfg *cfg, struct iface *ret)
{
	const struct iface_lent *lent = &sw->ifaces->lent[ret->vrf];
	struct best b = {.cfg = cfg};

	mirror_each_addr(sw->mirror, ifindex, consider, &b);
	for (size_t i = 0; cfg && i < cfg->n_addrs; i++) {
		struct prefix *best = cfg->addrs[i].family == 4 ? &b.v4 : &b.v6;

		if (!best->family && !link_local6(&cfg->addrs[i]))
			*best = cfg->addrs[i];
	}
	if (!b.v4.family && lent->order4)
		ret->flags |= IFACE_F_LENT4;
	if (!b.v6.family && lent->order6)
		ret->flags |= IFACE_F_LENT6;
	ret->addr4 = b.v4.family ? b.v4.addr.a32[3] : lent->v4.addr.a32[3];
	ret->addr6 = b.v6.family ? b.v6.addr : lent->v6.addr;
}

/* As `ip address` has them: IPv4 first, link-local ones last, and each of these by number, for the mirror has no order. */
static int compare_addrs(const void *x, const void *y)
{
	const struct prefix *a = x, *b = y;
	bool local_a = link_local6(a), local_b = link_local6(b);

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (local_a != local_b)
		return local_a ? 1 : -1;
	return memcmp(&a->addr, &b->addr, sizeof(a->addr));
}

struct shown {
	struct prefix *v;
	size_t n;
};

static int show_one(const struct link_addr *a, void *arg)
{
	struct shown *s = arg;
	struct prefix *v = realloc(s->v, (s->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	s->v = v;
	v[s->n++] = a->addr;
	return 0;
}

json_t *iface_addrs_show(const struct sw *sw, int ifindex)
{
	json_t *list = json_array();
	struct shown s = {0};
	char text[PREFIX_TEXT];

	if (ifindex)
		mirror_each_addr(sw->mirror, ifindex, show_one, &s);
	if (s.n)
		qsort(s.v, s.n, sizeof(*s.v), compare_addrs);
	for (size_t i = 0; i < s.n; i++)
		json_array_append_new(list, json_string(prefix_text(&s.v[i], text)));
	free(s.v);
	return list;
}
