/* mirror.c: the mirror's sockets: events, dumps, and the order of the two. Its parts (mirror_impl.h) keep the items.
 *
 * There are two sockets here, and mirror_early.c has two for what must not wait. Events are subscribed to on one before the first
 * dump is asked for on the other, so nothing falls between. While dumps run, the events wait in the kernel: afterwards each of
 * them is either older than the dump, and telling it again does no harm, or newer. A plan is a row of dumps and a walk over the
 * routes that drops what no dump has shown; it runs in slices, so that the event loop turns on. Plans are made at the start, when
 * the events' socket overran, and when something happened of which the kernel tells only half (see `struct doubt`).
 */
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include "clock.h"
#include "loop.h"
#include "mirror_impl.h"

#define RECEIVE_BUFFER (64 << 20) /* bytes; about 60000 routes' events */
#define MESSAGE_MAX    (64 << 10) /* bytes to begin with; grows when a message does not fit */
#define BATCH_READS    64
#define WALK_STEP      512 /* routes between two looks at the clock */
#define AUDIT_DELAY_MS 10  /* an event is seldom alone: the rest of them first */
#define DOUBT_DELAY_MS 1000
#define OPEN_NS	       30000000000 /* how long the first dumps may take */

/* ---- messages */

static void tell_rule(struct mirror *m, uint32_t by)
{
	if (m->listener.rule)
		m->listener.rule(m->listener.arg, by);
}

int mirror_message(struct mirror *m, const struct nlmsghdr *nlh, bool dump)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return dump ? mirror_link_message(m, nlh) : mirror_early_message(m, nlh);
	case RTM_NEWQDISC:
	case RTM_DELQDISC:
		return mirror_qdisc_message(m, nlh);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return mirror_addr_message(m, nlh);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return mirror_neigh_message(m, nlh);
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		return nexthop_message(m, nlh);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return route_message(m, nlh, dump);
	case RTM_NEWRULE:
	case RTM_DELRULE:
		tell_rule(m, nlh->nlmsg_pid);
	}
	return 0;
}

void mirror_settled(struct mirror *m)
{
	if (!m->told)
		return;
	m->told = false;
	if (m->listener.settled)
		m->listener.settled(m->listener.arg);
}

/* ---- plans */

static void plan_add(struct mirror *m, enum job_kind kind, uint8_t family, int oif, uint32_t table)
{
	m->plan.job[m->plan.n++] = (struct job){.kind = kind, .family = family, .oif = oif, .table = table};
}

static void plan_start(struct mirror *m)
{
	struct timeval at_once = {};

	m->plan.pos = 0;
	m->plan.sent = false;
	if (m->on_events)
		event_del(m->on_events);
	if (m->on_work)
		event_add(m->on_work, &at_once);
}

void mirror_plan_everything(struct mirror *m)
{
	m->plan.n = 0;
	plan_add(m, JOB_LINKS, 0, 0, 0);
	plan_add(m, JOB_ADDRS, 4, 0, 0);
	plan_add(m, JOB_ADDRS, 6, 0, 0);
	plan_add(m, JOB_NEIGHS, 4, 0, 0);
	plan_add(m, JOB_NEIGHS, 6, 0, 0);
	plan_add(m, JOB_NEXTHOPS, 0, 0, 0);
	plan_add(m, JOB_ROUTES, 4, 0, 0);
	plan_add(m, JOB_ROUTES, 6, 0, 0);
	plan_add(m, JOB_WALK, 0, 0, 0);
	m->doubt = (struct doubt){};
	m->left_out_more = false;
	tell_rule(m, 0);
	plan_start(m);
}

static bool doubtful(const struct doubt *d)
{
	return d->n_links || d->all[0] || d->all[1] || d->table[0] || d->table[1] || d->nexthops || d->neighs || d->links_qdisc ||
	       d->memory;
}

