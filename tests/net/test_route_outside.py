"""Kernel routes that leave by a netdev which is not the switch's (a management port, a tunnel): their packets are nobody's, and
not the next shorter route's; where the configuration gives the netdev to the host, the host routes them."""
import socket
import time

import pytest

import netlab

CONFIG = """SETTINGS
ports:
  a1: {mode: access, vlan: 10}
  b1: {mode: access, vlan: 20}
  up1: {mode: routed}
vrfs:
  red: {table: 101}
interfaces:
  vlan10: {vlan: 10, addresses: [10.0.10.1/24, "2001:db8:10::1/64"]}
  vlan20: {vlan: 20, vrf: red, addresses: [10.0.20.1/24]}
  up1: {port: up1, addresses: [192.0.2.1/24, "2001:db8:2::1/64"]}
routes:
  - {to: 198.51.0.0/16, via: 192.0.2.2}
  - {to: "2001:db8:4000::/36", via: "2001:db8:2::2"}
"""
NET, NET6 = "198.51.100.0/24", "2001:db8:4242::/48"
FAR, FAR6 = "198.51.100.7", "2001:db8:4242::7"
HOST = "settings: {host-netdevs: [wg0, 'mgm*']}"


@pytest.fixture(scope="module")
def net(shared_world):
    """Host a in VLAN 10, b in VLAN 20 of VRF red, an upstream router, and a management network that is none of the switch's."""
    w, sw = shared_world, shared_world.ns("sw")
    w.host("a", sw, "a1", addrs=["10.0.10.5/24", "2001:db8:10::5/64"], gw=["10.0.10.1", "2001:db8:10::1"])
    w.host("b", sw, "b1", addrs=["10.0.20.5/24"], gw=["10.0.20.1"])
    w.host("u", sw, "up1", addrs=["192.0.2.2/24", "2001:db8:2::2/64"], gw=["192.0.2.1"])
    w.host("m", sw, "mgmt0", addrs=["10.99.0.2/24", "2001:db8:99::2/64", f"{FAR}/32", f"{FAR6}/128"], gw=["10.99.0.1", "2001:db8:99::1"])
    sw.addr("mgmt0", "10.99.0.1/24", "2001:db8:99::1/64")
    for family in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        sw.sysctl(f"net.{family}", 1)
    w.gw = w.start_switch(sw, CONFIG.replace("SETTINGS", ""))
    w.gw.attached("a1", "b1", "up1")
    assert w.a.ping("192.0.2.2")[1] == 3
    return w


@pytest.fixture
def w(net):
    """With routes by the management port that are longer than the switch's."""
    net.sw.run(f"ip route add {NET} via 10.99.0.2 proto static")
    net.sw.run(f"ip -6 route add {NET6} via 2001:db8:99::2 proto static")
    netlab.wait_for("the routes are known", lambda: net.gw.json(f"route show {NET}") and net.gw.json(f"route show {NET6}"))
    yield net
    for command in (f"ip route flush {NET}", f"ip -6 route flush {NET6}", "ip route flush table 101", "ip route del default dev mgmt0"):
        net.sw.run(command, check=False)
    apply(net, "")


def apply(w, settings, text=CONFIG):
    w.gw.cli(["apply", w.write("now.yaml", text.replace("SETTINGS", settings))])


def seen(w, host, target):
    """Echo requests of a host: how many answers, and at whom were they seen?"""
    sniffers = {n: getattr(w, n).sniff("eth0") for n in ("u", "m")}
    want = socket.inet_pton(socket.AF_INET6 if ":" in target else socket.AF_INET, target)
    try:
        got = host.ping(target)[1]
        return got, [n for n, s in sniffers.items() if any(f[12:14] in (b"\x08\0", b"\x86\xdd") for f in s.matching(want, 0.1))]
    finally:
        for s in sniffers.values():
            s.close()


def dropped(w, port="a1"):
    return netlab.drops(w.gw, port).get("route_outside", 0)


@pytest.mark.parametrize("to,prefix,wide", [(FAR, NET, "198.51.0.0/16"), (FAR6, NET6, "2001:db8:4000::/36")])
def test_its_packets_do_not_follow_the_next_shorter_route(w, to, prefix, wide):
    """Neither there nor out of the management port, although the host forwards; the sender is told."""
    was = dropped(w)
    assert seen(w, w.a, to) == (0, [])
    assert dropped(w) == was + 3
    assert "Unreachable" in (out := w.a.run(f"ping -n -c 1 -W 1 {to}", check=False).stdout) or "No route" in out
    route = w.gw.json(f"route show {prefix}")
    assert [(r["active"], r["type"], r["reason"], r["netdev"]) for r in route] == [(False, "outside", "its interface mgmt0 is not the switch's", "mgmt0")]
    assert [r["to"] for r in w.gw.json(f"route show inactive longer {prefix}")] == [prefix] and w.gw.json(f"route show active longer {prefix}") == []
    assert f"outside {prefix} dev mgmt0 proto static" in w.gw.cli(f"route show {prefix}").stdout
    found = w.gw.json(f"route get {to}")
    assert found["verdict"] == "drop" and found["drop"] == "route_outside"
    assert found["text"] == f"{to} is dropped: the kernel's route {prefix} is not in force: its interface mgmt0 is not the switch's"
    assert wide in [c["to"] for c in found["candidates"]]
    w.sw.run(f"ip {'-6 ' if ':' in prefix else ''}route del {prefix}")
    netlab.wait_for("the shorter one is in force", lambda: w.gw.json(f"route get {to}").get("route", {}).get("to") == wide)
    assert seen(w, w.a, to)[1] == ["u"]


