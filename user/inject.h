/* inject.h: frames that come in by a port once more, as if its cable had been longer. */
#ifndef SLUICE_INJECT_H
#define SLUICE_INJECT_H

#include <stddef.h>
#include "datapath.h"

struct inject;

int inject_open(struct datapath *dp, struct inject **ret, struct errs *errs);
void inject_close(struct inject *i); /* takes NULL */
/* `frame` begins with the MACs. `port`: the id of the port that has counted it as received and forwarded, which is taken back; 0:
 * none. 0 or -errno. Nothing under --test-trace, whose tests count each packet. */
int inject_frame(struct inject *i, int ifindex, uint16_t port, const void *frame, size_t len);

#endif
