/* show.c: the answers of sluiced for people, noun by noun. What a program wants is under -j.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

const char *text_of(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s ? s : "";
}

/* "10", or "10,20,30-40 native 10" */
static void cell_vlans(const json_t *row, char *buf, size_t size)
{
	const json_t *native = json_object_get(row, "native"), *vlan = json_object_get(row, "vlan");
	size_t len;

	cell_text(vlan ? vlan : json_object_get(row, "vlans"), buf, size);
	len = strlen(buf);
	if (!vlan && json_integer_value(native))
		snprintf(buf + len, size - len, " native %lld", (long long)json_integer_value(native));
}

void cell_why(const json_t *row, char *buf, size_t size)
{
	const char *reason = text_of(row, "reason"), *note = text_of(row, "note");

	snprintf(buf, size, "%s%s%s", reason, *reason && *note ? "; " : "", note);
}

void print_ports(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "PORT", .key = "name"},   {.title = "ID", .key = "id", .right = true},
		{.title = "MODE", .key = "mode"},   {.title = "VLANS", .cell = cell_vlans},
		{.title = "STATE", .key = "state"}, {.title = "LINK", .key = "link"},
		{.title = "TC", .key = "tc"},	    {.title = "XDP", .key = "xdp"},
		{.title = "WHY", .cell = cell_why},
	};

	table_print(answer, columns, N(columns), "no ports: sluice port add NAME mode ...");
}

void print_vlans(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "VLAN", .key = "id", .right = true}, {.title = "NAME", .key = "name"},
		{.title = "INTERFACE", .key = "interface"},    {.title = "UNTAGGED", .key = "untagged"},
		{.title = "TAGGED", .key = "tagged"},	       {.title = "PORTS", .key = "ports"},
	};

	table_print(answer, columns, N(columns), "no VLANs");
}

/* "vlan 10", or "port eth0" */
static void cell_of(const json_t *row, char *buf, size_t size)
{
	const json_t *vlan = json_object_get(row, "vlan");

	if (json_integer_value(vlan))
		snprintf(buf, size, "vlan %lld", (long long)json_integer_value(vlan));
	else
		snprintf(buf, size, "port %s", text_of(row, "port"));
}

void print_interfaces(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "INTERFACE", .key = "name"},
		{.title = "ID", .key = "id", .right = true},
		{.title = "OF", .cell = cell_of},
		{.title = "VRF", .key = "vrf"},
		{.title = "STATE", .key = "state"},
		{.title = "MAC", .key = "mac"},
		{.title = "MTU", .key = "mtu", .right = true},
		{.title = "RPF", .key = "rpf"},
		{.title = "MSS", .key = "mss", .right = true},
		{.title = "ADDRESSES", .key = "addresses"},
		{.title = "WHY", .cell = cell_why},
	};
	const char *next;
	const json_t *rows = page_rows(answer, "interfaces", &next);

	table_print(rows, columns, N(columns), "no interfaces");
	print_next(next);
}

static void cell_family4(const json_t *row, char *buf, size_t size)
{
	cell_text(json_object_get(json_object_get(row, "routes"), "ipv4"), buf, size);
}

static void cell_family6(const json_t *row, char *buf, size_t size)
{
	cell_text(json_object_get(json_object_get(row, "routes"), "ipv6"), buf, size);
}

/* "red (10.0.0.0/8 le 24), default" */
static void cell_imports(const json_t *row, char *buf, size_t size)
{
	const json_t *import, *prefixes;
	char text[256];
	size_t i, n = 0;

	*buf = '\0';
	json_array_foreach (json_object_get(row, "import"), i, import) {
		prefixes = json_object_get(import, "prefixes");
		cell_text(prefixes, text, sizeof(text));
		if (n < size)
			n += (size_t)snprintf(buf + n, size - n, "%s%s%s%s%s", i ? ", " : "", text_of(import, "vrf"),
					      prefixes ? " (" : "", prefixes ? text : "", prefixes ? ")" : "");
	}
}

