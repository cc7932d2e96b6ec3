/* model_nexthop_test.c: nexthops and groups that have a name: what is refused and in which words, what routes get, what a change
 * of a group means for them.
 */
#include <errno.h>
#include "model_util.h"

#define BASE                                                                                                                     \
	"ports: {up1: {mode: routed}, up2: {mode: routed}}\n"                                                                    \
	"interfaces: {up1: {port: up1, addresses: [192.0.2.2/30, \"fd00:1::2/64\"]}, up2: {port: up2, addresses: "               \
	"[198.51.100.2/30]}}\n"
#define NAMED                                                                                                                    \
	"nexthops:\n"                                                                                                            \
	"  isp1: {address: 192.0.2.1}\n"                                                                                         \
	"  isp2: {address: 198.51.100.1, interface: up2}\n"                                                                      \
	"  hole: {type: blackhole}\n"                                                                                            \
	"  both: {group: [isp1, {nexthop: isp2, weight: 3}]}\n"

static const struct row rows[] = {
	{"good", BASE NAMED "routes: [{to: default, nexthop: both}, {to: 10.0.0.0/8, nexthop: hole}]\n", ""},
	{"used before it is named: fine", BASE "routes: [{to: 10.0.0.0/8, nexthop: a}]\nnexthops: {a: {address: 192.0.2.1}}\n",
	 ""},
	{"nobody uses it: fine", BASE "nexthops: {a: {address: 172.16.0.1, recursive: true}}\n", ""},
	{"unknown", BASE NAMED "routes: [{to: default, nexthop: bth}]\n",
	 "sluice.yaml:8: routes[0].nexthop (default nexthop bth): no nexthop is called `bth`: list it under `nexthops`\n"},
	{"unknown member", BASE "nexthops: {g: {group: [x]}}\n",
	 "sluice.yaml:3: nexthops.g.group: no nexthop is called `x`: list it under `nexthops`\n"},
	{"group in a group", BASE NAMED "  more: {group: [isp1, both]}\n",
	 "sluice.yaml:8: nexthops.more.group: `both` is a group itself: the members of a group are single nexthops\n"},
	{"blackhole in a group", BASE NAMED "  more: {group: [isp1, hole]}\n",
	 "sluice.yaml:8: nexthops.more.group: `hole` leads nowhere: it is for routes alone, and no member of a group\n"},
	{"member twice", BASE NAMED "  more: {group: [isp1, isp1]}\n",
	 "sluice.yaml:8: nexthops.more.group: `isp1` is listed twice: give it a `weight` instead\n"},
	{"empty group", "nexthops: {g: {group: []}}\n",
	 "sluice.yaml:1: nexthops.g.group: the group is empty: 1 to 256 members are allowed\n"},
	{"weight", "nexthops: {a: {address: 192.0.2.1}, g: {group: [{nexthop: a, weight: 257}]}}\n",
	 "sluice.yaml:1: nexthops.g.group[0].weight: 257 is not in 1..256\n"},
	{"member without a name", "nexthops: {g: {group: [{weight: 2}]}}\n",
	 "sluice.yaml:1: nexthops.g.group[0]: `nexthop` is missing: the name of the member\n"},
	{"group and gateway", "nexthops: {g: {group: [a], address: 192.0.2.1}}\n",
	 "sluice.yaml:1: nexthops.g.group: a group has members, and nothing else\n"},
	{"blackhole with a gateway", "nexthops: {g: {type: blackhole, interface: up1}}\n",
	 "sluice.yaml:1: nexthops.g.type: a nexthop of type blackhole leads nowhere: it has no gateway and no interface\n"},
	{"nothing", "nexthops: {g: {}}\n", "sluice.yaml:1: nexthops.g: a nexthop needs an `address`, an `interface`, or both\n"},
	{"a number", "nexthops: {\"12\": {address: 192.0.2.1}}\n",
	 "sluice.yaml:1: nexthops.12: a number is an id, which the switch gives itself: a name has a letter in it\n"},
	{"an address", "nexthops: {192.0.2.1: {address: 192.0.2.1}}\n",
	 "sluice.yaml:1: nexthops.192.0.2.1: an address is a gateway's, and no name\n"},
	{"a slash", "nexthops: {a/b: {address: 192.0.2.1}}\n",
	 "sluice.yaml:1: nexthops.a/b: `/` stands between the members of a group\n"},
	{"no such interface", BASE "nexthops: {a: {interface: up9}}\n",
	 "sluice.yaml:3: nexthops.a.interface: no interface is called `up9`\n"},
	{"nexthop and via", BASE NAMED "routes: [{to: 10.0.0.0/8, nexthop: both, via: 192.0.2.1}]\n",
	 "sluice.yaml:8: routes[0].nexthop (10.0.0.0/8 via 192.0.2.1 nexthop both): the named nexthop says where the route "
	 "leads: `via` beside it is too much\n"},
	{"no interface reaches it, said once",
	 BASE "nexthops: {a: {address: 172.16.0.1}}\n"
	      "routes: [{to: 10.0.0.0/8, nexthop: a}, {to: 11.0.0.0/8, nexthop: a}]\n",
	 "sluice.yaml:4: routes[0].nexthop (10.0.0.0/8 nexthop a): no interface of VRF `default` reaches the gateway 172.16.0.1: "
	 "none has a prefix with "
	 "it "
	 "(or give `interface` and `onlink: true`; or `recursive: true`, when another route does)\n"},
	{"family", BASE NAMED "routes: [{to: \"2001:db8::/32\", nexthop: both}]\n",
	 "sluice.yaml:8: routes[0].nexthop (2001:db8::/32 nexthop both): an IPv6 route cannot lead over the IPv4 gateway "
	 "192.0.2.1\n"
	 "sluice.yaml:8: routes[0].nexthop (2001:db8::/32 nexthop both): an IPv6 route cannot lead over the IPv4 gateway "
	 "198.51.100.1\n"},
	{"default of no family", BASE NAMED "routes: [{to: default, nexthop: hole}]\n",
	 "sluice.yaml:8: routes[0].nexthop (default nexthop hole): the gateways of `hole` do not show the family of `default`: "
	 "write 0.0.0.0/0 or "
	 "::/0\n"},
	{"default twice", BASE NAMED "routes: [{to: default, nexthop: both}, {to: 0.0.0.0/0, via: 192.0.2.1}]\n",
	 "sluice.yaml:8: routes[1] (0.0.0.0/0 via 192.0.2.1): 0.0.0.0/0 is there already (line 8) with the same VRF, metric and "
	 "distance: give one of them "
	 "another "
	 "metric, or one route several gateways\n"},
	{"mtu of a blackhole", BASE NAMED "routes: [{to: 10.0.0.0/8, nexthop: hole, mtu: 1400}]\n",
	 "sluice.yaml:8: routes[0].nexthop (10.0.0.0/8 nexthop hole): `hole` leads nowhere: the route has no `mtu`\n"},
};

