/* fib_list.h: a sparse branch of the FIB as one block: the prefixes of a node and of those within three bytes below, as ranges.
 *
 * Private to fib_commit.c, which decides what becomes a list, and fib_list.c.
 */
#ifndef SLUICE_FIB_LIST_H
#define SLUICE_FIB_LIST_H

#include "fib_node.h"

#define FIB_LIST_PREFIXES 63 /* and nodes below it: 127 ranges, 16 lists of 8 */
#define FIB_LIST_UNITS	  (1 + FIB_LISTS)

struct fib_list {
	uint32_t form; /* FIB_LIST, or FIB_LIST | FIB_FLAT */
	unsigned units;
	struct fib_unit unit[FIB_LIST_UNITS]; /* the block; its fallback is 0 */
	unsigned n_children;
	struct fib_list_child { /* nodes that begin where the list ends, and what the list gives for the whole of each */
		struct fib_node *node;
		uint32_t fallback;
	} child[FIB_LIST_PREFIXES];
};

/* Of a node of no more weight than FIB_LIST_PREFIXES: what is beyond that is left out. */
void fib_list_make(const struct fib_node *n, struct fib_list *ret);
/* Same ranges: the two differ in entries alone. */
bool fib_list_same_ranges(const struct fib_list *l, const struct fib_unit *block);
/* The first unit of a block that has entries. */
static inline unsigned fib_list_first(uint32_t form)
{
	return form & FIB_FLAT ? 1 : 0;
}

/* Where in a block the entry for a key stands, as a number of words. `limit`: units from there to the end of the memory, at least
 * 1: of damaged memory the answer may lie behind it, but nothing there is read. */
unsigned fib_list_word(const struct fib_unit *block, uint32_t limit, uint32_t form, uint32_t key);

#endif
