/* flow_age.c: ends the flows whose time is over, or whose rule or address is gone, and has NAT's ports swept after them.
 *
 * Stands between a timer and the flow tables. A pass goes over all slots, in slices of a few milliseconds, so that the event loop
 * is never held up; flows that changed behind the cursor are the next pass's. Of each slot a note is kept: when its entry can end
 * at the earliest, and which port it holds; and of each bucket the sum of its words, and the earliest time of its slots. So most
 * passes read 12 bytes a bucket; every fourth, or each one where timeouts are short, the words as well, to see what is new; and
 * an entry (and its other half, somewhere else in memory) is looked at only when it is due.
 *
 * With the passes go those over NAT's mappings, which are dearer: when they cost more than a hundredth of the time, they are done
 * less often.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <time.h>
#include "clock.h"
#include "flow_priv.h"
#include "flow_watch.h"
#include "loop.h"
#include "nat_priv.h"

#define TICK_NS	      10000000ull  /* between slices */
#define SLICE_NS      2000000ull   /* of work */
#define PERIOD_NS     700000000ull /* from pass to pass: an entry ends within a second of its time */
#define WATCHED_NS    200000000ull /* while somebody watches; then passes take at most a twentieth of the time */
#define WATCHED	      20
#define CHUNK	      256 /* buckets between looks at the clock, */
#define CHUNK_LOOKS   64  /* or entries looked at */
#define MAPPINGS      128 /* or slots of mappings: of each 256 rules may be asked, */
#define ELEMENTS      256 /* or elements of the kernel's hashes */
#define SHARE	      100 /* of the time, what sweeping may take */
#define SHARE_PRESSED 20  /* where ports are scarce */
#define PASSES_BLIND  3
#define PRESSED_S     5
#define SHARE_ENDS    200 /* of the time, what looking for connections that close may take */
/* An entry whose other half is missing may be in the making. */
#define HALF_NS 2000000000ull
/* At the latest, for what a note cannot foresee. */
#define RECHECK_NS 600000000000ull

/* When the pair's time is over. Where room is scarce a connection that was closed on both sides, or reset, waits no longer than
 * its last packets need. */
static uint64_t end_ns(struct flows *flows, const struct flow_tuple *key, const struct flow *f, const struct flow *reply)
{
	uint64_t used = flow_used_ns(f, reply, flows->now_ns);
	enum flow_state state = flow_state(key->proto, f->seen, reply->seen);
	struct settings_cfg buf;
	uint32_t timeout_s = flow_timeout_s(nat_settings(flows->sw, f->rule, &buf), key->proto, state);

	if (flows->pressed && (state == FLOW_CLOSING || state == FLOW_RESET) && timeout_s > PRESSED_S)
		timeout_s = PRESSED_S;
	return used + timeout_s * CLOCK_SECOND_NS;
}

/* A connection that closes, or is opened anew, has a shorter timeout from then on: looked at twice in that time, it ends when it
 * should. */
static uint64_t recheck_ns(struct flows *flows, uint8_t proto, uint16_t rule)
{
	struct settings_cfg buf;
	const struct settings_cfg *s = nat_settings(flows->sw, rule, &buf);
	bool opening = s->tcp_opening_s && s->tcp_opening_s < s->tcp_transitory_s;
	uint64_t half = (opening ? s->tcp_opening_s : s->tcp_transitory_s) * 500000000ull;

	return flows->now_ns + (proto == IPPROTO_TCP && half < RECHECK_NS ? half : RECHECK_NS);
}

static uint32_t now_units(const struct flows *flows)
{
	return (uint32_t)(flows->now_ns >> WORD_DEAD_SHIFT);
}

static void note_due(struct flow_note *note, uint64_t ns)
{
	note->due = (uint32_t)(ns >> WORD_DEAD_SHIFT) + 1;
}

/* Neither direction's VRF is gone. */
static bool vrfs_alive(struct flows *flows, const struct flow_tuple *key, const struct flow *f)
{
	return vrf_alive(flows->sw, key->vrf) && vrf_alive(flows->sw, f->peer_vrf);
}

