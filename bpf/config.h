/* config.h: the feature switches, one definition for each object: sluiced sets them before load, the verifier removes the rest.
 */
#ifndef SLUICE_CONFIG_H
#define SLUICE_CONFIG_H

#include "pkt.h"

const volatile __u8 cfg_ipv6 = 1;
const volatile __u8 cfg_l3 = 1;
const volatile __u8 cfg_nat = 1;
const volatile __u8 cfg_nat_log = 0;
const volatile __u8 cfg_account = 1;
const volatile __u8 cfg_rpf = 1;
const volatile __u8 cfg_mss = 1;
const volatile __u8 cfg_inner = 1;
const volatile __u8 cfg_trace = 0;
const volatile __u8 cfg_resize = 0; /* tables of another size are being filled, see flowtab.h */

#endif
