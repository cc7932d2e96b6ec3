/* model_parse.c: a configuration's text into a model: the top level, settings and tables (model.h).
 *
 * Stands between parse.h, which knows the syntax, and the nouns, which know their keys. A model that could not be read in
 * full is not checked as a whole: what is missing from it would only raise errors that are none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "globs.h"
#include "model_priv.h"

/* Limits of the tables: memory that a lookup can still profit from, and what the array-based tables can address. */
#define FRAG_HOLD_MAX	  60 /* what RFC 8200 4.5 gives the rest of a datagram */
#define FLOWS_MAX	  (1u << 24)
#define FDB_MAX		  (1u << 20)
#define NEIGHBORS_MAX	  (1u << 20)
#define ROUTES4_MAX	  (1u << 22)
#define ROUTES6_MAX	  (1u << 22)
#define AGEING_MAX	  1000000 /* 802.1Q 8.8.3 */
#define TIMEOUT_MAX	  2592000
#define ICMP_RATE_MAX	  1000000
#define IDLE_MAX	  86400
#define NEIGHBOR_RATE_MAX 1000000

static void timeouts_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"tcp-established", "tcp-opening", "tcp-transitory", "udp", "icmp", "other"};
	struct settings_cfg *s = &r->m->settings;
	uint32_t *const to[N_OF(keys)] = {
		&s->tcp_established_s, &s->tcp_opening_s, &s->tcp_transitory_s, &s->udp_s, &s->icmp_s, &s->other_s};
	const struct node *v[N_OF(keys)];
	size_t len = read_push(r, ".flow-timeouts");

	if (!read_keys(r, n, keys, N_OF(keys), v)) {
		for (size_t i = 0; i < N_OF(keys); i++)
			if (v[i])
				read_seconds(r, v[i], 1, TIMEOUT_MAX, to[i]);
	}
	read_pop(r, len);
}

static void nat_log_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"file", "syslog"};
	struct settings_cfg *s = &r->m->settings;
	size_t len = read_push(r, ".nat-log");
	const struct node *v[N_OF(keys)];
	const char *path;

	if (!read_keys(r, n, keys, N_OF(keys), v)) {
		path = v[0] ? read_text(r, v[0], "the path of a file") : NULL;
		if (path && (*path != '/' || strlen(path) >= sizeof(s->nat_log_file)))
			bad(r, v[0], "a path from / on, of at most %zu characters", sizeof(s->nat_log_file) - 1);
		else if (path)
			strcpy(s->nat_log_file, path);
		if (v[0])
			s->nat_log_where = read_where(r, v[0]);
		if (v[1])
			read_bool(r, v[1], &s->nat_log_syslog);
	}
	read_pop(r, len);
}

static void nat_fragments_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"held", "time"};
	struct settings_cfg *s = &r->m->settings;
	size_t len = read_push(r, ".nat-fragments");
	const struct node *v[N_OF(keys)];

	if (!read_keys(r, n, keys, N_OF(keys), v)) {
		if (v[0])
			read_u32(r, v[0], 0, FRAG_HELD_MAX, &s->frag_held);
		if (v[1])
			read_seconds(r, v[1], 1, FRAG_HOLD_MAX, &s->frag_hold_s);
	}
	read_pop(r, len);
}

static int host_netdev_read(struct reader *r, const struct node *n, void *arg)
{
	const char *s = read_text(r, n, "the name of a netdev, or a glob"), *problem;
	struct settings_cfg *c = arg;

	if (!s)
		return -EINVAL;
	problem = is_glob(s) ? glob_problem(s) : netdev_name_problem(s);
	if (problem)
		return bad(r, n, "`%.32s`: %s", s, problem);
	if (strlen(s) >= IFNAMSIZ)
		return bad(r, n, "`%.32s`: at most %d characters", s, IFNAMSIZ - 1);
	if (c->n_host_netdevs == HOST_NETDEVS)
		return bad(r, n, "at most %d names and globs", HOST_NETDEVS);
	strcpy(c->host_netdevs[c->n_host_netdevs++], s);
	return 0;
}

static void accounting_read(struct reader *r, const struct node *n)
{
	bool counted;

	if (!read_bool(r, n, &counted))
		r->m->settings.flows_uncounted = !counted;
}

static void settings_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {
		"fdb-ageing", "hash-seed",     "icmp-rate",    "flow-timeouts",	  "neighbor-rate",	   "ecmp-hash",
		"nat-log",    "nat-fragments", "host-netdevs", "ecmp-idle-timer", "ecmp-unbalanced-timer", "flow-accounting"};
	struct settings_cfg *s = &r->m->settings;
	size_t len = read_push(r, "settings");
	const struct node *v[N_OF(keys)];
	int hash = ECMP_L4;

	s->where = read_where(r, n);
	if (!read_keys(r, n, keys, N_OF(keys), v)) {
		if (v[0])
			read_seconds(r, v[0], 1, AGEING_MAX, &s->fdb_ageing_s);
		if (v[1])
			read_u32(r, v[1], 0, UINT32_MAX, &s->hash_seed);
		if (v[2])
			read_u32(r, v[2], 0, ICMP_RATE_MAX, &s->icmp_rate);
		if (v[3])
			timeouts_read(r, v[3]);
		if (v[4])
			read_u32(r, v[4], 0, NEIGHBOR_RATE_MAX, &s->neighbor_rate);
		if (v[5] && !read_word(r, v[5], ecmp_hash_words, ECMP_HASH_WORDS, &hash))
			s->ecmp_hash = (uint8_t)hash;
		if (v[6])
			nat_log_read(r, v[6]);
		if (v[7])
			nat_fragments_read(r, v[7]);
		if (v[8])
			read_list(r, v[8], host_netdev_read, s);
		if (v[9])
			read_seconds(r, v[9], 1, IDLE_MAX, &s->ecmp_idle_s);
		if (v[10])
			read_seconds(r, v[10], 0, TIMEOUT_MAX, &s->ecmp_unbalanced_s);
		if (v[11])
			accounting_read(r, v[11]);
	}
	read_pop(r, len);
}

