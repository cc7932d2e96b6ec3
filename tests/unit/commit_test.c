/* commit_test.c: commits, roll-backs and confirmation, with nouns that only record: no root and no kernel.
 *
 * The nouns and the datapath of sw.h are defined here, so that the linker takes none of the real ones out of the library. A
 * model is told by its number of VLANs.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "commit.h"
#include "control.h"
#include "cut.h"
#include "file.h"
#include "resize.h"
#include "state.h"

struct step {
	const char *name;
	size_t model;
};

static struct step seen[256];
static size_t n_seen;
static int fail_at;	  /* the n-th step, 1.., refuses; 0: none */
static size_t fail_model; /* with this model only */
static int fail_reload;
static uint64_t flows;

static int record(struct sw *sw, const char *name, struct errs *errs)
{
	size_t model = sw->model->n_vlans;

	assert_true(n_seen < sizeof(seen) / sizeof(seen[0]));
	seen[n_seen++] = (struct step){name, model};
	if (model != fail_model || fail_at <= 0 || --fail_at)
		return 0;
	return errs_fail(errs, ENOSPC, "%s refuses", name);
}

#define NOUN(fn)                                                                                                                 \
	int fn(struct sw *sw, struct errs *errs)                                                                                 \
	{                                                                                                                        \
		return record(sw, #fn, errs);                                                                                    \
	}

NOUN(control_reconcile)
NOUN(vrf_reconcile)
NOUN(iface_netdevs)
NOUN(cut_reconcile)
NOUN(port_reconcile)
NOUN(vlan_reconcile)
NOUN(iface_reconcile)
NOUN(fdb_reconcile)
NOUN(neighbor_reconcile)
NOUN(route_reconcile)
NOUN(vrf_host_reconcile)
NOUN(nat_reconcile)
NOUN(flow_reconcile)
NOUN(resize_reconcile)

/* What is under way gives way to a change of the programs, and smaller tables must hold what there is. */
int resize_yield(struct sw *sw)
{
	return 0;
}

int resize_check(const struct sw *sw, const struct settings_cfg *from, const struct settings_cfg *to, struct errs *errs)
{
	return to->max_flows < flows ? errs_add(errs, to->sizes_where[0], "tables.flows", "too small") : 0;
}

static unsigned epochs;

void sw_epoch(struct sw *sw)
{
	epochs++;
}

uint64_t flow_count(struct sw *sw)
{
	return flows;
}

/* Programs on their way into the kernel. */
struct datapath_programs {
	struct datapath_features f;
	bool loaded;
};

static unsigned programs, exchanged; /* there are now; how often the tables are others when they shall be used */

int datapath_programs_open(struct datapath *dp, const struct datapath_features *f, struct datapath_programs **ret,
			   struct errs *errs)
{
	*ret = calloc(1, sizeof(**ret));
	(*ret)->f = *f;
	programs++;
	return 0;
}

int datapath_programs_load(struct datapath_programs *p, struct errs *errs)
{
	seen[n_seen++] = (struct step){p->f.nat ? "reload nat" : p->f.l3 ? "reload l3" : "reload", 0};
	p->loaded = true;
	return fail_reload ? errs_fail(errs, EINVAL, "the verifier refuses") : 0;
}

int datapath_programs_use(struct datapath *dp, struct datapath_programs *p, struct errs *errs)
{
	assert_true(p->loaded);
	if (exchanged) {
		exchanged--;
		return -EAGAIN;
	}
	return 0;
}

void datapath_programs_free(struct datapath_programs *p)
{
	programs -= p != NULL;
	free(p);
}

static const char *const order[] = {
	"control_reconcile",  "vrf_reconcile",	 "iface_netdevs",  "cut_reconcile",	 "port_reconcile",
	"vlan_reconcile",     "iface_reconcile", "fdb_reconcile",  "neighbor_reconcile", "route_reconcile",
	"vrf_host_reconcile", "nat_reconcile",	 "flow_reconcile", "resize_reconcile",
};

#define STEPS (sizeof(order) / sizeof(order[0]))

struct fixture {
	char run[64];
	char config[128];
	struct sw sw;
	struct state *state;
	struct commit *commit;
	struct errs errs;
};

/* `n` VLANs. */
static struct model *vlans(size_t n)
{
	char text[512] = "vlans: {", *at = text + strlen(text);
	struct errs errs = {0};
	struct model *m;

	for (size_t i = 1; i <= n; i++)
		at += sprintf(at, "%s%zu: {name: v%zu}", i > 1 ? ", " : "", i, i);
	strcpy(at, "}\n");
	m = model_parse(text, strlen(text), "test", &errs);
	assert_non_null(m);
	errs_free(&errs);
	return m;
}

static struct model *routed(void)
{
	static const char text[] =
		"ports: {eth1: {mode: access, vlan: 10}}\n"
		"interfaces: {vlan10: {vlan: 10, addresses: [10.0.10.1/24]}, vlan20: {vlan: 20, addresses: [10.0.20.1/24]}}\n"
		"nat: [{name: lan, type: snat, source: 10.0.10.0/24, out: [vlan20], to: masquerade}]\n";
	struct errs errs = {0};
	struct model *m = model_parse(text, strlen(text), "test", &errs);

	for (size_t i = 0; i < errs.n; i++)
		print_error("%s\n", errs.v[i].text);
	assert_non_null(m);
	return m;
}

static void open_commit(struct fixture *f, struct state_saved *saved, size_t model)
{
	struct datapath_features none = {0};
	struct commit_options how = {.what = "start"};

	f->sw.instance = "unit";
	f->sw.base = event_base_new();
	f->sw.model = saved->running ? saved->running : vlans(model);
	saved->running = NULL;
	assert_int_equal(commit_open(&f->sw, f->state, &none, &f->commit, &f->errs), 0);
	assert_int_equal(commit_start(f->commit, saved, NULL, &how, &f->errs), 0);
	state_saved_free(saved);
	n_seen = 0;
}

static void close_commit(struct fixture *f)
{
	commit_close(f->commit);
	model_free(f->sw.model);
	event_base_free(f->sw.base);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct state_saved saved = {0};

	n_seen = 0;
	fail_at = fail_reload = 0;
	flows = 0;
	strcpy(f->run, "/tmp/sluice-test-XXXXXX");
	if (!mkdtemp(f->run))
		return -1;
	snprintf(f->config, sizeof(f->config), "%s/sluice.yaml", f->run);
	assert_int_equal(state_open(f->run, "t", f->config, &f->state, &f->errs), 0);
	open_commit(f, &saved, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[256];

	close_commit(f);
	state_remove(f->state, &f->errs);
	state_close(f->state);
	errs_free(&f->errs);
	for (const char *const *n = (const char *const[]){"sluice.yaml", "sluice.yaml.bak", "", NULL}; *n; n++) {
		snprintf(path, sizeof(path), "%s/%s", f->run, *n);
		remove(path);
	}
	free(f);
	return 0;
}

static int apply(struct fixture *f, struct model *m, uint32_t confirm_s)
{
	struct commit_options o = {.what = "test", .confirm_s = confirm_s, .force = true};

	return commit_apply(f->commit, m, &o, NULL, &f->errs);
}

static size_t saved_vlans(struct fixture *f)
{
	struct state_saved saved;
	size_t n;

	assert_int_equal(state_load(f->state, &saved, &f->errs), 0);
	assert_non_null(saved.running);
	n = saved.running->n_vlans;
	state_saved_free(&saved);
	return n;
}

static void assert_steps(size_t from, size_t n, size_t model)
{
	assert_true(from + n <= n_seen);
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(seen[from + i].name, order[i]);
		assert_int_equal(seen[from + i].model, model);
	}
}

static void test_order(void **state)
{
	struct fixture *f = *state;
	unsigned before = epochs;

	assert_int_equal(apply(f, vlans(2), 0), 0);
	assert_int_equal(n_seen, STEPS);
	assert_steps(0, STEPS, 2);
	assert_int_equal(f->sw.model->n_vlans, 2);
	assert_int_equal(saved_vlans(f), 2);
	assert_true(epochs > before);
}

static void test_failing_step_rolls_back(void **state)
{
	struct fixture *f = *state;
	struct model *old = f->sw.model;

	for (size_t k = 1; k <= STEPS; k++) {
		char words[64];

		n_seen = 0;
		fail_at = (int)k;
		fail_model = 2;
		errs_free(&f->errs);
		assert_int_equal(apply(f, vlans(2), 0), -ECANCELED);
		assert_ptr_equal(f->sw.model, old);
		assert_int_equal(n_seen, k + STEPS);
		assert_steps(0, k, 2);
		assert_steps(k, STEPS, 1);
		assert_int_equal(f->errs.n, 1);
		snprintf(words, sizeof(words), "%s refuses", order[k - 1]);
		assert_string_equal(f->errs.v[0].text, words);
		assert_int_equal(saved_vlans(f), 1);
	}
	errs_free(&f->errs);
	assert_int_equal(commit_rollback(f->commit, 1, NULL, &f->errs), -ENOENT); /* a failed one is no history */
}

static void test_features_before_and_after(void **state)
{
	struct fixture *f = *state;
	size_t last;

	assert_int_equal(apply(f, routed(), 0), 0);
	assert_string_equal(seen[0].name, "reload nat"); /* before any table is written */
	assert_steps(1, STEPS, f->sw.model->n_vlans);
	n_seen = 0;
	flows = 3;
	assert_int_equal(apply(f, vlans(2), 0), 0);
	assert_steps(0, STEPS, 2); /* after it, and not without NAT while flows are left */
	last = n_seen - 1;
	assert_int_equal(last, STEPS);
	assert_string_equal(seen[last].name, "reload nat");
	n_seen = 0;
	flows = 0;
	assert_int_equal(apply(f, vlans(3), 0), 0);
	assert_string_equal(seen[n_seen - 1].name, "reload");
}

static void test_refused_programs_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct model *old = f->sw.model;

	fail_reload = 1;
	assert_int_equal(apply(f, routed(), 0), -ECANCELED);
	assert_ptr_equal(f->sw.model, old);
	assert_int_equal(n_seen, 1);
	assert_string_equal(f->errs.v[0].text, "the verifier refuses");
}

