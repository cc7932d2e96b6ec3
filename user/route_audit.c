/* route_audit.c: the audit of the routes: its rounds, what was found, what is done about it; `route audit`. See route_audit.h. */
#include "route_audit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "clock.h"
#include "events.h"
#include "log.h"
#include "loop.h"

#define EVERY_US  100000	  /* a slice of work this often, */
#define SLICE_NS  1000000	  /* for so long */
#define PAUSE_S	  2		  /* after the end of a round */
#define DOUBTS	  64		  /* differences waiting for their second look: the round waits for them when there are more */
#define FOUND	  32		  /* the last ones are kept, to be shown */
#define LOGGED	  8		  /* of one round; the others are counted */
#define ASK_EVERY 16		  /* of a large table each so many routes the kernel is asked as well, */
#define ASK_ALL	  100		  /* of one of so many at most each, */
#define ASK_SLICE 4		  /* but no more often in a slice: it answers under a lock, which others may hold */
#define LOOK_NS	  CLOCK_SECOND_NS /* the kernel is asked again after so long: its events are on the way until then */
#define LOOKS	  3		  /* so often it must differ in the same way */
#define RESYNC_S  60		  /* the mirror is read anew no more often */

struct doubt {
	struct addr addr;
	uint16_t vrf;
	uint8_t between; /* enum audit_between */
	uint8_t looks;
	uint64_t said, due_ns;
};

struct found {
	struct addr addr;
	struct prefix to;
	uint16_t vrf;
	uint8_t between;
	time_t since;
	bool repaired;
	char other[96], own[96];
};

struct round {
	uint64_t routes, samples, asked;
	uint64_t by_rule; /* of those asked */
	time_t at;
	uint64_t took_ns;
};

struct audit {
	struct routes *rs;
	struct event *timer;
	struct rib_cursor *cursor; /* NULL: between two rounds */
	struct round now, last;
	uint64_t rounds, began_ns, ended_ns, seed, end_ns;
	uint64_t differences, repaired, passing;
	unsigned logged, asks; /* of this round; left in this slice */
	bool resynced;
	uint64_t resynced_ns;
	struct doubt doubts[DOUBTS];
	size_t n_doubts;
	struct found found[FOUND]; /* a ring */
	size_t n_found;
};

static const char *name_of_vrf(const struct routes *rs, uint16_t vrf)
{
	const char *name = vrf_name(rs->sw, vrf);

	return name ? name : "?";
}

/* ---- what was found */

static void look(struct audit *au, uint8_t between, uint16_t vrf, const struct addr *a, struct audit_look *ret)
{
	if (between == AUDIT_FIB)
		audit_look_fib(au->rs, vrf, a, ret);
	else
		audit_look_kernel(au->rs, vrf, a, ret);
}

static void doubt(struct audit *au, uint8_t between, uint16_t vrf, const struct addr *a, const struct audit_look *l)
{
	struct doubt *d;

	if (au->n_doubts == DOUBTS)
		return;
	d = &au->doubts[au->n_doubts++];
	*d = (struct doubt){.addr = *a, .vrf = vrf, .between = between, .said = l->said};
	d->due_ns = between == AUDIT_KERNEL ? clock_now_ns() + LOOK_NS : 0;
}

static void tell(struct audit *au, const struct found *f)
{
	char text[PREFIX_TEXT], addr[ADDR_TEXT];

	if (++au->logged > LOGGED)
		return;
	prefix_text(&f->to, text);
	addr_text(&f->addr, addr);
	if (f->between == AUDIT_FIB)
		log_error("route audit: route %s, VRF %s: the FIB sends %s %s, the RIB %s; written anew", text,
			  name_of_vrf(au->rs, f->vrf), addr, f->other, f->own);
	else
		log_error(
			"route audit: route %s, VRF %s: the kernel has %s for %s, the RIB %s; the kernel's routes are read anew",
			text, name_of_vrf(au->rs, f->vrf), f->other, addr, f->own);
}

