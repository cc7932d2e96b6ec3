/* model_diff_test.c: what leads from one model to another, in words and as JSON. */
#include "model_util.h"

struct diff_row {
	const char *name, *old, *new, *want;
};

static const struct diff_row rows[] = {
	{"nothing", "ports: {h1: {mode: routed}}\n", "\n\nports: {\"h1\": {xdp: auto, mode: Routed}}\n", ""},
	{"ports", "ports: {h1: {mode: access, vlan: 10}, h2: {mode: access, vlan: 10}, h3: {mode: routed}}\n",
	 "ports: {h2: {mode: access, vlan: 20}, h3: {mode: routed}, t: {mode: trunk, vlans: [10, 20, 30-40]}}\n",
	 "- port h1 mode access vlan 10\n"
	 "~ port h2 vlan 10 -> 20\n"
	 "+ port t mode trunk vlans 10,20,30-40\n"},
	{"a port changes its mode", "ports: {h1: {mode: access, vlan: 10}}\n",
	 "ports: {h1: {mode: trunk, vlans: 10, native: 10, xdp: off}}\n",
	 "~ port h1 mode access -> trunk, vlan 10 -> unset, vlans unset -> 10, native unset -> 10, xdp unset -> off\n"},
	{"settings and tables", "settings: {flow-timeouts: {udp: 60}}\ntables: {fdb: 100}\n",
	 "settings: {fdb-ageing: 10m, flow-accounting: false, flow-timeouts: {udp: 61}}\n",
	 "~ settings fdb-ageing 300 -> 600, flow-accounting true -> false, udp 60 -> 61\n"
	 "~ tables fdb 100 -> 65536\n"},
	{"vlans and interfaces", "vlans: {10: {name: web}, 20: {}}\ninterfaces: {v10: {vlan: 10, mtu: 1500}}\n",
	 "vlans: {10: {name: db}, 30: {}}\ninterfaces: {v10: {vlan: 10, mtu: 9000, addresses: [10.0.0.1/24, 10.0.0.2/24]}}\n",
	 "- vlan 20\n"
	 "~ vlan 10 name web -> db\n"
	 "+ vlan 30\n"
	 "~ interface v10 mtu 1500 -> 9000, addresses unset -> 10.0.0.1/24,10.0.0.2/24\n"},
	{"routes", "routes:\n- {to: 10.0.0.0/8, type: blackhole}\n- {to: 10.1.0.0/16, type: blackhole, metric: 5}\n",
	 "vrfs: {red: {table: 9}}\nroutes:\n- {to: 10.1.0.0/16, type: prohibit, metric: 5}\n"
	 "- {to: 10.0.0.0/8, type: blackhole, vrf: red, distance: 20}\n",
	 "+ vrf red table 9\n"
	 "- route 10.0.0.0/8 type blackhole\n"
	 "~ route 10.1.0.0/16 metric 5 type blackhole -> prohibit\n"
	 "+ route 10.0.0.0/8 vrf red distance 20 type blackhole\n"},
	/* Another order is no change; what is equal is found wherever it stands. */
	{"routes in another order",
	 "routes:\n- {to: 10.0.0.0/8, type: blackhole}\n- {to: 10.1.0.0/16, type: blackhole}\n- {to: 10.2.0.0/16, type: "
	 "blackhole}\n"
	 "- {to: 10.3.0.0/16, type: blackhole}\n- {to: \"2001:db8::/32\", type: blackhole}\n",
	 "routes:\n- {to: 10.3.0.0/16, type: blackhole}\n- {to: \"2001:db8::/32\", type: blackhole}\n"
	 "- {to: 10.1.0.0/16, type: prohibit}\n- {to: 10.9.0.0/16, type: blackhole}\n- {to: 10.0.0.0/8, type: blackhole}\n",
	 "- route 10.2.0.0/16 type blackhole\n"
	 "~ route 10.1.0.0/16 type blackhole -> prohibit\n"
	 "+ route 10.9.0.0/16 type blackhole\n"},
	{"nexthops",
	 "interfaces: {v: {vlan: 1, addresses: [10.0.0.1/24]}}\nroutes: [{to: 10.1.0.0/16, via: [10.0.0.2, 10.0.0.3]}]\n",
	 "interfaces: {v: {vlan: 1, addresses: [10.0.0.1/24]}}\n"
	 "routes: [{to: 10.1.0.0/16, via: [{address: 10.0.0.2, weight: 2}, 10.0.0.3]}]\n",
	 "~ route 10.1.0.0/16 via 10.0.0.2,10.0.0.3 -> (address 10.0.0.2 weight 2),10.0.0.3\n"},
	{"rules", "nat: [{name: a, type: snat, to: masquerade}, {name: b, type: snat, to: none}]\n",
	 "nat: [{name: a, type: snat, to: masquerade, source: 10.0.0.0/8}]\n",
	 "- nat b type snat to none\n"
	 "~ nat a source unset -> 10.0.0.0/8\n"},
	/* The first rule that matches wins: another order is another configuration. */
	{"the order of rules",
	 "nat: [{name: a, type: snat, to: none}, {name: b, type: snat, to: masquerade}, {name: c, type: snat, to: none}]\n",
	 "nat: [{name: b, type: snat, to: masquerade}, {name: a, type: snat, to: none}, {name: c, type: snat, to: none}]\n",
	 "~ nat b position 2 -> 1\n"},
	{"a rule that moves is one line, also beside others that come and go",
	 "nat: [{name: a, type: snat, to: none}, {name: b, type: snat, to: none}, {name: c, type: snat, to: none}, {name: d, "
	 "type: snat, to: none}, {name: e, type: snat, to: none}]\n",
	 "nat: [{name: e, type: snat, to: none}, {name: x, type: snat, to: none}, {name: a, type: snat, to: none}, {name: c, "
	 "type: snat, to: none}, {name: d, type: snat, to: masquerade}]\n",
	 "- nat b type snat to none\n"
	 "~ nat e position 5 -> 1\n"
	 "+ nat x type snat to none\n"
	 "~ nat d to none -> masquerade\n"},
	{"to the end",
	 "nat: [{name: a, type: snat, to: none}, {name: b, type: snat, to: none}, {name: c, type: snat, to: none}]\n",
	 "nat: [{name: b, type: snat, to: none}, {name: c, type: snat, to: none}, {name: a, type: snat, to: none}]\n",
	 "~ nat a position 1 -> 3\n"},
	{"a rule before others moves none", "nat: [{name: a, type: snat, to: none}, {name: b, type: snat, to: masquerade}]\n",
	 "nat: [{name: x, type: snat, to: none}, {name: a, type: snat, to: none}, {name: b, type: snat, to: masquerade}]\n",
	 "+ nat x type snat to none\n"},
	{"fdb and neighbours",
	 "ports: {h: {mode: trunk, vlans: 1-9}}\ninterfaces: {v: {vlan: 1, addresses: [10.0.0.1/24]}}\n"
	 "fdb: [{mac: \"02:00:00:00:00:01\", vlan: 1, port: h}]\n"
	 "neighbors: [{address: 10.0.0.2, mac: \"02:00:00:00:00:01\", interface: v}]\n",
	 "ports: {h: {mode: trunk, vlans: 1-9}}\ninterfaces: {v: {vlan: 1, addresses: [10.0.0.1/24]}}\n"
	 "fdb: [{mac: \"02:00:00:00:00:01\", vlan: 2, port: h}]\n"
	 "neighbors: [{address: 10.0.0.2, mac: \"02:00:00:00:00:02\", interface: v}]\n",
	 "- fdb 02:00:00:00:00:01 vlan 1 port h\n"
	 "+ fdb 02:00:00:00:00:01 vlan 2 port h\n"
	 "~ neighbor 10.0.0.2 interface v mac 02:00:00:00:00:01 -> 02:00:00:00:00:02\n"},
};

