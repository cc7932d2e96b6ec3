/* vrf_host_test.c: the routing rules and switches of the host's part of VRFs, when sluiced is killed between any two steps or the
 * kernel refuses one, and what a turn of the event loop costs with a thousand interfaces. The kernel and the maps are memory of
 * the test's own; a new life finds both as the former one left them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t compared; /* names: in every comparison of two rules, and in every search */

static int counted_strcmp(const char *a, const char *b)
{
	compared++;
	return strcmp(a, b);
}

#undef strcmp
#define strcmp counted_strcmp
#include "../../user/vrf_host.c"
#undef strcmp
#include "model_util.h"

#define KERNEL_RULES 16384
#define FOREIGN	     0x05000000u /* another instance's mark */

static struct {
	struct nl_rule rule[KERNEL_RULES];
	size_t n;
	char on[3]; /* the switches */
} kernel;

static struct vrf slots[VRF_MAX];
static struct control control;
static struct sw sw;
static int steps_left, refuse_left; /* 0: no end */
static size_t requests, dumps;	    /* to the kernel */
static jmp_buf killed;

static void step(void)
{
	if (steps_left && !--steps_left)
		longjmp(killed, 1);
}

/* ---- what vrf_host.c calls */

static bool same(const struct nl_rule *a, const struct nl_rule *b)
{
	size_t before = compared;
	bool is = !rule_order(a, b);

	compared = before; /* that was the kernel's */
	return is;
}

int netlink_rules_each(struct netlink *nl, uint8_t family, int (*fn)(const struct nl_rule_seen *rule, void *arg), void *arg)
{
	int r = 0;

	dumps++;
	for (size_t i = 0; i < kernel.n && !r; i++) {
		const struct nl_rule_seen seen = {.is = kernel.rule[i], .own = true};

		if (seen.is.family == family)
			r = fn(&seen, arg);
	}
	return r;
}

int netlink_rule_add(struct netlink *nl, const struct nl_rule *rule, struct errs *errs)
{
	step();
	requests++;
	if (refuse_left && !--refuse_left)
		return errs_fail(errs, ENOBUFS, "the kernel refuses");
	for (size_t i = 0; i < kernel.n; i++)
		assert_false(same(&kernel.rule[i], rule));
	assert_true(kernel.n < KERNEL_RULES);
	kernel.rule[kernel.n++] = *rule;
	return 0;
}

int netlink_rule_delete(struct netlink *nl, const struct nl_rule *rule, struct errs *errs)
{
	step();
	requests++;
	for (size_t i = 0; i < kernel.n; i++) {
		if (same(&kernel.rule[i], rule)) {
			kernel.rule[i] = kernel.rule[--kernel.n];
			return 0;
		}
	}
	fail_msg("a rule is deleted that is not there");
	return 0;
}

uint16_t vrf_id(const struct sw *s, const char *name)
{
	int number;

	if (sscanf(name, "v%d", &number) == 1)
		return (uint16_t)number;
	return !strcmp(name, "red") ? 1 : !strcmp(name, "blue") ? 2 : 0;
}

uint32_t vrf_mark_get(const struct sw *s, uint16_t id)
{
	return slots[id].mark;
}

void vrf_mark_set(struct sw *s, uint16_t id, uint32_t mark)
{
	step();
	slots[id].mark = mark;
}

static size_t switch_of(const char *fmt, va_list ap)
{
	char path[64];
	size_t i = 0;

	vsnprintf(path, sizeof(path), fmt, ap);
	while (strcmp(switches[i], path))
		assert_true(++i < sizeof(kernel.on));
	return i;
}

char sysctl_get(const char *fmt, ...)
{
	va_list ap;
	size_t i;

	va_start(ap, fmt);
	i = switch_of(fmt, ap);
	va_end(ap);
	return kernel.on[i];
}

bool sysctl_set(const char *value, const char *fmt, ...)
{
	va_list ap;

	step();
	va_start(ap, fmt);
	kernel.on[switch_of(fmt, ap)] = *value;
	step();
	va_end(ap);
	return true;
}

void sysctl_note(bool set, const char *fmt, ...)
{
}

void iface_valid_marks(struct sw *s, bool any)
{
	step();
}

uint16_t iface_id(const struct sw *s, const char *name)
{
	int number;

	if (sscanf(name, "i%d", &number) == 1)
		return (uint16_t)number;
	return !strcmp(name, "r1") ? 1 : !strcmp(name, "b1") ? 2 : 0;
}

int iface_host_ifindex(const struct sw *s, uint16_t id)
{
	return id;
}

const struct link *mirror_link(const struct mirror *m, int ifindex)
{
	static const struct link links[] = {{0}, {.name = "r1"}, {.name = "b1"}};
	static struct link many[IFACE_MAX];

	if (ifindex < 3)
		return ifindex ? &links[ifindex] : NULL;
	snprintf(many[ifindex].name, sizeof(many->name), "i%d", ifindex);
	return &many[ifindex];
}

