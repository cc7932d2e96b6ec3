/* model_route.c: static routes and their nexthops: reading, checking, JSON.
 *
 * Stands between the tree of parse.h and struct route_cfg and nexthop_cfg.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

const struct word route_types[ROUTE_TYPES] = {{"gateway", NEXTHOP_GATEWAY},
					      {"blackhole", NEXTHOP_BLACKHOLE},
					      {"unreachable", NEXTHOP_UNREACHABLE},
					      {"prohibit", NEXTHOP_PROHIBIT}};

int nexthop_values_read(struct reader *r, const struct node *n, const struct node *const v[5], struct nexthop_cfg *h)
{
	uint32_t weight;

	if (v[0] && read_addr(r, v[0], &h->gateway, &h->family))
		return -EINVAL;
	if (v[1])
		read_netdev(r, v[1], h->iface);
	if (v[2] && !read_u32(r, v[2], 1, 256, &weight))
		h->weight = weight;
	if (v[3])
		read_bool(r, v[3], &h->onlink);
	if (v[4])
		read_bool(r, v[4], &h->recursive);
	if (!v[0] && !v[1])
		return bad_item(r, n, "a nexthop needs an `address`, an `interface`, or both");
	if (v[3] && h->onlink && (!v[0] || !v[1]))
		bad(r, v[3], "`onlink` says that `address` is a neighbour on `interface`: both are needed");
	if (v[4] && h->recursive && (!v[0] || v[1]))
		bad(r, v[4], "`recursive` says that another route leads to `address`: so it is needed, and no `interface`");
	if (v[0] && !v[1] && h->family == 6 && addr_is_link_local(&h->gateway))
		bad(r, v[0], "a link-local address is on every link: `interface` must say which one is meant");
	return 0;
}

static int nexthop_keys_read(struct reader *r, const struct node *n, struct nexthop_cfg *h)
{
	static const char *const keys[] = {"address", "interface", "weight", "onlink", "recursive"};
	const struct node *v[N_OF(keys)];

	return read_keys(r, n, keys, N_OF(keys), v) ? -EINVAL : nexthop_values_read(r, n, v, h);
}

/* "192.0.2.1", or {address, interface, weight, onlink, recursive}. */
static int nexthop_read(struct reader *r, const struct node *n, void *arg)
{
	struct route_cfg *c = arg;
	struct nexthop_cfg *h;
	size_t len;
	int err;

	h = list_add(&c->nexthops, &c->n_nexthops, sizeof(*h));
	if (!h)
		return read_oom(r);
	h->weight = 1;
	if (n->kind == NODE_SCALAR) {
		err = read_addr(r, n, &h->gateway, &h->family);
		if (!err && h->family == 6 && addr_is_link_local(&h->gateway))
			bad(r, n, "a link-local address is on every link: write {address, interface}");
		return err;
	}
	len = read_push(r, "%s", n->key ? ".via" : "");
	err = nexthop_keys_read(r, n, h);
	read_pop(r, len);
	return err;
}

/* The family of `default`: that of its gateways. Says nothing more about a `via` that could not be read. */
static void default_read(struct reader *r, const struct node *n, struct route_cfg *c, bool via_read)
{
	uint8_t family = 0;

	for (size_t i = 0; i < c->n_nexthops; i++) {
		const struct nexthop_cfg *h = &c->nexthops[i];

		if (h->family && family && h->family != family) {
			bad(r, n, "the gateways are of both families: write 0.0.0.0/0 or ::/0");
			return;
		}
		family = h->family ?: family;
	}
	if (family)
		prefix_parse("default", family, true, &c->to);
	else if (!r->partial && via_read)
		bad(r, n, "no gateway shows the family of `default`: write 0.0.0.0/0 or ::/0");
}

