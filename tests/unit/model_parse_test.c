/* model_parse_test.c: what a configuration may not say, and the words that it gets: one row a mistake, with its line and key. */
#include "model_util.h"

static const struct row rows[] = {
	{"tab indents",
	 "ports:\n"
	 "\th1: {mode: access}\n",
	 "sluice.yaml:2: a tab does not indent: use spaces\n"},
	{"not UTF-8",
	 "vlans:\n"
	 "  10: {name: \"\xff"
	 "\"}\n",
	 "sluice.yaml:2: not UTF-8 text: invalid leading UTF-8 octet\n"},
	{"two documents",
	 "ports: {}\n"
	 "---\n"
	 "ports: {}\n",
	 "sluice.yaml:2: a second document starts here: a configuration is one document\n"},
	{"unclosed", "ports: {h1: {mode: access, vlan: 10}\n",
	 "sluice.yaml:2: did not find expected ',' or '}', while parsing a flow mapping (line 1)\n"},
	{"list at top",
	 "- a\n"
	 "- b\n",
	 "sluice.yaml:1: a mapping (key: value) is wanted here, not a list\n"},
	{"word at top", "hello\n", "sluice.yaml:1: a mapping (key: value) is wanted here, not `hello`\n"},
	{"tag", "ports: !!map {}\n", "sluice.yaml:1: tags (!) are not taken\n"},
	{"unknown alias", "ports: *x\n", "sluice.yaml:1: no anchor is called `x`\n"},
	{"recursive alias",
	 "ports: &a\n"
	 "  h1: *a\n",
	 "sluice.yaml:2: the alias *a stands inside what it names\n"},
	{"doubled key under an alias", "ports:\n  h1: &x {mode: routed, mode: observe}\n  h2: *x\n",
	 "sluice.yaml:2: ports.h1.mode: given twice: in line 2 and in line 2\n"
	 "sluice.yaml:2: ports.h2.mode: given twice: in line 2 and in line 2\n"},
	{"merge key",
	 "ports:\n"
	 "  h1: {<<: {mode: access}, vlan: 10}\n",
	 "sluice.yaml:2: ports.h1.<<: merge keys (<<) are not taken: name every key\n"
	 "sluice.yaml:2: ports.h1: `mode` is missing: access, trunk, routed or observe\n"},
	{"list as key",
	 "ports:\n"
	 "  ? [a, b]\n"
	 "  : {mode: routed}\n",
	 "sluice.yaml:2: a key must be a single word, not a list or a mapping\n"},
	{"nested too deep", "ports: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
	 "sluice.yaml:1: nested deeper than 32 levels\n"},
	{"NUL", "ports: {\"h\\0\": {mode: routed}}\n", "sluice.yaml:1: a NUL character is not allowed\n"},
	{"unknown section", "port: {}\n",
	 "sluice.yaml:1: port: unknown key, did you mean `ports`? Allowed are: settings, tables, vrfs, ports, vlans, interfaces, "
	 "nexthops, routes, nat, fdb, neighbors\n"},
	{"section of wrong kind",
	 "ports: [h1]\n"
	 "routes: {to: default}\n",
	 "sluice.yaml:1: ports: a mapping (key: value) is wanted here, not a list\n"
	 "sluice.yaml:2: routes: a list is wanted here, not a mapping\n"},
	{"doubled section",
	 "ports: {}\n"
	 "vlans: {}\n"
	 "ports: {}\n",
	 "sluice.yaml:3: ports: given twice: in line 1 and in line 3\n"},
	{"unknown setting", "settings: {fdb-aging: 300}\n",
	 "sluice.yaml:1: settings.fdb-aging: unknown key, did you mean `fdb-ageing`? Allowed are: fdb-ageing, hash-seed, "
	 "icmp-rate, flow-timeouts, neighbor-rate, ecmp-hash, nat-log, nat-fragments, host-netdevs, ecmp-idle-timer, "
	 "ecmp-unbalanced-timer, flow-accounting\n"},
	{"accounting", "settings: {flow-accounting: 2}\n",
	 "sluice.yaml:1: settings.flow-accounting: `2` is neither true nor false\n"},
	{"ageing 0",
	 "settings:\n"
	 "  fdb-ageing: 0\n",
	 "sluice.yaml:2: settings.fdb-ageing: 0 seconds is not in 1..1000000\n"},
	{"ageing no time",
	 "settings:\n"
	 "  fdb-ageing: 5 minutes\n",
	 "sluice.yaml:2: settings.fdb-ageing: `5 minutes` is not a time: write seconds (300 or 300s), minutes (5m) or hours "
	 "(2h)\n"},
	{"rate negative", "settings: {icmp-rate: -1}\n", "sluice.yaml:1: settings.icmp-rate: -1 is not in 0..1000000\n"},
	{"rate hex", "settings: {icmp-rate: 0x10}\n",
	 "sluice.yaml:1: settings.icmp-rate: `0x10` is not a decimal number (0..1000000)\n"},
	{"rate leading zero", "settings: {icmp-rate: 010}\n",
	 "sluice.yaml:1: settings.icmp-rate: `010` is not a decimal number (0..1000000)\n"},
	{"timeout too long", "settings: {flow-timeouts: {udp: 1000h}}\n",
	 "sluice.yaml:1: settings.flow-timeouts.udp: 3600000 seconds is not in 1..2592000\n"},
	{"timeout unknown", "settings: {flow-timeouts: {tcp: 100}}\n",
	 "sluice.yaml:1: settings.flow-timeouts.tcp: unknown key, did you mean `tcp-established`? Allowed are: tcp-established, "
	 "tcp-opening, tcp-transitory, udp, icmp, other\n"},
	{"table too small", "tables: {flows: 1}\n", "sluice.yaml:1: tables.flows: 1 is not in 16..16777216\n"},
	{"table too large", "tables: {fdb: 99999999999}\n", "sluice.yaml:1: tables.fdb: 99999999999 is not in 16..1048576\n"},
	{"native 4095",
	 "ports:\n"
	 "  eth0:\n"
	 "    mode: trunk\n"
	 "    vlans: [1]\n"
	 "    native: 4095\n",
	 "sluice.yaml:5: ports.eth0.native: VLAN 4095 is not in 1..4094\n"},
	{"vlan 0", "ports: {h1: {mode: access, vlan: 0}}\n", "sluice.yaml:1: ports.h1.vlan: VLAN 0 is not in 1..4094\n"},
	{"vlan word", "ports: {h1: {mode: access, vlan: web}}\n",
	 "sluice.yaml:1: ports.h1.vlan: `web` is not a VLAN (1..4094)\n"},
	{"native list",
	 "ports:\n"
	 "  t:\n"
	 "    mode: trunk\n"
	 "    vlans: [1, 2]\n"
	 "    native: [1, 2]\n",
	 "sluice.yaml:5: ports.t.native: a port has one native VLAN, not a list\n"},
	{"vlan list on access", "ports: {h1: {mode: access, vlan: [10, 20]}}\n",
	 "sluice.yaml:1: ports.h1.vlan: a port has one native VLAN, not a list: only a trunk carries several\n"},
	{"native twice",
	 "ports:\n"
	 "  t:\n"
	 "    mode: trunk\n"
	 "    vlans: [1, 2]\n"
	 "    native: 1\n"
	 "    native: 2\n",
	 "sluice.yaml:6: ports.t.native: given twice: in line 5 and in line 6\n"},
	{"vlan and native",
	 "ports:\n"
	 "  h1:\n"
	 "    mode: access\n"
	 "    vlan: 10\n"
	 "    native: 20\n",
	 "sluice.yaml:5: ports.h1.native: `vlan` and `native` both name the VLAN of untagged frames: a port has one native "
	 "VLAN\n"},
	{"vlan and native on trunk",
	 "ports:\n"
	 "  t: {mode: trunk, vlan: 10, native: 20}\n",
	 "sluice.yaml:2: ports.t.vlan: `vlan` and `native` both name the VLAN of untagged frames: a port has one native VLAN\n"},
	{"vlans on access", "ports: {h1: {mode: access, vlans: [10]}}\n",
	 "sluice.yaml:1: ports.h1.vlans: an access port has one `vlan`; `vlans` are a trunk's\n"},
	{"access without vlan",
	 "ports:\n"
	 "  a: {mode: routed}\n"
	 "  h1: {mode: access}\n",
	 "sluice.yaml:3: ports.h1: `vlan` is missing: the VLAN of an access port (1..4094)\n"},
	{"trunk without vlans", "ports: {t: {mode: trunk}}\n",
	 "sluice.yaml:1: ports.t: `vlans` is missing: the VLANs that the trunk carries, such as [10, 20, 100-199]\n"},
	{"range backwards", "ports: {t: {mode: trunk, vlans: [10, 199-100]}}\n",
	 "sluice.yaml:1: ports.t.vlans[1]: the range 199-100 runs backwards\n"},
	{"range beyond", "ports: {t: {mode: trunk, vlans: [4000-5000]}}\n",
	 "sluice.yaml:1: ports.t.vlans[0]: VLAN 5000 is not in 1..4094\n"},
	{"vlan on routed", "ports: {u: {mode: routed, vlan: 10}}\n",
	 "sluice.yaml:1: ports.u.vlan: a port of mode routed has no VLAN\n"},
	{"mode unknown", "ports: {h1: {mode: acces, vlan: 10}}\n",
	 "sluice.yaml:1: ports.h1.mode: `acces` is not known, did you mean `access`? Allowed are: access, trunk, routed, "
	 "observe\n"},
	{"mode missing",
	 "ports:\n"
	 "  h1:\n",
	 "sluice.yaml:2: ports.h1: `mode` is missing: access, trunk, routed or observe\n"},
	{"mode a list", "ports: {h1: {mode: [access]}}\n",
	 "sluice.yaml:1: ports.h1.mode: a list where one word is wanted: access, trunk, routed, observe\n"},
	{"protocol on routed", "ports: {u: {mode: routed, protocol: 802.1Q}}\n",
	 "sluice.yaml:1: ports.u.protocol: a port of mode routed has no VLAN tags\n"},
	{"protocol unknown", "ports: {t: {mode: trunk, vlans: 10, protocol: 802.1x}}\n",
	 "sluice.yaml:1: ports.t.protocol: `802.1x` is not known, did you mean `802.1Q`? Allowed are: 802.1Q, 802.1ad\n"},
	{"xdp unknown", "ports: {u: {mode: routed, xdp: fast}}\n",
	 "sluice.yaml:1: ports.u.xdp: `fast` is not known. Allowed are: auto, native, generic, off\n"},
	{"port key mistyped", "ports: {h1: {mode: access, vlna: 10}}\n",
	 "sluice.yaml:1: ports.h1.vlna: unknown key, did you mean `vlan`? Allowed are: mode, vlan, vlans, native, protocol, xdp\n"
	 "sluice.yaml:1: ports.h1: `vlan` is missing: the VLAN of an access port (1..4094)\n"},
	{"port name too long", "ports: {averylongportname: {mode: routed}}\n",
	 "sluice.yaml:1: ports.averylongportname: not a name for a port: longer than 15 characters\n"},
	{"port name with slash", "ports: {a/b: {mode: routed}}\n",
	 "sluice.yaml:1: ports.a/b: not a name for a port: spaces, `/`, `:`, `\\` and what is not printable ASCII cannot stand "
	 "in a netdev's name\n"},
	{"port name control", "ports: {\"a\\e[31m\": {mode: routed}}\n",
	 "sluice.yaml:1: ports.a?[31m: not a name for a port: spaces, `/`, `:`, `\\` and what is not printable ASCII cannot "
	 "stand in a netdev's name\n"},
	{"glob unclosed", "ports: {\"eth[0\": {mode: routed}}\n",
	 "sluice.yaml:1: ports.eth[0: not a name for a port: `[` without `]`\n"},
	{"glob caret", "ports: {\"eth[^0]\": {mode: routed}}\n",
	 "sluice.yaml:1: ports.eth[^0]: not a name for a port: `[^` means different things in different places: write `[!`\n"},
	{"port twice",
	 "ports:\n"
	 "  h1: {mode: routed}\n"
	 "  h2: {mode: routed}\n"
	 "  h1: {mode: observe}\n",
	 "sluice.yaml:4: ports.h1: given twice: in line 2 and in line 4\n"},
	{"globs overlap",
	 "ports:\n"
	 "  \"veth*\": {mode: routed}\n"
	 "  \"*0\": {mode: routed}\n",
	 "sluice.yaml:3: ports.*0: overlaps `veth*` (line 2): a netdev called `veth0` would match both\n"},
	{"vlan id 4095",
	 "vlans:\n"
	 "  10: {}\n"
	 "  4095: {}\n",
	 "sluice.yaml:3: vlans.4095: VLAN 4095 is not in 1..4094\n"},
	{"vlan id word",
	 "vlans:\n"
	 "  web: {}\n",
	 "sluice.yaml:2: vlans.web: `web` is not a VLAN (1..4094)\n"},
	{"vlan name",
	 "vlans:\n"
	 "  10: {name: \"a b\"}\n",
	 "sluice.yaml:2: vlans.10.name: `a b` is not a name: 1 to 31 letters, digits and . _ - / : @ +\n"},
	{"vlan twice",
	 "vlans:\n"
	 "  10: {}\n"
	 "  10: {name: web}\n",
	 "sluice.yaml:3: vlans.10: given twice: in line 2 and in line 3\n"},
	{"iface neither", "interfaces: {a: {addresses: 10.0.0.1/24}}\n",
	 "sluice.yaml:1: interfaces.a: `vlan` or `port` is missing: an interface is a VLAN's or a routed port's\n"},
	{"iface both",
	 "ports: {a: {mode: routed}}\n"
	 "interfaces: {a: {vlan: 10, port: a}}\n",
	 "sluice.yaml:2: interfaces.a.port: an interface is a VLAN's or a routed port's, not both\n"},
	{"iface other name",
	 "ports: {a: {mode: routed}}\n"
	 "interfaces:\n"
	 "  b: {port: a}\n",
	 "sluice.yaml:3: interfaces.b.port: the interface of a routed port has the port's name: call it `a`\n"},
	{"iface name long", "interfaces: {interfacename: {vlan: 10}}\n",
	 "sluice.yaml:1: interfaces.interfacename: a VLAN's interface has a name of at most 12 characters, this one has 13\n"},
	{"address without length", "interfaces: {v: {vlan: 10, addresses: [10.0.0.1]}}\n",
	 "sluice.yaml:1: interfaces.v.addresses[0]: 10.0.0.1 has no prefix length: write 10.0.0.1/24, or /32\n"},
	{"address bad", "interfaces: {v: {vlan: 10, addresses: [10.0.0.256/24, 10.0.0.1/33, \"fd00::1/64\", \"::1/128\"]}}\n",
	 "sluice.yaml:1: interfaces.v.addresses[0]: `10.0.0.256/24` is not an address with a prefix length, such as 10.0.0.1/24\n"
	 "sluice.yaml:1: interfaces.v.addresses[1]: `10.0.0.1/33` is not an address with a prefix length, such as 10.0.0.1/24\n"
	 "sluice.yaml:1: interfaces.v.addresses[3]: ::1/128 is the loopback address: it never leaves a host\n"},
	{"address of subnet", "interfaces: {v: {vlan: 10, addresses: [10.0.0.0/24, 10.0.0.255/24, 224.0.0.1/24, 127.0.0.1/8]}}\n",
	 "sluice.yaml:1: interfaces.v.addresses[0]: 10.0.0.0/24 is the subnet's own address, with no host bit set\n"
	 "sluice.yaml:1: interfaces.v.addresses[1]: 10.0.0.255/24 is the subnet's broadcast address\n"
	 "sluice.yaml:1: interfaces.v.addresses[2]: 224.0.0.1/24 is a multicast address: one host's is wanted\n"
	 "sluice.yaml:1: interfaces.v.addresses[3]: 127.0.0.1/8 is a loopback address: it never leaves a host\n"},
	{"mac multicast", "interfaces: {v: {vlan: 10, mac: \"01:00:5e:00:00:01\"}}\n",
	 "sluice.yaml:1: interfaces.v.mac: 01:00:5e:00:00:01 is a multicast MAC address: one station's is wanted\n"},
	{"mac bad", "interfaces: {v: {vlan: 10, mac: 02-00-00-00-00-01}}\n",
	 "sluice.yaml:1: interfaces.v.mac: `02-00-00-00-00-01` is not a MAC address such as 02:00:00:00:00:01\n"},
	{"mtu small", "interfaces: {v: {vlan: 10, mtu: 500}}\n", "sluice.yaml:1: interfaces.v.mtu: 500 is not in 576..65535\n"},
	{"rpf", "interfaces: {v: {vlan: 10, rpf: strickt}}\n",
	 "sluice.yaml:1: interfaces.v.rpf: `strickt` is not known, did you mean `strict`? Allowed are: off, loose, strict\n"},
	{"mss word", "interfaces: {v: {vlan: 10, mss: clip}}\n",
	 "sluice.yaml:1: interfaces.v.mss: `clip` is neither `clamp` nor a number in 88..65495\n"},
	{"mss small", "interfaces: {v: {vlan: 10, mss: 87}}\n",
	 "sluice.yaml:1: interfaces.v.mss: `87` is neither `clamp` nor a number in 88..65495\n"},
	{"mss large", "interfaces: {v: {vlan: 10, mss: 65496}}\n",
	 "sluice.yaml:1: interfaces.v.mss: `65496` is neither `clamp` nor a number in 88..65495\n"},
	{"mss list", "interfaces: {v: {vlan: 10, mss: [1300]}}\n",
	 "sluice.yaml:1: interfaces.v.mss: `clamp` or a number is wanted, not a list\n"},
	{"route mtu small", "routes: [{to: 10.0.0.0/8, via: 10.0.0.1, mtu: 575}]\n",
	 "sluice.yaml:1: routes[0].mtu (10.0.0.0/8 via 10.0.0.1): 575 is not in 576..65535\n"},
	{"route mtu small for v6", "routes: [{to: \"2001:db8::/32\", via: \"2001:db8::1\", mtu: 1279}]\n",
	 "sluice.yaml:1: routes[0].mtu (2001:db8::/32 via 2001:db8::1): 1279 is not in 1280..65535\n"},
	{"route mtu of no gateway", "routes: [{to: 10.0.0.0/8, type: blackhole, mtu: 1400}]\n",
	 "sluice.yaml:1: routes[0].mtu (10.0.0.0/8 type blackhole): a route that leads nowhere has no `mtu`\n"},
	{"neighbor rate", "settings: {neighbor-rate: 1000001}\n",
	 "sluice.yaml:1: settings.neighbor-rate: 1000001 is not in 0..1000000\n"},
	{"mtu small for v6",
	 "interfaces:\n"
	 "  v:\n"
	 "    vlan: 10\n"
	 "    mtu: 1200\n"
	 "    addresses: [\"fd00::1/64\"]\n",
	 "sluice.yaml:4: interfaces.v.mtu: 1200 is not in 1280..65535: IPv6 needs at least 1280 (RFC 8200 5)\n"},
	{"vrf default", "vrfs: {default: {table: [254, 10]}, red: {import: default}}\n", ""},
	{"vrf default table local", "vrfs: {default: {table: 255}}\n",
	 "sluice.yaml:1: vrfs.default.table: the kernel's tables 253 (default), 254 (main) and 255 (local) are of the VRF "
	 "`default`\n"},
	{"vrf table twice in a list", "vrfs: {red: {table: [5, 6, 5]}}\n",
	 "sluice.yaml:1: vrfs.red.table[2]: table 5 is listed twice\n"},
	{"vrf too many tables", "vrfs: {red: {table: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]}}\n",
	 "sluice.yaml:1: vrfs.red.table[16]: a VRF has at most 16 tables\n"},
	{"vrf import good",
	 "vrfs: {a: {}, b: {import: [a, {vrf: default, prefixes: [10.0.0.0/8 le 24, deny 10.9.0.0/16, 0.0.0.0/0, fd00::/8 ge "
	 "48]}]}}\n",
	 ""},
	{"vrf import no prefix", "vrfs: {b: {import: [{vrf: default, prefixes: [10.0.0.0/8 le]}]}}\n",
	 "sluice.yaml:1: vrfs.b.import[0].prefixes[0]: `10.0.0.0/8 le` is no prefix as 10.0.0.0/8, 10.0.0.0/8 le 24, "
	 "10.0.0.0/8 ge "
	 "16 le 24, deny 10.1.0.0/16\n"},
	{"vrf import lengths", "vrfs: {b: {import: [{vrf: default, prefixes: [10.0.0.0/16 ge 8]}]}}\n",
	 "sluice.yaml:1: vrfs.b.import[0].prefixes[0]: `10.0.0.0/16 ge 8`: the lengths must ascend: that of the prefix, ge, "
	 "le\n"},
	{"vrf import beyond the family", "vrfs: {b: {import: [{vrf: default, prefixes: [10.0.0.0/16 le 33]}]}}\n",
	 "sluice.yaml:1: vrfs.b.import[0].prefixes[0]: `10.0.0.0/16 le 33` is no prefix as 10.0.0.0/8, 10.0.0.0/8 le 24, "
	 "10.0.0.0/8 "
	 "ge 16 le 24, deny 10.1.0.0/16\n"},
	{"vrf import twice le", "vrfs: {b: {import: [{vrf: default, prefixes: [10.0.0.0/16 le 18 le 20]}]}}\n",
	 "sluice.yaml:1: vrfs.b.import[0].prefixes[0]: `10.0.0.0/16 le 18 le 20` is no prefix as 10.0.0.0/8, 10.0.0.0/8 le 24, "
	 "10.0.0.0/8 ge 16 le 24, deny 10.1.0.0/16\n"},
	{"vrf import nothing", "vrfs: {b: {import: [{vrf: default, prefixes: []}]}}\n",
	 "sluice.yaml:1: vrfs.b.import[0].prefixes: no prefix is listed, so nothing would be imported: leave `prefixes` out to "
	 "import "
	 "all\n"},
	{"vrf import without vrf", "vrfs: {b: {import: [{prefixes: [10.0.0.0/8]}]}}\n",
	 "sluice.yaml:1: vrfs.b.import[0]: `vrf` is missing: the VRF whose routes are imported\n"},
	{"vrf main table", "vrfs: {red: {table: 254}}\n",
	 "sluice.yaml:1: vrfs.red.table: the kernel's tables 253 (default), 254 (main) and 255 (local) are of the VRF "
	 "`default`\n"},
	{"vrf unknown key", "vrfs: {red: {tabel: 10}}\n",
	 "sluice.yaml:1: vrfs.red.tabel: unknown key, did you mean `table`? Allowed are: table, import\n"},
	{"control characters in a prefix", "routes: [{to: \"10.0\\n\\x1b[2J.0/8\", via: 10.0.0.1}]\n",
	 "sluice.yaml:1: routes[0].to (10.0??[2J.0/8 via 10.0.0.1): `10.0\\x0a\\x1b[2J.0/8` is not a "
	 "prefix such as 10.0.0.0/8 or fd00::/8\n"},
	{"control characters in other words", "settings: {host-netdevs: [\"\\e[2Ja name that is longer than it may be\"]}\n",
	 "sluice.yaml:1: settings.host-netdevs[0]: `?[2Ja name that is longer than i`: longer than 15 characters\n"},
	{"a long prefix is cut within a character",
	 "routes: [{to: \"0123456789012345678901234567890123456789012345678901234567\xe2\x94\x80\", via: 10.0.0.1}]\n",
	 "sluice.yaml:1: routes[0].to (0123456789012345678901234567890123456789012345678901234567?? via 10.0.0.1): "
	 "`0123456789012345678901234567890123456789012345678901234567\xe2\x94\x80` is not a prefix such as 10.0.0.0/8 or "
	 "fd00::/8\n"},
	{"route no to",
	 "routes:\n"
	 "  - {via: 10.0.0.1}\n",
	 "sluice.yaml:2: routes[0]: `to` is missing: the prefix that the route leads to\n"},
	{"route no via",
	 "routes:\n"
	 "  - {to: 10.0.0.0/8}\n",
	 "sluice.yaml:2: routes[0] (10.0.0.0/8): `via` is missing: the gateway, or a list of gateways (or `nexthop`: a named "
	 "one)\n"},
	{"route host bits", "routes: [{to: 10.0.0.1/8, type: blackhole}]\n",
	 "sluice.yaml:1: routes[0].to (10.0.0.1/8 type blackhole): 10.0.0.1/8 has bits set behind its length: did you mean "
	 "10.0.0.0/8?\n"},
	{"route default no family", "routes: [{to: default, type: blackhole}]\n",
	 "sluice.yaml:1: routes[0].to (default type blackhole): no gateway shows the family of `default`: write 0.0.0.0/0 or "
	 "::/0\n"},
	{"route default two families", "routes: [{to: default, via: [10.0.0.1, \"fd00::1\"]}]\n",
	 "sluice.yaml:1: routes[0].to (default via 10.0.0.1): the gateways are of both families: write 0.0.0.0/0 or ::/0\n"},
	{"route via on blackhole", "routes: [{to: 10.0.0.0/8, via: 10.0.0.1, type: blackhole}]\n",
	 "sluice.yaml:1: routes[0].via (10.0.0.0/8 via 10.0.0.1 type blackhole): a route of type blackhole leads nowhere: it has "
	 "no `via`\n"},
	{"route type", "routes: [{to: 10.0.0.0/8, type: blackhol}]\n",
	 "sluice.yaml:1: routes[0].type (10.0.0.0/8 type blackhol): `blackhol` is not known, did you mean `blackhole`? Allowed "
	 "are: gateway, blackhole, "
	 "unreachable, prohibit\n"},
	{"route weight", "routes: [{to: 10.0.0.0/8, via: [{address: 10.1.1.1, weight: 0}]}]\n",
	 "sluice.yaml:1: routes[0].via[0].weight (10.0.0.0/8 via 10.1.1.1): 0 is not in 1..256\n"},
	{"route onlink", "routes: [{to: 10.0.0.0/8, via: [{address: 10.1.1.1, onlink: yes}]}]\n",
	 "sluice.yaml:1: routes[0].via[0].onlink (10.0.0.0/8 via 10.1.1.1): `yes` is neither true nor false\n"},
	{"route recursive and interface",
	 "routes: [{to: 10.0.0.0/8, via: [{address: 10.1.1.1, interface: eth0, recursive: true}]}]\n",
	 "sluice.yaml:1: routes[0].via[0].recursive (10.0.0.0/8 via 10.1.1.1): `recursive` says that another route leads to "
	 "`address`: so it is needed, "
	 "and "
	 "no `interface`\n"},
	{"route onlink no interface", "routes: [{to: 10.0.0.0/8, via: [{address: 10.1.1.1, onlink: true}]}]\n",
	 "sluice.yaml:1: routes[0].via[0].onlink (10.0.0.0/8 via 10.1.1.1): `onlink` says that `address` is a neighbour on "
	 "`interface`: both are needed\n"},
	{"route link-local", "routes: [{to: \"::/0\", via: \"fe80::1\"}]\n",
	 "sluice.yaml:1: routes[0].via (::/0 via fe80::1): a link-local address is on every link: write {address, interface}\n"},
	{"route gateway multicast", "routes: [{to: 10.0.0.0/8, via: 224.0.0.1}]\n",
	 "sluice.yaml:1: routes[0].via (10.0.0.0/8 via 224.0.0.1): 224.0.0.1 is a multicast address: one host's is wanted\n"},
	{"route to multicast", "routes: [{to: 224.0.0.0/8, via: 10.0.0.1}]\n",
	 "sluice.yaml:1: routes[0].to (224.0.0.0/8 via 10.0.0.1): no route leads there: 224.0.0.0/8 is a multicast address: one "
	 "host's is wanted\n"},
	{"route to reserved", "routes: [{to: 240.0.0.0/4, via: 10.0.0.1}]\n",
	 "sluice.yaml:1: routes[0].to (240.0.0.0/4 via 10.0.0.1): no route leads there: 240.0.0.0/4 is reserved (RFC 1112 4), "
	 "and no router forwards it\n"},
	{"route to IPv4 link-local", "routes: [{to: 169.254.0.0/16, via: 10.0.0.1}]\n",
	 "sluice.yaml:1: routes[0].to (169.254.0.0/16 via 10.0.0.1): no route leads there: 169.254.0.0/16 is link-local, and "
	 "never leaves its link (RFC 3927 "
	 "2.7)\n"},
	{"route to IPv6 link-local", "routes: [{to: \"fe80::/10\", via: \"2001:db8::1\"}]\n",
	 "sluice.yaml:1: routes[0].to (fe80::/10 via 2001:db8::1): no route leads there: fe80::/10 is link-local, and never "
	 "leaves its link (RFC 4291 "
	 "2.5.6)\n"},
	{"route nexthop empty", "routes: [{to: 10.0.0.0/8, via: [{weight: 2}]}]\n",
	 "sluice.yaml:1: routes[0].via[0] (10.0.0.0/8): a nexthop needs an `address`, an `interface`, or both\n"},
	{"route distance", "routes: [{to: 10.0.0.0/8, type: prohibit, distance: 0}]\n",
	 "sluice.yaml:1: routes[0].distance (10.0.0.0/8 distance 0 type prohibit): 0 is not in 1..255\n"},
	{"route metric", "routes: [{to: 10.0.0.0/8, type: prohibit, metric: low}]\n",
	 "sluice.yaml:1: routes[0].metric (10.0.0.0/8 metric low type prohibit): `low` is not a decimal number "
	 "(0..4294967295)\n"},
	{"nat no name", "nat: [{type: snat, to: masquerade}]\n",
	 "sluice.yaml:1: nat[0]: `name` is missing: what the rule is called in counters and messages\n"},
	{"nat no type", "nat: [{name: a, to: masquerade}]\n",
	 "sluice.yaml:1: nat[0] (a): `type` is missing: snat, dnat or static\n"},
	{"nat no to", "nat: [{name: a, type: snat}]\n",
	 "sluice.yaml:1: nat[0] (a): `to` is missing: masquerade, none, or the addresses to translate to\n"},
	{"nat type", "nat: [{name: a, type: nat64}]\n",
	 "sluice.yaml:1: nat[0].type (a): `nat64` is not known. Allowed are: snat, dnat, static\n"},
	{"nat fragments", "settings: {nat-fragments: {held: 257}}\n",
	 "sluice.yaml:1: settings.nat-fragments.held: 257 is not in 0..256\n"},
	{"nat fragments key", "settings: {nat-fragments: {bytes: 1}}\n",
	 "sluice.yaml:1: settings.nat-fragments.bytes: unknown key. Allowed are: held, time\n"},
	{"nat on delete", "nat: [{name: a, type: snat, to: masquerade, on-delete: never}]\n",
	 "sluice.yaml:1: nat[0].on-delete (a): `never` is not known. Allowed are: end, keep\n"},
	{"nat log path", "settings: {nat-log: {file: nat.log}}\n",
	 "sluice.yaml:1: settings.nat-log.file: a path from / on, of at most 255 characters\n"},
	{"nat filtering", "nat: [{name: a, type: snat, to: 203.0.113.1, filtering: none}]\n",
	 "sluice.yaml:1: nat[0].filtering (a): `none` is not known. Allowed are: endpoint-independent, address-dependent, "
	 "address-and-port-dependent\n"},
	{"nat mapping", "nat: [{name: a, type: snat, to: 203.0.113.1, mapping: symmetric}]\n",
	 "sluice.yaml:1: nat[0].mapping (a): `symmetric` is not known. Allowed are: endpoint-independent, "
	 "address-and-port-dependent\n"},
	{"nat overload lets in", "nat: [{name: a, type: snat, to: 203.0.113.1, filtering: address-dependent, overload: true}]\n",
	 "sluice.yaml:1: nat[0].overload (a): ports that hosts share are told apart by who answers: not with `filtering` "
	 "address-dependent, which lets others in\n"},
	{"nat none with limit", "nat: [{name: a, type: snat, to: none, limit: {ports: 5}}]\n",
	 "sluice.yaml:1: nat[0].limit (a): a rule that translates nothing has no mappings\n"},
	{"nat limit key", "nat: [{name: a, type: snat, to: 203.0.113.1, limit: {ports: 0}}]\n",
	 "sluice.yaml:1: nat[0].limit.ports (a): 0 is not in 1..65535\n"},
	{"nat static sizes", "nat: [{name: a, type: static, inside: 10.0.0.0/24, outside: 203.0.113.0/25}]\n",
	 "sluice.yaml:1: nat[0].outside (a): a prefix of 25 bits, and `inside` has 24: both are of one size\n"},
	{"nat static to", "nat: [{name: a, type: static, inside: 10.0.0.1, outside: 203.0.113.1, to: 10.0.0.1}]\n",
	 "sluice.yaml:1: nat[0].to (a): is no key of a static rule, which has inside, outside, out, timeouts, on-delete and "
	 "vrf\n"},
	{"nat pool backwards", "nat: [{name: a, type: snat, to: 203.0.113.20-203.0.113.10}]\n",
	 "sluice.yaml:1: nat[0].to (a): `203.0.113.20-203.0.113.10` runs backwards\n"},
	{"nat pool twice", "nat: [{name: a, type: snat, to: [203.0.113.20, 203.0.113.8-203.0.113.9, 203.0.113.20]}]\n",
	 "sluice.yaml:1: nat[0].to (a): 203.0.113.20 is listed twice\n"},
	{"nat range twice", "nat: [{name: a, type: snat, to: [203.0.113.8/31, 203.0.113.8-203.0.113.9]}]\n",
	 "sluice.yaml:1: nat[0].to (a): 203.0.113.8-203.0.113.9 is listed twice\n"},
	{"nat pool mixed range", "nat: [{name: a, type: snat, to: \"203.0.113.20-fd00::1\"}]\n",
	 "sluice.yaml:1: nat[0].to (a): `203.0.113.20-fd00::1` begins in one family and ends in the other\n"},
	{"nat pool word", "nat: [{name: a, type: snat, to: [masquerade]}]\n",
	 "sluice.yaml:1: nat[0].to[0] (a): `masquerade` is no address, prefix or range of addresses (masquerade and none stand "
	 "alone: `to: masquerade`)\n"},
	{"nat ports backwards", "nat: [{name: a, type: snat, to: masquerade, ports: 2000-1000}]\n",
	 "sluice.yaml:1: nat[0].ports (a): the range 2000-1000 runs backwards\n"},
	{"nat ports 0", "nat: [{name: a, type: snat, to: masquerade, ports: 0-1000}]\n",
	 "sluice.yaml:1: nat[0].ports (a): `0-1000` is not a port or a range of ports (1..65535)\n"},
	{"nat ports on none", "nat: [{name: a, type: snat, to: none, ports: 1-2}]\n",
	 "sluice.yaml:1: nat[0].ports (a): a rule that translates nothing has no ports\n"},
	{"nat protocol", "nat: [{name: a, type: snat, to: none, protocol: sctp}]\n",
	 "sluice.yaml:1: nat[0].protocol (a): `sctp` is not known. Allowed are: tcp, udp, icmp, icmpv6\n"},
	{"nat protocol twice", "nat: [{name: a, type: snat, to: none, protocol: [tcp, tcp]}]\n",
	 "sluice.yaml:1: nat[0].protocol[1] (a): tcp is listed twice\n"},
	{"dnat icmp", "nat: [{name: a, type: dnat, destination: 1.2.3.4, protocol: icmp, to: 10.0.0.1}]\n",
	 "sluice.yaml:1: nat[0].protocol (a): `icmp` is not known. Allowed are: tcp, udp\n"},
	{"dnat port without protocol", "nat: [{name: a, type: dnat, destination: 1.2.3.4, port: 80, to: 10.0.0.1}]\n",
	 "sluice.yaml:1: nat[0] (a): `protocol` is missing: tcp, udp or both; a port has no meaning without\n"},
	{"dnat port backwards", "nat: [{name: a, type: dnat, destination: 1.2.3.4, protocol: tcp, port: 90-80, to: 10.0.0.1}]\n",
	 "sluice.yaml:1: nat[0].port (a): the range 90-80 runs backwards\n"},
	{"dnat target port", "nat: [{name: a, type: dnat, destination: 1.2.3.4, protocol: tcp, port: 80, to: \"10.0.0.1:0\"}]\n",
	 "sluice.yaml:1: nat[0].to (a): `10.0.0.1:0` is not an address with or without a port (1..65535), such as 10.0.10.5:80 "
	 "or "
	 "[fd00::5]:80\n"},
	{"dnat target port without port",
	 "nat: [{name: a, type: dnat, destination: 1.2.3.4, protocol: tcp, to: \"10.0.0.1:80\"}]\n",
	 "sluice.yaml:1: nat[0].to (a): 10.0.0.1:80 names a port, and the rule has no `port` that would become it\n"},
	{"dnat range end",
	 "nat: [{name: a, type: dnat, destination: 1.2.3.4, protocol: tcp, port: 80-90, to: \"10.0.0.1:65530\"}]\n",
	 "sluice.yaml:1: nat[0].to (a): 10.0.0.1:65530 moves the end of the range of `port` beyond 65535\n"},
	{"dnat prefix", "nat: [{name: a, type: dnat, destination: 1.2.3.0/24, to: 10.0.0.1}]\n",
	 "sluice.yaml:1: nat[0].destination (a): 1.2.3.0/24 is a prefix: dnat wants one address\n"},
	{"dnat source", "nat: [{name: a, type: dnat, source: 1.2.3.0/24, destination: 1.2.3.4, to: 10.0.0.1}]\n",
	 "sluice.yaml:1: nat[0].source (a): is a snat rule's key; a dnat rule has destination, protocol, port, to, to-vrf, "
	 "timeouts, "
	 "on-delete and vrf\n"},
	{"snat port", "nat: [{name: a, type: snat, to: masquerade, port: 80}]\n",
	 "sluice.yaml:1: nat[0].port (a): `port` is a dnat rule's; the ports of a snat rule's pool are `ports`\n"},
	{"snat out empty", "nat: [{name: a, type: snat, to: masquerade, out: []}]\n",
	 "sluice.yaml:1: nat[0].out (a): the list is empty: name interfaces, or leave `out` away for any\n"},
	{"fdb missing", "fdb: [{}]\n",
	 "sluice.yaml:1: fdb[0]: `mac` is missing: the station's MAC address\n"
	 "sluice.yaml:1: fdb[0]: `vlan` is missing: the VLAN of the station\n"
	 "sluice.yaml:1: fdb[0]: `port` is missing: the port that leads to the station\n"},
	{"fdb mac zero", "fdb: [{mac: \"00:00:00:00:00:00\", vlan: 10, port: h1}]\n",
	 "sluice.yaml:1: fdb[0].mac (00:00:00:00:00:00 vlan 10): a MAC address of zeroes belongs to no station\n"},
	{"fdb mac multicast", "fdb: [{mac: \"ff:ff:ff:ff:ff:ff\", vlan: 10, port: h1}]\n",
	 "sluice.yaml:1: fdb[0].mac (ff:ff:ff:ff:ff:ff vlan 10): ff:ff:ff:ff:ff:ff is a multicast MAC address: one station's is "
	 "wanted\n"},
	{"fdb null", "fdb: [~]\n",
	 "sluice.yaml:1: fdb[0]: `mac` is missing: the station's MAC address\n"
	 "sluice.yaml:1: fdb[0]: `vlan` is missing: the VLAN of the station\n"
	 "sluice.yaml:1: fdb[0]: `port` is missing: the port that leads to the station\n"},
	{"neighbor missing", "neighbors: [{}]\n",
	 "sluice.yaml:1: neighbors[0]: `address` is missing: the neighbour's address\n"
	 "sluice.yaml:1: neighbors[0]: `mac` is missing: the neighbour's MAC address\n"
	 "sluice.yaml:1: neighbors[0]: `interface` is missing: the interface that the neighbour is on\n"},
	{"neighbor multicast", "neighbors: [{address: \"ff02::1\", mac: \"02:00:00:00:00:01\", interface: v}]\n",
	 "sluice.yaml:1: neighbors[0].address (ff02::1 interface v): ff02::1 is a multicast address: one host's is wanted\n"},
	{"neighbor mapped", "neighbors: [{address: \"::ffff:10.0.0.1\", mac: \"02:00:00:00:00:01\", interface: v}]\n",
	 "sluice.yaml:1: neighbors[0].address (::ffff:10.0.0.1 interface v): `::ffff:10.0.0.1` is not an IPv4 or IPv6 address\n"},
	{"all at once",
	 "ports:\n"
	 "  h1: {mode: access, vlan: 5000}\n"
	 "  h2: {mode: trnk}\n"
	 "routes:\n"
	 "  - {to: 10.0.0.0/8, via: nowhere}\n"
	 "bogus: 1\n",
	 "sluice.yaml:2: ports.h1.vlan: VLAN 5000 is not in 1..4094\n"
	 "sluice.yaml:3: ports.h2.mode: `trnk` is not known, did you mean `trunk`? Allowed are: access, trunk, routed, observe\n"
	 "sluice.yaml:5: routes[0].via (10.0.0.0/8 via nowhere): `nowhere` is not an IPv4 or IPv6 address\n"
	 "sluice.yaml:6: bogus: unknown key. Allowed are: settings, tables, vrfs, ports, vlans, interfaces, nexthops, routes, "
	 "nat, fdb, "
	 "neighbors\n"},
};

