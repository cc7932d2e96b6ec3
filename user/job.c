/* job.c: between a thread and the event loop: a pipe, whose end is closed when the work is done. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "job.h"

struct job {
	pthread_t thread;
	struct event *ended;
	int pipe[2];
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
	bool over;
};

static void *work(void *arg)
{
	struct job *j = arg;

	j->fn(j->arg);
	__atomic_store_n(&j->over, true, __ATOMIC_RELEASE);
	close(j->pipe[1]);
	return NULL;
}

bool job_over(const struct job *j)
{
	return __atomic_load_n(&j->over, __ATOMIC_ACQUIRE);
}

void job_join(struct job *j)
{
	if (!j)
		return;
	pthread_join(j->thread, NULL);
	event_free(j->ended);
	close(j->pipe[0]);
	free(j);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;
	void (*done)(void *) = j->done;
	void *of = j->arg;

	job_join(j);
	done(of);
}

/* Signals are the event loop's. */
static int start_thread(struct job *j)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&j->thread, NULL, work, j);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

int job_start(struct event_base *base, void (*fn)(void *arg), void (*done)(void *arg), void *arg, struct job **ret)
{
	struct job *j = calloc(1, sizeof(*j));
	int err;

	*ret = NULL;
	if (!j)
		return -ENOMEM;
	*j = (struct job){.fn = fn, .done = done, .arg = arg};
	if (pipe2(j->pipe, O_CLOEXEC)) {
		err = -errno;
		free(j);
		return err;
	}
	*ret = j;
	j->ended = event_new(base, j->pipe[0], EV_READ, on_end, j);
	err = j->ended && !event_add(j->ended, NULL) ? start_thread(j) : -ENOMEM;
	if (!err)
		return 0;
	*ret = NULL;
	if (j->ended)
		event_free(j->ended);
	close(j->pipe[0]);
	close(j->pipe[1]);
	free(j);
	return err;
}
