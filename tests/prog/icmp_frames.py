"""icmp_frames.py: what an ICMP error that the switch sends must be (RFC 792, RFC 1812 4.3.2, RFC 4443 2.4).

Some of its header is the router's to choose (TTL, identification), so an expectation here is a function that says what is wrong.
"""
import struct

from scapy.layers.inet import IP, checksum
from scapy.layers.inet6 import IPv6, in6_chksum

from frames import mac_bytes, octets

QUOTE4_MAX, QUOTE6_MAX = 576 - 28, 1280 - 48


def _layer2(frame, src, dst, ethertype, tag):
    want = mac_bytes(dst) + mac_bytes(src) + tag + struct.pack("!H", ethertype)
    return None if frame[: len(want)] == want else f"layer 2 is {frame[:len(want)].hex(' ')}, expected {want.hex(' ')}"


def _message(message, kind, code, info, quoted, limit):
    want = struct.pack("!BB", kind, code)
    if message[:2] != want:
        return f"ICMP type and code are {message[:2].hex()}, expected {want.hex()}"
    if message[4:8] != struct.pack("!I", info):
        return f"the second word is {message[4:8].hex()}, expected {info:08x}"
    quote = message[8:]
    if quote != quoted[: len(quote)]:
        return f"the quote is not the packet as it came in: {quote.hex(' ')}"
    return None if len(quote) == min(len(quoted), limit) else f"{len(quote)} bytes are quoted, expected {min(len(quoted), limit)}"


def _quoted4(frame, tag):
    packet = octets(frame)[14 + len(tag) :]
    return packet[: struct.unpack_from("!H", packet, 2)[0]]


def _quoted6(frame, tag):
    packet = octets(frame)[14 + len(tag) :]
    return packet[: 40 + struct.unpack_from("!H", packet, 4)[0]]


def error4(to, kind, code, about, info=0, tag=b"", dst=None):
    """An ICMP error to station `to` about the frame it sent; `tag`: of both frames, behind the MACs.
    `dst`: the source of the frame, where it only came by that station."""

    def wrong(frame):
        words = _layer2(frame, to.gateway.mac, to.mac, 0x0800, tag)
        packet = frame[14 + len(tag) :]
        ip = IP(packet)
        if words:
            return words
        if (ip.src, ip.dst, ip.proto, ip.version, ip.ihl, ip.frag, int(ip.flags)) != (
            to.gateway.ip4,
            dst or to.ip4,
            1,
            4,
            5,
            0,
            0,
        ):
            return "the IP header is not from the ingress interface's address to the sender's"
        if ip.len != len(packet) or checksum(packet[:20]) or ip.ttl < 32 or ip.tos != 0xC0:
            return f"total length {ip.len}, TTL {ip.ttl}, TOS {ip.tos:#x} or the header checksum is wrong"
        if checksum(packet[20:]):
            return "the ICMP checksum is wrong"
        return _message(packet[20:], kind, code, info, _quoted4(about, tag), QUOTE4_MAX)

    return wrong


def error6(to, kind, code, about, info=0, tag=b"", dst=None):
    """The same for ICMPv6."""

    def wrong(frame):
        words = _layer2(frame, to.gateway.mac, to.mac, 0x86DD, tag)
        packet = frame[14 + len(tag) :]
        ip = IPv6(packet)
        if words:
            return words
        if (ip.src, ip.dst, ip.nh, ip.version) != (to.gateway.ip6, dst or to.ip6, 58, 6):
            return "the IPv6 header is not from the ingress interface's address to the sender's"
        if ip.plen != len(packet) - 40 or ip.hlim < 32:
            return f"payload length {ip.plen} or hop limit {ip.hlim} is wrong"
        if in6_chksum(58, IPv6(src=ip.src, dst=ip.dst), packet[40:]):
            return "the ICMPv6 checksum is wrong"
        return _message(packet[40:], kind, code, info, _quoted6(about, tag), QUOTE6_MAX)

    return wrong
