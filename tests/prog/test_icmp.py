"""ICMP errors of the switch's own: what they quote, who gets them, and about what none is sent.

RFC 792, RFC 1812 4.3.2, RFC 4443 2.4.

test_l3.py has one for each way that a routed packet ends.
"""
import struct

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from frames import (
    A,
    C,
    D,
    DOT1AD,
    GW10,
    S10,
    T10,
    T30,
    U10,
    W1,
    W3,
    echo,
    echo6,
    fix_ip4,
    from_to,
    from_to6,
    octets,
    patch,
    pcp,
    tagged,
    tcp,
    udp,
)
from harness import Drop, Row, check
from icmp_frames import error4, error6

NOWHERE4 = "172.31.0.1"
QUOTED = octets(from_to(D, A, udp()))[14:]
QUOTED6 = octets(from_to6(D, A, udp()))[14:]


def expired(name, frame, port="acc10", to=A, tag=b""):
    """TTL 1: time exceeded, about exactly this frame."""
    return Row(name, port, frame, Drop("route_ttl", error4(to, 11, 0, frame, tag=tag)))


def expired6(name, frame, port="acc10", to=A, tag=b""):
    return Row(name, port, frame, Drop("route_ttl", error6(to, 3, 0, frame, tag=tag)))


def silent(name, frame, reason):
    """No error is sent about it. XDP leaves that decision to tc."""
    return Row(name, "acc10", frame, Drop(reason, by_tc=True))


def never(name, frame, reason):
    """Nothing that anybody is told about, so that XDP may drop it."""
    return Row(name, "acc10", frame, Drop(reason))


def v4(layer4, dst=D, **ip):
    return octets(from_to(A, dst, layer4, ttl=1, **ip))


def v6(layer4, dst=D):
    return octets(from_to6(A, dst, layer4, hlim=1))


def tag(tci, tpid=0x8100):
    return struct.pack("!HH", tpid, tci)


def size4(n):
    return udp(payload=bytes(i & 255 for i in range(n - 28)))


def size6(n):
    return udp(payload=bytes(i & 255 for i in range(n - 48)))


OPTIONS = Raw(b"\x07\x07\x04\0\0\0\0\0" + octets(udp()))

