/* nat_hold_test.c: what a changed rule means for the flows that are there: rules by chance, and flows made under any of them; and
 * whom mappings let in. Expected is what the rules say, by their numbers here; asked is what of it the tables say.
 */
#include "nat_tables.h"

#define HOSTS	3
#define STEPS	4000
#define FLOWS	24
#define INSIDE	0x0a000005u /* and the next ones */
#define OUTSIDE 0xcb007114u /* .20 and on: of the static rule; .30: the forward's; .40: the pool's */

struct chance {
	unsigned inside, outside;	  /* of the static rule */
	unsigned dest, port, to, to_port; /* of the forward */
	bool tcp, port_stays;
	bool wan; /* it is for the interface's address, whatever that is: */
	unsigned wan_addr;
	unsigned pool, filtering;
	bool has_static, has_dnat, has_snat;
	bool keep;
};

enum made_by { BY_STATIC_OUT, BY_STATIC_IN, BY_DNAT, BY_POOL, BY_MAPPING, BY_NOTHING };

struct live_flow {
	enum made_by by;
	struct flow_tuple key;
	struct flow f;
	bool keep; /* as the rule said when it was there last */
	bool noted;
};

static uint64_t clock_ns; /* a slot's rest is over at the next step */

static unsigned chance(unsigned n)
{
	return (unsigned)rand() % n;
}

static void chance_apply(const struct chance *c)
{
	static const char *const filterings[] = {"address-and-port-dependent", "address-dependent", "endpoint-independent"};
	const char *keep = c->keep ? ", on-delete: keep" : "";
	char text[2048] = "", dest[32];
	size_t n = 0;

	wan4 = htonl(0xcb007101 + c->wan_addr);
	snprintf(dest, sizeof(dest), "203.0.113.%u", 30 + c->dest);
	if (c->has_static)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "  - {name: s, type: static, inside: 10.0.0.%u, outside: 203.0.113.%u, out: [wan]%s}\n",
				      5 + c->inside, 20 + c->outside, keep);
	if (c->has_dnat)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "  - {name: d, type: dnat, destination: %s, protocol: %s, port: %u, to: '10.0.0.%u%s'%s}\n",
				      c->wan ? "wan" : dest, c->tcp ? "tcp" : "udp", 8000 + c->port, 5 + c->to,
				      c->port_stays ? ""
				      : c->to_port  ? ":9001"
						    : ":9000",
				      keep);
	if (c->has_snat)
		n += (size_t)snprintf(
			text + n, sizeof(text) - n,
			"  - {name: p, type: snat, source: 10.0.0.0/24, to: 203.0.113.%u, out: [wan], filtering: %s%s}\n",
			40 + c->pool, filterings[c->filtering], keep);
	use(n ? text : "  []\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
}

static void chance_change(struct chance *c)
{
	unsigned *const numbers[] = {&c->inside, &c->outside, &c->dest, &c->to, &c->pool, &c->filtering};
	unsigned *const bits[] = {&c->port, &c->to_port, &c->wan_addr};
	bool *const flags[] = {&c->tcp, &c->port_stays, &c->wan, &c->has_static, &c->has_dnat, &c->has_snat, &c->keep};
	unsigned which =
		chance(sizeof(numbers) / sizeof(*numbers) + sizeof(bits) / sizeof(*bits) + sizeof(flags) / sizeof(*flags));

	if (which < 6)
		*numbers[which] = chance(HOSTS);
	else if (which < 9)
		*bits[which - 6] ^= 1;
	else
		*flags[which - 9] ^= 1;
}

static uint32_t forward_addr(const struct chance *c)
{
	return c->wan ? 0xcb007101 + c->wan_addr : OUTSIDE + 10 + c->dest;
}

static unsigned forward_port(const struct chance *c)
{
	return c->port_stays ? 8000 + c->port : 9000 + c->to_port;
}

