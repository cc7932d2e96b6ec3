/* api.h: what can be asked of and told to a running sluiced, as JSON (docs/api.md).
 *
 * Errors are {"errors": [{"file", "line", "key", "message", "text"}]} with status 400 (wrong), 404 (not there), 409 (exists,
 * or another change waits to be confirmed) or 500 (the kernel refused).
 */
#ifndef SLUICE_API_H
#define SLUICE_API_H

#include "commit.h"
#include "events.h"
#include "http.h"

struct api {
	struct sw *sw;
	struct commit *commit;
	struct state *state;
	struct events *events;
	uint64_t started_s; /* state_now_s() */
};

/* The http_handler; `arg` is a struct api. */
void api_handle(void *arg, const struct http_request *rq, struct http_reply *reply);

#endif
