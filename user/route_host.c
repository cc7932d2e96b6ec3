/* route_host.c: static routes, the addresses of NAT, and the connected prefixes of VRFs into the kernel (protocol RTPROT_SLUICE),
 * so that the host's own traffic goes the way of the forwarded one, and routing daemons can announce them. Between the RIB, which
 * says where a route leads, and netlink.h.
 *
 * What the kernel has from us is kept in a small table, begun from the mirror, so that a settled state asks nothing of the
 * kernel. Routes that the kernel drops by itself (a link went down) leave the table by their event, and come back when the
 * RIB has them in force again.
 */
#include "route_priv.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define HOST_NEXTHOPS 256

struct host_route {
	struct hash_node node;
	struct prefix to;
	uint32_t table, metric;
	uint64_t content;
	bool wanted;
};

struct host_key {
	const struct prefix *to;
	uint32_t table, metric;
};

/* As the kernel has it: IPv6 knows no metric 0. */
static uint32_t metric_of(const struct prefix *to, uint32_t metric)
{
	return to->family == 6 && !metric ? 1024 : metric;
}

static uint32_t hash_host(const struct hash *h, const struct host_key *k)
{
	uint64_t s = hash_mix(h->salt, (uint64_t)k->table << 32 | k->metric);

	s = hash_mix(s, (uint64_t)k->to->family << 8 | k->to->len);
	return hash_end(hash_mix_bytes(s, &k->to->addr, sizeof(k->to->addr)));
}

static uint32_t host_hash_of(const struct hash *h, const struct hash_node *node)
{
	const struct host_route *r = hash_entry(node, struct host_route, node);
	struct host_key k = {&r->to, r->table, r->metric};

	return hash_host(h, &k);
}

static bool host_equal(const struct hash_node *node, const void *arg)
{
	const struct host_route *r = hash_entry(node, struct host_route, node);
	const struct host_key *k = arg;

	return r->table == k->table && r->metric == k->metric && r->to.len == k->to->len && r->to.family == k->to->family &&
	       !memcmp(&r->to.addr, &k->to->addr, sizeof(r->to.addr));
}

static struct host_route *host_find(const struct routes *rs, const struct prefix *to, uint32_t table, uint32_t metric)
{
	struct host_key k = {to, table, metric_of(to, metric)};
	struct hash_node *node = hash_find(&rs->host_routes, hash_host(&rs->host_routes, &k), host_equal, &k);

	return node ? hash_entry(node, struct host_route, node) : NULL;
}

/* Of type, MTU and nexthops, whatever their order. */
static uint64_t content_of(uint8_t type, uint32_t mtu, const struct nl_nexthop *nh, size_t n)
{
	uint64_t sum = hash_mix(type, mtu), s;
	size_t i;

	for (i = 0; i < n; i++) {
		s = hash_mix((uint32_t)nh[i].ifindex, n > 1 ? nh[i].weight : 1);
		s = hash_mix(s, nh[i].family);
		sum += nh[i].family ? hash_mix_bytes(s, &nh[i].gateway, sizeof(nh[i].gateway)) : s;
	}
	return sum;
}

static int host_add(struct routes *rs, const struct prefix *to, uint32_t table, uint32_t metric, uint64_t content)
{
	struct host_route *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->to = *to;
	h->table = table;
	h->metric = metric_of(to, metric);
	h->content = content;
	h->wanted = true;
	if (hash_insert(&rs->host_routes, &h->node)) {
		free(h);
		return -ENOMEM;
	}
	return 0;
}

static void host_drop(struct routes *rs, struct host_route *h)
{
	hash_remove(&rs->host_routes, &h->node);
	free(h);
}

/* One that is known already is the echo of our own request, or what the kernel made of it. */
void route_host_event(struct routes *rs, enum mirror_op op, const struct kroute *k)
{
	struct host_route *h = host_find(rs, &k->to, k->table, k->metric);
	struct nl_nexthop nh[HOST_NEXTHOPS];
	size_t i;

	if (op == MIRROR_DEL) {
		if (h)
			host_drop(rs, h);
		return;
	}
	if (h)
		return;
	for (i = 0; i < k->n_nexthops && i < HOST_NEXTHOPS; i++)
		nh[i] = (struct nl_nexthop){.ifindex = k->nexthops[i].ifindex,
					    .gateway = k->nexthops[i].gateway,
					    .family = k->nexthops[i].family,
					    .weight = k->nexthops[i].weight};
	/* without memory it stays unknown, and is set once more */
	host_add(rs, &k->to, k->table, k->metric, content_of(k->type, k->mtu, nh, i));
}

/* ---- what it should have */

struct want {
	struct routes *rs;
	struct errs *errs;
	int error;
	bool apart[VRF_MAX]; /* VRFs of which the kernel is to know the connected prefixes */
};

static bool is_onlink(const struct rib_view *v, const struct nexthop *nh)
{
	size_t i;

	for (i = 0; i < v->n; i++)
		if (v->nexthops[i].onlink && v->nexthops[i].family == nh->family &&
		    !memcmp(&v->nexthops[i].gateway, &nh->gateway, sizeof(nh->gateway)))
			return true;
	return false;
}

