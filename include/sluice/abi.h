/* abi.h: the keys and values of every map, the one definition that the data plane and sluiced share.
 *
 * No logic and no maps. `__be16`/`__be32` and byte arrays are in wire order, plain integers in host order; units stand in
 * the names. IPv4 addresses in a `struct addr` are IPv4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so that one code path
 * serves both families. Identifiers (port, interface, nexthop, pool) are indexes into arrays; 0 means none. Every
 * struct has its size asserted: a changed layout needs a new SLUICE_ABI_VERSION.
 */
#ifndef SLUICE_ABI_H
#define SLUICE_ABI_H

#include <linux/types.h>

#define SLUICE_ABI_VERSION 8
#define SLUICE_ABI_OLDEST  7 /* of which the tables can be taken over: no buckets are near */

#define PORT_MAX      1024  /* port ids 1..1023 */
#define IFACE_MAX     1024  /* interface ids 1..1023 */
#define VLAN_IDS      4096  /* VLAN ids 1..4094 */
#define VRF_MAX	      256   /* VRF ids 0..255; 0 is `default` */
#define NEXTHOP_MAX   65536 /* nexthop ids 1.. */
#define NHG_MAX	      16384 /* nexthop group ids 1.. */
#define NEXTHOP_PAIRS 4096  /* ids 1.. of pairs of ways */
#define NHG_BUCKETS   (1 << 20)
#define SLUICE_NAME   16 /* IFNAMSIZ: names of ports and interfaces */
#define SLUICE_LABEL  32 /* names of rules and pools */

struct addr {
	union {
		__be32 a32[4];
		__be64 a64[2];
		__u8 a8[16];
	};
};
_Static_assert(sizeof(struct addr) == 16, "struct addr");

enum ecmp_hash {
	ECMP_L4 = 0,	    /* addresses, protocol and ports */
	ECMP_L3 = 1,	    /* addresses alone */
	ECMP_SYMMETRIC = 2, /* as L4, the same for both directions */
	ECMP_INNER = 3,	    /* as L4; of a tunnel what is inside */
};

/* Maps of one element are variables in a section of their own, so that programs need no look-up: this, and the map's name. */
#define SLUICE_ONE_SECTION ".data."

/* Map `control`: one element, mmap-ed by sluiced. */
struct control {
	__u32 abi_version;
	/* Flow entries decided under another epoch are decided again. Starts at 1 (0 in a flow: no decision). Raised by sluiced
	 * for changes of configuration, routes or neighbours, and by the data plane when a station moves to another port. */
	__u32 epoch;
	__u32 hash_seed;
	__u32 icmp_rate;     /* ICMP errors a second, all ports together; 0: none are sent */
	__u32 snat_bank;     /* which half of `snat_rules` is in force */
	__u32 ping;	     /* raised by sluiced once a second: proof of life for who reads the maps */
	__u32 neighbor_rate; /* packets a second, on each interface and for each neighbour that is being asked for; 0: none */
	__u32 ecmp_hash;     /* enum ecmp_hash: what of a packet chooses among several nexthops */
	__u32 nat_statics;   /* entries in `nat_statics`; 0: it is not asked */
	__u32 frag_held;     /* fragments that are held at once until their first one comes, 0..FRAG_HELD_MAX */
	__u32 frag_hold_ms;  /* for how long */
	__u32 host_switches; /* sluiced's: which of the host's sysctls it has set, and sets back */
	__u64 gave_way; /* sluiced's: pairs that it has ended to make room, beside those in `stats` that the data plane has */
	__u64 host_marks[4]; /* sluiced's: a bit for each number in VRF_MARK_MASK whose rules it has made, or is about to make */
	__u32 nat_statics_inside; /* static rules that translate between hosts inside, too: they name no way out */
	__u32 cut_ifindex;	  /* where packets of several datagrams are sent to be taken apart; 0: nowhere */
	__u32 neighbor_rate_all;  /* as neighbor_rate, of all interfaces together; 0: no limit */
	__u32 pad;
	__u64 reserved[4]; /* sluiced's: what it knows of the maps beside this one */
};
_Static_assert(sizeof(struct control) == 136, "struct control");

/* ---- port ---- */

enum port_mode {
	PORT_NONE = 0,	  /* free slot */
	PORT_ACCESS = 1,  /* one VLAN, untagged */
	PORT_TRUNK = 2,	  /* a set of VLANs, tagged, with an optional native one */
	PORT_ROUTED = 3,  /* no VLAN: is an interface itself */
	PORT_OBSERVE = 4, /* counted, never forwarded */
	PORT_HOST = 5,	  /* the switch's end of the veth pair of a VLAN interface */
	PORT_CUT = 6,	  /* where datagrams come out that were sent to control.cut_ifindex as one packet */
};

#define PORT_F_XDP	  (1 << 0) /* has the XDP program in native mode and stands in `xdp_ports`: XDP may redirect to it */
#define PORT_F_TAG_HIDDEN (1 << 1) /* the driver may keep a VLAN tag out of the data: XDP trusts no untagged frame */

#define PORT_F_PROMISC (1 << 2) /* sluiced's: it made the netdev promiscuous, and undoes it on detach */
#define PORT_F_DOWN    (1 << 3) /* no carrier, or set down: nothing is sent there, nobody is behind it */
#define PORT_F_PEER                                                                                                              \
	(1 << 4) /* a veth or netkit with its peer in another network namespace: tc hands packets to the peer itself */

/* Map `ports`: port id -> struct port. Map `port_ids`: ifindex -> port id. */
struct port {
	__u32 ifindex; /* 0: detached */
	__u8 mode;     /* enum port_mode */
	__u8 flags;    /* PORT_F_* */
	__be16 tpid;   /* the tag's ethertype on this port: 0x8100 (802.1Q) or 0x88a8 (802.1ad) */
	__u16 native;  /* VLAN of untagged frames; 0: none */
	__u16 iface;   /* routed and host ports: their interface */
	__u32 mtu;     /* of the netdev: layer 3 bytes */
	char name[SLUICE_NAME];
	__u64 vlans[VLAN_IDS / 64]; /* bit set: carries the VLAN (the native one included) */
};
_Static_assert(sizeof(struct port) == 544, "struct port");

/* ---- vlan ---- */

/* Map `vlans`: VLAN id -> struct vlan. */
struct vlan {
	__u16 iface;	 /* its interface; 0: none */
	__u16 host_port; /* port id of the interface's host port */
	__u32 flags;	 /* VLAN_F_* */
};
#define VLAN_F_EXISTS 1
_Static_assert(sizeof(struct vlan) == 8, "struct vlan");

/* Map `vlan_members`: VLAN id (u32) -> where a flooded frame goes. Sorted by how the frame leaves, so that a tag is pushed
 * at most twice: [0, n_untagged) untagged, [n_untagged, n_8021q) with 0x8100, [n_8021q, n) with 0x88a8. */
struct vlan_members {
	__u16 n_untagged;
	__u16 n_8021q; /* end of the 802.1Q part, not its length */
	__u16 n;
	__u16 pad;
	__u16 port[PORT_MAX];
};
_Static_assert(sizeof(struct vlan_members) == 8 + 2 * PORT_MAX, "struct vlan_members");

