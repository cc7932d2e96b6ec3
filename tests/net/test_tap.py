"""A tap whose frames arrive in pieces, as from a network card that leaves data outside the linear part of an skb."""
import fcntl
import os
import struct

import pytest
from scapy.all import Ether, ICMP, IP, Raw, UDP
from scapy.layers.inet import IPerror, UDPerror

import netlab

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_NAPI, IFF_NAPI_FRAGS = 0x400454CA, 0x2, 0x1000, 0x10, 0x20
CONFIG = """ports:
  h1: {mode: access, vlan: 10}
  wan: {mode: routed}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24]}
  wan: {port: wan, addresses: [203.0.113.1/24]}
routes:
  - {to: default, via: 203.0.113.2}
neighbors:
  - {address: 203.0.113.2, mac: "02:00:00:00:00:02", interface: wan}
nat:
  - {name: out, type: snat, source: 10.0.0.0/24, out: [wan], to: 198.51.100.7}
"""


@pytest.fixture
def w(world):
    gw = world.ns("gw")
    world.host("h1", gw, "h1", addrs=["10.0.0.5/24"], gw=["10.0.0.1"])
    with gw.entered():
        world.tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(world.tap, TUNSETIFF, struct.pack("16sH22x", b"wan", IFF_TAP | IFF_NO_PI | IFF_NAPI | IFF_NAPI_FRAGS))
    try:
        world.gw_ns = gw
        world.sw = world.start_switch(gw, CONFIG)
        world.sw.attached("h1", "wan")
        world.h1.ping("10.0.0.1")
        yield world
    finally:
        os.close(world.tap)


def read_frame(tap, wanted):
    def one():
        os.set_blocking(tap, False)
        try:
            frame = Ether(os.read(tap, 2048))
        except BlockingIOError:
            return None
        finally:
            os.set_blocking(tap, True)
        return frame if wanted(frame) else None

    return netlab.wait_for("the frame at the tap", one)


@pytest.mark.parametrize("head", [34, 42, 54, 62])
def test_icmp_error_in_pieces_is_translated(w, head):
    """RFC 5508 REQ-3: the quoted packet is looked into though only `head` bytes of the frame are linear."""
    with w.h1.socket(kind=netlab.socket.SOCK_DGRAM) as s:
        s.bind(("10.0.0.5", 4000))
        s.sendto(b"x" * 32, ("192.0.2.9", 5000))
        out = read_frame(w.tap, lambda f: UDP in f and f[UDP].dport == 5000)
    assert out[IP].src == "198.51.100.7"
    error = bytes(
        Ether(dst=w.gw_ns.mac("wan"), src="02:00:00:00:00:02")
        / IP(src="203.0.113.2", dst="198.51.100.7")
        / ICMP(type=3, code=4, nexthopmtu=1400)
        / Raw(bytes(out[IP]))
    )
    with w.h1.sniff("eth0") as sniffer:
        os.writev(w.tap, [error[:head], error[head:]])
        frames = sniffer.matching(b"x" * 32, wait=2, count=1)
    assert len(frames) == 1, f"h1 heard {len(frames)} errors; drops: {netlab.drops(w.sw, 'wan')}"
    seen = Ether(bytes(frames[0]))
    assert (seen[IP].dst, seen[IPerror].src, seen[UDPerror].sport) == ("10.0.0.5", "10.0.0.5", 4000)
    netlab.counters_hold(w.sw)
