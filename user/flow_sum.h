/* flow_sum.h: what the data plane reckons for a flow, reckoned by sluiced for one that it puts in itself:
 * tests/unit/flow_sum_test.c holds the two against each other. */
#ifndef SLUICE_FLOW_SUM_H
#define SLUICE_FLOW_SUM_H

#include <stdint.h>
#include <sluice/abi.h>

/* What the change from the addresses s, d to to_s, to_d, and from ports to ports, does to checksums (RFC 1624): bpf/csum.h. IPv4
 * addresses mapped. */
uint16_t flow_sum_addrs(const struct addr *s, const struct addr *d, const struct addr *to_s, const struct addr *to_d);
uint16_t flow_sum_ports(__be16 s, __be16 d, __be16 to_s, __be16 to_d);
/* The hash of a remote end in a mapping's key, never 0: nat_remote() of bpf/nat.h. */
uint32_t flow_sum_remote(const struct addr *remote, __be16 port);

#endif
