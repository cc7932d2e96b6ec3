/* sw.h: the running switch: what every noun of sluiced works on.
 *
 * Reconciliation. Each noun turns (running model, mirror) into the content of its own tables, compares with what the tables
 * hold, and writes the difference: NOUN_reconcile(). It is idempotent, so the same function serves the first start, a
 * commit, its roll-back (reconcile with the old model), a netlink event, and the adoption of pinned maps after a restart:
 * there is no other way a table is written. Identifiers (port, interface, pool) are kept in the tables beside the names, so
 * that a restarted sluiced gives the same names the same numbers. reconcile() returns -errno with words when the kernel or a
 * full table refuses; the commit then rolls back.
 *
 * Order (commit.c): vrf → iface (netdevs) → port → vlan → iface (tables) → fdb → neighbor → route → vrf (the host's part) → nat →
 * flow.
 */
#ifndef SLUICE_SW_H
#define SLUICE_SW_H

#include <event2/event.h>
#include <jansson.h>
#include "datapath.h"
#include "err.h"
#include "http.h"
#include "mirror.h"
#include "model.h"
#include "netlink.h"
#include "table.h"

struct events;	    /* events.c */
struct ports;	    /* port.c: netdev -> port id, attachment, waiting and refused ports */
struct vrfs;	    /* vrf.c */
struct vrf_host;    /* vrf_host.c */
struct rules_other; /* rules_other.c */
struct ifaces;	    /* iface.c */
struct cut;	    /* cut.c */
struct rib;	    /* rib.c */
struct routes;	    /* route.c */
struct nat;	    /* nat.c */
struct flows;	    /* flow.c */
struct resize;	    /* resize.c */
struct fdb;	    /* fdb.c */
struct neighbors;   /* neighbor.c */

struct sw {
	const char *instance;
	const char *dir; /* of what outlives the process, and not the machine; NULL: nothing does */
	struct event_base *base;
	struct model *model; /* the running one; never NULL */
	struct datapath *dp;
	struct mirror *mirror;
	struct netlink *nl;
	struct neigh_ask *asks;
	struct control *control; /* mmap-ed */
	struct events *events;	 /* NULL: nobody waits for events */
	const char *route_notes; /* host_notes.h: the file; NULL: none is kept */

	struct vrfs *vrfs;
	struct vrf_host *vrf_host;
	struct rules_other *rules_other;
	struct ports *ports;
	struct ifaces *ifaces;
	struct cut *cut;
	struct fdb *fdb;
	struct neighbors *neighbors;
	struct rib *rib;
	struct routes *routes;
	struct nat *nat;
	struct flows *flows;
	struct resize *resize;
};

/* Raises the epoch: decisions written in flow entries are made again. Cheap; for every change that may alter one. */
void sw_epoch(struct sw *sw);

/* ---- every noun: NOUN_open() allocates its state and reads back what the tables hold (never writes); NOUN_close() frees it,
 * and takes NULL. */

/* port.c: attaches to netdevs as they appear and match; port ids. */
int port_open(struct sw *sw, struct errs *errs);
void port_close(struct sw *sw);
int port_reconcile(struct sw *sw, struct errs *errs);
uint16_t port_id(const struct sw *sw, const char *netdev);	 /* 0: not attached */
const char *port_name(const struct sw *sw, uint16_t id);	 /* as it is shown; NULL: none */
const struct port *port_entry(const struct sw *sw, uint16_t id); /* as the table has it; NULL: a free slot */
/* [{"name", "id", "ifindex", "mode", "vlan" | "vlans", "native", "state": "attached"|"waiting"|"refused", "reason", "tc", "xdp",
 *   "note", "link": "up"|"down", "counters": {...}}]; configured globs without a netdev are shown as waiting. */
json_t *port_show(struct sw *sw);

