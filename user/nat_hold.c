/* nat_hold.c: may a flow go on, by the rules and addresses that there are now?
 *
 * Stands between flow_age.c, which asks of every flow after each change and ends those that may not, and NAT's tables, which are
 * read as the data plane reads them. A flow goes on as long as its rule would give it the addresses and ports that it has, and
 * lets in who sends: else two hosts would have one address, or a port that was closed would be open for who had found it. What
 * else a rule says is for the flows to come, as are rules that were put before it.
 */
#include <arpa/inet.h>
#include <string.h>
#include "flow_priv.h"
#include "nat_priv.h"

/* The static rule whose outside prefix holds the address. */
static bool static_of(const struct nat *nat, uint16_t vrf, const struct addr *outside, struct nat_static *ret)
{
	struct nat_static_key key = {.len = 32 + 128, .vrf = vrf, .addr = *outside};

	return !table_lookup(nat->statics, &key, ret) && !(ret->flags & NAT_STATIC_F_RUN);
}

/* `rule`: 0: any. */
static bool static_gives(const struct nat *nat, uint16_t rule, uint16_t vrf, const struct addr *outside,
			 const struct addr *inside)
{
	struct nat_static s;
	struct addr to;

	if (!static_of(nat, vrf, outside, &s) || (rule && s.rule != rule))
		return false;
	to = nat_addr_moved(&s.to, s.len, outside);
	return addr_same(&to, inside);
}

/* Into which VRF the rule leads: that of the way out, which is another one where routes lead from VRF to VRF. */
static bool leads_there(const struct nat *nat, const struct flow_tuple *key, const struct flow *f, const struct dnat_rule *r)
{
	if (!(f->flags & FLOW_F_VRF))
		return r->vrf == key->vrf;
	return r->vrf != key->vrf && (r->vrf == f->peer_vrf || nat->rules[f->rule - 1].to_vrf_ns < f->created_ns);
}

/* The rule may take a port, a protocol, or the whole address; of another rule's, which may be more particular since, nothing is
 * said. */
static bool dnat_gives(const struct nat *nat, const struct flow_tuple *key, const struct flow *f, const struct flow_tuple *to)
{
	const struct dnat_key asked = {.daddr = key->daddr, .dport = key->dport, .vrf = key->vrf, .proto = key->proto};
	struct dnat_rule r;
	unsigned at = 0;

	while (nat_dnat_next(nat, &asked, &at, &r))
		if (r.rule == f->rule)
			return addr_same(&r.to, &to->daddr) && nat_dnat_port(&r, key->dport) == to->dport &&
			       leads_there(nat, key, f, &r);
	return false;
}

bool nat_lets_in(const struct nat *nat, const struct nat_mapping *m, const struct addr *remote)
{
	struct nat_peer_key key = {.remote = *remote, .way = nattab_way(m)};
	struct nat_peer sent;

	if (m->filtering != NAT_FILTER_ADDRESS)
		return m->filtering == NAT_FILTER_INDEPENDENT;
	/* The port may have been another's when the entry was made. */
	return !table_lookup(nat->peers, &key, &sent) && addr_same(&sent.addr, &m->inside.addr) && sent.port == m->inside.port &&
	       sent.vrf == m->inside.vrf;
}

/* Who came in by a mapping without being asked. Of one that is not there nobody knows more than the flow itself. */
static bool lets_in(const struct nat *nat, const struct flow_tuple *key, const struct flow *f)
{
	uint32_t way = NAT_WAY(f->dest_addr - 1, nat_class(key->proto), ntohs(key->dport));
	struct nat_mapping m;

	return nattab_lookup_way(&nat->tab, way, &m) == NATTAB_NONE || !nat_rule_filtering(nat, m.rule, &m.filtering) ||
	       nat_lets_in(nat, &m, &key->saddr);
}

/* A source without a port of a pool is a static rule's. Of both rules that may have had a part, the flow bears the number of the
 * one that gave the destination. A flow from outside by a mapping is not translated further; a host inside that came by one is
 * (hairpinning), and is let in by any filtering. */
