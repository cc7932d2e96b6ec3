/* nat_map.h: what inside addresses and ports look like outside, and whose an outside one is.
 *
 * Stands between nat.h, which knows by the rules that a packet is to be translated, pool.h, which gives out the ports, and
 * nattab.h, where the mappings are: from inside to outside, and back, for hairpinning and for rules that let others in than those
 * a flow has sent to. Here too is what one inside host may have at most.
 */
#ifndef SLUICE_NAT_MAP_H
#define SLUICE_NAT_MAP_H

#include "pkt.h"
#include "counter.h"
#include "csum.h"
#include "flow_entry.h"
#include "iface.h"
#include "nat_event.h"
#include "nattab.h"
#include "pool.h"
#include "pool_run.h"

/* Written here, deleted by sluiced when the mapping is gone. Size: set by sluiced, that of a flow table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct nat_peer_key);
	__type(value, struct nat_peer);
} nat_peers SEC(".maps");

/* The same with another size, while sluiced moves there: see flowtab.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct nat_peer_key);
	__type(value, struct nat_peer);
} nat_peers_next SEC(".maps");

/* Written by sluiced, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DNAT_RULE_MAX);
	__type(key, struct dnat_key);
	__type(value, struct dnat_rule);
} dnat_rules SEC(".maps");

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

/* ---- access to the tables, and to the next ones as far as there are such */

/* *ret_at: for nat_mapping_insert(). */
static __always_inline struct nat_mapping *nat_mapping_get(const struct nat_mapping_key *key, struct bucket_place *ret_at)
{
	struct bucket_place at;
	__u32 i = nattab_find(key, ret_at);

	if (i)
		return nattab_at(false, i - 1);
	if (!cfg_resize)
		return NULL;
	i = nattab_find_next(key, &at);
	return i ? nattab_at(true, i - 1) : NULL;
}

/* Its port stays taken until the sweep. */
static __always_inline void nat_mapping_delete(const struct nat_mapping_key *key)
{
	struct bucket_place at;
	__u32 i = nattab_find(key, &at);

	if (i)
		nattab_kill(i - 1, false);
	if (!cfg_resize)
		return;
	i = nattab_find_next(key, &at);
	if (i)
		nattab_kill_next(i - 1);
}

/* As flow_insert_next(): who is in the next table before it holds. */
static __always_inline int nat_mapping_insert_next(const struct pkt *p, const struct nat_mapping_key *key)
{
	struct bucket_place at;
	__u32 i = nattab_find_next(key, &at);
	struct nat_mapping *there;
	int err = -EEXIST;

	if (!i)
		err = nattab_insert_next(p, key, &at);
	if (err == -EEXIST) {
		i = nattab_find_next(key, &at);
		there = i ? nattab_at(true, i - 1) : NULL;
		if (there && there->pool_addr == p->pool_addr && there->port == p->to.sport)
			return 0;
	}
	if (err) {
		i = nattab_find(key, &at);
		if (i)
			nattab_kill(i - 1, false);
	}
	return err;
}

static __always_inline int nat_mapping_insert(const struct pkt *p, const struct nat_mapping_key *key,
					      const struct bucket_place *at)
{
	int err = nattab_insert(p, key, at);

	return cfg_resize && !err ? nat_mapping_insert_next(p, key) : err;
}

/* Whose an outside port is. */
static __always_inline struct nat_mapping *nat_mapping_of_way(__u32 way)
{
	__u32 i = nattab_find_way(way);

	if (i)
		return nattab_at(false, i - 1);
	if (!cfg_resize)
		return NULL;
	i = nattab_find_way_next(way);
	return i ? nattab_at(true, i - 1) : NULL;
}

static __always_inline struct nat_peer *nat_peer_get(const struct nat_peer_key *key)
{
	struct nat_peer *peer = bpf_map_lookup_elem(&nat_peers, key);

	return cfg_resize && !peer ? bpf_map_lookup_elem(&nat_peers_next, key) : peer;
}

