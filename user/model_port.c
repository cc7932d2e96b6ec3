/* model_port.c: ports, VLANs and static FDB entries of the configuration: reading, checking, JSON.
 *
 * Stands between the tree of parse.h and struct port_cfg, vlan_cfg and fdb_cfg.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "globs.h"
#include "model_priv.h"

static const struct word modes[] = {
	{"access", PORT_ACCESS}, {"trunk", PORT_TRUNK}, {"routed", PORT_ROUTED}, {"observe", PORT_OBSERVE}};
static const struct word tags[] = {{"802.1Q", ETH_P_8021Q}, {"802.1ad", ETH_P_8021AD}};
static const struct word xdps[] = {
	{"auto", XDP_WANT_AUTO}, {"native", XDP_WANT_NATIVE}, {"generic", XDP_WANT_GENERIC}, {"off", XDP_WANT_OFF}};

static void vlan_set(struct port_cfg *p, unsigned id)
{
	p->vlans[id / 64] |= 1ull << (id % 64);
}

/* One of "10", "100-199", "10,20,100-199". */
static int vlans_read(struct reader *r, const struct node *n, void *arg)
{
	const char *s = read_text(r, n, "VLANs such as [10, 20, 100-199]");
	char part[SHOW_TEXT], show[SHOW_TEXT];
	struct port_cfg *p = arg;
	uint16_t lo, hi;
	size_t len;
	char *dash;

	if (!s)
		return -EINVAL;
	for (;; s++) {
		s += strspn(s, " ");
		len = strcspn(s, ",");
		if (len >= sizeof(part))
			return bad(r, n, "%s is not a VLAN (1..4094)", show_text(s, show));
		memcpy(part, s, len);
		part[len] = '\0';
		dash = strchr(part, '-');
		if (dash == part)
			dash = NULL;
		if (dash)
			*dash = '\0';
		if (read_vlan_text(r, n, part, &lo))
			return -EINVAL;
		hi = lo;
		if (dash && read_vlan_text(r, n, dash + 1, &hi))
			return -EINVAL;
		if (hi < lo)
			return bad(r, n, "the range %u-%u runs backwards", lo, hi);
		for (unsigned id = lo; id <= hi; id++)
			vlan_set(p, id);
		s += len;
		if (!*s)
			return 0;
	}
}

static const char *const port_keys[] = {"mode", "vlan", "vlans", "native", "protocol", "xdp"};
enum { P_MODE, P_VLAN, P_VLANS, P_NATIVE, P_PROTOCOL, P_XDP };

/* The one VLAN of an access port, or the native one of a trunk. */
static void native_read(struct reader *r, const struct node *n, struct port_cfg *p)
{
	if (n->kind == NODE_LIST)
		bad(r, n, "a port has one native VLAN, not a list%s",
		    p->mode == PORT_ACCESS ? ": only a trunk carries several" : "");
	else if (!read_vlan(r, n, &p->native))
		vlan_set(p, p->native);
}

static void access_read(struct reader *r, const struct node *n, const struct node *const *v, struct port_cfg *p)
{
	if (v[P_VLANS])
		bad(r, v[P_VLANS], "an access port has one `vlan`; `vlans` are a trunk's");
	if (v[P_VLAN] && v[P_NATIVE])
		bad(r, v[P_NATIVE], "`vlan` and `native` both name the VLAN of untagged frames: a port has one native VLAN");
	else if (v[P_NATIVE])
		bad(r, v[P_NATIVE], "an access port names its one VLAN by `vlan`; `native` is a trunk's");
	if (v[P_VLAN])
		native_read(r, v[P_VLAN], p);
	else if (!v[P_VLANS] && !v[P_NATIVE])
		read_required(r, n, NULL, "vlan", "the VLAN of an access port (1..4094)");
}

