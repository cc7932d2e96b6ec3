/* vrf_test.c: ids of VRFs over changes, restarts and versions, and when an id that was freed is given away again. The map is
 * memory of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../user/vrf.c"

static struct vrf slots[VRF_MAX];
static struct frag_key fragments[2];
static size_t n_fragments;
static bool fib_empty;
static unsigned rules_asked; /* how often they were to be read again: their tables may be VRF default's now */
static struct sw sw;

struct table {
	int which;
};

struct table *table_get(struct datapath *dp, const char *map)
{
	static struct table vrf_table, frag_table;

	return !strcmp(map, "vrfs") ? &vrf_table : !strcmp(map, "frag_datagrams") ? &frag_table : NULL;
}

void *table_map(struct table *t)
{
	return slots;
}

int table_each_some(struct table *t, void **cursor, size_t max, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	struct frag_key copy[2];

	memcpy(copy, fragments, sizeof(copy));
	*cursor = NULL;
	for (size_t i = 0, n = n_fragments; i < n; i++)
		fn(&copy[i], NULL, arg);
	return 0;
}

int table_delete(struct table *t, const void *key)
{
	for (size_t i = 0; i < n_fragments; i++)
		if (!memcmp(&fragments[i], key, sizeof(fragments[i])))
			fragments[i] = fragments[--n_fragments];
	return 0;
}

bool route_vrf_empty(const struct sw *s, uint16_t vrf)
{
	return fib_empty;
}

json_t *route_vrf_show(const struct sw *s, uint16_t vrf)
{
	return json_object();
}

void rules_other_changed(struct sw *s)
{
	rules_asked++;
}

/* ---- */

/* The VRFs of a text: "red blue". */
static int become(const char *names, struct errs *errs)
{
	struct model *m = model_new();
	char copy[4096], *save, *name;
	int r;

	snprintf(copy, sizeof(copy), "%s", names);
	for (name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		m->vrfs = realloc(m->vrfs, (m->n_vrfs + 1) * sizeof(*m->vrfs));
		m->vrfs[m->n_vrfs] = (struct vrf_cfg){.tables = {1000 + name[0], 2000 + name[0]}, .n_tables = 2};
		snprintf(m->vrfs[m->n_vrfs++].name, sizeof(m->vrfs->name), "%s", name);
	}
	model_free(sw.model);
	sw.model = m;
	rules_asked = 0;
	r = vrf_reconcile(&sw, errs);
	assert_int_equal(rules_asked, !r);
	return r;
}

static void pass(void)
{
	void *cursor = NULL;

	vrf_pass_begin(&sw);
	vrf_pass_fragments(&sw, &cursor, 100);
	vrf_pass_end(&sw);
}

static int setup(void **arg)
{
	memset(slots, 0, sizeof(slots));
	n_fragments = 0;
	fib_empty = true;
	sw = (struct sw){0};
	return vrf_open(&sw, NULL);
}

static int teardown(void **arg)
{
	vrf_close(&sw);
	model_free(sw.model);
	return 0;
}

static void ids_stay_with_names(void **arg)
{
	assert_int_equal(become("red blue green", NULL), 0);
	assert_int_equal(vrf_id(&sw, "red"), 1);
	assert_int_equal(vrf_id(&sw, "green"), 3);
	assert_int_equal(become("green yellow blue", NULL), 0);
	assert_int_equal(vrf_id(&sw, "green"), 3);
	assert_int_equal(vrf_id(&sw, "blue"), 2);
	assert_int_equal(vrf_id(&sw, "yellow"), 4); /* red's drains */
	assert_int_equal(vrf_id(&sw, "red"), 0);
	assert_int_equal(vrf_id(&sw, "default"), 0);
	assert_string_equal(vrf_name(&sw, 1), "red");
	assert_false(vrf_alive(&sw, 1));
	assert_true(vrf_alive(&sw, 0));
	vrf_close(&sw);
	assert_int_equal(vrf_open(&sw, NULL), 0); /* a restart with another list */
	assert_int_equal(become("blue red green", NULL), 0);
	assert_int_equal(vrf_id(&sw, "red"), 1);
	assert_int_equal(vrf_id(&sw, "green"), 3);
}

