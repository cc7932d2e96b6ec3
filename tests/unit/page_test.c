/* page_test.c: keys in order, some of which are met twice, as whole listings and as pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"

#define KEYS 10000u
#define STEP 100u

struct listing {
	uint32_t at, after;
	bool has_after, freed;
};

static int compare(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return (a > b) - (a < b);
}

/* Each key twice, far from each other, and in no order. */
static int gather(void *arg, struct page *p)
{
	struct listing *l = arg;

	for (uint32_t end = l->at + STEP; l->at < end; l->at++) {
		uint32_t key = l->at % KEYS * 7919 % KEYS;

		if (!l->has_after || key > l->after)
			page_offer(p, &key);
	}
	return l->at < 2 * KEYS;
}

static json_t *show(void *arg, const void *key)
{
	return json_pack("[I]", (json_int_t) * (const uint32_t *)key);
}

static void cursor(const void *key, char buf[PAGE_CURSOR])
{
	snprintf(buf, PAGE_CURSOR, "\"%u", *(const uint32_t *)key); /* a netdev's name may have a quotation mark */
}

static void end(void *arg)
{
	((struct listing *)arg)->freed = true;
}

static json_int_t key_at(const json_t *list, size_t i)
{
	return json_integer_value(json_array_get(json_array_get(list, i), 0));
}

static json_t *answer(struct listing *l, size_t limit)
{
	static const struct page_source source = {.noun = "keys",
						  .size = sizeof(uint32_t),
						  .compare = compare,
						  .gather = gather,
						  .show = show,
						  .cursor = cursor,
						  .free = end};
	struct evbuffer *out = evbuffer_new();
	struct http_stream s;
	json_t *j;

	l->freed = false;
	assert_int_equal(page_stream(&source, l, limit, &s), 0);
	while (s.next(s.arg, out) == HTTP_MORE)
		;
	s.free(s.arg);
	assert_true(l->freed);
	j = json_loadb((const char *)evbuffer_pullup(out, -1), evbuffer_get_length(out), 0, NULL);
	evbuffer_free(out);
	assert_non_null(j);
	return j;
}

/* However many there come to be while all are gone over. */
static void whole_test(void **state)
{
	struct listing l = {0};
	json_t *all = answer(&l, 0);

	assert_int_equal(json_array_size(all), KEYS);
	for (size_t i = 0; i < KEYS; i++)
		assert_int_equal(key_at(all, i), i);
	json_decref(all);
}

static void pages_test(void **state)
{
	struct listing l = {0};
	uint32_t next = 0;
	json_t *page;
	const char *text;
	size_t i;

	do {
		page = answer(&l, 999);
		for (i = 0; i < json_array_size(json_object_get(page, "keys")); i++)
			assert_int_equal(key_at(json_object_get(page, "keys"), i), next++);
		text = json_string_value(json_object_get(page, "next"));
		assert_true(!text ||
			    (i && *text == '"' && strtoul(text + 1, NULL, 10) == next - 1)); /* the last page may be empty */
		l = (struct listing){.after = next - 1, .has_after = true};
		i = text != NULL;
		json_decref(page);
	} while (i);
	assert_int_equal(next, KEYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(whole_test), cmocka_unit_test(pages_test)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
