/* model_nat.c: NAT rules of the configuration: reading, checking, JSON.
 *
 * Stands between the tree of parse.h and struct nat_cfg.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "globs.h"
#include "model_nat_priv.h"
#include "model_priv.h"

static const struct word types[] = {{"snat", NAT_SNAT}, {"dnat", NAT_DNAT}, {"static", NAT_STATIC}};
static const struct word protocols[] = {
	{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6}};
#define N_PORT_PROTOCOLS 2 /* of `protocols`: those that have ports */

static const char *const nat_keys[] = {"name",	    "type",	"vrf",	 "source",   "destination", "protocol", "out",
				       "to",	    "ports",	"port",	 "to-vrf",   "inside",	    "outside",	"mapping",
				       "filtering", "overload", "limit", "timeouts", "on-delete"};
enum {
	N_NAME,
	N_TYPE,
	N_VRF,
	N_SOURCE,
	N_DESTINATION,
	N_PROTOCOL,
	N_OUT,
	N_TO,
	N_PORTS,
	N_PORT,
	N_TO_VRF,
	N_INSIDE,
	N_OUTSIDE,
	N_MAPPING,
	N_FILTERING,
	N_OVERLOAD,
	N_LIMIT,
	N_TIMEOUTS,
	N_ON_DELETE
};

static int protocol_read(struct reader *r, const struct node *n, void *arg)
{
	struct nat_cfg *c = arg;
	int proto;

	if (read_word(r, n, protocols, c->type == NAT_DNAT ? N_PORT_PROTOCOLS : N_OF(protocols), &proto))
		return -EINVAL;
	for (size_t i = 0; i < c->n_protocols; i++)
		if (c->protocols[i] == proto)
			return bad(r, n, "%s is listed twice", n->text);
	if (c->n_protocols == N_OF(c->protocols))
		return bad(r, n, "more than %zu protocols", N_OF(c->protocols));
	c->protocols[c->n_protocols++] = proto;
	return 0;
}

/* "8080" or "8000-8010". */
static int ports_read(struct reader *r, const struct node *n, uint16_t *ret_min, uint16_t *ret_max)
{
	const char *s = read_text(r, n, "a port or a range of ports"), *dash;
	char show[SHOW_TEXT], low[8];
	uint32_t lo, hi;

	if (!s)
		return -EINVAL;
	dash = strchr(s, '-');
	snprintf(low, sizeof(low), "%.*s", dash ? (int)(dash - s) : 7, s);
	if ((dash && dash - s > 5) || u32_parse(low, 1, 65535, &lo) || u32_parse(dash ? dash + 1 : s, 1, 65535, &hi))
		return bad(r, n, "%s is not a port or a range of ports (1..65535)", show_text(s, show));
	if (hi < lo)
		return bad(r, n, "the range %u-%u runs backwards", lo, hi);
	*ret_min = lo;
	*ret_max = hi;
	return 0;
}

static int out_read(struct reader *r, const struct node *n, void *arg)
{
	struct nat_cfg *c = arg;
	char(*to)[IFNAMSIZ], name[IFNAMSIZ];

	if (read_netdev(r, n, name))
		return -EINVAL;
	for (size_t i = 0; i < c->n_out; i++)
		if (!strcmp(c->out[i], name))
			return bad(r, n, "%s is listed twice", name);
	to = list_add(&c->out, &c->n_out, sizeof(*to));
	if (!to)
		return read_oom(r);
	strcpy(*to, name);
	return 0;
}

static struct addr last_addr(const struct prefix *p)
{
	struct addr ret = prefix_masked(p).addr;
	unsigned len = prefix_mapped_len(p);

	for (unsigned i = len; i < 128; i++)
		ret.a8[i / 8] |= 0x80 >> (i % 8);
	return ret;
}

