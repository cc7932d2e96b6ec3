/* mirror_neigh.c: the neighbours of the mirror (ARP and ND tables, no bridge's FDB), between rtnetlink and who listens. */
#include <linux/neighbour.h>
#include "mirror_impl.h"

static uint32_t neigh_hash_of(const struct hash *h, const struct neigh *n)
{
	return hash_end(hash_mix_bytes(hash_mix(h->salt, (uint32_t)n->ifindex), &n->addr, sizeof(n->addr)));
}

static uint32_t neigh_hash(const struct hash *h, const struct hash_node *node)
{
	return neigh_hash_of(h, &hash_entry(node, struct neigh_entry, node)->n);
}

static bool neigh_equal(const struct hash_node *node, const void *key)
{
	const struct neigh *a = &hash_entry(node, struct neigh_entry, node)->n, *b = key;

	return a->ifindex == b->ifindex && a->family == b->family && memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

void mirror_neighs_init(struct mirror *m)
{
	hash_init(&m->neighs, neigh_hash);
}

void mirror_neighs_free(struct mirror *m)
{
	hash_free_entries(&m->neighs, struct neigh_entry, node);
}

static void neigh_told(struct mirror *m, enum mirror_op op, const struct neigh *n)
{
	if (m->quiet)
		return;
	m->told = true;
	if (m->listener.neigh)
		m->listener.neigh(m->listener.arg, op, n);
}

static void neigh_gone(struct mirror *m, struct neigh_entry *e)
{
	hash_remove(&m->neighs, &e->node);
	neigh_told(m, MIRROR_DEL, &e->n);
	free(e);
}

/* The proxy entries (NTF_PROXY) are addresses that the host answers for, no neighbours. */
static bool neigh_parse(const struct nlmsghdr *nlh, struct neigh *n)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[NDA_LLADDR + 1];

	memset(n, 0, sizeof(*n));
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ndm) || (ndm->ndm_flags & NTF_PROXY))
		return false;
	attrs_parse(nlh, sizeof(*ndm), tb, NDA_LLADDR);
	n->family = family_of_af(ndm->ndm_family);
	if (!n->family || !attr_addr(tb[NDA_DST], n->family, &n->addr))
		return false;
	n->ifindex = ndm->ndm_ifindex;
	n->state = ndm->ndm_state;
	n->flags = ndm->ndm_flags;
	if (tb[NDA_LLADDR] && mnl_attr_get_payload_len(tb[NDA_LLADDR]) == sizeof(n->mac)) {
		memcpy(n->mac, mnl_attr_get_payload(tb[NDA_LLADDR]), sizeof(n->mac));
		n->has_mac = true;
	}
	return true;
}

int mirror_neigh_message(struct mirror *m, const struct nlmsghdr *nlh)
{
	struct neigh_entry *e;
	struct neigh n;

	if (!neigh_parse(nlh, &n))
		return 0;
	e = hash_find_entry(&m->neighs, neigh_hash_of(&m->neighs, &n), neigh_equal, &n, struct neigh_entry, node);
	/* the kernel makes NUD_NOARP entries (multicast, devices without ARP) without a word, so they cannot be mirrored */
	if (nlh->nlmsg_type == RTM_DELNEIGH || (n.state & NUD_NOARP)) {
		if (e)
			neigh_gone(m, e);
		return 0;
	}
	if (e) {
		e->gen = m->gen;
		if (memcmp(&e->n, &n, sizeof(n)) == 0)
			return 0;
		e->n = n;
		neigh_told(m, MIRROR_NEW, &e->n);
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->n = n;
	e->gen = m->gen;
	if (hash_insert(&m->neighs, &e->node) < 0) {
		free(e);
		return -ENOMEM;
	}
	neigh_told(m, MIRROR_NEW, &e->n);
	return 0;
}

void mirror_neighs_sweep(struct mirror *m, uint8_t family)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->neighs, &it))) {
		struct neigh_entry *e = hash_entry(node, struct neigh_entry, node);

		if (e->n.family == family && e->gen != m->gen)
			neigh_gone(m, e);
	}
}

int mirror_each_neigh(const struct mirror *m, int ifindex, int (*fn)(const struct neigh *n, void *arg), void *arg)
{
	struct hash_iter it = {};
	struct hash_node *node;
	int r = 0;

	while (!r && (node = hash_next(&m->neighs, &it))) {
		const struct neigh *n = &hash_entry(node, struct neigh_entry, node)->n;

		if (!ifindex || n->ifindex == ifindex)
			r = fn(n, arg);
	}
	return r;
}

bool mirror_neighs_step(const struct mirror *m, size_t *at, size_t max, int (*fn)(const struct neigh *n, void *arg), void *arg,
			int *ret)
{
	struct hash_node *node;
	size_t end = *at + max;

	for (*ret = 0; *at < m->neighs.n_buckets && *at < end && !*ret; ++*at)
		for (node = m->neighs.buckets[*at]; node && !*ret; node = node->next)
			*ret = fn(&hash_entry(node, struct neigh_entry, node)->n, arg);
	return *at >= m->neighs.n_buckets;
}
