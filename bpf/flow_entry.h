/* flow_entry.h: flow entries by their tuple: found, inserted, ended, in the tables there are.
 *
 * Stands between flow.h and flowtab.h, which knows keys and one table at a time. While the tables' size changes (cfg_resize),
 * there are two for each family: see flowtab.h.
 */
#ifndef SLUICE_FLOW_ENTRY_H
#define SLUICE_FLOW_ENTRY_H

#include "flowtab.h"
#include "iface.h"

/* ---- keys, which are made as words. They are hashed and compared as such at once: a load of what several stores have just
 * written waits until these are in the cache, and so for all that came before them, the entries that are being fetched included.
 */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "keys as words");

/* What follows the addresses. `ports`: as they stand in a header. */
static __always_inline __u64 flow_key_rest(__u32 ports, __u16 vrf, __u8 proto)
{
	return ports | (__u64)vrf << 32 | (__u64)proto << 48;
}

static __always_inline struct flow_key4 flow_key4_of(__be32 saddr, __be32 daddr, __be16 sport, __be16 dport, __u16 vrf,
						     __u8 proto)
{
	union {
		__u64 word[2];
		struct flow_key4 key;
	} k = {.word = {saddr | (__u64)daddr << 32, flow_key_rest(sport | (__u32)dport << 16, vrf, proto)}};

	return k.key;
}

static __always_inline struct flow_key6 flow_key6_of(const struct addr *saddr, const struct addr *daddr, __be16 sport,
						     __be16 dport, __u16 vrf, __u8 proto)
{
	union {
		__u64 word[5];
		struct flow_key6 key;
	} k = {.word = {saddr->a64[0], saddr->a64[1], daddr->a64[0], daddr->a64[1],
			flow_key_rest(sport | (__u32)dport << 16, vrf, proto)}};

	return k.key;
}

static __always_inline struct flow_key4 flow_key4(const struct tuple *t, __u8 proto, __u16 vrf)
{
	return flow_key4_of(t->saddr.a32[3], t->daddr.a32[3], t->sport, t->dport, vrf, proto);
}

static __always_inline struct flow_key6 flow_key6(const struct tuple *t, __u8 proto, __u16 vrf)
{
	return flow_key6_of(&t->saddr, &t->daddr, t->sport, t->dport, vrf, proto);
}

/* ---- entries */

/* Index of the entry + 1; 0: there is none. Here and below `next`, a constant, tells which of the tables. */
static __always_inline __u32 flow_find(__u8 family, bool next, const struct tuple *t, __u8 proto, __u16 vrf)
{
	if (family == 4) {
		struct flow_key4 key = flow_key4(t, proto, vrf);

		return next ? flowtab_find4_next(&key) : flowtab_find4(&key);
	}
	if (cfg_ipv6) {
		struct flow_key6 key = flow_key6(t, proto, vrf);

		return next ? flowtab_find6_next(&key) : flowtab_find6(&key);
	}
	return 0;
}

static __always_inline struct flow *flow_get_in(__u8 family, bool next, const struct tuple *t, __u8 proto, __u16 vrf)
{
	__u32 i = flow_find(family, next, t, proto, vrf);

	if (!i)
		return NULL;
	if (family == 4)
		return flowtab_at(next ? 4 | FLOWTAB_NEXT : 4, i - 1);
	return flowtab_at(next ? 6 | FLOWTAB_NEXT : 6, i - 1);
}

static __always_inline struct flow *flow_get(__u8 family, const struct tuple *t, __u8 proto, __u16 vrf)
{
	struct flow *f = flow_get_in(family, false, t, proto, vrf);

	return cfg_resize && !f ? flow_get_in(family, true, t, proto, vrf) : f;
}

static __always_inline void flow_delete_in(__u8 family, bool next, const struct tuple *t, __u8 proto, __u16 vrf, bool early)
{
	__u32 i = flow_find(family, next, t, proto, vrf);

	if (!i)
		return;
	if (family == 4)
		flowtab_kill(next ? 4 | FLOWTAB_NEXT : 4, i - 1, early);
	else if (cfg_ipv6)
		flowtab_kill(next ? 6 | FLOWTAB_NEXT : 6, i - 1, early);
}

/* `early`: its place is wanted soon. */
static __always_inline void flow_delete(__u8 family, const struct tuple *t, __u8 proto, __u16 vrf, bool early)
{
	flow_delete_in(family, false, t, proto, vrf, early);
	if (cfg_resize)
		flow_delete_in(family, true, t, proto, vrf, early);
}

/* Do both leave as the same tuple? */
static __always_inline bool flow_same_rewrite(__u8 family, const struct flow *a, const struct flow *b)
{
	if (a->sport != b->sport || a->dport != b->dport)
		return false;
	if (family == 4)
		return a->saddr4 == b->saddr4 && a->daddr4 == b->daddr4;
	return addr_equal(&a->saddr6, &b->saddr6) && addr_equal(&a->daddr6, &b->daddr6);
}

/* Where the packet's entry will stand, which is fetched from memory. verifier: with the keys on a stack of its own. */
__noinline_global int flow_place(struct pkt *p)
{
	if (!p)
		return 0;
	if (p->family == 4) {
		struct flow_key4 key = flow_key4(&p->t, p->l4_proto, p->vrf);

		flowtab_ahead4(&key, &p->at, p->far_last);
	} else if (cfg_ipv6) {
		struct flow_key6 key = flow_key6(&p->t, p->l4_proto, p->vrf);

		flowtab_ahead6(&key, &p->at, p->far_last);
	}
	return 0;
}

