/* flow_state.h: how far a connection is, and how long it may be silent: from what both directions have shown. */
#ifndef SLUICE_FLOW_STATE_H
#define SLUICE_FLOW_STATE_H

#include <stdint.h>
#include <sluice/abi.h>
#include "model.h"

enum flow_state {
	FLOW_OPENING,	  /* TCP: the handshake is not complete */
	FLOW_ESTABLISHED, /* TCP: both sides have acknowledged; one of them may have closed its half */
	FLOW_CLOSING,	  /* TCP: both sides have sent a FIN */
	FLOW_RESET,	  /* TCP: one side has sent a RST */
	FLOW_UNREPLIED,	  /* not TCP: one direction alone */
	FLOW_REPLIED,	  /* not TCP: both */
	FLOW_STATES
};

const char *flow_state_name(enum flow_state state);
/* forward, reply: FLOW_SEEN_* of the two entries. */
enum flow_state flow_state(uint8_t proto, uint8_t forward, uint8_t reply);
/* When either direction last had a packet, CLOCK_MONOTONIC, to the tick of 17 ms in which entries keep it. */
uint64_t flow_used_ns(const struct flow *forward, const struct flow *reply, uint64_t now_ns);
/* Seconds of silence, in both directions, after which the pair ends. */
uint32_t flow_timeout_s(const struct settings_cfg *settings, uint8_t proto, enum flow_state state);

#endif
