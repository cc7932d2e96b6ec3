/* commands.c: the grammar of `sluice`, the one table that parsing, usage, completion and the manual's synopsis follow.
 */
#include "cli.h"

#define END {.help = NULL}

/* What every change takes. */
#define CHANGE                                                                                                                   \
	{.key = "--dry-run", .json = "?dry-run", .fixed = "1", .help = "check, and say what would change"},                      \
		{.key = "--confirm",                                                                                             \
		 .value = "TIME",                                                                                                \
		 .json = "?confirm",                                                                                             \
		 .type = VALUE_TIME,                                                                                             \
		 .help = "go back after TIME (60s, 5m) unless confirmed"}

#define VRF {.key = "vrf", .value = "NAME", .json = "vrf", .names = "/v1/vrfs", .help = "routing domain (default)"}

static const struct param port_add[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .help = "netdev, or a glob: vnet*"},
	{.key = "mode", .value = "MODE", .json = "mode", .flags = PARAM_REQUIRED, .choices = "access trunk routed observe"},
	{.key = "vlan", .value = "ID", .json = "vlan", .type = VALUE_NUMBER, .help = "of an access port"},
	{.key = "vlans", .value = "ID,LO-HI", .json = "vlans", .type = VALUE_LIST, .flags = PARAM_REPEAT, .help = "of a trunk"},
	{.key = "native", .value = "ID", .json = "native", .type = VALUE_NUMBER, .help = "VLAN of a trunk's untagged frames"},
	{.key = "protocol", .value = "TAG", .json = "protocol", .choices = "802.1Q 802.1ad", .help = "kind of tag (802.1Q)"},
	{.key = "xdp", .value = "HOW", .json = "xdp", .choices = "auto native generic off"},
	CHANGE,
	END,
};

static const struct param port_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/ports"},
	CHANGE,
	END,
};

static const struct param vlan_add[] = {
	{.value = "ID", .json = "id", .type = VALUE_NUMBER, .flags = PARAM_REQUIRED},
	{.key = "name", .value = "NAME", .json = "name"},
	CHANGE,
	END,
};

static const struct param vlan_delete[] = {
	{.value = "ID", .json = "id", .type = VALUE_NUMBER, .flags = PARAM_REQUIRED},
	CHANGE,
	END,
};

static const struct param interface_add[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .help = "of its netdev; a routed port's own name"},
	{.key = "vlan", .value = "ID", .json = "vlan", .type = VALUE_NUMBER, .help = "the VLAN that it serves, or"},
	{.key = "port", .value = "NAME", .json = "port", .names = "/v1/ports", .help = "the routed port that it is"},
	{.key = "address",
	 .value = "ADDR/LEN",
	 .json = "addresses",
	 .type = VALUE_LIST,
	 .flags = PARAM_REPEAT,
	 .help = "10.0.10.1/24; may come again"},
	{.key = "mac", .value = "MAC", .json = "mac"},
	{.key = "mtu", .value = "BYTES", .json = "mtu", .type = VALUE_NUMBER},
	{.key = "rpf", .value = "MODE", .json = "rpf", .help = "reverse path check: strict, loose, off"},
	{.key = "mss", .value = "N|clamp", .json = "mss", .help = "the largest TCP MSS; clamp: what the MTU allows"},
	{.key = "directed-broadcast", .json = "directed-broadcast", .help = "broadcasts that are routed to its prefix go out"},
	VRF,
	CHANGE,
	END,
};

static const struct param interface_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/interfaces"},
	CHANGE,
	END,
};

static const struct param vrf_add[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED},
	{.key = "table",
	 .value = "N[,N…]",
	 .json = "table",
	 .type = VALUE_LIST,
	 .help = "the kernel's routing tables, the first one preferred"},
	{.key = "import",
	 .value = "VRF",
	 .json = "vrf",
	 .flags = PARAM_HOP | PARAM_NEW_HOP,
	 .names = "/v1/vrfs",
	 .help = "its routes come in, too; may come again"},
	{.key = "prefix",
	 .value = "PREFIX[,…]",
	 .json = "prefixes",
	 .type = VALUE_LIST,
	 .flags = PARAM_HOP | PARAM_REPEAT,
	 .help = "only these: 10.0.0.0/8, '10.0.0.0/8 le 24', 'deny 10.9.0.0/16'"},
	CHANGE,
	END,
};

