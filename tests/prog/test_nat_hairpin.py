"""Hosts inside that reach each other by what they are outside, where one of them has a 1:1 `static`, or no rule at all (RFC 4787
REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7): under rules that spare what stays inside, or not, with static rules that name their way out,
or not. And beside them the same hosts by their own addresses.

B has a static rule, A and D a pool. No rule is for T10 and T20. A, B and T10 are in one subnet.
"""
import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw

import topo
from frames import A, B, D, GW10, PAYLOAD, T10, T20, W1, WAN, echo, echo6, echo6_reply, echo_reply, from_to, from_to6, octets, tagged
from frames import tcp, udp
from harness import Drop, Forward, Hold, Row, check, travel
from nat_frames import FAR, POOL, POOL6, WHOLE, in4, out4, out6

X, X6 = "198.18.5.11", "2001:db8:5b::b"  # of B

NONE = """  - {name: stays, type: snat, source: 10.0.0.0/8, destination: 10.0.0.0/16, to: none}
  - {name: stays6, type: snat, source: "2001:db8::/42", destination: "2001:db8::/42", to: none}
"""
STATIC = """  - {name: one, type: static, inside: 10.0.10.11, outside: 198.18.5.11%s}
  - {name: one6, type: static, inside: "2001:db8:10::b", outside: "2001:db8:5b::b"%s}
"""
REST = """  - {name: pool-a, type: snat, source: 10.0.10.10, %sto: 198.18.0.1}
  - {name: pool-d, type: snat, source: 10.0.20.10, %sto: 198.18.0.1}
  - {name: pool-a6, type: snat, source: "2001:db8:10::a", %sto: "2001:db8:5a::1"}
  - {name: web, type: dnat, destination: 192.0.2.1, protocol: tcp, port: 8080, to: "10.0.10.10:80"}
  - {name: whole, type: dnat, destination: 198.18.9.9, to: 10.0.10.10}
  - {name: beside, type: dnat, destination: 198.18.5.11, protocol: tcp, port: 8081, to: "10.0.10.10:81"}
"""


def rules(static_out, out="out: [wan], ", none="first"):
    static = STATIC % ((", out: [wan]" if static_out else "",) * 2)
    order = {"first": NONE + static, "behind": static + NONE, "no": static}[none]
    return "nat:\n" + order + REST % ((out,) * 3)


VARIANTS = {
    "spared, out": rules(True),
    "out": rules(True, none="no"),
    "spared": rules(False),
    "neither": rules(False, none="no"),
    "spared behind": rules(False, none="behind"),
    "no rule names a way out": rules(False, out=""),
}


def sent(station, frame):
    """(port, frame) of a station, with the tag that its port asks for."""
    return (station.port, tagged(frame, int(station.gateway.name[4:])) if station.port == "trk" else octets(frame))


def got(station, frame):
    return Forward(*sent(station, frame))


def way(name, source, target, dst, layer4, seen_as, back, then=None, also=()):
    """Source to `dst`, which is the target's: seen there as `seen_as`; and the answer, which comes from `dst`. `back`: its layer 4, as
    it is sent and as it comes. `then`: layer 4 as the target gets it, where that is another."""
    to, out = (from_to6, out6) if ":" in dst else (from_to, out4)
    here = (lambda s: s.ip6) if ":" in dst else (lambda s: s.ip4)
    go = sent(source, to(source, dst, layer4))
    at_target, at_source = back
    return [
        Row(name, *go, got(target, out(target, seen_as, here(target), then or layer4)), before=list(also)),
        Row(
            name + ", answer",
            *sent(target, to(target, seen_as, at_target)),
            got(source, out(source, dst, here(source), at_source)),
            before=[*also, go],
        ),
    ]


UDP, UDP_BACK = udp(4000, 53), (udp(53, 4000), udp(53, 4000))
TCP, TCP_BACK = tcp(4000, 80), (tcp(80, 4000, "SA"), tcp(80, 4000, "SA"))
WEB, WEB_BACK = tcp(4000, 8080), (tcp(80, 4000, "SA"), tcp(8080, 4000, "SA"))
BESIDE, BESIDE_THEN, BESIDE_BACK = tcp(4000, 8081), tcp(4000, 81), (tcp(81, 4000, "SA"), tcp(8081, 4000, "SA"))
ECHO_BACK, ECHO6_BACK = (echo_reply(4000), echo_reply(4000)), (echo6_reply(4000), echo6_reply(4000))
TUNNEL = GRE() / Raw(PAYLOAD)