/* vrf.c: ids of VRFs, stable by name; an id that was freed is given away again when nothing remembers it. */
int vrf_open(struct sw *sw, struct errs *errs);
void vrf_close(struct sw *sw);
/* The ids of a version that numbered VRFs by their order in the list: before the first reconciliation. */
void vrf_adopt(struct sw *sw, const struct model *former);
int vrf_reconcile(struct sw *sw, struct errs *errs);
uint16_t vrf_id(const struct sw *sw, const char *name); /* of the running configuration; 0: `default`, or there is none */
const char *vrf_name(const struct sw *sw, uint16_t id); /* NULL: none, not even one that drains */
bool vrf_alive(const struct sw *sw, uint16_t id);	/* in the running configuration */
/* Whose a kernel's table is, and its place in that VRF's list; false: nobody's. */
bool vrf_of_table(const struct sw *sw, uint32_t table, uint16_t *ret_vrf, uint8_t *ret_rank);
/* [{"name", "id", "state": "active", "tables": [N…], "interfaces": [NAME…], "routes": {"ipv4", "ipv6", "imported"}, "import":
 * [{"vrf", "prefixes": [TEXT…]}]}, {"name", "id", "state": "draining"}] */
json_t *vrf_show(struct sw *sw);
/* The mark of what the host gets of the VRF; 0: none. */
uint32_t vrf_mark_get(const struct sw *sw, uint16_t id);
void vrf_mark_set(struct sw *sw, uint16_t id, uint32_t mark);
/* vrf_host.c: the host's answers in VRFs that have a table leave by that VRF. After the routes. Some requests to the kernel a
 * call, none when nothing has changed; -EAGAIN without words: to be called once more for the rest. */
int vrf_host_open(struct sw *sw, struct errs *errs);
void vrf_host_close(struct sw *sw);
int vrf_host_reconcile(struct sw *sw, struct errs *errs);
void vrf_host_rules_changed(struct sw *sw); /* somebody else has changed a routing rule: they are read again by the next call */
void vrf_host_apart(const struct sw *sw, bool ret[VRF_MAX]); /* which they are, by id */
bool vrf_device_has(const struct sw *sw, int ifindex);	     /* is the netdev in a VRF device of the kernel's? */
/* Some VRF is gone and its id not free yet: a pass over all flows and mappings, with these three in it, makes it so. */
bool vrf_draining(const struct sw *sw);
void vrf_pass_begin(struct sw *sw);
int vrf_pass_fragments(struct sw *sw, void **cursor, size_t max); /* as table_each_some() */
void vrf_pass_end(struct sw *sw);

/* vlan.c: `vlans` and `vlan_members`. */
int vlan_reconcile(struct sw *sw, struct errs *errs);
/* Before port `id` becomes `next`: it leaves the VLANs that it will not carry any more, or will carry with another tag. So no
 * frame of the old VLAN leaves by a port that is in the new one already. */
int vlan_leave(struct sw *sw, uint16_t id, const struct port *next);
json_t *vlan_show(struct sw *sw);

/* iface.c: host netdevs of VLAN interfaces (iface_netdevs, before the ports), then addresses and the table `ifaces`. */
int iface_open(struct sw *sw, struct errs *errs);
void iface_close(struct sw *sw);
int iface_netdevs(struct sw *sw, struct errs *errs);
int iface_reconcile(struct sw *sw, struct errs *errs);
uint16_t iface_id(const struct sw *sw, const char *name);    /* 0: none */
uint16_t iface_id_by_host(const struct sw *sw, int ifindex); /* by the netdev that bears the addresses */
const char *iface_name(const struct sw *sw, uint16_t id);
int iface_get(const struct sw *sw, uint16_t id, struct iface *ret); /* as the table has it; -ENOENT */
int iface_host_ifindex(const struct sw *sw, uint16_t id);	    /* 0: the netdev is not there */
bool iface_any_former(const struct sw *sw);			    /* from a life before, until the first reconciliation */
bool iface_usable(const struct sw *sw, uint16_t id);		    /* netdev there, up, with carrier */
/* What an earlier configuration put on netdevs (addresses) is sluiced's to take away: called after iface_open() and before the
 * first reconciliation when the switch starts with another model than it ran with. */
