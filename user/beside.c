/* beside.c: see beside.h: the queue of what is to be done, and the way from its thread into the loop. */
#include "beside.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>
#include "job.h"
#include "loop.h"

#define LATER_US 2000

struct piece {
	TAILQ_ENTRY(piece) link;
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

struct beside {
	struct event_base *base;
	TAILQ_HEAD(, piece) pieces; /* the first is under way, if `running` */
	bool running;
	struct job *job;

	pthread_t loop;
	int fd;			    /* an eventfd: the thread asks */
	struct event *asked, *turn; /* in the loop: it does (while a thread is there to ask), and what comes in the next turn */

	pthread_mutex_t lock; /* of what is below */
	pthread_cond_t answered;
	int (*step)(void *arg); /* NULL: nothing is asked */
	void *arg;
	int answer;
};

static void begin(struct beside *b);

static void finish(struct beside *b, struct piece *p)
{
	TAILQ_REMOVE(&b->pieces, p, link);
	p->done(p->arg);
	free(p);
}

static void ended(void *arg)
{
	struct beside *b = arg;

	b->job = NULL;
	b->running = false;
	event_del(b->asked);
	finish(b, TAILQ_FIRST(&b->pieces));
	begin(b);
}

static void run(void *arg)
{
	struct piece *p = TAILQ_FIRST(&((struct beside *)arg)->pieces);

	p->fn(p->arg);
}

/* Where there is no thread to be had the work is done all the same, in the loop. */
static void begin(struct beside *b)
{
	while (!b->running && !TAILQ_EMPTY(&b->pieces)) {
		b->running = true;
		if (!event_add(b->asked, NULL) && !job_start(b->base, run, ended, b, &b->job))
			return;
		event_del(b->asked);
		run(b);
		b->running = false;
		finish(b, TAILQ_FIRST(&b->pieces));
	}
}

int beside_do(struct beside *b, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
	struct piece *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	*p = (struct piece){.fn = fn, .done = done, .arg = arg};
	TAILQ_INSERT_TAIL(&b->pieces, p, link);
	begin(b);
	return 0;
}

int beside_loop(struct beside *b, int (*step)(void *arg), void *arg)
{
	uint64_t one = 1;
	int r;

	if (pthread_equal(pthread_self(), b->loop)) {
		while ((r = step(arg)) == BESIDE_AGAIN || r == BESIDE_LATER)
			if (r == BESIDE_LATER)
				usleep(LATER_US);
		return r;
	}
	pthread_mutex_lock(&b->lock);
	b->step = step;
	b->arg = arg;
	while (write(b->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	while (b->step)
		pthread_cond_wait(&b->answered, &b->lock);
	r = b->answer;
	pthread_mutex_unlock(&b->lock);
	return r;
}

/* Nobody but the waiting thread writes what is read here. */
static void do_step(struct beside *b)
{
	struct timeval next = {0};
	int r;

	loop_doing("a step of a change");
	r = b->step(b->arg);

	if (r == BESIDE_AGAIN || r == BESIDE_LATER) {
		next.tv_usec = r == BESIDE_LATER ? LATER_US : 0;
		evtimer_add(b->turn, &next);
		return;
	}
	pthread_mutex_lock(&b->lock);
	b->answer = r;
	b->step = NULL;
	pthread_cond_signal(&b->answered);
	pthread_mutex_unlock(&b->lock);
}

static void on_asked(evutil_socket_t fd, short what, void *arg)
{
	struct beside *b = arg;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return;
	/* the thread had the lock when it wrote what it wants */
	pthread_mutex_lock(&b->lock);
	pthread_mutex_unlock(&b->lock);
	do_step(b);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	do_step(arg);
}

static void free_parts(struct beside *b)
{
	if (b->asked)
		event_free(b->asked);
	if (b->turn)
		event_free(b->turn);
	if (b->fd >= 0)
		close(b->fd);
	pthread_cond_destroy(&b->answered);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

int beside_open(struct event_base *base, struct beside **ret)
{
	struct beside *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->base = base;
	b->loop = pthread_self();
	TAILQ_INIT(&b->pieces);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->answered, NULL);
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = b->fd < 0 ? -errno : 0;
	b->asked = err ? NULL : event_new(base, b->fd, EV_READ | EV_PERSIST, on_asked, b);
	b->turn = evtimer_new(base, on_turn, b);
	if (!err && (!b->asked || !b->turn))
		err = -ENOMEM;
	if (err)
		free_parts(b);
	else
		*ret = b;
	return err;
}

void beside_close(struct beside *b)
{
	struct piece *p, *next;

	if (!b)
		return;
	for (p = TAILQ_FIRST(&b->pieces); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (!b->running || p != TAILQ_FIRST(&b->pieces))
			finish(b, p);
	}
	while (b->running)
		event_base_loop(b->base, EVLOOP_ONCE);
	free_parts(b);
}
