/* neighbor_asked.c: packets that wait for a neighbour. Between the ring buffer of bpf/asked.h, the entries of neighbor.c and
 * inject.h.
 *
 * The kernel holds them and sends them on when it has an answer; when it has none, it drops them, and here are the copies: each
 * comes in again by its port, finds the neighbour failed, and is answered (or has another way by then). It is counted as what
 * becomes of it then, and no more as forwarded. Bounds: ASKED_MAX packets, each for ASKED_S seconds; what comes beyond is not
 * kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "inject.h"
#include "loop.h"
#include "neighbor_priv.h"
#include "ring.h"

#define ASKED_MAX     1024
#define ASKED_S	      10    /* the kernel gives up after three, or as often as it is told to ask */
#define ASKED_SLICE   32    /* come in again in one turn */
#define ASKED_WAIT_US 20000 /* so that the routes have left a gateway that failed */

struct neighbor_asked {
	struct neighbors *ns;
	struct inject *inject;
	struct ring *ring;
	struct event *turn;
	struct asked_packet *held[ASKED_MAX]; /* in the order they came; each as long as its frame */
	size_t n;
};

static void on_record(const void *record, size_t size, void *arg)
{
	const struct asked_packet *a = record;
	struct neighbor_asked *as = arg;
	struct asked_packet *copy;

	if (size < sizeof(*a))
		return;
	neighbor_is_asked(as->ns, &a->key);
	if (!a->len || a->len > sizeof(a->frame) || as->n == ASKED_MAX)
		return;
	size = offsetof(struct asked_packet, frame) + a->len;
	copy = malloc(size);
	if (!copy)
		return;
	memcpy(copy, a, size);
	as->held[as->n++] = copy;
}

enum fate { FATE_WAIT, FATE_DONE, FATE_AGAIN };

static enum fate fate_of(const struct neighbor_asked *as, const struct asked_packet *a, uint64_t now_ns)
{
	const struct neighbor_entry *e = neighbor_find(as->ns, (uint16_t)a->key.iface, &a->key.addr);

	if (now_ns > a->at_ns + ASKED_S * CLOCK_SECOND_NS || (e && (e->fixed.wanted || e->state & NUD_USABLE)))
		return FATE_DONE;
	return e && e->failed_s ? FATE_AGAIN : FATE_WAIT;
}

/* Makes room before others come: of those that are over nobody may have asked since, when no neighbour failed. */
static void forget_done(struct neighbor_asked *as, uint64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < as->n; i++) {
		if (fate_of(as, as->held[i], now_ns) == FATE_DONE)
			free(as->held[i]);
		else
			as->held[kept++] = as->held[i];
	}
	as->n = kept;
}

static void again_by(const struct neighbor_asked *as, const struct asked_packet *a)
{
	const struct port *e = port_entry(as->ns->sw, a->port);

	inject_frame(as->inject, (int)a->ifindex, e && e->ifindex == a->ifindex ? a->port : 0, a->frame, a->len);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval at_once = {0};
	uint64_t now_ns = clock_now_ns();
	struct neighbor_asked *as = arg;
	size_t kept = 0, again = 0;

	loop_doing("packets that wait for a neighbour");
	forget_done(as, now_ns);
	ring_read(as->ring, ASKED_MAX);
	for (size_t i = 0; i < as->n; i++) {
		struct asked_packet *a = as->held[i];
		enum fate fate = fate_of(as, a, now_ns);

		if (fate == FATE_WAIT || (fate == FATE_AGAIN && again == ASKED_SLICE)) {
			as->held[kept++] = a;
			continue;
		}
		/* a port that is gone has no sender to be told */
		if (fate == FATE_AGAIN)
			again_by(as, a);
		again += fate == FATE_AGAIN;
		free(a);
	}
	as->n = kept;
	neighbor_settled(as->ns->sw);
	if (again == ASKED_SLICE)
		evtimer_add(as->turn, &at_once);
}

void neighbor_asked_soon(struct neighbors *ns)
{
	const struct timeval wait = {.tv_usec = ASKED_WAIT_US};

	if (!evtimer_pending(ns->asked->turn, NULL))
		evtimer_add(ns->asked->turn, &wait);
}

int neighbor_asked_open(struct neighbors *ns, struct errs *errs)
{
	struct neighbor_asked *as = calloc(1, sizeof(*as));
	int r;

	if (!as)
		return errs_fail(errs, ENOMEM, "neighbors: out of memory");
	ns->asked = as;
	as->ns = ns;
	as->turn = evtimer_new(ns->sw->base, on_turn, as);
	as->ring = ring_open(table_get(ns->sw->dp, "neighbor_asked"), on_record, as);
	r = inject_open(ns->sw->dp, &as->inject, errs);
	if (!r && (!as->turn || !as->ring))
		r = errs_fail(errs, ENODEV, "neighbors: the ring buffer `neighbor_asked` cannot be read");
	return r;
}

void neighbor_asked_close(struct neighbors *ns)
{
	struct neighbor_asked *as = ns->asked;

	if (!as)
		return;
	for (size_t i = 0; i < as->n; i++)
		free(as->held[i]);
	if (as->turn)
		event_free(as->turn);
	ring_close(as->ring);
	inject_close(as->inject);
	free(as);
	ns->asked = NULL;
}
