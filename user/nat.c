/* nat.c: the life of NAT's control plane: opened, reconciled.
 *
 * Stands between the model and the tables of bpf/nat.h and bpf/pool.h; nat_plan.c says what they shall hold, nat_apply.c writes
 * it, nat_sweep.c takes ports back. Rules and pools keep their numbers by name, which the tables hold beside them, so a new life
 * of sluiced finds the flows' rules again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_priv.h"
#include "nat_priv.h"

/* ---- rule ids */

static uint32_t hash_name(const struct hash *h, const char *name)
{
	return hash_end(hash_mix_bytes(h->salt, name, strlen(name)));
}

static uint32_t hash_rule(const struct hash *h, const struct hash_node *node)
{
	return hash_name(h, hash_entry(node, const struct nat_rule_id, node)->name);
}

static bool is_named(const struct hash_node *node, const void *name)
{
	return !strcmp(hash_entry(node, const struct nat_rule_id, node)->name, name);
}

static bool is_alive(const struct hash_node *node, const void *name)
{
	return hash_entry(node, const struct nat_rule_id, node)->alive && is_named(node, name);
}

static bool is_former(const struct hash_node *node, const void *name)
{
	return !hash_entry(node, const struct nat_rule_id, node)->alive && is_named(node, name);
}

/* Its number, or 0. */
static uint16_t rule_find(const struct nat *nat, bool (*is)(const struct hash_node *node, const void *name), const char *name)
{
	const struct hash *h = &nat->by_name;
	const struct nat_rule_id *r = hash_find_entry(h, hash_name(h, name), is, name, struct nat_rule_id, node);

	return r ? (uint16_t)(r - nat->rules + 1) : 0;
}

/* The entries stay where they are, for the hash leads to them; of room that nobody has used there is no page. */
static int rules_room(struct nat *nat)
{
	if (nat->rules)
		return 0;
	nat->rules = calloc(UINT16_MAX, sizeof(*nat->rules));
	hash_init(&nat->by_name, hash_rule);
	return nat->rules ? 0 : -ENOMEM;
}

int nat_rule_id_set(struct nat *nat, uint16_t id, const char *name)
{
	struct nat_rule_id *r;

	if (!id || !name[0])
		return 0;
	if (rules_room(nat))
		return -ENOMEM;
	r = &nat->rules[id - 1];
	if (r->name[0])
		hash_remove(&nat->by_name, &r->node);
	*r = (struct nat_rule_id){0};
	snprintf(r->name, sizeof(r->name), "%.31s", name);
	if (hash_insert(&nat->by_name, &r->node)) {
		r->name[0] = 0;
		return -ENOMEM;
	}
	nat->n_rules = id > nat->n_rules ? id : nat->n_rules;
	nat->names_new = true;
	return 0;
}

/* Behind the last one, else one that has no name, else one of a rule that is gone. UINT16_MAX: there is none. */
static size_t rule_free(const struct nat *nat)
{
	size_t at = nat->n_rules;

	for (size_t i = 0; at == UINT16_MAX && i < nat->n_rules; i++)
		if (!nat->rules[i].name[0])
			at = i;
	for (size_t i = 0; at == UINT16_MAX && i < nat->n_rules; i++)
		if (!nat->rules[i].alive && !nat->rules[i].wanted)
			at = i;
	return at;
}

/* A new name gets a number nobody has had. Only when all have been given (names come and go for years) does it get one of a
 * rule that is gone. */
uint16_t nat_rule_take(struct nat *nat, const char *name)
{
	uint16_t id = rule_find(nat, is_named, name);
	size_t at;

	if (!id) {
		at = rule_free(nat);
		if (at == UINT16_MAX || nat_rule_id_set(nat, (uint16_t)(at + 1), name))
			return 0;
		id = (uint16_t)(at + 1);
	}
	nat->rules[id - 1].wanted = true;
	return id;
}