def test_the_management_network_itself(w):
    """The kernel's own route for the prefix of an address: the same."""
    assert seen(w, w.a, "10.99.0.2") == (0, []) and seen(w, w.a, "2001:db8:99::2") == (0, [])
    assert w.gw.json("route show 10.99.0.0/24")[0]["reason"] == "its interface mgmt0 is not the switch's"
    assert w.a.ping("10.99.0.1")[1] == 3  # the host's own address is the host's


def test_a_default_route_of_the_management_port_leaks_nothing(w):
    w.sw.run("ip route add default via 10.99.0.2 dev mgmt0 proto dhcp metric 5")
    netlab.wait_for("known", lambda: w.gw.json("route show 0.0.0.0/0"))
    assert seen(w, w.a, "203.0.113.9") == (0, [])
    assert "0.0.0.0/0 is not in force: its interface mgmt0" in w.gw.json("route get 203.0.113.9")["text"]
    w.gw.cli("route add default via 192.0.2.2 distance 250")
    assert seen(w, w.a, "203.0.113.9")[1] == ["u"]  # any way of the switch's own is better
    lost = [c for c in w.gw.json("route get 203.0.113.9")["candidates"] if c["to"] == "0.0.0.0/0"]
    assert [c["why"] for c in lost] == ["its interface mgmt0 is not the switch's"]
    w.gw.cli("route delete default distance 250")
    assert seen(w, w.a, "203.0.113.9") == (0, [])


def test_the_host_routes_by_the_netdevs_it_is_given(w):
    apply(w, HOST)
    assert seen(w, w.a, FAR) == (3, ["m"]) and seen(w, w.a, FAR6) == (3, ["m"]) and seen(w, w.a, "10.99.0.2") == (3, ["m"])
    route = w.gw.json(f"route show {NET}")[0]
    assert route["active"] and route["type"] == "host" and route["netdev"] == "mgmt0"
    assert f"* host {NET} dev mgmt0" in w.gw.cli(f"route show {NET}").stdout
    found = w.gw.json(f"route get {FAR}")
    assert found["verdict"] == "host" and found["text"] == f"{FAR} is the host's to route, by mgmt0 ({NET})" and "problem" not in found
    assert w.gw.json("config show")["settings"]["host-netdevs"] == ["wg0", "mgm*"]
    w.sw.sysctl("net.ipv4.ip_forward", 0)
    try:
        assert "ip_forward is 0" in w.gw.json(f"route get {FAR}")["problem"] and "ip_forward is 0" in w.gw.cli(f"route get {FAR}").stdout
        assert seen(w, w.a, FAR) == (0, [])
    finally:
        w.sw.sysctl("net.ipv4.ip_forward", 1)
    apply(w, "settings: {host-netdevs: wg0}")
    assert seen(w, w.a, FAR) == (0, [])
    netlab.counters_hold(w.gw)


def test_the_same_by_the_fast_path(w):
    text = CONFIG.replace("a1: {mode: access, vlan: 10}", "a1: {mode: access, vlan: 10, xdp: native}")
    w.a.offload("eth0", tx=False)
    try:
        apply(w, "", text)
        assert netlab.wait_for("native XDP", lambda: w.gw.port("a1")["xdp"] == "native")
        assert seen(w, w.a, FAR) == (0, []) and "Unreachable" in w.a.run(f"ping -n -c 1 -W 1 {FAR}", check=False).stdout
        apply(w, HOST, text)
        assert seen(w, w.a, FAR) == (3, ["m"]) and seen(w, w.a, FAR6) == (3, ["m"])
        netlab.counters_hold(w.gw)
    finally:
        w.a.offload("eth0", tx=True)