def unreachable(src, dst, layer4):
    """A port that nobody listens on, told by who got the packet."""
    return ICMP(type=3, code=3, unused=0) / Raw(octets(IP(src=src, dst=dst, ttl=63) / layer4))


def unreachable6(src, dst, layer4):
    return ICMPv6DestUnreach(code=4) / Raw(octets(IPv6(src=src, dst=dst, hlim=63) / layer4))


def fragments(src, dst, layer4):
    """The pieces of a datagram: (layer 4's bytes, fields of the IP header)."""
    whole = octets(IP(src=src, dst=dst) / layer4)[20:]
    fields = {"proto": 17, "id": 7}
    return (Raw(whole[:64]), {"flags": "MF", **fields}), (Raw(whole[64:]), {"frag": 8, **fields})


def piece(source, dst, n, layer4):
    data, ip = fragments(source.ip4, dst, layer4)[n]
    return sent(source, from_to(source, dst, data, **ip))


def piece_got(target, src, n, layer4):
    data, ip = fragments(src, target.ip4, layer4)[n]
    return got(target, out4(target, src, target.ip4, data, **ip))


LONG, LONG_BACK = udp(4000, 53, bytes(range(200))), udp(53, 4000, bytes(range(200)))

ROWS = [
    # To a static.
    *way("a pool's host of its subnet to a static, TCP", A, B, X, TCP, POOL, back=TCP_BACK),
    *way("a pool's host of its subnet to a static, UDP", A, B, X, UDP, POOL, back=UDP_BACK),
    *way("a pool's host of its subnet to a static, echo", A, B, X, echo(4000), POOL, back=ECHO_BACK),
    *way("a pool's host of its subnet to a static, GRE", A, B, X, TUNNEL, POOL, back=(TUNNEL, TUNNEL)),
    *way("a pool's host of another VLAN to a static", D, B, X, TCP, POOL, back=TCP_BACK),
    *way("a pool's host to a static, IPv6", A, B, X6, TCP, POOL6, back=TCP_BACK),
    *way("a pool's host to a static, IPv6 echo", A, B, X6, echo6(4000), POOL6, back=ECHO6_BACK),
    *way("no rule's host of its subnet to a static", T10, B, X, TCP, GW10.ip4, back=TCP_BACK),
    *way("no rule's host of its subnet to a static, IPv6", T10, B, X6, TCP, GW10.ip6, back=TCP_BACK),
    *way("no rule's host of another VLAN to a static", T20, B, X, TCP, T20.ip4, back=TCP_BACK),
    *way("a static's host to itself", B, B, X, TCP, X, back=TCP_BACK),
    *way("a static's host to itself, by one port", B, B, X, udp(53, 53), X, back=(udp(53, 53), udp(53, 53))),
    *way("a static's host to itself, echo", B, B, X, echo(4000), X, back=ECHO_BACK),
    *way("a static's host to itself, IPv6", B, B, X6, UDP, X6, back=UDP_BACK),
    # From a static.
    *way("a static's host to a forward", B, A, WAN.ip4, WEB, X, then=TCP, back=WEB_BACK),
    *way("a static's host to a whole address", B, A, WHOLE, UDP, X, back=UDP_BACK),
    *way("a static's host to a whole address, echo", B, A, WHOLE, echo(4000), X, back=ECHO_BACK),
    *way(
        "a static's host to a mapping",
        B,
        A,
        POOL,
        udp(53, 4000),
        X,
        back=(udp(4000, 53), udp(4000, 53)),
        also=[sent(A, from_to(A, FAR, udp(4000, 9)))],
    ),
    # To a forward from its own subnet.
    *way("no rule's host of its subnet to a forward", T10, A, WAN.ip4, WEB, GW10.ip4, then=TCP, back=WEB_BACK),
    *way("no rule's host of another VLAN to a forward", T20, A, WAN.ip4, WEB, T20.ip4, then=TCP, back=WEB_BACK),
    *way("a pool's host of another VLAN to a forward", D, A, WAN.ip4, WEB, POOL, then=TCP, back=WEB_BACK),
    *way("a pool's host to itself by a forward", A, A, WAN.ip4, WEB, POOL, then=TCP, back=WEB_BACK),
    # To a forward of one port of the static's address.
    *way("a static's host to a forward of its own address", B, A, X, BESIDE, X, then=BESIDE_THEN, back=BESIDE_BACK),
    *way("no rule's host to a forward of a static's address", T10, A, X, BESIDE, GW10.ip4, then=BESIDE_THEN, back=BESIDE_BACK),
    *way("a pool's host to a forward of a static's address", D, A, X, BESIDE, POOL, then=BESIDE_THEN, back=BESIDE_BACK),
    *way("from outside to a forward of a static's address", W1, A, X, BESIDE, W1.ip4, then=BESIDE_THEN, back=BESIDE_BACK),
    *way(
        "a static's host from the port that is forwarded, the answer",
        B,
        W1,
        W1.ip4,
        tcp(8081, 80),
        X,
        back=(tcp(80, 8081, "SA"), tcp(80, 8081, "SA")),
    ),
    # By their own addresses.
    *way("plain: a pool's host to a static's", D, B, B.ip4, TCP, D.ip4, back=TCP_BACK),
    *way("plain: no rule's host to a static's, UDP", T20, B, B.ip4, UDP, T20.ip4, back=UDP_BACK),
    *way("plain: no rule's host to a static's, echo", T20, B, B.ip4, echo(4000), T20.ip4, back=ECHO_BACK),
    *way("plain: no rule's host to a static's, IPv6", T20, B, B.ip6, TCP, T20.ip6, back=TCP_BACK),
    *way(
        "plain, beside the same by what is outside",
        T20,
        B,
        B.ip4,
        TCP,
        T20.ip4,
        back=TCP_BACK,
        also=[sent(T20, from_to(T20, X, tcp(4001, 80)))],
    ),
    # Errors.
    Row(
        "RFC 5508 REQ-7 an error about a hairpin to a static",
        *sent(B, from_to(B, POOL, unreachable(POOL, B.ip4, UDP))),
        got(A, out4(A, X, A.ip4, unreachable(A.ip4, X, UDP))),
        before=[sent(A, from_to(A, X, UDP))],
    ),
    Row(
        "RFC 5508 REQ-7 an error about a hairpin from a static",
        *sent(A, from_to(A, X, unreachable(X, A.ip4, UDP))),
        got(B, out4(B, WHOLE, B.ip4, unreachable(B.ip4, WHOLE, UDP))),
        before=[sent(B, from_to(B, WHOLE, UDP))],
    ),
    Row(
        "RFC 5508 REQ-7 an error about an answer in a hairpin",
        *sent(A, from_to(A, X, unreachable(X, A.ip4, udp(53, 4000)))),
        got(B, out4(B, POOL, B.ip4, unreachable(B.ip4, POOL, udp(53, 4000)))),
        before=[sent(A, from_to(A, X, UDP)), sent(B, from_to(B, POOL, udp(53, 4000)))],
    ),
    Row(
        "RFC 5508 REQ-7 an error about a host's packet to itself",
        *sent(B, from_to(B, X, unreachable(X, B.ip4, UDP))),
        got(B, out4(B, X, B.ip4, unreachable(B.ip4, X, UDP))),
        before=[sent(B, from_to(B, X, UDP))],
    ),
    Row(
        "RFC 5508 REQ-7 an error about a hairpin to a static, IPv6",
        *sent(B, from_to6(B, POOL6, unreachable6(POOL6, B.ip6, UDP))),
        got(A, out6(A, X6, A.ip6, unreachable6(A.ip6, X6, UDP))),
        before=[sent(A, from_to6(A, X6, UDP))],
    ),
    # Fragments.
    Row("a hairpin's first fragment", *piece(A, X, 0, LONG), piece_got(B, POOL, 0, LONG)),
    Row("a hairpin's last fragment", *piece(A, X, 1, LONG), piece_got(B, POOL, 1, LONG), before=[piece(A, X, 0, LONG)]),
    Row("a hairpin's last fragment comes first", *piece(A, X, 1, LONG), Hold()),
    Row("a last fragment to a static comes first, from no rule's host of its subnet", *piece(T10, X, 1, LONG), Hold()),
    Row(
        "the last fragment of an answer in a hairpin",
        *piece(B, POOL, 1, LONG_BACK),
        piece_got(A, X, 1, LONG_BACK),
        before=[sent(A, from_to(A, X, UDP)), piece(B, POOL, 0, LONG_BACK)],
    ),
    Row("the last fragment of an answer comes first", *piece(B, POOL, 1, LONG_BACK), Hold(), before=[sent(A, from_to(A, X, UDP))]),
    Row(
        "the last fragment of an answer comes first, to no rule's host",
        *piece(B, T20.ip4, 1, LONG_BACK),
        Hold(),
        before=[sent(T20, from_to(T20, X, UDP))],
    ),
    Row(
        "plain: the last fragment of an answer comes first",
        *piece(B, T20.ip4, 1, LONG_BACK),
        Hold(),
        before=[sent(T20, from_to(T20, B.ip4, UDP))],
    ),
    Row(
        "plain: the last fragment of an answer",
        *piece(B, T20.ip4, 1, LONG_BACK),
        piece_got(T20, B.ip4, 1, LONG_BACK),
        before=[sent(T20, from_to(T20, B.ip4, UDP)), piece(B, T20.ip4, 0, LONG_BACK)],
    ),
    # From outside nothing is another thing than it was.
    Row("from outside to a static", "wan", in4(W1, FAR, X, TCP), Forward("acc10b", out4(B, FAR, B.ip4, TCP))),
    Row("from outside to a forward", "wan", in4(W1, FAR, WAN.ip4, WEB), Forward("acc10", out4(A, FAR, A.ip4, TCP))),
    Row("what opens nothing, from its subnet to a static", *sent(T10, from_to(T10, X, tcp(flags="FA"))), Drop("nat_not_opening")),
]


