"""Fragments through NAT: later ones find their ports by the first (RFC 4787 REQ-14)."""

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from frames import A, D, W1, from_to, from_to6, octets, patch, routed, udp
from harness import Drop, Forward, Row, check
from nat_frames import FAR, FAR6, POOL, POOL6, WHOLE, in4, out4, out6


def split4(layer4, src, dst, proto=17):
    """The layer 4 packet with its checksum for these addresses, in three pieces."""
    whole = octets(IP(src=src, dst=dst, proto=proto) / layer4)[20:]
    return [(whole[:512], 0, "MF"), (whole[512:1024], 64, "MF"), (whole[1024:], 128, 0)]


BIG = udp(payload=bytes(range(256)) * 5)


def fragment_out(n, to=FAR):
    data, offset, flags = split4(BIG, D.ip4, to)[n]
    return octets(from_to(D, to, Raw(data), proto=17, frag=offset, flags=flags, id=0x77))


def fragment_sent(n, ident=0x77):
    data, offset, flags = split4(BIG, POOL, FAR)[n]
    return out4(W1, POOL, FAR, Raw(data), proto=17, frag=offset, flags=flags, id=ident)


def split6(src, dst):
    whole = octets(IPv6(src=src, dst=dst) / BIG)[40:]
    return [
        IPv6ExtHdrFragment(offset=0, m=1, nh=17, id=9) / Raw(whole[:512]),
        IPv6ExtHdrFragment(offset=64, m=0, nh=17, id=9) / Raw(whole[512:]),
    ]


ROWS = [
    Row("SNAT first fragment", "acc20", fragment_out(0), Forward("wan", fragment_sent(0))),
    Row("SNAT middle fragment", "acc20", fragment_out(1), Forward("wan", fragment_sent(1)), before=[("acc20", fragment_out(0))]),
    Row(
        "SNAT last fragment",
        "acc20",
        fragment_out(2),
        Forward("wan", fragment_sent(2)),
        before=[("acc20", fragment_out(0)), ("acc20", fragment_out(1))],
    ),
    Row(
        "SNAT last fragment before the middle one",
        "acc20",
        fragment_out(2),
        Forward("wan", fragment_sent(2)),
        before=[("acc20", fragment_out(0))],
    ),
    Row("SNAT later fragment whose first was not seen", "acc20", fragment_out(1), Drop("nat_fragment")),
    Row(
        "SNAT later fragment of another packet",
        "acc20",
        patch(octets(from_to(D, FAR, Raw(bytes(64)), proto=17, frag=64, id=0x78)), 0, b""),
        Drop("nat_fragment"),
        before=[("acc20", fragment_out(0))],
    ),
    Row(
        "SNAT IPv6 first fragment",
        "acc20",
        octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[0])),
        Forward("wan", out6(W1, POOL6, FAR6, split6(POOL6, FAR6)[0])),
    ),
    Row(
        "SNAT IPv6 later fragment",
        "acc20",
        octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[1])),
        Forward("wan", out6(W1, POOL6, FAR6, split6(POOL6, FAR6)[1])),
        before=[("acc20", octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[0])))],
    ),
    Row(
        "SNAT IPv6 later fragment whose first was not seen",
        "acc20",
        octets(from_to6(D, FAR6, split6(D.ip6, FAR6)[1])),
        Drop("nat_fragment"),
    ),
    Row(
        "DNAT later fragment whose first was not seen",
        "wan",
        in4(W1, FAR, WHOLE, Raw(bytes(64)), proto=17, frag=64),
        Drop("nat_fragment"),
    ),
    Row(
        "fragments that no rule takes are routed in any order",
        "acc10",
        octets(from_to(A, FAR, Raw(bytes(64)), proto=17, frag=64)),
        Forward("wan", routed(from_to(A, FAR, Raw(bytes(64)), proto=17, frag=64), W1)),
    ),
]


def test_row(switch, row, hook):
    check(switch, row, hook)
