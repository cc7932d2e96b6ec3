/* errjson.c: between struct errs and JSON.
 */
#include <stdlib.h>
#include "errjson.h"

json_t *errs_json(const struct errs *errs)
{
	json_t *list = json_array();

	for (size_t i = 0; i < errs->n; i++) {
		const struct err *e = &errs->v[i];
		char *text = err_text(e);
		json_t *o = json_pack("{s:s?, s:i, s:s?, s:s?, s:s?}", "file", e->where.file, "line", e->where.line, "key",
				      e->key, "message", e->text, "text", text);

		if (o && e->item)
			json_object_set_new(o, "item", json_string(e->item));
		if (o && e->column)
			json_object_set_new(o, "column", json_integer(e->column));
		json_array_append_new(list, o);
		free(text);
	}
	return json_pack("{s:o}", "errors", list);
}
