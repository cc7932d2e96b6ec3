/* flow_walk_test.c: listings, counts and watchers over a table of some thousand connections, answered in pieces: what they say,
 * that no piece is long, what becomes of a watcher that is too slow and of a walk when the table gets another size; who is told
 * of what gave way. NAT and interfaces are the test's own.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include "../../user/flow.c"
#include "flow_text.h"
#include "flow_told.h"
#include "flow_walk.h"

#define PAIRS 5000

static struct model model;
static struct vrf_cfg vrfs[2];
static struct flows flows;
static struct sw sw = {.model = &model, .flows = &flows};
static struct flow_table head;
static uint64_t now_ns,
	step_ns; /* a clock that the test sets, and that goes on by a step whenever it is looked at; 0: the real one */
static unsigned soon;
/* The log of NAT: is there one, is its ring read, and the source ports of those that it has heard are gone. */
static bool logs, ring_is_read;
static unsigned gone[8], n_gone;

/* ---- what stands around */

uint64_t clock_now_ns(void)
{
	struct timespec t;

	if (now_ns)
		return now_ns += step_ns;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int flow_age_open(struct flows *f)
{
	return 0;
}

void flow_age_close(struct flows *f)
{
}

void flow_age_soon(struct flows *f)
{
	soon++;
}

void flow_age_watched(struct flows *f)
{
}

void nat_session_ending(struct sw *s, const struct flow_tuple *key, const struct flow *f)
{
}

void nat_session_end(struct sw *s, const struct flow_tuple *key, const struct flow *f, bool was)
{
}

void nat_session_forget(struct sw *s, uint32_t owed)
{
}

bool nat_log_is_on(const struct sw *s)
{
	return logs;
}

bool nat_session_gone(struct sw *s, const struct flow_tuple *key, const struct flow *f, uint64_t gone_ns)
{
	if (ring_is_read && n_gone < 8)
		gone[n_gone++] = ntohs(key->sport);
	return ring_is_read;
}

const struct settings_cfg *nat_settings(const struct sw *s, uint16_t rule, struct settings_cfg *buf)
{
	return &model.settings;
}

const char *nat_rule_former(const struct sw *s, uint16_t id)
{
	return NULL;
}

uint16_t nat_rule_former_id(const struct sw *s, const char *name)
{
	return 0;
}

const char *nat_rule_name(const struct sw *s, uint16_t id)
{
	return id == 1 ? "lan" : id == 2 ? "we\"b\\" : NULL;
}

uint16_t nat_rule_id(const struct sw *s, const char *name)
{
	return !strcmp(name, "lan");
}

const char *iface_name(const struct sw *s, uint16_t id)
{
	return id == 1 ? "in1" : id == 2 ? "out2" : NULL;
}

uint16_t iface_id(const struct sw *s, const char *name)
{
	return !strcmp(name, "in1") ? 1 : !strcmp(name, "out2") ? 2 : 0;
}

uint16_t vrf_id(const struct sw *s, const char *name)
{
	return 0;
}

const char *vrf_name(const struct sw *s, uint16_t id)
{
	return id < model.n_vrfs ? vrfs[id].name : NULL;
}

/* ---- a table */

static void table_make(struct flowtab *t, int family, uint32_t entries)
{
	uint32_t buckets = flowtab_buckets(entries);

	t->family = family;
	t->head = &head;
	t->n = buckets * BUCKET_SLOTS;
	t->bucket = calloc(buckets, sizeof(*t->bucket));
	t->entry = calloc(t->n, family == 4 ? sizeof(struct flow) : sizeof(struct flow6));
	assert_true(t->bucket && t->entry);
}

static void table_drop(struct flowtab *t)
{
	free(t->bucket);
	free(t->entry);
}

/* 10.0.(i % 7).1, port i, to 192.0.2.1 port 443; out as 203.0.113.1. Rule lan, every tenth is of UDP. */
static void add(struct flowtab *t, unsigned i)
{
	uint8_t proto = i % 10 ? IPPROTO_TCP : IPPROTO_UDP;
	struct flow_key4 k = {htonl(0x0a000001 | i % 7 << 8), htonl(0xc0000201), htons((uint16_t)i), htons(443), 0, proto, 0};
	struct flow_key4 back = {k.daddr, htonl(0xcb007101), k.dport, k.sport, 0, proto, 0};
	struct flow f = {.flags = FLOW_F_SNAT, .rule = 1, .in_iface = 1, .packets = i, .bytes = 100ull * i};
	struct flow r = {.flags = FLOW_F_DNAT | FLOW_F_REPLY, .rule = 1, .in_iface = 2, .packets = 1, .bytes = 60};

	f.seen = FLOW_SEEN_ANY | FLOW_SEEN_SYN | FLOW_SEEN_ACK;
	r.seen = FLOW_SEEN_ANY | FLOW_SEEN_SYNACK;
	f.created_ns = 3000000000;
	f.used = 5000000000 >> FLOW_USED_SHIFT;
	r.used = 7000000000 >> FLOW_USED_SHIFT;
	f.saddr4 = back.daddr;
	f.daddr4 = k.daddr;
	r.saddr4 = k.daddr;
	r.daddr4 = k.saddr;
	f.sport = r.dport = k.sport;
	f.dport = r.sport = k.dport;
	assert_int_equal(flowtab_insert(t, &k, &f, 0), 0);
	assert_int_equal(flowtab_insert(t, &back, &r, 0), 0);
}

static int setup(void **state)
{
	memset(&flows, 0, sizeof(flows));
	memset(&vrfs, 0, sizeof(vrfs));
	strcpy(vrfs[0].name, "default");
	model.vrfs = vrfs;
	model.n_vrfs = 1;
	model.settings.tcp_established_s = 7440;
	model.settings.udp_s = 300;
	model.settings.flows_uncounted = false;
	now_ns = step_ns = 0;
	soon = 0;
	flows.sw = &sw;
	flowtab_seed(&head, 7);
	table_make(&flows.tab[0], 4, 4 * PAIRS);
	table_make(&flows.tab[1], 6, 16);
	for (unsigned i = 1; i <= PAIRS; i++)
		add(&flows.tab[0], i);
	head.half_lines = PAIRS / HALF_SLOTS;
	logs = ring_is_read = false;
	n_gone = 0;
	sw.base = event_base_new();
	return flow_told_open(&flows);
}

static int teardown(void **state)
{
	table_drop(&flows.tab[0]);
	table_drop(&flows.tab[1]);
	flow_told_close(&flows);
	event_base_free(sw.base);
	return 0;
}

/* ---- answers */

/* Of this process, however busy the machine is. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static char *text_of(struct http_stream *s)
{
	struct evbuffer *out = evbuffer_new();
	uint64_t begin;
	char *text;
	int more;

	do {
		begin = cpu_ns();
		more = s->next(s->arg, out);
		begin = cpu_ns() - begin;
		if (begin > 50000000) /* two milliseconds without sanitizers */
			fail_msg("a piece took %.1f ms", (double)begin / 1e6);
	} while (more != HTTP_END);
	s->free(s->arg);
	text = calloc(1, evbuffer_get_length(out) + 1);
	evbuffer_remove(out, text, evbuffer_get_length(out));
	evbuffer_free(out);
	return text;
}