/* ADDR, PREFIX or ADDR-ADDR. 0 or what is wrong with it. */
static const char *range_parse(const char *s, struct addr_range *ret)
{
	const char *dash = strchr(s, '-');
	struct addr_range v = {0};
	char first[ADDR_TEXT];
	struct prefix p;
	uint8_t family;

	if (!dash) {
		if (prefix_parse(s, 0, false, &p))
			return "is no address, prefix or range of addresses (masquerade and none stand alone: `to: masquerade`)";
		v = (struct addr_range){prefix_masked(&p).addr, last_addr(&p), p.family};
		if (memcmp(&v.first, &p.addr, sizeof(p.addr)))
			return "has bits set behind its length";
	} else {
		snprintf(first, sizeof(first), "%.*s", (int)(dash - s < ADDR_TEXT ? dash - s : ADDR_TEXT - 1), s);
		if (dash - s >= ADDR_TEXT || addr_parse(first, &v.first, &v.family) || addr_parse(dash + 1, &v.last, &family))
			return "is no range of addresses, such as 203.0.113.10-203.0.113.20";
		if (family != v.family)
			return "begins in one family and ends in the other";
		if (memcmp(&v.first, &v.last, sizeof(v.first)) > 0)
			return "runs backwards";
	}
	*ret = v;
	return host_problem(&v.first) ?: host_problem(&v.last);
}

static int pool_read(struct reader *r, const struct node *n, void *arg)
{
	const char *s = read_text(r, n, "an address, a prefix or a range of addresses"), *problem;
	struct addr_range v, *to;
	struct nat_cfg *c = arg;
	char show[SHOW_TEXT];

	if (!s)
		return -EINVAL;
	problem = range_parse(s, &v);
	if (problem)
		return bad(r, n, "%s %s", show_text(s, show), problem);
	to = list_add(&c->pool, &c->n_pool, sizeof(*to));
	if (!to)
		return read_oom(r);
	*to = v;
	return 0;
}

static const char *range_text(const struct addr_range *v, char buf[2 * ADDR_TEXT])
{
	char first[ADDR_TEXT], last[ADDR_TEXT];
	bool one = !memcmp(&v->first, &v->last, sizeof(v->first));

	snprintf(buf, 2 * ADDR_TEXT, "%s%s%s", addr_text(&v->first, first), one ? "" : "-", one ? "" : addr_text(&v->last, last));
	return buf;
}

static int range_order(const void *a, const void *b)
{
	const struct addr_range *x = a, *y = b;
	int d = memcmp(&x->first, &y->first, sizeof(x->first));

	return d ? d : memcmp(&x->last, &y->last, sizeof(x->last));
}

/* An address is in a pool once: who lists it again has mistaken something. Of many such slips the first is said. */
static void pool_twice(struct reader *r, const struct node *n, const struct nat_cfg *c)
{
	struct addr_range *v = c->n_pool > 1 ? calloc(c->n_pool, sizeof(*v)) : NULL;
	char text[2 * ADDR_TEXT], other[2 * ADDR_TEXT];
	size_t i = 1;

	if (!v) {
		if (c->n_pool > 1)
			read_oom(r);
		return;
	}
	memcpy(v, c->pool, c->n_pool * sizeof(*v));
	qsort(v, c->n_pool, sizeof(*v), range_order);
	while (i < c->n_pool && memcmp(&v[i].first, &v[i - 1].last, sizeof(v->first)) > 0)
		i++;
	if (i < c->n_pool && !range_order(&v[i - 1], &v[i]))
		bad(r, n, "%s is listed twice", range_text(&v[i], text));
	else if (i < c->n_pool)
		bad(r, n, "%s and %s overlap: name each address once", range_text(&v[i - 1], other), range_text(&v[i], text));
	free(v);
}

static void snat_to_read(struct reader *r, const struct node *n, struct nat_cfg *c)
{
	bool word = n->kind == NODE_SCALAR;

	if (word && !strcmp(n->text, "masquerade"))
		c->to_kind = NAT_TO_MASQUERADE;
	else if (word && !strcmp(n->text, "none"))
		c->to_kind = NAT_TO_NONE;
	else if (n->kind == NODE_LIST && !n->n)
		bad(r, n, "the list of addresses is empty: write addresses, masquerade or none");
	else {
		c->to_kind = NAT_TO_POOL;
		read_list(r, n, pool_read, c);
		pool_twice(r, n, c);
	}
}

/* Keys that only other types have. */
static void not_here(struct reader *r, const struct node *const *v, const int *keys, size_t n, const char *what)
{
	for (size_t i = 0; i < n; i++)
		if (v[keys[i]])
			bad(r, v[keys[i]], "%s", what);
}

