/* model_edit_test.c: single items added and removed: `sluice route add …` and its API. */
#include <errno.h>
#include "model_util.h"

/* A network to change. */
#define BASE                                                                                                                     \
	"ports: {h1: {mode: access, vlan: 10}, up: {mode: routed}}\n"                                                            \
	"vlans: {10: {name: web}}\n"                                                                                             \
	"vrfs: {red: {table: 9}, idle: {}, green: {import: red}}\n"                                                              \
	"interfaces: {v10: {vlan: 10, addresses: [10.0.0.1/24]}, v11: {vlan: 11}, v12: {vlan: 12, vrf: red}}\n"                  \
	"nexthops: {isp: {address: 192.0.2.1, interface: v12, onlink: true}}\n"                                                  \
	"routes:\n"                                                                                                              \
	"- {to: default, via: 10.0.0.2}\n"                                                                                       \
	"- {to: 10.1.0.0/16, type: blackhole}\n"                                                                                 \
	"- {to: 10.1.0.0/16, via: 10.0.0.3, metric: 5}\n"                                                                        \
	"- {to: 10.1.0.0/16, type: blackhole, vrf: red}\n"                                                                       \
	"nat: [{name: a, type: snat, out: v10, to: masquerade},\n"                                                               \
	"  {name: b, type: snat, source: 10.5.0.0/16, to: 203.0.113.1, vrf: green}]\n"                                           \
	"fdb: [{mac: \"02:00:00:00:00:01\", vlan: 10, port: h1}]\n"                                                              \
	"neighbors: [{address: 10.0.0.9, mac: \"02:00:00:00:00:09\", interface: v10}]\n"

#define REPLACE 2

struct edit {
	const char *name;
	int how; /* false: add, true: remove, REPLACE */
	const char *noun, *item;
	int ret;
	const char *said; /* the errors */
	const char *diff; /* what became of BASE */
};