static const struct param vrf_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/vrfs"},
	CHANGE,
	END,
};

static const struct param route_add[] = {
	{.value = "PREFIX", .json = "to", .flags = PARAM_REQUIRED, .help = "10.0.0.0/8, 2001:db8::/32"},
	{.key = "via", .value = "ADDR", .json = "address", .flags = PARAM_HOP, .help = "the gateway"},
	{.key = "dev",
	 .alias = "interface",
	 .value = "IFACE",
	 .json = "interface",
	 .flags = PARAM_HOP,
	 .names = "/v1/interfaces"},
	{.key = "weight", .value = "N", .json = "weight", .type = VALUE_NUMBER, .flags = PARAM_HOP, .help = "1..256"},
	{.key = "onlink", .json = "onlink", .flags = PARAM_HOP, .help = "the gateway is there, whatever the addresses say"},
	{.key = "recursive", .json = "recursive", .flags = PARAM_HOP, .help = "another route leads to the gateway, or will"},
	{.key = "nexthop", .flags = PARAM_NEW_HOP, .help = "another way out begins: via … dev … weight …"},
	{.key = "nhid",
	 .value = "NAME",
	 .json = "nexthop",
	 .names = "/v1/nexthops/named",
	 .help = "instead: by a named nexthop or group"},
	{.key = "blackhole", .json = "type", .fixed = "blackhole", .help = "drop without a word"},
	{.key = "unreachable", .json = "type", .fixed = "unreachable", .help = "drop, and say unreachable"},
	{.key = "prohibit", .json = "type", .fixed = "prohibit", .help = "drop, and say prohibited"},
	{.key = "metric", .value = "N", .json = "metric", .type = VALUE_NUMBER},
	{.key = "distance", .value = "N", .json = "distance", .type = VALUE_NUMBER, .help = "administrative distance (1)"},
	{.key = "mtu", .value = "BYTES", .json = "mtu", .type = VALUE_NUMBER, .help = "of the path"},
	VRF,
	CHANGE,
	END,
};

