"""What NAT rules may ask for beyond addresses, with a real sluiced and over time: who is let in, limits, timeouts, one to one."""
import json
import socket
import time

import pytest

import netlab
import talk

OUT, OUT2 = "203.0.113.100", "203.0.113.101"
CONFIG = """ports:
  p1: {mode: access, vlan: 10}
  p2: {mode: access, vlan: 10}
  p3: {mode: access, vlan: 30}
  wan: {mode: routed}
vrfs: {blue: {table: 77}}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24]}
  blue0: {vlan: 30, vrf: blue, addresses: [10.3.0.1/24]}
  wan: {port: wan, addresses: [203.0.113.1/24]}
nat:
  - {name: one, type: static, inside: 10.0.0.7/32, outside: 203.0.113.7, out: wan}
  - {name: few, type: snat, source: 10.0.0.6/32, to: 203.0.113.10, out: wan, limit: {ports: 3}, timeouts: {udp: 2s}}
  - {name: open, type: snat, source: 10.0.0.0/24, to: masquerade, ports: 5000-5009, out: wan, filtering: endpoint-independent}
  - {name: to-blue, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 8080, to: "10.3.0.5:80", to-vrf: blue}
"""


@pytest.fixture
def w(world):
    gw = world.ns("gw")
    world.host("h1", gw, "p1", addrs=["10.0.0.5/24", "10.0.0.7/24"], gw=["10.0.0.1"])
    world.host("h2", gw, "p2", addrs=["10.0.0.6/24"], gw=["10.0.0.1"])
    world.host("h3", gw, "p3", addrs=["10.3.0.5/24"], gw=["10.3.0.1"])
    world.host("out", gw, "wan", addrs=[f"{OUT}/24", f"{OUT2}/24"])
    world.sw = world.start_switch(gw, CONFIG)
    world.sw.attached("p1", "p2", "p3", "wan")
    world.h1.ping("10.0.0.1")
    return world


def udp(ns, *bind):
    s = ns.socket(kind=socket.SOCK_DGRAM)
    s.bind(bind)
    s.settimeout(0.5)
    return s


def heard(s):
    try:
        return s.recvfrom(100)
    except TimeoutError:
        return None


def test_a_stranger_is_let_in_and_answered(w):
    """RFC 4787 REQ-8: whoever knows the mapping of an open rule reaches the host, and hears from that address and port."""
    with udp(w.h1, "10.0.0.5", 5003) as inside, udp(w.out, OUT, 7000) as known, udp(w.out, OUT2, 7001) as stranger:
        inside.sendto(b"hello", (OUT, 7000))
        _, where = heard(known)
        assert where == ("203.0.113.1", 5003)
        stranger.sendto(b"who are you", where)
        assert heard(inside) == (b"who are you", (OUT2, 7001))
        inside.sendto(b"me", (OUT2, 7001))
        assert heard(stranger) == (b"me", where)
    netlab.counters_hold(w.sw)


def test_rfc4787_req9_hairpinning_between_mappings(w):
    """h2 reaches h1 by the port that the outside knows, and both talk by outside addresses alone."""
    with udp(w.h1, "10.0.0.5", 5003) as a, udp(w.h2, "10.0.0.6", 6000) as b, udp(w.out, OUT, 7000) as known:
        a.sendto(b"x", (OUT, 7000))
        assert heard(known)[1] == ("203.0.113.1", 5003)
        b.sendto(b"hairpin", ("203.0.113.1", 5003))
        data, where = heard(a)
        assert data == b"hairpin" and where == ("203.0.113.10", 6000)
        a.sendto(b"back", where)
        assert heard(b) == (b"back", ("203.0.113.1", 5003))


def test_limit_of_ports_and_their_return(w):
    def ask(port):
        with udp(w.h2, "10.0.0.6", port) as s, udp(w.out, OUT, 7000) as far:
            s.sendto(b"x", (OUT, 7000))
            return heard(far)

    assert all(ask(6000 + n) for n in range(3))
    assert ask(6003) is None
    assert netlab.drops(w.sw, "p2").get("nat_limit_ports", 0) >= 1
    assert ask(6001), "a port that the host has serves it on"
    # Its own timeout of 2 s, two passes of the sweep: then all are the host's to take again.
    netlab.wait_for("the ports are back", lambda: ask(6500), timeout=20, every=0.5)


