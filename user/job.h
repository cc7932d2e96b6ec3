/* job.h: one piece of work in a thread of its own, and the event loop told of its end.
 *
 * For what the kernel does in one call of half a second (loading a program, making or freeing a map of hundreds of megabytes),
 * and for what a large configuration takes to be read and written (beside.h); for nothing else: sluiced has one event loop, and
 * what a job works on is left alone by everybody until it is over.
 */
#ifndef SLUICE_JOB_H
#define SLUICE_JOB_H

#include <event2/event.h>
#include <stdbool.h>

struct job;

/* Runs fn(arg) in a thread, and done(arg) in the event loop afterwards. -ENOMEM, -EAGAIN: not begun. */
int job_start(struct event_base *base, void (*fn)(void *arg), void (*done)(void *arg), void *arg, struct job **ret);
/* Has fn() ended? Then job_join() waits for nothing. */
bool job_over(const struct job *j);
/* Waits for the end of fn(); done() is not called. Frees the job; accepts NULL. */
void job_join(struct job *j);

#endif