static struct flow_tuple tuple_of(uint32_t saddr, uint32_t daddr, unsigned sport, unsigned dport, uint8_t proto)
{
	return (struct flow_tuple){
		addr_v4(htonl(saddr)), addr_v4(htonl(daddr)), htons((uint16_t)sport), htons((uint16_t)dport), 0, proto, 4};
}

static void leaves_as(struct flow *f, const struct flow_tuple *to)
{
	f->saddr4 = to->saddr.a32[3];
	f->daddr4 = to->daddr.a32[3];
	f->sport = to->sport;
	f->dport = to->dport;
}

/* The mapping 10.0.0.5:5000 of the pool's first address, and one outside that it has sent to: 198.51.100.1. */
static void map_it(struct live_flow *l, bool noted)
{
	const struct pool *p = pool_named("pool:p", &out_pool);
	uint32_t id = sw.nat->members[p->first4].pool_addr;
	struct nat_mapping m = {
		.inside = {.addr = addr_v4(htonl(INSIDE)), .port = htons(5000), .pool = out_pool, .proto = IPPROTO_UDP},
		.port = htons(5000),
		.pool_addr = id,
		.rule = nat_rule_id(&sw, "p")};
	struct nat_peer_key key = {.remote = addr_v4(htonl(0xc6336401)), .way = nattab_way(&m)};
	struct nat_peer peer = {.addr = m.inside.addr, .port = m.inside.port};
	struct nat_mapping former;
	uint32_t i, word;

	while ((i = nattab_lookup_way(&sw.nat->tab, key.way, &former)) != NATTAB_NONE &&
	       nattab_read(&sw.nat->tab, i, &former, &word))
		nattab_end(&sw.nat->tab, i, word, &former, clock_ns += 1000000000);
	drop_mapping(&m.inside);
	assert_int_equal(nattab_add(&sw.nat->tab, &m, clock_ns += 1000000000), 0);
	if (noted)
		table_set(table_get(NULL, "nat_peers"), &key, &peer);
	l->f.pool_addr = id;
	l->f.pool = out_pool;
}

static void flow_begins(struct live_flow *l, const struct chance *c)
{
	struct flow_tuple to;
	uint32_t far = 0xc6336401 + chance(2);

	*l = (struct live_flow){.by = chance(BY_NOTHING), .keep = c->keep};
	if (l->by <= BY_STATIC_IN ? !c->has_static : l->by == BY_DNAT ? !c->has_dnat : !c->has_snat)
		l->by = BY_NOTHING;
	l->f.rule = nat_rule_id(&sw, l->by <= BY_STATIC_IN ? "s" : l->by == BY_DNAT ? "d" : "p");
	l->f.flags = l->by == BY_STATIC_OUT || l->by == BY_POOL ? FLOW_F_SNAT : FLOW_F_DNAT;
	if (l->by == BY_STATIC_OUT) {
		l->key = tuple_of(INSIDE + c->inside, far, 5000, 53, IPPROTO_UDP);
		to = tuple_of(OUTSIDE + c->outside, far, 5000, 53, IPPROTO_UDP);
	} else if (l->by == BY_STATIC_IN) {
		l->key = tuple_of(far, OUTSIDE + c->outside, 53, 5000, IPPROTO_TCP);
		to = tuple_of(far, INSIDE + c->inside, 53, 5000, IPPROTO_TCP);
	} else if (l->by == BY_DNAT) {
		l->key = tuple_of(far, forward_addr(c), 53, 8000 + c->port, c->tcp ? IPPROTO_TCP : IPPROTO_UDP);
		to = tuple_of(far, INSIDE + c->to, 53, forward_port(c), c->tcp ? IPPROTO_TCP : IPPROTO_UDP);
	} else if (l->by == BY_POOL) {
		map_it(l, false);
		l->key = tuple_of(INSIDE, far, 5000, 53, IPPROTO_UDP);
		to = tuple_of(OUTSIDE + 20 + c->pool, far, 5000, 53, IPPROTO_UDP);
	} else if (l->by == BY_MAPPING) {
		map_it(l, true);
		l->noted = far == 0xc6336401;
		l->key = tuple_of(far, OUTSIDE + 20 + c->pool, 53, 5000, IPPROTO_UDP);
		to = tuple_of(far, INSIDE, 53, 5000, IPPROTO_UDP);
		l->f.dest_addr = l->f.pool_addr + 1;
		l->f.pool = 0;
		l->f.pool_addr = 0;
		if (c->filtering == NAT_FILTER_ADDRESS_PORT || (c->filtering == NAT_FILTER_ADDRESS && !l->noted))
			l->by = BY_NOTHING;
	} else {
		return;
	}
	leaves_as(&l->f, &to);
}