static const struct edit edits[] = {
	/* ---- what is done ---- */
	{"add port", false, "ports", "{\"name\": \"h2\", \"mode\": \"access\", \"vlan\": 20}", 0, "",
	 "+ port h2 mode access vlan 20\n"},
	{"add glob", false, "ports", "{\"name\": \"vnet*\", \"mode\": \"observe\"}", 0, "", "+ port vnet* mode observe\n"},
	{"add vlan", false, "vlans", "{\"id\": 20, \"name\": \"db\"}", 0, "", "+ vlan 20 name db\n"},
	{"add vlan, id in words", false, "vlans", "{\"id\": \"20\"}", 0, "", "+ vlan 20\n"},
	{"add vrf", false, "vrfs", "{\"name\": \"blue\"}", 0, "", "+ vrf blue\n"},
	{"add vrf with imports", false, "vrfs",
	 "{\"name\": \"blue\", \"table\": [7, 8], \"import\": [\"default\", {\"vrf\": \"red\", \"prefixes\": \"10.0.0.0/8 le "
	 "24\"}]}",
	 0, "", "+ vrf blue table 7,8 import default,(vrf red prefixes 10.0.0.0/8 le 24)\n"},
	{"add to vrf default", false, "vrfs", "{\"name\": \"default\", \"table\": 50, \"import\": \"red\"}", 0, "",
	 "+ vrf default table 50,254 import red\n"},
	{"add interface", false, "interfaces",
	 "{\"name\": \"v20\", \"vlan\": 20, \"addresses\": [\"10.2.0.1/24\", \"fd00::1/64\"]}", 0, "",
	 "+ interface v20 vlan 20 addresses 10.2.0.1/24,fd00::1/64\n"},
	{"add route", false, "routes",
	 "{\"to\": \"10.2.0.0/16\", \"via\": [\"10.0.0.2\", {\"address\": \"10.0.0.3\", \"weight\": 2}]}", 0, "",
	 "+ route 10.2.0.0/16 via 10.0.0.2,(address 10.0.0.3 weight 2)\n"},
	{"add route with another metric", false, "routes", "{\"to\": \"default\", \"via\": \"10.0.0.3\", \"metric\": 9}", 0, "",
	 "+ route 0.0.0.0/0 metric 9 via 10.0.0.3\n"},
	{"add rule", false, "nat", "{\"name\": \"c\", \"type\": \"snat\", \"to\": [\"192.0.2.1\", \"192.0.2.8/30\"]}", 0, "",
	 "+ nat c type snat to 192.0.2.1,192.0.2.8-192.0.2.11\n"},
	{"add fdb", false, "fdb", "{\"mac\": \"02:00:00:00:00:02\", \"vlan\": 10, \"port\": \"h1\"}", 0, "",
	 "+ fdb 02:00:00:00:00:02 vlan 10 port h1\n"},
	{"add neighbor", false, "neighbors",
	 "{\"address\": \"10.0.0.8\", \"mac\": \"02:00:00:00:00:08\", \"interface\": \"v10\"}", 0, "",
	 "+ neighbor 10.0.0.8 interface v10 mac 02:00:00:00:00:08\n"},
	{"remove port", true, "ports", "{\"name\": \"h1\"}", 0, "", "- port h1 mode access vlan 10\n"},
	{"remove vlan", true, "vlans", "{\"id\": 10}", 0, "", "- vlan 10 name web\n"},
	{"remove vrf", true, "vrfs", "{\"name\": \"idle\"}", 0, "", "- vrf idle\n"},
	{"remove interface", true, "interfaces", "{\"name\": \"v11\"}", 0, "", "- interface v11 vlan 11\n"},
	{"vrf in use", true, "vrfs", "{\"name\": \"red\"}", -EBUSY,
	 "cli: vrf red is in use by 1 interface (v12), 1 route (10.1.0.0/16) and 1 import (green)\n", ""},
	{"vrf in use by a rule", true, "vrfs", "{\"name\": \"green\"}", -EBUSY, "cli: vrf green is in use by 1 NAT rule (b)\n",
	 ""},
	{"interface in use", true, "interfaces", "{\"name\": \"v10\"}", -EBUSY,
	 "cli: interface v10 is in use by 2 routes (0.0.0.0/0 …), 1 NAT rule (a) and 1 neighbor (10.0.0.9)\n", ""},
	{"interface in use by a nexthop", true, "interfaces", "{\"name\": \"v12\"}", -EBUSY,
	 "cli: interface v12 is in use by 1 nexthop (isp)\n", ""},
	{"remove route", true, "routes", "{\"to\": \"0.0.0.0/0\"}", 0, "", "- route 0.0.0.0/0 via 10.0.0.2\n"},
	{"remove default route", true, "routes", "{\"to\": \"default\"}", 0, "", "- route 0.0.0.0/0 via 10.0.0.2\n"},
	{"remove route by metric", true, "routes", "{\"to\": \"10.1.0.0/16\", \"metric\": 5}", 0, "",
	 "- route 10.1.0.0/16 metric 5 via 10.0.0.3\n"},
	{"remove route by metric 0", true, "routes", "{\"to\": \"10.1.0.0/16\", \"metric\": 0}", 0, "",
	 "- route 10.1.0.0/16 type blackhole\n"},
	{"remove route by gateway", true, "routes", "{\"to\": \"10.1.0.0/16\", \"via\": [\"10.0.0.3\"]}", 0, "",
	 "- route 10.1.0.0/16 metric 5 via 10.0.0.3\n"},
	{"remove route of a vrf", true, "routes", "{\"to\": \"10.1.0.0/16\", \"vrf\": \"red\"}", 0, "",
	 "- route 10.1.0.0/16 vrf red type blackhole\n"},
	{"remove rule", true, "nat", "{\"name\": \"a\"}", 0, "", "- nat a type snat out v10 to masquerade\n"},
	{"remove fdb by mac", true, "fdb", "{\"mac\": \"02:00:00:00:00:01\"}", 0, "",
	 "- fdb 02:00:00:00:00:01 vlan 10 port h1\n"},
	{"remove neighbor", true, "neighbors", "{\"address\": \"10.0.0.9\", \"interface\": \"v10\"}", 0, "",
	 "- neighbor 10.0.0.9 interface v10 mac 02:00:00:00:00:09\n"},
	{"replace vrf", REPLACE, "vrfs", "{\"name\": \"red\", \"table\": [9, 10]}", 0, "", "~ vrf red table 9 -> 9,10\n"},
	{"replace interface", REPLACE, "interfaces",
	 "{\"name\": \"v10\", \"vlan\": 10, \"addresses\": [\"10.0.0.1/24\"], \"mss\": \"clamp\"}", 0, "",
	 "~ interface v10 mss unset -> clamp\n"},
	{"replace route", REPLACE, "routes", "{\"to\": \"10.1.0.0/16\", \"via\": \"10.0.0.4\", \"metric\": 5}", 0, "",
	 "~ route 10.1.0.0/16 metric 5 via 10.0.0.3 -> 10.0.0.4\n"},
	{"replace default by a named one", REPLACE, "routes", "{\"to\": \"default\", \"nexthop\": \"isp\"}", 0, "",
	 "~ route 0.0.0.0/0 via 10.0.0.2 -> unset, nexthop unset -> isp\n"},
	{"replace what is not there", REPLACE, "routes", "{\"to\": \"10.1.0.0/16\", \"type\": \"prohibit\", \"metric\": 6}", 0,
	 "", "+ route 10.1.0.0/16 metric 6 type prohibit\n"},
	/* ---- what is refused ---- */
	{"no such noun", false, "port", "{}", -EINVAL,
	 "cli: `port` is no noun. Allowed are: vrfs, ports, vlans, interfaces, nexthops, routes, nat, fdb, neighbors\n", ""},
	{"no such noun to remove from", true, "settings", "{}", -EINVAL,
	 "cli: `settings` is no noun. Allowed are: vrfs, ports, vlans, interfaces, nexthops, routes, nat, fdb, neighbors\n", ""},
	{"no object", false, "ports", "[]", -EINVAL, "cli: port: an object is wanted\n", ""},
	{"no name", false, "ports", "{\"mode\": \"routed\"}", -EINVAL, "cli: port: `name` is missing: what identifies the port\n",
	 ""},
	{"no id", true, "vlans", "{\"name\": \"web\"}", -EINVAL, "cli: vlan: `id` is missing: what identifies the vlan\n", ""},
	{"a name that is a list", false, "ports", "{\"name\": [\"h2\"], \"mode\": \"routed\"}", -EINVAL,
	 "cli: port: `name` is missing: what identifies the port\n", ""},
	{"port exists", false, "ports", "{\"name\": \"h1\", \"mode\": \"routed\"}", -EEXIST, "cli: port h1 exists already\n", ""},
	{"vlan exists", false, "vlans", "{\"id\": 10}", -EEXIST, "cli: vlan 10 exists already\n", ""},
	{"interface exists", false, "interfaces", "{\"name\": \"v10\", \"vlan\": 11}", -EEXIST,
	 "cli: interface v10 exists already\n", ""},
	{"vrf exists", false, "vrfs", "{\"name\": \"red\"}", -EEXIST, "cli: vrf red exists already\n", ""},
	{"route exists", false, "routes", "{\"to\": \"10.1.0.0/16\", \"metric\": 5, \"type\": \"prohibit\"}", -EEXIST,
	 "cli: route 10.1.0.0/16 metric 5 exists already\n", ""},
	{"rule exists", false, "nat", "{\"name\": \"a\", \"type\": \"snat\", \"to\": \"none\"}", -EEXIST,
	 "cli: nat a exists already\n", ""},
	{"fdb exists", false, "fdb", "{\"mac\": \"02:00:00:00:00:01\", \"vlan\": 10, \"port\": \"up\"}", -EEXIST,
	 "cli: fdb 02:00:00:00:00:01 vlan 10 exists already\n", ""},
	{"neighbor exists", false, "neighbors",
	 "{\"address\": \"10.0.0.9\", \"mac\": \"02:00:00:00:00:01\", \"interface\": \"v10\"}", -EEXIST,
	 "cli: neighbor 10.0.0.9 interface v10 exists already\n", ""},
	{"bad VLAN", false, "ports", "{\"name\": \"h2\", \"mode\": \"access\", \"vlan\": 4095}", -EINVAL,
	 "cli: port.h2.vlan: VLAN 4095 is not in 1..4094\n", ""},
	{"bad VLAN id", false, "vlans", "{\"id\": -1}", -EINVAL, "cli: vlan.-1: VLAN -1 is not in 1..4094\n", ""},
	{"several mistakes", false, "routes", "{\"to\": \"10.0.0.1/8\", \"vai\": \"10.0.0.1\"}", -EINVAL,
	 "cli: route.vai: unknown key, did you mean `via`? Allowed are: to, via, type, vrf, metric, distance, mtu, nexthop\n"
	 "cli: route: `via` is missing: the gateway, or a list of gateways (or `nexthop`: a named one)\n"
	 "cli: route.to: 10.0.0.1/8 has bits set behind its length: did you mean 10.0.0.0/8?\n",
	 ""},
	{"control characters in a name", false, "ports", "{\"name\": \"a\\u001b[2J\\n\", \"mode\": \"routed\"}", -EINVAL,
	 "cli: port.a?[2J?: not a name for a port: spaces, `/`, `:`, `\\` and what is not printable ASCII cannot stand in a "
	 "netdev's name\n",
	 ""},
	{"vrf default has nothing", true, "vrfs", "{\"name\": \"default\"}", -ENOENT,
	 "cli: vrf default always exists, and has nothing that was added\n", ""},
	{"no such port", true, "ports", "{\"name\": \"h9\"}", -ENOENT, "cli: port h9 does not exist\n", ""},
	{"no such vlan", true, "vlans", "{\"id\": 20}", -ENOENT, "cli: vlan 20 does not exist\n", ""},
	{"no such route", true, "routes", "{\"to\": \"10.2.0.0/16\"}", -ENOENT,
	 "cli: the configuration has no route with to 10.2.0.0/16, and only what it has can be deleted\n", ""},
	{"no such gateway", true, "routes", "{\"to\": \"10.1.0.0/16\", \"via\": \"10.0.0.4\"}", -ENOENT,
	 "cli: no route is there with to 10.1.0.0/16 via 10.0.0.4: it has via 10.0.0.3\n", ""},
	{"which route?", true, "routes", "{\"to\": \"10.1.0.0/16\"}", -EINVAL,
	 "cli: 2 items of `routes` have to 10.1.0.0/16: give more of what they differ in\n", ""},
	{"no prefix", true, "routes", "{\"metric\": 5}", -EINVAL, "cli: route: `to` is missing: what identifies the route\n", ""},
	{"no such fdb", true, "fdb", "{\"mac\": \"02:00:00:00:00:01\", \"vlan\": 11}", -ENOENT,
	 "cli: the configuration has no fdb with mac 02:00:00:00:00:01 vlan 11, and only what it has can be deleted\n", ""},
	{"bad mac", true, "fdb", "{\"mac\": \"02\"}", -EINVAL,
	 "cli: fdb.mac: `02` is not a MAC address such as 02:00:00:00:00:01\n", ""},
};

