"""Fragments through NAT (RFC 4787 REQ-14): later ones find their ports by the first, wait for it where they come before it, and
leave without overlaps (RFC 1858, RFC 3128, RFC 5722)."""
import itertools
import time

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from frames import A, D, E, T30, T20, W1, W2, WAN2, from_to, from_to6, octets, patch, routed, tagged, tcp, udp
from harness import Drop, Forward, Hold, Row, check, send, send_wire
from nat_frames import FAR, FAR6, POOL, POOL6, WHOLE, in4, in6, out4, out6


def split4(layer4, src, dst, proto=17):
    """The layer 4 packet with its checksum for these addresses, in three pieces."""
    whole = octets(IP(src=src, dst=dst, proto=proto) / layer4)[20:]
    return [(whole[:512], 0, "MF"), (whole[512:1024], 64, "MF"), (whole[1024:], 128, 0)]


BIG = udp(payload=bytes(range(256)) * 5)


def big(sport):
    return udp(sport=sport, payload=bytes(range(256)) * 5)


def overlapping(port, frame):
    """A step of `before` that is dropped."""

    def step(switch):
        assert "nat_frag_overlap" in send(switch, "tc", port, frame).drops

    return step


def refused_first(switch):
    """The first fragment of a TCP segment that opens nothing."""
    frame = octets(from_to(D, FAR, Raw(octets(tcp(flags="F", payload=bytes(492)))), proto=6, flags="MF", id=5))
    assert send(switch, "tc", "acc20", frame).drops == {"nat_not_opening": 1}


def fragment_out(n, to=FAR, sport=4000):
    data, offset, flags = split4(big(sport), D.ip4, to)[n]
    return octets(from_to(D, to, Raw(data), proto=17, frag=offset, flags=flags, id=0x77))


def fragment_sent(n, ident=0x77, sport=4000):
    data, offset, flags = split4(big(sport), POOL, FAR)[n]
    return out4(W1, POOL, FAR, Raw(data), proto=17, frag=offset, flags=flags, id=ident)


def split6(src, dst):
    whole = octets(IPv6(src=src, dst=dst) / BIG)[40:]
    return [
        IPv6ExtHdrFragment(offset=0, m=1, nh=17, id=9) / Raw(whole[:512]),
        IPv6ExtHdrFragment(offset=64, m=0, nh=17, id=9) / Raw(whole[512:]),
    ]


