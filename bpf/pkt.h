/* pkt.h: a packet as the stages see it, and what they may decide about it.
 *
 * parse.h fills the first half once, from the frame; the stages decide on these plain values alone, without touching packet
 * data, and write their decisions into the second half; rewrite.h carries them out at the end. So no stage depends on the
 * hook, a packet that a hook cannot finish is handed on unchanged, and the verifier follows no packet pointer through the
 * tables. The struct lives in a per-CPU scratch map (scratch.h): BPF programs of one CPU do not interleave at our hooks.
 */
#ifndef SLUICE_PKT_H
#define SLUICE_PKT_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include <sluice/abi.h>
#include <sluice/drop.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define __noinline_global __attribute__((noinline))
#define likely(x)	  __builtin_expect(!!(x), 1)
#define unlikely(x)	  __builtin_expect(!!(x), 0)
#define READ_ONCE(x)	  (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v)  (*(volatile typeof(x) *)&(x) = (v))

/* 1 in the XDP program: set by ctx_xdp.h, or not at all when a header is compiled alone. */
#ifndef HOOK_XDP
#define HOOK_XDP 0
#endif

/* Feature switches, set by sluiced before load: what is not configured, the verifier removes. */
extern const volatile __u8 cfg_ipv6;	/* L3 for IPv6 */
extern const volatile __u8 cfg_l3;	/* there are interfaces */
extern const volatile __u8 cfg_nat;	/* there are nat rules or flows */
extern const volatile __u8 cfg_account; /* packets and bytes are counted for each flow */
extern const volatile __u8 cfg_rpf;	/* an interface checks reverse paths */
extern const volatile __u8 cfg_mss;	/* an interface limits the MSS */
extern const volatile __u8 cfg_inner;	/* the hash of ECMP looks into tunnels */
extern const volatile __u8 cfg_resize;	/* tables of another size are being filled: see flowtab.h */
extern const volatile __u8 cfg_trace;	/* tests: tc leaves the tag it pushed in skb->cb, where BPF_PROG_RUN shows it */

/* Headers beyond this offset are not looked at; parse.h says so by a reason. */
#define PKT_OFFSET_MAX 1023

/* What a stage says. */
enum verdict {
	V_NEXT = 0,	/* nothing decided: go on */
	V_FORWARD = 1,	/* rewrite, then out of `out_port` on `out_vlan` */
	V_FLOOD = 2,	/* rewrite, then to every member of `out_vlan` but `in_port` (tc only) */
	V_HOST = 3,	/* to the host: of a VLAN by its host port, of a routed port up the stack */
	V_NEIGH = 4,	/* rewrite without MACs; the kernel resolves `next_addr` on `out_iface`, holds and sends it (tc only) */
	V_DROP = 5,	/* `drop` says why; where `reply_type` is set an ICMP error is sent first (tc only) */
	V_PASS = 6,	/* observed: the kernel's, as if there were no switch */
	V_FRAGMENT = 7, /* to be cut to `out_mtu`, and the fragments to come in anew in its place (tc only) */
	V_UP = 8,	/* XDP only: not decided, for tc to do */
	V_HOLD = 9,	/* a fragment that must wait for its datagram's first one (tc only) */
	V_RELEASE = 10, /* a first fragment that others wait for: it comes in anew, and they behind it (tc only) */
	V_AGAIN = 11,	/* a datagram that was taken out of a packet of several: comes in by the port that had it (tc only) */
};
#define __verdict __attribute__((warn_unused_result))

/* A tuple: who talks to whom. ICMP echo identifiers stand in place of ports, see flow_key4. */
struct tuple {
	struct addr saddr, daddr;
	union {
		struct {
			__be16 sport, dport;
		};
		__u32 ports; /* both, as they stand in a header */
	};
};