static void note_entry(struct flow_note *note, const struct flowtab *tab, const struct flow_found *at, uint64_t due_ns)
{
	uint32_t bucket[FLOWTAB_PLACES];
	bool tcp = (tab->family == 4 ? ((const struct flow_key4 *)&at->key)->proto : at->key.proto) == IPPROTO_TCP;

	*note = (struct flow_note){.word = at->word, .flags = tcp ? FLOW_NOTE_TCP : 0};
	flowtab_buckets_of(tab, &at->key, bucket);
	if (bucket[0] != at->slot / BUCKET_SLOTS)
		note->flags |= FLOW_NOTE_SECOND;
	note_due(note, due_ns);
}

static void note_forward(struct flow_note *note, const struct flow_tuple *key, const struct flow *f)
{
	struct flow_tuple to;

	flow_tuple_to(key, f, &to);
	note->flags |= FLOW_NOTE_FORWARD | (f->pool ? FLOW_NOTE_PORT : 0) | (f->dest_addr ? FLOW_NOTE_DEST : 0);
	note->pool_addr = f->pool_addr;
	note->proto = key->proto;
	note->port = ntohs(to.sport);
}

/* A reply entry ends with its forward entry. One that was young may have lost it: in a flood the data plane ends pairs while
 * others make them. */
static uint64_t reply_due_ns(const struct flows *flows, const struct flow *reply)
{
	uint64_t young = reply->created_ns + HALF_NS;

	return young > flows->now_ns ? young : flows->now_ns + RECHECK_NS;
}

/* `reply` NULL: there is none. What was found is noted of both entries. False: the pair was ended. */
static bool look_at_pair(struct flows *flows, const struct flow_tuple *key, const struct flow_found *forward,
			 const struct flow_found *reply)
{
	bool alive = vrfs_alive(flows, key, &forward->f), held;
	struct flow_note *notes = flows->note[key->family == 6];
	const struct flowtab *tab = &flows->tab[key->family == 6];
	uint64_t end = forward->f.created_ns + HALF_NS, recheck = recheck_ns(flows, key->proto, forward->f.rule);
	const struct flow *f = &forward->f;

	if (!reply && (end <= flows->now_ns || !alive)) {
		flow_end(flows, key, f, FLOW_WHY_HALF);
		return false;
	}
	if (reply)
		end = end_ns(flows, key, f, &reply->f);
	held = alive && nat_holds(flows->sw, key, f);
	if (!held || end <= flows->now_ns) {
		flow_end(flows, key, f, held ? FLOW_WHY_TIMEOUT : FLOW_WHY_RULE);
		/* An address that comes back before the next sweep has its ports free again. */
		if (!held && f->pool)
			nat_mapping_end(flows->sw->nat, key, f);
		return false;
	}
	if (notes[forward->slot].word != forward->word)
		flow_watch_begin(flows, key, f);
	note_entry(&notes[forward->slot], tab, forward, end < recheck ? end : recheck);
	note_forward(&notes[forward->slot], key, f);
	if (!reply || !(reply->f.seen & FLOW_SEEN_ANY))
		notes[forward->slot].flags |= FLOW_NOTE_WAITS;
	if (reply)
		note_entry(&notes[reply->slot], tab, reply, reply_due_ns(flows, &reply->f));
	return true;
}

/* False: it was ended. */
static bool look_at_forward(struct flows *flows, const struct flow_tuple *key, const struct flow_found *at)
{
	struct flow_tuple peer;
	struct flow_found reply;
	bool whole;

	flow_tuple_peer(key, &at->f, &peer);
	whole = !flow_find(flows, &peer, &reply) && flow_is_pair(key, &peer, &reply.f);
	return look_at_pair(flows, key, at, whole ? &reply : NULL);
}

/* A reply entry is kept alive by its forward entry, with which it is looked at; one that has none is ended. As
 * look_at_forward(). */