/* While they were being verified a change of the tables' size ended: those programs know the former tables. */
static void test_programs_for_former_tables_are_loaded_anew(void **state)
{
	struct fixture *f = *state;

	exchanged = 2;
	assert_int_equal(apply(f, routed(), 0), 0);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(seen[i].name, "reload nat");
	assert_steps(3, STEPS, f->sw.model->n_vlans);
	assert_int_equal(programs, 0);
}

static void test_dry_run(void **state)
{
	struct fixture *f = *state;
	struct commit_options o = {.what = "test", .dry_run = true};
	json_t *diff = NULL;

	assert_int_equal(commit_apply(f->commit, vlans(3), &o, &diff, &f->errs), 0);
	assert_int_equal(json_array_size(diff), 2);
	json_decref(diff);
	assert_int_equal(n_seen, 0);
	assert_int_equal(f->sw.model->n_vlans, 1);
}

static void test_table_sizes_are_fixed(void **state)
{
	struct fixture *f = *state;
	struct model *m = vlans(2);

	m->settings.max_routes4 *= 2;
	assert_int_equal(apply(f, m, 0), -EINVAL);
	assert_int_equal(n_seen, 0);
	assert_string_equal(f->errs.v[0].key, "tables.routes4");
}

static void test_flow_tables_change_unless_flows_do_not_fit(void **state)
{
	struct fixture *f = *state;
	struct model *m = vlans(2);

	m->settings.max_flows = 64;
	flows = 65;
	assert_int_equal(apply(f, m, 0), -EINVAL);
	assert_string_equal(f->errs.v[0].key, "tables.flows");
	assert_int_equal(n_seen, 0);
	errs_free(&f->errs);
	flows = 64;
	m = vlans(2);
	m->settings.max_flows = 64;
	assert_int_equal(apply(f, m, 0), 0);
	assert_int_equal(f->sw.model->settings.max_flows, 64);
}

