"""What NAT rules may ask for beyond addresses, with a real sluiced and over time: who is let in, limits, timeouts, one to one."""
import contextlib
import json
import socket
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet import fragment as scapy_fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import netlab
import talk
from talk import heard, udp
from test_move import changed

OUT, OUT2 = "203.0.113.100", "203.0.113.101"
CONFIG = """ports:
  p1: {mode: access, vlan: 10}
  p2: {mode: access, vlan: 10}
  p3: {mode: access, vlan: 30}
  p4: {mode: access, vlan: 40}
  wan: {mode: routed}
vrfs: {blue: {table: 77}}
interfaces:
  lan: {vlan: 10, addresses: [10.0.0.1/24]}
  dmz: {vlan: 40, addresses: [10.4.0.1/24]}
  blue0: {vlan: 30, vrf: blue, addresses: [10.3.0.1/24]}
  wan: {port: wan, addresses: [203.0.113.1/24]}
nat:
  - {name: one, type: static, inside: 10.0.0.7/32, outside: 203.0.113.7, out: wan}
  - {name: few, type: snat, source: 10.0.0.6/32, to: 203.0.113.10, out: wan, limit: {ports: 3}, timeouts: {udp: 2s}}
  - {name: open, type: snat, source: 10.0.0.0/24, to: masquerade, ports: 5000-5009, out: wan, filtering: endpoint-independent}
  - {name: to-blue, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 8080, to: "10.3.0.5:80", to-vrf: blue}
  - {name: to-dmz, type: dnat, destination: 203.0.113.1, protocol: tcp, port: 8081, to: "10.4.0.5:80"}
"""


@pytest.fixture
def w(world):
    gw = world.ns("gw")
    world.host("h1", gw, "p1", addrs=["10.0.0.5/24", "10.0.0.7/24"], gw=["10.0.0.1"])
    world.host("h2", gw, "p2", addrs=["10.0.0.6/24"], gw=["10.0.0.1"])
    world.host("h3", gw, "p3", addrs=["10.3.0.5/24"], gw=["10.3.0.1"])
    world.host("h4", gw, "p4", addrs=["10.4.0.5/24"], gw=["10.4.0.1"])
    world.host("out", gw, "wan", addrs=[f"{OUT}/24", f"{OUT2}/24"])
    world.sw = world.start_switch(gw, CONFIG)
    world.sw.attached("p1", "p2", "p3", "p4", "wan")
    world.h1.ping("10.0.0.1")
    return world


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


@pytest.mark.alone
def test_the_gateways_sockets_hold_nobody_up(w):
    """The kernel shows them by going over all its buckets for connections: what sluiced does meanwhile waits for nothing."""
    before = w.sw.json("status")["loop"]["turns"]
    with udp(w.gw, "203.0.113.1", 5007):
        netlab.wait_for("it is held", lambda: used(w, "masq:wan") >= 1)
        w.sw.cli(f"apply {w.write('same.yaml', CONFIG + '# again')}")
        w.gw.addr("wan", "203.0.113.77/32")
        time.sleep(2.5)
    w.gw.run("ip addr del 203.0.113.77/32 dev wan")
    loop = w.sw.json("status")["loop"]
    netlab.figure(f"{loop['turns'] - before} turns with the gateway's sockets read in between: the longest of all {loop['cpu']['max_ms']:.1f} ms on "
                  f"the processor ({loop['cpu']['longest']})")
    assert loop["cpu"]["max_ms"] < 10, loop["cpu"]