/* ---- interface ---- */

#define IFACE_F_UP	   (1 << 0)
#define IFACE_F_RPF_LOOSE  (1 << 1) /* sources must have a route, */
#define IFACE_F_RPF_STRICT (1 << 2) /* and the route must lead to this interface (RFC 3704) */

#define IFACE_F_VALID_MARK (1 << 3) /* sluiced's: it has set the netdev's src_valid_mark, and sets it back */

/* It has none of its own: addr4, or addr6, is another's of the VRF, a source of ICMP errors and nothing else. */
#define IFACE_F_LENT4 (1 << 4)
#define IFACE_F_LENT6 (1 << 5)

#define IFACE_MSS_CLAMP 0xffff /* `mss` follows the MTU */

#define IFACE_NAT_OUTSIDE (1 << 0) /* a rule translates what leaves here by name: who comes in by it is not from inside */

/* Map `ifaces`: interface id -> struct iface. A VLAN's interface has `vlan`, a routed port's has vlan == 0. */
struct iface {
	__u8 mac[6];
	__u16 flags; /* IFACE_F_* */
	__u16 vlan;  /* 0: routed port */
	__u16 port;  /* the routed port, or the VLAN's host port */
	__u16 vrf;
	__u16 masq_pool; /* the pool that masquerades to this interface's address; 0: none */
	__u32 mtu;
	__u32 host_ifindex; /* the netdev that bears the addresses */
	__be32 addr4;	    /* primary address: source of ICMP errors; 0: nobody in the VRF has one */
	__u16 mss;	    /* TCP MSS that may be offered across this interface; 0: any, IFACE_MSS_CLAMP: what its MTU allows */
	__u16 nat_flags;    /* IFACE_NAT_* */
	struct addr addr6;  /* primary global address; likewise */
	char name[SLUICE_NAME];
};
_Static_assert(sizeof(struct iface) == 64, "struct iface");

/* ---- vrf ---- */

#define VRF_F_USED  (1 << 0) /* of the running configuration */
#define VRF_F_DRAIN (1 << 1) /* was until just now: what remembers its id ends before another VRF gets it */

#define VRF_MARK_MASK 0xff000000u

/* Map `vrfs`: VRF id -> struct vrf. A slot that is all zero is free. */
struct vrf {
	char name[SLUICE_LABEL];
	__u32 flags; /* VRF_F_* */
	__u32 mark;  /* of packets for the host, within VRF_MARK_MASK: its answers find the VRF's tables by it; 0: none */
};
_Static_assert(sizeof(struct vrf) == 40, "struct vrf");

/* ---- fdb ---- */

struct fdb_key {
	__u8 mac[6];
	__u16 vlan;
};
_Static_assert(sizeof(struct fdb_key) == 8, "struct fdb_key");

#define FDB_F_STATIC (1 << 0) /* from the configuration: neither moves nor ages */
#define FDB_F_OWN    (1 << 1) /* the MAC of the VLAN's interface, on its host port */

/* Map `fdb`. seen_ns: CLOCK_MONOTONIC, refreshed at most once a second. */
struct fdb_entry {
	__u16 port;
	__u16 flags; /* FDB_F_* */
	__u32 pad;
	__u64 seen_ns;
};
_Static_assert(sizeof(struct fdb_entry) == 16, "struct fdb_entry");

/* ---- neighbor ---- */

struct neighbor_key {
	struct addr addr;
	__u32 iface;
	__u32 pad;
};
_Static_assert(sizeof(struct neighbor_key) == 24, "struct neighbor_key");

#define NEIGHBOR_F_VALID  (1 << 0)
#define NEIGHBOR_F_FAILED (1 << 1)
#define NEIGHBOR_F_STATIC (1 << 2)
#define NEIGHBOR_F_ASKED  (1 << 3) /* alone: by the data plane, until the kernel says what became of it */

/* Map `neighbors`: what the kernel knows, mirrored by sluiced. No entry: the kernel is asked to resolve. */
struct neighbor {
	__u8 mac[6];
	__u16 flags;   /* NEIGHBOR_F_* */
	__u64 used_ns; /* written by the data plane, at most once a second; sluiced has entries in use probed. ASKED: when the
			  next packet may go to the kernel */
};
_Static_assert(sizeof(struct neighbor) == 16, "struct neighbor");

/* Ring buffer `neighbor_asked`: a packet that the kernel was given to hold until it knows the neighbour `key`. */
#define ASKED_FRAME 2048
#define ASKED_AGAIN 0x5a5a /* skb->tc_index of one that comes in again: it is not told once more */

struct asked_packet {
	__u64 at_ns; /* CLOCK_MONOTONIC */
	struct neighbor_key key;
	__u32 ifindex; /* it came in by */
	__u16 len;     /* of frame, which begins with the MACs and has its tag; 0: it was too long, and is not there */
	__u16 port;    /* of ifindex: what counted it */
	__u8 frame[ASKED_FRAME + 8];
};
_Static_assert(sizeof(struct asked_packet) == 40 + ASKED_FRAME + 8, "struct asked_packet");

/* ---- route ---- */

enum nexthop_type {
	NEXTHOP_NONE = 0,
	NEXTHOP_GATEWAY = 1,   /* to `gateway`, on `iface` */
	NEXTHOP_CONNECTED = 2, /* the destination itself is a neighbour on `iface` */
	NEXTHOP_LOCAL = 3,     /* an address of the host */
	NEXTHOP_BLACKHOLE = 4,
	NEXTHOP_UNREACHABLE = 5,
	NEXTHOP_PROHIBIT = 6,
	NEXTHOP_BROADCAST = 7, /* the broadcast address of a connected prefix (RFC 2644); with `iface`, to all who are there */
	NEXTHOP_HOST = 8,      /* the host routes it, by a netdev of its own */
	NEXTHOP_OUTSIDE = 9,   /* the same, and is not to: nobody does */
	NEXTHOP_NOWHERE = 10,  /* as where there is no route: the look-up ends, and what is shorter does not count */
};

#define NEXTHOP_F_RESOLVED (1 << 0) /* dmac is the gateway's */
#define NEXTHOP_F_FAILED   (1 << 1) /* the gateway does not answer */
#define NEXTHOP_F_DRAINED  (1 << 2) /* sluiced's: no new connections, by command */

/* Map `nexthops`: nexthop id -> struct nexthop. The first 8 bytes are one aligned word that sluiced stores at once, so that
 * no packet ever leaves with half a MAC. */
struct nexthop {
	__u8 dmac[6];
	__u16 flags; /* NEXTHOP_F_* */
	__u8 type;   /* enum nexthop_type */
	__u8 family; /* 4 or 6: of `gateway` (may differ from the route's: RFC 8950) */
	__u16 iface;
	__u32 mtu; /* path MTU of the route; 0: the interface's */
	struct addr gateway;
	__u64 drained_s; /* sluiced's: since when, CLOCK_BOOTTIME in seconds; 0: it is not drained */
	__u64 reserved[3];
};
_Static_assert(sizeof(struct nexthop) == 64, "struct nexthop");