void print_vrfs(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "VRF", .key = "name"},
		{.title = "ID", .key = "id", .right = true},
		{.title = "STATE", .key = "state"},
		{.title = "TABLES", .key = "tables"},
		{.title = "IPV4", .cell = cell_family4, .right = true},
		{.title = "IPV6", .cell = cell_family6, .right = true},
		{.title = "INTERFACES", .key = "interfaces"},
		{.title = "IMPORTS", .cell = cell_imports},
	};

	table_print(answer, columns, N(columns), "no VRFs");
}

static void print_hop(const json_t *hop)
{
	const char *via = text_of(hop, "via"), *iface = text_of(hop, "interface"), *state = text_of(hop, "state");
	json_int_t weight = json_integer_value(json_object_get(hop, "weight"));

	if (*text_of(hop, "name"))
		printf(" nhid %s", text_of(hop, "name"));
	if (*via)
		printf(" via %s", via);
	if (*iface)
		printf(" dev %s", iface);
	if (weight > 1)
		printf(" weight %lld", (long long)weight);
	if (*state && strcmp(state, "resolved") != 0)
		printf(" (%s)", state);
}

#define MAIN_TABLE 254

long long member(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

/* In the manner of `ip route`: one line a route, `nexthop` lines under one that has several. Administrative distance and metric
 * as routers write them: [20/0]. */
void print_route(const json_t *r)
{
	const json_t *hops = json_object_get(r, "nexthops"), *hop;
	const char *type = text_of(r, "type"), *vrf = text_of(r, "vrf"), *reason = text_of(r, "reason"),
		   *from = text_of(r, "from_vrf");
	const json_t *active = json_object_get(r, "active");
	size_t i;

	printf("%s ", json_is_false(active) ? " " : "*");
	if (*type && strcmp(type, "unicast") != 0 && strcmp(type, "gateway") != 0 && strcmp(type, "connected") != 0)
		printf("%s ", type);
	fputs(text_of(r, "to"), stdout);
	if (*text_of(r, "nexthop"))
		printf(" nhid %s", text_of(r, "nexthop"));
	if (json_array_size(hops) == 1)
		print_hop(json_array_get(hops, 0));
	else if (*text_of(r, "netdev"))
		printf(" dev %s", text_of(r, "netdev"));
	printf(" proto %s", text_of(r, "protocol"));
	if (json_object_get(r, "distance"))
		printf(" [%lld/%lld]", member(r, "distance"), member(r, "metric"));
	if (member(r, "mtu"))
		printf(" mtu %lld", member(r, "mtu"));
	if (json_integer_value(json_object_get(r, "table")) != MAIN_TABLE && json_object_get(r, "table"))
		printf(" table %lld", (long long)json_integer_value(json_object_get(r, "table")));
	if (*vrf && strcmp(vrf, "default") != 0)
		printf(" vrf %s", vrf);
	if (*from)
		printf(" from vrf %s", from);
	if (*reason)
		printf(" (%s)", reason);
	putchar('\n');
	if (json_array_size(hops) < 2)
		return;
	json_array_foreach (hops, i, hop) {
		fputs("\tnexthop", stdout);
		print_hop(hop);
		putchar('\n');
	}
}

void print_fdb(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "MAC", .key = "mac"},
		{.title = "VLAN", .key = "vlan", .right = true},
		{.title = "PORT", .key = "port"},
		{.title = "TYPE", .key = "type"},
		{.title = "AGE", .key = "age", .right = true},
	};

	table_print(answer, columns, N(columns), "no stations");
}

void print_neighbors(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "NEIGHBOR", .key = "address"},
		{.title = "MAC", .key = "mac"},
		{.title = "INTERFACE", .key = "interface"},
		{.title = "STATE", .key = "state"},
	};
	const char *next;
	const json_t *rows = page_rows(answer, "neighbors", &next);

	table_print(rows, columns, N(columns), "no neighbours");
	print_next(next);
}

static void print_indented(const char *name, const json_t *value, int depth);

static void print_object(const json_t *o, int depth)
{
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)o, name, value)
		print_indented(name, value, depth);
}

/* Rows of an array of objects stand one on a line. */
static void print_row(const json_t *row, int depth)
{
	const char *name, *space = "";
	char text[160];
	json_t *value;

	printf("%*s", depth * 2, "");
	json_object_foreach ((json_t *)row, name, value) {
		cell_text(value, text, sizeof(text));
		if (*text)
			printf("%s%s %s", space, name, text);
		space = *text ? "  " : space;
	}
	putchar('\n');
}

