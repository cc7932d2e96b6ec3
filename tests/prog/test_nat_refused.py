"""A first packet whose pair finds no place: the mapping that was made for it goes at once, with its port, and neither that
nor the session is of those that its host may have."""
import array
import mmap
from contextlib import contextmanager
from dataclasses import replace

import bpf
import pytest
import topo
from scapy.packet import Raw

from frames import D, PAYLOAD, T20, from_to, from_to6, octets, tagged, udp
from harness import send, travel
from nat_frames import FAR, FAR6
from test_flow_insert import held, live
from test_nat_conformance import FEW_DST, mapped

FREE, BUSY = (0, 3), 1
OTHER = "10.99.5.7"
GRE = Raw(b"\0\0\x08\0" + PAYLOAD)


@contextmanager
def full(switch, family):
    """No slot of the flow table is free."""
    table = switch.map(f"flow_words{family}")
    with mmap.mmap(table.fd, table.max_entries * 64) as memory:
        before = memory[:]
        words = array.array("I", before)
        memory[:] = array.array("I", (BUSY if i % 16 != 15 and w & 3 in FREE else w for i, w in enumerate(words))).tobytes()
        try:
            yield
        finally:
            memory[:] = before


@pytest.mark.parametrize("hook", ("xdp", "tc"))
@pytest.mark.parametrize("family, frame", [(4, from_to(D, FAR, udp(sport=4100))), (6, from_to6(D, FAR6, udp(sport=4100)))])
def test_no_place_for_the_pair(switch, hook, family, frame):
    switch.forget()
    free = held(switch)
    with full(switch, family):
        for _ in range(3):
            assert send(switch, hook, "acc20", frame).drops == {"flow_full": 1}
            assert (live(switch, "nat_words"), held(switch)) == (0, free)
    travel(switch, hook, "acc20", octets(frame))
    assert (live(switch, "nat_words"), held(switch)) == (1, free + 1)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_a_mapping_in_use_stays(switch, hook):
    switch.forget()
    free = held(switch)
    first = mapped(travel(switch, hook, "acc20", octets(from_to(D, FAR, udp(sport=4100)))))
    with full(switch, 4):
        assert send(switch, hook, "acc20", from_to(D, OTHER, udp(sport=4100))).drops == {"flow_full": 1}
        assert (live(switch, "nat_words"), held(switch)) == (1, free + 1)
    assert mapped(travel(switch, hook, "acc20", octets(from_to(D, OTHER, udp(sport=4100))))) == first


def refused(switch, hook, port, frame):
    """Why a packet is dropped, by XDP or by tc, to which XDP leaves those that the sender is to hear of."""
    seen = send(switch, hook, port, frame)
    if hook == "xdp" and seen.verdict == bpf.XDP_PASS:
        seen = send(switch, "tc", port, frame)
    return seen.drops


def has_three_sessions_left(switch, hook):
    """As many as the rule `few` gives, and no more; packets of those that are there are none."""
    for _ in range(3):
        for dst in (FEW_DST, "10.99.11.2", "10.99.11.3"):
            assert travel(switch, hook, "acc20", octets(from_to(D, dst, udp()))).out()
    assert refused(switch, hook, "acc20", from_to(D, "10.99.11.4", udp())) == {"nat_limit_sessions": 1}


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_without_an_address_it_is_no_session(switch, hook):
    """GRE to a remote end that another host has."""
    switch.forget()
    travel(switch, hook, T20.port, octets(tagged(from_to(T20, FEW_DST, GRE, proto=47), 20)))
    for _ in range(5):
        assert refused(switch, hook, "acc20", from_to(D, FEW_DST, GRE, proto=47)) == {"nat_no_address": 1}
    has_three_sessions_left(switch, hook)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_without_a_place_it_is_no_session(switch, hook):
    switch.forget()
    with full(switch, 4):
        for _ in range(5):
            assert refused(switch, hook, "acc20", from_to(D, FEW_DST, GRE, proto=47)) == {"flow_full": 1}
    has_three_sessions_left(switch, hook)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_without_ports_sessions_count_too(switch, hook):
    switch.forget()
    for dst in (FEW_DST, "10.99.11.2", "10.99.11.3", FEW_DST):
        assert travel(switch, hook, "acc20", octets(from_to(D, dst, GRE, proto=47))).out()
    assert refused(switch, hook, "acc20", from_to(D, "10.99.11.4", udp())) == {"nat_limit_sessions": 1}


def has_two_ports_left(switch, hook):
    """As many as the rule `few` gives, and no more; one serves all that its source opens."""
    for sport in (4000, 4001, 4000):
        assert travel(switch, hook, "acc20", octets(from_to(D, FEW_DST, udp(sport=sport)))).out()
    assert refused(switch, hook, "acc20", from_to(D, FEW_DST, udp(sport=4002))) == {"nat_limit_ports": 1}


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_without_a_place_it_has_no_port(switch, hook):
    switch.forget()
    with full(switch, 4):
        for sport in range(4100, 4105):
            assert refused(switch, hook, "acc20", from_to(D, FEW_DST, udp(sport=sport))) == {"flow_full": 1}
    has_two_ports_left(switch, hook)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
def test_a_port_that_is_shared_is_no_port_of_its_host(switch, hook):
    """All of the pool's are others', and the limit is one."""
    rule = "  - {name: tight, type: snat, source: 10.0.20.0/24, destination: 10.99.13.0/24, out: [wan], to: 198.18.4.7, ports: 20000-20001,\n"
    rule += "     mapping: address-and-port-dependent, overload: true, limit: {ports: 1}}\n"
    with switch.configured(topo.config().replace("nat:\n", "nat:\n" + rule)):
        switch.forget()
        for n in range(2):
            travel(switch, hook, "acc20", octets(from_to(replace(D, ip4=f"10.0.20.{100 + n}"), "10.99.13.1", udp())))
        for n in range(2, 6):
            assert travel(switch, hook, "acc20", octets(from_to(D, f"10.99.13.{n}", udp()))).out()
