/* pool_test.c: NAT's ports, by the data plane's own code run natively: each is given out once, the last one too, and only then
 * is a request refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "../../bpf/pool.h"

static struct pool_ports *ports_of(__u32 class)
{
	struct pool_ports *b = pool_ports_get(7, class);

	if (!b)
		abort();
	return b;
}

static void setup_pool(unsigned addrs, unsigned min, unsigned max)
{
	struct pool *p;
	__u32 id = 1;

	stub_reset();
	stub_map(pools);
	stub_map(pool_members);
	stub_map(pool_addrs);
	stub_map(pool_ports);
	p = bpf_map_lookup_elem(&pools, &id);
	p->first4 = POOL_MEMBER_MAX;
	p->count4 = addrs;
	p->port_min = min;
	p->port_max = max;
	for (__u32 i = 0; i < addrs; i++) {
		__u32 at = POOL_MEMBER_MAX + i, slot = 7 + i;

		bpf_map_update_elem(&pool_members, &at, &slot, BPF_ANY);
	}
}

static struct pool_search search_class(unsigned class, unsigned want)
{
	__u32 id = 1;
	struct pool *p = bpf_map_lookup_elem(&pools, &id);
	struct pool_search s = {.class = class, .want = want, .parity = POOL_PARITY_WORDS};

	s.count = pool_family(p, 4, &s.first);
	s.random = bpf_get_prandom_u32();
	s.min = p->port_min;
	s.max = p->port_max;
	if (pool_search_side(&s)) {
		pool_search(&s);
		pool_search_sides(&s, p);
	}
	if (!s.found)
		pool_search(&s);
	return s;
}

static struct pool_search search(unsigned want)
{
	return search_class(POOL_UDP, want);
}

static void every_port_once_then_refusal(void **state)
{
	static bool given[65536];
	unsigned n = 0;

	memset(given, 0, sizeof(given));
	setup_pool(1, 1024, 65535);
	for (struct pool_search s = search(0); s.found; s = search(0)) {
		assert_in_range(s.port, 1024, 65535);
		assert_false(given[s.port]);
		given[s.port] = true;
		n++;
	}
	assert_int_equal(n, 64512);
	for (int i = 0; i < 100; i++)
		assert_false(search(5000 + i).found);
}

/* Ranges that begin and end inside a word, in one word, and at the ends of what there is. */
static void odd_ranges(void **state)
{
	static const unsigned range[][2] = {{1, 65535},	  {0, 0},   {65535, 65535}, {1000, 1003},
					    {1023, 1025}, {63, 64}, {4096, 8191}};

	for (size_t r = 0; r < sizeof(range) / sizeof(range[0]); r++) {
		setup_pool(1, range[r][0], range[r][1]);
		for (unsigned n = range[r][1] - range[r][0] + 1; n; n--) {
			struct pool_search s = search(7);

			assert_true(s.found);
			assert_in_range(s.port, range[r][0], range[r][1]);
		}
		assert_false(search(7).found);
	}
}

static void released_ones_come_back(void **state)
{
	setup_pool(1, 1024, 65535);
	while (search(0).found)
		;
	for (unsigned port = 1024; port <= 65535; port += 997) {
		pool_port_release(7, POOL_UDP, port);
		assert_int_equal(search(0).port, port);
		assert_false(search(0).found);
	}
}

static void port_is_preserved_if_free(void **state)
{
	setup_pool(1, 1024, 65535);
	assert_int_equal(search(40000).port, 40000);
	assert_int_not_equal(search(40000).port, 40000);
	assert_int_not_equal(search(80).port, 80);
}

/* Ports below 1024 become such, the others others, while the host's own address has any. */
static void rfc4787_req3a_sides_of_1024(void **state)
{
	for (unsigned member = 1; member <= 2; member++) {
		setup_pool(member, 1000, 1099);
		for (unsigned i = 0; i < 100; i++) {
			struct pool_search s = search(i % 4 ? 40000 : 80);

			assert_int_equal(s.pool_addr, 7);
			assert_int_equal(s.port < 1024, !(i % 4) && i < 96);
		}
		assert_int_equal(search(80).found, member == 2);
	}
	setup_pool(1, 1000, 1099);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(search(40000).port < 1024, i >= 76);
	setup_pool(1, 1000, 1099);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(search(80).port >= 1024, i >= 24);
}

/* Identifiers of echoes are no ports: the whole range for all. */
static void identifiers_have_no_sides(void **state)
{
	unsigned high = 0;

	setup_pool(1, 1000, 1099);
	for (unsigned i = 0; i < 24; i++)
		high += search_class(POOL_ICMP, 80).port >= 1024;
	assert_int_not_equal(high, 0);
}

static void rfc4787_req4_parity(void **state)
{
	setup_pool(1, 1024, 65535);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(search(40000 + i % 2).port % 2, i % 2);
}

