"""frames.py: the stations around the switch, and how frames are made: by scapy, or byte by byte.

Stands between the topology (topo.py: the same names and addresses in the configuration) and the rows. What a frame must look
like behind the switch is computed here anew from whole frames, never by deltas, so it shares no idea with the code under test.
"""
import struct
from dataclasses import dataclass

from scapy.config import conf
from scapy.layers.inet import ICMP, IP, TCP, UDP, checksum
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import hexdump

conf.verb = 0

DOT1Q, DOT1AD = 0x8100, 0x88A8
BROADCAST = "ff:ff:ff:ff:ff:ff"
PAYLOAD = bytes(range(64))


@dataclass(frozen=True)
class Gateway:
    """An interface of the switch."""

    name: str
    mac: str
    ip4: str
    ip6: str


@dataclass(frozen=True)
class Station:
    """A host behind a port. `gateway`: the interface of its VLAN or port."""

    port: str
    mac: str
    ip4: str
    ip6: str
    gateway: Gateway


GW10 = Gateway("vlan10", "02:10:00:00:00:01", "10.0.10.1", "2001:db8:10::1")
GW20 = Gateway("vlan20", "02:20:00:00:00:01", "10.0.20.1", "2001:db8:20::1")
GW30 = Gateway("vlan30", "02:30:00:00:00:01", "10.0.30.1", "2001:db8:30::1")
WAN = Gateway("wan", "02:ee:00:00:00:01", "192.0.2.1", "2001:db8:e1::1")
WAN2 = Gateway("wan2", "02:ee:00:00:00:02", "198.51.100.1", "2001:db8:e2::1")
WAN3 = Gateway("wan3", "02:ee:00:00:00:03", "203.0.113.1", "2001:db8:e3::1")

A = Station("acc10", "02:10:00:00:00:0a", "10.0.10.10", "2001:db8:10::a", GW10)
B = Station("acc10b", "02:10:00:00:00:0b", "10.0.10.11", "2001:db8:10::b", GW10)
C = Station("acc10t", "02:10:00:00:00:0c", "10.0.10.12", "2001:db8:10::c", GW10)  # behind a port without native XDP
T10 = Station("trk", "02:10:00:00:00:0d", "10.0.10.13", "2001:db8:10::d", GW10)
S10 = Station("sp", "02:10:00:00:00:0e", "10.0.10.14", "2001:db8:10::e", GW10)  # behind an 802.1ad trunk
U10 = Station("trk2", "02:10:00:00:00:0f", "10.0.10.15", "2001:db8:10::f", GW10)
D = Station("acc20", "02:20:00:00:00:0a", "10.0.20.10", "2001:db8:20::a", GW20)
T20 = Station("trk", "02:20:00:00:00:0d", "10.0.20.13", "2001:db8:20::d", GW20)
T30 = Station("trk", "02:30:00:00:00:0d", "10.0.30.13", "2001:db8:30::d", GW30)  # native VLAN of the trunk
U30 = Station("trk2", "02:30:00:00:00:0f", "10.0.30.15", "2001:db8:30::f", GW30)
W1 = Station("wan", "02:ee:00:00:00:f1", "192.0.2.254", "2001:db8:e1::fe", WAN)
W2 = Station("wan2", "02:ee:00:00:00:f2", "198.51.100.254", "2001:db8:e2::fe", WAN2)
W3 = Station("wan3", "02:ee:00:00:00:f3", "203.0.113.254", "2001:db8:e3::fe", WAN3)

# Another address of A, to which no rule leads; only ever a sender.
E = Station("acc10", A.mac, "10.0.10.99", "2001:db8:10::99", GW10)

STATIONS = [A, B, C, T10, S10, U10, D, T20, T30, U30, W1, W2, W3]
GATEWAYS = [GW10, GW20, GW30, WAN, WAN2, WAN3]


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def octets(frame):
    """A frame as bytes, built by scapy where it is one of its packets."""
    return bytes(frame) if isinstance(frame, Packet) else frame


def eth(src, dst, ethertype, payload=b""):
    """An Ethernet frame. src, dst: MAC texts."""
    return mac_bytes(dst) + mac_bytes(src) + struct.pack("!H", ethertype) + octets(payload)


def tagged(frame, *tags):
    """The frame with tags put in, the outer one first: each a TCI, or a pair (TCI, TPID)."""
    frame = octets(frame)
    wire = b""
    for tag in tags:
        tci, tpid = tag if isinstance(tag, tuple) else (tag, DOT1Q)
        wire += struct.pack("!HH", tpid, tci)
    return frame[:12] + wire + frame[12:]


