/* lines_xdp.bpf.c: what a packet costs whoever has to look something up in memory that no cache holds, and has it in one line.
 * Targets of gen_xdp.bpf.c in an object of their own, for their table is large.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "bench_maps.h"
#include "work.h"

/* 2^20 connections: a line for each, one for its answers, and a quarter more. */
#define FLOWS_BITS 20
#define LINES	   ((5 << FLOWS_BITS) / 2)

#define DESTINATIONS_BITS 19 /* lines of 64 bytes: 32 MiB */

struct line {
	__u32 out;
	__u32 packets;
	__u32 pad[14];
};

MMAPPED(lines, LINES, struct line);
KERNEL_TABLE(out, BPF_MAP_TYPE_DEVMAP_HASH, 0, 8, __u32, struct bpf_devmap_val);

/* Whoever keeps a destination's way in 32 MiB of memory reads one line of them. */
SEC("xdp.frags")
int line_destination(struct xdp_md *ctx)
{
	__u32 *w = (void *)(long)ctx->data + 18, i;
	struct line *line;

	if ((void *)(w + 5) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	i = bpf_ntohl(w[4]) * 0x9e3779b1u >> (32 - DESTINATIONS_BITS);
	line = bpf_map_lookup_elem(&lines, &i);
	return line ? bpf_redirect_map(&out, line->out, 0) : XDP_ABORTED;
}

/* Whoever keeps connections, in a table such as cannot be: each has one line, without a key, which is counted in; its number
 * is what the generator varies: ten bits each of source address and port. Between them is the room that the answers' lines take,
 * and that a table must have over. Around that as many instructions as it takes to translate a packet: a CPU that has less to do
 * waits for the lines of several packets at once. */
SEC("xdp.frags")
int line_flow(struct xdp_md *ctx)
{
	__u32 *w = (void *)(long)ctx->data + 18, i;
	struct line *line;
	__u64 work;

	if ((void *)(w + 7) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	work = gen_work(w[3], 15);
	i = ((bpf_ntohl(w[3]) & 0x3ff) << 10 | (bpf_ntohs(w[5]) & 0x3ff)) * 5 / 2;
	line = bpf_map_lookup_elem(&lines, &i);
	if (!line)
		return XDP_ABORTED;
	line->packets++;
	w[6] = gen_work(work, 15);
	return bpf_redirect_map(&out, line->out, 0);
}

char LICENSE[] SEC("license") = "GPL";
