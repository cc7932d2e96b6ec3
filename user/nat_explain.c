/* nat_explain.c: what the rules of NAT would make of a packet, read from the tables that the data plane reads, in its order
 * (bpf/nat.h). Nothing is allocated: which port of a pool a connection would get is not said.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include "nat_priv.h"

struct addr nat_addr_moved(const struct addr *to, unsigned len, const struct addr *a)
{
	struct addr r = *a;
	uint8_t mask;

	memcpy(&r, to, len / 8);
	if (len % 8) {
		mask = (uint8_t)(0xff00 >> len % 8);
		r.a8[len / 8] = (to->a8[len / 8] & mask) | (a->a8[len / 8] & ~mask);
	}
	return r;
}

static bool holds(const struct addr *prefix, unsigned len, const struct addr *a)
{
	struct addr m = nat_addr_moved(prefix, len, a);

	return addr_same(&m, a);
}

#define DNAT_BLOCKS 16 /* sizes: 2^0, .. 2^15 */

bool nat_dnat_next(const struct nat *nat, const struct dnat_key *asked, unsigned *at, struct dnat_rule *ret)
{
	struct dnat_key mark_key = {.daddr = asked->daddr, .vrf = asked->vrf, .proto = DNAT_PROTO_MARK};
	struct dnat_rule mark;

	if (table_lookup(nat->dnat, &mark_key, &mark))
		return false;
	while (*at < DNAT_BLOCKS + 2) {
		unsigned n = (*at)++;
		struct dnat_key key = *asked;

		if (n && n < DNAT_BLOCKS && !(mark.blocks >> n & 1))
			continue;
		key.block = n < DNAT_BLOCKS ? (uint8_t)n : 0;
		key.dport = n < DNAT_BLOCKS ? htons((uint16_t)(ntohs(asked->dport) >> n << n)) : 0;
		key.proto = n > DNAT_BLOCKS ? 0 : asked->proto;
		if (!table_lookup(nat->dnat, &key, ret))
			return true;
	}
	return false;
}

__be16 nat_dnat_port(const struct dnat_rule *rule, __be16 dport)
{
	unsigned within = ntohs(dport) & ((1u << (rule->flags >> DNAT_BLOCK)) - 1);

	return rule->to_port ? htons((uint16_t)(ntohs(rule->to_port) + within)) : dport;
}

static bool find_rule(const struct nat *nat, const struct nat_packet *p, struct dnat_rule *ret)
{
	struct dnat_key key = {.daddr = p->daddr, .dport = p->dport, .vrf = p->vrf, .proto = p->proto};
	unsigned at = 0;

	return nat_dnat_next(nat, &key, &at, ret);
}

/* Wherever it goes. */
static bool takes_source(const struct snat_rule *r, uint16_t vrf, uint8_t family, uint8_t proto, const struct addr *src)
{
	return r->vrf == vrf && (!r->family || r->family == family) && (!r->proto || r->proto == proto) &&
	       holds(&r->src, r->src_len, src);
}

/* The first rule that takes this source on the way to `dst` out of an interface; NULL: none does. */
static const struct snat_rule *find_source(const struct sw *sw, const struct nat_packet *p, const struct addr *dst,
					   uint16_t out_iface)
{
	const struct snat_rule *r = &sw->nat->snat[sw->control->snat_bank ? SNAT_RULE_MAX : 0];

	for (int i = 0; i < SNAT_RULE_MAX && r[i].action != SNAT_END; i++)
		if ((!r[i].out_iface || r[i].out_iface == out_iface) &&
		    takes_source(&r[i], p->vrf, p->family, p->proto, &p->saddr) && holds(&r[i].dst, r[i].dst_len, dst))
			return &r[i];
	return NULL;
}

uint16_t nat_rule_giving(const struct nat *nat, const struct nat_mapping_key *k, uint16_t out_iface)
{
	const struct snat_rule *r = &nat->snat[nat->sw->control->snat_bank ? SNAT_RULE_MAX : 0];
	bool masquerades = k->pool < POOL_MAX && nat->pools[k->pool].flags & POOL_F_MASQ;
	uint8_t family = (uint8_t)addr_family(&k->addr);

	for (int i = 0; i < SNAT_RULE_MAX && r[i].action != SNAT_END; i++) {
		bool gives = masquerades ? r[i].action == SNAT_MASQUERADE : r[i].action == SNAT_POOL && r[i].pool == k->pool;

		if ((out_iface && r[i].out_iface && r[i].out_iface != out_iface) ||
		    !takes_source(&r[i], k->vrf, family, k->proto, &k->addr))
			continue;
		/* Where packets go, a mapping does not know: a rule that asks for that gives it to nobody, and takes it from
		 * nobody. */
		if (gives)
			return r[i].dst_len ? 0 : r[i].rule;
		if (!r[i].dst_len)
			return 0;
	}
	return 0;
}

/* A packet from inside to an address outside that a rule or a mapping leads in again: would its source be translated, had it left
 * by this interface? */
