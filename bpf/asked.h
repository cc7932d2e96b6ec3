/* asked.h: packets that the kernel holds until it knows a neighbour, each told to sluiced as it came in.
 *
 * Stands between the entry of tc and a ring buffer that neighbor_asked.c of sluiced reads: when nobody answers, the kernel drops
 * what it holds without a word, and sluiced has the copies come in again, to be answered 'unreachable' as all that come later
 * (RFC 4861 7.2.2, RFC 1812 5.2.7.1), or to go another way where there is one by then. What finds no room is not told, of what is
 * too long the address alone; both are counted. Of an address that was told so, `neighbors` knows from then on that it is asked
 * for.
 */
#ifndef SLUICE_ASKED_H
#define SLUICE_ASKED_H

#include "pkt.h"
#include "counter.h"
#include "frame.h"
#include "neighbor.h"

#define ASKED_RING (1 << 20)

/* Written here, read by sluiced. About five hundred packets. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, ASKED_RING);
} neighbor_asked SEC(".maps");

/* Before the packet is rewritten. */
__noinline_global int asked_note(ctx_t *ctx, struct pkt *p)
{
	struct neighbor asked = {.flags = NEIGHBOR_F_ASKED};
	struct neighbor_key key = {};
	struct asked_packet *a;
	long len;

	/* Once only: of two ways that are dead in turn it would never come to an end. */
	if (!p || ctx->tc_index == ASKED_AGAIN)
		return 0;
	key.addr = p->next_addr;
	key.iface = p->out_iface;
	/* The second half is for those who are not known to be asked for yet. */
	if (bpf_ringbuf_query(&neighbor_asked, BPF_RB_AVAIL_DATA) > ASKED_RING / 2 && bpf_map_lookup_elem(&neighbors, &key)) {
		count_stat(STAT_NEIGHBOR_UNTOLD, 1);
		return 0;
	}
	a = bpf_ringbuf_reserve(&neighbor_asked, sizeof(*a), 0);
	if (!a) {
		count_stat(STAT_NEIGHBOR_UNTOLD, 1);
		return 0;
	}
	len = ctx_len(ctx) > ASKED_FRAME ? -1 : frame_copy(ctx, p, a->frame, ASKED_FRAME);
	if (len < 0) {
		count_stat(STAT_NEIGHBOR_UNTOLD, 1);
		len = 0;
	}
	a->at_ns = pkt_now(p);
	a->key = key;
	a->ifindex = ctx_ifindex(ctx);
	a->len = len;
	a->port = p->in_port;
	bpf_ringbuf_submit(a, BPF_RB_NO_WAKEUP);
	bpf_map_update_elem(&neighbors, &key, &asked, BPF_NOEXIST);
	return 0;
}

#endif
