/* fragment.h: IPv4 packets that are larger than the way out, and that routers may cut (RFC 791 3.2, RFC 1812 4.2.2.7).
 *
 * tc only: it is rare, and XDP cannot send two packets for one. The packet is cut before anything is rewritten, and its
 * fragments come in by the same port anew, as if the sender had sent them: so NAT, neighbours that are not known yet, flooding
 * and counters need nothing of their own. Reception is counted for the fragments, not for the whole.
 *
 * The payload is kept aside in map memory, because a clone of an skb shares its data: the skb is made small once, and filled
 * with header and payload of one fragment after another; a clone of each but the last goes out, and the helper that writes the
 * next one unshares the data. A checksum that the stack has left to a device (CHECKSUM_PARTIAL) cannot be finished over
 * fragments, so it is finished here.
 *
 * A TCP packet of several segments (GSO) is no packet of the wire yet: it gets smaller segments, and no fragments are needed. Cut
 * as the one large packet it looks like, a lost fragment would cost all of it, and a receiver behind a veth would count the whole
 * buffer for each fragment, until it has no memory for reassembly left (net.ipv4.ipfrag_high_thresh). GSO of UDP is several
 * datagrams, whose borders count, and that of a tunnel several of its packets: the kernel takes it apart, on a pair of netdevs
 * that sluiced has for it (cut.c), and each comes in by itself. There, too, it finishes a checksum inside of a tunnel's packet.
 *
 * What comes from there may still be called encapsulated, and where its checksum was is still noted: of such a packet the kernel
 * does not change the tail. Room behind the Ethernet header it takes away and makes all the same, and as headers and payload are
 * written anew, it does not matter where a packet loses or gains its bytes.
 */
#ifndef SLUICE_FRAGMENT_H
#define SLUICE_FRAGMENT_H

#include "pkt.h"
#include "csum.h"
#include "parse.h"
#include "counter.h"

#define FRAGMENT_MAX	   128	/* fragments of one packet */
#define FRAGMENT_MIN	   24	/* payload bytes of one, at least: the TCP checksum is in the first */
#define FRAGMENT_PAYLOAD   4088 /* and at most */
#define FRAGMENT_MASK	   4095
#define FRAGMENT_AREA	   32768 /* a per-CPU value may not be larger */
#define FRAGMENT_AREAS	   3
#define FRAGMENT_START	   (FRAGMENT_AREA - FRAGMENT_PAYLOAD - 8) /* the last place in an area where one begins */
#define FRAGMENT_HEAD_MAX  60
#define FRAGMENT_SUM_UNIT  512 /* bpf_csum_diff() takes no more before 6.13 */
#define FRAGMENT_EINVAL	   (-22)
#define FRAGMENT_ROOM	   4080 /* the kernel makes no more at once */
#define FRAGMENT_ROOMS	   17	/* 64 KiB */
#define FRAGMENT_ELSEWHERE 1
#define FRAGMENT_CUT_DONE  0xffff /* in tc_index: it comes from there, whole; more than any port's id */
#define FRAGMENT_COPIED	   0x80	  /* of an option: goes into every fragment (RFC 791 3.1) */

struct fragment_area {
	__u8 data[FRAGMENT_AREA];
};

/* Payload of the packet being cut: a fragment never straddles two areas. Written and read here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FRAGMENT_AREAS);
	__type(key, __u32);
	__type(value, struct fragment_area);
} fragment_payload SEC(".maps");

struct fragment_job {
	ctx_t *ctx;
	__u32 l3_off;
	__u32 head;	/* bytes of the IPv4 header */
	__u32 payload;	/* of the whole packet */
	__u32 size;	/* of a fragment's payload, a multiple of 8 */
	__u32 per_area; /* fragments in an area */
	__u32 n;	/* fragments in all */
	__u32 offset;	/* in units of 8: of this packet in the one it is a fragment of itself */
	__u32 flags;	/* of its header: MF */
	__u32 ifindex;
	__u32 done;
	__u32 sum; /* of the payload, as bpf_csum_diff() has it */
	__u32 at, erase;
	__u32 by_room;			    /* its length is changed behind the Ethernet header */
	__u8 header[FRAGMENT_HEAD_MAX + 8]; /* verifier: as far as a masked index reaches */
};