static bool look_at_reply(struct flows *flows, const struct flow_tuple *key, const struct flow_found *at)
{
	const struct flowtab *tab = &flows->tab[key->family == 6];
	struct flow_note *notes = flows->note[key->family == 6];
	bool resets = flows->pressed && at->f.seen & FLOW_SEEN_RST;
	struct flow_found forward;
	struct flow_tuple peer;

	flow_tuple_peer(key, &at->f, &peer);
	if (flow_find(flows, &peer, &forward) || forward.f.flags & FLOW_F_REPLY || !flow_is_pair(key, &peer, &forward.f)) {
		if (at->f.created_ns + HALF_NS > flows->now_ns && vrfs_alive(flows, key, &at->f)) {
			note_entry(&notes[at->slot], tab, at, at->f.created_ns + HALF_NS);
			return true;
		}
		flow_delete(flows, key);
		return false;
	}
	/* The forward entry shows nothing of a reset that came from this side. */
	if (resets || notes[forward.slot].word != forward.word)
		return look_at_pair(flows, &peer, &forward, at);
	note_entry(&notes[at->slot], tab, at, reply_due_ns(flows, &at->f));
	return true;
}

static void look(struct flows *flows, struct flowtab *tab, uint32_t i, uint32_t word, struct flow_note *note)
{
	struct flow_found at = {.slot = i, .word = word};
	struct flow_tuple t;
	bool lives = false;

	if (flowtab_read(tab, i, word, &at.key, &at.f)) {
		flow_tuple_from_key(tab->family, &at.key, &t);
		lives = at.f.flags & FLOW_F_REPLY ? look_at_reply(flows, &t, &at) : look_at_forward(flows, &t, &at);
	}
	if (!lives)
		*note = (struct flow_note){0};
}

/* What the note does not tell: the mapping that a flow from outside, or from another host inside, came by; whose session it is.
 */
static void sweep_entry(struct flows *flows, struct flowtab *tab, uint32_t i, uint32_t word)
{
	struct nat *nat = flows->sw->nat;
	struct flow_tuple t;
	struct flow_key6 key;
	struct flow f;

	if (!flowtab_read(tab, i, word, &key, &f))
		return;
	flow_tuple_from_key(tab->family, &key, &t);
	if (f.pool)
		nat_limit_add(nat, f.source_rule ?: f.rule, &t.saddr, t.vrf, false);
	if (f.dest_addr)
		nat_sweep_flow(nat, f.dest_addr - 1u, t.proto, ntohs(t.dport));
}

/* An entry that is not in the bucket where it is looked for first: those that are looked at before go on saying so. If another
 * one came into the slot unnoticed, since 30 bits of its hash are the former's (a chance of 10^-9), it is not found there until
 * it is used for the next time, and made anew.
 */
static void sweep_second(struct flowtab *tab, struct spill *spill, uint32_t i, uint32_t word, unsigned *looks)
{
	uint32_t bucket[FLOWTAB_PLACES];
	struct flow_key6 key;
	struct flow f;

	if (!spill->noted)
		return;
	++*looks;
	if (!flowtab_read(tab, i, word, &key, &f))
		return;
	flowtab_buckets_of(tab, &key, bucket);
	for (int n = 0; n < FLOWTAB_PLACES && bucket[n] != i / BUCKET_SLOTS; n++)
		spill_seen(spill, bucket[n]);
}

/* Two buckets of other words have the same sum once in 2^32 times. What comes of it: an entry is looked at as late as the one
 * that was there before it would have been, in ten minutes at most. */
static uint32_t sum_of(const uint32_t word[BUCKET_SLOTS])
{
	static const uint32_t odd[BUCKET_SLOTS] = {0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f, 0x165667b1,
						   0xd3a2646d, 0xfd7046c5, 0xb55a4f09, 0x7feb352d, 0x846ca68b,
						   0x68e31da5, 0xb5297a4d, 0x1b56c4e9, 0x2c1b3c6d, 0x297a2d39};
	uint32_t sum = 1;

	for (int i = 0; i < BUCKET_SLOTS; i++)
		sum += (word[i] ^ word[i] >> 15) * odd[i];
	return sum;
}