static char *diff_text(const struct model *a, const struct model *b)
{
	json_t *diff = model_diff(a, b);
	char *text = model_diff_text(diff);

	json_decref(diff);
	return text;
}

static void edit_test(void **state)
{
	const struct edit *e = *state;
	struct model *base = must_parse(BASE), *m = model_copy(base);
	json_t *item = json_loads(e->item, 0, NULL), *before;
	struct errs errs = {0};
	char *text;

	assert_non_null(item);
	before = json_deep_copy(item);
	assert_int_equal((e->how == REPLACE ? model_replace
			  : e->how	    ? model_remove
					    : model_add)(m, e->noun, item, "cli", &errs),
			 e->ret);
	text = errors_text(&errs);
	assert_string_equal(text, e->said);
	free(text);
	text = diff_text(base, m);
	assert_string_equal(text, e->diff);
	free(text);
	assert_true(json_equal(item, before));
	json_decref(item);
	json_decref(before);
	model_free(m);
	model_free(base);
}

/* What was added is checked with the rest, and its error names the source. */
static void check_test(void **state)
{
	struct model *m = must_parse(BASE);
	json_t *item = json_pack("{s:s, s:s}", "to", "10.5.0.0/16", "via", "172.16.0.1");
	struct errs errs = {0};
	char *text;

	assert_int_equal(model_add(m, "routes", item, "api", &errs), 0);
	assert_int_equal(model_check(m, &errs), -EINVAL);
	text = errors_text(&errs);
	assert_string_equal(text,
			    "api: routes[4].via (10.5.0.0/16 via 172.16.0.1): no interface of VRF `default` reaches the gateway "
			    "172.16.0.1: none has a prefix "
			    "with it (or give `interface` and `onlink: true`; or `recursive: true`, when another route does)\n");
	free(text);
	json_decref(item);
	model_free(m);
}