ROWS = [
    expired("quote of a short packet is the whole packet", v4(udp(payload=b""))),
    expired("quote of a packet of odd length", v4(udp(payload=b"x"))),
    *[expired(f"quote of {n} bytes", v4(size4(n))) for n in (547, 548, 549, 576, 1500)],
    expired("padding is not quoted", v4(udp(payload=b"x")) + bytes(30)),
    expired("quote of TCP", v4(tcp(flags="PA", payload=bytes(100)))),
    expired("quote of an echo request", v4(echo())),
    expired("quote of an echo reply", v4(ICMP(type=0, id=3) / Raw(bytes(32)))),
    expired("quote of an unknown protocol", v4(Raw(bytes(50)), proto=253)),
    expired("quote of a packet with options", fix_ip4(patch(v4(OPTIONS, proto=17), 14, b"\x47"))),
    expired("about a first fragment", v4(Raw(bytes(UDP(sport=1, dport=2, len=1008) / Raw(bytes(504)))), proto=17, flags="MF")),
    expired("from a trunk, tagged", tagged(from_to(T10, D, udp(), ttl=1), 10), "trk", T10, tag(10)),
    expired("from a trunk, with priority", tagged(from_to(T10, D, udp(), ttl=1), pcp(10, 5)), "trk", T10, tag(pcp(10, 5))),
    expired("from a trunk, native VLAN", octets(from_to(T30, D, udp(), ttl=1)), "trk", T30),
    expired("from an 802.1ad trunk", tagged(from_to(S10, D, udp(), ttl=1), (10, DOT1AD)), "sp", S10, tag(10, DOT1AD)),
    expired("from a port without XDP", octets(from_to(C, D, udp(), ttl=1)), "acc10t", C),
    expired("from a routed port", octets(from_to(W1, D, udp(), ttl=1)), "wan", W1),
    expired("from a routed port without XDP", octets(from_to(W3, D, udp(), ttl=1)), "wan3", W3),
    expired6("IPv6 quote of a short packet", v6(udp(payload=b""))),
    expired6("IPv6 quote of a packet of odd length", v6(udp(payload=b"x"))),
    *[expired6(f"IPv6 quote of {n} bytes", v6(size6(n))) for n in (1231, 1232, 1233, 1280, 1500)],
    expired6("IPv6 padding is not quoted", v6(udp(payload=b"x")) + bytes(13)),
    expired6("IPv6 quote of TCP", v6(tcp(payload=bytes(100)))),
    expired6("IPv6 quote of an echo request", v6(echo6())),
    expired6("IPv6 quote of extension headers", v6(IPv6ExtHdrDestOpt() / udp())),
    expired6(
        "IPv6 about a first fragment",
        v6(IPv6ExtHdrFragment(offset=0, m=1, nh=17) / Raw(bytes(UDP(sport=1, dport=2, len=1008) / Raw(bytes(504))))),
    ),
    expired6("IPv6 from a trunk, tagged", tagged(from_to6(T10, D, udp(), hlim=1), 10), "trk", T10, tag(10)),
    expired6("IPv6 from a routed port", octets(from_to6(W1, D, udp(), hlim=1)), "wan", W1),
    Row(
        "too big, from a trunk",
        "trk2",
        tagged(from_to(U10, "10.97.1.1", size4(1500), flags="DF"), 10),
        Drop(
            "route_mtu", error4(U10, 3, 4, tagged(from_to(U10, "10.97.1.1", size4(1500), flags="DF"), 10), info=1400, tag=tag(10))
        ),
    ),
    Row(
        "IPv6 too big, from a trunk",
        "trk2",
        tagged(from_to6(U10, "2001:db8:97::1", size6(1500)), 10),
        Drop("route_mtu", error6(U10, 2, 0, tagged(from_to6(U10, "2001:db8:97::1", size6(1500)), 10), info=1400, tag=tag(10))),
    ),
    Row(
        "no route, from a routed port",
        "wan",
        octets(from_to(W1, NOWHERE4, udp())),
        Drop("route_none", error4(W1, 3, 0, from_to(W1, NOWHERE4, udp()))),
    ),
    *[silent(f"about an ICMP error of type {t}", v4(ICMP(type=t, code=0) / Raw(QUOTED)), "route_ttl") for t in (3, 4, 5, 11, 12)],
    silent("about an ICMP error without a quote", v4(ICMP(type=3, code=1)), "route_ttl"),
    silent("about an ICMP error, no route", octets(from_to(A, NOWHERE4, ICMP(type=3, code=1) / Raw(QUOTED))), "route_none"),
    *[
        silent(f"IPv6 about an ICMPv6 error {type(e).__name__}", v6(e / Raw(QUOTED6)), "route_ttl")
        for e in (ICMPv6DestUnreach(), ICMPv6PacketTooBig(), ICMPv6TimeExceeded())
    ],
    silent("about a later fragment", v4(Raw(bytes(64)), proto=17, frag=64), "route_ttl"),
    silent(
        "about a later fragment, no route",
        octets(from_to(A, NOWHERE4, Raw(bytes(64)), proto=17, frag=64, flags="MF")),
        "route_none",
    ),
    silent("IPv6 about a later fragment", v6(IPv6ExtHdrFragment(offset=64, m=0, nh=17) / Raw(bytes(64))), "route_ttl"),
    never("about a malformed packet", patch(v4(udp()), 24, b"\0\0"), "parse_ip4_checksum"),
    never("about a blackhole", octets(from_to(A, "10.60.0.1", udp())), "route_blackhole"),
    never(
        "about a martian",
        octets(Ether(src=A.mac, dst=GW10.mac) / IP(src="127.0.0.1", dst=D.ip4, ttl=1) / udp()),
        "route_martian_source",
    ),
    never(
        "to a source that is no host",
        octets(Ether(src=A.mac, dst=GW10.mac) / IP(src="0.0.0.0", dst=D.ip4, ttl=1) / udp()),
        "route_martian_source",
    ),
]


def icmp_rate(rate):
    """`setup`: so many errors a second."""

    def write(switch):
        value = switch.map("control").lookup(0)
        switch.edit("control", struct.pack("=I", 0), patch(value, 12, struct.pack("=I", rate)))

    return write


ROWS += [Row("no errors at rate 0", "acc10", v4(udp()), Drop("route_ttl", by_tc=True), setup=icmp_rate(0))]


def test_row(switch, row, hook):
    check(switch, row, hook)
