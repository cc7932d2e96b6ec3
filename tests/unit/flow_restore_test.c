/* flow_restore_test.c: lines of saved flows, each restored or refused with words. */
#include "nat_tables.h"
#include "flow_move.h"
#include "resize.h"

bool resize_is_busy(const struct sw *of)
{
	return false;
}

#define MAPPING(port)                                                                                                            \
	"{\"mapping\": {\"proto\": 17, \"vrf\": \"default\", \"src\": \"10.0.0.7\", \"sport\": " port                            \
	", \"to-vrf\": \"default\", \"to-src\": \"203.0.113.10\", \"to-sport\": " port                                           \
	", \"rule\": \"out\", \"pool\": \"pool:out\", \"remote\": 0, \"filtering\": 0, \"out\": \"wan\"}}\n"
#define FLOW(port)                                                                                                               \
	"{\"flow\": {\"proto\": 17, \"vrf\": \"default\", \"src\": \"10.0.0.7\", \"sport\": " port                               \
	", \"dst\": \"192.0.2.1\", \"dport\": 53, \"to-vrf\": \"default\", \"to-src\": \"203.0.113.10\", \"to-sport\": " port    \
	", \"to-dst\": \"192.0.2.1\", \"to-dport\": 53, \"rule\": \"out\", \"pool\": \"pool:out\", \"in\": \"lan\", \"out\": "   \
	"\"wan\", "                                                                                                              \
	"\"flags\": [\"snat\"], \"remote\": 0, \"shared\": false, \"inbound\": false, \"seen\": 1, \"reply-seen\": 1, "          \
	"\"age-ms\": 1000, \"idle-ms\": 10, \"reply-idle-ms\": 10, \"packets\": 1, \"bytes\": 60, \"reply-packets\": 1, "        \
	"\"reply-bytes\": 60}}\n"

/* What comes of the lines: "mappings flows", and the first refusal. */
static const char *restored(const char *lines)
{
	static char said[256];
	struct http_stream stream;
	struct errs errs = {0};
	json_int_t mappings, flows;
	json_t *o, *refused;
	const char *why = "";

	if (flow_restore(&sw, lines, strlen(lines), "lines", 1, &stream, &errs))
		fail_msg("%s", errs.n ? errs.v[0].text : "not begun");
	o = whole(&stream);
	assert_int_equal(
		json_unpack(o, "{s:{s:I, s:I}, s:o}", "restored", "mappings", &mappings, "flows", &flows, "refused", &refused),
		0);
	json_unpack(refused, "[{s:s}]", "reason", &why);
	snprintf(said, sizeof(said), "%d %d %s", (int)mappings, (int)flows, why);
	json_decref(o);
	return said;
}

#define FULL "its rule has limits: the table of what each inside host has is full"

/* Of a rule with limits nobody is restored who cannot be counted: he would have as much again. Of others nobody is counted. */
static void whose_limits_could_not_hold_is_refused(void **state)
{
	struct table *used = table_get(NULL, "nat_used");
	const size_t max = used->max;
	const char *limited =
		"  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.10, out: [wan], limit: {ports: 3}}\n";
	const char *other = "  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.10, out: [wan]}\n"
			    "  - {name: few, type: snat, source: 10.0.9.0/24, to: 203.0.113.11, out: [wan], limit: {ports: 3}}\n";

	use(other);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	used->max = 0;
	assert_string_equal(restored(MAPPING("5000") FLOW("5000")), "1 1 ");
	use(limited);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_string_equal(restored(MAPPING("5001")), "0 0 " FULL);
	assert_false(nat_port_is_held(sw.nat, sw.nat->members[pool_named("pool:out", &out_pool)->first4].pool_addr, IPPROTO_UDP,
				      5001));
	used->max = max;
	assert_string_equal(restored(MAPPING("5001")), "1 0 ");
	assert_int_equal(used->n, 1);
	used->n = used->max = 0;
	assert_string_equal(restored(FLOW("5001")), "0 0 " FULL);
	used->max = max;
	assert_string_equal(restored(FLOW("5001")), "0 1 ");
	assert_int_equal(used->n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whose_limits_could_not_hold_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
