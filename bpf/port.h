/* port.h: the ports: which one a packet came in on, and what kind it is. */
#ifndef SLUICE_PORT_H
#define SLUICE_PORT_H

#include "pkt.h"

#define PORT_GUESSES 4096

/* Written by sluiced, read here. Port id -> struct port. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORT_MAX);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

/* Written by sluiced, read here. ifindex -> port id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PORT_MAX);
	__type(key, __u32);
	__type(value, __u32);
} port_ids SEC(".maps");

/* Written and read here. The lower bits of an ifindex -> the port id that was found last: a guess, which `ports` confirms. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORT_GUESSES);
	__type(key, __u32);
	__type(value, __u32);
} port_guesses SEC(".maps");

/* NULL only for an id out of range; a free slot has ifindex 0. */
static __always_inline struct port *port_get(__u32 id)
{
	return bpf_map_lookup_elem(&ports, &id);
}

/* The port that the packet came in by, and its id in p->in_port: 0, and NULL, when it is none. */
static __always_inline struct port *port_in(struct pkt *p, __u32 ifindex)
{
	__u32 slot = ifindex & (PORT_GUESSES - 1), id = 0, *guess, *found;
	struct port *port;

	p->in_port = 0;
	guess = bpf_map_lookup_elem(&port_guesses, &slot);
	if (guess)
		id = READ_ONCE(*guess);
	port = port_get(id);
	if (unlikely(!port || !id || port->ifindex != ifindex)) {
		found = bpf_map_lookup_elem(&port_ids, &ifindex);
		if (!found)
			return NULL;
		id = *found;
		if (guess)
			WRITE_ONCE(*guess, id);
		port = port_get(id);
	}
	p->in_port = id;
	return port;
}

static __always_inline bool port_carries(const struct port *port, __u16 vlan)
{
	return port->vlans[(vlan >> 6) & 63] >> (vlan & 63) & 1;
}

/* Does this hook send the packet on its way, or does XDP leave it to tc, which comes to the same decision again? What is counted
 * for a flow is counted where this is true. */
static __always_inline bool port_finishes(const struct pkt *p, enum verdict v)
{
	struct port *port;

	if (!HOOK_XDP)
		return true;
	port = port_get(p->out_port);
	return v == V_FORWARD && port && (port->flags & PORT_F_XDP);
}

static __always_inline __verdict enum verdict port_ingress(struct pkt *p, const struct port *port)
{
	if (!port || !port->ifindex)
		return pkt_drop(p, DROP_PORT_UNKNOWN);
	if (likely(port->mode < PORT_OBSERVE || port->mode == PORT_HOST))
		return V_NEXT;
	return port->mode == PORT_CUT ? V_AGAIN : V_PASS;
}

#endif
