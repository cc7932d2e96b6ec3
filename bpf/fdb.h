/* fdb.h: the forwarding database: which port a station is behind, per VLAN (IEEE 802.1Q-2018 8.7, 8.8).
 *
 * Learning costs a look at what was found lately; a write only when something is new, and once a second for an entry's time. A
 * full table learns nobody new (their frames are flooded, and counted), so that a flood of forged sources does not evict
 * those who are there. A station that moves raises the epoch, because flow entries name the port they leave by. Races: two
 * CPUs that see one station on two ports at once leave either port in the entry; the next frame settles it.
 */
#ifndef SLUICE_FDB_H
#define SLUICE_FDB_H

#include "pkt.h"
#include "counter.h"
#include "found.h"

/* Written here (learned) and by sluiced (static, own, ageing). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct fdb_key);
	__type(value, struct fdb_entry);
} fdb SEC(".maps");

#define FDB_REFRESH_NS 1000000000ull

/* A station that this CPU found in `fdb` lately, see found.h: a look into the kernel's hash costs 15 ns, and every frame needs
 * two. */
struct fdb_found {
	__u64 key; /* 0: nothing */
	__u64 stamp;
	__u16 port;
	__u16 met; /* its own frames have told, not those to it: its entry's time was looked after */
	__u16 pad[2];
};

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

static __always_inline struct fdb_found *fdb_found_slot(__u64 key)
{
	return found_get(found_at(FOUND_STATIONS, FOUND_STATION_BITS, key), struct fdb_found);
}

static __always_inline bool fdb_found_is(const struct pkt *p, const struct fdb_found *f, __u64 key)
{
	return f->key == key && f->stamp == p->stamp;
}

static __always_inline void fdb_found_set(const struct pkt *p, struct fdb_found *f, __u64 key, __u16 port, bool met)
{
	f->key = key;
	f->stamp = p->stamp;
	f->port = port;
	f->met = met;
}

/* The port that the station of a key was not found behind lately; 0: nobody knows. */
__noinline_global __u32 fdb_ask(struct pkt *p, __u64 key)
{
	struct fdb_entry *e = bpf_map_lookup_elem(&fdb, &key);
	struct fdb_found *f = fdb_found_slot(key);

	if (!p || !e)
		return 0;
	if (f)
		fdb_found_set(p, f, key, e->port, false);
	return e->port;
}

static __always_inline __u16 fdb_lookup(struct pkt *p, const __u8 *mac, __u16 vlan)
{
	__u64 key = fdb_key(mac, vlan);
	struct fdb_found *f = fdb_found_slot(key);

	if (likely(f && fdb_found_is(p, f, key)))
		return f->port;
	return fdb_ask(p, key);
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
	WRITE_ONCE(e->port, p->in_port);
	/* Around the end of its range the epoch leaves out the two values that mean something else in a flow. */
	if (__sync_fetch_and_add(&control.epoch, 1) >= FLOW_EPOCH_BUSY - 1)
		WRITE_ONCE(control.epoch, 1);
	count_stat(STAT_FDB_MOVED, 1);
}

/* The source is new here, has moved, or was not asked for lately. */
__noinline_global __verdict enum verdict fdb_meet(struct pkt *p, __u64 key)
{
	struct fdb_entry *e = bpf_map_lookup_elem(&fdb, &key);
	struct fdb_found *f = fdb_found_slot(key);
	__u64 now;

	if (!p)
		return V_DROP;
	now = pkt_now(p);
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
	if (now - e->seen_ns > FDB_REFRESH_NS)
		e->seen_ns = now;
	if (f)
		fdb_found_set(p, f, key, e->port, true);
	return V_NEXT;
}

static __always_inline __verdict enum verdict fdb_learn(struct pkt *p)
{
	const __u16 *m = (const __u16 *)p->smac;
	struct fdb_found *f;
	__u64 key;

	if ((p->smac[0] & 1) || !(m[0] | m[1] | m[2]))
		return pkt_drop(p, DROP_FDB_BAD_SOURCE);
	p->source_known = 1;
	if (!p->vlan)
		return V_NEXT;
	key = fdb_key(p->smac, p->vlan);
	f = fdb_found_slot(key);
	if (likely(f && fdb_found_is(p, f, key) && f->met && f->port == p->in_port))
		return V_NEXT;
	p->source_known = 0;
	return fdb_meet(p, key);
}

/* 01:80:c2:00:00:00 .. 0f: for the bridge itself, never forwarded (802.1Q-2018 8.6.3): LLDP, LACP, STP, 802.1X. */
static __always_inline bool fdb_reserved(const __u8 *mac)
{
	return mac[0] == 0x01 && mac[1] == 0x80 && mac[2] == 0xc2 && !mac[3] && !mac[4] && !(mac[5] & 0xf0);
}

/* Layer 2: where the frame goes in its VLAN. */
static __always_inline __verdict enum verdict fdb_forward(struct pkt *p)
{
	p->out_vlan = p->vlan;
	if (p->flags & PKT_F_L2_MULTICAST)
		return fdb_reserved(p->dmac) ? V_PASS : V_FLOOD;
	p->out_port = fdb_lookup(p, p->dmac, p->vlan);
	if (!p->out_port)
		return V_FLOOD;
	if (p->out_port == p->in_port)
		return pkt_drop(p, DROP_FDB_SAME_PORT);
	return V_FORWARD;
}

#endif