static void diff_row_test(void **state)
{
	const struct diff_row *row = *state;
	struct model *old = must_parse(row->old), *new = must_parse(row->new);
	json_t *diff = model_diff(old, new);
	char *text = model_diff_text(diff);

	assert_string_equal(text, row->want);
	assert_int_equal(json_array_size(diff) == 0, !*row->want);
	free(text);
	json_decref(diff);
	model_free(old);
	model_free(new);
}

static void json_test(void **state)
{
	struct model *old = must_parse("ports: {h1: {mode: access, vlan: 10}, h2: {mode: routed}}\n");
	struct model *new = must_parse("ports: {h1: {mode: access, vlan: 20}, h3: {mode: routed}}\n");
	json_t *diff = model_diff(old, new);
	json_t *want =
		json_loads("[{\"op\": \"delete\", \"noun\": \"port\", \"name\": \"h2\", \"old\": {\"mode\": \"routed\"}},"
			   "{\"op\": \"change\", \"noun\": \"port\", \"name\": \"h1\","
			   " \"old\": {\"mode\": \"access\", \"vlan\": 10}, \"new\": {\"mode\": \"access\", \"vlan\": 20}},"
			   "{\"op\": \"add\", \"noun\": \"port\", \"name\": \"h3\", \"new\": {\"mode\": \"routed\"}}]",
			   0, NULL);

	assert_non_null(want);
	assert_true(json_equal(diff, want));
	json_decref(want);
	json_decref(diff);
	model_free(old);
	model_free(new);
}

int main(void)
{
	struct CMUnitTest tests[N_OF_ROWS(rows) + 1];

	for (size_t i = 0; i < N_OF_ROWS(rows); i++)
		tests[i] =
			(struct CMUnitTest){.name = rows[i].name, .test_func = diff_row_test, .initial_state = (void *)&rows[i]};
	tests[N_OF_ROWS(rows)] = (struct CMUnitTest)cmocka_unit_test(json_test);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