/* Where room is scarce: one that closes is over sooner than its note says. Entries are read in their order, and of each the line
 * alone that packets use, which is a tenth of what a look at a pair costs. */
static bool may_close(const struct flows *flows, const struct flowtab *tab, uint32_t i, const struct flow_note *note)
{
	return flows->closers && note->flags & FLOW_NOTE_TCP &&
	       __atomic_load_n(&flowtab_entry(tab, i)->seen, __ATOMIC_RELAXED) & (FLOW_SEEN_FIN | FLOW_SEEN_RST);
}

/* Does the pair still have the port that was noted? One that gave way and came again in the same slot, between two passes, has
 * the same word, and maybe another port. */
static bool has_noted_port(struct flows *flows, struct flowtab *tab, uint32_t i, uint32_t word, const struct flow_note *note)
{
	struct flow_tuple t, to;
	struct flow_key6 key;
	struct flow f;

	if (!(note->flags & FLOW_NOTE_WAITS) && nat_port_is_held(flows->sw->nat, note->pool_addr, note->proto, note->port))
		return true;
	if (!flowtab_read(tab, i, word, &key, &f))
		return true;
	flow_tuple_from_key(tab->family, &key, &t);
	flow_tuple_to(&t, &f, &to);
	return f.pool_addr == note->pool_addr && ntohs(to.sport) == note->port;
}

static void age_slot(struct flows *flows, struct flowtab *tab, uint32_t i, uint32_t word, struct flow_note *note, unsigned *looks)
{
	if (!flowtab_is_live(word)) {
		if (note->word)
			note->word = 0;
		return;
	}
	if (flows->all || note->word != word || note->due <= now_units(flows) || may_close(flows, tab, i, note)) {
		look(flows, tab, i, word, note);
		++*looks;
	} else if (flows->sweeping && note->flags & FLOW_NOTE_PORT && !has_noted_port(flows, tab, i, word, note)) {
		look(flows, tab, i, word, note);
		++*looks;
	}
	if (!flows->sweeping || !note->word)
		return;
	if (note->flags & FLOW_NOTE_SECOND)
		sweep_second(tab, &flows->spill[tab->family == 6], i, word, looks);
	if (!(note->flags & FLOW_NOTE_FORWARD))
		return;
	if (note->flags & FLOW_NOTE_PORT)
		nat_sweep_flow(flows->sw->nat, note->pool_addr, note->proto, note->port);
	if (note->flags & FLOW_NOTE_DEST || (flows->sw->nat->has_limits && note->flags & FLOW_NOTE_PORT))
		sweep_entry(flows, tab, i, word);
}

static void count(struct flows *flows, const struct flowtab *tab, const struct flow_quiet *quiet)
{
	flows->seen += quiet->forwards;
	flows->seen6 += tab->family == 6 ? quiet->forwards : 0;
}

/* Where the other halves of a bucket's new entries stand, each somewhere else in memory, is fetched at once: a million that
 * appear together cost half as much. */
static void prefetch_peers(struct flows *flows, const struct flowtab *tab, uint32_t first, const uint32_t word[BUCKET_SLOTS],
			   const struct flow_note note[BUCKET_SLOTS])
{
	struct flow_tuple t, peer;
	struct flow_key6 key;
	struct flow f;

	for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
		if (!flowtab_is_live(word[i]) || note[i].word == word[i] || !flowtab_read(tab, first + i, word[i], &key, &f))
			continue;
		flow_tuple_from_key(tab->family, &key, &t);
		flow_tuple_peer(&t, &f, &peer);
		__builtin_prefetch(&flows->note[tab->family == 6][flow_prefetch(flows, &peer)], 1);
	}
}