void nat_rule_options(struct nat *nat, uint16_t id, const struct nat_cfg *cfg)
{
	struct nat_rule_id *r = &nat->rules[id - 1];

	r->timeouts = cfg->timeouts;
	r->keep = cfg->keep;
	r->filters = cfg->type == NAT_SNAT;
	r->filtering = cfg->filtering;
	r->limits = cfg->limit_sessions || cfg->limit_ports;
	if (r->planned && strcmp(r->to_vrf, cfg->to_vrf))
		r->to_vrf_ns = clock_now_ns();
	memcpy(r->to_vrf, cfg->to_vrf, sizeof(r->to_vrf));
	r->planned = true;
}

bool nat_rule_filtering(const struct nat *nat, uint16_t id, uint8_t *ret)
{
	const struct nat_rule_id *r = id && id <= nat->n_rules && nat->rules[id - 1].alive ? &nat->rules[id - 1] : NULL;

	/* A hairpin's that is masqueraded although no rule asks for it has the number of the rule that gave the destination. */
	if (r && (!r->planned || !r->filters))
		return false;
	*ret = r ? r->filtering : NAT_FILTER_ADDRESS_PORT;
	return true;
}

const struct settings_cfg *nat_settings(const struct sw *sw, uint16_t rule, struct settings_cfg *buf)
{
	const struct nat_timeouts *t = rule && rule <= sw->nat->n_rules ? &sw->nat->rules[rule - 1].timeouts : NULL;
	static const struct nat_timeouts none;

	if (!t || !memcmp(t, &none, sizeof(none)))
		return &sw->model->settings;
	*buf = sw->model->settings;
	buf->tcp_established_s = t->tcp_established_s ?: buf->tcp_established_s;
	if (t->tcp_opening_s || t->tcp_transitory_s)
		buf->tcp_opening_s = t->tcp_opening_s;
	buf->tcp_transitory_s = t->tcp_transitory_s ?: buf->tcp_transitory_s;
	buf->udp_s = t->udp_s ?: buf->udp_s;
	buf->icmp_s = t->icmp_s ?: buf->icmp_s;
	buf->other_s = t->other_s ?: buf->other_s;
	return buf;
}

const char *nat_rule_name(const struct sw *sw, uint16_t id)
{
	const struct nat *nat = sw->nat;

	return id && id <= nat->n_rules && nat->rules[id - 1].alive ? nat->rules[id - 1].name : NULL;
}

const char *nat_rule_former(const struct sw *sw, uint16_t id)
{
	const struct nat *nat = sw->nat;
	const struct nat_rule_id *r = id && id <= nat->n_rules ? &nat->rules[id - 1] : NULL;

	return r && !r->alive && *r->name ? r->name : NULL;
}

uint16_t nat_rule_former_id(const struct sw *sw, const char *name)
{
	return rule_find(sw->nat, is_former, name);
}

uint16_t nat_rule_id(const struct sw *sw, const char *name)
{
	return rule_find(sw->nat, is_alive, name);
}

/* ---- pools */

bool nat_pool_has(const struct nat *nat, uint32_t pool, uint32_t pool_addr)
{
	const struct pool *p = pool < POOL_MAX ? &nat->pools[pool] : NULL;
	uint32_t id, n;

	for (uint32_t i = 0; pool && p && i < nat_pool_members(p); i++) {
		id = nat_pool_member(nat, p, i, &n);
		if (POOL_SLOT(id) == POOL_SLOT(pool_addr) && POOL_AT(pool_addr) - POOL_AT(id) < n)
			return true;
	}
	return false;
}

uint32_t nat_pool_members(const struct pool *p)
{
	return (uint32_t)p->count4 + p->count6;
}

/* nat_apply.c puts the IPv6 members behind the IPv4 ones. */
uint32_t nat_pool_member(const struct nat *nat, const struct pool *p, uint32_t i, uint32_t *ret_n)
{
	bool runs = p->flags & POOL_F_RUNS;
	uint32_t at = p->first4 + (runs ? 2 * i : i);

	*ret_n = runs ? nat->members[(at + 1) % (2 * POOL_MEMBER_MAX)].pool_addr : 1;
	return nat->members[at % (2 * POOL_MEMBER_MAX)].pool_addr;
}

