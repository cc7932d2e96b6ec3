/* mirror_link.c: the links and addresses of the mirror, between rtnetlink's messages and who listens for changes.
 *
 * A link that goes down takes routes with it of which the kernel does not tell: that doubt is noted here, and settled by
 * mirror.c with a dump of what is left.
 */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/if_addr.h>
#include <linux/pkt_sched.h>
#include <sys/socket.h>
#include <stdio.h>
#include "mirror_impl.h"
#include <linux/if.h> /* after net/if.h, which it completes */
#include <linux/if_tunnel.h>

static uint32_t index_hash(const struct hash *h, uint32_t ifindex)
{
	return hash_end(hash_mix(h->salt, ifindex));
}

static uint32_t link_hash(const struct hash *h, const struct hash_node *node)
{
	return index_hash(h, hash_entry(node, struct link_entry, by_index)->l.ifindex);
}

static bool link_equal(const struct hash_node *node, const void *key)
{
	return hash_entry(node, struct link_entry, by_index)->l.ifindex == *(const int *)key;
}

static uint32_t name_hash_of(const struct hash *h, const char *name)
{
	return hash_end(hash_mix_bytes(h->salt, name, strlen(name)));
}

static uint32_t name_hash(const struct hash *h, const struct hash_node *node)
{
	return name_hash_of(h, hash_entry(node, struct link_entry, by_name)->l.name);
}

static bool name_equal(const struct hash_node *node, const void *key)
{
	return strcmp(hash_entry(node, struct link_entry, by_name)->l.name, key) == 0;
}

static uint32_t addr_hash_of(const struct hash *h, const struct link_addr *a)
{
	uint64_t state = hash_mix(h->salt, (uint64_t)a->ifindex << 8 | a->addr.len);

	return hash_end(hash_mix_bytes(state, &a->addr.addr, sizeof(a->addr.addr)));
}

static uint32_t addr_hash(const struct hash *h, const struct hash_node *node)
{
	return addr_hash_of(h, &hash_entry(node, struct addr_entry, node)->a);
}

static bool addr_equal(const struct hash_node *node, const void *key)
{
	const struct link_addr *a = &hash_entry(node, struct addr_entry, node)->a, *b = key;

	return a->ifindex == b->ifindex && a->addr.family == b->addr.family && a->addr.len == b->addr.len &&
	       memcmp(&a->addr.addr, &b->addr.addr, sizeof(a->addr.addr)) == 0;
}

void mirror_links_init(struct mirror *m)
{
	hash_init(&m->links, link_hash);
	hash_init(&m->names, name_hash);
	hash_init(&m->addrs, addr_hash);
}

void mirror_links_free(struct mirror *m)
{
	hash_free(&m->names);
	hash_free_entries(&m->links, struct link_entry, by_index);
	hash_free_entries(&m->addrs, struct addr_entry, node);
}

static struct link_entry *link_find(const struct mirror *m, int ifindex)
{
	return hash_find_entry(&m->links, index_hash(&m->links, ifindex), link_equal, &ifindex, struct link_entry, by_index);
}

const struct link *mirror_link(const struct mirror *m, int ifindex)
{
	const struct link_entry *e = link_find(m, ifindex);

	return e ? &e->l : NULL;
}

const struct link *mirror_link_by_name(const struct mirror *m, const char *name)
{
	struct hash_node *node = hash_find(&m->names, name_hash_of(&m->names, name), name_equal, name);

	return node ? &hash_entry(node, struct link_entry, by_name)->l : NULL;
}

void mirror_doubt_link(struct mirror *m, int ifindex)
{
	struct doubt *d = &m->doubt;

	for (size_t i = 0; i < d->n_links; i++) {
		if (d->links[i] == ifindex)
			return;
	}
	if (!nexthops_use(m, ifindex))
		return;
	d->nexthops = d->nexthops || m->objects.n;
	if (d->n_links < AUDIT_LINKS)
		d->links[d->n_links++] = ifindex;
	else
		d->all[0] = d->all[1] = true;
}

/* Tells a link's change from *old (NULL: new) to *new (NULL: gone), and notes what it means for routes. */
static void link_told(struct mirror *m, const struct link *new, const struct link *old)
{
	int ifindex = new ? new->ifindex : old->ifindex;

	if (!new || (old && (old->flags & IFF_UP) && !(new->flags &IFF_UP)))
		mirror_doubt_link(m, ifindex);
	if (link_usable(new) != link_usable(old))
		nexthops_link_changed(m, ifindex);
	if (link_usable(old) && !link_usable(new) && m->objects.n)
		m->doubt.nexthops = true; /* objects through a link without carrier are deleted, in silence */
	if (m->quiet)
		return;
	m->told = true;
	if (m->listener.link)
		m->listener.link(m->listener.arg, new ? MIRROR_NEW : MIRROR_DEL, new ? new : old, old);
}

