/* nat_tables.h: a sluiced whose tables are memory of the test, with two interfaces, and a pair of flows in them with mapping and
 * port: for tests of what NAT's control plane writes there and takes back.
 */
#ifndef SLUICE_TEST_NAT_TABLES_H
#define SLUICE_TEST_NAT_TABLES_H

#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <event2/buffer.h>
#include "clock.h"
#include "../../user/flow_age.c"

/* ---- memory: that of a list has held something else before */

void *reallocarray(void *v, size_t n, size_t size)
{
	size_t had = v ? malloc_usable_size(v) : 0;
	void *now = malloc(n * size);

	assert_non_null(now);
	memset(now, 0xa5, n * size);
	if (had)
		memcpy(now, v, had < n * size ? had : n * size);
	free(v);
	return now;
}

/* ---- tables */

struct table {
	const char *name;
	size_t key, value, max, n;
	unsigned char *v; /* arrays: max values with a stride of 8; hashes: n of key and value */
	bool array;
	unsigned writes;
};

#define BUCKETS 8

static struct table tables[] = {
	{"pools", 4, sizeof(struct pool), POOL_MAX, 0, NULL, true, 0},
	{"pool_members", 4, 8, 2 * POOL_MEMBER_MAX, 0, NULL, true, 0},
	{"pool_addrs", 4, sizeof(struct pool_addr), POOL_ADDR_MAX, 0, NULL, true, 0},
	{"pool_ports", 4, sizeof(struct pool_ports), POOL_PORTS_MAX, 0, NULL, true, 0},
	{"snat_rules", 4, sizeof(struct snat_rule), 2 * SNAT_RULE_MAX, 0, NULL, true, 0},
	{"ifaces", 4, sizeof(struct iface), IFACE_MAX, 0, NULL, true, 0},
	{"nat_filter", 4, sizeof(struct nat_filter), 1, 0, NULL, true, 0},
	{"dnat_rules", sizeof(struct dnat_key), sizeof(struct dnat_rule), DNAT_SPARED + 50, 0, NULL, false, 0},
	{"nat_words", 4, sizeof(struct bucket), BUCKETS, 0, NULL, true, 0},
	{"nat_mappings", 4, sizeof(struct nat_mapping), BUCKETS *BUCKET_SLOTS, 0, NULL, true, 0},
	{"nat_ways", 4, sizeof(struct nat_line), BUCKETS, 0, NULL, true, 0},
	{"nat_peers", sizeof(struct nat_peer_key), sizeof(struct nat_peer), 100, 0, NULL, false, 0},
	{"nat_statics", sizeof(struct nat_static_key), sizeof(struct nat_static), 100, 0, NULL, false, 0},
	{"nat_used", sizeof(struct nat_host_key), sizeof(struct nat_used), 100, 0, NULL, false, 0},
	{"nat_counted", sizeof(struct nat_host_key), sizeof(struct nat_counted), 100, 0, NULL, false, 0},
	{"flow_table", 4, sizeof(struct flow_table), 1, 0, NULL, true, 0},
	{"flow_words4", 4, sizeof(struct bucket), BUCKETS, 0, NULL, true, 0},
	{"flow_words6", 4, sizeof(struct bucket), BUCKETS, 0, NULL, true, 0},
	{"flows4", 4, sizeof(struct flow), BUCKETS *BUCKET_SLOTS, 0, NULL, true, 0},
	{"flows6", 4, sizeof(struct flow6), BUCKETS *BUCKET_SLOTS, 0, NULL, true, 0},
};

struct table *table_get(struct datapath *dp, const char *map)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (!strcmp(tables[i].name, map))
			return &tables[i];
	return NULL;
}

uint32_t table_capacity(const struct table *t)
{
	return (uint32_t)t->max;
}

void *table_map(struct table *t)
{
	return t->array ? t->v : NULL;
}

static unsigned char *place(struct table *t, const void *key)
{
	if (t->array)
		return t->v + *(const uint32_t *)key * t->value;
	for (size_t i = 0; i < t->n; i++)
		if (!memcmp(t->v + i * (t->key + t->value), key, t->key))
			return t->v + i * (t->key + t->value) + t->key;
	return NULL;
}

static unsigned lookups, walks; /* in hashes, and over them */

int table_lookup(struct table *t, const void *key, void *ret)
{
	lookups += !t->array;
	if (!place(t, key))
		return -ENOENT;
	memcpy(ret, place(t, key), t->value);
	return 0;
}

