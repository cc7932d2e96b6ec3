/* err.h: errors as values: what went wrong, where, and what is allowed.
 *
 * Functions that can fail return 0 or -errno and fill a `struct errs` where the reader needs words. Several errors may be
 * gathered (a configuration is checked to its end). Only the outermost caller prints.
 */
#ifndef SLUICE_ERR_H
#define SLUICE_ERR_H

#include <stddef.h>

/* Where in a configuration: file (or "api", "cli"), line (1.., 0 unknown). The key path goes into the text of the message. */
struct where {
	const char *file; /* interned for the life of the process */
	int line;
};

struct err {
	struct where where; /* file NULL: not about a configuration */
	char *key;	    /* "ports.eth0.native", or NULL */
	char *item;	    /* what of a list that is, as its user knows it: "10.0.0.0/8 via 10.0.0.1", or NULL */
	char *text;	    /* "VLAN 4095 is not in 1..4094" */
	unsigned column;    /* in what was asked, 1..; 0: the error has none */
};

struct errs {
	struct err *v;
	size_t n;
};

/* Append one line; returns -EINVAL (or -code for errs_fail) so that callers may `return errs_add(...)`. `e` may be NULL.
 * Control characters and what is not UTF-8, also a character that a "%.32s" cut in half, become `?`. */
int errs_add(struct errs *e, struct where where, const char *key, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int errs_fail(struct errs *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Something in one line that was asked: `key` says which, `column` where in it. -EINVAL. */
int errs_column(struct errs *e, const char *key, unsigned column, const char *text);
/* "file:line: key: text", "file:line: key (item): text", or "key: column N: text", into a new string; caller frees. */
char *err_text(const struct err *e);
/* The same for what is put into `item`, in place; returns it. NULL for NULL. */
char *err_plain(char *text);
void errs_free(struct errs *e);
/* The one copy of a file's name that a `struct where` may point to for the life of the process; NULL for NULL. */
const char *where_file(const char *name);

#endif
