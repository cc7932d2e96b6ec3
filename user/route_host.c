/* route_host.c: static routes, the addresses of NAT, and the connected prefixes of VRFs into the kernel (protocol RTPROT_SLUICE),
 * so that the host's own traffic goes the way of the forwarded one, and routing daemons can announce them. Between the RIB, which
 * says where a route leads, and netlink.h.
 *
 * What the kernel has from us is kept in a small table, begun from the mirror, so that a settled state asks nothing of the
 * kernel. Routes that the kernel drops by itself (a link went down) leave the table by their event, and come back when the
 * RIB has them in force again.
 *
 * Where another program has a route of the same prefix and metric, the kernel takes none beside it. The switch goes by distances
 * and needs no copy, so that is nobody's error: it is remembered, told in the status, and tried again when that route is gone.
 *
 * Other instances have routes of the same protocol here. Whose one is, host_notes.h knows: each is noted before it is put there,
 * so that the life after a kill finds its own; what is not noted is another program's. A life that finds no notes, as older
 * versions left none, takes for its own what leaves by its interfaces, and what stands where it wants one.
 *
 * There may be a hundred thousand: a pass over them takes as many turns of the event loop as it needs, beside the events. What it
 * finds in the table at its end without the mark of its round is taken out of the kernel.
 */
#include "route_priv.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "host_notes.h"
#include "log.h"

#define HOST_NEXTHOPS 256
#define NOTES_SPARE   65536 /* of routes that are noted no more */

#define TOLD_MAX 64 /* of the routes that are taken, in the status */

/* Of those that were found, before the first pass. */
#define ROUND_SEEN  0
#define ROUND_NOTED UINT32_MAX

#define LOOK_EVERY 32 /* routes between two looks at the clock, where the kernel is not asked */

