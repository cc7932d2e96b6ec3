/* commands.h: what the grammar's parts share: the parameters of the commands stand in a file for each kind of nouns, the one
 * table of commands in commands.c.
 */
#ifndef SLUICE_CLI_COMMANDS_H
#define SLUICE_CLI_COMMANDS_H

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

/* A page of a listing. */
#define PAGE                                                                                                                     \
	{.key = "limit", .value = "N", .json = "?limit", .type = VALUE_NUMBER, .help = "at most so many, in order (0: all)"},    \
		{.key = "after", .value = "CURSOR", .json = "?after", .help = "the next ones; -j calls it `next`"}

/* commands_port.c */
extern const struct param port_add[];
extern const struct param port_delete[];
extern const struct param vlan_add[];
extern const struct param vlan_delete[];
extern const struct param interface_add[];
extern const struct param interface_delete[];
extern const struct param vrf_add[];
extern const struct param vrf_delete[];
extern const struct param interface_show[];
extern const struct param interface_get[];
extern const struct param vrf_show[];
extern const struct param vrf_get[];

/* commands_route.c */
extern const struct param route_add[];
extern const struct param route_delete[];
extern const struct param route_show[];
extern const struct param nexthop_show[];
extern const struct param nexthop_add[];
extern const struct param nexthop_delete[];
extern const struct param nexthop_named[];
extern const struct param neighbor_show[];
extern const struct param nexthop_get[];
extern const struct param neighbor_get[];
extern const struct param route_get[];
extern const struct param nexthop_drain[];
extern const struct param neighbor_add[];
extern const struct param neighbor_delete[];

/* commands_nat.c */
extern const struct param nat_add_snat[];
extern const struct param nat_add_dnat[];
extern const struct param nat_add_static[];
extern const struct param nat_delete[];
extern const struct param flow_file[];
extern const struct param flow_list[];
extern const struct param flow_count[];
extern const struct param flow_flush[];
extern const struct param flow_watch[];

#endif
