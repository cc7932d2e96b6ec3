/* show_route.c: what is told of routes besides the routes themselves, for people: the audit; nexthops; pages of listings. */
#include <string.h>
#include "cli.h"

const json_t *page_rows(const json_t *answer, const char *noun, const char **ret_next)
{
	*ret_next = json_string_value(json_object_get(answer, "next"));
	return json_is_array(answer) ? answer : json_object_get(answer, noun);
}

void print_next(const char *next)
{
	if (next)
		printf("more: after %s\n", next);
}

void print_routes(const json_t *answer)
{
	const char *next;
	const json_t *rows = page_rows(answer, "routes", &next), *route;
	size_t i;

	json_array_foreach (rows, i, route)
		print_route(route);
	if (!json_array_size(rows))
		puts("no routes");
	print_next(next);
}

static long long number(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static void print_round(const char *title, const json_t *r)
{
	const char *at = json_string_value(json_object_get(r, "at"));

	printf("%-12s %lld routes, %lld addresses looked up, %lld asked of the kernel", title, number(r, "routes"),
	       number(r, "samples"), number(r, "asked"));
	if (number(r, "by_rule"))
		printf(", %lld answered by another's rule", number(r, "by_rule"));
	if (at)
		printf("; ended %s after %.1f s", at, json_real_value(json_object_get(r, "took_s")));
	putchar('\n');
}

void print_audit(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "PREFIX", .key = "prefix"},	{.title = "VRF", .key = "vrf"},
		{.title = "ADDRESS", .key = "address"}, {.title = "FIB", .key = "fib"},
		{.title = "KERNEL", .key = "kernel"},	{.title = "RIB", .key = "rib"},
		{.title = "SINCE", .key = "since"},	{.title = "REPAIRED", .key = "repaired"},
	};
	const json_t *last = json_object_get(answer, "last"), *found = json_object_get(answer, "found");

	printf("%-12s %lld done, %s\n", "rounds", number(answer, "rounds"), json_string_value(json_object_get(answer, "state")));
	print_round("this round", json_object_get(answer, "now"));
	if (last)
		print_round("last round", last);
	printf("%-12s %lld, %lld of them repaired; %lld were gone at the second look\n", "differences",
	       number(answer, "differences"), number(answer, "repaired"), number(answer, "passing"));
	if (json_array_size(found))
		table_print(found, columns, sizeof(columns) / sizeof(columns[0]), "");
}

/* "2h05m", "5m07s", "7s" */
static void cell_drained(const json_t *row, char *buf, size_t size)
{
	const json_t *v = json_object_get(row, "drained_s");
	long long s = json_integer_value(v);

	if (!v)
		*buf = '\0';
	else if (s >= 3600)
		snprintf(buf, size, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(buf, size, "%lldm%02llds", s / 60, s % 60);
	else
		snprintf(buf, size, "%llds", s);
}

/* Left out where all are of `default`, as of routes. */
static void cell_other_vrf(const json_t *row, char *buf, size_t size)
{
	const char *vrf = json_string_value(json_object_get(row, "vrf"));

	snprintf(buf, size, "%s", vrf && strcmp(vrf, "default") ? vrf : "");
}

void print_nexthops(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "ID", .key = "id", .right = true},
		{.title = "NAME", .key = "name"},
		{.title = "VIA", .key = "via"},
		{.title = "INTERFACE", .key = "interface"},
		{.title = "VRF", .cell = cell_other_vrf},
		{.title = "MTU", .key = "mtu", .right = true},
		{.title = "STATE", .key = "state"},
		{.title = "DRAINED FOR", .key = "drained_s", .cell = cell_drained, .right = true},
		{.title = "BUCKETS IN USE", .key = "buckets_in_use", .right = true},
		{.title = "OLD FLOWS", .key = "old_flows", .right = true},
		{.title = "MAC", .key = "mac"},
		{.title = "PACKETS", .key = "packets", .right = true},
		{.title = "BYTES", .key = "bytes", .right = true},
	};
	const char *next;
	const json_t *rows = page_rows(answer, "nexthops", &next);

	table_print(rows, columns, sizeof(columns) / sizeof(columns[0]), "no nexthops");
	print_next(next);
}

static void cell_members(const json_t *row, char *buf, size_t size)
{
	const json_t *m;
	size_t i, len = 0;

	*buf = '\0';
	json_array_foreach (json_object_get(row, "group"), i, m) {
		if (len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s,%" JSON_INTEGER_FORMAT, i ? "/" : "",
						json_string_value(json_object_get(m, "nexthop")),
						json_integer_value(json_object_get(m, "weight")));
	}
}

void print_named(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "NAME", .key = "name"},
		{.title = "TYPE", .key = "type"},
		{.title = "VIA", .key = "via"},
		{.title = "INTERFACE", .key = "interface"},
		{.title = "GROUP", .cell = cell_members},
		{.title = "ROUTES", .key = "routes", .right = true},
		{.title = "GROUPS", .key = "groups", .right = true},
	};
	const char *next;
	const json_t *rows = page_rows(answer, "nexthops", &next);

	table_print(rows, columns, sizeof(columns) / sizeof(columns[0]), "no named nexthops");
	print_next(next);
}
