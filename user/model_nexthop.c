/* model_nexthop.c: nexthops and groups of them that have a name, and the routes that lead by one: reading, linking, checking,
 * JSON.
 *
 * Stands between the tree of parse.h and struct named_cfg. A group names its members, a route the one or the group that it leads
 * by; model_link() puts what they mean where routes have their nexthops, so that nobody else need know of the names. Whether a
 * route's VRF reaches the gateways is checked with the routes (model_route.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

/* ---- reading */

/* NULL, or why no nexthop is called so: `nexthop get` and `nhid` would mean something else. */
static const char *name_problem(const char *name)
{
	struct addr a;
	uint8_t family;

	if (strspn(name, "0123456789") == strlen(name))
		return "a number is an id, which the switch gives itself: a name has a letter in it";
	if (strchr(name, '/'))
		return "`/` stands between the members of a group";
	return addr_parse(name, &a, &family) ? NULL : "an address is a gateway's, and no name";
}

/* NAME, or {nexthop, weight}. */
static int member_read(struct reader *r, const struct node *n, void *arg)
{
	static const char *const keys[] = {"nexthop", "weight"};
	const struct node *v[N_OF(keys)] = {n, NULL};
	struct named_cfg *c = arg;
	struct member_cfg *m;
	uint32_t weight = 1;
	size_t len;
	int err = 0;

	m = list_add(&c->members, &c->n_members, sizeof(*m));
	if (!m)
		return read_oom(r);
	m->weight = 1;
	if (n->kind == NODE_SCALAR)
		return read_label(r, n, m->name);
	len = read_push(r, "%s", n->key ? ".group" : "");
	if (read_keys(r, n, keys, N_OF(keys), v) || read_required(r, n, v[0], "nexthop", "the name of the member") ||
	    read_label(r, v[0], m->name) || (v[1] && read_u32(r, v[1], 1, 256, &weight)))
		err = -EINVAL;
	m->weight = (uint16_t)weight;
	read_pop(r, len);
	return err;
}

static void group_read(struct reader *r, const struct node *n, struct named_cfg *c)
{
	if (read_list(r, n, member_read, c))
		return;
	if (!c->n_members)
		bad(r, n, "the group is empty: 1 to %d members are allowed", NEXTHOPS_MAX);
	if (c->n_members > NEXTHOPS_MAX)
		bad(r, n, "%zu members: 1 to %d are allowed", c->n_members, NEXTHOPS_MAX);
}

enum { K_ADDRESS, K_INTERFACE, K_ONLINK, K_RECURSIVE, K_TYPE, K_GROUP };

static void values_read(struct reader *r, const struct node *n, const struct node *const *v, struct named_cfg *c)
{
	const struct node *const own[] = {v[K_ADDRESS], v[K_INTERFACE], NULL, v[K_ONLINK], v[K_RECURSIVE]};
	bool alone = !own[0] && !own[1] && !own[3] && !own[4];
	int type = NEXTHOP_GATEWAY;

	if (v[K_TYPE] && read_word(r, v[K_TYPE], route_types, ROUTE_TYPES, &type))
		return;
	c->type = (uint8_t)type;
	if (v[K_GROUP] && (!alone || v[K_TYPE]))
		bad(r, v[K_GROUP], "a group has members, and nothing else");
	else if (v[K_GROUP])
		group_read(r, v[K_GROUP], c);
	else if (type != NEXTHOP_GATEWAY && !alone)
		bad(r, v[K_TYPE], "a nexthop of type %s leads nowhere: it has no gateway and no interface", v[K_TYPE]->text);
	else if (type == NEXTHOP_GATEWAY)
		nexthop_values_read(r, n, own, &c->own);
}

void named_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"address", "interface", "onlink", "recursive", "type", "group"};
	const struct node *v[N_OF(keys)];
	const char *problem;
	struct named_cfg *c;

	c = list_add(&r->m->nexthops, &r->m->n_nexthops, sizeof(*c));
	if (!c) {
		read_oom(r);
		return;
	}
	c->where = read_where(r, n);
	c->type = NEXTHOP_GATEWAY;
	c->own.weight = 1;
	if (read_label(r, n->key, c->name))
		return;
	problem = name_problem(c->name);
	if (problem)
		bad_item(r, n, "%s", problem);
	else if (!r->partial && !read_keys(r, n, keys, N_OF(keys), v))
		values_read(r, n, v, c);
}

/* ---- linking */

static int by_name(const void *a, const void *b)
{
	const struct named_cfg *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* The named ones, by name. */
struct index {
	struct named_cfg **v;
	size_t n;
};

static struct named_cfg *find(const struct index *x, const char *name)
{
	struct named_cfg key, *k = &key, **found;

	snprintf(key.name, sizeof(key.name), "%s", name);
	found = x->n ? bsearch(&k, x->v, x->n, sizeof(*x->v), by_name) : NULL;
	return found ? *found : NULL;
}

static bool may_be_member(const struct named_cfg *c)
{
	return c && !c->n_members && c->type == NEXTHOP_GATEWAY;
}

/* What the checks refuse is left out. */
static int link_named(const struct index *x, struct named_cfg *c)
{
	size_t n = c->n_members ? c->n_members : 1;

	free(c->ways);
	c->n_ways = 0;
	c->ways = calloc(n, sizeof(*c->ways));
	if (!c->ways)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_members; i++) {
		const struct named_cfg *m = c->members[i].named = find(x, c->members[i].name);

		if (!may_be_member(m))
			continue;
		c->ways[c->n_ways] = m->own;
		c->ways[c->n_ways++].weight = c->members[i].weight;
	}
	if (!c->n_members && c->type == NEXTHOP_GATEWAY)
		c->ways[c->n_ways++] = c->own;
	return 0;
}

