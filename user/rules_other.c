/* rules_other.c: routing rules of other programs, which are not followed. See rules_other.h.
 */
#include "rules_other.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "log.h"

#define TEXT 384

struct named {
	size_t n; /* of all; those of the first RULES_NAMED have a text */
	bool refuse;
	char text[RULES_NAMED][TEXT];
};

struct rules_other {
	bool known;
	uint64_t tables; /* of VRF default, as they were when the rules were read */
	struct named now;
};

struct reading {
	struct sw *sw;
	struct named *to;
};

static uint64_t tables_of_default(const struct sw *sw)
{
	const struct model *m = sw->model;
	uint64_t s = 1;

	for (size_t i = 0; m->n_vrfs && i < m->vrfs[0].n_tables; i++)
		s = hash_mix(s, m->vrfs[0].tables[i]);
	return s;
}

/* A rule for every packet that leads to a table that VRF default has, or to one that the kernel asks by itself. */
static bool follows(const struct sw *sw, const struct nl_rule_seen *rule)
{
	uint16_t vrf;
	uint8_t rank;

	if (!rule->plain || rule->action != FR_ACT_TO_TBL)
		return false;
	if (rule->table == RT_TABLE_LOCAL || rule->table == RT_TABLE_MAIN || rule->table == RT_TABLE_DEFAULT)
		return true;
	return vrf_of_table(sw, rule->table, &vrf, &rank) && !vrf;
}

static int see(const struct nl_rule_seen *rule, void *arg)
{
	const struct reading *rd = arg;
	struct named *to = rd->to;

	if (rule->own || rule->l3mdev || follows(rd->sw, rule))
		return 0;
	to->refuse |= rule->action == FR_ACT_UNREACHABLE;
	if (to->n < RULES_NAMED)
		snprintf(to->text[to->n], TEXT,
			 "the kernel's routing rule %u for IPv%u (%s) is not followed: packets are routed by the tables of "
			 "their VRF alone",
			 rule->priority, rule->family, rule->text);
	to->n++;
	return 0;
}

static bool has(const struct named *v, const char *text)
{
	for (size_t i = 0; i < v->n && i < RULES_NAMED; i++)
		if (!strcmp(v->text[i], text))
			return true;
	return false;
}

static void tell(const struct named *now, const struct named *old)
{
	for (size_t i = 0; i < now->n && i < RULES_NAMED; i++)
		if (!has(old, now->text[i]))
			log_error("%s", now->text[i]);
	if (now->n > RULES_NAMED && old->n <= RULES_NAMED)
		log_error("more of the kernel's routing rules are not followed: `sluice status` says how many");
}

int rules_other_reconcile(struct sw *sw, struct errs *errs)
{
	struct rules_other *o = sw->rules_other;
	uint64_t tables = tables_of_default(sw);
	struct named now = {0};
	struct reading rd = {sw, &now};

	if (o->known && o->tables == tables)
		return 0;
	for (uint8_t family = 4; family <= 6; family += 2) {
		int r = netlink_rules_seen(sw->nl, family, see, &rd);

		if (r && !netlink_no_rules(r))
			return errs_fail(errs, -r, "the kernel's routing rules: %s", strerror(-r));
	}
	tell(&now, &o->now);
	o->now = now;
	o->tables = tables;
	o->known = true;
	return 0;
}

void rules_other_changed(struct sw *sw)
{
	if (sw->rules_other)
		sw->rules_other->known = false;
}

size_t rules_other_count(const struct sw *sw)
{
	return sw->rules_other ? sw->rules_other->now.n : 0;
}

bool rules_other_refuse(const struct sw *sw)
{
	return sw->rules_other && sw->rules_other->now.refuse;
}

void rules_other_conditions(const struct sw *sw, json_t *list)
{
	for (size_t i = 0; i < rules_other_count(sw) && i < RULES_NAMED; i++)
		json_array_append_new(list, json_string(sw->rules_other->now.text[i]));
}

int rules_other_open(struct sw *sw, struct errs *errs)
{
	sw->rules_other = calloc(1, sizeof(*sw->rules_other));
	return sw->rules_other ? 0 : errs_fail(errs, ENOMEM, "out of memory");
}

void rules_other_close(struct sw *sw)
{
	free(sw->rules_other);
	sw->rules_other = NULL;
}
