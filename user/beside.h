/* beside.h: long work beside the event loop, one piece after another: between commit.c, whose changes of a configuration with a
 * hundred thousand routes are parsed, checked, compared and written in a thread, and the loop, which alone touches the switch.
 *
 * A piece runs in a thread of its own (job.h) and reads what nobody changes meanwhile: the running model, which only such pieces
 * change, and what it has made itself. What it must change it has the loop do, by beside_loop(), and waits for it. So it reads
 * like any other function, from top to bottom, and no lock is needed for what belongs to the loop.
 */
#ifndef SLUICE_BESIDE_H
#define SLUICE_BESIDE_H

#include <stdbool.h>
#include <event2/event.h>

struct beside;

/* Called in the loop's thread. -ENOMEM, or what eventfd() says. */
int beside_open(struct event_base *base, struct beside **ret);
/* What is under way is brought to its end; what waits is not begun: its done() is called. Takes NULL. */
void beside_close(struct beside *b);

/* After everything before it: fn(arg) in a thread, then done(arg) in the loop. -ENOMEM: neither is called. */
int beside_do(struct beside *b, void (*fn)(void *arg), void (*done)(void *arg), void *arg);

/* What a step returns when its turn of the loop has been long enough: it is called again in the next one. */
#define BESIDE_AGAIN 1
/* The same, when there is nothing to do before some ms have gone by. */
#define BESIDE_LATER 2

/* step(arg) in the loop, until it returns 0 or -errno, which is returned. Called in the loop's own thread (the start of the
 * daemon, its end) there are no turns: the step is called until it is through. */
int beside_loop(struct beside *b, int (*step)(void *arg), void *arg);

#endif
