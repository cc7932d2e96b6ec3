"""nat_packets.py: packets packed by hand for the property tests of NAT, since scapy is slow; the checksums of every one that leaves are added up, and
those of a sample verified by scapy.

A packet's tuple is (proto, source, source port, destination, destination port). ICMP's proto is that of IPv4 or of IPv6; an echo
request has its identifier as the source port and none of the destination, a reply the other way round. Stands beside nat_model.py,
which says what must become of a packet.
"""
import functools
import socket
import struct
import zlib

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6Unknown, IPv6
from scapy.packet import Raw

from frames import mac_bytes

ICMP_, TCP_, UDP_, GRE, ICMP6 = 1, 6, 17, 47, 58
FIN, SYN, RST, ACK = 1, 2, 4, 16
ECHO = {ICMP_: (8, 0), ICMP6: (128, 129)}
CHECKSUM_AT = {ICMP_: 2, ICMP6: 2, TCP_: 16, UDP_: 6}


def ones(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@functools.cache
def inet(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def swap(t):
    proto, src, sport, dst, dport = t
    return proto, dst, dport, src, sport


def header(proto, src, dst, length, ttl):
    """Of IPv4 or IPv6, for a payload of this length."""
    if ":" in src:
        return struct.pack("!IHBB", 6 << 28, length, proto, ttl) + inet(src) + inet(dst)
    head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 1, 0, ttl, proto, 0, inet(src), inet(dst)))
    struct.pack_into("!H", head, 10, ~ones(bytes(head)) & 0xFFFF)
    return bytes(head)


def summed(proto, src, dst, data):
    """Layer 4 with its checksum, whose place in `data` is zero."""
    pseudo = b"" if proto == ICMP_ else inet(src) + inet(dst) + struct.pack("!HH", proto, len(data))
    check = ~ones(pseudo + data) & 0xFFFF
    data = bytearray(data)
    struct.pack_into("!H", data, CHECKSUM_AT[proto], check or (0xFFFF if proto == UDP_ else 0))
    return bytes(data)


def build(t, flags=ACK, payload=b"payload", ttl=64):
    """A packet. `flags`: of TCP; None: UDP without a checksum."""
    proto, src, sport, dst, dport = t
    if proto in ECHO:
        data = struct.pack("!BBHHH", ECHO[proto][0 if sport else 1], 0, 0, sport or dport, 7) + payload
    elif proto == UDP_:
        data = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    elif proto == TCP_:
        data = struct.pack("!HHIIBBHHH", sport, dport, 1, 2, 0x50, flags, 8192, 0, 0) + payload
    else:
        data = struct.pack("!HH", 0, 0x0800) + payload
    if proto in CHECKSUM_AT and flags is not None:
        data = summed(proto, src, dst, data)
    return header(proto, src, dst, len(data), ttl) + data


def error(src, dst, head, quote, ttl=64):
    """An ICMP error. `head`: type, code, and the second word."""
    proto = ICMP6 if ":" in src else ICMP_
    kind, code, word = head
    data = summed(proto, src, dst, struct.pack("!BBHI", kind, code, 0, word) + quote)
    return header(proto, src, dst, len(data), ttl) + data


def quoted(packet, size, ttl=63):
    """The beginning of a packet as a router quotes it: after a hop."""
    if packet[0] >> 4 == 6:
        return (packet[:7] + bytes([ttl]) + packet[8:])[:size]
    head = bytearray(packet[:20])
    head[8] = ttl
    head[10:12] = b"\0\0"
    struct.pack_into("!H", head, 10, ~ones(bytes(head)) & 0xFFFF)
    return (bytes(head) + packet[20:])[:size]


