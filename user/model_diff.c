/* model_diff.c: what leads from one model to another, as JSON and in words (model.h).
 *
 * Stands between model_json.c's view of two models and those who apply, show or log a change. Two models are equal when this
 * finds nothing: where an item was written does not count, what it says does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model_priv.h"

/* The items of one noun of one model, by name. */
struct side {
	size_t n;
	json_t **json;
	char **name;
	json_t *index; /* name -> position */
};

static void side_free(struct side *s)
{
	for (size_t i = 0; i < s->n; i++) {
		json_decref(s->json[i]);
		free(s->name[i]);
	}
	free(s->json);
	free(s->name);
	json_decref(s->index);
}

/* `same` (NULL: nothing): the items that the other side has as well, which are left out. */
static bool side_fill(struct side *s, const struct noun *noun, const struct model *m, const bool *same)
{
	size_t first = noun_first(noun, m), n = noun_n(noun, m), left = 0;

	for (size_t i = first; i < n; i++)
		left += !same || !same[i];
	*s = (struct side){
		.json = calloc(left + 1, sizeof(*s->json)), .name = calloc(left + 1, sizeof(*s->name)), .index = json_object()};
	if (!s->json || !s->name || !s->index)
		return false;
	for (size_t i = first; i < n; i++) {
		const void *item = noun_item(noun, m, i);

		if (same && same[i])
			continue;
		s->json[s->n] = noun->json(item);
		s->name[s->n] = noun_item_name(noun, item, s->json[s->n]);
		if (!s->name[s->n++] || json_object_set_new(s->index, s->name[s->n - 1], json_integer(s->n - 1)))
			return false;
	}
	return true;
}

/* Of two lists of a hundred thousand items most are equal, and mostly stand in the same place: those cost a look each, and are
 * marked in same[0] (of the old list) and same[1] (of the new one). */
static int mark_same(const struct noun *noun, const struct model *old, const struct model *new, bool *same[2])
{
	const char *a = noun_item(noun, old, 0), *b = noun_item(noun, new, 0), **x, **y;
	size_t n = noun_n(noun, old), m = noun_n(noun, new), first = 0, i = 0, j = 0;
	int d;

	for (; first < n && first < m && noun->equal(a + first * noun->size, b + first * noun->size); first++)
		same[0][first] = same[1][first] = true;
	n -= first;
	m -= first;
	a += first * noun->size;
	b += first * noun->size;
	if (!n || !m)
		return 0;
	x = sorted_pointers(a, n, noun->size, noun->order);
	y = sorted_pointers(b, m, noun->size, noun->order);
	while (x && y && i < n && j < m) {
		d = noun->order(&x[i], &y[j]);
		if (!d && noun->equal(x[i], y[j]))
			same[0][first + (size_t)(x[i] - a) / noun->size] = same[1][first + (size_t)(y[j] - b) / noun->size] =
				true;
		i += d <= 0;
		j += d >= 0;
	}
	d = x && y ? 0 : -1;
	free(x);
	free(y);
	return d;
}

/* The position of a name in the other side; -1: not there. */
static json_int_t find(const struct side *s, const char *name)
{
	const json_t *v = json_object_get(s->index, name);

	return v ? json_integer_value(v) : -1;
}

static int put(json_t *diff, const char *op, const char *noun, const char *name, json_t *old, json_t *new)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "op", op, "noun", noun, "name", name);

	if (!o)
		return -1;
	if ((old && json_object_set(o, "old", old)) || (new && json_object_set(o, "new", new))) {
		json_decref(o);
		return -1;
	}
	return json_array_append_new(diff, o);
}

/* Marks in `stays` the most of the n numbers v, all of them different, that ascend as they stand: where v are the former places
 * of what is listed now, all others have moved. */
static int mark_ascending(const size_t *v, size_t n, bool *stays)
{
	/* last[k]: the least that a row of k + 1 can end with, as an index of v; before[i]: what stands before v[i] in its row */
	size_t *last = calloc(n + 1, sizeof(*last)), *before = calloc(n + 1, sizeof(*before)), len = 0;
	int err = last && before ? 0 : -1;

	for (size_t i = 0; !err && i < n; i++) {
		size_t low = 0, high = len;

		while (low < high) {
			size_t mid = (low + high) / 2;

			if (v[last[mid]] < v[i])
				low = mid + 1;
			else
				high = mid;
		}
		before[i] = low ? last[low - 1] : SIZE_MAX;
		last[low] = i;
		len += low == len;
	}
	for (size_t i = !err && len ? last[len - 1] : SIZE_MAX; i != SIZE_MAX; i = before[i])
		stays[i] = true;
	free(last);
	free(before);
	return err;
}

/* The order of NAT rules is part of what they say: the first that matches wins. Of those that both models have, the fewest that
 * must have moved have their position in their JSON. */
