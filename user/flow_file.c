/* flow_file.c: records to lines and back, by one table of members. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "flow_file.h"
#include "text.h"

enum member_type { T_U8, T_U16, T_U32, T_U64, T_BOOL, T_ADDR, T_NAME, T_FLAGS, T_HASH };

#define HEADER	(1 << RECORD_HEADER)
#define MAPPING (1 << RECORD_MAPPING)
#define PEER	(1 << RECORD_PEER)
#define FLOW	(1 << RECORD_FLOW)
#define END	(1 << RECORD_END)

static const struct member {
	const char *key;
	enum member_type type;
	unsigned kinds;
	size_t offset, size;
	uint64_t max;
} members[] = {
#define M(key, type, kinds, field, max)                                                                                          \
	{key, type, kinds, offsetof(struct flow_record, field), sizeof(((struct flow_record *)0)->field), max}
	M("version", T_U32, HEADER, version, UINT32_MAX),
	M("saved", T_U64, HEADER, saved_s, INT64_MAX),
	M("proto", T_U8, MAPPING | PEER | FLOW, proto, UINT8_MAX),
	M("vrf", T_NAME, MAPPING | FLOW, vrf, 0),
	M("src", T_ADDR, MAPPING | FLOW, src, 0),
	M("sport", T_U16, MAPPING | FLOW, sport, UINT16_MAX),
	M("dst", T_ADDR, PEER | FLOW, dst, 0),
	M("dport", T_U16, FLOW, dport, UINT16_MAX),
	M("to-src", T_ADDR, MAPPING | PEER | FLOW, to_src, 0),
	M("to-sport", T_U16, MAPPING | PEER | FLOW, to_sport, UINT16_MAX),
	M("to-dst", T_ADDR, FLOW, to_dst, 0),
	M("to-dport", T_U16, FLOW, to_dport, UINT16_MAX),
	M("to-vrf", T_NAME, MAPPING | PEER | FLOW, to_vrf, 0),
	M("rule", T_NAME, MAPPING | FLOW, rule, 0),
	M("pool", T_NAME, MAPPING | FLOW, pool, 0),
	M("remote", T_U32, MAPPING | FLOW, remote, UINT32_MAX),
	M("filtering", T_U8, MAPPING, filtering, NAT_FILTER_INDEPENDENT),
	M("flags", T_FLAGS, FLOW, flags, 0),
	M("shared", T_BOOL, FLOW, shared, 0),
	M("inbound", T_BOOL, FLOW, inbound, 0),
	M("in", T_NAME, FLOW, in, 0),
	M("out", T_NAME, MAPPING | FLOW, out, 0),
	M("seen", T_U8, FLOW, seen, UINT8_MAX),
	M("reply-seen", T_U8, FLOW, reply_seen, UINT8_MAX),
	M("age-ms", T_U64, FLOW, age_ms, INT64_MAX / 1000000),
	M("idle-ms", T_U64, FLOW, idle_ms, INT64_MAX / 1000000),
	M("reply-idle-ms", T_U64, FLOW, reply_idle_ms, INT64_MAX / 1000000),
	M("packets", T_U64, FLOW, packets, INT64_MAX),
	M("bytes", T_U64, FLOW, bytes, INT64_MAX),
	M("reply-packets", T_U64, FLOW, reply_packets, INT64_MAX),
	M("reply-bytes", T_U64, FLOW, reply_bytes, INT64_MAX),
	M("mappings", T_U64, END, mappings, INT64_MAX),
	M("peers", T_U64, END, peers, INT64_MAX),
	M("flows", T_U64, END, flows, INT64_MAX),
	M("check", T_HASH, END, check, 0),
#undef M
};

#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

static const char *const kinds[RECORD_KINDS] = {"header", "mapping", "peer", "flow", "end"};

static const struct {
	const char *word;
	uint16_t flag;
} flag_words[] = {
	{"snat", FLOW_F_SNAT}, {"dnat", FLOW_F_DNAT}, {"track", FLOW_F_TRACK}, {"vrf", FLOW_F_VRF}, {"keep", FLOW_F_KEEP}};

#define N_FLAGS (sizeof(flag_words) / sizeof(flag_words[0]))

uint64_t flow_file_hash(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3ull;
	return hash;
}

const char *flow_file_name(const struct flow_record *r, char buf[FLOW_FILE_NAME])
{
	char a[ADDR_TEXT], b[ADDR_TEXT], number[4], of[16];
	const char *proto = proto_text(r->proto, number);

	if (proto == number) {
		snprintf(of, sizeof(of), "protocol %s", number);
		proto = of;
	}
	switch (r->kind) {
	case RECORD_MAPPING:
		snprintf(buf, FLOW_FILE_NAME, "%s mapping, %s port %u", proto, addr_text(&r->src, a), r->sport);
		break;
	case RECORD_PEER:
		snprintf(buf, FLOW_FILE_NAME, "peer %s of %s port %u", addr_text(&r->dst, a), addr_text(&r->to_src, b),
			 r->to_sport);
		break;
	case RECORD_FLOW:
		snprintf(buf, FLOW_FILE_NAME, "%s flow, %s port %u to %s port %u", proto, addr_text(&r->src, a), r->sport,
			 addr_text(&r->dst, b), r->dport);
		break;
	default:
		snprintf(buf, FLOW_FILE_NAME, "%s", kinds[r->kind]);
	}
	return buf;
}

/* ---- writing */

