/* port_test.c: ports, VLANs and stations, with tables that are memory of the test: in which order a change is written, what a
 * port without carrier means, what adoption leaves as it was. After every write the tables are looked at as a packet would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/drop.h>
#include "cut.h"
#include "sw.h"

/* ---- tables: arrays have a slot for every key, hashes are lists */

struct table {
	const char *name;
	size_t key, value, max, n;
	bool array;
	unsigned char *v; /* max times key and value */
	unsigned writes;
};

static struct table tables[] = {
	{"ports", 4, sizeof(struct port), PORT_MAX, 0, true, NULL, 0},
	{"port_ids", 4, 4, PORT_MAX, 0, false, NULL, 0},
	{"xdp_ports", 4, 8, PORT_MAX, 0, false, NULL, 0},
	{"vlans", 4, sizeof(struct vlan), VLAN_IDS, 0, true, NULL, 0},
	{"vlan_members", 4, sizeof(struct vlan_members), 64, 0, false, NULL, 0},
	{"fdb", sizeof(struct fdb_key), sizeof(struct fdb_entry), 64, 0, false, NULL, 0},
	{"port_counters", 4, 8, PORT_MAX, 0, false, NULL, 0},
	{"drop_counters", 4, sizeof(struct drop_counters), PORT_MAX, 0, false, NULL, 0},
};

#define N_TABLES (sizeof(tables) / sizeof(tables[0]))

struct table *table_get(struct datapath *dp, const char *map)
{
	for (size_t i = 0; i < N_TABLES; i++)
		if (!strcmp(tables[i].name, map))
			return &tables[i];
	return NULL;
}

uint32_t table_capacity(const struct table *t)
{
	return (uint32_t)t->max;
}

static unsigned char *slot(const struct table *t, size_t i)
{
	return t->v + i * (t->key + t->value);
}

static unsigned char *find(const struct table *t, const void *key)
{
	if (t->array)
		return slot(t, *(const uint32_t *)key);
	for (size_t i = 0; i < t->n; i++)
		if (!memcmp(slot(t, i), key, t->key))
			return slot(t, i);
	return NULL;
}

static const struct port *entry(uint32_t id)
{
	static struct port copy; /* it stands there as it comes */

	memcpy(&copy, find(&tables[0], &id) + 4, sizeof(copy));
	return &copy;
}

/* Would a frame of the VLAN leave by a port that is not in it, or with a tag that is not the port's? */
static void look_at_members(void)
{
	const struct table *t = table_get(NULL, "vlan_members");
	struct vlan_members m;
	const struct port *p;
	uint32_t vlan;
	int how;

	for (size_t i = 0; i < t->n; i++) {
		memcpy(&vlan, slot(t, i), sizeof(vlan));
		memcpy(&m, slot(t, i) + t->key, sizeof(m));
		for (uint16_t k = 0; k < m.n; k++) {
			p = entry(m.port[k]);
			if (!p->ifindex)
				continue;
			assert_true(p->vlans[vlan / 64] >> (vlan % 64) & 1);
			how = p->mode != PORT_TRUNK || p->native == vlan ? 0 : p->tpid == htons(0x8100) ? 1 : 2;
			assert_int_equal(how, k < m.n_untagged ? 0 : k < m.n_8021q ? 1 : 2);
		}
	}
}

int table_lookup(struct table *t, const void *key, void *ret)
{
	unsigned char *at = find(t, key);

	if (!at)
		return -ENOENT;
	memcpy(ret, at + t->key, t->value);
	return 0;
}

int table_set(struct table *t, const void *key, const void *value)
{
	unsigned char *at = find(t, key);

	assert_true(at || t->n < t->max);
	if (!at)
		at = slot(t, t->n++);
	memcpy(at, key, t->key);
	memcpy(at + t->key, value, t->value);
	t->writes++;
	look_at_members();
	return 0;
}

int table_delete(struct table *t, const void *key)
{
	unsigned char *at = find(t, key);

	if (!at)
		return -ENOENT;
	memmove(at, slot(t, --t->n), t->key + t->value);
	t->writes++;
	look_at_members();
	return 0;
}

