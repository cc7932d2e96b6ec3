/* mirror_ask.c: single questions to the kernel, beside the mirror of all that it knows: for who doubts the mirror
 * (route_audit.c).
 *
 * On a socket of its own, so that answers do not get between a dump's. The kernel answers while the question is being sent: no
 * waiting.
 */
#include <poll.h>
#include <sys/socket.h>
#include "mirror_impl.h"

#define ANSWER_MAX 8192

static int ask_open(struct mirror *m)
{
	if (m->asks)
		return 0;
	m->asks = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (m->asks && mnl_socket_bind(m->asks, 0, MNL_SOCKET_AUTOPID) == 0)
		return 0;
	mirror_ask_end(m);
	return -errno;
}

void mirror_ask_end(struct mirror *m)
{
	if (m->asked)
		nexthop_set_put(m, m->asked);
	if (m->asks)
		mnl_socket_close(m->asks);
	m->asked = NULL;
	m->asks = NULL;
}

static int send_question(struct mirror *m, const struct addr *a, uint32_t mark)
{
	struct nlmsghdr *nlh;
	struct rtmsg *rtm;
	char buf[256] = {};

	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = ++m->ask_seq;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = af_of_family(addr_family(a));
	rtm->rtm_flags = RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE;
	if (addr_family(a) == 4) {
		rtm->rtm_dst_len = 32;
		mnl_attr_put_u32(nlh, RTA_DST, a->a32[3]);
	} else {
		rtm->rtm_dst_len = 128;
		mnl_attr_put(nlh, RTA_DST, sizeof(*a), a);
	}
	if (mark)
		mnl_attr_put_u32(nlh, RTA_MARK, mark);
	return mnl_socket_sendto(m->asks, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

static int take_answer(struct mirror *m, const struct nlmsghdr *nlh, struct kroute *ret)
{
	struct route_msg msg;
	struct route_alt alt;
	struct route r = {};
	int err = route_parse(m, nlh, &msg);

	if (err <= 0 || route_left_out(&msg))
		return err < 0 ? err : -EOPNOTSUPP;
	err = alt_make(m, &msg, &alt);
	if (err)
		return err;
	r.dst = msg.to.addr;
	r.family = msg.to.family;
	r.len = msg.to.len;
	r.table = msg.table;
	r.metric = msg.metric;
	route_view(&r, &alt, ret);
	m->asked = alt.set;
	m->asked->refs++;
	alt_release(m, &alt);
	return 0;
}

int mirror_ask(struct mirror *m, const struct addr *a, uint32_t mark, struct kroute *ret)
{
	char buf[ANSWER_MAX] __attribute__((aligned(8)));
	const struct nlmsghdr *nlh = (const void *)buf;
	const struct nlmsgerr *e;
	ssize_t len;
	int r;

	if (m->asked)
		nexthop_set_put(m, m->asked);
	m->asked = NULL;
	r = ask_open(m);
	if (!r)
		r = send_question(m, a, mark);
	if (r)
		return r;
	do {
		len = mnl_socket_recvfrom(m->asks, buf, sizeof(buf));
		if (len < 0)
			return errno == ENOSPC ? -EOPNOTSUPP : -errno;
	} while (!mnl_nlmsg_ok(nlh, (int)len) || nlh->nlmsg_seq != m->ask_seq);
	if (nlh->nlmsg_type == RTM_NEWROUTE)
		return take_answer(m, nlh, ret);
	e = mnl_nlmsg_get_payload(nlh);
	return nlh->nlmsg_type == NLMSG_ERROR && mnl_nlmsg_get_payload_len(nlh) >= sizeof(*e) && e->error < 0 ? e->error
													      : -EPROTO;
}

bool mirror_busy(const struct mirror *m)
{
	return mirror_working(m) || mirror_events_wait(m);
}

void mirror_resync(struct mirror *m)
{
	if (!mirror_working(m))
		mirror_plan_everything(m);
}
