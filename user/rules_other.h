/* rules_other.h: routing rules (`ip rule`) of other programs, which the switch does not follow: between netlink_rule.c and who
 * says so (events.c, `status`, the audit of the routes).
 *
 * sluice routes a packet by the tables of its VRF, in their order. A rule that leads some packets to another table, or refuses
 * them, is the kernel's alone; what the gateway's own programs send goes by it, and what is forwarded does not.
 */
#ifndef SLUICE_RULES_OTHER_H
#define SLUICE_RULES_OTHER_H

#include "sw.h"

int rules_other_open(struct sw *sw, struct errs *errs);
void rules_other_close(struct sw *sw);
/* One may have been added or taken away, or the tables of VRF default are others: they are read again by the next call of the
 * following. */
void rules_other_changed(struct sw *sw);
/* Reads them if they may be others now; logs each that is new (named.h). */
int rules_other_reconcile(struct sw *sw, struct errs *errs);
/* How many there are; does one of them refuse with the words for no route? 0, false: not open. */
size_t rules_other_count(const struct sw *sw);
bool rules_other_refuse(const struct sw *sw);
/* The texts of the first of them are appended. */
void rules_other_conditions(const struct sw *sw, json_t *list);

#endif