/* What a FIB lookup gives, 31 bits: 0 no route; NEXTHOP_IS_GROUP set: a group id; NEXTHOP_IS_PAIR set: a pair id; else a nexthop
 * id. */
#define NEXTHOP_IS_GROUP (1u << 30)
#define NEXTHOP_IS_PAIR	 (1u << 29)

/* Map `nexthop_pairs`: pair id -> which of two results packets take: one store leads all routes that share the pair elsewhere. */
struct nexthop_pair {
	__u32 now;	     /* a nexthop id, or a group id with NEXTHOP_IS_GROUP */
	__u32 first, second; /* sluiced's: `now` is the second while nothing can leave by the first */
	__u32 reserved;
};
_Static_assert(sizeof(struct nexthop_pair) == 16, "struct nexthop_pair");

/* Map `nhgs`: group id -> where its buckets stand in `nhg_buckets` (each a nexthop id). Chosen by hash & mask. */
struct nhg {
	__u32 base;
	__u32 mask; /* number of buckets - 1, a power of two - 1 */
};
_Static_assert(sizeof(struct nhg) == 8, "struct nhg");

struct nhg_bucket {
	__u16 nexthop; /* nexthop id */
	__u16 former;  /* one that was drained: flows that were decided for it stay with it. 0: none */
	__u32 bits;    /* NHG_HELD, NHG_USED; first bucket of a group: NHG_MEMBERS_HASH, by which sluiced knows the group again */
};
#define NHG_HELD	 (1u << 31) /* what is routed without a flow takes `former` still: sluiced ends it when nobody does */
#define NHG_USED	 (1u << 30) /* somebody did since sluiced looked last: set by the data plane, cleared by sluiced */
#define NHG_MEMBERS_HASH (NHG_USED - 1)
_Static_assert(sizeof(struct nhg_bucket) == 8, "struct nhg_bucket");

/* Map `held_flows`: what is remembered of flows whose bucket is held (NHG_HELD), that is of drained nexthops: which flows were
 * there before, and which began after. Units of a cache line: HELD_HEAD, from HELD_GROUPS on a word for each group, from
 * HELD_NOTES on lines of notes. Groups are written by sluiced, notes by the data plane; sluiced takes away old ones. A flow's
 * note stands in one of two lines, by two parts of its hash:
 *
 *   63..32  another part of the hash
 *   31..29  enum held_kind; the whole word is 0: free
 *   28..16  when the flow was seen, CLOCK_MONOTONIC in units of 2^HELD_SHIFT ns; it turns over after 73 minutes
 *   15..0   the nexthop that it takes
 *
 * The hash (ecmp_hash.h) is made with the head's secret, the VRF, the drained nexthop and HELD_TURN(): what was noted of a drain
 * that is over is not found in the next one. */
#define HELD_HEAD     0
#define HELD_GROUPS   1
#define HELD_NOTES    (HELD_GROUPS + NHG_MAX / HELD_WORDS)
#define HELD_LINES    32768 /* 262144 notes */
#define HELD_WORDS    8
#define HELD_SHIFT    29
#define HELD_AGE_MASK 0x1fff
#define HELD_AGE_MAX  7168 /* an hour: no flow counts as idle later than that */

enum held_kind {
	HELD_SYN = 1,	  /* TCP, began after: its SYN was seen, and nothing behind it */
	HELD_NEW = 2,	  /* TCP, began after */
	HELD_NEW_END = 3, /* and has shown a FIN or RST: another SYN would begin anew */
	HELD_OLD = 4,	  /* TCP, was there: as a flow of which nothing is noted, but that a SYN does not begin anew */
	HELD_OLD_END = 5,
	HELD_STAYS = 6, /* not TCP, was there */
	HELD_LEFT = 7,	/* not TCP, was not: as a flow of which nothing is noted */
};
#define HELD_KIND(note) ((__u32)(note) >> 29)
#define HELD_SEEN(note) ((__u32)(note) >> 16 & HELD_AGE_MASK)
/* Another flow of theirs, which needs it more, may have their place. */
#define HELD_GIVES_WAY (1 << HELD_OLD | 1 << HELD_OLD_END | 1 << HELD_LEFT)

#define HELD_DRAINED 3 /* nexthops of a group; of more than these what is not TCP is not told apart */

/* The drained nexthops that are alive. HELD_LEARNS(i): what is not TCP and not noted was there; not set: it was not, for longer
 * than flows may pause it would have been noted. HELD_TURN(): another number for each time that a nexthop comes to stand there.
 */
struct held_group {
	__u16 drained[HELD_DRAINED];
	__u16 state;
};
#define HELD_LEARNS(i)	    (1u << (i))
#define HELD_TURN(state, i) ((state) >> (4 + 4 * (i)) & 15)
_Static_assert(sizeof(struct held_group) == 8, "struct held_group");

struct held_unit {
	union {
		struct { /* HELD_HEAD */
			__u64 secret;
			__u32 idle;    /* of notes older than this, in their unit, the flow counts as idle */
			__u32 refused; /* set by the data plane when there was no room for HELD_STAYS, cleared by sluiced */
			__u64 reserved[6];
		};
		struct held_group group[HELD_WORDS];
		__u64 note[HELD_WORDS];
	};
};
_Static_assert(sizeof(struct held_unit) == 64, "struct held_unit");

/* Map `nhg_ifaces`: group id -> a bit for each interface that a member leaves by, dead members included. Written before the group
 * can be found. */
struct nhg_ifaces {
	__u64 bits[IFACE_MAX / 64];
};
_Static_assert(sizeof(struct nhg_ifaces) == 128, "struct nhg_ifaces");

/* Map `own_filter`: a filter of the addresses that no station may have as its own: the host's and the broadcast addresses of its
 * prefixes, all VRFs together. A bit that is not set: surely not one of them; set: the FIB tells. */
#define OWN_FILTER_BITS	  4096
#define OWN_FILTER_BIT(a) ((((a)->a32[0] ^ (a)->a32[1] ^ (a)->a32[2] ^ (a)->a32[3]) * 0x9e3779b1u) >> 20)

struct own_filter {
	__u64 bits[OWN_FILTER_BITS / 64];
};
_Static_assert(sizeof(struct own_filter) == 512, "struct own_filter");

/* The FIB: a multibit trie whose sparse branches are lists. Map `fib` is its memory in units of a cache line, map `fib_roots`
 * says where the tries of a VRF begin; both are written by sluiced through mmap.
 *
 * An entry (u32) with FIB_NODE set is the unit where a node begins, and its form; else it is a result, 0 meaning 'nothing more
 * specific here'. A node has a fallback: the result for addresses that find 0 in it; it being 0 leaves what was found on the
 * way. So a route is written in the one node where its prefix ends, however many longer ones there are below.
 *
 * Two forms stand for the 256 values of one address byte:
 * - compressed: starts has a bit for each value at which a run of equal entries begins (bit 0 is always set), before[w] counts
 *   the bits of the words below w, and word[FIB_NODE_HEAD + i] is the entry of the i-th run, going on into the units that
 *   follow;
 * - FIB_FLAT costs one cache line to search instead of two: 256 entries, and the fallback as word 0 of the unit behind them.
 *
 * Two stand for the next 32 bits of the address (read as a number; 0 bits follow the address's end), cut into ranges:
 * - FIB_LIST: up to 8 ranges in one unit. Words 1..7 are the last numbers of the ranges but the last one, ascending, filled up
 *   with 0xffffffff; words 8..15 are the ranges' entries, word 0 is the fallback;
 * - FIB_LIST | FIB_FLAT: up to 16 such lists (without a fallback) behind a unit that chooses among them: its words 1..15 are
 *   the last numbers of the lists but the last one, in the same way, word 0 is the fallback.
 * A node below a list begins behind those 32 bits, at a range of one number.
 *
 * VRF 0 begins with a table of the first 16 bits for each family (FIB_DIRECT4, FIB_DIRECT6), the others with one entry. */
