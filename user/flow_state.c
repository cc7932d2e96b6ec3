/* flow_state.c: the state machine of flows: no state of its own, only what the data plane has noted. */
#include <netinet/in.h>
#include "flow_state.h"

const char *flow_state_name(enum flow_state state)
{
	static const char *const names[] = {
		[FLOW_OPENING] = "opening", [FLOW_ESTABLISHED] = "established", [FLOW_CLOSING] = "closing",
		[FLOW_RESET] = "reset",	    [FLOW_UNREPLIED] = "unreplied",	[FLOW_REPLIED] = "replied",
	};

	return names[state];
}

enum flow_state flow_state(uint8_t proto, uint8_t forward, uint8_t reply)
{
	if (proto != IPPROTO_TCP)
		return reply ? FLOW_REPLIED : FLOW_UNREPLIED;
	if ((forward | reply) & FLOW_SEEN_RST)
		return FLOW_RESET;
	if (forward & reply & FLOW_SEEN_FIN)
		return FLOW_CLOSING;
	/* The answer to a SYN acknowledges it; a connection that was picked up in its midst shows bare ACKs both ways. */
	if ((forward & FLOW_SEEN_ACK) && (reply & (FLOW_SEEN_SYNACK | FLOW_SEEN_ACK)))
		return FLOW_ESTABLISHED;
	return FLOW_OPENING;
}

/* The counter of ticks begins anew every two years. */
uint64_t flow_used_ns(const struct flow *forward, const struct flow *reply, uint64_t now_ns)
{
	uint32_t now = (uint32_t)(now_ns >> FLOW_USED_SHIFT), age = now - forward->used, of_reply = now - reply->used;

	if ((int32_t)of_reply < (int32_t)age)
		age = of_reply;
	return (int32_t)age > 0 ? now_ns - ((uint64_t)age << FLOW_USED_SHIFT) : now_ns;
}

/* TCP, RFC 5382 REQ-5: established connections, one half closed or not, at least 2 h 4 min; those partly open or closing at
 * least 4 min, each by a setting of its own if wanted (RFC 7857 2.1). A RST does not end a connection at once (RFC 7857 2.2): it
 * may be forged, and a packet that follows shows that the connection lives; so it waits like a closing one. UDP: RFC 4787 REQ-5;
 * ICMP queries: RFC 5508 REQ-2. */
uint32_t flow_timeout_s(const struct settings_cfg *settings, uint8_t proto, enum flow_state state)
{
	switch (proto) {
	case IPPROTO_TCP:
		if (state == FLOW_OPENING && settings->tcp_opening_s)
			return settings->tcp_opening_s;
		return state == FLOW_ESTABLISHED ? settings->tcp_established_s : settings->tcp_transitory_s;
	case IPPROTO_UDP:
		return settings->udp_s;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return settings->icmp_s;
	}
	return settings->other_s;
}
