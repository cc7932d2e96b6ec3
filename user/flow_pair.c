/* flow_pair.c: the entries of the flow table as pairs (flow_pair.h).
 *
 * The one place where what people see of a flow is taken out of struct flow.
 */
#include <string.h>
#include "clock.h"
#include "flow_priv.h"

static uint32_t seconds_since(uint64_t now, uint64_t then)
{
	uint64_t s = now > then ? (now - then) / CLOCK_SECOND_NS : 0;

	return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

/* With the other direction, or without it when the pair has lost it, or has not got it yet. */
static void complete(struct flow_pair *p, void *arg)
{
	struct flows *flows = arg;
	const struct settings_cfg *settings;
	struct settings_cfg buf;
	struct flow forward = {.used = p->used}, reply;
	uint32_t timeout;

	p->back_to = (struct flow_tuple){p->key.daddr, p->key.saddr, p->key.dport, p->key.sport,
					 p->key.vrf,   p->key.proto, p->key.family};
	if (!flow_lookup(flows, &p->back, &reply) && flow_is_pair(&p->key, &p->back, &reply)) {
		p->packets[1] = reply.packets;
		p->bytes[1] = reply.bytes;
		if (!p->out_iface)
			p->out_iface = reply.in_iface;
	} else {
		reply = forward;
	}
	p->state = flow_state(p->key.proto, p->seen, reply.seen);
	p->idle_s = seconds_since(p->now_ns, flow_used_ns(&forward, &reply, p->now_ns));
	settings = nat_settings(flows->sw, p->rule, &buf);
	timeout = flow_timeout_s(settings, p->key.proto, p->state);
	p->expires_s = timeout > p->idle_s ? timeout - p->idle_s : 0;
}

void flow_pair_of(struct flows *flows, const struct flow_tuple *key, const struct flow *f, uint64_t now_ns, struct flow_pair *ret)
{
	ret->key = *key;
	flow_tuple_to(key, f, &ret->to);
	flow_tuple_peer(key, f, &ret->back);
	ret->out_vrf = f->peer_vrf;
	ret->rule = f->rule;
	ret->in_iface = f->in_iface;
	ret->out_iface = f->out_iface;
	ret->snat = f->flags & FLOW_F_SNAT;
	ret->dnat = f->flags & FLOW_F_DNAT;
	ret->created_ns = f->created_ns;
	ret->used = f->used;
	ret->now_ns = now_ns;
	ret->age_s = seconds_since(now_ns, f->created_ns);
	ret->seen = f->seen;
	ret->packets[0] = f->packets;
	ret->bytes[0] = f->bytes;
	ret->packets[1] = ret->bytes[1] = 0;
	ret->whole = false;
	ret->complete = complete;
	ret->arg = flows;
}
