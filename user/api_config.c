/* api_config.c: the configuration by HTTP: shown, checked, compared, applied, and changed by single items. Between api.c and the
 * commit.
 *
 * Every function here runs beside the event loop (commit_do()), one after another: so it may read the running model, and take
 * its time with a configuration of a hundred thousand routes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "api_priv.h"
#include "errjson.h"
#include "file.h"

static int get_config(struct call *c)
{
	const char *format = http_query(c->rq, "format");

	if (!format || strcmp(format, "json") == 0)
		return api_answer(c, model_json(c->api->sw->model));
	if (strcmp(format, "yaml") != 0)
		return errs_fail(c->errs, EINVAL, "format: '%.32s' is not json or yaml", format);
	c->reply->text = model_yaml(c->api->sw->model);
	c->reply->type = "application/yaml";
	return c->reply->text ? 0 : errs_fail(c->errs, ENOMEM, "out of memory");
}

/* ---- what is told ---- */

/* What is new in the model. */
static json_t *notes(struct call *c, const struct model *m)
{
	struct errs errs = {0};
	json_t *o, *list;

	model_notes(m, c->api->sw->model, &errs);
	o = errs_json(&errs);
	list = json_incref(json_object_get(o, "errors"));
	json_decref(o);
	errs_free(&errs);
	return list;
}

/* {"changed", "dry_run", "confirm_s", "diff": [...], "text", "notes": [...]}; consumes `diff` and `notes`. */
static int answer_diff(struct call *c, json_t *diff, json_t *notes, bool dry_run, uint32_t confirm_s)
{
	char *text = model_diff_text(diff);
	json_t *json =
		json_pack("{s:b, s:b, s:i, s:o, s:s, s:o}", "changed", json_array_size(diff) > 0, "dry_run", dry_run, "confirm_s",
			  json_array_size(diff) ? (int)confirm_s : 0, "diff", diff, "text", text ? text : "", "notes", notes);

	free(text);
	return api_answer(c, json);
}

static struct model *body_model(struct call *c)
{
	size_t before = c->errs->n;
	struct model *m = model_parse(c->rq->body, c->rq->body_len, api_source(c), c->errs);

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
	json_t *diff = NULL, *noted = notes(c, m);
	int r = commit_apply(c->api->commit, m, o, &diff, c->errs);

	if (!r)
		return answer_diff(c, diff, noted, o->dry_run, o->confirm_s);
	json_decref(noted);
	return r;
}

