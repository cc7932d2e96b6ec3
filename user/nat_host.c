/* nat_host.c: with whom the gateway itself speaks protocols without ports (GRE, ESP, 6in4, …), by raw sockets, tunnels and IPsec.
 *
 * Stands between the kernel's lists of these and the marks in `dnat_rules` by which the data plane (bpf/own.h) leaves the host
 * what is the host's: on an address that the gateway shares, such a protocol is one talker's for each remote address. The raw
 * sockets and IPsec's states are read by the thread of nat_own.c, for the kernel may have many; tunnels are in the mirror.
 *
 * sluiced learns of them some seconds late. A flow that an inside host has made meanwhile ends then: the gateway's tunnel comes
 * first.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <libmnl/libmnl.h>
#include <linux/xfrm.h>
#include "clock.h"
#include "flow_priv.h"
#include "log.h"
#include "nat_priv.h"

#define HOST_LINES 65536 /* of a list of the kernel's */
#define HOST_PEERS 1024	 /* of one protocol; beyond it, it is the host's with everybody */
#define HOST_BUF   65536

static struct addr anybody(uint8_t family)
{
	return family == 4 ? addr_v4(0) : (struct addr){};
}

/* Are there flows of the protocol that own no port? */
static bool is_portless(uint32_t proto)
{
	return proto && proto < IPPROTO_RAW && nat_class((uint8_t)proto) == POOL_CLASSES;
}

static int host_add(struct nat_host_list *l, uint32_t proto, const struct addr *peer)
{
	struct nat_host_peer *v;

	if (!is_portless(proto))
		return 0;
	if (l->n == l->room) {
		v = realloc(l->v, (l->room + 256) * sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->room += 256;
	}
	l->v[l->n++] = (struct nat_host_peer){*peer, proto, false};
	return 0;
}

/* ---- raw sockets: what stands in place of a port is the protocol */

/* `may_lack`: there need be no such protocol, of which then there is no socket. */
static int read_raw(struct nat_host_list *l, const char *path, bool may_lack)
{
	char line[512], remote[33];
	FILE *f = fopen(path, "re");
	unsigned proto;
	struct addr a;
	int err = 0;

	if (!f)
		return errno == ENOENT && may_lack ? 0 : -errno;
	for (unsigned n = 0; !err && n < HOST_LINES && fgets(line, sizeof(line), f); n++)
		if (sscanf(line, " %*u: %*32[0-9A-Fa-f]:%4x %32[0-9A-Fa-f]:", &proto, remote) == 2 && !nat_own_addr(remote, &a))
			err = host_add(l, proto, &a);
	fclose(f);
	return err;
}

/* ---- IPsec */

static struct addr xfrm_addr(const xfrm_address_t *a, uint16_t af)
{
	struct addr r;

	if (af == AF_INET)
		return addr_v4(a->a4);
	memcpy(&r, a, sizeof(r));
	return r;
}

/* Either end: of the two, one is the gateway's own. */
static int see_state(const struct nlmsghdr *nlh, void *arg)
{
	const struct xfrm_usersa_info *s = mnl_nlmsg_get_payload(nlh);
	struct addr from, to;

	if (nlh->nlmsg_type != XFRM_MSG_NEWSA || mnl_nlmsg_get_payload_len(nlh) < sizeof(*s))
		return MNL_CB_OK;
	from = xfrm_addr(&s->saddr, s->family);
	to = xfrm_addr(&s->id.daddr, s->family);
	if (host_add(arg, s->id.proto, &from) || host_add(arg, s->id.proto, &to)) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

/* A kernel without IPsec has no states. */
static int states_error(int err)
{
	return err == EPROTONOSUPPORT || err == EAFNOSUPPORT || err == EOPNOTSUPP || err == ENOENT ? 0 : -err;
}

/* A list that could not be had, or was cut short, is not whole: the marks of those that it lacks stay. */
static int read_states(struct nat_host_list *l)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC);
	struct nlmsghdr *nlh;
	char *buf;
	int err = 0, r = 1;

	if (!s)
		return states_error(errno);
	buf = malloc(HOST_BUF);
	if (!buf) {
		err = -ENOMEM;
		goto out;
	}
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = XFRM_MSG_GETSA;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0 || mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
		r = -1;
	while (r > 0) {
		ssize_t len = mnl_socket_recvfrom(s, buf, HOST_BUF);

		r = len > 0 ? mnl_cb_run(buf, (size_t)len, 0, 0, see_state, l) : (int)len;
	}
	if (r < 0)
		err = states_error(errno);
out:
	free(buf);
	mnl_socket_close(s);
	return err;
}

/* ---- tunnels */

