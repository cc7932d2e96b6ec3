/* iface.c: the L3 interfaces of the switch: their ids, their netdevs, and the map `ifaces`. Between the model and the mirror
 * on one side and the data plane on the other.
 *
 * A VLAN's interface has a veth pair (iface_netdev.c), a routed port's interface is the port's own netdev. New pairs are made
 * before the ports are reconciled, because the switch's ends are ports; pairs of interfaces that are gone are deleted after
 * that, when nothing is attached to them any more. The fields masq_pool and nat_flags belong to nat.c and are left.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "iface_priv.h"

/* Where a name was found it is looked for first: every noun asks for every interface. */
static uint16_t find(struct ifaces *is, const char *name)
{
	uint16_t *last = &is->found[hash_end(hash_mix_bytes(0, name, strlen(name))) % (2 * IFACE_MAX)];

	if (!*name)
		return 0;
	if (!strcmp(is->slot[*last].name, name))
		return *last;
	for (uint16_t id = 1; id < IFACE_MAX; id++)
		if (!strcmp(is->slot[id].name, name))
			return *last = id;
	return 0;
}

static int read_slot(const void *key, void *value, void *arg)
{
	const struct iface *i = value;
	uint32_t id = *(const uint32_t *)key;
	struct ifaces *is = arg;

	if (id && id < IFACE_MAX && i->name[0]) {
		snprintf(is->slot[id].name, sizeof(is->slot[id].name), "%.15s", i->name);
		is->slot[id].is_vlan = i->vlan != 0;
		is->slot[id].host_ifindex = (int)i->host_ifindex;
		is->slot[id].valid_mark = i->flags & IFACE_F_VALID_MARK;
	}
	return 0;
}

int iface_open(struct sw *sw, struct errs *errs)
{
	struct table *t = table_get(sw->dp, "ifaces");
	int err;

	if (!t)
		return errs_fail(errs, ENOENT, "the map ifaces is missing");
	sw->ifaces = calloc(1, sizeof(*sw->ifaces));
	if (!sw->ifaces)
		return errs_fail(errs, ENOMEM, "out of memory");
	err = table_each(t, read_slot, sw->ifaces);
	return err ? errs_fail(errs, -err, "the table of interfaces cannot be read: %s", strerror(-err)) : 0;
}

void iface_close(struct sw *sw)
{
	if (!sw->ifaces)
		return;
	for (uint16_t id = 1; id < IFACE_MAX; id++)
		free(sw->ifaces->slot[id].addrs);
	free(sw->ifaces);
	sw->ifaces = NULL;
}

void iface_adopt(struct sw *sw, const struct model *former)
{
	for (size_t i = 0; i < former->n_ifaces; i++) {
		uint16_t id = find(sw->ifaces, former->ifaces[i].name);

		if (id)
			iface_addrs_own(&sw->ifaces->slot[id], &former->ifaces[i]);
	}
}

/* ---- netdevs */

static int assign(struct sw *sw, const struct iface_cfg *cfg, struct iface_slot **ret, struct errs *errs)
{
	struct ifaces *is = sw->ifaces;
	uint16_t id = find(is, cfg->name);

	for (uint16_t i = 1; !id && i < IFACE_MAX; i++) {
		if (is->slot[i].name[0])
			continue;
		id = i;
		snprintf(is->slot[i].name, sizeof(is->slot[i].name), "%s", cfg->name);
	}
	if (!id)
		return errs_fail(errs, E2BIG, "interface %s: the table of interfaces is full (%d)", cfg->name, IFACE_MAX - 1);
	*ret = &is->slot[id];
	return 0;
}

/* The netdev of a routed port. Another netdev under its name knows nothing of what was put on the former one. */
static void find_routed(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg)
{
	const struct link *l = mirror_link_by_name(sw->mirror, cfg->port);
	int ifindex = l ? l->ifindex : 0;

	if (ifindex != s->host_ifindex) {
		iface_valid_mark(sw, s, false);
		iface_addrs_own(s, NULL);
	}
	s->host_ifindex = ifindex;
	s->switch_ifindex = 0;
	s->is_vlan = false;
}

