/* nat_list.c: `nat show`: rules, pools, who has most mappings, the log; made in slices.
 *
 * The answer tells of one configuration, rules in their order and pools with their numbers. It is held back until it is whole,
 * and made anew when another configuration comes into force before that; when an event changes NAT, the pool under way alone is.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "nat_priv.h"

#define SLICE_NS    2000000	 /* the last step begins before this has gone by */
#define PIECE_BYTES (256u << 10) /* of what is sent */
#define STEP	    16		 /* single addresses of a pool, each with 24 KB of bits */

/* A pool whose single addresses are gone through. */
struct count {
	json_t *ports; /* of the addresses that have some; NULL: it is not begun */
	json_int_t of_class[POOL_CLASSES];
	uint32_t member;     /* the next one */
	uint32_t reconciled; /* nat.reconciled at its beginning */
};

struct listing {
	struct sw *sw;
	struct evbuffer *text;
	const struct model *model; /* of which `text` tells; it may be gone */
	uint32_t commits;	   /* nat.commits likewise */
	size_t part;
	size_t rule;   /* the next one */
	uint32_t pool; /* likewise */
	bool has_pool; /* one was written */
	bool failed;
	struct count count;
};

/* ---- what is written */

/* Takes the reference. What there is no memory for ends the answer. */
static void put(struct listing *l, const char *before, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	l->failed |= !text || evbuffer_add_printf(l->text, "%s%s", before, text) < 0;
	free(text);
	json_decref(json);
}

static void put_text(struct listing *l, const char *text)
{
	l->failed |= evbuffer_add(l->text, text, strlen(text)) < 0;
}

/* ---- rules */

static json_t *rule_show(const struct sw *sw, const struct nat_cfg *c)
{
	uint16_t id = nat_rule_id(sw, c->name);
	json_t *o = nat_json(c);

	if (id)
		json_object_set_new(o, "id", json_integer(id));
	return o;
}

static bool step_rules(struct listing *l)
{
	const struct model *m = l->sw->model;

	if (!l->rule)
		put_text(l, "{\"rules\":[");
	if (l->rule == m->n_nats) {
		put_text(l, "],\"pools\":[");
		return false;
	}
	put(l, l->rule ? "," : "", rule_show(l->sw, &m->nats[l->rule]));
	l->rule++;
	return true;
}

/* ---- pools */

static const char *const class_name[POOL_CLASSES] = {"tcp", "udp", "icmp"};

static bool none_of_eight(const __u64 *used)
{
	return !(used[0] | used[1] | used[2] | used[3] | used[4] | used[5] | used[6] | used[7]);
}

/* Ports in [min, max] that are held. */
static unsigned held(const struct pool_ports *p, unsigned min, unsigned max)
{
	unsigned n = 0;

	for (unsigned w = min / 64; w <= max / 64; w++) {
		uint64_t bits = p->used[w];

		/* Most of a thousand addresses, of which there are 24 MB. */
		if (w % 8 == 0 && none_of_eight(&p->used[w])) {
			w += 7;
			continue;
		}
		if (w == min / 64)
			bits &= ~0ull << min % 64;
		if (w == max / 64)
			bits &= ~0ull >> (63 - max % 64);
		n += (unsigned)__builtin_popcountll(bits);
	}
	return n;
}

/* What is held of a single address, by class; it is listed if it has some: a pool may have a thousand. */
static void count_address(struct count *c, const struct nat *nat, const struct pool *p, uint32_t slot)
{
	char text[ADDR_TEXT];
	bool any = false;
	json_t *of_addr = json_pack("{s:s}", "address", addr_text(&nat->addrs[POOL_SLOT(slot)].addr, text));

	for (unsigned class = 0; class < POOL_CLASSES; class ++) {
		unsigned here = held(nat_ports(nat, slot, class), p->port_min, p->port_max);

		json_object_set_new(of_addr, class_name[class], json_integer(here));
		c->of_class[class] += here;
		any = any || here;
	}
	if (any)
		json_array_append(c->ports, of_addr);
	json_decref(of_addr);
}

static void count_forget(struct count *c)
{
	json_decref(c->ports);
	*c = (struct count){0};
}

/* Some addresses of the pool; from the first one on if it may be another one since. True: there are more. */
static bool count_some(struct count *c, const struct nat *nat, const struct pool *p)
{
	uint32_t members = p->flags & POOL_F_RUNS ? 0 : nat_pool_members(p), n;

	if (c->reconciled != nat->reconciled)
		count_forget(c);
	if (!c->ports)
		*c = (struct count){.ports = json_array(), .reconciled = nat->reconciled};
	for (unsigned i = 0; i < STEP && c->member < members; i++)
		count_address(c, nat, p, nat_pool_member(nat, p, c->member++, &n));
	return c->member < members;
}

/* "203.0.113.1", or the first and the last of a run's: of member *i and those that go on where it ends. *ret_n: how many
 * addresses. */
