/* fdb.h: the forwarding database: which port a station is behind, per VLAN (IEEE 802.1Q-2018 8.7, 8.8).
 *
 * Learning costs one lookup, and a write only when something is new: an entry's time is refreshed at most once a second. A
 * full table learns nobody new (their frames are flooded, and counted), so that a flood of forged sources does not evict
 * those who are there. A station that moves raises the epoch, because flow entries name the port they leave by. Races: two
 * CPUs that see one station on two ports at once leave either port in the entry; the next frame settles it.
 */
#ifndef SLUICE_FDB_H
#define SLUICE_FDB_H

#include "pkt.h"
#include "counter.h"

/* Written here (learned) and by sluiced (static, own, ageing). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct fdb_key);
	__type(value, struct fdb_entry);
} fdb SEC(".maps");

#define FDB_REFRESH_NS 1000000000ull

/* A key made in a register and stored at once: hashing loads it in words, which would wait for smaller stores. */
static __always_inline __u64 fdb_key(const __u8 *mac, __u16 vlan)
{
	const __u16 *m = (const __u16 *)mac;
	union {
		__u16 half[4];
		__u64 word;
	} key = {.half = {m[0], m[1], m[2], vlan}};

	return key.word;
}

static __always_inline struct fdb_entry *fdb_lookup(const __u8 *mac, __u16 vlan)
{
	__u64 key = fdb_key(mac, vlan);

	return bpf_map_lookup_elem(&fdb, &key);
}

static __always_inline void fdb_add(struct pkt *p)
{
	struct fdb_entry e = {.port = p->in_port, .seen_ns = pkt_now(p)};
	struct fdb_key key;

	mac_copy(key.mac, p->smac);
	key.vlan = p->vlan;
	if (bpf_map_update_elem(&fdb, &key, &e, BPF_NOEXIST) == 0)
		count_stat(STAT_FDB_LEARNED, 1);
	else if (!bpf_map_lookup_elem(&fdb, &key))
		count_stat(STAT_FDB_FULL, 1);
}

static __always_inline void fdb_move(struct pkt *p, struct fdb_entry *e)
{
	struct control *c = control_get();

	WRITE_ONCE(e->port, p->in_port);
	/* Around the end of its range the epoch leaves out the two values that mean something else in a flow. */
	if (c && __sync_fetch_and_add(&c->epoch, 1) >= FLOW_EPOCH_BUSY - 1)
		WRITE_ONCE(c->epoch, 1);
	count_stat(STAT_FDB_MOVED, 1);
}

static __always_inline __verdict enum verdict fdb_learn(struct pkt *p)
{
	struct fdb_entry *e;
	__u64 now;

	if ((p->smac[0] & 1) || !(p->smac[0] | p->smac[1] | p->smac[2] | p->smac[3] | p->smac[4] | p->smac[5]))
		return pkt_drop(p, DROP_FDB_BAD_SOURCE);
	if (!p->vlan)
		return V_NEXT;
	e = fdb_lookup(p->smac, p->vlan);
	if (!e) {
		fdb_add(p);
		return V_NEXT;
	}
	if (unlikely(e->port != p->in_port)) {
		if (e->flags & FDB_F_OWN)
			return pkt_drop(p, DROP_FDB_OWN_SOURCE);
		if (!(e->flags & FDB_F_STATIC))
			fdb_move(p, e);
	}
	now = pkt_now(p);
	if (now - e->seen_ns > FDB_REFRESH_NS)
		e->seen_ns = now;
	return V_NEXT;
}

/* 01:80:c2:00:00:00 .. 0f: for the bridge itself, never forwarded (802.1Q-2018 8.6.3): LLDP, LACP, STP, 802.1X. */
static __always_inline bool fdb_reserved(const __u8 *mac)
{
	return mac[0] == 0x01 && mac[1] == 0x80 && mac[2] == 0xc2 && !mac[3] && !mac[4] && !(mac[5] & 0xf0);
}

/* Layer 2: where the frame goes in its VLAN. */
static __always_inline __verdict enum verdict fdb_forward(struct pkt *p)
{
	struct fdb_entry *e;

	p->out_vlan = p->vlan;
	if (p->flags & PKT_F_L2_MULTICAST)
		return fdb_reserved(p->dmac) ? V_PASS : V_FLOOD;
	e = fdb_lookup(p->dmac, p->vlan);
	if (!e)
		return V_FLOOD;
	p->out_port = e->port;
	if (p->out_port == p->in_port)
		return pkt_drop(p, DROP_FDB_SAME_PORT);
	return V_FORWARD;
}

#endif
