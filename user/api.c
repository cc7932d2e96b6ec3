/* api.c: between HTTP requests and the nouns: one table of endpoints, one function each.
 *
 * A handler returns 0 with the reply filled, or -errno with words; the number chooses the status.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "api_priv.h"
#include "errjson.h"
#include "file.h"
#include "flow_move.h"
#include "loop.h"
#include "resize.h"
#include "version.h"

int api_answer(struct call *c, json_t *json)
{
	if (!json)
		return errs_fail(c->errs, ENOMEM, "out of memory");
	c->reply->json = json;
	return 0;
}

/* `r`: what the noun returned that was to fill reply->stream. */
static int answer_stream(struct call *c, int r)
{
	return r ? errs_fail(c->errs, -r, "%s", strerror(-r)) : 0;
}

int api_query_u32(struct call *c, const char *name, uint32_t min, uint32_t max, uint32_t *ret)
{
	const char *value = http_query(c->rq, name);

	if (value && u32_parse(value, min, max, ret))
		return errs_fail(c->errs, EINVAL, "%s: '%.32s' is not a number in %u..%u", name, value, min, max);
	return 0;
}

bool api_query_flag(struct call *c, const char *name)
{
	const char *value = http_query(c->rq, name);

	return value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

const char *api_source(struct call *c)
{
	const char *value = http_query(c->rq, "source");

	if (!value || !*value || strlen(value) > COMMIT_WHAT)
		return "api";
	for (const char *p = value; *p; p++) {
		if (!isprint((unsigned char)*p))
			return "api";
	}
	return value;
}

/* ---- what there is ---- */

static int get_ports(struct call *c)
{
	return api_answer(c, port_show(c->api->sw));
}

static int get_vlans(struct call *c)
{
	return api_answer(c, vlan_show(c->api->sw));
}

static int get_interfaces(struct call *c)
{
	return iface_list(c->api->sw, c->rq, &c->reply->stream, c->errs);
}

/* All of them, or that of ?name=. */
static int get_vrfs(struct call *c)
{
	json_t *all = vrf_show(c->api->sw), *found = NULL, *one;
	const char *name = http_query(c->rq, "name");
	size_t i;

	if (!name)
		return api_answer(c, all);
	json_array_foreach (all, i, one)
		if (!strcmp(name, json_string_value(json_object_get(one, "name"))))
			found = json_pack("[O]", one);
	json_decref(all);
	return found ? api_answer(c, found) : errs_fail(c->errs, ENOENT, "there is no VRF '%.32s'", name);
}

static int get_routes(struct call *c)
{
	return route_list(c->api->sw, c->rq, &c->reply->stream, c->errs);
}

static int get_route_get(struct call *c)
{
	const struct route_query q = {.addr = http_query(c->rq, "addr"),
				      .from = http_query(c->rq, "from"),
				      .iif = http_query(c->rq, "iif"),
				      .vrf = http_query(c->rq, "vrf"),
				      .ipproto = http_query(c->rq, "ipproto"),
				      .sport = http_query(c->rq, "sport"),
				      .dport = http_query(c->rq, "dport")};
	json_t *json;

	if (!q.addr)
		return errs_fail(c->errs, EINVAL, "which address? ?addr=ADDRESS");
	json = route_get(c->api->sw, &q, c->errs);
	return json ? api_answer(c, json) : -EINVAL;
}

static int get_route_audit(struct call *c)
{
	return api_answer(c, route_audit_show(c->api->sw));
}

static int get_nat(struct call *c)
{
	return answer_stream(c, nat_list(c->api->sw, &c->reply->stream));
}

/* What flows are meant, and how they shall be told: ?filter= ?limit= ?format=json|cells ?by= ?sort=. */
static int flow_query(struct call *c, struct flow_query *q)
{
	const char *format = http_query(c->rq, "format");

	*q = (struct flow_query){
		.filter = http_query(c->rq, "filter"),
		.by = http_query(c->rq, "by"),
		.sort = http_query(c->rq, "sort"),
	};
	if (format && strcmp(format, "json") != 0 && strcmp(format, "cells") != 0)
		return errs_fail(c->errs, EINVAL, "format: '%.32s' is not json or cells", format);
	q->cells = format && strcmp(format, "cells") == 0;
	return api_query_u32(c, "limit", 0, UINT32_MAX, &q->limit);
}

static int answer_flows(struct call *c, int (*fn)(struct sw *, const struct flow_query *, struct http_stream *, struct errs *))
{
	struct flow_query q;
	int r = flow_query(c, &q);

	return r ? r : fn(c->api->sw, &q, &c->reply->stream, c->errs);
}

static int get_flows(struct call *c)
{
	return answer_flows(c, flow_list);
}

static int get_flow_count(struct call *c)
{
	return answer_flows(c, flow_count_by);
}

static int get_flow_watch(struct call *c)
{
	return answer_flows(c, flow_watch);
}

static int get_flow_save(struct call *c)
{
	return flow_save(c->api->sw, &c->reply->stream, c->errs);
}

static int post_flow_restore(struct call *c)
{
	uint32_t line = 1;
	int r = api_query_u32(c, "line", 1, INT32_MAX / 2, &line);

	return r ? r
		 : flow_restore(c->api->sw, c->rq->body, c->rq->body_len, api_source(c), (int)line, &c->reply->stream, c->errs);
}

static int get_flow_tables(struct call *c)
{
	return api_answer(c, resize_show(c->api->sw));
}

static int get_fdb(struct call *c)
{
	return answer_stream(c, fdb_list(c->api->sw, &c->reply->stream));
}

static int get_neighbors(struct call *c)
{
	return neighbor_list(c->api->sw, c->rq, &c->reply->stream, c->errs);
}

static int get_counters(struct call *c)
{
	bool holds;

	if (!api_query_flag(c, "check"))
		return api_answer(c, counters_show(c->api->sw));
	return api_answer(c, counters_check(c->api->sw, &holds));
}

static json_t *loop_time_json(const struct loop_time *t)
{
	return json_pack("{s:f, s:s, s:I}", "max_ms", (double)(t->max_ns / 1000) / 1000, "longest", t->what, "over_10ms",
			 (json_int_t)t->n_long);
}

static json_t *loop_json(void)
{
	const struct loop_stats *s = loop_stats();

	return json_pack("{s:I, s:o, s:o}", "turns", (json_int_t)s->turns, "cpu", loop_time_json(&s->cpu), "blocked",
			 loop_time_json(&s->blocked));
}

static int get_status(struct call *c)
{
	struct api *a = c->api;
	json_t *o = commit_show(a->commit), *errors;

	if (!o)
		return api_answer(c, NULL);
	json_object_set_new(o, "version", json_string(SLUICE_VERSION));
	json_object_set_new(o, "instance", json_string(a->sw->instance));
	json_object_set_new(o, "pid", json_integer(getpid()));
	json_object_set_new(o, "uptime_s", json_integer((json_int_t)(state_now_s() - a->started_s)));
	errors = events_errors(a->events);
	nat_log_errors(a->sw, errors);
	nat_host_errors(a->sw, errors);
	json_object_set_new(o, "errors", errors);
	json_object_set_new(o, "netlink_resyncs", json_integer((json_int_t)mirror_resyncs(a->sw->mirror)));
	json_object_set_new(o, "loop", loop_json());
	json_object_set_new(o, "routes", route_status(a->sw));
	json_object_set_new(o, "flows", json_integer((json_int_t)flow_count(a->sw)));
	json_object_set_new(o, "datapath", datapath_show(a->sw->dp));
	return api_answer(c, o);
}

static int post_flows_flush(struct call *c)
{
	return answer_flows(c, flow_flush);
}

static int post_fdb_flush(struct call *c)
{
	const char *port = http_query(c->rq, "port");
	uint32_t vlan = 0;
	int r = api_query_u32(c, "vlan", 1, 4094, &vlan);

	if (r)
		return r;
	r = fdb_flush(c->api->sw, (int)vlan, port, &c->reply->stream);
	return r == -ENOENT ? errs_fail(c->errs, ENOENT, "there is no port '%.32s'", port) : answer_stream(c, r);
}

static int get_nexthops(struct call *c)
{
	return nexthop_list(c->api->sw, c->rq, &c->reply->stream, c->errs);
}

static int get_named(struct call *c)
{
	return nexthop_named(c->api->sw, c->rq, &c->reply->stream, c->errs);
}

static int drain(struct call *c, bool drained)
{
	const char *which = http_query(c->rq, "nexthop");
	int n;

	if (!which)
		return errs_fail(c->errs, EINVAL, "which one? ?nexthop=NAME, ID or ADDRESS");
	n = nexthop_drain(c->api->sw, which, drained, c->errs);
	return n < 0 ? n : api_answer(c, json_pack("{s:i}", drained ? "drained" : "undrained", n));
}

static int post_drain(struct call *c)
{
	return drain(c, true);
}

static int post_undrain(struct call *c)
{
	return drain(c, false);
}

static int get_endpoints(struct call *c);

static const struct endpoint endpoints[] = {
	{"GET", "/v1", get_endpoints, NULL, "this list"},
	{"GET", "/v1/status", get_status, NULL, "sluiced itself: version, configuration, what failed"},
	{"GET", "/v1/ports", get_ports, NULL, "ports and their state"},
	{"GET", "/v1/vlans", get_vlans, NULL, "VLANs and their members"},
	{"GET", "/v1/interfaces", get_interfaces, NULL, "L3 interfaces; ?name= ?vrf= ?vlan= ?state=; ?limit= ?after="},
	{"GET", "/v1/vrfs", get_vrfs, NULL,
	 "VRFs, or ?name=: ids, the kernel's tables, interfaces, how many routes, what they import"},
	{"GET", "/v1/routes", get_routes, NULL,
	 "the RIB; ?vrf= ?protocol= ?to=PREFIX ?longer=PREFIX ?match=PREFIX ?via= ?interface= ?type= ?table= ?family=4|6 "
	 "?active=1 "
	 "?inactive=1; ?limit= ?after=: in order, by pages"},
	{"GET", "/v1/routes/get", get_route_get, NULL,
	 "how a packet to ?addr= would go, and why: ?from= ?iif= ?vrf= ?ipproto= ?sport= ?dport="},
	{"GET", "/v1/routes/audit", get_route_audit, NULL, "the tables of routes compared with each other: what differed"},
	{"GET", "/v1/nexthops", get_nexthops, NULL,
	 "gateways and interfaces that routes lead by; ?nexthop=NAME|ID|ADDRESS ?via= ?interface= ?state=; ?limit= ?after="},
	{"GET", "/v1/nexthops/named", get_named, NULL, "named nexthops and groups of the configuration; ?name=; ?limit= ?after="},
	{"POST", "/v1/nexthops/drain", post_drain, NULL, "no new connections by ?nexthop=NAME|ID|ADDRESS"},
	{"POST", "/v1/nexthops/undrain", post_undrain, NULL, "new connections by it again"},
	{"GET", "/v1/nat", get_nat, NULL, "NAT rules and pools"},
	{"GET", "/v1/flows", get_flows, NULL, "tracked connections; ?filter= ?limit= ?format=json|cells"},
	{"GET", "/v1/flows/count", get_flow_count, NULL,
	 "how many there are; ?filter= ?by=proto|state|rule|vrf|src|dst|in|out ?sort=flows|packets|bytes ?limit= (20)"},
	{"GET", "/v1/flows/watch", get_flow_watch, NULL, "a line for each that begins or ends; ?filter= ?format=json|cells"},
	{"GET", "/v1/flows/tables", get_flow_tables, NULL, "how large their tables are, and how far a change of size is"},
	{"GET", "/v1/fdb", get_fdb, NULL, "stations"},
	{"GET", "/v1/neighbors", get_neighbors, NULL,
	 "neighbours; ?address= ?to= ?interface= ?vrf= ?family= ?state=; ?limit= ?after="},
	{"GET", "/v1/counters", get_counters, NULL, "counters and drops; ?check=1: whether the sums hold"},
	{"GET", "/v1/flows/save", get_flow_save, NULL, "tracked connections and mappings for another gateway, an object a line"},
	{"POST", "/v1/flows/restore", post_flow_restore, NULL,
	 "such lines, 128 KiB of them at most; ?line= the first one's number"},
	{"POST", "/v1/flows/flush", post_flows_flush, NULL, "end tracked connections: ?filter=; `all` for all"},
	{"POST", "/v1/fdb/flush", post_fdb_flush, NULL, "forget learned stations of ?vlan=, ?port="},
};

#define N_ENDPOINTS (sizeof(endpoints) / sizeof(endpoints[0]))

static void add_endpoints(json_t *list, const struct endpoint *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s}", "method", v[i].method, "path", v[i].path, "help", v[i].help));
}

