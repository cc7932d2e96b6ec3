/* flow_restore.c: lines that another gateway has saved into the tables, one by one; see flow_move.h.
 *
 * Every line is a stranger's: whatever it says must fit the running configuration (rule, pool, address, port, interface, VRF),
 * must not be taken, and must be within its time; else it is refused with the reason and the rest goes on. A mapping takes its
 * port, its entry and its way back; a flow wants its mapping to be there, and is put in as the data plane does it, the reply
 * first.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_file.h"
#include "flow_move.h"
#include "flow_priv.h"
#include "flow_sum.h"
#include "nat_priv.h"
#include "resize.h"
#include "slices.h"

#define STEP	64		/* lines between looks at the clock */
#define HOLD_NS 120000000000ull /* a mapping waits so long for its flows, which come behind all mappings */

struct line {
	int number;
	struct flow_record r;
};

struct restore {
	struct sw *sw;
	struct line *lines;
	size_t n, at;
	uint64_t now_ns;
	json_int_t restored[RECORD_KINDS], there;
	json_t *refused;
	char why[192];
};

/* What names stand for here. */
struct ids {
	uint16_t vrf, to_vrf, rule, pool, in, out;
	uint16_t source_rule; /* flow.source_rule */
	uint32_t pool_addr;   /* of to_src in the pool */
};

#define DONE  0
#define THERE 1