static void out_list_read(struct reader *r, const struct node *n, struct nat_cfg *c)
{
	if (n && n->kind == NODE_LIST && !n->n)
		bad(r, n, "the list is empty: name interfaces, or leave `out` away for any");
	else if (n)
		read_list(r, n, out_read, c);
}

static struct nat_options options(const struct node *const *v)
{
	return (struct nat_options){v[N_MAPPING],  v[N_FILTERING], v[N_OVERLOAD], v[N_LIMIT],
				    v[N_TIMEOUTS], v[N_INSIDE],	   v[N_OUTSIDE]};
}

static void snat_read(struct reader *r, const struct node *n, const struct node *const *v, struct nat_cfg *c)
{
	static const int others[] = {N_INSIDE, N_OUTSIDE, N_TO_VRF};
	const struct nat_options o = options(v);

	if (v[N_PORT])
		bad(r, v[N_PORT], "`port` is a dnat rule's; the ports of a snat rule's pool are `ports`");
	not_here(r, v, others, N_OF(others),
		 "is no key of a snat rule, which has source, destination, protocol, out, to, ports, mapping, filtering, "
		 "overload, limit, timeouts, on-delete and vrf");
	if (v[N_SOURCE])
		read_prefix(r, v[N_SOURCE], &c->source);
	if (v[N_DESTINATION])
		read_prefix(r, v[N_DESTINATION], &c->destination);
	out_list_read(r, v[N_OUT], c);
	if (!read_required(r, n, v[N_TO], "to", "masquerade, none, or the addresses to translate to") && v[N_TO])
		snat_to_read(r, v[N_TO], c);
	c->port_min = POOL_PORT_MIN;
	c->port_max = POOL_PORT_MAX;
	if (v[N_PORTS] && c->to_kind == NAT_TO_NONE)
		bad(r, v[N_PORTS], "a rule that translates nothing has no ports");
	else if (v[N_PORTS])
		ports_read(r, v[N_PORTS], &c->port_min, &c->port_max);
	nat_snat_options_read(r, &o, c);
}

/* An address, or the name of an interface whose every address is meant. */
static void dnat_destination_read(struct reader *r, const struct node *n, struct nat_cfg *c)
{
	const char *s = read_text(r, n, "an address or the name of an interface"), *problem;
	char show[SHOW_TEXT];
	struct prefix p;

	if (!s)
		return;
	if (prefix_parse(s, 0, false, &p)) {
		if (strpbrk(s, ":/") || netdev_name_problem(s))
			bad(r, n, "%s is neither an address nor the name of an interface", show_text(s, show));
		else
			strcpy(c->dest_iface, s);
		return;
	}
	problem = host_problem(&p.addr);
	if (!problem && p.len != (p.family == 4 ? 32 : 128))
		problem = "is a prefix: dnat wants one address";
	if (!problem && p.family == 6 && addr_is_link_local(&p.addr))
		problem = "is a link-local address: no client's packet to it is routed";
	if (problem)
		bad(r, n, "%s %s", s, problem);
	else
		c->destination = p;
}

/* "10.0.10.5", "10.0.10.5:80", "fd00::5", "[fd00::5]:80". */
static int target_parse(const char *s, struct addr *ret, uint8_t *ret_family, uint32_t *ret_port)
{
	const char *end = s + strlen(s), *colon = strchr(s, ':');
	char addr[ADDR_TEXT + 2], *host = addr;

	*ret_port = 0;
	if (*s == '[') {
		end = strchr(s, ']');
		if (!end++ || (*end && *end != ':'))
			return -EINVAL;
	} else if (colon && !strchr(colon + 1, ':')) {
		end = colon;
	}
	if (end - s >= (ptrdiff_t)sizeof(addr) || (*end && u32_parse(end + 1, 1, 65535, ret_port)))
		return -EINVAL;
	snprintf(addr, sizeof(addr), "%.*s", (int)(end - s), s);
	if (*addr == '[') {
		addr[end - s - 1] = '\0';
		host++;
	}
	if (addr_parse(host, ret, ret_family) || (host != addr && *ret_family != 6))
		return -EINVAL;
	return 0;
}

