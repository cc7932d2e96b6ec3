/* flow_count.c: how many connections there are, as a whole or in groups: who talks most, by which rule, in what state.
 *
 * A walk over the flow table (flow_walk.h) puts each connection into its group; then the groups are gone through for the greatest
 * ones, which alone are kept and told. Both go on in slices. Groups beyond GROUPS_MAX are counted together as "others": what a
 * question takes of memory is bounded (about 100 MiB).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <event2/buffer.h>
#include "flow_text.h"
#include "flow_walk.h"
#include "hash.h"
#include "text.h"

#define GROUPS_MAX   (1u << 20)
#define GROUPS_ROOM  1024 /* in one allocation */
#define GROUPS_STEP  4096 /* gone through in a turn */
#define GROUPS_SHOWN 20	  /* unless `limit` says otherwise */
#define LIMIT_MAX    10000

enum by { BY_NONE, BY_PROTO, BY_STATE, BY_RULE, BY_VRF, BY_SRC, BY_DST, BY_IN, BY_OUT, BY_COUNT };

static const char *const by_names[] = {
	[BY_PROTO] = "proto", [BY_STATE] = "state", [BY_RULE] = "rule", [BY_VRF] = "vrf",
	[BY_SRC] = "src",     [BY_DST] = "dst",	    [BY_IN] = "in",	[BY_OUT] = "out",
};

enum sort { SORT_FLOWS, SORT_PACKETS, SORT_BYTES, SORT_COUNT };

static const char *const sort_names[] = {[SORT_FLOWS] = "flows", [SORT_PACKETS] = "packets", [SORT_BYTES] = "bytes"};

struct group_key {
	struct addr addr;
	uint32_t number; /* of whatever `by` is; the VRF of an address */
};

struct group {
	struct hash_node node;
	struct group_key key;
	uint64_t sum[SORT_COUNT];
};

struct room {
	struct room *next;
	struct group group[GROUPS_ROOM];
};

struct count {
	struct flow_walk walk;
	enum by by;
	enum sort sort;
	struct hash groups;
	struct room *rooms, *cursor;
	size_t in_room; /* groups in the first room, the others are full */
	uint64_t total[SORT_COUNT];
	/* The greatest groups so far: a heap, the least of them first. */
	const struct group **top;
	uint32_t n_top, limit;
	bool walked;
};

/* ---- groups */

static uint32_t key_hash(const struct hash *h, const struct group_key *k)
{
	return hash_end(hash_mix(hash_mix(hash_mix(h->salt, k->addr.a64[0]), k->addr.a64[1]), k->number));
}

static uint32_t group_hash(const struct hash *h, const struct hash_node *node)
{
	return key_hash(h, &hash_entry(node, struct group, node)->key);
}

static bool group_is(const struct hash_node *node, const void *arg)
{
	const struct group_key *a = &hash_entry(node, struct group, node)->key, *b = arg;

	return a->addr.a64[0] == b->addr.a64[0] && a->addr.a64[1] == b->addr.a64[1] && a->number == b->number;
}

static struct group_key key_of(enum by by, const struct flow_pair *p)
{
	switch (by) {
	case BY_PROTO:
		return (struct group_key){.number = p->key.proto};
	case BY_STATE:
		return (struct group_key){.number = p->state};
	case BY_RULE:
		return (struct group_key){.number = p->rule};
	case BY_VRF:
		return (struct group_key){.number = p->key.vrf};
	case BY_SRC:
		return (struct group_key){p->key.saddr, p->key.vrf};
	case BY_DST:
		return (struct group_key){p->key.daddr, p->key.vrf};
	case BY_IN:
		return (struct group_key){.number = p->in_iface};
	case BY_OUT:
		return (struct group_key){.number = p->out_iface};
	default:
		return (struct group_key){0};
	}
}

/* NULL: there are too many, or no memory. */
static struct group *new_group(struct count *c, const struct group_key *key)
{
	struct group *g;

	if (c->groups.n >= GROUPS_MAX)
		return NULL;
	if (!c->rooms || c->in_room == GROUPS_ROOM) {
		struct room *r = malloc(sizeof(*r));

		if (!r)
			return NULL;
		r->next = c->rooms;
		c->rooms = r;
		c->in_room = 0;
	}
	g = &c->rooms->group[c->in_room];
	*g = (struct group){.key = *key};
	if (hash_insert(&c->groups, &g->node))
		return NULL;
	c->in_room++;
	return g;
}

