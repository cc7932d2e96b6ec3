/* flow_room.h: tables that become smaller have room for what is answered: the pairs that wait for their first answer give way.
 *
 * Between resize.c, which knows the steps, and the notes of who waits (map `half_open`, bpf/half.h). Who gives way is what the
 * data plane would end next to make room for newcomers, and is counted likewise (`flow_gave_way`). Before the copying so many of
 * them end that the rest fits, and until the new tables are in force there may be no more of them than that; what the copying
 * still finds no place for, flow_copy.c ends by the same rules.
 */
#ifndef SLUICE_FLOW_ROOM_H
#define SLUICE_FLOW_ROOM_H

#include "sw.h"

struct flow_room;
struct flow_tuple;

/* Pairs of a family that wait for their first answer, and would give way; in a large table an estimate by some of the notes. */
uint64_t flow_waiting(const struct sw *sw, int family);
/* Is the entry one of a pair that would give way? *ret_forward, *ret_f are its forward entry. -ENOENT: its other half is missing.
 */
int flow_waits(struct flows *flows, const struct flow_tuple *key, const struct flow *f, struct flow_tuple *ret_forward,
	       struct flow *ret_f);
/* Ends such a pair, in all tables that there are, and counts it. */
void flow_give_way(struct flows *flows, const struct flow_tuple *forward, const struct flow *f);

/* From here on, until flow_room_end(). `next_lines`: of the next `half_open`. *ret is NULL where no table becomes smaller, which
 * is no error. -ENOMEM, -ENOENT. */
int flow_room_begin(struct sw *sw, const struct settings_cfg *to, uint32_t next_lines, struct flow_room **ret);
/* Some milliseconds' work. 1: there is more; 0: there is room; -E2BIG: what is answered does not fit. */
int flow_room_some(struct flow_room *r);
/* As many may wait as before: when the change is given up, or is over. Frees it; accepts NULL. */
void flow_room_end(struct flow_room *r);

#endif