#define FIB_NODE	 (1u << 31)
#define FIB_FLAT	 (1u << 30)
#define FIB_LIST	 (1u << 29)
#define FIB_FORM	 (FIB_FLAT | FIB_LIST)
#define FIB_UNIT_MASK	 (FIB_LIST - 1)
#define FIB_RANGES	 8  /* in one list */
#define FIB_LISTS	 16 /* in one node */
#define FIB_FLAT_UNITS	 17
#define FIB_NODE_HEAD	 10 /* words of a node before its entries */
#define FIB_UNIT_WORDS	 16
#define FIB_DIRECT4	 16   /* first unit of the table of VRF 0, IPv4; the units below are never used: 0 is no node */
#define FIB_DIRECT_UNITS 4096 /* 65536 entries */
#define FIB_DIRECT6	 (FIB_DIRECT4 + FIB_DIRECT_UNITS)
#define FIB_FIRST	 (FIB_DIRECT6 + FIB_DIRECT_UNITS) /* first unit for nodes */
#define FIB_UNITS	 (1u << 20)			  /* 64 MiB: a full table of both families takes less than half */

struct fib_unit {
	union {
		struct {
			__u64 starts[4];
			__u8 before[4];
			__u32 fallback;
			__u32 entry[6];
		};
		__u32 word[FIB_UNIT_WORDS];
	};
};
_Static_assert(sizeof(struct fib_unit) == 64, "struct fib_unit");

struct fib_root {
	__u32 entry4, entry6;
};
_Static_assert(sizeof(struct fib_root) == 8, "struct fib_root");

/* ---- flow ---- */

/* One direction of a tracked connection. ICMP echo: the identifier stands in sport of the request and in dport of the
 * reply, the other is 0, so that the reverse key is the swapped one as for ports. */
struct flow_key4 {
	__be32 saddr, daddr;
	__be16 sport, dport;
	__u16 vrf;
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct flow_key4) == 16, "struct flow_key4");

struct flow_key6 {
	struct addr saddr, daddr;
	__be16 sport, dport;
	__u16 vrf;
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct flow_key6) == 40, "struct flow_key6");

#define FLOW_F_SNAT   (1 << 0)	/* source address or port is rewritten, by a rule for sources */
#define FLOW_F_DNAT   (1 << 1)	/* destination address or port is rewritten */
#define FLOW_F_REPLY  (1 << 2)	/* the direction of the answers */
#define FLOW_F_ROUTED (1 << 3)	/* forwarding half: TTL is decremented, MACs are set */
#define FLOW_F_TRACK  (1 << 4)	/* nothing is rewritten: the pair keeps SNAT rules off the answers to what came from outside */
#define FLOW_F_KEEP   (1 << 12) /* outlives its rule */
#define FLOW_F_VRF    (1 << 5)	/* the way out is looked up in peer_vrf, not in the key's */

/* A flow's epoch while one CPU writes the forwarding half. */
#define FLOW_EPOCH_BUSY 0xffffffffu

/* What the packets of this direction have shown, for the state machine of sluiced's ageing. A SYN begins anew. */
#define FLOW_SEEN_SYN	 (1 << 0)
#define FLOW_SEEN_SYNACK (1 << 1)
#define FLOW_SEEN_ACK	 (1 << 2)
#define FLOW_SEEN_FIN	 (1 << 3)
#define FLOW_SEEN_RST	 (1 << 4)
#define FLOW_SEEN_ANY	 (1 << 5)

/* Buckets, in which the flow table and that of NAT's mappings keep what stands where: written by the data plane and by sluiced
 * through mmap. A key may stand in two buckets, by two halves of its hash. Entry bucket * BUCKET_SLOTS + i of the array beside
 * them belongs to word[i], whose low two bits say what becomes of it:
 *
 *   EMPTY  nothing was ever here
 *   BUSY   a CPU fills the entry
 *   LIVE   the other bits are those of the key's hash
 *   DEAD   the other bits are when it ended, in units of 2^WORD_DEAD_SHIFT ns of CLOCK_MONOTONIC. A packet that found the entry
 *          before may still read it; after WORD_GRACE units it is free again. What gave way has an earlier time there
 */
#define BUCKET_SLOTS	 15
#define WORD_EMPTY	 0
#define WORD_BUSY	 1
#define WORD_LIVE	 2
#define WORD_DEAD	 3
#define WORD_STATE	 3
#define WORD_DEAD_SHIFT	 26
#define WORD_GRACE	 16 /* 1.07 s: beyond what a packet spends in a program */
#define WORD_GRACE_EARLY 2  /* 67 to 134 ms, for who gives way: in a flood what has ended must not fill the table */
/* Up to so many used slots a key goes into its first bucket, beyond into the emptier one: most are found at once, and the table
 * fills evenly. */
#define BUCKET_FIRST_USED 10

struct bucket {
	__u32 word[BUCKET_SLOTS];
	__u32 lock; /* BUCKET_*, and from BUCKET_STEP on a count: of keys that look here first and have been inserted; in a bucket
		       that follows near ones, it grows when a key goes from it into the second one */
};
#define BUCKET_HELD    1 /* a key that looks here first is being inserted: the same key is never inserted twice */
#define BUCKET_SPILLED 2 /* such a key has gone into another one of its buckets: who does not find one looks there, too */
#define BUCKET_STEP    4
_Static_assert(sizeof(struct bucket) == 64, "struct bucket");

/* The flow table: for each family an array of entries (maps `flows4`, `flows6`) and one of buckets (`flow_words4`,
 * `flow_words6`). */

/* Map `flow_table`: one element. Secret random numbers, so that nobody can choose keys that meet in a bucket. */
#define FLOW_HASH_KEYS 11 /* one more than a key has words of 32 bits */
struct flow_table {
	__u32 buckets4, buckets6;
	__u64 hash_key[FLOW_HASH_KEYS];
	__u32 half_lines;  /* of `half_open` */
	__u32 nat_buckets; /* of `nat_words` */
	__u32 nat_lines;   /* of `nat_ways` */
	__u32 pad;
	__u32 near4, near6; /* of the buckets those that are near; 0: none */
	__u64 reserved[1];
};
_Static_assert(sizeof(struct flow_table) == 128, "struct flow_table");

/* The first cache line is all that an IPv4 packet of an established flow reads and writes. Hence the lowest bits of its counters
 * in `recent`, and no source MAC, which is the interface's. */
