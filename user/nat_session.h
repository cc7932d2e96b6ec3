/* nat_session.h: no session's beginning stands in the log of NAT without its end.
 *
 * Between nat_log.c, which reads the ring and writes lines, those who end flows (sw.h), and flow_told.c. Sessions that may end
 * without sluiced are kept in mind (flow_told.c) until the ring has said that they have, or has been read up to when they were
 * found gone. Where there is no room for that, the beginning is lost. A session that sluiced ends before it has read of its
 * beginning is kept there as well: its end comes second. What is kept, and what has ended and is not out of this process, is
 * noted in a file (nat_owed.h), and taken up by the next sluiced.
 */
#ifndef SLUICE_NAT_SESSION_H
#define SLUICE_NAT_SESSION_H

#include "nat_owed.h"
#include "sw.h"

struct nat_session;

/* -errno; *ret is to be closed then as well. */
int nat_session_open(struct sw *sw, struct nat_session **ret);
void nat_session_close(struct nat_session *s); /* takes NULL; call nat_session_flushed() before, if all lines are out */
/* Once it is known whether anything is logged: what a sluiced before this one owed, some milliseconds' work at a time. True:
 * there is more; until there is not, the ring is not to be read, and no pass over the flows to begin. */
bool nat_session_take_up(struct nat_session *s);
bool nat_session_is_taken_up(const struct nat_session *s);
/* Of the ring; written if it belongs into the log. */
void nat_session_event(struct nat_session *s, const struct nat_event *e);
/* All that happened before `ns` (CLOCK_MONOTONIC) has been read of it. */
void nat_session_read(struct nat_session *s, uint64_t ns);
/* All lines so far have left the process, or are lost. */
void nat_session_flushed(struct nat_session *s);
/* Beginnings for which there was no room, and which are not in the log. */
uint64_t nat_session_unkept(const struct nat_session *s);
/* Where notes are taken of what the next sluiced must know. */
struct nat_owed *nat_session_owed(struct nat_session *s);

/* nat_log.c: */
struct nat_session *nat_log_session(const struct sw *sw); /* NULL: there is no log */
void nat_log_write(struct sw *sw, const struct nat_event *e);

#endif
