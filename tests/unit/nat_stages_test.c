/* nat_stages_test.c: the stages flow_lookup, nat_dnat, nat_snat and flow_note, run natively in the order of the pipeline: what
 * becomes of packets of new and known flows, in both directions, by plain values. The bytes are tests/prog's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define FLOW_BUCKETS 16
#define NAT_BUCKETS  16
#define HALF_LINES   16
#include "nat_util.h"

enum { LAN = 1, WAN = 2 };
enum { POOL = 3, MASQ = 4 };

#define A(d)	bpf_htonl(d)
#define HOST	0x0a000005u /* 10.0.0.5, inside */
#define HOST2	0x0a000006u
#define PUB	0xc6336401u /* 198.51.100.1, the pool */
#define GW	0xcb007101u /* 203.0.113.1, the gateway outside */
#define REMOTE	0xc0000201u /* 192.0.2.1 */
#define REMOTE2 0xc0000202u

/* Entries of IPv4 flows. */
static unsigned live(void)
{
	unsigned n = 0;

	for (__u32 b = 0; b < 16; b++)
		for (__u32 i = 0; i < BUCKET_SLOTS; i++)
			n += (flowtab_bucket(4, b)->word[i] & WORD_STATE) == WORD_LIVE;
	return n;
}

static void add_rule(unsigned at, __u32 src, unsigned src_len, unsigned action, unsigned pool, unsigned out)
{
	struct snat_rule r = {.src_len = src_len, .action = action, .pool = pool, .out_iface = out, .rule = at + 1};

	addr_from4(&r.src, A(src));
	array_set(&snat_rules, at, &r);
}

static void add_dnat(__u32 daddr, unsigned port, __u8 proto, __u32 to, unsigned to_port)
{
	struct dnat_key key = {.dport = bpf_htons(port), .proto = proto};
	struct dnat_rule rule = {.to_port = bpf_htons(to_port), .rule = 9};

	addr_from4(&key.daddr, A(daddr));
	addr_from4(&rule.to, A(to));
	bpf_map_update_elem(&dnat_rules, &key, &rule, BPF_ANY);
	rule = (struct dnat_rule){.flags = DNAT_F_OWN};
	key.dport = 0;
	key.proto = DNAT_PROTO_MARK;
	bpf_map_update_elem(&dnat_rules, &key, &rule, BPF_ANY);
}

static int setup(void **state)
{
	struct iface lan = {.mtu = 1500, .vlan = 10}, wan = {.mtu = 1400, .masq_pool = MASQ};

	nat_maps();
	array_set(&ifaces, LAN, &lan);
	array_set(&ifaces, WAN, &wan);
	add_pool(POOL, 20, PUB, 1024, 65535);
	add_pool(MASQ, 30, GW, 2000, 2009);
	return 0;
}

static struct pkt packet(__u8 proto, __u32 src, unsigned sport, __u32 dst, unsigned dport)
{
	struct pkt p = {.len = 100,
			.seg_len = 86,
			.segs = 1,
			.family = 4,
			.l4_proto = proto,
			.ttl = 64,
			.flags = PKT_F_L4,
			.tcp_flags = proto == IPPROTO_TCP ? NAT_TCP_SYN : 0};

	addr_from4(&p.t.saddr, A(src));
	addr_from4(&p.t.daddr, A(dst));
	p.t.sport = bpf_htons(sport);
	p.t.dport = bpf_htons(dport);
	p.to = p.t;
	return p;
}

/* The pipeline's layer 3, with routing that says `out`. */
static enum verdict run(struct pkt *p, unsigned in, unsigned out)
{
	enum verdict v;

	p->epoch = control.epoch;
	p->in_iface = in;
	v = flow_lookup(p);
	if (v != V_NEXT)
		return v;
	if (!p->flow_stale) {
		v = nat_dnat(NULL, p);
		if (v != V_NEXT)
			return v;
	}
	p->out_iface = out;
	p->out_port = 40 + out;
	p->new_dmac[5] = out;
	if (!p->flow_stale) {
		v = nat_snat(p);
		if (v != V_NEXT)
			return v;
	}
	v = flow_note(p, V_FORWARD);
	if (p->flow_new)
		half_add(p);
	return v;
}

