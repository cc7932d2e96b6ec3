/* control.h: the map `control`, one element that sluiced has mmap-ed (sw->control): settings that the data plane reads for
 * every packet. sw_epoch() of sw.h belongs to it too.
 */
#ifndef SLUICE_CONTROL_H
#define SLUICE_CONTROL_H

#include "err.h"

struct sw;

/* Settings of the running model into the element. A hash seed of 0 in the model keeps the one that is there, or makes one. */
int control_reconcile(struct sw *sw, struct errs *errs);
/* Raises `ping`: proof of life, once a second. */
void control_ping(struct sw *sw);

#endif