/* A pass that was under way when the VRF went does not count, one after which the FIB still has something neither. */
static void freed_ids_are_given_away_when_empty(void **arg)
{
	become("red blue", NULL);
	fragments[n_fragments++] = (struct frag_key){.vrf = 1};
	fragments[n_fragments++] = (struct frag_key){.vrf = 2};
	vrf_pass_begin(&sw);
	become("blue", NULL);
	vrf_pass_end(&sw);
	assert_true(vrf_draining(&sw));
	fib_empty = false;
	pass();
	assert_int_equal(n_fragments, 1);
	assert_int_equal(fragments[0].vrf, 2);
	assert_true(vrf_draining(&sw));
	become("blue early", NULL);
	assert_int_equal(vrf_id(&sw, "early"), 3);
	fib_empty = true;
	pass();
	assert_false(vrf_draining(&sw));
	assert_null(vrf_name(&sw, 1));
	become("blue early late", NULL);
	assert_int_equal(vrf_id(&sw, "late"), 1);
}

/* It came back before the pass ended. */
static void a_name_that_returns_has_its_id(void **arg)
{
	become("red blue", NULL);
	become("blue", NULL);
	vrf_pass_begin(&sw);
	become("blue red", NULL);
	vrf_pass_end(&sw);
	assert_int_equal(vrf_id(&sw, "red"), 1);
	assert_true(vrf_alive(&sw, 1));
}

static void no_id_is_left(void **arg)
{
	struct errs errs = {0};
	char names[4096] = "";

	for (int i = 1; i < VRF_MAX; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "v%d ", i);
	assert_int_equal(become(names, NULL), 0);
	assert_int_equal(become("new", &errs), -EBUSY);
	assert_non_null(strstr(errs.v[0].text, "no id is left for `new`"));
	errs_free(&errs);
	assert_int_equal(become(names, NULL), 0); /* as the roll-back does */
	assert_int_equal(vrf_id(&sw, "v255"), 255);
	assert_false(vrf_draining(&sw));
	become("", NULL);
	pass();
	assert_int_equal(become("new", NULL), 0);
	assert_int_equal(vrf_id(&sw, "new"), 1);
}

/* A version before this one gave ids by the order in its list, which is what the other tables hold. */
static void ids_of_a_former_version(void **arg)
{
	struct model *former;

	become("red blue", NULL);
	former = model_copy(sw.model);
	memset(slots, 0, sizeof(slots));
	vrf_adopt(&sw, former);
	become("blue", NULL);
	assert_int_equal(vrf_id(&sw, "blue"), 2);
	assert_true(vrf_draining(&sw));
	vrf_adopt(&sw, former); /* ids that are known are left */
	assert_false(vrf_alive(&sw, 1));
	model_free(former);
}

static void tables_in_order(void **arg)
{
	uint16_t vrf;
	uint8_t rank;

	become("red blue", NULL);
	assert_true(vrf_of_table(&sw, 2000 + 'b', &vrf, &rank));
	assert_int_equal(vrf, 2);
	assert_int_equal(rank, 1);
	assert_true(vrf_of_table(&sw, 254, &vrf, &rank));
	assert_int_equal(vrf, 0);
	assert_int_equal(rank, 0);
	assert_false(vrf_of_table(&sw, 1000 + 'x', &vrf, &rank));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(ids_stay_with_names),
		TEST(freed_ids_are_given_away_when_empty),
		TEST(a_name_that_returns_has_its_id),
		TEST(no_id_is_left),
		TEST(ids_of_a_former_version),
		TEST(tables_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
