/* fib_repair.c: what stands in the data plane's memory and is not what was written there: by a fault of sluiced, of the memory,
 * or by somebody who wrote into the pinned map. Between the audit (route_audit.c), which finds a wrong answer for an address,
 * and the commit, which writes.
 *
 * A commit alone would not do: it writes what differs in nodes that changed, and where a node's form is what it was, it trusts
 * the words that say which entry is whose. So all nodes on the address's way lose their blocks, as a branch does that turns from
 * bytes into lists, and the store that leads to the first of the new ones is the moment of the change.
 */
#include "fib_priv.h"

#include <errno.h>

/* The node gets a new block; packets follow the old one until then. */
static int renew(struct fib *f, struct fib_node *n)
{
	int r = fib_mark(f, n);

	if (r || !n->block)
		return r;
	r = fib_stale_push(f, n);
	if (r)
		return r;
	n->was = n->published ? fib_node_entry(n) : 0;
	n->block = n->units = n->form = 0;
	n->published = false;
	return 0;
}

int fib_repair(struct fib *f, uint16_t vrf, const struct addr *a)
{
	int fi = fib_family_index(addr_family(a)), r = 0;
	const uint8_t *bytes = a->a8 + (fi ? 0 : 12);
	struct fib_node *n;

	if (vrf == 0) {
		n = f->direct[fi]->child[fib_first16(bytes)];
		fib_mark_direct(f->direct[fi], fib_first16(bytes));
	} else {
		n = f->root[vrf][fi].node;
		f->root[vrf][fi].dirty = true;
	}
	for (; n && !r; n = fib_node_child(n, bytes[n->depth]))
		r = renew(f, n);
	return r;
}