/* The same of the packet's answers, which come in by this VRF, if it leaves with this source. */
__noinline_global int flow_ahead(struct pkt *p, const struct addr *saddr, __u32 sport, __u32 vrf)
{
	if (!p || !saddr)
		return 0;
	p->reply_vrf = vrf;
	if (p->family == 4) {
		struct flow_key4 key =
			flow_key4_of(p->to.daddr.a32[3], saddr->a32[3], p->to.dport, sport, p->reply_vrf, p->l4_proto);

		flowtab_ahead4(&key, &p->reply_at, p->far_last);
	} else if (cfg_ipv6) {
		struct flow_key6 key = flow_key6_of(&p->to.daddr, saddr, p->to.dport, sport, p->reply_vrf, p->l4_proto);

		flowtab_ahead6(&key, &p->reply_at, p->far_last);
	}
	return 0;
}

static __always_inline struct flow *flow_at(__u8 family, __u32 i)
{
	return family == 4 ? flowtab_at(4, i) : flowtab_at(6, i);
}

/* See flowtab_open(). The key is in the entry. */
static __always_inline long flow_open(__u8 family, const struct tuple *t, __u8 proto, __u16 vrf, const struct bucket_place *at,
				      __u64 now_ns)
{
	if (family == 4) {
		struct flow_key4 key = flow_key4(t, proto, vrf);

		return flowtab_open4(&key, at, now_ns);
	}
	if (cfg_ipv6) {
		struct flow_key6 key = flow_key6(t, proto, vrf);

		return flowtab_open6(&key, at, now_ns);
	}
	return -E2BIG;
}

static __always_inline void flow_close(__u8 family, const struct bucket_place *at, __u32 i, struct flow *f)
{
	if (family == 4)
		flowtab_close(4, at, i, f);
	else if (cfg_ipv6)
		flowtab_close(6, at, i, f);
}

static __always_inline long flow_insert_next(__u8 family, const struct tuple *t, __u8 proto, __u16 vrf, const struct flow *f)
{
	if (family == 4) {
		struct flow_key4 key = flow_key4(t, proto, vrf);

		return flowtab_insert4_next(&key, f);
	}
	if (cfg_ipv6) {
		struct flow_key6 key = flow_key6(t, proto, vrf);

		return flowtab_insert6_next(&key, f);
	}
	return -E2BIG;
}

/* What stands in the first tables now as entry `i`, into the next ones. It may be there: copied by sluiced in this instant, or
 * made by a program that knows the next tables alone; then that one holds, and where it says otherwise, this one goes. It is
 * counted where it is found, so here it begins with nothing. `f`: memory for that. 0, or an error of flowtab_open(). */
static __always_inline long flow_copy_next(__u8 family, const struct tuple *t, __u8 proto, __u16 vrf, __u32 i, struct flow *f)
{
	struct flow *e = flow_at(family, i), *there;
	long err;

	if (!e)
		return -E2BIG;
	flowtab_copy((__u64 *)f, (const __u64 *)e, sizeof(*f) / 8);
	f->packets = f->bytes = f->recent = 0;
	err = flow_insert_next(family, t, proto, vrf, f);
	if (err > 0)
		return 0;
	if (err == -EEXIST) {
		there = flow_get_in(family, true, t, proto, vrf);
		if (there && flow_same_rewrite(family, there, f))
			return 0;
	}
	flow_delete_in(family, false, t, proto, vrf, false);
	return err;
}

/* ---- what an entry's packets leave as */

static __always_inline void flow_tuple_get(const struct flow *f, __u8 family, struct tuple *ret)
{
	if (family == 4) {
		addr_from4(&ret->saddr, f->saddr4);
		addr_from4(&ret->daddr, f->daddr4);
	} else {
		ret->saddr = f->saddr6;
		ret->daddr = f->daddr6;
	}
	ret->sport = f->sport;
	ret->dport = f->dport;
}

static __always_inline void flow_tuple_put(struct flow *f, __u8 family, const struct addr *saddr, const struct addr *daddr,
					   __be16 sport, __be16 dport)
{
	if (family == 4) {
		f->saddr4 = saddr->a32[3];
		f->daddr4 = daddr->a32[3];
	} else {
		f->saddr6 = *saddr;
		f->daddr6 = *daddr;
	}
	f->sport = sport;
	f->dport = dport;
}

/* All but the key of IPv4. */
static __always_inline void flow_clear(struct flow *f)
{
	__u64 *word = (__u64 *)f;

	BUCKET_UNROLL
	for (__u32 i = sizeof(f->key4) / sizeof(*word); i < sizeof(*f) / sizeof(*word); i++)
		word[i] = 0;
}

static __always_inline void flow_swap(const struct tuple *t, struct tuple *ret)
{
	ret->saddr = t->daddr;
	ret->daddr = t->saddr;
	ret->sport = t->dport;
	ret->dport = t->sport;
}

/* Is this what the entry's packets leave as? Without a copy of it: stack is scarce. */
static __always_inline bool flow_leaves_as(const struct flow *f, __u8 family, const struct addr *saddr, const struct addr *daddr,
					   __be16 sport, __be16 dport)
{
	if (f->sport != sport || f->dport != dport)
		return false;
	if (family == 4)
		return f->saddr4 == saddr->a32[3] && f->daddr4 == daddr->a32[3];
	return addr_equal(&f->saddr6, saddr) && addr_equal(&f->daddr6, daddr);
}

#endif
