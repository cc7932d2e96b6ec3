/* nat_map.h: what inside addresses and ports look like outside, and whose an outside one is.
 *
 * Stands between nat.h, which knows by the rules that a packet is to be translated, and pool.h, which gives out the ports. A
 * mapping is two entries: `nat_mappings` leads from inside to outside, `nat_outside` back, for hairpinning and for rules that let
 * others in than those a flow has sent to. Here too is what one inside host may have at most.
 */
#ifndef SLUICE_NAT_MAP_H
#define SLUICE_NAT_MAP_H

#include "pkt.h"
#include "counter.h"
#include "csum.h"
#include "iface.h"
#include "nat_event.h"
#include "pool.h"

/* Written here, deleted by sluiced when no flow uses them. Size: set by sluiced, that of a flow table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct nat_mapping_key);
	__type(value, struct nat_mapping);
} nat_mappings SEC(".maps");

/* Written here, deleted by sluiced when the mapping is gone. Size: as nat_mappings. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct nat_outside_key);
	__type(value, struct nat_outside);
} nat_outside SEC(".maps");

/* The same with another size, while sluiced moves there: see flowtab.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct nat_mapping_key);
	__type(value, struct nat_mapping);
} nat_mappings_next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct nat_outside_key);
	__type(value, struct nat_outside);
} nat_outside_next SEC(".maps");

/* Added to here, deleted by sluiced when the host has nothing any more. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct nat_host_key);
	__type(value, struct nat_used);
} nat_used SEC(".maps");

/* Written by sluiced, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct nat_host_key);
	__type(value, struct nat_counted);
} nat_counted SEC(".maps");

/* ---- access to the two tables, and to the next ones as far as there are such */

static __always_inline struct nat_mapping *nat_mapping_get(const struct nat_mapping_key *key)
{
	struct nat_mapping *m = bpf_map_lookup_elem(&nat_mappings, key);

	return cfg_resize && !m ? bpf_map_lookup_elem(&nat_mappings_next, key) : m;
}

static __always_inline void nat_mapping_delete(const struct nat_mapping_key *key)
{
	bpf_map_delete_elem(&nat_mappings, key);
	if (cfg_resize)
		bpf_map_delete_elem(&nat_mappings_next, key);
}

/* As flow_insert_next(): who is in the next table before it holds. */
static __always_inline long nat_mapping_insert_next(const struct nat_mapping_key *key, const struct nat_mapping *m)
{
	long err = bpf_map_update_elem(&nat_mappings_next, key, m, BPF_NOEXIST);
	struct nat_mapping *there;

	if (!err)
		return 0;
	there = bpf_map_lookup_elem(&nat_mappings_next, key);
	if (there && there->pool_addr == m->pool_addr && there->port == m->port)
		return 0;
	bpf_map_delete_elem(&nat_mappings, key);
	return err;
}

static __always_inline long nat_mapping_insert(const struct nat_mapping_key *key, const struct nat_mapping *m)
{
	long err = bpf_map_update_elem(&nat_mappings, key, m, BPF_NOEXIST);

	return cfg_resize && !err ? nat_mapping_insert_next(key, m) : err;
}

static __always_inline struct nat_outside *nat_outside_get(const struct nat_outside_key *key)
{
	struct nat_outside *o = bpf_map_lookup_elem(&nat_outside, key);

	return cfg_resize && !o ? bpf_map_lookup_elem(&nat_outside_next, key) : o;
}

static __always_inline void nat_outside_delete(const struct nat_outside_key *key)
{
	bpf_map_delete_elem(&nat_outside, key);
	if (cfg_resize)
		bpf_map_delete_elem(&nat_outside_next, key);
}

static __always_inline void nat_outside_set(const struct nat_outside_key *key, const struct nat_outside *o)
{
	long err = bpf_map_update_elem(&nat_outside, key, o, BPF_ANY);

	if (cfg_resize)
		err |= bpf_map_update_elem(&nat_outside_next, key, o, BPF_ANY);
	if (err)
		count_stat(STAT_NAT_OUTSIDE_FULL, 1);
}