/* ---- what is too large for a row ---- */

static char *repeat(const char *head, const char *item, size_t n, const char *tail)
{
	size_t h = strlen(head), l = strlen(item), t = strlen(tail);
	char *ret = malloc(h + l * n + t + 1), *p = ret;

	assert_non_null(ret);
	p = mempcpy(p, head, h);
	while (n--)
		p = mempcpy(p, item, l);
	memcpy(p, tail, t + 1);
	return ret;
}

static void must_fail(const char *text, size_t len, const char *want)
{
	struct errs errs = {0};
	char *said;

	assert_null(model_parse(text, len, "sluice.yaml", &errs));
	said = errors_text(&errs);
	assert_string_equal(said, want);
	free(said);
}

static void too_many_values_test(void **state)
{
	char *text = repeat("ports: [", "a,", 1000001, "]");

	must_fail(text, strlen(text), "sluice.yaml:1: more than 1000000 values\n");
	free(text);
}

static void too_long_test(void **state)
{
	char *text = repeat("#", "################", 1 << 20, "");

	must_fail(text, strlen(text), "sluice.yaml: longer than 16 MiB\n");
	free(text);
}

/* The billion laughs: nine aliases of nine aliases of … */
static void alias_bomb_test(void **state)
{
	char text[1024], *p = text;

	p += sprintf(p, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 10; i++)
		p += sprintf(p, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1,
			     i - 1, i - 1, i - 1, i - 1, i - 1);
	must_fail(text, strlen(text), "sluice.yaml:5: aliases (*) expand to more than 65536 values\n");
}

