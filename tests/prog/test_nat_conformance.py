"""What the RFCs ask of a NAT, one row for each REQ that no other test shows (docs/nat-conformance.md says which test shows which).

The rules are those of topo.py: `pool` filters by address and port, `open` not at all, `semi` by address; `symmetric` maps anew for
every remote end, `shared` overloads its two ports, `few` limits its hosts, `one` and `one6` translate VLAN 30 one to one.
"""
import struct
from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6MLQuery, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_Redirect, IPv6
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

from frames import A, D, PAYLOAD, T20, T30, U30, W1, W2, WAN, WAN2
from frames import echo, echo6, echo_reply, from_to, from_to6, mac_bytes, octets, tagged, tcp, udp
from harness import HOOKS, Drop, Forward, Host, Row, check, send, travel
from icmp_frames import error4, error6
from nat_packets import inet
from nat_frames import FAR, FAR6, ONE, ONE6, OPENED, OTHER, POOL, from_inside, in4, in6, out4, out6

OPEN, OPEN_DST = "198.18.4.1", "10.99.4.1"
SEMI, SEMI_DST = "198.18.4.2", "10.99.6.1"
SYM, SYM_DST = "198.18.4.3", "10.99.8.1"
SHARED, SHARED_DST = "198.18.4.4", "10.99.10.1"
FEW, FEW_DST = "198.18.4.5", "10.99.11.1"
SEVERAL, SEVERAL_DST = [f"198.18.6.{n}" for n in range(1, 5)], "10.99.14.1"
SEVERAL6, SEVERAL6_DST = [f"2001:db8:5a::1{n}" for n in range(1, 5)], "2001:db8:99:14::1"
STRANGER = "10.99.5.7"
ONE_U = "198.18.5.15"  # of U30


def from_t20(dst, layer4):
    return ("trk", tagged(from_to(T20, dst, layer4), 20))


def to_t20(src, layer4):
    return tagged(out4(T20, src, T20.ip4, layer4), 20)


def source_of(frame):
    packet = Ether(frame)
    layer = packet[TCP] if TCP in packet else packet[UDP] if UDP in packet else None
    return packet[IP].src, layer.sport if layer else packet[ICMP].id


def mapped(seen):
    """The outside address and port that a packet left with."""
    ((_, frame),) = seen.out()
    return source_of(frame)


NEIGHBOR_F_VALID = 1


def resolved(switch, host):
    """The kernel has resolved a host that no configuration names."""
    for ip in (host.ip4, host.ip6):
        address = inet("::ffff:" + ip if ":" not in ip else ip)
        key = address + struct.pack("=II", switch.iface_id(host.gateway.name), 0)
        switch.edit("neighbors", key, mac_bytes(host.mac) + struct.pack("=HQ", NEIGHBOR_F_VALID, 0))


def parity(name, sport):
    """T20 wants a port that D has: it gets another of the same parity."""

    def wrong(frame):
        _, port = source_of(frame)
        if port == sport or port % 2 != sport % 2:
            return f"port {port} for {sport}"
        return None if octets(out4(W1, POOL, FAR, udp(sport=port))) == frame else "the rest is not right"

    port, frame = from_t20(FAR, udp(sport=sport))
    return Row(name, port, frame, Forward("wan", wrong), before=from_inside(udp(sport=sport)))


def let_in(name, address, src, layer4, inside, before):
    return Row(name, "wan", in4(W1, src, address, layer4), Forward("acc20", out4(D, src, D.ip4, inside)), before=before)


def filtered(name, address, src, layer4, before):
    return Row(name, "wan", in4(W1, src, address, layer4), Drop("nat_filtered"), before=before)


def hairpin(name, layer4, back, expect_source):
    """T20 sends to what D looks like outside, and D gets it from what T20 looks like outside."""
    port, frame = from_t20(POOL, layer4)

    def expect(_):
        def wrong(got):
            address, sport = source_of(got)
            if address != expect_source or sport == 4000:
                return f"from {address}:{sport}"
            again = layer4.copy()
            again.sport = sport
            again.dport = 4000
            return None if octets(out4(D, POOL, D.ip4, again)) == got else "the rest is not right"

        return Forward("acc20", wrong)

    return Row(name, port, frame, expect, before=back)


