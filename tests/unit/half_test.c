/* half_test.c: who waits for an answer and who gives way; what a RST, a FIN, a SYN make of a connection. The data plane's own
 * stages, run natively on a switch that translates everything to one address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "../../user/flow_state.h"

#define FLOW_BUCKETS 64
#define NAT_BUCKETS  32
#define HALF_LINES   4
#define NAT_LOG	     1
#include "nat_util.h"

enum { LAN = 1, WAN = 2, POOL = 3, SLOT = 20 };

#define HOST   0x0a000005u
#define PUB    0xc6336401u
#define REMOTE 0xc0000201u
#define PLACES (HALF_LINES * HALF_SLOTS)
#define SECOND 1000000000ull

#define FIN NAT_TCP_FIN
#define SYN NAT_TCP_SYN
#define RST NAT_TCP_RST
#define ACK NAT_TCP_ACK

/* Those that lead from outside to a mapping. */
static unsigned ways(void)
{
	unsigned n = 0;

	for (__u32 i = 0; i < NAT_BUCKETS; i++)
		for (int k = 0; k < NAT_WAYS; k++)
			n += nattab_line(false, i)->way[k] != 0;
	return n;
}

static int setup(void **state)
{
	struct snat_rule r = {.src_len = 104, .action = SNAT_POOL, .pool = POOL, .rule = 1};
	struct iface iface = {.mtu = 1500};

	nat_maps();
	array_set(&ifaces, LAN, &iface);
	array_set(&ifaces, WAN, &iface);
	addr_from4(&r.src, bpf_htonl(0x0a000000));
	array_set(&snat_rules, 0, &r);
	add_pool(POOL, SLOT, PUB, 1024, 1024 + 49);
	return 0;
}

/* The pipeline's layer 3; routing says `out`. */
static enum verdict run(struct pkt *p, unsigned in, unsigned out)
{
	enum verdict v;

	p->in_iface = in;
	v = flow_lookup(p);
	if (v != V_NEXT)
		return v;
	p->out_iface = out;
	if (!p->flow_stale && in == WAN)
		return V_DROP;
	if (!p->flow_stale) {
		v = nat_snat(p);
		if (v == V_DROP && p->drop == DROP_NAT_NO_PORT && half_reclaim(p, p->nat_pool))
			v = nat_snat(p);
		if (v != V_NEXT)
			return v;
	}
	v = flow_note(p, V_FORWARD);
	if (p->flow_new)
		half_add(p);
	return v;
}

static struct pkt packet(__u8 proto, __u32 src, unsigned sport, __u32 dst, unsigned dport)
{
	struct pkt p = {.len = 100, .seg_len = 86, .segs = 1, .family = 4, .l4_proto = proto, .ttl = 64, .flags = PKT_F_L4};

	addr_from4(&p.t.saddr, bpf_htonl(src));
	addr_from4(&p.t.daddr, bpf_htonl(dst));
	p.t.sport = bpf_htons(sport);
	p.t.dport = bpf_htons(dport);
	p.to = p.t;
	return p;
}

/* A segment of the connection from HOST's port, out or back. */
static enum verdict out(unsigned sport, unsigned flags, __u32 seq, __u32 ack)
{
	struct pkt p = packet(IPPROTO_TCP, HOST, sport, REMOTE, 443);

	p.tcp_flags = flags;
	p.tcp_seq = bpf_htonl(seq);
	p.tcp_ack = bpf_htonl(ack);
	return run(&p, LAN, WAN);
}

static enum verdict back(unsigned sport, unsigned flags, __u32 seq, __u32 ack)
{
	struct pkt p = packet(IPPROTO_TCP, REMOTE, 443, PUB, sport);

	p.tcp_flags = flags;
	p.tcp_seq = bpf_htonl(seq);
	p.tcp_ack = bpf_htonl(ack);
	return run(&p, WAN, LAN);
}

static enum verdict udp_out(unsigned sport, __u32 remote)
{
	struct pkt p = packet(IPPROTO_UDP, HOST, sport, remote, 53);

	return run(&p, LAN, WAN);
}

static enum verdict udp_back(unsigned sport, __u32 remote)
{
	struct pkt p = packet(IPPROTO_UDP, remote, 53, PUB, sport);

	return run(&p, WAN, LAN);
}

static struct flow *entry(bool reply, unsigned sport)
{
	struct pkt p = reply ? packet(IPPROTO_TCP, REMOTE, 443, PUB, sport) : packet(IPPROTO_TCP, HOST, sport, REMOTE, 443);