int table_each(struct table *t, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	unsigned char copy[2048];
	int r = 0;

	assert_true(t->key + t->value <= sizeof(copy));
	/* From the end, so that an element that is deleted makes none be passed over. */
	for (size_t i = t->array ? t->max : t->n; i-- && !r;) {
		uint32_t index = (uint32_t)i;

		memcpy(copy, slot(t, i), t->key + t->value);
		r = fn(t->array ? (void *)&index : copy, copy + t->key, arg);
	}
	return r;
}

int table_each_some(struct table *t, void **cursor, size_t max, int (*fn)(const void *key, void *value, void *arg), void *arg)
{
	*cursor = NULL;
	return table_each(t, fn, arg);
}

void table_cursor_free(void *cursor)
{
}

int table_zero_percpu(struct table *t, uint32_t index)
{
	return 0;
}

/* ---- the rest of the world */

static struct link links[4];
static size_t n_links;
static unsigned epochs, attached;

void sw_epoch(struct sw *sw)
{
	epochs++;
}

int mirror_each_link(const struct mirror *m, int (*fn)(const struct link *l, void *arg), void *arg)
{
	int r = 0;

	for (size_t i = 0; i < n_links && !r; i++)
		r = fn(&links[i], arg);
	return r;
}

const struct link *mirror_link(const struct mirror *m, int ifindex)
{
	for (size_t i = 0; i < n_links; i++)
		if (links[i].ifindex == ifindex)
			return &links[i];
	return NULL;
}

/* What a packet that comes in while the programs are attached would find. */
static uint8_t flags_while_attaching;

/* The end of the pair for cutting, if there is one; and what the data plane was told of it. */
static int cut_end;
static bool cut_used;
static bool refuse_attaching; /* it */

int datapath_attach(struct datapath *dp, int ifindex, const char *netdev, enum xdp_want xdp, struct attachment *ret,
		    char note[160], struct errs *errs)
{
	uint32_t key = (uint32_t)ifindex, id = 0;

	table_lookup(table_get(NULL, "port_ids"), &key, &id);
	flags_while_attaching = entry(id)->flags;
	if (ifindex == cut_end) {
		assert_false(cut_used);
		if (refuse_attaching)
			return errs_fail(errs, EPERM, "refused");
	}
	*ret = (struct attachment){.tc = ATTACHED_TCX, .xdp = xdp == XDP_WANT_OFF ? ATTACHED_NONE : ATTACHED_XDP_NATIVE};
	attached++;
	return 0;
}

int datapath_detach(struct datapath *dp, int ifindex, const char *netdev)
{
	return 0;
}

int datapath_detach_others(struct datapath *dp, bool (*keep)(const char *netdev, void *arg), void *arg)
{
	return 0;
}

int netlink_link_set(struct netlink *nl, int ifindex, bool up, const uint8_t *mac, uint32_t mtu, struct errs *errs)
{
	return 0;
}

int netlink_driver(const char *netdev, char *buf, size_t size)
{
	return snprintf(buf, size, "nic");
}

int netlink_rxvlan_off(const char *netdev)
{
	return 0;
}

uint16_t iface_id(const struct sw *sw, const char *name)
{
	return 0;
}

int iface_get(const struct sw *sw, uint16_t id, struct iface *ret)
{
	return -ENOENT;
}

bool cut_is_end(const struct sw *sw, const char *netdev)
{
	return !strcmp(netdev, "cut-o");
}

int cut_port(const struct sw *sw, const char **ret_name, uint32_t *ret_mtu)
{
	*ret_name = "cut-o";
	*ret_mtu = 65535;
	return cut_end;
}

void cut_attached(struct sw *sw, bool is_attached)
{
	uint32_t key = (uint32_t)cut_end, id;

	cut_used = is_attached;
	if (!is_attached)
		return;
	assert_true(attached > 0);
	assert_int_equal(table_lookup(table_get(NULL, "port_ids"), &key, &id), 0);
	assert_int_equal(entry(id)->mode, PORT_CUT);
}

const char *iface_of_host_port(const struct sw *sw, const char *netdev)
{
	return NULL;
}