OPEN_UDP = from_inside(udp(), dst=OPEN_DST)
SEMI_UDP = from_inside(udp(), dst=SEMI_DST)
OPEN_TCP = from_inside(tcp(), dst=OPEN_DST)

ROWS = [
    parity("RFC 4787 REQ-4 port parity, even", 4000),
    parity("RFC 4787 REQ-4 port parity, odd", 4001),
    let_in("RFC 4787 REQ-8 endpoint-independent filtering", OPEN, STRANGER, udp(9, 4000), udp(9, 4000), OPEN_UDP),
    let_in(
        "RFC 4787 REQ-8 address-dependent filtering lets another port in", SEMI, SEMI_DST, udp(9, 4000), udp(9, 4000), SEMI_UDP
    ),
    filtered("RFC 4787 REQ-8 address-dependent filtering keeps another address out", SEMI, STRANGER, udp(9, 4000), SEMI_UDP),
    filtered("RFC 4787 REQ-8 address-and-port-dependent filtering", POOL, FAR, udp(9, 4000), from_inside(udp())),
    filtered("RFC 4787 REQ-8 endpoint-independent filtering, another protocol", OPEN, STRANGER, tcp(9, 4000), OPEN_UDP),
    filtered("RFC 4787 REQ-8 endpoint-independent filtering, a port that is not mapped", OPEN, STRANGER, udp(9, 4001), OPEN_UDP),
    let_in("RFC 5382 REQ-3 endpoint-independent filtering of a SYN", OPEN, STRANGER, tcp(9, 4000), tcp(9, 4000), OPEN_TCP),
    filtered("RFC 5382 REQ-3 an ACK opens nothing from outside", OPEN, STRANGER, tcp(9, 4000, "A"), OPEN_TCP),
    filtered("RFC 5382 REQ-4 an unsolicited SYN is not answered", POOL, STRANGER, tcp(9, 4000), from_inside(tcp())),
    Row(
        "RFC 5382 REQ-4 an unsolicited SYN to a port that is mapped on the gateway's own address",
        "wan2",
        in4(W2, STRANGER, WAN2.ip4, tcp(9, 4000)),
        Drop("nat_filtered"),
        before=from_inside(tcp(), dst=OTHER),
    ),
    Row(
        "RFC 5382 REQ-2 simultaneous open: SYN out, SYN in",
        "wan",
        in4(W1, FAR, POOL, tcp(5000, 4000)),
        Forward("acc20", out4(D, FAR, D.ip4, tcp(5000, 4000))),
        before=from_inside(tcp()),
    ),
    Row(
        "RFC 5382 REQ-2 simultaneous open: SYN-ACK out after it",
        "acc20",
        octets(from_to(D, FAR, tcp(flags="SA"))),
        Forward("wan", out4(W1, POOL, FAR, tcp(flags="SA"))),
        before=[*from_inside(tcp()), ("wan", in4(W1, FAR, POOL, tcp(5000, 4000)))],
    ),
    Row(
        "RFC 4787 REQ-8 answer to a stranger who was let in",
        "acc20",
        octets(from_to(D, STRANGER, udp(4000, 9))),
        Forward("wan", out4(W1, OPEN, STRANGER, udp(4000, 9))),
        before=[*OPEN_UDP, ("wan", in4(W1, STRANGER, OPEN, udp(9, 4000)))],
    ),
    hairpin("RFC 4787 REQ-9 hairpinning with external address and port", udp(4000, 4000), from_inside(udp()), POOL),
    hairpin("RFC 5382 REQ-8 hairpinning of TCP", tcp(4000, 4000), from_inside(tcp()), POOL),
    Row(
        "RFC 4787 REQ-9 hairpinning, the answer",
        "acc20",
        lambda earlier: octets(from_to(D, POOL, udp(4000, source_of(earlier[1].out()[0][1])[1]))),
        Forward("trk", to_t20(POOL, udp(4000, 4000))),
        before=[*from_inside(udp()), from_t20(POOL, udp(4000, 4000))],
    ),
    Row(
        "RFC 5508 REQ-7 hairpinned ICMP error",
        "acc20",
        lambda earlier: octets(
            from_to(
                D,
                POOL,
                ICMP(type=3, code=3, unused=0)
                / Raw(octets(IP(src=POOL, dst=D.ip4, ttl=63) / udp(source_of(earlier[1].out()[0][1])[1], 4000))),
            )
        ),
        Forward(
            "trk", to_t20(POOL, ICMP(type=3, code=3, unused=0) / Raw(octets(IP(src=T20.ip4, dst=POOL, ttl=63) / udp(4000, 4000))))
        ),
        before=[*from_inside(udp()), from_t20(POOL, udp(4000, 4000))],
    ),
    Row(
        "RFC 4787 REQ-9 a stranger from outside is no hairpin",
        "wan2",
        octets(Ether(src="02:ee:00:00:00:f2", dst="02:ee:00:00:00:02") / IP(src="10.98.1.1", dst=POOL) / udp(9, 4000)),
        Drop("nat_filtered"),
        before=from_inside(udp()),
    ),
    Row(
        "RFC 4787 REQ-1 address-and-port-dependent mapping: another port for another remote",
        "acc20",
        octets(from_to(D, "10.99.8.2", udp(sport=3000))),
        lambda earlier: Forward(
            "wan",
            lambda frame: None
            if source_of(frame)[0] == SYM and source_of(frame)[1] != mapped(earlier[0])[1]
            else f"{source_of(frame)} again",
        ),
        before=from_inside(udp(sport=3000), dst=SYM_DST),
    ),
    Row(
        "RFC 4787 REQ-1 address-and-port-dependent mapping: the same for the same remote",
        "acc20",
        octets(from_to(D, SYM_DST, udp(sport=3000, payload=b"again"))),
        Forward("wan", out4(W1, SYM, SYM_DST, udp(sport=3000, payload=b"again"))),
        before=from_inside(udp(sport=3000), dst=SYM_DST),
    ),
    Row(
        "RFC 4787 REQ-3 overloading only where a rule wants it",
        "acc20",
        octets(from_to(D, "10.99.10.3", udp(sport=4002))),
        Forward("wan", lambda frame: None if source_of(frame)[1] in (2000, 2001) else str(source_of(frame))),
        before=[*from_inside(udp(), dst=SHARED_DST), *from_inside(udp(sport=4001), dst="10.99.10.2")],
    ),
    Row(
        "RFC 4787 REQ-12 an ICMP error ends no mapping",
        "acc20",
        octets(from_to(D, FAR, udp(payload=b"after"))),
        Forward("wan", out4(W1, POOL, FAR, udp(payload=b"after"))),
        before=[
            *from_inside(udp()),
            ("wan", in4(W1, FAR, POOL, ICMP(type=3, code=3, unused=0) / Raw(octets(IP(src=POOL, dst=FAR) / udp())))),
        ],
    ),
    Row(
        "RFC 5382 REQ-10 an ICMP error ends no connection",
        "acc20",
        octets(from_to(D, FAR, tcp(flags="A"))),
        Forward("wan", out4(W1, POOL, FAR, tcp(flags="A"))),
        before=[
            *from_inside(tcp()),
            ("wan", in4(W1, FAR, POOL, ICMP(type=3, code=1, unused=0) / Raw(octets(IP(src=POOL, dst=FAR) / tcp())))),
        ],
    ),
    Row(
        "RFC 6888 REQ-5 limit of sessions",
        "acc20",
        octets(from_to(D, "10.99.11.4", udp())),
        Drop("nat_limit_sessions", error4(D, 3, 13, octets(from_to(D, "10.99.11.4", udp())))),
        before=from_inside(udp(), dst=FEW_DST) + from_inside(udp(), dst="10.99.11.2") + from_inside(udp(), dst="10.99.11.3"),
    ),
    Row(
        "RFC 6888 REQ-4 limit of ports",
        "acc20",
        octets(from_to(D, FEW_DST, udp(sport=4002))),
        Drop("nat_limit_ports", error4(D, 3, 13, octets(from_to(D, FEW_DST, udp(sport=4002))))),
        before=from_inside(udp(), udp(sport=4001), dst=FEW_DST),
    ),
    Row(
        "RFC 6888 REQ-4 limits are each host's own",
        *from_t20(FEW_DST, udp(sport=4002)),
        Forward("wan", out4(W1, FEW, FEW_DST, udp(sport=4002))),
        before=from_inside(udp(), udp(sport=4001), dst=FEW_DST),
    ),
    Row(
        "RFC 6888 REQ-4 known flows go on at the limit",
        "acc20",
        octets(from_to(D, FEW_DST, udp(payload=b"on"))),
        Forward("wan", out4(W1, FEW, FEW_DST, udp(payload=b"on"))),
        before=from_inside(udp(), udp(sport=4001), dst=FEW_DST),
    ),
    Row("the host's own answer on a masqueraded address", "wan", in4(W1, FAR, WAN.ip4, udp(53, 40000)), Host(None)),
]

