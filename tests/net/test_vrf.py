"""VRFs: the same addresses twice behind one switch, kernel tables of their own, and what leaks by an explicit route."""
import json
import socket
import time

import pytest

import netlab
import talk

CONFIG = """ports:
  r1: {mode: routed}
  r2: {mode: routed}
  b1: {mode: routed}
  b2: {mode: routed}
  s: {mode: routed}
vrfs:
  red: {table: 101}
  blue: {table: 102}
interfaces:
  r1: {port: r1, vrf: red, addresses: [10.0.1.1/24]}
  r2: {port: r2, vrf: red, addresses: [10.0.2.1/24]}
  b1: {port: b1, vrf: blue, addresses: [10.0.1.1/24]}
  b2: {port: b2, vrf: blue, addresses: [10.0.2.1/24]}
  s: {port: s, addresses: [10.0.9.1/24]}
"""
LEAK = """routes:
  - {to: 10.0.9.0/24, vrf: red, via: {interface: s}}
  - {to: 10.0.1.0/24, via: {interface: r1}}
"""
NET = "198.51.100.0/24"


@pytest.fixture
def w(world):
    """Red and blue have a network 1 and a network 2 each, of the same addresses."""
    sw = world.ns("sw")
    for name, addr in (("r1", "10.0.1"), ("r2", "10.0.2"), ("b1", "10.0.1"), ("b2", "10.0.2"), ("s", "10.0.9")):
        world.host(name, sw, name, addrs=[f"{addr}.5/24"], gw=[f"{addr}.1"])
    world.gw = world.start_switch(sw, CONFIG)
    world.gw.attached("r1", "r2", "b1", "b2", "s")
    return world


def arrived(w, by, src, dst="10.0.2.5"):
    """Who of the others sees the echo requests that a host sends?"""
    sniffers = {n: getattr(w, n).sniff("eth0") for n in ("r1", "r2", "b1", "b2", "s") if n != by}
    try:
        got = getattr(w, by).ping(dst, count=3)[1]
        want = bytes(map(int, src.split("."))) + bytes(map(int, dst.split(".")))
        return got, [n for n, s in sniffers.items() if s.matching(want, 0.1)]
    finally:
        for s in sniffers.values():
            s.close()


def test_overlapping_addresses_are_kept_apart(w):
    assert arrived(w, "r1", "10.0.1.5") == (3, ["r2"])
    assert arrived(w, "b1", "10.0.1.5") == (3, ["b2"])
    assert arrived(w, "s", "10.0.9.5") == (0, [])
    assert w.gw.json("route get 10.0.2.5 vrf blue")["route"]["nexthops"][0]["interface"] == "b2"
    assert w.gw.json("route get 10.0.2.5 vrf red")["route"]["nexthops"][0]["interface"] == "r2"
    assert "route" not in w.gw.json("route get 10.0.2.5")


def test_kernel_table_is_the_vrf_s(w):
    """A route that a daemon puts into table 102 is blue's alone."""
    w.sw.run(f"ip route add {NET} via 10.0.2.5 dev b2 table 102 proto bgp onlink")
    route = netlab.wait_for("the route is there", lambda: w.gw.json(f"route show {NET}"))
    assert [(r["vrf"], r["active"]) for r in route] == [("blue", True)]
    assert arrived(w, "b1", "10.0.1.5", "198.51.100.7")[1] == ["b2"]
    assert arrived(w, "r1", "10.0.1.5", "198.51.100.7")[1] == []
    assert len(w.gw.json("route show vrf blue protocol bgp")) == 1 and not w.gw.json("route show vrf red protocol bgp")


def test_leak_by_explicit_routes(w):
    """Red reaches the services of the default VRF, and these red's network 1; blue, with the same addresses, reaches nothing."""
    w.gw.cli(f"apply {w.write('leak.yaml', CONFIG + LEAK)}")
    assert arrived(w, "r1", "10.0.1.5", "10.0.9.5") == (3, ["s"])
    assert arrived(w, "b1", "10.0.1.5", "10.0.9.5") == (0, [])
    assert arrived(w, "s", "10.0.9.5", "10.0.1.5") == (3, ["r1"])
    w.gw.cli(f"apply {w.write('apart.yaml', CONFIG)}")
    assert arrived(w, "r1", "10.0.1.5", "10.0.9.5") == (0, [])