/* RFC 4787 REQ-2: the next address only when the first one's ports are gone. */
static void addresses_in_order(void **state)
{
	setup_pool(3, 2000, 2009);
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(search(2005).pool_addr, 7 + i / 10);
	assert_false(search(2005).found);
}

/* Another CPU takes the port between the look at the word and the attempt, or the hint says 'full' too late: neither loses a
 * port. */
static void late_hints_cost_nothing(void **state)
{
	struct pool_ports *b;

	setup_pool(1, 0, 65535);
	b = ports_of(POOL_UDP);
	memset(b->used, 0xff, sizeof(b->used));
	b->used[1000] = ~(1ULL << 17);
	assert_int_equal(search(1).port, 64017);
	assert_false(search(1).found);
	for (int i = 0; i < POOL_WORDS / 64; i++)
		assert_int_equal(b->full[i], ~0ULL);
	/* The word was full when it was looked at, and then a port of it was released before the hint was set. */
	pool_port_release(7, POOL_UDP, 64 * 70 + 3);
	pool_word_full(b, 70);
	assert_int_equal(b->full[1], ~(1ULL << 6));
}

/* sluiced learns which ports may have had two holders since it wiped the trace, however they are held now. */
static void what_is_given_back_leaves_a_trace(void **state)
{
	__u32 at = POOL_TRACE(7 * POOL_CLASSES + POOL_UDP);
	struct pool_ports *trace;

	setup_pool(1, 1024, 65535);
	trace = bpf_map_lookup_elem(&pool_ports, &at);
	assert_int_equal(search(4097).port, 4097);
	assert_int_equal(search(4098).port, 4098);
	assert_int_equal(trace->used[64], 0);
	pool_port_release(7, POOL_UDP, 4097);
	assert_int_equal(trace->used[64], 1 << 1);
	assert_int_equal(search(4097).port, 4097);
	assert_int_equal(trace->used[64], 1 << 1);
}

/* CPUs that take and release at once: never the same port twice at a time, and in the end every port is there to be had. */
#define CPUS 4

static unsigned char owner[65536];
static int doubles;

static void *one_cpu(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		struct pool_search s = search(0);

		if (!s.found)
			continue;
		if (__atomic_exchange_n(&owner[s.port], 1, __ATOMIC_SEQ_CST))
			__atomic_fetch_add(&doubles, 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&owner[s.port], 0, __ATOMIC_SEQ_CST);
		pool_port_release(7, POOL_UDP, s.port);
	}
	return NULL;
}

static void cpus_never_share_a_port(void **state)
{
	pthread_t cpu[CPUS];
	unsigned n = 0;

	/* Few ports, so that words become full and free again all the time. */
	setup_pool(1, 1024, 1024 + CPUS + 1);
	memset(ports_of(POOL_UDP)->used, 0xff, sizeof(struct pool_ports) - offsetof(struct pool_ports, used));
	for (unsigned port = 1024; port <= 1024 + CPUS + 1; port++)
		pool_port_release(7, POOL_UDP, port);
	for (int i = 0; i < CPUS; i++)
		assert_int_equal(pthread_create(&cpu[i], NULL, one_cpu, NULL), 0);
	for (int i = 0; i < CPUS; i++)
		pthread_join(cpu[i], NULL);
	assert_int_equal(doubles, 0);
	while (search(0).found)
		n++;
	assert_int_equal(n, CPUS + 2);
}

static void classes_are_apart(void **state)
{
	setup_pool(1, 5000, 5000);
	assert_true(search(0).found);
	assert_true(pool_port_take(ports_of(POOL_TCP), 5000));
	assert_true(pool_port_take(ports_of(POOL_ICMP), 5000));
	assert_false(pool_port_take(ports_of(POOL_UDP), 5000));
}

static void pairing_is_steady_and_spread(void **state)
{
	unsigned hits[16] = {0};

	for (unsigned host = 0; host < 16000; host++) {
		struct addr a;

		addr_from4(&a, bpf_htonl(0x0a000000 + host));
		assert_int_equal((__u32)pool_paired(&a, 42) % 16, (__u32)pool_paired(&a, 42) % 16);
		hits[(__u32)pool_paired(&a, 42) % 16]++;
	}
	for (int i = 0; i < 16; i++)
		assert_in_range(hits[i], 800, 1200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_port_once_then_refusal),
		cmocka_unit_test(odd_ranges),
		cmocka_unit_test(released_ones_come_back),
		cmocka_unit_test(port_is_preserved_if_free),
		cmocka_unit_test(what_is_given_back_leaves_a_trace),
		cmocka_unit_test(rfc4787_req3a_sides_of_1024),
		cmocka_unit_test(identifiers_have_no_sides),
		cmocka_unit_test(rfc4787_req4_parity),
		cmocka_unit_test(addresses_in_order),
		cmocka_unit_test(late_hints_cost_nothing),
		cmocka_unit_test(cpus_never_share_a_port),
		cmocka_unit_test(classes_are_apart),
		cmocka_unit_test(pairing_is_steady_and_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
