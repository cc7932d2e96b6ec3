/* nat_log.c: NAT's sessions and refusals as JSON lines, to a file, to syslog, or both (settings.nat-log).
 *
 * Stands between the ring buffer of bpf/nat_event.h (begins, refusals, ends of what gave way), flow.c (all other ends), and who
 * must be able to say later who had which port. Fields are called after the information elements of RFC 8158. At most NAT_LOG_MAX
 * lines are written in a tick; what comes faster finds the ring full and is counted there (stat nat_events_lost), and the log
 * says how many were lost; what a disk or the logger refuses is counted here.
 *
 * No beginning stands there without its end: sessions that may end without sluiced are kept in mind (flow_told.c) until the ring
 * has said that they have, or has been read up to when they were found gone. Where there is no room for that, the beginning is
 * lost. A session that sluiced ends before it has read of its beginning is kept there as well: its end comes second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "flow_told.h"
#include "flow_text.h"
#include "log.h"
#include "loop.h"
#include "nat_priv.h"
#include "ring.h"

#define NAT_LOG_TICK_US	 50000
#define NAT_LOG_MAX	 1000
#define NAT_LOG_CHUNK	 50 /* between looks at the clock */
#define NAT_LOG_SLICE_NS 5000000ull
#define NAT_LOG_TELL	 20 /* ticks */
/* What happened so long ago, and is in the ring at all, can be read: clocks of ticks, and what a CPU does between its look at the
 * clock and the ring. */
#define NAT_LOG_LATE_NS 200000000ull
#define WARN_NS		60000000000ull
#define SYSLOG		"/dev/log"

/* One of the places that lines go to. */
struct sink {
	int err;       /* of the last try; 0: it went well */
	uint64_t lost; /* lines that did not get there */
	uint64_t warned_ns;
};

struct nat_log {
	struct sw *sw;
	struct ring *ring;
	struct event *timer;
	FILE *file;
	char path[sizeof(((struct settings_cfg *)NULL)->nat_log_file)];
	bool syslog;
	int logger; /* the socket of nat_syslog.c */
	struct sink to_file, to_syslog;
	uint64_t written, lost;	      /* lines that got somewhere, and nowhere */
	uint64_t buffered, only_here; /* lines that the file's buffer has, and those of them that nobody else has */
	uint64_t untold;	      /* events that found no room in the ring, or here: said up to here */
	uint64_t unkept;	      /* beginnings that found none here */
	uint64_t read_ns;	      /* up to then the ring has been read */
	unsigned ticks;
};

static const char *sink_text(int err)
{
	return err == -EAGAIN ? "it does not keep up" : strerror(-err);
}

static uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ,"sourceIPv4Address":"10.0.0.1" */
static void put_addr(struct line *l, const char *prefix, int family, const struct addr *a)
{
	char text[ADDR_TEXT];

	line_put(l, prefix);
	line_put(l, family == 4 ? "IPv4Address\":\"" : "IPv6Address\":\"");
	line_put(l, flow_addr_text(a, text));
	line_put(l, "\"");
}

static void put_number(struct line *l, const char *name, uint64_t n)
{
	line_put(l, name);
	line_number(l, n);
}