def rules(*vrfs):
    """One address of NAT, the same for each of these VRFs."""
    return "nat:\n" + "".join(f"  - {{name: {v}-out, type: snat, vrf: {v}, source: 10.0.1.0/24, out: {v[0]}2, to: 203.0.113.7}}\n" for v in vrfs)


def without_red():
    return "".join(x for x in (CONFIG + rules("blue")).splitlines(True) if not x.startswith(("  red:", "  r1: {port", "  r2: {port")))


def vrfs(gw):
    return {v["name"]: v for v in gw.json("vrf show")}


def drained(gw):
    return netlab.wait_for("no id drains", lambda: all(v["state"] == "active" for v in gw.json("vrf show")), 20)


class Ticker:
    """A datagram every few milliseconds, each waited for: how many of them got no answer?"""

    def __init__(self, ns, address, port):
        self.s = ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.connect((address, port))
        self.s.settimeout(0.5)
        self.stop, self.lost, self.n = False, 0, 0
        self.thread = talk.Thread(self._run)

    def _run(self):
        while not self.stop:
            self.n += 1
            try:
                self.s.send(b"%08d" % self.n)
                while self.s.recv(100) != b"%08d" % self.n:
                    pass
            except OSError:
                self.lost += 1
            time.sleep(0.002)

    def end(self):
        self.stop = True
        self.thread.join()
        self.s.close()
        return self.n, self.lost


def test_taking_a_vrf_out_loses_nothing_of_the_next(w):
    """Red and blue have the same hosts, and the same address of NAT. Red goes: blue's id, flows, ports and packets stay."""
    w.gw.cli(f"apply {w.write('nat.yaml', CONFIG + rules('red', 'blue'))}")
    before = vrfs(w.gw)
    servers = {c: talk.tcp_server(w.namespaces[f"{c}2"], socket.AF_INET, 9000, talk.echo_words(400)) for c in "rb"}
    words = {c: talk.tcp_connect(w.namespaces[f"{c}1"], "10.0.2.5", 9000) for c in "rb"}
    for c in "rb":
        words[c].sendall(b"ping")
        assert words[c].recv(4, socket.MSG_WAITALL) == b"ping"
    with talk.UdpEcho(w.b2, 9001) as echo:
        ticker = Ticker(w.b1, "10.0.2.5", 9001)
        time.sleep(0.3)
        w.gw.cli(f"apply {w.write('blue.yaml', without_red())}")
        for _ in range(399):
            words["b"].sendall(b"pong")
            assert words["b"].recv(4, socket.MSG_WAITALL) == b"pong"
        drained(w.gw)
        n, lost = ticker.end()
    assert lost == 0 and n > 100
    assert len(set(echo.peers)) == 1 and echo.peers[0][0] == "203.0.113.7"
    assert servers["b"].join()[0] == "203.0.113.7"
    assert vrfs(w.gw)["blue"]["id"] == before["blue"]["id"] != before["red"]["id"]
    flows = w.gw.json("flow list")
    assert {f["vrf"] for f in flows} == {"blue"}
    assert [f["forward"]["packets"] for f in flows if f["proto"] == "udp"] == [n]  # one flow, from the first packet on
    words["r"].close()
    words["b"].close()


def test_an_id_is_given_away_when_nothing_remembers_it(w):
    """While red's flows are being ended its id is nobody's; then the next VRF has it, and none of red's flows."""
    w.gw.cli(f"apply {w.write('nat.yaml', CONFIG + rules('red', 'blue'))}")
    red = vrfs(w.gw)["red"]["id"]
    assert w.r1.ping("10.0.2.5")[1] == 3 and w.b1.ping("10.0.2.5")[1] == 3
    w.gw.cli(f"apply {w.write('blue.yaml', without_red())}")
    w.gw.cli("vrf add early")
    early = vrfs(w.gw)
    assert early["early"]["id"] not in (0, early["blue"]["id"], early.get("red", {"id": 0})["id"])
    drained(w.gw)
    w.gw.cli("vrf add late table 104")
    assert vrfs(w.gw)["late"]["id"] == red or vrfs(w.gw)["early"]["id"] == red
    assert {f["vrf"] for f in w.gw.json("flow list")} == {"blue"}
    w.gw.stop(9)
    w.gw.start()
    assert {n: v["id"] for n, v in vrfs(w.gw).items()}["blue"] == early["blue"]["id"]
    assert vrfs(w.gw)["early"]["id"] == early["early"]["id"]
    assert w.b1.ping("10.0.2.5")[1] == 3


