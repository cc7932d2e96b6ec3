/* model_check_test.c: what no single key shows: items of a configuration that cannot be together. */
#include "model_util.h"

/* The network that most rows add to: 13 lines. */
#define BASE                                                                                                                     \
	"ports:\n"                                                                                                               \
	"  h1: {mode: access, vlan: 10}\n"                                                                                       \
	"  \"veth*\": {mode: access, vlan: 20}\n"                                                                                \
	"  tor: {mode: trunk, vlans: [10, 20, 100-199], native: 1}\n"                                                            \
	"  up1: {mode: routed}\n"                                                                                                \
	"  up2: {mode: routed}\n"                                                                                                \
	"  tap: {mode: observe}\n"                                                                                               \
	"vrfs: {red: {table: 100}}\n"                                                                                            \
	"interfaces:\n"                                                                                                          \
	"  vlan10: {vlan: 10, addresses: [10.0.10.1/24, \"fd00:10::1/64\"]}\n"                                                   \
	"  vlan20: {vlan: 20, addresses: 10.0.20.1/24, mac: \"02:00:00:00:00:20\", mtu: 9000}\n"                                 \
	"  up1: {port: up1, addresses: [192.0.2.2/30, \"fe80::2/64\"]}\n"                                                        \
	"  vlan30: {vlan: 30, vrf: red, addresses: [10.0.10.1/24]}\n"

