/* errjson.h: errors as the JSON that the API answers and that the CLI prints under -j. */
#ifndef SLUICE_ERRJSON_H
#define SLUICE_ERRJSON_H

#include <jansson.h>
#include "err.h"

/* {"errors": [{"file", "line", "key", "message", "text"}]}; file and key may be null; of an item of a list there is an "item" too
 * (err.h); `text` is the whole in one line; of one line that was asked there is a "column" (1..). */
json_t *errs_json(const struct errs *errs);

#endif
