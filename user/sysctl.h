/* sysctl.h: the kernel's switches of the network, /proc/sys/net/…: files of a value each. The path's rest is given as for
 * printf().
 */
#ifndef SLUICE_SYSCTL_H
#define SLUICE_SYSCTL_H

#include <stdbool.h>

/* The value's first character; 0: there is no such switch. */
char sysctl_get(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* False: there is none, or it does not take the value. */
bool sysctl_set(const char *value, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
