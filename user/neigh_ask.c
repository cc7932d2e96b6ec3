/* neigh_ask.c: see neigh_ask.h. A thread with a socket of its own, and a ring of requests before it; it shares nothing else with
 * the event loop. It begins with the first request.
 */
#include "neigh_ask.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "netlink.h"

#define REQUESTS 1024 /* that wait */

struct request {
	struct addr addr;
	int ifindex;
	bool drop;
};

struct neigh_ask {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct netlink *nl; /* the thread's */
	bool running, ending;
	unsigned first, n;
	struct request ring[REQUESTS];
};

static void carry_out(struct netlink *nl, const struct request *q)
{
	struct errs errs = {0};

	/* A refusal (the link just went, the entry is gone) leaves things as they are. */
	if (q->drop)
		netlink_neigh_delete(nl, q->ifindex, &q->addr, &errs);
	else
		netlink_neigh_probe(nl, q->ifindex, &q->addr);
	errs_free(&errs);
}

static void *work(void *arg)
{
	struct neigh_ask *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->ending) {
		struct request q;

		if (!a->n) {
			pthread_cond_wait(&a->more, &a->lock);
			continue;
		}
		q = a->ring[a->first];
		a->first = (a->first + 1) % REQUESTS;
		a->n--;
		pthread_mutex_unlock(&a->lock);
		carry_out(a->nl, &q);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* Signals are the event loop's. */
static int start(struct neigh_ask *a)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&a->thread, NULL, work, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	a->running = !err;
	return -err;
}

static int ask(struct neigh_ask *a, const struct request *q)
{
	int r = 0;

	pthread_mutex_lock(&a->lock);
	if (a->n == REQUESTS)
		r = -ENOBUFS;
	else if (!a->running)
		r = start(a);
	if (!r) {
		a->ring[(a->first + a->n++) % REQUESTS] = *q;
		pthread_cond_signal(&a->more);
	}
	pthread_mutex_unlock(&a->lock);
	return r;
}

int neigh_ask_probe(struct neigh_ask *a, int ifindex, const struct addr *addr)
{
	return ask(a, &(struct request){*addr, ifindex, false});
}

int neigh_ask_drop(struct neigh_ask *a, int ifindex, const struct addr *addr)
{
	return ask(a, &(struct request){*addr, ifindex, true});
}

int neigh_ask_open(struct neigh_ask **ret, struct errs *errs)
{
	struct neigh_ask *a = calloc(1, sizeof(*a));
	int r;

	*ret = NULL;
	if (!a)
		return errs_fail(errs, ENOMEM, "out of memory");
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->more, NULL);
	r = netlink_open(&a->nl, errs);
	if (r)
		neigh_ask_close(a);
	else
		*ret = a;
	return r;
}

void neigh_ask_close(struct neigh_ask *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->ending = true;
	pthread_cond_signal(&a->more);
	pthread_mutex_unlock(&a->lock);
	if (a->running)
		pthread_join(a->thread, NULL);
	netlink_close(a->nl);
	pthread_cond_destroy(&a->more);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
