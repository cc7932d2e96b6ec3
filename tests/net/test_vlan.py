"""VLANs (802.1Q): what crosses and what never does, counted on the far side."""
import os
import time

import pytest
from scapy.all import Dot1Q, Ether, IP, UDP, Raw

import netlab

CONFIG = """\
ports:
  a1: {mode: access, vlan: 10}
  a2: {mode: access, vlan: 10}
  b1: {mode: access, vlan: 20}
  t1: {mode: trunk, vlans: [10, 20]}
  n1: {mode: trunk, vlans: [10, 30], native: 30}
  q1: {mode: trunk, vlans: [10, 20], protocol: 802.1ad}
"""
BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "02:00:00:00:00:99"


@pytest.fixture(scope="module")
def net(shared_world):
    w = shared_world
    sw = w.ns("sw")
    for name, addr in (("a1", "10.0.10.1/24"), ("a2", "10.0.10.2/24"), ("b1", "10.0.10.3/24"), ("t1", None), ("n1", None), ("q1", None)):
        w.host(name, sw, name, addrs=[addr] if addr else [])
    w.swc = w.start_switch(sw, CONFIG)
    w.swc.attached("a1", "a2", "b1", "t1", "n1", "q1")
    return w


def udp(dst, src, *tags, payload=None):
    """A frame with a payload that occurs nowhere else; returns frame and payload."""
    payload = payload or os.urandom(24)
    f = Ether(dst=dst, src=src)
    for t in tags:
        f = f / Dot1Q(vlan=t)
    return bytes(f / IP(src="10.0.10.250", dst="10.0.10.251") / UDP(sport=1, dport=9) / Raw(payload)), payload


def exchange(net, sender, frame, payload, *receivers, wait=0.3):
    """Sends out of `sender`; what each of the others received with the payload: {name: [frames]}."""
    sniffers = {r: getattr(net, r).sniff("eth0") for r in receivers}
    try:
        getattr(net, sender).send("eth0", frame)
        time.sleep(wait)
        return {r: s.matching(payload, 0) for r, s in sniffers.items()}
    finally:
        for s in sniffers.values():
            s.close()


def test_ping_inside_a_vlan(net):
    assert net.a1.ping("10.0.10.2") == (3, 3)


def test_no_ping_between_vlans_of_one_subnet(net):
    assert net.a1.ping("10.0.10.3", count=2)[1] == 0


def test_broadcast_reaches_every_port_of_the_vlan_and_no_other(net):
    frame, payload = udp(BROADCAST, "02:00:00:00:01:01")
    got = exchange(net, "a1", frame, payload, "a1", "a2", "b1", "t1", "n1", "q1")
    assert {r: len(f) for r, f in got.items()} == {"a1": 0, "a2": 1, "b1": 0, "t1": 1, "n1": 1, "q1": 1}


def test_unknown_unicast_is_flooded_in_its_vlan_only(net):
    frame, payload = udp(NOBODY, "02:00:00:00:01:02")
    got = exchange(net, "b1", frame, payload, "a1", "a2", "b1", "t1", "n1", "q1")
    assert {r: len(f) for r, f in got.items()} == {"a1": 0, "a2": 0, "b1": 0, "t1": 1, "n1": 0, "q1": 1}


def test_learned_unicast_goes_to_one_port(net):
    station = "02:00:00:00:01:03"
    hello, payload = udp(BROADCAST, station)
    exchange(net, "a2", hello, payload, "a1", wait=0.2)
    frame, payload = udp(station, "02:00:00:00:01:04")
    got = exchange(net, "a1", frame, payload, "a2", "b1", "t1", "n1", "q1")
    assert {r: len(f) for r, f in got.items()} == {"a2": 1, "b1": 0, "t1": 0, "n1": 0, "q1": 0}


def test_station_that_moved_is_followed(net):
    station = "02:00:00:00:01:05"
    for port in ("a2", "t1"):
        hello, payload = udp(BROADCAST, station, *([10] if port == "t1" else []))
        exchange(net, port, hello, payload, "a1", wait=0.2)
    frame, payload = udp(station, "02:00:00:00:01:06")
    got = exchange(net, "a1", frame, payload, "a2", "t1")
    assert {r: len(f) for r, f in got.items()} == {"a2": 0, "t1": 1}