/* Where the payload of the i-th fragment is kept, with 8 bytes to spare behind it. */
static __always_inline void *fragment_at(const struct fragment_job *j, __u32 i, __u32 *ret_len)
{
	__u32 area, off, left = j->payload - i * j->size;
	struct fragment_area *a;

	if (!j->per_area || i >= j->n)
		return NULL;
	area = i / j->per_area;
	off = i % j->per_area * j->size;
	a = bpf_map_lookup_elem(&fragment_payload, &area);
	*ret_len = left < j->size ? left : j->size;
	if (!a || !*ret_len || *ret_len > FRAGMENT_PAYLOAD)
		return NULL;
	/* verifier: the barriers keep the bound on the register that is added, and out of other comparisons. */
	asm volatile("" : "+r"(off));
	if (off > FRAGMENT_START)
		return NULL;
	asm volatile("" : "+r"(off));
	return a->data + off;
}

/* verifier: at least 1, which it is; 6.1 learns nothing from a comparison with 0. */
static __always_inline __u32 fragment_len(__u32 len, __u32 mask)
{
	len = ((len - 1) & mask) + 1;
	asm volatile("" : "+r"(len));
	return len;
}

static long fragment_keep(__u32 i, void *arg)
{
	struct fragment_job *j = arg;
	__u32 len = 0;
	void *to = fragment_at(j, i, &len);

	len = fragment_len(len, FRAGMENT_MASK);
	if (!to || len > FRAGMENT_PAYLOAD)
		return 1;
	/* Zeros behind the last byte, for the sum. */
	*(__u32 *)(to + (len & FRAGMENT_MASK & ~3u)) = 0;
	if (bpf_skb_load_bytes(j->ctx, j->l3_off + j->head + i * j->size, to, len))
		return 1;
	j->done++;
	return 0;
}

static long fragment_sum(__u32 i, void *arg)
{
	struct fragment_job *j = arg;
	__u32 len = 0, part;
	__s64 sum = j->sum;
	void *from = fragment_at(j, i, &len);

	if (!from)
		return 1;
	len = fragment_len(len, FRAGMENT_MASK);
	for (__u32 k = 0; k < FRAGMENT_PAYLOAD; k += FRAGMENT_SUM_UNIT) {
		if (k >= len)
			break;
		part = (len - k + 3) & ~3u;
		if (part > FRAGMENT_SUM_UNIT)
			part = FRAGMENT_SUM_UNIT;
		sum = bpf_csum_diff(NULL, 0, from + k, part, sum);
		if (sum < 0)
			return 1;
	}
	j->sum = sum;
	return 0;
}

/* The whole packet away but for as many bytes as its headers had, in pieces. */
static long fragment_empty(__u32 turn, void *arg)
{
	struct fragment_job *j = arg;
	__u32 less = j->ctx->len - (j->l3_off + j->head);

	if (!less)
		return 1;
	return bpf_skb_adjust_room(j->ctx, -(__s32)(less < FRAGMENT_ROOM ? less : FRAGMENT_ROOM), BPF_ADJ_ROOM_MAC, 0) != 0;
}

static __always_inline long fragment_resize(const struct fragment_job *j, __u32 len)
{
	if (!j->by_room)
		return bpf_skb_change_tail(j->ctx, len, 0);
	return len == j->ctx->len ? 0 : bpf_skb_adjust_room(j->ctx, (__s32)(len - j->ctx->len), BPF_ADJ_ROOM_MAC, 0);
}