def cases():
    """All rows at both hooks under the first rules. Under the others that a packet is seen as it must be is shown by its answer, which
    comes from the address that was asked."""
    first, *others = VARIANTS
    answered = {r.name.removesuffix(", answer") for r in ROWS if r.name.endswith(", answer")}
    for rules_, row, hook in [(first, r, h) for r in ROWS for h in ("xdp", "tc")] + [
        (v, r, "tc" if n % 2 else "xdp") for n, v in enumerate(others) for r in ROWS if r.name not in answered
    ]:
        yield pytest.param(rules_, row, hook, id=f"{rules_}-{row.name}-{hook}".replace(" ", "_"))


@pytest.fixture(scope="module")
def under(switch):
    """The switch under rules; those of all tests when the last row has been played."""
    now = None

    def use(variant):
        nonlocal now
        if variant != now:
            switch.control.apply(topo.config().split("\nnat:\n")[0] + "\n" + VARIANTS[variant])
            switch.reopen()
            now = variant
        return switch

    yield use
    switch.control.apply(topo.config())
    switch.reopen()


@pytest.mark.parametrize("variant, case, hook", cases())
def test_under(under, variant, case, hook):
    check(under(variant), case, hook)


@pytest.mark.parametrize("hook", ["xdp", "tc"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ping_by_the_gateways_address(under, variant, hook):
    """No rule's host of its subnet to a static: seen by the gateway's own address, where the host may have any identifier, so none is
    kept that somebody inside has chosen. The answer has it again."""
    switch = under(variant)
    switch.forget()
    ((port, frame),) = travel(switch, hook, *sent(T10, from_to(T10, X, echo(4000)))).out()
    ident = Ether(frame)[ICMP].id
    assert ident != 4000 and (port, frame) == sent(B, out4(B, GW10.ip4, B.ip4, echo(ident)))
    assert travel(switch, hook, *sent(B, from_to(B, GW10.ip4, echo_reply(ident)))).out() == [sent(T10, out4(T10, X, T10.ip4, echo_reply(4000)))]
