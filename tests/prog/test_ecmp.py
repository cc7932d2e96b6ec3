"""ECMP: the way among several is chosen by the flow (RFC 2992): the same for all its packets, and all ways are used."""
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import bpf
from frames import A, B, E, GW10, W1, W2, echo, from_to, from_to6, octets, routed, tcp, udp
from harness import HOOKS, send

WAYS = {W1.port: W1, W2.port: W2}


def way(switch, hook, frame, station=A):
    """The port that a frame of a station leaves by; its bytes are checked on the way."""
    seen = send(switch, hook, station.port, frame)
    assert seen.verdict == (bpf.XDP_REDIRECT if hook == "xdp" else bpf.TC_ACT_REDIRECT), seen.words()
    ((port, sent),) = seen.out()
    assert port in WAYS, seen.words()
    assert sent == routed(frame, WAYS[port]), seen.words()
    assert seen.tx() == {port: 1}
    return port


def v4(last, layer4, **ip):
    return octets(from_to(A, f"10.50.0.{last}", layer4, **ip))


def v6(last, layer4, **ip):
    return octets(from_to6(A, f"2001:db8:50::{last:x}", layer4, **ip))


def fragment4(sport, offset, more, ident=7):
    data = bytes(UDP(sport=sport, dport=53, len=2008) / Raw(bytes(504)))
    return v4(1, Raw(data), proto=17, frag=offset, flags="MF" if more else 0, id=ident)


def fragment6(sport, offset, more):
    data = bytes(UDP(sport=sport, dport=53, len=2008) / Raw(bytes(504)))
    return v6(1, IPv6ExtHdrFragment(offset=offset, m=more, nh=17, id=7) / Raw(data))


SAME = {
    "UDP": [v4(1, udp(1000, 53, bytes([n]) * n)) for n in range(1, 6)],
    "TCP": [v4(1, tcp(1000, 80, flags)) for flags in ("S", "A", "PA", "FA", "R")],
    "echo": [v4(1, echo(9, seq)) for seq in range(5)],
    "TTL and TOS do not matter": [v4(1, udp(), ttl=ttl, tos=ttl) for ttl in (2, 64, 255)],
    "fragments, whatever the first one's ports": [fragment4(1000 + n, 0, True, n) for n in range(8)],
    "fragments of one packet": [fragment4(1000, 0, True), fragment4(2000, 64, True), fragment4(3000, 128, False)],
    "IPv6 UDP": [v6(1, udp(1000, 53, bytes([n]) * n)) for n in range(1, 6)],
    "IPv6 fragments, whatever the first one's ports": [fragment6(1000 + n, 0, 1) for n in range(8)],
    "IPv6 fragments of one packet": [fragment6(1000, 0, 1), fragment6(2000, 64, 1), fragment6(3000, 128, 0)],
}

SPREAD = {
    "UDP source ports": [v4(1, udp(1000 + n, 53)) for n in range(64)],
    "UDP destination ports": [v4(1, udp(1000, 1000 + n)) for n in range(64)],
    "TCP source ports": [v4(1, tcp(1000 + n, 80)) for n in range(64)],
    "destinations": [v4(n, udp()) for n in range(64)],
    "sources": [
        octets(Ether(src=A.mac, dst=GW10.mac) / IP(src=f"10.0.10.{n + 100}", dst="10.50.0.1") / udp()) for n in range(64)
    ],
    "destinations of fragments": [
        octets(from_to(E, f"10.50.{n}.1", Raw(bytes(64)), proto=17, frag=10, flags="MF")) for n in range(64)
    ],
    "IPv6 UDP source ports": [v6(1, udp(1000 + n, 53)) for n in range(64)],
    "IPv6 destinations": [v6(n, udp()) for n in range(1, 65)],
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", SAME)
def test_one_flow_one_way(switch, name, hook):
    switch.forget()
    assert len({way(switch, hook, frame) for frame in SAME[name]}) == 1


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", SPREAD)
def test_flows_use_both_ways(switch, name, hook):
    """Of 64 flows each of two ways gets a quarter at least: a fair choice fails this for one seed in 25000, and ours is fixed."""
    switch.forget()
    ways = [way(switch, hook, frame) for frame in SPREAD[name]]
    assert min(ways.count(port) for port in WAYS) >= 16, ways


def test_both_hooks_choose_the_same(switch):
    switch.forget()
    for frame in SPREAD["UDP source ports"] + SPREAD["IPv6 UDP source ports"]:
        assert way(switch, "xdp", frame) == way(switch, "tc", frame)


@pytest.mark.parametrize("hook", HOOKS)
def test_port_of_entry_does_not_matter(switch, hook):
    """The choice is the flow's, not the port's."""
    switch.forget()
    frame = octets(from_to(A, "10.50.0.9", udp()))
    assert way(switch, hook, frame) == way(switch, hook, frame, B)
