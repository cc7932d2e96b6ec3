/* model.h: the configuration as the one in-memory model that the file, the API and the CLI all build.
 *
 * A model is complete and immutable once checked. A change is a whole new model: model_copy(), edit, model_check(), then
 * commit (commit.h) makes it the running one or leaves the old one in force. Every item remembers where it was written, so
 * that an error names file, line and key. Names are NUL-terminated; optional numbers are 0 when unset unless said otherwise.
 */
#ifndef SLUICE_MODEL_H
#define SLUICE_MODEL_H

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sluice/abi.h>
#include "err.h"
#include "text.h"

enum xdp_want { XDP_WANT_AUTO, XDP_WANT_NATIVE, XDP_WANT_GENERIC, XDP_WANT_OFF };

/* ports: {NAME_OR_GLOB: {mode, vlan | vlans, native, protocol, xdp}} */
struct port_cfg {
	struct where where;
	char name[IFNAMSIZ]; /* a netdev's name, or a glob (fnmatch(3): * ? [...]) */
	bool glob;
	uint8_t mode;		       /* enum port_mode: PORT_ACCESS, PORT_TRUNK, PORT_ROUTED, PORT_OBSERVE */
	uint16_t native;	       /* access: its VLAN; trunk: native VLAN or 0 */
	__be16 tpid;		       /* ETH_P_8021Q or ETH_P_8021AD, wire order */
	uint8_t xdp;		       /* enum xdp_want */
	uint64_t vlans[VLAN_IDS / 64]; /* trunk: what it carries, native included; access: its VLAN's bit */
};

/* vlans: {ID: {name}}. A VLAN that a port or an interface names exists without being listed here. */
struct vlan_cfg {
	struct where where;
	uint16_t id;
	char name[SLUICE_LABEL];
};

enum rpf { RPF_OFF, RPF_LOOSE, RPF_STRICT };

/* interfaces: {NAME: {vlan: ID | port: NAME, addresses: [...], mac, mtu, vrf, rpf, mss, directed-broadcast}} */
struct iface_cfg {
	struct where where;
	char name[IFNAMSIZ];	/* of a VLAN's interface: the host netdev's name (at most 12 characters) */
	uint16_t vlan;		/* 0: routed port */
	char port[IFNAMSIZ];	/* routed: the port, same as `name` */
	char vrf[SLUICE_LABEL]; /* "default" */
	struct prefix *addrs;	/* host bits kept: 10.0.10.1/24 */
	size_t n_addrs;
	bool has_mac;
	uint8_t mac[6];
	uint32_t mtu; /* 0: the netdev's */
	uint8_t rpf;  /* enum rpf */
	uint16_t mss; /* 0: any; IFACE_MSS_CLAMP */
	bool directed_broadcast;
};

/* The routes of `vrf` that the first of its prefixes to match permits; without prefixes all. */
struct import_cfg {
	char vrf[SLUICE_LABEL];
	uint32_t first, n; /* in vrf_cfg.prefixes */
};

#define VRF_TABLES 16

/* vrfs: {NAME: {table: N | [N...], import: [VRF | {vrf, prefixes: ["10.0.0.0/8 le 24", "deny ..."]}]}}: `default` always exists
 * (tables main and local). */
struct vrf_cfg {
	struct where where;
	char name[SLUICE_LABEL];
	uint32_t tables[VRF_TABLES]; /* the kernel's routing tables mirrored into it, the first one preferred */
	size_t n_tables;
	struct import_cfg *imports; /* an earlier one is preferred */
	size_t n_imports;
	struct prefix_filter *prefixes;
	size_t n_prefixes;
};

struct nexthop_cfg {
	struct addr gateway;
	uint8_t family;	      /* 0: no gateway, `iface` alone (connected) */
	char iface[IFNAMSIZ]; /* "": the interface whose prefix holds the gateway */
	uint16_t weight;      /* 1..256 */
	bool onlink;
	bool recursive; /* another route leads to the gateway; as long as none does, this one is not in force */
};

/* A member of a named group. */
struct member_cfg {
	char name[SLUICE_LABEL];
	uint16_t weight;	       /* 1..256 */
	const struct named_cfg *named; /* it (model_link()); NULL: none of this name */
};

