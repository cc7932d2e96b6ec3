/* flow_move.h: flows and mappings to another gateway: written as the lines of flow_file.h, and taken from them.
 *
 * Between the API and the tables. Both work in slices. While one of them is at it, a change of the tables' size waits
 * (flow_users()).
 */
#ifndef SLUICE_FLOW_MOVE_H
#define SLUICE_FLOW_MOVE_H

#include "http.h"
#include "sw.h"

/* What there is at the moment; entries that come or go meanwhile may or may not be in it. -EBUSY: the tables change their size,
 * and would have to wait for whoever reads slowly; -ENOMEM. */
int flow_save(struct sw *sw, struct http_stream *ret, struct errs *errs);
/* Lines (any but header and end are restored, the others passed over), of which the first has this number in its file. Malformed
 * ones: -EINVAL with words, -EBUSY: the tables change their size; nothing was done then. The answer tells what became of them:
 * {"restored": {"mappings", "peers", "flows"}, "there": n, "refused": [{"line", "what", "reason"}]}. */
int flow_restore(struct sw *sw, const char *text, size_t len, const char *name, int first_line, struct http_stream *ret,
		 struct errs *errs);

#endif