/* A veth's peer that moved to this namespace, or out of it, is told to us by the peer's message alone. */
static void link_set_peer(struct mirror *m, int ifindex, int peer)
{
	struct link_entry *e = link_find(m, ifindex);
	struct link old;

	if (!e || e->l.peer_ifindex == peer || strcmp(e->l.kind, "veth") != 0)
		return;
	old = e->l;
	e->l.peer_ifindex = peer;
	link_told(m, &e->l, &old);
}

static void link_gone(struct mirror *m, struct link_entry *e)
{
	struct hash_iter it = {};
	struct hash_node *node;

	hash_remove(&m->links, &e->by_index);
	hash_remove(&m->names, &e->by_name);
	while ((node = hash_next(&m->addrs, &it))) {
		struct addr_entry *a = hash_entry(node, struct addr_entry, node);

		if (a->a.ifindex != e->l.ifindex)
			continue;
		hash_remove(&m->addrs, node);
		m->told = m->told || !m->quiet;
		if (m->listener.addr && !m->quiet)
			m->listener.addr(m->listener.arg, MIRROR_DEL, &a->a);
		free(a);
	}
	if (e->l.peer_ifindex)
		link_set_peer(m, e->l.peer_ifindex, 0);
	link_told(m, NULL, &e->l);
	free(e);
}

static bool qdisc_is_none(const struct nlattr *kind)
{
	return kind && strncmp(mnl_attr_get_payload(kind), "noqueue", mnl_attr_get_payload_len(kind)) == 0;
}

static const struct {
	const char *kind;
	uint8_t family, remote; /* of its outer addresses; the attribute that has the far one */
	uint8_t proto[2];
} tunnels[] = {
	{"gre", 4, IFLA_GRE_REMOTE, {IPPROTO_GRE}},
	{"gretap", 4, IFLA_GRE_REMOTE, {IPPROTO_GRE}},
	{"erspan", 4, IFLA_GRE_REMOTE, {IPPROTO_GRE}},
	{"ip6gre", 6, IFLA_GRE_REMOTE, {IPPROTO_GRE}},
	{"ip6gretap", 6, IFLA_GRE_REMOTE, {IPPROTO_GRE}},
	{"ip6erspan", 6, IFLA_GRE_REMOTE, {IPPROTO_GRE}},
	{"ipip", 4, IFLA_IPTUN_REMOTE, {IPPROTO_IPIP}},
	{"sit", 4, IFLA_IPTUN_REMOTE, {IPPROTO_IPV6, IPPROTO_IPIP}},
	{"ip6tnl", 6, IFLA_IPTUN_REMOTE, {IPPROTO_IPV6, IPPROTO_IPIP}},
};

static void tunnel_parse(const struct nlattr *data, struct link *l)
{
	const struct nlattr *tb[IFLA_GRE_REMOTE + 1] = {};

	for (size_t i = 0; i < sizeof(tunnels) / sizeof(tunnels[0]); i++) {
		if (strcmp(l->kind, tunnels[i].kind) != 0)
			continue;
		memcpy(l->tunnel, tunnels[i].proto, sizeof(l->tunnel));
		if (tunnels[i].family == 4)
			l->tunnel_peer = addr_v4(0);
		if (data)
			attrs_parse_nested(data, tb, IFLA_GRE_REMOTE);
		attr_addr(tb[tunnels[i].remote], tunnels[i].family, &l->tunnel_peer);
	}
}

