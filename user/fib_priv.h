/* fib_priv.h: what fib.c (prefixes in, results out), fib_plan.c and fib_commit.c (into the data plane's memory), fib_adopt.c (out
 * of it, after a restart) and fib_repair.c (what is wrong there, anew) share.
 */
#ifndef SLUICE_USER_FIB_PRIV_H
#define SLUICE_USER_FIB_PRIV_H

#include "fib.h"
#include "fib_node.h"
#include "fib_units.h"

#define DIRECT_BITS  16
#define DIRECT_SLOTS (1u << DIRECT_BITS)

/* The first 16 bits of VRF 0, one family. */
struct direct {
	uint32_t *mem;			  /* the data plane's table */
	uint32_t value[2 * DIRECT_SLOTS]; /* prefixes of 0..16 bits by their place in the binary tree: 1 is /0 */
	uint32_t wanted[DIRECT_SLOTS];	  /* their result for each slot */
	struct fib_node *child[DIRECT_SLOTS];
	uint16_t dirty[DIRECT_SLOTS]; /* slots to write, each at most once */
	bool is_dirty[DIRECT_SLOTS];
	uint32_t n_dirty;
};

/* One family of another VRF. */
struct root {
	uint32_t value; /* of /0 */
	struct fib_node *node;
	bool dirty;
};

struct fib {
	struct fib_unit *units;
	struct fib_root *roots;
	struct fib_units *us;
	uint32_t n_units, needed, max_needed; /* set aside, of */
	uint32_t count[2], limit[2];
	struct direct *direct[2];
	struct root root[VRF_MAX][2];
	struct fib_dirty {
		struct fib_node **v;
		size_t n, cap;
	} dirty[16], dead; /* by depth; dead: taken out, maybe still reachable */
	struct fib_stale { /* blocks of nodes that get others, maybe still reachable */
		struct fib_run {
			const struct fib_node *of;
			uint32_t unit, n;
		} *v;
		size_t n, cap;
	} stale;
	uint32_t changes; /* since a commit was tried */
	bool put_off;	  /* a commit waits for a grace period that was asked for */
	bool damaged;
	uint32_t nowhere; /* what is to be written behind the end of the memory, where its words say so */
};

static inline int fib_family_index(uint8_t family)
{
	return family == 6;
}

static inline uint16_t fib_first16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

/* ---- fib.c */

/* A new empty node below `parent`, or at *top: if nothing comes into it, the next commit takes it out again. */
int fib_add_node(struct fib *f, struct fib_node *parent, struct fib_node **top, uint16_t vrf, int fi, uint8_t depth,
		 uint16_t slot, struct fib_node **ret);
/* Sets memory aside for what the node holds. -E2BIG. */
int fib_reserve(struct fib *f, struct fib_node *n);
/* The next commit looks at it. -ENOMEM. */
int fib_mark(struct fib *f, struct fib_node *n);
void fib_mark_direct(struct direct *d, uint16_t slot);
int fib_dirty_push(struct fib_dirty *d, struct fib_node *n);

/* Which word of a block (an entry with FIB_NODE) the search for a key, the next 32 bits of an address, ends at. The memory is not
 * trusted: where it is damaged, the word may lie beyond its end. */
uint32_t fib_word_of(const struct fib *f, uint32_t entry, uint32_t key);

/* ---- fib_plan.c */

/* Makes the plan of what is dirty: roles are set, empty nodes are dead, what must be written with others is dirty too. want[n]:
 * so many blocks of n units it takes at most. -ENOMEM. */
int fib_plan(struct fib *f, uint32_t want[FIB_RUN_MAX + 1]);
/* After it, for want of memory: chooses nodes that can be written without the others, as long as there is memory for them, and
 * sets it aside. False: for none. */
bool fib_plan_part(struct fib *f);
/* The most units that the node's next block takes, but for a flat one, which it gets where there are some to spare. */
unsigned fib_plan_units(const struct fib_node *n);
/* The node's block is given back when the node is written, and packets led past it. -ENOMEM. */
int fib_stale_push(struct fib *f, const struct fib_node *n);

/* ---- fib_commit.c */

/* The word of a block that holds its fallback; the one with the entry for a key (fib_word_of()), or, beyond the end, one that no
 * packet reads. */
uint32_t *fib_fallback_word(const struct fib *f, uint32_t entry);
uint32_t *fib_entry_word(struct fib *f, uint32_t entry, uint32_t key);

/* ---- fib_adopt.c */

/* Makes nodes of what the memory holds. -EINVAL, -EBUSY, -E2BIG: it is no FIB; -ENOMEM. */
int fib_adopt(struct fib *f);

#endif
