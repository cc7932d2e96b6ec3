/* age_util.h: the passes of flow_age.c over a table of the test's own; NAT and VRFs are the test's as well. */
#ifndef SLUICE_TEST_AGE_UTIL_H
#define SLUICE_TEST_AGE_UTIL_H

#include "../../user/flow_age.c"
#include "flow_told.h"

#define ENTRIES 2000
#define SEC	1000000000ull

static struct flow_table head;
static struct model model;
static struct nat nat;
static struct flows flows;
static bool there[ENTRIES];
static uint8_t pair_proto = IPPROTO_UDP; /* of the pairs */
static unsigned looks;			 /* at pairs */
static struct sw sw = {.flows = &flows, .nat = &nat, .model = &model};

/* ---- what stands around */

const struct settings_cfg *nat_settings(const struct sw *s, uint16_t rule, struct settings_cfg *buf)
{
	return &model.settings;
}

/* Asked whenever a pair is looked at. */
bool nat_holds(const struct sw *s, const struct flow_tuple *key, const struct flow *f)
{
	looks++;
	return true;
}

bool vrf_alive(const struct sw *s, uint16_t id)
{
	return true;
}

void nat_sweep_flow(struct nat *n, uint32_t pool_addr, uint8_t proto, uint16_t port)
{
}

bool nat_log_takes_up(const struct sw *s)
{
	return false;
}

void nat_sweep_stop(struct nat *n)
{
}

void nat_mapping_end(struct nat *n, const struct flow_tuple *forward, const struct flow *f)
{
}

void nat_session_ending(struct sw *s, const struct flow_tuple *key, const struct flow *f)
{
}

void nat_session_end(struct sw *s, const struct flow_tuple *key, const struct flow *f, bool was)
{
}

void nat_sweep_begin(struct nat *n, uint64_t now_ns)
{
}

bool nat_sweep_mappings(struct nat *n, uint32_t *at, uint32_t max)
{
	return false;
}

int nat_sweep_peers(struct nat *n, void **cursor, size_t max)
{
	return 0;
}

void nat_sweep_peers_soon(struct nat *n)
{
}

bool nat_sweep_note(struct nat *n)
{
	return false;
}

bool nat_sweep_end(struct nat *n)
{
	return false;
}

bool nat_port_is_held(const struct nat *n, uint32_t pool_addr, uint8_t proto, uint16_t port)
{
	return true;
}

bool nat_ports_scarce(const struct nat *n)
{
	return false;
}

void nat_limit_add(struct nat *n, uint16_t rule, const struct addr *inside, uint16_t vrf, bool port)
{
}

bool vrf_draining(const struct sw *s)
{
	return false;
}

void vrf_pass_begin(struct sw *s)
{
}

int vrf_pass_fragments(struct sw *s, void **cursor, size_t max)
{
	return 0;
}

void vrf_pass_end(struct sw *s)
{
}

bool flow_watch_before_end(struct flows *f, const struct flow_tuple *key, const struct flow *e, struct flow_pair *ret)
{
	return false;
}

void flow_watch_begin(struct flows *f, const struct flow_tuple *key, const struct flow *e)
{
}

void flow_watch_end(struct flows *f, struct flow_pair *p, enum flow_why why)
{
}

int flow_told_open(struct flows *f)
{
	return 0;
}

void flow_told_close(struct flows *f)
{
}

/* ---- a table of pairs whose ports are all the same, so that the numbers name them */

static struct flow_key4 key_of(uint32_t i)
{
	return (struct flow_key4){htonl(0x0a000000 | i), htonl(0xc0000201), htons(1024), htons(443), 0, pair_proto, 0};
}

static bool put(uint32_t i)
{
	struct flow_key4 k = key_of(i), back = {k.daddr, k.saddr, k.dport, k.sport, 0, pair_proto, 0};
	struct flow f = {.flags = FLOW_F_TRACK, .created_ns = flows.now_ns, .used = (uint32_t)(flows.now_ns >> FLOW_USED_SHIFT)},
		    r = f;
	f.saddr4 = r.daddr4 = k.saddr;
	f.daddr4 = r.saddr4 = k.daddr;
	f.sport = r.dport = k.sport;
	f.dport = r.sport = k.dport;
	r.flags |= FLOW_F_REPLY;
	there[i] = !flowtab_insert(&flows.tab[0], &k, &f, flows.now_ns);
	if (there[i] && !flowtab_insert(&flows.tab[0], &back, &r, flows.now_ns))
		return true;
	if (there[i])
		flow_delete(&flows, &(struct flow_tuple){addr_v4(k.saddr), addr_v4(k.daddr), k.sport, k.dport, 0, pair_proto, 4});
	return there[i] = false;
}

static int setup(void **state)
{
	struct flowtab *t = &flows.tab[0];
	uint32_t buckets = flowtab_buckets(ENTRIES);

	memset(&flows, 0, sizeof(flows));
	flows.sw = &sw;
	flows.now_ns = 100 * SEC;
	looks = 0;
	model.settings = (struct settings_cfg){.udp_s = 100000, .tcp_established_s = 100000, .tcp_transitory_s = 240};
	flowtab_seed(&head, 7);
	*t = (struct flowtab){.family = 4, .head = &head, .n = buckets * BUCKET_SLOTS};
	t->bucket = calloc(buckets, sizeof(*t->bucket));
	t->entry = calloc(t->n, sizeof(struct flow));
	flows.note[0] = notes_new(t->n);
	return !t->bucket || !t->entry || !flows.note[0];
}

static int teardown(void **state)
{
	free(flows.tab[0].bucket);
	free(flows.tab[0].entry);
	free(flows.note[0]);
	spill_free(&flows.spill[0]);
	return 0;
}

#endif