ROWS = [
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
    Row("SNAT later fragment whose first was not seen", "acc20", fragment_out(1), Hold()),
    Row(
        "SNAT later fragment of another packet",
        "acc20",
        patch(octets(from_to(D, FAR, Raw(bytes(64)), proto=17, frag=64, id=0x78)), 0, b""),
        Hold(),
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
        Hold(),
    ),
    Row(
        "DNAT later fragment whose first was not seen",
        "wan",
        in4(W1, FAR, WHOLE, Raw(bytes(64)), proto=17, frag=64),
        Hold(),
    ),
    Row(
        "fragments that no rule takes are routed in any order",
        "acc10",
        octets(from_to(E, FAR, Raw(bytes(64)), proto=17, frag=64)),
        Forward("wan", routed(from_to(E, FAR, Raw(bytes(64)), proto=17, frag=64), W1)),
    ),
    Row("to the gateway's own address, which is a pool's too", "wan2", in4(W2, FAR, WAN2.ip4, Raw(bytes(64)), proto=17, frag=64), Hold()),
    Row("from where a forward leads: it may be an answer", "acc10", octets(from_to(A, FAR, Raw(bytes(64)), proto=17, frag=64)), Hold()),
    Row(
        "of a protocol that no forward to it takes",
        "acc10",
        octets(from_to(A, FAR, Raw(bytes(64)), proto=136, frag=64)),
        Forward("wan", routed(from_to(A, FAR, Raw(bytes(64)), proto=136, frag=64), W1)),
    ),
    Row(
        "a first fragment that opened no flow: the later ones do not wait",
        "acc20",
        octets(from_to(D, FAR, Raw(bytes(64)), proto=6, frag=64, id=5)),
        Drop("nat_fragment"),
        before=[lambda s: refused_first(s)],
    ),
    Row("SNAT a double", "acc20", fragment_out(1), Drop("nat_frag_double"), before=[("acc20", fragment_out(n)) for n in (0, 1)]),
    Row(
        "SNAT an overlap by 8 bytes at the end",
        "acc20",
        octets(from_to(D, FAR, Raw(bytes(520)), proto=17, frag=64, flags="MF", id=0x77)),
        Drop("nat_frag_overlap"),
        before=[("acc20", fragment_out(n)) for n in (0, 2)],
    ),
    Row(
        "SNAT an overlap with the first fragment",
        "acc20",
        octets(from_to(D, FAR, Raw(bytes(520)), proto=17, frag=63, flags="MF", id=0x77)),
        Drop("nat_frag_overlap"),
        before=[("acc20", fragment_out(0))],
    ),
    Row(
        "SNAT nothing more of a datagram that overlapped",
        "acc20",
        fragment_out(2),
        Drop("nat_frag_overlap"),
        before=[("acc20", fragment_out(0)), overlapping("acc20", from_to(D, FAR, Raw(bytes(520)), proto=17, frag=63, flags="MF", id=0x77))],
    ),
    Row(
        "the same identification again, when the datagram was whole",
        "acc20",
        fragment_out(0),
        Forward("wan", fragment_sent(0)),
        before=[("acc20", fragment_out(n)) for n in range(3)],
    ),
    Row(
        "the same identification again, of another connection",
        "acc20",
        fragment_out(0, sport=4001),
        Forward("wan", fragment_sent(0, sport=4001)),
        before=[("acc20", fragment_out(n)) for n in range(2)],
    ),
    Row(
        "static: an overlap, its first not seen",
        "trk",
        octets(from_to(T30, FAR, Raw(bytes(72)), proto=17, frag=60)),
        Drop("nat_frag_overlap"),
        before=[("trk", octets(from_to(T30, FAR, Raw(bytes(64)), proto=17, frag=64)))],
    ),
]


def test_row(switch, row, hook):
    check(switch, row, hook)


# ---- held, and sent on


def arrivals(switch, sent, port, frames):
    """Sends frames one by one, as from a cable; what left, in order, once `sent` have."""
    switch.emitted()
    for frame in frames:
        switch.wire.send(port, octets(frame))
    out, deadline = [], time.monotonic() + 2
    while len(out) < sent and time.monotonic() < deadline:
        out += switch.emitted()
        time.sleep(0.002)
    time.sleep(0.01)
    return out + switch.emitted()


def reply_in(n):
    """The answer of a fragmented exchange, from outside to the pool."""
    data, offset, flags = split4(udp(sport=5000, dport=4000, payload=bytes(range(256)) * 5), FAR, POOL)[n]
    return in4(W1, FAR, POOL, Raw(data), proto=17, frag=offset, flags=flags, id=0x99)


def reply_sent(n):
    data, offset, flags = split4(udp(sport=5000, dport=4000, payload=bytes(range(256)) * 5), FAR, D.ip4)[n]
    return routed(in4(W1, FAR, D.ip4, Raw(data), proto=17, frag=offset, flags=flags, id=0x99), D)


def inward(dst, at, size, ident=0x99, **ip):
    """A fragment from outside that is none of those of the datagram."""
    return in4(W1, FAR, dst, Raw(bytes(size)), proto=17, frag=at, id=ident, **ip)


ASKED = ("acc20", octets(from_to(D, FAR, udp())))
FORWARDED = [("wan", in4(W1, FAR, WHOLE, Raw(d), proto=17, frag=o, flags=f, id=0x99)) for d, o, f in split4(BIG, FAR, WHOLE)]
ASKED6, REPLY6 = ("acc20", octets(from_to6(D, FAR6, udp()))), udp(sport=5000, dport=4000, payload=bytes(range(256)) * 5)
IN6 = octets(IPv6(src=FAR6, dst=POOL6) / REPLY6)[40:]


def inward6(at, data):
    return ("wan", in6(W1, FAR6, POOL6, IPv6ExtHdrFragment(offset=at, m=1, nh=17, id=9) / Raw(data)))