#define PKT_F_FRAGMENT	     (1 << 0) /* a fragment, first or not */
#define PKT_F_LATER_FRAGMENT (1 << 1) /* not the first: there are no ports */
#define PKT_F_L4	     (1 << 2) /* ports (or the ICMP header) are valid */
#define PKT_F_ICMP_ERROR     (1 << 3) /* an ICMP error; `inner` is the quoted tuple if PKT_F_INNER is set. Or ICMP6_LINK */
#define PKT_F_INNER	     (1 << 4)
#define PKT_F_ECHO	     (1 << 5) /* ICMP echo request or reply */
#define PKT_F_ECHO_REPLY     (1 << 6)
#define PKT_F_DF	     (1 << 7)  /* IPv4: don't fragment */
#define PKT_F_OPTIONS	     (1 << 8)  /* IPv4 options */
#define PKT_F_UDP_NO_CSUM    (1 << 9)  /* UDP over IPv4 with checksum 0: stays 0 */
#define PKT_F_L2_MULTICAST   (1 << 10) /* group bit of the destination MAC */
#define PKT_F_INNER_L4_CSUM  (1 << 12) /* the quote reaches to the layer 4 checksum */
#define PKT_F_SOURCE_ROUTE   (1 << 14) /* IPv4: loose or strict source route option */
#define PKT_F_TAG_HW	     (1 << 13) /* tc: the outer tag is in the skb, not in the data */
#define PKT_F_WAY	     (1 << 11) /* fast_first.h has decided nexthop, MACs and egress already */
#define PKT_F_NO_FLOW	     (1 << 15) /* fast_first.h has read the headers, of TCP or UDP over IPv4, and found no flow */
/* What is known before layer 3 is read. */
#define PKT_F_L2 (PKT_F_L2_MULTICAST | PKT_F_TAG_HW)

/* What ctx_leave4() makes of a packet of TCP or UDP over IPv4. All as it stands in memory. */
struct ctx_leave4 {
	__u32 ttl;   /* TTL, protocol, checksum */
	__u16 delta; /* of the addresses (csum.h) */
	__u64 addrs; /* source, destination */
	__u32 ports;
	__u32 macs[3]; /* as the frame begins */
	__u32 tag;     /* to wear; 0: none */
	bool has;      /* it came with a tag, */
	__be16 tpid;   /* this one */
	__u16 tci;     /* host order */
};

/* The reply entry was there: another CPU has made it, or it was left over. */
#define PKT_FLOW_ELSE HALF_ENTRY

/* Decisions, `todo`. */
#define DO_L2	    (1 << 0) /* set MACs */
#define DO_TTL	    (1 << 1) /* decrement TTL / hop limit */
#define DO_NAT	    (1 << 2) /* tuple := `to`, by l3_delta and l4_delta */
#define DO_MSS	    (1 << 4) /* TCP MSS option := at most `mss` */
#define DO_NAT_ICMP (1 << 3) /* an ICMP error: outer addresses := those of `to`, quoted tuple := `inner_to`; no deltas needed */

#define TUNNEL_VXLAN_PORT 4789 /* RFC 7348 8: whose payload may choose the way, see `inner` */

/* What a frame like it came to (known.h), in words: members of struct pkt, and of what known.h keeps. */
#define PKT_PLACE                                                                                                                \
	union {                                                                                                                  \
		struct {                                                                                                         \
			__u16 flags;	/* PKT_F_* */                                                                            \
			__be16 tpid;	/* outer tag; 0: none */                                                                 \
			__u16 tci;	/* outer tag, host order */                                                              \
			__u8 tagged;	/* vlan.h: the outer tag is the port's, and not payload */                               \
			__u8 out_known; /* out_tag holds, and the port takes it */                                               \
			__u16 in_port;                                                                                           \
			__u16 vlan; /* bridge domain it came in on; 0: routed port */                                            \
			__u16 vrf;                                                                                               \
			__u16 in_iface; /* interface it came in on, where it is addressed to one; else 0 */                      \
			__u16 out_port;                                                                                          \
			__u16 out_vlan;                                                                                          \
			__u32 out_tag; /* the tag that it leaves with, as it stands in a frame; 0: none */                       \
		};                                                                                                               \
		__u64 place[3];                                                                                                  \
	}
/* Where a key may stand in a table of buckets (bucket.h), and what its word then is. */
struct bucket_place {
	__u32 near;	     /* the bucket that is looked at first, under whose lock the key is inserted, */
	__u32 first, second; /* and the others; where a table has none that are near, that is `first` */
	__u32 word;	     /* LIVE */
	__u32 home;	     /* the slot to try first */
	__u32 lock;	     /* of the bucket `near`, before it was searched */
};