struct out {
	char *buf;
	size_t len;
};

static void put(struct out *o, const char *text)
{
	for (; *text && o->len < FLOW_FILE_LINE; text++)
		o->buf[o->len++] = *text;
}

static void put_number(struct out *o, uint64_t n)
{
	char digits[24], *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	put(o, at);
}

/* A name may have quotes in it. */
static void put_name(struct out *o, const char *s, size_t size)
{
	char c[3];

	put(o, "\"");
	for (size_t i = 0; i < size && s[i]; i++) {
		snprintf(c, sizeof(c), s[i] == '"' || s[i] == '\\' ? "\\%c" : "%c", s[i]);
		put(o, c);
	}
	put(o, "\"");
}

static void put_flags(struct out *o, uint16_t flags)
{
	const char *comma = "\"";

	put(o, "[");
	for (size_t i = 0; i < N_FLAGS; i++) {
		if (!(flags & flag_words[i].flag))
			continue;
		put(o, comma);
		put(o, flag_words[i].word);
		put(o, "\"");
		comma = ",\"";
	}
	put(o, "]");
}

static void put_value(struct out *o, const struct member *m, const void *at)
{
	char text[ADDR_TEXT];

	switch (m->type) {
	case T_U8:
		put_number(o, *(const uint8_t *)at);
		break;
	case T_U16:
		put_number(o, *(const uint16_t *)at);
		break;
	case T_U32:
		put_number(o, *(const uint32_t *)at);
		break;
	case T_U64:
		put_number(o, *(const uint64_t *)at);
		break;
	case T_HASH:
		snprintf(text, sizeof(text), "\"%016" PRIx64 "\"", *(const uint64_t *)at);
		put(o, text);
		break;
	case T_BOOL:
		put(o, *(const bool *)at ? "true" : "false");
		break;
	case T_ADDR:
		put(o, "\"");
		put(o, addr_text(at, text));
		put(o, "\"");
		break;
	case T_NAME:
		put_name(o, at, m->size);
		break;
	case T_FLAGS:
		put_flags(o, *(const uint16_t *)at);
		break;
	}
}

size_t flow_file_print(const struct flow_record *r, char buf[FLOW_FILE_LINE])
{
	struct out o = {.buf = buf};
	const char *comma = "\"";

	put(&o, "{\"");
	put(&o, kinds[r->kind]);
	put(&o, "\":{");
	for (size_t i = 0; i < N_MEMBERS; i++) {
		if (!(members[i].kinds & 1u << r->kind))
			continue;
		put(&o, comma);
		put(&o, members[i].key);
		put(&o, "\":");
		put_value(&o, &members[i], (const char *)r + members[i].offset);
		comma = ",\"";
	}
	put(&o, "}}\n");
	if (o.len == FLOW_FILE_LINE)
		return 0;
	buf[o.len] = '\0';
	return o.len;
}

/* ---- reading */

struct reading {
	struct where where;
	const struct member *m;
	const char *kind;
	struct errs *errs;
};

