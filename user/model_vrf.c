/* model_vrf.c: VRFs, the kernel's tables that belong to them, and what they import from one another: reading, checking, JSON.
 *
 * Stands between the tree of parse.h and struct vrf_cfg. A prefix of an import reads like an entry of a router's prefix list:
 * "10.0.0.0/8" is that prefix alone, "10.0.0.0/8 le 24" also what lies within it up to a length of 24, "ge 16" from that length
 * on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

#define TABLE_DEFAULT 253
#define TABLE_LOCAL   255

void vrf_make_default(struct vrf_cfg *c)
{
	*c = (struct vrf_cfg){.tables = {TABLE_MAIN}, .n_tables = 1};
	strcpy(c->name, VRF_DEFAULT);
}

bool vrf_is_plain(const struct vrf_cfg *c)
{
	return !strcmp(c->name, VRF_DEFAULT) && c->n_tables == 1 && c->tables[0] == TABLE_MAIN && !c->n_imports;
}

/* ---- reading */

struct reading {
	struct vrf_cfg *vrf;
	struct import_cfg *import;
};

static int table_read(struct reader *r, const struct node *n, void *arg)
{
	struct vrf_cfg *c = arg;
	bool is_default = !strcmp(c->name, VRF_DEFAULT);
	uint32_t table;

	if (read_u32(r, n, 1, UINT32_MAX, &table))
		return -EINVAL;
	if (table == TABLE_DEFAULT || table == TABLE_LOCAL || (table == TABLE_MAIN && !is_default))
		return bad(r, n, "the kernel's tables 253 (default), 254 (main) and 255 (local) are of the VRF `default`");
	for (size_t i = 0; i < c->n_tables; i++)
		if (c->tables[i] == table)
			return bad(r, n, "table %u is listed twice", table);
	if (c->n_tables == VRF_TABLES)
		return bad(r, n, "a VRF has at most %d tables", VRF_TABLES);
	c->tables[c->n_tables++] = table;
	return 0;
}

/* Main is always a table of `default`: the last one, as under `ip rule`, unless the list gives it another place. */
static void tables_read(struct reader *r, const struct node *n, struct vrf_cfg *c)
{
	bool is_default = !strcmp(c->name, VRF_DEFAULT), main_listed = false;

	c->n_tables = 0;
	if (read_list(r, n, table_read, c))
		return;
	for (size_t i = 0; i < c->n_tables; i++)
		main_listed |= c->tables[i] == TABLE_MAIN;
	if (!is_default || main_listed)
		return;
	if (c->n_tables == VRF_TABLES)
		bad(r, n, "a VRF has at most %d tables, and `default` has main, too", VRF_TABLES);
	else
		c->tables[c->n_tables++] = TABLE_MAIN;
}

static int prefix_problem(struct reader *r, const struct node *n)
{
	return bad(r, n, "`%.60s` is no prefix as 10.0.0.0/8, 10.0.0.0/8 le 24, 10.0.0.0/8 ge 16 le 24, deny 10.1.0.0/16",
		   n->text);
}

/* "ge N" or "le N" */
static int bound_read(char *word, char *number, uint8_t max, struct prefix_filter *p)
{
	uint8_t *to = !strcmp(word, "ge") ? &p->ge : !strcmp(word, "le") ? &p->le : NULL;
	uint32_t len;

	if (!to || !number || u32_parse(number, 0, max, &len))
		return -EINVAL;
	*to = (uint8_t)len;
	return 0;
}

static int import_prefix_parse(char *text, struct prefix_filter *p)
{
	char *save, *word = strtok_r(text, " ", &save);
	bool has_ge = false, has_le = false;
	uint8_t max;

	if (word && (!strcmp(word, "deny") || !strcmp(word, "permit"))) {
		p->deny = *word == 'd';
		word = strtok_r(NULL, " ", &save);
	}
	if (!word || prefix_parse(word, 0, true, &p->to))
		return -EINVAL;
	max = p->to.family == 4 ? 32 : 128;
	p->ge = p->le = p->to.len;
	while ((word = strtok_r(NULL, " ", &save))) {
		if (!strcmp(word, "ge") ? has_ge : has_le)
			return -EINVAL;
		if (bound_read(word, strtok_r(NULL, " ", &save), max, p))
			return -EINVAL;
		has_ge |= *word == 'g';
		has_le |= *word == 'l';
	}
	if (has_ge && !has_le)
		p->le = max;
	return p->to.len <= p->ge && p->ge <= p->le ? 0 : -ERANGE;
}

static int prefix_read(struct reader *r, const struct node *n, void *arg)
{
	struct reading *g = arg;
	struct prefix_filter *p;
	const char *text = read_text(r, n, "a prefix");
	char copy[128];
	int err;

	if (!text)
		return -EINVAL;
	p = list_add(&g->vrf->prefixes, &g->vrf->n_prefixes, sizeof(*p));
	if (!p)
		return read_oom(r);
	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return prefix_problem(r, n);
	err = import_prefix_parse(copy, p);
	if (err == -ERANGE)
		return bad(r, n, "`%.60s`: the lengths must ascend: that of the prefix, ge, le", text);
	g->import->n++;
	return err ? prefix_problem(r, n) : 0;
}