/* What became doubtful is compared with the kernel's view. */
static void plan_audit(struct mirror *m)
{
	struct doubt d = m->doubt;

	if (d.memory) {
		mirror_plan_everything(m);
		return;
	}
	m->doubt = (struct doubt){};
	m->plan.n = 0;
	if (d.all[0] && d.all[1])
		m->left_out_more = false;
	if (d.links_qdisc)
		plan_add(m, JOB_LINKS, 0, 0, 0);
	if (d.neighs) {
		plan_add(m, JOB_NEIGHS, 4, 0, 0);
		plan_add(m, JOB_NEIGHS, 6, 0, 0);
	}
	if (d.nexthops)
		plan_add(m, JOB_NEXTHOPS, 0, 0, 0);
	for (int i = 0; i < 2; i++) {
		if (d.all[i]) {
			plan_add(m, JOB_ROUTES, i ? 6 : 4, 0, 0);
			continue;
		}
		if (d.table[i])
			plan_add(m, JOB_ROUTES, i ? 6 : 4, 0, d.table[i]);
		for (size_t j = 0; j < d.n_links; j++)
			plan_add(m, JOB_ROUTES, i ? 6 : 4, d.links[j], 0);
	}
	plan_add(m, JOB_WALK, 0, 0, 0);
	plan_start(m);
}

static bool plan_running(const struct mirror *m)
{
	return m->plan.pos < m->plan.n;
}

bool mirror_working(const struct mirror *m)
{
	return plan_running(m) || m->draining || doubtful(&m->doubt);
}

bool mirror_events_wait(const struct mirror *m)
{
	struct pollfd p = {.fd = mnl_socket_get_fd(m->events), .events = POLLIN};

	return plan_running(m) || m->draining || poll(&p, 1, 0) != 0;
}

/* Dumps begin a generation: what it does not show will be dropped. All dumps of routes up to the walk are of one. */
static void job_begin(struct mirror *m)
{
	struct plan *p = &m->plan;
	const struct job *j = &p->job[p->pos];

	p->sent = true;
	p->interrupted = false;
	p->last = NULL;
	if (j->kind == JOB_WALK) {
		p->walk = (struct hash_iter){};
		mirror_nexthops_settle(m);
		nexthops_walk_begin(m);
	} else if (j->kind != JOB_ROUTES) {
		m->gen++;
	} else if (!p->pos || p->job[p->pos - 1].kind != JOB_ROUTES) {
		m->route_gen = m->route_gen == UINT8_MAX ? 1 : m->route_gen + 1;
	}
}

static void job_end(struct mirror *m)
{
	struct plan *p = &m->plan;
	const struct job *j = &p->job[p->pos];

	p->sent = false;
	if (p->interrupted) {
		while (j->kind == JOB_ROUTES && p->pos && p->job[p->pos - 1].kind == JOB_ROUTES)
			p->pos--;
		return;
	}
	switch (j->kind) {
	case JOB_LINKS:
		mirror_links_sweep(m);
		break;
	case JOB_ADDRS:
		mirror_addrs_sweep(m, j->family);
		break;
	case JOB_NEIGHS:
		mirror_neighs_sweep(m, j->family);
		break;
	case JOB_NEXTHOPS:
		mirror_nexthops_sweep(m);
		break;
	case JOB_WALK:
		mirror_left_out_sweep(m);
		nexthops_walk_end(m);
		break;
	}
	p->pos++;
}

static int job_send(struct mirror *m)
{
	static const struct {
		uint16_t type;
		uint16_t header;
	} request[] = {
		[JOB_LINKS] = {RTM_GETLINK, sizeof(struct ifinfomsg)}, [JOB_ADDRS] = {RTM_GETADDR, sizeof(struct ifaddrmsg)},
		[JOB_NEIGHS] = {RTM_GETNEIGH, sizeof(struct ndmsg)},   [JOB_NEXTHOPS] = {RTM_GETNEXTHOP, sizeof(struct nhmsg)},
		[JOB_ROUTES] = {RTM_GETROUTE, sizeof(struct rtmsg)},
	};
	const struct job *j = &m->plan.job[m->plan.pos];
	char buf[256] = {};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	uint8_t *family;
	ssize_t sent;

	nlh->nlmsg_type = request[j->kind].type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++m->seq;
	family = mnl_nlmsg_put_extra_header(nlh, request[j->kind].header); /* the first byte of each of these structs */
	*family = af_of_family(j->family);
	if (j->kind == JOB_LINKS)
		mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (j->kind == JOB_ROUTES && j->oif)
		mnl_attr_put_u32(nlh, RTA_OIF, j->oif);
	if (j->kind == JOB_ROUTES && j->table)
		mnl_attr_put_u32(nlh, RTA_TABLE, j->table);
	loop_asks_kernel(true);
	sent = mnl_socket_sendto(m->dumps, nlh, nlh->nlmsg_len);
	loop_asks_kernel(false);
	if (sent < 0)
		return -errno;
	job_begin(m);
	return 0;
}

