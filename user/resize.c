/* resize.c: the steps from tables of one size to those of another; see resize.h. The order and its reasons are in next.h and
 * bpf/flowtab.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "flow_copy.h"
#include "flow_room.h"
#include "flowtab.h"
#include "job.h"
#include "log.h"
#include "loop.h"
#include "nattab.h"
#include "next.h"
#include "resize.h"

#define PAUSE_US 1000 /* between slices, and between looks whether somebody still goes through the tables */

enum step {
	STEP_NONE,
	STEP_FREE,   /* the tables of the last change are on their way back to the kernel */
	STEP_MAKE,   /* a thread makes maps and loads programs; then nobody else may write flows */
	STEP_ROOM,   /* where they become smaller: who waits for an answer gives way, and the others are copied */
	STEP_WAIT,   /* those are in force; until no CPU is in the former ones */
	STEP_COPY,   /* what the tables hold */
	STEP_LEAVE,  /* the next tables are in force; until no CPU is in programs that use the former */
	STEP_SETTLE, /* what was counted in the former */
};

struct resize {
	struct sw *sw;
	enum step step;
	struct settings_cfg sizes; /* those that are led to, */
	struct settings_cfg was;   /* and those of the tables before */
	struct job *job, *freeing;
	bool unwanted; /* what the thread does; it may stop */
	bool again;    /* afterwards to the sizes that the model says */
	struct event *timer;
	struct next *next, *leftover;
	struct flow_copy *copy, *copied;
	struct flow_room *room;
	uint64_t gave_way; /* how many had when it began; afterwards, how many did for it */
	struct errs errs;  /* of the thread */
	int err;
	char error[256]; /* why the last one did not come to its end; "": it did */
};

static const char doing[] = "tables of another size";

/* ---- sizes */

static bool same_sizes(const struct settings_cfg *a, const struct settings_cfg *b)
{
	return a->max_flows == b->max_flows && a->max_flows6 == b->max_flows6;
}

static bool is_size(const struct sw *sw, const struct settings_cfg *s)
{
	return table_capacity(table_get(sw->dp, "flow_words4")) == flowtab_buckets(2 * s->max_flows) &&
	       table_capacity(table_get(sw->dp, "flow_words6")) == flowtab_buckets(2 * s->max_flows6) &&
	       table_capacity(table_get(sw->dp, "nat_words")) == nattab_buckets(s->max_flows + s->max_flows6);
}

int resize_check(const struct sw *sw, const struct settings_cfg *from, const struct settings_cfg *to, struct errs *errs)
{
	const struct {
		const char *key;
		int family;
		uint32_t was, is;
		struct where where;
	} v[] = {
		{"tables.flows", 4, from->max_flows, to->max_flows, to->sizes_where[0]},
		{"tables.flows6", 6, from->max_flows6, to->max_flows6, to->sizes_where[5]},
	};
	int r = 0;

	for (int i = 0; i < 2; i++) {
		uint64_t pairs = v[i].is < v[i].was ? flow_count_of(sw, v[i].family) : 0;
		uint64_t waiting = pairs > v[i].is ? flow_waiting(sw, v[i].family) : 0;

		if (pairs > v[i].is + waiting)
			r = errs_add(errs, v[i].where, v[i].key,
				     "%u is too small: there are %llu IPv%d flows now (`sluice flow flush all` would end them)",
				     v[i].is, (unsigned long long)(pairs - waiting), v[i].family);
	}
	return r;
}

/* ---- leaving */

static void keep_error(struct resize *r, struct errs *errs)
{
	snprintf(r->error, sizeof(r->error), "%s", errs->n ? errs->v[0].text : "unknown");
	log_errs("the tables keep their size", errs);
}

static void begin_again(struct resize *r)
{
	struct errs errs = {0};

	if (resize_reconcile(r->sw, &errs))
		keep_error(r, &errs);
	errs_free(&errs);
}

static void free_job(void *arg)
{
	struct resize *r = arg;

	next_free(r->leftover);
	flow_copy_free(r->copied);
	r->leftover = NULL;
	r->copied = NULL;
}

static void freed(void *arg)
{
	struct resize *r = arg;

	loop_doing(doing);
	r->freeing = NULL;
	if (r->step != STEP_FREE)
		return;
	r->step = STEP_NONE;
	begin_again(r);
}