/* What `default` has beside its own is replaced as well, and taken away by removing it. */
static void replace_default_test(void **state)
{
	struct model *base = must_parse(BASE), *m = model_copy(base);
	struct errs errs = {0};
	json_t *item = json_pack("{s:s, s:[s, s]}", "name", "default", "import", "red", "green"), *less;
	char *text;

	assert_int_equal(model_add(m, "vrfs", item, "cli", &errs), 0);
	less = json_pack("{s:s, s:s}", "name", "default", "import", "green");
	assert_int_equal(model_replace(m, "vrfs", less, "cli", &errs), 0);
	text = diff_text(base, m);
	assert_string_equal(text, "+ vrf default import green\n");
	free(text);
	assert_int_equal(model_remove(m, "vrfs", less, "cli", &errs), 0);
	text = diff_text(base, m);
	assert_string_equal(text, "");
	free(text);
	json_decref(item);
	json_decref(less);
	model_free(m);
	model_free(base);
}

/* Where a rule goes; NULL: it is refused. */
struct position {
	const char *word, *beside, *said, *order;
};

static void position_test(void **state)
{
	static const struct position rows[] = {
		{NULL, NULL, "", "a b c new"},
		{"before", "a", "", "new a b c"},
		{"before", "c", "", "a b new c"},
		{"after", "a", "", "a new b c"},
		{"after", "c", "", "a b c new"},
		{"before", "x", "cli: nat.before: nothing is called `x` in `nat`\n", "a b c"},
		{"after", "new", "cli: nat.after: nothing is called `new` in `nat`\n", "a b c"},
	};
	char *text, order[64];

	for (size_t i = 0; i < N_OF_ROWS(rows); i++) {
		struct model *m =
			must_parse("nat: [{name: a, type: snat, source: 10.1.0.0/16, to: masquerade}, {name: b, type: snat, "
				   "source: 10.2.0.0/16, to: none}, {name: c, type: snat, to: masquerade}]\n");
		json_t *item = json_pack("{s:s, s:s, s:s}", "name", "new", "type", "snat", "to", "none");
		struct errs errs = {0};

		if (rows[i].word)
			json_object_set_new(item, rows[i].word, json_string(rows[i].beside));
		assert_int_equal(model_add(m, "nat", item, "cli", &errs), *rows[i].said ? -EINVAL : 0);
		text = errors_text(&errs);
		assert_string_equal(text, rows[i].said);
		free(text);
		*order = '\0';
		for (size_t k = 0; k < m->n_nats; k++)
			snprintf(order + strlen(order), sizeof(order) - strlen(order), "%s%s", k ? " " : "", m->nats[k].name);
		assert_string_equal(order, rows[i].order);
		json_decref(item);
		model_free(m);
	}
}