/* nexthops: {NAME: {address, interface, onlink, recursive} | {type: blackhole | unreachable | prohibit} | {group: [NAME |
 * {nexthop, weight}]}} */
struct named_cfg {
	struct where where;
	char name[SLUICE_LABEL];
	uint8_t type;		    /* as of a route */
	struct nexthop_cfg own;	    /* neither a group nor one that leads nowhere: itself */
	struct member_cfg *members; /* of a group */
	size_t n_members;
	struct nexthop_cfg *ways; /* what it means for a route: itself, or its members (model_link()) */
	size_t n_ways;
};

/* routes: [{to, via: ADDR | [ADDR | {address, interface, weight, onlink, recursive}] | nexthop: NAME, type, vrf, metric,
 * distance, mtu}] */
struct route_cfg {
	struct where where;
	struct prefix to;
	uint8_t type; /* enum nexthop_type: NEXTHOP_GATEWAY, or BLACKHOLE, UNREACHABLE, PROHIBIT */
	char vrf[SLUICE_LABEL];
	uint32_t metric;
	uint8_t distance;	       /* administrative distance; static: 1 */
	uint32_t mtu;		       /* of the path; 0: the interface's */
	char nexthop[SLUICE_LABEL];    /* the name of one, or of a group, that the route leads by; "": none */
	const struct named_cfg *named; /* it (model_link()); NULL: none, or none of this name */
	struct nexthop_cfg *nexthops;  /* the named one's own, if it leads by one: then not to be freed */
	size_t n_nexthops;
};

enum nat_type { NAT_SNAT = 1, NAT_DNAT = 2, NAT_STATIC = 3 };
enum nat_to { NAT_TO_POOL = 1, NAT_TO_MASQUERADE = 2, NAT_TO_NONE = 3 /* exempt */ };

/* An inclusive range of addresses of one family. */
struct addr_range {
	struct addr first, last;
	uint8_t family;
};

/* Seconds of silence for the flows of one rule; 0: as in the settings. */
struct nat_timeouts {
	uint32_t tcp_established_s, tcp_opening_s, tcp_transitory_s, udp_s, icmp_s, other_s;
};

/* nat: [{name, type: snat, source, destination, protocol, out: [IFACE...], to: masquerade | none | ADDR | RANGE | [..], ports:
 * LO-HI, vrf} {name, type: dnat, destination: ADDR | IFACE, protocol: tcp|udp|[tcp, udp], port: P | LO-HI, to: ADDR[:PORT],
 * to-vrf, vrf} {name, type: static, inside: PREFIX, outside: PREFIX, out, vrf}], with mapping, filtering, overload, limit,
 * timeouts */
struct nat_cfg {
	struct where where;
	char name[SLUICE_LABEL];
	uint8_t type; /* enum nat_type */
	char vrf[SLUICE_LABEL];
	struct prefix source, destination; /* family 0: any */
	uint8_t protocols[4];		   /* IPPROTO_*; n_protocols 0: any (snat), every port-less use (dnat) */
	size_t n_protocols;
	/* snat */
	char (*out)[IFNAMSIZ]; /* egress interfaces; n_out 0: any */
	size_t n_out;
	uint8_t to_kind; /* enum nat_to */
	struct addr_range *pool;
	size_t n_pool;
	uint16_t port_min, port_max; /* of the pool: default 1024..65535 */
	/* dnat */
	char dest_iface[IFNAMSIZ];     /* instead of `destination`: every address of that interface */
	uint16_t dport_min, dport_max; /* 0: the whole address */
	struct addr to;
	uint8_t to_family;
	uint16_t to_port;	   /* of dport_min; 0: unchanged; a range shifts along */
	char to_vrf[SLUICE_LABEL]; /* where `to` is; "": in `vrf` */
	/* static: `source` is the inside prefix, and `out` as for snat */
	struct prefix outside; /* as long as `source` */
	/* all */
	uint8_t mapping, filtering; /* enum nat_mapping_type, nat_filtering */
	bool keep;		    /* on-delete: the rule's flows outlive it */
	bool overload;
	uint32_t limit_sessions, limit_ports; /* of one inside host; 0: none */
	struct nat_timeouts timeouts;
};

