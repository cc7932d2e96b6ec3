"""Parsing: what is malformed is dropped with its reason when it is to be routed, and nothing well-formed is.

All of these are addressed to the gateway's MAC. test_l2.py has the same frames switched. Frames whose IP header is cut come in by
a trunk: the kernel's test run refuses a skb that says IPv4 and holds less than its header. A frame below 14 bytes it refuses
at both hooks, so parse_eth_short has no row.
"""
import struct

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from frames import (
    A,
    D,
    E,
    GW10,
    PAYLOAD,
    T10,
    W1,
    echo,
    echo6,
    eth,
    fix_ip4,
    from_to,
    from_to6,
    octets,
    patch,
    routed,
    tagged,
    tcp,
    udp,
)
from harness import Drop, Forward, Host, Row, check

UDP4, TCP4, ECHO4 = octets(from_to(A, D, udp())), octets(from_to(A, D, tcp())), octets(from_to(A, D, echo()))
UDP6, TCP6, ECHO6 = octets(from_to6(A, D, udp())), octets(from_to6(A, D, tcp())), octets(from_to6(A, D, echo6()))
IP4, IP6 = 14, 14  # offsets in an untagged frame
L4_4, L4_6 = 34, 54


def dropped(name, frame, reason):
    return Row(name, "acc10", frame, Drop(reason))


def goes(name, frame):
    return Row(name, "acc10", frame, Forward("acc20", routed(frame, D)))


def cut(name, frame, length, reason):
    """The frame from the trunk's side, its IP packet cut to `length` bytes."""
    frame = octets(frame)[: 14 + length]
    return Row(
        name,
        "trk",
        tagged(Ether(src=T10.mac, dst=GW10.mac, type=int.from_bytes(frame[12:14], "big")) / Raw(frame[14:]), 10),
        Drop(reason),
    )


def short_ip4(frame, total):
    """Total length `total`, the frame cut there."""
    return fix_ip4(patch(octets(frame), IP4 + 2, struct.pack("!H", total))[: 14 + total])


def short_ip6(frame, payload):
    return patch(octets(frame), IP6 + 4, struct.pack("!H", payload))[: 54 + payload]


def fragment4(layer4, offset, more, proto=17, **fields):
    return octets(from_to(E, D, Raw(layer4), proto=proto, frag=offset, flags="MF" if more else 0, id=0x1234, **fields))


def ext6(*headers, layer4=None):
    """An IPv6 frame with extension headers before UDP."""
    packet = IPv6(src=E.ip6, dst=D.ip6, hlim=64)
    for header in headers:
        packet = packet / header
    return octets(Ether(src=E.mac, dst=GW10.mac) / packet / (layer4 or udp()))


def fragment6(data, offset, more, nh=17):
    return ext6(IPv6ExtHdrFragment(offset=offset, m=more, nh=nh, id=99), layer4=Raw(data))


UDP_BYTES = octets(UDP(sport=4000, dport=5000, len=1008, chksum=0x1111) / Raw(bytes(1000)))
TCP_BYTES = octets(TCP(sport=4000, dport=5000, flags="S", chksum=0x2222) / Raw(bytes(100)))
HOP, DST = IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()
ROUTING = IPv6ExtHdrRouting(type=4, segleft=0, addresses=[D.ip6])
OPTIONS4 = [b"\x01\x01\x01\x00", b"\x07\x27\x04" + bytes(37), b"\x94\x04\0\0"]  # NOP..EOL, record route, router alert

