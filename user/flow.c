/* flow.c: the flows as sluiced sees them: keys of both families in one shape, found and ended.
 *
 * Stands between the tables that bpf/flow.h fills and who asks about connections. Entries are made by the data plane, and
 * by flow_restore.c, of another gateway's; here they are read and deleted. flow_age.c ends them by time, flow_walk.c by order;
 * those that give way (bpf/half.h) are gone without a word, and missed by flow_told.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_priv.h"
#include "flow_told.h"
#include "flow_watch.h"

/* ---- entries */

void flow_tuple_from_key(int family, const void *key, struct flow_tuple *ret)
{
	const struct flow_key4 *k4 = key;
	const struct flow_key6 *k6 = key;

	if (family == 4)
		*ret = (struct flow_tuple){addr_v4(k4->saddr), addr_v4(k4->daddr), k4->sport, k4->dport, k4->vrf, k4->proto, 4};
	else
		*ret = (struct flow_tuple){k6->saddr, k6->daddr, k6->sport, k6->dport, k6->vrf, k6->proto, 6};
}

void flow_tuple_to(const struct flow_tuple *key, const struct flow *f, struct flow_tuple *ret)
{
	*ret = *key;
	ret->saddr = key->family == 4 ? addr_v4(f->saddr4) : f->saddr6;
	ret->daddr = key->family == 4 ? addr_v4(f->daddr4) : f->daddr6;
	ret->sport = f->sport;
	ret->dport = f->dport;
}

void flow_tuple_peer(const struct flow_tuple *key, const struct flow *f, struct flow_tuple *ret)
{
	struct flow_tuple to;

	flow_tuple_to(key, f, &to);
	*ret = (struct flow_tuple){to.daddr, to.saddr, to.dport, to.sport, f->peer_vrf, key->proto, key->family};
}

bool flow_is_pair(const struct flow_tuple *key, const struct flow_tuple *peer_key, const struct flow *peer)
{
	struct flow_tuple back;

	flow_tuple_peer(peer_key, peer, &back);
	return !memcmp(&back.saddr, &key->saddr, sizeof(back.saddr)) && !memcmp(&back.daddr, &key->daddr, sizeof(back.daddr)) &&
	       back.sport == key->sport && back.dport == key->dport && back.vrf == key->vrf;
}

static struct flow_key4 key4(const struct flow_tuple *t)
{
	return (struct flow_key4){t->saddr.a32[3], t->daddr.a32[3], t->sport, t->dport, t->vrf, t->proto, 0};
}

static struct flow_key6 key6(const struct flow_tuple *t)
{
	return (struct flow_key6){t->saddr, t->daddr, t->sport, t->dport, t->vrf, t->proto, 0};
}

static struct flowtab *tab_of(struct flows *flows, const struct flow_tuple *t)
{
	return &flows->tab[t->family == 6];
}

/* The slot of a tuple's entry, or FLOWTAB_NONE. */
static uint32_t find(const struct flowtab *tab, const struct flow_tuple *t, uint32_t *ret_word)
{
	struct flow_key4 k4 = key4(t);
	struct flow_key6 k6 = key6(t);

	return flowtab_find(tab, t->family == 4 ? (void *)&k4 : (void *)&k6, ret_word);
}

static bool end_in(struct flowtab *tab, const struct flow_tuple *t)
{
	uint32_t word, i = find(tab, t, &word);

	return i != FLOWTAB_NONE && flowtab_end(tab, i, word, clock_now_ns());
}

int flow_find(struct flows *flows, const struct flow_tuple *t, struct flow_found *ret)
{
	const struct flowtab *tab = tab_of(flows, t);

	ret->slot = find(tab, t, &ret->word);
	return ret->slot != FLOWTAB_NONE && flowtab_read(tab, ret->slot, ret->word, &ret->key, &ret->f) ? 0 : -ENOENT;
}

int flow_lookup(struct flows *flows, const struct flow_tuple *t, struct flow *ret)
{
	struct flow_key6 key;
	uint32_t word, i = find(tab_of(flows, t), t, &word);

	return i != FLOWTAB_NONE && flowtab_read(tab_of(flows, t), i, word, &key, ret) ? 0 : -ENOENT;
}

uint32_t flow_prefetch(struct flows *flows, const struct flow_tuple *t)
{
	struct flow_key4 k4 = key4(t);
	struct flow_key6 k6 = key6(t);

	return flowtab_prefetch(tab_of(flows, t), t->family == 4 ? (void *)&k4 : (void *)&k6);
}

int flow_delete(struct flows *flows, const struct flow_tuple *t)
{
	bool ended = end_in(tab_of(flows, t), t);

	if (flows->next[0].family)
		end_in(&flows->next[t->family == 6], t);
	return ended ? 0 : -ENOENT;
}

