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

/* Configured ones first, then any of global scope; link-local ones (IPv6) only when there is no other. What is tentative,
 * temporary, deprecated or secondary is no address to speak from. */
static int rank(const struct link_addr *a, const struct iface_cfg *cfg)
{
	if (a->flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE))
		return 0;
	if (cfg && has(cfg->addrs, cfg->n_addrs, &a->addr))
		return 4;
	if (a->scope >= RT_SCOPE_LINK)
		return a->addr.family == 6 ? 1 : 0;
	return a->flags & (IFA_F_SECONDARY | IFA_F_DEPRECATED) ? 2 : 3;
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
	if (r > *have || (r == *have && r == 4 && index_of(b->cfg, &a->addr) < index_of(b->cfg, best))) {
		*best = a->addr;
		*have = r;
	}
	return 0;
}

void iface_addrs_primary(const struct sw *sw, int ifindex, const struct iface_cfg *cfg, struct iface *ret)
{
	struct best b = {.cfg = cfg};

	mirror_each_addr(sw->mirror, ifindex, consider, &b);
	for (size_t i = 0; cfg && i < cfg->n_addrs; i++) {
		struct prefix *best = cfg->addrs[i].family == 4 ? &b.v4 : &b.v6;

		if (!best->family)
			*best = cfg->addrs[i];
	}
	ret->addr4 = b.v4.family ? b.v4.addr.a32[3] : 0;
	memset(&ret->addr6, 0, sizeof(ret->addr6));
	if (b.v6.family)
		ret->addr6 = b.v6.addr;
}

static int show_one(const struct link_addr *a, void *arg)
{
	char text[PREFIX_TEXT];

	json_array_append_new(arg, json_string(prefix_text(&a->addr, text)));
	return 0;
}

json_t *iface_addrs_show(const struct sw *sw, int ifindex)
{
	json_t *list = json_array();

	if (ifindex)
		mirror_each_addr(sw->mirror, ifindex, show_one, list);
	return list;
}
