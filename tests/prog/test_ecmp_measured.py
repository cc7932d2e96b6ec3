"""ECMP measured: how 100000 random flows spread over a group, and how many of them move when a member leaves or joins (RFC 2992);
what of a packet chooses, for each `ecmp-hash`. The groups are made by sluiced from its configuration; the flows go through the
loaded programs one by one."""
import random
import struct
from collections import Counter

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

import bpf
import topo
from frames import A, from_to, from_to6, mac_bytes, octets, udp

FLOWS = 100_000
SPREAD = 0.05
MEMBERS = 17
GATEWAYS4 = [f"192.0.2.{100 + i}" for i in range(MEMBERS)]
GATEWAYS6 = [f"2001:db8:e1::1:{i:x}" for i in range(MEMBERS)]
MACS = [f"02:00:00:00:64:{i:02x}" for i in range(MEMBERS)]
MEMBER_OF = {mac_bytes(m): i for i, m in enumerate(MACS)}
TO4, TO6 = "10.40.0.0/16", "2001:db8:40::/48"


def neighbours():
    return "".join(
        f"\n  - {{address: '{gw}', mac: '{mac}', interface: wan}}"
        for gws in (GATEWAYS4, GATEWAYS6)
        for gw, mac in zip(gws, MACS)
    )


def routes(weights):
    """A route of each family over the members that have a weight: {member: weight}."""
    lines = ""
    for to, gws in ((TO4, GATEWAYS4), (TO6, GATEWAYS6)):
        via = ", ".join(f"{{address: '{gws[i]}', weight: {w}}}" for i, w in weights.items())
        lines += f"  - {{to: '{to}', via: [{via}]}}\n"
    return lines


class Ways:
    """The switch with a group behind 10.40.0.0/16 and 2001:db8:40::/48."""

    def __init__(self, switch):
        self.switch, self.policy = switch, "l4"

    def group(self, weights):
        settings = "" if self.policy == "l4" else f", ecmp-hash: {self.policy}"
        self.switch.control.apply(topo.config(settings, routes(weights), neighbours()))
        self.switch.reopen()

    def batch(self, size, hook="xdp"):
        prog = self.switch.xdp if hook == "xdp" else self.switch.tc
        return bpf.Batch(prog, size, self.switch.ifindex["acc10"], hook == "xdp")

    def members(self, frames, hook="xdp"):
        """The member that each of the frames, all of one size, went to."""
        batch, chosen = None, []
        for frame in frames:
            batch = batch or self.batch(len(frame), hook)
            out = batch.send(frame)
            chosen.append(MEMBER_OF[out[:6]] if out else None)
        assert None not in chosen, "a packet was not forwarded"
        return chosen


@pytest.fixture(scope="module")
def ways(switch):
    switch.forget()
    made = Ways(switch)
    yield made
    switch.control.apply(topo.config())
    switch.reopen()


# ---- random flows, made without scapy: addresses and ports written into one frame


def flows4(seed, n=FLOWS):
    """UDP from anywhere to anywhere behind the route."""
    rng, base = random.Random(seed), octets(from_to(A, "10.40.0.0", udp(payload=b"0123456789")))
    mac, head, tail = base[:14], base[14:24], base[38:]
    words = sum(struct.unpack("!5H", head))
    for _ in range(n):
        addrs = struct.pack("!II", rng.randrange(0x0B000000, 0x7E000000), 0x0A280000 | rng.randrange(1, 65535))
        total = words + sum(struct.unpack("!4H", addrs))
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        yield mac + head + struct.pack("!H", ~total & 0xFFFF) + addrs + rng.randbytes(4) + tail


def flows6(seed, n=FLOWS):
    rng, base = random.Random(seed), octets(from_to6(A, "2001:db8:40::", udp(payload=b"0123456789")))
    for _ in range(n):
        source, last = b"\x20\x01\x0d\xb9" + rng.randbytes(12), rng.randbytes(8)
        yield base[:22] + source + base[38:46] + last + rng.randbytes(4) + base[58:]


def share_error(chosen, weights):
    """The largest difference of a member's share from its weight's, as a part of that."""
    count, total = Counter(chosen), sum(weights.values())
    return max(abs(count[i] / len(chosen) / (w / total) - 1) for i, w in weights.items())


