/* model_read.c: the means of reading a tree of nodes into typed fields, with errors that name line, key and what is allowed.
 *
 * Stands between parse.h and the nouns (model_port.c …). An error never stops the reading of other values, so that one run
 * shows all of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "globs.h"
#include "model_priv.h"

struct where read_where(const struct reader *r, const struct node *n)
{
	if (n->key)
		n = n->key;
	return (struct where){r->file, r->lines ? n->line : 0};
}

size_t read_push(struct reader *r, const char *fmt, ...)
{
	size_t len = r->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->path + len, sizeof(r->path) - len, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	r->len += n;
	if (r->len > sizeof(r->path) - 1)
		r->len = sizeof(r->path) - 1;
	return len;
}

void read_pop(struct reader *r, size_t len)
{
	r->len = len;
	r->path[len] = '\0';
}

static size_t push_key(struct reader *r, const struct node *n)
{
	return n->key ? read_push(r, "%s%.40s", r->len ? "." : "", n->key->text) : r->len;
}

static int vbad(struct reader *r, const struct node *n, const char *fmt, va_list ap)
{
	char *text;

	r->failed = true;
	if (vasprintf(&text, fmt, ap) < 0)
		return errs_fail(r->errs, ENOMEM, "out of memory");
	errs_add(r->errs, (struct where){r->file, r->lines ? n->line : 0}, r->path, "%s", text);
	free(text);
	return -EINVAL;
}

int bad_item(struct reader *r, const struct node *n, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = vbad(r, n->key ?: n, fmt, ap);
	va_end(ap);
	return err;
}

int bad(struct reader *r, const struct node *n, const char *fmt, ...)
{
	size_t len = push_key(r, n);
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = vbad(r, n, fmt, ap);
	va_end(ap);
	read_pop(r, len);
	return err;
}

int read_oom(struct reader *r)
{
	r->failed = true;
	return errs_fail(r->errs, ENOMEM, "out of memory");
}

#define WORD_MAX 32

/* The number of mistakes between two words: a letter too many, missing, wrong, or two in the wrong order. 99: too long. */
static unsigned mistakes(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned d[WORD_MAX + 1][WORD_MAX + 1], v;

	if (la > WORD_MAX || lb > WORD_MAX)
		return 99;
	for (size_t i = 0; i <= la; i++) {
		for (size_t j = 0; j <= lb; j++) {
			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			v = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < v)
				v = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < v)
				v = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < v)
				v = d[i - 2][j - 2] + 1;
			d[i][j] = v;
		}
	}
	return d[la][lb];
}

/* The word that was probably meant: one that begins so, or one with at most a third of its letters wrong. NULL: none. */
static const char *nearest(const char *s, const char *const *words, size_t n)
{
	unsigned best = strlen(s) < 6 ? 1 : strlen(s) / 3, d;
	const char *ret = NULL;

	for (size_t i = 0; i < n; i++)
		if (strlen(s) > 1 && !strncmp(s, words[i], strlen(s)))
			return words[i];
	for (size_t i = 0; i < n; i++) {
		d = mistakes(s, words[i]);
		if (d <= best && !(ret && d == best)) {
			best = d;
			ret = words[i];
		}
	}
	return ret;
}

static void join(const char *const *words, size_t n, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && len < size; i++)
		len += snprintf(buf + len, size - len, "%s%s", i ? ", " : "", words[i]);
}

static void unknown_key(struct reader *r, const struct node *n, const char *const *keys, size_t n_keys)
{
	const char *near = nearest(n->key->text, keys, n_keys);
	char allowed[256];
	struct node at = {.key = n->key, .line = n->key->line};

	join(keys, n_keys, allowed, sizeof(allowed));
	if (!strcmp(n->key->text, "<<"))
		bad(r, &at, "merge keys (<<) are not taken: name every key");
	else if (near)
		bad(r, &at, "unknown key, did you mean `%s`? Allowed are: %s", near, allowed);
	else
		bad(r, &at, "unknown key. Allowed are: %s", allowed);
}

/* Whether the value stands under a key that stood there before; says so. */
static bool doubled(struct reader *r, const struct node *n)
{
	struct node at = {.key = n->key, .line = n->key->line};

	if (!n->dup_of)
		return false;
	if (r->lines)
		bad(r, &at, "given twice: in line %d and in line %d", n->dup_of->key->line, n->key->line);
	else
		bad(r, &at, "given twice");
	return true;
}

static int want_kind(struct reader *r, const struct node *n, enum node_kind kind)
{
	char show[SHOW_TEXT];

	if (n->kind == kind)
		return 0;
	return bad_item(r, n, "%s is wanted here, not %s", kind == NODE_MAP ? "a mapping (key: value)" : "a list",
			show_node(n, show));
}

