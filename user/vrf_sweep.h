/* vrf_sweep.h: what the instance of a saved model left of VRFs in the kernel, known without its maps. */
#ifndef SLUICE_VRF_SWEEP_H
#define SLUICE_VRF_SWEEP_H

#include <stdbool.h>
#include "model.h"
#include "netlink.h"

/* Deletes its routing rules. The first failure, with words. */
int vrf_sweep(struct netlink *nl, const struct model *saved, struct errs *errs);
/* Is the kernel's table one of its VRFs'? Not those of `default`. */
bool vrf_saved_table(const struct model *saved, uint32_t table);

#endif
