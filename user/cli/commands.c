/* commands.c: the grammar of `sluice`, the one table that parsing, usage, completion and the manual's synopsis follow.
 */
#include "commands.h"

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
#define ADD_HOPS(path_, url_, params_, hops_, help_, example_)                                                                   \
	{.path = path_,                                                                                                          \
	 .method = "POST",                                                                                                       \
	 .url = url_,                                                                                                            \
	 .run = run_request,                                                                                                     \
	 .print = print_change,                                                                                                  \
	 .params = params_,                                                                                                      \
	 .hops = hops_,                                                                                                          \
	 .help = help_,                                                                                                          \
	 .example = example_}
#define ADD(path_, url_, params_, help_, example_) ADD_HOPS(path_, url_, params_, NULL, help_, example_)
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
	ADD("interface replace", "/v1/interfaces/replace", interface_add,
	    "the same, also of one that there is: what uses it stays",
	    "sluice interface replace vlan10 vlan 10 address 10.0.10.1/24 mss clamp"),
	DELETE("interface delete", "/v1/interfaces", interface_delete, "take an interface away"),

	GET("vrf show", "/v1/vrfs", print_vrfs, vrf_show, "routing domains, their tables, interfaces, imports"),
	GET("vrf get", "/v1/vrfs", print_vrfs, vrf_get, "one of them"),
	ADD_HOPS("vrf add", "/v1/vrfs", vrf_add, "import", "a routing domain of its own",
		 "sluice vrf add blue table 102 import red prefix 10.0.0.0/8"),
	ADD_HOPS("vrf replace", "/v1/vrfs/replace", vrf_add, "import", "the same, also of one that there is: what uses it stays",
		 "sluice vrf replace blue table 102,103"),
	DELETE("vrf delete", "/v1/vrfs", vrf_delete, "take a VRF away"),

	{.path = "route show",
	 .method = "GET",
	 .url = "/v1/routes",
	 .run = run_routes,
	 .print = print_routes,
	 .params = route_show,
	 .help = "routes: of the configuration and of the kernel",
	 .example = "sluice route show root 10.0.0.0/8 protocol bgp via 192.0.2.2 limit 100"},
	{.path = "route list",
	 .method = "GET",
	 .url = "/v1/routes",
	 .run = run_routes,
	 .print = print_routes,
	 .params = route_show,
	 .help = "the same as `route show`"},
	ADD("route add", "/v1/routes", route_add, "add a static route",
	    "sluice route add 192.0.2.0/24 via 10.0.10.2 weight 2 nexthop via 10.0.20.2"),
	ADD("route replace", "/v1/routes/replace", route_add, "the same, also of one with this prefix, VRF, metric and distance",
	    "sluice route replace 192.0.2.0/24 via 10.0.10.2 mtu 1400"),
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
