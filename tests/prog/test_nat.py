"""Source NAT: pools and masquerading, replies, protocols (RFC 3022, RFC 4787, RFC 5382)."""
import json
import socket
import struct

from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Raw
from scapy.utils import checksum

from frames import (
    Station,
    mac_bytes,
    A,
    D,
    PAYLOAD,
    T20,
    W1,
    W2,
    W3,
    WAN2,
    echo,
    echo6,
    echo6_reply,
    echo_reply,
    from_to,
    from_to6,
    octets,
    patch,
    routed,
    tagged,
    tcp,
    udp,
)
from harness import Drop, Flood, Forward, Resolve, Row, check, flooded, send
from icmp_frames import error4
from nat_frames import reply, reply6, snat, snat6, FAR, FAR6, OTHER, OTHER6, POOL, TINY, UDP6_OUT, from_inside, in4, in6, out4, out6

TINY_DST = "10.99.7.1"
TAG20 = b"\x81\x00\0\x14"
NEIGHBOR_F_VALID = 1
ROAMER = Station("acc20", "02:20:00:00:00:33", "10.0.20.33", "2001:db8:20::33", D.gateway)
EXPIRED, EXPIRED_BACK = octets(from_to(D, FAR, udp(), ttl=1)), in4(W1, FAR, POOL, udp(5000, 4000), ttl=1)


def d_is_forgotten(switch):
    switch.edit("fdb", mac_bytes(D.mac) + struct.pack("=H", 20), None)


def roamer_is_known(switch):
    """The kernel has resolved a station that no configuration names."""
    key = bytes(10) + b"\xff\xff" + bytes([10, 0, 20, 33]) + struct.pack("=II", switch.iface_id("vlan20"), 0)
    switch.edit("neighbors", key, mac_bytes(ROAMER.mac) + struct.pack("=HQ", NEIGHBOR_F_VALID, 0))


SPEAKS, SPEAKS6, SPEAKS_ESP = "10.98.1.77", "2001:db8:98::77", "10.98.1.78"  # by wan2, as OTHER
GRE = Raw(b"\0\0\x08\0" + PAYLOAD)


def echo_of_another_identifier(frame):
    """On an interface's own address the host may have any identifier: none is kept that somebody inside has chosen."""
    ident = Ether(frame)[ICMP].id
    if ident == 7777 or frame != out4(W2, WAN2.ip4, OTHER, echo(ident=ident)):
        return f"identifier {ident}: {frame.hex()}"
    return ""


def not_let_in(name, src, layer4, before=()):
    """No flow has asked for it: dropped, and nobody is told."""
    return Row(name, "wan", in4(W1, src, POOL, layer4), Drop("nat_filtered"), before=list(before))


def another_port(low, high, taken, expected):
    """The frame is the one that expected(port) builds, with a port in [low, high] that is not taken."""

    def wrong(frame):
        packet = Ether(frame)
        layer = packet[UDP] if UDP in packet else packet[TCP] if TCP in packet else None
        port = layer.sport if layer else packet[ICMP].id
        if port in taken or not low <= port <= high:
            return f"port {port} is not a free one of {low}..{high}"
        return None if octets(expected(port)) == frame else f"port {port} would be right, and the rest is not"

    return wrong


def port_of(seen):
    ((_, frame),) = seen.out()
    packet = Ether(frame)
    return packet[UDP].sport if UDP in packet else packet[TCP].sport




def lite(src):
    """A UDP-Lite packet to FAR whose checksum covers all of it."""
    pseudo = socket.inet_aton(src) + socket.inet_aton(FAR) + struct.pack(">HH", 136, 8 + len(PAYLOAD))
    head = struct.pack(">HHH", 4000, 5000, 0)
    return Raw(head + struct.pack(">H", checksum(pseudo + head + b"\0\0" + PAYLOAD)) + PAYLOAD)


SCTP_INIT = SCTP(sport=2905, dport=2906) / SCTPChunkInit(init_tag=7)
SCTP_BACK = SCTP(sport=2906, dport=2905, tag=7) / SCTPChunkInitAck(init_tag=8)