int iface_switch_end(const struct sw *sw, const char *iface, char ret_name[IFNAMSIZ], uint32_t *ret_mtu)
{
	return 0;
}

/* ---- the switch */

static struct sw sw;

static void add_link(const char *name, int ifindex)
{
	struct link *l = &links[n_links++];

	memset(l, 0, sizeof(*l));
	snprintf(l->name, sizeof(l->name), "%s", name);
	l->ifindex = ifindex;
	l->flags = IFF_UP | IFF_RUNNING;
	l->carrier = true;
	l->mtu = 1500;
}

static void reconcile(void)
{
	assert_int_equal(port_reconcile(&sw, NULL), 0);
	assert_int_equal(vlan_reconcile(&sw, NULL), 0);
	assert_int_equal(fdb_reconcile(&sw, NULL), 0);
}

static void configure(const char *text)
{
	struct errs errs = {0};

	model_free(sw.model);
	sw.model = model_parse(text, strlen(text), "test", &errs);
	for (size_t i = 0; i < errs.n; i++)
		print_error("%s\n", errs.v[i].text);
	errs_free(&errs);
	assert_non_null(sw.model);
	reconcile();
}

static void open_all(void)
{
	assert_int_equal(port_open(&sw, NULL), 0);
	assert_int_equal(fdb_open(&sw, NULL), 0);
}

static void close_all(void)
{
	fdb_close(&sw);
	port_close(&sw);
}

static int setup(void **state)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		tables[i].v = calloc(tables[i].max, tables[i].key + tables[i].value);
		tables[i].n = tables[i].array ? tables[i].max : 0;
		assert_non_null(tables[i].v);
	}
	n_links = 0;
	cut_end = 0;
	cut_used = refuse_attaching = false;
	attached = 0;
	add_link("e1", 11);
	add_link("e2", 12);
	sw = (struct sw){.instance = "test", .base = event_base_new()};
	open_all();
	return 0;
}

static int teardown(void **state)
{
	close_all();
	model_free(sw.model);
	event_base_free(sw.base);
	for (size_t i = 0; i < N_TABLES; i++)
		free(tables[i].v);
	return 0;
}

static bool is_member(uint32_t vlan, const char *port)
{
	struct vlan_members m;

	if (table_lookup(table_get(NULL, "vlan_members"), &vlan, &m))
		return false;
	for (uint16_t k = 0; k < m.n; k++)
		if (m.port[k] == port_id(&sw, port))
			return true;
	return false;
}

static struct fdb_key station(uint8_t last, uint16_t vlan)
{
	return (struct fdb_key){.mac = {2, 0, 0, 0, 0, last}, .vlan = vlan};
}

static void learn(uint8_t last, uint16_t vlan, const char *port)
{
	struct fdb_key key = station(last, vlan);
	struct fdb_entry e = {.port = port_id(&sw, port), .seen_ns = 1};

	table_set(table_get(NULL, "fdb"), &key, &e);
}

static bool is_known(uint8_t last, uint16_t vlan)
{
	struct fdb_key key = station(last, vlan);

	return find(table_get(NULL, "fdb"), &key);
}

static uint8_t flags_of(const char *port)
{
	return entry(port_id(&sw, port))->flags;
}

/* ---- tests */

/* The rule is in table_set(): no list of members may name a port for what it is not, not even between two writes. */
static void port_changes_its_vlan_without_a_moment_in_both(void **state)
{
	static const char *const second[] = {
		"{mode: access, vlan: 20}",
		"{mode: access, vlan: 10}",
		"{mode: trunk, vlans: [10, 20]}",
		"{mode: trunk, vlans: [10, 20], native: 10}",
		"{mode: trunk, vlans: [10, 20], native: 10, protocol: 802.1ad}",
		"{mode: trunk, vlans: [20, 30], protocol: 802.1ad}",
		"{mode: routed}",
		"{mode: access, vlan: 20}",
	};
	char text[256];

	for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
		snprintf(text, sizeof(text), "ports:\n  e1: {mode: access, vlan: 10}\n  e2: %s\n", second[i]);
		configure(text);
		assert_true(is_member(10, "e1"));
	}
	assert_true(is_member(20, "e2"));
	assert_false(is_member(10, "e2"));
}