void iface_adopt(struct sw *sw, const struct model *former);
/* A check of the reverse path, where the administrator has one, looks into the tables of VRFs that have a mark, if any. */
void iface_valid_marks(struct sw *sw, bool any);
/* The switch's end of a VLAN interface's veth pair: its ifindex, its name and MTU; 0: there is none. */
int iface_switch_end(const struct sw *sw, const char *iface, char ret_name[IFNAMSIZ], uint32_t *ret_mtu);
/* The VLAN interfaces' switch ends are ports that no configuration lists: name of it, and its interface. */
const char *iface_of_host_port(const struct sw *sw, const char *netdev); /* interface's name, or NULL */
/* iface_list.c: as the query says: [{"name", …}], or a page of it with `limit`: {"interfaces": [...], "next"}. With words. */
int iface_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs);

/* fdb.c: static and own entries, ageing, listing. */
int fdb_open(struct sw *sw, struct errs *errs);
void fdb_close(struct sw *sw);
int fdb_reconcile(struct sw *sw, struct errs *errs);
int fdb_settle(struct sw *sw, struct errs *errs); /* after an event: stations behind ports that changed go in slices */
/* The stations: [{"mac", "vlan", "port", "type": "learned"|"static"|"own", "age": seconds}]. */
int fdb_list(struct sw *sw, struct http_stream *ret);
/* Learned entries on these ports go at once: their ids may be given to others. `ids`: a bit for each port id. */
void fdb_forget_ports(struct sw *sw, const uint64_t ids[PORT_MAX / 64]);
/* Learned stations are forgotten: {"flushed": how many}. -ENOENT: there is no such port. */
uint16_t fdb_port_of(const struct sw *sw, const uint8_t mac[6], uint16_t vlan); /* 0: nobody knows: frames are flooded */
int fdb_flush(struct sw *sw, int vlan /* 0: all */, const char *port /* NULL: all */, struct http_stream *ret);

/* neighbor.c: the mirror's neighbours into `neighbors`; probing of used ones. */
int neighbor_open(struct sw *sw, struct errs *errs);
void neighbor_close(struct sw *sw);
/* neighbor_read.c: where the interfaces changed, all of them anew, in slices: what is left is neighbor_read_on()'s. */
int neighbor_reconcile(struct sw *sw, struct errs *errs);
int neighbor_read_on(struct sw *sw, struct errs *errs);
void neighbor_event(struct sw *sw, enum mirror_op op, const struct neigh *n);
void neighbor_settled(struct sw *sw); /* after a batch of them: flows decide anew, once, where a MAC is another one */
/* 0 and the MAC; -ENOENT unknown; -EHOSTUNREACH failed. */
int neighbor_get(const struct sw *sw, uint16_t iface, const struct addr *a, uint8_t ret_mac[6]);
bool neighbor_stale(const struct sw *sw, uint16_t iface, const struct addr *a); /* known, and not confirmed of late */
int neighbor_full(const struct sw *sw, struct errs *errs);			/* -E2BIG with words when some found no room */
/* [{"address", "interface", "mac", "state", "offloaded", "used_s"}] */
int neighbor_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs);

/* route.c: the RIB, nexthops, groups, the FIB. */
int route_open(struct sw *sw, struct errs *errs);
void route_close(struct sw *sw);
int route_reconcile(struct sw *sw, struct errs *errs);
void route_event(struct sw *sw, enum mirror_op op, const struct kroute *r);	  /* gathered until route_settle() */
void route_neighbor_changed(struct sw *sw, uint16_t iface, const struct addr *a); /* a gateway's MAC may have changed */
void route_link_changed(struct sw *sw, int ifindex); /* mirror_link_usable() of a netdev is another */
/* After a batch of events: link, address, neighbour or route. For some milliseconds at most; -EAGAIN without words: to be called
 * once more for the rest; -EINPROGRESS: some ms later, and not before: when memory of the FIB may be used again. */
int route_settle(struct sw *sw, struct errs *errs);
/* [{"to", "vrf", "protocol": "static"|"kernel"|"connected"|"local"|…, "metric", "distance", "type", "active", "reason",
 *   "nexthops": [{"id", "via", "interface", "weight", "state": "resolved"|"unresolved"|"failed"|"down", "mac", "packets",
 * "bytes"}]}] */