def test_what_waits_while_the_tables_change_their_size(w):
    """A fragment whose first one has not come, a question without its answer, a socket of the gateway's: all is as before afterwards."""
    def resize(flows):
        text = f"settings: {{nat-fragments: {{held: 16, time: 60}}}}\ntables: {{flows: {flows}, flows6: 1024}}\n" + CONFIG
        w.sw.cli(f"apply {w.write('sized.yaml', text)}")
        netlab.wait_for("tables of another size", lambda: w.sw.json("flow tables")["resizing"] is None, 60)
        assert w.sw.json("flow tables")["flows"]["size"] == flows

    resize(4096)
    lan = w.gw.link("lan")["address"]
    with udp(w.gw, "203.0.113.1", 5003) as own, udp(w.out, OUT, 7000) as far, udp(w.h1, "10.0.0.5", 5003) as inside:
        netlab.wait_for("its port is known", lambda: used(w, "masq:wan") >= 1)
        for n, flows in enumerate((20000, 4096)):
            inside.sendto(b"asked", (OUT, 7000))
            data, asker = heard(far)
            assert data == b"asked" and asker[1] != 5003
            words = bytes(range(256)) * 8
            whole = IP(src="10.0.0.5", dst=OUT, id=77 + n) / UDP(sport=5008 + n, dport=7000) / Raw(words)
            first, last = [Ether(src=w.h1.link("eth0")["address"], dst=lan) / p for p in scapy_fragment(whole, 1200)]
            w.h1.send("eth0", bytes(last))
            held = w.sw.json("counters show")["stats"]["nat_frag_held"]
            assert held == n + 1
            resize(flows)
            w.h1.send("eth0", bytes(first))
            data, where = far.recvfrom(4000)
            assert data == words and where[0] == "203.0.113.1" and where[1] != 5003
            far.sendto(b"answer", asker)
            assert heard(inside) == (b"answer", (OUT, 7000))
            far.sendto(b"to the host", ("203.0.113.1", 5003))
            assert heard(own) == (b"to the host", (OUT, 7000))
    netlab.counters_hold(w.sw)


def test_the_gateways_sockets_are_safe_from_their_first_moment(w):
    """Listening, connected, bound: an inside host that wants the port gets another although sluiced has not looked since."""
    given = set()
    for port in range(5000, 5006):
        if port in given:  # an inside host's already, before the socket is there
            continue
        with udp(w.gw, "203.0.113.1", port) as own, udp(w.out, OUT, 7000) as far, udp(w.h1, "10.0.0.5", port) as inside:
            inside.sendto(b"x", (OUT, 7000))
            _, where = heard(far)
            assert where[0] == "203.0.113.1" and where[1] != port
            far.sendto(b"to the host", ("203.0.113.1", port))
            assert heard(own) == (b"to the host", (OUT, 7000))
        given.add(where[1])
    netlab.counters_hold(w.sw)


def tcp_listen(ns, *bind):
    s = ns.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(bind)
    s.listen(4)
    return s


def tcp_from(ns, bind, to):
    s = ns.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(bind)
    s.connect(to)
    return s


def test_the_gateways_tcp_ports(w):
    """One that listens, and one that is connected to the very server that the inside host talks to from the same port."""
    with tcp_listen(w.out, OUT, 80) as server, tcp_listen(w.gw, "203.0.113.1", 5003):
        with tcp_from(w.h1, ("10.0.0.5", 5003), (OUT, 80)):
            there, peer = server.accept()
            there.close()
            assert peer[0] == "203.0.113.1" and peer[1] != 5003
        with tcp_from(w.gw, ("203.0.113.1", 5006), (OUT, 80)) as own:
            mine, peer = server.accept()
            assert peer == ("203.0.113.1", 5006)
            with tcp_from(w.h1, ("10.0.0.5", 5006), (OUT, 80)) as inside:
                there, peer = server.accept()
                assert peer[0] == "203.0.113.1" and peer[1] != 5006
                for s, far in ((own, mine), (inside, there)):
                    s.settimeout(3)
                    far.sendall(b"hello")
                    assert s.recv(5) == b"hello"
            there.close()
            mine.close()


def used(w, pool):
    return next(p for p in w.sw.json("nat show")["pools"] if p["name"] == pool)["used"]["udp"]


def test_one_to_one_both_ways(w):
    with udp(w.h1, "10.0.0.7", 53) as inside, udp(w.out, OUT, 7000) as far:
        far.sendto(b"in", ("203.0.113.7", 53))
        assert heard(inside) == (b"in", (OUT, 7000))
        inside.sendto(b"out", (OUT, 7000))
        assert heard(far) == (b"out", ("203.0.113.7", 53))
    assert w.out.ping("203.0.113.7") == (3, 3)


MASQUERADE = """  - {name: m, type: snat, source: 10.0.0.0/24, to: masquerade, out: wan}
  - {name: m6, type: snat, source: "fd00::/64", to: masquerade, out: wan}
"""
STATICS = """  - {name: one, type: static, inside: 10.0.0.7, outside: 203.0.113.77, out: wan}
  - {name: one6, type: static, inside: "fd00::7", outside: "2001:db8::77", out: wan}
"""


def at_the_uplink(world, nat):
    """Nobody on the uplink has been spoken with."""
    gw = netlab.nat_network(world)
    world.h1.addr("eth0", "10.0.0.7/24", "fd00::7/64")
    world.sw = world.start_switch(gw, netlab.nat_config(nat, ports=["p1"]))
    world.sw.attached("p1", "wan")
    netlab.wait_for("all addresses are ready", lambda: not world.gw.run("ip -6 addr show dev wan tentative").stdout)
    return world