def pcp(vlan, priority, dei=0):
    """A TCI."""
    return priority << 13 | dei << 12 | vlan


def patch(frame, offset, new):
    """The frame with the bytes at an offset replaced."""
    frame = octets(frame)
    return frame[:offset] + new + frame[offset + len(new) :]


def fix_ip4(frame, offset=14):
    """The frame with its IPv4 header checksum computed anew."""
    frame = octets(frame)
    length = (frame[offset] & 15) * 4
    bare = patch(frame, offset + 10, b"\0\0")
    return patch(bare, offset + 10, struct.pack("!H", checksum(bare[offset : offset + length])))


def from_to(src, dst, layer4, ttl=64, **ip):
    """An IPv4 frame from a station to the address of another, by its gateway; dst: Station or address text."""
    target = dst if isinstance(dst, str) else dst.ip4
    return Ether(src=src.mac, dst=src.gateway.mac) / IP(src=src.ip4, dst=target, ttl=ttl, **ip) / layer4


def from_to6(src, dst, layer4, hlim=64, **ip):
    """The same for IPv6."""
    target = dst if isinstance(dst, str) else dst.ip6
    return Ether(src=src.mac, dst=src.gateway.mac) / IPv6(src=src.ip6, dst=target, hlim=hlim, **ip) / layer4


def udp(sport=4000, dport=5000, payload=PAYLOAD, **fields):
    return UDP(sport=sport, dport=dport, **fields) / Raw(payload)


def tcp(sport=4000, dport=5000, flags="S", payload=b"", **fields):
    layer = TCP(sport=sport, dport=dport, flags=flags, seq=0x01020304, **fields)
    return layer / Raw(payload) if payload else layer


def in_vxlan(size, sport=4000):
    """`size` bytes of TCP's payload inside of a tunnel: 90 bytes of headers in layer 3 of each segment."""
    inner = Ether(src="02:00:00:00:00:71", dst="02:00:00:00:00:72") / IP(src="10.7.0.1", dst="10.7.0.2", flags="DF")
    return UDP(sport=sport, dport=4789, chksum=0) / VXLAN(vni=9, flags=8) / inner / tcp(flags="A", payload=bytes(size))


def echo(ident=77, seq=1, payload=PAYLOAD):
    return ICMP(type=8, id=ident, seq=seq) / Raw(payload)


def echo_reply(ident=77, seq=1, payload=PAYLOAD):
    return ICMP(type=0, id=ident, seq=seq) / Raw(payload)


def echo6(ident=77, seq=1, payload=PAYLOAD):
    return ICMPv6EchoRequest(id=ident, seq=seq, data=payload)


def echo6_reply(ident=77, seq=1, payload=PAYLOAD):
    return ICMPv6EchoReply(id=ident, seq=seq, data=payload)


def routed(frame, out, offset=14):
    """The frame as a router must send it to station `out`: MACs set, TTL or hop limit one less, IPv4 checksum computed anew,
    everything else untouched. `offset`: of the IP header; tags before it are taken off."""
    frame = octets(frame)
    ip = frame[offset:]
    head = mac_bytes(out.mac) + mac_bytes(out.gateway.mac) + frame[offset - 2 : offset]
    if ip[0] >> 4 == 4:
        return fix_ip4(head + patch(ip, 8, bytes([ip[8] - 1])))
    return head + patch(ip, 7, bytes([ip[7] - 1]))


def dump(frame):
    """Hex and what scapy makes of it."""
    try:
        words = Ether(frame).summary()
    except Exception as e:  # a broken frame may break scapy's dissection as well
        words = f"({e})"
    return f"{len(frame)} bytes: {words}\n{hexdump(frame, dump=True)}"


def difference(expected, got):
    """Both frames as hex, with a mark under what differs."""
    lines = [f"expected {len(expected)} bytes, got {len(got)}"]
    for at in range(0, max(len(expected), len(got)), 16):
        want, have = expected[at : at + 16], got[at : at + 16]
        lines.append(f"  {at:04x}  want {want.hex(' ')}")
        if want != have:
            lines.append(f"	have {have.hex(' ')}")
            marks = "".join("^^ " if want[i : i + 1] != have[i : i + 1] else "   " for i in range(16))
            lines.append(f"	     {marks.rstrip()}")
    return "\n".join(lines)