int table_set(struct table *t, const void *key, const void *value)
{
	t->writes++;
	if (!place(t, key)) {
		if (t->n >= t->max)
			return -E2BIG;
		memcpy(t->v + t->n++ * (t->key + t->value), key, t->key);
	}
	memcpy(place(t, key), value, t->value);
	return 0;
}

int table_insert(struct table *t, const void *key, const void *value)
{
	return place(t, key) ? -EEXIST : table_set(t, key, value);
}

int table_delete(struct table *t, const void *key)
{
	unsigned char *at = place(t, key), *last = t->v + (t->n - 1) * (t->key + t->value);

	if (!at)
		return -ENOENT;
	t->writes++;
	memmove(at - t->key, last, t->key + t->value);
	t->n--;
	return 0;
}

/* From a copy: as the kernel's batches, it shows elements that the callback may delete. */
int table_each(struct table *t, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	size_t n = t->n, size = t->key + t->value;
	unsigned char *copy = malloc(n * size + 1);
	int err = 0;

	walks++;
	memcpy(copy, t->v, n * size);
	for (size_t i = 0; !err && i < n; i++) {
		uint64_t value[sizeof(struct flow) / 8];

		memcpy(value, copy + i * size + t->key, t->value);
		err = fn(copy + i * size, value, arg);
	}
	free(copy);
	return err;
}

int table_each_some(struct table *t, void **cursor, size_t max, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	*cursor = NULL;
	return table_each(t, fn, arg);
}

void table_cursor_free(void *cursor)
{
}

/* Of the counters, which these tests have not. */
int table_sum(struct table *t, uint32_t index, uint64_t *ret_words, size_t n)
{
	memset(ret_words, 0, n * sizeof(*ret_words));
	return 0;
}

/* ---- the rest of sluiced: two interfaces, wan (1, 203.0.113.1/24) and lan (2, 10.0.0.1/24) */

static __be32 wan4;
static uint16_t wan_flags; /* IFACE_F_* */
static char host_addrs[8][PREFIX_TEXT];

uint16_t iface_id(const struct sw *sw, const char *name)
{
	return !strcmp(name, "wan") ? 1 : !strcmp(name, "lan") ? 2 : 0;
}

const char *iface_name(const struct sw *sw, uint16_t id)
{
	return id == 1 ? "wan" : id == 2 ? "lan" : NULL;
}

int iface_host_ifindex(const struct sw *sw, uint16_t id)
{
	return id ? 100 + id : 0;
}

int iface_get(const struct sw *sw, uint16_t id, struct iface *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->addr4 = id == 1 ? wan4 : htonl(0x0a000001);
	ret->flags = id == 1 ? wan_flags : 0;
	return 0;
}

uint16_t vrf_id(const struct sw *sw, const char *name)
{
	return !strcmp(name, "blue") ? 1 : !strcmp(name, "red") ? 2 : 0;
}

const char *vrf_name(const struct sw *sw, uint16_t id)
{
	return "default";
}

static uint16_t gone; /* a VRF that drains; 0: none */
static unsigned passes_begun, passes_ended;

bool vrf_alive(const struct sw *sw, uint16_t id)
{
	return id != gone || !gone;
}

bool vrf_draining(const struct sw *sw)
{
	return gone;
}

void vrf_pass_begin(struct sw *sw)
{
	passes_begun++;
}

int vrf_pass_fragments(struct sw *sw, void **cursor, size_t max)
{
	*cursor = NULL;
	return 0;
}

void vrf_pass_end(struct sw *sw)
{
	passes_ended++;
}

const struct link *mirror_link(const struct mirror *m, int ifindex)
{
	static const struct link some;

	return &some;
}

static struct link tunnel;

int mirror_each_link(const struct mirror *m, int (*fn)(const struct link *l, void *arg), void *arg)
{
	return fn(&tunnel, arg);
}

int mirror_each_addr(const struct mirror *m, int ifindex, int (*fn)(const struct link_addr *a, void *arg), void *arg)
{
	struct link_addr wan = {.ifindex = 101, .addr = {addr_v4(wan4), 4, 24}};
	struct link_addr lan = {.ifindex = 102, .addr = {addr_v4(htonl(0x0a000001)), 4, 24}};
	int r = !ifindex || ifindex == 101 ? fn(&wan, arg) : 0;

	return r || ifindex == 101 ? r : fn(&lan, arg);
}