static void id_that_is_given_away_is_in_no_vlan_of_its_former_port(void **state)
{
	configure("ports:\n  e1: {mode: access, vlan: 10}\n");
	configure("ports:\n  e2: {mode: access, vlan: 20}\n");
	assert_int_equal(port_id(&sw, "e2"), 1);
	assert_true(is_member(20, "e2"));
}

static void port_without_carrier_is_down_and_nobody_is_behind_it(void **state)
{
	configure("ports:\n  e1: {mode: access, vlan: 10}\n  e2: {mode: access, vlan: 10}\n"
		  "fdb:\n  - {mac: '02:00:00:00:00:09', vlan: 10, port: e2}\n");
	learn(1, 10, "e1");
	learn(2, 10, "e2");
	for (int how = 0; how < 2; how++) {
		unsigned before = epochs;

		if (how)
			links[1].flags &= ~(unsigned)IFF_UP;
		else
			links[1].carrier = false;
		reconcile();
		assert_true(flags_of("e2") & PORT_F_DOWN);
		assert_false(flags_of("e1") & PORT_F_DOWN);
		assert_false(is_member(10, "e2"));
		assert_true(is_member(10, "e1"));
		assert_true(is_known(1, 10));
		assert_false(is_known(2, 10));
		assert_true(is_known(9, 10)); /* static: says where it is, not whether it is there */
		assert_true(epochs > before);

		before = epochs;
		links[1].carrier = true;
		links[1].flags |= IFF_UP;
		reconcile();
		assert_false(flags_of("e2") & PORT_F_DOWN);
		assert_true(is_member(10, "e2"));
		assert_true(epochs > before);
		learn(2, 10, "e2");
	}
}

/* XDP goes on with what it did: neither its target nor its trust in untagged frames is taken away for a moment. */
static void adoption_leaves_xdp_as_it_was(void **state)
{
	struct table *targets = table_get(NULL, "xdp_ports"), *ports = table_get(NULL, "ports");
	unsigned before_targets, before_ports;

	configure("ports:\n  e1: {mode: access, vlan: 10, xdp: native}\n  e2: {mode: trunk, vlans: [10]}\n");
	assert_true(flags_while_attaching & PORT_F_TAG_HIDDEN);
	assert_int_equal(flags_of("e1") & (PORT_F_XDP | PORT_F_TAG_HIDDEN), PORT_F_XDP);
	before_targets = targets->writes;
	before_ports = ports->writes;
	attached = 0;
	close_all();
	open_all();
	reconcile();
	assert_int_equal(attached, 2);
	assert_int_equal(targets->writes, before_targets);
	assert_int_equal(ports->writes, before_ports);
}

/* What comes out of it is lost as long as no program is there, or its port is not known. */
static void pair_for_cutting_is_used_once_its_end_is_attached(void **state)
{
	struct errs errs = {0};

	cut_end = 77;
	refuse_attaching = true;
	sw.model = model_parse("ports: {}\n", 10, "test", NULL);
	assert_int_equal(port_reconcile(&sw, &errs), -EPERM);
	errs_free(&errs);
	assert_false(cut_used);
	refuse_attaching = false;
	reconcile();
	assert_true(cut_used);
}

static void nothing_is_written_twice(void **state)
{
	unsigned before = 0, after = 0;

	configure("ports:\n  e1: {mode: access, vlan: 10}\n  e2: {mode: trunk, vlans: [10, 20], native: 20}\n");
	for (size_t i = 0; i < N_TABLES; i++)
		before += tables[i].writes;
	reconcile();
	for (size_t i = 0; i < N_TABLES; i++)
		after += tables[i].writes;
	assert_int_equal(before, after);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(port_changes_its_vlan_without_a_moment_in_both),
		TEST(id_that_is_given_away_is_in_no_vlan_of_its_former_port),
		TEST(port_without_carrier_is_down_and_nobody_is_behind_it),
		TEST(adoption_leaves_xdp_as_it_was),
		TEST(pair_for_cutting_is_used_once_its_end_is_attached),
		TEST(nothing_is_written_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