struct flow {
	union {
		struct flow_key4 key4; /* IPv4: the entry's key */
		struct addr saddr6;    /* IPv6: the rewritten tuple's */
	};
	__u32 epoch;	 /* under which the forwarding half was decided; 0: not decided */
	__u16 out_port;	 /* forwarding half: port id, */
	__u16 out_vlan;	 /* VLAN on that port (0: routed port), */
	__u8 dmac[6];	 /* destination, in one word with the */
	__u16 nexthop;	 /* nexthop id, */
	__u16 out_iface; /* whose MAC is the source, */
	__u16 mtu;	 /* layer 3 bytes that may leave */
	__be32 saddr4;	 /* the rewritten tuple, IPv4 (IPv6: saddr6, daddr6) */
	__be32 daddr4;
	union {
		struct {
			__be16 sport;
			__be16 dport;
		};
		__u32 ports; /* as they stand in a header */
	};
	__u16 l3_delta;	  /* one's complement delta (RFC 1624) of the addresses; see l4_delta */
	__u8 seen;	  /* FLOW_SEEN_* */
	__u8 live;	  /* 1 while the entry's word is LIVE: who finds the key in its first slot need not look at the word */
	__be32 ack;	  /* TCP: what the last packet of this direction acknowledged */
	__u32 used;	  /* CLOCK_MONOTONIC in units of 2^FLOW_USED_SHIFT ns */
	__u32 recent;	  /* what is not in `packets` and `bytes` yet: FLOW_RECENT_* */
	__u64 packets;	  /* counted after segmentation */
	__u64 bytes;	  /* layer 2 bytes */
	__u64 created_ns; /* CLOCK_MONOTONIC */
	__u16 flags;	  /* FLOW_F_* */
	__u16 l4_delta;	  /* one's complement delta of the ports or the echo identifier alone */
	__u16 in_iface;	  /* where the first packet of this direction came in */
	__u16 pool;	  /* the pool whose port is held; 0: none; POOL_KEPT. Only in the first direction, like pool_addr */
	union {
		__u32 pool_addr; /* POOL_ID */
		__u32 half;	 /* FLOW_F_REPLY: the pair's place in `half_open` + 1; 0: it is in none */
	};
	__u16 rule;	 /* id of the rule that made it, stable by name: of two, the one that gave the destination */
	__u16 peer_vrf;	 /* of the other direction's key, which else is the rewritten tuple swapped */
	__u32 dest_addr; /* the destination is a mapping's, which the flow holds: its pool_addr + 1; 0: it is not */
	/* Of the first direction: the rule that translates the source, by whose limits the flow counts; 0: `rule`, as of an entry
	 * that a version made that did not know both. */
	__u16 source_rule;
	__u16 pad;
	union {
		__u64 reserved4[2];
		struct addr daddr6;
	};
};
#define FLOW_USED_SHIFT 24
/* flow.recent: 16 bits of bytes, a bit that is 0, 7 bits of packets, and the low 8 bits of the CPU that counted them. */
#define FLOW_RECENT_BYTES   16	 /* shift */
#define FLOW_RECENT_PACKETS 8	 /* shift */
#define FLOW_RECENT_SEGS    0x7f /* packets at most */
#define FLOW_RECENT_CPU	    0xff /* mask */
#define FLOW_RECENT_COUNTS  0xffff7f00
_Static_assert(sizeof(struct flow) == 128, "struct flow");

/* Map `half_open`: the pairs that nobody has answered yet, in lines of HALF_SLOTS. A newcomer takes a free place of the line
 * whose turn it is, or that of the line's oldest, which then ends. A place names the pair's reply entry:
 *
 *   63..32  the entry's created_ns >> HALF_STAMP_SHIFT: another pair in the same slot of the table has another one
 *   31      IPv6
 *   30      sluiced was told of the session's beginning: so it is of its end
 *   29..0   the entry's index + 1; 0: the place is free
 */
#define HALF_SLOTS	 8
#define HALF_STAMP_SHIFT 20 /* 1.05 ms; a slot of the table is not given to another pair for longer than that */
#define HALF_IP6	 0x80000000u
#define HALF_TOLD	 0x40000000u
#define HALF_ENTRY	 0x3fffffffu /* mask */

/* What has no TCP, is never answered, and is in use all the same (syslog, sFlow, a voice one way): it was used within the last
 * seconds, and later than this after it began. Whoever floods would have to come again for each of his pairs. */
#define HALF_STEADY_AFTER (2000000000ull >> FLOW_USED_SHIFT)
#define HALF_STEADY_FOR	  (16000000000ull >> FLOW_USED_SHIFT)

struct half_line {
	__u64 slot[HALF_SLOTS];
};
_Static_assert(sizeof(struct half_line) == 64, "struct half_line");

/* An element of `flows6`. */
struct flow6 {
	struct flow flow;
	struct flow_key6 key;
	__u64 reserved[3];
};
_Static_assert(sizeof(struct flow6) == 192, "struct flow6");

#define FRAG_HELD_MAX 256 /* fragments that are held at once, at most; see control.frag_held */
#define FRAG_WORDS    128 /* 65536 bytes, a bit for each 8 */

/* Map `frag_datagrams`, LRU: what is known of a datagram that comes in fragments. */
struct frag_key {
	struct addr saddr, daddr;
	__be16 ip_id;
	__be16 ip_id_high; /* IPv6 */
	__u16 vrf;
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct frag_key) == 40, "struct frag_key");

#define FRAG_F_PORTS 1 /* the first fragment has come: the ports are its */
#define FRAG_F_BAD   2 /* fragments have overlapped: nothing more of the datagram leaves */

struct frag {
	__be16 sport, dport;
	__u32 flags; /* FRAG_F_* */
	__u64 at_ns; /* CLOCK_MONOTONIC: when the first of its fragments came */
	__u32 units; /* of 8 bytes, that have left */
	__u32 end;   /* units of the whole; 0: the last fragment has not left */
	__u32 n_held;
	__u32 pad;
	__u64 held[FRAG_HELD_MAX / 64]; /* a bit for each element of `hold_slots` that has one of its fragments */
	__u64 seen[FRAG_WORDS];
};
_Static_assert(sizeof(struct frag) == 64 + 8 * FRAG_WORDS, "struct frag");

/* ---- nat ---- */

#define SNAT_RULE_MAX	256	 /* a bank; two banks, see control.snat_bank */
#define POOL_MAX	1024	 /* pool ids 1.. */
#define POOL_KEPT	POOL_MAX /* of a flow: no pool has its outside address, but an interface; pool_addr is POOL_ADDR_NONE */
#define POOL_ADDR_MAX	1024	 /* slots of `pool_addrs`: single addresses, and runs of them. A power of two */
#define POOL_MEMBER_MAX 4096	 /* a bank of `pool_members`; two banks */
#define POOL_CLASSES	3	 /* what has ports of its own: TCP, UDP, ICMP echo identifiers */
#define POOL_WORDS	1024	 /* 65536 ports */
#define DNAT_PROTO_MARK                                                                                                          \
	255 /* in a dnat_key: the address is translated, by whatever rule. Every address of a rule or a pool has one */
