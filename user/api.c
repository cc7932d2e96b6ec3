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
#include "api.h"
#include "errjson.h"
#include "file.h"
#include "flow_move.h"
#include "loop.h"
#include "resize.h"
#include "version.h"

struct call {
	struct api *api;
	const struct endpoint *endpoint;
	const struct http_request *rq;
	struct http_reply *reply;
	struct errs *errs;
};

struct endpoint {
	const char *method, *path;
	int (*fn)(struct call *c);
	const char *noun; /* key of the list in the schema, for what edits one item */
	const char *help;
};

static int answer(struct call *c, json_t *json)
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

/* ?name=N; `ret` is untouched when it is absent. */
static int query_u32(struct call *c, const char *name, uint32_t min, uint32_t max, uint32_t *ret)
{
	const char *value = http_query(c->rq, name);

	if (value && u32_parse(value, min, max, ret))
		return errs_fail(c->errs, EINVAL, "%s: '%.32s' is not a number in %u..%u", name, value, min, max);
	return 0;
}

static bool query_flag(struct call *c, const char *name)
{
	const char *value = http_query(c->rq, name);

	return value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

/* How errors name the text: ?source=FILE, or "api". */
static const char *source(struct call *c)
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
	return answer(c, port_show(c->api->sw));
}

static int get_vlans(struct call *c)
{
	return answer(c, vlan_show(c->api->sw));
}

static int get_interfaces(struct call *c)
{
	return iface_list(c->api->sw, c->rq, &c->reply->stream, c->errs);
}

static int get_vrfs(struct call *c)
{
	return answer(c, vrf_show(c->api->sw));
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
	return json ? answer(c, json) : -EINVAL;
}

static int get_route_audit(struct call *c)
{
	return answer(c, route_audit_show(c->api->sw));
}

static int get_nat(struct call *c)
{
	return answer(c, nat_show(c->api->sw));
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
	return query_u32(c, "limit", 0, UINT32_MAX, &q->limit);
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
	int r = query_u32(c, "line", 1, INT32_MAX / 2, &line);

	return r ? r : flow_restore(c->api->sw, c->rq->body, c->rq->body_len, source(c), (int)line, &c->reply->stream, c->errs);
}

static int get_flow_tables(struct call *c)
{
	return answer(c, resize_show(c->api->sw));
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

	if (!query_flag(c, "check"))
		return answer(c, counters_show(c->api->sw));
	return answer(c, counters_check(c->api->sw, &holds));
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
	json_t *o = commit_show(a->commit);

	if (!o)
		return answer(c, NULL);
	json_object_set_new(o, "version", json_string(SLUICE_VERSION));
	json_object_set_new(o, "instance", json_string(a->sw->instance));
	json_object_set_new(o, "pid", json_integer(getpid()));
	json_object_set_new(o, "uptime_s", json_integer((json_int_t)(state_now_s() - a->started_s)));
	json_object_set_new(o, "errors", events_errors(a->events));
	json_object_set_new(o, "netlink_resyncs", json_integer((json_int_t)mirror_resyncs(a->sw->mirror)));
	json_object_set_new(o, "loop", loop_json());
	json_object_set_new(o, "routes", route_status(a->sw));
	json_object_set_new(o, "flows", json_integer((json_int_t)flow_count(a->sw)));
	json_object_set_new(o, "datapath", datapath_show(a->sw->dp));
	return answer(c, o);
}

static int get_config(struct call *c)
{
	const char *format = http_query(c->rq, "format");

	if (!format || strcmp(format, "json") == 0)
		return answer(c, model_json(c->api->sw->model));
	if (strcmp(format, "yaml") != 0)
		return errs_fail(c->errs, EINVAL, "format: '%.32s' is not json or yaml", format);
	c->reply->text = model_yaml(c->api->sw->model);
	c->reply->type = "application/yaml";
	return c->reply->text ? 0 : errs_fail(c->errs, ENOMEM, "out of memory");
}

/* ---- what is told ---- */