	return flow_get(4, &p.t, IPPROTO_TCP, 0);
}

static bool waits(unsigned sport)
{
	struct flow *f = entry(true, sport);

	return f && f->half;
}

static enum flow_state state_of(unsigned sport)
{
	struct flow *f = entry(false, sport), *r = entry(true, sport);

	assert_true(f && r);
	return flow_state(IPPROTO_TCP, f->seen, r->seen);
}

/* From 1000 here and 9000 there on. */
static void handshake(unsigned sport)
{
	assert_int_equal(out(sport, SYN, 999, 0), V_FORWARD);
	assert_int_equal(back(sport, SYN | ACK, 8999, 1000), V_FORWARD);
	assert_int_equal(out(sport, ACK, 1000, 9000), V_FORWARD);
	assert_int_equal(back(sport, ACK, 9000, 1000), V_FORWARD);
}

static unsigned held(void)
{
	struct pool_ports *b = pool_ports_get(SLOT, POOL_TCP);
	unsigned n = 0;

	for (int i = 0; i < POOL_WORDS; i++)
		n += (unsigned)__builtin_popcountll(b->used[i]);
	return n;
}

static __u64 stat(enum stat_id id)
{
	return *(__u64 *)bpf_map_lookup_elem(&stats, &id);
}

static struct flow *udp_entry(unsigned sport)
{
	struct pkt p = packet(IPPROTO_UDP, HOST, sport, REMOTE, 53);

	return flow_get(4, &p.t, IPPROTO_UDP, 0);
}

static const struct nat_event *told(void)
{
	return (const struct nat_event *)stub_ring.last;
}

/* ---- who gives way */

static void handshake_ends_the_wait(void **state)
{
	assert_int_equal(out(1024, SYN, 999, 0), V_FORWARD);
	assert_true(waits(1024));
	assert_int_equal(back(1024, SYN | ACK, 8999, 1000), V_FORWARD);
	assert_true(waits(1024)); /* who is flooded answers, too */
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
	assert_false(waits(1024));
	for (__u32 i = 0; i < HALF_LINES; i++)
		for (int n = 0; n < HALF_SLOTS; n++)
			assert_int_equal(((struct half_line *)bpf_map_lookup_elem(&half_open, &i))->slot[n], 0);
}

static void picked_up_in_the_midst(void **state)
{
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
	assert_true(waits(1024));
	assert_int_equal(back(1024, ACK, 9000, 1000), V_FORWARD);
	assert_false(waits(1024));
}

static void the_oldest_gives_way(void **state)
{
	handshake(1024);
	for (unsigned i = 1; i <= PLACES; i++, stub_now_ns += SECOND / 100)
		assert_int_equal(out(1024 + i, SYN, 1, 0), V_FORWARD);
	assert_int_equal(stat(STAT_FLOW_GAVE_WAY), 0);
	assert_int_equal(held(), 1 + PLACES);
	for (unsigned i = 1; i <= 8; i++, stub_now_ns += SECOND / 100) {
		assert_int_equal(out(1024 + PLACES + i, SYN, 1, 0), V_FORWARD);
		assert_int_equal(stat(STAT_FLOW_GAVE_WAY), i);
		assert_null(entry(false, 1024 + i));
		assert_null(entry(true, 1024 + i));
		assert_int_equal(held(), 1 + PLACES);
		assert_int_equal(mappings(), 1 + PLACES);
		assert_int_equal(ways(), 1 + PLACES);
	}
	assert_int_equal(state_of(1024), FLOW_ESTABLISHED);
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
}

/* A reply entry was left when sluiced was killed between the two, and the next packet has made the other one. */
static void one_with_half_of_a_former_pair_gives_way(void **state)
{
	struct pkt p = packet(IPPROTO_TCP, HOST, 1024, REMOTE, 443);

	assert_int_equal(out(1024, SYN, 999, 0), V_FORWARD);
	half_delete(&p.t, 4, IPPROTO_TCP, 0);
	stub_now_ns += SECOND;
	assert_int_equal(out(1024, SYN, 999, 0), V_FORWARD);
	assert_true(waits(1024));
	for (unsigned i = 1; i <= PLACES; i++, stub_now_ns += SECOND / 100)
		assert_int_equal(out(1024 + i, SYN, 1, 0), V_FORWARD);
	assert_null(entry(false, 1024));
	assert_null(entry(true, 1024));
}