static void trunk_read(struct reader *r, const struct node *n, const struct node *const *v, struct port_cfg *p)
{
	if (v[P_VLAN] && v[P_NATIVE])
		bad(r, v[P_VLAN], "`vlan` and `native` both name the VLAN of untagged frames: a port has one native VLAN");
	else if (v[P_VLAN])
		bad(r, v[P_VLAN],
		    "a trunk carries `vlans`, and its untagged frames are of the VLAN `native`; `vlan` is an access port's");
	if (v[P_VLANS])
		read_list(r, v[P_VLANS], vlans_read, p);
	if (v[P_NATIVE])
		native_read(r, v[P_NATIVE], p);
	if ((!v[P_VLANS] || (v[P_VLANS]->kind == NODE_LIST && !v[P_VLANS]->n)) && !v[P_NATIVE] && !v[P_VLAN])
		read_required(r, n, NULL, "vlans", "the VLANs that the trunk carries, such as [10, 20, 100-199]");
}

/* The ethertype that is a VLAN tag on this port. On an access port of 802.1ad a customer's 802.1Q tag is payload: Q-in-Q. */
static void protocol_read(struct reader *r, const struct node *n, struct port_cfg *p)
{
	int tag;

	if (p->mode != PORT_ACCESS && p->mode != PORT_TRUNK)
		bad(r, n, "a port of mode %s has no VLAN tags", p->mode == PORT_ROUTED ? "routed" : "observe");
	else if (!read_word(r, n, tags, N_OF(tags), &tag))
		p->tpid = htons(tag);
}

static void port_name_read(struct reader *r, const struct node *n, struct port_cfg *p)
{
	const char *name = n->key->text, *problem;

	p->glob = is_glob(name);
	problem = p->glob ? glob_problem(name) : netdev_name_problem(name);
	if (problem)
		bad_item(r, n, "not a name for a port: %s", problem);
	else
		strcpy(p->name, name);
}

void port_read(struct reader *r, const struct node *n)
{
	const struct node *v[N_OF(port_keys)];
	struct port_cfg *p;
	int mode, xdp;

	p = list_add(&r->m->ports, &r->m->n_ports, sizeof(*p));
	if (!p) {
		read_oom(r);
		return;
	}
	p->where = read_where(r, n);
	p->tpid = htons(ETH_P_8021Q);
	port_name_read(r, n, p);
	if (read_keys(r, n, port_keys, N_OF(port_keys), v))
		return;
	if (v[P_XDP] && !read_word(r, v[P_XDP], xdps, N_OF(xdps), &xdp))
		p->xdp = xdp;
	if (!v[P_MODE]) {
		read_required(r, n, NULL, "mode", "access, trunk, routed or observe");
		return;
	}
	if (read_word(r, v[P_MODE], modes, N_OF(modes), &mode))
		return;
	p->mode = mode;
	if (mode == PORT_ACCESS)
		access_read(r, n, v, p);
	if (mode == PORT_TRUNK)
		trunk_read(r, n, v, p);
	if (v[P_PROTOCOL])
		protocol_read(r, v[P_PROTOCOL], p);
	if (mode == PORT_ROUTED || mode == PORT_OBSERVE)
		for (int i = P_VLAN; i <= P_NATIVE; i++)
			if (v[i])
				bad(r, v[i], "a port of mode %s has no VLAN", mode == PORT_ROUTED ? "routed" : "observe");
}

void vlan_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"name"};
	const struct node *v[N_OF(keys)];
	struct vlan_cfg *c;

	c = list_add(&r->m->vlans, &r->m->n_vlans, sizeof(*c));
	if (!c) {
		read_oom(r);
		return;
	}
	c->where = read_where(r, n);
	read_vlan_text(r, n->key, n->key->text, &c->id);
	if (!read_keys(r, n, keys, N_OF(keys), v) && v[0])
		read_label(r, v[0], c->name);
}

void fdb_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"mac", "vlan", "port"};
	const struct node *v[N_OF(keys)];
	struct fdb_cfg *c;

	c = list_add(&r->m->fdbs, &r->m->n_fdbs, sizeof(*c));
	if (!c) {
		read_oom(r);
		return;
	}
	c->where = read_where(r, n);
	if (read_keys(r, n, keys, N_OF(keys), v))
		return;
	if (!read_required(r, n, v[0], "mac", "the station's MAC address") && v[0])
		read_mac(r, v[0], c->mac);
	if (!read_required(r, n, v[1], "vlan", "the VLAN of the station") && v[1])
		read_vlan(r, v[1], &c->vlan);
	if (!read_required(r, n, v[2], "port", "the port that leads to the station") && v[2])
		read_netdev(r, v[2], c->port);
}