ROWS += [
    Row(
        "in: an overlap with the first fragment",
        "wan",
        inward(POOL, 63, 520, flags="MF"),
        Drop("nat_frag_overlap"),
        before=[ASKED, ("wan", reply_in(0))],
    ),
    Row(
        "in: an overlap by 8 bytes at the end",
        "wan",
        inward(POOL, 64, 520, flags="MF"),
        Drop("nat_frag_overlap"),
        before=[ASKED, ("wan", reply_in(0)), ("wan", reply_in(2))],
    ),
    Row(
        "in: nothing more of a datagram that overlapped",
        "wan",
        reply_in(2),
        Drop("nat_frag_overlap"),
        before=[ASKED, ("wan", reply_in(0)), overlapping("wan", inward(POOL, 63, 520, flags="MF"))],
    ),
    Row("in: a double", "wan", reply_in(1), Drop("nat_frag_double"), before=[ASKED, *(("wan", reply_in(n)) for n in (0, 1))]),
    Row(
        "in: another datagram of the same connection is none of it",
        "wan",
        in4(W1, FAR, POOL, Raw(split4(REPLY6, FAR, POOL)[0][0]), proto=17, frag=0, flags="MF", id=0x9A),
        Forward("acc20", routed(in4(W1, FAR, D.ip4, Raw(split4(REPLY6, FAR, D.ip4)[0][0]), proto=17, flags="MF", id=0x9A), D)),
        before=[ASKED, ("wan", reply_in(0)), overlapping("wan", inward(POOL, 63, 520, flags="MF"))],
    ),
    Row(
        "DNAT an overlap with the first fragment",
        "wan",
        inward(WHOLE, 63, 520, flags="MF"),
        Drop("nat_frag_overlap"),
        before=FORWARDED[:1],
    ),
    Row(
        "DNAT an overlap with the last fragment",
        "wan",
        inward(WHOLE, 120, 72),
        Drop("nat_frag_overlap"),
        before=[FORWARDED[0], FORWARDED[2]],
    ),
    Row(
        "static: an overlap from outside, its first not seen",
        "wan",
        inward("198.18.5.13", 60, 72),
        Drop("nat_frag_overlap"),
        before=[("wan", inward("198.18.5.13", 64, 64))],
    ),
    Row(
        "in: an overlap by IPv6",
        *inward6(63, bytes(520)),
        Drop("nat_frag_overlap"),
        before=[ASKED6, inward6(0, IN6[:512])],
    ),
]


def in_order(switch, port, order, frames, leaving, expected):
    """Whatever the order, all leave, the first fragment before those that waited for it, and the books are right."""
    before = switch.counters()[port]
    out = arrivals(switch, len(order), port, [frames[n] for n in order])
    assert [p for p, _ in out] == [leaving] * len(order), out
    assert sorted(f for _, f in out) == sorted(octets(e) for e in expected)
    at = [[octets(e) for e in expected].index(f) for _, f in out]
    assert all(at.index(0) < at.index(n) for n in order[: order.index(0)])
    rx, _, forwarded, to_host, dropped = (b - a for a, b in zip(before, switch.counters()[port]))
    assert (rx, forwarded, to_host, dropped) == (len(order), len(order), 0, 0)


ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_rfc4787_req14_any_order_out(switch, order):
    switch.forget()
    in_order(switch, "acc20", order, [fragment_out(n) for n in range(3)], "wan", [fragment_sent(n) for n in range(3)])


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_rfc4787_req14_any_order_in(switch, order):
    switch.forget()
    arrivals(switch, 1, "acc20", [from_to(D, FAR, udp())])
    in_order(switch, "wan", order, [reply_in(n) for n in range(3)], "acc20", [reply_sent(n) for n in range(3)])


def test_rfc4787_req14_any_order_out_by_ipv6(switch):
    switch.forget()
    frames = [octets(from_to6(D, FAR6, part)) for part in split6(D.ip6, FAR6)]
    in_order(switch, "acc20", (1, 0), frames, "wan", [out6(W1, POOL6, FAR6, part) for part in split6(POOL6, FAR6)])