/* route_list.c: as the query says; a page in order ({"routes": [...], "next": a cursor or null}) with `limit`. With words. */
int route_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs);
/* The name as a constant, of a number (0..255) likewise, or the number; NULL when no route can have this protocol. */
const char *route_protocol_known(const char *name);
#define ROUTE_PROTOCOLS 256
const char *route_protocol_names(char buf[ROUTE_PROTOCOLS]); /* all of them, with commas; returns buf */
/* nexthop_list.c: [{"id", "via", "interface", "state", "mac", "packets", "bytes"}] */
int nexthop_list(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs);
/* By id or gateway: no new connections by it (or again). How many nexthops; -EINVAL, -ENOENT with words. */
int nexthop_named(struct sw *sw, const struct http_request *rq, struct http_stream *ret, struct errs *errs);
int nexthop_drain(struct sw *sw, const char *which, bool drained, struct errs *errs);
/* What is not as it should be for others' sake, and no error: texts, onto the list. */
void route_conditions(const struct sw *sw, json_t *list);
json_t *route_vrf_show(const struct sw *sw, uint16_t vrf); /* {"ipv4", "ipv6", "imported"}: prefixes in force */
bool route_vrf_empty(const struct sw *sw, uint16_t vrf);   /* the FIB has nothing of it */
/* route_audit.c: {"state": "running"|"waiting", "rounds", "last": {"at", "took_s", "routes", "samples", "asked"}, "now": {…},
 *  "differences", "repaired", "passing", "found": [{"prefix", "vrf", "address", "between", "fib"|"kernel", "rib", "since",
 *  "repaired"}]} */
json_t *route_audit_show(struct sw *sw);
/* {"known", "in_force", "refused", "left_out", "left_out_more", "rules_left_out", "audit_differences", "audit_repaired"}: how
 * many */
json_t *route_status(struct sw *sw);
/* A packet to explain, as text; NULL: not said. `iif`: the port or interface that it comes in by. */
struct route_query {
	const char *addr, *from, *iif, *vrf, *ipproto, *sport, *dport;
};
/* route_get.c: which way the first packet of a connection would go, and why; see docs/api.md. NULL with words. */
json_t *route_get(struct sw *sw, const struct route_query *q, struct errs *errs);

/* nat.c: rules and pools. */
int nat_open(struct sw *sw, struct errs *errs);
void nat_close(struct sw *sw);
int nat_reconcile(struct sw *sw, struct errs *errs);
int nat_settle(struct sw *sw, struct errs *errs); /* after an event: forwards are written only if it has changed some */
/* nat_list.c: {"rules": [...], "pools": [{"name", "addresses", "ports_used", "ports_total"}], …}. -ENOMEM */
int nat_list(struct sw *sw, struct http_stream *ret);
/* The timeouts for the flows of a rule: the settings, or a copy of them in *buf with the rule's own. */
const struct settings_cfg *nat_settings(const struct sw *sw, uint16_t rule, struct settings_cfg *buf);
uint16_t nat_rule_former_id(const struct sw *sw, const char *name); /* likewise; 0 */
const char *nat_rule_former(const struct sw *sw, uint16_t id); /* of a rule that is gone; NULL: it is there, or nobody knows */
const char *nat_rule_name(const struct sw *sw, uint16_t id);   /* NULL: no rule of the running configuration has this id */
uint16_t nat_rule_id(const struct sw *sw, const char *name);   /* 0: there is none of this name */
struct flow_tuple;
/* nat_explain.c: what the rules would make of the first packet of a connection. Addresses are IPv4-mapped. */
struct nat_packet {
	struct addr saddr, daddr;
	__be16 sport, dport;
	uint16_t vrf;
	uint16_t iface;	       /* by which it comes in; 0: not said */
	uint8_t family, proto; /* proto 0: not said */
};
struct nat_found {
	const char *rule; /* NULL: none */
	const char
		*action;  /* "dnat", "static", "pool", "masquerade", "none" (exempt); or, without a rule, "mapping", "filtered" */
	struct addr addr; /* the new address, where it is known beforehand */
	__be16 port;	  /* likewise; 0: it stays */
	uint16_t vrf;	  /* where the new destination is */
	/* Of a destination outside that leads in again: the interface by which a packet from inside would have left; its source
	 * is translated as if it had (hairpin). 0: it is none such. `may_hairpin`: by where it came in, which was not said. */
	uint16_t hairpin;
	bool may_hairpin;
};
struct nat_found nat_explain_destination(const struct sw *sw, const struct nat_packet *p);
/* `to`: what was found of the destination. */
struct nat_found nat_explain_source(const struct sw *sw, const struct nat_packet *p, const struct nat_found *to,
				    uint16_t out_iface);
