/* flow_save.c: what the tables hold as lines, with names for numbers and ages for times; see flow_move.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_file.h"
#include "flow_move.h"
#include "flow_priv.h"
#include "flow_sum.h"
#include "nat_priv.h"
#include "resize.h"

#define SLICE_NS 2000000ull
#define CHUNK	 128

enum part { SAVE_HEADER, SAVE_MAPPINGS, SAVE_PEERS, SAVE_FLOWS4, SAVE_FLOWS6, SAVE_END };

struct save {
	struct sw *sw;
	struct evbuffer *out;
	enum part part;
	void *cursor;
	uint32_t at;
	uint64_t now_ns, hash, n[RECORD_KINDS];
};

static void put(struct save *s, const struct flow_record *r)
{
	char line[FLOW_FILE_LINE];
	size_t len = flow_file_print(r, line);

	s->hash = flow_file_hash(s->hash, line, r->kind == RECORD_END ? 0 : len);
	s->n[r->kind]++;
	evbuffer_add(s->out, line, len);
}

/* ---- names */

static void set_name(char *to, size_t size, const char *name)
{
	snprintf(to, size, "%s", name ? name : "");
}

static void set_vrf(const struct save *s, char *to, uint16_t id)
{
	set_name(to, SLUICE_LABEL, vrf_name(s->sw, id));
}

static void set_pool(const struct save *s, char *to, uint32_t id)
{
	snprintf(to, SLUICE_LABEL, "%.31s", id && id < POOL_MAX ? s->sw->nat->pools[id].name : "");
}

static uint64_t ms_since(const struct save *s, uint64_t then)
{
	return s->now_ns > then ? (s->now_ns - then) / 1000000 : 0;
}

/* ---- mappings */

/* One whose rule is gone ends by itself, here as there. */
static int save_mapping(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg)
{
	const struct nat_mapping_key *k = &m->inside;
	struct save *s = arg;
	struct flow_record r = {
		.kind = RECORD_MAPPING, .proto = k->proto, .src = k->addr, .remote = k->remote, .filtering = m->filtering};
	const char *rule = nat_rule_name(s->sw, m->rule);

	if (!rule || !nat_pool_has(s->sw->nat, k->pool, m->pool_addr) || !nat_addr_of(s->sw->nat, m->pool_addr, &r.to_src))
		return 0;
	r.sport = ntohs(k->port);
	r.to_sport = ntohs(m->port);
	set_name(r.out, sizeof(r.out), iface_name(s->sw, m->out_iface));
	set_vrf(s, r.vrf, k->vrf);
	set_vrf(s, r.to_vrf, m->out_vrf);
	set_pool(s, r.pool, k->pool);
	set_name(r.rule, sizeof(r.rule), rule);
	put(s, &r);
	return 0;
}

static int save_peer(const void *key, void *value, void *arg)
{
	const struct nat_peer_key *k = key;
	struct save *s = arg;
	struct flow_record r = {.kind = RECORD_PEER, .dst = k->remote};
	struct nat_mapping m;

	if (nattab_lookup_way(&s->sw->nat->tab, k->way, &m) == NATTAB_NONE || !nat_addr_of(s->sw->nat, m.pool_addr, &r.to_src))
		return 0;
	r.proto = m.inside.proto;
	r.to_sport = ntohs(m.port);
	set_vrf(s, r.to_vrf, m.out_vrf);
	put(s, &r);
	return 0;
}

/* ---- flows */

/* Does the flow stand on a mapping, and by which key? A port that was overloaded is another one's. */
static void find_mapping(const struct save *s, const struct flow_tuple *key, const struct flow *f, struct flow_record *r)
{
	uint32_t class = nat_class(key->proto);
	struct nat_mapping m;

	r->shared = class != POOL_CLASSES;
	if (!r->shared || nattab_lookup_way(&s->sw->nat->tab, NAT_WAY(f->pool_addr, class, r->to_sport), &m) == NATTAB_NONE ||
	    memcmp(&m.inside.addr, &key->saddr, sizeof(key->saddr)) || m.inside.port != key->sport || m.inside.vrf != key->vrf ||
	    m.inside.pool != f->pool)
		return;
	r->remote = m.inside.remote;
	r->shared = false;
}

