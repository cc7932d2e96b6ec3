/* parse.h: YAML or JSON text into a tree of nodes that know their lines; the syntax, before any meaning.
 *
 * Stands between libyaml's events and model_parse.c. The text may be hostile: its size, depth, number of nodes and the
 * expansion of aliases are bounded; tags, several documents and recursive aliases are refused.
 */
#ifndef SLUICE_PARSE_H
#define SLUICE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include "err.h"

#define PARSE_TEXT_MAX	(16u << 20) /* bytes of a document */
#define PARSE_DEPTH_MAX 32
#define PARSE_NODES_MAX 1000000
#define PARSE_ALIAS_MAX 65536 /* nodes that aliases may add */

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	int line;
	bool quoted;		   /* scalars: "…" or '…' or a block: never null */
	const char *text;	   /* scalars: NUL-terminated, without NULs inside */
	const struct node *key;	   /* of a value in a mapping: its key, a scalar; NULL in a list */
	const struct node *dup_of; /* of a value in a mapping: the first value under the same key; NULL: is the first */
	struct node *first, *next; /* children of a list or mapping, in the order of the text */
	struct node *last;
	size_t n; /* number of children */
};

struct doc;

/* `file` names the source in messages (interned: where_file()). NULL and one error when the text is not one document. An
 * empty one has no root. */
struct doc *doc_parse(const char *text, size_t len, const char *file, struct errs *errs);
const struct node *doc_root(const struct doc *d); /* NULL: empty */
void doc_free(struct doc *d);

/* An empty plain scalar, ~ or null: nothing was said. */
bool node_is_null(const struct node *n);

#define SHOW_TEXT 72
/* `text` between backquotes for a message: control characters escaped, long texts cut. */
const char *show_text(const char *text, char buf[SHOW_TEXT]);
/* A node for a message: its text, or "a list", "a mapping", "nothing". */
const char *show_node(const struct node *n, char buf[SHOW_TEXT]);

#endif
