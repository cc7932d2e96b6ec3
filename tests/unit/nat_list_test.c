/* nat_list_test.c: the listing of NAT's rules and pools: what it says of all kinds of rules, and what becomes of it when they
 * change while it is made. */
#include "../../user/nat_list.c"
#undef SLICE_NS
#include "nat_tables.h"

#define MANY 5000 /* rules: more than are listed in one slice */

#define ALL_KINDS                                                                                                                \
	"  - {name: out, type: snat, source: 10.0.0.0/24, to: [198.51.100.10-198.51.100.29, 192.0.2.0/30], out: [wan, lan], "    \
	"ports: 2000-2999, overload: true}\n"                                                                                    \
	"  - {name: spared, type: snat, source: 10.0.0.0/8, destination: 172.16.0.0/12, to: none}\n"                             \
	"  - {name: lent, type: snat, source: 10.0.0.0/8, protocol: [tcp, udp], to: masquerade, out: wan, limit: {ports: 500}, " \
	"on-delete: keep}\n"                                                                                                     \
	"  - {name: large, type: snat, source: 10.2.0.0/16, to: 100.64.0.0/16, mapping: endpoint-independent, "                  \
	"filtering: endpoint-independent, timeouts: {udp: 5m}}\n"                                                                \
	"  - {name: web, type: dnat, destination: wan, protocol: [tcp, udp], port: 80-90, to: '10.0.0.5:8080'}\n"                \
	"  - {name: web6, type: dnat, destination: '2001:db8::7', protocol: tcp, port: 80, to: '[fd00::5]:8080'}\n"              \
	"  - {name: all, type: dnat, destination: 198.51.100.9, to: 10.0.0.5}\n"                                                 \
	"  - {name: mail, type: static, inside: 10.0.0.7, outside: 203.0.113.7, out: wan}\n"

static void put_into_force(const char *rules_text)
{
	struct errs errs = {0};

	use(rules_text);
	nat_reconcile(&sw, &errs);
	for (size_t i = 0; i < errs.n; i++)
		fail_msg("%s", errs.v[i].text);
}

/* As the commit has it: the next one is read while the former is there. */
static void use_many(void)
{
	struct model *former = sw.model;
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	fputs(HEAD, f);
	for (int i = 0; i < MANY; i++)
		fprintf(f, "  - {name: f%d, type: dnat, destination: 198.51.100.9, protocol: tcp, port: %d, to: '10.0.0.5:80'}\n",
			i, i + 1);
	fclose(f);
	sw.model = model_parse(text, len, "test", NULL);
	model_free(former);
	free(text);
	assert_non_null(sw.model);
}

static char *text_of(struct evbuffer *out)
{
	evbuffer_add(out, "", 1);
	return (char *)evbuffer_pullup(out, -1);
}

/* Caller frees. */
static char *listed(struct http_stream *s)
{
	struct evbuffer *out = evbuffer_new();
	char *text;

	while (s->next(s->arg, out) == HTTP_MORE)
		;
	s->free(s->arg);
	text = strdup(text_of(out));
	evbuffer_free(out);
	return text;
}

static char *list(void)
{
	struct http_stream s;

	assert_int_equal(nat_list(&sw, &s), 0);
	return listed(&s);
}

