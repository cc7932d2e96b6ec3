/* nat_log.c: NAT's sessions and refusals as JSON lines, to a file, to syslog, or both (settings.nat-log).
 *
 * Stands between the ring buffer of bpf/nat_event.h (begins, refusals, ends of what gave way), flow.c (all other ends), and who
 * must be able to say later who had which port. Fields are called after the information elements of RFC 8158. At most NAT_LOG_MAX
 * lines are written in a tick; what comes faster finds the ring full and is counted there (stat nat_events_lost), and the log
 * says how many were lost; what a disk or the logger refuses is counted here.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "flow_priv.h"
#include "loop.h"
#include "nat_priv.h"
#include "ring.h"

#define NAT_LOG_TICK_US 50000
#define NAT_LOG_MAX	1000
#define NAT_LOG_TELL	20 /* ticks */

struct nat_log {
	struct sw *sw;
	struct ring *ring;
	struct event *timer;
	FILE *file;
	char path[sizeof(((struct settings_cfg *)NULL)->nat_log_file)];
	bool syslog;
	int logger; /* the socket of nat_syslog.c */
	uint64_t written, lost;
	uint64_t untold; /* events that found the ring full, as the data plane counts them: said up to here */
	unsigned ticks;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* "sourceIPv4Address" or "sourceIPv6Address". */
static void put_addr(json_t *o, const char *prefix, int family, const struct addr *a)
{
	char key[48], text[ADDR_TEXT];

	snprintf(key, sizeof(key), "%sIPv%dAddress", prefix, family);
	json_object_set_new(o, key, json_string(addr_text(a, text)));
}

/* natEvent as registered by RFC 8158; natQuotaExceededEvent 3 is that of one user. */
static json_t *event_json(const struct nat_log *log, const struct nat_event *e)
{
	uint64_t at_ns = clock_ns(CLOCK_REALTIME) - (clock_ns(CLOCK_MONOTONIC) - e->at_ns);
	const char *rule = nat_rule_name(log->sw, e->rule);
	json_t *o = json_pack("{s:I, s:i, s:i}", "observationTimeMilliseconds", (json_int_t)(at_ns / 1000000), "natEvent",
			      e->event, "protocolIdentifier", e->proto);

	put_addr(o, "source", e->family, &e->t.saddr);
	json_object_set_new(o, "sourceTransportPort", json_integer(ntohs(e->t.sport)));
	put_addr(o, "destination", e->family, &e->t.daddr);
	json_object_set_new(o, "destinationTransportPort", json_integer(ntohs(e->t.dport)));
	if (e->event == NAT_EVENT_SESSION_CREATE || e->event == NAT_EVENT_SESSION_DELETE) {
		put_addr(o, "postNATSource", e->family, &e->to.saddr);
		json_object_set_new(o, "postNAPTSourceTransportPort", json_integer(ntohs(e->to.sport)));
		put_addr(o, "postNATDestination", e->family, &e->to.daddr);
		json_object_set_new(o, "postNAPTDestinationTransportPort", json_integer(ntohs(e->to.dport)));
	}
	if (e->event == NAT_EVENT_QUOTA)
		json_object_set_new(o, "natQuotaExceededEvent", json_integer(3));
	if (e->pool)
		json_object_set_new(o, "natPoolID", json_integer(e->pool));
	json_object_set_new(o, "ingressVRFID", json_integer(e->vrf));
	json_object_set_new(o, "vrf", json_string(vrf_name(log->sw, e->vrf) ?: ""));
	if (rule)
		json_object_set_new(o, "rule", json_string(rule));
	return o;
}

/* `line`: NULL for want of memory. */
static void write_line(struct nat_log *log, const char *line)
{
	bool bad = !line;

	if (line && log->syslog)
		bad = nat_syslog(&log->logger, line) != 0;
	if (line && log->file && fprintf(log->file, "%s\n", line) < 0)
		bad = true;
	if (bad)
		log->lost++;
	else
		log->written++;
}

static void write_event(struct nat_log *log, const struct nat_event *e)
{
	json_t *o = event_json(log, e);
	char *line = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);

	write_line(log, line);
	free(line);
	json_decref(o);
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
	uint64_t n = events_lost(log);
	char line[128];

	if (n > log->untold) {
		snprintf(line, sizeof(line), "{\"observationTimeMilliseconds\":%llu,\"eventsLost\":%llu}",
			 (unsigned long long)(clock_ns(CLOCK_REALTIME) / 1000000), (unsigned long long)(n - log->untold));
		write_line(log, line);
	}
	log->untold = n;
}

static void on_record(const void *record, size_t size, void *arg)
{
	struct nat_event e;

	if (size < sizeof(e))
		return;
	memcpy(&e, record, sizeof(e));
	write_event(arg, &e);
}

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
	fclose(log->file);
	log->file = f;
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval again = {.tv_usec = NAT_LOG_TICK_US};
	struct nat_log *log = arg;

	loop_doing("the log of NAT");
	follow_path(log);
	ring_read(log->ring, NAT_LOG_MAX);
	if (++log->ticks % NAT_LOG_TELL == 0)
		tell_lost(log);
	if (log->file && fflush(log->file)) {
		log->lost++;
		clearerr(log->file);
	}
	event_add(log->timer, &again);
}

void nat_log_end(struct sw *sw, const struct flow_tuple *key, const struct flow *f)
{
	struct nat_log *log = sw->nat ? sw->nat->log : NULL;
	struct nat_event e = {.at_ns = clock_ns(CLOCK_MONOTONIC), .event = NAT_EVENT_SESSION_DELETE, .rule = f->rule};
	struct flow_tuple to;

	if (!log || (!log->file && !log->syslog) || !(f->flags & (FLOW_F_SNAT | FLOW_F_DNAT)))
		return;
	flow_tuple_to(key, f, &to);
	e.family = key->family;
	e.proto = key->proto;
	e.vrf = key->vrf;
	e.pool = f->pool;
	e.t = (struct nat_tuple){key->saddr, key->daddr, key->sport, key->dport, {0}};
	e.to = (struct nat_tuple){to.saddr, to.daddr, to.sport, to.dport, {0}};
	write_event(log, &e);
}

int nat_log_open(struct sw *sw)
{
	struct nat_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	log->sw = sw;
	log->logger = -1;
	log->untold = events_lost(log);
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
	if (strcmp(log->path, s->nat_log_file)) {
		if (*s->nat_log_file) {
			f = fopen(s->nat_log_file, "ae");
			if (!f)
				return errs_fail(errs, errno, "settings.nat-log.file: %s: %s", s->nat_log_file, strerror(errno));
		}
		if (log->file)
			fclose(log->file);
		log->file = f;
		snprintf(log->path, sizeof(log->path), "%s", s->nat_log_file);
	}
	if (log->ring && (log->file || log->syslog))
		event_add(log->timer, &soon);
	else
		event_del(log->timer);
	return 0;
}

json_t *nat_log_show(const struct nat *nat)
{
	const struct nat_log *log = nat->log;

	if (!log->file && !log->syslog)
		return json_null();
	return json_pack("{s:s, s:b, s:I, s:I, s:I}", "file", log->path, "syslog", log->syslog, "written",
			 (json_int_t)log->written, "lost", (json_int_t)log->lost, "untold", (json_int_t)events_lost(log));
}