static struct found *note(struct audit *au, const struct doubt *d, const struct audit_look *l)
{
	struct found *f = &au->found[au->n_found++ % FOUND];

	*f = (struct found){.addr = d->addr, .to = l->to, .vrf = d->vrf, .between = d->between, .since = time(NULL)};
	if (d->between == AUDIT_FIB) {
		audit_result_text(au->rs, l->fib, f->other, sizeof(f->other));
		audit_result_text(au->rs, l->rib, f->own, sizeof(f->own));
	} else {
		memcpy(f->other, l->other, sizeof(f->other));
		memcpy(f->own, l->own, sizeof(f->own));
	}
	au->differences++;
	tell(au, f);
	return f;
}

/* The FIB's memory is written by sluiced alone: what is wrong there is wrong until it is written anew. */
static void repair_fib(struct audit *au, const struct doubt *d, struct found *f)
{
	struct routes *rs = au->rs;
	struct audit_look l;

	if (fib_repair(rs->fib, d->vrf, &d->addr))
		return;
	if (rib_write(rs->rib)) { /* seen when it is looked at again */
		if (rs->sw->events)
			events_again(rs->sw->events);
		return;
	}
	sw_epoch(rs->sw); /* flows may have learned by it */
	audit_look_fib(rs, d->vrf, &d->addr, &l);
	f->repaired = !l.differs;
	au->repaired += f->repaired;
}

/* What the kernel has is read anew as a whole: into the mirror, and from there into the RIB. */
static void repair_kernel(struct audit *au)
{
	uint64_t now = clock_now_ns();

	if (au->resynced && now - au->resynced_ns < RESYNC_S * CLOCK_SECOND_NS)
		return;
	au->resynced = true;
	au->resynced_ns = now;
	mirror_resync(au->rs->sw->mirror);
	au->rs->signature = 0;
	if (au->rs->sw->events)
		events_again(au->rs->sw->events);
}

/* Kernel's differences are repaired by what comes in later, the FIB's when it has memory: seen when they are looked at again. */
static void look_back(struct audit *au)
{
	size_t i, n = au->n_found < FOUND ? au->n_found : FOUND;
	struct audit_look l;

	for (i = 0; i < n; i++) {
		struct found *f = &au->found[i];

		if (f->repaired)
			continue;
		look(au, f->between, f->vrf, &f->addr, &l);
		f->repaired = !l.differs;
		au->repaired += f->repaired;
	}
}

/* True: nothing more to do about it. */
static bool look_again(struct audit *au, struct doubt *d, uint64_t now)
{
	struct routes *rs = au->rs;
	struct audit_look l;
	struct found *f;

	if (now < d->due_ns)
		return false;
	if (d->between == AUDIT_FIB ? rib_moving(rs->rib, d->vrf, &d->addr)
				    : mirror_busy(rs->sw->mirror) || rib_pending(rs->rib)) {
		d->due_ns = now + LOOK_NS; /* while something moves, a difference says nothing */
		d->looks = 0;
		return false;
	}
	look(au, d->between, d->vrf, &d->addr, &l);
	if (!l.differs || l.said != d->said) {
		au->passing++;
		return true;
	}
	if (d->between == AUDIT_KERNEL && ++d->looks < LOOKS) {
		d->due_ns = now + LOOK_NS;
		return false;
	}
	f = note(au, d, &l);
	if (d->between == AUDIT_FIB)
		repair_fib(au, d, f);
	else
		repair_kernel(au);
	return true;
}

static void second_looks(struct audit *au)
{
	uint64_t now = clock_now_ns();
	size_t i = 0;

	while (i < au->n_doubts && clock_now_ns() < au->end_ns) {
		if (look_again(au, &au->doubts[i], now))
			au->doubts[i] = au->doubts[--au->n_doubts];
		else
			i++;
	}
}