ROWS = [
    snat("SNAT UDP", udp()),
    snat("SNAT UDP without payload", udp(payload=b"")),
    snat("SNAT UDP of odd length", udp(payload=b"odd")),
    snat("SNAT TCP SYN", tcp()),
    snat("SNAT TCP SYN with options", tcp(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("WScale", 7)])),
    snat("SNAT TCP ACK of a flow that was lost", tcp(flags="A", payload=PAYLOAD)),
    snat("SNAT echo request", echo(ident=7777)),
    snat6("SNAT IPv6 UDP", udp()),
    snat6("SNAT IPv6 UDP of odd length", udp(payload=b"odd")),
    snat6("SNAT IPv6 TCP SYN", tcp()),
    snat6("SNAT IPv6 echo request", echo6(ident=7777)),
    snat("SNAT second packet of a UDP flow", udp(payload=b"second"), from_inside(udp())),
    snat("SNAT second packet of a TCP flow", tcp(flags="PA", payload=PAYLOAD), from_inside(tcp())),
    snat("SNAT second echo", echo(ident=7777, seq=2), from_inside(echo(ident=7777))),
    snat6("SNAT IPv6 second packet", udp(payload=b"second"), [("acc20", UDP6_OUT)]),
    snat("SNAT FIN of a known flow", tcp(flags="FA"), from_inside(tcp())),
    snat("SNAT RST of a known flow", tcp(flags="R"), from_inside(tcp())),
    Row("SNAT TTL 1", "acc20", EXPIRED, Drop("route_ttl", error4(D, 11, 0, EXPIRED))),
    Row(
        "SNAT second packet with TTL 1", "acc20", EXPIRED, Drop("route_ttl", error4(D, 11, 0, EXPIRED)), before=from_inside(udp())
    ),
    Row(
        "SNAT options and TOS are kept",
        "acc20",
        octets(from_to(D, FAR, udp(), tos=0x2E, id=0xABCD, flags="DF")),
        Forward("wan", out4(W1, POOL, FAR, udp(), tos=0x2E, id=0xABCD, flags="DF")),
    ),
    Row("SNAT from a trunk", "trk", tagged(from_to(T20, FAR, udp()), 20), Forward("wan", out4(W1, POOL, FAR, udp()))),
    Row(
        "SNAT of a low port takes one of the pool's range",
        "acc20",
        octets(from_to(D, FAR, udp(sport=53))),
        Forward("wan", another_port(1024, 65535, [], lambda port: out4(W1, POOL, FAR, udp(sport=port)))),
    ),
    Row(
        "SNAT of a taken port takes another",
        "trk",
        tagged(from_to(T20, FAR, udp()), 20),
        Forward("wan", another_port(1024, 65535, [4000], lambda port: out4(W1, POOL, FAR, udp(sport=port)))),
        before=from_inside(udp()),
    ),
    Row(
        "SNAT of a taken TCP port takes another",
        "trk",
        tagged(from_to(T20, FAR, tcp()), 20),
        Forward("wan", another_port(1024, 65535, [4000], lambda port: out4(W1, POOL, FAR, tcp(sport=port)))),
        before=from_inside(tcp()),
    ),
    Row(
        "SNAT of a taken echo identifier takes another",
        "trk",
        tagged(from_to(T20, FAR, echo(ident=7777)), 20),
        Forward("wan", another_port(1024, 65535, [7777], lambda port: out4(W1, POOL, FAR, echo(ident=port)))),
        before=from_inside(echo(ident=7777)),
    ),
    Row(
        "SNAT: TCP and UDP have ports of their own",
        "trk",
        tagged(from_to(T20, FAR, tcp()), 20),
        Forward("wan", out4(W1, POOL, FAR, tcp())),
        before=from_inside(udp()),
    ),
    Row(
        "SNAT mapping is the same for another destination (RFC 4787 REQ-1)",
        "trk",
        tagged(from_to(T20, "10.99.2.2", udp()), 20),
        lambda earlier: Forward("wan", out4(W1, POOL, "10.99.2.2", udp(sport=port_of(earlier[1])))),
        before=[*from_inside(udp()), ("trk", tagged(from_to(T20, FAR, udp()), 20))],
    ),
    Row(
        "SNAT reply to another port than the source's",
        "wan",
        lambda earlier: in4(W1, FAR, POOL, udp(5000, port_of(earlier[1]))),
        Forward("trk", tagged(out4(T20, FAR, T20.ip4, udp(5000, 4000)), 20)),
        before=[*from_inside(udp()), ("trk", tagged(from_to(T20, FAR, udp()), 20))],
    ),
    Row(
        "SNAT pool's last port",
        "acc20",
        octets(from_to(D, TINY_DST, udp(sport=4003))),
        lambda earlier: Forward(
            "wan", another_port(2000, 2003, [port_of(s) for s in earlier], lambda port: out4(W1, TINY, TINY_DST, udp(sport=port)))
        ),
        before=from_inside(*[udp(sport=4000 + n) for n in range(3)], dst=TINY_DST),
    ),
    Row(
        "SNAT pool exhausted (RFC 5508 REQ-8)",
        "acc20",
        octets(from_to(D, TINY_DST, udp(sport=4004))),
        Drop("nat_no_port", error4(D, 3, 13, octets(from_to(D, TINY_DST, udp(sport=4004))))),
        before=from_inside(*[udp(sport=4000 + n) for n in range(4)], dst=TINY_DST),
    ),
    Row(
        "SNAT pool exhausted, a known flow goes on",
        "acc20",
        octets(from_to(D, TINY_DST, udp(sport=4001, payload=b"more"))),
        lambda earlier: Forward("wan", out4(W1, TINY, TINY_DST, udp(sport=port_of(earlier[1]), payload=b"more"))),
        before=from_inside(*[udp(sport=4000 + n) for n in range(4)], dst=TINY_DST),
    ),
    Row(
        "SNAT exempt", "acc20", octets(from_to(D, "10.99.9.1", udp())), Forward("wan", routed(from_to(D, "10.99.9.1", udp()), W1))
    ),
    Row(
        "SNAT: another source is only routed",
        "acc10",
        octets(from_to(A, FAR, udp())),
        Forward("wan", routed(from_to(A, FAR, udp()), W1)),
    ),
    Row(
        "SNAT: another way out is only routed",
        "acc20",
        octets(from_to(D, "10.97.1.1", udp())),
        Forward("wan3", routed(from_to(D, "10.97.1.1", udp()), W3)),
    ),
    Row(
        "SNAT: to another VLAN is only routed",
        "acc20",
        octets(from_to(D, A, udp())),
        Forward("acc10", routed(from_to(D, A, udp()), A)),
    ),
    Row("masquerade UDP", "acc20", octets(from_to(D, OTHER, udp())), Forward("wan2", out4(W2, WAN2.ip4, OTHER, udp()))),
    Row("masquerade TCP", "acc20", octets(from_to(D, OTHER, tcp())), Forward("wan2", out4(W2, WAN2.ip4, OTHER, tcp()))),
    Row(
        "masquerade echo",
        "acc20",
        octets(from_to(D, OTHER, echo(ident=7777))),
        Forward("wan2", echo_of_another_identifier),
    ),
    Row(
        "masquerade GRE",
        "acc20",
        octets(from_to(D, OTHER, GRE, proto=47)),
        Forward("wan2", out4(W2, WAN2.ip4, OTHER, GRE, proto=47)),
    ),
    *[
        Row(f"masquerade {name} with the gateway", "acc20", octets(packet), outcome, before=[("wan2", told)])
        for name, packet, outcome, told in (
            (
                "GRE to one who speaks it",
                from_to(D, SPEAKS, GRE, proto=47),
                Drop("nat_own_port"),
                in4(W2, SPEAKS, WAN2.ip4, GRE, proto=47),
            ),
            (
                "IPv6 ESP to one who speaks it",
                from_to6(D, SPEAKS6, GRE, nh=50),
                Drop("nat_own_port"),
                in6(W2, SPEAKS6, WAN2.ip6, GRE, nh=50),
            ),
            (
                "GRE to another than he who speaks ESP",
                from_to(D, SPEAKS_ESP, GRE, proto=47),
                Forward("wan2", out4(W2, WAN2.ip4, SPEAKS_ESP, GRE, proto=47)),
                in4(W2, SPEAKS_ESP, WAN2.ip4, GRE, proto=50),
            ),
        )
    ],
    Row("masquerade IPv6", "acc20", octets(from_to6(D, OTHER6, udp())), Forward("wan2", out6(W2, WAN2.ip6, OTHER6, udp()))),
    Row(
        "masquerade reply",
        "wan2",
        in4(W2, OTHER, WAN2.ip4, udp(5000, 4000)),
        Forward("acc20", out4(D, OTHER, D.ip4, udp(5000, 4000))),
        before=from_inside(udp(), dst=OTHER),
    ),
    reply("reply to UDP", udp(), udp(5000, 4000)),
    reply("reply to TCP: SYN-ACK", tcp(), tcp(5000, 4000, "SA")),
    reply("reply to TCP: RST", tcp(), tcp(5000, 4000, "RA")),
    reply("reply to echo", echo(ident=7777), echo_reply(ident=7777)),
    reply6("IPv6 reply to UDP", udp(), udp(5000, 4000)),
    reply6("IPv6 reply to TCP: SYN-ACK", tcp(), tcp(5000, 4000, "SA")),
    reply6("IPv6 reply to echo", echo6(ident=7777), echo6_reply(ident=7777)),
    Row(
        "second reply",
        "wan",
        in4(W1, FAR, POOL, udp(5000, 4000, b"two")),
        Forward("acc20", out4(D, FAR, D.ip4, udp(5000, 4000, b"two"))),
        before=[*from_inside(udp()), ("wan", in4(W1, FAR, POOL, udp(5000, 4000)))],
    ),
    Row(
        "outbound after the reply",
        "acc20",
        octets(from_to(D, FAR, udp(payload=b"three"))),
        Forward("wan", out4(W1, POOL, FAR, udp(payload=b"three"))),
        before=[*from_inside(udp()), ("wan", in4(W1, FAR, POOL, udp(5000, 4000)))],
    ),
    Row(
        "reply with TTL 1",
        "wan",
        EXPIRED_BACK,
        Drop("route_ttl", error4(W1, 11, 0, EXPIRED_BACK, dst=FAR)),
        before=from_inside(udp()),
    ),
    Row("non-opening SYN-ACK from inside", "acc20", octets(from_to(D, FAR, tcp(flags="SA"))), Drop("nat_not_opening")),
    Row("non-opening FIN from inside", "acc20", octets(from_to(D, FAR, tcp(flags="FA"))), Drop("nat_not_opening")),
    Row("non-opening RST from inside", "acc20", octets(from_to(D, FAR, tcp(flags="R"))), Drop("nat_not_opening")),
    Row("TCP without flags from inside", "acc20", octets(from_to(D, FAR, tcp(flags=0))), Drop("nat_not_opening")),
    Row("non-opening echo reply from inside", "acc20", octets(from_to(D, FAR, echo_reply())), Drop("nat_not_opening")),
    Row("IPv6 non-opening echo reply from inside", "acc20", octets(from_to6(D, FAR6, echo6_reply())), Drop("nat_not_opening")),
    *[
        Row(f"RFC 5508 REQ-11 ICMP type {kind} from inside", "acc20", octets(from_to(D, FAR, ICMP(type=kind))), Drop("nat_not_opening"))
        for kind in (9, 10, 13, 14, 15, 17, 18, 40)
    ],
    Row(
        "answers to what came from outside are not translated",
        "acc20",
        octets(from_to(D, FAR, udp(5000, 4000))),
        Forward("wan", routed(from_to(D, FAR, udp(5000, 4000)), W1)),
        before=[("wan", in4(W1, FAR, D.ip4, udp()))],
    ),
    Row("a malformed packet is not translated", "acc20", patch(from_to(D, FAR, udp()), 38, b"\0\0"), Drop("parse_udp_length")),
]