/* Returns how many entries were looked at. */
static unsigned age_bucket(struct flows *flows, struct flowtab *tab, struct flow_note *note, struct flow_quiet *quiet, uint32_t b)
{
	uint32_t word[BUCKET_SLOTS], sum;
	unsigned looks = 0;

	if (!flows->fresh && quiet->due > now_units(flows)) {
		count(flows, tab, quiet);
		return 0;
	}
	if (flows->sweeping && flows->spill[tab->family == 6].lock)
		spill_visit(&flows->spill[tab->family == 6], tab->bucket, b);
	for (int i = 0; i < BUCKET_SLOTS; i++)
		word[i] = flowtab_word(tab, b * BUCKET_SLOTS + (uint32_t)i);
	sum = sum_of(word);
	if (flows->sweeping || flows->all || sum != quiet->sum || quiet->due <= now_units(flows) ||
	    (flows->closers && quiet->tcp)) {
		if (sum != quiet->sum)
			prefetch_peers(flows, tab, b * BUCKET_SLOTS, word, note);
		*quiet = (struct flow_quiet){.sum = sum, .due = UINT32_MAX};
		for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
			age_slot(flows, tab, b * BUCKET_SLOTS + i, word[i], &note[i], &looks);
			if (note[i].word && note[i].due < quiet->due)
				quiet->due = note[i].due;
			quiet->forwards += note[i].word && note[i].flags & FLOW_NOTE_FORWARD;
			quiet->tcp |= note[i].word && note[i].flags & FLOW_NOTE_TCP;
		}
	}
	count(flows, tab, quiet);
	return looks;
}

/* Some buckets of a table. False: there are no more. */
static bool age(struct flows *flows, struct flowtab *tab, struct flow_note *notes)
{
	uint32_t buckets = tab->n / BUCKET_SLOTS,
		 end = buckets - flows->next_bucket > CHUNK ? flows->next_bucket + CHUNK : buckets;
	struct flow_quiet *quiet = (struct flow_quiet *)(notes + tab->n);
	struct spill *spill = &flows->spill[tab->family == 6];
	unsigned looks = 0;

	if (flows->sweeping && !flows->next_bucket)
		spill_begin(spill, buckets);
	for (; flows->next_bucket < end && looks < CHUNK_LOOKS; flows->next_bucket++)
		looks += age_bucket(flows, tab, &notes[(size_t)flows->next_bucket * BUCKET_SLOTS], &quiet[flows->next_bucket],
				    flows->next_bucket);
	if (flows->next_bucket < buckets)
		return true;
	spill->whole = spill->whole || flows->sweeping;
	return false;
}

/* Some of the pass's work; a table's end leads to the next phase. An error of the kernel ends the pass without the end of the
 * sweep: what was not walked must not be taken for unused. */
static void step(struct flows *flows)
{
	int tab = flows->phase == PHASE_FLOWS6;

	switch (flows->phase) {
	case PHASE_NOTE:
		if (!flows->sweeping || !nat_sweep_note(flows->sw->nat))
			flows->phase++;
		return;
	case PHASE_FLOWS4:
	case PHASE_FLOWS6:
		if (age(flows, &flows->tab[tab], flows->note[tab]))
			return;
		/* Seven eighths of what the setting says; the table has a quarter more slots. */
		if ((flows->seen - flows->seen_before) * 20 > flows->tab[tab].n * 7ull)
			flows->crowded = true;
		flows->seen_before = flows->seen;
		flows->next_bucket = 0;
		flows->phase++;
		if (flows->phase == PHASE_MAPPINGS && !flows->sweeping)
			flows->phase = PHASE_WAIT;
		return;
	case PHASE_MAPPINGS:
		if (!nat_sweep_mappings(flows->sw->nat, &flows->next_bucket, MAPPINGS))
			flows->phase++;
		return;
	case PHASE_PEERS:
		if (nat_sweep_peers(flows->sw->nat, &flows->cursor, ELEMENTS))
			flows->phase = PHASE_REST;
		else if (!flows->cursor)
			flows->phase = flows->draining ? PHASE_FRAGMENTS : PHASE_WAIT;
		return;
	case PHASE_FRAGMENTS:
		if (vrf_pass_fragments(flows->sw, &flows->cursor, ELEMENTS))
			flows->phase = PHASE_REST;
		else if (!flows->cursor)
			flows->phase = PHASE_WAIT;
		return;
	case PHASE_PORTS:
		if (!flows->sweeping || !nat_sweep_end(flows->sw->nat))
			flows->phase = PHASE_END;
		return;
	case PHASE_WAIT:
	case PHASE_END:
	case PHASE_REST:
		return;
	}
}

