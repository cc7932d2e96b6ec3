"""Routing: what leaves, how, and what does not (RFC 1812 5.2 and 5.3, RFC 8200, RFC 1624)."""
import ipaddress
import struct

import pytest
from scapy.layers.inet import IP, checksum
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from frames import (
    A,
    B,
    BROADCAST,
    C,
    D,
    DOT1AD,
    GW10,
    GW20,
    PAYLOAD,
    S10,
    T10,
    T20,
    T30,
    U30,
    W1,
    W2,
    W3,
    WAN,
    echo,
    echo6,
    eth,
    fix_ip4,
    from_to,
    from_to6,
    in_vxlan,
    mac_bytes,
    octets,
    patch,
    pcp,
    routed,
    tagged,
    tcp,
    udp,
)
from harness import Drop, Flood, Forward, Host, Resolve, Row, check, flooded, send
from icmp_frames import error4, error6

UDP4, UDP6 = octets(from_to(A, D, udp())), octets(from_to6(A, D, udp()))
FAILED = 2


def to4(dst, layer4=None, **ip):
    return octets(from_to(A, dst, layer4 or udp(), **ip))


def to6(dst, layer4=None, **ip):
    return octets(from_to6(A, dst, layer4 or udp(), **ip))


def goes(name, frame, out, port=None):
    return Row(name, "acc10", frame, Forward(port or out.port, routed(frame, out)))


def with_checksum(value):
    """An IPv4 frame from A to D whose header checksum is `value`: the identification makes up for it."""
    bare = patch(fix_ip4(patch(UDP4, 18, b"\0\0")), 24, b"\0\0")
    missing = (~value & 0xFFFF) - (~checksum(bare[14:34]) & 0xFFFF)
    frame = patch(bare, 18, struct.pack("!H", missing % 0xFFFF))
    frame = patch(frame, 24, struct.pack("!H", value))
    assert checksum(frame[14:34]) == 0
    return frame


def before_checksum(value):
    """A frame whose checksum is `value` after the TTL is one less."""
    after = with_checksum(value)
    return fix_ip4(patch(after, 22, bytes([after[22] + 1])))


def neighbor_failed(switch):
    for address in ("0a0014c9", "20010db80020000000000000000000c9"):
        raw = bytes.fromhex(address)
        key = raw if len(raw) == 16 else bytes(10) + b"\xff\xff" + raw
        switch.edit("neighbors", key + struct.pack("=II", switch.iface_id("vlan20"), 0), bytes(6) + struct.pack("=HQ", FAILED, 0))


def gateway_unknown(switch):
    """`setup`: the gateways that nobody plays; sluiced has them asked for, and they have failed by now, or not yet."""
    for address in (bytes(10) + b"\xff\xff\xc0\x00\x02\x63", bytes.fromhex("20010db800e100000000000000000099")):
        switch.edit("neighbors", address + struct.pack("=II", switch.iface_id("wan"), 0), None)


def station_unknown(station):
    """`setup`: the FDB forgets a static station, the neighbour stays known."""

    def forget(switch):
        vlan = int(station.gateway.name.removeprefix("vlan"))
        switch.edit("fdb", mac_bytes(station.mac) + struct.pack("=H", vlan), None)

    return forget


def local(name, frame):
    return Row(name, "acc10", frame, Host("vlan10", frame))


T10_T20 = octets(from_to(T10, T20, udp()))
BIG4, BIG6 = udp(payload=bytes(1472)), udp(payload=bytes(1452))  # 1500 bytes of layer 3