static char *ask(int (*fn)(struct sw *, const struct flow_query *, struct http_stream *, struct errs *), struct flow_query q)
{
	struct errs errs = {0};
	struct http_stream s;

	if (fn(&sw, &q, &s, &errs))
		fail_msg("%s", errs.n ? errs.v[0].text : "no words");
	return text_of(&s);
}

static json_t *ask_json(int (*fn)(struct sw *, const struct flow_query *, struct http_stream *, struct errs *),
			struct flow_query q)
{
	char *text = ask(fn, q);
	json_error_t why;
	json_t *json = json_loads(text, 0, &why);

	if (!json)
		fail_msg("%s: %.200s", why.text, text);
	free(text);
	return json;
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static size_t listed(struct flow_query q)
{
	json_t *list = ask_json(flow_list, q);
	size_t n = json_array_size(list);

	json_decref(list);
	return n;
}

static void lists_say_each_connection_once(void **state)
{
	json_t *list = ask_json(flow_list, (struct flow_query){0}), *f;
	static bool seen[PAIRS + 1];
	size_t i;

	assert_int_equal(json_array_size(list), PAIRS);
	memset(seen, 0, sizeof(seen));
	json_array_foreach (list, i, f) {
		json_int_t port = number(json_object_get(f, "forward"), "sport");

		assert_in_range(port, 1, PAIRS);
		assert_false(seen[port]);
		seen[port] = true;
		assert_int_equal(number(json_object_get(f, "forward"), "packets"), port);
		assert_int_equal(number(json_object_get(f, "reply"), "dport"), port);
	}
	json_decref(list);
	assert_int_equal(listed((struct flow_query){.limit = 17}), 17);
	assert_int_equal(listed((struct flow_query){.filter = "udp"}), PAIRS / 10);
	assert_int_equal(listed((struct flow_query){.filter = "state established"}), PAIRS - PAIRS / 10);
	assert_int_equal(listed((struct flow_query){.filter = "udp", .limit = 3}), 3);
	assert_int_equal(listed((struct flow_query){.filter = "icmp"}), 0);
	assert_int_equal(listed((struct flow_query){.filter = "sport 10-19 and out out2"}), 10);
}

/* Both directions; what is not translated is not said twice. The times: 10 s after the machine's start. */
static void a_connection_in_json_and_in_cells(void **state)
{
	char *text;

	now_ns = 10000000000;
	text = ask(flow_list, (struct flow_query){.filter = "sport 8"});
	assert_string_equal(
		text, "[{\"proto\":\"tcp\",\"state\":\"established\",\"vrf\":\"default\",\"rule\":\"lan\",\"in\":\"in1\",\"out\":"
		      "\"out2\",\"forward\":{\"src\":\"10.0.1.1\",\"sport\":8,\"dst\":\"192.0.2.1\",\"dport\":443,\"to-src\":"
		      "\"203.0.113.1\",\"packets\":8,\"bytes\":800},\"reply\":{\"src\":\"192.0.2.1\",\"sport\":443,\"dst\":"
		      "\"203.0.113.1\",\"dport\":8,\"to-dst\":\"10.0.1.1\",\"packets\":1,\"bytes\":60},\"age\":7,\"idle\":3,"
		      "\"expires\":7437}]\n");
	free(text);
	text = ask(flow_list, (struct flow_query){.filter = "sport 8", .cells = true});
	assert_string_equal(text,
			    "PROTO\tSTATE\tFROM\tTO\tTRANSLATED\tIN\tOUT\tRULE\tPACKETS\tBYTES\tIDLE\tENDS IN\n"
			    "tcp\testablished\t10.0.1.1:8\t192.0.2.1:443\tfrom 203.0.113.1:8\tin1\tout2\tlan\t8/1\t800/60\t3"
			    "\t7437\n");
	free(text);
	model.n_vrfs = 2;
	text = ask(flow_list, (struct flow_query){.filter = "sport 8", .cells = true});
	assert_non_null(strstr(text, "\tVRF\t"));
	assert_non_null(strstr(text, "\tdefault\t"));
	free(text);
}

/* `flow-accounting: false`: no packets and bytes, of one or of groups. */
static void what_is_not_counted_is_not_told(void **state)
{
	char *text;

	now_ns = 10000000000;
	model.settings.flows_uncounted = true;
	text = ask(flow_list, (struct flow_query){.filter = "sport 8"});
	assert_null(strstr(text, "packets"));
	assert_null(strstr(text, "bytes"));
	assert_non_null(strstr(text, "\"age\":7,\"idle\":3,\"expires\":7437"));
	free(text);
	text = ask(flow_list, (struct flow_query){.filter = "sport 8", .cells = true});
	assert_non_null(strstr(text, "\tlan\t-\t-\t3\t7437\n"));
	free(text);
	text = ask(flow_count_by, (struct flow_query){.by = "proto"});
	assert_null(strstr(text, "packets"));
	assert_non_null(strstr(text, "\"flows\":"));
	free(text);
}

/* Without the other direction, without names, with names that JSON must escape; IPv6. */
static void odd_connections_are_whole_lines(void **state)
{
	struct flow_key6 k = {.sport = htons(1), .dport = htons(2), .proto = 99};
	struct flow f = {.rule = 2, .flags = FLOW_F_TRACK, .sport = htons(1), .dport = htons(2)};
	json_t *list;
	char *text;

	k.saddr.a8[0] = 0x20;
	k.saddr.a8[15] = 1;
	f.saddr6 = k.saddr;
	f.daddr6 = k.daddr;
	assert_int_equal(flowtab_insert(&flows.tab[1], &k, &f, 0), 0);
	list = ask_json(flow_list, (struct flow_query){.filter = "ip6"});
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "rule")), "we\"b\\");
	assert_true(json_is_null(json_object_get(json_array_get(list, 0), "in")));
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "proto")), "99");
	json_decref(list);
	text = ask(flow_list, (struct flow_query){.filter = "ip6", .cells = true});
	assert_non_null(strstr(text, "99\tunreplied\t[2000::1]:1\t[::]:2\t-\t-\t-\twe"));
	free(text);
}

