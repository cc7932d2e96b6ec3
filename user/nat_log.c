/* nat_log.c: NAT's sessions and refusals as JSON lines, to a file, to syslog, or both (settings.nat-log).
 *
 * Stands between the ring buffer of bpf/nat_event.h (begins, refusals, ends of what gave way), flow.c (all other ends), and who
 * must be able to say later who had which port. Fields are called after the information elements of RFC 8158. At most NAT_LOG_MAX
 * lines are written in a tick; what comes faster finds the ring full and is counted there (stat nat_events_lost), and the log
 * says how many were lost; what a disk or the logger refuses is counted here.
 *
 * No beginning stands there without its end: nat_session.c. A line that is cut off, by a full disk or because sluiced was killed
 * while it wrote, stays for itself: what comes next begins a line of its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"
#include "flow_priv.h"
#include "flow_text.h"
#include "log.h"
#include "loop.h"
#include "nat_priv.h"
#include "nat_session.h"
#include "ring.h"

#define NAT_LOG_TICK_US	 50000
#define NAT_LOG_MAX	 1000
#define NAT_LOG_CHUNK	 50 /* between looks at the clock */
#define NAT_LOG_SLICE_NS 5000000ull
#define NAT_LOG_TELL	 20 /* ticks */
#define WARN_NS		 60000000000ull
#define SYSLOG		 "/dev/log"
#define BUFFER		 65536

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
	size_t buffered_bytes;
	bool amid; /* the file ends amid a line */
	char buffer[BUFFER];
	struct nat_session *session;
	struct nat_owed *owed; /* its word: how many events that found no room in the ring were said, by any sluiced */
	uint64_t unkept_said;  /* the same of beginnings that found none here */
	unsigned ticks;
};

static const char *sink_text(int err)
{
	return err == -EAGAIN ? "it does not keep up" : strerror(-err);
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
	const char *rule = nat_rule_name(log->sw, e->rule) ?: nat_rule_former(log->sw, e->rule);

	put_number(l, "{\"observationTimeMilliseconds\":", clock_wall_ms(clock_now_ns(), e->at_ns));
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
	uint64_t now = clock_now_ns();

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

/* By a descriptor of its own: who may write need not be able to read, and who reads a pipe does not see that nobody else does. */
static bool ends_amid_a_line(FILE *f)
{
	char path[32], last = '\n';
	struct stat st;
	int fd;

	if (fstat(fileno(f), &st) || !S_ISREG(st.st_mode))
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(f));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, &last, 1, st.st_size - 1) != 1)
		last = '\n';
	close(fd);
	return last != '\n';
}

/* What the buffer has goes to the disk, or is lost. */
static void flush_file(struct nat_log *log)
{
	if (log->file && log->buffered) {
		if (!fflush(log->file)) {
			sink_is(&log->to_file, log->path, 0);
		} else {
			sink_is(&log->to_file, log->path, -errno);
			log->to_file.lost += log->buffered;
			log->written -= log->only_here;
			log->lost += log->only_here;
			clearerr(log->file);
			log->amid = ends_amid_a_line(log->file);
		}
		log->buffered = log->only_here = log->buffered_bytes = 0;
	}
	nat_session_flushed(log->session);
}