/* fdb: [{mac, vlan, port}] */
struct fdb_cfg {
	struct where where;
	uint8_t mac[6];
	uint16_t vlan;
	char port[IFNAMSIZ];
};

/* neighbors: [{address, mac, interface}] */
struct neighbor_cfg {
	struct where where;
	struct addr addr;
	uint8_t family;
	uint8_t mac[6];
	char iface[IFNAMSIZ];
};

#define TABLE_MIN 16 /* elements of a table of tables: {...} */

/* settings: {fdb-ageing, hash-seed, icmp-rate, neighbor-rate, ecmp-hash: l3|l4|symmetric, flow-accounting, flow-timeouts: {...}},
 * tables: {flows, flows6, fdb, neighbors, routes4, routes6} */
#define HOST_NETDEVS 16

struct settings_cfg {
	struct where where;
	uint32_t fdb_ageing_s;			   /* 300 (802.1Q 8.8.3) */
	uint32_t hash_seed;			   /* 0: chosen at first start and kept */
	uint32_t icmp_rate;			   /* 1000 a second */
	uint32_t neighbor_rate;			   /* 64 a second, on each interface */
	uint32_t frag_held;			   /* 256: fragments that wait for their first one, at once */
	uint32_t frag_hold_s;			   /* 2 */
	uint8_t ecmp_hash;			   /* enum ecmp_hash; ECMP_L4 */
	uint32_t ecmp_idle_s;			   /* 120: when a drained nexthop's bucket counts as idle */
	uint32_t ecmp_unbalanced_s;		   /* 0 (never): when it goes in any case */
	uint32_t tcp_established_s;		   /* 7440 (RFC 5382 REQ-5) */
	uint32_t tcp_opening_s;			   /* 0: as tcp_transitory_s (RFC 7857 2.1) */
	uint32_t tcp_transitory_s;		   /* 240 */
	uint32_t udp_s;				   /* 300 (RFC 4787 REQ-5) */
	uint32_t icmp_s;			   /* 60 (RFC 5508 REQ-2) */
	uint32_t other_s;			   /* 600 */
	char nat_log_file[256];			   /* "": none */
	char host_netdevs[HOST_NETDEVS][IFNAMSIZ]; /* names and globs of netdevs by which the host routes */
	size_t n_host_netdevs;
	struct where nat_log_where; /* of the file; line 0: none is named */
	bool nat_log_syslog;
	bool flows_uncounted;		   /* false: packets and bytes are counted for each flow */
	uint32_t max_flows;		   /* IPv4 connections. 1048576, less where memory is small: model_flows_default() */
	uint32_t max_flows6;		   /* IPv6 connections. A quarter of max_flows */
	uint32_t max_fdb;		   /* 65536 */
	uint32_t max_neighbors;		   /* 65536 */
	uint32_t max_routes4, max_routes6; /* 1048576, 262144 */
	uint32_t max_half;		   /* pairs that wait for an answer; 0: half of max_flows */
	struct where
		sizes_where[7]; /* of the sizes: flows, fdb, neighbors, routes4, routes6, flows6, half-open; line 0: not given */
};

struct model {
	struct settings_cfg settings;
	struct port_cfg *ports;
	size_t n_ports;
	struct vlan_cfg *vlans;
	size_t n_vlans;
	struct iface_cfg *ifaces;
	size_t n_ifaces;
	struct vrf_cfg *vrfs; /* [0] is always `default` */
	size_t n_vrfs;
	struct named_cfg *nexthops;
	size_t n_nexthops;
	struct route_cfg *routes;
	size_t n_routes;
	struct nat_cfg *nats;
	size_t n_nats;
	struct fdb_cfg *fdbs;
	size_t n_fdbs;
	struct neighbor_cfg *neighbors;
	size_t n_neighbors;
};

struct model *model_new(void);	  /* the defaults, empty lists, vrf `default` */
void model_free(struct model *m); /* accepts NULL */
/* What tables.flows and tables.flows6 are by default, on a machine with so much memory: their tables take a sixteenth of it at
 * most. */
uint32_t model_flows_default(uint64_t memory);
uint32_t model_flows6_default(uint32_t flows);
struct model *model_copy(const struct model *m);

/* YAML or JSON text (JSON is YAML) -> model. Unknown and doubled keys, wrong types and values out of range are errors with
 * line and key; all are gathered. `file` names the source in messages. Also runs model_check(). NULL on error. */
