/* named.c: see named.h. */
#include "named.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "log.h"

void named_add(struct named *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (v->n < NAMED_MAX) {
		vsnprintf(v->text[v->n], sizeof(v->text[0]), fmt, ap);
		err_plain(v->text[v->n]); /* a rule may be for netdevs of any name */
	}
	va_end(ap);
	v->n++;
}

static size_t texts(const struct named *v)
{
	return v->n < NAMED_MAX ? v->n : NAMED_MAX;
}

static bool has(const struct named *v, const char *text)
{
	for (size_t i = 0; i < texts(v); i++)
		if (!strcmp(v->text[i], text))
			return true;
	return false;
}

void named_tell(const struct named *now, const struct named *old, const char *what)
{
	if (old->n > NAMED_MAX && now->n > NAMED_MAX)
		return;
	for (size_t i = 0; i < texts(now); i++)
		if (!has(old, now->text[i]))
			log_error("%s", now->text[i]);
	if (now->n > NAMED_MAX)
		log_error("more of the kernel's %s are not followed: `sluice status` says how many", what);
}

void named_list(const struct named *v, json_t *list)
{
	for (size_t i = 0; i < texts(v); i++)
		json_array_append_new(list, json_string(v->text[i]));
}