/* IFLA_LINK names the peer, unless IFLA_LINK_NETNSID says that it lives elsewhere. */
static void link_parse(const struct nlmsghdr *nlh, const struct nlattr **tb, struct link *l)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *info[IFLA_INFO_MAX + 1];
	uint8_t operstate = IF_OPER_UNKNOWN;

	memset(l, 0, sizeof(*l));
	l->ifindex = ifi->ifi_index;
	l->flags = ifi->ifi_flags;
	snprintf(l->name, sizeof(l->name), "%.*s", (int)mnl_attr_get_payload_len(tb[IFLA_IFNAME]),
		 (const char *)mnl_attr_get_payload(tb[IFLA_IFNAME]));
	if (tb[IFLA_ADDRESS] && mnl_attr_get_payload_len(tb[IFLA_ADDRESS]) == sizeof(l->mac))
		memcpy(l->mac, mnl_attr_get_payload(tb[IFLA_ADDRESS]), sizeof(l->mac));
	l->mtu = attr_u32(tb[IFLA_MTU]);
	l->master = attr_u32(tb[IFLA_MASTER]);
	if (tb[IFLA_OPERSTATE] && mnl_attr_get_payload_len(tb[IFLA_OPERSTATE]) >= 1)
		operstate = mnl_attr_get_u8(tb[IFLA_OPERSTATE]);
	l->carrier = (l->flags & IFF_LOWER_UP) && (operstate == IF_OPER_UP || operstate == IF_OPER_UNKNOWN);
	if (tb[IFLA_LINKINFO]) {
		attrs_parse_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_MAX);
		if (info[IFLA_INFO_KIND])
			snprintf(l->kind, sizeof(l->kind), "%.*s", (int)mnl_attr_get_payload_len(info[IFLA_INFO_KIND]),
				 (const char *)mnl_attr_get_payload(info[IFLA_INFO_KIND]));
		tunnel_parse(info[IFLA_INFO_DATA], l);
	}
	if (strcmp(l->kind, "veth") == 0 && !tb[IFLA_LINK_NETNSID])
		l->peer_ifindex = attr_u32(tb[IFLA_LINK]);
	l->peer_away = (strcmp(l->kind, "veth") == 0 || strcmp(l->kind, "netkit") == 0) && tb[IFLA_LINK_NETNSID];
	l->queueless = qdisc_is_none(tb[IFLA_QDISC]);
}

static int link_store(struct mirror *m, const struct link *l)
{
	struct link_entry *e = link_find(m, l->ifindex);
	struct link old;

	if (e) {
		old = e->l;
		e->gen = m->gen;
		if (memcmp(&old, l, sizeof(old)) == 0)
			return 0;
		hash_remove(&m->names, &e->by_name);
		e->l = *l;
		hash_insert(&m->names, &e->by_name); /* fails for the first entry of a table alone */
		link_told(m, &e->l, &old);
	} else {
		e = calloc(1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		e->l = *l;
		e->gen = m->gen;
		if (hash_insert(&m->names, &e->by_name) < 0) {
			free(e);
			return -ENOMEM;
		}
		if (hash_insert(&m->links, &e->by_index) < 0) {
			hash_remove(&m->names, &e->by_name);
			free(e);
			return -ENOMEM;
		}
		link_told(m, &e->l, NULL);
	}
	if (l->peer_ifindex)
		link_set_peer(m, l->peer_ifindex, l->ifindex);
	return 0;
}

/* Messages of bridges about their ports (AF_BRIDGE) and of wireless extensions look like news of a link, and are not. */
bool mirror_link_parse(const struct nlmsghdr *nlh, struct link *ret)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFLA_LINK_NETNSID + 1];

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) || ifi->ifi_family != AF_UNSPEC || ifi->ifi_index <= 0)
		return false;
	if (nlh->nlmsg_type == RTM_DELLINK) {
		memset(ret, 0, sizeof(*ret));
		ret->ifindex = ifi->ifi_index;
		return true;
	}
	attrs_parse(nlh, sizeof(*ifi), tb, IFLA_LINK_NETNSID);
	if (!tb[IFLA_IFNAME] || tb[IFLA_WIRELESS])
		return false;
	link_parse(nlh, tb, ret);
	return true;
}

int mirror_link_message(struct mirror *m, const struct nlmsghdr *nlh)
{
	struct link_entry *e;
	struct link l;

	if (!mirror_link_parse(nlh, &l))
		return 0;
	if (nlh->nlmsg_type != RTM_DELLINK)
		return link_store(m, &l);
	e = link_find(m, l.ifindex);
	if (e)
		link_gone(m, e);
	return 0;
}

/* A qdisc that comes to a link's root or goes from it is told by itself, not as news of the link. */
int mirror_qdisc_message(struct mirror *m, const struct nlmsghdr *nlh)
{
	const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[TCA_KIND + 1];
	struct link_entry *e;
	struct link old;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*tcm) || tcm->tcm_parent != TC_H_ROOT)
		return 0;
	e = link_find(m, tcm->tcm_ifindex);
	if (!e)
		return 0;
	if (nlh->nlmsg_type == RTM_DELQDISC) {
		m->doubt.links_qdisc = true;
		return 0;
	}
	attrs_parse(nlh, sizeof(*tcm), tb, TCA_KIND);
	old = e->l;
	e->l.queueless = qdisc_is_none(tb[TCA_KIND]);
	if (e->l.queueless != old.queueless)
		link_told(m, &e->l, &old);
	return 0;
}

