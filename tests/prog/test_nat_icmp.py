"""ICMP errors about translated flows, both ways (RFC 5508 4, RFC 4787 REQ-12, RFC 5382 REQ-9)."""

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.packet import Raw

from frames import A, D, PAYLOAD, T20, W1, WAN, echo, echo6, from_to, from_to6, octets, tagged, tcp, udp
from harness import Drop, Forward, Row, check
from nat_frames import (
    FAR,
    FAR6,
    OPENED,
    POOL,
    POOL6,
    ROUTER,
    ROUTER6,
    UDP6_OUT,
    ZERO_IN,
    ZERO_OUT,
    ZERO_OUT6,
    from_inside,
    in4,
    in6,
    out4,
    out6,
)


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


ANSWER = udp(5000, 4000)
ANSWERED = [*from_inside(udp()), ("wan", in4(W1, FAR, POOL, ANSWER))]

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


def test_row(switch, row, hook):
    check(switch, row, hook)
