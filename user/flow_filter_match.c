/* flow_filter_match.c: is this connection meant? One loop over the tests of a filter; the other direction of a pair is looked up
 * when the first test asks for it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include "flow_filter_priv.h"

static bool within(const struct filter_test *t, uint64_t n)
{
	return n >= t->lo && n <= t->hi;
}

static bool in_prefix(const struct filter_test *t, const struct flow_tuple *of, const struct addr *a)
{
	return of->family == t->family && !((a->a64[0] & t->mask.a64[0]) ^ t->value.a64[0]) &&
	       !((a->a64[1] & t->mask.a64[1]) ^ t->value.a64[1]);
}

/* Echo identifiers stand where ports do, and are none. */
static bool is_port(const struct filter_test *t, const struct flow_tuple *of, __be16 port)
{
	return (of->proto == IPPROTO_TCP || of->proto == IPPROTO_UDP) && within(t, ntohs(port));
}

static bool holds_whole(const struct filter_test *t, const struct flow_pair *p)
{
	switch (t->op) {
	case FILTER_OUT:
		return within(t, p->out_iface);
	case FILTER_STATE:
		return within(t, p->state);
	case FILTER_IDLE:
		return within(t, p->idle_s);
	case FILTER_EXPIRES:
		return within(t, p->expires_s);
	case FILTER_PACKETS:
		return within(t, p->packets[0] + p->packets[1]);
	case FILTER_BYTES:
		return within(t, p->bytes[0] + p->bytes[1]);
	default:
		return false;
	}
}

static bool holds(const struct filter_test *t, struct flow_pair *p)
{
	switch (t->op) {
	case FILTER_ALL:
		return true;
	case FILTER_PROTO:
		return within(t, p->key.proto);
	case FILTER_FAMILY:
		return within(t, p->key.family);
	case FILTER_SRC:
		return in_prefix(t, &p->key, &p->key.saddr);
	case FILTER_DST:
		return in_prefix(t, &p->key, &p->key.daddr);
	case FILTER_NAT_SRC:
		return p->snat && in_prefix(t, &p->to, &p->to.saddr);
	case FILTER_NAT_DST:
		return p->dnat && in_prefix(t, &p->to, &p->to.daddr);
	case FILTER_SPORT:
		return is_port(t, &p->key, p->key.sport);
	case FILTER_DPORT:
		return is_port(t, &p->key, p->key.dport);
	case FILTER_NAT_SPORT:
		return p->snat && is_port(t, &p->to, p->to.sport);
	case FILTER_NAT_DPORT:
		return p->dnat && is_port(t, &p->to, p->to.dport);
	case FILTER_SNAT:
		return p->snat;
	case FILTER_DNAT:
		return p->dnat;
	case FILTER_RULE:
		return within(t, p->rule);
	case FILTER_VRF:
		return within(t, p->key.vrf);
	case FILTER_OUT_VRF:
		return within(t, p->out_vrf);
	case FILTER_IN:
		return within(t, p->in_iface);
	case FILTER_AGE:
		return within(t, p->age_s);
	default:
		flow_pair_whole(p);
		return holds_whole(t, p);
	}
}

bool flow_filter_match(const struct flow_filter *f, struct flow_pair *p)
{
	uint16_t at = f ? f->start : FILTER_YES;

	while (at < FILTER_NO)
		at = holds(&f->test[at], p) ? f->test[at].yes : f->test[at].no;
	return at == FILTER_YES;
}
