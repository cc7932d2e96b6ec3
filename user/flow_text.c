/* flow_text.c: connections as lines (flow_text.h), for listings and for who watches.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "flow_text.h"
#include "sw.h"
#include "text.h"

/* ---- pieces */

static void put(struct line *l, const char *text, size_t len)
{
	if (len > sizeof(l->text) - l->len)
		len = sizeof(l->text) - l->len;
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

void line_put(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

void line_number(struct line *l, uint64_t n)
{
	char digits[20];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + n % 10);
	while (n /= 10);
	put(l, digits + i, sizeof(digits) - i);
}

void line_json(struct line *l, const char *text)
{
	char escaped[8];

	if (!text) {
		line_put(l, "null");
		return;
	}
	line_put(l, "\"");
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			put(l, "\\", 1);
		if ((unsigned char)*text < 0x20) {
			snprintf(escaped, sizeof(escaped), "\\u%04x", *text);
			line_put(l, escaped);
		} else {
			put(l, text, 1);
		}
	}
	line_put(l, "\"");
}

static char *put_decimal(char *at, unsigned n)
{
	if (n >= 100)
		*at++ = (char)('0' + n / 100);
	if (n >= 10)
		*at++ = (char)('0' + n / 10 % 10);
	*at++ = (char)('0' + n % 10);
	return at;
}