/* Maps of some hundred megabytes: in a thread, or, where there is none to be had, here. The former ones are gone: start(). */
static void give_away(struct resize *r)
{
	r->leftover = r->next;
	r->copied = r->copy;
	r->next = NULL;
	r->copy = NULL;
	if ((r->leftover || r->copied) && job_start(r->sw->base, free_job, freed, r, &r->freeing))
		free_job(r);
}

static void leave(struct resize *r)
{
	event_del(r->timer);
	flow_room_end(r->room);
	r->room = NULL;
	flow_copy_end(r->copy);
	r->gave_way = r->sw->control->gave_way - r->gave_way;
	r->step = STEP_NONE;
	give_away(r);
}

/* Back to what was. Not from STEP_LEAVE on, and not while a thread is at work (resize_close() alone waits for it). */
static void give_up(struct resize *r)
{
	struct errs errs = {0};

	job_join(r->job);
	r->job = NULL;
	r->unwanted = false;
	if (r->step > STEP_ROOM && next_back(r->next, &errs))
		log_errs("programs", &errs);
	errs_free(&errs);
	errs_free(&r->errs);
	r->errs = (struct errs){0};
	leave(r);
}

/* The thread has ended whose work nobody wants. */
static void unwanted(struct resize *r)
{
	bool again = r->again;

	r->again = false;
	give_up(r);
	if (again)
		begin_again(r);
}

/* True: it could be given up now; else it will be when its thread has ended. */
static bool give_up_soon(struct resize *r)
{
	if (r->job && !job_over(r->job)) {
		__atomic_store_n(&r->unwanted, true, __ATOMIC_RELAXED);
		return false;
	}
	give_up(r);
	return true;
}

static void fail(struct resize *r, struct errs *errs)
{
	keep_error(r, errs);
	errs_free(errs);
	*errs = (struct errs){0};
	give_up(r);
}

/* ---- the steps */

static void slice_soon(struct resize *r)
{
	struct timeval pause = {.tv_usec = PAUSE_US};

	event_add(r->timer, &pause);
}

static void wait_job(void *arg)
{
	next_wait_cpus();
}

static void waited(void *arg)
{
	struct resize *r = arg;

	loop_doing(doing);
	r->job = NULL;
	if (r->unwanted) {
		unwanted(r);
		return;
	}
	r->step = r->step == STEP_WAIT ? STEP_COPY : STEP_SETTLE;
	slice_soon(r);
}

static void wait_for_cpus(struct resize *r)
{
	if (!job_start(r->sw->base, wait_job, waited, r, &r->job))
		return;
	wait_job(r);
	waited(r);
}

/* The next tables hold everything: they come into force, as soon as nobody goes through the former ones. */
static void switch_over(struct resize *r)
{
	struct errs errs = {0};

	if (flow_users(r->sw, 0)) {
		slice_soon(r);
		return;
	}
	if (next_commit(r->next, &errs)) {
		fail(r, &errs);
		return;
	}
	flow_room_end(r->room);
	r->room = NULL;
	flow_copy_switch(r->copy);
	r->step = STEP_LEAVE;
	wait_for_cpus(r);
}

static void finish(struct resize *r)
{
	struct errs errs = {0};

	/* A restart would still find the tables by the other names; the next resizing needs them. */
	if (next_finish(r->next, &errs))
		keep_error(r, &errs);
	errs_free(&errs);
	leave(r);
	log_info("the tables have room for %u IPv4 and %u IPv6 flows; %llu that nobody had answered gave way", r->sizes.max_flows,
		 r->sizes.max_flows6, (unsigned long long)r->gave_way);
	resize_reconcile(r->sw, NULL);
}

static void begin_copy(struct resize *r)
{
	struct errs errs = {0};

	if (flow_users(r->sw, 0)) {
		slice_soon(r);
		return;
	}
	if (next_both(r->next, &errs)) {
		fail(r, &errs);
		return;
	}
	r->step = STEP_WAIT;
	wait_for_cpus(r);
}

/* -E2BIG as from flow_room_some() and flow_copy_some(). */
static void no_room(struct resize *r, int err)
{
	struct errs errs = {0};

	errs_fail(&errs, -err, "tables.flows: what the tables hold does not go into those of the new size: %s",
		  err == -E2BIG ? "there are more flows now" : strerror(-err));
	fail(r, &errs);
}