@pytest.mark.parametrize("inside, outside, far, other", [("10.0.0.7", "203.0.113.77", OUT, "10.0.0.5"),
                                                         ("fd00::7", "2001:db8::77", "2001:db8::100", "fd00::5")], ids=("IPv4", "IPv6"))
def test_one_to_one_in_the_uplinks_own_prefix(world, inside, outside, far, other):
    """The first packet that asks for the neighbour there is the 1:1 host's: it is resolved, for that host and for all."""
    w = at_the_uplink(world, STATICS + MASQUERADE)
    with udp(w.h1, inside, 53) as near, udp(w.h1, other, 54) as second, udp(w.out, far, 7000) as there:
        near.sendto(b"out", (far, 7000))
        assert heard(there)[0] == b"out"
        there.sendto(b"in", (outside, 53))
        assert heard(near)[0] == b"in"
        second.sendto(b"masqueraded", (far, 7000))
        assert heard(there)[0] == b"masqueraded"
    w.out.run("ip neigh flush all")
    assert w.out.ping(outside) == (3, 3)
    netlab.counters_hold(w.sw)


def test_forward_to_another_vrf(w):
    same, peer = talk.tcp_transfer(w.out, w.h3, "203.0.113.1", port=8080, listen=80, size=1 << 20)
    assert same and peer[0] in (OUT, OUT2)
    netlab.counters_hold(w.sw)


@pytest.mark.parametrize("port, to", [(8081, "h4"), (8080, "h3")], ids=["to another VLAN", "to another VRF"])
def test_forward_from_a_vlan(w, port, to):
    """A host of one VLAN reaches one of another, or of another VRF, by the address that they have outside; it is seen as outside."""
    same, peer = talk.tcp_transfer(w.h1, w.namespaces[to], "203.0.113.1", port=port, listen=80, size=1 << 20)
    assert same and peer[0] == "203.0.113.1" and 5000 <= peer[1] <= 5009
    netlab.counters_hold(w.sw)


def test_forward_to_another_vlan(w):
    same, peer = talk.tcp_transfer(w.out, w.h4, "203.0.113.1", port=8081, listen=80, size=1 << 20)
    assert same and peer[0] in (OUT, OUT2)


def test_masquerade_without_out_leaves_by_another_vrf(w):
    """A rule that names no interface takes those of other VRFs, too, that its VRF has routes by."""
    text = CONFIG.replace("{table: 77}", "{table: 77, import: [{vrf: default, prefixes: 203.0.113.0/24}]}")
    text += "  - {name: blue-out, type: snat, vrf: blue, source: 10.3.0.0/24, to: masquerade}\n"
    w.sw.cli(f"apply {w.write('import.yaml', text)}")
    with talk.UdpEcho(w.out, 7000) as echo:
        assert talk.udp_ask(w.h3, OUT, 7000, b"from blue") == b"from blue"
    assert {p[0] for p in echo.peers} == {"203.0.113.1"}
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


def test_what_mappings_take_is_told(w):
    """As flows are: room for one for each pair of both families, and the memory, from the start."""
    with udp(w.h1, "10.0.0.5", 6000) as s:
        s.sendto(b"x", (OUT, 7000))
    netlab.wait_for("the mapping is counted", lambda: w.sw.json("flow tables")["mappings"]["mappings"] == 1)
    shown = w.sw.json("flow tables")
    mappings = shown["mappings"]
    assert mappings["size"] == shown["flows"]["size"] + shown["flows6"]["size"] and mappings["slots"] >= mappings["size"] * 1.25
    assert abs(mappings["bytes"] - mappings["size"] * 101) < mappings["size"]
    assert mappings["bytes_per_mapping"] == 101
    assert "bytes_per_mapping" in w.sw.cli("flow tables").stdout