static const struct row rows[] = {
	{"good", BASE, ""},
	{"same subnet on two interfaces", BASE "  vlan40: {vlan: 40, addresses: [10.0.10.2/24]}\n",
	 "sluice.yaml:14: interfaces.vlan40.addresses: 10.0.10.2/24 overlaps 10.0.10.1/24 of interface `vlan10` (line 10)\n"},
	{"nested subnet on two interfaces", BASE "  vlan40: {vlan: 40, addresses: [10.0.0.1/16]}\n",
	 "sluice.yaml:14: interfaces.vlan40.addresses: 10.0.0.1/16 overlaps 10.0.10.1/24 of interface `vlan10` (line 10)\n"
	 "sluice.yaml:14: interfaces.vlan40.addresses: 10.0.0.1/16 overlaps 10.0.20.1/24 of interface `vlan20` (line 11)\n"},
	{"same address twice", BASE "  vlan40: {vlan: 40, addresses: [10.4.0.1/24, 10.4.0.1/16]}\n",
	 "sluice.yaml:14: interfaces.vlan40.addresses: 10.4.0.1/16 is the same address as 10.4.0.1/24 of interface `vlan40` "
	 "(line 14)\n"},
	{"same address on two interfaces", BASE "  vlan40: {vlan: 40, addresses: [\"fd00:10::1/64\"]}\n",
	 "sluice.yaml:14: interfaces.vlan40.addresses: fd00:10::1/64 overlaps fd00:10::1/64 of interface `vlan10` (line 10)\n"},
	{"overlap in vrf", BASE "  vlan40: {vlan: 40, vrf: red, addresses: [\"10.0.10.128/32\"]}\n",
	 "sluice.yaml:14: interfaces.vlan40.addresses: 10.0.10.128/32 overlaps 10.0.10.1/24 of interface `vlan30` (line 13) in "
	 "VRF red\n"},
	{"link-local repeats: fine", BASE "  vlan40: {vlan: 40, addresses: [\"fe80::2/64\"]}\n", ""},
	{"two addresses of one subnet: fine", BASE "  vlan40: {vlan: 40, addresses: [10.4.0.1/24, 10.4.0.2/24]}\n", ""},
	{"vlan with two interfaces", BASE "  web: {vlan: 10}\n",
	 "sluice.yaml:14: interfaces.web: VLAN 10 has the interface `vlan10` already (line 10): a VLAN has one\n"},
	{"no such port", BASE "  up9: {port: up9}\n",
	 "sluice.yaml:14: interfaces.up9: no port is called `up9`, and no glob matches it\n"},
	{"port not routed", BASE "  tor: {port: tor}\n",
	 "sluice.yaml:14: interfaces.tor: port `tor` (line 4) is not of the mode routed: only a routed port is an interface "
	 "itself\n"},
	{"vlan iface named as port", BASE "  up2: {vlan: 40}\n",
	 "sluice.yaml:14: interfaces.up2: a port has the same name (line 6): the VLAN's interface is a netdev of its own\n"},
	{"vlan iface matched by glob", BASE "  veth9: {vlan: 40}\n",
	 "sluice.yaml:14: interfaces.veth9: the glob `veth*` of the ports (line 3) matches the name of this VLAN's interface\n"},
	{"iface vrf unknown", BASE "  up2: {port: up2, vrf: blue}\n",
	 "sluice.yaml:14: interfaces.up2: no VRF is called `blue`: list it under `vrfs`\n"},
	{"vrf table twice",
	 "vrfs:\n"
	 "  red: {table: 100}\n"
	 "  blue: {table: 100}\n",
	 "sluice.yaml:3: vrfs.blue: the kernel's table 100 is VRF `red`'s (line 2)\n"},
	{"vrf main table through default",
	 "vrfs:\n"
	 "  default: {table: 100}\n"
	 "  blue: {table: [99, 100]}\n",
	 "sluice.yaml:3: vrfs.blue: the kernel's table 100 is VRF `default`'s (line 2)\n"},
	{"vrf imports itself", "vrfs:\n  red: {import: red}\n",
	 "sluice.yaml:2: vrfs.red.import: a VRF has its own routes already: another VRF is wanted\n"},
	{"vrf imports nobody", "vrfs:\n  red: {import: blue}\n",
	 "sluice.yaml:2: vrfs.red.import: no VRF is called `blue`: list it under `vrfs`\n"},
	{"vrf imports twice", "vrfs:\n  red: {import: [default, {vrf: default, prefixes: 10.0.0.0/8}]}\n",
	 "sluice.yaml:2: vrfs.red.import: VRF `default` is listed twice: put the prefixes into one list\n"},
	{"globs: meet in the middle",
	 "ports:\n"
	 "  \"a*b\": {mode: routed}\n"
	 "  \"*ab?\": {mode: routed}\n",
	 "sluice.yaml:3: ports.*ab?: overlaps `a*b` (line 2): a netdev called `abb` would match both\n"},
	{"globs: apart: fine",
	 "ports:\n"
	 "  \"veth[0-4]\": {mode: routed}\n"
	 "  \"veth[5-9]\": {mode: routed}\n"
	 "  \"tap*\": {mode: routed}\n"
	 "  \"tun?\": {mode: routed}\n",
	 ""},
	{"globs: too long to meet: fine",
	 "ports:\n"
	 "  \"abcdefgh*\": {mode: routed}\n"
	 "  \"*ijklmnop\": {mode: routed}\n",
	 ""},
	{"globs: exact wins: fine",
	 "ports:\n"
	 "  \"veth*\": {mode: routed}\n"
	 "  veth0: {mode: observe}\n",
	 ""},
	{"globs: sets",
	 "ports:\n"
	 "  \"eth[!0]\": {mode: routed}\n"
	 "  \"eth[01]\": {mode: routed}\n",
	 "sluice.yaml:3: ports.eth[01]: overlaps `eth[!0]` (line 2): a netdev called `eth1` would match both\n"},
	{"routed by glob: fine",
	 "ports:\n"
	 "  \"up*\": {mode: routed}\n"
	 "interfaces:\n"
	 "  up7: {port: up7}\n",
	 ""},
	{"fdb unknown port", BASE "fdb: [{mac: \"02:00:00:00:00:05\", vlan: 10, port: h9}]\n",
	 "sluice.yaml:14: fdb[0] (02:00:00:00:00:05 vlan 10): no port is called `h9`, and no glob matches it\n"},
	{"fdb port by glob: fine", BASE "fdb: [{mac: \"02:00:00:00:00:05\", vlan: 20, port: veth77}]\n", ""},
	{"fdb unknown vlan", BASE "fdb: [{mac: \"02:00:00:00:00:05\", vlan: 77, port: h1}]\n",
	 "sluice.yaml:14: fdb[0] (02:00:00:00:00:05 vlan 77): VLAN 77 does not exist: no port, interface or `vlans` names it\n"},
	{"fdb vlan not carried", BASE "fdb: [{mac: \"02:00:00:00:00:05\", vlan: 20, port: h1}]\n",
	 "sluice.yaml:14: fdb[0] (02:00:00:00:00:05 vlan 20): port `h1` does not carry VLAN 20\n"},
	{"fdb on routed", BASE "fdb: [{mac: \"02:00:00:00:00:05\", vlan: 10, port: up1}]\n",
	 "sluice.yaml:14: fdb[0] (02:00:00:00:00:05 vlan 10): port `up1` has the mode routed, which has no VLAN\n"},
	{"fdb own mac", BASE "fdb: [{mac: \"02:00:00:00:00:20\", vlan: 20, port: tor}]\n",
	 "sluice.yaml:14: fdb[0] (02:00:00:00:00:20 vlan 20): 02:00:00:00:00:20 is the MAC address of interface `vlan20`\n"},
	{"fdb twice",
	 BASE "fdb:\n"
	      "- {mac: \"02:00:00:00:00:05\", vlan: 10, port: h1}\n"
	      "- {mac: \"02:00:00:00:00:05\", vlan: 10, port: tor}\n",
	 "sluice.yaml:16: fdb[1] (02:00:00:00:00:05 vlan 10): 02:00:00:00:00:05 in VLAN 10 has an entry already (line 15)\n"},
	{"neighbor unknown interface", BASE "neighbors: [{address: 10.0.10.9, mac: \"02:00:00:00:00:09\", interface: vlan11}]\n",
	 "sluice.yaml:14: neighbors[0] (10.0.10.9 interface vlan11): no interface is called `vlan11`\n"},
	{"neighbor outside", BASE "neighbors: [{address: 10.0.20.9, mac: \"02:00:00:00:00:09\", interface: vlan10}]\n",
	 "sluice.yaml:14: neighbors[0] (10.0.20.9 interface vlan10): 10.0.20.9 is in no prefix of interface `vlan10`\n"},
	{"neighbor own", BASE "neighbors: [{address: 10.0.10.1, mac: \"02:00:00:00:00:09\", interface: vlan10}]\n",
	 "sluice.yaml:14: neighbors[0] (10.0.10.1 interface vlan10): 10.0.10.1 is the address of interface `vlan10` itself\n"},
	{"neighbor broadcast", BASE "neighbors: [{address: 10.0.10.255, mac: \"02:00:00:00:00:09\", interface: vlan10}]\n",
	 "sluice.yaml:14: neighbors[0] (10.0.10.255 interface vlan10): 10.0.10.255 is the subnet's broadcast address\n"},
	{"neighbor twice",
	 BASE "neighbors:\n"
	      "- {address: 10.0.10.9, mac: \"02:00:00:00:00:09\", interface: vlan10}\n"
	      "- {address: 10.0.10.9, mac: \"02:00:00:00:00:0a\", interface: vlan10}\n",
	 "sluice.yaml:16: neighbors[1] (10.0.10.9 interface vlan10): 10.0.10.9 on `vlan10` is listed already (line 15)\n"},
	{"neighbor link-local: fine", BASE "neighbors: [{address: \"fe80::9\", mac: \"02:00:00:00:00:09\", interface: vlan10}]\n",
	 ""},
	{"neighbor own link-local", BASE "neighbors: [{address: \"fe80::2\", mac: \"02:00:00:00:00:09\", interface: up1}]\n",
	 "sluice.yaml:14: neighbors[0] (fe80::2 interface up1): fe80::2 is the address of interface `up1` itself\n"},
	{"nexthop unreached", BASE "routes: [{to: 10.9.0.0/16, via: 198.51.100.1}]\n",
	 "sluice.yaml:14: routes[0].via (10.9.0.0/16 via 198.51.100.1): no interface of VRF `default` reaches the gateway "
	 "198.51.100.1: none has a prefix with "
	 "it (or give `interface` and `onlink: true`; or `recursive: true`, when another route does)\n"},
	{"nexthop in another vrf only", BASE "routes: [{to: 10.9.0.0/16, via: 10.0.20.9, vrf: red}]\n",
	 "sluice.yaml:14: routes[0].via (10.9.0.0/16 vrf red via 10.0.20.9): no interface of VRF `red` reaches the gateway "
	 "10.0.20.9: none has a prefix with it (or "
	 "give `interface` and `onlink: true`; or `recursive: true`, when another route does)\n"},
	{"nexthop recursive: fine", BASE "routes: [{to: 10.9.0.0/16, via: [{address: 198.51.100.1, recursive: true}]}]\n", ""},
	{"nexthop own", BASE "routes: [{to: 10.9.0.0/16, via: 10.0.10.1}]\n",
	 "sluice.yaml:14: routes[0].via (10.9.0.0/16 via 10.0.10.1): the gateway 10.0.10.1 is the address of interface `vlan10` "
	 "itself\n"},
	{"nexthop broadcast", BASE "routes: [{to: 10.9.0.0/16, via: 192.0.2.3}]\n",
	 "sluice.yaml:14: routes[0].via (10.9.0.0/16 via 192.0.2.3): the gateway 192.0.2.3 is the subnet's broadcast address\n"},
	{"nexthop unknown interface", BASE "routes: [{to: 10.9.0.0/16, via: [{address: 10.0.10.9, interface: vlan11}]}]\n",
	 "sluice.yaml:14: routes[0].via (10.9.0.0/16 via 10.0.10.9): no interface is called `vlan11`\n"},
	{"nexthop wrong interface", BASE "routes: [{to: 10.9.0.0/16, via: [{address: 10.0.10.9, interface: vlan20}]}]\n",
	 "sluice.yaml:14: routes[0].via (10.9.0.0/16 via 10.0.10.9): the gateway 10.0.10.9 is in no prefix of interface "
	 "`vlan20`, and `onlink` is not set\n"},
	{"nexthop interface of another vrf leaks: fine", BASE "routes: [{to: 10.9.0.0/16, via: [{interface: vlan30}]}]\n", ""},
	{"nexthop onlink: fine",
	 BASE "routes: [{to: 10.9.0.0/16, via: [{address: 198.51.100.1, interface: up1, onlink: true}]}]\n", ""},
	{"nexthop link-local, RFC 8950: fine",
	 BASE "routes: [{to: 10.9.0.0/16, via: [{address: \"fe80::1\", interface: up1}]}]\n", ""},
	{"IPv6 route over IPv4", BASE "routes: [{to: \"fd01::/16\", via: 10.0.10.9}]\n",
	 "sluice.yaml:14: routes[0].via (fd01::/16 via 10.0.10.9): an IPv6 route cannot lead over the IPv4 gateway 10.0.10.9\n"},
	{"nexthop twice", BASE "routes: [{to: 10.9.0.0/16, via: [10.0.10.9, 10.0.10.8, 10.0.10.9]}]\n",
	 "sluice.yaml:14: routes[0].via (10.9.0.0/16 via 10.0.10.9): the same nexthop is listed twice: give it a `weight` "
	 "instead\n"},
	{"route twice",
	 BASE "routes:\n"
	      "- {to: 10.9.0.0/16, via: 10.0.10.9}\n"
	      "- {to: 10.9.0.0/16, type: blackhole}\n",
	 "sluice.yaml:16: routes[1] (10.9.0.0/16 type blackhole): 10.9.0.0/16 is there already (line 15) with the same VRF, "
	 "metric and distance: give one of "
	 "them another metric, or one route several gateways\n"},
	{"route twice with metrics: fine",
	 BASE "routes:\n"
	      "- {to: 10.9.0.0/16, via: 10.0.10.9}\n"
	      "- {to: 10.9.0.0/16, type: blackhole, metric: 5}\n"
	      "- {to: 10.9.0.0/16, type: blackhole, distance: 5}\n"
	      "- {to: 10.9.0.0/16, type: blackhole, vrf: red}\n",
	 ""},
	{"route vrf unknown", BASE "routes: [{to: 10.9.0.0/16, type: blackhole, vrf: blue}]\n",
	 "sluice.yaml:14: routes[0].vrf (10.9.0.0/16 vrf blue type blackhole): no VRF is called `blue`: list it under `vrfs`\n"},
	{"rule names",
	 BASE "nat:\n"
	      "- {name: a, type: snat, to: masquerade}\n"
	      "- {name: a, type: snat, to: none}\n",
	 "sluice.yaml:16: nat[1].name (a): another rule is called `a` already (line 15)\n"},
	{"rule vrf unknown", BASE "nat: [{name: a, type: snat, to: masquerade, vrf: blue}]\n",
	 "sluice.yaml:14: nat[0].vrf (a): no VRF is called `blue`: list it under `vrfs`\n"},
	{"rule out unknown", BASE "nat: [{name: a, type: snat, out: [up1, up9], to: masquerade}]\n",
	 "sluice.yaml:14: nat[0].out (a): no interface is called `up9`\n"},
	{"rule out of another vrf: fine", BASE "nat: [{name: a, type: snat, out: [vlan30, vlan10], to: masquerade}]\n", ""},
	{"static rule out of another vrf",
	 BASE "nat: [{name: a, type: static, out: vlan30, inside: 10.0.10.7/32, outside: 203.0.113.7/32}]\n",
	 "sluice.yaml:14: nat[0].out (a): interface `vlan30` is in VRF `red`, the rule in VRF `default`\n"},
	{"pool that begins with a static's address",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.4}\n"
	      "- {name: b, type: snat, to: 203.0.113.4-203.0.113.5}\n",
	 "sluice.yaml:15: nat[0].outside (a): the pool of rule `b` (line 16) holds 203.0.113.4, and would give it to other "
	 "hosts, "
	 "too: name "
	 "the addresses around it there\n"},
	{"pool that ends with a static's address",
	 BASE "nat:\n"
	      "- {name: b, type: snat, out: up1, to: [203.0.113.1, 203.0.113.3-203.0.113.5]}\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n",
	 "sluice.yaml:16: nat[1].outside (a): the pool of rule `b` (line 15) holds 203.0.113.5, and would give it to other "
	 "hosts, "
	 "too: name "
	 "the addresses around it there\n"},
	{"pool with a static's address in its midst",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n"
	      "- {name: b, type: snat, to: 203.0.113.0/28}\n",
	 "sluice.yaml:15: nat[0].outside (a): the pool of rule `b` (line 16) holds 203.0.113.5, and would give it to other "
	 "hosts, "
	 "too: name "
	 "the addresses around it there\n"},
	{"pool within a static's prefix",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.7.0.0/24, outside: 203.0.113.0/24}\n"
	      "- {name: b, type: snat, to: 203.0.113.9}\n",
	 "sluice.yaml:15: nat[0].outside (a): the pool of rule `b` (line 16) holds 203.0.113.9, and would give it to other "
	 "hosts, "
	 "too: name "
	 "the addresses around it there\n"},
	{"pool with a static's IPv6 address",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: \"fd00:10::7\", outside: \"2001:db8::7\"}\n"
	      "- {name: b, type: snat, to: \"2001:db8::1-2001:db8::9\"}\n",
	 "sluice.yaml:15: nat[0].outside (a): the pool of rule `b` (line 16) holds 2001:db8::7, and would give it to other "
	 "hosts, "
	 "too: name "
	 "the addresses around it there\n"},
	{"pool of another VRF by its way out, with a static's address",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n"
	      "- {name: b, type: snat, vrf: red, out: up1, to: 203.0.113.0/28}\n",
	 "sluice.yaml:15: nat[0].outside (a): the pool of rule `b` (line 16) holds 203.0.113.5, and would give it to other "
	 "hosts, "
	 "too: name "
	 "the addresses around it there\n"},
	{"pool of one VRF, and a static's address of another: fine",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n"
	      "- {name: b, type: snat, vrf: red, to: 203.0.113.0/28}\n"
	      "- {name: c, type: snat, out: vlan30, to: 203.0.113.0/28}\n",
	 ""},
	{"pools around a static's address: fine",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n"
	      "- {name: b, type: snat, to: [203.0.113.0-203.0.113.4, 203.0.113.6-203.0.113.15]}\n",
	 ""},
	{"pool's members overlap",
	 BASE "nat:\n"
	      "- {name: a, type: snat, to: [203.0.113.8, 203.0.113.1-203.0.113.5, 203.0.113.5]}\n"
	      "- {name: b, type: snat, to: [203.0.113.32/30, 203.0.113.34-203.0.113.40]}\n"
	      "- {name: c, type: snat, to: [203.0.113.0-203.0.113.255, 203.0.113.0/28]}\n"
	      "- {name: d, type: snat, to: [203.0.113.6, 203.0.113.6/32]}\n"
	      "- {name: e, type: snat, to: [\"2001:db8::/64\", \"2001:db8::ffff:0:0:7\"]}\n",
	 "sluice.yaml:15: nat[0].to (a): 203.0.113.1-203.0.113.5 and 203.0.113.5 overlap: name each address once\n"
	 "sluice.yaml:16: nat[1].to (b): 203.0.113.32-203.0.113.35 and 203.0.113.34-203.0.113.40 overlap: name each address "
	 "once\n"
	 "sluice.yaml:17: nat[2].to (c): 203.0.113.0-203.0.113.15 and 203.0.113.0-203.0.113.255 overlap: name each address once\n"
	 "sluice.yaml:18: nat[3].to (d): 203.0.113.6 is listed twice\n"
	 "sluice.yaml:19: nat[4].to (e): 2001:db8::-2001:db8::ffff:ffff:ffff:ffff and 2001:db8::ffff:0:0:7 overlap: name each "
	 "address "
	 "once\n"},
	{"pool's members side by side: fine",
	 BASE "nat: [{name: a, type: snat, to: [203.0.113.6, 203.0.113.1-203.0.113.5, 203.0.113.8/29, 203.0.113.7]}]\n", ""},
	{"every port to the same ports: fine",
	 BASE "nat:\n"
	      "- {name: a, type: dnat, destination: 203.0.113.5, protocol: [tcp, udp], port: 1-65535, to: 10.0.10.8}\n"
	      "- {name: b, type: dnat, destination: vlan20, protocol: [tcp, udp], port: 1024-65535, to: \"10.0.10.8:1000\"}\n",
	 ""},
	{"forward of a static's whole address",
	 BASE "nat:\n"
	      "- {name: b, type: dnat, destination: 203.0.113.5, to: 10.0.10.8}\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n",
	 "sluice.yaml:16: nat[1].outside (a): rule `b` (line 15) forwards all that comes to 203.0.113.5: beside a static rule it "
	 "must name a "
	 "protocol\n"},
	{"forwards of a static's ports and protocols: fine",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n"
	      "- {name: b, type: dnat, destination: 203.0.113.5, protocol: tcp, port: 80, to: 10.0.10.8}\n"
	      "- {name: c, type: dnat, destination: 203.0.113.5, protocol: udp, to: 10.0.10.8}\n",
	 ""},
	{"forward of a whole address of another VRF than a static's: fine",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.0.10.7, outside: 203.0.113.5}\n"
	      "- {name: b, type: dnat, vrf: red, destination: 203.0.113.5, to: 10.0.10.8}\n",
	 ""},
	{"static twice",
	 BASE "nat:\n"
	      "- {name: a, type: static, inside: 10.7.0.0/24, outside: 203.0.113.0/24}\n"
	      "- {name: b, type: static, inside: 10.0.10.8, outside: 203.0.113.5}\n",
	 "sluice.yaml:16: nat[1].outside (b): 203.0.113.5/32: rule `a` (line 15) has addresses of it\n"},
	{"pool out of two vrfs", BASE "nat: [{name: a, type: snat, out: [vlan30, vlan10], to: 203.0.113.7}]\n",
	 "sluice.yaml:14: nat[0].out (a): interface `vlan10` is in VRF `default`, `vlan30` in VRF `red`: the addresses of a pool "
	 "are "
	 "of one\n"},
	{"masquerade of two vrfs with two ranges",
	 BASE "nat:\n"
	      "- {name: a, type: snat, out: [up1, vlan30], to: masquerade}\n"
	      "- {name: b, type: snat, vrf: red, to: masquerade, ports: 1024-2047}\n",
	 "sluice.yaml:16: nat[1].ports (b): rule `a` (line 15) masquerades on vlan30 with the ports 1024-65535: an interface has "
	 "one "
	 "range\n"},
	{"masquerade of two vrfs apart: fine",
	 BASE "nat:\n"
	      "- {name: a, type: snat, out: up1, to: masquerade}\n"
	      "- {name: b, type: snat, vrf: red, to: masquerade, ports: 1024-2047}\n",
	 ""},
	{"rule mixes families", BASE "nat: [{name: a, type: snat, source: 10.0.0.0/8, to: \"fd00::1\"}]\n",
	 "sluice.yaml:14: nat[0] (a): mixes IPv4 and IPv6: source, destination, protocol and `to` of a rule are of one family\n"},
	{"rule mixes families in its pool", BASE "nat: [{name: a, type: snat, to: [203.0.113.1, \"fd00::1\"]}]\n",
	 "sluice.yaml:14: nat[0] (a): mixes IPv4 and IPv6: source, destination, protocol and `to` of a rule are of one family\n"},
	{"rule mixes family and icmp",
	 BASE "nat: [{name: a, type: snat, source: \"fd00::/8\", protocol: icmp, to: masquerade}]\n",
	 "sluice.yaml:14: nat[0] (a): mixes IPv4 and IPv6: source, destination, protocol and `to` of a rule are of one family\n"},
	{"dnat mixes families", BASE "nat: [{name: a, type: dnat, destination: 203.0.113.1, to: \"fd00:10::5\"}]\n",
	 "sluice.yaml:14: nat[0] (a): mixes IPv4 and IPv6: source, destination, protocol and `to` of a rule are of one family\n"},
	{"pool 1024: fine", BASE "nat: [{name: a, type: snat, to: [203.0.112.0-203.0.113.9, 203.0.113.10-203.0.115.255]}]\n", ""},
	{"pools of any size: fine",
	 BASE "nat:\n"
	      "- {name: a, type: snat, to: 198.18.0.0/15}\n"
	      "- {name: b, type: snat, to: [\"2001:db8:5::/48\", \"2001:db8:6::/64\"]}\n"
	      "- {name: c, type: snat, to: 198.16.0.0-198.17.255.255}\n"
	      "- {name: d, type: dnat, destination: 198.18.0.1, to: 10.0.10.5}\n",
	 ""},
	{"pools share addresses: fine",
	 BASE "nat:\n"
	      "- {name: r0, type: snat, to: 203.0.112.0/22}\n"
	      "- {name: r1, type: snat, to: 203.0.112.0/22}\n"
	      "- {name: r2, type: snat, to: 203.0.112.0/22}\n"
	      "- {name: r3, type: snat, to: 203.0.112.0/22}\n",
	 ""},
	{"pool of all: fine", BASE "nat: [{name: a, type: snat, to: [\"::2-ff::\", \"100::/8\", \"2000::/3\"]}]\n", ""},
	{"masquerade with two ranges",
	 BASE "nat:\n"
	      "- {name: a, type: snat, out: [up1, vlan10], to: masquerade}\n"
	      "- {name: b, type: snat, out: [vlan20, vlan10], to: masquerade, ports: 1024-2047}\n",
	 "sluice.yaml:16: nat[1].ports (b): rule `a` (line 15) masquerades on vlan10 with the ports 1024-65535: an interface has "
	 "one "
	 "range\n"},
	{"masquerade with two ranges everywhere",
	 BASE "nat:\n"
	      "- {name: a, type: snat, to: masquerade}\n"
	      "- {name: b, type: snat, source: 10.0.0.0/8, to: masquerade, ports: 1024-2047}\n",
	 "sluice.yaml:16: nat[1].ports (b): rule `a` (line 15) masquerades on every interface with the ports 1024-65535: an "
	 "interface has one range\n"},
	{"masquerade with two ranges apart: fine",
	 BASE "nat:\n"
	      "- {name: a, type: snat, out: up1, to: masquerade}\n"
	      "- {name: b, type: snat, out: vlan10, to: masquerade, ports: 1024-2047}\n",
	 ""},
	{"dnat collides",
	 BASE "nat:\n"
	      "- {name: a, type: dnat, destination: 203.0.113.1, protocol: [tcp, udp], port: 80-90, to: 10.0.10.5}\n"
	      "- {name: b, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 85, to: 10.0.10.6}\n",
	 "sluice.yaml:16: nat[1].destination (b): rule `a` (line 15) takes the same address, protocol and port (203.0.113.1, "
	 "port "
	 "85) already\n"},
	{"dnat collides by interface",
	 BASE "nat:\n"
	      "- {name: a, type: dnat, destination: up1, protocol: tcp, port: 80, to: 10.0.10.5}\n"
	      "- {name: b, type: dnat, destination: 192.0.2.2, protocol: tcp, port: 80, to: 10.0.10.6}\n",
	 "sluice.yaml:16: nat[1].destination (b): rule `a` (line 15) takes the same address, protocol and port (192.0.2.2, port "
	 "80) "
	 "already\n"},
	{"dnat whole address twice",
	 BASE "nat:\n"
	      "- {name: a, type: dnat, destination: 203.0.113.1, to: 10.0.10.5}\n"
	      "- {name: b, type: dnat, destination: 203.0.113.1, to: 10.0.10.6}\n",
	 "sluice.yaml:16: nat[1].destination (b): rule `a` (line 15) takes the same address, protocol and port (203.0.113.1, "
	 "every "
	 "port) already\n"},
	{"dnat apart: fine",
	 BASE "nat:\n"
	      "- {name: a, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 80-90, to: 10.0.10.5}\n"
	      "- {name: b, type: dnat, destination: 203.0.113.1, protocol: udp, port: 85, to: 10.0.10.6}\n"
	      "- {name: c, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 91, to: 10.0.10.6}\n"
	      "- {name: d, type: dnat, destination: 203.0.113.2, protocol: tcp, port: 80, to: 10.0.10.6}\n"
	      "- {name: e, type: dnat, destination: 203.0.113.1, to: 10.0.10.6}\n"
	      "- {name: f, type: dnat, destination: 203.0.113.1, protocol: tcp, to: 10.0.10.6}\n",
	 ""},
	{"dnat to own address", BASE "nat: [{name: a, type: dnat, destination: 203.0.113.1, to: 10.0.20.1}]\n",
	 "sluice.yaml:14: nat[0].to (a): 10.0.20.1 is the address of interface `vlan20`: the host's answers would bypass the "
	 "switch\n"},
	{"dnat unknown interface", BASE "nat: [{name: a, type: dnat, destination: up9, to: 10.0.10.5}]\n",
	 "sluice.yaml:14: nat[0].destination (a): no interface is called `up9`\n"},
	{"dnat interface of another vrf", BASE "nat: [{name: a, type: dnat, destination: vlan30, to: 10.0.10.5}]\n",
	 "sluice.yaml:14: nat[0].destination (a): interface `vlan30` is in VRF `red`, the rule in VRF `default`\n"},
	{"dnat interface without the family", BASE "nat: [{name: a, type: dnat, destination: vlan20, to: \"fd00:10::5\"}]\n",
	 "sluice.yaml:14: nat[0].destination (a): interface `vlan20` has no IPv6 address, as that of `to` is\n"},
	{"gateway in a subnet around another: fine",
	 BASE "  vlan40: {vlan: 40, addresses: [10.4.0.1/16, 10.4.8.1/24]}\n"
	      "routes: [{to: 10.9.0.0/16, via: 10.4.200.1}]\n",
	 ""},
	{"dnat collides with each range before",
	 BASE "nat:\n"
	      "- {name: a, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 80-85, to: 10.0.10.5}\n"
	      "- {name: b, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 84-100, to: 10.0.10.6}\n"
	      "- {name: c, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 95, to: 10.0.10.6}\n",
	 "sluice.yaml:16: nat[1].destination (b): rule `a` (line 15) takes the same address, protocol and port (203.0.113.1, "
	 "port "
	 "84) "
	 "already\n"
	 "sluice.yaml:17: nat[2].destination (c): rule `b` (line 16) takes the same address, protocol and port (203.0.113.1, "
	 "port "
	 "95) "
	 "already\n"},
	{"dnat interface without addresses: fine",
	 BASE "  vlan31: {vlan: 31}\n"
	      "nat: [{name: a, type: dnat, destination: vlan31, to: 10.0.10.5}]\n",
	 ""},
};