/* sluiced is told of the beginning and of the end of who gives way; and of no end whose beginning found no room. */
static void who_gave_way_is_told(void **state)
{
	for (unsigned i = 0; i < PLACES; i++, stub_now_ns += SECOND / 100) {
		if (i == 1)
			stub_ring.used = NAT_EVENTS_BYTES / 2;
		if (i == 2)
			stub_ring.used = 0;
		assert_int_equal(out(1024 + i, SYN, 1, 0), V_FORWARD);
	}
	assert_int_equal(stub_ring.n, PLACES - 1);
	assert_int_equal(stat(STAT_NAT_EVENTS_LOST), 1);
	stub_ring.used = NAT_EVENTS_BYTES / 2; /* ends have the other half */
	for (unsigned i = 0; i < 3; i++, stub_now_ns += SECOND / 100) {
		stub_ring.n = 0;
		assert_int_equal(out(1024 + PLACES + i, SYN, 1, 0), V_FORWARD);
		assert_int_equal(stat(STAT_FLOW_GAVE_WAY), i + 1);
		assert_int_equal(stub_ring.n, i != 1);
		if (i == 1)
			continue;
		assert_int_equal(told()->event, NAT_EVENT_SESSION_DELETE);
		assert_int_equal(bpf_ntohs(told()->t.sport), 1024 + i);
		assert_int_equal(bpf_ntohs(told()->to.sport), 1024 + i);
	}
	/* An end that finds no room at all is not lost: sluiced knows the session. */
	stub_ring.size = stub_ring.used;
	stub_ring.n = 0;
	assert_int_equal(out(1024 + PLACES + 3, SYN, 1, 0), V_FORWARD);
	assert_int_equal(stat(STAT_FLOW_GAVE_WAY), 4);
	assert_int_equal(stub_ring.n, 0);
	assert_int_equal(stat(STAT_NAT_EVENTS_LOST), 1 + 4); /* the beginnings */
}

/* A place in which a pair in use is moved keeps the mark. */
static void a_steady_one_is_told_later(void **state)
{
	for (unsigned i = 0; i < HALF_LINES; i++)
		assert_int_equal(udp_out(1024 + i, REMOTE), V_FORWARD);
	stub_now_ns += 3 * SECOND;
	for (unsigned i = 0; i < HALF_LINES; i++)
		assert_int_equal(udp_out(1024 + i, REMOTE), V_FORWARD);
	for (unsigned i = 0; i < PLACES; i++, stub_now_ns += SECOND / 100)
		assert_int_equal(out(1034 + i % 30, SYN, 1, 0), V_FORWARD);
	assert_non_null(udp_entry(1024));
	stub_now_ns += 20 * SECOND;
	stub_ring = (struct stub_ring){.used = NAT_EVENTS_BYTES / 2};
	for (unsigned i = 0; i < HALF_LINES; i++, stub_now_ns += SECOND / 100) {
		assert_int_equal(udp_out(1070 + i % 4, REMOTE + 1), V_FORWARD);
		assert_int_equal(told()->event, NAT_EVENT_SESSION_DELETE);
		assert_int_equal(told()->proto, IPPROTO_UDP);
		assert_null(udp_entry(bpf_ntohs(told()->t.sport)));
	}
}

/* One way UDP lives as long as there is room; what was answered once does not give way at all. */
static void udp_waits_for_its_first_answer(void **state)
{
	assert_int_equal(udp_out(1024, REMOTE), V_FORWARD);
	assert_int_equal(udp_out(1025, REMOTE), V_FORWARD);
	assert_int_equal(udp_back(1025, REMOTE), V_FORWARD);
	for (unsigned i = 0; i < PLACES; i++, stub_now_ns += SECOND / 100)
		assert_int_equal(out(1026 + i, SYN, 1, 0), V_FORWARD);
	assert_int_equal(stat(STAT_FLOW_GAVE_WAY), 1);
	assert_int_equal(udp_back(1024, REMOTE), V_DROP);
	assert_int_equal(udp_back(1025, REMOTE), V_FORWARD);
}

/* Places that are taken, and whether each is the one that its pair knows. */
static unsigned noted(void)
{
	unsigned n = 0;

	for (__u32 i = 0; i < HALF_LINES; i++)
		for (int s = 0; s < HALF_SLOTS; s++) {
			__u64 place = ((struct half_line *)bpf_map_lookup_elem(&half_open, &i))->slot[s];

			if (!place)
				continue;
			assert_int_equal(half_reply(place)->half, i * HALF_SLOTS + s + 1);
			n++;
		}
	return n;
}

