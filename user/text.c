/* text.c: addresses, prefixes, MACs, numbers and times to text and back (text.h).
 *
 * Stands between what people write (the configuration, the CLI, the API) and the binary forms of abi.h. Strict on purpose:
 * what inet_aton() and strtoul() would guess at (10.1, 010, " 5", "5x", "-1") is refused, not interpreted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "text.h"

static bool is_mapped(const struct addr *a)
{
	return !a->a64[0] && a->a32[2] == htonl(0xffff);
}

bool addr_is_link_local(const struct addr *a)
{
	return a->a8[0] == 0xfe && (a->a8[1] & 0xc0) == 0x80;
}

struct addr addr_v4(__be32 ip)
{
	return (struct addr){.a32 = {0, 0, htonl(0xffff), ip}};
}

uint8_t addr_family(const struct addr *a)
{
	return is_mapped(a) ? 4 : 6;
}

/* An IPv4-mapped address in IPv6 notation is refused: it never stands on a wire (RFC 4291 2.5.5.2), and is IPv4 here. */
int addr_parse(const char *s, struct addr *ret, uint8_t *ret_family)
{
	struct in_addr v4;
	struct addr a;

	if (inet_pton(AF_INET, s, &v4) == 1) {
		*ret = addr_v4(v4.s_addr);
		if (ret_family)
			*ret_family = 4;
		return 0;
	}
	if (inet_pton(AF_INET6, s, &a) != 1 || is_mapped(&a))
		return -EINVAL;
	*ret = a;
	if (ret_family)
		*ret_family = 6;
	return 0;
}

const char *addr_text(const struct addr *a, char buf[ADDR_TEXT])
{
	if (is_mapped(a))
		return inet_ntop(AF_INET, &a->a32[3], buf, ADDR_TEXT);
	return inet_ntop(AF_INET6, a, buf, ADDR_TEXT);
}

unsigned prefix_mapped_len(const struct prefix *p)
{
	return p->family == 4 ? p->len + 96u : p->len;
}

struct prefix prefix_masked(const struct prefix *p)
{
	unsigned len = prefix_mapped_len(p);
	struct prefix ret = *p;

	for (unsigned i = 0; i < 16; i++) {
		if (i * 8 >= len)
			ret.addr.a8[i] = 0;
		else if (i * 8 + 8 > len)
			ret.addr.a8[i] &= 0xff << (8 - len % 8);
	}
	return ret;
}

static bool same_bits(const struct addr *a, const struct addr *b, unsigned len)
{
	unsigned bytes = len / 8, bits = len % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !bits || !((a->a8[bytes] ^ b->a8[bytes]) >> (8 - bits));
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
	return p->family && p->family == addr_family(a) && same_bits(&p->addr, a, prefix_mapped_len(p));
}

bool prefix_filter_holds(const struct prefix_filter *f, const struct prefix *p)
{
	return p->family == f->to.family && p->len >= f->ge && p->len <= f->le && p->len >= f->to.len &&
	       prefix_contains(&f->to, &p->addr);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	unsigned la = prefix_mapped_len(a), lb = prefix_mapped_len(b);

	return a->family && a->family == b->family && same_bits(&a->addr, &b->addr, la < lb ? la : lb);
}

static int default_prefix(uint8_t family, struct prefix *ret)
{
	if (family != 4 && family != 6)
		return -EINVAL;
	*ret = (struct prefix){.family = family};
	if (family == 4)
		ret->addr = addr_v4(0);
	return 0;
}

int prefix_parse(const char *s, uint8_t want_family, bool strict, struct prefix *ret)
{
	const char *slash = strchr(s, '/');
	char text[ADDR_TEXT];
	struct prefix p, m;
	uint32_t len;
	size_t n;

	if (!strcmp(s, "default"))
		return default_prefix(want_family, ret);
	n = slash ? (size_t)(slash - s) : strlen(s);
	if (n >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, n);
	text[n] = '\0';
	memset(&p, 0, sizeof(p));
	if (addr_parse(text, &p.addr, &p.family) || (want_family && want_family != p.family))
		return -EINVAL;
	len = p.family == 4 ? 32 : 128;
	if (slash && u32_parse(slash + 1, 0, len, &len))
		return -EINVAL;
	p.len = len;
	m = prefix_masked(&p);
	if (strict && memcmp(&m.addr, &p.addr, sizeof(m.addr)))
		return -EINVAL;
	*ret = p;
	return 0;
}

const char *prefix_text(const struct prefix *p, char buf[PREFIX_TEXT])
{
	char addr[ADDR_TEXT];

	snprintf(buf, PREFIX_TEXT, "%s/%u", addr_text(&p->addr, addr), p->len);
	return buf;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int mac_parse(const char *s, uint8_t ret[6])
{
	uint8_t mac[6];

	if (strlen(s) != 17)
		return -EINVAL;
	for (int i = 0; i < 6; i++, s += 3) {
		if (hex(s[0]) < 0 || hex(s[1]) < 0 || s[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = hex(s[0]) << 4 | hex(s[1]);
	}
	memcpy(ret, mac, 6);
	return 0;
}

const char *mac_text(const uint8_t mac[6], char buf[MAC_TEXT])
{
	snprintf(buf, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}

/* The decimal digits at *s into *ret, *s moved behind them. A leading zero is refused: YAML 1.1 reads 010 as 8. */
static int digits(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (*p - '0');
		if (v > UINT32_MAX)
			return -EINVAL;
	}
	*s = p;
	*ret = v;
	return 0;
}

const char *proto_text(uint8_t proto, char buf[4])
{
	switch (proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	case IPPROTO_GRE:
		return "gre";
	case IPPROTO_ESP:
		return "esp";
	case IPPROTO_SCTP:
		return "sctp";
	}
	snprintf(buf, 4, "%u", proto);
	return buf;
}

int u32_parse(const char *s, uint32_t min, uint32_t max, uint32_t *ret)
{
	uint64_t v;

	if (digits(&s, &v) || *s || v < min || v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

int family_parse(const char *s, uint8_t *ret)
{
	if (strcmp(s, "4") != 0 && strcmp(s, "6") != 0)
		return -EINVAL;
	*ret = *s == '4' ? 4 : 6;
	return 0;
}

int seconds_parse(const char *s, uint32_t *ret)
{
	uint64_t v;

	if (digits(&s, &v))
		return -EINVAL;
	if (*s == 's')
		s++;
	else if (*s == 'm')
		v *= 60, s++;
	else if (*s == 'h')
		v *= 3600, s++;
	if (*s || v > UINT32_MAX)
		return -EINVAL;
	*ret = v;
	return 0;
}
