/* nat_apply.c: brings NAT's tables to what the plan says, and tells the host which addresses to answer for.
 *
 * Stands between nat_plan.c and the maps; forwards are nat_forward.c's. Order: addresses, pools, forwards, source rules; then
 * what is not needed any more goes. Every step may be done again, and with an older plan, which is how a commit is rolled back.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "nat_priv.h"

/* ---- addresses */

/* The address's slot: the one it has, or had until just now; else an empty one. Slots that are taken in this run have been
 * marked. Two VRFs may have the same address: each has its own slot, and neither gets the other's when that one goes. The plan
 * knows those of runs. */
static int slot_find(const struct nat *nat, const struct nat_plan_addr *a, const bool *taken)
{
	int empty = -ENOSPC;

	if (a->run && a->has_slot)
		return (int)a->has_slot - 1;
	for (int i = 0; i < POOL_ADDR_MAX; i++) {
		if (taken[i])
			continue;
		if (!a->run && nat->addrs[i].flags && nat->addrs[i].vrf == a->vrf && addr_same(&nat->addrs[i].addr, &a->addr) &&
		    !(nat->addrs[i].flags & POOL_ADDR_F_RUN))
			return i;
		if (!nat->addrs[i].flags && empty < 0)
			empty = i;
	}
	return empty;
}

/* One store: no packet takes an address of the run that is in the old one and the new one for none of it. */
static void slot_set_run(struct pool_addr *slot, const struct nat_plan_addr *a)
{
	struct pool_addr v = {.run_n = a->run};

	v.run_from = ntohl(a->addr.a32[3]) - ntohl(a->origin.a32[3]) + 1;
	__atomic_store_n(&slot->run, v.run, __ATOMIC_RELEASE);
}

static int apply_addrs(struct nat *nat, struct nat_plan *plan, bool *taken, struct errs *errs)
{
	char text[ADDR_TEXT];

	/* Those that have a slot first, so that none of them loses it to a new one. */
	for (int fresh = 0; fresh < 2; fresh++) {
		for (size_t i = 0; i < plan->n_addrs; i++) {
			struct nat_plan_addr *a = &plan->addrs[i];
			int slot;

			if (fresh && a->slot != UINT32_MAX)
				continue;
			slot = slot_find(nat, a, taken);
			if (slot < 0)
				return errs_fail(errs, ENOSPC,
						 "nat: no room for %s: all %d addresses are in use, or were until just now",
						 addr_text(&a->addr, text), POOL_ADDR_MAX);
			a->slot = UINT32_MAX;
			if (!fresh && !nat->addrs[slot].flags)
				continue;
			a->slot = (uint32_t)slot;
			taken[slot] = true;
			if (!nat->addrs[slot].flags) {
				memset(nat_ports(nat, a->slot, 0), 0, POOL_CLASSES * sizeof(struct pool_ports));
				nat->addrs[slot].addr = a->run ? a->origin : a->addr;
				nat->addrs[slot].vrf = a->vrf;
			}
			if (a->run)
				slot_set_run(&nat->addrs[slot], a);
			__atomic_store_n(&nat->addrs[slot].flags,
					 POOL_ADDR_F_USED | (a->own ? POOL_ADDR_F_OWN : 0) | (a->run ? POOL_ADDR_F_RUN : 0),
					 __ATOMIC_RELEASE);
		}
	}
	return 0;
}

static struct prefix host_prefix(const struct addr *a)
{
	struct prefix p = {.addr = *a, .family = addr_family(a)};

	p.len = p.family == 4 ? 32 : 128;
	return p;
}

/* The host answers ARP and ND for addresses that it bears. The slot remembers where it was put. */
static int slot_host(struct sw *sw, struct pool_addr *slot, int ifindex, struct errs *errs)
{
	struct prefix p = host_prefix(&slot->addr);
	int err = 0;

	if (slot->host_ifindex && slot->host_ifindex != (uint32_t)ifindex) {
		/* Its netdev may be gone, and the address with it. */
		if (mirror_link(sw->mirror, (int)slot->host_ifindex))
			err = netlink_addr_delete(sw->nl, (int)slot->host_ifindex, &p, errs);
		if (err)
			return err;
		slot->host_ifindex = 0;
	}
	if (!ifindex)
		return 0;
	err = netlink_addr_add(sw->nl, ifindex, &p, NL_ANSWER_ONLY, errs);
	if (!err)
		slot->host_ifindex = (uint32_t)ifindex;
	return err;
}

struct hush {
	struct sw *sw;
	const struct nat_plan *plan;
	struct errs *errs;
};

