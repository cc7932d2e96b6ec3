/* inject.bpf.c: a frame that sluiced has kept comes in by a port once more. Attached nowhere: sluiced runs it (BPF_PROG_RUN) with
 * the frame as its packet and the port's netdev as its device. What it gets is thrown away, a copy goes in.
 *
 * The frame was counted when it came, as received and forwarded; now it is counted as what becomes of it, so that goes back.
 */
#include "port_counters.h"

SEC("tc")
int sluice_inject(struct __sk_buff *ctx)
{
	__u32 port = ctx->cb[0]; /* 0: it has none any more */
	struct port_counters *c = port ? bpf_map_lookup_elem(&port_counters, &port) : NULL;

	if (c) {
		/* In one instruction each: before 6.3 packets that arrive may come in between. */
		__sync_fetch_and_add(&c->rx_packets, -1);
		__sync_fetch_and_add(&c->rx_bytes, -(__u64)ctx->len);
		__sync_fetch_and_add(&c->forwarded, -1);
	}
	ctx->tc_index = ASKED_AGAIN;
	return bpf_clone_redirect(ctx, ctx->ifindex, BPF_F_INGRESS);
}

char LICENSE[] SEC("license") = "GPL";