/* Somebody here has the address still: the interface, or a rule. */
static bool is_here(const struct chance *c, uint32_t addr)
{
	return addr == 0xcb007101 + c->wan_addr || (c->has_static && addr == OUTSIDE + c->outside) ||
	       (c->has_dnat && addr == forward_addr(c)) || (c->has_snat && addr == OUTSIDE + 20 + c->pool);
}

/* As the rules are now. */
static bool shall_hold(const struct live_flow *l, const struct chance *c)
{
	const bool has = l->by <= BY_STATIC_IN ? c->has_static : l->by == BY_DNAT ? c->has_dnat : c->has_snat;
	const uint32_t in = ntohl(l->f.flags & FLOW_F_SNAT ? l->key.saddr.a32[3] : l->f.daddr4);
	const uint32_t out = ntohl(l->f.flags & FLOW_F_SNAT ? l->f.saddr4 : l->key.daddr.a32[3]);

	if (!has)
		return l->keep && l->by != BY_MAPPING && is_here(c, out);
	switch (l->by) {
	case BY_STATIC_OUT:
	case BY_STATIC_IN:
		return in == INSIDE + c->inside && out == OUTSIDE + c->outside;
	case BY_DNAT:
		return out == forward_addr(c) && ntohs(l->key.dport) == 8000 + c->port &&
		       (l->key.proto == IPPROTO_TCP) == c->tcp && in == INSIDE + c->to && ntohs(l->f.dport) == forward_port(c);
	case BY_POOL:
		return out == OUTSIDE + 20 + c->pool;
	default:
		return out == OUTSIDE + 20 + c->pool &&
		       (c->filtering == NAT_FILTER_INDEPENDENT || (c->filtering == NAT_FILTER_ADDRESS && l->noted));
	}
}

static void flows_go_on_as_their_rules_say(void **state)
{
	struct chance c = {.has_static = true, .has_dnat = true, .has_snat = true};
	struct live_flow live[FLOWS] = {{.by = BY_NOTHING}};
	unsigned held = 0, ended = 0;

	srand(7);
	clock_ns = clock_now_ns();
	for (size_t i = 0; i < FLOWS; i++)
		live[i].by = BY_NOTHING;
	for (unsigned step_no = 0; step_no < STEPS; step_no++) {
		chance_change(&c);
		chance_apply(&c);
		for (size_t i = 0; i < FLOWS; i++) {
			struct live_flow *l = &live[i];
			bool shall = l->by != BY_NOTHING && shall_hold(l, &c);

			if (l->by == BY_NOTHING)
				continue;
			if (nat_holds(&sw, &l->key, &l->f) != shall)
				fail_msg("step %u: a flow of kind %d %s", step_no, l->by, shall ? "ends" : "goes on");
			held += shall;
			ended += !shall;
			if (!shall)
				l->by = BY_NOTHING;
			else if (l->by <= BY_STATIC_IN ? c.has_static : l->by == BY_DNAT ? c.has_dnat : c.has_snat)
				l->keep = c.keep;
		}
		flow_begins(&live[chance(FLOWS)], &c);
	}
	assert_true(held > STEPS && ended > STEPS / 4);
}

static void rules_are(const char *text)
{
	use(text);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
}