static void tables_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"flows", "fdb", "neighbors", "routes4", "routes6", "flows6", "half-open"};
	static const uint32_t max[] = {FLOWS_MAX, FDB_MAX, NEIGHBORS_MAX, ROUTES4_MAX, ROUTES6_MAX, FLOWS_MAX, FLOWS_MAX};
	struct settings_cfg *s = &r->m->settings;
	uint32_t *const to[] = {&s->max_flows,	 &s->max_fdb,	 &s->max_neighbors, &s->max_routes4,
				&s->max_routes6, &s->max_flows6, &s->max_half};
	size_t len = read_push(r, "tables");
	const struct node *v[N_OF(keys)];

	if (!read_keys(r, n, keys, N_OF(keys), v)) {
		for (size_t i = 0; i < N_OF(keys); i++) {
			if (!v[i])
				continue;
			s->sizes_where[i] = read_where(r, v[i]);
			read_u32(r, v[i], to[i] == &s->max_half ? 0 : TABLE_MIN, max[i], to[i]);
		}
		if (v[0] && !v[5])
			s->max_flows6 = model_flows6_default(s->max_flows);
	}
	read_pop(r, len);
}

void model_read(struct reader *r, const struct node *root)
{
	const char *keys[2 + N_NOUNS] = {"settings", "tables"};
	const struct node *v[2 + N_NOUNS];

	for (size_t i = 0; i < N_NOUNS; i++)
		keys[2 + i] = nouns[i].key;
	for (size_t i = 0; i < N_OF(r->m->settings.sizes_where); i++)
		r->m->settings.sizes_where[i].file = r->file;
	if (!root || read_keys(r, root, keys, N_OF(keys), v))
		return;
	if (v[0])
		settings_read(r, v[0]);
	if (v[1])
		tables_read(r, v[1]);
	for (size_t i = 0; i < N_NOUNS; i++) {
		size_t before = r->errs ? r->errs->n : 0;

		if (!v[2 + i])
			continue;
		if (nouns[i].name_key)
			read_entries(r, v[2 + i], nouns[i].key, nouns[i].read);
		else
			read_items(r, v[2 + i], nouns[i].key, nouns[i].read);
		items_of_text(r->errs, before, &nouns[i], v[2 + i]);
	}
}

/* The errors from `from` on in the order of the file; those of one line stay as they came. At most a few hundred. */
static void sort_errors(struct errs *errs, size_t from)
{
	struct err e;
	size_t j;

	for (size_t i = from + 1; i < errs->n; i++) {
		e = errs->v[i];
		for (j = i; e.where.line && j > from && errs->v[j - 1].where.line > e.where.line; j--)
			errs->v[j] = errs->v[j - 1];
		errs->v[j] = e;
	}
}

struct model *model_parse(const char *text, size_t len, const char *file, struct errs *errs)
{
	struct reader r = {.file = where_file(file), .lines = true, .errs = errs};
	size_t n_before = errs ? errs->n : 0;
	struct doc *d;

	d = doc_parse(text, len, file, errs);
	if (!d)
		return NULL;
	r.m = model_new();
	if (!r.m)
		read_oom(&r);
	else
		model_read(&r, doc_root(d));
	doc_free(d);
	if (!r.failed && model_link(r.m))
		read_oom(&r);
	if (!r.failed && !model_check(r.m, errs))
		return r.m;
	if (errs)
		sort_errors(errs, n_before);
	model_free(r.m);
	return NULL;
}

static int read_file(const char *path, char **ret, size_t *ret_len)
{
	size_t len = 0, room = 0;
	char *text = NULL, *grown;
	int err = 0;
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!feof(f) && !err) {
		if (len == room) {
			room = room ? room * 2 : 65536;
			grown = realloc(text, room);
			if (!grown) {
				err = -ENOMEM;
				break;
			}
			text = grown;
		}
		len += fread(text + len, 1, room - len, f);
		if (ferror(f))
			err = errno ? -errno : -EIO;
		else if (len > PARSE_TEXT_MAX)
			err = -EFBIG;
	}
	fclose(f);
	if (err) {
		free(text);
		return err;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}

struct model *model_load(const char *path, struct errs *errs)
{
	struct model *m;
	size_t len = 0;
	char *text = NULL;
	int err;

	err = read_file(path, &text, &len);
	if (err) {
		errs_fail(errs, err, "%s: cannot be read: %s", path, strerror(-err));
		return NULL;
	}
	m = model_parse(text, len, path, errs);
	free(text);
	return m;
}
