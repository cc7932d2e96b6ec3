/* loop.c: see loop.h. */
#include "loop.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "clock.h"
#include "log.h"

#define LOG_EVERY_NS 1000000000 /* long turns seldom come alone */

static struct {
	bool running;
	int schedstat;			    /* a file of this thread; negative: the kernel has none */
	uint64_t cpu_ns, wall_ns, delay_ns; /* when the turn began */
	uint64_t kernel_ns, asked_ns;	    /* processor time of what it was asked for; when that began */
	uint64_t part_ns;		    /* when what it does now began, in processor time */
	const char *part, *longest;
	uint64_t longest_ns, logged_ns;
	struct loop_stats stats;
} loop = {.schedstat = -1};

static _Thread_local bool is_loop; /* this thread runs it */

/* How long this thread has been ready to run, and did not: the second number of the file. */
static uint64_t delay_ns(void)
{
	char text[96], *end;
	ssize_t n = loop.schedstat < 0 ? -1 : pread(loop.schedstat, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	strtoull(text, &end, 10);
	return strtoull(end, NULL, 10);
}

static void part_end(uint64_t now)
{
	if (now - loop.part_ns >= loop.longest_ns) {
		loop.longest_ns = now - loop.part_ns;
		loop.longest = loop.part;
	}
	loop.part_ns = now;
}

void loop_doing(const char *what)
{
	if (!loop.running)
		return;
	part_end(clock_read_ns(CLOCK_THREAD_CPUTIME_ID));
	loop.part = what;
}

void loop_asks_kernel(bool begins)
{
	uint64_t now;

	if (!is_loop)
		return;
	now = loop.running ? clock_read_ns(CLOCK_THREAD_CPUTIME_ID) : 0;

	if (begins)
		loop.asked_ns = now;
	else
		loop.kernel_ns += now - loop.asked_ns;
}

static bool note(struct loop_time *t, uint64_t took)
{
	bool is_long = took > LOOP_LONG_NS;

	t->n_long += is_long;
	if (took > t->max_ns) {
		t->max_ns = took;
		snprintf(t->what, sizeof(t->what), "%s", loop.longest);
	}
	return is_long;
}

static void turn_end(void)
{
	uint64_t cpu = clock_read_ns(CLOCK_THREAD_CPUTIME_ID), wall = clock_now_ns(), waited = delay_ns() - loop.delay_ns;
	uint64_t took = wall - loop.wall_ns, cpu_took = cpu - loop.cpu_ns - loop.kernel_ns;
	bool is_long;

	part_end(cpu);
	took = took > waited ? took - waited : 0;
	if (took < cpu_took)
		took = cpu_took;
	loop.stats.turns++;
	if (took >= LOOP_TOLD_NS)
		log_debug("a turn of the event loop: %.1f ms, %.1f ms of them on the processor: %s", (double)took / 1e6,
			  (double)cpu_took / 1e6, loop.longest);
	is_long = note(&loop.stats.cpu, cpu_took);
	is_long |= note(&loop.stats.blocked, took);
	if (!is_long || (loop.logged_ns && wall - loop.logged_ns < LOG_EVERY_NS))
		return;
	loop.logged_ns = wall;
	log_info("a turn of the event loop took %.1f ms, %.1f ms of them on the processor: %s", (double)took / 1e6,
		 (double)cpu_took / 1e6, loop.longest);
}

static void turn_begin(void)
{
	loop.delay_ns = delay_ns();
	loop.wall_ns = clock_now_ns();
	loop.cpu_ns = loop.part_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	loop.part = loop.longest = "something small";
	loop.longest_ns = loop.kernel_ns = 0;
}

/* In the place of the C library's, for libevent: version 2.1 tells nobody when it listens. */
int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
	int n;

	if (loop.running)
		turn_end();
	n = (int)syscall(SYS_epoll_pwait, epfd, events, max, timeout_ms, NULL, _NSIG / 8);
	if (loop.running)
		turn_begin();
	return n;
}

/* The C library gives memory back in one go when the last small piece above it is freed: 25 ms for the 300 MB of a million routes
 * that have gone. So what is small stays, for the next table. */
static void memory_in_no_long_step(void)
{
	mallopt(M_TRIM_THRESHOLD, -1);
}

struct event_base *loop_base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base;

	memory_in_no_long_step();
	if (!config)
		return NULL;
	event_config_set_max_dispatch_interval(config, NULL, 1, 0);
	base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int loop_run(struct event_base *base)
{
	int r;

	loop.schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	turn_begin();
	loop.running = is_loop = true;
	r = event_base_dispatch(base);
	loop.running = false;
	if (loop.schedstat >= 0)
		close(loop.schedstat);
	return r;
}

const struct loop_stats *loop_stats(void)
{
	return &loop.stats;
}
