"""Malformed and forged frames: dropped with a reason, counted exactly, and nothing else happens."""
import random
import struct

import pytest
from scapy.all import Dot1Q, Ether, ICMP, IP, IPv6, IPv6ExtHdrDestOpt, Raw, TCP, UDP

import netlab

INET4 = netlab.INET4


def ip4(gw, **fields):
    return Ether(dst=gw, src="02:00:00:00:02:01") / IP(src="10.0.10.66", dst="10.0.20.13", **fields)


def ip6(gw, **fields):
    return Ether(dst=gw, src="02:00:00:00:02:01") / IPv6(src="2001:db8:10::66", dst="2001:db8:20::13", **fields)


def patched(frame, offset, new):
    b = bytearray(bytes(frame))
    b[offset:offset + len(new)] = new
    return bytes(b)


def cases(gw):
    """name -> (frame, drop reason)."""
    udp = ip4(gw) / UDP(sport=1000, dport=9) / Raw(b"x" * 32)
    tcp = ip4(gw) / TCP(sport=1000, dport=9) / Raw(b"x" * 32)
    six = ip6(gw) / UDP(sport=1000, dport=9) / Raw(b"x" * 32)
    chain = ip6(gw)
    for _ in range(12):
        chain = chain / IPv6ExtHdrDestOpt()
    return {
        "ip4-cut": (bytes(udp)[:14 + 12], "parse_ip4_short"),
        "ip4-version": (patched(udp, 14, b"\x65"), "parse_ip4_version"),
        "ip4-ihl-4": (patched(udp, 14, b"\x44"), "parse_ip4_ihl"),
        "ip4-ihl-beyond": (patched(udp, 14, b"\x4f")[:14 + 40], "parse_ip4_length"),
        "ip4-length-too-long": (bytes(ip4(gw, len=1000) / UDP(sport=1, dport=9) / Raw(b"x" * 32)), "parse_ip4_length"),
        "ip4-length-too-short": (bytes(ip4(gw, len=10) / UDP(sport=1, dport=9) / Raw(b"x" * 32)), "parse_ip4_length"),
        "ip4-checksum": (patched(udp, 24, b"\xde\xad"), "parse_ip4_checksum"),
        "tcp-cut": (bytes(ip4(gw, len=28, proto=6) / Raw(bytes(tcp)[34:42])), "parse_l4_short"),
        "tcp-offset-2": (patched(tcp, 14 + 20 + 12, b"\x20"), "parse_tcp_offset"),
        "udp-length-4": (patched(udp, 14 + 20 + 4, struct.pack("!H", 4)), "parse_udp_length"),
        "udp-length-beyond": (patched(udp, 14 + 20 + 4, struct.pack("!H", 999)), "parse_udp_length"),
        "tiny-fragment": (bytes(ip4(gw, frag=1, proto=6) / Raw(b"x" * 16)), "parse_ip4_fragment"),
        "fragment-past-64k": (bytes(ip4(gw, frag=8190, proto=17) / Raw(b"x" * 64)), "parse_ip4_fragment"),
        "ip6-cut": (bytes(six)[:14 + 30], "parse_ip6_short"),
        "ip6-version": (patched(six, 14, b"\x40"), "parse_ip6_version"),
        "ip6-length-beyond": (patched(six, 14 + 4, struct.pack("!H", 2000)), "parse_ip6_length"),
        "ip6-endless-chain": (bytes(chain / UDP(sport=1, dport=9)), "parse_ip6_ext_chain"),
        "source-multicast-mac": (bytes(Ether(dst=gw, src="03:00:00:00:00:01") / IP(dst="10.0.20.13") / UDP()), "fdb_bad_source"),
        "source-own-mac": (bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=gw) / IP(dst="10.0.20.13") / UDP()), "fdb_own_source"),
        "tagged-on-access": (bytes(Ether(dst=gw, src="02:00:00:00:02:01") / Dot1Q(vlan=10) / IP() / UDP()), "vlan_tagged_on_access"),
        "loopback-source": (bytes(Ether(dst=gw, src="02:00:00:00:02:01") / IP(src="127.0.0.1", dst="10.0.20.13") / UDP()),
                            "route_martian_source"),
        "multicast-source": (bytes(Ether(dst=gw, src="02:00:00:00:02:01") / IP(src="224.0.0.1", dst="10.0.20.13") / UDP()),
                             "route_martian_source"),
        "class-e-destination": (bytes(Ether(dst=gw, src="02:00:00:00:02:01") / IP(src="10.0.10.66", dst="240.0.0.1") / UDP()),
                                "route_martian_destination"),
        "ttl-1": (bytes(ip4(gw, ttl=1) / UDP(sport=1, dport=9)), "route_ttl"),
        "icmp-error-of-no-flow": (bytes(Ether(dst=gw, src="02:00:00:00:02:01") / IP(src="10.0.10.66", dst=INET4) /
                                        ICMP(type=3, code=1) / IP(src=INET4, dst="10.0.10.66") / UDP(sport=5, dport=6)), None),
    }