static const struct param route_delete[] = {
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

/* A page of a listing. */
#define PAGE                                                                                                                     \
	{.key = "limit", .value = "N", .json = "?limit", .type = VALUE_NUMBER, .help = "at most so many, in order"},             \
		{.key = "after", .value = "CURSOR", .json = "?after", .help = "the next ones; -j calls it `next`"}

static const struct param route_show[] = {
	{.value = "PREFIX", .json = "?to", .help = "of this prefix alone"},
	{.key = "exact", .value = "PREFIX", .json = "?to", .help = "the same"},
	{.key = "root", .alias = "longer", .value = "PREFIX", .json = "?longer", .help = "of every prefix within this one"},
	{.key = "match", .value = "PREFIX", .json = "?match", .help = "of every prefix that holds this one"},
	{.key = "vrf", .value = "NAME", .json = "?vrf"},
	{.key = "table", .value = "N", .json = "?table", .type = VALUE_NUMBER, .help = "of the kernel"},
	{.key = "protocol", .value = "NAME", .json = "?protocol", .help = "static, connected, local, nat, bgp, bird, kernel …"},
	{.key = "type",
	 .value = "TYPE",
	 .json = "?type",
	 .choices = "unicast local broadcast blackhole unreachable prohibit host outside throw"},
	{.key = "via", .value = "ADDR", .json = "?via", .help = "that lead by this gateway"},
	{.key = "dev", .alias = "interface", .value = "IFACE", .json = "?interface", .names = "/v1/interfaces"},
	{.key = "family", .value = "4|6", .json = "?family", .choices = "4 6"},
	{.key = "active", .json = "?active", .fixed = "1", .help = "only those that are in force"},
	{.key = "inactive", .json = "?inactive", .fixed = "1", .help = "only those that are not, and why"},
	PAGE,
	END,
};

static const struct param nexthop_show[] = {
	{.key = "via", .value = "ADDR", .json = "?via", .help = "the gateway"},
	{.key = "dev", .alias = "interface", .value = "IFACE", .json = "?interface", .names = "/v1/interfaces"},
	{.key = "state", .value = "STATE", .json = "?state", .choices = "resolved unresolved failed down drained"},
	PAGE,
	END,
};

/* What a named nexthop is. */
static const struct param nexthop_add[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/nexthops/named", .help = "a word of one's own"},
	{.key = "id", .value = "NAME", .json = "name", .names = "/v1/nexthops/named", .help = "the same"},
	{.key = "via", .value = "ADDR", .json = "address", .help = "the gateway"},
	{.key = "dev", .alias = "interface", .value = "IFACE", .json = "interface", .names = "/v1/interfaces"},
	{.key = "onlink", .json = "onlink", .help = "the gateway is there, whatever the addresses say"},
	{.key = "recursive", .json = "recursive", .help = "another route leads to the gateway, or will"},
	{.key = "blackhole", .json = "type", .fixed = "blackhole", .help = "drop without a word"},
	{.key = "unreachable", .json = "type", .fixed = "unreachable", .help = "drop, and say unreachable"},
	{.key = "prohibit", .json = "type", .fixed = "prohibit", .help = "drop, and say prohibited"},
	{.key = "group",
	 .value = "NAME[,WEIGHT][/…]",
	 .json = "group",
	 .type = VALUE_GROUP,
	 .help = "of these, each with its weight 1..256 (1)"},
	CHANGE,
	END,
};

static const struct param nexthop_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/nexthops/named"},
	{.key = "id", .value = "NAME", .json = "name", .names = "/v1/nexthops/named", .help = "the same"},
	CHANGE,
	END,
};

static const struct param nexthop_named[] = {
	{.value = "NAME", .json = "?name", .names = "/v1/nexthops/named"},
	PAGE,
	END,
};