/* How many passes may go by without a look at the words of quiet buckets: what is new is seen long before its time. */
static unsigned passes_blind(struct flows *flows)
{
	uint32_t shortest = UINT32_MAX, n = (uint32_t)flows->sw->nat->n_rules;
	struct settings_cfg buf;

	for (uint32_t rule = 0; rule <= n; rule++) {
		const struct settings_cfg *s = nat_settings(flows->sw, (uint16_t)rule, &buf);
		const uint32_t opening = s->tcp_opening_s ?: s->tcp_transitory_s;
		const uint32_t all[] = {s->tcp_established_s, opening, s->tcp_transitory_s, s->udp_s, s->icmp_s, s->other_s};

		for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
			shortest = all[i] < shortest ? all[i] : shortest;
	}
	return shortest < 10 ? 0 : PASSES_BLIND;
}

static void pass_begin(struct flows *flows)
{
	flows->phase = PHASE_NOTE;
	flows->begun_ns = flows->now_ns;
	flows->seen_before = 0;
	flows->crowded = false;
	flows->seen = flows->seen6 = flows->work_ns = 0;
	flows->draining = vrf_draining(flows->sw);
	flows->sweeping = flows->soon || flows->draining || flows->now_ns >= flows->sweep_at_ns;
	flows->all = flows->soon || flows->draining || flows->nat_changes != flows->sw->nat->changes;
	flows->closers = flows->pressed && flows->now_ns >= flows->closers_at_ns;
	flows->nat_changes = flows->sw->nat->changes;
	flows->soon = false;
	flows->fresh = flows->sweeping || flows->all || flows->closers || flows->watchers || !flows->blind;
	flows->blind = flows->fresh ? passes_blind(flows) : flows->blind - 1;
	if (flows->sweeping)
		nat_sweep_begin(flows->sw->nat, flows->now_ns);
	if (flows->draining) {
		nat_sweep_peers_soon(flows->sw->nat);
		vrf_pass_begin(flows->sw);
	}
}

static void pass_end(struct flows *flows)
{
	bool scarce = nat_ports_scarce(flows->sw->nat);
	uint64_t rest;

	flows->pressed = flows->crowded || scarce;
	if (flows->closers) {
		rest = flows->work_ns * SHARE_ENDS;
		flows->closers_at_ns =
			flows->begun_ns + (rest > PRESSED_S * CLOCK_SECOND_NS ? rest : PRESSED_S * CLOCK_SECOND_NS);
	}
	if (flows->sweeping) {
		/* What is swept are ports and mappings: of a crowded table of flows it makes no room. */
		rest = flows->work_ns * (scarce ? SHARE_PRESSED : SHARE);
		/* Somebody who watches has passes follow closely; those over the mappings come no more often for it. */
		if (rest <= PERIOD_NS)
			rest = flows->watchers ? PERIOD_NS - TICK_NS : 0;
		flows->sweep_at_ns = flows->now_ns + rest;
	}
	if (flows->draining)
		vrf_pass_end(flows->sw);
	flows->counted = flows->seen;
	flows->counted6 = flows->seen6;
	if (flows->fresh)
		flows->whole_ns = flows->begun_ns;
	flows->phase = PHASE_REST;
}