ROWS += [
    Row("SNAT, gateway unknown", "acc20", octets(from_to(D, "10.64.0.1", udp())), Resolve(out4(W1, POOL, "10.64.0.1", udp()))),
    Row(
        "SNAT of a GSO packet",
        "acc20",
        octets(from_to(D, FAR, tcp(flags="A", payload=bytes(3000)))),
        Forward("wan", out4(W1, POOL, FAR, tcp(flags="A", payload=bytes(3000)))),
        gso=(3, 1000),
        segments=3,
    ),
    Row(
        "reply to a station that the FDB has forgotten",
        "wan",
        in4(W1, FAR, POOL, udp(5000, 4000)),
        Flood(flooded(20, out4(D, FAR, D.ip4, udp(5000, 4000)), None)),
        before=[*from_inside(udp()), d_is_forgotten],
    ),
    Row(
        "replies follow a station that moves",
        "wan",
        in4(W1, FAR, POOL, udp(5000, 4000)),
        Forward("trk", tagged(out4(ROAMER, FAR, ROAMER.ip4, udp(5000, 4000)), 20)),
        before=[
            ("acc20", octets(from_to(ROAMER, FAR, udp()))),
            ("wan", in4(W1, FAR, POOL, udp(5000, 4000))),
            ("trk", tagged(from_to(ROAMER, FAR, udp()), 20)),
        ],
        setup=roamer_is_known,
    ),
    not_let_in("no flow: to a pool's address", FAR, udp(5000, 4000)),
    not_let_in("another remote port than the flow's (RFC 4787 5)", FAR, udp(5001, 4000), from_inside(udp())),
    not_let_in("another remote host than the flow's (RFC 4787 5)", "10.99.2.2", udp(5000, 4000), from_inside(udp())),
    Row(
        "SNAT UDP-Lite: its checksum covers the addresses (RFC 3828 3.1)",
        "acc20",
        octets(from_to(D, FAR, lite(D.ip4), proto=136)),
        Forward("wan", out4(W1, POOL, FAR, lite(POOL), proto=136)),
    ),
    Row(
        "SNAT GRE by address alone",
        "acc20",
        octets(from_to(D, FAR, GRE, proto=47)),
        Forward("wan", out4(W1, POOL, FAR, GRE, proto=47)),
    ),
    Row(
        "SNAT GRE reply",
        "wan",
        in4(W1, FAR, POOL, GRE, proto=47),
        Forward("acc20", out4(D, FAR, D.ip4, GRE, proto=47)),
        before=[("acc20", octets(from_to(D, FAR, GRE, proto=47)))],
    ),
    Row(
        "SNAT GRE of a second host to the same place",
        "trk",
        tagged(from_to(T20, FAR, GRE, proto=47), 20),
        Drop("nat_no_address", error4(T20, 3, 13, tagged(from_to(T20, FAR, GRE, proto=47), 20), tag=TAG20)),
        before=[("acc20", octets(from_to(D, FAR, GRE, proto=47)))],
    ),
    Row(
        "SNAT GRE of a second host to another place",
        "trk",
        tagged(from_to(T20, "10.99.2.2", GRE, proto=47), 20),
        Forward("wan", out4(W1, POOL, "10.99.2.2", GRE, proto=47)),
        before=[("acc20", octets(from_to(D, FAR, GRE, proto=47)))],
    ),
    Row(
        "SNAT SCTP by address alone: its ports and its checksum stay",
        "acc20",
        octets(from_to(D, FAR, SCTP_INIT)),
        Forward("wan", out4(W1, POOL, FAR, SCTP_INIT)),
    ),
    Row(
        "SNAT SCTP reply",
        "wan",
        in4(W1, FAR, POOL, SCTP_BACK),
        Forward("acc20", out4(D, FAR, D.ip4, SCTP_BACK)),
        before=[("acc20", octets(from_to(D, FAR, SCTP_INIT)))],
    ),
    Row(
        "SNAT SCTP of a second host to the same place",
        "trk",
        tagged(from_to(T20, FAR, SCTP_INIT), 20),
        Drop("nat_no_address", error4(T20, 3, 13, tagged(from_to(T20, FAR, SCTP_INIT), 20), tag=TAG20)),
        before=[("acc20", octets(from_to(D, FAR, SCTP_INIT)))],
    ),
    Row("SNAT AH cannot be", "acc20", octets(from_to(D, FAR, Raw(b"\x11\x04" + bytes(30)), proto=51)), Drop("nat_protocol")),
]


