"""Switching: learning, moving, flooding, and what is never forwarded (IEEE 802.1Q 8.6 to 8.8)."""
import struct
import time

from scapy.layers.l2 import ARP

from frames import (
    A,
    B,
    BROADCAST,
    C,
    D,
    GW10,
    GW20,
    T10,
    T20,
    U10,
    eth,
    from_to,
    from_to6,
    mac_bytes,
    octets,
    patch,
    tagged,
    tcp,
    udp,
)
from harness import Drop, Flood, Forward, Host, Pass, Row, check, flooded

TYPE = 0x88B5
X, Y = "02:50:00:00:00:0a", "02:50:00:00:00:0b"  # VLAN 50 has no interface, and nothing static
PORT_F_DOWN = 8
N10 = "02:10:00:00:00:99"  # VLAN 10, not static


def l2(src, dst, payload=b"sluice" * 10):
    return eth(getattr(src, "mac", src), getattr(dst, "mac", dst), TYPE, payload)


def switched_ip(frame):
    """An IP frame of A, addressed to B's MAC instead of the gateway's."""
    return patch(frame, 0, mac_bytes(B.mac))


def unchanged(name, frame):
    frame = switched_ip(frame)
    return Row(name, "acc10", frame, Forward("acc10b", frame))


def fdb_key(mac, vlan):
    return mac_bytes(mac) + struct.pack("=H", vlan)


def learned_port(mac, vlan, port):
    """`after` of a row: the FDB says so."""

    def look(switch, seen, earlier):
        entry = switch.map("fdb").lookup(fdb_key(mac, vlan))
        assert entry is not None, f"{mac} is not in the FDB"
        assert struct.unpack_from("=H", entry)[0] == switch.port_id[port]

    return look


def not_learned(mac, vlan):
    def look(switch, seen, earlier):
        assert switch.map("fdb").lookup(fdb_key(mac, vlan)) is None

    return look


def fdb_points(mac, vlan, port_id):
    """`setup` of a row: an entry, learned just now (the daemon ages what is old), that names a port by number."""

    def write(switch):
        switch.edit("fdb", fdb_key(mac, vlan), struct.pack("=HHIQ", port_id(switch), 0, 0, time.monotonic_ns()))

    return write


def port_says(name, offset, fmt, value):
    """`setup` of a row: a field of a port's entry."""

    def write(switch):
        key = struct.pack("=I", switch.port_id[name])
        entry = bytearray(switch.map("ports").lookup(key))
        struct.pack_into(fmt, entry, offset, value)
        switch.edit("ports", key, bytes(entry))

    return write


def mtu(value):
    return port_says("acc10b", 12, "=I", value)


def port_down(name, flags):
    return port_says(name, 5, "=B", flags | PORT_F_DOWN)


def double_tagged(src, dst, outer, inner):
    return tagged(tagged(l2(src, dst), inner), outer)


UDP4, TCP4, UDP6 = octets(from_to(A, B, udp())), octets(from_to(A, B, tcp())), octets(from_to6(A, B, udp()))
RESERVED = "01:80:c2:00:00:"

