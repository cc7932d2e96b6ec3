/* log.h: lines on stderr for the operator and the journal. Only the outermost callers log (the program, events, timers, the
 * loop): everything else returns words in a `struct errs`.
 */
#ifndef SLUICE_LOG_H
#define SLUICE_LOG_H

#include <stdbool.h>
#include "err.h"

void log_verbose(bool on);
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* only after log_verbose(true) */
/* One line for each error; `prefix` may be NULL. */
void log_errs(const char *prefix, const struct errs *errs);
/* One line for each line of `text`. */
void log_lines(const char *prefix, const char *text);

#endif