struct model *model_parse(const char *text, size_t len, const char *file, struct errs *errs);
struct model *model_load(const char *path, struct errs *errs);

/* What no single key shows: overlapping addresses in a VRF, one port matched twice, nexthops that no interface reaches,
 * interfaces of absent VLANs or ports, DNAT collisions, pool sizes … 0 or -EINVAL. */
int model_check(const struct model *m, struct errs *errs);
/* What of a good model this machine does not have, so that a sluiced here would refuse it: -EINVAL. `running` (NULL: none): what
 * of it is in force already is not asked for. */
int model_check_here(const struct model *m, const struct model *running, struct errs *errs);
/* What of a good model may surprise who wrote it: appended, a line each. `running` (NULL: none): what it does as well is not
 * said. */
void model_notes(const struct model *m, const struct model *running, struct errs *ret);

/* The model in the schema of the file; only what differs from the defaults. */
json_t *model_json(const struct model *m);
json_t *nat_json(const void *rule); /* likewise, of one struct nat_cfg */
/* The same as YAML text (caller frees): parsing it gives an equal model. */
char *model_yaml(const struct model *m);

/* One item of a noun added to or taken from a model (for `sluice route add …`). `noun` is the key of the list in the schema
 * ("ports", "vlans", "interfaces", "nexthops", "routes", "nat", "fdb", "neighbors"); `item` is its JSON in that schema (for the
 * mappings "ports", "vlans", "interfaces": with the key as "name"/"id"). Adding one that exists: -EEXIST; removing one that does
 * not: -ENOENT; one that others need: -EBUSY; all with words. For removal only what identifies the item need be given. A NAT rule
 * goes behind the others, or where its members `before` or `after` say (the name of another rule). Call model_check() afterwards.
 */
int model_add(struct model *m, const char *noun, const json_t *item, const char *source, struct errs *errs);
/* The same, in the place of the one that there may be. What uses that one uses this one then. */
int model_replace(struct model *m, const char *noun, const json_t *item, const char *source, struct errs *errs);
int model_remove(struct model *m, const char *noun, const json_t *item, const char *source, struct errs *errs);

/* What leads from one model to the other, in a stable order, in words and as JSON:
 * [{"op": "add"|"delete"|"change", "noun": "port", "name": "eth1", "old": {...}, "new": {...}}]. Empty array: equal. */
json_t *model_diff(const struct model *old, const struct model *new);
/* As text, one line a change: "+ port eth1 mode trunk vlans 10,20", "- route …", "~ interface vlan10 mtu 1500 -> 9000". */
char *model_diff_text(const json_t *diff);

/* Look-ups. NULL when absent. model_port_for() gives the entry that matches a netdev's name: an exact name wins over a glob;
 * *ret_other is a second glob that matches too (an error for that netdev) or NULL. */
const struct port_cfg *model_port_for(const struct model *m, const char *netdev, const struct port_cfg **ret_other);
const struct iface_cfg *model_iface(const struct model *m, const char *name);
const struct vrf_cfg *model_vrf(const struct model *m, const char *name);
const struct named_cfg *model_nexthop(const struct model *m, const char *name);
const char *model_ecmp_hash_name(uint32_t policy); /* enum ecmp_hash, as the configuration writes it */
/* The VRF of the addresses that a rule gives out or answers for: of a source rule that of the interfaces it names. */
const char *model_nat_vrf_outside(const struct model *m, const struct nat_cfg *rule);
/* A range of ports is taken apart into blocks, each of 2^n ports of which the first is a multiple of that. n of the block at its
 * beginning; `first` is not 0. */
unsigned model_nat_block(unsigned first, unsigned last);
/* What is said where the table of dnat rules has not room enough; takes how many entries (%d) it has for them. */
#define MODEL_NAT_DNAT_FULL                                                                                                      \
	"the dnat rules take more than the %d places of their table, one for each address, protocol and port or block of ports " \
	"(80-95 is one, 1-65535 are 16): write fewer, or ranges in place of single ports"
json_t *model_vrf_imports(const struct vrf_cfg *c); /* [{"vrf", "prefixes": ["10.0.0.0/8 le 24"…]}]; without prefixes: all */

#endif
