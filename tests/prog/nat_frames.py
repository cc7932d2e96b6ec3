"""nat_frames.py: what the rows of NAT share: addresses, and packets as they are on either side of it.

Expected packets are built anew by scapy with all their checksums, so an incremental update that errs shows. Inside is VLAN 20:
by `wan` it is translated to a pool's address, by `wan2` to the port's own.
"""
import struct

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from frames import D, PAYLOAD, W1, WAN, from_to, from_to6, octets, tcp, udp
from harness import Forward, Row

POOL, POOL6, TINY = "198.18.0.1", "2001:db8:5a::1", "198.18.7.1"
WHOLE, WHOLE6 = "198.18.9.9", "2001:db8:5a::9"
ONE, ONE6 = "198.18.5.13", "2001:db8:5b::d"  # of T30, by a 1:1 rule
EVERY, WIDE = "198.18.9.8", "198.18.9.7"  # ports 1-65535, and 1000-65533 to the ports from 1002 on
WEB_B, WHOLE_B, WHOLE6_B = "198.18.9.6", "198.18.9.10", "2001:db8:5a::a"  # the same hosts once more
FAR, FAR6 = "10.99.1.1", "2001:db8:99::1"  # by wan
OTHER, OTHER6 = "10.98.1.1", "2001:db8:98::1"  # by wan2
ROUTER, ROUTER6 = "10.99.5.5", "2001:db8:99::5"


def out4(to, src, dst, layer4, ttl=63, **ip):
    """The frame that leaves to a station, from and to these addresses."""
    return octets(Ether(src=to.gateway.mac, dst=to.mac) / IP(src=src, dst=dst, ttl=ttl, **ip) / layer4)


def out6(to, src, dst, layer4, hlim=63, **ip):
    return octets(Ether(src=to.gateway.mac, dst=to.mac) / IPv6(src=src, dst=dst, hlim=hlim, **ip) / layer4)


def in4(station, src, dst, layer4, ttl=64, **ip):
    """A frame from the far side of a station, by it, to the switch."""
    return octets(Ether(src=station.mac, dst=station.gateway.mac) / IP(src=src, dst=dst, ttl=ttl, **ip) / layer4)


def in6(station, src, dst, layer4, hlim=64, **ip):
    return octets(Ether(src=station.mac, dst=station.gateway.mac) / IPv6(src=src, dst=dst, hlim=hlim, **ip) / layer4)


def with_udp_checksum_zero(build):
    """A payload with which the frame build(payload) has a UDP checksum that computes to 0, and so is sent as 0xffff."""
    checksum = build(b"\0\0" + PAYLOAD)[UDP].chksum
    payload = struct.pack("!H", checksum) + PAYLOAD
    assert build(payload)[UDP].chksum == 0xFFFF
    return payload


def built(frame):
    return Ether(octets(frame))


def from_inside(*layers, dst=FAR):
    return [("acc20", octets(from_to(D, dst, layer))) for layer in layers]


ZERO_IN = with_udp_checksum_zero(lambda p: built(from_to(D, FAR, udp(payload=p))))
ZERO_OUT = with_udp_checksum_zero(lambda p: built(out4(W1, POOL, FAR, udp(payload=p))))
ZERO_IN6 = with_udp_checksum_zero(lambda p: built(from_to6(D, FAR6, udp(payload=p))))
ZERO_OUT6 = with_udp_checksum_zero(lambda p: built(out6(W1, POOL6, FAR6, udp(payload=p))))
ZERO_BACK = with_udp_checksum_zero(lambda p: built(out4(D, FAR, D.ip4, udp(5000, 4000, p))))
UDP6_OUT = octets(from_to6(D, FAR6, udp()))
OPENED = [("wan", in4(W1, FAR, WAN.ip4, tcp(4000, 8080)))]


def snat(name, layer4, before=()):
    """From D by wan: the pool's address, the port as it was."""
    return Row(name, "acc20", octets(from_to(D, FAR, layer4)), Forward("wan", out4(W1, POOL, FAR, layer4)), before=list(before))


def snat6(name, layer4, before=()):
    return Row(
        name, "acc20", octets(from_to6(D, FAR6, layer4)), Forward("wan", out6(W1, POOL6, FAR6, layer4)), before=list(before)
    )


def reply(name, sent, answer):
    """The answer to what D has sent by wan."""
    return Row(
        name,
        "wan",
        in4(W1, FAR, POOL, answer),
        Forward("acc20", out4(D, FAR, D.ip4, answer)),
        before=[("acc20", octets(from_to(D, FAR, sent)))],
    )


def reply6(name, sent, answer):
    return Row(
        name,
        "wan",
        in6(W1, FAR6, POOL6, answer),
        Forward("acc20", out6(D, FAR6, D.ip6, answer)),
        before=[("acc20", octets(from_to6(D, FAR6, sent)))],
    )
