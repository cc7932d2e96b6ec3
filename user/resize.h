/* resize.h: the tables of flows and mappings are brought to the size that the model says, while packets go on.
 *
 * Between commit.c, which has the model reconciled, and the steps: next.h (maps and programs), flow_copy.h (what the tables
 * hold). Nothing of it is waited for: a commit only begins it, status tells how far it is. No packet and no flow is lost, whether
 * it ends well, is given up, or sluiced is killed in its midst.
 */
#ifndef SLUICE_RESIZE_H
#define SLUICE_RESIZE_H

#include "sw.h"

int resize_open(struct sw *sw, struct errs *errs);
void resize_close(struct sw *sw);
/* Would the flows that there are fit? -EINVAL, with how many there are. */
int resize_check(const struct sw *sw, const struct settings_cfg *from, const struct settings_cfg *to, struct errs *errs);
/* Begins what is to be done; one that is under way to other sizes is given up for it, as soon as its thread has ended. */
int resize_reconcile(struct sw *sw, struct errs *errs);
/* Before the programs are exchanged for another reason: what is under way is given up (1: resize_reconcile() begins it again), or
 * is past the point where it matters (0). -EAGAIN: it will be given up, but its thread is at work still: to be asked again. */
int resize_yield(struct sw *sw);
/* Are there two sizes of tables at the moment? Who writes flows waits for its end. */
bool resize_is_busy(const struct sw *sw);
/* {"flows": {"pairs", "size", "bytes_per_pair", "bytes"}, "flows6": {...}, "mappings": {...}, "resizing": null | {"step",
 * "percent"}, "gave_way", "error": null | text} */
json_t *resize_show(const struct sw *sw);

#endif
