/* commands_nat.c: the parameters of what is done with NAT and flows; see commands.h. */
#include "commands.h"

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
		{.key = "before",                                                                                                \
		 .value = "RULE",                                                                                                \
		 .json = "before",                                                                                               \
		 .names = "/v1/nat",                                                                                             \
		 .help = "it stands before this rule: of several that match the first one counts"},                              \
		{.key = "after",                                                                                                 \
		 .value = "RULE",                                                                                                \
		 .json = "after",                                                                                                \
		 .names = "/v1/nat",                                                                                             \
		 .help = "behind this one (behind all rules)"},                                                                  \
		VRF

#define NAT_NAME {.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .help = "of the rule"}
#define NAT_OUT                                                                                                                  \
	{.key = "out",                                                                                                           \
	 .value = "IFACE[,…]",                                                                                                   \
	 .json = "out",                                                                                                          \
	 .type = VALUE_LIST,                                                                                                     \
	 .names = "/v1/interfaces",                                                                                              \
	 .help = "leaving there"}

const struct param nat_add_snat[] = {
	NAT_NAME,
	{.key = "from", .alias = "source", .value = "PREFIX", .json = "source", .help = "only packets from here"},
	{.key = "destination", .value = "PREFIX", .json = "destination", .help = "only packets to there"},
	{.key = "protocol", .value = "PROTO[,…]", .json = "protocol", .type = VALUE_ONE_OR_LIST, .help = "tcp, udp, icmp …"},
	NAT_OUT,
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

const struct param nat_add_dnat[] = {
	NAT_NAME,
	{.key = "on",
	 .alias = "destination",
	 .value = "ADDR|IFACE",
	 .json = "destination",
	 .flags = PARAM_REQUIRED,
	 .names = "/v1/interfaces",
	 .help = "the address, or all of an interface"},
	{.key = "protocol", .value = "PROTO[,…]", .json = "protocol", .type = VALUE_ONE_OR_LIST, .help = "tcp, udp, or tcp,udp"},
	{.key = "port",
	 .value = "PORT|LO-HI",
	 .json = "port",
	 .type = VALUE_NUMBER_OR_TEXT,
	 .help = "of the connections (all); a range shifts along"},
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

const struct param nat_add_static[] = {
	NAT_NAME,
	{.key = "inside", .value = "PREFIX", .json = "inside", .flags = PARAM_REQUIRED, .help = "the hosts inside"},
	{.key = "outside",
	 .value = "PREFIX",
	 .json = "outside",
	 .flags = PARAM_REQUIRED,
	 .help = "what they are outside, address by address"},
	NAT_OUT,
	NAT_MORE,
	CHANGE,
	END,
};

const struct param nat_delete[] = {
	{.value = "NAME", .json = "name", .flags = PARAM_REQUIRED, .names = "/v1/nat"},
	CHANGE,
	END,
};

const struct param flow_file[] = {
	{.value = "FILE", .json = "file", .type = VALUE_FILE, .flags = PARAM_REQUIRED, .help = "its name"},
	END,
};

#define FILTER(more)                                                                                                             \
	{.value = "FILTER",                                                                                                      \
	 .json = "?filter",                                                                                                      \
	 .flags = PARAM_REST | (more),                                                                                           \
	 .choices = "proto src dst host net sport dport port state rule vrf in out iface family age idle expires packets bytes " \
		    "nat snat dnat ip ip6 tcp udp icmp icmp6 sctp gre esp all and or not",                                       \
	 .help = "see sluice-flow(7); quote ( ) < >. Words"}

const struct param flow_list[] = {
	FILTER(0),
	{.key = "limit", .value = "N", .json = "?limit", .type = VALUE_NUMBER, .help = "at most so many (0: all)"},
	END,
};

const struct param flow_count[] = {
	FILTER(0),
	{.key = "by", .value = "WHAT", .json = "?by", .choices = "proto state rule vrf src dst in out", .help = "in groups"},
	{.key = "sort", .value = "WHAT", .json = "?sort", .choices = "flows packets bytes", .help = "groups by (flows)"},
	{.key = "limit", .value = "N", .json = "?limit", .type = VALUE_NUMBER, .help = "so many groups (20)"},
	END,
};

const struct param flow_flush[] = {
	FILTER(PARAM_REQUIRED),
	END,
};

const struct param flow_watch[] = {
	FILTER(0),
	END,
};