def test_ipv6_identifications_are_told_apart_whole(switch):
    """Two that share their lower half are two datagrams."""
    switch.forget()
    first, later = split6(D.ip6, FAR6)
    first.id = 0x10009
    switch.wire.send("acc20", octets(from_to6(D, FAR6, first)))
    assert len(arrivals(switch, 0, "acc20", [])) <= 1
    assert send(switch, "tc", "acc20", from_to6(D, FAR6, later)).counters["acc20"][0] == 0, "it waits for its own"


def test_any_order_by_a_tagged_port(switch):
    """The tag is beside the data when a fragment is held, and in its place when it comes in again."""
    switch.forget()
    frames = [tagged(octets(from_to(T20, FAR, Raw(d), proto=17, frag=o, flags=f, id=3)), 20) for d, o, f in split4(BIG, T20.ip4, FAR)]
    expected = [out4(W1, POOL, FAR, Raw(d), proto=17, frag=o, flags=f, id=3) for d, o, f in split4(BIG, POOL, FAR)]
    in_order(switch, "trk", (2, 1, 0), frames, "wan", expected)


def nothing_waits(switch):
    """What earlier tests have left is dropped."""
    switch.forget()
    time.sleep(2.3)


def test_held_no_longer_than_configured(switch):
    """Two seconds by default; then it is counted, as received and as dropped."""
    nothing_waits(switch)
    before = switch.counters()["acc20"]
    assert not arrivals(switch, 0, "acc20", [fragment_out(1)])
    assert switch.counters()["acc20"] == before
    deadline = time.monotonic() + 5
    while switch.counters()["acc20"] == before and time.monotonic() < deadline:
        time.sleep(0.05)
    rx, _, forwarded, to_host, dropped = (b - a for a, b in zip(before, switch.counters()["acc20"]))
    assert (rx, forwarded, to_host, dropped) == (1, 0, 0, 1)
    assert switch.drops("acc20").get("nat_frag_timeout")
    first = send_wire(switch, "acc20", fragment_out(0))
    assert first.emitted == [("wan", octets(fragment_sent(0)))], "nothing is left that waits"


def test_bounds(switch):
    """64 of one datagram, 256 in all; what comes beyond is dropped and counted, and all is free again after a while."""
    nothing_waits(switch)
    before = switch.drops("acc20")

    def later(ident, at):
        return octets(from_to(D, FAR, Raw(bytes(8)), proto=17, frag=at, flags="MF", id=ident))

    arrivals(switch, 0, "acc20", [later(1, n) for n in range(1, 70)])
    assert switch.drops("acc20").get("nat_frag_full", 0) - before.get("nat_frag_full", 0) == 5
    arrivals(switch, 0, "acc20", [later(n, 8) for n in range(2, 202)])
    assert switch.drops("acc20").get("nat_frag_full", 0) - before.get("nat_frag_full", 0) == 13
    deadline = time.monotonic() + 8
    while switch.drops("acc20").get("nat_frag_timeout", 0) - before.get("nat_frag_timeout", 0) < 256:
        assert time.monotonic() < deadline, switch.drops("acc20")
        time.sleep(0.05)
    assert not arrivals(switch, 0, "acc20", [later(999, 8)])
    assert switch.drops("acc20").get("nat_frag_full", 0) - before.get("nat_frag_full", 0) == 13


@pytest.mark.parametrize("family", [4, 6])
def test_rfc5722_overlap_comes_before_the_first(switch, family):
    """Held ones are compared when they are sent on: only one of two that overlap leaves, and nothing after it."""
    switch.forget()
    if family == 4:
        whole = octets(udp(payload=bytes(1200)))
        parts = [from_to(D, FAR, Raw(whole[a:b]), proto=17, frag=a // 8, flags="MF", id=9) for a, b in ((0, 512), (512, 800), (760, 1000))]
    else:
        whole = octets(udp(payload=bytes(1200)))
        parts = [
            from_to6(D, FAR6, IPv6ExtHdrFragment(offset=a // 8, m=1, nh=17, id=9) / Raw(whole[a:b]))
            for a, b in ((0, 512), (512, 800), (760, 1000))
        ]
    before = switch.drops("acc20").get("nat_frag_overlap", 0)
    out = arrivals(switch, 2, "acc20", [parts[1], parts[2], parts[0]])
    assert len(out) == 2
    assert switch.drops("acc20").get("nat_frag_overlap", 0) == before + 1