/* The checksum deltas that lead from `t` to `to`. */
static __always_inline void nat_deltas(struct pkt *p)
{
	p->l3_delta = csum_add(csum_delta_addr(p->family, &p->t.saddr, &p->to.saddr),
			       csum_delta_addr(p->family, &p->t.daddr, &p->to.daddr));
	p->l4_delta = csum_add(csum_delta16(p->t.sport, p->to.sport), csum_delta16(p->t.dport, p->to.dport));
}

/* No session for want of ports, or by the rule's limits: the sender is told that it is prohibited (RFC 5508 REQ-8). */
static __always_inline enum verdict nat_refuse(struct pkt *p, enum drop_reason why)
{
	if (cfg_nat_log)
		nat_event(p, why == DROP_NAT_NO_PORT ? NAT_EVENT_PORTS_EXHAUSTED : NAT_EVENT_QUOTA);
	return p->family == 4 ? pkt_drop_reply(p, why, 3, 13, 0) : pkt_drop_reply(p, why, 1, 1, 0);
}

/* ---- what one inside host has */

static __always_inline struct nat_used *nat_used_get(const struct pkt *p, struct nat_used *ret_now)
{
	struct nat_host_key key = {.addr = p->t.saddr, .vrf = p->vrf, .rule = p->nat_rule};
	struct nat_counted *c = bpf_map_lookup_elem(&nat_counted, &key);
	struct nat_used *u = bpf_map_lookup_elem(&nat_used, &key), none = {};

	if (!u) {
		bpf_map_update_elem(&nat_used, &key, &none, BPF_NOEXIST);
		u = bpf_map_lookup_elem(&nat_used, &key);
		if (!u)
			return NULL;
	}
	ret_now->sessions = READ_ONCE(u->sessions);
	ret_now->ports = READ_ONCE(u->ports);
	if (c) {
		ret_now->sessions += c->counted.sessions - c->used_then.sessions;
		ret_now->ports += c->counted.ports - c->used_then.ports;
	}
	return u;
}

/* ---- the way back */

static __always_inline void nat_outside_key(const struct pkt *p, struct nat_outside_key *ret)
{
	struct iface *i = iface_get(p->hairpin ? p->hairpin : p->out_iface);

	__builtin_memset(ret, 0, sizeof(*ret));
	ret->addr = p->to.saddr;
	ret->port = p->to.sport;
	ret->vrf = i ? i->vrf : p->vrf;
	ret->proto = p->l4_proto;
}

/* Notes whose the outside address and port of this packet's new mapping are. ICMP queries have no other end that could begin. */
__noinline_global int nat_outside_add(struct pkt *p)
{
	struct nat_outside_key key;
	struct nat_outside v = {};

	if (!p || p->l4_proto == IPPROTO_ICMP || p->l4_proto == IPPROTO_ICMPV6)
		return 0;
	nat_outside_key(p, &key);
	v.inside.addr = p->t.saddr;
	v.inside.port = p->t.sport;
	v.inside.vrf = p->vrf;
	v.inside.pool = p->nat_pool;
	v.inside.proto = p->l4_proto;
	v.inside.remote = p->nat_remote;
	v.pool_addr = p->pool_addr;
	v.out_iface = p->hairpin ? p->hairpin : p->out_iface;
	v.rule = p->nat_rule;
	v.filtering = p->nat_filtering;
	nat_outside_set(&key, &v);
	return 0;
}

/* Notes that this packet's mapping sends to this remote address (RFC 4787 5, address-dependent filtering). */
__noinline_global int nat_outside_remote(struct pkt *p)
{
	struct nat_outside_key key;
	struct nat_outside v = {};

	if (!p || p->nat_filtering != NAT_FILTER_ADDRESS)
		return 0;
	nat_outside_key(p, &key);
	key.remote = p->to.daddr;
	v.inside.addr = p->t.saddr;
	v.inside.port = p->t.sport;
	v.inside.vrf = p->vrf;
	v.inside.pool = p->nat_pool;
	v.inside.proto = p->l4_proto;
	v.inside.remote = p->nat_remote;
	v.pool_addr = p->pool_addr;
	nat_outside_set(&key, &v);
	return 0;
}

/* ---- the mapping */

/* Flows that are opened through a mapping are counted to 2. False: its only flow has just ended and takes it along. */
static __always_inline bool nat_mapping_join(struct nat_mapping *m)
{
	__u32 opened = READ_ONCE(m->opened);

	if (opened == 1)
		opened = __sync_fetch_and_add(&m->opened, 1);
	return !(opened & NAT_MAPPING_ENDS);
}