static void leaves_as(const struct pkt *p, __u32 src, unsigned sport, __u32 dst, unsigned dport)
{
	assert_int_equal(bpf_ntohl(p->to.saddr.a32[3]), src);
	assert_int_equal(bpf_ntohs(p->to.sport), sport);
	assert_int_equal(bpf_ntohl(p->to.daddr.a32[3]), dst);
	assert_int_equal(bpf_ntohs(p->to.dport), dport);
}

/* The deltas, against sums made anew over the whole. */
static void deltas_hold(const struct pkt *p)
{
	__u32 before = 0, after = 0, ports_before = p->t.sport + p->t.dport, ports_after = p->to.sport + p->to.dport;
	const __u16 *t = (const void *)&p->t, *to = (const void *)&p->to;

	for (int i = 0; i < 16; i++) {
		before += t[i];
		after += to[i];
	}
	assert_int_equal(csum_fold(before + p->l3_delta) % 0xffff, csum_fold(after) % 0xffff);
	assert_int_equal(csum_fold(ports_before + p->l4_delta) % 0xffff, csum_fold(ports_after) % 0xffff);
}

static void snat_both_ways(void **state)
{
	struct pkt out = packet(IPPROTO_TCP, HOST, 40000, REMOTE, 443), back = packet(IPPROTO_TCP, REMOTE, 443, PUB, 40000);

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, 0);
	assert_int_equal(run(&out, LAN, WAN), V_FORWARD);
	leaves_as(&out, PUB, 40000, REMOTE, 443);
	assert_true(out.todo & DO_NAT);
	deltas_hold(&out);
	assert_int_equal(live(), 2);

	/* The first answer has its way out decided; the second one leaves by the entry alone. */
	back.tcp_flags = NAT_TCP_SYN | NAT_TCP_ACK;
	assert_int_equal(run(&back, WAN, LAN), V_FORWARD);
	assert_int_equal(back.flow_stale, 1);
	leaves_as(&back, REMOTE, 443, HOST, 40000);
	deltas_hold(&back);
	back = packet(IPPROTO_TCP, REMOTE, 443, PUB, 40000);
	assert_int_equal(run(&back, WAN, WAN), V_FORWARD);
	assert_int_equal(back.out_port, 40 + LAN);
	assert_int_equal(back.new_dmac[5], LAN);
	assert_int_equal(back.todo, DO_NAT | DO_L2 | DO_TTL);
	assert_int_equal(live(), 2);
}

/* Small and large packets, several segments, and another CPU that has counted: nothing is lost, and little waits in `recent`. */
static void every_packet_is_counted(void **state)
{
	struct flow f = {.recent = 100u << FLOW_RECENT_BYTES | 2 << FLOW_RECENT_PACKETS | 9, .packets = 7, .bytes = 700};
	__u64 packets = 9, bytes = 800;

	for (__u32 i = 0; i < 5000; i++) {
		struct pkt p = {.segs = i % 97 ? 1 : 40 + i % 200, .len = i % 97 ? 60 + i * 31 % 9000 : 65000 + i % 1000};

		flow_count(&f, p.segs, p.len);
		packets += p.segs;
		bytes += p.len;
		assert_int_equal(f.packets + (f.recent >> FLOW_RECENT_PACKETS & 0xff), packets);
		assert_int_equal(f.bytes + (f.recent >> FLOW_RECENT_BYTES), bytes);
	}
	assert_int_equal(f.recent & FLOW_RECENT_CPU, bpf_get_smp_processor_id());
}