static const struct param neighbor_show[] = {
	{.value = "PREFIX", .json = "?to", .help = "within this prefix, or of this address"},
	{.key = "dev", .alias = "interface", .value = "IFACE", .json = "?interface", .names = "/v1/interfaces"},
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

static const struct param interface_show[] = {
	{.value = "NAME", .json = "?name", .names = "/v1/interfaces"},
	{.key = "vrf", .value = "NAME", .json = "?vrf"},
	{.key = "vlan", .value = "ID", .json = "?vlan", .type = VALUE_NUMBER},
	{.key = "state", .value = "up|down", .json = "?state", .choices = "up down"},
	PAGE,
	END,
};

static const struct param interface_get[] = {
	{.value = "NAME", .json = "?name", .flags = PARAM_REQUIRED, .names = "/v1/interfaces"},
	END,
};

static const struct param vrf_show[] = {
	{.value = "NAME", .json = "?name", .names = "/v1/vrfs"},
	END,
};

static const struct param vrf_get[] = {
	{.value = "NAME", .json = "?name", .flags = PARAM_REQUIRED, .names = "/v1/vrfs"},
	END,
};

static const struct param nexthop_get[] = {
	{.value = "NAME|ID|ADDR", .json = "?nexthop", .flags = PARAM_REQUIRED, .help = "as `nexthop show` has it"},
	END,
};

static const struct param neighbor_get[] = {
	{.value = "ADDR", .json = "?address", .flags = PARAM_REQUIRED},
	{.key = "dev", .alias = "interface", .value = "IFACE", .json = "?interface", .names = "/v1/interfaces"},
	{.key = "vrf", .value = "NAME", .json = "?vrf", .names = "/v1/vrfs"},
	END,
};

static const struct param route_get[] = {
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

static const struct param nexthop_drain[] = {
	{.value = "NAME|ID|ADDR", .json = "?nexthop", .flags = PARAM_REQUIRED, .help = "as `nexthop show` has it"},
	END,
};

/* What every NAT rule takes. */
#define NAT_MORE                                                                                                                 \
	{.key = "timeouts",                                                                                                      \
	 .value = "KEY=TIME[,…]",                                                                                                \
	 .json = "timeouts",                                                                                                     \
	 .type = VALUE_MEMBERS,                                                                                                  \
	 .help = "tcp-established=2h,tcp-opening=1m,tcp-transitory=4m,udp=5m,icmp=60,other=10m"},                                \
		{.key = "on-delete",                                                                                             \
		 .value = "WHAT",                                                                                                \
		 .json = "on-delete",                                                                                            \
		 .choices = "end keep",                                                                                          \
		 .help = "what becomes of its connections when the rule goes"},                                                  \
		VRF

static const struct param nat_add_snat[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .help = "of the rule"},
	{.key = "from", .alias = "source", .value = "PREFIX", .json = "source", .help = "only packets from here"},
	{.key = "destination", .value = "PREFIX", .json = "destination", .help = "only packets to there"},
	{.key = "protocol", .value = "PROTO[,…]", .json = "protocol", .type = VALUE_ONE_OR_LIST, .help = "tcp, udp, icmp …"},
	{.key = "out",
	 .value = "IFACE[,…]",
	 .json = "out",
	 .type = VALUE_LIST,
	 .names = "/v1/interfaces",
	 .help = "leaving there"},
	{.key = "to",
	 .value = "WHAT",
	 .json = "to",
	 .type = VALUE_ONE_OR_LIST,
	 .flags = PARAM_REQUIRED,
	 .help = "masquerade, none, or ADDR[-ADDR][,…]"},
	{.key = "ports", .value = "LO-HI", .json = "ports", .help = "of the pool (1024-65535)"},
	{.key = "mapping",
	 .value = "HOW",
	 .json = "mapping",
	 .choices = "endpoint-independent address-and-port-dependent",
	 .help = "does a port look the same to every remote end"},
	{.key = "filtering",
	 .value = "WHOM",
	 .json = "filtering",
	 .choices = "endpoint-independent address-dependent address-and-port-dependent",
	 .help = "who outside may open a flow to a mapping"},
	{.key = "overload", .json = "overload", .help = "share ports when none is free"},
	{.key = "limit",
	 .value = "KEY=N[,…]",
	 .json = "limit",
	 .type = VALUE_MEMBERS,
	 .help = "of one inside host: sessions=N, ports=N"},
	NAT_MORE,
	CHANGE,
	END,
};

static const struct param nat_add_dnat[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .help = "of the rule"},
	{.key = "on",
	 .alias = "destination",
	 .value = "ADDR|IFACE",
	 .json = "destination",
	 .flags = PARAM_REQUIRED,
	 .names = "/v1/interfaces",
	 .help = "the address, or all of an interface"},
	{.key = "protocol", .value = "PROTO[,…]", .json = "protocol", .type = VALUE_ONE_OR_LIST, .help = "tcp, udp, or tcp,udp"},
	{.key = "port", .value = "PORT|LO-HI", .json = "port", .type = VALUE_NUMBER_OR_TEXT},
	{.key = "to",
	 .value = "ADDR[:PORT]",
	 .json = "to",
	 .flags = PARAM_REQUIRED,
	 .help = "the server behind; [ADDR]:PORT with IPv6"},
	{.key = "to-vrf", .value = "NAME", .json = "to-vrf", .help = "where the server is, if not in the rule's VRF"},
	NAT_MORE,
	CHANGE,
	END,
};

