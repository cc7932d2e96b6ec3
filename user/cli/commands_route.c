/* commands_route.c: the parameters of what is done with routes, nexthops and neighbours; see commands.h. */
#include "commands.h"

/* `dev`, or `interface`. */
#define DEV(json_, flags_)                                                                                                       \
	{.key = "dev", .alias = "interface", .value = "IFACE", .json = json_, .flags = flags_, .names = "/v1/interfaces"}

/* Where a gateway is that is no neighbour. */
#define GATEWAY_IS(flags_)                                                                                                       \
	{.key = "onlink", .json = "onlink", .flags = flags_, .help = "the gateway is there, whatever the addresses say"},        \
		{.key = "recursive",                                                                                             \
		 .json = "recursive",                                                                                            \
		 .flags = flags_,                                                                                                \
		 .help = "another route leads to the gateway, or will"}

/* Instead of a gateway. */
#define DROPS                                                                                                                    \
	{.key = "blackhole", .json = "type", .fixed = "blackhole", .help = "drop without a word"},                               \
		{.key = "unreachable", .json = "type", .fixed = "unreachable", .help = "drop, and say unreachable"},             \
		{.key = "prohibit", .json = "type", .fixed = "prohibit", .help = "drop, and say prohibited"}

const struct param route_add[] = {
	{.value = "PREFIX", .json = "to", .flags = PARAM_REQUIRED, .help = "10.0.0.0/8, 2001:db8::/32"},
	{.key = "via", .value = "ADDR", .json = "address", .flags = PARAM_HOP, .help = "the gateway"},
	DEV("interface", PARAM_HOP),
	{.key = "weight", .value = "N", .json = "weight", .type = VALUE_NUMBER, .flags = PARAM_HOP, .help = "1..256"},
	GATEWAY_IS(PARAM_HOP),
	{.key = "nexthop", .flags = PARAM_NEW_HOP, .help = "another way out begins: via … dev … weight …"},
	{.key = "nhid",
	 .value = "NAME",
	 .json = "nexthop",
	 .names = "/v1/nexthops/named",
	 .help = "instead: by a named nexthop or group"},
	DROPS,
	{.key = "metric", .value = "N", .json = "metric", .type = VALUE_NUMBER},
	{.key = "distance", .value = "N", .json = "distance", .type = VALUE_NUMBER, .help = "administrative distance (1)"},
	{.key = "mtu", .value = "BYTES", .json = "mtu", .type = VALUE_NUMBER, .help = "of the path"},
	VRF,
	CHANGE,
	END,
};

const struct param route_delete[] = {
	{.value = "PREFIX", .json = "to", .flags = PARAM_REQUIRED},
	{.key = "via", .value = "ADDR", .json = "via", .help = "the gateway, where several routes are there"},
	{.key = "nhid",
	 .value = "NAME",
	 .json = "nexthop",
	 .names = "/v1/nexthops/named",
	 .help = "the named one that it leads by"},
	{.key = "distance", .value = "N", .json = "distance", .type = VALUE_NUMBER},
	{.key = "metric", .value = "N", .json = "metric", .type = VALUE_NUMBER},
	VRF,
	CHANGE,
	END,
};

const struct param route_show[] = {
	{.value = "PREFIX", .json = "?to", .help = "of this prefix alone"},
	{.key = "exact", .value = "PREFIX", .json = "?to", .help = "the same"},
	{.key = "root", .alias = "longer", .value = "PREFIX", .json = "?longer", .help = "of every prefix within this one"},
	{.key = "match", .value = "PREFIX", .json = "?match", .help = "of every prefix that holds this one"},
	{.key = "vrf", .value = "NAME", .json = "?vrf"},
	{.key = "table", .value = "N", .json = "?table", .type = VALUE_NUMBER, .help = "of the kernel"},
	{.key = "protocol",
	 .value = "NAME",
	 .json = "?protocol",
	 .help = "static, connected, local, nat, bgp, bird, kernel … or a number"},
	{.key = "type",
	 .value = "TYPE",
	 .json = "?type",
	 .choices = "unicast local broadcast blackhole unreachable prohibit host outside throw"},
	{.key = "via", .value = "ADDR", .json = "?via", .help = "that lead by this gateway"},
	DEV("?interface", 0),
	{.key = "family", .value = "4|6", .json = "?family", .choices = "4 6"},
	{.key = "active", .json = "?active", .fixed = "1", .help = "only those that are in force"},
	{.key = "inactive", .json = "?inactive", .fixed = "1", .help = "only those that are not, and why"},
	PAGE,
	END,
};

