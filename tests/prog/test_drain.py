"""A drained nexthop: what is routed without a flow stays with its bucket until that is idle, what gets a flow goes elsewhere at once,
and nobody else's way changes (user/nexthop.c, bpf/ecmp.h)."""
import struct
import time

import pytest

import topo
from frames import A, D, W1, W2, from_to, from_to6, octets, tcp, udp
from harness import HOOKS, send
from test_ecmp import way

IDLE_S = 1
NAT = """nat:
  - {name: far, type: dnat, destination: 192.0.2.1, protocol: udp, port: 9999, to: 10.99.9.5}
"""
PORTS = range(1000, 1012)


def drained(switch):
    return {n["via"]: n for n in switch.control.show("nexthop", "show") if "drained_s" in n}


def drains(switch, idle_s):
    """192.0.2.254 and its IPv6 sister are drained by drain(); a bucket is idle after this time."""
    routes = f"  - {{to: 10.99.9.0/24, via: [{W1.ip4}, {W2.ip4}]}}\n"
    with switch.configured(topo.config(f", ecmp-idle-timer: {idle_s}s", routes).replace("nat:\n", NAT)):
        switch.forget()
        yield switch
        for gw in (W1.ip4, W1.ip6):
            switch.control.cli("nexthop", "undrain", gw)


@pytest.fixture
def gateway(switch):
    """Nobody may pause."""
    yield from drains(switch, IDLE_S)


@pytest.fixture
def patient(switch):
    """Nothing is idle while a test runs."""
    yield from drains(switch, 600)


def drain(switch):
    for gw in (W1.ip4, W1.ip6):
        done = switch.control.cli("nexthop", "drain", gw)
        assert done.returncode == 0, done.stdout + done.stderr


FLOWS = {
    "IPv4 UDP": lambda port: octets(from_to(A, "10.50.0.1", udp(port, 53))),
    "IPv4 TCP": lambda port: octets(from_to(A, "10.50.0.1", tcp(port, 80, "A"))),
    "IPv6 UDP": lambda port: octets(from_to6(A, "2001:db8:50::1", udp(port, 53))),
}


def bucket(switch, frame_of, port):
    ip6 = "IPv6" in frame_of
    to, source = ("2001:db8:50::1", A.ip6) if ip6 else ("10.50.0.1", A.ip4)
    proto, dport = ("tcp", "80") if "TCP" in frame_of else ("udp", "53")
    o = switch.control.show("route", "get", to, "from", source, "iif", "vlan10", "ipproto", proto, "sport", str(port), "dport", dport)
    return o["group"]["bucket"], o["out"]["interface"]


@pytest.mark.parametrize("name, hook", [("IPv4 UDP", "tc"), ("IPv4 TCP", "xdp"), ("IPv6 UDP", "xdp")])
def test_flow_in_use_stays_and_an_idle_one_moves(gateway, name, hook):
    frames = {port: FLOWS[name](port) for port in PORTS}
    before = {port: way(gateway, hook, frame) for port, frame in frames.items()}
    mine = [port for port in PORTS if before[port] == W1.port]
    assert 0 < len(mine) < len(PORTS)
    where = {port: bucket(gateway, name, port)[0] for port in mine}
    drain(gateway)
    assert {port: way(gateway, hook, frame) for port, frame in frames.items()} == before
    via = W1.ip6 if "IPv6" in name else W1.ip4
    assert drained(gateway)[via]["buckets_in_use"] > 1
    busy = mine[0]
    until = time.monotonic() + 2.5 * IDLE_S
    while time.monotonic() < until:
        assert way(gateway, hook, frames[busy]) == W1.port
        time.sleep(IDLE_S / 5)
    assert bucket(gateway, name, busy)[1] == W1.port, "`route get` says another way than packets take"
    way(gateway, hook, frames[busy])
    assert drained(gateway)[via]["buckets_in_use"] == 1
    after = {port: way(gateway, hook, frame) for port, frame in frames.items()}
    # A connection of TCP may pause for as long as others keep its bucket, what has no end and no beginning may not.
    stay = {port for port in mine if where[port] == where[busy]} if "TCP" in name else {busy}
    assert after == {port: W1.port if port in stay else W2.port for port in PORTS}