int read_keys(struct reader *r, const struct node *n, const char *const *keys, size_t n_keys, const struct node **ret)
{
	for (size_t i = 0; i < n_keys; i++)
		ret[i] = NULL;
	if (node_is_null(n))
		return 0;
	if (want_kind(r, n, NODE_MAP))
		return -EINVAL;
	for (const struct node *v = n->first; v; v = v->next) {
		size_t i = 0;

		while (i < n_keys && strcmp(keys[i], v->key->text))
			i++;
		if (i == n_keys)
			unknown_key(r, v, keys, n_keys);
		else if (!doubled(r, v) && !node_is_null(v))
			ret[i] = v;
	}
	return 0;
}

void read_entries(struct reader *r, const struct node *n, const char *name, void (*fn)(struct reader *, const struct node *))
{
	size_t len = read_push(r, "%s%s", r->len ? "." : "", name), inner;

	if (!want_kind(r, n, NODE_MAP)) {
		for (const struct node *v = n->first; v; v = v->next) {
			if (doubled(r, v))
				continue;
			inner = push_key(r, v);
			fn(r, v);
			read_pop(r, inner);
		}
	}
	read_pop(r, len);
}

void read_items(struct reader *r, const struct node *n, const char *name, void (*fn)(struct reader *, const struct node *))
{
	size_t len = read_push(r, "%s%s", r->len ? "." : "", name), inner, i = 0;

	if (!want_kind(r, n, NODE_LIST)) {
		for (const struct node *v = n->first; v; v = v->next) {
			inner = read_push(r, "[%zu]", i++);
			fn(r, v);
			read_pop(r, inner);
		}
	}
	read_pop(r, len);
}

int read_list(struct reader *r, const struct node *n, int (*fn)(struct reader *, const struct node *, void *), void *arg)
{
	size_t len, inner, i = 0;
	int err = 0, one;

	if (n->kind != NODE_LIST)
		return fn(r, n, arg);
	len = push_key(r, n);
	for (const struct node *v = n->first; v; v = v->next) {
		inner = read_push(r, "[%zu]", i++);
		one = fn(r, v, arg);
		err = err ?: one;
		read_pop(r, inner);
	}
	read_pop(r, len);
	return err;
}

int read_required(struct reader *r, const struct node *item, const struct node *value, const char *key, const char *what)
{
	if (value || r->partial)
		return 0;
	return bad_item(r, item, "`%s` is missing: %s", key, what);
}

const char *read_text(struct reader *r, const struct node *n, const char *what)
{
	char show[SHOW_TEXT];

	if (n->kind == NODE_SCALAR && !node_is_null(n))
		return n->text;
	bad(r, n, "%s is wanted, not %s", what, show_node(n, show));
	return NULL;
}

static bool is_integer(const char *s)
{
	s += *s == '-';
	if (*s == '0' && s[1])
		return false;
	return *s && strspn(s, "0123456789") == strlen(s);
}

int read_u32(struct reader *r, const struct node *n, uint32_t min, uint32_t max, uint32_t *ret)
{
	char show[SHOW_TEXT];
	const char *s;

	s = read_text(r, n, "a number");
	if (!s)
		return -EINVAL;
	if (!u32_parse(s, min, max, ret))
		return 0;
	if (is_integer(s))
		return bad(r, n, "%.20s is not in %u..%u", s, min, max);
	return bad(r, n, "%s is not a decimal number (%u..%u)", show_text(s, show), min, max);
}

int read_seconds(struct reader *r, const struct node *n, uint32_t min, uint32_t max, uint32_t *ret)
{
	char show[SHOW_TEXT];
	const char *s;
	uint32_t v;

	s = read_text(r, n, "a time");
	if (!s)
		return -EINVAL;
	if (seconds_parse(s, &v))
		return bad(r, n, "%s is not a time: write seconds (300 or 300s), minutes (5m) or hours (2h)", show_text(s, show));
	if (v < min || v > max)
		return bad(r, n, "%u seconds is not in %u..%u", v, min, max);
	*ret = v;
	return 0;
}

int read_bool(struct reader *r, const struct node *n, bool *ret)
{
	char show[SHOW_TEXT];
	const char *s;

	s = read_text(r, n, "true or false");
	if (!s)
		return -EINVAL;
	if (!strcasecmp(s, "true"))
		*ret = true;
	else if (!strcasecmp(s, "false"))
		*ret = false;
	else
		return bad(r, n, "%s is neither true nor false", show_text(s, show));
	return 0;
}

int read_word(struct reader *r, const struct node *n, const struct word *words, size_t n_words, int *ret)
{
	char show[SHOW_TEXT], allowed[160];
	const char *texts[16] = {NULL}, *s, *near;

	for (size_t i = 0; i < n_words; i++)
		texts[i] = words[i].text;
	join(texts, n_words, allowed, sizeof(allowed));
	if (n->kind != NODE_SCALAR)
		return bad(r, n, "%s where one word is wanted: %s", show_node(n, show), allowed);
	s = n->text;
	for (size_t i = 0; i < n_words; i++) {
		if (!strcasecmp(s, words[i].text)) {
			*ret = words[i].value;
			return 0;
		}
	}
	near = nearest(s, texts, n_words);
	if (near)
		return bad(r, n, "%s is not known, did you mean `%s`? Allowed are: %s", show_text(s, show), near, allowed);
	return bad(r, n, "%s is not known. Allowed are: %s", show_text(s, show), allowed);
}