ROWS = [
    goes("IPv4 UDP", UDP4),
    goes("IPv4 TCP", TCP4),
    goes("IPv4 echo", ECHO4),
    goes("IPv4 of an unknown protocol", octets(from_to(A, D, Raw(PAYLOAD), proto=253))),
    goes("IPv4 with nothing behind the header", octets(from_to(A, D, Raw(b""), proto=253))),
    goes("IPv4 with padding behind the packet", octets(from_to(A, D, udp(payload=b"x"))) + bytes(17)),
    *[
        goes(
            f"IPv4 with {len(o)} bytes of options {o[:1].hex()}",
            fix_ip4(patch(octets(from_to(A, D, Raw(o + octets(udp())), proto=17)), IP4, bytes([0x45 + len(o) // 4]))),
        )
        for o in OPTIONS4
    ],
    dropped("IPv4 version 5", fix_ip4(patch(UDP4, IP4, b"\x55")), "parse_ip4_version"),
    dropped("IPv4 version 6 under the IPv4 ethertype", patch(UDP4, IP4, b"\x65"), "parse_ip4_version"),
    dropped("IPv4 version 0", patch(UDP4, IP4, b"\x05"), "parse_ip4_version"),
    dropped("IPv4 IHL 4", patch(UDP4, IP4, b"\x44"), "parse_ip4_ihl"),
    dropped("IPv4 IHL 0", patch(UDP4, IP4, b"\x40"), "parse_ip4_ihl"),
    dropped("IPv4 IHL beyond total length", patch(short_ip4(UDP4, 28), IP4, b"\x4f"), "parse_ip4_length"),
    dropped("IPv4 total length 0", fix_ip4(patch(UDP4, IP4 + 2, b"\0\0")), "parse_ip4_length"),
    dropped("IPv4 total length 19", fix_ip4(patch(UDP4, IP4 + 2, b"\0\x13")), "parse_ip4_length"),
    dropped(
        "IPv4 total length one beyond the frame",
        fix_ip4(patch(UDP4, IP4 + 2, struct.pack("!H", len(UDP4) - 13))),
        "parse_ip4_length",
    ),
    dropped("IPv4 total length 65535", fix_ip4(patch(UDP4, IP4 + 2, b"\xff\xff")), "parse_ip4_length"),
    dropped("IPv4 checksum wrong", patch(UDP4, IP4 + 10, b"\xde\xad"), "parse_ip4_checksum"),
    dropped("IPv4 checksum 0 and wrong", patch(UDP4, IP4 + 10, b"\0\0"), "parse_ip4_checksum"),
    dropped(
        "IPv4 checksum wrong by one bit of an address", patch(UDP4, IP4 + 19, bytes([UDP4[IP4 + 19] ^ 1])), "parse_ip4_checksum"
    ),
    dropped(
        "IPv4 options not in the checksum",
        patch(fix_ip4(patch(octets(from_to(A, D, Raw(OPTIONS4[2] + octets(udp())), proto=17)), IP4, b"\x46")), IP4 + 20, b"\x95"),
        "parse_ip4_checksum",
    ),
    cut("IPv4 header absent", UDP4, 0, "parse_ip4_short"),
    cut("IPv4 header cut behind its first byte", UDP4, 1, "parse_ip4_short"),
    cut("IPv4 header cut before its last byte", UDP4, 19, "parse_ip4_short"),
    cut("IPv4 frame ends before the total length", UDP4, 40, "parse_ip4_length"),
    goes("IPv4 first fragment", fragment4(UDP_BYTES[:512], 0, True)),
    goes("IPv4 middle fragment", fragment4(UDP_BYTES[512:768], 64, True)),
    goes("IPv4 last fragment", fragment4(UDP_BYTES[768:1005], 96, False)),
    goes("IPv4 last fragment of one byte", fragment4(b"x", 96, False)),
    goes("IPv4 TCP first fragment with whole header", fragment4(TCP_BYTES[:40], 0, True, proto=6)),
    goes("IPv4 TCP fragment at offset 16", fragment4(TCP_BYTES[16:40], 2, False, proto=6)),
    goes("IPv4 UDP fragment at offset 8", fragment4(UDP_BYTES[8:40], 1, False)),
    dropped("IPv4 TCP fragment at offset 8 (RFC 1858)", fragment4(TCP_BYTES[8:40], 1, False, proto=6), "parse_ip4_fragment"),
    dropped("IPv4 TCP fragment at offset 8, more to come", fragment4(TCP_BYTES[8:40], 1, True, proto=6), "parse_ip4_fragment"),
    dropped("IPv4 TCP tiny first fragment (RFC 1858)", fragment4(TCP_BYTES[:16], 0, True, proto=6), "parse_l4_short"),
    dropped("IPv4 UDP tiny first fragment", fragment4(UDP_BYTES[:0], 0, True), "parse_l4_short"),
    dropped("IPv4 ping of death", fragment4(bytes(24), 8191, False, proto=1), "parse_ip4_fragment"),
    goes("IPv4 fragment that ends at 65535", fragment4(bytes(7), 8191, False, proto=1)),
    dropped("IPv4 middle fragment of odd length", fragment4(bytes(25), 64, True), "parse_ip4_fragment"),
    goes("IPv4 first fragment's UDP length is the whole datagram's", fragment4(UDP_BYTES[:64], 0, True)),
    dropped("TCP header cut", short_ip4(TCP4, 39), "parse_l4_short"),
    dropped("TCP header absent", short_ip4(TCP4, 20), "parse_l4_short"),
    dropped("TCP data offset 4", patch(TCP4, L4_4 + 12, b"\x40"), "parse_tcp_offset"),
    dropped("TCP data offset 0", patch(TCP4, L4_4 + 12, b"\x00"), "parse_tcp_offset"),
    dropped("TCP data offset beyond the packet", patch(TCP4, L4_4 + 12, b"\x60"), "parse_tcp_offset"),
    dropped("TCP data offset into the padding", patch(TCP4, L4_4 + 12, b"\x60") + bytes(10), "parse_tcp_offset"),
    goes("TCP with options", octets(from_to(A, D, tcp(options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)])))),
    goes("TCP with 40 bytes of options", octets(from_to(A, D, tcp(options=[("NOP", None)] * 40)))),
    dropped("UDP header cut", short_ip4(UDP4, 27), "parse_l4_short"),
    dropped("UDP length 7", patch(UDP4, L4_4 + 4, b"\0\x07"), "parse_udp_length"),
    dropped("UDP length 0", patch(UDP4, L4_4 + 4, b"\0\0"), "parse_udp_length"),
    dropped(
        "UDP length one beyond the packet", patch(UDP4, L4_4 + 4, struct.pack("!H", 8 + len(PAYLOAD) + 1)), "parse_udp_length"
    ),
    goes("UDP length below the packet's", patch(UDP4, L4_4 + 4, struct.pack("!H", 8 + len(PAYLOAD) - 4))),
    goes("UDP of 8 bytes", octets(from_to(A, D, udp(payload=b"")))),
    goes("UDP with a wrong checksum is the receiver's affair", patch(UDP4, L4_4 + 6, b"\xbe\xef")),
    dropped("ICMP header cut", short_ip4(ECHO4, 27), "parse_l4_short"),
    dropped("ICMP header absent", short_ip4(ECHO4, 20), "parse_l4_short"),
    goes("ICMP of 8 bytes", octets(from_to(A, D, echo(payload=b"")))),
    goes("ICMP of an unknown type", patch(ECHO4, L4_4, b"\xfd")),
    goes("IPv6 UDP", UDP6),
    goes("IPv6 TCP", TCP6),
    goes("IPv6 echo", ECHO6),
    goes("IPv6 no next header", octets(from_to6(A, D, Raw(b""), nh=59))),
    goes("IPv6 of an unknown protocol", octets(from_to6(A, D, Raw(PAYLOAD), nh=253))),
    goes("IPv6 with padding behind the packet", UDP6 + bytes(9)),
    dropped("IPv6 version 4 under the IPv6 ethertype", patch(UDP6, IP6, b"\x40"), "parse_ip6_version"),
    dropped("IPv6 version 0", patch(UDP6, IP6, b"\x00"), "parse_ip6_version"),
    dropped(
        "IPv6 payload length one beyond the frame", patch(UDP6, IP6 + 4, struct.pack("!H", len(UDP6) - 53)), "parse_ip6_length"
    ),
    dropped("IPv6 payload length 65535", patch(UDP6, IP6 + 4, b"\xff\xff"), "parse_ip6_length"),
    cut("IPv6 header absent", UDP6, 0, "parse_ip6_short"),
    cut("IPv6 header cut before its last byte", UDP6, 39, "parse_ip6_short"),
    goes("IPv6 hop-by-hop", ext6(HOP)),
    goes("IPv6 routing header", ext6(ROUTING)),
    goes("IPv6 destination options", ext6(DST)),
    goes("IPv6 hop-by-hop, routing, destination options", ext6(HOP, ROUTING, DST)),
    goes("IPv6 destination options of 64 bytes", ext6(IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(60))]))),
    goes("IPv6 eight extension headers", ext6(*[DST] * 8)),
    dropped("IPv6 nine extension headers", ext6(*[DST] * 9), "parse_ip6_ext_chain"),
    dropped("IPv6 twelve extension headers", ext6(HOP, *[DST] * 11), "parse_ip6_ext_chain"),
    dropped("IPv6 extension header longer than the packet", patch(ext6(HOP), L4_6 + 1, b"\xff"), "parse_ip6_ext_short"),
    dropped("IPv6 extension header announced and absent", octets(from_to6(A, D, Raw(b""), nh=0)), "parse_ip6_ext_short"),
    dropped("IPv6 extension header cut", short_ip6(ext6(HOP), 4), "parse_ip6_ext_short"),
    dropped("IPv6 second extension header absent", short_ip6(ext6(HOP, DST), 8), "parse_ip6_ext_short"),
    dropped(
        "IPv6 jumbogram: payload length 0",
        patch(ext6(IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])), IP6 + 4, b"\0\0"),
        "parse_ip6_ext_short",
    ),
    dropped("IPv6 payload length 0 before UDP", patch(UDP6, IP6 + 4, b"\0\0"), "parse_l4_short"),
    goes("IPv6 first fragment", fragment6(UDP_BYTES[:512], 0, 1)),
    goes("IPv6 middle fragment", fragment6(UDP_BYTES[512:768], 64, 1)),
    goes("IPv6 last fragment", fragment6(UDP_BYTES[768:1005], 96, 0)),
    goes("IPv6 atomic fragment (RFC 6946)", ext6(IPv6ExtHdrFragment(id=7))),
    goes("IPv6 later fragment whose data looks like an extension header", fragment6(bytes(64), 64, 0, nh=60)),
    dropped("IPv6 fragment header cut", short_ip6(fragment6(UDP_BYTES[:64], 0, 1), 4), "parse_ip6_ext_short"),
    dropped("IPv6 middle fragment of odd length", fragment6(bytes(25), 64, 1), "parse_ip6_fragment"),
    dropped("IPv6 fragment beyond 65535", fragment6(bytes(24), 8191, 0), "parse_ip6_fragment"),
    dropped("IPv6 TCP fragment at offset 8", fragment6(bytes(24), 1, 0, nh=6), "parse_ip6_fragment"),
    dropped("IPv6 TCP tiny first fragment (RFC 7112)", fragment6(TCP_BYTES[:16], 0, 1, nh=6), "parse_l4_short"),
    dropped("IPv6 TCP header cut", short_ip6(TCP6, 19), "parse_l4_short"),
    dropped("IPv6 TCP data offset 4", patch(TCP6, L4_6 + 12, b"\x40"), "parse_tcp_offset"),
    dropped("IPv6 UDP header cut", short_ip6(UDP6, 7), "parse_l4_short"),
    dropped("IPv6 UDP length 0", patch(UDP6, L4_6 + 4, b"\0\0"), "parse_udp_length"),
    dropped("IPv6 UDP length beyond the packet", patch(UDP6, L4_6 + 4, b"\x01\0"), "parse_udp_length"),
    dropped("IPv6 UDP length beyond the packet, behind options", patch(ext6(DST), L4_6 + 12, b"\x01\0"), "parse_udp_length"),
    dropped("ICMPv6 header cut", short_ip6(ECHO6, 7), "parse_l4_short"),
    Row("IPv4 from a trunk", "trk", tagged(from_to(T10, D, udp()), 10), Forward("acc20", routed(from_to(T10, D, udp()), D))),
    Row("IPv4 under a priority tag", "acc10", tagged(UDP4, 0), Forward("acc20", routed(UDP4, D))),
    Row(
        "IPv4 under two tags is not routed",
        "trk",
        tagged(from_to(T10, D, udp()), 10, 20),
        Host("vlan10", tagged(from_to(T10, D, udp()), 20)),
    ),
    Row(
        "IPv4 under a tag that is payload is not routed",
        "acc10",
        tagged(UDP4, (10, 0x88A8)),
        Host("vlan10", tagged(UDP4, (10, 0x88A8))),
    ),
    Row(
        "three tags to the gateway",
        "trk",
        tagged(from_to(T10, D, udp()), 10, 20, 30),
        Host("vlan10", tagged(from_to(T10, D, udp()), 20, 30)),
    ),
    Row(
        "unknown ethertype to the gateway",
        "acc10",
        eth(A.mac, GW10.mac, 0x88B5, PAYLOAD),
        Host("vlan10", eth(A.mac, GW10.mac, 0x88B5, PAYLOAD)),
    ),
    Row(
        "ARP to the gateway",
        "acc10",
        eth(A.mac, GW10.mac, 0x0806, bytes(ARP(hwsrc=A.mac, psrc=A.ip4, pdst=GW10.ip4))),
        Host("vlan10", eth(A.mac, GW10.mac, 0x0806, bytes(ARP(hwsrc=A.mac, psrc=A.ip4, pdst=GW10.ip4)))),
    ),
    Row("ARP cut to the gateway", "acc10", eth(A.mac, GW10.mac, 0x0806, bytes(27)), Drop("parse_arp_short")),
    Row("ARP cut on a routed port", "wan", eth(W1.mac, W1.gateway.mac, 0x0806, bytes(12)), Drop("parse_arp_short")),
    Row("malformed on a routed port", "wan", patch(from_to(W1, D, udp()), IP4, b"\x44"), Drop("parse_ip4_ihl")),
    Row(
        "malformed to the gateway's own address",
        "acc10",
        patch(from_to(A, GW10.ip4, udp()), L4_4 + 4, b"\0\0"),
        Drop("parse_udp_length"),
    ),
]


def test_row(switch, row, hook):
    check(switch, row, hook)