/* Between `in`:9000, or 5000, and 198.51.100.1, by the rule, as `out`:8000, or 5000. */
static struct live_flow flow_by(enum made_by by, const char *rule, const char *in, const char *out)
{
	const uint32_t here = ntohl(inet_addr(in)), outside = ntohl(inet_addr(out)), far = 0xc6336401;
	struct live_flow l = {.by = by, .f.rule = nat_rule_id(&sw, rule), .f.created_ns = clock_now_ns()};
	struct flow_tuple to;

	l.f.flags = by == BY_STATIC_OUT || by == BY_POOL ? FLOW_F_SNAT : FLOW_F_DNAT;
	if (l.f.flags & FLOW_F_SNAT) {
		l.key = tuple_of(here, far, 5000, 53, IPPROTO_UDP);
		to = tuple_of(outside, far, 5000, 53, IPPROTO_UDP);
	} else {
		l.key = tuple_of(far, outside, 53, 8000, IPPROTO_UDP);
		to = tuple_of(far, here, 53, by == BY_DNAT ? 9000 : 8000, IPPROTO_UDP);
	}
	if (by == BY_POOL)
		l.f.pool_addr = sw.nat->members[pool_named("pool:p", &l.f.pool)->first4].pool_addr;
	leaves_as(&l.f, &to);
	return l;
}

static bool holds(const struct live_flow *l)
{
	return nat_holds(&sw, &l->key, &l->f);
}

/* 203.0.113.0/24 is wan's network, where a neighbour may have what is given up; 192.0.2.0/24 is routed here. Of a pool, which
 * others may give out anew, nothing stays behind. */
static void flows_without_a_rule_stay_where_nobody_else_can_be(void **state)
{
	static const struct {
		enum made_by by;
		const char *rule, *outside;
		bool stays;
	} rows[] = {
		{BY_STATIC_OUT, "s", "203.0.113.20", false}, {BY_STATIC_OUT, "s", "192.0.2.20", true},
		{BY_STATIC_IN, "s", "203.0.113.20", false},  {BY_STATIC_IN, "s", "192.0.2.20", true},
		{BY_DNAT, "d", "203.0.113.30", false},	     {BY_DNAT, "d", "192.0.2.30", true},
		{BY_POOL, "p", "203.0.113.40", false},	     {BY_POOL, "p", "192.0.2.40", false},
	};
	char text[1024];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *a = rows[i].outside;
		struct live_flow l;

		snprintf(text, sizeof(text),
			 "  - {name: s, type: static, inside: 10.0.0.5, outside: %s, on-delete: keep}\n"
			 "  - {name: d, type: dnat, destination: %s, protocol: udp, port: 8000, to: '10.0.0.5:9000', on-delete: "
			 "keep}\n"
			 "  - {name: p, type: snat, source: 10.0.0.0/24, to: %s, out: [wan], on-delete: keep}\n",
			 *rows[i].rule == 's' ? a : "203.0.113.21", *rows[i].rule == 'd' ? a : "203.0.113.31",
			 *rows[i].rule == 'p' ? a : "203.0.113.41");
		rules_are(text);
		l = flow_by(rows[i].by, rows[i].rule, "10.0.0.5", a);
		assert_true(holds(&l));
		rules_are("  []\n");
		if (holds(&l) != rows[i].stays)
			fail_msg("%s, outside %s, %s", rows[i].rule, a, rows[i].stays ? "ends" : "goes on");
	}
}