int iface_netdevs(struct sw *sw, struct errs *errs)
{
	const struct model *m = sw->model;
	struct iface_slot *s = NULL;
	int err = 0, r;

	for (size_t i = 0; i < m->n_ifaces; i++) {
		r = assign(sw, &m->ifaces[i], &s, errs);
		if (!r && m->ifaces[i].vlan) {
			/* What it was before as a routed port's interface is not its pair's. */
			if (!s->is_vlan) {
				iface_valid_mark(sw, s, false);
				s->host_ifindex = 0;
			}
			r = iface_pair_set(sw, s, &m->ifaces[i], errs);
		} else if (!r) {
			find_routed(sw, s, &m->ifaces[i]);
		}
		if (r && !err)
			err = r;
	}
	return err;
}

/* ---- the table */

static void build(struct sw *sw, const struct iface_slot *s, const struct iface_cfg *cfg, struct iface *e)
{
	const struct link *l = mirror_link(sw->mirror, s->host_ifindex);
	char other[IFNAMSIZ];
	uint32_t mtu;
	uint16_t pool = e->masq_pool;
	uint32_t nat_flags = e->nat_flags;

	memset(e, 0, sizeof(*e));
	e->masq_pool = pool;
	e->nat_flags = nat_flags;
	memcpy(e->name, s->name, strnlen(s->name, sizeof(e->name) - 1));
	e->vlan = cfg->vlan;
	e->vrf = vrf_id(sw, cfg->vrf);
	if (!s->host_ifindex)
		return;
	e->host_ifindex = (uint32_t)s->host_ifindex;
	e->mtu = l ? l->mtu : s->mtu;
	memcpy(e->mac, l ? l->mac : s->mac, 6);
	/* A pair that was made a moment ago is not in the mirror yet; it was set up. */
	e->flags = (l ? l->flags & IFF_UP : cfg->vlan) ? IFACE_F_UP : 0;
	if (s->valid_mark)
		e->flags |= IFACE_F_VALID_MARK;
	if (cfg->rpf)
		e->flags |= cfg->rpf == RPF_STRICT ? IFACE_F_RPF_STRICT : IFACE_F_RPF_LOOSE;
	e->mss = cfg->mss;
	if (cfg->vlan)
		e->port = iface_switch_end(sw, cfg->name, other, &mtu) ? port_id(sw, other) : 0;
	else
		e->port = port_id(sw, cfg->port);
	iface_addrs_primary(sw, s->host_ifindex, cfg, e);
}

/* *ret_changed is set when the data plane sees another interface than before. */
static int put(struct sw *sw, uint16_t id, const struct iface_cfg *cfg, bool *ret_changed, struct errs *errs)
{
	struct table *t = table_get(sw->dp, "ifaces");
	struct iface have, want;
	uint32_t key = id;
	int err;

	err = table_lookup(t, &key, &have);
	if (err)
		return errs_fail(errs, -err, "the table of interfaces cannot be read: %s", strerror(-err));
	want = have;
	if (cfg)
		build(sw, &sw->ifaces->slot[id], cfg, &want);
	else
		memset(&want, 0, sizeof(want));
	if (!memcmp(&have, &want, sizeof(have)))
		return 0;
	*ret_changed = true;
	err = table_set(t, &key, &want);
	return err ? errs_fail(errs, -err, "the table of interfaces cannot be written: %s", strerror(-err)) : 0;
}

static const struct iface_cfg *cfg_of(const struct sw *sw, const struct iface_slot *s)
{
	return s->name[0] ? model_iface(sw->model, s->name) : NULL;
}

