"""Several rules to one port of an inside host, and a client outside that comes by two of them from one port of its own: the host could not
tell the two connections apart. The second one's client gets another port, as the host sees it, and knows nothing of that."""
import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Raw

from frames import A, B, D, PAYLOAD, T30, W1, WAN, echo, echo6, echo6_reply, echo_reply, from_to, from_to6, octets, tcp, udp
from harness import HOOKS, send, travel
from nat_frames import FAR, FAR6, ONE, ROUTER, WEB_B, WHOLE, WHOLE6, WHOLE6_B, WHOLE_B, in4, in6, out4, out6
from nat_packets import Left

WEB = WAN.ip4

# name: inside host, two outside addresses with what is sent to each, what the host gets but for the port, its answer to a port, what the
# client gets from each
CASES = {
    "TCP": (A, (WEB, tcp(4000, 8080)), (WEB_B, tcp(4000, 80)), lambda p: tcp(p, 80), lambda p: tcp(80, p, "SA"),
            (tcp(8080, 4000, "SA"), tcp(80, 4000, "SA"))),
    "TCP below 1024": (A, (WEB, tcp(600, 8080)), (WEB_B, tcp(600, 80)), lambda p: tcp(p, 80), lambda p: tcp(80, p, "SA"),
                       (tcp(8080, 600, "SA"), tcp(80, 600, "SA"))),
    "UDP": (B, (WHOLE, udp()), (WHOLE_B, udp()), lambda p: udp(p, 5000), lambda p: udp(5000, p), (udp(5000, 4000),) * 2),
    "UDP without a checksum": (B, (WHOLE, udp(chksum=0)), (WHOLE_B, udp(chksum=0)), lambda p: udp(p, 5000, chksum=0),
                               lambda p: udp(5000, p, chksum=0), (udp(5000, 4000, chksum=0),) * 2),
    "echo": (B, (WHOLE, echo(4000)), (WHOLE_B, echo(4000)), echo, echo_reply, (echo_reply(4000),) * 2),
    "IPv6 UDP": (B, (WHOLE6, udp()), (WHOLE6_B, udp()), lambda p: udp(p, 5000), lambda p: udp(5000, p), (udp(5000, 4000),) * 2),
    "IPv6 echo": (B, (WHOLE6, echo6(4000)), (WHOLE6_B, echo6(4000)), echo6, echo6_reply, (echo6_reply(4000),) * 2),
}  # fmt: skip


def port_of(frame):
    """What stands for the client's port in a frame to the inside host; all its checksums are right."""
    return Left(frame).t[2]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("case", CASES)
def test_two_rules_and_one_port(switch, hook, case):
    host, one, two, at_host, answer, answered = CASES[case]
    six = ":" in one[0]
    come, out, back, far, inside = (in6, out6, from_to6, FAR6, host.ip6) if six else (in4, out4, from_to, FAR, host.ip4)
    switch.forget()
    ports = []
    for dst, layer in (one, two):
        [(port, frame)] = travel(switch, hook, "wan", octets(come(W1, far, dst, layer))).out()
        ports.append(port_of(frame))
        assert (port, frame) == (host.port, octets(out(host, far, inside, at_host(ports[-1]))))
    own = Left(octets(come(W1, far, *one))).t[2]
    assert ports[0] == own != ports[1] and (own < 1024) == (ports[1] < 1024)
    for (dst, layer), seen_as, want in zip((one, two), ports, answered):
        seen = travel(switch, hook, host.port, octets(back(host, far, answer(seen_as))))
        assert seen.out() == [("wan", octets(out(W1, dst, far, want)))], "the client knows nothing of it"
        seen = travel(switch, hook, "wan", octets(come(W1, far, dst, layer)))
        assert seen.out() == [(host.port, octets(out(host, far, inside, at_host(seen_as))))], "the same for the next packet"


def quoting(src, dst, layer):
    return ICMP(type=3, code=1, unused=0) / Raw(octets(IP(src=src, dst=dst, ttl=63) / layer))


def quoting6(src, dst, layer):
    return ICMPv6DestUnreach(code=3) / Raw(octets(IPv6(src=src, dst=dst, hlim=63) / layer))