/* RFC 5952, as the C library does it. */
static void addresses_are_written_as_everywhere(void **state)
{
	char text[ADDR_TEXT], fast[ADDR_TEXT];
	struct addr a;

	srandom(7);
	for (unsigned n = 0; n < 200000; n++) {
		long zero = random(), low = random();

		for (int i = 0; i < 8; i++) {
			a.a8[2 * i] = zero >> i & 1 || low >> i & 1 ? 0 : (__u8)random();
			a.a8[2 * i + 1] = zero >> i & 1 ? 0 : (__u8)(random() >> (low >> 10 & 4));
		}
		if (n % 10 == 9)
			a = addr_v4((__be32)random());
		if (strcmp(addr_text(&a, text), flow_addr_text(&a, fast)))
			fail_msg("%s is written as %s", text, fast);
	}
}

static void counts_are_exact(void **state)
{
	json_t *o = ask_json(flow_count_by, (struct flow_query){0}), *g;
	json_int_t flows_seen = 0, bytes = 0;
	size_t i;

	assert_int_equal(number(o, "flows"), PAIRS);
	json_decref(o);
	o = ask_json(flow_count_by, (struct flow_query){.filter = "udp and src 10.0.3.1"});
	assert_int_equal(number(o, "flows"), 72); /* of 1..5000 those that are 0 mod 10 and 3 mod 7 */
	json_decref(o);

	o = ask_json(flow_count_by, (struct flow_query){.by = "src"});
	assert_int_equal(number(o, "flows"), PAIRS);
	assert_int_equal(json_array_size(json_object_get(o, "groups")), 7);
	assert_int_equal(number(json_object_get(o, "others"), "flows"), 0);
	json_array_foreach (json_object_get(o, "groups"), i, g) {
		flows_seen += number(g, "flows");
		bytes += number(g, "bytes");
	}
	assert_int_equal(flows_seen, PAIRS);
	assert_int_equal(bytes, PAIRS * 60 + 100ll * PAIRS * (PAIRS + 1) / 2);
	assert_int_equal(number(o, "bytes"), bytes);
	json_decref(o);

	/* The greatest first; the others in one sum. */
	o = ask_json(flow_count_by, (struct flow_query){.by = "proto", .limit = 1});
	g = json_array_get(json_object_get(o, "groups"), 0);
	assert_string_equal(json_string_value(json_object_get(g, "proto")), "tcp");
	assert_int_equal(number(g, "flows"), PAIRS - PAIRS / 10);
	assert_int_equal(number(json_object_get(o, "others"), "groups"), 1);
	assert_int_equal(number(json_object_get(o, "others"), "flows"), PAIRS / 10);
	json_decref(o);
}