/* The line is the one where the size stands; where none stands, the file alone is to blame. */
static void test_table_sizes_name_their_place(void **state)
{
	static const char given[] = "vlans: {1: {}}\ntables:\n  fdb: 32\n  routes4: 64\n";
	struct fixture *f = *state;

	assert_int_equal(apply(f, model_parse(given, strlen(given), "given.yaml", &f->errs), 0), -EINVAL);
	assert_int_equal(f->errs.n, 2);
	assert_string_equal(f->errs.v[0].key, "tables.fdb");
	assert_non_null(strstr(f->errs.v[0].text, "stop sluiced, run `sluiced --destroy -i unit`"));
	assert_string_equal(f->errs.v[0].where.file, "given.yaml");
	assert_int_equal(f->errs.v[0].where.line, 3);
	assert_int_equal(f->errs.v[1].where.line, 4);
	errs_free(&f->errs);
	f->sw.model->settings.max_fdb *= 2;
	assert_int_equal(apply(f, vlans(2), 0), -EINVAL);
	assert_string_equal(f->errs.v[0].where.file, "test");
	assert_int_equal(f->errs.v[0].where.line, 0);
}

/* The default is no number. */
static void test_half_of_the_flows_is_said_in_words(void **state)
{
	struct fixture *f = *state;
	struct model *m = vlans(2);

	m->settings.max_half = 4096;
	assert_int_equal(apply(f, m, 0), -EINVAL);
	assert_string_equal(f->errs.v[0].text,
			    "is half of `flows` while sluiced runs; to make it 4096, write it into the configuration "
			    "file and restart sluiced");
}