static void dnat_to_read(struct reader *r, const struct node *n, const struct node *port, struct nat_cfg *c)
{
	const char *s = read_text(r, n, "an address, with or without a port"), *problem;
	char show[SHOW_TEXT];
	struct addr to;
	uint8_t family;
	uint32_t to_port;

	if (!s)
		return;
	if (target_parse(s, &to, &family, &to_port)) {
		bad(r, n, "%s is not an address with or without a port (1..65535), such as 10.0.10.5:80 or [fd00::5]:80",
		    show_text(s, show));
		return;
	}
	problem = host_problem(&to);
	if (!problem && family == 6 && addr_is_link_local(&to))
		problem = "is a link-local address: it cannot be routed to";
	if (!problem && to_port && !port)
		problem = "names a port, and the rule has no `port` that would become it";
	if (!problem && to_port + (c->dport_max - c->dport_min) > 65535)
		problem = "moves the end of the range of `port` beyond 65535";
	if (problem) {
		bad(r, n, "%s %s", s, problem);
		return;
	}
	c->to = to;
	c->to_family = family;
	c->to_port = to_port;
}

#define DNAT_HAS "; a dnat rule has destination, protocol, port, to, to-vrf, timeouts, on-delete and vrf"

static void dnat_read(struct reader *r, const struct node *n, const struct node *const *v, struct nat_cfg *c)
{
	static const int snat_only[] = {N_SOURCE, N_OUT, N_PORTS, N_MAPPING, N_FILTERING, N_OVERLOAD, N_LIMIT};
	static const int static_only[] = {N_INSIDE, N_OUTSIDE};

	not_here(r, v, snat_only, N_OF(snat_only), "is a snat rule's key" DNAT_HAS);
	not_here(r, v, static_only, N_OF(static_only), "is a static rule's key" DNAT_HAS);
	if (!read_required(r, n, v[N_DESTINATION], "destination", "the address, or the interface, that clients connect to") &&
	    v[N_DESTINATION])
		dnat_destination_read(r, v[N_DESTINATION], c);
	if (v[N_PORT])
		ports_read(r, v[N_PORT], &c->dport_min, &c->dport_max);
	if (v[N_PORT] && !v[N_PROTOCOL])
		read_required(r, n, NULL, "protocol", "tcp, udp or both; a port has no meaning without");
	if (!read_required(r, n, v[N_TO], "to", "the address, with or without a port, that connections are sent to") && v[N_TO])
		dnat_to_read(r, v[N_TO], v[N_PORT], c);
	if (v[N_TO_VRF] && !read_vrf(r, v[N_TO_VRF], c->to_vrf) && !strcmp(c->to_vrf, c->vrf))
		*c->to_vrf = '\0';
	if (v[N_TIMEOUTS])
		nat_timeouts_read(r, v[N_TIMEOUTS], c);
}

static void static_read(struct reader *r, const struct node *n, const struct node *const *v, struct nat_cfg *c)
{
	static const int others[] = {N_SOURCE, N_DESTINATION, N_PROTOCOL,  N_TO,       N_PORTS, N_PORT,
				     N_TO_VRF, N_MAPPING,     N_FILTERING, N_OVERLOAD, N_LIMIT};
	const struct nat_options o = options(v);

	not_here(r, v, others, N_OF(others),
		 "is no key of a static rule, which has inside, outside, out, timeouts, on-delete and vrf");
	out_list_read(r, v[N_OUT], c);
	nat_static_read(r, n, &o, c);
}

void nat_read(struct reader *r, const struct node *n)
{
	const struct node *v[N_OF(nat_keys)];
	struct nat_cfg *c;
	int type;

	c = list_add(&r->m->nats, &r->m->n_nats, sizeof(*c));
	if (!c) {
		read_oom(r);
		return;
	}
	c->where = read_where(r, n);
	if (read_keys(r, n, nat_keys, N_OF(nat_keys), v))
		return;
	if (!read_required(r, n, v[N_NAME], "name", "what the rule is called in counters and messages") && v[N_NAME])
		read_label(r, v[N_NAME], c->name);
	read_vrf(r, v[N_VRF], c->vrf);
	if (read_required(r, n, v[N_TYPE], "type", "snat, dnat or static") || !v[N_TYPE])
		return;
	if (read_word(r, v[N_TYPE], types, N_OF(types), &type))
		return;
	c->type = type;
	if (v[N_PROTOCOL] && v[N_PROTOCOL]->kind == NODE_LIST && !v[N_PROTOCOL]->n)
		bad(r, v[N_PROTOCOL], "the list is empty: name protocols, or leave `protocol` away for any");
	else if (v[N_PROTOCOL])
		read_list(r, v[N_PROTOCOL], protocol_read, c);
	if (v[N_ON_DELETE])
		nat_on_delete_read(r, v[N_ON_DELETE], c);
	if (type == NAT_SNAT)
		snat_read(r, n, v, c);
	else if (type == NAT_DNAT)
		dnat_read(r, n, v, c);
	else
		static_read(r, n, v, c);
}

