/* nat_tables_test.c: NAT's tables and the flows' ageing, with tables that are memory of the test: reconciliation is idempotent
 * and keeps numbers over restarts, ports that nobody holds come back, pairs end as pairs. */
#include "nat_tables.h"

static void tables_say_what_the_model_says(void **state)
{
	struct dnat_key key = {.daddr = addr_v4(wan4), .dport = htons(80), .proto = IPPROTO_TCP};
	struct prefix ours = {addr_v4(htonl(0xcb00710a)), 4, 32};
	struct dnat_rule d;
	const struct pool *p;
	uint16_t id;

	assert_int_equal(rules()[0].action, SNAT_POOL);
	assert_int_equal(rules()[0].src_len, 120);
	assert_int_equal(rules()[0].out_iface, 1);
	assert_int_equal(rules()[1].action, SNAT_END);
	p = pool_named("pool:out", &id);
	assert_non_null(p);
	assert_int_equal(rules()[0].pool, id);
	assert_int_equal(p->count4, 2);
	assert_int_equal(p->port_min, 1024);
	assert_int_equal(p->port_max, 65535);
	assert_int_equal(table_lookup(table_get(NULL, "dnat_rules"), &key, &d), 0);
	assert_int_equal(ntohs(d.to_port), 8080);
	assert_string_equal(d.name, "web");
	assert_non_null(pool_named("masq:wan", &id));
	/* The pool lies in wan's prefix: the host answers ARP for it. */
	assert_non_null(host_addr(&ours));
}

/* By which interface a packet to a static rule's outside address would leave; NAT_OUTSIDE_ANY: nobody says. */
static unsigned outside_of_static(uint32_t addr)
{
	struct nat_static_key key = {.len = 32 + 128, .addr = addr_v4(htonl(addr))};
	struct nat_static v;

	assert_int_equal(table_lookup(table_get(NULL, "nat_statics"), &key, &v), 0);
	return v.flags >> NAT_STATIC_OUTSIDE;
}

