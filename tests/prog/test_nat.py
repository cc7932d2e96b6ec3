"""NAT: what is translated, to what, and back (RFC 3022, RFC 4787, RFC 5382, RFC 5508, RFC 6146's ICMP rules where they are shared).

Expected packets are built anew by scapy with all their checksums, so an incremental update that errs shows. Inside is VLAN 20:
by `wan` it is translated to a pool's address, by `wan2` to the port's own.
"""
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from frames import (
    A,
    B,
    D,
    GW10,
    PAYLOAD,
    T20,
    W1,
    W2,
    W3,
    WAN,
    WAN2,
    echo,
    echo6,
    echo6_reply,
    echo_reply,
    from_to,
    from_to6,
    octets,
    patch,
    routed,
    tagged,
    tcp,
    udp,
)
from harness import Drop, Forward, Row, check
from icmp_frames import error4

POOL, POOL6, TINY = "198.18.0.1", "2001:db8:5a::1", "198.18.7.1"
WHOLE, WHOLE6 = "198.18.9.9", "2001:db8:5a::9"
FAR, FAR6 = "10.99.1.1", "2001:db8:99::1"  # by wan
OTHER, OTHER6 = "10.98.1.1", "2001:db8:98::1"  # by wan2
ROUTER, ROUTER6 = "10.99.5.5", "2001:db8:99::5"


def out4(to, src, dst, layer4, ttl=63, **ip):
    """The frame that leaves to a station, from and to these addresses."""
    return octets(Ether(src=to.gateway.mac, dst=to.mac) / IP(src=src, dst=dst, ttl=ttl, **ip) / layer4)


def out6(to, src, dst, layer4, hlim=63, **ip):
    return octets(Ether(src=to.gateway.mac, dst=to.mac) / IPv6(src=src, dst=dst, hlim=hlim, **ip) / layer4)


def in4(station, src, dst, layer4, ttl=64, **ip):
    """A frame from the far side of a station, by it, to the switch."""
    return octets(Ether(src=station.mac, dst=station.gateway.mac) / IP(src=src, dst=dst, ttl=ttl, **ip) / layer4)


def in6(station, src, dst, layer4, hlim=64, **ip):
    return octets(Ether(src=station.mac, dst=station.gateway.mac) / IPv6(src=src, dst=dst, hlim=hlim, **ip) / layer4)


def snat(name, layer4, before=()):
    """From D by wan: the pool's address, the port as it was."""
    return Row(name, "acc20", octets(from_to(D, FAR, layer4)), Forward("wan", out4(W1, POOL, FAR, layer4)), before=list(before))


def snat6(name, layer4, before=()):
    return Row(
        name, "acc20", octets(from_to6(D, FAR6, layer4)), Forward("wan", out6(W1, POOL6, FAR6, layer4)), before=list(before)
    )


def reply(name, sent, answer):
    """The answer to what D has sent by wan."""
    return Row(
        name,
        "wan",
        in4(W1, FAR, POOL, answer),
        Forward("acc20", out4(D, FAR, D.ip4, answer)),
        before=[("acc20", octets(from_to(D, FAR, sent)))],
    )


def reply6(name, sent, answer):
    return Row(
        name,
        "wan",
        in6(W1, FAR6, POOL6, answer),
        Forward("acc20", out6(D, FAR6, D.ip6, answer)),
        before=[("acc20", octets(from_to6(D, FAR6, sent)))],
    )


def with_udp_checksum_zero(build):
    """A payload with which the frame build(payload) has a UDP checksum that computes to 0, and so is sent as 0xffff."""
    checksum = build(b"\0\0" + PAYLOAD)[UDP].chksum
    payload = struct.pack("!H", checksum) + PAYLOAD
    assert build(payload)[UDP].chksum == 0xFFFF
    return payload


def built(frame):
    return Ether(octets(frame))


def another_port(low, high, taken, expected):
    """The frame is the one that expected(port) builds, with a port in [low, high] that is not taken."""

    def wrong(frame):
        packet = Ether(frame)
        layer = packet[UDP] if UDP in packet else packet[TCP] if TCP in packet else None
        port = layer.sport if layer else packet[ICMP].id
        if port in taken or not low <= port <= high:
            return f"port {port} is not a free one of {low}..{high}"
        return None if octets(expected(port)) == frame else f"port {port} would be right, and the rest is not"

    return wrong


def port_of(seen):
    ((_, frame),) = seen.out()
    packet = Ether(frame)
    return packet[UDP].sport if UDP in packet else packet[TCP].sport