static void new_epoch_decides_the_way_out_again(void **state)
{
	struct pkt p = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53);

	add_rule(0, 0, 0, SNAT_POOL, POOL, 0);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	control.epoch++;
	p = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53);
	assert_int_equal(run(&p, LAN, 7), V_FORWARD);
	assert_int_equal(p.flow_stale, 1);
	leaves_as(&p, PUB, 5000, REMOTE, 53);
	p = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53);
	assert_int_equal(run(&p, LAN, WAN), V_FRAGMENT); /* interface 7 has no MTU */
	assert_int_equal(p.out_mtu, 0);
	assert_int_equal(p.out_port, 47);
}

/* RFC 4787 REQ-1: the same source looks the same to every remote; another source never has its port. */
static void rfc4787_mapping_is_endpoint_independent(void **state)
{
	struct pkt a = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53), b = packet(IPPROTO_UDP, HOST, 5000, REMOTE2, 99),
		   c = packet(IPPROTO_UDP, HOST2, 5000, REMOTE, 53);

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, 0);
	assert_int_equal(run(&a, LAN, WAN), V_FORWARD);
	assert_int_equal(run(&b, LAN, WAN), V_FORWARD);
	assert_int_equal(run(&c, LAN, WAN), V_FORWARD);
	leaves_as(&a, PUB, 5000, REMOTE, 53);
	leaves_as(&b, PUB, 5000, REMOTE2, 99);
	assert_int_equal(bpf_ntohl(c.to.saddr.a32[3]), PUB);
	assert_int_not_equal(bpf_ntohs(c.to.sport), 5000);
	assert_int_equal(mappings(), 2);
}

static void until_the_last_port(void **state)
{
	struct pkt p;

	add_rule(0, 0, 0, SNAT_MASQUERADE, 0, WAN);
	for (unsigned i = 0; i < 10; i++) {
		p = packet(IPPROTO_UDP, HOST, 7000 + i, REMOTE, 53);
		assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
		assert_int_equal(bpf_ntohl(p.to.saddr.a32[3]), GW);
	}
	p = packet(IPPROTO_UDP, HOST, 7010, REMOTE, 53);
	assert_int_equal(run(&p, LAN, WAN), V_DROP);
	assert_int_equal(p.drop, DROP_NAT_NO_PORT);
	/* Those that have one go on. */
	p = packet(IPPROTO_UDP, HOST, 7003, REMOTE2, 53);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	assert_int_equal(live(), 22);
}

static void first_match_and_exemption(void **state)
{
	struct pkt p = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53);

	add_rule(0, HOST, 128, SNAT_EXEMPT, 0, 0);
	add_rule(1, 0, 0, SNAT_POOL, POOL, 0);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	assert_int_equal(p.todo & DO_NAT, 0);
	assert_int_equal(live(), 0);
	p = packet(IPPROTO_UDP, HOST2, 5000, REMOTE, 53);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	leaves_as(&p, PUB, 5000, REMOTE, 53);
}

static void dnat_both_ways(void **state)
{
	struct pkt in = packet(IPPROTO_TCP, REMOTE, 3333, GW, 80), back = packet(IPPROTO_TCP, HOST, 8080, REMOTE, 3333);

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, WAN);
	add_dnat(GW, 80, IPPROTO_TCP, HOST, 8080);
	add_dnat(GW, 0, 0, HOST2, 0);
	assert_int_equal(run(&in, WAN, LAN), V_FORWARD);
	leaves_as(&in, REMOTE, 3333, HOST, 8080);
	deltas_hold(&in);
	assert_int_equal(mappings(), 0);
	back.tcp_flags = NAT_TCP_SYN | NAT_TCP_ACK;
	assert_int_equal(run(&back, LAN, WAN), V_FORWARD);
	leaves_as(&back, GW, 80, REMOTE, 3333);
	deltas_hold(&back);
	in = packet(IPPROTO_UDP, REMOTE, 3333, GW, 80);
	assert_int_equal(run(&in, WAN, LAN), V_FORWARD);
	leaves_as(&in, REMOTE, 3333, HOST2, 80);
}