def test_what_is_translated_is_not_the_host_s(w):
    """A forward to a server behind the host's netdev: its answers would come past the translation."""
    nat = "nat: [{name: f, type: dnat, destination: 203.0.113.1, protocol: udp, port: 80, to: '%s:80'}]\n" % FAR
    apply(w, HOST, CONFIG + nat)
    was = dropped(w)
    assert w.gw.json("route get 203.0.113.1 from 10.0.10.5 iif a1 ipproto udp sport 7 dport 80")["drop"] == "route_outside"
    with w.m.sniff("eth0") as s, w.a.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.sendto(b"translated", ("203.0.113.1", 80))
        assert s.matching(b"translated", 0.3) == []
    assert dropped(w) == was + 1


def test_of_several_ways_the_usable_ones(w):
    w.sw.run(f"ip route replace {NET} proto bgp nexthop via 10.99.0.2 nexthop via 192.0.2.2")
    netlab.wait_for("by the usable one", lambda: w.gw.json(f"route show {NET} protocol bgp active"))
    route = w.gw.json(f"route show {NET} protocol bgp")[0]
    assert [n["interface"] for n in route["nexthops"]] == ["up1"] and "netdev" not in route
    assert seen(w, w.a, FAR)[1] == ["u"]


def test_a_usable_route_of_the_prefix_is_better_whatever_the_metrics(w):
    w.sw.run(f"ip route add {NET} via 192.0.2.2 proto ospf metric 9000")
    netlab.wait_for("in force", lambda: w.gw.json(f"route show {NET} active"))
    assert w.gw.json(f"route get {FAR}")["route"]["protocol"] == "ospf" and seen(w, w.a, FAR)[1] == ["u"]
    w.sw.run(f"ip route del {NET} metric 9000")
    netlab.wait_for("not any more", lambda: w.gw.json(f"route get {FAR}").get("drop") == "route_outside")


def test_in_another_vrf(w):
    w.gw.cli("route add default via 10.0.20.9 vrf red")
    w.sw.run(f"ip route add {NET} via 10.99.0.2 dev mgmt0 table 101 onlink")
    netlab.wait_for("known", lambda: w.gw.json(f"route show {NET} vrf red"))
    was = dropped(w, "b1")
    assert seen(w, w.b, FAR) == (0, [])
    assert dropped(w, "b1") == was + 3
    assert w.gw.json(f"route get {FAR} vrf red")["drop"] == "route_outside"
    w.gw.cli("route delete default vrf red")


def test_reverse_path(w):
    """Loose: what lies behind the switch's ways or the host's passes, what lies behind neither does not."""
    text = CONFIG.replace('"2001:db8:10::1/64"]', '"2001:db8:10::1/64"], rpf: loose')
    q = f"route get 192.0.2.2 from {FAR} iif vlan10"
    apply(w, "", text)
    assert w.gw.json(q)["drop"] == "urpf_no_route"
    apply(w, HOST, text)
    assert w.gw.json(q)["verdict"] == "forward", w.gw.json(q)
    apply(w, HOST, text.replace("loose", "strict"))
    assert w.gw.json(q)["drop"] == "urpf_other_way"
    w.a.addr("eth0", f"{FAR}/32")
    try:
        w.a.ping("192.0.2.2", count=1, source=FAR)
        assert netlab.drops(w.gw, "a1")["urpf_other_way"] == 1
    finally:
        w.a.run(f"ip addr del {FAR}/32 dev eth0")


def test_the_netdev_becomes_a_port(w):
    text = CONFIG.replace("  up1: {mode: routed}\n", "  up1: {mode: routed}\n  mgmt0: {mode: routed}\n").replace(
        "  up1: {port: up1", "  mgmt0: {port: mgmt0, addresses: [10.99.0.1/24, '2001:db8:99::1/64']}\n  up1: {port: up1")
    apply(w, "", text)
    netlab.wait_for("in force", lambda: w.gw.json(f"route show {NET} active"))
    assert seen(w, w.a, FAR) == (3, ["m"])
    apply(w, "")
    w.sw.addr("mgmt0", "10.99.0.1/24", "2001:db8:99::1/64")  # went with the interface


def test_the_audit_agrees_with_the_kernel(w):
    """Beside a default route of the switch's own that the kernel likes less, too: whoever it asks for the last address gets a broadcast."""
    w.sw.run("ip route add default via 10.99.0.2 dev mgmt0")
    w.gw.cli("route add default via 192.0.2.2 metric 50")
    before = w.gw.json("route audit")
    until = before["rounds"] + 4
    time.sleep(1)
    netlab.wait_for("rounds of the audit", lambda: w.gw.json("route audit")["rounds"] >= until, 60)
    after = w.gw.json("route audit")
    assert after["found"] == [] and after["differences"] == before["differences"] == 0 and after["last"]["asked"] > 0
    w.gw.cli("route delete 0.0.0.0/0 metric 50")


def test_a_restart_changes_nothing(w):
    w.gw.stop(9)
    w.gw.start()
    assert w.gw.json(f"route get {FAR}")["drop"] == "route_outside" and seen(w, w.a, FAR) == (0, [])
