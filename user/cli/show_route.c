/* show_route.c: what is told of routes besides the routes themselves, for people: the audit; pages of listings. */
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