/* A flow that leaves as `addr` and `port` has given way; if it was the only one ever to be opened through its mapping, that ends
 * too and the port is free at once: a flood must not hold ports. Else sluiced takes care of it, which knows all flows.
 *
 * Races: a CPU that has looked the mapping up and is held up before it joins may join one that another source has since got in
 * the same memory. The worst is that its flow leaves by that one's port, towards another remote end: flow_new() refuses
 * doubles, so each gets its own answers, and sluiced keeps the port while either lives. */
__noinline_global int nat_mapping_end(const struct nat_mapping_key *mapping, __u32 pool_addr, __u32 port)
{
	struct nat_outside_key back = {};
	struct nat_mapping_key key;
	struct nat_mapping *m;
	struct nat_outside *o;
	struct pool_addr *a;
	struct pool_ports *b;

	if (!mapping)
		return 0;
	key = *mapping; /* verifier: before 6.2 a key must stand on the stack or in a map */
	m = nat_mapping_get(&key);
	a = bpf_map_lookup_elem(&pool_addrs, &pool_addr);
	b = pool_ports_get(pool_addr, pool_class(key.proto));
	if (!m || !a || !b || m->pool_addr != pool_addr || bpf_ntohs(m->port) != port)
		return 0;
	back.addr = a->addr;
	back.port = m->port;
	back.vrf = m->out_vrf;
	back.proto = key.proto;
	o = nat_outside_get(&back);
	if ((o && READ_ONCE(o->joined)) || __sync_val_compare_and_swap(&m->opened, 1, NAT_MAPPING_ENDS) != 1)
		return 0;
	nat_outside_delete(&back);
	nat_mapping_delete(&key);
	/* verifier: on 6.1 it does not see that the port is one, and the compiler, which does, would leave the bound out. */
	asm volatile("" : "+r"(port));
	pool_port_release(b, port);
	return 1;
}

static __always_inline enum verdict nat_use(struct pkt *p, __u32 pool_addr, __be16 port)
{
	struct pool_addr *a = bpf_map_lookup_elem(&pool_addrs, &pool_addr);

	if (!a || !(a->flags & POOL_ADDR_F_USED))
		return pkt_drop(p, DROP_NAT_NO_POOL);
	p->to.saddr = a->addr;
	p->to.sport = port;
	p->pool_addr = pool_addr;
	p->nat_own = (a->flags & POOL_ADDR_F_OWN) != 0;
	p->todo |= DO_NAT;
	p->flow_flags |= FLOW_F_SNAT;
	nat_deltas(p);
	return V_NEXT;
}

/* A protocol without ports that could be translated (GRE, ESP, SCTP, …): by address alone, which serves one inside host for each
 * remote address; flow_install() refuses the second. AH signs the addresses and can never pass. */
static __always_inline enum verdict nat_map_address(struct pkt *p, __u32 first, __u32 count, __u32 seed)
{
	__u32 at = first + pool_paired(&p->t.saddr, seed, count);
	__u32 *member = bpf_map_lookup_elem(&pool_members, &at);

	if (p->l4_proto == IPPROTO_AH)
		return pkt_drop(p, DROP_NAT_PROTOCOL);
	if (!member)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	return nat_use(p, *member, p->t.sport);
}

/* No port is free, and the rule shares them out: any of the paired address, without a mapping of its own. Whether the remote end
 * tells the flows apart is seen when the pair is installed, which refuses the exact double; then the next one is tried. */
static __always_inline enum verdict nat_map_overload(struct pkt *p, const struct pool_search *s)
{
	__u32 at = s->first + s->start % s->count, port;
	__u32 *member = bpf_map_lookup_elem(&pool_members, &at);

	if (!p->nat_try)
		p->nat_random = s->random;
	port = s->min + (p->nat_random + p->nat_try) % (s->max - s->min + 1);
	if (!member)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	if (!p->nat_try)
		count_stat(STAT_NAT_OVERLOADED, 1);
	return nat_use(p, *member, bpf_htons(port));
}

/* A new mapping, with a port of its own. Two CPUs that map the same source at once: the second one's insertion fails, and it
 * takes the first one's mapping and gives its port back. */