static const struct param nat_add_static[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .help = "of the rule"},
	{.key = "inside", .value = "PREFIX", .json = "inside", .flags = PARAM_REQUIRED, .help = "the hosts inside"},
	{.key = "outside",
	 .value = "PREFIX",
	 .json = "outside",
	 .flags = PARAM_REQUIRED,
	 .help = "what they are outside, address by address"},
	{.key = "out",
	 .value = "IFACE[,…]",
	 .json = "out",
	 .type = VALUE_LIST,
	 .names = "/v1/interfaces",
	 .help = "leaving there"},
	NAT_MORE,
	CHANGE,
	END,
};

static const struct param nat_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED},
	CHANGE,
	END,
};

static const struct param flow_file[] = {
	{.value = "FILE", .json = "file", .type = VALUE_FILE, .flags = PARAM_REQUIRED, .help = "its name"},
	END,
};

#define FILTER(more)                                                                                                             \
	{.value = "FILTER",                                                                                                      \
	 .json = "?filter",                                                                                                      \
	 .flags = PARAM_REST | (more),                                                                                           \
	 .choices = "proto src dst host sport dport port state rule vrf in out iface family age idle expires packets bytes "     \
		    "nat snat dnat ip ip6 tcp udp icmp icmp6 all and or not",                                                    \
	 .help = "see sluice-flow(7); quote ( ) < >. Words"}

static const struct param flow_list[] = {
	FILTER(0),
	{.key = "limit", .value = "N", .json = "?limit", .type = VALUE_NUMBER, .help = "at most so many"},
	END,
};

static const struct param flow_count[] = {
	FILTER(0),
	{.key = "by", .value = "WHAT", .json = "?by", .choices = "proto state rule vrf src dst in out", .help = "in groups"},
	{.key = "sort", .value = "WHAT", .json = "?sort", .choices = "flows packets bytes", .help = "groups by (flows)"},
	{.key = "limit", .value = "N", .json = "?limit", .type = VALUE_NUMBER, .help = "so many groups (20)"},
	END,
};

static const struct param flow_flush[] = {
	FILTER(PARAM_REQUIRED),
	END,
};

static const struct param flow_watch[] = {
	FILTER(0),
	END,
};

static const struct param fdb_add[] = {
	{.value = "MAC", .json = "mac", .flags = PARAM_REQUIRED},
	{.key = "vlan", .value = "ID", .json = "vlan", .type = VALUE_NUMBER, .flags = PARAM_REQUIRED},
	{.key = "port", .value = "NAME", .json = "port", .flags = PARAM_REQUIRED, .names = "/v1/ports"},
	CHANGE,
	END,
};

static const struct param fdb_delete[] = {
	{.value = "MAC", .json = "mac", .flags = PARAM_REQUIRED},
	{.key = "vlan", .value = "ID", .json = "vlan", .type = VALUE_NUMBER, .flags = PARAM_REQUIRED},
	CHANGE,
	END,
};

static const struct param fdb_flush[] = {
	{.key = "vlan", .value = "ID", .json = "?vlan", .type = VALUE_NUMBER, .help = "only of this VLAN"},
	{.key = "port", .value = "NAME", .json = "?port", .names = "/v1/ports", .help = "only behind this port"},
	END,
};

static const struct param neighbor_add[] = {
	{.value = "ADDR", .json = "address", .flags = PARAM_REQUIRED},
	{.key = "mac", .value = "MAC", .json = "mac", .flags = PARAM_REQUIRED},
	{.key = "dev",
	 .alias = "interface",
	 .value = "IFACE",
	 .json = "interface",
	 .flags = PARAM_REQUIRED,
	 .names = "/v1/interfaces"},
	CHANGE,
	END,
};

static const struct param neighbor_delete[] = {
	{.value = "ADDR", .json = "address", .flags = PARAM_REQUIRED},
	{.key = "dev",
	 .alias = "interface",
	 .value = "IFACE",
	 .json = "interface",
	 .flags = PARAM_REQUIRED,
	 .names = "/v1/interfaces"},
	CHANGE,
	END,
};

