"""ICMP errors about translated flows, both ways (RFC 5508 4, RFC 4787 REQ-12, RFC 5382 REQ-9)."""

import struct

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_EOL, IPOption_RR, checksum
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6MLReport2, ICMPv6ND_NS, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import GRE
from scapy.layers.sctp import SCTP, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Raw

import topo
from frames import A, B, D, PAYLOAD, T20, W1, W3, WAN, echo, echo6, from_to, from_to6, octets, patch, tagged, tcp, udp
from harness import HOOKS, Drop, Forward, Row, check, send_wire, travel
from nat_frames import (
    FAR,
    FAR6,
    ONE,
    ONE6,
    OPENED,
    POOL,
    POOL6,
    ROUTER,
    ROUTER6,
    UDP6_OUT,
    WHOLE,
    WHOLE6,
    ZERO_IN,
    ZERO_OUT,
    ZERO_OUT6,
    from_inside,
    in4,
    in6,
    out4,
    out6,
)
from nat_packets import inet, ones
from topo import sh


def quote4(src, dst, layer4, ttl=60, length=None):
    """A quoted packet as its quoter saw it."""
    return octets(IP(src=src, dst=dst, ttl=ttl) / layer4)[:length]


def quote6(src, dst, layer4, hlim=60, length=None):
    return octets(IPv6(src=src, dst=dst, hlim=hlim) / layer4)[:length]


def error_in(name, sent, length=None, kind=3, code=3, source=ROUTER, mtu=None):
    """An error about what D has sent by wan, from the host it went to or a router. The quote has the pool's address there, and
    D's own here."""

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


TUNNEL = GRE() / Raw(PAYLOAD)
SCTP_INIT = SCTP(sport=2905, dport=2906) / SCTPChunkInit(init_tag=7)
SCTP_BACK = SCTP(sport=2906, dport=2905, tag=7) / SCTPChunkInitAck(init_tag=8)
ANSWER = udp(5000, 4000)
ANSWERED = [*from_inside(udp()), ("wan", in4(W1, FAR, POOL, ANSWER))]


def error_out(name, sent, answer):
    """Of a protocol without ports: errors from inside about what came in, as an answer to D and by a forward to B; and from outside about
    what B answers."""
    return [
        Row(
            f"error about a reply of {name}, from inside",
            "acc20",
            octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, answer)))),
            Forward("wan", out4(W1, POOL, FAR, unreachable(quote4(FAR, POOL, answer)))),
            before=[*from_inside(sent), ("wan", in4(W1, FAR, POOL, answer))],
        ),
        Row(
            f"error about a reply of {name}, from a router inside, hides it",
            "trk",
            tagged(from_to(T20, FAR, unreachable(quote4(FAR, D.ip4, answer, length=28))), 20),
            Forward("wan", out4(W1, POOL, FAR, unreachable(quote4(FAR, POOL, answer, length=28)))),
            before=[*from_inside(sent), ("wan", in4(W1, FAR, POOL, answer))],
        ),
        Row(
            f"error about a DNAT flow of {name}, from the host inside",
            "acc10b",
            octets(from_to(B, FAR, unreachable(quote4(FAR, B.ip4, sent)))),
            Forward("wan", out4(W1, WHOLE, FAR, unreachable(quote4(FAR, WHOLE, sent)))),
            before=[("wan", in4(W1, FAR, WHOLE, sent))],
        ),
        Row(
            f"error about a DNAT flow's answer of {name}, from outside",
            "wan",
            in4(W1, ROUTER, WHOLE, unreachable(quote4(WHOLE, FAR, answer))),
            Forward("acc10b", out4(B, ROUTER, B.ip4, unreachable(quote4(B.ip4, FAR, answer)))),
            before=[("wan", in4(W1, FAR, WHOLE, sent)), ("acc10b", octets(from_to(B, FAR, answer)))],
        ),
        Row(
            f"error about {name} that is not known, from inside",
            "acc20",
            octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, answer)))),
            Drop("nat_icmp_no_flow"),
        ),
    ]


