/* model_iface.c: interfaces, VRFs and static neighbours of the configuration: reading, checking, JSON.
 *
 * Stands between the tree of parse.h and struct iface_cfg, vrf_cfg and neighbor_cfg.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "globs.h"
#include "model_priv.h"

#define VLAN_IFACE_NAME 12 /* room for what the switch's end of the veth pair adds */
#define MSS_MIN		88 /* what Linux takes for too small to be meant */
#define MSS_MAX		65495

static const struct word rpfs[] = {{"off", RPF_OFF}, {"loose", RPF_LOOSE}, {"strict", RPF_STRICT}};

/* An interface's address with its prefix length: 10.0.10.1/24. */
static int iface_addr_read(struct reader *r, const struct node *n, void *arg)
{
	const char *s = read_text(r, n, "an address with its prefix length"), *problem;
	struct iface_cfg *c = arg;
	char show[SHOW_TEXT];
	struct prefix p, *to;

	if (!s)
		return -EINVAL;
	if (prefix_parse(s, 0, false, &p))
		return bad(r, n, "%s is not an address with a prefix length, such as 10.0.0.1/24", show_text(s, show));
	if (!strchr(s, '/'))
		return bad(r, n, "%s has no prefix length: write %s/%d, or /%d", s, s, p.family == 4 ? 24 : 64,
			   p.family == 4 ? 32 : 128);
	problem = host_problem(&p.addr);
	if (!problem && !p.len)
		problem = "has the length 0, which makes the whole world a neighbour";
	if (!problem)
		problem = subnet_problem(&p, &p.addr);
	if (problem)
		return bad(r, n, "%s %s", s, problem);
	to = list_add(&c->addrs, &c->n_addrs, sizeof(*to));
	if (!to)
		return read_oom(r);
	*to = p;
	return 0;
}

const char *subnet_problem(const struct prefix *subnet, const struct addr *a)
{
	unsigned bits = (subnet->family == 4 ? 32 : 128) - subnet->len;
	struct prefix host = {*a, subnet->family, subnet->len}, low = prefix_masked(&host);
	uint32_t mask;

	if (bits < 2)
		return NULL; /* RFC 3021, RFC 6164 */
	if (!memcmp(&low.addr, a, sizeof(*a)))
		return subnet->family == 4 ? "is the subnet's own address, with no host bit set"
					   : "is the subnet-router anycast address (RFC 4291 2.6.1), with no host bit set";
	mask = bits < 32 ? (1u << bits) - 1 : UINT32_MAX;
	if (subnet->family == 4 && (ntohl(a->a32[3]) & mask) == mask)
		return "is the subnet's broadcast address";
	return NULL;
}

static const char *const iface_keys[] = {"vlan", "port", "addresses", "mac", "mtu", "vrf", "rpf", "mss", "directed-broadcast"};
enum { I_VLAN, I_PORT, I_ADDRESSES, I_MAC, I_MTU, I_VRF, I_RPF, I_MSS, I_BROADCAST };

static void iface_name_read(struct reader *r, const struct node *n, const struct node *const *v, struct iface_cfg *c)
{
	const char *name = n->key->text, *problem = netdev_name_problem(name);

	if (problem)
		bad_item(r, n, "not a name for an interface: %s", problem);
	else if (v[I_VLAN] && strlen(name) > VLAN_IFACE_NAME)
		bad_item(r, n, "a VLAN's interface has a name of at most %d characters, this one has %zu", VLAN_IFACE_NAME,
			 strlen(name));
	else
		strcpy(c->name, name);
}

static void iface_kind_read(struct reader *r, const struct node *n, const struct node *const *v, struct iface_cfg *c)
{
	char show[SHOW_TEXT];

	if (v[I_VLAN] && v[I_PORT])
		bad(r, v[I_PORT], "an interface is a VLAN's or a routed port's, not both");
	else if (!v[I_VLAN] && !v[I_PORT])
		read_required(r, n, NULL, "vlan` or `port", "an interface is a VLAN's or a routed port's");
	if (v[I_VLAN])
		read_vlan(r, v[I_VLAN], &c->vlan);
	else if (v[I_PORT] && !read_netdev(r, v[I_PORT], c->port) && *c->name && strcmp(c->port, c->name))
		bad(r, v[I_PORT], "the interface of a routed port has the port's name: call it %s", show_text(c->port, show));
}

