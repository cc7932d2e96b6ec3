/* rules_other.c: routing rules of other programs, which are not followed. See rules_other.h.
 */
#include "rules_other.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include "events.h"
#include "named.h"

struct rules_other {
	bool known;
	bool refuse; /* one of them does */
	struct named now;
};

struct reading {
	struct sw *sw;
	struct rules_other found;
};

/* A rule for every packet that leads to a table that VRF default has, or to one that the kernel asks by itself. */
static bool follows(const struct sw *sw, const struct nl_rule_seen *rule)
{
	uint16_t vrf;
	uint8_t rank;

	if (!rule->plain || rule->action != FR_ACT_TO_TBL)
		return false;
	if (rule->is.table == RT_TABLE_LOCAL || rule->is.table == RT_TABLE_MAIN || rule->is.table == RT_TABLE_DEFAULT)
		return true;
	return vrf_of_table(sw, rule->is.table, &vrf, &rank) && !vrf;
}

static int see(const struct nl_rule_seen *rule, void *arg)
{
	struct reading *rd = arg;

	if (rule->own || rule->l3mdev || follows(rd->sw, rule))
		return 0;
	rd->found.refuse |= rule->action == FR_ACT_UNREACHABLE;
	named_add(&rd->found.now,
		  "the kernel's routing rule %u for IPv%u (%s) is not followed: packets are routed by the tables of their VRF "
		  "alone",
		  rule->is.priority, rule->is.family, rule->text);
	return 0;
}

int rules_other_reconcile(struct sw *sw, struct errs *errs)
{
	struct rules_other *o = sw->rules_other;
	struct reading rd = {.sw = sw, .found.known = true};

	if (o->known)
		return 0;
	for (uint8_t family = 4; family <= 6; family += 2) {
		int r = netlink_rules_each(sw->nl, family, see, &rd);

		if (r && !netlink_no_rules(r))
			return errs_fail(errs, -r, "the kernel's routing rules: %s", strerror(-r));
	}
	named_tell(&rd.found.now, &o->now, "routing rules");
	*o = rd.found;
	return 0;
}

void rules_other_changed(struct sw *sw)
{
	if (sw->rules_other)
		sw->rules_other->known = false;
	if (sw->events)
		events_again_rules(sw->events);
}

size_t rules_other_count(const struct sw *sw)
{
	return sw->rules_other ? sw->rules_other->now.n : 0;
}

bool rules_other_refuse(const struct sw *sw)
{
	return sw->rules_other && sw->rules_other->refuse;
}

void rules_other_conditions(const struct sw *sw, json_t *list)
{
	if (sw->rules_other)
		named_list(&sw->rules_other->now, list);
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