static const struct param counters_show[] = {
	{.key = "--check",
	 .alias = "check",
	 .json = "?check",
	 .fixed = "1",
	 .help = "add them up; exit code 1 when a sum does not hold"},
	END,
};

static const struct param config_show[] = {
	{.key = "format", .value = "FORMAT", .json = "?format", .choices = "yaml json", .help = "(yaml)"},
	END,
};

static const struct param file_change[] = {
	{.value = "FILE", .json = "file", .type = VALUE_FILE, .flags = PARAM_REQUIRED, .help = "YAML or JSON; -: stdin"},
	{.key = "--yes", .json = "?force", .fixed = "1", .help = "even when FILE has no ports, and takes all of them away"},
	CHANGE,
	END,
};

static const struct param file_only[] = {
	{.value = "FILE", .json = "file", .type = VALUE_FILE, .flags = PARAM_REQUIRED, .help = "YAML or JSON; -: stdin"},
	END,
};

static const struct param rollback[] = {
	{.value = "N", .json = "?steps", .type = VALUE_NUMBER, .help = "changes ago (1)"},
	END,
};

#define GET(path_, url_, print_, params_, help_)                                                                                 \
	{.path = path_, .method = "GET", .url = url_, .run = run_request, .print = print_, .params = params_, .help = help_}
#define ADD(path_, url_, params_, help_, example_)                                                                               \
	{.path = path_,                                                                                                          \
	 .method = "POST",                                                                                                       \
	 .url = url_,                                                                                                            \
	 .run = run_request,                                                                                                     \
	 .print = print_change,                                                                                                  \
	 .params = params_,                                                                                                      \
	 .help = help_,                                                                                                          \
	 .example = example_}
#define DELETE(path_, url_, params_, help_)                                                                                      \
	{.path = path_,                                                                                                          \
	 .method = "DELETE",                                                                                                     \
	 .url = url_,                                                                                                            \
	 .run = run_request,                                                                                                     \
	 .print = print_change,                                                                                                  \
	 .params = params_,                                                                                                      \
	 .help = help_}
#define DO(path_, url_, run_, print_, params_, help_)                                                                            \
	{.path = path_, .method = "POST", .url = url_, .run = run_, .print = print_, .params = params_, .help = help_}

