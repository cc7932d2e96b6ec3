/* counters.c: what the data plane counted, in words, and whether the books balance: for every port
 * rx_packets == forwarded + to_host + dropped, and dropped is the sum of its reasons.
 *
 * Id 0 stands for frames from netdevs that are no port. A packet is counted when it comes in and again when its fate is
 * known, and the sum of a per-CPU counter takes time: what does not add up is read again, up to CHECK_TRIES times.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sluice/drop.h>
#include "show.h"
#include "sw.h"

#define CHECK_TRIES   20
#define CHECK_WAIT_US 1000

static const struct {
	const char *name, *text;
} drops[] = {
#define X(id, name, text) {name, text},
	SLUICE_DROP_REASONS(X)
#undef X
};

static const char *const stat_names[] = {
#define X(id, name, text) name,
	SLUICE_STATS(X)
#undef X
};

_Static_assert(sizeof(struct port_counters) % 8 == 0, "port_counters is words");
#define WORDS (sizeof(struct port_counters) / 8)

static struct port_counters port_sum(struct sw *sw, uint32_t id)
{
	struct port_counters c = {0};
	uint64_t words[WORDS] = {0};

	if (!table_sum(table_get(sw->dp, "port_counters"), id, words, WORDS))
		memcpy(&c, words, sizeof(c));
	return c;
}

static struct drop_counters drops_sum(struct sw *sw, uint32_t id)
{
	struct drop_counters d = {0};
	uint64_t words[DROP_MAX];

	if (!table_sum(table_get(sw->dp, "drop_counters"), id, words, DROP_MAX))
		memcpy(&d, words, sizeof(d));
	return d;
}

static json_t *counters_json(const struct port_counters *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_packets", (json_int_t)c->rx_packets, "rx_bytes",
			 (json_int_t)c->rx_bytes, "tx_packets", (json_int_t)c->tx_packets, "tx_bytes", (json_int_t)c->tx_bytes,
			 "forwarded", (json_int_t)c->forwarded, "xdp", (json_int_t)c->xdp, "to_host", (json_int_t)c->to_host,
			 "dropped", (json_int_t)c->dropped);
}

json_t *show_port_counters(struct sw *sw, uint16_t id)
{
	struct port_counters c = port_sum(sw, id);

	return counters_json(&c);
}

static json_t *drops_json(struct sw *sw, uint32_t id)
{
	struct drop_counters d = drops_sum(sw, id);
	json_t *o = json_object();

	for (uint32_t r = 0; r < DROP_COUNT; r++)
		if (d.packets[r])
			json_object_set_new(o, drops[r].name, json_integer((json_int_t)d.packets[r]));
	return o;
}

static const char *name_of(const struct sw *sw, uint32_t id)
{
	return id ? port_name(sw, (uint16_t)id) : "unknown";
}

static json_t *stats_json(struct sw *sw)
{
	json_t *o = json_object();
	uint64_t n;

	for (uint32_t i = 0; i < STAT_COUNT; i++)
		if (!table_sum(table_get(sw->dp, "stats"), i, &n, 1))
			json_object_set_new(
				o, stat_names[i],
				json_integer((json_int_t)(n + (i == STAT_FLOW_GAVE_WAY ? sw->control->gave_way : 0))));
	return o;
}

/* {"ports": [{"name", "id", counters..., "drops": {reason: packets}}], "stats": {name: n}, "reasons": {reason: text}} */
json_t *counters_show(struct sw *sw)
{
	json_t *ports = json_array(), *reasons = json_object(), *o;

	for (uint32_t id = 0; id < PORT_MAX; id++) {
		const char *name = name_of(sw, id);
		struct port_counters c;

		if (!name)
			continue;
		c = port_sum(sw, id);
		if (!id && !c.rx_packets)
			continue;
		o = counters_json(&c);
		json_object_set_new(o, "name", json_string(name));
		json_object_set_new(o, "id", json_integer(id));
		json_object_set_new(o, "drops", drops_json(sw, id));
		json_array_append_new(ports, o);
	}
	for (uint32_t r = 1; r < DROP_COUNT; r++)
		json_object_set_new(reasons, drops[r].name, json_string(drops[r].text));
	return json_pack("{s:o, s:o, s:o}", "ports", ports, "stats", stats_json(sw), "reasons", reasons);
}

struct balance {
	struct port_counters c;
	uint64_t by_reason; /* the sum of the reasons */
	bool exact, holds;
};

static uint64_t outcome(const struct port_counters *c)
{
	return c->forwarded + c->to_host + c->dropped;
}

/* `before`: read some time ago, so that every packet that was on its way then is through now. Under load there is always one
 * on its way; then what had come in must have gone out, and nothing more than has come in. */
static struct balance read_balance(struct sw *sw, uint32_t id, const struct port_counters *before)
{
	struct port_counters first = port_sum(sw, id);
	struct drop_counters d = drops_sum(sw, id);
	struct balance b = {0};

	for (uint32_t r = 0; r < DROP_COUNT; r++)
		b.by_reason += d.packets[r];
	b.c = port_sum(sw, id);
	b.exact = b.c.rx_packets == outcome(&b.c) && first.dropped == b.c.dropped && b.by_reason == b.c.dropped;
	b.holds =
		b.exact || (before->rx_packets <= outcome(&b.c) && outcome(before) <= b.c.rx_packets &&
			    before->dropped <= b.by_reason && b.by_reason <= b.c.dropped + (b.c.rx_packets - before->rx_packets));
	return b;
}

static struct balance settle_balance(struct sw *sw, uint32_t id)
{
	const struct timespec wait = {.tv_nsec = CHECK_WAIT_US * 1000};
	struct port_counters before = port_sum(sw, id);
	struct balance b = read_balance(sw, id, &before);

	for (int i = 0; !b.exact && i < CHECK_TRIES; i++) {
		before = port_sum(sw, id);
		nanosleep(&wait, NULL);
		b = read_balance(sw, id, &before);
	}
	return b;
}

/* {"holds": bool, "ports": [{"name", "id", counters..., "dropped_by_reason", "holds", "exact"}]}; not exact: packets were on
 * their way whenever the counters were read. */
json_t *counters_check(struct sw *sw, bool *ret_holds)
{
	json_t *ports = json_array(), *o;

	*ret_holds = true;
	for (uint32_t id = 0; id < PORT_MAX; id++) {
		const char *name = name_of(sw, id);
		struct balance b;

		if (!name)
			continue;
		b = settle_balance(sw, id);
		*ret_holds = *ret_holds && b.holds;
		o = counters_json(&b.c);
		json_object_set_new(o, "name", json_string(name));
		json_object_set_new(o, "id", json_integer(id));
		json_object_set_new(o, "dropped_by_reason", json_integer((json_int_t)b.by_reason));
		json_object_set_new(o, "holds", json_boolean(b.holds));
		json_object_set_new(o, "exact", json_boolean(b.exact));
		json_array_append_new(ports, o);
	}
	return json_pack("{s:b, s:o}", "holds", (int)*ret_holds, "ports", ports);
}