@pytest.mark.parametrize("word, lives", [("end", False), ("keep", True)])
@pytest.mark.parametrize("rule", ["open", "to-blue"])
def test_what_becomes_of_connections_when_their_rule_goes(w, rule, word, lives):
    """`on-delete` of a source rule and of a forward, under traffic: they end, or they go on with what they look like outside."""
    marked = "\n".join(x.replace("}", f", on-delete: {word}}}", 1) if f"name: {rule}," in x else x for x in CONFIG.splitlines()) + "\n"
    without = "\n".join(x for x in CONFIG.splitlines() if f"name: {rule}," not in x) + "\n"
    w.sw.cli(f"apply {w.write('marked.yaml', marked)}")
    assert next(r for r in w.sw.json("nat show")["rules"] if r["name"] == rule).get("on-delete", "end") == word
    client, server, address, listen = (w.h1, w.out, OUT, 80) if rule == "open" else (w.out, w.h3, "203.0.113.1", 80)
    port = 80 if rule == "open" else 8080
    with tcp_listen(server, "0.0.0.0", listen) as listener, client.socket() as s:
        s.connect((address, port))
        there, peer = listener.accept()
        there.settimeout(3)
        s.settimeout(3)

        def talks(n):
            s.sendall(b"%4d" % n)
            if there.recv(4) != b"%4d" % n:
                return False
            there.sendall(b"%4d" % n)
            return s.recv(4) == b"%4d" % n

        assert all(talks(n) for n in range(50))
        w.sw.cli(f"apply {w.write('without.yaml', without)}")
        if lives:
            assert all(talks(n) or time.sleep(0.02) for n in range(150)), "three seconds, several passes over the flows"
            w.sw.stop()
            w.sw.start()
            another = f'{without}  - {{name: another, type: dnat, destination: wan, protocol: udp, port: 9, to: "10.0.0.5:9"}}\n'
            w.sw.cli(f"apply {w.write('another.yaml', another)}")
            assert all(talks(n) or time.sleep(0.02) for n in range(100)), "a restart has not forgotten it, nor taken it for another rule's"
            shown, = w.sw.json(f"flow list rule {rule}")
            assert (shown["proto"], shown["rule"], shown["former-rule"]) == ("tcp", None, rule)
            assert f"({rule})" in w.sw.cli("flow list").stdout and f"({rule})" in w.sw.cli("flow count by rule").stdout
        else:
            netlab.wait_for("its flows are gone", lambda: not w.sw.json("flow list"))
            s.settimeout(1)
            there.settimeout(1)
            with pytest.raises(OSError):
                talks(0)
        there.close()
    with client.socket() as s:
        s.settimeout(1)
        with pytest.raises(OSError):
            s.connect((address, port))
    netlab.counters_hold(w.sw)


def test_a_restored_flow_ends_with_the_interface_s_address(w, tmp_path):
    """It has outlived its rule, and no pool has its outside address: as long as the interface has it, it goes on."""
    kept = CONFIG.replace("{name: open,", "{name: open, on-delete: keep,")
    gone = "\n".join(x for x in CONFIG.splitlines() if not any(f"name: {rule}," in x for rule in ("one", "open", "to-blue", "to-dmz"))) + "\n"
    w.sw.cli(f"apply {w.write('kept.yaml', kept)}")
    with udp(w.h1, "10.0.0.5", 6000) as s:
        s.sendto(b"x", (OUT, 7000))
    w.sw.cli(f"apply {w.write('gone.yaml', gone)}")
    for _ in range(2):  # what was restored can be saved
        assert w.sw.json("flow count udp") == {"flows": 1}
        w.sw.cli(["flow", "save", str(tmp_path / "flows")])
        w.sw.cli("flow flush all")
        w.sw.cli(["flow", "restore", str(tmp_path / "flows")])
    time.sleep(1.5)
    assert w.sw.json("flow count udp") == {"flows": 1}
    w.sw.cli(f"apply {w.write('other.yaml', gone.replace('[203.0.113.1/24]', '[203.0.113.2/24]'))}")
    netlab.wait_for("it has ended", lambda: w.sw.json("flow count udp") == {"flows": 0}, 5)
    assert w.sw.cli(["flow", "restore", str(tmp_path / "flows")], check=False).returncode == 1


def test_a_log_that_cannot_be_opened_is_refused_with_words(w):
    bad = w.write("bad.yaml", "settings: {nat-log: {file: /nowhere/nat.json}}\n" + CONFIG)
    got = w.sw.cli(f"apply {bad}", check=False)
    assert got.returncode != 0 and "bad.yaml:1: settings.nat-log.file: /nowhere/nat.json: No such file or directory" in got.stdout
    checked = w.sw.cli(f"check {bad}")
    assert "is good" in checked.stdout and "bad.yaml:1: settings.nat-log.file: /nowhere/nat.json: No such file" in checked.stdout
    with udp(w.h2, "10.0.0.6", 6000) as s, udp(w.out, OUT, 7000) as far:
        s.sendto(b"x", (OUT, 7000))
        assert heard(far)