/* Whole lines leave the buffer, so that a process that is killed leaves none without its end. */
static bool to_file(struct nat_log *log, const char *line, bool elsewhere)
{
	size_t len = strlen(line) + 2; /* and the ends of a line that was cut off, and of this one */

	if (log->buffered_bytes + len > BUFFER)
		flush_file(log);
	if (fprintf(log->file, "%s%s\n", log->amid ? "\n" : "", line) < 0) {
		sink_is(&log->to_file, log->path, -errno);
		log->to_file.lost++;
		return false;
	}
	log->amid = false;
	log->buffered_bytes += len;
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

void nat_log_write(struct sw *sw, const struct nat_event *e)
{
	struct nat_log *log = sw->nat->log;
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

/* Who reads the log must know that it is not whole. */
static void tell_lost(struct nat_log *log)
{
	uint64_t lost = events_lost(log), unkept = nat_session_unkept(log->session);
	uint64_t n = lost - nat_owed_word(log->owed) + unkept - log->unkept_said;
	uint64_t now = clock_now_ns();
	char line[128];

	if (n) {
		snprintf(line, sizeof(line), "{\"observationTimeMilliseconds\":%llu,\"eventsLost\":%llu}",
			 (unsigned long long)clock_wall_ms(now, now), (unsigned long long)n);
		write_line(log, line);
	}
	nat_owed_set_word(log->owed, lost);
	log->unkept_said = unkept;
}

static void on_record(const void *record, size_t size, void *arg)
{
	struct nat_log *log = arg;
	struct nat_event e;

	if (size < sizeof(e))
		return;
	memcpy(&e, record, sizeof(e));
	nat_session_event(log->session, &e);
}

struct nat_session *nat_log_session(const struct sw *sw)
{
	return sw->nat && sw->nat->log ? sw->nat->log->session : NULL;
}

bool nat_log_takes_up(const struct sw *sw)
{
	return sw->nat && sw->nat->log && sw->nat->log->owed && !nat_session_is_taken_up(sw->nat->log->session);
}

static bool is_on(const struct nat_log *log)
{
	return log && log->ring && (log->file || log->syslog);
}

bool nat_log_is_on(const struct sw *sw)
{
	return sw->nat && is_on(sw->nat->log);
}

/* ---- the file and the timer */

/* One at a time has something in the buffer. NULL: errno says why. */
static FILE *open_file(struct nat_log *log, const char *path)
{
	FILE *f = fopen(path, "ae");

	if (f)
		setvbuf(f, log->buffer, _IOFBF, sizeof(log->buffer));
	return f;
}

/* The file was moved away (logrotate): begin a new one. If that fails the old one is written on. */
static void follow_path(struct nat_log *log)
{
	struct stat here, there;
	FILE *f;

	if (!log->file || fstat(fileno(log->file), &here) || (!stat(log->path, &there) && here.st_ino == there.st_ino))
		return;
	f = open_file(log, log->path);
	if (!f)
		return;
	flush_file(log);
	fclose(log->file);
	log->file = f;
	log->amid = ends_amid_a_line(f);
}

static void read_some(struct nat_log *log)
{
	uint64_t start = clock_now_ns();
	size_t n = NAT_LOG_CHUNK;

	for (size_t all = 0; all < NAT_LOG_MAX && n == NAT_LOG_CHUNK; all += n) {
		if (clock_now_ns() - start > NAT_LOG_SLICE_NS)
			return;
		n = ring_read(log->ring, NAT_LOG_CHUNK);
	}
	if (n < NAT_LOG_CHUNK)
		nat_session_read(log->session, start);
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
	struct timeval again = {.tv_usec = NAT_LOG_TICK_US}, at_once = {0};
	struct nat_log *log = arg;

	loop_doing("the log of NAT");
	if (nat_session_take_up(log->session)) {
		event_add(log->timer, &at_once);
		return;
	}
	if (!is_on(log))
		return;
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
	int err;

	if (!log)
		return -ENOMEM;
	log->sw = sw;
	log->logger = -1;
	log->ring = ring_open(table_get(sw->dp, "nat_events"), on_record, log);
	log->timer = event_new(sw->base, -1, 0, tick, log);
	sw->nat->log = log;
	err = log->timer ? nat_session_open(sw, &log->session) : -ENOMEM;
	if (err)
		return err;
	log->owed = nat_session_owed(log->session);
	/* Also where the counters were begun anew. */
	if (nat_owed_word(log->owed) > events_lost(log))
		nat_owed_set_word(log->owed, events_lost(log));
	return 0;
}

void nat_log_close(struct nat *nat)
{
	struct nat_log *log = nat->log;

	if (!log)
		return;
	if (log->timer)
		event_free(log->timer);
	ring_close(log->ring);
	if (log->owed)
		flush_file(log);
	nat_session_close(log->session);
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
			f = open_file(log, s->nat_log_file);
			if (!f)
				return errs_add(errs, s->nat_log_where, "settings.nat-log.file", "%s: %s", s->nat_log_file,
						strerror(errno));
		}
		flush_file(log);
		if (log->file)
			fclose(log->file);
		log->file = f;
		log->amid = f && ends_amid_a_line(f);
		log->to_file.err = 0;
		snprintf(log->path, sizeof(log->path), "%s", s->nat_log_file);
	}
	if (nat_session_take_up(log->session) || is_on(log))
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
			 "syslog_lost", (json_int_t)log->to_syslog.lost, "untold",
			 (json_int_t)(events_lost(log) + nat_session_unkept(log->session)), "errors", errors);
}
