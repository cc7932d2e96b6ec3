/* parse.c: libyaml's events into a tree of nodes (parse.h).
 *
 * The tree is built on a stack of open collections, so that depth is a number and not the C stack. Nodes and texts live in
 * an arena that ends with the document.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <strings.h>
#include <yaml.h>
#include "parse.h"

#define ARENA_CHUNK 65536

struct chunk {
	struct chunk *next;
	size_t used, size;
	max_align_t data[];
};

struct anchor {
	const char *name;
	const struct node *node;
};

struct doc {
	struct chunk *chunks;
	struct node *root;
};

struct builder {
	struct doc *doc;
	yaml_parser_t parser;
	struct where where; /* of the event at hand */
	struct errs *errs;
	struct node *open[PARSE_DEPTH_MAX];
	const struct node *key[PARSE_DEPTH_MAX]; /* the key that waits for its value */
	int depth;
	struct anchor *anchors;
	size_t n_anchors, n_nodes, n_alias;
};

static void *arena(struct doc *d, size_t size)
{
	struct chunk *c = d->chunks;
	void *ret;

	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (!c || c->size - c->used < size) {
		size_t room = size > ARENA_CHUNK ? size : ARENA_CHUNK;

		c = malloc(sizeof(*c) + room);
		if (!c)
			return NULL;
		*c = (struct chunk){.next = d->chunks, .size = room};
		d->chunks = c;
	}
	ret = (char *)c->data + c->used;
	c->used += size;
	return memset(ret, 0, size);
}

static struct node *node_new(struct builder *b, enum node_kind kind, int line)
{
	struct node *n;

	if (++b->n_nodes > PARSE_NODES_MAX) {
		errs_add(b->errs, b->where, NULL, "more than %d values", PARSE_NODES_MAX);
		return NULL;
	}
	n = arena(b->doc, sizeof(*n));
	if (!n) {
		errs_fail(b->errs, ENOMEM, "out of memory");
		return NULL;
	}
	n->kind = kind;
	n->line = line;
	return n;
}

static char *text_new(struct builder *b, const void *text, size_t len)
{
	char *ret;

	if (memchr(text, '\0', len)) {
		errs_add(b->errs, b->where, NULL, "a NUL character is not allowed");
		return NULL;
	}
	ret = arena(b->doc, len + 1);
	if (!ret) {
		errs_fail(b->errs, ENOMEM, "out of memory");
		return NULL;
	}
	return memcpy(ret, text, len);
}

/* Puts a finished scalar or a fresh collection where the text has it: as the root, an element, a key or a value. */
static int attach(struct builder *b, struct node *n)
{
	struct node *parent;

	if (!b->depth) {
		b->doc->root = n;
		return 0;
	}
	parent = b->open[b->depth - 1];
	if (parent->kind == NODE_MAP) {
		if (!b->key[b->depth - 1]) {
			if (n->kind != NODE_SCALAR)
				return errs_add(b->errs, b->where, NULL, "a key must be a single word, not a list or a mapping");
			b->key[b->depth - 1] = n;
			return 0;
		}
		n->key = b->key[b->depth - 1];
		b->key[b->depth - 1] = NULL;
	}
	if (parent->last)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
	parent->n++;
	return 0;
}

static int remember_anchor(struct builder *b, const yaml_char_t *name, const struct node *n)
{
	struct anchor *v;

	if (!name)
		return 0;
	v = realloc(b->anchors, (b->n_anchors + 1) * sizeof(*v));
	if (!v)
		return errs_fail(b->errs, ENOMEM, "out of memory");
	b->anchors = v;
	v[b->n_anchors].node = n;
	v[b->n_anchors].name = text_new(b, name, strlen((const char *)name));
	if (!v[b->n_anchors].name)
		return -EINVAL;
	b->n_anchors++;
	return 0;
}

/* A copy of what an anchor names; the copies count against limits of their own, so that nine aliases of nine aliases of …
 * end early. Recursion is bounded by `depth`. */
static struct node *copy_tree(struct builder *b, const struct node *from, int depth)
{
	struct node *ret, *child;