/* ---- what is too large for a row ---- */

static void check_text(char *text, const char *want)
{
	struct errs errs = {0};
	struct model *m = model_parse(text, strlen(text), "sluice.yaml", &errs);
	char *said = errors_text(&errs);

	assert_string_equal(said, want);
	free(said);
	free(text);
	model_free(m);
}

static char *nexthops(unsigned n)
{
	char *ret = NULL;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	fputs("ports: {up1: {mode: routed}}\ninterfaces: {up1: {port: up1}}\nroutes:\n- to: 10.9.0.0/16\n  via:\n", f);
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "  - {address: 172.16.%u.%u, interface: up1, onlink: true}\n", i / 250, i % 250 + 1);
	fclose(f);
	return ret;
}

static void nexthops_test(void **state)
{
	check_text(nexthops(256), "");
	check_text(nexthops(257),
		   "sluice.yaml:4: routes[0].via (10.9.0.0/16 via 172.16.0.1): 257 nexthops: a route has at most 256\n");
}

static void room_test(void **state)
{
	char *ret = NULL;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	fputs("tables: {fdb: 16, neighbors: 16, routes4: 16, routes6: 16}\n", f);
	fputs("ports: {h1: {mode: access, vlan: 10}}\ninterfaces: {vlan10: {vlan: 10, addresses: [10.0.0.1/24]}}\nfdb:\n", f);
	for (int i = 1; i <= 17; i++)
		fprintf(f, "- {mac: \"02:00:00:00:00:%02x\", vlan: 10, port: h1}\n", i);
	fputs("neighbors:\n", f);
	for (int i = 1; i <= 17; i++)
		fprintf(f, "- {address: 10.0.0.1%02d, mac: \"02:00:00:00:00:%02x\", interface: vlan10}\n", i, i);
	fputs("routes:\n", f);
	for (int i = 1; i <= 17; i++)
		fprintf(f, "- {to: 10.%d.0.0/16, type: blackhole}\n- {to: \"fd00:%d::/32\", type: blackhole}\n", i, i);
	fclose(f);
	check_text(ret, "sluice.yaml:5: fdb: 17 static entries, and `tables.fdb` is 16\n"
			"sluice.yaml:23: neighbors: 17 static neighbours, and `tables.neighbors` is 16\n"
			"sluice.yaml:73: routes: more static IPv4 routes than `tables.routes4` has room for (16)\n");
}