/* Their address is somebody's where the answers come in, be that another VRF. */
static void flows_without_a_rule_stay_with_whom_their_answers_reach(void **state)
{
	static const enum made_by by[] = {BY_STATIC_OUT, BY_POOL};

	for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
		struct live_flow l;

		rules_are("  - {name: s, type: static, inside: 10.0.0.5, outside: 203.0.113.20, on-delete: keep}\n"
			  "  - {name: p, type: snat, source: 10.0.0.0/24, to: 203.0.113.40, out: [wan], on-delete: keep}\n");
		l = flow_by(by[i], by[i] == BY_POOL ? "p" : "s", "10.0.0.5", by[i] == BY_POOL ? "203.0.113.40" : "203.0.113.20");
		l.f.peer_vrf = 1;
		rules_are("  - {name: b20, type: static, vrf: blue, inside: 10.0.0.20, outside: 203.0.113.20}\n"
			  "  - {name: b40, type: static, vrf: blue, inside: 10.0.0.40, outside: 203.0.113.40}\n"
			  "vrfs: {blue: {}}\n");
		assert_true(holds(&l));
		rules_are("  - {name: r20, type: static, vrf: red, inside: 10.0.0.20, outside: 203.0.113.20}\n"
			  "  - {name: r40, type: static, vrf: red, inside: 10.0.0.40, outside: 203.0.113.40}\n"
			  "vrfs: {red: {}}\n");
		assert_false(holds(&l));
	}
}

/* Into another VRF than the rule does now: it ends. Where routes lead on from there, as long as the rule has not changed. */
static void a_forward_leads_into_its_vrf(void **state)
{
	static const char *const to_vrf[] = {"default", "blue", "red"};
	char text[512];

	for (unsigned was = 0; was < 3; was++)
		for (unsigned is = 0; is < 3; is++)
			for (uint16_t answers = 0; answers < 4; answers++) {
				const bool holds_now = is == was || (was && is && answers == is);
				struct live_flow l;

				for (int change = 0; change < 2; change++) {
					snprintf(
						text, sizeof(text),
						"  - {name: d, type: dnat, destination: 203.0.113.30, protocol: udp, port: 8000, "
						"to: '10.0.0.5:9000', to-vrf: %s}\nvrfs: {blue: {}, red: {}}\n",
						to_vrf[change ? is : was]);
					rules_are(text);
					if (!change)
						l = flow_by(BY_DNAT, "d", "10.0.0.5", "203.0.113.30");
					l.f.flags |= was ? FLOW_F_VRF : 0;
					l.f.peer_vrf = answers;
					if (holds(&l) != (change ? holds_now : true))
						fail_msg("from %s to %s, answers come in by %u", to_vrf[was], to_vrf[is],
							 answers);
				}
			}
}

/* A range is in the table as blocks: the same port may be another block's after a change. Each port's flow goes on as long as the
 * rule has that port lead to the same one.
 */
static void flows_of_a_range_go_by_their_port(void **state)
{
	static const struct {
		unsigned low, high, to;
		const char *rule;
	} ranges[] = {
		{8000, 8007, 9000, "port: 8000-8007, to: '10.0.0.5:9000'"},
		{8001, 8006, 9001, "port: 8001-8006, to: '10.0.0.5:9001'"},
		{7990, 8100, 8990, "port: 7990-8100, to: '10.0.0.5:8990'"},
		{8003, 8003, 9003, "port: 8003, to: '10.0.0.5:9003'"},
		{8000, 8007, 9001, "port: 8000-8007, to: '10.0.0.5:9001'"},
		{8005, 8040, 8005, "port: 8005-8040, to: 10.0.0.5"},
	};
	const unsigned n = sizeof(ranges) / sizeof(ranges[0]);
	char text[512];

	for (unsigned i = 0; i < 2 * n * n; i++) {
		const unsigned was = i / 2 / n, is = i % 2 ? i / 2 % n : was;

		snprintf(text, sizeof(text), "  - {name: d, type: dnat, destination: 203.0.113.30, protocol: udp, %s}\n",
			 ranges[is].rule);
		rules_are(text);
		for (unsigned port = ranges[was].low; port <= ranges[was].high; port++) {
			const unsigned to = ranges[was].to + port - ranges[was].low;
			const bool stays =
				port >= ranges[is].low && port <= ranges[is].high && ranges[is].to + port - ranges[is].low == to;
			struct live_flow l = flow_by(BY_DNAT, "d", "10.0.0.5", "203.0.113.30");

			l.key.dport = htons((uint16_t)port);
			l.f.dport = htons((uint16_t)to);
			if (holds(&l) != stays)
				fail_msg("port %u: %s; now %s", port, ranges[was].rule, ranges[is].rule);
		}
	}
}