/* ---- the round */

static uint32_t rnd(struct audit *au)
{
	au->seed ^= au->seed << 13;
	au->seed ^= au->seed >> 7;
	au->seed ^= au->seed << 17;
	return (uint32_t)(au->seed >> 24);
}

/* The last address of a prefix. */
static struct addr last_of(const struct prefix *p)
{
	struct addr a = p->addr;
	int bit;

	for (bit = p->len + (p->family == 4 ? 96 : 0); bit < 128; bit++)
		a.a8[bit / 8] |= 0x80 >> bit % 8;
	return a;
}

static struct addr random_of(struct audit *au, const struct prefix *p)
{
	struct prefix at = {.family = p->family, .len = p->len};
	struct addr a, last = last_of(p);
	int i;

	for (i = 0; i < 16; i++)
		at.addr.a8[i] = (uint8_t)rnd(au);
	for (i = 0; i < 16; i++)
		a.a8[i] = p->addr.a8[i] | (at.addr.a8[i] & (p->addr.a8[i] ^ last.a8[i]));
	return a;
}

/* The address before the first, or behind the last; false: there is none. */
static bool beside(const struct prefix *p, bool before, struct addr *ret)
{
	int i, low = p->family == 4 ? 12 : 0;

	*ret = before ? p->addr : last_of(p);
	for (i = 15; i >= low; i--) {
		if (before ? ret->a8[i]-- : ++ret->a8[i])
			return true;
	}
	return false;
}

static void sample(struct audit *au, uint16_t vrf, const struct addr *a)
{
	struct audit_look l;

	au->now.samples++;
	audit_look_fib(au->rs, vrf, a, &l);
	if (l.differs)
		doubt(au, AUDIT_FIB, vrf, a, &l);
}

static void ask(struct audit *au, uint16_t vrf, const struct addr *a)
{
	struct audit_look l;

	au->asks--;
	au->now.asked++;
	audit_look_kernel(au->rs, vrf, a, &l);
	au->now.by_rule += l.by_rule;
	if (l.differs)
		doubt(au, AUDIT_KERNEL, vrf, a, &l);
}

/* Of a short table each route in each round. */
static bool asks_all(const struct audit *au)
{
	return au->rounds && au->last.routes <= ASK_ALL;
}

static bool ask_due(const struct audit *au)
{
	return asks_all(au) || au->now.routes % ASK_EVERY == au->rounds % ASK_EVERY;
}

/* The first and the last address, one anywhere between, and in turns one before or behind; the kernel is asked for one of them,
 * for others in each round. */
static int audit_one(const struct rib_view *v, void *arg)
{
	struct audit *au = arg;
	struct addr a[4];
	bool asked = false;
	int i, n = 3;

	if (!v->active)
		goto out;
	a[0] = v->to.addr;
	a[1] = last_of(&v->to);
	a[2] = random_of(au, &v->to);
	if (beside(&v->to, rnd(au) & 1, &a[3]))
		n++;
	for (i = 0; i < n; i++)
		sample(au, v->vrf, &a[i]);
	asked = au->asks && audit_can_ask(au->rs, v->vrf) && ask_due(au);
	if (asked)
		ask(au, v->vrf, &a[rnd(au) % (unsigned)n]);
	au->now.routes++;
out:
	return au->n_doubts > DOUBTS - 8 || clock_now_ns() > au->end_ns || (asked && !au->asks && asks_all(au));
}

static void round_end(struct audit *au)
{
	struct routes *rs = au->rs;

	rib_cursor_close(rs->rib, au->cursor);
	au->cursor = NULL;
	au->ended_ns = clock_now_ns();
	au->now.at = time(NULL);
	au->now.took_ns = au->ended_ns - au->began_ns;
	au->last = au->now;
	au->rounds++;
	if (au->logged > LOGGED)
		log_error("route audit: %u more differences in this round", au->logged - LOGGED);
	look_back(au);
}

