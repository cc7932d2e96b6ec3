/* model_fuzz.c: a libFuzzer harness for the configuration model: any text, and any single item, against the real sources.
 *
 * What is read must survive the way through YAML, JSON and a copy unchanged; what is refused must say why; adding or removing an
 * item that is refused must leave the model as it was. An input that begins with a digit below the number of nouns is an item in
 * JSON (add: an even letter behind it, remove: an odd one); everything else is a configuration.
 * `make fuzz` builds and runs it.
 */
#include "model.h"
#include "fuzz.h"

static const char *const nouns[] = {"vrfs", "ports", "vlans", "interfaces", "routes", "nat", "fdb", "neighbors"};

static const char base[] =
	"vrfs: {red: {table: [9, 8], import: [{vrf: default, prefixes: [deny 10.1.0.0/16, 10.0.0.0/8 ge 9 le 24]}]}}\n"
	"ports: {h1: {mode: access, vlan: 10}, up: {mode: routed}, \"v*\": {mode: observe}}\n"
	"vlans: {10: {name: web}}\n"
	"interfaces: {w10: {vlan: 10, addresses: [10.0.0.1/24, \"fd00::1/64\"]}}\n"
	"routes: [{to: default, via: 10.0.0.2}, {to: 10.1.0.0/16, type: blackhole, metric: 5}]\n"
	"nat: [{name: a, type: snat, to: 192.0.2.0/30}, {name: b, type: dnat, destination: 192.0.2.9, to: 10.0.0.5}]\n"
	"fdb: [{mac: \"02:00:00:00:00:01\", vlan: 10, port: h1}]\n"
	"neighbors: [{address: 10.0.0.9, mac: \"02:00:00:00:00:09\", interface: w10}]\n";

static void same(const struct model *a, const struct model *b)
{
	json_t *diff = model_diff(a, b);
	char *text = model_diff_text(diff);

	if (json_array_size(diff))
		fprintf(stderr, "%s", text);
	MUST(!json_array_size(diff) && !*text);
	free(text);
	json_decref(diff);
}

static void read_again(const struct model *m, const char *text)
{
	struct errs errs = {0};
	struct model *again = model_parse(text, strlen(text), "again", &errs);

	for (size_t i = 0; i < errs.n; i++)
		fprintf(stderr, "%s\n%s\n", errs.v[i].text, text);
	MUST(again);
	same(m, again);
	model_free(again);
}

static void fuzz_text(const char *text, size_t len)
{
	struct errs errs = {0};
	struct model *m = model_parse(text, len, "fuzz", &errs), *copy;
	char *yaml, *json;
	json_t *o;

	MUST(!m == !!errs.n);
	errors(&errs);
	if (!m)
		return;
	yaml = model_yaml(m);
	MUST(yaml);
	read_again(m, yaml);
	free(yaml);
	o = model_json(m);
	json = json_dumps(o, 0);
	MUST(json);
	read_again(m, json);
	free(json);
	json_decref(o);
	copy = model_copy(m);
	same(copy, m);
	model_free(copy);
	model_free(m);
}

static void fuzz_item(const char *noun, bool remove, const char *text, size_t len)
{
	json_t *item = json_loadb(text, len, JSON_DECODE_ANY, NULL);
	struct model *before, *m;
	struct errs errs = {0};

	if (!item)
		return;
	before = model_parse(base, sizeof(base) - 1, "base", NULL);
	m = model_copy(before);
	MUST(before && m);
	if ((remove ? model_remove : model_add)(m, noun, item, "api", &errs)) {
		MUST(errs.n);
		same(before, m);
	} else {
		MUST(!errs.n);
		model_check(m, &errs);
	}
	errors(&errs);
	json_decref(item);
	model_free(before);
	model_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 && data[0] >= '0' && data[0] < '0' + (int)(sizeof(nouns) / sizeof(nouns[0])))
		fuzz_item(nouns[data[0] - '0'], data[1] & 1, (const char *)data + 2, size - 2);
	else
		fuzz_text((const char *)data, size);
	return 0;
}