/* Why no packet to any address of the prefix is ever routed, or NULL. */
static const char *never_routed(const struct prefix *to)
{
	const uint8_t *a = to->addr.a8;
	const char *problem = to->len >= 4 ? host_problem(&to->addr) : NULL;

	if (problem)
		return problem;
	if (to->family == 6)
		return to->len >= 10 && addr_is_link_local(&to->addr)
			       ? "is link-local, and never leaves its link (RFC 4291 2.5.6)"
			       : NULL;
	if (to->len >= 4 && a[12] >= 0xf0)
		return "is reserved (RFC 1112 4), and no router forwards it";
	return to->len >= 16 && a[12] == 169 && a[13] == 254 ? "is link-local, and never leaves its link (RFC 3927 2.7)" : NULL;
}

static void to_read(struct reader *r, const struct node *n, struct route_cfg *c, bool via_read)
{
	const char *problem = NULL;

	if (n->kind == NODE_SCALAR && !strcmp(n->text, "default") && *c->nexthop)
		; /* its family is that of the named nexthop: model_link() */
	else if (n->kind == NODE_SCALAR && !strcmp(n->text, "default"))
		default_read(r, n, c, via_read);
	else if (!read_prefix(r, n, &c->to) && c->to.len && c->type == NEXTHOP_GATEWAY)
		problem = never_routed(&c->to);
	if (problem)
		bad(r, n, "no route leads there: %s %s", n->text, problem);
}

/* Links carry 68 bytes of IPv4 (RFC 791) and 1280 of IPv6 (RFC 8200 5); below 576 nobody means it. */
static void mtu_read(struct reader *r, const struct node *n, struct route_cfg *c)
{
	if (c->type != NEXTHOP_GATEWAY)
		bad(r, n, "a route that leads nowhere has no `mtu`");
	else
		read_u32(r, n, c->to.family == 6 ? MTU_MIN6 : MTU_MIN4, MTU_MAX, &c->mtu);
}

static const char *const route_keys[] = {"to", "via", "type", "vrf", "metric", "distance", "mtu", "nexthop"};
enum { R_TO, R_VIA, R_TYPE, R_VRF, R_METRIC, R_DISTANCE, R_MTU, R_NEXTHOP };

/* Where it leads: `via` or `nexthop`, and `type`. True: gateways, if any, were read. */
static bool way_read(struct reader *r, const struct node *n, const struct node *const *v, struct route_cfg *c)
{
	if (v[R_NEXTHOP] && (v[R_VIA] || v[R_TYPE])) {
		bad(r, v[R_NEXTHOP], "the named nexthop says where the route leads: `%s` beside it is too much",
		    v[R_VIA] ? "via" : "type");
		return false;
	}
	if (v[R_NEXTHOP])
		return !read_label(r, v[R_NEXTHOP], c->nexthop);
	if (v[R_VIA] && c->type != NEXTHOP_GATEWAY) {
		bad(r, v[R_VIA], "a route of type %s leads nowhere: it has no `via`", v[R_TYPE]->text);
		return true;
	}
	if (v[R_VIA] && read_list(r, v[R_VIA], nexthop_read, c))
		return false;
	if (c->type == NEXTHOP_GATEWAY && !c->n_nexthops)
		return !read_required(r, n, NULL, "via", "the gateway, or a list of gateways (or `nexthop`: a named one)");
	return true;
}

void route_read(struct reader *r, const struct node *n)
{
	const struct node *v[N_OF(route_keys)];
	uint32_t distance = DISTANCE_DEFAULT;
	int type = NEXTHOP_GATEWAY;
	bool via_read;
	struct route_cfg *c;

	c = list_add(&r->m->routes, &r->m->n_routes, sizeof(*c));
	if (!c) {
		read_oom(r);
		return;
	}
	c->where = read_where(r, n);
	if (read_keys(r, n, route_keys, N_OF(route_keys), v))
		return;
	if (v[R_TYPE] && read_word(r, v[R_TYPE], route_types, ROUTE_TYPES, &type))
		return;
	c->type = type;
	via_read = way_read(r, n, v, c);
	if (!read_required(r, n, v[R_TO], "to", "the prefix that the route leads to") && v[R_TO])
		to_read(r, v[R_TO], c, via_read);
	read_vrf(r, v[R_VRF], c->vrf);
	if (v[R_METRIC])
		read_u32(r, v[R_METRIC], 0, UINT32_MAX, &c->metric);
	if (v[R_DISTANCE])
		read_u32(r, v[R_DISTANCE], 1, 255, &distance);
	c->distance = distance;
	if (v[R_MTU])
		mtu_read(r, v[R_MTU], c);
}