/* An empty file is a good configuration, and seldom what was meant for a switch that has ports. */
static void test_all_ports_go_only_by_force(void **state)
{
	struct commit_options o = {.what = "test"};
	struct fixture *f = *state;

	assert_int_equal(commit_apply(f->commit, vlans(2), &o, NULL, &f->errs), 0); /* there were none */
	assert_int_equal(apply(f, routed(), 0), 0);
	n_seen = 0;
	assert_int_equal(commit_apply(f->commit, vlans(2), &o, NULL, &f->errs), -EINVAL);
	assert_int_equal(n_seen, 0);
	assert_string_equal(f->errs.v[0].where.file, "test");
	assert_non_null(strstr(f->errs.v[0].text, "--yes"));
	o.dry_run = true;
	assert_int_equal(commit_apply(f->commit, vlans(2), &o, NULL, &f->errs), 0);
	o = (struct commit_options){.what = "test", .force = true};
	assert_int_equal(commit_apply(f->commit, vlans(2), &o, NULL, &f->errs), 0);
	assert_int_equal(f->sw.model->n_ports, 0);
	/* To go back to where one was is no accident. */
	assert_int_equal(apply(f, routed(), 0), 0);
	assert_int_equal(commit_rollback(f->commit, 1, NULL, &f->errs), 0);
	assert_int_equal(f->sw.model->n_ports, 0);
}

static void test_who_made_the_change_is_told_whole(void **state)
{
	struct commit_options o = {.what = "/srv/configurations/of/the/switches/gateway-1.yaml"};
	struct fixture *f = *state;
	json_t *told;

	assert_int_equal(commit_apply(f->commit, vlans(2), &o, NULL, &f->errs), 0);
	told = commit_show(f->commit);
	assert_string_equal(json_string_value(json_object_get(json_object_get(told, "last_change"), "by")), o.what);
	json_decref(told);
}

static void test_unconfirmed_goes_back(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(apply(f, vlans(2), 1), 0);
	assert_int_equal(f->sw.model->n_vlans, 2);
	assert_int_equal(apply(f, vlans(3), 0), -EBUSY); /* one at a time */
	assert_int_equal(commit_save(f->commit, &f->errs), -EBUSY);
	n_seen = 0;
	event_base_dispatch(f->sw.base); /* ends when the timer has fired */
	assert_int_equal(n_seen, STEPS);
	assert_steps(0, STEPS, 1);
	assert_int_equal(f->sw.model->n_vlans, 1);
	assert_int_equal(saved_vlans(f), 1);
	assert_int_equal(commit_confirm(f->commit, &f->errs), -ENOENT);
	assert_int_equal(commit_rollback(f->commit, 1, NULL, &f->errs), 0); /* what was tried can be had again */
	assert_int_equal(f->sw.model->n_vlans, 2);
}

/* A noun that refuses the old model must not keep the unconfirmed one in force. */
static void test_unconfirmed_goes_back_whatever_refuses(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(apply(f, vlans(2), 1), 0);
	n_seen = 0;
	fail_at = 3;
	fail_model = 1;
	event_base_dispatch(f->sw.base);
	assert_steps(0, STEPS, 1);
	assert_int_equal(f->sw.model->n_vlans, 1);
}

static void test_confirmed_stays(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(apply(f, vlans(2), 1), 0);
	assert_int_equal(commit_confirm(f->commit, &f->errs), 0);
	event_base_dispatch(f->sw.base); /* no timer is left */
	assert_int_equal(f->sw.model->n_vlans, 2);
	assert_int_equal(saved_vlans(f), 2);
}