static json_t *list_endpoints(void)
{
	json_t *list = json_array();

	add_endpoints(list, endpoints, N_ENDPOINTS);
	add_endpoints(list, api_config_endpoints, API_CONFIG_ENDPOINTS);
	return list;
}

static int get_endpoints(struct call *c)
{
	return api_answer(c, json_pack("{s:o}", "endpoints", list_endpoints()));
}

static int status_of(int r)
{
	switch (-r) {
	case EINVAL:
	case E2BIG:
	case ENAMETOOLONG:
		return 400;
	case ENOENT:
		return 404;
	case EEXIST:
	case EBUSY:
		return 409;
	default:
		return 500;
	}
}

static void fail(struct call *c, int status, bool list)
{
	json_decref(c->reply->json);
	free(c->reply->text);
	c->reply->text = NULL;
	c->reply->json = errs_json(c->errs);
	c->reply->status = status;
	if (list && c->reply->json)
		json_object_set_new(c->reply->json, "endpoints", list_endpoints());
}

static void carry_out(struct call *c)
{
	int r = c->endpoint->fn(c);

	if (!r)
		return;
	if (!c->errs->n)
		errs_fail(c->errs, -r, "%s", strerror(-r));
	fail(c, status_of(r), false);
}

/* ---- beside the loop */