def test_rolled_back_has_its_id_again(w):
    before = {n: v["id"] for n, v in vrfs(w.gw).items()}
    w.gw.cli(f"apply {w.write('apart.yaml', without_red())}")
    w.gw.cli("rollback")
    assert {n: v["id"] for n, v in vrfs(w.gw).items()} == before
    assert arrived(w, "r1", "10.0.1.5") == (3, ["r2"])


def test_of_several_kernel_tables_the_first_is_preferred(w):
    """As with `ip rule`: the order in the list, between routes of one administrative distance, whatever their metrics."""
    def way(order):
        w.gw.cli(["apply", w.write("tables.yaml", CONFIG.replace("table: 101", f"table: {order}"))])
        found = w.gw.json(f"route get {NET.split('/')[0]} vrf red")
        return found["route"]["table"], found["route"]["nexthops"][0]["via"]

    w.sw.run(f"ip route add {NET} via 10.0.2.5 dev r2 table 101 metric 900 onlink")
    w.sw.run(f"ip route add {NET} via 10.0.2.6 dev r2 table 103 metric 7 onlink")
    assert way("[101, 103]") == (101, "10.0.2.5")
    routes = w.gw.json(f"route show {NET} vrf red")
    assert [(r["table"], r["active"]) for r in sorted(routes, key=lambda r: r["table"])] == [(101, True), (103, False)]
    assert arrived(w, "r1", "10.0.1.5", "198.51.100.7")[1] == ["r2"]
    assert way("[103, 101]") == (103, "10.0.2.6")
    w.sw.run(f"ip route del {NET} table 103 metric 7")
    netlab.wait_for("the other table's", lambda: w.gw.json("route get 198.51.100.7 vrf red")["route"]["table"] == 101)
    w.sw.run(f"ip route add {NET} via 10.0.2.6 dev r2 table 103 metric 7 proto ospf onlink")  # 110 against 10
    netlab.wait_for("both", lambda: len(w.gw.json(f"route show {NET} vrf red")) == 2)
    assert w.gw.json("route get 198.51.100.7 vrf red")["route"]["table"] == 101
    assert "route" not in w.gw.json("route get 198.51.100.7 vrf blue")


IMPORT = CONFIG.replace("  red: {table: 101}\n", """  default: {import: [{vrf: red, prefixes: [10.0.1.0/24, deny 198.51.100.0/24, 198.51.0.0/16 le 24]}]}
  red: {table: 101, import: [{vrf: default, prefixes: [10.0.0.0/8 ge 24 le 24]}]}
""")


@pytest.fixture
def shared(w):
    w.gw.cli(f"apply {w.write('import.yaml', IMPORT)}")
    return w


def test_imported_prefixes_both_ways(shared):
    w = shared
    assert arrived(w, "s", "10.0.9.5", "10.0.1.5") == (3, ["r1"])
    assert arrived(w, "r1", "10.0.1.5", "10.0.9.5") == (3, ["s"])
    assert arrived(w, "s", "10.0.9.5", "10.0.2.5") == (0, [])
    assert arrived(w, "b1", "10.0.1.5", "10.0.9.5") == (0, [])
    assert w.s.ping("10.0.1.1")[1] == 3  # red's gateway came along with its network
    route = [r for r in w.gw.json("route show 10.0.1.0/24 vrf default")]
    assert [(r["from_vrf"], r["protocol"], r["active"]) for r in route] == [("red", "connected", True)]
    assert "from vrf red" in w.gw.cli("route show 10.0.1.0/24 vrf default").stdout
    assert vrfs(w.gw)["default"]["routes"]["imported"] == 4  # the network, its gateway, its two broadcast addresses


