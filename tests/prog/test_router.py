"""What a router refuses, lowers and cuts: sources that cannot be, reverse paths (RFC 3704), source routes, the MSS (RFC 6691),
fragments (RFC 791 3.2), and how often the kernel is asked for neighbours."""
import struct
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_RR, IPOption_SSRR, IPOption_Router_Alert, checksum
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop, PadN, RouterAlert
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import bpf
from frames import (
    A,
    BROADCAST,
    D,
    E,
    GW10,
    GW20,
    GW30,
    T10,
    W1,
    W2,
    W3,
    WAN2,
    echo,
    fix_ip4,
    from_to,
    from_to6,
    mac_bytes,
    octets,
    patch,
    pcp,
    routed,
    tagged,
    tcp,
    udp,
)
from harness import Drop, Flood, Forward, Row, check, flooded, send, send_wire
from icmp_frames import error4

RPF_LOOSE, RPF_STRICT, MSS_CLAMP = 2, 4, 0xFFFF

CLOCK_NEIGHBOR = 3  # of bpf/scratch.h


def interface(name, flags=0, mss=0, mtu=None):
    """`setup`: an interface with these IFACE_F_* and this MSS."""

    def write(switch):
        table, key = switch.map("ifaces"), switch.iface_id(name)
        value = table.lookup(key)
        (had,) = struct.unpack_from("=H", value, 6)
        value = patch(patch(value, 6, struct.pack("=H", had | flags)), 28, struct.pack("=H", mss))
        if mtu:
            value = patch(value, 16, struct.pack("=I", mtu))
        switch.edit("ifaces", struct.pack("=I", key), value)

    return write


def both(*steps):
    def run(switch):
        for s in steps:
            s(switch)

    return run


def frm(source, to=D, station=A, layer4=None):
    """A packet with any source, by a station to its gateway."""
    ip = IPv6(src=source, dst=to.ip6) if ":" in source else IP(src=source, dst=to.ip4)
    return octets(Ether(src=station.mac, dst=station.gateway.mac) / ip / (layer4 or udp()))


def refused(name, frame, reason, port="acc10", setup=None):
    return Row(name, port, frame, Drop(reason), setup=setup)


def passes(name, frame, port="acc10", setup=None, out=D):
    return Row(name, port, frame, Forward(out.port, routed(frame, out)), setup=setup)


STRICT, LOOSE = interface("vlan10", RPF_STRICT), interface("vlan10", RPF_LOOSE)
WAN_STRICT, WAN3_STRICT = interface("wan", RPF_STRICT), interface("wan3", RPF_STRICT)

SOURCES = [
    refused("own address as source", frm(GW20.ip4), "route_own_source"),
    refused("own address of the same interface as source", frm(GW10.ip4), "route_own_source"),
    refused("IPv6 own address as source", frm(GW20.ip6), "route_own_source"),
    refused("broadcast address of another prefix as source", frm("10.0.20.255"), "route_broadcast_source"),
    refused("broadcast address of the sender's prefix as source", frm("10.0.10.255"), "route_broadcast_source"),
    refused("first address of a prefix as source", frm("10.0.10.0"), "route_broadcast_source"),
    refused("destination is its own prefix's broadcast address", octets(from_to(A, "10.0.10.255", udp())), "route_broadcast"),
    passes("strict: source of the interface's prefix", frm(A.ip4), setup=STRICT),
    passes("IPv6 strict: source of the interface's prefix", frm(A.ip6), setup=STRICT),
    refused("strict: source of another prefix", frm("10.0.20.77"), "urpf_other_way", setup=STRICT),
    refused("IPv6 strict: source of another prefix", frm("2001:db8:20::77"), "urpf_other_way", setup=STRICT),
    refused("strict: source behind another interface", frm("10.99.1.1"), "urpf_other_way", setup=STRICT),
    refused("strict: no route to the source", frm("172.31.0.9"), "urpf_no_route", setup=STRICT),
    refused("strict: own address as source keeps its reason", frm(GW20.ip4), "route_own_source", setup=STRICT),
    passes("strict: source by a gateway", frm("10.99.1.1", station=W1), "wan", WAN_STRICT),
    passes("strict: one of several ways back", frm("10.50.0.5", station=W1), "wan", WAN_STRICT),
    passes("strict: another of several ways back", frm("10.50.0.5", station=W2), "wan2", interface("wan2", RPF_STRICT)),
    passes("IPv6 strict: one of several ways back", frm("2001:db8:50::5", station=W1), "wan", WAN_STRICT),
    refused("strict: none of several ways back", frm("10.50.0.5"), "urpf_other_way", setup=STRICT),
    refused("IPv6 strict: none of several ways back", frm("2001:db8:50::5"), "urpf_other_way", setup=STRICT),
    Row("strict, without XDP", "wan3", frm("10.99.1.1", station=W3), Drop("urpf_other_way"), setup=WAN3_STRICT, only=("tc", "wire")),
    passes("loose: source behind another interface", frm("10.99.1.1"), setup=LOOSE),
    passes("loose: several ways back", frm("10.50.0.5"), setup=LOOSE),
    refused("loose: no route to the source", frm("172.31.0.9"), "urpf_no_route", setup=LOOSE),
    refused("IPv6 loose: no route to the source", frm("2001:db8:dead::9"), "urpf_no_route", setup=LOOSE),
    refused("loose: the route to the source is a blackhole (RFC 5635)", frm("10.60.0.1"), "urpf_no_route", setup=LOOSE),
    passes("off: no route to the source", frm("172.31.0.9")),
]