#define DNAT_MARK_INSIDE                                                                                                         \
	256 /* plus a protocol, or 0 for all: dport (host order) of another mark: a rule leads to the address, in that VRF */
#define DNAT_MARK_HOST                                                                                                           \
	512 /* plus a protocol without ports: dport of a mark in VRF 0, of an address (or of none: 0.0.0.0 or ::, for all of the \
	     * family) with whom the gateway itself speaks it */
#define DNAT_MARK_HEARD                                                                                                          \
	1024 /* dport of marks that the data plane writes, DNAT_HEARD of them by daddr.a32[0]: `to` has sent the host a packet   \
	      * of the protocol `rule`, at the time `vrf` (DNAT_HEARD_TIME). Once sluiced has seen whether the host speaks it,   \
	      * DNAT_HEARD_NOT says that it does not, or a mark of the host's that it does                                       \
	      */
#define DNAT_HEARD	    256
#define DNAT_HEARD_TIME(ns) ((__u16)((ns) >> 30))
#define DNAT_HEARD_MAX	    60 /* in that unit: so long at most, with DNAT_HEARD_NOT and without it */
/* In place of the interface that a packet to an address outside would leave by: nobody says which that is. As if by one that no
 * rule names. */
#define NAT_OUTSIDE_ANY IFACE_MAX
#define DNAT_F_KEEP	2  /* the rule's flows outlive it; also of a static rule */
#define DNAT_F_OWN	1  /* of a mark: the address is an interface's, and the host has a share in it */
#define DNAT_F_WIDE	8  /* the rule has more than one port */
#define DNAT_HEARD_NOT	16 /* of what was heard: sluiced has looked since, and the host does not speak it */
#define DNAT_BLOCK	8  /* flags >> DNAT_BLOCK: dnat_key.block */
#define DNAT_RULE_MAX	65536
#define DNAT_SPARED	2048 /* of these not for rules: marks that the data plane writes, and those of the host's own peers */

enum snat_action {
	SNAT_END = 0,	     /* no more rules */
	SNAT_POOL = 1,	     /* to the rule's pool */
	SNAT_MASQUERADE = 2, /* to the pool of the egress interface's own address */
	SNAT_EXEMPT = 3,     /* explicitly not translated */
	SNAT_STATIC = 4,     /* the prefix `src` becomes the prefix `to`, address by address */
};

/* What of the remote end makes a mapping another one (RFC 4787 4.1). */
enum nat_mapping_type {
	NAT_MAPPING_INDEPENDENT = 0,
	NAT_MAPPING_ADDRESS_PORT = 1,
};

/* Who outside may open a flow to a mapping (RFC 4787 5). */
enum nat_filtering {
	NAT_FILTER_ADDRESS_PORT = 0, /* nobody: only answers to what a flow has sent */
	NAT_FILTER_ADDRESS = 1,	     /* every port of an address that the mapping has sent to */
	NAT_FILTER_INDEPENDENT = 2,  /* everybody */
};

#define SNAT_F_KEEP	2 /* its flows outlive it */
#define SNAT_F_OVERLOAD 1 /* no free port: one that others have, as long as the remote end tells the flows apart */

/* Map `snat_rules`: bank * SNAT_RULE_MAX + i, in order, the first that matches wins. Prefix lengths count on the
 * IPv4-mapped address (10.0.0.0/8 is 104), 0 matches both families. */
struct snat_rule {
	struct addr src;
	struct addr dst;
	__u8 src_len;
	__u8 dst_len;
	__u8 proto;	 /* 0: any */
	__u8 action;	 /* enum snat_action */
	__u16 out_iface; /* 0: any */
	__u16 vrf;
	__u16 pool;
	__u16 rule;	/* id, stable by name */
	__u8 family;	/* 4 or 6; 0: both */
	__u8 mapping;	/* enum nat_mapping_type */
	__u8 filtering; /* enum nat_filtering */
	__u8 flags;	/* SNAT_F_* */
	char name[SLUICE_LABEL];
	struct addr to;	      /* SNAT_STATIC: bits behind src_len are the source's own */
	__u32 limit_sessions; /* of one inside host; 0: no limit */
	__u32 limit_ports;
};
_Static_assert(sizeof(struct snat_rule) == 104, "struct snat_rule");

/* Map `pools`: pool id -> struct pool. Its IPv4 members are pool_members[first4 .. first4 + count4), each a POOL_ID; IPv6
 * likewise. With POOL_F_RUNS a member takes two elements: a POOL_ID, and how many addresses of its run there are from there on.
 * `members` is stored at once, and a bank of pool_members is not written while it is in force, so that no packet gets another
 * pool's address. */
struct pool {
	union {
		struct {
			__u16 first4, count4;
			__u16 first6, count6;
		};
		__u64 members;
	};
	__u16 port_min;
	__u16 port_max;
	__u32 flags; /* POOL_F_* */
	char name[SLUICE_LABEL];
};
#define POOL_F_USED 1
#define POOL_F_RUNS 2
#define POOL_F_MASQ 4 /* an interface's own addresses: iface.masq_pool */
_Static_assert(sizeof(struct pool) == 48, "struct pool");

/* Map `pool_addrs`: the addresses that NAT gives out or answers for. A slot that is not used is all zero. It stands for one
 * address, whose ports are counted in `pool_ports`, or for a run of them, of which only `nat_ways` say which ports are held:
 * memory is taken by mappings alone, however many addresses there are.
 *
 * POOL_ID: what stands for one address, in members, mappings and flows (`pool_addr`): the slot, and above it which address of a
 * run it is; 0: it is no run's. A run that begins or ends elsewhere later counts as before, so that an address has one POOL_ID as
 * long as the run has it: 1 is the slot's `addr`, which need not be in the run. */
#define POOL_ID(slot, at) ((__u32)(at) << 10 | (slot))
#define POOL_SLOT(id)	  ((id) & (POOL_ADDR_MAX - 1))
#define POOL_AT(id)	  ((id) >> 10)
#define POOL_RUN_MAX	  ((1u << 22) - 2) /* addresses of one run */
#define POOL_ADDR_NONE	  0xffffffffu
struct pool_addr {
	struct addr addr;
	__u16 flags;	    /* POOL_ADDR_F_* */
	__u16 vrf;	    /* two VRFs may have the same address: each has a slot */
	__u32 host_ifindex; /* sluiced put the address on this netdev, so that the host answers ARP and ND for it; 0: it did not
			     */
	union {
		__u64 run; /* POOL_ADDR_F_RUN: stored and read at once, */
		struct {
			__u32 run_from, run_n; /* which of its addresses is the first one, and how many there are */
		};
	};
};
#define POOL_ADDR_F_USED  1
#define POOL_ADDR_F_RUN	  8
#define POOL_ADDR_F_OWN	  4 /* an interface's: the host has sockets there */
#define POOL_ADDR_F_DRAIN 2 /* out of use; not to be used anew before all mappings have been walked once */
_Static_assert(sizeof(struct pool_addr) == 32, "struct pool_addr");

