"""A drained nexthop: what is routed without a flow stays with its bucket until that is idle, what gets a flow goes elsewhere at once,
and nobody else's way changes (user/nexthop.c, bpf/ecmp.h)."""
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


@pytest.fixture
def gateway(switch):
    """192.0.2.254 and its IPv6 sister are drained by drain(); the time after which a bucket is idle is short."""
    routes = f"  - {{to: 10.99.9.0/24, via: [{W1.ip4}, {W2.ip4}]}}\n"
    switch.control.apply(topo.config(f", ecmp-idle-timer: {IDLE_S}s", routes).replace("nat:\n", NAT))
    switch.reopen()
    switch.forget()
    yield switch
    for gw in (W1.ip4, W1.ip6):
        switch.control.cli("nexthop", "undrain", gw)
    switch.control.apply(topo.config())
    switch.reopen()


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
    until = time.monotonic() + 1.5 * IDLE_S
    while time.monotonic() < until:
        assert way(gateway, hook, frames[busy]) == W1.port
        time.sleep(IDLE_S / 5)
    assert bucket(gateway, name, busy)[1] == W1.port, "`route get` says another way than packets take"
    way(gateway, hook, frames[busy])
    assert drained(gateway)[via]["buckets_in_use"] == 1
    after = {port: way(gateway, hook, frame) for port, frame in frames.items()}
    stay = {port for port in mine if where[port] == where[busy]}
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
