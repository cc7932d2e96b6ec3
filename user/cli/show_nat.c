/* show_nat.c: rules, pools and the log of NAT for people; and connections counted. */
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void cell_ports_used(const json_t *row, char *buf, size_t size)
{
	json_int_t used = json_integer_value(json_object_get(row, "ports_used"));
	json_int_t total = json_integer_value(json_object_get(row, "ports_total"));

	snprintf(buf, size, "%lld of %lld", (long long)used, (long long)total);
}

/* A pool of many: its first and its last address, and how many there are. */
static void cell_addresses(const json_t *row, char *buf, size_t size)
{
	const json_t *list = json_object_get(row, "addresses");
	json_int_t total = json_integer_value(json_object_get(row, "ports_total"));
	json_int_t each = json_integer_value(json_object_get(row, "ports_each"));
	size_t n = json_array_size(list);

	if (n > 2)
		snprintf(buf, size, "%s .. %s (%lld)", json_string_value(json_array_get(list, 0)),
			 json_string_value(json_array_get(list, n - 1)), (long long)(total / (each ? each : 1)));
	else
		cell_text(list, buf, size);
}

static void print_pool_addresses(const json_t *pools)
{
	static const struct column columns[] = {
		{.title = "POOL", .key = "pool"},
		{.title = "ADDRESS", .key = "address"},
		{.title = "TCP", .key = "tcp", .right = true},
		{.title = "UDP", .key = "udp", .right = true},
		{.title = "ICMP", .key = "icmp", .right = true},
		{.title = "OF", .key = "of", .right = true},
	};
	json_t *rows = json_array(), *row;
	const json_t *pool, *of_addr;
	size_t i, j;

	json_array_foreach (pools, i, pool) {
		const json_t *list = json_object_get(pool, "by_address");

		json_array_foreach (list, j, of_addr) {
			row = json_copy((json_t *)of_addr);
			json_object_set(row, "pool", json_object_get(pool, "name"));
			json_object_set(row, "of", json_object_get(pool, "ports_each"));
			json_array_append_new(rows, row);
		}
	}
	if (json_array_size(rows)) {
		putchar('\n');
		table_print(rows, columns, N(columns), "");
	}
	json_decref(rows);
}

static void print_nat_log(const json_t *log)
{
	const char *file = text_of(log, "file");
	bool syslog = json_is_true(json_object_get(log, "syslog"));
	const json_t *e;
	size_t i;

	if (!json_is_object(log))
		return;
	printf("\nlog: %s%s%s; %lld lines written", file, *file && syslog ? " and " : "", syslog ? "syslog" : "",
	       member(log, "written"));
	printf(", %lld lost (the file did not take %lld, syslog %lld), %lld events not told\n", member(log, "lost"),
	       member(log, "file_lost"), member(log, "syslog_lost"), member(log, "untold"));
	json_array_foreach (json_object_get(log, "errors"), i, e)
		printf("  %s\n", json_string_value(e));
}

static bool is_ip6(const json_t *text)
{
	return strchr(json_string_value(text) ?: "", ':') != NULL;
}

/* The part of a pool that is of one family: its addresses, and what of each protocol's ports is held there, most of one. */
static json_t *pool_part(const json_t *pool, bool ip6)
{
	json_t *row = json_copy((json_t *)pool), *addresses = json_array(), *a;
	json_int_t used[3] = {0}, most = 0;
	size_t i;

	json_array_foreach (json_object_get(pool, "addresses"), i, a)
		if (is_ip6(a) == ip6)
			json_array_append(addresses, a);
	json_array_foreach (json_object_get(pool, "by_address"), i, a) {
		if (is_ip6(json_object_get(a, "address")) != ip6)
			continue;
		used[0] += json_integer_value(json_object_get(a, "tcp"));
		used[1] += json_integer_value(json_object_get(a, "udp"));
		used[2] += json_integer_value(json_object_get(a, "icmp"));
	}
	for (i = 0; i < 3; i++)
		most = used[i] > most ? used[i] : most;
	json_object_set_new(row, "ports_used", json_integer(most));
	json_object_set_new(
		row, "ports_total",
		json_integer((json_int_t)json_array_size(addresses) * json_integer_value(json_object_get(pool, "ports_each"))));
	json_object_set_new(row, "addresses", addresses);
	return row;
}

/* A row for each pool; two for one that has single addresses of both families, whose ports are not each other's. */
static json_t *pool_rows(const json_t *pools)
{
	json_t *rows = json_array(), *pool, *a;
	size_t i, j;

	json_array_foreach (pools, i, pool) {
		bool has[2] = {false}, ranges = false;

		json_array_foreach (json_object_get(pool, "addresses"), j, a) {
			has[is_ip6(a)] = true;
			ranges = ranges || strchr(json_string_value(a) ?: "", '-');
		}
		if (has[0] && has[1] && !ranges) {
			json_array_append_new(rows, pool_part(pool, false));
			json_array_append_new(rows, pool_part(pool, true));
		} else {
			json_array_append(rows, pool);
		}
	}
	return rows;
}