/* {"changed", "dry_run", "confirm_s", "diff": [...], "text"}; consumes `diff`. */
static int answer_diff(struct call *c, json_t *diff, bool dry_run, uint32_t confirm_s)
{
	char *text = model_diff_text(diff);
	json_t *json = json_pack("{s:b, s:b, s:i, s:o, s:s}", "changed", json_array_size(diff) > 0, "dry_run", dry_run,
				 "confirm_s", json_array_size(diff) ? (int)confirm_s : 0, "diff", diff, "text", text ? text : "");

	free(text);
	return answer(c, json);
}

static struct model *body_model(struct call *c)
{
	size_t before = c->errs->n;
	struct model *m = model_parse(c->rq->body, c->rq->body_len, source(c), c->errs);

	if (!m && c->errs->n == before)
		errs_fail(c->errs, EINVAL, "the configuration cannot be read");
	return m;
}

/* The text is what the configuration file holds now: the running model then comes from that file. */
static void recognise_config(struct call *c, struct commit_options *o)
{
	size_t len;
	char *text;

	if (file_read(c->api->state->config, &text, &len))
		return;
	o->is_config = len == c->rq->body_len && memcmp(text, c->rq->body, len) == 0;
	o->hash = file_hash(text, len);
	free(text);
}

static int commit(struct call *c, struct model *m, struct commit_options *o)
{
	json_t *diff = NULL;
	int r = commit_apply(c->api->commit, m, o, &diff, c->errs);

	return r ? r : answer_diff(c, diff, o->dry_run, o->confirm_s);
}

static int commit_query(struct call *c, struct commit_options *o)
{
	const char *confirm = http_query(c->rq, "confirm");

	o->what = source(c);
	o->dry_run = query_flag(c, "dry-run");
	o->force = query_flag(c, "force");
	if (confirm && (seconds_parse(confirm, &o->confirm_s) || !o->confirm_s || o->confirm_s > COMMIT_CONFIRM_MAX))
		return errs_fail(c->errs, EINVAL, "confirm: '%.32s' is not a time in 1s..%us", confirm, COMMIT_CONFIRM_MAX);
	return 0;
}

static int post_config(struct call *c)
{
	struct commit_options o = {0};
	struct model *m;
	int r = commit_query(c, &o);

	if (r)
		return r;
	m = body_model(c);
	if (!m)
		return -EINVAL;
	recognise_config(c, &o);
	return commit(c, m, &o);
}

static int post_config_diff(struct call *c)
{
	struct model *m = body_model(c);
	json_t *diff;

	if (!m)
		return -EINVAL;
	diff = model_diff(c->api->sw->model, m);
	model_free(m);
	return diff ? answer_diff(c, diff, true, 0) : answer(c, NULL);
}

static int post_config_check(struct call *c)
{
	struct model *m = body_model(c);

	if (!m)
		return -EINVAL;
	model_free(m);
	return answer(c, json_pack("{s:b}", "ok", 1));
}

static int post_config_confirm(struct call *c)
{
	int r = commit_confirm(c->api->commit, c->errs);

	return r ? r : answer(c, json_pack("{s:b}", "confirmed", 1));
}

static int post_config_rollback(struct call *c)
{
	uint32_t steps = 1;
	json_t *diff = NULL;
	int r = query_u32(c, "steps", 1, STATE_HISTORY, &steps);

	if (!r)
		r = commit_rollback(c->api->commit, steps, &diff, c->errs);
	return r ? r : answer_diff(c, diff, false, 0);
}

static int post_config_save(struct call *c)
{
	int r = commit_save(c->api->commit, c->errs);

	return r ? r : answer(c, json_pack("{s:s}", "saved", c->api->state->config));
}

/* One item added to, or taken from, a copy of the running model. */
static int edit(struct call *c, const char *text, size_t len,
		int (*change)(struct model *, const char *, const json_t *, const char *, struct errs *))
{
	struct commit_options o = {0};
	json_error_t why;
	struct model *m;
	json_t *item;
	int r = commit_query(c, &o);

	if (r)
		return r;
	o.force = true; /* the last port was named: nobody forgot it */
	item = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(item)) {
		json_decref(item);
		return errs_fail(c->errs, EINVAL, "one item of `%s` is wanted, as a JSON object%s%s", c->endpoint->noun,
				 item ? "" : ": ", item ? "" : why.text);
	}
	m = model_copy(c->api->sw->model);
	r = m ? change(m, c->endpoint->noun, item, source(c), c->errs) : errs_fail(c->errs, ENOMEM, "out of memory");
	json_decref(item);
	if (r) {
		model_free(m);
		return r;
	}
	return commit(c, m, &o);
}