/* A flow is about to end, and has ended (`was`) or was not there any more: for the log. One after the other, nothing in between.
 */
void nat_session_ending(struct sw *sw, const struct flow_tuple *key, const struct flow *f);
void nat_session_end(struct sw *sw, const struct flow_tuple *key, const struct flow *f, bool was);
/* The end of the session with this note (nat_owed.h) is none of the log's any more. */
void nat_session_forget(struct sw *sw, uint32_t owed);
bool nat_log_is_on(const struct sw *sw);
/* It still reads what the sluiced before this one owed: no pass over the flows is to begin, or ends would be told twice. */
bool nat_log_takes_up(const struct sw *sw);
/* Adds what the log cannot write to now, with the reason: ["text", ...]. */
void nat_log_errors(const struct sw *sw, json_t *errors);
/* Those of the gateway's own peers that have no mark. */
void nat_host_errors(const struct sw *sw, json_t *errors);
uint64_t nat_mappings(const struct sw *sw); /* how many there were at the last sweep */
/* A session whose beginning stands in the log, or will, was found gone at `gone_ns`, without a word. False: the word may still
 * come.
 */
bool nat_session_gone(struct sw *sw, const struct flow_tuple *key, const struct flow *f, uint64_t gone_ns);
/* nat_hold.c: may the flow go on: would its rule give it what it has; or shall it outlive the rule? `key`, `f`: of the first
 * direction. */
bool nat_holds(const struct sw *sw, const struct flow_tuple *key, const struct flow *f);

/* flow.c, flow_age.c: connections, and their end. */
int flow_open(struct sw *sw, struct errs *errs);
void flow_close(struct sw *sw);
int flow_reconcile(struct sw *sw, struct errs *errs);	 /* flows whose rule is gone end */
uint64_t flow_count(struct sw *sw);			 /* pairs, as of a second ago */
uint64_t flow_count_of(const struct sw *sw, int family); /* pairs of a family, as of the last pass */
/* One more, or one less, who goes through the tables in several turns: they do not change their size meanwhile. Returns how many
 * there are. */
int flow_users(struct sw *sw, int more);
/* What is asked about flows: flow_walk.c, flow_count.c, flow_watch.c. All return -EINVAL with words, or -ENOMEM. */
struct flow_query {
	const char *filter; /* flow_filter.h; NULL: all */
	bool cells;	    /* lines of cells with tabs between them, instead of JSON */
	uint32_t limit;	    /* 0: none */
	const char *by;	    /* proto, state, rule, vrf, src, dst, in, out; NULL: one number */
	const char *sort;   /* flows, packets, bytes; NULL: flows */
};
/* [{"proto", "state", "vrf", "rule", "in", "out", "forward": {"src", "sport", "dst", "dport", "to-src", …, "packets", "bytes"},
 *   "reply": {…}, "age", "idle", "expires"}] */
int flow_list(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs);
/* {"flows"}; with `by` {"flows", "packets", "bytes", "by", "groups": [{BY, "flows", "packets", "bytes"}], "others": {…}} */
int flow_count_by(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs);
/* {"flushed"}: pairs; a filter must be given. */
int flow_flush(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs);
/* A line for each that begins or ends, for ever: {"time_ms", "event": "new"|"end"|"missed", "reason", …as in the list}. -EBUSY.
 */
int flow_watch(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs);
/* What the flow of such packets has decided: -ENOENT when there is none. */
struct nat_packet;
int flow_of(const struct sw *sw, const struct nat_packet *p, struct flow *ret);

/* counters.c: port counters, drops by reason, stats; with check: the sums, and where they do not hold. */
json_t *counters_show(struct sw *sw);
json_t *counters_check(struct sw *sw, bool *ret_holds);

#endif