ROWS = [
    Row("unknown unicast floods", "acc50", l2(X, Y), Flood(flooded(50, l2(X, Y), "acc50")), after=learned_port(X, 50, "acc50")),
    Row("broadcast floods", "acc50", l2(X, BROADCAST), Flood(flooded(50, l2(X, BROADCAST), "acc50"))),
    Row("multicast floods", "acc50", l2(X, "01:00:5e:01:02:03"), Flood(flooded(50, l2(X, "01:00:5e:01:02:03"), "acc50"))),
    Row("IPv6 multicast floods", "acc50", l2(X, "33:33:00:00:00:01"), Flood(flooded(50, l2(X, "33:33:00:00:00:01"), "acc50"))),
    Row("a flood reaches the host of the VLAN", "acc20", l2(D, BROADCAST), Flood(flooded(20, l2(D, BROADCAST), "acc20"))),
    Row("flood of a VLAN with one port", "lone", l2(X, Y), Drop("egress_no_member", by_tc=True)),
    Row("broadcast on a VLAN with one port", "lone", l2(X, BROADCAST), Drop("egress_no_member", by_tc=True)),
    Row(
        "learned: no flood any more",
        "acc50",
        l2(X, Y),
        Forward("trk2", tagged(l2(X, Y), 50)),
        before=[("trk2", tagged(l2(Y, X), 50))],
    ),
    Row("learned behind a port without XDP", "acc50", l2(X, Y), Forward("trkt", l2(X, Y)), before=[("trkt", l2(Y, X))]),
    Row("both ways learned", "trk2", tagged(l2(Y, X), 50), Forward("acc50", l2(Y, X)), before=[("acc50", l2(X, Y))]),
    Row(
        "learned from a broadcast",
        "acc50",
        l2(X, Y),
        Forward("trk2", tagged(l2(X, Y), 50)),
        before=[("trk2", tagged(l2(Y, BROADCAST), 50))],
    ),
    Row("learning is per VLAN", "acc50", l2(X, N10), Flood(flooded(50, l2(X, N10), "acc50")), before=[("acc10", l2(N10, B))]),
    Row(
        "a station that moved",
        "acc50",
        l2(X, Y),
        Forward("trkt", l2(X, Y)),
        before=[("trk2", tagged(l2(Y, X), 50)), ("trkt", l2(Y, X))],
        after=learned_port(Y, 50, "trkt"),
    ),
    Row(
        "a station that moved back",
        "acc50",
        l2(X, Y),
        Forward("trk2", tagged(l2(X, Y), 50)),
        before=[("trk2", tagged(l2(Y, X), 50)), ("trkt", l2(Y, X)), ("trk2", tagged(l2(Y, X), 50))],
    ),
    Row(
        "a move is seen by the frame that makes it",
        "trkt",
        l2(Y, X),
        Forward("acc50", l2(Y, X)),
        before=[("acc50", l2(X, Y)), ("trk2", tagged(l2(Y, X), 50))],
        after=learned_port(Y, 50, "trkt"),
    ),
    Row(
        "a static station does not move",
        "acc10",
        l2(A, B),
        Forward("acc10b", l2(A, B)),
        before=[("acc10t", l2(B, C.mac[:-2] + "98"))],
        after=learned_port(B.mac, 10, "acc10b"),
    ),
    Row("a static station's frame from elsewhere is forwarded", "acc10t", l2(B, A), Forward("acc10", l2(B, A))),
    Row("the switch's own MAC as source", "acc10", l2(GW10.mac, B), Drop("fdb_own_source")),
    Row("the switch's own MAC as source, broadcast", "trk", tagged(l2(GW10.mac, BROADCAST), 10), Drop("fdb_own_source")),
    Row("another VLAN's own MAC as source is a station's", "acc10", l2(GW20.mac, B), Forward("acc10b", l2(GW20.mac, B))),
    Row(
        "multicast source",
        "acc10",
        l2("03:10:00:00:00:0a", B),
        Drop("fdb_bad_source"),
        after=not_learned("03:10:00:00:00:0a", 10),
    ),
    Row("broadcast source", "acc10", l2(BROADCAST, B), Drop("fdb_bad_source")),
    Row("zero source", "acc10", l2("00:00:00:00:00:00", B), Drop("fdb_bad_source"), after=not_learned("00:00:00:00:00:00", 10)),
    Row("destination behind the same port", "acc10", l2(N10, A), Drop("fdb_same_port")),
    Row("destination behind the same trunk, same VLAN", "trk", tagged(l2("02:10:00:00:00:98", T10), 10), Drop("fdb_same_port")),
    Row("to itself", "acc10", l2(A, A), Drop("fdb_same_port")),
    Row(
        "a refused frame teaches nothing",
        "acc10",
        tagged(l2(N10, B), 20),
        Drop("vlan_tagged_on_access"),
        after=not_learned(N10, 20),
    ),
    *[
        Row(f"reserved group address {last}", "acc10", l2(A, RESERVED + last), Pass())
        for last in ("00", "01", "02", "03", "0e", "0f")
    ],
    Row("reserved group address on a trunk, untagged", "trk", l2(T10, RESERVED + "0e"), Pass()),
    Row(
        "behind the reserved group addresses",
        "acc10",
        l2(A, RESERVED + "10"),
        Flood(flooded(10, l2(A, RESERVED + "10"), "acc10")),
    ),
    Row(
        "beside the reserved group addresses",
        "acc10",
        l2(A, "01:80:c2:00:01:00"),
        Flood(flooded(10, l2(A, "01:80:c2:00:01:00"), "acc10")),
    ),
    Row("egress port detached", "acc10", l2(A, N10), Drop("egress_port_gone"), setup=fdb_points(N10, 10, lambda s: 1000)),
    Row(
        "egress port without the VLAN",
        "acc10",
        l2(A, N10),
        Drop("egress_vlan"),
        setup=fdb_points(N10, 10, lambda s: s.port_id["acc20"]),
    ),
    Row("egress port down", "acc10", l2(A, B), Drop("egress_port_down"), setup=port_down("acc10b", 1)),
    Row(
        "a port that is down is not flooded",
        "acc10",
        l2(A, BROADCAST),
        Flood({port: f for port, f in flooded(10, l2(A, BROADCAST), "acc10").items() if port != "acc10t"}),
        setup=port_down("acc10t", 0),
    ),
    Row("as large as the egress port takes", "acc10", l2(A, B, bytes(504)), Forward("acc10b", l2(A, B, bytes(504))), setup=mtu(500)),
    Row("larger than the egress port takes", "acc10", l2(A, B, bytes(505)), Drop("egress_mtu"), setup=mtu(500)),
    Row(
        "double tag into a trunk's native VLAN",
        "trk2",
        double_tagged(X, Y, 50, 10),
        Drop("egress_double_tag"),
        before=[("trkt", l2(Y, X))],
    ),
    Row(
        "priority tag and another VLAN's, out of a trunk's native VLAN",
        "acc50",
        double_tagged(X, Y, 0, 10),
        Drop("egress_double_tag"),
        before=[("trkt", l2(Y, X))],
    ),
    Row(
        "double tag, flooded but to the native VLAN",
        "trk2",
        double_tagged(X, Y, 50, 10),
        Flood({"acc50": tagged(l2(X, Y), 10)}),
    ),
    Row("observed port", "obs", l2(X, Y), Pass()),
    Row("observed port, tagged and broken", "obs", tagged(l2(BROADCAST, Y), 4095), Pass()),
    Row("observed port, cut inside a tag", "obs", eth(X, Y, 0x8100, b"\0"), Pass()),
    Row(
        "ARP request floods",
        "acc10",
        octets(eth(A.mac, BROADCAST, 0x0806, bytes(ARP(hwsrc=A.mac, psrc=A.ip4, pdst=B.ip4)))),
        Flood(flooded(10, eth(A.mac, BROADCAST, 0x0806, bytes(ARP(hwsrc=A.mac, psrc=A.ip4, pdst=B.ip4))), "acc10")),
    ),
    Row(
        "ARP reply between stations is switched",
        "acc10",
        eth(A.mac, B.mac, 0x0806, bytes(ARP(op=2, hwsrc=A.mac, psrc=A.ip4, pdst=B.ip4))),
        Forward("acc10b", eth(A.mac, B.mac, 0x0806, bytes(ARP(op=2, hwsrc=A.mac, psrc=A.ip4, pdst=B.ip4)))),
    ),
    Row(
        "ARP reply to the gateway goes to the host",
        "acc10",
        eth(A.mac, GW10.mac, 0x0806, bytes(ARP(op=2, hwsrc=A.mac, psrc=A.ip4, pdst=GW10.ip4))),
        Host("vlan10", eth(A.mac, GW10.mac, 0x0806, bytes(ARP(op=2, hwsrc=A.mac, psrc=A.ip4, pdst=GW10.ip4)))),
    ),
    Row(
        "ARP reply to the gateway from a trunk",
        "trk",
        tagged(eth(T20.mac, GW20.mac, 0x0806, bytes(ARP(op=2, hwsrc=T20.mac, psrc=T20.ip4, pdst=GW20.ip4))), 20),
        Host("vlan20", eth(T20.mac, GW20.mac, 0x0806, bytes(ARP(op=2, hwsrc=T20.mac, psrc=T20.ip4, pdst=GW20.ip4)))),
    ),
    # Switching is transparent: what is wrong above layer 2 is the stations' affair.
    unchanged("IPv4 UDP switched", UDP4),
    unchanged("IPv6 UDP switched", UDP6),
    unchanged("IPv4 with TTL 0 switched", patch(UDP4, 22, b"\0")),
    unchanged("IPv4 with TTL 1 switched", patch(UDP4, 22, b"\1")),
    unchanged("IPv4 header checksum wrong switched", patch(UDP4, 24, b"\xde\xad")),
    unchanged("IPv4 version wrong switched", patch(UDP4, 14, b"\x65")),
    unchanged("IPv4 IHL below 5 switched", patch(UDP4, 14, b"\x44")),
    unchanged("IPv4 IHL beyond the frame switched", patch(UDP4[:40], 14, b"\x4f")),
    unchanged("IPv4 total length beyond the frame switched", patch(UDP4, 16, b"\xff\xff")),
    unchanged("IPv4 total length 0 switched", patch(UDP4, 16, b"\0\0")),
    unchanged("IPv4 tiny fragment switched", patch(TCP4, 20, b"\0\1")),
    unchanged("IPv4 last fragment beyond 65535 switched", patch(UDP4, 20, b"\x1f\xff")),
    unchanged("UDP length wrong switched", patch(UDP4, 38, b"\xff\xff")),
    unchanged("TCP data offset wrong switched", patch(TCP4, 46, b"\x10")),
    unchanged("IPv6 version wrong switched", patch(UDP6, 14, b"\x40")),
    unchanged("IPv6 payload length beyond the frame switched", patch(UDP6, 18, b"\xff\xff")),
    unchanged("IPv6 hop limit 0 switched", patch(UDP6, 21, b"\0")),
    unchanged("IPv6 hop-by-hop header beyond the frame switched", patch(patch(UDP6, 20, b"\0"), 54, b"\x11\xff")),
    unchanged("IPv4 martian addresses switched", patch(UDP4, 26, b"\x7f\0\0\1\xff\xff\xff\xff")),
    Row(
        "IPv4 header cut switched",
        "trk",
        tagged(switched_ip(patch(UDP4[:30], 6, mac_bytes(T10.mac))), 10),
        Forward("acc10b", switched_ip(patch(UDP4[:30], 6, mac_bytes(T10.mac)))),
    ),
    Row(
        "IPv4 header absent switched",
        "trk",
        tagged(eth(T10.mac, B.mac, 0x0800), 10),
        Forward("acc10b", eth(T10.mac, B.mac, 0x0800)),
    ),
    Row(
        "IPv6 header cut switched",
        "trk",
        tagged(eth(T10.mac, U10.mac, 0x86DD, UDP6[14:40]), 10),
        Forward("trk2", tagged(eth(T10.mac, U10.mac, 0x86DD, UDP6[14:40]), 10)),
    ),
    Row(
        "ARP cut, switched",
        "acc10",
        eth(A.mac, B.mac, 0x0806, bytes(10)),
        Forward("acc10b", eth(A.mac, B.mac, 0x0806, bytes(10))),
    ),
    Row(
        "802.3 length field and LLC switched",
        "acc10",
        eth(A.mac, B.mac, 38, b"\x42\x42\x03" + bytes(35)),
        Forward("acc10b", eth(A.mac, B.mac, 38, b"\x42\x42\x03" + bytes(35))),
    ),
    Row("frame of 14 bytes switched", "acc10", eth(A.mac, B.mac, TYPE), Forward("acc10b", eth(A.mac, B.mac, TYPE))),
    Row("largest frame switched", "acc10", l2(A, B, bytes(1500)), Forward("acc10b", l2(A, B, bytes(1500)))),
]


def test_row(switch, row, hook):
    check(switch, row, hook)
