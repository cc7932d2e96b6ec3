/* flow.c: the flows as sluiced sees them: keys of both families in one shape, listing, counting, ending by order.
 *
 * Stands between the tables that bpf/flow.h fills and who asks about connections. Entries are made by the data plane alone, here
 * they are only read and deleted; flow_age.c ends them by time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "flow_priv.h"

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

	return i != FLOWTAB_NONE && flowtab_end(tab, i, word, flow_now_ns());
}

int flow_lookup(struct flows *flows, const struct flow_tuple *t, struct flow *ret)
{
	struct flow_key6 key;
	uint32_t word, i = find(tab_of(flows, t), t, &word);

	return i != FLOWTAB_NONE && flowtab_read(tab_of(flows, t), i, word, &key, ret) ? 0 : -ENOENT;
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

	return flowtab_insert(tab_of(flows, t), t->family == 4 ? (void *)&k4 : (void *)&k6, f, flow_now_ns());
}

bool flow_end(struct flows *flows, const struct flow_tuple *forward, const struct flow *f)
{
	struct flow_tuple peer_key;
	struct flow peer;
	bool was = !flow_delete(flows, forward);

	flow_tuple_peer(forward, f, &peer_key);
	/* The key may meanwhile be another pair's. */
	if (!flow_lookup(flows, &peer_key, &peer) && flow_is_pair(forward, &peer_key, &peer))
		flow_delete(flows, &peer_key);
	if (was)
		nat_log_end(flows->sw, forward, f);
	return was;
}

/* Every forward entry of both tables; ends at a result that is not 0, and returns it. */
static int each_forward(struct flows *flows,
			int (*fn)(struct flows *flows, const struct flow_tuple *key, const struct flow *f, void *arg), void *arg)
{
	struct flow_tuple t;
	struct flow_key6 key;
	struct flow f;
	int err = 0;

	for (int tab = 0; tab < 2; tab++)
		for (uint32_t i = 0; !err && i < flows->tab[tab].n; i++) {
			uint32_t word = flowtab_word(&flows->tab[tab], i);

			if (!flowtab_is_live(word) || flowtab_entry(&flows->tab[tab], i)->flags & FLOW_F_REPLY ||
			    !flowtab_read(&flows->tab[tab], i, word, &key, &f))
				continue;
			flow_tuple_from_key(flows->tab[tab].family, &key, &t);
			err = fn(flows, &t, &f, arg);
		}
	return err;
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
	t->n = table_capacity(words) * FLOW_SLOTS;
	return t->head && t->bucket && t->entry && table_capacity(entries) == t->n ? 0 : -EINVAL;
}

