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
#include <yaml.h>
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
				       {"neighbor-rate", s->neighbor_rate, d->neighbor_rate}};
	const struct number timeouts[] = {{"tcp-established", s->tcp_established_s, d->tcp_established_s},
					  {"tcp-transitory", s->tcp_transitory_s, d->tcp_transitory_s},
					  {"udp", s->udp_s, d->udp_s},
					  {"icmp", s->icmp_s, d->icmp_s},
					  {"other", s->other_s, d->other_s}};
	const struct number fragments[] = {{"held", s->frag_held, d->frag_held}, {"time", s->frag_hold_s, d->frag_hold_s}};
	json_t *o = numbers_json(plain, N_OF(plain), with_defaults), *t = numbers_json(timeouts, N_OF(timeouts), with_defaults);

	if (with_defaults || s->ecmp_hash != d->ecmp_hash)
		json_put_text(o, "ecmp-hash", word_text(ecmp_hash_words, ECMP_HASH_WORDS, s->ecmp_hash));
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

static int emit_text(yaml_emitter_t *e, const char *s, bool plain)
{
	yaml_event_t ev;

	return yaml_scalar_event_initialize(&ev, NULL, NULL, (const yaml_char_t *)s, strlen(s), 1, 1,
					    plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE) &&
	       yaml_emitter_emit(e, &ev);
}

static int emit_number(yaml_emitter_t *e, json_int_t v)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%" JSON_INTEGER_FORMAT, v);
	return emit_text(e, buf, true);
}

/* Sections and their items stand on lines of their own, what is in an item on its line. Depth is the model's: at most 6. */
static int emit(yaml_emitter_t *e, const json_t *v, int depth)
{
	const yaml_mapping_style_t map = depth < 2 ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
	const yaml_sequence_style_t seq = depth < 2 ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE;
	const char *key;
	yaml_event_t ev;
	json_t *child;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		if (!yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1, map) || !yaml_emitter_emit(e, &ev))
			return 0;
		json_object_foreach ((json_t *)v, key, child) {
			bool id = *key && strspn(key, "0123456789") == strlen(key);

			if (!emit_text(e, key, id || plain_is_safe(key)) || !emit(e, child, depth + 1))
				return 0;
		}
		return yaml_mapping_end_event_initialize(&ev) && yaml_emitter_emit(e, &ev);
	case JSON_ARRAY:
		if (!yaml_sequence_start_event_initialize(&ev, NULL, NULL, 1, seq) || !yaml_emitter_emit(e, &ev))
			return 0;
		json_array_foreach ((json_t *)v, i, child)
			if (!emit(e, child, depth + 1))
				return 0;
		return yaml_sequence_end_event_initialize(&ev) && yaml_emitter_emit(e, &ev);
	case JSON_STRING:
		return emit_text(e, json_string_value(v), plain_is_safe(json_string_value(v)));
	case JSON_INTEGER:
		return emit_number(e, json_integer_value(v));
	case JSON_TRUE:
		return emit_text(e, "true", true);
	default:
		return emit_text(e, "false", true);
	}
}

static int emit_document(yaml_emitter_t *e, const json_t *root)
{
	yaml_event_t ev;

	yaml_emitter_set_unicode(e, 1);
	yaml_emitter_set_width(e, -1);
	return yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING) && yaml_emitter_emit(e, &ev) &&
	       yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1) && yaml_emitter_emit(e, &ev) && emit(e, root, 0) &&
	       yaml_document_end_event_initialize(&ev, 1) && yaml_emitter_emit(e, &ev) && yaml_stream_end_event_initialize(&ev) &&
	       yaml_emitter_emit(e, &ev) && yaml_emitter_flush(e);
}

static int append(void *arg, unsigned char *text, size_t len)
{
	return fwrite(text, 1, len, arg) == len;
}

char *model_yaml(const struct model *m)
{
	json_t *root = model_json(m);
	yaml_emitter_t e;
	char *ret = NULL;
	size_t len = 0;
	int ok = 0;
	FILE *f;

	f = open_memstream(&ret, &len);
	if (f && root && yaml_emitter_initialize(&e)) {
		yaml_emitter_set_output(&e, append, f);
		ok = emit_document(&e, root);
		yaml_emitter_delete(&e);
	}
	json_decref(root);
	if (f && fclose(f))
		ok = 0;
	if (ok)
		return ret;
	free(ret);
	return NULL;
}
