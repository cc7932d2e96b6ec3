/* nat_sweep.c: gives ports back that nobody holds any more, and mends the bitmaps after a crash.
 *
 * Stands between flow_age.c, which walks the flows, and the bitmaps that the data plane sets bits in. See nat_priv.h for the
 * steps of a pass.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "flow_priv.h"
#include "flow_sum.h"
#include "nat_claim.h"
#include "nat_priv.h"
#include "spill.h"

/* The data plane writes used_ns once a second, by a clock of ticks. */
#define MAPPING_GRACE_NS 2000000000ull
#define PEERS_EVERY_NS	 30000000000ull
/* At once, between looks at the clock; of each address 24 KiB are noted, or 64512 ports given back. */
#define NOTE_ADDRS 4
#define END_PORTS  2
#define HOSTS	   256

struct nat_sweep {
	uint64_t begin_ns, peers_ns; /* of this pass; before which `nat_peers` is not walked again */
	/* Ports that were held at the beginning and that nobody has shown to hold: [pool_addr * POOL_CLASSES + class]. Memory is
	 * touched for addresses in use alone. */
	uint64_t (*unclaimed)[POOL_WORDS];
	bool noted[POOL_ADDR_MAX];
	uint32_t at;		     /* which address is noted next, or whose ports are given back */
	bool scarce;		     /* an address has hardly a port left */
	bool peers_due;		     /* mappings have gone since `nat_peers` was walked, or nobody knows */
	bool drained[POOL_ADDR_MAX]; /* was out of use when the pass began: after it no mapping leads there */
	struct spill spill;
	struct nat_claim claimed;	       /* of the runs' ports, those that flows have shown to hold */
	bool runs;			       /* since the pass began: else all of them are held */
	uint32_t used[POOL_MAX][POOL_CLASSES]; /* mappings that hold one, by pool; those of the last pass are nat->run_used */
};

int nat_sweep_open(struct nat *nat)
{
	nat->sweep = calloc(1, sizeof(*nat->sweep));
	if (!nat->sweep)
		return -ENOMEM;
	nat->sweep->peers_due = true;
	nat_limit_open(nat);
	if (nat_top_open(nat))
		return -ENOMEM;
	nat->sweep->unclaimed = calloc((size_t)POOL_ADDR_MAX * POOL_CLASSES, sizeof(*nat->sweep->unclaimed));
	return nat->sweep->unclaimed ? 0 : -ENOMEM;
}

void nat_sweep_close(struct nat *nat)
{
	if (!nat->sweep)
		return;
	nat_limit_close(nat);
	nat_top_close(nat);
	nat_claim_free(&nat->sweep->claimed);
	spill_free(&nat->sweep->spill);
	free(nat->sweep->unclaimed);
	free(nat->sweep);
	nat->sweep = NULL;
}

/* The port first, then the hint that its word is full: the order that pool_word_full() of the data plane relies on. */
void nat_port_free(struct pool_ports *p, unsigned port)
{
	unsigned w = port / 64;

	__atomic_fetch_and(&p->used[w], ~(1ull << port % 64), __ATOMIC_SEQ_CST);
	__atomic_fetch_and(&p->full[w / 64], ~(1ull << w % 64), __ATOMIC_SEQ_CST);
}

/* By the hints of full words: seven eighths of what there is above the low ports. */
static bool is_scarce(const struct pool_ports *p)
{
	unsigned full = 0;

	for (unsigned i = 0; i < POOL_WORDS / 64; i++)
		full += (unsigned)__builtin_popcountll(__atomic_load_n(&p->full[i], __ATOMIC_RELAXED));
	return full >= (POOL_WORDS - 1024 / 64) * 7 / 8;
}

bool nat_ports_scarce(const struct nat *nat)
{
	return nat->sweep->scarce;
}

void nat_sweep_begin(struct nat *nat, uint64_t now_ns)
{
	struct nat_sweep *s = nat->sweep;

	s->begin_ns = now_ns;
	s->scarce = false;
	s->at = 0;
	memset(s->used, 0, sizeof(s->used));
	s->runs = nat->has_runs && !nat_claim_begin(&s->claimed, nat->tab.n);
	nat_limit_begin(nat);
	nat_top_begin(nat);
	nat_own_begin(nat);
}