def options(*opts, layer4=None):
    return octets(Ether(src=A.mac, dst=GW10.mac) / IP(src=A.ip4, dst=D.ip4, options=list(opts)) / (layer4 or udp()))


def raw_options(raw, layer4=None, src=A.ip4, dst=D.ip4, frag=0):
    """With option bytes as given, a multiple of 4."""
    layer4 = layer4 or udp()
    ip = IP(src=src, dst=dst, proto=1 if isinstance(layer4, ICMP) else 17, ihl=5 + len(raw) // 4, frag=frag)
    frame = octets(Ether(src=A.mac, dst=GW10.mac) / ip)
    body = raw + octets(layer4)
    frame = patch(frame[:34], 16, struct.pack("!H", 20 + len(body))) + body
    return fix_ip4(frame)


def parameter(name, frame, at):
    """RFC 1812 4.3.3.5: the sender is told which byte of his header it is."""
    return Row(name, "acc10", frame, Drop("parse_ip4_options", error4(A, 12, 0, frame, info=at << 24)))


OPTIONS = [
    refused("loose source route", options(IPOption_LSRR(routers=[D.ip4])), "route_source_route"),
    refused("strict source route", options(IPOption_SSRR(routers=[D.ip4])), "route_source_route"),
    refused("source route behind another option", raw_options(b"\x01\x94\x04\0\0\x83\x07\x04\x0a\0\x14\x0a"), "route_source_route"),
    passes("source route behind the end of options", raw_options(b"\0\x83\x07\x04\x0a\0\x14\x0a")),
    passes("record route", options(IPOption_RR(routers=["0.0.0.0", "0.0.0.0"]))),
    passes("router alert", options(IPOption_Router_Alert())),
    parameter("option longer than the header", raw_options(b"\x07\x09\x04\0\0\0\0\0"), 21),
    parameter("option of length 1", raw_options(b"\x07\x01\x04\0"), 21),
    parameter("option without a length", raw_options(b"\x01\x01\x01\x07"), 23),
    parameter("second option longer than the header", raw_options(b"\x94\x04\0\0\x07\x05\x04\0"), 25),
    parameter("bad option to the gateway itself", raw_options(b"\x07\x01\x04\0", dst=GW10.ip4), 21),
    parameter("bad option of an echo request", raw_options(b"\x07\x01\x04\0", layer4=ICMP(id=7) / b"ping"), 21),
    *[
        Row(f"bad option, {name}", "acc10", raw_options(b"\x07\x01\x04\0", **how), Drop("parse_ip4_options", by_tc=by_tc))
        for name, how, by_tc in [
            ("a later fragment", {"frag": 64}, True),
            ("of an ICMP error", {"layer4": ICMP(type=3, code=1) / octets(IP(src=D.ip4, dst=A.ip4) / udp())}, True),
            ("to a directed broadcast address", {"dst": "10.0.20.255"}, False),
            ("to a group", {"dst": "224.0.0.5"}, False),
            ("from a martian", {"src": "127.0.0.1"}, False),
            ("from an own address", {"src": GW20.ip4}, False),
        ]
    ],
]


def syn(mss, before=(), after=(), flags="S", family=4, **fields):
    opts = [*before, *([("MSS", mss)] if mss is not None else []), *after]
    layer = TCP(sport=4000, dport=80, flags=flags, seq=9, options=opts, **fields)
    return octets(from_to(A, D, layer) if family == 4 else from_to6(A, D, layer))


def lowered(name, setup, given, wanted, **how):
    return Row(name, "acc10", syn(given, **how), Forward("acc20", routed(syn(wanted, **how), D)), setup=setup)


IN, OUT = interface("vlan10", mss=1300), interface("vlan20", mss=1300)
CLAMP = interface("vlan20", mss=MSS_CLAMP, mtu=1400)
NAT_SYN = octets(from_to(D, "10.98.1.1", TCP(sport=4000, dport=80, flags="S", options=[("MSS", 1460)])))
ROUND = [("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)]

MSS = [
    lowered("MSS, coming in", IN, 1460, 1300),
    lowered("MSS, going out", OUT, 1460, 1300),
    lowered("MSS, the smaller of both", both(interface("vlan10", mss=1350), OUT), 1460, 1300),
    lowered("MSS of a SYN-ACK", OUT, 1460, 1300, flags="SA"),
    lowered("MSS with ECN set-up", OUT, 1460, 1300, flags="SEC"),
    lowered("MSS among options", OUT, 1460, 1300, after=ROUND),
    lowered("MSS behind options", OUT, 1460, 1300, before=ROUND),
    lowered("MSS at an odd offset", OUT, 1460, 1300, before=[("NOP", None)]),
    lowered("MSS at an odd offset with an odd byte's difference", interface("vlan20", mss=0x0123), 0x1234, 0x0123, before=[("NOP", None)]),
    lowered("MSS clamped to the MTU", CLAMP, 1460, 1360),
    lowered("IPv6 MSS clamped to the MTU", CLAMP, 1440, 1340, family=6),
    lowered("IPv6 MSS", OUT, 1440, 1300, family=6),
    passes("MSS that is lower already", syn(1200), setup=OUT),
    passes("MSS that is just right", syn(1300), setup=OUT),
    passes("SYN without MSS", syn(None, before=ROUND), setup=OUT),
    passes("SYN without options", syn(None), setup=OUT),
    passes("no SYN", syn(1460, flags="A"), setup=OUT),
    passes("MSS behind the end of options", syn(None, before=[("EOL", None)], after=[("MSS", 1460)]), setup=OUT),
    *[
        Row(
            f"MSS through NAT, {which}",
            "acc20",
            NAT_SYN,
            Forward("wan2", lambda f: None if Ether(f)[TCP].options == [("MSS", 1300)] and whole(f) else "MSS or checksum is wrong"),
            before=before,
            setup=OUT,
        )
        for which, before in (("first packet", []), ("sent again", [("acc20", NAT_SYN)]))
    ],
]


def whole(frame):
    """The TCP checksum is right."""
    ip = Ether(frame)[IP]
    want = ip.copy()
    del want[TCP].chksum
    return IP(bytes(want))[TCP].chksum == ip[TCP].chksum


def neighbor_rate(rate, of_all=0):
    def write(switch):
        value = patch(switch.map("control").lookup(0), 24, struct.pack("=I", rate))
        switch.edit("control", struct.pack("=I", 0), patch(value, 96, struct.pack("=I", of_all)))

    return write


def to_all(frame, gateway):
    """A directed broadcast as it must leave."""
    frame = octets(frame)
    return fix_ip4(mac_bytes(BROADCAST) + mac_bytes(gateway.mac) + patch(frame, 22, bytes([frame[22] - 1]))[12:])


TO_VLAN30, TO_WAN2 = octets(from_to(A, "10.0.30.255", udp())), octets(from_to(A, "198.51.100.255", udp()))
TO_VLAN30_BIG = octets(from_to(A, "10.0.30.255", udp(payload=bytes(1480)), flags="DF"))

DIRECTED = [
    Row("directed broadcast where the interface wants it (RFC 2644), on a VLAN", "acc10", TO_VLAN30,
        Flood(flooded(30, to_all(TO_VLAN30, GW30), None))),
    Row("directed broadcast where the interface wants it, on a routed port", "acc10", TO_WAN2, Forward("wan2", to_all(TO_WAN2, WAN2))),
    refused("directed broadcast where it does not", octets(from_to(A, "192.0.2.255", udp())), "route_broadcast"),
    refused("first address of such a prefix", octets(from_to(A, "10.0.30.0", udp())), "route_broadcast"),
    refused("its broadcast address as source", frm("198.51.100.255"), "route_broadcast_source"),
    # RFC 1812 4.3.2.7: no ICMP error about it
    refused("directed broadcast, TTL 1", octets(from_to(A, "10.0.30.255", udp(), ttl=1)), "route_ttl"),
    Row("directed broadcast, too large", "acc10", TO_VLAN30_BIG, Drop("route_mtu"), only=("xdp", "tc")),
]


def addressed(source, to, reason):
    return refused(f"from {source} to {to}", octets(Ether(src=A.mac, dst=GW10.mac) / IP(src=source, dst=to) / udp()), reason)


# RFC 1812 5.3.7, RFC 6890, RFC 3927 2.7
MARTIANS = [
    *[
        addressed(s, D.ip4, "route_martian_source")
        for s in ("0.0.0.1", "127.0.0.1", "127.255.255.254", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", D.ip4)
    ],
    *[addressed(A.ip4, d, "route_martian_destination") for d in ("0.0.0.1", "127.0.0.1", "240.0.0.1", "255.255.255.254")],
    addressed("169.254.1.1", D.ip4, "route_link_local"),
    addressed("169.254.255.255", "10.99.1.1", "route_link_local"),
    refused("to an IPv4 link-local address that is routed", octets(from_to(A, "169.254.7.7", udp())), "route_link_local"),
    Row("to a port forward that listens on a link-local address", "acc20", octets(from_to(D, "169.254.169.254", tcp(dport=80))),
        Forward("acc10", lambda f: None if (Ether(f)[IP].dst, Ether(f)[TCP].dport) == (A.ip4, 8775) else "not to where it is forwarded")),
    passes("from the addresses beside the link-local ones", frm("169.253.255.255")),
    *[
        refused(f"from {s}", frm(s), "route_martian_source")
        for s in ("::1", "::ffff:10.0.10.10", "ff02::1", "ff0e::1", D.ip6)
    ],
    *[
        refused(f"to {d}", octets(Ether(src=A.mac, dst=GW10.mac) / IPv6(src=A.ip6, dst=d) / udp()), "route_martian_destination")
        for d in ("::", "::1", "::ffff:10.0.20.10")
    ],
]

HOP_BY_HOP = [
    passes("IPv6 router alert (RFC 2711)", octets(from_to6(A, D, IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)]) / udp()))),
    passes("IPv6 hop-by-hop options", octets(from_to6(A, D, IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 12)]) / udp()))),
    *[
        passes(f"router alert of value {v} (RFC 6398)", options(IPOption_Router_Alert(alert=v))) for v in (1, 65535)
    ],
]