int read_vlan_text(struct reader *r, const struct node *n, const char *text, uint16_t *ret)
{
	char show[SHOW_TEXT];
	uint32_t v;

	if (!u32_parse(text, 1, 4094, &v)) {
		*ret = v;
		return 0;
	}
	if (is_integer(text))
		return bad(r, n, "VLAN %.20s is not in 1..4094", text);
	return bad(r, n, "%s is not a VLAN (1..4094)", show_text(text, show));
}

int read_vlan(struct reader *r, const struct node *n, uint16_t *ret)
{
	const char *s = read_text(r, n, "one VLAN (1..4094)");

	return s ? read_vlan_text(r, n, s, ret) : -EINVAL;
}

int read_addr(struct reader *r, const struct node *n, struct addr *ret, uint8_t *ret_family)
{
	char show[SHOW_TEXT];
	const char *s, *problem;
	struct addr a;
	uint8_t family;

	s = read_text(r, n, "an address");
	if (!s)
		return -EINVAL;
	if (addr_parse(s, &a, &family))
		return bad(r, n, "%s is not an IPv4 or IPv6 address", show_text(s, show));
	problem = host_problem(&a);
	if (problem)
		return bad(r, n, "%s %s", s, problem);
	*ret = a;
	*ret_family = family;
	return 0;
}

int read_prefix(struct reader *r, const struct node *n, struct prefix *ret)
{
	char show[SHOW_TEXT], text[PREFIX_TEXT];
	struct prefix p;
	const char *s;

	s = read_text(r, n, "a prefix");
	if (!s)
		return -EINVAL;
	if (!prefix_parse(s, 0, true, ret))
		return 0;
	if (prefix_parse(s, 0, false, &p))
		return bad(r, n, "%s is not a prefix such as 10.0.0.0/8 or fd00::/8", show_text(s, show));
	p = prefix_masked(&p);
	return bad(r, n, "%s has bits set behind its length: did you mean %s?", s, prefix_text(&p, text));
}

int read_mac(struct reader *r, const struct node *n, uint8_t ret[6])
{
	static const uint8_t zero[6];
	char show[SHOW_TEXT];
	const char *s;
	uint8_t mac[6];

	s = read_text(r, n, "a MAC address");
	if (!s)
		return -EINVAL;
	if (mac_parse(s, mac))
		return bad(r, n, "%s is not a MAC address such as 02:00:00:00:00:01", show_text(s, show));
	if (mac[0] & 1)
		return bad(r, n, "%s is a multicast MAC address: one station's is wanted", s);
	if (!memcmp(mac, zero, 6))
		return bad(r, n, "a MAC address of zeroes belongs to no station");
	memcpy(ret, mac, 6);
	return 0;
}

int read_netdev(struct reader *r, const struct node *n, char ret[IFNAMSIZ])
{
	const char *s, *problem;
	char show[SHOW_TEXT];

	s = read_text(r, n, "a name");
	if (!s)
		return -EINVAL;
	problem = netdev_name_problem(s);
	if (problem)
		return bad(r, n, "%s: %s", show_text(s, show), problem);
	strcpy(ret, s);
	return 0;
}

int read_label(struct reader *r, const struct node *n, char ret[SLUICE_LABEL])
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/:@+";
	char show[SHOW_TEXT];
	const char *s;

	s = read_text(r, n, "a name");
	if (!s)
		return -EINVAL;
	if (!*s || strlen(s) >= SLUICE_LABEL || strspn(s, allowed) != strlen(s))
		return bad(r, n, "%s is not a name: 1 to %d letters, digits and . _ - / : @ +", show_text(s, show),
			   SLUICE_LABEL - 1);
	strcpy(ret, s);
	return 0;
}

int read_vrf(struct reader *r, const struct node *n, char ret[SLUICE_LABEL])
{
	strcpy(ret, VRF_DEFAULT);
	return n ? read_label(r, n, ret) : 0;
}

/* RFC 1122 3.2.1.3 and RFC 4291 2.4: addresses that no host on a wire has. */
const char *host_problem(const struct addr *a)
{
	static const struct addr any6, one6 = {.a8 = {[15] = 1}};
	uint32_t v4 = ntohl(a->a32[3]);

	if (addr_family(a) == 6) {
		if (!memcmp(a, &any6, sizeof(any6)))
			return "is the unspecified address: one host's is wanted";
		if (!memcmp(a, &one6, sizeof(one6)))
			return "is the loopback address: it never leaves a host";
		return a->a8[0] == 0xff ? "is a multicast address: one host's is wanted" : NULL;
	}
	if (!(v4 >> 24))
		return "is in 0.0.0.0/8, \"this network\": one host's address is wanted";
	if (v4 >> 24 == 127)
		return "is a loopback address: it never leaves a host";
	if (v4 >> 28 == 14)
		return "is a multicast address: one host's is wanted";
	return v4 == UINT32_MAX ? "is the broadcast address: one host's is wanted" : NULL;
}