/* One way UDP that is in use stays through a flood, by the same port; and its place is its own, so that an answer frees it. */
static void steady_udp_is_spared(void **state)
{
	assert_int_equal(udp_out(1024, REMOTE), V_FORWARD); /* in use */
	assert_int_equal(udp_out(1025, REMOTE), V_FORWARD); /* one packet */
	stub_now_ns += SECOND;
	assert_int_equal(udp_out(1026, REMOTE), V_FORWARD); /* two in a second */
	assert_int_equal(udp_out(1026, REMOTE), V_FORWARD);
	stub_now_ns += 3 * SECOND / 2;
	assert_int_equal(udp_out(1024, REMOTE), V_FORWARD);
	for (unsigned i = 0; i < 4 * PLACES; i++, stub_now_ns += SECOND / 100)
		out(1030 + i % 40, SYN, 1, 0);
	for (unsigned i = 0; i < 3 * PLACES; i++, stub_now_ns += SECOND / 100)
		udp_out(1030 + i % 40, REMOTE + 1 + i);
	assert_non_null(udp_entry(1024));
	assert_null(udp_entry(1025));
	assert_null(udp_entry(1026));
	assert_int_equal(noted(), PLACES);
	assert_int_equal(udp_out(1024, REMOTE), V_FORWARD);
	assert_int_equal(udp_back(1024, REMOTE), V_FORWARD);
	assert_int_equal(noted(), PLACES - 1);
	/* One that has been silent for long gives way. */
	assert_int_equal(udp_out(1029, REMOTE), V_FORWARD);
	stub_now_ns += 3 * SECOND;
	assert_int_equal(udp_out(1029, REMOTE), V_FORWARD);
	stub_now_ns += 17 * SECOND;
	for (unsigned i = 0; i < 2 * PLACES; i++, stub_now_ns += SECOND / 100)
		udp_out(1030 + i % 40, REMOTE + 200 + i);
	assert_null(udp_entry(1029));
}

/* A flood that comes again for each of its pairs has no more places than any other. */
static void a_steady_flood_is_bounded(void **state)
{
	unsigned n = 0;

	for (unsigned round = 0; round < 4; round++, stub_now_ns += 3 * SECOND)
		for (unsigned i = 0; i < PLACES; i++)
			assert_int_equal(udp_out(1024 + i, REMOTE), V_FORWARD);
	assert_int_equal(noted(), PLACES);
	for (unsigned i = 0; i < 2 * PLACES; i++, stub_now_ns += SECOND / 100)
		out(1024 + i % 50, SYN, 1, 0);
	for (unsigned i = 0; i < PLACES; i++)
		n += udp_entry(1024 + i) != NULL;
	assert_int_equal(n, HALF_LINES * HALF_SPARED);
	assert_int_equal(noted(), PLACES);
}

/* The mapping serves another flow as well: it stays, and its port. */
static void a_shared_mapping_stays(void **state)
{
	struct pool_ports *b = pool_ports_get(SLOT, POOL_UDP);

	assert_int_equal(udp_out(1024, REMOTE), V_FORWARD);
	stub_now_ns += SECOND / 100;
	assert_int_equal(udp_out(1024, REMOTE + 1), V_FORWARD);
	assert_int_equal(udp_back(1024, REMOTE + 1), V_FORWARD);
	for (unsigned i = 0; i < PLACES; i++, stub_now_ns += SECOND / 100)
		assert_int_equal(out(1026 + i, SYN, 1, 0), V_FORWARD);
	assert_int_equal(udp_back(1024, REMOTE), V_DROP);
	assert_int_equal(udp_back(1024, REMOTE + 1), V_FORWARD);
	assert_true(b->used[1024 / 64] & 1);
}

/* 50 ports: when all are held those that wait give theirs to the newcomer, a line of them, and no established one ever does. */
static void ports_of_who_waits(void **state)
{
	for (unsigned i = 0; i < 40; i++)
		handshake(1024 + i);
	for (unsigned i = 40; i < 50; i++, stub_now_ns += SECOND / 100)
		assert_int_equal(out(1024 + i, SYN, 1, 0), V_FORWARD);
	assert_int_equal(held(), 50);
	assert_int_equal(out(5000, SYN, 1, 0), V_FORWARD);
	assert_in_range(stat(STAT_FLOW_GAVE_WAY), 1, HALF_SLOTS);
	assert_int_equal(held(), 51 - stat(STAT_FLOW_GAVE_WAY));
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(state_of(1024 + i), FLOW_ESTABLISHED);
	assert_int_equal(mappings(), held());
}