def test_imported_prefixes_of_ipv6(w):
    text = IMPORT.replace("[10.0.1.1/24]", '[10.0.1.1/24, "2001:db8:1::1/64"]', 1).replace("[10.0.9.1/24]", '[10.0.9.1/24, "2001:db8:9::1/64"]')
    text = text.replace("prefixes: [10.0.1.0/24,", 'prefixes: ["2001:db8::/32 ge 48 le 64",').replace("prefixes: [10.0.0.0/8", 'prefixes: ["::/0 le 64", 10.0.0.0/8')
    w.gw.cli(f"apply {w.write('six.yaml', text)}")
    for host, net in ((w.r1, 1), (w.s, 9)):
        host.addr("eth0", f"2001:db8:{net}::5/64")
        host.route("::/0", f"2001:db8:{net}::1")
    assert w.s.ping("2001:db8:1::5")[1] == 3 and w.r1.ping("2001:db8:9::5")[1] == 3
    assert w.r1.ping("2001:db8:9::1")[1] == 3
    assert w.gw.json("route show 2001:db8:1::/64 vrf default")[0]["from_vrf"] == "red"


def test_route_get_through_an_import(shared):
    w = shared
    found = w.gw.json("route get 10.0.1.5 from 10.0.9.5 iif s")
    assert found["vrf"] == "default" and found["route"]["from_vrf"] == "red" and found["out"]["port"] == "r1"
    assert w.gw.json("route get 10.0.9.5 from 10.0.1.5 iif r1")["vrf"] == "red"
    assert "is in VRF `red`, not `blue`" in w.gw.cli("route get 10.0.9.5 iif r1 vrf blue", check=False).stdout


def test_a_directed_broadcast_into_another_vrf_is_dropped(shared):
    w = shared
    was = netlab.drops(w.gw, "s").get("route_broadcast", 0)
    w.s.run("ping -n -q -c 2 -i 0.05 -W 1 -b 10.0.1.255", check=False)
    assert netlab.drops(w.gw, "s")["route_broadcast"] == was + 2


def test_what_is_imported_follows_its_source(shared):
    """Routes of a daemon in red's table, one of them denied; a link that goes takes the imported prefix along."""
    w = shared
    for net in ("198.51.100.0/24", "198.51.101.0/24"):
        w.sw.run(f"ip route add {net} via 10.0.1.5 dev r1 table 101 proto bgp onlink")
    netlab.wait_for("imported", lambda: w.gw.json("route show 198.51.101.0/24 vrf default"))
    assert arrived(w, "s", "10.0.9.5", "198.51.101.7")[1] == ["r1"]
    assert arrived(w, "s", "10.0.9.5", "198.51.100.7")[1] == []
    w.sw.run("ip route replace 198.51.101.0/24 via 10.0.2.5 dev r2 table 101 proto bgp onlink")
    netlab.wait_for("by the other way", lambda: w.gw.json("route get 198.51.101.7")["route"]["nexthops"][0]["interface"] == "r2")
    assert arrived(w, "s", "10.0.9.5", "198.51.101.7")[1] == ["r2"]
    w.sw.run("ip route del 198.51.101.0/24 table 101")
    netlab.wait_for("gone", lambda: not w.gw.json("route show 198.51.101.0/24"))
    w.r1.run("ip link set eth0 down")
    netlab.wait_for("gone with its link", lambda: "route" not in w.gw.json("route get 10.0.1.5"))
    w.r1.run("ip link set eth0 up")
    netlab.wait_for("back with it", lambda: "route" in w.gw.json("route get 10.0.1.5"))
    w.gw.cli(f"apply {w.write('apart.yaml', CONFIG)}")
    assert arrived(w, "s", "10.0.9.5", "10.0.1.5") == (0, [])
    assert vrfs(w.gw)["default"]["routes"]["imported"] == 0


