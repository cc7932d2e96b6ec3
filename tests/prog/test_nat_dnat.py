"""Destination NAT: port forwards, ranges, whole addresses, and the way back through them."""

from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

from frames import A, B, D, GW10, PAYLOAD, W1, WAN, echo, echo6, echo_reply, from_to, from_to6, octets, tcp, udp
from harness import Drop, Forward, Row, check
from nat_frames import EVERY, FAR, FAR6, OPENED, POOL, WHOLE, WHOLE6, WIDE, in4, in6, out4, out6


def dnat(name, layer4, to_layer4, dst=WAN.ip4, to=A, before=()):
    """From far by wan to an address that is forwarded."""
    return Row(name, "wan", in4(W1, FAR, dst, layer4), Forward(to.port, out4(to, FAR, to.ip4, to_layer4)), before=list(before))


def dnat6(name, layer4, to_layer4, dst=WAN.ip6, to=A):
    return Row(name, "wan", in6(W1, FAR6, dst, layer4), Forward(to.port, out6(to, FAR6, to.ip6, to_layer4)))


ROWS = [
    dnat("DNAT TCP, address and port", tcp(4000, 8080), tcp(4000, 80)),
    dnat("DNAT UDP, address and port", udp(4000, 5353), udp(4000, 53)),
    dnat("DNAT of a range keeps the place in it", udp(4000, 7003), udp(4000, 17003)),
    dnat("DNAT first of a range", udp(4000, 7000), udp(4000, 17000)),
    dnat("DNAT last of a range", udp(4000, 7009), udp(4000, 17009)),
    *[
        dnat(f"DNAT of every port, {name} {port}", layer(4000, port), layer(4000, port), EVERY, B)
        for name, layer in (("TCP", tcp), ("UDP", udp))
        for port in (1, 2, 3, 8080, 32767, 32768, 65535)
    ],
    *[
        dnat(f"DNAT of a range of all sizes of blocks, {port}", udp(4000, port), udp(4000, port + 2), WIDE, B)
        for port in (1000, 1007, 1008, 1023, 1024, 2047, 2048, 32767, 32768, 49152, 65528, 65532, 65533)
    ],
    *[
        Row(f"DNAT beside a range, {port}", "wan", in4(W1, FAR, WIDE, udp(4000, port)), Drop("nat_filtered"))
        for port in (1, 999, 65534, 65535)
    ],
    Row("DNAT beside a range, another protocol", "wan", in4(W1, FAR, WIDE, tcp(4000, 1024)), Drop("nat_filtered")),
    dnat("DNAT of a whole address, UDP", udp(), udp(), WHOLE, B),
    dnat("DNAT of a whole address, TCP", tcp(), tcp(), WHOLE, B),
    dnat("DNAT of a whole address, echo", echo(), echo(), WHOLE, B),
    dnat("DNAT of a whole address, GRE", Raw(b"\0\0\x08\0" + PAYLOAD), Raw(b"\0\0\x08\0" + PAYLOAD), WHOLE, B),
    dnat("DNAT of a whole address, SCTP", SCTP(sport=1, dport=2) / SCTPChunkInit(), SCTP(sport=1, dport=2) / SCTPChunkInit(), WHOLE, B),
    dnat(
        "DNAT several rules to one host, and one connection by each",
        udp(4000, 5353),
        udp(4000, 53),
        before=[*OPENED, ("wan", in4(W1, FAR, WAN.ip4, udp(4000, 7000)))],
    ),
    dnat("DNAT UDP checksum 0 stays 0", udp(4000, 5353, chksum=0), udp(4000, 53, chksum=0)),
    dnat("DNAT second packet", tcp(4000, 8080, "A", PAYLOAD), tcp(4000, 80, "A", PAYLOAD), before=OPENED),
    dnat("DNAT ACK of a flow that was lost", tcp(4000, 8080, "A", PAYLOAD), tcp(4000, 80, "A", PAYLOAD)),
    dnat6("DNAT IPv6 TCP, address and port", tcp(4000, 8080), tcp(4000, 80)),
    dnat6("DNAT IPv6 of a whole address", udp(), udp(), WHOLE6, B),
    dnat6("DNAT IPv6 of a whole address, echo", echo6(), echo6(), WHOLE6, B),
    Row(
        "DNAT reply",
        "acc10",
        octets(from_to(A, FAR, tcp(80, 4000, "SA"))),
        Forward("wan", out4(W1, WAN.ip4, FAR, tcp(8080, 4000, "SA"))),
        before=OPENED,
    ),
    Row(
        "DNAT reply of a range",
        "acc10",
        octets(from_to(A, FAR, udp(17003, 4000))),
        Forward("wan", out4(W1, WAN.ip4, FAR, udp(7003, 4000))),
        before=[("wan", in4(W1, FAR, WAN.ip4, udp(4000, 7003)))],
    ),
    Row(
        "DNAT reply of a whole address, echo",
        "acc10b",
        octets(from_to(B, FAR, echo_reply())),
        Forward("wan", out4(W1, WHOLE, FAR, echo_reply())),
        before=[("wan", in4(W1, FAR, WHOLE, echo()))],
    ),
    Row(
        "DNAT IPv6 reply",
        "acc10",
        octets(from_to6(A, FAR6, tcp(80, 4000, "SA"))),
        Forward("wan", out6(W1, WAN.ip6, FAR6, tcp(8080, 4000, "SA"))),
        before=[("wan", in6(W1, FAR6, WAN.ip6, tcp(4000, 8080)))],
    ),
    Row(
        "RFC 4787 REQ-9 a DNAT: D looks as it does outside",
        "acc20",
        octets(from_to(D, WHOLE, udp())),
        Forward("acc10b", out4(B, POOL, B.ip4, udp())),
    ),
    Row(
        "RFC 4787 REQ-9 b DNAT to a port of the gateway's address",
        "acc20",
        octets(from_to(D, WAN.ip4, tcp(4000, 8080))),
        Forward("acc10", out4(A, POOL, A.ip4, tcp(4000, 80))),
    ),
    Row(
        "RFC 4787 REQ-9 DNAT: the port is the one that D has outside",
        "acc20",
        octets(from_to(D, WHOLE, udp())),
        Forward("acc10b", out4(B, POOL, B.ip4, udp())),
        before=[("acc20", octets(from_to(D, FAR, udp())))],
    ),
    Row(
        "DNAT from another VLAN, reply",
        "acc10b",
        octets(from_to(B, POOL, udp(5000, 4000))),
        Forward("acc20", out4(D, WHOLE, D.ip4, udp(5000, 4000))),
        before=[("acc20", octets(from_to(D, WHOLE, udp())))],
    ),
    Row(
        "DNAT from the same VLAN is masqueraded (hairpin, RFC 4787 REQ-9)",
        "acc10",
        octets(from_to(A, WHOLE, udp())),
        Forward("acc10b", out4(B, GW10.ip4, B.ip4, udp())),
    ),
    Row(
        "DNAT from the same VLAN, reply",
        "acc10b",
        octets(from_to(B, GW10.ip4, udp(5000, 4000))),
        Forward("acc10", out4(A, WHOLE, A.ip4, udp(5000, 4000))),
        before=[("acc10", octets(from_to(A, WHOLE, udp())))],
    ),
    Row(
        "DNAT to itself (hairpin)", "acc10b", octets(from_to(B, WHOLE, udp())), Forward("acc10b", out4(B, GW10.ip4, B.ip4, udp()))
    ),
    Row("DNAT non-opening FIN", "wan", in4(W1, FAR, WAN.ip4, tcp(4000, 8080, "FA")), Drop("nat_not_opening")),
    Row("DNAT non-opening SYN-ACK", "wan", in4(W1, FAR, WAN.ip4, tcp(4000, 8080, "SA")), Drop("nat_not_opening")),
]


def test_row(switch, row, hook):
    check(switch, row, hook)