static char (*host_addr(const struct prefix *p))[PREFIX_TEXT]
{
	char text[PREFIX_TEXT];

	prefix_text(p, text);
	for (int i = 0; i < 8; i++)
		if (!strcmp(host_addrs[i], text))
			return &host_addrs[i];
	return NULL;
}

int netlink_addr_add(struct netlink *nl, int ifindex, const struct prefix *p, uint32_t metric, struct errs *errs)
{
	assert_int_equal(ifindex, 101);
	assert_int_equal(metric, NL_ANSWER_ONLY);
	for (int i = 0; !host_addr(p) && i < 8; i++)
		if (!host_addrs[i][0])
			prefix_text(p, host_addrs[i]);
	return 0;
}

int netlink_addr_delete(struct netlink *nl, int ifindex, const struct prefix *p, struct errs *errs)
{
	assert_non_null(host_addr(p));
	(*host_addr(p))[0] = 0;
	return 0;
}

/* ---- a switch */

static struct addr v4(const char *text)
{
	return addr_v4(inet_addr(text));
}

static struct control control;
static struct sw sw;

#define HEAD                                                                                                                     \
	"ports:\n  wan: {mode: routed}\n  eth1: {mode: access, vlan: 10}\ninterfaces:\n"                                         \
	"  wan: {port: wan, addresses: [203.0.113.1/24]}\n  lan: {vlan: 10, addresses: [10.0.0.1/24]}\nnat:\n"

static void use(const char *nat)
{
	char text[4096];
	struct errs errs = {0};

	snprintf(text, sizeof(text), HEAD "%s", nat);
	model_free(sw.model);
	sw.model = model_parse(text, strlen(text), "test", &errs);
	for (size_t i = 0; i < errs.n; i++)
		print_error("%s\n", errs.v[i].text);
	assert_non_null(sw.model);
}

static void open_nat(void)
{
	assert_int_equal(flowtab_seed(table_map(table_get(NULL, "flow_table")), 1), 0);
	assert_int_equal(nat_open(&sw, NULL), 0);
	assert_int_equal(flow_open(&sw, NULL), 0);
}

static int setup(void **state)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		struct table *t = &tables[i];

		t->v = calloc(t->max, t->array ? t->value : t->key + t->value);
		t->n = t->writes = 0;
	}
	memset(&control, 0, sizeof(control));
	memset(host_addrs, 0, sizeof(host_addrs));
	wan4 = htonl(0xcb007101);
	wan_flags = 0;
	sw = (struct sw){.control = &control, .base = event_base_new()};
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.10-203.0.113.11, out: [wan]}\n"
	    "  - {name: web, type: dnat, destination: wan, protocol: tcp, port: 80, to: 10.0.0.5:8080}\n");
	open_nat();
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	flow_close(&sw);
	nat_close(&sw);
	model_free(sw.model);
	event_base_free(sw.base);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		free(tables[i].v);
	return 0;
}

static const struct snat_rule *rules(void)
{
	return &sw.nat->snat[control.snat_bank * SNAT_RULE_MAX];
}

static const struct pool *pool_named(const char *name, uint16_t *id)
{
	for (*id = 1; *id < POOL_MAX; ++*id)
		if (!strcmp(sw.nat->pools[*id].name, name))
			return &sw.nat->pools[*id];
	return NULL;
}

/* ---- flows */

static struct flow_key4 forward_key, reply_key;
static uint16_t out_pool, out_port = 5000;
static uint32_t slot;

/* As a CPU's roll-back does it. */
static void drop_entry(const struct flow_key4 *key)
{
	uint32_t word, i = flowtab_find(&sw.flows->tab[0], key, &word);

	if (i != FLOWTAB_NONE)
		flowtab_end(&sw.flows->tab[0], i, word, clock_now_ns());
}

static struct flow entry(const struct flow_key4 *key)
{
	uint32_t word, i = flowtab_find(&sw.flows->tab[0], key, &word);
	struct flow_key6 ignored;
	struct flow f;

	assert_int_not_equal(i, FLOWTAB_NONE);
	assert_true(flowtab_read(&sw.flows->tab[0], i, word, &ignored, &f));
	return f;
}

static void drop_mapping(const struct nat_mapping_key *k)
{
	struct nat_mapping m;
	uint32_t i = nattab_lookup(&sw.nat->tab, k, &m), word;

	if (i != NATTAB_NONE && nattab_read(&sw.nat->tab, i, &m, &word))
		nattab_end(&sw.nat->tab, i, word, &m, clock_now_ns());
}