NAMES = list(cases("02:00:00:00:00:01"))


def total(gateway):
    return next(p for p in gateway.gw.json("counters show")["ports"] if p["name"] == "h1")


@pytest.mark.parametrize("name", NAMES)
def test_malformed_frame_is_dropped_with_its_reason(gateway, name):
    frame, reason = cases(gateway.sw.mac("vlan10"))[name]
    before = netlab.drops(gateway.gw, "h1")
    with gateway.h3.sniff("eth0") as s:
        gateway.h1.send("eth0", *[frame] * 5)
        arrived = [f for f in s.frames(0.15) if f[26:30] == bytes([10, 0, 10, 66])]
    after = netlab.drops(gateway.gw, "h1")
    new = {r: n - before.get(r, 0) for r, n in after.items() if n != before.get(r, 0)}
    assert not arrived
    if reason:
        assert new.get(reason) == 5, f"dropped as {new}"
    else:
        assert sum(new.values()) == 5, f"dropped as {new}"


def test_counters_hold_after_all_of_it(gateway):
    frames = [f for f, _ in cases(gateway.sw.mac("vlan10")).values()]
    for port in (gateway.h1, gateway.h3, gateway.h4):
        port.send("eth0", *frames * 20)
    for r in (gateway.r1, gateway.r2):
        r.send("sw", *[patched(f, 0, bytes.fromhex(gateway.sw.mac("up1" if r is gateway.r1 else "up2").replace(":", "")))
                       for f in frames] * 20)
    netlab.counters_hold(gateway.gw)
    netlab.counters_hold(gateway.tor_switch)


def test_frames_of_random_bytes_change_nothing(gateway):
    rng = random.Random(1)
    gw = bytes.fromhex(gateway.sw.mac("vlan10").replace(":", ""))
    frames = []
    for _ in range(2000):
        kind = rng.choice([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xa8", b"\x08\x06", rng.randbytes(2)])
        body = bytes([rng.choice([0x45, 0x46, 0x4f, 0x60, 0x00, rng.randrange(256)])]) + rng.randbytes(rng.randrange(0, 120))
        frames.append(gw + b"\x02" + rng.randbytes(5) + kind + body)
    gateway.h1.send("eth0", *frames)
    netlab.counters_hold(gateway.gw)
    assert gateway.gw.process.poll() is None
    assert gateway.h1.ping("10.0.20.13") == (3, 3)
    assert gateway.h1.ping(INET4) == (3, 3)


def test_flood_of_source_addresses_does_not_stop_the_switch(gateway):
    """More stations than are worth learning: old conversations go on (RFC 2889 5.8 asks for the limit to be harmless)."""
    gateway.h2.send("eth0", *[bytes(6 * [0xff]) + b"\x02" + struct.pack("!IB", i, 7) + b"\x90\x00" + bytes(46) for i in range(5000)])
    assert gateway.h1.ping("10.0.10.12") == (3, 3)
    netlab.counters_hold(gateway.gw)