static void test_confirm_of_failed_change_is_not_left(void **state)
{
	struct fixture *f = *state;

	fail_at = 2;
	fail_model = 2;
	assert_int_equal(apply(f, vlans(2), 60), -ECANCELED);
	assert_int_equal(commit_confirm(f->commit, &f->errs), -ENOENT);
	assert_int_equal(apply(f, vlans(3), 0), 0);
}

/* sluiced dies while a change waits: the next one knows, waits on, and goes back. */
static void test_unconfirmed_goes_back_after_restart(void **state)
{
	struct fixture *f = *state;
	struct state_saved saved;

	assert_int_equal(apply(f, vlans(2), 2), 0);
	close_commit(f);
	assert_int_equal(state_load(f->state, &saved, &f->errs), 0);
	assert_non_null(saved.pending);
	assert_int_equal(saved.pending->n_vlans, 1);
	assert_true(saved.deadline_s > 0 && saved.deadline_s <= state_now_s() + 2);
	open_commit(f, &saved, 0);
	assert_int_equal(f->sw.model->n_vlans, 2);
	event_base_dispatch(f->sw.base);
	assert_int_equal(f->sw.model->n_vlans, 1);
	assert_int_equal(saved_vlans(f), 1);
}

static void test_rollback_steps(void **state)
{
	struct fixture *f = *state;
	struct state_saved saved;

	for (size_t n = 2; n <= 14; n++)
		assert_int_equal(apply(f, vlans(n), 0), 0);
	assert_int_equal(commit_rollback(f->commit, 11, NULL, &f->errs), -ENOENT);
	assert_int_equal(commit_rollback(f->commit, 10, NULL, &f->errs), 0);
	assert_int_equal(f->sw.model->n_vlans, 4);
	assert_int_equal(commit_rollback(f->commit, 1, NULL, &f->errs), 0); /* a roll-back is a change like others */
	assert_int_equal(f->sw.model->n_vlans, 14);
	assert_int_equal(state_load(f->state, &saved, &f->errs), 0); /* and survives */
	assert_int_equal(saved.history[0]->n_vlans, 4);
	assert_int_equal(saved.history[1]->n_vlans, 14);
	assert_non_null(saved.history[9]);
	state_saved_free(&saved);
}

static void test_same_model_is_no_change(void **state)
{
	struct fixture *f = *state;
	json_t *diff = NULL;
	struct commit_options o = {.what = "test", .confirm_s = 60};

	assert_int_equal(commit_apply(f->commit, vlans(1), &o, &diff, &f->errs), 0);
	assert_int_equal(json_array_size(diff), 0);
	json_decref(diff);
	assert_int_equal(n_seen, STEPS); /* reconciled all the same */
	assert_int_equal(commit_confirm(f->commit, &f->errs), -ENOENT);
}

static void test_failed_start_restores_former(void **state)
{
	struct fixture *f = *state;
	struct datapath_features none = {0};
	struct commit_options how = {.what = "start"};
	struct state_saved saved = {0};
	struct model *former = vlans(5);
	struct commit *c;

	assert_int_equal(commit_open(&f->sw, f->state, &none, &c, &f->errs), 0);
	fail_at = 4;
	fail_model = 1;
	assert_int_equal(commit_start(c, &saved, former, &how, &f->errs), -ENOSPC);
	assert_int_equal(n_seen, 4 + STEPS);
	assert_steps(0, 4, 1);
	assert_steps(4, STEPS, 5);
	commit_close(c);
	model_free(former);
}

static void test_save_keeps_a_copy(void **state)
{
	struct fixture *f = *state;
	char bak[160], *text;
	size_t len;

	assert_int_equal(file_write(f->config, "", "# by hand\n", 0600), 0);
	assert_int_equal(apply(f, vlans(2), 0), 0);
	assert_int_equal(commit_save(f->commit, &f->errs), 0);
	snprintf(bak, sizeof(bak), "%s.bak", f->config);
	assert_int_equal(file_read(bak, &text, &len), 0);
	assert_string_equal(text, "# by hand\n");
	free(text);
	assert_int_equal(file_read(f->config, &text, &len), 0);
	assert_non_null(strstr(text, "v2"));
	assert_int_equal(f->state->hash, file_hash(text, len));
	assert_int_equal(file_mode(f->config, 0), 0600);
	free(text);
}

