/* table.c: rows of JSON as an aligned table.
 */
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define CELL	    160
#define COLUMNS_MAX 32

void cell_text(const json_t *value, char *buf, size_t size)
{
	const json_t *item;
	size_t len = 0, i;
	const char *key;

	*buf = '\0';
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		snprintf(buf, size, "%s", json_string_value(value));
		break;
	case JSON_INTEGER:
		snprintf(buf, size, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		snprintf(buf, size, "%.3g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		snprintf(buf, size, "%s", json_is_true(value) ? "yes" : "no");
		break;
	case JSON_ARRAY:
		json_array_foreach (value, i, item) {
			char one[CELL];

			cell_text(item, one, sizeof(one));
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? "," : "", one);
			if (len >= size)
				break;
		}
		break;
	case JSON_OBJECT:
		json_object_foreach ((json_t *)value, key, item) {
			char one[CELL];

			cell_text(item, one, sizeof(one));
			len += (size_t)snprintf(buf + len, size - len, "%s%s=%s", len ? "," : "", key, one);
			if (len >= size)
				break;
		}
		break;
	default:
		break;
	}
}

static void fill(const json_t *row, const struct column *c, char buf[CELL])
{
	*buf = '\0';
	if (c->cell)
		c->cell(row, buf, CELL);
	else
		cell_text(json_object_get(row, c->key), buf, CELL);
}

static void print_cell(const char *text, size_t width, bool right, bool last)
{
	if (right)
		printf("%*s", (int)width, text);
	else
		printf("%-*s", last ? 0 : (int)width, text);
	fputs(last ? "\n" : "  ", stdout);
}

void table_print(const json_t *rows, const struct column *columns, size_t n, const char *none)
{
	size_t width[COLUMNS_MAX] = {0}, last = 0, i, c;
	const json_t *row;
	char buf[CELL];

	if (!json_array_size(rows)) {
		puts(none);
		return;
	}
	json_array_foreach (rows, i, row) {
		for (c = 0; c < n; c++) {
			fill(row, &columns[c], buf);
			if (strlen(buf) > width[c])
				width[c] = strlen(buf);
		}
	}
	for (c = 0; c < n; c++) {
		if (!width[c])
			continue;
		last = c;
		if (strlen(columns[c].title) > width[c])
			width[c] = strlen(columns[c].title);
	}
	for (c = 0; c <= last; c++) {
		if (width[c])
			print_cell(columns[c].title, width[c], columns[c].right, c == last);
	}
	json_array_foreach (rows, i, row) {
		for (c = 0; c <= last; c++) {
			fill(row, &columns[c], buf);
			if (width[c])
				print_cell(buf, width[c], columns[c].right, c == last);
		}
	}
}