bool nat_addr_of(const struct nat *nat, uint32_t pool_addr, struct addr *ret)
{
	const struct pool_addr *a = &nat->addrs[POOL_SLOT(pool_addr)];
	uint32_t at = POOL_AT(pool_addr);

	if (!(a->flags & POOL_ADDR_F_USED) || (at && (!(a->flags & POOL_ADDR_F_RUN) || at - a->run_from >= a->run_n)))
		return false;
	*ret = a->addr;
	if (at)
		ret->a32[3] = htonl(ntohl(ret->a32[3]) + at - 1);
	return true;
}

/* The address's POOL_ID, if it is the slot's, or one of its run. */
static uint32_t slot_has(const struct nat *nat, uint32_t slot, const struct addr *a)
{
	const struct pool_addr *v = &nat->addrs[slot];
	uint32_t at = ntohl(a->a32[3]) - ntohl(v->addr.a32[3]) + 1;

	if (!(v->flags & POOL_ADDR_F_USED))
		return POOL_ADDR_NONE;
	if (!(v->flags & POOL_ADDR_F_RUN))
		return memcmp(&v->addr, a, sizeof(*a)) ? POOL_ADDR_NONE : slot;
	return !memcmp(&v->addr, a, 12) && at - v->run_from < v->run_n ? POOL_ID(slot, at) : POOL_ADDR_NONE;
}

/* A single address may be one that runs leave out. */
uint32_t nat_addr_find(const struct nat *nat, const struct addr *a, uint16_t vrf)
{
	uint32_t found = POOL_ADDR_NONE, id;

	for (uint32_t slot = 0; slot < POOL_ADDR_MAX; slot++) {
		id = nat->addrs[slot].vrf == vrf ? slot_has(nat, slot, a) : POOL_ADDR_NONE;
		if (id < POOL_ADDR_MAX)
			return id;
		found = id != POOL_ADDR_NONE ? id : found;
	}
	return found;
}

uint32_t nat_pool_find(const struct nat *nat, uint32_t pool, const struct addr *a)
{
	const struct pool *p = &nat->pools[pool];
	uint32_t n, id;

	for (uint32_t i = 0; i < nat_pool_members(p); i++) {
		id = slot_has(nat, POOL_SLOT(nat_pool_member(nat, p, i, &n)), a);
		if (id != POOL_ADDR_NONE && nat_pool_has(nat, pool, id))
			return id;
	}
	return POOL_ADDR_NONE;
}

bool nat_is_addr(const struct nat *nat, uint32_t id1, const struct addr *a)
{
	struct addr is;

	return id1 && nat_addr_of(nat, id1 - 1, &is) && !memcmp(&is, a, sizeof(*a));
}

bool nat_gives_out(const struct nat *nat, uint32_t pool_addr)
{
	struct addr a;

	for (uint32_t id = 1; nat_addr_of(nat, pool_addr, &a) && id < POOL_MAX; id++)
		if (nat->pools[id].flags & POOL_F_USED && nat_pool_has(nat, id, pool_addr))
			return true;
	return false;
}

/* ---- life */

/* What the tables remember: the bank in force, and the ids of rules. */
static int read_rule(struct nat *nat, uint16_t id, const char *name)
{
	int err = nat_rule_id_set(nat, id, name);

	if (!err && id && id <= nat->n_rules)
		nat->rules[id - 1].alive = true;
	return err;
}

static int read_dnat(const void *key, void *value, void *arg)
{
	const struct dnat_rule *r = value;

	return read_rule(arg, r->rule, r->name);
}

static int read_back(struct nat *nat, const struct control *control)
{
	const struct snat_rule *r = &nat->snat[control->snat_bank ? SNAT_RULE_MAX : 0];
	int err = 0;

	for (int id = 1; id < POOL_MAX; id++)
		if (nat->pools[id].first4 >= POOL_MEMBER_MAX)
			nat->bank = 1;
	for (int i = 0; i < POOL_ADDR_MAX; i++)
		nat->has_runs = nat->has_runs || nat->addrs[i].flags & POOL_ADDR_F_RUN;
	for (int i = 0; !err && i < SNAT_RULE_MAX && r[i].action != SNAT_END; i++)
		err = read_rule(nat, r[i].rule, r[i].name);
	return err ? err : table_each(nat->dnat, read_dnat, nat);
}