/* The checksum deltas that lead from `t` to `to`. */
static __always_inline void nat_deltas(struct pkt *p)
{
	p->l3_delta =
		p->family == 4
			? csum_delta_pair(p->t.saddr.a32[3], p->to.saddr.a32[3], p->t.daddr.a32[3], p->to.daddr.a32[3])
			: csum_add(csum_delta_addr(6, &p->t.saddr, &p->to.saddr), csum_delta_addr(6, &p->t.daddr, &p->to.daddr));
	p->l4_delta = csum_fold((__u32)p->to.sport + (__u16)~p->t.sport + p->to.dport + (__u16)~p->t.dport);
}

/* No session for want of ports or addresses, or by the rule's limits: the sender is told that it is prohibited (RFC 5508 REQ-8).
 */
static __always_inline enum verdict nat_refuse(struct pkt *p, enum drop_reason why)
{
	if (cfg_nat_log)
		nat_event(p, why == DROP_NAT_NO_PORT	  ? NAT_EVENT_PORTS_EXHAUSTED
			     : why == DROP_NAT_NO_ADDRESS ? NAT_EVENT_ADDRESSES_EXHAUSTED
							  : NAT_EVENT_QUOTA);
	return p->family == 4 ? pkt_drop_reply(p, why, 3, 13, 0) : pkt_drop_reply(p, why, 1, 1, 0);
}

/* ---- what one inside host has */

static __always_inline void nat_host_key(const struct pkt *p, struct nat_host_key *ret)
{
	ret->addr = p->t.saddr;
	ret->vrf = p->vrf;
	ret->rule = p->nat_source;
	ret->pad = 0;
}

static __always_inline struct nat_used *nat_used_of(const struct nat_host_key *key)
{
	struct nat_used *u = bpf_map_lookup_elem(&nat_used, key), none = {};

	if (u)
		return u;
	bpf_map_update_elem(&nat_used, key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&nat_used, key);
}

/* *ret_more: what the packet's host has besides; modulo 2^32, for some of that may have ended. */
static __always_inline struct nat_used *nat_used_get(const struct pkt *p, struct nat_used *ret_more)
{
	struct nat_host_key key;
	struct nat_counted *c;
	struct nat_used *u;

	nat_host_key(p, &key);
	c = bpf_map_lookup_elem(&nat_counted, &key);
	u = nat_used_of(&key);
	if (u && c) {
		ret_more->sessions = c->counted.sessions - c->used_then.sessions;
		ret_more->ports = c->counted.ports - c->used_then.ports;
	}
	return u;
}

/* `limit`: 0: none. */
static __always_inline bool nat_used_up(__u32 has, __u32 limit)
{
	return limit && has >= limit;
}

/* The packet's pair is there: what its host has more now. Not before, for a packet may be refused behind nat_snat(), and nothing
 * is ever taken away from what a host has used. `what`: NAT_LIMITED_*. 0, or why the pair is one too many: another CPU has made
 * the last one. sluiced may have deleted the host meanwhile.
 *
 * Races: of two CPUs that make the same pair and mapping at once, one may do each: then nobody counts the port but sluiced, in
 * its next pass; as it is sluiced that sees what was counted here and ended again. */
__noinline_global __u32 nat_used_add(struct pkt *p, __u32 what)
{
	struct nat_used more = {}, *u = p ? nat_used_get(p, &more) : NULL;
	__u32 why = 0;

	if (!p || !u)
		return 0;
	if (what & NAT_LIMITED_SESSION && nat_used_up(__sync_fetch_and_add(&u->sessions, 1) + more.sessions, p->limit_sessions))
		why = DROP_NAT_LIMIT_SESSIONS;
	if (what & NAT_LIMITED_PORT && nat_used_up(__sync_fetch_and_add(&u->ports, 1) + more.ports, p->limit_ports))
		why = DROP_NAT_LIMIT_PORTS;
	return why;
}

/* Notes that this packet's mapping sends to this remote address (RFC 4787 5, address-dependent filtering). ICMP queries have no
 * other end that could begin. */