static int bad(const struct reading *r, const char *what)
{
	char key[64];

	snprintf(key, sizeof(key), "%s.%s", r->kind, r->m->key);
	return errs_add(r->errs, r->where, key, "%s", what);
}

static int read_number(const struct reading *r, const json_t *v, void *at)
{
	json_int_t n = json_integer_value(v);
	char range[64];

	if (!json_is_integer(v) || n < 0 || (uint64_t)n > r->m->max) {
		snprintf(range, sizeof(range), "is no number in 0..%" PRIu64, r->m->max);
		return bad(r, range);
	}
	switch (r->m->type) {
	case T_U8:
		*(uint8_t *)at = (uint8_t)n;
		break;
	case T_U16:
		*(uint16_t *)at = (uint16_t)n;
		break;
	case T_U32:
		*(uint32_t *)at = (uint32_t)n;
		break;
	default:
		*(uint64_t *)at = (uint64_t)n;
	}
	return 0;
}

static int read_flags(const struct reading *r, const json_t *v, uint16_t *ret)
{
	const json_t *item;
	size_t i, k;

	if (!json_is_array(v))
		return bad(r, "is no list of snat, dnat, track, vrf, keep");
	json_array_foreach (v, i, item) {
		const char *word = json_string_value(item);

		for (k = 0; word && k < N_FLAGS && strcmp(word, flag_words[k].word); k++)
			;
		if (!word || k == N_FLAGS)
			return bad(r, "has another word than snat, dnat, track, vrf, keep");
		*ret |= flag_words[k].flag;
	}
	return 0;
}

static int read_hash(const struct reading *r, const char *s, uint64_t *ret)
{
	if (!s || strlen(s) != 16 || strspn(s, "0123456789abcdef") != 16)
		return bad(r, "is no hash of 16 digits");
	sscanf(s, "%" SCNx64, ret);
	return 0;
}

/* What would speak to the terminal that an error is printed on. */
static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

static int read_value(const struct reading *r, const json_t *v, void *at)
{
	const char *s = json_string_value(v);
	uint8_t family;

	switch (r->m->type) {
	case T_U8:
	case T_U16:
	case T_U32:
	case T_U64:
		return read_number(r, v, at);
	case T_BOOL:
		*(bool *)at = json_is_true(v);
		return json_is_boolean(v) ? 0 : bad(r, "is neither true nor false");
	case T_ADDR:
		return s && !addr_parse(s, at, &family) ? 0 : bad(r, "is no address");
	case T_NAME:
		if (!s || strlen(s) >= r->m->size || has_control(s))
			return bad(r, "is no name, or too long a one");
		strcpy(at, s);
		return 0;
	case T_FLAGS:
		return read_flags(r, v, at);
	case T_HASH:
		return read_hash(r, s, at);
	}
	return -EINVAL;
}

/* What is between the members. */
static int check(const struct flow_record *r, struct where where, struct errs *errs)
{
	uint8_t family = addr_family(&r->to_src);

	if (r->kind == RECORD_HEADER && (!r->version || r->version > FLOW_FILE_VERSION))
		return errs_add(errs, where, "header.version", "%u: this sluice reads versions 1 to %d", r->version,
				FLOW_FILE_VERSION);
	if (r->kind == RECORD_MAPPING && addr_family(&r->src) != family)
		return errs_add(errs, where, "mapping", "has addresses of two families");
	if (r->kind == RECORD_PEER && addr_family(&r->dst) != family)
		return errs_add(errs, where, "peer", "has addresses of two families");
	if (r->kind != RECORD_FLOW)
		return 0;
	if (addr_family(&r->src) != family || addr_family(&r->dst) != family || addr_family(&r->to_dst) != family)
		return errs_add(errs, where, "flow", "has addresses of two families");
	if (!(r->flags & (FLOW_F_SNAT | FLOW_F_DNAT | FLOW_F_TRACK)))
		return errs_add(errs, where, "flow.flags", "none of snat, dnat, track");
	if (r->flags & FLOW_F_TRACK &&
	    (memcmp(&r->src, &r->to_src, sizeof(r->src)) || memcmp(&r->dst, &r->to_dst, sizeof(r->dst)) ||
	     r->sport != r->to_sport || r->dport != r->to_dport))
		return errs_add(errs, where, "flow.flags", "track, and yet it is translated");
	return 0;
}