static void add_nexthop(struct routes *rs, const struct rib_view *v, uint32_t id, uint32_t weight, struct nl_nexthop *ret,
			size_t *n)
{
	const struct nexthop *nh = nexthop_at(rs->ns, id);
	struct iface iface;

	/* what leaks from one VRF into another is sluice's alone: the kernel knows no VRFs, and has the connected routes of all
	 */
	if (nh && nh->iface && !iface_get(rs->sw, nh->iface, &iface) && iface.vrf != v->vrf)
		return;
	if (!nh || *n == HOST_NEXTHOPS || !nh->iface || !iface_usable(rs->sw, nh->iface))
		return;
	ret[*n] = (struct nl_nexthop){.ifindex = iface_host_ifindex(rs->sw, nh->iface), .weight = weight > 256 ? 256 : weight};
	if (nh->type == NEXTHOP_GATEWAY) {
		ret[*n].family = nh->family;
		ret[*n].gateway = nh->gateway;
		ret[*n].onlink = is_onlink(v, nh);
	}
	(*n)++;
}

static size_t kernel_form(struct routes *rs, const struct rib_view *v, struct nl_nexthop *ret, uint8_t *ret_type)
{
	const struct nhg_member *m;
	size_t n = 0, i, members;

	*ret_type = RTN_UNICAST;
	switch (v->type) {
	case NEXTHOP_BLACKHOLE:
		*ret_type = RTN_BLACKHOLE;
		return 0;
	case NEXTHOP_UNREACHABLE:
		*ret_type = RTN_UNREACHABLE;
		return 0;
	case NEXTHOP_PROHIBIT:
		*ret_type = RTN_PROHIBIT;
		return 0;
	}
	if (!(v->result & NEXTHOP_IS_GROUP)) {
		add_nexthop(rs, v, v->result, 1, ret, &n);
		return n;
	}
	members = nhg_members(rs->ns, v->result & ~NEXTHOP_IS_GROUP, &m, NULL, 0);
	for (i = 0; i < members; i++)
		add_nexthop(rs, v, m[i].nexthop, m[i].weight, ret, &n);
	return n;
}

/* A route that the kernel refuses does not keep the others from it; the first error is the answer. */
static int want_one(const struct rib_view *v, void *arg)
{
	struct want *w = arg;
	struct routes *rs = w->rs;
	struct nl_nexthop nh[HOST_NEXTHOPS];
	struct nl_route route = {
		.to = v->to, .table = route_table_of_vrf(rs, v->vrf), .metric = v->metric, .nexthops = nh, .mtu = v->mtu};
	struct host_route *h;
	uint64_t content;
	int r;

	/* one that another route stands before: the kernel, which goes by metrics, would prefer it */
	if (!route.table || !v->active)
		return 0;
	route.n = kernel_form(rs, v, nh, &route.type);
	if (route.type == RTN_UNICAST && !route.n)
		return 0;
	content = content_of(route.type, route.mtu, nh, route.n);
	h = host_find(rs, &v->to, route.table, v->metric);
	route.known = h;
	if (h && h->content == content) {
		h->wanted = true;
		return 0;
	}
	r = netlink_route_set(rs->sw->nl, &route, w->errs);
	if (r) {
		w->error = r;
		return 0;
	}
	if (!h)
		return host_add(rs, &v->to, route.table, v->metric, content);
	h->content = content;
	h->wanted = true;
	return 0;
}

/* The prefixes of a VRF's interfaces, which the kernel has in the table main alone. Another program may have put one there. */
static int want_connected(const struct rib_view *v, void *arg)
{
	struct want *w = arg;
	struct errs unsaid = {0};
	struct want quiet = {.rs = w->rs, .errs = &unsaid};
	int r = w->apart[v->vrf] ? want_one(v, &quiet) : 0;

	errs_free(&unsaid);
	return r;
}

int route_host_reconcile(struct routes *rs, struct errs *errs)
{
	struct want w = {.rs = rs, .errs = errs};
	struct hash_iter it = {0};
	struct hash_node *node;
	int r;

	vrf_host_apart(rs->sw, w.apart);
	while ((node = hash_next(&rs->host_routes, &it)))
		hash_entry(node, struct host_route, node)->wanted = false;
	r = rib_each(rs->rib, RIB_CONNECTED, want_connected, &w); /* gateways of the others lie in them */
	if (!r)
		r = rib_each(rs->rib, RIB_STATIC, want_one, &w);
	if (!r)
		r = rib_each(rs->rib, RIB_POOL, want_one, &w);
	if (r)
		return r;
	it = (struct hash_iter){0};
	while ((node = hash_next(&rs->host_routes, &it))) {
		struct host_route *h = hash_entry(node, struct host_route, node);
		struct nl_route route = {.to = h->to, .table = h->table, .metric = h->metric, .known = true};

		if (h->wanted)
			continue;
		r = netlink_route_delete(rs->sw->nl, &route, errs);
		if (r)
			w.error = r;
		else
			host_drop(rs, h);
	}
	return w.error;
}

/* ---- life */

static int adopt(const struct kroute *k, void *arg)
{
	if (k->protocol == RTPROT_SLUICE)
		route_host_event(arg, MIRROR_NEW, k);
	return 0;
}

void route_host_open(struct routes *rs)
{
	hash_init(&rs->host_routes, host_hash_of);
	mirror_each_route(rs->sw->mirror, 0, adopt, rs);
}

void route_host_close(struct routes *rs)
{
	struct hash_iter it = {0};
	struct hash_node *node;

	while ((node = hash_next(&rs->host_routes, &it)))
		free(hash_entry(node, struct host_route, node));
	hash_free(&rs->host_routes);
}
