/* next.h: tables of another size, and the programs that lead there: made beside what is in force, put into force, or given up.
 *
 * Between resize.c, which knows the steps and copies what the tables hold, and the datapath. The order:
 *
 *   next_make      maps of the new sizes; programs that know both tables, and such as know the next ones alone. Nothing is in
 *                  force yet. Takes a second: for a thread, while the datapath is left alone. Ends early, with -ECANCELED,
 *                  when *stop says that nobody wants it any more
 *   next_both      the programs that know both are in force: from here on what they insert is in both tables
 *   (copying)
 *   next_commit    everything is in the next tables, and they are in force: the datapath's tables are those from here on, and
 *                  next_table() gives the former ones. A sluiced that is killed before this finds the former tables, one that is
 *                  killed later the next ones; either are whole
 *   next_finish    the pins have their names
 *   next_free      at any time before next_commit (after next_back), or after next_finish. Slow: for a thread
 */
#ifndef SLUICE_NEXT_H
#define SLUICE_NEXT_H

#include "datapath.h"
#include "err.h"
#include "table.h"

struct next;

int next_make(struct datapath *dp, const struct settings_cfg *sizes, const bool *stop, struct next **ret, struct errs *errs);
int next_both(struct next *n, struct errs *errs);
/* The former programs are in force again, which know the former tables alone. */
int next_back(struct next *n, struct errs *errs);
int next_commit(struct next *n, struct errs *errs);
int next_finish(struct next *n, struct errs *errs);
void next_free(struct next *n); /* accepts NULL */

/* The map of the other size: until next_commit() the next one, then the former one. */
struct table *next_table(struct next *n, const char *map);

/* Waits until no CPU is in a program that was in force before. Blocks: for a thread. */
void next_wait_cpus(void);

#endif