static void add(uint64_t sum[SORT_COUNT], const struct flow_pair *p)
{
	sum[SORT_FLOWS]++;
	sum[SORT_PACKETS] += p->packets[0] + p->packets[1];
	sum[SORT_BYTES] += p->bytes[0] + p->bytes[1];
}

static bool count_one(struct flow_pair *p, const struct flow *f, void *arg)
{
	struct count *c = arg;
	struct hash_node *node;
	struct group_key key;
	struct group *g;

	if (c->by == BY_NONE) {
		c->total[SORT_FLOWS]++;
		return true;
	}
	flow_pair_whole(p);
	add(c->total, p);
	key = key_of(c->by, p);
	node = c->groups.n ? hash_find(&c->groups, key_hash(&c->groups, &key), group_is, &key) : NULL;
	g = node ? hash_entry(node, struct group, node) : new_group(c, &key);
	if (g)
		add(g->sum, p);
	return true;
}

/* ---- the greatest */

/* By the sum that was asked for; among equals the key decides, so that an answer does not depend on places in memory. */
static int compare(const struct count *c, const struct group *a, const struct group *b)
{
	if (a->sum[c->sort] != b->sum[c->sort])
		return a->sum[c->sort] < b->sum[c->sort] ? -1 : 1;
	if (a->key.number != b->key.number)
		return a->key.number > b->key.number ? -1 : 1;
	return -memcmp(&a->key.addr, &b->key.addr, sizeof(a->key.addr));
}

static void sift_down(struct count *c, uint32_t n)
{
	const struct group **v = c->top;

	for (uint32_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
		const struct group *swap = v[i];

		if (child + 1 < n && compare(c, v[child + 1], v[child]) < 0)
			child++;
		if (compare(c, v[i], v[child]) <= 0)
			return;
		v[i] = v[child];
		v[child] = swap;
	}
}

static void keep_if_great(struct count *c, const struct group *g)
{
	const struct group **v = c->top, *swap;

	if (c->n_top == c->limit) {
		if (compare(c, g, v[0]) <= 0)
			return;
		v[0] = g;
		sift_down(c, c->n_top);
		return;
	}
	v[c->n_top] = g;
	for (uint32_t i = c->n_top++, up; i && compare(c, v[i], v[up = (i - 1) / 2]) < 0; i = up) {
		swap = v[i];
		v[i] = v[up];
		v[up] = swap;
	}
}

/* False: all were looked at. */
static bool choose_some(struct count *c)
{
	for (unsigned n = 0; c->cursor && n < GROUPS_STEP; n += GROUPS_ROOM) {
		size_t used = c->cursor == c->rooms ? c->in_room : GROUPS_ROOM;

		for (size_t i = 0; i < used; i++)
			keep_if_great(c, &c->cursor->group[i]);
		c->cursor = c->cursor->next;
	}
	return c->cursor != NULL;
}

/* ---- the answer */

static void put_key(const struct count *c, const struct group_key *k, struct line *l)
{
	const struct sw *sw = c->walk.flows->sw;
	char addr[ADDR_TEXT], number[4];

	switch (c->by) {
	case BY_PROTO:
		line_json(l, proto_text((uint8_t)k->number, number));
		break;
	case BY_STATE:
		line_json(l, flow_state_name((enum flow_state)k->number));
		break;
	case BY_RULE:
		line_json(l, nat_rule_name(sw, (uint16_t)k->number));
		if (nat_rule_former(sw, (uint16_t)k->number)) {
			line_put(l, ",\"former-rule\":");
			line_json(l, nat_rule_former(sw, (uint16_t)k->number));
		}
		break;
	case BY_VRF:
		line_json(l, vrf_name(sw, (uint16_t)k->number));
		break;
	case BY_IN:
	case BY_OUT:
		line_json(l, iface_name(sw, (uint16_t)k->number));
		break;
	default:
		line_json(l, addr_text(&k->addr, addr));
		line_put(l, ",\"vrf\":");
		line_json(l, vrf_name(sw, (uint16_t)k->number));
	}
}

/* Packets and bytes where the flows' are counted. */
static void put_sums(const struct count *c, const uint64_t sum[SORT_COUNT], struct line *l)
{
	enum sort end = c->walk.flows->sw->model->settings.flows_uncounted ? SORT_PACKETS : SORT_COUNT;

	for (enum sort s = 0; s < end; s++) {
		line_put(l, s ? ",\"" : "\"");
		line_put(l, sort_names[s]);
		line_put(l, "\":");
		line_number(l, sum[s]);
	}
}