static void print_indented(const char *name, const json_t *value, int depth)
{
	char text[512];
	const json_t *row;
	size_t i;

	if (json_is_object(value)) {
		printf("%*s%s:\n", depth * 2, "", name);
		print_object(value, depth + 1);
	} else if (json_is_object(json_array_get(value, 0))) {
		printf("%*s%s:\n", depth * 2, "", name);
		json_array_foreach (value, i, row)
			print_row(row, depth + 1);
	} else {
		cell_text(value, text, sizeof(text));
		if (*text)
			printf("%*s%-*s %s\n", depth * 2, "", 24 - depth * 2, name, text);
	}
}

void print_members(const json_t *answer)
{
	if (json_is_array(answer)) {
		const json_t *row;
		size_t i;

		json_array_foreach (answer, i, row)
			print_row(row, 0);
	} else {
		print_object(answer, 0);
	}
}

/* One line a port, then what was dropped and why, then the statistics that are not 0. */
void print_counters(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "PORT", .key = "name"},
		{.title = "RECEIVED", .key = "rx_packets", .right = true},
		{.title = "BYTES", .key = "rx_bytes", .right = true},
		{.title = "FORWARDED", .key = "forwarded", .right = true},
		{.title = "TO HOST", .key = "to_host", .right = true},
		{.title = "DROPPED", .key = "dropped", .right = true},
		{.title = "SENT", .key = "tx_packets", .right = true},
		{.title = "BYTES", .key = "tx_bytes", .right = true},
	};
	const json_t *ports = json_object_get(answer, "ports"), *reasons = json_object_get(answer, "reasons"), *row;
	const char *name;
	json_t *n;
	size_t i;

	table_print(ports, columns, N(columns), "no ports");
	json_array_foreach (ports, i, row) {
		json_object_foreach (json_object_get(row, "drops"), name, n)
			printf("%s dropped %lld: %s (%s)\n", text_of(row, "name"), (long long)json_integer_value(n),
			       text_of(reasons, name), name);
	}
	json_object_foreach (json_object_get(answer, "stats"), name, n) {
		if (json_integer_value(n))
			printf("%-20s %lld\n", name, (long long)json_integer_value(n));
	}
}

void print_check(const json_t *answer)
{
	static const struct column columns[] = {
		{.title = "PORT", .key = "name"},
		{.title = "RECEIVED", .key = "rx_packets", .right = true},
		{.title = "FORWARDED", .key = "forwarded", .right = true},
		{.title = "TO HOST", .key = "to_host", .right = true},
		{.title = "DROPPED", .key = "dropped", .right = true},
		{.title = "BY REASON", .key = "dropped_by_reason", .right = true},
		{.title = "HOLDS", .key = "holds"},
	};

	table_print(json_object_get(answer, "ports"), columns, N(columns), "no ports");
	puts(json_is_true(json_object_get(answer, "holds")) ? "received = forwarded + to the host + dropped, on every port"
							    : "received is not forwarded + to the host + dropped");
}