STATIC_GRE = Raw(b"\0\0\x08\0" + PAYLOAD)


def static_out(name, layer4, **ip):
    return Row(name, "trk", octets(from_to(T30, FAR, layer4, **ip)), Forward("wan", out4(W1, ONE, FAR, layer4, **ip)))


def static_in(name, layer4, **ip):
    return Row(name, "wan", in4(W1, FAR, ONE, layer4, **ip), Forward("trk", out4(T30, FAR, T30.ip4, layer4, **ip)))


LINK6 = "2001:db8:e1::77"  # a 1:1 address in the uplink's own prefix


def of_the_link(icmp, before=()):
    return Row(f"static: ICMPv6 type {icmp.type} of the link is the host's{' despite a flow' if before else ''}", "wan",
               in6(W1, W1.ip6, LINK6, icmp, hlim=255), Host(None), before=list(before))


ROWS += [
    of_the_link(ICMPv6ND_NS(tgt=LINK6)),
    of_the_link(ICMPv6ND_NA(tgt=W1.ip6, S=1, O=1)),
    of_the_link(ICMPv6ND_NA(tgt=W1.ip6, S=1, O=1), [("wan", in6(W1, W1.ip6, LINK6, echo6(ident=0)))]),
    of_the_link(ICMPv6ND_RA()),
    of_the_link(ICMPv6ND_Redirect(tgt=W1.ip6, dst=FAR6)),
    of_the_link(ICMPv6MLQuery()),
    of_the_link(ICMPv6MLReport2()),
    static_out("static: UDP out", udp(sport=53)),
    static_out("static: TCP out", tcp()),
    static_out("static: echo out (RFC 5508 REQ-1)", echo()),
    static_out("static: GRE out", STATIC_GRE, proto=47),
    static_out("static: SCTP out", Raw(bytes(16)), proto=132),
    static_out("static: a later fragment out, its first not seen", Raw(bytes(64)), proto=17, frag=64),
    static_in("static: UDP in", udp()),
    static_in("static: TCP in", tcp()),
    static_in("static: echo in", echo()),
    static_in("static: GRE in", STATIC_GRE, proto=47),
    static_in("static: ESP in", Raw(bytes(64)), proto=50),
    static_in("static: a later fragment in, its first not seen", Raw(bytes(64)), proto=17, frag=64),
    Row("static: IPv6 out", "trk", octets(from_to6(T30, FAR6, tcp())), Forward("wan", out6(W1, ONE6, FAR6, tcp()))),
    Row("static: IPv6 in", "wan", in6(W1, FAR6, ONE6, tcp()), Forward("trk", out6(T30, FAR6, T30.ip6, tcp()))),
    Row(
        "static: the answer to what came in",
        "trk",
        octets(from_to(T30, FAR, udp(5000, 4000))),
        Forward("wan", out4(W1, ONE, FAR, udp(5000, 4000))),
        before=[("wan", in4(W1, FAR, ONE, udp()))],
    ),
    Row(
        "static: echo reply (RFC 5508 REQ-2)",
        "wan",
        in4(W1, FAR, ONE, echo_reply()),
        Forward("trk", out4(T30, FAR, T30.ip4, echo_reply())),
        before=[("trk", octets(from_to(T30, FAR, echo())))],
    ),
    Row(
        "static: another address of the prefix",
        "wan",
        in4(W1, FAR, ONE_U, udp()),
        Forward("trk2", tagged(out4(U30, FAR, U30.ip4, udp()), 30)),
    ),
    Row(
        "RFC 5508 REQ-7 hairpinned ICMP query by 1:1 translation",
        "trk",
        octets(from_to(T30, ONE_U, echo())),
        Forward("trk2", tagged(out4(U30, ONE, U30.ip4, echo()), 30)),
    ),
]


