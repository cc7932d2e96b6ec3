/* vlan.c: which VLANs there are, and who is in them. Between the model and the ports on one side and the maps `vlans` and
 * `vlan_members` on the other.
 *
 * A VLAN exists when a port, an interface or the list of VLANs names it. Its members are the ports that are attached, up and
 * carry it, in the order that abi.h demands. The element of vlan_members is replaced as a whole, so a packet is flooded to
 * the old members or to the new ones, never to a mixture. A VLAN that begins gets its members first; one that ends loses
 * them last. A port that is about to carry other VLANs leaves the lists of the old ones before its own entry says so.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "show.h"
#include "sw.h"

static bool carries(const struct port *p, uint16_t vlan)
{
	return p->vlans[vlan / 64] >> (vlan % 64) & 1;
}

static bool is_switched(const struct port *p)
{
	return p->mode == PORT_ACCESS || p->mode == PORT_TRUNK || p->mode == PORT_HOST;
}

/* How a frame of the VLAN leaves by the port: 0 untagged, 1 with 0x8100, 2 with 0x88a8. */
static int leaves(const struct port *p, uint16_t vlan)
{
	if (p->mode != PORT_TRUNK || p->native == vlan)
		return 0;
	return p->tpid == htons(ETH_P_8021AD) ? 2 : 1;
}

/* `down`: those that are down too. */
static void members_of(const struct sw *sw, uint16_t vlan, bool down, struct vlan_members *ret)
{
	const struct port *p;

	memset(ret, 0, sizeof(*ret));
	for (int how = 0; how < 3; how++) {
		for (uint16_t id = 1; id < PORT_MAX; id++) {
			p = port_entry(sw, id);
			if (!p || !p->ifindex || (!down && p->flags & PORT_F_DOWN))
				continue;
			if (is_switched(p) && carries(p, vlan) && leaves(p, vlan) == how)
				ret->port[ret->n++] = id;
		}
		if (how == 0)
			ret->n_untagged = ret->n;
		if (how <= 1)
			ret->n_8021q = ret->n;
	}
}

static void mark(uint64_t set[VLAN_IDS / 64], uint16_t vlan)
{
	if (vlan && vlan < VLAN_IDS - 1)
		set[vlan / 64] |= 1ull << (vlan % 64);
}

static bool marked(const uint64_t set[VLAN_IDS / 64], uint16_t vlan)
{
	return set[vlan / 64] >> (vlan % 64) & 1;
}

static void named(const struct model *m, uint64_t ret[VLAN_IDS / 64])
{
	memset(ret, 0, VLAN_IDS / 8);
	for (size_t i = 0; i < m->n_ports; i++) {
		if (m->ports[i].mode != PORT_ACCESS && m->ports[i].mode != PORT_TRUNK)
			continue;
		mark(ret, m->ports[i].native);
		for (int w = 0; w < VLAN_IDS / 64; w++)
			ret[w] |= m->ports[i].vlans[w];
	}
	for (size_t i = 0; i < m->n_ifaces; i++)
		mark(ret, m->ifaces[i].vlan);
	for (size_t i = 0; i < m->n_vlans; i++)
		mark(ret, m->vlans[i].id);
}

static const struct iface_cfg *iface_of_vlan(const struct model *m, uint16_t vlan)
{
	for (size_t i = 0; i < m->n_ifaces; i++)
		if (m->ifaces[i].vlan == vlan)
			return &m->ifaces[i];
	return NULL;
}

static void vlan_of(const struct sw *sw, uint16_t id, struct vlan *ret)
{
	const struct iface_cfg *i = iface_of_vlan(sw->model, id);
	char name[IFNAMSIZ];
	uint32_t mtu;

	*ret = (struct vlan){.flags = VLAN_F_EXISTS};
	if (!i)
		return;
	ret->iface = iface_id(sw, i->name);
	if (iface_switch_end(sw, i->name, name, &mtu))
		ret->host_port = port_id(sw, name);
}

struct reading {
	struct vlan v[VLAN_IDS];
};

static int read_vlan(const void *key, void *value, void *arg)
{
	struct reading *r = arg;

	memcpy(&r->v[*(const uint32_t *)key % VLAN_IDS], value, sizeof(struct vlan));
	return 0;
}

struct pass {
	struct sw *sw;
	struct table *vlans, *members;
	bool changed;
};

static int put_members(struct pass *p, uint32_t id)
{
	struct vlan_members want, have;
	int err;

	members_of(p->sw, (uint16_t)id, false, &want);
	err = table_lookup(p->members, &id, &have);
	if (!err && !memcmp(&want, &have, sizeof(want)))
		return 0;
	p->changed = true;
	return table_set(p->members, &id, &want);
}

