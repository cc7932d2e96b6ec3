/* route_audit.h: the inside of the audit of the routes, shared by route_audit.c (the walk, what was found, what is done about it)
 * and route_audit_look.c (one address, and what each table says of it).
 *
 * All the time, in a hundredth of it, the audit goes round the RIB and looks up addresses, inside each route and beside it, as
 * the data plane does, in the data plane's memory: what comes out must be what the RIB has in force. Some of the addresses it
 * asks the kernel as well (in VRF default, and with the mark of vrf_host.c in those that have a table): a route that the kernel
 * answers with must be known as it is, and where a kernel route is in force, the kernel must not answer with less. What differs
 * is looked at again, because changes may be on their way; what differs then is counted, named, logged, and repaired.
 *
 * Not compared: what the kernel says of VRFs without a table, answers out of tables that are not the VRF's (routing rules,
 * which are counted, and imports), routes that sluice gave to the kernel itself or has alone, and which of several sources is
 * preferred, which the kernel decides by metric and sluice by distance.
 */
#ifndef SLUICE_ROUTE_AUDIT_H
#define SLUICE_ROUTE_AUDIT_H

#include "route_priv.h"

enum audit_between { AUDIT_FIB, AUDIT_KERNEL };

/* What the tables say of an address. */
struct audit_look {
	bool differs;
	bool by_rule;	   /* AUDIT_KERNEL: the answer is that of a routing rule of somebody else's, and says nothing */
	uint32_t fib, rib; /* results; `rib` of the route in force */
	struct prefix to;  /* the route that it is about, in the RIB or in the kernel */
	uint64_t said;	   /* of both sides: two looks with the same difference have the same */
	char other[96];	   /* AUDIT_KERNEL: what the kernel says, where it differs, */
	char own[96];	   /* and what the RIB has */
};

/* AUDIT_FIB. */
void audit_look_fib(struct routes *rs, uint16_t vrf, const struct addr *a, struct audit_look *ret);
/* AUDIT_KERNEL; of a VRF that the kernel can be asked about. */
void audit_look_kernel(struct routes *rs, uint16_t vrf, const struct addr *a, struct audit_look *ret);
bool audit_can_ask(const struct routes *rs, uint16_t vrf);
/* A result of the FIB in words. */
void audit_result_text(struct routes *rs, uint32_t result, char *buf, size_t size);

#endif
