/* flow_file_test.c: records become lines and come back the same; what is no record is refused, with the line and the member. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "flow_file.h"
#include "text.h"

static const struct where here = {"f", 7};

static struct flow_record sample(enum flow_record_kind kind)
{
	struct flow_record r = {.kind = kind};
	uint8_t family;

	if (kind == RECORD_HEADER) {
		r.version = FLOW_FILE_VERSION;
		r.saved_s = 1795284181;
		return r;
	}
	if (kind == RECORD_END) {
		r.mappings = 1;
		r.flows = 3;
		r.check = 0x0123456789abcdef;
		return r;
	}
	r.proto = 17;
	addr_parse("203.0.113.4", &r.to_src, &family);
	r.to_sport = 65535;
	strcpy(r.to_vrf, "default");
	if (kind != RECORD_MAPPING)
		addr_parse("192.0.2.9", &r.dst, &family);
	if (kind == RECORD_PEER)
		return r;
	addr_parse("10.0.10.11", &r.src, &family);
	r.sport = 4000;
	r.remote = UINT32_MAX;
	strcpy(r.vrf, "default");
	strcpy(r.rule, "a \"rule\" with \\ and \xc3\xa4");
	strcpy(r.pool, "pool:out");
	strcpy(r.out, "wan");
	if (kind == RECORD_MAPPING) {
		r.filtering = NAT_FILTER_ADDRESS;
		return r;
	}
	r.to_dst = r.dst;
	r.dport = r.to_dport = 80;
	r.flags = FLOW_F_SNAT | FLOW_F_VRF | FLOW_F_KEEP;
	r.shared = true;
	strcpy(r.in, "vlan10");
	r.seen = 0x25;
	r.reply_seen = 0x3f;
	r.age_ms = 7440000;
	r.packets = INT64_MAX;
	r.reply_bytes = 1;
	return r;
}

static void every_kind_comes_back_as_it_was(void **state)
{
	for (int kind = 0; kind < RECORD_KINDS; kind++) {
		struct flow_record r = sample(kind), back;
		struct errs errs = {0};
		char line[FLOW_FILE_LINE];
		size_t len = flow_file_print(&r, line);

		assert_int_not_equal(len, 0);
		assert_int_equal(line[len - 1], '\n');
		assert_int_equal(strchr(line, '\n') - line, (ptrdiff_t)len - 1);
		assert_int_equal(flow_file_parse(line, len - 1, here, &back, &errs), 0);
		assert_memory_equal(&r, &back, sizeof(r));
	}
}

/* A replacement in the line of a record, and what is said about it. */
static const struct {
	enum flow_record_kind kind;
	const char *from, *to, *why;
} bad[] = {
	{RECORD_FLOW, "\"proto\":17", "\"proto\":256", "f:7: flow.proto: is no number in 0..255"},
	{RECORD_FLOW, "\"proto\":17", "\"proto\":-1", "f:7: flow.proto: is no number in 0..255"},
	{RECORD_FLOW, "\"proto\":17", "\"proto\":\"udp\"", "f:7: flow.proto: is no number in 0..255"},
	{RECORD_FLOW, "\"proto\":17,", "", "f:7: flow.proto: is missing"},
	{RECORD_FLOW, "\"sport\":4000", "\"sport\":65536", "f:7: flow.sport: is no number in 0..65535"},
	{RECORD_FLOW, "10.0.10.11", "10.0.10.256", "f:7: flow.src: is no address"},
	{RECORD_FLOW, "10.0.10.11", "2001:db8::1", "f:7: flow: has addresses of two families"},
	{RECORD_FLOW, "\"snat\",", "\"nat\",", "f:7: flow.flags: has another word than snat, dnat, track, vrf, keep"},
	{RECORD_FLOW, "[\"snat\",\"vrf\",\"keep\"]", "[]", "f:7: flow.flags: none of snat, dnat, track"},
	{RECORD_FLOW, "[\"snat\",\"vrf\",\"keep\"]", "[\"track\"]", "f:7: flow.flags: track, and yet it is translated"},
	{RECORD_FLOW, "[\"snat\",\"vrf\",\"keep\"]", "\"snat\"", "f:7: flow.flags: is no list of snat, dnat, track, vrf, keep"},
	{RECORD_FLOW, "\"shared\":true", "\"shared\":1", "f:7: flow.shared: is neither true nor false"},
	{RECORD_FLOW, "\"in\":\"vlan10\"", "\"in\":\"vlan10vlan10vlan\"", "f:7: flow.in: is no name, or too long a one"},
	{RECORD_FLOW, "\"age-ms\":7440000", "\"age-ms\":9223372036855", "f:7: flow.age-ms: is no number in 0..9223372036854"},
	{RECORD_FLOW, "\"seen\":37", "\"seen\":37,\"more\":1", "f:7: flow: has members that nobody knows"},
	{RECORD_MAPPING, "\"filtering\":1", "\"filtering\":3", "f:7: mapping.filtering: is no number in 0..2"},
	{RECORD_MAPPING, "203.0.113.4", "2001:db8::1", "f:7: mapping: has addresses of two families"},
	{RECORD_PEER, "192.0.2.9", "2001:db8::1", "f:7: peer: has addresses of two families"},
	{RECORD_HEADER, "\"version\":2", "\"version\":3", "f:7: header.version: 3: this sluice reads versions 1 to 2"},
	{RECORD_HEADER, "\"version\":2", "\"version\":0", "f:7: header.version: 0: this sluice reads versions 1 to 2"},
	{RECORD_END, "0123456789abcdef", "0123456789ABCDEF", "f:7: end.check: is no hash of 16 digits"},
	{RECORD_END, "{\"end\":{", "{\"fin\":{", "f:7: is none of"},
	{RECORD_END, "{\"end\":{", "{\"flow\":{},\"end\":{", "f:7: is none of"},
	{RECORD_END, "{\"end\":{", "{\"end\":{\"flows\":3,", "f:7: is no JSON: duplicate object key"},
	{RECORD_END, "}}", "}", "f:7: is no JSON"},
};