static void flush_line(struct line *l, struct evbuffer *out)
{
	evbuffer_add(out, l->text, l->len);
	l->len = 0;
}

static void answer(struct count *c, struct evbuffer *out)
{
	struct line l = {0};
	uint64_t rest[SORT_COUNT];

	memcpy(rest, c->total, sizeof(rest));
	line_put(&l, "{");
	put_sums(c, c->total, &l);
	line_put(&l, ",\"by\":");
	line_json(&l, by_names[c->by]);
	line_put(&l, ",\"groups\":[");
	/* A heap becomes a list, the greatest first, from behind. */
	for (uint32_t n = c->n_top; n > 1; n--) {
		const struct group *least = c->top[0];

		c->top[0] = c->top[n - 1];
		c->top[n - 1] = least;
		sift_down(c, n - 1);
	}
	for (uint32_t i = 0; i < c->n_top; i++) {
		for (enum sort s = 0; s < SORT_COUNT; s++)
			rest[s] -= c->top[i]->sum[s];
		line_put(&l, i ? ",\n{\"" : "\n{\"");
		line_put(&l, by_names[c->by]);
		line_put(&l, "\":");
		put_key(c, &c->top[i]->key, &l);
		line_put(&l, ",");
		put_sums(c, c->top[i]->sum, &l);
		line_put(&l, "}");
		flush_line(&l, out);
	}
	line_put(&l, "],\"others\":{\"groups\":");
	line_number(&l, c->groups.n - c->n_top);
	line_put(&l, ",");
	put_sums(c, rest, &l);
	line_put(&l, "}}\n");
	flush_line(&l, out);
}

/* As at the beginning. */
static void forget(struct count *c)
{
	struct room *next;

	for (; c->rooms; c->rooms = next) {
		next = c->rooms->next;
		free(c->rooms);
	}
	hash_free(&c->groups);
	hash_init(&c->groups, group_hash);
	memset(c->total, 0, sizeof(c->total));
}

static int count_next(void *arg, struct evbuffer *out)
{
	struct count *c = arg;

	if (!c->walked) {
		if (flow_walk_moved(&c->walk, true))
			forget(c);
		c->walked = !flow_walk_some(&c->walk, count_one, c);
		c->cursor = c->rooms;
		return HTTP_MORE;
	}
	if (choose_some(c))
		return HTTP_MORE;
	if (c->by == BY_NONE)
		evbuffer_add_printf(out, "{\"flows\":%llu}\n", (unsigned long long)c->total[SORT_FLOWS]);
	else
		answer(c, out);
	return HTTP_END;
}

static void count_free(void *arg)
{
	struct count *c = arg;

	forget(c);
	flow_walk_close(&c->walk);
	free(c->top);
	free(c);
}

/* ---- the question */

static int choose(const char *what, const char *word, const char *const *names, int n, int *ret, struct errs *errs)
{
	char list[128] = "";
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		if (!names[i])
			continue;
		if (!strcmp(names[i], word)) {
			*ret = i;
			return 0;
		}
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ", " : "", names[i]);
	}
	return errs_fail(errs, EINVAL, "%s: '%.32s' is not one of: %s", what, word, list);
}

int flow_count_by(struct sw *sw, const struct flow_query *q, struct http_stream *ret, struct errs *errs)
{
	int by = BY_NONE, sort = SORT_FLOWS, err = q->by ? choose("by", q->by, by_names, BY_COUNT, &by, errs) : 0;
	struct count *c;

	if (!q->by && (q->sort || q->limit))
		err = errs_fail(errs, EINVAL, "%s is of groups: give `by` as well", q->sort ? "sort" : "limit");
	if (!err && q->sort)
		err = choose("sort", q->sort, sort_names, SORT_COUNT, &sort, errs);
	if (!err && q->limit > LIMIT_MAX)
		err = errs_fail(errs, EINVAL, "limit: at most %d groups are told", LIMIT_MAX);
	if (err)
		return err;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->by = (enum by)by;
	c->sort = (enum sort)sort;
	c->limit = q->limit ? q->limit : GROUPS_SHOWN;
	forget(c);
	c->top = calloc(c->limit, sizeof(*c->top));
	err = c->top ? flow_walk_open(&c->walk, sw, q->filter, errs) : -ENOMEM;
	if (err) {
		count_free(c);
		return err;
	}
	c->walk.whole = by != BY_NONE;
	*ret = (struct http_stream){.next = count_next, .free = count_free, .arg = c};
	return 0;
}