ROWS = [
    goes("VLAN 10 to VLAN 20", UDP4, D),
    goes("IPv6 VLAN 10 to VLAN 20", UDP6, D),
    goes("VLAN 10 to a routed port by its prefix", to4(W1.ip4), W1),
    goes("IPv6 VLAN 10 to a routed port by its prefix", to6(W1.ip6), W1),
    goes("by a gateway", to4("10.99.1.1"), W1),
    goes("IPv6 by a gateway", to6("2001:db8:99::1"), W1),
    goes("by another gateway", to4("10.98.1.1"), W2),
    goes("IPv6 by another gateway", to6("2001:db8:98::1"), W2),
    goes("by a port without XDP", to4("10.97.1.1"), W3),
    goes("IPv6 by a port without XDP", to6("2001:db8:97::1"), W3),
    Row(
        "VLAN 20 to a station behind a port without XDP",
        "acc20",
        octets(from_to(D, C, udp())),
        Forward("acc10t", routed(from_to(D, C, udp()), C)),
    ),
    Row("from a port without XDP", "acc10t", octets(from_to(C, D, udp())), Forward("acc20", routed(from_to(C, D, udp()), D))),
    Row("by a gateway behind a trunk", "acc10", to4("10.63.0.1"), Forward("trk", tagged(routed(to4("10.63.0.1"), T20), 20))),
    Row(
        "IPv6 by a gateway behind a trunk",
        "acc10",
        to6("2001:db8:63::1"),
        Forward("trk", tagged(routed(to6("2001:db8:63::1"), T20), 20)),
    ),
    goes("the longest prefix wins", to4("10.99.200.1"), W2),
    goes("IPv6 the longest prefix wins", to6("2001:db8:99:200::1"), W2),
    Row("a host route in the longer prefix", "acc10", to4("10.99.200.7"), Drop("route_blackhole")),
    Row("IPv6 a host route in the longer prefix", "acc10", to6("2001:db8:99:200::7"), Drop("route_blackhole")),
    goes("beside the longer prefix", to4("10.99.201.1"), W1),
    goes("before the longer prefix", to4("10.99.199.255"), W1),
    Row("same trunk in and out, other VLAN", "trk", tagged(T10_T20, 10), Forward("trk", tagged(routed(T10_T20, T20), 20))),
    Row(
        "same trunk in and out keeps PCP",
        "trk",
        tagged(T10_T20, pcp(10, 5)),
        Forward("trk", tagged(routed(T10_T20, T20), pcp(20, 5))),
    ),
    Row(
        "same trunk, into the native VLAN",
        "trk",
        tagged(from_to(T10, T30, udp()), 10),
        Forward("trk", routed(from_to(T10, T30, udp()), T30)),
    ),
    Row(
        "same trunk, out of the native VLAN",
        "trk",
        octets(from_to(T30, T10, udp())),
        Forward("trk", tagged(routed(from_to(T30, T10, udp()), T10), 10)),
    ),
    Row("one VLAN, in and out", "acc10", to4(B.ip4), Forward("acc10b", routed(to4(B.ip4), B))),
    Row(
        "source and destination are one address",
        "trk",
        tagged(from_to(T10, T10.ip4, udp()), 10),
        Drop("route_martian_source"),
    ),
    Row(
        "IPv6 source and destination are one address",
        "trk",
        tagged(from_to6(T10, T10, udp()), 10),
        Drop("route_martian_source"),
    ),
    Row(
        "IPv6 same trunk in and out",
        "trk",
        tagged(from_to6(T10, T20, udp()), 10),
        Forward("trk", tagged(routed(from_to6(T10, T20, udp()), T20), 20)),
    ),
    Row(
        "trunk to trunk, other VLAN",
        "trk",
        tagged(from_to(T10, U30, udp()), 10),
        Forward("trk2", tagged(routed(from_to(T10, U30, udp()), U30), 30)),
    ),
    Row(
        "802.1ad trunk to 802.1Q trunk, other VLAN",
        "sp",
        tagged(from_to(S10, T20, udp()), (10, DOT1AD)),
        Forward("trk", tagged(routed(from_to(S10, T20, udp()), T20), 20)),
    ),
    Row(
        "802.1Q trunk to 802.1ad trunk, other VLAN",
        "trk",
        tagged(from_to(T20, S10, udp()), 20),
        Forward("sp", tagged(routed(from_to(T20, S10, udp()), S10), (10, DOT1AD))),
    ),
    Row("routed port to VLAN", "wan", octets(from_to(W1, A, udp())), Forward("acc10", routed(from_to(W1, A, udp()), A))),
    Row(
        "routed port to trunk",
        "wan",
        octets(from_to(W1, T10, udp())),
        Forward("trk", tagged(routed(from_to(W1, T10, udp()), T10), 10)),
    ),
    Row("routed port to routed port", "wan", octets(from_to(W1, W2, udp())), Forward("wan2", routed(from_to(W1, W2, udp()), W2))),
    Row(
        "routed port to routed port without XDP",
        "wan",
        octets(from_to(W1, W3, udp())),
        Forward("wan3", routed(from_to(W1, W3, udp()), W3)),
    ),
    Row(
        "routed port without XDP to routed port",
        "wan3",
        octets(from_to(W3, W1, udp())),
        Forward("wan", routed(from_to(W3, W1, udp()), W1)),
    ),
    Row(
        "routed port and back out of it",
        "wan",
        octets(from_to(W1, "10.99.1.1", udp())),
        Forward("wan", routed(from_to(W1, "10.99.1.1", udp()), W1)),
    ),
    Row(
        "priority tag on a routed port",
        "wan",
        tagged(from_to(W1, A, udp()), pcp(0, 3)),
        Forward("acc10", routed(from_to(W1, A, udp()), A)),
    ),
    Row("IPv6 routed port to VLAN", "wan", octets(from_to6(W1, A, udp())), Forward("acc10", routed(from_to6(W1, A, udp()), A))),
    Row(
        "IPv6 routed port to routed port",
        "wan",
        octets(from_to6(W1, W2, udp())),
        Forward("wan2", routed(from_to6(W1, W2, udp()), W2)),
    ),
    Row(
        "another station's MAC on a routed port",
        "wan",
        eth(W1.mac, "02:ee:00:00:00:99", 0x0800, UDP4[14:]),
        Drop("port_not_for_us"),
    ),
    Row(
        "the gateway's MAC of another VLAN is switched",
        "acc10",
        patch(UDP4, 0, mac_bytes(GW20.mac)),
        Flood(flooded(10, patch(UDP4, 0, mac_bytes(GW20.mac)), "acc10")),
    ),
    goes("TTL 2", to4(D, ttl=2), D),
    goes("TTL 255", to4(D, ttl=255), D),
    Row("TTL 1", "acc10", to4(D, ttl=1), Drop("route_ttl", error4(A, 11, 0, to4(D, ttl=1)))),
    Row("TTL 0", "acc10", to4(D, ttl=0), Drop("route_ttl", error4(A, 11, 0, to4(D, ttl=0)))),
    goes("IPv6 hop limit 2", to6(D, hlim=2), D),
    Row("IPv6 hop limit 1", "acc10", to6(D, hlim=1), Drop("route_ttl", error6(A, 3, 0, to6(D, hlim=1)))),
    Row("IPv6 hop limit 0", "acc10", to6(D, hlim=0), Drop("route_ttl", error6(A, 3, 0, to6(D, hlim=0)))),
    Row("TTL 1 to the gateway itself is for the host", "acc10", to4(GW10.ip4, ttl=1), Host("vlan10", to4(GW10.ip4, ttl=1))),
    Row("no route", "acc10", to4("172.31.0.1"), Drop("route_none", error4(A, 3, 0, to4("172.31.0.1")))),
    Row("IPv6 no route", "acc10", to6("2001:db8:dead::1"), Drop("route_none", error6(A, 1, 0, to6("2001:db8:dead::1")))),
    Row("blackhole", "acc10", to4("10.60.0.1"), Drop("route_blackhole")),
    Row("IPv6 blackhole", "acc10", to6("2001:db8:60::1"), Drop("route_blackhole")),
    Row("prohibit", "acc10", to4("10.61.0.1"), Drop("route_prohibit", error4(A, 3, 13, to4("10.61.0.1")))),
    Row("IPv6 prohibit", "acc10", to6("2001:db8:61::1"), Drop("route_prohibit", error6(A, 1, 1, to6("2001:db8:61::1")))),
    Row("unreachable", "acc10", to4("10.62.0.1"), Drop("route_unreachable", error4(A, 3, 1, to4("10.62.0.1")))),
    Row("IPv6 unreachable", "acc10", to6("2001:db8:62::1"), Drop("route_unreachable", error6(A, 1, 3, to6("2001:db8:62::1")))),
    local("echo to the gateway", to4(GW10.ip4, echo())),
    local("IPv6 echo to the gateway", to6(GW10.ip6, echo6())),
    local("UDP to the gateway", to4(GW10.ip4)),
    local("to another interface's address", to4(GW20.ip4, echo())),
    local("IPv6 to another interface's address", to6(WAN.ip6, echo6())),
    local("TCP to a routed port's address", to4(WAN.ip4, tcp(dport=22))),
    Row(
        "to the gateway from a trunk",
        "trk",
        tagged(from_to(T10, GW10.ip4, echo()), 10),
        Host("vlan10", octets(from_to(T10, GW10.ip4, echo()))),
    ),
    Row("to a routed port's own address", "wan", octets(from_to(W1, WAN.ip4, echo())), Host()),
    Row("IPv6 to a routed port's own address", "wan", octets(from_to6(W1, WAN.ip6, echo6())), Host()),
    Row("to a VLAN's address by a routed port", "wan", octets(from_to(W1, GW10.ip4, echo())), Host()),
    Row("broadcast on a routed port", "wan", eth(W1.mac, BROADCAST, 0x0806, bytes(46)), Host()),
    Row(
        "multicast on a routed port",
        "wan",
        eth(W1.mac, "01:00:5e:00:00:05", 0x0800, bytes(IP(src=W1.ip4, dst="224.0.0.5", ttl=1, proto=89) / Raw(PAYLOAD))),
        Host(),
    ),
    Row(
        "IPv6 neighbour solicitation on a routed port",
        "wan",
        eth(W1.mac, "33:33:ff:00:00:01", 0x86DD, bytes(IPv6(src=W1.ip6, dst="ff02::1:ff00:1", nh=58) / Raw(PAYLOAD))),
        Host(),
    ),
    Row("multicast to the gateway's MAC", "acc10", to4("224.0.0.251"), Host("vlan10", to4("224.0.0.251"))),
    Row("IPv6 multicast to the gateway's MAC", "acc10", to6("ff02::fb"), Host("vlan10", to6("ff02::fb"))),
    Row("IPv6 link-local destination", "acc10", to6("fe80::1"), Host("vlan10", to6("fe80::1"))),
    *[
        Row(
            f"martian source {ip}",
            "acc10",
            octets(Ether(src=A.mac, dst=GW10.mac) / IP(src=ip, dst=D.ip4) / udp()),
            Drop("route_martian_source"),
        )
        for ip in ("127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255")
    ],
    Row(
        "no source address yet, to the host",
        "acc10",
        octets(Ether(src=A.mac, dst=GW10.mac) / IP(src="0.0.0.0", dst=GW10.ip4) / udp(68, 67)),
        Host("vlan10", octets(Ether(src=A.mac, dst=GW10.mac) / IP(src="0.0.0.0", dst=GW10.ip4) / udp(68, 67))),
    ),
    Row(
        "IPv6 link-local source does not leave its link",
        "acc10",
        octets(Ether(src=A.mac, dst=GW10.mac) / IPv6(src="fe80::a", dst=D.ip6) / udp()),
        Host("vlan10", octets(Ether(src=A.mac, dst=GW10.mac) / IPv6(src="fe80::a", dst=D.ip6) / udp())),
    ),
    Row("limited broadcast to the gateway's MAC", "acc10", to4("255.255.255.255"), Host("vlan10", to4("255.255.255.255"))),
    Row("directed broadcast is not forwarded (RFC 2644)", "acc10", to4("10.0.20.255"), Drop("route_broadcast")),
    *[
        Row(f"martian destination {ip}", "acc10", to4(ip), Drop("route_martian_destination"))
        for ip in ("127.0.0.1", "0.0.0.1", "240.0.0.1")
    ],
    *[
        Row(
            f"IPv6 martian source {ip}",
            "acc10",
            octets(Ether(src=A.mac, dst=GW10.mac) / IPv6(src=ip, dst=D.ip6) / udp()),
            Drop("route_martian_source"),
        )
        for ip in ("::1", "ff02::1", "::", "::ffff:10.0.10.10")
    ],
    *[Row(f"IPv6 martian destination {ip}", "acc10", to6(ip), Drop("route_martian_destination")) for ip in ("::1", "::")],
    Row("as large as the MTU", "acc10", to4(D, BIG4), Forward("acc20", routed(to4(D, BIG4), D))),
    Row(
        "larger than the MTU, DF",
        "acc10",
        to4("10.97.1.1", BIG4, flags="DF"),
        Drop("route_mtu", error4(A, 3, 4, to4("10.97.1.1", BIG4, flags="DF"), info=1400)),
    ),
    goes("1400 bytes into an MTU of 1400", to4("10.97.1.1", udp(payload=bytes(1372)), flags="DF"), W3),
    Row(
        "1401 bytes into an MTU of 1400",
        "acc10",
        to4("10.97.1.1", udp(payload=bytes(1373)), flags="DF"),
        Drop("route_mtu", error4(A, 3, 4, to4("10.97.1.1", udp(payload=bytes(1373)), flags="DF"), info=1400)),
    ),
    Row(
        "IPv6 larger than the MTU",
        "acc10",
        to6("2001:db8:97::1", BIG6),
        Drop("route_mtu", error6(A, 2, 0, to6("2001:db8:97::1", BIG6), info=1400)),
    ),
    goes("IPv6 1400 bytes into an MTU of 1400", to6("2001:db8:97::1", udp(payload=bytes(1352))), W3),
    Row(
        "padding does not count for the MTU",
        "acc10",
        to4("10.97.1.1", udp(payload=bytes(1372)), flags="DF") + bytes(4),
        Forward("wan3", routed(to4("10.97.1.1", udp(payload=bytes(1372)), flags="DF") + bytes(4), W3)),
    ),
    *[
        goes(f"header checksum {value:04x}", with_checksum(value), D)
        for value in (0x0000, 0x0001, 0x00FF, 0x0100, 0xFEFF, 0xFF00, 0xFFFE)
    ],
    *[goes(f"header checksum {value:04x} afterwards", before_checksum(value), D) for value in (0x0000, 0x0100, 0xFEFF, 0xFFFE)],
    goes("header checksum ffff", patch(with_checksum(0x0000), 24, b"\xff\xff"), D),
    goes("TOS is kept", to4(D, tos=0xB9), D),
    goes("DF is kept", to4(D, flags="DF", id=0), D),
    goes("IPv6 traffic class and flow label are kept", to6(D, tc=0xB9, fl=0xABCDE), D),
    goes("a wrong UDP checksum is kept", patch(UDP4, 40, b"\x12\x34"), D),
    goes("UDP checksum 0 is kept", to4(D, udp(chksum=0)), D),
    Row("neighbour unknown", "acc10", to4("10.0.20.200"), Resolve(routed(to4("10.0.20.200"), D))),
    Row("IPv6 neighbour unknown", "acc10", to6("2001:db8:20::c8"), Resolve(routed(to6("2001:db8:20::c8"), D))),
    Row("gateway unknown", "acc10", to4("10.64.0.1"), Resolve(routed(to4("10.64.0.1"), W1)), setup=gateway_unknown),
    Row("IPv6 gateway unknown", "acc10", to6("2001:db8:64::1"), Resolve(routed(to6("2001:db8:64::1"), W1)), setup=gateway_unknown),
    Row(
        "neighbour unknown, from a trunk",
        "trk",
        tagged(from_to(T10, "10.0.20.200", udp()), 10),
        Resolve(routed(from_to(T10, "10.0.20.200", udp()), D)),
    ),
    Row("neighbour unknown on a routed port", "acc10", to4("192.0.2.77"), Resolve(routed(to4("192.0.2.77"), W1))),
    Row(
        "neighbour failed",
        "acc10",
        to4("10.0.20.201"),
        Drop("neighbor_failed", error4(A, 3, 1, to4("10.0.20.201"))),
        setup=neighbor_failed,
    ),
    Row(
        "IPv6 neighbour failed",
        "acc10",
        to6("2001:db8:20::c9"),
        Drop("neighbor_failed", error6(A, 1, 3, to6("2001:db8:20::c9"))),
        setup=neighbor_failed,
    ),
    Row(
        "neighbour known, station unknown: flood",
        "acc10",
        UDP4,
        Flood(flooded(20, routed(UDP4, D), None)),
        setup=station_unknown(D),
    ),
    Row(
        "neighbour known, station unknown, from the trunk: flood back as well",
        "trk",
        tagged(from_to(T10, D, udp()), 10),
        Flood(flooded(20, routed(from_to(T10, D, udp()), D), None)),
        setup=station_unknown(D),
    ),
    Row(
        "GSO: counted by its segments",
        "acc10",
        to4(D, tcp(flags="A", payload=bytes(3000))),
        Forward("acc20", routed(to4(D, tcp(flags="A", payload=bytes(3000))), D)),
        gso=(3, 1000),
        segments=3,
    ),
    Row(
        "GSO: segments that fit leave",
        "acc10",
        to4("10.97.1.1", tcp(flags="A", payload=bytes(2720)), flags="DF"),
        Forward("wan3", routed(to4("10.97.1.1", tcp(flags="A", payload=bytes(2720)), flags="DF"), W3)),
        gso=(2, 1360),
        segments=2,
    ),
    Row(
        "GSO: segments that do not fit",
        "acc10",
        to4("10.97.1.1", tcp(flags="A", payload=bytes(2722)), flags="DF"),
        Drop("route_mtu", error4(A, 3, 4, to4("10.97.1.1", tcp(flags="A", payload=bytes(2722)), flags="DF"), info=1400)),
        gso=(2, 1361),
        segments=2,
    ),
    Row(
        "GSO of a tunnel: segments that fit leave",
        "acc10",
        to4("10.97.1.1", in_vxlan(2620), flags="DF"),
        Forward("wan3", routed(to4("10.97.1.1", in_vxlan(2620), flags="DF"), W3)),
        gso=(2, 1310),
        segments=2,
    ),
    Row(
        "GSO of a tunnel: segments that do not fit, for the headers inside",
        "acc10",
        to4("10.97.1.1", in_vxlan(2622), flags="DF"),
        Drop("route_mtu", error4(A, 3, 4, to4("10.97.1.1", in_vxlan(2622), flags="DF"), info=1400)),
        gso=(2, 1311),
        segments=2,
    ),
    Row(
        "GSO: switched",
        "acc10",
        patch(to4(D, tcp(flags="A", payload=bytes(3000))), 0, mac_bytes(B.mac)),
        Forward("acc10b", patch(to4(D, tcp(flags="A", payload=bytes(3000))), 0, mac_bytes(B.mac))),
        gso=(3, 1000),
        segments=3,
    ),
]