static void *map(struct sw *sw, const char *name, struct errs *errs)
{
	struct table *t = table_get(sw->dp, name);
	void *p = t ? table_map(t) : NULL;

	if (!p)
		errs_fail(errs, ENOENT, "nat: the table %s cannot be mapped", name);
	return p;
}

int nat_open(struct sw *sw, struct errs *errs)
{
	struct nat *nat = calloc(1, sizeof(*nat));
	int err;

	if (!nat)
		return errs_fail(errs, ENOMEM, "nat: no memory");
	sw->nat = nat;
	nat->sw = sw;
	nat->pools = map(sw, "pools", errs);
	nat->members = map(sw, "pool_members", errs);
	nat->addrs = map(sw, "pool_addrs", errs);
	nat->ports = map(sw, "pool_ports", errs);
	nat->snat = map(sw, "snat_rules", errs);
	nat->filter = map(sw, "nat_filter", errs);
	nat->dnat = table_get(sw->dp, "dnat_rules");
	nat->peers = table_get(sw->dp, "nat_peers");
	nat->statics = table_get(sw->dp, "nat_statics");
	nat->used = table_get(sw->dp, "nat_used");
	nat->counted = table_get(sw->dp, "nat_counted");
	nat->ifaces = table_get(sw->dp, "ifaces");
	if (!nat->pools || !nat->members || !nat->addrs || !nat->ports || !nat->snat || !nat->filter || !nat->dnat ||
	    !nat->peers || !nat->statics || !nat->used || !nat->counted || !nat->ifaces)
		err = -ENOENT;
	else
		err = nattab_open(&nat->tab, table_get(sw->dp, "flow_table"), table_get(sw->dp, "nat_words"),
				  table_get(sw->dp, "nat_mappings"), table_get(sw->dp, "nat_ways"));
	if (!err) {
		nattab_free_locks(&nat->tab);
		err = nat_names_load(nat);
	}
	if (!err)
		err = read_back(nat, sw->control);
	if (!err)
		err = nat_sweep_open(nat);
	if (!err)
		err = nat_own_open(nat);
	if (!err)
		err = nat_log_open(sw);
	if (err) {
		nat_close(sw);
		return errs_fail(errs, -err, "nat: the tables cannot be read: %s", strerror(-err));
	}
	return 0;
}

void nat_close(struct sw *sw)
{
	if (!sw->nat)
		return;
	nat_log_close(sw->nat);
	nat_own_close(sw->nat);
	nat_host_close(sw->nat);
	nat_sweep_close(sw->nat);
	hash_free(&sw->nat->by_name);
	free(sw->nat->rules);
	free(sw->nat->dnat_put);
	free(sw->nat);
	sw->nat = NULL;
}

static int reconcile(struct sw *sw, bool event, struct errs *errs)
{
	struct nat_plan plan = {.event = event};
	int err;

	for (size_t i = 0; i < sw->nat->n_rules; i++)
		sw->nat->rules[i].wanted = false;
	err = nat_log_reconcile(sw, errs);
	if (!err)
		err = nat_plan_make(sw, &plan, errs);
	if (!err)
		err = nat_apply(sw, &plan, errs);
	sw->nat->changes++;
	sw->nat->reconciled++;
	for (size_t i = 0; !err && i < sw->nat->n_rules; i++)
		sw->nat->rules[i].alive = sw->nat->rules[i].wanted;
	if (!err)
		nat_names_save(sw->nat);
	nat_plan_free(&plan);
	return err;
}

int nat_reconcile(struct sw *sw, struct errs *errs)
{
	sw->nat->commits++;
	return reconcile(sw, false, errs);
}

int nat_settle(struct sw *sw, struct errs *errs)
{
	return reconcile(sw, true, errs);
}