static int see_link(const struct link *l, void *arg)
{
	int err = 0;

	if (!(l->flags & IFF_UP))
		return 0;
	for (size_t i = 0; !err && i < sizeof(l->tunnel); i++)
		err = host_add(arg, l->tunnel[i], &l->tunnel_peer);
	return err;
}

/* ---- into the marks */

static int compare(const void *a, const void *b)
{
	const struct nat_host_peer *x = a, *y = b;

	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	return memcmp(&x->peer, &y->peer, sizeof(x->peer));
}

static struct nat_host_peer *host_find(const struct nat_host_list *l, const struct nat_host_peer *p)
{
	return l->n ? bsearch(p, l->v, l->n, sizeof(*p), compare) : NULL;
}

static bool host_has(const struct nat_host_list *l, const struct nat_host_peer *p)
{
	return host_find(l, p);
}

/* Sorted, each once, and instead of a protocol's very many peers those two that stand for all. */
static void host_sort(struct nat_host_list *l)
{
	size_t n = 0, begin = 0;
	bool all = false;

	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), compare);
	for (size_t i = 0; i < l->n; i++) {
		struct nat_host_peer p = l->v[i];

		if (!n || l->v[n - 1].proto != p.proto) {
			begin = n;
			all = false;
		}
		if (all || (n > begin && !compare(&l->v[n - 1], &p)))
			continue;
		all = n - begin == HOST_PEERS;
		if (!all) {
			l->v[n++] = p;
			continue;
		}
		n = begin;
		l->v[n++] = (struct nat_host_peer){anybody(6), p.proto, false};
		l->v[n++] = (struct nat_host_peer){anybody(4), p.proto, false};
	}
	l->n = n;
}

int nat_host_read(struct nat_host_list *l)
{
	int raw, raw6, states;

	l->n = 0;
	l->begun_ns = clock_now_ns();
	raw = read_raw(l, "/proc/net/raw", false);
	raw6 = read_raw(l, "/proc/net/raw6", true);
	states = read_states(l);
	host_sort(l); /* here: there may be very many */
	return raw ?: raw6 ?: states;
}

static struct dnat_key host_key(const struct nat_host_peer *p)
{
	return (struct dnat_key){
		.daddr = p->peer, .dport = htons((uint16_t)(DNAT_MARK_HOST + p->proto)), .proto = DNAT_PROTO_MARK};
}

bool nat_host_is_mark(const struct dnat_key *key)
{
	return key->proto == DNAT_PROTO_MARK && ntohs(key->dport) >= DNAT_MARK_HOST;
}

/* What an earlier life has written. */
static int see_mark(const void *key, void *value, void *arg)
{
	const struct dnat_key *k = key;

	(void)value;
	return nat_host_is_mark(k) ? host_add(arg, ntohs(k->dport) - DNAT_MARK_HOST, &k->daddr) : 0;
}

/* Whom the data plane had heard before `begun_ns` is among the peers now, or is not the host's: then an inside host may ask him,
 * for a minute, though he goes on sending. Another packet may write the same mark in this instant; the worst is that who sent it
 * is noted by his next one. */
static int host_heard(struct nat *nat, uint64_t begun_ns)
{
	struct dnat_key key = {.dport = htons(DNAT_MARK_HEARD), .proto = DNAT_PROTO_MARK};
	uint16_t now = DNAT_HEARD_TIME(begun_ns);
	struct dnat_rule heard;
	int err = 0;

	for (key.daddr.a32[0] = 0; !err && key.daddr.a32[0] < DNAT_HEARD; key.daddr.a32[0]++) {
		if (table_lookup(nat->dnat, &key, &heard))
			continue;
		if (heard.flags & DNAT_HEARD_NOT) {
			if ((uint16_t)(now - heard.vrf) > DNAT_HEARD_MAX)
				err = table_delete(nat->dnat, &key);
		} else if ((int16_t)(now - heard.vrf) > 0) {
			heard.flags |= DNAT_HEARD_NOT;
			heard.vrf = now;
			err = table_set(nat->dnat, &key, &heard);
		}
	}
	return err;
}

static const char *host_error(const struct nat *nat, char buf[256])
{
	const char *why = nat->host_err == -E2BIG ? "the forwards fill their table" : strerror(-nat->host_err);

	if (nat->host_unmarked)
		snprintf(buf, 256,
			 "nat: %zu of those with whom the gateway speaks GRE, ESP or the like could not be marked: %s; "
			 "inside hosts may take their answers",
			 nat->host_unmarked, why);
	else
		snprintf(buf, 256, "nat: with whom the gateway speaks GRE, ESP or the like could not be noted: %s", why);
	return buf;
}

/* Said once when it begins. */
static void host_is(struct nat *nat, int err, size_t unmarked)
{
	bool begins = err && !nat->host_err;
	char text[256];

	nat->host_err = err;
	nat->host_unmarked = unmarked;
	if (begins)
		log_error("%s", host_error(nat, text));
}