__noinline_global int nat_peer_note(struct pkt *p)
{
	struct nat_peer_key key = {};
	struct nat_peer v = {};
	long err;

	if (!p || p->nat_filtering != NAT_FILTER_ADDRESS || pool_class(p->l4_proto) >= POOL_ICMP)
		return 0;
	key.remote = p->to.daddr;
	key.way = NAT_WAY(p->pool_addr, pool_class(p->l4_proto), bpf_ntohs(p->to.sport));
	v.addr = p->t.saddr;
	v.port = p->t.sport;
	v.vrf = p->vrf;
	err = bpf_map_update_elem(&nat_peers, &key, &v, BPF_ANY);
	if (cfg_resize)
		err |= bpf_map_update_elem(&nat_peers_next, &key, &v, BPF_ANY);
	if (err)
		count_stat(STAT_NAT_OUTSIDE_FULL, 1);
	return 0;
}

/* ---- the mapping */

/* Flows that are opened through a mapping, or to it, are counted to 2. False: its only flow has just ended and takes it along. */
static __always_inline bool nat_mapping_join(struct nat_mapping *m)
{
	__u32 opened = READ_ONCE(m->opened);

	if (opened == 1)
		opened = __sync_fetch_and_add(&m->opened, 1);
	return !(opened & NAT_MAPPING_ENDS);
}

static __always_inline bool nat_mapping_is_of(const struct nat_mapping *m, const struct addr *addr, __be16 port, __u16 vrf)
{
	return m->inside.port == port && m->inside.vrf == vrf && addr_equal(&m->inside.addr, addr);
}

/* A flow from `inside` (whose `remote` is that of its remote end) that leaves by `port` of `pool_addr` has given way; if it was
 * the only one ever to be opened through its mapping, that ends too and the port is free at once: a flood must not hold ports.
 * Else sluiced takes care of it, which knows all flows; as it does while the tables' size changes, when a copy would be left in
 * the other one.
 *
 * Races: a CPU that has looked the mapping up and is held up before it joins finds NAT_MAPPING_ENDS, as long as the entry rests;
 * if it is held up for longer, it may join one that another source has since got in the same slot. The worst is that its flow
 * leaves by that one's port, towards another remote end: flow_new() refuses doubles, so each gets its own answers, and sluiced
 * keeps the port while either lives. */
__noinline_global int nat_mapping_end(const struct nat_mapping_key *inside, __u32 pool_addr, __u32 port)
{
	struct nat_mapping *m;
	__u32 class, i;

	if (!inside || cfg_resize)
		return 0;
	class = pool_class(inside->proto);
	i = nattab_find_way(NAT_WAY(pool_addr, class, port));
	m = i ? nattab_at(false, i - 1) : NULL;
	/* A shared port's mapping may be another source's, or of this one towards another remote end. */
	if (!m || m->pool_addr != pool_addr || !nat_mapping_is_of(m, &inside->addr, inside->port, inside->vrf) ||
	    m->inside.pool != inside->pool || (m->inside.remote && m->inside.remote != inside->remote))
		return 0;
	if (__sync_val_compare_and_swap(&m->opened, 1, NAT_MAPPING_ENDS) != 1)
		return 0;
	nattab_kill(i - 1, true);
	/* verifier: on 6.1 it does not see that the port is one, and the compiler, which does, would leave the bound out. */
	asm volatile("" : "+r"(port));
	pool_port_release(pool_addr, class, port);
	return 1;
}

/* Where the answers come in. */
static __always_inline __u16 nat_reply_vrf(const struct pkt *p)
{
	struct iface *i = iface_get(p->out_iface);

	return i ? i->vrf : p->vrf;
}

/* The entry of the answers, if the packet leaves with this source, is fetched from memory, and its place found: unless that was
 * done already, for the same. */
