/* neighbor_priv.h: what the files of the noun `neighbor` share: neighbor.c (the mirror's neighbours into the table) and
 * neighbor_list.c (shown).
 */
#ifndef SLUICE_NEIGHBOR_PRIV_H
#define SLUICE_NEIGHBOR_PRIV_H

#include <linux/neighbour.h>
#include "hash.h"
#include "sw.h"

#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

struct neighbor_entry {
	struct hash_node node;
	struct neighbor_key key;
	struct neighbor_static {
		bool wanted, set; /* of the configuration; in the kernel by us */
		uint8_t mac[6];
		int ifindex; /* where it was set */
	} fixed;
	uint16_t state; /* NUD_*; 0: the kernel does not know it */
	uint8_t mac[6];
	bool stored; /* is in the table as valid or failed */
	uint16_t flags;
	uint32_t failed_s, probed_s; /* when; 0: not */
};

struct neighbors {
	struct sw *sw;
	struct table *table;
	struct event *timer;
	struct hash entries;
	uint32_t n_refused; /* found the table full */
	uint32_t walked_s;
};

struct neighbor_entry *neighbor_find(const struct neighbors *ns, uint16_t iface, const struct addr *a); /* NULL: none */

#endif