static int tab_open(struct sw *sw, struct flowtab *t, int family)
{
	return flow_tab_open(t, family, table_get(sw->dp, "flow_table"),
			     table_get(sw->dp, family == 4 ? "flow_words4" : "flow_words6"),
			     table_get(sw->dp, family == 4 ? "flows4" : "flows6"));
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

/* ---- counting, ending */

static int count_one(struct flows *flows, const struct flow_tuple *key, const struct flow *f, void *arg)
{
	++*(uint64_t *)arg;
	return 0;
}

/* Pairs, as of the last pass: a second or so ago. */
uint64_t flow_count(struct sw *sw)
{
	uint64_t n = 0;

	if (sw->flows->is_counted)
		return sw->flows->counted;
	each_forward(sw->flows, count_one, &n);
	return n;
}

/* Before the first pass has ended, by the entries there are, halved. */
uint64_t flow_count_of(const struct sw *sw, int family)
{
	const struct flows *flows = sw->flows;
	const struct flowtab *t = &flows->tab[family == 6];
	uint64_t n = 0;

	if (flows->is_counted)
		return family == 6 ? flows->counted6 : flows->counted - flows->counted6;
	for (uint32_t i = 0; i < t->n; i++)
		n += flowtab_is_live(flowtab_word(t, i));
	return (n + 1) / 2;
}

int flow_of(const struct sw *sw, const struct nat_packet *p, struct flow *ret)
{
	struct flow_tuple t = {p->saddr, p->daddr, p->sport, p->dport, p->vrf, p->proto, p->family};

	return flow_lookup(sw->flows, &t, ret);
}

static int flush_one(struct flows *flows, const struct flow_tuple *key, const struct flow *f, void *arg)
{
	*(int *)arg += flow_end(flows, key, f);
	return 0;
}

int flow_flush(struct sw *sw)
{
	int n = 0, err = each_forward(sw->flows, flush_one, &n);

	sw->flows->is_counted = false;
	return err ? err : n;
}

/* ---- listing */

static json_t *proto_json(uint8_t proto)
{
	char number[4];

	switch (proto) {
	case IPPROTO_TCP:
		return json_string("tcp");
	case IPPROTO_UDP:
		return json_string("udp");
	case IPPROTO_ICMP:
		return json_string("icmp");
	case IPPROTO_ICMPV6:
		return json_string("icmpv6");
	case IPPROTO_GRE:
		return json_string("gre");
	case IPPROTO_ESP:
		return json_string("esp");
	case IPPROTO_SCTP:
		return json_string("sctp");
	}
	snprintf(number, sizeof(number), "%u", proto);
	return json_string(number);
}

/* One direction; what the rewrite leaves as it is, is not said twice. */
static json_t *direction_json(const struct flow_tuple *key, const struct flow *f)
{
	char src[ADDR_TEXT], dst[ADDR_TEXT], to_src[ADDR_TEXT], to_dst[ADDR_TEXT];
	struct flow_tuple to;
	json_t *o;

	flow_tuple_to(key, f, &to);
	o = json_pack("{s:s, s:i, s:s, s:i}", "src", addr_text(&key->saddr, src), "sport", ntohs(key->sport), "dst",
		      addr_text(&key->daddr, dst), "dport", ntohs(key->dport));
	if (memcmp(&to.saddr, &key->saddr, sizeof(to.saddr)))
		json_object_set_new(o, "to-src", json_string(addr_text(&to.saddr, to_src)));
	if (to.sport != key->sport)
		json_object_set_new(o, "to-sport", json_integer(ntohs(to.sport)));
	if (memcmp(&to.daddr, &key->daddr, sizeof(to.daddr)))
		json_object_set_new(o, "to-dst", json_string(addr_text(&to.daddr, to_dst)));
	if (to.dport != key->dport)
		json_object_set_new(o, "to-dport", json_integer(ntohs(to.dport)));
	json_object_set_new(o, "packets", json_integer((json_int_t)f->packets));
	json_object_set_new(o, "bytes", json_integer((json_int_t)f->bytes));
	return o;
}

/* The other half of a pair that has lost it: as it would be. */
static struct flow no_reply(const struct flow_tuple *key)
{
	return (struct flow){.saddr4 = key->daddr.a32[3],
			     .daddr4 = key->saddr.a32[3],
			     .sport = key->dport,
			     .dport = key->sport,
			     .saddr6 = key->daddr,
			     .daddr6 = key->saddr};
}

static json_int_t seconds_since(uint64_t now, uint64_t then)
{
	return now > then ? (json_int_t)((now - then) / 1000000000ull) : 0;
}

static json_t *pair_json(struct flows *flows, const struct flow_tuple *key, const struct flow *f, uint64_t now)
{
	struct flow reply;
	struct flow_tuple peer;
	const char *rule = nat_rule_name(flows->sw, f->rule);
	enum flow_state state;
	struct settings_cfg buf;
	json_int_t idle, timeout;
	uint64_t used;

	flow_tuple_peer(key, f, &peer);
	if (flow_lookup(flows, &peer, &reply))
		reply = no_reply(key);
	used = flow_used_ns(f, &reply, now);
	state = flow_state(key->proto, f->seen, reply.seen);
	idle = seconds_since(now, used);
	timeout = flow_timeout_s(nat_settings(flows->sw, f->rule, &buf), key->proto, state);
	return json_pack("{s:o, s:s, s:s, s:s?, s:o, s:o, s:I, s:I, s:I}", "proto", proto_json(key->proto), "state",
			 flow_state_name(state), "vrf", vrf_name(flows->sw, key->vrf) ?: "", "rule", rule, "forward",
			 direction_json(key, f), "reply", direction_json(&peer, &reply), "age", seconds_since(now, f->created_ns),
			 "idle", idle, "expires", timeout > idle ? timeout - idle : (json_int_t)0);
}

struct show {
	json_t *list;
	size_t limit;
	uint64_t now;
};

static int show_one(struct flows *flows, const struct flow_tuple *key, const struct flow *f, void *arg)
{
	struct show *s = arg;

	json_array_append_new(s->list, pair_json(flows, key, f, s->now));
	return s->limit && json_array_size(s->list) >= s->limit;
}

json_t *flow_show(struct sw *sw, size_t limit)
{
	struct show s = {.list = json_array(), .limit = limit, .now = flow_now_ns()};

	each_forward(sw->flows, show_one, &s);
	return s.list;
}