static void alias_depth_test(void **state)
{
	char text[4096], *p = text;

	p += sprintf(p, "a0: &a0 [x]\n");
	for (int i = 1; i < 40; i++)
		p += sprintf(p, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	must_fail(text, strlen(text), "sluice.yaml:32: nested deeper than 32 levels\n");
}

/* Sorted, a hundred thousand keys take no time; compared each with each, minutes. */
static void many_doubled_keys_test(void **state)
{
	char *text = repeat("settings:\n", " a: 1\n", 100000, "");
	struct errs errs = {0};

	assert_null(model_parse(text, strlen(text), "sluice.yaml", &errs));
	assert_int_equal(errs.n, 201);
	assert_string_equal(errs.v[200].text, "more errors follow; these are the first");
	errs_free(&errs);
	free(text);
}

/* ---- what is taken ---- */

static void empty_test(void **state)
{
	static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "{}", "~", "ports:\nroutes:\n"};
	struct model *want = model_new();
	json_t *diff;

	assert_int_equal(want->settings.fdb_ageing_s, 300);
	assert_int_equal(want->settings.max_routes4, 1048576);
	assert_int_equal(want->n_vrfs, 1);
	assert_string_equal(want->vrfs[0].name, "default");
	assert_int_equal(want->vrfs[0].tables[0], 254);
	for (size_t i = 0; i < N_OF_ROWS(texts); i++) {
		struct model *m = must_parse(texts[i]);

		diff = model_diff(want, m);
		assert_int_equal(json_array_size(diff), 0);
		json_decref(diff);
		model_free(m);
	}
	model_free(want);
}