	if (depth > PARSE_DEPTH_MAX) {
		errs_add(b->errs, b->where, NULL, "nested deeper than %d levels", PARSE_DEPTH_MAX);
		return NULL;
	}
	if (++b->n_alias > PARSE_ALIAS_MAX) {
		errs_add(b->errs, b->where, NULL, "aliases (*) expand to more than %d values", PARSE_ALIAS_MAX);
		return NULL;
	}
	ret = node_new(b, from->kind, from->line);
	if (!ret)
		return NULL;
	ret->quoted = from->quoted;
	ret->text = from->text;
	for (const struct node *c = from->first; c; c = c->next) {
		child = copy_tree(b, c, depth + 1);
		if (!child)
			return NULL;
		child->key = c->key;
		child->dup_of = c->dup_of;
		if (ret->last)
			ret->last->next = child;
		else
			ret->first = child;
		ret->last = child;
		ret->n++;
	}
	return ret;
}

struct entry {
	struct node *value;
	size_t at;
};

static int cmp_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = strcmp(x->value->key->text, y->value->key->text);

	return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* Marks the values of a mapping whose key stood there before. Sorted, because a hostile mapping has 500,000 keys. */
static int mark_duplicates(struct builder *b, struct node *map)
{
	struct node *first;
	struct entry *v;
	size_t i = 0;

	if (map->n < 2)
		return 0;
	v = malloc(map->n * sizeof(*v));
	if (!v)
		return errs_fail(b->errs, ENOMEM, "out of memory");
	for (struct node *c = map->first; c; c = c->next, i++)
		v[i] = (struct entry){c, i};
	qsort(v, map->n, sizeof(*v), cmp_entries);
	first = v[0].value;
	for (i = 1; i < map->n; i++) {
		if (strcmp(v[i].value->key->text, first->key->text))
			first = v[i].value;
		else
			v[i].value->dup_of = first;
	}
	free(v);
	return 0;
}

static int on_alias(struct builder *b, const yaml_event_t *ev)
{
	const char *name = (const char *)ev->data.alias.anchor;
	char show[SHOW_TEXT];
	struct node *n;

	for (size_t i = b->n_anchors; i-- > 0;) {
		if (strcmp(b->anchors[i].name, name))
			continue;
		for (int d = 0; d < b->depth; d++)
			if (b->open[d] == b->anchors[i].node)
				return errs_add(b->errs, b->where, NULL, "the alias *%s stands inside what it names", name);
		n = copy_tree(b, b->anchors[i].node, b->depth);
		return n ? attach(b, n) : -EINVAL;
	}
	return errs_add(b->errs, b->where, NULL, "no anchor is called %s", show_text(name, show));
}

static int on_scalar(struct builder *b, const yaml_event_t *ev)
{
	struct node *n;

	if (ev->data.scalar.tag)
		return errs_add(b->errs, b->where, NULL, "tags (!) are not taken");
	n = node_new(b, NODE_SCALAR, b->where.line);
	if (!n)
		return -EINVAL;
	n->text = text_new(b, ev->data.scalar.value, ev->data.scalar.length);
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	if (!n->text || remember_anchor(b, ev->data.scalar.anchor, n))
		return -EINVAL;
	return attach(b, n);
}

static int on_start(struct builder *b, enum node_kind kind, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	struct node *n;

	if (tag)
		return errs_add(b->errs, b->where, NULL, "tags (!) are not taken");
	if (b->depth == PARSE_DEPTH_MAX)
		return errs_add(b->errs, b->where, NULL, "nested deeper than %d levels", PARSE_DEPTH_MAX);
	n = node_new(b, kind, b->where.line);
	if (!n || remember_anchor(b, anchor, n) || attach(b, n))
		return -EINVAL;
	b->key[b->depth] = NULL;
	b->open[b->depth++] = n;
	return 0;
}

static int on_end(struct builder *b)
{
	struct node *n = b->open[--b->depth];

	return n->kind == NODE_MAP ? mark_duplicates(b, n) : 0;
}