/* The port (as it stands in a header) that a packet may leave by, or has left by. */
#define NAT_AHEAD(port) (1u << 31 | (port))

#define NAT_LIMITED_SESSION 1
#define NAT_LIMITED_PORT    2

struct pkt {
	/* ---- entry */
	__u32 len;     /* frame in bytes, from the Ethernet header; a tag that is in the skb is not counted */
	__u32 seg_len; /* layer 3 bytes of the largest packet on the wire (GSO: of one segment) */
	__u16 segs;    /* packets on the wire, at least 1 */
	__u32 zero;    /* always 0, and the verifier does not know: see pkt_zero(). Stands in the same place in every version */
	union {
		struct {
			__u32 epoch;  /* control.epoch before the tables were asked: what a flow entry is decided under */
			__u32 moment; /* see pkt_moment() */
		};
		__u64 stamp; /* both: how long what found.h keeps is good for */
	};

	PKT_PLACE; /* 0 before anybody has decided */
	/* ---- 0 for every frame */
	__u64 now_ns;	 /* CLOCK_MONOTONIC, coarse; 0 until somebody asks: pkt_now() */
	__u32 nexthop;	 /* nexthop id */
	__u8 drop;	 /* enum drop_reason of V_DROP */
	__u8 reply_type; /* V_DROP: ICMP error to send, by family; 0: none (no error has type 0) */
	__u16 todo;	 /* DO_* */
	__u16 out_iface;
	__u8 family;	   /* 4, 6; 0: not IP */
	__u8 source_known; /* fdb.h: the source is a station of in_port */

	/* ---- parse: layer 2 */
	__be16 proto; /* ethertype after the outer tag; vlan.h: after the port's own tag */
	__u16 l3_off;
	union {
		struct {
			__u8 dmac[6];
			__u8 smac[6];
		};
		__u32 macs[3]; /* as the frame begins */
	} __attribute__((aligned(8)));
	/* ---- parse: layer 3 and 4. Offsets in the data, from the Ethernet header. */
	__u8 l4_proto;
	__u8 ttl;
	__u8 tos;    /* TOS or traffic class */
	__u8 bad_at; /* DROP_PARSE_IP4_OPTIONS: in which byte of the header the fault is */
	__u16 l4_off;
	__u16 l3_len;	   /* layer 3 bytes by the IP header; of a GSO packet, its whole */
	__u8 bad;	   /* enum drop_reason: malformed above layer 2. Switched all the same, never routed */
	__u8 tcp_flags;	   /* byte 13 of the TCP header */
	__be16 ip_id;	   /* IPv4; IPv6 fragments: the low half */
	__be16 ip_id_high; /* IPv6 fragments: the other half */
	__u16 frag_len;	   /* fragments: bytes of the datagram in this one */
	__be32 tcp_seq, tcp_ack;
	struct tuple t;	    /* as it came in */
	struct tuple inner; /* ICMP error: the quoted packet's */
	__be16 ip_frag;	    /* IPv4: flags and offset, as they stand in the header; IPv6 fragments: the same in IPv4's form */
	__be16 ip_check;    /* IPv4 header checksum as it came in */
	__u8 truncated;	    /* parsing ended where the linear data does */
	__u16 inner_l3_off;
	__u16 inner_l4_off;
	__u8 inner_proto;
	__u8 tcp_options; /* bytes of TCP options */