static void snat_rules_test(void **state)
{
	char *ret = NULL;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	fputs("interfaces: {vlan10: {vlan: 10}, vlan20: {vlan: 20}}\nnat:\n", f);
	for (int i = 1; i <= 43; i++)
		fprintf(f, "- {name: r%d, type: snat, out: [vlan10, vlan20], protocol: [tcp, udp, icmp], to: none}\n", i);
	fclose(f);
	check_text(ret, "sluice.yaml:45: nat: more than 256 snat and static rules, counted once for each interface of `out` and "
			"each protocol\n");
}

/* Each takes a place for its address, one for where it leads, and one for its port. */
static char *forwards(unsigned n)
{
	char *ret = NULL;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	fputs("nat:\n", f);
	for (unsigned i = 1; i <= n; i++)
		fprintf(f, "- {name: r%u, type: dnat, destination: 203.0.113.1, protocol: udp, port: %u, to: 10.0.0.5}\n", i, i);
	fclose(f);
	return ret;
}

static void dnat_rules_test(void **state)
{
	const unsigned fit = (DNAT_RULE_MAX - DNAT_SPARED - POOL_ADDR_MAX) / 3;
	char said[512];

	check_text(forwards(fit), "");
	snprintf(said, sizeof(said),
		 "sluice.yaml:%u: nat: the dnat rules take more than the 63488 places of their table, one for each address, "
		 "protocol "
		 "and port or block of ports (80-95 is one, 1-65535 are 16): write fewer, or ranges in place of single ports\n",
		 fit + 2);
	check_text(forwards(fit + 1), said);
}

