/* flow_filter_word.c: the words of a filter, and what of them are values: protocols, addresses, ports, times, names.
 */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "flow_filter_priv.h"
#include "text.h"

/* ---- words */

int filter_fail_at(struct filter_parser *p, const char *where, const char *fmt, ...)
{
	va_list ap;

	p->error->column = (unsigned)(where - p->text) + 1;
	va_start(ap, fmt);
	vsnprintf(p->error->text, sizeof(p->error->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool is_operator(char c)
{
	return c && strchr("()!<>=,&|", c);
}

int filter_next(struct filter_parser *p)
{
	static const char *const two[] = {"<=", ">=", "!=", "==", "&&", "||"};
	size_t n = 0;

	p->at += strspn(p->at, " \t\n");
	p->start = p->at;
	p->quoted = *p->at == '"' || *p->at == '\'';
	if (p->quoted) {
		const char *end = strchr(p->at + 1, *p->at);

		if (!end)
			return filter_fail(p, "the quote that begins here has no end");
		p->start++;
		n = (size_t)(end - p->start);
		p->at = end + 1;
	} else if (is_operator(*p->at)) {
		n = 1;
		for (size_t i = 0; i < sizeof(two) / sizeof(two[0]); i++)
			if (!strncmp(p->at, two[i], 2))
				n = 2;
		p->at += n;
	} else {
		while (p->at[n] && !isspace((unsigned char)p->at[n]) && !is_operator(p->at[n]))
			n++;
		p->at += n;
	}
	if (n >= FILTER_WORD)
		return filter_fail(p, "a word of more than %d characters", FILTER_WORD - 1);
	for (size_t i = 0; i < n; i++)
		if (iscntrl((unsigned char)p->start[i]))
			return filter_fail_at(p, p->start + i, "a control character");
	memcpy(p->word, p->start, n);
	p->word[n] = '\0';
	return p->quoted && !n ? filter_fail(p, "nothing between quotes") : 0;
}

bool filter_is(const struct filter_parser *p, const char *word)
{
	return !p->quoted && !strcmp(p->word, word);
}

bool filter_is_end(const struct filter_parser *p)
{
	return !p->quoted && !*p->word;
}

const char *filter_here(const struct filter_parser *p, char buf[FILTER_WORD + 2])
{
	if (filter_is_end(p))
		return "the end";
	snprintf(buf, FILTER_WORD + 2, "'%s'", p->word);
	return buf;
}

/* ---- values */

static const struct {
	const char *name;
	uint8_t number;
} protos[] = {
	{"tcp", IPPROTO_TCP},	    {"udp", IPPROTO_UDP},   {"icmp", IPPROTO_ICMP}, {"icmp6", IPPROTO_ICMPV6},
	{"icmpv6", IPPROTO_ICMPV6}, {"sctp", IPPROTO_SCTP}, {"gre", IPPROTO_GRE},   {"esp", IPPROTO_ESP},
};

bool filter_proto(const char *word, uint8_t *ret)
{
	for (size_t i = 0; i < sizeof(protos) / sizeof(protos[0]); i++) {
		if (strcmp(word, protos[i].name))
			continue;
		*ret = protos[i].number;
		return true;
	}
	return false;
}

int filter_read_proto(struct filter_parser *p, struct filter_test *t)
{
	char buf[FILTER_WORD + 2];
	uint8_t proto = 0;
	uint32_t n;

	if (filter_proto(p->word, &proto))
		n = proto;
	else if (u32_parse(p->word, 0, 255, &n))
		return filter_fail(p,
				   "a protocol is wanted, not %s: tcp, udp, icmp, icmp6, sctp, gre, esp, or a number in 0..255",
				   filter_here(p, buf));
	t->lo = t->hi = n;
	return 0;
}

int filter_read_family(struct filter_parser *p, struct filter_test *t)
{
	char buf[FILTER_WORD + 2];

	if (filter_is(p, "4") || filter_is(p, "ip") || filter_is(p, "inet"))
		t->lo = t->hi = 4;
	else if (filter_is(p, "6") || filter_is(p, "ip6") || filter_is(p, "inet6"))
		t->lo = t->hi = 6;
	else
		return filter_fail(p, "a family is wanted, not %s: ip or ip6 (4, 6, inet, inet6)", filter_here(p, buf));
	return 0;
}

int filter_read_addr(struct filter_parser *p, struct filter_test *t)
{
	char buf[FILTER_WORD + 2];
	struct prefix prefix;
	unsigned len;

	if (prefix_parse(p->word, 0, false, &prefix))
		return filter_fail(p, "an address or a prefix is wanted, not %s: 10.0.0.1, 10.0.0.0/8, 2001:db8::/32",
				   filter_here(p, buf));
	len = prefix_mapped_len(&prefix);
	t->family = prefix.family;
	for (unsigned bit = 0; bit < len; bit++)
		t->mask.a8[bit / 8] |= (__u8)(0x80 >> bit % 8);
	t->value = prefix_masked(&prefix).addr;
	return 0;
}

int filter_read_state(struct filter_parser *p, struct filter_test *t)
{
	char buf[FILTER_WORD + 2], list[128] = "";
	size_t len = 0;

	for (enum flow_state s = 0; s < FLOW_STATES; s++) {
		if (!strcmp(p->word, flow_state_name(s))) {
			t->lo = t->hi = s;
			return 0;
		}
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", s ? ", " : "", flow_state_name(s));
	}
	return filter_fail(p, "a state is wanted, not %s: %s", filter_here(p, buf), list);
}

static int read_name(struct filter_parser *p, struct filter_test *t, int (*find)(void *arg, const char *name), const char *what)
{
	char buf[FILTER_WORD + 2];
	int id;

	if (filter_is_end(p) || (!p->quoted && is_operator(*p->word)))
		return filter_fail(p, "the name of %s is wanted, not %s", what, filter_here(p, buf));
	id = find(p->names->arg, p->word);
	if (id < 0)
		return filter_fail(p, "there is no %s '%s'", strchr(what, ' ') + 1, p->word);
	t->lo = t->hi = (uint64_t)id;
	return 0;
}

int filter_read_vrf(struct filter_parser *p, struct filter_test *t)
{
	return read_name(p, t, p->names->vrf, "a VRF");
}

int filter_read_rule(struct filter_parser *p, struct filter_test *t)
{
	return read_name(p, t, p->names->rule, "a NAT rule");
}

int filter_read_iface(struct filter_parser *p, struct filter_test *t)
{
	return read_name(p, t, p->names->iface, "an interface");
}

/* Decimal, with k, M, G or T for powers of 1000. */
static bool count_parse(const char *s, uint64_t *ret)
{
	static const char units[] = "kMGT";
	uint64_t n = 0, unit = 1;
	const char *u;

	if (!isdigit((unsigned char)*s))
		return false;
	for (; isdigit((unsigned char)*s); s++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	u = *s ? strchr(units, *s == 'K' ? 'k' : *s) : NULL;
	for (const char *i = units; u && i <= u; i++)
		unit *= 1000;
	if (__builtin_mul_overflow(n, unit, &n) || (u ? s[1] : *s))
		return false;
	*ret = n;
	return true;
}

static bool time_parse(const char *s, uint64_t *ret)
{
	uint32_t seconds;

	if (seconds_parse(s, &seconds))
		return false;
	*ret = seconds;
	return true;
}

static bool port_parse(const char *s, uint64_t *ret)
{
	uint32_t port;

	if (u32_parse(s, 0, 65535, &port))
		return false;
	*ret = port;
	return true;
}

/* `N` or `LO-HI`. */
static int read_range(struct filter_parser *p, struct filter_test *t, bool (*parse)(const char *s, uint64_t *ret),
		      const char *what)
{
	char copy[FILTER_WORD], *dash, buf[FILTER_WORD + 2];

	strcpy(copy, p->word);
	dash = strchr(copy, '-');
	if (dash)
		*dash++ = '\0';
	if (!parse(copy, &t->lo) || !parse(dash ? dash : copy, &t->hi))
		return filter_fail(p, "%s, not %s", what, filter_here(p, buf));
	return t->lo > t->hi ? filter_fail(p, "'%s' is a range that ends before it begins", p->word) : 0;
}

int filter_read_port(struct filter_parser *p, struct filter_test *t)
{
	return read_range(p, t, port_parse, "a port in 0..65535 is wanted, or LO-HI");
}

int filter_read_time(struct filter_parser *p, struct filter_test *t)
{
	return read_range(p, t, time_parse, "a time is wanted (90, 90s, 5m, 2h), or LO-HI");
}

int filter_read_count(struct filter_parser *p, struct filter_test *t)
{
	return read_range(p, t, count_parse, "a number is wanted (1500, 10k, 2M, 1G), or LO-HI");
}
