"""Ordinary packets have a short way to their route (bpf/fast_route.h): it must say the same as the long one of every packet, ordinary or
nearly so; when it asks the tables, and when it was here a moment ago (bpf/known.h, bpf/way.h).

Packets are made at random of what the two ways could differ in: addresses that are special, lengths and checksums that are not
quite right, flags, options, fragments, TTLs that end, ways that lead nowhere, rules of NAT that concern them or just do not.
"""
import random
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import bpf
from frames import A, B, D, T10, T20, T30, U30, W1, W2, octets, tagged
from harness import send
from topo import PORTS

FROM = [A, B, D, T10, T20, T30, U30, W1, W2]
ODD4 = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "169.254.7.7", "224.0.0.5", "240.0.0.1", "255.255.255.255", "10.0.10.255",
        "10.0.20.255", "10.0.30.255", "198.51.100.255", "223.255.255.255", "1.0.0.0", "128.0.0.1", "126.255.255.255", "10.0.10.1",
        "192.0.2.1", "198.18.0.1", "198.18.9.9", "198.18.5.13", "169.254.169.254"]  # fmt: skip
ROUTED4 = [f"10.{n}.{m}.{h}" for n in (50, 60, 61, 62, 63, 64, 97, 98, 99) for m in (0, 4, 9, 200) for h in (1, 7)]
STATIONS4 = [s.ip4 for s in FROM] + ["10.0.20.77", "10.0.10.12"]
ODD6 = ["::", "::1", "::ffff:10.0.10.10", "::10.0.10.10", "ff02::1", "fe80::1", "fec0::1", "fdff::1", "2001:db8:10::1", "2001:db8:5a::1",
        "2001:db8:5a::9", "2001:db8:5b::d", "2001:db8:30::d"]  # fmt: skip
ROUTED6 = [f"2001:db8:{n}:{m}::{h}" for n in (50, 60, 61, 62, 63, 64, 97, 98, 99) for m in (0, 200) for h in (1, 7)]
STATIONS6 = [s.ip6 for s in FROM] + ["2001:db8:20::77"]


def layer4(rng, family):
    kind = rng.choice(["udp", "udp", "tcp", "tcp", "icmp", "other"])
    payload = Raw(bytes(rng.choice([0, 6, 20, 64, 1372, 1452, 1460])))
    if kind == "udp":
        wrong = {"len": rng.choice([0, 7, 8, 9, 2000])} if rng.random() < 0.2 else {}
        return UDP(sport=rng.choice([1024, 3000, 40000]), dport=rng.choice([53, 4789, 7000]), **wrong) / payload
    if kind == "tcp":
        flags = rng.choice(["A", "A", "A", "PA", "S", "SA", "FA", "R", "RA", ""])
        wrong = {"dataofs": rng.choice([0, 4, 5, 6, 15])} if rng.random() < 0.2 else {}
        return TCP(sport=rng.choice([1024, 40000]), dport=rng.choice([80, 443, 8080]), flags=flags, seq=7, ack=9, **wrong) / payload
    if kind == "icmp" and family == 4:
        return ICMP(type=rng.choice([0, 3, 8, 11]), id=5) / payload
    return Raw(bytes(rng.choice([0, 8, 40])))


def address(rng, station, usual, routed, odd):
    x = rng.random()
    return station if x < 0.5 else rng.choice(routed if x < 0.75 else usual if x < 0.9 else odd)


def packet4(rng, s):
    ip = IP(src=address(rng, s.ip4, STATIONS4, ROUTED4, ODD4), dst=address(rng, rng.choice(STATIONS4), STATIONS4, ROUTED4, ODD4),
            ttl=rng.choice([0, 1, 2, 64, 64, 64, 255]), flags=rng.choice([0, "DF", "DF"]), tos=rng.choice([0, 0xB8]))  # fmt: skip
    x = rng.random()
    if x < 0.05:
        ip.frag = rng.choice([1, 100])
    elif x < 0.1:
        ip.flags = "MF"
    elif x < 0.15:
        ip.options = b"\x01\x01\x01\x00"
    elif x < 0.2:
        ip.chksum = rng.randrange(65536)
    elif x < 0.25:
        ip.len = rng.choice([0, 19, 20, 27, 28, 39, 40, 1500])
    elif x < 0.28:
        ip.version = rng.choice([0, 5, 6])
    elif x < 0.3:
        ip.flags = 4  # the reserved bit
    return ip / layer4(rng, 4)