/* Every connection of its own: of more groups than are told, those with most, in order. */
static void the_greatest_of_many_groups_are_told(void **state)
{
	json_t *o, *g;
	size_t i;

	for (uint32_t slot = 0; slot < flows.tab[0].n; slot++) {
		struct flow *f = flowtab_entry(&flows.tab[0], slot);

		if (flowtab_is_live(flowtab_word(&flows.tab[0], slot)) && !(f->flags & FLOW_F_REPLY))
			f->in_iface = ntohs(f->sport); /* a name for nobody, and a group of its own */
	}
	o = ask_json(flow_count_by, (struct flow_query){.by = "in", .sort = "bytes", .limit = 50});
	assert_int_equal(json_array_size(json_object_get(o, "groups")), 50);
	json_array_foreach (json_object_get(o, "groups"), i, g)
		assert_int_equal(number(g, "bytes"), 100 * (PAIRS - i) + 60);
	assert_int_equal(number(json_object_get(o, "others"), "groups"), PAIRS - 50);
	json_decref(o);
}

static void questions_that_make_no_sense_are_refused(void **state)
{
	static const struct flow_query wrong[] = {
		{.by = "color"},
		{.by = "src", .sort = "age"},
		{.by = "src", .limit = 1000000},
		{.filter = "src"},
	};
	struct http_stream s;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct errs errs = {0};

		assert_int_equal(flow_count_by(&sw, &wrong[i], &s, &errs), -EINVAL);
		assert_int_equal(errs.n, 1);
		errs_free(&errs);
	}
}