def state_is(state):
    """`after` of a row: what becomes of its connection."""

    def look(switch, seen, earlier):
        (one,) = json.loads(switch.cli("-j", "flow", "list", "tcp").stdout)
        assert one["state"] == state

    return look


def reset(name, seq, state, flags="R"):
    """By the server, which has sent its SYN-ACK alone, with the sequence number 0x01020304."""
    rst = TCP(sport=5000, dport=4000, flags=flags, seq=seq)
    opened = [("acc20", octets(from_to(D, FAR, tcp()))), ("wan", in4(W1, FAR, POOL, tcp(5000, 4000, "SA", ack=0x01020305))),
              ("acc20", octets(from_to(D, FAR, tcp(flags="A", ack=0x01020305))))]
    return Row(name, "wan", in4(W1, FAR, POOL, rst), Forward("acc20", out4(D, FAR, D.ip4, rst)), before=opened, after=state_is(state))


ROWS += [
    reset("RFC 7857 2.2 a RST behind the SYN-ACK that fits", 0x01020305, "reset"),
    reset("RFC 7857 2.2 a RST behind the SYN-ACK, of who guesses", 0x41020305, "established"),
    reset("RFC 7857 2.2 the same with a SYN", 0x41020305, "established", "SR"),
    reset("RFC 7857 2.2 the same with a SYN and an ACK", 0x41020305, "established", "SRA"),
    reset("RFC 7857 2.2 the same with a FIN", 0x41020305, "established", "FR"),
]


def test_row(switch, row, hook):
    check(switch, row, hook)


def test_rfc7857_section_9_ports_are_random(switch):
    """Of who does not get its own: of forty hardly two in a row are near each other, and they are from everywhere."""
    ports = []
    for _ in range(40):
        switch.forget()
        send(switch, "tc", *from_inside(udp())[0])
        ports.append(port_of(send(switch, "tc", "trk", tagged(from_to(T20, FAR, udp()), 20))))
    assert 4000 not in ports and len(set(ports)) > 30, ports
    assert sum(abs(a - b) <= 4 for a, b in zip(ports, ports[1:])) <= 2, ports
    assert len({port // 8192 for port in ports}) >= 5, ports
