/* events.h: what the kernel tells by netlink becomes reconciliation.
 *
 * The mirror's callbacks only note what changed (and hand neighbours and routes to their nouns, which gather them). When a
 * batch has settled, the nouns that depend on it reconcile once, in the order of commit.c. Nobody waits for these, so what
 * goes wrong is logged once per distinct text, kept for `status`, and tried again with the next event and every few seconds.
 */
#ifndef SLUICE_EVENTS_H
#define SLUICE_EVENTS_H

#include "mirror.h"
#include "sw.h"

struct events;

int events_new(struct sw *sw, struct events **ret, struct errs *errs);
void events_free(struct events *e); /* accepts NULL */
/* For mirror_open(); valid as long as `e`. */
const struct mirror_listener *events_listener(struct events *e);
/* From now on events are acted on; before it they are only noted. */
void events_start(struct events *e);
/* The routes have work left: their turn comes again, as after an event. */
void events_again(struct events *e);
/* The netdevs are to be looked at, as after an event. */
void events_again_links(struct events *e);
/* The same of the routing rules of other programs. */
void events_again_rules(struct events *e);
/* The same of the neighbours' being read; without `more` it is done, and gateways may have changed. */
void events_again_neighbors(struct events *e, bool more);
/* Something is noted and not yet reconciled. */
bool events_pending(const struct events *e);
/* What failed in the last reconciliations: ["text", ...]. */
json_t *events_errors(const struct events *e);

#endif