static void test_one_daemon_an_instance(void **state)
{
	struct fixture *f = *state;
	struct state *second = NULL;
	char words[64];

	assert_int_equal(state_open(f->run, "t", f->config, &second, &f->errs), -EBUSY);
	assert_null(second);
	snprintf(words, sizeof(words), "process %d", (int)getpid());
	assert_non_null(strstr(f->errs.v[0].text, words));
	assert_int_equal(state_running_pid(f->run, "t"), getpid());
	assert_int_equal(state_running_pid(f->run, "other"), 0);
	assert_false(state_instance_ok("../t"));
	assert_false(state_instance_ok(""));
	assert_true(state_instance_ok("gw-1.a"));
}

static void left_by_a_kill(struct fixture *f, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", f->state->dir, name);
	assert_int_equal(file_write(path, "", "half", 0600), 0);
}

/* After the end of an instance nothing is left of it, and it can be had anew. */
static void test_removed_instance_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct state *again = NULL;

	assert_int_equal(apply(f, vlans(2), 60), 0);
	/* files that a kill left half written */
	left_by_a_kill(f, "running.yaml.tmp");
	left_by_a_kill(f, STATE_ROUTES ".tmp");
	assert_int_equal(state_remove(f->state, &f->errs), 0);
	assert_int_equal(access(f->state->dir, F_OK), -1);
	assert_int_equal(state_open(f->run, "t", f->config, &again, &f->errs), 0);
	assert_int_equal(state_running_pid(f->run, "t"), getpid());
	state_close(f->state);
	f->state = again;
}

/* A start that was refused before anything was in force takes its directory away; what an earlier one left stays. */
static void test_start_that_came_to_nothing_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct state *s = NULL;
	struct model *m = vlans(1);
	char dir[STATE_DIR_MAX];

	assert_int_equal(state_open(f->run, "u", f->config, &s, &f->errs), 0);
	strcpy(dir, s->dir);
	state_close(s);
	assert_int_equal(access(dir, F_OK), -1);

	assert_int_equal(state_open(f->run, "u", f->config, &s, &f->errs), 0);
	assert_int_equal(state_write(s, m, m, 1, &f->errs), 0);
	state_close(s);
	assert_int_equal(state_open(f->run, "u", f->config, &s, &f->errs), 0);
	state_close(s);
	assert_int_equal(access(dir, F_OK), 0);

	assert_int_equal(state_open(f->run, "u", f->config, &s, &f->errs), 0);
	assert_int_equal(state_remove(s, &f->errs), 0);
	state_close(s);
	model_free(m);
}

/* Saved files that were damaged count as absent, with words; nothing crashes. */
static void test_damaged_state(void **state)
{
	static const char *const damage[] = {"# sluice: config-hash=zz\nports: [", "\xff\xfe", "vlans: {5000: {}}\n"};
	struct fixture *f = *state;
	struct state_saved saved;
	char path[256];

	snprintf(path, sizeof(path), "%s/running.yaml", f->state->dir);
	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		errs_free(&f->errs);
		assert_int_equal(file_write(path, "", damage[i], 0600), 0);
		assert_int_equal(state_load(f->state, &saved, &f->errs), 0);
		assert_null(saved.running);
		assert_true(f->errs.n > 0);
		state_saved_free(&saved);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_failing_step_rolls_back),
		TEST(test_features_before_and_after),
		TEST(test_refused_programs_change_nothing),
		TEST(test_programs_for_former_tables_are_loaded_anew),
		TEST(test_dry_run),
		TEST(test_table_sizes_are_fixed),
		TEST(test_flow_tables_change_unless_flows_do_not_fit),
		TEST(test_half_of_the_flows_is_said_in_words),
		TEST(test_table_sizes_name_their_place),
		TEST(test_all_ports_go_only_by_force),
		TEST(test_who_made_the_change_is_told_whole),
		TEST(test_unconfirmed_goes_back),
		TEST(test_unconfirmed_goes_back_whatever_refuses),
		TEST(test_confirmed_stays),
		TEST(test_confirm_of_failed_change_is_not_left),
		TEST(test_unconfirmed_goes_back_after_restart),
		TEST(test_rollback_steps),
		TEST(test_same_model_is_no_change),
		TEST(test_failed_start_restores_former),
		TEST(test_save_keeps_a_copy),
		TEST(test_one_daemon_an_instance),
		TEST(test_removed_instance_leaves_nothing),
		TEST(test_start_that_came_to_nothing_leaves_nothing),
		TEST(test_damaged_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
