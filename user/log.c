/* log.c: between sluiced and its stderr. Under systemd (JOURNAL_STREAM is set) a line starts with its priority, as
 * sd-daemon(3) describes; on a terminal it starts with the program's name.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include "log.h"

static bool verbose;

void log_verbose(bool on)
{
	verbose = on;
}

static void line(const char *priority, const char *fmt, va_list ap)
{
	char buf[2048];

	vsnprintf(buf, sizeof(buf), fmt, ap);
	for (char *p = buf; *p; p++) {
		if (*p == '\n')
			*p = ' ';
	}
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "%s%s\n", priority, buf);
	else
		fprintf(stderr, "sluiced: %s\n", buf);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(SD_ERR, fmt, ap);
	va_end(ap);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(SD_INFO, fmt, ap);
	va_end(ap);
}

void log_debug(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	line(SD_DEBUG, fmt, ap);
	va_end(ap);
}

void log_errs(const char *prefix, const struct errs *errs)
{
	for (size_t i = 0; i < errs->n; i++) {
		char *text = err_text(&errs->v[i]);

		log_error("%s%s%s", prefix ? prefix : "", prefix ? ": " : "", text ? text : "out of memory");
		free(text);
	}
}

void log_lines(const char *prefix, const char *text)
{
	while (text && *text) {
		size_t n = strcspn(text, "\n");

		log_info("%s: %.*s", prefix, (int)n, text);
		text += n + (text[n] == '\n');
	}
}
