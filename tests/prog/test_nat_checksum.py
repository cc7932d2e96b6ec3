"""Checksums through NAT (RFC 768, RFC 1624, RFC 3022 4.2)."""
import struct

from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

from frames import D, PAYLOAD, W1, from_to, octets, tcp, udp
from harness import Forward, Row, check
from nat_frames import snat, snat6, reply, FAR, POOL, ZERO_BACK, ZERO_IN, ZERO_IN6, ZERO_OUT, ZERO_OUT6, from_inside, in4, out4


def error_of(frame):
    """How far the TCP checksum is from the right one, in one's complement."""
    packet = Ether(frame)
    have = packet[TCP].chksum
    del packet[TCP].chksum
    return (have - Ether(octets(packet))[TCP].chksum) % 0xFFFF


def wrong_by_as_much(sent, got):
    return (
        None
        if error_of(sent) == error_of(got)
        else "the checksum error is another one: an incremental update keeps it (RFC 1624)"
    )


ROWS = [
    Row(
        "UDP checksum 0 stays 0",
        "acc20",
        octets(from_to(D, FAR, udp(chksum=0))),
        Forward("wan", out4(W1, POOL, FAR, udp(chksum=0))),
    ),
    Row(
        "UDP checksum 0 stays 0 in a known flow",
        "acc20",
        octets(from_to(D, FAR, udp(chksum=0))),
        Forward("wan", out4(W1, POOL, FAR, udp(chksum=0))),
        before=from_inside(udp()),
    ),
    Row(
        "UDP checksum 0 stays 0 in a reply",
        "wan",
        in4(W1, FAR, POOL, udp(5000, 4000, chksum=0)),
        Forward("acc20", out4(D, FAR, D.ip4, udp(5000, 4000, chksum=0))),
        before=from_inside(udp()),
    ),
    snat("UDP checksum that comes as 0xffff", udp(payload=ZERO_IN)),
    snat("UDP checksum that becomes 0xffff (RFC 768)", udp(payload=ZERO_OUT)),
    snat6("IPv6 UDP checksum that comes as 0xffff", udp(payload=ZERO_IN6)),
    snat6("IPv6 UDP checksum that becomes 0xffff (RFC 8200 8.1)", udp(payload=ZERO_OUT6)),
    reply("UDP checksum that becomes 0xffff in a reply", udp(), udp(5000, 4000, ZERO_BACK)),
    Row(
        "a wrong TCP checksum stays wrong by as much",
        "acc20",
        octets(from_to(D, FAR, tcp(chksum=0x1234))),
        Forward("wan", lambda frame: wrong_by_as_much(octets(from_to(D, FAR, tcp(chksum=0x1234))), frame)),
    ),
    *[
        snat(f"UDP payload {n:04x}", udp(payload=struct.pack("!HH", n, 0) + PAYLOAD))
        for n in (0x0000, 0x0001, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
    ],
]


def test_row(switch, row, hook):
    check(switch, row, hook)