static void hold(const char *addr, unsigned class, unsigned port)
{
	uint32_t at;
	struct addr a = v4(addr);

	at = nat_addr_find(sw.nat, &a, 0);
	assert_int_not_equal(at, POOL_ADDR_NONE);
	nat_ports(sw.nat, at, class)->used[port / 64] |= 1ull << port % 64;
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static json_t *pool_in(const json_t *answer, const char *name)
{
	json_t *pool;
	size_t i;

	json_array_foreach (json_object_get(answer, "pools"), i, pool)
		if (!strcmp(json_string_value(json_object_get(pool, "name")), name))
			return pool;
	fail_msg("no pool %s", name);
	return NULL;
}

/* On one line, without blanks; rules as in the configuration, in its order, with their numbers. */
static void rules_of_all_kinds(void **state)
{
	json_t *answer, *config, *rule, *pool;
	char *text, *again;
	size_t i;

	put_into_force(ALL_KINDS);
	hold("198.51.100.10", 0, 2000);
	hold("198.51.100.29", 0, 2999);
	hold("198.51.100.29", 1, 2500);
	hold("198.51.100.29", 1, 3000); /* is not the pool's */
	text = list();
	answer = json_loads(text, 0, NULL);
	assert_non_null(answer);
	again = json_dumps(answer, JSON_COMPACT);
	assert_memory_equal(text, again, strlen(again));
	assert_string_equal(text + strlen(again), "\n");
	config = model_json(sw.model);
	assert_int_equal(json_array_size(json_object_get(answer, "rules")), 8);
	json_array_foreach (json_object_get(config, "nat"), i, rule) {
		json_object_set_new(rule, "id", json_integer(nat_rule_id(&sw, json_string_value(json_object_get(rule, "name")))));
		assert_true(number(rule, "id"));
		assert_true(json_equal(rule, json_array_get(json_object_get(answer, "rules"), i)));
	}
	pool = pool_in(answer, "pool:large");
	assert_string_equal(json_string_value(json_array_get(json_object_get(pool, "addresses"), 0)),
			    "100.64.0.0-100.64.255.255");
	pool = pool_in(answer, "pool:out");
	assert_int_equal(number(pool, "ports_used"), 2);
	assert_int_equal(number(pool, "ports_total"), 24 * 1000);
	assert_int_equal(json_array_size(json_object_get(pool, "by_address")), 2);
	assert_int_equal(number(json_array_get(json_object_get(pool, "by_address"), 1), "udp"), 1);
	assert_int_equal(number(json_object_get(answer, "mappings"), "total"), 0);
	assert_true(json_is_null(json_object_get(answer, "log")));
	json_decref(config);
	json_decref(answer);
	free(again);
	free(text);
}

static void no_rules_at_all(void **state)
{
	char *text;

	model_free(sw.model);
	sw.model = model_new();
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	text = list();
	assert_string_equal(text, "{\"rules\":[],\"pools\":[],\"mappings\":{\"total\":0,\"hosts\":0,\"top\":[]},\"log\":null}\n");
	free(text);
}

static void many_take_more_than_a_slice(void **state)
{
	struct evbuffer *out = evbuffer_new();
	struct http_stream s;
	json_t *answer;

	use_many();
	assert_int_equal(nat_list(&sw, &s), 0);
	assert_int_equal(s.next(s.arg, out), HTTP_MORE);
	assert_int_equal(evbuffer_get_length(out), 0);
	evbuffer_free(out);
	answer = whole(&s);
	assert_int_equal(json_array_size(json_object_get(answer, "rules")), MANY);
	json_decref(answer);
}

/* Nothing of the one before is sent, be it longer or shorter. */
static void another_configuration_begins_it_anew(void **state)
{
	struct evbuffer *out = evbuffer_new();
	struct http_stream s;
	char *text, *want;

	use_many();
	assert_int_equal(nat_list(&sw, &s), 0);
	assert_int_equal(s.next(s.arg, out), HTTP_MORE);
	put_into_force(ALL_KINDS);
	text = listed(&s);
	want = list();
	assert_string_equal(text, want);
	free(text);
	assert_int_equal(nat_list(&sw, &s), 0);
	step_rules(s.arg);
	use_many();
	text = listed(&s);
	free(want);
	want = list();
	assert_string_equal(text, want);
	free(text);
	free(want);
	evbuffer_free(out);
}

/* The same rules, in force again after others have been: they may have other numbers now. */
static void put_into_force_again_it_begins_anew(void **state)
{
	struct http_stream s;
	struct listing *l;
	json_t *answer;

	assert_int_equal(nat_list(&sw, &s), 0);
	l = s.arg;
	sw.nat->rules[nat_rule_id(&sw, "out") - 1].alive = false;
	assert_true(step_rules(l));
	assert_null(strstr(text_of(l->text), "\"id\""));
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	answer = whole(&s);
	assert_true(number(json_array_get(json_object_get(answer, "rules"), 0), "id"));
	json_decref(answer);
}

/* An event gave the pool other addresses while they were counted. */
static void a_pool_that_changes_is_counted_anew(void **state)
{
	struct http_stream s;
	struct listing *l;
	json_t *pool;
	uint16_t id;

	put_into_force("  - {name: out, type: snat, source: 10.0.0.0/24, to: 198.51.100.10-198.51.100.39}\n");
	assert_non_null(pool_named("pool:out", &id));
	hold("198.51.100.10", 0, 2000);
	hold("198.51.100.30", 0, 2000);
	assert_int_equal(nat_list(&sw, &s), 0);
	l = s.arg;
	l->pool = id;
	assert_true(step_pools(l));
	assert_int_equal(l->count.member, STEP);
	assert_int_equal(l->count.of_class[0], 1);
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: 198.51.100.30-198.51.100.59}\n");
	assert_int_equal(nat_settle(&sw, NULL), 0);
	while (l->pool == id)
		step_pools(l);
	pool = json_loads(text_of(l->text), 0, NULL);
	assert_int_equal(number(pool, "ports_used"), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(pool, "by_address"), 0), "address")),
			    "198.51.100.30");
	json_decref(pool);
	s.free(s.arg);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(rules_of_all_kinds),
		TEST(no_rules_at_all),
		TEST(many_take_more_than_a_slice),
		TEST(another_configuration_begins_it_anew),
		TEST(put_into_force_again_it_begins_anew),
		TEST(a_pool_that_changes_is_counted_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
