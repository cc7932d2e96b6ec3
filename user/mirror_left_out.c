/* mirror_left_out.c: routes of the kernel for one TOS or one source prefix alone. The data plane chooses by the destination, so
 * they are not followed, and packets that the kernel would send by them take another way: who listens is told of each, and how
 * many there are is known. Between rtnetlink's messages and mirror_route.c, which never hears of these.
 *
 * LEFT_OUT_MAX of them are kept, which is enough to say so. Which came when there was no room is not known: that there may be
 * more is, until half of those that are kept have gone, and the kernel's routes are read once more for the rest.
 */
#include "mirror_impl.h"

#define LEFT_OUT_MAX 1024

struct entry {
	struct hash_node node;
	struct kroute_left_out r;
	int oif;	   /* 0: of several, or none */
	uint8_t route_gen; /* of the dump that has shown it last */
};

static uint32_t hash_key(const struct hash *h, const struct kroute_left_out *r)
{
	return hash_end(hash_mix_bytes(h->salt, r, sizeof(*r)));
}

static uint32_t hash_of(const struct hash *h, const struct hash_node *node)
{
	return hash_key(h, &hash_entry(node, struct entry, node)->r);
}

static bool equal(const struct hash_node *node, const void *key)
{
	return !memcmp(&hash_entry(node, struct entry, node)->r, key, sizeof(struct kroute_left_out));
}

void mirror_left_out_init(struct mirror *m)
{
	hash_init(&m->left_out, hash_of);
}

void mirror_left_out_free(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->left_out, &it)))
		free(hash_entry(node, struct entry, node));
	hash_free(&m->left_out);
}

/* Padding is zeroed: it is a key. */
static bool parse(const struct nlmsghdr *nlh, struct kroute_left_out *r, int *ret_oif)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_TABLE + 1];
	uint8_t family;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm) || (!rtm->rtm_tos && !rtm->rtm_src_len) ||
	    (rtm->rtm_flags & RTM_F_CLONED))
		return false;
	family = family_of_af(rtm->rtm_family);
	if (!family || rtm->rtm_dst_len > (family == 4 ? 32 : 128) || rtm->rtm_src_len > (family == 4 ? 32 : 128))
		return false;
	attrs_parse(nlh, sizeof(*rtm), tb, RTA_TABLE);
	memset(r, 0, sizeof(*r));
	r->to.family = r->from.family = family;
	r->to.len = rtm->rtm_dst_len;
	r->from.len = rtm->rtm_src_len;
	if (family == 4)
		r->to.addr = r->from.addr = addr_v4(0);
	attr_addr(tb[RTA_DST], family, &r->to.addr);
	attr_addr(tb[RTA_SRC], family, &r->from.addr);
	r->table = tb[RTA_TABLE] ? attr_u32(tb[RTA_TABLE]) : rtm->rtm_table;
	r->metric = attr_u32(tb[RTA_PRIORITY]);
	r->tos = rtm->rtm_tos;
	*ret_oif = (int)attr_u32(tb[RTA_OIF]);
	return true;
}

static void entry_drop(struct mirror *m, struct entry *e)
{
	hash_remove(&m->left_out, &e->node);
	free(e);
	if (m->left_out_more && m->left_out.n < LEFT_OUT_MAX / 2)
		m->doubt.all[0] = m->doubt.all[1] = true;
}

static int entry_add(struct mirror *m, const struct kroute_left_out *r, int oif, bool dump)
{
	struct entry *e;

	if (m->left_out.n == LEFT_OUT_MAX) {
		m->left_out_more = true;
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->r = *r;
	e->oif = oif;
	e->route_gen = dump ? m->route_gen : 0;
	if (hash_insert(&m->left_out, &e->node)) {
		free(e);
		return -ENOMEM;
	}
	if (m->listener.left_out)
		m->listener.left_out(m->listener.arg, &e->r);
	return 0;
}

int mirror_left_out_message(struct mirror *m, const struct nlmsghdr *nlh, bool dump, int *ret)
{
	struct kroute_left_out r;
	struct hash_node *node;
	struct entry *e;
	int oif;

	*ret = 0;
	if (!parse(nlh, &r, &oif))
		return 0;
	node = hash_find(&m->left_out, hash_key(&m->left_out, &r), equal, &r);
	e = node ? hash_entry(node, struct entry, node) : NULL;
	if (nlh->nlmsg_type == RTM_DELROUTE) {
		if (e)
			entry_drop(m, e);
	} else if (e) {
		e->oif = oif;
		e->route_gen = dump ? m->route_gen : 0;
	} else {
		*ret = entry_add(m, &r, oif, dump);
	}
	return 1;
}

static bool in_scope(const struct mirror *m, const struct entry *e)
{
	for (size_t i = 0; i < m->plan.n; i++) {
		const struct job *j = &m->plan.job[i];

		if (j->kind == JOB_ROUTES && j->family == e->r.to.family && (!j->table || j->table == e->r.table) &&
		    (!j->oif || j->oif == e->oif))
			return true;
	}
	return false;
}

void mirror_left_out_sweep(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->left_out, &it))) {
		struct entry *e = hash_entry(node, struct entry, node);

		if (e->route_gen != m->route_gen && in_scope(m, e))
			entry_drop(m, e);
		else
			e->route_gen = 0;
	}
}

size_t mirror_left_out(const struct mirror *m, int (*fn)(const struct kroute_left_out *r, void *arg), void *arg)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while (fn && (node = hash_next(&m->left_out, &it)) && !fn(&hash_entry(node, struct entry, node)->r, arg))
		;
	return m->left_out.n;
}

bool mirror_left_out_more(const struct mirror *m)
{
	return m->left_out_more;
}
