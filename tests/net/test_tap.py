"""Taps: frames that arrive in pieces, as from a network card that leaves data outside the linear part of an skb; and those of a VM
with TSO, whose segments the stack has not counted."""
import fcntl
import os
import struct

import pytest
from scapy.all import Ether, ICMP, IP, IPv6, Raw, TCP, UDP
from scapy.layers.inet import IPerror, UDPerror

import netlab

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_NAPI, IFF_NAPI_FRAGS, IFF_VNET_HDR = 0x400454CA, 0x2, 0x1000, 0x10, 0x20, 0x4000
VIRTIO_NEEDS_CSUM, VIRTIO_GSO_TCPV4, VIRTIO_GSO_TCPV6 = 1, 1, 4
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


# ---- a VM with TSO

VM_MAC, VM4, VM6 = "02:00:00:00:00:09", "10.0.10.9", "2001:db8:10::9"
VM_CONFIG = """ports:
  vm: {mode: access, vlan: 10}
  h1: {mode: access, vlan: 10}
  h2: {mode: access, vlan: 20}
interfaces:
  vlan10: {vlan: 10, addresses: [10.0.10.1/24, "2001:db8:10::1/64"]}
  vlan20: {vlan: 20, addresses: [10.0.20.1/24, "2001:db8:20::1/64"]}
routes:
  - {to: 10.77.0.0/24, via: 10.0.20.77, mtu: 1400}
neighbors:
  - {address: 10.0.20.77, mac: "02:00:00:00:00:12", interface: vlan20}
fdb:
  - {mac: "02:00:00:00:00:12", vlan: 20, port: h2}
"""


@pytest.fixture
def vm(world):
    """A tap with virtio-net headers, as vhost and qemu use it; the hosts' ports send every segment by itself, as a wire would."""
    sw = world.ns("sw")
    world.host("h1", sw, "h1", addrs=["10.0.10.11/24", "2001:db8:10::11/64"], gw=["10.0.10.1"])
    world.host("h2", sw, "h2", addrs=["10.0.20.12/24", "2001:db8:20::12/64"], gw=["10.0.20.1"])
    with sw.entered():
        world.tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(world.tap, TUNSETIFF, struct.pack("16sH22x", b"vm", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    try:
        sw.run("ip link set vm up")
        world.gw = world.start_switch(sw, VM_CONFIG)
        world.gw.attached("vm", "h1", "h2")
        sw.as_a_wire("h1", lambda: world.h2.ping("10.0.10.11", count=1))
        sw.as_a_wire("h2", lambda: world.h1.ping("10.0.20.12", count=1))
        for ns, target in ((world.h2, "10.0.20.1"), (world.h2, "2001:db8:20::1"), (world.h1, "10.0.10.1")):
            assert ns.ping(target) == (3, 3)
        yield world
    finally:
        os.close(world.tap)


def gso_frame(dmac, dst, payload, size, df=True):
    """What qemu writes: a virtio-net header, and one frame of many segments whose checksum is the device's to finish."""
    v6 = ":" in dst
    head = 74 if v6 else 54
    ip = IPv6(src=VM6, dst=dst) if v6 else IP(src=VM4, dst=dst, id=500, flags="DF" if df else 0)
    frame = Ether(src=VM_MAC, dst=dmac) / ip / TCP(sport=1000, dport=2000, flags="A", seq=1, ack=1) / Raw(payload)
    kind = VIRTIO_GSO_TCPV6 if v6 else VIRTIO_GSO_TCPV4
    return struct.pack("<BBHHHH", VIRTIO_NEEDS_CSUM, kind, head, size, head - 20, 16) + bytes(frame)


def counted(vm):
    return next(p for p in vm.gw.json("counters show")["ports"] if p["name"] == "vm")


@pytest.mark.parametrize("to, at, sizes, df", [
    ("10.0.10.11", "h1", [1400, 1400, 1200], True),
    ("2001:db8:10::11", "h1", [1400, 1400, 1200], True),
    ("10.0.20.12", "h2", [1400, 1400, 1200], True),
    ("2001:db8:20::12", "h2", [1400, 1400, 1200], True),
    ("10.77.0.1", "h2", [1360, 1360, 1280], False),
], ids=["switched v4", "switched v6", "routed v4", "routed v6", "routed, a smaller MTU without DF"])
def test_segments_of_a_vm(vm, to, at, sizes, df):
    host, payload = getattr(vm, at), bytes(i * 7 & 255 for i in range(4000))
    gateway = vm.sw.mac("vlan10") if at == "h2" else host.mac("eth0")
    before = counted(vm)
    with host.sniff("eth0") as s:
        os.write(vm.tap, gso_frame(gateway, to, payload, 1400, df))
        seen = [Ether(bytes(f)) for f in s.frames(0.5) if f[12:14] in (b"\x08\x00", b"\x86\xdd")]
    segments = [f for f in seen if TCP in f and f[TCP].dport == 2000]
    assert [len(f[TCP].payload) for f in segments] == sizes, netlab.drops(vm.gw, "vm")
    assert b"".join(bytes(f[TCP].payload) for f in segments) == payload
    assert [f[TCP].seq for f in segments] == [1 + sum(sizes[:i]) for i in range(3)]
    if ":" not in to:
        assert [f[IP].id for f in segments] == [500, 501, 502], "each segment is a packet with an identification of its own"
    after = counted(vm)
    assert (after["rx_packets"] - before["rx_packets"], after["forwarded"] - before["forwarded"]) == (3, 3)
    netlab.counters_hold(vm.gw)