static int refuse(struct restore *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct restore *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(x->why, sizeof(x->why), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- names */

static int find_vrf(struct restore *x, const char *name, uint16_t *ret)
{
	if (!model_vrf(x->sw->model, name))
		return refuse(x, "there is no VRF '%s'", name);
	*ret = vrf_id(x->sw, name);
	return 0;
}

static int find_iface(struct restore *x, const char *name, uint16_t *ret)
{
	*ret = *name ? iface_id(x->sw, name) : 0;
	return !*name || *ret ? 0 : refuse(x, "there is no interface '%s'", name);
}

static int find_rule(struct restore *x, const char *name, uint16_t *ret)
{
	*ret = nat_rule_id(x->sw, name);
	return *ret ? 0 : refuse(x, "there is no rule '%s'", name);
}

/* The pool and the slot that its address has. */
static int find_pool(struct restore *x, const struct flow_record *r, struct ids *ids)
{
	const struct nat *nat = x->sw->nat;
	char text[ADDR_TEXT];

	for (uint16_t id = 1; id < POOL_MAX && !ids->pool; id++)
		if (nat->pools[id].flags & POOL_F_USED && !strncmp(nat->pools[id].name, r->pool, sizeof(nat->pools[id].name)))
			ids->pool = id;
	if (!ids->pool)
		return refuse(x, "there is no pool '%s'", r->pool);
	ids->pool_addr = nat_pool_find(nat, ids->pool, &r->to_src);
	if (ids->pool_addr != POOL_ADDR_NONE)
		return 0;
	return refuse(x, "%s is no address of pool '%s'", addr_text(&r->to_src, text), r->pool);
}

/* ---- mappings */

/* False: it was held already. */
static bool hold_port(const struct nat *nat, uint32_t slot, unsigned class, uint16_t port)
{
	uint64_t bit = 1ull << port % 64;

	return !(__atomic_fetch_or(&nat_ports(nat, slot, class)->used[port / 64], bit, __ATOMIC_SEQ_CST) & bit);
}

/* The port for a mapping: refused when it is another's, or out of the pool's range. */
static int take_port(struct restore *x, const struct flow_record *r, const struct ids *ids)
{
	const struct pool *pool = &x->sw->nat->pools[ids->pool];
	bool is_run = ids->pool_addr >= POOL_ADDR_MAX;
	unsigned class = nat_class(r->proto);
	char text[ADDR_TEXT];
	struct nat_mapping m;
	bool taken;

	if (r->to_sport < pool->port_min || r->to_sport > pool->port_max)
		return refuse(x, "port %u is not in %u..%u of pool '%s'", r->to_sport, pool->port_min, pool->port_max, r->pool);
	taken = is_run ? nattab_lookup_way(&x->sw->nat->tab, NAT_WAY(ids->pool_addr, class, r->to_sport), &m) != NATTAB_NONE
		       : !hold_port(x->sw->nat, ids->pool_addr, class, r->to_sport);
	if (taken)
		return refuse(x, "port %u of %s is taken", r->to_sport, addr_text(&r->to_src, text));
	return 0;
}

static struct nat_mapping_key mapping_key(const struct flow_record *r, const struct ids *ids)
{
	return (struct nat_mapping_key){.addr = r->src,
					.port = htons(r->sport),
					.vrf = ids->vrf,
					.pool = ids->pool,
					.proto = r->proto,
					.remote = r->remote};
}

/* A flow that has outlived its rule: somebody here must answer for its outside address. Where that is one that NAT gives out, the
 * flow holds its port there; without, it is an interface's. */
static int find_kept(struct restore *x, const struct flow_record *r, struct ids *ids)
{
	const struct nat *nat = x->sw->nat;
	char text[ADDR_TEXT];

	if (!(r->flags & FLOW_F_KEEP))
		return refuse(x, "it has no rule");
	if (!r->shared)
		return 0;
	ids->pool_addr = nat_addr_find(nat, &r->to_src, ids->to_vrf);
	for (uint16_t id = 1; ids->pool_addr != POOL_ADDR_NONE && id < POOL_MAX && !ids->pool; id++)
		if (nat_pool_has(nat, id, ids->pool_addr))
			ids->pool = id;
	if (ids->pool)
		return 0;
	if (!nat_host_has(x->sw, &r->to_src))
		return refuse(x, "its rule is gone, and nobody here has %s", addr_text(&r->to_src, text));
	ids->pool_addr = POOL_ADDR_NONE;
	return 0;
}

static int find_ids(struct restore *x, const struct flow_record *r, struct ids *ids)
{
	bool kept = r->kind == RECORD_FLOW && !*r->rule;
	int err = find_vrf(x, r->vrf, &ids->vrf);

	if (!err)
		err = find_vrf(x, r->to_vrf, &ids->to_vrf);
	if (!err)
		err = kept ? find_kept(x, r, ids) : find_rule(x, r->rule, &ids->rule);
	if (!err)
		err = find_iface(x, r->in, &ids->in);
	if (!err)
		err = find_iface(x, r->out, &ids->out);
	if (!err && *r->pool)
		err = find_pool(x, r, ids);
	return err;
}

/* What is not counted would be no host's: its limits would not hold. An entry that is too much goes with the next pass. */
static int count_host(struct restore *x, uint16_t rule, const struct addr *inside, uint16_t vrf)
{
	int err = nat_limit_host(x->sw->nat, rule, inside, vrf);

	if (err)
		return refuse(x, "its rule has limits: %s",
			      err == -E2BIG ? "the table of what each inside host has is full" : strerror(-err));
	return 0;
}

static int restore_mapping(struct restore *x, const struct flow_record *r)
{
	struct nat_mapping there, m = {.port = htons(r->to_sport), .used_ns = x->now_ns + HOLD_NS, .filtering = r->filtering};
	struct ids ids = {0};
	int err = find_ids(x, r, &ids);

	if (err)
		return err;
	if (!ids.pool || nat_class(r->proto) == POOL_CLASSES)
		return refuse(x, "protocol %u has no ports in a pool", r->proto);
	m.inside = mapping_key(r, &ids);
	m.pool_addr = ids.pool_addr;
	m.out_vrf = ids.to_vrf;
	m.out_iface = ids.out;
	m.rule = ids.rule;
	m.rule = nat_mapping_rule(x->sw->nat, &m);
	if (nattab_lookup(&x->sw->nat->tab, &m.inside, &there) != NATTAB_NONE) {
		if (there.pool_addr == m.pool_addr && there.port == m.port)
			return THERE;
		return refuse(x, "it has another outside port already, %u", ntohs(there.port));
	}
	err = count_host(x, m.rule, &r->src, ids.vrf);
	if (!err)
		err = take_port(x, r, &ids);
	if (err)
		return err;
	err = nattab_add(&x->sw->nat->tab, &m, x->now_ns);
	if (!err)
		return DONE;
	if (ids.pool_addr < POOL_ADDR_MAX)
		nat_port_free(nat_ports(x->sw->nat, ids.pool_addr, nat_class(r->proto)), r->to_sport);
	if (err == -EEXIST)
		return refuse(x, "it has another outside port already");
	if (err == -EADDRINUSE)
		return refuse(x, "port %u is taken", r->to_sport);
	return refuse(x, "%s", err == -E2BIG ? "the table of mappings is full" : strerror(-err));
}

/* Whose an outside address and port are. -ENOENT */
static int find_outside(struct restore *x, const struct addr *a, uint16_t port, uint16_t vrf, uint8_t proto,
			struct nat_mapping *ret)
{
	uint32_t id = nat_addr_find(x->sw->nat, a, vrf);
	unsigned class = nat_class(proto);

	if (id == POOL_ADDR_NONE || class == POOL_CLASSES ||
	    nattab_lookup_way(&x->sw->nat->tab, NAT_WAY(id, class, port), ret) == NATTAB_NONE)
		return -ENOENT;
	return 0;
}

static int restore_peer(struct restore *x, const struct flow_record *r)
{
	struct nat_peer_key key = {.remote = r->dst};
	struct nat_peer v = {0}, now;
	struct nat_mapping m;
	struct ids ids = {0};
	int err = find_vrf(x, r->to_vrf, &ids.to_vrf);

	if (err)
		return err;
	if (find_outside(x, &r->to_src, r->to_sport, ids.to_vrf, r->proto, &m))
		return refuse(x, "its mapping is not there");
	key.way = nattab_way(&m);
	v.addr = m.inside.addr;
	v.port = m.inside.port;
	v.vrf = m.inside.vrf;
	if (!table_lookup(x->sw->nat->peers, &key, &now) && !memcmp(&now, &v, sizeof(v)))
		return THERE;
	err = table_set(x->sw->nat->peers, &key, &v);
	return err ? refuse(x, "%s", err == -E2BIG ? "the table is full" : strerror(-err)) : DONE;
}

/* ---- flows */

/* The flags say which addresses the data plane takes from the pair; both have the sum of all. A forward's sender may have another
 * port, of no rule (bpf/nat_share.h). */
static int check_flags(struct restore *x, const struct flow_record *r)
{
	char a[ADDR_TEXT], b[ADDR_TEXT];

	if (!(r->flags & FLOW_F_SNAT) &&
	    (!addr_same(&r->src, &r->to_src) || (r->sport != r->to_sport && !(r->flags & FLOW_F_DNAT))))
		return refuse(x, "%s port %u becomes %s port %u without the flag 'snat'", addr_text(&r->src, a), r->sport,
			      addr_text(&r->to_src, b), r->to_sport);
	if (!(r->flags & FLOW_F_DNAT) && (!addr_same(&r->dst, &r->to_dst) || r->dport != r->to_dport))
		return refuse(x, "%s port %u becomes %s port %u without the flag 'dnat'", addr_text(&r->dst, a), r->dport,
			      addr_text(&r->to_dst, b), r->to_dport);
	return 0;
}

/* What the flow stands on: the mapping of its source, and that of its destination. */
static int check_mappings(struct restore *x, const struct flow_record *r, const struct ids *ids, uint32_t *ret_dest)
{
	struct nat_mapping_key key = mapping_key(r, ids);
	unsigned class = nat_class(r->proto);
	struct nat_mapping m;

	if (ids->pool && class != POOL_CLASSES && !r->shared &&
	    (nattab_lookup(&x->sw->nat->tab, &key, &m) == NATTAB_NONE || m.pool_addr != ids->pool_addr ||
	     m.port != htons(r->to_sport)))
		return refuse(x, "its mapping is not there");
	if (r->shared && (class == POOL_CLASSES || (*r->rule && !ids->pool)))
		return refuse(x, "it shares a port, and has no pool");
	*ret_dest = 0;
	if (!r->inbound)
		return 0;
	if (find_outside(x, &r->dst, r->dport, ids->vrf, r->proto, &m))
		return refuse(x, "the mapping that it came in by is not there");
	*ret_dest = m.pool_addr + 1;
	return 0;
}

/* Where the destination is translated as well, by another rule: that of the mapping; without one of its own, the first that has
 * the pool for this source. */
static uint16_t source_rule(struct restore *x, const struct flow_record *r, const struct ids *ids)
{
	struct nat_mapping_key key = mapping_key(r, ids);
	struct nat_mapping m;

	if (!(r->flags & FLOW_F_DNAT) || !ids->rule || !ids->pool)
		return ids->rule;
	if (!r->shared && nattab_lookup(&x->sw->nat->tab, &key, &m) != NATTAB_NONE)
		return m.rule;
	return nat_rule_giving(x->sw->nat, &key, 0) ?: ids->rule;
}

static uint64_t ago(const struct restore *x, uint64_t ms)
{
	return x->now_ns > ms * 1000000 ? x->now_ns - ms * 1000000 : 1;
}

static bool is_over(struct restore *x, const struct flow_record *r, const struct ids *ids)
{
	uint64_t idle = r->idle_ms < r->reply_idle_ms ? r->idle_ms : r->reply_idle_ms;
	enum flow_state state = flow_state(r->proto, r->seen, r->reply_seen);
	struct settings_cfg buf;

	return idle >= flow_timeout_s(nat_settings(x->sw, ids->rule, &buf), r->proto, state) * 1000ull;
}

static void set_tuple(struct flow *f, int family, const struct flow_tuple *t)
{
	if (family == 4) {
		f->saddr4 = t->saddr.a32[3];
		f->daddr4 = t->daddr.a32[3];
	} else {
		f->saddr6 = t->saddr;
		f->daddr6 = t->daddr;
	}
	f->sport = t->sport;
	f->dport = t->dport;
}

/* Both directions, as bpf/flow.h fills them: without a way out, which the next packet of each decides. */
static void make_pair(struct restore *x, const struct flow_record *r, const struct ids *ids, uint32_t dest,
		      struct flow_tuple key[2], struct flow f[2])
{
	struct flow_tuple to = {r->to_src, r->to_dst, htons(r->to_sport),  htons(r->to_dport),
				ids->vrf,  r->proto,  addr_family(&r->src)};
	uint16_t l3 = flow_sum_addrs(&r->src, &r->dst, &r->to_src, &r->to_dst);
	uint16_t l4 = flow_sum_ports(htons(r->sport), htons(r->dport), to.sport, to.dport);

	key[0] = (struct flow_tuple){r->src, r->dst, htons(r->sport), htons(r->dport), ids->vrf, r->proto, to.family};
	key[1] = (struct flow_tuple){to.daddr, to.saddr, to.dport, to.sport, ids->to_vrf, r->proto, to.family};
	f[0] = (struct flow){.flags = r->flags,
			     .seen = r->seen,
			     .l3_delta = l3,
			     .l4_delta = l4,
			     .used = (uint32_t)(ago(x, r->idle_ms) >> FLOW_USED_SHIFT),
			     .created_ns = ago(x, r->age_ms),
			     .packets = r->packets,
			     .bytes = r->bytes,
			     .in_iface = ids->in,
			     .pool = ids->pool_addr == POOL_ADDR_NONE ? POOL_KEPT : ids->pool,
			     .pool_addr = ids->pool_addr,
			     .dest_addr = dest,
			     .rule = ids->rule,
			     .source_rule = ids->source_rule,
			     .peer_vrf = ids->to_vrf};
	f[1] = (struct flow){.flags = FLOW_F_REPLY | (r->flags & (FLOW_F_TRACK | FLOW_F_KEEP)),
			     .seen = r->reply_seen,
			     .l3_delta = (uint16_t)~l3,
			     .l4_delta = (uint16_t)~l4,
			     .used = (uint32_t)(ago(x, r->reply_idle_ms) >> FLOW_USED_SHIFT),
			     .created_ns = f[0].created_ns,
			     .packets = r->reply_packets,
			     .bytes = r->reply_bytes,
			     .in_iface = ids->out,
			     .rule = ids->rule,
			     .peer_vrf = ids->vrf};
	if (r->flags & FLOW_F_DNAT)
		f[1].flags |= FLOW_F_SNAT;
	if (r->flags & FLOW_F_SNAT)
		f[1].flags |= FLOW_F_DNAT;
	if (ids->vrf != ids->to_vrf)
		f[1].flags |= FLOW_F_VRF;
	set_tuple(&f[0], to.family, &to);
	set_tuple(&f[1], to.family, &(struct flow_tuple){r->dst, r->src, htons(r->dport), htons(r->sport), 0, 0, 0});
}

static int insert_pair(struct restore *x, const struct flow_tuple key[2], const struct flow f[2])
{
	struct flows *flows = x->sw->flows;
	struct flow there, back;
	int err;

	if (!flow_lookup(flows, &key[0], &there)) {
		bool same = !flow_lookup(flows, &key[1], &back) && flow_is_pair(&key[0], &key[1], &back);

		return same ? THERE : refuse(x, "another flow has its place");
	}
	err = flow_insert(flows, &key[1], &f[1]);
	if (!err) {
		err = flow_insert(flows, &key[0], &f[0]);
		if (err)
			flow_delete(flows, &key[1]);
	}
	if (err == -EEXIST)
		return refuse(x, "another flow has its place");
	return err ? refuse(x, "%s", err == -E2BIG ? "the flow table is full" : strerror(-err)) : DONE;
}

static int restore_flow(struct restore *x, const struct flow_record *r)
{
	struct flow_tuple key[2];
	struct flow f[2];
	struct ids ids = {0};
	uint32_t dest;
	int err = check_flags(x, r);

	if (!err)
		err = find_ids(x, r, &ids);
	if (!err)
		err = check_mappings(x, r, &ids, &dest);
	if (err)
		return err;
	if (is_over(x, r, &ids))
		return refuse(x, "its time is over");
	ids.source_rule = source_rule(x, r, &ids);
	if (ids.pool && ids.rule)
		err = count_host(x, ids.source_rule, &r->src, ids.vrf);
	if (err)
		return err;
	make_pair(x, r, &ids, dest, key, f);
	err = insert_pair(x, key, f);
	if (err)
		return err;
	if (r->shared && ids.pool && ids.pool_addr < POOL_ADDR_MAX)
		hold_port(x->sw->nat, ids.pool_addr, nat_class(r->proto), r->to_sport);
	return DONE;
}

/* ---- line by line */

static void restore_line(struct restore *x, const struct line *l)
{
	char what[FLOW_FILE_NAME];
	int r = DONE;

	switch (l->r.kind) {
	case RECORD_MAPPING:
		r = restore_mapping(x, &l->r);
		break;
	case RECORD_PEER:
		r = restore_peer(x, &l->r);
		break;
	case RECORD_FLOW:
		r = restore_flow(x, &l->r);
		break;
	case RECORD_HEADER:
	case RECORD_END:
	case RECORD_KINDS:
		return;
	}
	if (r == DONE)
		x->restored[l->r.kind]++;
	else if (r == THERE)
		x->there++;
	else
		json_array_append_new(x->refused, json_pack("{s:i, s:s, s:s}", "line", l->number, "what",
							    flow_file_name(&l->r, what), "reason", x->why));
}

static int step(void *arg, json_t *list)
{
	struct restore *x = arg;

	x->now_ns = clock_now_ns();
	for (int i = 0; i < STEP && x->at < x->n; i++)
		restore_line(x, &x->lines[x->at++]);
	return x->at < x->n;
}

static json_t *end(void *arg)
{
	struct restore *x = arg;

	flow_age_soon(x->sw->flows);
	return json_pack("{s:{s:I, s:I, s:I}, s:I, s:O}", "restored", "mappings", x->restored[RECORD_MAPPING], "peers",
			 x->restored[RECORD_PEER], "flows", x->restored[RECORD_FLOW], "there", x->there, "refused", x->refused);
}

static void restore_free(void *arg)
{
	struct restore *x = arg;

	flow_users(x->sw, -1);
	json_decref(x->refused);
	free(x->lines);
	free(x);
}

/* All lines, before the first is restored. */
static int read_lines(struct restore *x, const char *text, size_t len, const char *name, int number, struct errs *errs)
{
	const char *at = text, *end_of_text = text + len;

	while (at < end_of_text) {
		const char *nl = memchr(at, '\n', (size_t)(end_of_text - at)), *stop = nl ? nl : end_of_text;
		struct line *l;
		int err;

		if (!(x->n & (x->n - 1))) {
			l = reallocarray(x->lines, x->n ? 2 * x->n : 1, sizeof(*l));
			if (!l)
				return errs_fail(errs, ENOMEM, "out of memory");
			x->lines = l;
		}
		l = &x->lines[x->n++];
		l->number = number++;
		err = flow_file_parse(at, (size_t)(stop - at), (struct where){where_file(name), l->number}, &l->r, errs);
		if (err)
			return err;
		at = nl ? nl + 1 : end_of_text;
	}
	return 0;
}

int flow_restore(struct sw *sw, const char *text, size_t len, const char *name, int first_line, struct http_stream *ret,
		 struct errs *errs)
{
	struct restore *x;
	int err;

	if (len > FLOW_FILE_BODY)
		return errs_fail(errs, E2BIG, "a request may have %u bytes: send the file in pieces", FLOW_FILE_BODY);
	if (resize_is_busy(sw))
		return errs_fail(errs, EBUSY, "the tables are changing their size: try again in some seconds");
	x = calloc(1, sizeof(*x));
	if (!x)
		return errs_fail(errs, ENOMEM, "out of memory");
	x->sw = sw;
	flow_users(sw, 1);
	x->refused = json_array();
	err = x->refused ? read_lines(x, text, len, name, first_line, errs) : errs_fail(errs, ENOMEM, "out of memory");
	if (err) {
		restore_free(x);
		return err;
	}
	err = slices_stream(&(struct slices){.step = step, .end = end, .free = restore_free, .arg = x}, ret);
	return err ? errs_fail(errs, -err, "out of memory") : 0;
}