def test_timeouts_are_the_rule_s_own(w):
    for ns, bind in ((w.h2, ("10.0.0.6", 6000)), (w.h1, ("10.0.0.5", 5004))):
        with udp(ns, *bind) as s:
            s.sendto(b"x", (OUT, 7000))
    assert {f["rule"] for f in w.sw.json("flow list")} >= {"few", "open"}
    began = time.monotonic()
    netlab.wait_for("the short one ends", lambda: "few" not in {f["rule"] for f in w.sw.json("flow list")}, timeout=15)
    assert time.monotonic() - began >= 1
    assert "open" in {f["rule"] for f in w.sw.json("flow list")}


def test_the_gateways_own_ports_are_never_given_out(w):
    """A socket of the host on a port of the range: an inside host that wants it gets another, and the socket is reached."""
    with udp(w.gw, "203.0.113.1", 5005) as own, udp(w.out, OUT, 7000) as far, udp(w.h1, "10.0.0.5", 5005) as inside:
        # By the listing: the sweep has seen the socket.
        netlab.wait_for("it is held", lambda: used(w, "masq:wan") >= 1)
        inside.sendto(b"x", (OUT, 7000))
        _, where = heard(far)
        assert where[0] == "203.0.113.1" and where[1] != 5005
        far.sendto(b"to the host", ("203.0.113.1", 5005))
        assert heard(own) == (b"to the host", (OUT, 7000))


def used(w, pool):
    return next(p for p in w.sw.json("nat show")["pools"] if p["name"] == pool)["used"]["udp"]


def test_one_to_one_both_ways(w):
    with udp(w.h1, "10.0.0.7", 53) as inside, udp(w.out, OUT, 7000) as far:
        far.sendto(b"in", ("203.0.113.7", 53))
        assert heard(inside) == (b"in", (OUT, 7000))
        inside.sendto(b"out", (OUT, 7000))
        assert heard(far) == (b"out", ("203.0.113.7", 53))
    assert w.out.ping("203.0.113.7") == (3, 3)


def test_forward_to_another_vrf(w):
    same, peer = talk.tcp_transfer(w.out, w.h3, "203.0.113.1", port=8080, listen=80, size=1 << 20)
    assert same and peer[0] in (OUT, OUT2)
    netlab.counters_hold(w.sw)


def test_rfc8158_sessions_and_refusals_are_logged(w, tmp_path):
    """A session's begin and end with both its faces, a limit that was reached; a file that was moved away is begun anew."""
    log, moved = tmp_path / "nat.json", tmp_path / "nat.json.1"

    def lines(path=log):
        return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []

    w.sw.cli(f"apply {w.write('log.yaml', f'settings: {{nat-log: {{file: {log}}}}}' + chr(10) + CONFIG)}")
    for n in range(4):
        with udp(w.h2, "10.0.0.6", 6000 + n) as s:
            s.sendto(b"x", (OUT, 7000))
    netlab.wait_for("begins and a refusal", lambda: [e["natEvent"] for e in lines()] == [4, 4, 4, 13])
    first = lines()[0]
    assert first["rule"] == "few" and first["protocolIdentifier"] == 17 and first["vrf"] == "default"
    assert (first["sourceIPv4Address"], first["sourceTransportPort"]) == ("10.0.0.6", 6000)
    assert (first["postNATSourceIPv4Address"], first["postNAPTSourceTransportPort"]) == ("203.0.113.10", 6000)
    assert (first["destinationIPv4Address"], first["destinationTransportPort"]) == (OUT, 7000)
    assert abs(first["observationTimeMilliseconds"] / 1000 - time.time()) < 60
    assert lines()[3]["natQuotaExceededEvent"] == 3
    log.rename(moved)
    netlab.wait_for(
        "the ends, in a new file", lambda: sorted(e["sourceTransportPort"] for e in lines()) == [6000, 6001, 6002], timeout=20
    )
    assert {e["natEvent"] for e in lines()} == {5} and len(lines(moved)) == 4
    shown = w.sw.json("nat show")["log"]
    assert shown["written"] == 7 and shown["lost"] == 0


def test_a_log_that_cannot_be_opened_is_refused_with_words(w):
    bad = w.write("bad.yaml", "settings: {nat-log: {file: /nowhere/nat.json}}\n" + CONFIG)
    got = w.sw.cli(f"apply {bad}", check=False)
    assert got.returncode != 0 and "settings.nat-log.file: /nowhere/nat.json" in got.stdout
    with udp(w.h2, "10.0.0.6", 6000) as s, udp(w.out, OUT, 7000) as far:
        s.sendto(b"x", (OUT, 7000))
        assert heard(far)