/* A kernel without nexthop objects, a device or a table that is gone: there is nothing to show. */
static bool dump_error_is_empty(const struct job *j, int error)
{
	switch (j->kind) {
	case JOB_NEXTHOPS:
		return error == EOPNOTSUPP;
	case JOB_ROUTES:
		return error == EAFNOSUPPORT || error == EOPNOTSUPP || (j->oif && error == ENODEV) ||
		       (j->table && error == ENOENT);
	default:
		return j->family == 6 && (error == EAFNOSUPPORT || error == EOPNOTSUPP);
	}
}

/* One buffer of answers. 0: more will come; 1: the job is done; -errno. */
static int dump_take(struct mirror *m, size_t len)
{
	const struct nlmsghdr *nlh = (const void *)m->buf;
	const struct nlmsgerr *e;
	int left = len, error;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_seq != m->seq)
			continue;
		if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
			m->plan.interrupted = true;
		switch (nlh->nlmsg_type) {
		case NLMSG_ERROR:
		case NLMSG_DONE:
			e = mnl_nlmsg_get_payload(nlh); /* both begin with an error number */
			error = mnl_nlmsg_get_payload_len(nlh) >= sizeof(e->error) ? -e->error : 0;
			return error <= 0 || dump_error_is_empty(&m->plan.job[m->plan.pos], error) ? 1 : -error;
		}
		if (mirror_message(m, nlh, true) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int buffer_grow(struct mirror *m)
{
	char *p = realloc(m->buf, 2 * m->buf_size);

	if (!p)
		return -ENOMEM;
	m->buf = p;
	m->buf_size *= 2;
	return 0;
}

/* A piece of the running job. 1: it wants to go on at once; 0: the answer has not come yet; -errno. */
static int job_step(struct mirror *m)
{
	ssize_t len;
	int r;

	if (m->plan.job[m->plan.pos].kind == JOB_WALK) {
		if (!m->plan.sent)
			job_begin(m);
		if (routes_walk(m, WALK_STEP))
			job_end(m);
		return 1;
	}
	if (!m->plan.sent) {
		r = job_send(m);
		return r < 0 ? r : 1;
	}
	loop_asks_kernel(true); /* it goes over its tables within this call */
	len = mnl_socket_recvfrom(m->dumps, m->buf, m->buf_size);
	loop_asks_kernel(false);
	if (len < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		if (errno != ENOSPC)
			return -errno;
		m->plan.interrupted = true; /* cut off: once more, with more room */
		return buffer_grow(m) < 0 ? -ENOMEM : 1;
	}
	r = dump_take(m, len);
	if (r > 0)
		job_end(m);
	return r < 0 ? r : 1;
}

static void plan_end(struct mirror *m)
{
	struct timeval soon = {.tv_usec = AUDIT_DELAY_MS * 1000};

	mirror_early_dumped(m);
	m->replay = true;
	event_add(m->on_events, NULL);
	event_active(m->on_events, EV_READ, 0); /* also when nothing waits: then the mirror has caught up */
	if (doubtful(&m->doubt))
		event_add(m->on_audit, &soon);
}

/* Works on the plan for one wake-up. A dump that fails (no memory, most likely) is begun again a little later, from the start. */
static void on_work(evutil_socket_t fd, short what, void *arg)
{
	struct timeval at_once = {}, soon = {.tv_usec = 1000}, later = {.tv_sec = 1};
	struct mirror *m = arg;
	uint64_t end = clock_now_ns() + MIRROR_BATCH_NS;
	int r = 1;

	loop_doing("the kernel's dumps");
	for (unsigned i = 0; i < BATCH_READS && r > 0 && plan_running(m) && clock_now_ns() < end; i++)
		r = job_step(m);
	mirror_settled(m);
	mirror_neighs_hold(m, r >= 0 && plan_running(m) && m->plan.sent && m->plan.job[m->plan.pos].kind == JOB_NEIGHS);
	if (r < 0) {
		mirror_plan_everything(m);
		event_add(m->on_work, &later);
	} else if (plan_running(m)) {
		event_add(m->on_work, r ? &at_once : &soon);
	} else {
		plan_end(m);
	}
}

static void on_audit(evutil_socket_t fd, short what, void *arg)
{
	struct mirror *m = arg;

	loop_doing("a look at what is in doubt");
	if (!plan_running(m) && !m->draining && doubtful(&m->doubt))
		plan_audit(m);
}

/* ---- events */

void mirror_doubts(struct mirror *m)
{
	struct doubt *d = &m->doubt;
	struct timeval wait = {.tv_usec = AUDIT_DELAY_MS * 1000};

	if (!doubtful(d) || !m->on_audit || event_pending(m->on_audit, EV_TIMEOUT, NULL))
		return;
	if (!d->n_links && !d->all[0] && !d->all[1] && !d->nexthops && !d->neighs)
		wait = (struct timeval){.tv_sec = DOUBT_DELAY_MS / 1000};
	event_add(m->on_audit, &wait);
}

void mirror_finish_batch(struct mirror *m)
{
	mirror_nexthops_settle(m);
	if (m->dirty || m->gone) {
		m->plan.n = 0;
		plan_add(m, JOB_WALK, 0, 0, 0);
		plan_start(m);
	}
	mirror_doubts(m);
}

/* What one read gave. After an overrun the kernel drops everything until the socket is empty: so it is emptied first. */
static void events_take(struct mirror *m, size_t len)
{
	const struct nlmsghdr *nlh = (const void *)m->buf;
	int left = len;

	for (; !m->draining && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_type == NLMSG_OVERRUN)
			m->draining = true;
		else if (mirror_message(m, nlh, false) < 0)
			m->doubt.memory = true;
	}
}

