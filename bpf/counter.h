/* counter.h: what is counted, and where. Per-CPU, so that no packet waits for another CPU's cache line.
 *
 * For every port rx_packets == forwarded + to_host + dropped: `sluice counters show --check` adds them up.
 */
#ifndef SLUICE_COUNTER_H
#define SLUICE_COUNTER_H

#include "pkt.h"
#include "port_counters.h"

#define COUNT_TAG_BYTES 4

/* Written here, read by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PORT_MAX);
	__type(key, __u32);
	__type(value, struct drop_counters);
} drop_counters SEC(".maps");

/* Written here, read by sluiced. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} stats SEC(".maps");

static __always_inline struct port_counters *count_port(__u32 port)
{
	return bpf_map_lookup_elem(&port_counters, &port);
}

/* On the wire. XDP knows no packets of several segments. */
static __always_inline __u32 count_packets(const struct pkt *p)
{
	return HOOK_XDP ? 1 : p->segs;
}

/* Bytes as they are on the wire: a tag that the stack keeps beside the data counts. */
static __always_inline __u32 count_rx_bytes(const struct pkt *p)
{
	return !HOOK_XDP && p->flags & PKT_F_TAG_HW ? p->len + COUNT_TAG_BYTES : p->len;
}

/* The same frame as it leaves, with the port's tag taken off or another put on. */
static __always_inline __u32 count_tx_bytes(const struct pkt *p, bool tag)
{
	return count_rx_bytes(p) - (p->tagged ? COUNT_TAG_BYTES : 0) + (tag ? COUNT_TAG_BYTES : 0);
}

static __always_inline void count_rx(const struct pkt *p)
{
	struct port_counters *c = count_port(p->in_port);

	if (!c)
		return;
	c->rx_packets += count_packets(p);
	c->rx_bytes += count_rx_bytes(p);
}

/* All at once, for packets of which it is known at once what becomes of them. */
static __always_inline void count_finished(__u32 port, __u32 packets, __u32 bytes, bool to_host)
{
	struct port_counters *c = count_port(port);

	if (!c)
		return;
	c->rx_packets += packets;
	c->rx_bytes += bytes;
	if (to_host)
		c->to_host += packets;
	else
		c->forwarded += packets;
	if (HOOK_XDP)
		c->xdp += packets;
}

/* It comes in anew, in pieces. */
static __always_inline void count_rx_back(const struct pkt *p)
{
	struct port_counters *c = count_port(p->in_port);

	if (!c)
		return;
	c->rx_packets -= count_packets(p);
	c->rx_bytes -= count_rx_bytes(p);
}

static __always_inline void count_forwarded(const struct pkt *p)
{
	struct port_counters *c = count_port(p->in_port);

	if (c)
		c->forwarded += count_packets(p);
}

static __always_inline void count_to_host(const struct pkt *p)
{
	struct port_counters *c = count_port(p->in_port);

	if (c)
		c->to_host += count_packets(p);
}

static __always_inline void count_drops(__u32 port, __u32 why, __u32 packets)
{
	struct port_counters *c = count_port(port);
	struct drop_counters *d = bpf_map_lookup_elem(&drop_counters, &port);

	if (c)
		c->dropped += packets;
	barrier_var(why); /* verifier: it does not know which reasons there are, and the compiler would leave the bound out */
	if (d)
		d->packets[why % DROP_MAX] += packets;
}

static __always_inline void count_dropped(const struct pkt *p)
{
	count_drops(p->in_port, p->drop, count_packets(p));
}

static __always_inline void count_sent(__u32 port, __u32 packets, __u32 bytes)
{
	struct port_counters *c = count_port(port);

	if (!c)
		return;
	c->tx_packets += packets;
	c->tx_bytes += bytes;
}

static __always_inline void count_tx(const struct pkt *p, __u32 port, __u32 len)
{
	count_sent(port, count_packets(p), len);
}

static __always_inline void count_stat(enum stat_id which, __u64 n)
{
	__u32 i = which;
	__u64 *c = bpf_map_lookup_elem(&stats, &i);

	if (c)
		*c += n;
}

#endif
