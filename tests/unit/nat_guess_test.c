/* nat_guess_test.c: what nat_guess() has guessed of a first packet does not come true: rules, pools and tables change between the
 * guess and the packet's translation, as other CPUs and sluiced change them. The packet leaves as it would have left without a
 * guess, and both entries, the mapping and its way are where they are looked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define FLOW_BUCKETS 64
#define NAT_BUCKETS  64
#define HALF_LINES   16
#include "nat_util.h"

enum { LAN = 1, WAN = 2 };
enum { POOL = 3, OTHER = 4, RUN = 5 };
enum { SLOT = 20, OTHER_SLOT = 30, RUN_SLOT = 40 };

#define HOST   0x0a000005u /* 10.0.0.5, inside */
#define PUB    0xc6336401u /* 198.51.100.1, the pool */
#define PUB2   0xc6336402u
#define MOVED  0xc6336409u
#define FIRST  0xc6120000u /* 198.18.0.0, of the run */
#define REMOTE 0xc0000201u /* 192.0.2.1 */

enum { SPORT = 4000 };

static void set_rule(__u16 pool, __u8 mapping, __u8 flags)
{
	struct snat_rule r = {.action = SNAT_POOL, .pool = pool, .out_iface = WAN, .rule = 1, .mapping = mapping, .flags = flags};

	array_set(&snat_rules, 0, &r);
}

static void set_wan(__u16 vrf)
{
	struct iface wan = {.mtu = 1400, .vrf = vrf};

	array_set(&ifaces, WAN, &wan);
}

static int setup(void **state)
{
	struct pool run = {
		.first4 = RUN_SLOT, .count4 = 1, .port_min = 1024, .port_max = 65535, .flags = POOL_F_USED | POOL_F_RUNS};
	struct pool_addr a = {.flags = POOL_ADDR_F_USED, .run = 256};
	struct iface lan = {.mtu = 1500};
	__u32 id = POOL_ID(RUN_SLOT, 1), n = 256;

	nat_maps();
	array_set(&ifaces, LAN, &lan);
	set_wan(0);
	set_rule(POOL, 0, 0);
	add_pool(POOL, SLOT, PUB, 1024, 65535);
	add_pool(OTHER, OTHER_SLOT, PUB2, 1024, 65535);
	addr_from4(&a.addr, bpf_htonl(FIRST));
	array_set(&pool_addrs, RUN_SLOT, &a);
	array_set(&pool_members, RUN_SLOT, &id);
	array_set(&pool_members, RUN_SLOT + 1, &n);
	array_set(&pools, RUN, &run);
	return 0;
}

static struct pkt packet(unsigned guessed_pool)
{
	struct pkt p = {.len = 100,
			.seg_len = 86,
			.segs = 1,
			.family = 4,
			.l4_proto = IPPROTO_UDP,
			.ttl = 64,
			.flags = PKT_F_L4 | PKT_F_WAY | PKT_F_NO_FLOW,
			.epoch = 1,
			.in_iface = LAN,
			.out_iface = WAN,
			.pool_last = guessed_pool};
	struct flow_key4 key;

	addr_from4(&p.t.saddr, bpf_htonl(HOST));
	addr_from4(&p.t.daddr, bpf_htonl(REMOTE));
	p.t.sport = bpf_htons(SPORT);
	p.t.dport = bpf_htons(53);
	p.to = p.t;
	key = flow_key4(&p.t, p.l4_proto, p.vrf);
	flowtab_place4(&key, &p.at);
	assert_int_equal(flowtab_search4(&key, &p.at), 0);
	nat_guess(&p);
	return p;
}

static enum verdict go_on(struct pkt *p)
{
	nat_begin(p);
	if (nat_snat(p) != V_NEXT)
		return V_DROP;
	return flow_install(p, V_FORWARD);
}

static bool taken(__u32 slot, unsigned port)
{
	struct pool_ports *b = pool_ports_get(slot, POOL_UDP);

	return b && !pool_port_is_free(b, port);
}