static void port_test(void **state)
{
	struct model *m =
		must_parse("ports:\n"
			   "  h1: {mode: access, vlan: \"10\"}\n"
			   "  tor: {mode: TRUNK, vlans: [2, 63-65, \"100,102\"], native: 1, protocol: 802.1AD, xdp: off}\n"
			   "  \"vnet*\": {mode: observe, xdp: generic}\n");
	const struct port_cfg *p = m->ports;

	assert_int_equal(m->n_ports, 3);
	assert_string_equal(p->name, "h1");
	assert_int_equal(p->where.line, 2);
	assert_string_equal(p->where.file, "sluice.yaml");
	assert_false(p->glob);
	assert_int_equal(p->mode, PORT_ACCESS);
	assert_int_equal(p->native, 10);
	assert_int_equal(p->vlans[0], 1ull << 10);
	assert_memory_equal(&p->tpid, "\x81\x00", 2);
	p++;
	assert_int_equal(p->mode, PORT_TRUNK);
	assert_int_equal(p->native, 1);
	assert_memory_equal(&p->tpid, "\x88\xa8", 2);
	assert_int_equal(p->xdp, XDP_WANT_OFF);
	assert_int_equal(p->vlans[0], 1ull << 1 | 1ull << 2 | 1ull << 63);
	assert_int_equal(p->vlans[1], 1ull << 0 | 1ull << 1 | 1ull << (100 - 64) | 1ull << (102 - 64));
	assert_int_equal(p->vlans[2], 0);
	p++;
	assert_true(p->glob);
	assert_int_equal(p->mode, PORT_OBSERVE);
	assert_int_equal(p->xdp, XDP_WANT_GENERIC);
	model_free(m);
}

