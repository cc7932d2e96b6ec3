/* nat_owed.h: the ends that the log of NAT owes: sessions of which a beginning stands there and that may end without a word, or
 * have ended and whose line is not written yet.
 *
 * Between nat_log.c and a file in the instance's directory, which it has mapped: what a sluiced that is killed has noted is there
 * for the next one. A session takes 120 bytes; the file is of a tmpfs mostly, grows in steps, and is small again when nothing is
 * owed. Who ends a session notes that first, and forgets it when its line is out of this process: so killed at whatever point,
 * the end is told, at worst twice.
 */
#ifndef SLUICE_NAT_OWED_H
#define SLUICE_NAT_OWED_H

#include <stdbool.h>
#include <stdint.h>
#include <sluice/abi.h>

struct nat_owed;

/* `path` NULL: memory that nobody finds again. What a former process noted is there: nat_owed_left(). -errno. */
int nat_owed_open(const char *path, struct nat_owed **ret);
void nat_owed_close(struct nat_owed *o); /* takes NULL; the file stays */
/* What a former process has left, as it was: of a session that has ended (`gone_ns`, CLOCK_MONOTONIC) or not (0). The one that is
 * shown may be forgotten. Looks at `max` notes from *at on, 0 at first; true: there are more. */
bool nat_owed_left(struct nat_owed *o, uint32_t *at, uint32_t max,
		   void (*fn)(uint32_t number, const struct nat_event *begin, uint64_t gone_ns, void *arg), void *arg);

/* The number of a note, from 1 on; 0: there is no room. `begin`: the session, as its beginning has it. */
uint32_t nat_owed_add(struct nat_owed *o, const struct nat_event *begin, uint64_t gone_ns);
void nat_owed_gone(struct nat_owed *o, uint32_t number, uint64_t gone_ns);
/* Its end is with who writes: it is forgotten at the next nat_owed_flushed(). All take the number 0 for nothing. */
void nat_owed_written(struct nat_owed *o, uint32_t number);
void nat_owed_flushed(struct nat_owed *o);
void nat_owed_forget(struct nat_owed *o, uint32_t number);

/* A number that outlives the process, for nat_log.c; UINT64_MAX in a new file. */
uint64_t nat_owed_word(const struct nat_owed *o);
void nat_owed_set_word(struct nat_owed *o, uint64_t word);

#endif