/* `clamp`, or a number. */
static void mss_read(struct reader *r, const struct node *n, struct iface_cfg *c)
{
	const char *s = read_text(r, n, "`clamp` or a number");
	char show[SHOW_TEXT];
	uint32_t mss;

	if (!s)
		return;
	if (!strcmp(s, "clamp"))
		c->mss = IFACE_MSS_CLAMP;
	else if (!u32_parse(s, MSS_MIN, MSS_MAX, &mss))
		c->mss = mss;
	else
		bad(r, n, "%s is neither `clamp` nor a number in %u..%u", show_text(s, show), MSS_MIN, MSS_MAX);
}

void iface_read(struct reader *r, const struct node *n)
{
	const struct node *v[N_OF(iface_keys)];
	struct iface_cfg *c;
	int rpf = RPF_OFF;

	c = list_add(&r->m->ifaces, &r->m->n_ifaces, sizeof(*c));
	if (!c) {
		read_oom(r);
		return;
	}
	c->where = read_where(r, n);
	strcpy(c->vrf, VRF_DEFAULT);
	if (read_keys(r, n, iface_keys, N_OF(iface_keys), v))
		return;
	iface_name_read(r, n, v, c);
	iface_kind_read(r, n, v, c);
	if (v[I_ADDRESSES])
		read_list(r, v[I_ADDRESSES], iface_addr_read, c);
	if (v[I_MAC])
		c->has_mac = !read_mac(r, v[I_MAC], c->mac);
	read_vrf(r, v[I_VRF], c->vrf);
	if (v[I_RPF])
		read_word(r, v[I_RPF], rpfs, N_OF(rpfs), &rpf);
	c->rpf = rpf;
	if (v[I_MSS])
		mss_read(r, v[I_MSS], c);
	if (v[I_BROADCAST])
		read_bool(r, v[I_BROADCAST], &c->directed_broadcast);
	if (v[I_MTU])
		read_u32(r, v[I_MTU], MTU_MIN4, MTU_MAX, &c->mtu);
	for (size_t i = 0; i < c->n_addrs && c->mtu && c->mtu < MTU_MIN6; i++) {
		if (c->addrs[i].family == 6) {
			bad(r, v[I_MTU], "%u is not in %d..%d: IPv6 needs at least %d (RFC 8200 5)", c->mtu, MTU_MIN6, MTU_MAX,
			    MTU_MIN6);
			break;
		}
	}
}

void neighbor_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"address", "mac", "interface"};
	const struct node *v[N_OF(keys)];
	struct neighbor_cfg *c;

	c = list_add(&r->m->neighbors, &r->m->n_neighbors, sizeof(*c));
	if (!c) {
		read_oom(r);
		return;
	}
	c->where = read_where(r, n);
	if (read_keys(r, n, keys, N_OF(keys), v))
		return;
	if (!read_required(r, n, v[0], "address", "the neighbour's address") && v[0])
		read_addr(r, v[0], &c->addr, &c->family);
	if (!read_required(r, n, v[1], "mac", "the neighbour's MAC address") && v[1])
		read_mac(r, v[1], c->mac);
	if (!read_required(r, n, v[2], "interface", "the interface that the neighbour is on") && v[2])
		read_netdev(r, v[2], c->iface);
}

/* ---- checks ---- */

static void iface_kind_check(struct checker *c, const struct iface_cfg *iface, const char *key, const struct iface_cfg *same_vlan)
{
	const struct port_cfg *p = model_port_for(c->m, *iface->port ? iface->port : iface->name, NULL);
	char line[LINE_TEXT];

	if (!iface->vlan && !p)
		check_bad(c, iface->where, key, "no port is called `%s`, and no glob matches it", iface->port);
	else if (!iface->vlan && p->mode != PORT_ROUTED)
		check_bad(c, iface->where, key,
			  "port `%s`%s is not of the mode routed: only a routed port is an interface itself", iface->port,
			  line_text(p->where, line));
	if (!iface->vlan)
		return;
	if (p && p->glob)
		check_bad(c, iface->where, key, "the glob `%s` of the ports%s matches the name of this VLAN's interface", p->name,
			  line_text(p->where, line));
	else if (p)
		check_bad(c, iface->where, key, "a port has the same name%s: the VLAN's interface is a netdev of its own",
			  line_text(p->where, line));
	if (same_vlan)
		check_bad(c, iface->where, key, "VLAN %u has the interface `%s` already%s: a VLAN has one", iface->vlan,
			  same_vlan->name, line_text(same_vlan->where, line));
}