static void where_outside_is_for_a_static_rule(void **state)
{
	use("  - {name: in-the-prefix, type: static, inside: 10.0.0.7, outside: 203.0.113.7}\n"
	    "  - {name: by-name, type: static, inside: 10.0.0.8, outside: 203.0.113.8, out: [lan, wan]}\n"
	    "  - {name: the-first-named, type: static, inside: 10.0.0.9, outside: 198.51.100.9, out: [lan, wan]}\n"
	    "  - {name: where-others-are, type: static, inside: 10.0.0.10, outside: 198.51.100.10}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(outside_of_static(0xcb007107), 1);
	assert_int_equal(outside_of_static(0xcb007108), 1);
	assert_int_equal(outside_of_static(0xc6336409), 2);
	assert_int_equal(outside_of_static(0xc633640a), 1);
	assert_int_equal(control.nat_statics, 4);
	assert_int_equal(control.nat_statics_inside, 2);
	use("  - {name: anywhere, type: static, inside: 10.0.0.9, outside: 198.51.100.9}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(outside_of_static(0xc6336409), NAT_OUTSIDE_ANY);
	assert_int_equal(table_get(NULL, "nat_statics")->n, 2);
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: masquerade, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(table_get(NULL, "nat_statics")->n, 0);
	assert_int_equal(control.nat_statics_inside, 0);
}

static void again_changes_nothing(void **state)
{
	unsigned bank = control.snat_bank, members = sw.nat->bank, writes = table_get(NULL, "dnat_rules")->writes;

	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(control.snat_bank, bank);
	assert_int_equal(sw.nat->bank, members);
	assert_int_equal(table_get(NULL, "dnat_rules")->writes, writes);
}

/* Forwards are not even looked at, if the last time brought all of them: what is another is written, and nothing else. A change
 * of the configuration asks the table. */
static void an_event_writes_forwards_that_it_changes(void **state)
{
	struct dnat_key key = {.daddr = addr_v4(wan4), .dport = htons(80), .proto = IPPROTO_TCP};
	struct table *t = table_get(NULL, "dnat_rules");
	size_t n = t->n, max = t->max;
	unsigned before = lookups, writes = t->writes;

	assert_int_equal(nat_settle(&sw, NULL), 0);
	wan4 = htonl(0xcb007102);
	assert_int_equal(nat_settle(&sw, NULL), 0);
	assert_int_equal(t->writes, writes + 4); /* the forward and the mark of either address */
	assert_null(place(t, &key));
	wan4 = htonl(0xcb007101);
	assert_int_equal(nat_settle(&sw, NULL), 0);
	assert_int_equal(t->writes, writes + 8);
	assert_non_null(place(t, &key));
	assert_int_equal(t->n, n);
	assert_int_equal(lookups, before);
	assert_int_equal(table_delete(t, &key), 0);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(t->n, n);
	wan4 = htonl(0xcb007102);
	t->max = t->n - 2; /* what is gone makes room for less than what comes */
	assert_true(nat_settle(&sw, NULL) < 0);
	wan4 = htonl(0xcb007101); /* and back: it is the last plan that was whole, but not what is there */
	t->max = max;
	assert_int_equal(nat_settle(&sw, NULL), 0);
	assert_int_equal(t->n, n);
	assert_non_null(place(t, &key));
	nat_close(&sw);
	assert_int_equal(nat_open(&sw, NULL), 0);
	assert_int_equal(table_delete(t, &key), 0);
	assert_int_equal(nat_settle(&sw, NULL), 0); /* nobody knows what stood there */
	assert_non_null(place(t, &key));
}

static uint16_t take(const char *what, unsigned i)
{
	char name[SLUICE_LABEL];

	snprintf(name, sizeof(name), "%s%u", what, i);
	return nat_rule_take(sw.nat, name);
}

/* Numbers of rules that are gone go to others when all are taken, and their names lead nowhere then. */
static void names_lead_to_their_numbers(void **state)
{
	uint16_t web = nat_rule_id(&sw, "web"), out = nat_rule_id(&sw, "out");

	assert_string_equal(nat_rule_name(&sw, web), "web");
	assert_string_equal(nat_rule_name(&sw, out), "out");
	for (unsigned i = 3; i <= UINT16_MAX; i++)
		assert_int_equal(take("r", i), i);
	assert_int_equal(take("more", 0), 0);
	assert_int_equal(nat_rule_id(&sw, "r40000"), 0);
	assert_int_equal(nat_rule_former_id(&sw, "r40000"), 40000);
	assert_int_equal(nat_rule_former_id(&sw, "web"), 0);
	for (unsigned i = 40000; i < 40100; i++)
		sw.nat->rules[i - 1].wanted = false;
	for (unsigned i = 40000; i < 40100; i++)
		assert_int_equal(take("more", i), i);
	assert_int_equal(nat_rule_former_id(&sw, "r40000"), 0);
	assert_int_equal(nat_rule_former_id(&sw, "more40000"), 40000);
	assert_int_equal(nat_rule_take(sw.nat, "web"), web);
	for (unsigned i = 3; i <= UINT16_MAX; i++)
		assert_int_equal(take(i >= 40000 && i < 40100 ? "more" : "r", i), i);
}

static void numbers_outlive_a_restart(void **state)
{
	uint16_t pool, pool2, rule = rules()[0].rule;

	pool_named("pool:out", &pool);
	flow_close(&sw);
	nat_close(&sw);
	open_nat();
	assert_string_equal(nat_rule_name(&sw, rule), "out");
	use("  - {name: first, type: snat, source: 10.0.0.8/32, to: masquerade}\n"
	    "  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.10-203.0.113.11, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_string_equal(rules()[1].name, "out");
	assert_int_equal(rules()[1].rule, rule);
	assert_int_not_equal(rules()[0].rule, rule);
	assert_non_null(pool_named("pool:out", &pool2));
	assert_int_equal(pool, pool2);
	assert_int_equal(table_get(NULL, "dnat_rules")->n,
			 4); /* the marks of the pool's addresses, and of those masqueraded to */
}

static void what_goes_is_taken_back(void **state)
{
	struct prefix ours = {addr_v4(htonl(0xcb00710a)), 4, 32};
	uint16_t rule = rules()[0].rule, id;

	use("  []\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(rules()[0].action, SNAT_END);
	assert_null(pool_named("pool:out", &id));
	assert_int_equal(table_get(NULL, "dnat_rules")->n, 0);
	assert_null(host_addr(&ours));
	assert_null(nat_rule_name(&sw, rule));
	/* And back, as a roll-back does: the flows find their rule again. */
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.10-203.0.113.11, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(rules()[0].rule, rule);
	assert_non_null(host_addr(&ours));
}

/* The host is not given an address that it has, be it an interface's second one. */
static void the_gateways_own_addresses_are_known(void **state)
{
	const struct addr own = v4("203.0.113.1");
	struct dnat_key mark = {.daddr = own, .proto = DNAT_PROTO_MARK};
	struct dnat_rule d;

	wan4 = htonl(0xcb007102);
	use("  - {name: web, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 80, to: 10.0.0.5}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_null(host_addr(&(struct prefix){own, 4, 32}));
	assert_int_equal(table_lookup(table_get(NULL, "dnat_rules"), &mark, &d), 0);
	assert_true(d.flags & DNAT_F_OWN);
}

/* Each has an entry, and a mark of where it leads; all of them have the address's mark, and there is one of lan's. */
static int many_forwards(unsigned n, struct errs *errs)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	for (unsigned i = 0; i < n; i++)
		fprintf(f, "  - {name: r%u, type: dnat, destination: 203.0.113.1, protocol: tcp, port: %u, to: 10.0.%u.5}\n", i,
			i + 1, i + 2);
	fclose(f);
	use(text);
	free(text);
	return nat_reconcile(&sw, errs);
}

static void too_many_forwards_are_refused_and_nothing_changes(void **state)
{
	struct table *t = table_get(NULL, "dnat_rules");
	struct errs errs = {0};
	unsigned writes = t->writes;
	uint16_t rule = rules()[0].rule;

	assert_true(many_forwards(25, &errs) < 0);
	assert_int_equal(errs.n, 1);
	assert_non_null(strstr(errs.v[0].text, "more than the 50 places"));
	assert_int_equal(t->writes, writes);
	assert_string_equal(nat_rule_name(&sw, rule), "out");
	errs_free(&errs);
	assert_int_equal(many_forwards(24, NULL), 0);
	assert_int_equal(t->n, 50);
}

/* ---- flows */

static void live_pairs_stay(void **state)
{
	add_pair(IPPROTO_UDP, 299, FLOW_SEEN_ANY);
	pass();
	pass();
	pass();
	assert_int_equal(n_of("flows4"), 2);
	assert_int_equal(n_of("nat_mappings"), 1);
	assert_true(port_is_held(1));
	assert_int_equal(flow_count(&sw), 1);
}

/* RFC 4787 REQ-5. First the pair and its mapping, then the port. */
static void rfc4787_idle_pairs_end(void **state)
{
	add_pair(IPPROTO_UDP, 301, FLOW_SEEN_ANY);
	pass();
	assert_int_equal(n_of("flows4"), 0);
	assert_int_equal(n_of("nat_mappings"), 0);
	assert_true(port_is_held(1));
	pass();
	assert_false(port_is_held(1));
	assert_int_equal(flow_count(&sw), 0);
}

/* RFC 5382 REQ-5: 240 s when not established, 2 h 4 min when it is. */
static void rfc5382_established_outlives_opening(void **state)
{
	add_pair(IPPROTO_TCP, 1000, FLOW_SEEN_ANY | FLOW_SEEN_ACK);
	pass();
	assert_int_equal(n_of("flows4"), 2);
	add_pair(IPPROTO_TCP, 1000, FLOW_SEEN_ANY | FLOW_SEEN_SYN);
	pass();
	assert_int_equal(n_of("flows4"), 0);
}

/* A rule's times go before the settings', and one that says how long what closes is remembered means what opens as well. */
static void rfc7857_times_of_a_rule(void **state)
{
	struct nat_timeouts *t = &sw.nat->rules[0].timeouts;
	const struct settings_cfg *s = &sw.model->settings;
	struct settings_cfg buf;

	sw.model->settings.tcp_opening_s = 30;
	assert_int_equal(flow_timeout_s(s, IPPROTO_TCP, FLOW_OPENING), 30);
	*t = (struct nat_timeouts){.udp_s = 7};
	assert_int_equal(flow_timeout_s(nat_settings(&sw, 1, &buf), IPPROTO_TCP, FLOW_OPENING), 30);
	*t = (struct nat_timeouts){.tcp_transitory_s = 60};
	assert_int_equal(flow_timeout_s(nat_settings(&sw, 1, &buf), IPPROTO_TCP, FLOW_OPENING), 60);
	*t = (struct nat_timeouts){.tcp_opening_s = 20};
	assert_int_equal(flow_timeout_s(nat_settings(&sw, 1, &buf), IPPROTO_TCP, FLOW_OPENING), 20);
	assert_int_equal(flow_timeout_s(nat_settings(&sw, 1, &buf), IPPROTO_TCP, FLOW_CLOSING), 240);
}

static void half_pairs_end(void **state)
{
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	drop_entry(&reply_key);
	pass();
	assert_int_equal(n_of("flows4"), 0);
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	drop_entry(&forward_key);
	pass();
	assert_int_equal(n_of("flows4"), 0);
}

static struct flow *forward_entry(void)
{
	return flowtab_entry(&sw.flows->tab[0], flowtab_find(&sw.flows->tab[0], &forward_key, NULL));
}

/* Neither keeps the other alive. */
static void two_replies_are_no_pair(void **state)
{
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	forward_entry()->flags |= FLOW_F_REPLY;
	pass();
	assert_int_equal(n_of("flows4"), 0);
}

static void crashes_heal(void **state)
{
	/* A port without a flow, and a flow without its port. */
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	nat_ports(sw.nat, slot, 0)->used[5000 / 64] |= 1ull << 5000 % 64;
	nat_ports(sw.nat, slot, 0)->full[5000 / 64 / 64] = ~0ull;
	nat_port_free(nat_ports(sw.nat, slot, 1), 5000);
	pass();
	assert_false(port_is_held(0));
	assert_false(nat_ports(sw.nat, slot, 0)->full[5000 / 64 / 64] >> (5000 / 64) % 64 & 1);
	assert_true(port_is_held(1));
}

/* A mapping that was just made has no flow yet. */
static void fresh_mappings_stay(void **state)
{
	add_pair(IPPROTO_UDP, 0, FLOW_SEEN_ANY);
	drop_entry(&forward_key);
	drop_entry(&reply_key);
	pass();
	pass();
	assert_int_equal(n_of("nat_mappings"), 1);
	assert_true(port_is_held(1));
}

/* As the data plane does when somebody gives way. */
static void give_back(uint32_t i, unsigned port)
{
	__atomic_fetch_or(&sw.nat->ports[POOL_TRACE(i)].used[port / 64], 1ull << port % 64, __ATOMIC_SEQ_CST);
	nat_port_free(&sw.nat->ports[i], port);
}

/* Held when the pass began, given back, and taken by another source whose mapping was made behind the cursor. */
static void a_port_that_changed_hands_stays(void **state)
{
	struct nat_mapping m = {.port = htons(5000)};
	uint32_t at = 0, i;

	add_pair(IPPROTO_UDP, 0, FLOW_SEEN_ANY);
	i = slot * POOL_CLASSES + 1;
	m.inside = (struct nat_mapping_key){
		.addr = addr_v4(htonl(0x0a000007)), .port = htons(5000), .pool = out_pool, .proto = IPPROTO_UDP};
	m.pool_addr = slot;
	m.used_ns = clock_now_ns();
	nat_sweep_begin(sw.nat, clock_now_ns());
	while (nat_sweep_note(sw.nat))
		;
	drop_entry(&forward_key);
	drop_entry(&reply_key);
	drop_mapping(&m.inside);
	give_back(i, 5000);
	while (nat_sweep_mappings(sw.nat, &at, 16))
		;
	m.inside.port = htons(6000);
	assert_int_equal(nattab_add(&sw.nat->tab, &m, clock_now_ns()), 0);
	sw.nat->ports[i].used[5000 / 64] |= 1ull << 5000 % 64;
	while (nat_sweep_end(sw.nat))
		;
	assert_true(port_is_held(1));
	pass();
	assert_true(port_is_held(1));
	drop_mapping(&m.inside);
	pass();
	assert_false(port_is_held(1));
}

/* A pair that gave way and came again between two passes, in the same slot with the same word, and has another port. `taken`:
 * the former one is somebody else's by then. */
static void came_again(uint8_t seen, bool taken)
{
	struct nat_mapping m = {.inside = {.addr = addr_v4(htonl(0x0a000009)), .port = htons(1), .proto = IPPROTO_UDP},
				.port = htons(5000),
				.used_ns = clock_now_ns()};
	struct flowtab *tab = &sw.flows->tab[0];
	uint32_t word, was, at;

	add_pair(IPPROTO_UDP, 3, seen);
	was = flowtab_find(tab, &forward_key, &word);
	pass();
	drop_entry(&forward_key);
	drop_entry(&reply_key);
	for (uint32_t i = 0; i < tab->n; i++)
		if ((flowtab_word(tab, i) & WORD_STATE) == WORD_DEAD)
			tab->bucket[i / BUCKET_SLOTS].word[i % BUCKET_SLOTS] = WORD_EMPTY;
	nat_port_free(nat_ports(sw.nat, slot, 1), 5000);
	out_port = 6000;
	add_pair(IPPROTO_UDP, 3, seen);
	at = flowtab_find(tab, &forward_key, &word);
	assert_int_equal(at, was);
	m.inside.pool = out_pool;
	m.pool_addr = slot;
	if (taken) {
		nat_ports(sw.nat, slot, 1)->used[5000 / 64] |= 1ull << 5000 % 64;
		assert_int_equal(nattab_add(&sw.nat->tab, &m, clock_now_ns()), 0);
	}
	pass();
	pass();
	assert_true(port_is_held(1));
	assert_int_equal(n_of("nat_mappings"), taken ? 2 : 1);
	drop_mapping(&m.inside);
	pass();
	pass();
	out_port = 5000;
	assert_false(port_is_held(1));
}

static void a_pair_that_came_again_has_its_new_port(void **state)
{
	came_again(FLOW_SEEN_ANY, false);
}

static void a_pair_that_came_again_when_its_port_was_anothers_has_its_new_one(void **state)
{
	came_again(0, true);
}

static void flows_of_a_gone_rule_end(void **state)
{
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	use("  - {name: other, type: snat, source: 10.0.0.0/24, to: 203.0.113.10-203.0.113.11, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	pass();
	assert_int_equal(n_of("flows4"), 0);
}

static void flows_on_a_gone_address_end(void **state)
{
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.11, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(sw.nat->addrs[slot].flags, POOL_ADDR_F_DRAIN);
	pass();
	assert_int_equal(n_of("flows4"), 0);
	assert_int_equal(n_of("nat_mappings"), 0);
	assert_int_equal(sw.nat->addrs[slot].flags, 0);
}

/* In the midst of the pass that ended its flows: whoever held a port there may have it again. */
static void an_address_that_comes_back_has_its_ports(void **state)
{
	struct nat_mapping_key k = {
		.addr = addr_v4(htonl(0x0a000007)), .port = htons(5000), .pool = out_pool, .proto = IPPROTO_UDP};
	struct nat_mapping m;
	uint32_t i;

	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	i = nattab_lookup(&sw.nat->tab, &k, &m);
	assert_int_not_equal(i, NATTAB_NONE);
	sw.nat->tab.entry[i].opened = 1;
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.11, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	sw.flows->now_ns = clock_now_ns();
	sw.flows->soon = true;
	pass_begin(sw.flows);
	while (sw.flows->phase < PHASE_MAPPINGS)
		step(sw.flows);
	assert_int_equal(n_of("flows4"), 0);
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: 203.0.113.10-203.0.113.11, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_true(sw.nat->addrs[slot].flags & POOL_ADDR_F_USED);
	assert_false(port_is_held(1));
	/* It is somebody's anew, and the pass, which has noted it, leaves it to him. */
	sw.nat->ports[slot * POOL_CLASSES + 1].used[5000 / 64] |= 1ull << 5000 % 64;
	pass();
	assert_true(port_is_held(1));
	pass();
	assert_false(port_is_held(1));
}

/* The other direction's VRF goes, the rule stays: pair and mapping end, and the pass says that it looked. */
static void flows_of_a_gone_vrf_end(void **state)
{
	struct nat_mapping_key k = {
		.addr = addr_v4(htonl(0x0a000007)), .port = htons(5000), .pool = out_pool, .proto = IPPROTO_UDP};
	struct nat_mapping m;
	struct flow f, r;

	add_pair(IPPROTO_UDP, 0, FLOW_SEEN_ANY);
	assert_int_not_equal(nattab_lookup(&sw.nat->tab, &k, &m), NATTAB_NONE);
	drop_mapping(&k);
	m.out_vrf = 3;
	assert_int_equal(nattab_add(&sw.nat->tab, &m, clock_now_ns()), 0);
	f = entry(&forward_key);
	r = entry(&reply_key);
	drop_entry(&forward_key);
	drop_entry(&reply_key);
	reply_key.vrf = f.peer_vrf = 3;
	assert_int_equal(flowtab_insert(&sw.flows->tab[0], &forward_key, &f, clock_now_ns()), 0);
	assert_int_equal(flowtab_insert(&sw.flows->tab[0], &reply_key, &r, clock_now_ns()), 0);
	pass();
	assert_int_equal(n_of("flows4"), 2);
	assert_int_equal(passes_begun, 0);
	gone = 3;
	pass();
	assert_int_equal(n_of("flows4"), 0);
	assert_int_equal(n_of("nat_mappings"), 0);
	assert_int_equal(passes_begun, 1);
	assert_int_equal(passes_ended, 1);
	gone = 0;
}

/* Two VRFs have the same address. When the one that came first goes, the other keeps its slot. */
static void slots_are_of_one_vrf(void **state)
{
	struct nat_plan_addr two[2] = {{.addr = addr_v4(htonl(0xcb007163)), .vrf = 1},
				       {.addr = addr_v4(htonl(0xcb007163)), .vrf = 2}};
	struct nat_plan plan = {.addrs = two, .n_addrs = 2};
	uint32_t second;

	assert_int_equal(nat_apply(&sw, &plan, NULL), 0);
	second = two[1].slot;
	assert_int_not_equal(two[0].slot, second);
	plan = (struct nat_plan){.addrs = &two[1], .n_addrs = 1};
	assert_int_equal(nat_apply(&sw, &plan, NULL), 0);
	assert_int_equal(two[1].slot, second);
}

/* What the VRF lends an interface without an address is for errors alone. */
static void masquerade_takes_no_address_that_is_lent(void **state)
{
	uint16_t id;

	wan_flags = IFACE_F_LENT4 | IFACE_F_LENT6;
	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: masquerade, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(pool_named("masq:wan", &id)->count4, 0);
	wan_flags = 0;
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	assert_int_equal(pool_named("masq:wan", &id)->count4, 1);
}

static void masquerade_follows_the_interface(void **state)
{
	const struct pool *p;
	uint16_t id, id2;
	uint32_t old;

	use("  - {name: out, type: snat, source: 10.0.0.0/24, to: masquerade, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	p = pool_named("masq:wan", &id);
	old = sw.nat->members[p->first4].pool_addr;
	assert_int_equal(sw.nat->addrs[old].addr.a32[3], wan4);
	wan4 = htonl(0xcb007102);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	p = pool_named("masq:wan", &id2);
	assert_int_equal(id, id2);
	assert_int_equal(p->count4, 1);
	assert_int_not_equal(sw.nat->members[p->first4].pool_addr, old);
	assert_int_equal(sw.nat->addrs[sw.nat->members[p->first4].pool_addr].addr.a32[3], wan4);
	assert_false(nat_pool_has(sw.nat, id, old));
}

static json_int_t flush(const char *filter)
{
	const struct flow_query q = {.filter = filter};
	struct http_stream s;
	json_int_t n;
	json_t *json;

	assert_int_equal(flow_flush(&sw, &q, &s, NULL), 0);
	json = whole(&s);
	n = json_integer_value(json_object_get(json, "flushed"));
	json_decref(json);
	return n;
}

/* With the mapping that nobody uses any more, and then its port. */
static void flush_ends_pairs(void **state)
{
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	assert_int_equal(flush("tcp"), 0);
	assert_int_equal(n_of("flows4"), 2);
	assert_int_equal(flush("rule out and in wan or host 10.0.0.7"), 1);
	assert_int_equal(n_of("flows4"), 0);
	pass();
	assert_int_equal(n_of("nat_mappings"), 0);
	pass();
	assert_false(port_is_held(1));
}

static void flush_without_a_filter_is_refused(void **state)
{
	struct http_stream s;

	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	assert_int_equal(flow_flush(&sw, &(struct flow_query){0}, &s, NULL), -EINVAL);
	assert_int_equal(flow_flush(&sw, &(struct flow_query){.filter = "  "}, &s, NULL), -EINVAL);
	assert_int_equal(flow_flush(&sw, &(struct flow_query){.filter = "rule gone"}, &s, NULL), -EINVAL);
	assert_int_equal(n_of("flows4"), 2);
}

/* It may be the same one again, by a packet that came after its end. */
static void flush_leaves_what_has_begun_since(void **state)
{
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	forward_entry()->created_ns = clock_now_ns() + 1000000000ull;
	assert_int_equal(flush("all"), 0);
	forward_entry()->created_ns = 0;
	assert_int_equal(flush("all"), 1);
}

/* What watchers were told meanwhile, a line each. */
static void told(struct http_stream *s, char *ret, size_t size)
{
	struct evbuffer *out = evbuffer_new();
	int more = s->next(s->arg, out);

	assert_int_equal(more, evbuffer_get_length(out) ? HTTP_MORE : HTTP_REST);
	ret[evbuffer_remove(out, ret, size - 1)] = '\0';
	evbuffer_free(out);
}

/* A pair that was there before is not new; one that the next pass finds is, once; its end has a reason. */
static void who_watches_is_told(void **state)
{
	const struct flow_query q = {.filter = "udp"}, other = {.filter = "tcp"};
	struct http_stream s, t;
	char text[4096];

	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	assert_int_equal(flow_watch(&sw, &q, &s, NULL), 0);
	assert_int_equal(flow_watch(&sw, &other, &t, NULL), 0);
	pass();
	told(&s, text, sizeof(text));
	assert_string_equal(text, "");
	add_pair(IPPROTO_UDP, 0, FLOW_SEEN_ANY);
	forward_entry()->created_ns = clock_now_ns();
	pass();
	pass();
	told(&s, text, sizeof(text));
	assert_non_null(strstr(text, "\"event\":\"new\",\"proto\":\"udp\""));
	assert_string_equal(strchr(text, '\n'), "\n");
	assert_int_equal(flush("all"), 1);
	told(&s, text, sizeof(text));
	assert_non_null(strstr(text, "\"event\":\"end\",\"reason\":\"flush\",\"proto\":\"udp\""));
	add_pair(IPPROTO_UDP, 301, FLOW_SEEN_ANY);
	pass();
	told(&s, text, sizeof(text));
	assert_non_null(strstr(text, "\"reason\":\"timeout\""));
	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	use("  - {name: other, type: snat, source: 10.0.0.0/24, to: 203.0.113.10-203.0.113.11, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	pass();
	told(&s, text, sizeof(text));
	assert_non_null(strstr(text, "\"reason\":\"rule\""));
	told(&t, text, sizeof(text));
	assert_string_equal(text, "");
	s.free(s.arg);
	assert_non_null(sw.flows->watchers);
	t.free(t.arg);
	assert_null(sw.flows->watchers);
}

static void listings_say_both_directions(void **state)
{
	struct http_stream stream;
	json_t *flows, *nat, *f;

	add_pair(IPPROTO_UDP, 3, FLOW_SEEN_ANY);
	assert_int_equal(flow_list(&sw, &(struct flow_query){0}, &stream, NULL), 0);
	flows = whole(&stream);
	assert_int_equal(json_array_size(flows), 1);
	f = json_array_get(flows, 0);
	assert_string_equal(json_string_value(json_object_get(f, "rule")), "out");
	assert_string_equal(json_string_value(json_object_get(f, "state")), "replied");
	assert_string_equal(json_string_value(json_object_get(json_object_get(f, "forward"), "to-src")), "203.0.113.10");
	assert_string_equal(json_string_value(json_object_get(json_object_get(f, "reply"), "to-dst")), "10.0.0.7");
	assert_int_equal(json_integer_value(json_object_get(f, "idle")), 3);
	assert_int_equal(json_integer_value(json_object_get(f, "expires")), 297);
	json_decref(flows);
	assert_int_equal(nat_list(&sw, &stream), 0);
	nat = whole(&stream);
	assert_int_equal(json_array_size(json_object_get(nat, "rules")), 2);
	f = json_array_get(json_object_get(nat, "pools"), 0);
	for (size_t i = 1; strcmp(json_string_value(json_object_get(f, "name")), "pool:out"); i++)
		f = json_array_get(json_object_get(nat, "pools"), i);
	assert_int_equal(json_integer_value(json_object_get(f, "ports_used")), 1);
	assert_int_equal(json_integer_value(json_object_get(f, "ports_total")), 2 * 64512);
	json_decref(nat);
}

static uint16_t masquerading_pool(void)
{
	for (uint16_t id = 1; id < POOL_MAX; id++)
		if (sw.nat->pools[id].flags & POOL_F_MASQ)
			return id;
	fail();
	return 0;
}

/* Whose a mapping is that no rule asked for: that of the rule that is asked first of its source's packets, and where one decides
 * otherwise, or by where they go, nobody's. */
static void a_mapping_is_a_rule_s_where_that_is_sure(void **state)
{
	const char *out = "  - {name: out, type: snat, source: 10.0.0.0/8, to: masquerade, out: [wan]}\n";
	struct nat_mapping_key k = {.addr = addr_v4(htonl(0x0a000005)), .port = htons(5555), .proto = IPPROTO_UDP};
	char text[512];

	use(out);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	k.pool = masquerading_pool();
	assert_int_not_equal(nat_rule_giving(sw.nat, &k, 1), 0);
	snprintf(text, sizeof(text), "  - {name: spared, type: snat, source: 10.0.0.0/24, to: none, out: [wan]}\n%s", out);
	use(text);
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	k.pool = masquerading_pool();
	assert_int_equal(nat_rule_giving(sw.nat, &k, 1), 0);
	assert_int_equal(nat_rule_giving(sw.nat, &k, 0), 0);
	k.addr = addr_v4(htonl(0x0a000105)); /* not spared */
	assert_int_not_equal(nat_rule_giving(sw.nat, &k, 1), 0);
	use("  - {name: out, type: snat, source: 10.0.0.0/8, destination: 198.51.100.0/24, to: masquerade, out: [wan]}\n");
	assert_int_equal(nat_reconcile(&sw, NULL), 0);
	k.pool = masquerading_pool();
	assert_int_equal(nat_rule_giving(sw.nat, &k, 1), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(tables_say_what_the_model_says),
		TEST(a_mapping_is_a_rule_s_where_that_is_sure),
		TEST(where_outside_is_for_a_static_rule),
		TEST(again_changes_nothing),
		TEST(an_event_writes_forwards_that_it_changes),
		TEST(names_lead_to_their_numbers),
		TEST(numbers_outlive_a_restart),
		TEST(what_goes_is_taken_back),
		TEST(the_gateways_own_addresses_are_known),
		TEST(too_many_forwards_are_refused_and_nothing_changes),
		TEST(live_pairs_stay),
		TEST(rfc4787_idle_pairs_end),
		TEST(rfc5382_established_outlives_opening),
		TEST(rfc7857_times_of_a_rule),
		TEST(half_pairs_end),
		TEST(crashes_heal),
		TEST(two_replies_are_no_pair),
		TEST(fresh_mappings_stay),
		TEST(a_port_that_changed_hands_stays),
		TEST(a_pair_that_came_again_has_its_new_port),
		TEST(a_pair_that_came_again_when_its_port_was_anothers_has_its_new_one),
		TEST(flows_of_a_gone_rule_end),
		TEST(flows_on_a_gone_address_end),
		TEST(an_address_that_comes_back_has_its_ports),
		TEST(flows_of_a_gone_vrf_end),
		TEST(slots_are_of_one_vrf),
		TEST(masquerade_follows_the_interface),
		TEST(masquerade_takes_no_address_that_is_lent),
		TEST(flush_ends_pairs),
		TEST(flush_without_a_filter_is_refused),
		TEST(flush_leaves_what_has_begun_since),
		TEST(who_watches_is_told),
		TEST(listings_say_both_directions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
