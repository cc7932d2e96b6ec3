/* sysctl.h: the kernel's switches of the network, /proc/sys/net/…: files of a value each. The path's rest is given as for
 * printf().
 */
#ifndef SLUICE_SYSCTL_H
#define SLUICE_SYSCTL_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"

/* The value's first character; 0: there is no such switch. */
char sysctl_get(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The value; `otherwise`: there is no such switch, or it holds no number. */
uint32_t sysctl_number(uint32_t otherwise, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* False: there is none, or it does not take the value. */
bool sysctl_set(const char *value, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Those that sluiced has set from 0 to 1 and sets back stand in a file as well, for `--destroy`, which cannot read the maps of
 * another version. A line each: `+` before one is set, `-` after it was set back. */
int sysctl_notes_open(const char *file, struct errs *errs);
void sysctl_note(bool set, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* All that are noted as set are 0 again, where they are 1 still. */
void sysctl_notes_undo(const char *file);

#endif
