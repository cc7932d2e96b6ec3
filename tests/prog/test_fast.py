"""The short way of established flows (bpf/fast.h) and the long one make the same of a packet, at both hooks.

A change of the epoch sends a flow's next packet the long way, which writes the way out down again; the same frame once more then
goes the short way where it is ordinary. What the bytes must be is held by the rows of test_nat.py and others; here the two are
compared, for frames on either side of what fast.h calls ordinary.
"""
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from frames import T20, W1, WAN, A, D, from_to, in_vxlan, octets, patch, tagged, tcp, udp
from harness import HOOKS, send, travel
from nat_frames import FAR, POOL, ZERO_IN, ZERO_OUT, from_inside, in4

STAMPED = TCP(sport=4000, dport=5000, flags="PA", seq=7, ack=9, options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))])


def outward(size=0, say="A", **ip):
    """From D to FAR: a TCP segment of `size` bytes."""
    segment = TCP(sport=4000, dport=5000, flags=say) / Raw(bytes(size))
    return octets(Ether(src=D.mac, dst=D.gateway.mac) / IP(src=D.ip4, dst=FAR, **ip) / segment)


def inward(layer4):
    return in4(W1, FAR, POOL, layer4)


TALK = [("acc20", outward(say="S")), ("wan", inward(tcp(5000, 4000, "SA"))), ("acc20", outward()), ("wan", inward(tcp(5000, 4000, "A")))]
ASKED = [*from_inside(udp()), ("wan", inward(udp(5000, 4000)))]
TUNNEL = [*from_inside(in_vxlan(10)), ("wan", inward(udp(4789, 4000)))]
TO_WEB, FROM_WEB = in4(W1, FAR, WAN.ip4, tcp(4000, 8080, "A")), octets(from_to(A, FAR, tcp(80, 4000, "A")))
SERVED = [("wan", in4(W1, FAR, WAN.ip4, tcp(4000, 8080))), ("acc10", octets(from_to(A, FAR, tcp(80, 4000, "SA")))), ("wan", TO_WEB), ("acc10", FROM_WEB)]
TRUNK = [("trk", tagged(from_to(T20, FAR, tcp(flags=f)), 20)) for f in "SA"]
ONE = (0, 0)

# The frames before, the port, the frame, GSO (segments, bytes of one), whether it leaves.
CASES = {
    "TCP out": (TALK, "acc20", outward(), ONE, True),
    "TCP out, timestamps": (TALK, "acc20", octets(from_to(D, FAR, STAMPED / Raw(b"x" * 333))), ONE, True),
    "TCP in": (TALK, "wan", inward(tcp(5000, 4000, "A")), ONE, True),
    "FIN": (TALK, "acc20", outward(say="FA"), ONE, True),
    "padded": (TALK, "acc20", outward() + bytes(9), ONE, True),
    "DSCP and DF": (TALK, "acc20", outward(tos=0xB8, flags="DF"), ONE, True),
    "TTL 2": (TALK, "acc20", outward(ttl=2), ONE, True),
    "TTL 1": (TALK, "acc20", outward(ttl=1), ONE, False),
    "checksum wrong": (TALK, "acc20", outward(chksum=0x1234), ONE, False),
    "longer than the frame": (TALK, "acc20", outward(len=1000), ONE, False),
    "DNAT": (SERVED, "wan", TO_WEB, ONE, True),
    "DNAT, the answer": (SERVED, "acc10", FROM_WEB, ONE, True),
    "tagged": (TRUNK, "trk", tagged(from_to(T20, FAR, tcp(flags="A")), 20), ONE, True),
    "UDP out": (ASKED, "acc20", octets(from_to(D, FAR, udp(payload=b"more"))), ONE, True),
    "UDP in": (ASKED, "wan", inward(udp(5000, 4000)), ONE, True),
    "UDP without checksum": (ASKED, "acc20", patch(from_to(D, FAR, udp()), 40, b"\0\0"), ONE, True),
    "UDP, checksum computed to 0": (ASKED, "acc20", octets(from_to(D, FAR, udp(payload=ZERO_IN))), ONE, True),
    "UDP, checksum will compute to 0": (ASKED, "acc20", octets(from_to(D, FAR, udp(payload=ZERO_OUT))), ONE, True),
    "GSO": (TALK, "acc20", outward(3000), (3, 1000), True),
    "GSO, tagged": (TRUNK, "trk", tagged(from_to(T20, FAR, tcp(flags="A", payload=bytes(3000))), 20), (3, 1000), True),
    "GSO, segments that just fit": (TALK, "acc20", outward(2920, flags="DF"), (2, 1460), True),
    "GSO, segments that do not fit": (TALK, "acc20", outward(2922, flags="DF"), (2, 1461), False),
    "GSO of a tunnel, segments that just fit": (TUNNEL, "acc20", octets(from_to(D, FAR, in_vxlan(2820), flags="DF")), (2, 1410), True),
    "GSO of a tunnel, segments that do not fit": (TUNNEL, "acc20", octets(from_to(D, FAR, in_vxlan(2822), flags="DF")), (2, 1411), False),
}


def known(switch):
    """(by the entry's way out, decided anew)"""
    stats = switch.control.show("counters", "show")["stats"]
    return stats["flow_hit"], stats["flow_stale"]


def both_ways(switch, hook, case):
    """What a packet became on the long way and on the short one, and known() before, between and after. None: sluiced has changed
    the epoch meanwhile, as it does when a neighbour changes."""
    before, port, frame, gso, leaves = case
    switch.forget()
    for earlier in before:
        travel(switch, hook, *earlier)
    switch.epoch()
    epoch, counts = switch.map("control").lookup(0), [known(switch)]
    long = send(switch, hook, port, frame, gso)
    counts.append(known(switch))
    if not leaves:  # then another packet must have the way out written down
        travel(switch, hook, *next(e for e in reversed(before) if e[0] == port))
    short = send(switch, hook, port, frame, gso)
    counts.append(known(switch))
    return (long, short, counts) if switch.map("control").lookup(0) == epoch else None


def grown(after, before):
    return tuple(x - y for x, y in zip(after, before))


@pytest.mark.parametrize("name, hook", [(n, h) for n, case in CASES.items() for h in HOOKS if h == "tc" or case[3] == ONE])
def test_short_and_long_way_agree(switch, name, hook):
    case = CASES[name]
    long, short, (start, between, end) = next(filter(None, (both_ways(switch, hook, case) for _ in range(10))))
    assert (short.verdict, short.frame, short.egress, short.counters, short.drops) == (
        long.verdict, long.frame, long.egress, long.counters, long.drops), f"long: {long.words()}\nshort: {short.words()}"  # fmt: skip
    gso, leaves = case[3:]
    if leaves:
        assert grown(between, start) == (0, 1), "the way out was not decided anew"
        assert grown(end, between) == (gso[0] or 1, 0), "the entry was not used"
    if hook == "tc":
        assert bool(short.drops) != leaves, short.words()
