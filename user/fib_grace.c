/* fib_grace.c: RCU grace periods, waited for beside the event loop: between fib_units.c, which needs one now and then before
 * memory is used again, and the kernel, which makes the caller wait for some 10 ms, and on a busy machine for 300.
 *
 * The only thread besides the main one. It does nothing but wait in that one system call.
 */
#include "fib_grace.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	bool running;
	uint64_t wanted, done; /* tickets */
} grace = {.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER};

void fib_grace_period(void)
{
	/* synchronize_rcu() by system call: XDP and tc programs run inside RCU read sections. */
	if (syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return;
	/* Kernels with nohz_full refuse it. A program at our hooks runs for microseconds with preemption or migration off, so a
	 * tenth of a second is beyond what one can take; should one take longer it reads a wrong nexthop for one packet. */
	nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
}

static void *wait_for_periods(void *arg)
{
	uint64_t ticket;

	pthread_mutex_lock(&grace.lock);
	for (;;) {
		while (grace.done == grace.wanted)
			pthread_cond_wait(&grace.asked, &grace.lock);
		ticket = grace.wanted;
		pthread_mutex_unlock(&grace.lock);
		fib_grace_period();
		pthread_mutex_lock(&grace.lock);
		grace.done = ticket;
	}
	return arg;
}

/* Signals are the event loop's. */
static bool start(void)
{
	pthread_t thread;
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, NULL, wait_for_periods, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r)
		pthread_detach(thread);
	return !r;
}

uint64_t fib_grace_ask(void)
{
	uint64_t ticket = 0;

	pthread_mutex_lock(&grace.lock);
	if (!grace.running)
		grace.running = start();
	if (grace.running) {
		ticket = ++grace.wanted;
		pthread_cond_signal(&grace.asked);
	}
	pthread_mutex_unlock(&grace.lock);
	return ticket;
}

bool fib_grace_over(uint64_t ticket)
{
	bool over;

	pthread_mutex_lock(&grace.lock);
	over = ticket <= grace.done;
	pthread_mutex_unlock(&grace.lock);
	return over;
}