NEIGHBORS = [
    refused("neighbour unknown at rate 0", octets(from_to(A, "10.0.20.200", udp())), "neighbor_limited", setup=neighbor_rate(0)),
    passes("neighbour known at rate 0", octets(from_to(A, D, udp())), setup=neighbor_rate(0)),
]

ROWS = SOURCES + OPTIONS + MSS + DIRECTED + MARTIANS + HOP_BY_HOP + NEIGHBORS


def test_row(switch, row, hook):
    check(switch, row, hook)


def test_asking_for_neighbours_is_limited(switch):
    """Four a second, a second's worth at once: of 100 packets no more than that go to the kernel."""
    switch.forget()
    neighbor_rate(4)(switch)
    clock, key = switch.map("clocks"), CLOCK_NEIGHBOR + switch.iface_id("vlan20")
    clock.update(key, bytes(8))
    start = time.monotonic()
    seen = [send(switch, "tc", "acc10", octets(from_to(A, f"10.0.20.{i}", udp()))) for i in range(20, 120)]
    most = 4 * (time.monotonic() - start) + 6
    asked = sum(not s.drops for s in seen)
    clock.update(key, bytes(8))
    assert 4 <= asked <= most, f"{asked} of 100, at most {most}"
    assert {r for s in seen for r in s.drops} == {"neighbor_limited"}