/* Sends the next fragment back to where the packet came in; the last one is left in the skb. */
static long fragment_send(__u32 turn, void *arg)
{
	struct fragment_job *j = arg;
	__u32 i = j->done;
	struct iphdr *ip = (struct iphdr *)j->header;
	__u32 len = 0, head = j->head, *w = (__u32 *)j->header;
	void *from = fragment_at(j, i, &len);
	bool last = i + 1 == j->n;
	__u64 sum = 0;

	len = fragment_len(len, FRAGMENT_MASK);
	head = fragment_len(head, 63);
	if (!from || len > FRAGMENT_PAYLOAD || head > FRAGMENT_HEAD_MAX)
		return 1;
	ip->tot_len = bpf_htons(head + len);
	ip->frag_off = bpf_htons((j->offset + i * j->size / 8) | (last ? j->flags : IP4_MF));
	ip->check = 0;
	for (int k = 0; k < FRAGMENT_HEAD_MAX / 4; k++)
		sum += w[k];
	ip->check = ~csum_fold64(sum);
	if (fragment_resize(j, j->l3_off + head + len) || bpf_skb_store_bytes(j->ctx, j->l3_off, j->header, head, 0) ||
	    bpf_skb_store_bytes(j->ctx, j->l3_off + head, from, len, 0))
		return 1;
	if (!last && bpf_clone_redirect(j->ctx, j->ifindex, BPF_F_INGRESS))
		return 1;
	j->done++;
	return 0;
}

/* Options that stand only in the first fragment give way to padding, a byte a turn. */
static long fragment_option(__u32 turn, void *arg)
{
	struct fragment_job *j = arg;
	__u32 at = j->at & 63;
	__u8 type;

	asm volatile("" : "+r"(at));
	if (at >= FRAGMENT_HEAD_MAX || at >= j->head)
		return 1;
	type = j->header[at];
	j->at++;
	if (j->erase) {
		j->header[at] = IP4_OPT_NOP;
		j->erase--;
		return 0;
	}
	if (type == IP4_OPT_END)
		return 1;
	if (type == IP4_OPT_NOP)
		return 0;
	if (type & FRAGMENT_COPIED) {
		j->at = at + j->header[at + 1];
		return j->at <= at;
	}
	j->erase = j->header[at + 1] - 1;
	j->header[at] = IP4_OPT_NOP;
	return 0;
}

static __always_inline __u32 fragment_sum_at(const struct pkt *p)
{
	return p->l4_proto == IPPROTO_TCP ? 16 : 6;
}

/* The checksum is left to a device: finishes it in the payload that is kept, where its field has the pseudo header's part, and
 * makes the kernel forget: it does so when the bytes where the sum should begin are pulled off the skb. */
static __always_inline int fragment_finish_sum(ctx_t *ctx, struct pkt *p, struct fragment_job *j)
{
	__u32 at = fragment_sum_at(p), area = 0, pull = p->l4_off + 16;
	struct fragment_area *a = bpf_map_lookup_elem(&fragment_payload, &area);
	__u16 check;

	if (!a || (p->flags & PKT_F_FRAGMENT) || (p->l4_proto != IPPROTO_TCP && p->l4_proto != IPPROTO_UDP))
		return -1;
	bpf_loop(FRAGMENT_MAX, fragment_sum, j, 0);
	check = ~csum_fold(j->sum);
	*(__u16 *)(a->data + at) = check || p->l4_proto == IPPROTO_TCP ? check : 0xffff;
	if (bpf_skb_change_tail(ctx, p->l4_off + 2 * pull, 0))
		return -1;
	return bpf_skb_adjust_room(ctx, -(__s32)pull, BPF_ADJ_ROOM_NET, 0);
}

static __always_inline int fragment_plan(ctx_t *ctx, struct pkt *p, struct fragment_job *j)
{
	j->ctx = ctx;
	j->l3_off = p->l3_off;
	j->head = p->l4_off - p->l3_off;
	if (j->head < sizeof(struct iphdr) || j->head > FRAGMENT_HEAD_MAX || p->out_mtu < j->head + FRAGMENT_MIN ||
	    p->l3_len <= j->head)
		return -1;
	j->payload = p->l3_len - j->head;
	j->size = (p->out_mtu - j->head) & ~7u;
	if (j->size > FRAGMENT_PAYLOAD)
		j->size = FRAGMENT_PAYLOAD;
	j->per_area = FRAGMENT_START / j->size + 1;
	j->n = (j->payload + j->size - 1) / j->size;
	j->offset = bpf_ntohs(p->ip_frag) & IP4_OFFSET;
	j->flags = bpf_ntohs(p->ip_frag) & IP4_MF;
	return j->n > FRAGMENT_MAX ? -1 : 0;
}