/* 1: there may be more; 0: the socket is empty. */
static int events_read(struct mirror *m)
{
	ssize_t len = mnl_socket_recvfrom(m->events, m->buf, m->buf_size);

	if (len >= 0) {
		events_take(m, len);
		return 1;
	}
	switch (errno) {
	case EINTR:
		return 1;
	case EAGAIN:
		return 0;
	case ENOSPC: /* a message that was cut off is a lost one */
		if (buffer_grow(m) < 0)
			m->doubt.memory = true;
		/* fall through */
	default:
		if (!m->draining)
			m->resyncs++;
		m->draining = true;
		return 1;
	}
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
	struct mirror *m = arg;
	uint64_t end = clock_now_ns() + MIRROR_BATCH_NS;
	int r = 1;

	loop_doing("the kernel's events");
	/* a nexthop object that is gone takes its routes with it before another comes under its number */
	for (unsigned i = 0; i < BATCH_READS && r > 0 && !m->gone && clock_now_ns() < end; i++)
		r = events_read(m);
	if (r == 0 && m->draining && !mirror_early_read(m, true, clock_now_ns() + MIRROR_BATCH_NS))
		r = 1; /* no dump before: what is lost here is to be known there */
	if (r == 0 && m->draining) {
		m->draining = false;
		mirror_early_lost(m);
		mirror_plan_everything(m);
	} else if (m->draining) {
		event_active(m->on_events, EV_READ, 0); /* it may be empty already, and then nothing would wake us */
	} else {
		mirror_finish_batch(m);
	}
	if (r == 0)
		m->replay = false;
	if (r == 0 && !plan_running(m))
		mirror_early_caught_up(m);
	else if (m->early.n && !plan_running(m))
		event_active(m->on_events, EV_READ, 0); /* it may be empty: then that is to be known */
	mirror_settled(m);
}

/* ---- opening and closing */

