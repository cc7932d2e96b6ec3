"""What is the gateway's on an address that it shares (bpf/own.h): peers by protocols without ports, while sluiced looks; identifiers
of its pings."""
import errno
import struct
import time
from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import topo
from frames import D, PAYLOAD, W2, WAN2, WAN3, echo, from_to, from_to6, octets
from harness import send, travel
from nat_frames import in4, in6, out4, out6

PEER, PEER6 = "10.98.1.79", "2001:db8:98::79"  # by wan2
GRE = Raw(b"\0\0\x08\0" + PAYLOAD)
FROM_PEER, FROM_D = in4(W2, PEER, WAN2.ip4, GRE, proto=47), from_to(D, PEER, GRE, proto=47)
FROM_PEER6, FROM_D6 = in6(W2, PEER6, WAN2.ip6, GRE, nh=50), from_to6(D, PEER6, GRE, nh=50)


@pytest.mark.parametrize(
    "hook, came, asks, left",
    [
        ("tc", FROM_PEER, FROM_D, out4(W2, WAN2.ip4, PEER, GRE, proto=47)),
        ("xdp", FROM_PEER6, FROM_D6, out6(W2, WAN2.ip6, PEER6, GRE, nh=50)),
    ],
    ids=("GRE", "IPv6 ESP"),
)
def test_one_who_goes_on_sending_locks_nobody_out(switch, hook, came, asks, left):
    """He is no peer of the gateway's, as sluiced sees after a second or two (on a busy machine later, since it reads its sockets for a fiftieth
    of the time at most): the gateway's packets are not his, and D may ask him."""
    switch.forget()
    assert send(switch, "tc", "wan2", came).counters["wan2"][3] == 1, "to the host"
    assert send(switch, hook, "acc20", asks).drops == {"nat_own_port": 1}, "he may be its peer"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        send(switch, "tc", "wan2", came)
        seen = send(switch, hook, "acc20", asks)
        if not seen.drops:
            break
        time.sleep(0.1)
    assert seen.out() == [("wan2", left)], seen.words()
    assert not send(switch, "tc", "wan2", came).counters["wan2"][3], "it is an answer now"


def heard_full(switch):
    return switch.control.show("counters", "show")["stats"]["nat_heard_full"]


def filled(table):
    """The keys by which it has no room left: forwards of nobody's address."""
    keys = []
    try:
        while True:
            keys.append(struct.pack("!16sHHBBH", bytes.fromhex("2001:db8:ffff".replace(":", "").ljust(32, "0")), len(keys) & 0xffff, 0, 6, 0, 0))
            table.update(keys[-1], bytes(table.value_size))
    except OSError as e:
        keys.pop()
        assert e.errno == errno.E2BIG
    return keys


@pytest.mark.parametrize("came", [FROM_PEER, FROM_PEER6], ids=("GRE", "IPv6 ESP"))
def test_a_peer_that_finds_no_room_is_counted(switch, came):
    """The forwards fill their table: who sends to the gateway is not noted, what he sends is the host's all the same."""
    table = switch.map("dnat_rules")
    switch.forget()
    keys = filled(table)
    try:
        before = heard_full(switch)
        for n in (1, 2):
            assert send(switch, "tc", "wan2", came).counters["wan2"][3] == 1, "to the host"
            assert heard_full(switch) == before + n
        table.delete(keys.pop())
        for _ in range(2):
            send(switch, "tc", "wan2", came)
            assert heard_full(switch) == before + 2, "there is room for one"
    finally:
        for key in keys:
            table.delete(key)


MIXED_DST, OWN = "10.99.13.1", WAN3.ip4


def test_no_identifier_is_kept_on_an_own_address_of_a_pool(switch):
    """A pool of two addresses, one of which is the gateway's: when the other one is full, the identifiers that a host gets on it are none
    that it has chosen, whichever of the two belongs to the host."""
    rule = f"  - {{name: mixed, type: snat, source: 10.0.20.0/24, destination: 10.99.13.0/24, out: [wan], to: [198.18.4.7, {OWN}], ports: 20000-20511}}\n"
    with switch.configured(topo.config().replace("nat:\n", "nat:\n" + rule)):
        switch.forget()
        got = {}
        for host in (D, *(replace(D, ip4=f"10.0.20.{100 + n}") for n in range(4))):
            for ident in range(20000, 20192):
                [(_, frame)] = travel(switch, "tc", "acc20", octets(from_to(host, MIXED_DST, echo(ident)))).out()
                packet = Ether(frame)
                got.setdefault(packet[IP].src, []).append(packet[ICMP].id == ident)
        assert len(got[OWN]) > 192 and sum(got[OWN]) < len(got[OWN]) / 20, f"{sum(got[OWN])} of {len(got[OWN])} are kept"
        assert sum(got["198.18.4.7"]) >= 192, "elsewhere they are"


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_its_peer_is_asked_by_the_pool_s_other_addresses(switch, hook):
    """A pool of three addresses, one of which is the gateway's, and peers with whom the gateway may be speaking: each is asked by two hosts,
    to whichever address of the three they belong, and no more."""
    rule = f"  - {{name: mixed, type: snat, source: 10.0.20.0/24, destination: 10.99.13.0/24, out: [wan], to: [198.18.4.7, {OWN}, 198.18.4.8]}}\n"
    with switch.configured(topo.config().replace("nat:\n", "nat:\n" + rule)):
        for n in range(6):
            switch.forget()
            peer = f"10.99.13.{1 + n}"
            assert send(switch, "tc", "wan2", in4(W2, peer, WAN2.ip4, GRE, proto=47)).counters["wan2"][3] == 1, "to the host"
            hosts = [replace(D, ip4=f"10.0.20.{100 + 3 * n + i}") for i in range(3)]
            seen = [send(switch, hook, "acc20", from_to(host, peer, GRE, proto=47)) for host in hosts]
            assert {Ether(frame)[IP].src for s in seen[:2] for _, frame in s.out()} == {"198.18.4.7", "198.18.4.8"}, [s.words() for s in seen]
            assert seen[2].drops, seen[2].words()