/* RFC 4787 REQ-9, RFC 5382 REQ-8: a host inside reaches a forward by its outside address. */
static void rfc5382_hairpin(void **state)
{
	struct iface lan = {.mtu = 1500, .masq_pool = MASQ};
	struct pkt p = packet(IPPROTO_TCP, HOST2, 4000, GW, 80), back;
	unsigned port;

	array_set(&ifaces, LAN, &lan);
	add_dnat(GW, 80, IPPROTO_TCP, HOST, 8080);
	assert_int_equal(run(&p, LAN, LAN), V_FORWARD);
	port = bpf_ntohs(p.to.sport);
	leaves_as(&p, GW, port, HOST, 8080);
	back = packet(IPPROTO_TCP, HOST, 8080, GW, port);
	assert_int_equal(run(&back, LAN, LAN), V_FORWARD);
	leaves_as(&back, GW, 80, HOST2, 4000);
}

/* The first half of what flow_new() does, on another CPU. */
static void reply_entry_of(struct pkt *p)
{
	struct flow f = {0};
	struct tuple reply;

	flow_places(p);
	flow_swap(&p->to, &reply);
	assert_true(flow_make_reply(p, &reply, &f) > 0);
}

/* And the second. */
static enum verdict forward_entry_of(struct pkt *p)
{
	struct flow f = {0};
	struct tuple reply;

	flow_swap(&p->to, &reply);
	assert_int_equal(flow_make_forward(p, V_FORWARD, &f), -EEXIST);
	return flow_lost(p, &f, &reply, flow_find(4, false, &reply, p->l4_proto, 0), V_FORWARD);
}

static void to_pool(struct pkt *p)
{
	p->epoch = 1;
	p->in_iface = LAN;
	assert_int_equal(flow_lookup(p), V_NEXT);
	assert_int_equal(nat_dnat(NULL, p), V_NEXT);
	p->out_iface = LAN;
	assert_int_equal(nat_snat(p), V_NEXT);
	reply_entry_of(p);
}

/* Two hosts inside whose first packets to each other's outside address meet: each CPU has its reply entry in when it comes to
 * the forward one. One connection comes of it, whichever CPU goes on first, that either host may have begun. */
static void rfc4787_hairpins_that_cross(void **state)
{
	for (unsigned first = 0; first < 2; first++) {
		struct dnat_key mark = {.proto = DNAT_PROTO_MARK};
		struct dnat_rule pool = {.pool_addr = 20 + 1};
		struct pkt p[2] = {packet(IPPROTO_UDP, HOST, 5000, PUB, 6000), packet(IPPROTO_UDP, HOST2, 6000, PUB, 5000)}, out;
		struct flow *f[2];

		setup(NULL);
		add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, WAN);
		addr_from4(&mark.daddr, A(PUB));
		bpf_map_update_elem(&dnat_rules, &mark, &pool, BPF_ANY);
		out = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53);
		assert_int_equal(run(&out, LAN, WAN), V_FORWARD);
		out = packet(IPPROTO_UDP, HOST2, 6000, REMOTE, 53);
		assert_int_equal(run(&out, LAN, WAN), V_FORWARD);
		to_pool(&p[0]);
		to_pool(&p[1]);
		assert_int_equal(forward_entry_of(&p[first]), V_FORWARD);
		assert_int_equal(forward_entry_of(&p[!first]), V_FORWARD);
		leaves_as(&p[0], PUB, 5000, HOST2, 6000);
		leaves_as(&p[1], PUB, 6000, HOST, 5000);
		assert_int_equal(live(), 4 + 2);
		f[0] = flow_get(4, &p[0].t, IPPROTO_UDP, 0);
		f[1] = flow_get(4, &p[1].t, IPPROTO_UDP, 0);
		assert_int_equal(!(f[0]->flags & FLOW_F_REPLY) + !(f[1]->flags & FLOW_F_REPLY), 1);
		assert_int_equal(!!p[0].flow_new + !!p[1].flow_new, 1);
		for (int i = 0; i < 2; i++) {
			bool forward = !(f[i]->flags & FLOW_F_REPLY);

			assert_int_equal(f[i]->pool, forward ? POOL : 0);
			assert_int_equal(f[i]->dest_addr, forward ? 20 + 1 : 0);
			assert_int_equal(f[i]->source_rule, forward ? p[i].nat_source : 0);
			assert_int_equal(f[i]->packets, forward);
			if (forward)
				assert_ptr_equal(flowtab_at(4, p[i].flow_new - 1), f[!i]);
			p[i] = packet(IPPROTO_UDP, i ? HOST2 : HOST, i ? 6000 : 5000, PUB, i ? 5000 : 6000);
			assert_int_equal(run(&p[i], LAN, LAN), V_FORWARD);
		}
		assert_int_equal(live(), 4 + 2);
	}
}