/* ---- */

#define PORTS "ports: {r1: {mode: routed}, b1: {mode: routed}}\n"
static const char *const both = "vrfs: {red: {table: 101}, blue: {table: [102, 112]}}\n" PORTS
				"interfaces: {r1: {port: r1, vrf: red}, b1: {port: b1, vrf: blue}}\n";
static const char *const other = "vrfs: {blue: {table: 102}}\n" PORTS "interfaces: {r1: {port: r1}, b1: {port: b1, vrf: blue}}\n";
static const char *const none = "vrfs: {red: {}}\n" PORTS "interfaces: {r1: {port: r1, vrf: red}}\n";

static void begin(struct model *m)
{
	sw = (struct sw){.model = m, .control = &control};
	assert_int_equal(vrf_host_open(&sw, NULL), 0);
}

static void end(void)
{
	vrf_host_close(&sw);
	model_free(sw.model);
	sw.model = NULL;
}

/* In as many turns as it takes; none asks the kernel for more than some changes. */
static int reconcile(struct errs *errs)
{
	int r;

	do {
		requests = 0;
		r = vrf_host_reconcile(&sw, errs);
		assert_true(requests <= 2 * REQUESTS);
	} while (r == -EAGAIN);
	return r;
}

/* A life of sluiced with this configuration, killed before the step-th step (0: not). True: it came to its end. */
static bool live(const char *text, int until)
{
	struct errs errs = {0};

	begin(must_parse(text));
	steps_left = until;
	if (setjmp(killed)) {
		steps_left = 0;
		return false; /* what it had allocated went with it */
	}
	assert_int_equal(reconcile(&errs), 0);
	steps_left = 0;
	end();
	return true;
}

static int setup(void **state)
{
	memset(slots, 0, sizeof(slots));
	memset(&control, 0, sizeof(control));
	memset(&kernel, 0, sizeof(kernel));
	memcpy(kernel.on, "010", 3); /* the second one is the administrator's */
	kernel.rule[kernel.n++] = (struct nl_rule){.family = 4, .mark = FOREIGN, .mask = VRF_MARK_MASK, .table = 7};
	return 0;
}

/* Of the mark's rules those that there are. */
static size_t rules_of(uint32_t mark)
{
	size_t n = 0;

	for (size_t i = 0; i < kernel.n; i++)
		n += vrf_rule_mark(&kernel.rule[i]) == mark;
	return n;
}

static void expect_none(void)
{
	assert_int_equal(kernel.n, 1);
	assert_int_equal(kernel.rule[0].mark, FOREIGN);
	assert_memory_equal(kernel.on, "010", 3);
	assert_false(any_noted(&sw));
	assert_int_equal(control.host_switches, 0);
}

/* Each VRF's own tables and unreachable; of IPv6 what is link-local; and the same for the netdev, but for unreachable. */
static void expect_both(void)
{
	assert_int_equal(rules_of(slots[1].mark), 2 + 3 + 1 + 2);
	assert_int_equal(rules_of(slots[2].mark), 3 + 4 + 2 + 3);
	assert_int_equal(kernel.n, 1 + 8 + 12);
	assert_memory_equal(kernel.on, "111", 3);
	assert_true(slots[1].mark != slots[2].mark && slots[1].mark != FOREIGN && slots[2].mark != FOREIGN);
}

static void begin_test(void **state)
{
	assert_true(live(both, 0));
	expect_both();
	assert_true(live(other, 0));
	assert_int_equal(kernel.n, 1 + 8);
	assert_true(live(none, 0));
	expect_none();
}

/* The next life knows every rule and every switch that the one that was killed has made, whatever it shall be itself. */
static void killed_anywhere_test(void **state)
{
	static const char *const *const before[] = {&none, &both, &other};
	bool through = false;
	int at;

	for (size_t b = 0; b < 3; b++) {
		for (size_t to = 0; to < 3; to++) {
			for (at = 1, through = false; !through; at++) {
				assert_true(at < 200);
				setup(NULL);
				live(*before[b], 0);
				through = live(*before[to], at);
				live(both, 0);
				expect_both();
				setup(NULL);
				live(*before[b], 0);
				live(*before[to], at);
				live(none, 0);
				expect_none();
			}
			assert_true(b == to || at > 8);
		}
	}
}

/* A rule that the kernel refuses leaves everything as it was, and another instance may have the mark afterwards. */
static void refused_test(void **state)
{
	struct errs errs = {0};
	struct control was;

	for (int at = 1; at <= 12; at++) {
		setup(NULL);
		live(other, 0);
		was = control;
		begin(must_parse(both));
		refuse_left = at;
		assert_int_equal(reconcile(&errs), -ENOBUFS);
		assert_string_equal(errs.v[0].text, "the kernel refuses");
		assert_int_equal(errs.n, 1);
		assert_int_equal(refuse_left, 0);
		assert_memory_equal(&control, &was, sizeof(was));
		assert_int_equal(kernel.n, 1 + 8);
		errs_free(&errs);
		errs = (struct errs){0};
		assert_int_equal(reconcile(&errs), 0); /* the next try */
		expect_both();
		end();
	}
}