	/* ---- decided by the stages */
	__u8 reply_code;
	__u32 reply_info; /* its second word, host order: the MTU of 'packet too big' */
	__u16 nat_pool;	  /* pool whose port was allocated for this packet; 0: none */
	__u16 nat_rule;	  /* id of the rule that decided the rewrite */
	__u16 flow_flags; /* FLOW_F_* of the entry to make or found */
	union {
		struct {
			__u8 new_dmac[6];
			__u8 new_smac[6];
		};
		__u32 new_macs[3]; /* as the frame begins */
	};
	struct tuple to;       /* the tuple to leave with; starts as a copy of `t` when the packet is to be routed */
	struct tuple inner_to; /* DO_NAT_ICMP: the quoted packet's new tuple */
	__u16 l3_delta;	       /* csum.h delta of the addresses: IPv4 header checksum and pseudo header */
	__u16 l4_delta;	       /* csum.h delta of ports or echo identifier alone */
	__u32 pool_addr;
	__u32 out_mtu;	    /* layer 3 bytes that may leave by the nexthop that was chosen; 0: the interface's */
	__u8 next_family;   /* V_NEIGH: 4 or 6 */
	__u8 flow_stale;    /* a flow was found and its forwarding half must be decided again */
	__u8 nat_filtering; /* enum nat_filtering of the rule */
	__u8 nat_flags;	    /* SNAT_F_* of the rule */
	__u8 nat_own;	    /* the source is to be an interface's own address */
	__u8 nat_raced;	    /* another CPU has taken the port that was chosen */
	__u8 nat_limited;   /* NAT_LIMITED_*: what its host is to have more of, by a rule that has limits: nat_used_add() */
	__u8 first_unknown; /* a later fragment whose first one has not been seen */
	__u16 route_vrf;    /* where the way out is looked up: `vrf`, unless NAT leads to another */
	__u16 hairpin;	    /* the interface that a packet from inside to a mapping would have left by; 0: it is none such */
	__u16 mss;	    /* DO_MSS */
	__u16 nat_source;   /* id of the rule that translates the source: limits, and the mapping, are its own; 0: none */
	__u32 flow_new; /* a pair was made for it, of which half.h is to hear: index of the reply entry + 1, or PKT_FLOW_ELSE; and
			   HALF_TOLD */
	__u32 nat_remote;		   /* nat_mapping_key.remote */
	__u32 limit_sessions, limit_ports; /* nat_limited: what its host may have; 0: any */
	__u32 dest_addr;		   /* the destination is a mapping's: its pool_addr + 1; 0: it is not */
	struct addr next_addr;
	/* This CPU's, from packet to packet: the kernel's tick, and what the clock said then; the pool that a source was mapped
	 * by. */
	__u64 tick, tick_ns;
	__u16 pool_last;
	__u8 far_last; /* a bit for each of the last eight entries that were made: it is not in its key's near bucket */

	/* ---- where its entries are to stand */
	struct bucket_place at;	      /* PKT_F_NO_FLOW: where the flow was not found */
	struct bucket_place reply_at; /* of the answers, if the packet leaves by `ahead` */
	struct bucket_place map_at;   /* of its source's mapping by the pool */
	__u16 map_pool;		      /* that was guessed; 0: none */
	__u16 reply_vrf;	      /* where the answers come in */
	__u32 ahead;		      /* NAT_AHEAD(); 0: that is not known yet */
	struct addr ahead_addr;	      /* and the address that goes with it */
};

/* A map of `n` elements that sluiced has in its memory by mmap. Of tables whose size is a setting it says how many before it
 * loads the programs. */
#define SHARED_ARRAY(name, type_, n)                                                                                             \
	struct {                                                                                                                 \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                                \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                               \
		__uint(max_entries, n);                                                                                          \
		__type(key, __u32);                                                                                              \
		__type(value, type_);                                                                                            \
	} name SEC(".maps")

/* The same of one element: a variable, whose address stands in the instructions, where a look-up takes a dozen of them. It
 * is the one element of a map all the same, which user/maps.c makes under this name. */
#define SHARED_ONE(name, type_) type_ name SEC(SLUICE_ONE_SECTION #name)

/* Written by sluiced (configuration, epoch) and by fdb.h (epoch); read everywhere. */
SHARED_ONE(control, struct control);

/* CLOCK_MONOTONIC in ns, to a tick: ageing needs no more. The coarse clock goes on with the ticks, whose number the JIT compiler
 * reads in place, so it is called once in each. */
static __always_inline __u64 pkt_clock(struct pkt *p)
{
	__u64 tick = bpf_jiffies64();

	if (unlikely(p->tick != tick)) {
		p->tick = tick;
		p->tick_ns = bpf_ktime_get_coarse_ns();
	}
	p->now_ns = p->tick_ns;
	return p->tick_ns;
}

static __always_inline __u64 pkt_now(struct pkt *p)
{
	return p->now_ns ? p->now_ns : pkt_clock(p);
}

#define PKT_MOMENT_SHIFT 7

/* Changes every second or more often: 2^7 ticks of a clock of 100 to 1000 a second. */
static __always_inline __u32 pkt_moment(void)
{
	return bpf_jiffies64() >> PKT_MOMENT_SHIFT;
}

