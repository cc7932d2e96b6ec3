/* model_item.c: which route, rule or station an error of `routes[13]` is about, in the words that its user knows it by: once when
 * all errors of a text or a model are there. Between err.h and the nouns' lists.
 *
 * Of an item that could not be read the text's own words are taken, of one that was read the words of the model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

/* Where a route leads, which does not identify it and says most about it. */
static const char *const ways[] = {"via", "nexthop", "type", NULL};

/* The number N of a key NOUN[N]…; false: it is another noun's. */
static bool number_of(const char *key, const char *noun, size_t *ret)
{
	size_t len = strlen(noun);
	char *end;

	if (!key || strncmp(key, noun, len) || key[len] != '[')
		return false;
	*ret = strtoul(key + len + 1, &end, 10);
	return *end == ']';
}

static const struct node *child(const struct node *map, const char *key)
{
	const struct node *v = map->kind == NODE_MAP ? map->first : NULL;

	while (v && strcmp(v->key->text, key))
		v = v->next;
	return v;
}

/* The first of several, of a mapping the address. */
static const char *node_word(const struct node *n)
{
	if (n && n->kind == NODE_LIST)
		n = n->first;
	if (n && n->kind == NODE_MAP)
		n = child(n, "address");
	return n && n->kind == NODE_SCALAR ? n->text : NULL;
}

static const char *json_word(const json_t *v)
{
	if (json_is_array(v))
		v = json_array_get(v, 0);
	if (json_is_object(v))
		v = json_object_get(v, "address");
	return json_string_value(v);
}

static char *of_node(const struct noun *noun, const struct node *item)
{
	const char *word = node_word(child(item, noun->ids[0]));
	size_t len = 0;
	char buf[512]; /* all of them fit */

	if (!word)
		return NULL;
	len = (size_t)snprintf(buf, sizeof(buf), "%.60s", word);
	for (size_t i = 1; noun->ids[i] && len < sizeof(buf); i++)
		if ((word = node_word(child(item, noun->ids[i]))))
			len += (size_t)snprintf(buf + len, sizeof(buf) - len, " %s %.30s", noun->ids[i], word);
	for (size_t i = 0; !noun->by_name && ways[i] && len < sizeof(buf); i++)
		if ((word = node_word(child(item, ways[i]))))
			len += (size_t)snprintf(buf + len, sizeof(buf) - len, " %s %.45s", ways[i], word);
	return err_plain(strdup(buf));
}

static char *of_model(const struct noun *noun, const void *item)
{
	json_t *json = noun->json(item);
	char *name = json ? noun_item_name(noun, item, json) : NULL, *ret = name;
	const char *word = NULL;
	size_t i = 0;

	while (name && !noun->by_name && ways[i] && !(word = json_word(json_object_get(json, ways[i]))))
		i++;
	if (word && asprintf(&ret, "%s %s %s", name, ways[i], word) < 0)
		ret = NULL;
	if (word)
		free(name);
	json_decref(json);
	if (ret && !*ret) {
		free(ret);
		ret = NULL;
	}
	return ret;
}

void items_of_text(struct errs *errs, size_t from, const struct noun *noun, const struct node *list)
{
	const struct node *v;
	size_t at;

	for (size_t i = from; !noun->name_key && list->kind == NODE_LIST && errs && i < errs->n; i++) {
		if (!number_of(errs->v[i].key, noun->key, &at) || errs->v[i].item)
			continue;
		for (v = list->first; v && at; at--)
			v = v->next;
		errs->v[i].item = v ? of_node(noun, v) : NULL;
	}
}

void items_of_model(struct errs *errs, size_t from, const struct model *m)
{
	size_t at;

	for (size_t i = from; errs && i < errs->n; i++)
		for (size_t k = 0; k < N_NOUNS; k++)
			if (!nouns[k].name_key && !errs->v[i].item && number_of(errs->v[i].key, nouns[k].key, &at) &&
			    at < noun_n(&nouns[k], m))
				errs->v[i].item = of_model(&nouns[k], noun_item(&nouns[k], m, at));
}