/* 256 members are allowed, 257 are not. */
static void many_members_test(void **state)
{
	for (int n = 256; n <= 257; n++) {
		struct errs errs = {0};
		char *text, *said;
		struct model *m;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		fputs("interfaces: {v1: {vlan: 1, addresses: [10.0.0.1/16]}}\nnexthops:\n", f);
		for (int i = 0; i < n; i++)
			fprintf(f, "  n%d: {address: 10.0.%d.%d}\n", i, i / 200, i % 200 + 2);
		fputs("  all: {group: [n0", f);
		for (int i = 1; i < n; i++)
			fprintf(f, ", n%d", i);
		fputs("]}\nroutes: [{to: 192.0.2.0/24, nexthop: all}]\n", f);
		fclose(f);
		m = model_parse(text, len, "sluice.yaml", &errs);
		said = errors_text(&errs);
		assert_string_equal(said,
				    n == 256 ? "" : "sluice.yaml:260: nexthops.all.group: 257 members: 1 to 256 are allowed\n");
		if (m)
			assert_int_equal(m->routes[0].n_nexthops, 256);
		model_free(m);
		free(said);
		free(text);
	}
}

/* What the route gets, also in a copy; and the text says what was written. */
static void route_gets_members_test(void **state)
{
	struct model *m = must_parse(BASE NAMED "routes: [{to: default, nexthop: both}]\n"), *copy = model_copy(m), *again;
	char *text = model_yaml(m);

	for (struct model *at = m; at; at = at == m ? copy : NULL) {
		const struct route_cfg *r = &at->routes[0];

		assert_ptr_equal(r->named, model_nexthop(at, "both"));
		assert_int_equal(r->to.family, 4);
		assert_int_equal(r->n_nexthops, 2);
		assert_int_equal(r->nexthops[0].weight, 1);
		assert_int_equal(r->nexthops[1].weight, 3);
		assert_string_equal(r->nexthops[1].iface, "up2");
	}
	assert_non_null(strstr(text, "both: {group: [isp1, {nexthop: isp2, weight: 3}]}"));
	assert_non_null(strstr(text, "nexthop: both"));
	again = must_parse(text);
	assert_int_equal(again->routes[0].n_nexthops, 2);
	free(text);
	model_free(m);
	model_free(copy);
	model_free(again);
}