def test_tag_is_pushed_towards_a_trunk(net):
    frame, payload = udp(BROADCAST, "02:00:00:00:01:07")
    seen = exchange(net, "a1", frame, payload, "t1")["t1"]
    assert seen == [frame[:12] + bytes.fromhex("8100000a") + frame[12:]]


def test_tag_is_popped_towards_an_access_port(net):
    plain, payload = udp(BROADCAST, "02:00:00:00:01:08")
    tagged, _ = udp(BROADCAST, "02:00:00:00:01:08", 10, payload=payload)
    assert exchange(net, "t1", tagged, payload, "a1")["a1"] == [plain]


def test_native_vlan_leaves_untagged(net):
    tagged, payload = udp(BROADCAST, "02:00:00:00:01:09")
    got = exchange(net, "n1", tagged, payload, "a1", "t1", "b1")
    assert {r: len(f) for r, f in got.items()} == {"a1": 0, "t1": 0, "b1": 0}, "VLAN 30 has no other port"
    frame, payload = udp(BROADCAST, "02:00:00:00:01:0a", 10)
    seen = exchange(net, "t1", frame, payload, "n1")["n1"]
    assert [f[12:16].hex() for f in seen] == ["8100000a"], "VLAN 10 is not the native one"


def test_provider_tag_on_a_8021ad_port(net):
    frame, payload = udp(BROADCAST, "02:00:00:00:01:0b")
    seen = exchange(net, "a1", frame, payload, "q1")["q1"]
    assert [f[12:16].hex() for f in seen] == ["88a8000a"]


def test_priority_bits_survive_between_trunks(net):
    payload = os.urandom(24)
    frame = bytes(Ether(dst=BROADCAST, src="02:00:00:00:01:0c") / Dot1Q(vlan=10, prio=5) / IP(dst="10.0.10.9") / UDP() / Raw(payload))
    seen = exchange(net, "t1", frame, payload, "n1")["n1"]
    assert [f[12:16].hex() for f in seen] == ["8100a00a"]


def test_double_tag_cannot_hop_into_another_vlan(net):
    frame, payload = udp(BROADCAST, "02:00:00:00:01:0d", 10, 20)
    got = exchange(net, "t1", frame, payload, "a1", "b1")
    assert got["b1"] == [], "the inner tag is no VLAN of ours"
    assert [f[12:16].hex() for f in got["a1"]] == ["81000014"], "the outer tag is taken off, the inner one is content"


@pytest.mark.parametrize("tags", [(10,), (20,), (10, 20)], ids=str)
def test_tagged_frame_on_an_access_port_is_dropped_with_a_reason(net, tags):
    before = netlab.drops(net.swc, "a1").get("vlan_tagged_on_access", 0)
    frame, payload = udp(BROADCAST, "02:00:00:00:01:0e", *tags)
    got = exchange(net, "a1", frame, payload, "a2", "b1", "t1", "n1", "q1")
    assert {r: len(f) for r, f in got.items()} == {"a2": 0, "b1": 0, "t1": 0, "n1": 0, "q1": 0}
    assert netlab.drops(net.swc, "a1").get("vlan_tagged_on_access", 0) == before + 1


@pytest.mark.parametrize("port, tags, reason", [("t1", (30,), "vlan_not_allowed"), ("t1", (), "vlan_no_native")])
def test_frame_of_a_vlan_that_the_trunk_does_not_carry(net, port, tags, reason):
    before = netlab.drops(net.swc, port).get(reason, 0)
    frame, payload = udp(BROADCAST, "02:00:00:00:01:0f", *tags)
    got = exchange(net, port, frame, payload, "a1", "b1", "n1")
    assert {r: len(f) for r, f in got.items()} == {"a1": 0, "b1": 0, "n1": 0}
    assert netlab.drops(net.swc, port).get(reason, 0) == before + 1


def test_counters_add_up(net):
    netlab.counters_hold(net.swc)
