/* model_json_test.c: a model as JSON and YAML, and both read again: nothing is lost, nothing is added. Run from the top of the
 * source tree: every file of examples/ takes part. */
#include <glob.h>
#include "model_util.h"

static void assert_equal_models(const struct model *a, const struct model *b)
{
	json_t *diff = model_diff(a, b);
	char *text;

	assert_non_null(diff);
	text = model_diff_text(diff);
	assert_string_equal(text, "");
	assert_int_equal(json_array_size(diff), 0);
	free(text);
	json_decref(diff);
}

/* Through YAML, through JSON text, and by copying. */
static void round_trip(const struct model *m)
{
	json_t *json = model_json(m);
	char *yaml = model_yaml(m), *text = json_dumps(json, JSON_INDENT(2)), *again;
	struct model *by_yaml = must_parse(yaml), *by_json = must_parse(text), *copy = model_copy(m);

	assert_equal_models(m, by_yaml);
	assert_equal_models(m, by_json);
	assert_equal_models(copy, m);
	again = model_yaml(by_yaml);
	assert_string_equal(yaml, again);
	free(again);
	free(yaml);
	free(text);
	json_decref(json);
	model_free(by_yaml);
	model_free(by_json);
	model_free(copy);
}

static void examples_test(void **state)
{
	struct errs errs = {0};
	bool reference = false;
	struct model *m;
	char *said;
	glob_t g;

	assert_int_equal(glob("examples/*.yaml", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		m = model_load(g.gl_pathv[i], &errs);
		said = errors_text(&errs);
		assert_string_equal(said, "");
		free(said);
		round_trip(m);
		model_free(m);
		reference = reference || !strcmp(g.gl_pathv[i], "examples/reference.yaml");
	}
	globfree(&g);
	assert_true(reference);
}

/* The reference names every key that the schema has, and gives each a value that is not its default: otherwise the round trip
 * above would show less than it says. */
static void reference_is_whole_test(void **state)
{
	static const char *const keys[] = {
		"fdb-ageing",  "hash-seed",
		"icmp-rate",   "tcp-established",
		"tcp-opening", "tcp-transitory",
		"udp",	       "icmp",
		"other",       "flows",
		"fdb",	       "neighbors",
		"routes4",     "routes6",
		"half-open",   "table",
		"import",      "prefixes",
		"mode",	       "vlan",
		"vlans",       "native",
		"protocol",    "xdp",
		"name",	       "port",
		"addresses",   "mac",
		"mtu",	       "vrf",
		"to",	       "via",
		"type",	       "metric",
		"distance",    "interface",
		"weight",      "onlink",
		"recursive",   "source",
		"destination", "out",
		"ports",       "address",
		"weight",      "flow-accounting",
	};
	struct errs errs = {0};
	struct model *m = model_load("examples/reference.yaml", &errs);
	char *yaml, key[32];

	assert_non_null(m);
	yaml = model_yaml(m);
	for (size_t i = 0; i < N_OF_ROWS(keys); i++) {
		snprintf(key, sizeof(key), "%s:", keys[i]);
		if (!strstr(yaml, key))
			fail_msg("%s is not in the reference", keys[i]);
	}
	free(yaml);
	model_free(m);
}

/* Names that YAML readers take for something else come back as they were. */
static void odd_names_test(void **state)
{
	struct model *m =
		must_parse("ports:\n"
			   "  \"null\": {mode: routed}\n"
			   "  \"~\": {mode: routed}\n"
			   "  \"true\": {mode: routed}\n"
			   "  \"1e3\": {mode: routed}\n"
			   "  \"0x10\": {mode: routed}\n"
			   "  \"12\": {mode: routed}\n"
			   "  \"-\": {mode: routed}\n"
			   "  \"#a\": {mode: routed}\n"
			   "  \"a#b,[c]\": {mode: routed}\n"
			   "  \"'\\\"\": {mode: routed}\n"
			   "  \"&a!|>%@`\": {mode: routed}\n"
			   "  \"{}\": {mode: routed}\n"
			   "vlans: {10: {name: \"yes\"}, 20: {name: \"0777\"}, 30: {name: \"1.5\"}, 40: {name: "
			   "\"null\"}, 50: {name: \"2001-01-01\"}}\n"
			   "vrfs: {default: {table: [254, 8], import: \"on\"}, \"on\": {table: 7, import: [\"1:30\", {vrf: "
			   "default, prefixes: [10.0.0.0/8 ge 9 le 10, deny fd00::/8 le 9, \"::/0 ge 1\", 1.0.0.0/8]}]},\n"
			   "  \"1:30\": {}}\n"
			   "interfaces: {\"no\": {vlan: 10}, \"null\": {port: \"null\"}}\n"
			   "nat: [{name: \"1_000\", type: snat, out: [\"no\", \"null\"], to: masquerade}]\n"
			   "fdb: []\n");
	char *yaml;

	assert_int_equal(m->n_ports, 12);
	assert_string_equal(m->ports[0].name, "null");
	round_trip(m);
	yaml = model_yaml(m);
	assert_non_null(strstr(yaml, "  \"null\": {mode: routed}\n"));
	assert_non_null(strstr(yaml, "  \"1e3\": {mode: routed}\n"));
	assert_non_null(strstr(yaml, "  \"on\": {table: 7, import: ["));
	assert_non_null(strstr(yaml, "  10: {name: \"yes\"}\n"));
	free(yaml);
	model_free(m);
}

static void empty_test(void **state)
{
	struct model *m = model_new();
	json_t *json = model_json(m);
	char *yaml = model_yaml(m);

	assert_int_equal(json_object_size(json), 0);
	assert_string_equal(yaml, "{}\n");
	round_trip(m);
	free(yaml);
	json_decref(json);
	model_free(m);
}

/* RFC 4787 REQ-5 c, RFC 5382 REQ-5, RFC 5508 REQ-2. */
static void rfc_timeouts_test(void **state)
{
	struct model *m = must_parse("{}\n");
	const struct settings_cfg *s = &m->settings;

	assert_int_equal(s->udp_s, 300);
	assert_int_equal(s->tcp_established_s, 2 * 3600 + 4 * 60);
	assert_int_equal(s->tcp_transitory_s, 240);
	assert_true(!s->tcp_opening_s || s->tcp_opening_s == 240);
	assert_int_equal(s->icmp_s, 60);
	model_free(m);
}

/* As people read it: sections and items on their own lines, what is default left away. */
static void yaml_test(void **state)
{
	struct model *m = must_parse("settings: {fdb-ageing: 300, icmp-rate: 5}\n"
				     "ports: {t: {mode: trunk, vlans: [5, 4, 3, 10], native: 1, protocol: 802.1q, xdp: auto},\n"
				     "  h: {mode: access, vlan: 4094}}\n"
				     "routes: [{to: 10.0.0.0/8, type: blackhole, vrf: default, metric: 0, distance: 1}]\n");
	char *yaml = model_yaml(m);

	assert_string_equal(yaml, "settings:\n"
				  "  icmp-rate: 5\n"
				  "ports:\n"
				  "  t: {mode: trunk, vlans: [1, 3-5, 10], native: 1}\n"
				  "  h: {mode: access, vlan: 4094}\n"
				  "routes:\n"
				  "- {to: 10.0.0.0/8, type: blackhole}\n");
	free(yaml);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_test), cmocka_unit_test(reference_is_whole_test), cmocka_unit_test(odd_names_test),
		cmocka_unit_test(empty_test),	 cmocka_unit_test(rfc_timeouts_test),	    cmocka_unit_test(yaml_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