def test_strict_reverse_path_with_imports(shared):
    """Each VRF's own sources pass; a source of the other VRF's network, though imported, came in on the wrong interface."""
    w = shared
    strict = IMPORT.replace("addresses: [10.0.9.1/24]", "addresses: [10.0.9.1/24], rpf: strict").replace(
        "vrf: red, addresses: [10.0.1.1/24]", "vrf: red, addresses: [10.0.1.1/24], rpf: strict")
    w.gw.cli(f"apply {w.write('strict.yaml', strict)}")
    assert w.s.ping("10.0.1.5")[1] == 3 and w.r1.ping("10.0.9.5")[1] == 3
    w.s.run("ip addr add 10.0.1.66/32 dev eth0")
    was = netlab.drops(w.gw, "s").get("urpf_other_way", 0)
    w.s.ping("10.0.1.5", count=2, source="10.0.1.66")
    assert netlab.drops(w.gw, "s")["urpf_other_way"] == was + 2


def test_nat_into_another_vrf(shared):
    """A source that is translated on its way into the VRF it imports from; the answers find back."""
    w = shared
    w.gw.cli(f"apply {w.write('nat.yaml', IMPORT + 'nat: [{name: s, type: snat, source: 10.0.9.0/24, to: 203.0.113.9}]' + chr(10))}")
    with talk.UdpEcho(w.r1, 9001) as echo:
        ticker = Ticker(w.s, "10.0.1.5", 9001)
        time.sleep(0.3)
        n, lost = ticker.end()
    assert lost <= 1 and n > 20  # the first one may wait for ARP
    assert {p[0] for p in echo.peers} == {"203.0.113.9"}


def test_tenants_share_an_uplink(w):
    """Red and blue, with the same addresses, reach the default VRF's uplink, each translated to its address; what the uplink's side
    opens into red is answered as it was asked."""
    text = CONFIG.replace("  red: {table: 101}\n  blue: {table: 102}", """  default: {import: [{vrf: red, prefixes: 10.0.2.0/24}]}
  red: {table: 101, import: [{vrf: default, prefixes: [0.0.0.0/0, 10.0.9.0/24]}]}
  blue: {table: 102, import: [{vrf: default, prefixes: [0.0.0.0/0, 10.0.9.0/24]}]}""")
    text += "routes:\n  - {to: 0.0.0.0/0, via: 10.0.9.5}\nnat:\n"
    text += "  - {name: red, type: snat, vrf: red, source: 10.0.0.0/16, out: s, to: masquerade}\n"
    text += "  - {name: blue, type: snat, vrf: blue, source: 10.0.0.0/16, out: s, to: masquerade}\n"
    w.gw.cli(f"apply {w.write('uplink.yaml', text)}")
    w.s.addr("lo", f"{NET.replace('0/24', '1/32')}")
    words = {}
    servers = {c: talk.tcp_server(w.s, socket.AF_INET, 9000 + ord(c), talk.echo_words(2)) for c in "rb"}
    with talk.UdpEcho(w.s, 53, bind="198.51.100.1") as echo:
        for c in "rb":
            ns = w.namespaces[f"{c}1"]
            words[c] = talk.tcp_connect(ns, "198.51.100.1", 9000 + ord(c))
            words[c].sendall(b"ping")
            with ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:  # the same addresses and ports from both
                u.bind(("10.0.1.5", 5353))
                u.settimeout(3)
                u.sendto(c.encode(), ("198.51.100.1", 53))
                assert u.recv(10) == c.encode()
        for c in "rb":
            assert words[c].recv(4, socket.MSG_WAITALL) == b"ping"
            words[c].sendall(b"pong")
            assert words[c].recv(4, socket.MSG_WAITALL) == b"pong"
            words[c].close()
        assert len(set(echo.peers)) == 2 and {p[0] for p in echo.peers} == {"10.0.9.1"}
    assert {servers[c].join()[0] for c in "rb"} == {"10.0.9.1"}
    assert {f["vrf"] for f in w.gw.json("flow list") if f["rule"]} == {"red", "blue"}
    with talk.UdpEcho(w.r2, 54):
        assert talk.udp_ask(w.s, "10.0.2.5", 54, b"from the uplink") == b"from the uplink"
    found = w.gw.json("route get 198.51.100.1 from 10.0.1.5 iif b1 ipproto tcp sport 7 dport 80")
    assert found["nat"]["source"] == {"action": "masquerade", "rule": "blue"} and found["out"]["port"] == "s"
    assert found["route"]["from_vrf"] == "default"