def test_row(switch, row, hook):
    check(switch, row, hook)


def test_rfc4787_req1_mapping_is_one_for_every_remote(switch):
    """A hundred remote ends see D's port as one and the same."""
    switch.forget()
    seen = [travel(switch, "tc", "acc20", octets(from_to(D, f"10.99.1.{n}", udp(dport=5000 + n)))) for n in range(1, 101)]
    assert {mapped(s) for s in seen} == {(POOL, 4000)}


@pytest.mark.parametrize("hook", HOOKS)
def test_rfc4787_req2_paired_pooling(switch, hook):
    """All of a host's ports are on one address, of whatever protocol; those of sixteen hosts on all four of the pool."""
    switch.forget()
    used = set()
    for n in range(16):
        host = replace(D, ip4=f"10.0.20.{100 + n}")
        layers = [*(udp(sport=20000 + n) for n in range(8)), *(tcp(sport=20000 + n) for n in range(8)), echo(ident=7)]
        addresses = {mapped(travel(switch, hook, "acc20", octets(from_to(host, SEVERAL_DST, layer))))[0] for layer in layers}
        assert len(addresses) == 1, f"{host.ip4} has {addresses}"
        used |= addresses
    assert used == set(SEVERAL)


SCTP_INIT = SCTP(sport=2905, dport=2906) / SCTPChunkInit(init_tag=7)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    "layer, ip, dst, pool",
    [
        (Raw(b"\0\0\x08\0" + PAYLOAD), {"proto": 47}, SEVERAL_DST, SEVERAL),
        (SCTP_INIT, {}, SEVERAL_DST, SEVERAL),
        (Raw(PAYLOAD), {"nh": 50}, SEVERAL6_DST, SEVERAL6),
    ],
    ids=("GRE", "SCTP", "IPv6 ESP"),
)
def test_a_protocol_without_ports_has_all_addresses(switch, hook, layer, ip, dst, pool):
    """Towards one remote end a pool serves as many hosts as it has addresses, and to each come its own answers; the next is refused, as
    where ports run out. Another remote end is another matter."""
    six = ":" in dst
    build, out, come = (from_to6, out6, in6) if six else (from_to, out4, in4)

    def host(n):
        return replace(D, ip4=f"10.0.20.{100 + n}", ip6=f"2001:db8:20::1:{n}")

    def source(n):
        return host(n).ip6 if six else host(n).ip4

    switch.forget()
    for n in range(5):
        resolved(switch, host(n))
    has = {}
    for n in range(4):
        [(port, frame)] = travel(switch, hook, "acc20", octets(build(host(n), dst, layer, **ip))).out()
        has[n] = Ether(frame)[IPv6 if six else IP].src
        assert (port, frame) == ("wan", octets(out(W1, has[n], dst, layer, **ip)))
    assert sorted(has.values()) == sorted(pool), "each has another one"
    fifth = octets(build(host(4), dst, layer, **ip))
    seen = send(switch, "tc", "acc20", fifth)
    assert seen.drops == {"nat_no_address": 1}
    [(port, reply)] = seen.out()
    told = error6(host(4), 1, 1, fifth) if six else error4(host(4), 3, 13, fifth)
    assert port == "acc20" and not told(reply)
    for n, address in has.items():
        seen = travel(switch, hook, "wan", octets(come(W1, dst, address, layer, **ip)))
        assert seen.out() == [("acc20", octets(out(host(n), dst, source(n), layer, **ip)))]
        again = travel(switch, hook, "acc20", octets(build(host(n), dst, layer, **ip)))
        assert again.out() == [("wan", octets(out(W1, address, dst, layer, **ip)))]
    assert send(switch, "tc", "acc20", fifth).drops == {"nat_no_address": 1}
    elsewhere = dst[:-1] + "9"
    [(port, frame)] = travel(switch, hook, "acc20", octets(build(host(4), elsewhere, layer, **ip))).out()
    assert Ether(frame)[IPv6 if six else IP].src in pool