/* All that the packet has left is found, by who looks for it afresh. */
static void is_found(const struct pkt *p, __u16 pool, __u32 pool_addr, __u32 addr)
{
	struct nat_mapping_key key;
	struct bucket_place at;
	struct tuple reply, back;
	struct flow *f;
	__u32 i;

	assert_int_equal(bpf_ntohl(p->to.saddr.a32[3]), addr);
	f = flow_get(4, &p->t, p->l4_proto, 0);
	assert_non_null(f);
	assert_true(flow_leaves_as(f, 4, &p->to.saddr, &p->to.daddr, p->to.sport, p->to.dport));
	flow_swap(&p->to, &reply);
	flow_swap(&p->t, &back);
	f = flow_get(4, &reply, p->l4_proto, nat_reply_vrf(p));
	assert_non_null(f);
	assert_true(flow_leaves_as(f, 4, &back.saddr, &back.daddr, back.sport, back.dport));
	nat_mapping_key(p, pool, &key);
	i = nattab_find(&key, &at);
	assert_int_not_equal(i, 0);
	assert_int_equal(nattab_at(false, i - 1)->pool_addr, pool_addr);
	assert_int_equal(nattab_at(false, i - 1)->port, p->to.sport);
	assert_int_equal(nattab_find_way(NAT_WAY(pool_addr, POOL_UDP, bpf_ntohs(p->to.sport))), i);
}

static void it_comes_true(void **state)
{
	struct pkt p = packet(POOL);
	struct bucket_place reply_at = p.reply_at;

	assert_int_equal(p.map_pool, POOL);
	assert_int_equal(p.ahead, NAT_AHEAD(bpf_htons(SPORT)));
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, PUB);
	assert_int_equal(bpf_ntohs(p.to.sport), SPORT);
	assert_int_equal(p.reply_at.first, reply_at.first);
	assert_int_equal(p.pool_last, POOL);
}

static void nothing_is_guessed(void **state)
{
	struct pkt p = packet(0);

	assert_int_equal(p.ahead, 0);
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, PUB);
}

static void another_pool(void **state)
{
	struct pkt p = packet(OTHER);

	assert_int_equal(p.map_pool, OTHER);
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, PUB);
	assert_false(taken(OTHER_SLOT, SPORT));
}

/* The address's slot is given to another one. */
static void another_address(void **state)
{
	struct pkt p = packet(POOL);

	add_pool(POOL, SLOT, MOVED, 1024, 65535);
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, MOVED);
}

static void another_member(void **state)
{
	struct pkt p = packet(POOL);

	add_pool(POOL, SLOT + 5, MOVED, 1024, 65535);
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT + 5, MOVED);
	assert_true(taken(SLOT + 5, SPORT));
	assert_false(taken(SLOT, SPORT));
}

static void the_port_is_taken(void **state)
{
	struct pkt p = packet(POOL);

	assert_true(pool_port_take(pool_ports_get(SLOT, POOL_UDP), SPORT));
	assert_int_equal(go_on(&p), V_FORWARD);
	assert_int_not_equal(bpf_ntohs(p.to.sport), SPORT);
	assert_true(taken(SLOT, bpf_ntohs(p.to.sport)));
	is_found(&p, POOL, SLOT, PUB);
}

/* It is taken when it is guessed, and another one nearby is seen. */
static void the_port_was_taken(void **state)
{
	struct pkt p;

	assert_true(pool_port_take(pool_ports_get(SLOT, POOL_UDP), SPORT));
	p = packet(POOL);
	assert_int_equal(go_on(&p), V_FORWARD);
	assert_int_not_equal(bpf_ntohs(p.to.sport), SPORT);
	assert_int_equal((bpf_ntohs(p.to.sport) ^ SPORT) & 1, 0);
	is_found(&p, POOL, SLOT, PUB);
}

static void every_port_is_taken(void **state)
{
	struct pkt p;

	add_pool(POOL, SLOT, PUB, SPORT, SPORT);
	p = packet(POOL);
	assert_true(pool_port_take(pool_ports_get(SLOT, POOL_UDP), SPORT));
	assert_int_equal(go_on(&p), V_DROP);
	assert_int_equal(p.drop, DROP_NAT_NO_PORT);
	assert_int_equal(mappings(), 0);
}

/* It is shared, then. */
static void overload(void **state)
{
	struct tuple reply;
	struct pkt p;

	add_pool(POOL, SLOT, PUB, 5000, 5000);
	set_rule(POOL, 0, SNAT_F_OVERLOAD);
	assert_true(pool_port_take(pool_ports_get(SLOT, POOL_UDP), 5000));
	p = packet(POOL);
	assert_int_equal(go_on(&p), V_FORWARD);
	assert_int_equal(bpf_ntohs(p.to.sport), 5000);
	flow_swap(&p.to, &reply);
	assert_non_null(flow_get(4, &reply, p.l4_proto, 0));
	assert_non_null(flow_get(4, &p.t, p.l4_proto, 0));
	assert_int_equal(mappings(), 0);
}