static void iface_route_test(void **state)
{
	struct model *m = must_parse(
		"settings: {fdb-ageing: 5m, flow-timeouts: {udp: 30}}\n"
		"tables: {flows: 1024, half-open: 100}\n"
		"ports: {up: {mode: routed}}\n"
		"vrfs: {red: {table: 100}}\n"
		"interfaces:\n"
		"  vlan10: {vlan: 10, addresses: [10.0.10.1/24, \"fd00::1/64\"], mac: \"02:00:00:00:00:0A\", mtu: 1400}\n"
		"  up: {port: up, addresses: 192.0.2.1/31, vrf: red}\n"
		"routes:\n"
		"  - {to: default, via: [10.0.10.2, {address: 10.0.10.3, interface: vlan10, weight: 3}], metric: 7}\n"
		"  - {to: default, via: [{address: \"fe80::1\", interface: vlan10}], distance: 200}\n"
		"  - {to: 10.1.2.3, type: prohibit, vrf: red}\n");
	char buf[PREFIX_TEXT], addr[ADDR_TEXT];
	const struct route_cfg *r = m->routes;
	const struct iface_cfg *c;

	assert_int_equal(m->settings.fdb_ageing_s, 300);
	assert_int_equal(m->settings.udp_s, 30);
	assert_int_equal(m->settings.icmp_s, 60);
	assert_int_equal(m->settings.max_flows, 1024);
	assert_int_equal(m->settings.max_half, 100);
	c = model_iface(m, "vlan10");
	assert_int_equal(c->vlan, 10);
	assert_int_equal(c->n_addrs, 2);
	assert_string_equal(prefix_text(&c->addrs[0], buf), "10.0.10.1/24");
	assert_true(c->has_mac);
	assert_memory_equal(c->mac, "\x02\0\0\0\0\x0a", 6);
	assert_int_equal(c->mtu, 1400);
	assert_string_equal(c->vrf, "default");
	c = model_iface(m, "up");
	assert_int_equal(c->vlan, 0);
	assert_string_equal(c->port, "up");
	assert_string_equal(c->vrf, "red");
	assert_int_equal(model_vrf(m, "red")->tables[0], 100);
	assert_null(model_iface(m, "down"));
	assert_null(model_vrf(m, "blue"));
	assert_int_equal(m->n_routes, 3);
	assert_string_equal(prefix_text(&r->to, buf), "0.0.0.0/0");
	assert_int_equal(r->type, NEXTHOP_GATEWAY);
	assert_int_equal(r->n_nexthops, 2);
	assert_string_equal(addr_text(&r->nexthops[0].gateway, addr), "10.0.10.2");
	assert_int_equal(r->nexthops[0].weight, 1);
	assert_string_equal(r->nexthops[1].iface, "vlan10");
	assert_int_equal(r->nexthops[1].weight, 3);
	assert_int_equal(r->metric, 7);
	assert_int_equal(r->distance, 1);
	assert_string_equal(prefix_text(&r[1].to, buf), "::/0");
	assert_int_equal(r[1].distance, 200);
	assert_string_equal(prefix_text(&r[2].to, buf), "10.1.2.3/32");
	assert_int_equal(r[2].type, NEXTHOP_PROHIBIT);
	assert_int_equal(r[2].n_nexthops, 0);
	assert_string_equal(r[2].vrf, "red");
	model_free(m);
}