@pytest.mark.parametrize("hook", HOOKS)
def test_new_flow_of_nat_goes_elsewhere_though_its_bucket_is_held(gateway, hook):
    """Sources of VLAN 20 are translated: the flow entry remembers the way, so nothing new need go by the drained gateway."""
    def port_of(sport):
        ((port, _),) = send(gateway, hook, D.port, octets(from_to(D, "10.50.0.1", udp(sport, 53)))).out()
        return port

    old = {sport: port_of(sport) for sport in PORTS}
    assert set(old.values()) == {W1.port, W2.port}
    drain(gateway)
    for sport in PORTS:
        way(gateway, hook, FLOWS["IPv4 UDP"](sport))
    assert {port_of(sport) for sport in range(2000, 2032)} == {W2.port}
    assert {sport: port_of(sport) for sport in PORTS} == old


@pytest.mark.parametrize("hook", HOOKS)
def test_new_flows_of_nat_hold_no_bucket(gateway, hook):
    """They leave by the other one, however many come: the drained gateway becomes idle."""
    drain(gateway)
    sport, until = 3000, time.monotonic() + 3 * IDLE_S
    while time.monotonic() < until:
        for _ in range(32):
            ((port, _),) = send(gateway, hook, D.port, octets(from_to(D, "10.50.0.1", udp(sport, 53)))).out()
            assert port == W2.port
            sport += 1
        time.sleep(IDLE_S / 5)
    assert drained(gateway)[W1.ip4]["buckets_in_use"] == 0


@pytest.mark.parametrize("hook", HOOKS)
def test_flow_by_its_destination_alone_goes_elsewhere(gateway, hook):
    """The destination is translated, the source is exempt: a flow all the same."""
    def port_of(sport):
        ((port, _),) = send(gateway, hook, D.port, octets(from_to(D, "192.0.2.1", udp(sport, 9999)))).out()
        return port

    assert {port_of(sport) for sport in PORTS} == {W1.port, W2.port}
    drain(gateway)
    assert {port_of(sport) for sport in range(2000, 2032)} == {W2.port}


def test_undrained_gateway_has_its_buckets_again(gateway):
    frames = {port: FLOWS["IPv4 UDP"](port) for port in PORTS}
    before = {port: way(gateway, "xdp", frame) for port, frame in frames.items()}
    drain(gateway)
    deadline = time.monotonic() + 5 * IDLE_S
    while drained(gateway)[W1.ip4]["buckets_in_use"] and time.monotonic() < deadline:
        time.sleep(IDLE_S / 4)
    assert {way(gateway, "xdp", frame) for frame in frames.values()} == {W2.port}
    gateway.control.cli("nexthop", "undrain", W1.ip4)
    assert not drained(gateway).get(W1.ip4)
    assert {port: way(gateway, "xdp", frame) for port, frame in frames.items()} == before


# ---- who begins while a bucket is held

FAMILIES = {
    "IPv4": lambda port, flags: octets(from_to(A, "10.50.0.1", tcp(port, 80, flags))),
    "IPv6": lambda port, flags: octets(from_to6(A, "2001:db8:50::1", tcp(port, 80, flags))),
}
OLD, NEW = range(1000, 1016), range(2000, 2016)


def stat(switch, name):
    return switch.control.show("counters", "show")["stats"][name]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_connection_that_begins_goes_elsewhere_and_an_old_one_stays(patient, hook, family):
    """No old connection moves, and each new one does, with all its packets."""
    frame = FAMILIES[family]
    before = {port: way(patient, hook, frame(port, "A")) for port in OLD}
    would = {port: way(patient, hook, frame(port, "A")) for port in NEW}
    assert {*before.values()} == {*would.values()} == {W1.port, W2.port}
    drain(patient)
    assert {port: way(patient, hook, frame(port, "A")) for port in OLD} == before
    for flags in ("S", "A", "PA", "A", "FA", "A", "R"):
        assert {way(patient, hook, frame(port, flags)) for port in NEW} == {W2.port}, flags
    for flags in ("PA", "S", "FA", "A"):  # a SYN in its midst moves no connection
        assert {port: way(patient, hook, frame(port, flags)) for port in OLD} == before, flags
    assert {way(patient, hook, frame(port, "S")) for port in OLD} == {W2.port}  # another one with the same ports
    assert {way(patient, hook, frame(port, "A")) for port in OLD} == {W2.port}