/* Of a packet that comes now: see pkt.stamp. */
static __always_inline __u64 pkt_stamp(void)
{
	return READ_ONCE(control.epoch) | (__u64)pkt_moment() << 32;
}

/* 0, for the state that a bpf_loop() callback changes. verifier: before 6.8 a callback is followed once, with the values that
 * stand on the stack before the loop; a branch that a known value rules out is taken out of the program, though a later turn
 * needs it. */
static __always_inline __u32 pkt_zero(const struct pkt *p)
{
	return READ_ONCE(p->zero);
}

static __always_inline enum verdict pkt_drop(struct pkt *p, enum drop_reason why)
{
	p->drop = why;
	return V_DROP;
}

/* Drop, and tell the sender by an ICMP error (RFC 792, RFC 4443; `type` and `code` of the packet's family). */
static __always_inline enum verdict pkt_drop_reply(struct pkt *p, enum drop_reason why, __u8 type, __u8 code, __u32 info)
{
	p->reply_type = type;
	p->reply_code = code;
	p->reply_info = info;
	return pkt_drop(p, why);
}

/* What every routed packet must pass (RFC 1812 5.2.7.3, RFC 8200 3, RFC 1191, RFC 8201), on the flow's path and on the long
 * one alike. `mtu`: layer 3 bytes. V_FRAGMENT: too large, and the sender lets routers cut it (RFC 791, RFC 1812 4.2.2.7). */
static __always_inline __verdict enum verdict pkt_may_leave(struct pkt *p, __u32 mtu)
{
	if (unlikely(p->ttl <= 1))
		return pkt_drop_reply(p, DROP_ROUTE_TTL, p->family == 4 ? 11 : 3, 0, 0);
	if (unlikely(p->seg_len > mtu)) {
		if (p->family == 4 && !(p->flags & PKT_F_DF)) {
			p->out_mtu = mtu;
			return V_FRAGMENT;
		}
		return p->family == 4 ? pkt_drop_reply(p, DROP_ROUTE_MTU, 3, 4, mtu)
				      : pkt_drop_reply(p, DROP_ROUTE_MTU, 2, 0, mtu);
	}
	return V_NEXT;
}

static __always_inline bool addr_equal(const struct addr *x, const struct addr *y)
{
	return x->a64[0] == y->a64[0] && x->a64[1] == y->a64[1];
}

static __always_inline void addr_from4(struct addr *out, __be32 ip)
{
	out->a64[0] = 0;
	out->a64[1] = bpf_cpu_to_be64(0xffff00000000ull | bpf_ntohl(ip)); /* one store: it is loaded as one word */
}

static __always_inline bool mac_equal(const __u8 *x, const __u8 *y)
{
	return *(const __u16 *)x == *(const __u16 *)y && *(const __u16 *)(x + 2) == *(const __u16 *)(y + 2) &&
	       *(const __u16 *)(x + 4) == *(const __u16 *)(y + 4);
}

/* Bytes of a header, of whatever type, in one load or store. */
typedef __u64 __attribute__((may_alias)) bytes8;
typedef __u32 __attribute__((may_alias)) bytes4;
typedef __u16 __attribute__((may_alias)) bytes2;

/* Six bytes with two that follow them, in one word. */
static __always_inline __u64 mac_word(const void *mac_and_2)
{
	return *(const bytes8 *)mac_and_2 & 0xffffffffffff;
}

/* What begins with both addresses: its first 8 bytes, and the 4 after them. */
static __always_inline void mac_copy_both(void *to, __u64 first, __u32 rest)
{
	*(bytes8 *)to = first;
	*(bytes4 *)(to + 8) = rest;
}

/* Both addresses as a frame begins, in the words in which they are loaded; what stands above their 48 bits does not count. */
static __always_inline void macs_set(__u32 *to, __u64 dmac, __u64 smac)
{
	to[0] = dmac;
	to[1] = (__u32)(smac << 16) | (__u16)(dmac >> 32);
	to[2] = smac >> 16;
}

static __always_inline void mac_copy(__u8 *to, const __u8 *from)
{
	*(__u16 *)to = *(const __u16 *)from;
	*(__u16 *)(to + 2) = *(const __u16 *)(from + 2);
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
}

#endif