const struct command commands[] = {
	GET("port show", "/v1/ports", print_ports, NULL, "ports, and why one is not attached"),
	ADD("port add", "/v1/ports", port_add, "attach a netdev, or all that match a glob",
	    "sluice port add eth1 mode trunk vlans 10,20,30-40 native 10"),
	DELETE("port delete", "/v1/ports", port_delete, "detach"),

	GET("vlan show", "/v1/vlans", print_vlans, NULL, "VLANs and their members"),
	ADD("vlan add", "/v1/vlans", vlan_add, "give a VLAN a name", "sluice vlan add 10 name web"),
	DELETE("vlan delete", "/v1/vlans", vlan_delete, "take a VLAN off the list"),

	GET("interface show", "/v1/interfaces", print_interfaces, interface_show, "L3 interfaces and their addresses"),
	GET("interface get", "/v1/interfaces", print_interfaces, interface_get, "one of them"),
	ADD("interface add", "/v1/interfaces", interface_add, "make a VLAN or a routed port a gateway",
	    "sluice interface add vlan10 vlan 10 address 10.0.10.1/24"),
	DELETE("interface delete", "/v1/interfaces", interface_delete, "take an interface away"),

	GET("vrf show", "/v1/vrfs", print_vrfs, vrf_show, "routing domains, their tables, interfaces, imports"),
	GET("vrf get", "/v1/vrfs", print_vrfs, vrf_get, "one of them"),
	{.path = "vrf add",
	 .method = "POST",
	 .url = "/v1/vrfs",
	 .run = run_request,
	 .print = print_change,
	 .params = vrf_add,
	 .hops = "import",
	 .help = "a routing domain of its own",
	 .example = "sluice vrf add blue table 102 import red prefix 10.0.0.0/8"},
	DELETE("vrf delete", "/v1/vrfs", vrf_delete, "take a VRF away"),

	{.path = "route show",
	 .method = "GET",
	 .url = "/v1/routes",
	 .run = run_routes,
	 .print = print_routes,
	 .params = route_show,
	 .help = "routes: of the configuration and of the kernel",
	 .example = "sluice route show root 10.0.0.0/8 protocol bgp via 192.0.2.2 limit 100"},
	ADD("route add", "/v1/routes", route_add, "add a static route",
	    "sluice route add 192.0.2.0/24 via 10.0.10.2 weight 2 nexthop via 10.0.20.2"),
	DELETE("route delete", "/v1/routes", route_delete, "take a static route away"),
	{.path = "route get",
	 .method = "GET",
	 .url = "/v1/routes/get",
	 .run = run_request,
	 .print = print_route_get,
	 .params = route_get,
	 .help = "how the first packet of a connection would go, and why",
	 .example = "sluice route get 198.51.100.7 from 10.0.10.5 iif vlan10 ipproto tcp sport 40000 dport 443"},

	GET("route audit", "/v1/routes/audit", print_audit, NULL, "whether FIB, RIB and kernel say the same; what differed"),

	GET("nexthop show", "/v1/nexthops", print_nexthops, nexthop_show, "gateways, their state and counters"),
	GET("nexthop get", "/v1/nexthops", print_nexthops, nexthop_get, "one of them, or those of a gateway"),
	GET("nexthop named", "/v1/nexthops/named", print_named, nexthop_named, "those of the configuration, groups among them"),
	ADD("nexthop add", "/v1/nexthops", nexthop_add, "give a nexthop, or a group of them, a name",
	    "sluice nexthop add uplinks group isp1,3/isp2"),
	ADD("nexthop replace", "/v1/nexthops/replace", nexthop_add,
	    "the same, also of a name that there is: all its routes follow",
	    "sluice nexthop replace uplinks group isp1/isp2/isp3"),
	DELETE("nexthop delete", "/v1/nexthops", nexthop_delete, "take a named one away that no route and no group needs"),
	DO("nexthop drain", "/v1/nexthops/drain", run_request, print_members, nexthop_drain,
	   "no new connections by it; those that are there stay"),
	DO("nexthop undrain", "/v1/nexthops/undrain", run_request, print_members, nexthop_drain, "new connections by it again"),

	GET("nat show", "/v1/nat", print_nat, NULL, "rules, and how full their pools are"),
	{.path = "nat add snat",
	 .method = "POST",
	 .url = "/v1/nat",
	 .run = run_request,
	 .print = print_change,
	 .params = nat_add_snat,
	 .help = "translate sources",
	 .example = "sluice nat add snat lan from 10.0.0.0/8 out eth0 to masquerade",
	 .type = "snat"},
	{.path = "nat add dnat",
	 .method = "POST",
	 .url = "/v1/nat",
	 .run = run_request,
	 .print = print_change,
	 .params = nat_add_dnat,
	 .help = "forward an address or a port to a server",
	 .example = "sluice nat add dnat web on eth0 protocol tcp port 443 to 10.0.10.80:8443",
	 .type = "dnat"},
	{.path = "nat add static",
	 .method = "POST",
	 .url = "/v1/nat",
	 .run = run_request,
	 .print = print_change,
	 .params = nat_add_static,
	 .help = "an address or prefix for another, both ways",
	 .example = "sluice nat add static mail inside 10.0.10.25 outside 203.0.113.25 out eth0",
	 .type = "static"},
	DELETE("nat delete", "/v1/nat", nat_delete, "take a rule away"),

	{.path = "flow list",
	 .method = "GET",
	 .url = "/v1/flows",
	 .run = run_flows,
	 .params = flow_list,
	 .help = "tracked connections",
	 .example = "sluice flow list proto tcp and dst 10.0.0.0/8 and state established"},
	{.path = "flow show",
	 .method = "GET",
	 .url = "/v1/flows",
	 .run = run_flows,
	 .params = flow_list,
	 .help = "the same as `flow list`"},
	{.path = "flow count",
	 .method = "GET",
	 .url = "/v1/flows/count",
	 .run = run_request,
	 .print = print_flow_count,
	 .params = flow_count,
	 .help = "how many there are; who has most",
	 .example = "sluice flow count in vlan10 by src sort bytes limit 10"},
	{.path = "flow watch",
	 .method = "GET",
	 .url = "/v1/flows/watch",
	 .run = run_flow_watch,
	 .params = flow_watch,
	 .help = "connections as they begin and end",
	 .example = "sluice flow watch udp and port 53"},
	{.path = "flow flush",
	 .method = "POST",
	 .url = "/v1/flows/flush",
	 .run = run_request,
	 .print = print_members,
	 .params = flow_flush,
	 .help = "end tracked connections; FILTER `all`: all of them",
	 .example = "sluice flow flush src 10.0.10.7"},
	{.path = "flow save",
	 .method = "GET",
	 .url = "/v1/flows/save",
	 .run = run_flow_save,
	 .params = flow_file,
	 .help = "write tracked connections and mappings into a file, for another gateway",
	 .example = "sluice flow save flows.jsonl"},
	{.path = "flow restore",
	 .method = "POST",
	 .url = "/v1/flows/restore",
	 .run = run_flow_restore,
	 .params = flow_file,
	 .help = "take over what another gateway has saved",
	 .example = "sluice flow restore flows.jsonl"},
	GET("flow tables", "/v1/flows/tables", print_members, NULL,
	    "how large their tables are, and what a flow and a mapping take"),

	GET("fdb show", "/v1/fdb", print_fdb, NULL, "stations, and behind which port"),
	ADD("fdb add", "/v1/fdb", fdb_add, "a station that neither moves nor ages",
	    "sluice fdb add 02:00:00:00:00:01 vlan 10 port eth1"),
	DELETE("fdb delete", "/v1/fdb", fdb_delete, "take a static station away"),
	DO("fdb flush", "/v1/fdb/flush", run_request, print_members, fdb_flush, "forget learned stations"),

	GET("neighbor show", "/v1/neighbors", print_neighbors, neighbor_show, "neighbours, as the kernel knows them"),
	GET("neighbor get", "/v1/neighbors", print_neighbors, neighbor_get, "one of them, on each interface that has it"),
	ADD("neighbor add", "/v1/neighbors", neighbor_add, "a neighbour that is not asked for",
	    "sluice neighbor add 10.0.10.7 mac 02:00:00:00:00:07 dev vlan10"),
	DELETE("neighbor delete", "/v1/neighbors", neighbor_delete, "take a static neighbour away"),

	{.path = "counters show",
	 .method = "GET",
	 .url = "/v1/counters",
	 .run = run_counters_check,
	 .print = print_counters,
	 .params = counters_show,
	 .help = "counters of the ports, drops and their reasons"},
	{.path = "config show",
	 .method = "GET",
	 .url = "/v1/config",
	 .run = run_config_show,
	 .params = config_show,
	 .help = "the running configuration"},

	DO("apply", "/v1/config", run_file, print_change, file_change, "make FILE the running configuration"),
	DO("confirm", "/v1/config/confirm", run_request, print_members, NULL, "keep the change that waits to be confirmed"),
	DO("rollback", "/v1/config/rollback", run_request, print_change, rollback, "go back to a former configuration"),
	DO("diff", "/v1/config/diff", run_file, print_diff, file_only, "what applying FILE would change"),
	{.path = "check",
	 .run = run_check,
	 .params = file_only,
	 .help = "whether FILE is a good configuration; needs no sluiced"},
	DO("save", "/v1/config/save", run_request, print_members, NULL, "write the running configuration into the file"),
	GET("status", "/v1/status", print_status, NULL, "sluiced: version, configuration, what failed"),
};

const size_t n_commands = sizeof(commands) / sizeof(commands[0]);