def forwards(text, n=3, **also):
    """The configuration with n forwards to hosts of the dmz, udp 8081 to port 81 and so on; `also`: what rules say beside."""
    text = "\n".join(x.replace("}", f", {also[rule]}}}", 1) if (rule := x.partition("name: ")[2].partition(",")[0]) in also else x
                     for x in text.splitlines())
    return text.replace("timeouts: {udp: 2s}", "timeouts: {udp: 1s}") + "\n" + "".join(
        f'  - {{name: f{i}, type: dnat, destination: 203.0.113.1, protocol: udp, port: {8080 + i}, to: "10.4.0.5:{80 + i}", timeouts: {{udp: 1s}}}}\n'
        for i in range(1, n + 1))


def few_by_forwards(w):
    """How many of twelve flows by three forwards, each from a port of its own, come through."""
    with contextlib.ExitStack() as stack:
        there = [stack.enter_context(udp(w.h4, "10.4.0.5", 81 + i, 0.1)) for i in range(3)]
        for n in range(12):
            with udp(w.h2, "10.0.0.6", 6000 + few_by_forwards.n + n) as s:
                s.sendto(b"x", ("203.0.113.1", 8081 + n % 3))
        few_by_forwards.n += 12
        return sum(1 for s in there for _ in iter(lambda: heard(s), None))


few_by_forwards.n = 0


def test_refusals_name_the_rule_of_the_source(w, tmp_path):
    """A session by a forward is that one's, in the log too; who is refused another one by a limit is so by the rule that has it."""
    log = tmp_path / "nat.json"
    w.sw.cli(f"apply {w.write('log.yaml', f'settings: {{nat-log: {{file: {log}}}}}' + chr(10) + limited_forwards('ports', 60))}")
    assert few_by_forwards(w) == 3
    events = netlab.wait_for("a refusal", lambda: log.exists() and (e := [json.loads(x) for x in log.read_text().splitlines()])
                             and e[-1]["natEvent"] == 13 and e)
    assert [(e["natEvent"], e["rule"]) for e in events[:4]] == [(4, "f1"), (4, "f2"), (4, "f3"), (13, "few")]


def limited_forwards(limit, udp_s):
    return forwards(CONFIG).replace("limit: {ports: 3}", "limit: {%s: 3}" % limit).replace("udp: 1s", f"udp: {udp_s}s")


def counted(w):
    """Passes over the flows and mappings have counted what each host has: they come each two seconds."""
    time.sleep(2.5)


@pytest.mark.parametrize("limit", ["ports", "sessions"])
def test_limits_hold_for_hairpins_by_forwards(w, limit):
    """RFC 6888 REQ-4 and REQ-5: what a host has of its rule is one number, whichever forward it came by. Passes and a restart do not
    change that, and it counts down."""
    w.sw.cli(f"apply {w.write('forwards.yaml', limited_forwards(limit, 60))}")
    assert few_by_forwards(w) == 3
    assert {f["rule"] for f in w.sw.json("flow list")} <= {"f1", "f2", "f3"}
    counted(w)
    assert few_by_forwards(w) == 0
    w.sw.stop()
    w.sw.start()
    counted(w)
    assert few_by_forwards(w) == 0 and netlab.drops(w.sw, "p2")[f"nat_limit_{limit}"] >= 9 + 12 + 12
    # What is applied is looked at by a pass at once, which else come each two seconds; a port rests for as long.
    short = w.write("short.yaml", limited_forwards(limit, 1))
    netlab.wait_for("they are the host's to take again", lambda: w.sw.cli(f"apply {short}") and few_by_forwards(w), timeout=8)


@pytest.mark.parametrize("limit", ["ports", "sessions"])
@pytest.mark.parametrize("borne", ["few", "f1"])
def test_limits_hold_for_restored_hairpins(w, tmp_path, limit, borne):
    """Also where the mappings bear a forward's number: a version saved them that did not know both rules."""
    text = limited_forwards(limit, 60)
    w.sw.cli(f"apply {w.write('forwards.yaml', text)}")
    assert few_by_forwards(w) == 3
    saved = tmp_path / "flows"
    w.sw.cli(["flow", "save", str(saved)])
    lines = saved.read_text().splitlines()
    mappings = [i for i, x in enumerate(lines) if x.startswith('{"mapping"')]
    assert [json.loads(lines[i])["mapping"]["rule"] for i in mappings] == ["few"] * 3
    for i in mappings:
        lines = changed(lines, i, rule=borne)
    saved.write_text("\n".join(lines) + "\n")
    w.sw.stop()
    w.sw.destroy()
    w.sw.start().attached("p1", "p2", "p3", "p4", "wan")
    w.sw.cli(f"apply {w.write('forwards.yaml', text)}")
    w.sw.cli(["flow", "restore", str(saved)])
    assert w.sw.json("flow count rule f1") == {"flows": 1}
    counted(w)
    w.h2.ping("10.0.0.1")
    assert few_by_forwards(w) == 0