int flow_insert(struct flows *flows, const struct flow_tuple *t, const struct flow *f)
{
	struct flow_key4 k4 = key4(t);
	struct flow_key6 k6 = key6(t);

	return flowtab_insert(tab_of(flows, t), t->family == 4 ? (void *)&k4 : (void *)&k6, f, clock_now_ns());
}

bool flow_delete_pair(struct flows *flows, const struct flow_tuple *forward, const struct flow *f)
{
	struct flow_tuple peer_key;
	struct flow peer;
	bool was;

	nat_session_ending(flows->sw, forward, f);
	was = !flow_delete(flows, forward);
	flow_tuple_peer(forward, f, &peer_key);
	/* The key may meanwhile be another pair's. */
	if (!flow_lookup(flows, &peer_key, &peer) && flow_is_pair(forward, &peer_key, &peer))
		flow_delete(flows, &peer_key);
	nat_session_end(flows->sw, forward, f, was);
	return was;
}

bool flow_end(struct flows *flows, const struct flow_tuple *forward, const struct flow *f, enum flow_why why)
{
	struct flow_pair pair;
	bool watched = flow_watch_before_end(flows, forward, f, &pair), was = flow_delete_pair(flows, forward, f);

	if (was && watched)
		flow_watch_end(flows, &pair, why);
	return was;
}

/* ---- life */

int flow_tab_open(struct flowtab *t, int family, struct table *head, struct table *words, struct table *entries)
{
	if (!head || !words || !entries)
		return -ENOENT;
	t->family = family;
	t->head = table_map(head);
	t->bucket = table_map(words);
	t->entry = table_map(entries);
	t->n = table_capacity(words) * BUCKET_SLOTS;
	return t->head && t->bucket && t->entry && table_capacity(entries) == t->n ? 0 : -EINVAL;
}

static int tab_open(struct sw *sw, struct flowtab *t, int family)
{
	return flow_tab_open(t, family, table_get(sw->dp, "flow_table"),
			     table_get(sw->dp, family == 4 ? "flow_words4" : "flow_words6"),
			     table_get(sw->dp, family == 4 ? "flows4" : "flows6"));
}

/* What a sluiced before this one has left, until the first pass has ended: every two entries are taken for a pair. */
static void count_at_start(struct flows *flows)
{
	uint64_t n[2];

	for (int i = 0; i < 2; i++)
		n[i] = (flowtab_count(&flows->tab[i]) + 1) / 2;
	flows->counted = n[0] + n[1];
	flows->counted6 = n[1];
}

int flow_open(struct sw *sw, struct errs *errs)
{
	struct flows *flows = calloc(1, sizeof(*flows));
	int err = 0;

	if (!flows)
		return errs_fail(errs, ENOMEM, "flows: no memory");
	sw->flows = flows;
	flows->sw = sw;
	for (int i = 0; !err && i < 2; i++)
		err = tab_open(sw, &flows->tab[i], i ? 6 : 4);
	for (int i = 0; !err && i < 2; i++) /* of a sluiced that was killed */
		flowtab_free_locks(&flows->tab[i]);
	if (!err)
		count_at_start(flows);
	if (!err)
		err = flow_told_open(flows);
	if (!err)
		err = flow_age_open(flows);
	if (!err)
		return 0;
	flow_close(sw);
	return errs_fail(errs, -err, "flows: the tables are missing or cannot be mapped, or there is no memory for their ageing");
}

void flow_close(struct sw *sw)
{
	if (!sw->flows)
		return;
	flow_age_close(sw->flows);
	flow_told_close(sw->flows);
	free(sw->flows);
	sw->flows = NULL;
}

/* A pass of flow_age.c ends the flows whose rule or address is gone, or whose timeout was made shorter; here one is asked for at
 * once. */
int flow_reconcile(struct sw *sw, struct errs *errs)
{
	flow_age_soon(sw->flows);
	return 0;
}

int flow_users(struct sw *sw, int more)
{
	return sw->flows->users += more;
}

/* ---- counting */

/* Pairs, as of the last pass: a second or so ago. */
uint64_t flow_count(struct sw *sw)
{
	return sw->flows->counted;
}

uint64_t flow_count_of(const struct sw *sw, int family)
{
	const struct flows *flows = sw->flows;

	return family == 6 ? flows->counted6 : flows->counted - flows->counted6;
}

int flow_of(const struct sw *sw, const struct nat_packet *p, struct flow *ret)
{
	struct flow_tuple t = {p->saddr, p->daddr, p->sport, p->dport, p->vrf, p->proto, p->family};

	return flow_lookup(sw->flows, &t, ret);
}