static __always_inline enum verdict nat_map_new(struct pkt *p, const struct nat_mapping_key *key, struct pool_search *s)
{
	struct pool_ports *b;
	struct iface *i = iface_get(p->hairpin ? p->hairpin : p->out_iface);
	struct nat_mapping new = {.used_ns = pkt_now(p),
				  .rule = p->nat_rule,
				  .out_vrf = i ? i->vrf : p->vrf,
				  .opened = cfg_resize ? 2 : 1},
			   *won;
	enum verdict v;
	long err;

	pool_search(s);
	if (!s->found)
		return p->nat_flags & SNAT_F_OVERLOAD ? nat_map_overload(p, s) : pkt_drop(p, DROP_NAT_NO_PORT);
	new.pool_addr = s->pool_addr;
	new.port = bpf_htons(s->port);
	err = nat_mapping_insert(key, &new);
	if (!err) {
		v = nat_use(p, new.pool_addr, new.port);
		if (v == V_NEXT)
			nat_outside_add(p);
		return v;
	}
	b = pool_ports_get(s->pool_addr, s->class);
	if (b)
		pool_port_release(b, s->port);
	won = nat_mapping_get(key);
	if (won && nat_mapping_join(won))
		return nat_use(p, won->pool_addr, won->port);
	return pkt_drop(p, DROP_NAT_FULL);
}

static __always_inline void nat_mapping_key(const struct pkt *p, __u32 pool, struct nat_mapping_key *ret)
{
	__builtin_memset(ret, 0, sizeof(*ret));
	ret->addr = p->t.saddr;
	ret->port = p->t.sport;
	ret->vrf = p->vrf;
	ret->pool = pool;
	ret->proto = p->l4_proto;
	ret->remote = p->nat_remote;
}

/* The packet's mapping is no good: the next one that asks gets another. Its port stays taken until the sweep. */
static __always_inline void nat_unmap(struct pkt *p)
{
	struct nat_outside_key out;
	struct nat_mapping_key key;
	struct nat_outside *o;

	nat_mapping_key(p, p->nat_pool, &key);
	nat_outside_key(p, &out);
	o = nat_outside_get(&out);
	/* A shared port's entry is that of who had it first. */
	if (o && addr_equal(&o->inside.addr, &p->t.saddr) && o->inside.port == p->t.sport)
		nat_outside_delete(&out);
	nat_mapping_delete(&key);
}

/* The source's outside address and port. sluiced takes a mapping away when no flow holds its port and used_ns is some seconds
 * past; should it do so between the look-up here and the flow's installation, the port may be given to another source as well,
 * and what tells the two apart is the remote address (flow_install() refuses exact doubles).
 *
 * `ports_left`: false: the host may have no more ports; mappings that it has serve it on. *ret_new: a port was taken. */
static __always_inline enum verdict nat_map(struct pkt *p, __u32 pool_id, bool ports_left, bool *ret_new)
{
	struct nat_mapping_key key;
	struct pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	struct control *c = control_get();
	struct pool_search s = {.class = pool_class(p->l4_proto)};
	struct nat_mapping *m;

	if (!pool_id || !pool || !c)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	s.count = pool_family(pool, p->family, &s.first);
	if (!s.count)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	p->nat_pool = pool_id;
	nat_mapping_key(p, pool_id, &key);
	if (s.class == POOL_CLASSES)
		return nat_map_address(p, s.first, s.count, c->hash_seed);
	m = nat_mapping_get(&key);
	if (m) {
		if (pkt_now(p) - m->used_ns > 1000000000ULL)
			m->used_ns = pkt_now(p);
		if (nat_mapping_join(m) && nat_use(p, m->pool_addr, m->port) == V_NEXT)
			return V_NEXT;
		/* The address went away, or the mapping is going. */
		nat_mapping_delete(&key);
	}
	if (!ports_left)
		return nat_refuse(p, DROP_NAT_LIMIT_PORTS);
	s.start = pool_paired(&p->t.saddr, c->hash_seed, s.count);
	s.min = pool->port_min;
	s.max = pool->port_max;
	if (s.max < s.min)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	s.want = bpf_ntohs(p->t.sport);
	s.parity = s.class == POOL_ICMP ? 0 : POOL_PARITY_WORDS;
	s.random = bpf_get_prandom_u32();
	*ret_new = true;
	return nat_map_new(p, &key, &s);
}

#endif
