/* named.h: what of the kernel's is known and not followed: how much there is, and of the first NAMED_MAX what they are. Each is
 * logged once while it is among them, and `status` shows them. Between who finds them (rules_other.c, events.c) and the log.
 */
#ifndef SLUICE_NAMED_H
#define SLUICE_NAMED_H

#include <jansson.h>
#include <stddef.h>

#define NAMED_MAX 16

struct named {
	size_t n; /* of all; those of the first NAMED_MAX have a text */
	char text[NAMED_MAX][384];
};

/* One more. */
void named_add(struct named *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Logs those that `old` does not name, unless there were more than names then already; that there are more now: of `what`. */
void named_tell(const struct named *now, const struct named *old, const char *what);
/* The texts are appended. */
void named_list(const struct named *v, json_t *list);

#endif