/* `default` of the family that all gateways have. */
static void link_default(struct route_cfg *route, const struct named_cfg *c)
{
	uint8_t family = 0;

	for (size_t i = 0; i < c->n_ways; i++) {
		uint8_t f = c->ways[i].family;

		if (f && family && f != family)
			return;
		family = f ? f : family;
	}
	if (family)
		prefix_parse("default", family, true, &route->to);
}

static void link_route(const struct index *x, struct route_cfg *route)
{
	const struct named_cfg *c = find(x, route->nexthop);

	route->nexthops = c ? c->ways : NULL;
	route->n_nexthops = c ? c->n_ways : 0;
	route->named = c;
	route->type = c ? c->type : NEXTHOP_GATEWAY;
	if (c && !route->to.family)
		link_default(route, c);
}

/* `default` by a named nexthop is a route of the family that this one has. */
void route_complete(const struct model *m, void *item)
{
	struct route_cfg *route = item;
	const struct named_cfg *c = *route->nexthop && !route->to.family ? model_nexthop(m, route->nexthop) : NULL;

	if (c)
		link_default(route, c);
}

int model_link(struct model *m)
{
	struct index x = {sorted_pointers(m->nexthops, m->n_nexthops, sizeof(*m->nexthops), by_name), m->n_nexthops};
	int r = m->n_nexthops && !x.v ? -ENOMEM : 0;

	for (size_t i = 0; i < m->n_nexthops && !r; i++)
		r = link_named(&x, &m->nexthops[i]);
	for (size_t i = 0; i < m->n_routes && !r; i++)
		if (*m->routes[i].nexthop)
			link_route(&x, &m->routes[i]);
	free(x.v);
	return r;
}

/* ---- checks */

static void member_check(struct checker *c, const struct named_cfg *group, size_t i, const char *key)
{
	const struct named_cfg *m = group->members[i].named;
	const char *name = group->members[i].name;

	if (!m)
		check_bad(c, group->where, key, "no nexthop is called `%s`: list it under `nexthops`", name);
	else if (m->n_members)
		check_bad(c, group->where, key, "`%s` is a group itself: the members of a group are single nexthops", name);
	else if (!may_be_member(m))
		check_bad(c, group->where, key, "`%s` leads nowhere: it is for routes alone, and no member of a group", name);
	for (size_t k = 0; k < i; k++)
		if (!strcmp(group->members[k].name, name))
			check_bad(c, group->where, key, "`%s` is listed twice: give it a `weight` instead", name);
}

void named_check(struct checker *c)
{
	const struct model *m = c->m;
	struct index x = {sorted_pointers(m->nexthops, m->n_nexthops, sizeof(*m->nexthops), by_name), m->n_nexthops};
	char key[64], line[LINE_TEXT];

	if (!x.v && m->n_nexthops)
		check_oom(c);
	if (m->n_nexthops > NAMED_MAX)
		check_bad(c, m->nexthops[NAMED_MAX].where, "nexthops", "%zu named nexthops: at most %d are allowed",
			  m->n_nexthops, NAMED_MAX);
	for (size_t i = 1; x.v && i < m->n_nexthops; i++)
		if (!strcmp(x.v[i - 1]->name, x.v[i]->name))
			check_bad(c, x.v[i]->where, "nexthops", "the name `%s` is taken%s", x.v[i]->name,
				  line_text(x.v[i - 1]->where, line));
	for (size_t i = 0; x.v && i < m->n_nexthops; i++) {
		const struct named_cfg *n = &m->nexthops[i];

		snprintf(key, sizeof(key), "nexthops.%s%s", n->name, n->n_members ? ".group" : ".interface");
		for (size_t k = 0; k < n->n_members; k++)
			member_check(c, n, k, key);
		if (*n->own.iface && !model_iface(m, n->own.iface))
			check_bad(c, n->where, key, "no interface is called `%s`", n->own.iface);
	}
	free(x.v);
}

/* ---- JSON */

static json_t *member_json(const struct member_cfg *m)
{
	return m->weight == 1 ? json_string(m->name) : json_pack("{s:s, s:i}", "nexthop", m->name, "weight", m->weight);
}

json_t *named_json(const void *item)
{
	const struct named_cfg *c = item;
	json_t *o = json_object(), *list;
	char addr[ADDR_TEXT];

	if (c->type != NEXTHOP_GATEWAY)
		json_put_text(o, "type", word_text(route_types, ROUTE_TYPES, c->type));
	if (c->own.family)
		json_put_text(o, "address", addr_text(&c->own.gateway, addr));
	json_put_text(o, "interface", c->own.iface);
	if (c->own.onlink)
		json_object_set_new(o, "onlink", json_true());
	if (c->own.recursive)
		json_object_set_new(o, "recursive", json_true());
	list = json_array();
	for (size_t i = 0; i < c->n_members; i++)
		json_array_append_new(list, member_json(&c->members[i]));
	if (c->n_members)
		json_object_set(o, "group", list);
	json_decref(list);
	return o;
}