static void find_hairpin(const struct sw *sw, const struct nat_packet *p, uint16_t out_iface, struct nat_found *ret)
{
	const struct snat_rule *r;
	struct iface in;

	if (!out_iface || !(p->saddr.a64[0] | p->saddr.a64[1]) || p->iface == out_iface)
		return;
	if (p->iface && (iface_get(sw, p->iface, &in) || in.nat_flags & IFACE_NAT_OUTSIDE))
		return;
	r = find_source(sw, p, &p->daddr, out_iface);
	if (!r || (r->action != SNAT_POOL && r->action != SNAT_MASQUERADE && r->action != SNAT_STATIC))
		return;
	if (out_iface == NAT_OUTSIDE_ANY && (r->action == SNAT_MASQUERADE || !r->src_len))
		return;
	ret->may_hairpin = !p->iface;
	ret->hairpin = p->iface ? out_iface : 0;
}

/* An address that NAT answers for, and no rule forwards: a mapping may let the packet in. `id1`: its POOL_ID + 1; 0: mappings
 * have no ports there. `own`: it is an interface's. */
static struct nat_found find_mapping(const struct sw *sw, const struct nat_packet *p, uint32_t id1, bool own)
{
	struct nat_found none = {.vrf = p->vrf}, f = none;
	struct nat_mapping m;
	uint32_t way;

	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return none;
	f.action = own ? NULL : "filtered";
	way = NAT_WAY(id1 - 1, nat_class(p->proto), ntohs(p->dport));
	if (!id1 || nattab_lookup_way(&sw->nat->tab, way, &m) == NATTAB_NONE)
		return f;
	find_hairpin(sw, p, m.out_iface, &f);
	if (!f.hairpin && !nat_lets_in(sw->nat, &m, &p->saddr)) {
		if (p->proto == IPPROTO_TCP)
			f.action = "filtered";
		return f;
	}
	f.rule = nat_rule_name(sw, m.rule);
	f.action = "mapping";
	f.addr = m.inside.addr;
	f.port = m.inside.port;
	f.vrf = m.inside.vrf;
	return f;
}

struct nat_found nat_explain_destination(const struct sw *sw, const struct nat_packet *p)
{
	struct dnat_key mark_key = {.daddr = p->daddr, .vrf = p->vrf, .proto = DNAT_PROTO_MARK};
	struct nat_static_key static_key = {.len = 32 + 128, .vrf = p->vrf, .addr = p->daddr};
	struct nat_found f = {.vrf = p->vrf};
	struct dnat_rule rule, mark;
	struct nat_static s;
	bool marked = !table_lookup(sw->nat->dnat, &mark_key, &mark);

	if (marked && find_rule(sw->nat, p, &rule)) {
		f.rule = nat_rule_name(sw, rule.rule);
		f.action = "dnat";
		f.addr = rule.to;
		if (rule.to_port && (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP))
			f.port = nat_dnat_port(&rule, p->dport);
		f.vrf = rule.vrf;
		find_hairpin(sw, p, mark.rule, &f);
		return f;
	}
	if (sw->control->nat_statics && !table_lookup(sw->nat->statics, &static_key, &s)) {
		if (s.flags & NAT_STATIC_F_RUN && !marked)
			return find_mapping(sw, p, POOL_ID(s.slot, ntohl(p->daddr.a32[3]) - ntohl(s.to.a32[3]) + 1) + 1, false);
		if (s.flags & NAT_STATIC_F_RUN)
			return find_mapping(sw, p, mark.pool_addr, mark.flags & DNAT_F_OWN);
		f.rule = nat_rule_name(sw, s.rule);
		f.action = "static";
		f.addr = nat_addr_moved(&s.to, s.len, &p->daddr);
		find_hairpin(sw, p, s.flags >> NAT_STATIC_OUTSIDE, &f);
		return f;
	}
	return marked ? find_mapping(sw, p, mark.pool_addr, mark.flags & DNAT_F_OWN) : f;
}

struct nat_found nat_explain_source(const struct sw *sw, const struct nat_packet *p, const struct nat_found *to,
				    uint16_t out_iface)
{
	static const char *const actions[] = {
		[SNAT_POOL] = "pool", [SNAT_MASQUERADE] = "masquerade", [SNAT_EXEMPT] = "none", [SNAT_STATIC] = "static"};
	const struct addr *dst = to->hairpin || !to->action ? &p->daddr : &to->addr;
	const struct snat_rule *r = find_source(sw, p, dst, to->hairpin ? to->hairpin : out_iface);
	struct nat_found f = {.vrf = p->vrf};
	struct iface out;

	/* Back to where it came from, the answer would go past the gateway: nat_snat(). */
	if ((!r || r->action == SNAT_EXEMPT) && to->action && p->iface == out_iface && !iface_get(sw, out_iface, &out) &&
	    out.masq_pool) {
		f.rule = to->rule;
		f.action = "masquerade";
	} else if (r) {
		f.rule = nat_rule_name(sw, r->rule);
		f.action = r->action < sizeof(actions) / sizeof(actions[0]) ? actions[r->action] : NULL;
		if (r->action == SNAT_STATIC)
			f.addr = nat_addr_moved(&r->to, r->src_len, &p->saddr);
	}
	return f;
}