void mirror_links_sweep(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->links, &it))) {
		struct link_entry *e = hash_entry(node, struct link_entry, by_index);

		if (e->gen != m->gen)
			link_gone(m, e);
	}
}

/* ---- addresses */

static void addr_told(struct mirror *m, enum mirror_op op, const struct link_addr *a)
{
	if (m->quiet)
		return;
	m->told = true;
	if (m->listener.addr)
		m->listener.addr(m->listener.arg, op, a);
}

/* With its last IPv4 address a link loses all IPv4 routes, and with any address go the routes that prefer it as their
 * source, on whatever link: of both the kernel says nothing. */
static void addr_gone(struct mirror *m, struct addr_entry *e)
{
	hash_remove(&m->addrs, &e->node);
	if (e->a.addr.family == 4) {
		mirror_doubt_link(m, e->a.ifindex);
		if (routes_prefer(m, e->a.addr.addr.a32[3]))
			m->doubt.all[0] = true;
	}
	addr_told(m, MIRROR_DEL, &e->a);
	free(e);
}

static bool addr_parse_message(const struct nlmsghdr *nlh, struct link_addr *a)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_RT_PRIORITY + 1];
	uint8_t family;

	memset(a, 0, sizeof(*a));
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa))
		return false;
	family = family_of_af(ifa->ifa_family);
	if (!family || ifa->ifa_prefixlen > (family == 4 ? 32 : 128))
		return false;
	attrs_parse(nlh, sizeof(*ifa), tb, IFA_RT_PRIORITY);
	/* point to point: IFA_ADDRESS is the other end */
	if (!attr_addr(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], family, &a->addr.addr))
		return false;
	a->ifindex = ifa->ifa_index;
	a->addr.family = family;
	a->addr.len = ifa->ifa_prefixlen;
	a->scope = ifa->ifa_scope;
	a->flags = tb[IFA_FLAGS] ? attr_u32(tb[IFA_FLAGS]) : ifa->ifa_flags;
	a->metric = attr_u32(tb[IFA_RT_PRIORITY]);
	return true;
}

int mirror_addr_message(struct mirror *m, const struct nlmsghdr *nlh)
{
	struct link_addr a;
	struct addr_entry *e;

	if (!addr_parse_message(nlh, &a))
		return 0;
	e = hash_find_entry(&m->addrs, addr_hash_of(&m->addrs, &a), addr_equal, &a, struct addr_entry, node);
	if (nlh->nlmsg_type == RTM_DELADDR) {
		if (e)
			addr_gone(m, e);
		return 0;
	}
	if (e) {
		e->gen = m->gen;
		if (e->a.flags == a.flags && e->a.scope == a.scope && e->a.metric == a.metric)
			return 0;
		e->a = a;
		addr_told(m, MIRROR_NEW, &e->a);
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->a = a;
	e->gen = m->gen;
	if (hash_insert(&m->addrs, &e->node) < 0) {
		free(e);
		return -ENOMEM;
	}
	addr_told(m, MIRROR_NEW, &e->a);
	return 0;
}

void mirror_addrs_sweep(struct mirror *m, uint8_t family)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->addrs, &it))) {
		struct addr_entry *e = hash_entry(node, struct addr_entry, node);

		if (e->gen != m->gen && e->a.addr.family == family)
			addr_gone(m, e);
	}
}

int mirror_each_link(const struct mirror *m, int (*fn)(const struct link *l, void *arg), void *arg)
{
	struct hash_iter it = {};
	struct hash_node *node;
	int r = 0;

	while (!r && (node = hash_next(&m->links, &it)))
		r = fn(&hash_entry(node, struct link_entry, by_index)->l, arg);
	return r;
}

int mirror_each_addr(const struct mirror *m, int ifindex, int (*fn)(const struct link_addr *a, void *arg), void *arg)
{
	struct hash_iter it = {};
	struct hash_node *node;
	int r = 0;

	while (!r && (node = hash_next(&m->addrs, &it))) {
		const struct link_addr *a = &hash_entry(node, struct addr_entry, node)->a;

		if (!ifindex || a->ifindex == ifindex)
			r = fn(a, arg);
	}
	return r;
}