@pytest.mark.parametrize("hook", HOOKS)
def test_errors_about_it(switch, hook):
    """Both ways, the quote as its sender knows it. A router outside keeps its address: it is the port alone that is translated."""
    switch.forget()
    travel(switch, hook, "wan", in4(W1, FAR, WHOLE, udp()))
    [(_, frame)] = travel(switch, hook, "wan", in4(W1, FAR, WHOLE_B, udp())).out()
    port = port_of(frame)
    told = octets(from_to(B, FAR, quoting(FAR, B.ip4, udp(port, 5000))))
    assert travel(switch, hook, "acc10b", told).out() == [("wan", out4(W1, WHOLE_B, FAR, quoting(FAR, WHOLE_B, udp())))]
    travel(switch, hook, "acc10b", octets(from_to(B, FAR, udp(5000, port))))
    told = in4(W1, ROUTER, WHOLE_B, quoting(WHOLE_B, FAR, udp(5000, 4000)))
    assert travel(switch, hook, "wan", told).out() == [("acc10b", out4(B, ROUTER, B.ip4, quoting(B.ip4, FAR, udp(5000, port))))]


@pytest.mark.parametrize("hook", HOOKS)
def test_errors_about_it_by_ipv6(switch, hook):
    switch.forget()
    travel(switch, hook, "wan", in6(W1, FAR6, WHOLE6, udp()))
    [(_, frame)] = travel(switch, hook, "wan", in6(W1, FAR6, WHOLE6_B, udp())).out()
    told = octets(from_to6(B, FAR6, quoting6(FAR6, B.ip6, udp(port_of(frame), 5000))))
    assert travel(switch, hook, "acc10b", told).out() == [("wan", out6(W1, WHOLE6_B, FAR6, quoting6(FAR6, WHOLE6_B, udp())))]


@pytest.mark.parametrize("hook", HOOKS)
def test_fragments_of_it(switch, hook):
    """The first fragment has the port; the second one finds its way by it."""
    switch.forget()
    travel(switch, hook, "wan", in4(W1, FAR, WHOLE, udp()))
    whole = octets(IP(src=FAR, dst=WHOLE_B) / udp(payload=PAYLOAD))[20:]
    first, last = ({"flags": "MF", "id": 9, "proto": 17}, {"frag": 4, "id": 9, "proto": 17})
    [(at, frame)] = travel(switch, hook, "wan", in4(W1, FAR, WHOLE_B, Raw(whole[:32]), **first)).out()
    port = int.from_bytes(frame[34:36])
    want = octets(IP(src=FAR, dst=B.ip4) / udp(port, payload=PAYLOAD))[20:]
    assert port != 4000 and (at, frame) == ("acc10b", out4(B, FAR, B.ip4, Raw(want[:32]), **first))
    seen = travel(switch, hook, "wan", in4(W1, FAR, WHOLE_B, Raw(whole[32:]), **last))
    assert seen.out() == [("acc10b", out4(B, FAR, B.ip4, Raw(want[32:]), **last))]


def test_as_many_as_there_are_rules_and_clients(switch):
    """Sixty clients by both rules, whose ports are side by side: each connection is one for the host."""
    switch.forget()
    seen = set()
    for sport in range(40000, 40060):
        for dst in (WHOLE, WHOLE_B):
            [(_, frame)] = travel(switch, "tc", "wan", in4(W1, FAR, dst, udp(sport=sport))).out()
            seen.add(port_of(frame))
    assert len(seen) == 120


def test_without_ports_it_is_refused(switch):
    """GRE: nothing tells the two apart, and nothing may be changed."""
    gre = Raw(b"\0\0\x08\0" + PAYLOAD)
    switch.forget()
    travel(switch, "tc", "wan", in4(W1, FAR, WHOLE, gre, proto=47))
    assert send(switch, "tc", "wan", in4(W1, FAR, WHOLE_B, gre, proto=47)).drops == {"nat_clash": 1}


def test_a_static_s_host_comes_by_both(switch):
    """It is seen by its outside address, and gets another port as a client outside does."""
    switch.forget()
    ports = []
    for dst in (WHOLE, WHOLE_B):
        [(port, frame)] = travel(switch, "tc", "trk", octets(from_to(T30, dst, udp()))).out()
        ports.append(port_of(frame))
        assert (port, frame) == ("acc10b", out4(B, ONE, B.ip4, udp(ports[-1])))
    assert ports[0] == 4000 != ports[1]


def test_a_pool_s_host_keeps_its_port(switch):
    """Its mapping has one port, whoever it talks to (RFC 4787 REQ-1): the second connection is refused."""
    switch.forget()
    travel(switch, "tc", "acc20", octets(from_to(D, WHOLE, udp())))
    assert send(switch, "tc", "acc20", from_to(D, WHOLE_B, udp())).drops == {"nat_clash": 1}