/* VRF, or {vrf, prefixes}. */
static int import_read(struct reader *r, const struct node *n, void *arg)
{
	static const char *const keys[] = {"vrf", "prefixes"};
	const struct node *v[N_OF(keys)] = {n, NULL};
	struct reading g = {.vrf = arg};
	size_t len;
	int err = 0;

	g.import = list_add(&g.vrf->imports, &g.vrf->n_imports, sizeof(*g.import));
	if (!g.import)
		return read_oom(r);
	g.import->first = (uint32_t)g.vrf->n_prefixes;
	if (n->kind == NODE_SCALAR)
		return read_label(r, n, g.import->vrf);
	len = read_push(r, "%s", n->key ? ".import" : "");
	err = read_keys(r, n, keys, N_OF(keys), v);
	if (!err && !read_required(r, n, v[0], "vrf", "the VRF whose routes are imported") && v[0])
		err = read_label(r, v[0], g.import->vrf);
	if (!err && v[1])
		err = read_list(r, v[1], prefix_read, &g);
	if (!err && v[1] && !g.import->n)
		err = bad(r, v[1], "no prefix is listed, so nothing would be imported: leave `prefixes` out to import all");
	read_pop(r, len);
	return err;
}

void vrf_read(struct reader *r, const struct node *n)
{
	static const char *const keys[] = {"table", "import"};
	const struct node *v[N_OF(keys)];
	struct vrf_cfg *c;

	if (!strcmp(n->key->text, VRF_DEFAULT)) {
		c = &r->m->vrfs[0];
	} else {
		c = list_add(&r->m->vrfs, &r->m->n_vrfs, sizeof(*c));
		if (!c) {
			read_oom(r);
			return;
		}
		read_label(r, n->key, c->name);
	}
	c->where = read_where(r, n);
	if (read_keys(r, n, keys, N_OF(keys), v))
		return;
	if (v[0])
		tables_read(r, v[0], c);
	if (v[1])
		read_list(r, v[1], import_read, c);
}

/* ---- checks */

static void imports_check(struct checker *c, const struct vrf_cfg *vrf, const char *key)
{
	char where[80];

	snprintf(where, sizeof(where), "%s.import", key);
	for (size_t i = 0; i < vrf->n_imports; i++) {
		const char *from = vrf->imports[i].vrf;

		if (!strcmp(from, vrf->name))
			check_bad(c, vrf->where, where, "a VRF has its own routes already: another VRF is wanted");
		else
			check_vrf(c, vrf->where, where, from);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(from, vrf->imports[j].vrf))
				check_bad(c, vrf->where, where, "VRF `%s` is listed twice: put the prefixes into one list", from);
	}
}

static uint32_t table_of_both(const struct vrf_cfg *a, const struct vrf_cfg *b)
{
	for (size_t i = 0; i < a->n_tables; i++)
		for (size_t j = 0; j < b->n_tables; j++)
			if (a->tables[i] == b->tables[j])
				return a->tables[i];
	return 0;
}

void vrf_check(struct checker *c)
{
	const struct model *m = c->m;
	char key[64], line[LINE_TEXT];

	if (m->n_vrfs > VRF_MAX) {
		check_bad(c, m->vrfs[VRF_MAX].where, "vrfs", "%zu VRFs besides `default`, and room for %d", m->n_vrfs - 1,
			  VRF_MAX - 1);
		return;
	}
	for (size_t i = 0; i < m->n_vrfs; i++) {
		const struct vrf_cfg *a = &m->vrfs[i];

		snprintf(key, sizeof(key), "vrfs.%s", a->name);
		imports_check(c, a, key);
		for (size_t j = 0; j < i; j++) {
			const struct vrf_cfg *b = &m->vrfs[j];
			uint32_t table = table_of_both(a, b);

			if (!strcmp(a->name, b->name))
				check_bad(c, a->where, key, "the same VRF is listed twice%s", line_text(b->where, line));
			else if (table)
				check_bad(c, a->where, key, "the kernel's table %u is VRF `%s`'s%s", table, b->name,
					  line_text(b->where, line));
		}
	}
}

/* ---- JSON */

static json_t *prefix_json(const struct prefix_filter *p)
{
	char text[PREFIX_TEXT], ge[16] = "", le[16] = "", whole[PREFIX_TEXT + 40];
	uint8_t max = p->to.family == 4 ? 32 : 128;

	if (p->ge != p->to.len)
		snprintf(ge, sizeof(ge), " ge %u", p->ge);
	if (p->le != (*ge ? max : p->to.len))
		snprintf(le, sizeof(le), " le %u", p->le);
	snprintf(whole, sizeof(whole), "%s%s%s%s", p->deny ? "deny " : "", prefix_text(&p->to, text), ge, le);
	return json_string(whole);
}

static json_t *import_json(const struct vrf_cfg *c, const struct import_cfg *i)
{
	json_t *o = json_object(), *list = json_array();

	json_put_text(o, "vrf", i->vrf);
	for (uint32_t k = i->first; k < i->first + i->n; k++)
		json_array_append_new(list, prefix_json(&c->prefixes[k]));
	if (i->n)
		json_object_set(o, "prefixes", list);
	json_decref(list);
	return o;
}

json_t *model_vrf_imports(const struct vrf_cfg *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n_imports; i++)
		json_array_append_new(list, import_json(c, &c->imports[i]));
	return list;
}

json_t *vrf_json(const void *item)
{
	const struct vrf_cfg *c = item;
	json_t *o = json_object(), *list = json_array();

	for (size_t i = 0; i < c->n_tables; i++)
		json_array_append_new(list, json_integer(c->tables[i]));
	if (c->n_tables == 1 && c->tables[0] != TABLE_MAIN)
		json_put_number(o, "table", c->tables[0]);
	else if (c->n_tables > 1)
		json_object_set(o, "table", list);
	json_decref(list);
	list = json_array();
	for (size_t i = 0; i < c->n_imports; i++)
		json_array_append_new(list, c->imports[i].n ? import_json(c, &c->imports[i]) : json_string(c->imports[i].vrf));
	if (c->n_imports)
		json_object_set(o, "import", list);
	json_decref(list);
	return o;
}