static void round_begin(struct audit *au)
{
	au->cursor = rib_cursor_open(au->rs->rib, RIB_SOURCES); /* without memory: later */
	au->now = (struct round){0};
	au->logged = 0;
	au->began_ns = clock_now_ns();
}

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct audit *au = arg;

	if (!au->rs->ready)
		return;
	loop_doing("the audit of the routes");
	au->end_ns = clock_now_ns() + SLICE_NS;
	au->asks =
		mirror_busy(au->rs->sw->mirror) ? 0 : ASK_SLICE; /* who changes routes holds the lock, and would differ anyway */
	second_looks(au);
	if (au->n_doubts > DOUBTS - 8)
		return;
	if (!au->cursor && (!au->rounds || clock_now_ns() - au->ended_ns > PAUSE_S * CLOCK_SECOND_NS))
		round_begin(au);
	if (au->cursor && !rib_cursor_go(au->rs->rib, au->cursor, audit_one, au))
		round_end(au);
}

/* ---- life, and showing */

int route_audit_open(struct routes *rs)
{
	struct timeval every = {.tv_usec = EVERY_US};
	struct audit *au = calloc(1, sizeof(*au));

	if (!au)
		return -ENOMEM;
	rs->audit = au;
	au->rs = rs;
	au->seed = clock_now_ns() | 1;
	au->timer = event_new(rs->sw->base, -1, EV_PERSIST, on_slice, au);
	return au->timer && !event_add(au->timer, &every) ? 0 : -ENOMEM;
}

void route_audit_close(struct routes *rs)
{
	struct audit *au = rs->audit;

	if (!au)
		return;
	if (au->timer)
		event_free(au->timer);
	if (au->cursor)
		rib_cursor_close(rs->rib, au->cursor);
	free(au);
	rs->audit = NULL;
}

uint64_t route_audit_differences(const struct routes *rs, bool repaired)
{
	return repaired ? rs->audit->repaired : rs->audit->differences;
}

static json_t *time_json(time_t t)
{
	struct tm tm;
	char text[32];

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static json_t *round_json(const struct round *r)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "routes", (json_int_t)r->routes, "samples", (json_int_t)r->samples, "asked",
			 (json_int_t)r->asked, "by_rule", (json_int_t)r->by_rule);
}

static json_t *found_json(struct audit *au, const struct found *f)
{
	char text[PREFIX_TEXT], addr[ADDR_TEXT];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:b}", "prefix", prefix_text(&f->to, text), "vrf",
			 name_of_vrf(au->rs, f->vrf), "address", addr_text(&f->addr, addr), "between",
			 f->between == AUDIT_FIB ? "fib and rib" : "kernel and rib", f->between == AUDIT_FIB ? "fib" : "kernel",
			 f->other, "rib", f->own, "since", time_json(f->since), "repaired", f->repaired);
}

json_t *route_audit_show(struct sw *sw)
{
	struct audit *au = sw->routes->audit;
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "state", au->cursor ? "running" : "waiting", "rounds",
			      (json_int_t)au->rounds, "differences", (json_int_t)au->differences, "repaired",
			      (json_int_t)au->repaired, "passing", (json_int_t)au->passing, "now", round_json(&au->now)),
	       *list = json_array(), *last;
	size_t i;

	if (au->rounds) {
		last = round_json(&au->last);
		json_object_set_new(last, "at", time_json(au->last.at));
		json_object_set_new(last, "took_s", json_real((double)(au->last.took_ns / 1000000) / 1000));
		json_object_set_new(o, "last", last);
	}
	for (i = au->n_found < FOUND ? 0 : au->n_found - FOUND; i < au->n_found; i++)
		json_array_append_new(list, found_json(au, &au->found[i % FOUND]));
	json_object_set_new(o, "found", list);
	return o;
}
