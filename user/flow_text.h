/* flow_text.h: a connection as one line, as JSON or as cells with tabs between them; made without allocations, since a listing
 * has a million of them.
 */
#ifndef SLUICE_FLOW_TEXT_H
#define SLUICE_FLOW_TEXT_H

#include <stddef.h>
#include "flow_pair.h"
#include "text.h"

struct sw;

#define FLOW_LINE 4096 /* more than the longest line takes */

/* What is written beyond the end is left out. */
struct line {
	size_t len;
	char text[FLOW_LINE];
};

void line_put(struct line *l, const char *text);
void line_number(struct line *l, uint64_t n);
void line_json(struct line *l, const char *text); /* as a JSON string; NULL: null */
/* As addr_text() writes it; inet_ntop() takes longer than everything else of a line together. */
const char *flow_addr_text(const struct addr *a, char buf[ADDR_TEXT]);

/* Members of a JSON object, without braces: docs/api.md has them. Completes the pair. */
void flow_text_json(const struct sw *sw, struct flow_pair *p, struct line *l);
/* Cells, without an end of line. Completes the pair. */
void flow_text_cells(const struct sw *sw, struct flow_pair *p, struct line *l);
/* What the cells are. */
void flow_text_titles(const struct sw *sw, struct line *l);

#endif