def open_by_forward(w):
    """h1's mapping of the open rule begins by a forward, and then is spoken to by a known host and a stranger."""
    w.sw.cli(f"apply {w.write('forwards.yaml', forwards(CONFIG, 1))}")
    stack = contextlib.ExitStack()
    a, b = stack.enter_context(udp(w.h1, "10.0.0.5", 5003)), stack.enter_context(udp(w.h4, "10.4.0.5", 81))
    known, stranger = (stack.enter_context(udp(w.out, address, 7000)) for address in (OUT, OUT2))
    a.sendto(b"x", ("203.0.113.1", 8081))
    assert heard(b) == (b"x", ("203.0.113.1", 5003))
    a.sendto(b"x", (OUT, 7000))
    assert heard(known)[1] == ("203.0.113.1", 5003)
    return stack, a, known, stranger


def gets(s, where, to):
    s.sendto(b"?", where)
    return heard(to) is not None


def test_filtering_reaches_a_mapping_that_a_hairpin_began(w):
    """A stranger is cut off, and no other is let in, once the rule says so."""
    stack, a, known, stranger = open_by_forward(w)
    where = ("203.0.113.1", 5003)
    with stack, udp(w.out, OUT2, 7007) as other:
        assert gets(stranger, where, a)
        strict = forwards(CONFIG, 1).replace("filtering: endpoint-independent", "filtering: address-and-port-dependent")
        w.sw.cli(f"apply {w.write('strict.yaml', strict)}")
        netlab.wait_for("closed", lambda: not gets(stranger, where, a) and not gets(other, where, a), 4)
        assert gets(known, where, a)


def test_a_port_that_stays_in_a_range_is_forwarded_all_the_time(w):
    """A range of ports takes other blocks when its bounds change: new clients of a port that both have notice nothing."""

    def ranged(ports):
        rules = [f"  - {{name: other{i}, type: dnat, destination: 203.0.113.1, protocol: udp, port: {20000 + i}, to: 10.4.0.5}}" for i in range(400)]
        return CONFIG + f"  - {{name: web, type: dnat, destination: 203.0.113.1, protocol: udp, port: {ports}, to: 10.4.0.5}}\n" + "\n".join(rules) + "\n"

    asked, lost = 0, []
    ended = False

    def ask():
        nonlocal asked
        while not ended:
            with w.out.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(2)
                s.connect(("203.0.113.1", 8003))
                try:
                    s.send(b"x")
                    s.recv(8)
                except OSError as e:
                    lost.append((asked, str(e)))
                asked += 1

    with talk.UdpEcho(w.h4, 8003, bind="10.4.0.5"):
        w.sw.cli(["apply", w.write("r.yaml", ranged("8000-8007"))])
        thread = talk.Thread(ask)
        netlab.wait_for("clients", lambda: asked > 20)
        for i in range(12):
            w.sw.cli(["apply", w.write("r.yaml", ranged("8000-8007" if i % 2 else "7990-8100"))])
        ended = True
        thread.join()
    assert not lost and asked > 100, (asked, lost)
    netlab.counters_hold(w.sw)


def test_strangers_stay_when_the_forward_goes_that_a_mapping_began_by(w):
    stack, a, known, stranger = open_by_forward(w)
    where = ("203.0.113.1", 5003)
    with stack, udp(w.out, OUT2, 7007) as other:
        assert gets(stranger, where, a)
        w.sw.cli(f"apply {w.write('without.yaml', CONFIG)}")
        until = time.monotonic() + 2.5
        while time.monotonic() < until:  # several passes over the flows and mappings
            assert gets(stranger, where, a)
            time.sleep(0.05)
        assert gets(other, where, a) and gets(known, where, a)
        assert next(f["rule"] for f in w.sw.json("flow list") if f["forward"]["src"] == OUT2) == "open"
