/* nat_filter_test.c: the table that says which packets no rule of NAT can concern, made by sluiced and asked by the data plane:
 * it never spares a packet from a rule that matches, and it does spare those that it is there for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* The libc's headers before the kernel's, which give way to them. */
#include "../../user/nat_priv.h"

#include "../../bpf/nat_filter.h"

static struct nat nat;

static int setup(void **arg)
{
	struct nat_plan plan = {.n_pools = 0};

	(void)arg;
	nat_filter = (struct nat_filter){0};
	nat.filter = &nat_filter;
	nat_filter_settle(&nat, &plan);
	return 0;
}

static int teardown(void **arg)
{
	(void)arg;
	stub_reset();
	return 0;
}

static struct addr v4(uint32_t ip)
{
	struct addr a;

	addr_from4(&a, bpf_htonl(ip));
	return a;
}

static struct addr v6(uint32_t high, uint32_t low)
{
	return (struct addr){.a32 = {bpf_htonl(high), 0, 0, bpf_htonl(low)}};
}

/* Of IPv4: "src/len dst/len"; a length of 0: any. */
static struct snat_rule rule4(uint32_t src, unsigned src_len, uint32_t dst, unsigned dst_len, uint16_t out)
{
	struct snat_rule r = {.family = 4, .action = SNAT_POOL, .out_iface = out, .src = v4(src), .dst = v4(dst)};

	r.src_len = (uint8_t)(src_len ? 96 + src_len : 0);
	r.dst_len = (uint8_t)(dst_len ? 96 + dst_len : 0);
	return r;
}

static void apply(struct nat_plan *plan)
{
	assert_int_equal(nat_filter_widen(&nat, plan), 0);
	nat_filter_settle(&nat, plan);
}

static bool concerned(uint8_t family, struct addr src, struct addr dst, uint16_t in, uint16_t out)
{
	struct tuple t = {.saddr = src, .daddr = dst};
	uint32_t rules = nat_filter_rules(in, family, &t);

	return rules == NAT_FILTER_ALL || nat_filter_leaves(rules, out);
}

static bool concerned4(uint32_t src, uint32_t dst, uint16_t in, uint16_t out)
{
	return concerned(4, v4(src), v4(dst), in, out);
}

/* What a rule of the usual kind leaves alone: other sources, other destinations, other ways out. */
static void spares_test(void **arg)
{
	struct nat_plan plan = {.n_snat = 1, .snat = {rule4(0x0a000000, 16, 0xac100000, 12, 7)}};

	(void)arg;
	assert_false(concerned4(0x0a000001, 0xac100001, 1, 7)); /* there is no rule yet */
	apply(&plan);
	assert_true(concerned4(0x0a000001, 0xac100001, 1, 7));
	assert_true(concerned4(0x0a00ffff, 0xac1fffff, 1, 7));
	assert_false(concerned4(0x0a010001, 0xac100001, 1, 7));
	assert_false(concerned4(0x0a000001, 0xac200001, 1, 7));
	assert_false(concerned4(0x0a000001, 0xac100001, 1, 8));
	/* from outside, its answers would be translated: a pair of entries must see to them */
	assert_true(concerned4(0xac100001, 0x0a000001, 7, 1));
	assert_false(concerned4(0xac100001, 0x0a000001, 8, 1));
}

static void not_ready_test(void **arg)
{
	(void)arg;
	nat.filter->ready = 0;
	assert_true(concerned4(0x0a000001, 0xac100001, 1, 7));
}

static void marks_and_statics_test(void **arg)
{
	struct nat_plan_dnat marks[2] = {{.key = {.daddr = v4(0xcb007101)}}, {.key = {.daddr = v6(0x20010db8, 1)}}};
	struct nat_plan plan = {.dnat = marks, .n_dnat = 2, .n_statics = 1};

	(void)arg;
	plan.statics[0].key = (struct nat_static_key){.len = 32 + 96 + 24, .addr = v4(0xc6336400)};
	apply(&plan);
	assert_true(concerned4(0x08080808, 0xcb007101, 1, 2));
	assert_false(concerned4(0x08080808, 0xcb007102, 1, 2));
	assert_true(concerned(6, v6(0x20010db9, 1), v6(0x20010db8, 1), 1, 2));
	assert_false(concerned(6, v6(0x20010db9, 1), v6(0x20010db8, 2), 1, 2));
	assert_true(concerned4(0x08080808, 0xc6336401, 1, 2));
	assert_false(concerned4(0xc6336401, 0x08080808, 1, 2)); /* the source's rule would be a source rule */
}