def test_overloading_to_the_last_combination(switch):
    """Two ports, all held for others: two more flows to one remote end fit, whatever the first guess; the third is refused."""
    for _ in range(8):
        switch.forget()
        for n in range(2):
            travel(switch, "tc", "acc20", octets(from_to(D, f"10.99.10.{n + 1}", udp(sport=4000 + n))))
        ports = set()
        for n in range(2):
            seen = travel(switch, "tc", "acc20", octets(from_to(D, "10.99.10.3", udp(sport=4010 + n))))
            ports.add(source_of(seen.frame))
        assert ports == {(SHARED, 2000), (SHARED, 2001)}
        refused = from_to(D, "10.99.10.3", udp(sport=4012))
        seen = send(switch, "tc", "acc20", refused)
        assert seen.drops == {"nat_no_port": 1}
        [(port, reply)] = seen.out()
        assert port == "acc20" and not error4(D, 3, 13, octets(refused))(reply)


@pytest.mark.parametrize("hook", HOOKS)
def test_overloading_finds_every_combination(switch, hook):
    """200 ports: 200 connections to each of two remote ends, and none more."""
    switch.forget()
    for remote in ("10.99.12.1", "10.99.12.2"):
        ports = set()
        for n in range(200):
            at, port = source_of(travel(switch, hook, "acc20", octets(from_to(D, remote, udp(sport=3000 + n)))).frame)
            ports.add(port)
            travel(switch, hook, "wan", in4(W1, remote, at, udp(5000, port)))  # who waits for an answer would give way
        assert ports == set(range(20000, 20200))
        assert send(switch, "tc", "acc20", from_to(D, remote, udp(sport=2999))).drops == {"nat_no_port": 1}


def test_port_scan_finds_nothing(switch):
    """A scan of an address with one mapping: every probe is dropped and counted, no flow is made."""
    switch.forget()
    travel(switch, "tc", "acc20", octets(from_to(D, FAR, tcp())))
    flows = len(switch.map("flows4").keys())
    for port in range(1024, 1324):
        seen = send(switch, "tc", "wan", in4(W1, STRANGER, POOL, tcp(9, port)))
        assert seen.drops == {"nat_filtered": 1} and not seen.out(), seen.words()
    assert len(switch.map("flows4").keys()) == flows


def test_forward_survives_an_unknown_stranger(switch):
    """A port forward stands beside the mappings of its address."""
    switch.forget()
    travel(switch, "tc", *OPENED[0])
    seen = send(switch, "tc", "acc10", octets(from_to(A, FAR, tcp(80, 4000, "SA"))))
    assert source_of(seen.out()[0][1]) == (WAN.ip4, 8080)