/* Of one address. */
static void note(struct nat *nat, uint32_t slot)
{
	struct nat_sweep *s = nat->sweep;
	uint32_t flags = nat->addrs[slot].flags;

	s->noted[slot] = (flags & (POOL_ADDR_F_USED | POOL_ADDR_F_RUN)) == POOL_ADDR_F_USED;
	s->drained[slot] = flags & POOL_ADDR_F_DRAIN;
	for (unsigned class = 0; s->noted[slot] && class < POOL_CLASSES; class ++) {
		memcpy(s->unclaimed[slot * POOL_CLASSES + class], nat_ports(nat, slot, class)->used, sizeof(*s->unclaimed));
		s->scarce = s->scarce || is_scarce(nat_ports(nat, slot, class));
	}
	nat_own_hold(nat, slot);
}

bool nat_sweep_note(struct nat *nat)
{
	struct nat_sweep *s = nat->sweep;

	for (uint32_t end = s->at + NOTE_ADDRS; s->at < end && s->at < POOL_ADDR_MAX; s->at++)
		note(nat, s->at);
	if (s->at < POOL_ADDR_MAX || nat_limit_note(nat, HOSTS))
		return true;
	s->at = 0;
	return false;
}

/* True: the port was among those nobody had claimed yet. */
static bool claim(struct nat_sweep *s, uint32_t slot, unsigned class, uint16_t port)
{
	uint64_t *word = &s->unclaimed[slot * POOL_CLASSES + class][port / 64], bit = 1ull << port % 64;
	bool was = *word & bit;

	*word &= ~bit;
	return was;
}

void nat_sweep_flow(struct nat *nat, uint32_t pool_addr, uint8_t proto, uint16_t port)
{
	unsigned class = nat_class(proto);
	uint64_t bit = 1ull << port % 64;
	__u64 *used;

	if (pool_addr >= POOL_ADDR_MAX && class != POOL_CLASSES && nat->sweep->runs)
		nat_claim_add(&nat->sweep->claimed, pool_addr, class, port);
	if (pool_addr >= POOL_ADDR_MAX || class == POOL_CLASSES || !nat->sweep->noted[pool_addr])
		return;
	claim(nat->sweep, pool_addr, class, port);
	used = &nat_ports(nat, pool_addr, class)->used[port / 64];
	if (!(__atomic_load_n(used, __ATOMIC_RELAXED) & bit))
		__atomic_fetch_or(used, bit, __ATOMIC_SEQ_CST);
}

bool nat_port_is_held(const struct nat *nat, uint32_t pool_addr, uint8_t proto, uint16_t port)
{
	unsigned class = nat_class(proto);

	if (pool_addr >= POOL_ADDR_MAX || class == POOL_CLASSES)
		return true;
	return __atomic_load_n(&nat_ports(nat, pool_addr, class)->used[port / 64], __ATOMIC_RELAXED) >> port % 64 & 1;
}

void nat_sweep_hold(struct nat *nat, uint32_t pool_addr)
{
	memset(nat->sweep->unclaimed[pool_addr * POOL_CLASSES], 0, POOL_CLASSES * sizeof(*nat->sweep->unclaimed));
}

void nat_sweep_peers_soon(struct nat *nat)
{
	nat->sweep->peers_due = true;
	nat->sweep->peers_ns = 0;
}

static void mapping_end(struct nat *nat, uint32_t i, uint32_t word, const struct nat_mapping *m)
{
	nattab_end(&nat->tab, i, word, m, clock_now_ns());
	nat->sweep->peers_due = nat->sweep->peers_due || nat->has_remotes;
}

/* In the midst of a pass, as the data plane does it: the trace first. */
static void give_back(struct nat *nat, uint32_t i, unsigned port)
{
	__atomic_fetch_or(&nat->ports[POOL_TRACE(i)].used[port / 64], 1ull << port % 64, __ATOMIC_SEQ_CST);
	nat_port_free(&nat->ports[i], port);
}

