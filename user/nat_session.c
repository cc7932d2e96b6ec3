/* nat_session.c: see nat_session.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_told.h"
#include "log.h"
#include "nat_priv.h"
#include "nat_session.h"
#include "state.h"

/* What happened so long ago, and is in the ring at all, can be read: clocks of ticks, and what a CPU does between its look at the
 * clock and the ring. */
#define LATE_NS 200000000ull
/* What was owed is taken up for so long at once; notes between looks at the clock. */
#define TAKE_UP_NS    3000000ull
#define TAKE_UP_NOTES 256

struct nat_session {
	struct sw *sw;
	struct nat_owed *owed;
	bool taken_up;	  /* what a sluiced before this one owed; until then */
	uint32_t left;	  /* the notes so far have been */
	uint32_t ending;  /* the note of the session that is about to end */
	uint64_t read_ns; /* up to then the ring has been read */
	uint64_t unkept;  /* beginnings for which there was no room */
};

static struct nat_event event_of(const struct flow_tuple *key, const struct flow *f, uint8_t event, uint64_t at_ns)
{
	struct nat_event e = {.at_ns = at_ns, .event = event, .rule = f->rule, .pool = f->pool};
	struct flow_tuple to;

	flow_tuple_to(key, f, &to);
	e.family = key->family;
	e.proto = key->proto;
	e.vrf = key->vrf;
	e.t = (struct nat_tuple){key->saddr, key->daddr, key->sport, key->dport, {0}};
	e.to = (struct nat_tuple){to.saddr, to.daddr, to.sport, to.dport, {0}};
	return e;
}

static void write_end(struct nat_session *s, const struct flow_tuple *key, const struct flow *f, uint64_t at_ns)
{
	struct nat_event e = event_of(key, f, NAT_EVENT_SESSION_DELETE, at_ns);

	nat_log_write(s->sw, &e);
}

static struct flow flow_of_event(const struct nat_event *e)
{
	struct flow f = {.rule = e->rule, .pool = e->pool, .created_ns = e->at_ns, .sport = e->to.sport, .dport = e->to.dport};

	if (e->family == 4) {
		f.saddr4 = e->to.saddr.a32[3];
		f.daddr4 = e->to.daddr.a32[3];
	} else {
		f.saddr6 = e->to.saddr;
		f.daddr6 = e->to.daddr;
	}
	return f;
}

static struct flow_tuple key_of_event(const struct nat_event *e)
{
	return (struct flow_tuple){e->t.saddr, e->t.daddr, e->t.sport, e->t.dport, e->vrf, e->proto, e->family};
}

/* Its end is written, and noted until that is out. */
static void told_ended(struct nat_session *s, struct flow_told *t)
{
	nat_owed_written(s->owed, t->owed);
	t->owed = 0;
	flow_told_drop(s->sw->flows, t, TOLD_LOG);
}

/* Kept, and noted. NULL: there is no room for it. */
static struct flow_told *keep(struct nat_session *s, const struct flow_tuple *key, const struct nat_event *begin, uint32_t owed)
{
	struct flow f = flow_of_event(begin);
	struct flow_told *t = flow_told_add(s->sw->flows, key, &f, TOLD_LOG);

	if (t && !t->owed)
		t->owed = owed ?: nat_owed_add(s->owed, begin, 0);
	if (!t || t->owed)
		return t;
	flow_told_drop(s->sw->flows, t, TOLD_LOG);
	return NULL;
}

/* Another one with the same addresses and ports, whose end found no room in the ring, must have ended before. */
static void session_begins(struct nat_session *s, const struct nat_event *e, const struct flow_tuple *key)
{
	struct flow_told *t = flow_told_find(s->sw->flows, key, 0, TOLD_LOG);

	if (t && t->f.created_ns != e->at_ns) {
		write_end(s, key, &t->f, t->gone_ns ? t->gone_ns : e->at_ns);
		told_ended(s, t);
	}
	if (keep(s, key, e, 0))
		nat_log_write(s->sw, e);
	else
		s->unkept++;
}

/* Has all been read that happened at `ns`? */
static bool is_read(const struct nat_session *s, uint64_t ns)
{
	return ns + LATE_NS < s->read_ns;
}

bool nat_session_gone(struct sw *sw, const struct flow_tuple *key, const struct flow *f, uint64_t gone_ns)
{
	struct flow_told *t = flow_told_find(sw->flows, key, f->created_ns, TOLD_LOG);
	struct nat_session *s = nat_log_session(sw);

	if (t)
		nat_owed_gone(s->owed, t->owed, gone_ns);
	if (!is_read(s, gone_ns))
		return false;
	write_end(s, key, f, gone_ns);
	if (t) {
		nat_owed_written(s->owed, t->owed);
		t->owed = 0;
	}
	return true;
}

static bool is_session(const struct nat_session *s, const struct flow *f)
{
	return s && nat_log_is_on(s->sw) && f->flags & (FLOW_F_SNAT | FLOW_F_DNAT);
}

