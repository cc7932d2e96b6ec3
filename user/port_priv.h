/* port_priv.h: the state of the ports, for port.c, port_want.c and port_show.c alone. */
#ifndef SLUICE_PORT_PRIV_H
#define SLUICE_PORT_PRIV_H

#include <net/if.h>
#include <sluice/drop.h>
#include "sw.h"

/* A netdev that is to be a port. */
struct port_want {
	char name[IFNAMSIZ];
	int ifindex;
	uint32_t mtu;
	bool peer; /* PORT_F_PEER */
	bool down; /* set down, or without carrier */
	uint8_t mac[6];
	const struct port_cfg *cfg; /* NULL: a host port, or that of cut.c */
	bool cut;		    /* of mode PORT_CUT */
	uint16_t host_vlan;	    /* of a host port */
	uint16_t iface;
	uint16_t id; /* 0: not decided */
};

struct port_slot {
	struct port e;		      /* as the table has it; mode PORT_NONE: free */
	char shown[IFNAMSIZ];	      /* its name; what is no text in it is a `?` */
	const struct port_want *want; /* during a reconciliation */
	uint8_t mac[6];		      /* of the netdev as it was last seen by this life */
	bool attached;		      /* by this life */
	uint8_t xdp;		      /* enum xdp_want it was attached with */
	struct attachment att;
	char note[160];
};

struct port_refusal {
	char name[IFNAMSIZ];
	int ifindex;
	char reason[256];
};

struct ports {
	struct port_slot slot[PORT_MAX];
	struct port_refusal *refused;
	size_t n_refused;
	bool swept; /* links of a former life that nobody knows are gone */
};

/* port_want.c */
struct port_wants {
	struct sw *sw;
	struct port_want *v; /* to be freed, also when it fails */
	size_t n;
};

int port_wants(struct port_wants *w); /* -ENOMEM */
/* `e` as it is wanted; what nobody here decides stays. */
void port_entry_of(const struct port_want *w, struct port *e);
void port_refuse(struct ports *ps, const char *name, int ifindex, const char *reason);

#endif