def test_row(switch, row, hook):
    check(switch, row, hook)


@pytest.mark.parametrize(
    "port, frame, key, told",
    [
        ("acc10", to4("10.0.20.200"), ("10.0.20.200", "vlan20"), True),
        ("acc10", to6("2001:db8:20::c8"), ("2001:db8:20::c8", "vlan20"), True),
        ("trk", tagged(from_to(T10, "10.0.20.200", udp()), 10), ("10.0.20.200", "vlan20"), True),
        ("acc10", to4("10.64.0.1"), ("192.0.2.99", "wan"), True),
        ("acc10", to4("10.0.20.200", udp(payload=bytes(3000))), ("10.0.20.200", "vlan20"), True),
        ("acc10", to4(D), None, False),
    ],
    ids=["IPv4", "IPv6", "tagged", "gateway", "too_long", "known"],
)
def test_what_waits_for_a_neighbour_is_told(switch, port, frame, key, told):
    """As it came in, for the daemon to bring it in again when nobody answers (RFC 4861 7.2.2); of what is too long the address
    alone, and it is counted."""

    def untold():
        return switch.control.show("counters", "show")["stats"]["neighbor_untold"]

    switch.forget()
    before = untold()
    gateway_unknown(switch)
    out = struct.pack("=I", switch.iface_id("vlan20"))
    switch.edit("ifaces", out, patch(switch.map("ifaces").lookup(out), 16, struct.pack("=I", 9000)))
    ring = switch.ring("neighbor_asked")
    try:
        send(switch, "tc", port, frame)
        records = ring.records()
    finally:
        ring.close()
        switch.forget()
    too_long = len(octets(frame)) > 2048
    assert len(records) == told
    assert untold() - before == too_long
    for r in records:
        address = ipaddress.ip_address(key[0])
        packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
        assert r[8:24] == packed and struct.unpack_from("=I", r, 24)[0] == switch.iface_id(key[1])
        ifindex, length, number = struct.unpack_from("=IHH", r, 32)
        assert ifindex == switch.ifindex[port] and number == switch.port_id[port]
        assert length == 0 if too_long else r[40 : 40 + length] == octets(frame)
