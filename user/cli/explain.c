/* explain.c: the answer of `route get` for people: a line of what becomes of the packet, and under it why.
 */
#include <string.h>
#include "cli.h"

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* "198.51.100.0/24 proto bgp distance 20 metric 7" */
static void print_rank(const json_t *route)
{
	printf("%s proto %s distance %lld metric %lld", text(route, "to"), text(route, "protocol"), number(route, "distance"),
	       number(route, "metric"));
	if (json_object_get(route, "table"))
		printf(" table %lld", number(route, "table"));
	if (*text(route, "from_vrf"))
		printf(" from vrf %s", text(route, "from_vrf"));
}

static void print_choice(const json_t *answer)
{
	const json_t *route = json_object_get(answer, "route"), *row;
	size_t i;

	if (route) {
		fputs("  route         ", stdout);
		print_rank(route);
		putchar('\n');
	}
	json_array_foreach (json_object_get(answer, "candidates"), i, row) {
		fputs(i ? "                " : "  and not       ", stdout);
		print_rank(row);
		printf(": %s\n", text(row, "why"));
	}
	json_array_foreach (json_object_get(answer, "recursion"), i, row)
		printf("  %-13s %s by %s proto %s\n", i ? "" : "recursion", text(row, "gateway"), text(row, "to"),
		       text(row, "protocol"));
}

static void print_group(const json_t *group)
{
	if (!group)
		return;
	printf("  group         %lld, hash %s", number(group, "id"), text(group, "hash"));
	if (json_object_get(group, "nexthop"))
		printf(" %#llx: bucket %lld of %lld, nexthop %lld\n", (unsigned long long)number(group, "value"),
		       number(group, "bucket"), number(group, "buckets"), number(group, "nexthop"));
	else
		printf(": to tell the member give %s\n", text(group, "needs"));
}

static void print_reverse(const json_t *reverse)
{
	const json_t *hop;
	size_t i;

	if (!reverse)
		return;
	printf("  reverse path  %s: %s", text(reverse, "mode"),
	       strcmp(text(reverse, "verdict"), "drop") ? "passes" : "is dropped");
	if (*text(reverse, "to"))
		printf(", by %s", text(reverse, "to"));
	json_array_foreach (json_object_get(reverse, "nexthops"), i, hop)
		printf("%s %s", i ? "," : " on", text(hop, "interface"));
	putchar('\n');
}

static void print_rewrite(const char *what, const json_t *found)
{
	if (!found)
		return;
	if (*text(found, "needs")) {
		printf("  nat           %s: to tell it give %s\n", what, text(found, "needs"));
		return;
	}
	printf("  nat           %s: %s", what, text(found, "action"));
	if (*text(found, "rule"))
		printf(" by rule %s", text(found, "rule"));
	if (*text(found, "address"))
		printf(" to %s", text(found, "address"));
	if (json_object_get(found, "port"))
		printf(" port %lld", number(found, "port"));
	putchar('\n');
}

static void print_out(const json_t *out)
{
	const json_t *neighbor = json_object_get(out, "neighbor");
	const char *port = text(out, "port");

	if (!out)
		return;
	if (neighbor)
		printf("  neighbor      %s %s %s\n", text(neighbor, "address"), text(neighbor, "state"), text(neighbor, "mac"));
	printf("  out           dev %s port %s mtu %lld\n", text(out, "interface"), *port ? port : "(all of the VLAN)",
	       number(out, "mtu"));
}

void print_route_get(const json_t *answer)
{
	const json_t *flow = json_object_get(answer, "flow"), *nat = json_object_get(answer, "nat");

	puts(text(answer, "text"));
	if (*text(answer, "drop"))
		printf("  dropped       %s: %s\n", text(answer, "drop"), text(answer, "why"));
	if (*text(answer, "problem"))
		printf("  problem       %s\n", text(answer, "problem"));
	print_reverse(json_object_get(answer, "reverse_path"));
	if (flow)
		printf("  flow          known%s%s%s\n", *text(flow, "rule") ? ", by rule " : "", text(flow, "rule"),
		       json_is_true(json_object_get(flow, "current")) ? "" : "; its way is decided again");
	print_rewrite("destination", json_object_get(nat, "destination"));
	print_choice(answer);
	print_group(json_object_get(answer, "group"));
	if (*text(nat, "hairpin"))
		printf("  nat           hairpin: its source becomes what it would be, left it by %s\n",
		       strcmp(text(nat, "hairpin"), "any") ? text(nat, "hairpin") : "any interface");
	print_rewrite("source", json_object_get(nat, "source"));
	print_out(json_object_get(answer, "out"));
}
