/* model_json.c: a model in the schema of the file, as JSON and as YAML text (model.h).
 *
 * Stands between the nouns' JSON and those who show or keep a configuration. What is written here and read again gives an
 * equal model.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "model_priv.h"

const char *word_text(const struct word *words, size_t n_words, int value)
{
	for (size_t i = 0; i < n_words; i++)
		if (words[i].value == value)
			return words[i].text;
	return NULL;
}

void json_put_text(json_t *o, const char *key, const char *value)
{
	if (value && *value)
		json_object_set_new(o, key, json_string(value));
}

void json_put_number(json_t *o, const char *key, json_int_t value)
{
	json_object_set_new(o, key, json_integer(value));
}

struct number {
	const char *key;
	uint32_t value, unset;
};

static json_t *numbers_json(const struct number *v, size_t n, bool with_defaults)
{
	json_t *o = json_object();

	for (size_t i = 0; i < n; i++)
		if (with_defaults || v[i].value != v[i].unset)
			json_put_number(o, v[i].key, v[i].value);
	return o;
}

const struct word ecmp_hash_words[ECMP_HASH_WORDS] = {
	{"l4", ECMP_L4}, {"l3", ECMP_L3}, {"symmetric", ECMP_SYMMETRIC}, {"inner", ECMP_INNER}};

const char *model_ecmp_hash_name(uint32_t policy)
{
	return word_text(ecmp_hash_words, ECMP_HASH_WORDS, (int)policy);
}

json_t *settings_json(const struct settings_cfg *s, bool with_defaults)
{
	struct model *m = model_new();
	const struct settings_cfg *d = m ? &m->settings : s;
	const struct number plain[] = {{"fdb-ageing", s->fdb_ageing_s, d->fdb_ageing_s},
				       {"hash-seed", s->hash_seed, d->hash_seed},
				       {"icmp-rate", s->icmp_rate, d->icmp_rate},
				       {"neighbor-rate", s->neighbor_rate, d->neighbor_rate},
				       {"ecmp-idle-timer", s->ecmp_idle_s, d->ecmp_idle_s},
				       {"ecmp-unbalanced-timer", s->ecmp_unbalanced_s, d->ecmp_unbalanced_s}};
	const struct number timeouts[] = {{"tcp-established", s->tcp_established_s, d->tcp_established_s},
					  {"tcp-opening",
					   s->tcp_opening_s
						   ?: with_defaults ? s->tcp_transitory_s
								    : 0,
					   0},
					  {"tcp-transitory", s->tcp_transitory_s, d->tcp_transitory_s},
					  {"udp", s->udp_s, d->udp_s},
					  {"icmp", s->icmp_s, d->icmp_s},
					  {"other", s->other_s, d->other_s}};
	const struct number fragments[] = {{"held", s->frag_held, d->frag_held}, {"time", s->frag_hold_s, d->frag_hold_s}};
	json_t *o = numbers_json(plain, N_OF(plain), with_defaults), *t = numbers_json(timeouts, N_OF(timeouts), with_defaults);

	if (with_defaults || s->ecmp_hash != d->ecmp_hash)
		json_put_text(o, "ecmp-hash", word_text(ecmp_hash_words, ECMP_HASH_WORDS, s->ecmp_hash));
	if (with_defaults || s->flows_uncounted)
		json_object_set_new(o, "flow-accounting", json_boolean(!s->flows_uncounted));
	if (json_object_size(t))
		json_object_set_new(o, "flow-timeouts", json_copy(t));
	json_object_clear(t);
	json_put_text(t, "file", s->nat_log_file);
	if (s->nat_log_syslog)
		json_object_set_new(t, "syslog", json_true());
	if (json_object_size(t))
		json_object_set_new(o, "nat-log", json_copy(t));
	json_decref(t);
	t = json_array();
	for (size_t i = 0; i < s->n_host_netdevs; i++)
		json_array_append_new(t, json_string(s->host_netdevs[i]));
	if (json_array_size(t))
		json_object_set(o, "host-netdevs", t);
	json_decref(t);
	t = numbers_json(fragments, N_OF(fragments), with_defaults);
	if (json_object_size(t))
		json_object_set(o, "nat-fragments", t);
	json_decref(t);
	model_free(m);
	return o;
}

json_t *tables_json(const struct settings_cfg *s, bool with_defaults)
{
	struct model *m = model_new();
	const struct settings_cfg *d = m ? &m->settings : s;
	const struct number v[] = {{"flows", s->max_flows, d->max_flows},
				   {"flows6", s->max_flows6, model_flows6_default(s->max_flows)},
				   {"fdb", s->max_fdb, d->max_fdb},
				   {"neighbors", s->max_neighbors, d->max_neighbors},
				   {"routes4", s->max_routes4, d->max_routes4},
				   {"routes6", s->max_routes6, d->max_routes6},
				   {"half-open", s->max_half, d->max_half}};
	json_t *o = numbers_json(v, N_OF(v), with_defaults);

	model_free(m);
	return o;
}

/* Puts a section that is not empty; takes the reference. */
static void put_section(json_t *o, const char *key, json_t *section)
{
	if (json_object_size(section) || json_array_size(section))
		json_object_set(o, key, section);
	json_decref(section);
}