/* An address that the host bears for NAT, and would speak from. An older sluiced has put it there as if it were the host's own;
 * it is taken away to come back as it should be, for the kernel does not change an IPv4 address's scope. */
static int hush_one(const struct link_addr *a, void *arg)
{
	const struct hush *h = arg;
	const struct nat_plan_addr *v;
	char text[ADDR_TEXT];

	if (a->addr.family == 4 ? a->addr.len != 32 || a->scope == RT_SCOPE_HOST
				: a->addr.len != 128 || a->flags & IFA_F_DEPRECATED)
		return 0;
	for (size_t i = 0; i < h->plan->n_addrs; i++) {
		v = &h->plan->addrs[i];
		if (v->run || v->host_ifindex != a->ifindex || !addr_same(&v->addr, &a->addr.addr))
			continue;
		log_info("nat: %s was there as the gateway's own address: it is put there anew, to answer for alone",
			 addr_text(&v->addr, text));
		return netlink_addr_delete(h->sw->nl, a->ifindex, &a->addr, h->errs);
	}
	return 0;
}

static int apply_hosts(struct sw *sw, const struct nat_plan *plan, struct errs *errs)
{
	int err = mirror_each_addr(sw->mirror, 0, hush_one, &(struct hush){sw, plan, errs});

	for (size_t i = 0; !err && i < plan->n_addrs; i++)
		if (!plan->addrs[i].run)
			err = slot_host(sw, &sw->nat->addrs[plan->addrs[i].slot], plan->addrs[i].host_ifindex, errs);
	return err;
}

static int drop_addrs(struct sw *sw, const bool *taken, struct errs *errs)
{
	int err = 0;

	for (int i = 0; !err && i < POOL_ADDR_MAX; i++) {
		struct pool_addr *slot = &sw->nat->addrs[i];

		if (taken[i] || !slot->flags)
			continue;
		__atomic_store_n(&slot->flags, POOL_ADDR_F_DRAIN | (slot->flags & POOL_ADDR_F_RUN), __ATOMIC_RELEASE);
		err = slot_host(sw, slot, 0, errs);
	}
	return err;
}

/* ---- pools */

static int apply_pool_ids(struct nat *nat, struct nat_plan *plan)
{
	bool taken[POOL_MAX] = {true};

	for (size_t i = 0; i < plan->n_pools; i++) {
		plan->pools[i].id = 0;
		for (uint16_t id = 1; id < POOL_MAX; id++) {
			if (!(nat->pools[id].flags & POOL_F_USED) || strcmp(nat->pools[id].name, plan->pools[i].name))
				continue;
			plan->pools[i].id = id;
			taken[id] = true;
		}
	}
	for (size_t i = 0; i < plan->n_pools; i++) {
		/* New ones: ids nobody has had just now come first, since mappings remember a pool by its id. */
		for (int had = 0; !plan->pools[i].id && had < 2; had++) {
			for (uint16_t id = 1; !plan->pools[i].id && id < POOL_MAX; id++) {
				if (taken[id] || (nat->pools[id].flags & POOL_F_USED ? 1 : 0) != had)
					continue;
				plan->pools[i].id = id;
				taken[id] = true;
			}
		}
		if (!plan->pools[i].id)
			return -ENOSPC;
	}
	return 0;
}

/* What the pool is to be, with its members in the given bank. */
static struct pool pool_value(const struct nat_plan_pool *p, unsigned bank)
{
	struct pool v = {.port_min = p->port_min, .port_max = p->port_max};

	v.flags = POOL_F_USED | (p->runs ? POOL_F_RUNS : 0) | (p->masq ? POOL_F_MASQ : 0);
	v.first4 = (uint16_t)(bank * POOL_MEMBER_MAX + p->at);
	v.count4 = (uint16_t)p->n4;
	v.first6 = (uint16_t)(v.first4 + p->n4 * (p->runs ? 2 : 1));
	v.count6 = (uint16_t)(p->n - p->n4);
	memcpy(v.name, p->name, sizeof(v.name));
	return v;
}