static void nat_test(void **state)
{
	struct model *m = must_parse(
		"interfaces: {vlan10: {vlan: 10}, vlan20: {vlan: 20}}\n"
		"nat:\n"
		"- {name: a, type: snat, source: 10.0.0.0/16, out: [vlan10, vlan20], to: [203.0.113.0/30, 203.0.113.9], ports: "
		"1024-2047}\n"
		"- {name: b, type: snat, destination: 10.1.0.0/16, protocol: [tcp, icmp], to: none}\n"
		"- {name: c, type: snat, to: masquerade}\n"
		"- {name: d, type: dnat, destination: \"fd00::1\", protocol: tcp, port: 8000-8010, to: \"[fd00::5]:80\"}\n"
		"- {name: e, type: dnat, destination: vlan10, to: 10.0.0.9}\n");
	char first[ADDR_TEXT], last[ADDR_TEXT];
	const struct nat_cfg *c = m->nats;

	assert_int_equal(m->n_nats, 5);
	assert_int_equal(c->type, NAT_SNAT);
	assert_int_equal(c->to_kind, NAT_TO_POOL);
	assert_int_equal(c->n_out, 2);
	assert_string_equal(c->out[1], "vlan20");
	assert_int_equal(c->n_pool, 2);
	assert_string_equal(addr_text(&c->pool[0].first, first), "203.0.113.0");
	assert_string_equal(addr_text(&c->pool[0].last, last), "203.0.113.3");
	assert_string_equal(addr_text(&c->pool[1].last, last), "203.0.113.9");
	assert_int_equal(c->port_min, 1024);
	assert_int_equal(c->port_max, 2047);
	c++;
	assert_int_equal(c->to_kind, NAT_TO_NONE);
	assert_int_equal(c->source.family, 0);
	assert_int_equal(c->destination.len, 16);
	assert_int_equal(c->n_protocols, 2);
	assert_int_equal(c->protocols[1], 1);
	c++;
	assert_int_equal(c->to_kind, NAT_TO_MASQUERADE);
	assert_int_equal(c->port_max, 65535);
	c++;
	assert_int_equal(c->type, NAT_DNAT);
	assert_int_equal(c->destination.len, 128);
	assert_int_equal(c->dport_min, 8000);
	assert_int_equal(c->dport_max, 8010);
	assert_string_equal(addr_text(&c->to, first), "fd00::5");
	assert_int_equal(c->to_family, 6);
	assert_int_equal(c->to_port, 80);
	c++;
	assert_string_equal(c->dest_iface, "vlan10");
	assert_int_equal(c->dport_min, 0);
	assert_int_equal(c->to_port, 0);
	model_free(m);
}