/* Map `pool_ports`: pool_addrs index * POOL_CLASSES + class -> the ports that are held. `full` has a bit for each word of
 * `used` that has no free port left: it is a hint, and set late rather than early.
 *
 * Behind those stand POOL_TRACES elements more, in which `used` says what the data plane has given back since sluiced wiped them:
 * a port may have another holder since. Element i has its bits in element POOL_TRACE(i), with others. */
struct pool_ports {
	__u64 full[POOL_WORDS / 64];
	__u64 used[POOL_WORDS];
};
_Static_assert(sizeof(struct pool_ports) == 8320, "struct pool_ports");
#define POOL_TRACES    16
#define POOL_PORTS_MAX (POOL_ADDR_MAX * POOL_CLASSES + POOL_TRACES)
#define POOL_TRACE(i)  (POOL_ADDR_MAX * POOL_CLASSES + (i) % POOL_TRACES)

/* What an inside address and port look like outside, whoever is talked to (RFC 4787 REQ-1; unless the rule wants it otherwise,
 * see `remote`). A mapping holds its port; sluiced takes it away when no flow has used it for a while. */
struct nat_mapping_key {
	struct addr addr;
	__be16 port;
	__u16 vrf;
	__u16 pool;
	__u8 proto;
	__u8 pad;
	__u32 remote; /* NAT_MAPPING_ADDRESS_PORT: a hash of the remote address and port, never 0; else 0 */
	__u32 pad2;
};
_Static_assert(sizeof(struct nat_mapping_key) == 32, "struct nat_mapping_key");

/* The mappings: an array of entries (map `nat_mappings`), found from inside by buckets (`nat_words`), from outside by ways
 * (`nat_ways`); all are written by the data plane and by sluiced through mmap. */
struct nat_mapping {
	struct nat_mapping_key inside;
	__u64 used_ns;	 /* CLOCK_MONOTONIC: a flow was opened through it, to a second */
	__u32 opened;	 /* flows that were ever opened through it, or to it: 1, 2 for more, NAT_MAPPING_ENDS */
	__u32 pool_addr; /* outside: POOL_ID, */
	__be16 port;	 /* port, */
	__u16 out_vrf;	 /* VRF, */
	__u16 out_iface; /* and where the first packet left */
	__u16 rule;	 /* that translates the source, whichever led the first packet in again (hairpinning) */
	__u8 filtering;	 /* enum nat_filtering */
	__u8 pad[7];
};
#define NAT_MAPPING_ENDS 0x80000000u /* its only flow has ended and takes it along: not to be used any more */
_Static_assert(sizeof(struct nat_mapping) == 64, "struct nat_mapping");

/* Map `nat_ways`: whose an outside port is, in lines of NAT_WAYS. Each stands in one of two lines, by two halves of its hash:
 *
 *   63..32  index of the mapping + 1; the whole way is 0: free
 *   31..0   NAT_WAY()
 *
 * A way is written before its mapping can be found from inside, and taken away before that is gone, so there is none that leads
 * nowhere. */
#define NAT_WAYS 8
/* port: host order. Of a run's address it is a hash, and nobody else may have the same: who finds a way looks whose it is. */
#define NAT_WAY(pool_addr, class, port)                                                                                          \
	((pool_addr) < POOL_ADDR_MAX ? (__u32)(pool_addr) << 18 | (__u32)(class) << 16 | (__u32)(port)                           \
				     : 1u << 31 | (__u32)(NAT_WAY_MIX(pool_addr, class, port) >> 33))
#define NAT_WAY_MIX(pool_addr, class, port)                                                                                      \
	(((__u64)(pool_addr) << 18 | (__u64)(class) << 16 | (__u64)(port)) * 0xd6e8feb86659fd93ull)

struct nat_line {
	__u64 way[NAT_WAYS];
};
_Static_assert(sizeof(struct nat_line) == 64, "struct nat_line");

/* Map `nat_peers`: remote addresses that a mapping has sent to, where the rule's filtering asks for that. */
struct nat_peer_key {
	struct addr remote;
	__u32 way; /* NAT_WAY() */
	__u32 pad;
};
_Static_assert(sizeof(struct nat_peer_key) == 24, "struct nat_peer_key");

struct nat_peer {
	struct addr addr; /* whose the port was then: inside */
	__be16 port;
	__u16 vrf;
	__u32 pad;
};
_Static_assert(sizeof(struct nat_peer) == 24, "struct nat_peer");

/* Maps `nat_used`, `nat_counted`: what an inside host has of a rule that sets limits. The data plane only adds to nat_used, for
 * ever; sluiced counts what there is once a pass, and writes beside it what nat_used said when it began to count. What a host
 * has now is counted + (used - used_then). */
struct nat_host_key {
	struct addr addr;
	__u16 vrf;
	__u16 rule;
	__u32 pad;
};
_Static_assert(sizeof(struct nat_host_key) == 24, "struct nat_host_key");

struct nat_used {
	__u32 sessions, ports;
};
_Static_assert(sizeof(struct nat_used) == 8, "struct nat_used");

struct nat_counted {
	struct nat_used counted, used_then;
};
_Static_assert(sizeof(struct nat_counted) == 16, "struct nat_counted");

/* Map `nat_statics`: LPM, the outside prefixes of static rules; those inside, with NAT_STATIC_INSIDE; and those of pools' runs.
 */
struct nat_static_key {
	__u32 len; /* 32 + that of the IPv4-mapped prefix */
	__u32 vrf; /* and NAT_STATIC_INSIDE */
	struct addr addr;
};
#define NAT_STATIC_INSIDE (1u << 16)
_Static_assert(sizeof(struct nat_static_key) == 24, "struct nat_static_key");

struct nat_static {
	struct addr to; /* bits behind `len` are the packet's own; of a run its slot's address */
	union {
		__u32 len;  /* of the IPv4-mapped prefix */
		__u32 slot; /* NAT_STATIC_F_RUN */
	};
	__u16 rule;
	__u16 flags; /* DNAT_F_KEEP; NAT_STATIC_F_RUN; and, NAT_STATIC_OUTSIDE bits further, where a packet to the outside address
		      * would leave: an interface, NAT_OUTSIDE_ANY, or 0: nowhere */
};
#define NAT_STATIC_OUTSIDE 4
#define NAT_STATIC_F_RUN   4 /* no rule's: the addresses are a run's of pools */
_Static_assert(sizeof(struct nat_static) == 24, "struct nat_static");

/* natEvent of RFC 8158, as far as it happens here. NAT66 uses the same numbers. */
enum nat_event_type {
	NAT_EVENT_ADDRESSES_EXHAUSTED = 3,
	NAT_EVENT_SESSION_CREATE = 4,
	NAT_EVENT_SESSION_DELETE = 5,
	NAT_EVENT_PORTS_EXHAUSTED = 12,
	NAT_EVENT_QUOTA = 13,
};

struct nat_tuple {
	struct addr saddr, daddr;
	__be16 sport, dport;
	__u16 pad[2];
};