/* The plan's members into a bank; or do they stand there? True: they did not. */
static bool write_members(struct nat *nat, const struct nat_plan *plan, unsigned bank, bool ask)
{
	struct pool_member *to = &nat->members[bank * POOL_MEMBER_MAX];

	for (size_t i = 0; i < plan->n_pools; i++) {
		const struct nat_plan_pool *p = &plan->pools[i];

		to = &nat->members[bank * POOL_MEMBER_MAX + p->at];
		for (size_t k = p->first; k < p->first + p->n; k++) {
			const struct nat_plan_member *m = &plan->members[k];
			uint32_t v[2] = {POOL_ID(plan->addrs[m->addr].slot, m->at), m->n};

			for (int e = 0; e < (p->runs ? 2 : 1); e++, to++) {
				if (ask && to->pool_addr != v[e])
					return true;
				to->pool_addr = v[e];
			}
		}
	}
	return !ask;
}

/* Where the members of each pool go, those of runs with two elements. */
static void place_members(struct nat_plan *plan)
{
	size_t at = 0;

	for (size_t i = 0; i < plan->n_pools; i++) {
		plan->pools[i].at = at;
		at += plan->pools[i].n * (plan->pools[i].runs ? 2 : 1);
	}
}

static bool pools_differ(struct nat *nat, const struct nat_plan *plan)
{
	size_t used = 0;

	for (int id = 1; id < POOL_MAX; id++)
		used += nat->pools[id].flags & POOL_F_USED ? 1 : 0;
	if (used != plan->n_pools)
		return true;
	for (size_t i = 0; i < plan->n_pools; i++) {
		struct pool v = pool_value(&plan->pools[i], nat->bank);

		if (memcmp(&v, &nat->pools[plan->pools[i].id], sizeof(v)))
			return true;
	}
	return write_members(nat, plan, nat->bank, true);
}

/* The bank that is not in force is written, then each pool moves to it by one store. A packet on another CPU that has read the
 * old place finishes there; the old bank is not written before the next change. */
static void apply_pools(struct nat *nat, const struct nat_plan *plan)
{
	bool wanted[POOL_MAX] = {false};
	unsigned bank = !nat->bank;

	if (!pools_differ(nat, plan))
		return;
	write_members(nat, plan, bank, false);
	for (size_t i = 0; i < plan->n_pools; i++) {
		struct pool v = pool_value(&plan->pools[i], bank), *to = &nat->pools[plan->pools[i].id];

		wanted[plan->pools[i].id] = true;
		to->port_min = v.port_min;
		to->port_max = v.port_max;
		to->flags = v.flags;
		memcpy(to->name, v.name, sizeof(to->name));
		__atomic_store_n(&to->members, v.members, __ATOMIC_RELEASE);
	}
	for (int id = 1; id < POOL_MAX; id++) {
		if (wanted[id] || !nat->pools[id].flags)
			continue;
		__atomic_store_n(&nat->pools[id].members, 0, __ATOMIC_RELEASE);
		memset(&nat->pools[id], 0, sizeof(nat->pools[id]));
	}
	nat->bank = bank;
}

/* The interfaces' entries name their masquerade pool; all else in them is iface.c's. */
static int apply_masquerade(struct sw *sw, const struct nat_plan *plan)
{
	int err = 0;

	for (uint32_t id = 1; !err && id < IFACE_MAX; id++) {
		uint16_t pool = plan->masq[id] ? plan->pools[plan->masq[id] - 1].id : 0;
		uint32_t flags = plan->outside[id] ? IFACE_NAT_OUTSIDE : 0;
		struct iface i;

		if (table_lookup(sw->nat->ifaces, &id, &i) || (i.masq_pool == pool && i.nat_flags == flags))
			continue;
		i.masq_pool = pool;
		i.nat_flags = flags;
		err = table_set(sw->nat->ifaces, &id, &i);
	}
	return err;
}

/* ---- static rules, by what they are outside, and inside */

struct static_diff {
	struct nat *nat;
	const struct nat_plan *plan;
};

static struct nat_static_key static_inside(const struct nat_plan_static *s)
{
	return (struct nat_static_key){.len = s->key.len, .vrf = s->key.vrf | NAT_STATIC_INSIDE, .addr = s->value.to};
}

static int by_run_key(const void *key, const void *entry)
{
	return memcmp(key, &((const struct nat_plan_run *)entry)->key, sizeof(struct nat_static_key));
}

static int static_gone(const void *key, void *value, void *arg)
{
	struct static_diff *d = arg;

	for (size_t i = 0; i < d->plan->n_statics; i++) {
		struct nat_static_key inside = static_inside(&d->plan->statics[i]);

		if (!memcmp(&d->plan->statics[i].key, key, sizeof(inside)) || !memcmp(&inside, key, sizeof(inside)))
			return 0;
	}
	if (d->plan->n_runs && bsearch(key, d->plan->runs, d->plan->n_runs, sizeof(*d->plan->runs), by_run_key))
		return 0;
	return table_delete(d->nat->statics, key);
}