/* ---- checks ---- */

static void gateway_check(struct checker *c, const struct route_cfg *route, const struct nexthop_cfg *h, size_t vrf,
			  const char *key)
{
	const struct iface_cfg *iface = *h->iface ? model_iface(c->m, h->iface) : NULL;
	const struct subnet *s = check_own(c, vrf, &h->gateway);
	const char *problem;
	char addr[ADDR_TEXT];

	addr_text(&h->gateway, addr);
	if (s) {
		check_bad(c, route->where, key, "the gateway %s is the address of interface `%s` itself", addr, s->iface->name);
		return;
	}
	if (h->onlink || (iface && h->family == 6 && addr_is_link_local(&h->gateway)))
		return;
	s = iface ? check_subnet_of(c, iface, &h->gateway) : check_subnet(c, vrf, &h->gateway);
	if (!s && iface)
		check_bad(c, route->where, key, "the gateway %s is in no prefix of interface `%s`, and `onlink` is not set", addr,
			  h->iface);
	else if (!s && !h->recursive)
		check_bad(c, route->where, key,
			  "no interface of VRF `%s` reaches the gateway %s: none has a prefix with it (or give `interface` and "
			  "`onlink: true`; or `recursive: true`, when another route does)",
			  route->vrf, addr);
	problem = s ? subnet_problem(&s->net, &h->gateway) : NULL;
	if (problem)
		check_bad(c, route->where, key, "the gateway %s %s", addr, problem);
}

static void nexthop_check(struct checker *c, const struct route_cfg *route, const struct nexthop_cfg *h, size_t vrf,
			  const char *key)
{
	const struct iface_cfg *iface = *h->iface ? model_iface(c->m, h->iface) : NULL;
	char addr[ADDR_TEXT];

	if (*h->iface && !iface) {
		check_bad(c, route->where, key, "no interface is called `%s`", h->iface);
		return;
	}
	if (h->family == 4 && route->to.family == 6)
		check_bad(c, route->where, key, "an IPv6 route cannot lead over the IPv4 gateway %s",
			  addr_text(&h->gateway, addr));
	else if (h->family)
		gateway_check(c, route, h, vrf, key);
}

static int cmp_nexthops(const void *a, const void *b)
{
	const struct nexthop_cfg *x = *(const struct nexthop_cfg *const *)a, *y = *(const struct nexthop_cfg *const *)b;
	int d = memcmp(&x->gateway, &y->gateway, sizeof(x->gateway));

	return d ? d : strcmp(x->iface, y->iface);
}

static void nexthops_check(struct checker *c, const struct route_cfg *route, size_t vrf, const char *key)
{
	const struct nexthop_cfg **v;

	if (route->n_nexthops > NEXTHOPS_MAX) {
		check_bad(c, route->where, key, "%zu nexthops: a route has at most %d", route->n_nexthops, NEXTHOPS_MAX);
		return;
	}
	for (size_t i = 0; i < route->n_nexthops; i++)
		nexthop_check(c, route, &route->nexthops[i], vrf, key);
	if (route->n_nexthops < 2)
		return;
	v = sorted_pointers(route->nexthops, route->n_nexthops, sizeof(*route->nexthops), cmp_nexthops);
	if (!v) {
		check_oom(c);
		return;
	}
	for (size_t i = 1; i < route->n_nexthops; i++)
		if (!cmp_nexthops(&v[i - 1], &v[i]))
			check_bad(c, route->where, key, "the same nexthop is listed twice: give it a `weight` instead");
	free(v);
}