def quiet_neighbours(switch, *interfaces):
    """Nobody has asked yet."""
    for i in (0, *(switch.iface_id(i) for i in interfaces)):
        switch.map("clocks").update(CLOCK_NEIGHBOR + i, bytes(8))


def asks(switch, gateway, *addresses):
    """How many packets to these go to the kernel, to be held."""
    seen = [send(switch, "tc", "acc10", octets(Ether(src=A.mac, dst=gateway.mac) / IP(src=A.ip4, dst=a) / udp())) for a in addresses]
    assert {r for s in seen for r in s.drops} <= {"neighbor_limited"}
    return sum(not s.drops for s in seen)


def test_who_is_asked_for_already_takes_nothing_from_others(switch):
    """A stream to one that does not answer has a measure of its own: but for its first packet it moves no clock of its interface's."""
    switch.forget()
    neighbor_rate(4)(switch)
    quiet_neighbours(switch, "vlan20")
    clock = switch.map("clocks"), CLOCK_NEIGHBOR + switch.iface_id("vlan20")
    start = time.monotonic()
    asked = asks(switch, GW10, "10.0.20.130")
    spent = clock[0].lookup(clock[1])
    asked += asks(switch, GW10, *["10.0.20.130"] * 99)
    most = 4 * (time.monotonic() - start) + 7
    assert spent != bytes(8) and clock[0].lookup(clock[1]) == spent
    assert 4 <= asked <= most, f"{asked} of 100, at most {most}"
    assert asks(switch, GW10, "10.0.20.131") == 1 and clock[0].lookup(clock[1]) != spent