/* JSON is YAML: escapes, no spaces, tabs, one line or many. */
static void json_test(void **state)
{
	struct model *m = must_parse(
		"{\"ports\":{\"h1\":{\"mode\":\"access\",\"vlan\":10}},\n\t\"vlans\":{\"10\":{\"name\":\"w\\u0065b\"}},"
		"\"routes\":[{\"to\":\"10.0.0.0\\/8\",\"type\":\"blackhole\"}],\"nat\":null,\"fdb\":[]}");

	assert_int_equal(m->ports[0].native, 10);
	assert_string_equal(m->vlans[0].name, "web");
	assert_int_equal(m->routes[0].to.len, 8);
	model_free(m);
}

static void alias_test(void **state)
{
	struct model *m = must_parse("ports:\n  h1: &host {mode: access, vlan: 10}\n  h2: *host\n");

	assert_int_equal(m->n_ports, 2);
	assert_string_equal(m->ports[1].name, "h2");
	assert_int_equal(m->ports[1].native, 10);
	model_free(m);
}

static void load_test(void **state)
{
	char path[] = "/tmp/sluice-model-XXXXXX", want[128], *said;
	struct errs errs = {0};
	int fd = mkstemp(path);
	struct model *m;
	FILE *f;

	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	fputs("vlans:\n  10: {name: web}\n", f);
	fclose(f);
	m = model_load(path, &errs);
	assert_non_null(m);
	assert_string_equal(m->vlans[0].where.file, path);
	model_free(m);
	remove(path);
	assert_null(model_load(path, &errs));
	said = errors_text(&errs);
	snprintf(want, sizeof(want), "%s: cannot be read: No such file or directory\n", path);
	assert_string_equal(said, want);
	free(said);
	assert_null(model_load("/", &errs));
	said = errors_text(&errs);
	assert_string_equal(said, "/: cannot be read: Is a directory\n");
	free(said);
	assert_null(model_load("/dev/zero", &errs));
	said = errors_text(&errs);
	assert_string_equal(said, "/dev/zero: cannot be read: File too large\n");
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(too_many_values_test),
		cmocka_unit_test(too_long_test),
		cmocka_unit_test(alias_bomb_test),
		cmocka_unit_test(alias_depth_test),
		cmocka_unit_test(many_doubled_keys_test),
		cmocka_unit_test(empty_test),
		cmocka_unit_test(port_test),
		cmocka_unit_test(iface_route_test),
		cmocka_unit_test(nat_test),
		cmocka_unit_test(json_test),
		cmocka_unit_test(alias_test),
		cmocka_unit_test(load_test),
	};

	return run_rows("model_parse", rows, N_OF_ROWS(rows), tests, N_OF_ROWS(tests));
}