const struct param nexthop_show[] = {
	{.key = "via", .value = "ADDR", .json = "?via", .help = "the gateway"},
	DEV("?interface", 0),
	{.key = "state", .value = "STATE", .json = "?state", .choices = "resolved unresolved failed down drained"},
	PAGE,
	END,
};

/* What a named nexthop is. */
const struct param nexthop_add[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/nexthops/named", .help = "a word of one's own"},
	{.key = "id", .value = "NAME", .json = "name", .names = "/v1/nexthops/named", .help = "the same"},
	{.key = "via", .value = "ADDR", .json = "address", .help = "the gateway"},
	DEV("interface", 0),
	GATEWAY_IS(0),
	DROPS,
	{.key = "group",
	 .value = "NAME[,WEIGHT][/…]",
	 .json = "group",
	 .type = VALUE_GROUP,
	 .help = "of these, each with its weight 1..256 (1)"},
	CHANGE,
	END,
};

const struct param nexthop_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/nexthops/named"},
	{.key = "id", .value = "NAME", .json = "name", .names = "/v1/nexthops/named", .help = "the same"},
	CHANGE,
	END,
};

const struct param nexthop_named[] = {
	{.value = "NAME", .json = "?name", .names = "/v1/nexthops/named"},
	PAGE,
	END,
};

const struct param neighbor_show[] = {
	{.value = "PREFIX", .json = "?to", .help = "within this prefix, or of this address"},
	DEV("?interface", 0),
	{.key = "vrf", .value = "NAME", .json = "?vrf"},
	{.key = "family", .value = "4|6", .json = "?family", .choices = "4 6"},
	{.key = "state",
	 .alias = "nud",
	 .value = "STATE",
	 .json = "?state",
	 .choices = "reachable stale delay probe permanent noarp incomplete failed static none"},
	PAGE,
	END,
};

const struct param nexthop_get[] = {
	{.value = "NAME|ID|ADDR", .json = "?nexthop", .flags = PARAM_REQUIRED, .help = "as `nexthop show` has it"},
	END,
};

const struct param neighbor_get[] = {
	{.value = "ADDR", .json = "?address", .flags = PARAM_REQUIRED},
	DEV("?interface", 0),
	{.key = "vrf", .value = "NAME", .json = "?vrf", .names = "/v1/vrfs"},
	END,
};

const struct param route_get[] = {
	{.value = "ADDR", .json = "?addr", .flags = PARAM_REQUIRED},
	{.key = "from", .value = "ADDR", .json = "?from", .help = "the source"},
	{.key = "iif",
	 .value = "PORT",
	 .json = "?iif",
	 .names = "/v1/interfaces",
	 .help = "the interface or port it comes in by"},
	{.key = "vrf", .value = "NAME", .json = "?vrf", .names = "/v1/vrfs", .help = "(that of iif, or default)"},
	{.key = "ipproto", .value = "PROTO", .json = "?ipproto", .help = "tcp, udp, icmp … or a number"},
	{.key = "sport", .value = "PORT", .json = "?sport", .help = "of an echo request: its identifier"},
	{.key = "dport", .value = "PORT", .json = "?dport"},
	END,
};

const struct param nexthop_drain[] = {
	{.value = "NAME|ID|ADDR", .json = "?nexthop", .flags = PARAM_REQUIRED, .help = "as `nexthop show` has it"},
	END,
};

const struct param neighbor_add[] = {
	{.value = "ADDR", .json = "address", .flags = PARAM_REQUIRED},
	{.key = "mac",
	 .alias = "lladdr",
	 .value = "MAC",
	 .json = "mac",
	 .flags = PARAM_REQUIRED,
	 .help = "lladdr MAC is the same"},
	DEV("interface", PARAM_REQUIRED),
	CHANGE,
	END,
};

const struct param neighbor_delete[] = {
	{.value = "ADDR", .json = "address", .flags = PARAM_REQUIRED},
	DEV("interface", PARAM_REQUIRED),
	CHANGE,
	END,
};