static void what_may_open_a_flow(void **state)
{
	static const struct {
		__u8 proto, flags;
		__u16 pkt;
		enum verdict v;
	} rows[] = {
		{IPPROTO_TCP, NAT_TCP_SYN, 0, V_FORWARD},
		{IPPROTO_TCP, NAT_TCP_ACK, 0, V_FORWARD},
		{IPPROTO_TCP, NAT_TCP_SYN | NAT_TCP_ACK, 0, V_DROP},
		{IPPROTO_TCP, NAT_TCP_FIN | NAT_TCP_ACK, 0, V_DROP},
		{IPPROTO_TCP, NAT_TCP_RST, 0, V_DROP},
		{IPPROTO_TCP, 0, 0, V_DROP},
		{IPPROTO_ICMP, 0, PKT_F_ECHO, V_FORWARD},
		{IPPROTO_ICMP, 0, PKT_F_ECHO | PKT_F_ECHO_REPLY, V_DROP},
		{IPPROTO_ICMP, 0, 0, V_DROP},
		{IPPROTO_UDP, 0, 0, V_FORWARD},
		{IPPROTO_GRE, 0, 0, V_FORWARD},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pkt p;

		setup(NULL);
		add_rule(0, 0, 0, SNAT_POOL, POOL, 0);
		p = packet(rows[i].proto, HOST, 1111, REMOTE, 0);
		p.tcp_flags = rows[i].flags;
		p.flags = PKT_F_L4 | rows[i].pkt;
		assert_int_equal(run(&p, LAN, WAN), rows[i].v);
		if (rows[i].v == V_DROP)
			assert_int_equal(p.drop, DROP_NAT_NOT_OPENING);
		assert_int_equal(live(), rows[i].v == V_DROP ? 0 : 2);
	}
}

/* GRE: one inside host for each remote address. */
static void without_ports(void **state)
{
	struct pkt a = packet(IPPROTO_GRE, HOST, 0, REMOTE, 0), b = packet(IPPROTO_GRE, HOST2, 0, REMOTE, 0),
		   c = packet(IPPROTO_GRE, HOST2, 0, REMOTE2, 0), ah = packet(IPPROTO_AH, HOST2, 0, REMOTE, 0);

	add_rule(0, 0, 0, SNAT_POOL, POOL, 0);
	assert_int_equal(run(&a, LAN, WAN), V_FORWARD);
	leaves_as(&a, PUB, 0, REMOTE, 0);
	assert_int_equal(run(&b, LAN, WAN), V_DROP);
	assert_int_equal(b.drop, DROP_NAT_CLASH);
	assert_int_equal(run(&c, LAN, WAN), V_FORWARD);
	assert_int_equal(run(&ah, LAN, WAN), V_DROP);
	assert_int_equal(ah.drop, DROP_NAT_PROTOCOL);
}

static struct pkt icmp_error(__u32 from, __u32 to, __u8 proto, __u32 src, unsigned sport, __u32 dst, unsigned dport)
{
	struct pkt p = packet(IPPROTO_ICMP, from, 0, to, 0);

	p.flags = PKT_F_ICMP_ERROR | PKT_F_INNER;
	p.inner_proto = proto;
	addr_from4(&p.inner.saddr, A(src));
	addr_from4(&p.inner.daddr, A(dst));
	p.inner.sport = bpf_htons(sport);
	p.inner.dport = bpf_htons(dport);
	return p;
}