static void what_is_wrong_is_named(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct flow_record r = sample(bad[i].kind);
		char line[FLOW_FILE_LINE], changed[2 * FLOW_FILE_LINE], *at, *text;
		struct errs errs = {0};

		flow_file_print(&r, line);
		at = strstr(line, bad[i].from);
		assert_non_null(at);
		*at = '\0';
		snprintf(changed, sizeof(changed), "%s%s%s", line, bad[i].to, at + strlen(bad[i].from));
		assert_int_equal(flow_file_parse(changed, strlen(changed) - 1, here, &r, &errs), -EINVAL);
		assert_int_equal(errs.n, 1);
		text = err_text(&errs.v[0]);
		if (strncmp(text, bad[i].why, strlen(bad[i].why)))
			fail_msg("%s: %s, not: %s", bad[i].to, text, bad[i].why);
		free(text);
		errs_free(&errs);
	}
}

/* Version 1 had no flag "keep", and is otherwise the same. */
static void the_version_before_is_read(void **state)
{
	static const char line[] = "{\"header\":{\"version\":1,\"saved\":1}}";
	struct flow_record r;
	struct errs errs = {0};

	assert_int_equal(flow_file_parse(line, strlen(line), here, &r, &errs), 0);
	assert_int_equal(r.version, 1);
}

static void protocols_have_names(void **state)
{
	struct flow_record r = sample(RECORD_FLOW);
	char name[FLOW_FILE_NAME];

	r.proto = 6;
	assert_string_equal(flow_file_name(&r, name), "tcp flow, 10.0.10.11 port 4000 to 192.0.2.9 port 80");
	r.proto = 200;
	assert_string_equal(flow_file_name(&r, name), "protocol 200 flow, 10.0.10.11 port 4000 to 192.0.2.9 port 80");
	r = sample(RECORD_MAPPING);
	assert_string_equal(flow_file_name(&r, name), "udp mapping, 10.0.10.11 port 4000");
}

struct file {
	char line[8][FLOW_FILE_LINE];
	int n;
};

/* Header, mapping, flow, end, with the right hash. */
static struct file whole(void)
{
	static const enum flow_record_kind kinds[] = {RECORD_HEADER, RECORD_MAPPING, RECORD_FLOW};
	struct flow_record end = {.kind = RECORD_END, .mappings = 1, .flows = 1, .check = FLOW_FILE_HASH};
	struct file f = {.n = 0};

	for (int i = 0; i < 3; i++) {
		struct flow_record r = sample(kinds[i]);
		size_t len = flow_file_print(&r, f.line[f.n]);

		end.check = flow_file_hash(end.check, f.line[f.n], len);
		f.line[f.n++][len - 1] = '\0';
	}
	f.line[f.n][flow_file_print(&end, f.line[f.n]) - 1] = '\0';
	f.n++;
	return f;
}

static int check_file(const struct file *f, char why[256])
{
	struct flow_file_check c = {.name = "f"};
	struct errs errs = {0};
	char *text;
	int err = 0;

	why[0] = '\0';
	for (int i = 0; !err && i < f->n; i++)
		err = flow_file_check_line(&c, f->line[i], strlen(f->line[i]), &errs);
	if (!err)
		err = flow_file_check_end(&c, &errs);
	if (err) {
		text = err_text(&errs.v[0]);
		snprintf(why, 256, "%s", text);
		free(text);
	}
	errs_free(&errs);
	return err;
}

static void a_whole_file_is_good(void **state)
{
	struct file f = whole();
	char why[256];

	assert_int_equal(check_file(&f, why), 0);
}

static void a_damaged_file_is_not(void **state)
{
	struct file f = whole();
	char why[256];

	f.n = 3;
	assert_int_equal(check_file(&f, why), -EINVAL);
	assert_string_equal(why, "f:3: is cut off: its end is missing");
	f.n = 0;
	assert_int_equal(check_file(&f, why), -EINVAL);
	assert_string_equal(why, "f: is empty");
	f = whole();
	*strstr(f.line[2], "7440000") = '6';
	assert_int_equal(check_file(&f, why), -EINVAL);
	assert_string_equal(why, "f:4: end.check: the file was changed, or is damaged");
	f = whole();
	memcpy(f.line[f.n++], f.line[2], FLOW_FILE_LINE);
	assert_int_equal(check_file(&f, why), -EINVAL);
	assert_string_equal(why, "f:5: there is something behind the end");
	f = whole();
	memcpy(f.line[1], f.line[2], FLOW_FILE_LINE);
	memcpy(f.line[2], whole().line[1], FLOW_FILE_LINE);
	assert_int_equal(check_file(&f, why), -EINVAL);
	assert_string_equal(why, "f:3: is out of order: header, mappings, peers, flows, end");
	f = whole();
	memcpy(f.line[0], f.line[1], FLOW_FILE_LINE);
	assert_int_equal(check_file(&f, why), -EINVAL);
	assert_string_equal(why, "f:1: is no header: this is no file of `sluice flow save`");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_comes_back_as_it_was),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(the_version_before_is_read),
		cmocka_unit_test(protocols_have_names),
		cmocka_unit_test(a_whole_file_is_good),
		cmocka_unit_test(a_damaged_file_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
