/* err.c: errors as values (err.h): a growing list of messages, each with its place in a configuration.
 *
 * Stands between everything that checks input and the outermost caller, who prints. A file of nothing but mistakes must not
 * fill the memory or the screen, so a list ends after ERRS_MAX entries with a line that says so. Messages quote what was given,
 * which may be any bytes: what a terminal would obey, or JSON cannot carry, becomes `?`.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "err.h"

#define ERRS_MAX 200

/* How many bytes of `s` are one character of UTF-8 (RFC 3629 4) that a line may have in it; 0: none. */
static size_t character(const unsigned char *s)
{
	size_t more = s[0] < 0x80 ? 0 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
	/* Too long for what it says, half of a surrogate pair, above U+10FFFF, a control character of C1. */
	bool wrong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
		     (s[0] == 0xf4 && s[1] >= 0x90) || (s[0] == 0xc2 && s[1] < 0xa0);

	if (s[0] < 0x20 || s[0] == 0x7f || (s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4 || wrong)
		return 0;
	for (size_t i = 1; i <= more; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return more + 1;
}

char *err_plain(char *text)
{
	size_t n;

	for (unsigned char *s = (unsigned char *)text; s && *s; s += n) {
		n = character(s);
		if (!n) {
			*s = '?';
			n = 1;
		}
	}
	return text;
}

static void append(struct errs *e, struct where where, const char *key, char *text)
{
	struct err *v;

	v = realloc(e->v, (e->n + 1) * sizeof(*v));
	if (!v) {
		free(text);
		return;
	}
	e->v = v;
	v += e->n++;
	v->where = where;
	v->key = err_plain(key && *key ? strdup(key) : NULL);
	v->text = err_plain(text);
	v->item = NULL;
	v->column = 0;
}

static void vadd(struct errs *e, struct where where, const char *key, const char *fmt, va_list ap)
{
	char *text;

	if (!e || e->n > ERRS_MAX)
		return;
	if (e->n == ERRS_MAX) {
		append(e, (struct where){where.file, 0}, NULL, strdup("more errors follow; these are the first"));
		return;
	}
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	append(e, where, key, text);
}

int errs_add(struct errs *e, struct where where, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vadd(e, where, key, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int errs_fail(struct errs *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vadd(e, (struct where){NULL, 0}, NULL, fmt, ap);
	va_end(ap);
	return code < 0 ? code : -code;
}

int errs_column(struct errs *e, const char *key, unsigned column, const char *text)
{
	size_t n = e ? e->n : 0;

	errs_add(e, (struct where){NULL, 0}, key, "%s", text);
	if (e && e->n > n)
		e->v[n].column = column;
	return -EINVAL;
}

char *err_text(const struct err *e)
{
	const char *text = e->text ? e->text : "out of memory";
	const char *file = e->where.file ? e->where.file : "";
	const char *key = e->key ? e->key : "";
	const char *item = e->item ? e->item : "";
	char line[16] = "", column[24] = "", *ret;

	if (e->where.file && e->where.line > 0)
		snprintf(line, sizeof(line), ":%d", e->where.line);
	if (e->column)
		snprintf(column, sizeof(column), "column %u: ", e->column);
	if (asprintf(&ret, "%s%s%s%s%s%s%s%s%s%s", file, line, *file ? ": " : "", key, *item ? " (" : "", item, *item ? ")" : "",
		     *key ? ": " : "", column, text) < 0)
		return NULL;
	return ret;
}

void errs_free(struct errs *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++) {
		free(e->v[i].key);
		free(e->v[i].item);
		free(e->v[i].text);
	}
	free(e->v);
	e->v = NULL;
	e->n = 0;
}

static const char *intern(const char *name)
{
	static char **files;
	static size_t n;
	char **v;

	for (size_t i = 0; i < n; i++)
		if (!strcmp(files[i], name))
			return files[i];
	v = realloc(files, (n + 1) * sizeof(*v));
	if (!v)
		return "configuration";
	files = v;
	files[n] = strdup(name);
	return files[n] ? files[n++] : "configuration";
}

const char *where_file(const char *name)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* models are read beside the event loop too */
	const char *ret;

	if (!name)
		return NULL;
	pthread_mutex_lock(&lock);
	ret = intern(name);
	pthread_mutex_unlock(&lock);
	return ret;
}