static int post_item(struct call *c)
{
	return edit(c, c->rq->body, c->rq->body_len, model_add);
}

static int delete_item(struct call *c)
{
	const char *item = http_query(c->rq, "item");

	if (!item && !c->rq->body_len)
		return errs_fail(c->errs, EINVAL, "which one? ?item=JSON, or the body, with what names it");
	return edit(c, item ? item : c->rq->body, item ? strlen(item) : c->rq->body_len, model_remove);
}

static int post_flows_flush(struct call *c)
{
	return answer_flows(c, flow_flush);
}

static int post_fdb_flush(struct call *c)
{
	const char *port = http_query(c->rq, "port");
	uint32_t vlan = 0;
	int r = query_u32(c, "vlan", 1, 4094, &vlan);

	if (r)
		return r;
	r = fdb_flush(c->api->sw, (int)vlan, port, &c->reply->stream);
	return r == -ENOENT ? errs_fail(c->errs, ENOENT, "there is no port '%.32s'", port) : answer_stream(c, r);
}

static int get_nexthops(struct call *c)
{
	return nexthop_list(c->api->sw, c->rq, &c->reply->stream, c->errs);
}

static int drain(struct call *c, bool drained)
{
	const char *which = http_query(c->rq, "nexthop");
	int n;

	if (!which)
		return errs_fail(c->errs, EINVAL, "which one? ?nexthop=ID or ?nexthop=ADDRESS");
	n = nexthop_drain(c->api->sw, which, drained, c->errs);
	return n < 0 ? n : answer(c, json_pack("{s:i}", drained ? "drained" : "undrained", n));
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
	{"GET", "/v1/vrfs", get_vrfs, NULL, "VRFs: ids, the kernel's tables, interfaces, how many routes, what they import"},
	{"GET", "/v1/routes", get_routes, NULL,
	 "the RIB; ?vrf= ?protocol= ?to=PREFIX ?longer=PREFIX ?match=PREFIX ?via= ?interface= ?type= ?table= ?family=4|6 "
	 "?active=1 "
	 "?inactive=1; ?limit= ?after=: in order, by pages"},
	{"GET", "/v1/routes/get", get_route_get, NULL,
	 "how a packet to ?addr= would go, and why: ?from= ?iif= ?vrf= ?ipproto= ?sport= ?dport="},
	{"GET", "/v1/routes/audit", get_route_audit, NULL, "the tables of routes compared with each other: what differed"},
	{"GET", "/v1/nexthops", get_nexthops, NULL,
	 "gateways and interfaces that routes lead by; ?via= ?interface= ?state=; ?limit= ?after="},
	{"POST", "/v1/nexthops/drain", post_drain, NULL, "no new connections by ?nexthop=ID|ADDRESS"},
	{"POST", "/v1/nexthops/undrain", post_undrain, NULL, "new connections by it again"},
	{"GET", "/v1/nat", get_nat, NULL, "NAT rules and pools"},
	{"GET", "/v1/flows", get_flows, NULL, "tracked connections; ?filter= ?limit= ?format=json|cells"},
	{"GET", "/v1/flows/count", get_flow_count, NULL,
	 "how many there are; ?filter= ?by=proto|state|rule|vrf|src|dst|in|out ?sort=flows|packets|bytes ?limit= (20)"},
	{"GET", "/v1/flows/watch", get_flow_watch, NULL, "a line for each that begins or ends; ?filter= ?format=json|cells"},
	{"GET", "/v1/flows/tables", get_flow_tables, NULL, "how large their tables are, and how far a change of size is"},
	{"GET", "/v1/fdb", get_fdb, NULL, "stations"},
	{"GET", "/v1/neighbors", get_neighbors, NULL, "neighbours; ?to= ?interface= ?vrf= ?family= ?state=; ?limit= ?after="},
	{"GET", "/v1/counters", get_counters, NULL, "counters and drops; ?check=1: whether the sums hold"},
	{"GET", "/v1/config", get_config, NULL, "the running configuration, ?format=json|yaml"},
	{"POST", "/v1/config", post_config, NULL, "apply a whole configuration; ?dry-run=1, ?confirm=SECONDS, ?force=1"},
	{"POST", "/v1/config/diff", post_config_diff, NULL, "what applying it would change"},
	{"POST", "/v1/config/check", post_config_check, NULL, "whether it is a good configuration"},
	{"POST", "/v1/config/confirm", post_config_confirm, NULL, "keep the change that waits"},
	{"POST", "/v1/config/rollback", post_config_rollback, NULL, "the configuration of ?steps= (1) changes ago"},
	{"POST", "/v1/config/save", post_config_save, NULL, "the running configuration into the file"},
	{"POST", "/v1/ports", post_item, "ports", "add a port"},
	{"DELETE", "/v1/ports", delete_item, "ports", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/vlans", post_item, "vlans", "add a VLAN"},
	{"DELETE", "/v1/vlans", delete_item, "vlans", "take one away: ?item={\"id\": …}"},
	{"POST", "/v1/interfaces", post_item, "interfaces", "add an interface"},
	{"DELETE", "/v1/interfaces", delete_item, "interfaces", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/vrfs", post_item, "vrfs", "add a VRF; of `default` what it has beside its own"},
	{"DELETE", "/v1/vrfs", delete_item, "vrfs", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/routes", post_item, "routes", "add a route"},
	{"DELETE", "/v1/routes", delete_item, "routes", "take one away: ?item={\"to\": …, \"vrf\": …, \"metric\": …}"},
	{"POST", "/v1/nat", post_item, "nat", "add a NAT rule, after the others"},
	{"DELETE", "/v1/nat", delete_item, "nat", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/fdb", post_item, "fdb", "add a static station"},
	{"DELETE", "/v1/fdb", delete_item, "fdb", "take one away: ?item={\"mac\": …, \"vlan\": …}"},
	{"POST", "/v1/neighbors", post_item, "neighbors", "add a static neighbour"},
	{"DELETE", "/v1/neighbors", delete_item, "neighbors", "take one away: ?item={\"address\": …, \"interface\": …}"},
	{"GET", "/v1/flows/save", get_flow_save, NULL, "tracked connections and mappings for another gateway, an object a line"},
	{"POST", "/v1/flows/restore", post_flow_restore, NULL,
	 "such lines, 128 KiB of them at most; ?line= the first one's number"},
	{"POST", "/v1/flows/flush", post_flows_flush, NULL, "end tracked connections: ?filter=; `all` for all"},
	{"POST", "/v1/fdb/flush", post_fdb_flush, NULL, "forget learned stations of ?vlan=, ?port="},
};

#define N_ENDPOINTS (sizeof(endpoints) / sizeof(endpoints[0]))

static json_t *list_endpoints(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < N_ENDPOINTS; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "method", endpoints[i].method, "path", endpoints[i].path,
						      "help", endpoints[i].help));
	return list;
}

static int get_endpoints(struct call *c)
{
	return answer(c, json_pack("{s:o}", "endpoints", list_endpoints()));
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

void api_handle(void *arg, const struct http_request *rq, struct http_reply *reply)
{
	struct errs errs = {0};
	struct call c = {.api = arg, .rq = rq, .reply = reply, .errs = &errs};
	bool path_known = false;
	int r;

	for (size_t i = 0; i < N_ENDPOINTS && !c.endpoint; i++) {
		if (strcmp(endpoints[i].path, rq->path) != 0)
			continue;
		path_known = true;
		if (strcmp(endpoints[i].method, rq->method) == 0)
			c.endpoint = &endpoints[i];
	}
	if (!c.endpoint) {
		errs_fail(&errs, ENOENT,
			  path_known ? "%s is not for %.64s" : "there is no %s %.64s: see `endpoints` for what there is",
			  rq->method, rq->path);
		fail(&c, path_known ? 405 : 404, true);
	} else {
		loop_doing(c.endpoint->path);
		r = c.endpoint->fn(&c);
		if (r) {
			if (!errs.n)
				errs_fail(&errs, -r, "%s", strerror(-r));
			fail(&c, status_of(r), false);
		}
	}
	errs_free(&errs);
}