static int positions(struct side *old, struct side *new)
{
	size_t *was = calloc(new->n + 1, sizeof(*was)), *is = calloc(new->n + 1, sizeof(*is)), n = 0;
	bool *stays = calloc(new->n + 1, sizeof(*stays));
	int err = was && is && stays ? 0 : -1;

	for (size_t i = 0; !err && i < new->n; i++) {
		json_int_t at = find(old, new->name[i]);

		if (at < 0)
			continue;
		was[n] = (size_t)at;
		is[n++] = i;
	}
	if (!err)
		err = mark_ascending(was, n, stays);
	for (size_t i = 0; !err && i < n; i++)
		if (!stays[i] && (json_object_set_new(old->json[was[i]], "position", json_integer((json_int_t)was[i] + 1)) ||
				  json_object_set_new(new->json[is[i]], "position", json_integer((json_int_t)is[i] + 1))))
			err = -1;
	free(was);
	free(is);
	free(stays);
	return err;
}

static int noun_diff(json_t *diff, const struct noun *noun, const struct model *old, const struct model *new)
{
	bool *same[2] = {NULL, NULL};
	struct side a = {0}, b = {0};
	json_int_t at;
	int err = -1;

	if (noun->equal) {
		same[0] = calloc(noun_n(noun, old) + 1, sizeof(bool));
		same[1] = calloc(noun_n(noun, new) + 1, sizeof(bool));
		if (!same[0] || !same[1] || mark_same(noun, old, new, same))
			goto out;
	}
	if (!side_fill(&a, noun, old, same[0]) || !side_fill(&b, noun, new, same[1]))
		goto out;
	if (!strcmp(noun->key, "nat") && positions(&a, &b))
		goto out;
	for (size_t i = 0; i < a.n; i++)
		if (find(&b, a.name[i]) < 0 && put(diff, "delete", noun->word, a.name[i], a.json[i], NULL))
			goto out;
	for (size_t i = 0; i < b.n; i++) {
		at = find(&a, b.name[i]);
		if (at < 0 && put(diff, "add", noun->word, b.name[i], NULL, b.json[i]))
			goto out;
		if (at >= 0 && !json_equal(a.json[at], b.json[i]) &&
		    put(diff, "change", noun->word, b.name[i], a.json[at], b.json[i]))
			goto out;
	}
	err = 0;
out:
	free(same[0]);
	free(same[1]);
	side_free(&a);
	side_free(&b);
	return err;
}

static int section_diff(json_t *diff, const char *name, json_t *old, json_t *new)
{
	int err = !old || !new ? -1 : json_equal(old, new) ? 0 : put(diff, "change", name, name, old, new);

	json_decref(old);
	json_decref(new);
	return err;
}

json_t *model_diff(const struct model *old, const struct model *new)
{
	json_t *diff = json_array();
	int err = diff ? 0 : -1;

	if (!err)
		err = section_diff(diff, "settings", settings_json(&old->settings, true), settings_json(&new->settings, true));
	if (!err)
		err = section_diff(diff, "tables", tables_json(&old->settings, true), tables_json(&new->settings, true));
	for (size_t i = 0; !err && i < N_NOUNS; i++)
		err = noun_diff(diff, &nouns[i], old, new);
	if (!err)
		return diff;
	json_decref(diff);
	return NULL;
}

/* ---- in words ---- */

static void change_line(FILE *f, const char *key, const json_t *old, const json_t *new, const char **sep)
{
	char *a = old ? json_words(old, NULL) : NULL, *b = new ? json_words(new, NULL) : NULL;

	fprintf(f, "%s%s %s -> %s", *sep, key, a ?: "unset", b ?: "unset");
	*sep = ", ";
	free(a);
	free(b);
}

/* What differs between two mappings; a mapping in them (flow-timeouts) by its own keys. */
static void change_lines(FILE *f, const json_t *old, const json_t *new, const char **sep)
{
	const json_t *other;
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)old, key, v) {
		other = json_object_get(new, key);
		if (other && json_equal(v, other))
			continue;
		if (json_is_object(v) && json_is_object(other))
			change_lines(f, v, other, sep);
		else
			change_line(f, key, v, other, sep);
	}
	json_object_foreach ((json_t *)new, key, v)
		if (!json_object_get(old, key))
			change_line(f, key, NULL, v, sep);
}

static const char *const *ids_of(const char *word)
{
	for (size_t i = 0; i < N_NOUNS; i++)
		if (!strcmp(nouns[i].word, word))
			return nouns[i].ids;
	return NULL;
}

char *model_diff_text(const json_t *diff)
{
	const char *op, *noun, *name, *sep;
	char *ret = NULL, *words;
	json_t *old, *new, *c;
	size_t len, i;
	FILE *f;

	f = open_memstream(&ret, &len);
	if (!f)
		return NULL;
	json_array_foreach ((json_t *)diff, i, c) {
		if (json_unpack(c, "{s:s, s:s, s:s}", "op", &op, "noun", &noun, "name", &name))
			continue;
		old = json_object_get(c, "old");
		new = json_object_get(c, "new");
		fprintf(f, "%c %s", *op == 'a' ? '+' : *op == 'd' ? '-' : '~', noun);
		if (strcmp(noun, name))
			fprintf(f, " %s", name);
		if (old && new) {
			sep = " ";
			change_lines(f, old, new, &sep);
		} else {
			words = json_words(old ?: new, ids_of(noun));
			fprintf(f, "%s%s", words && *words ? " " : "", words ?: "");
			free(words);
		}
		fputc('\n', f);
	}
	if (!fclose(f))
		return ret;
	free(ret);
	return NULL;
}