def from_inside(*layers, dst=FAR):
    return [("acc20", octets(from_to(D, dst, layer))) for layer in layers]


TINY_DST = "10.99.7.1"
UDP6_OUT = octets(from_to6(D, FAR6, udp()))
EXPIRED, EXPIRED_BACK = octets(from_to(D, FAR, udp(), ttl=1)), in4(W1, FAR, POOL, udp(5000, 4000), ttl=1)
ZERO_IN = with_udp_checksum_zero(lambda p: built(from_to(D, FAR, udp(payload=p))))
ZERO_OUT = with_udp_checksum_zero(lambda p: built(out4(W1, POOL, FAR, udp(payload=p))))
ZERO_IN6 = with_udp_checksum_zero(lambda p: built(from_to6(D, FAR6, udp(payload=p))))
ZERO_OUT6 = with_udp_checksum_zero(lambda p: built(out6(W1, POOL6, FAR6, udp(payload=p))))
ZERO_BACK = with_udp_checksum_zero(lambda p: built(out4(D, FAR, D.ip4, udp(5000, 4000, p))))

SNAT = [
    snat("SNAT UDP", udp()),
    snat("SNAT UDP without payload", udp(payload=b"")),
    snat("SNAT UDP of odd length", udp(payload=b"odd")),
    snat("SNAT TCP SYN", tcp()),
    snat("SNAT TCP SYN with options", tcp(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("WScale", 7)])),
    snat("SNAT TCP ACK of a flow that was lost", tcp(flags="A", payload=PAYLOAD)),
    snat("SNAT echo request", echo(ident=7777)),
    snat6("SNAT IPv6 UDP", udp()),
    snat6("SNAT IPv6 UDP of odd length", udp(payload=b"odd")),
    snat6("SNAT IPv6 TCP SYN", tcp()),
    snat6("SNAT IPv6 echo request", echo6(ident=7777)),
    snat("SNAT second packet of a UDP flow", udp(payload=b"second"), from_inside(udp())),
    snat("SNAT second packet of a TCP flow", tcp(flags="PA", payload=PAYLOAD), from_inside(tcp())),
    snat("SNAT second echo", echo(ident=7777, seq=2), from_inside(echo(ident=7777))),
    snat6("SNAT IPv6 second packet", udp(payload=b"second"), [("acc20", UDP6_OUT)]),
    snat("SNAT FIN of a known flow", tcp(flags="FA"), from_inside(tcp())),
    snat("SNAT RST of a known flow", tcp(flags="R"), from_inside(tcp())),
    Row("SNAT TTL 1", "acc20", EXPIRED, Drop("route_ttl", error4(D, 11, 0, EXPIRED))),
    Row(
        "SNAT second packet with TTL 1", "acc20", EXPIRED, Drop("route_ttl", error4(D, 11, 0, EXPIRED)), before=from_inside(udp())
    ),
    Row(
        "SNAT options and TOS are kept",
        "acc20",
        octets(from_to(D, FAR, udp(), tos=0x2E, id=0xABCD, flags="DF")),
        Forward("wan", out4(W1, POOL, FAR, udp(), tos=0x2E, id=0xABCD, flags="DF")),
    ),
    Row("SNAT from a trunk", "trk", tagged(from_to(T20, FAR, udp()), 20), Forward("wan", out4(W1, POOL, FAR, udp()))),
    Row(
        "SNAT of a low port takes one of the pool's range",
        "acc20",
        octets(from_to(D, FAR, udp(sport=53))),
        Forward("wan", another_port(1024, 65535, [], lambda port: out4(W1, POOL, FAR, udp(sport=port)))),
    ),
    Row(
        "SNAT of a taken port takes another",
        "trk",
        tagged(from_to(T20, FAR, udp()), 20),
        Forward("wan", another_port(1024, 65535, [4000], lambda port: out4(W1, POOL, FAR, udp(sport=port)))),
        before=from_inside(udp()),
    ),
    Row(
        "SNAT of a taken TCP port takes another",
        "trk",
        tagged(from_to(T20, FAR, tcp()), 20),
        Forward("wan", another_port(1024, 65535, [4000], lambda port: out4(W1, POOL, FAR, tcp(sport=port)))),
        before=from_inside(tcp()),
    ),
    Row(
        "SNAT of a taken echo identifier takes another",
        "trk",
        tagged(from_to(T20, FAR, echo(ident=7777)), 20),
        Forward("wan", another_port(1024, 65535, [7777], lambda port: out4(W1, POOL, FAR, echo(ident=port)))),
        before=from_inside(echo(ident=7777)),
    ),
    Row(
        "SNAT: TCP and UDP have ports of their own",
        "trk",
        tagged(from_to(T20, FAR, tcp()), 20),
        Forward("wan", out4(W1, POOL, FAR, tcp())),
        before=from_inside(udp()),
    ),
    Row(
        "SNAT mapping is the same for another destination (RFC 4787 REQ-1)",
        "trk",
        tagged(from_to(T20, "10.99.2.2", udp()), 20),
        lambda earlier: Forward("wan", out4(W1, POOL, "10.99.2.2", udp(sport=port_of(earlier[1])))),
        before=[*from_inside(udp()), ("trk", tagged(from_to(T20, FAR, udp()), 20))],
    ),
    Row(
        "SNAT reply to another port than the source's",
        "wan",
        lambda earlier: in4(W1, FAR, POOL, udp(5000, port_of(earlier[1]))),
        Forward("trk", tagged(out4(T20, FAR, T20.ip4, udp(5000, 4000)), 20)),
        before=[*from_inside(udp()), ("trk", tagged(from_to(T20, FAR, udp()), 20))],
    ),
    Row(
        "SNAT pool's last port",
        "acc20",
        octets(from_to(D, TINY_DST, udp(sport=4003))),
        lambda earlier: Forward(
            "wan", another_port(2000, 2003, [port_of(s) for s in earlier], lambda port: out4(W1, TINY, TINY_DST, udp(sport=port)))
        ),
        before=from_inside(*[udp(sport=4000 + n) for n in range(3)], dst=TINY_DST),
    ),
    Row(
        "SNAT pool exhausted",
        "acc20",
        octets(from_to(D, TINY_DST, udp(sport=4004))),
        Drop("nat_no_port"),
        before=from_inside(*[udp(sport=4000 + n) for n in range(4)], dst=TINY_DST),
    ),
    Row(
        "SNAT pool exhausted, a known flow goes on",
        "acc20",
        octets(from_to(D, TINY_DST, udp(sport=4001, payload=b"more"))),
        lambda earlier: Forward("wan", out4(W1, TINY, TINY_DST, udp(sport=port_of(earlier[1]), payload=b"more"))),
        before=from_inside(*[udp(sport=4000 + n) for n in range(4)], dst=TINY_DST),
    ),
    Row(
        "SNAT exempt", "acc20", octets(from_to(D, "10.99.9.1", udp())), Forward("wan", routed(from_to(D, "10.99.9.1", udp()), W1))
    ),
    Row(
        "SNAT: another source is only routed",
        "acc10",
        octets(from_to(A, FAR, udp())),
        Forward("wan", routed(from_to(A, FAR, udp()), W1)),
    ),
    Row(
        "SNAT: another way out is only routed",
        "acc20",
        octets(from_to(D, "10.97.1.1", udp())),
        Forward("wan3", routed(from_to(D, "10.97.1.1", udp()), W3)),
    ),
    Row(
        "SNAT: to another VLAN is only routed",
        "acc20",
        octets(from_to(D, A, udp())),
        Forward("acc10", routed(from_to(D, A, udp()), A)),
    ),
    Row("masquerade UDP", "acc20", octets(from_to(D, OTHER, udp())), Forward("wan2", out4(W2, WAN2.ip4, OTHER, udp()))),
    Row("masquerade TCP", "acc20", octets(from_to(D, OTHER, tcp())), Forward("wan2", out4(W2, WAN2.ip4, OTHER, tcp()))),
    Row(
        "masquerade echo",
        "acc20",
        octets(from_to(D, OTHER, echo(ident=7777))),
        Forward("wan2", out4(W2, WAN2.ip4, OTHER, echo(ident=7777))),
    ),
    Row("masquerade IPv6", "acc20", octets(from_to6(D, OTHER6, udp())), Forward("wan2", out6(W2, WAN2.ip6, OTHER6, udp()))),
    Row(
        "masquerade reply",
        "wan2",
        in4(W2, OTHER, WAN2.ip4, udp(5000, 4000)),
        Forward("acc20", out4(D, OTHER, D.ip4, udp(5000, 4000))),
        before=from_inside(udp(), dst=OTHER),
    ),
    reply("reply to UDP", udp(), udp(5000, 4000)),
    reply("reply to TCP: SYN-ACK", tcp(), tcp(5000, 4000, "SA")),
    reply("reply to TCP: RST", tcp(), tcp(5000, 4000, "RA")),
    reply("reply to echo", echo(ident=7777), echo_reply(ident=7777)),
    reply6("IPv6 reply to UDP", udp(), udp(5000, 4000)),
    reply6("IPv6 reply to TCP: SYN-ACK", tcp(), tcp(5000, 4000, "SA")),
    reply6("IPv6 reply to echo", echo6(ident=7777), echo6_reply(ident=7777)),
    Row(
        "second reply",
        "wan",
        in4(W1, FAR, POOL, udp(5000, 4000, b"two")),
        Forward("acc20", out4(D, FAR, D.ip4, udp(5000, 4000, b"two"))),
        before=[*from_inside(udp()), ("wan", in4(W1, FAR, POOL, udp(5000, 4000)))],
    ),
    Row(
        "outbound after the reply",
        "acc20",
        octets(from_to(D, FAR, udp(payload=b"three"))),
        Forward("wan", out4(W1, POOL, FAR, udp(payload=b"three"))),
        before=[*from_inside(udp()), ("wan", in4(W1, FAR, POOL, udp(5000, 4000)))],
    ),
    Row(
        "reply with TTL 1",
        "wan",
        EXPIRED_BACK,
        Drop("route_ttl", error4(W1, 11, 0, EXPIRED_BACK, dst=FAR)),
        before=from_inside(udp()),
    ),
    Row("non-opening SYN-ACK from inside", "acc20", octets(from_to(D, FAR, tcp(flags="SA"))), Drop("nat_not_opening")),
    Row("non-opening FIN from inside", "acc20", octets(from_to(D, FAR, tcp(flags="FA"))), Drop("nat_not_opening")),
    Row("non-opening RST from inside", "acc20", octets(from_to(D, FAR, tcp(flags="R"))), Drop("nat_not_opening")),
    Row("TCP without flags from inside", "acc20", octets(from_to(D, FAR, tcp(flags=0))), Drop("nat_not_opening")),
    Row("non-opening echo reply from inside", "acc20", octets(from_to(D, FAR, echo_reply())), Drop("nat_not_opening")),
    Row("IPv6 non-opening echo reply from inside", "acc20", octets(from_to6(D, FAR6, echo6_reply())), Drop("nat_not_opening")),
    Row(
        "answers to what came from outside are not translated",
        "acc20",
        octets(from_to(D, FAR, udp(5000, 4000))),
        Forward("wan", routed(from_to(D, FAR, udp(5000, 4000)), W1)),
        before=[("wan", in4(W1, FAR, D.ip4, udp()))],
    ),
    Row("a malformed packet is not translated", "acc20", patch(from_to(D, FAR, udp()), 38, b"\0\0"), Drop("parse_udp_length")),
]