int mirror_socket_open(struct mnl_socket **ret, int receive_buffer, const int *groups, size_t n)
{
	const int on = 1;
	int fd, r;

	*ret = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!*ret)
		return -errno;
	fd = mnl_socket_get_fd(*ret);
	/* FORCE needs a privilege in the first namespace; without it the limit of the system holds */
	if (receive_buffer && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(receive_buffer)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
	/* dumps by device and table; a kernel that cannot do it shows more, which does no harm */
	mnl_socket_setsockopt(*ret, NETLINK_GET_STRICT_CHK, (void *)&on, sizeof(on));
	r = mnl_socket_bind(*ret, 0, MNL_SOCKET_AUTOPID);
	for (size_t i = 0; i < n && r == 0; i++) {
		int group = groups[i];

		r = mnl_socket_setsockopt(*ret, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	}
	return r < 0 ? -errno : 0;
}

int mirror_new(const struct mirror_listener *listener, struct mirror **ret)
{
	struct mirror *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->buf = malloc(MESSAGE_MAX);
	if (!m->buf) {
		free(m);
		return -ENOMEM;
	}
	m->buf_size = MESSAGE_MAX;
	if (listener)
		m->listener = *listener;
	mirror_links_init(m);
	mirror_neighs_init(m);
	mirror_early_init(m);
	nexthops_init(m);
	routes_init(m);
	mirror_left_out_init(m);
	*ret = m;
	return 0;
}

/* The first plan, waited for. */
static int dump_everything(struct mirror *m)
{
	uint64_t end = clock_now_ns() + OPEN_NS;
	struct pollfd p = {.fd = mnl_socket_get_fd(m->dumps), .events = POLLIN};
	int r = 1;

	mirror_plan_everything(m);
	while (plan_running(m)) {
		if (clock_now_ns() > end)
			return -ETIMEDOUT;
		if (r == 0 && poll(&p, 1, 1000) < 0 && errno != EINTR)
			return -errno;
		r = job_step(m);
		if (r < 0)
			return r;
	}
	return 0;
}

int mirror_open(struct event_base *base, const struct mirror_listener *listener, struct mirror **ret, struct errs *errs)
{
	static const int groups[] = {RTNLGRP_LINK,	 RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_NEXTHOP,
				     RTNLGRP_TC,	 RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE};
	const char *doing = "allocating";
	struct mirror *m = NULL;
	int r = mirror_new(listener, &m);

	if (r < 0)
		goto out;
	m->base = base;
	doing = "subscribing to events";
	r = mirror_socket_open(&m->events, RECEIVE_BUFFER, groups, sizeof(groups) / sizeof(groups[0]));
	if (r == 0)
		r = mirror_early_open(m);
	if (r == 0)
		r = mirror_socket_open(&m->dumps, 0, NULL, 0);
	if (r < 0)
		goto out;
	doing = "reading links, addresses, neighbours and routes";
	m->quiet = true;
	r = dump_everything(m);
	m->quiet = false;
	if (r < 0)
		goto out;
	doing = "entering the event loop";
	m->on_events = event_new(base, mnl_socket_get_fd(m->events), EV_READ | EV_PERSIST, on_events, m);
	m->on_work = evtimer_new(base, on_work, m);
	m->on_audit = evtimer_new(base, on_audit, m);
	r = m->on_events && m->on_work && m->on_audit ? mirror_early_start(m) : -ENOMEM;
	if (r == 0)
		plan_end(m);
out:
	if (r < 0) {
		mirror_close(m);
		return errs_fail(errs, -r, "rtnetlink: %s: %s", doing, strerror(-r));
	}
	*ret = m;
	return 0;
}

static void event_end(struct event *e)
{
	if (e)
		event_free(e);
}

void mirror_close(struct mirror *m)
{
	if (!m)
		return;
	event_end(m->on_events);
	event_end(m->on_work);
	event_end(m->on_audit);
	if (m->events)
		mnl_socket_close(m->events);
	if (m->dumps)
		mnl_socket_close(m->dumps);
	mirror_early_close(m);
	mirror_ask_end(m);
	routes_free(m);
	mirror_left_out_free(m);
	nexthops_free(m);
	mirror_neighs_free(m);
	mirror_early_free(m);
	mirror_links_free(m);
	free(m->scratch);
	free(m->buf);
	free(m);
}

uint64_t mirror_resyncs(const struct mirror *m)
{
	return m->resyncs;
}