static void no_port_of_the_established(void **state)
{
	for (unsigned i = 0; i < 50; i++)
		handshake(1024 + i);
	assert_int_equal(out(5000, SYN, 1, 0), V_DROP);
	assert_int_equal(stat(STAT_FLOW_GAVE_WAY), 0);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(state_of(1024 + i), FLOW_ESTABLISHED);
}

/* A scan: the RST of a port where nobody listens is no connection. */
static void refused_ones_give_way(void **state)
{
	for (unsigned i = 0; i < PLACES; i++, stub_now_ns += SECOND / 100) {
		assert_int_equal(out(1024 + i, SYN, 1, 0), V_FORWARD);
		assert_int_equal(back(1024 + i, RST | ACK, 0, 2), V_FORWARD);
		assert_int_equal(state_of(1024 + i), FLOW_RESET);
	}
	assert_int_equal(out(1024 + PLACES, SYN, 1, 0), V_FORWARD);
	assert_int_equal(stat(STAT_FLOW_GAVE_WAY), 1);
	assert_null(entry(false, 1024));
}

/* ---- TCP (RFC 5382, RFC 7857 2.2, RFC 6191) */

static void rst_must_fit(void **state)
{
	__u32 x = 88172645;

	handshake(1024);
	for (int i = 0; i < 1000; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		if (x - (9000 - FLOW_RST_BEHIND) > FLOW_RST_AHEAD + FLOW_RST_BEHIND)
			assert_int_equal(back(1024, RST, x, 0), V_FORWARD);
		assert_int_equal(state_of(1024), FLOW_ESTABLISHED);
	}
	assert_true(stat(STAT_FLOW_RST_IGNORED) > 990);
	assert_int_equal(back(1024, RST, 9000, 0), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_RESET);
}

static void rst_bounds(void **state)
{
	static const struct {
		int off;
		bool ends;
	} rows[] = {{0, true},	      {1 << 20, true},	  {(1 << 20) + 1, false}, {-(1 << 16), true}, {-(1 << 16) - 1, false},
		    {1 << 30, false}, {-(1 << 30), false}};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		handshake(1024 + i);
		assert_int_equal(out(1024 + i, RST, 1000u + (__u32)rows[i].off, 0), V_FORWARD);
		assert_int_equal(state_of(1024 + i), rows[i].ends ? FLOW_RESET : FLOW_ESTABLISHED);
	}
}

/* The server has sent its SYN-ACK alone: who knows the connection knows where it is. */
static void rst_must_fit_the_syn_ack(void **state)
{
	assert_int_equal(out(1024, SYN, 999, 0), V_FORWARD);
	assert_int_equal(back(1024, SYN | ACK, 8999, 1000), V_FORWARD);
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
	assert_int_equal(back(1024, RST, 9000 + (1u << 30), 0), V_FORWARD);
	assert_int_equal(stat(STAT_FLOW_RST_IGNORED), 1);
	assert_int_equal(state_of(1024), FLOW_ESTABLISHED);
	assert_int_equal(back(1024, RST, 9000, 0), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_RESET);
}

/* The server has forgotten the connection, and refuses the next one on the same ports (RFC 9293 3.10.7.1). */
static void rst_answers_a_syn(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(out(1024 + i, SYN, 999, 0), V_FORWARD);
		assert_int_equal(back(1024 + i, SYN | ACK, 8999, 1000), V_FORWARD);
		assert_int_equal(out(1024 + i, ACK, 1000, 9000), V_FORWARD);
		if (i)
			assert_int_equal(back(1024 + i, ACK, 9000, 1000), V_FORWARD);
		assert_int_equal(out(1024 + i, SYN, 500000, 0), V_FORWARD);
		assert_int_equal(back(1024 + i, RST | ACK, 0, 500001), V_FORWARD);
		assert_int_equal(state_of(1024 + i), FLOW_RESET);
	}
	assert_int_equal(stat(STAT_FLOW_RST_IGNORED), 0);
}

/* Neither has sent a mere ACK yet. */
static void rst_in_a_simultaneous_open(void **state)
{
	assert_int_equal(out(1024, SYN, 999, 0), V_FORWARD);
	assert_int_equal(back(1024, SYN, 8999, 0), V_FORWARD);
	assert_int_equal(out(1024, SYN | ACK, 999, 9000), V_FORWARD);
	assert_int_equal(back(1024, SYN | ACK, 8999, 1000), V_FORWARD);
	assert_int_equal(back(1024, RST, 9000 + (1u << 30), 0), V_FORWARD);
	assert_int_equal(out(1024, RST, 1000 + (1u << 30), 0), V_FORWARD);
	assert_int_equal(stat(STAT_FLOW_RST_IGNORED), 2);
	assert_int_equal(state_of(1024), FLOW_OPENING);
	assert_int_equal(back(1024, RST, 9000, 0), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_RESET);
}