void nat_mapping_end(struct nat *nat, const struct flow_tuple *forward, const struct flow *f)
{
	unsigned class = nat_class(forward->proto);
	struct flow_tuple to;
	struct nat_mapping m;
	__u32 one = 1, *opened;
	uint32_t i, word;

	flow_tuple_to(forward, f, &to);
	if (f->pool_addr == POOL_ADDR_NONE || class == POOL_CLASSES)
		return;
	i = nattab_lookup_way(&nat->tab, NAT_WAY(f->pool_addr, class, ntohs(to.sport)), &m);
	if (i == NATTAB_NONE || !nattab_read(&nat->tab, i, &m, &word) || m.inside.pool != f->pool ||
	    m.pool_addr != f->pool_addr || !addr_same(&m.inside.addr, &forward->saddr) || m.inside.port != forward->sport ||
	    m.inside.vrf != forward->vrf || (m.inside.remote && m.inside.remote != flow_sum_remote(&to.daddr, to.dport)))
		return;
	opened = &nat->tab.entry[i].opened;
	if (!__atomic_compare_exchange_n(opened, &one, NAT_MAPPING_ENDS, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	/* Another one stands there only if this process was stopped for longer than slots rest; at worst that one takes no
	 * further flows. */
	if (nattab_end(&nat->tab, i, word, &m, clock_now_ns()) && f->pool_addr < POOL_ADDR_MAX)
		give_back(nat, f->pool_addr * POOL_CLASSES + class, ntohs(to.sport));
}

/* A mapping that a hairpin through one of those began, as a version made it that did not know both rules (it may also come with
 * restored flows), is the source rule's. So is one whose rule has gone, if another masquerades by the same pool: flows by that
 * one come to it. One that no rule asked for, see nat_snat(), keeps the number as long as none would. */
uint16_t nat_mapping_rule(const struct nat *nat, const struct nat_mapping *m)
{
	const struct nat_rule_id *r = m->rule && m->rule <= nat->n_rules ? &nat->rules[m->rule - 1] : NULL;

	if (!r || (r->alive && (!r->planned || r->filters)))
		return m->rule;
	return nat_rule_giving(nat, &m->inside, m->out_iface) ?: m->rule;
}

/* As refilter() of the entry. Where there is no room to count the host, the next pass tries again. */
static uint16_t set_rule(struct nat *nat, uint32_t i, const struct nat_mapping *m)
{
	uint16_t rule = nat_mapping_rule(nat, m);

	if (rule != m->rule && !nat_limit_host(nat, rule, &m->inside.addr, m->inside.vrf))
		__atomic_store_n(&nat->tab.entry[i].rule, rule, __ATOMIC_RELAXED);
	return rule;
}

/* The mapping lets in whom its rule does now. Who came in since this pass looked at the flows is looked at by the next. */
static void refilter(struct nat *nat, uint32_t i, const struct nat_mapping *m, uint16_t rule)
{
	uint8_t filtering;

	if (!nat_rule_filtering(nat, rule, &filtering) || m->filtering == filtering)
		return;
	/* Another one stands there only if this process was stopped for longer than slots rest; it is set right by the next
	 * sweep. */
	__atomic_store_n(&nat->tab.entry[i].filtering, filtering, __ATOMIC_RELAXED);
	nat->changes++;
}

/* Its rule has gone, but not its flows (`on-delete: keep`), and somebody else gives out their address, a run's, whose ports are
 * held by mappings alone: it stays for that, and is found by nobody, inside or outside. */
static bool holds_for_kept(struct nat *nat, uint32_t i, const struct nat_mapping *m)
{
	const struct nat_sweep *s = nat->sweep;

	if (m->pool_addr < POOL_ADDR_MAX || !nat_gives_out(nat, m->pool_addr) ||
	    (s->runs && !nat_claim_has(&s->claimed, m->pool_addr, nat_class(m->inside.proto), ntohs(m->port))))
		return false;
	nat->tab.entry[i].filtering = NAT_FILTER_ADDRESS_PORT;
	nat->tab.entry[i].out_iface = 0; /* nor is anybody inside hairpinned to it */
	nat->tab.entry[i].inside.pool = 0;
	return true;
}

/* After the flows: what is unclaimed here has no flow. */
static int sweep_mapping(uint32_t i, uint32_t word, const struct nat_mapping *m, void *arg)
{
	const struct nat_mapping_key *k = &m->inside;
	struct nat *nat = arg;
	struct nat_sweep *s = nat->sweep;
	unsigned class = nat_class(k->proto);
	uint16_t rule;
	bool idle;

	if (class == POOL_CLASSES || !vrf_alive(nat->sw, k->vrf) || !vrf_alive(nat->sw, m->out_vrf)) {
		mapping_end(nat, i, word, m);
		return 0;
	}
	if (!nat_pool_has(nat, k->pool, m->pool_addr)) {
		if (!holds_for_kept(nat, i, m))
			mapping_end(nat, i, word, m);
		return 0;
	}
	rule = set_rule(nat, i, m);
	refilter(nat, i, m, rule);
	nat_limit_add(nat, rule, &k->addr, k->vrf, true);
	nat_top_add(nat, &k->addr, k->vrf);
	if (m->pool_addr >= POOL_ADDR_MAX) {
		s->used[k->pool][class]++;
		idle = s->runs && !nat_claim_has(&s->claimed, m->pool_addr, class, ntohs(m->port));
	} else {
		idle = s->noted[m->pool_addr] && claim(s, m->pool_addr, class, ntohs(m->port));
	}
	if (idle && m->used_ns + MAPPING_GRACE_NS < s->begin_ns)
		mapping_end(nat, i, word, m);
	return 0;
}

bool nat_sweep_mappings(struct nat *nat, uint32_t *at, uint32_t max)
{
	return nattab_sweep_some(&nat->tab, &nat->sweep->spill, at, max, sweep_mapping, nat);
}

void nat_sweep_stop(struct nat *nat)
{
	nat_limit_stop(nat);
	nat->sweep->spill.whole = false;
}

/* An entry whose mapping is gone, or is another host's now. */
static int sweep_peer(const void *key, void *value, void *arg)
{
	const struct nat_peer_key *k = key;
	const struct nat_peer *v = value;
	struct nat *nat = arg;
	struct nat_mapping m;

	if (nattab_lookup_way(&nat->tab, k->way, &m) == NATTAB_NONE || !addr_same(&m.inside.addr, &v->addr) ||
	    m.inside.port != v->port || m.inside.vrf != v->vrf)
		table_delete(nat->peers, key);
	return 0;
}

int nat_sweep_peers(struct nat *nat, void **cursor, size_t max)
{
	struct nat_sweep *s = nat->sweep;
	int err;

	if (!*cursor && (!s->peers_due || s->begin_ns < s->peers_ns))
		return 0;
	if (!*cursor)
		s->peers_ns = s->begin_ns + PEERS_EVERY_NS;
	s->peers_due = false;
	err = table_each_some(nat->peers, cursor, max, sweep_peer, nat);
	/* An entry that was deleted under the cursor may end the walk early: at worst what is left waits for the next mapping
	 * that goes. */
	if (err)
		s->peers_due = true;
	return err;
}

/* What is unclaimed of one address and protocol. */
static void free_unclaimed(struct nat *nat, uint32_t i)
{
	const struct pool_ports *trace = &nat->ports[POOL_TRACE(i)];
	uint64_t left;

	for (unsigned w = 0; w < POOL_WORDS; w++) {
		if (!nat->sweep->unclaimed[i][w])
			continue;
		left = nat->sweep->unclaimed[i][w] & ~__atomic_load_n(&trace->used[w], __ATOMIC_SEQ_CST);
		for (; left; left &= left - 1)
			nat_port_free(&nat->ports[i], w * 64 + (unsigned)__builtin_ctzll(left));
	}
}

/* One address and protocol, or, behind those, a trace: what all of them left there has been looked at by then. */
static void end_one(struct nat *nat, uint32_t i)
{
	uint32_t slot = i / POOL_CLASSES, flags = nat->addrs[slot % POOL_ADDR_MAX].flags;
	struct nat_sweep *s = nat->sweep;

	if (slot >= POOL_ADDR_MAX) {
		memset(nat->ports[i].used, 0, sizeof(nat->ports->used));
		return;
	}
	/* One that came and went meanwhile holds nothing of what was noted. */
	if (s->noted[slot] && flags & POOL_ADDR_F_USED)
		free_unclaimed(nat, i);
	if (i % POOL_CLASSES == 0 && s->drained[slot] && (flags & ~POOL_ADDR_F_RUN) == POOL_ADDR_F_DRAIN &&
	    !nat->addrs[slot].host_ifindex)
		memset(&nat->addrs[slot], 0, sizeof(nat->addrs[slot]));
}

bool nat_sweep_end(struct nat *nat)
{
	struct nat_sweep *s = nat->sweep;

	if (!s->at) {
		nat_top_end(nat);
		memcpy(nat->run_used, s->used, sizeof(s->used));
	}
	for (uint32_t end = s->at + END_PORTS; s->at < end && s->at < POOL_PORTS_MAX; s->at++)
		end_one(nat, s->at);
	return s->at < POOL_PORTS_MAX || nat_limit_end(nat, HOSTS);
}