/* A mapping for each remote end. */
static void address_and_port_dependent(void **state)
{
	struct pkt p;

	set_rule(POOL, NAT_MAPPING_ADDRESS_PORT, 0);
	p = packet(POOL);
	assert_int_equal(go_on(&p), V_FORWARD);
	assert_int_not_equal(p.nat_remote, 0);
	is_found(&p, POOL, SLOT, PUB);
}

static void another_vrf(void **state)
{
	struct pkt p = packet(POOL);

	set_wan(7);
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, PUB);
	assert_int_equal(p.reply_vrf, 7);
}

/* Another CPU has the same source's first packet to somebody else. */
static void the_mapping_is_there(void **state)
{
	struct pkt p = packet(POOL), other = packet(POOL);

	addr_from4(&other.t.daddr, bpf_htonl(REMOTE + 1));
	addr_from4(&other.to.daddr, bpf_htonl(REMOTE + 1));
	other.flags &= ~PKT_F_NO_FLOW;
	other.ahead = 0;
	assert_int_equal(go_on(&other), V_FORWARD);
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, PUB);
	assert_int_equal(p.to.sport, other.to.sport);
	assert_int_equal(mappings(), 1);
}

/* Another CPU has the very same packet. */
static void the_flow_is_there(void **state)
{
	struct pkt p = packet(POOL), other = packet(POOL);

	assert_int_equal(go_on(&other), V_FORWARD);
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, PUB);
	assert_int_equal(mappings(), 1);
	assert_int_equal(p.flow_new, 0);
}

static void of_a_run(void **state)
{
	for (unsigned held = 0; held < 2; held++) {
		struct pkt p, other;
		__u32 id;

		setup(NULL);
		set_rule(RUN, 0, 0);
		p = packet(RUN);
		other = packet(RUN);
		assert_int_equal(p.ahead, NAT_AHEAD(bpf_htons(SPORT)));
		assert_true(addr_equal(&p.ahead_addr, &other.ahead_addr));
		if (held) { /* another source has the port */
			other.t.saddr.a32[3] ^= bpf_htonl(0x0100);
			other.map_pool = other.ahead = 0;
			other.pool_last = 0;
			other.pool_addr = POOL_ID(RUN_SLOT, bpf_ntohl(p.ahead_addr.a32[3]) - FIRST + 1);
			other.to.sport = bpf_htons(SPORT);
			other.now_ns = 1;
			struct nat_mapping_key key;
			struct bucket_place at;

			nat_mapping_key(&other, RUN, &key);
			assert_int_equal(nattab_find(&key, &at), 0);
			assert_int_equal(nattab_insert(&other, &key, &at), 0);
		}
		assert_int_equal(go_on(&p), V_FORWARD);
		id = POOL_ID(RUN_SLOT, bpf_ntohl(p.to.saddr.a32[3]) - FIRST + 1);
		is_found(&p, RUN, id, bpf_ntohl(p.to.saddr.a32[3]));
		assert_int_equal(bpf_ntohs(p.to.sport) == SPORT, !held);
	}
}

/* The second of two buckets takes what the first one has no room for, wherever that was guessed. */
static void a_bucket_fills_up(void **state)
{
	struct pkt p = packet(POOL);

	for (__u32 slot = 0; slot < BUCKET_SLOTS; slot++) {
		flowtab_bucket(4, p.at.first)->word[slot] = WORD_LIVE | 0xabc0;
		flowtab_bucket(4, p.reply_at.first)->word[slot] = WORD_LIVE | 0xabc0;
		nattab_bucket(false, p.map_at.first)->word[slot] = WORD_LIVE | 0xabc0;
	}
	assert_int_equal(go_on(&p), V_FORWARD);
	is_found(&p, POOL, SLOT, PUB);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(it_comes_true),	  TEST(nothing_is_guessed),
		TEST(another_pool),	  TEST(another_address),
		TEST(another_member),	  TEST(the_port_is_taken),
		TEST(the_port_was_taken), TEST(every_port_is_taken),
		TEST(overload),		  TEST(address_and_port_dependent),
		TEST(another_vrf),	  TEST(the_mapping_is_there),
		TEST(the_flow_is_there),  TEST(of_a_run),
		TEST(a_bucket_fills_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