@pytest.mark.parametrize("hook", HOOKS)
def test_side_that_answers_begins_too(patient, hook):
    """Of a connection that begins outside the first packet on this way is the answer to its SYN."""
    drain(patient)
    for flags in ("SA", "A", "PA"):
        assert {way(patient, hook, FAMILIES["IPv4"](port, flags)) for port in NEW} == {W2.port}


@pytest.mark.parametrize("hook, name", [("tc", "IPv4 UDP"), ("xdp", "IPv6 UDP")])
def test_flow_without_beginning_is_new_once_the_old_ones_are_known(gateway, hook, name):
    """For as long as flows may pause those that are seen were there, and stay; whoever comes later goes elsewhere."""
    frame = FLOWS[name]
    before = {port: way(gateway, hook, frame(port)) for port in OLD}
    drain(gateway)
    via = W1.ip6 if "IPv6" in name else W1.ip4
    until = time.monotonic() + 2 * IDLE_S
    while time.monotonic() < until:
        assert {port: way(gateway, hook, frame(port)) for port in OLD} == before
        time.sleep(IDLE_S / 5)
    assert drained(gateway)[via]["old_flows"] == len([port for port in OLD if before[port] == W1.port])
    for _ in range(3):
        assert {way(gateway, hook, frame(port)) for port in NEW} == {W2.port}
        assert {port: way(gateway, hook, frame(port)) for port in OLD} == before
    held = next(port for port in OLD if before[port] == W1.port)
    assert bucket(gateway, name, held)[1] == W1.port, "`route get` says another way than packets take"
    assert bucket(gateway, name, NEW[0])[1] == W2.port


HELD_NOTES, HELD_LINES, HELD_SHIFT, HELD_NEW = 1 + 16384 // 8, 32768, 29, 2


@pytest.mark.parametrize("hook", HOOKS)
def test_without_room_for_notes_all_stay_with_their_bucket(patient, hook):
    frame = FAMILIES["IPv4"]
    before = {port: way(patient, hook, frame(port, "A")) for port in NEW}
    drain(patient)
    now = (time.clock_gettime_ns(time.CLOCK_MONOTONIC) >> HELD_SHIFT) & 0x1FFF
    line = struct.pack("=8Q", *[0xFFFFFFFF << 32 | HELD_NEW << 29 | now << 16 | 1] * 8)
    table, full = patient.map("held_flows"), stat(patient, "drain_full")
    for i in range(HELD_LINES):
        table.update(HELD_NOTES + i, line)
    assert {port: way(patient, hook, frame(port, "S")) for port in NEW} == before
    assert stat(patient, "drain_full") == full + len([port for port in NEW if before[port] == W1.port])
    for i in range(HELD_LINES):
        table.update(HELD_NOTES + i, bytes(64))
    assert {port: way(patient, hook, frame(port, "A")) for port in NEW} == before
    assert {way(patient, hook, frame(port, "S")) for port in range(3000, 3016)} == {W2.port}


@pytest.mark.parametrize("hook", HOOKS)
def test_connections_of_a_drain_that_was_undone_are_old_at_the_next(patient, hook):
    frame = FAMILIES["IPv4"]
    before = {port: way(patient, hook, frame(port, "A")) for port in NEW}
    drain(patient)
    assert {way(patient, hook, frame(port, flags)) for flags in "SA" for port in NEW} == {W2.port}
    patient.control.cli("nexthop", "undrain", W1.ip4)
    assert {port: way(patient, hook, frame(port, "A")) for port in NEW} == before
    drain(patient)
    assert {port: way(patient, hook, frame(port, "A")) for port in NEW} == before