static void blocks_test(void **state)
{
	static const struct {
		unsigned first, last, n;
	} want[] = {{80, 80, 0},	{80, 81, 1},	    {80, 94, 3},       {80, 95, 4},
		    {81, 65535, 0},	{1, 65535, 0},	    {2, 65535, 1},     {1024, 65535, 10},
		    {32768, 65535, 15}, {32768, 65534, 14}, {65534, 65535, 1}, {65535, 65535, 0}};

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_int_equal(model_nat_block(want[i].first, want[i].last), want[i].n);
}

static char *ports(unsigned n, unsigned n_ifaces)
{
	char *ret = NULL;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	fputs("ports:\n", f);
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "  p%u: {mode: observe}\n", i);
	fputs("interfaces:\n", f);
	for (unsigned i = 1; i <= n_ifaces; i++)
		fprintf(f, "  v%u: {vlan: %u}\n", i, i);
	fclose(f);
	return ret;
}

static void ports_test(void **state)
{
	check_text(ports(1000, 23), "");
	check_text(ports(1000, 24),
		   "sluice.yaml:1001: ports: 1000 ports, and room for 999 (1023 less one for each VLAN interface)\n");
	check_text(ports(0, 1024), "sluice.yaml:1026: interfaces: 1024 interfaces, and room for 1023\n");
}