def test_all_interfaces_together_ask_for_so_many(switch):
    switch.forget()
    neighbor_rate(1000, of_all=4)(switch)
    quiet_neighbours(switch, "vlan20", "vlan30")
    start = time.monotonic()
    asked = asks(switch, GW10, *(f"10.0.{20 + i % 2 * 10}.{140 + i}" for i in range(60)))
    most = 4 * (time.monotonic() - start) + 6
    assert 4 <= asked <= most, f"{asked} of 60, at most {most}"
    quiet_neighbours(switch, "vlan20", "vlan30")


# ---- fragments


def numbered(n):
    return bytes(i * 7 & 255 for i in range(n))


def reassembled(frames):
    """(first header, payload) of fragments in any order that leave no hole (RFC 791 3.2)."""
    parts = sorted((IP(f[14:]) for f in frames), key=lambda ip: ip.frag)
    payload = b""
    for ip in parts:
        assert checksum(bytes(ip)[: ip.ihl * 4]) == 0, "header checksum"
        assert ip.frag * 8 == len(payload) + parts[0].frag * 8, "a hole, or an overlap"
        payload += bytes(ip)[ip.ihl * 4 : ip.len]
    assert all("MF" in ip.flags for ip in parts[:-1])
    return parts, payload


def cut(switch, frame, pieces, port="acc10", mtu=1400):
    """Sent on the wire; the fragments that leave by wan3."""
    switch.forget()
    seen = send_wire(switch, port, frame, pieces)
    assert [p for p, _ in seen.emitted] == ["wan3"] * pieces, seen.words()
    frames = [f for _, f in seen.emitted]
    assert all(len(f) - 14 <= mtu for f in frames)
    assert all(f[:12] == octets(routed(octets(from_to(A, "10.97.1.1", udp())), W3))[:12] for f in frames)
    rx, _, forwarded, to_host, dropped = seen.counters[port]
    assert (rx, forwarded, to_host, dropped) == (pieces, pieces, 0, 0), "counted as the fragments that went"
    return frames


FRAGMENTED = [
    pytest.param(udp(payload=numbered(1400)), 2, id="UDP"),
    pytest.param(UDP(sport=1, dport=2, chksum=0) / Raw(numbered(1472)), 2, id="UDP without checksum"),
    pytest.param(tcp(flags="A", payload=numbered(1460)), 2, id="TCP"),
    pytest.param(echo(payload=numbered(1472)), 2, id="echo"),
    pytest.param(udp(payload=numbered(1373)), 2, id="one byte too large"),
    pytest.param(Raw(numbered(1480)), 2, id="any protocol"),
]