static void iface_twice(struct checker *c, const struct named *later, const struct named *first)
{
	char line[LINE_TEXT], key[64];

	snprintf(key, sizeof(key), "interfaces.%s", later->name);
	check_bad(c, later->where, key, "the same interface is listed twice%s", line_text(first->where, line));
}

/* Says of the later of two interfaces that `a` and `b` cannot both be. */
static void collision(struct checker *c, const struct subnet *a, const struct subnet *b, const char *what)
{
	const struct subnet *later = a->iface > b->iface ? a : b, *first = later == a ? b : a;
	char x[ADDR_TEXT], y[ADDR_TEXT], key[64], line[LINE_TEXT];

	snprintf(key, sizeof(key), "interfaces.%s.addresses", later->iface->name);
	check_bad(c, later->iface->where, key, "%s/%u %s %s/%u of interface `%s`%s%s%s", addr_text(&later->addr, x),
		  later->net.len, what, addr_text(&first->addr, y), first->net.len, first->iface->name,
		  line_text(first->iface->where, line), strcmp(first->iface->vrf, VRF_DEFAULT) ? " in VRF " : "",
		  strcmp(first->iface->vrf, VRF_DEFAULT) ? first->iface->vrf : "");
}

/* Subnets of two interfaces of one VRF are apart; one interface may have several addresses of one subnet. Of a nest of
 * subnets, each says so of the one around it, which has spoken for those further out. */
static void addresses_check(struct checker *c)
{
	for (size_t i = 0; i < c->n_subnets; i++) {
		const struct subnet *s = &c->subnets[i];

		if (s->parent && s->parent->iface != s->iface)
			collision(c, s, s->parent, "overlaps");
	}
	for (size_t i = 1; i < c->n_subnets; i++) {
		const struct subnet *a = c->by_addr[i - 1], *b = c->by_addr[i];

		if (a->vrf == b->vrf && a->iface == b->iface && !memcmp(&a->addr, &b->addr, sizeof(a->addr)))
			collision(c, b, a, "is the same address as");
	}
}

void iface_check(struct checker *c)
{
	const struct iface_cfg *of_vlan[VLAN_IDS] = {NULL};
	const struct model *m = c->m;
	char key[64];

	if (m->n_ifaces >= IFACE_MAX) {
		check_bad(c, m->ifaces[IFACE_MAX - 1].where, "interfaces", "%zu interfaces, and room for %d", m->n_ifaces,
			  IFACE_MAX - 1);
		return;
	}
	names_check(c, c->m->ifaces, c->m->n_ifaces, sizeof(*c->m->ifaces), iface_twice);
	for (size_t i = 0; i < m->n_ifaces; i++) {
		const struct iface_cfg *iface = &m->ifaces[i];

		snprintf(key, sizeof(key), "interfaces.%s", iface->name);
		iface_kind_check(c, iface, key, iface->vlan ? of_vlan[iface->vlan % VLAN_IDS] : NULL);
		of_vlan[iface->vlan % VLAN_IDS] = iface;
		check_vrf(c, iface->where, key, iface->vrf);
	}
	addresses_check(c);
}

static int cmp_neighbors(const void *a, const void *b)
{
	const struct neighbor_cfg *x = *(const struct neighbor_cfg *const *)a, *y = *(const struct neighbor_cfg *const *)b;
	int d = strcmp(x->iface, y->iface);

	if (!d)
		d = memcmp(&x->addr, &y->addr, sizeof(x->addr));
	return d ? d : (x > y) - (x < y);
}

