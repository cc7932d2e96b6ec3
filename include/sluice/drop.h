/* drop.h: the drop reasons, one for each place that drops a packet.
 *
 * One table, expanded by whoever needs it: the data plane (the numbers), sluiced and the CLI (names and explanations).
 * A reason is named after its owner, and is never shared by two places. New reasons are appended to the group of their
 * owner: the numbers are not part of any stored state, only of the pinned counters, which are reset when the table changes.
 */
#ifndef SLUICE_DROP_H
#define SLUICE_DROP_H

#include <linux/types.h>

/* X(ID, name, explanation) */
#define SLUICE_DROP_REASONS(X)                                                                                                   \
	X(NONE, "none", "not dropped")                                                                                           \
	/* parse.h */                                                                                                            \
	X(PARSE_ETH_SHORT, "parse_eth_short", "frame shorter than an Ethernet header")                                           \
	X(PARSE_VLAN_SHORT, "parse_vlan_short", "frame ends inside a VLAN tag")                                                  \
	X(PARSE_ARP_SHORT, "parse_arp_short", "frame ends inside an ARP packet")                                                 \
	X(PARSE_IP4_SHORT, "parse_ip4_short", "frame ends inside the IPv4 header")                                               \
	X(PARSE_IP4_VERSION, "parse_ip4_version", "ethertype says IPv4, the version field does not")                             \
	X(PARSE_IP4_IHL, "parse_ip4_ihl", "IPv4 header length below 20 bytes")                                                   \
	X(PARSE_IP4_LENGTH, "parse_ip4_length", "IPv4 total length below the header or beyond the frame")                        \
	X(PARSE_IP4_CHECKSUM, "parse_ip4_checksum", "IPv4 header checksum is wrong (RFC 1812 5.2.2)")                            \
	X(PARSE_IP4_FRAGMENT, "parse_ip4_fragment", "IPv4 fragment overlaps a header or passes 65535 bytes (RFC 1858, 3128)")    \
	X(PARSE_IP4_OPTIONS, "parse_ip4_options", "an IPv4 option is longer than the header")                                    \
	X(PARSE_IP6_SHORT, "parse_ip6_short", "frame ends inside the IPv6 header")                                               \
	X(PARSE_IP6_VERSION, "parse_ip6_version", "ethertype says IPv6, the version field does not")                             \
	X(PARSE_IP6_LENGTH, "parse_ip6_length", "IPv6 payload length beyond the frame")                                          \
	X(PARSE_IP6_EXT_SHORT, "parse_ip6_ext_short", "frame ends inside an IPv6 extension header")                              \
	X(PARSE_IP6_EXT_CHAIN, "parse_ip6_ext_chain", "more IPv6 extension headers than are followed")                           \
	X(PARSE_IP6_FRAGMENT, "parse_ip6_fragment", "IPv6 fragment is not a multiple of 8 bytes or passes 65535 (RFC 8200 4.5)") \
	X(PARSE_L4_SHORT, "parse_l4_short", "packet ends inside the TCP, UDP or ICMP header")                                    \
	X(PARSE_TCP_OFFSET, "parse_tcp_offset", "TCP data offset below 20 bytes or beyond the packet")                           \
	X(PARSE_UDP_LENGTH, "parse_udp_length", "UDP length below 8 bytes or beyond the packet")                                 \
	/* port.h */                                                                                                             \
	X(PORT_UNKNOWN, "port_unknown", "the ingress netdev is no port of this switch")                                          \
	X(PORT_NOT_FOR_US, "port_not_for_us", "unicast frame to a routed port, with another station's MAC")                      \
	X(PORT_NO_INTERFACE, "port_no_interface", "routed port without an interface")                                            \
	/* vlan.h */                                                                                                             \
	X(VLAN_TAGGED_ON_ACCESS, "vlan_tagged_on_access", "tagged frame on an access port")                                      \
	X(VLAN_TAGGED_ON_ROUTED, "vlan_tagged_on_routed", "tagged frame on a routed port")                                       \
	X(VLAN_NOT_ALLOWED, "vlan_not_allowed", "the trunk does not carry this VLAN")                                            \
	X(VLAN_NO_NATIVE, "vlan_no_native", "untagged frame on a trunk without a native VLAN")                                   \
	/* fdb.h */                                                                                                              \
	X(FDB_BAD_SOURCE, "fdb_bad_source", "source MAC is multicast or zero")                                                   \
	X(FDB_OWN_SOURCE, "fdb_own_source", "source MAC is the switch's own: a loop or a forgery")                               \
	X(FDB_SAME_PORT, "fdb_same_port", "destination is behind the port the frame came from")                                  \
	/* egress.h */                                                                                                           \
	X(EGRESS_PORT_GONE, "egress_port_gone", "the egress port is detached")                                                   \
	X(EGRESS_PORT_DOWN, "egress_port_down", "the egress port is down or has no carrier")                                     \
	X(EGRESS_MTU, "egress_mtu", "larger than the egress port's netdev takes")                                                \
	X(EGRESS_DOUBLE_TAG, "egress_double_tag", "would leave a trunk's native VLAN with an inner tag that names another VLAN") \
	X(EGRESS_VLAN, "egress_vlan", "the egress port does not carry the VLAN")                                                 \
	X(EGRESS_NO_MEMBER, "egress_no_member", "flooded, and the VLAN has no other port")                                       \
	/* route.h */                                                                                                            \
	X(ROUTE_MARTIAN_SOURCE, "route_martian_source", "source address is never valid on a wire (RFC 1812 5.3.7)")              \
	X(ROUTE_MARTIAN_DESTINATION, "route_martian_destination", "destination address is never forwarded (RFC 1812 5.3.7)")     \
	X(ROUTE_OWN_SOURCE, "route_own_source", "source is an address of the switch itself (RFC 1812 5.3.7)")                    \
	X(ROUTE_BROADCAST_SOURCE, "route_broadcast_source", "source is a prefix's broadcast address (RFC 1812 4.2.2.11)")        \
	X(ROUTE_SOURCE_ROUTE, "route_source_route", "the IPv4 header has a source route option (RFC 7126 4.3)")                  \
	X(ROUTE_NONE, "route_none", "no route to the destination")                                                               \
	X(ROUTE_BLACKHOLE, "route_blackhole", "the route is a blackhole")                                                        \
	X(ROUTE_UNREACHABLE, "route_unreachable", "the route says unreachable")                                                  \
	X(ROUTE_PROHIBIT, "route_prohibit", "the route says prohibit")                                                           \
	X(ROUTE_BROADCAST, "route_broadcast", "destination is the broadcast address of a connected prefix (RFC 2644)")           \
	X(ROUTE_LINK_LOCAL, "route_link_local", "source or destination is an IPv4 link-local address (RFC 3927 2.7)")            \
	X(ROUTE_OUTSIDE, "route_outside", "the kernel's route leaves by a netdev that is not the switch's")                      \
	X(ROUTE_TTL, "route_ttl", "TTL or hop limit ran out")                                                                    \
	X(ROUTE_MTU, "route_mtu", "larger than the MTU of the way out, and may not be cut")                                      \
	X(ROUTE_IFACE_GONE, "route_iface_gone", "the route's interface has no port")                                             \
	/* urpf.h */                                                                                                             \
	X(URPF_NO_ROUTE, "urpf_no_route", "reverse path: no route leads back to the source (RFC 3704)")                          \
	X(URPF_OTHER_WAY, "urpf_other_way", "reverse path: the source is reached by another interface (RFC 3704)")               \
	/* fragment.h */                                                                                                         \
	X(FRAGMENT_FAILED, "fragment_failed", "the packet could not be cut: too many pieces, or the kernel refused")             \
	X(FRAGMENT_STRAY, "fragment_stray", "came out where datagrams are taken apart, and was not sent there, or is not apart") \
	/* neighbor.h */                                                                                                         \
	X(NEIGHBOR_FAILED, "neighbor_failed", "the neighbour does not answer")                                                   \
	X(NEIGHBOR_LIMITED, "neighbor_limited", "too many packets to neighbours that are not known")                             \
	/* nat.h */                                                                                                              \
	X(NAT_NO_PORT, "nat_no_port", "no free port left on the pool")                                                           \
	X(NAT_NO_ADDRESS, "nat_no_address", "a protocol without ports, and each address of the pool serves another there")       \
	X(NAT_FULL, "nat_full", "the table of mappings is full")                                                                 \
	X(NAT_HOSTS_FULL, "nat_hosts_full", "the rule has limits, and the table of what each inside host has is full")           \
	X(NAT_NO_POOL, "nat_no_pool", "the rule's pool has no address")                                                          \
	X(NAT_FRAGMENT, "nat_fragment", "later fragment without a flow: its first one opened none, or none may be held")         \
	X(NAT_FRAG_FULL, "nat_frag_full", "fragment that came before its first one, and no room to hold it")                     \
	X(NAT_FRAG_TIMEOUT, "nat_frag_timeout", "held fragment whose first one did not come in time")                            \
	X(NAT_FRAG_FAILED, "nat_frag_failed", "held fragment, or its first one, that the kernel would not take again")           \
	X(NAT_FRAG_OVERLAP, "nat_frag_overlap", "fragment that overlaps another, or of such a datagram (RFC 5722, RFC 1858)")    \
	X(NAT_FRAG_DOUBLE, "nat_frag_double", "fragment whose bytes have all been sent on before")                               \
	X(NAT_OWN_PORT, "nat_own_port", "the ports that were free for it are those of the gateway's own sockets")                \
	X(NAT_PROTOCOL, "nat_protocol", "a rule applies, and the protocol cannot be translated")                                 \
	X(NAT_ICMP_NO_FLOW, "nat_icmp_no_flow", "ICMP error about a flow that is not known")                                     \
	X(NAT_ICMP_CHECKSUM, "nat_icmp_checksum", "ICMP error to be translated, with a wrong checksum (RFC 5508 REQ-3)")         \
	X(NAT_ICMP_QUOTE, "nat_icmp_quote", "ICMP error to be translated, the quoted header's checksum is wrong (RFC 5508)")     \
	X(NAT_NOT_OPENING, "nat_not_opening", "a rule applies, no flow is known, and the packet may not open one")               \
	X(NAT_CLASH, "nat_clash", "the answers could not be told from those of another flow")                                    \
	X(NAT_FILTERED, "nat_filtered", "from outside to a mapping or a pool's address, and nobody inside has asked for it")     \
	X(NAT_LIMIT_SESSIONS, "nat_limit_sessions", "the inside host has as many sessions as its rule allows")                   \
	X(NAT_LIMIT_PORTS, "nat_limit_ports", "the inside host has as many ports as its rule allows")                            \
	/* flow.h */                                                                                                             \
	X(FLOW_FULL, "flow_full", "the flow table is full")                                                                      \
	/* rewrite.h */                                                                                                          \
	X(REWRITE_FAILED, "rewrite_failed", "the packet could not be changed (the kernel refused)")

enum drop_reason {
#define X(id, name, text) DROP_##id,
	SLUICE_DROP_REASONS(X)
#undef X
		DROP_COUNT,
};

/* A power of two, so that the table may grow without a new layout. */
#define DROP_MAX 128
_Static_assert(DROP_COUNT <= DROP_MAX, "drop reasons outgrew the counters");

/* An element of map `drop_counters`: those of one port. With an element for each reason, the kernel, which takes each CPU's part
 * of each element from its allocator by itself, needed 150 ms to make the map. */
struct drop_counters {
	__u64 packets[DROP_MAX]; /* by reason */
};

#endif