static char *put_hex(char *at, unsigned n)
{
	for (int shift = n > 0xfff ? 12 : n > 0xff ? 8 : n > 0xf ? 4 : 0; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[n >> shift & 0xf];
	return at;
}

/* Where the longest run of zero groups begins, the first of equals, and its end; of at least two (RFC 5952 4.2). */
static int zero_run(const struct addr *a, int *ret_end)
{
	int begin = 8, end = 8;

	for (int i = 0; i < 8; i++) {
		int n = i;

		while (n < 8 && !a->a8[2 * n] && !a->a8[2 * n + 1])
			n++;
		if (n - i >= 2 && (begin == 8 || n - i > end - begin)) {
			begin = i;
			end = n;
		}
		i = n;
	}
	*ret_end = end;
	return begin;
}

const char *flow_addr_text(const struct addr *a, char buf[ADDR_TEXT])
{
	int begin, end;
	char *at = buf;

	if (!a->a64[0] && a->a32[2] == htonl(0xffff)) {
		for (int i = 12; i < 16; i++) {
			at = put_decimal(at, a->a8[i]);
			*at++ = '.';
		}
		at[-1] = '\0';
		return buf;
	}
	if (!a->a64[0] && !a->a32[2]) /* with an IPv4 address within, or ::1 */
		return addr_text(a, buf);
	begin = zero_run(a, &end);
	for (int i = 0; i < 8; i++) {
		if (i == begin) {
			*at++ = ':';
			i = end - 1;
			if (end == 8)
				*at++ = ':';
			continue;
		}
		if (i)
			*at++ = ':';
		at = put_hex(at, (unsigned)a->a8[2 * i] << 8 | a->a8[2 * i + 1]);
	}
	*at = '\0';
	return buf;
}

/* ---- JSON */

/* The four addresses of a pair, which its two directions have in another order. */
struct ends {
	char src[ADDR_TEXT], dst[ADDR_TEXT], to_src[ADDR_TEXT], to_dst[ADDR_TEXT];
};

static void ends_of(const struct flow_pair *p, struct ends *ret)
{
	flow_addr_text(&p->key.saddr, ret->src);
	flow_addr_text(&p->key.daddr, ret->dst);
	if (addr_same(&p->key.saddr, &p->to.saddr))
		strcpy(ret->to_src, ret->src);
	else
		flow_addr_text(&p->to.saddr, ret->to_src);
	if (addr_same(&p->key.daddr, &p->to.daddr))
		strcpy(ret->to_dst, ret->dst);
	else
		flow_addr_text(&p->to.daddr, ret->to_dst);
}

static void member_addr(struct line *l, const char *name, const char *addr)
{
	line_put(l, name);
	line_put(l, addr);
	line_put(l, "\"");
}

static void member_number(struct line *l, const char *name, uint64_t n)
{
	line_put(l, name);
	line_number(l, n);
}

/* One direction; what the rewrite leaves as it is, is not said twice. `counts`: packets and bytes; NULL: they are not counted. */
static void direction(struct line *l, const struct flow_tuple *t, const struct flow_tuple *to, const char *const text[4],
		      const uint64_t *counts)
{
	member_addr(l, "{\"src\":\"", text[0]);
	member_number(l, ",\"sport\":", ntohs(t->sport));
	member_addr(l, ",\"dst\":\"", text[1]);
	member_number(l, ",\"dport\":", ntohs(t->dport));
	if (!addr_same(&to->saddr, &t->saddr))
		member_addr(l, ",\"to-src\":\"", text[2]);
	if (to->sport != t->sport)
		member_number(l, ",\"to-sport\":", ntohs(to->sport));
	if (!addr_same(&to->daddr, &t->daddr))
		member_addr(l, ",\"to-dst\":\"", text[3]);
	if (to->dport != t->dport)
		member_number(l, ",\"to-dport\":", ntohs(to->dport));
	if (counts) {
		member_number(l, ",\"packets\":", counts[0]);
		member_number(l, ",\"bytes\":", counts[1]);
	}
	line_put(l, "}");
}

void flow_text_json(const struct sw *sw, struct flow_pair *p, struct line *l)
{
	bool counted = !sw->model->settings.flows_uncounted;
	uint64_t counts[2][2];
	struct ends e;
	char number[4];

	flow_pair_whole(p);
	ends_of(p, &e);
	for (int i = 0; i < 2; i++) {
		counts[i][0] = p->packets[i];
		counts[i][1] = p->bytes[i];
	}
	line_put(l, "\"proto\":");
	line_json(l, proto_text(p->key.proto, number));
	line_put(l, ",\"state\":");
	line_json(l, flow_state_name(p->state));
	line_put(l, ",\"vrf\":");
	line_json(l, vrf_name(sw, p->key.vrf));
	line_put(l, ",\"rule\":");
	line_json(l, nat_rule_name(sw, p->rule));
	if (nat_rule_former(sw, p->rule)) {
		line_put(l, ",\"former-rule\":");
		line_json(l, nat_rule_former(sw, p->rule));
	}
	line_put(l, ",\"in\":");
	line_json(l, iface_name(sw, p->in_iface));
	line_put(l, ",\"out\":");
	line_json(l, iface_name(sw, p->out_iface));
	line_put(l, ",\"forward\":");
	direction(l, &p->key, &p->to, (const char *const[]){e.src, e.dst, e.to_src, e.to_dst}, counted ? counts[0] : NULL);
	line_put(l, ",\"reply\":");
	direction(l, &p->back, &p->back_to, (const char *const[]){e.to_dst, e.to_src, e.dst, e.src}, counted ? counts[1] : NULL);
	member_number(l, ",\"age\":", p->age_s);
	member_number(l, ",\"idle\":", p->idle_s);
	member_number(l, ",\"expires\":", p->expires_s);
}

/* ---- cells */

/* "10.0.0.1:443"; IPv6 in brackets; without ports the address alone. */
static void put_end(struct line *l, const char *addr, __be16 port)
{
	bool brackets = port && strchr(addr, ':');

	line_put(l, brackets ? "[" : "");
	line_put(l, addr);
	if (!port)
		return;
	line_put(l, brackets ? "]:" : ":");
	line_number(l, ntohs(port));
}

/* Of both directions, where they are counted. */
static void put_both(const struct sw *sw, struct line *l, const uint64_t n[2])
{
	if (sw->model->settings.flows_uncounted) {
		line_put(l, "-");
		return;
	}
	line_number(l, n[0]);
	line_put(l, "/");
	line_number(l, n[1]);
}

/* What an interface or a rule is called; "-" keeps the cells in their columns. */
static void put_name(struct line *l, const char *name)
{
	line_put(l, name && *name ? name : "-");
	line_put(l, "\t");
}

/* One that is gone in parentheses. */
static void put_rule(struct line *l, const struct sw *sw, uint16_t rule)
{
	const char *former = nat_rule_former(sw, rule);

	if (!former) {
		put_name(l, nat_rule_name(sw, rule));
		return;
	}
	line_put(l, "(");
	line_put(l, former);
	line_put(l, ")\t");
}

static void put_translated(struct line *l, const struct flow_pair *p, const struct ends *e)
{
	bool src = !addr_same(&p->key.saddr, &p->to.saddr) || p->key.sport != p->to.sport;
	bool dst = !addr_same(&p->key.daddr, &p->to.daddr) || p->key.dport != p->to.dport;

	if (src) {
		line_put(l, "from ");
		put_end(l, e->to_src, p->to.sport);
	}
	if (dst) {
		line_put(l, src ? " to " : "to ");
		put_end(l, e->to_dst, p->to.dport);
	}
	line_put(l, src || dst ? "\t" : "-\t");
}

void flow_text_cells(const struct sw *sw, struct flow_pair *p, struct line *l)
{
	struct ends e;
	char number[4];

	flow_pair_whole(p);
	ends_of(p, &e);
	put_name(l, proto_text(p->key.proto, number));
	put_name(l, flow_state_name(p->state));
	put_end(l, e.src, p->key.sport);
	line_put(l, "\t");
	put_end(l, e.dst, p->key.dport);
	line_put(l, "\t");
	put_translated(l, p, &e);
	put_name(l, iface_name(sw, p->in_iface));
	put_name(l, iface_name(sw, p->out_iface));
	if (sw->model->n_vrfs > 1)
		put_name(l, vrf_name(sw, p->key.vrf));
	put_rule(l, sw, p->rule);
	put_both(sw, l, p->packets);
	line_put(l, "\t");
	put_both(sw, l, p->bytes);
	line_put(l, "\t");
	line_number(l, p->idle_s);
	line_put(l, "\t");
	line_number(l, p->expires_s);
}

void flow_text_titles(const struct sw *sw, struct line *l)
{
	line_put(l, "PROTO\tSTATE\tFROM\tTO\tTRANSLATED\tIN\tOUT\t");
	line_put(l, sw->model->n_vrfs > 1 ? "VRF\t" : "");
	line_put(l, "RULE\tPACKETS\tBYTES\tIDLE\tENDS IN");
}