static void print_nat_pools(const json_t *answer)
{
	static const struct column pools[] = {
		{.title = "POOL", .key = "name"},
		{.title = "ID", .key = "id", .right = true},
		{.title = "ADDRESSES", .cell = cell_addresses},
		{.title = "PORTS USED", .cell = cell_ports_used},
	};
	static const struct column hosts[] = {
		{.title = "INSIDE HOST", .key = "address"},
		{.title = "VRF", .key = "vrf"},
		{.title = "MAPPINGS", .key = "mappings", .right = true},
	};
	const json_t *mappings = json_object_get(answer, "mappings");
	json_t *rows;

	if (!json_array_size(json_object_get(answer, "pools")))
		return;
	putchar('\n');
	rows = pool_rows(json_object_get(answer, "pools"));
	table_print(rows, pools, N(pools), "");
	json_decref(rows);
	print_pool_addresses(json_object_get(answer, "pools"));
	if (!json_integer_value(json_object_get(mappings, "total")))
		return;
	printf("\nmappings: %lld, of %lld hosts; who has most:\n",
	       (long long)json_integer_value(json_object_get(mappings, "total")),
	       (long long)json_integer_value(json_object_get(mappings, "hosts")));
	table_print(json_object_get(mappings, "top"), hosts, N(hosts), "");
}

void print_nat(const json_t *answer)
{
	static const struct column rules[] = {
		{.title = "RULE", .key = "name"},	  {.title = "TYPE", .key = "type"},
		{.title = "SOURCE", .key = "source"},	  {.title = "DESTINATION", .key = "destination"},
		{.title = "PROTOCOL", .key = "protocol"}, {.title = "PORT", .key = "port"},
		{.title = "INSIDE", .key = "inside"},	  {.title = "OUTSIDE", .key = "outside"},
		{.title = "OUT", .key = "out"},		  {.title = "TO", .key = "to"},
		{.title = "TO VRF", .key = "to-vrf"},	  {.title = "PORTS", .key = "ports"},
		{.title = "MAPPING", .key = "mapping"},	  {.title = "FILTERING", .key = "filtering"},
		{.title = "OVERLOAD", .key = "overload"}, {.title = "LIMIT", .key = "limit"},
		{.title = "TIMEOUTS", .key = "timeouts"}, {.title = "ON DELETE", .key = "on-delete"},
		{.title = "VRF", .key = "vrf"},		  {.title = "STATE", .key = "state"},
		{.title = "WHY", .cell = cell_why},
	};

	table_print(json_object_get(answer, "rules"), rules, N(rules), "no NAT rules");
	print_nat_pools(answer);
	print_nat_log(json_object_get(answer, "log"));
}

/* One number; or a row for each group, and one for those that were not told. */
/* Of a rule that is gone: as listings have it. */
static json_t *former_or_dash(const json_t *row)
{
	const char *former = text_of(row, "former-rule");

	return *former ? json_sprintf("(%s)", former) : json_string("-");
}

void print_flow_count(const json_t *answer)
{
	const char *by = text_of(answer, "by");
	const struct column columns[] = {
		{.title = by, .key = by},
		{.title = "VRF", .key = "vrf"},
		{.title = "FLOWS", .key = "flows", .right = true},
		{.title = "PACKETS", .key = "packets", .right = true},
		{.title = "BYTES", .key = "bytes", .right = true},
	};
	json_t *rows = json_deep_copy(json_object_get(answer, "groups")), *others = json_object_get(answer, "others"), *row;
	json_int_t n = json_integer_value(json_object_get(others, "groups"));
	char text[48];
	size_t i;

	if (!*by) {
		print_members(answer);
		return;
	}
	json_array_foreach (rows, i, row) {
		if (json_is_null(json_object_get(row, by)))
			json_object_set_new(row, by, former_or_dash(row));
		if (strcmp(by, "vrf") != 0 && strcmp(text_of(row, "vrf"), "default") == 0)
			json_object_del(row, "vrf");
	}
	if (json_integer_value(json_object_get(others, "flows"))) {
		snprintf(text, sizeof(text), "(%lld others)", (long long)n);
		row = json_deep_copy(others);
		json_object_set_new(row, by, json_string(text));
		json_array_append_new(rows, row);
	}
	table_print(rows, columns, N(columns), "no flows");
	json_decref(rows);
}
