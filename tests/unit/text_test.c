/* text_test.c: addresses, prefixes, MACs, numbers and times: what is taken, what is refused, what is written. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "err.h"
#include "text.h"

static void addr_test(void **state)
{
	static const char *const bad[] = {
		"",	 "10.0.0", "10.0.0.256", "010.0.0.1",	    " 10.0.0.1",    "10.0.0.1 ", "10.0.0.1/8", "fe80::1%eth0",
		"1:2:3", ":::",	   "g::",	 "::ffff:10.0.0.1", "::ffff:a00:1", "0x0a000001"};
	static const uint8_t v4[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1}, v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	char buf[ADDR_TEXT];
	struct addr a;
	uint8_t family;

	assert_int_equal(addr_parse("192.0.2.1", &a, &family), 0);
	assert_memory_equal(&a, v4, 16);
	assert_int_equal(family, 4);
	assert_int_equal(addr_family(&a), 4);
	assert_string_equal(addr_text(&a, buf), "192.0.2.1");
	assert_int_equal(addr_parse("2001:DB8:0::0:1", &a, &family), 0);
	assert_memory_equal(&a, v6, 16);
	assert_int_equal(family, 6);
	assert_int_equal(addr_family(&a), 6);
	assert_string_equal(addr_text(&a, buf), "2001:db8::1");
	assert_int_equal(addr_parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &a, NULL), 0);
	assert_string_equal(addr_text(&a, buf), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	a = addr_v4(htonl(0x0a000001));
	assert_string_equal(addr_text(&a, buf), "10.0.0.1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&a, 0x5a, sizeof(a));
		assert_int_equal(addr_parse(bad[i], &a, &family), -EINVAL);
		assert_int_equal(a.a8[0], 0x5a);
	}
}

static struct prefix must(const char *s)
{
	struct prefix p;

	assert_int_equal(prefix_parse(s, 0, false, &p), 0);
	return p;
}

static void prefix_parse_test(void **state)
{
	static const char *const bad[] = {
		"10.0.0.0/33",	"10.0.0.0/",   "10.0.0.0/08", "10.0.0.0/+8",
		"10.0.0.0/8/8", "/8",	       "::/129",      "default",
		"10.0.0.0/-1",	"10.0.0.0/ 8", "10/8",	      "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/64"};
	char buf[PREFIX_TEXT];
	struct prefix p;

	p = must("10.1.2.3/8");
	assert_string_equal(prefix_text(&p, buf), "10.1.2.3/8");
	assert_int_equal(p.family, 4);
	assert_int_equal(p.len, 8);
	assert_int_equal(prefix_mapped_len(&p), 104);
	p = must("fd00::1");
	assert_string_equal(prefix_text(&p, buf), "fd00::1/128");
	assert_int_equal(prefix_mapped_len(&p), 128);
	assert_int_equal(prefix_parse("10.0.0.0/8", 4, true, &p), 0);
	assert_int_equal(prefix_parse("10.0.0.0/8", 6, true, &p), -EINVAL);
	assert_int_equal(prefix_parse("10.0.0.1/31", 0, true, &p), -EINVAL);
	assert_int_equal(prefix_parse("fd00::/7", 0, true, &p), -EINVAL);
	assert_int_equal(prefix_parse("fc00::/7", 0, true, &p), 0);
	assert_int_equal(prefix_parse("default", 4, true, &p), 0);
	assert_string_equal(prefix_text(&p, buf), "0.0.0.0/0");
	assert_int_equal(prefix_parse("default", 6, true, &p), 0);
	assert_string_equal(prefix_text(&p, buf), "::/0");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(prefix_parse(bad[i], 0, false, &p), -EINVAL);
}

static void prefix_relations_test(void **state)
{
	struct prefix p, q, none = {0};
	char buf[PREFIX_TEXT];

	p = must("10.0.10.0/23");
	q = must("10.0.11.255");
	assert_true(prefix_contains(&p, &q.addr));
	q = must("10.0.12.0");
	assert_false(prefix_contains(&p, &q.addr));
	assert_false(prefix_contains(&none, &q.addr));
	/* ::/0 holds every IPv6 address, and no IPv4 one, although that is mapped into it. */
	p = must("::/0");
	assert_false(prefix_contains(&p, &q.addr));
	assert_false(prefix_overlaps(&p, &q));
	q = must("2001:db8::1");
	assert_true(prefix_contains(&p, &q.addr));
	p = must("10.0.0.0/8");
	q = must("10.9.0.0/16");
	assert_true(prefix_overlaps(&p, &q) && prefix_overlaps(&q, &p));
	q = must("11.0.0.0/16");
	assert_false(prefix_overlaps(&p, &q) || prefix_overlaps(&q, &p));
	assert_false(prefix_overlaps(&none, &none));
	p = must("255.255.255.255/13");
	p = prefix_masked(&p);
	assert_string_equal(prefix_text(&p, buf), "255.248.0.0/13");
	p = must("ffff::ffff/127");
	p = prefix_masked(&p);
	assert_string_equal(prefix_text(&p, buf), "ffff::fffe/127");
	p = must("1.2.3.4/0");
	p = prefix_masked(&p);
	assert_string_equal(prefix_text(&p, buf), "0.0.0.0/0");
	assert_int_equal(addr_family(&p.addr), 4);
}