/* ---- JSON ---- */

/* A list, or its one element alone. Takes the reference. */
static void put_list(json_t *o, const char *key, json_t *list)
{
	if (json_array_size(list) == 1)
		json_object_set(o, key, json_array_get(list, 0));
	else if (json_array_size(list))
		json_object_set(o, key, list);
	json_decref(list);
}

static void put_prefix(json_t *o, const char *key, const struct prefix *p)
{
	char buf[PREFIX_TEXT];

	if (p->family)
		json_put_text(o, key, prefix_text(p, buf));
}

static void put_ports(json_t *o, const char *key, unsigned lo, unsigned hi)
{
	json_object_set_new(o, key, lo == hi ? json_integer(lo) : json_sprintf("%u-%u", lo, hi));
}

static json_t *pool_json(const struct nat_cfg *c)
{
	json_t *list = json_array();
	char text[2 * ADDR_TEXT];

	for (size_t i = 0; i < c->n_pool; i++)
		json_array_append_new(list, json_string(range_text(&c->pool[i], text)));
	return list;
}

static void put_out(json_t *o, const struct nat_cfg *c)
{
	json_t *out = json_array();

	for (size_t i = 0; i < c->n_out; i++)
		json_array_append_new(out, json_string(c->out[i]));
	put_list(o, "out", out);
}

static void snat_json(json_t *o, const struct nat_cfg *c)
{
	put_prefix(o, "source", &c->source);
	put_prefix(o, "destination", &c->destination);
	put_out(o, c);
	if (c->to_kind == NAT_TO_MASQUERADE)
		json_put_text(o, "to", "masquerade");
	else if (c->to_kind == NAT_TO_NONE)
		json_put_text(o, "to", "none");
	else
		put_list(o, "to", pool_json(c));
	if (c->port_min != POOL_PORT_MIN || c->port_max != POOL_PORT_MAX)
		put_ports(o, "ports", c->port_min, c->port_max);
}

static void dnat_json(json_t *o, const struct nat_cfg *c)
{
	char addr[ADDR_TEXT];

	if (*c->dest_iface)
		json_put_text(o, "destination", c->dest_iface);
	else if (c->destination.family)
		json_put_text(o, "destination", addr_text(&c->destination.addr, addr));
	if (c->dport_min)
		put_ports(o, "port", c->dport_min, c->dport_max);
	addr_text(&c->to, addr);
	if (!c->to_family)
		return;
	if (!c->to_port)
		json_put_text(o, "to", addr);
	else
		json_object_set_new(o, "to", json_sprintf(c->to_family == 6 ? "[%s]:%u" : "%s:%u", addr, c->to_port));
}

json_t *nat_json(const void *item)
{
	const struct nat_cfg *c = item;
	json_t *o = json_object(), *list = json_array();

	json_put_text(o, "name", c->name);
	json_put_text(o, "type", word_text(types, N_OF(types), c->type));
	for (size_t i = 0; i < c->n_protocols; i++)
		json_array_append_new(list, json_string(word_text(protocols, N_OF(protocols), c->protocols[i])));
	put_list(o, "protocol", list);
	if (c->type == NAT_SNAT)
		snat_json(o, c);
	else if (c->type == NAT_DNAT)
		dnat_json(o, c);
	else
		put_out(o, c);
	nat_options_json(o, c);
	if (strcmp(c->vrf, VRF_DEFAULT))
		json_put_text(o, "vrf", c->vrf);
	return o;
}