struct besides {
	struct call call;
	struct http_reply reply;
	struct errs errs;
	struct http_later *later;
};

/* The text of an answer, which may list a hundred thousand changes. NULL: no memory. */
static char *json_line(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY), *line = text ? realloc(text, strlen(text) + 2) : NULL;

	if (line)
		strcat(line, "\n");
	else
		free(text);
	return line;
}

static void carry_out_beside(void *arg)
{
	struct besides *b = arg;

	carry_out(&b->call);
	if (b->reply.text)
		return;
	b->reply.text = json_line(b->reply.json);
	b->reply.type = "application/json";
	json_decref(b->reply.json);
	b->reply.json = NULL;
}

static void answer_beside(void *arg)
{
	struct besides *b = arg;

	http_answer(b->later, &b->reply);
	errs_free(&b->errs);
	free(b);
}

static void go_beside(const struct call *c)
{
	struct besides *b = calloc(1, sizeof(*b));

	if (!b)
		return; /* an empty reply says so */
	b->call = *c;
	b->call.reply = &b->reply;
	b->call.errs = &b->errs;
	b->reply.status = c->reply->status;
	b->later = http_later(c->rq);
	if (commit_do(c->api->commit, carry_out_beside, answer_beside, b))
		answer_beside(b);
}

/* *known: the path is there, with whatever method. */
static const struct endpoint *find(const struct endpoint *v, size_t n, const struct http_request *rq, bool *known)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i].path, rq->path) != 0)
			continue;
		*known = true;
		if (strcmp(v[i].method, rq->method) == 0)
			return &v[i];
	}
	return NULL;
}

void api_handle(void *arg, const struct http_request *rq, struct http_reply *reply)
{
	struct errs errs = {0};
	struct call c = {.api = arg, .rq = rq, .reply = reply, .errs = &errs};
	const struct endpoint *config;
	bool path_known = false;

	c.endpoint = find(endpoints, N_ENDPOINTS, rq, &path_known);
	config = find(api_config_endpoints, API_CONFIG_ENDPOINTS, rq, &path_known);
	if (config)
		c.endpoint = config;
	if (!c.endpoint) {
		errs_fail(&errs, ENOENT,
			  path_known ? "%s is not for %.64s" : "there is no %s %.64s: see `endpoints` for what there is",
			  rq->method, rq->path);
		fail(&c, path_known ? 405 : 404, true);
	} else if (config) {
		loop_doing(c.endpoint->path);
		go_beside(&c);
	} else {
		loop_doing(c.endpoint->path);
		carry_out(&c);
	}
	errs_free(&errs);
}
