/* inject.bpf.c: a frame that sluiced has kept comes in by a port once more. Attached nowhere: sluiced runs it (BPF_PROG_RUN) with
 * the frame as its packet and the port's netdev as its device. What it gets is thrown away, a copy goes in. */
#include <linux/bpf.h>
#include <sluice/abi.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int sluice_inject(struct __sk_buff *ctx)
{
	ctx->tc_index = ASKED_AGAIN;
	return bpf_clone_redirect(ctx, ctx->ifindex, BPF_F_INGRESS);
}

char LICENSE[] SEC("license") = "GPL";