static int commit_query(struct call *c, struct commit_options *o)
{
	const char *confirm = http_query(c->rq, "confirm");

	o->what = api_source(c);
	o->dry_run = api_query_flag(c, "dry-run");
	o->force = api_query_flag(c, "force");
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

static int post_diff(struct call *c)
{
	struct model *m = body_model(c);
	json_t *diff, *noted;

	if (!m)
		return -EINVAL;
	diff = model_diff(c->api->sw->model, m);
	noted = diff ? notes(c, m) : NULL;
	model_free(m);
	return diff ? answer_diff(c, diff, noted, true, 0) : api_answer(c, NULL);
}

static int post_check(struct call *c)
{
	struct model *m = body_model(c);

	json_t *noted;

	if (!m)
		return -EINVAL;
	noted = notes(c, m);
	model_free(m);
	return api_answer(c, json_pack("{s:b, s:o}", "ok", 1, "notes", noted));
}

static int post_confirm(struct call *c)
{
	int r = commit_confirm(c->api->commit, c->errs);

	return r ? r : api_answer(c, json_pack("{s:b}", "confirmed", 1));
}

static int post_rollback(struct call *c)
{
	uint32_t steps = 1;
	json_t *diff = NULL;
	int r = api_query_u32(c, "steps", 1, STATE_HISTORY, &steps);

	if (!r)
		r = commit_rollback(c->api->commit, steps, &diff, c->errs);
	if (r)
		json_decref(diff); /* in force, and not recorded */
	return r ? r : answer_diff(c, diff, json_array(), false, 0);
}

static int post_save(struct call *c)
{
	int r = commit_save(c->api->commit, c->errs);

	return r ? r : api_answer(c, json_pack("{s:s}", "saved", c->api->state->config));
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
	r = m ? change(m, c->endpoint->noun, item, api_source(c), c->errs) : errs_fail(c->errs, ENOMEM, "out of memory");
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

static int post_replace(struct call *c)
{
	return edit(c, c->rq->body, c->rq->body_len, model_replace);
}

static int delete_item(struct call *c)
{
	const char *item = http_query(c->rq, "item");

	if (!item && !c->rq->body_len)
		return errs_fail(c->errs, EINVAL, "which one? ?item=JSON, or the body, with what names it");
	return edit(c, item ? item : c->rq->body, item ? strlen(item) : c->rq->body_len, model_remove);
}

#define AS_REPLACE "the same, in the place of the one that there may be"

const struct endpoint api_config_endpoints[API_CONFIG_ENDPOINTS] = {
	{"GET", "/v1/config", get_config, NULL, "the running configuration, ?format=json|yaml"},
	{"POST", "/v1/config", post_config, NULL, "apply a whole configuration; ?dry-run=1, ?confirm=SECONDS, ?force=1"},
	{"POST", "/v1/config/diff", post_diff, NULL, "what applying it would change"},
	{"POST", "/v1/config/check", post_check, NULL, "whether it is a good configuration"},
	{"POST", "/v1/config/confirm", post_confirm, NULL, "keep the change that waits"},
	{"POST", "/v1/config/rollback", post_rollback, NULL, "the configuration of ?steps= (1) changes ago"},
	{"POST", "/v1/config/save", post_save, NULL, "the running configuration into the file"},
	{"POST", "/v1/ports", post_item, "ports", "add a port"},
	{"DELETE", "/v1/ports", delete_item, "ports", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/vlans", post_item, "vlans", "add a VLAN"},
	{"DELETE", "/v1/vlans", delete_item, "vlans", "take one away: ?item={\"id\": …}"},
	{"POST", "/v1/interfaces", post_item, "interfaces", "add an interface"},
	{"POST", "/v1/interfaces/replace", post_replace, "interfaces", AS_REPLACE},
	{"DELETE", "/v1/interfaces", delete_item, "interfaces", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/vrfs", post_item, "vrfs", "add a VRF; of `default` what it has beside its own"},
	{"POST", "/v1/vrfs/replace", post_replace, "vrfs", AS_REPLACE},
	{"DELETE", "/v1/vrfs", delete_item, "vrfs", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/nexthops", post_item, "nexthops", "add a named nexthop or group"},
	{"POST", "/v1/nexthops/replace", post_replace, "nexthops", AS_REPLACE},
	{"DELETE", "/v1/nexthops", delete_item, "nexthops",
	 "take one away that no route and no group needs: ?item={\"name\": …}"},
	{"POST", "/v1/routes", post_item, "routes", "add a route"},
	{"POST", "/v1/routes/replace", post_replace, "routes", AS_REPLACE},
	{"DELETE", "/v1/routes", delete_item, "routes", "take one away: ?item={\"to\": …, \"vrf\": …, \"metric\": …}"},
	{"POST", "/v1/nat", post_item, "nat", "add a NAT rule, behind the others, or \"before\" or \"after\" one of them"},
	{"DELETE", "/v1/nat", delete_item, "nat", "take one away: ?item={\"name\": …}"},
	{"POST", "/v1/fdb", post_item, "fdb", "add a static station"},
	{"DELETE", "/v1/fdb", delete_item, "fdb", "take one away: ?item={\"mac\": …, \"vlan\": …}"},
	{"POST", "/v1/neighbors", post_item, "neighbors", "add a static neighbour"},
	{"DELETE", "/v1/neighbors", delete_item, "neighbors", "take one away: ?item={\"address\": …, \"interface\": …}"},
};
