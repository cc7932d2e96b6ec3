/* vrf_sweep.c: the routing rules that an instance left, found without its maps: by the saved model and what the rules say
 * themselves. Between destroy.c and netlink.h.
 *
 * A rule for a netdev names an interface of the instance, one with a mark the table of a VRF of it; both bear the mark's number,
 * and with it go the others of the same mark (of the table `main`, and unreachable). Rules of other instances have other marks.
 */
#include "vrf_sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vrf_priv.h"

struct sweep {
	const struct model *saved;
	bool marks[MARKS + 1];
	struct nl_rule *rules; /* own ones */
	size_t n, room;
};

bool vrf_saved_table(const struct model *saved, uint32_t table)
{
	for (size_t i = 1; i < saved->n_vrfs; i++)
		for (size_t k = 0; k < saved->vrfs[i].n_tables; k++)
			if (saved->vrfs[i].tables[k] == table)
				return true;
	return false;
}

static bool is_saved(const struct model *saved, const struct nl_rule *rule)
{
	return *rule->oif ? model_iface(saved, rule->oif) != NULL : vrf_saved_table(saved, rule->table);
}

static int see(const struct nl_rule_seen *seen, void *arg)
{
	const struct nl_rule *rule = &seen->is;
	uint32_t mark = vrf_rule_mark(rule);
	struct sweep *s = arg;

	if (!seen->own || !mark)
		return 0;
	if (is_saved(s->saved, rule))
		s->marks[vrf_mark_number(mark)] = true;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct nl_rule *v = realloc(s->rules, room * sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->rules = v;
		s->room = room;
	}
	s->rules[s->n++] = *rule;
	return 0;
}

int vrf_sweep(struct netlink *nl, const struct model *saved, struct errs *errs)
{
	struct sweep s = {.saved = saved};
	int r = 0, one;

	for (uint8_t family = 4; family <= 6; family += 2) {
		one = netlink_rules_each(nl, family, see, &s);
		if (one && one != -EOPNOTSUPP && one != -EAFNOSUPPORT)
			r = errs_fail(errs, -one, "the kernel's routing rules: %s", strerror(-one));
	}
	for (size_t i = 0; i < s.n; i++) {
		if (!s.marks[vrf_mark_number(vrf_rule_mark(&s.rules[i]))])
			continue;
		one = netlink_rule_delete(nl, &s.rules[i], errs);
		r = r ? r : one;
	}
	free(s.rules);
	return r;
}