struct fragment_room {
	ctx_t *ctx;
	__u32 less; /* bytes that a segment is yet to lose */
};

/* The kernel has no helper for it alone: room that is made before the IP header takes from the segments what it adds to the
 * packet, and room that is taken away leaves them as they are if told so. */
static long fragment_shrink(__u32 turn, void *arg)
{
	struct fragment_room *r = arg;
	__u32 part = r->less < FRAGMENT_ROOM ? r->less : FRAGMENT_ROOM;

	if (!part || bpf_skb_adjust_room(r->ctx, part, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET) ||
	    bpf_skb_adjust_room(r->ctx, -(__s32)part, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_NO_CSUM_RESET | BPF_F_ADJ_ROOM_FIXED_GSO))
		return 1;
	r->less -= part;
	return 0;
}

/* Makes the segments of a GSO packet of TCP fit into out_mtu. */
static __always_inline int fragment_segments(ctx_t *ctx, struct pkt *p)
{
	struct fragment_room r = {.ctx = ctx, .less = p->seg_len - p->out_mtu};

	if (ctx_gso_size(ctx) < r.less + FRAGMENT_MIN)
		return -1;
	bpf_loop(FRAGMENT_ROOMS, fragment_shrink, &r, 0);
	return r.less ? -1 : 0;
}

/* Makes room for the first fragment in the skb whose payload is kept. 0; FRAGMENT_ELSEWHERE: as it was; or it failed. */
static __always_inline long fragment_clear(ctx_t *ctx, struct pkt *p, struct fragment_job *j)
{
	long r;

	if (j->by_room) {
		bpf_loop(FRAGMENT_ROOMS, fragment_empty, j, 0);
		return ctx->len == p->l4_off ? 0 : -1;
	}
	/* Only of an skb with an unfinished checksum must so much be left that the field is there. */
	r = bpf_skb_change_tail(ctx, p->l4_off, 0);
	if (r != FRAGMENT_EINVAL)
		return r;
	if (bpf_skb_change_tail(ctx, p->l4_off + fragment_sum_at(p) + 2, 0) == FRAGMENT_EINVAL)
		return FRAGMENT_ELSEWHERE; /* the field is behind that: inside of a tunnel's packet */
	return fragment_finish_sum(ctx, p, j);
}

/* Cuts the packet, and sends all fragments but the last, which is the skb afterwards and is to go the same way: in by
 * `ifindex`. 0, or -1: the skb is nothing that may be sent; FRAGMENT_ELSEWHERE: it is as it was, and for the kernel to finish. */
__noinline_global int fragment(ctx_t *ctx, struct pkt *p, __u32 ifindex)
{
	struct fragment_job j = {.ifindex = ifindex};
	__u32 head;
	long r;

	if (!p)
		return -1;
	if (p->segs > 1)
		return p->l4_proto == IPPROTO_TCP ? fragment_segments(ctx, p) : FRAGMENT_ELSEWHERE;
	if (fragment_plan(ctx, p, &j) || ctx_pull(ctx, p->l3_off + p->l3_len))
		return -1;
	head = fragment_len(j.head, 63);
	if (head > FRAGMENT_HEAD_MAX || bpf_skb_load_bytes(ctx, p->l3_off, j.header, head))
		return -1;
	j.by_room = ctx->tc_index == FRAGMENT_CUT_DONE && p->l3_off == ETH_HLEN;
	j.done = j.sum = j.erase = pkt_zero(p);
	bpf_loop(FRAGMENT_MAX, fragment_keep, &j, 0);
	if (j.done != j.n)
		return -1;
	r = fragment_clear(ctx, p, &j);
	if (r == FRAGMENT_ELSEWHERE)
		return r;
	if (r)
		return -1;
	j.done = pkt_zero(p);
	bpf_loop(1, fragment_send, &j, 0);
	j.at = sizeof(struct iphdr) + pkt_zero(p);
	bpf_loop(FRAGMENT_HEAD_MAX, fragment_option, &j, 0);
	bpf_loop(FRAGMENT_MAX, fragment_send, &j, 0);
	return j.done == j.n ? 0 : -1;
}

#endif
