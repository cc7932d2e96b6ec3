/* commands_port.c: the parameters of what is done with ports, VLANs, interfaces and VRFs; see commands.h. */
#include "commands.h"

const struct param port_add[] = {
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

const struct param port_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/ports"},
	CHANGE,
	END,
};

const struct param vlan_add[] = {
	{.value = "ID", .json = "id", .type = VALUE_NUMBER, .flags = PARAM_REQUIRED},
	{.key = "name", .value = "NAME", .json = "name"},
	CHANGE,
	END,
};

const struct param vlan_delete[] = {
	{.value = "ID", .json = "id", .type = VALUE_NUMBER, .flags = PARAM_REQUIRED},
	CHANGE,
	END,
};

const struct param interface_add[] = {
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

const struct param interface_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/interfaces"},
	CHANGE,
	END,
};

const struct param vrf_add[] = {
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
	 .value = "FILTER[,…]",
	 .json = "prefixes",
	 .type = VALUE_FILTERS,
	 .flags = PARAM_HOP | PARAM_REPEAT,
	 .help = "only these: 10.0.0.0/8; 10.0.0.0/8 ge 16 le 24; deny 10.9.0.0/16, permit …: the first that matches"},
	CHANGE,
	END,
};

const struct param vrf_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/vrfs"},
	CHANGE,
	END,
};

const struct param interface_show[] = {
	{.value = "NAME", .json = "?name", .names = "/v1/interfaces"},
	{.key = "vrf", .value = "NAME", .json = "?vrf"},
	{.key = "vlan", .value = "ID", .json = "?vlan", .type = VALUE_NUMBER},
	{.key = "state", .value = "STATE", .json = "?state", .choices = "up down absent"},
	PAGE,
	END,
};

const struct param interface_get[] = {
	{.value = "NAME", .json = "?name", .flags = PARAM_REQUIRED, .names = "/v1/interfaces"},
	END,
};

const struct param vrf_show[] = {
	{.value = "NAME", .json = "?name", .names = "/v1/vrfs"},
	END,
};

const struct param vrf_get[] = {
	{.value = "NAME", .json = "?name", .flags = PARAM_REQUIRED, .names = "/v1/vrfs"},
	END,
};