/* ---- tables of another size */

static void move_to(uint32_t entries)
{
	struct flowtab old = flows.tab[0];

	table_make(&flows.tab[0], 4, entries);
	for (unsigned i = 1; i <= PAIRS; i++)
		add(&flows.tab[0], i);
	table_drop(&old);
}

static void a_walk_goes_on_in_a_table_of_another_size(void **state)
{
	struct evbuffer *out = evbuffer_new();
	struct http_stream s;
	char *text;
	json_t *o;
	int lines = 0;

	/* A turn ends when the clock has been looked at a few times. */
	now_ns = 10000000000;
	step_ns = 100000;
	assert_int_equal(flow_count_by(&sw, &(struct flow_query){.by = "proto"}, &s, NULL), 0);
	assert_int_equal(s.next(s.arg, out), HTTP_MORE);
	move_to(16 * PAIRS);
	now_ns = step_ns = 0;
	text = text_of(&s);
	o = json_loads(text, 0, NULL);
	assert_int_equal(number(o, "flows"), PAIRS);
	json_decref(o);
	free(text);

	now_ns = 10000000000;
	step_ns = 100000;
	assert_int_equal(flow_list(&sw, &(struct flow_query){.cells = true}, &s, NULL), 0);
	assert_int_equal(s.next(s.arg, out), HTTP_MORE);
	now_ns = step_ns = 0;
	move_to(4 * PAIRS);
	while (s.next(s.arg, out) != HTTP_END)
		;
	s.free(s.arg);
	while ((text = evbuffer_readln(out, NULL, EVBUFFER_EOL_LF))) {
		lines++;
		free(text);
	}
	/* Most are in the same part of both tables. */
	assert_in_range(lines, PAIRS * 95 / 100, PAIRS * 105 / 100);
	evbuffer_free(out);
}

/* ---- watchers */

static void begin_flow(unsigned i, uint64_t created_ns)
{
	struct flow_key4 k = {htonl(0x0a000001 | i % 7 << 8),
			      htonl(0xc0000201),
			      htons((uint16_t)i),
			      htons(443),
			      0,
			      i % 10 ? IPPROTO_TCP : IPPROTO_UDP,
			      0};
	struct flow_tuple t;
	struct flow f;

	flow_tuple_from_key(4, &k, &t);
	assert_int_equal(flow_lookup(&flows, &t, &f), 0);
	f.created_ns = created_ns;
	flow_watch_begin(&flows, &t, &f);
}