static bool rule_gives(const struct nat *nat, const struct flow_tuple *key, const struct flow *f, const struct flow_tuple *to)
{
	bool source = f->flags & FLOW_F_SNAT, destination = f->flags & FLOW_F_DNAT;

	if (f->pool && !(nat_pool_has(nat, f->pool, f->pool_addr) && nat_is_addr(nat, f->pool_addr + 1, &to->saddr)))
		return false;
	if (source && !f->pool && !static_gives(nat, destination ? 0 : f->rule, key->vrf, &to->saddr, &key->saddr))
		return false;
	if (destination && f->dest_addr)
		return source || lets_in(nat, key, f);
	return !destination || dnat_gives(nat, key, f, to) || static_gives(nat, f->rule, key->vrf, &key->daddr, &to->daddr);
}

/* ---- without a rule */

static int is_addr(const struct link_addr *l, void *arg)
{
	return addr_same(&l->addr.addr, arg);
}

bool nat_host_has(const struct sw *sw, const struct addr *a)
{
	struct addr asked = *a;

	return mirror_each_addr(sw->mirror, 0, is_addr, &asked);
}

/* A single one as long as it has a slot, which may be a forward's; one of a run, if it is not in a gap. */
static bool nat_has(const struct nat *nat, uint32_t pool_addr, const struct addr *a)
{
	return nat_is_addr(nat, pool_addr + 1, a) && (pool_addr < POOL_ADDR_MAX || nat_gives_out(nat, pool_addr));
}

/* An interface, or a rule of NAT. */
static bool somebody_has(const struct sw *sw, uint16_t vrf, const struct addr *a)
{
	struct nat_static s;

	return nat_has(sw->nat, nat_addr_find(sw->nat, a, vrf), a) || static_of(sw->nat, vrf, a, &s) || nat_host_has(sw, a);
}

static int is_beside(const struct link_addr *l, void *arg)
{
	return prefix_contains(&l->addr, arg);
}

/* Of an address that nobody here has: on the network of an interface another may have it now. What is routed here nobody has. */
static bool is_given_up(const struct sw *sw, uint16_t vrf, const struct addr *a)
{
	struct addr asked = *a;

	return !somebody_has(sw, vrf, a) && mirror_each_addr(sw->mirror, 0, is_beside, &asked);
}

/* Its flows shall not go with it: as long as nobody else may have what they are outside. */
static bool keeps(const struct sw *sw, const struct flow_tuple *key, const struct flow *f, const struct flow_tuple *to)
{
	const struct nat *nat = sw->nat;
	bool keep = f->flags & FLOW_F_KEEP || (f->rule && f->rule <= nat->n_rules && nat->rules[f->rule - 1].keep);

	if (!keep || (f->flags & FLOW_F_DNAT && !f->dest_addr && is_given_up(sw, key->vrf, &key->daddr)))
		return false;
	if (!(f->flags & FLOW_F_SNAT) || (f->pool && nat_has(nat, f->pool_addr, &to->saddr)))
		return true;
	return f->pool ? somebody_has(sw, f->peer_vrf, &to->saddr) : !is_given_up(sw, f->peer_vrf, &to->saddr);
}

bool nat_holds(const struct sw *sw, const struct flow_tuple *key, const struct flow *f)
{
	struct flow_tuple to;

	flow_tuple_to(key, f, &to);
	if (f->dest_addr && !nat_is_addr(sw->nat, f->dest_addr, &key->daddr))
		return false;
	if (nat_host_wants(sw->nat, key->proto, &to.saddr, f->peer_vrf, &to.daddr) ||
	    nat_host_wants(sw->nat, key->proto, &key->daddr, key->vrf, &key->saddr))
		return false;
	if (!nat_rule_name(sw, f->rule))
		return keeps(sw, key, f, &to);
	return rule_gives(sw->nat, key, f, &to);
}