static int remove_gone(struct sw *sw, bool *ret_changed, struct errs *errs)
{
	int err = 0, r;

	for (uint16_t id = 1; id < IFACE_MAX; id++) {
		struct iface_slot *s = &sw->ifaces->slot[id];

		if (!s->name[0])
			continue;
		if (cfg_of(sw, s)) {
			r = iface_addrs_remove(sw, s, cfg_of(sw, s), errs);
		} else {
			iface_valid_mark(sw, s, false);
			r = put(sw, id, NULL, ret_changed, errs);
			/* Of a pair that a former life made nothing is known here: the sweep finds it by its mark. */
			if (!r)
				r = s->is_vlan && s->switch_ifindex ? iface_pair_delete(sw, s, errs)
								    : iface_addrs_remove(sw, s, NULL, errs);
			free(s->addrs);
			memset(s, 0, sizeof(*s));
		}
		if (r && !err)
			err = r;
	}
	return err;
}

static int settle_netdev(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs)
{
	int err;

	if (!s->host_ifindex)
		return 0;
	if (cfg->vlan)
		err = iface_link_set(sw, s->host_ifindex, !s->raised, NULL, 0, errs);
	else
		err = iface_link_set(sw, s->host_ifindex, false, cfg->has_mac ? cfg->mac : NULL, cfg->mtu, errs);
	if (err)
		return err;
	s->raised = true;
	return iface_addrs_add(sw, s, cfg, errs);
}

int iface_reconcile(struct sw *sw, struct errs *errs)
{
	bool changed = false;
	int err, r;

	/* Addresses are taken away before others are added: one may have moved to another interface. */
	err = remove_gone(sw, &changed, errs);
	iface_addrs_lend(sw);
	if (!sw->ifaces->swept) {
		r = iface_pairs_sweep(sw, errs);
		err = err ? err : r;
		sw->ifaces->swept = true;
	}
	for (uint16_t id = 1; id < IFACE_MAX; id++) {
		struct iface_slot *s = &sw->ifaces->slot[id];
		const struct iface_cfg *cfg = cfg_of(sw, s);

		if (!cfg)
			continue;
		r = settle_netdev(sw, s, cfg, errs);
		if (!r || r == -ENODEV)
			r = put(sw, id, cfg, &changed, errs);
		err = err ? err : r;
	}
	if (changed)
		sw_epoch(sw);
	return err;
}

/* ---- the kernel's check of the reverse path */

void iface_note_valid_mark(struct sw *sw, struct iface_slot *s, bool on)
{
	struct table *t = table_get(sw->dp, "ifaces");
	uint32_t key = (uint32_t)(s - sw->ifaces->slot);
	struct iface e;

	s->valid_mark = on;
	if (table_lookup(t, &key, &e))
		return;
	e.flags = (uint16_t)(on ? e.flags | IFACE_F_VALID_MARK : e.flags & ~IFACE_F_VALID_MARK);
	table_set(t, &key, &e);
}

void iface_valid_marks(struct sw *sw, bool any)
{
	for (uint16_t id = 1; id < IFACE_MAX; id++) {
		struct iface_slot *s = &sw->ifaces->slot[id];
		const struct iface_cfg *cfg = s->host_ifindex && (any || s->valid_mark) ? cfg_of(sw, s) : NULL;

		if (cfg)
			iface_valid_mark(sw, s, vrf_mark_get(sw, vrf_id(sw, cfg->vrf)) != 0);
	}
}

/* ---- what others ask */

uint16_t iface_id(const struct sw *sw, const char *name)
{
	return find(sw->ifaces, name);
}

uint16_t iface_id_by_host(const struct sw *sw, int ifindex)
{
	for (uint16_t id = 1; ifindex > 0 && id < IFACE_MAX; id++)
		if (sw->ifaces->slot[id].name[0] && sw->ifaces->slot[id].host_ifindex == ifindex)
			return id;
	return 0;
}