static void a_slow_watcher_is_told_what_it_missed(void **state)
{
	struct evbuffer *out = evbuffer_new();
	struct http_stream s;
	unsigned lines = 0, news = 0;
	json_int_t missed = 0;
	json_t *o;
	char *line;

	now_ns = 20000000000;
	assert_int_equal(flow_watch(&sw, &(struct flow_query){0}, &s, NULL), 0);
	assert_int_equal(s.next(s.arg, out), HTTP_REST);
	for (unsigned i = 1; i <= PAIRS; i++)
		begin_flow(i, now_ns);
	assert_int_equal(s.next(s.arg, out), HTTP_MORE);
	begin_flow(1, now_ns);
	begin_flow(2, now_ns - 1000000000); /* not since it watches */
	assert_int_equal(s.next(s.arg, out), HTTP_MORE);
	assert_true(evbuffer_get_length(out) < 2 << 20);
	while ((line = evbuffer_readln(out, NULL, EVBUFFER_EOL_LF))) {
		o = json_loads(line, 0, NULL);
		assert_non_null(o);
		lines++;
		if (!strcmp(json_string_value(json_object_get(o, "event")), "missed")) {
			assert_int_equal(lines, news + 1);
			missed += number(o, "events");
		} else {
			assert_string_equal(json_string_value(json_object_get(o, "event")), "new");
			news++;
		}
		json_decref(o);
		free(line);
	}
	assert_true(missed > 0);
	assert_int_equal(news + missed, PAIRS + 1);
	s.free(s.arg);
	evbuffer_free(out);
	assert_null(flows.watchers);
}

/* ---- who gave way */

static struct flow_tuple key_of(unsigned i)
{
	struct flow_key4 k = {
		htonl(0x0a000001 | i % 7 << 8), htonl(0xc0000201), htons((uint16_t)i), htons(443), 0, IPPROTO_TCP, 0};
	struct flow_tuple t;

	flow_tuple_from_key(4, &k, &t);
	return t;
}

/* Connection i waits for its answer, or not; it is gone, without sluiced. */
static void waits(unsigned i, bool does)
{
	struct flow_tuple t = key_of(i), peer;
	struct flow f;
	uint32_t at;

	assert_int_equal(flow_lookup(&flows, &t, &f), 0);
	flow_tuple_peer(&t, &f, &peer);
	at = find(&flows.tab[0], &peer, NULL);
	assert_int_not_equal(at, FLOWTAB_NONE);
	flowtab_entry(&flows.tab[0], at)->seen = does ? 0 : FLOW_SEEN_SYNACK;
}

static void goes(unsigned i)
{
	struct flow_tuple t = key_of(i), peer;
	struct flow f;

	assert_int_equal(flow_lookup(&flows, &t, &f), 0);
	flow_tuple_peer(&t, &f, &peer);
	assert_int_equal(flow_delete(&flows, &t), 0);
	assert_int_equal(flow_delete(&flows, &peer), 0);
}

/* A round over those that are kept. */
static void a_round(void)
{
	struct timeval most = {.tv_usec = 300000};

	event_base_loopexit(sw.base, &most);
	event_base_dispatch(sw.base);
}

static unsigned count_of(struct http_stream *s, const char *word)
{
	struct evbuffer *out = evbuffer_new();
	unsigned n = 0;
	char *line;

	s->next(s->arg, out);
	while ((line = evbuffer_readln(out, NULL, EVBUFFER_EOL_LF))) {
		n += strstr(line, word) != NULL;
		free(line);
	}
	evbuffer_free(out);
	return n;
}

/* Once, and only those that were seen to begin; who was answered is not looked for any more. */
static void watchers_are_told_who_gave_way(void **state)
{
	struct http_stream s;
	struct flow_tuple t;
	struct flow f;

	now_ns = 3000000000;
	for (unsigned i = 1; i < 6; i++)
		waits(i, true);
	assert_int_equal(flow_watch(&sw, &(struct flow_query){.filter = "tcp"}, &s, NULL), 0);
	for (unsigned i = 1; i < 5; i++)
		begin_flow(i, now_ns);
	assert_int_equal(count_of(&s, "\"new\""), 4);
	waits(1, false);
	a_round();
	assert_int_equal(count_of(&s, "event"), 0);
	for (unsigned i = 1; i < 6; i += 2)
		goes(i);
	t = key_of(4);
	assert_int_equal(flow_lookup(&flows, &t, &f), 0);
	assert_true(flow_end(&flows, &t, &f, FLOW_WHY_FLUSH));
	a_round();
	assert_int_equal(count_of(&s, "\"reason\":\"flush\""), 1);
	goes(2);
	a_round();
	assert_int_equal(count_of(&s, "\"end\",\"reason\":\"gave-way\""), 1);
	a_round();
	assert_int_equal(count_of(&s, "event"), 0);
	s.free(s.arg);
	assert_null(flows.watchers);
}