int route_cmp(const struct route_cfg *x, const struct route_cfg *y)
{
	int d = strcmp(x->vrf, y->vrf);

	if (!d)
		d = memcmp(&x->to.addr, &y->to.addr, sizeof(x->to.addr));
	if (!d)
		d = (int)prefix_mapped_len(&x->to) - (int)prefix_mapped_len(&y->to);
	if (!d)
		d = (x->metric > y->metric) - (x->metric < y->metric);
	return d ? d : (int)x->distance - (int)y->distance;
}

static int cmp_routes(const void *a, const void *b)
{
	const struct route_cfg *x = *(const struct route_cfg *const *)a, *y = *(const struct route_cfg *const *)b;
	int d = route_cmp(x, y);

	return d ? d : (x > y) - (x < y);
}

int route_order(const void *a, const void *b)
{
	return route_cmp(*(const struct route_cfg *const *)a, *(const struct route_cfg *const *)b);
}

static bool same_nexthop(const struct nexthop_cfg *x, const struct nexthop_cfg *y)
{
	return x->family == y->family && x->weight == y->weight && x->onlink == y->onlink && x->recursive == y->recursive &&
	       !memcmp(&x->gateway, &y->gateway, sizeof(x->gateway)) && !strcmp(x->iface, y->iface);
}

bool route_equal(const void *a, const void *b)
{
	const struct route_cfg *x = a, *y = b;

	if (x->type != y->type || x->mtu != y->mtu || x->n_nexthops != y->n_nexthops || x->to.family != y->to.family ||
	    route_cmp(x, y) || strcmp(x->nexthop, y->nexthop))
		return false;
	if (*x->nexthop)
		return true; /* what it is, is said where it is named */
	for (size_t i = 0; i < x->n_nexthops; i++)
		if (!same_nexthop(&x->nexthops[i], &y->nexthops[i]))
			return false;
	return true;
}

static void doubles_check(struct checker *c)
{
	const struct model *m = c->m;
	const struct route_cfg **v = sorted_pointers(m->routes, m->n_routes, sizeof(*m->routes), cmp_routes);
	char key[32], line[LINE_TEXT], prefix[PREFIX_TEXT];

	if (!v && m->n_routes)
		check_oom(c);
	for (size_t i = 1; v && i < m->n_routes; i++) {
		if (route_cmp(v[i - 1], v[i]))
			continue;
		snprintf(key, sizeof(key), "routes[%zu]", v[i] - m->routes);
		check_bad(c, v[i]->where, key,
			  "%s is there already%s with the same VRF, metric and distance: give one of them another metric, or one "
			  "route several gateways",
			  prefix_text(&v[i]->to, prefix), line_text(v[i - 1]->where, line));
	}
	free(v);
}

/* Each family's table has room for the static routes; said of the first that has none. */
static void room_check(struct checker *c)
{
	const struct settings_cfg *s = &c->m->settings;
	uint32_t room[2] = {s->max_routes4, s->max_routes6};

	for (size_t i = 0; i < c->m->n_routes; i++) {
		const struct route_cfg *route = &c->m->routes[i];
		int six = route->to.family == 6;

		if (room[six]--)
			continue;
		check_bad(c, route->where, "routes", "more static IPv%d routes than `tables.routes%d` has room for (%u)",
			  six ? 6 : 4, six ? 6 : 4, six ? s->max_routes6 : s->max_routes4);
		return;
	}
}

/* What a named nexthop means for routes of a VRF and family is checked with the first of them. */
struct named_seen {
	const struct model *m;
	uint8_t *families; /* of each named one in each VRF: bit 0 IPv4, bit 1 IPv6 */
};

static bool named_first(const struct named_seen *seen, const struct route_cfg *route, size_t vrf)
{
	uint8_t *at = &seen->families[(size_t)(route->named - seen->m->nexthops) * seen->m->n_vrfs + vrf];
	uint8_t bit = route->to.family == 6 ? 2 : 1;
	bool first = !(*at & bit);

	*at |= bit;
	return first;
}