/* One VLAN: what it was (`have`), and whether it is to be. */
static int put_vlan(struct pass *p, uint32_t id, const struct vlan *have, bool exists)
{
	struct vlan want = {0};
	int err = 0;

	if (!exists && !(have->flags & VLAN_F_EXISTS))
		return 0;
	if (exists) {
		vlan_of(p->sw, (uint16_t)id, &want);
		err = put_members(p, id);
	}
	if (!err && memcmp(&want, have, sizeof(want))) {
		p->changed = true;
		err = table_set(p->vlans, &id, &want);
	}
	if (!err && !exists) {
		err = table_delete(p->members, &id);
		err = err == -ENOENT ? 0 : err;
	}
	return err;
}

int vlan_reconcile(struct sw *sw, struct errs *errs)
{
	struct pass p = {sw, table_get(sw->dp, "vlans"), table_get(sw->dp, "vlan_members"), false};
	uint64_t want[VLAN_IDS / 64];
	struct reading *r;
	int err;

	if (!p.vlans || !p.members)
		return errs_fail(errs, ENOENT, "the tables of the VLANs are missing");
	r = calloc(1, sizeof(*r));
	if (!r)
		return errs_fail(errs, ENOMEM, "out of memory");
	named(sw->model, want);
	err = table_each(p.vlans, read_vlan, r);
	for (uint32_t id = 1; !err && id < VLAN_IDS; id++) {
		err = put_vlan(&p, id, &r->v[id], marked(want, (uint16_t)id));
		if (err)
			errs_fail(errs, -err, "vlan %u: its table entry cannot be written: %s", id, strerror(-err));
	}
	free(r);
	if (p.changed)
		sw_epoch(sw);
	return err;
}

static void take_out(struct vlan_members *m, uint16_t at)
{
	memmove(&m->port[at], &m->port[at + 1], (size_t)(m->n - at - 1) * sizeof(m->port[0]));
	m->port[--m->n] = 0;
	if (at < m->n_8021q)
		m->n_8021q--;
	if (at < m->n_untagged)
		m->n_untagged--;
}

static int leave_one(struct table *t, uint32_t vlan, uint16_t id)
{
	struct vlan_members m;
	int err = table_lookup(t, &vlan, &m);

	for (uint16_t k = 0; !err && k < m.n && k < PORT_MAX; k++) {
		if (m.port[k] != id)
			continue;
		take_out(&m, k);
		return table_set(t, &vlan, &m);
	}
	return err == -ENOENT ? 0 : err;
}

int vlan_leave(struct sw *sw, uint16_t id, const struct port *next)
{
	struct table *t = table_get(sw->dp, "vlan_members");
	const struct port *now = port_entry(sw, id);
	int err = 0;

	if (!now || !memcmp(now, next, sizeof(*now)))
		return 0;
	for (uint16_t v = 1; t && !err && v < VLAN_IDS; v++) {
		if (!carries(now, v))
			continue;
		if (is_switched(next) && carries(next, v) && leaves(next, v) == leaves(now, v))
			continue;
		err = leave_one(t, v, id);
	}
	return err;
}

static const char *vlan_name(const struct model *m, uint16_t id)
{
	for (size_t i = 0; i < m->n_vlans; i++)
		if (m->vlans[i].id == id && m->vlans[i].name[0])
			return m->vlans[i].name;
	return NULL;
}

static void names_of(const struct sw *sw, const uint16_t *ids, uint16_t n, json_t *list)
{
	for (uint16_t i = 0; i < n; i++) {
		const char *name = port_name(sw, ids[i]);

		if (name)
			json_array_append_new(list, json_string(name));
	}
}

static json_t *show_one(struct sw *sw, uint32_t id)
{
	const struct iface_cfg *i = iface_of_vlan(sw->model, (uint16_t)id);
	const char *name = vlan_name(sw->model, (uint16_t)id);
	json_t *o = json_pack("{s:i}", "id", (int)id), *untagged = json_array(), *tagged = json_array();
	struct vlan_members m;

	if (name)
		json_object_set_new(o, "name", json_string(name));
	if (i)
		json_object_set_new(o, "interface", json_string(i->name));
	members_of(sw, (uint16_t)id, true, &m);
	names_of(sw, m.port, m.n_untagged, untagged);
	names_of(sw, m.port + m.n_untagged, (uint16_t)(m.n - m.n_untagged), tagged);
	json_object_set_new(o, "untagged", untagged);
	json_object_set_new(o, "tagged", tagged);
	return o;
}

/* [{"id", "name", "interface", "untagged": [port...], "tagged": [port...]}] */
json_t *vlan_show(struct sw *sw)
{
	uint64_t set[VLAN_IDS / 64];
	json_t *list = json_array();

	named(sw->model, set);
	for (uint32_t id = 1; id < VLAN_IDS - 1; id++)
		if (marked(set, (uint16_t)id))
			json_array_append_new(list, show_one(sw, id));
	return list;
}