static int statics_set(struct sw *sw, const struct nat_plan *plan)
{
	int err = 0;

	for (size_t i = 0; !err && i < plan->n_statics; i++) {
		struct nat_static_key inside = static_inside(&plan->statics[i]);

		err = table_set(sw->nat->statics, &plan->statics[i].key, &plan->statics[i].value);
		if (!err)
			err = table_set(sw->nat->statics, &inside, &plan->statics[i].value);
	}
	for (size_t i = 0; !err && i < plan->n_runs; i++) {
		const struct nat_plan_addr *a = &plan->addrs[plan->runs[i].addr];
		struct nat_static v = {.to = a->origin, .slot = a->slot, .flags = NAT_STATIC_F_RUN};

		err = table_set(sw->nat->statics, &plan->runs[i].key, &v);
	}
	return err;
}

/* The plan has seen to it that they fit. The old ones stay until the new ones are there, if there is room for both: in between
 * nobody outside would find what both have. */
static int apply_statics(struct sw *sw, const struct nat_plan *plan)
{
	struct static_diff d = {.nat = sw->nat, .plan = plan};
	uint32_t everywhere = 0;
	int err = statics_set(sw, plan);

	for (size_t i = 0; i < plan->n_statics; i++)
		everywhere += !plan->statics[i].cfg->n_out;
	if (err == -E2BIG || err == -ENOSPC) {
		err = table_each(sw->nat->statics, static_gone, &d);
		if (!err)
			err = statics_set(sw, plan);
	}
	if (!err)
		err = table_each(sw->nat->statics, static_gone, &d);
	if (!err) {
		__atomic_store_n(&sw->control->nat_statics, (uint32_t)(plan->n_statics + plan->n_runs), __ATOMIC_RELEASE);
		__atomic_store_n(&sw->control->nat_statics_inside, everywhere, __ATOMIC_RELEASE);
	}
	return err;
}

/* ---- source rules: the bank that is not in force, then one store. */
static void apply_snat(struct sw *sw, struct nat_plan *plan)
{
	unsigned bank = sw->control->snat_bank ? 1 : 0;
	struct snat_rule *now = &sw->nat->snat[bank * SNAT_RULE_MAX], *next = &sw->nat->snat[!bank * SNAT_RULE_MAX];

	for (size_t i = 0; i < plan->n_snat; i++)
		if (plan->snat[i].pool)
			plan->snat[i].pool = plan->pools[plan->snat[i].pool - 1].id;
	/* The plan is zero behind its last rule, and SNAT_END is 0. */
	if (!memcmp(now, plan->snat, sizeof(plan->snat)))
		return;
	memcpy(next, plan->snat, sizeof(plan->snat));
	__atomic_store_n(&sw->control->snat_bank, !bank, __ATOMIC_RELEASE);
}

int nat_apply(struct sw *sw, struct nat_plan *plan, struct errs *errs)
{
	bool taken[POOL_ADDR_MAX] = {false};
	int err;

	err = apply_addrs(sw->nat, plan, taken, errs);
	memset(sw->nat->own, 0, sizeof(sw->nat->own));
	for (size_t i = 0; !err && i < plan->n_addrs; i++)
		sw->nat->own[plan->addrs[i].slot] = plan->addrs[i].own;
	if (!err)
		err = apply_hosts(sw, plan, errs);
	if (err)
		return err;
	err = apply_pool_ids(sw->nat, plan);
	if (err)
		return errs_fail(errs, ENOSPC, "nat: more than %d pools", POOL_MAX - 1);
	place_members(plan);
	apply_pools(sw->nat, plan);
	err = nat_filter_widen(sw->nat, plan);
	if (err)
		return errs_fail(errs, -err, "nat: %s", strerror(-err));
	err = apply_masquerade(sw, plan);
	if (err)
		return errs_fail(errs, -err, "nat: interfaces: %s", strerror(-err));
	err = nat_forwards_put(sw->nat, plan, errs);
	if (err)
		return err;
	err = apply_statics(sw, plan);
	if (err)
		return errs_fail(errs, -err, "nat: static rules: %s", strerror(-err));
	sw->nat->has_remotes = plan->has_remotes;
	sw->nat->has_limits = plan->has_limits;
	sw->nat->has_runs = plan->n_runs > 0;
	sw->nat->own_is_open = plan->own_is_open;
	apply_snat(sw, plan);
	nat_filter_settle(sw->nat, plan);
	return drop_addrs(sw, taken, errs);
}
