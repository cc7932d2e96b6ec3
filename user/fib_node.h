/* fib_node.h: sluiced's own picture of the FIB's nodes: the prefixes that end in each, and its children.
 *
 * Private to fib.c (what to set, what to publish, in which order) and fib_node.c (what one node contains).
 */
#ifndef SLUICE_FIB_NODE_H
#define SLUICE_FIB_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sluice/abi.h>

/* A prefix that ends inside a node, by its place in the binary tree of the node's byte: 1 bit long 2..3, 2 bits 4..7, …
 * 8 bits 256..511. Ascending order is thus by length. */
struct fib_item {
	uint16_t place;
	uint32_t value;
};

/* Who holds what ends in a node: its own block, for its byte alone; its own, for four bytes from here; or that of the list it
 * lies in. */
enum fib_role { FIB_ROLE_BYTE, FIB_ROLE_LIST, FIB_ROLE_INSIDE };

struct fib_node {
	struct fib_node *parent; /* NULL: the slot is in a direct table or a root */
	uint32_t block;		 /* its first unit; 0: not written yet */
	uint32_t was;		 /* the entry that packets follow while block is 0; 0: none */
	uint32_t fallback;	 /* what the level above gives for the whole of it */
	uint16_t vrf;
	uint8_t family;
	uint8_t role;	 /* enum fib_role */
	uint8_t depth;	 /* which byte of the address it looks at: 0 is the family's first */
	uint16_t slot;	 /* in the parent: the byte before; in a direct table the first 16 bits; 0 in a root */
	uint8_t units;	 /* of its block */
	uint8_t need;	 /* units set aside for it */
	bool dirty;	 /* stands in a list of fib_commit */
	bool chosen;	 /* is written by a commit of a part */
	bool dead;	 /* taken out of its parent, which may lead to its block still */
	uint32_t form;	 /* of its block: FIB_FORM */
	uint32_t weight; /* prefixes in it and below */
	bool published;	 /* the parent's memory leads to it: to `block`, or to what it was */
	uint16_t n_items, cap_items;
	uint16_t n_children, cap_children;
	struct fib_item *items;	    /* by place */
	struct fib_node **children; /* by slot */
};

/* A node as it shall stand in memory. */
struct fib_image {
	uint64_t starts[4];
	uint8_t before[4];
	unsigned n;
	uint32_t entry[256];
};

struct fib_node *fib_node_new(struct fib_node *parent, uint16_t vrf, uint8_t family, uint8_t depth, uint16_t slot);
void fib_node_free(struct fib_node *n); /* with all below */

uint32_t fib_node_get(const struct fib_node *n, uint16_t place);
/* *ret_old: the value before, 0 none. -ENOMEM. */
int fib_node_set(struct fib_node *n, uint16_t place, uint32_t value, uint32_t *ret_old);
uint32_t fib_node_delete(struct fib_node *n, uint16_t place); /* the value it had, or 0 */
struct fib_node *fib_node_child(const struct fib_node *n, uint8_t slot);
int fib_node_add_child(struct fib_node *n, struct fib_node *child);
void fib_node_remove_child(struct fib_node *n, const struct fib_node *child);
/* The most units that its present items and children can take, in a block of its own or as a part of a list: a list of as many
 * prefixes as may be (fib_list.h) takes no more than this sums up to for the nodes in it. */
unsigned fib_node_need(const struct fib_node *n);

/* The entry that leads to it: to its block, or what was before. 0: none. */
uint32_t fib_node_entry(const struct fib_node *n);
/* Results of the node's own items for each value of its byte; 0: none. */
void fib_node_paint(const struct fib_node *n, uint32_t ret[256]);
void fib_image_make(const uint32_t entries[256], struct fib_image *ret);
unsigned fib_image_units(const struct fib_image *img);
/* Index among the runs of a node in memory. */
unsigned fib_run_of(const struct fib_unit *u, uint8_t byte);

#endif