static void mac_test(void **state)
{
	static const char *const bad[] = {"",
					  "02:00:00:00:00",
					  "02:00:00:00:00:0",
					  "02:00:00:00:00:001",
					  "02-00-00-00-00-01",
					  "0g:00:00:00:00:01",
					  "02:00:00:00:00:01 ",
					  "020000000001"};
	static const uint8_t want[6] = {0x02, 0xab, 0xCD, 0, 0, 0xff};
	char buf[MAC_TEXT];
	uint8_t mac[6];

	assert_int_equal(mac_parse("02:aB:cd:00:00:FF", mac), 0);
	assert_memory_equal(mac, want, 6);
	assert_string_equal(mac_text(mac, buf), "02:ab:cd:00:00:ff");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mac_parse(bad[i], mac), -EINVAL);
}

static void number_test(void **state)
{
	static const char *const bad[] = {"",	"-1",  "+1",  " 1",	    "1 ",
					  "01", "0x1", "1e3", "4294967296", "99999999999999999999999"};
	uint32_t v = 7;
	uint8_t family;

	assert_int_equal(u32_parse("0", 0, 0, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(u32_parse("4294967295", 0, UINT32_MAX, &v), 0);
	assert_int_equal(v, UINT32_MAX);
	assert_int_equal(u32_parse("9", 10, 20, &v), -EINVAL);
	assert_int_equal(u32_parse("21", 10, 20, &v), -EINVAL);
	assert_int_equal(u32_parse("20", 10, 20, &v), 0);
	assert_int_equal(family_parse("4", &family), 0);
	assert_int_equal(family, 4);
	assert_int_equal(family_parse("6", &family), 0);
	assert_int_equal(family, 6);
	assert_int_equal(family_parse("5", &family), -EINVAL);
	assert_int_equal(family_parse("", &family), -EINVAL);
	assert_int_equal(family_parse("46", &family), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(u32_parse(bad[i], 0, UINT32_MAX, &v), -EINVAL);
	assert_int_equal(v, 20);
}

static void seconds_test(void **state)
{
	static const char *const bad[] = {"", "s", "5x", "5 s", "5ms", "-5s", "1h30m", "4294967295m", "4294967296"};
	static const struct {
		const char *text;
		uint32_t want;
	} good[] = {{"0", 0}, {"300", 300}, {"300s", 300}, {"5m", 300}, {"2h", 7200}, {"4294967295", UINT32_MAX}};
	uint32_t v;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(seconds_parse(good[i].text, &v), 0);
		assert_int_equal(v, good[i].want);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(seconds_parse(bad[i], &v), -EINVAL);
}

static void err_test(void **state)
{
	struct where where = {where_file("a.yaml"), 14};
	struct errs errs = {0};
	char *text;

	assert_ptr_equal(where_file("a.yaml"), where.file);
	assert_int_equal(errs_add(&errs, where, "ports.eth0", "VLAN %d", 5), -EINVAL);
	assert_int_equal(errs_fail(&errs, ENOENT, "no %s", "such"), -ENOENT);
	assert_int_equal(errs_fail(&errs, -ENOENT, "signs do not matter"), -ENOENT);
	assert_int_equal(errs_add(NULL, where, NULL, "nobody listens"), -EINVAL);
	assert_int_equal(errs.n, 3);
	text = err_text(&errs.v[0]);
	assert_string_equal(text, "a.yaml:14: ports.eth0: VLAN 5");
	free(text);
	text = err_text(&errs.v[1]);
	assert_string_equal(text, "no such");
	free(text);
	errs_free(&errs);
	errs_add(&errs, (struct where){where.file, 0}, NULL, "whole file");
	text = err_text(&errs.v[0]);
	assert_string_equal(text, "a.yaml: whole file");
	free(text);
	for (int i = 0; i < 1000; i++)
		errs_add(&errs, where, NULL, "again");
	assert_int_equal(errs.n, 201);
	assert_string_equal(errs.v[200].text, "more errors follow; these are the first");
	errs_free(&errs);
	assert_int_equal(errs.n, 0);
	errs_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addr_test), cmocka_unit_test(prefix_parse_test), cmocka_unit_test(prefix_relations_test),
		cmocka_unit_test(mac_test),  cmocka_unit_test(number_test),	  cmocka_unit_test(seconds_test),
		cmocka_unit_test(err_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
