"""NAT over time, with a real sluiced: ports run out and come back, and what the configuration takes away ends."""
import socket

import pytest

import netlab
import talk

OUT = "203.0.113.100"
HEAD = """ports:
  p1: {mode: access, vlan: 10}
  p2: {mode: access, vlan: 10}
  wan: {mode: routed}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24, "fd00::1/64"]}
  wan: {port: wan, addresses: [%s/24, "2001:db8::1/64"]}
nat:
"""
SMALL = '  - {name: small, type: snat, source: 10.0.0.6/32, to: 203.0.113.10, ports: 3000-3009, out: [wan]}\n'
REST = """  - {name: rest, type: snat, source: 10.0.0.0/24, to: masquerade, out: [wan]}
  - {name: six, type: snat, source: "fd00::/64", to: masquerade, out: [wan]}
  - {name: web, type: dnat, destination: wan, protocol: tcp, port: 80, to: "10.0.0.5:8080"}
"""


def config(nat, up="203.0.113.1"):
    return HEAD % up + nat


@pytest.fixture
def w(world):
    gw = world.ns("gw")
    world.host("h1", gw, "p1", addrs=["10.0.0.5/24", "fd00::5/64"], gw=["10.0.0.1", "fd00::1"])
    world.host("h2", gw, "p2", addrs=["10.0.0.6/24"], gw=["10.0.0.1"])
    world.host("out", gw, "wan", addrs=[f"{OUT}/24", "2001:db8::100/64"])
    world.sw = world.start_switch(gw, config(SMALL + REST))
    world.sw.attached("p1", "p2", "wan")
    world.h1.ping("10.0.0.1")
    return world


def apply(w, text):
    w.sw.cli(f"apply {w.write('next.yaml', text)}")


def used(w, pool, proto):
    return next(p for p in w.sw.json("nat show")["pools"] if p["name"] == pool)["used"][proto]


def ask_from(ns, port):
    """The source a server outside sees, or None: no answer, or the gateway says that it may not be."""
    with talk.UdpEcho(ns.lab.out, 7000, bind=OUT) as echo:
        with ns.socket(kind=socket.SOCK_DGRAM) as s:
            s.bind(("", port))
            s.connect((OUT, 7000))
            s.settimeout(0.5)
            s.send(b"?")
            try:
                s.recv(10)
            except OSError:
                return None
        return echo.peers[-1]


def test_every_port_of_the_pool_then_refusal_then_all_come_back(w):
    seen = [ask_from(w.h2, 6000 + i) for i in range(10)]
    assert {a for a, _ in seen} == {"203.0.113.10"}
    assert {p for _, p in seen} == set(range(3000, 3010))
    assert ask_from(w.h2, 6010) is None
    assert netlab.drops(w.sw, "p2").get("nat_no_port", 0) >= 1
    assert used(w, "pool:small", "udp") == 10
    assert w.sw.json("flow flush all")["flushed"] >= 10
    netlab.wait_for("the ports are free again", lambda: used(w, "pool:small", "udp") == 0)
    assert ask_from(w.h2, 6010) is not None
    netlab.counters_hold(w.sw)


def test_the_host_answers_for_pool_addresses_while_they_are_in_the_pool(w):
    assert "203.0.113.10/32" in w.gw.run("ip addr show dev wan").stdout
    assert w.out.ping("203.0.113.10") == (3, 3)
    apply(w, config(REST))
    assert "203.0.113.10/32" not in w.gw.run("ip addr show dev wan").stdout


def test_flows_of_a_rule_that_goes_end(w):
    assert ask_from(w.h2, 6000)[0] == "203.0.113.10"
    assert ask_from(w.h1, 6000)[0] == "203.0.113.1"
    apply(w, config(REST))
    netlab.wait_for("the rule's flows are gone", lambda: {f["rule"] for f in w.sw.json("flow list")} == {"rest"})
    assert ask_from(w.h2, 6000)[0] == "203.0.113.1"


def test_masquerade_follows_the_address(w):
    assert ask_from(w.h1, 6000) == ("203.0.113.1", 6000)
    apply(w, config(SMALL + REST, up="203.0.113.2"))
    netlab.wait_for("flows on the old address are gone", lambda: not w.sw.json("flow list"))
    assert ask_from(w.h1, 6000) == ("203.0.113.2", 6000)


def test_rfc5382_hairpin_to_a_port_forward(w):
    """REQ-8: a host inside reaches another one by the outside address, and sees the answer come from there."""
    same, peer = talk.tcp_transfer(w.h2, w.h1, "203.0.113.1", port=80, listen=8080, size=1 << 20)
    assert same
    assert peer[0] == "203.0.113.10", "the client as it is seen outside"


def test_masquerade_of_both_families(w):
    assert w.h1.ping("2001:db8::100") == (3, 3)
    assert w.h1.ping("2001:db8::100", size=4000) == (3, 3)
    assert w.h1.ping(OUT, size=4000) == (3, 3)
    assert [f["forward"]["to-src"] for f in w.sw.json("flow list") if f["proto"] == "icmpv6"][0] == "2001:db8::1"


@pytest.mark.parametrize("target", [OUT, "2001:db8::100"], ids=["v4", "v6"])
def test_rfc5508_port_unreachable_reaches_the_sender(w, target):
    with w.h1.socket(talk.family_of(target), socket.SOCK_DGRAM) as s:
        s.connect((target, 9))
        s.settimeout(3)
        s.send(b"x" * 100)
        with pytest.raises(ConnectionRefusedError):
            s.recv(10)


def test_forward_to_the_gateway_itself_is_refused_with_words(w):
    bad = REST.replace("10.0.0.5:8080", "10.0.0.1:8080")
    got = w.sw.cli(f"apply {w.write('bad.yaml', config(bad))}", check=False)
    assert got.returncode != 0
    assert "10.0.0.1" in got.stdout
    assert ask_from(w.h1, 6000) == ("203.0.113.1", 6000), "the old configuration is in force"