static void make_room(struct resize *r)
{
	int more = r->room ? flow_room_some(r->room) : 0;

	/* The copy stops the ageing: it waits for who reads the tables now, and others wait for it (resize_is_busy()). */
	if (!more && !flow_copy_begun(r->copy) && flow_users(r->sw, 0)) {
		slice_soon(r);
		return;
	}
	if (!more && !flow_copy_begun(r->copy))
		flow_copy_begin(r->copy);
	if (!more)
		more = flow_copy_first(r->copy);
	if (more > 0)
		slice_soon(r);
	else if (more)
		no_room(r, more);
	else
		begin_copy(r);
}

static void begin_room(struct resize *r)
{
	struct errs errs = {0};
	int err = flow_room_begin(r->sw, &r->sizes, table_capacity(next_table(r->next, "half_open")), &r->room);

	if (err) {
		errs_fail(&errs, -err, "tables.flows: %s", strerror(-err));
		fail(r, &errs);
		return;
	}
	r->step = STEP_ROOM;
	make_room(r);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct resize *r = arg;
	int more;

	loop_doing(doing);
	if (r->step == STEP_ROOM) {
		make_room(r);
		return;
	}
	if (r->step == STEP_SETTLE) {
		if (flow_copy_settle(r->copy) > 0)
			slice_soon(r);
		else
			finish(r);
		return;
	}
	more = flow_copy_some(r->copy);
	if (more > 0)
		slice_soon(r);
	else if (!more)
		switch_over(r);
	else
		no_room(r, more);
}

static void make_job(void *arg)
{
	struct resize *r = arg;

	r->err = next_make(r->sw->dp, &r->sizes, &r->unwanted, &r->next, &r->errs);
	if (!r->err)
		r->err = flow_copy_make(r->sw, r->next, &r->copy);
	if (r->err && !r->errs.n)
		errs_fail(&r->errs, -r->err, "tables.flows: %s", strerror(-r->err));
}

static void made(void *arg)
{
	struct resize *r = arg;

	loop_doing(doing);
	r->job = NULL;
	if (r->unwanted)
		unwanted(r);
	else if (r->err)
		fail(r, &r->errs);
	else
		begin_room(r);
}

static int start(struct resize *r, struct errs *errs)
{
	int err;

	if (r->freeing) {
		r->step = STEP_FREE; /* freed() begins it */
		return 0;
	}
	r->sizes = r->sw->model->settings;
	r->error[0] = 0;
	r->step = STEP_MAKE;
	err = job_start(r->sw->base, make_job, made, r, &r->job);
	if (!err) {
		r->gave_way = r->sw->control->gave_way;
		return 0;
	}
	r->step = STEP_NONE;
	return errs_fail(errs, -err, "tables.flows: no thread to change the size in: %s", strerror(-err));
}

int resize_reconcile(struct sw *sw, struct errs *errs)
{
	const struct settings_cfg *want = &sw->model->settings;
	struct resize *r = sw->resize;

	if (r->step >= STEP_LEAVE) /* finish() looks again */
		return 0;
	if (r->step == STEP_FREE)
		r->step = STEP_NONE;
	if (r->step != STEP_NONE) {
		if (same_sizes(want, &r->sizes) && !r->unwanted)
			return 0;
		if (!give_up_soon(r)) {
			r->again = true;
			return 0;
		}
	}
	if (!is_size(sw, want))
		return start(r, errs);
	r->was = *want;
	return 0;
}

int resize_yield(struct sw *sw)
{
	struct resize *r = sw->resize;

	if (r->step <= STEP_FREE || r->step >= STEP_LEAVE)
		return 0;
	r->again = false; /* who asks begins it again */
	return give_up_soon(r) ? 1 : -EAGAIN;
}

bool resize_is_busy(const struct sw *sw)
{
	return sw->resize->step >= STEP_ROOM;
}

/* ---- life */

int resize_open(struct sw *sw, struct errs *errs)
{
	struct resize *r = calloc(1, sizeof(*r));

	if (!r)
		return errs_fail(errs, ENOMEM, "out of memory");
	r->sw = sw;
	sw->resize = r;
	r->timer = event_new(sw->base, -1, 0, on_timer, r);
	return r->timer ? 0 : errs_fail(errs, ENOMEM, "out of memory");
}

