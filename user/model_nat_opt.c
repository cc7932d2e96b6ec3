/* model_nat_opt.c: what a NAT rule may say beyond whom it translates and to what: how it maps, whom it lets in, limits, timeouts;
 * and the rules of type `static`.
 *
 * Stands between model_nat.c, which reads rules, and the fields of struct nat_cfg.
 */
#include <stdio.h>
#include <string.h>
#include "model_priv.h"
#include "model_nat_priv.h"

#define LIMIT_MAX   16777216
#define TIMEOUT_MAX 2592000

static const struct word mappings[] = {{"endpoint-independent", NAT_MAPPING_INDEPENDENT},
				       {"address-and-port-dependent", NAT_MAPPING_ADDRESS_PORT}};
static const struct word filterings[] = {{"endpoint-independent", NAT_FILTER_INDEPENDENT},
					 {"address-dependent", NAT_FILTER_ADDRESS},
					 {"address-and-port-dependent", NAT_FILTER_ADDRESS_PORT}};

static const struct word on_delete[] = {{"end", 0}, {"keep", 1}};

static const char *const timeout_keys[] = {"tcp-established", "tcp-opening", "tcp-transitory", "udp", "icmp", "other"};
static const char *const limit_keys[] = {"sessions", "ports"};

void nat_on_delete_read(struct reader *r, const struct node *n, struct nat_cfg *c)
{
	int word;

	if (!read_word(r, n, on_delete, N_OF(on_delete), &word))
		c->keep = word;
}

void nat_timeouts_read(struct reader *r, const struct node *n, struct nat_cfg *c)
{
	struct nat_timeouts *t = &c->timeouts;
	uint32_t *const to[N_OF(timeout_keys)] = {
		&t->tcp_established_s, &t->tcp_opening_s, &t->tcp_transitory_s, &t->udp_s, &t->icmp_s, &t->other_s};
	const struct node *v[N_OF(timeout_keys)];
	size_t len = read_push(r, ".timeouts");

	if (!read_keys(r, n, timeout_keys, N_OF(timeout_keys), v)) {
		for (size_t i = 0; i < N_OF(timeout_keys); i++)
			if (v[i])
				read_seconds(r, v[i], 1, TIMEOUT_MAX, to[i]);
	}
	read_pop(r, len);
}

static void limit_read(struct reader *r, const struct node *n, struct nat_cfg *c)
{
	const struct node *v[N_OF(limit_keys)];
	size_t len = read_push(r, ".limit");

	if (!read_keys(r, n, limit_keys, N_OF(limit_keys), v)) {
		if (v[0])
			read_u32(r, v[0], 1, LIMIT_MAX, &c->limit_sessions);
		if (v[1])
			read_u32(r, v[1], 1, 65535, &c->limit_ports);
	}
	read_pop(r, len);
}

void nat_snat_options_read(struct reader *r, const struct nat_options *o, struct nat_cfg *c)
{
	const struct node *const given[] = {o->mapping, o->filtering, o->overload, o->limit, o->timeouts};
	int word;

	for (size_t i = 0; c->to_kind == NAT_TO_NONE && i < N_OF(given); i++) {
		if (given[i]) {
			bad(r, given[i], "a rule that translates nothing has no mappings");
			return;
		}
	}
	if (o->mapping && !read_word(r, o->mapping, mappings, N_OF(mappings), &word))
		c->mapping = (uint8_t)word;
	if (o->filtering && !read_word(r, o->filtering, filterings, N_OF(filterings), &word))
		c->filtering = (uint8_t)word;
	if (o->overload)
		read_bool(r, o->overload, &c->overload);
	if (o->limit)
		limit_read(r, o->limit, c);
	if (o->timeouts)
		nat_timeouts_read(r, o->timeouts, c);
	if (c->overload && c->filtering != NAT_FILTER_ADDRESS_PORT)
		bad(r, o->overload,
		    "ports that hosts share are told apart by who answers: not with `filtering` %s, which lets others in",
		    word_text(filterings, N_OF(filterings), c->filtering));
}

/* ---- static */

void nat_static_read(struct reader *r, const struct node *n, const struct nat_options *o, struct nat_cfg *c)
{
	if (!read_required(r, n, o->inside, "inside", "the address or prefix inside") && o->inside)
		read_prefix(r, o->inside, &c->source);
	if (!read_required(r, n, o->outside, "outside", "the address or prefix that it has outside") && o->outside)
		read_prefix(r, o->outside, &c->outside);
	if (c->source.family && c->outside.family && c->source.family == c->outside.family && c->source.len != c->outside.len)
		bad(r, o->outside, "a prefix of %u bits, and `inside` has %u: both are of one size", c->outside.len,
		    c->source.len);
	if (c->source.family && !c->source.len)
		bad(r, o->inside, "is every address: name a prefix");
	if (o->timeouts)
		nat_timeouts_read(r, o->timeouts, c);
}

/* ---- JSON */

static void put_numbers(json_t *o, const char *key, const char *const *keys, const uint32_t *values, size_t n)
{
	json_t *v = json_object();

	for (size_t i = 0; i < n; i++)
		if (values[i])
			json_put_number(v, keys[i], values[i]);
	if (json_object_size(v))
		json_object_set(o, key, v);
	json_decref(v);
}

void nat_options_json(json_t *o, const struct nat_cfg *c)
{
	const struct nat_timeouts *t = &c->timeouts;
	const uint32_t timeouts[] = {
		t->tcp_established_s, t->tcp_opening_s, t->tcp_transitory_s, t->udp_s, t->icmp_s, t->other_s};
	const uint32_t limits[] = {c->limit_sessions, c->limit_ports};
	char buf[PREFIX_TEXT];

	if (c->type == NAT_STATIC) {
		json_put_text(o, "inside", prefix_text(&c->source, buf));
		json_put_text(o, "outside", prefix_text(&c->outside, buf));
	}
	if (c->mapping != NAT_MAPPING_INDEPENDENT)
		json_put_text(o, "mapping", word_text(mappings, N_OF(mappings), c->mapping));
	if (c->filtering != NAT_FILTER_ADDRESS_PORT)
		json_put_text(o, "filtering", word_text(filterings, N_OF(filterings), c->filtering));
	if (c->overload)
		json_object_set_new(o, "overload", json_true());
	put_numbers(o, "limit", limit_keys, limits, N_OF(limits));
	if (c->keep)
		json_put_text(o, "on-delete", "keep");
	put_numbers(o, "timeouts", timeout_keys, timeouts, N_OF(timeouts));
	if (c->type == NAT_DNAT && *c->to_vrf)
		json_put_text(o, "to-vrf", c->to_vrf);
}