static void named_route_check(struct checker *c, const struct named_seen *seen, const struct route_cfg *route, size_t vrf,
			      const char *key)
{
	if (!route->named) {
		check_bad(c, route->where, key, "no nexthop is called `%s`: list it under `nexthops`", route->nexthop);
		return;
	}
	if (!route->to.family) {
		check_bad(c, route->where, key,
			  "the gateways of `%s` do not show the family of `default`: write 0.0.0.0/0 or ::/0", route->nexthop);
		return;
	}
	if (route->mtu && route->type != NEXTHOP_GATEWAY)
		check_bad(c, route->where, key, "`%s` leads nowhere: the route has no `mtu`", route->nexthop);
	if (route->mtu && route->to.family == 6 && route->mtu < MTU_MIN6)
		check_bad(c, route->where, key, "an IPv6 route's `mtu` is %d..%d", MTU_MIN6, MTU_MAX);
	if (named_first(seen, route, vrf))
		nexthops_check(c, route, vrf, key);
}

void route_check(struct checker *c)
{
	const struct model *m = c->m;
	struct named_seen seen = {m, calloc(m->n_nexthops * m->n_vrfs + 1, 1)};
	char key[40];
	size_t vrf;

	if (!seen.families) {
		check_oom(c);
		return;
	}
	room_check(c);
	for (size_t i = 0; i < m->n_routes; i++) {
		const struct route_cfg *route = &m->routes[i];

		snprintf(key, sizeof(key), "routes[%zu].vrf", i);
		vrf = check_vrf(c, route->where, key, route->vrf);
		snprintf(key, sizeof(key), "routes[%zu].%s", i, *route->nexthop ? "nexthop" : "via");
		if (vrf < m->n_vrfs && *route->nexthop)
			named_route_check(c, &seen, route, vrf, key);
		else if (vrf < m->n_vrfs)
			nexthops_check(c, route, vrf, key);
	}
	free(seen.families);
	doubles_check(c);
}

/* ---- JSON ---- */

static json_t *nexthop_json(const struct nexthop_cfg *h)
{
	char addr[ADDR_TEXT];
	json_t *o;

	if (h->family && !*h->iface && h->weight == 1 && !h->recursive)
		return json_string(addr_text(&h->gateway, addr));
	o = json_object();
	if (h->family)
		json_put_text(o, "address", addr_text(&h->gateway, addr));
	json_put_text(o, "interface", h->iface);
	if (h->weight != 1)
		json_put_number(o, "weight", h->weight);
	if (h->onlink)
		json_object_set_new(o, "onlink", json_true());
	if (h->recursive)
		json_object_set_new(o, "recursive", json_true());
	return o;
}

json_t *route_json(const void *item)
{
	const struct route_cfg *c = item;
	json_t *o = json_object(), *via;
	char prefix[PREFIX_TEXT];

	if (c->to.family)
		json_put_text(o, "to", prefix_text(&c->to, prefix));
	else if (*c->nexthop)
		json_put_text(o, "to", "default");
	json_put_text(o, "nexthop", c->nexthop);
	if (c->type != NEXTHOP_GATEWAY && !*c->nexthop)
		json_put_text(o, "type", word_text(route_types, ROUTE_TYPES, c->type));
	if (*c->nexthop) {
		;
	} else if (c->n_nexthops == 1 && c->nexthops[0].family && !*c->nexthops[0].iface && c->nexthops[0].weight == 1) {
		json_object_set_new(o, "via", nexthop_json(&c->nexthops[0]));
	} else if (c->n_nexthops) {
		via = json_array();
		for (size_t i = 0; i < c->n_nexthops; i++)
			json_array_append_new(via, nexthop_json(&c->nexthops[i]));
		json_object_set_new(o, "via", via);
	}
	if (strcmp(c->vrf, VRF_DEFAULT))
		json_put_text(o, "vrf", c->vrf);
	if (c->metric != METRIC_DEFAULT)
		json_put_number(o, "metric", c->metric);
	if (c->distance != DISTANCE_DEFAULT)
		json_put_number(o, "distance", c->distance);
	if (c->mtu)
		json_put_number(o, "mtu", c->mtu);
	return o;
}