/* The log hears of each once, when the ring has been read so far that no word of it can come any more. */
static void the_log_is_told_who_gave_way(void **state)
{
	struct flow_tuple t;
	struct flow f;

	now_ns = 3000000000;
	logs = true;
	for (unsigned i = 1; i < 6; i++) {
		waits(i, true);
		t = key_of(i);
		assert_int_equal(flow_lookup(&flows, &t, &f), 0);
		assert_non_null(flow_told_add(&flows, &t, &f, TOLD_LOG));
	}
	waits(1, false);
	goes(2);
	goes(3);
	a_round();
	assert_int_equal(n_gone, 0);
	t = key_of(1);
	assert_null(flow_told_find(&flows, &t, 0, TOLD_LOG));
	t = key_of(3);
	flow_told_drop(&flows, flow_told_find(&flows, &t, now_ns, TOLD_LOG), TOLD_LOG); /* the ring had it */
	add(&flows.tab[0], 2);
	t = key_of(2); /* anew: another one */
	assert_null(flow_told_find(&flows, &t, now_ns + 1, TOLD_LOG));
	ring_is_read = true;
	a_round();
	assert_int_equal(n_gone, 1);
	assert_int_equal(gone[0], 2);
	a_round();
	assert_int_equal(n_gone, 1);
	assert_null(flow_told_find(&flows, &t, 0, TOLD_LOG));
	logs = false; /* nobody is to be told */
	a_round();
	t = key_of(4);
	assert_null(flow_told_find(&flows, &t, 0, TOLD_LOG | TOLD_WATCH));
}

/* Its memory is bounded. */
static void no_more_are_kept_than_may_wait(void **state)
{
	struct flow_tuple t = key_of(1);
	struct flow f = {.created_ns = 1};
	size_t n = 0;

	while (n < 200000 && flow_told_add(&flows, &t, &f, TOLD_LOG)) {
		f.created_ns++;
		t.daddr.a32[3]++;
		n++;
	}
	assert_int_equal(n, PAIRS / HALF_SLOTS * HALF_SLOTS + 65536);
}

static void too_many_watchers_are_refused(void **state)
{
	struct http_stream s[32];
	struct errs errs = {0};
	unsigned n = 0;

	while (n < 32 && !flow_watch(&sw, &(struct flow_query){0}, &s[n], &errs))
		n++;
	assert_int_equal(n, 16);
	assert_int_equal(errs.n, 1);
	errs_free(&errs);
	s[3].free(s[3].arg);
	assert_int_equal(flow_watch(&sw, &(struct flow_query){.cells = true}, &s[3], NULL), 0);
	while (n)
		s[--n].arg ? s[n].free(s[n].arg) : (void)0;
	assert_null(flows.watchers);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(lists_say_each_connection_once),
		TEST(a_connection_in_json_and_in_cells),
		TEST(what_is_not_counted_is_not_told),
		TEST(odd_connections_are_whole_lines),
		TEST(addresses_are_written_as_everywhere),
		TEST(counts_are_exact),
		TEST(the_greatest_of_many_groups_are_told),
		TEST(questions_that_make_no_sense_are_refused),
		TEST(a_walk_goes_on_in_a_table_of_another_size),
		TEST(a_slow_watcher_is_told_what_it_missed),
		TEST(watchers_are_told_who_gave_way),
		TEST(the_log_is_told_who_gave_way),
		TEST(no_more_are_kept_than_may_wait),
		TEST(too_many_watchers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