/* natEvent as registered by RFC 8158; natQuotaExceededEvent 3 is that of one user. */
static void put_event(const struct nat_log *log, const struct nat_event *e, struct line *l)
{
	const char *rule = nat_rule_name(log->sw, e->rule);

	put_number(l, "{\"observationTimeMilliseconds\":", (wall_ns() - (flow_now_ns() - e->at_ns)) / 1000000);
	put_number(l, ",\"natEvent\":", e->event);
	put_number(l, ",\"protocolIdentifier\":", e->proto);
	put_addr(l, ",\"source", e->family, &e->t.saddr);
	put_number(l, ",\"sourceTransportPort\":", ntohs(e->t.sport));
	put_addr(l, ",\"destination", e->family, &e->t.daddr);
	put_number(l, ",\"destinationTransportPort\":", ntohs(e->t.dport));
	if (e->event == NAT_EVENT_SESSION_CREATE || e->event == NAT_EVENT_SESSION_DELETE) {
		put_addr(l, ",\"postNATSource", e->family, &e->to.saddr);
		put_number(l, ",\"postNAPTSourceTransportPort\":", ntohs(e->to.sport));
		put_addr(l, ",\"postNATDestination", e->family, &e->to.daddr);
		put_number(l, ",\"postNAPTDestinationTransportPort\":", ntohs(e->to.dport));
	}
	if (e->event == NAT_EVENT_QUOTA)
		put_number(l, ",\"natQuotaExceededEvent\":", 3);
	if (e->pool && e->pool != POOL_KEPT)
		put_number(l, ",\"natPoolID\":", e->pool);
	put_number(l, ",\"ingressVRFID\":", e->vrf);
	line_put(l, ",\"vrf\":");
	line_json(l, vrf_name(log->sw, e->vrf) ?: "");
	if (rule) {
		line_put(l, ",\"rule\":");
		line_json(l, rule);
	}
	line_put(l, "}");
}

/* Said once when it begins, and once a minute while it comes again. */
static void sink_is(struct sink *sink, const char *name, int err)
{
	uint64_t now = flow_now_ns();

	if (err && !sink->err && (!sink->warned_ns || now - sink->warned_ns > WARN_NS)) {
		log_error("the log of NAT: %s: %s", name, sink_text(err));
		sink->warned_ns = now;
	}
	sink->err = err;
}

static bool to_syslog(struct nat_log *log, const char *line)
{
	int err = nat_syslog(&log->logger, line);

	sink_is(&log->to_syslog, SYSLOG, err);
	log->to_syslog.lost += err != 0;
	return !err;
}

static bool to_file(struct nat_log *log, const char *line, bool elsewhere)
{
	if (fprintf(log->file, "%s\n", line) < 0) {
		sink_is(&log->to_file, log->path, -errno);
		log->to_file.lost++;
		return false;
	}
	log->buffered++;
	log->only_here += !elsewhere;
	return true;
}

static void write_line(struct nat_log *log, const char *line)
{
	bool there = log->syslog && to_syslog(log, line);

	if (log->file && to_file(log, line, there))
		there = true;
	if (there)
		log->written++;
	else
		log->lost++;
}

/* What the buffer has goes to the disk, or is lost. */
static void flush_file(struct nat_log *log)
{
	if (!log->file || !log->buffered)
		return;
	if (!fflush(log->file)) {
		sink_is(&log->to_file, log->path, 0);
	} else {
		sink_is(&log->to_file, log->path, -errno);
		log->to_file.lost += log->buffered;
		log->written -= log->only_here;
		log->lost += log->only_here;
		clearerr(log->file);
	}
	log->buffered = log->only_here = 0;
}

static void write_event(struct nat_log *log, const struct nat_event *e)
{
	struct line l;

	l.len = 0;
	put_event(log, e, &l);
	l.text[l.len < sizeof(l.text) ? l.len : sizeof(l.text) - 1] = '\0';
	write_line(log, l.text);
}

static uint64_t events_lost(const struct nat_log *log)
{
	uint64_t n = 0;

	table_sum(table_get(log->sw->dp, "stats"), STAT_NAT_EVENTS_LOST, &n, 1);
	return n;
}

static uint64_t untold(const struct nat_log *log)
{
	return events_lost(log) + log->unkept;
}

/* Who reads the log must know that it is not whole. */
static void tell_lost(struct nat_log *log)
{
	uint64_t n = untold(log);
	char line[128];

	if (n > log->untold) {
		snprintf(line, sizeof(line), "{\"observationTimeMilliseconds\":%llu,\"eventsLost\":%llu}",
			 (unsigned long long)(wall_ns() / 1000000), (unsigned long long)(n - log->untold));
		write_line(log, line);
	}
	log->untold = n;
}

/* ---- sessions */