def cut(packet, size, ident):
    """The fragments of a packet: of `size` bytes of layer 4, a multiple of 8, but for the last."""
    six = packet[0] >> 4 == 6
    head, data = (packet[:40], packet[40:]) if six else (packet[:20], packet[20:])
    parts = []
    for at in range(0, len(data), size):
        part, more = data[at : at + size], at + size < len(data)
        if six:
            extension = struct.pack("!BBHI", packet[6], 0, at | more, ident)
            parts.append(head[:4] + struct.pack("!HB", len(part) + 8, 44) + head[7:] + extension + part)
            continue
        mine = bytearray(head)
        struct.pack_into("!HHH", mine, 2, 20 + len(part), ident & 0xFFFF, at // 8 | more << 13)
        mine[10:12] = b"\0\0"
        struct.pack_into("!H", mine, 10, ~ones(bytes(mine)) & 0xFFFF)
        parts.append(bytes(mine) + part)
    return parts


def is_fragment(packet):
    return packet[6] == 44 if packet[0] >> 4 == 6 else bool(packet[6] & 0x3F or packet[7])


def frame_of(smac, dmac, packet):
    return mac_bytes(dmac) + mac_bytes(smac) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


# ---- what leaves


def _layer4(proto, data):
    """By scapy, to have its checksum reckoned anew. A quote is payload: scapy would write into the lengths of what is cut short."""
    if proto == UDP_ and data[6:8] != b"\0\0":  # without one, it is nothing but bytes
        layer, size = UDP(data[:8]), 8
        del layer.chksum
    elif proto == TCP_:
        size = data[12] >> 4 << 2
        layer = TCP(data[:size])
        del layer.chksum
    elif proto == ICMP_:
        layer, size = ICMP(data[:8]), 8
        del layer.chksum
    elif proto == ICMP6:
        layer, size = ICMPv6Unknown(data[:4]), 4
        del layer.cksum
    else:
        return Raw(data)
    layer.payload = Raw(data[size:])
    return layer


def _rebuilt(packet):
    """The packet as scapy makes it when it reckons all checksums itself. `explicit` spares it copies of all layers."""
    if packet[0] >> 4 == 6:
        ip, size = IPv6(packet[:40]), 40
        proto = ip.nh
        assert proto != UDP_ or packet[46:48] != b"\0\0", "UDP in IPv6 without a checksum"
    else:
        ip, size = IP(packet[:20]), 20
        proto = ip.proto
        del ip.chksum
    layer = _layer4(proto, packet[size:])
    ip.payload, layer.underlayer = layer, ip
    while layer:
        layer.explicit = 1
        layer = layer.payload
    ip.explicit = 1
    return ip.do_build()


def quote_of(packet):
    """What an ICMP error quotes; None: it is none."""
    if packet[0] >> 4 == 6:
        return packet[48:] if packet[6] == ICMP6 and packet[40] < 128 else None
    return packet[28:] if packet[9] == ICMP_ and packet[20] in (3, 11, 12) else None


def _fits(data):
    """RFC 1071: with a checksum that is right, the words add up to 0xffff, which is 0 modulo that."""
    return int.from_bytes(data + b"\0" * (len(data) & 1), "big") % 0xFFFF == 0


def sum_up(packet, what="checksums"):
    """Every checksum of a packet, added up here: of IPv4, of layer 4, and of a packet that is quoted, as far as it is whole."""
    six = packet[0] >> 4 == 6
    size, proto = (40, packet[6]) if six else (20, packet[9])
    assert six or _fits(packet[:20]), f"{what}, of the IP header: {packet[:20].hex(' ')}"
    whole = 40 + int.from_bytes(packet[4:6], "big") if six else int.from_bytes(packet[2:4], "big")
    if is_fragment(packet) or len(packet) != whole:
        return
    data = packet[size:]
    empty = proto == UDP_ and data[6:8] == b"\0\0"
    assert not (six and empty), f"{what}, UDP in IPv6 without one: {packet.hex(' ')}"
    if proto in CHECKSUM_AT and not empty:
        pseudo = b"" if proto == ICMP_ else packet[8 if six else 12 : size] + struct.pack("!HH", proto, len(data))
        assert _fits(pseudo + data), f"{what}, of layer 4: {packet.hex(' ')}"
    quote = quote_of(packet)
    if quote is not None:
        sum_up(quote, f"{what} in the quote")


SAMPLE = 8  # of so many packets scapy reckons the checksums of one


def verify(packet):
    """Every checksum in a packet, by sums of its own; and by scapy, which takes twenty times as long, in each packet of a sample."""
    sum_up(packet)
    if zlib.crc32(packet) % SAMPLE == 0:
        verify_by_scapy(packet)


@functools.cache
def verify_by_scapy(packet):
    """Every checksum in a packet is as scapy reckons it. The same bytes are verified once."""
    if is_fragment(packet):  # what it is a part of is compared whole
        head = IP(packet[:20])
        del head.chksum
        assert packet[0] >> 4 == 6 or bytes(head)[:20] == packet[:20], f"checksum of a fragment's header: {packet[:20].hex(' ')}"
        return
    again = _rebuilt(packet)
    assert again == packet, f"checksums: {packet.hex(' ')}, and by scapy {again.hex(' ')}"
    quote = quote_of(packet)
    if quote is None:
        return
    if quote[0] >> 4 == 6:
        whole = 40 + struct.unpack_from("!H", quote, 4)[0]
    else:
        (whole,) = struct.unpack_from("!H", quote, 2)
        ip = IP(quote[:20])
        del ip.chksum
        assert bytes(ip)[:20] == quote[:20], f"checksum of the quoted IP header: {quote[:20].hex(' ')}"
    if len(quote) == whole:
        again = _rebuilt(quote)
        assert again == quote, f"checksums in the quote: {quote.hex(' ')}, and by scapy {again.hex(' ')}"


def ends(packet):
    """(source, destination) of a packet, as texts."""
    if packet[0] >> 4 == 6:
        return socket.inet_ntop(socket.AF_INET6, packet[8:24]), socket.inet_ntop(socket.AF_INET6, packet[24:40])
    return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])


class Left:
    """A frame that left, verified. `t`: its tuple; None: an ICMP error, or a fragment."""

    def __init__(self, frame):
        self.dmac = frame[:6]
        self.packet = p = frame[18 if frame[12:14] == b"\x81\x00" else 14 :]
        verify(p)
        self.src, self.dst = ends(p)
        self.t = self.quote = None
        if is_fragment(p):
            return
        self.quote = quote_of(p)
        off, proto = (40, p[6]) if p[0] >> 4 == 6 else (20, p[9])
        sport = dport = 0
        if proto in (TCP_, UDP_):
            sport, dport = struct.unpack_from("!HH", p, off)
        elif proto in ECHO and self.quote is None:
            (ident,) = struct.unpack_from("!H", p, off + 4)
            sport, dport = (ident, 0) if p[off] == ECHO[proto][0] else (0, ident)
        self.t = (proto, self.src, sport, self.dst, dport) if self.quote is None else None
