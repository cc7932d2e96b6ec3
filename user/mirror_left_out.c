/* mirror_left_out.c: routes of the kernel for one TOS or one source prefix alone. The data plane chooses by the destination, so
 * they are not followed, and packets that the kernel would send by them take another way: who listens is told of each, and how
 * many there are is known. They come and go as others do (mirror_route.c), which never meets them.
 *
 * LEFT_OUT_MAX of them are kept, which is enough to say so. Which came when there was no room is not known: that there may be
 * more is, until half of those that are kept have gone, and the kernel's routes are read once more for the rest.
 */
#include "mirror_impl.h"

#define LEFT_OUT_MAX 1024

struct entry {
	struct hash_node node; /* its route's own is in no table */
	struct kroute_left_out key;
	struct route route;
};

static uint32_t hash_key(const struct hash *h, const struct kroute_left_out *key)
{
	return hash_end(hash_mix_bytes(h->salt, key, sizeof(*key)));
}

static uint32_t hash_of(const struct hash *h, const struct hash_node *node)
{
	return hash_key(h, &hash_entry(node, struct entry, node)->key);
}

static bool equal(const struct hash_node *node, const void *key)
{
	return !memcmp(&hash_entry(node, struct entry, node)->key, key, sizeof(struct kroute_left_out));
}

void mirror_left_out_init(struct mirror *m)
{
	hash_init(&m->left_out, hash_of);
}

void mirror_left_out_free(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while ((node = hash_next(&m->left_out, &it))) {
		struct entry *e = hash_entry(node, struct entry, node);

		route_free_alts(&e->route);
		free(e);
	}
	hash_free(&m->left_out);
}

static struct entry *entry_find(const struct mirror *m, const struct kroute_left_out *key)
{
	return hash_find_entry(&m->left_out, hash_key(&m->left_out, key), equal, key, struct entry, node);
}

/* NULL: no memory. */
static struct entry *entry_add(struct mirror *m, const struct kroute_left_out *key)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	memcpy(&e->key, key, sizeof(*key));
	e->route.family = key->to.family;
	e->route.table = key->table;
	if (hash_insert(&m->left_out, &e->node)) {
		free(e);
		return NULL;
	}
	return e;
}

static void entry_drop(struct mirror *m, struct entry *e)
{
	hash_remove(&m->left_out, &e->node);
	free(e);
	if (m->left_out_more && m->left_out.n < LEFT_OUT_MAX / 2)
		m->doubt.all[0] = m->doubt.all[1] = true;
}

static void tell(struct mirror *m, const struct entry *e)
{
	m->told = m->told || !m->quiet;
	if (m->listener.left_out)
		m->listener.left_out(m->listener.arg, &e->key);
}

int mirror_left_out_message(struct mirror *m, const struct route_msg *msg, uint16_t type, unsigned nlmsg_flags, bool dump)
{
	struct kroute_left_out key;
	struct entry *e;
	bool added;
	int r;

	memset(&key, 0, sizeof(key)); /* padding too */
	key.to = msg->to;
	key.from = msg->from;
	key.table = msg->table;
	key.metric = msg->metric;
	key.tos = msg->tos;
	e = entry_find(m, &key);
	added = !e;
	if (!e && type == RTM_DELROUTE)
		return 0;
	if (!e && m->left_out.n == LEFT_OUT_MAX) {
		m->left_out_more = true;
		return 0;
	}
	if (!e)
		e = entry_add(m, &key);
	if (!e)
		return -ENOMEM;
	r = type == RTM_DELROUTE ? route_take_out(m, &e->route, msg) : route_put_in(m, &e->route, msg, nlmsg_flags, dump);
	if (!e->route.first)
		entry_drop(m, e);
	else if (added)
		tell(m, e);
	return r;
}

void mirror_left_out_sweep(struct mirror *m)
{
	struct hash_iter it = {};
	struct hash_node *node;
	bool dirty;

	while ((node = hash_next(&m->left_out, &it))) {
		struct entry *e = hash_entry(node, struct entry, node);

		if (route_sweep(m, &e->route, &dirty) < 0)
			m->doubt.memory = true;
		if (!e->route.first)
			entry_drop(m, e);
	}
}

size_t mirror_left_out(const struct mirror *m, int (*fn)(const struct kroute_left_out *r, void *arg), void *arg)
{
	struct hash_iter it = {};
	struct hash_node *node;

	while (fn && (node = hash_next(&m->left_out, &it)) && !fn(&hash_entry(node, struct entry, node)->key, arg))
		;
	return m->left_out.n;
}

bool mirror_left_out_more(const struct mirror *m)
{
	return m->left_out_more;
}