static void write_end(struct nat_log *log, const struct flow_tuple *key, const struct flow *f, uint64_t at_ns)
{
	struct nat_event e = {.at_ns = at_ns, .event = NAT_EVENT_SESSION_DELETE, .rule = f->rule, .pool = f->pool};
	struct flow_tuple to;

	flow_tuple_to(key, f, &to);
	e.family = key->family;
	e.proto = key->proto;
	e.vrf = key->vrf;
	e.t = (struct nat_tuple){key->saddr, key->daddr, key->sport, key->dport, {0}};
	e.to = (struct nat_tuple){to.saddr, to.daddr, to.sport, to.dport, {0}};
	write_event(log, &e);
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

/* Another one with the same addresses and ports, whose end found no room in the ring, must have ended before. */
static void session_begins(struct nat_log *log, const struct nat_event *e, const struct flow_tuple *key)
{
	struct flows *flows = log->sw->flows;
	struct flow_told *t = flow_told_find(flows, key, 0, TOLD_LOG);
	struct flow f = flow_of_event(e);

	if (t && t->f.created_ns != e->at_ns) {
		write_end(log, key, &t->f, t->gone_ns ? t->gone_ns : e->at_ns);
		flow_told_drop(flows, t, TOLD_LOG);
	}
	if (flow_told_add(flows, key, &f, TOLD_LOG))
		write_event(log, e);
	else
		log->unkept++;
}

static void on_record(const void *record, size_t size, void *arg)
{
	struct nat_log *log = arg;
	struct flow_told *t = NULL;
	struct flow_tuple key;
	struct nat_event e;

	if (size < sizeof(e))
		return;
	memcpy(&e, record, sizeof(e));
	if (e.at_ns > log->read_ns)
		log->read_ns = e.at_ns;
	key = (struct flow_tuple){e.t.saddr, e.t.daddr, e.t.sport, e.t.dport, e.vrf, e.proto, e.family};
	if (e.event == NAT_EVENT_SESSION_CREATE) {
		session_begins(log, &e, &key);
		return;
	}
	if (e.event == NAT_EVENT_SESSION_DELETE)
		t = flow_told_find(log->sw->flows, &key, 0, TOLD_LOG);
	if (t)
		flow_told_drop(log->sw->flows, t, TOLD_LOG);
	write_event(log, &e);
}

static bool is_on(const struct nat_log *log)
{
	return log && log->ring && (log->file || log->syslog);
}

bool nat_log_is_on(const struct sw *sw)
{
	return sw->nat && is_on(sw->nat->log);
}

/* Has all been read that happened at `ns`? */
static bool is_read(const struct nat_log *log, uint64_t ns)
{
	return ns + NAT_LOG_LATE_NS < log->read_ns;
}

bool nat_log_gone(struct sw *sw, const struct flow_tuple *key, const struct flow *f, uint64_t gone_ns)
{
	struct nat_log *log = sw->nat->log;

	if (!is_read(log, gone_ns))
		return false;
	write_end(log, key, f, gone_ns);
	return true;
}

void nat_log_end(struct sw *sw, const struct flow_tuple *key, const struct flow *f)
{
	struct nat_log *log = sw->nat ? sw->nat->log : NULL;
	uint64_t now = flow_now_ns();
	struct flow_told *t;

	if (!is_on(log) || !(f->flags & (FLOW_F_SNAT | FLOW_F_DNAT)))
		return;
	t = flow_told_find(sw->flows, key, f->created_ns, TOLD_LOG);
	if (!t && !is_read(log, f->created_ns)) {
		t = flow_told_add(sw->flows, key, f, TOLD_LOG);
		if (t)
			t->gone_ns = now;
		if (t)
			return;
	}
	write_end(log, key, f, now);
	if (t)
		flow_told_drop(sw->flows, t, TOLD_LOG);
}

/* ---- the file and the timer */

/* The file was moved away (logrotate): begin a new one. If that fails the old one is written on. */
static void follow_path(struct nat_log *log)
{
	struct stat here, there;
	FILE *f;

	if (!log->file || fstat(fileno(log->file), &here) || (!stat(log->path, &there) && here.st_ino == there.st_ino))
		return;
	f = fopen(log->path, "ae");
	if (!f)
		return;
	flush_file(log);
	fclose(log->file);
	log->file = f;
}

static void read_some(struct nat_log *log)
{
	uint64_t start = flow_now_ns();
	size_t n = NAT_LOG_CHUNK;

	for (size_t all = 0; all < NAT_LOG_MAX && n == NAT_LOG_CHUNK; all += n) {
		if (flow_now_ns() - start > NAT_LOG_SLICE_NS)
			return;
		n = ring_read(log->ring, NAT_LOG_CHUNK);
	}
	if (n < NAT_LOG_CHUNK)
		log->read_ns = start;
}

/* Also when there is nothing to be logged: that nobody listens is known before the first line is lost, and that somebody does
 * again, before the next. */
static void look_for_logger(struct nat_log *log)
{
	if (log->syslog)
		sink_is(&log->to_syslog, SYSLOG, nat_syslog_ready(&log->logger));
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval again = {.tv_usec = NAT_LOG_TICK_US};
	struct nat_log *log = arg;

	loop_doing("the log of NAT");
	follow_path(log);
	read_some(log);
	if (++log->ticks % NAT_LOG_TELL == 0) {
		tell_lost(log);
		look_for_logger(log);
	}
	flush_file(log);
	event_add(log->timer, &again);
}

int nat_log_open(struct sw *sw)
{
	struct nat_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	log->sw = sw;
	log->logger = -1;
	log->untold = untold(log);
	log->ring = ring_open(table_get(sw->dp, "nat_events"), on_record, log);
	log->timer = event_new(sw->base, -1, 0, tick, log);
	sw->nat->log = log;
	return log->timer ? 0 : -ENOMEM;
}

void nat_log_close(struct nat *nat)
{
	struct nat_log *log = nat->log;

	if (!log)
		return;
	if (log->timer)
		event_free(log->timer);
	ring_close(log->ring);
	if (log->file)
		fclose(log->file);
	if (log->logger >= 0)
		close(log->logger);
	free(log);
	nat->log = NULL;
}

int nat_log_reconcile(struct sw *sw, struct errs *errs)
{
	const struct settings_cfg *s = &sw->model->settings;
	struct nat_log *log = sw->nat->log;
	struct timeval soon = {.tv_usec = NAT_LOG_TICK_US};
	FILE *f = NULL;

	log->syslog = s->nat_log_syslog;
	look_for_logger(log);
	if (strcmp(log->path, s->nat_log_file)) {
		if (*s->nat_log_file) {
			f = fopen(s->nat_log_file, "ae");
			if (!f)
				return errs_fail(errs, errno, "settings.nat-log.file: %s: %s", s->nat_log_file, strerror(errno));
		}
		flush_file(log);
		if (log->file)
			fclose(log->file);
		log->file = f;
		log->to_file.err = 0;
		snprintf(log->path, sizeof(log->path), "%s", s->nat_log_file);
	}
	if (is_on(log))
		event_add(log->timer, &soon);
	else
		event_del(log->timer);
	return 0;
}

static void add_error(const struct sink *sink, const char *name, json_t *errors)
{
	char text[512];

	snprintf(text, sizeof(text), "settings.nat-log: %s: %s; %llu lines did not get there", name, sink_text(sink->err),
		 (unsigned long long)sink->lost);
	json_array_append_new(errors, json_string(text));
}

void nat_log_errors(const struct sw *sw, json_t *errors)
{
	const struct nat_log *log = sw->nat ? sw->nat->log : NULL;

	if (!is_on(log))
		return;
	if (log->file && log->to_file.err)
		add_error(&log->to_file, log->path, errors);
	if (log->syslog && log->to_syslog.err)
		add_error(&log->to_syslog, SYSLOG, errors);
}

json_t *nat_log_show(const struct sw *sw)
{
	const struct nat_log *log = sw->nat->log;
	json_t *errors;

	if (!log->file && !log->syslog)
		return json_null();
	errors = json_array();
	nat_log_errors(sw, errors);
	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "file", log->path, "syslog", log->syslog, "written",
			 (json_int_t)log->written, "lost", (json_int_t)log->lost, "file_lost", (json_int_t)log->to_file.lost,
			 "syslog_lost", (json_int_t)log->to_syslog.lost, "untold", (json_int_t)untold(log), "errors", errors);
}