/* A hundred thousand routes over a thousand subnets are checked in well under a second each way; quadratic, it would be minutes.
 */
static void many_routes_test(void **state)
{
	char *ret = NULL;
	size_t len;
	FILE *f = open_memstream(&ret, &len);

	fputs("interfaces:\n", f);
	for (unsigned i = 1; i <= 1000; i++)
		fprintf(f, "  v%u: {vlan: %u, addresses: [172.%u.%u.1/24]}\n", i, i, 16 + i / 250, i % 250);
	fputs("routes:\n", f);
	for (unsigned i = 0; i < 100000; i++)
		fprintf(f, "- {to: %u.%u.%u.0/24, via: 172.16.%u.2}\n", 1 + i / 65536, i / 256 % 256, i % 256, 1 + i % 200);
	fclose(f);
	check_text(ret, "");
}

static void port_for_test(void **state)
{
	struct model *m = must_parse("ports:\n"
				     "  \"vnet*\": {mode: observe}\n"
				     "  vnet7: {mode: routed}\n"
				     "  \"tap[0-3]\": {mode: access, vlan: 10}\n");
	const struct port_cfg *other = m->ports;

	assert_string_equal(model_port_for(m, "vnet1", &other)->name, "vnet*");
	assert_null(other);
	assert_string_equal(model_port_for(m, "vnet7", NULL)->name, "vnet7");
	assert_string_equal(model_port_for(m, "tap3", NULL)->name, "tap[0-3]");
	assert_null(model_port_for(m, "tap4", NULL));
	assert_null(model_port_for(m, "", NULL));
	/* Two globs that match: cannot pass model_check(), and is told all the same. */
	strcpy(m->ports[2].name, "*2");
	assert_string_equal(model_port_for(m, "vnet2", &other)->name, "vnet*");
	assert_string_equal(other->name, "*2");
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nexthops_test),    cmocka_unit_test(room_test),     cmocka_unit_test(snat_rules_test),
		cmocka_unit_test(dnat_rules_test),  cmocka_unit_test(blocks_test),   cmocka_unit_test(ports_test),
		cmocka_unit_test(many_routes_test), cmocka_unit_test(port_for_test),
	};

	return run_rows("model_check", rows, N_OF_ROWS(rows), tests, N_OF_ROWS(tests));
}