static int on_event(struct builder *b, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->doc->root)
			return errs_add(b->errs, b->where, NULL,
					"a second document starts here: a configuration is one document");
		return 0;
	case YAML_ALIAS_EVENT:
		return on_alias(b, ev);
	case YAML_SCALAR_EVENT:
		return on_scalar(b, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(b, NODE_LIST, ev->data.sequence_start.anchor, ev->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return on_start(b, NODE_MAP, ev->data.mapping_start.anchor, ev->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_end(b);
	default:
		return 0;
	}
}

static int line_at(const char *text, size_t len, size_t offset)
{
	int line = 1;

	for (size_t i = 0; i < len && i < offset; i++)
		line += text[i] == '\n';
	return line;
}

/* Whether a tab stands before the first other character of a line. */
static bool tab_indents(const char *text, size_t len, int line)
{
	const char *end = text + len;

	for (; line > 1 && text < end; text++)
		line -= *text == '\n';
	while (text < end && *text == ' ')
		text++;
	return text < end && *text == '\t';
}

/* What libyaml says, with the two mistakes that it words badly put plainly. */
static int syntax_error(struct builder *b, const char *text, size_t len)
{
	const yaml_parser_t *p = &b->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return errs_fail(b->errs, ENOMEM, "out of memory");
	if (p->error == YAML_READER_ERROR) {
		b->where.line = line_at(text, len, p->problem_offset);
		return errs_add(b->errs, b->where, NULL, "not UTF-8 text: %s", p->problem);
	}
	b->where.line = p->problem_mark.line + 1;
	if (tab_indents(text, len, b->where.line))
		return errs_add(b->errs, b->where, NULL, "a tab does not indent: use spaces");
	if (p->context)
		return errs_add(b->errs, b->where, NULL, "%s, %s (line %zu)", p->problem, p->context, p->context_mark.line + 1);
	return errs_add(b->errs, b->where, NULL, "%s", p->problem ? p->problem : "not YAML");
}

static int build(struct builder *b, const char *text, size_t len)
{
	bool done = false;
	yaml_event_t ev;
	int err = 0;

	if (!yaml_parser_initialize(&b->parser))
		return errs_fail(b->errs, ENOMEM, "out of memory");
	yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b->parser, (const unsigned char *)text, len);
	while (!err && !done) {
		if (!yaml_parser_parse(&b->parser, &ev)) {
			err = syntax_error(b, text, len);
			break;
		}
		b->where.line = ev.start_mark.line + 1;
		err = on_event(b, &ev);
		done = ev.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&b->parser);
	return err;
}

struct doc *doc_parse(const char *text, size_t len, const char *file, struct errs *errs)
{
	struct builder b = {.where = {where_file(file), 0}, .errs = errs};
	int err;

	if (len > PARSE_TEXT_MAX) {
		errs_add(errs, b.where, NULL, "longer than %u MiB", PARSE_TEXT_MAX >> 20);
		return NULL;
	}
	b.doc = calloc(1, sizeof(*b.doc));
	if (!b.doc) {
		errs_fail(errs, ENOMEM, "out of memory");
		return NULL;
	}
	err = build(&b, text, len);
	free(b.anchors);
	if (err) {
		doc_free(b.doc);
		return NULL;
	}
	return b.doc;
}

const struct node *doc_root(const struct doc *d)
{
	return d->root;
}

void doc_free(struct doc *d)
{
	struct chunk *next;

	if (!d)
		return;
	for (struct chunk *c = d->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	free(d);
}

bool node_is_null(const struct node *n)
{
	return n->kind == NODE_SCALAR && !n->quoted && (!*n->text || !strcmp(n->text, "~") || !strcasecmp(n->text, "null"));
}

const char *show_text(const char *text, char buf[SHOW_TEXT])
{
	size_t n = 0;

	buf[n++] = '`';
	for (; *text; text++) {
		unsigned char c = *text;

		if (n > SHOW_TEXT - 12) {
			/* Not in the middle of a UTF-8 sequence. */
			if ((c & 0xc0) == 0x80 && n < SHOW_TEXT - 8) {
				buf[n++] = c;
				continue;
			}
			n += snprintf(buf + n, SHOW_TEXT - n, "...");
			break;
		}
		if (c < 0x20 || c == 0x7f)
			n += snprintf(buf + n, SHOW_TEXT - n, "\\x%02x", c);
		else
			buf[n++] = c;
	}
	buf[n++] = '`';
	buf[n] = '\0';
	return buf;
}

const char *show_node(const struct node *n, char buf[SHOW_TEXT])
{
	if (n->kind == NODE_LIST)
		return "a list";
	if (n->kind == NODE_MAP)
		return "a mapping";
	if (node_is_null(n))
		return "nothing";
	return show_text(n->text, buf);
}