static void quotes(const struct pkt *p, __u32 src, unsigned sport, __u32 dst, unsigned dport)
{
	assert_int_equal(bpf_ntohl(p->inner_to.saddr.a32[3]), src);
	assert_int_equal(bpf_ntohs(p->inner_to.sport), sport);
	assert_int_equal(bpf_ntohl(p->inner_to.daddr.a32[3]), dst);
	assert_int_equal(bpf_ntohs(p->inner_to.dport), dport);
}

/* RFC 5508 4: from outside about what a host sent; from inside about what came to it. */
static void rfc5508_errors(void **state)
{
	enum { ROUTER_OUT = 0xc0000263u, ROUTER_IN = 0x0a0000feu };
	struct pkt out = packet(IPPROTO_UDP, HOST, 40000, REMOTE, 33434), e;
	__u64 used = stub_now_ns;

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, WAN);
	assert_int_equal(run(&out, LAN, WAN), V_FORWARD);
	stub_now_ns += 5000000000ull;

	e = icmp_error(ROUTER_OUT, PUB, IPPROTO_UDP, PUB, 40000, REMOTE, 33434);
	assert_int_equal(run(&e, WAN, LAN), V_FORWARD);
	assert_int_equal(e.todo & (DO_NAT | DO_NAT_ICMP), DO_NAT_ICMP);
	leaves_as(&e, ROUTER_OUT, 0, HOST, 0);
	quotes(&e, HOST, 40000, REMOTE, 33434);

	e = icmp_error(ROUTER_IN, REMOTE, IPPROTO_UDP, REMOTE, 33434, HOST, 40000);
	assert_int_equal(run(&e, LAN, WAN), V_FORWARD);
	leaves_as(&e, PUB, 0, REMOTE, 0);
	quotes(&e, REMOTE, 33434, PUB, 40000);

	/* Errors make no flow and keep none alive. */
	assert_int_equal(live(), 2);
	assert_int_equal(flow_get(4, &out.t, IPPROTO_UDP, 0)->used, used >> FLOW_USED_SHIFT);
	stub_now_ns = used;
}

/* Outbound packets do, and inbound ones as well. */
static void rfc4787_req6_packets_refresh(void **state)
{
	struct pkt out = packet(IPPROTO_UDP, HOST, 40000, REMOTE, 53), again = out,
		   back = packet(IPPROTO_UDP, REMOTE, 53, PUB, 40000);
	__u64 began = stub_now_ns;

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, WAN);
	assert_int_equal(run(&out, LAN, WAN), V_FORWARD);
	assert_int_equal(flow_get(4, &out.t, IPPROTO_UDP, 0)->used, began >> FLOW_USED_SHIFT);
	stub_now_ns += 100000000000ull;
	assert_int_equal(run(&again, LAN, WAN), V_FORWARD);
	assert_int_equal(flow_get(4, &out.t, IPPROTO_UDP, 0)->used, stub_now_ns >> FLOW_USED_SHIFT);
	stub_now_ns += 100000000000ull;
	assert_int_equal(run(&back, WAN, LAN), V_FORWARD);
	assert_int_equal(flow_get(4, &back.t, IPPROTO_UDP, 0)->used, stub_now_ns >> FLOW_USED_SHIFT);
	assert_int_equal(flow_get(4, &out.t, IPPROTO_UDP, 0)->used, (began + 100000000000ull) >> FLOW_USED_SHIFT);
	stub_now_ns = began;
}

static void rfc5508_errors_about_nothing(void **state)
{
	struct pkt e = icmp_error(HOST, REMOTE, IPPROTO_UDP, REMOTE, 53, HOST, 40000);

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, WAN);
	assert_int_equal(run(&e, LAN, WAN), V_DROP);
	assert_int_equal(e.drop, DROP_NAT_ICMP_NO_FLOW);
	e = icmp_error(REMOTE, PUB, IPPROTO_UDP, PUB, 1, REMOTE, 2);
	assert_int_equal(run(&e, WAN, LAN), V_FORWARD);
	assert_int_equal(e.todo, 0);
}