/* Who has come in by an open mapping ends with the next pass after it was closed, though he goes on; and may come when it opens.
 */
static void a_mapping_lets_in_whom_its_rule_does_now(void **state)
{
	const struct chance open = {.has_snat = true, .filtering = NAT_FILTER_INDEPENDENT};
	struct chance closed = open;
	struct live_flow l = {.by = BY_NOTHING};
	struct nat_mapping m;

	clock_ns = clock_now_ns();
	closed.filtering = NAT_FILTER_ADDRESS_PORT;
	chance_apply(&closed);
	map_it(&l, false);
	for (int round = 0; round < 2; round++) {
		uint32_t changes;

		chance_apply(round ? &closed : &open);
		pass();
		assert_int_not_equal(nattab_lookup_way(&sw.nat->tab, NAT_WAY(l.f.pool_addr, 1, 5000), &m), NATTAB_NONE);
		assert_int_equal(m.filtering, round ? NAT_FILTER_ADDRESS_PORT : NAT_FILTER_INDEPENDENT);
		changes = sw.flows->nat_changes;
		assert_int_not_equal(changes, sw.nat->changes); /* who came in since the pass looked at the flows */
		pass();
		assert_int_equal(sw.flows->nat_changes, sw.nat->changes);
	}
	/* Its rule is gone, and another has the address: nobody is let in by it. */
	chance_apply(&open);
	pass();
	use("  - {name: p, type: snat, source: 10.0.0.0/25, to: 203.0.113.40, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	pass();
	nattab_lookup_way(&sw.nat->tab, NAT_WAY(l.f.pool_addr, 1, 5000), &m);
	assert_int_equal(m.filtering, NAT_FILTER_ADDRESS_PORT);
}

/* A version that did not know both rules of a hairpin gave its mapping the number of the forward: the mapping is the source
 * rule's after a pass, lets in whom that one does, and outlives the forward. */
static void a_mapping_with_a_forward_s_number_is_its_source_rule_s(void **state)
{
	struct chance c = {.has_snat = true, .has_dnat = true, .filtering = NAT_FILTER_INDEPENDENT};
	struct live_flow l = {.by = BY_NOTHING};
	struct nat_mapping m;
	uint32_t i;

	clock_ns = clock_now_ns();
	chance_apply(&c);
	map_it(&l, false);
	i = nattab_lookup_way(&sw.nat->tab, NAT_WAY(l.f.pool_addr, 1, 5000), &m);
	assert_int_not_equal(i, NATTAB_NONE);
	sw.nat->tab.entry[i].rule = nat_rule_id(&sw, "d");
	for (int round = 0; round < 2; round++) {
		pass();
		assert_int_equal(nattab_lookup_way(&sw.nat->tab, NAT_WAY(l.f.pool_addr, 1, 5000), &m), i);
		assert_int_equal(m.rule, nat_rule_id(&sw, "p"));
		assert_int_equal(m.filtering, NAT_FILTER_INDEPENDENT);
		c.has_dnat = false;
		chance_apply(&c);
	}
}

/* As a hairpin that no rule asks for makes it, or one by a rule that is renamed: whose flows come to it next, his it is. */
static void a_mapping_of_a_rule_that_is_gone_is_the_next_one_s(void **state)
{
	static const char *const was[] = {
		"  - {name: d, type: dnat, destination: wan, protocol: udp, port: 8000, to: 10.0.0.5}\n",
		"  - {name: m1, type: snat, source: 10.0.0.0/24, to: masquerade, out: [wan]}\n"};
	const char *next =
		"  - {name: m2, type: snat, source: 10.0.0.0/24, to: masquerade, out: [wan], filtering: endpoint-independent}\n";

	for (int i = 0; i < 2; i++) {
		struct nat_mapping m = {.inside = {.addr = v4("10.0.0.5"), .port = htons(5000), .proto = IPPROTO_UDP}};
		uint16_t pool;

		rules_are(was[i]);
		m.pool_addr = sw.nat->members[pool_named("masq:wan", &pool)->first4].pool_addr;
		m.inside.pool = pool;
		m.port = htons((uint16_t)(5000 + i));
		m.inside.port = m.port;
		m.rule = nat_rule_id(&sw, i ? "m1" : "d");
		assert_int_equal(nattab_add(&sw.nat->tab, &m, clock_now_ns()), 0);
		pass();
		assert_int_not_equal(nattab_lookup(&sw.nat->tab, &m.inside, &m), NATTAB_NONE);
		assert_int_equal(m.rule, nat_rule_id(&sw, i ? "m1" : "d"));
		assert_int_equal(m.filtering, NAT_FILTER_ADDRESS_PORT);
		rules_are(next);
		pass();
		assert_int_not_equal(nattab_lookup(&sw.nat->tab, &m.inside, &m), NATTAB_NONE);
		assert_int_equal(m.rule, nat_rule_id(&sw, "m2"));
		assert_int_equal(m.filtering, NAT_FILTER_INDEPENDENT);
	}
}

/* Whose host cannot be counted waits for that: else the limits of its rule would not hold. */
static void a_mapping_waits_for_its_rule_to_count(void **state)
{
	struct table *used = table_get(NULL, "nat_used");
	const size_t max = used->max;
	struct live_flow l = {.by = BY_NOTHING};
	struct nat_mapping m;
	uint32_t i;

	for (int round = 0; round < 3; round++) {
		rules_are(round ? "  - {name: p, type: snat, source: 10.0.0.0/24, to: 203.0.113.40, out: [wan], limit: {ports: "
				  "3}}\n"
				  "  - {name: d, type: dnat, destination: wan, protocol: udp, port: 8000, to: 10.0.0.5}\n"
				: "  - {name: p, type: snat, source: 10.0.0.0/24, to: 203.0.113.40, out: [wan]}\n"
				  "  - {name: o, type: snat, source: 10.0.9.0/24, to: 203.0.113.41, out: [wan], limit: {ports: "
				  "3}}\n"
				  "  - {name: d, type: dnat, destination: wan, protocol: udp, port: 8000, to: 10.0.0.5}\n");
		clock_ns = clock_now_ns();
		map_it(&l, false);
		i = nattab_lookup_way(&sw.nat->tab, NAT_WAY(l.f.pool_addr, 1, 5000), &m);
		assert_int_not_equal(i, NATTAB_NONE);
		sw.nat->tab.entry[i].rule = nat_rule_id(&sw, "d");
		used->max = round == 1 ? 0 : max;
		pass();
		used->max = max;
		assert_int_not_equal(nattab_lookup_way(&sw.nat->tab, NAT_WAY(l.f.pool_addr, 1, 5000), &m), NATTAB_NONE);
		assert_int_equal(m.rule, nat_rule_id(&sw, round == 1 ? "d" : "p"));
		assert_int_equal(used->n, round == 2);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(flows_go_on_as_their_rules_say),
		TEST(flows_without_a_rule_stay_where_nobody_else_can_be),
		TEST(flows_without_a_rule_stay_with_whom_their_answers_reach),
		TEST(a_forward_leads_into_its_vrf),
		TEST(flows_of_a_range_go_by_their_port),
		TEST(a_mapping_lets_in_whom_its_rule_does_now),
		TEST(a_mapping_with_a_forward_s_number_is_its_source_rule_s),
		TEST(a_mapping_of_a_rule_that_is_gone_is_the_next_one_s),
		TEST(a_mapping_waits_for_its_rule_to_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