CHECKSUMS = [
    Row(
        "UDP checksum 0 stays 0",
        "acc20",
        octets(from_to(D, FAR, udp(chksum=0))),
        Forward("wan", out4(W1, POOL, FAR, udp(chksum=0))),
    ),
    Row(
        "UDP checksum 0 stays 0 in a known flow",
        "acc20",
        octets(from_to(D, FAR, udp(chksum=0))),
        Forward("wan", out4(W1, POOL, FAR, udp(chksum=0))),
        before=from_inside(udp()),
    ),
    Row(
        "UDP checksum 0 stays 0 in a reply",
        "wan",
        in4(W1, FAR, POOL, udp(5000, 4000, chksum=0)),
        Forward("acc20", out4(D, FAR, D.ip4, udp(5000, 4000, chksum=0))),
        before=from_inside(udp()),
    ),
    snat("UDP checksum that comes as 0xffff", udp(payload=ZERO_IN)),
    snat("UDP checksum that becomes 0xffff (RFC 768)", udp(payload=ZERO_OUT)),
    snat6("IPv6 UDP checksum that comes as 0xffff", udp(payload=ZERO_IN6)),
    snat6("IPv6 UDP checksum that becomes 0xffff (RFC 8200 8.1)", udp(payload=ZERO_OUT6)),
    reply("UDP checksum that becomes 0xffff in a reply", udp(), udp(5000, 4000, ZERO_BACK)),
    Row(
        "a wrong TCP checksum stays wrong by as much",
        "acc20",
        octets(from_to(D, FAR, tcp(chksum=0x1234))),
        Forward("wan", lambda frame: wrong_by_as_much(octets(from_to(D, FAR, tcp(chksum=0x1234))), frame)),
    ),
    *[
        snat(f"UDP payload {n:04x}", udp(payload=struct.pack("!HH", n, 0) + PAYLOAD))
        for n in (0x0000, 0x0001, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
    ],
]


def error_of(frame):
    """How far the TCP checksum is from the right one, in one's complement."""
    packet = Ether(frame)
    have = packet[TCP].chksum
    del packet[TCP].chksum
    return (have - Ether(octets(packet))[TCP].chksum) % 0xFFFF


def wrong_by_as_much(sent, got):
    return (
        None
        if error_of(sent) == error_of(got)
        else "the checksum error is another one: an incremental update keeps it (RFC 1624)"
    )


def dnat(name, layer4, to_layer4, dst=WAN.ip4, to=A, before=()):
    """From far by wan to an address that is forwarded."""
    return Row(name, "wan", in4(W1, FAR, dst, layer4), Forward(to.port, out4(to, FAR, to.ip4, to_layer4)), before=list(before))


def dnat6(name, layer4, to_layer4, dst=WAN.ip6, to=A):
    return Row(name, "wan", in6(W1, FAR6, dst, layer4), Forward(to.port, out6(to, FAR6, to.ip6, to_layer4)))


OPENED = [("wan", in4(W1, FAR, WAN.ip4, tcp(4000, 8080)))]

DNAT = [
    dnat("DNAT TCP, address and port", tcp(4000, 8080), tcp(4000, 80)),
    dnat("DNAT UDP, address and port", udp(4000, 5353), udp(4000, 53)),
    dnat("DNAT of a range keeps the place in it", udp(4000, 7003), udp(4000, 17003)),
    dnat("DNAT first of a range", udp(4000, 7000), udp(4000, 17000)),
    dnat("DNAT last of a range", udp(4000, 7009), udp(4000, 17009)),
    dnat("DNAT of a whole address, UDP", udp(), udp(), WHOLE, B),
    dnat("DNAT of a whole address, TCP", tcp(), tcp(), WHOLE, B),
    dnat("DNAT of a whole address, echo", echo(), echo(), WHOLE, B),
    dnat("DNAT of a whole address, GRE", Raw(b"\0\0\x08\0" + PAYLOAD), Raw(b"\0\0\x08\0" + PAYLOAD), WHOLE, B),
    dnat("DNAT UDP checksum 0 stays 0", udp(4000, 5353, chksum=0), udp(4000, 53, chksum=0)),
    dnat("DNAT second packet", tcp(4000, 8080, "A", PAYLOAD), tcp(4000, 80, "A", PAYLOAD), before=OPENED),
    dnat("DNAT ACK of a flow that was lost", tcp(4000, 8080, "A", PAYLOAD), tcp(4000, 80, "A", PAYLOAD)),
    dnat6("DNAT IPv6 TCP, address and port", tcp(4000, 8080), tcp(4000, 80)),
    dnat6("DNAT IPv6 of a whole address", udp(), udp(), WHOLE6, B),
    dnat6("DNAT IPv6 of a whole address, echo", echo6(), echo6(), WHOLE6, B),
    Row(
        "DNAT reply",
        "acc10",
        octets(from_to(A, FAR, tcp(80, 4000, "SA"))),
        Forward("wan", out4(W1, WAN.ip4, FAR, tcp(8080, 4000, "SA"))),
        before=OPENED,
    ),
    Row(
        "DNAT reply of a range",
        "acc10",
        octets(from_to(A, FAR, udp(17003, 4000))),
        Forward("wan", out4(W1, WAN.ip4, FAR, udp(7003, 4000))),
        before=[("wan", in4(W1, FAR, WAN.ip4, udp(4000, 7003)))],
    ),
    Row(
        "DNAT reply of a whole address, echo",
        "acc10b",
        octets(from_to(B, FAR, echo_reply())),
        Forward("wan", out4(W1, WHOLE, FAR, echo_reply())),
        before=[("wan", in4(W1, FAR, WHOLE, echo()))],
    ),
    Row(
        "DNAT IPv6 reply",
        "acc10",
        octets(from_to6(A, FAR6, tcp(80, 4000, "SA"))),
        Forward("wan", out6(W1, WAN.ip6, FAR6, tcp(8080, 4000, "SA"))),
        before=[("wan", in6(W1, FAR6, WAN.ip6, tcp(4000, 8080)))],
    ),
    Row("DNAT from another VLAN", "acc20", octets(from_to(D, WHOLE, udp())), Forward("acc10b", out4(B, D.ip4, B.ip4, udp()))),
    Row(
        "DNAT from another VLAN, reply",
        "acc10b",
        octets(from_to(B, D, udp(5000, 4000))),
        Forward("acc20", out4(D, WHOLE, D.ip4, udp(5000, 4000))),
        before=[("acc20", octets(from_to(D, WHOLE, udp())))],
    ),
    Row(
        "DNAT from the same VLAN is masqueraded (hairpin, RFC 4787 REQ-9)",
        "acc10",
        octets(from_to(A, WHOLE, udp())),
        Forward("acc10b", out4(B, GW10.ip4, B.ip4, udp())),
    ),
    Row(
        "DNAT from the same VLAN, reply",
        "acc10b",
        octets(from_to(B, GW10.ip4, udp(5000, 4000))),
        Forward("acc10", out4(A, WHOLE, A.ip4, udp(5000, 4000))),
        before=[("acc10", octets(from_to(A, WHOLE, udp())))],
    ),
    Row(
        "DNAT to itself (hairpin)", "acc10b", octets(from_to(B, WHOLE, udp())), Forward("acc10b", out4(B, GW10.ip4, B.ip4, udp()))
    ),
    Row("DNAT non-opening FIN", "wan", in4(W1, FAR, WAN.ip4, tcp(4000, 8080, "FA")), Drop("nat_not_opening")),
    Row("DNAT non-opening SYN-ACK", "wan", in4(W1, FAR, WAN.ip4, tcp(4000, 8080, "SA")), Drop("nat_not_opening")),
]

# ---- ICMP errors about translated flows (RFC 5508 4, RFC 4787 REQ-12, RFC 5382 REQ-9)


def quote4(src, dst, layer4, ttl=60, length=None):
    """A quoted packet as its quoter saw it."""
    return octets(IP(src=src, dst=dst, ttl=ttl) / layer4)[:length]


def quote6(src, dst, layer4, hlim=60, length=None):
    return octets(IPv6(src=src, dst=dst, hlim=hlim) / layer4)[:length]


def error_in(name, sent, length=None, kind=3, code=3, source=ROUTER, mtu=None):
    """An error about what D has sent by wan, from the host it went to or a router: quoted with the pool's address, D sees its own."""

    def head(quote):
        return (
            ICMP(type=kind, code=code, unused=0) / Raw(quote)
            if mtu is None
            else ICMP(type=kind, code=code, nexthopmtu=mtu) / Raw(quote)
        )

    return Row(
        name,
        "wan",
        in4(W1, source, POOL, head(quote4(POOL, FAR, sent, length=length))),
        Forward("acc20", out4(D, source, D.ip4, head(quote4(D.ip4, FAR, sent, length=length)))),
        before=from_inside(sent),
    )


def error_in6(name, sent, kind=ICMPv6DestUnreach, length=None, source=ROUTER6, **fields):
    def head(quote):
        return kind(**fields) / Raw(quote)

    return Row(
        name,
        "wan",
        in6(W1, source, POOL6, head(quote6(POOL6, FAR6, sent, length=length))),
        Forward("acc20", out6(D, source, D.ip6, head(quote6(D.ip6, FAR6, sent, length=length)))),
        before=[("acc20", octets(from_to6(D, FAR6, sent)))],
    )


def unreachable(quote):
    return ICMP(type=3, code=3, unused=0) / Raw(quote)


ANSWER = udp(5000, 4000)
ANSWERED = [*from_inside(udp()), ("wan", in4(W1, FAR, POOL, ANSWER))]

ERRORS = [
    error_in("error about UDP, from a router", udp()),
    error_in("error about UDP, from the host itself", udp(), source=FAR),
    error_in("error about UDP of odd length", udp(payload=b"odd")),
    error_in("error about TCP", tcp()),
    error_in("error about TCP with payload", tcp(flags="A", payload=PAYLOAD)),
    error_in("error about an echo", echo(ident=7777), code=1),
    error_in("error with the shortest quote, UDP", udp(), length=28),
    error_in("error with the shortest quote, TCP", tcp(), length=28),
    error_in("error with a quote that ends before the TCP checksum", tcp(), length=36),
    error_in("error with a quote that ends behind the TCP checksum", tcp(), length=38),
    error_in("error with the shortest quote, echo", echo(ident=7777), length=28),
    error_in("error: time exceeded", udp(), kind=11, code=0),
    error_in("error: fragmentation needed keeps its MTU", udp(), code=4, mtu=1280),
    error_in("error about UDP without a checksum", udp(chksum=0)),
    error_in("error about UDP with checksum 0xffff outside", udp(payload=ZERO_OUT)),
    error_in("error about UDP with checksum 0xffff inside", udp(payload=ZERO_IN)),
    error_in6("IPv6 error about UDP", udp(), code=4),
    error_in6("IPv6 error about TCP", tcp(), code=4),
    error_in6("IPv6 error about an echo", echo6(ident=7777), code=3),
    error_in6("IPv6 error with the shortest quote", udp(), code=4, length=48),
    error_in6("IPv6 packet too big keeps its MTU", udp(), ICMPv6PacketTooBig, mtu=1280),
    error_in6("IPv6 time exceeded", udp(), ICMPv6TimeExceeded),
    error_in6("IPv6 error about UDP with checksum 0xffff outside", udp(payload=ZERO_OUT6), code=4),
    Row(
        "error about a reply, from inside",
        "acc20",
        octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, ANSWER)))),
        Forward("wan", out4(W1, POOL, FAR, unreachable(quote4(FAR, POOL, ANSWER)))),
        before=ANSWERED,
    ),
    Row(
        "error about a reply, from inside, short quote",
        "acc20",
        octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, ANSWER, length=28)))),
        Forward("wan", out4(W1, POOL, FAR, unreachable(quote4(FAR, POOL, ANSWER, length=28)))),
        before=ANSWERED,
    ),
    Row(
        "error about a reply, from a router inside, hides it (RFC 5508 REQ-5)",
        "trk",
        tagged(from_to(T20, FAR, unreachable(quote4(FAR, D.ip4, ANSWER))), 20),
        Forward("wan", out4(W1, POOL, FAR, unreachable(quote4(FAR, POOL, ANSWER)))),
        before=ANSWERED,
    ),
    Row(
        "IPv6 error about a reply, from inside",
        "acc20",
        octets(from_to6(D, FAR6, ICMPv6DestUnreach(code=4) / Raw(quote6(FAR6, D.ip6, ANSWER)))),
        Forward("wan", out6(W1, POOL6, FAR6, ICMPv6DestUnreach(code=4) / Raw(quote6(FAR6, POOL6, ANSWER)))),
        before=[("acc20", UDP6_OUT), ("wan", in6(W1, FAR6, POOL6, ANSWER))],
    ),
    Row(
        "error about a DNAT flow, from the host inside",
        "acc10",
        octets(from_to(A, FAR, unreachable(quote4(FAR, A.ip4, tcp(4000, 80))))),
        Forward("wan", out4(W1, WAN.ip4, FAR, unreachable(quote4(FAR, WAN.ip4, tcp(4000, 8080))))),
        before=OPENED,
    ),
    Row(
        "error about a DNAT flow's answer, from outside",
        "wan",
        in4(W1, ROUTER, WAN.ip4, unreachable(quote4(WAN.ip4, FAR, tcp(8080, 4000, "SA")))),
        Forward("acc10", out4(A, ROUTER, A.ip4, unreachable(quote4(A.ip4, FAR, tcp(80, 4000, "SA"))))),
        before=[*OPENED, ("acc10", octets(from_to(A, FAR, tcp(80, 4000, "SA"))))],
    ),
    Row(
        "error about a flow that is not known, from inside",
        "acc20",
        octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, ANSWER)))),
        Drop("nat_icmp_no_flow"),
    ),
    Row(
        "error with too short a quote, from inside",
        "acc20",
        octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, ANSWER, length=24)))),
        Drop("nat_icmp_no_flow"),
        before=ANSWERED,
    ),
    Row(
        "error without a quote, from inside",
        "acc20",
        octets(from_to(D, FAR, unreachable(b""))),
        Drop("nat_icmp_no_flow"),
        before=ANSWERED,
    ),
    Row(
        "error about another flow of the same addresses, from inside",
        "acc20",
        octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, udp(5001, 4000))))),
        Drop("nat_icmp_no_flow"),
        before=ANSWERED,
    ),
]