/* The version before had nothing but the marks of VRFs. */
static void former_version_test(void **state)
{
	live(both, 0);
	memset(control.host_marks, 0, sizeof(control.host_marks));
	live(none, 0);
	expect_none();
}

/* A configuration of `n` interfaces, in turn in the VRFs v1 to v`vrfs`. */
static struct model *many(int n, int vrfs)
{
	char *text = NULL;
	struct model *m;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fprintf(f, "vrfs: {");
	for (int i = 1; i <= vrfs; i++)
		fprintf(f, "%sv%d: {table: %d}", i > 1 ? ", " : "", i, 1000 + i);
	fprintf(f, "}\nports: {");
	for (int i = 0; i < n; i++)
		fprintf(f, "%si%d: {mode: routed}", i ? ", " : "", 3 + i);
	fprintf(f, "}\ninterfaces: {");
	for (int i = 0; i < n; i++)
		fprintf(f, "%si%d: {port: i%d, vrf: v%d}", i ? ", " : "", 3 + i, 3 + i, 1 + i % vrfs);
	fprintf(f, "}\n");
	fclose(f);
	m = must_parse(text);
	free(text);
	return m;
}

#define MANY 1000

/* Sorted and merged: n log n of the rules, not n times n; and no request when the kernel has them all. */
static void a_thousand_interfaces_test(void **state)
{
	size_t rules = 250 * (2 + 3) + MANY * (1 + 2), asked = 0, turns = 0;
	struct errs errs = {0};
	int r;

	begin(many(MANY, 250));
	dumps = 0;
	do {
		requests = compared = 0;
		r = vrf_host_reconcile(&sw, &errs);
		assert_true(requests <= REQUESTS);
		assert_true(compared < 20 * rules); /* 13 of each sort, some of each walk; pairwise it would be 2000 * rules */
		asked += requests;
		turns++;
	} while (r == -EAGAIN);
	assert_int_equal(r, 0);
	assert_int_equal(asked, rules);
	assert_int_equal(kernel.n, 1 + rules);
	assert_true(turns >= rules / REQUESTS);
	assert_int_equal(dumps, 2); /* of each family one */

	requests = dumps = 0; /* a link event that changes nothing */
	assert_int_equal(vrf_host_reconcile(&sw, &errs), 0);
	assert_int_equal(requests + dumps, 0);

	kernel.rule[rules / 2] = kernel.rule[--kernel.n]; /* somebody deletes one */
	vrf_host_rules_changed(&sw);
	assert_int_equal(vrf_host_reconcile(&sw, &errs), 0);
	assert_int_equal(requests, 1);
	assert_int_equal(kernel.n, 1 + rules);

	model_free(sw.model);
	sw.model = many(MANY - 1, 250); /* an interface goes */
	requests = 0;
	assert_int_equal(vrf_host_reconcile(&sw, &errs), 0);
	assert_int_equal(requests, 3);
	model_free(sw.model);
	sw.model = must_parse(none);
	assert_int_equal(reconcile(&errs), 0);
	expect_none();
	end();
}

/* What was added in former turns goes again too. */
static void refused_late_test(void **state)
{
	struct errs errs = {0};
	struct control was = control;

	begin(many(MANY, 250));
	refuse_left = 5 * REQUESTS + 7;
	assert_int_equal(reconcile(&errs), -ENOBUFS);
	assert_int_equal(kernel.n, 1);
	assert_memory_equal(&control, &was, sizeof(was));
	errs_free(&errs);
	end();
}

/* Whoever comes and goes, marks of those that are gone are given again. */
static void marks_are_given_again_test(void **state)
{
	static const char *const red =
		"vrfs: {red: {table: 101}}\n" PORTS "interfaces: {r1: {port: r1, vrf: red}, b1: {port: b1}}\n";
	struct errs errs = {0};

	begin(must_parse(none));
	for (int i = 0; i < 2 * MARKS; i++) {
		model_free(sw.model);
		sw.model = must_parse(i % 2 ? other : red);
		assert_int_equal(reconcile(&errs), 0);
	}
	assert_int_equal(kernel.n, 1 + 8);
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(begin_test, setup),
		cmocka_unit_test_setup(killed_anywhere_test, setup),
		cmocka_unit_test_setup(refused_test, setup),
		cmocka_unit_test_setup(former_version_test, setup),
		cmocka_unit_test_setup(a_thousand_interfaces_test, setup),
		cmocka_unit_test_setup(refused_late_test, setup),
		cmocka_unit_test_setup(marks_are_given_again_test, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