GROUPS = {
    "1:2:5": {0: 1, 1: 2, 2: 5},
    "16 equal": {i: 1 for i in range(16)},
    "3 equal": {i: 1 for i in range(3)},
    "1:28": {0: 1, 1: 28},
}


BALANCED = [("l4", name) for name in GROUPS] + [(p, name) for p in ("l3", "symmetric", "inner") for name in ("1:2:5", "16 equal")]


@pytest.mark.parametrize("policy, name", BALANCED)
def test_balance_of_100000_flows(ways, policy, name):
    """Within 5 % of the weights."""
    weights = GROUPS[name]
    ways.policy = policy
    ways.group(weights)
    errors = [share_error(ways.members(flows(FLOWS)), weights) for flows in (flows4, flows6)]
    print(f"{policy}, {name}: {FLOWS} flows are at most {errors[0]:.1%} (IPv4), {errors[1]:.1%} (IPv6) from the weights")
    assert max(errors) <= SPREAD


MOVED = [("l4", n) for n in (2, 5, 16)] + [(p, 5) for p in ("l3", "symmetric", "inner")]


@pytest.mark.parametrize("policy, n", MOVED)
def test_share_of_flows_that_move(ways, policy, n):
    """One of N leaves: its own flows and no other move, 1/N of all. It comes back: the same. Another joins: 1/(N+1) go to it, and
    nobody else gets any."""
    all_of = {i: 1 for i in range(n)}
    ways.policy = policy
    seen = []
    for weights in (all_of, {i: 1 for i in range(n) if i != n // 2}, all_of, {i: 1 for i in range(n + 1)}):
        ways.group(weights)
        seen.append(ways.members(flows4(7, FLOWS // (2 if policy == "l4" else 4))))
    full, less, again, more = seen
    moved = [sum(x != y for x, y in zip(a, b)) / len(a) for a, b in ((full, less), (less, again), (again, more))]
    print(f"{policy}, {n} members: of {len(full)} flows {moved[0]:.2%} moved when one left (1/{n} = {1 / n:.2%}), {moved[1]:.2%} when "
          f"it came back, {moved[2]:.2%} when another joined (1/{n + 1} = {1 / (n + 1):.2%})")
    assert all(y == x or x == n // 2 for x, y in zip(full, less)), "a flow of a member that stayed has moved"
    assert all(y in (x, n // 2) for x, y in zip(less, again))
    assert all(y in (x, n) for x, y in zip(again, more))
    for share, wanted in zip(moved, (1 / n, 1 / n, 1 / (n + 1))):
        assert abs(share / wanted - 1) <= 2 * SPREAD


def test_group_of_256(ways):
    """As many members as a route may have, all of them used; 100000 flows give each about 390."""
    gateways = {f"2001:db8:e1::2:{i:x}": f"02:00:00:00:65:{i:02x}" for i in range(256)}
    via = ", ".join(f"'{gw}'" for gw in gateways)
    neighbors = "".join(f"\n  - {{address: '{gw}', mac: '{mac}', interface: wan}}" for gw, mac in gateways.items())
    ways.switch.control.apply(topo.config("", f"  - {{to: '{TO6}', via: [{via}]}}\n", neighbors))
    ways.switch.reopen()
    batch, got = None, Counter()
    for frame in flows6(11):
        batch = batch or ways.batch(len(frame))
        got[batch.send(frame)[:6]] += 1
    assert set(got) == {mac_bytes(m) for m in gateways.values()}
    assert 280 <= min(got.values()) and max(got.values()) <= 510, (min(got.values()), max(got.values()))


# ---- inside of tunnels

N_INNER = 64


def inside(i, what, family=4):
    """The i-th packet in the tunnel: another address or port each, in one size."""
    if family == 4:
        return IP(src=f"172.16.{i // 250}.{1 + i % 250}" if what == "address" else "172.16.0.1", dst="172.17.0.1") / TCP(
            sport=1024 + i if what == "port" else 5, dport=80
        )
    return IPv6(src=f"fd00::{i + 1:x}" if what == "address" else "fd00::1", dst="fd00:1::1") / TCP(
        sport=1024 + i if what == "port" else 5, dport=80
    )


def frame_inside(packet, tag=False):
    return Ether(src="02:aa:00:00:00:01", dst="02:aa:00:00:00:02") / (Dot1Q(vlan=7) / packet if tag else packet)


def vxlan(packet, sport=50000, flags=8):
    return UDP(sport=sport, dport=4789, chksum=0) / VXLAN(vni=9, flags=flags) / packet


TUNNELS = {
    "IP in IP": lambda p: p,
    "GRE": lambda p: GRE() / p,
    "GRE with a key": lambda p: GRE(key_present=1, key=7) / p,
    "GRE with checksum, key and sequence": lambda p: GRE(chksum_present=1, key_present=1, key=7, seqnum_present=1, sequence_number=3) / p,
    "GRE with Ethernet": lambda p: GRE(proto=0x6558) / frame_inside(p),
    "VXLAN": lambda p: vxlan(frame_inside(p)),
    "VXLAN with a tag inside": lambda p: vxlan(frame_inside(p, tag=True)),
}


@pytest.fixture(scope="module")
def inner_ways(ways):
    ways.policy = "inner"
    ways.group({0: 1, 1: 1})
    yield ways
    ways.policy = "l4"


def even(chosen):
    """Of 64 flows each of two ways gets a quarter at least: a fair choice fails this for one seed in 25000, and ours is fixed."""
    return min(chosen.count(0), chosen.count(1)) >= 16


@pytest.mark.parametrize("family", [4, 6], ids=["IPv4 inside", "IPv6 inside"])
@pytest.mark.parametrize("outer", [4, 6], ids=["over IPv4", "over IPv6"])
@pytest.mark.parametrize("what, hook", [("address", "xdp"), ("port", "tc")], ids=["address", "port"])
@pytest.mark.parametrize("name", TUNNELS)
def test_what_is_inside_of_a_tunnel_chooses(inner_ways, name, what, outer, family, hook):
    def over(layer):
        return octets(from_to(A, "10.40.0.1", layer) if outer == 4 else from_to6(A, "2001:db8:40::1", layer))

    template = over(TUNNELS[name](inside(0, what, family)))
    assert len(set(inner_ways.members([template] * 4, hook))) == 1
    chosen = inner_ways.members([over(TUNNELS[name](inside(i, what, family))) for i in range(N_INNER)], hook)
    assert even(chosen), Counter(chosen)


def outer_only(layer):
    return octets(from_to(A, "10.40.0.1", layer))


@pytest.mark.parametrize(
    "frames",
    [
        [outer_only(vxlan(frame_inside(inside(i, "address")), flags=0)) for i in range(32)],
        [outer_only(GRE(version=1) / inside(i, "address")) for i in range(32)],
        [outer_only(GRE(proto=0x88B5) / Raw(bytes([i]) * 40)) for i in range(32)],
        [octets(from_to(A, "10.40.0.1", Raw(bytes([0x45, i]) * 5), proto=4)) for i in range(32)],
        [octets(from_to(A, "10.40.0.1", inside(i, "address"), flags="MF", proto=4)) for i in range(32)],
        [octets(from_to(A, "10.40.0.1", Raw(octets(inside(i, "address"))), frag=100, proto=4)) for i in range(32)],
    ],
    ids=["VXLAN without identifier", "GRE of another version", "no IP inside", "cut off", "a first fragment", "a later fragment"],
)
def test_what_is_no_tunnel_goes_by_its_own_addresses(inner_ways, frames):
    assert len(set(inner_ways.members(frames))) == 1


def test_plain_flows_still_spread(inner_ways):
    assert even(inner_ways.members(flows4(3, N_INNER))) and even(inner_ways.members(flows6(3, N_INNER)))


def test_fragments_inside_take_one_way(inner_ways):
    """Inside as outside: of all fragments of a packet the addresses count alone."""
    frames = []
    for offset, more, sport in ((0, "MF", 1000), (0, "MF", 2000), (64, "MF", 3000), (128, 0, 4000)):
        ip = IP(src="172.16.0.1", dst="172.17.0.1", proto=17, frag=offset, flags=more)
        frames.append(outer_only(ip / Raw(bytes(UDP(sport=sport, dport=53, len=2008) / Raw(bytes(100))))))
    assert len(set(inner_ways.members(frames))) == 1


def test_by_l4_a_tunnel_takes_one_way(ways):
    """What `inner` is for."""
    ways.policy = "l4"
    ways.group({0: 1, 1: 1})
    assert len(set(ways.members([outer_only(GRE() / inside(i, "address")) for i in range(64)]))) == 1