static int change(struct model *m, int (*fn)(struct model *, const char *, const json_t *, const char *, struct errs *),
		  const char *noun, const char *item, const char *want)
{
	json_t *json = json_loads(item, 0, NULL);
	struct errs errs = {0};
	char *said;
	int r;

	assert_non_null(json);
	r = fn(m, noun, json, "cli", &errs);
	if (!r)
		r = model_check(m, &errs);
	said = errors_text(&errs);
	assert_string_equal(said, want);
	free(said);
	json_decref(json);
	return r;
}

static void default_route_goes_by_its_name_test(void **state)
{
	struct model *m = must_parse(BASE NAMED "routes: [{to: default, nexthop: both}, {to: 10.0.0.0/8, nexthop: both}]\n");

	assert_int_equal(change(m, model_remove, "routes", "{\"to\": \"default\", \"nexthop\": \"isp1\"}",
				"cli: no route is there with to default nexthop isp1: it has nexthop both\n"),
			 -ENOENT);
	assert_int_equal(change(m, model_remove, "routes", "{\"to\": \"default\", \"nexthop\": \"both\"}", ""), 0);
	assert_int_equal(m->n_routes, 1);
	model_free(m);
}

static void edit_test(void **state)
{
	struct model *m = must_parse(BASE NAMED "routes: [{to: default, nexthop: both}, {to: 10.0.0.0/8, nexthop: both}]\n"),
		     *old;
	json_t *diff;
	char *text;

	old = model_copy(m);
	assert_int_equal(change(m, model_add, "nexthops", "{\"name\": \"isp1\", \"address\": \"192.0.2.1\"}",
				"cli: nexthop isp1 exists already\n"),
			 -EEXIST);
	assert_int_equal(change(m, model_remove, "nexthops", "{\"name\": \"both\"}", "cli: nexthop both is in use by 2 routes\n"),
			 -EBUSY);
	assert_int_equal(
		change(m, model_remove, "nexthops", "{\"name\": \"isp1\"}", "cli: nexthop isp1 is in use by 1 group (both)\n"),
		-EBUSY);
	assert_int_equal(change(m, model_remove, "nexthops", "{\"name\": \"nobody\"}", "cli: nexthop nobody does not exist\n"),
			 -ENOENT);
	assert_int_equal(change(m, model_remove, "nexthops", "{\"name\": \"hole\"}", ""), 0);
	assert_int_equal(
		change(m, model_add, "nexthops", "{\"name\": \"isp3\", \"address\": \"192.0.2.1\", \"interface\": \"up1\"}", ""),
		0);
	assert_int_equal(change(m, model_replace, "nexthops", "{\"name\": \"both\", \"group\": [\"isp2\", \"isp3\"]}", ""), 0);
	assert_int_equal(m->routes[0].n_nexthops, 2);
	assert_string_equal(m->routes[1].nexthops[1].iface, "up1");
	assert_int_equal(change(m, model_add, "routes", "{\"to\": \"11.0.0.0/8\", \"nexthop\": \"isp3\"}", ""), 0);
	assert_int_equal(m->routes[2].n_nexthops, 1);
	diff = model_diff(old, m);
	text = model_diff_text(diff);
	assert_string_equal(text, "- nexthop hole type blackhole\n"
				  "~ nexthop both group isp1,(nexthop isp2 weight 3) -> isp2,isp3\n"
				  "+ nexthop isp3 address 192.0.2.1 interface up1\n"
				  "+ route 11.0.0.0/8 nexthop isp3\n");
	free(text);
	json_decref(diff);
	assert_int_equal(change(m, model_remove, "routes", "{\"to\": \"default\"}", ""), 0);
	model_free(m);
	model_free(old);
}

int main(void)
{
	struct CMUnitTest tests[N_OF_ROWS(rows) + 3] = {
		cmocka_unit_test(many_members_test),
		cmocka_unit_test(route_gets_members_test),
		cmocka_unit_test(default_route_goes_by_its_name_test),
		cmocka_unit_test(edit_test),
	};

	for (size_t i = 0; i < N_OF_ROWS(rows); i++)
		tests[3 + i] = (struct CMUnitTest){rows[i].name, row_test, NULL, NULL, (void *)&rows[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