def test_commands(w):
    gw = w.gw
    gw.cli(["vrf", "add", "green", "table", "201,200", "import", "red", "prefix", "10.0.0.0/8", "le", "24", "prefix", "deny 11.0.0.0/8", "import", "blue"])
    green = vrfs(gw)["green"]
    assert green["tables"] == [201, 200] and green["interfaces"] == [] and green["routes"]["ipv4"] == 8
    assert green["import"] == [{"vrf": "red", "prefixes": ["10.0.0.0/8 le 24", "deny 11.0.0.0/8"]}, {"vrf": "blue"}]
    assert json.loads(gw.cli("config show format json").stdout)["vrfs"]["green"]["import"][1] == "blue"
    shown = gw.cli("vrf show").stdout
    assert "201,200" in shown and "red (10.0.0.0/8 le 24,deny 11.0.0.0/8), blue" in shown
    assert vrfs(gw)["red"]["interfaces"] == ["r1", "r2"] and vrfs(gw)["default"]["tables"] == [254]
    refused = gw.cli("vrf delete red", check=False)
    assert refused.returncode == 1 and "vrf red is in use by 2 interfaces (r1 …) and 1 import (green)" in refused.stdout
    gw.cli("vrf delete green")
    assert vrfs(gw).get("green", {"state": "draining"})["state"] == "draining"
    gw.cli(["vrf", "add", "default", "import", "red", "prefix", "10.0.1.0/24"])
    assert "already" in gw.cli("vrf add default import blue", check=False).stdout
    assert "route" in gw.json("route get 10.0.1.5")
    gw.cli("vrf delete default")
    assert "route" not in gw.json("route get 10.0.1.5")
    assert "nothing that was added" in gw.cli("vrf delete default", check=False).stdout


def test_replaced_while_in_use(w):
    """What is used is changed in place: nothing that uses it goes, and an open connection does not notice."""
    gw = w.gw
    gw.cli("route add 10.9.0.0/16 vrf red via 10.0.2.5")
    lsock = w.r2.socket()
    lsock.bind(("", 7000))
    lsock.listen()
    with lsock, w.r1.socket() as s:
        s.settimeout(2)
        s.connect(("10.0.2.5", 7000))
        peer = lsock.accept()[0]
        ids = {v["name"]: v["id"] for v in gw.json("vrf show")}, {i["name"]: i["id"] for i in gw.json("interface show")}
        gw.cli(["vrf", "replace", "red", "table", "101,105", "import", "blue", "prefix", "10.0.99.0/24"])
        gw.cli("interface replace r1 port r1 vrf red address 10.0.1.1/24 mss clamp rpf strict")
        gw.cli("route replace 10.9.0.0/16 vrf red via 10.0.2.5 mtu 1400")
        assert ids == ({v["name"]: v["id"] for v in gw.json("vrf show")}, {i["name"]: i["id"] for i in gw.json("interface show")})
        s.sendall(b"still here")
        peer.settimeout(2)
        assert peer.recv(20) == b"still here"
        peer.close()
    red, = gw.json("vrf get red")
    assert red["tables"] == [101, 105] and [i["vrf"] for i in red["import"]] == ["blue"] and red["interfaces"] == ["r1", "r2"]
    r1, = gw.json("interface get r1")
    assert r1["mss"] == "clamp" and r1["rpf"] == "strict" and r1["vrf"] == "red"
    assert [r["mtu"] for r in gw.json("route show 10.9.0.0/16 vrf red")] == [1400]
    assert {(n["via"], n["vrf"], n.get("mtu")) for n in gw.json("nexthop show via 10.0.2.5")} == {("10.0.2.5", "red", 1400)}
    assert "1400" in gw.cli("nexthop show").stdout and gw.json("interface show state absent") == []
    refused = gw.cli("interface delete r2", check=False)
    assert refused.returncode == 1 and "interface r2 is in use by 1 route (10.9.0.0/16)" in refused.stdout
    refused = gw.cli("interface replace r2 port r2 vrf red address 10.0.3.1/24", check=False)
    assert refused.returncode == 1 and "no interface of VRF `red` reaches the gateway 10.0.2.5" in refused.stdout
    assert "10.0.2.1/24" in gw.json("interface get r2")[0]["addresses"]