static void fragments(void **state)
{
	struct pkt first = packet(IPPROTO_UDP, HOST, 40000, REMOTE, 53), later = packet(IPPROTO_UDP, HOST, 0, REMOTE, 0),
		   stray = packet(IPPROTO_UDP, HOST, 0, REMOTE, 0), back = packet(IPPROTO_UDP, REMOTE, 53, PUB, 40000);

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, WAN);
	first.flags |= PKT_F_FRAGMENT;
	first.ip_frag = back.ip_frag = bpf_htons(FRAG_MORE);
	first.ip_id = later.ip_id = back.ip_id = 77;
	later.flags = stray.flags = PKT_F_FRAGMENT | PKT_F_LATER_FRAGMENT;
	assert_int_equal(run(&stray, LAN, WAN), V_HOLD);
	assert_int_equal(run(&first, LAN, WAN), V_FORWARD);
	assert_int_equal(run(&later, LAN, WAN), V_FORWARD);
	assert_int_equal(bpf_ntohl(later.to.saddr.a32[3]), PUB);
	assert_true(later.todo & DO_NAT);
	back.flags |= PKT_F_FRAGMENT;
	assert_int_equal(run(&back, WAN, LAN), V_FORWARD);
	later = packet(IPPROTO_UDP, REMOTE, 0, PUB, 0);
	later.flags = PKT_F_FRAGMENT | PKT_F_LATER_FRAGMENT;
	later.ip_id = 77;
	assert_int_equal(run(&later, WAN, LAN), V_FORWARD);
	assert_int_equal(bpf_ntohl(later.to.daddr.a32[3]), HOST);
	/* Nothing of NAT's: plain routing. */
	later = packet(IPPROTO_UDP, REMOTE, 0, REMOTE2, 0);
	later.flags = PKT_F_FRAGMENT | PKT_F_LATER_FRAGMENT;
	assert_int_equal(run(&later, WAN, LAN), V_FORWARD);
	assert_int_equal(later.todo, 0);
}

/* What comes in unasked and untranslated is answered under the address it was sent to. */
static void answers_are_not_translated(void **state)
{
	struct pkt in = packet(IPPROTO_TCP, REMOTE, 3333, HOST, 22), back = packet(IPPROTO_TCP, HOST, 22, REMOTE, 3333);

	add_rule(0, 0x0a000000, 96 + 8, SNAT_POOL, POOL, WAN);
	assert_int_equal(run(&in, WAN, LAN), V_FORWARD);
	assert_int_equal(in.todo & DO_NAT, 0);
	back.tcp_flags = NAT_TCP_SYN | NAT_TCP_ACK;
	assert_int_equal(run(&back, LAN, WAN), V_FORWARD);
	leaves_as(&back, HOST, 22, REMOTE, 3333);
	assert_int_equal(back.todo & DO_NAT, 0);
}

static void full_table_leaves_nothing_behind(void **state)
{
	struct pkt p = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53);

	add_rule(0, 0, 0, SNAT_POOL, POOL, 0);
	flowtab_get(4)->buckets4 = 1;
	for (unsigned i = 1; i < BUCKET_SLOTS; i++) /* the reply fits, the forward entry does not */
		assert_true(flowtab_insert4(&(struct flow_key4){.saddr = i}, &(struct flow){0}) > 0);
	assert_int_equal(run(&p, LAN, WAN), V_DROP);
	assert_int_equal(p.drop, DROP_FLOW_FULL);
	assert_int_equal(live(), BUCKET_SLOTS - 1);
	flowtab_get(4)->buckets4 = 16;
	nattab_head(false)->nat_buckets = 1;
	for (unsigned i = 0; i < BUCKET_SLOTS; i++)
		nattab_bucket(false, 0)->word[i] = WORD_BUSY;
	p = packet(IPPROTO_UDP, HOST2, 5000, REMOTE, 53);
	assert_int_equal(run(&p, LAN, WAN), V_DROP);
	assert_int_equal(p.drop, DROP_NAT_FULL);
	assert_int_equal(__builtin_popcountll(pool_ports_get(20, POOL_UDP)->used[5000 / 64]), 1);
}