ROWS = [
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
    error_in("error about GRE, from a router", TUNNEL),
    error_in("error about GRE, from the host itself", TUNNEL, source=FAR, code=2),
    error_in("error with the shortest quote, GRE", TUNNEL, length=28),
    error_in("error about SCTP", SCTP_INIT),
    error_in("error with the shortest quote, SCTP", SCTP_INIT, length=28),
    error_in("error about SCTP: fragmentation needed keeps its MTU", SCTP_INIT, code=4, mtu=1280),
    *error_out("GRE", TUNNEL, TUNNEL),
    *error_out("SCTP", SCTP_INIT, SCTP_BACK),
    error_in6("IPv6 error about GRE", TUNNEL, code=0),
    error_in6("IPv6 error about SCTP", SCTP_INIT, code=0),
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


# ---- checksums that are wrong (RFC 5508 REQ-3)


def spoilt(frame, at):
    """The frame with a bit of one byte turned over; -1: of the last one. A type 3 becomes 11."""
    frame = bytearray(octets(frame))
    frame[at] ^= 8
    return bytes(frame)


def unsound(name, sound, at, reason):
    """The error of a row of error_in(), spoilt."""
    return Row(name, sound.port, spoilt(sound.frame, at), Drop(reason), before=sound.before)


def with_options(src, dst, layer4):
    """A quoted packet with a header of 40 bytes."""
    options = [IPOption_RR(length=19, pointer=4, routers=["10.9.9.9"] * 4), IPOption_EOL()]
    packet = octets(IP(src=src, dst=dst, ttl=60, options=options) / layer4)
    assert packet[0] == 0x4A
    return packet


def with_extension(quote):
    """The quote filled up to 128 bytes, and an extension behind it: an MPLS label (RFC 4884 4.1 and 7, RFC 4950)."""
    stack = bytes.fromhex("0008 0101 00065101".replace(" ", ""))
    bare = b"\x20\0\0\0" + stack
    return quote.ljust(128, b"\0") + b"\x20\0" + struct.pack("!H", checksum(bare)) + stack


def extended(quote):
    return ICMP(type=11, code=0, length=32) / Raw(with_extension(quote))


def less_one(check):
    """A checksum one less than is right, in one's complement."""
    return (check - 1) % 0xFFFF


def wrong_inside(src, dst):
    """A quote whose UDP checksum is wrong by one."""
    right = IP(quote4(src, dst, udp()))[UDP].chksum
    return quote4(src, dst, udp(chksum=less_one(right)))


LONG = error_in("error that quotes 1400 bytes", udp(payload=bytes(1372)))
ODD = error_in("error that quotes 1401 bytes", udp(payload=bytes(1373)))
LONG6 = error_in6("IPv6 error that quotes 1201 bytes", udp(payload=bytes(1153)), code=4)
SHORT = error_in("-", udp(), length=28)
HOST = octets(from_to(D, FAR, unreachable(quote4(FAR, D.ip4, ANSWER))))
PLAIN = unreachable(quote4(A.ip4, FAR, udp()))
FIRST = {"flags": "MF", "id": 9}

ROWS += [
    LONG,
    ODD,
    LONG6,
    unsound("RFC 5508 REQ-3 wrong checksum: its type", LONG, 34, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: its code", SHORT, 35, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: the field", SHORT, 37, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: a quoted byte", SHORT, 47, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: the last of many bytes", LONG, -1, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: the last of odd bytes", ODD, -1, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: IPv6", LONG6, 700, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: IPv6, the last of odd bytes", LONG6, -1, "nat_icmp_checksum"),
    unsound("RFC 5508 REQ-3 wrong checksum: IPv6, the sender's address", LONG6, 36, "nat_icmp_checksum"),
    Row(
        "RFC 5508 REQ-3 wrong checksum: from inside",
        "acc20",
        spoilt(HOST, 37),
        Drop("nat_icmp_checksum"),
        before=ANSWERED,
    ),
    Row(
        "RFC 5508 REQ-3 a wrong checksum is its receiver's affair where nothing is translated",
        "wan",
        spoilt(in4(W1, ROUTER, A.ip4, PLAIN), 37),
        Forward("acc10", spoilt(out4(A, ROUTER, A.ip4, PLAIN), 37)),
    ),
    Row(
        "RFC 5508 REQ-3 the checksum of a fragment cannot be told",
        "wan",
        spoilt(in4(W1, ROUTER, POOL, unreachable(quote4(POOL, FAR, udp(), length=88)), **FIRST), -1),
        Forward("acc20", spoilt(out4(D, ROUTER, D.ip4, unreachable(quote4(D.ip4, FAR, udp(), length=88)), **FIRST), -1)),
        before=from_inside(udp()),
    ),
    Row(
        "RFC 5508 REQ-3 a: the quoted header's checksum is wrong",
        "wan",
        in4(W1, ROUTER, POOL, unreachable(spoilt(quote4(POOL, FAR, udp()), 11))),
        Drop("nat_icmp_quote"),
        before=from_inside(udp()),
    ),
    Row(
        "RFC 5508 REQ-3 a: the quoted header's checksum is wrong, in its options",
        "wan",
        in4(W1, ROUTER, POOL, unreachable(spoilt(with_options(POOL, FAR, udp()), 38))),
        Drop("nat_icmp_quote"),
        before=from_inside(udp()),
    ),
    Row(
        "RFC 5508 REQ-3 b: the quoted header has options",
        "wan",
        in4(W1, ROUTER, POOL, unreachable(with_options(POOL, FAR, udp()))),
        Forward("acc20", out4(D, ROUTER, D.ip4, unreachable(with_options(D.ip4, FAR, udp())))),
        before=from_inside(udp()),
    ),
    Row(
        "RFC 5508 REQ-3 c: the quoted transport checksum is not judged",
        "wan",
        in4(W1, ROUTER, POOL, unreachable(wrong_inside(POOL, FAR))),
        Forward("acc20", out4(D, ROUTER, D.ip4, unreachable(wrong_inside(D.ip4, FAR)))),
        before=from_inside(udp()),
    ),
    Row(
        "RFC 5508 REQ-3 d: extensions, and zeros before them",
        "wan",
        in4(W1, ROUTER, POOL, extended(quote4(POOL, FAR, tcp(), length=28))),
        Forward("acc20", out4(D, ROUTER, D.ip4, extended(quote4(D.ip4, FAR, tcp(), length=28)))),
        before=from_inside(tcp()),
    ),
    Row(
        "RFC 5508 REQ-3 d: extensions behind a whole TCP header",
        "wan",
        in4(W1, ROUTER, POOL, extended(quote4(POOL, FAR, tcp()))),
        Forward("acc20", out4(D, ROUTER, D.ip4, extended(quote4(D.ip4, FAR, tcp())))),
        before=from_inside(tcp()),
    ),
]


def test_row(switch, row, hook):
    check(switch, row, hook)


# ---- checksums that are not finished

SOL_PACKET, PACKET_VNET_HDR, VNET_NEEDS_CSUM = 263, 15, 1


@pytest.fixture
def offloading(switch):
    """Frames to `wan3` may be sent with a checksum that is left to the device, as a VM's (struct virtio_net_hdr): sends one."""
    link = ["nsenter", f"--net={switch.ns.path(switch.ns.peers)}", "ethtool", "-K", "p-wan3", "tx"]
    sock = switch.wire.socket("wan3")
    sh(*link, "on")
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    yield lambda frame, start, flags=VNET_NEEDS_CSUM: send_wire(
        switch, "wan3", struct.pack("=BBHHHH", flags, 0, 0, 0, start, 2) + frame
    )
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 0)
    sh(*link, "off")


def pseudo(src, dst, length):
    """What stands in the field of an ICMPv6 checksum that is not finished; of ICMP there is no pseudo header."""
    return struct.pack("!H", ones(inet(src) + inet(dst) + struct.pack("!II", length, 58)))


def test_an_unfinished_checksum_is_not_wrong(switch, offloading):
    """CHECKSUM_PARTIAL: passed on unfinished, with the new addresses in it. Without the mark the same frame is spoilt."""
    four = [octets(f) for f in (in4(W3, ROUTER, POOL, unreachable(quote4(POOL, FAR, udp()))),
                                out4(D, ROUTER, D.ip4, unreachable(quote4(D.ip4, FAR, udp()))))]  # fmt: skip
    six = [octets(f) for f in (in6(W3, ROUTER6, POOL6, ICMPv6DestUnreach(code=4) / Raw(quote6(POOL6, FAR6, udp()))),
                               out6(D, ROUTER6, D.ip6, ICMPv6DestUnreach(code=4) / Raw(quote6(D.ip6, FAR6, udp()))))]  # fmt: skip
    length = len(six[0]) - 54
    for (came, left), at, fields in (
        (four, 34, (b"\0\0", b"\0\0")),
        (six, 54, (pseudo(ROUTER6, POOL6, length), pseudo(ROUTER6, D.ip6, length))),
    ):
        switch.forget()
        for sent in (*from_inside(udp()), ("acc20", UDP6_OUT)):
            travel(switch, "tc", *sent)
        came, left = patch(came, at + 2, fields[0]), patch(left, at + 2, fields[1])
        seen = offloading(came, at)
        assert seen.emitted == [("acc20", left)], seen.words()
        seen = offloading(came, at, flags=0)
        assert seen.drops == {"nat_icmp_checksum": 1} and not seen.emitted, seen.words()


def goes_nowhere(switch, hook, frame):
    """Least of all back by the default route, whose router would send it again until its TTL ran out."""
    switch.forget()
    with switch.configured(topo.config(routes=f"  - {{to: '::/0', via: '{W1.ip6}'}}\n  - {{to: 0.0.0.0/0, via: {W1.ip4}}}\n")):
        check(switch, Row("nowhere", "wan", frame, Drop("route_blackhole")), hook)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("dst", (POOL, WHOLE, ONE))
def test_rfc5508_req4_an_error_about_no_flow(switch, hook, dst):
    """POOL: a pool's address; WHOLE: a forward's; ONE: of a 1:1 rule."""
    goes_nowhere(switch, hook, in4(W1, ROUTER, dst, ICMP(type=3, code=1, unused=0) / Raw(quote4(dst, FAR, udp()))))


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("message", (ICMPv6DestUnreach(code=3), ICMPv6ND_NS(tgt=ONE6), ICMPv6MLReport2()), ids=lambda m: m.name)
@pytest.mark.parametrize("dst", (POOL6, WHOLE6, ONE6))
def test_of_ipv6_nor_what_never_leaves_a_link(switch, hook, dst, message):
    goes_nowhere(switch, hook, in6(W1, ROUTER6, dst, message / Raw(quote6(dst, FAR6, udp()))))
