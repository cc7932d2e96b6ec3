/* api_priv.h: what api.c (the table of endpoints, and what is asked of the nouns) and api_config.c (the configuration: shown,
 * compared, changed) share.
 */
#ifndef SLUICE_API_PRIV_H
#define SLUICE_API_PRIV_H

#include "api.h"

/* A request, and the answer to it as it is made. */
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

/* `json` (consumed) is the answer; NULL: no memory was left for it. */
int api_answer(struct call *c, json_t *json);
/* ?name=N; `ret` is untouched when it is absent. */
int api_query_u32(struct call *c, const char *name, uint32_t min, uint32_t max, uint32_t *ret);
bool api_query_flag(struct call *c, const char *name);
/* How errors name the text: ?source=FILE, or "api". */
const char *api_source(struct call *c);

/* api_config.c: of the configuration. Their functions are called beside the loop: commit_do(). */
#define API_CONFIG_ENDPOINTS 29
extern const struct endpoint api_config_endpoints[API_CONFIG_ENDPOINTS];

#endif