@pytest.mark.parametrize("layer4, pieces", FRAGMENTED)
def test_cut(switch, layer4, pieces):
    proto = {"proto": 253} if isinstance(layer4, Raw) else {}
    frame = octets(from_to(A, "10.97.1.1", layer4, id=0x1234, **proto))
    parts, payload = reassembled(cut(switch, frame, pieces))
    assert payload == frame[34:]
    assert {(p.id, p.ttl, p.src, p.dst, p.proto) for p in parts} == {(0x1234, 63, A.ip4, "10.97.1.1", frame[23])}
    assert "MF" not in parts[-1].flags


@pytest.mark.parametrize("flags, offset", [("MF", 0), ("MF", 370), (0, 370)], ids=["first", "middle", "last"])
def test_cut_fragment(switch, flags, offset):
    """A fragment is cut further; only the last piece of the last one ends the packet."""
    frame = octets(from_to(E, "10.97.1.1", Raw(numbered(1480)), proto=17, id=7, flags=flags, frag=offset))
    parts, payload = reassembled(cut(switch, frame, 2))
    assert (parts[0].frag, payload) == (offset, frame[34:])
    assert ("MF" in parts[-1].flags) == bool(flags)


SECURITY = b"\x82\x0b" + bytes(range(9))
OPTION_BYTES = [
    pytest.param(b"\x07\x07\x04\x01\x02\x03\x04" + SECURITY + b"\x01\0", b"\x01" * 7 + SECURITY + b"\x01\0", id="some"),
    pytest.param(b"\x01\x07\x27\x04" + bytes(range(100, 136)), b"\x01" * 40, id="as many as there can be"),
]


@pytest.mark.parametrize("opts, later_opts", OPTION_BYTES)
def test_cut_with_options(switch, opts, later_opts):
    """RFC 791 3.1: record route stays in the first fragment, a copied option is in all."""
    head = 20 + len(opts)
    frame = octets(Ether(src=A.mac, dst=GW10.mac) / IP(src=A.ip4, dst="10.97.1.1", proto=17, id=3, ihl=head // 4))[:34]
    body = opts + octets(UDP(sport=1, dport=2, len=1500 - head)) + numbered(1492 - head)
    first, later = reassembled(cut(switch, fix_ip4(patch(frame, 16, struct.pack("!H", 1500)) + body), 2))[0]
    assert bytes(first)[20:head] == opts
    assert bytes(later)[20:head] == later_opts


def test_cut_from_a_trunk(switch):
    frame = tagged(from_to(T10, "10.97.1.1", udp(payload=numbered(1400)), id=5), pcp(10, 3))
    _, payload = reassembled(cut(switch, frame, 2, "trk"))
    assert payload == octets(frame)[38:]


def test_cut_is_left_to_tc(switch):
    frame = octets(from_to(A, "10.97.1.1", udp(payload=numbered(1400))))
    seen = send(switch, "xdp", "acc10", frame)
    assert (seen.verdict, seen.data) == (bpf.XDP_PASS, frame)
    assert not any(any(c) for c in seen.counters.values())


def test_datagrams_of_udp_gso_are_not_glued(switch):
    """Several datagrams in one skb: cut as one they would arrive as one. They go whole to where the kernel takes them apart."""
    switch.forget()
    frame = octets(from_to(A, "10.97.1.1", udp(payload=numbered(2900))))
    seen = send(switch, "tc", "acc10", frame, gso=(2, 1450))
    assert (seen.verdict, seen.egress, seen.frame, seen.drops) == (bpf.TC_ACT_REDIRECT, None, frame, {})
    assert seen.counters["acc10"] == (0, 0, 0, 0, 0)  # each of them is, when it comes back
    control = switch.map("control").lookup(0)
    switch.edit("control", struct.pack("=I", 0), patch(control, 92, bytes(4)))  # as long as there is no such place
    seen = send(switch, "tc", "acc10", frame, gso=(2, 1450))
    switch.forget()
    assert seen.drops == {"fragment_failed": 2}


def test_cut_icmp_has_its_checksum(switch):
    frames = cut(switch, octets(from_to(A, "10.97.1.1", echo(payload=numbered(1472)), id=9)), 2)
    _, payload = reassembled(frames)
    assert ICMP(payload).id == 77 and checksum(payload) == 0