# ---- fragments


def split4(layer4, src, dst, proto=17):
    """The layer 4 packet with its checksum for these addresses, in three pieces."""
    whole = octets(IP(src=src, dst=dst, proto=proto) / layer4)[20:]
    return [(whole[:512], 0, "MF"), (whole[512:1024], 64, "MF"), (whole[1024:], 128, 0)]


BIG = udp(payload=bytes(range(256)) * 5)


def fragment_out(n, to=FAR):
    data, offset, flags = split4(BIG, D.ip4, to)[n]
    return octets(from_to(D, to, Raw(data), proto=17, frag=offset, flags=flags, id=0x77))


def fragment_sent(n, ident=0x77):
    data, offset, flags = split4(BIG, POOL, FAR)[n]
    return out4(W1, POOL, FAR, Raw(data), proto=17, frag=offset, flags=flags, id=ident)


def split6(src, dst):
    whole = octets(IPv6(src=src, dst=dst) / BIG)[40:]
    return [
        IPv6ExtHdrFragment(offset=0, m=1, nh=17, id=9) / Raw(whole[:512]),
        IPv6ExtHdrFragment(offset=64, m=0, nh=17, id=9) / Raw(whole[512:]),
    ]


FRAGMENTS = [
    Row("SNAT first fragment", "acc20", fragment_out(0), Forward("wan", fragment_sent(0))),
    Row("SNAT middle fragment", "acc20", fragment_out(1), Forward("wan", fragment_sent(1)), before=[("acc20", fragment_out(0))]),
    Row(
        "SNAT last fragment",
        "acc20",
        fragment_out(2),
        Forward("wan", fragment_sent(2)),
        before=[("acc20", fragment_out(0)), ("acc20", fragment_out(1))],
    ),
    Row(
        "SNAT last fragment before the middle one",
        "acc20",
        fragment_out(2),
        Forward("wan", fragment_sent(2)),
        before=[("acc20", fragment_out(0))],
    ),
    Row("SNAT later fragment whose first was not seen", "acc20", fragment_out(1), Drop("nat_fragment")),
    Row(
        "SNAT later fragment of another packet",
        "acc20",
        patch(octets(from_to(D, FAR, Raw(bytes(64)), proto=17, frag=64, id=0x78)), 0, b""),
        Drop("nat_fragment"),
        before=[("acc20", fragment_out(0))],
    ),
    Row(
        "SNAT IPv6 first fragment",
        "acc20",
        octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[0])),
        Forward("wan", out6(W1, POOL6, FAR6, split6(POOL6, FAR6)[0])),
    ),
    Row(
        "SNAT IPv6 later fragment",
        "acc20",
        octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[1])),
        Forward("wan", out6(W1, POOL6, FAR6, split6(POOL6, FAR6)[1])),
        before=[("acc20", octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[0])))],
    ),
    Row(
        "SNAT IPv6 later fragment whose first was not seen",
        "acc20",
        octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[1])),
        Drop("nat_fragment"),
    ),
    Row(
        "DNAT later fragment whose first was not seen",
        "wan",
        in4(W1, FAR, WHOLE, Raw(bytes(64)), proto=17, frag=64),
        Drop("nat_fragment"),
    ),
    Row(
        "fragments that no rule takes are routed in any order",
        "acc10",
        octets(from_to(A, FAR, Raw(bytes(64)), proto=17, frag=64)),
        Forward("wan", routed(from_to(A, FAR, Raw(bytes(64)), proto=17, frag=64), W1)),
    ),
]