static __always_inline void nat_ahead(struct pkt *p, const struct addr *a, __be16 port)
{
	__u16 vrf = nat_reply_vrf(p);

	if (p->ahead == NAT_AHEAD(port) && p->reply_vrf == vrf && addr_equal(&p->ahead_addr, a))
		return;
	p->ahead = NAT_AHEAD(port);
	p->ahead_addr = *a;
	flow_ahead(p, a, port, vrf);
}

/* The pool's address that belongs to a source, and where its ports are looked for. False: it has none. */
static __always_inline bool nat_want(struct pool_search *s, const struct pool *pool, __u8 family, const struct addr *source,
				     __be16 port)
{
	s->count = pool_family(pool, family, &s->first);
	if (!s->count)
		return false;
	pool_search_pair(s, source, control.hash_seed);
	s->runs = pool->flags & POOL_F_RUNS;
	s->min = pool->port_min;
	s->max = pool->port_max;
	s->want = bpf_ntohs(port);
	s->parity = s->class == POOL_ICMP ? 0 : POOL_PARITY_WORDS;
	if (!pool_member(s, 0, &s->pool_addr))
		return false;
	if (!pool_keeps(s->class, s->pool_addr))
		s->want = 0;
	return true;
}

/* What a source without a mapping leaves by, most likely, which is looked at before it is waited for: *ret_addr, and the port; 0:
 * that is not known. */
static __always_inline __u32 nat_peek(struct pool_search *s, struct addr *ret_addr)
{
	struct pool_ports *b;
	__u32 flags;

	if (!pool_addr_read(s->pool_addr, ret_addr, &flags))
		return 0;
	if (unlikely(s->runs))
		return s->want >= s->min && s->want <= s->max ? s->want : 0;
	b = pool_ports_get(s->pool_addr, s->class);
	return b ? pool_search_peek(s, b) : 0;
}

/* As nat_peek(). verifier: global, for the stack of whoever has not guessed. */
__noinline_global __u32 nat_peek_late(struct pool_search *s, struct addr *ret_addr)
{
	return s && ret_addr ? nat_peek(s, ret_addr) : 0;
}

/* verifier: global, since several places ask. */
__noinline_global enum verdict nat_use(struct pkt *p, __u32 pool_addr, __u32 port)
{
	__u32 flags;

	if (!p)
		return V_DROP;
	if (!pool_addr_read(pool_addr, &p->to.saddr, &flags))
		return pkt_drop(p, DROP_NAT_NO_POOL);
	p->to.sport = port;
	p->pool_addr = pool_addr;
	p->nat_own = (flags & POOL_ADDR_F_OWN) != 0;
	p->todo |= DO_NAT;
	p->flow_flags |= FLOW_F_SNAT;
	nat_ahead(p, &p->to.saddr, port);
	nat_deltas(p);
	return V_NEXT;
}

/* A protocol without ports that could be translated (GRE, ESP, SCTP, …): by address alone, which serves one inside host for each
 * remote address. flow_install() refuses the second, for whom nat_share.h looks for another address of the pool. AH signs the
 * addresses and can never pass. */
static __always_inline enum verdict nat_map_address(struct pkt *p, __u32 pool_addr)
{
	if (p->l4_proto == IPPROTO_AH)
		return pkt_drop(p, DROP_NAT_PROTOCOL);
	return nat_use(p, pool_addr, p->t.sport);
}

/* No port is free, and the rule shares them out: any of the paired address, without a mapping of its own. Whether the remote end
 * tells the flows apart is seen when the pair is installed, which refuses the exact double; then nat_share.h looks for another.
 */
static __always_inline enum verdict nat_map_overload(struct pkt *p, const struct pool_search *s)
{
	__u32 pool_addr;

	if (!pool_member(s, 0, &pool_addr))
		return pkt_drop(p, DROP_NAT_NO_POOL);
	count_stat(STAT_NAT_OVERLOADED, 1);
	return nat_use(p, pool_addr, bpf_htons(s->min + s->random % (s->max - s->min + 1)));
}

/* A new mapping for `key`, with a port of its own. Two CPUs that map the same source at once: the second one's insertion fails,
 * and it takes the first one's mapping and gives its port back. */