static int timer_set(struct flows *flows, uint64_t ns)
{
	struct timeval after = {.tv_sec = (time_t)(ns / CLOCK_SECOND_NS), .tv_usec = (suseconds_t)(ns % CLOCK_SECOND_NS / 1000)};

	return event_add(flows->timer, &after) ? -ENOMEM : 0;
}

static uint64_t rest_ns(const struct flows *flows)
{
	uint64_t took = clock_now_ns() - flows->begun_ns, period = PERIOD_NS;

	if (flows->watchers) {
		period = flows->work_ns * WATCHED;
		period = period < WATCHED_NS ? WATCHED_NS : period > PERIOD_NS ? PERIOD_NS : period;
	}
	return took + TICK_NS < period ? period - took : TICK_NS;
}

/* What this process has used of a CPU: on a busy machine less than the time that went by. */
static uint64_t cpu_ns(void)
{
	return clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

static bool has_work(const struct flows *flows)
{
	return flows->phase < PHASE_WAIT || flows->phase == PHASE_PORTS;
}

/* The end comes at the earliest one tick after the beginning, as nat_sweep.c needs it. */
static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct flows *flows = arg;
	uint64_t before = cpu_ns();

	loop_doing("ageing flows");
	flows->now_ns = clock_now_ns();
	if (flows->phase == PHASE_WAIT)
		flows->phase = PHASE_PORTS;
	else if (flows->phase == PHASE_REST && !nat_log_takes_up(flows->sw))
		pass_begin(flows);
	while (has_work(flows) && clock_now_ns() - flows->now_ns < SLICE_NS)
		step(flows);
	if (flows->phase == PHASE_END)
		pass_end(flows);
	flows->work_ns += cpu_ns() - before;
	timer_set(flows, flows->phase == PHASE_REST && !flows->soon ? rest_ns(flows) : TICK_NS);
}

static struct flow_note *notes_new(uint32_t slots)
{
	return calloc(1, slots * sizeof(struct flow_note) + slots / BUCKET_SLOTS * sizeof(struct flow_quiet));
}

int flow_age_prepare(struct flows *flows, const struct flowtab tab[2], struct flow_note *ret[2])
{
	for (int i = 0; i < 2; i++)
		ret[i] = notes_new(tab[i].n);
	if (ret[0] && ret[1])
		return 0;
	free(ret[0]);
	free(ret[1]);
	ret[0] = ret[1] = NULL;
	return -ENOMEM;
}

int flow_age_open(struct flows *flows)
{
	int err;

	flows->phase = PHASE_REST;
	err = flow_age_prepare(flows, flows->tab, flows->note);
	if (err)
		return err;
	flows->timer = event_new(flows->sw->base, -1, 0, tick, flows);
	return flows->timer ? timer_set(flows, TICK_NS) : -ENOMEM;
}

void flow_age_close(struct flows *flows)
{
	if (flows->timer)
		event_free(flows->timer);
	table_cursor_free(flows->cursor);
	for (int i = 0; i < 2; i++)
		free(flows->note[i]);
	for (int i = 0; i < 2; i++)
		spill_free(&flows->spill[i]);
}

void flow_age_soon(struct flows *flows)
{
	flows->soon = true;
	if (flows->phase == PHASE_REST && !flows->paused)
		timer_set(flows, 0);
}

void flow_age_watched(struct flows *flows)
{
	if (flows->phase == PHASE_REST && !flows->paused)
		timer_set(flows, TICK_NS);
}

void flow_age_pause(struct flows *flows)
{
	flows->paused = true;
	event_del(flows->timer);
	table_cursor_free(flows->cursor);
	flows->cursor = NULL;
	flows->next_bucket = 0;
	flows->phase = PHASE_REST;
	/* The next pass may be over other tables. */
	for (int i = 0; i < 2; i++)
		flows->spill[i].whole = false;
	nat_sweep_stop(flows->sw->nat);
}

void flow_age_resume(struct flows *flows)
{
	flows->paused = false;
	timer_set(flows, TICK_NS);
}