/* A RST that does not fit is no sign of life either. */
static void forged_rst_refreshes_nothing(void **state)
{
	__u32 used;

	handshake(1024);
	used = entry(true, 1024)->used;
	stub_now_ns += 10 * SECOND;
	assert_int_equal(back(1024, RST, 0x40000000, 0), V_FORWARD);
	assert_int_equal(entry(true, 1024)->used, used);
}

/* What was under way when the RST came changes nothing; what comes later, or from who sent it, shows that it was forged. */
static void life_after_a_rst(void **state)
{
	handshake(1024);
	assert_int_equal(back(1024, RST, 9000, 0), V_FORWARD);
	stub_now_ns += SECOND / 10;
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_RESET);
	stub_now_ns += 3 * SECOND;
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_ESTABLISHED);
	assert_int_equal(back(1024, RST, 9000, 0), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_RESET);
	assert_int_equal(back(1024, ACK, 9000, 1000), V_FORWARD);
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_ESTABLISHED);
}

static void both_fins(void **state)
{
	handshake(1024);
	assert_int_equal(out(1024, FIN | ACK, 1000, 9000), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_ESTABLISHED); /* one half may go on for long */
	assert_int_equal(back(1024, ACK, 9000, 1001), V_FORWARD);
	assert_int_equal(back(1024, FIN | ACK, 9000, 1001), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_CLOSING);
	assert_int_equal(out(1024, ACK, 1001, 9001), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_CLOSING);
	/* RFC 6191: the same ports again */
	assert_int_equal(out(1024, SYN, 500000, 0), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_OPENING);
	assert_int_equal(back(1024, SYN | ACK, 700000, 500001), V_FORWARD);
	assert_int_equal(out(1024, ACK, 500001, 700001), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_ESTABLISHED);
}

static void simultaneous_open(void **state)
{
	assert_int_equal(out(1024, SYN, 999, 0), V_FORWARD);
	assert_int_equal(back(1024, SYN, 8999, 0), V_FORWARD);
	assert_int_equal(out(1024, SYN | ACK, 999, 9000), V_FORWARD);
	assert_int_equal(back(1024, SYN | ACK, 8999, 1000), V_FORWARD);
	assert_int_equal(out(1024, ACK, 1000, 9000), V_FORWARD);
	assert_int_equal(back(1024, ACK, 9000, 1000), V_FORWARD);
	assert_int_equal(state_of(1024), FLOW_ESTABLISHED);
	assert_false(waits(1024));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(handshake_ends_the_wait, setup),
		cmocka_unit_test_setup(picked_up_in_the_midst, setup),
		cmocka_unit_test_setup(the_oldest_gives_way, setup),
		cmocka_unit_test_setup(one_with_half_of_a_former_pair_gives_way, setup),
		cmocka_unit_test_setup(who_gave_way_is_told, setup),
		cmocka_unit_test_setup(a_steady_one_is_told_later, setup),
		cmocka_unit_test_setup(udp_waits_for_its_first_answer, setup),
		cmocka_unit_test_setup(steady_udp_is_spared, setup),
		cmocka_unit_test_setup(a_steady_flood_is_bounded, setup),
		cmocka_unit_test_setup(a_shared_mapping_stays, setup),
		cmocka_unit_test_setup(ports_of_who_waits, setup),
		cmocka_unit_test_setup(no_port_of_the_established, setup),
		cmocka_unit_test_setup(refused_ones_give_way, setup),
		cmocka_unit_test_setup(rst_must_fit, setup),
		cmocka_unit_test_setup(rst_bounds, setup),
		cmocka_unit_test_setup(rst_must_fit_the_syn_ack, setup),
		cmocka_unit_test_setup(rst_answers_a_syn, setup),
		cmocka_unit_test_setup(rst_in_a_simultaneous_open, setup),
		cmocka_unit_test_setup(forged_rst_refreshes_nothing, setup),
		cmocka_unit_test_setup(life_after_a_rst, setup),
		cmocka_unit_test_setup(both_fins, setup),
		cmocka_unit_test_setup(simultaneous_open, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