static __always_inline enum verdict nat_map_new(struct pkt *p, const struct nat_mapping_key *key, struct bucket_place *at,
						const struct pool *pool, struct pool_search *s, bool *ret_new)
{
	struct nat_mapping *won;
	enum verdict v;

	if (unlikely(s->runs)) {
		s->random = bpf_get_prandom_u32();
		pool_run_search(s);
	} else if (unlikely(!pool_search_take(s, pool_ports_get(s->pool_addr, s->class), bpf_ntohs((__u16)p->ahead)))) {
		pool_search_other(s, pool);
	}
	if (!s->found)
		return p->nat_flags & SNAT_F_OVERLOAD ? nat_map_overload(p, s) : pkt_drop(p, DROP_NAT_NO_PORT);
	pkt_now(p);
	v = nat_use(p, s->pool_addr, bpf_htons(s->port));
	if (v == V_NEXT) {
		int err = nat_mapping_insert(p, key, at);

		*ret_new = !err;
		if (!err)
			return V_NEXT;
		p->nat_raced = err == -EADDRINUSE;
	}
	pool_port_release(s->pool_addr, s->class, s->port);
	if (v != V_NEXT)
		return v;
	won = nat_mapping_get(key, at);
	if (won && nat_mapping_join(won))
		return nat_use(p, won->pool_addr, won->port);
	return pkt_drop(p, DROP_NAT_FULL);
}

/* In words: see flow_key4_of(). */
static __always_inline void nat_mapping_key(const struct pkt *p, __u32 pool, struct nat_mapping_key *ret)
{
	__u64 *word = (__u64 *)ret;

	word[0] = p->t.saddr.a64[0];
	word[1] = p->t.saddr.a64[1];
	word[2] = p->t.sport | (__u32)p->vrf << 16 | (__u64)(__u16)pool << 32 | (__u64)p->l4_proto << 48;
	word[3] = p->nat_remote;
}

/* The packet's mapping is no good: the next one that asks gets another. Its port stays taken until the sweep. */
static __always_inline void nat_unmap(struct pkt *p)
{
	struct nat_mapping_key key;

	nat_mapping_key(p, p->nat_pool, &key);
	nat_mapping_delete(&key);
}

/* The packet that was translated opens no flow: there is no room for it, or no way. A mapping that was made for it ends, and its
 * port is free at once; one that others have used stays, and is one of its host's ports. */
__noinline_global int nat_give_back(struct pkt *p)
{
	struct nat_mapping_key key;

	if (!p || !p->nat_pool || !(p->flow_flags & FLOW_F_SNAT))
		return 0;
	nat_mapping_key(p, p->nat_pool, &key);
	if (!nat_mapping_end(&key, p->pool_addr, bpf_ntohs(p->to.sport)) && unlikely(p->nat_limited & NAT_LIMITED_PORT))
		nat_used_add(p, NAT_LIMITED_PORT);
	return 0;
}

/* Of the answers to a port. */
static __always_inline void nat_place_reply(const struct pkt *p, const struct addr *a, __u32 port, struct bucket_place *ret_at)
{
	struct flow_key4 key = flow_key4_of(p->t.daddr.a32[3], a->a32[3], p->t.dport, bpf_htons(port), p->reply_vrf, p->l4_proto);

	flowtab_place4(&key, ret_at);
}

/* Before the packet's rule is asked, and its flow looked for: its pool is most likely the one that this CPU has used last. All
 * that will be read or written then is fetched from memory at once. Nothing is decided by that: what does not come true is
 * fetched when it is known. Of a packet of TCP or UDP over IPv4 that has no flow, whose way out is known; p->at: where it would
 * stand. */