/* Past the switch it is brought to its end: the rest is short. */
void resize_close(struct sw *sw)
{
	struct resize *r = sw->resize;
	struct errs errs = {0};

	if (!r)
		return;
	__atomic_store_n(&r->unwanted, true, __ATOMIC_RELAXED);
	if (r->step >= STEP_LEAVE) {
		job_join(r->job);
		while (flow_copy_settle(r->copy) > 0)
			;
		if (next_finish(r->next, &errs))
			log_errs("tables", &errs);
		leave(r);
	} else if (r->step > STEP_FREE) {
		give_up(r);
	}
	job_join(r->freeing);
	errs_free(&errs);
	if (r->timer)
		event_free(r->timer);
	free(r);
	sw->resize = NULL;
}

/* For how many pairs the tables were made. Who was started with tables of another size than the configuration's does not know it
 * but from how many slots they have. */
static void sizes_now(const struct sw *sw, uint32_t *ret_flows, uint32_t *ret_flows6)
{
	const struct settings_cfg *known[] = {&sw->model->settings, &sw->resize->sizes, &sw->resize->was};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (is_size(sw, known[i])) {
			*ret_flows = known[i]->max_flows;
			*ret_flows6 = known[i]->max_flows6;
			return;
		}
	*ret_flows = table_capacity(table_get(sw->dp, "flow_words4")) * BUCKET_SLOTS * 2 / 5;
	*ret_flows6 = table_capacity(table_get(sw->dp, "flow_words6")) * BUCKET_SLOTS * 2 / 5;
}

static json_t *show_table(const struct sw *sw, int family, uint32_t size)
{
	uint32_t slots = table_capacity(table_get(sw->dp, family == 4 ? "flow_words4" : "flow_words6")) * BUCKET_SLOTS;
	double slot =
		(double)sizeof(struct bucket) / BUCKET_SLOTS + (double)(family == 4 ? sizeof(struct flow) : sizeof(struct flow6));

	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "pairs", (json_int_t)flow_count_of(sw, family), "size", (json_int_t)size,
			 "slots", (json_int_t)slots, "bytes_per_pair", (json_int_t)(slot * slots / size + 0.5), "bytes",
			 (json_int_t)(slot * slots));
}

/* With what they are found by from outside. */
static json_t *show_mappings(const struct sw *sw, uint64_t size)
{
	uint64_t buckets = table_capacity(table_get(sw->dp, "nat_words")), lines = table_capacity(table_get(sw->dp, "nat_ways"));
	uint64_t bytes =
		buckets * (sizeof(struct bucket) + BUCKET_SLOTS * sizeof(struct nat_mapping)) + lines * sizeof(struct nat_line);

	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "mappings", (json_int_t)nat_mappings(sw), "size", (json_int_t)size, "slots",
			 (json_int_t)(buckets * BUCKET_SLOTS), "bytes_per_mapping", (json_int_t)((bytes + size / 2) / size),
			 "bytes", (json_int_t)bytes);
}

json_t *resize_show(const struct sw *sw)
{
	static const char *const names[] = {
		[STEP_NONE] = "none", [STEP_FREE] = "free", [STEP_MAKE] = "make",   [STEP_ROOM] = "room",
		[STEP_WAIT] = "wait", [STEP_COPY] = "copy", [STEP_LEAVE] = "leave", [STEP_SETTLE] = "settle"};
	const struct resize *r = sw->resize;
	json_t *resizing = json_null();
	uint32_t flows, flows6;

	sizes_now(sw, &flows, &flows6);
	if (r->step != STEP_NONE)
		resizing = json_pack("{s:s, s:i, s:I, s:I}", "step", names[r->step], "percent",
				     r->step == STEP_COPY ? (int)flow_copy_percent(r->copy) : 0, "flows",
				     (json_int_t)r->sizes.max_flows, "flows6", (json_int_t)r->sizes.max_flows6);
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:s?}", "flows", show_table(sw, 4, flows), "flows6",
			 show_table(sw, 6, flows6), "mappings", show_mappings(sw, (uint64_t)flows + flows6), "resizing", resizing,
			 "gave_way", (json_int_t)(r->step == STEP_NONE ? r->gave_way : sw->control->gave_way - r->gave_way),
			 "error", *r->error ? r->error : NULL);
}
