"""A frame like one that came a moment ago is not asked about again (bpf/known.h): it must become what it became when all was asked.

Frames are made of few addresses, so that they differ from each other in a tag, a port, an ethertype or a length. Each is sent when
nothing is known of it, and again when it is; then what was known changes.
"""
import random
import struct

import pytest

import bpf
from frames import A, B, BROADCAST, C, D, GW10, GW20, S10, T10, T20, U10, W1, WAN, eth, octets, tagged
from harness import HOOKS, send
from topo import PORTS

MACS = [A.mac, B.mac, T10.mac, D.mac, T20.mac, "02:50:00:00:00:0a", "02:50:00:00:00:0b"]
TO = MACS + [GW10.mac, GW20.mac, WAN.mac, BROADCAST, "01:80:c2:00:00:0e"]
TEN = [A, B, C, T10, S10, U10]
TYPES = [0x88B5, 0x0806, 0x8100, 0x88A8]
PORT_F_DOWN = 8


def usual(rng):
    """From a station to another one of its VLAN."""
    s = rng.choice(TEN)
    data = eth(s.mac, rng.choice([t.mac for t in TEN if t is not s]), 0x88B5, bytes(46))
    return s.port, tagged(data, (10, PORTS[s.port].vlans[10])) if PORTS[s.port].vlans[10] else data


def frame(rng):
    if rng.random() < 0.5:
        return usual(rng)
    length = rng.choice([2, 46, 46, 46, 1496, 1500, 1504])
    data = eth(rng.choice(MACS + [W1.mac]), rng.choice(TO), rng.choice(TYPES[:1] * 6 + TYPES), bytes(length))
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2])):
        data = tagged(data, (rng.choice([0, 10, 10, 20, 30, 40, 50, 50 | 0x6000]), rng.choice([0x8100, 0x8100, 0x8100, 0x88A8])))
    return rng.choice(list(PORTS)), data


def result(seen):
    return seen.verdict, seen.data, seen.out(), seen.counters, seen.drops


@pytest.mark.parametrize("hook", HOOKS)
def test_a_known_frame_becomes_what_it_became(switch, hook):
    rng, forwarded = random.Random(7), 0
    switch.forget()
    for _ in range(150):
        port, data = frame(rng)
        send(switch, "tc", port, data)  # its source is learned
        switch.epoch()
        first = send(switch, hook, port, data)
        for _ in range(3):
            again = send(switch, hook, port, data)
            assert result(again) == result(first), f"{data.hex()} into {port}\n{first.words()}\n{again.words()}"
        forwarded += len(first.out()) == 1
        # what differs from it in one thing is another frame
        other_port, other = frame(rng)
        other = other if rng.random() < 0.5 else data[:12] + other[12:]
        known = send(switch, hook, other_port, other)
        switch.epoch()
        fresh = send(switch, hook, other_port, other)
        assert result(known) == result(fresh), f"{other.hex()} into {other_port}\n{known.words()}\n{fresh.words()}"
    assert forwarded > 40


def warm(switch, hook, data):
    switch.forget()
    for _ in range(3):
        seen = send(switch, hook, "acc10", data)
    assert seen.out() == [("acc10b", octets(data))], seen.words()


def port_with(switch, name, offset, fmt, value):
    key = struct.pack("=I", switch.port_id[name])
    entry = bytearray(switch.map("ports").lookup(key))
    struct.pack_into(fmt, entry, offset, value)
    switch.edit("ports", key, bytes(entry))
    switch.epoch()


@pytest.mark.parametrize("hook", HOOKS)
def test_what_changes_is_seen_by_the_next_frame(switch, hook):
    data = eth(A.mac, B.mac, 0x88B5, bytes(1000))
    flags = switch.map("ports").lookup(struct.pack("=I", switch.port_id["acc10b"]))[5]
    down = (5, "=B", flags | PORT_F_DOWN, "egress_port_down")
    for offset, fmt, value, reason in [down, (12, "=I", 900, "egress_mtu"), (32, "=Q", 0, "egress_vlan")]:
        warm(switch, hook, data)
        port_with(switch, "acc10b", offset, fmt, value)
        seen = send(switch, hook, "acc10", data)
        assert seen.drops == {reason: 1}, seen.words()
    warm(switch, hook, data)
    longer = eth(A.mac, B.mac, 0x88B5, bytes(1505))
    assert send(switch, hook, "acc10", longer).drops == {"egress_mtu": 1}
    switch.forget()


def test_a_frame_is_as_long_as_all_its_buffers(switch):
    """More than a page: XDP has only the beginning before it. What counts is the whole, for the port that it is to leave by as for the
    counters."""
    data, large = eth(A.mac, B.mac, 0x88B5, bytes(1000)), eth(A.mac, B.mac, 0x88B5, bytes(6000))
    for mtu, leaves in (5000, False), (6000, True):
        warm(switch, "xdp", data)
        port_with(switch, "acc10b", 12, "=I", mtu)
        for _ in range(2):
            send(switch, "xdp", "acc10", data)
        before = switch.bytes("acc10")[0]
        seen = send(switch, "xdp", "acc10", large)
        assert (seen.verdict == bpf.XDP_REDIRECT) == leaves, seen.words()
        assert not leaves or switch.bytes("acc10")[0] - before == len(large)
        assert leaves or seen.drops == {"egress_mtu": 1}, seen.words()
    switch.forget()


FIRST_BUFFER = 4096 - 256 - 320  # a page without headroom and struct skb_shared_info, whose size is the kernel's affair


@pytest.mark.parametrize("family", [4, 6])
def test_what_follows_a_packet_in_further_buffers_is_counted(switch, family):
    """Where the first buffer is longer than an ordinary frame, a packet's length says nothing of what follows it, which may begin where
    the next buffer does."""

    def packet(total, behind):
        if family == 4:
            return eth(A.mac, B.mac, 0x0800, struct.pack("!BBH", 0x45, 0, total) + bytes(behind - 4))
        return eth(A.mac, B.mac, 0x86DD, struct.pack("!IH", 6 << 28, total - 40) + bytes(behind - 6))

    warm(switch, "xdp", packet(100, 100))
    port_with(switch, "acc10b", 12, "=I", 9000)
    send(switch, "xdp", "acc10", packet(100, 100))
    for total in (46, 1000, 1500, *range(FIRST_BUFFER - 80, FIRST_BUFFER + 80), 5900):
        data = packet(total, 5986)
        before = switch.bytes("acc10")[0]
        seen = send(switch, "xdp", "acc10", data)
        assert seen.verdict == bpf.XDP_REDIRECT and switch.bytes("acc10")[0] - before == len(data), (total, seen.words())
    switch.forget()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_station_that_moved_is_found_at_once(switch, hook):
    here, there = "02:10:00:00:00:98", eth("02:10:00:00:00:98", A.mac, 0x88B5, bytes(46))
    to = eth(A.mac, here, 0x88B5, bytes(46))
    switch.forget()
    for port in ("acc10b", "trk2", "acc10b"):
        back = tagged(there, 10) if port == "trk2" else there
        send(switch, hook, port, back)
        for _ in range(3):
            seen = send(switch, hook, "acc10", to)
            assert [p for p, _ in seen.out()] == [port], seen.words()
    switch.forget()


def test_xdp_sends_nothing_known_to_a_port_of_tc(switch):
    data = eth(A.mac, "02:10:00:00:00:0c", 0x88B5, bytes(46))
    switch.forget()
    for _ in range(3):
        assert send(switch, "tc", "acc10", data).out() == [("acc10t", octets(data))]
        assert send(switch, "xdp", "acc10", data).verdict == bpf.XDP_PASS