/* ---- checks ---- */

static void port_twice(struct checker *c, const struct named *later, const struct named *first)
{
	char line[LINE_TEXT], key[64];

	snprintf(key, sizeof(key), "ports.%s", later->name);
	check_bad(c, later->where, key, "the same port is listed twice%s", line_text(first->where, line));
}

/* Two globs that one netdev's name could match leave open which of them it gets. One collision a glob is enough to say. */
static void globs_check(struct checker *c)
{
	char key[64], line[LINE_TEXT], name[IFNAMSIZ];

	for (size_t i = 1; i < c->m->n_ports; i++) {
		const struct port_cfg *p = &c->m->ports[i];

		for (size_t j = 0; p->glob && j < i; j++) {
			const struct port_cfg *q = &c->m->ports[j];

			if (!q->glob || !strcmp(p->name, q->name) || !globs_meet(p->name, q->name, name))
				continue;
			snprintf(key, sizeof(key), "ports.%s", p->name);
			check_bad(c, p->where, key, "overlaps `%s`%s: a netdev called `%s` would match both", q->name,
				  line_text(q->where, line), name);
			break;
		}
	}
}

void port_check(struct checker *c)
{
	size_t room = PORT_MAX - 1;

	for (size_t i = 0; i < c->m->n_ifaces; i++)
		room -= c->m->ifaces[i].vlan && room;
	if (c->m->n_ports > room) {
		check_bad(c, c->m->ports[room].where, "ports",
			  "%zu ports, and room for %zu (%d less one for each VLAN interface)", c->m->n_ports, room, PORT_MAX - 1);
		return;
	}
	names_check(c, c->m->ports, c->m->n_ports, sizeof(*c->m->ports), port_twice);
	globs_check(c);
}

void vlan_check(struct checker *c)
{
	const struct vlan_cfg *seen[VLAN_IDS] = {NULL};
	char key[32], line[LINE_TEXT];

	for (size_t i = 0; i < c->m->n_vlans; i++) {
		const struct vlan_cfg *v = &c->m->vlans[i];

		snprintf(key, sizeof(key), "vlans.%u", v->id);
		if (seen[v->id % VLAN_IDS])
			check_bad(c, v->where, key, "the same VLAN is listed twice%s",
				  line_text(seen[v->id % VLAN_IDS]->where, line));
		seen[v->id % VLAN_IDS] = v;
	}
}

static bool vlan_exists(const struct model *m, uint16_t id)
{
	for (size_t i = 0; i < m->n_vlans; i++)
		if (m->vlans[i].id == id)
			return true;
	for (size_t i = 0; i < m->n_ifaces; i++)
		if (m->ifaces[i].vlan == id)
			return true;
	for (size_t i = 0; i < m->n_ports; i++)
		if (m->ports[i].vlans[id / 64] >> (id % 64) & 1)
			return true;
	return false;
}

static int cmp_fdb(const void *a, const void *b)
{
	const struct fdb_cfg *x = *(const struct fdb_cfg *const *)a, *y = *(const struct fdb_cfg *const *)b;
	int d = memcmp(x->mac, y->mac, 6);

	if (!d)
		d = (int)x->vlan - (int)y->vlan;
	return d ? d : (x > y) - (x < y);
}