static const struct iface_slot *slot(const struct sw *sw, uint16_t id)
{
	return id && id < IFACE_MAX && sw->ifaces->slot[id].name[0] ? &sw->ifaces->slot[id] : NULL;
}

const char *iface_name(const struct sw *sw, uint16_t id)
{
	return slot(sw, id) ? slot(sw, id)->name : NULL;
}

int iface_get(const struct sw *sw, uint16_t id, struct iface *ret)
{
	uint32_t key = id;

	return slot(sw, id) ? table_lookup(table_get(sw->dp, "ifaces"), &key, ret) : -ENOENT;
}

int iface_host_ifindex(const struct sw *sw, uint16_t id)
{
	return slot(sw, id) ? slot(sw, id)->host_ifindex : 0;
}

bool iface_any_former(const struct sw *sw)
{
	for (uint16_t id = 1; id < IFACE_MAX; id++)
		if (sw->ifaces->slot[id].name[0])
			return true;
	return false;
}

bool iface_usable(const struct sw *sw, uint16_t id)
{
	return mirror_link_usable(sw->mirror, iface_host_ifindex(sw, id));
}

int iface_switch_end(const struct sw *sw, const char *iface, char ret_name[IFNAMSIZ], uint32_t *ret_mtu)
{
	const struct iface_slot *s = slot(sw, find(sw->ifaces, iface));

	if (!s || !s->is_vlan || !s->switch_ifindex)
		return 0;
	snprintf(ret_name, IFNAMSIZ, SWITCH_END "%.12s", s->name);
	*ret_mtu = s->mtu;
	return s->switch_ifindex;
}

const char *iface_of_host_port(const struct sw *sw, const char *netdev)
{
	const struct iface_cfg *cfg;

	if (strncmp(netdev, SWITCH_END, strlen(SWITCH_END)))
		return NULL;
	cfg = model_iface(sw->model, netdev + strlen(SWITCH_END));
	return cfg && cfg->vlan ? cfg->name : NULL;
}

const char *iface_state(const struct sw *sw, const struct iface_cfg *cfg)
{
	uint16_t id = find(sw->ifaces, cfg->name);

	if (!id || !iface_host_ifindex(sw, id))
		return "absent";
	return iface_usable(sw, id) ? "up" : "down";
}

/* {"name", "id", "vlan" | "port", "vrf", "addresses": [...], "mac", "mtu", "ifindex", "state": "up"|"down"|"absent",
 *  "rpf": "off"|"loose"|"strict", "mss": "clamp"|N (absent: any)} */
json_t *iface_show_one(struct sw *sw, const struct iface_cfg *cfg)
{
	uint16_t id = find(sw->ifaces, cfg->name);
	struct iface e = {0};
	char mac[MAC_TEXT];
	json_t *o;

	iface_get(sw, id, &e);
	o = json_pack("{s:s, s:i, s:s, s:o, s:s, s:I, s:I, s:s}", "name", cfg->name, "id", id, "vrf", cfg->vrf, "addresses",
		      iface_addrs_show(sw, (int)e.host_ifindex), "mac", mac_text(e.mac, mac), "mtu", (json_int_t)e.mtu, "ifindex",
		      (json_int_t)e.host_ifindex, "state", iface_state(sw, cfg));
	json_object_set_new(o, "rpf", json_string(cfg->rpf == RPF_STRICT ? "strict" : cfg->rpf ? "loose" : "off"));
	if (cfg->mss)
		json_object_set_new(o, "mss", cfg->mss == IFACE_MSS_CLAMP ? json_string("clamp") : json_integer(cfg->mss));
	json_object_set_new(o, "directed_broadcast", json_boolean(cfg->directed_broadcast));
	if (cfg->vlan)
		json_object_set_new(o, "vlan", json_integer(cfg->vlan));
	else
		json_object_set_new(o, "port", json_string(cfg->port));
	return o;
}