static int read_members(const char *kind, json_t *o, struct where where, struct flow_record *ret, struct errs *errs)
{
	struct reading r = {.where = where, .kind = kind, .errs = errs};
	size_t known = 0;
	int err;

	for (size_t i = 0; i < N_MEMBERS; i++) {
		const json_t *v;

		if (!(members[i].kinds & 1u << ret->kind))
			continue;
		r.m = &members[i];
		v = json_object_get(o, members[i].key);
		if (!v)
			return bad(&r, "is missing");
		known++;
		err = read_value(&r, v, (char *)ret + members[i].offset);
		if (err)
			return err;
	}
	if (json_object_size(o) != known)
		return errs_add(errs, where, kind, "has members that nobody knows");
	return check(ret, where, errs);
}

int flow_file_parse(const char *line, size_t len, struct where where, struct flow_record *ret, struct errs *errs)
{
	json_error_t why;
	json_t *root;
	int err;

	memset(ret, 0, sizeof(*ret));
	if (len >= FLOW_FILE_LINE)
		return errs_add(errs, where, NULL, "the line has more than %d bytes", FLOW_FILE_LINE - 1);
	root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return errs_add(errs, where, NULL, "is no JSON%s%s", has_control(why.text) ? "" : ": ",
				has_control(why.text) ? "" : why.text);
	for (int k = 0; k < RECORD_KINDS; k++) {
		json_t *o = json_object_get(root, kinds[k]);

		if (!json_is_object(o) || json_object_size(root) != 1)
			continue;
		ret->kind = (enum flow_record_kind)k;
		err = read_members(kinds[k], o, where, ret, errs);
		json_decref(root);
		return err;
	}
	json_decref(root);
	return errs_add(errs, where, NULL,
			"is none of {\"header\": {…}}, {\"mapping\": {…}}, {\"peer\": {…}}, {\"flow\": {…}}, {\"end\": {…}}");
}

/* ---- a whole file */

int flow_file_check_line(struct flow_file_check *c, const char *line, size_t len, struct errs *errs)
{
	struct where where = {c->name, ++c->line};
	struct flow_record r;
	int err;

	if (c->ended)
		return errs_add(errs, where, NULL, "there is something behind the end");
	if (c->trusted && c->begun && strncmp(line, "{\"end\"", 6)) {
		c->hash = flow_file_hash(flow_file_hash(c->hash, line, len), "\n", 1);
		c->n[line[2] == 'm' ? RECORD_MAPPING : line[2] == 'p' ? RECORD_PEER : RECORD_FLOW]++;
		return 0;
	}
	err = flow_file_parse(line, len, where, &r, errs);
	if (err)
		return err;
	if (!c->begun && r.kind != RECORD_HEADER)
		return errs_add(errs, where, NULL, "is no header: this is no file of `sluice flow save`");
	if (c->begun && (r.kind == RECORD_HEADER || r.kind < c->last))
		return errs_add(errs, where, NULL, "is out of order: header, mappings, peers, flows, end");
	c->hash = flow_file_hash(c->begun ? c->hash : FLOW_FILE_HASH, r.kind == RECORD_END ? "" : line,
				 r.kind == RECORD_END ? 0 : len);
	if (r.kind == RECORD_END && r.check != c->hash)
		return errs_add(errs, where, "end.check", "the file was changed, or is damaged");
	if (r.kind == RECORD_END &&
	    (r.mappings != c->n[RECORD_MAPPING] || r.peers != c->n[RECORD_PEER] || r.flows != c->n[RECORD_FLOW]))
		return errs_add(errs, where, "end", "says another number of lines than there are");
	if (r.kind != RECORD_END)
		c->hash = flow_file_hash(c->hash, "\n", 1);
	c->begun = true;
	c->ended = r.kind == RECORD_END;
	c->last = r.kind;
	c->n[r.kind]++;
	return 0;
}

int flow_file_check_end(struct flow_file_check *c, struct errs *errs)
{
	struct where where = {c->name, c->line};

	if (!c->begun)
		return errs_add(errs, where, NULL, "is empty");
	return c->ended ? 0 : errs_add(errs, where, NULL, "is cut off: its end is missing");
}