static void neighbor_entry_check(struct checker *c, const struct neighbor_cfg *n, const char *key)
{
	const struct iface_cfg *iface = model_iface(c->m, n->iface);
	const struct subnet *s;
	const char *problem;
	char addr[ADDR_TEXT];

	addr_text(&n->addr, addr);
	if (!iface) {
		check_bad(c, n->where, key, "no interface is called `%s`", n->iface);
		return;
	}
	if (n->family == 6 && addr_is_link_local(&n->addr)) {
		for (size_t i = 0; i < iface->n_addrs; i++)
			if (!memcmp(&iface->addrs[i].addr, &n->addr, sizeof(n->addr)))
				check_bad(c, n->where, key, "%s is the address of interface `%s` itself", addr, n->iface);
		return;
	}
	s = check_subnet_of(c, iface, &n->addr);
	if (!s) {
		check_bad(c, n->where, key, "%s is in no prefix of interface `%s`", addr, n->iface);
		return;
	}
	problem = subnet_problem(&s->net, &n->addr);
	if (problem)
		check_bad(c, n->where, key, "%s %s", addr, problem);
	else if (check_own(c, s->vrf, &n->addr))
		check_bad(c, n->where, key, "%s is the address of interface `%s` itself", addr, n->iface);
}

void neighbor_check(struct checker *c)
{
	const struct model *m = c->m;
	const struct neighbor_cfg **v;
	char key[32], line[LINE_TEXT], addr[ADDR_TEXT];

	if (m->n_neighbors > m->settings.max_neighbors) {
		check_bad(c, m->neighbors[0].where, "neighbors", "%zu static neighbours, and `tables.neighbors` is %u",
			  m->n_neighbors, m->settings.max_neighbors);
		return;
	}
	v = sorted_pointers(m->neighbors, m->n_neighbors, sizeof(*m->neighbors), cmp_neighbors);
	if (!v && m->n_neighbors)
		check_oom(c);
	for (size_t i = 1; v && i < m->n_neighbors; i++) {
		if (strcmp(v[i]->iface, v[i - 1]->iface) || memcmp(&v[i]->addr, &v[i - 1]->addr, sizeof(v[i]->addr)))
			continue;
		snprintf(key, sizeof(key), "neighbors[%zu]", v[i] - m->neighbors);
		check_bad(c, v[i]->where, key, "%s on `%s` is listed already%s", addr_text(&v[i]->addr, addr), v[i]->iface,
			  line_text(v[i - 1]->where, line));
	}
	free(v);
	for (size_t i = 0; i < m->n_neighbors; i++) {
		snprintf(key, sizeof(key), "neighbors[%zu]", i);
		neighbor_entry_check(c, &m->neighbors[i], key);
	}
}

/* ---- JSON ---- */

json_t *iface_json(const void *item)
{
	const struct iface_cfg *c = item;
	char prefix[PREFIX_TEXT], mac[MAC_TEXT];
	json_t *o = json_object(), *list;

	if (c->vlan)
		json_put_number(o, "vlan", c->vlan);
	else if (*c->port)
		json_put_text(o, "port", c->port);
	if (c->n_addrs) {
		list = json_array();
		for (size_t i = 0; i < c->n_addrs; i++)
			json_array_append_new(list, json_string(prefix_text(&c->addrs[i], prefix)));
		json_object_set_new(o, "addresses", list);
	}
	if (c->has_mac)
		json_put_text(o, "mac", mac_text(c->mac, mac));
	if (c->mtu)
		json_put_number(o, "mtu", c->mtu);
	if (strcmp(c->vrf, VRF_DEFAULT))
		json_put_text(o, "vrf", c->vrf);
	if (c->rpf)
		json_put_text(o, "rpf", word_text(rpfs, N_OF(rpfs), c->rpf));
	if (c->mss == IFACE_MSS_CLAMP)
		json_put_text(o, "mss", "clamp");
	else if (c->mss)
		json_put_number(o, "mss", c->mss);
	if (c->directed_broadcast)
		json_object_set_new(o, "directed-broadcast", json_true());
	return o;
}

json_t *neighbor_json(const void *item)
{
	const struct neighbor_cfg *c = item;
	char addr[ADDR_TEXT], mac[MAC_TEXT];
	json_t *o = json_object();

	if (c->family)
		json_put_text(o, "address", addr_text(&c->addr, addr));
	json_put_text(o, "mac", mac_text(c->mac, mac));
	json_put_text(o, "interface", c->iface);
	return o;
}