/* 10.0.0.7:5000 to 192.0.2.1:53, by the port `out_port` of the first address of `out`, or, of a run, the one `nth` behind it,
 * idle since `idle_s`; with its mapping and port. */
static void add_pair_at(uint8_t proto, unsigned idle_s, uint8_t seen, uint32_t nth)
{
	const struct pool *p = pool_named("pool:out", &out_pool);
	struct addr outside;
	uint64_t then = clock_now_ns() - idle_s * 1000000000ull - 50000000; /* entries say when to a tick */
	struct flow f = {.flags = FLOW_F_SNAT,
			 .rule = rules()[0].rule,
			 .used = (uint32_t)(then >> FLOW_USED_SHIFT),
			 .seen = seen},
		    r;
	struct nat_mapping m = {
		.inside = {.addr = addr_v4(htonl(0x0a000007)), .port = htons(5000), .pool = out_pool, .proto = proto},
		.port = htons(out_port),
		.used_ns = then};

	slot = sw.nat->members[p->first4].pool_addr + POOL_ID(0, nth);
	assert_true(nat_addr_of(sw.nat, slot, &outside));
	forward_key = (struct flow_key4){htonl(0x0a000007), htonl(0xc0000201), htons(5000), htons(53), 0, proto, 0};
	f.saddr4 = outside.a32[3];
	f.daddr4 = forward_key.daddr;
	f.sport = htons(out_port);
	f.dport = htons(53);
	f.pool = out_pool;
	f.pool_addr = m.pool_addr = slot;
	reply_key = (struct flow_key4){f.daddr4, f.saddr4, f.dport, f.sport, 0, proto, 0};
	r = f;
	r.flags = FLOW_F_DNAT | FLOW_F_REPLY;
	r.saddr4 = forward_key.daddr;
	r.daddr4 = forward_key.saddr;
	r.sport = forward_key.dport;
	r.dport = forward_key.sport;
	r.pool = 0;
	drop_entry(&forward_key);
	drop_entry(&reply_key);
	assert_int_equal(flowtab_insert(&sw.flows->tab[0], &forward_key, &f, clock_now_ns()), 0);
	assert_int_equal(flowtab_insert(&sw.flows->tab[0], &reply_key, &r, clock_now_ns()), 0);
	drop_mapping(&m.inside);
	assert_int_equal(nattab_add(&sw.nat->tab, &m, clock_now_ns()), 0);
	if (slot < POOL_ADDR_MAX)
		nat_ports(sw.nat, slot, nat_class(proto))->used[out_port / 64] |= 1ull << out_port % 64;
}

static void add_pair(uint8_t proto, unsigned idle_s, uint8_t seen)
{
	add_pair_at(proto, idle_s, seen, 0);
}

static bool port_is_held(unsigned class)
{
	return nat_ports(sw.nat, slot, class)->used[out_port / 64] >> out_port % 64 & 1;
}

/* One that sweeps, also when the machine stood still during the one before, after which the next sweep waits. */
static void pass(void)
{
	if (!sw.flows->watchers)
		sw.flows->sweep_at_ns = 0;
	do
		tick(-1, 0, sw.flows);
	while (sw.flows->phase != PHASE_REST);
}

static size_t n_of(const char *table)
{
	size_t live = 0;

	if (!strcmp(table, "flows4")) {
		for (uint32_t i = 0; i < sw.flows->tab[0].n; i++)
			live += flowtab_is_live(flowtab_word(&sw.flows->tab[0], i));
		return live;
	}
	if (!strcmp(table, "nat_mappings")) {
		for (uint32_t i = 0; i < sw.nat->tab.n; i++)
			live += flowtab_is_live(sw.nat->tab.bucket[i / BUCKET_SLOTS].word[i % BUCKET_SLOTS]);
		return live;
	}
	return table_get(NULL, table)->n;
}

/* What is sent, whole. */
static json_t *whole(struct http_stream *s)
{
	struct evbuffer *out = evbuffer_new();
	json_t *json;

	while (s->next(s->arg, out) != HTTP_END)
		;
	s->free(s->arg);
	json = json_loadb((char *)evbuffer_pullup(out, -1), evbuffer_get_length(out), 0, NULL);
	assert_non_null(json);
	evbuffer_free(out);
	return json;
}

#endif