static void print_time(const char *what, json_int_t seconds)
{
	time_t t = (time_t)seconds;
	char text[64] = "";
	struct tm tm;

	if (!seconds || !localtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
		return;
	printf("%-16s %s", what, text);
}

static void print_confirm(const json_t *confirm)
{
	if (json_is_object(confirm))
		printf("%-16s waits, %lld s left: `sluice confirm`, or it goes back\n", "last change",
		       (long long)json_integer_value(json_object_get(confirm, "seconds_left")));
}

static void print_features(const json_t *features)
{
	const char *name;
	json_t *value;

	printf("%-16s switching", "programs do");
	json_object_foreach ((json_t *)features, name, value) {
		if (json_is_true(value))
			printf(", %s", name);
	}
	putchar('\n');
}

static long long routes_of(const json_t *answer, const char *key)
{
	return (long long)json_integer_value(json_object_get(json_object_get(answer, "routes"), key));
}

static void print_loop(const json_t *loop)
{
	const json_t *cpu = json_object_get(loop, "cpu"), *blocked = json_object_get(loop, "blocked");

	printf("%-16s %lld turns, the longest %.1f ms on the processor (%s), %.1f ms in all (%s)\n", "event loop",
	       member(loop, "turns"), json_real_value(json_object_get(cpu, "max_ms")), text_of(cpu, "longest"),
	       json_real_value(json_object_get(blocked, "max_ms")), text_of(blocked, "longest"));
}

void print_status(const json_t *answer)
{
	const json_t *config = json_object_get(answer, "config"), *last = json_object_get(answer, "last_change"), *e;
	const json_t *errors = json_object_get(answer, "errors");
	json_int_t changes = json_integer_value(json_object_get(config, "changes"));
	size_t i;

	printf("%-16s %s, instance %s, process %lld, up %lld s\n", "sluiced", text_of(answer, "version"),
	       text_of(answer, "instance"), (long long)json_integer_value(json_object_get(answer, "pid")),
	       (long long)json_integer_value(json_object_get(answer, "uptime_s")));
	printf("%-16s %s", "configuration", text_of(config, "file"));
	if (json_is_true(json_object_get(config, "changed_at_run_time")))
		printf(", and %lld changes at run time (`sluice save` keeps them)", (long long)changes);
	putchar('\n');
	if (last) {
		print_time("last change", json_integer_value(json_object_get(last, "time")));
		printf(", by %s\n", text_of(last, "by"));
	}
	print_confirm(json_object_get(answer, "confirm"));
	printf("%-16s %zu configurations to go back to\n", "history", json_array_size(json_object_get(answer, "history")));
	print_features(json_object_get(answer, "features"));
	printf("%-16s %lld\n", "flows", (long long)json_integer_value(json_object_get(answer, "flows")));
	printf("%-16s %lld known, %lld prefixes in force, %lld refused for want of room, %lld%s not followed; audit: "
	       "%lld differences, %lld repaired\n",
	       "routes", routes_of(answer, "known"), routes_of(answer, "in_force"), routes_of(answer, "refused"),
	       routes_of(answer, "left_out"),
	       json_is_true(json_object_get(json_object_get(answer, "routes"), "left_out_more")) ? " or more" : "",
	       routes_of(answer, "audit_differences"), routes_of(answer, "audit_repaired"));
	if (routes_of(answer, "unpaired"))
		printf("%-16s %lld pairs are all there is room for: %lld prefixes are led elsewhere one by one\n", "second ways",
		       routes_of(answer, "pairs"), routes_of(answer, "unpaired"));
	if (routes_of(answer, "rules_left_out"))
		printf("%-16s %lld of other programs (`ip rule`), not followed\n", "routing rules",
		       routes_of(answer, "rules_left_out"));
	if (json_integer_value(json_object_get(answer, "netlink_resyncs")))
		printf("%-16s %lld times\n", "netlink overran",
		       (long long)json_integer_value(json_object_get(answer, "netlink_resyncs")));
	print_loop(json_object_get(answer, "loop"));
	print_indented("datapath", json_object_get(answer, "datapath"), 0);
	printf("%-16s %s\n", "errors", json_array_size(errors) ? "" : "none");
	json_array_foreach (errors, i, e)
		printf("  %s\n", json_string_value(e));
}

void print_notes(const json_t *notes)
{
	const json_t *note;
	size_t i;

	json_array_foreach (notes, i, note)
		fprintf(stderr, "note: %s\n", text_of(note, "text"));
}

void print_diff(const json_t *answer)
{
	if (!json_is_true(json_object_get(answer, "changed")))
		puts("nothing changes");
	else
		fputs(text_of(answer, "text"), stdout);
	print_notes(json_object_get(answer, "notes"));
}

void print_change(const json_t *answer)
{
	json_int_t confirm = json_integer_value(json_object_get(answer, "confirm_s"));

	print_diff(answer);
	if (json_is_true(json_object_get(answer, "dry_run")))
		puts("this was a dry run: nothing was changed");
	else if (confirm)
		printf("this goes back by itself in %lld s, unless: sluice confirm\n", (long long)confirm);
}
