/* show.h: pieces of JSON that more than one noun shows. */
#ifndef SLUICE_SHOW_H
#define SLUICE_SHOW_H

#include <jansson.h>
#include "sw.h"

/* [10, 20, "100-199"], as the configuration writes them. */
json_t *show_vlans(const uint64_t vlans[VLAN_IDS / 64]);
/* {"rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "forwarded", "to_host", "dropped"} */
json_t *show_port_counters(struct sw *sw, uint16_t id);

#endif