static __always_inline void nat_guess(struct pkt *p)
{
	__u32 id = p->pool_last, port, line = 0;
	struct pool *pool = bpf_map_lookup_elem(&pools, &id);
	struct nat_mapping_key key;
	struct bucket_place wanted = {}; /* verifier: it may be kept on the stack, unread */
	struct pool_search s = {};
	struct addr a;
	bool other;

	p->map_pool = p->ahead = 0;
	s.class = pool_class(p->l4_proto);
	if (!id || !pool || !nat_want(&s, pool, 4, &p->t.saddr, p->t.sport))
		return;
	p->map_pool = id;
	p->nat_remote = 0;
	nat_mapping_key(p, id, &key);
	nattab_place(&key, &p->map_at);
	p->reply_vrf = nat_reply_vrf(p);
	port = nat_peek(&s, &a);
	/* Where the port is not the wanted one, the source's own mapping may be it that has that. */
	other = port && port != s.want;
	if (other)
		nat_place_reply(p, &a, s.want, &wanted);
	if (port) {
		nat_place_reply(p, &a, port, &p->reply_at);
		p->ahead = NAT_AHEAD(bpf_htons(port));
		p->ahead_addr = a;
		line = nattab_way_place(NAT_WAY(s.pool_addr, s.class, port));
	}
	/* One after the other, with little else in between: a CPU goes on for some 300 instructions while it waits. */
	flowtab_fetch(4, &p->at, p->far_last);
	if (port)
		flowtab_fetch(4, &p->reply_at, p->far_last);
	if (other)
		flowtab_fetch(4, &wanted, p->far_last);
	nattab_touch(false, &p->map_at);
	if (port)
		nattab_way_touch(line);
}

/* `s`: of nat_want(). */
static __always_inline struct nat_mapping *nat_map_find(struct pkt *p, const struct nat_mapping_key *key, struct pool_search *s)
{
	struct nat_mapping *m;
	struct addr a;
	__u32 port, i;

	if (p->map_pool == key->pool && !key->remote) {
		i = nattab_look(key, &p->map_at);
		return i ? nattab_at(false, i - 1) : NULL;
	}
	p->ahead = 0;
	m = nat_mapping_get(key, &p->map_at);
	port = m ? 0 : nat_peek_late(s, &a);
	if (port) {
		nattab_way_touch(nattab_way_place(NAT_WAY(s->pool_addr, s->class, port)));
		nat_ahead(p, &a, bpf_htons(port));
	}
	return m;
}

/* The source's outside address and port. sluiced takes a mapping away when no flow holds its port and used_ns is some seconds
 * past; should it do so between the look-up here and the flow's installation, the port may be given to another source as well,
 * and what tells the two apart is the remote address (flow_install() refuses exact doubles).
 *
 * `ports_left`: false: the host may have no more ports; mappings that it has serve it on. *ret_new: it has one more now. */
static __always_inline enum verdict nat_map(struct pkt *p, __u32 pool_id, bool ports_left, bool *ret_new)
{
	struct pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	struct pool_search s = {.class = pool_class(p->l4_proto)};
	struct nat_mapping_key key;
	struct nat_mapping *m;

	if (!pool_id || !pool || !nat_want(&s, pool, p->family, &p->t.saddr, p->t.sport))
		return pkt_drop(p, DROP_NAT_NO_POOL);
	p->nat_pool = p->pool_last = pool_id;
	if (s.class == POOL_CLASSES)
		return nat_map_address(p, s.pool_addr);
	nat_mapping_key(p, pool_id, &key);
	m = nat_map_find(p, &key, &s);
	if (m) {
		if (pkt_now(p) - m->used_ns > 1000000000ULL)
			m->used_ns = pkt_now(p);
		if (nat_mapping_join(m) && nat_use(p, m->pool_addr, m->port) == V_NEXT)
			return V_NEXT;
		/* The address went away, or the mapping is going. */
		nat_mapping_delete(&key);
		p->ahead = 0;
	}
	if (!ports_left)
		return nat_refuse(p, DROP_NAT_LIMIT_PORTS);
	if (s.max < s.min)
		return pkt_drop(p, DROP_NAT_NO_POOL);
	return nat_map_new(p, &key, &p->map_at, pool, &s, ret_new);
}

#endif
