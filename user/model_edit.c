/* model_edit.c: single items added to and taken from a model (model.h), for `sluice route add …` and its API.
 *
 * Stands between an item in JSON and the model. The item goes through the same reading as the file, so that a mistake is
 * worded alike; it is read into an empty model first, and moves over when nothing is wrong with it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

static const struct noun *find_noun(const char *key, struct where where, struct errs *errs)
{
	char allowed[160], show[SHOW_TEXT];
	size_t len = 0;

	for (size_t i = 0; i < N_NOUNS; i++)
		if (!strcmp(nouns[i].key, key))
			return &nouns[i];
	for (size_t i = 0; i < N_NOUNS; i++)
		len += snprintf(allowed + len, sizeof(allowed) - len, "%s%s", i ? ", " : "", nouns[i].key);
	errs_add(errs, where, NULL, "%s is no noun. Allowed are: %s", show_text(key, show), allowed);
	return NULL;
}

/* The item as text of the file's schema: {…} for a list, {KEY: {…}} for a mapping, its key taken out. NULL with words. */
static char *item_text(const struct noun *noun, const json_t *item, struct where where, struct errs *errs)
{
	json_t *copy = json_copy((json_t *)item), *outer, *id;
	char key[24], *ret;

	if (!noun->name_key) {
		ret = json_dumps(copy, 0);
		json_decref(copy);
		return ret;
	}
	id = json_object_get(copy, noun->name_key);
	snprintf(key, sizeof(key), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
	outer = json_object();
	if (json_is_string(id) || json_is_integer(id)) {
		json_object_set(outer, json_is_string(id) ? json_string_value(id) : key, copy);
		json_object_del(copy, noun->name_key);
		ret = json_dumps(outer, 0);
	} else {
		errs_add(errs, where, noun->word, "`%s` is missing: what identifies the %s", noun->name_key, noun->word);
		ret = NULL;
	}
	json_decref(copy);
	json_decref(outer);
	return ret;
}

/* The item alone in a new model; NULL with words. */
static struct model *read_item(const struct noun *noun, const json_t *item, const char *source, bool partial, struct errs *errs)
{
	struct reader r = {.file = where_file(source), .partial = partial, .errs = errs};
	struct where where = {r.file, 0};
	const struct node *root;
	struct doc *d = NULL;
	char *text;

	if (!json_is_object(item)) {
		errs_add(errs, where, noun->word, "an object is wanted");
		return NULL;
	}
	text = item_text(noun, item, where, errs);
	if (text)
		d = doc_parse(text, strlen(text), source, errs);
	free(text);
	if (!d)
		return NULL;
	r.m = model_new();
	root = doc_root(d);
	if (!r.m) {
		read_oom(&r);
	} else if (noun->name_key) {
		root = root->first;
		read_push(&r, "%s.%.40s", noun->word, root->key->text);
		noun->read(&r, root);
	} else {
		read_push(&r, "%s", noun->word);
		noun->read(&r, root);
	}
	doc_free(d);
	if (!r.failed)
		return r.m;
	model_free(r.m);
	return NULL;
}

static void say(const struct noun *noun, const void *item, struct where where, struct errs *errs, const char *what)
{
	json_t *json = noun->json(item);
	char *name = noun_item_name(noun, item, json);

	errs_add(errs, where, NULL, "%s %s %s", noun->word, name ?: "", what);
	free(name);
	json_decref(json);
}

/* The item that was read alone: the last one of its list, since the VRF `default` comes first. */
static size_t read_at(const struct noun *noun, const struct model *one)
{
	return noun_n(noun, one) - 1;
}

static bool is_default(const struct noun *noun, const struct model *m, const void *item)
{
	return noun->has_default && noun->same(noun_item(noun, m, 0), item);
}

/* The place of an item that is identified as `key`; the number of items: there is none. */
static size_t find_same(const struct noun *noun, const struct model *m, const void *key)
{
	size_t n = noun_n(noun, m), i = noun_first(noun, m);

	while (i < n && !noun->same(noun_item(noun, m, i), key))
		i++;
	return i;
}

/* Where the new item goes; NULL: no memory. */
static void *place(const struct noun *noun, struct model *m, const void *from, size_t at)
{
	void *to;

	if (is_default(noun, m, from))
		at = 0; /* which is always there */
	if (at == noun_n(noun, m))
		return list_add((char *)m + noun->list, (size_t *)((char *)m + noun->n), noun->size);
	to = (void *)noun_item(noun, m, at);
	if (noun->free)
		noun->free(to);
	return to;
}

/* Where an item shall stand of which the order counts: `before` and `after`, taken out of `item`, name its neighbour. *ret is
 * SIZE_MAX when neither is given. */
static int take_position(const struct noun *noun, const struct model *m, json_t *item, struct where where, struct errs *errs,
			 size_t *ret)
{
	const char *word = json_object_get(item, "before") ? "before" : "after", *name;
	size_t n = noun_n(noun, m), i = 0;
	char key[32], show[SHOW_TEXT];

	*ret = SIZE_MAX;
	if (!json_object_get(item, word))
		return 0;
	snprintf(key, sizeof(key), "%s.%s", noun->word, word);
	if (*word == 'b' && json_object_get(item, "after"))
		return errs_add(errs, where, key, "`before` and `after`: one of them is allowed");
	name = json_string_value(json_object_get(item, word));
	if (!name)
		return errs_add(errs, where, key, "a text is wanted: the name of the item that it stands beside");
	while (i < n && strcmp(noun->name(noun_item(noun, m, i), NULL), name))
		i++;
	if (i == n)
		return errs_add(errs, where, key, "nothing is called %s in `%s`", show_text(name, show), noun->key);
	*ret = i + (*word == 'a');
	json_object_del(item, word);
	return 0;
}

/* The item at `from` goes before the one that is at `to` now. */
static int move(const struct noun *noun, struct model *m, size_t from, size_t to)
{
	char *at = (char *)noun_item(noun, m, from), *item = malloc(noun->size);

	if (!item)
		return -ENOMEM;
	memcpy(item, at, noun->size);
	if (to < from) {
		memmove(at - (from - to - 1) * noun->size, at - (from - to) * noun->size, (from - to) * noun->size);
		memcpy((char *)noun_item(noun, m, to), item, noun->size);
	} else if (to > from + 1) {
		memmove(at, at + noun->size, (to - from - 1) * noun->size);
		memcpy((char *)noun_item(noun, m, to - 1), item, noun->size);
	}
	free(item);
	return 0;
}

static int put_at(const struct noun *noun, struct model *m, const json_t *item, const char *source, bool replace, size_t position,
		  struct errs *errs)
{
	struct where where = {where_file(source), 0};
	struct model *one = read_item(noun, item, source, false, errs);
	void *from, *to;
	size_t n, at;
	int err = 0;

	if (!one)
		return -EINVAL;
	n = read_at(noun, one);
	from = (void *)noun_item(noun, one, n);
	if (noun->complete)
		noun->complete(m, from);
	at = find_same(noun, m, from);
	if (at < noun_n(noun, m) && !replace) {
		say(noun, from, where, errs, "exists already");
		err = -EEXIST;
		goto out;
	}
	to = place(noun, m, from, at);
	if (!to) {
		err = errs_fail(errs, ENOMEM, "out of memory");
		goto out;
	}
	/* What the item owns goes over with it: the model it was read into forgets it. */
	memcpy(to, from, noun->size);
	memcpy((char *)one + noun->n, &n, sizeof(n));
	if (position != SIZE_MAX && move(noun, m, at, position))
		err = errs_fail(errs, ENOMEM, "out of memory");
	else if (model_link(m))
		err = errs_fail(errs, ENOMEM, "out of memory");
out:
	model_free(one);
	return err;
}

static int put(struct model *m, const char *noun_key, const json_t *item, const char *source, bool replace, struct errs *errs)
{
	struct where where = {where_file(source), 0};
	const struct noun *noun = find_noun(noun_key, where, errs);
	size_t position = SIZE_MAX;
	json_t *copy;
	int err = 0;

	if (!noun)
		return -EINVAL;
	copy = json_copy((json_t *)item);
	if (noun->ordered)
		err = take_position(noun, m, copy, where, errs, &position);
	if (!err)
		err = put_at(noun, m, copy, source, replace, position, errs);
	json_decref(copy);
	return err;
}

int model_add(struct model *m, const char *noun, const json_t *item, const char *source, struct errs *errs)
{
	return put(m, noun, item, source, false, errs);
}

int model_replace(struct model *m, const char *noun, const json_t *item, const char *source, struct errs *errs)
{
	return put(m, noun, item, source, true, errs);
}

/* Whether an item has what `want` (canonical JSON) says under every key that was given. A route is looked for in the VRF
 * `default` unless another is named, and `default` alone means either family's. */
static bool matches(const struct noun *noun, const json_t *have, const json_t *want, const json_t *given)
{
	const char *key, *to;
	json_t *v, *a, *b;

	json_object_foreach ((json_t *)given, key, v) {
		a = json_object_get(have, key);
		b = json_object_get(want, key);
		to = !strcmp(key, "to") && json_is_string(v) && !strcmp(json_string_value(v), "default") ? json_string_value(a)
													 : NULL;
		if (to && (!strcmp(to, "0.0.0.0/0") || !strcmp(to, "::/0")))
			continue;
		if (a && b ? !json_equal(a, b) : a != b)
			return false;
	}
	a = json_object_get(have, "vrf");
	return json_object_get(given, "vrf") || noun->by_name || !a;
}

/* Not one item is all of what was given. Where one is by what identifies it, its words say what else it has; where none is, that
 * only the configuration was looked through: users find what the kernel or the network brought in the same lists. */
static void say_none(const struct noun *noun, const struct model *m, const json_t *want, const json_t *given, struct where where,
		     struct errs *errs)
{
	char *words = json_words(given, NULL), *has = NULL;
	json_t *ids = json_object(), *have, *other;
	const char *key;
	json_t *v;

	for (size_t i = 0; noun->ids[i]; i++)
		json_object_set(ids, noun->ids[i], json_object_get(given, noun->ids[i]));
	for (size_t i = noun_first(noun, m); i < noun_n(noun, m) && !has && json_object_size(ids); i++) {
		have = noun->json(noun_item(noun, m, i));
		other = json_object();
		json_object_foreach ((json_t *)given, key, v)
			if (!json_object_get(ids, key))
				json_object_set(other, key, json_object_get(have, key));
		if (matches(noun, have, want, ids) && json_object_size(other))
			has = json_words(other, NULL);
		json_decref(other);
		json_decref(have);
	}
	if (has)
		errs_add(errs, where, NULL, "no %s is there with %s: it has %s", noun->word, words ?: "", has);
	else
		errs_add(errs, where, NULL, "the configuration has no %s with %s, and only what it has can be deleted",
			 noun->word, words ?: "");
	json_decref(ids);
	free(words);
	free(has);
}

/* The one item that is meant; -ENOENT, or -EINVAL when several are, both with words. */
static int find_item(const struct noun *noun, const struct model *m, const void *key, const json_t *given, struct where where,
		     struct errs *errs, size_t *ret)
{
	json_t *want = noun->json(key), *have;
	size_t found = 0, n = noun_n(noun, m);
	char *words;
	bool hit;

	for (size_t i = noun_first(noun, m); i < n; i++) {
		const void *item = noun_item(noun, m, i);

		if (noun->by_name) {
			hit = noun->same(item, key);
		} else {
			have = noun->json(item);
			hit = matches(noun, have, want, given);
			json_decref(have);
		}
		if (hit && !found++)
			*ret = i;
	}
	if (!found && noun->by_name)
		say(noun, key, where, errs,
		    is_default(noun, m, key) ? "always exists, and has nothing that was added" : "does not exist");
	else if (!found)
		say_none(noun, m, want, given, where, errs);
	json_decref(want);
	if (found < 2)
		return found ? 0 : -ENOENT;
	words = json_words(given, NULL);
	errs_add(errs, where, NULL, "%zu items of `%s` have %s: give more of what they differ in", found, noun->key, words ?: "");
	free(words);
	return -EINVAL;
}

/* True, with words: the item is needed. */
static bool in_use(const struct noun *noun, const struct model *m, const void *item, struct where where, struct errs *errs)
{
	char *users = noun->users ? noun->users(m, item) : NULL, *words = NULL;

	if (!users)
		return false;
	if (asprintf(&words, "is in use by %s", users) >= 0)
		say(noun, item, where, errs, words);
	free(words);
	free(users);
	return true;
}

int model_remove(struct model *m, const char *noun_key, const json_t *item, const char *source, struct errs *errs)
{
	struct where where = {where_file(source), 0};
	const struct noun *noun = find_noun(noun_key, where, errs);
	struct model *one;
	size_t at = 0;
	int err;

	if (!noun)
		return -EINVAL;
	if (!noun->name_key && !json_object_get(item, noun->ids[0]))
		return errs_add(errs, where, noun->word, "`%s` is missing: what identifies the %s", noun->ids[0], noun->word);
	one = read_item(noun, item, source, true, errs);
	if (!one)
		return -EINVAL;
	err = find_item(noun, m, noun_item(noun, one, read_at(noun, one)), item, where, errs, &at);
	if (!err && in_use(noun, m, noun_item(noun, m, at), where, errs))
		err = -EBUSY;
	if (!err) {
		if (noun->free)
			noun->free((void *)noun_item(noun, m, at));
		if (is_default(noun, m, noun_item(noun, one, read_at(noun, one))))
			vrf_make_default((void *)noun_item(noun, m, at));
		else
			list_remove((char *)m + noun->list, (size_t *)((char *)m + noun->n), noun->size, at);
		if (model_link(m))
			err = errs_fail(errs, ENOMEM, "out of memory");
	}
	model_free(one);
	return err;
}