struct host_route {
	struct hash_node node;
	TAILQ_ENTRY(host_route) link;
	struct prefix to;
	uint32_t table, metric;
	uint64_t content;
	uint32_t round; /* of the last pass that wanted it */
	bool taken;	/* by another program's route: the kernel has none from us. Those stand first in the list */
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
	return hash_find_entry(&rs->host_routes, hash_host(&rs->host_routes, &k), host_equal, &k, struct host_route, node);
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

/* `content`: NULL: another program's route has taken the place. */
static int host_add(struct routes *rs, const struct prefix *to, uint32_t table, uint32_t metric, const uint64_t *content)
{
	struct host_route *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->to = *to;
	h->table = table;
	h->metric = metric_of(to, metric);
	h->content = content ? *content : 0;
	h->taken = !content;
	h->round = rs->host_pass.round;
	if (hash_insert(&rs->host_routes, &h->node)) {
		free(h);
		return -ENOMEM;
	}
	if (h->taken)
		TAILQ_INSERT_HEAD(&rs->host_list, h, link);
	else
		TAILQ_INSERT_TAIL(&rs->host_list, h, link);
	return 0;
}

/* ---- notes */

static struct host_note note_of(const struct host_route *h)
{
	return (struct host_note){.to = h->to, .table = h->table, .metric = h->metric};
}

/* Without one a kill would leave the route behind: no reason not to have it. */
static void told_once(struct routes *rs, int r, const struct errs *errs)
{
	if (!rs->host_untold)
		log_error("%s: routes that are put into the kernel from now on stay there when sluiced is killed",
			  errs && errs->n ? errs->v[0].text : strerror(-r));
	rs->host_untold = true;
}

/* A file that has what the kernel has from us, and nothing else. */
static void notes_renew(struct routes *rs)
{
	struct errs errs = {0};
	struct host_notes *n;
	struct host_route *h;
	int r = 0;

	if (!rs->sw->route_notes)
		return;
	n = host_notes_new(rs->sw->route_notes, &errs);
	TAILQ_FOREACH(h, &rs->host_list, link)
	{
		struct host_note note = note_of(h);

		r = n && !r && !h->taken ? host_notes_put(n, &note) : r;
	}
	if (n && !r)
		r = host_notes_use(n, &errs);
	if (n && !r) {
		host_notes_close(rs->host_notes);
		rs->host_notes = n;
	} else {
		host_notes_close(n);
		told_once(rs, r, &errs);
	}
	errs_free(&errs);
}

static void note(struct routes *rs, const struct host_note *note, bool there)
{
	int r = !rs->host_notes ? 0 : there ? host_notes_put(rs->host_notes, note) : host_notes_drop(rs->host_notes, note);

	if (r)
		told_once(rs, r, NULL);
}

static void host_drop(struct routes *rs, struct host_route *h)
{
	struct host_note gone = note_of(h);

	if (!h->taken)
		note(rs, &gone, false);
	if (rs->host_pass.at == h)
		rs->host_pass.at = TAILQ_NEXT(h, link);
	TAILQ_REMOVE(&rs->host_list, h, link);
	hash_remove(&rs->host_routes, &h->node);
	free(h);
}

static uint64_t content_of_kernel(const struct kroute *k)
{
	struct nl_nexthop nh[HOST_NEXTHOPS];
	size_t i;

	for (i = 0; i < k->n_nexthops && i < HOST_NEXTHOPS; i++)
		nh[i] = (struct nl_nexthop){.ifindex = k->nexthops[i].ifindex,
					    .gateway = k->nexthops[i].gateway,
					    .family = k->nexthops[i].family,
					    .weight = k->nexthops[i].weight};
	return content_of(k->type, k->mtu, nh, i);
}

/* One that is known already is the echo of our own request, or what the kernel made of it. */
bool route_host_event(struct routes *rs, enum mirror_op op, const struct kroute *k)
{
	struct host_route *h = host_find(rs, &k->to, k->table, k->metric);

	if (!h || h->taken)
		return false;
	if (op == MIRROR_DEL)
		host_drop(rs, h);
	return true;
}

bool route_host_other(struct routes *rs, enum mirror_op op, const struct kroute *k)
{
	struct host_route *h = host_find(rs, &k->to, k->table, k->metric);

	if (!h || (h->taken && op == MIRROR_NEW))
		return false;
	host_drop(rs, h);
	return true;
}

static void taken_text(const struct host_route *h, char *buf, size_t size)
{
	char text[PREFIX_TEXT];

	snprintf(buf, size,
		 "route %s in table %u: another program has one with metric %u, by which the host's own packets go; the switch "
		 "goes by distance",
		 prefix_text(&h->to, text), h->table, h->metric);
}

void route_host_conditions(const struct routes *rs, json_t *list)
{
	const struct host_route *h = TAILQ_FIRST(&rs->host_list);
	char text[256];

	for (int i = 0; i < TOLD_MAX && h && h->taken; i++, h = TAILQ_NEXT(h, link)) {
		taken_text(h, text, sizeof(text));
		json_array_append_new(list, json_string(text));
	}
}

static int host_taken(struct routes *rs, const struct prefix *to, uint32_t table, uint32_t metric)
{
	char text[256];
	int r = host_add(rs, to, table, metric, NULL);

	if (r)
		return r;
	taken_text(TAILQ_FIRST(&rs->host_list), text, sizeof(text));
	log_error("%s", text);
	return 0;
}

/* ---- what it should have */

/* A piece of a pass. */
struct want {
	struct routes *rs;
	uint64_t end_ns;
	unsigned n;
	int no_memory;
};

/* Is the time up? */
static bool over(struct want *w, bool asked)
{
	if (!w->end_ns || (!asked && ++w->n % LOOK_EVERY))
		return false;
	return clock_now_ns() > w->end_ns;
}

/* Does the kernel need to be told that the gateway is a neighbour there? The route says so, or the one that it is reached by,
 * whose gateway it has. */
static bool is_onlink(const struct routes *rs, const struct rib_view *v, const struct nexthop *nh)
{
	struct rib_view by;
	size_t i;

	for (i = 0; i < v->n; i++)
		if (v->nexthops[i].onlink && v->nexthops[i].family == nh->family &&
		    !memcmp(&v->nexthops[i].gateway, &nh->gateway, sizeof(nh->gateway)))
			return true;
	if (!v->recursive || (nh->family == 6 && addr_is_link_local(&nh->gateway)))
		return false;
	return rib_gateway(rs->rib, v->vrf, &nh->gateway, &by) || by.type != NEXTHOP_CONNECTED ||
	       by.nexthops[0].iface != nh->iface;
}

/* The table is the kernel's, and asking for each route takes longer than all the rest. */
static bool in_vrf(struct routes *rs, uint16_t id, uint16_t vrf)
{
	uint16_t *known = &rs->host_pass.vrf[id];
	struct iface iface;

	if (!*known)
		*known = (iface_get(rs->sw, id, &iface) ? vrf : iface.vrf) + 1;
	return *known == vrf + 1;
}

static void add_nexthop(struct routes *rs, const struct rib_view *v, uint32_t id, uint32_t weight, struct nl_nexthop *ret,
			size_t *n)
{
	const struct nexthop *nh = nexthop_at(rs->ns, id);

	/* what leaks from one VRF into another is sluice's alone: the kernel knows no VRFs, and has the connected routes of all
	 */
	if (nh && nh->iface && !in_vrf(rs, nh->iface, v->vrf))
		return;
	if (!nh || *n == HOST_NEXTHOPS || !nh->iface || !iface_usable(rs->sw, nh->iface))
		return;
	ret[*n] = (struct nl_nexthop){.ifindex = iface_host_ifindex(rs->sw, nh->iface), .weight = weight > 256 ? 256 : weight};
	if (nh->type == NEXTHOP_GATEWAY) {
		ret[*n].family = nh->family;
		ret[*n].gateway = nh->gateway;
		ret[*n].onlink = is_onlink(rs, v, nh);
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

static void note_refusal(struct host_pass *p, int r, const struct errs *errs)
{
	p->error = r;
	for (size_t i = 0; i < errs->n; i++)
		errs_fail(&p->errs, -r, "%s", errs->v[i].text);
}

/* True: the kernel was asked. A route that it refuses does not keep the others from it; the first error is the answer. */
static bool want_one(struct want *w, const struct rib_view *v)
{
	struct routes *rs = w->rs;
	struct nl_nexthop nh[HOST_NEXTHOPS];
	struct nl_route route = {
		.to = v->to, .table = route_table_of_vrf(rs, v->vrf), .metric = v->metric, .nexthops = nh, .mtu = v->mtu};
	struct errs errs = {0};
	struct host_route *h;
	uint64_t content;
	int r;

	/* one that another route stands before: the kernel, which goes by metrics, would prefer it */
	if (!route.table || !v->active || (v->source == RIB_CONNECTED && !rs->host_pass.apart[v->vrf]))
		return false;
	route.n = kernel_form(rs, v, nh, &route.type);
	if (route.type == RTN_UNICAST && !route.n)
		return false;
	content = content_of(route.type, route.mtu, nh, route.n);
	h = host_find(rs, &v->to, route.table, v->metric);
	route.known = h;
	route.adopt = rs->host_unnoted;
	if (h && (h->taken || h->content == content)) {
		h->round = rs->host_pass.round;
		return false;
	}
	if (!h)
		note(rs, &(struct host_note){v->to, route.table, metric_of(&v->to, v->metric)}, true);
	r = netlink_route_set(rs->sw->nl, &route, &errs);
	if (r && !h)
		note(rs, &(struct host_note){v->to, route.table, metric_of(&v->to, v->metric)}, false);
	if (r == -EEXIST && !h && v->source != RIB_CONNECTED) {
		w->no_memory = host_taken(rs, &v->to, route.table, v->metric);
	} else if (r) {
		/* a connected prefix may be another program's to put there */
		if (v->source != RIB_CONNECTED)
			note_refusal(&rs->host_pass, r, &errs);
	} else if (!h) {
		w->no_memory = host_add(rs, &v->to, route.table, v->metric, &content);
	} else {
		h->content = content;
		h->round = rs->host_pass.round;
	}
	errs_free(&errs);
	return true;
}

static int want_some(const struct rib_view *v, void *arg)
{
	bool asked = want_one(arg, v);

	return ((struct want *)arg)->no_memory || over(arg, asked);
}

/* The routes of a source; 1: time is up. */
static int want_source(struct want *w, uint8_t source)
{
	struct host_pass *p = &w->rs->host_pass;

	if (!p->cursor)
		p->cursor = rib_cursor_open(w->rs->rib, source);
	if (!p->cursor)
		return -ENOMEM;
	if (rib_cursor_go(w->rs->rib, p->cursor, want_some, w))
		return w->no_memory ? w->no_memory : 1;
	rib_cursor_close(w->rs->rib, p->cursor);
	p->cursor = NULL;
	p->step++;
	p->at = TAILQ_FIRST(&w->rs->host_list);
	return 0;
}

/* What is in the kernel and should not be; 1: time is up. */
static int sweep(struct want *w)
{
	struct routes *rs = w->rs;
	struct host_pass *p = &rs->host_pass;
	struct host_route *h;
	bool asked;
	int r;

	while ((h = p->at)) {
		struct nl_route route = {.to = h->to, .table = h->table, .metric = h->metric, .known = true};

		p->at = TAILQ_NEXT(h, link);
		asked = h->round != p->round && !h->taken;
		if (h->round != p->round && h->taken)
			host_drop(rs, h);
		r = asked ? netlink_route_delete(rs->sw->nl, &route, &p->errs) : 0;
		if (r)
			p->error = r;
		else if (asked)
			host_drop(rs, h);
		if (over(w, asked))
			return 1;
	}
	p->step = HOST_NONE;
	return 0;
}

static void pass_end(struct routes *rs)
{
	struct host_pass *p = &rs->host_pass;

	if (p->cursor)
		rib_cursor_close(rs->rib, p->cursor);
	errs_free(&p->errs);
	*p = (struct host_pass){.round = p->round};
}

void route_host_begin(struct routes *rs)
{
	pass_end(rs);
	rs->host_due = true;
}

int route_host_reconcile(struct routes *rs, uint64_t end_ns, struct errs *errs)
{
	static const uint8_t sources[] = {[HOST_CONNECTED] = RIB_CONNECTED, [HOST_STATIC] = RIB_STATIC, [HOST_POOL] = RIB_POOL};
	struct want w = {.rs = rs, .end_ns = end_ns};
	struct host_pass *p = &rs->host_pass;
	int r = 0;

	if (p->step == HOST_NONE) {
		p->round++;
		p->step = HOST_CONNECTED; /* gateways of the others lie in them */
		vrf_host_apart(rs->sw, p->apart);
		rs->host_due = false; /* what changes from now on wants a pass of its own */
	}
	while (!r && p->step != HOST_NONE)
		r = p->step == HOST_SWEEP ? sweep(&w) : want_source(&w, sources[p->step]);
	if (r == 1 && p->step != HOST_NONE)
		return -EAGAIN;
	rs->host_due |= r < 0 || p->error;
	rs->host_unnoted = false;
	if (rs->host_notes && host_notes_written(rs->host_notes) > 2 * rs->host_routes.n + NOTES_SPARE)
		notes_renew(rs);
	if (!r && errs)
		r = p->error;
	for (size_t i = 0; i < p->errs.n && errs; i++)
		errs_fail(errs, -r, "%s", p->errs.v[i].text);
	pass_end(rs);
	return r;
}

/* ---- life */

static int former(const struct host_note *n, void *arg)
{
	const uint64_t unseen = 0;

	return host_add(arg, &n->to, n->table, n->metric, &unseen);
}

static int adopt(const struct kroute *k, void *arg)
{
	struct routes *rs = arg;
	struct host_route *h = k->protocol == RTPROT_SLUICE ? host_find(rs, &k->to, k->table, k->metric) : NULL;
	uint64_t content = content_of_kernel(k);

	if (h) {
		h->content = content;
		h->round = ROUND_SEEN;
	} else if (k->protocol == RTPROT_SLUICE && rs->host_unnoted && k->n_nexthops &&
		   iface_id_by_host(rs->sw, k->nexthops[0].ifindex)) {
		return host_add(rs, &k->to, k->table, k->metric, &content);
	}
	return 0;
}

/* The notes of a life before; those of routes that the kernel has no more are forgotten. -ENOMEM. */
static int adopt_all(struct routes *rs)
{
	struct host_route *h, *next;
	int r = rs->sw->route_notes ? host_notes_read(rs->sw->route_notes, former, rs) : 0;

	rs->host_unnoted = r < 0 && iface_any_former(rs->sw);
	if (r == -ENOMEM)
		return r;
	for (h = TAILQ_FIRST(&rs->host_list); h; h = TAILQ_NEXT(h, link))
		h->round = ROUND_NOTED;
	r = mirror_each_route(rs->sw->mirror, 0, adopt, rs);
	for (h = TAILQ_FIRST(&rs->host_list); h; h = next) {
		next = TAILQ_NEXT(h, link);
		if (h->round == ROUND_NOTED)
			host_drop(rs, h);
	}
	return r;
}

int route_host_open(struct routes *rs)
{
	int r;

	hash_init(&rs->host_routes, host_hash_of);
	TAILQ_INIT(&rs->host_list);
	r = adopt_all(rs);
	if (!r)
		notes_renew(rs);
	return r;
}

void route_host_close(struct routes *rs)
{
	struct hash_iter it = {0};
	struct hash_node *node;

	pass_end(rs);
	host_notes_close(rs->host_notes);
	while ((node = hash_next(&rs->host_routes, &it)))
		free(hash_entry(node, struct host_route, node));
	hash_free(&rs->host_routes);
}
