/* globs.h: names of netdevs and the globs that match them.
 *
 * Stands between the configuration's `ports` and fnmatch(3). A glob knows `*`, `?` and `[...]` with ranges and a leading `!`;
 * escapes, character classes and names that the kernel would not take are refused, so that the intersection of two globs
 * can be decided exactly.
 */
#ifndef SLUICE_GLOBS_H
#define SLUICE_GLOBS_H

#include <net/if.h>
#include <stdbool.h>

/* Whether `s` may be a netdev's name (dev_valid_name() of the kernel, and printable ASCII). NULL: it may; else why not. */
const char *netdev_name_problem(const char *s);
/* The same for a glob: NULL, or what is wrong with it. */
const char *glob_problem(const char *s);
bool is_glob(const char *s);
bool glob_match(const char *glob, const char *name);
/* Whether a netdev's name exists that both match; an example of such a name in *ret. Both must be free of problems. */
bool globs_meet(const char *a, const char *b, char ret[IFNAMSIZ]);

#endif