/* Two clients' flows that an inside host could not tell apart. */
static void clash_is_refused(void **state)
{
	struct pkt a = packet(IPPROTO_TCP, REMOTE, 3333, GW, 80), b = packet(IPPROTO_TCP, REMOTE, 3333, GW, 81);

	add_dnat(GW, 80, IPPROTO_TCP, HOST, 8080);
	add_dnat(GW, 81, IPPROTO_TCP, HOST, 8080);
	assert_int_equal(run(&a, WAN, LAN), V_FORWARD);
	assert_int_equal(run(&b, WAN, LAN), V_DROP);
	assert_int_equal(b.drop, DROP_NAT_CLASH);
}

/* RFC 6191: a SYN on a closed connection's tuple opens it anew. */
static void syn_opens_anew(void **state)
{
	struct pkt p = packet(IPPROTO_TCP, HOST, 40000, REMOTE, 443);

	add_rule(0, 0, 0, SNAT_POOL, POOL, 0);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	p = packet(IPPROTO_TCP, HOST, 40000, REMOTE, 443);
	p.tcp_flags = NAT_TCP_FIN | NAT_TCP_ACK;
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	assert_int_equal(flow_get(4, &p.t, IPPROTO_TCP, 0)->seen, FLOW_SEEN_ANY | FLOW_SEEN_SYN | FLOW_SEEN_ACK | FLOW_SEEN_FIN);
	p = packet(IPPROTO_TCP, HOST, 40000, REMOTE, 443);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	assert_int_equal(flow_get(4, &p.t, IPPROTO_TCP, 0)->seen, FLOW_SEEN_ANY | FLOW_SEEN_SYN);
}

static void mapping_of_a_lost_address_is_made_anew(void **state)
{
	struct pkt p = packet(IPPROTO_UDP, HOST, 5000, REMOTE, 53);
	struct pool_addr gone = {.flags = POOL_ADDR_F_DRAIN};

	add_rule(0, 0, 0, SNAT_POOL, POOL, 0);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	add_pool(POOL, 21, GW, 1024, 65535);
	array_set(&pool_addrs, 20, &gone);
	p = packet(IPPROTO_UDP, HOST, 5000, REMOTE2, 53);
	assert_int_equal(run(&p, LAN, WAN), V_FORWARD);
	leaves_as(&p, GW, 5000, REMOTE2, 53);
}

/* Its key would be the mark that an address has rules at all. */
static void protocol_255_has_no_rule(void **state)
{
	struct pkt p = packet(255, REMOTE, 0, GW, 0);

	add_dnat(GW, 80, IPPROTO_TCP, HOST, 8080);
	assert_int_equal(nat_dnat(NULL, &p), V_NEXT);
	assert_int_equal(p.todo & DO_NAT, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(snat_both_ways),
		TEST(every_packet_is_counted),
		TEST(new_epoch_decides_the_way_out_again),
		TEST(rfc4787_mapping_is_endpoint_independent),
		TEST(until_the_last_port),
		TEST(first_match_and_exemption),
		TEST(dnat_both_ways),
		TEST(rfc5382_hairpin),
		TEST(rfc4787_hairpins_that_cross),
		TEST(what_may_open_a_flow),
		TEST(without_ports),
		TEST(rfc4787_req6_packets_refresh),
		TEST(rfc5508_errors),
		TEST(rfc5508_errors_about_nothing),
		TEST(fragments),
		TEST(answers_are_not_translated),
		TEST(full_table_leaves_nothing_behind),
		TEST(clash_is_refused),
		TEST(syn_opens_anew),
		TEST(mapping_of_a_lost_address_is_made_anew),
		TEST(protocol_255_has_no_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