/* Ring buffer `nat_events`. */
struct nat_event {
	__u64 at_ns; /* CLOCK_MONOTONIC, to a tick */
	__u8 event;  /* enum nat_event_type */
	__u8 family;
	__u8 proto;
	__u8 pad;
	__u16 vrf; /* where the packet came in */
	__u16 rule;
	__u16 pool; /* 0: none had a part */
	__u16 pad2[3];
	struct nat_tuple t, to; /* before and behind translation */
};
_Static_assert(sizeof(struct nat_event) == 104, "struct nat_event");

/* Map `dnat_rules`: hash. port 0: the whole address (of one protocol, or of all with proto 0). A range of ports is as many blocks
 * as it takes, each of 2^block ports, the first of which is a multiple of that. */
struct dnat_key {
	struct addr daddr;
	__be16 dport; /* of a block its first one */
	__u16 vrf;
	__u8 proto;
	__u8 block;
	__u8 pad[2];
};
_Static_assert(sizeof(struct dnat_key) == 24, "struct dnat_key");

struct dnat_rule {
	union {
		struct addr to;
		__u32 blocks; /* of a mark: bit n: rules for the address have blocks of 2^n ports, n > 0 */
	};
	union {
		__be16 to_port;	 /* 0: unchanged; of a block its first one's, the others follow */
		__u16 pool_addr; /* of a mark: slot in `pool_addrs` + 1; 0: mappings have no ports there */
	};
	/* id, stable by name; of a mark: the interface that a packet to the address would leave by, NAT_OUTSIDE_ANY, or 0: none
	 */
	__u16 rule;
	__u16 vrf;   /* where `to` is */
	__u16 flags; /* DNAT_F_* */
	char name[SLUICE_LABEL];
};
_Static_assert(sizeof(struct dnat_rule) == 56, "struct dnat_rule");

/* Map `nat_filter`: one element, mmap-ed by sluiced: which packets no rule can concern, told by a few words. What is not set is
 * surely not concerned, what is set may be. A source rule has a bit, the place of the rule modulo NAT_FILTER_RULES, in the words
 * of everything that it may match: it matches no packet to whose source, destination and way out no bit is common. Before rules
 * change, what the new ones concern is added; what only the old ones did is taken away afterwards. */
#define NAT_FILTER_MARKS   65536
#define NAT_FILTER_MARK(a) ((((a)->a32[0] ^ (a)->a32[1] ^ (a)->a32[2] ^ (a)->a32[3]) * 0x9e3779b1u) >> 16)
#define NAT_FILTER_RULES   31
#define NAT_FILTER_STATIC  (1u << 31)		/* of a destination: a static rule's outside prefix may hold it */
#define NAT_FILTER_HALF(a) ((__u16)(a)->a32[3]) /* IPv4: the first two bytes as they stand in memory */

struct nat_filter {
	__u32 ready; /* 0: nothing is known; a rule may concern any packet */
	__u32 dst6;  /* IPv6: destinations are not told apart */
	__u32 src6;  /* nor sources */
	__u32 pad;
	__u64 marks[NAT_FILTER_MARKS / 64]; /* destinations that have a mark in `dnat_rules`, by hash */
	__u32 out[IFACE_MAX];		    /* by the interface that a packet leaves by */
	__u32 src4[65536], dst4[65536];	    /* by the first half of the address */
};
_Static_assert(sizeof(struct nat_filter) == 16 + 8192 + 4 * IFACE_MAX + 8 * 65536, "struct nat_filter");

/* ---- counters ---- */

/* Map `port_counters`: per CPU, by port id. For every port rx_packets == forwarded + to_host + dropped. Packets are counted
 * as they would be on the wire: a GSO packet counts its segments. */
struct port_counters {
	__u64 rx_packets, rx_bytes;
	__u64 tx_packets, tx_bytes; /* handed to this port */
	__u64 forwarded;	    /* a flooded packet counts once */
	__u64 to_host;
	__u64 dropped; /* by reason in `drop_counters` */
	__u64 xdp;     /* of `forwarded`: finished in XDP */
};
_Static_assert(sizeof(struct port_counters) == 64, "struct port_counters");

/* Map `drop_counters`: per CPU, by port id: struct drop_counters (drop.h). */

/* Map `nexthop_counters`: per CPU, by nexthop id. */
struct nexthop_counters {
	__u64 packets, bytes;
};

/* Map `stats`: per CPU, by enum stat_id: things that are no drop of a packet, and worth knowing. */
#define SLUICE_STATS(X)                                                                                                          \
	X(FDB_LEARNED, "fdb_learned", "stations learned")                                                                        \
	X(FDB_MOVED, "fdb_moved", "stations that moved to another port")                                                         \
	X(FDB_FULL, "fdb_full", "stations not learned: the table is full")                                                       \
	X(FLOODED, "flooded", "frames sent to all ports of a VLAN")                                                              \
	X(FLOW_HIT, "flow_hit", "packets forwarded by a flow entry")                                                             \
	X(FLOW_NEW, "flow_new", "flow pairs installed")                                                                          \
	X(FLOW_STALE, "flow_stale", "flow entries decided again")                                                                \
	X(FLOW_FULL, "flow_full", "flow pairs refused: the table is full")                                                       \
	X(FLOW_GAVE_WAY, "flow_gave_way", "flow pairs without an answer that ended to make room for newer ones")                 \
	X(FLOW_MOVED, "flow_moved", "masqueraded flows that ended since they leave by another interface now")                    \
	X(FLOW_RST_IGNORED, "flow_rst_ignored", "TCP resets outside the window: they leave, their flow stays as it is")          \
	X(NAT_OUTSIDE_FULL, "nat_outside_full", "mappings that nobody outside can open a flow to: no room for their way")        \
	X(NAT_OVERLOADED, "nat_overloaded", "flows that share a port with others of another host")                               \
	X(NAT_FRAG_HELD, "nat_frag_held", "fragments held until their first one came, or did not")                               \
	X(NAT_EVENTS_LOST, "nat_events_lost", "events of NAT that nobody could be told: too many at once")                       \
	X(NAT_HEARD_FULL, "nat_heard_full",                                                                                      \
	  "peers of the gateway by GRE, ESP, ... that were not noted: no room among the forwards")                               \
	X(DRAIN_FULL, "drain_full", "flows of drained nexthops that were not noted, no room: they stay with their bucket")       \
	X(NEIGHBOR_UNTOLD, "neighbor_untold",                                                                                    \
	  "packets that wait for a neighbour and would not be answered: too long, or no room")                                   \
	X(FRAGMENTED, "fragmented", "packets without DF that were cut for a smaller MTU")                                        \
	X(MSS_LOWERED, "mss_lowered", "TCP connections whose MSS was lowered")                                                   \
	X(NEIGHBOR_ASKED, "neighbor_asked", "packets given to the kernel to resolve their neighbour")                            \
	X(ICMP_SENT, "icmp_sent", "ICMP errors sent")                                                                            \
	X(ICMP_LIMITED, "icmp_limited", "ICMP errors not sent: rate limit")                                                      \
	X(XDP_PASSED, "xdp_passed", "packets left by XDP to tc")

enum stat_id {
#define X(id, name, text) STAT_##id,
	SLUICE_STATS(X)
#undef X
		STAT_COUNT,
};
#define STAT_MAX 64

#endif