static json_t *member_show(const struct nat *nat, const struct pool *p, uint32_t *i, json_int_t *ret_n)
{
	char text[2 * ADDR_TEXT + 1], last_text[ADDR_TEXT];
	uint32_t n, more, id = nat_pool_member(nat, p, *i, &n);
	struct addr first = {0}, last = {0};

	while (POOL_AT(id) && *i + 1 < nat_pool_members(p) && nat_pool_member(nat, p, *i + 1, &more) == id + POOL_ID(0, n)) {
		n += more;
		++*i;
	}
	nat_addr_of(nat, id, &first);
	*ret_n += n;
	addr_text(&first, text);
	if (n > 1 && nat_addr_of(nat, id + POOL_ID(0, n - 1), &last))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "-%s", addr_text(&last, last_text));
	return json_string(text);
}

/* With what was counted, which is given away. */
static json_t *pool_show(const struct nat *nat, uint32_t id, struct count *c)
{
	const struct pool *p = &nat->pools[id];
	json_t *addrs = json_array(), *by_class = json_object();
	json_int_t n = 0, used = 0;

	for (uint32_t i = 0; i < nat_pool_members(p); i++)
		json_array_append_new(addrs, member_show(nat, p, &i, &n));
	for (unsigned class = 0; class < POOL_CLASSES; class ++) {
		c->of_class[class] += nat->run_used[id][class];
		json_object_set_new(by_class, class_name[class], json_integer(c->of_class[class]));
		used = c->of_class[class] > used ? c->of_class[class] : used;
	}
	return json_pack("{s:s, s:o, s:i, s:i, s:I, s:I, s:o, s:i, s:O, s:i}", "name", p->name, "addresses", addrs, "port_min",
			 p->port_min, "port_max", p->port_max, "ports_used", used, "ports_total",
			 n * (p->port_max - p->port_min + 1), "used", by_class, "ports_each", p->port_max - p->port_min + 1,
			 "by_address", c->ports, "id", (int)id /* natPoolID of the log */);
}

static bool step_pools(struct listing *l)
{
	const struct nat *nat = l->sw->nat;

	if (l->pool == POOL_MAX) {
		put_text(l, "],\"mappings\":");
		return false;
	}
	if (nat->pools[l->pool].flags & POOL_F_USED) {
		if (count_some(&l->count, nat, &nat->pools[l->pool]))
			return true;
		put(l, l->has_pool ? "," : "", pool_show(nat, l->pool, &l->count));
		l->has_pool = true;
	}
	count_forget(&l->count);
	l->pool++;
	return true;
}

/* ---- the rest */

static bool step_rest(struct listing *l)
{
	put(l, "", nat_top_show(l->sw));
	put(l, ",\"log\":", nat_log_show(l->sw));
	put_text(l, "}\n");
	return false;
}

/* ---- in slices */

/* What goes on in steps of some microseconds. False: that was the last of the part. */
static bool (*const parts[])(struct listing *l) = {step_rules, step_pools, step_rest};

#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

static void begin(struct listing *l)
{
	evbuffer_drain(l->text, evbuffer_get_length(l->text));
	count_forget(&l->count);
	l->model = l->sw->model;
	l->commits = l->sw->nat->commits;
	l->part = 0;
	l->rule = 0;
	l->pool = 1;
	l->has_pool = false;
}

static void go_on(struct listing *l)
{
	uint64_t end = clock_now_ns() + SLICE_NS;

	if (l->model != l->sw->model || l->commits != l->sw->nat->commits)
		begin(l);
	do
		l->part += !parts[l->part](l);
	while (l->part < N_PARTS && !l->failed && clock_now_ns() < end);
}

/* What could not be finished is sent without its end, so that nobody takes it for the whole. */
static int next(void *arg, struct evbuffer *out)
{
	struct listing *l = arg;

	if (l->part < N_PARTS && !l->failed)
		go_on(l);
	if (l->part < N_PARTS && !l->failed)
		return HTTP_MORE;
	evbuffer_remove_buffer(l->text, out, PIECE_BYTES);
	return evbuffer_get_length(l->text) ? HTTP_MORE : HTTP_END;
}

static void list_free(void *arg)
{
	struct listing *l = arg;

	count_forget(&l->count);
	evbuffer_free(l->text);
	free(l);
}

/* {"rules": [as in the configuration, with "id"], "pools": [{"name", "id", "addresses", "port_min", "port_max", "ports_used",
 * "ports_total", "used": {"tcp", "udp", "icmp"}, "ports_each", "by_address": [{"address", "tcp", "udp", "icmp"}] (those in
 * use; not of ranges whose ports nobody counts one by one, of which "addresses" names the first and the last)}], "mappings":
 * {"total", "hosts", "top": [{"address", "vrf", "mappings"}]}}. Each protocol has ports_total of its own;
 * ports_used is that of the protocol that has used most, so that the two say how near a refusal is. "log": null, or {"file",
 * "syslog", "written" (lines, to one of the two at least), "lost" (to neither), "file_lost", "syslog_lost", "untold" (events that
 * found the ring full), "errors": what is wrong with either now}. */
int nat_list(struct sw *sw, struct http_stream *ret)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (l)
		l->text = evbuffer_new();
	if (!l || !l->text) {
		free(l);
		return -ENOMEM;
	}
	l->sw = sw;
	begin(l);
	*ret = (struct http_stream){.next = next, .free = list_free, .arg = l};
	return 0;
}