def packet6(rng, s):
    ip = IPv6(src=address(rng, s.ip6, STATIONS6, ROUTED6, ODD6), dst=address(rng, rng.choice(STATIONS6), STATIONS6, ROUTED6, ODD6),
              hlim=rng.choice([0, 1, 2, 64, 64, 64, 255]), tc=rng.choice([0, 0xB8]), fl=rng.choice([0, 0xFFFFF]))  # fmt: skip
    x = rng.random()
    if x < 0.05:
        return ip / IPv6ExtHdrHopByHop() / layer4(rng, 6)
    if x < 0.1:
        return ip / IPv6ExtHdrFragment(id=7, m=rng.choice([0, 1])) / layer4(rng, 6)
    if x < 0.15:
        ip.plen = rng.choice([0, 7, 8, 20, 1500])
    elif x < 0.18:
        ip.version = rng.choice([0, 4, 7])
    return ip / layer4(rng, 6)


def ordinary(rng, s):
    """Nothing is the matter with it but, perhaps, that a rule of NAT or of routing concerns it."""
    l4 = rng.choice([UDP(sport=3000, dport=53), TCP(sport=1024, dport=443, flags="A", seq=7, ack=9)]) / Raw(bytes(20))
    if rng.random() < 0.7:
        return IP(src=rng.choice([s.ip4, s.ip4, rng.choice(ODD4)]), dst=rng.choice(ROUTED4 + STATIONS4 + ODD4)) / l4
    return IPv6(src=rng.choice([s.ip6, s.ip6, rng.choice(ODD6)]), dst=rng.choice(ROUTED6 + STATIONS6 + ODD6)) / l4


def frame(rng):
    s = rng.choice(FROM)
    packet = rng.choice([ordinary, ordinary, packet4, packet6])(rng, s)
    data = octets(Ether(dst=s.gateway.mac, src=s.mac) / packet)
    data += bytes(rng.choice([0, 0, 0, 6, 46]))[: max(0, 1514 - len(data))]
    if PORTS[s.port].vlans.get(int(s.gateway.name[4:]) if s.gateway.name.startswith("vlan") else 0):
        data = tagged(data, int(s.gateway.name[4:]))
    return s.port, data


def to_native(seen, data):
    """One frame, out of a port that XDP serves, with MACs of its own (the kernel is asked for what has none), and nothing else."""
    out = seen.out()
    if len(out) != 1 or seen.verdict != bpf.TC_ACT_REDIRECT or seen.drops or out[0][1][:6] == data[:6]:
        return False
    return out[0][0] in PORTS and PORTS[out[0][0]].native


def the_long_way(switch):
    """Any source may be one of the switch's own addresses now, which the short way leaves to the long one to find out."""
    switch.edit("own_filter", struct.pack("=I", 0), b"\xff" * 512)


def may_hide_tag(switch, port, data):
    """XDP leaves what has no tag to tc, where the driver may have taken one off."""
    return switch.tag_may_hide(port) and data[12:14] not in (b"\x81\x00", b"\x88\xa8")


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_say_the_same(switch, seed):
    rng = random.Random(seed)
    forwarded = dropped = 0
    for _ in range(150):
        port, data = frame(rng)
        switch.forget()
        the_long_way(switch)
        full = send(switch, "tc", port, data)
        switch.forget()
        short = send(switch, "xdp", port, data)
        again = send(switch, "xdp", port, data)
        told = f"{data.hex()} into {port}\n{full.words()}\n{short.words()}\n{again.words()}"
        assert (again.verdict, again.out(), again.tx(), again.drops) == (short.verdict, short.out(), short.tx(), short.drops), told
        if not short.drops and to_native(full, data):
            for _ in range(2):
                at_tc = send(switch, "tc", port, data)
                assert (at_tc.out(), at_tc.tx(), at_tc.drops) == (full.out(), full.tx(), full.drops), told + at_tc.words()
        if short.verdict == bpf.XDP_REDIRECT:
            forwarded += 1
            assert [(p, octets(f)) for p, f in short.out()] == [(p, octets(f)) for p, f in full.out()], told
            assert short.tx() == full.tx(), told
        elif short.verdict == bpf.XDP_DROP:
            dropped += 1
            assert short.drops == full.drops and not full.out(), told
        else:
            assert short.verdict == bpf.XDP_PASS and short.data == data, told
            assert not to_native(full, data) or may_hide_tag(switch, port, data), told
    assert forwarded >= 20 and dropped >= 10, (forwarded, dropped)