json_t *model_json(const struct model *m)
{
	json_t *o = json_object(), *section;
	char buf[16];

	put_section(o, "settings", settings_json(&m->settings, false));
	put_section(o, "tables", tables_json(&m->settings, false));
	for (const struct noun *noun = nouns; noun < nouns + N_NOUNS; noun++) {
		section = noun->name_key ? json_object() : json_array();
		for (size_t i = noun_first(noun, m); i < noun_n(noun, m); i++) {
			const void *item = noun_item(noun, m, i);

			if (noun->name_key)
				json_object_set_new(section, noun->name(item, buf), noun->json(item));
			else
				json_array_append_new(section, noun->json(item));
		}
		put_section(o, noun->key, section);
	}
	return o;
}

/* ---- YAML ---- */

/* Whether every reader of YAML 1.1 and 1.2 takes the plain text for a string: words, names, dotted quads, prefixes. Others
 * stand between quotes: 02:00:…, which is a number to base 60, and yes, null, 1e3 and the like. */
static bool plain_is_safe(const char *s)
{
	static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
	unsigned dots = 0, letters = 0;

	for (size_t i = 0; i < N_OF(words); i++)
		if (!strcasecmp(s, words[i]))
			return false;
	for (const char *p = s; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("._/-", *p))
			return false;
		dots += *p == '.';
		letters += isalpha((unsigned char)*p) != 0;
	}
	if (isalpha((unsigned char)*s))
		return true;
	return isdigit((unsigned char)*s) && (dots >= 3 || (strchr(s, '-') && !dots && !letters && !strchr(s, '/')));
}

/* As YAML 1.1 and 1.2 read it between double quotes; what they take for the end of a line (NEL, LS, PS) or for the start of a
 * text (BOM) is written by its number. */
static void put_quoted(FILE *f, const char *s)
{
	static const struct {
		const char *bytes, *text;
	} special[] = {{"\"", "\\\""},		{"\\", "\\\\"},		 {"\n", "\\n"},
		       {"\t", "\\t"},		{"\r", "\\r"},		 {"\xc2\x85", "\\N"},
		       {"\xe2\x80\xa8", "\\L"}, {"\xe2\x80\xa9", "\\P"}, {"\xef\xbb\xbf", "\\uFEFF"}};
	size_t i, n;

	fputc('"', f);
	for (; *s; s += n) {
		for (i = 0; i < N_OF(special) && strncmp(s, special[i].bytes, strlen(special[i].bytes)); i++)
			;
		n = i < N_OF(special) ? strlen(special[i].bytes) : 1;
		if (i < N_OF(special))
			fputs(special[i].text, f);
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			fprintf(f, "\\x%02X", (unsigned char)*s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void put_scalar(FILE *f, const char *s, bool plain)
{
	if (plain)
		fputs(s, f);
	else
		put_quoted(f, s);
}

static void put_key(FILE *f, const char *key)
{
	bool id = *key && strspn(key, "0123456789") == strlen(key);

	put_scalar(f, key, id || plain_is_safe(key));
	fputc(':', f);
}

/* What is in an item stands on its line. Depth is the model's: at most 6. */
static void put_flow(FILE *f, const json_t *v)
{
	const char *key, *sep = "";
	json_t *child;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		fputc('{', f);
		json_object_foreach ((json_t *)v, key, child) {
			fputs(sep, f);
			put_key(f, key);
			fputc(' ', f);
			put_flow(f, child);
			sep = ", ";
		}
		fputc('}', f);
		break;
	case JSON_ARRAY:
		fputc('[', f);
		json_array_foreach (v, i, child) {
			fputs(sep, f);
			put_flow(f, child);
			sep = ", ";
		}
		fputc(']', f);
		break;
	case JSON_STRING:
		put_scalar(f, json_string_value(v), plain_is_safe(json_string_value(v)));
		break;
	case JSON_INTEGER:
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	default:
		fputs(json_is_true(v) ? "true" : "false", f);
	}
}

/* `key: VALUE`, or `- VALUE` without a key, on a line. Takes the reference. */
static void put_line(FILE *f, const char *key, json_t *v)
{
	fputs(key ? "  " : "-", f);
	if (key)
		put_key(f, key);
	fputc(' ', f);
	if (v)
		put_flow(f, v);
	fputc('\n', f);
	json_decref(v);
}

/* Settings and table sizes, where they are not the defaults. Takes the reference. */
static bool put_values(FILE *f, const char *key, json_t *section)
{
	bool some = json_object_size(section) > 0;
	const char *name;
	json_t *v;

	if (some)
		fprintf(f, "%s:\n", key);
	json_object_foreach (section, name, v)
		put_line(f, name, json_incref(v));
	json_decref(section);
	return some;
}

/* Sections and their items stand on lines of their own. The items are written one by one, without all of them as JSON first:
 * there may be a hundred thousand. */
char *model_yaml(const struct model *m)
{
	char *ret = NULL, buf[16];
	size_t len = 0;
	bool some, bad;
	FILE *f;

	f = open_memstream(&ret, &len);
	if (!f)
		return NULL;
	some = put_values(f, "settings", settings_json(&m->settings, false));
	some |= put_values(f, "tables", tables_json(&m->settings, false));
	for (const struct noun *noun = nouns; noun < nouns + N_NOUNS; noun++) {
		size_t first = noun_first(noun, m), n = noun_n(noun, m);

		if (first < n)
			fprintf(f, "%s:\n", noun->key);
		some |= first < n;
		for (size_t i = first; i < n; i++)
			put_line(f, noun->name_key ? noun->name(noun_item(noun, m, i), buf) : NULL,
				 noun->json(noun_item(noun, m, i)));
	}
	if (!some)
		fputs("{}\n", f);
	bad = ferror(f);
	if (!fclose(f) && !bad)
		return ret;
	free(ret);
	return NULL;
}