static void position_refused_test(void **state)
{
	struct model *m = must_parse(BASE);
	json_t *both = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", "n", "type", "snat", "to", "none", "before", "a", "after",
				 "b"),
	       *number = json_pack("{s:s, s:i}", "name", "n", "before", 1),
	       *route = json_pack("{s:s, s:s, s:s}", "to", "10.9.0.0/16", "type", "blackhole", "before", "x");
	struct errs errs = {0};
	char *text;

	assert_int_equal(model_add(m, "nat", both, "cli", &errs), -EINVAL);
	assert_int_equal(model_add(m, "nat", number, "cli", &errs), -EINVAL);
	assert_int_equal(model_add(m, "routes", route, "cli", &errs), -EINVAL);
	text = errors_text(&errs);
	assert_string_equal(text,
			    "cli: nat.before: `before` and `after`: one of them is allowed\n"
			    "cli: nat.before: a text is wanted: the name of the item that it stands beside\n"
			    "cli: route.before: unknown key. Allowed are: to, via, type, vrf, metric, distance, mtu, nexthop\n");
	free(text);
	json_decref(both);
	json_decref(number);
	json_decref(route);
	model_free(m);
}

/* Lists grow and shrink by single items, from a copy too; what is left is in order. */
static void many_test(void **state)
{
	struct model *a = model_new(), *m;
	struct errs errs = {0};
	json_t *item;
	char to[32];

	for (int i = 0; i < 100; i++) {
		item = json_pack("{s:o, s:s}", "to", json_sprintf("10.0.%d.0/24", i), "type", "blackhole");
		if (i == 37) {
			m = model_copy(a);
			model_free(a);
			a = m;
		}
		assert_int_equal(model_add(a, "routes", item, "api", &errs), 0);
		json_decref(item);
	}
	for (int i = 0; i < 100; i += 2) {
		item = json_pack("{s:o}", "to", json_sprintf("10.0.%d.0/24", i));
		assert_int_equal(model_remove(a, "routes", item, "api", &errs), 0);
		json_decref(item);
	}
	assert_int_equal(a->n_routes, 50);
	for (int i = 0; i < 50; i++) {
		char text[PREFIX_TEXT];

		snprintf(to, sizeof(to), "10.0.%d.0/24", 2 * i + 1);
		assert_string_equal(prefix_text(&a->routes[i].to, text), to);
	}
	assert_int_equal(errs.n, 0);
	model_free(a);
}

int main(void)
{
	const struct CMUnitTest others[] = {cmocka_unit_test(check_test), cmocka_unit_test(many_test),
					    cmocka_unit_test(replace_default_test), cmocka_unit_test(position_test),
					    cmocka_unit_test(position_refused_test)};
	struct CMUnitTest tests[N_OF_ROWS(edits) + N_OF_ROWS(others)];

	for (size_t i = 0; i < N_OF_ROWS(edits); i++)
		tests[i] = (struct CMUnitTest){.name = edits[i].name, .test_func = edit_test, .initial_state = (void *)&edits[i]};
	memcpy(tests + N_OF_ROWS(edits), others, sizeof(others));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