void nat_session_ending(struct sw *sw, const struct flow_tuple *key, const struct flow *f)
{
	struct nat_session *s = nat_log_session(sw);
	struct nat_event begin;
	struct flow_told *t;

	if (!is_session(s, f))
		return;
	t = flow_told_find(sw->flows, key, f->created_ns, TOLD_LOG);
	begin = event_of(key, f, NAT_EVENT_SESSION_CREATE, f->created_ns);
	s->ending = t ? t->owed : nat_owed_add(s->owed, &begin, clock_now_ns());
	if (t)
		nat_owed_gone(s->owed, t->owed, clock_now_ns());
}

void nat_session_end(struct sw *sw, const struct flow_tuple *key, const struct flow *f, bool was)
{
	struct nat_session *s = nat_log_session(sw);
	uint64_t now = clock_now_ns();
	struct flow_told *t;

	if (!is_session(s, f))
		return;
	t = flow_told_find(sw->flows, key, f->created_ns, TOLD_LOG);
	if (!was) { /* the data plane has ended it; if nobody was told of its beginning, nobody need be of this */
		if (!t)
			nat_owed_forget(s->owed, s->ending);
		return;
	}
	if (!t && !is_read(s, f->created_ns)) {
		t = flow_told_add(sw->flows, key, f, TOLD_LOG);
		if (t) {
			t->gone_ns = now;
			t->owed = s->ending;
			return;
		}
	}
	write_end(s, key, f, now);
	if (t)
		told_ended(s, t);
	else
		nat_owed_written(s->owed, s->ending);
}

void nat_session_forget(struct sw *sw, uint32_t owed)
{
	struct nat_session *s = nat_log_session(sw);

	if (s)
		nat_owed_forget(s->owed, owed);
}

/* ---- the ring */

void nat_session_event(struct nat_session *s, const struct nat_event *e)
{
	struct flow_tuple key = key_of_event(e);
	struct flow_told *t = NULL;

	if (e->at_ns > s->read_ns)
		s->read_ns = e->at_ns;
	if (e->event == NAT_EVENT_SESSION_CREATE) {
		session_begins(s, e, &key);
		return;
	}
	if (e->event == NAT_EVENT_SESSION_DELETE)
		t = flow_told_find(s->sw->flows, &key, 0, TOLD_LOG);
	nat_log_write(s->sw, e);
	if (t)
		told_ended(s, t);
}

void nat_session_read(struct nat_session *s, uint64_t ns)
{
	s->read_ns = ns;
}

/* ---- what a sluiced before this one owed */

/* One whose end was only noted, because that sluiced was killed just then, stands in the table still. */
static void take_up_one(uint32_t number, const struct nat_event *begin, uint64_t gone_ns, void *arg)
{
	struct flow_tuple key = key_of_event(begin);
	uint64_t now = clock_now_ns();
	struct nat_session *s = arg;
	struct flow_told *t;
	struct flow f;

	if ((begin->family != 4 && begin->family != 6) || !nat_log_is_on(s->sw)) {
		nat_owed_forget(s->owed, number);
		return;
	}
	if (gone_ns && !flow_lookup(s->sw->flows, &key, &f) && f.created_ns == begin->at_ns)
		gone_ns = 0;
	t = keep(s, &key, begin, number);
	if (t && t->owed == number)
		t->gone_ns = gone_ns < now ? gone_ns : now;
	else
		nat_owed_forget(s->owed, number);
}

bool nat_session_take_up(struct nat_session *s)
{
	uint64_t end = clock_now_ns() + TAKE_UP_NS;

	while (!s->taken_up && clock_now_ns() < end)
		s->taken_up = !nat_owed_left(s->owed, &s->left, TAKE_UP_NOTES, take_up_one, s);
	return !s->taken_up;
}

bool nat_session_is_taken_up(const struct nat_session *s)
{
	return s->taken_up;
}

/* ---- life */

static int open_owed(struct nat_session *s)
{
	char path[FILE_PATH];
	int err;

	if (!s->sw->dir)
		return nat_owed_open(NULL, &s->owed);
	snprintf(path, sizeof(path), "%s/%s", s->sw->dir, STATE_NAT_OWED);
	err = nat_owed_open(path, &s->owed);
	if (!err)
		return 0;
	log_error("the log of NAT: %s: %s: after a restart of sluiced ends will be missing", path, strerror(-err));
	return nat_owed_open(NULL, &s->owed);
}

int nat_session_open(struct sw *sw, struct nat_session **ret)
{
	struct nat_session *s = calloc(1, sizeof(*s));

	*ret = s;
	if (!s)
		return -ENOMEM;
	s->sw = sw;
	return open_owed(s);
}

void nat_session_close(struct nat_session *s)
{
	if (s)
		nat_owed_close(s->owed);
	free(s);
}

void nat_session_flushed(struct nat_session *s)
{
	nat_owed_flushed(s->owed);
}

uint64_t nat_session_unkept(const struct nat_session *s)
{
	return s->unkept;
}

struct nat_owed *nat_session_owed(struct nat_session *s)
{
	return s->owed;
}
