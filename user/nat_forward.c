/* nat_forward.c: forwards, and the marks of addresses, from the plan into their table.
 *
 * Stands between nat_apply.c and `dnat_rules`, of which it remembers what it has put there: thousands of forwards are thousands
 * of system calls, and links come and go all day without a change of any. Nobody else writes their keys: what the data plane and
 * nat_host.c write are keys of their own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nat_priv.h"

struct dnat_diff {
	struct nat *nat;
	const struct nat_plan *plan;
	int err;
};

static int dnat_gone(const void *key, void *value, void *arg)
{
	struct dnat_diff *d = arg;

	if (nat_host_is_mark(key))
		return 0;
	if (!nat_plan_dnat_find(d->plan, key))
		d->err = table_delete(d->nat->dnat, key);
	return d->err;
}

/* Which slot an address has: by its mark the data plane finds whose a port of it is. */
static void mark_slots(struct nat_plan *plan)
{
	for (size_t i = 0; i < plan->n_addrs; i++) {
		struct dnat_key key = {.daddr = plan->addrs[i].addr, .vrf = plan->addrs[i].vrf, .proto = DNAT_PROTO_MARK};
		struct nat_plan_dnat *d = plan->addrs[i].run ? NULL : nat_plan_dnat_find(plan, &key);

		if (d)
			d->rule.pool_addr = (uint16_t)(plan->addrs[i].slot + 1);
	}
}

/* What was put there, sorted, and how far it has been gone over. */
struct put {
	const struct nat_plan_dnat *v;
	size_t n, at;
};

/* Keys are asked for in their order. NULL: there is none. */
static const struct nat_plan_dnat *put_find(struct put *p, const struct dnat_key *key)
{
	int r = -1;

	while (p->at < p->n && (r = memcmp(&p->v[p->at].key, key, sizeof(*key))) < 0)
		p->at++;
	return p->at < p->n && !r ? &p->v[p->at] : NULL;
}

/* `put`: NULL: the table itself is asked. */
static bool is_there(struct nat *nat, struct put *put, const struct dnat_key *key, struct dnat_rule *ret)
{
	const struct nat_plan_dnat *d;

	if (!put)
		return !table_lookup(nat->dnat, key, ret);
	d = put_find(put, key);
	if (d)
		*ret = d->rule;
	return d;
}

/* `keep`: marks say of blocks that are about to go as well; *ret_kept: some do. */
static int dnat_set(struct nat *nat, const struct nat_plan *plan, struct put *put, bool keep, bool *ret_kept)
{
	int err = 0;

	for (size_t i = 0; !err && i < plan->n_dnat; i++) {
		const struct dnat_key *key = &plan->dnat[i].key;
		struct dnat_rule rule = plan->dnat[i].rule, now;
		bool there = is_there(nat, put, key, &now);

		if (there && keep && key->proto == DNAT_PROTO_MARK && now.blocks & ~rule.blocks) {
			rule.blocks |= now.blocks;
			*ret_kept = true;
		}
		if (!there || memcmp(&now, &rule, sizeof(now)))
			err = table_set(nat->dnat, key, &rule);
	}
	return err;
}

static int dnat_delete(struct nat *nat, const struct nat_plan *plan, const struct put *put)
{
	struct put now = {plan->dnat, plan->n_dnat, 0};
	struct dnat_diff d = {.nat = nat, .plan = plan};
	int err = 0;

	if (!put)
		return table_each(nat->dnat, dnat_gone, &d);
	for (size_t i = 0; !err && i < put->n; i++) {
		if (!put_find(&now, &put->v[i].key))
			err = table_delete(nat->dnat, &put->v[i].key);
		err = err == -ENOENT ? 0 : err;
	}
	return err;
}

/* What is new first, then what is gone: a port that is in a range before and after may stand in other blocks, and is forwarded
 * all the time. Where there is no room for both, the other way round. */
static int apply_dnat(struct nat *nat, const struct nat_plan *plan, struct put *put, struct errs *errs)
{
	bool again = false;
	int err = dnat_set(nat, plan, put, true, &again);

	if (err == -E2BIG)
		again = true;
	if (!err || err == -E2BIG)
		err = dnat_delete(nat, plan, put);
	if (!err && again)
		err = dnat_set(nat, plan, NULL, false, &again);
	if (err == -E2BIG)
		return errs_fail(errs, E2BIG, "nat.%s: destination rules: table full: %u entries", plan->dnat[0].rule.name,
				 table_capacity(nat->dnat));
	return err ? errs_fail(errs, -err, "nat: destination rules: %s", strerror(-err)) : 0;
}

static bool stands(const struct put *put, const struct nat_plan *plan)
{
	return put->n == plan->n_dnat && (!put->n || !memcmp(put->v, plan->dnat, put->n * sizeof(*put->v)));
}

static void put_remember(struct nat *nat, const struct nat_plan *plan)
{
	size_t size = plan->n_dnat * sizeof(*plan->dnat);

	free(nat->dnat_put);
	nat->dnat_put = size ? malloc(size) : NULL;
	if (nat->dnat_put)
		memcpy(nat->dnat_put, plan->dnat, size);
	nat->n_dnat_put = nat->dnat_put ? plan->n_dnat : 0;
	nat->dnat_whole = nat->dnat_put || !size;
}

int nat_forwards_put(struct nat *nat, struct nat_plan *plan, struct errs *errs)
{
	struct put put = {nat->dnat_put, nat->n_dnat_put, 0};
	bool known = plan->event && nat->dnat_whole;
	int err;

	mark_slots(plan);
	if (known && stands(&put, plan))
		return 0;
	nat->dnat_whole = false;
	err = apply_dnat(nat, plan, known ? &put : NULL, errs);
	if (!err)
		put_remember(nat, plan);
	return err;
}