/* One that outlives its rule has no name of that, nor of a pool, and its port is not a mapping's any more. */
static void save_flow(struct save *s, const struct flow_tuple *key, const struct flow *f)
{
	struct flow_record r = {.kind = RECORD_FLOW, .proto = key->proto, .src = key->saddr, .dst = key->daddr};
	const char *rule = nat_rule_name(s->sw, f->rule);
	struct flow_tuple to, peer_key;
	struct flow peer;

	flow_tuple_to(key, f, &to);
	flow_tuple_peer(key, f, &peer_key);
	if ((!rule && !nat_holds(s->sw, key, f)) || flow_lookup(s->sw->flows, &peer_key, &peer) ||
	    !flow_is_pair(key, &peer_key, &peer))
		return;
	r.flags = f->flags & (FLOW_F_SNAT | FLOW_F_DNAT | FLOW_F_TRACK | FLOW_F_VRF | FLOW_F_KEEP);
	r.to_src = to.saddr;
	r.to_dst = to.daddr;
	r.sport = ntohs(key->sport);
	r.dport = ntohs(key->dport);
	r.to_sport = ntohs(to.sport);
	r.to_dport = ntohs(to.dport);
	r.inbound = f->dest_addr != 0;
	set_vrf(s, r.vrf, key->vrf);
	set_vrf(s, r.to_vrf, f->peer_vrf);
	if (!rule) {
		r.flags |= FLOW_F_KEEP;
		r.shared = f->pool && nat_class(key->proto) != POOL_CLASSES;
	} else if (f->pool) {
		find_mapping(s, key, f, &r);
		set_pool(s, r.pool, f->pool);
	}
	set_name(r.rule, sizeof(r.rule), rule);
	set_name(r.in, sizeof(r.in), iface_name(s->sw, f->in_iface));
	set_name(r.out, sizeof(r.out), iface_name(s->sw, peer.in_iface));
	r.seen = f->seen;
	r.reply_seen = peer.seen;
	r.age_ms = ms_since(s, f->created_ns);
	r.idle_ms = ms_since(s, flow_used_ns(f, f, s->now_ns));
	r.reply_idle_ms = ms_since(s, flow_used_ns(&peer, &peer, s->now_ns));
	r.packets = f->packets;
	r.bytes = f->bytes;
	r.reply_packets = peer.packets;
	r.reply_bytes = peer.bytes;
	put(s, &r);
}

/* Which flows are wanted is decided here, by what the entry says: the place for a filter. */
static int save_slots(struct save *s, struct flowtab *tab)
{
	uint32_t end = tab->n - s->at > CHUNK ? s->at + CHUNK : tab->n;
	struct flow_tuple t;
	struct flow_key6 key;
	struct flow f;

	for (; s->at < end; s->at++) {
		uint32_t word = flowtab_word(tab, s->at);

		if (!flowtab_is_live(word) || !flowtab_read(tab, s->at, word, &key, &f) || f.flags & FLOW_F_REPLY)
			continue;
		flow_tuple_from_key(tab->family, &key, &t);
		save_flow(s, &t, &f);
	}
	if (s->at < tab->n)
		return 1;
	s->at = 0;
	return 0;
}

/* ---- the stream */

static void save_ends(struct save *s, enum flow_record_kind kind)
{
	struct flow_record r = {.kind = kind, .version = FLOW_FILE_VERSION, .saved_s = (uint64_t)time(NULL)};

	r.mappings = s->n[RECORD_MAPPING];
	r.peers = s->n[RECORD_PEER];
	r.flows = s->n[RECORD_FLOW];
	r.check = s->hash;
	put(s, &r);
}

static int save_peers(struct save *s)
{
	int err = table_each_some(s->sw->nat->peers, &s->cursor, CHUNK, save_peer, s);

	return err ? err : s->cursor != NULL;
}

/* Some of a part. 1: there is more of it; 0: that was all; -errno. */
static int save_some(struct save *s)
{
	switch (s->part) {
	case SAVE_MAPPINGS:
		return nattab_each_some(&s->sw->nat->tab, &s->at, CHUNK, save_mapping, s);
	case SAVE_PEERS:
		return s->sw->nat->has_remotes ? save_peers(s) : 0;
	case SAVE_FLOWS4:
	case SAVE_FLOWS6:
		return save_slots(s, &s->sw->flows->tab[s->part - SAVE_FLOWS4]);
	case SAVE_HEADER:
	case SAVE_END:
		save_ends(s, s->part == SAVE_HEADER ? RECORD_HEADER : RECORD_END);
		return 0;
	}
	return 0;
}

/* A table that cannot be read leaves the file without its end, which no restore takes. */
static int next(void *arg, struct evbuffer *out)
{
	struct save *s = arg;
	int r;

	s->out = out;
	s->now_ns = clock_now_ns();
	do {
		r = save_some(s);
		if (r < 0 || (!r && s->part == SAVE_END))
			return 0;
		if (!r)
			s->part++;
	} while (clock_now_ns() - s->now_ns < SLICE_NS);
	return 1;
}

static void save_free(void *arg)
{
	struct save *s = arg;

	flow_users(s->sw, -1);
	table_cursor_free(s->cursor);
	free(s);
}

int flow_save(struct sw *sw, struct http_stream *ret, struct errs *errs)
{
	struct save *s;

	if (resize_is_busy(sw))
		return errs_fail(errs, EBUSY, "the tables are changing their size: try again in some seconds");
	s = calloc(1, sizeof(*s));
	if (!s)
		return errs_fail(errs, ENOMEM, "out of memory");
	s->sw = sw;
	s->hash = FLOW_FILE_HASH;
	flow_users(sw, 1);
	*ret = (struct http_stream){.next = next, .free = save_free, .arg = s};
	return 0;
}