static void six_test(void **arg)
{
	struct snat_rule r = {.family = 6, .action = SNAT_POOL, .out_iface = 7, .src_len = 32, .src = v6(0x20010db8, 0)};
	struct nat_plan plan = {.n_snat = 1, .snat = {r}};

	(void)arg;
	apply(&plan);
	assert_true(concerned(6, v6(0x20010db8, 1), v6(0x30000000, 1), 1, 7));
	assert_false(concerned(6, v6(0x20010db8, 1), v6(0x30000000, 1), 1, 8));
	assert_false(concerned4(0x0a000001, 0xac100001, 1, 7));
}

static void exempt_test(void **arg)
{
	struct nat_plan plan = {.n_snat = 1, .snat = {rule4(0, 0, 0, 0, 0)}};

	(void)arg;
	plan.snat[0].action = SNAT_EXEMPT;
	apply(&plan);
	assert_false(concerned4(0x0a000001, 0xac100001, 1, 7));
	plan.snat[0].action = SNAT_MASQUERADE;
	apply(&plan);
	assert_true(concerned4(0x0a000001, 0xac100001, 1, 7));
}

/* Between the two steps of a change it holds for the rules before and behind it. */
static void change_test(void **arg)
{
	struct nat_plan old = {.n_snat = 1, .snat = {rule4(0x0a000000, 8, 0, 0, 0)}};
	struct nat_plan new = {.n_snat = 1, .snat = {rule4(0xc0a80000, 16, 0, 0, 0)}};

	(void)arg;
	apply(&old);
	assert_int_equal(nat_filter_widen(&nat, &new), 0);
	assert_true(concerned4(0x0a000001, 0x08080808, 1, 7));
	assert_true(concerned4(0xc0a80001, 0x08080808, 1, 7));
	nat_filter_settle(&nat, &new);
	assert_false(concerned4(0x0a000001, 0x08080808, 1, 7));
	assert_true(concerned4(0xc0a80001, 0x08080808, 1, 7));
}

static bool holds(const struct addr *prefix, unsigned len, const struct addr *a)
{
	for (unsigned i = 0; i < len; i++)
		if ((prefix->a8[i / 8] ^ a->a8[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

static bool matches(const struct snat_rule *r, const struct addr *src, const struct addr *dst, uint16_t out)
{
	return (!r->out_iface || r->out_iface == out) && holds(&r->src, r->src_len, src) && holds(&r->dst, r->dst_len, dst);
}

/* Few addresses and many rules, of all lengths: whatever a rule takes, or whose answers it takes, is concerned. */
static void random_test(void **arg)
{
	uint32_t spared = 0;

	(void)arg;
	srandom(7);
	for (int round = 0; round < 20; round++) {
		struct nat_plan plan = {.n_snat = (size_t)(1 + random() % 60)};

		for (size_t i = 0; i < plan.n_snat; i++)
			plan.snat[i] =
				rule4((uint32_t)random() & 0x0303ffff, (unsigned)(random() % 33), (uint32_t)random() & 0x0303ffff,
				      (unsigned)(random() % 33), (uint16_t)(random() % 4));
		apply(&plan);
		for (int k = 0; k < 2000; k++) {
			struct addr s = v4((uint32_t)random() & 0x0303ffff), d = v4((uint32_t)random() & 0x0303ffff);
			uint16_t in = (uint16_t)(1 + random() % 4), out = (uint16_t)(1 + random() % 4);
			bool any = false;

			for (size_t i = 0; i < plan.n_snat; i++)
				any |= matches(&plan.snat[i], &s, &d, out) || matches(&plan.snat[i], &d, &s, in);
			if (any)
				assert_true(concerned(4, s, d, in, out));
			spared += !concerned(4, s, d, in, out);
		}
	}
	assert_in_range(spared, 1000, 40000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(spares_test, setup, teardown),
		cmocka_unit_test_setup_teardown(not_ready_test, setup, teardown),
		cmocka_unit_test_setup_teardown(marks_and_statics_test, setup, teardown),
		cmocka_unit_test_setup_teardown(six_test, setup, teardown),
		cmocka_unit_test_setup_teardown(exempt_test, setup, teardown),
		cmocka_unit_test_setup_teardown(change_test, setup, teardown),
		cmocka_unit_test_setup_teardown(random_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
