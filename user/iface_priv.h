/* iface_priv.h: the state of the interfaces, for iface.c, iface_addr.c and iface_netdev.c alone. */
#ifndef SLUICE_IFACE_PRIV_H
#define SLUICE_IFACE_PRIV_H

#include <net/if.h>
#include "hash.h"
#include "sw.h"

#define SWITCH_END "sw-"
#define VETH_MTU   1500

struct iface_slot {
	char name[IFNAMSIZ]; /* "": free */
	int host_ifindex;    /* the netdev that bears the addresses; 0: not there */
	int switch_ifindex;  /* VLAN interfaces: the other end of the pair */
	bool is_vlan;
	bool valid_mark;      /* IFACE_F_VALID_MARK: sluiced has set the netdev's src_valid_mark */
	bool mark_set;	      /* in this life */
	bool raised;	      /* set up once in this life; an administrator may set it down afterwards */
	uint8_t mac[6];	      /* VLAN interfaces: as it was set */
	uint32_t mtu;	      /* likewise */
	struct prefix *addrs; /* what sluiced put there */
	size_t n_addrs;
};

/* What a VRF lends to its interfaces that have no address of a family: each 0 when it has none. */
struct iface_lent {
	struct prefix v4, v6;
	int order4, order6;
};

struct ifaces {
	struct iface_slot slot[IFACE_MAX]; /* the first one is nobody's */
	struct iface_lent lent[VRF_MAX];
	uint16_t found[2 * IFACE_MAX]; /* ids by a hash of their names; what stands there may be another's, or none's */
	bool swept;		       /* netdevs that a former life left are gone */
};

/* ---- iface_netdev.c */
/* Makes or adopts the veth pair of a VLAN interface, and keeps MAC and MTU as configured. */
int iface_pair_set(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs);
/* Deletes it. */
int iface_pair_delete(struct sw *sw, struct iface_slot *s, struct errs *errs);
/* Deletes pairs that bear the instance's mark and belong to no configured interface. */
int iface_pairs_sweep(struct sw *sw, struct errs *errs);
/* A netdev's state with MAC and MTU; zeros: unchanged. */
int iface_link_set(struct sw *sw, int ifindex, bool raise, const uint8_t *mac, uint32_t mtu, struct errs *errs);
/* The netdev's src_valid_mark: the kernel's check of the reverse path looks where the packet's mark leads. On where it was off,
 * or off again where it was set here. */
void iface_valid_mark(struct sw *sw, struct iface_slot *s, bool on);

/* ---- iface_addr.c */
/* Takes away what sluiced put on the netdev and `cfg` (NULL: nothing) does not have. */
int iface_addrs_remove(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs);
/* Adds what is missing, and remembers all of it as sluiced's. */
int iface_addrs_add(struct sw *sw, struct iface_slot *s, const struct iface_cfg *cfg, struct errs *errs);
/* Remembers, changes nothing. */
int iface_addrs_own(struct iface_slot *s, const struct iface_cfg *cfg);
/* The primary address of each family, as the kernel has them; before the mirror knows, as they were configured. Where the
 * interface has none, the one that its VRF lends it, with IFACE_F_LENT4 and IFACE_F_LENT6. */
void iface_addrs_primary(const struct sw *sw, int ifindex, const struct iface_cfg *cfg, struct iface *ret);
/* What each VRF lends, anew. Before those are built that may need it. */
void iface_addrs_lend(struct sw *sw);
json_t *iface_addrs_show(const struct sw *sw, int ifindex);

/* iface.c: one as JSON; "up", "down" or "absent". */
json_t *iface_show_one(struct sw *sw, const struct iface_cfg *cfg);
const char *iface_state(const struct sw *sw, const struct iface_cfg *cfg);
/* In the slot, and in the table, where a later life finds it. */
void iface_note_valid_mark(struct sw *sw, struct iface_slot *s, bool on);

#endif