GRE = Raw(b"\0\0\x08\0" + PAYLOAD)

OTHERS = [
    Row(
        "SNAT GRE by address alone",
        "acc20",
        octets(from_to(D, FAR, GRE, proto=47)),
        Forward("wan", out4(W1, POOL, FAR, GRE, proto=47)),
    ),
    Row(
        "SNAT GRE reply",
        "wan",
        in4(W1, FAR, POOL, GRE, proto=47),
        Forward("acc20", out4(D, FAR, D.ip4, GRE, proto=47)),
        before=[("acc20", octets(from_to(D, FAR, GRE, proto=47)))],
    ),
    Row(
        "SNAT GRE of a second host to the same place",
        "trk",
        tagged(from_to(T20, FAR, GRE, proto=47), 20),
        Drop("nat_protocol"),
        before=[("acc20", octets(from_to(D, FAR, GRE, proto=47)))],
    ),
    Row(
        "SNAT GRE of a second host to another place",
        "trk",
        tagged(from_to(T20, "10.99.2.2", GRE, proto=47), 20),
        Forward("wan", out4(W1, POOL, "10.99.2.2", GRE, proto=47)),
        before=[("acc20", octets(from_to(D, FAR, GRE, proto=47)))],
    ),
    Row("SNAT AH cannot be", "acc20", octets(from_to(D, FAR, Raw(b"\x11\x04" + bytes(30)), proto=51)), Drop("nat_protocol")),
]

ROWS = SNAT + CHECKSUMS + DNAT + ERRORS + FRAGMENTS + OTHERS


def test_row(switch, row, hook):
    check(switch, row, hook)