static const char *sockets_error(const struct nat *nat, char buf[256])
{
	snprintf(buf, 256,
		 "nat: the host's sockets cannot be read from /proc/net: %s: of addresses that it shares with NAT the last list "
		 "counts, and before there is one no port is given out",
		 strerror(-nat->sockets_err));
	return buf;
}

void nat_host_sockets(struct nat *nat, int err)
{
	bool begins = err && !nat->sockets_err;
	char text[256];

	nat->sockets_err = err;
	if (begins)
		log_error("%s", sockets_error(nat, text));
}

void nat_host_errors(const struct sw *sw, json_t *errors)
{
	char text[256];

	if (sw->nat && sw->nat->host_err)
		json_array_append_new(errors, json_string(host_error(sw->nat, text)));
	if (sw->nat && sw->nat->sockets_err)
		json_array_append_new(errors, json_string(sockets_error(sw->nat, text)));
}

/* What is in the table, and nothing else: after an error some may not have got there. */
static int host_look(struct nat *nat, struct nat_host_list *ret)
{
	int err;

	ret->n = 0;
	err = table_each(nat->dnat, see_mark, ret);
	for (size_t i = 0; i < ret->n; i++)
		ret->v[i].marked = true;
	return err;
}

static int host_add_all(struct nat_host_list *to, const struct nat_host_list *from)
{
	int err = 0;

	for (size_t i = 0; !err && i < from->n; i++)
		err = host_add(to, from->v[i].proto, &from->v[i].peer);
	return err;
}

static int host_unmark(struct nat *nat, const struct nat_host_list *was, const struct nat_host_list *next)
{
	int err = 0;

	for (size_t i = 0; !err && i < was->n; i++) {
		struct dnat_key key = host_key(&was->v[i]);

		if (was->v[i].marked && !host_has(next, &was->v[i]))
			err = table_delete(nat->dnat, &key);
	}
	return err;
}

/* The marks of those in `next` that have none. The first error; *ret_unmarked: how many did not get one. Behind a table that is
 * full nobody is asked for again. */
static int host_mark(struct nat *nat, const struct nat_host_list *was, const struct nat_host_list *next, size_t *ret_unmarked)
{
	const struct dnat_rule mark = {};
	int err = 0, one;

	*ret_unmarked = 0;
	for (size_t i = 0; i < next->n; i++) {
		const struct nat_host_peer *before = host_find(was, &next->v[i]);
		struct dnat_key key = host_key(&next->v[i]);

		next->v[i].marked = before && before->marked;
		if (next->v[i].marked)
			continue;
		one = err == -E2BIG ? err : table_set(nat->dnat, &key, &mark);
		next->v[i].marked = !one;
		if (one)
			++*ret_unmarked;
		else
			nat->changes++; /* flows are looked at again: nat_host_wants() */
		err = err ?: one;
	}
	return err;
}

void nat_host_settle(struct nat *nat, struct nat_host_list *next, int unread)
{
	struct nat_host_list was = nat->host;
	int err = nat->host_known ? 0 : host_look(nat, &was), full;
	size_t unmarked = 0;

	err = err ?: mirror_each_link(nat->sw->mirror, see_link, next);
	if (!err && unread)
		err = host_add_all(next, &was);
	host_sort(&was);
	host_sort(next);
	/* Who is gone makes room for who has come. */
	err = err ?: host_unmark(nat, &was, next);
	full = err ? 0 : host_mark(nat, &was, next, &unmarked);
	if (!err && !unread)
		err = host_heard(nat, next->begun_ns);
	nat->host_known = !err; /* else it is tried again the next time, from what is in the table */
	err = err ?: full;
	if (err || unread != -EINTR) /* of states that changed while they were read the next list tells */
		host_is(nat, err ?: unread, unmarked);
	nat->host = *next;
	*next = was;
}

void nat_host_close(struct nat *nat)
{
	free(nat->host.v);
	nat->host = (struct nat_host_list){};
}

bool nat_host_wants(const struct nat *nat, uint8_t proto, const struct addr *own, uint16_t vrf, const struct addr *peer)
{
	struct dnat_key key = {.daddr = *own, .vrf = vrf, .proto = DNAT_PROTO_MARK};
	struct nat_host_peer one = {*peer, proto, false}, all = {anybody(addr_family(peer)), proto, false};
	struct dnat_rule mark;

	if (!nat->host.n || !is_portless(proto) || (!host_has(&nat->host, &one) && !host_has(&nat->host, &all)))
		return false;
	return !table_lookup(nat->dnat, &key, &mark) && mark.flags & DNAT_F_OWN;
}