static void fdb_entry_check(struct checker *c, const struct fdb_cfg *f, const char *key)
{
	const struct port_cfg *p = model_port_for(c->m, f->port, NULL);
	char mac[MAC_TEXT];

	if (!p)
		check_bad(c, f->where, key, "no port is called `%s`, and no glob matches it", f->port);
	else if (p->mode != PORT_ACCESS && p->mode != PORT_TRUNK)
		check_bad(c, f->where, key, "port `%s` has the mode %s, which has no VLAN", f->port,
			  word_text(modes, N_OF(modes), p->mode));
	else if (!vlan_exists(c->m, f->vlan))
		check_bad(c, f->where, key, "VLAN %u does not exist: no port, interface or `vlans` names it", f->vlan);
	else if (!(p->vlans[f->vlan / 64] >> (f->vlan % 64) & 1))
		check_bad(c, f->where, key, "port `%s` does not carry VLAN %u", f->port, f->vlan);
	for (size_t i = 0; i < c->m->n_ifaces; i++) {
		const struct iface_cfg *iface = &c->m->ifaces[i];

		if (iface->vlan == f->vlan && iface->has_mac && !memcmp(iface->mac, f->mac, 6))
			check_bad(c, f->where, key, "%s is the MAC address of interface `%s`", mac_text(f->mac, mac),
				  iface->name);
	}
}

void fdb_check(struct checker *c)
{
	const struct model *m = c->m;
	const struct fdb_cfg **v;
	char key[32], line[LINE_TEXT], mac[MAC_TEXT];

	if (m->n_fdbs > m->settings.max_fdb) {
		check_bad(c, m->fdbs[0].where, "fdb", "%zu static entries, and `tables.fdb` is %u", m->n_fdbs,
			  m->settings.max_fdb);
		return;
	}
	v = sorted_pointers(m->fdbs, m->n_fdbs, sizeof(*m->fdbs), cmp_fdb);
	if (!v && m->n_fdbs)
		check_oom(c);
	for (size_t i = 1; v && i < m->n_fdbs; i++) {
		if (memcmp(v[i]->mac, v[i - 1]->mac, 6) || v[i]->vlan != v[i - 1]->vlan)
			continue;
		snprintf(key, sizeof(key), "fdb[%zu]", v[i] - m->fdbs);
		check_bad(c, v[i]->where, key, "%s in VLAN %u has an entry already%s", mac_text(v[i]->mac, mac), v[i]->vlan,
			  line_text(v[i - 1]->where, line));
	}
	free(v);
	for (size_t i = 0; i < m->n_fdbs; i++) {
		snprintf(key, sizeof(key), "fdb[%zu]", i);
		fdb_entry_check(c, &m->fdbs[i], key);
	}
}

/* ---- JSON ---- */

/* The set as [10, 20, "100-199"]. */
static json_t *vlans_json(const uint64_t set[VLAN_IDS / 64])
{
	json_t *list = json_array();

	for (unsigned lo = 1, hi; lo < 4095; lo = hi + 1) {
		hi = lo;
		if (!(set[lo / 64] >> (lo % 64) & 1))
			continue;
		while (hi < 4094 && set[(hi + 1) / 64] >> ((hi + 1) % 64) & 1)
			hi++;
		if (hi - lo < 2)
			hi = lo;
		json_array_append_new(list, hi > lo ? json_sprintf("%u-%u", lo, hi) : json_integer(lo));
	}
	return list;
}

json_t *port_json(const void *item)
{
	const struct port_cfg *p = item;
	json_t *o = json_object();

	json_put_text(o, "mode", word_text(modes, N_OF(modes), p->mode));
	if (p->mode == PORT_ACCESS)
		json_put_number(o, "vlan", p->native);
	if (p->mode == PORT_TRUNK) {
		json_object_set_new(o, "vlans", vlans_json(p->vlans));
		if (p->native)
			json_put_number(o, "native", p->native);
	}
	if (p->tpid != htons(ETH_P_8021Q))
		json_put_text(o, "protocol", word_text(tags, N_OF(tags), ntohs(p->tpid)));
	if (p->xdp != XDP_WANT_AUTO)
		json_put_text(o, "xdp", word_text(xdps, N_OF(xdps), p->xdp));
	return o;
}

json_t *vlan_json(const void *item)
{
	const struct vlan_cfg *v = item;
	json_t *o = json_object();

	if (*v->name)
		json_put_text(o, "name", v->name);
	return o;
}

json_t *fdb_json(const void *item)
{
	const struct fdb_cfg *c = item;
	json_t *o = json_object();
	char mac[MAC_TEXT];

	json_put_text(o, "mac", mac_text(c->mac, mac));
	json_put_number(o, "vlan", c->vlan);
	json_put_text(o, "port", c->port);
	return o;
}
